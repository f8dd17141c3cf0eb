//! What is kept of repositories on this host: bare mirrors, and trees of commits.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::commit;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::links;
use crate::listing::Listing;
use crate::program::{Git, Run};
use crate::reference::{Reference, Resolved};
use crate::remote::Remote;
use crate::tree::Tree;

/// How long a question to a repository may take.
const ASK: Duration = Duration::from_secs(45);
/// How long work within the cache may take.
pub(crate) const LOCAL: Duration = Duration::from_secs(120);
/// So many runs of `git` at once: each is a process or two, and most of their time is waiting.
const AT_ONCE: usize = 8;
/// A tree that nobody has asked for in this time is removed.
const UNUSED: Duration = Duration::from_secs(600);
/// A mirror into which nothing was fetched for this long is removed at the next start.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);
/// The largest tree that is taken, in bytes of its files.
const MOST_BYTES: u64 = 1 << 30;
/// The most files of a tree.
const MOST_FILES: usize = 200_000;

/// The references a repository has, with what they point to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised(BTreeMap<String, String>);

impl Advertised {
    /// What a reference of this full name points to. An annotated tag's commit is under the name with `^{}`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What `ls-remote` writes.
    fn parse(output: &[u8]) -> Self {
        String::from_utf8_lossy(output)
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
            .collect::<BTreeMap<_, _>>()
            .into()
    }
}

