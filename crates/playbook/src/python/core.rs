//! The ansible-core that is installed on the controller: modules that are not native come from there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

/// The variable that names the directory that holds `ansible/`, or the interpreter that imports it.
pub(super) const VARIABLE: &str = "CONSORT_ANSIBLE_CORE";

/// What an interpreter is asked.
const ASK: &str = "import ansible, sys\nfrom ansible.release import __version__\nprint(list(ansible.__path__)[0])\nprint(__version__)\nprint(sys.executable)";

/// An ansible-core.
#[derive(Clone, Debug)]
pub struct Core {
    /// The directory `ansible`: with `modules`, `module_utils`, `config`.
    pub path: PathBuf,
    /// Its version: `2.21.5`.
    pub version: String,
    /// An interpreter that imports it, if one was found.
    pub python: Option<PathBuf>,
}

impl Core {
    /// The one that is installed. It is looked for once: where the variable `CONSORT_ANSIBLE_CORE` says, where `python3`
    /// imports it from, and where the programs `ansible-playbook` and `ansible` of the search path come from.
    ///
    /// # Errors
    /// There is none, or its modules are of a contract that is not known: a message.
    pub fn installed() -> Result<Arc<Core>, String> {
        static INSTALLED: OnceLock<Result<Arc<Core>, String>> = OnceLock::new();
        INSTALLED
            .get_or_init(|| find().and_then(Core::understood).map(Arc::new))
            .clone()
    }

    /// The one of a directory that holds `ansible/`, or is it.
    fn of_directory(directory: &Path) -> Option<Core> {
        let path = [
            directory.join("ansible"),
            directory.join("lib/ansible"),
            directory.to_owned(),
        ]
        .into_iter()
        .find(|path| path.join("module_utils/basic.py").is_file())?;
        let release = std::fs::read_to_string(path.join("release.py")).ok()?;
        let line = release
            .lines()
            .find(|line| line.starts_with("__version__"))?;
        let version = line.split(['\'', '"']).nth(1)?.to_owned();
        Some(Core {
            path,
            version,
            python: None,
        })
    }

    /// The one that an interpreter imports.
    fn of_interpreter(interpreter: &Path) -> Option<Core> {
        let asked = Command::new(interpreter)
            .args(["-c", ASK])
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8(asked.stdout).ok()?;
        let mut lines = said.lines();
        let (path, version, python) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Core {
            path: path.into(),
            version: version.to_owned(),
            python: Some(python.into()),
        })
    }

    /// Whether its contract with modules is the one that is spoken here.
    fn understood(self) -> Result<Core, String> {
        let mut parts = self.version.split('.').map(str::parse);
        let (major, minor): (u32, u32) = match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
            _ => (0, 0),
        };
        if (major, minor) < (2, 20) {
            return Err(format!(
                "ansible-core {} at {} is too old for modules that are not native: 2.20 or newer is needed",
                self.version,
                self.path.display()
            ));
        }
        Ok(self)
    }

    /// The source of a module of `ansible.builtin`, if there is one.
    pub fn module(&self, leaf: &str) -> Option<PathBuf> {
        let plain = leaf
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let path = self.path.join("modules").join(format!("{leaf}.py"));
        (plain && path.is_file()).then_some(path)
    }
}

/// Looks in all places.
fn find() -> Result<Core, String> {
    if let Some(told) = std::env::var_os(VARIABLE).filter(|told| !told.is_empty()) {
        let told = PathBuf::from(told);
        let found = if told.is_dir() {
            Core::of_directory(&told)
        } else {
            Core::of_interpreter(&told)
        };
        return found.ok_or_else(|| {
            format!(
                "{VARIABLE} names {}, where no ansible-core is",
                told.display()
            )
        });
    }
    if let Some(found) = Core::of_interpreter(Path::new("python3")) {
        return Ok(found);
    }
    let this = std::env::current_exe().ok();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for directory in std::env::split_paths(&path) {
        for name in ["ansible-playbook", "ansible"] {
            let program = directory.join(name);
            if std::fs::canonicalize(&program).ok() == this {
                continue;
            }
            let Some(interpreter) = shebang_of(&program) else {
                continue;
            };
            if let Some(found) = Core::of_interpreter(&interpreter) {
                return Ok(found);
            }
        }
    }
    Err(format!(
        "no ansible-core was found on this machine: install one that python3 imports, or name its directory or interpreter in {VARIABLE}"
    ))
}

/// The interpreter that the first line of a script names.
pub(super) fn shebang_of(program: &Path) -> Option<PathBuf> {
    use std::io::Read;
    let mut head = [0; 256];
    let length = std::fs::File::open(program).ok()?.read(&mut head).ok()?;
    let line = std::str::from_utf8(head[..length].split(|byte| *byte == b'\n').next()?).ok()?;
    let interpreter = line.strip_prefix("#!")?.split_whitespace().next()?;
    interpreter.contains("python").then(|| interpreter.into())
}

/// Files of sources, read once.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    read: Mutex<HashMap<PathBuf, Option<Arc<[u8]>>>>,
}

impl Sources {
    /// What a file holds; none if there is no such file.
    pub(crate) fn get(&self, path: &Path) -> Option<Arc<[u8]>> {
        if let Some(known) = self.read.lock().get(path) {
            return known.clone();
        }
        let content = std::fs::read(path).ok().map(Arc::from);
        self.read.lock().insert(path.to_owned(), content.clone());
        content
    }
}
