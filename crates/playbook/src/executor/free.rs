//! The strategies `free` and `host_pinned`: each host goes on as fast as it can.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::linear::Ended;
use super::play::PlayRun;
use super::work::Done;
use crate::blocking::AtWork;
use crate::language::Directive;
use crate::output::Event;
use crate::source::Located;

impl PlayRun {
    /// Carries the play out. With `pinned`, a host that has begun goes on before another begins.
    pub(super) async fn free(&mut self, pinned: bool) -> Result<Ended, Located> {
        if self.max_fail_percentage.is_some() {
            self.run.tell.warn(
                "Using max_fail_percentage with the free strategy is not supported, as tasks are executed independently on each host",
            );
        }
        let mut at_work: AtWork<Done> = AtWork::new();
        let mut busy: HashMap<Arc<str>, u64> = HashMap::new();
        let mut begun: HashSet<Arc<str>> = HashSet::new();
        let mut last = 0;
        loop {
            // What is under way is waited for; nothing begins any more.
            if self.run.options.stop.is_cancelled() {
                while !at_work.is_empty() {
                    let mut done = Vec::new();
                    self.finish_one(&mut at_work, &mut done, false).await?;
                }
            }
            self.run.may_go_on()?;
            let hosts = self.hosts_left();
            if hosts.is_empty() {
                self.run.tell.event(&Event::NoHostsRemaining);
                break;
            }
            let mut done: Vec<Done> = Vec::new();
            let mut has_work = !at_work.is_empty();
            let count = hosts.len();
            // Those that have begun and are not through, whether they are at work just now or not.
            let mut open = hosts.iter().filter(|host| begun.contains(*host)).count();
            for step in 0..count {
                let host = &hosts[(last + step) % count];
                if busy.contains_key(host) {
                    has_work = true;
                    continue;
                }
                if at_work.len() >= self.forks {
                    has_work = true;
                    break;
                }
                if pinned && open >= self.forks && !begun.contains(host) {
                    has_work = true;
                    continue;
                }
                let (place, task) = self.peek(host);
                let Some(task) = task else {
                    if begun.remove(host) {
                        open -= 1;
                    }
                    continue;
                };
                has_work = true;
                let plan = self.plan(&task);
                let variables = self.known_variables(host, &task)?;
                let throttle = self.throttle(&plan, &variables)?;
                if throttle > 0
                    && busy.values().filter(|busy| **busy == task.id).count() >= throttle
                {
                    continue;
                }
                if begun.insert(Arc::clone(host)) {
                    open += 1;
                }
                self.iteration.set(host, place);
                if task.handler {
                    self.iteration.unnotify(&task, host);
                }
                if task.action.builtin() == Some("meta") {
                    self.meta(&plan, host).await?;
                    continue;
                }
                if self.bypasses_host_loop(&plan) {
                    return Err(Located::new(format!(
                        "The '{}' module bypasses the host loop, which is currently not supported in the free strategy and \
                         would instead execute for every host in the inventory list.",
                        task.action.written
                    ))
                    .at(&task.origin));
                }
                if self.flag(&plan, Directive::RunOnce, &variables)? {
                    self.run.tell.warn(
                        "Using run_once with the free strategy is not currently supported. This task will still be executed for every host in the inventory list.",
                    );
                }
                let name = self.name(&plan, &variables);
                if self.step {
                    match super::step::ask(&format!("TASK: {name} on {host}")).await {
                        super::step::Answer::Yes => {}
                        super::step::Answer::Continue => self.step = false,
                        super::step::Answer::No => continue,
                    }
                }
                if self.flag(&plan, Directive::AnyErrorsFatal, &variables)? {
                    self.run.tell.warn(
                        "Using any_errors_fatal with the free strategy is not supported, as tasks are executed independently on each host",
                    );
                }
                self.tell_task(&plan, &name);
                let work = self.work(&plan, host, &name, variables);
                let before = at_work.len();
                self.begin(&mut at_work, &mut done, work, self.forks, false)
                    .await?;
                if at_work.len() > before {
                    busy.insert(Arc::clone(host), task.id);
                }
                // A pinned host that can go on does so before another begins.
                if !pinned {
                    last = (last + step + 1) % count;
                }
                if !done.is_empty() {
                    break;
                }
            }
            if done.is_empty() && !at_work.is_empty() {
                self.finish_one(&mut at_work, &mut done, false).await?;
            }
            for each in &done {
                busy.remove(&each.host);
            }
            if self.quits {
                while !at_work.is_empty() {
                    self.finish_one(&mut at_work, &mut done, false).await?;
                }
                return Ok(Ended::QUIT);
            }
            let finished = !done.is_empty();
            self.include(&mut done)?;
            if !has_work && !finished {
                break;
            }
        }
        while !at_work.is_empty() {
            let mut done = Vec::new();
            self.finish_one(&mut at_work, &mut done, false).await?;
        }
        Ok(self.ended(Ended::OK))
    }
}
