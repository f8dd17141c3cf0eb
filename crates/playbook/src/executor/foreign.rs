//! Actions that are written in Python, and all others over connections and methods of becoming that are.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consort_jinja::{Dict, Value};
use serde_json::{Map, Value as Json, json};

use super::attempt::{Attempt, ModuleCall};
use super::effects::Layer;
use super::plan;
use super::reach::Reach;
use super::run::Run;
use super::work::Work;
use crate::action::{Action, Failed, Failure, Outcome, Traits};
use crate::bridge::{Answer, Bridge, Handles, located, told};
use crate::connection::{Call, Command, Content};
use crate::language::ActionKind;
use crate::variables::TaskVariables;

/// Actions that need no machine: they are done here whatever the connection is.
const CONTROLLER: &[&str] = &[
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "include_vars",
    "pause",
    "set_fact",
    "set_stats",
    "validate_argument_spec",
];

/// Whether an action is done here, whatever the connection is.
pub(super) fn needs_no_machine(name: &str) -> bool {
    name.strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .is_some_and(|leaf| CONTROLLER.contains(&leaf))
}

/// An action that is written in Python.
struct Foreign;

/// What a full name stands for, and what that is like.
pub(super) fn action(run: &Run, kind: &ActionKind, name: &str) -> (&'static dyn Action, Traits) {
    static FOREIGN: Foreign = Foreign;
    if matches!(kind, ActionKind::Plugin { .. })
        && let Some(bridge) = run.templar.bridge()
    {
        return (&FOREIGN, bridge.traits(name));
    }
    plan::action(name)
}

/// Any action over a connection that is written in Python.
pub(super) fn over_foreign() -> (&'static dyn Action, Traits) {
    static FOREIGN: Foreign = Foreign;
    (
        &FOREIGN,
        Traits {
            background: true,
            free_text: true,
            ..Traits::default()
        },
    )
}

impl Action for Foreign {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(carry_out(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            background: true,
            ..Traits::default()
        }
    }
}

async fn carry_out(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let bridge = attempt
        .templar()
        .bridge()
        .ok_or_else(|| Failure::error("Plugins in Python cannot be run here."))?;
    let lost = |error: crate::bridge::Error| Failure::error(error.to_string());
    let mut handles = Handles::default();
    let request = request(attempt, &arguments, &mut handles)?;
    let mut conversation = bridge.begin("action", request).map_err(lost)?;
    let done = loop {
        match conversation.next().await {
            Answer::Done(done) => break done.map_err(lost)?,
            Answer::Asked {
                number,
                op,
                payload,
            } => {
                let answer = match handles.answer(attempt.variables(), &op, &payload) {
                    Some(answer) => answer,
                    None => answer(attempt, bridge, &mut handles, &op, &payload).await,
                };
                conversation.reply(number, answer).map_err(lost)?;
            }
        }
    };
    finish(attempt, bridge, done)
}

/// What the action is told.
fn request(
    attempt: &Attempt<'_>,
    arguments: &Dict,
    handles: &mut Handles,
) -> Result<Json, Failure> {
    let task = attempt.task;
    let mut told = told::task(handles, task, None);
    told.insert("action".to_owned(), attempt.name.into());
    told.insert("resolved".to_owned(), attempt.name.into());
    told.insert(
        "search_path".to_owned(),
        attempt
            .search_path
            .iter()
            .map(|path| Json::from(path.to_string_lossy().into_owned()))
            .collect(),
    );
    told::with_arguments(handles, &mut told, arguments);
    let environment: Map<String, Json> = attempt
        .module_settings
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
        .collect();
    let (limit, poll) = attempt
        .background
        .map_or((0, 15), |background| (background.limit, background.poll));
    told::settle(
        &mut told,
        [
            ("check_mode", attempt.check.into()),
            ("diff", attempt.diff.into()),
            ("no_log", attempt.no_log.into()),
            ("environment", json!([environment])),
            ("async_val", limit.into()),
            ("poll", poll.into()),
            (
                "delegate_to",
                attempt
                    .delegated
                    .map_or(Json::Null, |host| Json::from(&**host)),
            ),
        ],
    );
    let way = if attempt.reach.foreign()? {
        told::settle(&mut told, attempt.reach.settled_for_plugins()?);
        Json::Null
    } else {
        way(attempt)?
    };
    Ok(json!({
        "task": told,
        "host": &**attempt.host,
        "plugin": attempt.name,
        "way": way,
        "passwords": {
            "conn_pass": attempt.run.options.connection_password,
            "become_pass": attempt.run.options.become_password,
        },
    }))
}

