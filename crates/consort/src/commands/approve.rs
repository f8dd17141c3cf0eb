//! `consort approve` and `consort reject`.

use consort_score::records::{Approval, BlueprintSummary, Decision, Error, State};
use jiff::Timestamp;

use crate::cli::Decide;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::scores::{Workplace, failure};
use crate::settings::Configuration;

/// Decides about a plan that waits for it. Whether one may is the server's business: it takes the decision, or forbids it.
pub(super) async fn run(
    configuration: &Configuration,
    args: Decide,
    decision: Decision,
) -> Result<()> {
    let place = Workplace::find_running(configuration, &args.target).await?;
    let id = args.blueprint.trim();
    let summary = place
        .records
        .blueprint_summary(id)
        .await
        .map_err(|error| failure(&error))?
        .ok_or_else(|| unknown(id))?;
    if decision == Decision::Approve {
        fits(&place, &summary).await?;
    }
    let approval = Approval {
        blueprint: id.to_owned(),
        decision,
        by: place.author.clone(),
        reason: args.reason.unwrap_or_default(),
        time: Timestamp::now(),
    };
    let decided = place.records.decide(&summary.score, &approval).await;
    decided.map_err(|error| match &error {
        Error::Decided { .. } => Failure::new(Kind::Failed, error.to_string())
            .hint("a decision cannot be taken back; a new plan is a new decision"),
        _ if error.is_forbidden() => failure(&error).of_kind(Kind::Permission).hint(
            "who may approve says RBAC: the verb create on approvals.consort.dev in the namespace of the records",
        ),
        _ => failure(&error),
    })?;
    if args.json {
        let text = serde_json::to_string(&approval).map_err(anyhow::Error::from)?;
        output::print(&format!("{text}\n"));
        return Ok(());
    }
    output::print(&told(&summary, &approval));
    Ok(())
}

fn unknown(id: &str) -> Failure {
    Failure::new(Kind::Input, format!("the server knows no plan {id:?}")).hint(
        "the id stands below a plan that needs an approval; `consort get blueprints -n consort-system` lists all",
    )
}

/// A decision about something that cannot be carried out any more would only mislead.
async fn fits(place: &Workplace, summary: &BlueprintSummary) -> Result<()> {
    if summary.state == State::Denied {
        let first = summary.verdicts.first();
        let rule = first.map_or_else(String::new, |verdict| {
            format!(": {} ({})", verdict.message, verdict.rule)
        });
        return Err(Failure::new(
            Kind::Denied,
            format!(
                "the plan {} is denied by a policy, which no approval overrides{rule}",
                summary.id
            ),
        ));
    }
    let now = place
        .records
        .revision(&summary.score)
        .await
        .map_err(|error| failure(&error))?;
    if now != summary.parent {
        return Err(Failure::new(
            Kind::Stale,
            format!(
                "the plan {} was made from revision {} of {}, which is at {now}",
                summary.id, summary.parent, summary.score
            ),
        )
        .hint("an approval belongs to one plan: plan again, and look at that one"));
    }
    Ok(())
}

fn told(summary: &BlueprintSummary, approval: &Approval) -> String {
    let counts = &summary.counts;
    let changes = [
        (counts.create, "to create"),
        (counts.update, "to change"),
        (counts.replace, "to replace"),
        (counts.delete, "to delete"),
        (counts.forget, "to forget"),
    ];
    let changes: Vec<String> = changes
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let changes = if changes.is_empty() {
        "nothing to do".to_owned()
    } else {
        changes.join(", ")
    };
    let (word, next) = match approval.decision {
        Decision::Approve => (
            "approved",
            format!("Carry it out with `consort apply {}`.\n", summary.id),
        ),
        Decision::Reject => ("rejected", String::new()),
    };
    format!(
        "{word} by {}: plan {} of {}, {changes}, {} points\n{next}",
        approval.by, summary.id, summary.score, summary.points
    )
}
