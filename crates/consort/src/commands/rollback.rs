//! `consort rollback`: a score as it was at a revision.

use consort_plan::Mode;

use super::apply::{show, walk};
use crate::cli::Rollback;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::scores::{Asking, Workplace, draw_revision, interrupted, recorded, refused};
use crate::settings::Configuration;

/// Plans the sources of a revision anew against the present, shows of each change whether it can be undone, and carries
/// the plan out as any other: with the same questions and approvals.
pub(super) async fn run(configuration: &Configuration, args: Rollback) -> Result<()> {
    let place = Workplace::find_running(configuration, &args.target).await?;
    let operations = recorded::operations(&place).await?;
    let Some(target) = recorded::named(&operations, &args.revision, args.score.as_deref())? else {
        return Err(Failure::new(
            Kind::Input,
            format!("{:?} is no revision that is recorded", args.revision),
        )
        .hint("see `consort history`"));
    };
    if target.mode == Mode::Destroy {
        return Err(Failure::new(
            Kind::Input,
            format!(
                "in revision {} {} was destroyed: there is nothing to go back to",
                target.revision, target.score
            ),
        )
        .hint(format!(
            "`consort destroy {}` does that again",
            target.score
        )));
    }
    let (cancel, _watching) = interrupted()?;
    let drawn = draw_revision(
        &place,
        &target.score,
        target.revision,
        Mode::Rollback {
            to: target.revision,
        },
        cancel.clone(),
    )
    .await?;
    show(&drawn, args.walk, false);
    if args.plan {
        if !drawn.blueprint.is_empty() && !drawn.blueprint.is_denied() {
            let id = consort_score::execute::keep(&drawn.system, &drawn.blueprint, &place.records)
                .await
                .map_err(|error| refused(&error))?;
            if !args.walk.json {
                output::print(&format!("\nCarry it out with: consort apply {id}\n"));
            }
        }
        return Ok(());
    }
    let asking = if args.walk.auto_approve {
        Asking::Never
    } else {
        Asking::Terminal
    };
    walk(&place, &drawn, args.walk, asking, &cancel).await
}
