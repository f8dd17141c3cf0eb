//! Progress: what a walk does, as lines for people or as JSON for programs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_infra::address::{Key, ResourceInstance};
use consort_infra::engine::{Action, EphemeralStep, Event, Watcher};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::VERSION;
use super::terminal::Terminal;

/// After which time, again and again, a change that is still going on is told of.
const STILL: Duration = Duration::from_secs(10);

/// What was done, for the last line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) added: usize,
    pub(super) changed: usize,
    pub(super) destroyed: usize,
    pub(super) imported: usize,
}

#[derive(Default)]
struct Running {
    since: HashMap<String, (Instant, Action, Option<String>)>,
    done: Done,
}

/// Watches a walk and tells of it.
pub(super) struct View {
    terminal: Terminal,
    json: bool,
    running: Mutex<Running>,
}

impl View {
    pub(super) fn new(terminal: Terminal, json: bool) -> Arc<View> {
        let view = Arc::new(View {
            terminal,
            json,
            running: Mutex::default(),
        });
        if json {
            view.emit(
                "info",
                &format!("Terraform {VERSION}"),
                "version",
                json!({"terraform": VERSION, "ui": "1.2"}),
            );
        }
        view
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn done(&self) -> Done {
        self.running.lock().done
    }

    /// One line of the machine-readable form.
    #[expect(clippy::unused_self, reason = "who has a view may speak")]
    pub(super) fn emit(&self, level: &str, message: &str, kind: &str, more: Value) {
        let mut line = json!({
            "@level": level,
            "@message": message,
            "@module": "terraform.ui",
            "@timestamp": timestamp(),
        });
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
            line.insert("type".to_owned(), kind.into());
        }
        crate::output::print(&format!("{line}\n"));
    }

    fn tell(&self, address: &str, text: &str) {
        let line = self.terminal.bold(&format!("{address}: {text}"));
        crate::output::print(&format!("{line}\n"));
    }

    /// Tells of changes that take long, until it is dropped.
    pub(super) async fn remind(self: Arc<View>) -> std::convert::Infallible {
        let mut tick = tokio::time::interval(STILL);
        tick.tick().await;
        loop {
            tick.tick().await;
            let mut late: Vec<(String, Duration, Action, Option<String>)> = self
                .running
                .lock()
                .since
                .iter()
                .map(|(address, (since, action, id))| {
                    (address.clone(), since.elapsed(), *action, id.clone())
                })
                .filter(|(_, elapsed, ..)| *elapsed >= STILL)
                .collect();
            late.sort_by(|a, b| a.0.cmp(&b.0));
            for (address, elapsed, action, id) in late {
                let verb = match action {
                    Action::Create => "creating",
                    Action::Delete => "destroying",
                    Action::Read => "reading",
                    _ => "modifying",
                };
                let elapsed = duration(Duration::from_secs(elapsed.as_secs() / 10 * 10));
                let text = format!(
                    "{address}: Still {verb}...{} [{elapsed} elapsed]",
                    bracketed(id.as_deref())
                );
                if self.json {
                    self.emit(
                        "info",
                        &text,
                        "apply_progress",
                        json!({"hook": {"resource": {"addr": address}}}),
                    );
                } else {
                    crate::output::print(&format!("{}\n", self.terminal.bold(&text)));
                }
            }
        }
    }
}

pub(super) fn timestamp() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

/// What an object is called in progress.
fn named(address: &ResourceInstance, deposed: Option<&str>) -> String {
    match deposed {
        Some(key) => format!("{address} (deposed object {key})"),
        None => address.to_string(),
    }
}

fn bracketed(id: Option<&str>) -> String {
    id.map(|id| format!(" [id={id}]")).unwrap_or_default()
}

/// As Go prints a duration of whole seconds.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{minutes}m{rest}s")
    } else {
        format!("{rest}s")
    }
}

/// An address as the machine-readable form has it.
pub(super) fn resource(address: &ResourceInstance) -> Value {
    let key = match &address.key {
        Key::None => Value::Null,
        Key::Int(index) => (*index).into(),
        Key::String(text) => text.to_string().into(),
    };
    let within = ResourceInstance {
        module: consort_infra::address::ModuleInstance::root(),
        ..address.clone()
    };
    json!({
        "addr": address.to_string(),
        "module": if address.module.is_root() { String::new() } else { address.module.to_string() },
        "resource": within.to_string(),
        "implied_provider": address.resource.implied_provider(),
        "resource_type": &*address.resource.kind,
        "resource_name": &*address.resource.name,
        "resource_key": key,
    })
}

fn ephemeral_word(step: EphemeralStep) -> &'static str {
    match step {
        EphemeralStep::Open => "open",
        EphemeralStep::Close => "close",
    }
}

