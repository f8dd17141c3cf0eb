//! How the machine of a task is reached: whom it is delegated to, the connection, whom to become.

mod fallback;
mod options;
mod settled;

use std::sync::{Arc, OnceLock};

use consort_jinja::{Dict, Value, Variables as _, is_omit};
use consort_modules::Settings as ModuleSettings;
use serde_json::Value as Json;

use super::keyword::{Keywords, boolean, integer};
use super::plan::Plan;
use super::run::Run;
use super::work::{Work, says_yes};
use crate::action::Failure;
use crate::connection::{self, Become, Connection, ConnectionSettings};
use crate::language::Directive;
use crate::variables::TaskVariables;

use fallback::Fallback;
use options::BECOME_OPTIONS;
pub(super) use settled::Settled;

/// How the machine of a task is reached.
pub(super) struct Reach {
    run: Arc<Run>,
    plan: Arc<Plan>,
    directory: String,
    host: Arc<str>,
    pub(super) delegated: Option<Arc<str>>,
    /// The variables connections are made from: those of whom it is delegated to.
    variables: TaskVariables,
    way: OnceLock<Result<Way, Failure>>,
}

/// The way to a machine.
pub(super) struct Way {
    pub(super) connection: Arc<dyn Connection>,
    pub(super) settings: ConnectionSettings,
    pub(super) user: Option<Become>,
}

/// The methods of becoming another user that need no plugin in Python.
const METHODS: &[&str] = &[
    "doas",
    "dzdo",
    "ksu",
    "machinectl",
    "pbrun",
    "pfexec",
    "pmrun",
    "runuser",
    "su",
    "sudo",
];

