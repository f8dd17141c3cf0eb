//! A plan carried out at a terminal: asked about, watched, and told how it ended.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use consort_plan::{Blueprint, Mode, Operation, Phase, Problem, Source};
use consort_score::execute::{self, Done, Error, Options};
use consort_score::render;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Drawn, Workplace, failure, problems};
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::render::{Live, Manner, error_style, style};

/// Whether a person is asked before anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// If there is one at a terminal.
    Terminal,
    /// Not at all.
    Never,
}

/// Ends when it is dropped.
pub(crate) struct Watching(tokio::task::JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What an interrupt cancels: the first lets what is under way come to its end, the second ends the process at once.
pub(crate) fn interrupted() -> Result<(CancellationToken, Watching)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let task = tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(130);
            }
            eprintln!("what is under way is finished; a second interrupt ends it at once");
            token.cancel();
        }
    });
    Ok((cancel, Watching(task)))
}

/// Whether a plan may be carried out; if all it lacks is an approval, it is stored for that.
pub(crate) async fn permitted(place: &Workplace, drawn: &Drawn) -> Result<()> {
    let id = drawn.blueprint.id();
    match execute::permitted(&drawn.blueprint, &id, &place.records).await {
        Ok(_) => Ok(()),
        Err(error @ Error::Unapproved(_)) => {
            execute::keep(&drawn.system, &drawn.blueprint, &place.records)
                .await
                .map_err(|error| refused(&error))?;
            Err(refused(&error))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Asks whether a plan is to be carried out.
pub(crate) async fn confirm(blueprint: &Blueprint, asking: Asking) -> Result<bool> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if asking == Asking::Never || !terminal || blueprint.is_empty() {
        return Ok(true);
    }
    let score = blueprint.score.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let mut err = std::io::stderr().lock();
        write!(
            err,
            "\nCarry this plan of {score} out? Only `yes` is taken: "
        )?;
        err.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok::<_, std::io::Error>(answer.trim() == "yes")
    });
    Ok(asked.await.map_err(anyhow::Error::from)??)
}

/// Carries a plan out while a person, or a program, watches.
pub(crate) async fn carry_out(
    place: &Workplace,
    drawn: &Drawn,
    resumed: Option<&Operation>,
    cancel: &CancellationToken,
    manner: Manner,
) -> Result<Done> {
    if resumed.is_none() {
        announce(place, &drawn.blueprint).await?;
    }
    let live = Live::start(&drawn.blueprint, manner);
    let options = Options {
        records: &place.records,
        watcher: &live,
        author: place.author.clone(),
        cause: None,
        cancel: cancel.clone(),
    };
    let done = match resumed {
        Some(operation) => {
            execute::resume(&drawn.system, &drawn.blueprint, operation, options).await
        }
        None => execute::carry_out(&drawn.system, &drawn.blueprint, options).await,
    };
    live.finish();
    done.map_err(|error| refused(&error))
}

/// Makes the score known to the server, which then keeps it true. What somebody has said there about how stays.
async fn announce(place: &Workplace, blueprint: &Blueprint) -> Result<()> {
    let (Mode::Apply, Source::Directory { path, .. }) = (&blueprint.mode, &blueprint.source) else {
        return Ok(());
    };
    let records = &place.records;
    records.install().await.map_err(|error| failure(&error))?;
    let known = records
        .score(&blueprint.score)
        .await
        .map_err(|error| failure(&error))?;
    match known {
        Some(known) => {
            if let Some(url) = known
                .data
                .pointer("/spec/source/git/url")
                .and_then(serde_json::Value::as_str)
            {
                return Err(Failure::new(
                    Kind::Failed,
                    format!(
                        "{} follows {url}: what is carried out from here would be undone",
                        blueprint.score
                    ),
                )
                .hint(format!(
                    "commit it there, or take the score off the repository: consort score rm {}",
                    blueprint.score
                )));
            }
        }
        None => {
            let spec = serde_json::json!({"source": {"directory": {"path": path}}});
            records
                .put_score(&blueprint.score, &spec)
                .await
                .map_err(|error| failure(&error))?;
        }
    }
    Ok(())
}

/// Says how an operation ended; anything but success is a failure.
pub(crate) async fn finished(place: &Workplace, done: &Done, json: bool) -> Result<()> {
    let operation = &done.operation;
    let entries = place
        .records
        .entries(&operation.score, operation.revision)
        .await
        .map_err(|error| failure(&error))?;
    if json {
        let value = render::operation_json(operation, &entries);
        output::print(&format!("{value}\n"));
    } else {
        for warning in &done.carried.warnings {
            eprintln!("{} {}", output::cyan("warning:"), told(warning));
        }
        // What went wrong with a resource is in its entries.
        let others: Vec<Problem> = done
            .carried
            .problems
            .iter()
            .filter(|problem| problem.address.is_none())
            .cloned()
            .collect();
        if !others.is_empty() {
            eprint!("{}", render::problems(&others, &error_style()));
        }
        output::print(&render::operation(operation, &entries, &style()));
    }
    if done.operation.phase == Phase::Succeeded {
        return Ok(());
    }
    let name = format!("{}-{}", done.operation.score, done.operation.revision);
    if !json {
        eprintln!(
            "{} go on with `consort resume {name}`, or see `consort why {name}`",
            output::cyan("hint:")
        );
    }
    Err(Failure::code(1))
}

fn told(warning: &Problem) -> String {
    let place = warning.location.as_ref();
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    format!("{}{place}", render::escaped(&warning.summary))
}

/// Why a plan was not carried out, as a failure with a code of its own.
pub(crate) fn refused(error: &Error) -> Failure {
    let style = error_style();
    match error {
        Error::Denied(verdicts) => {
            let mut text = format!("{} {error}; nothing was changed\n", output::red("error:"));
            for verdict in verdicts {
                let place = verdict
                    .location
                    .as_ref()
                    .map(|place| format!(" ({place})"))
                    .unwrap_or_default();
                text.push_str(&format!(
                    "  {}: {}{place}\n",
                    verdict.rule,
                    render::escaped(&verdict.message)
                ));
            }
            Failure::printed(Kind::Denied, text)
        }
        Error::Unapproved(missing) => {
            Failure::new(Kind::Unapproved, error.to_string()).hint(format!(
                "the plan is stored: `consort approve {0}`, then `consort apply {0}`",
                missing.blueprint
            ))
        }
        Error::Rejected { .. } => Failure::new(Kind::Unapproved, error.to_string()),
        Error::Stale(stale) => Failure::printed(Kind::Stale, render::stale(stale, &style)),
        Error::Problems(found) => problems(found),
        Error::Held(_) => Failure::new(Kind::Failed, error.to_string())
            .hint("try again when it is through, or see `consort history`"),
        Error::Over { .. } => Failure::new(Kind::Failed, error.to_string()),
        Error::Records(_) | Error::Snapshot(_) => failure(error),
    }
}
