//! What is written onto sandboxes and containers so that an agent that comes back knows them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::state::Role;
use crate::images;

/// Name of the pod.
pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
/// Namespace of the pod.
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Uid of the pod.
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
/// Name of the container in its pod.
pub(crate) const CONTAINER: &str = "io.kubernetes.container.name";
/// How often the container had been restarted before this run.
pub(crate) const ATTEMPT: &str = "io.kubernetes.container.restartCount";
/// The container's part: `init`, `sidecar`, `main`, `ephemeral`.
pub(crate) const ROLE: &str = "dev.consort.container.role";
/// The image as the pod's spec names it.
pub(crate) const SPEC_IMAGE: &str = "dev.consort.container.specImage";
/// The image as a status shows it.
pub(crate) const IMAGE: &str = "dev.consort.container.image";
/// The image's digest as a status shows it.
pub(crate) const IMAGE_ID: &str = "dev.consort.container.imageID";
/// Seconds that the pod gets to end, should its object be gone.
pub(crate) const GRACE: &str = "dev.consort.pod.gracePeriodSeconds";

/// The labels of a sandbox.
pub(crate) fn sandbox(pod: &Pod) -> BTreeMap<String, String> {
    let meta = &pod.metadata;
    let grace = pod
        .spec
        .as_ref()
        .and_then(|s| s.termination_grace_period_seconds)
        .unwrap_or(30);
    BTreeMap::from([
        (POD_NAME.to_owned(), meta.name.clone().unwrap_or_default()),
        (
            POD_NAMESPACE.to_owned(),
            meta.namespace.clone().unwrap_or_default(),
        ),
        (POD_UID.to_owned(), meta.uid.clone().unwrap_or_default()),
        (GRACE.to_owned(), grace.to_string()),
    ])
}

/// The labels of a container.
pub(crate) fn container(
    pod: &Pod,
    container: &Container,
    role: Role,
    attempt: u32,
    image: &images::Ready,
) -> BTreeMap<String, String> {
    let mut labels = sandbox(pod);
    labels.extend([
        (CONTAINER.to_owned(), container.name.clone()),
        (ATTEMPT.to_owned(), attempt.to_string()),
        (ROLE.to_owned(), role.as_str().to_owned()),
        (
            SPEC_IMAGE.to_owned(),
            container.image.clone().unwrap_or_default(),
        ),
        (IMAGE.to_owned(), image.shown.clone()),
        (IMAGE_ID.to_owned(), image.id.clone()),
    ]);
    labels
}
