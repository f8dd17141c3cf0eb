//! Sources in Git: a repository at a branch, tag or commit, by the `git` program.
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
mod links;
mod program;
mod reference;
mod remote;
mod repositories;

pub use commit::commit_of;
pub(crate) use credentials::SECRET_TYPE;
pub use credentials::{Credentials, CredentialsError};
pub use error::Error;
pub use reference::{Reference, Resolved};
pub use remote::{Remote, Transport};
pub use repositories::{Advertised, Repositories, Tree};
