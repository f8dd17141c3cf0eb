//! Machines on this host, and the networks they are in.
//!
//! A machine is a system container (the layers of an image, or a directory, below what the machine itself
//! writes) or a virtual machine under QEMU. It has a name, an address of its own in a network, and a life that
//! does not depend on any process of ours: a container belongs to its shim, a virtual machine to QEMU. What was asked
//! for is a [`MachineSpec`], recorded below one directory; what is, is looked up anew each time ([`Machine`]).
//!
//! ```text
//! MachineSpec, NetworkSpec
//!        |  check, allocate, record          files under a lock: several processes may work at once
//!     Machines ---- net::bridge              bridge, veth or tap, routes, one nftables table
//!        |---- runtime                       shim, container, limits, exec
//!        |---- qemu                          process, QMP
//!        '---- roots                         files, names and keys written into a machine's root
//! ```
//!
//! A change that fails is taken back: what could not be made is not there. After a restart of the host the records
//! are all that is left; [`Machines::start`] makes the rest again, and [`Machines::keep`] does that for all machines
//! that are to run.
//!
//! ```no_run
//! use consort_machine::{Base, MachineSpec, Machines, NetworkSpec, NoImages, Options};
//!
//! # async fn example() -> Result<(), consort_machine::Error> {
//! let machines = Machines::open(Options {
//!     dir: "/var/lib/consort/machines".into(),
//!     instance: "ab12cd".to_owned(),
//!     shim_exe: "/proc/self/exe".into(),
//! })?;
//! machines.create_network(NetworkSpec::new("lan", "10.20.0.0/24".parse().unwrap())).await?;
//! let spec = MachineSpec::new("web", Base::Root("/srv/debian".into()), "lan");
//! let machine = machines.create(spec, &NoImages).await?;
//! println!("{} is at {}", machine.spec.name, machine.address);
//! # Ok(())
//! # }
//! ```

mod check;
mod cloud_init;
mod console;
mod container;
mod error;
mod images;
mod keep;
mod machines;
mod names;
mod networks;
mod qemu;
mod qmp;
mod records;
mod roots;
mod spec;

pub use console::{Line, console};
pub use error::Error;
pub use images::{Images, NoImages, Resolved};
pub use machines::{Machine, Machines, Options, State};
pub use networks::Network;
pub use records::layers_in_use;
pub use spec::{
    Accel, Base, FileSpec, MachineSpec, MountSpec, NetworkSpec, PortSpec, Protocol, Restart, VmSpec,
};
