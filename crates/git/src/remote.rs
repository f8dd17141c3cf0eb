//! Where a repository is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// How a repository is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// HTTP over TLS.
    Https,
    /// HTTP in the clear. Credentials go over it to this host only.
    Http,
    /// SSH.
    Ssh,
    /// A directory of this host.
    File,
}

/// The address of a repository, free of credentials: `https://host/path`, `ssh://user@host/path`,
/// `user@host:path`, `file:///path` or `/path`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote {
    text: String,
    /// Where the host begins and ends in the text.
    host: (usize, usize),
}

impl Remote {
    /// The address as `git` takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        let is = |scheme: &str| self.text.starts_with(scheme);
        if is("https://") {
            Transport::Https
        } else if is("http://") {
            Transport::Http
        } else if is("file://") {
            Transport::File
        } else {
            Transport::Ssh
        }
    }

    /// The host, with its port if one is named; empty for a directory.
    pub fn host(&self) -> &str {
        &self.text[self.host.0..self.host.1]
    }

    /// Scheme and host of an HTTP address: what credentials are valid for.
    pub(crate) fn origin(&self) -> &str {
        &self.text[..self.host.1]
    }

    /// Whether the host is this one, by a name that always means that.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name == "localhost"
            || name
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Whether this address lies under a prefix: the same, or below it at a slash.
    pub fn is_under(&self, prefix: &str) -> bool {
        let bare = |text: &str| {
            text.trim_end_matches('/')
                .trim_end_matches(".git")
                .to_owned()
        };
        let (text, prefix) = (bare(&self.text), bare(prefix));
        !prefix.is_empty()
            && text
                .strip_prefix(&prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether two addresses mean the same repository as far as texts tell: with or without `.git`.
    pub fn is_like(&self, other: &str) -> bool {
        let bare = |text: &str| {
            text.trim_end_matches('/')
                .trim_end_matches(".git")
                .to_lowercase()
        };
        bare(&self.text) == bare(other)
    }
}

impl FromStr for Remote {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Err(Error::Url {
                url: without_secrets(text),
                why: why.to_owned(),
            })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > 2048 {
            return refuse("it is longer than 2048 bytes");
        }
        if text
            .bytes()
            .any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\')
        {
            return refuse("it has white space, control characters or backslashes");
        }
        if text.starts_with('-') {
            return refuse("it starts with a dash");
        }
        if text.starts_with('/') {
            return format!("file://{text}").parse();
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return scp_like(text).map_or_else(
                || {
                    refuse(
                        "expected https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, file:///PATH or /PATH",
                    )
                },
                Ok,
            );
        };
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "https" | "http" | "ssh" | "file") {
            return refuse("only https, http, ssh and file are supported");
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if path.len() < 2 {
            return refuse("it names no path");
        }
        if scheme == "file" {
            if !authority.is_empty() {
                return refuse("a file URL has three slashes: file:///PATH");
            }
            let start = "file://".len();
            return Ok(Self {
                text: format!("file://{path}"),
                host: (start, start),
            });
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        match user {
            Some(_) if scheme != "ssh" => {
                return refuse(
                    "it holds credentials; put them into a Secret and name that as its credentials",
                );
            }
            Some(user) if user.contains(':') => {
                return refuse("it holds a password; use a key in a Secret");
            }
            Some(user) if user.is_empty() || user.starts_with('-') => {
                return refuse("its user is not a name");
            }
            _ => {}
        }
        if !is_host(host) {
            return refuse("its host is not a name or an address");
        }
        let host = host.to_ascii_lowercase();
        let before = match user {
            Some(user) => format!("{scheme}://{user}@"),
            None => format!("{scheme}://"),
        };
        let start = before.len();
        Ok(Self {
            host: (start, start + host.len()),
            text: format!("{before}{host}{path}"),
        })
    }
}

/// `[user@]host:path`, as `scp` has it.
fn scp_like(text: &str) -> Option<Remote> {
    let (front, path) = text.split_once(':')?;
    // `ext::command` and its like are helpers, not hosts.
    if path.is_empty() || path.starts_with(':') || path.starts_with('-') || front.contains('/') {
        return None;
    }
    let (user, host) = match front.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, front),
    };
    if user.is_some_and(|user| user.is_empty() || user.starts_with('-')) || !is_host(host) {
        return None;
    }
    // `C:path` is no host anyone means.
    if user.is_none() && !host.contains('.') {
        return None;
    }
    let start = user.map_or(0, |user| user.len() + 1);
    Some(Remote {
        text: text.to_owned(),
        host: (start, start + host.len()),
    })
}

/// `name`, `1.2.3.4` or `[::1]`, with or without a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (
                "v6",
                port.strip_prefix(':').or(port.is_empty().then_some("1")),
            )
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("1")),
        },
    };
    !name.is_empty()
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// An address that was refused, without what may be a password in it.
fn without_secrets(text: &str) -> String {
    let shown = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://...@{}", &text[..scheme], &text[at + 1..])
        }
        _ => text.to_owned(),
    };
    shown.chars().take(200).collect()
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Remote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Remote {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_of_addresses_are_taken() {
        for (text, transport, host) in [
            (
                "https://github.com/org/repo.git",
                Transport::Https,
                "github.com",
            ),
            (
                "HTTPS://GitHub.com:8443/org/repo",
                Transport::Https,
                "github.com:8443",
            ),
            ("http://127.0.0.1:3000/a", Transport::Http, "127.0.0.1:3000"),
            (
                "ssh://git@host.example:2222/a/b.git",
                Transport::Ssh,
                "host.example:2222",
            ),
            ("git@github.com:org/repo.git", Transport::Ssh, "github.com"),
            ("file:///srv/repo.git", Transport::File, ""),
            ("/srv/repo.git", Transport::File, ""),
            ("https://[::1]:8080/x", Transport::Https, "[::1]:8080"),
        ] {
            let remote: Remote = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (remote.transport(), remote.host()),
                (transport, host),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_that_would_do_something_else_are_refused() {
        for text in [
            "",
            "--upload-pack=touch /tmp/x",
            "-u./x",
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "fd::17",
            "git://host/path",
            "ftp://host/path",
            "https://user:secret@host/path",
            "https://token@host/path",
            "ssh://-oProxyCommand=x/path",
            "ssh://git@-oProxyCommand=x/path",
            "ssh://git:secret@host/path",
            "-oProxyCommand=x:path",
            "git@-oProxyCommand=x:path",
            "file://host/path",
            "https://host",
            "https://ho st/path",
            "https://host/pa\nth",
            "relative/path",
            "../up",
        ] {
            let refused = text.parse::<Remote>();
            assert!(refused.is_err(), "{text:?} was taken: {refused:?}");
            assert!(
                !refused.unwrap_err().to_string().contains("secret"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_prefix_counts_at_a_slash_only() {
        let remote: Remote = "https://host/org/repo.git".parse().unwrap();
        for prefix in ["https://host/org", "https://host/", "https://host/org/repo"] {
            assert!(remote.is_under(prefix), "{prefix}");
        }
        for prefix in ["https://host/or", "https://hos", "", "https://other/org"] {
            assert!(!remote.is_under(prefix), "{prefix}");
        }
    }
}
