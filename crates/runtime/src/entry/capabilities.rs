//! Sets of capabilities, as bits by their numbers in `linux/capability.h`.

const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker and containerd give a container.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All of them.
pub(crate) const ALL: u64 = (1 << NAMES.len()) - 1;

/// How many there are.
pub(crate) const COUNT: u32 = NAMES.len() as u32;

fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| *known == plain)
        .map(|position| 1 << position)
}

/// Whether `set` has the one called `name`.
pub(crate) fn has(set: u64, name: &str) -> bool {
    bit(name).is_some_and(|bit| set & bit != 0)
}

/// The default set with additions and removals. As in containerd, `ALL` counts first, names after.
pub(crate) fn compute(privileged: bool, add: &[String], drop: &[String]) -> Result<u64, String> {
    if privileged {
        return Ok(ALL);
    }
    let is_all =
        |name: &&String| name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL");
    let bits = |names: &[String]| -> Result<u64, String> {
        names
            .iter()
            .filter(|name| !is_all(name))
            .try_fold(0, |set, name| {
                bit(name)
                    .map(|bit| set | bit)
                    .ok_or_else(|| format!("unknown capability {name:?}"))
            })
    };
    let mut set = DEFAULT
        .iter()
        .filter_map(|name| bit(name))
        .fold(0, |set, bit| set | bit);
    if drop.iter().any(|name| is_all(&name)) {
        set = 0;
    }
    if add.iter().any(|name| is_all(&name)) {
        set = ALL;
    }
    Ok((set | bits(add)?) & !bits(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<u64, String> {
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        compute(false, &own(add), &own(drop))
    }

    #[test]
    fn the_default_is_the_mask_known_from_proc_status() {
        assert_eq!(set(&[], &[]), Ok(0xa804_25fb));
    }

    #[test]
    fn names_come_after_all() {
        assert_eq!(set(&["NET_BIND_SERVICE"], &["ALL"]), Ok(1 << 10));
        assert_eq!(set(&["all"], &["CAP_SYS_ADMIN"]), Ok(ALL & !(1 << 21)));
    }

    #[test]
    fn an_unknown_name_is_named() {
        assert_eq!(
            set(&["CAP_FLY"], &[]),
            Err("unknown capability \"CAP_FLY\"".to_owned())
        );
    }
}
