//! What a worker does to the world, each as one future that ends in a message to the worker.
//!
//! Every operation can be repeated; none knows what it is done for.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consort_net::{HostPort, Protocol};
use consort_runtime::{Container as Run, Sandbox, SandboxSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::files;
use super::start::{NotStarted, Started, chain, termination_file};
use super::state::Ended;
use super::volumes::{self, Failed, Mounted};
use super::{admit, hooks, labels, resources};
use crate::shared::Handle;

/// Longest message that a container may leave.
const MESSAGE_MAX: usize = 4096;
/// Most of a log that stands in for a message.
const LOG_TAIL_BYTES: usize = 2048;
const LOG_TAIL_LINES: usize = 80;
/// A container gets at least this after its `preStop` hook.
const AFTER_HOOK: Duration = Duration::from_secs(2);

/// How long a sandbox waits for the node's services; then the pod says so, and it is tried again.
const SERVICES: Duration = Duration::from_secs(10);

/// A sandbox with its network.
pub(crate) struct Made {
    pub(crate) sandbox: Sandbox,
    pub(crate) ips: Vec<String>,
    pub(crate) netns: Option<PathBuf>,
}

/// The end of an operation.
pub(crate) enum Done {
    Sandbox(Result<Made, String>),
    Discarded(Result<(), String>),
    Volumes(Result<Mounted, Vec<Failed>>),
    Started {
        container: String,
        attempt: u32,
        result: Result<Started, NotStarted>,
    },
    PostStarted {
        container: String,
        id: String,
        result: Result<(), String>,
    },
    Exited {
        container: String,
        id: String,
        ended: Ended,
    },
    TornDown,
    StatusWritten(Result<Box<Pod>, WriteError>),
    ObjectDeleted(Result<(), String>),
    Nothing,
}

/// Why a status could not be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The pod, or the pod of that uid, is no longer there.
    Gone,
    /// Worth trying again.
    Retry(String),
}

/// Makes network, files and sandbox. What was begun is undone when the rest fails.
pub(crate) async fn make_sandbox(
    shared: &Handle,
    pod: &Pod,
    dir: &Path,
    id: &str,
    prepared: &OnceCell<()>,
) -> Result<Made, String> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let host_network = spec.host_network == Some(true);
    let (ips, netns) = if host_network {
        (shared.host_ips.clone(), None)
    } else {
        services_known(shared).await?;
        let ports = host_ports(spec)?;
        let attachment = shared.network.attach(id, &ports).await.map_err(|error| {
            format!(
                "failed to set up network for sandbox \"{id}\": {}",
                chain(&error)
            )
        })?;
        (vec![attachment.ip.to_string()], Some(attachment.netns))
    };
    let made = async {
        let (hostname, domain) = files::hostname(pod, &shared.naming);
        write_files(shared, pod, dir, &ips, &hostname, domain.as_deref()).await?;
        let sysctls = spec
            .security_context
            .iter()
            .flat_map(|s| s.sysctls.iter().flatten());
        let sandbox = SandboxSpec {
            id: id.to_owned(),
            hostname: if host_network {
                String::new()
            } else {
                hostname
            },
            netns: netns.clone(),
            host_pid: spec.host_pid == Some(true),
            host_ipc: spec.host_ipc == Some(true),
            share_pid: spec.share_process_namespace == Some(true),
            sysctls: sysctls.map(|s| (s.name.clone(), s.value.clone())).collect(),
            resources: resources::pod_settings(spec, shared.options.pod_pids_limit),
            labels: labels::sandbox(pod),
            ..SandboxSpec::default()
        };
        prepare_volumes(pod, dir, prepared).await?;
        shared
            .runtime
            .create_sandbox(sandbox)
            .await
            .map_err(|error| chain(&error))
    }
    .await;
    match made {
        Ok(sandbox) => Ok(Made {
            sandbox,
            ips,
            netns,
        }),
        Err(message) => {
            if !host_network && let Err(error) = shared.network.detach(id).await {
                tracing::warn!(
                    sandbox = id,
                    error = chain(&error),
                    "taking back the network of a failed sandbox"
                );
            }
            Err(message)
        }
    }
}

