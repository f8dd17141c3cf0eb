//! A task tried on a host, until it holds or was tried often enough.

use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Dict, Value};
use parking_lot::Mutex;

use super::loops::Current;
use super::registered::Recorded;
use super::{Shown, Work};
use crate::action::Failure;
use crate::executor::attempt::{Attempt, Background};
use crate::executor::effects::{Effects, Layer};
use crate::executor::foresight;
use crate::executor::reach::{Reach, Settled};
use crate::executor::result::Outcome;
use crate::output::Event;
use crate::source::Located;
use crate::variables::TaskVariables;

impl Work {
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn attempts(
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
        let (action, traits) = self.action(name, reach)?;
        let retries = match settled.retries {
            Some(retries) => 1 + retries.max(0),
            None if !self.plan.until.is_empty() => 4,
            None => 1,
        };
        let retries = u64::try_from(retries).unwrap_or(1);
        let foresees = self.run.options.foresight.is_some();
        if foresees && let Some(outcome) = foresight::passes_over(name) {
            return Ok(outcome);
        }
        let (wanted, retries) = (retries, if foresees { 1 } else { retries });
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
                groups: &self.groups,
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
                if wanted > 1 {
                    foresight::not_yet(&mut outcome);
                }
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

/// `async` and `poll`, if the task runs in the background.
pub(in crate::executor) fn background(limit: i64, poll: i64) -> Option<Background> {
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
    Some(Background {
        limit,
        poll: u64::try_from(poll).unwrap_or(0),
    })
}
