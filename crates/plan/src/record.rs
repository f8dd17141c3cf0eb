//! The record of an operation: what happened, kept so that a crash loses nothing that matters.

use std::fs::{File, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::operation::Entry;
use crate::part::Call;

/// Entries that could not be kept. A walk that cannot keep its record starts nothing more.
#[derive(Debug, thiserror::Error)]
#[error("keeping the record of the operation: {0}")]
pub struct Unrecorded(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Unrecorded {
    /// For what went wrong.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Unrecorded(error.into())
    }
}

/// Keeps the entries of one operation.
///
/// A walk hands over what has come together since the last time in one call (a group commit), and makes the next
/// call when that has returned; so one write and one sync serve many steps.
pub trait Record: Send + Sync {
    /// Appends entries; when it returns well they are durable. Never called twice at once.
    fn commit(&self, entries: Vec<Entry>) -> Call<'_, Result<(), Unrecorded>>;

    /// How long to let entries come together after a commit before the next. The first entry after a quiet time is
    /// committed at once whatever this says, and so is the last.
    fn pace(&self) -> Duration {
        Duration::ZERO
    }
}

/// A record that keeps nothing.
impl Record for () {
    fn commit(&self, _: Vec<Entry>) -> Call<'_, Result<(), Unrecorded>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// How long a write of whoever had the file open before may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A record in a file: one JSON object a line, synced after each group. The file is locked while it is open.
#[derive(Debug)]
pub struct FileRecord {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl FileRecord {
    /// Opens or makes a record and reads what it holds. A last line that was cut off by a crash is taken away. Blocks, for
    /// a moment also while another write to the same file comes to its end.
    ///
    /// # Errors
    /// When the file cannot be read or written, is open elsewhere, or holds something else than entries.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let began = Instant::now();
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                TryLockError::WouldBlock => {
                    let text = format!("{} is open elsewhere", path.display());
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
                }
                TryLockError::Error(error) => return Err(error),
            }
        }
        let mut text = Vec::new();
        io::Read::read_to_end(&mut file, &mut text)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut entries = Vec::new();
        for (number, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            entries.push(serde_json::from_slice(line).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}:{}: {error}", path.display(), number + 1),
                )
            })?);
        }
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::Start(whole as u64))?;
        let record = FileRecord {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(file)),
        };
        Ok((record, entries))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Record for FileRecord {
    fn commit(&self, entries: Vec<Entry>) -> Call<'_, Result<(), Unrecorded>> {
        let file = self.file.clone();
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || {
                let text = lines(&entries)?;
                let mut file = file.lock();
                file.write_all(&text)?;
                file.sync_data()
            });
            match written.await {
                Ok(written) => written.map_err(Unrecorded::new),
                Err(ended) => Err(Unrecorded::new(ended)),
            }
        })
    }
}

/// Entries as lines of JSON.
///
/// # Errors
/// None in practice: every key of an entry is a text.
pub fn lines(entries: &[Entry]) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::with_capacity(entries.len() * 192);
    for entry in entries {
        serde_json::to_writer(&mut text, entry)?;
        text.push(b'\n');
    }
    Ok(text)
}
