//! Playbooks, read and run.

mod connections;
mod inventory;
mod templates;
mod vault;
