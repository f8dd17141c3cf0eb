//! What `ansible-playbook` and `ansible` have in common: everything a run needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use consort_jinja::{Dict, Key, Value};

use super::callbacks;
use super::options::{
    BecomeOptions, CheckOptions, ConnectOptions, ExtraOptions, InventoryOptions, RunOptions,
    VaultOptions, Verbosity,
};
use super::passwords::Passwords;
use super::session::Session;
use super::version::ANSIBLE_VERSION;
use crate::bridge::ForeignCache;
use crate::connection::Pool;
use crate::executor::{self, Options, Parts, What};
use crate::inventory::{Inventory, LOCAL_NAMES, Limits};
use crate::language::{LoaderOptions, PlaybookLoader};
use crate::paths::unfrack;
use crate::settings::Settings;
use crate::source::{Located, Reader};
use crate::template::Templar;
use crate::variables::{FactCache, JsonFiles, Memory};

/// The options that both commands have.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
    #[command(flatten)]
    pub(super) inventory: InventoryOptions,
    #[command(flatten)]
    pub(super) vault: VaultOptions,
    #[command(flatten)]
    pub(super) extra: ExtraOptions,
    #[command(flatten)]
    pub(super) connect: ConnectOptions,
    #[command(flatten)]
    pub(super) becoming: BecomeOptions,
    #[command(flatten)]
    pub(super) check: CheckOptions,
    #[command(flatten)]
    pub(super) run: RunOptions,
}

/// What a run is made of, before it begins.
pub(super) struct Prepared<'s> {
    session: &'s Session,
    pub(super) settings: Arc<Settings>,
    pub(super) extra: Dict,
    pub(super) option_variables: Dict,
    pub(super) templar: Templar,
    pub(super) loader: PlaybookLoader,
    pub(super) inventory: Inventory,
    pub(super) options: Options,
}

impl Common {
    /// Checks the options that are numbers.
    pub(super) fn check(&self, session: &Session) -> Result<i64, Located> {
        let forks = self.run.forks.unwrap_or(session.settings.forks);
        if forks < 1 {
            return Err(Located::new("The number of processes (--forks) must be >= 1").exiting(2));
        }
        Ok(forks)
    }

