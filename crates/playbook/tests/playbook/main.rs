//! Playbooks, read and run.
