//! Pull mode without its API: a machine's own playbook run in a process of its own, and what came of it.
//!
//! ```text
//! run(program, job, ...)  --job on stdin-->  the same program, called as ARGUMENT  -->  crate::unattended
//!        ^                                                 |
//!        '------------- Outcome, as JSON ------------------'
//! ```
//!
//! Of a run nothing is left in the process that wanted it: neither memory, nor a module that hangs, nor an environment. The
//! process ends itself when its standard input ends, so it does not outlive who started it; and it holds a lock while it
//! works, so that no two work on a machine at once, whoever was killed in between.

mod child;
mod job;
mod outcome;
mod report;
mod run;

pub use child::{ARGUMENT, called};
pub use job::Job;
pub use outcome::{Counts, Deed, Fault, Outcome};
pub use report::Report;
pub use run::{Error, Task, run};
