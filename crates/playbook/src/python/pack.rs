//! A module and all that it needs, as one package: the import closure of a Python module as a zip archive, or the program
//! that another kind of module is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_modules::Invocation;
use parking_lot::Mutex;
use regex::bytes::Regex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

use super::call;
use super::core::{Core, Sources};
use super::imports::{embeds, imports};
use crate::connection::{Packed, PackedKind};
use crate::source::{Node, Reader};

/// Modules of ansible-core that every Python module needs to be run.
const ALWAYS: &[&str] = &[
    "ansible.module_utils._internal._ansiballz._loader",
    "ansible.module_utils.basic",
    "ansible.module_utils._internal._json._profiles._module_legacy_c2m",
    "ansible.module_utils._internal._json._profiles._module_legacy_m2c",
];

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
    overrides: Mutex<Vec<PathBuf>>,
    /// How many of them the settings name; these come last.
    named: usize,
    collection: FindCollection,
    /// How many files modules may have open, if that is to be set.
    pub open_files: Option<u64>,
    sources: Sources,
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
        let mut closure = Closure {
            packer: self,
            core: &core,
            module: &module,
            files: BTreeMap::new(),
            alone: false,
            wanted: Vec::new(),
        };
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
    fn routes(&self, core: &Core, collection: &str) -> Arc<HashMap<String, String>> {
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

/// Something that is to be brought along.
struct Wanted {
    name: Vec<String>,
    optional: bool,
    /// A package that may be missing because what is below it has gone elsewhere.
    made_up: bool,
    /// Whether the last part may be something in a module.
    ambiguous: bool,
}

/// The files that a module needs, while they are found.
struct Closure<'a> {
    packer: &'a Packer,
    core: &'a Core,
    module: &'a str,
    files: BTreeMap<String, Vec<u8>>,
    alone: bool,
    wanted: Vec<Wanted>,
}

/// A source that was found.
struct Source {
    name: Vec<String>,
    content: Vec<u8>,
    package: bool,
    redirected: bool,
}