/// How the machine is reached, for who asks for it.
fn way(attempt: &Attempt<'_>) -> Result<Json, Failure> {
    let way = attempt.way()?;
    let settings = &way.settings;
    let mut options: Map<String, Json> = settings
        .options
        .iter()
        .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
        .collect();
    options.insert("host".to_owned(), settings.address.as_str().into());
    options.insert("remote_addr".to_owned(), settings.address.as_str().into());
    options.insert("remote_user".to_owned(), json!(settings.user));
    options.insert("port".to_owned(), json!(settings.port));
    options.insert("password".to_owned(), json!(settings.password));
    Ok(json!({
        "plugin": settings.plugin,
        "address": settings.address,
        "user": settings.user,
        "port": settings.port,
        "password": settings.password,
        "options": options,
        "shell": settings.shell,
        "remote_tmp": settings.remote_tmp,
        "become": way.user.as_ref().map(|user| json!({
            "method": user.method,
            "user": user.user,
            "exe": user.exe,
            "flags": user.flags,
            "password": user.password,
        })),
    }))
}

/// Answers what an action asks of the machine and the run.
async fn answer(
    attempt: &Attempt<'_>,
    bridge: &Bridge,
    handles: &mut Handles,
    op: &str,
    payload: &Map<String, Json>,
) -> Result<Json, String> {
    let text = |name: &str| {
        payload
            .get(name)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let yes = |name: &str| payload.get(name) == Some(&Json::Bool(true));
    let words = |name: &str| -> Vec<String> {
        payload
            .get(name)
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let failed = |failure: Failure| message(&failure);
    match op {
        "module" => module(attempt, bridge, handles, payload).await,
        "command" => {
            let way = attempt.way().map_err(|failure| message(&failure))?;
            let user = way.user.as_ref().filter(|_| yes("becomes"));
            let command = Command {
                line: text("line"),
                input: STANDARD.decode(text("input")).unwrap_or_default(),
                ..Command::default()
            };
            let output = way
                .connection
                .command(command, user, attempt.timeout)
                .await
                .map_err(|error| error.to_string())?;
            Ok(json!({
                "rc": output.status,
                "stdout": STANDARD.encode(&output.stdout),
                "stderr": STANDARD.encode(&output.stderr),
            }))
        }
        "put" => {
            let way = attempt.way().map_err(failed)?;
            way.connection
                .put(
                    Content::File(Path::new(&text("source"))),
                    &text("path"),
                    0o600,
                    way.user.as_ref(),
                )
                .await
                .map(|()| Json::Null)
                .map_err(|error| error.to_string())
        }
        "fetch" => {
            let way = attempt.way().map_err(failed)?;
            way.connection
                .fetch(&text("path"), Path::new(&text("to")), way.user.as_ref())
                .await
                .map(|()| Json::Null)
                .map_err(|error| error.to_string())
        }
        "temporary" => {
            let way = attempt.way().map_err(failed)?;
            way.connection
                .temporary(way.user.as_ref())
                .await
                .map(Json::from)
                .map_err(|error| error.to_string())
        }
        "remove" => {
            let way = attempt.way().map_err(failed)?;
            way.connection
                .remove(&text("path"), way.user.as_ref())
                .await
                .map(|()| Json::Null)
                .map_err(|error| error.to_string())
        }
        "reset" => {
            attempt.way().map_err(failed)?.connection.reset().await;
            Ok(Json::Null)
        }
        "add_host" => {
            let variables = payload.get("variables").cloned().unwrap_or_default();
            let variables = match bridge.read(variables).map_err(|error| error.to_string())? {
                Value::Dict(variables) => variables,
                _ => Dict::default(),
            };
            attempt
                .add_host(&text("name"), &variables, &words("groups"))
                .map(Json::from)
                .map_err(failed)
        }
        "add_group" => attempt
            .add_group(&text("name"), &words("parents"))
            .map(Json::from)
            .map_err(failed),
        "set_host_variable" => {
            let value = payload.get("value").cloned().unwrap_or_default();
            let value = bridge.read(value).map_err(|error| error.to_string())?;
            let variables: Dict = [(text("name").as_str(), value)].into_iter().collect();
            attempt
                .run
                .store
                .set(&std::sync::Arc::from(text("host")), &variables);
            Ok(Json::Null)
        }
        other => Err(format!("{other} is not to be had here")),
    }
}

/// Runs a module for an action.
async fn module(
    attempt: &Attempt<'_>,
    bridge: &Bridge,
    handles: &mut Handles,
    payload: &Map<String, Json>,
) -> Result<Json, String> {
    let yes = |name: &str| payload.get(name) == Some(&Json::Bool(true));
    let name = payload
        .get("name")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let arguments = payload.get("arguments").cloned().unwrap_or_default();
    let arguments = match bridge.read(arguments).map_err(|error| error.to_string())? {
        Value::Dict(arguments) => arguments,
        _ => Dict::default(),
    };
    let mut settings = attempt.module_settings.clone();
    settings.check = yes("check");
    settings.diff = yes("diff");
    settings.ignore_unknown_opts = yes("ignores_unknown");
    settings.no_log = settings.no_log || yes("no_log");
    if let Some(Json::Object(environment)) = payload.get("environment") {
        settings.environment = environment
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
    }
    let other = Attempt {
        module_settings: &settings,
        check: settings.check,
        diff: settings.diff,
        ..*attempt
    };
    let call = ModuleCall {
        background: yes("background"),
        without_become: !yes("becomes"),
    };
    Ok(match other.module_with(name, arguments, call).await {
        Ok(result) => json!({"result": handles.entries(&result)}),
        Err(failure) => {
            let (kind, result) = match &failure {
                Failure::Unreachable { result, .. } => ("unreachable", result.clone()),
                Failure::Failed(failed) if failed.is_message => ("message", failed.result.clone()),
                Failure::Failed(failed) => ("error", failed.result.clone()),
                Failure::Skipped { result, .. } => ("message", result.clone()),
            };
            json!({"failure": {
                "kind": kind,
                "message": message(&failure),
                "result": crate::values::to_json(&Value::Dict(result)),
            }})
        }
    })
}

/// What is said of a failure.
fn message(failure: &Failure) -> String {
    match failure {
        Failure::Failed(failed) => failed.error.brief(),
        Failure::Skipped { message, .. } | Failure::Unreachable { message, .. } => message.clone(),
    }
}

/// What came of an action: its effects take place, its result or failure is given.
fn finish(attempt: &Attempt<'_>, bridge: &Bridge, done: Json) -> Outcome {
    let lost = |error: crate::bridge::Error| Failure::error(error.to_string());
    let Json::Object(mut done) = done else {
        return Err(Failure::error("The plugin gave no result."));
    };
    if let Some(Json::Array(warned)) = done.remove("warned") {
        for warned in &warned {
            let what = located::of_warning(warned);
            if warned["deprecated"] == Json::Bool(true) {
                attempt.deprecates(what, located::removal(warned));
            } else {
                attempt.warn_at(&what);
            }
        }
    }
    if let Some(Json::Object(layers)) = done.remove("layers") {
        for (name, changes) in layers {
            let layer = match name.as_str() {
                "CACHEABLE_FACT" => Layer::Fact,
                "INCLUDE_VARS" => Layer::Include,
                "EPHEMERAL_FACT" => Layer::SetFact,
                _ => Layer::Register,
            };
            if let Value::Dict(changes) = bridge.read(changes).map_err(lost)? {
                attempt.register(layer, changes);
            }
        }
    }
    if let Some(failure) = done.remove("failure") {
        let result = match bridge.read(failure["result"].clone()).map_err(lost)? {
            Value::Dict(result) => result,
            _ => Dict::default(),
        };
        let error = located::of_chain(&failure);
        let message = failure["message"].as_str().unwrap_or_default().to_owned();
        return Err(match failure["kind"].as_str() {
            Some("skipped") => Failure::Skipped {
                message: result
                    .get("msg")
                    .and_then(|message| message.text().ok())
                    .map_or(message, |message| message.to_string()),
                result,
            },
            Some("unreachable") => Failure::Unreachable { message, result },
            kind => Failure::Failed(Box::new(Failed {
                error,
                is_message: kind == Some("contributed") && result.get("msg").is_some(),
                result,
            })),
        });
    }
    match bridge
        .read(done.remove("result").unwrap_or_default())
        .map_err(lost)?
    {
        Value::Dict(result) => Ok(result),
        _ => Err(Failure::error("The plugin gave no result.")),
    }
}

/// Resets a connection that is written in Python.
pub(super) fn reset(work: &Work, reach: &Reach, variables: &TaskVariables) -> Result<(), Failure> {
    let Some(bridge) = work.run.templar.bridge() else {
        return Ok(());
    };
    let mut handles = Handles::default();
    let mut told = told::task(&mut handles, &work.plan.task, None);
    told::settle(&mut told, reach.settled_for_plugins()?);
    bridge
        .ask_with(
            "reset",
            json!({"task": told, "host": &*work.host, "way": null}),
            &mut handles,
            variables,
        )
        .map(|_| ())
        .map_err(|error| Failure::error(error.to_string()))
}
