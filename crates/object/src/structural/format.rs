//! The formats of strings and numbers that upstream checks.

use super::schema::Type;
use base64::Engine;
use regex::Regex;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// A format that is checked.
#[derive(Clone, Debug)]
pub(super) struct Format {
    /// Its name, as the schema has it.
    pub name: Box<str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Int32,
    Int64,
    Float,
    Double,
    Text(fn(&str) -> bool),
}

/// A range of numbers a format stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// A single-precision number.
    Float,
    /// Whatever fits.
    Any,
}

impl Format {
    /// The format of a name for a type; none if it is not one that is checked there.
    pub(super) fn of(name: &str, kind: Option<Type>, int_or_string: bool) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let kind = match kind.filter(|_| !int_or_string) {
            None | Some(Type::String) => Kind::Text(text(&name.replace('-', ""))?),
            Some(Type::Integer) => match name {
                "int32" => Kind::Int32,
                "int64" => Kind::Int64,
                _ => return None,
            },
            Some(Type::Number) => match name {
                "float" => Kind::Float,
                "double" => Kind::Double,
                _ => return None,
            },
            Some(_) => return None,
        };
        Some(Self {
            name: name.into(),
            kind,
        })
    }

    /// Does a string have the format? Formats of numbers say nothing of strings.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match self.kind {
            Kind::Text(check) => check(value),
            _ => true,
        }
    }

    /// The range of numbers it stands for.
    pub(super) fn range(&self) -> Range {
        match self.kind {
            Kind::Int32 => Range::Int32,
            Kind::Int64 => Range::Int64,
            Kind::Float => Range::Float,
            Kind::Double | Kind::Text(_) => Range::Any,
        }
    }
}

/// Is it a format that is checked for values of a type? Others are accepted and mean nothing.
pub fn recognised(name: &str, kind: Option<Type>, int_or_string: bool) -> bool {
    name.is_empty() || Format::of(name, kind, int_or_string).is_some()
}

fn text(name: &str) -> Option<fn(&str) -> bool> {
    Some(match name {
        "bsonobjectid" => |text| text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => uri,
        "email" => email,
        "hostname" => hostname,
        "ipv4" => |text| text.contains('.') && (ipv4(text).is_some() || ipv6(text)),
        "ipv6" => |text| text.contains(':') && ipv6(text),
        "cidr" => cidr,
        "mac" => mac,
        "uuid" => |text| uuid(text, None),
        "uuid3" => |text| uuid(text, Some('3')),
        "uuid4" => |text| uuid(text, Some('4')),
        "uuid5" => |text| uuid(text, Some('5')),
        "isbn" => |text| isbn10(text) || isbn13(text),
        "isbn10" => isbn10,
        "isbn13" => isbn13,
        "creditcard" => credit_card,
        "ssn" => |text| matches(&SSN, text),
        "hexcolor" => |text| {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        },
        "rgbcolor" => |text| matches(&RGB, text),
        "byte" => |text| {
            !text.is_empty()
                && base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .is_ok()
        },
        "password" => |_| true,
        "date" => |text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => duration,
        "datetime" => date_time,
        "k8sshortname" => |text| crate::names::dns1123_label(text).is_ok(),
        "k8slongname" => |text| crate::names::dns1123_subdomain(text).is_ok(),
        _ => return None,
    })
}

/// A fixed pattern. One that does not compile matches nothing; the tests see to it that all do.
type Fixed = LazyLock<Option<Regex>>;

