//! The end of the log: appends frames, makes them durable, begins new segments.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::frame::Frame;
use crate::segment::{Segment, Segments};

/// Zeros are written this far ahead: overwriting written blocks needs no journal commit of the file
/// system, which about doubles the rate of small syncs.
const AHEAD: u64 = 1 << 20;

/// Frames from this size on gain nothing by that.
const LARGE: u64 = 128 << 10;

/// Appends to the newest segment.
pub(crate) struct Log {
    dir: PathBuf,
    segments: Arc<Segments>,
    active: Arc<Segment>,
    file: File,
    /// Where the next frame goes; everything before is durable.
    end: u64,
    /// Up to here the file holds zeros from `end` on.
    prepared: u64,
    segment_bytes: u64,
    /// The next frame goes into a segment of its own.
    roll: bool,
    failed: Option<String>,
}

impl Log {
    /// Goes on in the newest segment, of which `end` bytes are valid and the rest up to `prepared`
    /// are zeros.
    pub(crate) fn resume(
        dir: PathBuf,
        segments: Arc<Segments>,
        active: Arc<Segment>,
        end: u64,
        prepared: u64,
        segment_bytes: u64,
    ) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .open(&active.path)
            .map_err(|e| Error::io("opening for writing", &active.path, e))?;
        active.size.store(end, Ordering::Relaxed);
        Ok(Self {
            dir,
            segments,
            active,
            file,
            end,
            prepared,
            segment_bytes,
            roll: false,
            failed: None,
        })
    }

    /// Where the log ends: segment and offset.
    pub(crate) fn position(&self) -> (u32, u64) {
        (self.active.start.id, self.end)
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.active.start.nonce
    }

    /// Prepares for the next frame: begins a new segment when the present one is full.
    pub(crate) fn ready(&mut self, revision: u64, compacted: u64) -> Result<(), Error> {
        if let Some(detail) = &self.failed {
            return Err(Error::Failed {
                detail: detail.clone(),
            });
        }
        if self.end < self.segment_bytes && !self.roll {
            return Ok(());
        }
        self.roll = false;
        let id = self.active.start.id + 1;
        let (segment, file) = Segment::create(&self.dir, id, revision, compacted, self.end)?;
        // Gives back the zeros; nothing depends on it.
        let _ = self.file.set_len(self.end);
        self.segments.insert(Arc::clone(&segment));
        self.active = segment;
        self.file = file;
        self.end = crate::segment::HEADER as u64;
        self.prepared = self.end;
        Ok(())
    }

    /// Has the next frame begin a new segment, unless the present one has none yet.
    pub(crate) fn roll(&mut self) {
        self.roll = self.end > crate::segment::HEADER as u64;
    }

    /// Writes a finished frame and makes it durable. On an error nothing of it is there.
    pub(crate) fn append(&mut self, frame: &Frame) -> Result<(), Error> {
        let len = frame.len() as u64;
        if len < LARGE && self.end + len > self.prepared {
            self.prepare();
        }
        let written = self.write(&mut frame.slices());
        let synced = written.and_then(|()| self.file.sync_data());
        match synced {
            Ok(()) => {
                self.end += len;
                self.prepared = self.prepared.max(self.end);
                self.active.size.store(self.end, Ordering::Relaxed);
                Ok(())
            }
            Err(source) => {
                self.undo(&source);
                Err(Error::io("writing", &self.active.path, source))
            }
        }
    }

    /// Trims the zeros off, for a clean end.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        if self.failed.is_some() || self.prepared == self.end {
            return Ok(());
        }
        self.file
            .set_len(self.end)
            .and_then(|()| self.file.sync_all())
            .map_err(|e| Error::io("closing", &self.active.path, e))?;
        self.prepared = self.end;
        Ok(())
    }

    fn write(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        write_all_vectored(&mut self.file, self.end, slices)
    }

    /// Writes zeros ahead of the end, durably. That it failed shows when the frame is written.
    fn prepare(&mut self) {
        let zeros = vec![0; AHEAD as usize];
        let done = self
            .file
            .write_all_at(&zeros, self.end)
            .and_then(|()| self.file.sync_all());
        if done.is_ok() {
            self.prepared = self.end + AHEAD;
        } else {
            let _ = self.file.set_len(self.end);
            self.prepared = self.end;
        }
    }

    /// Takes back a frame that failed. When even that fails, or the disk itself does, it is unknown
    /// what is on it, and only reading it again can tell.
    fn undo(&mut self, source: &io::Error) {
        let undone = self
            .file
            .set_len(self.end)
            .and_then(|()| self.file.sync_all());
        self.prepared = self.end;
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let reason = match (full, undone) {
            (true, Ok(())) => return,
            (false, _) => source.to_string(),
            (true, Err(undo)) => undo.to_string(),
        };
        let path = self.active.path.display();
        self.failed = Some(format!("writing {path}: {reason}"));
    }
}

/// Writes all slices at an offset.
pub(crate) fn write_all_vectored(
    file: &mut File,
    offset: u64,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
