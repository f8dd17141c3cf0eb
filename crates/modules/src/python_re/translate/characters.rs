//! Single characters and sets of them: escapes and brackets.

use std::fmt::Write as _;

use super::Translator;
use crate::python_re::Error;

impl Translator {
    /// What follows a backslash outside of classes.
    pub(super) fn escape(&mut self) -> Result<(), Error> {
        let place = self.at;
        self.at += 1;
        let Some(escaped) = self.peek() else {
            return self.fail("bad escape (end of pattern)", place);
        };
        self.at += 1;
        match escaped {
            'A' => self.out.push_str("\\A"),
            'Z' => self.out.push_str("\\z"),
            'b' | 'B' if self.flags.ascii && !self.bytes => {
                self.out.push_str(if escaped == 'b' {
                    "(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))"
                } else {
                    "(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))"
                });
            }
            'b' | 'B' => {
                self.out.push('\\');
                self.out.push(escaped);
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => self.out.push_str(self.category(escaped)),
            '0' => {
                let code = self.octal(0, 2);
                self.push_code(code);
            }
            '1'..='9' => self.reference(place, escaped)?,
            _ => {
                let code = self.escaped_code(escaped, place)?;
                self.push_code(code);
            }
        }
        Ok(())
    }

    fn reference(&mut self, place: usize, first: char) -> Result<(), Error> {
        let first = first.to_digit(10).unwrap_or(0);
        let second = self.peek().and_then(|c| c.to_digit(10));
        let third = self.characters.get(self.at + 1).and_then(|c| c.to_digit(8));
        if let (true, Some(second @ 0..=7), Some(third)) = (first <= 3, second, third) {
            self.at += 2;
            self.push_code(first * 64 + second * 8 + third);
            return Ok(());
        }
        let mut number = first as usize;
        if let Some(second) = second {
            number = number * 10 + second as usize;
            self.at += 1;
        }
        if number > self.groups {
            return self.fail(&format!("invalid group reference {number}"), place + 1);
        }
        if self.open.contains(&number) {
            return self.fail("cannot refer to an open group", place);
        }
        let _ = write!(self.out, "(?:\\{number})");
        Ok(())
    }

    fn category(&self, letter: char) -> &'static str {
        if self.flags.ascii && !self.bytes {
            match letter {
                'd' => "[0-9]",
                'D' => "[^0-9]",
                's' => "[ \\t\\n\\r\\x0b\\x0c]",
                'S' => "[^ \\t\\n\\r\\x0b\\x0c]",
                'w' => "[0-9A-Za-z_]",
                _ => "[^0-9A-Za-z_]",
            }
        } else {
            match letter {
                'd' => "\\d",
                'D' => "\\D",
                's' => "\\s",
                'S' => "\\S",
                'w' => "\\w",
                _ => "\\W",
            }
        }
    }

    /// More octal digits after a value.
    fn octal(&mut self, value: u32, most: usize) -> u32 {
        let mut value = value;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                break;
            };
            value = value * 8 + digit;
            self.at += 1;
        }
        value
    }

    /// The character an escape stands for, in classes and outside of them.
    fn escaped_code(&mut self, escaped: char, place: usize) -> Result<u32, Error> {
        let hexadecimal = |this: &mut Self, digits: usize| {
            let text: String = this.characters[this.at..]
                .iter()
                .take(digits)
                .take_while(|c| c.is_ascii_hexdigit())
                .collect();
            if text.len() < digits {
                return this.fail(&format!("incomplete escape \\{escaped}{text}"), place);
            }
            this.at += digits;
            Ok(u32::from_str_radix(&text, 16).unwrap_or(0))
        };
        Ok(match escaped {
            'n' => 10,
            't' => 9,
            'r' => 13,
            'a' => 7,
            'f' => 12,
            'v' => 11,
            'x' => hexadecimal(self, 2)?,
            'u' if !self.bytes => hexadecimal(self, 4)?,
            'U' if !self.bytes => hexadecimal(self, 8)?,
            other if other.is_ascii_alphabetic() => {
                return self.fail(&format!("bad escape \\{other}"), place);
            }
            other => other as u32,
        })
    }

    fn push_code(&mut self, code: u32) {
        push_code(&mut self.out, code, self.bytes);
    }

    pub(super) fn class(&mut self) -> Result<(), Error> {
        let place = self.at;
        self.at += 1;
        self.out.push('[');
        if self.peek() == Some('^') {
            self.out.push('^');
            self.at += 1;
        }
        let first = self.at;
        loop {
            let Some(character) = self.peek() else {
                return self.fail("unterminated character set", place);
            };
            if character == ']' && self.at > first {
                self.at += 1;
                break;
            }
            let begin = self.at;
            let low = self.member()?;
            if self.peek() == Some('-')
                && self.characters.get(self.at + 1).is_some_and(|c| *c != ']')
            {
                self.at += 1;
                let high = self.member()?;
                let written: String = self.characters[begin..self.at].iter().collect();
                let (Some(low), Some(high)) = (low, high) else {
                    return self.fail(&format!("bad character range {written}"), begin);
                };
                if high < low {
                    return self.fail(&format!("bad character range {written}"), begin);
                }
                push_code(&mut self.out, low, self.bytes);
                self.out.push('-');
                push_code(&mut self.out, high, self.bytes);
            } else if let Some(low) = low {
                push_code(&mut self.out, low, self.bytes);
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// A member of a class: its code, or `None` for a category, which is already written.
    fn member(&mut self) -> Result<Option<u32>, Error> {
        let place = self.at;
        let Some(character) = self.peek() else {
            return self.fail("unterminated character set", place);
        };
        self.at += 1;
        if character != '\\' {
            return Ok(Some(character as u32));
        }
        let Some(escaped) = self.peek() else {
            return self.fail("bad escape (end of pattern)", place);
        };
        self.at += 1;
        Ok(Some(match escaped {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.out.push_str(self.category(escaped));
                return Ok(None);
            }
            'b' => 8,
            '0'..='7' => {
                let value = escaped.to_digit(8).unwrap_or(0);
                self.octal(value, 2)
            }
            _ => self.escaped_code(escaped, place)?,
        }))
    }
}

pub(super) fn push_literal(out: &mut String, character: char) {
    if character.is_ascii() {
        push_code(out, character as u32, false);
    } else {
        out.push(character);
    }
}

fn push_code(out: &mut String, code: u32, bytes: bool) {
    match char::from_u32(code) {
        Some(character)
            if character.is_ascii_alphanumeric()
                || matches!(
                    character,
                    '_' | ' ' | '/' | ',' | ':' | '"' | '\'' | '=' | '<' | '>' | '%' | '@' | ';'
                ) =>
        {
            out.push(character);
        }
        _ if bytes && code < 0x100 => {
            let _ = write!(out, "\\x{code:02x}");
        }
        _ => {
            let _ = write!(out, "\\x{{{code:x}}}");
        }
    }
}
