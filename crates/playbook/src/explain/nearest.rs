//! Names that are nearly another one.

/// The name among those known that was most likely meant; none if none is near.
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let wanted: Vec<char> = written.to_lowercase().chars().collect();
    let most = match wanted.len() {
        0 | 1 => return None,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .filter(|name| *name != written)
        .filter_map(|name| {
            let other: Vec<char> = name.to_lowercase().chars().collect();
            if other.len().abs_diff(wanted.len()) > most {
                return None;
            }
            let steps = distance(&wanted, &other);
            (steps <= most).then(|| (steps, others(&wanted, &other), name))
        })
        .min()
        .map(|(_, _, name)| name)
}

/// How many letters one has that the other lacks.
fn others(a: &[char], b: &[char]) -> usize {
    let count = |of: &[char], c: char| of.iter().filter(|other| **other == c).count();
    let more = |of: &[char], than: &[char]| {
        of.iter()
            .filter(|c| count(of, **c) > count(than, **c))
            .count()
    };
    more(a, b) + more(b, a)
}

/// How many letters are to be put in, taken out, replaced, or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: [Vec<usize>; 3] = [Vec::new(), (0..=b.len()).collect(), vec![0; b.len() + 1]];
    rows[0].resize(b.len() + 1, 0);
    for (i, from) in a.iter().enumerate() {
        rows[2][0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let mut least = (rows[1][j] + usize::from(from != to))
                .min(rows[1][j + 1] + 1)
                .min(rows[2][j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(rows[0][j - 1] + 1);
            }
            rows[2][j + 1] = least;
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}
