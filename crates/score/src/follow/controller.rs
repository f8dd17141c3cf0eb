//! The controller: looks at a score, decides, and does one thing about it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consort_plan::{Blueprint, Mode, Operation, Phase, Source};
use consort_reconcile::{Action, EventKind, Informer, Key, ObjectRef, Recorder};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::causes;
use super::conditions::{self, State};
use super::decide::{Facts, Hold, Next, Target, Waiting, Why, base, decide, heal_of};
use super::engine::{Ended, Engine, Fault, Files, Id, Made, Said, Standing, Want};
use super::memory::Memories;
use super::object::{
    CommitStatus, Failure, GitSpec, SYNC_REQUESTED_BY, Score, SourceSpec, Spec, Status, SyncMode,
    Synced, WaitingStatus, short,
};
use super::watch::{Kind, Watches};
use crate::deeds;
use crate::git::{Place, Poller, Repositories, Resolved, Seen, Tree};

/// So many plans are made at once: they take processor time.
const PLANS: usize = 4;
/// How soon a score is looked at again that could not be looked at because somebody walked.
const BUSY: Duration = Duration::from_secs(5);
/// How often it is looked whether a walk is overtaken.
const OVERTAKEN: Duration = Duration::from_secs(1);
/// Under which name the status is written.
const MANAGER: &str = "consort-follow";

/// All the controller works with.
pub(super) struct Shell {
    pub(super) client: Client,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) repositories: Arc<Repositories>,
    pub(super) poller: Arc<Poller<Key>>,
    pub(super) scores: Informer<Score>,
    pub(super) watches: Arc<Watches>,
    pub(super) memories: Arc<Memories>,
    pub(super) recorder: Recorder,
    pub(super) plans: Semaphore,
    pub(super) cancel: CancellationToken,
}

/// One look at one score.
struct Look<'a> {
    shell: &'a Shell,
    key: &'a Key,
    id: Id,
    score: &'a Score,
    spec: Spec,
    status: Status,
}

impl Shell {
    pub(super) fn places() -> Semaphore {
        Semaphore::new(PLANS)
    }

    /// Looks at a score and does what is to be done.
    pub(super) async fn look(&self, key: &Key) -> Result<Action, Fault> {
        let Some(score) = self.score(key) else {
            self.poller.forget(key);
            self.memories.forget(key);
            return Ok(Action::Done);
        };
        if score.metadata.deletion_timestamp.is_some() {
            self.poller.forget(key);
            return Ok(Action::Done);
        }
        let mut status = score.status.clone().unwrap_or_default();
        status.observed_generation = score.metadata.generation.unwrap_or_default();
        let spec = match score.spec() {
            Ok(spec) => spec,
            Err(error) => {
                self.poller.forget(key);
                let said = error.to_string();
                conditions::set(&mut status, "Synced", State::False, "InvalidSpec", &said);
                self.write(&score, &status).await?;
                return Ok(Action::Done);
            }
        };
        let mut look = Look {
            shell: self,
            key,
            id: Id {
                namespace: key.namespace().to_owned(),
                name: key.name.clone(),
            },
            score: &score,
            spec,
            status,
        };
        let action = look.act().await;
        if let Err(fault) = &action {
            let said = fault.to_string();
            conditions::set(&mut look.status, "Synced", State::Unknown, "Error", &said);
        }
        look.health();
        let status = look.status;
        self.write(&score, &status).await?;
        action
    }

    /// A score, as it is known to be by now.
    fn score(&self, key: &Key) -> Option<Arc<Score>> {
        let score = self.scores.by_key(key)?;
        Some(match self.memories.written_since(key, &score) {
            Some(status) => {
                let mut present = (*score).clone();
                present.status = Some(status);
                Arc::new(present)
            }
            None => score,
        })
    }

