//! Filters over addresses of the web.

use consort_jinja::{Arguments, Dict, Environment, Result, State, Value, repr};

use super::add_all;
use crate::template::context::refused;

pub(super) fn add(environment: &mut Environment) {
    add_all(
        environment,
        &[
            ("urldecode", |_, value, _| {
                let text = match &value {
                    Value::Str(text) => text.replace('+', " "),
                    other => {
                        return refused(format!(
                            "'{}' object has no attribute 'replace'",
                            other.type_name()
                        ));
                    }
                };
                Ok(Value::from(unquoted(&text)))
            }),
            ("urlsplit", split_filter),
        ],
    );
}

/// A text with `%41` and the like read.
pub(in crate::template) fn unquoted(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parts of an address, as `urllib.parse.urlsplit` finds them.
#[derive(Default)]
pub(in crate::template) struct Parts {
    pub(in crate::template) scheme: String,
    pub(in crate::template) netloc: String,
    pub(in crate::template) path: String,
    pub(in crate::template) query: String,
    pub(in crate::template) fragment: String,
}

/// Splits an address.
pub(in crate::template) fn split(address: &str) -> Result<Parts, String> {
    let text: String = address
        .trim_start_matches(|c: char| c <= ' ')
        .chars()
        .filter(|c| !matches!(c, '\t' | '\r' | '\n'))
        .collect();
    let mut parts = Parts::default();
    let mut rest = text.as_str();
    if let Some(colon) = rest.find(':')
        && rest.starts_with(|c: char| c.is_ascii_alphabetic())
        && rest[..colon]
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    {
        parts.scheme = rest[..colon].to_ascii_lowercase();
        rest = &rest[colon + 1..];
    }
    if let Some(after) = rest.strip_prefix("//") {
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        after[..end].clone_into(&mut parts.netloc);
        rest = &after[end..];
        if parts.netloc.contains('[') != parts.netloc.contains(']') {
            return Err("Invalid IPv6 URL".to_owned());
        }
    }
    if let Some((before, fragment)) = rest.split_once('#') {
        fragment.clone_into(&mut parts.fragment);
        rest = before;
    }
    if let Some((before, query)) = rest.split_once('?') {
        query.clone_into(&mut parts.query);
        rest = before;
    }
    rest.clone_into(&mut parts.path);
    Ok(parts)
}

fn split_filter(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [query, alias] = arguments.bind("split_url", ["query", "alias"])?;
    let _ = alias;
    let text = value.text()?;
    let parts = split(&text).map_err(consort_jinja::Error::failed)?;
    let (user, host) = match parts.netloc.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, parts.netloc.as_str()),
    };
    let (name, password) = match user {
        None => (Value::None, Value::None),
        Some(user) => match user.split_once(':') {
            Some((name, password)) => (Value::from(name), Value::from(password)),
            None => (Value::from(user), Value::None),
        },
    };
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').unwrap_or((rest, ""));
            (host, after.strip_prefix(':').unwrap_or(""))
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let port = if port.is_empty() {
        Value::None
    } else if port.bytes().all(|byte| byte.is_ascii_digit()) {
        match port.parse::<u16>() {
            Ok(port) => Value::Int(port.into()),
            Err(_) => return refused("Port out of range 0-65535"),
        }
    } else {
        return refused(format!(
            "Port could not be cast to integer value as {}",
            repr::string(port)
        ));
    };
    let host = if host.is_empty() {
        Value::None
    } else {
        Value::from(host.to_lowercase())
    };
    let all: Dict = [
        ("fragment", Value::from(parts.fragment)),
        ("hostname", host),
        ("netloc", Value::from(parts.netloc.as_str())),
        ("password", password),
        ("path", Value::from(parts.path)),
        ("port", port),
        ("query", Value::from(parts.query)),
        ("scheme", Value::from(parts.scheme)),
        ("username", name),
    ]
    .into_iter()
    .collect();
    match query {
        Some(query) if query.truth()? => {
            let query = query.text()?;
            match all.get(&query) {
                Some(found) => Ok(found),
                None => refused(format!("urlsplit: unknown URL component: {}", &*query)),
            }
        }
        _ => Ok(Value::Dict(all)),
    }
}
