//! Starting one container: image, environment, mounts, security, and then the runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_runtime::{ContainerSpec, Mount, MountKind, Propagation, Sandbox};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use tokio_util::sync::CancellationToken;

use super::env::{self, Sources as Found};
use super::fields::PodFacts;
use super::resources;
use super::security;
use super::state::{Ended, Role, full_name};
use super::volumes::{self, Mounted, sub_path};
use super::{expand, labels};
use crate::images;
use crate::shared::Shared;
use consort_reconcile::Sources;

/// What a start needs to know.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) container: Container,
    pub(crate) role: Role,
    pub(crate) attempt: u32,
    pub(crate) sandbox: Sandbox,
    pub(crate) mounted: Arc<Mounted>,
    pub(crate) facts: PodFacts,
    pub(crate) sources: Arc<Sources>,
    pub(crate) dir: PathBuf,
    pub(crate) cancel: CancellationToken,
}

/// A container that runs.
pub(crate) struct Started {
    pub(crate) container: consort_runtime::Container,
    pub(crate) at: Timestamp,
    pub(crate) image: String,
    pub(crate) image_id: String,
}

/// Why it does not.
pub(crate) struct NotStarted {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Something in the pod's sources is missing.
    pub(crate) until_sources_change: bool,
    /// It was given up on purpose.
    pub(crate) cancelled: bool,
    /// The runtime could not execute it: that was a run of its own, which has ended so. The restart policy
    /// decides whether there is another one.
    pub(crate) ended: Option<Ended>,
}

/// The exit code of a run that never began, as containerd has it.
const START_ERROR_CODE: i32 = 128;

impl NotStarted {
    fn config(message: impl Into<String>) -> Self {
        Self {
            reason: "CreateContainerConfigError",
            message: message.into(),
            until_sources_change: true,
            cancelled: false,
            ended: None,
        }
    }

    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            until_sources_change: false,
            cancelled: false,
            ended: None,
        }
    }
}