    /// Writes a status if it is another.
    async fn write(&self, score: &Score, status: &Status) -> Result<(), Fault> {
        if score.status.as_ref() == Some(status) {
            return Ok(());
        }
        let mut value = serde_json::to_value(status).unwrap_or_default();
        // What is gone has to be said to be gone.
        for field in ["commit", "synced", "waiting", "handled", "failure"] {
            if value.get(field).is_none() {
                value[field] = Value::Null;
            }
        }
        for (field, parts) in [
            ("commit", &["author", "time", "subject"][..]),
            ("waiting", &["denied"]),
        ] {
            if let Some(Value::Object(whole)) = value.get_mut(field) {
                for part in parts {
                    whole.entry(*part).or_insert(Value::Null);
                }
            }
        }
        let scores: Api<Score> = Api::namespaced(self.client.clone(), score.namespace());
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": {"uid": score.metadata.uid}, "status": value}));
        match scores.patch_status(score.name(), &params, &patch).await {
            Ok(written) => {
                self.memories.wrote(&Key::of(&written), written);
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(Fault::Records(format!(
                "writing the status of score {}: {error}",
                score.name()
            ))),
        }
    }
}

impl Look<'_> {
    async fn act(&mut self) -> Result<Action, Fault> {
        if self.spec.suspend {
            self.shell.poller.forget(self.key);
            let said = "it is suspended: nothing is fetched, synced or healed";
            self.synced(State::Unknown, "Suspended", said);
            return Ok(Action::Done);
        }
        let resolved = self.follow();
        if let Some(request) = self.score.request().map(str::to_owned) {
            if self.git().is_none() {
                // There is nothing newer than what was applied: it is compared with the world.
                self.shell.memories.touch(self.key, None);
                self.status.handled = Some(request);
            } else if self.shell.memories.is_first(self.key, &request) {
                // Who asks means what is there now, not what was there at the last poll.
                self.shell.poller.look(self.key, true);
            }
            if self.shell.poller.is_awaited(self.key) {
                return Ok(self.later(None));
            }
        }
        let standing = self.shell.engine.standing(&self.id).await?;
        self.status.revision = standing
            .latest
            .as_ref()
            .map_or(0, |operation| operation.revision);
        let waiting = self.waiting().await?;
        let next = self.decide(&standing, resolved.as_ref(), waiting.as_ref());
        tracing::debug!(score = self.id.name, ?next, "decided");
        match next {
            Next::Rest => {
                self.rest(&standing, resolved.as_ref());
                Ok(self.later(None))
            }
            Next::Hold(held) => Ok(self.hold(&held)),
            Next::Sync { manual } => match resolved {
                Some(resolved) => {
                    let action = self.sync(&resolved, &standing, manual).await;
                    if action.is_ok() {
                        self.handle_request();
                    }
                    action
                }
                None => Ok(Action::Done),
            },
            Next::Heal { correct } => match &standing.latest {
                Some(latest) => self.heal(latest, correct).await,
                None => Ok(Action::Done),
            },
            Next::CarryOut {
                blueprint,
                what,
                by,
            } => self.carry_out(&blueprint, &what, &by).await,
            Next::Resume => match &standing.latest {
                Some(latest) => self.resume(latest.revision).await,
                None => Ok(Action::Done),
            },
        }
    }

    fn decide(
        &self,
        standing: &Standing,
        resolved: Option<&Resolved>,
        waiting: Option<&Waiting>,
    ) -> Next {
        let now = Timestamp::now();
        let source = self.source();
        decide(&Facts {
            now,
            spec: &self.spec,
            target: resolved.map(|resolved| Target {
                resolved,
                source: &source,
            }),
            request: self.score.request().is_some() && self.git().is_some(),
            latest: standing.latest.as_ref(),
            walked: standing.walked,
            own: standing
                .latest
                .as_ref()
                .is_some_and(|operation| operation.author == self.shell.engine.author()),
            synced: self.status.synced.as_ref(),
            failure: self.status.failure.as_ref(),
            waiting,
            dirty: self.shell.memories.is_dirty(self.key),
            fresh: self.shell.memories.is_fresh(self.key),
            heal_after: self.shell.memories.heal_after(self.key, now),
        })
    }

    fn git(&self) -> Option<&GitSpec> {
        match &self.spec.source {
            Some(SourceSpec::Git(git)) => Some(git),
            _ => None,
        }
    }

    fn place(&self, git: &GitSpec) -> Place {
        Place {
            remote: git.url.clone(),
            namespace: self.id.namespace.clone(),
            secret: git.credentials.clone(),
        }
    }

    /// Repository and path, as a word for what was carried out.
    fn source(&self) -> String {
        match self.git() {
            Some(git) if git.path.is_empty() => git.url.to_string(),
            Some(git) => format!("{}//{}", git.url, git.path.trim_matches('/')),
            None => String::new(),
        }
    }

