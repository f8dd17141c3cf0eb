//! The volumes of a pod: made before its containers, kept up to date while they run, removed after.
//!
//! [`mount`] is idempotent: it makes what is missing and updates what has changed, so that the same
//! call serves the first start, a changed ConfigMap, a token near its expiry and the agent's return.

mod directory;
mod host_path;
mod payload;
pub(crate) mod sub_path;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, EmptyDirVolumeSource, KeyToPath, Pod, PodSpec,
    ProjectedVolumeSource, Secret, Volume,
};

use super::fields::{self, PodFacts};
use super::resources::{amounts_of, parse_quantity};
use consort_reconcile::Sources;
pub(crate) use directory::{make as make_directory, mounts_below, remove as remove_tree};
use payload::{File, Payload};
pub(crate) use token::Tokens;

/// Where a pod's volumes are on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounted {
    /// Path by volume name.
    pub(crate) paths: HashMap<String, PathBuf>,
    /// Volumes whose content no container may change.
    pub(crate) read_only: std::collections::HashSet<String>,
    /// When a token in them has to be renewed.
    pub(crate) refresh_at: Option<Timestamp>,
}

/// A volume that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) volume: String,
    pub(crate) message: String,
}

/// Mounts the memory that volumes of the pod lie in, empty; what is mounted already stays.
///
/// Has to be done before the pod's sandbox is made: its mount namespace is a copy, and sees what is
/// mounted later only where the host passes mounts on (its root is shared), which not every host does.
pub(crate) fn prepare(spec: &PodSpec, dir: &Path) -> Result<(), String> {
    for volume in spec.volumes.iter().flatten() {
        if let Some((mode, size)) = memory(spec, volume) {
            let path = dir.join("volumes").join(&volume.name);
            directory::make_in_memory(&path, mode, size)
                .map_err(|error| format!("volume \"{}\": {error}", volume.name))?;
        }
    }
    Ok(())
}

/// The permission bits and the size in bytes of a volume in memory; `None` for one that is not.
fn memory(spec: &PodSpec, volume: &Volume) -> Option<(u32, Option<u64>)> {
    if let Some(source) = &volume.empty_dir {
        return (source.medium.as_deref() == Some("Memory")).then(|| {
            (
                empty_dir_mode(source),
                empty_dir_limit(source).or_else(|| memory_limit(spec)),
            )
        });
    }
    // Secrets and tokens never touch the disk.
    let secret =
        volume.secret.is_some() || volume.downward_api.is_some() || volume.projected.is_some();
    secret.then_some((0o755, None))
}

fn empty_dir_mode(source: &EmptyDirVolumeSource) -> u32 {
    source
        .mode
        .and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(0o777)
}

fn empty_dir_limit(source: &EmptyDirVolumeSource) -> Option<u64> {
    let limit = parse_quantity(&source.size_limit.as_ref()?.0).filter(|limit| *limit > 0)?;
    u64::try_from(limit / 1000).ok()
}

/// What volumes are made from.
pub(crate) struct Context<'a> {
    pub(crate) pod: &'a Pod,
    /// The pod's directory on this machine.
    pub(crate) dir: &'a Path,
    pub(crate) facts: &'a PodFacts,
    pub(crate) sources: &'a Sources,
    pub(crate) tokens: &'a Tokens,
}

/// Makes all volumes of the pod, or says which could not be made.
pub(crate) async fn mount(context: &Context<'_>) -> Result<Mounted, Vec<Failed>> {
    let empty = PodSpec::default();
    let spec = context.pod.spec.as_ref().unwrap_or(&empty);
    let volumes: &[Volume] = spec.volumes.as_deref().unwrap_or_default();
    let results =
        futures::future::join_all(volumes.iter().map(|volume| one(context, spec, volume))).await;
    let mut mounted = Mounted::default();
    let mut failed = Vec::new();
    for (volume, result) in volumes.iter().zip(results) {
        match result {
            Ok(made) => {
                if made.read_only {
                    mounted.read_only.insert(volume.name.clone());
                }
                mounted.refresh_at = match (mounted.refresh_at, made.refresh_at) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                mounted.paths.insert(volume.name.clone(), made.path);
            }
            Err(message) => failed.push(Failed {
                volume: volume.name.clone(),
                message,
            }),
        }
    }
    if failed.is_empty() {
        Ok(mounted)
    } else {
        Err(failed)
    }
}

