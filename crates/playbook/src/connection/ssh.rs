//! OpenSSH: the user's own `ssh` program, so that its configuration, keys, agent, jump hosts and known hosts mean what they
//! always mean. The options are those of Ansible's connection plugin of the same name.

use std::fs::File;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use tokio::sync::OnceCell;

use super::agent::{self, Agent, Identity};
use super::{ConnectionSettings, Error, process};

/// What `ssh_args` is if nobody says otherwise.
const USUAL: &str = "-C -o ControlMaster=auto -o ControlPersist=60s";

/// How a password is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mechanism {
    /// `ssh` asks this program.
    Askpass,
    /// The program `sshpass` answers its prompts.
    Sshpass,
    /// It is not told.
    None,
}

/// A way to a machine by `ssh`.
pub(super) struct Ssh {
    /// The program and its arguments, without the address and the command.
    arguments: Vec<String>,
    /// Where among them a key of the agent is named.
    identity_at: usize,
    identity: OnceCell<Option<Identity>>,
    agent: Arc<Agent>,
    address: String,
    /// Whether logins share one connection, and it stays for a while.
    persistent: bool,
    /// Whether `ssh` says when a connection is closed.
    talks: bool,
    /// Whether unknown hosts are refused.
    checks_hosts: bool,
    mechanism: Mechanism,
    /// Whether commands without input run at a terminal.
    terminal: bool,
    /// The control path's directory, to be made.
    control_directory: Option<String>,
    /// The password, where `ssh` can ask for it.
    password: Option<Arc<File>>,
    prompt: String,
    prompt_is_given: bool,
    /// How often it is tried again.
    pub(super) retries: u32,
}

/// Splits arguments as a shell does.
fn split(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| "No closing quotation".to_owned())
}

