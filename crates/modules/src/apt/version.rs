//! Versions of Debian's packages and what packages ask of each other (Debian Policy, 5.6.12 and 7.1).

use std::cmp::Ordering;

/// Which of two versions is the later one.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (epoch, one) = split_epoch(one);
    let (other_epoch, other) = split_epoch(other);
    let (upstream, revision) = split_revision(one);
    let (other_upstream, other_revision) = split_revision(other);
    epoch
        .cmp(&other_epoch)
        .then_with(|| compare_part(upstream.as_bytes(), other_upstream.as_bytes()))
        .then_with(|| compare_part(revision.as_bytes(), other_revision.as_bytes()))
}

fn split_epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.trim().parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

fn split_revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, ""))
}

/// Where a character stands among those that are no digits: `~` before the end, letters before all else.
fn weight(character: Option<u8>) -> i32 {
    match character {
        None => 0,
        Some(b'~') => -1,
        Some(digit) if digit.is_ascii_digit() => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

fn compare_part(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        while one.first().is_some_and(|c| !c.is_ascii_digit())
            || other.first().is_some_and(|c| !c.is_ascii_digit())
        {
            let by_weight = weight(one.first().copied()).cmp(&weight(other.first().copied()));
            if by_weight != Ordering::Equal {
                return by_weight;
            }
            one = one.get(1..).unwrap_or_default();
            other = other.get(1..).unwrap_or_default();
        }
        let (number, rest) = digits(one);
        let (other_number, other_rest) = digits(other);
        let by_number = number
            .len()
            .cmp(&other_number.len())
            .then_with(|| number.cmp(other_number));
        if by_number != Ordering::Equal {
            return by_number;
        }
        one = rest;
        other = other_rest;
    }
    Ordering::Equal
}

/// The digits something begins with, without zeros before them, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|c| **c == b'0').count();
    (&number[zeros..], rest)
}

/// A package one may need or must not have: a name and, if it matters, a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its name, with its architecture if that was said.
    pub name: String,
    /// `=`, `>=`, `<=`, `>`, `<`, or nothing.
    pub operator: &'static str,
    /// The version it is about.
    pub version: String,
}

impl Relation {
    /// Whether a version is one that is meant.
    pub fn holds(&self, version: &str) -> bool {
        let order = compare(version, &self.version);
        match self.operator {
            "=" => order == Ordering::Equal,
            ">=" => order != Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            "<" => order == Ordering::Less,
            _ => true,
        }
    }
}

/// The relations of a field (`a (>= 1) | b, c`): a list of alternatives.
pub fn relations(field: &str) -> Vec<Vec<Relation>> {
    field
        .split(',')
        .map(|group| group.split('|').filter_map(relation).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .collect()
}

fn relation(text: &str) -> Option<Relation> {
    let text = text.split(['[', '<']).next().map_or(text, |before| {
        // `<` also begins operators; those stand in parentheses.
        if before.contains('(') { text } else { before }
    });
    let (name, rest) = match text.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.split(')').next().unwrap_or(rest).trim()),
        None => (text.trim(), ""),
    };
    if name.is_empty() {
        return None;
    }
    let name = name
        .strip_suffix(":any")
        .or_else(|| name.strip_suffix(":native"))
        .unwrap_or(name);
    let end = rest
        .find(|c: char| !matches!(c, '<' | '>' | '='))
        .unwrap_or(rest.len());
    let (operator, version) = rest.split_at(end);
    let operator = match operator {
        "=" => "=",
        // `<` and `>` alone are of old, and mean what they mean with `=`.
        ">=" | ">" => ">=",
        "<=" | "<" => "<=",
        ">>" => ">",
        "<<" => "<",
        _ => "",
    };
    Some(Relation {
        name: name.to_owned(),
        operator,
        version: version.trim().to_owned(),
    })
}
