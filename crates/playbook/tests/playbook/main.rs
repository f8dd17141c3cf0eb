//! Playbooks, read and run.

mod connections;
mod templates;
