//! Flags as Go's `flag` package reads them: `-name`, `--name`, `-name=value` and `-name value`, up to the
//! first word that is no flag, after which everything is an argument.
//!
//! A command declares its flags as a table, which is also what its help prints.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true` and `=false`; the value it has when it is not given.
    Switch(bool),
    /// One value, the last one given; named so in the help.
    One(&'static str),
    /// Any number of values, in order.
    Many(&'static str),
}

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Without the dash.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) takes: Takes,
    /// One or two sentences for the help.
    pub(crate) help: &'static str,
}

/// A switch that is off unless given.
pub(crate) const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::Switch(false),
        help,
    }
}

/// A switch that is on unless given as `=false`.
pub(crate) const fn on(name: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::Switch(true),
        help,
    }
}

/// A flag with one value.
pub(crate) const fn one(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::One(value),
        help,
    }
}

/// A flag that may be given several times.
pub(crate) const fn many(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::Many(value),
        help,
    }
}

/// Why a command line cannot be read, in the words of Go's `flag` package.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// `-help` was asked for.
    #[error("flag: help requested")]
    Help,
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// `-name` as the last word.
    #[error("flag needs an argument: -{0}")]
    Missing(String),
    /// `-`, or a name with a dash or `=` in front.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// `-switch=perhaps`.
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    Switch {
        /// The flag.
        name: String,
        /// What was given.
        value: String,
    },
    /// `-parallelism=many`.
    #[error("invalid value {value:?} for flag -{name}: parse error")]
    Value {
        /// The flag.
        name: String,
        /// What was given.
        value: String,
    },
}

/// A command line that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    values: HashMap<&'static str, Vec<String>>,
    /// `-var` and `-var-file` in the order given, which decides between them.
    given: Vec<(&'static str, String)>,
    /// What follows the flags.
    pub(crate) rest: Vec<String>,
}

/// Reads `words` as flags of `known`, then arguments.
pub(crate) fn parse(
    known: &[&[Flag]],
    words: impl IntoIterator<Item = String>,
) -> Result<Flags, Error> {
    let mut flags = Flags::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if !word.starts_with('-') || word == "-" {
            flags.rest.push(word);
            break;
        }
        if word == "--" {
            break;
        }
        let name = word.strip_prefix("--").unwrap_or(&word[1..]);
        if name.is_empty() || name.starts_with(['-', '=']) {
            return Err(Error::Syntax(word));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let Some(flag) = known.iter().copied().flatten().find(|f| f.name == name) else {
            return Err(if matches!(name, "h" | "help") {
                Error::Help
            } else {
                Error::Unknown(name.to_owned())
            });
        };
        let value = match (flag.takes, value) {
            (Takes::Switch(_), None) => "true".to_owned(),
            (Takes::Switch(_), Some(value)) => boolean(&value)
                .ok_or_else(|| Error::Switch {
                    name: name.to_owned(),
                    value: value.clone(),
                })?
                .to_string(),
            (_, Some(value)) => value,
            (_, None) => words
                .next()
                .ok_or_else(|| Error::Missing(name.to_owned()))?,
        };
        flags.given.push((flag.name, value.clone()));
        let values = flags.values.entry(flag.name).or_default();
        if !matches!(flag.takes, Takes::Many(_)) {
            values.clear();
        }
        values.push(value);
    }
    flags.rest.extend(words);
    Ok(flags)
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Flags {
    /// Whether a switch that is off by default was switched on.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Whether a switch that is on by default stayed on.
    pub(crate) fn stays(&self, name: &str) -> bool {
        self.text(name) != Some("false")
    }

    /// The same without one flag.
    pub(crate) fn without(&self, name: &str) -> Flags {
        let mut flags = self.clone();
        flags.values.remove(name);
        flags.given.retain(|(given, _)| *given != name);
        flags
    }

    /// The last value given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// All values given, in order.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The given ones of `names` with their values, in the order of the command line.
    pub(crate) fn in_order<'f>(
        &'f self,
        names: &'f [&str],
    ) -> impl Iterator<Item = (&'static str, &'f str)> {
        self.given
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        self.read(name, |text| text.parse().ok())
    }

    /// A time as Go writes it: `90s`, `1m30s`, `1.5h`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, Error> {
        self.read(name, duration)
    }

    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        self.text(name)
            .map(|text| {
                parse(text).ok_or_else(|| Error::Value {
                    name: name.to_owned(),
                    value: text.to_owned(),
                })
            })
            .transpose()
    }
}

/// As Go's `time.ParseDuration`, without negative times.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanoseconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        nanoseconds += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    // 292 years, what Go's type can hold.
    (nanoseconds <= 9.223e18).then(|| Duration::from_nanos(nanoseconds as u64))
}

/// The flags as a help page lists them.
pub(crate) fn listing(groups: &[&[Flag]]) -> String {
    const COLUMN: usize = 26;
    const WIDTH: usize = 52;
    let mut out = String::new();
    for flag in groups.iter().copied().flatten() {
        let left = match flag.takes {
            Takes::Switch(false) => format!("-{}", flag.name),
            Takes::Switch(true) => format!("-{}=false", flag.name),
            Takes::One(value) | Takes::Many(value) => format!("-{}={value}", flag.name),
        };
        let mut lines = wrap(flag.help, WIDTH).into_iter();
        let first = lines.next().unwrap_or_default();
        if left.len() < COLUMN - 1 {
            let _ = writeln!(out, "  {left:COLUMN$}{first}");
        } else {
            let _ = writeln!(out, "  {left}\n  {:COLUMN$}{first}", "");
        }
        for line in lines {
            let _ = writeln!(out, "  {:COLUMN$}{line}", "");
        }
    }
    out
}

/// `text` in lines of at most `width` characters, broken at spaces.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[
        switch("json", "Machine-readable."),
        on("lock", "Hold the lock."),
        one("out", "path", "Where to."),
        many("var", "'name=value'", "A variable."),
        many("var-file", "path", "Variables."),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let flags = parse(
            &[KNOWN],
            words("-json --lock=false -out p -var=a=b -var-file x -var c=d plan -json"),
        )
        .unwrap();
        assert!(flags.is("json"));
        assert!(!flags.stays("lock"));
        assert_eq!(flags.text("out"), Some("p"));
        assert_eq!(flags.all("var"), ["a=b", "c=d"]);
        assert_eq!(
            flags.in_order(&["var", "var-file"]).collect::<Vec<_>>(),
            [("var", "a=b"), ("var-file", "x"), ("var", "c=d")]
        );
        assert_eq!(flags.rest, ["plan", "-json"]);
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        let refused = |text| parse(&[KNOWN], words(text)).unwrap_err().to_string();
        assert_eq!(refused("-nope"), "flag provided but not defined: -nope");
        assert_eq!(refused("-out"), "flag needs an argument: -out");
        assert_eq!(
            refused("-json=perhaps"),
            "invalid boolean value \"perhaps\" for -json: parse error"
        );
        assert_eq!(refused("---json"), "bad flag syntax: ---json");
        assert_eq!(parse(&[KNOWN], words("-help")), Err(Error::Help));
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        assert_eq!(duration("5"), None);
        assert_eq!(duration("s"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn a_single_dash_is_an_argument() {
        let flags = parse(&[KNOWN], words("-json -")).unwrap();
        assert_eq!(flags.rest, ["-"]);
    }
}