fn leaf(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

impl Reach {
    /// Of a task on a host.
    pub(super) fn of(work: &Work, variables: &TaskVariables) -> Result<Self, Failure> {
        let run = &work.run;
        let delegated = match work.plan.keyword(Directive::DelegateTo) {
            None | Some(Value::None) => None,
            Some(written) => match run.templar.render(written, variables)? {
                value if is_omit(&value) => None,
                value => {
                    let name = value
                        .text()
                        .map(|text| text.to_string())
                        .unwrap_or_default();
                    if name.is_empty() || matches!(value, Value::None) {
                        return Err(Failure::error(format!(
                            "Empty hostname produced from delegate_to: \"{}\"",
                            written
                                .text()
                                .map(|text| text.to_string())
                                .unwrap_or_default()
                        )));
                    }
                    Some(host_of(run, &name))
                }
            },
        };
        let reached = match &delegated {
            None => variables.clone(),
            Some(delegated) => {
                let theirs = TaskVariables::of(&work.play, delegated, &work.plan.task);
                if let Some(name) = variables.get("inventory_hostname") {
                    theirs.set_local("inventory_hostname", name);
                }
                complete(work, &theirs, delegated);
                variables.set_local(
                    "ansible_delegated_vars",
                    Value::Dict(
                        [(&**delegated, theirs.as_value())]
                            .into_iter()
                            .collect::<Dict>(),
                    ),
                );
                theirs
            }
        };
        Ok(Reach {
            run: Arc::clone(run),
            plan: Arc::clone(&work.plan),
            directory: work.play.directory.to_string_lossy().into_owned(),
            host: delegated.clone().unwrap_or_else(|| Arc::clone(&work.host)),
            delegated,
            variables: reached,
            way: OnceLock::new(),
        })
    }

    /// Lets templates of the task see how it is reached, where no variable says it.
    pub(super) fn show(&self, variables: &TaskVariables) {
        variables.set_fallback(Arc::new(Fallback {
            run: Arc::clone(&self.run),
            plan: Arc::clone(&self.plan),
            host: Arc::clone(&self.host),
        }));
    }

    /// `module_defaults`, as it is written.
    pub(super) fn module_defaults(&self) -> Option<Value> {
        self.plan.keyword(Directive::ModuleDefaults).cloned()
    }

    fn keywords(&self) -> Keywords<'_> {
        Keywords {
            templar: &self.run.templar,
            variables: &self.variables,
            task: Some(&self.plan.task),
        }
    }

    /// The value of the last of some variables that is set, rendered.
    fn last(&self, names: &[&str]) -> Result<Option<Value>, Failure> {
        for name in names.iter().rev() {
            let Some(value) = self.variables.known(name) else {
                continue;
            };
            match self.run.templar.render(&value, &self.variables)? {
                Value::None => {}
                value if is_omit(&value) => {}
                value => return Ok(Some(value)),
            }
        }
        Ok(None)
    }

    fn text(&self, names: &[&str]) -> Result<Option<String>, Failure> {
        Ok(self
            .last(names)?
            .and_then(|value| value.text().ok())
            .map(|text| text.to_string()))
    }

    fn keyword(&self, name: &str, directive: Directive) -> Result<Option<String>, Failure> {
        Ok(self
            .keywords()
            .text(name, self.plan.keyword(directive))?
            .filter(|text| !text.is_empty()))
    }

    /// The plugin of the connection.
    fn plugin(&self) -> Result<String, Failure> {
        let plugin = match self.text(&["ansible_connection"])? {
            Some(plugin) => plugin,
            None => self
                .keyword("connection", Directive::Connection)?
                .or_else(|| self.run.options.connection.clone())
                .unwrap_or_else(|| self.run.settings.transport.clone()),
        };
        let plugin = plugin
            .strip_prefix("ansible.builtin.")
            .or_else(|| plugin.strip_prefix("ansible.legacy."))
            .unwrap_or(&plugin);
        Ok(if plugin == "smart" { "ssh" } else { plugin }.to_owned())
    }

    /// The full name of the connection's plugin; none if it cannot be told.
    pub(super) fn connection_name(&self) -> Option<Arc<str>> {
        let plugin = self.plugin().ok()?;
        Some(match plugin.as_str() {
            named if named.contains('.') => Arc::from(named),
            short => Arc::from(format!("ansible.builtin.{short}")),
        })
    }

    /// Whether the connection, or the way to become another user there, is written in Python.
    pub(super) fn foreign(&self) -> Result<bool, Failure> {
        let Some(bridge) = self.run.templar.bridge() else {
            return Ok(false);
        };
        let knows = |kind: &'static str, name: &str| {
            bridge
                .knows(kind, name)
                .map_err(|error| Failure::error(error.to_string()))
        };
        let plugin = self.plugin()?;
        if !connection::is_known(&plugin) {
            return knows("connection", &plugin);
        }
        if let Some(shell) = self.text(&["ansible_shell_type"])?
            && !matches!(shell.as_str(), "sh" | "bash" | "ansible.builtin.sh")
        {
            return knows("shell", &shell);
        }
        match self.becoming()? {
            Some(user) if !METHODS.contains(&leaf(&user.method)) => knows("become", &user.method),
            _ => Ok(false),
        }
    }

    /// The keywords that say how the machine is reached, rendered, as plugins read them.
    pub(super) fn settled_for_plugins(&self) -> Result<Vec<(&'static str, Json)>, Failure> {
        let run = &self.run;
        let keyword = |name: &'static str, directive: Directive, given: Option<&String>| {
            Ok::<_, Failure>((
                name,
                Json::from(self.keyword(name, directive)?.or_else(|| given.cloned())),
            ))
        };
        let options = &run.options;
        let mut found = vec![
            keyword(
                "connection",
                Directive::Connection,
                options
                    .connection
                    .as_ref()
                    .or(Some(&run.settings.transport)),
            )?,
            keyword(
                "remote_user",
                Directive::RemoteUser,
                options
                    .remote_user
                    .as_ref()
                    .or(run.settings.remote_user.as_ref()),
            )?,
            keyword(
                "become_method",
                Directive::BecomeMethod,
                options
                    .become_method
                    .as_ref()
                    .or(Some(&run.settings.become_method)),
            )?,
            keyword(
                "become_user",
                Directive::BecomeUser,
                options.become_user.as_ref(),
            )?,
            keyword("become_exe", Directive::BecomeExe, None)?,
            keyword("become_flags", Directive::BecomeFlags, None)?,
        ];
        let becomes = self
            .keywords()
            .bool("become", self.plan.keyword(Directive::Become))?
            .unwrap_or(options.r#become || run.settings.becomes);
        found.push(("become", becomes.into()));
        let port = self
            .keywords()
            .int("port", self.plan.keyword(Directive::Port))?;
        found.push(("port", port.into()));
        Ok(found)
    }

    /// The way to the machine, found when it is first asked for.
    pub(super) fn way(&self) -> Result<&Way, Failure> {
        self.way
            .get_or_init(|| self.find())
            .as_ref()
            .map_err(Clone::clone)
    }

    fn find(&self) -> Result<Way, Failure> {
        let settings = self.settings()?;
        let connection = self
            .run
            .connections
            .connection(&settings)
            .map_err(Failure::error)?;
        let mut user = self.becoming()?;
        // who is there already need not be become, unless that is asked for
        if !self.run.settings.become_allow_same_user {
            let there = if settings.plugin == "local" {
                own_name()
            } else {
                settings.user.clone()
            };
            user = user.filter(|user| there.as_deref() != Some(&user.user));
        }
        Ok(Way {
            connection,
            settings,
            user,
        })
    }

    /// Settings of the connection.
    fn settings(&self) -> Result<ConnectionSettings, Failure> {
        let plugin = self.plugin()?;
        let run = &self.run;
        let leaf = plugin.rsplit('.').next().unwrap_or(&plugin).to_owned();
        let local = leaf == "local";
        let mut options: Vec<(String, String)> = Vec::new();
        let (mut port, mut user, mut password) = (None, None, None);
        let mut address = self.host.to_string();
        if !local {
            let own = format!("ansible_{leaf}_host");
            if let Some(given) = self.text(&["ansible_host", "ansible_ssh_host", &own])? {
                address = given;
            }
            port = match self.last(&["ansible_port", "ansible_ssh_port"])? {
                Some(value) => integer(&value),
                None => self
                    .keywords()
                    .int("port", self.plan.keyword(Directive::Port))?
                    .or(run.settings.remote_port),
            };
            let own = format!("ansible_{leaf}_user");
            user = match self.text(&["ansible_user", "ansible_ssh_user", &own])? {
                Some(user) => Some(user),
                None => self
                    .keyword("remote_user", Directive::RemoteUser)?
                    .or_else(|| run.options.remote_user.clone())
                    .or_else(|| run.settings.remote_user.clone()),
            };
            let own = format!("ansible_{leaf}_password");
            password = self
                .text(&[
                    "ansible_password",
                    "ansible_ssh_pass",
                    "ansible_ssh_password",
                    &own,
                ])?
                .or_else(|| run.options.connection_password.clone());
            self.options(&leaf, &mut options)?;
        }
        if options.iter().any(|(name, _)| name == "private_key") {
            let agent = &run.settings;
            let mut said = |name: &str, value: String| options.push((name.to_owned(), value));
            said("ssh_agent", agent.ssh_agent.clone());
            said("ssh_agent_executable", agent.ssh_agent_executable.clone());
            if let Some(seconds) = agent.ssh_agent_key_lifetime {
                said("ssh_agent_key_lifetime", seconds.to_string());
            }
        }
        if local && !run.settings.worker_session_isolation {
            options.push(("shares_terminal".to_owned(), "true".to_owned()));
        }
        for option in BECOME_OPTIONS {
            let value = match self.text(option.variables)? {
                Some(value) => Some(value),
                None => run.raw(option.environment, option.keys),
            };
            if let Some(value) = value {
                options.push((option.name.to_owned(), value));
            }
        }
        let shell = self
            .text(&["ansible_shell_executable"])?
            .unwrap_or_else(|| run.settings.executable.clone());
        Ok(ConnectionSettings {
            plugin,
            host: self.host.to_string(),
            address,
            port: port.and_then(|port| u16::try_from(port).ok()),
            user,
            password,
            options,
            directory: self.directory.clone(),
            remote_tmp: self.remote_tmp()?,
            shell,
        })
    }

    /// Where temporary files go on the machine.
    fn remote_tmp(&self) -> Result<String, Failure> {
        let said = self.text(&["ansible_remote_tmp"])?.or_else(|| {
            self.run.raw(
                &["ANSIBLE_REMOTE_TEMP", "ANSIBLE_REMOTE_TMP"],
                &[("defaults", "remote_tmp")],
            )
        });
        Ok(said.unwrap_or_else(|| "~/.ansible/tmp".to_owned()))
    }

    /// Whom to become.
    fn becoming(&self) -> Result<Option<Become>, Failure> {
        let run = &self.run;
        let wanted = match self.last(&["ansible_become"])? {
            Some(value) => says_yes(&value),
            None => self
                .keywords()
                .bool("become", self.plan.keyword(Directive::Become))?
                .unwrap_or(run.options.r#become || run.settings.becomes),
        };
        if !wanted {
            return Ok(None);
        }
        let method = match self.text(&["ansible_become_method"])? {
            Some(method) => method,
            None => self
                .keyword("become_method", Directive::BecomeMethod)?
                .or_else(|| run.options.become_method.clone())
                .unwrap_or_else(|| run.settings.become_method.clone()),
        };
        let leaf = method.rsplit('.').next().unwrap_or(&method);
        let own = |what: &str| format!("ansible_{leaf}_{what}");
        let section = format!("{leaf}_become_plugin");
        // what the environment or the file of settings says: of this method, or else of any
        let said = |what: &str, key: &str, any: &str| {
            let environment = [
                format!("ANSIBLE_BECOME_{what}"),
                format!("ANSIBLE_{}_{what}", leaf.to_uppercase()),
            ];
            let keys = [("privilege_escalation", any), (section.as_str(), key)];
            let keys = if any.is_empty() { &keys[1..] } else { &keys };
            run.raw(&environment.each_ref().map(String::as_str), keys)
        };
        let user = match self.text(&["ansible_become_user", &own("user")])? {
            Some(user) => user,
            None => self
                .keyword("become_user", Directive::BecomeUser)?
                .or_else(|| run.options.become_user.clone())
                .or_else(|| said("USER", "user", "become_user"))
                .unwrap_or_else(|| run.settings.become_user.clone()),
        };
        let exe = match self.text(&["ansible_become_exe", &own("exe")])? {
            Some(exe) => Some(exe),
            None => self
                .keyword("become_exe", Directive::BecomeExe)?
                .or_else(|| said("EXE", "executable", "become_exe"))
                .or_else(|| run.settings.become_exe.clone()),
        };
        let flags = match self.text(&["ansible_become_flags", &own("flags")])? {
            Some(flags) => Some(flags),
            None => match self
                .keywords()
                .text("become_flags", self.plan.keyword(Directive::BecomeFlags))?
            {
                Some(flags) => Some(flags),
                None => said("FLAGS", "flags", "become_flags").filter(|flags| !flags.is_empty()),
            },
        };
        let password = self
            .text(&[
                "ansible_become_password",
                "ansible_become_pass",
                &own("pass"),
            ])?
            .or_else(|| said("PASS", "password", ""))
            .or_else(|| run.options.become_password.clone());
        Ok(Some(Become {
            method,
            user,
            exe,
            flags,
            password,
        }))
    }

    /// What modules are set to.
    pub(super) fn module_settings(&self, settled: &Settled) -> ModuleSettings {
        let settings = &self.run.settings;
        ModuleSettings {
            check: settled.check,
            diff: settled.diff,
            no_log: settled.no_log || settings.no_target_syslog,
            verbosity: self.run.options.verbosity,
            environment: settled.environment.clone(),
            selinux_special_fs: settings.selinux_special_fs.clone(),
            syslog_facility: settings.syslog_facility.clone(),
            keep_remote_files: settings.keep_remote_files,
            shares_terminal: !settings.worker_session_isolation,
            inject_invocation: match self.last(&["ansible_inject_invocation"]) {
                Ok(Some(value)) => says_yes(&value),
                _ => settings.inject_invocation,
            },
            ..ModuleSettings::default()
        }
    }

    /// The variables of whom it is delegated to, or of the host.
    pub(super) fn variables(&self) -> &TaskVariables {
        &self.variables
    }

    /// What callbacks are told of whom it is delegated to.
    pub(super) fn told(&self) -> Dict {
        let mut entries: Vec<(&str, Value)> = Vec::new();
        if let Some(delegated) = &self.delegated {
            entries.push(("ansible_delegated_host", Value::from(&**delegated)));
        }
        if let Ok(way) = self.way() {
            entries.push((
                "ansible_connection",
                Value::from(way.settings.plugin.as_str()),
            ));
            if way.settings.plugin != "local" {
                entries.push(("ansible_host", Value::from(way.settings.address.as_str())));
                if let Some(port) = way.settings.port {
                    entries.push(("ansible_port", Value::Int(port.into())));
                } else {
                    entries.push(("ansible_port", Value::None));
                }
                entries.push((
                    "ansible_user",
                    way.settings
                        .user
                        .as_deref()
                        .map_or(Value::None, Value::from),
                ));
            }
        }
        entries.into_iter().collect()
    }
}

