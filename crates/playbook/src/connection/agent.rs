//! The `ssh-agent` of a run: keys that stand in variables (`ansible_ssh_private_key`) are given to it, so that `ssh` and whatever it
//! starts (jump hosts, forwarded logins) can use them without a file that holds them.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use super::{ConnectionSettings, helper};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent, and the keys that it has.
#[derive(Default)]
pub(super) struct Agent {
    started: OnceCell<Started>,
    keys: Mutex<HashMap<[u8; 32], Arc<OnceCell<PathBuf>>>>,
}

struct Started {
    socket: PathBuf,
    /// Public halves of the keys, and the socket of an agent that was started.
    directory: Apart,
    /// It ends with the run.
    _agent: Option<Child>,
}

/// A directory that only this user can look into. It goes with this value.
struct Apart {
    path: PathBuf,
}

impl Apart {
    fn make() -> std::io::Result<Self> {
        let name = format!("consort-agent-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Apart { path })
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // what cannot be removed stays in the system's directory for such files
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A key that the agent has.
pub(super) struct Identity {
    /// The file with its public half.
    pub(super) public: PathBuf,
    /// The agent's socket.
    pub(super) socket: PathBuf,
}

impl Agent {
    /// Gives the key that some settings name to the agent; none if they name none.
    ///
    /// # Errors
    /// What is wrong with the key or the agent.
    pub(super) async fn identity(
        &self,
        settings: &ConnectionSettings,
    ) -> Result<Option<Identity>, String> {
        let Some(key) = settings
            .option("private_key")
            .filter(|key| !key.trim().is_empty())
        else {
            return Ok(None);
        };
        let wanted = settings.option("ssh_agent").unwrap_or("none");
        if wanted == "none" {
            return Err("Cannot utilize private_key with SSH_AGENT disabled".to_owned());
        }
        let started = self
            .started
            .get_or_try_init(|| start(settings, wanted))
            .await?;
        let phrase = settings.option("private_key_passphrase");
        let mut digest = Sha256::new();
        digest.update(key);
        digest.update([0]);
        digest.update(phrase.unwrap_or_default());
        let cell = Arc::clone(
            self.keys
                .lock()
                .entry(digest.finalize().into())
                .or_default(),
        );
        let public = cell
            .get_or_try_init(|| started.add(settings, key, phrase))
            .await?;
        Ok(Some(Identity {
            public: public.clone(),
            socket: started.socket.clone(),
        }))
    }
}

/// Starts an agent, or finds the one that runs.
async fn start(settings: &ConnectionSettings, wanted: &str) -> Result<Started, String> {
    let directory =
        Apart::make().map_err(|error| format!("a directory for the ssh-agent: {error}"))?;
    if wanted != "auto" {
        return Ok(Started {
            socket: consort_modules::protocol::files::expand(wanted),
            directory,
            _agent: None,
        });
    }
    let program = settings
        .option("ssh_agent_executable")
        .unwrap_or("ssh-agent");
    let socket = directory.path.join("agent.sock");
    let mut child = Command::new(program)
        .args(["-D", "-s", "-a"])
        .arg(&socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("SSH_AGENT set to auto, but cannot find {program} binary.")
            }
            _ => format!("Could not start ssh-agent: {error}"),
        })?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output.take(64 * 1024));
        let told = tokio::time::timeout(PATIENCE, output.read_line(&mut said)).await;
        if told.is_err() {
            return Err("Timed out waiting for expected stdout from ssh-agent".to_owned());
        }
    }
    if !said.contains("SSH_AUTH_SOCK") {
        return Err("The ssh-agent terminated prematurely".to_owned());
    }
    Ok(Started {
        socket,
        directory,
        _agent: Some(child),
    })
}

impl Started {
    /// Gives it a key. The public half is kept in a file, by which `ssh` asks for that key and no other.
    async fn add(
        &self,
        settings: &ConnectionSettings,
        key: &str,
        phrase: Option<&str>,
    ) -> Result<PathBuf, String> {
        let private = kept(key)?;
        let path = place(&private);
        let phrase = phrase.map(kept).transpose()?;
        let mut show = Command::new("ssh-keygen");
        show.args(["-y", "-f", &path]);
        let public = self.done(show, phrase.as_ref()).await?;
        let mut list = Command::new("ssh-add");
        list.arg("-L");
        // an agent without keys says so by its status
        let known = self.done(list, None).await.unwrap_or_default();
        let blob = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
        let wanted = blob(&public).ok_or("the key has no public half")?;
        if !known
            .lines()
            .any(|line| blob(line).as_deref() == Some(&wanted))
        {
            let mut add = Command::new("ssh-add");
            add.arg("-q");
            if let Some(seconds) = settings.option("ssh_agent_key_lifetime") {
                add.args(["-t", seconds]);
            }
            add.arg(&path);
            self.done(add, phrase.as_ref()).await?;
        }
        let name: String = Sha256::digest(wanted.as_bytes())
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let file = self.directory.path.join(format!("{name}.pub"));
        tokio::fs::write(&file, public)
            .await
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    /// Runs one of OpenSSH's programs; a phrase is told when it is asked for.
    async fn done(&self, mut command: Command, phrase: Option<&File>) -> Result<String, String> {
        command
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        answering(&mut command, phrase, "assphrase")?;
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let output = command
            .output()
            .await
            .map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// Lets one of OpenSSH's programs ask this one, and nobody else; a secret is told where its prompt holds a word.
pub(super) fn answering(
    command: &mut Command,
    secret: Option<&File>,
    prompt: &str,
) -> Result<(), String> {
    let program: &Path = &helper::here()?.program.path;
    command
        .env(
            "CONSORT_ASKPASS",
            secret.map_or_else(|| "/dev/null".to_owned(), place),
        )
        .env("CONSORT_ASKPASS_PROMPT", prompt)
        .env("SSH_ASKPASS", program)
        .env("SSH_ASKPASS_REQUIRE", "force");
    if std::env::var_os("DISPLAY").is_none() {
        command.env("DISPLAY", "-");
    }
    Ok(())
}

/// Keeps a secret in memory, where only processes of this user find it.
pub(super) fn kept(secret: &str) -> Result<File, String> {
    let keep = || {
        let mut file = File::from(memfd_create(c"secret", MFdFlags::MFD_CLOEXEC)?);
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(secret.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    keep().map_err(|error: std::io::Error| format!("keeping a secret: {error}"))
}

/// Where processes of this user find it.
pub(super) fn place(kept: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), kept.as_raw_fd())
}
