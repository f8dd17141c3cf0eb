//! A plan as JSON, format 1.2.

use consort_hcl::{Type, json};

use super::SchemaSet;
use super::config::config_json;
use super::state::{Modules, Row, checks, mode_word, write_module, write_state};
use super::value;
use super::write::{self, Object};
use crate::address::{Mode as ResourceMode, ModuleInstance};
use crate::config::Tree;
use crate::engine::{Action, Change, Mode, Plan};
use crate::state::TERRAFORM_VERSION;

/// The plan in the form of `terraform show -json`.
///
/// # Errors
/// When an object of the state does not follow its type's schema.
pub fn plan_json(plan: &Plan, tree: &Tree, schemas: &SchemaSet) -> Result<String, String> {
    let mut out = String::new();
    let mut problem = Ok(());
    write::object(&mut out, |fields| {
        fields.text("format_version", "1.2");
        fields.text("terraform_version", TERRAFORM_VERSION);
        write_variables(fields, plan, tree);
        fields.object("planned_values", |values| {
            write_planned(values, plan, schemas);
        });
        let drift: Vec<_> = plan
            .drift
            .iter()
            .filter(|change| plan.mode == Mode::RefreshOnly || change.action != Action::NoOp)
            .collect();
        if !drift.is_empty() {
            fields.list("resource_drift", drift, write_change);
        }
        let changes: Vec<_> = plan
            .changes
            .iter()
            .filter(|change| is_shown(change))
            .collect();
        if !changes.is_empty() {
            fields.list("resource_changes", changes, write_change);
        }
        if !plan.deferred.is_empty() {
            fields.list("deferred_changes", &plan.deferred, |out, deferred| {
                write::object(out, |fields| {
                    fields.text("reason", deferred.reason.word());
                    fields.object("resource_change", |fields| match &deferred.change {
                        Some(change) => change_fields(fields, change, &deferred.address()),
                        None => {
                            let resource = &deferred.resource.resource;
                            fields.text("address", &deferred.address());
                            fields.text("mode", mode_word(resource.mode));
                            fields.text("type", &resource.kind);
                            fields.text("name", &resource.name);
                        }
                    });
                });
            });
        }
        if !plan.outputs.is_empty() {
            fields.object("output_changes", |outputs| {
                for (name, change) in &plan.outputs {
                    outputs.object(name, |fields| {
                        fields.list("actions", change.action.words(), |out, word| {
                            write::string(out, word);
                        });
                        fields.raw("before", &value::plain(&change.before));
                        if let Some(known) = value::known_part(&change.after) {
                            fields.raw("after", &known);
                        }
                        let unknown = if change.after.is_wholly_known() {
                            "false".to_owned()
                        } else {
                            value::unknown_part(&change.after)
                        };
                        fields.raw("after_unknown", &unknown);
                        fields.flag("before_sensitive", change.sensitive);
                        fields.flag("after_sensitive", change.sensitive);
                    });
                }
            });
        }
        if !plan.prior_state.is_empty() {
            let mut text = String::new();
            let mut state = plan.prior_state.clone();
            state.check_results = None;
            problem = write_state(&mut text, &state, schemas);
            fields.raw("prior_state", &text);
        }
        fields.raw("configuration", &config_json(tree, schemas));
        if !plan.relevant.is_empty() {
            fields.list(
                "relevant_attributes",
                &plan.relevant,
                |out, (address, path)| {
                    write::object(out, |fields| {
                        fields.text("resource", &address.to_string());
                        fields.raw("attribute", &value::path(path));
                    });
                },
            );
        }
        if !plan.checks.blocks.is_empty() {
            fields.raw("checks", &checks(&plan.checks));
        }
        fields.text("timestamp", &plan.timestamp);
        fields.flag("applyable", !plan.errored && plan.has_changes());
        fields.flag("complete", plan.is_complete());
        fields.flag("errored", plan.errored);
    });
    problem?;
    Ok(out)
}

fn is_shown(change: &Change) -> bool {
    !(change.address.resource.mode == ResourceMode::Data && change.action == Action::Delete)
        && change.address.resource.mode != ResourceMode::Ephemeral
}

