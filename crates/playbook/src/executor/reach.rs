//! How the machine of a task is reached: whom it is delegated to, the connection, whom to become.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use consort_jinja::{Dict, Str, Value, Variables, is_omit};
use consort_modules::Settings as ModuleSettings;

use super::attempt::Background;
use super::keyword::{Keywords, boolean, integer, listed};
use super::plan::Plan;
use super::run::Run;
use super::work::{self, Work, says_yes};
use crate::action::Failure;
use crate::connection::{Become, Connection, ConnectionSettings};
use crate::language::Directive;
use crate::source::Located;
use crate::variables::TaskVariables;

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

    fn keywords(&self) -> Keywords<'_> {
        Keywords {
            templar: &self.run.templar,
            variables: &self.variables,
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
        Ok(Way {
            connection,
            user: self.becoming()?,
            settings,
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
            remote_tmp: self
                .text(&["ansible_remote_tmp"])?
                .or_else(|| {
                    run.raw(
                        &["ANSIBLE_REMOTE_TEMP", "ANSIBLE_REMOTE_TMP"],
                        &[("defaults", "remote_tmp")],
                    )
                })
                .unwrap_or_else(|| "~/.ansible/tmp".to_owned()),
            shell,
        })
    }

    fn options(&self, leaf: &str, into: &mut Vec<(String, String)>) -> Result<(), Failure> {
        for option in SSH_OPTIONS {
            if leaf != "ssh" && !option.common {
                continue;
            }
            let value = match self.text(option.variables)? {
                Some(value) => Some(value),
                None => self
                    .run
                    .connection_option(option.name)
                    .map(str::to_owned)
                    .or_else(|| self.run.raw(option.environment, option.keys)),
            };
            if let Some(value) = value {
                into.push((option.name.to_owned(), value));
            }
        }
        if leaf != "ssh" {
            let prefix = format!("ansible_{leaf}_");
            for name in self.variables.names() {
                let Some(option) = name.strip_prefix(&prefix) else {
                    continue;
                };
                if let Some(value) = self.text(&[&name])? {
                    into.push((option.to_owned(), value));
                }
            }
        }
        Ok(())
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
        let user = match self.text(&["ansible_become_user", &own("user")])? {
            Some(user) => user,
            None => self
                .keyword("become_user", Directive::BecomeUser)?
                .or_else(|| run.options.become_user.clone())
                .or_else(|| run.raw(&[], &[(&format!("{leaf}_become_plugin"), "user")]))
                .unwrap_or_else(|| run.settings.become_user.clone()),
        };
        let exe = match self.text(&["ansible_become_exe", &own("exe")])? {
            Some(exe) => Some(exe),
            None => self
                .keyword("become_exe", Directive::BecomeExe)?
                .or_else(|| run.raw(&[], &[(&format!("{leaf}_become_plugin"), "executable")]))
                .or_else(|| run.settings.become_exe.clone()),
        };
        let flags = match self.text(&["ansible_become_flags", &own("flags")])? {
            Some(flags) => Some(flags),
            None => match self
                .keywords()
                .text("become_flags", self.plan.keyword(Directive::BecomeFlags))?
            {
                Some(flags) => Some(flags),
                None => run
                    .raw(
                        &["ANSIBLE_BECOME_FLAGS"],
                        &[
                            (&format!("{leaf}_become_plugin"), "flags"),
                            ("privilege_escalation", "become_flags"),
                        ],
                    )
                    .filter(|flags| !flags.is_empty()),
            },
        };
        let password = self
            .text(&[
                "ansible_become_password",
                "ansible_become_pass",
                &own("pass"),
            ])?
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

struct OptionSource {
    name: &'static str,
    variables: &'static [&'static str],
    keys: &'static [(&'static str, &'static str)],
    environment: &'static [&'static str],
    /// Other plugins have it too.
    common: bool,
}

const fn option(
    name: &'static str,
    variables: &'static [&'static str],
    keys: &'static [(&'static str, &'static str)],
    environment: &'static [&'static str],
) -> OptionSource {
    OptionSource {
        name,
        variables,
        keys,
        environment,
        common: false,
    }
}

