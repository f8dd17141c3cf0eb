//! Playbooks, read and run.

mod connections;
mod executor;
mod inventory;
mod language;
mod output;
mod templates;
mod vault;
