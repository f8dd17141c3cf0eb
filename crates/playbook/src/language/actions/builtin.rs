//! What `ansible.builtin` has, what has left it, and where that has gone.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Found, Sort, Step};
use crate::python::core::Core;
use crate::source::{Located, Removal};

/// Where the plugins that `ansible.builtin` no longer has have gone, and its groups of actions.
const ROUTING: &str = include_str!("../../../data/routing.txt");

/// Modules and actions of `ansible.builtin`.
pub(crate) const BUILTIN: &[&str] = &[
    "add_host",
    "apt",
    "apt_key",
    "apt_repository",
    "assemble",
    "assert",
    "async_status",
    "async_wrapper",
    "blockinfile",
    "command",
    "copy",
    "cron",
    "deb822_repository",
    "debconf",
    "debug",
    "dnf",
    "dnf5",
    "dpkg_selections",
    "expect",
    "fail",
    "fetch",
    "file",
    "find",
    "gather_facts",
    "get_url",
    "getent",
    "git",
    "group",
    "group_by",
    "hostname",
    "import_playbook",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "iptables",
    "known_hosts",
    "lineinfile",
    "meta",
    "mount_facts",
    "normal",
    "package",
    "package_facts",
    "pause",
    "ping",
    "pip",
    "raw",
    "reboot",
    "replace",
    "rpm_key",
    "script",
    "service",
    "service_facts",
    "set_fact",
    "set_stats",
    "setup",
    "shell",
    "slurp",
    "stat",
    "subversion",
    "systemd",
    "systemd_service",
    "sysvinit",
    "tempfile",
    "template",
    "unarchive",
    "uri",
    "user",
    "validate_argument_spec",
    "wait_for",
    "wait_for_connection",
    "yum_repository",
];

/// The lookups of ansible.builtin.
pub(crate) const LOOKUPS: &[&str] = &[
    "config",
    "csvfile",
    "dict",
    "env",
    "file",
    "fileglob",
    "first_found",
    "indexed_items",
    "ini",
    "inventory_hostnames",
    "items",
    "lines",
    "list",
    "nested",
    "password",
    "pipe",
    "random_choice",
    "sequence",
    "subelements",
    "template",
    "together",
    "unvault",
    "url",
    "varnames",
    "vars",
];

pub(super) struct Routing {
    /// By kind and name, the full new name.
    redirects: HashMap<(&'static str, &'static str), String>,
    gone: HashMap<(&'static str, &'static str), (&'static str, &'static str)>,
    pub(super) deprecated: HashMap<(&'static str, &'static str), (&'static str, &'static str)>,
    pub(super) groups: HashMap<&'static str, Vec<&'static str>>,
}

pub(super) static TABLE: LazyLock<Routing> = LazyLock::new(|| {
    let mut table = Routing {
        redirects: HashMap::new(),
        gone: HashMap::new(),
        deprecated: HashMap::new(),
        groups: HashMap::new(),
    };
    for line in ROUTING.lines() {
        let Some((kind, rest)) = line.split_once(' ') else {
            continue;
        };
        let (subject, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if kind == "group" {
            table
                .groups
                .insert(subject, rest.split_whitespace().collect());
        } else if let Some(kind) = kind.strip_prefix("tombstone-") {
            let split = rest.split_once(' ').unwrap_or((rest, ""));
            table.gone.insert((kind, subject), split);
        } else if let Some(kind) = kind.strip_prefix("deprecation-") {
            let split = rest.split_once(' ').unwrap_or((rest, ""));
            table.deprecated.insert((kind, subject), split);
        } else {
            for name in rest.split_whitespace() {
                let (name, leaf) = name.split_once('=').unwrap_or((name, name));
                table
                    .redirects
                    .insert((kind, name), format!("{subject}.{leaf}"));
            }
        }
    }
    table
});

pub(super) fn builtin(sort: Sort, leaf: &str) -> Result<Step, Located> {
    let table = &*TABLE;
    let name = format!("ansible.builtin.{leaf}");
    if let Some(to) = table.redirects.get(&(sort.word(), leaf)) {
        return Ok(Step::Redirect(to.clone()));
    }
    if let Some((removal, warning)) = table.gone.get(&(sort.word(), leaf)) {
        let mut gone = Removal::of_core(*removal);
        if removal.contains('-') {
            std::mem::swap(&mut gone.version, &mut gone.date);
        }
        return Err(removed(sort, &name, warning, &gone));
    }
    let known = match sort {
        Sort::Module => BUILTIN.contains(&leaf) && leaf != "normal",
        Sort::Action => has_own_action(leaf),
        Sort::Lookup => LOOKUPS.contains(&leaf),
    };
    if known {
        return Ok(Step::Found(Found::Builtin(name)));
    }
    // an ansible-core may have more than is known here; it is looked for where nothing else has the name
    let more = (sort == Sort::Module)
        .then(Core::installed)
        .and_then(Result::ok)
        .and_then(|core| core.module(leaf));
    Ok(match more {
        Some(path) => Step::Found(Found::File(name, path)),
        None => Step::None,
    })
}

/// Whether a plugin of a kind (`filter`, `test`, `lookup`) was taken over by a collection.
pub(crate) fn has_moved(kind: &str, name: &str) -> bool {
    TABLE.redirects.contains_key(&(kind, name))
}

/// Whether something of an action happens on the controller.
fn has_own_action(leaf: &str) -> bool {
    matches!(
        leaf,
        "add_host"
            | "assemble"
            | "assert"
            | "async_status"
            | "command"
            | "copy"
            | "debug"
            | "dnf"
            | "fail"
            | "fetch"
            | "gather_facts"
            | "group_by"
            | "include_vars"
            | "normal"
            | "package"
            | "pause"
            | "raw"
            | "reboot"
            | "script"
            | "service"
            | "set_fact"
            | "set_stats"
            | "shell"
            | "template"
            | "unarchive"
            | "uri"
            | "validate_argument_spec"
            | "wait_for_connection"
    )
}

pub(super) fn removed(sort: Sort, name: &str, warning: &str, removal: &Removal) -> Located {
    let kind = match sort {
        Sort::Module => "module",
        Sort::Action => "action plugin",
        Sort::Lookup => "lookup plugin",
    };
    let what = format!("The '{name}' {kind} has been removed. {warning}");
    Located::new(removal.recorded(&what))
}
