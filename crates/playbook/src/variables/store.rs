//! What variables there are in a run: of the inventory, facts, what tasks set, extra variables.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consort_jinja::{Dict, Str, Value};
use parking_lot::{Mutex, RwLock};

use super::cache::FactCache;
use super::facts::{self, Facts};
use super::reserved::{warn_of_name, warn_of_reserved};
use crate::inventory::{Inventory, merged};
use crate::source::{Located, Notice, Notices};
use crate::template::Templar;

/// The variables of a run.
pub struct Store {
    pub(super) inventory: RwLock<Inventory>,
    /// Counts what changed of the inventory: what was derived from an older one is not used.
    version: AtomicU64,
    hosts: RwLock<HashMap<Arc<str>, Arc<HostStore>>>,
    pub(super) cache: Box<dyn FactCache>,
    /// `-e`.
    pub(super) extra: Dict,
    /// `ansible_version`, `ansible_check_mode`, ...: what the options of the run are as variables.
    pub(super) options: Dict,
    pub(super) templar: Templar,
    /// Whether facts are variables of their own.
    pub(super) inject_facts: bool,
    /// Whether the default was taken for that: who uses one is told that this will change.
    pub(super) inject_by_default: bool,
    /// Whether dicts of the same name are merged over all layers.
    pub(super) merge: bool,
    pub(super) notices: Notices,
    broken: Mutex<Option<Located>>,
    groups: Mutex<Option<(u64, Dict)>>,
    layers: Mutex<HashMap<HostIn, (u64, Arc<HostLayers>)>>,
}

/// A host, and the playbook's directory its variables are looked for beside.
type HostIn = (Arc<str>, Option<PathBuf>);

/// What is known of a host beside the inventory.
#[derive(Debug)]
pub struct HostStore {
    pub(super) facts: RwLock<Facts>,
    /// `include_vars`.
    pub(super) included: Dict,
    /// `set_fact` and `register`.
    pub(super) set: Dict,
}

/// The variables of the inventory for a host: lowest first.
#[derive(Debug, Default)]
pub(crate) struct HostLayers {
    pub(super) name: Arc<str>,
    pub(super) dicts: Vec<Dict>,
    /// `inventory_hostname`, `group_names`, ...
    pub(super) magic: Dict,
}

/// What a [`Store`] is made of.
pub struct StoreOptions {
    /// Hosts and groups.
    pub inventory: Inventory,
    /// Where facts are kept.
    pub cache: Box<dyn FactCache>,
    /// `-e`.
    pub extra: Dict,
    /// What the options of the run are as variables.
    pub options: Dict,
    /// Renders what variables of other hosts hold.
    pub templar: Templar,
    /// `inject_facts_as_vars`, and whether it was set.
    pub inject_facts: Option<bool>,
    /// `hash_behaviour` is `merge`.
    pub merge: bool,
    /// Is told what there is to warn of while variables are found.
    pub notices: Notices,
}

impl Store {
    /// With nothing known of any host yet.
    pub fn new(options: StoreOptions) -> Arc<Self> {
        Arc::new(Store {
            inventory: RwLock::new(options.inventory),
            version: AtomicU64::new(0),
            hosts: RwLock::default(),
            cache: options.cache,
            extra: options.extra,
            options: options.options,
            templar: options.templar,
            inject_facts: options.inject_facts.unwrap_or(true),
            inject_by_default: options.inject_facts.is_none(),
            merge: options.merge,
            notices: options.notices,
            broken: Mutex::default(),
            groups: Mutex::default(),
            layers: Mutex::default(),
        })
    }

    /// Looks at the inventory.
    pub fn inventory<T>(&self, look: impl FnOnce(&Inventory) -> T) -> T {
        look(&self.inventory.read())
    }

    /// Changes the inventory.
    pub fn change_inventory<T>(&self, change: impl FnOnce(&mut Inventory) -> T) -> T {
        let changed = change(&mut self.inventory.write());
        self.version.fetch_add(1, Ordering::Release);
        changed
    }

    /// Counts the changes of the inventory.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is known of a host.
    pub fn host(&self, name: &str) -> Arc<HostStore> {
        if let Some(host) = self.hosts.read().get(name) {
            return Arc::clone(host);
        }
        let mut hosts = self.hosts.write();
        let known = hosts.entry(Arc::from(name)).or_insert_with(|| {
            let facts = Facts::default();
            match self.cache.load(name) {
                Ok(Some(kept)) => facts.add(&kept),
                Ok(None) => {}
                Err(message) => {
                    self.broken.lock().get_or_insert(Located::new(message));
                }
            }
            Arc::new(HostStore {
                facts: RwLock::new(facts),
                included: facts::empty(),
                set: facts::empty(),
            })
        });
        Arc::clone(known)
    }

    /// Adds facts of a host.
    ///
    /// # Errors
    /// They cannot be kept: a message.
    pub fn add_facts(&self, host: &str, facts: &Dict) -> Result<(), String> {
        self.examine(facts);
        let known = self.host(host);
        let known = known.facts.read();
        known.add(facts);
        self.cache.store(host, &known.given)
    }

