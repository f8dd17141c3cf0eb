//! Bounds of sizes and costs, which do not overflow.

use crate::program::Estimate;

/// At least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Range {
    pub(super) const UNKNOWN: Range = Range {
        min: 0,
        max: u64::MAX,
    };
    pub(super) const ZERO: Range = Range::fixed(0);
    pub(super) const ONE: Range = Range::fixed(1);

    pub(super) const fn fixed(value: u64) -> Self {
        Range {
            min: value,
            max: value,
        }
    }

    pub(super) fn up_to(max: u64) -> Self {
        Range { min: 0, max }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Range {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Range {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    /// Multiplied with a factor and rounded up.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Range {
            min: scaled(self.min, factor),
            max: scaled(self.max, factor),
        }
    }

    /// What encloses both.
    pub(super) fn union(self, other: Self) -> Self {
        Range {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

fn scaled(value: u64, factor: f64) -> u64 {
    let product = (value as f64 * factor).ceil();
    if product >= 2f64.powi(64) {
        u64::MAX
    } else {
        product as u64
    }
}

impl From<Range> for Estimate {
    fn from(range: Range) -> Self {
        Estimate {
            min: range.min,
            max: range.max,
        }
    }
}