    /// Reads secrets, variables and the inventory.
    pub(super) fn prepare<'s>(
        &self,
        session: &'s Session,
        directory: &Path,
        tags: &[String],
        skip_tags: &[String],
        passwords: Passwords,
    ) -> Result<Prepared<'s>, Located> {
        let forks = self.check(session)?;
        let vault = session.vault(&self.vault)?;
        let reader = session.reader(&vault);
        let extra = session.extra_variables(&self.extra.extra_vars, &reader)?;
        let bridge = super::plugins::bridge(session, self, directory, tags, skip_tags, &vault);
        let templar = session.templar(directory, &reader, Some(&bridge));
        let settings = self.settings(session);
        let sources = session.inventory_sources(&self.inventory.inventory);
        let inventory =
            session.inventory(&sources, reader.clone(), templar.clone(), extra.clone())?;
        let options = self.options(session, forks, tags, skip_tags, passwords);
        let option_variables =
            option_variables(&options, &sources, self.inventory.limit.as_deref());
        option_variables.change(|entries| {
            let file = session
                .sources
                .file
                .as_ref()
                .map_or(Value::None, |file| Value::from(&*file.to_string_lossy()));
            entries.insert(Key::from("ansible_config_file"), file);
            entries.insert(
                Key::from("ansible_playbook_python"),
                Value::from(session.python()),
            );
        });
        let loader = loader(
            session,
            &settings,
            reader,
            &templar,
            &extra,
            &option_variables,
        );
        Ok(Prepared {
            session,
            settings,
            extra,
            option_variables,
            templar,
            loader,
            inventory,
            options,
        })
    }

    /// The settings with what the options say of them.
    fn settings(&self, session: &Session) -> Arc<Settings> {
        if self.run.module_path.is_empty() {
            return Arc::clone(&session.settings);
        }
        let mut settings = (*session.settings).clone();
        let mut paths: Vec<String> = Vec::new();
        for written in self.run.module_path.iter().rev() {
            paths.extend(
                written
                    .split(':')
                    .filter(|path| !path.is_empty())
                    .map(|path| unfrack(path, &session.surroundings, None)),
            );
        }
        paths.append(&mut settings.module_path);
        settings.module_path = paths;
        Arc::new(settings)
    }

    fn options(
        &self,
        session: &Session,
        forks: i64,
        tags: &[String],
        skip_tags: &[String],
        passwords: Passwords,
    ) -> Options {
        let settings = &session.settings;
        let connect = &self.connect;
        let mut connection_options = Vec::new();
        let mut given = |name: &str, value: Option<String>| {
            connection_options.extend(value.map(|value| (name.to_owned(), value)));
        };
        given(
            "private_key_file",
            connect
                .private_key
                .as_ref()
                .map(|path| unfrack(path, &session.surroundings, None)),
        );
        given(
            "timeout",
            connect.timeout.map(|seconds| seconds.to_string()),
        );
        given("ssh_common_args", connect.ssh_common_args.clone());
        given("sftp_extra_args", connect.sftp_extra_args.clone());
        given("scp_extra_args", connect.scp_extra_args.clone());
        given("ssh_extra_args", connect.ssh_extra_args.clone());
        Options {
            forks: usize::try_from(forks).unwrap_or(1),
            check: self.check.check,
            diff: self.check.diff || settings.diff_always,
            verbosity: session.terminal.verbosity(),
            tags: tags.to_vec(),
            skip_tags: skip_tags.to_vec(),
            connection: connect.connection.clone(),
            remote_user: connect.user.clone(),
            r#become: self.becoming.becomes,
            become_method: self.becoming.become_method.clone(),
            become_user: self.becoming.become_user.clone(),
            connection_options,
            connection_password: passwords.login,
            become_password: passwords.becoming,
            directory: PathBuf::from(&session.surroundings.directory),
            flush_cache: self.inventory.flush_cache,
            force_handlers: settings.force_handlers,
            helps: session.terminal.hints(),
            ..Options::default()
        }
    }
}

fn loader(
    session: &Session,
    settings: &Arc<Settings>,
    reader: Reader,
    templar: &Templar,
    extra: &Dict,
    magic: &Dict,
) -> PlaybookLoader {
    PlaybookLoader::new(LoaderOptions {
        reader,
        settings: Arc::clone(settings),
        sources: session.sources.clone(),
        templar: templar.clone(),
        extra: extra.clone(),
        magic: magic.clone(),
    })
}

/// The options as variables.
pub(crate) fn option_variables(options: &Options, sources: &[String], limit: Option<&str>) -> Dict {
    let list = |texts: &[String]| {
        Value::list(
            texts
                .iter()
                .map(|text| Value::from(text.as_str()))
                .collect(),
        )
    };
    let numbers: Vec<i64> = ANSIBLE_VERSION
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    let number = |at: usize| Value::Int(numbers.get(at).copied().unwrap_or(0));
    let version: Dict = [
        ("string", Value::from(ANSIBLE_VERSION)),
        ("full", Value::from(ANSIBLE_VERSION)),
        ("major", number(0)),
        ("minor", number(1)),
        ("revision", number(2)),
    ]
    .into_iter()
    .collect();
    let variables: Dict = [
        ("ansible_version", Value::Dict(version)),
        ("ansible_check_mode", Value::Bool(options.check)),
        ("ansible_diff_mode", Value::Bool(options.diff)),
        ("ansible_forks", Value::Int(options.forks as i64)),
        ("ansible_inventory_sources", list(sources)),
        ("ansible_skip_tags", list(&options.skip_tags)),
        ("ansible_run_tags", list(&options.tags)),
        ("ansible_verbosity", Value::Int(options.verbosity.into())),
    ]
    .into_iter()
    .collect();
    if let Some(limit) = limit {
        variables.change(|entries| {
            entries.insert(Key::from("ansible_limit"), Value::from(limit));
        });
    }
    variables
}

