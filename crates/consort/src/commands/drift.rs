//! `consort drift`: what is no longer as it was applied, and who owns it.

use std::collections::HashMap;
use std::path::Path;

use consort_plan::{Address, Mode, Problem};
use consort_score::Definition;
use consort_score::deeds::{self, Deed, Done};
use consort_score::drift::Report;
use consort_score::render::escaped;

use crate::cli::Drift;
use crate::error::{Failure, Result};
use crate::output;
use crate::scores::{Workplace, draw_known, interrupted, problems, recorded};
use crate::settings::Configuration;

use super::score::unknown;

/// So many resources are asked about who touched them.
const ASKED: usize = 200;

/// Compares scores with what was applied last. Exits with 0 when nothing has drifted, with 2 when something has.
pub(super) async fn run(configuration: &Configuration, args: Drift) -> Result<()> {
    let place = Workplace::find(configuration, &args.target).await?;
    let outcome = compare(&place, &args).await;
    place.close().await;
    let reports = outcome?;
    let drifted = reports.iter().any(Report::is_drifted);
    if args.json {
        let all: Vec<_> = reports.iter().map(Report::json).collect();
        output::print(&format!("{}\n", serde_json::Value::from(all)));
    } else {
        let texts: Vec<String> = reports.iter().map(Report::text).collect();
        output::print(&texts.join("\n"));
    }
    if drifted {
        return Err(Failure::code(2));
    }
    Ok(())
}

async fn compare(place: &Workplace, args: &Drift) -> Result<Vec<Report>> {
    let mut names = Vec::new();
    for score in &args.scores {
        if score.contains('/') || Path::new(score).is_dir() {
            let definition =
                Definition::read(Path::new(score)).map_err(|found| problems(&found))?;
            names.push(definition.name);
        } else {
            names.push(score.clone());
        }
    }
    if names.is_empty() {
        names = recorded::operations(place)
            .await?
            .into_iter()
            .map(|operation| operation.score)
            .collect();
        names.dedup();
        if names.is_empty() {
            eprintln!("the server knows no scores");
        }
    }
    let (cancel, _watching) = interrupted()?;
    let mut reports = Vec::with_capacity(names.len());
    for name in names {
        let drawn = draw_known(place, &name, Mode::Heal, cancel.clone())
            .await?
            .ok_or_else(|| unknown(&name))?;
        let blueprint = &drawn.blueprint;
        let mut known: HashMap<Address, Deed> = HashMap::new();
        let changed = blueprint
            .changes
            .iter()
            .filter(|change| change.action.changes());
        for change in changed.take(ASKED) {
            let gone = change.action == consort_plan::Action::Create;
            let wanted = if gone { Done::Deleted } else { Done::Changed };
            if let Some(object) = deeds::object(change)
                // Who may not read events is told what there is all the same.
                && let Ok(found) = deeds::of(&place.client, object.0, object.1, object.2).await
                && let Some(deed) = found.into_iter().find(|deed| deed.done == wanted)
            {
                known.insert(change.address.clone(), deed);
            }
        }
        // A machine of a playbook that does not answer has not been looked at.
        for part in blueprint.parts.iter().filter(|it| it.layer == "playbook") {
            let of_part = |warning: &&Problem| warning.part == part.name;
            for warning in blueprint.warnings.iter().filter(of_part) {
                eprintln!("warning: {name}: {}", escaped(&warning.summary));
            }
        }
        let revision = blueprint.parent.revision;
        reports.push(Report::of(blueprint, revision, |change| {
            known.get(&change.address).cloned()
        }));
    }
    Ok(reports)
}
