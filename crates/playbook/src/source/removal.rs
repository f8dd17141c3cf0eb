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
    /// The kind and the full name of the plugin that says so, where that is known.
    pub plugin: Option<(String, String)>,
}

impl Removal {
    /// With a version of ansible-core.
    pub fn of_core(version: impl Into<String>) -> Self {
        Removal {
            collection: Some("ansible.builtin".to_owned()),
            version: Some(version.into()),
            ..Removal::default()
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
        let (plugin, collection) = self.source();
        let within = match collection {
            None => String::new(),
            Some("ansible.builtin") => "ansible-core".to_owned(),
            Some(name) => format!("collection '{name}'"),
        };
        let from = match (plugin.is_empty(), within.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("from {within}"),
            (false, true) => format!("from {plugin}"),
            (false, false) => format!("from {plugin} in {within}"),
        };
        let when = match (collection, &self.date, &self.version) {
            (None, ..) => sometime.to_owned(),
            (Some(_), Some(date), _) => format!("in a release after {date}"),
            (Some(_), None, Some(version)) => format!("version {version}"),
            (Some(_), None, None) => some_release.to_owned(),
        };
        let parts = ["This feature", what, &from, &when];
        let sentence: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{message}{stop} {}.", sentence.join(" "))
    }

    /// What it is removed from: the plugin in words, and the collection.
    fn source(&self) -> (String, Option<&str>) {
        let collection = self.collection.as_deref();
        let Some((kind, name)) = &self.plugin else {
            return (String::new(), collection);
        };
        let kind = match kind.as_str() {
            "module" => kind.clone(),
            kind => format!("{kind} plugin"),
        };
        if name == "ansible.builtin" {
            return (format!("the {kind} API"), Some("ansible.builtin"));
        }
        let leaf = name.rsplit('.').next().unwrap_or_default();
        // A name without a collection says nothing of one.
        let collection = collection.filter(|_| name.matches('.').count() > 1);
        (format!("{kind} '{leaf}'"), collection)
    }
}