/// What templates find of how a host is reached in `ansible_delegated_vars`, where the host's own variables do not say it:
/// nothing there is taken from the host that the task is for.
fn complete(work: &Work, theirs: &TaskVariables, name: &Arc<str>) {
    let transport = theirs
        .known("ansible_connection")
        .and_then(|plugin| plugin.as_str().map(str::to_owned))
        .unwrap_or_else(|| "ssh".to_owned());
    let known = |what: &str| {
        [
            format!("ansible_{transport}_{what}"),
            format!("ansible_ssh_{what}"),
            format!("ansible_{what}"),
        ]
        .iter()
        .any(|name| theirs.known(name).is_some())
    };
    if !known("host") {
        theirs.set_local("ansible_host", Value::from(&**name));
    }
    if !known("port") {
        let port = work.run.settings.remote_port;
        theirs.set_local("ansible_port", port.map_or(Value::None, Value::Int));
    }
    if !known("user") {
        let options = &work.run.options;
        let user = work.plan.keyword(Directive::RemoteUser).cloned();
        let user = user
            .or_else(|| options.remote_user.as_deref().map(Value::from))
            .or_else(|| work.run.settings.remote_user.as_deref().map(Value::from));
        theirs.set_local("ansible_user", user.unwrap_or(Value::None));
    }
}

/// The host a name stands for: one of the inventory, by its name or its address, or any other.
fn host_of(run: &Run, name: &str) -> Arc<str> {
    run.store.inventory(|inventory| {
        if let Some(host) = inventory.host(name) {
            return Arc::clone(&host.name);
        }
        inventory
            .hosts
            .values()
            .find(|host| {
                host.variables
                    .get("ansible_host")
                    .is_some_and(|address| address.as_str() == Some(name))
            })
            .map_or_else(|| Arc::from(name), |host| Arc::clone(&host.name))
    })
}

/// The name of who runs this, as Python's `getpass.getuser()` has it.
fn own_name() -> Option<String> {
    ["LOGNAME", "USER", "LNAME", "USERNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty())
        .or_else(|| {
            let user = nix::unistd::User::from_uid(nix::unistd::getuid());
            Some(user.ok()??.name)
        })
}

/// Whether a rendered value is a truth value that is true.
pub(super) fn truth(value: Option<&Value>) -> bool {
    value.and_then(boolean).unwrap_or(false)
}
