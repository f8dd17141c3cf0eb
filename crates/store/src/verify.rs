//! Looking at what is really on disk. Nothing here changes a file, and a store that is open in some
//! process may be looked at too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use consort_object::{Head, Revision};

use crate::frame::{self, Found};
use crate::record::{self, Kind, Record};
use crate::seal::{self, Transform};
use crate::segment::{HEADER, Segment};
use crate::{Error, Key, checkpoint};

/// What is wrong at some place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was found.
    pub detail: String,
}

/// What was found on disk.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Files of the log.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them, old ones included.
    pub records: u64,
    /// Objects that exist.
    pub objects: u64,
    /// The last revision.
    pub revision: Revision,
    /// Sealed records, by what sealed them.
    pub sealed: BTreeMap<String, u64>,
    /// Records that are not sealed.
    pub plain: u64,
    /// A write that was not finished stands at the log's end; opening the store drops it.
    pub torn: bool,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// What should not be readable and is.
    pub leaks: Vec<Damage>,
}

/// A record of one object.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The file.
    pub path: PathBuf,
    /// Where the record begins in it, in bytes.
    pub offset: u64,
    /// The revision it was written at.
    pub revision: Revision,
    /// `created`, `updated` or `deleted`.
    pub kind: &'static str,
    /// What sealed it, unless it is readable.
    pub sealed: Option<String>,
    /// The record as it is on disk.
    pub raw: Vec<u8>,
}

/// Which objects must not be readable on disk.
pub type Secret<'s> = &'s dyn Fn(&Key) -> bool;

/// Texts shorter than this are not looked for: they stand anywhere.
const TELLING: usize = 8;

/// Reads everything in a store's directory: checksums, keys, heads, JSON; sealed objects too if
/// `transform` is given. With `secret`, looks for what should not be readable: records of such objects
/// that are not sealed, and the values in their `data`, in base64 and out of it, anywhere in any file but
/// in other objects.
///
/// # Errors
///
/// [`Error::Io`] when the directory cannot be read. Damage is no error here: it is what is reported.
pub fn verify(
    dir: &Path,
    transform: Option<&dyn Transform>,
    secret: Option<Secret<'_>>,
) -> Result<Report, Error> {
    let mut work = Work {
        report: Report::default(),
        transform,
        secret,
        newest: HashMap::new(),
        needles: Needles::default(),
        durable: checkpoint::read(dir).map_or((0, 0), |index| (index.segment, index.offset)),
        readable: HashMap::new(),
    };
    let segments = segments(dir)?;
    let count = segments.len();
    let mut before: Option<(u32, u64)> = None;
    for (at, (id, path)) in segments.iter().enumerate() {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            // A store that is open removes what it no longer needs.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("reading", path, e)),
        };
        let end = work.segment(dir, *id, path, &bytes, before, at + 1 == count);
        before = Some((*id, end));
    }
    work.index(dir);
    if work.secret.is_some() {
        work.search(dir)?;
    }
    work.report.objects = work.newest.values().filter(|newest| newest.1).count() as u64;
    Ok(work.report)
}

/// The records of one object that are on disk, oldest first.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Corrupt`].
pub fn inspect(
    dir: &Path,
    key: &Key,
    transform: Option<&dyn Transform>,
) -> Result<Vec<Inspected>, Error> {
    let mut found = Vec::new();
    for (id, path) in segments(dir)? {
        let segment = Segment::open(dir, id)?;
        let bytes = std::fs::read(&path).map_err(|e| Error::io("reading", &path, e))?;
        let mut at = HEADER;
        while let Found::Frame(parsed) = frame::read(&bytes, at, segment.start.nonce) {
            for (offset, record) in &parsed.records {
                if record.key != key.as_str() {
                    continue;
                }
                let kind = match record.kind {
                    Kind::Created => "created",
                    Kind::Updated => "updated",
                    Kind::Deleted => "deleted",
                    Kind::Compacted => continue,
                };
                let sealed = (record.flags & record::SEALED != 0).then(|| {
                    transform.map_or_else(
                        || "sealed".to_owned(),
                        |transform| transform.describe(key, record.value),
                    )
                });
                found.push(Inspected {
                    path: path.clone(),
                    offset: *offset as u64,
                    revision: Revision(record.revision),
                    kind,
                    sealed,
                    raw: bytes[*offset..*offset + record.len as usize].to_vec(),
                });
            }
            at = parsed.end;
        }
    }
    Ok(found)
}

