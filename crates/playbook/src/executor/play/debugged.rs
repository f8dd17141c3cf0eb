//! Results that the task debugger is asked about, and tasks that are done again because of it.

use std::sync::Arc;

use indexmap::IndexSet;

use super::PlayRun;
use crate::executor::debugger::{self, Decision};
use crate::executor::iterator::Place;
use crate::executor::plan::Plan;
use crate::executor::work::Done;
use crate::output::Counts;
use crate::source::Located;
use crate::variables::Roster;

/// What a result changed, as it was before.
struct Before {
    places: Vec<(Arc<str>, Place)>,
    failed: IndexSet<Arc<str>>,
    unreachable: IndexSet<Arc<str>>,
    roster: Roster,
    counts: Counts,
}

impl PlayRun {
    /// Takes a result in; where the debugger is wanted the user says whether that is the end of it.
    pub(super) async fn settle(&mut self, done: Done, run_once: bool) -> Result<Done, Located> {
        if self.quits || !debugger::wanted(&done.plan, &done.outcome, &self.run, self.debugs) {
            return self.take_in(done, run_once);
        }
        let (host, name) = (Arc::clone(&done.host), Arc::clone(&done.name));
        let variables = self.task_variables(&host, &done.plan.task);
        let mut done = done;
        loop {
            let before = self.before(&host, run_once);
            let plan = Arc::clone(&done.plan);
            let settled = self.take_in(done, run_once)?;
            if !debugger::wanted(&plan, &settled.outcome, &self.run, self.debugs) {
                return Ok(settled);
            }
            match debugger::ask(&self.run, &plan, &host, &name, &settled.outcome, &variables).await
            {
                Decision::Continue => return Ok(settled),
                Decision::Quit => {
                    self.quits = true;
                    return Ok(settled);
                }
                Decision::Redo(task) => {
                    self.restore(&host, before);
                    let plan = Arc::new(Plan::of(&task));
                    done = self.work(&plan, &host, &name, variables.fork()).run().await;
                }
            }
        }
    }

    fn before(&mut self, host: &Arc<str>, run_once: bool) -> Before {
        let hosts = if run_once {
            self.hosts.clone()
        } else {
            vec![Arc::clone(host)]
        };
        Before {
            places: hosts
                .into_iter()
                .map(|host| {
                    let place = self.iteration.place(&host).clone();
                    (host, place)
                })
                .collect(),
            failed: self.failed.clone(),
            unreachable: self.unreachable.clone(),
            roster: self.variables.roster(Roster::clone),
            counts: self
                .run
                .stats
                .lock()
                .hosts
                .get(host)
                .copied()
                .unwrap_or_default(),
        }
    }

    fn restore(&mut self, host: &Arc<str>, before: Before) {
        for (host, place) in before.places {
            self.iteration.set(&host, place);
        }
        self.failed = before.failed;
        self.unreachable = before.unreachable;
        self.variables
            .change_roster(|roster| *roster = before.roster);
        self.run.count(host, |counts| *counts = before.counts);
    }
}
