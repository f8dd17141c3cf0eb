//! Playbooks, read and run.

mod connections;
mod executor;
mod inventory;
mod language;
mod templates;
mod vault;
