//! Playbooks, read and run.

mod connections;
mod executor;
mod inventory;
mod templates;
mod vault;
