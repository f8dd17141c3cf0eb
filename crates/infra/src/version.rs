//! Versions and version constraints, as `required_version`, `required_providers` and module calls use them.
//!
//! Terraform compares versions with two libraries. Core and module versions follow [`Constraints::allows`]: a
//! prerelease is allowed only by a constraint that names a prerelease of the same version. Provider versions follow
//! [`Constraints::allows_provider`]: a prerelease is allowed only when it is pinned exactly.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The version of Terraform whose language, state and protocols this is compatible with.
pub const TERRAFORM_VERSION: &str = "1.11.4";

/// A version: numbers, a prerelease, and build metadata, which does not count in comparisons.
#[derive(Clone, Debug)]
pub struct Version {
    /// The numbers, at least three.
    numbers: Vec<u64>,
    /// How many numbers were written.
    written: usize,
    /// What stands after `-`, or nothing.
    prerelease: String,
    /// What stands after `+`, or nothing.
    metadata: String,
}

/// Why a string is no version or no constraint.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Error {
    /// The string is not a version.
    #[error("Malformed version: {0}")]
    Version(String),
    /// The string is not a constraint.
    #[error("Malformed constraint: {0}")]
    Constraint(String),
}

impl Version {
    /// A version of three numbers.
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self {
            numbers: vec![major, minor, patch],
            written: 3,
            prerelease: String::new(),
            metadata: String::new(),
        }
    }

    /// What this program says it is, see [`TERRAFORM_VERSION`].
    pub fn of_terraform() -> Self {
        TERRAFORM_VERSION
            .parse()
            .unwrap_or_else(|_| Self::new(1, 11, 4))
    }

    /// What stands after `-`; empty for a release.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// What stands after `+`; usually empty.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The first three numbers without prerelease and metadata.
    #[must_use]
    pub fn core(&self) -> Self {
        Self {
            prerelease: String::new(),
            metadata: String::new(),
            ..self.clone()
        }
    }

    /// The number at a position: 0 for major.
    pub fn number(&self, position: usize) -> u64 {
        self.numbers.get(position).copied().unwrap_or(0)
    }

    /// Equality with build metadata, which [`PartialEq`] leaves out.
    pub fn identical(&self, other: &Self) -> bool {
        self == other && self.metadata == other.metadata
    }
}

fn numbers_of(text: &str) -> Option<Vec<u64>> {
    text.split('.')
        .map(|part| {
            (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse().ok())
                .flatten()
        })
        .collect()
}

fn is_extra(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'~')
        })
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::Version(text.to_string());
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, metadata) = match rest.split_once('+') {
            Some((rest, metadata)) => (rest, metadata),
            None => (rest, ""),
        };
        // The dash may be left out before letters: `1.2.0beta1`.
        let end = rest
            .bytes()
            .position(|byte| !byte.is_ascii_digit() && byte != b'.')
            .unwrap_or(rest.len());
        let (numbers, prerelease) = rest.split_at(end);
        let prerelease = prerelease.strip_prefix('-').unwrap_or(prerelease);
        if (end < rest.len() && !is_extra(prerelease))
            || (!metadata.is_empty() && !is_extra(metadata))
        {
            return Err(malformed());
        }
        if metadata.is_empty() && text.contains('+') {
            return Err(malformed());
        }
        let mut numbers = numbers_of(numbers).ok_or_else(malformed)?;
        let written = numbers.len();
        while numbers.len() < 3 {
            numbers.push(0);
        }
        Ok(Self {
            numbers,
            written,
            prerelease: prerelease.to_string(),
            metadata: metadata.to_string(),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.numbers.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let ordering = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let count = self.numbers.len().max(other.numbers.len());
        (0..count)
            .map(|position| self.number(position).cmp(&other.number(position)))
            .find(|ordering| *ordering != Ordering::Equal)
            .unwrap_or_else(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// How a version has to relate to the one a constraint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=` or nothing
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `~>`: the last number that was written may grow.
    Pessimistic,
}

/// One condition on a version.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The relation.
    pub operator: Operator,
    /// The version that is named.
    pub version: Version,
    /// The text, without surrounding space.
    text: String,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Constraint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let split = text
            .bytes()
            .position(|byte| !b"=!><~".contains(&byte))
            .unwrap_or(text.len());
        let (operator, version) = text.split_at(split);
        let operator = match operator {
            "" | "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            "~>" => Operator::Pessimistic,
            _ => return Err(Error::Constraint(text.to_string())),
        };
        let version = version
            .trim()
            .parse()
            .map_err(|_| Error::Constraint(text.to_string()))?;
        Ok(Self {
            operator,
            version,
            text: text.to_string(),
        })
    }
}

