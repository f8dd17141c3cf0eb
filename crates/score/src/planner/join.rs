//! The plans of the parts become one blueprint.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use consort_plan::{
    Action, BlastRadius, Blueprint, BlueprintEdge, Change, Edge, Intent, Joint, Parent,
    PlannedPart, Problem, Reversal,
};
use consort_policy::{Question, judge};
use jiff::Timestamp;

use super::{Drawn, PlanOptions};
use crate::definition::plain;
use crate::system::System;

/// Up to so many pairs, an edge each; more go through a joint.
const PAIRS: usize = 16;

pub(super) async fn join(
    system: &System,
    drawn: Vec<Drawn>,
    options: PlanOptions,
) -> Result<Blueprint, Vec<Problem>> {
    let mut blueprint = Blueprint {
        format: Blueprint::FORMAT,
        score: system.definition.name.clone(),
        mode: options.mode,
        author: options.author,
        time: Timestamp::now(),
        source: options.source,
        parent: Parent {
            revision: options.parent,
            seen: BTreeMap::new(),
        },
        parts: Vec::with_capacity(drawn.len()),
        changes: Vec::with_capacity(drawn.iter().map(|one| one.plan.changes.len()).sum()),
        edges: Vec::with_capacity(drawn.iter().map(|one| one.plan.edges.len()).sum()),
        joints: Vec::new(),
        verdicts: Vec::new(),
        blast: BlastRadius {
            threshold: system.definition.threshold,
            ..BlastRadius::default()
        },
        warnings: system.definition.warnings.clone(),
    };
    let mut links = Links::default();
    let mut documents = BTreeMap::new();
    for one in drawn {
        take(system, one, &mut blueprint, &mut links, &mut documents);
    }
    share(system, &mut blueprint)?;
    links.connect(&mut blueprint);
    acyclic(&blueprint)?;
    let policies = Arc::clone(&system.policies);
    // Policies take a processor for as long as they take.
    let judged = tokio::task::spawn_blocking(move || {
        let judgement = judge(&Question {
            blueprint: &blueprint,
            documents: &documents,
            policies: &policies,
            threshold: blueprint.blast.threshold,
        })?;
        blueprint.verdicts = judgement.verdicts;
        blueprint.blast = judgement.blast;
        Ok(blueprint)
    });
    judged
        .await
        .unwrap_or_else(|ended| Err(vec![plain(format!("judging the plan: {ended}"))]))
}

