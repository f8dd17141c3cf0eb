//! Marks: what travels with a value without being part of it.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Sub};

/// A set of marks on one value. Marks go from arguments to results of everything that is computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Marks(u8);

impl Marks {
    /// No mark.
    pub const NONE: Marks = Marks(0);
    /// Never shown on a terminal or in a log, kept in state.
    pub const SENSITIVE: Marks = Marks(1);
    /// Kept nowhere beyond the present operation: not in state, not in a plan.
    pub const EPHEMERAL: Marks = Marks(2);
    /// Comes from something its author calls deprecated.
    pub const DEPRECATED: Marks = Marks(4);
    /// A type as a value (the `type` function of the console), which only the console may show.
    pub const TYPE: Marks = Marks(8);

    /// True where there is no mark.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True where every mark of `other` is among these.
    pub fn contains(self, other: Marks) -> bool {
        self.0 & other.0 == other.0
    }

    /// True where some mark of `other` is among these.
    pub fn intersects(self, other: Marks) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Marks {
    type Output = Marks;
    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Marks) {
        self.0 |= other.0;
    }
}

impl Sub for Marks {
    type Output = Marks;
    fn sub(self, other: Marks) -> Marks {
        Marks(self.0 & !other.0)
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Marks::SENSITIVE, "sensitive"),
            (Marks::EPHEMERAL, "ephemeral"),
            (Marks::DEPRECATED, "deprecated"),
            (Marks::TYPE, "type"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(mark, _)| self.contains(*mark))
                    .map(|(_, name)| name),
            )
            .finish()
    }
}