/// Waits until the node knows the cluster's services: what a pod asks of one that is not known yet goes nowhere, and whoever
/// asked waits for seconds before asking again.
async fn services_known(shared: &Handle) -> Result<(), String> {
    let Some(mut known) = shared.options.services.clone() else {
        return Ok(());
    };
    match tokio::time::timeout(SERVICES, known.wait_for(|known| *known)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err("the services of the node have ended".to_owned()),
        Err(_) => Err("the node does not know the cluster's services yet".to_owned()),
    }
}

/// Mounts memory for the pod's volumes, once.
pub(crate) async fn prepare_volumes(
    pod: &Pod,
    dir: &Path,
    prepared: &OnceCell<()>,
) -> Result<(), String> {
    let prepare = || async {
        let (spec, dir) = (pod.spec.clone().unwrap_or_default(), dir.to_owned());
        tokio::task::spawn_blocking(move || volumes::prepare(&spec, &dir))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("preparing volumes: {error}"))
    };
    prepared.get_or_try_init(prepare).await?;
    Ok(())
}

fn host_ports(spec: &PodSpec) -> Result<Vec<HostPort>, String> {
    admit::host_ports(spec)
        .into_iter()
        .map(|port| {
            let number =
                |n: i32| u16::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| format!("port {n} is out of range"));
            Ok(HostPort {
                protocol: match port.protocol.as_str() {
                    "UDP" => Protocol::Udp,
                    "SCTP" => return Err("host ports over SCTP are not supported by this node".to_owned()),
                    _ => Protocol::Tcp,
                },
                host_ip: match port.ip.as_str() {
                    "" => None,
                    ip => Some(
                        ip.parse::<Ipv4Addr>().map_err(|_| format!("hostIP {ip} is not an IPv4 address"))?,
                    ),
                },
                host_port: number(port.port)?,
                container_port: number(port.container_port)?,
            })
        })
        .collect()
}

async fn write_files(
    shared: &Handle,
    pod: &Pod,
    dir: &Path,
    ips: &[String],
    hostname: &str,
    domain: Option<&str>,
) -> Result<(), String> {
    let spec = pod.spec.as_ref();
    let host_network = spec.is_some_and(|s| s.host_network == Some(true));
    let aliases = spec
        .and_then(|s| s.host_aliases.clone())
        .unwrap_or_default();
    let resolver = files::Resolver::for_pod(pod, &shared.naming, &shared.resolver).render();
    let (dir, ips, hostname, domain) = (
        dir.to_owned(),
        ips.to_vec(),
        hostname.to_owned(),
        domain.map(str::to_owned),
    );
    tokio::task::spawn_blocking(move || {
        let host_file = host_network.then(|| {
            std::fs::read_to_string("/etc/hosts")
                .unwrap_or_else(|_| "127.0.0.1\tlocalhost\n".into())
        });
        std::fs::create_dir_all(&dir)?;
        let hosts = files::hosts(
            &ips,
            &hostname,
            domain.as_deref(),
            &aliases,
            host_file.as_deref(),
        );
        std::fs::write(dir.join("etc-hosts"), hosts)?;
        std::fs::write(dir.join("resolv.conf"), resolver)?;
        std::fs::write(dir.join("hostname"), format!("{hostname}\n"))
    })
    .await
    .map_err(|error| error.to_string())?
    .map_err(|error| format!("writing the pod's files: {error}"))
}

/// Waits for a container to end and reads the message it left.
pub(crate) async fn wait(container: Run, spec: Container, dir: PathBuf, attempt: u32) -> Done {
    let id = container.id().to_owned();
    let exit = match container.wait().await {
        Ok(exit) => exit,
        Err(error) => consort_runtime::Exit {
            code: 137,
            signal: None,
            oom: false,
            started_at: None,
            finished_at: Timestamp::now(),
            message: chain(&error),
        },
    };
    let name = spec.name.clone();
    let ended = ended(id.clone(), exit, &spec, &dir, attempt).await;
    Done::Exited {
        container: name,
        id,
        ended,
    }
}

