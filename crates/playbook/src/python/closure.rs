//! The files that a Python module needs beside its own: its imports, what they import, and what they read.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::core::Core;
use super::imports::{embeds, imports};
use super::pack::{Error, Packer};

/// Modules of ansible-core that every Python module needs to be run.
pub(super) const ALWAYS: &[&str] = &[
    "ansible.module_utils._internal._ansiballz._loader",
    "ansible.module_utils.basic",
    "ansible.module_utils._internal._json._profiles._module_legacy_c2m",
    "ansible.module_utils._internal._json._profiles._module_legacy_m2c",
];

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
pub(super) struct Closure<'a> {
    packer: &'a Packer,
    core: &'a Core,
    module: &'a str,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) alone: bool,
    wanted: Vec<Wanted>,
}

/// A source that was found.
struct Source {
    name: Vec<String>,
    content: Vec<u8>,
    package: bool,
    redirected: bool,
}

impl<'a> Closure<'a> {
    /// That of a module by its full name, with nothing found yet.
    pub(super) fn of(packer: &'a Packer, core: &'a Core, module: &'a str) -> Self {
        Closure {
            packer,
            core,
            module,
            files: BTreeMap::new(),
            alone: false,
            wanted: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, path: &str, content: Vec<u8>) {
        self.files.insert(path.to_owned(), content);
    }

    pub(super) fn want(&mut self, name: Vec<String>, optional: bool) {
        self.wanted.push(Wanted {
            name,
            optional,
            made_up: false,
            ambiguous: true,
        });
    }

    /// Wants all that a source imports.
    pub(super) fn source(&mut self, content: &[u8], name: &str, package: bool) {
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
    pub(super) fn follow(&mut self) -> Result<(), Error> {
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
