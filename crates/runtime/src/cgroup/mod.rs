//! Control groups, version 1 (a hierarchy for each controller) and version 2 (one for all).
//!
//! A pod's cgroup is `<parent>/<sandbox>`, with a child for each container. The shims live beside them
//! in `<parent>/shims`, so that stopping the agent's own service does not stop them.

mod devices;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use devices::{Access, Rule, default_rules};

use crate::error::Error;
use crate::spec::Resources;
use crate::state::Stats;

/// Where the machine's cgroups are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Mount points with the controllers found there.
    V1(Vec<(Vec<String>, PathBuf)>),
    /// The one mount point.
    V2(PathBuf),
}

impl Layout {
    /// Reads the mount table. A machine with v1 controllers counts as v1 even if there is an (empty) v2
    /// mount beside them, as systemd's hybrid layout has.
    pub(crate) fn detect() -> Result<Self, Error> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(Error::path("reading", path))?;
        Self::parse(&text).ok_or_else(|| {
            Error::Invalid(
                "no cgroup file system is mounted (expected one below /sys/fs/cgroup)".to_owned(),
            )
        })
    }

    fn parse(mountinfo: &str) -> Option<Self> {
        let mut v1: Vec<(Vec<String>, PathBuf)> = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let (left, right) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?;
            let mut right = right.split(' ');
            let (kind, options) = (right.next()?, right.nth(1).unwrap_or_default());
            if !point.starts_with("/sys/fs/cgroup") {
                continue;
            }
            if kind == "cgroup2" {
                v2.get_or_insert_with(|| PathBuf::from(point));
            } else if kind == "cgroup" {
                let controllers = options
                    .split(',')
                    .filter(|option| {
                        !["rw", "ro", "xattr", "clone_children", "none"].contains(option)
                    })
                    .map(str::to_owned)
                    .collect();
                if !v1.iter().any(|(_, known)| known == Path::new(point)) {
                    v1.push((controllers, PathBuf::from(point)));
                }
            }
        }
        if v1
            .iter()
            .any(|(controllers, _)| controllers.iter().any(|name| name == "memory"))
        {
            return Some(Self::V1(v1));
        }
        v2.map(Self::V2)
    }

    pub(crate) fn is_v2(&self) -> bool {
        matches!(self, Self::V2(_))
    }

    fn controller(&self, name: &str) -> Option<&Path> {
        match self {
            Self::V1(hierarchies) => hierarchies
                .iter()
                .find(|(controllers, _)| controllers.iter().any(|known| known == name))
                .map(|(_, point)| point.as_path()),
            Self::V2(root) => Some(root),
        }
    }
}

/// One cgroup, named by its path below the mount points.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    layout: Layout,
    path: String,
}

