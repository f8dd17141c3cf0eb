//! Settings that will go away, told of when somebody sets them.

use super::Sources;
use crate::source::{Located, Notice, Removal};

/// A setting that will go away.
struct Outgoing {
    name: &'static str,
    variable: &'static str,
    section: &'static str,
    key: &'static str,
    why: &'static str,
    instead: &'static str,
    version: &'static str,
}

const UNUSED: &str = "This option is no longer used in the Ansible Core code base.";
const NOTHING: &str = "There is no alternative at the moment. A different mechanism would have to be implemented in the current code base.";

/// Facts of ansible-core 2.21, in the order it reads them.
const OUTGOING: &[Outgoing] = &[
    Outgoing {
        name: "ANSIBLE_CONNECTION_PATH",
        variable: "ANSIBLE_CONNECTION_PATH",
        section: "persistent_connection",
        key: "ansible_connection_path",
        why: "This setting has no effect.",
        instead: "none",
        version: "2.22",
    },
    Outgoing {
        name: "DEFAULT_ALLOW_UNSAFE_LOOKUPS",
        variable: "",
        section: "defaults",
        key: "allow_unsafe_lookups",
        why: UNUSED,
        instead: "Lookup plugins are responsible for tagging strings containing templates to allow evaluation as a template.",
        version: "2.23",
    },
    Outgoing {
        name: "DEFAULT_JINJA2_EXTENSIONS",
        variable: "ANSIBLE_JINJA2_EXTENSIONS",
        section: "defaults",
        key: "jinja2_extensions",
        why: "Jinja2 extensions have been deprecated",
        instead: "Ansible-supported Jinja plugins (tests, filters, lookups)",
        version: "2.23",
    },
    Outgoing {
        name: "DEFAULT_JINJA2_NATIVE",
        variable: "ANSIBLE_JINJA2_NATIVE",
        section: "defaults",
        key: "jinja2_native",
        why: UNUSED,
        instead: "Jinja2 native mode is now the default and only option.",
        version: "2.23",
    },
    Outgoing {
        name: "DEFAULT_LIBVIRT_LXC_NOSECLABEL",
        variable: "ANSIBLE_LIBVIRT_LXC_NOSECLABEL",
        section: "selinux",
        key: "libvirt_lxc_noseclabel",
        why: "This option was moved to the plugin itself",
        instead: "Use the option from the plugin itself.",
        version: "2.22",
    },
    Outgoing {
        name: "DEFAULT_MANAGED_STR",
        variable: "",
        section: "defaults",
        key: "ansible_managed",
        why: "The `ansible_managed` variable can be set just like any other variable, or a different variable can be used.",
        instead: "Set the `ansible_managed` variable, or use any custom variable in templates.",
        version: "2.23",
    },
    Outgoing {
        name: "DEFAULT_NULL_REPRESENTATION",
        variable: "ANSIBLE_NULL_REPRESENTATION",
        section: "defaults",
        key: "null_representation",
        why: UNUSED,
        instead: NOTHING,
        version: "2.23",
    },
    Outgoing {
        name: "DEFAULT_UNDEFINED_VAR_BEHAVIOR",
        variable: "ANSIBLE_ERROR_ON_UNDEFINED_VARS",
        section: "defaults",
        key: "error_on_undefined_vars",
        why: UNUSED,
        instead: NOTHING,
        version: "2.23",
    },
    Outgoing {
        name: "STRING_TYPE_FILTERS",
        variable: "ANSIBLE_STRING_TYPE_FILTERS",
        section: "jinja2",
        key: "dont_type_filters",
        why: "This option has no effect.",
        instead: "None; native types returned from filters are always preserved.",
        version: "2.23",
    },
    Outgoing {
        name: "_TEMPLAR_SANDBOX_MODE",
        variable: "_ANSIBLE_TEMPLAR_SANDBOX_MODE",
        section: "",
        key: "",
        why: "controlling sandbox behavior is a temporary workaround",
        instead: "none",
        version: "2.23",
    },
];

/// What is to be told of the settings that somebody made.
pub(crate) fn outgoing(sources: &Sources) -> Vec<Notice> {
    OUTGOING
        .iter()
        .filter(|setting| {
            sources
                .raw(&[setting.variable], &[(setting.section, setting.key)])
                .is_some()
        })
        .map(|setting| Notice::Deprecated {
            what: Located::new(format!(
                "{} option. Reason: {}\nAlternatives: {}",
                setting.name, setting.why, setting.instead
            )),
            removal: Removal::of_core(setting.version),
        })
        .collect()
}
