//! By what the things that modules set are known, and how they are undone.

use std::collections::BTreeMap;

use consort_plan::Action;
use serde_json::{Map, Value as Json, json};

use super::described::of_piece;
use super::record::Thing;
use super::told::{Deed, Piece};

/// The arguments by which what a module sets is known: of each group of names the first that is given.
fn keys(leaf: &str) -> &'static [&'static [&'static str]] {
    const PATH: &[&[&str]] = &[&["path", "dest", "destfile", "name"]];
    match leaf {
        "file" | "copy" | "template" | "assemble" | "get_url" | "unarchive" | "archive" | "git"
        | "subversion" | "tempfile" => PATH,
        "lineinfile" => &[
            &["path", "dest", "destfile", "name"],
            &["regexp", "regex", "search_string"],
            &["line", "value"],
        ],
        "blockinfile" => &[&["path", "dest", "destfile", "name"], &["marker"]],
        "replace" => &[&["path", "dest", "destfile", "name"], &["regexp"]],
        "ini_file" => &[&["path", "dest"], &["section"], &["option"]],
        "apt" | "dnf" | "dnf5" | "yum" | "package" | "apk" | "pacman" | "zypper" => {
            &[&["name", "package", "pkg"]]
        }
        "pip" => &[&["name"], &["requirements"], &["virtualenv"]],
        "user" => &[&["name", "user"]],
        "cron" => &[&["name"], &["user"], &["cron_file"], &["env"]],
        "group" | "hostname" | "service" | "systemd" | "systemd_service" | "sysvinit" => {
            &[&["name", "service", "unit"]]
        }
        "sysctl" => &[&["name", "key"], &["sysctl_file"]],
        "mount" => &[&["path", "name"]],
        "authorized_key" => &[&["user"], &["key"], &["path"]],
        "known_hosts" => &[&["name", "host"], &["path", "dest"]],
        "apt_repository" => &[&["repo"], &["filename"]],
        "deb822_repository" | "yum_repository" | "dpkg_selections" => &[&["name"]],
        "debconf" => &[&["name", "pkg"], &["question", "setting"]],
        "iptables" => &[
            &["table"],
            &["chain"],
            &["rule_num"],
            &["protocol"],
            &["source"],
            &["destination"],
            &["in_interface"],
            &["out_interface"],
            &["source_port"],
            &["destination_port"],
            &["destination_ports"],
            &["ctstate"],
            &["match"],
            &["jump"],
            &["comment"],
            &["ip_version"],
            &["policy"],
        ],
        "command" | "shell" | "script" | "raw" | "expect" | "reboot" | "uri" => &[],
        _ => &[&["path", "dest", "name", "id"]],
    }
}

fn leaf_of(module: &str) -> &str {
    module
        .strip_prefix("ansible.builtin.")
        .or_else(|| module.strip_prefix("ansible.legacy."))
        .or_else(|| module.strip_prefix("ansible.posix."))
        .unwrap_or(module)
}

/// Modules that set the same kind of thing: a file that was copied may be a template later.
pub(super) fn family(module: &str) -> &str {
    match leaf_of(module) {
        "copy" | "template" | "assemble" | "get_url" | "file" | "unarchive" | "git" => "file",
        "apt" | "dnf" | "dnf5" | "yum" | "package" => "package",
        "service" | "systemd" | "systemd_service" | "sysvinit" => "service",
        other => other,
    }
}

/// By what the thing is known that a module is asked to set; nothing where it is asked to take something away, or leaves
/// nothing that has a name.
pub(super) fn of(leaf: &str, arguments: &Map<String, Json>) -> BTreeMap<String, Json> {
    let state = arguments.get("state").and_then(Json::as_str);
    if matches!(
        state,
        Some("absent" | "removed" | "uninstalled" | "unmounted")
    ) {
        return BTreeMap::new();
    }
    let mut identity = BTreeMap::new();
    for names in keys(leaf_of(leaf)) {
        let Some(first) = names.first() else { continue };
        let found = names
            .iter()
            .find_map(|name| arguments.get(*name).filter(|value| !value.is_null()));
        if let Some(value) = found {
            identity.insert((*first).to_owned(), value.clone());
        }
    }
    if leaf_of(leaf) == "file" && state == Some("directory") && !identity.is_empty() {
        // Others may have put something into it: it is undone with more care than a file.
        identity.insert("state".to_owned(), json!("directory"));
    }
    identity
}

/// Whether a task made the thing: it was not there before.
pub(super) fn is_made(deed: &Deed, piece: &Piece) -> bool {
    if !piece.changed {
        return false;
    }
    match family(&deed.action) {
        // A line, a user, a job: modules do not tell whether it was there in another form; that it changed is all there is.
        "lineinfile" | "blockinfile" | "ini_file" | "authorized_key" | "known_hosts"
        | "apt_repository" | "deb822_repository" | "yum_repository" | "iptables" | "cron"
        | "group" | "sysctl" | "mount" | "service" => true,
        "user" => piece.created,
        _ => of_piece(deed, piece).0 == Action::Create,
    }
}

/// What undoes a thing: the module, and its arguments. None for what nothing undoes.
pub(super) fn inverse(thing: &Thing) -> Option<(String, Map<String, Json>)> {
    let identity = &thing.identity;
    if identity.is_empty() || !thing.made {
        return None;
    }
    let mut arguments: Map<String, Json> = identity
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let absent = |mut arguments: Map<String, Json>, module: &str| {
        arguments.insert("state".to_owned(), json!("absent"));
        Some((module.to_owned(), arguments))
    };
    match family(&thing.module) {
        "file" => {
            let path = identity.get("path")?.as_str()?;
            // Nobody means to take away a whole system.
            if !path.starts_with('/') || path.trim_end_matches('/').matches('/').count() < 2 {
                return None;
            }
            if identity.get("state").is_some() {
                let argv = json!(["rmdir", "--ignore-fail-on-non-empty", path]);
                let arguments = Map::from_iter([
                    ("argv".to_owned(), argv),
                    ("removes".to_owned(), json!(path)),
                ]);
                return Some(("ansible.builtin.command".to_owned(), arguments));
            }
            absent(
                Map::from_iter([("path".to_owned(), json!(path))]),
                "ansible.builtin.file",
            )
        }
        "lineinfile" => {
            // What was matched was replaced by the line: that is what is there.
            if arguments.contains_key("line") {
                arguments.remove("regexp");
            }
            absent(arguments, "ansible.builtin.lineinfile")
        }
        "service" => {
            arguments.insert("state".to_owned(), json!("stopped"));
            arguments.insert("enabled".to_owned(), json!(false));
            Some(("ansible.builtin.service".to_owned(), arguments))
        }
        "package" | "blockinfile" | "ini_file" | "pip" | "user" | "group" | "cron" | "sysctl"
        | "mount" | "authorized_key" | "known_hosts" | "apt_repository" | "deb822_repository"
        | "yum_repository" | "iptables" => absent(arguments, &thing.module),
        _ => None,
    }
}

/// A thing in a few words: `file /etc/motd`.
pub(super) fn named(thing: &Thing) -> String {
    let values: Vec<String> = thing
        .identity
        .iter()
        .filter(|(name, _)| *name != "state")
        .map(|(_, value)| match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    format!("{} {}", family(&thing.module), values.join(" "))
}
