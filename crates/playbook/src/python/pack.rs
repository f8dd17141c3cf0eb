//! A module and all that it needs, as one package: the import closure of a Python module as a zip archive, or the program
//! that another kind of module is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_modules::Invocation;
use parking_lot::Mutex;
use regex::bytes::Regex;

use super::closure::{ALWAYS, Closure};
use super::content::{
    archive, complete, digest_of, has, is_binary, is_new_python, leaf, replace, shebang,
};
use super::core::{Core, Sources};
use crate::connection::{Packed, PackedKind};
use crate::source::{Node, Reader};

/// What old modules have in the place of an import.
const REPLACER: &[u8] = b"#<<INCLUDE_ANSIBLE_MODULE_COMMON>>";

/// Why a module cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The module cannot be read.
    #[error("reading the module {path}")]
    Read {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It needs ansible-core, and there is none.
    #[error("the module {name} is real Python and needs ansible-core on the controller: {why}")]
    NoCore {
        /// The module.
        name: String,
        /// What is missing.
        why: String,
    },
    /// It imports something that is nowhere.
    #[error("Could not find imported module support code for {module}. Looked for ({looked_for})")]
    NotFound {
        /// The full name of the module.
        module: String,
        /// What was looked for, as a list of Python.
        looked_for: String,
    },
    /// It is of a kind that cannot be run: for PowerShell.
    #[error("the module {name} is one of PowerShell, which is not run")]
    PowerShell {
        /// The module.
        name: String,
    },
    /// It says nothing of how it is run.
    #[error("module ({name}) is missing interpreter line")]
    NoInterpreter {
        /// The module.
        name: String,
    },
    /// The archive cannot be made.
    #[error("packing the module {name}")]
    Archive {
        /// The module.
        name: String,
        /// Why.
        source: zip::result::ZipError,
    },
}

/// A module that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The full name: `community.general.ufw`, `ansible.legacy.mine`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// The interpreters of a host: what stands in `ansible_python_interpreter` and its like.
pub trait Interpreters {
    /// The Python interpreter, discovered if it has to be.
    fn python(&self) -> String;

    /// The interpreter that a host has in place of another: `ansible_NAME_interpreter` for the program's name.
    fn other(&self, name: &str) -> Option<String>;
}

/// Finds the directory of an installed collection.
pub type FindCollection = Box<dyn Fn(&str) -> Option<PathBuf> + Send + Sync>;

/// Makes packages, each once.
pub struct Packer {
    /// Directories whose files stand before those of ansible-core's `module_utils`, in order.
    pub(super) overrides: Mutex<Vec<PathBuf>>,
    /// How many of them the settings name; these come last.
    named: usize,
    collection: FindCollection,
    /// How many files modules may have open, if that is to be set.
    pub open_files: Option<u64>,
    pub(super) sources: Sources,
    made: Mutex<HashMap<(String, PathBuf), Arc<Made>>>,
    routes: Mutex<HashMap<String, Arc<HashMap<String, String>>>>,
}

/// What was made of a module, without its interpreter.
struct Made {
    content: Arc<[u8]>,
    digest: String,
    shape: Shape,
}

/// What kind a module is.
enum Shape {
    Python {
        module: String,
        alone: bool,
        interpreter: Option<Vec<String>>,
    },
    WantsJson,
    OldStyle,
    JsonArguments,
    Binary,
}

impl Packer {
    /// One that has made nothing yet.
    pub fn new(overrides: Vec<PathBuf>, collection: FindCollection) -> Self {
        Packer {
            named: overrides.len(),
            overrides: Mutex::new(overrides),
            collection,
            open_files: None,
            sources: Sources::default(),
            made: Mutex::default(),
            routes: Mutex::default(),
        }
    }

    /// Lets the files of one more directory stand before those of ansible-core's `module_utils`, and after those of directories
    /// that were added before.
    pub fn add_override(&self, directory: PathBuf) {
        let mut overrides = self.overrides.lock();
        let place = overrides.len() - self.named;
        overrides.insert(place, directory);
        drop(overrides);
        self.made.lock().clear();
    }

    /// Whether a module asks for a Python interpreter.
    ///
    /// # Errors
    /// It cannot be packed.
    pub fn wants_python(&self, found: &Found) -> Result<bool, Error> {
        let made = self.made(found)?;
        Ok(match &made.shape {
            Shape::Python { interpreter, .. } => interpreter
                .as_ref()
                .is_none_or(|words| leaf(&words[0]) == "python"),
            Shape::Binary => false,
            _ => shebang(&made.content).is_some_and(|words| leaf(&words[0]) == "python"),
        })
    }

