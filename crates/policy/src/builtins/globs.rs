//! Whether two glob-like patterns have a string in common.

use regorus::Value;

use super::{Failure, Function, Outcome, text_at};

pub(super) const FUNCTIONS: &[Function] = &[("regex.globs_match", 2, globs_match)];

/// What one place of a pattern takes.
#[derive(Clone, Debug)]
enum Takes {
    Any,
    /// Inclusive ranges.
    Of(Vec<(char, char)>),
}

impl Takes {
    fn meets(&self, other: &Takes) -> bool {
        match (self, other) {
            (Takes::Any, _) | (_, Takes::Any) => true,
            (Takes::Of(left), Takes::Of(right)) => left
                .iter()
                .any(|(from, to)| right.iter().any(|(start, end)| from <= end && start <= to)),
        }
    }
}

/// A place, and whether it may be taken any number of times, none included.
type Place = (Takes, bool);

fn parse(pattern: &str) -> Result<Vec<Place>, Failure> {
    let mut places: Vec<Place> = Vec::new();
    let mut chars = pattern.chars().peekable();
    let mut open = false;
    while let Some(char) = chars.next() {
        let takes = match char {
            '*' | '+' => {
                let Some((takes, many)) = places.last_mut().filter(|_| open) else {
                    return Err(format!(
                        "input:{pattern}, pos:0, flag '{char}' must be preceded by a non-flag"
                    )
                    .into());
                };
                open = false;
                if char == '*' {
                    *many = true;
                } else {
                    let takes = takes.clone();
                    places.push((takes, true));
                }
                continue;
            }
            '.' => Takes::Any,
            '[' => set(pattern, &mut chars)?,
            ']' => {
                return Err(format!("input:{pattern}, set-close ']' with no preceding '['").into());
            }
            '\\' => {
                let char = chars.next().ok_or("input ends with an escape")?;
                Takes::Of(vec![(char, char)])
            }
            char => Takes::Of(vec![(char, char)]),
        };
        places.push((takes, false));
        open = true;
    }
    Ok(places)
}

fn set(
    pattern: &str,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<Takes, Failure> {
    let mut ranges = Vec::new();
    loop {
        let unclosed = || Failure::Other(format!("input:{pattern}, found [ without matching ]"));
        let from = match chars.next().ok_or_else(unclosed)? {
            ']' => return Ok(Takes::Of(ranges)),
            '\\' => chars.next().ok_or_else(unclosed)?,
            char => char,
        };
        if chars.peek() == Some(&'-') {
            chars.next();
            let to = match chars.next().ok_or_else(unclosed)? {
                '\\' => chars.next().ok_or_else(unclosed)?,
                char => char,
            };
            if to < from {
                return Err(
                    format!("input:{pattern}, the range {from}-{to} is out of order").into(),
                );
            }
            ranges.push((from, to));
        } else {
            ranges.push((from, from));
        }
    }
}

fn globs_match(operands: &[Value]) -> Outcome {
    let (left, right) = (parse(text_at(operands, 0)?)?, parse(text_at(operands, 1)?)?);
    // A walk through the pairs of places of both: at most as many as the product of their lengths.
    if left.len().saturating_mul(right.len()) > 4_000_000 {
        return Err("the patterns are too long".into());
    }
    let width = right.len() + 1;
    let mut seen = vec![false; (left.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        if std::mem::replace(&mut seen[i * width + j], true) {
            continue;
        }
        if (i, j) == (left.len(), right.len()) {
            return Ok(Value::from(true));
        }
        let (a, b) = (left.get(i), right.get(j));
        if matches!(a, Some((_, true))) {
            open.push((i + 1, j));
        }
        if matches!(b, Some((_, true))) {
            open.push((i, j + 1));
        }
        if let (Some((a, many_a)), Some((b, many_b))) = (a, b)
            && a.meets(b)
        {
            open.push((i + usize::from(!many_a), j + usize::from(!many_b)));
        }
    }
    Ok(Value::from(false))
}
