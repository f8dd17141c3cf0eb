//! Translation of Python's syntax of expressions into that of fancy-regex.

mod characters;

use std::fmt::Write as _;

use characters::push_literal;

use super::template::is_identifier;
use super::{Error, Flags};

/// An expression, translated.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The flags, with those set at the start of the expression.
    pub(super) flags: Flags,
    pub(super) groups: usize,
    pub(super) names: Vec<(String, usize)>,
}

/// Groups inside of groups more than this are refused.
const DEEPEST: usize = 100;

pub(super) fn translate(expression: &str, flags: Flags, bytes: bool) -> Result<Translated, Error> {
    let mut translator = Translator {
        characters: expression.chars().collect(),
        at: 0,
        flags,
        bytes,
        out: String::with_capacity(expression.len() + 16),
        groups: 0,
        names: Vec::new(),
        open: Vec::new(),
        depth: 0,
    };
    translator.leading_flags()?;
    let whole = translator.flags;
    translator.alternatives()?;
    if translator.at < translator.characters.len() {
        return Err(Error(format!(
            "unbalanced parenthesis at position {}",
            translator.at
        )));
    }
    Ok(Translated {
        pattern: translator.out,
        flags: whole,
        groups: translator.groups,
        names: translator.names,
    })
}

struct Translator {
    characters: Vec<char>,
    at: usize,
    flags: Flags,
    bytes: bool,
    out: String,
    groups: usize,
    names: Vec<(String, usize)>,
    /// Groups not yet closed, which cannot be referred to.
    open: Vec<usize>,
    depth: usize,
}

impl Translator {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn follows(&self, text: &str) -> bool {
        text.chars()
            .enumerate()
            .all(|(offset, c)| self.characters.get(self.at + offset) == Some(&c))
    }

    fn fail<T>(&self, message: &str, at: usize) -> Result<T, Error> {
        // With several lines Python tells the line and the column too.
        if self.characters.contains(&'\n') {
            let before = &self.characters[..at.min(self.characters.len())];
            let line = before.iter().filter(|c| **c == '\n').count() + 1;
            let column = before
                .iter()
                .rposition(|c| *c == '\n')
                .map_or(at + 1, |newline| at - newline);
            return Err(Error(format!(
                "{message} at position {at} (line {line}, column {column})"
            )));
        }
        Err(Error(format!("{message} at position {at}")))
    }

    /// `(?i)` and the like at the very start, which hold for the whole expression.
    fn leading_flags(&mut self) -> Result<(), Error> {
        loop {
            if self.flags.verbose {
                self.skip_blank();
            }
            if !self.follows("(?") {
                return Ok(());
            }
            let letters: String = self.characters[self.at + 2..]
                .iter()
                .take_while(|c| c.is_ascii_alphabetic())
                .collect();
            let end = self.at + 2 + letters.len();
            if letters.is_empty()
                || letters.starts_with('P')
                || self.characters.get(end) != Some(&')')
            {
                return Ok(());
            }
            for letter in letters.chars() {
                self.set_flag(letter, true)?;
            }
            self.at = end + 1;
        }
    }

    fn set_flag(&mut self, letter: char, on: bool) -> Result<(), Error> {
        match letter {
            'i' => self.flags.ignore_case = on,
            'm' => self.flags.multi_line = on,
            's' => self.flags.dot_all = on,
            'x' => self.flags.verbose = on,
            'a' => self.flags.ascii = on,
            'u' => self.flags.ascii = false,
            'L' => {}
            _ => return self.fail("unknown extension ?", self.at + 1),
        }
        Ok(())
    }

    fn skip_blank(&mut self) {
        while let Some(character) = self.peek() {
            if character.is_ascii_whitespace() || character == '\u{b}' {
                self.at += 1;
            } else if character == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else {
                break;
            }
        }
    }

    fn alternatives(&mut self) -> Result<(), Error> {
        loop {
            self.sequence()?;
            if self.peek() == Some('|') {
                self.out.push('|');
                self.at += 1;
            } else {
                return Ok(());
            }
        }
    }

