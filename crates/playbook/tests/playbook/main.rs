//! Playbooks, read and run.

mod bridge;
mod connections;
mod executor;
mod inventory;
mod language;
mod output;
mod part;
mod pull;
mod templates;
mod vault;