fn write_variables(fields: &mut Object<'_>, plan: &Plan, tree: &Tree) {
    let declared = &tree.module.variables;
    let values: Vec<_> = declared
        .iter()
        .filter_map(|(name, variable)| {
            // An ephemeral value is not in a plan; a default is in the configuration anyway.
            let planned = if variable.ephemeral {
                None
            } else {
                plan.given.get(name).or(plan.variables.get(name))
            };
            let value = planned.or(variable.default.as_ref())?;
            Some((name, value))
        })
        .collect();
    if values.is_empty() {
        return;
    }
    fields.object("variables", |fields| {
        for (name, value) in values {
            fields.object(name, |fields| fields.raw("value", &value::plain(value)));
        }
    });
}

fn write_planned(values: &mut Object<'_>, plan: &Plan, schemas: &SchemaSet) {
    let outputs: Vec<_> = plan
        .outputs
        .iter()
        .filter(|(_, change)| change.action != Action::Delete)
        .collect();
    if !outputs.is_empty() {
        values.object("outputs", |fields| {
            for (name, change) in outputs {
                fields.object(name, |fields| {
                    fields.flag("sensitive", change.sensitive);
                    if change.after.is_wholly_known() {
                        let (value, _) = change.after.clone().unmark_deep();
                        // A plan does not tell the type of a null.
                        let ty = if value.is_null() {
                            &Type::Dynamic
                        } else {
                            value.ty()
                        };
                        fields.raw("type", &json::type_encode(ty));
                        fields.raw("value", &value::plain(&value));
                    }
                });
            }
        });
    }
    let rows = plan
        .changes
        .iter()
        .filter(|change| change.deposed.is_none() && change.action != Action::Delete)
        .map(|change| Row {
            address: change.address.clone(),
            provider: change.provider.provider.clone(),
            schema_version: schemas
                .resource(&change.provider.provider, &change.address.resource)
                .map_or(0, |schema| schema.version),
            value: change.after.clone(),
            identity: None,
            depends_on: Vec::new(),
            tainted: false,
            deposed: None,
        })
        .collect();
    values.object("root_module", |root| {
        write_module(root, &ModuleInstance::root(), &Modules::new(rows));
    });
}

fn write_change(out: &mut String, change: &Change) {
    write::object(out, |fields| {
        change_fields(fields, change, &change.address.to_string());
    });
}

fn change_fields(fields: &mut Object<'_>, change: &Change, address: &str) {
    fields.text("address", address);
    if change.previous_address != change.address {
        fields.text("previous_address", &change.previous_address.to_string());
    }
    if !change.address.module.is_root() {
        fields.text("module_address", &change.address.module.to_string());
    }
    fields.text("mode", mode_word(change.address.resource.mode));
    fields.text("type", &change.address.resource.kind);
    fields.text("name", &change.address.resource.name);
    if let Some(key) = value::key(&change.address.key) {
        fields.raw("index", &key);
    }
    fields.text("provider_name", &change.provider.provider.to_string());
    if let Some(key) = &change.deposed {
        fields.text("deposed", key);
    }
    fields.object("change", |fields| {
        fields.list("actions", change.action.words(), |out, word| {
            write::string(out, word);
        });
        fields.raw("before", &value::plain(&change.before));
        if let Some(known) = value::known_part(&change.after) {
            fields.raw("after", &known);
        }
        let unknown = if change.after.is_wholly_known() {
            "{}".to_owned()
        } else {
            value::unknown_part(&change.after)
        };
        fields.raw("after_unknown", &unknown);
        fields.raw("before_sensitive", &value::sensitive_part(&change.before));
        fields.raw("after_sensitive", &value::sensitive_part(&change.after));
        if !change.replace_paths.is_empty() {
            fields.list("replace_paths", &change.replace_paths, |out, path| {
                out.push_str(&value::path(path));
            });
        }
        if let Some(importing) = &change.importing {
            fields.object("importing", |fields| {
                if !importing.id.is_empty() {
                    fields.text("id", &importing.id);
                }
                if let Some(identity) = &importing.identity {
                    fields.raw("identity", &value::plain(identity));
                }
            });
        }
        if let Some(generated) = &change.generated_config {
            fields.text("generated_config", generated);
        }
        if let Some(identity) = &change.identity.before {
            fields.raw("before_identity", &value::plain(identity));
        }
        if let Some(identity) = &change.identity.after {
            fields.raw(
                "after_identity",
                &value::known_part(identity).unwrap_or_else(|| "null".to_owned()),
            );
        }
    });
    if let Some(reason) = change.reason {
        fields.text("action_reason", reason.word());
    }
}
