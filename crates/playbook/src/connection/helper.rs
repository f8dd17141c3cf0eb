//! The program that works on machines: where it is here, and how it gets there.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use consort_modules::protocol::becoming::quoted;
use consort_modules::protocol::{Program, WORD};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::build_id;
use super::session::{NoAnswer, Pipes, Session};

/// The name of its file.
const NAME: &str = "consort-play-helper";

/// The variable that says where it is.
const VARIABLE: &str = "CONSORT_PLAY_HELPER";

/// The program as a file of the controller.
#[derive(Debug)]
pub(super) struct Here {
    /// How it is started here.
    pub(super) program: Program,
    digest: OnceLock<Result<String, String>>,
    packed: OnceLock<Result<Vec<u8>, String>>,
}

/// The program: told by a variable, beside this one, or this one itself.
///
/// # Errors
/// The system does not say where this one is.
pub(super) fn here() -> Result<&'static Here, String> {
    static HERE: OnceLock<Result<Here, String>> = OnceLock::new();
    HERE.get_or_init(|| {
        Ok(Here {
            program: find()?,
            digest: OnceLock::new(),
            packed: OnceLock::new(),
        })
    })
    .as_ref()
    .map_err(Clone::clone)
}

fn find() -> Result<Program, String> {
    let apart = |path: PathBuf| Program {
        path,
        arguments: Vec::new(),
    };
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(apart(path.into()));
    }
    let this =
        std::env::current_exe().map_err(|error| format!("which program is this? {error}"))?;
    // beside it, or one above it, where examples and tests lie below the programs
    let beside = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(NAME));
    if let Some(path) = beside.into_iter().find(|path| path.is_file()) {
        return Ok(apart(path));
    }
    Ok(Program {
        path: this,
        arguments: vec![WORD.to_owned()],
    })
}

impl Here {
    /// Its build ID, or the digest of its content, as it is named on machines.
    fn digest(&self) -> Result<&str, String> {
        self.digest
            .get_or_init(|| {
                let known = match build_id::of(&self.program.path) {
                    Some(known) => known,
                    None => Sha256::digest(read(&self.program.path)?)[..16].to_vec(),
                };
                Ok(known.iter().map(|byte| format!("{byte:02x}")).collect())
            })
            .as_deref()
            .map_err(Clone::clone)
    }