    /// The package of a module for a host. Blocks: it reads files.
    ///
    /// # Errors
    /// It cannot be packed.
    pub fn pack(
        &self,
        found: &Found,
        invocation: &Invocation,
        interpreters: &dyn Interpreters,
    ) -> Result<Packed, Error> {
        let made = self.made(found)?;
        let own = |words: Vec<String>| -> String {
            let name = leaf(&words[0]);
            let replaced = if name == "python" {
                Some(interpreters.python())
            } else {
                interpreters.other(name)
            };
            let mut line = replaced.unwrap_or_else(|| words[0].clone());
            for word in &words[1..] {
                line.push(' ');
                line.push_str(word);
            }
            line
        };
        let script = || {
            shebang(&made.content)
                .map(own)
                .ok_or_else(|| Error::NoInterpreter {
                    name: found.name.clone(),
                })
        };
        let (mut content, mut digest) = (Arc::clone(&made.content), made.digest.clone());
        let kind = match &made.shape {
            Shape::Python {
                module,
                alone,
                interpreter,
            } => PackedKind::Python {
                module: module.clone(),
                interpreter: own(interpreter
                    .clone()
                    .unwrap_or_else(|| vec!["/usr/bin/python".to_owned()])),
                alone: *alone,
                open_files: self.open_files,
            },
            Shape::WantsJson => PackedKind::WantsJson {
                interpreter: Some(script()?),
            },
            Shape::OldStyle => PackedKind::OldStyle {
                interpreter: Some(script()?),
            },
            Shape::Binary => PackedKind::Binary,
            Shape::JsonArguments => {
                let interpreter = Some(script()?);
                content = complete(&made.content, found, invocation).into();
                digest = digest_of(&content);
                PackedKind::Complete { interpreter }
            }
        };
        Ok(Packed {
            name: found.name.clone(),
            digest,
            content,
            kind,
        })
    }