struct Made {
    path: PathBuf,
    read_only: bool,
    refresh_at: Option<Timestamp>,
}

async fn one(context: &Context<'_>, spec: &PodSpec, volume: &Volume) -> Result<Made, String> {
    let path = context.dir.join("volumes").join(&volume.name);
    let group = fs_group(spec)?;
    let in_memory = memory(spec, volume);
    let plain = |path: PathBuf| Made {
        path,
        read_only: false,
        refresh_at: None,
    };
    if let Some(source) = &volume.host_path {
        let target = PathBuf::from(&source.path);
        let kind = source.type_.clone().unwrap_or_default();
        let checked = target.clone();
        blocking(move || host_path::prepare(&checked, &kind)).await?;
        return Ok(plain(target));
    }
    if let Some(source) = &volume.empty_dir {
        let mode = empty_dir_mode(source);
        let target = path.clone();
        blocking(move || {
            match in_memory {
                Some((mode, size)) => directory::make_in_memory(&target, mode, size),
                None => directory::make(&target, mode),
            }
            .and_then(|()| group.map_or(Ok(()), |group| directory::own_by_group(&target, group)))
            .map_err(|error| error.to_string())
        })
        .await?;
        return Ok(plain(path));
    }
    let mut files = Payload::new();
    let mut refresh_at = None;
    if let Some(source) = &volume.config_map {
        let found = context.sources.config_map(&source.name).await?;
        let optional = source.optional == Some(true);
        config_map(
            &mut files,
            &source.name,
            found.as_deref(),
            source.items.as_deref(),
            optional,
            source.default_mode,
        )?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let found = context.sources.secret(name).await?;
        let optional = source.optional == Some(true);
        secret(
            &mut files,
            name,
            found.as_deref(),
            source.items.as_deref(),
            optional,
            source.default_mode,
        )?;
    } else if let Some(source) = &volume.downward_api {
        downward(
            &mut files,
            context,
            source.items.as_deref().unwrap_or_default(),
            source.default_mode,
        )?;
    } else if let Some(source) = &volume.projected {
        refresh_at = projected(&mut files, context, spec, source).await?;
    } else {
        return Err(unsupported(volume));
    }
    let target = path.clone();
    blocking(move || {
        match in_memory {
            Some((mode, size)) => directory::make_in_memory(&target, mode, size),
            None => directory::make(&target, 0o755),
        }
        .and_then(|()| payload::write(&target, &files, group).map(drop))
        .map_err(|error| error.to_string())
    })
    .await?;
    Ok(Made {
        path,
        read_only: true,
        refresh_at,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| error.to_string())?
}

fn fs_group(spec: &PodSpec) -> Result<Option<u32>, String> {
    spec.security_context
        .as_ref()
        .and_then(|s| s.fs_group)
        .map(|g| u32::try_from(g).map_err(|_| format!("fsGroup {g} is out of range")))
        .transpose()
}

/// The memory that a pod may use, if all of its containers have a limit: no volume holds more.
fn memory_limit(spec: &PodSpec) -> Option<u64> {
    let mut total = 0;
    for container in &spec.containers {
        total += amounts_of(container.resources.as_ref())
            .limits
            .get("memory")
            .filter(|v| *v > 0)?;
    }
    u64::try_from(total / 1000).ok().filter(|v| *v > 0)
}

fn unsupported(volume: &Volume) -> String {
    if let Some(claim) = &volume.persistent_volume_claim {
        return format!(
            "persistentvolumeclaim \"{}\": persistent volumes are not supported by this node",
            claim.claim_name
        );
    }
    let value = serde_json::to_value(volume).unwrap_or_default();
    let kind = value
        .as_object()
        .and_then(|o| o.keys().find(|k| *k != "name"))
        .cloned();
    match kind {
        Some(kind) => format!("volume type {kind} is not supported by this node"),
        None => "no volume source is given".to_owned(),
    }
}

fn mode(value: Option<i32>, default: Option<i32>) -> u32 {
    u32::try_from(value.or(default).unwrap_or(0o644)).unwrap_or(0o644) & 0o777
}

/// Adds the chosen keys of an object's data.
fn keys<'a>(
    files: &mut Payload,
    data: &BTreeMap<&'a str, &'a [u8]>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default_mode: Option<i32>,
    missing: impl Fn(&str) -> String,
) -> Result<(), String> {
    match items.filter(|items| !items.is_empty()) {
        None => {
            for (key, bytes) in data {
                files.insert(
                    (*key).to_owned(),
                    File {
                        data: bytes.to_vec(),
                        mode: mode(None, default_mode),
                        uid: None,
                    },
                );
            }
        }
        Some(items) => {
            for item in items {
                payload::check_path(&item.path)?;
                match data.get(item.key.as_str()) {
                    Some(bytes) => {
                        let file = File {
                            data: bytes.to_vec(),
                            mode: mode(item.mode, default_mode),
                            uid: item.user.and_then(|u| u32::try_from(u).ok()),
                        };
                        files.insert(item.path.clone(), file);
                    }
                    None if optional => {}
                    None => return Err(missing(&item.key)),
                }
            }
        }
    }
    Ok(())
}

