//! Running `git`: nothing of the host's configuration, no questions, an end in time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::credentials::Access;
use crate::error::Error;

/// So much of what `git` writes is taken.
const MOST_OUTPUT: u64 = 64 << 20;
/// So much of what it complains of is kept.
const MOST_COMPLAINT: u64 = 64 << 10;

/// What holds for every run: the whole of `git`'s configuration, so that nothing of the host's or of a user's counts.
const CONFIGURATION: &str = "\
[safe]
\tdirectory = *
[protocol]
\tallow = never
[protocol \"https\"]
\tallow = always
[protocol \"http\"]
\tallow = always
[protocol \"ssh\"]
\tallow = always
[protocol \"file\"]
\tallow = always
[core]
\thooksPath = /dev/null
\tfsmonitor = false
\tautocrlf = false
\tsymlinks = true
\taskPass = /bin/false
[credential]
\thelper =
[submodule]
\trecurse = false
[fetch]
\trecurseSubmodules = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[http]
\tlowSpeedLimit = 100
\tlowSpeedTime = 30
\tfollowRedirects = initial
[advice]
\tdetachedHead = false
";

/// Runs `git` with a configuration of its own.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    configuration: PathBuf,
}

/// One run.
pub(crate) struct Run<'a> {
    /// What it is for, for errors: `fetching main of https://host/repo`.
    pub(crate) doing: String,
    /// The repository at the other end, for errors.
    pub(crate) url: &'a str,
    /// The arguments.
    pub(crate) arguments: Vec<OsString>,
    /// The bare repository it works on.
    pub(crate) git_dir: Option<&'a Path>,
    /// Further variables.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// How to log in.
    pub(crate) access: Option<&'a Access>,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// Ends it early.
    pub(crate) cancel: &'a CancellationToken,
}

impl Git {
    /// Writes the configuration into a directory.
    pub(crate) fn new(directory: &Path) -> Result<Self, Error> {
        let configuration = directory.join("config");
        std::fs::write(&configuration, CONFIGURATION)
            .map_err(Error::io("writing", &configuration))?;
        Ok(Self { configuration })
    }

    /// Runs it and gives what it wrote.
    pub(crate) async fn run(&self, run: Run<'_>) -> Result<Vec<u8>, Error> {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", &self.configuration)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS_REQUIRE", "never")
            // What it says is read here.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // What it starts itself ends with it.
            .process_group(0);
        if let Some(directory) = run.git_dir {
            command.env("GIT_DIR", directory);
        }
        if let Some(access) = run.access {
            access.apply(&mut command);
        }
        for (name, value) in &run.environment {
            command.env(name, value);
        }
        command.args(&run.arguments);
        let mut child = command.spawn().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Error::NoGit
            } else {
                Error::Failed {
                    doing: run.doing.clone(),
                    said: format!("starting git: {error}"),
                }
            }
        })?;
        let group = Group(child.id());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (written, complaint) =
                tokio::join!(take(stdout, MOST_OUTPUT), take(stderr, MOST_COMPLAINT));
            (child.wait().await, written, complaint)
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(run.limit, work) => ended,
            () = run.cancel.cancelled() => {
                return Err(Error::Cancelled { doing: run.doing });
            }
        };
        let Ok((status, written, complaint)) = ended else {
            return Err(Error::TimedOut {
                doing: run.doing,
                limit: run.limit,
            });
        };
        group.ended();
        let failed = |said: String| Error::Failed {
            doing: run.doing.clone(),
            said,
        };
        let status = status.map_err(|error| failed(error.to_string()))?;
        if status.success() {
            return match written {
                Some(written) => Ok(written),
                None => Err(Error::TooMuch {
                    what: "more output than is read".to_owned(),
                    most: format!("{} MiB", MOST_OUTPUT >> 20),
                }),
            };
        }
        let said = complaint.unwrap_or_default();
        let mut said = String::from_utf8_lossy(&said).into_owned();
        if let Some(access) = run.access {
            said = access.scrub(&said);
        }
        let own = run.access.is_none() || said.contains("not a git repository: '");
        Err(if own {
            // Work within the cache, or a cache that is broken: nothing is said about the other end.
            failed(told(&said))
        } else {
            understand(&run.doing, run.url, &said, status)
        })
    }
}

/// A process and what it has started; ended when this is dropped.
struct Group(Option<u32>);

impl Group {
    /// It has ended by itself.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// Reads to the end and keeps the first bytes; none if there were more.
async fn take<R: AsyncRead + Unpin>(source: Option<R>, most: u64) -> Option<Vec<u8>> {
    let mut source = source?;
    let mut kept = Vec::new();
    let _ = (&mut source).take(most).read_to_end(&mut kept).await;
    let beyond = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
    (beyond.unwrap_or(0) == 0).then_some(kept)
}

/// What a failure means, by what `git`, `ssh` and the server say.
fn understand(doing: &str, url: &str, said: &str, status: std::process::ExitStatus) -> Error {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let text = told(said);
    let (url, said) = (
        url.to_owned(),
        if text.is_empty() {
            format!("git ended with {status}")
        } else {
            text
        },
    );
    if has(&[
        "host key verification failed",
        "certificate verification failed",
        "ssl certificate problem",
        "no host key is known",
        "certificate verify",
    ]) {
        return Error::Identity { url, said };
    }
    if has(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "permission denied (",
        "returned error: 401",
        "returned error: 403",
        "http basic: access denied",
        "invalid credentials",
        "error in libcrypto",
        "invalid format",
    ]) {
        return Error::Credentials { url, said };
    }
    if has(&[
        "couldn't find remote ref",
        "not our ref",
        "unadvertised object",
    ]) {
        return Error::NoReference {
            url,
            reference: doing.to_owned(),
        };
    }
    if has(&[
        "repository not found",
        "does not appear to be a git repository",
        "returned error: 404",
        "not found: did you run",
        "' does not exist",
        "' not found",
        "not a git repository",
    ]) {
        return Error::NoRepository { url, said };
    }
    if has(&[
        "could not resolve host",
        "connection refused",
        "connection timed out",
        "connection reset",
        "connection closed",
        "failed to connect",
        "couldn't connect",
        "network is unreachable",
        "no route to host",
        "operation timed out",
        "operation too slow",
        "early eof",
        "hung up unexpectedly",
        "returned error: 429",
        "returned error: 5",
        "unable to access",
    ]) {
        return Error::Unreachable { url, said };
    }
    Error::Failed {
        doing: doing.to_owned(),
        said,
    }
}

/// The lines that say what is wrong, as one.
fn told(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_fault = |line: &&str| {
        line.starts_with("fatal:") || line.starts_with("error:") || line.starts_with("remote:")
    };
    let mut chosen: Vec<&str> = lines().filter(is_fault).collect();
    // `ssh` says why before `git` says that it could not go on.
    let ssh = lines().find(|line| {
        line.contains("Permission denied")
            || line.contains("Host key verification failed")
            || line.contains("Could not resolve hostname")
            || line.starts_with("ssh: ")
            || line.starts_with("Load key")
    });
    if let Some(ssh) = ssh {
        chosen = vec![ssh];
    }
    if chosen.is_empty() {
        chosen = lines().collect();
    }
    let text = chosen
        .iter()
        .take(3)
        .map(|line| {
            line.trim_start_matches("fatal:")
                .trim_start_matches("error:")
                .trim()
        })
        .collect::<Vec<_>>()
        .join("; ");
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}
