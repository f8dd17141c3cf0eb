//! Security contexts: the pod's and the container's merged into what the runtime is asked for.
//!
//! The container's value wins wherever both may be set, as the Kubernetes API says.

use std::path::{Component, Path, PathBuf};

use consort_runtime::{ContainerSpec, Seccomp, UserSpec};
use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

/// Fills the security-related fields of a container's spec.
///
/// `image_user` is the image's own `user[:group]`; `profiles` is the directory of local seccomp profiles.
///
/// # Errors
/// The message of `CreateContainerConfigError`.
pub(crate) fn apply(
    pod_name: &str,
    spec: &PodSpec,
    container: &Container,
    image_user: &str,
    profiles: &Path,
    into: &mut ContainerSpec,
) -> Result<(), String> {
    let empty_pod = PodSecurityContext::default();
    let empty = SecurityContext::default();
    let pod = spec.security_context.as_ref().unwrap_or(&empty_pod);
    let own = container.security_context.as_ref().unwrap_or(&empty);

    let user = own.run_as_user.or(pod.run_as_user);
    let group = own.run_as_group.or(pod.run_as_group);
    let non_root = own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false);
    if non_root {
        verify_non_root(pod_name, container, user, image_user)?;
    }
    into.user = UserSpec {
        image_user: image_user.to_owned(),
        run_as_user: id(user, "runAsUser")?,
        run_as_group: id(group, "runAsGroup")?,
        run_as_non_root: non_root,
        supplemental_groups: pod
            .supplemental_groups
            .iter()
            .flatten()
            .map(|g| id(Some(*g), "supplementalGroups").map(Option::unwrap_or_default))
            .collect::<Result<_, _>>()?,
        fs_group: id(pod.fs_group, "fsGroup")?,
    };
    into.privileged = own.privileged == Some(true);
    into.read_only_root = own.read_only_root_filesystem == Some(true);
    into.no_new_privs = own.allow_privilege_escalation == Some(false);
    into.unmasked = into.privileged || own.proc_mount.as_deref() == Some("Unmasked");
    if let Some(capabilities) = &own.capabilities {
        into.add_capabilities = capabilities.add.clone().unwrap_or_default();
        into.drop_capabilities = capabilities.drop.clone().unwrap_or_default();
    }
    let profile = own
        .seccomp_profile
        .as_ref()
        .or(pod.seccomp_profile.as_ref());
    into.seccomp = if into.privileged {
        Seccomp::Unconfined
    } else {
        seccomp(profile, profiles)?
    };
    Ok(())
}

fn id(value: Option<i64>, what: &str) -> Result<Option<u32>, String> {
    value
        .map(|v| u32::try_from(v).map_err(|_| format!("{what} {v} is out of range")))
        .transpose()
}

fn verify_non_root(
    pod_name: &str,
    container: &Container,
    user: Option<i64>,
    image_user: &str,
) -> Result<(), String> {
    let place = format!("(pod: \"{pod_name}\", container: {})", container.name);
    match user {
        Some(0) => Err(format!(
            "container's runAsUser breaks non-root policy {place}"
        )),
        Some(_) => Ok(()),
        None => {
            let name = image_user.split(':').next().unwrap_or_default();
            match name.parse::<i64>() {
                _ if name.is_empty() => Err(format!(
                    "container has runAsNonRoot and image will run as root {place}"
                )),
                Ok(0) => Err(format!(
                    "container has runAsNonRoot and image will run as root {place}"
                )),
                Ok(_) => Ok(()),
                Err(_) => Err(format!(
                    "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is \
                     non-root {place}"
                )),
            }
        }
    }
}

