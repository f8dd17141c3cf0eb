//! Names that templates and playbooks may use, for those that are misspelt.

use crate::language::{BUILTIN_ACTIONS, Directive};

/// Filters and tests that collections have, with their collection.
const ELSEWHERE: &[(&str, &str)] = &[
    ("json_query", "community.general"),
    ("dict_kv", "community.general"),
    ("lists_mergeby", "community.general"),
    ("random_mac", "community.general"),
    ("from_csv", "community.general"),
    ("ipaddr", "ansible.utils"),
    ("ipv4", "ansible.utils"),
    ("ipv6", "ansible.utils"),
    ("ipwrap", "ansible.utils"),
    ("ipsubnet", "ansible.utils"),
    ("nthhost", "ansible.utils"),
    ("cidr_merge", "ansible.utils"),
    ("validate", "ansible.utils"),
    ("k8s_config_resource_name", "kubernetes.core"),
];

const META: &[&str] = &[
    "clear_facts",
    "clear_host_errors",
    "end_batch",
    "end_host",
    "end_play",
    "end_role",
    "flush_handlers",
    "noop",
    "refresh_inventory",
    "reset_connection",
];

pub(super) const STRATEGIES: &[&str] = &["debug", "free", "host_pinned", "linear"];

/// The collection that has a filter, test or lookup which ansible.builtin lacks.
pub(super) fn collection(name: &str) -> Option<&'static str> {
    ELSEWHERE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, collection)| *collection)
}

/// What a task may say beside its module.
pub(super) fn keywords() -> impl Iterator<Item = &'static str> {
    Directive::ALL
        .iter()
        .map(|directive| directive.name())
        .chain([
            "tasks",
            "roles",
            "pre_tasks",
            "post_tasks",
            "handlers",
            "block",
            "rescue",
            "always",
            "with_items",
            "with_dict",
            "with_fileglob",
            "with_subelements",
            "with_sequence",
            "with_together",
            "with_nested",
            "with_first_found",
            "with_lines",
            "with_random_choice",
            "with_indexed_items",
            "local_action",
            "action",
        ])
}

/// The modules and actions of ansible.builtin.
pub(super) fn modules() -> impl Iterator<Item = &'static str> {
    BUILTIN_ACTIONS.iter().copied()
}

/// What `meta` may be told.
pub(super) fn meta() -> impl Iterator<Item = &'static str> {
    META.iter().copied()
}
