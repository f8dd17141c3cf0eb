//! A task on one host, from its loop to its result.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_jinja::{Dict, Key, Str, Value, Variables as _, is_omit, repr};
use parking_lot::Mutex;

use super::arguments;
use super::attempt::{Attempt, Background};
use super::effects::{Effects, Layer};
use super::held;
use super::keyword::{Keywords, boolean, listed};
use super::plan::{self, Plan};
use super::reach::{Reach, Settled};
use super::result::{LoopItem, Outcome, is_true};
use super::run::Run;
use crate::action::Failure;
use crate::language::{ActionKind, Directive, Task};
use crate::output::{Event, Status, TaskResult};
use crate::source::Located;
use crate::variables::{PlayVariables, TaskVariables};

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

/// What an item of a loop is, while it is worked on.
struct Current {
    variable: Arc<str>,
    value: Value,
    index_variable: Option<Arc<str>>,
    index: usize,
    extended: Option<Dict>,
}

/// `loop_control`, rendered.
struct Control {
    variable: Arc<str>,
    index_variable: Option<Arc<str>>,
    pause: f64,
    extended: bool,
    all_items: bool,
}

/// What is looked at by `_task` and by registered names while a task is being carried out.
#[derive(Default)]
struct Recorded {
    earlier: Vec<Outcome>,
    /// The variables of the item that was worked on last.
    last: Option<TaskVariables>,
}