impl Start {
    /// Starts the container, or tells what stands in the way. Cancelling leaves nothing behind.
    ///
    /// A program that cannot be executed has ended with `StartError` and code 128, as under containerd; what fails
    /// before that is only waited out.
    pub(crate) async fn run(self) -> Result<Started, NotStarted> {
        let cancel = self.cancel.clone();
        let prepared = tokio::select! {
            prepared = self.prepare() => prepared,
            () = cancel.cancelled() => Err(NotStarted { cancelled: true, ..NotStarted::new("", "") }),
        };
        let event =
            |warning: bool, reason: &str, message: String| self.tell(warning, reason, message);
        let (spec, image) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                if !failure.cancelled {
                    let shown = match failure.reason {
                        "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName" => failure.reason,
                        _ => failure.message.as_str(),
                    };
                    event(true, "Failed", format!("Error: {shown}"));
                }
                return Err(failure);
            }
        };
        // From here on the runtime is at work: it is not interrupted, so that nothing is half made.
        let name = &self.container.name;
        let id = spec.id.clone();
        let failed = |reason: &'static str, error: &consort_runtime::Error| {
            let message = chain(error);
            event(true, "Failed", format!("Error: {message}"));
            let ended = matches!(error, consort_runtime::Error::Start(_)).then(|| Ended {
                id: id.clone(),
                code: START_ERROR_CODE,
                signal: None,
                reason: "StartError".to_owned(),
                message: Some(message.clone()),
                started_at: None,
                finished_at: Timestamp::now(),
            });
            NotStarted {
                ended,
                ..NotStarted::new(reason, message)
            }
        };
        let container = match self.sandbox.create(spec).await {
            Ok(container) => container,
            Err(error) => return Err(failed("CreateContainerError", &error)),
        };
        event(false, "Created", format!("Created container: {name}"));
        if let Err(error) = container.start().await {
            let not_started = failed("RunContainerError", &error);
            if let Err(error) = container.remove().await {
                tracing::warn!(
                    container = name,
                    error = chain(&error),
                    "removing a container that did not start"
                );
            }
            return Err(not_started);
        }
        let at = match container.state().await {
            Ok(consort_runtime::State::Running { started_at, .. }) => started_at,
            Ok(consort_runtime::State::Exited(exit)) => {
                exit.started_at.unwrap_or_else(Timestamp::now)
            }
            _ => Timestamp::now(),
        };
        event(false, "Started", format!("Started container {name}"));
        Ok(Started {
            container,
            at,
            image: image.shown,
            image_id: image.id,
        })
    }

    fn tell(&self, warning: bool, reason: &str, message: String) {
        let path = self.role.field_path(&self.container.name);
        self.shared
            .event(&self.pod, Some(&path), warning, reason, message);
    }

    async fn prepare(&self) -> Result<(ContainerSpec, images::Ready), NotStarted> {
        let empty = PodSpec::default();
        let spec = self.pod.spec.as_ref().unwrap_or(&empty);
        let tell =
            |warning: bool, reason: &str, message: String| self.tell(warning, reason, message);
        let image = images::ensure(
            &self.shared.images,
            spec,
            &self.container,
            &self.sources,
            &tell,
        );
        let (image, found) = tokio::join!(image, self.found());
        let image = image.map_err(|failure| NotStarted::new(failure.reason, failure.message))?;
        let found = found.map_err(NotStarted::config)?;

        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let services = self.shared.services.list_in(namespace);
        let api = self.shared.services.get(Some("default"), "kubernetes");
        let services = env::service_variables(
            services.iter().chain(api.iter()).map(|s| &**s),
            namespace,
            spec.enable_service_links.unwrap_or(true),
        );
        let made = env::environment(&self.pod, &self.container, &self.facts, &found, &services)
            .map_err(NotStarted::config)?;
        for message in &made.invalid {
            self.tell(true, "InvalidEnvironmentVariableNames", message.clone());
        }
        let config = &image.image.config;
        let args = env::command_line(
            &self.container,
            &made.variables,
            &config.entrypoint,
            &config.cmd,
        )
        .map_err(|message| NotStarted::new("CreateContainerError", message))?;
        let mut environment = config.env.clone();
        environment.extend(
            made.variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );

        let name = &self.container.name;
        let log_dir = self.dir.join("logs").join(name);
        let termination = termination_file(&self.dir, name, self.attempt);
        let mut runtime_spec = ContainerSpec {
            id: format!("{:x}", uuid::Uuid::new_v4().as_simple()),
            lower_dirs: image.layers.clone(),
            args,
            env: last_wins(environment),
            cwd: self
                .container
                .working_dir
                .clone()
                .filter(|d| !d.is_empty())
                .unwrap_or_else(|| config.working_dir.clone())
                .into(),
            resources: resources::container_settings(&self.container),
            oom_score_adj: Some(resources::oom_score_adj(
                spec,
                &self.container,
                self.shared.machine.memory_bytes,
            )),
            tty: self.container.tty == Some(true),
            stdin: self.container.stdin == Some(true),
            stdin_once: self.container.stdin_once == Some(true),
            log_path: Some(log_dir.join(format!("{}.log", self.attempt))),
            stop_signal: stop_signal(&self.container, config.stop_signal.as_deref()),
            labels: labels::container(&self.pod, &self.container, self.role, self.attempt, &image),
            ..ContainerSpec::default()
        };
        security::apply(
            &full_name(&self.pod),
            spec,
            &self.container,
            &config.user,
            &self.shared.seccomp_dir(),
            &mut runtime_spec,
        )
        .map_err(NotStarted::config)?;
        runtime_spec.mounts = self.mounts(&made.variables, &termination)?;
        runtime_spec.pid_of = self.target().await?;

        let (log_dir, termination) = (log_dir.clone(), termination.clone());
        let sub_paths: Vec<(PathBuf, String)> = runtime_spec
            .mounts
            .iter()
            .filter(|m| !self.is_read_only(&m.source))
            .filter_map(|m| Some((m.source.clone(), m.sub_path.as_ref()?.to_str()?.to_owned())))
            .collect();
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&log_dir)?;
            write_termination_file(&termination)?;
            for (root, path) in sub_paths {
                sub_path::make(&root, &path)?;
            }
            Ok::<(), std::io::Error>(())
        })
        .await
        .map_err(|error| error.to_string())
        .and_then(|done| done.map_err(|error| error.to_string()))
        .map_err(|error| {
            NotStarted::new("CreateContainerError", format!("preparing files: {error}"))
        })?;
        Ok((runtime_spec, image))
    }

    /// The ConfigMaps and Secrets that the environment refers to.
    async fn found(&self) -> Result<Found, String> {
        let (config_maps, secrets) = env::references(&self.container);
        let mut found = Found::default();
        for name in config_maps {
            if let Some(object) = self.sources.config_map(&name).await? {
                found.config_maps.insert(name, object);
            }
        }
        for name in secrets {
            if let Some(object) = self.sources.secret(&name).await? {
                found.secrets.insert(name, object);
            }
        }
        Ok(found)
    }

    /// Whether a path is a volume of which the node owns the content.
    fn is_read_only(&self, source: &Path) -> bool {
        self.mounted
            .read_only
            .iter()
            .any(|name| self.mounted.paths.get(name).is_some_and(|p| p == source))
    }

    /// The running container that an ephemeral one is to look at (`targetContainerName`).
    async fn target(&self) -> Result<Option<String>, NotStarted> {
        let ephemeral = self
            .pod
            .spec
            .iter()
            .flat_map(|s| s.ephemeral_containers.iter().flatten());
        let target = ephemeral
            .filter(|c| c.name == self.container.name)
            .find_map(|c| {
                c.target_container_name
                    .as_deref()
                    .filter(|name| !name.is_empty())
            });
        let Some(target) = target else {
            return Ok(None);
        };
        for container in self.sandbox.containers().unwrap_or_default() {
            if container
                .spec()
                .labels
                .get(labels::CONTAINER)
                .is_some_and(|name| name == target)
                && matches!(
                    container.state().await,
                    Ok(consort_runtime::State::Running { .. })
                )
            {
                return Ok(Some(container.id().to_owned()));
            }
        }
        Err(NotStarted::config(format!(
            "the target container {target} does not run"
        )))
    }

    #[allow(clippy::result_large_err)] // made once for a container that does not start
    fn mounts(
        &self,
        variables: &[(String, String)],
        termination: &Path,
    ) -> Result<Vec<Mount>, NotStarted> {
        let mut mounts = Vec::new();
        for wanted in self.container.volume_mounts.iter().flatten() {
            let source = self.mounted.paths.get(&wanted.name).ok_or_else(|| {
                NotStarted::config(format!(
                    "cannot find volume \"{}\" to mount into container",
                    wanted.name
                ))
            })?;
            let sub = match (&wanted.sub_path, &wanted.sub_path_expr) {
                (_, Some(expression)) if !expression.is_empty() => {
                    let lookup = |name: &str| {
                        variables
                            .iter()
                            .find(|(n, _)| n == name)
                            .map(|(_, value)| value.as_str())
                    };
                    if let Some(missing) = expand::first_unknown(expression, lookup) {
                        return Err(NotStarted::config(format!(
                            "failed to expand subPath for volumeMount \"{}\" of container \"{}\": missing value for \
                             \"{missing}\"",
                            wanted.name, self.container.name
                        )));
                    }
                    expand::expand(expression, lookup)
                }
                (Some(path), _) => path.clone(),
                _ => String::new(),
            };
            sub_path::check(&sub).map_err(NotStarted::config)?;
            mounts.push(Mount {
                source: source.clone(),
                target: PathBuf::from(&wanted.mount_path),
                kind: MountKind::Bind,
                read_only: wanted.read_only == Some(true)
                    || self.mounted.read_only.contains(&wanted.name),
                propagation: match wanted.mount_propagation.as_deref() {
                    Some("HostToContainer") => Propagation::HostToContainer,
                    Some("Bidirectional") => Propagation::Bidirectional,
                    _ => Propagation::Private,
                },
                options: Vec::new(),
                sub_path: (!sub.is_empty()).then(|| PathBuf::from(sub)),
            });
        }
        let mut add = |source: PathBuf, target: &str| {
            let target = PathBuf::from(target);
            if !mounts.iter().any(|m: &Mount| m.target == target) {
                mounts.push(Mount {
                    source,
                    target,
                    ..Mount::default()
                });
            }
        };
        for (file, target) in [
            ("etc-hosts", "/etc/hosts"),
            ("resolv.conf", "/etc/resolv.conf"),
            ("hostname", "/etc/hostname"),
        ] {
            add(self.dir.join(file), target);
        }
        let path = self
            .container
            .termination_message_path
            .as_deref()
            .filter(|p| !p.is_empty());
        add(
            termination.to_owned(),
            path.unwrap_or("/dev/termination-log"),
        );
        // What lies deeper is mounted later, whatever the order in the spec.
        mounts.sort_by_key(|m| m.target.components().count());
        Ok(mounts)
    }
}