    /// Its content, compressed by gzip.
    fn packed(&self) -> Result<&[u8], String> {
        self.packed
            .get_or_init(|| {
                let content = read(&self.program.path)?;
                let mut packed =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed
                    .write_all(&content)
                    .and_then(|()| packed.finish())
                    .map_err(|error| error.to_string())
            })
            .as_deref()
            .map_err(Clone::clone)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

/// A path of the machine as a word of its shell: a home directory stays one.
pub(super) fn shell_path(path: &str) -> String {
    match path.strip_prefix('~') {
        Some("") => "\"$HOME\"".to_owned(),
        Some(rest) if rest.starts_with('/') => format!("\"$HOME\"{}", quoted(rest)),
        Some(rest) => {
            let (name, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            if !plain {
                return quoted(path);
            }
            let tail = if tail.is_empty() {
                String::new()
            } else {
                quoted(tail)
            };
            format!("~{name}{tail}")
        }
        None if path.starts_with('$') => {
            let end = path[1..]
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .map_or(path.len(), |end| end + 1);
            let rest = if end < path.len() {
                quoted(&path[end..])
            } else {
                String::new()
            };
            format!("\"{}\"{rest}", &path[..end])
        }
        None => quoted(path),
    }
}

/// What came of looking for the program on a machine.
pub(super) enum Arrived {
    /// It runs.
    Session(Session),
    /// It cannot run there: why.
    Cannot(String),
}

/// What the machine's shell runs: it says what it has, takes the program if it has none, and becomes it.
///
/// Each line it says begins with `mark`. It is one process from the login to the helper.
pub(super) fn line(mark: &str, remote_tmp: &str) -> Result<String, String> {
    let here = here()?;
    let name = format!("helper-{}", here.digest()?);
    let serve = here
        .program
        .arguments
        .iter()
        .map(String::as_str)
        .chain(["serve"])
        .collect::<Vec<_>>()
        .join(" ");
    let check = serve.replace("serve", "check");
    let directory = shell_path(remote_tmp);
    Ok(format!(
        "O=$(umask); \
         for D in {directory}/consort /var/tmp/consort-$(id -u); do \
         if [ -O \"$D\" ] && [ -x \"$D/{name}\" ]; then echo {mark} have; exec \"$D/{name}\" {serve}; fi; done; \
         umask 077; U=no; command -v gzip >/dev/null 2>&1 && U=gzip; \
         echo {mark} want $(uname -s) $(uname -m) $U; \
         read -r S || exit 0; [ \"$S\" = none ] && exit 0; \
         for D in {directory}/consort /var/tmp/consort-$(id -u); do \
         mkdir -p \"$D\" 2>/dev/null; if [ -O \"$D\" ] && [ -w \"$D\" ]; then break; fi; D=; done; \
         if [ -z \"$D\" ]; then echo {mark} cannot no directory; exit 0; fi; \
         T=\"$D/.new-$$\"; trap 'rm -f \"$T\"' EXIT; trap 'exit 1' HUP INT TERM PIPE; echo {mark} send; \
         if [ $U = gzip ]; then head -c \"$S\" | gzip -dc >\"$T\"; else head -c \"$S\" >\"$T\"; fi \
         || {{ echo {mark} cannot it cannot be written; exit 0; }}; \
         chmod 700 \"$T\"; W=$(\"$T\" {check} 2>&1 </dev/null) || {{ echo {mark} cannot $W; exit 0; }}; \
         mv -f \"$T\" \"$D/{name}\" || {{ echo {mark} cannot it cannot be named; exit 0; }}; \
         find \"$D\" -name 'helper-*' -mtime +30 -exec rm -f {{}} + 2>/dev/null; \
         trap - EXIT HUP INT TERM PIPE; umask $O; echo {mark} have; exec \"$D/{name}\" {serve}"
    ))
}

/// Leads the talk with the shell that runs [`line`], until the helper runs.
pub(super) async fn arrive(mut pipes: Pipes, mark: &str) -> Result<Arrived, NoAnswer> {
    let mut content: Cow<'static, [u8]> = Cow::Borrowed(&[]);
    loop {
        let Ok(Some(said)) = pipes.line().await else {
            return Err(NoAnswer::Lost(pipes.lost().await));
        };
        // greetings of the login come first
        let Some(at) = said.find(mark) else { continue };
        let said = said[at + mark.len()..].trim();
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        match word {
            "have" => return Session::begin(pipes).await.map(Arrived::Session),
            "want" => {
                let mut words = rest.split_whitespace();
                let (system, machine, unpacks) = (words.next(), words.next(), words.next());
                if system != Some("Linux") || machine != Some(machine_name()) {
                    let _ = pipes.input.write_all(b"none\n").await;
                    return Ok(Arrived::Cannot(format!(
                        "it is {} on {}",
                        system.unwrap_or("an unknown system"),
                        machine.unwrap_or("an unknown machine")
                    )));
                }
                let Ok(here) = here() else {
                    return Err(NoAnswer::Wrong(
                        "there is no helper program here".to_owned(),
                    ));
                };
                let gzip = unpacks == Some("gzip");
                content = tokio::task::spawn_blocking(move || {
                    if gzip {
                        here.packed().map(Cow::Borrowed)
                    } else {
                        read(&here.program.path).map(Cow::Owned)
                    }
                })
                .await
                .map_err(|error| NoAnswer::Wrong(error.to_string()))?
                .map_err(NoAnswer::Wrong)?;
                let announced = format!("{}\n", content.len());
                if pipes.input.write_all(announced.as_bytes()).await.is_err() {
                    return Err(NoAnswer::Lost(pipes.lost().await));
                }
            }
            "send" => {
                if pipes.input.write_all(&content).await.is_err() {
                    return Err(NoAnswer::Lost(pipes.lost().await));
                }
            }
            "cannot" => return Ok(Arrived::Cannot(rest.to_owned())),
            _ => return Err(NoAnswer::Wrong(format!("not understood: {said}"))),
        }
    }
}

/// What `uname -m` says of the kind of machine that this program is built for.
fn machine_name() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}