fn segments(dir: &Path) -> Result<Vec<(u32, PathBuf)>, Error> {
    let mut found: Vec<(u32, PathBuf)> = files(dir)?
        .into_iter()
        .filter_map(|path| Some((Segment::id_of(path.file_name()?.to_str()?)?, path)))
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |e| Error::io("reading", dir, e);
    std::fs::read_dir(dir)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}

struct Work<'a> {
    report: Report,
    transform: Option<&'a dyn Transform>,
    secret: Option<Secret<'a>>,
    /// Of each key the newest revision, and whether the object exists.
    newest: HashMap<Box<str>, (u64, bool)>,
    needles: Needles,
    /// Up to this segment and offset everything was durable when the index was written.
    durable: (u32, u64),
    /// Of each segment, where readable records stand: they are looked at as what they are, and a text in
    /// them may be another object's own.
    readable: HashMap<PathBuf, Vec<Range<usize>>>,
}

impl Work<'_> {
    fn damage(&mut self, path: &Path, offset: usize, detail: impl Into<String>) {
        self.report.damage.push(Damage {
            path: path.to_owned(),
            offset: offset as u64,
            detail: detail.into(),
        });
    }

    /// Reads one segment; returns where its valid part ends.
    fn segment(
        &mut self,
        dir: &Path,
        id: u32,
        path: &Path,
        bytes: &[u8],
        before: Option<(u32, u64)>,
        last: bool,
    ) -> u64 {
        self.report.segments += 1;
        self.report.bytes += bytes.len() as u64;
        let start = match Segment::open(dir, id) {
            Ok(segment) => segment.start,
            Err(Error::Corrupt { detail, .. }) => {
                self.damage(path, 0, detail);
                return 0;
            }
            Err(error) => {
                self.damage(path, 0, error.to_string());
                return 0;
            }
        };
        match before {
            Some((earlier, _)) if earlier + 1 != id => {
                self.damage(path, 0, "the segment before it is missing");
            }
            Some((_, end)) if start.previous_end != end => {
                self.damage(path, 0, "the segment before it ends at another place");
            }
            _ => {}
        }
        let mut at = HEADER;
        loop {
            match frame::read(bytes, at, start.nonce) {
                Found::Frame(parsed) => {
                    self.report.revision.0 = self.report.revision.0.max(parsed.last);
                    for (offset, record) in &parsed.records {
                        self.record(path, bytes, *offset, record);
                    }
                    at = parsed.end;
                }
                Found::Nothing => break,
                // Only what was never acknowledged can be torn: nothing follows it, and no index
                // was written after it.
                Found::Invalid(_)
                    if last
                        && (id, at as u64) >= self.durable
                        && !frame::any_after(bytes, at + 1, start.nonce) =>
                {
                    self.report.torn = true;
                    break;
                }
                Found::Invalid(why) => match frame::salvage(bytes, at, start.nonce) {
                    Some(left) => {
                        self.report.revision.0 = self.report.revision.0.max(left.last);
                        let mut told = !left.whole;
                        if told {
                            self.damage(path, at, why);
                        }
                        for (offset, record) in &left.records {
                            match record {
                                Ok(record) => self.record(path, bytes, *offset, record),
                                Err(why) => {
                                    told = true;
                                    self.damage(path, *offset, *why);
                                }
                            }
                        }
                        if !told {
                            self.damage(path, at, why);
                        }
                        at = left.next;
                    }
                    None => {
                        self.damage(path, at, why);
                        // What comes after it can still be looked at.
                        match frame::next_after(bytes, at + 1, start.nonce) {
                            Some(next) => at = next,
                            None => break,
                        }
                    }
                },
            }
        }
        at as u64
    }

    fn record(&mut self, path: &Path, bytes: &[u8], at: usize, record: &Record<'_>) {
        if record.kind == Kind::Compacted {
            return;
        }
        self.report.records += 1;
        let Ok(key) = Key::parse(record.key) else {
            self.damage(path, at, format!("{:?} is no key", record.key));
            return;
        };
        let newest = self.newest.entry(record.key.into()).or_default();
        if record.revision >= newest.0 {
            *newest = (record.revision, record.kind != Kind::Deleted);
        }
        if record.kind == Kind::Deleted {
            return;
        }
        let secret = self.secret.is_some_and(|secret| secret(&key));
        let whole = at..at + record.len as usize;
        if record.flags & record::SEALED == 0 {
            self.report.plain += 1;
            self.readable
                .entry(path.to_owned())
                .or_default()
                .push(whole.clone());
            if secret {
                self.report.leaks.push(Damage {
                    path: path.to_owned(),
                    offset: at as u64,
                    detail: format!("{key} at revision {} is not sealed", record.revision),
                });
            }
        } else {
            let by = self.transform.map_or_else(
                || "sealed".to_owned(),
                |transform| transform.describe(&key, record.value),
            );
            *self.report.sealed.entry(by).or_default() += 1;
            if self.transform.is_none() {
                return;
            }
        }
        let copy = Bytes::copy_from_slice(&bytes[whole]);
        let Ok(record) = record::decode(&copy) else {
            return;
        };
        match seal::opened(&record, &copy, &key, self.transform) {
            Ok((head, json)) => {
                if let Err(error) = Head::decode(&head) {
                    self.damage(path, at, format!("the head of {key}: {error}"));
                }
                match serde_json::from_slice::<serde_json::Value>(&json) {
                    Ok(value) if secret => self.needles.add(&key, &value),
                    Ok(_) => {}
                    Err(error) => self.damage(path, at, format!("the JSON of {key}: {error}")),
                }
            }
            Err(error) => self.damage(path, at, error.to_string()),
        }
    }

    fn index(&mut self, dir: &Path) {
        let path = dir.join(checkpoint::NAME);
        if path.exists() && checkpoint::read(dir).is_none() {
            self.damage(
                &path,
                0,
                "the index is damaged; opening makes it again from the log",
            );
        }
    }

    /// Looks for the secrets' values in all bytes but readable records.
    fn search(&mut self, dir: &Path) -> Result<(), Error> {
        for path in files(dir)? {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("reading", &path, e)),
            };
            let open = self.readable.remove(&path).unwrap_or_default();
            let mut at = 0;
            let end = std::iter::once(bytes.len()..bytes.len());
            for range in open.into_iter().chain(end) {
                let start = range.start.min(bytes.len()).max(at);
                for (offset, key) in self.needles.find(&bytes[at..start]) {
                    self.report.leaks.push(Damage {
                        path: path.clone(),
                        offset: (at + offset) as u64,
                        detail: format!("a value of {key} can be read here"),
                    });
                }
                at = range.end.min(bytes.len()).max(start);
            }
        }
        Ok(())
    }
}

