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
use super::pointers::{ByPointer, place};
use super::read::{ReadError, read_instance_text};
use super::seal::Seal;
use super::write::{escape_into, write_line};
use crate::address::{ConfigResource, ParseError, ProviderConfig, ResourceInstance};

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
    /// The key of the lines that follow, sealed as the state is; none if they are readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    address: String,
    #[serde(default)]
    deposed: Option<String>,
    provider: String,
    #[serde(default)]
    needs: Option<Needs>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

/// The dependencies of an object: those of an earlier one by the number of their list, counted from zero, or
/// a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Needs {
    Again(usize),
    List(Vec<Need>),
}

/// A resource by its name, or by the number of a name that was written before.
#[derive(Deserialize)]
#[serde(untagged)]
enum Need {
    Again(usize),
    Name(String),
}

type List = Arc<[Arc<ConfigResource>]>;

/// What was written so far of dependencies, so that a name and a list are written once.
#[derive(Debug, Default)]
struct Written {
    lists: ByPointer<(List, usize)>,
    names: ByPointer<(Arc<ConfigResource>, usize)>,
    line: String,
}

impl Written {
    fn needs(&mut self, list: &List) {
        use std::fmt::Write as _;
        self.line.push_str(",\"needs\":");
        let count = self.lists.len();
        match self.lists.entry(place(list)) {
            std::collections::hash_map::Entry::Occupied(known) => {
                let _ = write!(self.line, "{}", known.get().1);
                return;
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert((list.clone(), count));
            }
        }
        self.line.push('[');
        for (at, name) in list.iter().enumerate() {
            if at > 0 {
                self.line.push(',');
            }
            let count = self.names.len();
            if let Some((_, number)) = self.names.get(&place(name)) {
                let _ = write!(self.line, "{number}");
            } else {
                quoted(&mut self.line, &name.to_string());
                self.names.insert(place(name), (name.clone(), count));
            }
        }
        self.line.push(']');
    }

    /// The line of an entry.
    fn line(&mut self, entry: &Entry) -> &str {
        self.line.clear();
        self.line.push_str("{\"address\":");
        quoted(&mut self.line, &entry.address.to_string());
        if let Some(deposed) = &entry.deposed {
            self.line.push_str(",\"deposed\":");
            quoted(&mut self.line, deposed);
        }
        self.line.push_str(",\"provider\":");
        quoted(&mut self.line, &entry.provider.to_string());
        match &entry.object {
            None => self.line.push_str(",\"object\":null"),
            Some(object) => {
                if !object.dependencies.is_empty() {
                    self.needs(&object.dependencies);
                }
                self.line.push_str(",\"object\":");
                let deposed = entry.deposed.as_deref();
                write_line(&mut self.line, &entry.address.key, deposed, object);
            }
        }
        self.line.push_str("}\n");
        &self.line
    }
}

fn quoted(line: &mut String, text: &str) {
    line.push('"');
    escape_into(line, text);
    line.push('"');
}

/// What was read so far of dependencies.
#[derive(Default)]
struct Known {
    lists: Vec<List>,
    names: Vec<Arc<ConfigResource>>,
}

impl Known {
    fn take(&mut self, needs: Needs) -> Result<List, String> {
        let unknown = || "a dependency that was not named before".to_owned();
        let list = match needs {
            Needs::Again(number) => return self.lists.get(number).cloned().ok_or_else(unknown),
            Needs::List(list) => list,
        };
        let list = list
            .into_iter()
            .map(|need| match need {
                Need::Again(number) => self.names.get(number).cloned().ok_or_else(unknown),
                Need::Name(name) => {
                    let name: Arc<ConfigResource> = Arc::new(
                        name.parse()
                            .map_err(|error: ParseError| error.to_string())?,
                    );
                    self.names.push(name.clone());
                    Ok(name)
                }
            })
            .collect::<Result<List, String>>()?;
        self.lists.push(list.clone());
        Ok(list)
    }
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
    written: Mutex<Written>,
    seal: Option<Seal>,
}