static SSN: Fixed = LazyLock::new(|| Regex::new(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$").ok());
static RGB: Fixed = LazyLock::new(|| {
    const N: &str = r"(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    const S: &str = r"[\t\n\x0C\r ]*";
    Regex::new(&format!(r"^rgb\({S}{N}{S},{S}{N}{S},{S}{N}{S}\)$")).ok()
});
static HOST: Fixed = LazyLock::new(|| {
    Regex::new(r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9\-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$").ok()
});
static CARD: Fixed = LazyLock::new(|| {
    Regex::new(r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$").ok()
});
static TIME: Fixed = LazyLock::new(|| {
    Regex::new(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$").ok()
});
static SPAN: Fixed = LazyLock::new(|| Regex::new(r"([0-9]+)[\t\n\x0C\r ]*([A-Za-zµ]+)").ok());

fn matches(pattern: &Fixed, text: &str) -> bool {
    pattern.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// What Go's `url.ParseRequestURI` takes: an absolute URI or an absolute path.
fn uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let scheme = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    let (has_scheme, rest) = match scheme {
        Some(0) if text.starts_with(':') => return false,
        Some(end)
            if text[end..].starts_with(':')
                && end > 0
                && text.as_bytes()[0].is_ascii_alphabetic() =>
        {
            (true, &text[end + 1..])
        }
        _ => (false, text),
    };
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        // `mailto:someone`: what follows the scheme is opaque.
        return has_scheme;
    }
    let path = match rest.strip_prefix("//") {
        Some(after) if has_scheme => {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at(end);
            if !host(authority) {
                return false;
            }
            path
        }
        _ => rest,
    };
    escapes(path)
}

/// Every `%` is followed by two hexadecimal digits.
fn escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'%'
            || bytes
                .get(at + 1..at + 3)
                .is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    })
}

fn host(authority: &str) -> bool {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port_is_good = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if let Some(inside) = host.strip_prefix('[') {
        let Some((_, after)) = inside.split_once(']') else {
            return false;
        };
        return after.is_empty() || after.strip_prefix(':').is_some_and(port_is_good);
    }
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    port_is_good(port)
        && escapes(name)
        && !name.bytes().any(|b| b" \\^`{|}".contains(&b) || b < 0x21)
}

/// An address as in a mail's header: `name@host` or `Somebody <name@host>`.
fn email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(open) => match open.rsplit_once('<') {
            Some((_, address)) => address,
            None => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let atom = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| {
                c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
            })
    };
    let dotted = |text: &str| text.split('.').all(atom);
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let literal = domain.starts_with('[') && domain.ends_with(']');
    (quoted || dotted(local)) && (literal || dotted(domain))
}

fn hostname(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(|part| part.len() <= 63) && matches(&HOST, text)
}

/// Four decimal numbers; leading zeros are let through, as upstream lets them.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let Ok(bits) = bits.parse::<u8>() else {
        return false;
    };
    (ipv4(address).is_some() && bits <= 32) || (ipv6(address) && bits <= 128)
}

fn mac(text: &str) -> bool {
    let groups = |separator: char, width: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len())
            && parts
                .iter()
                .all(|part| part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    groups(':', 2, &[6, 8, 20]) || groups('-', 2, &[6, 8, 20]) || groups('.', 4, &[3, 4, 10])
}

fn uuid(text: &str, version: Option<char>) -> bool {
    // Each dash may be left out.
    let mut chars = text.chars().peekable();
    let mut digits = String::with_capacity(32);
    for (group, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if group > 0 && chars.peek() == Some(&'-') {
            chars.next();
        }
        for _ in 0..length {
            match chars.next() {
                Some(c) if c.is_ascii_hexdigit() => digits.push(c.to_ascii_lowercase()),
                _ => return false,
            }
        }
    }
    let digit = |at: usize| char::from(digits.as_bytes()[at]);
    chars.next().is_none()
        && version.is_none_or(|version| {
            digit(12) == version && (version == '3' || "89ab".contains(digit(16)))
        })
}

fn stripped(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}' | '-'))
        .collect()
}

