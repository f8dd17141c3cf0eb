//! Patterns: which hosts of an inventory are meant.
//!
//! A pattern is a list of names, globs (`web*`), regular expressions (`~web\d`) and those with a subscript (`web[0:2]`), each
//! maybe an intersection (`&`) or an exclusion (`!`) of what the others give.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use indexmap::IndexSet;
use rand::seq::SliceRandom as _;
use regex::Regex;

use super::data::LOCAL_NAMES;
use super::notice::warn;
use super::{Inventory, Mismatch, parse_address};
use crate::source::{Located, Notices};

/// In which order hosts come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Order {
    /// As in the inventory.
    #[default]
    Inventory,
    /// From its end.
    ReverseInventory,
    /// By name.
    Sorted,
    /// By name from the end.
    ReverseSorted,
    /// As chance will have it.
    Shuffle,
}

impl Order {
    /// The order of a name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn parse(name: &str) -> Result<Order, Located> {
        Ok(match name {
            "inventory" => Order::Inventory,
            "reverse_inventory" => Order::ReverseInventory,
            "sorted" => Order::Sorted,
            "reverse_sorted" => Order::ReverseSorted,
            "shuffle" => Order::Shuffle,
            other => {
                return Err(Located::new(format!(
                    "Invalid 'order' specified for inventory hosts: {other}"
                )));
            }
        })
    }

    /// Puts hosts in this order.
    pub fn apply(self, hosts: &mut [Arc<str>]) {
        match self {
            Order::Inventory => {}
            Order::ReverseInventory => hosts.reverse(),
            Order::Sorted => hosts.sort(),
            Order::ReverseSorted => {
                hosts.sort();
                hosts.reverse();
            }
            Order::Shuffle => hosts.shuffle(&mut rand::rng()),
        }
    }
}

/// Whether what `--limit` leaves out is left out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Limits {
    /// It is.
    #[default]
    Respected,
    /// It is not.
    Ignored,
}

static SUBSCRIPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?s)(.+)\[(?:(-?[0-9]+)|([0-9]+)([:-])([0-9]*))\]$").expect("it is one")
});
static PARTS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:[^\s:\[\]]|\[[^\]]*\])+").expect("it is one"));

