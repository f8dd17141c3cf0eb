//! Playbooks carried out: strategies, hosts in parallel, loops, retries, blocks, handlers.

mod arguments;
mod attempt;
mod debugger;
mod effects;
mod foreign;
pub mod foresight;
mod free;
pub(crate) mod held;
mod includes;
mod iterator;
pub(crate) mod keyword;
mod linear;
mod meta;
mod modules;
mod plan;
mod play;
mod playbooks;
mod poll;
mod prompt;
mod reach;
mod result;
mod run;
mod search;
mod step;
pub(crate) mod tags;
mod work;

pub use attempt::{Attempt, Background, ModuleCall};
pub use effects::{Effects, Layer};
pub use foresight::Foresight;
pub use playbooks::{Parts, What, run};
pub use run::Options;
