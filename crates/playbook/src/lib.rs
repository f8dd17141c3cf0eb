//! Ansible playbooks, roles and inventories: read, run, checked, and a layer of a score.
//!
//! ```text
//! source      YAML -> values that know where they were written and whether they may be templates
//!    |
//! language    playbooks, roles, blocks, tasks: what was written, with every static import resolved
//! inventory   hosts, groups and their variables, from files, directories, scripts and plugins
//! vault       what is encrypted at rest
//!    |
//! variables   which value a name has for a host at a task: precedence, facts, magic variables; looked up, not merged
//! template    Jinja with Ansible's filters, tests and lookups
//!    |
//! executor    strategies, hosts in parallel, loops, retries, blocks, handlers
//!    |-- action       what runs on the controller: debug, set_fact, the controller's half of copy, template, ...
//!    |-- connection   this machine, OpenSSH, containers, machines of ours; becoming another user
//!    |-- explain      what helps with an error: the expression, its variables, what could be done
//!    |-- python       every module that is not native, as real Python
//!    '-- bridge       plugins that are written in Python, on the controller
//!    |
//! output      what is told of it: the default callback and others
//! ```
//!
//! The behaviour is that of ansible-core 2.21: its documentation, and what it was seen to do.

pub mod action;
mod blocking;
pub mod bridge;
pub mod command;
pub mod connection;
pub mod executor;
mod explain;
pub mod inventory;
pub mod language;
pub mod output;
pub mod part;
pub mod paths;
pub mod pull;
pub mod python;
pub mod settings;
pub mod source;
pub mod template;
pub mod unattended;
pub mod values;
pub mod variables;
pub mod vault;
