//! Playbooks, read and run.

mod bridge;
mod connections;
mod executor;
mod facts;
mod hints;
mod inventory;
mod language;
mod output;
mod part;
mod pull;
mod shells;
mod templates;
mod vault;
