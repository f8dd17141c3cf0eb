//! Sources to an inventory: each is given to the plugins in turn until one can read it.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Key, Origin, Value};

use super::notice::{deprecate, detail, warn};
use super::{
    Inventory, ReadSettings, VariableFiles, constructed, generator, host_list, ini, script,
    structured,
};
use crate::bridge::{Bridge, Machinery, Machines};
use crate::source::{Located, Notice, Notices};

/// The default source: not having it is nothing to tell.
const DEFAULT_SOURCE: &str = "/etc/ansible/hosts";

/// An inventory while a source is read into it.
pub(super) struct Reading<'i> {
    pub(super) inventory: &'i mut Inventory,
    /// The source that is being read.
    source: String,
    /// Those that have been read.
    pub(super) processed: Vec<String>,
    notices: &'i Notices,
}

impl Inventory {
    /// Reads sources, in order: files, directories of them, programs, lists of hosts (what has a comma). Paths are absolute.
    ///
    /// Runs programs and waits for them: not for a thread that others wait for.
    ///
    /// # Errors
    /// A source cannot be read and settings make that an error.
    pub fn read(
        sources: &[String],
        settings: Arc<ReadSettings>,
        notices: &Notices,
    ) -> Result<Inventory, Located> {
        let mut inventory = Inventory::new(settings);
        inventory.sources = sources.to_vec();
        let mut reading = Reading {
            inventory: &mut inventory,
            source: String::new(),
            processed: Vec::new(),
            notices,
        };
        let mut parsed = false;
        for source in reading.inventory.sources.clone() {
            if !source.is_empty() {
                parsed |= reading.source(&source)?;
            }
        }
        inventory.files = Arc::new(VariableFiles::new(
            &inventory.sources,
            Arc::clone(inventory.settings()),
        ));
        if parsed {
            inventory.reconcile(notices);
        } else if inventory.settings().unparsed_fails {
            return Err(Located::new(
                "No inventory was parsed, please check your configuration and options.",
            ));
        } else if inventory.settings().unparsed_warns {
            warn(
                notices,
                "No inventory was parsed, only implicit localhost is available",
            );
        }
        Ok(inventory)
    }
}

