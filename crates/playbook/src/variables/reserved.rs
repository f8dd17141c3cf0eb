//! Names that variables should not have: keywords of plays and tasks, and functions of templates.

use consort_jinja::{Dict, Value, repr};

use crate::source::{Located, Notice, Notices};

const RESERVED: [&str; 76] = [
    "action",
    "always",
    "any_errors_fatal",
    "args",
    "async",
    "async_val",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "block",
    "changed_when",
    "check_mode",
    "collections",
    "connection",
    "cycler",
    "debugger",
    "delay",
    "delegate_facts",
    "delegate_to",
    "dict",
    "diff",
    "environment",
    "fact_path",
    "failed_when",
    "force_handlers",
    "gather_facts",
    "gather_timeout",
    "handlers",
    "hosts",
    "ignore_errors",
    "ignore_unreachable",
    "joiner",
    "lipsum",
    "local_action",
    "lookup",
    "loop",
    "loop_control",
    "loop_with",
    "max_fail_percentage",
    "module_defaults",
    "name",
    "namespace",
    "no_log",
    "notify",
    "now",
    "omit",
    "order",
    "poll",
    "port",
    "post_tasks",
    "pre_tasks",
    "q",
    "query",
    "range",
    "register",
    "remote_user",
    "rescue",
    "retries",
    "roles",
    "run_once",
    "serial",
    "strategy",
    "tags",
    "tasks",
    "throttle",
    "timeout",
    "undef",
    "until",
    "validate_argspec",
    "vars",
    "vars_files",
    "vars_prompt",
    "when",
    "with_",
];

/// Warns of each variable that has a reserved name. `vars` there is always.
pub fn warn_of_reserved(variables: &Dict, notices: &Notices) {
    for name in variables.read().keys() {
        warn_of_name(name.value(), notices);
    }
}

/// Warns of the name of a variable if it is a reserved one.
pub(super) fn warn_of_name(name: &Value, notices: &Notices) {
    if name
        .as_str()
        .is_some_and(|text| text != "vars" && is_reserved(text))
    {
        notices(Notice::Warning(
            Located::new(format!(
                "Found variable using reserved name {}.",
                repr::repr(name)
            ))
            .about(name),
        ));
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}
