//! Addresses of the web, split as Python's `urlsplit` splits them.

/// An address in its parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address {
    pub(crate) scheme: String,
    /// What stands between `//` and the path: user, host and port.
    pub(crate) place: String,
    pub(crate) path: String,
    /// With its `?`, or nothing.
    pub(crate) query: String,
    /// With its `#`, or nothing.
    pub(crate) fragment: String,
}

impl Address {
    pub(crate) fn of(text: &str) -> Address {
        let text = text.trim_start_matches(|c: char| c <= ' ');
        let (text, fragment) = cut(text, '#');
        let (text, query) = cut(text, '?');
        let mut address = Address {
            query: query.to_owned(),
            fragment: fragment.to_owned(),
            ..Address::default()
        };
        let mut rest = text;
        if let Some((scheme, after)) = text.split_once(':')
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        {
            address.scheme = scheme.to_lowercase();
            rest = after;
        }
        if let Some(after) = rest.strip_prefix("//") {
            let end = after.find('/').unwrap_or(after.len());
            after[..end].clone_into(&mut address.place);
            rest = &after[end..];
        }
        rest.clone_into(&mut address.path);
        address
    }

    /// User and password before the `@`, if there are any.
    pub(crate) fn credentials(&self) -> Option<(&str, Option<&str>)> {
        let (before, _) = self.place.rsplit_once('@')?;
        Some(match before.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (before, None),
        })
    }

    /// Host and port without user and password.
    pub(crate) fn host_and_port(&self) -> &str {
        self.place
            .rsplit_once('@')
            .map_or(self.place.as_str(), |(_, after)| after)
    }

    /// The host, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> String {
        let place = self.host_and_port();
        let host = match place
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, _)) => host,
            None => place.split_once(':').map_or(place, |(host, _)| host),
        };
        host.to_lowercase()
    }

    /// The port that is written, if one is.
    pub(crate) fn port(&self) -> Option<u16> {
        let place = self.host_and_port();
        let after = match place.rsplit_once(']') {
            Some((_, after)) => after,
            None => place,
        };
        after
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
    }

    /// The port that is asked: the written one, or the usual one.
    pub(crate) fn port_or_usual(&self) -> u16 {
        let usual = if self.scheme == "https" { 443 } else { 80 };
        self.port().unwrap_or(usual)
    }

    pub(crate) fn without_credentials(mut self) -> Address {
        self.place = self.host_and_port().to_owned();
        self
    }

    /// What a server is asked for.
    pub(crate) fn target(&self) -> String {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        format!("{path}{}", self.query)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if !self.scheme.is_empty() {
            text.push_str(&self.scheme);
            text.push(':');
        }
        if !self.place.is_empty() || (self.scheme == "file" && self.path.starts_with('/')) {
            text.push_str("//");
            text.push_str(&self.place);
        }
        text.push_str(&self.path);
        text.push_str(&self.query);
        text.push_str(&self.fragment);
        text
    }

    /// Another address as it is seen from this one (`urljoin`).
    pub(crate) fn join(&self, other: &str) -> Address {
        let other = Address::of(other);
        if !other.scheme.is_empty() && other.scheme != self.scheme {
            return other;
        }
        let mut joined = Address {
            scheme: self.scheme.clone(),
            ..other.clone()
        };
        if !other.place.is_empty() {
            return joined;
        }
        joined.place.clone_from(&self.place);
        if other.path.is_empty() {
            joined.path.clone_from(&self.path);
            if other.query.is_empty() {
                joined.query.clone_from(&self.query);
            }
            return joined;
        }
        let whole = if other.path.starts_with('/') {
            other.path
        } else {
            let base = self.path.rfind('/').map_or("/", |at| &self.path[..=at]);
            format!("{base}{}", other.path)
        };
        joined.path = without_dots(&whole);
        joined
    }
}

fn cut(text: &str, at: char) -> (&str, &str) {
    text.find(at).map_or((text, ""), |at| text.split_at(at))
}

fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let pieces: Vec<&str> = path.split('/').collect();
    for (number, piece) in pieces.iter().enumerate() {
        let last = number + 1 == pieces.len();
        match *piece {
            ".." => {
                if parts.len() > 1 {
                    parts.pop();
                }
                if last {
                    parts.push("");
                }
            }
            "." => {
                if last {
                    parts.push("");
                }
            }
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    if joined.is_empty() {
        "/".to_owned()
    } else {
        joined
    }
}

/// An address as it may be shown: with its user and password masked.
pub(crate) fn masked(url: &str) -> String {
    let mut address = Address::of(url);
    let Some((_, password)) = address.credentials() else {
        return url.to_owned();
    };
    let mask = if password.is_some() {
        "****:****"
    } else {
        "****"
    };
    address.place = format!("{mask}@{}", address.host_and_port());
    address.text()
}

/// `%41` as `A`.
pub(crate) fn unquoted(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut made = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(code) = code {
            made.push(code);
            at += 3;
        } else {
            made.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&made).into_owned()
}

/// A text as part of a form (`quote_plus`).
pub(crate) fn form_quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                made.push(byte as char);
            }
            b' ' => made.push('+'),
            _ => {
                let _ = write!(made, "%{byte:02X}");
            }
        }
    }
    made
}
