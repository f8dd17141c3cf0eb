//! What results mean: for the host, for other hosts, for variables, for the recap.

use std::sync::Arc;

use consort_jinja::{Dict, Value};

use super::{PlayRun, full_name};
use crate::executor::effects::Layer;
use crate::executor::iterator::Phase;
use crate::executor::plan::Plan;
use crate::executor::result::{self, Outcome};
use crate::executor::work::{Done, task_result};
use crate::language::{Directive, Task};
use crate::output::Event;
use crate::source::Located;

impl PlayRun {
    /// Takes a result in: what it means for the host, for others, for variables, and tells it.
    pub(super) fn take_in(&mut self, done: Done, run_once: bool) -> Result<Done, Located> {
        let plan = Arc::clone(&done.plan);
        let host = Arc::clone(&done.host);
        let outcome = &done.outcome;
        let mut result = task_result(
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
                result.rescued = self.take_failure(&done, run_once);
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

    /// Takes a failure in. Tells whether a block deals with it.
    fn take_failure(&mut self, done: &Done, run_once: bool) -> bool {
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
        let rescues = before.is_rescuing();
        if rescues {
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
        rescues
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
        let flag = |name: &str| stats.get(name).is_some_and(|value| result::is_true(&value));
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
                known.insert(key.clone(), value);
            }
        }
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
