//! The values a walk has come to, by module instance.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use consort_hcl::Value;
use parking_lot::RwLock;

use super::index::ModuleIx;
use crate::address::{Key, ModuleInstance, Resource};

/// What `count` and `each` stand for in one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Repetition {
    pub(super) count_index: Option<Value>,
    pub(super) each: Option<(Value, Value)>,
}

/// What a block with `count` or `for_each` expands to.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    Single,
    Count(usize),
    Each(BTreeMap<Arc<str>, Value>),
    /// Not known yet.
    Unknown,
}

impl Keys {
    /// The instances, each with what `count` and `each` are in it.
    pub(super) fn instances(&self) -> Vec<(Key, Repetition)> {
        match self {
            Keys::Single => vec![(Key::None, Repetition::default())],
            Keys::Count(count) => (0..*count)
                .map(|index| {
                    let number = Value::number(index as i64);
                    (
                        Key::Int(index as i64),
                        Repetition {
                            count_index: Some(number),
                            each: None,
                        },
                    )
                })
                .collect(),
            Keys::Each(each) => each
                .iter()
                .map(|(key, value)| {
                    let each = (Value::shared_string(key.clone()), value.clone());
                    (
                        Key::String(key.clone()),
                        Repetition {
                            count_index: None,
                            each: Some(each),
                        },
                    )
                })
                .collect(),
            Keys::Unknown => Vec::new(),
        }
    }
}

/// What a module call expanded to.
#[derive(Clone)]
pub(super) enum Calls {
    Single(Arc<ModuleTable>),
    Count(Vec<Arc<ModuleTable>>),
    Each(BTreeMap<Arc<str>, Arc<ModuleTable>>),
    /// Only what the call gives is known, as a value.
    Typed(Value),
    Unknown,
}

impl Calls {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<ModuleTable>> {
        match (self, key) {
            (Calls::Single(table), Key::None) => Some(table),
            (Calls::Count(tables), Key::Int(index)) => tables.get(usize::try_from(*index).ok()?),
            (Calls::Each(tables), Key::String(key)) => tables.get(key),
            _ => None,
        }
    }
}

/// One instance of a module and the values of what is declared in it.
pub(super) struct ModuleTable {
    pub(super) ix: ModuleIx,
    pub(super) address: ModuleInstance,
    /// What `count` and `each` are for the call's arguments.
    pub(super) repetition: Repetition,
    /// The instance it is called from.
    pub(super) caller: Option<Arc<ModuleTable>>,
    pub(super) variables: RwLock<HashMap<Arc<str>, Value>>,
    pub(super) locals: RwLock<HashMap<Arc<str>, Value>>,
    pub(super) outputs: RwLock<BTreeMap<Arc<str>, Value>>,
    pub(super) resources: RwLock<HashMap<Resource, Value>>,
    pub(super) calls: RwLock<HashMap<Arc<str>, Calls>>,
    /// Whole modules, `module.x` without an output, once all outputs are known.
    wholes: RwLock<HashMap<Arc<str>, Value>>,
}

impl ModuleTable {
    pub(super) fn new(
        ix: ModuleIx,
        address: ModuleInstance,
        repetition: Repetition,
        caller: Option<Arc<ModuleTable>>,
    ) -> Arc<Self> {
        Arc::new(ModuleTable {
            ix,
            address,
            repetition,
            caller,
            variables: RwLock::default(),
            locals: RwLock::default(),
            outputs: RwLock::default(),
            resources: RwLock::default(),
            calls: RwLock::default(),
            wholes: RwLock::default(),
        })
    }

    fn as_value(&self) -> Value {
        Value::object(
            self.outputs
                .read()
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        )
    }

    /// The value of `module.<name>`: an object of outputs, or a tuple or an object of those.
    pub(super) fn whole_module(&self, name: &str) -> Value {
        if let Some(value) = self.wholes.read().get(name) {
            return value.clone();
        }
        let value = match self.calls.read().get(name) {
            None | Some(Calls::Unknown) => return Value::DYNAMIC,
            Some(Calls::Typed(value)) => return value.clone(),
            Some(Calls::Single(table)) => table.as_value(),
            Some(Calls::Count(tables)) => {
                Value::tuple(tables.iter().map(|table| table.as_value()).collect())
            }
            Some(Calls::Each(tables)) => Value::object(
                tables
                    .iter()
                    .map(|(key, table)| (key.clone(), table.as_value())),
            ),
        };
        self.wholes.write().insert(name.into(), value.clone());
        value
    }
}

/// All module instances, by module.
pub(super) struct World {
    tables: RwLock<Vec<Vec<Arc<ModuleTable>>>>,
    /// Modules of which not all instances are known yet.
    unknown: RwLock<Vec<bool>>,
}

impl World {
    pub(super) fn new(modules: usize) -> Self {
        let mut tables: Vec<Vec<Arc<ModuleTable>>> = vec![Vec::new(); modules];
        tables[0].push(ModuleTable::new(
            ModuleIx::ROOT,
            ModuleInstance::root(),
            Repetition::default(),
            None,
        ));
        World {
            tables: RwLock::new(tables),
            unknown: RwLock::new(vec![false; modules]),
        }
    }

    pub(super) fn root(&self) -> Arc<ModuleTable> {
        self.tables.read()[0][0].clone()
    }

    /// The instances of a module.
    pub(super) fn instances(&self, ix: ModuleIx) -> Vec<Arc<ModuleTable>> {
        self.tables.read()[ix.0].clone()
    }

    /// The instances of all modules, callers before the called.
    pub(super) fn all(&self) -> Vec<Arc<ModuleTable>> {
        self.tables.read().iter().flatten().cloned().collect()
    }

    pub(super) fn add(&self, table: Arc<ModuleTable>) {
        self.tables.write()[table.ix.0].push(table);
    }

    pub(super) fn set_unknown(&self, ix: ModuleIx) {
        self.unknown.write()[ix.0] = true;
    }

    pub(super) fn is_unknown(&self, ix: ModuleIx) -> bool {
        self.unknown.read()[ix.0]
    }
}
