//! What a machine is to do, as it is told to the process that does it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::executor::Options;
use crate::source::{Located, Reader};
use crate::unattended::{Given, Run};
use crate::values;
use crate::vault::{Secret, Vault};

/// A playbook for the machine it is run on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// The directory of the source. Paths begin here, and here settings are looked for.
    pub directory: PathBuf,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The playbooks, in order.
    pub playbooks: Vec<PathBuf>,
    /// The name of the machine as a host.
    pub host: String,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// Inventories; of their hosts only this machine is worked on.
    pub inventory: Vec<PathBuf>,
    /// Variables that count over all others. Texts in them may be templates.
    pub variables: Map<String, serde_json::Value>,
    /// Variables like these, but for those that have one of the same name; texts in them are taken as they are.
    pub values: Map<String, serde_json::Value>,
    /// Only tasks with these tags.
    pub tags: Vec<String>,
    /// No tasks with these tags.
    pub skip_tags: Vec<String>,
    /// Change nothing; tell what would change.
    pub check: bool,
    /// Passwords of the vault, each with its name.
    pub vault: Vec<(String, String)>,
}

impl Job {
    /// As a run.
    ///
    /// # Errors
    /// Something is wrong with the variables.
    pub(super) fn run(&self) -> Result<Run, Located> {
        let within = |path: &PathBuf| self.directory.join(path);
        let secrets = self.vault.iter().map(|(id, password)| Secret {
            id: id.clone(),
            password: password.clone().into_bytes(),
        });
        Ok(Run {
            playbooks: self.playbooks.iter().map(within).collect(),
            root: self.directory.clone(),
            inventory: self
                .inventory
                .iter()
                .map(|path| within(path).to_string_lossy().into_owned())
                .collect(),
            hosts: vec![Given {
                name: Arc::from(self.host.as_str()),
                variables: [("ansible_connection", "local")].into_iter().collect(),
                groups: self.groups.clone(),
            }],
            open_groups: Vec::new(),
            variables: self.all_variables()?,
            limit: (!self.inventory.is_empty())
                .then(|| format!("{},localhost,127.0.0.1,::1", self.host)),
            vault: Arc::new(Vault::new(secrets.collect())),
            secrets: None,
            environment: self.environment.clone(),
            options: Options {
                check: self.check,
                tags: self.tags.clone(),
                skip_tags: self.skip_tags.clone(),
                ..Options::default()
            },
        })
    }

    fn all_variables(&self) -> Result<Dict, Located> {
        let written = serde_json::Value::Object(self.variables.clone()).to_string();
        // What stands in the playbook's object is its user's own text, as that of a command line is.
        let read = Reader::new()
            .parse(&written, "<variables>", true)?
            .map(|node| node.value());
        let Some(Value::Dict(variables)) = read else {
            return Err(Located::new("The variables are no mapping."));
        };
        variables.change(|entries| {
            for (name, value) in &self.values {
                entries
                    .entry(Key::from(name.as_str()))
                    .or_insert_with(|| values::from_json(value.clone()));
            }
        });
        Ok(variables)
    }
}
