//! Where secrets come from: files, programs that print them, prompts.

use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, Secret, Vault};

/// Why a secret was not had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file is not there.
    #[error("The vault password file {0} was not found")]
    NotFound(PathBuf),
    /// It is a directory.
    #[error("The vault password file provided '{0}' can not be a directory")]
    Directory(PathBuf),
    /// It cannot be read.
    #[error("Could not read vault password file '{path}'.")]
    Reading {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It is a vault that cannot be opened.
    #[error(transparent)]
    Vault(#[from] Error),
    /// There is nothing in it.
    #[error("{0}")]
    Empty(String),
    /// The program does not run, or does not do well.
    #[error("{0}")]
    Program(String),
    /// The user was asked and ended the input.
    #[error("EOFError (ctrl-d) on prompt for ({0})")]
    EndOfInput(String),
    /// The second answer was not the first.
    #[error("Passwords do not match")]
    Different,
    /// The terminal cannot be used.
    #[error("asking for a password: {0}")]
    Terminal(#[source] io::Error),
}

/// Where a secret comes from: `prompt`, `prompt_ask_vault_pass`, or a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The name of the secret.
    pub id: String,
    /// What stands after the `@`.
    pub source: String,
}

impl Place {
    /// Takes `ID@SOURCE` apart; without `@` it is the source of the default secret.
    pub fn parse(written: &str, default_id: &str) -> Place {
        match written.split_once('@') {
            Some((id, source)) => Place {
                id: id.to_owned(),
                source: source.to_owned(),
            },
            None => Place {
                id: default_id.to_owned(),
                source: written.to_owned(),
            },
        }
    }

    /// Whether the user is asked.
    pub fn asks(&self) -> bool {
        matches!(self.source.as_str(), "prompt" | "prompt_ask_vault_pass")
    }
}

/// Reads the secret of a file, or runs it if it is a program.
///
/// A program whose name ends in `-client` is told the secret's name. What is itself a vault is opened with the secrets
/// read so far.
///
/// # Errors
/// See [`SecretError`].
pub fn read(path: &Path, id: Option<&str>, known: &Vault) -> Result<Vec<u8>, SecretError> {
    let metadata = std::fs::metadata(path).map_err(|_| SecretError::NotFound(path.to_owned()))?;
    if metadata.is_dir() {
        return Err(SecretError::Directory(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o111 != 0 {
        let client = path
            .file_stem()
            .is_some_and(|stem| stem.to_string_lossy().ends_with("-client"));
        return if client {
            run_client(path, id)
        } else {
            run(path)
        };
    }
    let content = std::fs::read(path).map_err(|cause| SecretError::Reading {
        path: path.to_owned(),
        cause,
    })?;
    let content = known.open(content.trim_ascii().to_vec())?;
    let secret = ends_trimmed(&content);
    if secret.is_empty() {
        return Err(SecretError::Empty(format!(
            "Invalid vault password was provided from file ({})",
            path.display()
        )));
    }
    Ok(secret.to_vec())
}

fn ends_trimmed(bytes: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = bytes
        .iter()
        .position(|byte| !is_end(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_end(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

fn run(path: &Path) -> Result<Vec<u8>, SecretError> {
    let output = Command::new(path)
        .stderr(Stdio::inherit())
        .stdin(Stdio::inherit())
        .output()
        .map_err(|error| {
            SecretError::Program(format!(
                "Problem running vault password script {} ({error}). If this is not a script, remove the executable bit \
                 from the file.",
                path.display()
            ))
        })?;
    if !output.status.success() {
        return Err(SecretError::Program(format!(
            "Vault password script {} returned non-zero ({}): None",
            path.display(),
            output.status.code().unwrap_or(-1)
        )));
    }
    printed(path, &output.stdout)
}

fn run_client(path: &Path, id: Option<&str>) -> Result<Vec<u8>, SecretError> {
    let mut command = Command::new(path);
    if let Some(id) = id {
        command.args(["--vault-id", id]);
    }
    let output = command.stdin(Stdio::inherit()).output().map_err(|error| {
        SecretError::Program(format!(
            "Problem running vault password client script {} ({error}). If this is not a script, remove the executable bit \
             from the file.",
            path.display()
        ))
    })?;
    let id = id.unwrap_or("None");
    let complaint = consort_jinja::repr::repr(&consort_jinja::Value::Bytes(
        output.stderr.as_slice().into(),
    ));
    match output.status.code().unwrap_or(-1) {
        0 => printed(path, &output.stdout),
        2 => Err(SecretError::Program(format!(
            "Vault password client script {} did not find a secret for vault-id={id}: {complaint}",
            path.display()
        ))),
        status => Err(SecretError::Program(format!(
            "Vault password client script {} returned non-zero ({status}) when getting secret for vault-id={id}: {complaint}",
            path.display()
        ))),
    }
}

fn printed(path: &Path, output: &[u8]) -> Result<Vec<u8>, SecretError> {
    let secret = ends_trimmed(output);
    if secret.is_empty() {
        return Err(SecretError::Empty(format!(
            "Invalid vault password was provided from script ({})",
            path.display()
        )));
    }
    Ok(secret.to_vec())
}

/// Asks the user, once for each prompt; all answers must be the same.
///
/// Without a terminal the answers are read from standard input, a line each.
///
/// # Errors
/// There was no answer, an empty one, or another the second time.
pub fn ask(id: &str, prompts: &[String]) -> Result<Secret, SecretError> {
    let mut answers = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let answer = hidden(prompt)
            .map_err(SecretError::Terminal)?
            .ok_or_else(|| SecretError::EndOfInput(id.to_owned()))?;
        if answer.is_empty() {
            return Err(SecretError::Empty(
                "Invalid vault password was provided".to_owned(),
            ));
        }
        answers.push(answer.trim().as_bytes().to_vec());
    }
    let first = answers.first().cloned().unwrap_or_default();
    if answers.iter().any(|answer| *answer != first) {
        return Err(SecretError::Different);
    }
    Ok(Secret {
        id: id.to_owned(),
        password: first,
    })
}

/// A line of the user's that is not shown while it is typed; nothing at the end of the input.
pub(crate) fn hidden(prompt: &str) -> io::Result<Option<String>> {
    use nix::sys::termios;

    let terminal = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty");
    let mut line = String::new();
    let read = match terminal {
        Ok(mut terminal) => {
            let shown = termios::tcgetattr(&terminal)?;
            let mut quiet = shown.clone();
            quiet.local_flags.remove(termios::LocalFlags::ECHO);
            termios::tcsetattr(&terminal, termios::SetArg::TCSAFLUSH, &quiet)?;
            terminal.write_all(prompt.as_bytes())?;
            let read = io::BufReader::new(&terminal).read_line(&mut line);
            termios::tcsetattr(&terminal, termios::SetArg::TCSAFLUSH, &shown)?;
            terminal.write_all(b"\n")?;
            read?
        }
        Err(_) => {
            eprint!("{prompt}");
            io::stderr().flush()?;
            io::stdin().lock().read_line(&mut line)?
        }
    };
    if read == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}
