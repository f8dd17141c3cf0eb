//! Modules that are not native, as they are: real Python, through the contract that ansible-core 2.21 has with its modules,
//! and programs of other kinds.
//!
//! ```text
//! core     the ansible-core that is installed on the controller
//! imports  what a Python module imports of module_utils
//! packages where collections may lie that were installed with pip
//! pack     the module and all that it needs -> one package, named by its digest
//! call     its arguments -> what the machine is told
//! result   what its process wrote -> a report
//! ```

pub(crate) mod call;
mod closure;
mod content;
pub mod core;
mod imports;
pub mod interpreter;
pub mod pack;
pub(crate) mod packages;
pub(crate) mod result;