    /// Forgets the facts of a host.
    pub fn clear_facts(&self, host: &str) {
        *self.host(host).facts.write() = Facts::default();
        self.cache.forget(host);
    }

    /// Sets variables as `set_fact` and `register` do.
    pub fn set(&self, host: &str, variables: &Dict) {
        self.examine(variables);
        let variables = variables.read().clone();
        self.host(host).set.change(|set| set.extend(variables));
    }

    /// Sets a variable as `register` does.
    pub fn set_one(&self, host: &str, name: &Str, value: Value) {
        warn_of_name(&Value::Str(name.clone()), &self.notices);
        self.host(host)
            .set
            .insert(consort_jinja::Key::from(&**name), value);
    }

    /// Warns of names that variables should not have.
    pub(super) fn examine(&self, variables: &Dict) {
        warn_of_reserved(variables, &self.notices);
    }

    /// Sets variables as `include_vars` does.
    pub fn include(&self, host: &str, variables: &Dict) {
        self.examine(variables);
        let known = self.host(host);
        let variables = variables.read().clone();
        known.included.change(|included| {
            for (name, value) in variables {
                let merged = match (included.get(&name), &value) {
                    (Some(Value::Dict(old)), Value::Dict(new)) if self.merge => {
                        Value::Dict(merged(old, new))
                    }
                    _ => value,
                };
                included.insert(name, merged);
            }
        });
    }

    /// Whether facts are variables of their own.
    pub fn injects_facts(&self) -> bool {
        self.inject_facts
    }

    /// Whether facts were gathered on a host.
    pub fn has_facts(&self, host: &str) -> bool {
        self.host(host)
            .facts
            .read()
            .given
            .get("_ansible_facts_gathered")
            .is_some_and(|gathered| gathered.truth().unwrap_or(false))
    }

    /// `groups`: the hosts of each group.
    pub(super) fn groups(&self) -> Dict {
        let version = self.version();
        let mut known = self.groups.lock();
        if let Some((of, groups)) = &*known
            && *of == version
        {
            return groups.clone();
        }
        let groups: Dict = self.inventory(|inventory| {
            inventory
                .groups
                .keys()
                .map(|name| {
                    if inventory.is_open(name) {
                        let unknown = crate::template::unknown(&format!("groups.{name}"));
                        return (Arc::clone(name), unknown);
                    }
                    let hosts: Vec<Value> = inventory
                        .hosts_of(name)
                        .iter()
                        .map(|host| Value::from(&**host))
                        .collect();
                    (Arc::clone(name), Value::from(hosts))
                })
                .collect()
        });
        *known = Some((version, groups.clone()));
        groups
    }

    fn found(&self, host: &str, directory: Option<&Path>) -> Vec<Dict> {
        self.inventory(|inventory| {
            if inventory.host(host).is_none() {
                // Who is only delegated to need not be known.
                return Vec::new();
            }
            let directories: Vec<&Path> = directory.into_iter().collect();
            let layers = inventory.layers(host, &directories, &self.notices);
            layers
                .inspect(|layers| layers.iter().for_each(|layer| self.examine(layer)))
                .unwrap_or_else(|error| {
                    self.broken.lock().get_or_insert(error);
                    Vec::new()
                })
        })
    }

    /// What went wrong with the variables of some host since this was last asked.
    pub fn take_error(&self) -> Option<Located> {
        self.broken.lock().take()
    }

    /// Warns of something.
    pub fn warn(&self, message: impl Into<String>) {
        (self.notices)(Notice::Warning(Located::new(message)));
    }

    /// What the inventory says of a host, with the files beside it and beside the playbook.
    pub(crate) fn layers(&self, host: &str, directory: Option<&Path>) -> Arc<HostLayers> {
        let version = self.version();
        let key = (Arc::from(host), directory.map(Path::to_owned));
        if let Some((of, layers)) = self.layers.lock().get(&key)
            && *of == version
        {
            return Arc::clone(layers);
        }
        let layers = Arc::new(HostLayers {
            name: Arc::clone(&key.0),
            dicts: self.found(host, directory),
            magic: self.inventory(|inventory| magic(inventory, host)),
        });
        self.layers
            .lock()
            .insert(key, (version, Arc::clone(&layers)));
        layers
    }
}

fn magic(inventory: &Inventory, host: &str) -> Dict {
    let groups: Vec<Value> = inventory
        .host(host)
        .map(|host| {
            inventory
                .group_names(host)
                .iter()
                .map(|name| Value::from(&**name))
                .collect()
        })
        .unwrap_or_default();
    [
        ("inventory_hostname", Value::from(host)),
        (
            "inventory_hostname_short",
            Value::from(Inventory::short_name(host)),
        ),
        ("group_names", Value::from(groups)),
    ]
    .into_iter()
    .collect()
}
