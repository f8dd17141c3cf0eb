//! The log file: one event a line, turned over by size, with old files removed by age and number.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Where and how the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The file.
    pub path: PathBuf,
    /// A file that has reached this many bytes is turned over.
    pub max_bytes: u64,
    /// How many files that were turned over are kept; 0 for all.
    pub max_backups: usize,
    /// How long they are kept; `None` for ever.
    pub max_age: Option<Duration>,
}

/// The open log.
pub(super) struct Log {
    options: LogOptions,
    file: BufWriter<File>,
    written: u64,
}

impl Log {
    /// Opens the log, going on where it ends.
    pub(super) fn open(options: LogOptions) -> io::Result<Self> {
        if let Some(dir) = options.path.parent()
            && !dir.as_os_str().is_empty()
        {
            std::fs::create_dir_all(dir)?;
        }
        let file = open(&options.path)?;
        let written = file.metadata()?.len();
        let log = Self {
            file: BufWriter::new(file),
            written,
            options,
        };
        log.remove_old()?;
        Ok(log)
    }

    /// Appends a line.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.written > 0 && self.written + length > self.options.max_bytes {
            self.turn_over()?;
        }
        self.file.write_all(line)?;
        self.file.write_all(b"\n")?;
        self.written += length;
        Ok(())
    }

    /// Hands what was written to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn turn_over(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let mut to = self.backup(Timestamp::now());
        let mut later = 1;
        // Two within a millisecond.
        while to.exists() {
            to = self.backup(Timestamp::now() + jiff::SignedDuration::from_millis(later));
            later += 1;
        }
        std::fs::rename(&self.options.path, to)?;
        self.file = BufWriter::new(open(&self.options.path)?);
        self.written = 0;
        self.remove_old()
    }

    /// The name of a file turned over at a time: `audit-2026-01-31T10-11-12.345.log`.
    fn backup(&self, at: Timestamp) -> PathBuf {
        let (stem, extension) = self.parts();
        let at = at.strftime("%Y-%m-%dT%H-%M-%S%.3f");
        self.options
            .path
            .with_file_name(format!("{stem}-{at}{extension}"))
    }

    fn parts(&self) -> (String, String) {
        let path = &self.options.path;
        let text =
            |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        (
            text(path.file_stem()).unwrap_or_default(),
            text(path.extension()).map_or(String::new(), |extension| format!(".{extension}")),
        )
    }

    fn remove_old(&self) -> io::Result<()> {
        let (stem, extension) = self.parts();
        let dir = match self.options.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut backups = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let middle = name
                .strip_prefix(&format!("{stem}-"))
                .and_then(|rest| rest.strip_suffix(&extension));
            // Only what this log made itself: the length of a time, digits first.
            if middle
                .is_some_and(|at| at.len() == 23 && at.starts_with(|c: char| c.is_ascii_digit()))
            {
                backups.push((name, entry.path(), entry.metadata()?.modified()?));
            }
        }
        // Newest first: names are times.
        backups.sort_by(|a, b| b.0.cmp(&a.0));
        let now = SystemTime::now();
        for (index, (_, path, modified)) in backups.iter().enumerate() {
            let many = self.options.max_backups > 0 && index >= self.options.max_backups;
            let old = self
                .options
                .max_age
                .is_some_and(|age| now.duration_since(*modified).is_ok_and(|since| since > age));
            if many || old {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_turns_over_by_size_and_keeps_the_newest_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        std::fs::write(dir.path().join("audit-notes.log"), "mine").unwrap();
        let options = LogOptions {
            path: path.clone(),
            max_bytes: 100,
            max_backups: 2,
            max_age: None,
        };
        let mut log = Log::open(options.clone()).unwrap();
        for number in 0..20 {
            log.write(format!("{number:<39}").as_bytes()).unwrap();
        }
        log.flush().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(
            names(),
            4,
            "the log, two before it, and what is not its own"
        );
        let last = std::fs::read_to_string(&path).unwrap();
        assert!(last.starts_with("18"), "{last}");
        drop(log);
        let mut log = Log::open(options).unwrap();
        log.write(b"more").unwrap();
        log.flush().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("more\n"));
    }
}
