//! Templates of replacements: `\1`, `\g<name>`, `\n`.

use super::{BytesPattern, Error, Match, Pattern};

/// A template of replacements, read.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
}

impl Template {
    /// Reads a template for an expression.
    pub fn parse(pattern: &Pattern, template: &str) -> Result<Self, Error> {
        Template::read(template, pattern.groups(), pattern.names(), false)
    }

    /// Reads a template for an expression over bytes.
    pub fn parse_bytes(pattern: &BytesPattern, template: &str) -> Result<Self, Error> {
        Template::read(template, pattern.groups(), pattern.names(), true)
    }

    fn read(
        template: &str,
        groups: usize,
        names: &[(String, usize)],
        bytes: bool,
    ) -> Result<Self, Error> {
        let characters: Vec<char> = template.chars().collect();
        let mut parts = Vec::new();
        let mut text: Vec<u8> = Vec::new();
        let mut at = 0;
        let push = |text: &mut Vec<u8>, character: char| {
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        };
        let push_code = |text: &mut Vec<u8>, code: u32| {
            if bytes {
                text.push(code as u8);
            } else if let Some(character) = char::from_u32(code) {
                push(text, character);
            }
        };
        while at < characters.len() {
            let begin = at;
            if characters[at] != '\\' {
                push(&mut text, characters[at]);
                at += 1;
                continue;
            }
            let Some(&escaped) = characters.get(at + 1) else {
                return Err(Error(format!(
                    "bad escape (end of pattern) at position {begin}"
                )));
            };
            at += 2;
            let group = match escaped {
                'g' => {
                    if characters.get(at) != Some(&'<') {
                        return Err(Error(format!("missing < at position {at}")));
                    }
                    let Some(length) = characters[at + 1..].iter().position(|c| *c == '>') else {
                        let rest = &characters[at + 1..];
                        return Err(Error(if rest.is_empty() {
                            format!("missing group name at position {}", at + 1)
                        } else {
                            format!("missing >, unterminated name at position {}", at + 1)
                        }));
                    };
                    let name: String = characters[at + 1..at + 1 + length].iter().collect();
                    let place = at + 1;
                    at += length + 2;
                    if name.is_empty() {
                        return Err(Error(format!("missing group name at position {place}")));
                    }
                    if name.bytes().all(|byte| byte.is_ascii_digit()) {
                        let number: usize = name.parse().unwrap_or(usize::MAX);
                        if number > groups {
                            return Err(Error(format!(
                                "invalid group reference {name} at position {place}"
                            )));
                        }
                        number
                    } else if !is_identifier(&name) {
                        return Err(Error(format!(
                            "bad character in group name {} at position {place}",
                            crate::python::repr(&name)
                        )));
                    } else {
                        match names.iter().find(|(known, _)| *known == name) {
                            Some((_, number)) => *number,
                            None => {
                                return Err(Error(format!(
                                    "unknown group name {}",
                                    crate::python::repr(&name)
                                )));
                            }
                        }
                    }
                }
                '0' => {
                    let mut code = 0;
                    let mut digits = 0;
                    while digits < 2
                        && let Some(digit) = characters.get(at).and_then(|c| c.to_digit(8))
                    {
                        code = code * 8 + digit;
                        at += 1;
                        digits += 1;
                    }
                    push_code(&mut text, code);
                    continue;
                }
                '1'..='9' => {
                    let first = escaped.to_digit(10).unwrap_or(0);
                    let second = characters.get(at).and_then(|c| c.to_digit(10));
                    let third = characters.get(at + 1).and_then(|c| c.to_digit(8));
                    if let (true, Some(second @ 0..=7), Some(third)) = (first <= 3, second, third) {
                        push_code(&mut text, first * 64 + second * 8 + third);
                        at += 2;
                        continue;
                    }
                    let mut number = first as usize;
                    if let Some(second) = second {
                        number = number * 10 + second as usize;
                        at += 1;
                    }
                    if number > groups {
                        return Err(Error(format!(
                            "invalid group reference {number} at position {}",
                            begin + 1
                        )));
                    }
                    number
                }
                'n' | 't' | 'r' | 'a' | 'b' | 'f' | 'v' | '\\' => {
                    text.push(match escaped {
                        'n' => b'\n',
                        't' => b'\t',
                        'r' => b'\r',
                        'a' => 7,
                        'b' => 8,
                        'f' => 12,
                        'v' => 11,
                        _ => b'\\',
                    });
                    continue;
                }
                other if other.is_ascii_alphabetic() => {
                    return Err(Error(format!("bad escape \\{other} at position {begin}")));
                }
                other => {
                    text.push(b'\\');
                    push(&mut text, other);
                    continue;
                }
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Group(group));
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template { parts })
    }

    /// The replacement for a match.
    pub fn expand(&self, text: &str, found: &Match) -> String {
        String::from_utf8_lossy(&self.expand_bytes(text.as_bytes(), found)).into_owned()
    }

    /// The replacement for a match in bytes.
    pub fn expand_bytes(&self, bytes: &[u8], found: &Match) -> Vec<u8> {
        let mut made = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => made.extend_from_slice(text),
                Part::Group(group) => {
                    made.extend_from_slice(found.group_bytes(bytes, *group).unwrap_or_default());
                }
            }
        }
        made
    }
}

pub(super) fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|c| c == '_' || c.is_alphabetic())
        && characters.all(|c| c == '_' || c.is_alphanumeric())
}
