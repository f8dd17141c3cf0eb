//! How sources are read.

use consort_jinja::Dict;

use crate::settings::Settings;
use crate::source::Reader;
use crate::template::{Templar, TemplarOptions};

/// What reading depends on, beside the sources. The defaults are those of ansible-core.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools)]
pub struct ReadSettings {
    /// The plugins to try, in order.
    pub enabled: Vec<String>,
    /// The ends of names that are not looked at in directories.
    pub ignored_extensions: Vec<String>,
    /// Regular expressions for names that are not looked at in directories.
    pub ignored_patterns: Vec<String>,
    /// The ends of names of files of variables.
    pub yaml_extensions: Vec<String>,
    /// What is done about names of groups that are no names of variables.
    pub group_names: GroupNames,
    /// Whether it is an error when no source can be read.
    pub unparsed_fails: bool,
    /// Whether it is warned of when no source can be read.
    pub unparsed_warns: bool,
    /// Whether it is an error when one source cannot be read.
    pub any_unparsed_fails: bool,
    /// What is done when a pattern matches nothing.
    pub mismatch: Mismatch,
    /// Whether what a program complains is shown although it did well.
    pub show_complaints: bool,
    /// The order in which variables of groups come.
    pub precedence: Vec<String>,
    /// Whether dicts of the same name are merged and not replaced.
    pub merge: bool,
    /// Whether `group_vars/` and `host_vars/` are read; they are not if the plugin is not enabled.
    pub variable_files: bool,
    /// Whether there may be vars plugins in Python: settings name some, or places of some.
    pub foreign_variables: bool,
    /// What reads files, encrypted ones too.
    pub reader: Reader,
    /// The variables of the command line, which some plugins see.
    pub extra_variables: Dict,
    /// The Python that modules on this machine use, if no source names the machine.
    pub python: String,
    /// What evaluates the expressions of plugins.
    pub templar: Templar,
    /// Whether plugins see the variables of the command line in expressions (`use_extra_vars`).
    pub use_extra_variables: bool,
    /// Facts kept from earlier runs: a directory of JSON files.
    pub facts: Option<std::path::PathBuf>,
}

impl std::fmt::Debug for ReadSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadSettings")
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// What is done about names of groups that are no names of variables.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum GroupNames {
    /// They are changed, with a warning.
    Always,
    /// They are kept, with a warning.
    #[default]
    Never,
    /// They are kept.
    Ignore,
    /// They are changed.
    Silently,
}

/// What is done when a pattern matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mismatch {
    /// A warning.
    #[default]
    Warning,
    /// An error.
    Error,
    /// Nothing.
    Ignore,
}

impl ReadSettings {
    /// As settings have it; reader, templar, variables of the command line and Python are left at their defaults.
    pub fn of(settings: &Settings) -> Self {
        ReadSettings {
            enabled: settings.inventory_enabled.clone(),
            ignored_extensions: settings.inventory_ignore_exts.clone(),
            ignored_patterns: settings.inventory_ignore_patterns.clone(),
            yaml_extensions: settings.yaml_filename_extensions.clone(),
            group_names: match settings.transform_invalid_group_chars.as_str() {
                "always" => GroupNames::Always,
                "ignore" => GroupNames::Ignore,
                "silently" => GroupNames::Silently,
                _ => GroupNames::Never,
            },
            unparsed_fails: settings.inventory_unparsed_is_failed,
            unparsed_warns: settings.inventory_unparsed_warning,
            any_unparsed_fails: settings.inventory_any_unparsed_is_failed,
            mismatch: match settings.host_pattern_mismatch.as_str() {
                "error" => Mismatch::Error,
                "ignore" => Mismatch::Ignore,
                _ => Mismatch::Warning,
            },
            precedence: settings.variable_precedence.clone(),
            merge: settings.hash_behaviour == "merge",
            variable_files: settings
                .variable_plugins_enabled
                .iter()
                .any(|name| name.rsplit('.').next() == Some("host_group_vars")),
            facts: (settings.cache_plugin.rsplit('.').next() == Some("jsonfile"))
                .then(|| settings.cache_plugin_connection.clone())
                .flatten()
                .map(std::path::PathBuf::from),
            ..ReadSettings::default()
        }
    }
}

impl Default for ReadSettings {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        ReadSettings {
            enabled: list(&["host_list", "script", "auto", "yaml", "ini", "toml"]),
            ignored_extensions: list(&[
                ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig",
                ".cfg", ".retry",
            ]),
            ignored_patterns: Vec::new(),
            yaml_extensions: list(&[".yml", ".yaml", ".json"]),
            group_names: GroupNames::default(),
            unparsed_fails: false,
            unparsed_warns: true,
            any_unparsed_fails: false,
            mismatch: Mismatch::default(),
            show_complaints: true,
            precedence: list(&[
                "all_inventory",
                "groups_inventory",
                "all_plugins_inventory",
                "all_plugins_play",
                "groups_plugins_inventory",
                "groups_plugins_play",
            ]),
            merge: false,
            variable_files: true,
            foreign_variables: false,
            reader: Reader::new(),
            extra_variables: Dict::default(),
            python: "/usr/bin/python3".to_owned(),
            templar: Templar::new(&TemplarOptions::default()),
            use_extra_variables: false,
            facts: None,
        }
    }
}
