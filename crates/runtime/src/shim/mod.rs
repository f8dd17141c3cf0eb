//! The shim: the parent of a pod's containers.
//!
//! It is one process with one thread. It holds the pod's IPC and UTS namespaces and, in a mount
//! namespace of its own, the containers' root file systems: when it and they are gone, so are the mounts.

mod attach;
mod boot;
mod child;
mod container;
mod log;
mod mounts;
mod oci;
mod progress;
mod requests;
mod rootfs;
mod server;

use std::ffi::OsString;
use std::path::PathBuf;

/// First argument that makes an executable a shim.
pub const SHIM_ARGUMENT: &str = "__shim";

/// Runs the shim; never returns. `args` are the arguments after [`SHIM_ARGUMENT`].
///
/// Must be called before any thread is started.
pub fn shim_main(mut args: impl Iterator<Item = OsString>) -> ! {
    let Some(dir) = args.next().map(PathBuf::from) else {
        eprintln!("{SHIM_ARGUMENT} is started by the agent, with the directory of a sandbox");
        std::process::exit(2);
    };
    boot::daemonize();
    match boot::boot(&dir).and_then(server::Shim::serve) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            // To the agent while it waits for the sandbox, to the shim's log later.
            println!("error: {error}");
            eprintln!("{} {error}", jiff::Timestamp::now());
            std::process::exit(1);
        }
    }
}
