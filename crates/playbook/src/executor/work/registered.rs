//! What `register` keeps of a task, and what the task itself sees of its results while it runs.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value, Variables as _, repr};
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
    pub(super) earlier: Vec<Outcome>,
    /// The variables of the item that was worked on last.
    pub(super) last: Option<TaskVariables>,
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

    /// Lets registered names show the latest result.
    pub(super) fn record(
        &self,
        outcome: &Outcome,
        item: Option<&Current>,
        variables: &TaskVariables,
        recorded: &Mutex<Recorded>,
    ) {
        if self.plan.register.is_empty() {
            return;
        }
        let mut latest = outcome.clone();
        if let Some(item) = item {
            latest.item = Some(item.recorded(item.value.clone()));
        }
        let value = Value::Dict(latest.as_dict(false));
        let task = self.task_object(&value, item.is_some(), &latest, recorded);
        for each in [variables, &self.variables] {
            each.set_local("_task", task.clone());
            for (name, expression) in &self.plan.register {
                let value = match expression {
                    None => value.clone(),
                    Some(expression) => self
                        .run
                        .templar
                        .evaluate(expression, each)
                        .unwrap_or_else(|error| Value::undefined(error.to_string())),
                };
                each.set_local(name, value);
            }
        }
    }

    /// What `_task` is: the result, that of the whole loop, and whichever of the two there is.
    fn task_object(
        &self,
        result: &Value,
        in_loop: bool,
        latest: &Outcome,
        recorded: &Mutex<Recorded>,
    ) -> Value {
        let mut entries = vec![
            ("result", result.clone()),
            ("polymorphic_result", result.clone()),
        ];
        let uses_loop = self
            .plan
            .register
            .iter()
            .filter_map(|(_, expression)| expression.as_ref())
            .any(|expression| expression.contains("loop_result"));
        if in_loop && uses_loop {
            let mut items = recorded.lock().earlier.clone();
            items.push(latest.clone());
            entries.push((
                "loop_result",
                Value::Dict(Outcome::of_items(items).as_dict(false)),
            ));
        }
        Value::Dict(entries.into_iter().collect())
    }

    /// Finds what `register` keeps.
    pub(super) fn register(&self, outcome: &mut Outcome, variables: &TaskVariables) {
        if self.plan.register.is_empty() {
            return;
        }
        if outcome.unforeseen().is_some() {
            for (name, _) in &self.plan.register {
                let unknown = crate::template::unknown(name);
                outcome.registered.push((Arc::clone(name), unknown));
            }
            return;
        }
        let value = Value::Dict(outcome.as_dict(false));
        let mut errors = Vec::new();
        for (name, expression) in &self.plan.register {
            let Some(expression) = expression else {
                outcome.registered.push((Arc::clone(name), value.clone()));
                continue;
            };
            match self.projected(expression, outcome, &value, variables) {
                Ok(value) => outcome.registered.push((Arc::clone(name), value)),
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
                        .push((Arc::clone(name), Value::Str(undefined)));
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
