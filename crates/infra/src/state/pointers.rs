//! Tables keyed by where a shared value lies: for what is the same value many thousand times.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table keyed by addresses in memory. The keeper sees to it that what lies there stays.
pub(crate) type ByPointer<T> = HashMap<usize, T, BuildHasherDefault<PointerHasher>>;

/// Spreads addresses; nobody outside chooses them, so that nothing stronger is needed.
#[derive(Default)]
pub(crate) struct PointerHasher(u64);

impl Hasher for PointerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// Where a shared value lies.
pub(crate) fn place<T: ?Sized>(shared: &std::sync::Arc<T>) -> usize {
    std::sync::Arc::as_ptr(shared).cast::<()>() as usize
}