    /// What is made of a module, made once.
    fn made(&self, found: &Found) -> Result<Arc<Made>, Error> {
        let key = (found.name.clone(), found.path.clone());
        if let Some(made) = self.made.lock().get(&key) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(self.make(found)?);
        self.made.lock().insert(key, Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, found: &Found) -> Result<Made, Error> {
        let mut content = std::fs::read(&found.path).map_err(|source| Error::Read {
            path: found.path.clone(),
            source,
        })?;
        let replaced = has(&content, REPLACER);
        if replaced {
            content = replace(
                &content,
                REPLACER,
                b"from ansible.module_utils.basic import *",
            );
        }
        let powershell = || {
            let said = Regex::new(
                r"(?i)#Requires -Module|#Requires -Version|#AnsibleRequires -(OSVersion|PowerShell|CSharpUtil|Wrapper)",
            );
            has(&content, b"# POWERSHELL_COMMON") || said.is_ok_and(|said| said.is_match(&content))
        };
        let shape = if is_binary(&content) {
            Shape::Binary
        } else if replaced || is_new_python(&content) {
            return self.python(found, content);
        } else if powershell() {
            return Err(Error::PowerShell {
                name: found.name.clone(),
            });
        } else if has(&content, b"<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>") {
            Shape::JsonArguments
        } else if has(&content, b"WANT_JSON") {
            Shape::WantsJson
        } else {
            Shape::OldStyle
        };
        Ok(Made {
            digest: digest_of(&content),
            content: content.into(),
            shape,
        })
    }

    /// The archive of a Python module.
    fn python(&self, found: &Found, content: Vec<u8>) -> Result<Made, Error> {
        let core = Core::installed().map_err(|why| Error::NoCore {
            name: found.name.clone(),
            why,
        })?;
        let module = full_name(found, &core);
        let mut closure = Closure::of(self, &core, &module);
        let stub = "from pkgutil import extend_path\n__path__=extend_path(__path__,__name__)\n";
        let release = format!(
            "{stub}__version__=\"{}\"\n__author__=\"Ansible, Inc.\"\n",
            core.version
        );
        closure.add("ansible/__init__.py", release.into_bytes());
        closure.add("ansible/module_utils/__init__.py", stub.as_bytes().to_vec());
        closure.source(&content, &module, false);
        for name in ALWAYS {
            closure.want(name.split('.').map(str::to_owned).collect(), false);
        }
        closure.follow()?;
        let interpreter = shebang(&content);
        let path: Vec<&str> = module.split('.').collect();
        closure.add(&format!("{}.py", path.join("/")), content);
        for length in 1..path.len() {
            let init = format!("{}/__init__.py", path[..length].join("/"));
            closure.files.entry(init).or_default();
        }
        let alone = closure.alone;
        let archive = archive(&closure.files).map_err(|source| Error::Archive {
            name: found.name.clone(),
            source,
        })?;
        Ok(Made {
            digest: digest_of(&archive),
            content: archive.into(),
            shape: Shape::Python {
                module,
                alone,
                interpreter,
            },
        })
    }

    /// Where `module_utils` of a collection (`ansible.builtin` too) have gone: new full names by old ones below
    /// `module_utils`.
    pub(super) fn routes(&self, core: &Core, collection: &str) -> Arc<HashMap<String, String>> {
        if let Some(known) = self.routes.lock().get(collection) {
            return Arc::clone(known);
        }
        let file = if collection == "ansible.builtin" {
            Some(core.path.join("config/ansible_builtin_runtime.yml"))
        } else {
            (self.collection)(collection)
                .map(|directory| directory.join("meta/runtime.yml"))
                .filter(|path| path.is_file())
        };
        let mut routes = HashMap::new();
        let text = file.and_then(|path| self.sources.get(&path));
        if let Some(text) = text.filter(|text| has(text, b"module_utils:")) {
            let node = Reader::default()
                .parse(&String::from_utf8_lossy(&text), collection, false)
                .ok()
                .flatten();
            let entries = node
                .as_ref()
                .and_then(|node| node.get("plugin_routing")?.get("module_utils")?.mapping());
            for (name, entry) in entries.unwrap_or_default() {
                let to = entry.get("redirect").and_then(Node::as_str);
                if let (Some(name), Some(to)) = (name.as_str(), to) {
                    routes.insert(name.to_owned(), expanded(to));
                }
            }
        }
        let routes = Arc::new(routes);
        self.routes
            .lock()
            .insert(collection.to_owned(), Arc::clone(&routes));
        routes
    }
}

/// The full name of what a `module_utils` is redirected to.
fn expanded(to: &str) -> String {
    if to.starts_with("ansible_collections") || to.starts_with("ansible.") {
        return to.to_owned();
    }
    let mut parts = to.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(collection), Some(rest)) => {
            format!("ansible_collections.{namespace}.{collection}.plugins.module_utils.{rest}")
        }
        _ => to.to_owned(),
    }
}

impl Packer {
    /// A path below a collection's directory: `namespace/name/plugins/...`.
    pub(super) fn below_collection(&self, path: &str) -> Option<PathBuf> {
        let mut parts = path.splitn(3, '/');
        let (namespace, name) = (parts.next()?, parts.next()?);
        let directory = (self.collection)(&format!("{namespace}.{name}"))?;
        Some(match parts.next() {
            Some(rest) => directory.join(rest),
            None => directory,
        })
    }

    /// The source of a module or a package, by its path without an ending.
    pub(super) fn python_file(&self, path: &Path) -> Option<(Vec<u8>, bool)> {
        if let Some(content) = self.sources.get(&path.join("__init__.py")) {
            return Some((content.to_vec(), true));
        }
        let mut file = path.to_owned().into_os_string();
        file.push(".py");
        self.sources
            .get(Path::new(&file))
            .map(|content| (content.to_vec(), false))
    }
}

/// The full name of a module by where its file is.
fn full_name(found: &Found, core: &Core) -> String {
    let without = found.path.with_extension("");
    let text = without.to_string_lossy();
    let below = if let Ok(below) = without.strip_prefix(core.path.join("modules")) {
        Some(format!("ansible/modules/{}", below.display()))
    } else {
        text.find("/ansible_collections/")
            .map(|at| text[at + 1..].to_owned())
            .filter(|below| {
                let parts: Vec<&str> = below.split('/').collect();
                parts.len() >= 6 && parts[3] == "plugins" && parts[4] == "modules"
            })
    };
    match below {
        Some(below) if !below.contains('.') => below.replace('/', "."),
        _ => format!("ansible.legacy.{}", leaf_of_name(&found.name)),
    }
}

fn leaf_of_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