    fn sequence(&mut self) -> Result<(), Error> {
        // Where in the output the last item begins, if it can be repeated.
        let mut item: Option<usize> = None;
        let mut repeated = false;
        loop {
            if self.flags.verbose {
                self.skip_blank();
            }
            let Some(character) = self.peek() else {
                return Ok(());
            };
            let begin = self.out.len();
            let place = self.at;
            match character {
                '|' | ')' => return Ok(()),
                '*' | '+' | '?' | '{' => {
                    let Some(repeat) = self.repeat()? else {
                        // A brace that repeats nothing stands for itself.
                        self.out.push_str("\\{");
                        self.at += 1;
                        item = Some(begin);
                        repeated = false;
                        continue;
                    };
                    let Some(start) = item else {
                        return self.fail(
                            if repeated {
                                "multiple repeat"
                            } else {
                                "nothing to repeat"
                            },
                            place,
                        );
                    };
                    let mut possessive = false;
                    self.out.push_str(&repeat);
                    match self.peek() {
                        Some('?') => {
                            self.out.push('?');
                            self.at += 1;
                        }
                        Some('+') => {
                            possessive = true;
                            self.at += 1;
                        }
                        _ => {}
                    }
                    if possessive {
                        self.out.insert_str(start, "(?>");
                        self.out.push(')');
                    } else if self.out[start..].starts_with("(?=")
                        || self.out[start..].starts_with("(?!")
                    {
                        // Repeated assertions are wrapped, which the engine wants.
                        self.out.insert_str(start, "(?:");
                        let at = self.out.len() - repeat.len();
                        if self.out.ends_with(repeat.as_str()) {
                            self.out.insert(at, ')');
                        } else {
                            self.out.insert(at - 1, ')');
                        }
                    }
                    item = None;
                    repeated = true;
                    continue;
                }
                '(' => {
                    if self.group()? {
                        item = Some(begin);
                        repeated = false;
                    }
                    continue;
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' => {
                    self.at += 1;
                    self.out.push_str(if self.flags.multi_line {
                        "(?m:^)"
                    } else {
                        "\\A"
                    });
                    item = None;
                    repeated = false;
                    continue;
                }
                '$' => {
                    self.at += 1;
                    self.out.push_str(if self.flags.multi_line {
                        "(?m:$)"
                    } else {
                        "(?=\\n?\\z)"
                    });
                    item = None;
                    repeated = false;
                    continue;
                }
                '.' => {
                    self.at += 1;
                    self.out.push('.');
                }
                other => {
                    self.at += 1;
                    push_literal(&mut self.out, other);
                }
            }
            item = Some(begin);
            repeated = false;
        }
    }

    /// A repeat, translated; `None` for a brace that is none.
    fn repeat(&mut self) -> Result<Option<String>, Error> {
        match self.peek() {
            Some(sign @ ('*' | '+' | '?')) => {
                self.at += 1;
                Ok(Some(sign.to_string()))
            }
            _ => {
                let place = self.at;
                let mut at = self.at + 1;
                let number = |at: &mut usize| {
                    let begin = *at;
                    while self.characters.get(*at).is_some_and(char::is_ascii_digit) {
                        *at += 1;
                    }
                    self.characters[begin..*at].iter().collect::<String>()
                };
                let least = number(&mut at);
                let (most, comma) = if self.characters.get(at) == Some(&',') {
                    at += 1;
                    (number(&mut at), true)
                } else {
                    (least.clone(), false)
                };
                if self.characters.get(at) != Some(&'}') || (least.is_empty() && !comma) {
                    return Ok(None);
                }
                self.at = at + 1;
                let low: u64 = least.parse().unwrap_or(0);
                if !most.is_empty() && most.parse::<u64>().unwrap_or(u64::MAX) < low {
                    return self.fail("min repeat greater than max repeat", place + 1);
                }
                let least = if least.is_empty() { "0" } else { &least };
                Ok(Some(if comma {
                    format!("{{{least},{most}}}")
                } else {
                    format!("{{{least}}}")
                }))
            }
        }
    }