/// What is settled of becoming another user beside the method, the user and the password.
const BECOME_OPTIONS: &[OptionSource] = &[
    OptionSource {
        name: "become_success_timeout",
        common: true,
        variables: &["ansible_local_become_success_timeout"],
        environment: &[],
        keys: &[],
    },
    OptionSource {
        name: "prompt_l10n",
        common: true,
        variables: &["ansible_su_prompt_l10n"],
        environment: &["ANSIBLE_SU_PROMPT_L10N"],
        keys: &[("su_become_plugin", "localized_prompts")],
    },
    OptionSource {
        name: "sudo_chdir",
        common: true,
        variables: &["ansible_sudo_chdir"],
        environment: &["ANSIBLE_SUDO_CHDIR"],
        keys: &[("sudo_become_plugin", "chdir")],
    },
];

/// The options of the plugin `ssh`: its documentation says where each comes from.
const SSH_OPTIONS: &[OptionSource] = &[
    option(
        "host_key_checking",
        &["ansible_host_key_checking", "ansible_ssh_host_key_checking"],
        &[
            ("defaults", "host_key_checking"),
            ("ssh_connection", "host_key_checking"),
        ],
        &["ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"],
    ),
    option(
        "password_mechanism",
        &["ansible_ssh_password_mechanism"],
        &[("ssh_connection", "password_mechanism")],
        &["ANSIBLE_SSH_PASSWORD_MECHANISM"],
    ),
    option(
        "sshpass_prompt",
        &["ansible_sshpass_prompt"],
        &[("ssh_connection", "sshpass_prompt")],
        &["ANSIBLE_SSHPASS_PROMPT"],
    ),
    option(
        "ssh_args",
        &["ansible_ssh_args"],
        &[("ssh_connection", "ssh_args")],
        &["ANSIBLE_SSH_ARGS"],
    ),
    option(
        "ssh_common_args",
        &["ansible_ssh_common_args"],
        &[("ssh_connection", "ssh_common_args")],
        &["ANSIBLE_SSH_COMMON_ARGS"],
    ),
    option(
        "ssh_executable",
        &["ansible_ssh_executable"],
        &[("ssh_connection", "ssh_executable")],
        &["ANSIBLE_SSH_EXECUTABLE"],
    ),
    option(
        "sftp_executable",
        &["ansible_sftp_executable"],
        &[("ssh_connection", "sftp_executable")],
        &["ANSIBLE_SFTP_EXECUTABLE"],
    ),
    option(
        "scp_executable",
        &["ansible_scp_executable"],
        &[("ssh_connection", "scp_executable")],
        &["ANSIBLE_SCP_EXECUTABLE"],
    ),
    option(
        "scp_extra_args",
        &["ansible_scp_extra_args"],
        &[("ssh_connection", "scp_extra_args")],
        &["ANSIBLE_SCP_EXTRA_ARGS"],
    ),
    option(
        "sftp_extra_args",
        &["ansible_sftp_extra_args"],
        &[("ssh_connection", "sftp_extra_args")],
        &["ANSIBLE_SFTP_EXTRA_ARGS"],
    ),
    option(
        "ssh_extra_args",
        &["ansible_ssh_extra_args"],
        &[("ssh_connection", "ssh_extra_args")],
        &["ANSIBLE_SSH_EXTRA_ARGS"],
    ),
    option(
        "reconnection_retries",
        &["ansible_ssh_retries"],
        &[("connection", "retries"), ("ssh_connection", "retries")],
        &["ANSIBLE_SSH_RETRIES"],
    ),
    option(
        "private_key_file",
        &["ansible_private_key_file", "ansible_ssh_private_key_file"],
        &[("defaults", "private_key_file")],
        &["ANSIBLE_PRIVATE_KEY_FILE"],
    ),
    option(
        "private_key",
        &["ansible_private_key", "ansible_ssh_private_key"],
        &[],
        &["ANSIBLE_PRIVATE_KEY"],
    ),
    option(
        "private_key_passphrase",
        &[
            "ansible_private_key_passphrase",
            "ansible_ssh_private_key_passphrase",
        ],
        &[],
        &["ANSIBLE_PRIVATE_KEY_PASSPHRASE"],
    ),
    option(
        "control_path",
        &["ansible_control_path"],
        &[("ssh_connection", "control_path")],
        &["ANSIBLE_SSH_CONTROL_PATH"],
    ),
    option(
        "control_path_dir",
        &["ansible_control_path_dir"],
        &[("ssh_connection", "control_path_dir")],
        &["ANSIBLE_SSH_CONTROL_PATH_DIR"],
    ),
    option(
        "sftp_batch_mode",
        &["ansible_sftp_batch_mode"],
        &[("ssh_connection", "sftp_batch_mode")],
        &["ANSIBLE_SFTP_BATCH_MODE"],
    ),
    option(
        "ssh_transfer_method",
        &["ansible_ssh_transfer_method"],
        &[("ssh_connection", "transfer_method")],
        &["ANSIBLE_SSH_TRANSFER_METHOD"],
    ),
    option(
        "use_tty",
        &["ansible_ssh_use_tty"],
        &[("ssh_connection", "usetty")],
        &["ANSIBLE_SSH_USETTY"],
    ),
    OptionSource {
        name: "timeout",
        variables: &["ansible_timeout", "ansible_ssh_timeout"],
        keys: &[("defaults", "timeout"), ("ssh_connection", "timeout")],
        environment: &["ANSIBLE_TIMEOUT", "ANSIBLE_SSH_TIMEOUT"],
        common: true,
    },
    option(
        "pkcs11_provider",
        &["ansible_ssh_pkcs11_provider"],
        &[("ssh_connection", "pkcs11_provider")],
        &["ANSIBLE_PKCS11_PROVIDER"],
    ),
    option(
        "verbosity",
        &["ansible_ssh_verbosity"],
        &[("ssh_connection", "verbosity")],
        &["ANSIBLE_SSH_VERBOSITY"],
    ),
];

