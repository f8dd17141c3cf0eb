//! When what goes out of use will be gone, and from where.

/// When something will be gone, or is, and what it is part of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removal {
    /// The collection it is part of; `ansible.builtin` stands for ansible-core. Without one nothing is known but that it
    /// will go.
    pub collection: Option<String>,
    /// The version it goes with.
    pub version: Option<String>,
    /// The day after which a release goes without it; it stands before a version.
    pub date: Option<String>,
}

impl Removal {
    /// With a version of ansible-core.
    pub fn of_core(version: impl Into<String>) -> Self {
        Removal {
            collection: Some("ansible.builtin".to_owned()),
            version: Some(version.into()),
            date: None,
        }
    }

    /// Told after a message: that the feature will be removed.
    pub fn announced(&self, message: &str) -> String {
        self.told(
            message,
            "will be removed",
            ["in the future", "in a future release"],
        )
    }

    /// Told after a message: that the feature was removed.
    pub fn recorded(&self, message: &str) -> String {
        self.told(message, "was removed", ["", ""])
    }

    fn told(&self, message: &str, what: &str, [sometime, some_release]: [&str; 2]) -> String {
        let message = message.trim();
        let stop = if message.ends_with(['.', '!', '?']) {
            ""
        } else {
            "."
        };
        let from = match self.collection.as_deref() {
            None => String::new(),
            Some("ansible.builtin") => "from ansible-core".to_owned(),
            Some(name) => format!("from collection '{name}'"),
        };
        let when = match (&self.collection, &self.date, &self.version) {
            (None, ..) => sometime.to_owned(),
            (Some(_), Some(date), _) => format!("in a release after {date}"),
            (Some(_), None, Some(version)) => format!("version {version}"),
            (Some(_), None, None) => some_release.to_owned(),
        };
        let parts = ["This feature", what, &from, &when];
        let sentence: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{message}{stop} {}.", sentence.join(" "))
    }
}
