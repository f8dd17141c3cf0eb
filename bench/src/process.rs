//! What the kernel counts for a process and its descendants.

use std::fs;
use std::time::Duration;

/// The processes that descend from `root`, `root` first. Shims leave the tree on purpose: with what
/// descends from them they are found by `marker`, a text in their command line.
pub(crate) fn family(root: u32, marker: &str) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        parents.push((pid, parent(pid)));
    }
    let marked = |pid: u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
    };
    let mut family = vec![root];
    family.extend(
        parents
            .iter()
            .map(|(pid, _)| *pid)
            .filter(|pid| *pid != root && *pid != std::process::id() && marked(*pid)),
    );
    let mut next = 0;
    while next < family.len() {
        let of = family[next];
        for (pid, parent) in &parents {
            if *parent == of && !family.contains(pid) {
                family.push(*pid);
            }
        }
        next += 1;
    }
    family
}

fn parent(pid: u32) -> u32 {
    stat(pid)
        .get(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0)
}

/// The fields of `/proc/PID/stat` after the name.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().map(str::to_owned).collect()
}

/// Processor time used so far, to a hundredth of a second; threads that have ended count.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let fields = stat(pid);
    let ticks: u64 = fields
        .iter()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The same with that of its children that have ended and were waited for.
pub(crate) fn cpu_time_with_children(pid: u32) -> Duration {
    let fields = stat(pid);
    let ticks: u64 = fields
        .iter()
        .skip(11)
        .take(4)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Proportional set size in bytes: memory shared with others is shared out.
pub(crate) fn pss(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap_or(0)
        * 1024
}