    /// Follows the repository, and says what it is at.
    fn follow(&mut self) -> Option<Resolved> {
        let Some(git) = self.git().cloned() else {
            self.shell.poller.forget(self.key);
            conditions::clear(&mut self.status, "Fetched");
            self.status.commit = None;
            self.status.source = match &self.spec.source {
                Some(SourceSpec::Directory(directory)) => directory.path.clone(),
                _ => String::new(),
            };
            return None;
        };
        self.status.source = format!("{}@{}", self.source(), git.reference);
        let place = self.place(&git);
        let seen = self
            .shell
            .poller
            .follow(self.key, &place, &git.reference, git.interval.0);
        match seen {
            Seen::NotYet => {
                if !self.has("Fetched") {
                    let said = format!("{} is being asked", git.url);
                    conditions::set(&mut self.status, "Fetched", State::Unknown, "Asking", &said);
                }
                None
            }
            Seen::At(resolved) => {
                let known = self.status.commit.take();
                self.status.commit = Some(
                    known
                        .filter(|commit| commit.id == resolved.commit)
                        .unwrap_or_else(|| CommitStatus::of_id(&resolved.commit)),
                );
                let said = format!("{} is at {}", git.reference, short(&resolved.commit));
                conditions::set(&mut self.status, "Fetched", State::True, "Fetched", &said);
                Some(resolved)
            }
            Seen::Unknown(error) => {
                conditions::set(
                    &mut self.status,
                    "Fetched",
                    State::False,
                    error.reason(),
                    &error.to_string(),
                );
                // A person who asked is told; what is tried again is the question.
                if !self.shell.poller.is_awaited(self.key) {
                    self.handle_request();
                }
                None
            }
        }
    }

    /// The request for a sync was tried.
    fn handle_request(&mut self) {
        if let Some(request) = self.score.request() {
            self.status.handled = Some(request.to_owned());
        }
    }

    /// The blueprint that waits, with what was said to it.
    async fn waiting(&mut self) -> Result<Option<Waiting>, Fault> {
        let Some(waiting) = self.status.waiting.clone() else {
            return Ok(None);
        };
        let why = match &waiting.denied {
            Some(said) => Why::Denied(said.clone()),
            None => match self.shell.engine.said(&self.id, &waiting.blueprint).await? {
                Said::Nothing => Why::Approval,
                Said::Approved(by) => Why::Approved(by),
                Said::Rejected(said) => Why::Rejected(said),
            },
        };
        Ok(Some(Waiting {
            blueprint: waiting.blueprint,
            what: waiting.what,
            why,
        }))
    }

    /// Says how the objects of the score do.
    fn health(&mut self) {
        if self.status.revision == 0 {
            conditions::clear(&mut self.status, "Healthy");
            return;
        }
        let health = self.shell.watches.health(&self.id.name);
        let told = |objects: &[String]| match objects {
            [] => String::new(),
            [one] => one.clone(),
            [one, more @ ..] => format!("{one} (and {} more)", more.len()),
        };
        let (state, reason, said) = if !health.failed.is_empty() {
            (State::False, "Degraded", told(&health.failed))
        } else if !health.waiting.is_empty() {
            (State::Unknown, "Progressing", told(&health.waiting))
        } else {
            let said = format!("{} objects do well", health.objects);
            (State::True, "Healthy", said)
        };
        conditions::set(&mut self.status, "Healthy", state, reason, &said);
    }

    fn has(&self, kind: &str) -> bool {
        self.status
            .conditions
            .iter()
            .any(|condition| condition.type_ == kind)
    }

    fn synced(&mut self, state: State, reason: &str, message: &str) {
        conditions::set(&mut self.status, "Synced", state, reason, message);
    }

