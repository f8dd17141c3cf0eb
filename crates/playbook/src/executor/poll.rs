//! Tasks in the background: asked again and again whether they are done.

use std::time::Duration;

use consort_jinja::{Dict, Value};

use super::attempt::{Attempt, Background};
use super::foreign;
use super::result::Outcome;
use super::work::{Shown, Work};
use crate::action::Failure;
use crate::output::Event;

impl Work {
    /// Waits until what was begun in the background is done, or its time is over.
    pub(super) async fn poll(
        &self,
        attempt: &Attempt<'_>,
        begun: &Outcome,
        background: Background,
        shown: &Shown,
    ) -> Result<Outcome, Failure> {
        let Some(job) = &begun.job else {
            return Err(Failure::new("No job id was returned by the async task"));
        };
        let mut left = background.limit;
        let mut latest = Outcome::default();
        while left > 0 {
            tokio::time::sleep(Duration::from_secs(background.poll)).await;
            match self.ask(attempt, job, "status").await {
                Ok(outcome) => {
                    latest = outcome;
                    if latest.finished == Some(true) || latest.failed() || latest.skipped() {
                        break;
                    }
                    left = left.saturating_sub(background.poll.max(1));
                    let result = self.result(&latest, shown, self.started.elapsed());
                    self.run.tell.event(&Event::AsyncPoll(&result));
                }
                Err(failure) => {
                    // What is lost for a moment is asked again.
                    attempt.detail(
                        4,
                        &format!(
                            "Exception during async poll, retrying... ({})",
                            said(&failure)
                        ),
                    );
                    if let Ok(connection) = attempt.connection() {
                        connection.reset().await;
                    }
                    left = left.saturating_sub(background.poll.max(1));
                    if left == 0 {
                        return Err(failure);
                    }
                }
            }
        }
        if latest.finished == Some(true) {
            // The file that says what became of it is wanted no longer.
            let _ = self.ask(attempt, job, "cleanup").await;
            self.ended(&latest, shown);
            return Ok(latest);
        }
        let result: Dict = [("async_result", Value::Dict(latest.as_dict(false)))]
            .into_iter()
            .collect();
        let outcome = Outcome::of_failure(Failure::with(
            format!(
                "async task did not complete within the requested time - {}s",
                background.limit
            ),
            result,
        ));
        self.ended(&outcome, shown);
        Ok(outcome)
    }

    fn ended(&self, outcome: &Outcome, shown: &Shown) {
        let result = self.result(outcome, shown, self.started.elapsed());
        self.run.tell.event(&Event::AsyncEnded(&result));
    }

    async fn ask(&self, attempt: &Attempt<'_>, job: &str, mode: &str) -> Result<Outcome, Failure> {
        let arguments: Dict = [("jid", job), ("mode", mode)].into_iter().collect();
        let name = "ansible.builtin.async_status";
        let result = if attempt.reach.foreign()? {
            let asking = Attempt {
                name,
                background: None,
                ..*attempt
            };
            foreign::over_foreign().0.run(&asking, arguments).await?
        } else {
            attempt.action(name, arguments).await?
        };
        Ok(Outcome::of_result(&result))
    }
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Failed(failed) => failed.error.brief(),
        Failure::Skipped { message, .. } | Failure::Unreachable { message, .. } => message.clone(),
    }
}