    /// A group. False if it was a comment or flags, which are no items.
    fn group(&mut self) -> Result<bool, Error> {
        let place = self.at;
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail("groups are nested too deeply", place);
        }
        let flags = self.flags;
        self.at += 1;
        let mut number = None;
        if self.peek() == Some('?') {
            self.at += 1;
            let Some(kind) = self.peek() else {
                return self.fail("unexpected end of pattern", self.at);
            };
            match kind {
                ':' | '=' | '!' | '>' => {
                    self.at += 1;
                    self.out.push_str("(?");
                    self.out.push(kind);
                }
                '#' => {
                    while let Some(character) = self.peek() {
                        self.at += 1;
                        if character == ')' {
                            self.depth -= 1;
                            return Ok(false);
                        }
                    }
                    return self.fail("missing ), unterminated comment", place);
                }
                '<' => {
                    self.at += 1;
                    match self.peek() {
                        Some(direction @ ('=' | '!')) => {
                            self.at += 1;
                            self.out.push_str("(?<");
                            self.out.push(direction);
                        }
                        Some(other) => {
                            return self.fail(&format!("unknown extension ?<{other}"), place + 1);
                        }
                        None => return self.fail("unexpected end of pattern", self.at),
                    }
                }
                'P' => {
                    self.at += 1;
                    match self.peek() {
                        Some('<') => {
                            self.at += 1;
                            let begin = self.at;
                            let name = self.name('>')?;
                            if self.names.iter().any(|(known, _)| *known == name) {
                                let known = self
                                    .names
                                    .iter()
                                    .find(|(known, _)| *known == name)
                                    .map_or(0, |(_, number)| *number);
                                return self.fail(
                                    &format!(
                                        "redefinition of group name {} as group {}; was group {known}",
                                        crate::python::repr(&name),
                                        self.groups + 1
                                    ),
                                    begin,
                                );
                            }
                            self.groups += 1;
                            number = Some(self.groups);
                            self.names.push((name, self.groups));
                            self.out.push('(');
                        }
                        Some('=') => {
                            self.at += 1;
                            let begin = self.at;
                            let name = self.name(')')?;
                            let Some(&(_, known)) =
                                self.names.iter().find(|(known, _)| *known == name)
                            else {
                                return self.fail(
                                    &format!("unknown group name {}", crate::python::repr(&name)),
                                    begin,
                                );
                            };
                            let _ = write!(self.out, "(?:\\{known})");
                            self.depth -= 1;
                            return Ok(true);
                        }
                        Some(other) => {
                            return self.fail(&format!("unknown extension ?P{other}"), place + 1);
                        }
                        None => return self.fail("unexpected end of pattern", self.at),
                    }
                }
                '(' => {
                    self.at += 1;
                    let begin = self.at;
                    let name = self.name_or_number(')')?;
                    let known = if name.bytes().all(|byte| byte.is_ascii_digit()) {
                        name.parse().unwrap_or(usize::MAX)
                    } else {
                        match self.names.iter().find(|(known, _)| *known == name) {
                            Some((_, known)) => *known,
                            None => {
                                return self.fail(
                                    &format!("unknown group name {}", crate::python::repr(&name)),
                                    begin,
                                );
                            }
                        }
                    };
                    let _ = write!(self.out, "(?({known})");
                }
                letter if letter.is_ascii_alphabetic() || letter == '-' => {
                    let mut on = true;
                    let mut written = String::new();
                    let mut cleared = String::new();
                    loop {
                        match self.peek() {
                            Some('-') if on => on = false,
                            Some(':') => break,
                            Some(')') => {
                                return self.fail(
                                    "global flags not at the start of the expression",
                                    place,
                                );
                            }
                            Some(letter) if letter.is_ascii_alphabetic() => {
                                if !"imsxauL".contains(letter) {
                                    return self.fail("unknown flag", self.at);
                                }
                                self.set_flag(letter, on)?;
                                if matches!(letter, 'i' | 's') {
                                    if on {
                                        written.push(letter);
                                    } else {
                                        cleared.push(letter);
                                    }
                                }
                            }
                            Some(_) | None => return self.fail("missing -, : or )", self.at),
                        }
                        self.at += 1;
                    }
                    self.at += 1;
                    self.out.push_str("(?");
                    self.out.push_str(&written);
                    if !cleared.is_empty() {
                        self.out.push('-');
                        self.out.push_str(&cleared);
                    }
                    self.out.push(':');
                }
                other => return self.fail(&format!("unknown extension ?{other}"), place + 1),
            }
        } else {
            self.groups += 1;
            number = Some(self.groups);
            self.out.push('(');
        }
        if let Some(number) = number {
            self.open.push(number);
        }
        self.alternatives()?;
        if self.peek() != Some(')') {
            return self.fail("missing ), unterminated subpattern", place);
        }
        self.at += 1;
        self.out.push(')');
        if number.is_some() {
            self.open.pop();
        }
        self.flags = flags;
        self.depth -= 1;
        Ok(true)
    }

    fn name_or_number(&mut self, end: char) -> Result<String, Error> {
        let begin = self.at;
        let Some(length) = self.characters[begin..].iter().position(|c| *c == end) else {
            return self.fail("missing ), unterminated name", begin);
        };
        if length == 0 {
            return self.fail("missing group name", begin);
        }
        self.at += length + 1;
        Ok(self.characters[begin..begin + length].iter().collect())
    }

    fn name(&mut self, end: char) -> Result<String, Error> {
        let begin = self.at;
        let Some(length) = self.characters[begin..].iter().position(|c| *c == end) else {
            return self.fail(
                if begin >= self.characters.len() {
                    "missing group name"
                } else if end == '>' {
                    "missing >, unterminated name"
                } else {
                    "missing ), unterminated name"
                },
                begin,
            );
        };
        let name: String = self.characters[begin..begin + length].iter().collect();
        if name.is_empty() {
            return self.fail("missing group name", begin);
        }
        if !is_identifier(&name) {
            return self.fail(
                &format!("bad character in group name {}", crate::python::repr(&name)),
                begin,
            );
        }
        self.at += length + 1;
        Ok(name)
    }
}
