//! What actions do on the machine beside modules: look at files, carry them there, run a line in its shell.

use std::path::{Path, PathBuf};

use consort_jinja::{Dict, Value, repr};
use consort_modules::python::shell_quote;
use tokio::sync::OnceCell;

use super::given::{dict, says, set};
use super::{Failure, Outcome};
use crate::connection::{self, Become, Command, Content, Output};
use crate::executor::Attempt;
use crate::paths;

/// What carrying a file, or a line, to a machine gave.
pub(super) fn refused(error: connection::Error) -> Failure {
    match error {
        connection::Error::Unreachable(message) => Failure::Unreachable {
            message,
            result: Dict::default(),
        },
        connection::Error::Failed { message, more } => {
            let result = crate::values::from_report(more);
            if result.is_empty() {
                Failure::error(message)
            } else {
                Failure::with(message, result)
            }
        }
        error @ connection::Error::TimedOut(_) => Failure::error(error.to_string()),
    }
}

/// Runs a line in the machine's shell.
pub(super) async fn shell(
    attempt: &Attempt<'_>,
    command: Command,
    user: Option<&Become>,
) -> Result<Output, Failure> {
    attempt
        .connection()?
        .command(command, user, attempt.timeout)
        .await
        .map_err(refused)
}

/// What a line gave, as results tell it.
pub(super) fn told(output: &Output) -> Dict {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    dict([
        ("rc", Value::Int(output.status.into())),
        ("stdout_lines", lines(&stdout)),
        ("stderr_lines", lines(&stderr)),
        ("stdout", stdout.into()),
        ("stderr", stderr.into()),
    ])
}

fn lines(text: &str) -> Value {
    Value::list(
        crate::output::difference::lines(text)
            .iter()
            .map(|line| {
                line.trim_end_matches([
                    '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}',
                    '\u{2029}',
                ])
                .into()
            })
            .collect(),
    )
}

/// What is known of a file on the machine (`stat`), with its checksum: `1` if it is not there, empty if it has none.
pub(super) async fn stat(
    attempt: &Attempt<'_>,
    path: &str,
    follow: bool,
    checksum: bool,
) -> Outcome {
    let report = attempt
        .module(
            "ansible.legacy.stat",
            dict([
                ("path", path.into()),
                ("follow", follow.into()),
                ("get_checksum", checksum.into()),
                ("checksum_algorithm", "sha1".into()),
            ]),
        )
        .await?;
    if says(&report, "failed") {
        let message = ["module_stderr", "module_stdout", "msg"]
            .iter()
            .find_map(|name| {
                report
                    .get(name)
                    .filter(|value| value.truth().unwrap_or(false))
            })
            .map(|value| repr::text(&value))
            .unwrap_or_default();
        return Err(Failure::error(format!(
            "Failed to get information on remote file ({path}): {message}"
        )));
    }
    let Some(Value::Dict(found)) = report.get("stat") else {
        return Err(Failure::error(format!(
            "Failed to get information on remote file ({path}): the module gave none"
        )));
    };
    if !says(&found, "exists") {
        set(&found, "checksum", "1");
    }
    match found.get("checksum") {
        None | Some(Value::None) => set(&found, "checksum", ""),
        Some(_) => {}
    }
    Ok(found)
}

/// Whether there is a file on the machine.
pub(super) async fn exists(attempt: &Attempt<'_>, path: &str) -> Result<bool, Failure> {
    let command = Command {
        line: format!("( test -e {} )", shell_quote(path)),
        ..Command::default()
    };
    let user = attempt.user()?;
    Ok(shell(attempt, command, user).await?.status == 0)
}

/// A path on the machine with its `~` expanded there: that of whom the task becomes, or of who logged in.
pub(super) async fn expand_user(attempt: &Attempt<'_>, path: &str) -> Result<String, Failure> {
    if !path.starts_with('~') {
        return Ok(path.to_owned());
    }
    let (mut home, rest) = match path.split_once('/') {
        Some((home, rest)) => (home.to_owned(), Some(rest)),
        None => (path.to_owned(), None),
    };
    let user = attempt.user()?;
    if home == "~"
        && let Some(user) = user
    {
        home = format!("~{}", user.user);
    }
    let safe = home[1..]
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let line = if safe {
        format!("echo {home}")
    } else {
        format!("echo {}", shell_quote(&home))
    };
    let run = |line: String| {
        shell(
            attempt,
            Command {
                line,
                ..Command::default()
            },
            None,
        )
    };
    let output = run(line).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expanded = match said.trim().lines().last() {
        Some(home) if !home.is_empty() => match rest {
            Some(rest) => paths::join(home, rest),
            None => home.to_owned(),
        },
        _ => {
            let output = run("echo $(pwd)".to_owned()).await?;
            let here = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if here.is_empty() {
                path.to_owned()
            } else {
                here
            }
        }
    };
    if paths::dirname(&expanded)
        .split('/')
        .any(|part| part == "..")
    {
        return Err(Failure::error(format!(
            "'{}' returned an invalid relative home directory path containing '..'",
            attempt.host
        )));
    }
    Ok(expanded)
}

