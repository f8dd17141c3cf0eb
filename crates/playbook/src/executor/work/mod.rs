//! A task on one host, from its loop to its result.

mod attempts;
mod loops;
mod registered;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_jinja::{Key, Str, Value, is_omit, repr};
use parking_lot::Mutex;

use super::arguments;
use super::foreign;
use super::held;
use super::keyword::{Keywords, boolean, listed};
use super::plan::Plan;
use super::reach::{Reach, Settled};
use super::result::{Outcome, is_true};
use super::run::Run;
use crate::action::{Action, Failure, Traits};
use crate::explain::{self, Scene};
use crate::language::{ActionKind, Directive, Task};
use crate::output::Event;
use crate::source::Located;
use crate::variables::{PlayVariables, TaskVariables};

pub(super) use attempts::background;
use loops::Current;
use registered::{CurrentTask, Recorded};
pub(super) use told::task_result;

/// A task on one host.
pub(super) struct Work {
    pub(super) run: Arc<Run>,
    pub(super) play: Arc<PlayVariables>,
    pub(super) plan: Arc<Plan>,
    /// The groups of actions `module_defaults` may name, with their members.
    pub(super) groups: Arc<HashMap<String, Vec<String>>>,
    pub(super) host: Arc<str>,
    /// The task's name, rendered.
    pub(super) name: Arc<str>,
    pub(super) variables: TaskVariables,
    pub(super) started: Instant,
}

/// What was found of the task as a whole, for who tells of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) check: bool,
    pub(super) diff: bool,
    /// The full name of the connection's plugin, once that is known.
    pub(super) connection: Option<Arc<str>>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) host: Arc<str>,
    pub(super) plan: Arc<Plan>,
    pub(super) name: Arc<str>,
    pub(super) outcome: Outcome,
    pub(super) shown: Shown,
    pub(super) delegate_facts: bool,
    pub(super) elapsed: Duration,
}

impl Work {
    /// Carries it out.
    pub(super) async fn run(self) -> Done {
        let mut shown = Shown {
            check: self.run.options.check,
            diff: self.run.options.diff,
            connection: None,
        };
        let mut delegate_facts = false;
        let recorded: Arc<Mutex<Recorded>> = Arc::default();
        let current = Value::Object(Arc::new(CurrentTask(Arc::clone(&recorded))));
        self.variables.set_local("_task", current);
        let (mut outcome, warnings, deprecations) = held::holding(Box::pin(self.whole(
            &recorded,
            &mut shown,
            &mut delegate_facts,
        )))
        .await;
        outcome.warnings.extend(warnings);
        outcome.deprecations.extend(deprecations);
        // The variables hold `_task`, and that what is recorded.
        let last = recorded.lock().last.take();
        self.register(&mut outcome, last.as_ref().unwrap_or(&self.variables));
        Done {
            host: self.host,
            plan: self.plan,
            name: self.name,
            outcome,
            shown,
            delegate_facts,
            elapsed: self.started.elapsed(),
        }
    }

    fn task(&self) -> &Arc<Task> {
        &self.plan.task
    }

    fn keywords<'a>(&'a self, variables: &'a TaskVariables) -> Keywords<'a> {
        Keywords {
            templar: &self.run.templar,
            variables,
            task: Some(&self.plan.task),
        }
    }

    /// What carries an action out on the machine that the task reaches.
    fn action(&self, name: &str, reach: &Reach) -> Result<(&'static dyn Action, Traits), Failure> {
        if !foreign::needs_no_machine(name) && reach.foreign()? {
            return Ok(foreign::over_foreign());
        }
        Ok(foreign::action(&self.run, &self.kind(name)?, name))
    }

    /// What a name stands for: that of the task, or what its template gave.
    pub(super) fn kind(&self, name: &str) -> Result<ActionKind, Failure> {
        let action = &self.task().action;
        if !matches!(action.kind, ActionKind::Template) {
            return Ok(action.kind.clone());
        }
        Ok(self
            .run
            .loader
            .resolve_action(name, &[])?
            .map_or(ActionKind::Builtin, |resolved| resolved.kind))
    }

