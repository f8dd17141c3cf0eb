//! A play being carried out on a batch of hosts: who is where, what was notified, what results mean for the rest.

mod choice;
mod debugged;
mod handlers;
mod results;

use std::collections::HashMap;
use std::sync::Arc;

use consort_jinja::{Str, Value, is_omit, repr};
use indexmap::IndexSet;

use super::foreign;
use super::iterator::{Iteration, Place};
use super::keyword::{Keywords, integer};
use super::plan::Plan;
use super::run::Run;
use super::work::{Done, Work};
use crate::blocking::AtWork;
use crate::language::{Directive, Play, Task};
use crate::output::{Event, TaskKind};
use crate::source::Located;
use crate::variables::{PlayVariables, TaskVariables};

pub(super) use choice::Gathering;
use choice::{Chooser, RoleRuns};
pub(super) use handlers::first_flush;

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
    /// The debugger is asked about all failures.
    debugs: bool,
    /// The user wants the run to end.
    pub(super) quits: bool,
    /// The flush of handlers after `pre_tasks`.
    early_flush: Option<u64>,
    plans: HashMap<u64, Arc<Plan>>,
    handler_names: HashMap<u64, Option<Arc<str>>>,
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
    /// The debugger is asked about all failures.
    pub(super) debugs: bool,
    /// The flush of handlers after `pre_tasks`.
    pub(super) early_flush: Option<u64>,
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
            debugs: beginning.debugs,
            quits: false,
            early_flush: beginning.early_flush,
            plans: HashMap::new(),
            handler_names: HashMap::new(),
        }
    }

    /// The next task of a host, and where it stands then.
    pub(super) fn peek(&mut self, host: &Arc<str>) -> (Place, Option<Arc<Task>>) {
        let chooser = Chooser {
            gathering: &self.gathering,
            roles: &self.roles,
            early_flush: self.early_flush,
        };
        self.iteration.peek(host, &chooser)
    }

    /// Begins at the task `--start-at-task` names. Tells whether there is one.
    pub(super) fn start_at(&mut self, is_it: &dyn Fn(&Task) -> bool) -> bool {
        let chooser = Chooser {
            gathering: &self.gathering,
            roles: &self.roles,
            early_flush: self.early_flush,
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
        self.plans.insert(task.id, Arc::clone(&plan));
        plan
    }

    /// The variables of a task on a host.
    pub(super) fn task_variables(&self, host: &Arc<str>, task: &Task) -> TaskVariables {
        TaskVariables::of(&self.variables, host, task)
    }

    /// As [`PlayRun::task_variables`].
    ///
    /// # Errors
    ///
    /// If what the files beside the inventory say of the host cannot be read: the run ends.
    pub(super) fn known_variables(
        &self,
        host: &Arc<str>,
        task: &Task,
    ) -> Result<TaskVariables, Located> {
        let variables = self.task_variables(host, task);
        match self.run.store.take_error() {
            Some(error) => Err(error.exiting(4)),
            None => Ok(variables),
        }
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
            task: Some(&plan.task),
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
            let rendered = match written {
                Value::Str(text) if !text.is_template() => written.clone(),
                _ => match self.run.templar.render_replacing(written, variables) {
                    Ok((name, warnings)) => {
                        for warning in &warnings {
                            self.run.tell.warning(warning);
                        }
                        if is_omit(&name) { Value::None } else { name }
                    }
                    Err(_) => written.clone(),
                },
            };
            match rendered {
                Value::None => String::new(),
                name => repr::text(&name),
            }
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
        at_work: &mut AtWork<Done>,
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
        // Most tasks of the controller are done at once: results come in the order of the hosts then.
        if let Some(finished) = at_work.begin(work.run()) {
            let finished = self.settle(finished, run_once).await?;
            done.push(finished);
        }
        Ok(())
    }

    /// Waits for one of those at work, and takes its result in.
    pub(super) async fn finish_one(
        &mut self,
        at_work: &mut AtWork<Done>,
        done: &mut Vec<Done>,
        run_once: bool,
    ) -> Result<(), Located> {
        match at_work.join_next().await {
            Some(Ok(finished)) => {
                let finished = self.settle(finished, run_once).await?;
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

    /// Whether an action runs once for all hosts.
    pub(super) fn bypasses_host_loop(&self, plan: &Plan) -> bool {
        let action = &plan.task.action;
        foreign::action(&self.run, &action.kind, &action.name)
            .1
            .bypasses_host_loop
    }
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