impl Closure<'_> {
    fn add(&mut self, path: &str, content: Vec<u8>) {
        self.files.insert(path.to_owned(), content);
    }

    fn want(&mut self, name: Vec<String>, optional: bool) {
        self.wanted.push(Wanted {
            name,
            optional,
            made_up: false,
            ambiguous: true,
        });
    }

    /// Wants all that a source imports.
    fn source(&mut self, content: &[u8], name: &str, package: bool) {
        let text = String::from_utf8_lossy(content);
        for import in imports(&text, name, package) {
            self.want(import.name, import.optional);
        }
        for (package, resource) in embeds(&text, name) {
            self.embed(&package, &resource);
        }
    }

    /// Brings a file that a source reads from its package.
    fn embed(&mut self, package: &str, resource: &str) {
        let below = package.replace('.', "/");
        let directory = match below.strip_prefix("ansible_collections/") {
            Some(rest) => self.packer.below_collection(rest),
            None => self.core.path.parent().map(|root| root.join(&below)),
        };
        let found =
            directory.and_then(|directory| self.packer.sources.get(&directory.join(resource)));
        if let Some(content) = found {
            self.add(&format!("{below}/{resource}"), content.to_vec());
            let parts: Vec<&str> = below.split('/').collect();
            for length in 1..=parts.len() {
                let init = format!("{}/__init__.py", parts[..length].join("/"));
                self.files.entry(init).or_default();
            }
        }
    }

    /// Finds what is wanted, and what that wants, until nothing more is.
    fn follow(&mut self) -> Result<(), Error> {
        let mut done: HashSet<Vec<String>> = HashSet::new();
        while let Some(wanted) = self.wanted.pop() {
            let known =
                wanted.name.len() < 3 && wanted.name.first().is_some_and(|name| name == "ansible");
            if known || done.contains(&wanted.name) {
                continue;
            }
            done.insert(wanted.name.clone());
            let Some(source) = self.locate(&wanted) else {
                if wanted.optional {
                    continue;
                }
                let looked_for: Vec<String> = candidates(&wanted)
                    .iter()
                    .map(|name| format!("'{}'", name.join(".")))
                    .collect();
                return Err(Error::NotFound {
                    module: self.module.to_owned(),
                    looked_for: format!("[{}]", looked_for.join(", ")),
                });
            };
            done.insert(source.name.clone());
            let path = source.name.join("/");
            let path = if source.package {
                format!("{path}/__init__.py")
            } else {
                format!("{path}.py")
            };
            if self.files.contains_key(&path) {
                continue;
            }
            self.source(&source.content, &source.name.join("."), source.package);
            self.add(&path, source.content);
            for length in 1..source.name.len() {
                self.wanted.push(Wanted {
                    name: source.name[..length].to_vec(),
                    optional: wanted.optional,
                    made_up: source.redirected,
                    ambiguous: false,
                });
            }
        }
        Ok(())
    }

    /// Finds one.
    fn locate(&mut self, wanted: &Wanted) -> Option<Source> {
        let core = wanted.name[0] == "ansible";
        for name in candidates(wanted) {
            let found = if core {
                self.core_file(&name)
                    .or_else(|| self.redirected(&name, "ansible.builtin", 2))
            } else {
                let collection = name.get(1..3).map(|parts| parts.join("."));
                collection
                    .and_then(|collection| self.redirected(&name, &collection, 5))
                    .or_else(|| self.collection_file(&name))
            };
            if found.is_some() {
                return found;
            }
        }
        wanted.made_up.then(|| Source {
            name: wanted.name.clone(),
            content: Vec::new(),
            package: true,
            redirected: false,
        })
    }

    /// A file of `ansible.module_utils`: of a directory that goes before, or of ansible-core.
    fn core_file(&mut self, name: &[String]) -> Option<Source> {
        let below: PathBuf = name.get(2..)?.iter().collect();
        let own = self.core.path.join("module_utils");
        let packer = self.packer;
        let overrides = packer.overrides.lock().clone();
        let directories = overrides.iter().map(|path| (path.as_path(), true));
        for (directory, overrides) in directories.chain([(own.as_path(), false)]) {
            if let Some((content, package)) = packer.python_file(&directory.join(&below)) {
                if overrides && packer.python_file(&own.join(&below)).is_some() {
                    self.alone = true;
                }
                return Some(Source {
                    name: name.to_vec(),
                    content,
                    package,
                    redirected: false,
                });
            }
        }
        None
    }

    /// A file of a collection's `module_utils`. The packages above are empty.
    fn collection_file(&mut self, name: &[String]) -> Option<Source> {
        if name.len() < 6 {
            return Some(Source {
                name: name.to_vec(),
                content: Vec::new(),
                package: true,
                redirected: false,
            });
        }
        let directory = self.packer.below_collection(&name[1..].join("/"))?;
        let (content, package) = match self.packer.python_file(&directory) {
            Some(found) => found,
            // a directory of a collection is a package also where it does not say so
            None if directory.is_dir() => (Vec::new(), true),
            None => return None,
        };
        Some(Source {
            name: name.to_vec(),
            content,
            package,
            redirected: false,
        })
    }

    /// What stands for a module that has gone elsewhere.
    fn redirected(&mut self, name: &[String], collection: &str, skipped: usize) -> Option<Source> {
        let below = name
            .get(skipped..)
            .filter(|below| !below.is_empty())?
            .join(".");
        let to = self
            .packer
            .routes(self.core, collection)
            .get(&below)?
            .clone();
        let content = format!(
            "\nimport sys\nimport {to} as mod\n\nsys.modules['{}'] = mod\n",
            name.join(".")
        );
        Some(Source {
            name: name.to_vec(),
            content: content.into_bytes(),
            package: true,
            redirected: true,
        })
    }
}

