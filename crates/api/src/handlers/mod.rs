//! What is done for each verb and subresource.

pub(crate) mod apply;
pub(crate) mod bind;
pub(crate) mod component_status;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod evict;
pub(crate) mod list;
mod list_body;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod reviews;
pub(crate) mod scale;
pub(crate) mod selection;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod watch;
mod watch_line;
pub(crate) mod write;