/// Without a profile nothing is filtered: the API's default is `Unconfined`.
fn seccomp(profile: Option<&SeccompProfile>, profiles: &Path) -> Result<Seccomp, String> {
    let Some(profile) = profile else {
        return Ok(Seccomp::Unconfined);
    };
    match profile.type_.as_str() {
        "RuntimeDefault" => Ok(Seccomp::Default),
        "Unconfined" => Ok(Seccomp::Unconfined),
        "Localhost" => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            let relative = Path::new(name);
            let plain = relative
                .components()
                .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
            if name.is_empty() || !plain {
                return Err(format!("invalid localhost seccomp profile \"{name}\""));
            }
            let path: PathBuf = profiles.join(relative);
            if !path.is_file() {
                return Err(format!(
                    "cannot load seccomp profile \"{}\": no such file",
                    path.display()
                ));
            }
            Ok(Seccomp::Path(path))
        }
        other => Err(format!("unknown seccomp profile type \"{other}\"")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better at the call"
    )]

    use super::*;
    use serde_json::json;

    fn merged(
        pod: serde_json::Value,
        own: serde_json::Value,
        image_user: &str,
    ) -> Result<ContainerSpec, String> {
        let spec: PodSpec =
            serde_json::from_value(json!({"containers": [], "securityContext": pod})).unwrap();
        let container: Container =
            serde_json::from_value(json!({"name": "c", "securityContext": own})).unwrap();
        let mut out = ContainerSpec::default();
        apply(
            "p_ns(u)",
            &spec,
            &container,
            image_user,
            Path::new("/nonexistent"),
            &mut out,
        )
        .map(|()| out)
    }

    #[test]
    fn the_container_wins_over_the_pod() {
        let out = merged(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4, 5],
                "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsUser": 10, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}),
            "99:99",
        )
        .unwrap();
        assert_eq!(out.user.run_as_user, Some(10));
        assert_eq!(out.user.run_as_group, Some(2));
        assert_eq!(out.user.fs_group, Some(3));
        assert_eq!(out.user.supplemental_groups, [4, 5]);
        assert_eq!(out.user.image_user, "99:99");
        assert!(out.read_only_root && out.no_new_privs && !out.privileged && !out.unmasked);
        assert_eq!(
            (out.add_capabilities, out.drop_capabilities),
            (vec!["NET_ADMIN".into()], vec!["ALL".into()])
        );
        assert_eq!(out.seccomp, Seccomp::Default);
    }

    #[test]
    fn nothing_set_gives_the_defaults_of_the_api() {
        let out = merged(json!({}), json!({}), "").unwrap();
        assert_eq!(out.seccomp, Seccomp::Unconfined);
        assert!(!out.no_new_privs && !out.privileged);
        let privileged = merged(
            json!({"seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"privileged": true}),
            "",
        );
        let privileged = privileged.unwrap();
        assert!(privileged.unmasked && privileged.seccomp == Seccomp::Unconfined);
    }

    #[test]
    fn run_as_non_root_is_checked_before_anything_starts() {
        let yes = json!({"runAsNonRoot": true});
        for (own, image, fragment) in [
            (
                json!({}),
                "",
                Some("image will run as root (pod: \"p_ns(u)\", container: c)"),
            ),
            (json!({}), "0:0", Some("image will run as root")),
            (
                json!({}),
                "nobody",
                Some("image has non-numeric user (nobody)"),
            ),
            (json!({}), "1000", None),
            (
                json!({"runAsUser": 0}),
                "1000",
                Some("container's runAsUser breaks non-root policy"),
            ),
            (json!({"runAsUser": 7}), "", None),
            (json!({"runAsNonRoot": false}), "", None),
        ] {
            let error = merged(yes.clone(), own, image).err();
            match fragment {
                None => assert_eq!(error, None),
                Some(text) => assert!(
                    error.as_deref().unwrap_or_default().contains(text),
                    "{error:?}"
                ),
            }
        }
    }

    #[test]
    fn a_local_profile_must_stay_in_its_directory_and_exist() {
        for name in ["../x", "/etc/passwd", "", "missing.json"] {
            let own = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": name}});
            assert!(merged(json!({}), own, "").is_err(), "{name}");
        }
    }
}
