//! Regular expressions with the syntax and the meaning of Python's `re`, over fancy-regex.
//!
//! ```
//! use consort_modules::python_re::{Flags, Pattern, Template};
//! let pattern = Pattern::new(r"(?P<key>\w+)=(\d+)$").unwrap();
//! let found = pattern.search("a b=12\n", 0).unwrap().unwrap();
//! assert_eq!(found.group("a b=12\n", 2), Some("12"));
//! let template = Template::parse(&pattern, r"\g<key>: \2").unwrap();
//! assert_eq!(pattern.sub("b=12", &template, 0).unwrap(), ("b: 12".to_owned(), 1));
//! ```
//!
//! What differs in syntax is translated ([`Pattern::new`]): `\Z`, `$` before a last newline, `{,n}`, braces and brackets
//! that stand for themselves, octal escapes, `(?#...)`, `(?x)`, `(?a)`, possessive repeats. Errors have Python's words.
//! [`BytesPattern`] is for expressions over bytes, where classes are ASCII and `.` is any byte.

mod template;
mod translate;

use fancy_regex::{BytesMode, Regex, RegexBuilder, RegexInput};

pub use template::Template;

/// Flags of expressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `re.IGNORECASE`.
    pub ignore_case: bool,
    /// `re.MULTILINE`.
    pub multi_line: bool,
    /// `re.DOTALL`.
    pub dot_all: bool,
    /// `re.VERBOSE`.
    pub verbose: bool,
    /// `re.ASCII`.
    pub ascii: bool,
}

/// Why an expression or a template is none, in Python's words: `unbalanced parenthesis at position 3`; or why a search was
/// given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Where an expression matched, in bytes of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    spans: Vec<Option<(usize, usize)>>,
}

impl Match {
    /// Where it begins.
    pub fn start(&self) -> usize {
        self.spans[0].map_or(0, |span| span.0)
    }

    /// Where it ends.
    pub fn end(&self) -> usize {
        self.spans[0].map_or(0, |span| span.1)
    }

    /// Where a group begins and ends, if it took part.
    pub fn span(&self, group: usize) -> Option<(usize, usize)> {
        self.spans.get(group).copied().flatten()
    }

    /// The text of a group of the text that was searched.
    pub fn group<'t>(&self, text: &'t str, group: usize) -> Option<&'t str> {
        self.span(group)
            .and_then(|(start, end)| text.get(start..end))
    }

    /// The bytes of a group of the bytes that were searched.
    pub fn group_bytes<'t>(&self, bytes: &'t [u8], group: usize) -> Option<&'t [u8]> {
        self.span(group)
            .and_then(|(start, end)| bytes.get(start..end))
    }

    /// How many groups there are, the whole match not counted.
    pub fn groups(&self) -> usize {
        self.spans.len() - 1
    }
}

/// An expression, compiled.
#[derive(Clone, Debug)]
struct Compiled {
    regex: Regex,
    /// The same, but only for whole texts.
    full: Option<Regex>,
    flags: Flags,
    groups: usize,
    names: Vec<(String, usize)>,
}

impl Compiled {
    fn new(expression: &str, flags: Flags, bytes: bool) -> Result<Self, Error> {
        let translated = translate::translate(expression, flags, bytes)?;
        let build = |pattern: String| {
            RegexBuilder::new(&pattern)
                .case_insensitive(translated.flags.ignore_case)
                .dot_matches_new_line(translated.flags.dot_all)
                .bytes_mode(if bytes {
                    BytesMode::Ascii
                } else {
                    BytesMode::Unicode
                })
                .backtrack_limit(50_000_000)
                .build()
                .map_err(|error| Error(error.to_string()))
        };
        let regex = build(translated.pattern.clone())?;
        let full = build(format!("(?:{})\\z", translated.pattern)).ok();
        Ok(Compiled {
            regex,
            full,
            flags: translated.flags,
            groups: translated.groups,
            names: translated.names,
        })
    }

