//! Inventory plugins, vars plugins and caches of facts that are written in Python.

use consort_jinja::{Dict, Value};
use serde_json::{Value as Json, json};

use super::wire::Handles;
use super::{Bridge, Error, located, nothing};
use crate::source::Located;
use crate::variables::FactCache;

/// What an inventory plugin made of a source.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    /// Hosts with their variables.
    pub(crate) hosts: Vec<(String, Dict)>,
    /// Groups.
    pub(crate) groups: Vec<Machinery>,
    /// What it warned of.
    pub(crate) warnings: Vec<Located>,
}

/// A group, as a plugin made it.
#[derive(Debug)]
pub(crate) struct Machinery {
    /// Its name.
    pub(crate) name: String,
    /// Its hosts.
    pub(crate) hosts: Vec<String>,
    /// Its subgroups.
    pub(crate) children: Vec<String>,
    /// Its variables.
    pub(crate) variables: Dict,
}

impl From<Error> for Located {
    fn from(error: Error) -> Self {
        match &error {
            Error::Refused(refusal) => located::of_chain(&json!({
                "chain": refusal.chain,
                "message": refusal.message,
            })),
            _ => Located::new(error.to_string()),
        }
    }
}

fn words(of: &Json) -> Vec<String> {
    of.as_array()
        .into_iter()
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect()
}

impl Bridge {
    fn dict(&self, json: Json) -> Result<Dict, Error> {
        Ok(match self.read(json)? {
            Value::Dict(dict) => dict,
            _ => Dict::default(),
        })
    }

    /// Lets an inventory plugin read a source, with what is known so far; none if it does not want to.
    pub(crate) fn inventory(
        &self,
        plugin: &str,
        source: &str,
        known: &Machines,
    ) -> Result<Option<Machines>, Error> {
        let mut handles = Handles::default();
        let hosts: Vec<Json> = known
            .hosts
            .iter()
            .map(|(name, variables)| json!({"name": name, "vars": handles.entries(variables)}))
            .collect();
        let groups: Vec<Json> = known
            .groups
            .iter()
            .map(|group| {
                json!({"name": group.name, "hosts": group.hosts, "children": group.children})
            })
            .collect();
        let request = json!({
            "plugin": plugin,
            "source": source,
            "cache": true,
            "hosts": hosts,
            "groups": groups,
        });
        let none = Dict::default();
        let done = self.ask_with("inventory", request, &mut handles, &none)?;
        if done.is_null() {
            return Ok(None);
        }
        let text = |of: &Json| of.as_str().unwrap_or_default().to_owned();
        let mut machines = Machines::default();
        for host in done["hosts"].as_array().into_iter().flatten() {
            let variables = self.dict(host["vars"].clone())?;
            machines.hosts.push((text(&host["name"]), variables));
        }
        for group in done["groups"].as_array().into_iter().flatten() {
            machines.groups.push(Machinery {
                name: text(&group["name"]),
                hosts: words(&group["hosts"]),
                children: words(&group["children"]),
                variables: self.dict(group["vars"].clone())?,
            });
        }
        for warned in done["warned"].as_array().into_iter().flatten() {
            machines.warnings.push(located::of_warning(warned));
        }
        Ok(Some(machines))
    }

    /// Whether there are vars plugins beside the one for files.
    pub(crate) fn has_variable_plugins(&self) -> Result<bool, Error> {
        if let Some(known) = self.0.variable_plugins.get() {
            return Ok(*known);
        }
        let found = self.call("vars_plugins", json!({}), &mut nothing)?;
        let found = found.as_array().is_some_and(|names| !names.is_empty());
        Ok(*self.0.variable_plugins.get_or_init(|| found))
    }

    /// What vars plugins say of a group (`group_vars`) or host (`host_vars`) for a directory.
    pub(crate) fn variables(
        &self,
        directory: &str,
        kind: &str,
        name: &str,
    ) -> Result<(Dict, Vec<Located>), Error> {
        let request = json!({"path": directory, "kind": kind, "name": name});
        let mut done = self.call("vars", request, &mut nothing)?;
        let warnings = done["warned"]
            .as_array()
            .into_iter()
            .flatten()
            .map(located::of_warning)
            .collect();
        Ok((self.dict(done["value"].take())?, warnings))
    }

    /// The setting of a plugin, and where it comes from.
    pub(crate) fn setting(
        &self,
        kind: &str,
        plugin: &str,
        name: &str,
        variables: &dyn consort_jinja::Variables,
    ) -> Result<(Value, String), Error> {
        let mut handles = Handles::default();
        let request = json!({"type": kind, "plugin": plugin, "name": name});
        let mut done = self.ask_with("config", request, &mut handles, variables)?;
        let origin = done["origin"].as_str().unwrap_or_default().to_owned();
        Ok((self.read(done["value"].take())?, origin))
    }
}

/// Facts kept by a cache plugin in Python.
pub(crate) struct ForeignCache {
    pub(crate) bridge: Bridge,
    pub(crate) plugin: String,
}

impl ForeignCache {
    fn ask(&self, what: &str, host: &str, facts: &Json) -> Result<Json, Error> {
        let request = json!({"plugin": self.plugin, "what": what, "host": host, "facts": facts});
        self.bridge.call("cache", request, &mut nothing)
    }
}

impl FactCache for ForeignCache {
    fn load(&self, host: &str) -> Result<Option<Dict>, String> {
        let read = || {
            let mut found = self.ask("load", host, &Json::Null)?;
            self.bridge.read(found["value"].take())
        };
        match read() {
            Ok(Value::Dict(facts)) => Ok(Some(facts)),
            Ok(_) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn store(&self, host: &str, facts: &Dict) -> Result<(), String> {
        let facts = Handles::default().entries(facts);
        self.ask("store", host, &facts)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn forget(&self, host: &str) {
        // What is not there need not be forgotten.
        let _ = self.ask("forget", host, &Json::Null);
    }
}
