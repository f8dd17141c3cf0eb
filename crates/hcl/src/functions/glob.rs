//! Patterns of `fileset`: `*`, `?`, `[a-z]`, `{a,b}` within one part of a path, `**` for any number of parts.

use std::collections::BTreeSet;
use std::path::Path;

use super::file::clean;

const DEPTH_LIMIT: usize = 256;

/// The regular files below `root` whose path from there matches `pattern`.
///
/// # Errors
/// For a pattern that is none.
pub(super) fn files(root: &Path, pattern: &str) -> Result<BTreeSet<String>, String> {
    let pattern = clean(pattern.trim_start_matches('/'));
    let mut expanded = Vec::new();
    alternatives(&pattern, &mut expanded)?;
    let mut found = BTreeSet::new();
    for pattern in expanded {
        let parts: Vec<&str> = pattern.split('/').collect();
        for part in &parts {
            check(part)?;
        }
        descend(root, &parts, "", 0, &mut found);
    }
    Ok(found)
}

/// The pattern with each choice of its alternatives.
fn alternatives(pattern: &str, out: &mut Vec<String>) -> Result<(), String> {
    const SYNTAX: &str = "syntax error in pattern";
    if out.len() > 10_000 {
        return Err("too many alternatives".to_owned());
    }
    let mut escaped = false;
    let mut open: Option<usize> = None;
    let mut commas = Vec::new();
    let mut depth = 0usize;
    for (i, c) in pattern.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' => escaped = true,
            '{' => {
                if depth == 0 && open.is_none() {
                    open = Some(i);
                }
                depth += 1;
            }
            ',' if depth == 1 => commas.push(i),
            '}' if depth > 0 => {
                depth -= 1;
                let Some(start) = open.filter(|_| depth == 0) else {
                    continue;
                };
                let mut from = start + 1;
                for end in commas.into_iter().chain([i]) {
                    let choice = format!(
                        "{}{}{}",
                        &pattern[..start],
                        &pattern[from..end],
                        &pattern[i + 1..]
                    );
                    alternatives(&choice, out)?;
                    from = end + 1;
                }
                return Ok(());
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(SYNTAX.to_owned());
    }
    out.push(pattern.to_owned());
    Ok(())
}

fn check(part: &str) -> Result<(), String> {
    matches(part, "").map(|_| ())
}

fn descend(dir: &Path, parts: &[&str], path: &str, depth: usize, found: &mut BTreeSet<String>) {
    let Some((first, rest)) = parts.split_first() else {
        return;
    };
    if depth > DEPTH_LIMIT {
        return;
    }
    let join = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        }
    };
    if *first == ".." || *first == "." {
        descend(&dir.join(first), rest, &join(first), depth + 1, found);
        return;
    }
    if *first == "**" && !rest.is_empty() {
        descend(dir, rest, path, depth + 1, found);
    }
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        let full = entry.path();
        if *first == "**" {
            // Links are not followed down, so that none leads round in circles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                descend(&full, parts, &join(name), depth + 1, found);
            } else if rest.is_empty() && full.is_file() {
                found.insert(join(name));
            }
            continue;
        }
        if !matches(first, name).unwrap_or(false) {
            continue;
        }
        if rest.is_empty() {
            if full.is_file() {
                found.insert(join(name));
            }
        } else if full.is_dir() {
            descend(&full, rest, &join(name), depth + 1, found);
        }
    }
}

/// Whether one part of a path matches one part of a pattern.
fn matches(pattern: &str, name: &str) -> Result<bool, String> {
    let pattern = compile(pattern)?;
    let name: Vec<char> = name.chars().collect();
    // Where to go on after the last star, if what follows it does not match.
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(Token::Star) => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(token) if token.takes(name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((after, at)) => {
                    back = Some((after, at + 1));
                    p = after;
                    n = at + 1;
                }
                None => return Ok(false),
            },
        }
    }
    Ok(pattern[p..]
        .iter()
        .all(|token| matches!(token, Token::Star)))
}

enum Token {
    Star,
    Any,
    Char(char),
    Class(bool, Vec<(char, char)>),
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Star => false,
            Token::Any => true,
            Token::Char(own) => *own == c,
            Token::Class(negated, ranges) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Vec<Token>, String> {
    let syntax = || "syntax error in pattern".to_owned();
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Char(chars.next().ok_or_else(syntax)?),
            '[' => {
                let negated = chars.next_if(|c| matches!(c, '^' | '!')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let mut one = || -> Result<Option<char>, String> {
                        match chars.next() {
                            None => Err(syntax()),
                            Some(']') if !ranges.is_empty() => Ok(None),
                            Some('\\') => chars.next().map(Some).ok_or_else(syntax),
                            Some(c) => Ok(Some(c)),
                        }
                    };
                    let Some(from) = one()? else {
                        break;
                    };
                    let mut to = from;
                    if chars.next_if_eq(&'-').is_some() {
                        to = match chars.next() {
                            None | Some(']') => return Err(syntax()),
                            Some('\\') => chars.next().ok_or_else(syntax)?,
                            Some(c) => c,
                        };
                    }
                    ranges.push((from, to));
                }
                Token::Class(negated, ranges)
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}
