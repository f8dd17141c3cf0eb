//! `consort apply`: of a score, of a saved or stored plan, or of files as `kubectl apply` takes them.

use std::path::Path;

use consort_plan::{Mode, Operation};
use consort_score::saved::{self, Saved};
use consort_score::{Definition, render};
use tokio_util::sync::CancellationToken;

use crate::apply::{Applier, sort};
use crate::cli::{Apply, Walk};
use crate::connect::connect;
use crate::error::{Failure, Kind, Result, chain};
use crate::manifests;
use crate::output;
use crate::render::{Manner, style};
use crate::resources::Resources;
use crate::scores::{
    Asking, Drawing, Drawn, Workplace, carry_out, confirm, draw, finished, interrupted,
    of_blueprint, permitted, problems, recorded,
};
use crate::settings::Configuration;

/// Carries a plan out, or applies files.
pub(super) async fn run(configuration: &Configuration, args: Apply) -> Result<()> {
    let Some(what) = args.plan.clone() else {
        return files(args).await;
    };
    let path = Path::new(&what);
    let mut place = Workplace::find_running(configuration, &args.target).await?;
    let (cancel, _watching) = interrupted()?;
    let drawn = if path.is_dir() || is_score_file(path) {
        let definition = Definition::read(path).map_err(|found| problems(&found))?;
        if args.target.namespace.is_none() {
            place.for_score(&definition.namespace);
        }
        let drawing = Drawing {
            definition,
            mode: Mode::Apply,
            source: None,
            only: None,
            settle: true,
            cancel: cancel.clone(),
        };
        let drawn = draw(&place, drawing).await?;
        show(&drawn, args.walk, false);
        drawn
    } else if path.is_file() {
        let json = std::fs::read(path).map_err(|error| {
            Failure::new(Kind::Input, format!("reading {}: {error}", path.display()))
        })?;
        let Saved {
            blueprint,
            id,
            sources,
        } = saved::from_bytes(&json).map_err(|error| {
            Failure::new(
                Kind::Input,
                format!("{} is no plan: {}", path.display(), chain(&error)),
            )
            .hint("save one with `consort plan -o FILE`; for manifests use `consort apply -f`")
        })?;
        of_blueprint(&place, &id, blueprint, sources).await?
    } else {
        let Some(blueprint) = recorded::blueprint(&place, &what).await? else {
            return Err(Failure::new(
                Kind::Input,
                format!(
                    "{what:?} is neither a directory, nor a saved plan, nor the id of a stored one"
                ),
            ));
        };
        of_blueprint(&place, &what, blueprint, None).await?
    };
    // What was planned before was shown then; nobody is asked twice.
    let fresh = path.is_dir() || is_score_file(path);
    let asking = if fresh && !args.walk.auto_approve {
        Asking::Terminal
    } else {
        Asking::Never
    };
    walk(&place, &drawn, args.walk, asking, &cancel).await
}

/// A `consort.yaml` stands for its directory; any other file is a saved plan.
fn is_score_file(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == consort_score::FILE)
        && path.is_file()
}

/// Shows a plan that was just made.
pub(super) fn show(drawn: &Drawn, walk: Walk, brief: bool) {
    if walk.json {
        output::print(&format!("{}\n", render::plan_json(&drawn.blueprint)));
    } else {
        let mut shown = style();
        shown.full = walk.full;
        shown.brief = brief && !walk.full;
        output::print(&render::plan(&drawn.blueprint, &shown));
    }
}

/// Carries a plan out, with everything that is said and asked around it.
pub(super) async fn walk(
    place: &Workplace,
    drawn: &Drawn,
    walk: Walk,
    asking: Asking,
    cancel: &CancellationToken,
) -> Result<()> {
    if drawn.blueprint.is_empty() && drawn.blueprint.parent.revision > 0 {
        return Ok(());
    }
    permitted(place, drawn).await?;
    if !confirm(&drawn.blueprint, asking).await? {
        return Err(Failure::new(Kind::Failed, "not carried out"));
    }
    let manner = Manner::suits(walk.json);
    let resumed: Option<&Operation> = None;
    let done = carry_out(place, drawn, resumed, cancel, manner).await?;
    finished(place, &done, walk.json).await
}

/// Applies the files' objects, in an order in which what is referred to comes first.
async fn files(args: Apply) -> Result<()> {
    let mut manifests = manifests::read(&args.files)?;
    sort(&mut manifests);
    let connection = connect(&args.target).await?;
    let resources = Resources::discover(&connection.client).await?;
    let applier = Applier {
        client: &connection.client,
        resources: &resources,
        namespace: &connection.namespace,
        dry_run: args.dry_run,
        force: args.force_conflicts,
    };
    let note = if args.dry_run { " (dry run)" } else { "" };
    for manifest in &manifests {
        let applied = applier.apply(manifest).await?;
        output::print(&format!(
            "{} {}{note}\n",
            applied.title(),
            applied.outcome.word()
        ));
    }
    Ok(())
}
