//! The strategy `linear`: all hosts do a task before any does the next.

use std::collections::HashSet;
use std::sync::Arc;

use super::iterator::Place;
use super::play::{PlayRun, meta_of};
use super::work::Done;
use crate::blocking::AtWork;
use crate::language::{Directive, Task};
use crate::output::Event;
use crate::source::Located;

/// How a play ended: flags, as exit codes count them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ended(pub u8);

impl Ended {
    pub(super) const OK: Ended = Ended(0);
    pub(super) const FAILED: Ended = Ended(2);
    pub(super) const UNREACHABLE: Ended = Ended(4);
    pub(super) const BREAK: Ended = Ended(8);
    /// The user ended it.
    pub(super) const QUIT: Ended = Ended(99);

    pub(super) fn has(self, other: Ended) -> bool {
        self.0 & other.0 != 0
    }
}

/// A task, and the hosts it is next for with where they stand then.
type InStep = (Arc<Task>, Vec<(Arc<str>, Place)>);

impl PlayRun {
    /// The task that is next in the order they stand for some of the hosts, with those it is next for.
    fn in_step(&mut self, hosts: &[Arc<str>]) -> Result<Option<InStep>, Located> {
        let mut next: Vec<(Arc<str>, Place, Arc<Task>)> = Vec::with_capacity(hosts.len());
        for host in hosts {
            if let (place, Some(task)) = self.peek(host) {
                next.push((Arc::clone(host), place, task));
            }
        }
        if next.is_empty() {
            return Ok(None);
        }
        let wanted: HashSet<u64> = next.iter().map(|(_, _, task)| task.id).collect();
        let iteration = &mut self.iteration;
        let mut again = 0;
        let current = loop {
            match iteration.order.get(iteration.at) {
                Some(task) => {
                    let task = Arc::clone(task);
                    iteration.at += 1;
                    if wanted.contains(&task.id) {
                        break task;
                    }
                }
                None if again < 2 => {
                    // Tasks that are left after errors were cleared stand before.
                    iteration.at = 0;
                    again += 1;
                }
                None => {
                    return Err(Located::new(
                        "BUG: There seems to be a mismatch between tasks in PlayIterator and HostStates.",
                    ));
                }
            }
        };
        let theirs: Vec<(Arc<str>, Place)> = next
            .into_iter()
            .filter(|(_, _, task)| task.id == current.id)
            .map(|(host, place, _)| (host, place))
            .collect();
        for (host, place) in &theirs {
            self.iteration.set(host, place.clone());
        }
        if meta_of(&current).as_deref() == Some("flush_handlers") {
            let handlers = self.iteration.handlers.to_vec();
            self.iteration.insert_order(handlers);
        }
        Ok(Some((current, theirs)))
    }

