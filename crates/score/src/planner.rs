//! One plan of a whole system: every part planned with what the others give, joined into one graph, judged, frozen.

mod join;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use consort_plan::{
    Blueprint, Input, Intent, Mode, Outcome, Part, PartPlan, Planned, Problem, Reach, Request,
    Source, WalkOptions, walk,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::definition::{nearest, plain};
use crate::system::{Opened, System};

/// How many parts are planned at once.
const PARALLEL: usize = 4;

/// What is asked of a plan.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// What it is for.
    pub mode: Mode,
    /// Who asks.
    pub author: String,
    /// What the score was read from.
    pub source: Source,
    /// The revision of the score now; zero before its first operation.
    pub parent: u64,
    /// The parts to plan; what they take values from is planned with them. All, when left out.
    pub only: Option<BTreeSet<String>>,
    /// Ends the work early.
    pub cancel: CancellationToken,
}

/// A part's plan with what it was made with.
pub(crate) struct Drawn {
    /// Its place in the system.
    pub(crate) place: usize,
    pub(crate) intent: Intent,
    pub(crate) inputs: BTreeMap<String, Planned>,
    pub(crate) plan: PartPlan,
}

/// Plans a system; changes nothing.
///
/// The parts are planned in the order their values flow, several at once where they do not wait for each other. What is
/// known only after the apply goes on as a typed unknown, and what is sensitive stays sensitive.
///
/// # Errors
/// Everything that is wrong in any part that could be planned, each problem located. A part that waits for one with
/// problems is not planned.
pub async fn plan(system: &System, options: PlanOptions) -> Result<Blueprint, Vec<Problem>> {
    let graph = system.order();
    let wanted = match &options.only {
        None => vec![true; system.parts.len()],
        Some(only) => {
            let starts = graph
                .iter()
                .filter(|(_, place)| only.contains(system.parts[**place].part.name()))
                .map(|(id, _)| id);
            graph.reach(starts, Reach::Dependencies)
        }
    };
    let order = graph
        .check()
        .map_err(|cycles| vec![plain(cycles.to_string())])?;
    let drawn: Mutex<Vec<Option<Drawn>>> = Mutex::new(system.parts.iter().map(|_| None).collect());
    let problems: Mutex<Vec<(usize, Problem)>> = Mutex::new(Vec::new());
    let walking = WalkOptions {
        parallelism: PARALLEL,
        step_deadline: None,
        cancel: options.cancel.clone(),
    };
    walk(&graph, &walking, |id| {
        let place = graph[id];
        let (drawn, problems, wanted, options) = (&drawn, &problems, &wanted, &options);
        async move {
            if !wanted[place] {
                return Outcome::<()>::Done;
            }
            match draw(system, place, options, drawn).await {
                Ok(plan) => {
                    drawn.lock()[place] = Some(plan);
                    Outcome::Done
                }
                Err(more) => {
                    problems
                        .lock()
                        .extend(more.into_iter().map(|problem| (place, problem)));
                    Outcome::Failed(())
                }
            }
        }
    })
    .await;
    let mut problems = problems.into_inner();
    if !problems.is_empty() {
        problems.sort_by_key(|(place, _)| *place);
        return Err(problems.into_iter().map(|(_, problem)| problem).collect());
    }
    if options.cancel.is_cancelled() {
        return Err(vec![plain("planning was ended early")]);
    }
    let mut drawn = drawn.into_inner();
    let drawn: Vec<Drawn> = order
        .iter()
        .filter_map(|id| drawn[graph[*id]].take())
        .collect();
    join::join(system, drawn, options).await
}

