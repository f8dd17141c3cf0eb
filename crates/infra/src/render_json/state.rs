//! A state as JSON, format 1.0.

use std::collections::BTreeMap;

use consort_hcl::{Marks, Value, json};

use super::SchemaSet;
use super::value;
use super::write::{self, Object};
use crate::address::{Mode, ModuleInstance, ProviderSource, ResourceInstance};
use crate::engine::{CheckResults, known_paths};
use crate::state::{State, Status};

/// One object to be written.
pub(super) struct Row {
    pub(super) address: ResourceInstance,
    pub(super) provider: ProviderSource,
    pub(super) schema_version: i64,
    /// Marked; unknown parts are left out.
    pub(super) value: Value,
    pub(super) depends_on: Vec<String>,
    pub(super) tainted: bool,
    pub(super) deposed: Option<String>,
    /// What the provider tells it by, with the version of its schema.
    pub(super) identity: Option<(u64, String)>,
}

/// The state in the form of `terraform show -json`.
///
/// # Errors
/// When an object does not follow its type's schema.
pub fn state_json(state: &State, schemas: &SchemaSet) -> Result<String, String> {
    let mut out = String::new();
    write_state(&mut out, state, schemas)?;
    Ok(out)
}

pub(super) fn write_state(
    out: &mut String,
    state: &State,
    schemas: &SchemaSet,
) -> Result<(), String> {
    let rows = rows(state, schemas)?;
    write::object(out, |fields| {
        fields.text("format_version", "1.0");
        if state.is_empty() {
            return;
        }
        if !state.terraform_version.is_empty() {
            fields.text("terraform_version", &state.terraform_version);
        }
        if !state.is_empty() {
            fields.object("values", |values| {
                if !state.outputs.is_empty() {
                    values.object("outputs", |outputs| {
                        for (name, output) in &state.outputs {
                            outputs.object(name, |fields| {
                                fields.flag("sensitive", output.sensitive);
                                fields.raw("value", &output.value);
                                fields.raw("type", &output.kind);
                            });
                        }
                    });
                }
                values.object("root_module", |root| {
                    write_module(root, &ModuleInstance::root(), &Modules::new(rows));
                });
            });
        }
        if let Some(results) = state
            .check_results
            .as_ref()
            .filter(|results| !results.is_empty())
        {
            fields.raw("checks", &checks(&CheckResults::from_state(results)));
        }
    });
    Ok(())
}

fn rows(state: &State, schemas: &SchemaSet) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (address, resource) in &state.resources {
        let source = &resource.provider.provider;
        let Some(schema) = schemas.resource(source, &address.resource) else {
            return Err(format!(
                "no schema found for {address} (in provider {source})"
            ));
        };
        let ty = schema.block.implied_type();
        for (key, instance) in &resource.instances {
            let objects = instance.current.iter().map(|object| (None, object)).chain(
                instance
                    .deposed
                    .iter()
                    .map(|(key, object)| (Some(key.to_string()), object)),
            );
            for (deposed, object) in objects {
                let version = u64::try_from(schema.version).unwrap_or_default();
                if object.schema_version != version {
                    return Err(format!(
                        "schema version {} for {address}{key} in state does not match version {version} from the provider",
                        object.schema_version
                    ));
                }
                let value = json::decode(object.attributes.as_bytes(), &ty)
                    .map_err(|error| format!("the object of {address}{key}: {error}"))?;
                let marks: Vec<_> = known_paths(&object.sensitive)
                    .into_iter()
                    .map(|path| (path, Marks::SENSITIVE))
                    .collect();
                rows.push(Row {
                    address: address.instance(key.clone()),
                    provider: source.clone(),
                    schema_version: schema.version,
                    value: schema.block.mark_sensitive(value.mark_paths(&marks)),
                    identity: object
                        .identity
                        .as_ref()
                        .map(|identity| (identity.version, identity.value.to_string())),
                    depends_on: object
                        .dependencies
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                    tainted: object.status == Status::Tainted,
                    deposed,
                });
            }
        }
    }
    Ok(rows)
}

/// Rows by module, and the modules below each.
pub(super) struct Modules {
    rows: BTreeMap<ModuleInstance, Vec<(String, Row)>>,
    children: BTreeMap<ModuleInstance, Vec<ModuleInstance>>,
}

