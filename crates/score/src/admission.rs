//! A part of policies that the server holds every write against: a ConfigMap of the plan like any other object.

use std::collections::BTreeMap;

use consort_manifests::{Generated, Manifests, Paths, Spec};
use consort_plan::{Feed, Problem};
use consort_policy::PolicyPart;
use consort_policy::admission::{self, NAMESPACE};

use crate::definition::{Definition, PartDefinition, plain};
use crate::records::Records;
use crate::system::Environment;

/// Opens a part of policies as the object they are kept in.
///
/// The namespace of the object is made first where it is missing, as it is for the records of scores: it belongs to no score.
///
/// # Errors
/// What is wrong with the policies, and that the namespace cannot be made.
pub(crate) async fn open(
    part: &PartDefinition,
    policies: &PolicyPart,
    definition: &Definition,
    environment: &Environment,
) -> Result<Manifests, Vec<Problem>> {
    if let Some(client) = &environment.client {
        let records = Records::new(client.clone(), NAMESPACE);
        records.install().await.map_err(|error| {
            vec![Problem {
                part: part.name.clone(),
                location: Some(part.location.clone()),
                ..plain(format!(
                    "making the namespace {NAMESPACE} for policies: {error}"
                ))
            }]
        })?;
    }
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