/// An object belongs to one part. Two parts of the score that both have it would take it from each other at each walk; a part
/// that is taken out of the score leaves what another part has now.
fn share(system: &System, blueprint: &mut Blueprint) -> Result<(), Vec<Problem>> {
    let elsewhere = |name: &str| {
        let described = system
            .definition
            .parts
            .iter()
            .find(|part| part.name == name);
        described.is_some_and(|part| part.stanza.get("target").is_some())
    };
    let mut owners: HashMap<String, u32> = HashMap::new();
    let mut problems = Vec::new();
    for part in &blueprint.parts {
        if part.layer != "manifests" || part.intent == Intent::Destroy || elsewhere(&part.name) {
            continue;
        }
        for place in part.first..part.first + part.count {
            let change = &blueprint.changes[place as usize];
            if matches!(change.action, Action::Delete | Action::Forget) {
                continue;
            }
            let object = change.address.local().to_owned();
            if let Some(other) = owners.insert(object, place) {
                let other = &blueprint.changes[other as usize];
                let at = other.location.as_ref();
                problems.push(Problem {
                    part: part.name.clone(),
                    address: Some(change.address.clone()),
                    location: change.location.clone(),
                    hint: at.map(|at| format!("the other stands at {at}")),
                    ..plain(format!(
                        "the parts {} and {} both have {}",
                        other.address.part(),
                        part.name,
                        change.address.local()
                    ))
                });
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let apply = blueprint.mode.intent() == Intent::Apply;
    for part in &blueprint.parts {
        if part.layer != "manifests" || part.intent == Intent::Apply || !apply {
            continue;
        }
        for place in part.first..part.first + part.count {
            let owner = owners.get(blueprint.changes[place as usize].address.local());
            let to =
                owner.map(|owner| blueprint.changes[*owner as usize].address.part().to_owned());
            let change = &mut blueprint.changes[place as usize];
            // The carrier deletes only what is still labelled as its part's.
            if let (Some(to), Action::Delete) = (to, change.action) {
                change.action = Action::Forget;
                change.reversal = Reversal::Reversible;
                change.reasons.push(format!("belongs to the part {to} now"));
            }
        }
    }
    Ok(())
}

/// What crosses parts, by places in the blueprint.
#[derive(Default)]
struct Links {
    /// The changes an output is made of, by part and output.
    gives: BTreeMap<(String, String), Vec<u32>>,
    /// The changes that use an output of another part.
    takes: BTreeMap<(String, String), Vec<u32>>,
    /// Part after part, because the score says so.
    after: Vec<(String, String)>,
    /// By part, the changes that wait for none of it, and those that none of it waits for.
    ends: BTreeMap<String, (Vec<u32>, Vec<u32>)>,
}

fn take(
    system: &System,
    one: Drawn,
    blueprint: &mut Blueprint,
    links: &mut Links,
    documents: &mut BTreeMap<String, serde_json::Value>,
) {
    let opened = &system.parts[one.place];
    let name = opened.part.name().to_owned();
    let plan = one.plan;
    let first = u32::try_from(blueprint.changes.len()).unwrap_or(u32::MAX);
    let count = u32::try_from(plan.changes.len()).unwrap_or(u32::MAX);
    let mut waits = vec![false; plan.changes.len()];
    let mut awaited = vec![false; plan.changes.len()];
    for edge in &plan.edges {
        waits[edge.dependent as usize] = true;
        awaited[edge.dependency as usize] = true;
        blueprint.edges.push(BlueprintEdge {
            dependent: first + edge.dependent,
            dependency: first + edge.dependency,
            edge: edge.edge,
        });
    }
    for mut joint in plan.joints {
        for place in &joint.dependents {
            waits[*place as usize] = true;
        }
        for place in &joint.dependencies {
            awaited[*place as usize] = true;
        }
        for place in joint.dependents.iter_mut().chain(&mut joint.dependencies) {
            *place += first;
        }
        blueprint.joints.push(joint);
    }
    let going = one.intent == Intent::Destroy && opened.intent == Intent::Destroy;
    if !going {
        let of = |marks: &[bool], changes: &[Change]| {
            (0u32..)
                .zip(marks.iter().zip(changes))
                .filter(|(_, (marked, change))| !**marked && change.action != Action::Forget)
                .map(|(place, _)| first + place)
                .collect::<Vec<u32>>()
        };
        links.ends.insert(
            name.clone(),
            (of(&waits, &plan.changes), of(&awaited, &plan.changes)),
        );
        for (output, value) in &plan.outputs {
            let places = value.from.iter().map(|place| first + place).collect();
            links.gives.insert((name.clone(), output.clone()), places);
        }
        for (place, input) in &plan.takes {
            if let Some(input) = opened.inputs.iter().find(|one| one.name == *input) {
                links
                    .takes
                    .entry((input.part.clone(), input.output.clone()))
                    .or_default()
                    .push(first + place);
            }
        }
        links.after.extend(
            opened
                .after
                .iter()
                .map(|(other, _)| (name.clone(), other.clone())),
        );
    }
    if let Some(document) = plan.document {
        documents.insert(name.clone(), document);
    }
    blueprint.parent.seen.insert(name.clone(), plan.seen);
    blueprint.warnings.extend(plan.warnings);
    blueprint.changes.extend(plan.changes);
    blueprint.parts.push(PlannedPart {
        layer: opened.part.layer().to_owned(),
        intent: one.intent,
        after: opened
            .after
            .iter()
            .map(|(other, _)| other.clone())
            .collect(),
        first,
        count,
        outputs: plan
            .outputs
            .into_iter()
            .map(|(name, output)| (name, output.value))
            .collect(),
        inputs: one.inputs,
        payload: plan.payload,
        name,
    });
}

impl Links {
    /// From what uses a value to what it is made of, from what the score puts after something to that.
    fn connect(self, blueprint: &mut Blueprint) {
        for ((part, output), mut takers) in self.takes {
            let Some(givers) = self.gives.get(&(part.clone(), output.clone())) else {
                continue;
            };
            takers.sort_unstable();
            takers.dedup();
            let label = format!("{part}.{output}");
            pairs(blueprint, label, takers, givers.clone(), Edge::Value);
        }
        for (part, other) in self.after {
            if let (Some((roots, _)), Some((_, leaves))) =
                (self.ends.get(&part), self.ends.get(&other))
            {
                let label = format!("{part} after {other}");
                pairs(blueprint, label, roots.clone(), leaves.clone(), Edge::Order);
            }
        }
    }
}

fn pairs(
    blueprint: &mut Blueprint,
    label: String,
    dependents: Vec<u32>,
    dependencies: Vec<u32>,
    edge: Edge,
) {
    if dependents.is_empty() || dependencies.is_empty() {
        return;
    }
    if dependents.len() * dependencies.len() > PAIRS {
        blueprint.joints.push(Joint {
            label,
            dependents,
            dependencies,
            edge,
        });
        return;
    }
    for dependent in &dependents {
        for dependency in &dependencies {
            blueprint.edges.push(BlueprintEdge {
                dependent: *dependent,
                dependency: *dependency,
                edge,
            });
        }
    }
}

/// Values that flow back and forth between two parts are fine as long as no resource waits for itself.
fn acyclic(blueprint: &Blueprint) -> Result<(), Vec<Problem>> {
    let graph = blueprint.graph();
    let Err(cycles) = graph.check() else {
        return Ok(());
    };
    let problems = cycles.0.iter().map(|cycle| {
        let circle: Vec<&Change> = graph
            .cycle(cycle)
            .into_iter()
            .filter_map(|id| graph[id])
            .filter_map(|place| blueprint.changes.get(place as usize))
            .collect();
        let first = circle.first();
        let names: Vec<&str> = circle
            .iter()
            .chain(first)
            .map(|change| change.address.as_str())
            .collect();
        let places: Vec<String> = circle
            .iter()
            .filter_map(|change| Some(format!("{}: {}", change.location.as_ref()?, change.address)))
            .collect();
        Problem {
            part: first
                .map(|one| one.address.part().to_owned())
                .unwrap_or_default(),
            address: first.map(|one| one.address.clone()),
            location: first.and_then(|one| one.location.clone()),
            detail: places.join("\n"),
            ..plain(format!(
                "resources wait for each other: {}",
                names.join(" -> ")
            ))
        }
    });
    Err(problems.collect())
}
