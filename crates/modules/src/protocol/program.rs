//! How this very program is started again: for a module of its own, for another user, for a job.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The word that `consort` is given before the arguments of this program, where it stands in for it.
pub const WORD: &str = "play-helper";

/// How this program is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// What it is always given first.
    pub arguments: Vec<String>,
}

impl Program {
    /// The one that runs: `stands_in` if it is another program that was told [`WORD`].
    ///
    /// # Errors
    /// The system does not say which file it is.
    pub fn this(stands_in: bool) -> std::io::Result<Self> {
        Ok(Program {
            path: running().or_else(|error| {
                // a container may have no /proc; a machine's shell starts it by its whole path
                std::env::args_os()
                    .next()
                    .map(PathBuf::from)
                    .filter(|path| path.is_absolute())
                    .ok_or(error)
            })?,
            arguments: if stands_in {
                vec![WORD.to_owned()]
            } else {
                Vec::new()
            },
        })
    }

    /// A command that starts it.
    pub(crate) fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(what);
        command
    }

    /// The same as a line for a shell.
    pub fn line(&self, what: &str) -> String {
        let mut words = vec![super::becoming::quoted(&self.path.to_string_lossy())];
        words.extend(
            self.arguments
                .iter()
                .map(|word| super::becoming::quoted(word)),
        );
        words.push(what.to_owned());
        words.join(" ")
    }
}

/// The file of this process. Where it was replaced by its like since (many that come to a machine for the first time put it
/// there at once), the system calls it deleted: the new one is meant.
fn running() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(
        match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
            Some(was) if !path.exists() => PathBuf::from(OsStr::from_bytes(was)),
            _ => path,
        },
    )
}

/// Whether a program was called to be this one: by the first argument [`WORD`]. Gives the arguments after it.
pub fn called(arguments: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut arguments = arguments.into_iter().skip(1);
    (arguments.next()? == WORD).then(|| arguments.collect())
}
