//! `consort sync`, `consort suspend`, `consort resume-sync`.

use std::time::Duration;

use consort_score::follow::{SYNC_REQUESTED, SYNC_REQUESTED_BY, Score};
use consort_score::records::Records;
use consort_score::render::escaped;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use super::score::{Place, unknown};
use crate::cli::{Suspend, Sync};
use crate::error::{Failure, Kind, Result};
use crate::output::{self, Progress};
use crate::scores::failure;

/// How often a score is looked at while its sync is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Asks the server for a sync of each score, and waits for how it ends.
pub(super) async fn run(args: Sync) -> Result<()> {
    let place = Place::find(&args.target).await?;
    let records = Records::new(place.client.clone(), place.namespace.clone());
    let who = records.whoami().await.map_err(|error| failure(&error))?;
    let asked = Timestamp::now().to_string();
    for name in &args.names {
        let patch = json!({"metadata": {"annotations": {
            SYNC_REQUESTED: asked, SYNC_REQUESTED_BY: who,
        }}});
        patched(&place, name, &patch).await?;
    }
    if args.no_wait {
        return Ok(());
    }
    let progress = Progress::new(false);
    let deadline = Instant::now() + args.timeout;
    let mut worst: Option<Failure> = None;
    for name in &args.names {
        let ended = wait(&place, name, &asked, deadline, &progress).await;
        progress.finish();
        match ended {
            Ok(said) => output::print(&format!("{name}: {}\n", escaped(&said))),
            Err(failure) => {
                if let Some(earlier) = worst.replace(failure) {
                    earlier.report();
                }
            }
        }
    }
    worst.map_or(Ok(()), Err)
}

/// Waits until a request was tried, and gives what came of it.
async fn wait(
    place: &Place,
    name: &str,
    asked: &str,
    deadline: Instant,
    progress: &Progress,
) -> Result<String> {
    loop {
        let score = place.get(name).await?;
        let status = score.status.unwrap_or_default();
        let condition = |kind: &str| {
            status
                .conditions
                .iter()
                .find(|condition| condition.type_ == kind)
        };
        let synced = condition("Synced");
        let busy = synced.is_some_and(|it| {
            matches!(it.reason.as_str(), "Progressing" | "Stale") && it.status == "Unknown"
        });
        if score
            .spec
            .get("suspend")
            .and_then(serde_json::Value::as_bool)
            == Some(true)
        {
            return Err(
                Failure::new(Kind::Failed, format!("{name} is suspended")).hint(format!(
                    "let the server follow it again with: consort resume-sync {name}"
                )),
            );
        }
        if status.handled.as_deref() == Some(asked) && !busy {
            if let Some(fetched) = condition("Fetched").filter(|it| it.status == "False") {
                return Err(Failure::new(
                    Kind::Failed,
                    format!("{name}: {}", escaped(&fetched.message)),
                ));
            }
            let Some(synced) = synced else {
                return Ok("nothing is known of it yet".to_owned());
            };
            if synced.status == "True" {
                return Ok(synced.message.clone());
            }
            let kind = match synced.reason.as_str() {
                "Denied" => Kind::Denied,
                "AwaitingApproval" | "Rejected" => Kind::Unapproved,
                _ => Kind::Failed,
            };
            return Err(Failure::new(
                kind,
                format!("{name}: {}", escaped(&synced.message)),
            ));
        }
        if let Some(synced) = synced {
            progress.waiting(format!("{name}: {}", escaped(&synced.message)));
        }
        if Instant::now() >= deadline {
            return Err(
                Failure::new(Kind::Failed, format!("{name} was not synced in time"))
                    .hint(format!("see `consort score show {name}`")),
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Leaves scores alone, or follows them again.
pub(super) async fn suspend(args: Suspend, suspended: bool) -> Result<()> {
    let place = Place::find(&args.target).await?;
    for name in &args.names {
        patched(&place, name, &json!({"spec": {"suspend": suspended}})).await?;
        let said = if suspended {
            "is left alone: nothing is fetched, synced or healed"
        } else {
            "is kept true again"
        };
        output::print(&format!("{name} {said}\n"));
    }
    Ok(())
}

async fn patched(place: &Place, name: &str, patch: &serde_json::Value) -> Result<Score> {
    let params = PatchParams {
        field_manager: Some("consort-cli".to_owned()),
        ..PatchParams::default()
    };
    match place
        .scores()
        .patch(name, &params, &Patch::Merge(patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Err(unknown(name)),
        patched => Ok(patched?),
    }
}
