//! Parts of manifests whose workloads use what another part describes: they roll when that changes.

use std::collections::{BTreeMap, BTreeSet};

use consort_manifests::{Configuration, Manifests};
use consort_plan::{Part, Problem};

use crate::definition::{Definition, PartDefinition, plain};

/// A part of manifests, with its place among all parts and its description.
pub(crate) type Opened<'a> = (usize, &'a PartDefinition, Manifests);

/// Makes the digests of `ConfigMap`s and `Secret`s values that flow from the parts that describe them to those that use them.
///
/// Values cannot flow in a circle. Where a part that describes something waits for the one that uses it, that is told, and
/// nothing rolls.
pub(crate) async fn join(
    definition: &Definition,
    others: &[Box<dyn Part>],
    manifests: &mut [Opened<'_>],
) -> Vec<Problem> {
    if manifests.len() < 2 {
        return Vec::new();
    }
    let mut found: Vec<Configuration> = Vec::with_capacity(manifests.len());
    for (_, _, part) in manifests.iter() {
        found.push(part.configuration().await);
    }
    let mut waits = Waits::default();
    for part in others {
        waits.take_in(part.as_ref());
    }
    for (_, _, part) in manifests.iter() {
        waits.take_in(part);
    }
    for part in &definition.parts {
        for (other, _) in &part.after {
            waits.add(&part.name, other);
        }
    }
    let mut warnings = Vec::new();
    for user in 0..manifests.len() {
        for (object, by) in &found[user].uses {
            // Parts of different clusters have nothing of each other.
            let target = manifests[user].1.stanza.get("target");
            let owner = (0..manifests.len()).find(|owner| {
                *owner != user
                    && manifests[*owner].1.stanza.get("target") == target
                    && found[*owner].has.contains(object)
            });
            let Some(owner) = owner else {
                continue;
            };
            let (name, from) = (&manifests[user].1.name, &manifests[owner].1.name);
            if waits.leads(from, name) {
                warnings.push(Problem {
                    part: name.clone(),
                    location: Some(by.location.clone()),
                    hint: Some(format!("describe it in {name}, or in a part that does not wait for {name}")),
                    ..plain(format!(
                        "{} uses {object} of {from}, which waits for {name}: a change of it does not roll the workload",
                        by.workload
                    ))
                });
                continue;
            }
            waits.add(name, from);
            let from = from.clone();
            manifests[user].2.take(object, &from, by.location.clone());
            manifests[owner].2.give(object);
        }
    }
    warnings
}

/// Which parts wait for which.
#[derive(Default)]
struct Waits(BTreeMap<String, BTreeSet<String>>);

impl Waits {
    fn take_in(&mut self, part: &dyn Part) {
        for input in part.inputs() {
            self.add(part.name(), &input.part);
        }
    }

    fn add(&mut self, one: &str, other: &str) {
        let known = self.0.entry(one.to_owned()).or_default();
        known.insert(other.to_owned());
    }

    /// Whether one part waits for another, directly or by way of others.
    fn leads(&self, one: &str, other: &str) -> bool {
        let mut seen = BTreeSet::from([one]);
        let mut open = vec![one];
        while let Some(part) = open.pop() {
            for next in self.0.get(part).into_iter().flatten() {
                if next == other {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    }
}