    /// The full name of the action; it may be given by a template.
    pub(super) fn action_name(&self, variables: &TaskVariables) -> Result<String, Failure> {
        let action = &self.task().action;
        if !matches!(action.kind, ActionKind::Template) {
            return Ok(action.name.to_string());
        }
        let written =
            Value::Str(Str::template(&*action.written).written_at(Arc::clone(&action.origin)));
        let rendered = self.run.templar.render(&written, variables)?;
        if is_omit(&rendered) {
            return Err(
                Located::parser("Omit is not valid for the `action` keyword.")
                    .at(&action.origin)
                    .into(),
            );
        }
        let name = rendered
            .text()
            .map(|text| text.to_string())
            .unwrap_or_default();
        let collections: Vec<String> = listed(self.plan.keyword(Directive::Collections).cloned())
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        match self.run.loader.resolve_action(&name, &collections)? {
            Some(resolved) => Ok(resolved.name.to_string()),
            None => {
                let name = repr::string(&name);
                let message = format!("Cannot resolve {name} to an action or module.");
                Err(action.located(message).into())
            }
        }
    }

    async fn whole(
        &self,
        recorded: &Mutex<Recorded>,
        shown: &mut Shown,
        delegate_facts: &mut bool,
    ) -> Outcome {
        if let Some(error) = self.variables.files_error() {
            return self.refused(error.clone());
        }
        if let Some(error) = self.play.store().take_error() {
            return self.refused(error);
        }
        match self.items() {
            Ok(None) => {
                self.one(&self.variables, None, None, recorded, shown, delegate_facts)
                    .await
            }
            Ok(Some(items)) if items.is_empty() => Outcome::no_items(),
            Ok(Some(items)) => match self.control() {
                Ok(control) => {
                    self.every(items, &control, recorded, shown, delegate_facts)
                        .await
                }
                Err(error) => self.refused(error),
            },
            Err((error, true)) => {
                // A condition may say that the task is not for this host.
                self.one(
                    &self.variables,
                    None,
                    Some(error),
                    recorded,
                    shown,
                    delegate_facts,
                )
                .await
            }
            Err((error, false)) => self.refused(error),
        }
    }

    /// A failure outside of what is done for an item.
    fn refused(&self, error: Located) -> Outcome {
        let mut outcome = Outcome::of_failure(error.into());
        outcome.msg = outcome
            .error
            .as_ref()
            .map(|error| Value::from(error.brief()));
        outcome.no_log = self.no_log(&self.variables);
        self.help(&mut outcome, &self.variables);
        self.ignoring(&mut outcome, &self.variables);
        self.foresee(&mut outcome, &self.variables);
        outcome
    }

    /// What is done for the task, or for an item of its loop.
    async fn one(
        &self,
        variables: &TaskVariables,
        item: Option<&Current>,
        loop_error: Option<Located>,
        recorded: &Mutex<Recorded>,
        shown: &mut Shown,
        delegate_facts: &mut bool,
    ) -> Outcome {
        let (given, warnings, deprecations) =
            held::holding(self.inner(variables, item, loop_error, recorded, shown, delegate_facts))
                .await;
        let mut outcome = match given {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::of_failure(failure),
        };
        outcome.warnings.extend(warnings);
        outcome.deprecations.extend(deprecations);
        outcome.raise(self.task());
        outcome.no_log |= self.no_log(variables);
        self.help(&mut outcome, variables);
        self.ignoring(&mut outcome, variables);
        self.foresee(&mut outcome, variables);
        if let Some(item) = item {
            if outcome.skipped() || outcome.failed() {
                // The label may look at what came of the item itself.
                self.record(&outcome, Some(item), variables, recorded);
            }
            let label = self.label(item, variables, &mut outcome);
            outcome.item = Some(item.recorded(label));
        }
        outcome
    }

