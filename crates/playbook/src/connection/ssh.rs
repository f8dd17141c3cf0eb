//! OpenSSH: the user's own `ssh` program, so that its configuration, keys, agent, jump hosts and known hosts mean what they
//! always mean. The options are those of Ansible's connection plugin of the same name.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::memfd::{MFdFlags, memfd_create};
use sha1::{Digest, Sha1};

use super::{ConnectionSettings, helper};

/// What `ssh_args` is if nobody says otherwise.
const USUAL: &str = "-C -o ControlMaster=auto -o ControlPersist=60s";

/// The variable that makes this program tell `ssh` a password: where that is kept.
const ASKED: &str = "CONSORT_ASKPASS";

/// The variable that says what a prompt for it holds.
const PROMPT: &str = "CONSORT_ASKPASS_PROMPT";

/// A way to a machine by `ssh`.
#[derive(Debug)]
pub(super) struct Ssh {
    /// The program and its arguments, without the command.
    arguments: Vec<String>,
    /// The control path's directory, to be made.
    control_directory: Option<String>,
    /// The password, where `ssh` can ask for it.
    password: Option<Arc<File>>,
    prompt: String,
    /// How often it is tried again.
    pub(super) retries: u32,
}

/// Splits arguments as a shell does.
fn split(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| format!("No closing quotation in ssh arguments: {text}"))
}

impl Ssh {
    /// From the settings of a connection.
    pub(super) fn new(settings: &ConnectionSettings) -> Result<Self, String> {
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
        if let Some(key) = option("private_key_file").filter(|text| !text.is_empty()) {
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
        if password.is_some() {
            arguments.extend(["-o".to_owned(), "NumberOfPasswordPrompts=1".to_owned()]);
        }
        arguments.push(settings.address.clone());
        let usual_prompt = if provider.is_some() {
            "Enter PIN for "
        } else {
            "assword"
        };
        let retries = option("reconnection_retries").or(option("retries"));
        Ok(Ssh {
            arguments,
            control_directory,
            password: password.map(keep).transpose()?.map(Arc::new),
            prompt: option("sshpass_prompt")
                .filter(|text| !text.is_empty())
                .unwrap_or(usual_prompt)
                .to_owned(),
            retries: retries.and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }

    /// The command that runs a line in the shell of who logs in.
    pub(super) fn command(&self, line: &str) -> Result<tokio::process::Command, String> {
        if let Some(directory) = &self.control_directory {
            consort_modules::protocol::files::private_directory(directory.as_ref())
                .map_err(|error| format!("Cannot write to ControlPath {directory}: {error}"))?;
        }
        let mut command = tokio::process::Command::new(&self.arguments[0]);
        command.args(&self.arguments[1..]).arg(line);
        if let Some(password) = &self.password {
            let program = &helper::here()?.program.path;
            command
                .env(
                    ASKED,
                    format!("/proc/{}/fd/{}", std::process::id(), password.as_raw_fd()),
                )
                .env(PROMPT, &self.prompt)
                .env("SSH_ASKPASS", program)
                .env("SSH_ASKPASS_REQUIRE", "force");
            if std::env::var_os("DISPLAY").is_none() {
                command.env("DISPLAY", "-");
            }
        }
        Ok(command)
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

/// Keeps a password in memory, where only processes of this user find it.
fn keep(password: &str) -> Result<File, String> {
    let kept = memfd_create(c"password", MFdFlags::MFD_CLOEXEC)
        .map_err(|error| format!("keeping the password: {error}"))?;
    let mut file = File::from(kept);
    file.write_all(password.as_bytes())
        .and_then(|()| file.rewind())
        .map_err(|error| format!("keeping the password: {error}"))?;
    Ok(file)
}
