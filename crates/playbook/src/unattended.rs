//! Runs that no command line asked for: of a part of a score, of a machine that keeps itself as it should be.
//!
//! A [`Run`] says all of it: nothing is looked up in the process's environment, working directory or terminal. Settings come
//! from the `ansible.cfg` of the sources alone, so that the same sources mean the same everywhere.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bridge::{Bridge, BridgeOptions};
use crate::command::running::option_variables;
use crate::connection::{Connections, Pool};
use crate::executor::{self, Foresight, Options, Parts, What};
use crate::inventory::{Inventory, Limits, ReadSettings};
use crate::language::{LoaderOptions, Play, Playbook, PlaybookLoader};
use crate::output::Callback;
use crate::paths::Surroundings;
use crate::settings::{Settings, Sources};
use crate::source::{Duplicates, Located, Notices, Reader, Secrets};
use crate::template::{Plugins, Templar, TemplarOptions};
use crate::variables::Memory;
use crate::vault::Vault;

/// A host that is given beside the inventory's sources.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its name.
    pub name: Arc<str>,
    /// Its variables: `ansible_host`, `ansible_user`, ...
    pub variables: Dict,
    /// Its groups.
    pub groups: Vec<String>,
}

/// What is run, and how.
#[derive(Clone)]
pub struct Run {
    /// The playbooks, absolute, in order.
    pub playbooks: Vec<PathBuf>,
    /// The directory that `ansible.cfg` is looked for in, after that of the first playbook; nothing outside counts.
    pub root: PathBuf,
    /// Sources of the inventory, absolute, or lists of hosts with commas. When there are none, and no hosts either, what an
    /// `ansible.cfg` of the sources says.
    pub inventory: Vec<String>,
    /// Hosts beside.
    pub hosts: Vec<Given>,
    /// Groups whose hosts are known only later.
    pub open_groups: Vec<String>,
    /// Variables that count over all others.
    pub variables: Dict,
    /// Only the hosts of these that match this pattern.
    pub limit: Option<String>,
    /// Opens what is encrypted.
    pub vault: Arc<Vault>,
    /// Stands before the vault where somebody wants to know what was opened.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// The environment that lookups and programs of the controller see.
    pub environment: std::collections::BTreeMap<String, String>,
    /// How it is run; its `directory` is that of the first playbook.
    pub options: Options,
}

/// A run that can begin: everything read but the playbooks.
pub struct Ready {
    options: Options,
    settings: Arc<Settings>,
    sources: Arc<Sources>,
    extra: Dict,
    option_variables: Dict,
    templar: Templar,
    loader: PlaybookLoader,
    inventory: Inventory,
    notices: Notices,
    pool: Arc<Pool>,
    playbooks: Vec<PathBuf>,
}

impl Run {
    /// The directory of the first playbook.
    fn directory(&self) -> PathBuf {
        self.playbooks
            .first()
            .and_then(|playbook| playbook.parent())
            .unwrap_or(&self.root)
            .to_owned()
    }

    /// The settings of the sources.
    fn sources(&self, directory: &Path) -> Result<Sources, Located> {
        let mut surroundings = Surroundings {
            variables: self.environment.clone(),
            directory: directory.to_string_lossy().into_owned(),
        };
        // Settings of whoever happens to run it would make another run of it.
        surroundings
            .variables
            .retain(|name, _| !name.starts_with("ANSIBLE_"));
        let own = [directory, &self.root]
            .into_iter()
            .map(|directory| directory.join("ansible.cfg"))
            .find(|path| path.is_file());
        let Some(own) = own else {
            return Ok(Sources::bare(surroundings));
        };
        surroundings.variables.insert(
            "ANSIBLE_CONFIG".to_owned(),
            own.to_string_lossy().into_owned(),
        );
        Sources::find(surroundings, &mut Vec::new())
    }