fn isbn10(text: &str) -> bool {
    let text = stripped(text);
    let bytes = text.as_bytes();
    if bytes.len() != 10
        || !bytes[..9].iter().all(u8::is_ascii_digit)
        || !(bytes[9].is_ascii_digit() || bytes[9] == b'X')
    {
        return false;
    }
    let last = if bytes[9] == b'X' {
        10
    } else {
        u32::from(bytes[9] - b'0')
    };
    let sum: u32 = (1..10u32)
        .zip(bytes)
        .map(|(weight, digit)| weight * u32::from(digit - b'0'))
        .sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn isbn13(text: &str) -> bool {
    let text = stripped(text);
    let bytes = text.as_bytes();
    if bytes.len() != 13 || !bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = bytes[..12]
        .iter()
        .zip([1, 3].into_iter().cycle())
        .map(|(digit, weight)| weight * u32::from(digit - b'0'))
        .sum();
    u32::from(bytes[12] - b'0') == (10 - sum % 10) % 10
}

fn credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if !matches(&CARD, &digits) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            if place % 2 == 0 {
                digit
            } else if digit >= 5 {
                digit * 2 - 9
            } else {
                digit * 2
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Names of units of time, whole.
const EXACT: &[&str] = &["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
/// Names of units of time that may go on.
const BEGIN: &[&str] = &[
    "nano", "micro", "milli", "sec", "min", "hour", "day", "week",
];

/// As Go writes durations (`1h30m`), or numbers with the name of a unit (`22 ns`, `3 weeks`).
fn duration(text: &str) -> bool {
    if go_duration(text) {
        return true;
    }
    let Some(span) = SPAN.as_ref() else {
        return false;
    };
    span.captures_iter(text).any(|found| {
        let unit = found[2].to_lowercase();
        EXACT.contains(&unit.as_str()) || BEGIN.iter().any(|begin| unit.starts_with(begin))
    })
}

fn go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let digits = &rest[..number];
        if !digits.bytes().any(|b| b.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return false;
        }
        rest = &rest[number..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        if !matches!(
            &rest[..unit],
            "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h"
        ) {
            return false;
        }
        rest = &rest[unit..];
    }
    true
}

fn date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, rest)) = lower.split_once('t') else {
        return false;
    };
    if date.len() != 10 || date.parse::<jiff::civil::Date>().is_err() {
        return false;
    }
    let time = rest.split('t').next().unwrap_or_default();
    let Some(found) = TIME.as_ref().and_then(|regex| regex.captures(time)) else {
        return false;
    };
    &found[1] <= "23" && &found[2] <= "59" && &found[3] <= "59"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_upstream_takes() {
        for (format, good, bad) in [
            ("uri", "https://example.com/a?b=%", "example.com"),
            ("uri", "mailto:a@b", "http://[::1"),
            ("uri", "/path", "http://a b/"),
            ("email", "a.b@c.d", "a@"),
            ("email", "A B <a@b.c>", "a b@c"),
            ("hostname", "a-b.example.com", "-a"),
            ("hostname", "golang", "a_b"),
            ("ipv4", "010.0.0.1", "1.2.3"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "01:02:03:04:05:06", "01:02"),
            ("uuid", "A987FBC9-4BED-3078-CF07-9141BA07C9F3", "a987"),
            (
                "uuid3",
                "a987fbc94bed3078cf079141ba07c9f3",
                "a987fbc94bed4078cf079141ba07c9f3",
            ),
            (
                "uuid4",
                "57b73598-8764-4ad0-a76a-679bb6640eb1",
                "57b73598-8764-4ad0-076a-679bb6640eb1",
            ),
            ("isbn", "0321751043", "0321751040"),
            ("isbn13", "978-0321751041", "978-0321751040"),
            ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"),
            ("ssn", "111-11-1111", "111-1-1111"),
            ("hexcolor", "#FFFFFF", "#FFFF"),
            ("rgbcolor", "rgb(255, 0,1)", "rgb(256,0,0)"),
            ("byte", "aGVsbG8=", "a$"),
            ("date", "2024-02-29", "2023-02-29"),
            ("duration", "1h30m", "1x"),
            ("duration", "22 ns", "ns"),
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15"),
            (
                "date-time",
                "2014-12-15t19:30:20+01:00",
                "2014-12-15T24:30:20Z",
            ),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a.b", "A.b"),
        ] {
            let format = Format::of(format, Some(Type::String), false).unwrap();
            assert!(format.accepts(good), "{format:?} {good}");
            assert!(!format.accepts(bad), "{format:?} {bad}");
        }
        assert!(Format::of("unheard-of", Some(Type::String), false).is_none());
        assert!(Format::of("int32", Some(Type::String), false).is_none());
    }
}
