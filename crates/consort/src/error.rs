//! How a command fails: what is printed and which code the process ends with.

use std::fmt;
use std::process::ExitCode;

/// What kind of failure it was; the process's exit code tells it to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command could not do what it was asked to (1).
    Failed,
    /// The command line or the configuration is wrong (2).
    Usage,
    /// No server could be reached, or it refused the credentials (3).
    Unreachable,
    /// The input is not acceptable (4).
    Input,
    /// The process lacks a right it needs, such as being root (5).
    Permission,
    /// Policies forbid the plan (6).
    Denied,
    /// The plan needs an approval that it does not have (7).
    Unapproved,
    /// The world has moved since the plan was made (8).
    Stale,
}

impl Kind {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Input => 4,
            Self::Permission => 5,
            Self::Denied => 6,
            Self::Unapproved => 7,
            Self::Stale => 8,
        }
    }
}

/// A failed command: a report for people and a code for scripts.
pub(crate) struct Failure {
    kind: Kind,
    report: Report,
}

enum Report {
    Plain {
        text: String,
        hint: Option<String>,
    },
    /// A report with source lines.
    Located(miette::Report),
    /// A text that is laid out already.
    Printed(String),
    /// Nothing to print: the code says it all.
    Code(u8),
}

impl Failure {
    /// A failure told in one sentence.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        let report = Report::Plain {
            text: text.into(),
            hint: None,
        };
        Self { kind, report }
    }

    /// Adds what the user might do about it.
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        if let Report::Plain { hint, .. } = &mut self.report {
            *hint = Some(text.into());
        }
        self
    }

    /// A failure that shows the place in the input.
    pub(crate) fn located(diagnostic: impl miette::Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            kind: Kind::Input,
            report: Report::Located(miette::Report::new(diagnostic)),
        }
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    /// The same report, as another kind of failure.
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// A failure whose text is laid out already, with its last line's end.
    pub(crate) fn printed(kind: Kind, text: String) -> Self {
        Self {
            kind,
            report: Report::Printed(text),
        }
    }

    /// Ends the process with `code` and says nothing, as `exec` does with a remote command's code.
    pub(crate) fn code(code: u8) -> Self {
        Self {
            kind: Kind::Failed,
            report: Report::Code(code),
        }
    }

    /// Prints the report on standard error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match &self.report {
            Report::Code(code) => return ExitCode::from(*code),
            Report::Located(report) => eprintln!("{report:?}"),
            Report::Printed(text) => eprint!("{text}"),
            Report::Plain { text, hint } => {
                eprintln!("{} {text}", crate::output::red("error:"));
                if let Some(hint) = hint {
                    eprintln!("{} {hint}", crate::output::cyan("hint:"));
                }
            }
        }
        ExitCode::from(self.kind.code())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.report {
            Report::Plain { text, .. } | Report::Printed(text) => f.write_str(text),
            Report::Located(report) => write!(f, "{report}"),
            Report::Code(code) => write!(f, "exit code {code}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Failed, format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let text = if status.reason.is_empty() {
                    format!("from server: {}", status.message)
                } else {
                    format!("from server ({}): {}", status.reason, status.message)
                };
                let kind = match status.code {
                    401 => Kind::Unreachable,
                    _ => Kind::Failed,
                };
                Self::new(kind, text)
            }
            kube::Error::HyperError(_) | kube::Error::Service(_) => Self::new(
                Kind::Unreachable,
                format!(
                    "reaching the server: {}",
                    chain(&error).trim_start_matches("ServiceError: ")
                ),
            )
            .hint("start one with `consort server`, or name another with --server, --data-dir or $KUBECONFIG"),
            other => Self::new(Kind::Failed, chain(&other)),
        }
    }
}

/// An error with its causes, none said twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// What a command gives.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
