//! Log files in the format of the Kubernetes container runtime interface.
//!
//! Each line is `<RFC 3339 time with nanoseconds> <stream> <F or P> <text>`; `P` marks a piece of a line
//! that goes on in the next record. See "CRI container log" in the Kubernetes design proposals.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Longest piece of a line in one record, as in containerd.
const MAX_PIECE: usize = 16 * 1024;

/// One container's log.
#[derive(Debug)]
pub(super) struct Log {
    path: Option<PathBuf>,
    file: Option<File>,
    size: u64,
    max_bytes: u64,
    max_files: u32,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Which stream a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Log {
    pub(super) fn open(
        path: Option<&Path>,
        max_bytes: Option<u64>,
        max_files: Option<u32>,
    ) -> io::Result<Self> {
        let mut log = Self {
            path: path.map(Path::to_owned),
            file: None,
            size: 0,
            max_bytes: max_bytes.unwrap_or(10 << 20).max(1),
            max_files: max_files.unwrap_or(5).max(1),
            out: Vec::new(),
            err: Vec::new(),
        };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the path anew, after someone has moved the file away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        Ok(())
    }

    /// Takes what a read gave.
    pub(super) fn push(&mut self, stream: Stream, mut data: &[u8]) {
        if self.file.is_none() {
            return;
        }
        let time = format!("{:.9}", Timestamp::now());
        let mut records = Vec::with_capacity(data.len() + 64);
        let mut pending = std::mem::take(self.pending(stream));
        while !data.is_empty() {
            let room = MAX_PIECE - pending.len();
            let window = &data[..data.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                record(
                    &mut records,
                    &time,
                    stream,
                    b'F',
                    &[&pending, &window[..end]],
                );
                pending.clear();
                data = &data[end + 1..];
            } else if window.len() == room && data.get(room) != Some(&b'\n') {
                record(&mut records, &time, stream, b'P', &[&pending, window]);
                pending.clear();
                data = &data[room..];
            } else if window.len() == room {
                // The line ends exactly where the piece does.
                record(&mut records, &time, stream, b'F', &[&pending, window]);
                pending.clear();
                data = &data[room + 1..];
            } else {
                pending.extend_from_slice(window);
                data = &[];
            }
        }
        *self.pending(stream) = pending;
        self.write(&records);
    }

    /// Writes what is left of unfinished lines.
    pub(super) fn finish(&mut self) {
        let time = format!("{:.9}", Timestamp::now());
        let mut records = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(self.pending(stream));
            if !pending.is_empty() {
                record(&mut records, &time, stream, b'F', &[&pending]);
            }
        }
        self.write(&records);
        self.file = None;
    }

    fn pending(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        }
    }

    fn write(&mut self, records: &[u8]) {
        let Some(file) = &mut self.file else { return };
        // A full disk loses output; it must not stop the container or the shim.
        if !records.is_empty() && file.write_all(records).is_ok() {
            self.size += records.len() as u64;
        }
        if self.size >= self.max_bytes && self.rotate().is_err() {
            // Tried again after as much output once more.
            self.size = 0;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let numbered = |number: u32| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.max_files > 1 {
            for number in (1..self.max_files - 1).rev() {
                match rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            rename(&path, numbered(1))?;
        } else {
            std::fs::remove_file(&path)?;
        }
        self.reopen()
    }
}

fn record(records: &mut Vec<u8>, time: &str, stream: Stream, tag: u8, parts: &[&[u8]]) {
    records.extend_from_slice(time.as_bytes());
    records.extend_from_slice(match stream {
        Stream::Stdout => b" stdout ",
        Stream::Stderr => b" stderr ",
    });
    records.extend_from_slice(&[tag, b' ']);
    for part in parts {
        records.extend_from_slice(part);
    }
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path) -> Vec<(String, usize)> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| {
            let mut fields = line.splitn(4, ' ');
            let time = fields.next().unwrap();
            assert!(time.len() == 30 && time.ends_with('Z'), "{time}");
            let (stream, tag) = (fields.next().unwrap(), fields.next().unwrap());
            (format!("{stream} {tag}"), fields.next().unwrap().len())
        });
        lines.collect()
    }

    #[test]
    fn lines_are_whole_or_marked_as_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(Some(&path), None, None).unwrap();
        log.push(Stream::Stdout, b"one\ntw");
        log.push(Stream::Stderr, b"bad\n");
        log.push(Stream::Stdout, b"o\n");
        log.push(Stream::Stdout, &vec![b'x'; MAX_PIECE + 5]);
        log.push(Stream::Stdout, b"\n");
        log.push(
            Stream::Stdout,
            &[&vec![b'y'; MAX_PIECE][..], b"\nrest"].concat(),
        );
        log.finish();
        let found = texts(&path);
        let found: Vec<_> = found
            .iter()
            .map(|(head, length)| (head.as_str(), *length))
            .collect();
        assert_eq!(
            found,
            [
                ("stdout F", 3),
                ("stderr F", 3),
                ("stdout F", 3),
                ("stdout P", MAX_PIECE),
                ("stdout F", 5),
                ("stdout F", MAX_PIECE),
                ("stdout F", 4),
            ]
        );
    }

    #[test]
    fn files_rotate_by_size_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(Some(&path), Some(200), Some(3)).unwrap();
        for _ in 0..100 {
            log.push(Stream::Stdout, b"0123456789\n");
        }
        log.finish();
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.1", "0.log.2"]);
        assert!(std::fs::metadata(dir.path().join("0.log.1")).unwrap().len() >= 200);
    }
}