fn config_map(
    files: &mut Payload,
    name: &str,
    found: Option<&ConfigMap>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default_mode: Option<i32>,
) -> Result<(), String> {
    let Some(map) = found else {
        return if optional {
            Ok(())
        } else {
            Err(format!("configmap \"{name}\" not found"))
        };
    };
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.as_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(k, ByteString(v))| (k.as_str(), v.as_slice()));
    keys(
        files,
        &text.chain(binary).collect(),
        items,
        optional,
        default_mode,
        |key| format!("configmap references non-existent config key: {key}"),
    )
}

fn secret(
    files: &mut Payload,
    name: &str,
    found: Option<&Secret>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default_mode: Option<i32>,
) -> Result<(), String> {
    let Some(secret) = found else {
        return if optional {
            Ok(())
        } else {
            Err(format!("secret \"{name}\" not found"))
        };
    };
    let data = secret
        .data
        .iter()
        .flatten()
        .map(|(k, ByteString(v))| (k.as_str(), v.as_slice()))
        .collect();
    keys(files, &data, items, optional, default_mode, |key| {
        format!("references non-existent secret key: {key}")
    })
}

fn downward(
    files: &mut Payload,
    context: &Context<'_>,
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
) -> Result<(), String> {
    for item in items {
        payload::check_path(&item.path)?;
        let text = if let Some(selector) = &item.field_ref {
            fields::field(context.pod, context.facts, selector)?
        } else if let Some(selector) = &item.resource_field_ref {
            fields::resource(context.pod, context.facts, selector, None)?
        } else {
            return Err(format!("downwardAPI item {} refers to nothing", item.path));
        };
        let file = File {
            data: text.into_bytes(),
            mode: mode(item.mode, default_mode),
            uid: item.user.and_then(|u| u32::try_from(u).ok()),
        };
        files.insert(item.path.clone(), file);
    }
    Ok(())
}

/// All sources of a projected volume; what comes later covers what came before.
async fn projected(
    files: &mut Payload,
    context: &Context<'_>,
    spec: &PodSpec,
    source: &ProjectedVolumeSource,
) -> Result<Option<Timestamp>, String> {
    let mut refresh_at: Option<Timestamp> = None;
    for projection in source.sources.iter().flatten() {
        if let Some(map) = &projection.config_map {
            let found = context.sources.config_map(&map.name).await?;
            let optional = map.optional == Some(true);
            config_map(
                files,
                &map.name,
                found.as_deref(),
                map.items.as_deref(),
                optional,
                source.default_mode,
            )?;
        } else if let Some(reference) = &projection.secret {
            let found = context.sources.secret(&reference.name).await?;
            let optional = reference.optional == Some(true);
            secret(
                files,
                &reference.name,
                found.as_deref(),
                reference.items.as_deref(),
                optional,
                source.default_mode,
            )?;
        } else if let Some(api) = &projection.downward_api {
            downward(
                files,
                context,
                api.items.as_deref().unwrap_or_default(),
                source.default_mode,
            )?;
        } else if let Some(wanted) = &projection.service_account_token {
            payload::check_path(&wanted.path)?;
            let token = context.tokens.get(context.pod, wanted).await?;
            refresh_at = Some(refresh_at.map_or(token.refresh_at, |at| at.min(token.refresh_at)));
            let (mode, uid) = token_access(spec, source.default_mode);
            let uid = wanted.user.and_then(|u| u32::try_from(u).ok()).or(uid);
            files.insert(
                wanted.path.clone(),
                File {
                    data: token.text.clone().into_bytes(),
                    mode,
                    uid,
                },
            );
        } else if projection.cluster_trust_bundle.is_some() {
            return Err("clusterTrustBundle projections are not supported by this node".to_owned());
        } else if projection.pod_certificate.is_some() {
            return Err("podCertificate projections are not supported by this node".to_owned());
        }
    }
    Ok(refresh_at)
}

