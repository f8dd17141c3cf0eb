//! Playbooks, read and run.

mod connections;