/// A directory for a task's files on the machine, made when it is first asked for.
pub(super) struct Temporary<'a> {
    attempt: &'a Attempt<'a>,
    path: OnceCell<String>,
}

impl<'a> Temporary<'a> {
    /// Nothing is made yet.
    pub(super) fn of(attempt: &'a Attempt<'a>) -> Self {
        Temporary {
            attempt,
            path: OnceCell::new(),
        }
    }

    /// Where it is.
    pub(super) async fn path(&self) -> Result<&str, Failure> {
        let path = self
            .path
            .get_or_try_init(|| async {
                let user = self.attempt.user()?;
                self.attempt
                    .connection()?
                    .temporary(user)
                    .await
                    .map_err(refused)
            })
            .await?;
        Ok(path)
    }

    /// Carries a file into it. Gives its path there.
    pub(super) async fn put(
        &self,
        content: Content<'_>,
        name: &str,
        mode: u32,
    ) -> Result<String, Failure> {
        let path = paths::join(self.path().await?, name);
        let attempt = self.attempt;
        let user = attempt.user()?;
        attempt
            .connection()?
            .put(content, &path, mode, user)
            .await
            .map_err(refused)?;
        Ok(path)
    }

    /// Takes it away. That it cannot be taken away is only warned of.
    pub(super) async fn remove(mut self) {
        let Some(path) = self.path.take() else { return };
        let attempt = self.attempt;
        if attempt.settings().keep_remote_files {
            return;
        }
        let (Ok(connection), Ok(user)) = (attempt.connection(), attempt.user()) else {
            return;
        };
        if let Err(error) = connection.remove(&path, user).await {
            attempt.warn(format!("Error deleting remote temporary files ({error})"));
        }
    }
}

/// Something on the controller that a file on the machine is to be made of.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// What it holds, if that is not what the file there holds: given with the task, rendered, or decrypted.
    pub bytes: Option<Vec<u8>>,
}

impl Source {
    /// A file of the controller; decrypted if it is encrypted.
    pub(super) async fn file(
        attempt: &Attempt<'_>,
        path: &Path,
        decrypt: bool,
    ) -> Result<Self, Failure> {
        let path = path.to_owned();
        let reader = attempt.loader().reader().clone();
        blocking(move || {
            if !path.is_file() {
                return Err(missing(&path));
            }
            let bytes = if decrypt && is_encrypted(&path)? {
                let opened = reader.bytes(&path).map_err(|error| {
                    if error.brief().ends_with("no vault secrets found.") {
                        crate::source::Located::parser(format!(
                            "A vault password or secret must be specified to decrypt {}",
                            path.display()
                        ))
                    } else {
                        error
                    }
                });
                Some(opened?.0)
            } else {
                None
            };
            Ok(Source { path, bytes })
        })
        .await
    }

    /// What is sent.
    pub(super) fn content(&self) -> Content<'_> {
        match &self.bytes {
            Some(bytes) => Content::Bytes(bytes),
            None => Content::File(&self.path),
        }
    }

    /// What it holds.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Failure> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes.clone());
        }
        let path = self.path.clone();
        blocking(move || {
            std::fs::read(&path).map_err(|error| {
                Failure::error(format!(
                    "an error occurred while trying to read the file '{}'.: {}",
                    path.display(),
                    consort_modules::python::os_error_at_text(&error, &path.to_string_lossy())
                ))
            })
        })
        .await
    }

    /// How many bytes it holds.
    pub(super) fn size(&self) -> u64 {
        match &self.bytes {
            Some(bytes) => bytes.len() as u64,
            None => std::fs::metadata(&self.path).map_or(0, |meta| meta.len()),
        }
    }

    /// Its SHA-1.
    pub(super) async fn checksum(&self) -> Result<String, Failure> {
        if let Some(bytes) = &self.bytes {
            return Ok(consort_modules::digest::sha1(bytes));
        }
        checksum_of(&self.path).await.map(Option::unwrap_or_default)
    }
}