impl Cgroup {
    pub(crate) fn new(layout: &Layout, path: impl Into<String>) -> Self {
        Self {
            layout: layout.clone(),
            path: path.into(),
        }
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            layout: self.layout.clone(),
            path: format!("{}/{name}", self.path),
        }
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.layout.is_v2()
    }

    /// Below the mount points.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The directory of this cgroup for a controller.
    pub(crate) fn dir(&self, controller: &str) -> Option<PathBuf> {
        Some(self.layout.controller(controller)?.join(&self.path))
    }

    fn dirs(&self) -> Vec<PathBuf> {
        match &self.layout {
            Layout::V1(hierarchies) => hierarchies
                .iter()
                .map(|(_, point)| point.join(&self.path))
                .collect(),
            Layout::V2(root) => vec![root.join(&self.path)],
        }
    }

    /// Makes it so that children with limits can be made in it.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        match &self.layout {
            Layout::V1(hierarchies) => self.make_v1(hierarchies),
            Layout::V2(root) => self.child("any").nest_v2(root),
        }
    }

    fn make_v1(&self, hierarchies: &[(Vec<String>, PathBuf)]) -> Result<(), Error> {
        for (controllers, point) in hierarchies {
            // Nothing is limited or read in the others.
            if controllers.iter().any(|name| {
                ["cpu", "cpuacct", "memory", "pids", "devices", "freezer"].contains(&name.as_str())
            }) {
                let dir = point.join(&self.path);
                fs::create_dir_all(&dir).map_err(Error::path("making cgroup", dir))?;
            }
        }
        Ok(())
    }

    /// Makes it and sets its limits, save that of tasks. An existing one is taken over.
    pub(crate) fn create(&self, resources: &Resources) -> Result<(), Error> {
        match &self.layout {
            Layout::V1(hierarchies) => {
                self.make_v1(hierarchies)?;
                self.limit_v1(resources)
            }
            Layout::V2(root) => {
                self.nest_v2(root)?;
                let dir = root.join(&self.path);
                fs::create_dir_all(&dir).map_err(Error::path("making cgroup", &dir))?;
                Self::limit_v2(&dir, resources)
            }
        }
    }

    /// Makes the cgroups above this one and gives each the controllers for its children.
    fn nest_v2(&self, root: &Path) -> Result<(), Error> {
        let available = fs::read_to_string(root.join("cgroup.controllers"))
            .map_err(Error::path("reading", root.join("cgroup.controllers")))?;
        let wanted: Vec<_> = ["cpu", "cpuset", "io", "memory", "pids"]
            .into_iter()
            .filter(|name| available.split_whitespace().any(|known| known == *name))
            .collect();
        let mut dir = root.to_path_buf();
        let parents: Vec<_> = self.path.split('/').collect();
        for name in std::iter::once("").chain(parents[..parents.len() - 1].iter().copied()) {
            dir.push(name);
            fs::create_dir_all(&dir).map_err(Error::path("making cgroup", &dir))?;
            let control = dir.join("cgroup.subtree_control");
            let enabled = fs::read_to_string(&control).map_err(Error::path("reading", &control))?;
            let missing: Vec<_> = wanted
                .iter()
                .filter(|name| !enabled.split_whitespace().any(|known| known == **name))
                .collect();
            // A cgroup with processes of its own cannot have controlled children (only the real root can): what
            // looks like the root here is inside a container. Its processes move to a leaf, and before anything is
            // enabled: controllers of threads would be, and make it one whose children take no processes.
            if !missing.is_empty() && dir == *root && dir.join("cgroup.type").exists() {
                evacuate(root)?;
            }
            for controller in missing {
                match fs::write(&control, format!("+{controller}")) {
                    Err(error) if ["cpuset", "io"].contains(controller) => {
                        tracing::debug!(%error, %controller, "cgroup controller cannot be enabled");
                    }
                    result => {
                        result.map_err(Error::path("enabling cgroup controllers in", &control))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn limit_v1(&self, resources: &Resources) -> Result<(), Error> {
        let set = |controller: &str, file: &str, value: String| -> Result<(), Error> {
            let dir = self.dir(controller).ok_or_else(|| {
                Error::Invalid(format!("a {controller} limit was asked for, but this machine has no {controller} cgroup"))
            })?;
            write(&dir.join(file), &value)
        };
        if let Some(shares) = resources.cpu_shares {
            set("cpu", "cpu.shares", shares.clamp(2, 262_144).to_string())?;
        }
        if let Some(period) = resources.cpu_period_us {
            set("cpu", "cpu.cfs_period_us", period.to_string())?;
        }
        if let Some(quota) = resources.cpu_quota_us {
            set(
                "cpu",
                "cpu.cfs_quota_us",
                if quota <= 0 { -1 } else { quota }.to_string(),
            )?;
        }
        if let Some(bytes) = resources.memory_limit_bytes {
            set(
                "memory",
                "memory.limit_in_bytes",
                if bytes <= 0 { -1 } else { bytes }.to_string(),
            )?;
            // No way round the limit through swap, where the kernel accounts for it.
            if let Some(dir) = self.dir("memory")
                && bytes > 0
                && dir.join("memory.memsw.limit_in_bytes").exists()
            {
                set("memory", "memory.memsw.limit_in_bytes", bytes.to_string())?;
            }
        }
        Ok(())
    }

    fn limit_v2(dir: &Path, resources: &Resources) -> Result<(), Error> {
        if let Some(shares) = resources.cpu_shares {
            write(&dir.join("cpu.weight"), &weight(shares).to_string())?;
        }
        if resources.cpu_quota_us.is_some() || resources.cpu_period_us.is_some() {
            let quota = match resources.cpu_quota_us {
                Some(quota) if quota > 0 => quota.to_string(),
                _ => "max".to_owned(),
            };
            write(
                &dir.join("cpu.max"),
                &format!("{quota} {}", resources.cpu_period_us.unwrap_or(100_000)),
            )?;
        }
        if let Some(bytes) = resources.memory_limit_bytes {
            let limit = if bytes <= 0 {
                "max".to_owned()
            } else {
                bytes.to_string()
            };
            write(&dir.join("memory.max"), &limit)?;
            let swap = dir.join("memory.swap.max");
            if bytes > 0 && swap.exists() {
                write(&swap, "0")?;
            }
        }
        Ok(())
    }

    /// Restricts what devices its processes may use.
    pub(crate) fn restrict_devices(&self, rules: &[Rule]) -> Result<(), Error> {
        if self.layout.is_v2() {
            let Some(dir) = self.dir("devices") else {
                return Ok(());
            };
            let open = fs::File::open(&dir).map_err(Error::path("opening cgroup", &dir))?;
            crate::sys::attach_device_program(open.as_fd(), &devices::program(rules))
                .map_err(Error::path("restricting devices of cgroup", dir))
        } else if let Some(dir) = self.dir("devices") {
            write(&dir.join("devices.deny"), "a")?;
            for rule in rules {
                write(&dir.join("devices.allow"), &rule.to_string())?;
            }
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Forks; the child is in this cgroup.
    ///
    /// Moving a process by its number makes the kernel wait for a grace period of all CPUs, ten milliseconds as a
    /// rule. Being born in a cgroup does not, and neither does a single thread that moves itself.
    pub(crate) fn fork(&self) -> io::Result<Option<Pid>> {
        if let Layout::V2(root) = &self.layout {
            let dir = fs::File::open(root.join(&self.path))?;
            return crate::sys::fork_into(dir.as_fd());
        }
        let Some(pid) = crate::sys::fork()? else {
            if let Err(error) = self.enter() {
                eprintln!("joining cgroup {}: {error}", self.path);
                crate::sys::exit_now(1);
            }
            return Ok(None);
        };
        Ok(Some(pid))
    }

    /// Moves the calling process, which has one thread, in every hierarchy where the cgroup exists (v1).
    fn enter(&self) -> io::Result<()> {
        for dir in self.dirs() {
            match fs::OpenOptions::new().write(true).open(dir.join("tasks")) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => result?.write_all(b"0")?,
            }
        }
        Ok(())
    }

    /// Limits the number of tasks; on its own, because making a container takes more of them than running it.
    pub(crate) fn limit_pids(&self, limit: Option<i64>) -> Result<(), Error> {
        let Some(limit) = limit else { return Ok(()) };
        let dir = self.dir("pids").ok_or_else(|| {
            Error::Invalid(
                "a pids limit was asked for, but this machine has no pids cgroup".to_owned(),
            )
        })?;
        write(
            &dir.join("pids.max"),
            &if limit <= 0 {
                "max".to_owned()
            } else {
                limit.to_string()
            },
        )
    }

    /// Processes here and below.
    pub(crate) fn pids(&self) -> Vec<i32> {
        fn collect(dir: &Path, pids: &mut Vec<i32>) {
            if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
                pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            }
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    collect(&entry.path(), pids);
                }
            }
        }
        let mut pids = Vec::new();
        // The hierarchies have the same members, save for the moment when a task is being added.
        for dir in self.dirs() {
            collect(&dir, &mut pids);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills every process here and below, and waits until they are gone.
    pub(crate) fn kill_all(&self, deadline: Duration) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_micros(500);
        loop {
            let pids = self.pids();
            if pids.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::Invalid(format!(
                    "processes {pids:?} of cgroup {} do not die",
                    self.path
                )));
            }
            let whole = self.layout.is_v2()
                && self
                    .dir("")
                    .is_some_and(|dir| fs::write(dir.join("cgroup.kill"), "1").is_ok());
            if !whole {
                // Frozen, they cannot fork faster than they are killed.
                self.freeze(true);
                for pid in self.pids() {
                    // Gone already is as good.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                self.freeze(false);
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Best effort: a killed process dies without it too.
    fn freeze(&self, frozen: bool) {
        if self.layout.is_v2() {
            if let Some(dir) = self.dir("") {
                let _ = fs::write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" });
            }
        } else if let Some(dir) = self.dir("freezer") {
            let _ = fs::write(
                dir.join("freezer.state"),
                if frozen { "FROZEN" } else { "THAWED" },
            );
        }
    }

    /// Removes it and everything below; there must be no processes any more.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        for dir in self.dirs() {
            remove_tree(&dir).map_err(Error::path("removing cgroup", dir))?;
        }
        Ok(())
    }

    /// How many of its processes the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some(dir) = self.dir("memory") else {
            return 0;
        };
        let file = dir.join(if self.layout.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        });
        fs::read_to_string(file)
            .ok()
            .and_then(|text| field(&text, "oom_kill"))
            .unwrap_or(0)
    }

    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let read = |controller: &str, file: &str| -> Result<String, Error> {
            let dir = self.dir(controller).ok_or_else(|| {
                Error::Invalid(format!("this machine has no {controller} cgroup"))
            })?;
            fs::read_to_string(dir.join(file)).map_err(Error::path("reading", dir.join(file)))
        };
        let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
        let pids = number(read("pids", "pids.current")?);
        let (cpu_ns, usage, inactive) = if self.layout.is_v2() {
            (
                field(&read("cpu", "cpu.stat")?, "usage_usec").unwrap_or(0) * 1000,
                number(read("memory", "memory.current")?),
                field(&read("memory", "memory.stat")?, "inactive_file"),
            )
        } else {
            (
                number(read("cpuacct", "cpuacct.usage")?),
                number(read("memory", "memory.usage_in_bytes")?),
                field(&read("memory", "memory.stat")?, "total_inactive_file"),
            )
        };
        // The kubelet's working set: what could not be dropped without a thought.
        Ok(Stats {
            cpu_ns,
            memory_bytes: usage.saturating_sub(inactive.unwrap_or(0)),
            pids,
        })
    }
}