impl Ssh {
    /// From the settings of a connection.
    pub(super) fn new(settings: &ConnectionSettings, agent: Arc<Agent>) -> Result<Self, String> {
        let option = |name: &str| settings.option(name);
        let mut arguments = vec![option("ssh_executable").unwrap_or("ssh").to_owned()];
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        let password = settings.password.as_deref().or(option("password"));
        let provider = option("pkcs11_provider").filter(|text| !text.is_empty());
        match (password, provider) {
            (None, Some(_)) => {
                return Err("to use pkcs11_provider you must specify a password/pin".to_owned());
            }
            (Some(_), Some(provider)) => add(&[
                "-o",
                "KbdInteractiveAuthentication=no",
                "-o",
                "PreferredAuthentications=publickey",
                "-o",
                "PasswordAuthentication=no",
                "-o",
                &format!("PKCS11Provider={provider}"),
            ]),
            _ => {}
        }
        let verbosity = option("verbosity")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        if verbosity > 0 {
            add(&[&format!("-{}", "v".repeat(verbosity))]);
        }
        for word in split(option("ssh_args").unwrap_or(USUAL))? {
            add(&[&word]);
        }
        if option("host_key_checking").is_some_and(is_false) {
            add(&["-o", "StrictHostKeyChecking=no"]);
        }
        if let Some(port) = settings.port {
            add(&["-o", &format!("Port={port}")]);
        }
        let identity_at = arguments.len();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        let of_agent = option("private_key").is_some_and(|key| !key.trim().is_empty());
        if let Some(key) = option("private_key_file").filter(|text| !text.is_empty() && !of_agent) {
            let key = consort_modules::protocol::files::expand(key);
            add(&["-o", &format!("IdentityFile=\"{}\"", key.display())]);
        }
        if password.is_none() {
            add(&[
                "-o",
                "KbdInteractiveAuthentication=no",
                "-o",
                "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
                "-o",
                "PasswordAuthentication=no",
            ]);
        }
        if let Some(user) = settings.user.as_deref().filter(|user| !user.is_empty()) {
            add(&["-o", &format!("User=\"{user}\"")]);
        }
        let timeout = option("timeout").unwrap_or("10");
        add(&["-o", &format!("ConnectTimeout={timeout}")]);
        for name in ["ssh_common_args", "ssh_extra_args"] {
            for word in split(option(name).unwrap_or_default())? {
                add(&[&word]);
            }
        }
        let lower: Vec<String> = arguments.iter().map(|word| word.to_lowercase()).collect();
        let says = |what: &str| lower.iter().any(|word| word.contains(what));
        let mut control_directory = None;
        if says("controlpersist") && !says("controlpath") {
            let directory = option("control_path_dir").unwrap_or("~/.ansible/cp");
            let directory = consort_modules::protocol::files::expand(directory);
            let directory = directory.to_string_lossy().into_owned();
            let path = match option("control_path").filter(|text| !text.is_empty()) {
                Some(path) => path.replace("%(directory)s", &directory).replace("%%", "%"),
                None => format!("{directory}/{}", control_name(settings)),
            };
            arguments.extend(["-o".to_owned(), format!("ControlPath=\"{path}\"")]);
            control_directory = Some(directory);
        }
        let mechanism = match option("password_mechanism").unwrap_or("ssh_askpass") {
            "ssh_askpass" => Mechanism::Askpass,
            "sshpass" => Mechanism::Sshpass,
            "disable" => Mechanism::None,
            other => {
                return Err(format!(
                    "Config 'password_mechanism' from 'ansible_ssh_password_mechanism' has an invalid value. Value '{other}' not in: ['ssh_askpass', 'sshpass', 'disable']"
                ));
            }
        };
        if mechanism == Mechanism::Askpass {
            arguments.extend(["-o".to_owned(), "NumberOfPasswordPrompts=1".to_owned()]);
        }
        let usual_prompt = if provider.is_some() {
            "Enter PIN for "
        } else {
            "assword"
        };
        let retries = option("reconnection_retries").or(option("retries"));
        Ok(Ssh {
            arguments,
            identity_at,
            identity: OnceCell::new(),
            agent,
            address: settings.address.clone(),
            persistent: says("controlpersist"),
            talks: !says("loglevel") && !lower.iter().any(|word| word == "-q"),
            checks_hosts: !option("host_key_checking").is_some_and(is_false),
            mechanism,
            terminal: !option("use_tty").is_some_and(is_false),
            control_directory,
            password: password.map(agent::kept).transpose()?.map(Arc::new),
            prompt: option("sshpass_prompt")
                .filter(|text| !text.is_empty())
                .unwrap_or(usual_prompt)
                .to_owned(),
            prompt_is_given: provider.is_some()
                || option("sshpass_prompt").is_some_and(|text| !text.is_empty()),
            retries: retries.and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }

    /// Whether commands that read nothing run at a terminal.
    pub(super) fn has_terminal(&self) -> bool {
        self.terminal
    }

    /// What `ssh` says when a command at a terminal has ended.
    pub(super) fn closed(&self) -> String {
        match (self.talks, self.persistent) {
            (false, _) => String::new(),
            (true, true) => format!("Shared connection to {} closed.\r\n", self.address),
            (true, false) => format!("Connection to {} closed.\r\n", self.address),
        }
    }

    /// Sees to it that `ssh` finds what it needs to log in.
    pub(super) async fn prepare(&self, settings: &ConnectionSettings) -> Result<(), Error> {
        self.identity
            .get_or_try_init(|| self.agent.identity(settings))
            .await
            .map(drop)
            .map_err(|why| {
                Error::Unreachable(format!(
                    "Failed to authenticate: Failed to add configured private key into ssh-agent: {why}"
                ))
            })
    }

    /// The command that runs a line in the shell of who logs in, at a terminal or not.
    pub(super) fn command(
        &self,
        line: &str,
        terminal: bool,
    ) -> Result<tokio::process::Command, String> {
        if let Some(directory) = &self.control_directory {
            let path = std::path::Path::new(directory);
            consort_modules::protocol::files::private_directory(path).map_err(|error| {
                let directory = consort_modules::python::repr_bytes(directory.as_bytes());
                format!(
                    "Unable to create local directories {directory}: {}",
                    consort_modules::python::os_error_at(&error, path)
                )
            })?;
            if nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_err() {
                return Err(format!("Cannot write to ControlPath {directory}"));
            }
        }
        let mut command = self.login()?;
        if terminal {
            command.arg("-tt");
        }
        command.arg(&self.address).arg(line);
        Ok(command)
    }

    /// `ssh` with all that is needed to log in, but for the address.
    fn login(&self) -> Result<tokio::process::Command, String> {
        let by_sshpass = self.mechanism == Mechanism::Sshpass && self.password.is_some();
        let (before, after) = self.arguments.split_at(self.identity_at);
        let mut command = if by_sshpass {
            let mut command = process::apart("sshpass");
            if let Some(password) = &self.password {
                command.args(["-f", &agent::place(password)]);
            }
            if self.prompt_is_given {
                command.args(["-P", &self.prompt]);
            }
            command.args(before);
            command
        } else {
            let mut command = process::apart(&before[0]);
            command.args(&before[1..]);
            command
        };
        if let Some(Some(identity)) = self.identity.get() {
            command
                .args(["-o", "IdentitiesOnly=yes", "-o"])
                .arg(format!("IdentityFile=\"{}\"", identity.public.display()))
                .env("SSH_AUTH_SOCK", &identity.socket);
        }
        command.args(after);
        if self.mechanism == Mechanism::Askpass
            && let Some(password) = &self.password
        {
            agent::answering(&mut command, Some(password), &self.prompt)?;
        }
        Ok(command)
    }

    /// Ends the connection that logins share.
    pub(super) async fn stop(&self) {
        if !self.persistent {
            return;
        }
        let Ok(mut command) = self.login() else {
            return;
        };
        command
            .args(["-O", "stop"])
            .arg(&self.address)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true);
        // there may be none; who asks for a password is not answered
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), command.status()).await;
    }

    /// Why there is no way: what it ended with and what it said.
    pub(super) fn lost(&self, status: Option<i32>, said: &str) -> Error {
        let said = said.trim_end();
        let by_password = self.password.is_some();
        let unknown_host = said.contains("Host key verification failed")
            || said.contains("read_passphrase: can't open /dev/tty")
            || (self.mechanism == Mechanism::Sshpass && by_password && status == Some(6));
        if self.checks_hosts && by_password && unknown_host {
            return Error::failed(
                "Using a SSH password instead of a key is not possible because Host Key checking is enabled. \
                 Please add this host's fingerprint to your known_hosts file to manage this host.",
            );
        }
        if said.contains("Bad configuration option: ControlPersist")
            || said.contains("unknown configuration option: ControlPersist")
        {
            return Error::failed(
                "using -c ssh on certain older ssh versions may not support ControlPersist, set ANSIBLE_SSH_ARGS=\"\" \
                 (or ssh_args in [ssh_connection] section of the config file) before running again",
            );
        }
        if self.mechanism == Mechanism::Sshpass && by_password {
            match status {
                Some(5) => return Error::Unreachable("Authentication failure.".to_owned()),
                Some(1..=4 | 6) if said.contains("sshpass: invalid option -- 'P'") => {
                    return Error::failed(
                        "sshpass error: Installed sshpass version does not support customized password prompts. \
                         Upgrade sshpass to use sshpass_prompt, or otherwise switch to ssh keys.",
                    );
                }
                Some(1..=4 | 6) => return Error::Unreachable(format!("sshpass error: {said}")),
                _ => {}
            }
        }
        Error::Unreachable(format!("Failed to connect to the host via ssh: {said}"))
    }

    /// Whether a status is that of `sshpass`, and not of what ran there.
    pub(super) fn ends_by_itself(&self, status: i32) -> bool {
        self.mechanism == Mechanism::Sshpass && self.password.is_some() && status <= 6
    }

    /// Whether it is of no use to try again: a wrong password would lock the account.
    pub(super) fn is_final(&self, status: Option<i32>) -> bool {
        self.mechanism == Mechanism::Sshpass && self.password.is_some() && status == Some(5)
    }

    /// The program cannot be started.
    pub(super) fn not_started(&self, error: &std::io::Error) -> Error {
        if self.mechanism == Mechanism::Sshpass
            && self.password.is_some()
            && error.kind() == std::io::ErrorKind::NotFound
        {
            return Error::failed(
                "to use the password_mechanism=sshpass, you must install the sshpass program",
            );
        }
        Error::failed(format!(
            "Unable to execute ssh command line on a controller: {}",
            consort_modules::python::os_error_at(error, &self.arguments[0])
        ))
    }
}

/// Whether a setting is no.
fn is_false(text: &str) -> bool {
    matches!(
        text.to_lowercase().as_str(),
        "false" | "no" | "off" | "0" | "n" | "f" | ""
    )
}

/// The name of the socket that logins of the same user, host and port share.
fn control_name(settings: &ConnectionSettings) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "None".to_owned());
    let text = format!(
        "{}-{}-{}",
        settings.address,
        or_none(settings.port.map(|port| port.to_string())),
        or_none(settings.user.clone())
    );
    let digest = Sha1::digest(text.as_bytes());
    digest
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
