//! Pull mode: machines that keep themselves as their [`Playbook`]s say, and how they stand.
//!
//! ```text
//! Playbook (an object: source, nodes, interval)
//!    |  watched by every node
//! Puller     those for this node; source (Git, ConfigMap) and variables followed; `decide` says when to run
//!    |         one run at a time, in a process of its own (`consort_playbook::pull`)
//!    v
//! status.nodes[NAME]   what the last run found and did: written by the node, its own entry alone
//!    |  watched by the server
//! Overview   counts and conditions of all nodes together; entries of nodes that are gone are taken away
//! ```
//!
//! A change of the object, its source or its variables leads to a look, and so does the timer; a look decides from what is
//! there. What came of the last run is in the object's status, so a node that starts again goes on where it was.

mod decide;
mod definition;
mod inputs;
mod object;
mod overview;
mod puller;
mod source;
mod tell;

pub use definition::{definition, guards, install};
pub use object::{
    Entry, GROUP, GitSource, Item, MapSource, Mode, Named, Playbook, RUN_REQUESTED, Source, Spec,
    Status, Summary, VERSION, VariablesFrom, Vault,
};
pub use overview::Overview;
pub use puller::{Error, Options, Puller};
