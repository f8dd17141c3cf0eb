//! The difference of two texts in the unified form, line for line as Python's `difflib` finds it.
//!
//! `difflib` looks for the longest run of equal lines, then left and right of it; a line that makes up more than a
//! hundredth of a text of 200 lines or more does not begin such a run. Other programs find other, equally right, differences;
//! this one is for output that is compared with Ansible's.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The lines of a text with their ends, as Python's `splitlines(True)` gives them.
pub fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        line.push(c);
        let ends = match c {
            '\r' => {
                if rest.peek() == Some(&'\n') {
                    line.extend(rest.next());
                }
                true
            }
            '\n' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}' => true,
            _ => false,
        };
        if ends {
            lines.push(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// A stretch of both texts: from, to (exclusive) in the one and the other.
type Stretch = (usize, usize, usize, usize);

/// The runs of equal lines, in order: begin in `a`, begin in `b`, length.
fn matches(a: &[String], b: &[String]) -> Vec<(usize, usize, usize)> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, line) in b.iter().enumerate() {
        places.entry(line).or_default().push(place);
    }
    if b.len() >= 200 {
        let many = b.len() / 100 + 1;
        places.retain(|_, at| at.len() <= many);
    }
    let mut found = Vec::new();
    let mut open = vec![(0, a.len(), 0, b.len())];
    while let Some(within) = open.pop() {
        let (i, j, length) = longest(a, b, &places, within);
        if length == 0 {
            continue;
        }
        found.push((i, j, length));
        let (from_a, to_a, from_b, to_b) = within;
        if from_a < i && from_b < j {
            open.push((from_a, i, from_b, j));
        }
        if i + length < to_a && j + length < to_b {
            open.push((i + length, to_a, j + length, to_b));
        }
    }
    found.sort_unstable();
    let mut joined: Vec<(usize, usize, usize)> = Vec::new();
    for (i, j, length) in found {
        match joined.last_mut() {
            Some((x, y, size)) if *x + *size == i && *y + *size == j => *size += length,
            _ => joined.push((i, j, length)),
        }
    }
    joined
}

fn longest(
    a: &[String],
    b: &[String],
    places: &HashMap<&str, Vec<usize>>,
    (from_a, to_a, from_b, to_b): Stretch,
) -> (usize, usize, usize) {
    let (mut best_i, mut best_j, mut best) = (from_a, from_b, 0);
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for (i, line) in a.iter().enumerate().take(to_a).skip(from_a) {
        let mut next = HashMap::new();
        for &j in places.get(line.as_str()).into_iter().flatten() {
            if j < from_b {
                continue;
            }
            if j >= to_b {
                break;
            }
            let length = j
                .checked_sub(1)
                .and_then(|j| lengths.get(&j))
                .copied()
                .unwrap_or(0)
                + 1;
            next.insert(j, length);
            if length > best {
                (best_i, best_j, best) = (i + 1 - length, j + 1 - length, length);
            }
        }
        lengths = next;
    }
    while best_i > from_a && best_j > from_b && a[best_i - 1] == b[best_j - 1] {
        (best_i, best_j, best) = (best_i - 1, best_j - 1, best + 1);
    }
    while best_i + best < to_a && best_j + best < to_b && a[best_i + best] == b[best_j + best] {
        best += 1;
    }
    (best_i, best_j, best)
}

#[derive(Clone, Copy)]
struct Change {
    equal: bool,
    at: Stretch,
}

/// What becomes of the one to get the other: equal and unequal stretches in turn.
fn changes(a: &[String], b: &[String]) -> Vec<Change> {
    let mut all = Vec::new();
    let (mut i, mut j) = (0, 0);
    let mut runs = matches(a, b);
    runs.push((a.len(), b.len(), 0));
    for (x, y, length) in runs {
        if i < x || j < y {
            all.push(Change {
                equal: false,
                at: (i, x, j, y),
            });
        }
        (i, j) = (x + length, y + length);
        if length > 0 {
            all.push(Change {
                equal: true,
                at: (x, i, y, j),
            });
        }
    }
    all
}

fn range(from: usize, to: usize) -> String {
    let length = to - from;
    match length {
        1 => format!("{}", from + 1),
        0 => format!("{from},0"),
        _ => format!("{},{length}", from + 1),
    }
}

/// The lines of the difference, each with its end; none if the texts are equal. `context` lines around each change.
#[allow(clippy::many_single_char_names)]
pub fn unified(
    a: &[String],
    b: &[String],
    name_a: &str,
    name_b: &str,
    context: usize,
) -> Vec<String> {
    let mut all = changes(a, b);
    let Some(first) = all.first_mut() else {
        return Vec::new();
    };
    if first.equal {
        let (i, x, j, y) = first.at;
        first.at = (
            i.max(x.saturating_sub(context)),
            x,
            j.max(y.saturating_sub(context)),
            y,
        );
    }
    if let Some(last) = all.last_mut()
        && last.equal
    {
        let (i, x, j, y) = last.at;
        last.at = (i, x.min(i + context), j, y.min(j + context));
    }
    let mut groups: Vec<Vec<Change>> = Vec::new();
    let mut group: Vec<Change> = Vec::new();
    for change in all {
        let (mut i, x, mut j, y) = change.at;
        if change.equal && x - i > 2 * context {
            group.push(Change {
                equal: true,
                at: (i, x.min(i + context), j, y.min(j + context)),
            });
            groups.push(std::mem::take(&mut group));
            (i, j) = (
                i.max(x.saturating_sub(context)),
                j.max(y.saturating_sub(context)),
            );
        }
        group.push(Change {
            equal: change.equal,
            at: (i, x, j, y),
        });
    }
    if group.len() > 1 || group.iter().any(|change| !change.equal) {
        groups.push(group);
    }
    let mut out = Vec::new();
    for group in groups {
        if group.iter().all(|change| change.equal) {
            continue;
        }
        if out.is_empty() {
            out.push(format!("--- {name_a}\n"));
            out.push(format!("+++ {name_b}\n"));
        }
        let (first, last) = (group[0].at, group[group.len() - 1].at);
        let mut head = String::new();
        let _ = writeln!(
            head,
            "@@ -{} +{} @@",
            range(first.0, last.1),
            range(first.2, last.3)
        );
        out.push(head);
        for change in &group {
            let (i, x, j, y) = change.at;
            if change.equal {
                out.extend(a[i..x].iter().map(|line| format!(" {line}")));
                continue;
            }
            out.extend(a[i..x].iter().map(|line| format!("-{line}")));
            out.extend(b[j..y].iter().map(|line| format!("+{line}")));
        }
    }
    out
}