impl Work {
    /// Carries it out.
    pub(super) async fn run(self) -> Done {
        let mut shown = Shown {
            check: self.run.options.check,
            diff: self.run.options.diff,
        };
        let mut delegate_facts = false;
        let recorded = Mutex::new(Recorded::default());
        let mut outcome = self.whole(&recorded, &mut shown, &mut delegate_facts).await;
        let last = recorded.into_inner().last;
        self.register(&mut outcome, last.as_ref().unwrap_or(&self.variables));
        self.deprecations(&mut outcome);
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
        }
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
            None => Err(Located::new(format!(
                "Cannot resolve {} to an action or module.",
                repr::string(&name)
            ))
            .at(&action.origin)
            .into()),
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
        self.ignoring(&mut outcome, &self.variables);
        outcome
    }

    /// The items of the loop; whether what is wrong with them is that something is not defined.
    fn items(&self) -> Result<Option<Vec<Value>>, (Located, bool)> {
        let Some(looped) = &self.plan.looped else {
            return Ok(None);
        };
        let templar = &self.run.templar;
        let error = |error: crate::template::Error| (Located::from(&error), error.undefined);
        if let Some(lookup) = &looped.lookup {
            let items = templar
                .lookup(lookup, &looped.over, &self.variables)
                .map_err(error)?;
            return Ok(Some(items));
        }
        let rendered = templar
            .render(&looped.over, &self.variables)
            .map_err(error)?;
        match &rendered {
            Value::List(list) => Ok(Some(list.read().clone())),
            Value::Tuple(items) => Ok(Some(items.to_vec())),
            other => Err((
                Located::new(format!(
                    "The `loop` value must resolve to a 'list', not {}.",
                    repr::string(other.type_name())
                ))
                .about(&looped.over)
                .hint("Provide a list of items/templates, or a template resolving to a list."),
                false,
            )),
        }
    }

    fn control(&self) -> Result<Control, Located> {
        let written = &self.plan.control;
        let keywords = self.keywords(&self.variables);
        let variable = keywords
            .text("loop_var", written.variable.as_ref())?
            .map_or_else(|| Arc::from("item"), Arc::from);
        let index_variable: Option<Arc<str>> = keywords
            .text("index_var", written.index.as_ref())?
            .map(Arc::from);
        for (keyword, name) in [
            ("loop_var", Some(&variable)),
            ("index_var", index_variable.as_ref()),
        ] {
            if let Some(name) = name
                && !is_variable_name(name)
            {
                return Err(
                    Located::new(format!("Invalid '{keyword}'.")).because(invalid_name(name))
                );
            }
        }
        self.warn_of_names(&variable, index_variable.as_ref());
        Ok(Control {
            variable,
            index_variable,
            pause: keywords
                .float("pause", written.pause.as_ref())?
                .unwrap_or(0.0),
            extended: keywords
                .bool("extended", written.extended.as_ref())?
                .unwrap_or(false),
            all_items: keywords
                .bool("extended_allitems", written.all_items.as_ref())?
                .unwrap_or(true),
        })
    }

    fn warn_of_names(&self, variable: &Arc<str>, index: Option<&Arc<str>>) {
        const COMMON: &[&str] = &[
            "ansible_connection",
            "ansible_host",
            "ansible_user",
            "ansible_shell_executable",
            "ansible_port",
            "ansible_pipelining",
            "ansible_password",
            "ansible_timeout",
            "ansible_shell_type",
            "ansible_module_compression",
            "ansible_private_key_file",
        ];
        for (keyword, name) in [("loop_var", Some(variable)), ("index_var", index)] {
            let Some(name) = name else { continue };
            let conflict = if self.variables.contains(name) {
                "already in use"
            } else if ["ansible_index_var", "ansible_loop", "ansible_loop_var"].contains(&&**name)
                || COMMON.contains(&&**name)
            {
                "reserved"
            } else if index == Some(variable) {
                "used more than once"
            } else {
                continue;
            };
            let written = if keyword == "loop_var" {
                &self.plan.control.variable
            } else {
                &self.plan.control.index
            };
            let mut warning = Located::new(format!(
                "The variable {} is {conflict}.",
                repr::string(name)
            ))
            .hint(format!(
                "You should set the `{keyword}` value in the `loop_control` option for the task to something else to avoid \
                 variable collisions and unexpected behavior."
            ));
            warning = match written {
                Some(written) => warning.about(written),
                None => warning.about(&Value::from(&**name)),
            };
            self.run.tell.warning(&warning);
        }
    }

    async fn every(
        &self,
        items: Vec<Value>,
        control: &Control,
        recorded: &Mutex<Recorded>,
        shown: &mut Shown,
        delegate_facts: &mut bool,
    ) -> Outcome {
        let all = Value::from(items.clone());
        for (index, item) in items.iter().enumerate() {
            if index > 0 && control.pause > 0.0 {
                tokio::time::sleep(Duration::from_secs_f64(control.pause)).await;
            }
            let variables = self.variables.fork();
            let extended = control
                .extended
                .then(|| extended(&items, index, control.all_items.then_some(&all)));
            let current = Current {
                variable: Arc::clone(&control.variable),
                value: item.clone(),
                index_variable: control.index_variable.clone(),
                index,
                extended,
            };
            current.set(&variables);
            let began = Instant::now();
            let mut outcome = self
                .one(
                    &variables,
                    Some(&current),
                    None,
                    recorded,
                    shown,
                    delegate_facts,
                )
                .await;
            let mut ends = false;
            if !self.plan.control.break_when.is_empty() {
                let given = self.conditions(&self.plan.control.break_when, &variables);
                ends = outcome.break_when(given.map(|(holds, _)| holds));
            }
            self.tell_item(&outcome, shown, began.elapsed());
            {
                let mut recorded = recorded.lock();
                recorded.earlier.push(outcome);
                recorded.last = Some(variables);
            }
            if ends {
                break;
            }
        }
        let outcomes = std::mem::take(&mut recorded.lock().earlier);
        Outcome::of_items(outcomes)
    }

    fn tell_item(&self, outcome: &Outcome, shown: &Shown, elapsed: Duration) {
        let result = self.result(outcome, shown, elapsed);
        self.run.tell.event(&Event::Item(&result));
    }

    pub(super) fn result(&self, outcome: &Outcome, shown: &Shown, elapsed: Duration) -> TaskResult {
        task_result(self.task(), &self.host, &self.name, outcome, shown, elapsed)
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
        outcome.raise(&self.task().origin);
        outcome.no_log |= self.no_log(variables);
        self.ignoring(&mut outcome, variables);
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

    fn label(&self, item: &Current, variables: &TaskVariables, outcome: &mut Outcome) -> Value {
        if let Some(written) = &self.plan.control.label {
            match self.run.templar.render(written, variables) {
                Ok(label) => return label,
                Err(error) => {
                    let warning = Located::new("Failed to template loop_control label.")
                        .because(Located::from(&error));
                    outcome.warnings.push(Value::from(warning.brief()));
                }
            }
        }
        item.value.clone()
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
        *delegate_facts = settled.delegate_facts;
        let (name, arguments) = arguments::of(self, variables)?;
        if self.plan.includes_tasks() || self.plan.includes_role() {
            let mut outcome = Outcome::default();
            outcome.include = Some(arguments);
            return Ok(outcome);
        }
        let mut outcome = self
            .attempts(
                &name, arguments, variables, &reach, &settled, item, recorded, shown,
            )
            .await?;
        outcome.notify.clone_from(&settled.notify);
        if let Some(delegated) = &reach.delegated {
            outcome.delegated = Some(Arc::clone(delegated));
            outcome.delegated_variables = Some(reach.told());
        }
        Ok(outcome)
    }

    #[allow(clippy::too_many_arguments)]
    async fn attempts(
        &self,
        name: &str,
        arguments: Dict,
        variables: &TaskVariables,
        reach: &Arc<Reach>,
        settled: &Settled,
        item: Option<&Current>,
        recorded: &Mutex<Recorded>,
        shown: &Shown,
    ) -> Result<Outcome, Failure> {
        let (action, traits) = plan::action(name);
        let retries = match settled.retries {
            Some(retries) => 1 + retries.max(0),
            None if !self.plan.until.is_empty() => 4,
            None => 1,
        };
        let retries = u64::try_from(retries).unwrap_or(1);
        let delay = if settled.delay < 0.0 {
            1.0
        } else {
            settled.delay
        };
        let background = settled.background;
        let settings = reach.module_settings(settled);
        for attempt in 1..=retries {
            let effects = Mutex::new(Effects::default());
            let attempted = Attempt {
                name,
                task: self.task(),
                host: &self.host,
                delegated: reach.delegated.as_ref(),
                check: settled.check,
                diff: settled.diff,
                no_log: settled.no_log,
                verbosity: self.run.options.verbosity,
                timeout: settled.timeout,
                background,
                search_path: variables
                    .task()
                    .map_or(&[][..], |layers| &layers.search_path[..]),
                directory: &self.play.directory,
                module_settings: &settings,
                run: &self.run,
                reach,
                variables,
                effects: &effects,
            };
            let refused = if background.is_some() && !traits.background {
                Some(Failure::new(format!(
                    "This action ({}) does not support async.",
                    self.task().action.written
                )))
            } else if settled.check && !traits.check_mode {
                Some(Failure::skipped(format!(
                    "This action ({}) does not support check mode.",
                    self.task().action.written
                )))
            } else {
                unknown_argument(&arguments, &traits, &self.task().action.written)
            };
            let given = match refused {
                Some(failure) => Err(failure),
                None => match settled.timeout {
                    Some(limit) => {
                        match tokio::time::timeout(limit, action.run(&attempted, arguments.clone()))
                            .await
                        {
                            Ok(given) => given,
                            Err(_) => Err(timed_out(limit)),
                        }
                    }
                    None => action.run(&attempted, arguments.clone()).await,
                },
            };
            let given = match (given, background) {
                (Ok(result), Some(background)) if background.poll > 0 => {
                    let begun = Outcome::of_result(&result);
                    if begun.skipped() || begun.failed() {
                        Ok(begun)
                    } else {
                        self.poll(&attempted, &begun, background, shown).await
                    }
                }
                (given, _) => given.map(|result| Outcome::of_result(&result)),
            };
            let effects = effects.into_inner();
            let mut outcome = match given {
                Ok(outcome) => outcome,
                Err(failure) => {
                    // What an action could not do at all is not judged by conditions, nor tried again.
                    return Ok(with_warnings(
                        Outcome::of_failure(failure),
                        effects.warnings,
                    ));
                }
            };
            outcome = with_warnings(outcome, effects.warnings);
            outcome.variables = effects.variables;
            finish_fact_layer(&mut outcome);
            self.show_changes(&outcome, variables, settled);
            if retries > 1 {
                outcome.attempts = Some(attempt);
            }
            self.record(&outcome, item, variables, recorded);
            if !outcome.skipped() {
                self.judge(&mut outcome, item, variables, recorded);
            }
            if retries == 1 {
                return Ok(outcome);
            }
            let done = if self.plan.until.is_empty() {
                !outcome.failed()
            } else {
                self.conditions(&self.plan.until, variables)
                    .map_err(|error| {
                        Located::new("An 'until' expression failed.")
                            .at_maybe(error.origin())
                            .because(error)
                    })?
                    .0
            };
            if done {
                return Ok(outcome);
            }
            if attempt == retries {
                outcome.attempts = Some(retries - 1);
                outcome.set_failed(true);
                return Ok(outcome);
            }
            outcome.retries = Some(retries);
            outcome.attempts = Some(attempt + 1);
            let result = self.result(&outcome, shown, self.started.elapsed());
            self.run.tell.event(&Event::Retry {
                result: &result,
                remaining: retries - attempt - 1,
            });
            tokio::time::sleep(Duration::from_secs_f64(delay)).await;
        }
        Err(Failure::error("The task was not tried at all."))
    }

    /// Shows the task itself what its action set, as others will see it afterwards.
    fn show_changes(&self, outcome: &Outcome, variables: &TaskVariables, settled: &Settled) {
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
    fn record(
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

    fn judge(
        &self,
        outcome: &mut Outcome,
        item: Option<&Current>,
        variables: &TaskVariables,
        recorded: &Mutex<Recorded>,
    ) {
        if !self.plan.changed_when.is_empty() {
            let given = self.conditions(&self.plan.changed_when, variables);
            let broken = given.is_err();
            outcome.changed_when(given.map(|(holds, _)| holds));
            self.record(outcome, item, variables, recorded);
            if broken {
                return;
            }
        }
        if !self.plan.failed_when.is_empty() {
            let given = self.conditions(&self.plan.failed_when, variables);
            outcome.failed_when(given.map(|(holds, _)| holds));
            self.record(outcome, item, variables, recorded);
        }
    }

    /// Finds what `register` keeps.
    fn register(&self, outcome: &mut Outcome, variables: &TaskVariables) {
        if self.plan.register.is_empty() {
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

    fn deprecations(&self, outcome: &mut Outcome) {
        for old in self.variables.take_used() {
            outcome.deprecations.push(super::old::told(old));
        }
    }
}

/// Facts in a result become facts of the host, unless the action says what does.
fn finish_fact_layer(outcome: &mut Outcome) {
    if let Some(facts) = &outcome.facts
        && !facts.is_empty()
    {
        let facts = facts.clone();
        outcome.variables.entry(Layer::Fact).or_insert(facts);
    }
}

impl Current {
    fn set(&self, variables: &TaskVariables) {
        variables.set_local("ansible_loop_var", Value::from(&*self.variable));
        variables.set_local(&self.variable, self.value.clone());
        if let Some(name) = &self.index_variable {
            variables.set_local("ansible_index_var", Value::from(&**name));
            variables.set_local(name, Value::from(self.index));
        }
        if let Some(extended) = &self.extended {
            variables.set_local("ansible_loop", Value::Dict(extended.clone()));
        }
    }

    fn recorded(&self, label: Value) -> LoopItem {
        LoopItem {
            variable: Arc::clone(&self.variable),
            value: self.value.clone(),
            label,
            index_variable: self.index_variable.clone(),
            index: self.index as i64,
            extended: self.extended.clone(),
        }
    }
}

fn extended(items: &[Value], index: usize, all: Option<&Value>) -> Dict {
    let count = items.len();
    let mut entries: Vec<(&str, Value)> = vec![
        ("index", (index + 1).into()),
        ("index0", index.into()),
        ("first", (index == 0).into()),
        ("last", (index + 1 == count).into()),
        ("length", count.into()),
        ("revindex", (count - index).into()),
        ("revindex0", (count - index - 1).into()),
    ];
    if let Some(all) = all {
        entries.push(("allitems", all.clone()));
    }
    if let Some(next) = items.get(index + 1) {
        entries.push(("nextitem", next.clone()));
    }
    if let Some(previous) = index.checked_sub(1).and_then(|at| items.get(at)) {
        entries.push(("previtem", previous.clone()));
    }
    entries.into_iter().collect()
}

fn with_warnings(mut outcome: Outcome, warnings: Vec<String>) -> Outcome {
    outcome
        .warnings
        .extend(warnings.into_iter().map(Value::from));
    outcome
}

fn timed_out(limit: Duration) -> Failure {
    let period: Dict = [
        (
            "frame",
            Value::from("Configure `DISPLAY_TRACEBACK` to see a traceback on timeout errors."),
        ),
        (
            "period",
            Value::Int(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)),
        ),
    ]
    .into_iter()
    .collect();
    Failure::Failed(Box::new(crate::action::Failed {
        error: Located::new(format!("Timed out after {} second(s).", limit.as_secs())),
        result: [("timedout", period)].into_iter().collect(),
        is_message: false,
    }))
}

fn unknown_argument(
    arguments: &Dict,
    traits: &crate::action::Traits,
    action: &str,
) -> Option<Failure> {
    let known = traits.arguments?;
    let unknown: Vec<String> = arguments
        .read()
        .keys()
        .filter_map(|key| key.as_str())
        .filter(|name| !known.contains(name))
        .map(str::to_owned)
        .collect();
    (!unknown.is_empty()).then(|| {
        Failure::new(format!(
            "Invalid options for {action}: {}",
            unknown.join(",")
        ))
    })
}

/// Whether a text may be the name of a variable.
pub(super) fn is_variable_name(name: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "and",
        "as",
        "autoescape",
        "block",
        "break",
        "call",
        "continue",
        "do",
        "elif",
        "else",
        "endautoescape",
        "endblock",
        "endcall",
        "endfilter",
        "endfor",
        "endif",
        "endmacro",
        "endset",
        "endtrans",
        "endwith",
        "extends",
        "filter",
        "for",
        "from",
        "if",
        "import",
        "in",
        "include",
        "is",
        "macro",
        "not",
        "or",
        "pluralize",
        "recursive",
        "set",
        "trans",
        "with",
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
    ];
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
        && !KEYWORDS.contains(&name)
}

fn invalid_name(name: &str) -> Located {
    Located::new(format!("Invalid variable name {}.", repr::string(name))).hint(
        "Variable names must be strings starting with a letter or underscore character, and contain only letters, numbers \
         and underscores.",
    )
}

/// A result as it is told.
pub(super) fn task_result(
    task: &Arc<Task>,
    host: &Arc<str>,
    name: &Arc<str>,
    outcome: &Outcome,
    shown: &Shown,
    elapsed: Duration,
) -> TaskResult {
    let status = if outcome.failed() {
        Status::Failed
    } else if outcome.unreachable() {
        Status::Unreachable
    } else if outcome.skipped() {
        Status::Skipped
    } else {
        Status::Ok
    };
    TaskResult {
        host: Arc::clone(host),
        delegated: outcome
            .delegated
            .clone()
            .filter(|delegated| delegated != host),
        task: Arc::clone(task),
        name: Arc::clone(name),
        status,
        changed: outcome.changed(),
        ignored: match status {
            Status::Failed => outcome.ignores_errors(),
            Status::Unreachable => outcome.ignores_unreachable(),
            _ => false,
        },
        no_log: outcome.no_log,
        check: shown.check,
        diff: shown.diff,
        result: outcome.as_dict(true),
        error: outcome.error.as_ref().map(|error| error.text().into()),
        item: outcome.item.as_ref().map(|item| item.label.clone()),
        attempts: outcome.attempts.unwrap_or(1),
        elapsed,
    }
}

/// Whether a rendered value says yes.
pub(super) fn says_yes(value: &Value) -> bool {
    !is_omit(value) && boolean(value).unwrap_or_else(|| is_true(value))
}

/// `async` and `poll`, if the task runs in the background.
pub(super) fn background(limit: i64, poll: i64) -> Option<Background> {
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
    Some(Background {
        limit,
        poll: u64::try_from(poll).unwrap_or(0),
    })
}
