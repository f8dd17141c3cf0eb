//! Installation of modules and providers.

pub mod archive;
mod error;
pub mod hash;
pub mod openpgp;
mod platform;

pub use error::Error;
pub use platform::Platform;
