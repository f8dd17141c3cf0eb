//! Refinements: what is known of a value that is not known.

use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::number::Number;

/// What is known of an unknown value beside its type. The default knows nothing.
///
/// The methods only ever narrow: what would contradict what is known already is left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refinement {
    not_null: bool,
    prefix: Option<Arc<str>>,
    minimum: Option<(Number, bool)>,
    maximum: Option<(Number, bool)>,
    shortest: usize,
    longest: Option<usize>,
}

impl Refinement {
    /// Knows nothing.
    pub const NONE: Refinement = Refinement {
        not_null: false,
        prefix: None,
        minimum: None,
        maximum: None,
        shortest: 0,
        longest: None,
    };

    /// True where nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Refinement::NONE
    }

    /// True where the value will not be null.
    pub fn is_not_null(&self) -> bool {
        self.not_null
    }

    /// How the string will start; empty where that is not known.
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("")
    }

    /// The number's lower bound and whether it is within the range.
    pub fn minimum(&self) -> Option<&(Number, bool)> {
        self.minimum.as_ref()
    }

    /// The number's upper bound and whether it is within the range.
    pub fn maximum(&self) -> Option<&(Number, bool)> {
        self.maximum.as_ref()
    }

    /// The least number of elements of the collection.
    pub fn shortest(&self) -> usize {
        self.shortest
    }

    /// The greatest number of elements of the collection.
    pub fn longest(&self) -> Option<usize> {
        self.longest
    }

    /// The value will not be null.
    #[must_use]
    pub fn not_null(mut self) -> Refinement {
        self.not_null = true;
        self
    }

    /// The string starts with `prefix`, whose last characters may still combine with what follows and so are left out
    /// where they could.
    #[must_use]
    pub fn starting_with(self, prefix: &str) -> Refinement {
        let safe = safe_prefix(prefix);
        self.starting_with_exactly(&safe)
    }

    /// The string starts with exactly `prefix`.
    #[must_use]
    pub fn starting_with_exactly(mut self, prefix: &str) -> Refinement {
        if prefix.len() > self.prefix().len() && prefix.starts_with(self.prefix()) {
            self.prefix = Some(prefix.into());
        }
        self
    }

    /// The number is at least `bound`, or above it where not `inclusive`.
    #[must_use]
    pub fn at_least(mut self, bound: Number, inclusive: bool) -> Refinement {
        if bound == Number::NEGATIVE_INFINITY {
            return self;
        }
        let narrower = match &self.minimum {
            None => true,
            Some((old, old_inclusive)) => {
                bound > *old || bound == *old && *old_inclusive && !inclusive
            }
        };
        let possible = self.maximum.as_ref().is_none_or(|(max, _)| bound <= *max);
        if narrower && possible {
            self.minimum = Some((bound, inclusive));
        }
        self
    }

    /// The number is at most `bound`, or below it where not `inclusive`.
    #[must_use]
    pub fn at_most(mut self, bound: Number, inclusive: bool) -> Refinement {
        if bound == Number::INFINITY {
            return self;
        }
        let narrower = match &self.maximum {
            None => true,
            Some((old, old_inclusive)) => {
                bound < *old || bound == *old && *old_inclusive && !inclusive
            }
        };
        let possible = self.minimum.as_ref().is_none_or(|(min, _)| bound >= *min);
        if narrower && possible {
            self.maximum = Some((bound, inclusive));
        }
        self
    }

    /// The collection has at least `length` elements.
    #[must_use]
    pub fn with_at_least(mut self, length: usize) -> Refinement {
        if self.longest.is_none_or(|longest| length <= longest) {
            self.shortest = self.shortest.max(length);
        }
        self
    }

    /// The collection has at most `length` elements.
    #[must_use]
    pub fn with_at_most(mut self, length: usize) -> Refinement {
        if length >= self.shortest && self.longest.is_none_or(|longest| length < longest) {
            self.longest = Some(length);
        }
        self
    }
}

/// The part of `prefix` that stays as it is whatever is appended: without the last grapheme cluster, unless that is
/// one of the punctuation characters nothing joins.
pub fn safe_prefix(prefix: &str) -> String {
    let prefix: String = prefix.nfc().collect();
    let Some((start, last)) = prefix.grapheme_indices(true).next_back() else {
        return prefix;
    };
    let ends = last.len() == 1 && "-_:;/\\,.(){}[]|?!~ \t@#$%^&*+\"'".contains(last);
    if ends {
        prefix
    } else {
        prefix[..start].to_owned()
    }
}