    /// Carries the play out.
    pub(super) async fn linear(&mut self) -> Result<Ended, Located> {
        let mut ended = Ended::OK;
        loop {
            self.run.may_go_on()?;
            let hosts = self.hosts_left();
            let Some((task, theirs)) = self.in_step(&hosts)? else {
                break;
            };
            let plan = self.plan(&task);
            let mut done: Vec<Done> = Vec::new();
            let mut at_work: AtWork<Done> = AtWork::new();
            let mut run_once: Option<bool> = None;
            let mut fatal: Option<bool> = None;
            let mut name: Option<Arc<str>> = None;
            let mut skip = false;
            let is_meta = task.action.builtin() == Some("meta");
            for (host, _) in theirs {
                let variables = self.known_variables(&host, &task)?;
                let once;
                if is_meta {
                    done.push(self.meta(&plan, &host).await?);
                    once = PlayRun::meta_is_for_all(&task);
                } else {
                    if self.step && name.is_none() {
                        match super::step::ask(&format!("TASK: {}", self.name(&plan, &variables)))
                            .await
                        {
                            super::step::Answer::Yes => {}
                            super::step::Answer::Continue => self.step = false,
                            super::step::Answer::No => {
                                skip = true;
                                break;
                            }
                        }
                    }
                    once = self.bypasses_host_loop(&plan)
                        || self.flag(&plan, Directive::RunOnce, &variables)?;
                    let name = match &name {
                        Some(name) => Arc::clone(name),
                        None => {
                            let rendered = self.name(&plan, &variables);
                            self.tell_task(&plan, &rendered);
                            name = Some(Arc::clone(&rendered));
                            rendered
                        }
                    };
                    let throttle = self.throttle(&plan, &variables)?;
                    let limit = if throttle > 0 && throttle <= self.forks && !once {
                        throttle
                    } else {
                        self.forks
                    };
                    let this_once = run_once.unwrap_or(once);
                    let work = self.work(&plan, &host, &name, variables.clone());
                    self.begin(&mut at_work, &mut done, work, limit, this_once)
                        .await?;
                }
                match run_once {
                    None => run_once = Some(once),
                    Some(known) if known != once => self.run.tell.warning(
                        &Located::new(
                            "The calculated run_once value changed between hosts and will be ignored.",
                        )
                        .at(&task.origin)
                        .hint(
                            "The calculated value of run_once must not change between hosts for the same task, including \
                             implied values from dynamically resolved actions.",
                        ),
                    ),
                    Some(_) => {}
                }
                let this_fatal = match plan.keyword(Directive::AnyErrorsFatal) {
                    Some(_) => self.flag(&plan, Directive::AnyErrorsFatal, &variables)?,
                    None => self.run.settings.any_errors_fatal,
                };
                match fatal {
                    None => fatal = Some(this_fatal),
                    Some(known) if known != this_fatal => self.run.tell.warning(
                        &Located::new(
                            "The value of any_errors_fatal changed on a subsequent host and will be ignored.",
                        )
                        .at(&task.origin)
                        .hint(
                            "The value of any_errors_fatal must not change between hosts for the same task.",
                        ),
                    ),
                    Some(_) => {}
                }
                let once = run_once == Some(true);
                if task.handler {
                    if once {
                        self.iteration.unnotify_all(&task);
                    } else {
                        self.iteration.unnotify(&task, &host);
                    }
                }
                if once {
                    break;
                }
            }
            if skip {
                continue;
            }
            let run_once = run_once == Some(true);
            while !at_work.is_empty() {
                self.finish_one(&mut at_work, &mut done, run_once).await?;
            }
            if self.quits {
                return Ok(Ended::QUIT);
            }
            self.include(&mut done)?;
            self.spread_failure(&hosts, &done, fatal == Some(true) || run_once);
            if let Some(most) = self.max_fail_percentage
                && !done.is_empty()
            {
                let failed = self.failed.len() as f64;
                if failed / self.iteration.batch.max(1) as f64 > most / 100.0 {
                    let failed: HashSet<Arc<str>> = done
                        .iter()
                        .filter(|done| done.outcome.failed())
                        .map(|done| Arc::clone(&done.host))
                        .collect();
                    for host in hosts.iter().filter(|host| !failed.contains(*host)) {
                        self.note_failed(host);
                        self.fail(host);
                    }
                    self.run.tell.event(&Event::NoHostsRemaining);
                    ended = Ended(ended.0 | Ended::BREAK.0);
                }
            }
            if ended != Ended::OK && self.failed.len() >= hosts.len() {
                self.run.tell.event(&Event::NoHostsRemaining);
                return Ok(ended);
            }
        }
        Ok(self.ended(ended))
    }

    /// Fails all hosts where one failed and that is fatal for all.
    fn spread_failure(&mut self, hosts: &[Arc<str>], done: &[Done], for_all: bool) {
        let mut failed: HashSet<Arc<str>> = HashSet::new();
        let mut lost = false;
        let mut spreads = false;
        for each in done {
            if each.outcome.failed() {
                failed.insert(Arc::clone(&each.host));
            } else if each.outcome.unreachable() {
                lost = true;
            }
            spreads |= for_all && !each.outcome.ignores_errors();
        }
        if spreads && (lost || !failed.is_empty()) {
            for host in hosts.iter().filter(|host| !failed.contains(*host)) {
                self.note_failed(host);
                self.fail(host);
            }
        }
    }

    /// How the play ended for its hosts.
    pub(super) fn ended(&mut self, ended: Ended) -> Ended {
        // Whoever has nothing left to do takes the last step.
        for host in self.hosts_left() {
            let (place, _) = self.peek(&host);
            self.iteration.set(&host, place);
        }
        if ended != Ended::OK {
            ended
        } else if !self.unreachable.is_empty() {
            Ended::UNREACHABLE
        } else if !self.iteration.failed_hosts().is_empty() {
            Ended::FAILED
        } else {
            Ended::OK
        }
    }
}
