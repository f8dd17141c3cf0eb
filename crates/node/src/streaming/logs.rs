//! Reading a container's log: files in the format of the container runtime interface, the running
//! one and those it was rotated into, from some point on and, if asked, as it grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use consort_runtime::Container;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::query::Query;
use super::{Body, Error, Streaming};

const CHUNK: usize = 64 << 10;
/// A record is at most a piece of a line with its prefix; a longer one is not a log of ours.
const LONGEST_RECORD: usize = 1 << 20;
/// A follower looks this often even if nothing told it to.
const LOOK: Duration = Duration::from_secs(2);

/// Which part of a log is wanted (`PodLogOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    follow: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    tail: Option<u64>,
    limit: Option<u64>,
    stream: Option<&'static str>,
}

impl Wanted {
    fn new(query: &Query) -> Result<Self, Error> {
        let number = |key: &str| {
            query
                .get(key)
                .map(|text| {
                    text.parse::<u64>().map_err(|_| {
                        Error::BadRequest(format!("{key}: {text:?} is not a number of at least 0"))
                    })
                })
                .transpose()
        };
        let mut since = number("sinceSeconds")?.map(|seconds| {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 2);
            Timestamp::now()
                .saturating_sub(jiff::SignedDuration::from_secs(seconds))
                .unwrap_or(Timestamp::MIN)
        });
        if let Some(text) = query.get("sinceTime") {
            let time = text
                .parse()
                .map_err(|_| Error::BadRequest(format!("sinceTime: {text:?} is not a time")))?;
            since = Some(time);
        }
        let stream = match query.get("stream") {
            None | Some("" | "All") => None,
            Some("Stdout") => Some("stdout"),
            Some("Stderr") => Some("stderr"),
            Some(other) => {
                return Err(Error::BadRequest(format!(
                    "stream: {other:?} is not one of All, Stdout, Stderr"
                )));
            }
        };
        Ok(Self {
            follow: query.flag("follow"),
            timestamps: query.flag("timestamps"),
            since,
            tail: number("tailLines")?,
            limit: number("limitBytes")?,
            stream,
        })
    }
}

impl Streaming {
    /// The log of a container, as text.
    pub(super) async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        query: &Query,
    ) -> Result<Response<Body>, Error> {
        let wanted = Wanted::new(query)?;
        let view = self.agent.pod(namespace, pod)?;
        let previous = query.flag("previous");
        let path = view.log(container, previous)?;
        let running = if previous {
            None
        } else {
            view.container(container).ok()
        };
        let mut reader = Reader::open(path, wanted, running)
            .await
            .map_err(|error| Error::Internal(format!("reading the log of {container}: {error}")))?;
        reader.shutdown = Some(self.shutdown.clone());
        let chunks = futures::stream::try_unfold(reader, |mut reader| async move {
            let chunk = reader.next().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                chunk.map(|chunk| (http_body::Frame::data(chunk), reader)),
            )
        });
        let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
        let text = header::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        Ok(response)
    }
}

/// Gives a log chunk by chunk.
struct Reader {
    path: PathBuf,
    wanted: Wanted,
    /// Files still to be read, the oldest first.
    files: VecDeque<File>,
    current: Option<File>,
    /// The inode of the file that is being written, once it is the current one.
    inode: Option<u64>,
    partial: BytesMut,
    sent: u64,
    /// Whether the last record was a piece of a line that goes on.
    within_line: bool,
    follow: Option<Follow>,
    shutdown: Option<tokio_util::sync::CancellationToken>,
}

struct Follow {
    notify: pipe::Receiver,
    /// Ends with the container.
    exit: BoxFuture<'static, ()>,
    ended: bool,
}

impl Reader {
    async fn open(path: PathBuf, wanted: Wanted, container: Option<Container>) -> io::Result<Self> {
        // Told of before anything is read, so that nothing falls between.
        let follow = if wanted.follow {
            let notify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            if let Some(dir) = path.parent() {
                let what = AddWatchFlags::IN_MODIFY
                    | AddWatchFlags::IN_CREATE
                    | AddWatchFlags::IN_MOVED_TO;
                notify.add_watch(dir, what)?;
            }
            let ended = container.is_none();
            let exit = async move {
                match container {
                    Some(container) => drop(container.wait().await),
                    None => std::future::pending().await,
                }
            };
            Some(Follow {
                notify: readable(notify)?,
                exit: exit.boxed(),
                ended,
            })
        } else {
            None
        };
        let tail = wanted.tail;
        let files = {
            let path = path.clone();
            blocking(move || open_files(&path, tail)).await?
        };
        Ok(Self {
            path,
            wanted,
            files,
            current: None,
            inode: None,
            partial: BytesMut::new(),
            sent: 0,
            within_line: false,
            follow,
            shutdown: None,
        })
    }