impl Constraint {
    /// Whether the constraint names a prerelease.
    pub fn names_prerelease(&self) -> bool {
        !self.version.prerelease.is_empty()
    }

    fn prerelease_fits(&self, version: &Version) -> bool {
        match (
            version.prerelease.is_empty(),
            self.version.prerelease.is_empty(),
        ) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => version.core() == self.version.core(),
        }
    }

    /// For core and module versions.
    fn allows(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => order != Ordering::Equal,
            Operator::Greater => self.prerelease_fits(version) && order == Ordering::Greater,
            Operator::GreaterOrEqual => self.prerelease_fits(version) && order != Ordering::Less,
            Operator::Less => self.prerelease_fits(version) && order == Ordering::Less,
            Operator::LessOrEqual => self.prerelease_fits(version) && order != Ordering::Greater,
            Operator::Pessimistic => {
                let written = self.version.written;
                self.prerelease_fits(version)
                    && !(self.names_prerelease() && version.prerelease.is_empty())
                    && order != Ordering::Less
                    && (0..written.saturating_sub(1))
                        .all(|n| version.number(n) == self.version.number(n))
                    && version.number(written - 1) >= self.version.number(written - 1)
            }
        }
    }

    /// The least version above all that `~>` allows, as provider constraints read it: `~> 2` is `~> 2.0`.
    fn pessimistic_bound(&self) -> Version {
        if self.version.written >= 3 {
            Version::new(self.version.number(0), self.version.number(1) + 1, 0)
        } else {
            Version::new(self.version.number(0) + 1, 0, 0)
        }
    }

    /// For provider versions, prereleases apart.
    fn allows_provider(&self, version: &Version) -> bool {
        match self.operator {
            Operator::Equal => version.identical(&self.version),
            Operator::NotEqual => !version.identical(&self.version),
            Operator::Greater => *version > self.version,
            Operator::GreaterOrEqual => *version >= self.version,
            Operator::Less => *version < self.version,
            Operator::LessOrEqual => *version <= self.version,
            Operator::Pessimistic => {
                *version >= self.version && *version < self.pessimistic_bound()
            }
        }
    }

    /// The order and form in which a lock file writes constraints.
    fn canonical(&self) -> (Version, u8, String) {
        let (rank, prefix) = match self.operator {
            Operator::Greater => (1, "> "),
            Operator::GreaterOrEqual => (2, ">= "),
            Operator::Equal => (3, ""),
            Operator::Pessimistic if self.version.written >= 3 => (4, "~> "),
            Operator::Pessimistic => (5, "~> "),
            Operator::LessOrEqual => (6, "<= "),
            Operator::Less => (7, "< "),
            Operator::NotEqual => (8, "!= "),
        };
        let mut text = format!(
            "{prefix}{}.{}",
            self.version.number(0),
            self.version.number(1)
        );
        if rank != 5 {
            text.push_str(&format!(".{}", self.version.number(2)));
        }
        if !self.version.prerelease.is_empty() {
            text.push_str(&format!("-{}", self.version.prerelease));
        }
        if !self.version.metadata.is_empty() {
            text.push_str(&format!("+{}", self.version.metadata));
        }
        (self.version.clone(), rank, text)
    }
}

