//! A node's part: carries out the playbooks that are for it, one at a time.

mod follow;
mod run;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use consort_git::{Credentials, Place, Poller, Repositories, Resolved, Seen};
use consort_reconcile::{
    Action, Controller, Event, Hub, Informer, Key, ObjectRef, Queue, Recorder, State,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::decide::{Facts, Next, decide};
use crate::inputs::Inputs;
use crate::object::{Entry, GROUP, GitSource, Playbook, Source, Spec, VERSION};
use crate::source::{Fault, Version, hex};
use crate::tell::Note;
use follow::Follow;

/// So many playbooks are looked at once. One of them runs.
const LOOKS: usize = 4;
/// What cannot be had is looked at again after this, whatever is told of it.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// How a node carries out playbooks.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name.
    pub node: String,
    /// Directory for copies of repositories, files and logs. Made if it is missing.
    pub data_dir: PathBuf,
    /// The program that runs a playbook in a process of its own: this one, if it asks
    /// [`consort_playbook::command::called_to_help`] first of all.
    pub program: PathBuf,
    /// The environment of runs.
    pub environment: BTreeMap<String, String>,
}

/// Why a node carries out no playbooks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory could not be made.
    #[error("making {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The copies of repositories could not be opened.
    #[error("opening the copies of repositories")]
    Repositories(#[source] consort_git::Error),
}

/// Carries out the playbooks that are for a node. It holds no task until it is run.
pub struct Puller {
    shell: Arc<Shell>,
    controller: Controller<Key>,
}

/// All that looks work with.
struct Shell {
    client: Client,
    hub: Hub,
    options: Options,
    playbooks: Informer<Playbook>,
    nodes: Informer<Node>,
    repositories: Arc<Repositories>,
    poller: Poller<Key>,
    recorder: Recorder,
    queue: Queue<Key>,
    follows: Mutex<HashMap<Key, Follow>>,
    known: Mutex<HashMap<Key, Known>>,
    /// Held by the look that runs.
    turn: tokio::sync::Mutex<()>,
    /// Who would have run.
    waiting: Mutex<HashSet<Key>>,
    running: Mutex<Option<(Key, CancellationToken)>>,
    shutdown: CancellationToken,
}

/// What this machine has told, or is to tell.
#[derive(Clone)]
struct Known {
    uid: Option<String>,
    entry: Entry,
    /// Whether the API has it.
    written: bool,
}

impl Puller {
    /// Opens the data directory; starts nothing but watches. `hub` speaks as the node.
    ///
    /// # Errors
    /// When the data directory cannot be used.
    pub fn new(hub: &Hub, options: Options, shutdown: &CancellationToken) -> Result<Self, Error> {
        let make = |path: PathBuf| {
            use std::os::unix::fs::DirBuilderExt as _;
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| Error::Directory { path, source })
        };
        make(options.data_dir.join("logs"))?;
        // What a run that was killed has left.
        let files = options.data_dir.join("files");
        match std::fs::remove_dir_all(&files) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Directory {
                    path: files,
                    source,
                });
            }
            _ => make(files)?,
        }
        let open = || Repositories::open(&options.data_dir.join("git"));
        let repositories = Arc::new(open().map_err(Error::Repositories)?);
        let controller = Controller::<Key>::new("playbooks");
        let client = hub.client();
        let reads = client.clone();
        let opens: consort_git::Opens = Arc::new(move |place: Place| {
            let client = reads.clone();
            Box::pin(async move { credentials(&client, &place).await })
        });
        let selector = format!("metadata.name={}", options.node);
        let shell = Arc::new(Shell {
            playbooks: hub.informer(),
            nodes: hub.informer_where(None, Some(&selector)),
            poller: Poller::new(Arc::clone(&repositories), opens),
            repositories,
            recorder: hub.recorder("consort-pull").on_host(&options.node),
            queue: controller.queue(),
            follows: Mutex::default(),
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
            running: Mutex::default(),
            shutdown: shutdown.clone(),
            hub: hub.clone(),
            client,
            options,
        });
        Ok(Self { shell, controller })
    }

    /// Carries out playbooks until its `shutdown`. A run that is under way then is ended.
    pub async fn run(self) {
        let Self { shell, controller } = self;
        let (watched, all) = (Arc::clone(&shell), Arc::clone(&shell));
        let controller = controller
            .queue_on(&shell.playbooks, move |event| watched.changed(event))
            .queue_on(&shell.nodes, move |event| all.of_node(event));
        let (stop, looks) = (CancellationToken::new(), Arc::clone(&shell));
        let work = controller.run(
            LOOKS,
            move |key: Key| {
                let shell = Arc::clone(&looks);
                async move { shell.look(&key).await }
            },
            stop.clone(),
        );
        let moved = shell.queue.clone();
        let polls = shell
            .poller
            .run(move |key| moved.add(key), shell.shutdown.clone());
        let end = async {
            shell.shutdown.cancelled().await;
            // A run that was told to end tells how it ended first.
            drop(shell.turn.lock().await);
            stop.cancel();
        };
        tokio::join!(work, polls, end);
        shell.follows.lock().clear();
    }
}