/// The single patterns of a written one: separated by commas, or by colons where they are not part of an address.
pub fn split(pattern: &str) -> Vec<String> {
    let parts: Vec<&str> = if pattern.contains(',') {
        pattern.split(',').collect()
    } else if parse_address(pattern, true).is_ok() {
        vec![pattern]
    } else {
        PARTS.find_iter(pattern).map(|part| part.as_str()).collect()
    };
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

#[derive(Clone, Copy)]
enum Subscript {
    One(i64),
    Range(usize, Option<usize>),
}

impl Inventory {
    /// Leaves only hosts of a pattern (`--limit`): what a task or a play names is within these. `@FILE` reads patterns from
    /// a file, one a line. None lifts it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn limit_to(&mut self, pattern: Option<&str>) -> Result<(), Located> {
        let Some(pattern) = pattern else {
            self.limit = None;
            return Ok(());
        };
        let mut limit = Vec::new();
        for part in split(pattern) {
            let Some(file) = part.strip_prefix('@') else {
                limit.push(part);
                continue;
            };
            let path = Path::new(file);
            if !path.exists() {
                return Err(Located::new(format!(
                    "Unable to find limit file {}",
                    bytes(file)
                )));
            }
            if !path.is_file() {
                return Err(Located::new(format!(
                    "Limit starting with \"@\" must be a file, not a directory: {}",
                    bytes(file)
                )));
            }
            let text = std::fs::read_to_string(path)
                .map_err(|error| Located::new(format!("reading {file}: {error}")))?;
            limit.extend(text.split('\n').map(|line| line.trim().to_owned()));
        }
        self.limit = Some(limit);
        Ok(())
    }

    /// Whether [`Inventory::limit_to`] has limited it.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The hosts of a pattern, in the order of the inventory. A host may be this machine that no source names.
    ///
    /// # Errors
    /// A pattern is wrong, or matches nothing where that is an error.
    pub fn matching(
        &self,
        pattern: &str,
        limits: Limits,
        notices: &Notices,
    ) -> Result<Vec<Arc<str>>, Located> {
        self.matching_all(&[pattern], limits, notices)
    }

    /// The hosts of a list of patterns.
    ///
    /// # Errors
    /// As [`Inventory::matching`].
    pub fn matching_all<P: AsRef<str>>(
        &self,
        patterns: &[P],
        limits: Limits,
        notices: &Notices,
    ) -> Result<Vec<Arc<str>>, Located> {
        let patterns: Vec<String> = patterns
            .iter()
            .flat_map(|pattern| split(pattern.as_ref()))
            .collect();
        let mut hosts = self.evaluate(&patterns, notices)?;
        if let Some(limit) = self.limit.as_ref().filter(|_| limits == Limits::Respected) {
            let within = self.evaluate(limit, notices)?;
            hosts.retain(|host| within.contains(host));
        }
        Ok(hosts.into_iter().collect())
    }

    fn evaluate(
        &self,
        patterns: &[String],
        notices: &Notices,
    ) -> Result<IndexSet<Arc<str>>, Located> {
        let of_kind = |sign: Option<char>| {
            patterns.iter().filter(move |pattern| {
                let first = pattern.chars().next();
                match sign {
                    Some(sign) => first == Some(sign),
                    None => first.is_some_and(|first| first != '!' && first != '&'),
                }
            })
        };
        let mut hosts = IndexSet::new();
        let all = "all".to_owned();
        let regular: Vec<&String> = if of_kind(None).next().is_some() {
            of_kind(None).collect()
        } else {
            vec![&all]
        };
        for pattern in regular {
            match self.hosts.get_key_value(pattern.as_str()) {
                Some((name, _)) => {
                    hosts.insert(Arc::clone(name));
                }
                None => hosts.extend(self.match_one(pattern, notices)?),
            }
        }
        for pattern in of_kind(Some('&')) {
            let those: HashSet<Arc<str>> = self
                .match_one(&pattern[1..], notices)?
                .into_iter()
                .collect();
            hosts.retain(|host| those.contains(host));
        }
        for pattern in of_kind(Some('!')) {
            let those: HashSet<Arc<str>> = self
                .match_one(&pattern[1..], notices)?
                .into_iter()
                .collect();
            hosts.retain(|host| !those.contains(host));
        }
        Ok(hosts)
    }

    fn match_one(&self, pattern: &str, notices: &Notices) -> Result<Vec<Arc<str>>, Located> {
        let (expression, subscript) = subscript(pattern, notices)?;
        let hosts: Vec<Arc<str>> = self.enumerate(expression, notices)?.into_iter().collect();
        if hosts.is_empty() {
            return Ok(hosts);
        }
        let none = || {
            Located::new(format!(
                "No hosts matched the subscripted pattern '{pattern}'"
            ))
        };
        Ok(match subscript {
            None => hosts,
            Some(Subscript::One(at)) => {
                let at = if at < 0 { at + hosts.len() as i64 } else { at };
                let at = usize::try_from(at).map_err(|_| none())?;
                vec![hosts.get(at).cloned().ok_or_else(none)?]
            }
            // Python takes a range that ends at zero for a single subscript.
            Some(Subscript::Range(start, Some(0))) => {
                vec![hosts.get(start).cloned().ok_or_else(none)?]
            }
            Some(Subscript::Range(start, end)) => {
                let end = end.map_or(hosts.len(), |end| (end + 1).min(hosts.len()));
                hosts.get(start..end).unwrap_or_default().to_vec()
            }
        })
    }

    fn enumerate(&self, pattern: &str, notices: &Notices) -> Result<IndexSet<Arc<str>>, Located> {
        let matcher = Matcher::new(pattern)?;
        let mut found: IndexSet<Arc<str>> = IndexSet::new();
        let mut any_group = false;
        for group in matcher.among(&self.groups) {
            any_group = true;
            found.extend(self.hosts_of(&group));
        }
        if !any_group || pattern.starts_with('~') || pattern.contains(['.', '?', '*', '[']) {
            found.extend(matcher.among(&self.hosts));
        }
        if found.is_empty() && LOCAL_NAMES.contains(&pattern) {
            found.extend(self.host(pattern).map(|host| Arc::clone(&host.name)));
        }
        if found.is_empty() && !any_group && pattern != "all" {
            let message = format!("Could not match supplied host pattern, ignoring: {pattern}");
            match self.settings().mismatch {
                Mismatch::Warning => warn(notices, message),
                Mismatch::Error => return Err(Located::new(message)),
                Mismatch::Ignore => {}
            }
        }
        Ok(found)
    }
}

