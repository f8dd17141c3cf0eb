//! Versions by semver.org.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::functions::{Context, Library};
use crate::libraries::{Answer, failed, no_overload};
use crate::value::{Opaque, Value};

/// A version.
#[derive(Clone, Debug)]
pub struct Semver {
    major: u64,
    minor: u64,
    patch: u64,
    pre: Vec<Identifier>,
    build: String,
}

/// A part of what a pre-release is called. Numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl PartialEq for Semver {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
}

impl Eq for Semver {}

impl Semver {
    /// Reads a version; the message says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (rest, None),
        };
        let (patch, pre) = match rest.split_once('-') {
            Some((patch, pre)) => (patch, Some(pre)),
            None => (rest, None),
        };
        let number = |name: &str, text: &str| {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!(
                    "Invalid character(s) found in {name} number \"{text}\""
                ));
            }
            if text.len() > 1 && text.starts_with('0') {
                return Err(format!(
                    "{name} number must not contain leading zeroes \"{text}\""
                ));
            }
            text.parse::<u64>()
                .map_err(|_| format!("{name} number \"{text}\" is out of range"))
        };
        let plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let mut identifiers = Vec::new();
        for part in pre.map(|pre| pre.split('.')).into_iter().flatten() {
            if part.is_empty() {
                return Err("Prerelease is empty".to_owned());
            }
            if part.bytes().all(|byte| byte.is_ascii_digit()) {
                if part.len() > 1 && part.starts_with('0') {
                    return Err(format!(
                        "Numeric PreRelease version must not contain leading zeroes \"{part}\""
                    ));
                }
                let value = part
                    .parse()
                    .map_err(|_| format!("Prerelease number \"{part}\" is out of range"))?;
                identifiers.push(Identifier::Number(value));
            } else if plain(part) {
                identifiers.push(Identifier::Word(part.to_owned()));
            } else {
                return Err(format!(
                    "Invalid character(s) found in prerelease \"{part}\""
                ));
            }
        }
        for part in build.map(|build| build.split('.')).into_iter().flatten() {
            if part.is_empty() {
                return Err("Build meta data is empty".to_owned());
            }
            if !plain(part) {
                return Err(format!(
                    "Invalid character(s) found in build meta data \"{part}\""
                ));
            }
        }
        Ok(Semver {
            major: number("Major", major)?,
            minor: number("Minor", minor)?,
            patch: number("Patch", patch)?,
            pre: identifiers,
            build: build.unwrap_or_default().to_owned(),
        })
    }

    /// Reads a version with a `v` before it, leading zeros, or the minor and patch numbers left away.
    fn parse_leniently(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text
            .splitn(3, '.')
            .map(|part| {
                if part.len() < 2 {
                    return part.to_owned();
                }
                let stripped = part.trim_start_matches('0');
                if stripped.starts_with(|c: char| c.is_ascii_digit()) {
                    stripped.to_owned()
                } else {
                    format!("0{stripped}")
                }
            })
            .collect();
        if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".to_owned());
        }
        while parts.len() < 3 {
            parts.push("0".to_owned());
        }
        Self::parse(&parts.join("."))
    }

    /// Precedence; build metadata does not count.
    fn order(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre.cmp(&other.pre),
            }
        })
    }

    /// What was built, after the `+`.
    pub fn build(&self) -> &str {
        &self.build
    }
}

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        string_to_semver: semver(string) -> Semver
        string_bool_to_semver: semver(string, bool) -> Semver
        is_semver_string: isSemver(string) -> bool
        is_semver_string_bool: isSemver(string, bool) -> bool
        semver_is_greater_than: Semver::isGreaterThan(Semver) -> bool
        semver_is_less_than: Semver::isLessThan(Semver) -> bool
        semver_compare_to: Semver::compareTo(Semver) -> int
        semver_major: Semver::major() -> int
        semver_minor: Semver::minor() -> int
        semver_patch: Semver::patch() -> int
    ",
    functions: &[
        ("semver", |_, args| match parsed(args) {
            Some(Ok(version)) => Ok(Value::Opaque(Opaque::Semver(Arc::new(version)))),
            Some(Err(why)) => Err(failed(why)),
            None => no_overload(),
        }),
        ("isSemver", |_, args| {
            parsed(args).map_or_else(no_overload, |version| Ok(Value::Bool(version.is_ok())))
        }),
        // Quantities share these three names: the later library's code serves both.
        ("isGreaterThan", super::quantity::is_greater),
        ("isLessThan", super::quantity::is_less),
        ("compareTo", super::quantity::compare_to),
        ("major", |_, args| number(args, |version| version.major)),
        ("minor", |_, args| number(args, |version| version.minor)),
        ("patch", |_, args| number(args, |version| version.patch)),
    ],
};

fn parsed(args: &[Value<'_>]) -> Option<Result<Semver, String>> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => {
            Some(Semver::parse(text))
        }
        [Value::String(text), Value::Bool(true)] => Some(Semver::parse_leniently(text)),
        _ => None,
    }
}

fn number<'a>(args: &[Value<'a>], part: fn(&Semver) -> u64) -> Answer<'a> {
    match args {
        [Value::Opaque(Opaque::Semver(version))] => Ok(Value::Int(part(version) as i64)),
        _ => no_overload(),
    }
}

/// The order of two quantities or two versions.
pub(super) fn order(_: &mut Context<'_>, args: &[Value<'_>]) -> Option<Ordering> {
    match args {
        [
            Value::Opaque(Opaque::Semver(a)),
            Value::Opaque(Opaque::Semver(b)),
        ] => Some(a.order(b)),
        [
            Value::Opaque(Opaque::Quantity(a)),
            Value::Opaque(Opaque::Quantity(b)),
        ] => Some((**a).cmp(b)),
        _ => None,
    }
}
