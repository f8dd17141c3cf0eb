//! URLs, read as Go's `net/url` reads them.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::functions::Library;
use crate::libraries::{Answer, failed, no_overload};
use crate::value::{Key, Map, Opaque, Text, Value};

/// A URL.
#[derive(Clone, Debug)]
pub struct Url {
    text: String,
    scheme: String,
    /// Host and port, unescaped.
    host: String,
    escaped_path: String,
    query: String,
}

impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Url {}

impl Url {
    /// Reads an absolute URL or an absolute path, with a fragment if there is one. The message is Go's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // A fragment is no part of a request's URI, which is what the text is first checked as.
        let whole = Self::request(text)?;
        if !text.contains('#') {
            return Ok(whole);
        }
        let bare = text.split_once('#').map_or(text, |(bare, _)| bare);
        let url = if bare.is_empty() {
            whole
        } else {
            Self::request(bare)?
        };
        Ok(Url {
            text: text.to_owned(),
            ..url
        })
    }

    /// Reads what may stand in a request: an absolute URL or path, without a fragment.
    pub(crate) fn request(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("parse {}: {why}", go_quoted(text));
        if text.is_empty() {
            return Err(wrong("empty url"));
        }
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(wrong("net/url: invalid control character in URL"));
        }
        if text == "*" {
            return Ok(Url {
                text: text.to_owned(),
                scheme: String::new(),
                host: String::new(),
                escaped_path: "*".to_owned(),
                query: String::new(),
            });
        }
        let (scheme, rest) = scheme(text).map_err(wrong)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, query),
            None => (rest, ""),
        };
        if !rest.starts_with('/') {
            if scheme.is_empty() {
                return Err(wrong("invalid URI for request"));
            }
            // An opaque URL (`mailto:a@b`) has no host and no path.
            return Ok(Url {
                text: text.to_owned(),
                scheme,
                host: String::new(),
                escaped_path: String::new(),
                query: query.to_owned(),
            });
        }
        let mut path = rest;
        let mut host = String::new();
        if (!scheme.is_empty() || !rest.starts_with("///"))
            && let Some(after) = rest.strip_prefix("//")
        {
            let end = after.find('/').unwrap_or(after.len());
            host = authority(&after[..end]).map_err(|why| wrong(&why))?;
            path = &after[end..];
        }
        check_escapes(path).map_err(|why| wrong(&why))?;
        Ok(Url {
            text: text.to_owned(),
            scheme,
            host,
            escaped_path: escape_path(path),
            query: query.to_owned(),
        })
    }

    /// The host without its port and brackets.
    fn hostname(&self) -> &str {
        split_port(&self.host).0
    }

    fn port(&self) -> &str {
        split_port(&self.host).1
    }

    /// The query's parameters with all their values; what is not well-formed is left away.
    fn parameters(&self) -> IndexMap<String, Vec<String>> {
        let mut parameters: IndexMap<String, Vec<String>> = IndexMap::new();
        for part in self
            .query
            .split('&')
            .filter(|part| !part.is_empty() && !part.contains(';'))
        {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if let (Some(key), Some(value)) = (unescape(key, true), unescape(value, true)) {
                parameters.entry(key).or_default().push(value);
            }
        }
        parameters
    }
}

fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The scheme in small letters and what follows the colon.
fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => return Ok((String::new(), text)),
        }
    }
    Ok((String::new(), text))
}

/// The host and port of what stands between `//` and the path.
fn authority(text: &str) -> Result<String, String> {
    let host = match text.rsplit_once('@') {
        None => text,
        Some((user, host)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
            if !user.chars().all(plain) {
                return Err("net/url: invalid userinfo".to_owned());
            }
            check_escapes(user)?;
            host
        }
    };
    if let Some(rest) = host.strip_prefix('[') {
        let Some(end) = rest.rfind(']') else {
            return Err("missing ']' in host".to_owned());
        };
        let port = &rest[end + 1..];
        if !valid_port(port) {
            return Err(format!("invalid port {} after host", go_quoted(port)));
        }
        let address = rest[..end].split("%25").next().unwrap_or_default();
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!(
                "invalid host: ParseAddr({}): unable to parse IP",
                go_quoted(address)
            ));
        }
        return unescape_host(host);
    }
    if let Some(at) = host.rfind(':') {
        let port = &host[at..];
        if !valid_port(port) {
            return Err(format!("invalid port {} after host", go_quoted(port)));
        }
    }
    unescape_host(host)
}

