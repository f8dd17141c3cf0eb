//! Names of hosts as inventories write them: with a port, and with ranges.

use std::sync::LazyLock;

use regex::Regex;

use crate::source::Located;

/// A host with the port that was written behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The name or address, maybe with ranges.
    pub host: String,
    /// The port.
    pub port: Option<u32>,
}

const IPV6: &str = r"(?:[0-9a-f]{1,4}|\[(?:[0-9a-f]+:[0-9a-f]+)(?::[0-9]+)?\])";
const IPV4: &str = r"(?:[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]|\[(?:[0-9]+:[0-9]+)(?::[0-9]+)?\])";
const RANGE: &str = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]";

static BRACKETED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[(.+)\]:([0-9]+)$").expect("it is one"));
static WITH_PORT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$").expect("it is one"));
static HOST: LazyLock<Regex> = LazyLock::new(|| {
    // A label ends in what is neither `-` nor `_`; an address has parts that are numbers or ranges.
    let label = format!(r"(?:\w|{RANGE})(?:(?:[\w-]|{RANGE})*(?:[^\W_]|{RANGE}))?");
    let six = IPV6;
    let four = IPV4;
    let forms = [
        format!(r"(?:{four}\.){{3}}{four}"),
        format!(r"(?:{six}:){{7}}{six}"),
        format!(r"(?:{six}:){{1,6}}:"),
        format!(r"(?:{six}:)(?::{six}){{1,6}}"),
        format!(r"(?:{six}:){{2}}(?::{six}){{1,5}}"),
        format!(r"(?:{six}:){{3}}(?::{six}){{1,4}}"),
        format!(r"(?:{six}:){{4}}(?::{six}){{1,3}}"),
        format!(r"(?:{six}:){{5}}(?::{six}){{1,2}}"),
        format!(r"(?:{six}:){{6}}(?::{six})"),
        format!(r":(?::{six}){{1,6}}"),
        format!(r"{six}?::"),
        format!(r"(?:0:){{6}}(?:{six}\.){{3}}{six}"),
        format!(r"::(?:ffff:)?(?:{six}\.){{3}}{six}"),
        format!(r"(?:0:){{5}}ffff:(?:{six}\.){{3}}{six}"),
        format!(r"{label}(?:\.{label})*"),
    ];
    regex::RegexBuilder::new(&format!("^(?:{})$", forms.join("|")))
        .case_insensitive(true)
        .size_limit(64 << 20)
        .build()
        .expect("it is one")
});

/// Takes a host and its port apart: `web:22`, `[::1]:22`, `db[1:3]`.
///
/// # Errors
/// It is neither a name nor an address, or has ranges where there may be none.
pub fn parse_address(written: &str, ranges: bool) -> Result<Address, Located> {
    let (mut host, mut port) = (written, None);
    for form in [&*BRACKETED, &*WITH_PORT] {
        if let Some(parts) = form.captures(host) {
            let number = parts.get(2).and_then(|port| port.as_str().parse().ok());
            host = parts.get(1).map_or("", |host| host.as_str());
            port = number;
        }
    }
    if !is_plain(host) && !HOST.is_match(host) || host.is_empty() {
        return Err(Located::new(format!(
            "Not a valid network hostname: {host}"
        )));
    }
    if !ranges && host.contains('[') {
        return Err(Located::new(
            "Detected range in host but was asked to ignore ranges",
        ));
    }
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

/// Whether it is the usual kind of name, for which no expression is needed.
fn is_plain(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with(['-', '_'])
    })
}

/// The hosts a written name stands for, with their port. What cannot be understood stands for itself.
///
/// # Errors
/// A range is wrong, or too much.
pub fn expand(written: &str) -> Result<(Vec<String>, Option<u32>), Located> {
    let (host, port) = match parse_address(written, true) {
        Ok(address) => (address.host, address.port),
        Err(_) => (written.to_owned(), None),
    };
    let mut names = Vec::new();
    expand_ranges(&host, &mut names, 0)?;
    Ok((names, port))
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// More hosts than anybody has.
const MOST: usize = 4_000_000;

/// More ranges than anybody writes into one name.
const RANGES: usize = 100;

/// More digits than any number has.
const DIGITS: usize = 20;

fn expand_ranges(name: &str, names: &mut Vec<String>, depth: usize) -> Result<(), Located> {
    let Some((head, rest)) = name.split_once('[') else {
        if names.len() >= MOST {
            return Err(Located::new(format!("more than {MOST} hosts in one line")));
        }
        names.push(name.to_owned());
        return Ok(());
    };
    if depth >= RANGES {
        return Err(Located::new(format!(
            "more than {RANGES} ranges in one name"
        )));
    }
    let Some((range, tail)) = rest.split_once(']') else {
        return Err(Located::new(
            "not enough values to unpack (expected 3, got 2)",
        ));
    };
    let bounds: Vec<&str> = range.split(':').collect();
    let (first, last, step) = match *bounds.as_slice() {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => {
            return Err(Located::new(
                "host range must be begin:end or begin:end:step",
            ));
        }
    };
    let first = if first.is_empty() { "0" } else { first };
    if last.is_empty() {
        return Err(Located::new("host range must specify end value"));
    }
    let width = if first.len() > 1 && first.starts_with('0') {
        if first.len() != last.len() {
            return Err(Located::new(
                "host range must specify equal-length begin and end formats",
            ));
        }
        if first.len() > DIGITS {
            return Err(Located::new(format!(
                "more than {DIGITS} digits in a number"
            )));
        }
        first.len()
    } else {
        0
    };
    let number = |text: &str| {
        text.trim().parse::<i64>().map_err(|_| {
            Located::new(format!(
                "invalid literal for int() with base 10: {}",
                consort_jinja::repr::string(text)
            ))
        })
    };
    let step = number(step)?;
    if step == 0 {
        return Err(Located::new("range() arg 3 must not be zero"));
    }
    let items: Vec<String> = match (LETTERS.find(first), LETTERS.find(last)) {
        (Some(from), Some(to)) => {
            if from > to {
                return Err(Located::new("host range must have begin <= end"));
            }
            LETTERS[from..=to]
                .chars()
                .step_by(usize::try_from(step).unwrap_or(1))
                .map(String::from)
                .collect()
        }
        _ => {
            let (from, to) = (number(first)?, number(last)?);
            if to.abs_diff(from) / step.unsigned_abs() > MOST as u64 {
                return Err(Located::new(format!("more than {MOST} hosts in one line")));
            }
            let mut items = Vec::new();
            let mut next = Some(from);
            while let Some(at) = next
                && ((step > 0 && at <= to) || (step < 0 && at > to))
            {
                items.push(format!("{at:0width$}"));
                next = at.checked_add(step);
            }
            items
        }
    };
    for item in items {
        expand_ranges(&format!("{head}{item}{tail}"), names, depth + 1)?;
    }
    Ok(())
}
