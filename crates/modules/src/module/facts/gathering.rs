//! The machine facts are gathered of, and what is known of it so far.

use std::cell::OnceCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Facts;
use crate::context::Context;
use crate::process::{self, Command, Finished};

/// Files beyond this are no facts.
const MOST: u64 = 64 << 20;

/// The machine, its files, and what is known of it so far.
pub(crate) struct Gathering<'a, 'c> {
    /// The call: its environment, its warnings.
    pub context: &'a mut Context<'c>,
    /// Whether it is the machine this runs on: programs and the kernel can be asked.
    pub live: bool,
    /// What was gathered, under the names it has in the result.
    pub known: Facts,
    /// How long a single mount may take to tell its size.
    pub timeout: Duration,
    /// Where local facts are.
    pub fact_path: String,
    root: PathBuf,
    /// `/proc/cpuinfo`: it is long where there are many processors, and two subjects read it.
    cpuinfo: OnceCell<Option<Arc<str>>>,
    /// What the Python interpreter is, for two subjects.
    pub python: OnceCell<Option<Arc<super::python::Interpreter>>>,
}

impl<'a, 'c> Gathering<'a, 'c> {
    /// Of the machine this runs on.
    pub(crate) fn here(context: &'a mut Context<'c>) -> Self {
        Gathering {
            context,
            live: true,
            known: Facts::new(),
            timeout: Duration::from_secs(10),
            fact_path: "/etc/ansible/facts.d".to_owned(),
            root: PathBuf::from("/"),
            cpuinfo: OnceCell::new(),
            python: OnceCell::new(),
        }
    }

    /// Of a machine whose files are below a directory.
    pub(crate) fn of_tree(context: &'a mut Context<'c>, root: &Path) -> Self {
        Gathering {
            live: false,
            root: root.to_owned(),
            ..Gathering::here(context)
        }
    }

    /// Where a path of the machine is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        if self.live {
            return PathBuf::from(path);
        }
        // Links of the tree that are absolute are followed below its root, so that none leads out of it.
        let mut inside = PathBuf::new();
        let mut links = 0;
        let mut pending: Vec<std::ffi::OsString> = Path::new(path)
            .components()
            .rev()
            .filter_map(named)
            .collect();
        while let Some(part) = pending.pop() {
            if part == ".." {
                inside.pop();
                continue;
            }
            let here = self.root.join(&inside).join(&part);
            match std::fs::read_link(&here) {
                // Links that lead around in a circle lead nowhere.
                Ok(_) if links == 40 => return PathBuf::from("/dev/null/nothing"),
                Ok(target) => {
                    links += 1;
                    if target.is_absolute() {
                        inside = PathBuf::new();
                    }
                    pending.extend(target.components().rev().filter_map(named));
                }
                Err(_) => inside.push(part),
            }
        }
        self.root.join(inside)
    }

    /// Where a path of the machine is whose last part may be a link that is asked for itself.
    fn path_of_link(&self, path: &str) -> PathBuf {
        if self.live {
            return PathBuf::from(path);
        }
        match path.trim_end_matches('/').rsplit_once('/') {
            Some((directory, name)) => self.path(directory).join(name),
            None => self.root.join(path),
        }
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    /// A file that has something in it.
    pub(crate) fn is_filled_file(&self, path: &str) -> bool {
        std::fs::metadata(self.path(path)).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
    }

    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.path(path).is_file()
    }

    /// The bytes of a file, unless it cannot be read. Does not wait for what is not there yet.
    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        use std::io::Read as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.path(path))
            .ok()?;
        let mut bytes = Vec::with_capacity(1024);
        file.take(MOST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The text of a file as it is; `None` if it cannot be read or is no text.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let text = String::from_utf8(self.bytes(path)?).ok()?;
        Some(crate::encoding::universal_newlines(text))
    }

    /// The text of a file without what surrounds it; `None` if it cannot be read or is empty.
    pub(crate) fn content(&self, path: &str) -> Option<String> {
        let mut text = self.text(path)?;
        let end = text.trim_end().len();
        text.truncate(end);
        let start = text.len() - text.trim_start().len();
        if start > 0 {
            text.drain(..start);
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// The lines of a file, none if it cannot be read.
    pub(crate) fn lines(&self, path: &str) -> Vec<String> {
        let text = self.content(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// `/proc/cpuinfo`, read once.
    pub(crate) fn cpuinfo(&self) -> Option<Arc<str>> {
        self.cpuinfo
            .get_or_init(|| self.content("/proc/cpuinfo").map(Arc::from))
            .clone()
    }

    /// The names in a directory in the order the system gives them; none if it cannot be read.
    pub(crate) fn names(&self, path: &str) -> Option<Vec<String>> {
        Some(
            std::fs::read_dir(self.path(path))
                .ok()?
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
        )
    }

    /// Where a link leads, as it is written.
    pub(crate) fn link(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_link(self.path_of_link(path))
            .map(|target| target.to_string_lossy().into_owned())
    }

    pub(crate) fn is_link(&self, path: &str) -> bool {
        self.path_of_link(path).is_symlink()
    }

    /// A path without links, as the machine has it.
    pub(crate) fn real(&self, path: &str) -> String {
        if self.live {
            return std::fs::canonicalize(path).map_or_else(
                |_| path.to_owned(),
                |real| real.to_string_lossy().into_owned(),
            );
        }
        let inside = self.path(path);
        let inside = inside.strip_prefix(&self.root).unwrap_or(&inside);
        format!("/{}", inside.to_string_lossy())
    }

    /// The path of a program the machine has (`get_bin_path`).
    pub(crate) fn program(&self, name: &str) -> Option<String> {
        if self.live {
            return process::find(self.context, name, &[]);
        }
        [
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
        ]
        .iter()
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| {
            std::fs::metadata(self.path(path))
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    }

    /// What a program gives, with messages in the C locale; nothing if it does not start or the machine is not this one.
    pub(crate) fn run(&self, words: &[&str]) -> Option<Finished> {
        if !self.live {
            return None;
        }
        Command::new(words.iter().copied())
            .literal()
            .plain_messages()
            .run(self.context)
            .ok()
    }

    /// What a program writes if it ends well.
    pub(crate) fn output(&self, words: &[&str]) -> Option<String> {
        self.run(words)
            .filter(Finished::success)
            .map(|done| done.out())
    }

    /// A fact that was gathered before, as a text.
    pub(crate) fn known_text(&self, name: &str) -> &str {
        self.known
            .get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or("")
    }
}

fn named(component: Component<'_>) -> Option<std::ffi::OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}
