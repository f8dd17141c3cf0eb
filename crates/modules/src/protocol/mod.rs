//! What a controller and the program that works on a machine say to each other, and that program.
//!
//! ```text
//! controller -- frames --> helper (who logged in)
//!                             |-- native modules, on threads, or in processes of their own if they may have to be ended
//!                             |-- commands, files
//!                             |-- servers of Python, which fork for each module
//!                             '-- frames --> helper (another user), started through sudo, su, ...
//! ```

mod askpass;
pub mod becoming;
mod cache;
pub mod files;
pub mod frame;
mod job;
mod main;
pub mod message;
pub mod output;
mod packed;
mod place;
mod processes;
mod program;
mod python;
mod serve;
mod switch;
mod terminal;
mod work;

pub use crate::names::keep_apart;
pub use askpass::asked;
pub use main::main;
pub use program::{Program, WORD, called};
pub use python::SCRIPT as PYTHON;
pub use serve::serve;
