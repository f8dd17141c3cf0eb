//! What every command begins with: settings, secrets, variables of the command line, the inventory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::Dict;

use super::options::VaultOptions;
use super::terminal::Terminal;
use super::{extra_variables, passwords};
use crate::bridge::Bridge;
use crate::inventory::{Inventory, ReadSettings};
use crate::paths::{Surroundings, unfrack};
use crate::settings::{Settings, Sources};
use crate::source::{Duplicates, Located, Reader};
use crate::template::{Plugins, Templar, TemplarOptions};
use crate::vault::Vault;

/// What a command has read before it begins.
pub(super) struct Session {
    pub(super) surroundings: Surroundings,
    pub(super) sources: Sources,
    pub(super) settings: Arc<Settings>,
    pub(super) terminal: Terminal,
}

impl Session {
    /// Finds and reads settings.
    pub(super) fn new(verbose: u8) -> Result<Session, Located> {
        let surroundings = Surroundings::of_process();
        let mut notices = Vec::new();
        let sources = Sources::find(surroundings.clone(), &mut notices)?;
        let settings = Settings::load(&sources)?;
        let verbosity = if verbose > 0 {
            verbose.saturating_add(u8::try_from(settings.verbosity).unwrap_or(0))
        } else {
            u8::try_from(settings.verbosity).unwrap_or(0)
        };
        notices.extend(crate::settings::outgoing(&sources));
        notices.extend(crate::settings::unheeded(&sources));
        let terminal = Terminal::with_hints(&settings, verbosity, hints(&surroundings));
        for notice in &notices {
            terminal.notice(notice);
        }
        Ok(Session {
            surroundings,
            sources,
            settings: Arc::new(settings),
            terminal,
        })
    }

    /// Tells which settings are in use.
    pub(super) fn begin(&self, program: &str) {
        self.terminal
            .detail(2, &super::version::text(program, self));
        match &self.sources.file {
            Some(file) => self
                .terminal
                .detail(1, &format!("Using {} as config file", file.display())),
            None => self
                .terminal
                .detail(1, "No config file found; using defaults"),
        }
    }

    /// The sources of the inventory: of the options, else of the settings.
    pub(super) fn inventory_sources(&self, written: &[String]) -> Vec<String> {
        if written.is_empty() {
            return self.settings.host_list.clone();
        }
        written
            .iter()
            .map(|source| {
                if source.contains(',') {
                    source.clone()
                } else {
                    unfrack(source, &self.surroundings, None)
                }
            })
            .collect()
    }

    /// The vault of the options.
    pub(super) fn vault(&self, options: &VaultOptions) -> Result<Arc<Vault>, Located> {
        passwords::vault(options, &self.settings, &self.surroundings, &self.terminal).map(Arc::new)
    }

    /// What reads files.
    pub(super) fn reader(&self, vault: &Arc<Vault>) -> Reader {
        Reader::new()
            .with_secrets(Arc::clone(vault) as Arc<dyn crate::source::Secrets>)
            .telling(self.terminal.notices())
            .with_duplicates(match self.settings.duplicate_yaml_dict_key.as_str() {
                "error" => Duplicates::Error,
                "ignore" => Duplicates::Ignore,
                _ => Duplicates::Warn,
            })
    }

    /// What renders templates, with a directory for relative paths.
    pub(super) fn templar(
        &self,
        directory: &Path,
        reader: &Reader,
        bridge: Option<&Bridge>,
    ) -> Templar {
        Templar::new(&TemplarOptions {
            basedir: directory.to_owned(),
            extensions: !self.settings.jinja2_extensions.is_empty(),
            allow_broken_conditionals: self.settings.allow_broken_conditionals,
            allow_embedded_templates: self.settings.allow_embedded_templates,
            reader: reader.clone(),
            surroundings: self.surroundings.clone(),
            sources: Arc::new(self.sources.clone()),
            managed: self.settings.managed_str.clone(),
            plugins: bridge.map(|bridge| Arc::new(bridge.clone()) as Arc<dyn Plugins>),
            warn: self.terminal.warned(),
        })
    }

    /// The variables of the command line.
    pub(super) fn extra_variables(
        &self,
        written: &[String],
        reader: &Reader,
    ) -> Result<Dict, Located> {
        extra_variables::read(
            written,
            reader,
            self.settings.hash_behaviour == "merge",
            &self.surroundings,
        )
    }

    /// Reads the inventory.
    pub(super) fn inventory(
        &self,
        sources: &[String],
        reader: Reader,
        templar: Templar,
        extra_variables: Dict,
    ) -> Result<Inventory, Located> {
        let flag = |variables: &[&str], keys: &[(&str, &str)], default: bool| {
            self.sources
                .raw(variables, keys)
                .map_or(default, |(text, _)| {
                    matches!(
                        text.trim().to_lowercase().as_str(),
                        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0"
                    )
                })
        };
        let settings = ReadSettings {
            reader,
            templar,
            extra_variables,
            python: self.python(),
            foreign_variables: self.foreign_variables(),
            show_complaints: flag(
                &["ANSIBLE_INVENTORY_PLUGIN_SCRIPT_STDERR"],
                &[("inventory_plugin_script", "always_show_stderr")],
                true,
            ),
            use_extra_variables: flag(
                &["ANSIBLE_INVENTORY_USE_EXTRA_VARS"],
                &[("inventory_plugins", "use_extra_vars")],
                false,
            ),
            ..ReadSettings::of(&self.settings)
        };
        Inventory::read(sources, Arc::new(settings), &self.terminal.notices())
    }

    /// Whether there may be vars plugins in Python.
    fn foreign_variables(&self) -> bool {
        let named = self.settings.variable_plugins_enabled.iter().any(|name| {
            !matches!(
                name.as_str(),
                "" | "host_group_vars" | "ansible.builtin.host_group_vars"
            )
        });
        named
            || self
                .settings
                .vars_plugin_path
                .iter()
                .any(|path| std::fs::read_dir(path).is_ok_and(|mut files| files.next().is_some()))
            || Path::new(&self.surroundings.directory)
                .join("vars_plugins")
                .is_dir()
    }

    /// The Python of this machine: the first of the usual names on the path.
    pub(super) fn python(&self) -> String {
        let path = self
            .surroundings
            .variables
            .get("PATH")
            .map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
        path.split(':')
            .map(|directory| PathBuf::from(directory).join("python3"))
            .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
            .map_or_else(
                || "/usr/bin/python3".to_owned(),
                |file| file.to_string_lossy().into_owned(),
            )
    }
}

/// Whether what helps is told beside errors: as `CONSORT_HINTS` says, else to those who do not call this program by the name
/// of one of Ansible's.
fn hints(surroundings: &Surroundings) -> bool {
    match surroundings.variables.get("CONSORT_HINTS") {
        Some(says) => super::callbacks::is_yes(says),
        None => std::env::args()
            .next()
            .is_none_or(|program| super::Command::of_program(&program).is_none()),
    }
}