impl Reading<'_> {
    /// Reads one source; whether it could be.
    fn source(&mut self, source: &str) -> Result<bool, Located> {
        if Path::new(source).is_dir() {
            let mut parsed = false;
            for entry in self.entries(source)? {
                parsed |= self.source(&entry)?;
            }
            // What the directory is, is left to what it holds: each part has told its own failure.
            if parsed {
                self.processed.push(source.to_owned());
            } else {
                self.unreadable(source, Vec::new())?;
            }
            return Ok(parsed);
        }
        source.clone_into(&mut self.source);
        let mut failures = Vec::new();
        for plugin in self.settings().enabled.clone() {
            let name = plugin.strip_prefix("ansible.builtin.").unwrap_or(&plugin);
            let Some(kind) = Plugin::named(name) else {
                if let Some(bridge) = self.bridge_knowing(&plugin)? {
                    match self.foreign(&bridge, &plugin, source) {
                        Ok(true) => {
                            self.detail(
                                3,
                                format!(
                                    "Parsed {source} inventory source with {plugin} plugin"
                                ),
                            );
                            self.processed.push(source.to_owned());
                            return Ok(true);
                        }
                        Ok(false) => self.detail(
                            3,
                            format!(
                                "{plugin} declined parsing {source} as it did not pass its verify_file() method"
                            ),
                        ),
                        Err(error) => failures.push((plugin, error)),
                    }
                    continue;
                }
                warn(
                    self.notices,
                    format!("Failed to load inventory plugin, skipping {plugin}"),
                );
                continue;
            };
            if !kind.wants(source, self.settings()) {
                self.detail(
                    3,
                    format!(
                        "{plugin} declined parsing {source} as it did not pass its verify_file() method"
                    ),
                );
                continue;
            }
            match kind.parse(self, source) {
                Ok(()) => {
                    self.detail(
                        3,
                        format!("Parsed {source} inventory source with {plugin} plugin"),
                    );
                    self.processed.push(source.to_owned());
                    return Ok(true);
                }
                Err(error) if error.has_place() => failures.push((plugin, error)),
                Err(error) => {
                    let place = Arc::new(Origin {
                        file: format!(
                            "<inventory plugin {} with source {}>",
                            consort_jinja::repr::string(&plugin),
                            consort_jinja::repr::string(source)
                        )
                        .into(),
                        line: 0,
                        column: 0,
                    });
                    failures.push((plugin, error.at(&place)));
                }
            }
        }
        self.unreadable(source, failures)?;
        Ok(false)
    }

    /// The way to a plugin in Python, if there is one of the name.
    fn bridge_knowing(&self, plugin: &str) -> Result<Option<Bridge>, Located> {
        let Some(bridge) = self.settings().templar.bridge() else {
            return Ok(None);
        };
        match bridge.knows("inventory", plugin) {
            Ok(known) => Ok(known.then(|| bridge.clone())),
            // Without ansible-core there are no such plugins.
            Err(crate::bridge::Error::Absent(why)) => {
                self.detail(1, why);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets a plugin in Python read a source; whether it wanted to.
    fn foreign(&mut self, bridge: &Bridge, plugin: &str, source: &str) -> Result<bool, Located> {
        let names =
            |names: &indexmap::IndexSet<Arc<str>>| names.iter().map(ToString::to_string).collect();
        let known = Machines {
            hosts: self
                .inventory
                .hosts
                .values()
                .map(|host| (host.name.to_string(), host.variables.clone()))
                .collect(),
            groups: self
                .inventory
                .groups
                .values()
                .map(|group| Machinery {
                    name: group.name.to_string(),
                    hosts: names(&group.hosts),
                    children: names(&group.children),
                    variables: group.variables.clone(),
                })
                .collect(),
            warnings: Vec::new(),
        };
        let Some(found) = bridge.inventory(plugin, source, &known)? else {
            return Ok(false);
        };
        for warning in found.warnings {
            (self.notices)(Notice::Warning(warning));
        }
        for (name, variables) in &found.hosts {
            self.add_hosts(std::slice::from_ref(name), None, None, &[])?;
            self.set_variables(name, variables)?;
        }
        for group in &found.groups {
            let name = self.add_group(&group.name)?;
            self.set_variables(&name, &group.variables)?;
        }
        for group in &found.groups {
            let name = self.add_group(&group.name)?;
            for child in group.children.iter().chain(&group.hosts) {
                self.inventory.add_child(&name, child)?;
            }
        }
        Ok(true)
    }

    fn set_variables(&mut self, of: &str, variables: &consort_jinja::Dict) -> Result<(), Located> {
        let entries = variables.read().clone();
        for (key, value) in entries {
            self.set_variable(of, &key, value)?;
        }
        Ok(())
    }

    fn unreadable(
        &mut self,
        source: &str,
        failures: Vec<(String, Located)>,
    ) -> Result<(), Located> {
        if source == DEFAULT_SOURCE && !Path::new(source).exists() {
            return Ok(());
        }
        for (plugin, error) in failures {
            (self.notices)(Notice::Warning(
                Located::new(format!(
                    "Failed to parse inventory with {} plugin.",
                    consort_jinja::repr::string(&plugin)
                ))
                .because(error),
            ));
        }
        if self.settings().any_unparsed_fails {
            return Err(Located::new(format!(
                "Completely failed to parse inventory source {source}"
            )));
        }
        warn(
            self.notices,
            format!("Unable to parse {source} as an inventory source"),
        );
        Ok(())
    }

    /// The paths of a directory that may be sources, by name.
    fn entries(&self, directory: &str) -> Result<Vec<String>, Located> {
        let settings = self.settings();
        let patterns: Vec<fancy_regex::Regex> = settings
            .ignored_patterns
            .iter()
            .map(|pattern| {
                fancy_regex::Regex::new(pattern).map_err(|error| {
                    Located::new(format!("inventory_ignore_patterns: {pattern}: {error}"))
                })
            })
            .collect::<Result<_, _>>()?;
        let ignored = |name: &str| {
            name.starts_with('.')
                || matches!(name, "host_vars" | "group_vars" | "vars_plugins")
                || settings
                    .ignored_extensions
                    .iter()
                    .any(|end| name.ends_with(end.as_str()))
                || patterns
                    .iter()
                    .any(|pattern| pattern.is_match(name).unwrap_or(false))
        };
        let listing = std::fs::read_dir(directory)
            .map_err(|error| Located::new(script::os_error(&error, directory)))?;
        let mut names: Vec<String> = listing
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !ignored(name))
            .collect();
        names.sort();
        Ok(names
            .into_iter()
            .map(|name| format!("{}/{name}", directory.trim_end_matches('/')))
            .collect())
    }

    pub(super) fn settings(&self) -> &Arc<ReadSettings> {
        self.inventory.settings()
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        warn(self.notices, message);
    }

    pub(super) fn detail(&self, level: u8, message: impl Into<String>) {
        detail(self.notices, level, message);
    }

    pub(super) fn deprecate(&self, what: Located) {
        deprecate(self.notices, what);
    }

    /// What a program complained.
    pub(super) fn error(&self, message: &str) {
        (self.notices)(Notice::Warning(Located::new(message.trim_end())));
    }

    pub(super) fn notices(&self) -> &Notices {
        self.notices
    }

    /// The content of a file, opened if it is encrypted.
    pub(super) fn content(&self, path: &str) -> Result<Vec<u8>, Located> {
        Ok(self.settings().reader.bytes(Path::new(path))?.0)
    }

    /// What a file in YAML or JSON says.
    pub(super) fn load(&self, path: &str) -> Result<Value, Located> {
        let node = self.settings().reader.file(Path::new(path))?;
        Ok(node.map_or(Value::None, |node| node.value()))
    }

    pub(super) fn safe_group_name(&self, name: &str) -> String {
        self.inventory.safe_group_name(name, self.notices)
    }

    pub(super) fn add_group(&mut self, name: &str) -> Result<Arc<str>, Located> {
        self.inventory.add_group(name, self.notices)
    }

    /// Adds hosts with the same variables.
    pub(super) fn add_hosts(
        &mut self,
        names: &[String],
        group: Option<&str>,
        port: Option<u32>,
        variables: &[(Key, Value)],
    ) -> Result<(), Located> {
        for name in names {
            let name =
                self.inventory
                    .add_host(name, group, port, Some(&self.source), self.notices)?;
            for (key, value) in variables {
                self.set_variable(&name, key, value.clone())?;
            }
        }
        Ok(())
    }

    pub(super) fn set_variable(
        &mut self,
        of: &str,
        name: &Key,
        value: Value,
    ) -> Result<(), Located> {
        self.inventory.set_variable(of, name, value, self.notices)
    }
}

/// What can read sources.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plugin {
    HostList,
    AdvancedHostList,
    Script,
    Auto,
    Yaml,
    Ini,
    Toml,
    Constructed,
    Generator,
}

