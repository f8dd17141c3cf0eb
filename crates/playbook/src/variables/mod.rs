//! Which value a name has for a host at a task: precedence, facts, magic variables.
//!
//! Variables are looked up through the layers they may stand in, and never put together: what a task costs does not depend
//! on how many variables or facts there are.
//!
//! ```text
//! Store             of the run: inventory, facts, what set_fact, register and include_vars gave, extra variables
//!    |
//! PlayVariables     of a play: its variables, files, roles; what its hosts have in common
//!    |
//! TaskVariables     of a task on a host: the whole chain; what a template sees
//! ```

mod cache;
mod chain;
mod facts;
mod hostvars;
mod magic;
mod name;
mod old;
mod persisted;
mod play;
mod reserved;
mod store;
mod task;

pub use cache::{FactCache, JsonFiles, Memory};
pub use chain::TaskVariables;
pub(crate) use facts::may_be_variable;
pub(crate) use name::{is_name, no_name};
pub(crate) use old::unnoted;
pub use play::{PlayOptions, PlayVariables, Roster};
pub use reserved::warn_of_reserved;
pub use store::{HostStore, Store, StoreOptions};