/// Puts the calling process where the shims live.
pub(crate) fn join_shims(layout: &Layout, parent: &str) -> Result<(), Error> {
    let dir = match layout {
        Layout::V2(root) => {
            let cgroup = Cgroup::new(layout, format!("{parent}/shims"));
            cgroup.nest_v2(root)?;
            root.join(cgroup.path)
        }
        // Only the hierarchy by which an init system tells services apart; the others would cost time
        // and limit nothing.
        Layout::V1(hierarchies) => {
            let Some((_, point)) = hierarchies
                .iter()
                .find(|(names, _)| names.iter().any(|name| name.starts_with("name=")))
            else {
                return Ok(());
            };
            point.join(parent).join("shims")
        }
    };
    fs::create_dir_all(&dir).map_err(Error::path("making cgroup", &dir))?;
    // See [`Cgroup::fork`] on what moving costs otherwise.
    write(
        &dir.join(if layout.is_v2() {
            "cgroup.procs"
        } else {
            "tasks"
        }),
        "0",
    )
}

/// Moves the processes of a cgroup, if it has any, into a leaf of it.
fn evacuate(root: &Path) -> Result<(), Error> {
    let leaf = root.join("init");
    // Processes may fork meanwhile; a few rounds catch them.
    for _ in 0..10 {
        let text =
            fs::read_to_string(root.join("cgroup.procs")).map_err(Error::path("reading", root))?;
        if text.trim().is_empty() {
            break;
        }
        fs::create_dir_all(&leaf).map_err(Error::path("making cgroup", &leaf))?;
        for pid in text.lines() {
            match fs::write(leaf.join("cgroup.procs"), pid) {
                Err(error)
                    if error.raw_os_error() != Some(libc::ESRCH)
                        && error.raw_os_error() != Some(libc::EINVAL) =>
                {
                    return Err(Error::path("moving processes to cgroup", &leaf)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The v2 weight for v1 shares, by the formula of the Kubernetes enhancement on cgroup v2.
fn weight(shares: u64) -> u64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9999) / 262_142
}

/// The number after a name in a flat keyed file.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// One `write(2)`, as cgroup files want it, without creating anything.
fn write(file: &Path, value: &str) -> Result<(), Error> {
    let result = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut open| open.write_all(value.as_bytes()));
    result.map_err(|source| {
        // The value matters more than the errno when a limit is refused.
        let source = io::Error::new(source.kind(), format!("{value:?}: {source}"));
        Error::path("writing", file)(source)
    })
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    // A cgroup stays busy for a moment after its last process was reaped.
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

/// Reads a small file without failing on what is not there.
pub(crate) fn read_small(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path)
        .ok()?
        .take(1 << 20)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_controllers_win_over_an_empty_v2_mount() {
        let text = "25 1 0:22 / /sys rw - sysfs sysfs rw\n\
                    30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse(text).unwrap();
        assert_eq!(
            layout.controller("cpuacct"),
            Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert_eq!(
            layout.controller("name=systemd"),
            Some(Path::new("/sys/fs/cgroup/systemd"))
        );
        assert_eq!(layout.controller("pids"), None);
        assert!(!layout.is_v2());
    }

    #[test]
    fn a_pure_v2_machine_is_seen() {
        let text =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            Layout::parse(text),
            Some(Layout::V2("/sys/fs/cgroup".into()))
        );
    }

    #[test]
    fn shares_become_weights_as_kubernetes_has_it() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 39, 10_000]);
    }

    #[test]
    fn v2_limits_are_written_in_v2_terms() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "cpu.weight",
            "cpu.max",
            "memory.max",
            "memory.swap.max",
            "pids.max",
        ] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let resources = Resources {
            cpu_shares: Some(1024),
            cpu_quota_us: Some(50_000),
            cpu_period_us: None,
            memory_limit_bytes: Some(64 << 20),
            pids_limit: Some(100),
        };
        Cgroup::limit_v2(dir.path(), &resources).unwrap();
        Cgroup::new(&Layout::V2(dir.path().into()), "")
            .limit_pids(resources.pids_limit)
            .unwrap();
        let read = |file| fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("cpu.weight"), "39");
        assert_eq!(read("cpu.max"), "50000 100000");
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("pids.max"), "100");
    }

    #[test]
    fn a_process_can_be_born_in_a_v2_cgroup_and_killed_with_it() {
        let Some(root) = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.join("cgroup.controllers").exists())
        else {
            eprintln!("no cgroup v2 mount here");
            return;
        };
        if !nix::unistd::geteuid().is_root() {
            eprintln!("only root can make cgroups");
            return;
        }
        let layout = Layout::V2(root.into());
        let parent = Cgroup::new(&layout, format!("consort-unit-{}", std::process::id()));
        let cgroup = parent.child("leaf");
        cgroup.create(&Resources::default()).unwrap();
        let Some(pid) = cgroup.fork().unwrap() else {
            loop {
                nix::unistd::pause();
            }
        };
        assert_eq!(cgroup.pids(), [pid.as_raw()]);
        let killer =
            std::thread::spawn(move || cgroup.kill_all(Duration::from_secs(10)).map(|()| cgroup));
        let status = nix::sys::wait::waitpid(pid, None).unwrap();
        assert_eq!(
            status,
            nix::sys::wait::WaitStatus::Signaled(pid, Signal::SIGKILL, false)
        );
        killer.join().unwrap().unwrap().remove().unwrap();
        parent.remove().unwrap();
    }
}