/// An exit in the API's words, with the container's own message.
pub(crate) async fn ended(
    id: String,
    exit: consort_runtime::Exit,
    spec: &Container,
    dir: &Path,
    attempt: u32,
) -> Ended {
    let file = termination_file(dir, &spec.name, attempt);
    let log = dir
        .join("logs")
        .join(&spec.name)
        .join(format!("{attempt}.log"));
    let from_log = exit.code != 0
        && spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    let message = tokio::task::spawn_blocking(move || {
        termination_message(&file, from_log.then_some(log.as_path()))
    })
    .await
    .unwrap_or_default();
    let message = if message.is_empty() {
        exit.message.clone()
    } else {
        message
    };
    let reason = match (exit.oom, exit.code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        _ => "Error",
    };
    Ended {
        id,
        code: exit.code,
        signal: exit.signal,
        reason: reason.to_owned(),
        message: Some(message).filter(|m| !m.is_empty()),
        started_at: exit.started_at,
        finished_at: exit.finished_at,
    }
}

/// The end of the container's message file, or of its log.
fn termination_message(file: &Path, log: Option<&Path>) -> String {
    let message = tail(file, MESSAGE_MAX);
    match log {
        Some(log) if message.is_empty() => {
            // Prefixes make lines in the file longer than what they say.
            let text = tail(log, LOG_TAIL_BYTES * 4);
            let lines: Vec<&str> = text.lines().filter_map(log_text).collect();
            let kept = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
            let mut start = kept.len().saturating_sub(LOG_TAIL_BYTES);
            while !kept.is_char_boundary(start) {
                start += 1;
            }
            let mut kept = kept[start..].to_owned();
            if !kept.is_empty() {
                kept.push('\n');
            }
            kept
        }
        _ => message,
    }
}

/// `time stream tag text` to the text.
fn log_text(line: &str) -> Option<&str> {
    line.splitn(4, ' ').nth(3)
}

fn tail(path: &Path, most: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most as u64)))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// A container that is to be stopped.
pub(crate) struct Stop {
    pub(crate) shared: Handle,
    pub(crate) pod: Arc<Pod>,
    pub(crate) spec: Container,
    pub(crate) field_path: String,
    pub(crate) container: Run,
    pub(crate) pod_ip: String,
    pub(crate) grace: Duration,
}

/// Runs the `preStop` hook, asks the container to end, and makes it end when the grace is over.
pub(crate) async fn stop(stop: Stop) -> Done {
    let begun = Instant::now();
    let hook = stop
        .spec
        .lifecycle
        .as_ref()
        .and_then(|l| l.pre_stop.as_ref());
    if let Some(handler) = hook.filter(|_| !stop.grace.is_zero()) {
        let run = hooks::run(handler, &stop.spec, &stop.container, &stop.pod_ip);
        // A container that ends during its hook needs no more of it.
        let result = tokio::select! {
            result = tokio::time::timeout(stop.grace, run) => result.unwrap_or(Ok(())),
            _ = stop.container.wait() => Ok(()),
        };
        if let Err(message) = result {
            stop.shared.event(
                &stop.pod,
                Some(&stop.field_path),
                true,
                "FailedPreStopHook",
                format!("PreStopHook failed: {message}"),
            );
        }
    }
    let left = if hook.is_some() {
        stop.grace.saturating_sub(begun.elapsed()).max(AFTER_HOOK)
    } else {
        stop.grace
    };
    if let Err(error) = stop.container.stop(left).await {
        tracing::warn!(
            container = stop.container.id(),
            error = chain(&error),
            "stopping a container"
        );
    }
    Done::Nothing
}

/// Ends containers at once, when the time that is left has been cut short.
pub(crate) async fn kill_after(containers: Vec<Run>, grace: Duration) -> Done {
    tokio::time::sleep(grace).await;
    for container in containers {
        if let Err(error) = container.kill(nix::libc::SIGKILL).await {
            tracing::debug!(
                container = container.id(),
                error = chain(&error),
                "killing a container"
            );
        }
    }
    Done::Nothing
}

