//! A play being carried out on a batch of hosts: who is where, what was notified, what results mean for the rest.

use std::collections::HashMap;
use std::sync::Arc;

use consort_jinja::{Dict, Str, Value, repr};
use indexmap::IndexSet;
use tokio::task::JoinSet;

use super::effects::Layer;
use super::iterator::{Choice, Iteration, Phase, Place};
use super::keyword::{Keywords, integer, listed};
use super::plan::{self, Plan};
use super::result::Outcome;
use super::run::Run;
use super::work::{Done, Work, task_result};
use crate::language::{Directive, Play, Role, Task};
use crate::output::{Event, TaskKind};
use crate::source::Located;
use crate::variables::{PlayVariables, TaskVariables};

/// A play being carried out on a batch of hosts.
pub(super) struct PlayRun {
    pub(super) run: Arc<Run>,
    pub(super) play: Arc<Play>,
    pub(super) variables: Arc<PlayVariables>,
    pub(super) groups: Arc<HashMap<String, Vec<String>>>,
    pub(super) iteration: Iteration,
    /// The hosts of the batch, in their order.
    pub(super) hosts: Vec<Arc<str>>,
    pub(super) failed: IndexSet<Arc<str>>,
    pub(super) unreachable: IndexSet<Arc<str>>,
    pub(super) roles: RoleRuns,
    pub(super) gathering: Gathering,
    pub(super) step: bool,
    pub(super) forks: usize,
    pub(super) max_fail_percentage: Option<f64>,
    plans: HashMap<u64, Arc<Plan>>,
    handler_names: HashMap<u64, Option<Arc<str>>>,
}

/// What roles did on which hosts.
#[derive(Default)]
pub(super) struct RoleRuns {
    began: HashMap<String, IndexSet<Arc<str>>>,
    completed: HashMap<String, IndexSet<Arc<str>>>,
}

impl RoleRuns {
    fn begin(&mut self, role: &Role, host: &Arc<str>) {
        self.began
            .entry(role.identity.clone())
            .or_default()
            .insert(Arc::clone(host));
    }

    /// Notes that a role is complete on a host, if it did anything there.
    pub(super) fn complete(&mut self, role: &Role, host: &Arc<str>) -> bool {
        let began = self
            .began
            .get(&role.identity)
            .is_some_and(|hosts| hosts.contains(host));
        if began {
            self.completed
                .entry(role.identity.clone())
                .or_default()
                .insert(Arc::clone(host));
        }
        began
    }

    fn is_complete(&self, role: &Role, host: &str) -> bool {
        self.completed
            .get(&role.identity)
            .is_some_and(|hosts| hosts.contains(host))
    }
}

/// When facts are gathered at the beginning of a play.
pub(super) struct Gathering {
    /// Whether the play has tasks to set up at all.
    pub(super) is_there: bool,
    /// `implicit`, `explicit` or `smart`.
    pub(super) policy: String,
    /// `gather_facts`.
    pub(super) asked: Option<bool>,
    pub(super) variables: Arc<PlayVariables>,
}

struct Chooser<'a> {
    gathering: &'a Gathering,
    roles: &'a RoleRuns,
}

impl Choice for Chooser<'_> {
    fn gathers(&self, host: &str) -> bool {
        let gathering = self.gathering;
        let implied = gathering.asked.unwrap_or(true);
        gathering.is_there
            && match gathering.policy.as_str() {
                "explicit" => gathering.asked == Some(true),
                "smart" => implied && !gathering.variables.store().has_facts(host),
                _ => implied,
            }
    }

    fn passes_over(&self, host: &str, task: &Task, iteration: &Iteration) -> bool {
        if task.implicit
            && meta_of(task).as_deref() == Some("flush_handlers")
            && !iteration.has_notifications(host)
        {
            return true;
        }
        task.role()
            .is_some_and(|role| !role.allow_duplicates && self.roles.is_complete(role, host))
    }
}

/// What `meta` is to do, if a task is that.
pub(super) fn meta_of(task: &Task) -> Option<String> {
    task.action
        .meta()
        .and_then(|value| value.as_str().map(str::to_owned))
}

