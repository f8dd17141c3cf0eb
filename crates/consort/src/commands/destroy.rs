//! `consort destroy`.

use std::path::Path;

use consort_plan::Mode;
use consort_score::Definition;
use consort_score::records::Kind;
use kube::api::DeleteParams;

use super::apply::{show, walk};
use crate::cli::Destroy;
use crate::error::{self, Failure, Result};
use crate::scores::{Asking, Drawing, Workplace, draw, draw_known, failure, interrupted, problems};
use crate::settings::Configuration;

/// Plans that everything of a score goes, shows it, and carries it out in reverse order.
pub(super) async fn run(configuration: &Configuration, args: Destroy) -> Result<()> {
    let path = Path::new(&args.score);
    let mut place = Workplace::find_running(configuration, &args.target).await?;
    let (cancel, _watching) = interrupted()?;
    let drawn = if path.exists() {
        let definition = Definition::read(path).map_err(|found| problems(&found))?;
        if args.target.namespace.is_none() {
            place.for_score(&definition.namespace);
        }
        let drawing = Drawing {
            definition,
            mode: Mode::Destroy,
            source: None,
            only: None,
            settle: true,
            cancel: cancel.clone(),
        };
        draw(&place, drawing).await?
    } else {
        match draw_known(&place, &args.score, Mode::Destroy, cancel.clone()).await? {
            Some(drawn) => drawn,
            None => {
                return Err(Failure::new(
                    error::Kind::Input,
                    format!(
                        "{:?} is neither a directory nor a score the server knows",
                        args.score
                    ),
                )
                .hint("see `consort history` for the scores it knows"));
            }
        }
    };
    show(&drawn, args.walk, false);
    let asking = if args.walk.auto_approve {
        Asking::Never
    } else {
        Asking::Terminal
    };
    walk(&place, &drawn, args.walk, asking, &cancel).await?;
    forget(&place, &drawn.blueprint.score).await
}

/// Takes the score off the server, unless it follows a repository: that would bring everything back, or is meant to.
async fn forget(place: &Workplace, score: &str) -> Result<()> {
    let known = place
        .records
        .score(score)
        .await
        .map_err(|error| failure(&error))?;
    let followed =
        known.is_some_and(|known| known.data.pointer("/spec/source/directory").is_some());
    if followed {
        let objects = place.records.objects(Kind::Score);
        match objects.delete(score, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