impl Prepared<'_> {
    /// Limits the inventory, and says which hosts of a pattern are left.
    pub(super) fn hosts(
        &mut self,
        limit: Option<&str>,
        pattern: &str,
    ) -> Result<Vec<Arc<str>>, Located> {
        let notices = self.session.terminal.notices();
        let none = self
            .inventory
            .matching("all", Limits::Ignored, &notices)?
            .is_empty();
        if none && self.settings.localhost_warning && !LOCAL_NAMES.contains(&pattern) {
            self.session.terminal.warn(
                "provided hosts list is empty, only localhost is available. Note that the implicit localhost does not match 'all'",
            );
        }
        self.inventory.limit_to(limit)?;
        let hosts = self
            .inventory
            .matching(pattern, Limits::Respected, &notices)?;
        if hosts.is_empty() && !none {
            return Err(Located::new(
                "Specified inventory, host pattern and/or --limit leaves us with no hosts to target.",
            ));
        }
        Ok(hosts)
    }

    /// Runs; the exit status.
    pub(super) fn run(
        self,
        what: What,
        callback: &str,
        tree: Option<&str>,
    ) -> Result<i32, Located> {
        let session = self.session;
        let pool = Arc::new(Pool::new());
        let bridge = self.templar.bridge().cloned();
        let extra = self.extra.clone();
        let templar = self.templar.clone();
        let parts = Parts {
            cache: cache(&self.settings, session, &self.templar),
            settings: self.settings,
            sources: Arc::new(session.sources.clone()),
            inventory: self.inventory,
            extra: self.extra,
            option_variables: self.option_variables,
            templar: self.templar,
            connections: Arc::clone(&pool) as Arc<dyn crate::connection::Connections>,
            loader: self.loader,
            callbacks: callbacks::of(
                session,
                &callbacks::Chosen {
                    printing: callback,
                    tree,
                    check: self.options.check,
                    additional: matches!(what, What::Playbooks(_))
                        || session.settings.load_callback_plugins,
                    bridge: bridge.as_ref(),
                    extra: &extra,
                    templar: &templar,
                },
            )?,
            notices: session.terminal.notices(),
        };
        let options = self.options;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Located::new(format!("starting: {error}")))?;
        let result = runtime.block_on(async {
            let ended = tokio::select! {
                ended = executor::run(what, options, parts) => ended,
                _ = tokio::signal::ctrl_c() => {
                    Err(Located::new("User interrupted execution").exiting(99))
                }
            };
            // What is open ends in its own time, but not in any time.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(5), pool.close()).await;
            ended
        });
        if let Some(bridge) = &bridge {
            bridge.close();
        }
        runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        result
    }
}

/// Where facts are kept.
fn cache(settings: &Settings, session: &Session, templar: &Templar) -> Box<dyn FactCache> {
    let name = settings.cache_plugin.rsplit('.').next().unwrap_or_default();
    if let Some(bridge) = templar.bridge()
        && !matches!(name, "memory" | "jsonfile" | "")
    {
        return Box::new(ForeignCache {
            bridge: bridge.clone(),
            plugin: settings.cache_plugin.clone(),
        });
    }
    if name != "jsonfile" {
        return Box::new(Memory);
    }
    match &settings.cache_plugin_connection {
        Some(directory) => {
            let directory = unfrack(directory, &session.surroundings, None);
            // The prefix is that of shared stores unless somebody has set one.
            let prefix = session
                .sources
                .raw(
                    &["ANSIBLE_CACHE_PLUGIN_PREFIX"],
                    &[("defaults", "fact_caching_prefix")],
                )
                .map_or_else(String::new, |(text, _)| text);
            let timeout = u64::try_from(settings.cache_plugin_timeout)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(std::time::Duration::from_secs);
            let reader = templar.options().reader.clone();
            match JsonFiles::new(Path::new(&directory), &prefix, timeout, reader) {
                Ok(files) => return Box::new(files),
                Err(why) => session.terminal.warn(&why),
            }
        }
        None => session
            .terminal
            .warn("Required config '_uri' for 'jsonfile' cache plugin not provided."),
    }
    Box::new(Memory)
}

/// The tags of options: each may be several, between commas.
pub(super) fn tags(written: &[String], settings: &[String]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in settings
        .iter()
        .chain(written)
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
    {
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}