impl Watcher for View {
    fn event(&self, event: &Event<'_>) {
        let mut of_deposed = None;
        let (address, text, kind, more) = match event {
            Event::RefreshStart {
                address,
                deposed,
                id,
            } => {
                of_deposed = *deposed;
                (
                    *address,
                    format!("Refreshing state...{}", bracketed(*id)),
                    "refresh_start",
                    json!({"id_key": id.map(|_| "id"), "id_value": id}),
                )
            }
            Event::RefreshDone { address, deposed } => {
                of_deposed = *deposed;
                if self.json {
                    (
                        *address,
                        "Refresh complete".to_owned(),
                        "refresh_complete",
                        json!({}),
                    )
                } else {
                    return;
                }
            }
            Event::ReadStart { address } => (
                *address,
                "Reading...".to_owned(),
                "apply_start",
                json!({"action": "read"}),
            ),
            Event::ReadDone { address, took, id } => (
                *address,
                format!("Read complete after {}{}", duration(*took), bracketed(*id)),
                "apply_complete",
                json!({"action": "read", "id_value": id, "elapsed_seconds": took.as_secs()}),
            ),
            Event::EphemeralStart { address, step } => (
                *address,
                match step {
                    EphemeralStep::Open => "Opening...".to_owned(),
                    EphemeralStep::Close => "Closing...".to_owned(),
                },
                "ephemeral_op_start",
                json!({"action": ephemeral_word(*step)}),
            ),
            Event::EphemeralDone {
                address,
                step,
                took,
            } => (
                *address,
                match step {
                    EphemeralStep::Open => format!("Opening complete after {}", duration(*took)),
                    EphemeralStep::Close => format!("Closing complete after {}", duration(*took)),
                },
                "ephemeral_op_complete",
                json!({"action": ephemeral_word(*step), "elapsed_seconds": took.as_secs()}),
            ),
            Event::ImportPlanned { address, id } => (
                *address,
                format!("Preparing import... [id={id}]"),
                "import_start",
                json!({"action": "import", "id_value": id}),
            ),
            Event::ImportStart { address, id } => (
                *address,
                format!("Importing... [id={id}]"),
                "apply_start",
                json!({"action": "import", "id_value": id}),
            ),
            Event::ImportDone { address, id } => {
                self.running.lock().done.imported += 1;
                (
                    *address,
                    format!("Import complete [id={id}]"),
                    "apply_complete",
                    json!({"action": "import", "id_value": id}),
                )
            }
            Event::ApplyStart {
                address,
                deposed,
                action,
                id,
            } => {
                of_deposed = *deposed;
                self.running.lock().since.insert(
                    named(address, *deposed),
                    (Instant::now(), *action, id.map(str::to_owned)),
                );
                let verb = match action {
                    Action::Create => "Creating",
                    Action::Delete => "Destroying",
                    Action::Read => "Reading",
                    _ => "Modifying",
                };
                (
                    *address,
                    format!("{verb}...{}", bracketed(*id)),
                    "apply_start",
                    json!({"action": word(*action), "id_value": id}),
                )
            }
            Event::ApplyDone {
                address,
                deposed,
                action,
                id,
                took,
            } => {
                {
                    let mut running = self.running.lock();
                    running.since.remove(&named(address, *deposed));
                    match action {
                        Action::Create => running.done.added += 1,
                        Action::Delete => running.done.destroyed += 1,
                        Action::Update => running.done.changed += 1,
                        _ => {}
                    }
                }
                let what = match action {
                    Action::Create => "Creation",
                    Action::Delete => "Destruction",
                    Action::Read => "Read",
                    _ => "Modifications",
                };
                let id = id.filter(|_| *action != Action::Delete);
                (
                    *address,
                    format!("{what} complete after {}{}", duration(*took), bracketed(id)),
                    "apply_complete",
                    json!({"action": word(*action), "id_value": id, "elapsed_seconds": took.as_secs()}),
                )
            }
            Event::ApplyFailed {
                address,
                deposed,
                action,
                took,
            } => {
                of_deposed = *deposed;
                self.running.lock().since.remove(&named(address, *deposed));
                if !self.json {
                    return;
                }
                (
                    *address,
                    format!("{} errored after {}", word(*action), duration(*took)),
                    "apply_errored",
                    json!({"action": word(*action), "elapsed_seconds": took.as_secs()}),
                )
            }
            Event::ProvisionStart { address, kind } => (
                *address,
                format!("Provisioning with '{kind}'..."),
                "provision_start",
                json!({"provisioner": kind}),
            ),
            Event::ProvisionOutput {
                address,
                kind,
                line,
            } => {
                if !self.json {
                    let head = self.terminal.bold(&format!("{address} ({kind}):"));
                    for line in line.lines().map(str::trim_end) {
                        if !line.is_empty() {
                            crate::output::print(&format!("{head} {line}\n"));
                        }
                    }
                    return;
                }
                (
                    *address,
                    format!("({kind}): {line}"),
                    "provision_progress",
                    json!({"provisioner": kind, "output": line}),
                )
            }
            Event::ProvisionDone {
                address,
                kind,
                failed,
            } => {
                if !self.json {
                    return;
                }
                let (text, name) = if *failed {
                    ("Provisioning errored", "provision_errored")
                } else {
                    ("Provisioning complete", "provision_complete")
                };
                (
                    *address,
                    format!("({kind}) {text}"),
                    name,
                    json!({"provisioner": kind}),
                )
            }
        };
        if self.json {
            let mut hook = json!({"resource": resource(address)});
            if let (Value::Object(hook), Value::Object(more)) = (&mut hook, more) {
                hook.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
            }
            self.emit(
                "info",
                &format!("{}: {text}", named(address, of_deposed)),
                kind,
                json!({"hook": hook}),
            );
        } else {
            self.tell(&named(address, of_deposed), &text);
        }
    }
}

/// An action as the machine-readable form names it.
pub(super) fn word(action: Action) -> &'static str {
    match action {
        Action::NoOp => "noop",
        Action::Create => "create",
        Action::Read => "read",
        Action::Update => "update",
        Action::Delete => "delete",
        Action::DeleteThenCreate | Action::CreateThenDelete => "replace",
        Action::Forget => "remove",
    }
}