/// Texts to look for.
#[derive(Default)]
struct Needles {
    starts: HashSet<[u8; TELLING]>,
    texts: HashMap<[u8; TELLING], Vec<(Vec<u8>, Key)>>,
}

impl Needles {
    /// The values of `data` and `stringData`, as they stand and decoded.
    fn add(&mut self, key: &Key, object: &serde_json::Value) {
        let fields = ["data", "stringData"];
        let maps = fields
            .iter()
            .filter_map(|field| object.get(field)?.as_object());
        for text in maps.flat_map(|map| map.values()).filter_map(|v| v.as_str()) {
            self.push(key, text.as_bytes().to_vec());
            if let Some(decoded) = base64(text) {
                self.push(key, decoded);
            }
        }
    }

    fn push(&mut self, key: &Key, text: Vec<u8>) {
        let Some(start) = text.first_chunk::<TELLING>() else {
            return;
        };
        // Zeros stand everywhere.
        if text.iter().all(|byte| *byte == text[0]) {
            return;
        }
        self.starts.insert(*start);
        let texts = self.texts.entry(*start).or_default();
        if texts.iter().all(|(have, _)| *have != text) {
            texts.push((text, key.clone()));
        }
    }

    fn find(&self, bytes: &[u8]) -> Vec<(usize, &Key)> {
        if self.starts.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (at, window) in bytes.windows(TELLING).enumerate() {
            let Ok(start) = <[u8; TELLING]>::try_from(window) else {
                continue;
            };
            if start == [0; TELLING] || !self.starts.contains(&start) {
                continue;
            }
            for (text, key) in self.texts.get(&start).into_iter().flatten() {
                if bytes[at..].starts_with(text) {
                    found.push((at, key));
                }
            }
        }
        found
    }
}

/// Standard base64, decoded; `None` for anything else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(body.len() * 3 / 4);
    let mut bits = 0_u32;
    for (at, byte) in body.bytes().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        match at % 4 {
            0 => {}
            1 => out.push((bits >> 4) as u8),
            2 => out.push((bits >> 2) as u8),
            _ => out.push(bits as u8),
        }
    }
    Some(out)
}