/// What a [`PlayRun`] is made of.
pub(super) struct Beginning {
    pub(super) run: Arc<Run>,
    pub(super) play: Arc<Play>,
    pub(super) variables: Arc<PlayVariables>,
    pub(super) iteration: Iteration,
    pub(super) hosts: Vec<Arc<str>>,
    pub(super) unreachable: IndexSet<Arc<str>>,
    pub(super) gathering: Gathering,
    pub(super) max_fail_percentage: Option<f64>,
}

impl PlayRun {
    pub(super) fn new(beginning: Beginning) -> Self {
        let forks = beginning
            .run
            .options
            .forks
            .max(1)
            .min(beginning.iteration.batch.max(1));
        let groups = beginning
            .play
            .action_groups
            .iter()
            .map(|(name, members)| (name.clone(), members.clone()))
            .collect();
        PlayRun {
            step: beginning.run.options.step,
            run: beginning.run,
            play: beginning.play,
            variables: beginning.variables,
            groups: Arc::new(groups),
            iteration: beginning.iteration,
            hosts: beginning.hosts,
            failed: IndexSet::new(),
            unreachable: beginning.unreachable,
            roles: RoleRuns::default(),
            gathering: beginning.gathering,
            forks,
            max_fail_percentage: beginning.max_fail_percentage,
            plans: HashMap::new(),
            handler_names: HashMap::new(),
        }
    }

    /// The next task of a host, and where it stands then.
    pub(super) fn peek(&mut self, host: &Arc<str>) -> (Place, Option<Arc<Task>>) {
        let chooser = Chooser {
            gathering: &self.gathering,
            roles: &self.roles,
        };
        self.iteration.peek(host, &chooser)
    }

    /// Begins at the task `--start-at-task` names. Tells whether there is one.
    pub(super) fn start_at(&mut self, is_it: &dyn Fn(&Task) -> bool) -> bool {
        let chooser = Chooser {
            gathering: &self.gathering,
            roles: &self.roles,
        };
        self.iteration.start_at(&chooser, is_it)
    }

    /// The hosts that can still be reached.
    pub(super) fn hosts_left(&self) -> Vec<Arc<str>> {
        self.hosts
            .iter()
            .filter(|host| !self.unreachable.contains(*host))
            .cloned()
            .collect()
    }

    /// What a task says.
    pub(super) fn plan(&mut self, task: &Arc<Task>) -> Arc<Plan> {
        if let Some(known) = self.plans.get(&task.id) {
            return Arc::clone(known);
        }
        let plan = Arc::new(Plan::of(task));
        if plan
            .keyword(Directive::Debugger)
            .is_some_and(|written| written.as_str() != Some("never"))
        {
            self.run.tell.warning(
                &Located::new("There is no task debugger: the keyword `debugger` is not heeded.")
                    .at(&task.origin),
            );
        }
        self.plans.insert(task.id, Arc::clone(&plan));
        plan
    }

    /// The variables of a task on a host.
    pub(super) fn task_variables(&self, host: &Arc<str>, task: &Task) -> TaskVariables {
        TaskVariables::of(&self.variables, host, task)
    }

    /// A keyword that is a truth value, for the task as a whole.
    pub(super) fn flag(
        &self,
        plan: &Plan,
        directive: Directive,
        variables: &TaskVariables,
    ) -> Result<bool, Located> {
        let keywords = Keywords {
            templar: &self.run.templar,
            variables,
        };
        Ok(keywords
            .bool(directive.name(), plan.keyword(directive))?
            .unwrap_or(false))
    }

    /// How many hosts may do a task at once.
    pub(super) fn throttle(
        &self,
        plan: &Plan,
        variables: &TaskVariables,
    ) -> Result<usize, Located> {
        let Some(written) = plan.keyword(Directive::Throttle) else {
            return Ok(0);
        };
        let refused = |cause: Located| {
            Located::new("Failed to convert the throttle value to an integer.")
                .about(written)
                .because(cause)
        };
        let value = self
            .run
            .templar
            .render(written, variables)
            .map_err(|error| refused(Located::from(error)))?;
        let number = integer(&value).ok_or_else(|| {
            refused(Located::new(format!(
                "invalid literal for int() with base 10: {}",
                repr::repr(&value)
            )))
        })?;
        Ok(usize::try_from(number).unwrap_or(0))
    }