fn valid_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn unescape_host(host: &str) -> Result<String, String> {
    check_escapes(host)?;
    let bytes = host.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'%' {
            // Only bytes beyond ASCII may be escaped in a host, and the zone's own sign.
            let escaped = &host[at..at + 3];
            if escaped != "%25" && bytes[at + 1].to_ascii_lowercase() < b'8' {
                return Err(format!("invalid URL escape {}", go_quoted(escaped)));
            }
        } else if byte.is_ascii()
            && !byte.is_ascii_alphanumeric()
            && !b"!$&'()*+,;=:[]<>\"-_.~".contains(byte)
        {
            return Err(format!(
                "invalid character {} in host name",
                go_quoted(&(*byte as char).to_string())
            ));
        }
    }
    unescape(host, false).ok_or_else(|| "invalid URL escape".to_owned())
}

fn check_escapes(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let good = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        if *byte == b'%' && !(good(1) && good(2)) {
            let end = (at + 3).min(text.len());
            let shown = String::from_utf8_lossy(&bytes[at..end]).into_owned();
            return Err(format!("invalid URL escape {}", go_quoted(&shown)));
        }
    }
    Ok(())
}

fn unescape(text: &str, plus_is_space: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3)?;
                let digits = std::str::from_utf8(digits).ok()?;
                if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
                continue;
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// The path as it goes over the wire: as written where that is a valid spelling, otherwise escaped anew.
fn escape_path(path: &str) -> String {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte);
    if path.bytes().all(valid) {
        return path.to_owned();
    }
    let plain = unescape(path, false).unwrap_or_else(|| path.to_owned());
    let mut out = String::with_capacity(plain.len());
    for byte in plain.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn split_port(host: &str) -> (&str, &str) {
    let (name, port) = match host.rfind(':') {
        Some(at) if valid_port(&host[at..]) => (&host[..at], &host[at + 1..]),
        _ => (host, ""),
    };
    match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(inner) => (inner, port),
        None => (name, port),
    }
}

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        string_to_url: url(string) -> URL
        is_url_string: isURL(string) -> bool
        url_get_scheme: URL::getScheme() -> string
        url_get_host: URL::getHost() -> string
        url_get_hostname: URL::getHostname() -> string
        url_get_port: URL::getPort() -> string
        url_get_escaped_path: URL::getEscapedPath() -> string
        url_get_query: URL::getQuery() -> map(string, list(string))
    ",
    functions: &[
        ("url", |_, args| match args {
            [Value::String(text)] => match Url::parse(text) {
                Ok(url) => Ok(Value::Opaque(Opaque::Url(Arc::new(url)))),
                Err(why) => Err(failed(format!(
                    "URL parse error during conversion from string: {why}"
                ))),
            },
            _ => no_overload(),
        }),
        ("isURL", |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(Url::request(text).is_ok())),
            _ => no_overload(),
        }),
        ("getScheme", |_, args| {
            part(args, |url| Value::owned_text(url.scheme.as_str()))
        }),
        ("getHost", |_, args| {
            part(args, |url| Value::owned_text(url.host.as_str()))
        }),
        ("getHostname", |_, args| {
            part(args, |url| Value::owned_text(url.hostname()))
        }),
        ("getPort", |_, args| {
            part(args, |url| Value::owned_text(url.port()))
        }),
        ("getEscapedPath", |_, args| {
            part(args, |url| Value::owned_text(url.escaped_path.as_str()))
        }),
        ("getQuery", |_, args| {
            part(args, |url| {
                let entries = url.parameters().into_iter().map(|(key, values)| {
                    let values = values.into_iter().map(Value::owned_text).collect();
                    (Key::String(Text::Shared(key.into())), Value::list(values))
                });
                Value::Map(Map::Owned(Arc::new(entries.collect())))
            })
        }),
    ],
};

fn part<'a>(args: &[Value<'a>], answer: fn(&Url) -> Value<'a>) -> Answer<'a> {
    match args {
        [Value::Opaque(Opaque::Url(url))] => Ok(answer(url)),
        _ => no_overload(),
    }
}