    fn run(
        &self,
        text: &[u8],
        as_text: Option<&str>,
        from: usize,
        anchored: bool,
        full: bool,
    ) -> Result<Option<Match>, Error> {
        let regex = match (&self.full, full) {
            (Some(full), true) => full,
            (None, true) => return Ok(None),
            (_, false) => &self.regex,
        };
        let failed = |error: fancy_regex::Error| Error(error.to_string());
        let spans = match as_text {
            Some(text) => regex
                .captures_input(RegexInput::new(text).from_pos(from).anchored(anchored))
                .map_err(failed)?
                .map(|found| {
                    (0..=self.groups)
                        .map(|group| found.get(group).map(|m| (m.start(), m.end())))
                        .collect()
                }),
            None => regex
                .captures_input(RegexInput::new(text).from_pos(from).anchored(anchored))
                .map_err(failed)?
                .map(|found| {
                    (0..=self.groups)
                        .map(|group| found.get(group).map(|m| (m.start(), m.end())))
                        .collect()
                }),
        };
        Ok(spans.map(|spans| Match { spans }))
    }

    fn find_all(
        &self,
        text: &[u8],
        as_text: Option<&str>,
        most: usize,
    ) -> Result<Vec<Match>, Error> {
        let mut found = Vec::new();
        let mut from = 0;
        let mut last_empty_at = None;
        while from <= text.len() && (most == 0 || found.len() < most) {
            let Some(one) = self.run(text, as_text, from, false, false)? else {
                break;
            };
            let (start, end) = (one.start(), one.end());
            if start == end && last_empty_at == Some(start) {
                from = next(text, as_text, start);
                last_empty_at = None;
                continue;
            }
            from = end;
            last_empty_at = (start == end).then_some(end);
            found.push(one);
        }
        Ok(found)
    }
}

/// The place after the character (or the byte) at a place.
fn next(text: &[u8], as_text: Option<&str>, at: usize) -> usize {
    let mut next = at + 1;
    if let Some(text) = as_text {
        while next < text.len() && !text.is_char_boundary(next) {
            next += 1;
        }
    }
    next.min(text.len() + 1)
}

/// An expression over texts.
#[derive(Clone, Debug)]
pub struct Pattern {
    compiled: Compiled,
}

impl Pattern {
    /// Compiles an expression of Python.
    pub fn new(expression: &str) -> Result<Self, Error> {
        Pattern::with(expression, Flags::default())
    }

    /// Compiles an expression of Python, with flags.
    pub fn with(expression: &str, flags: Flags) -> Result<Self, Error> {
        Compiled::new(expression, flags, false).map(|compiled| Pattern { compiled })
    }

    /// How many groups it has.
    pub fn groups(&self) -> usize {
        self.compiled.groups
    }

    /// The flags it was compiled with, and those set at its start.
    pub fn flags(&self) -> Flags {
        self.compiled.flags
    }

    /// Its groups that have names, with their numbers, in their order.
    pub fn names(&self) -> &[(String, usize)] {
        &self.compiled.names
    }

    /// The first match from a place on (`re.search`).
    pub fn search(&self, text: &str, from: usize) -> Result<Option<Match>, Error> {
        self.compiled
            .run(text.as_bytes(), Some(text), from, false, false)
    }

    /// A match that begins at a place (`re.match`).
    pub fn match_at(&self, text: &str, at: usize) -> Result<Option<Match>, Error> {
        self.compiled
            .run(text.as_bytes(), Some(text), at, true, false)
    }

    /// A match of the whole text (`re.fullmatch`).
    pub fn full_match(&self, text: &str) -> Result<Option<Match>, Error> {
        self.compiled
            .run(text.as_bytes(), Some(text), 0, true, true)
    }

