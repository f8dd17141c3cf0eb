//! Paths below which a container could see or change the host. The lists are those of Docker and containerd.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Covers the ones and locks the others, in the container's mount namespace and root. What a kernel does not have
/// is passed over.
pub(super) fn hide() -> io::Result<()> {
    let none = None::<&str>;
    for path in READ_ONLY {
        match mount(
            Some(path),
            path,
            none,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            none,
        ) {
            Err(Errno::ENOENT) => continue,
            result => result?,
        }
        let closed = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | closed;
        mount(none, path, none, flags, none)?;
    }
    let null = std::fs::metadata("/dev/null")?;
    if !null.file_type().is_char_device() || null.rdev() != nix::sys::stat::makedev(1, 3) {
        return Err(io::Error::other("/dev/null is something else"));
    }
    for path in MASKED {
        match mount(Some("/dev/null"), path, none, MsFlags::MS_BIND, none) {
            Err(Errno::ENOENT) => {}
            Err(Errno::ENOTDIR) => {
                mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_RDONLY, none)?;
            }
            result => result?,
        }
    }
    Ok(())
}
