//! Tests of configurations: `*.tftest.hcl` and `*.tftest.json`.
//!
//! A [`Suite`] is a loaded configuration with its test files. [`Suite::run`] takes the files in the order of
//! their names and the runs of each as they stand, keeps a state in memory for each module that is run, and
//! destroys what is in it at the end of the file. It knows nothing of terminals: whoever runs it is told of
//! every step as an [`Event`].
//!
//! What a test makes up is made up below the engine: a mocked provider is a [`crate::provider::Provider`] that
//! keeps the real one's schemas and checks and answers everything else itself; an overridden object is one
//! such provider for a single object; and an overridden module has its outputs and nothing else.

mod assertions;
mod cleanup;
mod doubles;
mod failures;
mod mock;
mod runner;
mod suite;
mod values;
mod variables;

pub use doubles::check_runs;
pub use runner::{Language, Suite};
pub use suite::{Event, FileReport, Left, Progress, Reporter, RunReport, Status, Verbose};