    /// The name of a task, rendered as far as it can be, with its role before it.
    pub(super) fn name(&self, plan: &Plan, variables: &TaskVariables) -> Arc<str> {
        let task = &plan.task;
        let written = task.name().filter(|name| !matches!(name, Value::None));
        let name = written.map(|written| {
            self.run
                .templar
                .render(written, variables)
                .ok()
                .or_else(|| Some(written.clone()))
                .and_then(|name| name.text().ok())
                .map(|name| name.to_string())
                .unwrap_or_default()
        });
        full_name(task, name.as_deref().filter(|name| !name.is_empty()), true).into()
    }

    /// Tells that a task begins.
    pub(super) fn tell_task(&self, plan: &Plan, name: &str) {
        let task = &plan.task;
        self.run.tell.event(&Event::Task {
            task,
            name,
            kind: if task.handler {
                TaskKind::Handler
            } else {
                TaskKind::Task
            },
            check: match plan.keyword(Directive::CheckMode) {
                Some(written) => super::reach::truth(Some(written)),
                None => self.run.options.check,
            },
            arguments: &task.action.arguments,
        });
    }

    /// Begins a task on a host, and waits for others first where as many as may be are at work. Results that are there
    /// already are taken in and added to `done`.
    pub(super) async fn begin(
        &mut self,
        at_work: &mut JoinSet<Done>,
        done: &mut Vec<Done>,
        work: Work,
        limit: usize,
        run_once: bool,
    ) -> Result<(), Located> {
        while at_work.len() >= limit.max(1) {
            self.finish_one(at_work, done, run_once).await?;
        }
        self.run.tell.event(&Event::HostStarted {
            host: &work.host,
            task: &work.plan.task,
        });
        let mut future = Box::pin(work.run());
        // Most tasks of the controller are done at once: then nothing is handed to another thread, and results come in the
        // order of the hosts.
        match futures::poll!(future.as_mut()) {
            std::task::Poll::Ready(finished) => {
                let finished = self.take_in(finished, run_once)?;
                done.push(finished);
            }
            std::task::Poll::Pending => {
                at_work.spawn(future);
            }
        }
        Ok(())
    }

    /// Waits for one of those at work, and takes its result in.
    pub(super) async fn finish_one(
        &mut self,
        at_work: &mut JoinSet<Done>,
        done: &mut Vec<Done>,
        run_once: bool,
    ) -> Result<(), Located> {
        match at_work.join_next().await {
            Some(Ok(finished)) => {
                let finished = self.take_in(finished, run_once)?;
                done.push(finished);
                Ok(())
            }
            Some(Err(error)) => Err(Located::new(format!(
                "A worker was found in a dead state: {error}"
            ))),
            None => Ok(()),
        }
    }

    /// A task on a host, to be carried out.
    pub(super) fn work(
        &self,
        plan: &Arc<Plan>,
        host: &Arc<str>,
        name: &Arc<str>,
        variables: TaskVariables,
    ) -> Work {
        Work {
            run: Arc::clone(&self.run),
            play: Arc::clone(&self.variables),
            plan: Arc::clone(plan),
            groups: Arc::clone(&self.groups),
            host: Arc::clone(host),
            name: Arc::clone(name),
            variables,
            started: std::time::Instant::now(),
        }
    }

    /// The hosts a result counts for.
    fn hosts_of(&self, host: &Arc<str>, run_once: bool) -> Vec<Arc<str>> {
        if run_once {
            self.hosts_left()
        } else {
            vec![Arc::clone(host)]
        }
    }

    /// Marks a host as failed.
    pub(super) fn fail(&mut self, host: &Arc<str>) {
        self.iteration.fail(host);
        self.variables.change_roster(|roster| {
            roster.removed.insert(Arc::clone(host));
        });
    }

    /// Notes that a host failed the play for good.
    pub(super) fn note_failed(&mut self, host: &Arc<str>) {
        self.failed.insert(Arc::clone(host));
        self.variables.change_roster(|roster| {
            roster.failed.insert(Arc::clone(host));
        });
    }

