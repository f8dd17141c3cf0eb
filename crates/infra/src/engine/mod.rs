//! The engine: plans what has to be done, and does it.
//!
//! A configuration becomes a graph with one node for each block ([`blocks`](self)); what a block expands to
//! is found out while walking, each expression is evaluated once for each instance, and a resource's value
//! is put together once and then handed out. [`plan`] walks it to find the changes, [`apply`] to make them.

mod adopt;
mod apply;
mod blocks;
mod change;
mod checks;
mod conditions;
mod console;
mod cross_moves;
mod dependencies;
mod drawing;
mod ephemeral;
mod events;
mod expand;
mod functions;
mod imports;
mod index;
mod moves;
mod objects;
mod plan;
mod run;
mod scope;
mod settled;
mod ties;
mod under_test;
mod validate;
mod values;
mod world;

pub use adopt::{Generated, generate_config, import};
pub use apply::{About, Applied, ApplyOptions, Applying, Resumed, apply};
pub use change::{
    Action, Change, Deferred, DeferredReason, Identities, Importing, Mode, OutputChange, Plan,
    Reason,
};
pub use checks::{BlockCheck, CheckResults, CheckStatus, Checkable, ObjectCheck};
pub use console::Console;
pub use drawing::{Drawing, DrawingKind, Drawn, Shape};
pub use events::{EphemeralStep, Event, Silent, Watcher};
pub use functions::ProviderFunctions;
pub(crate) use objects::known_paths;
pub use plan::{PlanOptions, plan, plan_with_ties};
pub use run::{Given, Input, Providers, Provision, Provisioners};
pub use ties::{Hub, Tied, TiedOutput, Ties, Use};
pub use under_test::{Afterwards, FailedCheck, Replace, ReplacedModule, ReplacedObject, UnderTest};
pub use validate::validate;