/// Where the message of a run is written by the container.
pub(crate) fn termination_file(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join("containers")
        .join(container)
        .join(format!("{attempt}.termination"))
}

fn write_termination_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        volumes::make_directory(parent, 0o755)?;
    }
    std::fs::write(path, b"")?;
    // Whoever the container runs as has to be able to write it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}

/// The container's own stop signal over the image's.
fn stop_signal(container: &Container, image: Option<&str>) -> String {
    container
        .lifecycle
        .as_ref()
        .and_then(|l| l.stop_signal.clone())
        .or_else(|| image.map(str::to_owned))
        .unwrap_or_default()
}

/// `NAME=value` entries with every name once; the last value wins, in the place of the first.
fn last_wins(environment: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(environment.len());
    let mut places = std::collections::HashMap::new();
    for entry in environment {
        let name = entry.split('=').next().unwrap_or_default().to_owned();
        match places.entry(name) {
            std::collections::hash_map::Entry::Occupied(place) => {
                let place: &usize = place.get();
                out[*place] = entry;
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(out.len());
                out.push(entry);
            }
        }
    }
    out
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_takes_the_place_of_an_earlier_one() {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            last_wins(list(&["A=1", "B=2", "A=3", "C=a=b"])),
            ["A=3", "B=2", "C=a=b"]
        );
    }
}