    /// Takes a result in: what it means for the host, for others, for variables, and tells it.
    fn take_in(&mut self, done: Done, run_once: bool) -> Result<Done, Located> {
        let plan = Arc::clone(&done.plan);
        let host = Arc::clone(&done.host);
        let outcome = &done.outcome;
        let result = task_result(
            &plan.task,
            &host,
            &done.name,
            outcome,
            &done.shown,
            done.elapsed,
        );
        let mut role_ran = false;
        if outcome.failed() {
            role_ran = true;
            if outcome.ignores_errors() {
                self.run.count(&host, |counts| {
                    counts.ok += 1;
                    counts.ignored += 1;
                    counts.changed += u64::from(outcome.changed());
                });
            } else {
                self.take_failure(&done, run_once);
            }
            self.run.tell.event(&Event::Result(&result));
        } else if outcome.unreachable() {
            if outcome.ignores_unreachable() {
                self.run.count(&host, |counts| {
                    counts.ok += 1;
                    counts.ignored += 1;
                });
            } else {
                self.unreachable.insert(Arc::clone(&host));
                self.variables.change_roster(|roster| {
                    roster.removed.insert(Arc::clone(&host));
                    roster.unreachable.insert(Arc::clone(&host));
                });
                self.run.count(&host, |counts| counts.unreachable += 1);
            }
            self.run.tell.event(&Event::Result(&result));
        } else if outcome.skipped() {
            self.run.count(&host, |counts| counts.skipped += 1);
            self.run.tell.event(&Event::Result(&result));
        } else {
            role_ran = true;
            let each: &[Outcome] = match &outcome.items {
                Some(items) => items,
                None => std::slice::from_ref(outcome),
            };
            for one in each {
                if outcome.changed() {
                    for name in &one.notify {
                        self.notify(name, &host)?;
                    }
                }
                self.apply(one, &plan, &done, run_once);
            }
            if !plan.task.action.includes() {
                self.run.count(&host, |counts| {
                    counts.ok += 1;
                    counts.changed += u64::from(outcome.changed());
                });
            }
            self.run.tell.event(&Event::Result(&result));
        }
        for target in self.hosts_of(&host, run_once) {
            for (name, value) in &outcome.registered {
                self.run.store.set_one(&target, name, value.clone());
            }
        }
        if role_ran && let Some(role) = plan.task.role() {
            self.roles.begin(role, &host);
        }
        Ok(done)
    }

    fn take_failure(&mut self, done: &Done, run_once: bool) {
        let host = &done.host;
        let before = self.iteration.place(host).clone();
        if run_once {
            let all: Vec<Arc<str>> = self.hosts_left();
            for each in &all {
                self.fail(each);
            }
        } else {
            self.fail(host);
        }
        let (place, _) = self.peek(host);
        if self.iteration.is_failed(host) && place.phase == Phase::Complete {
            self.note_failed(host);
        }
        if before.is_rescuing() {
            self.run.count(host, |counts| counts.rescued += 1);
            self.variables.change_roster(|roster| {
                roster.removed.remove(host);
            });
            self.run.store.set(
                host,
                &[
                    (
                        "ansible_failed_task",
                        Value::Dict(shown_task(&done.plan.task, &done.name)),
                    ),
                    (
                        "ansible_failed_result",
                        Value::Dict(done.outcome.as_dict(false)),
                    ),
                ]
                .into_iter()
                .collect(),
            );
        } else {
            self.run.count(host, |counts| counts.failures += 1);
        }
    }

    /// Lets what an action set take effect.
    fn apply(&mut self, outcome: &Outcome, plan: &Plan, done: &Done, run_once: bool) {
        let hosts = self.hosts_of(&done.host, run_once);
        let theirs: Vec<Arc<str>> = match &outcome.delegated {
            Some(delegated)
                if done.delegate_facts && plan.keyword(Directive::DelegateTo).is_some() =>
            {
                vec![Arc::clone(delegated)]
            }
            _ => hosts.clone(),
        };
        let store = &self.run.store;
        for (layer, variables) in &outcome.variables {
            match layer {
                Layer::Fact => {
                    for host in &theirs {
                        if let Err(message) = store.add_facts(host, variables) {
                            self.run.tell.warn(&message);
                        }
                    }
                }
                Layer::Include => theirs
                    .iter()
                    .for_each(|host| store.include(host, variables)),
                Layer::SetFact => theirs.iter().for_each(|host| store.set(host, variables)),
                Layer::Register => hosts.iter().for_each(|host| store.set(host, variables)),
            }
        }
        if let Some(stats) = &outcome.stats {
            self.apply_stats(stats, &hosts);
        }
    }

