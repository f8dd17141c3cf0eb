//! Playbooks carried out: strategies, hosts in parallel, loops, retries, blocks, handlers.

mod attempt;
mod effects;

pub use attempt::{Attempt, Background, ModuleCall};
pub use effects::{Effects, Layer};