fn bytes(text: &str) -> String {
    consort_jinja::repr::repr(&consort_jinja::Value::Bytes(text.as_bytes().into()))
}

fn subscript<'p>(
    pattern: &'p str,
    notices: &Notices,
) -> Result<(&'p str, Option<Subscript>), Located> {
    if pattern.starts_with('~') {
        return Ok((pattern, None));
    }
    let Some(parts) = SUBSCRIPT.captures(pattern) else {
        return Ok((pattern, None));
    };
    let expression = parts
        .get(1)
        .map_or(pattern, |expression| expression.as_str());
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| Located::new(format!("{text} is no subscript in '{pattern}'")))
    };
    if let Some(index) = parts.get(2) {
        return Ok((expression, Some(Subscript::One(number(index.as_str())?))));
    }
    if parts.get(4).is_some_and(|sign| sign.as_str() == "-") {
        warn(
            notices,
            "Use [x:y] inclusive subscripts instead of [x-y] which has been removed",
        );
    }
    let start = number(parts.get(3).map_or("0", |start| start.as_str()))?;
    let end = match parts.get(5).map_or("", |end| end.as_str()) {
        "" => None,
        end => Some(number(end)? as usize),
    };
    Ok((expression, Some(Subscript::Range(start as usize, end))))
}

/// What a single pattern says of names.
enum Matcher<'p> {
    Word(&'p str),
    Expression(Box<fancy_regex::Regex>),
}

impl<'p> Matcher<'p> {
    fn new(pattern: &'p str) -> Result<Self, Located> {
        let source = match pattern.strip_prefix('~') {
            Some(expression) => format!("^(?:{expression})"),
            None if pattern.contains(['*', '?', '[']) => format!("^(?s:{})$", glob(pattern)),
            None => return Ok(Matcher::Word(pattern)),
        };
        fancy_regex::Regex::new(&source)
            .map(|expression| Matcher::Expression(Box::new(expression)))
            .map_err(|_| Located::new(format!("Invalid host list pattern: {pattern}")))
    }

    fn among<T>(&self, names: &indexmap::IndexMap<Arc<str>, T>) -> Vec<Arc<str>> {
        match self {
            Matcher::Word(word) => names
                .get_key_value(*word)
                .map(|(name, _)| Arc::clone(name))
                .into_iter()
                .collect(),
            Matcher::Expression(expression) => names
                .keys()
                .filter(|name| expression.is_match(&***name).unwrap_or(false))
                .cloned()
                .collect(),
        }
    }
}

/// The regular expression of a glob.
pub(crate) fn glob(pattern: &str) -> String {
    let characters: Vec<char> = pattern.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        at += 1;
        match character {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let mut end = at;
                if characters.get(end) == Some(&'!') {
                    end += 1;
                }
                if characters.get(end) == Some(&']') {
                    end += 1;
                }
                while characters.get(end).is_some_and(|inside| *inside != ']') {
                    end += 1;
                }
                if end >= characters.len() {
                    out.push_str("\\[");
                    continue;
                }
                let inside: String = characters[at..end].iter().collect();
                let (sign, inside) = match inside.strip_prefix('!') {
                    Some(inside) => ("^", inside),
                    None => ("", inside.as_str()),
                };
                out.push('[');
                out.push_str(sign);
                for inside in inside.chars() {
                    if matches!(inside, '\\' | '[' | ']' | '^' | '&' | '~') {
                        out.push('\\');
                    }
                    out.push(inside);
                }
                out.push(']');
                at = end + 1;
            }
            other => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}
