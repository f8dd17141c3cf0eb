//! A cause, and what led to it.

use consort_plan::Location;
use jiff::Timestamp;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As it should be.
    Good,
    /// A fact, neither good nor bad: somebody did something.
    Fact,
    /// Not yet as it should be, and nothing says that it will not be.
    Waiting,
    /// Not as it should be.
    Bad,
}

impl Standing {
    /// `good`, `fact`, `waiting`, `bad`.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Good => "good",
            Standing::Fact => "fact",
            Standing::Waiting => "waiting",
            Standing::Bad => "bad",
        }
    }
}

/// Something that is as it is, and what led to it. All texts are as the cluster, the provider or the user wrote them:
/// whoever shows them writes out what could drive a terminal.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// What it is about: `Pod shop/web-1`, `infra/machine.db`, `operation shop-4`.
    pub what: String,
    /// How that stands.
    pub standing: Standing,
    /// What is to be said of it, read after `what`: `is Pending: it waits for Secret shop/db`.
    pub says: String,
    /// When that happened or began.
    pub time: Option<Timestamp>,
    /// More about it, line by line.
    pub details: Vec<String>,
    /// Where in the sources it is described.
    pub location: Option<Location>,
    /// Where to look next: commands.
    pub next: Vec<String>,
    /// What led to it.
    pub causes: Vec<Cause>,
}

impl Cause {
    pub(super) fn new(
        what: impl Into<String>,
        standing: Standing,
        says: impl Into<String>,
    ) -> Self {
        Cause {
            what: what.into(),
            standing,
            says: says.into(),
            time: None,
            details: Vec::new(),
            location: None,
            next: Vec::new(),
            causes: Vec::new(),
        }
    }

    pub(super) fn at(mut self, time: Option<Timestamp>) -> Self {
        self.time = time;
        self
    }

    pub(super) fn because(mut self, cause: impl IntoIterator<Item = Cause>) -> Self {
        self.causes.extend(cause);
        self
    }

    pub(super) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    pub(super) fn look(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

/// Whether a text is told somewhere below.
pub(super) fn tells(causes: &[Cause], text: &str) -> bool {
    causes.iter().any(|cause| {
        cause.says.contains(text)
            || cause.details.iter().any(|detail| detail.contains(text))
            || tells(&cause.causes, text)
    })
}

/// Whether something is explained somewhere below.
pub(super) fn explains(causes: &[Cause], what: &str) -> bool {
    causes
        .iter()
        .any(|cause| cause.what == what || explains(&cause.causes, what))
}
