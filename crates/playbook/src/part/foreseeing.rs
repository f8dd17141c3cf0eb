//! The run in check mode that a plan is made of, and what it could not do.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Key, Value};
use consort_plan::{Address, Problem};

use super::Playbooks;
use super::opening::Opened;
use super::outputs;
use super::told::{Deed, Heard, Listener};
use super::values::Hidden;
use crate::executor::Foresight;
use crate::language::{Directive, Playbook};
use crate::output::{Stats, Status};

/// What a run in check mode gave.
pub(super) struct Foreseen {
    pub(super) deeds: Vec<Deed>,
    pub(super) stats: Stats,
    pub(super) warnings: Vec<String>,
    pub(super) foresight: Arc<Foresight>,
}

impl Playbooks {
    /// Runs the playbooks in check mode.
    pub(super) async fn foresee(
        &self,
        opened: Opened,
        playbooks: &[Playbook],
        cancel: &tokio_util::sync::CancellationToken,
    ) -> Result<Foreseen, Vec<Problem>> {
        let Opened {
            ready,
            resolved,
            secrets,
            warnings,
            kept,
        } = opened;
        let not_there = resolved.hosts.iter().filter_map(|host| {
            let lacks = host.lacks.as_ref()?;
            let why = format!("{lacks} is known after apply");
            Some((Arc::clone(&host.given.name), Arc::from(why)))
        });
        let foresight = Arc::new(Foresight::new(not_there, set_by_tasks(playbooks)));
        let (listener, mut heard) = Listener::new(&self.root);
        let ended = ready
            .foreseeing(Arc::clone(&foresight))
            .run_aside(None, vec![Box::new(listener)], cancel)
            .await;
        drop(kept);
        let mut foreseen = Foreseen {
            deeds: Vec::new(),
            stats: Stats::default(),
            warnings: Vec::new(),
            foresight,
        };
        while let Ok(heard) = heard.try_recv() {
            match heard {
                Heard::Did(deed) => foreseen.deeds.push(*deed),
                Heard::Warning(text) => foreseen.warnings.push(text),
                Heard::Ended(stats) => foreseen.stats = *stats,
                Heard::Began { .. } | Heard::Again { .. } => {}
            }
        }
        foreseen.warnings.extend(warnings.lock().drain(..));
        foreseen.warnings.dedup();
        match ended {
            Ok(_) => Ok(foreseen),
            Err(_) if cancel.is_cancelled() => Err(vec![self.problem("planning was ended early")]),
            Err(error) => Err(vec![self.told(&error, &secrets.hidden())]),
        }
    }

    /// What would fail when the plan is carried out, too.
    pub(super) fn failures(&self, foreseen: &Foreseen, hidden: &Hidden) -> Vec<Problem> {
        let lost = |host: &str| {
            foreseen
                .stats
                .hosts
                .get(host)
                .is_some_and(|counts| counts.failures > 0)
        };
        foreseen
            .deeds
            .iter()
            .filter(|deed| deed.status == Status::Failed && deed.fails() && lost(&deed.host))
            .map(|deed| self.failure(deed, hidden))
            .collect()
    }

    /// A task that failed, as a problem.
    pub(super) fn failure(&self, deed: &Deed, hidden: &Hidden) -> Problem {
        let said = if deed.no_log {
            "it failed, and what it said is not shown (no_log)".to_owned()
        } else {
            hidden.taken_out(&deed.message)
        };
        let mut lines = said.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let mut detail: String = lines.collect::<Vec<_>>().join("\n");
        if let Some(place) = self.elsewhere(deed) {
            detail.push_str(if detail.is_empty() { "" } else { "\n" });
            detail.push_str(&format!("at {place}"));
        }
        Problem {
            address: Some(Address::new(&self.name, &deed.local)),
            location: deed.location.clone(),
            summary: format!("{} on {}: {first}", deed.task, deed.host),
            detail,
            ..self.problem("")
        }
    }

    /// Where an error comes from in the end, if that is not where the task stands: a template, a file of variables.
    fn elsewhere(&self, deed: &Deed) -> Option<String> {
        let error = deed.error.as_ref().filter(|_| !deed.no_log)?;
        let origin = error
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("Origin: "))?;
        let mut steps = origin.split(':');
        let file = Path::new(steps.next()?).strip_prefix(&self.root).ok()?;
        let file = file.to_string_lossy();
        let Some(line) = steps.next().and_then(|line| line.parse().ok()) else {
            return Some(file.into_owned());
        };
        // A task spans some lines, and what is wrong mostly stands in one of them.
        let own = deed.location.as_ref().is_some_and(|location| {
            location.file == file && (location.line..location.line + 2).contains(&line)
        });
        (!own).then(|| format!("{file}:{line}"))
    }

    /// Tells of machines that did not answer.
    pub(super) fn silent(&self, foreseen: &Foreseen, hidden: &Hidden) -> Option<Problem> {
        const SHOWN: usize = 20;
        let silent = foreseen.foresight.silent();
        let [(first, said), rest @ ..] = silent.as_slice() else {
            return None;
        };
        let line = |said: &str| {
            let said = said.lines().next().unwrap_or_default();
            hidden.taken_out(said)
        };
        if rest.is_empty() {
            return Some(Problem {
                detail: line(said),
                ..self.problem(format!(
                    "{first} cannot be reached: what is to be done there is known after apply"
                ))
            });
        }
        let mut lines: Vec<String> = silent
            .iter()
            .take(SHOWN)
            .map(|(host, said)| format!("{host}: {}", line(said)))
            .collect();
        if silent.len() > SHOWN {
            lines.push(format!("and {} more", silent.len() - SHOWN));
        }
        Some(Problem {
            detail: lines.join("\n"),
            ..self.problem(format!(
                "{} hosts cannot be reached: what is to be done there is known after apply",
                silent.len()
            ))
        })
    }
}

/// The names that tasks set, as far as they stand there.
fn set_by_tasks(playbooks: &[Playbook]) -> HashSet<String> {
    let mut names = HashSet::new();
    for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
        outputs::tasks(play, &mut |task| {
            if task.action.builtin() == Some("set_fact") {
                let arguments = task.action.arguments.read();
                names.extend(arguments.keys().filter_map(Key::as_str).map(str::to_owned));
            }
            match task.directives.get(Directive::Register) {
                Some(Value::Dict(several)) => {
                    let several = several.read();
                    names.extend(several.keys().filter_map(Key::as_str).map(str::to_owned));
                }
                Some(one) => names.extend(one.as_str().map(str::to_owned)),
                None => {}
            }
        });
    }
    names
}
