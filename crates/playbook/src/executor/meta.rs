//! `meta`: what is done to the run itself.

use std::sync::Arc;

use consort_jinja::Value;

use super::keyword::listed;
use super::plan::Plan;
use super::play::{PlayRun, meta_of};
use super::result::Outcome;
use super::work::{Done, Shown, task_result};
use crate::language::{Directive, Task};
use crate::output::Event;
use crate::source::Located;
use crate::variables::TaskVariables;

impl PlayRun {
    /// Whether a `meta` task is done once for all hosts.
    pub(super) fn meta_is_for_all(task: &Task) -> bool {
        !matches!(
            meta_of(task).as_deref(),
            Some(
                "noop"
                    | "reset_connection"
                    | "end_host"
                    | "role_complete"
                    | "flush_handlers"
                    | "end_role"
            )
        )
    }

    /// Carries out a `meta` task for a host.
    pub(super) async fn meta(
        &mut self,
        plan: &Arc<Plan>,
        host: &Arc<str>,
    ) -> Result<Done, Located> {
        let task = Arc::clone(&plan.task);
        let name: Arc<str> = self.name(plan, &self.task_variables(host, &task));
        if !task.implicit {
            self.tell_task(plan, &name);
        }
        let what = meta_of(&task).unwrap_or_default();
        if matches!(
            what.as_str(),
            "noop" | "refresh_inventory" | "reset_connection"
        ) && !listed(task.directive(Directive::When)).is_empty()
        {
            self.run
                .tell
                .warn(&format!("{what} task does not support when conditional"));
        }
        let (message, skipped) = self.meta_inner(plan, &what, host).await?;
        let mut outcome = Outcome::default();
        outcome.msg = Some(Value::from(message.clone()));
        if let Some(reason) = &skipped {
            outcome.skip(Some(reason));
        }
        let told = format!("META: {}", skipped.as_deref().unwrap_or(&message));
        if task.implicit {
            self.run.debug(&told);
        } else {
            self.run.tell.detail(2, None, &told);
        }
        let done = Done {
            host: Arc::clone(host),
            plan: Arc::clone(plan),
            name,
            outcome,
            shown: Shown::default(),
            delegate_facts: false,
            elapsed: std::time::Duration::ZERO,
        };
        if skipped.is_some() {
            let result = task_result(
                &task,
                host,
                &done.name,
                &done.outcome,
                &done.shown,
                done.elapsed,
            );
            self.run.tell.event(&Event::Result(&result));
        }
        Ok(done)
    }

