//! Sources in Git: a repository at a branch, tag or commit, by the `git` program.
//!
//! ```text
//! Poller         asks each repository once an interval whether it has moved, for all who follow it
//!    |  Resolved
//! Repositories   a bare mirror of each, and trees of commits as directories
//! ```
//!
//! [`Remote`] and [`Reference`] are what a user wrote, checked. [`Repositories`] asks what a repository has
//! ([`Repositories::advertised`], one `ls-remote`, nothing is fetched), brings a commit into a bare mirror and gives
//! its tree as a directory ([`Repositories::tree`]). [`Credentials`] come from Secrets; they reach `git` through its
//! environment and files that only its owner reads, never through arguments or URLs, and are taken out of whatever
//! it says.
//!
//! Nobody is ever asked for anything: what needs a password that is not there fails. Only `https`, `http`, `ssh` and
//! `file` are spoken, whatever the repository or a redirection says; submodules, hooks and filters are not run.

mod commit;
mod credentials;
mod error;
mod fetching;
mod interval;
mod links;
mod listing;
mod poller;
mod program;
mod reference;
mod remote;
mod repositories;
mod secret;
mod tree;

pub use commit::commit_of;
pub use credentials::{Credentials, CredentialsError, SECRET_TYPE};
pub use error::Error;
pub use interval::Interval;
pub use poller::{Opens, Place, Poller, Seen};
pub use reference::{Reference, Resolved};
pub use remote::{Remote, Transport};
pub use repositories::{Advertised, Repositories};
pub use secret::named;
pub use tree::Tree;