impl Journal {
    /// Begins a journal for changes to `state`, in a new file at `path`, whose lines are sealed if there is a
    /// `seal`.
    ///
    /// # Errors
    /// [`Error::Io`], also when there is a journal already: [`recover`] it first.
    pub fn begin(path: &Path, state: &State, seal: Option<Seal>) -> Result<Journal, Error> {
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
            key: seal.as_ref().map(|seal| seal.envelope.clone()),
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
            written: Mutex::default(),
            seal,
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
        let mut written = self.written.lock();
        let line = written.line(entry);
        match &self.seal {
            None => (&*self.file).write_all(line.as_bytes()).map_err(io)?,
            Some(seal) => {
                let mut sealed = seal
                    .close(line.as_bytes())
                    .map_err(|why| io(std::io::Error::other(why)))?;
                sealed.push(b'\n');
                (&*self.file).write_all(&sealed).map_err(io)?;
            }
        }
        drop(written);
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
pub fn recover(path: &Path, state: &mut State, seal: Option<&Seal>) -> Result<usize, Error> {
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
    let mut known = Known::default();
    for (index, text) in lines {
        if !text.ends_with('\n') {
            break;
        }
        let corrupt = |reason| Error::Corrupt {
            path: path.to_owned(),
            line: index + 1,
            reason,
        };
        match (&head.key, seal) {
            (None, _) => apply_line(state, &mut known, text).map_err(corrupt)?,
            (Some(_), Some(seal)) => {
                let opened = seal.open(text).map_err(corrupt)?;
                apply_line(state, &mut known, &opened).map_err(corrupt)?;
            }
            (Some(_), None) => return Err(corrupt("it is encrypted".to_owned())),
        }
        count += 1;
    }
    if count > 0 {
        state.lineage = head.lineage;
    }
    Ok(count)
}

/// The key of a journal's lines, sealed; none if there is no journal or its lines are readable.
///
/// # Errors
/// [`Error::Io`].
pub fn sealed_key(path: &Path) -> Result<Option<String>, Error> {
    use std::io::BufRead as _;
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
    };
    let mut line = String::new();
    std::io::BufReader::new(file)
        .read_line(&mut line)
        .map_err(io)?;
    Ok(serde_json::from_str::<Head>(line.trim_end())
        .ok()
        .and_then(|head| head.key))
}

fn apply_line(state: &mut State, known: &mut Known, text: &str) -> Result<(), String> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let address: ResourceInstance = line
        .address
        .parse()
        .map_err(|error: ParseError| error.to_string())?;
    let provider: ProviderConfig = line
        .provider
        .parse()
        .map_err(|error: ParseError| error.to_string())?;
    let mut object = line
        .object
        .map(|object| read_instance_text(object.get()))
        .transpose()
        .map_err(|error: ReadError| error.to_string())?
        .map(|(_, _, object)| object);
    if let (Some(object), Some(needs)) = (&mut object, line.needs) {
        object.dependencies = known.take(needs)?;
    }
    let object = object.map(Arc::new);
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
        let journal = Journal::begin(&path, &state, None).unwrap();
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

        assert_eq!(recover(&path, &mut state, None).unwrap(), 3);
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
            recover(&path, &mut other, None),
            Err(Error::Foreign { .. })
        ));
    }

    #[test]
    fn names_of_dependencies_are_written_once_and_all_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut state = State::new();
        let journal = Journal::begin(&path, &state, None).unwrap();
        let names: Vec<Arc<ConfigResource>> = (0..3)
            .map(|n| Arc::new(format!("module.m.null_resource.x{n}").parse().unwrap()))
            .collect();
        let one: List = names[..2].into();
        let other: List = names.as_slice().into();
        for (address, list) in [("a", &one), ("b", &other), ("c", &one)] {
            let mut entry = entry(&format!("null_resource.{address}"), Some("{}"));
            entry.object = entry.object.map(|object| {
                Arc::new(Object {
                    dependencies: list.clone(),
                    ..(*object).clone()
                })
            });
            journal.append(&entry).unwrap();
        }
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("x1").count(), 1, "{text}");

        assert_eq!(recover(&path, &mut state, None).unwrap(), 3);
        let list = |address: &str| {
            let found = state.instance(&format!("null_resource.{address}").parse().unwrap());
            found
                .unwrap()
                .current
                .as_ref()
                .unwrap()
                .dependencies
                .clone()
        };
        assert_eq!((list("a"), list("b"), list("c")), (one.clone(), other, one));
    }

    #[test]
    fn a_journal_older_than_the_state_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut state = State::new();
        let journal = Journal::begin(&path, &state, None).unwrap();
        journal
            .append(&entry("null_resource.a", Some("{}")))
            .unwrap();
        drop(journal);
        state.serial += 1;
        assert_eq!(recover(&path, &mut state, None).unwrap(), 0);
        assert!(state.is_empty());
    }
}
