//! What `register` keeps of a task, and what the task itself sees of its results while it runs.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Object, Str, Value, Variables as _, repr};
use parking_lot::Mutex;

use super::Work;
use super::loops::Current;
use crate::executor::effects::Layer;
use crate::executor::reach::Settled;
use crate::executor::result::Outcome;
use crate::source::Located;
use crate::variables::TaskVariables;

/// What is looked at by `_task` and by registered names while a task is being carried out.
#[derive(Default)]
pub(super) struct Recorded {
    /// Whether it has a loop, which may be over.
    pub(super) looped: bool,
    pub(super) over: bool,
    /// What came of the items so far.
    pub(super) earlier: Vec<Outcome>,
    /// What came of the item being worked on, or of the task, as far as it is known.
    latest: Option<Outcome>,
    /// The variables of the item that was worked on last.
    pub(super) last: Option<TaskVariables>,
}

impl Recorded {
    /// What came of an item is settled.
    pub(super) fn push(&mut self, outcome: Outcome, variables: TaskVariables) {
        self.latest = None;
        self.earlier.push(outcome);
        self.last = Some(variables);
    }

    fn result(&self) -> Option<Value> {
        let Some(latest) = &self.latest else {
            return Some(Value::Dict(self.earlier.last()?.as_dict(false)));
        };
        let result = latest.as_dict(false);
        // As long as it is being worked on there may be more of them, so both are there.
        result.change(|entries| {
            for name in ["warnings", "deprecations"] {
                entries
                    .entry(Key::from(name))
                    .or_insert_with(|| Value::list(Vec::new()));
            }
        });
        Some(Value::Dict(result))
    }

    fn loop_result(&self) -> Option<Value> {
        if !self.looped {
            return None;
        }
        let items = self.earlier.iter().chain(&self.latest).cloned().collect();
        Some(Value::Dict(Outcome::of_items(items).as_dict(false)))
    }
}

/// `_task`: the result, that of the whole loop, and whichever of the two there is, made when they are asked for.
pub(super) struct CurrentTask(pub(super) Arc<Mutex<Recorded>>);

impl Object for CurrentTask {
    fn type_name(&self) -> &'static str {
        "CurrentTask"
    }

    fn get(&self, name: &str) -> Option<Value> {
        let recorded = self.0.lock();
        let (value, why) = match name {
            "loop_result" => (recorded.loop_result(), "The current task is not a loop."),
            "polymorphic_result" if recorded.over => (recorded.loop_result(), ""),
            "result" | "polymorphic_result" => {
                (recorded.result(), "No task result has been recorded.")
            }
            _ => return None,
        };
        value.or_else(|| {
            Some(Value::undefined(format!(
                "The _task.{name} property is unavailable: {why}"
            )))
        })
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Work {
    /// Shows the task itself what its action set, as others will see it afterwards.
    pub(super) fn show_changes(
        &self,
        outcome: &Outcome,
        variables: &TaskVariables,
        settled: &Settled,
    ) {
        let for_host = !(settled.delegated && settled.delegate_facts);
        let both = |changes: &Dict| {
            variables.set_locals(changes);
            self.variables.set_locals(changes);
        };
        for (layer, changes) in &outcome.variables {
            match layer {
                Layer::Fact if for_host && !changes.is_empty() => {
                    self.show_facts(changes, variables);
                }
                Layer::Include | Layer::SetFact if for_host => both(changes),
                Layer::Register => both(changes),
                _ => {}
            }
        }
    }

    fn show_facts(&self, facts: &Dict, variables: &TaskVariables) {
        let mut shown = match variables.get("ansible_facts") {
            Some(Value::Dict(known)) => known.read().clone(),
            _ => indexmap::IndexMap::new(),
        };
        for (key, value) in facts.read().iter() {
            let name = key.as_str().unwrap_or_default();
            let short = match name {
                "ansible_local" => name,
                name => name.strip_prefix("ansible_").unwrap_or(name),
            };
            shown.insert(Key::from(short), value.clone());
        }
        let shown = Value::Dict(Dict::new(shown));
        for each in [variables, &self.variables] {
            each.set_local("ansible_facts", shown.clone());
            if self.play.store().injects_facts() {
                for (key, value) in facts.read().iter() {
                    if let Some(name) = key.as_str()
                        && crate::variables::may_be_variable(name)
                    {
                        each.set_local(name, value.clone());
                    }
                }
            }
        }
    }

    /// Lets `_task` and registered names show the latest result, where something is left that may look at it.
    pub(super) fn record(
        &self,
        outcome: &Outcome,
        item: Option<&Current>,
        variables: &TaskVariables,
        recorded: &Mutex<Recorded>,
    ) {
        if !self.plan.looks_back {
            return;
        }
        let mut latest = outcome.clone();
        if let Some(item) = item {
            latest.item = Some(item.recorded(item.value.clone()));
        }
        recorded.lock().latest = Some(latest);
        for each in [variables, &self.variables] {
            for (name, template) in &self.plan.projections {
                each.set_local(name, template.clone());
            }
        }
    }

    /// Finds what `register` keeps.
    pub(super) fn register(&self, outcome: &mut Outcome, variables: &TaskVariables) {
        if self.plan.register.is_empty() {
            return;
        }
        if outcome.unforeseen().is_some() {
            for (name, _) in &self.plan.register {
                let unknown = crate::template::unknown(name);
                outcome.registered.push((name.clone(), unknown));
            }
            return;
        }
        let value = Value::Dict(outcome.as_dict(false));
        let mut errors = Vec::new();
        for (name, expression) in &self.plan.register {
            let Some(expression) = expression else {
                outcome.registered.push((name.clone(), value.clone()));
                continue;
            };
            match self.projected(expression, outcome, &value, variables) {
                Ok(value) => outcome.registered.push((name.clone(), value)),
                Err(error) => {
                    let message = format!(
                        "The variable {} is undefined because its register expression failed: {}",
                        repr::string(name),
                        error.brief()
                    );
                    let undefined =
                        Str::template(format!("{{{{ undef({}) }}}}", repr::string(&message)));
                    outcome
                        .registered
                        .push((name.clone(), Value::Str(undefined)));
                    errors.push(
                        Located::new(format!(
                            "Register projection {} failed.",
                            repr::string(name)
                        ))
                        .because(error),
                    );
                }
            }
        }
        let count = errors.len();
        if let Some(first) = errors.into_iter().next() {
            outcome.set_failed(true);
            outcome.error = Some(
                Located::new(format!(
                    "Task failed due to errors in {count} out of {} register projections.",
                    self.plan.register.len()
                ))
                .because(first),
            );
        }
    }

    fn projected(
        &self,
        expression: &Str,
        outcome: &Outcome,
        whole: &Value,
        variables: &TaskVariables,
    ) -> Result<Value, Located> {
        let variables = variables.fork();
        let mut entries = vec![("polymorphic_result", whole.clone())];
        match &outcome.items {
            Some(items) => {
                entries.push(("loop_result", whole.clone()));
                if let Some(last) = items.last() {
                    entries.push(("result", Value::Dict(last.as_dict(false))));
                }
            }
            None => entries.push(("result", whole.clone())),
        }
        variables.set_local("_task", Value::Dict(entries.into_iter().collect()));
        self.run
            .templar
            .evaluate(expression, &variables)
            .map_err(|error| Located::from(&error))
    }
}