/// Who may read a token: with a group for the pod's volumes that group; else the one user that all
/// containers run as; else everyone in the pod.
fn token_access(spec: &PodSpec, default_mode: Option<i32>) -> (u32, Option<u32>) {
    if spec
        .security_context
        .as_ref()
        .is_some_and(|s| s.fs_group.is_some())
    {
        return (0o600, None);
    }
    let of_pod = spec.security_context.as_ref().and_then(|s| s.run_as_user);
    let mut users = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|c| {
            c.security_context
                .as_ref()
                .and_then(|s| s.run_as_user)
                .or(of_pod)
        });
    let first = users.next().flatten();
    match first {
        Some(user) if users.all(|u| u == Some(user)) => (0o600, u32::try_from(user).ok()),
        _ => (mode(None, default_mode), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chosen_keys_get_their_paths_and_modes() {
        let map: ConfigMap = serde_json::from_value(
            json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}),
        )
        .unwrap();
        let mut all = Payload::new();
        config_map(&mut all, "m", Some(&map), None, false, Some(0o400)).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(all.values().all(|f| f.mode == 0o400));
        assert_eq!(all["c"].data, [0, 1]);

        let items: Vec<KeyToPath> = serde_json::from_value(
            json!([{"key": "a", "path": "x/y", "mode": 0o600}, {"key": "none", "path": "z"}]),
        )
        .unwrap();
        let mut some = Payload::new();
        config_map(&mut some, "m", Some(&map), Some(&items), true, None).unwrap();
        assert_eq!(some.len(), 1);
        assert_eq!(some["x/y"].mode, 0o600);
        assert_eq!(
            config_map(
                &mut Payload::new(),
                "m",
                Some(&map),
                Some(&items),
                false,
                None
            )
            .unwrap_err(),
            "configmap references non-existent config key: none"
        );
        assert_eq!(
            config_map(&mut Payload::new(), "m", None, None, false, None).unwrap_err(),
            "configmap \"m\" not found"
        );
        assert!(config_map(&mut Payload::new(), "m", None, None, true, None).is_ok());
    }

    #[test]
    fn a_token_is_readable_by_those_who_need_it() {
        let access = |spec: serde_json::Value| {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            token_access(&spec, Some(0o644))
        };
        let c = |user: Option<i64>| json!({"name": "c", "securityContext": {"runAsUser": user}});
        assert_eq!(access(json!({"containers": [c(None)]})), (0o644, None));
        assert_eq!(
            access(json!({"containers": [c(Some(5)), c(Some(5))]})),
            (0o600, Some(5))
        );
        assert_eq!(
            access(json!({"containers": [c(Some(5)), c(Some(6))]})),
            (0o644, None)
        );
        assert_eq!(
            access(json!({"containers": [c(None)], "securityContext": {"runAsUser": 9}})),
            (0o600, Some(9))
        );
        assert_eq!(
            access(json!({"containers": [c(None)], "securityContext": {"fsGroup": 9}})),
            (0o600, None)
        );
    }

    #[test]
    fn what_cannot_be_mounted_is_named() {
        let volume =
            |value: serde_json::Value| unsupported(&serde_json::from_value(value).unwrap());
        assert!(
            volume(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}))
                .contains("\"c\"")
        );
        assert_eq!(
            volume(json!({"name": "v", "nfs": {"server": "s", "path": "/"}})),
            "volume type nfs is not supported by this node"
        );
    }
}