    /// All matches that do not overlap (`re.finditer`).
    pub fn find_all(&self, text: &str) -> Result<Vec<Match>, Error> {
        self.compiled.find_all(text.as_bytes(), Some(text), 0)
    }

    /// Replaces matches, at most `most` of them (0 for all), by a template: the text and how many (`re.subn`).
    pub fn sub(
        &self,
        text: &str,
        template: &Template,
        most: usize,
    ) -> Result<(String, usize), Error> {
        self.sub_with(text, most, |found| template.expand(text, found))
    }

    /// Replaces matches, at most `most` of them (0 for all), by what is made of each.
    pub fn sub_with(
        &self,
        text: &str,
        most: usize,
        mut make: impl FnMut(&Match) -> String,
    ) -> Result<(String, usize), Error> {
        let found = self.compiled.find_all(text.as_bytes(), Some(text), most)?;
        let mut made = String::with_capacity(text.len());
        let mut at = 0;
        for one in &found {
            made.push_str(&text[at..one.start()]);
            made.push_str(&make(one));
            at = one.end();
        }
        made.push_str(&text[at..]);
        Ok((made, found.len()))
    }

    /// Splits a text at matches, at most `most` times (0 for all); groups of the expression are among the pieces
    /// (`re.split`).
    pub fn split(&self, text: &str, most: usize) -> Result<Vec<Option<String>>, Error> {
        let mut pieces = Vec::new();
        let mut at = 0;
        for one in self.compiled.find_all(text.as_bytes(), Some(text), most)? {
            pieces.push(Some(text[at..one.start()].to_owned()));
            for group in 1..=self.groups() {
                pieces.push(one.group(text, group).map(str::to_owned));
            }
            at = one.end();
        }
        pieces.push(Some(text[at..].to_owned()));
        Ok(pieces)
    }
}

/// An expression over bytes.
#[derive(Clone, Debug)]
pub struct BytesPattern {
    compiled: Compiled,
}

impl BytesPattern {
    /// Compiles an expression of Python, with flags.
    pub fn with(expression: &str, flags: Flags) -> Result<Self, Error> {
        Compiled::new(expression, flags, true).map(|compiled| BytesPattern { compiled })
    }

    /// Compiles an expression of Python.
    pub fn new(expression: &str) -> Result<Self, Error> {
        BytesPattern::with(expression, Flags::default())
    }

    /// How many groups it has.
    pub fn groups(&self) -> usize {
        self.compiled.groups
    }

    /// Its groups that have names, with their numbers, in their order.
    pub fn names(&self) -> &[(String, usize)] {
        &self.compiled.names
    }

    /// The first match from a place on (`re.search`).
    pub fn search(&self, bytes: &[u8], from: usize) -> Result<Option<Match>, Error> {
        self.compiled.run(bytes, None, from, false, false)
    }

    /// A match that begins at a place (`re.match`).
    pub fn match_at(&self, bytes: &[u8], at: usize) -> Result<Option<Match>, Error> {
        self.compiled.run(bytes, None, at, true, false)
    }

    /// All matches that do not overlap (`re.finditer`).
    pub fn find_all(&self, bytes: &[u8]) -> Result<Vec<Match>, Error> {
        self.compiled.find_all(bytes, None, 0)
    }

    /// Replaces matches, at most `most` of them (0 for all), by a template: the bytes and how many (`re.subn`).
    pub fn sub(
        &self,
        bytes: &[u8],
        template: &Template,
        most: usize,
    ) -> Result<(Vec<u8>, usize), Error> {
        let found = self.compiled.find_all(bytes, None, most)?;
        let mut made = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for one in &found {
            made.extend_from_slice(&bytes[at..one.start()]);
            made.extend_from_slice(&template.expand_bytes(bytes, one));
            at = one.end();
        }
        made.extend_from_slice(&bytes[at..]);
        Ok((made, found.len()))
    }
}

/// A text as an expression that matches it alone (`re.escape`).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
