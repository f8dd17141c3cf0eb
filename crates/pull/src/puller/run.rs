//! One run.

use std::collections::BTreeMap;
use std::path::Path;

use consort_playbook::pull::{self, Job, Task};
use consort_reconcile::Key;
use jiff::Timestamp;
use serde_json::json;

use super::{Known, Shell, Wanted, credentials};
use crate::decide::{Facts, Why, due};
use crate::object::{Mode, Playbook, Source};
use crate::source::{Fault, Files, Version, check_out, write_out};
use crate::tell::{Note, Ran, now};

impl Shell {
    /// Runs a playbook, if no other runs; gives what to tell, and when the next run is due.
    pub(super) async fn run(
        &self,
        key: &Key,
        playbook: &Playbook,
        labels: &BTreeMap<String, String>,
        wanted: Wanted,
        why: Why,
        known: &mut Known,
    ) -> (Option<Note>, Option<Timestamp>) {
        // In this order: who has the turn wakes those that wait when it gives it back.
        self.waiting.lock().insert(key.clone());
        let Ok(turn) = self.turn.try_lock() else {
            return (None, None);
        };
        self.waiting.lock().remove(key);
        let token = self.shutdown.child_token();
        *self.running.lock() = Some((key.clone(), token.clone()));
        let told = self.run_now(playbook, labels, wanted, why, known, &token);
        let told = told.await;
        *self.running.lock() = None;
        drop(turn);
        for key in std::mem::take(&mut *self.waiting.lock()) {
            self.queue.add(key);
        }
        told
    }

    async fn run_now(
        &self,
        playbook: &Playbook,
        labels: &BTreeMap<String, String>,
        wanted: Wanted,
        why: Why,
        known: &mut Known,
        token: &tokio_util::sync::CancellationToken,
    ) -> (Option<Note>, Option<Timestamp>) {
        let (generation, started) = (playbook.generation(), now());
        if why != Why::Interval {
            // Somebody is likely to look; a run of the timer tells when it is done.
            let mut begun = known.entry.clone();
            begun.begin(generation, started, why);
            // So that a run that was killed is made up for.
            begun.wanted.clear();
            if let Err(error) = self.write(playbook, Some(&begun)).await {
                tracing::debug!(%error, "a run was not told of when it began");
            }
        }
        let files = self.files(playbook, &wanted, token).await;
        let (revision, ended) = match files {
            Ok(files) => {
                let task = self.task(playbook, labels, &wanted, &files.directory);
                let ended = pull::run(&task, token).await;
                (files.revision.clone(), ended.map_err(Fault::from))
            }
            Err(fault) => (String::new(), Err(fault)),
        };
        if token.is_cancelled() {
            // It is not known how far it came: it is made up for when it is wanted again.
            known.entry.wanted.clear();
            known.written = false;
            return (None, None);
        }
        let finished = now();
        let note = known.entry.end(Ran {
            why,
            mode: wanted.spec.mode,
            wanted: &wanted.digest,
            digest: wanted.version.digest(),
            revision: &revision,
            started,
            finished,
            request: playbook.request(),
            generation,
            ended,
        });
        let facts = Facts {
            now: finished,
            entry: None,
            wanted: &wanted.digest,
            request: None,
            interval: wanted.spec.interval.0,
            jitter: wanted.spec.jitter(),
            salt: &format!("{}/{}", self.options.node, Key::of(playbook)),
        };
        let next = due(&facts, finished, known.entry.failures);
        known.entry.next = Some(next);
        (note, Some(next))
    }

    async fn files(
        &self,
        playbook: &Playbook,
        wanted: &Wanted,
        token: &tokio_util::sync::CancellationToken,
    ) -> Result<Files, Fault> {
        match (&wanted.spec.source, &wanted.version) {
            (Source::Git(git), Version::Commit(resolved)) => {
                let place = consort_git::Place {
                    remote: git.url.clone(),
                    namespace: playbook.namespace().to_owned(),
                    secret: git.credentials.clone(),
                };
                let opened = credentials(&self.client, &place).await?;
                check_out(&self.repositories, git, &opened, resolved, token).await
            }
            (_, Version::Files { files, .. }) => {
                // The same for each run: what a play makes of its path does not change by itself.
                let name = format!("{}_{}", playbook.namespace(), playbook.name());
                let (place, files) = (
                    self.options.data_dir.join("files").join(name),
                    files.clone(),
                );
                let failed = |error: &dyn std::fmt::Display| {
                    Fault::new(
                        "FetchFailed",
                        format!("writing the files of the source: {error}"),
                    )
                };
                tokio::task::spawn_blocking(move || write_out(&place, &files))
                    .await
                    .map_err(|error| failed(&error))?
                    .map_err(|error| failed(&error))
            }
            (Source::ConfigMap(_), Version::Commit(_)) => Err(Fault::new(
                "InvalidSource",
                "the source changed while it was read",
            )),
        }
    }

    fn task(
        &self,
        playbook: &Playbook,
        labels: &BTreeMap<String, String>,
        wanted: &Wanted,
        directory: &Path,
    ) -> Task {
        let (node, spec) = (&self.options.node, &wanted.spec);
        let mut values = wanted.inputs.values.clone();
        values.insert("consort_node".to_owned(), json!(node));
        values.insert("consort_node_labels".to_owned(), json!(labels));
        let log = format!("{}_{}.log", playbook.namespace(), playbook.name());
        Task {
            program: self.options.program.clone(),
            job: Job {
                directory: directory.to_owned(),
                environment: self.options.environment.clone(),
                playbooks: spec.playbooks.iter().map(Into::into).collect(),
                host: node.clone(),
                groups: spec.groups.clone(),
                inventory: spec.inventory.iter().map(Into::into).collect(),
                variables: spec.variables.clone(),
                values,
                tags: spec.tags.clone(),
                skip_tags: spec.skip_tags.clone(),
                check: spec.mode == Mode::Check,
                vault: wanted.inputs.vault.clone(),
            },
            lock: self.options.data_dir.join("lock"),
            log: Some(self.options.data_dir.join("logs").join(log)),
            limit: spec.timeout.0,
        }
    }
}

impl From<pull::Error> for Fault {
    fn from(error: pull::Error) -> Self {
        let reason = match &error {
            pull::Error::TimedOut(_) => "TimedOut",
            pull::Error::Cancelled => "Ended",
            pull::Error::Start { .. } | pull::Error::Broken { .. } => "RunBroken",
        };
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Fault::new(reason, message)
    }
}
