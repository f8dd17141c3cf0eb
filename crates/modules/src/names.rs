//! Users, groups and hosts by their names, as the machine knows them.
//!
//! The C library answers by whatever `nsswitch.conf` names, and loads libraries for that which were made for the machine's own C library.
//! A program that has a C library of its own inside (`consort-play-helper`) must not load them: it reads the machine's files, and asks
//! its `getent` for what these do not have.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User};

/// Whether the C library of this process is not to be asked.
static APART: AtomicBool = AtomicBool::new(false);

/// How long an answer of `getent` is believed: a walk over many files asks for the same owner again and again.
const BELIEVED: Duration = Duration::from_secs(1);

/// From now on the C library of this process is not asked, because it is not the machine's.
pub fn keep_apart() {
    APART.store(true, Ordering::Relaxed);
}

fn is_apart() -> bool {
    APART.load(Ordering::Relaxed)
}

/// A user by its name.
pub(crate) fn user(name: &str) -> Option<User> {
    if !is_apart() {
        return User::from_name(name).ok().flatten();
    }
    entry("passwd", name, &|line| {
        parsed_user(line).filter(|user| user.name == name)
    })
}

/// A user by its number.
pub(crate) fn user_of(uid: Uid) -> Option<User> {
    if !is_apart() {
        return User::from_uid(uid).ok().flatten();
    }
    entry("passwd", &uid.to_string(), &|line| {
        parsed_user(line).filter(|user| user.uid == uid)
    })
}

/// A group by its name.
pub(crate) fn group(name: &str) -> Option<Group> {
    if !is_apart() {
        return Group::from_name(name).ok().flatten();
    }
    entry("group", name, &|line| {
        parsed_group(line).filter(|group| group.name == name)
    })
}

/// A group by its number.
pub(crate) fn group_of(gid: Gid) -> Option<Group> {
    if !is_apart() {
        return Group::from_gid(gid).ok().flatten();
    }
    entry("group", &gid.to_string(), &|line| {
        parsed_group(line).filter(|group| group.gid == gid)
    })
}

/// The addresses of a host, in the order they are to be tried.
///
/// # Errors
/// The name is not known, or nobody could be asked.
pub(crate) fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if is_apart() {
        match Command::new("getent")
            .args(["ahosts", host])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
        {
            Ok(told) => {
                let found: Vec<SocketAddr> = streams(&String::from_utf8_lossy(&told.stdout))
                    .map(|address| SocketAddr::new(address, port))
                    .collect();
                if found.is_empty() {
                    return Err(io::ErrorKind::NotFound.into());
                }
                return Ok(found);
            }
            // a machine without it has no libraries for names either
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((host, port).to_socket_addrs()?.collect())
}

/// The addresses that `getent ahosts` tells, each once.
fn streams(told: &str) -> impl Iterator<Item = IpAddr> {
    told.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        (words.next() == Some("STREAM")).then_some(address)
    })
}

/// Whether a database is only what the files of the machine hold.
pub(crate) fn is_local(database: &str, besides: &[&str]) -> bool {
    let Ok(sources) = std::fs::read_to_string("/etc/nsswitch.conf") else {
        return true;
    };
    sources
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once(':'))
        .find(|(name, _)| name.trim() == database)
        .is_none_or(|(_, sources)| {
            sources.split_whitespace().all(|source| {
                source == "files" || besides.contains(&source) || source.contains(['[', ']', '='])
            })
        })
}

/// An entry of a database: from its file, or else as the machine's own `getent` tells it.
fn entry<T>(database: &'static str, key: &str, wanted: &dyn Fn(&str) -> Option<T>) -> Option<T> {
    let file = Path::new("/etc").join(database);
    let lines = std::fs::read(file).unwrap_or_default();
    let found = String::from_utf8_lossy(&lines).lines().find_map(wanted);
    if found.is_some() || is_local(database, &[]) {
        return found;
    }
    asked(database, key)?.lines().find_map(wanted)
}

type Answers = HashMap<(&'static str, String), (Instant, Option<String>)>;

/// What `getent` says of a key.
fn asked(database: &'static str, key: &str) -> Option<String> {
    static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);
    // what `getent` would take for an option
    if key.is_empty() || key.starts_with('-') {
        return None;
    }
    let known = (database, key.to_owned());
    if let Ok(mut answers) = ANSWERS.lock() {
        answers.retain(|_, (when, _)| when.elapsed() < BELIEVED);
        if let Some((_, answer)) = answers.get(&known) {
            return answer.clone();
        }
    }
    let told = Command::new("getent")
        .args([database, key])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let answer = told
        .ok()
        .map(|told| String::from_utf8_lossy(&told.stdout).into_owned())
        .filter(|told| !told.is_empty());
    if let Ok(mut answers) = ANSWERS.lock() {
        answers.insert(known, (Instant::now(), answer.clone()));
    }
    answer
}

/// A line of `/etc/passwd`.
fn parsed_user(line: &str) -> Option<User> {
    let parts: Vec<&str> = line.split(':').collect();
    let &[name, password, uid, gid, comment, home, shell] = parts.as_slice() else {
        return None;
    };
    Some(User {
        name: name.to_owned(),
        passwd: CString::new(password).ok()?,
        uid: Uid::from_raw(uid.parse().ok()?),
        gid: Gid::from_raw(gid.parse().ok()?),
        gecos: CString::new(comment).ok()?,
        dir: home.into(),
        shell: shell.into(),
    })
}

/// A line of `/etc/group`.
fn parsed_group(line: &str) -> Option<Group> {
    let parts: Vec<&str> = line.split(':').collect();
    let &[name, password, gid, members] = parts.as_slice() else {
        return None;
    };
    Some(Group {
        name: name.to_owned(),
        passwd: CString::new(password).ok()?,
        gid: Gid::from_raw(gid.parse().ok()?),
        mem: members
            .split(',')
            .filter(|member| !member.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_files_are_users_and_groups_as_the_c_library_has_them() {
        for line in std::fs::read_to_string("/etc/passwd").unwrap().lines() {
            let Some(read) = parsed_user(line) else {
                continue;
            };
            assert_eq!(User::from_name(&read.name).unwrap(), Some(read));
        }
        for line in std::fs::read_to_string("/etc/group").unwrap().lines() {
            let Some(read) = parsed_group(line) else {
                continue;
            };
            assert_eq!(Group::from_name(&read.name).unwrap(), Some(read));
        }
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        for line in [
            "",
            "#x:x:0:0::/:",
            "+",
            "+::::::",
            "a:x:one:0::/:",
            "a:x:0:0::/",
        ] {
            if line.starts_with('#') {
                continue;
            }
            assert!(parsed_user(line).is_none(), "{line}");
        }
        assert!(parsed_group("a:x:0").is_none());
    }

    #[test]
    fn each_address_is_taken_once() {
        let told = "::1             STREAM localhost\n::1             DGRAM  \n127.0.0.1       STREAM \n127.0.0.1 RAW\n";
        let found: Vec<String> = streams(told).map(|address| address.to_string()).collect();
        assert_eq!(found, ["::1", "127.0.0.1"]);
    }
}
