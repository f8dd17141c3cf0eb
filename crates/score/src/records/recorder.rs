//! The record of an operation that is under way.

use std::time::{Duration, Instant};

use consort_plan::carry::Carried;
use consort_plan::record::{Record, Unrecorded, lines};
use consort_plan::{Call, Entry, Event, Operation, Phase};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;
use tokio::sync::Mutex;

use super::operation::{name, split};
use super::seal::{What, bytes, pack, post, secret, set_bytes};
use super::{Error, Records, code, is_transient};

/// A chunk of a record is begun anew when it has grown to this. It is written whole with every group, so this bounds what a
/// group costs, whatever the length of the record.
const CHUNK: usize = 96 * 1024;

/// Groups are cut so that each, compressed or not, fits a chunk of its own.
const GROUP: usize = 512 * 1024;

/// What a server or provider said is kept up to so many bytes an entry.
const DETAIL: usize = 64 * 1024;

/// How long writing is tried again when the server does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the object tells how far the operation is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Takes the entries of one operation.
#[derive(Debug)]
pub struct Recorder {
    records: Records,
    operation: Operation,
    owner: OwnerReference,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    /// The number of the chunk that is written.
    number: usize,
    /// It as the server has it; none if it is not there yet.
    chunk: Option<Secret>,
    done: u32,
    told: Instant,
}

impl Recorder {
    pub(super) fn new(records: Records, operation: Operation, owner: OwnerReference) -> Self {
        Self::reopened(records, operation, owner, 0, None)
    }

    pub(super) fn reopened(
        records: Records,
        operation: Operation,
        owner: OwnerReference,
        chunks: usize,
        last: Option<Secret>,
    ) -> Self {
        Recorder {
            records,
            owner,
            tail: Mutex::new(Tail {
                number: chunks.saturating_sub(1),
                chunk: last,
                done: operation.done,
                told: Instant::now(),
            }),
            operation,
        }
    }

    /// The operation as it was begun.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Ends the operation: records how it went, and gives it as it stands in the history.
    pub async fn finish(self, carried: &Carried) -> Result<Operation, Error> {
        let Recorder {
            records,
            mut operation,
            ..
        } = self;
        operation.phase = carried.phase;
        operation.ended = (carried.phase != Phase::Running).then(Timestamp::now);
        operation.done = carried.done;
        operation.failed = carried.failed;
        operation.skipped = carried.skipped;
        let (_, status) = split(&operation);
        let patch = json!({ "status": status });
        records
            .patch_operation(&operation.score, operation.revision, &patch)
            .await?;
        Ok(operation)
    }

    async fn append(&self, mut entries: Vec<Entry>) -> Result<(), Unrecorded> {
        let mut tail = self.tail.lock().await;
        for entry in &mut entries {
            if let Event::Failed { problem } = &mut entry.event {
                shorten(&mut problem.detail);
            }
            tail.done += u32::from(entry.event == Event::Done);
        }
        let mut group = Vec::new();
        for entry in entries {
            let line = lines(std::slice::from_ref(&entry)).map_err(Unrecorded::new)?;
            if !group.is_empty() && group.len() + line.len() > GROUP {
                self.write(&mut tail, std::mem::take(&mut group)).await?;
            }
            group.extend(line);
        }
        self.write(&mut tail, group).await?;
        if tail.told.elapsed() >= TOLD_EVERY {
            tail.told = Instant::now();
            // It is for eyes; the record itself is written.
            let patch = json!({"status": {"phase": Phase::Running, "done": tail.done}});
            let Operation {
                score, revision, ..
            } = &self.operation;
            let told = self.records.patch_operation(score, *revision, &patch).await;
            if let Err(error) = told {
                tracing::debug!(%error, "the state of an operation was not told");
            }
        }
        Ok(())
    }

    async fn write(&self, tail: &mut Tail, group: Vec<u8>) -> Result<(), Unrecorded> {
        let packed = pack(group).await.map_err(Unrecorded::new)?;
        let of = name(&self.operation.score, self.operation.revision);
        let mut content = tail.chunk.clone().map(bytes).unwrap_or_default();
        if !content.is_empty() && content.len() + packed.len() > CHUNK {
            content.clear();
            tail.number += 1;
            tail.chunk = None;
        }
        content.extend(packed);
        let wanted = match tail.chunk.clone() {
            Some(mut chunk) => {
                set_bytes(&mut chunk, content.clone());
                chunk
            }
            None => secret(
                What::Record,
                &of,
                tail.number,
                &self.operation.score,
                self.owner.clone(),
                content.clone(),
            ),
        };
        let secrets = self.records.secrets();
        let chunk = What::Record.chunk(&of, tail.number);
        let began = Instant::now();
        let mut wait = Duration::from_millis(50);
        loop {
            let written = if wanted.metadata.resource_version.is_some() {
                secrets.replace(&chunk, &post(), &wanted).await
            } else {
                secrets.create(&post(), &wanted).await
            };
            let error = match written {
                Ok(written) => {
                    tail.chunk = Some(written);
                    return Ok(());
                }
                Err(error) => error,
            };
            if code(&error) == Some(409) {
                // Perhaps it was this very write, and only its answer was lost.
                match secrets.get_opt(&chunk).await {
                    Ok(Some(found)) if bytes(found.clone()) == content => {
                        tail.chunk = Some(found);
                        return Ok(());
                    }
                    _ => return Err(Unrecorded::new(error)),
                }
            }
            if !is_transient(&error) || began.elapsed() > PATIENCE {
                return Err(Unrecorded::new(error));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }
}

impl Record for Recorder {
    fn commit(&self, entries: Vec<Entry>) -> Call<'_, Result<(), Unrecorded>> {
        Box::pin(self.append(entries))
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(50)
    }
}

fn shorten(text: &mut String) {
    if text.len() > DETAIL {
        let more = text.len() - DETAIL;
        text.truncate(text.floor_char_boundary(DETAIL));
        text.push_str(&format!("\n... and {more} bytes more"));
    }
}