    /// All is well, as far as is known.
    fn rest(&mut self, standing: &Standing, resolved: Option<&Resolved>) {
        match (&standing.latest, resolved) {
            (Some(latest), Some(resolved)) => {
                let said = format!(
                    "revision {} is {}",
                    latest.revision,
                    short(&resolved.commit)
                );
                self.synced(State::True, "Synced", &said);
            }
            (Some(latest), None) if self.git().is_none() => match latest.mode {
                Mode::Destroy => self.synced(State::True, "Destroyed", "all of it is gone"),
                _ => {
                    let said = format!("it is kept as revision {} left it", latest.revision);
                    self.synced(State::True, "Synced", &said);
                }
            },
            // The repository cannot be asked: what was found before stands.
            (Some(_), None) => {}
            (None, _) => {
                self.synced(State::Unknown, "NothingApplied", "nothing was applied yet");
            }
        }
    }

    fn hold(&mut self, held: &Hold) -> Action {
        let state = match &*held.reason {
            "Progressing" => State::Unknown,
            _ => State::False,
        };
        self.synced(state, &held.reason, &held.message);
        if matches!(&*held.reason, "OutsideWindow" | "InvalidWindow") {
            // What a window refuses to a person does not happen by itself when it opens.
            self.handle_request();
        }
        self.later(held.look)
    }

    /// When to look again without an event.
    fn later(&self, look: Option<Duration>) -> Action {
        let compare = self.shell.memories.until_compare(self.key);
        match look.into_iter().chain(compare).min() {
            Some(time) => Action::After(time.max(Duration::from_millis(100))),
            None => Action::Done,
        }
    }

    fn note(&self, kind: EventKind, reason: &str, message: &str) {
        let about = ObjectRef::of(self.score);
        self.shell.recorder.event(&about, kind, reason, message);
    }