/// The credentials a place names.
async fn credentials(client: &Client, place: &Place) -> Result<Credentials, consort_git::Error> {
    match &place.secret {
        Some(name) => consort_git::named(client, place, name).await,
        None => Ok(Credentials::default()),
    }
}

impl Shell {
    /// What is to be looked at after a change of a playbook.
    fn changed(&self, event: &Event<Playbook>) -> Option<Key> {
        let key = event.key()?;
        if let Event::Applied { new, .. } = event {
            if new.spec.get("suspend").and_then(serde_json::Value::as_bool) == Some(true) {
                self.stop(&key);
            }
        } else {
            self.stop(&key);
        }
        match event {
            // What nodes write is the status.
            Event::Applied {
                old: Some(old),
                new,
            } if old.spec == new.spec
                && old.metadata.annotations == new.metadata.annotations
                && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp =>
            {
                None
            }
            _ => Some(key),
        }
    }

    /// What is to be looked at after a change of the node.
    fn of_node(&self, event: &Event<Node>) -> Vec<Key> {
        if let Event::Applied {
            old: Some(old),
            new,
        } = event
            && old.metadata.labels == new.metadata.labels
        {
            return Vec::new();
        }
        let all = self.playbooks.list();
        all.iter().map(|playbook| Key::of(&**playbook)).collect()
    }

    /// Ends the run of a playbook, if it is under way: nobody wants it any more.
    fn stop(&self, key: &Key) {
        if let Some((running, token)) = &*self.running.lock()
            && running == key
        {
            token.cancel();
        }
    }

    fn forget(&self, key: &Key) {
        self.stop(key);
        self.poller.forget(key);
        self.follows.lock().remove(key);
        self.known.lock().remove(key);
        self.waiting.lock().remove(key);
    }

    /// Looks at a playbook and does what is to be done.
    async fn look(&self, key: &Key) -> Result<Action, kube::Error> {
        if self.shutdown.is_cancelled() {
            return Ok(Action::Done);
        }
        let Some(playbook) = self.playbooks.by_key(key) else {
            self.forget(key);
            return Ok(Action::Done);
        };
        let Some(node) = self.nodes.get(None, &self.options.node) else {
            // It registers in a moment.
            return Ok(Action::Done);
        };
        if playbook.metadata.deletion_timestamp.is_some() {
            self.forget(key);
            return Ok(Action::Done);
        }
        if !playbook.is_for(node.labels()) {
            let told =
                self.known.lock().contains_key(key) || playbook.entry(&self.options.node).is_some();
            self.forget(key);
            if told {
                self.write(&playbook, None).await?;
            }
            return Ok(Action::Done);
        }
        let mut known = self.known(key, &playbook);
        let before = known.entry.clone();
        let (note, next) = match self.wanted(key, &playbook, &mut known.entry).await {
            Ok(None) => (None, None),
            Ok(Some(wanted)) => {
                let facts = Facts {
                    now: Timestamp::now(),
                    entry: Some(&before),
                    wanted: &wanted.digest,
                    request: playbook.request(),
                    interval: wanted.spec.interval.0,
                    jitter: wanted.spec.jitter(),
                    salt: &format!("{}/{key}", self.options.node),
                };
                match decide(&facts) {
                    Next::At(time) => {
                        known.entry.observed_generation = playbook.generation();
                        known.entry.next = Some(time);
                        (None, Some(time))
                    }
                    Next::Run(why) => {
                        self.run(key, &playbook, node.labels(), wanted, why, &mut known)
                            .await
                    }
                }
            }
            Err(fault) => {
                let note = known.entry.fail(playbook.generation(), &fault);
                // So that it runs as soon as it can.
                known.entry.wanted.clear();
                (note, Some(Timestamp::now() + AGAIN))
            }
        };
        if known.entry != before || !known.written {
            known.written = false;
            self.remember(key, &known);
            if let Some(note) = note {
                self.tell(&playbook, &note);
            }
            self.write(&playbook, Some(&known.entry)).await?;
            known.written = true;
            self.remember(key, &known);
        }
        Ok(match next {
            Some(time) => {
                let pause = time.duration_since(Timestamp::now());
                Action::After(pause.try_into().unwrap_or_default())
            }
            None => Action::Done,
        })
    }

    /// What this machine has told of a playbook.
    fn known(&self, key: &Key, playbook: &Playbook) -> Known {
        let known = self.known.lock();
        if let Some(known) = known.get(key)
            && known.uid == playbook.metadata.uid
        {
            return known.clone();
        }
        let told = playbook.entry(&self.options.node);
        Known {
            uid: playbook.metadata.uid.clone(),
            written: told.is_some(),
            entry: told.cloned().unwrap_or_else(|| Entry {
                name: self.options.node.clone(),
                phase: "Pending".to_owned(),
                ..Entry::default()
            }),
        }
    }

