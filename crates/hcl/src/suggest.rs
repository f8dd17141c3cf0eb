//! Names that a user may have meant.

use crate::text::quote;

/// The first of `names` that is less than three edits away from `given`.
pub fn suggestion<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .find(|name| distance_below(given, name, 3))
}

/// ` Did you mean "name"?`, or nothing.
pub fn did_you_mean<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    suggestion(given, names)
        .map(|name| format!(" Did you mean {}?", quote(name)))
        .unwrap_or_default()
}

/// Whether the Levenshtein distance of two texts is below a limit.
fn distance_below(a: &str, b: &str, limit: usize) -> bool {
    if a.len() > 256 || b.len() > 256 {
        return a == b;
    }
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) >= limit {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_less_than_three_edits_away_are_suggested() {
        assert_eq!(suggestion("regoin", ["zone", "region"]), Some("region"));
        assert_eq!(suggestion("identifier", ["region"]), None);
    }
}
