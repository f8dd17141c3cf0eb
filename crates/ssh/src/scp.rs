//! Copies to the other side by its `scp`, which servers have that know nothing of SFTP.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use crate::session::{Exec, Exit, Output};
use crate::{Error, Session};

/// What becomes the contents of a file.
#[derive(Clone, Copy, Debug)]
pub enum Source<'s> {
    /// These bytes.
    Bytes(&'s [u8]),
    /// What stands in a file here.
    File(&'s Path),
}

/// How much is read and sent at once.
const PART: usize = 64 * 1024;
/// The longest complaint that is read.
const COMPLAINT: usize = 4096;
/// How deep directories may lie in each other.
const DEEPEST: usize = 256;

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Source {
        path: path.display().to_string(),
        source,
    }
}

/// The far end of a copy.
struct Sink {
    exec: Exec,
    answers: VecDeque<u8>,
    /// What it said on its standard error; it ends with the reason when there is one.
    complaints: BytesMut,
}

impl Session {
    /// Makes `source` a file at `path` on the other side, readable by all and writable by its owner.
    /// `command` is the far end's command for the directory that is given to it.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Copy`], and what breaks the session.
    pub async fn upload(
        &self,
        path: &str,
        source: Source<'_>,
        quote: fn([&str; 3]) -> String,
    ) -> Result<(), Error> {
        let (directory, name) = split(path);
        let mut sink = self.sink(&quote(["scp", "-vt", &directory])).await?;
        sink.transfer(async |sink| sink.file(&name, source).await)
            .await
    }

    /// Copies the directory `source` into `path` on the other side, and only what is in it if it is written
    /// with a slash at the end. Links are followed.
    ///
    /// # Errors
    /// As [`Session::upload`].
    pub async fn upload_directory(
        &self,
        path: &str,
        source: &str,
        quote: fn([&str; 3]) -> String,
    ) -> Result<(), Error> {
        let mut sink = self.sink(&quote(["scp", "-rvt", path])).await?;
        sink.transfer(async |sink| {
            let name = (!source.ends_with('/')).then(|| split(source).1);
            sink.directory(Path::new(source), name).await
        })
        .await
    }

    async fn sink(&self, command: &str) -> Result<Sink, Error> {
        Ok(Sink {
            exec: self.exec(command, None).await?,
            answers: VecDeque::new(),
            complaints: BytesMut::new(),
        })
    }
}

/// The directory and the last name of a path, both never empty.
fn split(path: &str) -> (String, String) {
    let trimmed = path.trim_end_matches('/');
    let directory = match path.rsplit_once('/') {
        None => ".",
        Some(("", _)) => "/",
        Some((directory, _)) => match directory.trim_end_matches('/') {
            "" => "/",
            directory => directory,
        },
    };
    let name = trimmed.rsplit('/').next().unwrap_or_default();
    let name = match (name, path) {
        ("", "") => ".",
        ("", _) => "/",
        (name, _) => name,
    };
    (directory.to_owned(), name.to_owned())
}

