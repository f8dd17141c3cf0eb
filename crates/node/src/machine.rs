//! What the machine is and has.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

/// Facts about this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) cpus: u32,
    pub(crate) memory_bytes: u64,
    /// Size of the file system that holds the data directory.
    pub(crate) disk_bytes: u64,
    pub(crate) hostname: String,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) boot_id: String,
    pub(crate) id: String,
    pub(crate) system_uuid: String,
}

impl Machine {
    /// Reads them. What cannot be read stays empty: none of it is worth failing for.
    pub(crate) fn read(data_dir: &Path) -> Self {
        let text = |path: &str| {
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let uname = nix::sys::utsname::uname().ok();
        let name = |f: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
            uname
                .as_ref()
                .map(|u| f(u).to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let boot_id = text("/proc/sys/kernel/random/boot_id");
        let machine_id = text("/etc/machine-id");
        let uuid = text("/sys/class/dmi/id/product_uuid");
        Self {
            cpus: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
            memory_bytes: meminfo(&text("/proc/meminfo"), "MemTotal"),
            disk_bytes: Disk::of(data_dir).map_or(0, |d| d.total),
            hostname: name(nix::sys::utsname::UtsName::nodename),
            kernel: name(nix::sys::utsname::UtsName::release),
            os_image: os_image(&text("/etc/os-release")),
            system_uuid: if uuid.is_empty() {
                machine_id.clone()
            } else {
                uuid
            },
            boot_id,
            id: machine_id,
        }
    }
}

/// Bytes of one line of `/proc/meminfo`.
fn meminfo(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Memory of the machine, in bytes.
pub(crate) struct Memory {
    pub(crate) total: u64,
    /// Used for nothing at all.
    pub(crate) free: u64,
    /// What could be used now.
    pub(crate) available: u64,
}

impl Memory {
    /// As it is now.
    pub(crate) fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        Some(Self {
            total: meminfo(&text, "MemTotal"),
            free: meminfo(&text, "MemFree"),
            available: meminfo(&text, "MemAvailable"),
        })
    }
}

/// Bytes of memory that could be used now.
pub(crate) fn memory_available() -> u64 {
    Memory::read().map_or(0, |memory| memory.available)
}

/// CPU time that the machine has spent on anything but waiting, in nanoseconds, over all its cores.
pub(crate) fn cpu_time() -> Option<u64> {
    busy(&fs::read_to_string("/proc/stat").ok()?)
}

fn busy(stat: &str) -> Option<u64> {
    /// `/proc` counts in hundredths of a second on every architecture.
    const TICK: u64 = 10_000_000;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    // user nice system idle iowait irq softirq steal; what guests use is in user already.
    let busy = ticks.iter().take(7).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Some(busy * TICK)
}

/// When the machine started.
pub(crate) fn booted() -> Option<jiff::Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    jiff::Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

fn os_image(text: &str) -> String {
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(
            || "Linux".to_owned(),
            |name| name.trim_matches('"').to_owned(),
        )
}

/// How much must be free for a disk not to be under pressure, however large it is.
const ROOM: u64 = 2 << 30;

/// Room on a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk {
    pub(crate) total: u64,
    pub(crate) used: u64,
    pub(crate) available: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
}

impl Disk {
    /// Of the file system that holds a path, which need not exist yet.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let stat = path
            .ancestors()
            .find_map(|path| nix::sys::statvfs::statvfs(path).ok())?;
        let block = stat.fragment_size();
        Some(Self {
            total: stat.blocks() * block,
            used: stat.blocks().saturating_sub(stat.blocks_free()) * block,
            available: stat.blocks_available() * block,
            inodes: stat.files(),
            inodes_free: stat.files_available(),
        })
    }

    /// What there is to use: some file systems keep much of their room for themselves.
    fn usable(&self) -> u64 {
        self.used + self.available
    }

    /// Percent in use of what there is to use, as `df` counts it.
    pub(crate) fn used_percent(&self) -> u8 {
        u8::try_from((self.used * 100).checked_div(self.usable()).unwrap_or(0)).unwrap_or(100)
    }

    /// Less than a twentieth of the room, and less than 2 GiB, is left; or less than a twentieth of
    /// the inodes.
    pub(crate) fn under_pressure(&self) -> bool {
        self.available < ROOM.min(self.usable() / 20)
            || (self.inodes > 0 && self.inodes_free < self.inodes / 20)
    }
}

/// How many more processes the machine takes: `(in use, most)`.
pub(crate) fn processes() -> Option<(u64, u64)> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let used = load
        .split_whitespace()
        .nth(3)?
        .split('/')
        .nth(1)?
        .parse()
        .ok()?;
    let max = fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some((used, max))
}

/// The address that this machine uses towards others; loopback when it has no way out.
///
/// Connecting a datagram socket sends nothing: it only asks the routing table.
pub(crate) fn primary_address() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect("192.0.2.1:9").ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    ask().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}

/// The architecture in the words of the API (and of Go).
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_it_is() {
        let machine = Machine::read(Path::new("/"));
        assert!(machine.cpus > 0 && machine.memory_bytes > 1 << 20 && machine.disk_bytes > 1 << 20);
        assert!(
            !machine.kernel.is_empty()
                && !machine.hostname.is_empty()
                && !machine.boot_id.is_empty()
        );
        assert!(memory_available() > 0);
        assert!(processes().is_some_and(|(used, max)| used > 0 && used < max));
    }

    #[test]
    fn a_processor_that_waits_does_nothing() {
        let stat = "cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 2 3\n";
        // The eighth is what other machines took.
        assert_eq!(busy(stat), Some(73 * 10_000_000));
        assert_eq!(busy("intr 1"), None);
        assert!(cpu_time().is_some() && booted().is_some_and(|at| at < jiff::Timestamp::now()));
    }

    #[test]
    fn a_disk_is_under_pressure_when_little_of_what_can_be_used_is_left() {
        let disk = |used: u64, available: u64| Disk {
            total: 1000 << 30,
            used: used << 30,
            available: available << 30,
            inodes: 0,
            inodes_free: 0,
        };
        assert!(!disk(80, 10).under_pressure());
        assert_eq!(disk(80, 20).used_percent(), 80);
        assert!(disk(80, 1).under_pressure());
        assert!(!disk(9, 1).under_pressure());
        assert!(Disk::of(Path::new("/not/made/yet")).is_some_and(|disk| disk.total > 0));
    }

    #[test]
    fn tables_of_the_kernel_are_read_by_name() {
        assert_eq!(
            meminfo("MemTotal:       100 kB\nMemFree: 5 kB", "MemTotal"),
            102_400
        );
        assert_eq!(meminfo("MemTotalX: 1 kB", "MemTotal"), 0);
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
