//! The changes of a walk, safe on disk one by one, before the state file itself is written.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::model::{Object, State};
use super::read::{ReadError, read_instance_text};
use super::write::object_text;
use crate::address::{ParseError, ProviderConfig, ResourceInstance};

/// What can go wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written, synced, read or removed.
    #[error("journal {}", path.display())]
    Io {
        /// The journal's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The journal belongs to another state than the one at hand.
    #[error("journal {} belongs to another state (lineage {lineage}, serial {serial}); move it away if it is of no use", path.display())]
    Foreign {
        /// The journal's file.
        path: PathBuf,
        /// The lineage it was begun for.
        lineage: String,
        /// The serial it was begun for.
        serial: u64,
    },
    /// An entry cannot be read, and it is not the last one (which a crash may cut off).
    #[error("journal {}, line {line}: {reason}", path.display())]
    Corrupt {
        /// The journal's file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// One change of a state.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which instance.
    pub address: ResourceInstance,
    /// The deposed object it is about; none for the current one.
    pub deposed: Option<Arc<str>>,
    /// The provider configuration in charge.
    pub provider: ProviderConfig,
    /// The object from now on; none when it is gone.
    pub object: Option<Arc<Object>>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    lineage: String,
    serial: u64,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    deposed: Option<String>,
    provider: String,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

/// A journal that is being written.
///
/// An entry is in the file when [`Journal::append`] returns, so the end of this process loses nothing; a
/// thread of the journal's own syncs it to the disk right after, one sync for all that came in meanwhile.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Arc<File>,
    wake: Option<SyncSender<()>>,
    syncer: Option<JoinHandle<()>>,
    failed: Arc<Mutex<Option<std::io::Error>>>,
}

impl Journal {
    /// Begins a journal for changes to `state`, in a new file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`], also when there is a journal already: [`recover`] it first.
    pub fn begin(path: &Path, state: &State) -> Result<Journal, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(io)?;
        let head = Head {
            lineage: state.lineage.clone(),
            serial: state.serial,
        };
        let mut line = serde_json::to_vec(&head).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        file.write_all(&line)
            .and_then(|()| file.sync_all())
            .map_err(io)?;
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io)?;
        }
        let file = Arc::new(file);
        let failed = Arc::new(Mutex::new(None));
        let (wake, woken) = sync_channel(1);
        let syncer = {
            let (file, failed) = (file.clone(), failed.clone());
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || sync(&woken, &file, &failed))
                .map_err(io)?
        };
        Ok(Journal {
            path: path.to_owned(),
            file,
            wake: Some(wake),
            syncer: Some(syncer),
            failed,
        })
    }

    /// Adds a change.
    ///
    /// # Errors
    /// [`Error::Io`] when it, or the sync of an earlier one, failed.
    pub fn append(&self, entry: &Entry) -> Result<(), Error> {
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        if let Some(source) = self.failed.lock().take() {
            return Err(io(source));
        }
        let object = entry
            .object
            .as_ref()
            .map(|object| {
                let text = object_text(&entry.address.key, entry.deposed.as_deref(), object);
                // On one line: a line feed inside a JSON string is always escaped.
                RawValue::from_string(text.replace('\n', ""))
            })
            .transpose()
            .map_err(|error| io(error.into()))?;
        let line = Line {
            address: entry.address.to_string(),
            deposed: entry.deposed.as_deref().map(str::to_owned),
            provider: entry.provider.to_string(),
            object: object.as_deref(),
        };
        let mut text = serde_json::to_vec(&line).map_err(|error| io(error.into()))?;
        text.push(b'\n');
        (&*self.file).write_all(&text).map_err(io)?;
        if let Some(wake) = &self.wake {
            match wake.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => {
                    return Err(io(std::io::Error::other(
                        "the thread that syncs it has ended",
                    )));
                }
            }
        }
        Ok(())
    }

    /// Ends the journal once the state file holds everything: the file goes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<(), Error> {
        self.stop();
        std::fs::remove_file(&self.path).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })
    }

    fn stop(&mut self) {
        self.wake = None;
        if let Some(syncer) = self.syncer.take() {
            let _ = syncer.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

fn sync(woken: &Receiver<()>, file: &File, failed: &Mutex<Option<std::io::Error>>) {
    while woken.recv().is_ok() {
        if let Err(error) = file.sync_data() {
            *failed.lock() = Some(error);
        }
    }
}

/// Brings what a crashed walk left in the journal at `path` into `state`, and gives how many changes that
/// were. The journal stays: remove it once the state is written. A last line that a crash cut off is left
/// out.
///
/// # Errors
/// [`Error`] when there is a journal that cannot be used for this state.
pub fn recover(path: &Path, state: &mut State) -> Result<usize, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(source) => {
            return Err(Error::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let mut lines = text.split_inclusive('\n').enumerate();
    let Some(head) = lines
        .next()
        .and_then(|(_, line)| serde_json::from_str::<Head>(line.trim_end()).ok())
    else {
        return Ok(0);
    };
    if !state.lineage.is_empty() && head.lineage != state.lineage && !state.resources.is_empty() {
        return Err(Error::Foreign {
            path: path.to_owned(),
            lineage: head.lineage,
            serial: head.serial,
        });
    }
    if state.serial > head.serial && head.lineage == state.lineage {
        // The state file was written after the journal: it holds all of it.
        return Ok(0);
    }
    let mut count = 0;
    for (index, text) in lines {
        if !text.ends_with('\n') {
            break;
        }
        apply_line(state, text).map_err(|reason| Error::Corrupt {
            path: path.to_owned(),
            line: index + 1,
            reason,
        })?;
        count += 1;
    }
    if count > 0 {
        state.lineage = head.lineage;
    }
    Ok(count)
}

fn apply_line(state: &mut State, text: &str) -> Result<(), String> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let address: ResourceInstance = line
        .address
        .parse()
        .map_err(|error: ParseError| error.to_string())?;
    let provider: ProviderConfig = line
        .provider
        .parse()
        .map_err(|error: ParseError| error.to_string())?;
    let object = line
        .object
        .map(|object| read_instance_text(object.get()))
        .transpose()
        .map_err(|error: ReadError| error.to_string())?
        .map(|(_, _, object)| Arc::new(object));
    let deposed = line.deposed.map(Arc::from);
    state.set_object(&address, deposed.as_ref(), &provider, object);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, attributes: Option<&str>) -> Entry {
        Entry {
            address: address.parse().unwrap(),
            deposed: None,
            provider: r#"provider["registry.terraform.io/hashicorp/null"]"#
                .parse()
                .unwrap(),
            object: attributes.map(|text| {
                Arc::new(Object {
                    attributes: text.into(),
                    ..Object::default()
                })
            }),
        }
    }

    #[test]
    fn what_a_crash_leaves_in_the_journal_is_found_again_but_for_a_line_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut state = State::new();
        let journal = Journal::begin(&path, &state).unwrap();
        journal
            .append(&entry("null_resource.a[0]", Some("{\"id\":\"1\\n2\"}")))
            .unwrap();
        journal
            .append(&entry("null_resource.b", Some("{}")))
            .unwrap();
        journal.append(&entry("null_resource.b", None)).unwrap();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"address\":\"null_resource.c\",\"prov")
            .unwrap();

        assert_eq!(recover(&path, &mut state).unwrap(), 3);
        let found = state
            .instance(&"null_resource.a[0]".parse().unwrap())
            .unwrap();
        assert_eq!(
            &*found.current.as_ref().unwrap().attributes,
            "{\"id\":\"1\\n2\"}"
        );
        assert_eq!(state.resources.len(), 1);

        let mut other = State {
            lineage: "other".to_owned(),
            ..state.clone()
        };
        assert!(matches!(
            recover(&path, &mut other),
            Err(Error::Foreign { .. })
        ));
    }

    #[test]
    fn a_journal_older_than_the_state_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut state = State::new();
        let journal = Journal::begin(&path, &state).unwrap();
        journal
            .append(&entry("null_resource.a", Some("{}")))
            .unwrap();
        drop(journal);
        state.serial += 1;
        assert_eq!(recover(&path, &mut state).unwrap(), 0);
        assert!(state.is_empty());
    }
}
