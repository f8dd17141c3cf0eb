//! What is done for each verb and subresource.

pub mod bind;
pub mod create;
pub mod delete;
pub mod patch;
pub mod read;
pub mod reviews;
pub mod scale;
pub mod selection;
pub mod token;
pub mod update;
pub mod watch;
pub mod write;