impl From<BTreeMap<String, String>> for Advertised {
    fn from(all: BTreeMap<String, String>) -> Self {
        Self(all)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Advertised {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(all: I) -> Self {
        Self(
            all.into_iter()
                .map(|(name, id)| (name.to_owned(), id.to_owned()))
                .collect(),
        )
    }
}

/// The repositories known here. One per directory and process.
pub struct Repositories {
    root: PathBuf,
    pub(crate) git: Git,
    at_once: Semaphore,
    /// One writer a mirror.
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The trees that are here, who has them, and when somebody last asked for them.
    trees: Mutex<HashMap<PathBuf, (Weak<()>, Instant)>>,
}

impl Repositories {
    /// Opens the cache below a directory, and makes it where it is missing. Trees of an earlier run are removed: after
    /// a power failure they may not be whole.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn open(root: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let make = |path: &Path| {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(Error::io("making", path))
        };
        make(root)?;
        let root = root.canonicalize().map_err(Error::io("resolving", root))?;
        for gone in ["trees", "access"] {
            let path = root.join(gone);
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("removing", &path)(error));
                }
                _ => make(&path)?,
            }
        }
        make(&root.join("mirrors"))?;
        forget_mirrors(&root.join("mirrors"))?;
        let git = Git::new(&root)?;
        Ok(Self {
            root,
            git,
            at_once: Semaphore::new(AT_ONCE),
            locks: Mutex::default(),
            trees: Mutex::default(),
        })
    }

    /// The references of a repository that are needed to resolve these. Nothing is fetched.
    ///
    /// # Errors
    /// When the repository cannot be asked.
    pub async fn advertised(
        &self,
        remote: &Remote,
        credentials: &Credentials,
        wanted: &[Reference],
        cancel: &CancellationToken,
    ) -> Result<Advertised, Error> {
        let mut arguments = words(&["ls-remote", "--quiet", "--end-of-options", remote.as_str()]);
        let mut patterns: Vec<String> = wanted.iter().flat_map(Reference::patterns).collect();
        patterns.sort_unstable();
        patterns.dedup();
        // Very many are more than one line of arguments holds: then all are told.
        if patterns.len() <= 512 {
            arguments.extend(patterns.into_iter().map(OsString::from));
        }
        let output = self
            .online(
                format!("asking {remote} for its branches and tags"),
                remote,
                credentials,
                arguments,
                None,
                ASK,
                cancel,
            )
            .await?;
        Ok(Advertised::parse(&output))
    }

    /// What a reference means now. Beginnings of a commit's id are looked up in the whole repository.
    ///
    /// # Errors
    /// When the repository cannot be asked, or has no such reference.
    pub async fn resolve(
        &self,
        remote: &Remote,
        credentials: &Credentials,
        reference: &Reference,
        cancel: &CancellationToken,
    ) -> Result<Resolved, Error> {
        if reference.is_commit()
            && let Some(found) = reference.resolve(&Advertised::default())
        {
            return Ok(found);
        }
        let wanted = std::slice::from_ref(reference);
        let advertised = self.advertised(remote, credentials, wanted, cancel).await?;
        if let Some(found) = reference.resolve(&advertised) {
            return Ok(found);
        }
        let none = || Error::NoReference {
            url: remote.to_string(),
            reference: reference.to_string(),
        };
        if !reference.may_be_commit() {
            return Err(none());
        }
        let mirror = self.mirror(remote, credentials);
        let _lock = self.lock(&mirror).await;
        self.fetch_all(&mirror, remote, credentials, cancel).await?;
        let name = format!("{reference}^{{commit}}");
        let found = self
            .offline(
                format!("looking for commit {reference}"),
                remote,
                words(&[
                    "rev-parse",
                    "--verify",
                    "--quiet",
                    "--end-of-options",
                    &name,
                ]),
                &mirror,
                Vec::new(),
                cancel,
            )
            .await
            .map_err(|_| none())?;
        Ok(Resolved {
            name: None,
            commit: String::from_utf8_lossy(&found).trim().to_owned(),
        })
    }

    /// The tree of what a reference was resolved to. A commit that is here already costs no connection. If the
    /// reference has moved on meanwhile, and its server no longer gives the commit, the error says so.
    ///
    /// # Errors
    /// When the commit cannot be fetched, or its content is refused: links that lead out, or too much of it.
    pub async fn tree(
        &self,
        remote: &Remote,
        credentials: &Credentials,
        resolved: &Resolved,
        cancel: &CancellationToken,
    ) -> Result<Tree, Error> {
        let mirror = self.mirror(remote, credentials);
        let _lock = self.lock(&mirror).await;
        let first = self
            .tree_of(&mirror, remote, credentials, resolved, cancel)
            .await;
        match first {
            // A mirror that a crash has left broken: it is only a copy.
            Err(Error::Failed { .. }) if mirror.exists() => {
                let broken = mirror.clone();
                tokio::task::spawn_blocking(move || remove(&broken))
                    .await
                    .map_err(|error| Error::Failed {
                        doing: format!("removing a broken copy of {remote}"),
                        said: error.to_string(),
                    })??;
                self.tree_of(&mirror, remote, credentials, resolved, cancel)
                    .await
            }
            other => other,
        }
    }

    /// Removes the trees that nobody has asked for in a while.
    async fn sweep(&self) {
        let gone: Vec<PathBuf> = {
            let mut trees = self.trees.lock();
            let old = |(held, asked): &(Weak<()>, Instant)| {
                held.strong_count() == 0 && asked.elapsed() > UNUSED
            };
            // They are moved away while nobody can ask for them: whoever does next finds none, and makes it again.
            let gone = trees
                .iter()
                .filter(|(_, tree)| old(tree))
                .map(|(path, _)| {
                    let aside = path.with_extension("gone");
                    match std::fs::rename(path, &aside) {
                        Ok(()) => aside,
                        Err(_) => path.clone(),
                    }
                })
                .collect();
            trees.retain(|_, tree| !old(tree));
            gone
        };
        if gone.is_empty() {
            return;
        }
        let swept = tokio::task::spawn_blocking(move || {
            for tree in gone {
                if let Err(error) = remove(&tree) {
                    tracing::warn!(%error, "a tree of a commit was not removed");
                }
            }
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "trees of commits were not removed");
        }
    }

    /// Marks a tree as being used.
    fn hold(&self, directory: &Path) -> Arc<()> {
        let mut trees = self.trees.lock();
        let entry = trees
            .entry(directory.to_owned())
            .or_insert_with(|| (Weak::new(), Instant::now()));
        let held = entry.0.upgrade().unwrap_or_default();
        *entry = (Arc::downgrade(&held), Instant::now());
        held
    }

    async fn tree_of(
        &self,
        mirror: &Path,
        remote: &Remote,
        credentials: &Credentials,
        resolved: &Resolved,
        cancel: &CancellationToken,
    ) -> Result<Tree, Error> {
        let id = &resolved.commit;
        if !self.has(mirror, remote, id, cancel).await? {
            self.fetch(mirror, remote, credentials, resolved, cancel)
                .await?;
        }
        let log = self
            .offline(
                format!("reading commit {id}"),
                remote,
                words(&["log", "-1", commit::FORMAT, "--end-of-options", id]),
                mirror,
                Vec::new(),
                cancel,
            )
            .await?;
        let commit = commit::parse(&log).ok_or_else(|| Error::Failed {
            doing: format!("reading commit {id}"),
            said: "its author, time and subject cannot be read".to_owned(),
        })?;
        let listing = self.listing(mirror, remote, &commit.id, cancel).await?;
        let name = mirror.file_name().unwrap_or_default();
        let trees = self.root.join("trees").join(name);
        let directory = trees.join(&commit.id);
        let held = self.hold(&directory);
        self.sweep().await;
        if !directory.is_dir() {
            std::fs::create_dir_all(&trees).map_err(Error::io("making", &trees))?;
            self.check_out(
                mirror, remote, &commit.id, &trees, &directory, &listing, cancel,
            )
            .await?;
        }
        Ok(Tree {
            commit,
            directory,
            submodules: listing.submodules,
            _held: held,
        })
    }

    /// What is in a commit; refused if it is too much.
    async fn listing(
        &self,
        mirror: &Path,
        remote: &Remote,
        id: &str,
        cancel: &CancellationToken,
    ) -> Result<Listing, Error> {
        let output = self
            .offline(
                format!("listing commit {id}"),
                remote,
                words(&[
                    "ls-tree",
                    "-r",
                    "-l",
                    "-z",
                    "--full-tree",
                    "--end-of-options",
                    id,
                ]),
                mirror,
                Vec::new(),
                cancel,
            )
            .await?;
        let listing = Listing::parse(&output);
        if listing.files > MOST_FILES {
            return Err(Error::TooMuch {
                what: format!("{} files", listing.files),
                most: MOST_FILES.to_string(),
            });
        }
        if listing.bytes > MOST_BYTES {
            return Err(Error::TooMuch {
                what: format!("{} bytes", listing.bytes),
                most: MOST_BYTES.to_string(),
            });
        }
        Ok(listing)
    }

    /// Writes the files of a commit beside where they are to be, and moves them there when they are whole.
    #[allow(clippy::too_many_arguments)]
    async fn check_out(
        &self,
        mirror: &Path,
        remote: &Remote,
        id: &str,
        trees: &Path,
        directory: &Path,
        listing: &Listing,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let partial = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(trees)
            .map_err(Error::io("making a directory in", trees))?;
        let files = partial.path().join("files");
        std::fs::create_dir(&files).map_err(Error::io("making", &files))?;
        let environment = || {
            vec![
                ("GIT_WORK_TREE", files.clone().into_os_string()),
                (
                    "GIT_INDEX_FILE",
                    partial.path().join("index").into_os_string(),
                ),
            ]
        };
        for arguments in [
            words(&["read-tree", "--end-of-options", id]),
            words(&["checkout-index", "--all", "--force", "--quiet"]),
        ] {
            self.offline(
                format!("checking out commit {id}"),
                remote,
                arguments,
                mirror,
                environment(),
                cancel,
            )
            .await?;
        }
        let (made, links) = (files.clone(), listing.links.clone());
        tokio::task::spawn_blocking(move || links::check(&made, &links))
            .await
            .map_err(|error| Error::Failed {
                doing: format!("checking out commit {id}"),
                said: error.to_string(),
            })??;
        std::fs::rename(&files, directory).map_err(Error::io("moving a tree to", directory))
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn online(
        &self,
        doing: String,
        remote: &Remote,
        credentials: &Credentials,
        arguments: Vec<OsString>,
        git_dir: Option<&Path>,
        limit: Duration,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>, Error> {
        let _place = tokio::select! {
            place = self.at_once.acquire() => place,
            () = cancel.cancelled() => return Err(Error::Cancelled { doing }),
        };
        let access = credentials.access(remote, &self.root.join("access"))?;
        self.git
            .run(Run {
                doing,
                url: remote.as_str(),
                arguments,
                git_dir,
                environment: Vec::new(),
                access: Some(&access),
                limit,
                cancel,
            })
            .await
    }

    pub(crate) async fn offline(
        &self,
        doing: String,
        remote: &Remote,
        arguments: Vec<OsString>,
        git_dir: &Path,
        environment: Vec<(&'static str, OsString)>,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>, Error> {
        self.git
            .run(Run {
                doing,
                url: remote.as_str(),
                arguments,
                git_dir: Some(git_dir),
                environment,
                access: None,
                limit: LOCAL,
                cancel,
            })
            .await
    }

    /// Where the mirror of a repository is. Who logs in differently has another: what one may see is not for all.
    fn mirror(&self, remote: &Remote, credentials: &Credentials) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(remote.as_str());
        for (key, value) in credentials.to_data() {
            for part in [key, value] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        let name: String = hash
            .finalize()
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.root.join("mirrors").join(name)
    }

    async fn lock(&self, mirror: &Path) -> tokio::sync::OwnedMutexGuard<()> {
        let name = mirror
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let lock = self.locks.lock().entry(name).or_default().clone();
        lock.lock_owned().await
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Removes the mirrors that were not used for long.
fn forget_mirrors(mirrors: &Path) -> Result<(), Error> {
    for mirror in entries(mirrors)? {
        let used = std::fs::metadata(&mirror).and_then(|found| found.modified());
        let old = used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age > FORGOTTEN));
        if old {
            remove(&mirror)?;
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match std::fs::read_dir(directory) {
        Ok(all) => Ok(all.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("reading", directory)(error)),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}
