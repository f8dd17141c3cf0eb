//! RE2's syntax of regular expressions, as Go has it, in terms of the one our engine reads. They mean the same but for
//! some classes that are ASCII in RE2, brackets and operators within classes, and a few escapes.

/// `pattern` for our engine.
///
/// # Errors
/// For what RE2 refuses, with its words.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator {
        pattern,
        chars: pattern.char_indices().collect(),
        at: 0,
        out: String::with_capacity(pattern.len() + 8),
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'p> {
    pattern: &'p str,
    chars: Vec<(usize, char)>,
    at: usize,
    out: String,
}

const PERL_CLASSES: [(char, &str); 3] = [
    ('d', "0-9"),
    ('w', "0-9A-Za-z_"),
    ('s', "\\t\\n\\x0c\\r\\x20"),
];

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).map(|(_, c)| *c)
    }

    fn offset(&self) -> usize {
        self.chars
            .get(self.at)
            .map_or(self.pattern.len(), |(offset, _)| *offset)
    }

    fn run(&mut self) -> Result<(), String> {
        let mut open = 0usize;
        // Where the last repetition began, if the last thing was one, and whether there is something to repeat.
        let mut repeated: Option<usize> = None;
        let mut repeatable = false;
        while let Some(c) = self.peek(0) {
            let start = self.offset();
            match c {
                '\\' => {
                    self.escape(false)?;
                    (repeatable, repeated) = (true, None);
                }
                '[' => {
                    self.class()?;
                    (repeatable, repeated) = (true, None);
                }
                '(' => {
                    open += usize::from(self.group(start)?);
                    (repeatable, repeated) = (false, None);
                }
                ')' => {
                    if open == 0 {
                        return Err(format!("unexpected ) in {}", self.pattern));
                    }
                    open -= 1;
                    self.push(')');
                    (repeatable, repeated) = (true, None);
                }
                '|' => {
                    self.push('|');
                    (repeatable, repeated) = (false, None);
                }
                '*' | '+' | '?' => {
                    self.at += 1;
                    let lazy = self.peek(0) == Some('?');
                    self.at += usize::from(lazy);
                    self.repetition(start, repeatable, &mut repeated)?;
                    self.out.push(c);
                    if lazy {
                        self.out.push('?');
                    }
                }
                '{' => match self.counts() {
                    None => {
                        self.out.push_str("\\{");
                        self.at += 1;
                        (repeatable, repeated) = (true, None);
                    }
                    Some(counts) => {
                        let lazy = self.peek(0) == Some('?');
                        self.at += usize::from(lazy);
                        self.repetition(start, repeatable, &mut repeated)?;
                        let whole = &self.pattern[start..self.offset()];
                        if counts.iter().flatten().any(|n| *n > 1000)
                            || matches!(counts, [Some(a), Some(b)] if a > b)
                        {
                            return Err(format!("invalid repeat count in {whole}"));
                        }
                        self.out.push_str(whole);
                    }
                },
                '}' => {
                    self.out.push_str("\\}");
                    self.at += 1;
                    (repeatable, repeated) = (true, None);
                }
                c => {
                    self.push(c);
                    (repeatable, repeated) = (true, None);
                }
            }
        }
        if open > 0 {
            return Err(format!("missing closing ) in {}", self.pattern));
        }
        Ok(())
    }

    fn push(&mut self, c: char) {
        self.out.push(c);
        self.at += 1;
    }

    /// Checks a repetition operator that began at `start` and was just passed over.
    fn repetition(
        &self,
        start: usize,
        repeatable: bool,
        repeated: &mut Option<usize>,
    ) -> Result<(), String> {
        let operator = &self.pattern[start..self.offset()];
        if let Some(first) = *repeated {
            let both = &self.pattern[first..self.offset()];
            return Err(format!("invalid nested repetition operator in {both}"));
        }
        if !repeatable {
            return Err(format!(
                "missing argument to repetition operator in {operator}"
            ));
        }
        *repeated = Some(start);
        Ok(())
    }

    /// Passes over `{n}`, `{n,}` or `{n,m}`; anything else with a brace is text.
    fn counts(&mut self) -> Option<[Option<u32>; 2]> {
        let end = self.chars[self.at..].iter().position(|(_, c)| *c == '}')?;
        let body: String = self.chars[self.at + 1..self.at + end]
            .iter()
            .map(|(_, c)| *c)
            .collect();
        let number = |s: &str| {
            (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()))
                .then(|| s.parse::<u32>().unwrap_or(u32::MAX))
        };
        let counts = match body.split_once(',') {
            None => [Some(number(&body)?), None],
            Some((least, "")) => [Some(number(least)?), None],
            Some((least, most)) => [Some(number(least)?), Some(number(most)?)],
        };
        self.at += end + 1;
        Some(counts)
    }

    /// Passes over the start of a group; false where it only sets flags and is closed already.
    fn group(&mut self, start: usize) -> Result<bool, String> {
        let rest = &self.pattern[start..];
        let Some(special) = rest.strip_prefix("(?") else {
            self.push('(');
            return Ok(true);
        };
        let named = special.strip_prefix("P<").or_else(|| {
            special
                .strip_prefix('<')
                .filter(|rest| !rest.starts_with(['=', '!']))
        });
        if let Some(name) = named {
            let Some(end) = name.find('>') else {
                return Err(format!("invalid named capture in {rest}"));
            };
            let name = &name[..end];
            let whole = &rest[..rest.find('>').map_or(rest.len(), |i| i + 1)];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("invalid named capture in {whole}"));
            }
            // A name may start with a digit there but not here; the number of the group finds it.
            self.out.push_str(&format!("(?P<g_{name}>"));
            self.at += whole.chars().count();
            return Ok(true);
        }
        // Flags: letters, perhaps a minus and more letters, then a colon or the end.
        let flags = special.len() - special.trim_start_matches(['i', 'm', 's', 'U', '-']).len();
        match special[flags..].chars().next() {
            Some(close @ (':' | ')')) => {
                let flags = &special[..flags];
                self.out.push_str("(?");
                self.out.push_str(flags);
                self.out.push(close);
                self.at += 3 + flags.len();
                Ok(close == ':')
            }
            None => Err(format!("missing closing ) in {}", self.pattern)),
            Some(c) => {
                let end = 2 + flags + c.len_utf8();
                Err(format!(
                    "invalid or unsupported Perl syntax in {}",
                    &rest[..end]
                ))
            }
        }
    }

    fn escape(&mut self, class: bool) -> Result<(), String> {
        let start = self.offset();
        let Some(c) = self.peek(1) else {
            return Err("trailing backslash at end of expression in ".to_owned());
        };
        let invalid = |end: usize| {
            let part = &self.pattern[start..end];
            Err(format!("invalid escape sequence in {part}"))
        };
        if let Some((_, set)) = PERL_CLASSES
            .iter()
            .find(|(name, _)| *name == c.to_ascii_lowercase())
        {
            let negated = if c.is_ascii_uppercase() { "^" } else { "" };
            if class && negated.is_empty() {
                self.out.push_str(set);
            } else {
                self.out.push_str(&format!("[{negated}{set}]"));
            }
            self.at += 2;
            return Ok(());
        }
        match c {
            'b' if !class => {
                self.out.push_str("(?-u:\\b)");
                self.at += 2;
            }
            'B' if !class => {
                self.out.push_str("\\B");
                self.at += 2;
            }
            'A' | 'z' if !class => {
                self.out.push('\\');
                self.out.push(c);
                self.at += 2;
            }
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
                self.out.push('\\');
                self.out.push(c);
                self.at += 2;
            }
            'p' | 'P' => {
                self.out.push('\\');
                self.out.push(c);
                self.at += 2;
                if self.peek(0) == Some('{') {
                    while let Some(c) = self.peek(0) {
                        self.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                } else if let Some(c) = self.peek(0) {
                    self.push(c);
                }
            }
            'x' => {
                self.at += 2;
                let braced = self.peek(0) == Some('{');
                let mut digits = String::new();
                self.at += usize::from(braced);
                while let Some(c) = self.peek(0).filter(char::is_ascii_hexdigit) {
                    if !braced && digits.len() == 2 {
                        break;
                    }
                    digits.push(c);
                    self.at += 1;
                }
                let complete = if braced {
                    let closed = self.peek(0) == Some('}');
                    self.at += usize::from(closed);
                    closed && !digits.is_empty()
                } else {
                    digits.len() == 2
                };
                if !complete {
                    return invalid(self.offset());
                }
                self.out.push_str(&format!("\\x{{{digits}}}"));
            }
            'Q' if !class => {
                self.at += 2;
                let rest = &self.pattern[self.offset()..];
                let text = rest.split("\\E").next().unwrap_or_default().to_owned();
                self.out.push_str(&regex::escape(&text));
                self.at += text.chars().count();
                if self.peek(0).is_some() {
                    self.at += 2;
                }
            }
            '0'..='7' => {
                self.at += 1;
                let mut digits = String::new();
                while let Some(c) = self.peek(0).filter(|c| ('0'..='7').contains(c)) {
                    if digits.len() == 3 {
                        break;
                    }
                    digits.push(c);
                    self.at += 1;
                }
                if digits.len() == 1 && digits != "0" {
                    return invalid(self.offset());
                }
                let value = u32::from_str_radix(&digits, 8).unwrap_or(0);
                self.out.push_str(&format!("\\x{{{value:x}}}"));
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                self.out.push_str(&regex::escape(&c.to_string()));
                self.at += 2;
            }
            c => {
                let end = start + 1 + c.len_utf8();
                return Err(format!(
                    "invalid escape sequence in {}",
                    &self.pattern[start..end]
                ));
            }
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.offset();
        self.push('[');
        if self.peek(0) == Some('^') {
            self.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.peek(0) else {
                return Err(format!("missing closing ] in {}", &self.pattern[start..]));
            };
            match c {
                ']' if !first => {
                    self.push(']');
                    return Ok(());
                }
                '[' if self.peek(1) == Some(':') => {
                    let rest = &self.pattern[self.offset()..];
                    match rest.find(":]") {
                        Some(end) => {
                            let name: String = rest[..end + 2].to_owned();
                            self.at += name.chars().count();
                            self.out.push_str(&name);
                        }
                        None => {
                            self.out.push_str("\\[");
                            self.at += 1;
                        }
                    }
                }
                '\\' => self.escape(true)?,
                // A minus is a range unless it stands at an end, where our engine wants it escaped.
                '-' if first || self.peek(1) == Some(']') => {
                    self.out.push_str("\\-");
                    self.at += 1;
                }
                '-' => self.push('-'),
                c if c.is_ascii_punctuation() => {
                    self.out.push('\\');
                    self.push(c);
                }
                c => self.push(c),
            }
            first = false;
        }
    }
}
