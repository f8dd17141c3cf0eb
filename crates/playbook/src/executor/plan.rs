//! What a task says, found once for all hosts: every keyword as it is handed down to it.

use std::sync::Arc;

use consort_jinja::{Str, Value};

use super::keyword::listed;
use crate::action::{self, Action, Traits};
use crate::language::{Directive, Loop, Task};

/// What a task says, found once for all hosts.
pub(super) struct Plan {
    pub(super) task: Arc<Task>,
    pub(super) looped: Option<Loop>,
    pub(super) when: Vec<Value>,
    pub(super) changed_when: Vec<Value>,
    pub(super) failed_when: Vec<Value>,
    pub(super) until: Vec<Value>,
    /// The variables `register` sets, with the expressions for those that are not the whole result.
    pub(super) register: Vec<(Str, Option<Str>)>,
    /// These variables as the task itself sees them while it runs: each a template that is rendered when it is looked at.
    pub(super) projections: Vec<(Arc<str>, Value)>,
    pub(super) control: Control,
    /// Whether something looks at what came of the task while it is being carried out.
    pub(super) looks_back: bool,
    keywords: Vec<(Directive, Value)>,
}

/// `loop_control`, as it is written.
#[derive(Default)]
pub(super) struct Control {
    pub(super) variable: Option<Value>,
    pub(super) index: Option<Value>,
    pub(super) label: Option<Value>,
    pub(super) pause: Option<Value>,
    pub(super) extended: Option<Value>,
    pub(super) all_items: Option<Value>,
    pub(super) break_when: Vec<Value>,
}

/// The keywords that are handed down and asked for.
const INHERITED: &[Directive] = &[
    Directive::AnyErrorsFatal,
    Directive::Become,
    Directive::BecomeExe,
    Directive::BecomeFlags,
    Directive::BecomeMethod,
    Directive::BecomeUser,
    Directive::CheckMode,
    Directive::Collections,
    Directive::Connection,
    Directive::Debugger,
    Directive::DelegateFacts,
    Directive::DelegateTo,
    Directive::Diff,
    Directive::Environment,
    Directive::IgnoreErrors,
    Directive::IgnoreUnreachable,
    Directive::ModuleDefaults,
    Directive::NoLog,
    Directive::Notify,
    Directive::Port,
    Directive::RemoteUser,
    Directive::RunOnce,
    Directive::Throttle,
    Directive::Timeout,
    // of tasks alone
    Directive::Async,
    Directive::Delay,
    Directive::Poll,
    Directive::Retries,
];

impl Plan {
    /// Of a task.
    pub(super) fn of(task: &Arc<Task>) -> Self {
        let own = |directive| listed(task.directives.get(directive).cloned());
        let (changed_when, failed_when, until) = (
            own(Directive::ChangedWhen),
            own(Directive::FailedWhen),
            own(Directive::Until),
        );
        let register = register(task.directives.get(Directive::Register));
        let control = Control::of(task.directives.get(Directive::LoopControl));
        Plan {
            looks_back: !(register.is_empty()
                && changed_when.is_empty()
                && failed_when.is_empty()
                && until.is_empty()
                && control.break_when.is_empty()
                && control.label.is_none()),
            looped: task.looped.clone(),
            when: listed(task.directive(Directive::When)),
            changed_when,
            failed_when,
            until,
            projections: register
                .iter()
                .map(|(name, expression)| {
                    (Arc::clone(name.shared()), projection(expression.as_ref()))
                })
                .collect(),
            register,
            control,
            keywords: INHERITED
                .iter()
                .filter_map(|directive| Some((*directive, task.directive(*directive)?)))
                .collect(),
            task: Arc::clone(task),
        }
    }

    /// A keyword as it is handed down to the task.
    pub(super) fn keyword(&self, directive: Directive) -> Option<&Value> {
        self.keywords
            .iter()
            .find(|(known, _)| *known == directive)
            .map(|(_, value)| value)
    }

    /// Whether it includes a file of tasks.
    pub(super) fn includes_tasks(&self) -> bool {
        self.task.action.builtin() == Some("include_tasks")
    }

    /// Whether it includes a role.
    pub(super) fn includes_role(&self) -> bool {
        self.task.action.builtin() == Some("include_role")
    }
}

impl Control {
    fn of(written: Option<&Value>) -> Self {
        let Some(Value::Dict(written)) = written else {
            return Control::default();
        };
        let get = |name: &str| written.get(name);
        Control {
            variable: get("loop_var"),
            index: get("index_var"),
            label: get("label"),
            pause: get("pause"),
            extended: get("extended"),
            all_items: get("extended_allitems"),
            break_when: listed(get("break_when")),
        }
    }
}

fn register(written: Option<&Value>) -> Vec<(Str, Option<Str>)> {
    match written {
        Some(Value::Str(name)) => vec![(name.clone(), None)],
        Some(Value::Dict(expressions)) => expressions
            .read()
            .iter()
            .filter_map(|(name, expression)| {
                let expression = match expression {
                    Value::Str(text) => text.clone(),
                    other => Str::template(consort_jinja::repr::repr(other)),
                };
                match name.value() {
                    Value::Str(name) => Some((name.clone(), Some(expression))),
                    _ => None,
                }
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The template that shows a registered variable while the task runs.
fn projection(expression: Option<&Str>) -> Value {
    let text = expression.map_or("_task.polymorphic_result", |text| text);
    let template = Str::template(format!("{{{{ {text} }}}}"));
    Value::Str(match expression.and_then(Str::origin) {
        Some(origin) => template.written_at(Arc::clone(origin)),
        None => template,
    })
}

/// The action of a full name, and what it is like.
pub(super) fn action(name: &str) -> (&'static dyn Action, Traits) {
    static NORMAL: action::Normal = action::Normal;
    let builtin = name
        .strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."));
    let action = builtin.and_then(action::find).unwrap_or(&NORMAL);
    (action, action.traits())
}
