//! The variables of all hosts, and of one, as values of templates.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Object, Value, Variables as _, repr};

use super::chain::TaskVariables;
use super::store::Store;

/// `hostvars`: the variables of each host, as they are for that host.
pub(super) struct HostVariables {
    store: Arc<Store>,
    directory: Option<PathBuf>,
}

impl HostVariables {
    pub(super) fn new(store: &Arc<Store>, directory: Option<&Path>) -> Self {
        HostVariables {
            store: Arc::clone(store),
            directory: directory.map(Path::to_owned),
        }
    }
}

impl Object for HostVariables {
    fn type_name(&self) -> &'static str {
        "HostVars"
    }

    fn get(&self, name: &str) -> Option<Value> {
        let known = self
            .store
            .inventory(|inventory| inventory.host(name).is_some());
        if !known && !matches!(name, "localhost" | "127.0.0.1" | "::1") {
            return Some(Value::undefined(format!(
                "hostvars[{}]",
                repr::string(name)
            )));
        }
        let variables = TaskVariables::of_host(&self.store, name, self.directory.as_deref());
        Some(Value::Object(Arc::new(Chain {
            variables,
            host: Some(Arc::from(name)),
        })))
    }

    fn items(&self) -> Option<Vec<Value>> {
        Some(self.store.inventory(|inventory| {
            inventory
                .hosts
                .keys()
                .map(|name| Value::from(&**name))
                .collect()
        }))
    }

    fn is_mapping(&self) -> bool {
        true
    }

    fn count(&self) -> Option<usize> {
        Some(self.store.inventory(|inventory| inventory.hosts.len()))
    }

    fn may_be_stored(&self) -> bool {
        true
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

/// Variables as a mapping: each is rendered as whoever it belongs to sees it.
pub(crate) struct Chain {
    variables: TaskVariables,
    /// The host they are of, if they are another's.
    host: Option<Arc<str>>,
}

impl Chain {
    pub(crate) fn new(variables: TaskVariables) -> Self {
        Chain {
            variables,
            host: None,
        }
    }
}

impl Object for Chain {
    fn type_name(&self) -> &'static str {
        if self.host.is_some() {
            "HostVarsVars"
        } else {
            "dict"
        }
    }

    fn get(&self, name: &str) -> Option<Value> {
        let value = self.variables.get(name)?;
        if !value.may_hold_templates() {
            return Some(value);
        }
        let store = self.variables.store();
        Some(
            store
                .templar
                .environment()
                .render_value(&value, &self.variables)
                .unwrap_or_else(Value::failed),
        )
    }

    fn items(&self) -> Option<Vec<Value>> {
        Some(
            self.variables
                .names()
                .iter()
                // It holds this again.
                .filter(|name| &***name != "vars")
                .map(|name| Value::from(&**name))
                .collect(),
        )
    }

    fn is_mapping(&self) -> bool {
        true
    }

    fn may_be_stored(&self) -> bool {
        true
    }

    fn repr(&self) -> String {
        match &self.host {
            Some(host) => format!("HostVarsVars(self._host={}, ...)", repr::string(host)),
            None => "{...}".to_owned(),
        }
    }

    fn any(&self) -> &dyn Any {
        self
    }
}