    /// The next piece of text; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.wanted.limit.is_some_and(|limit| self.sent >= limit) {
                return Ok(None);
            }
            if self.current.is_none() {
                self.current = self.files.pop_front();
            }
            let Some(file) = self.current.take() else {
                return Ok(None);
            };
            let (file, chunk) = blocking(move || {
                let mut file = file;
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk)?;
                chunk.truncate(read);
                Ok((file, chunk))
            })
            .await?;
            if !chunk.is_empty() {
                self.current = Some(file);
                self.partial.extend_from_slice(&chunk);
                let text = self.convert();
                if !text.is_empty() {
                    return Ok(Some(self.count(text)));
                }
                continue;
            }
            if !self.files.is_empty() {
                continue;
            }
            // At the end of what there is now.
            if self.follow.is_none() {
                return Ok(None);
            }
            self.inode = Some(file.metadata()?.ino());
            self.current = Some(file);
            if !self.wait_for_more().await? {
                return Ok(None);
            }
        }
    }

    fn count(&mut self, mut text: Bytes) -> Bytes {
        if let Some(limit) = self.wanted.limit {
            let left = usize::try_from(limit - self.sent).unwrap_or(usize::MAX);
            text.truncate(left);
        }
        self.sent += text.len() as u64;
        text
    }

    /// Waits until the log may have grown; `false` when it will not any more.
    async fn wait_for_more(&mut self) -> io::Result<bool> {
        // The writer may have moved its file away and started another.
        if let Ok(metadata) = std::fs::metadata(&self.path)
            && Some(metadata.ino()) != self.inode
            && let Ok(next) = File::open(&self.path)
        {
            self.files.push_back(next);
            // What was written to the old file in between comes first: it is read to its end once
            // more before the new one is taken.
            return Ok(true);
        }
        let Some(follow) = &mut self.follow else {
            return Ok(false);
        };
        if follow.ended {
            return Ok(false);
        }
        let shutdown = async {
            match &self.shutdown {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let mut events = [0; 4096];
        tokio::select! {
            () = shutdown => return Ok(false),
            // Everything the container wrote is in the log before its end is on record.
            () = &mut follow.exit => follow.ended = true,
            // What happened does not matter, only that something did.
            read = follow.notify.read(&mut events) => drop(read?),
            () = tokio::time::sleep(LOOK) => {}
        }
        Ok(true)
    }

    /// Turns whole records into text as it is asked for.
    fn convert(&mut self) -> Bytes {
        let mut text = BytesMut::new();
        let mut start = 0;
        while let Some(length) = self.partial[start..].iter().position(|byte| *byte == b'\n') {
            let record = &self.partial[start..start + length];
            start += length + 1;
            let Some(record) = Record::parse(record) else {
                continue;
            };
            if self
                .wanted
                .stream
                .is_some_and(|stream| stream.as_bytes() != record.stream)
            {
                continue;
            }
            if let Some(since) = self.wanted.since
                && !record.is_since(since)
            {
                continue;
            }
            if self.wanted.timestamps && !self.within_line {
                text.extend_from_slice(record.time);
                text.extend_from_slice(b" ");
            }
            text.extend_from_slice(record.text);
            if record.whole {
                text.extend_from_slice(b"\n");
            }
            self.within_line = !record.whole;
        }
        let _ = self.partial.split_to(start);
        if self.partial.len() > LONGEST_RECORD {
            self.partial.clear();
        }
        text.freeze()
    }
}

struct Record<'a> {
    time: &'a [u8],
    stream: &'a [u8],
    whole: bool,
    text: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let (time, stream, tag) = (fields.next()?, fields.next()?, fields.next()?);
        let text = fields.next().unwrap_or_default();
        let whole = match tag.first()? {
            b'F' => true,
            b'P' => false,
            _ => return None,
        };
        Some(Self {
            time,
            stream,
            whole,
            text,
        })
    }

    fn is_since(&self, since: Timestamp) -> bool {
        let time = std::str::from_utf8(self.time)
            .ok()
            .and_then(|text| text.parse::<Timestamp>().ok());
        time.is_none_or(|time| time >= since)
    }
}

