//! The system-call filter.
//!
//! `seccompiler` turns rules into BPF; installing is ours, because its own way sets `no_new_privs`,
//! which would break set-user-id programs in containers that allow them. The default is an allow-list
//! with the system calls that Docker's and containerd's default profiles allow, by capability; what is
//! not known to it fails with ENOSYS like on an older kernel, what is known and not allowed with EPERM.
//!
//! Filters are for the native architecture: programs of another one (32-bit on x86-64) are killed.

mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use serde::Deserialize;

use self::table::{BY_CAPABILITY, COMMON, number};
use super::capabilities;
use crate::spec::Seccomp;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;
#[cfg(target_arch = "riscv64")]
const ARCH: TargetArch = TargetArch::riscv64;

/// Numbers from here on are unknown to the list: a kernel newer than it.
const FIRST_UNKNOWN: u32 = 463;

/// Compiled filters, in the order of installation. Empty is unconfined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters(Vec<BpfProgram>);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl Filters {
    pub(crate) fn load(profile: &Seccomp, capabilities: u64) -> Result<Self, String> {
        match profile {
            Seccomp::Unconfined => Ok(Self::default()),
            Seccomp::Default => Self::default_list(capabilities),
            Seccomp::Path(path) => Self::read(path, capabilities),
        }
    }

    /// Installs them for this process and what it executes.
    pub(crate) fn install(&self) -> io::Result<()> {
        self.0
            .iter()
            .try_for_each(|program| crate::sys::install_filter(program))
    }

    fn default_list(set: u64) -> Result<Self, String> {
        let mut rules = Rules::new();
        for name in COMMON {
            if let Some(number) = number(name) {
                rules.insert(number, Vec::new());
            }
        }
        // No new namespaces without CAP_SYS_ADMIN, and no virtual-machine sockets.
        let namespaces = 0x7e02_0000;
        let when = |argument, op, value| -> Result<SeccompRule, String> {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, op, value)
                .map_err(show)?;
            SeccompRule::new(vec![condition]).map_err(show)
        };
        rules.insert(
            libc::SYS_clone,
            vec![when(0, SeccompCmpOp::MaskedEq(namespaces), 0)?],
        );
        rules.insert(
            libc::SYS_socket,
            vec![when(0, SeccompCmpOp::Ne, libc::AF_VSOCK as u64)?],
        );
        let personalities = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
        let personalities = personalities.map(|value| when(0, SeccompCmpOp::Eq, value));
        rules.insert(
            libc::SYS_personality,
            personalities.into_iter().collect::<Result<_, _>>()?,
        );
        for (capability, names) in BY_CAPABILITY {
            if capabilities::has(set, capability) {
                for number in names.iter().filter_map(|name| number(name)) {
                    rules.insert(number, Vec::new());
                }
            }
        }
        let mut list = not_there(!capabilities::has(set, "SYS_ADMIN"));
        list.extend(compile(
            rules,
            SeccompAction::Errno(libc::EPERM as u32),
            SeccompAction::Allow,
        )?);
        Ok(Self(vec![list]))
    }

    /// A profile in Docker's JSON form: one compiled filter for what is let through or answered by the
    /// default, and one more for each other action.
    fn read(path: &Path, set: u64) -> Result<Self, String> {
        let text = std::fs::read(path)
            .map_err(|error| format!("reading seccomp profile {}: {error}", path.display()))?;
        let profile: Profile = serde_json::from_slice(&text)
            .map_err(|error| format!("parsing seccomp profile {}: {error}", path.display()))?;
        let default = action(&profile.default_action, profile.default_errno_ret)
            .map_err(|error| format!("seccomp profile {}: {error}", path.display()))?;
        let mut by_action: Vec<(SeccompAction, Rules)> = Vec::new();
        let mut not_default = Rules::new();
        for group in &profile.syscalls {
            if !group.applies(set) {
                continue;
            }
            let wanted = action(&group.action, group.errno_ret)
                .map_err(|error| format!("seccomp profile {}: {error}", path.display()))?;
            if wanted == default {
                continue;
            }
            for number in group
                .names
                .iter()
                .chain(&group.name)
                .filter_map(|name| number(name))
            {
                let rule = group.rule()?;
                add(&mut not_default, number, rule.clone());
                if wanted != SeccompAction::Allow {
                    let known = by_action.iter().position(|(known, _)| *known == wanted);
                    let at = known.unwrap_or_else(|| {
                        by_action.push((wanted.clone(), Rules::new()));
                        by_action.len() - 1
                    });
                    add(&mut by_action[at].1, number, rule);
                }
            }
        }
        let mut programs = Vec::new();
        if default != SeccompAction::Allow {
            programs.push(compile(not_default, default, SeccompAction::Allow)?);
        }
        for (wanted, rules) in by_action {
            programs.push(compile(rules, SeccompAction::Allow, wanted)?);
        }
        Ok(Self(programs))
    }
}

/// Adds a way to match; once a call matches without conditions it stays so.
fn add(rules: &mut Rules, number: i64, rule: Option<SeccompRule>) {
    match (rules.get_mut(&number), rule) {
        (None, rule) => {
            rules.insert(number, rule.into_iter().collect());
        }
        (Some(known), Some(rule)) if !known.is_empty() => known.push(rule),
        (Some(known), None) => known.clear(),
        (Some(_), Some(_)) => {}
    }
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let filter = SeccompFilter::new(rules, otherwise, matched, ARCH).map_err(show)?;
    BpfProgram::try_from(filter).map_err(show)
}

fn show(error: impl std::fmt::Display) -> String {
    format!("building the system-call filter: {error}")
}

/// How the list begins: ENOSYS for what is unknown to it, and for `clone3`, whose flags cannot be looked at, so
/// that libraries fall back to `clone`. The rest, with its check of the architecture, follows.
fn not_there(clone3: bool) -> BpfProgram {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let op = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let refuse = 0x0005_0000 | libc::ENOSYS as u32;
    let clone3 = if clone3 {
        libc::SYS_clone3 as u32
    } else {
        u32::MAX
    };
    vec![
        op(LOAD, 0, 0, 0),
        op(EQUAL, 1, 0, clone3),
        op(AT_LEAST, 0, 1, FIRST_UNKNOWN),
        op(RETURN, 0, 0, refuse),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl Condition {
    fn holds(&self, set: u64, empty: bool) -> bool {
        let native = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        if self.caps.is_empty() && self.arches.is_empty() {
            return empty;
        }
        (self.caps.is_empty() || self.caps.iter().any(|name| capabilities::has(set, name)))
            && (self.arches.is_empty() || self.arches.iter().any(|arch| arch == native))
    }
}

impl Group {
    fn applies(&self, set: u64) -> bool {
        self.includes.holds(set, true) && !self.excludes.holds(set, false)
    }

    fn rule(&self) -> Result<Option<SeccompRule>, String> {
        let arguments = self.args.as_deref().unwrap_or_default();
        if arguments.is_empty() {
            return Ok(None);
        }
        let conditions = arguments.iter().map(|argument| {
            let (op, value) = match argument.op.as_str() {
                "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
                "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
                "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
                "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
                "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
                "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
                "SCMP_CMP_MASKED_EQ" => {
                    (SeccompCmpOp::MaskedEq(argument.value), argument.value_two)
                }
                other => return Err(format!("unknown comparison {other:?} in a seccomp profile")),
            };
            SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, op, value).map_err(show)
        });
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
            .map(Some)
            .map_err(show)
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(libc::EPERM as u32)),
        other => return Err(format!("unknown action {other:?}")),
    })
}