/// How a host is reached, as variables, where no variable says it.
struct Fallback {
    run: Arc<Run>,
    plan: Arc<Plan>,
    host: Arc<str>,
}

impl Variables for Fallback {
    fn get(&self, name: &str) -> Option<Value> {
        let settings = &self.run.settings;
        let rest = name.strip_prefix("ansible_")?;
        let text = |text: &str| Value::Str(Str::new(text));
        match rest {
            "connection" => Some(
                self.plan
                    .keyword(Directive::Connection)
                    .cloned()
                    .or_else(|| self.run.options.connection.as_deref().map(text))
                    .unwrap_or_else(|| text(&settings.transport)),
            ),
            "host" | "ssh_host" => Some(text(&self.host)),
            "user" | "ssh_user" => self
                .plan
                .keyword(Directive::RemoteUser)
                .cloned()
                .or_else(|| self.run.options.remote_user.as_deref().map(text))
                .or_else(|| settings.remote_user.as_deref().map(text)),
            "port" | "ssh_port" => self
                .plan
                .keyword(Directive::Port)
                .cloned()
                .or_else(|| settings.remote_port.map(Value::Int)),
            "shell_executable" => Some(text(&settings.executable)),
            "pipelining" | "ssh_pipelining" => Some(Value::Bool(settings.pipelining)),
            "timeout" | "ssh_timeout" => Some(
                self.run
                    .connection_option("timeout")
                    .and_then(|given| given.parse().ok())
                    .map_or(Value::Int(settings.timeout), Value::Int),
            ),
            "module_compression" => Some(text(&settings.module_compression)),
            "private_key_file" | "ssh_private_key_file" => self
                .run
                .connection_option("private_key_file")
                .or(settings.private_key_file.as_deref())
                .map(text),
            "password" | "ssh_pass" => Some(text(
                self.run
                    .options
                    .connection_password
                    .as_deref()
                    .unwrap_or(""),
            )),
            _ => None,
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// The keywords of a task that say how it is done, rendered.
pub(super) struct Settled {
    pub(super) check: bool,
    pub(super) diff: bool,
    pub(super) no_log: bool,
    pub(super) environment: Vec<(String, String)>,
    pub(super) timeout: Option<Duration>,
    pub(super) background: Option<Background>,
    pub(super) retries: Option<i64>,
    pub(super) delay: f64,
    pub(super) notify: Vec<Arc<str>>,
    pub(super) delegated: bool,
    pub(super) delegate_facts: bool,
}

impl Settled {
    /// Of a task.
    pub(super) fn of(work: &Work, variables: &TaskVariables) -> Result<Self, Located> {
        let (run, plan) = (&work.run, &work.plan);
        let keywords = Keywords {
            templar: &run.templar,
            variables,
        };
        let bool = |directive: Directive| keywords.bool(directive.name(), plan.keyword(directive));
        let int = |directive: Directive| keywords.int(directive.name(), plan.keyword(directive));
        for directive in [
            Directive::AnyErrorsFatal,
            Directive::Become,
            Directive::IgnoreErrors,
            Directive::IgnoreUnreachable,
            Directive::RunOnce,
        ] {
            bool(directive)?;
        }
        let limit = int(Directive::Timeout)?.unwrap_or(run.settings.task_timeout);
        if !(0..=100_000_000).contains(&limit) {
            return Err(Located::new(format!(
                "Timeout {limit} is invalid, it must be between 0 and 100000000."
            )));
        }
        Ok(Settled {
            check: bool(Directive::CheckMode)?.unwrap_or(run.options.check),
            diff: bool(Directive::Diff)?.unwrap_or(run.options.diff),
            no_log: bool(Directive::NoLog)?.unwrap_or(run.settings.no_log),
            environment: environment(work, variables)?,
            timeout: u64::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .map(Duration::from_secs),
            background: work::background(
                int(Directive::Async)?.unwrap_or(0),
                int(Directive::Poll)?.unwrap_or(run.settings.poll_interval),
            ),
            retries: int(Directive::Retries)?,
            delay: keywords
                .float("delay", plan.keyword(Directive::Delay))?
                .unwrap_or(5.0),
            notify: keywords.texts("notify", plan.keyword(Directive::Notify))?,
            delegated: plan.keyword(Directive::DelegateTo).is_some(),
            delegate_facts: bool(Directive::DelegateFacts)?.unwrap_or(false),
        })
    }
}

fn environment(work: &Work, variables: &TaskVariables) -> Result<Vec<(String, String)>, Located> {
    let templar = &work.run.templar;
    let mut found: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &Value| {
        let text = value
            .text()
            .map(|text| text.to_string())
            .unwrap_or_default();
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = text,
            None => found.push((name.to_owned(), text)),
        }
    };
    let gathers = matches!(
        work.plan.task.action.builtin(),
        Some("setup" | "gather_facts")
    );
    for item in listed(work.plan.keyword(Directive::Environment).cloned()) {
        let in_keyword = |error: &crate::template::Error| {
            Located::new("Error processing keyword 'environment'.")
                .about(&item)
                .because(Located::from(error))
        };
        let entries = match &item {
            Value::Dict(entries) => entries.clone(),
            other => match templar
                .render(other, variables)
                .map_err(|error| in_keyword(&error))?
            {
                Value::Dict(entries) => entries,
                value if is_omit(&value) => continue,
                _ => {
                    work.run.tell.warn(&format!(
                        "could not parse environment value, skipping: {}",
                        consort_jinja::repr::text(&Value::list(vec![item.clone()]))
                    ));
                    continue;
                }
            },
        };
        let entries: Vec<_> = entries
            .read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in entries {
            let Ok(name) = key.value().text() else {
                continue;
            };
            match templar.render(&value, variables) {
                Ok(value) if is_omit(&value) => {}
                Ok(value) => set(&name, &value),
                Err(error) => {
                    let message = error.to_string();
                    let of_facts = gathers
                        && (message.contains("ansible_facts.env")
                            || message.contains("ansible_env"));
                    if !(error.undefined && of_facts) {
                        return Err(in_keyword(&error));
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Whether a rendered value is a truth value that is true.
pub(super) fn truth(value: Option<&Value>) -> bool {
    value.and_then(boolean).unwrap_or(false)
}