    fn apply_stats(&self, stats: &Dict, hosts: &[Arc<str>]) {
        let Some(Value::Dict(data)) = stats.get("data") else {
            return;
        };
        let flag = |name: &str| {
            stats
                .get(name)
                .is_some_and(|value| super::result::is_true(&value))
        };
        let names: Vec<String> = if flag("per_host") {
            hosts.iter().map(ToString::to_string).collect()
        } else {
            vec!["_run".to_owned()]
        };
        let mut all = self.run.stats.lock();
        for name in names {
            let known = all.custom.entry(name).or_default();
            for (key, value) in data.read().iter() {
                let old = known.read().get(key).cloned();
                let value = match old {
                    Some(old) if flag("aggregate") => match together(&old, value) {
                        Some(sum) => sum,
                        None => continue,
                    },
                    _ => value.clone(),
                };
                known.change(|entries| entries.insert(key.clone(), value));
            }
        }
    }

    /// The handlers a notification means: the last of that name, and all that listen to it.
    pub(super) fn handlers_for(&mut self, notification: &str) -> Vec<Arc<Task>> {
        let handlers = latest_first(&self.iteration.handlers);
        let mut found = Vec::new();
        for handler in &handlers {
            let Some(name) = self.handler_name(handler) else {
                continue;
            };
            if *name == *notification
                || full_name(handler, Some(&name), false) == notification
                || full_name(handler, Some(&name), true) == notification
            {
                found.push(Arc::clone(handler));
                break;
            }
        }
        let mut seen: Vec<Option<Arc<str>>> = Vec::new();
        for handler in &handlers {
            let listens = listed(handler.directives.get(Directive::Listen).cloned())
                .iter()
                .any(|topic| topic.as_str() == Some(notification));
            if !listens {
                continue;
            }
            let name = self.handler_name(handler);
            if name.is_some() && seen.contains(&name) {
                continue;
            }
            seen.push(name);
            found.push(Arc::clone(handler));
        }
        found
    }

    /// The name of a handler, rendered without a host; none if it has none, or it cannot be.
    fn handler_name(&mut self, handler: &Arc<Task>) -> Option<Arc<str>> {
        if let Some(Some(known)) = self.handler_names.get(&handler.id) {
            return Some(Arc::clone(known));
        }
        let written = handler.name()?;
        let variables = TaskVariables::of_task(&self.variables, handler);
        match self.run.templar.render(written, &variables) {
            Ok(name) => {
                let name: Option<Arc<str>> = name.text().ok().map(|text| Arc::clone(text.shared()));
                let name = name.filter(|name| !name.is_empty());
                self.handler_names.insert(handler.id, name.clone());
                name
            }
            Err(error) => {
                let known = self.handler_names.insert(handler.id, None);
                if known.is_none() && handler.directives.get(Directive::Listen).is_none() {
                    self.run.tell.warn(&format!(
                        "Handler '{}' is unusable because it has no listen topics and the name could not be templated \
                         (host-specific variables are not supported in handler names). The error: {error}",
                        repr::text(written)
                    ));
                }
                None
            }
        }
    }

    fn notify(&mut self, name: &Arc<str>, host: &Arc<str>) -> Result<(), Located> {
        let handlers = self.handlers_for(name);
        if handlers.is_empty() {
            let message = format!(
                "The requested handler '{name}' was not found in either the main handlers list nor in the listening handlers \
                 list"
            );
            if self.run.settings.error_on_missing_handler {
                return Err(Located::new(message));
            }
            self.run.tell.warn(&message);
            return Ok(());
        }
        if self.iteration.is_flushing(host) {
            for handler in &handlers {
                self.notify_handler(handler, host);
            }
        } else {
            self.iteration.keep_notification(host, name);
            self.run.tell.detail(
                2,
                None,
                &format!("Notification for handler {name} has been saved."),
            );
        }
        Ok(())
    }

