//! The dependency graph of every layer, and the walk that carries a plan out.