impl Sink {
    async fn transfer(
        &mut self,
        copy: impl AsyncFnOnce(&mut Sink) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // The far end says first that it is there.
        let outcome = match self.done().await {
            Ok(()) => copy(self).await,
            Err(error) => Err(error),
        };
        if let Err(Error::Session(_)) = &outcome {
            // It ended early: how, says more than that it did.
        } else {
            outcome?;
            self.exec.end().await?;
        }
        while let Some(output) = self.exec.next().await {
            self.note(output);
        }
        match self.exec.exit() {
            Exit::Code(0) => Ok(()),
            Exit::Code(127) => Err(Error::Copy(
                "SCP failed to start. This usually means that SCP is not\nproperly installed on the remote \
                 system."
                    .to_owned(),
            )),
            exit => {
                tracing::debug!(
                    complaints = %String::from_utf8_lossy(&self.complaints),
                    "the other side's scp failed"
                );
                Err(Error::Copy(exit.to_string()))
            }
        }
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::Out(bytes) => self.answers.extend(bytes),
            Output::Err(bytes) => {
                self.complaints.extend_from_slice(&bytes);
                let over = self.complaints.len().saturating_sub(COMPLAINT);
                self.complaints.advance(over);
            }
        }
    }

    async fn byte(&mut self) -> Result<u8, Error> {
        loop {
            if let Some(byte) = self.answers.pop_front() {
                return Ok(byte);
            }
            match self.exec.next().await {
                Some(output) => self.note(output),
                None => return Err(Error::Session("EOF".to_owned())),
            }
        }
    }

    /// Waits until the other side has done what it was told.
    async fn done(&mut self) -> Result<(), Error> {
        if self.byte().await? == 0 {
            return Ok(());
        }
        let mut message = Vec::new();
        while message.len() < COMPLAINT {
            match self.byte().await {
                Ok(b'\n') | Err(_) => break,
                Ok(byte) => message.push(byte),
            }
        }
        Err(Error::Copy(
            String::from_utf8_lossy(&message)
                .trim_end_matches('\r')
                .to_owned(),
        ))
    }

    async fn tell(&mut self, line: String) -> Result<(), Error> {
        self.exec.send(Bytes::from(line)).await?;
        self.done().await
    }

    async fn file(&mut self, name: &str, source: Source<'_>) -> Result<(), Error> {
        if name.contains('\n') {
            return Err(Error::Copy(format!(
                "{name:?} cannot be the name of a file"
            )));
        }
        match source {
            Source::Bytes(bytes) => {
                self.tell(format!("C0644 {} {name}\n", bytes.len())).await?;
                for part in bytes.chunks(PART) {
                    self.exec.send(Bytes::copy_from_slice(part)).await?;
                }
            }
            Source::File(path) => {
                let failed = |error| unreadable(path, error);
                let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
                let size = file.metadata().await.map_err(failed)?.len();
                self.tell(format!("C0644 {size} {name}\n")).await?;
                let mut left = size;
                while left > 0 {
                    let mut part = BytesMut::with_capacity(PART.min(left as usize));
                    let read = (&mut file)
                        .take(left)
                        .read_buf(&mut part)
                        .await
                        .map_err(failed)?;
                    if read == 0 {
                        let short = std::io::Error::other("the file shrank while it was copied");
                        return Err(unreadable(path, short));
                    }
                    left -= read as u64;
                    self.exec.send(part.freeze()).await?;
                }
            }
        }
        self.tell("\0".to_owned()).await
    }

    /// `name` is what it is called on the other side; its contents go where we are if it has none.
    async fn directory(&mut self, path: &Path, name: Option<String>) -> Result<(), Error> {
        /// A directory whose entries are being sent.
        struct Open {
            entries: std::vec::IntoIter<(PathBuf, String)>,
            named: bool,
        }
        let mut open: Vec<Open> = Vec::new();
        let mut next = Some((path.to_owned(), name));
        loop {
            if let Some((path, name)) = next.take() {
                if open.len() >= DEEPEST {
                    let deep = std::io::Error::other("directories lie too deep in each other");
                    return Err(unreadable(&path, deep));
                }
                if let Some(name) = &name {
                    self.tell(format!("D0755 0 {name}\n")).await?;
                }
                open.push(Open {
                    entries: entries(&path).await?.into_iter(),
                    named: name.is_some(),
                });
            }
            let Some(innermost) = open.last_mut() else {
                return Ok(());
            };
            match innermost.entries.next() {
                Some((path, name)) => {
                    let metadata = tokio::fs::metadata(&path)
                        .await
                        .map_err(|error| unreadable(&path, error))?;
                    if metadata.is_dir() {
                        next = Some((path, Some(name)));
                    } else {
                        self.file(&name, Source::File(&path)).await?;
                    }
                }
                None => {
                    if innermost.named {
                        self.tell("E\n".to_owned()).await?;
                    }
                    open.pop();
                }
            }
        }
    }
}

/// What is in a directory, by name.
async fn entries(path: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let failed = |error| unreadable(path, error);
    let mut directory = tokio::fs::read_dir(path).await.map_err(failed)?;
    let mut found = Vec::new();
    while let Some(entry) = directory.next_entry().await.map_err(failed)? {
        let name = entry.file_name().into_string().map_err(|name| {
            failed(std::io::Error::other(format!(
                "the name {} is not valid UTF-8",
                name.display()
            )))
        })?;
        found.push((entry.path(), name));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart_as_the_far_end_needs_them() {
        let parts = |path| {
            let (directory, name) = split(path);
            format!("{directory} {name}")
        };
        assert_eq!(parts("/etc/app.conf"), "/etc app.conf");
        assert_eq!(parts("app.conf"), ". app.conf");
        assert_eq!(parts("/app.conf"), "/ app.conf");
        // As in Go: the directory of a path that ends in a slash is that path.
        assert_eq!(parts("/srv/www/"), "/srv/www www");
        assert_eq!(parts("/srv//x"), "/srv x");
        assert_eq!(parts("/"), "/ /");
    }
}