impl Plugin {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "host_list" => Plugin::HostList,
            "advanced_host_list" => Plugin::AdvancedHostList,
            "script" => Plugin::Script,
            "auto" => Plugin::Auto,
            "yaml" => Plugin::Yaml,
            "ini" => Plugin::Ini,
            "toml" => Plugin::Toml,
            "constructed" => Plugin::Constructed,
            "generator" => Plugin::Generator,
            _ => return None,
        })
    }

    fn wants(self, source: &str, settings: &ReadSettings) -> bool {
        let path = Path::new(source);
        let extension = path
            .extension()
            .map(|extension| format!(".{}", extension.to_string_lossy()));
        let readable = || nix::unistd::access(path, nix::unistd::AccessFlags::R_OK).is_ok();
        let is_yaml = || {
            extension
                .as_ref()
                .is_none_or(|extension| settings.yaml_extensions.contains(extension))
        };
        match self {
            Plugin::HostList | Plugin::AdvancedHostList => source.contains(',') && !path.exists(),
            Plugin::Script => {
                readable() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
            }
            Plugin::Auto => matches!(extension.as_deref(), Some(".yml" | ".yaml")) && readable(),
            Plugin::Yaml => is_yaml() && readable(),
            Plugin::Ini => extension.as_deref() != Some(".toml") && readable(),
            Plugin::Toml => extension.as_deref() == Some(".toml") && readable(),
            Plugin::Constructed | Plugin::Generator => {
                (is_yaml() || extension.as_deref() == Some(".config")) && readable()
            }
        }
    }

    fn parse(self, reading: &mut Reading<'_>, source: &str) -> Result<(), Located> {
        match self {
            Plugin::HostList => host_list::parse(reading, source, false),
            Plugin::AdvancedHostList => host_list::parse(reading, source, true),
            Plugin::Script => script::parse(reading, source),
            Plugin::Auto => auto(reading, source),
            Plugin::Yaml => structured::parse_yaml(reading, source),
            Plugin::Ini => ini::parse(reading, source),
            Plugin::Toml => structured::parse_toml(reading, source),
            Plugin::Constructed => constructed::parse(reading, source),
            Plugin::Generator => generator::parse(reading, source),
        }
    }
}

/// Lets the plugin read that the file itself names.
fn auto(reading: &mut Reading<'_>, source: &str) -> Result<(), Located> {
    let data = reading.load(source)?;
    let plugin = match &data {
        Value::Dict(entries) => entries.get("plugin"),
        _ => None,
    };
    let Some(name) = plugin
        .as_ref()
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
    else {
        return Err(Located::parser(format!(
            "no root 'plugin' key found, '{source}' is not a valid YAML inventory plugin config file"
        )));
    };
    let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
    let Some(kind) = Plugin::named(short).filter(|kind| *kind != Plugin::Auto) else {
        if let Some(bridge) = reading.bridge_knowing(name)? {
            let name = name.to_owned();
            if reading.foreign(&bridge, &name, source)? {
                return Ok(());
            }
            return Err(Located::parser(format!(
                "inventory source '{source}' could not be verified by inventory plugin '{name}'"
            )));
        }
        return Err(Located::parser(format!(
            "inventory config '{source}' specifies unknown plugin '{name}'"
        )));
    };
    if !kind.wants(source, reading.settings()) {
        return Err(Located::parser(format!(
            "inventory source '{source}' could not be verified by inventory plugin '{name}'"
        )));
    }
    reading.detail(
        1,
        format!("Using inventory plugin '{short}' to process inventory source '{source}'"),
    );
    kind.parse(reading, source)
}
