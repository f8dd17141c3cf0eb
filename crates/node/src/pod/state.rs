//! What the agent knows about one pod: plain values that the decision and the status are made from.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStatus, EphemeralContainer, Pod, PodSpec,
};

use super::backoff::Backoff;

/// Exit code and reason of a container that is no longer there and left no record.
const LOST_EXIT_CODE: i32 = 137;
const LOST_REASON: &str = "ContainerStatusUnknown";
const LOST_MESSAGE: &str = "The container could not be located when the pod was looked for again.  \
                            The container used to be Running";

/// The part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// Added to a running pod for looking around.
    Ephemeral,
}

impl Role {
    /// The word written into labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::Main => "main",
            Self::Ephemeral => "ephemeral",
        }
    }

    /// The field path of a container in events.
    pub(crate) fn field_path(self, name: &str) -> String {
        match self {
            Self::Init | Self::Sidecar => format!("spec.initContainers{{{name}}}"),
            Self::Main => format!("spec.containers{{{name}}}"),
            Self::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        }
    }
}

/// All containers of a pod with their roles, in the order of the spec: init, main, ephemeral.
pub(crate) fn containers(spec: &PodSpec) -> Vec<(Role, Container)> {
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .map(|c| (init_role(c), c.clone()));
    let main = spec.containers.iter().map(|c| (Role::Main, c.clone()));
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(|c| (Role::Ephemeral, plain(c)));
    init.chain(main).chain(ephemeral).collect()
}

/// Whether an init container runs to its end or beside the others.
pub(crate) fn init_role(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") {
        Role::Sidecar
    } else {
        Role::Init
    }
}

/// An ephemeral container has the same fields as any other.
fn plain(c: &EphemeralContainer) -> Container {
    let c = c.clone();
    Container {
        args: c.args,
        command: c.command,
        env: c.env,
        env_from: c.env_from,
        image: c.image,
        image_pull_policy: c.image_pull_policy,
        name: c.name,
        security_context: c.security_context,
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path,
        termination_message_policy: c.termination_message_policy,
        tty: c.tty,
        volume_mounts: c.volume_mounts,
        working_dir: c.working_dir,
        ..Container::default()
    }
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, ...
    pub(crate) reason: String,
    pub(crate) message: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
}

/// Why a container could not be started, in the API's words, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `ErrImagePull`, `CreateContainerConfigError`, ...
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
    pub(crate) retry_at: Timestamp,
    /// Missing ConfigMaps and the like: try again as soon as one of them changes.
    pub(crate) until_sources_change: bool,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) id: String,
    pub(crate) started_at: Timestamp,
    /// The `postStart` hook has returned (or there is none).
    pub(crate) post_started: bool,
    /// The startup probe has passed (or there is none).
    pub(crate) started: bool,
    /// The readiness probe passes (or there is none).
    pub(crate) ready: bool,
    /// It is being stopped.
    pub(crate) stopping: bool,
    /// It has to be stopped and started again, and this is why.
    pub(crate) unhealthy: Option<Unhealthy>,
}

/// Why a running container has to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unhealthy {
    /// For the `Killing` event.
    pub(crate) message: String,
    /// Seconds of grace, where the probe says so.
    pub(crate) grace: Option<i64>,
}

/// Where a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started in this sandbox.
    #[default]
    Waiting,
    /// An operation to start it is under way; the run before it ended so.
    Starting(Option<Ended>),
    /// It runs.
    Running(Running),
    /// It has ended.
    Ended(Ended),
}

/// What is known about one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Number of restarts so far: the attempt that `phase` speaks of.
    pub(crate) restarts: u32,
    /// Whether any attempt has ever been made.
    pub(crate) attempted: bool,
    pub(crate) phase: Phase,
    /// The last failure to start, until a start succeeds.
    pub(crate) failure: Option<Failure>,
    /// How the run before this one ended.
    pub(crate) last: Option<Ended>,
    pub(crate) backoff: Backoff,
    /// Restarts and failures of pulls are counted apart.
    pub(crate) pull_backoff: Backoff,
    /// The digest of the image, once known.
    pub(crate) image_id: String,
    /// Resolved at the first start: the name to show and the stop signal.
    pub(crate) image: String,
}