    /// Looks for what helps with a failure, for those who want to be told.
    fn help(&self, outcome: &mut Outcome, variables: &TaskVariables) {
        if !self.run.options.helps || outcome.no_log {
            return;
        }
        let scene = Scene {
            templar: &self.run.templar,
            variables,
        };
        outcome.helps = outcome.error.as_ref().and_then(|error| {
            let assertion = outcome.data.get(&Key::from("assertion"));
            explain::of_task(
                error,
                assertion,
                outcome.data.get(&Key::from("message")),
                self.task(),
                &scene,
            )
        });
    }

    fn no_log(&self, variables: &TaskVariables) -> bool {
        match self
            .keywords(variables)
            .bool("no_log", self.plan.keyword(Directive::NoLog))
        {
            Ok(given) => given.unwrap_or(self.run.settings.no_log),
            Err(error) => {
                let warning = Located::new("Invalid no_log value for task, output will be masked.")
                    .because(error);
                self.run.tell.warning(&warning);
                true
            }
        }
    }

    fn ignoring(&self, outcome: &mut Outcome, variables: &TaskVariables) {
        let keywords = self.keywords(variables);
        let given = |name, directive| {
            keywords
                .bool(name, self.plan.keyword(directive))
                .ok()
                .flatten()
                .unwrap_or(false)
        };
        outcome.ignore_errors = given("ignore_errors", Directive::IgnoreErrors);
        outcome.ignore_unreachable = given("ignore_unreachable", Directive::IgnoreUnreachable);
    }

    /// Whether all conditions hold; the one that does not.
    fn conditions(
        &self,
        conditions: &[Value],
        variables: &TaskVariables,
    ) -> Result<(bool, Option<Value>), Located> {
        for condition in conditions {
            let holds = self
                .run
                .templar
                .conditional(condition, variables)
                .map_err(|error| Located::from(&error))?;
            if !holds {
                return Ok((false, Some(condition.clone())));
            }
        }
        Ok((true, None))
    }

    async fn inner(
        &self,
        variables: &TaskVariables,
        item: Option<&Current>,
        loop_error: Option<Located>,
        recorded: &Mutex<Recorded>,
        shown: &mut Shown,
        delegate_facts: &mut bool,
    ) -> Result<Outcome, Failure> {
        let reach = Arc::new(Reach::of(self, variables)?);
        reach.show(variables);
        match self.conditions(&self.plan.when, variables) {
            Ok((true, _)) => {}
            Ok((false, condition)) => {
                return Ok(Outcome::condition_false(condition.unwrap_or_default()));
            }
            Err(error) => {
                let error = Located::new("A 'when' expression failed.")
                    .at_maybe(error.origin())
                    .because(error);
                if let Some(loop_error) = loop_error {
                    self.run.tell.event(&Event::Error(&error.text()));
                    return Err(loop_error.into());
                }
                return Err(error.into());
            }
        }
        if let Some(error) = loop_error {
            return Err(error.into());
        }
        let settled = Settled::of(self, variables)?;
        shown.check = settled.check;
        shown.diff = settled.diff;
        shown.connection = reach.connection_name();
        *delegate_facts = settled.delegate_facts;
        let (name, arguments) = arguments::of(self, variables)?;
        if self.plan.includes_tasks() || self.plan.includes_role() {
            let mut outcome = Outcome::default();
            outcome.include = Some(arguments);
            return Ok(outcome);
        }
        let given = arguments.clone();
        let attempted = self
            .attempts(
                &name, arguments, variables, &reach, &settled, item, recorded, shown,
            )
            .await;
        let mut outcome = match attempted {
            Ok(outcome) => outcome,
            Err(failure) => {
                let mut outcome = Outcome::of_failure(failure);
                outcome.arguments = Some(given);
                return Ok(outcome);
            }
        };
        outcome.arguments = Some(given);
        outcome.notify.clone_from(&settled.notify);
        if let Some(delegated) = &reach.delegated {
            outcome.delegated = Some(Arc::clone(delegated));
            outcome.delegated_variables = Some(reach.told());
        }
        Ok(outcome)
    }
}

/// Whether a rendered value says yes.
pub(super) fn says_yes(value: &Value) -> bool {
    !is_omit(value) && boolean(value).unwrap_or_else(|| is_true(value))
}
