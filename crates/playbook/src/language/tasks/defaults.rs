//! `module_defaults`, by full names of actions and of groups of actions.

use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;

use super::{Result, Tasks};
use crate::source::{Content, Located, Node, Notice};

impl Tasks<'_> {
    /// `module_defaults`: a list of mappings from full names of actions and groups.
    pub(super) fn module_defaults(self, node: &Node) -> Result<Option<Value>> {
        let levels: Vec<&Node> = match node.content() {
            Content::Scalar(Value::None) => return Ok(None),
            Content::Sequence(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut validated = Vec::new();
        for level in levels {
            let Some(entries) = level.mapping() else {
                return Err(Located::parser(
                    "The field 'module_defaults' is supposed to be a dictionary or list of dictionaries, the keys of which must be static action, module, or group names. Only the values may contain templates. For example: {'ping': \"{{ ping_defaults }}\"}",
                )
                .about_node(level));
            };
            let mut defaults: IndexMap<Key, Value> = IndexMap::new();
            for (key, value) in entries {
                let name = key.as_str().unwrap_or_default();
                if let Some(group) = name.strip_prefix("group/") {
                    let group = self.group(group)?;
                    defaults.insert(Key::from(format!("group/{group}").as_str()), value.value());
                    continue;
                }
                let name = if name.split('.').count() < 3 {
                    format!("ansible.legacy.{name}")
                } else {
                    name.to_owned()
                };
                let actions = &self.draft.loader.actions;
                match actions.resolve(&name, &[])? {
                    Some(resolved) => {
                        defaults.insert(Key::from(&*resolved.name), value.value());
                    }
                    None => {
                        return Err(Located::parser(format!(
                            "Could not resolve action {name} in module_defaults"
                        )));
                    }
                }
                if let Some(leaf) = name.strip_prefix("ansible.legacy.")
                    && let Some(resolved) =
                        actions.resolve(&format!("ansible.builtin.{leaf}"), &[])?
                {
                    defaults.insert(Key::from(&*resolved.name), value.value());
                }
            }
            validated.push(Value::Dict(Dict::new(defaults)));
        }
        Ok(Some(Value::list(validated)))
    }

    /// The full name of a group of actions, whose members the play then knows.
    fn group(self, name: &str) -> Result<String> {
        let full = if name.split('.').count() >= 3 {
            name.to_owned()
        } else {
            format!("ansible.builtin.{name}")
        };
        let mut groups = self.draft.groups.lock();
        if !groups.contains_key(&full) {
            let mut wrong = Vec::new();
            let members = self.draft.loader.actions.group(&full, &mut wrong);
            if self.draft.loader.settings.validate_action_group_metadata {
                for wrong in wrong {
                    let notice = Notice::Warning(Located::new(wrong));
                    self.draft.loader.notice(notice);
                }
            }
            let Some(members) = members else {
                return Err(Located::parser(format!(
                    "Error loading module_defaults: could not resolve the module_defaults group {full}"
                )));
            };
            groups.insert(full.clone(), members);
        }
        Ok(full)
    }
}