    fn remember(&self, key: &Key, known: &Known) {
        self.known.lock().insert(key.clone(), known.clone());
    }

    /// What is wanted of this machine; nothing while that is not known or not to be.
    async fn wanted(
        &self,
        key: &Key,
        playbook: &Playbook,
        entry: &mut Entry,
    ) -> Result<Option<Wanted>, Fault> {
        let spec = playbook
            .spec()
            .map_err(|error| Fault::new("InvalidSpec", error.to_string()))?;
        if spec.suspend {
            self.poller.forget(key);
            entry.suspend(playbook.generation());
            entry.wanted.clear();
            return Ok(None);
        }
        let sources = self.follow(key, &spec);
        let inputs = Inputs::read(&sources, &spec).await?;
        let version = match &spec.source {
            Source::ConfigMap(map) => {
                self.poller.forget(key);
                let found = sources
                    .config_map(&map.name)
                    .await
                    .map_err(|said| Fault::new("MissingSource", said))?;
                let found = found.ok_or_else(|| {
                    Fault::new(
                        "MissingSource",
                        format!("there is no configmap {}", map.name),
                    )
                })?;
                entry.fetched(Ok(&format!("configmap {} was read", map.name)));
                Version::of_map(&found, map)?
            }
            Source::Git(git) => {
                let place = Place {
                    remote: git.url.clone(),
                    namespace: playbook.namespace().to_owned(),
                    secret: git.credentials.clone(),
                };
                let seen = self
                    .poller
                    .follow(key, &place, &git.reference, git.interval.0);
                match seen {
                    Seen::NotYet => return Ok(None),
                    Seen::At(resolved) => {
                        let commit = &resolved.commit;
                        let short = &commit[..commit.floor_char_boundary(8)];
                        entry.fetched(Ok(&format!("{} is at {short}", git.reference)));
                        Version::Commit(resolved)
                    }
                    Seen::Unknown(error) => {
                        // What was had before is still here: the machine is kept as it says.
                        let last = Version::Commit(Resolved {
                            name: None,
                            commit: entry.digest.clone(),
                        });
                        let same = digest(&spec, &last, &inputs) == entry.wanted;
                        if !same {
                            return Err(Fault::new(error.reason(), error.to_string()));
                        }
                        entry.fetched(Err((error.reason(), &error.to_string())));
                        last
                    }
                }
            }
        };
        Ok(Some(Wanted {
            digest: digest(&spec, &version, &inputs),
            spec,
            inputs,
            version,
        }))
    }

    fn tell(&self, playbook: &Playbook, note: &Note) {
        let object = ObjectRef::of(playbook);
        let message = format!("{}: {}", self.options.node, note.message);
        if note.warning {
            self.recorder.warning(&object, note.reason, message);
        } else {
            self.recorder.normal(&object, note.reason, message);
        }
    }

    /// Writes this machine's entry of the status, or takes it away.
    async fn write(&self, playbook: &Playbook, entry: Option<&Entry>) -> Result<(), kube::Error> {
        let playbooks: Api<Playbook> = Api::namespaced(self.client.clone(), playbook.namespace());
        let status = entry.map_or_else(|| json!({}), |entry| json!({"nodes": [entry]}));
        let patch = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Playbook",
            "metadata": {"name": playbook.name(), "uid": playbook.metadata.uid},
            "status": status,
        });
        let params = PatchParams::apply(&format!("consort-pull-{}", self.options.node)).force();
        match playbooks
            .patch_status(playbook.name(), &params, &Patch::Apply(&patch))
            .await
        {
            // It was deleted, or is another one by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            written => written.map(|_| ()),
        }
    }
}

/// What is wanted of a machine.
struct Wanted {
    spec: Spec,
    inputs: Inputs,
    version: Version,
    /// Of all of it that matters to a run.
    digest: String,
}

/// A digest of all that matters to what a run does.
fn digest(spec: &Spec, version: &Version, inputs: &Inputs) -> String {
    let source = match &spec.source {
        Source::Git(GitSource { url, path, .. }) => json!([url, path]),
        Source::ConfigMap(map) => json!([map.name, map.items]),
    };
    let whole = json!([
        source,
        spec.playbooks,
        spec.groups,
        spec.inventory,
        spec.variables,
        spec.tags,
        spec.skip_tags,
        spec.mode,
        version.digest(),
        inputs.value(),
    ]);
    hex(&Sha256::digest(whole.to_string())[..16])
}

impl Entry {
    /// Whether the source could be had, and what it is at.
    fn fetched(&mut self, how: Result<&str, (&str, &str)>) {
        let (state, reason, message) = match how {
            Ok(message) => (State::True, "Fetched", message),
            Err((reason, message)) => (State::False, reason, message),
        };
        let generation = self.observed_generation;
        consort_reconcile::set_condition(
            &mut self.conditions,
            generation,
            "Fetched",
            state,
            reason,
            message,
        );
    }
}
