//! A part of policies that the server holds every write against: a ConfigMap of the plan like any other object.

use std::collections::BTreeMap;

use consort_manifests::{Generated, Manifests, Paths, Spec};
use consort_plan::{Feed, Problem};
use consort_policy::PolicyPart;
use consort_policy::admission::{self, NAMESPACE};

use crate::definition::{Definition, PartDefinition};
use crate::system::Environment;

/// Opens a part of policies as the object they are kept in.
///
/// # Errors
/// What is wrong with the policies.
pub(crate) fn open(
    part: &PartDefinition,
    policies: &PolicyPart,
    definition: &Definition,
    environment: &Environment,
) -> Result<Manifests, Vec<Problem>> {
    let (labels, annotations, data) = admission::Policy::config_map(policies);
    let map = Generated {
        name: format!("policy-{}-{}", definition.name, part.name),
        namespace: Some(NAMESPACE.to_owned()),
        kind: None,
        labels,
        annotations,
        data: data
            .into_iter()
            .map(|(key, text)| (key, Feed::Literal(text.into())))
            .collect(),
    };
    let spec = Spec {
        path: Paths::Many(Vec::new()),
        namespace: None,
        target: None,
        replacements: Vec::new(),
        config_maps: vec![map],
        secrets: Vec::new(),
        outputs: BTreeMap::new(),
        prune: environment.prune.unwrap_or(true),
        ignore_differences: Vec::new(),
    };
    Manifests::open(
        &part.name,
        &definition.name,
        spec,
        part.lines.clone(),
        &definition.directory,
        environment.client.clone(),
    )
}
