//! From what is on disk to the state in memory: the checkpoint, if it is good, and the log after it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::checkpoint::{self, Checkpoint};
use crate::frame::{self, Found};
use crate::record::{Kind, Record};
use crate::segment::{HEADER, Place, Segment, Segments, sync_dir};
use crate::store::Index;
use crate::version::Version;
use crate::writer::drop_events;
use crate::{Error, Key};

/// The state that was durable.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// Events after `compacted`, in order of revision.
    pub(crate) history: Vec<Arc<Version>>,
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
    pub(crate) segments: Arc<Segments>,
    pub(crate) active: Arc<Segment>,
    /// Where the log goes on in the active segment.
    pub(crate) end: u64,
    /// Up to where it holds zeros after that.
    pub(crate) prepared: u64,
    /// Bytes of log that had to be read.
    pub(crate) replayed: u64,
}

/// Reads the directory; a torn tail is cut off.
pub(crate) fn recover(dir: &Path) -> Result<Recovered, Error> {
    let ids = segment_ids(dir)?;
    let segments = Arc::new(Segments::default());
    if ids.is_empty() {
        let index = dir.join(checkpoint::NAME);
        if index.exists() {
            let detail = "there is an index, but the log it belongs to is missing".to_owned();
            return Err(Error::Corrupt {
                path: index,
                offset: 0,
                detail,
            });
        }
        let (active, _) = Segment::create(dir, 1, 0, 0, 0)?;
        segments.insert(Arc::clone(&active));
        let end = HEADER as u64;
        return Ok(Recovered {
            index: Index::new(),
            history: Vec::new(),
            revision: 0,
            compacted: 0,
            segments,
            active,
            end,
            prepared: end,
            replayed: 0,
        });
    }
    let mut opened = Vec::with_capacity(ids.len());
    for id in ids {
        let segment = Arc::new(Segment::open(dir, id)?);
        segments.insert(Arc::clone(&segment));
        opened.push(segment);
    }
    for pair in opened.windows(2) {
        if pair[0].start.id + 1 != pair[1].start.id {
            let path = Segment::path(dir, pair[0].start.id + 1);
            let detail = "the segment is missing".to_owned();
            return Err(Error::Corrupt {
                path,
                offset: 0,
                detail,
            });
        }
    }
    let known = |id| opened.iter().any(|segment| segment.start.id == id);
    let checkpoint = checkpoint::read(dir).filter(|checkpoint| known(checkpoint.segment));
    replay_all(opened, checkpoint, segments)
}

