//! Destroying what the runs of a file made, the last first.

use std::time::Instant;

use consort_hcl::diagnostic::Diagnostics;

use super::runner::{FileRun, Suite, interrupted};
use super::suite::{Event, Left, Progress, Status};
use crate::config::Run;
use crate::engine::{Mode, PlanOptions};
use crate::state::State;

impl Suite<'_> {
    /// Destroys what is left in the states of a file; an error where something stays.
    pub(super) async fn clean_up(&mut self, file: &mut FileRun<'_>) -> Status {
        let mut states: Vec<(usize, String)> = file
            .states
            .iter()
            .filter_map(|(key, kept)| Some((kept.last?, key.clone())))
            .collect();
        states.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut status = Status::Pass;
        for (at, key) in states {
            if self.cancel.is_cancelled() {
                break;
            }
            let run = &file.file.runs[at];
            let Some(state) = file.states.get(&key).map(|kept| kept.state.clone()) else {
                continue;
            };
            let (state, mut diagnostics) = self.destroy(file, run, state).await;
            diagnostics.sort(&self.sources);
            let left = Left::of(&state);
            if diagnostics.has_errors() {
                status = status.merge(Status::Error);
            }
            self.tell(&Event::Destroyed {
                file: file.name,
                run: &run.name,
                diagnostics: &diagnostics,
                left: &left,
            });
            if let Some(kept) = file.states.get_mut(&key) {
                kept.state = state;
            }
        }
        status
    }

    async fn destroy(
        &mut self,
        file: &FileRun<'_>,
        run: &Run,
        state: State,
    ) -> (State, Diagnostics) {
        if state.resources.is_empty() {
            return (state, Diagnostics::new());
        }
        let since = Instant::now();
        self.tell(&Event::Run {
            file: file.name,
            run: &run.name,
            progress: Progress::TearDown,
            elapsed: std::time::Duration::ZERO,
        });
        let prepared = match self.prepare(file, run, false).await {
            Ok((prepared, _)) => prepared,
            Err(diagnostics) => return (state, diagnostics),
        };
        let options = PlanOptions {
            mode: Mode::Destroy,
            timestamp: (self.now)(),
            ..PlanOptions::default()
        };
        let planned = self
            .attend(
                file,
                run,
                Progress::TearDown,
                since,
                &[],
                self.plan(file, &prepared, &options, &state, &|_, _| {}),
            )
            .await;
        let mut diagnostics = Diagnostics::new();
        if planned.abandoned {
            diagnostics.push(interrupted());
        }
        let (plan, found) = planned.done;
        diagnostics.append(found);
        let Some(plan) = plan.filter(|_| !diagnostics.has_errors()) else {
            return (state, diagnostics);
        };
        let applied = self
            .attend(
                file,
                run,
                Progress::TearDown,
                since,
                &[],
                self.apply(file, &prepared, &plan, &|_, _| {}),
            )
            .await;
        if applied.abandoned {
            diagnostics.push(interrupted());
        }
        let (state, found) = applied.done;
        diagnostics.append(found);
        (state, diagnostics)
    }
}