    fn holds(&self, plan: &Plan, host: &Arc<str>) -> Result<bool, Located> {
        let variables = TaskVariables::of(&self.variables, host, &plan.task);
        for condition in &plan.when {
            if !self
                .run
                .templar
                .conditional(condition, &variables)
                .map_err(|error| Located::from(&error))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is said, and the reason if it was left out.
    async fn meta_inner(
        &mut self,
        plan: &Arc<Plan>,
        what: &str,
        host: &Arc<str>,
    ) -> Result<(String, Option<String>), Located> {
        let said = |message: String| Ok((message, None));
        let left_out = |message: Option<String>, more: String| {
            let reason = format!("{what} conditional evaluated to False, {more}");
            Ok((message.unwrap_or_else(|| what.to_owned()), Some(reason)))
        };
        match what {
            "noop" => said("noop".to_owned()),
            "flush_handlers" => {
                if !self.holds(plan, host)? {
                    return left_out(None, format!("not running handlers for {host}"));
                }
                self.flush(host, &plan.task);
                if self.iteration.is_flushing(host) {
                    return Err(Located::new("flush_handlers cannot be used as a handler"));
                }
                if !self.unreachable.contains(host) {
                    self.iteration.flush(host);
                }
                said(format!("triggered running handlers for {host}"))
            }
            "refresh_inventory" => {
                let notices = Arc::clone(&self.run.notices);
                let store = Arc::clone(&self.run.store);
                let fresh = tokio::task::spawn_blocking(move || {
                    store.inventory(|inventory| inventory.refreshed(&notices))
                })
                .await
                .map_err(|error| Located::new(error.to_string()))??;
                self.run
                    .store
                    .change_inventory(|inventory| *inventory = fresh);
                said("inventory successfully refreshed".to_owned())
            }
            "clear_facts" => {
                if !self.holds(plan, host)? {
                    return left_out(
                        None,
                        format!("not clearing facts and fact cache for {host}"),
                    );
                }
                for host in &self.hosts {
                    self.run.store.clear_facts(host);
                }
                said("facts cleared".to_owned())
            }
            "clear_host_errors" => {
                if !self.holds(plan, host)? {
                    return left_out(None, format!("not clearing host error state for {host}"));
                }
                let hosts = self.hosts.clone();
                for host in &hosts {
                    self.failed.shift_remove(host);
                    self.unreachable.shift_remove(host);
                    self.iteration.clear_errors(host);
                    self.variables.change_roster(|roster| {
                        roster.failed.remove(host);
                        roster.unreachable.remove(host);
                    });
                }
                said("cleared host errors".to_owned())
            }
            "end_batch" | "end_play" => {
                if !self.holds(plan, host)? {
                    return left_out(
                        None,
                        if what == "end_batch" {
                            "continuing current batch".to_owned()
                        } else {
                            "continuing play".to_owned()
                        },
                    );
                }
                for host in self.hosts_left() {
                    self.end_host(&host);
                }
                if what == "end_play" {
                    self.iteration.end_play = true;
                    return said("ending play".to_owned());
                }
                said("ending batch".to_owned())
            }
            "end_host" => {
                if !self.holds(plan, host)? {
                    return left_out(
                        Some(format!(
                            "end_host conditional evaluated to false, continuing execution for {host}"
                        )),
                        format!("continuing execution for {host}"),
                    );
                }
                self.end_host(host);
                said(format!("ending play for {host}"))
            }
            "role_complete" => {
                if plan.task.implicit
                    && let Some(role) = plan.task.role()
                {
                    self.roles.complete(role, host);
                }
                said(format!("role_complete for {host}"))
            }
            "end_role" => {
                let role = plan
                    .task
                    .role()
                    .map_or_else(String::new, |role| role.name.to_string());
                if !self.holds(plan, host)? {
                    return left_out(None, format!("continuing role {role} for {host}"));
                }
                loop {
                    let (place, task) = self.peek(host);
                    match task {
                        Some(task) if meta_of(&task).as_deref() != Some("role_complete") => {
                            self.iteration.set(host, place);
                        }
                        _ => break,
                    }
                }
                said(format!("ending role {role} for {host}"))
            }
            "reset_connection" => {
                self.reset_connection(plan, host).await?;
                said("reset connection".to_owned())
            }
            other => Err(
                Located::new(format!("invalid meta action requested: {other}"))
                    .at(&plan.task.origin),
            ),
        }
    }

    fn end_host(&mut self, host: &Arc<str>) {
        self.iteration.end_host(host);
        self.variables.change_roster(|roster| {
            roster.removed.insert(Arc::clone(host));
        });
    }

    async fn reset_connection(&self, plan: &Arc<Plan>, host: &Arc<str>) -> Result<(), Located> {
        let variables = self.task_variables(host, &plan.task);
        let name: Arc<str> = Arc::from("meta");
        let work = self.work(plan, host, &name, variables.clone());
        let located = |failure: crate::action::Failure| match failure {
            crate::action::Failure::Failed(failed) => failed.error,
            crate::action::Failure::Skipped { message, .. }
            | crate::action::Failure::Unreachable { message, .. } => Located::new(message),
        };
        let reach = super::reach::Reach::of(&work, &variables).map_err(located)?;
        if reach.foreign().map_err(located)? {
            return super::foreign::reset(&work, &reach, &variables).map_err(located);
        }
        let way = reach.way().map_err(located)?;
        way.connection.reset().await;
        Ok(())
    }
}
