//! The native modules of playbooks: what is done on one machine.
//!
//! A [`Module`] takes an [`Invocation`] (its name, its arguments as JSON, and how the run is set), brings one thing on the
//! machine it runs on into the state that is asked for, and gives a [`Report`]: the result that playbooks see. In check mode
//! it changes nothing and reports what it would. Names, arguments, results and messages are those of ansible-core 2.21.
//!
//! Modules run in the process of who calls them ([`Module::run`]), or in the program `consort-play-helper` on another
//! machine, or as another user, which speaks frames over its standard input and output.
//!
//! # Writing a module
//!
//! One file in `src/module/` with `pub(crate) const MODULE: Module`, a line in `registry.rs` and one in `module/mod.rs`.
//! What they share:
//!
//! - [`arguments`], what the module takes; `context.arguments(&SPEC, invocation)?`.
//! - [`process`], other programs (`run_command`, `get_bin_path`).
//! - [`attributes`], mode, owner, group and the like of files (`set_fs_attributes_if_different`).
//! - [`atomic`], files replaced as a whole (`atomic_move`, `backup_local`).
//! - [`digest`], checksums.
//! - [`python_re`], Python's regular expressions.
//! - [`facts`], what is known of a machine.
//! - [`python`], Python's `repr`, errors of the system, paths, `shlex`.
//!
//! A failure is `Err(Failure::new("msg").with("rc", 1).because(python::os_error_at(&error, &path)))`: `fail_json` with
//! `exception=`; an exception nobody would catch is [`Failure::unhandled`]. What `exit_json` adds by itself (owner, mode and
//! size of the file at `path` or `dest`, `warnings`, `deprecations`, `invocation`, secrets taken out) [`Module::run`] adds.

mod accounts;
pub mod apt;
pub mod arguments;
pub mod atomic;
pub mod attributes;
mod context;
pub mod digest;
mod edit;
mod encoding;
mod glob;
pub mod ini;
mod invocation;
mod journal;
mod locale;
mod module;
mod names;
pub mod process;
pub mod protocol;
pub mod python;
pub mod python_re;
mod registry;
mod secrets;
pub mod selinux;
mod services;
mod status;
mod times;
mod url;

pub use context::Context;
pub use invocation::{
    CAUSES, DEPRECATOR, Failure, FailureKind, Invocation, Outcome, Report, Settings,
};
pub use module::facts;
pub use process::Cancel;
pub use registry::{Module, find, find_of_collection};
