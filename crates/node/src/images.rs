//! Images for containers: pull policies, credentials, and the words for what goes wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use consort_image::{Credential, ErrorKind, Hold, Image, Images, Reference};
use k8s_openapi::api::core::v1::{Container, PodSpec, Secret};

use consort_reconcile::Sources;

/// An image that is ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) image: Image,
    /// Unpacked layers, top first.
    pub(crate) layers: Vec<PathBuf>,
    /// The name that a status shows.
    pub(crate) shown: String,
    /// What a status shows as `imageID`.
    pub(crate) id: String,
    /// Keeps the layers until the container is written down as their user.
    _hold: Arc<Hold>,
}

/// Why an image is not there, in the API's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `InvalidImageName`, `ErrImageNeverPull`, `ErrImagePull`.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// When an image is asked of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    IfNotPresent,
    Never,
}

impl Policy {
    /// The container's policy; without one, `:latest` is always pulled and everything else when missing.
    pub(crate) fn of(container: &Container) -> Self {
        match container.image_pull_policy.as_deref() {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            _ => {
                let image = container.image.as_deref().unwrap_or_default();
                let name = image.rsplit('/').next().unwrap_or(image);
                if image.contains('@') || (name.contains(':') && !name.ends_with(":latest")) {
                    Self::IfNotPresent
                } else {
                    Self::Always
                }
            }
        }
    }
}

/// An event on the way to the image: whether it is a warning, its reason, its message.
pub(crate) type Tell<'a> = &'a (dyn Fn(bool, &str, String) + Send + Sync);

/// Brings the image of a container, by its policy.
///
/// # Errors
/// The waiting reason and message of the container.
pub(crate) async fn ensure(
    images: &Images,
    spec: &PodSpec,
    container: &Container,
    sources: &Sources,
    tell: Tell<'_>,
) -> Result<Ready, Failure> {
    let name = container.image.as_deref().unwrap_or_default();
    let reference: Reference = name.parse().map_err(|error: consort_image::InvalidName| {
        let message = format!("Failed to apply default image tag \"{name}\": {error}");
        tell(true, "InspectFailed", message.clone());
        Failure {
            reason: "InvalidImageName",
            message,
        }
    })?;
    let policy = Policy::of(container);
    let present = match images.get(&reference).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(
                image = name,
                error = error.message(),
                "looking for an image"
            );
            None
        }
    };
    let image = match (present, policy) {
        (Some(image), Policy::IfNotPresent | Policy::Never) => {
            tell(
                false,
                "Pulled",
                format!("Container image \"{name}\" already present on machine"),
            );
            image
        }
        (None, Policy::Never) => {
            let message =
                format!("Container image \"{name}\" is not present with pull policy of Never");
            tell(true, "ErrImageNeverPull", message.clone());
            return Err(Failure {
                reason: "ErrImageNeverPull",
                message,
            });
        }
        // A built-in image has no registry behind it.
        (Some(image), Policy::Always)
            if image.repo_digests().is_empty() && is_built_in(&reference) =>
        {
            tell(
                false,
                "Pulled",
                format!("Container image \"{name}\" already present on machine"),
            );
            image
        }
        (_, _) => {
            tell(false, "Pulling", format!("Pulling image \"{name}\""));
            let begun = Instant::now();
            let credentials = credentials(spec, sources).await;
            match images.pull(&reference, &credentials, &|_| {}).await {
                Ok(image) => {
                    let took = begun.elapsed();
                    let took = format!("{}.{:03}s", took.as_secs(), took.subsec_millis());
                    tell(
                        false,
                        "Pulled",
                        format!(
                            "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {} \
                             bytes.",
                            image.size
                        ),
                    );
                    image
                }
                Err(error) => {
                    let message = pull_message(name, &reference, &error);
                    tell(
                        true,
                        "Failed",
                        format!("Failed to pull image \"{name}\": {message}"),
                    );
                    return Err(Failure {
                        reason: "ErrImagePull",
                        message,
                    });
                }
            }
        }
    };
    let hold = images.hold(&image);
    let layers = images.layers(&image).await.map_err(|error| {
        let message = format!("failed to unpack image \"{name}\": {}", error.message());
        tell(true, "Failed", message.clone());
        Failure {
            reason: "ErrImagePull",
            message,
        }
    })?;
    let id = image
        .repo_digests()
        .into_iter()
        .next()
        .unwrap_or_else(|| image.id.to_string());
    Ok(Ready {
        shown: reference.to_string(),
        id,
        layers,
        image,
        _hold: Arc::new(hold),
    })
}

/// Whether an image is made on this machine and has no registry behind it.
fn is_built_in(reference: &Reference) -> bool {
    reference.registry() == "consort.dev"
}

fn pull_message(name: &str, reference: &Reference, error: &consort_image::Error) -> String {
    let detail = error.message();
    match error.kind() {
        ErrorKind::NotFound => {
            format!("failed to pull and unpack image \"{reference}\": {detail}: not found")
        }
        ErrorKind::Unauthorized => format!("failed to authorize for image \"{name}\": {detail}"),
        _ => format!("failed to pull and unpack image \"{reference}\": {detail}"),
    }
}

/// The credentials of the pod's `imagePullSecrets`. Secrets that are missing or unreadable are left
/// out, as upstream does: the registry has the last word.
async fn credentials(spec: &PodSpec, sources: &Sources) -> Vec<Credential> {
    let mut out = Vec::new();
    for reference in spec.image_pull_secrets.iter().flatten() {
        match sources.secret(&reference.name).await {
            Ok(Some(secret)) => match read_secret(&secret) {
                Ok(found) => out.extend(found),
                Err(error) => tracing::warn!(secret = reference.name, error, "image pull secret"),
            },
            Ok(None) => tracing::warn!(secret = reference.name, "image pull secret does not exist"),
            Err(error) => tracing::warn!(secret = reference.name, error, "image pull secret"),
        }
    }
    out
}

fn read_secret(secret: &Secret) -> Result<Vec<Credential>, String> {
    let data = |key: &str| {
        secret
            .data
            .as_ref()
            .and_then(|d| d.get(key))
            .map(|v| v.0.as_slice())
    };
    let read = match secret.type_.as_deref() {
        Some("kubernetes.io/dockercfg") => data(".dockercfg").map(Credential::from_dockercfg),
        _ => data(".dockerconfigjson").map(Credential::from_docker_config_json),
    };
    match read {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) => Err(error.message()),
        None => Err("it holds no registry credentials".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_follows_the_tag_when_none_is_given() {
        let of = |image: &str, policy: Option<&str>| {
            Policy::of(&Container {
                image: Some(image.to_owned()),
                image_pull_policy: policy.map(str::to_owned),
                ..Container::default()
            })
        };
        assert_eq!(of("nginx", None), Policy::Always);
        assert_eq!(of("nginx:latest", None), Policy::Always);
        assert_eq!(of("host:5000/nginx", None), Policy::Always);
        assert_eq!(of("nginx:1.27", None), Policy::IfNotPresent);
        assert_eq!(of("nginx@sha256:00", None), Policy::IfNotPresent);
        assert_eq!(of("nginx", Some("Never")), Policy::Never);
        assert_eq!(of("nginx:1", Some("Always")), Policy::Always);
    }
}
