//! The program that works on machines: where it is here, and how it gets there.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use consort_modules::protocol::becoming::quoted;
use consort_modules::protocol::{Program, WORD};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::session::{NoAnswer, Pipes, Session};
use super::{build_id, kept};

/// The name of its file.
const NAME: &str = "consort-play-helper";

/// The variable that says where it is.
const VARIABLE: &str = "CONSORT_PLAY_HELPER";

/// The program as a file of the controller.
#[derive(Debug)]
pub(super) struct Here {
    /// How it is started here.
    pub(super) program: Program,
    /// It, and those like it for other kinds of machines, by what `uname -m` says there.
    built: Vec<(String, Built)>,
}

/// The program as it is sent to one kind of machine.
#[derive(Debug)]
struct Built {
    path: PathBuf,
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
        let program = find()?;
        let mut built = vec![(machine_name().to_owned(), Built::of(program.path.clone()))];
        if program.arguments.is_empty() {
            built.extend(others(&program.path));
        }
        Ok(Here { program, built })
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

/// The programs for other kinds of machines, which lie beside the one for this: `consort-play-helper-aarch64`, ...
fn others(own: &Path) -> Vec<(String, Built)> {
    let entries = own.parent().map(std::fs::read_dir);
    let Some(Ok(entries)) = entries else {
        return Vec::new();
    };
    let mut found: Vec<(String, Built)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let machine = name.to_str()?.strip_prefix(NAME)?.strip_prefix('-')?;
            let plain = machine
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (plain && machine != machine_name())
                .then(|| (machine.to_owned(), Built::of(entry.path())))
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

impl Here {
    /// The program for a kind of machine.
    fn built(&self, machine: &str) -> Option<&Built> {
        let found = self.built.iter().find(|(name, _)| name == machine);
        found.map(|(_, built)| built)
    }
}

impl Built {
    fn of(path: PathBuf) -> Self {
        Built {
            path,
            digest: OnceLock::new(),
            packed: OnceLock::new(),
        }
    }

    /// Its build ID, or the digest of its content, as it is named on machines.
    fn digest(&self) -> Result<&str, String> {
        self.digest
            .get_or_init(|| {
                let known = match build_id::of(&self.path) {
                    Some(known) => known,
                    None => Sha256::digest(read(&self.path)?)[..16].to_vec(),
                };
                Ok(known.iter().map(|byte| format!("{byte:02x}")).collect())
            })
            .as_deref()
            .map_err(Clone::clone)
    }

    /// Its content, compressed by gzip: once for all runs, where there is a directory that keeps it.
    fn packed(&self) -> Result<&[u8], String> {
        self.packed
            .get_or_init(|| {
                let kept = kept::Kept::of(self.digest()?);
                if let Some(packed) = kept.as_ref().and_then(kept::Kept::read) {
                    return Ok(packed);
                }
                let content = read(&self.path)?;
                let mut packed =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                let packed = packed
                    .write_all(&content)
                    .and_then(|()| packed.finish())
                    .map_err(|error| error.to_string())?;
                if let Some(kept) = kept {
                    kept.write(&packed);
                }
                Ok(packed)
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
/// Each line it says begins with `mark`. It is one process from the login to the helper. It is one line without exclamation marks, which
/// shells of the csh kind would take for words of their history. The program is kept in the first directory that
/// is its user's own, from which programs may be run, and that has room for it.
pub(super) fn line(mark: &str, remote_tmp: &str) -> Result<String, String> {
    let here = here()?;
    let name = names(here)?;
    let words = here.program.arguments.iter().map(String::as_str);
    let serve = words.clone().chain(["serve"]).collect::<Vec<_>>().join(" ");
    let check = words.chain(["check"]).collect::<Vec<_>>().join(" ");
    let directory = shell_path(remote_tmp);
    let room = here
        .built
        .iter()
        .filter_map(|(_, built)| built.path.metadata().ok())
        .map(|found| found.len() / 1024 + 64)
        .max()
        .unwrap_or_default();
    Ok(format!(
        "O=$(umask); {name}; set -- {directory}/consort \"/var/tmp/consort-$(id -u)\" \"/tmp/consort-$(id -u)\" \"/dev/shm/consort-$(id -u)\"; \
         for D do \
         if [ -O \"$D\" ] && [ -x \"$D/$N\" ]; then echo {mark} have; exec \"$D/$N\" {serve}; fi; done; \
         umask 077; U=no; command -v gzip >/dev/null 2>&1 && U=gzip; \
         echo {mark} want $(uname -s) $(uname -m) $U; \
         read -r S || exit 0; [ \"$S\" = none ] && exit 0; W=directory; T=; \
         trap 'rm -f \"$T\"' EXIT; trap 'exit 1' HUP INT TERM PIPE; \
         for D do \
         mkdir -p \"$D\" 2>/dev/null; if [ -O \"$D\" ] && [ -w \"$D\" ]; then \
         T=\"$D/.new-$$\"; printf '#\\041/bin/sh\\n' 2>/dev/null >\"$T\" && chmod 700 \"$T\" && \"$T\" 2>/dev/null || {{ rm -f \"$T\"; T=; D=; continue; }}; \
         R=$(df -Pk \"$D\" 2>/dev/null | while read -r A A A R A; do echo \"$R\"; done | tail -n 1); \
         [ \"$R\" -lt {room} ] 2>/dev/null || break; W=room; rm -f \"$T\"; T=; fi; D=; done; \
         if [ -z \"$D\" ]; then echo {mark} cannot no $W; exit 0; fi; echo {mark} send; \
         if [ $U = gzip ]; then head -c \"$S\" | gzip -dc >\"$T\"; else head -c \"$S\" >\"$T\"; fi \
         || {{ echo {mark} cannot it cannot be written; exit 0; }}; \
         W=$(\"$T\" {check} 2>&1 </dev/null) || {{ echo {mark} cannot $W; exit 0; }}; \
         mv -f \"$T\" \"$D/$N\" || {{ echo {mark} cannot it cannot be named; exit 0; }}; \
         find \"$D\" -name 'helper-*' -mtime +30 -exec rm -f {{}} + 2>/dev/null; \
         trap - EXIT HUP INT TERM PIPE; umask $O; echo {mark} have; exec \"$D/$N\" {serve}"
    ))
}

/// What settles the program's name: the same for all kinds of machines, if there is one only.
fn names(here: &Here) -> Result<String, String> {
    let [(_, only)] = here.built.as_slice() else {
        let cases = here
            .built
            .iter()
            .map(|(machine, built)| Ok(format!("{machine}) N=helper-{};;", built.digest()?)))
            .collect::<Result<Vec<_>, String>>()?;
        return Ok(format!(
            "case $(uname -m) in {} *) N=none;; esac",
            cases.join(" ")
        ));
    };
    Ok(format!("N=helper-{}", only.digest()?))
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
                let here = here().map_err(NoAnswer::Wrong)?;
                let built = machine.and_then(|machine| here.built(machine));
                let Some(built) = built.filter(|_| system == Some("Linux")) else {
                    let _ = pipes.input.write_all(b"none\n").await;
                    return Ok(Arrived::Cannot(format!(
                        "it is {} on {}",
                        system.unwrap_or("an unknown system"),
                        machine.unwrap_or("an unknown machine")
                    )));
                };
                let gzip = unpacks == Some("gzip");
                content = tokio::task::spawn_blocking(move || {
                    if gzip {
                        built.packed().map(Cow::Borrowed)
                    } else {
                        read(&built.path).map(Cow::Owned)
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