/// The notifications as something to read from: the reactor takes any descriptor that can be
/// polled as it takes a pipe's.
fn readable(notify: Inotify) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd_unchecked(OwnedFd::from(notify))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Opens the log's files, the oldest first, each at the place to start reading from. All are open
/// before any is read, so that a rotation in between moves nothing away.
fn open_files(path: &Path, tail: Option<u64>) -> io::Result<VecDeque<File>> {
    let mut newest_first = vec![File::open(path)?];
    for number in 1.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        match File::open(&name) {
            Ok(file) => newest_first.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    let Some(mut left) = tail else {
        return Ok(newest_first.into_iter().rev().collect());
    };
    let mut files = VecDeque::new();
    for mut file in newest_first {
        left -= seek_to_tail(&mut file, left)?;
        files.push_front(file);
        if left == 0 {
            break;
        }
    }
    Ok(files)
}

/// Moves to the start of the last `lines` lines; gives how many there are from there.
fn seek_to_tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(0);
    }
    let mut position = end;
    let mut found = 0;
    let mut buffer = vec![0; CHUNK];
    while position > 0 {
        let take = position.min(CHUNK as u64);
        position -= take;
        file.seek(SeekFrom::Start(position))?;
        let chunk = &mut buffer[..usize::try_from(take).unwrap_or(CHUNK)];
        file.read_exact(chunk)?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            let at = position + index as u64;
            // The newline that ends the last line starts no other.
            if *byte == b'\n' && at + 1 < end {
                found += 1;
                if found == lines {
                    file.seek(SeekFrom::Start(at + 1))?;
                    return Ok(found);
                }
            }
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(if end > 0 { found + 1 } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000000Z stdout F one\n\
        2026-01-01T00:00:02.000000000Z stderr F two\n\
        2026-01-01T00:00:03.000000000Z stdout P thr\n\
        2026-01-01T00:00:03.000000000Z stdout F ee\n";

    async fn read(path: &Path, wanted: Wanted) -> String {
        let mut reader = Reader::open(path.to_owned(), wanted, None).await.unwrap();
        let mut text = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            text.extend_from_slice(&chunk);
        }
        String::from_utf8(text).unwrap()
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn pieces_of_a_line_are_joined() {
        let (_dir, path) = log();
        assert_eq!(read(&path, Wanted::default()).await, "one\ntwo\nthree\n");
        let timed = Wanted {
            timestamps: true,
            ..Wanted::default()
        };
        assert!(
            read(&path, timed)
                .await
                .ends_with("2026-01-01T00:00:03.000000000Z three\n")
        );
    }

    #[tokio::test]
    async fn a_part_of_the_log_can_be_asked_for() {
        let (_dir, path) = log();
        let since = Wanted {
            since: Some("2026-01-01T00:00:02Z".parse().unwrap()),
            ..Wanted::default()
        };
        assert_eq!(read(&path, since).await, "two\nthree\n");
        let limited = Wanted {
            limit: Some(5),
            ..Wanted::default()
        };
        assert_eq!(read(&path, limited).await, "one\nt");
        let errors = Wanted {
            stream: Some("stderr"),
            ..Wanted::default()
        };
        assert_eq!(read(&path, errors).await, "two\n");
        let none = Wanted {
            tail: Some(0),
            ..Wanted::default()
        };
        assert_eq!(read(&path, none).await, "");
    }

    #[tokio::test]
    async fn the_tail_reaches_into_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let line = |number: u32| format!("2026-01-01T00:00:01.000000000Z stdout F {number}\n");
        std::fs::write(dir.path().join("0.log.2"), line(1) + &line(2)).unwrap();
        std::fs::write(dir.path().join("0.log.1"), line(3) + &line(4)).unwrap();
        std::fs::write(&path, line(5)).unwrap();
        assert_eq!(read(&path, Wanted::default()).await, "1\n2\n3\n4\n5\n");
        let tail = |lines| Wanted {
            tail: Some(lines),
            ..Wanted::default()
        };
        assert_eq!(read(&path, tail(1)).await, "5\n");
        assert_eq!(read(&path, tail(2)).await, "4\n5\n");
        assert_eq!(read(&path, tail(4)).await, "2\n3\n4\n5\n");
        assert_eq!(read(&path, tail(99)).await, "1\n2\n3\n4\n5\n");
    }

    #[tokio::test]
    async fn a_follower_sees_what_is_written_later_also_after_a_rotation() {
        let (dir, path) = log();
        let wanted = Wanted {
            follow: true,
            tail: Some(0),
            ..Wanted::default()
        };
        let mut reader = Reader::open(path.clone(), wanted, None).await.unwrap();
        // As if a container were still running.
        reader.follow.as_mut().unwrap().ended = false;
        let append = |path: &Path, text: &str| {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .unwrap();
            writeln!(file, "2026-01-01T00:00:05.000000000Z stdout F {text}").unwrap();
        };
        append(&path, "four");
        assert_eq!(reader.next().await.unwrap().unwrap(), "four\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        append(&path, "five");
        let next = tokio::time::timeout(Duration::from_secs(10), reader.next())
            .await
            .unwrap();
        assert_eq!(next.unwrap().unwrap(), "five\n");
        reader.follow.as_mut().unwrap().ended = true;
        assert_eq!(reader.next().await.unwrap(), None);
    }
}
