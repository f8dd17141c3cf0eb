//! Go's pattern syntax in the regex crate's: the classes `\d`, `\w`, `\s` and `\b` mean ASCII, brackets and operators of
//! sets inside classes are literal, `\Q..\E` quotes, a brace that starts no repetition is literal.

/// A pattern of Go's `regexp` as one of the regex crate.
pub(crate) fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        out: String::with_capacity(pattern.len()),
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
}

const DIGITS: &str = "0-9";
const WORDS: &str = "0-9A-Za-z_";
const SPACES: &str = r"\t\n\x0C\r ";

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn literal(&mut self, c: char) {
        self.out
            .push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn run(&mut self) -> Result<(), &'static str> {
        // Whether something stands before that can be repeated, and whether it is repeated already.
        let mut repeated = false;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            let mut repeats = false;
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' => {
                    if let Some(length) = self.repetition()? {
                        repeats = true;
                        let text: String =
                            self.chars[self.at - 1..self.at + length].iter().collect();
                        self.out.push_str(&text);
                        self.at += length;
                    } else {
                        self.out.push_str(r"\{");
                    }
                }
                '}' | ']' => self.literal(c),
                '*' | '+' | '?' => {
                    repeats = true;
                    self.out.push(c);
                }
                other => self.out.push(other),
            }
            if repeats {
                if repeated {
                    return Err("invalid nested repetition operator");
                }
                if self.peek(0) == Some('?') {
                    self.out.push('?');
                    self.at += 1;
                }
            }
            repeated = repeats;
        }
        Ok(())
    }

    /// The length of `n}`, `n,}` or `n,m}` from here; none when the brace starts no repetition.
    fn repetition(&self) -> Result<Option<usize>, &'static str> {
        let mut at = self.at;
        let number = |at: &mut usize| {
            let start = *at;
            while self.chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            let digits: String = self.chars[start..*at].iter().collect();
            digits
                .parse::<u32>()
                .ok()
                .or((!digits.is_empty()).then_some(u32::MAX))
        };
        let Some(least) = number(&mut at) else {
            return Ok(None);
        };
        let mut most = Some(least);
        if self.chars.get(at) == Some(&',') {
            at += 1;
            most = number(&mut at);
        }
        if self.chars.get(at) != Some(&'}') {
            return Ok(None);
        }
        if least > 1000 || most.is_some_and(|most| most > 1000 || most < least) {
            return Err("invalid repeat count");
        }
        Ok(Some(at + 1 - self.at))
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), &'static str> {
        let Some(c) = self.peek(0) else {
            return Err("trailing backslash at end of expression");
        };
        self.at += 1;
        let set = |body: &str, negated: bool| match (in_class, negated) {
            (true, false) => body.to_owned(),
            (_, true) => format!("[^{body}]"),
            (false, false) => format!("[{body}]"),
        };
        match c {
            'd' => self.out.push_str(&set(DIGITS, false)),
            'D' => self.out.push_str(&set(DIGITS, true)),
            'w' => self.out.push_str(&set(WORDS, false)),
            'W' => self.out.push_str(&set(WORDS, true)),
            's' => self.out.push_str(&set(SPACES, false)),
            'S' => self.out.push_str(&set(SPACES, true)),
            'b' | 'B' if !in_class => {
                // Only the ASCII words of Go make a boundary.
                self.out
                    .push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            }
            'A' | 'z' if !in_class => {
                self.out.push('\\');
                self.out.push(c);
            }
            'Q' if !in_class => {
                while let Some(c) = self.peek(0) {
                    if c == '\\' && self.peek(1) == Some('E') {
                        self.at += 2;
                        return Ok(());
                    }
                    self.literal(c);
                    self.at += 1;
                }
            }
            'a' => self.out.push_str(r"\x07"),
            'f' => self.out.push_str(r"\x0C"),
            'v' => self.out.push_str(r"\x0B"),
            't' | 'n' | 'r' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'p' | 'P' => {
                self.out.push('\\');
                self.out.push(c);
                if self.peek(0) == Some('{') {
                    while let Some(c) = self.peek(0) {
                        self.out.push(c);
                        self.at += 1;
                        if c == '}' {
                            break;
                        }
                    }
                } else if let Some(c) = self.peek(0) {
                    self.out.push(c);
                    self.at += 1;
                }
            }
            'x' => self.hexadecimal()?,
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                // A single digit other than zero would be a reference backwards, which there is none of.
                if c != '0' && !self.peek(0).is_some_and(|c| c.is_digit(8)) {
                    return Err("invalid escape sequence");
                }
                for _ in 0..2 {
                    let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                self.out.push_str(&format!(r"\x{{{code:X}}}"));
            }
            c if c.is_ascii_punctuation() => self.literal_or_set(c),
            _ => return Err("invalid escape sequence"),
        }
        Ok(())
    }

    fn literal_or_set(&mut self, c: char) {
        if c.is_ascii_punctuation() && !matches!(c, '_' | '<' | '>') {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn hexadecimal(&mut self) -> Result<(), &'static str> {
        let braced = self.peek(0) == Some('{');
        let digits: String = if braced {
            self.chars[self.at + 1..]
                .iter()
                .take_while(|c| c.is_ascii_hexdigit())
                .collect()
        } else {
            self.chars[self.at..]
                .iter()
                .take(2)
                .filter(|c| c.is_ascii_hexdigit())
                .collect()
        };
        let length = digits.len();
        let complete = if braced {
            length > 0 && self.peek(1 + length) == Some('}')
        } else {
            length == 2
        };
        if !complete {
            return Err("invalid escape sequence");
        }
        self.at += if braced { length + 2 } else { 2 };
        self.out.push_str(&format!(r"\x{{{digits}}}"));
        Ok(())
    }

    /// A class in brackets, of which the first bracket is read.
    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.out.push('^');
            self.at += 1;
        }
        let mut first = true;
        loop {
            let Some(c) = self.peek(0) else {
                return Err("missing closing ]");
            };
            self.at += 1;
            match c {
                ']' if !first => break,
                '[' if self.peek(0) == Some(':') => {
                    let name: String = self.chars[self.at..]
                        .iter()
                        .take_while(|c| **c != ']')
                        .collect();
                    if !name.ends_with(':') || name.len() < 3 {
                        self.out.push_str(r"\[");
                    } else {
                        self.out.push('[');
                        self.out.push_str(&name);
                        self.out.push(']');
                        self.at += name.chars().count() + 1;
                    }
                }
                '\\' => self.escape(true)?,
                '-' => {
                    // A range only between two items; elsewhere the sign itself.
                    let ends = first || self.peek(0) == Some(']');
                    self.out.push_str(if ends { r"\-" } else { "-" });
                }
                ']' | '[' | '&' | '~' | '^' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                other => self.out.push(other),
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in [
            (r"^\d+$", "123", "١"),
            (r"^[\w-]+$", "a-b", "ä"),
            (r"^[[a]+$", "[a", "b"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^[a&&b]+$", "&ab", "c"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^[^\D]$", "1", "a"),
            (r"^x{2}$", "xx", "x"),
            (r"^[]a]+$", "]a", "b"),
            (r"^\x41\x{42}\103$", "ABC", "abc"),
            (r"^[a-]$", "-", "b"),
            (r"^[0-9a-fA-F]{8}\b-$", "deadBEEF-", "deadBEEG-"),
            (r"^[[:alpha:]]$", "x", "1"),
        ] {
            let translated = translate(pattern).expect(pattern);
            let regex = regex::Regex::new(&translated).expect(pattern);
            assert!(regex.is_match(yes), "{pattern} on {yes}");
            assert!(!regex.is_match(no), "{pattern} on {no}");
        }
        for pattern in [r"a**", r"\8", "[a", r"a{1001}", "\\"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