    /// Plans the commit and carries it out.
    async fn sync(
        &mut self,
        resolved: &Resolved,
        standing: &Standing,
        manual: bool,
    ) -> Result<Action, Fault> {
        let Some(git) = self.git().cloned() else {
            return Ok(Action::Done);
        };
        let what = resolved.commit.clone();
        let said = format!("{} is being carried out", short(&what));
        self.synced(State::Unknown, "Progressing", &said);
        let status = self.status.clone();
        self.shell.write(self.score, &status).await?;
        let fetched = self.fetch(&git, resolved).await;
        let (directory, source, _tree) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                let (reason, said) = (error.reason(), error.to_string());
                conditions::set(&mut self.status, "Fetched", State::False, reason, &said);
                return Ok(self.failed(&what, reason, &said));
            }
        };
        // What is found dirty from now on is dirty with respect to this commit.
        let dirt = self.shell.memories.take(self.key);
        let cause = self.commit_cause(manual);
        let made = self
            .plan(Want {
                score: self.id.clone(),
                files: Files::Directory(directory),
                source,
                mode: Mode::Apply,
                only: None,
                prune: self.spec.sync.prune,
                cancel: self.shell.cancel.clone(),
            })
            .await;
        let made = match made {
            Ok(made) => made,
            Err(fault) => {
                self.shell.memories.put_back(self.key, dirt);
                return self.fault(&what, fault);
            }
        };
        self.learn(&made.blueprint).await;
        let good = standing
            .latest
            .as_ref()
            .is_some_and(|operation| operation.phase == Phase::Succeeded);
        if made.blueprint.is_empty() && !made.blueprint.is_denied() && good {
            self.reached(&what, self.status.revision);
            let said = format!("{} changes nothing", short(&what));
            self.synced(State::True, "Synced", &said);
            return Ok(self.later(None));
        }
        if let Some(action) = self.keep_waiting(&made, &what).await? {
            return Ok(action);
        }
        self.walk(made, &what, cause).await
    }

    /// The commit's tree, and where it is from for the record.
    async fn fetch(
        &mut self,
        git: &GitSpec,
        resolved: &Resolved,
    ) -> Result<(PathBuf, Source, Tree), crate::git::Error> {
        let shell = self.shell;
        let credentials = (shell.poller.opens())(self.place(git)).await?;
        let tree = shell
            .repositories
            .tree(&git.url, &credentials, resolved, &shell.cancel)
            .await?;
        self.status.commit = Some(CommitStatus::from(&tree.commit));
        let mut said = format!(
            "{} is at {} by {}: {}",
            git.reference,
            short(&tree.commit.id),
            tree.commit.author,
            tree.commit.subject
        );
        if !tree.submodules.is_empty() {
            let names = tree.submodules.join(", ");
            said.push_str(&format!(" (submodules are not fetched: {names})"));
        }
        conditions::set(&mut self.status, "Fetched", State::True, "Fetched", &said);
        let directory = tree.at(&git.path)?;
        let source = Source::Git {
            url: git.url.to_string(),
            reference: git.reference.to_string(),
            path: git.path.trim_matches('/').to_owned(),
            commit: tree.commit.clone(),
        };
        Ok((directory, source, tree))
    }

    fn commit_cause(&self, manual: bool) -> String {
        let commit = self.status.commit.clone().unwrap_or_default();
        let mut cause = format!("commit {}", commit.short);
        if !commit.author.is_empty() {
            cause.push_str(&format!(" by {}: {}", commit.author, commit.subject));
        }
        if manual {
            let by = self.score.annotation(SYNC_REQUESTED_BY);
            cause.push_str(&format!(", sync asked for by {}", by.unwrap_or("somebody")));
        }
        cause
    }

    async fn plan(&self, want: Want) -> Result<Made, Fault> {
        // The semaphore is never closed.
        let _place = self.shell.plans.acquire().await;
        self.shell.engine.plan(want).await
    }

    /// Watches what the score is made of from now on.
    async fn learn(&self, blueprint: &Blueprint) {
        let kinds: BTreeSet<Kind> = blueprint
            .changes
            .iter()
            .filter(|change| deeds::object(change).is_some())
            .filter_map(|change| {
                let (version, kind) = change.kind.rsplit_once('/')?;
                Some((version.to_owned(), kind.to_owned()))
            })
            .collect();
        if !self.shell.watches.cover(&kinds).await {
            // Something may have happened before the watch began.
            self.shell.memories.doubt(self.key);
        }
        let unwatched = blueprint.parts.iter().any(|part| part.layer != "manifests");
        if unwatched {
            let interval = self.spec.sync.drift_interval.0;
            self.shell.memories.compare_in(self.key, interval);
        }
    }

    /// Puts a plan aside that is denied or needs an approval.
    async fn keep_waiting(&mut self, made: &Made, what: &str) -> Result<Option<Action>, Fault> {
        let blueprint = &made.blueprint;
        let denied = blueprint.is_denied().then(|| {
            let mut said: Vec<&str> = blueprint
                .verdicts
                .iter()
                .filter(|verdict| verdict.kind == consort_plan::VerdictKind::Deny)
                .map(|verdict| verdict.message.as_str())
                .collect();
            let more = said.len().saturating_sub(3);
            said.truncate(3);
            let mut text = said.join("; ");
            if more > 0 {
                text.push_str(&format!(" (and {more} more)"));
            }
            text
        });
        if denied.is_none() && !blueprint.blast.needs_approval {
            return Ok(None);
        }
        self.shell.engine.store(&self.id, made).await?;
        let id = made.id.clone();
        let (reason, said) = match &denied {
            Some(said) => ("Denied", format!("blueprint {id} is denied: {said}")),
            None => (
                "AwaitingApproval",
                format!(
                    "blueprint {id} has {} points, more than {} or a policy asks for it: `consort approve {id}`",
                    blueprint.blast.total, blueprint.blast.threshold
                ),
            ),
        };
        self.status.waiting = Some(WaitingStatus {
            blueprint: id,
            what: what.to_owned(),
            denied,
        });
        self.synced(State::False, reason, &said);
        self.note(EventKind::Warning, reason, &said);
        Ok(Some(self.later(None)))
    }

    /// Carries a plan out and takes in how it went.
    async fn walk(&mut self, made: Made, what: &str, cause: String) -> Result<Action, Fault> {
        let cancel = self.shell.cancel.child_token();
        let work = self
            .shell
            .engine
            .carry_out(&self.id, made, Some(cause), &cancel);
        let done = self.unless_overtaken(what, &cancel, work).await;
        match done {
            Ok(ended) if cancel.is_cancelled() => Ok(self.overtaken(&ended)),
            Ok(ended) => Ok(self.ended(&ended, what)),
            Err(fault) => self.fault(what, fault),
        }
    }

    /// Carries on until the source has moved on, or nobody wants it any more: then what only waits is ended. A commit
    /// that never works must not keep the one away that mends it.
    async fn unless_overtaken<T>(
        &self,
        what: &str,
        cancel: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut looks = tokio::time::interval(OVERTAKEN);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = looks.tick(), if !cancel.is_cancelled() => {
                    if self.is_overtaken(what) {
                        cancel.cancel();
                    }
                }
            }
        }
    }

    fn is_overtaken(&self, what: &str) -> bool {
        let Some(score) = self.shell.score(self.key) else {
            return true;
        };
        let Ok(spec) = score.spec() else {
            return false;
        };
        if spec.suspend {
            return true;
        }
        let Some(SourceSpec::Git(git)) = &spec.source else {
            return false;
        };
        let asked = score
            .request()
            .filter(|asked| Some(*asked) != self.score.request());
        if let Some(asked) = asked
            && self.shell.memories.is_first(self.key, asked)
        {
            self.shell.poller.look(self.key, true);
        }
        if spec.sync.mode == SyncMode::Manual && asked.is_none() {
            return false;
        }
        let present = if what.starts_with("heal of ") {
            self.status
                .synced
                .as_ref()
                .map(|synced| synced.commit.as_str())
        } else {
            Some(what)
        };
        let place = self.place(git);
        let seen = self
            .shell
            .poller
            .follow(self.key, &place, &git.reference, git.interval.0);
        match (seen, present) {
            (Seen::At(resolved), Some(present)) => resolved.commit != present,
            _ => false,
        }
    }

    /// The operation was ended for something newer.
    fn overtaken(&mut self, ended: &Ended) -> Action {
        self.status.revision = ended.operation.revision;
        self.status.waiting = None;
        self.shell.memories.doubt(self.key);
        let said = format!(
            "the operation that makes revision {} was ended early: the source has moved on",
            ended.operation.revision
        );
        self.synced(State::Unknown, "Progressing", &said);
        self.note(EventKind::Normal, "Overtaken", &said);
        self.later(Some(Duration::ZERO))
    }

    /// Takes in how an operation ended.
    fn ended(&mut self, ended: &Ended, what: &str) -> Action {
        let operation = &ended.operation;
        self.status.revision = operation.revision;
        self.status.waiting = None;
        let cause = operation.cause.as_deref().unwrap_or(what);
        if operation.phase == Phase::Succeeded {
            if !what.starts_with("heal of ") {
                self.reached(what, operation.revision);
            }
            self.status.failure = None;
            let said = format!("revision {}: {cause}", operation.revision);
            self.synced(State::True, "Synced", &said);
            let reason = match operation.mode {
                Mode::Heal => "Healed",
                _ => "Synced",
            };
            self.note(EventKind::Normal, reason, &said);
            return self.later(None);
        }
        let mut said = format!(
            "the operation that makes revision {} did not succeed ({} done, {} failed, {} not tried)",
            operation.revision, operation.done, operation.failed, operation.skipped
        );
        if !ended.problems.is_empty() {
            said.push_str(&format!(": {}", Fault::Problems(ended.problems.clone())));
        }
        self.failed(what, "OperationFailed", &said)
    }

    /// The source's commit is what runs.
    fn reached(&mut self, commit: &str, revision: u64) {
        self.status.synced = Some(Synced {
            commit: commit.to_owned(),
            source: self.source(),
            revision,
        });
        self.status.waiting = None;
        self.status.failure = None;
    }

    /// Takes in that something failed; it is tried again after a pause.
    fn failed(&mut self, what: &str, reason: &str, said: &str) -> Action {
        let before = self
            .status
            .failure
            .take()
            .filter(|failure| failure.what == what);
        let times = before.map_or(1, |failure| failure.times + 1);
        self.status.failure = Some(Failure {
            what: what.to_owned(),
            times,
            last: Timestamp::now(),
            reason: reason.to_owned(),
            message: said.to_owned(),
        });
        self.synced(State::False, reason, said);
        self.note(EventKind::Warning, reason, said);
        self.shell.memories.doubt(self.key);
        // The next look finds out how long the pause is.
        self.later(Some(Duration::from_millis(200)))
    }

    fn fault(&mut self, what: &str, fault: Fault) -> Result<Action, Fault> {
        match fault {
            Fault::Problems(_) => {
                let said = fault.to_string();
                Ok(self.failed(what, "PlanFailed", &said))
            }
            // What was planned is planned again, as the world is now.
            Fault::Stale(_) => {
                self.status.waiting = None;
                self.shell.memories.doubt(self.key);
                self.synced(State::Unknown, "Stale", &fault.to_string());
                Ok(self.later(Some(Duration::from_millis(200))))
            }
            Fault::Busy => {
                self.shell.memories.doubt(self.key);
                self.synced(State::Unknown, "Progressing", &fault.to_string());
                Ok(self.later(Some(BUSY)))
            }
            Fault::Records(_) => {
                self.shell.memories.doubt(self.key);
                Err(fault)
            }
        }
    }

    /// Compares with the world what was applied last, and puts back what has drifted.
    async fn heal(&mut self, latest: &Operation, correct: bool) -> Result<Action, Fault> {
        let base = base(latest);
        let what = heal_of(base);
        let dirt = self.shell.memories.take(self.key);
        let planned = self
            .plan(Want {
                score: self.id.clone(),
                files: Files::Snapshot(latest.revision),
                source: Source::Revision { revision: base },
                mode: Mode::Heal,
                only: dirt.only(),
                prune: self.spec.sync.prune,
                cancel: self.shell.cancel.clone(),
            })
            .await;
        let made = match planned {
            Ok(made) => made,
            Err(fault) => {
                self.shell.memories.put_back(self.key, dirt);
                return self.fault(&what, fault);
            }
        };
        self.learn(&made.blueprint).await;
        if made.blueprint.is_empty() {
            if self
                .status
                .waiting
                .as_ref()
                .is_some_and(|it| it.what == what)
            {
                self.status.waiting = None;
            }
            if self
                .status
                .failure
                .as_ref()
                .is_some_and(|it| it.what == what)
            {
                self.status.failure = None;
            }
            conditions::set(
                &mut self.status,
                "Drifted",
                State::False,
                "AsApplied",
                "nothing differs that the source describes",
            );
            // What else is to be done shows at the next look.
            return Ok(self.later(Some(Duration::ZERO)));
        }
        let cause = causes::of(&self.shell.client, &made.blueprint).await;
        conditions::set(&mut self.status, "Drifted", State::True, "Drifted", &cause);
        if !correct {
            return Ok(self.later(None));
        }
        if let Some(action) = self.keep_waiting(&made, &what).await? {
            return Ok(action);
        }
        self.shell.memories.healed(self.key, Timestamp::now());
        let action = self.walk(made, &what, cause).await?;
        if self.status.failure.is_none() {
            let said = "what had drifted was put back";
            conditions::set(&mut self.status, "Drifted", State::False, "Healed", said);
        }
        Ok(action)
    }

    /// Carries out what somebody has approved.
    async fn carry_out(&mut self, blueprint: &str, what: &str, by: &str) -> Result<Action, Fault> {
        let said = format!("blueprint {blueprint}, approved by {by}, is being carried out");
        self.synced(State::Unknown, "Progressing", &said);
        let status = self.status.clone();
        self.shell.write(self.score, &status).await?;
        let cause = if what.starts_with("heal of ") {
            what.to_owned()
        } else {
            self.commit_cause(false)
        };
        let cancel = self.shell.cancel.child_token();
        let work = self
            .shell
            .engine
            .carry_out_stored(&self.id, blueprint, Some(cause), &cancel);
        let done = self.unless_overtaken(what, &cancel, work).await;
        match done {
            Ok(ended) if cancel.is_cancelled() => Ok(self.overtaken(&ended)),
            Ok(ended) => Ok(self.ended(&ended, what)),
            Err(fault) => self.fault(what, fault),
        }
    }

    /// Goes on with an operation of the controller's own that an end of the process interrupted.
    async fn resume(&mut self, revision: u64) -> Result<Action, Fault> {
        let said = format!("the operation that makes revision {revision} goes on");
        self.synced(State::Unknown, "Progressing", &said);
        let done = self
            .shell
            .engine
            .resume(&self.id, revision, &self.shell.cancel)
            .await;
        let what = |operation: &Operation| match &operation.source {
            Source::Git { commit, .. } => commit.id.clone(),
            _ => heal_of(base(operation)),
        };
        match done {
            Ok(ended) => {
                let what = what(&ended.operation);
                Ok(self.ended(&ended, &what))
            }
            Err(fault) => self.fault(&format!("operation {revision}"), fault),
        }
    }
}
