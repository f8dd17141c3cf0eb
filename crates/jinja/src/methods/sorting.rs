//! Sorting as Python does it: with nothing but "less than", which may fail and may contradict itself.

use crate::error::Result;
use crate::value::Value;

/// Runs of this many items are sorted by insertion.
const RUN: usize = 64;

/// A key and the item it is of.
type Keyed = (Value, Value);

/// Sorts by a key, stably, with the first refusal to compare as an error.
pub(crate) fn sort(
    items: &mut Vec<Value>,
    mut key: impl FnMut(&Value) -> Result<Value>,
    reverse: bool,
) -> Result<()> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items.iter() {
        keyed.push((key(item)?, item.clone()));
    }
    if reverse {
        keyed.reverse();
    }
    for run in keyed.chunks_mut(RUN) {
        insert(run)?;
    }
    let mut width = RUN;
    while width < keyed.len() {
        let mut merged = Vec::with_capacity(keyed.len());
        for pair in keyed.chunks_mut(width * 2) {
            let (left, right) = pair.split_at_mut(width.min(pair.len()));
            merge(left, right, &mut merged)?;
        }
        keyed = merged;
        width *= 2;
    }
    if reverse {
        keyed.reverse();
    }
    *items = keyed.into_iter().map(|(_, item)| item).collect();
    Ok(())
}

fn less(one: &Keyed, two: &Keyed) -> Result<bool> {
    Ok(one.0.order(&two.0, "<")?.is_lt())
}

/// Sorts a few items. They are compared in the order in which Python compares them, so that it is the same two that are
/// told of when they cannot be.
fn insert(items: &mut [Keyed]) -> Result<()> {
    let mut sorted = items.len().min(1);
    if items.len() > 1 {
        let falls = less(&items[1], &items[0])?;
        sorted = 2;
        while sorted < items.len() && less(&items[sorted], &items[sorted - 1])? == falls {
            sorted += 1;
        }
        if falls {
            items[..sorted].reverse();
        }
    }
    for at in sorted..items.len() {
        let (mut from, mut to) = (0, at);
        while from < to {
            let middle = from + (to - from) / 2;
            if less(&items[at], &items[middle])? {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        items[from..=at].rotate_right(1);
    }
    Ok(())
}

/// Two sorted parts in one.
fn merge(left: &mut [Keyed], right: &mut [Keyed], merged: &mut Vec<Keyed>) -> Result<()> {
    let (mut first, mut second) = (0, 0);
    while first < left.len() && second < right.len() {
        let taken = if less(&right[second], &left[first])? {
            second += 1;
            &mut right[second - 1]
        } else {
            first += 1;
            &mut left[first - 1]
        };
        merged.push(std::mem::take(taken));
    }
    merged.extend(left[first..].iter_mut().map(std::mem::take));
    merged.extend(right[second..].iter_mut().map(std::mem::take));
    Ok(())
}
