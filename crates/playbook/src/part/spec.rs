//! The stanza `playbook:` of a part in `consort.yaml`.

use std::collections::BTreeMap;

use consort_plan::{Feed, From, below};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a part of playbooks is: the files, the hosts, and what of other parts goes into them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The playbook, or several in order, relative to the score.
    pub path: Paths,
    /// Sources of the inventory: files and directories, relative to the score, or lists of hosts with commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Paths>,
    /// Hosts beside those of the inventory: by group, or a list of those that are in no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Hosts>,
    /// Variables that count over all others (`-e`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Feed>,
    /// Only the hosts that match this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Only tasks with these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// No tasks with these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_tags: Vec<String>,
    /// How many hosts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forks: Option<u32>,
    /// The user to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The kind of connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The key to log in with: a file relative to the score, or its text from another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Feed>,
    /// The password to log in with, from another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Feed>,
    /// Become another user on the machines.
    #[serde(default)]
    pub r#become: bool,
    /// Whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub become_user: Option<String>,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub become_method: Option<String>,
    /// The password for that, from another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub become_password: Option<Feed>,
    /// What opens what is encrypted: a secret each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vault: Vec<VaultSecret>,
    /// Whether tasks only tell what they would change, also when the plan is carried out.
    #[serde(default)]
    pub check: bool,
    /// Whether what tasks made, and that are no longer in the files, is undone.
    #[serde(default)]
    pub prune: bool,
    /// How long a machine that is being made may take until it can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Outputs that the files do not show to be there: what `set_stats` gives in tasks that are included while it runs. Each
    /// with its type in Terraform's notation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

/// One path or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

impl Paths {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Paths::One(one) => std::slice::from_ref(one),
            Paths::Many(many) => many.as_slice(),
        }
        .iter()
        .map(String::as_str)
    }
}

/// Hosts that the stanza names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hosts {
    /// In no group.
    Listed(Vec<Host>),
    /// By group: hosts, or an output that gives them.
    Grouped(BTreeMap<String, Group>),
}

/// The hosts of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Group {
    /// An output of another part: addresses, hosts like those here, or either by name.
    Fed(From),
    /// Hosts.
    Listed(Vec<Host>),
}

/// A host: its name, or more about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Host {
    /// A name that is its address.
    Name(String),
    /// A host with all about it.
    Described(Box<Described>),
}

/// A host with all about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Described {
    /// Its name in the inventory.
    pub name: String,
    /// Its address; its name without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Feed>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Feed>,
    /// The user to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Feed>,
    /// The kind of connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Feed>,
    /// Words of a command that runs what follows them in the machine, as machines of the provider `consort` have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Feed>,
    /// Its variables.
    #[serde(default, alias = "vars", skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Feed>,
}

/// A secret of a vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VaultSecret {
    /// Its name; `default` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A file that holds the password, or a program that prints it, relative to the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The password, from another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Feed>,
}

impl Spec {
    /// What it takes of other parts, each as `PART.OUTPUT` with the JSON pointer of the place in the stanza that names it.
    pub fn feeds(&self) -> Vec<(String, String)> {
        let mut feeds = Vec::new();
        let mut take = |feed: Option<&Feed>, at: String| match feed {
            Some(Feed::From(From { from })) => feeds.push((from.clone(), format!("{at}/from"))),
            Some(Feed::Literal(value)) => inner(value, &at, &mut feeds),
            None => {}
        };
        for (name, feed) in &self.variables {
            take(Some(feed), below("/variables", name));
        }
        take(self.private_key.as_ref(), "/privateKey".to_owned());
        take(self.password.as_ref(), "/password".to_owned());
        take(self.become_password.as_ref(), "/becomePassword".to_owned());
        for (at, secret) in self.vault.iter().enumerate() {
            take(secret.password.as_ref(), format!("/vault/{at}/password"));
        }
        let mut host = |host: &Host, at: &str| {
            if let Host::Described(host) = host {
                for (field, feed) in host.fields() {
                    take(Some(feed), format!("{at}/{field}"));
                }
                take(host.exec.as_ref(), format!("{at}/exec"));
                for (name, feed) in &host.variables {
                    take(Some(feed), below(&format!("{at}/variables"), name));
                }
            }
        };
        let mut groups = Vec::new();
        match &self.hosts {
            None => {}
            Some(Hosts::Listed(hosts)) => {
                for (at, one) in hosts.iter().enumerate() {
                    host(one, &format!("/hosts/{at}"));
                }
            }
            Some(Hosts::Grouped(all)) => {
                for (name, group) in all {
                    let at = below("/hosts", name);
                    match group {
                        Group::Fed(From { from }) => {
                            groups.push((from.clone(), format!("{at}/from")));
                        }
                        Group::Listed(hosts) => {
                            for (place, one) in hosts.iter().enumerate() {
                                host(one, &format!("{at}/{place}"));
                            }
                        }
                    }
                }
            }
        }
        feeds.extend(groups);
        feeds
    }
}

impl Described {
    /// The fields beside name and variables, each with its name in the stanza.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &Feed)> {
        [
            ("address", &self.address),
            ("port", &self.port),
            ("user", &self.user),
            ("connection", &self.connection),
        ]
        .into_iter()
        .filter_map(|(name, feed)| Some((name, feed.as_ref()?)))
    }
}

/// The output that a value within a value is, if it is one: `{from: PART.OUTPUT}`.
pub(super) fn fed(value: &Value) -> Option<&str> {
    let fields = value.as_object()?;
    match (fields.len(), fields.get("from")) {
        (1, Some(Value::String(from))) => Some(from),
        _ => None,
    }
}

/// Outputs within a value of the stanza.
fn inner(value: &Value, at: &str, feeds: &mut Vec<(String, String)>) {
    if let Some(from) = fed(value) {
        feeds.push((from.to_owned(), format!("{at}/from")));
        return;
    }
    match value {
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                inner(item, &format!("{at}/{place}"), feeds);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                inner(field, &below(at, name), feeds);
            }
        }
        _ => {}
    }
}
