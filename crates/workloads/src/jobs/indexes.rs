//! Sets of completion indexes, written as `0-2,5,7-9`.

use std::{collections::BTreeSet, fmt::Write};

/// Reads a set of indexes below `limit`; what does not parse is left out, as the field is ours.
pub(crate) fn parse(text: &str, limit: i32) -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            all.extend(first.max(0)..=last.min(limit.saturating_sub(1)));
        }
    }
    all
}

/// Writes a set of indexes; runs of three and more become ranges, as upstream writes them.
pub(crate) fn format(all: &BTreeSet<i32>) -> String {
    let mut text = String::new();
    let mut indexes = all.iter().copied().peekable();
    while let Some(first) = indexes.next() {
        let mut last = first;
        while indexes.peek() == Some(&(last + 1)) {
            last += 1;
            indexes.next();
        }
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a string cannot fail.
        let _ = match last - first {
            0 => write!(text, "{first}"),
            1 => write!(text, "{first},{last}"),
            _ => write!(text, "{first}-{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_survive_writing_and_reading() {
        for text in ["", "0", "0,1", "1-3", "1,3-5,7", "0,2,4,6-9"] {
            assert_eq!(format(&parse(text, 100)), text);
        }
        assert_eq!(format(&parse("3-9", 5)), "3,4");
        assert!(parse("x,1-,-,99999999999", 100).is_empty());
    }
}