/// The SHA-1 of a file of the controller, if there is one.
pub(super) async fn checksum_of(path: &Path) -> Result<Option<String>, Failure> {
    digest_of(path, "sha1").await
}

/// A digest of a file of the controller, if there is one.
pub(super) async fn digest_of(
    path: &Path,
    algorithm: &'static str,
) -> Result<Option<String>, Failure> {
    let path = path.to_owned();
    blocking(move || {
        consort_modules::digest::of_file(&path, &path.to_string_lossy(), algorithm)
            .map_err(|failure| Failure::error(failure.message))
    })
    .await
}

fn is_encrypted(path: &Path) -> Result<bool, Failure> {
    use std::io::Read as _;
    const MARK: &[u8] = b"$ANSIBLE_VAULT;";
    let mut head = [0; MARK.len()];
    let read = std::fs::File::open(path).and_then(|mut file| match file.read_exact(&mut head) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    });
    match read {
        Ok(whole) => Ok(whole && head == MARK),
        Err(error) => Err(crate::source::Located::parser(format!(
            "an error occurred while trying to read the file '{}'.",
            path.display()
        ))
        .because(crate::source::Located::new(
            consort_modules::python::os_error_at_text(&error, &path.to_string_lossy()),
        ))
        .into()),
    }
}

/// Says that a file is not there.
pub(super) fn missing(path: &Path) -> Failure {
    crate::source::Located::new(format!(
        "Could not find or access '{}' on the Ansible Controller.",
        path.display()
    ))
    .hint("If you are using a module and expect the file to exist on the remote, see the remote_src option.")
    .into()
}

/// Does something that waits for the disk of the controller.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    crate::blocking::blocking(|_| work())
        .await
        .unwrap_or_else(|broken| Err(Failure::error(broken.to_string())))
}

/// What a file of the machine and what it is to become differ in.
pub(super) async fn difference(
    attempt: &Attempt<'_>,
    destination: &str,
    source: &Source,
    given: bool,
) -> Outcome {
    let diff = Dict::default();
    let peek = attempt
        .module(
            "ansible.legacy.file",
            dict([("path", destination.into()), ("_diff_peek", true.into())]),
        )
        .await?;
    if says(&peek, "failed") {
        attempt.warn(format!(
            "Failed to get diff between '{}' and '{destination}': {}",
            paths::basename(&source.path.to_string_lossy()),
            peek.get("msg")
                .map(|value| repr::text(&value))
                .unwrap_or_default()
        ));
        return Ok(diff);
    }
    let largest = attempt.settings().max_file_size_for_diff;
    let too_large = |size: i64| largest > 0 && size > largest;
    let size = peek.get("size").and_then(|size| size.as_int()).unwrap_or(0);
    if matches!(
        peek.get("state").as_ref().map(|state| state.as_str()),
        None | Some(None | Some("absent"))
    ) {
        set(&diff, "before", "");
    } else if says(&peek, "appears_binary") {
        set(&diff, "dst_binary", Value::Int(1));
    } else if too_large(size) {
        set(&diff, "dst_larger", Value::Int(largest));
    } else {
        let slurped = attempt
            .module("ansible.legacy.slurp", dict([("path", destination.into())]))
            .await?;
        if let Some(content) = slurped.get("content") {
            let bytes = decoded(&content)?;
            set(&diff, "before_header", destination);
            set(
                &diff,
                "before",
                String::from_utf8_lossy(&bytes).into_owned(),
            );
        }
    }
    if too_large(i64::try_from(source.size()).unwrap_or(i64::MAX)) {
        set(&diff, "src_larger", Value::Int(largest));
    } else {
        let bytes = source.read().await?;
        if bytes.contains(&0) {
            set(&diff, "src_binary", Value::Int(1));
        } else {
            if given {
                set(&diff, "after_header", destination);
            } else {
                set(
                    &diff,
                    "after_header",
                    source.path.to_string_lossy().into_owned(),
                );
            }
            set(&diff, "after", String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    if attempt.no_log {
        if diff.get("before").is_some() {
            set(&diff, "before", "");
        }
        if diff.get("after").is_some() {
            set(
                &diff,
                "after",
                " [[ Diff output has been hidden because 'no_log: true' was specified for this result ]]\n",
            );
        }
    }
    Ok(diff)
}

/// The bytes behind base64.
pub(super) fn decoded(content: &Value) -> Result<Vec<u8>, Failure> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(content.as_str().unwrap_or_default().trim())
        .map_err(|error| Failure::error(format!("the machine gave no base64: {error}")))
}