    /// The way to plugins that are written in Python.
    fn bridge(&self, directory: &Path, settings: &Settings) -> Bridge {
        let options = &self.options;
        let arguments = json!({
            "verbosity": 0,
            "check": options.check,
            "diff": options.diff,
            "forks": options.forks.max(1),
            "connection": options.connection.as_ref().unwrap_or(&settings.transport),
            "remote_user": options.remote_user.as_ref().or(settings.remote_user.as_ref()),
            "timeout": settings.timeout,
            "become": options.r#become || settings.becomes,
            "become_method": options.become_method.as_ref().unwrap_or(&settings.become_method),
            "become_user": options.become_user,
            "tags": if options.tags.is_empty() { vec!["all".to_owned()] } else { options.tags.clone() },
            "skip_tags": options.skip_tags,
            "inventory": self.inventory,
            "subset": self.limit,
            "args": [],
        });
        let bridge = Bridge::new(BridgeOptions {
            directory: directory.to_owned(),
            arguments: arguments.as_object().cloned().unwrap_or_default(),
            vault: Some(Arc::clone(&self.vault)),
        });
        bridge.look_in(directory);
        bridge
    }

    /// Reads settings, variables and the inventory. Blocks: files are read, and inventories that are programs are run.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn prepare(&self, notices: Notices) -> Result<Ready, Located> {
        let directory = self.directory();
        let sources = self.sources(&directory)?;
        let mut settings = Settings::load(&sources)?;
        // Results tell what modules were asked, secrets taken out; no files are left beside the sources.
        settings.inject_invocation = true;
        settings.retry_files_enabled = false;
        let settings = Arc::new(settings);
        let mut reader = Reader::new().telling(Arc::clone(&notices)).with_duplicates(
            match settings.duplicate_yaml_dict_key.as_str() {
                "error" => Duplicates::Error,
                "ignore" => Duplicates::Ignore,
                _ => Duplicates::Warn,
            },
        );
        reader = reader.with_secrets(match &self.secrets {
            Some(secrets) => Arc::clone(secrets),
            None => Arc::clone(&self.vault) as Arc<dyn Secrets>,
        });
        let bridge = self.bridge(&directory, &settings);
        let surroundings = sources.surroundings().clone();
        let templar = Templar::new(&TemplarOptions {
            basedir: directory.clone(),
            extensions: !settings.jinja2_extensions.is_empty(),
            allow_broken_conditionals: settings.allow_broken_conditionals,
            allow_embedded_templates: settings.allow_embedded_templates,
            reader: reader.clone(),
            surroundings: surroundings.clone(),
            sources: Arc::new(sources.clone()),
            managed: settings.managed_str.clone(),
            plugins: Some(Arc::new(bridge) as Arc<dyn Plugins>),
            ..TemplarOptions::default()
        });
        let from_settings = settings
            .host_list
            .iter()
            .filter(|source| source.contains(',') || Path::new(source).starts_with(&self.root));
        let named: Vec<String> = if self.inventory.is_empty() && self.hosts.is_empty() {
            from_settings.cloned().collect()
        } else {
            self.inventory.clone()
        };
        let read = ReadSettings {
            reader: reader.clone(),
            templar: templar.clone(),
            extra_variables: self.variables.clone(),
            unparsed_warns: settings.inventory_unparsed_warning && !named.is_empty(),
            ..ReadSettings::of(&settings)
        };
        let mut inventory = Inventory::read(&named, Arc::new(read), &notices)?;
        for host in &self.hosts {
            inventory.add_dynamic_host(&host.name, &host.variables, &host.groups, &notices)?;
        }
        for group in &self.open_groups {
            inventory.open_group(group, &notices)?;
        }
        inventory.limit_to(self.limit.as_deref())?;
        let mut options = self.options.clone();
        options.directory.clone_from(&directory);
        options.diff |= settings.diff_always;
        options.force_handlers |= settings.force_handlers;
        if options.forks == 0 {
            options.forks = usize::try_from(settings.forks).unwrap_or(5).max(1);
        }
        for (tags, set) in [
            (&mut options.tags, &settings.tags_run),
            (&mut options.skip_tags, &settings.tags_skip),
        ] {
            tags.extend(set.iter().cloned());
        }
        if options.tags.is_empty() {
            options.tags.push("all".to_owned());
        }
        let option_variables = option_variables(&options, &named, self.limit.as_deref());
        let loader = PlaybookLoader::new(LoaderOptions {
            reader,
            settings: Arc::clone(&settings),
            sources: sources.clone(),
            templar: templar.clone(),
            extra: self.variables.clone(),
            magic: option_variables.clone(),
        });
        Ok(Ready {
            options,
            settings,
            sources: Arc::new(sources),
            extra: self.variables.clone(),
            option_variables,
            templar,
            loader,
            inventory,
            notices,
            pool: Arc::new(Pool::new()),
            playbooks: self.playbooks.clone(),
        })
    }
}