/// Removes a sandbox, its network, and the pod's volumes; tries until it is done.
pub(crate) async fn tear_down(
    shared: Handle,
    sandbox: Option<Sandbox>,
    sandbox_id: Option<String>,
    volumes_dir: PathBuf,
) -> Done {
    let mut delay = Duration::from_millis(200);
    loop {
        match remove(
            &shared,
            sandbox.as_ref(),
            sandbox_id.as_deref(),
            Some(&volumes_dir),
        )
        .await
        {
            Ok(()) => return Done::TornDown,
            Err(error) => tracing::warn!(sandbox = sandbox_id, error, "removing a pod"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(30));
    }
}

/// One attempt to remove what is there.
pub(crate) async fn remove(
    shared: &Handle,
    sandbox: Option<&Sandbox>,
    sandbox_id: Option<&str>,
    volumes_dir: Option<&Path>,
) -> Result<(), String> {
    if let Some(sandbox) = sandbox {
        match sandbox.remove().await {
            Ok(()) | Err(consort_runtime::Error::NotFound { .. }) => {}
            Err(error) => return Err(chain(&error)),
        }
    }
    if let Some(id) = sandbox_id {
        shared
            .network
            .detach(id)
            .await
            .map_err(|error| chain(&error))?;
    }
    if let Some(dir) = volumes_dir {
        let dir = dir.to_owned();
        tokio::task::spawn_blocking(move || volumes::remove_tree(&dir))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("removing volumes: {error}"))?;
    }
    Ok(())
}

/// Removes runs of a container that nobody can ask for any more: all but the two newest.
pub(crate) async fn prune(sandbox: Sandbox, name: String, attempt: u32, dir: PathBuf) -> Done {
    let Some(oldest) = attempt.checked_sub(1) else {
        return Done::Nothing;
    };
    for container in sandbox.containers().unwrap_or_default() {
        let found = &container.spec().labels;
        let of_attempt = found
            .get(labels::ATTEMPT)
            .and_then(|a| a.parse::<u32>().ok());
        if found.get(labels::CONTAINER) == Some(&name)
            && of_attempt.is_some_and(|a| a < oldest)
            && let Err(error) = container.remove().await
        {
            tracing::warn!(
                container = container.id(),
                error = chain(&error),
                "removing an old container"
            );
        }
    }
    let logs = dir.join("logs").join(&name);
    let messages = dir.join("containers").join(&name);
    let removed = tokio::task::spawn_blocking(move || {
        for dir in [logs, messages] {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let of_attempt = name
                    .to_str()
                    .and_then(|n| n.split('.').next()?.parse::<u32>().ok());
                if of_attempt.is_some_and(|a| a < oldest) {
                    // It is looked at again at the next start.
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    });
    let _ = removed.await;
    Done::Nothing
}

/// Writes a status.
pub(crate) async fn write_status(
    api: Api<Pod>,
    name: String,
    patch: serde_json::Value,
    delay: Duration,
) -> Done {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let result = api
        .patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch))
        .await;
    Done::StatusWritten(match result {
        Ok(pod) => Ok(Box::new(pod)),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(WriteError::Gone),
        // The uid in the patch is not the one that is there: another pod has taken the name.
        Err(kube::Error::Api(status)) if status.code == 409 && status.message.contains("uid") => {
            Err(WriteError::Gone)
        }
        Err(error) => Err(WriteError::Retry(chain(&error))),
    })
}

/// Deletes the pod's object for good, if it is still the same pod.
pub(crate) async fn delete_object(
    api: Api<Pod>,
    name: String,
    uid: String,
    delay: Duration,
) -> Done {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(uid),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    Done::ObjectDeleted(match api.delete(&name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(chain(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_comes_from_its_file_or_else_from_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (file, log) = (dir.path().join("m"), dir.path().join("l"));
        std::fs::write(
            &log,
            "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two words\n",
        )
        .unwrap();
        assert_eq!(termination_message(&file, None), "");
        assert_eq!(termination_message(&file, Some(&log)), "one\ntwo words\n");
        std::fs::write(&file, "said").unwrap();
        assert_eq!(termination_message(&file, Some(&log)), "said");
        std::fs::write(&file, "x".repeat(10_000)).unwrap();
        assert_eq!(termination_message(&file, None).len(), MESSAGE_MAX);
        std::fs::write(&file, "").unwrap();
        let long = (0..500).fold(String::new(), |all, i| {
            all + &format!("t stdout F line {i}\n")
        });
        std::fs::write(&log, long).unwrap();
        let message = termination_message(&file, Some(&log));
        assert!(
            message.ends_with("line 499\n") && message.lines().count() <= LOG_TAIL_LINES,
            "{message}"
        );
        assert!(message.len() <= LOG_TAIL_BYTES + 1);
    }
}
