//! What plugins are told of a task.

use consort_jinja::Dict;
use serde_json::{Map, Value as Json, json};

use super::wire::Handles;
use crate::language::{Directive, Role, Task};

/// Keywords that plugins look at, by the names their attributes have.
const KEYWORDS: &[(Directive, &str)] = &[
    (Directive::AnyErrorsFatal, "any_errors_fatal"),
    (Directive::Become, "become"),
    (Directive::BecomeExe, "become_exe"),
    (Directive::BecomeFlags, "become_flags"),
    (Directive::BecomeMethod, "become_method"),
    (Directive::BecomeUser, "become_user"),
    (Directive::ChangedWhen, "changed_when"),
    (Directive::CheckMode, "check_mode"),
    (Directive::Collections, "collections"),
    (Directive::Connection, "connection"),
    (Directive::DelegateTo, "delegate_to"),
    (Directive::DelegateFacts, "delegate_facts"),
    (Directive::Diff, "diff"),
    (Directive::Environment, "environment"),
    (Directive::FailedWhen, "failed_when"),
    (Directive::IgnoreErrors, "ignore_errors"),
    (Directive::IgnoreUnreachable, "ignore_unreachable"),
    (Directive::ModuleDefaults, "module_defaults"),
    (Directive::NoLog, "no_log"),
    (Directive::Notify, "notify"),
    (Directive::Port, "port"),
    (Directive::RemoteUser, "remote_user"),
    (Directive::RunOnce, "run_once"),
    (Directive::Tags, "tags"),
    (Directive::Throttle, "throttle"),
    (Directive::Timeout, "timeout"),
    (Directive::Until, "until"),
    (Directive::Vars, "vars"),
    (Directive::When, "when"),
];

/// Keywords whose attributes are lists, however they are written.
const LISTS: &[&str] = &[
    "changed_when",
    "environment",
    "failed_when",
    "module_defaults",
    "notify",
    "tags",
    "until",
    "when",
];

/// A task, with its keywords as they are handed down to it, unrendered.
pub(crate) fn task(handles: &mut Handles, task: &Task, name: Option<&str>) -> Map<String, Json> {
    let mut keywords = Map::new();
    for (directive, attribute) in KEYWORDS {
        let Some(value) = task.directive(*directive) else {
            continue;
        };
        let mut value = handles.write(&value);
        if LISTS.contains(attribute) && !value.is_array() {
            value = json!([value]);
        }
        keywords.insert((*attribute).to_owned(), value);
    }
    let written = match (name, task.name()) {
        (Some(name), _) => Json::from(name),
        (None, Some(name)) => handles.write(name),
        (None, None) => Json::from(""),
    };
    keywords.insert("name".to_owned(), written);
    keywords.insert("args".to_owned(), handles.entries(&task.action.arguments));
    if let Some(looped) = &task.looped {
        keywords.insert("loop".to_owned(), handles.write(&looped.over));
    }
    let origin = &task.origin;
    let path = if origin.line > 0 {
        format!("{}:{}", origin.file, origin.line)
    } else {
        String::new()
    };
    let mut told = Map::new();
    for (name, value) in [
        ("uuid", Json::from(uuid_of(task.id))),
        ("action", Json::from(&*task.action.written)),
        ("resolved", Json::from(&*task.action.name)),
        ("implicit", Json::from(task.implicit)),
        ("handler", Json::from(task.handler)),
        ("path", Json::from(path)),
        ("origin", json!([&*origin.file, origin.line, origin.column])),
        (
            "search_path",
            task.search_path()
                .iter()
                .map(|path| Json::from(path.to_string_lossy().into_owned()))
                .collect(),
        ),
        (
            "role",
            task.role().map_or(Json::Null, |role| self::role(role)),
        ),
        ("keywords", Json::Object(keywords)),
    ] {
        told.insert(name.to_owned(), value);
    }
    told
}

fn role(role: &Role) -> Json {
    json!({
        "name": &*role.name,
        "path": role.path.to_string_lossy(),
        "collection": role.collection.as_deref(),
    })
}

/// An identity in the form that plugins expect: the same for the same task only.
pub(crate) fn uuid_of(id: u64) -> String {
    uuid::Uuid::from_u128(0xc0_4507 << 104 | u128::from(id)).to_string()
}

/// Sets keywords of what is told of a task.
pub(crate) fn settle(
    told: &mut Map<String, Json>,
    settled: impl IntoIterator<Item = (&'static str, Json)>,
) {
    if let Some(Json::Object(keywords)) = told.get_mut("keywords") {
        for (name, value) in settled {
            keywords.insert(name.to_owned(), value);
        }
    }
}

/// The arguments of an action, rendered, in what is told of its task.
pub(crate) fn with_arguments(
    handles: &mut Handles,
    told: &mut Map<String, Json>,
    arguments: &Dict,
) {
    let arguments = handles.entries(arguments);
    settle(told, [("args", arguments)]);
}