impl Ready {
    /// The hosts and groups.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Reads the playbooks with all they import. Blocks.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn playbooks(&self) -> Result<Vec<Playbook>, Located> {
        self.playbooks
            .iter()
            .map(|path| {
                let playbook = self.loader.playbook(path)?;
                for play in &playbook.plays {
                    let name = play.name.as_ref().and_then(Value::as_str);
                    self.loader.check(play, name.unwrap_or_default())?;
                }
                Ok(playbook)
            })
            .collect()
    }

    /// The hosts a play is for, as far as that can be said without running it: a pattern that is a template is rendered with
    /// the variables that count over all others.
    ///
    /// # Errors
    /// The pattern is wrong, or uses what is not known.
    pub fn hosts(&self, play: &Play) -> Result<Vec<Arc<str>>, Located> {
        let written = play
            .scope
            .directives
            .get(crate::language::Directive::Hosts)
            .cloned()
            .unwrap_or_default();
        let rendered = self
            .templar
            .render(&written, &self.extra)
            .map_err(|error| Located::from(&error))?;
        let patterns: Vec<String> = match &rendered {
            Value::List(list) => list.read().iter().map(consort_jinja::repr::text).collect(),
            other => vec![consort_jinja::repr::text(other)],
        };
        self.inventory
            .matching_all(&patterns, Limits::Respected, &self.notices)
    }

    /// Whether a variable counts over all others.
    pub fn is_given(&self, name: &str) -> bool {
        self.extra.read().contains_key(&Key::from(name))
    }

    /// A play that stands in no file; paths in it are relative to the directory of the first playbook.
    ///
    /// # Errors
    /// Something is wrong with it.
    pub fn play(&self, data: &Value) -> Result<Play, Located> {
        self.loader.play(data, &self.options.directory)
    }

    /// Carries the playbooks out, or the play in their place; those who are told hear of everything. Gives the status that
    /// `ansible-playbook` would end with.
    ///
    /// Reads files and renders templates on the task that polls it.
    ///
    /// # Errors
    /// What stopped the run.
    pub async fn run(
        self,
        only: Option<Arc<Play>>,
        callbacks: Vec<Box<dyn Callback>>,
    ) -> Result<i32, Located> {
        let pool = Arc::clone(&self.pool);
        let what = match only {
            Some(play) => What::Play(play),
            None => What::Playbooks(
                self.playbooks
                    .iter()
                    .map(|path| path.to_string_lossy().into_owned())
                    .collect(),
            ),
        };
        let parts = Parts {
            settings: self.settings,
            sources: self.sources,
            inventory: self.inventory,
            extra: self.extra,
            option_variables: self.option_variables,
            cache: Box::new(Memory),
            templar: self.templar,
            connections: Arc::clone(&pool) as Arc<dyn Connections>,
            loader: self.loader,
            callbacks,
            notices: self.notices,
        };
        let ended = executor::run(what, self.options, parts).await;
        // What is open ends in its own time, but not in any time.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), pool.close()).await;
        ended
    }

    /// As [`Ready::run`], on a thread where blocking is allowed. When the call is dropped, or `stop` cancelled, no further task
    /// begins.
    ///
    /// # Errors
    /// As [`Ready::run`].
    pub async fn run_aside(
        mut self,
        only: Option<Arc<Play>>,
        callbacks: Vec<Box<dyn Callback>>,
        stop: &CancellationToken,
    ) -> Result<i32, Located> {
        let stop = stop.child_token();
        self.options.stop = stop.clone();
        let ends = stop.drop_guard();
        let runtime = tokio::runtime::Handle::current();
        let done =
            tokio::task::spawn_blocking(move || runtime.block_on(self.run(only, callbacks))).await;
        drop(ends.disarm());
        done.unwrap_or_else(|ended| Err(Located::new(format!("The run broke off: {ended}"))))
    }

    /// With notifications of an earlier run that did not come to their handlers, by host.
    #[must_use]
    pub fn notifying(mut self, notified: HashMap<Arc<str>, Vec<Arc<str>>>) -> Self {
        self.options.notified = notified;
        self
    }

    /// The same with foresight, in check mode.
    #[must_use]
    pub fn foreseeing(mut self, foresight: Arc<Foresight>) -> Self {
        self.options.foresight = Some(foresight);
        self
    }
}
