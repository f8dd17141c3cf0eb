//! What evaluations may cost.

/// A sum of cost units that evaluations are paid from.
///
/// Upstream allows each evaluation [`Budget::PER_CALL`] and all rules of one object together [`Budget::PER_OBJECT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
    used: u64,
}

impl Budget {
    /// The most one evaluation may cost.
    pub const PER_CALL: u64 = 1_000_000;
    /// The most all rules over one object may cost together (the same holds for one policy's expressions over one
    /// request).
    pub const PER_OBJECT: u64 = 10_000_000;

    /// A budget of `total`, of which one evaluation may use [`Budget::PER_CALL`].
    pub fn new(total: u64) -> Self {
        Budget {
            remaining: total,
            per_call: Self::PER_CALL,
            used: 0,
        }
    }

    /// The budget for all rules over one object.
    pub fn per_object() -> Self {
        Self::new(Self::PER_OBJECT)
    }

    /// The same budget with another limit for one evaluation.
    #[must_use]
    pub fn with_call_limit(mut self, per_call: u64) -> Self {
        self.per_call = per_call;
        self
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// What was spent since the budget was made.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The most one evaluation may cost.
    pub fn call_limit(&self) -> u64 {
        self.per_call
    }

    /// Pays `cost`; false when it was more than was left, of which then nothing is left.
    pub fn spend(&mut self, cost: u64) -> bool {
        self.used = self.used.saturating_add(cost);
        let enough = cost <= self.remaining;
        self.remaining = self.remaining.saturating_sub(cost);
        enough
    }
}
