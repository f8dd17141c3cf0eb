//! The processors.

use indexmap::IndexMap;
use serde_json::json;

use super::{Facts, Gathering};

/// What `/proc/cpuinfo` has of all processors together.
#[derive(Default)]
struct Counted {
    /// Cores of each socket, in the order they are told.
    sockets: IndexMap<String, i64>,
    /// Threads of each core.
    cores: IndexMap<String, i64>,
    names: Vec<String>,
    flags: Option<Vec<String>>,
    vendors: i64,
    models: i64,
    processors: i64,
    /// Lines that tell of a processor, or how many a SPARC has.
    told: i64,
    /// Of an IBM Z: processors, and threads of each.
    main_frame: (i64, i64),
    is_paravirtual: bool,
}

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    let is_xen = gathering.exists("/proc/xen")
        || gathering
            .lines("/sys/hypervisor/type")
            .first()
            .is_some_and(|kind| kind.trim() == "xen");
    let Some(text) = gathering.cpuinfo() else {
        return facts;
    };
    let mut counted = count(&text, is_xen);
    if counted.vendors > 0 && counted.vendors == counted.models {
        counted.told = counted.vendors;
    }
    let architecture = gathering.known_text("ansible_architecture");
    if ["armv", "aarch", "ppc"]
        .iter()
        .any(|start| architecture.starts_with(start))
    {
        counted.told = counted.processors;
    }
    let [count, cores, threads, all, present] = if architecture == "s390x" {
        let (processors, threads) = counted.main_frame;
        let cores = rounded(processors, threads);
        [1, cores, threads, processors, processors]
    } else if counted.is_paravirtual {
        [counted.told, counted.told, 1, counted.told, counted.told]
    } else {
        let count = if counted.sockets.is_empty() {
            counted.told
        } else {
            counted.sockets.len() as i64
        };
        let cores = counted
            .sockets
            .values()
            .next()
            .copied()
            .filter(|cores| *cores != 0)
            .unwrap_or(1);
        let threads = rounded(counted.cores.values().next().copied().unwrap_or(1), cores);
        [
            count,
            cores,
            threads,
            threads * count * cores,
            counted.processors,
        ]
    };
    facts.insert("processor".to_owned(), json!(counted.names));
    if let Some(flags) = counted.flags {
        facts.insert("flags".to_owned(), json!(flags));
    }
    for (name, value) in [
        ("count", count),
        ("cores", cores),
        ("threads_per_core", threads),
        ("vcpus", all),
        ("nproc", usable(gathering).unwrap_or(present)),
    ] {
        facts.insert(format!("processor_{name}"), json!(value));
    }
    facts
}

fn count(text: &str, is_xen: bool) -> Counted {
    let mut counted = Counted::default();
    let (mut socket, mut core) = ("0", "0");
    for line in text.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        let number = || value.parse::<i64>().unwrap_or(0);
        match key {
            "flags" => {
                if is_xen && !value.contains("vme") {
                    counted.is_paravirtual = true;
                }
                // Those of the last processor are told; they are split once.
                counted.flags = Some(Vec::new());
            }
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" | "processor" => {
                counted.names.push(value.to_owned());
                counted.vendors += i64::from(key == "vendor_id");
                counted.models += i64::from(key == "model name");
                counted.processors += i64::from(key == "processor");
                counted.told += 1;
            }
            "physical id" => {
                socket = value;
                counted.sockets.entry(socket.to_owned()).or_insert(1);
            }
            "core id" => {
                core = value;
                if !counted.sockets.contains_key(core) {
                    counted.cores.insert(core.to_owned(), 1);
                }
            }
            "cpu cores" => {
                counted.sockets.insert(socket.to_owned(), number());
            }
            "siblings" => {
                counted.cores.insert(core.to_owned(), number());
            }
            "# processors" => counted.main_frame.0 = number(),
            "max thread id" => counted.main_frame.1 = number() + 1,
            "ncpus active" => counted.told = number(),
            _ => {}
        }
    }
    if let Some(flags) = &mut counted.flags {
        *flags = text
            .lines()
            .rev()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == "flags")
            .map(|(_, value)| value.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default();
    }
    counted
}

/// A quotient as Python's `round` has it: halves to the even side.
fn rounded(number: i64, by: i64) -> i64 {
    if by == 0 {
        return 0;
    }
    (number as f64 / by as f64).round_ties_even() as i64
}

/// How many processors this may run on.
fn usable(gathering: &Gathering<'_, '_>) -> Option<i64> {
    if !gathering.live {
        return None;
    }
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok()?;
    let count = (0..nix::sched::CpuSet::count())
        .filter(|number| set.is_set(*number).unwrap_or(false))
        .count();
    i64::try_from(count).ok()
}