    /// Notes that a handler is to run on a host.
    pub(super) fn notify_handler(&mut self, handler: &Arc<Task>, host: &Arc<str>) {
        if self.iteration.notify(handler, host) {
            let name = self
                .handler_name(handler)
                .map_or_else(|| full_name(handler, None, true), |name| name.to_string());
            self.run.tell.event(&Event::Notified {
                handler: &name,
                host,
            });
        }
    }

    /// Whether an action runs once for all hosts.
    pub(super) fn bypasses_host_loop(plan: &Plan) -> bool {
        plan::action(&plan.task.action.name).1.bypasses_host_loop
    }
}

/// Handlers in the order they are looked for: lists of them that were written later come first, each in its own order.
fn latest_first(handlers: &[Arc<Task>]) -> Vec<Arc<Task>> {
    handlers
        .chunk_by(|one, two| Arc::ptr_eq(&one.parent, &two.parent))
        .rev()
        .flatten()
        .cloned()
        .collect()
}

/// The name of a task as it is shown: its own or its action, with its role before it.
pub(super) fn full_name(task: &Task, name: Option<&str>, with_collection: bool) -> String {
    if task.action.builtin() == Some("include_role") || task.action.builtin() == Some("import_role")
    {
        if let Some(name) = name {
            return name.to_owned();
        }
        let role = task
            .action
            .arguments
            .get("name")
            .or_else(|| task.action.arguments.get("role"))
            .and_then(|role| role.text().ok())
            .unwrap_or_else(|| Str::new("None"));
        return format!("{} : {}", task.action.written, &*role);
    }
    let own = name.unwrap_or(&task.action.written);
    match task.role() {
        Some(role) => {
            let role_name = match &role.collection {
                Some(collection) if !with_collection => role
                    .name
                    .strip_prefix(&**collection)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .unwrap_or(&role.name),
                _ => &role.name,
            };
            format!("{role_name} : {own}")
        }
        None => own.to_owned(),
    }
}

/// A task as `ansible_failed_task` shows it.
fn shown_task(task: &Task, name: &str) -> Dict {
    let mut entries: Vec<(String, Value)> = vec![
        (
            "name".to_owned(),
            task.name().map_or_else(
                || Value::from(""),
                |written| {
                    let role = full_name(task, Some(""), true);
                    match name.strip_prefix(&role) {
                        Some(own) => Value::from(own),
                        None => written.clone(),
                    }
                },
            ),
        ),
        ("action".to_owned(), Value::from(&*task.action.written)),
        (
            "args".to_owned(),
            Value::Dict(task.action.arguments.clone()),
        ),
    ];
    for directive in Directive::ALL {
        if *directive == Directive::Name {
            continue;
        }
        let value = task.directive(*directive).unwrap_or(Value::None);
        entries.push((directive.name().to_owned(), value));
    }
    entries.into_iter().collect()
}

/// Two custom statistics in one: numbers are added, texts and lists put together, dicts merged.
fn together(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Dict(old), Value::Dict(new)) => {
            let mut entries = old.read().clone();
            for (key, value) in new.read().iter() {
                let value = match entries.get(key) {
                    Some(old) => together(old, value).unwrap_or_else(|| value.clone()),
                    None => value.clone(),
                };
                entries.insert(key.clone(), value);
            }
            Some(Value::Dict(Dict::new(entries)))
        }
        (Value::List(old), Value::List(new)) => {
            let mut items = old.read().clone();
            items.extend(new.read().iter().cloned());
            Some(Value::list(items))
        }
        (Value::Str(old), Value::Str(new)) => Some(Value::from(format!("{}{}", &**old, &**new))),
        (Value::Int(old), Value::Int(new)) => Some(Value::Int(old.wrapping_add(*new))),
        (Value::Float(old), Value::Float(new)) => Some(Value::Float(old + new)),
        _ => None,
    }
}