/// Plans one part with what the others give.
async fn draw(
    system: &System,
    place: usize,
    options: &PlanOptions,
    drawn: &Mutex<Vec<Option<Drawn>>>,
) -> Result<Drawn, Vec<Problem>> {
    let opened = &system.parts[place];
    let intent = match options.mode.intent() {
        Intent::Destroy => Intent::Destroy,
        Intent::Apply => opened.intent,
    };
    let inputs = inputs(system, opened, &drawn.lock())?;
    let plan = opened
        .part
        .plan(Request {
            intent,
            inputs: &inputs,
            documented: !system.policies.is_empty(),
            healing: options.mode == Mode::Heal,
            cancel: &options.cancel,
        })
        .await?;
    sound(opened.part.as_ref(), &plan)?;
    Ok(Drawn {
        place,
        intent,
        inputs,
        plan,
    })
}

/// The values a part takes, as far as they are known.
fn inputs(
    system: &System,
    opened: &Opened,
    drawn: &[Option<Drawn>],
) -> Result<BTreeMap<String, Planned>, Vec<Problem>> {
    let mut inputs = BTreeMap::new();
    let mut problems = Vec::new();
    for input in &opened.inputs {
        let source = drawn.iter().flatten().find(|one| {
            let other = &system.parts[one.place];
            other.part.name() == input.part && other.intent == Intent::Apply
        });
        let Some(source) = source else {
            // What a part that is going took its values from may be gone itself; it goes all the same.
            inputs.insert(input.name.clone(), Planned::unknown("dynamic", None));
            continue;
        };
        if let Some(output) = source.plan.outputs.get(&input.output) {
            inputs.insert(
                input.name.clone(),
                told(&output.value, source, &output.from),
            );
        } else if source.intent == Intent::Destroy || opened.intent == Intent::Destroy {
            // Nothing is made of it any more.
            inputs.insert(input.name.clone(), Planned::unknown("dynamic", None));
        } else {
            problems.push(missing(opened, input, source));
        }
    }
    if problems.is_empty() {
        Ok(inputs)
    } else {
        Err(problems)
    }
}

/// An output as others see it: what is unknown says which resource will tell it.
fn told(value: &Planned, source: &Drawn, from: &[u32]) -> Planned {
    let mut value = value.clone();
    if value.unknown.iter().any(|unknown| unknown.from.is_none()) {
        let change = from
            .iter()
            .filter_map(|place| source.plan.changes.get(*place as usize))
            .find(|change| change.action.changes());
        for unknown in &mut value.unknown {
            if unknown.from.is_none() {
                unknown.from = change.map(|change| change.address.clone());
            }
        }
    }
    value
}

fn missing(opened: &Opened, input: &Input, source: &Drawn) -> Problem {
    let names = || source.plan.outputs.keys().map(String::as_str);
    let hint = match nearest(&input.output, names()) {
        Some(near) => format!("did you mean {}.{near}?", input.part),
        None if source.plan.outputs.is_empty() => format!("{} has no outputs", input.part),
        None => format!(
            "{} gives: {}",
            input.part,
            names().collect::<Vec<_>>().join(", ")
        ),
    };
    Problem {
        part: opened.part.name().to_owned(),
        location: Some(input.location.clone()),
        hint: Some(hint),
        ..plain(format!(
            "{} takes {}.{}, but {} gives no {}",
            opened.part.name(),
            input.part,
            input.output,
            input.part,
            input.output
        ))
    }
}

/// A layer must not give places that are not there: nothing that joins or shows the plan checks them again.
fn sound(part: &dyn Part, plan: &PartPlan) -> Result<(), Vec<Problem>> {
    let count = plan.changes.len();
    let places = plan
        .edges
        .iter()
        .flat_map(|edge| [edge.dependent, edge.dependency])
        .chain(
            plan.joints
                .iter()
                .flat_map(|joint| joint.dependents.iter().chain(&joint.dependencies).copied()),
        )
        .chain(plan.takes.iter().map(|(place, _)| *place))
        .chain(
            plan.outputs
                .values()
                .flat_map(|output| output.from.iter().copied()),
        );
    match places.into_iter().find(|place| *place as usize >= count) {
        None => Ok(()),
        Some(place) => Err(vec![Problem {
            part: part.name().to_owned(),
            ..plain(format!(
                "the plan of {} speaks of change {place}, and has {count}: this is a mistake in Consort",
                part.name()
            ))
        }]),
    }
}
