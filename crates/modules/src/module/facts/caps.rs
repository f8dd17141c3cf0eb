//! The capabilities of who gathers, as `capsh --print` tells them.

use serde_json::json;

use super::{Facts, Gathering};

/// The names of the capabilities by their numbers.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::from_iter([
        ("system_capabilities_enforced".to_owned(), json!("N/A")),
        ("system_capabilities".to_owned(), json!("N/A")),
    ]);
    let Some(capsh) = gathering.program("capsh") else {
        return facts;
    };
    if !gathering.live {
        return facts;
    }
    let said = match current(gathering) {
        Some(line) => line,
        None => match gathering.output(&[&capsh, "--print"]) {
            Some(said) => said,
            None => return facts,
        },
    };
    let (mut enforced, mut names) = ("NA", Vec::new());
    for line in said.lines().filter(|line| line.starts_with("Current:")) {
        if line.split(':').nth(1).map(str::trim) == Some("=ep") {
            enforced = "False";
        } else {
            enforced = "True";
            names = line
                .split('=')
                .nth(1)
                .unwrap_or("")
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect();
        }
    }
    facts.insert("system_capabilities_enforced".to_owned(), json!(enforced));
    facts.insert("system_capabilities".to_owned(), json!(names));
    facts
}

/// The line `capsh` would print, from what the kernel tells; `None` where its library is none whose way of writing is
/// known, or there are capabilities without a known name.
fn current(gathering: &Gathering<'_, '_>) -> Option<String> {
    if !is_known_library(gathering) {
        return None;
    }
    let status = gathering.text("/proc/self/status")?;
    let set = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
    };
    let (inheritable, permitted, effective) = (set("CapInh")?, set("CapPrm")?, set("CapEff")?);
    let last: usize = gathering
        .content("/proc/sys/kernel/cap_last_cap")?
        .parse()
        .ok()?;
    if last >= NAMES.len() {
        return None;
    }
    written(inheritable, permitted, effective, last + 1).map(|text| format!("Current: {text}"))
}

/// libcap writes the texts of capabilities in one way since 2.33 at the latest.
fn is_known_library(gathering: &Gathering<'_, '_>) -> bool {
    let mut places = vec!["/usr/lib64".to_owned(), "/usr/lib".to_owned()];
    for name in gathering.names("/usr/lib").unwrap_or_default() {
        if name.contains("-linux-") {
            places.push(format!("/usr/lib/{name}"));
        }
    }
    places.iter().any(|place| {
        gathering
            .link(&format!("{place}/libcap.so.2"))
            .ok()
            .and_then(|target| target.rsplit("libcap.so.2.").next()?.parse::<u32>().ok())
            .is_some_and(|minor| minor >= 44)
    })
}

const EFFECTIVE: usize = 1;
const PERMITTED: usize = 2;
const INHERITABLE: usize = 4;

/// Sets of capabilities as `cap_to_text` of libcap writes them: what most have in common first, then what differs. `None`
/// for what is seldom enough to be left to it.
fn written(inheritable: u64, permitted: u64, effective: u64, count: usize) -> Option<String> {
    let state = |number: usize| {
        let bit = |set: u64, flag: usize| {
            if number < 64 && set >> number & 1 == 1 {
                flag
            } else {
                0
            }
        };
        bit(effective, EFFECTIVE) | bit(permitted, PERMITTED) | bit(inheritable, INHERITABLE)
    };
    let mut counted = [0_usize; 8];
    for number in 0..count {
        counted[state(number)] += 1;
    }
    // The combination that most have; of equals the smaller.
    let mut usual = 7;
    for combination in (0..7).rev() {
        if counted[combination] >= counted[usual] {
            usual = combination;
        }
    }
    let different = (0..8).filter(|at| *at != usual && counted[*at] > 0).count();
    if usual == 0 && different > 1 {
        return None;
    }
    let letters = |combination: usize| {
        [(EFFECTIVE, 'e'), (INHERITABLE, 'i'), (PERMITTED, 'p')]
            .iter()
            .filter(|(flag, _)| combination & flag != 0)
            .map(|(_, letter)| *letter)
            .collect::<String>()
    };
    let mut text = String::new();
    if usual != 0 || counted[usual] == count {
        text = format!("={}", letters(usual));
    }
    for combination in (0..8).rev() {
        if combination == usual || counted[combination] == 0 {
            continue;
        }
        let names: Vec<String> = (0..count)
            .filter(|number| state(*number) == combination)
            .map(|number| format!("cap_{}", NAMES[number]))
            .collect();
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&names.join(","));
        let (added, taken) = (combination & !usual, usual & !combination);
        if added != 0 {
            // Where nothing is usual, what is set is all there is.
            text.push(if usual == 0 { '=' } else { '+' });
            text.push_str(&letters(added));
        }
        if taken != 0 {
            text.push('-');
            text.push_str(&letters(taken));
        }
    }
    Some(text)
}