impl Packer {
    /// A path below a collection's directory: `namespace/name/plugins/...`.
    fn below_collection(&self, path: &str) -> Option<PathBuf> {
        let mut parts = path.splitn(3, '/');
        let (namespace, name) = (parts.next()?, parts.next()?);
        let directory = (self.collection)(&format!("{namespace}.{name}"))?;
        Some(match parts.next() {
            Some(rest) => directory.join(rest),
            None => directory,
        })
    }

    /// The source of a module or a package, by its path without an ending.
    fn python_file(&self, path: &Path) -> Option<(Vec<u8>, bool)> {
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

/// The names that something wanted may have: itself, or the module it is in.
fn candidates(wanted: &Wanted) -> Vec<Vec<String>> {
    let name = &wanted.name;
    if name.len() > 2 && name[0] == "ansible" && name[2] == "six" {
        return vec![name[..3].to_vec()];
    }
    let skipped = if name[0] == "ansible" { 2 } else { 5 };
    let mut candidates = vec![name.clone()];
    if wanted.ambiguous && name.len() > skipped + 1 {
        candidates.push(name[..name.len() - 1].to_vec());
    }
    candidates
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

/// Whether a file is no text, by its beginning.
fn is_binary(content: &[u8]) -> bool {
    content
        .iter()
        .take(1024)
        .any(|byte| !(matches!(byte, 7..=10 | 12 | 13 | 27) || *byte >= 0x20) || *byte == 0x7f)
}

/// Whether a source is a Python module on `ansible.module_utils`.
fn is_new_python(content: &[u8]) -> bool {
    const SAID: &str = r"(?-u)(?:from +\.{2,} *module_utils.* +import |from +ansible_collections\.[^.]+\.[^.]+\.plugins\.module_utils.* +import |import +ansible_collections\.[^.]+\.[^.]+\.plugins\.module_utils.*|from +ansible\.module_utils.* +import |import +ansible\.module_utils\.)";
    static COMPILED: std::sync::OnceLock<Option<Regex>> = std::sync::OnceLock::new();
    COMPILED
        .get_or_init(|| Regex::new(SAID).ok())
        .as_ref()
        .is_some_and(|said| said.is_match(content))
}

/// The words of the first line of a script.
fn shebang(content: &[u8]) -> Option<Vec<String>> {
    let line = content
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let words = shlex::split(String::from_utf8_lossy(line).trim())?;
    (!words.is_empty()).then_some(words)
}

fn leaf(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn has(content: &[u8], what: &[u8]) -> bool {
    content.windows(what.len()).any(|part| part == what)
}

/// Replaces every place of a text.
fn replace(content: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(content.len());
    let mut at = 0;
    while at < content.len() {
        if content[at..].starts_with(what) {
            replaced.extend_from_slice(with);
            at += what.len();
        } else {
            replaced.push(content[at]);
            at += 1;
        }
    }
    replaced
}

/// A program with its arguments in it.
fn complete(content: &[u8], found: &Found, invocation: &Invocation) -> Vec<u8> {
    let packed = Packed {
        name: found.name.clone(),
        digest: String::new(),
        content: Arc::from([]),
        kind: PackedKind::Binary,
    };
    let arguments = Value::Object(call::arguments(&packed, invocation, None)).to_string();
    let settings = &invocation.settings;
    let mut content = replace(
        content,
        b"\"<<ANSIBLE_VERSION>>\"",
        format!("'{}'", call::VERSION).as_bytes(),
    );
    content = replace(
        &content,
        b"<<SELINUX_SPECIAL_FILESYSTEMS>>",
        settings.selinux_special_fs.join(",").as_bytes(),
    );
    content = replace(
        &content,
        b"<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>",
        arguments.as_bytes(),
    );
    replace(
        &content,
        b"syslog.LOG_USER",
        format!("syslog.{}", settings.syslog_facility).as_bytes(),
    )
}

/// A zip archive, the same for the same files.
fn archive(files: &BTreeMap<String, Vec<u8>>) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .unix_permissions(0o644);
    for (path, content) in files {
        archive.start_file(path.as_str(), options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn digest_of(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .take(20)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
