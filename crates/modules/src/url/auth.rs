//! Who we are to a server: Basic and Digest, and the user's `.netrc`.

use base64::Engine as _;

use super::address::{Address, unquoted};
use crate::context::Context;
use crate::digest;
use crate::python;

/// The value of `Authorization` for a user and a password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    )
}

/// The value for the user and password in an address, if it has them.
pub(super) fn of_address(address: &Address) -> Option<String> {
    address
        .credentials()
        .map(|(user, password)| basic(&unquoted(user), &unquoted(password.unwrap_or(""))))
}

/// The value that answers a challenge, if it can be answered.
pub(super) fn answer(
    challenges: &[&str],
    method: &str,
    target: &str,
    user: &str,
    password: &str,
) -> Option<String> {
    let of = |scheme: &str| {
        challenges.iter().find_map(|challenge| {
            let head = challenge.trim_start().get(..scheme.len())?;
            head.eq_ignore_ascii_case(scheme)
                .then(|| challenge.trim_start()[scheme.len()..].trim_start())
        })
    };
    if let Some(parameters) = of("digest ") {
        return digested(parameters, method, target, user, password);
    }
    of("basic").map(|_| basic(user, password))
}

fn digested(
    parameters: &str,
    method: &str,
    target: &str,
    user: &str,
    password: &str,
) -> Option<String> {
    let parameter = |wanted: &str| parameter(parameters, wanted);
    let realm = parameter("realm")?;
    let nonce = parameter("nonce")?;
    let algorithm = parameter("algorithm").unwrap_or_else(|| "MD5".to_owned());
    let hash = match algorithm.to_uppercase().as_str() {
        "MD5" => "md5",
        "SHA" => "sha1",
        "SHA-256" => "sha256",
        _ => return None,
    };
    let hash = |text: String| digest::of_bytes(text.as_bytes(), hash).unwrap_or_default();
    let secret = hash(format!("{user}:{realm}:{password}"));
    let what = hash(format!("{method}:{target}"));
    let mut value = format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{target}\""
    );
    let qop = parameter("qop");
    let with_qop = qop
        .as_ref()
        .is_some_and(|qop| qop.split(',').any(|one| one.trim() == "auth"));
    let response = if with_qop {
        let count = "00000001";
        let own = &uuid::Uuid::new_v4().simple().to_string()[..16];
        let response = hash(format!("{secret}:{nonce}:{count}:{own}:auth:{what}"));
        value.push_str(&format!(", qop=auth, nc={count}, cnonce=\"{own}\""));
        response
    } else if qop.is_none() {
        hash(format!("{secret}:{nonce}:{what}"))
    } else {
        return None;
    };
    value.push_str(&format!(", response=\"{response}\""));
    if let Some(opaque) = parameter("opaque") {
        value.push_str(&format!(", opaque=\"{opaque}\""));
    }
    value.push_str(&format!(", algorithm=\"{algorithm}\""));
    Some(value)
}

/// A parameter out of `a="b", c=d`.
pub(super) fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', ';']);
        let (name, after) = rest.split_once('=')?;
        let (name, after) = (name.trim(), after.trim_start());
        let (value, tail) = if let Some(quoted) = after.strip_prefix('"') {
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, character)) = characters.next() {
                match character {
                    '\\' => {
                        if let Some((_, escaped)) = characters.next() {
                            value.push(escaped);
                        }
                    }
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    other => value.push(other),
                }
            }
            (value, &quoted[end..])
        } else {
            let end = after.find([',', ';']).unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = tail;
    }
}

/// User and password for a host from `.netrc`.
pub(super) fn netrc(context: &Context<'_>, host: &str) -> Option<(String, String)> {
    let file = context
        .variable("NETRC")
        .unwrap_or_else(|| python::expand_user(context, "~/.netrc"));
    let text = std::fs::read_to_string(context.path(file)).ok()?;
    let mut words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace);
    let mut usual = None;
    let mut current: Option<(bool, String, String)> = None;
    let mut found = None;
    let finish = |current: &mut Option<(bool, String, String)>,
                  found: &mut Option<(String, String)>,
                  usual: &mut Option<(String, String)>| {
        if let Some((is_host, user, password)) = current.take() {
            let place = if is_host { found } else { usual };
            if place.is_none() {
                *place = Some((user, password));
            }
        }
    };
    let mut mine = false;
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                finish(&mut current, &mut found, &mut usual);
                let is_host = word == "machine";
                mine = !is_host || words.next()? == host;
                current = mine.then(|| (is_host, String::new(), String::new()));
            }
            "login" | "user" | "account" | "password" => {
                let value = words.next()?.trim_matches('"').to_owned();
                if let (true, Some((_, user, password))) = (mine, current.as_mut()) {
                    match word {
                        "login" | "user" => *user = value,
                        "password" => *password = value,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    finish(&mut current, &mut found, &mut usual);
    found
        .or(usual)
        .filter(|(user, password)| !user.is_empty() && !password.is_empty())
}
