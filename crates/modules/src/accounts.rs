//! Users and groups as the system knows them, and the programs that change them.

use std::path::Path;

use nix::unistd::{Gid, Group};

use crate::context::Context;
use crate::invocation::Failure;
use crate::names;
use crate::process::{self, Command};
use crate::python;

/// A user, as the system knows it.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its password, hashed, or a letter that stands for one that is kept elsewhere.
    pub password: String,
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
}

/// A user by its name.
pub(crate) fn account(name: &str) -> Option<Account> {
    let user = names::user(name)?;
    Some(Account {
        password: user.passwd.to_string_lossy().into_owned(),
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        comment: user.gecos.to_string_lossy().into_owned(),
        home: user.dir.to_string_lossy().into_owned(),
        shell: user.shell.to_string_lossy().into_owned(),
    })
}

/// A group by its number or else by its name.
pub(crate) fn group(group: &str) -> Option<Group> {
    number(group)
        .and_then(|gid| names::group_of(Gid::from_raw(gid)))
        .or_else(|| names::group(group))
}

/// A text that is a number, as Python's `int` reads it.
fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

/// A line of the database of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// All groups there are, in the order the system lists them.
pub(crate) fn groups(context: &Context<'_>) -> Result<Vec<Line>, Failure> {
    let told = if is_local("group") {
        let file = Path::new("/etc/group");
        std::fs::read(file)
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, file)))?
    } else {
        let getent = process::required(context, "getent", &[])?;
        Command::new([getent.as_str(), "group"])
            .run(context)?
            .stdout
    };
    Ok(String::from_utf8_lossy(&told)
        .lines()
        .filter_map(|line| {
            let mut parts = line.split(':');
            let (name, _, gid) = (parts.next()?, parts.next()?, parts.next()?);
            // Lines that are none of a file (comments, those of other services) are no groups.
            let gid = gid.parse().ok()?;
            Some(Line {
                name: name.to_owned(),
                gid,
                members: parts
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .filter(|member| !member.is_empty())
                    .map(str::to_owned)
                    .collect(),
            })
        })
        .collect())
}

/// Whether a database is only what the files of the machine hold, and what systemd makes up, which has no members.
fn is_local(database: &str) -> bool {
    names::is_local(database, &["systemd"])
}

/// What is kept of a user's password.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    pub password: String,
    /// How many days must pass before it can be changed, after which it must be, and from when on it is warned of that.
    pub least: i64,
    pub most: i64,
    pub warned: i64,
    /// The day the account ends, counted from 1970; -1 for none.
    pub ends: i64,
}

/// What is kept of a user's password; `None` if there is nothing, or it may not be seen.
pub(crate) fn shadow(context: &Context<'_>, name: &str) -> Option<Shadow> {
    let of = |told: &[u8]| -> Option<Shadow> {
        let told = String::from_utf8_lossy(told);
        let line = told
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let parts: Vec<&str> = line.split(':').collect();
        let number = |place: usize| {
            parts
                .get(place)
                .and_then(|text| text.parse().ok())
                .unwrap_or(-1)
        };
        Some(Shadow {
            password: parts.first().copied().unwrap_or_default().to_owned(),
            least: number(2),
            most: number(3),
            warned: number(4),
            ends: number(6),
        })
    };
    let own = std::fs::read("/etc/shadow").ok().and_then(|told| of(&told));
    if own.is_some() || is_local("shadow") {
        return own;
    }
    let getent = process::find(context, "getent", &[])?;
    let done = Command::new([getent.as_str(), "shadow", name])
        .literal()
        .run(context)
        .ok()?;
    of(&done.stdout)
}

/// Whether a file of users or groups of the machine has a name, whatever else the system may know.
pub(crate) fn is_in_file(file: &str, what: &str, name: &str) -> Result<bool, Failure> {
    match std::fs::read(file) {
        Ok(told) => {
            let begin = format!("{name}:");
            Ok(told
                .split(|byte| *byte == b'\n')
                .any(|line| line.starts_with(begin.as_bytes())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::new(format!(
            "'local: true' specified but unable to find local {what} file {file} to parse."
        ))),
        Err(error) => Err(Failure::unhandled(python::os_error_at_text(&error, file))),
    }
}

/// Which programs the distribution has for users and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Programs {
    /// `useradd`, `groupadd` and the like.
    Shadow,
    /// `adduser` and `addgroup` of BusyBox, on Alpine.
    Alpine,
    /// The same, on systems made with Buildroot.
    Buildroot,
}

impl Programs {
    /// Those of this machine.
    pub(crate) fn here() -> Programs {
        let release = std::fs::read_to_string("/etc/os-release")
            .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
            .unwrap_or_default();
        let id = release
            .lines()
            .find_map(|line| line.strip_prefix("ID="))
            .map(|id| id.trim().trim_matches(['"', '\'']).to_lowercase());
        match id.as_deref() {
            Some("alpine") => Programs::Alpine,
            Some("buildroot") => Programs::Buildroot,
            _ => Programs::Shadow,
        }
    }
}
