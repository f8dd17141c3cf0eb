//! The plan as a value: its changes in order, its edges, and what is carried out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use consort_plan::{Action, Address, Change, Intent, PartPlan, Problem, Request};

use super::Planning;
use super::outputs::Outputs;
use crate::order::{self, Uses};
use crate::part::Manifests;
use crate::payload::Payload;
use crate::target;

/// Brings all into order: the plan, and what is carried out.
#[allow(clippy::too_many_arguments)]
pub(super) fn assemble(
    part: &Manifests,
    plans: Vec<Planning>,
    uses: Vec<Uses>,
    warnings: Vec<Problem>,
    outputs: impl FnOnce(&[u32], &[Option<u32>]) -> Outputs,
    digests: BTreeMap<String, String>,
    takes_of: impl Fn(usize) -> Vec<String>,
    request: &Request<'_>,
) -> Result<PartPlan, Vec<Problem>> {
    let count = plans.len();
    let (order, uses) = order::arranged(count, uses).map_err(|cycles| {
        cycles
            .iter()
            .map(|cycle| {
                let names: Vec<String> = cycle
                    .iter()
                    .map(|at| plans[*at].key.local(&plans[*at].kind.version))
                    .collect();
                let first = &plans[cycle[0]];
                Problem {
                    location: first.location.clone(),
                    detail: names.join(" -> "),
                    ..part.problem("objects wait for each other in a circle".to_owned())
                }
            })
            .collect::<Vec<_>>()
    })?;
    let mut place_of = vec![0_u32; count];
    for (place, at) in order.iter().enumerate() {
        place_of[*at] = place as u32;
    }
    let actions: Vec<Action> = plans.iter().map(|planning| planning.action).collect();
    let mut item_of: Vec<Option<u32>> = vec![None; count];
    let mut plan = PartPlan {
        edges: order::placed(&uses, &place_of),
        warnings,
        ..PartPlan::default()
    };
    let mut payload = Payload {
        digests,
        ..Payload::default()
    };
    let target = target::input(part.spec.target.as_ref()).map(str::to_owned);
    let mut plans: Vec<Option<Planning>> = plans.into_iter().map(Some).collect();
    for (place, at) in order.iter().enumerate() {
        let Some(planning) = plans[*at].take() else {
            continue;
        };
        let address = Address::new(&part.name, &planning.key.local(&planning.kind.version));
        if let Some(version) = planning.seen {
            plan.seen.push(consort_plan::Seen {
                what: address.local().to_owned(),
                version,
            });
        }
        let mut takes = takes_of(*at);
        if planning.action.changes() && request.intent == Intent::Apply {
            takes.extend(target.clone());
        }
        takes.sort();
        takes.dedup();
        plan.takes
            .extend(takes.into_iter().map(|input| (place as u32, input)));
        if let Some(mut item) = planning.item {
            item.change = place as u32;
            item_of[*at] = Some(payload.items.len() as u32);
            payload.items.push(item);
        }
        plan.changes.push(Change {
            address,
            kind: planning.kind.title(),
            action: planning.action,
            before: planning.before,
            after: planning.after,
            replaces: planning.replaces,
            reasons: planning.reasons,
            moved_from: None,
            drift: planning.drift,
            reversal: planning.reversal,
            location: planning.location,
        });
    }
    payload.waits = waits(&uses, &order, &actions, &item_of);
    (plan.outputs, payload.outputs) = outputs(&place_of, &item_of);
    plan.payload = payload.to_bytes();
    Ok(plan)
}

/// What waits for what while it is carried out: what is made for what it uses, also by way of what stays as it is;
/// what goes for what used it.
fn waits(
    uses: &[Uses],
    order: &[usize],
    actions: &[Action],
    item_of: &[Option<u32>],
) -> Vec<(u32, u32)> {
    let mut used_by: Vec<Vec<usize>> = vec![Vec::new(); actions.len()];
    for edge in uses {
        used_by[edge.dependent].push(edge.dependency);
    }
    // What stays as it is passes on what it would wait for.
    let mut behind: HashMap<usize, Vec<u32>> = HashMap::new();
    let mut all = HashSet::new();
    for at in order {
        match item_of[*at] {
            None => {
                let mut passed: BTreeSet<u32> = BTreeSet::new();
                for dependency in &used_by[*at] {
                    match item_of[*dependency] {
                        Some(item) if actions[*dependency] != Action::Delete => {
                            passed.insert(item);
                        }
                        Some(_) => {}
                        None => passed.extend(behind.get(dependency).into_iter().flatten()),
                    }
                }
                if !passed.is_empty() {
                    behind.insert(*at, passed.into_iter().collect());
                }
            }
            Some(item) => {
                for dependency in &used_by[*at] {
                    let goes = actions[*at] == Action::Delete;
                    match item_of[*dependency] {
                        Some(other) if actions[*dependency] == Action::Delete => {
                            all.insert((other, item));
                        }
                        Some(other) if !goes => {
                            all.insert((item, other));
                        }
                        None if !goes => {
                            let passed = behind.get(dependency).into_iter().flatten();
                            all.extend(passed.map(|other| (item, *other)));
                        }
                        Some(_) | None => {}
                    }
                }
            }
        }
    }
    let mut all: Vec<(u32, u32)> = all.into_iter().collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_plan::Edge;

    #[test]
    fn what_goes_waits_for_what_used_it_and_what_stays_passes_waiting_on() {
        let uses = |pairs: &[(usize, usize)]| {
            pairs
                .iter()
                .map(|(dependent, dependency)| Uses {
                    dependent: *dependent,
                    dependency: *dependency,
                    edge: Edge::Value,
                })
                .collect::<Vec<_>>()
        };
        // 3 uses 2, which stays and uses 1; 3 used 4, which goes; 4 stood on 0, which goes as well.
        let edges = uses(&[(3, 2), (2, 1), (3, 4), (4, 0)]);
        let actions = [
            Action::Delete,
            Action::Create,
            Action::NoOp,
            Action::Update,
            Action::Delete,
        ];
        let (order, edges) = order::arranged(5, edges).unwrap();
        let items = [Some(0), Some(1), None, Some(3), Some(4)];
        assert_eq!(
            waits(&edges, &order, &actions, &items),
            [(0, 4), (3, 1), (4, 3)]
        );
    }
}