impl Known {
    /// The run in progress.
    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// The run in progress, to be changed.
    pub(crate) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// How the last finished run ended, if none is in progress.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.phase {
            Phase::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// What the API remembers about a container of which nothing is left on this machine.
    pub(crate) fn from_api(status: &ContainerStatus, now: Timestamp) -> Self {
        let ended = |state: &ContainerState| {
            state.terminated.as_ref().map(|t| Ended {
                id: strip_scheme(t.container_id.as_deref().unwrap_or_default()),
                code: t.exit_code,
                signal: t.signal.filter(|s| *s != 0),
                reason: t.reason.clone().unwrap_or_default(),
                message: t.message.clone(),
                started_at: t.started_at.as_ref().map(|t| t.0),
                finished_at: t.finished_at.as_ref().map_or(now, |t| t.0),
            })
        };
        let last = status.last_state.as_ref().and_then(ended);
        let state = status.state.clone().unwrap_or_default();
        let lost = |started_at| Ended {
            id: strip_scheme(status.container_id.as_deref().unwrap_or_default()),
            code: LOST_EXIT_CODE,
            signal: None,
            reason: LOST_REASON.to_owned(),
            message: Some(LOST_MESSAGE.to_owned()),
            started_at,
            finished_at: now,
        };
        let (phase, last) = if let Some(running) = &state.running {
            (
                Phase::Ended(lost(running.started_at.as_ref().map(|t| t.0))),
                last,
            )
        } else if let Some(terminated) = ended(&state) {
            (Phase::Ended(terminated), last)
        } else {
            // Waiting to be restarted: the run that counts is the last one.
            match last {
                Some(last) => (Phase::Ended(last), None),
                None => (Phase::Waiting, None),
            }
        };
        Self {
            restarts: u32::try_from(status.restart_count).unwrap_or(0),
            attempted: matches!(phase, Phase::Ended(_)),
            phase,
            last,
            image_id: status.image_id.clone(),
            image: status.image.clone(),
            ..Self::default()
        }
    }
}

/// `consort://id` to `id`.
fn strip_scheme(id: &str) -> String {
    id.split_once("://").map_or(id, |(_, id)| id).to_owned()
}

/// An operation of the whole pod that can fail and is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Has to be done.
    #[default]
    Pending,
    /// Under way.
    Busy,
    /// Done.
    Ready,
    /// Failed; to be tried again then.
    Failed { retry_at: Timestamp },
}

/// Why a pod has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its object is marked for deletion.
    Deleted,
    /// Its object is gone already.
    Gone,
    /// The node refused it or its deadline has passed: it has failed for this reason.
    Failed {
        /// `DeadlineExceeded`, `OutOfcpu`, ...
        reason: String,
        /// For people.
        message: String,
    },
    /// It ran its course before this agent came: nothing is to be written, only things to be removed.
    Settled,
    /// The node stops; the pod is to be started again later.
    NodeStops,
}

/// Everything known about a pod beyond its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situation {
    pub(crate) sandbox: Stage,
    /// The sandbox is there but its shim has died.
    pub(crate) sandbox_dead: bool,
    pub(crate) volumes: Stage,
    /// An operation on the volumes is under way, the first one or an update: two at once would take away
    /// each other's files.
    pub(crate) mounting: bool,
    pub(crate) containers: BTreeMap<String, Known>,
    /// All init containers have run to their end in this sandbox.
    pub(crate) initialised: bool,
    pub(crate) end: Option<End>,
    /// The end of the node came while the pod had not done all it was to do.
    pub(crate) cut_short: bool,
    /// Seconds that containers get to end, once the pod has to.
    pub(crate) grace_seconds: i64,
    /// The status that says how the pod ended is stored.
    pub(crate) final_status_stored: bool,
    /// Sandbox, network and volumes are gone again.
    pub(crate) torn_down: bool,
    /// The teardown is under way.
    pub(crate) tearing_down: bool,
}

impl Situation {
    /// The container of that name; unknown ones are waiting.
    pub(crate) fn container(&self, name: &str) -> std::borrow::Cow<'_, Known> {
        self.containers.get(name).map_or_else(
            || std::borrow::Cow::Owned(Known::default()),
            std::borrow::Cow::Borrowed,
        )
    }
}

/// The name of a pod as events and messages write it: `name_namespace(uid)`.
pub(crate) fn full_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!(
        "{}_{}({})",
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default()
    )
}