fn segment_ids(dir: &Path) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io("reading", dir, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("reading", dir, e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(id) = Segment::id_of(name) {
            ids.push(id);
        } else if Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "tmp")
        {
            // Left by a crash while it was made; what it was to become is made again.
            let path: PathBuf = entry.path();
            std::fs::remove_file(&path).map_err(|e| Error::io("removing", path, e))?;
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The state being rebuilt.
struct Replay {
    index: Index,
    history: Vec<Arc<Version>>,
    revision: u64,
    compacted: u64,
}

fn replay_all(
    opened: Vec<Arc<Segment>>,
    checkpoint: Option<Checkpoint>,
    segments: Arc<Segments>,
) -> Result<Recovered, Error> {
    let first = &opened[0].start;
    let (mut replay, from, mut offset) = match checkpoint {
        Some(c) => (
            Replay {
                index: c.index,
                history: c.history,
                revision: c.revision,
                compacted: c.compacted,
            },
            c.segment,
            c.offset,
        ),
        None => (
            Replay {
                index: Index::new(),
                history: Vec::new(),
                revision: first.revision,
                compacted: first.compacted,
            },
            first.id,
            HEADER as u64,
        ),
    };
    let mut replayed = 0;
    let mut prepared = offset;
    let mut active = Arc::clone(&opened[0]);
    let mut rest = opened
        .into_iter()
        .filter(|segment| segment.start.id >= from)
        .peekable();
    while let Some(segment) = rest.next() {
        replay.compacted = replay.compacted.max(segment.start.compacted);
        let next = rest.peek().map(|next| next.start.previous_end);
        if segment.size.load(Ordering::Relaxed) < offset {
            let end = segment.size.load(Ordering::Relaxed);
            return Err(segment.corrupt(end, "the segment is cut short"));
        }
        let bytes = segment.read_from(offset)?;
        let end = offset + replay.segment(&segment, &bytes, offset, next)?;
        replayed += end - offset;
        segment.size.store(end, Ordering::Relaxed);
        prepared = offset + bytes.len() as u64;
        offset = end;
        if rest.peek().is_some() {
            offset = HEADER as u64;
        }
        active = segment;
    }
    let end = offset;
    let tail = std::fs::metadata(&active.path).map_or(end, |meta| meta.len());
    let prepared = prepared.min(tail).max(end);
    let history = replay.settle();
    account(&replay.index, &segments)?;
    Ok(Recovered {
        index: replay.index,
        history,
        revision: replay.revision,
        compacted: replay.compacted,
        segments,
        active,
        end,
        prepared,
        replayed,
    })
}

impl Replay {
    /// Applies the bytes that a segment has from `from` on; returns how many of them are valid.
    /// `next` is where the segment after it says that this one ends.
    fn segment(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        from: u64,
        next: Option<u64>,
    ) -> Result<u64, Error> {
        let nonce = segment.start.nonce;
        let mut at = 0;
        let broken = loop {
            match frame::read(bytes, at, nonce) {
                Found::Frame(parsed) => {
                    if parsed.first != self.revision + 1 {
                        let detail = format!(
                            "revision {} follows revision {}",
                            parsed.first, self.revision
                        );
                        return Err(segment.corrupt(from + at as u64, detail));
                    }
                    for (offset, record) in &parsed.records {
                        self.apply(segment, from + *offset as u64, record)?;
                    }
                    self.revision = parsed.last;
                    at = parsed.end;
                }
                Found::Nothing => {
                    let blank = bytes[at..].iter().all(|byte| *byte == 0);
                    break if blank {
                        None
                    } else {
                        Some("a frame is missing")
                    };
                }
                Found::Invalid(why) => break Some(why),
            }
        };
        let end = from + at as u64;
        if let Some(next) = next {
            if broken.is_some() || next != end {
                let why = broken.unwrap_or("the segment ends early");
                return Err(segment.corrupt(end, why));
            }
        } else if let Some(why) = broken {
            if frame::any_after(bytes, at + 1, nonce) {
                return Err(segment.corrupt(end, why));
            }
            tracing::warn!(
                path = %segment.path.display(),
                offset = end,
                "dropping what a crash left unfinished at the end of the log: {why}"
            );
            OpenOptions::new()
                .write(true)
                .open(&segment.path)
                .and_then(|file| {
                    file.set_len(end)?;
                    file.sync_all()
                })
                .map_err(|e| Error::io("cutting the torn end off", &segment.path, e))?;
        }
        Ok(at as u64)
    }

    fn apply(&mut self, segment: &Segment, offset: u64, record: &Record<'_>) -> Result<(), Error> {
        if record.kind == Kind::Compacted {
            self.compacted = self.compacted.max(record.revision);
            return Ok(());
        }
        let place = Place {
            segment: segment.start.id,
            offset: offset as u32,
            len: record.len,
        };
        let previous = self.index.get(record.key).cloned();
        if record.carried
            && let Some(newest) = &previous
        {
            if let Some(same) = newest.at(record.revision)
                && same.revision == record.revision
            {
                same.set_place(place);
            }
            return Ok(());
        }
        let key = match &previous {
            Some(previous) => previous.key.clone(),
            None => Key::parse(record.key).map_err(|e| segment.corrupt(offset, e.to_string()))?,
        };
        let version = Version::new(
            key.clone(),
            record.revision,
            record.kind,
            record.revision_at,
            place,
            previous,
            None,
        );
        self.index.insert(key, Arc::clone(&version));
        self.history.push(version);
        Ok(())
    }

    /// Drops what was compacted; returns the events that are kept, in order.
    fn settle(&mut self) -> Vec<Arc<Version>> {
        let mut history = std::mem::take(&mut self.history);
        history.sort_by_key(|event| event.revision);
        let kept = history.partition_point(|event| event.revision <= self.compacted);
        let events = history.split_off(kept);
        drop_events(history, &mut self.index, |_| {});
        events
    }
}

/// Counts what each segment holds that is needed, and makes sure that it is there.
fn account(index: &Index, segments: &Segments) -> Result<(), Error> {
    let all = segments.all();
    let first = all[0].start.id;
    let mut kept = vec![0; all.len()];
    let check = |version: &Version, kept: &mut [u64]| {
        let place = version.place();
        // The numbers have no gaps, that was checked before.
        let at = place.segment.wrapping_sub(first) as usize;
        let Some(segment) = all.get(at) else {
            return Err(Error::Corrupt {
                path: all[0].path.with_file_name(Segment::name(place.segment)),
                offset: u64::from(place.offset),
                detail: format!("the segment that holds {} is missing", version.key),
            });
        };
        let end = u64::from(place.offset) + u64::from(place.len);
        if end > segment.size.load(Ordering::Relaxed) {
            let detail = format!("the record of {} is cut off", version.key);
            return Err(segment.corrupt(u64::from(place.offset), detail));
        }
        kept[at] += u64::from(place.len);
        Ok(())
    };
    for newest in index.values() {
        check(newest, &mut kept)?;
        let mut version = newest.previous();
        while let Some(this) = version {
            check(&this, &mut kept)?;
            version = this.previous();
        }
    }
    for (segment, kept) in all.iter().zip(kept) {
        segment.keep(kept);
    }
    Ok(())
}

/// Removes a segment that nothing needs.
pub(crate) fn remove(dir: &Path, segments: &Segments, id: u32) -> Result<(), Error> {
    segments.remove(id);
    let path = Segment::path(dir, id);
    std::fs::remove_file(&path).map_err(|e| Error::io("removing", path, e))?;
    sync_dir(dir)
}
