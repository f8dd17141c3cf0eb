//! The native modules of playbooks: what is done on one machine.
//!
//! A [`Module`] takes an [`Invocation`] (its name, its arguments as JSON, and how the run is set), brings one thing on the
//! machine it runs on into the state that is asked for, and gives a [`Report`]: the result that playbooks see. In check mode
//! it changes nothing and reports what it would. Names, arguments, results and messages are those of ansible-core 2.21.
//!
//! Modules run in the process of who calls them ([`Module::run`]), or in the program `consort-play-helper` on another
//! machine, or as another user, which speaks frames over its standard input and output.

mod context;
mod invocation;
mod module;
pub mod protocol;
mod registry;

pub use context::Context;
pub use invocation::{Failure, Invocation, Outcome, Report, Settings};
pub use registry::{Module, find};