/// Conditions that must all hold, separated by commas where they are written.
#[derive(Clone, Debug, Default)]
pub struct Constraints(pub Vec<Constraint>);

impl FromStr for Constraints {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// As written, terms separated by a comma.
impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, constraint) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{constraint}")?;
        }
        Ok(())
    }
}

impl Constraints {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a core or module version fits.
    pub fn allows(&self, version: &Version) -> bool {
        self.0.iter().all(|constraint| constraint.allows(version))
    }

    /// Whether a provider version fits: a prerelease has to be pinned exactly.
    pub fn allows_provider(&self, version: &Version) -> bool {
        let pinned = || {
            self.0
                .iter()
                .any(|one| one.operator == Operator::Equal && one.version.identical(version))
        };
        self.0
            .iter()
            .all(|constraint| constraint.allows_provider(version))
            && (version.prerelease.is_empty() || pinned())
    }

    /// The normal form a lock file holds: each term once, by version and then by kind.
    pub fn canonical(&self) -> String {
        let mut terms: Vec<_> = self.0.iter().map(Constraint::canonical).collect();
        terms.sort_by(|a, b| {
            a.0.cmp(&b.0)
                .then(a.1.cmp(&b.1))
                .then_with(|| a.2.cmp(&b.2))
        });
        terms.dedup_by(|a, b| a.2 == b.2);
        terms
            .into_iter()
            .map(|(_, _, text)| text)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn constraints(text: &str) -> Constraints {
        text.parse().unwrap()
    }

    #[test]
    fn versions_order_by_number_then_release_then_prerelease() {
        let sorted = [
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.2",
            "1.0.0-alpha.11",
            "1.0.0-beta",
            "1.0.0",
            "1.0.10",
            "1.2.0",
        ];
        for pair in sorted.windows(2) {
            assert!(
                version(pair[0]) < version(pair[1]),
                "{} < {}",
                pair[0],
                pair[1]
            );
        }
        assert_eq!(version("v1.2"), version("1.2.0+build"));
        for bad in ["", "1.", "a.b", "1.2.x", "1.0.0-", "1.0.0+", "1.0.0-é"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pessimistic_constraint_lets_only_the_last_written_number_grow() {
        for (text, yes, no) in [
            ("~> 1.2", "1.9.0", "2.0.0"),
            ("~> 1.2.3", "1.2.9", "1.3.0"),
            (">= 1.0, < 2.0", "1.5.0", "2.0.0"),
            ("!= 1.1.0", "1.1.1", "1.1.0"),
            ("~> 1", "9.0.0", "0.9.0"),
        ] {
            assert!(
                constraints(text).allows(&version(yes)),
                "{text} allows {yes}"
            );
            assert!(
                !constraints(text).allows(&version(no)),
                "{text} refuses {no}"
            );
        }
        assert!(
            !constraints("~> 1").allows_provider(&version("2.0.0")),
            "for a provider that is ~> 1.0"
        );
        for bad in ["", ">", "=> 1.0", "~> x", "1.0,"] {
            assert!(bad.parse::<Constraints>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prerelease_of_a_provider_must_be_pinned() {
        assert!(constraints("1.0.0-beta1").allows_provider(&version("1.0.0-beta1")));
        assert!(!constraints(">= 1.0.0-beta1").allows_provider(&version("1.0.0-beta2")));
        assert!(
            constraints(">= 1.0.0-beta1").allows(&version("1.0.0-beta2")),
            "a module's need not"
        );
        assert!(!constraints(">= 1.0.0-beta1").allows(&version("1.1.0-beta1")));
    }

    #[test]
    fn a_lock_file_gets_each_constraint_once_in_normal_form() {
        assert_eq!(
            constraints("~> 2.1,>=2, >= 2.0.0, != 2.1.1").canonical(),
            ">= 2.0.0, ~> 2.1, != 2.1.1"
        );
        assert_eq!(constraints("2.1.2").canonical(), "2.1.2");
        assert_eq!(constraints("~> 3").canonical(), "~> 3.0");
    }
}
