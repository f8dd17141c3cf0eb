//! The shim: parent of a pod's containers.

use std::ffi::OsString;

/// First argument that makes an executable a shim.
pub const SHIM_ARGUMENT: &str = "__shim";

/// Runs the shim; never returns. `args` are the arguments after [`SHIM_ARGUMENT`].
pub fn shim_main(args: impl Iterator<Item = OsString>) -> ! {
    let args: Vec<_> = args.collect();
    todo!("{args:?}")
}