impl Modules {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let mut modules = Modules {
            rows: BTreeMap::new(),
            children: BTreeMap::new(),
        };
        for row in rows {
            let mut at = row.address.module.clone();
            while let Some((parent, _)) = at.split() {
                let children = modules.children.entry(parent.clone()).or_default();
                if !children.contains(&at) {
                    children.push(at.clone());
                }
                at = parent;
            }
            modules
                .rows
                .entry(row.address.module.clone())
                .or_default()
                .push((row.address.to_string(), row));
        }
        for rows in modules.rows.values_mut() {
            rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        for children in modules.children.values_mut() {
            children.sort_by_cached_key(ToString::to_string);
        }
        modules
    }
}

pub(super) fn write_module(fields: &mut Object<'_>, module: &ModuleInstance, modules: &Modules) {
    if let Some(rows) = modules.rows.get(module) {
        fields.list("resources", rows, |out, (text, row)| {
            write::object(out, |fields| write_row(fields, text, row));
        });
    }
    if !module.is_root() {
        fields.text("address", &module.to_string());
    }
    if let Some(children) = modules.children.get(module) {
        fields.list("child_modules", children, |out, child| {
            write::object(out, |fields| write_module(fields, child, modules));
        });
    }
}

pub(super) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Managed => "managed",
        Mode::Data => "data",
        Mode::Ephemeral => "ephemeral",
    }
}

fn write_row(fields: &mut Object<'_>, address: &str, row: &Row) {
    fields.text("address", address);
    fields.text("mode", mode_word(row.address.resource.mode));
    fields.text("type", &row.address.resource.kind);
    fields.text("name", &row.address.resource.name);
    if let Some(key) = value::key(&row.address.key) {
        fields.raw("index", &key);
    }
    fields.text("provider_name", &row.provider.to_string());
    fields.raw("schema_version", &row.schema_version.to_string());
    if let Some(known) =
        value::known_part(&row.value).filter(|known| known != "null" && known != "{}")
    {
        fields.raw("values", &known);
    }
    fields.raw("sensitive_values", &value::sensitive_part(&row.value));
    if !row.depends_on.is_empty() {
        fields.list("depends_on", &row.depends_on, |out, address| {
            write::string(out, address);
        });
    }
    if row.tainted {
        fields.flag("tainted", true);
    }
    if let Some(key) = &row.deposed {
        fields.text("deposed_key", key);
    }
    if let Some((version, identity)) = &row.identity {
        fields.raw("identity_schema_version", &version.to_string());
        fields.raw("identity", identity);
    }
}

/// The `checks` of plans and states.
pub(super) fn checks(results: &CheckResults) -> String {
    let mut out = String::new();
    write::list(&mut out, &results.blocks, |out, ((kind, block), check)| {
        write::object(out, |fields| {
            fields.object("address", |fields| {
                write_checkable(fields, kind.word(), block);
            });
            fields.text("status", results.status(*kind, block).word());
            if !check.objects.is_empty() {
                fields.list("instances", &check.objects, |out, (address, object)| {
                    write::object(out, |fields| {
                        fields.object("address", |fields| {
                            fields.text("to_display", address);
                            if let Ok(instance) = address.parse::<ResourceInstance>()
                                && kind.word() == "resource"
                            {
                                if let Some(key) = value::key(&instance.key) {
                                    fields.raw("instance_key", &key);
                                }
                                if !instance.module.is_root() {
                                    fields.text("module", &instance.module.to_string());
                                }
                            } else if let Some((module, _)) = split_module(address) {
                                fields.text("module", module);
                            }
                        });
                        fields.text("status", object.status.word());
                        if !object.messages.is_empty() {
                            fields.list("problems", &object.messages, |out, message| {
                                write::object(out, |fields| fields.text("message", message));
                            });
                        }
                    });
                });
            }
        });
    });
    out
}

/// `module.a.module.b` and what follows it.
fn split_module(address: &str) -> Option<(&str, &str)> {
    if !address.starts_with("module.") {
        return None;
    }
    let (head, name) = address.rsplit_once('.')?;
    let (module, _) = head.rsplit_once('.')?;
    Some((module, name))
}

fn write_checkable(fields: &mut Object<'_>, kind: &str, block: &str) {
    fields.text("kind", kind);
    fields.text("to_display", block);
    if kind == "resource" {
        if let Ok(resource) = block.parse::<crate::address::ConfigResource>() {
            fields.text("mode", mode_word(resource.resource.mode));
            fields.text("type", &resource.resource.kind);
            fields.text("name", &resource.resource.name);
            if !resource.module.is_root() {
                fields.text("module", &resource.module.to_string());
            }
        }
        return;
    }
    fields.text("name", block.rsplit('.').next().unwrap_or(block));
    if let Some((module, _)) = split_module(block) {
        fields.text("module", module);
    }
}
