//! Pods on this machine: one worker each, between a pure decision and the runtime.

pub(crate) mod admit;
mod adopt;
mod backoff;
mod decide;
mod env;
mod expand;
pub(crate) mod fields;
pub(crate) mod files;
mod hooks;
pub(crate) mod labels;
mod operations;
mod patch;
pub(crate) mod resources;
mod security;
mod start;
pub(crate) mod state;
mod status;
pub(crate) mod volumes;
mod worker;

pub(crate) use adopt::{Adopted, group};
pub(crate) use start::chain;
pub(crate) use worker::{Finished, Update, Worker};
