//! The `configuration` section of a plan.

use std::collections::BTreeMap;

use consort_hcl::traversal::Step;
use consort_hcl::{Body, BodySchema, Expr, Traversal, Value, json};

use super::SchemaSet;
use super::state::mode_word;
use super::value;
use super::write::{self, Object};
use crate::address::{Key, Mode};
use crate::config::{LocalProvider, Reference, Resource, Subject, Tree};
use crate::provider::schema::{Block, Nesting};

/// A provider configuration as the section lists it.
struct Listed {
    name: String,
    full_name: String,
    alias: Option<String>,
    version: Option<String>,
    module: String,
    expressions: String,
    /// The configuration it stands for, if it is not one of its own.
    parent: Option<String>,
}

pub(super) fn config_json(tree: &Tree, schemas: &SchemaSet) -> String {
    let mut providers = BTreeMap::new();
    list_providers(tree, None, schemas, &mut providers);
    let mut out = String::new();
    write::object(&mut out, |fields| {
        let own: Vec<_> = providers
            .iter()
            .filter(|(_, listed)| listed.parent.is_none())
            .collect();
        if !own.is_empty() {
            fields.object("provider_config", |fields| {
                for (key, listed) in own {
                    fields.object(key, |fields| {
                        fields.text("name", &listed.name);
                        fields.text("full_name", &listed.full_name);
                        if let Some(alias) = &listed.alias {
                            fields.text("alias", alias);
                        }
                        if let Some(version) = &listed.version {
                            fields.text("version_constraint", version);
                        }
                        if !listed.module.is_empty() {
                            fields.text("module_address", &listed.module);
                        }
                        if listed.expressions.len() > 2 {
                            fields.raw("expressions", &listed.expressions);
                        }
                    });
                }
            });
        }
        fields.object("root_module", |fields| {
            write_module(fields, tree, schemas, &providers);
        });
    });
    out
}

fn key(provider: &str, module: &str) -> String {
    if module.is_empty() {
        provider.to_owned()
    } else {
        format!("{module}:{provider}")
    }
}

fn source_key(
    start: &str,
    full_name: &str,
    providers: &BTreeMap<String, Listed>,
) -> Option<String> {
    let mut found = None;
    let mut at = Some(start.to_owned());
    while let Some(key) = at {
        let Some(listed) = providers
            .get(&key)
            .filter(|listed| listed.full_name == full_name)
        else {
            break;
        };
        let parent = listed.parent.clone();
        found = Some(key);
        at = parent;
    }
    found
}

fn list_providers(
    tree: &Tree,
    parent: Option<&str>,
    schemas: &SchemaSet,
    providers: &mut BTreeMap<String, Listed>,
) {
    let module = &tree.module;
    let path = module.path.to_string();
    let version_of = |name: &str| {
        module
            .required_providers
            .get(name)
            .and_then(|required| required.version.as_ref())
            .map(|version| version.constraints.canonical())
    };
    for (local, config) in &module.provider_configs {
        let expressions = schemas.get(&config.provider).map_or_else(
            || "{}".to_owned(),
            |schemas| expressions(&config.config, &schemas.provider),
        );
        providers.insert(
            key(&local.to_string(), &path),
            Listed {
                name: local.name.to_string(),
                full_name: config.provider.to_string(),
                alias: local.alias.as_ref().map(ToString::to_string),
                version: version_of(&local.name),
                module: path.clone(),
                expressions,
                parent: None,
            },
        );
    }
    let inherited = |name: &str, full_name: &str, providers: &BTreeMap<String, Listed>| {
        parent.and_then(|parent| source_key(&key(name, parent), full_name, providers))
    };
    let mut implied: Vec<(String, String)> = module
        .required_providers
        .values()
        .map(|required| (required.name.to_string(), required.address.to_string()))
        .collect();
    implied.extend(module.resources.values().map(|resource| {
        (
            resource.local_provider().name.to_string(),
            resource.provider.to_string(),
        )
    }));
    for (name, full_name) in implied {
        let own = key(&name, &path);
        if providers.contains_key(&own) {
            continue;
        }
        let listed = Listed {
            parent: inherited(&name, &full_name, providers),
            version: version_of(&name),
            name,
            full_name,
            alias: None,
            module: path.clone(),
            expressions: String::new(),
        };
        providers.insert(own, listed);
    }
    for (name, call) in &module.module_calls {
        let Some(child) = tree.children.get(name) else {
            continue;
        };
        let child_path = child.module.path.to_string();
        for passed in &call.providers {
            let full_name = child
                .module
                .provider_for_name(&passed.child.key.name)
                .to_string();
            let parent_key = key(&passed.parent.key.to_string(), &path);
            let listed = Listed {
                name: passed.child.key.to_string(),
                parent: source_key(&parent_key, &full_name, providers),
                full_name,
                alias: None,
                version: None,
                module: child_path.clone(),
                expressions: String::new(),
            };
            providers.insert(key(&passed.child.key.to_string(), &child_path), listed);
        }
        list_providers(child, Some(&path), schemas, providers);
    }
}

fn write_module(
    fields: &mut Object<'_>,
    tree: &Tree,
    schemas: &SchemaSet,
    providers: &BTreeMap<String, Listed>,
) {
    let module = &tree.module;
    if !module.outputs.is_empty() {
        fields.object("outputs", |fields| {
            for (name, output) in &module.outputs {
                fields.object(name, |fields| {
                    if output.sensitive {
                        fields.flag("sensitive", true);
                    }
                    let text = output
                        .value
                        .as_ref()
                        .map_or_else(|| "{}".to_owned(), expression);
                    fields.raw("expression", &text);
                    write_depends_on(fields, &output.depends_on);
                    if let Some(description) =
                        output.description.as_ref().filter(|text| !text.is_empty())
                    {
                        fields.text("description", description);
                    }
                });
            }
        });
    }
    let mut resources: Vec<&Resource> = Vec::new();
    for mode in [Mode::Managed, Mode::Data, Mode::Ephemeral] {
        let mut of_mode: Vec<_> = module.resources_of(mode).collect();
        of_mode.sort_by_cached_key(|resource| resource.address.to_string());
        resources.extend(of_mode);
    }
    if !resources.is_empty() {
        let path = module.path.to_string();
        fields.list("resources", resources, |out, resource| {
            write::object(out, |fields| {
                write_resource(fields, resource, &path, schemas, providers);
            });
        });
    }
    if !module.module_calls.is_empty() {
        fields.object("module_calls", |fields| {
            for (name, call) in &module.module_calls {
                let Some(child) = tree.children.get(name) else {
                    continue;
                };
                fields.object(name, |fields| {
                    if let Some(source) = &call.source {
                        fields.text("source", source);
                    }
                    let mut arguments = BTreeMap::new();
                    for attribute in call.config.arguments() {
                        if child.module.variables.contains_key(&attribute.name) {
                            arguments.insert(attribute.name.clone(), expression(&attribute.expr));
                        }
                    }
                    if !arguments.is_empty() {
                        fields.object("expressions", |fields| {
                            for (name, text) in &arguments {
                                fields.raw(name, text);
                            }
                        });
                    }
                    write_repetition(fields, call.count.as_ref(), call.for_each.as_ref());
                    fields.object("module", |fields| {
                        write_module(fields, child, schemas, providers);
                    });
                    if let Some(version) = &call.version {
                        fields.text("version_constraint", &version.constraints.to_string());
                    }
                    write_depends_on(fields, &call.depends_on);
                });
            }
        });
    }
    if !module.variables.is_empty() {
        fields.object("variables", |fields| {
            for (name, variable) in &module.variables {
                fields.object(name, |fields| {
                    if let Some(default) = &variable.default {
                        fields.raw("default", &value::plain(default));
                    }
                    if let Some(description) = variable
                        .description
                        .as_ref()
                        .filter(|text| !text.is_empty())
                    {
                        fields.text("description", description);
                    }
                    if variable.sensitive {
                        fields.flag("sensitive", true);
                    }
                });
            }
        });
    }
}

fn write_repetition(fields: &mut Object<'_>, count: Option<&Expr>, for_each: Option<&Expr>) {
    let text = count.map(expression).filter(|text| text != "{}");
    if let Some(text) = text {
        fields.raw("count_expression", &text);
        return;
    }
    if let Some(text) = for_each.map(expression).filter(|text| text != "{}") {
        fields.raw("for_each_expression", &text);
    }
}

fn write_depends_on(fields: &mut Object<'_>, depends_on: &[Traversal]) {
    if depends_on.is_empty() {
        return;
    }
    fields.list("depends_on", depends_on, |out, traversal| {
        let text = Reference::parse(traversal).map_or_else(
            |_| traversal.text(),
            |reference| reference.subject.to_string(),
        );
        write::string(out, &text);
    });
}

fn write_resource(
    fields: &mut Object<'_>,
    resource: &Resource,
    path: &str,
    schemas: &SchemaSet,
    providers: &BTreeMap<String, Listed>,
) {
    fields.text("address", &resource.address.to_string());
    fields.text("mode", mode_word(resource.address.mode));
    fields.text("type", &resource.address.kind);
    fields.text("name", &resource.address.name);
    let local: LocalProvider = resource.local_provider();
    let own = key(&local.to_string(), path);
    let provider = providers
        .get(&own)
        .and_then(|listed| listed.parent.clone())
        .unwrap_or(own);
    fields.text("provider_config_key", &provider);
    if !resource.managed.provisioners.is_empty() {
        fields.list(
            "provisioners",
            &resource.managed.provisioners,
            |out, provisioner| {
                write::object(out, |fields| {
                    fields.text("type", &provisioner.kind);
                    let mut arguments = BTreeMap::new();
                    for attribute in provisioner.config.arguments() {
                        arguments.insert(attribute.name.clone(), expression(&attribute.expr));
                    }
                    if !arguments.is_empty() {
                        fields.object("expressions", |fields| {
                            for (name, text) in &arguments {
                                fields.raw(name, text);
                            }
                        });
                    }
                });
            },
        );
    }
    if let Some(schema) = schemas.resource(&resource.provider, &resource.address) {
        let text = expressions(&resource.config, &schema.block);
        if text != "{}" {
            fields.raw("expressions", &text);
        }
        fields.raw("schema_version", &schema.version.to_string());
    }
    write_repetition(fields, resource.count.as_ref(), resource.for_each.as_ref());
    write_depends_on(fields, &resource.depends_on);
}

/// The arguments of a body, each as a constant or as what it refers to.
fn expressions(body: &Body, schema: &Block) -> String {
    let mut wanted = BodySchema::new().optional(schema.attributes.keys().map(|name| &**name));
    for (name, nested) in &schema.blocks {
        let labels: &[&str] = if matches!(nested.nesting, Nesting::Map) {
            &["key"]
        } else {
            &[]
        };
        wanted = wanted.block(name, labels);
    }
    let (content, _, _) = body.partial_content(&wanted);
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    for name in schema.attributes.keys() {
        if let Some(attribute) = content.attribute(name) {
            entries.insert(name.to_string(), expression(&attribute.expr));
        }
    }
    for (name, references, value) in schema.attributes_as_blocks(body) {
        entries.insert(name.to_string(), described(value.as_ref(), &references));
    }
    for (name, nested) in &schema.blocks {
        let blocks: Vec<_> = content.blocks_of(name).collect();
        if blocks.is_empty() {
            continue;
        }
        let mut text = String::new();
        match nested.nesting {
            Nesting::Single | Nesting::Group => {
                if let Some(block) = blocks.last() {
                    text = expressions(&block.body, &nested.block);
                }
            }
            Nesting::Map => write::object(&mut text, |fields| {
                for block in blocks {
                    fields.raw(block.label(0), &expressions(&block.body, &nested.block));
                }
            }),
            _ => write::list(&mut text, blocks, |out, block| {
                out.push_str(&expressions(&block.body, &nested.block));
            }),
        }
        entries.insert(name.to_string(), text);
    }
    let mut out = String::new();
    write::object(&mut out, |fields| {
        for (name, text) in &entries {
            fields.raw(name, text);
        }
    });
    out
}

fn expression(expr: &Expr) -> String {
    let (constant, diagnostics) = expr.evaluate_constant();
    let constant = (!diagnostics.has_errors()).then_some(constant);
    described(constant.as_ref(), &expr.references())
}

/// An argument by its value, if that is constant, and by what it refers to.
fn described(constant: Option<&Value>, traversals: &[Traversal]) -> String {
    let mut out = String::new();
    write::object(&mut out, |fields| {
        let text = constant
            .filter(|constant| constant.is_known())
            .and_then(|constant| json::encode(constant, constant.ty()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(text) = text {
            fields.raw("constant_value", &text);
        }
        let mut references = Vec::new();
        for traversal in traversals {
            list_reference(&mut references, traversal);
        }
        if !references.is_empty() {
            fields.list("references", references, |out, reference| {
                write::string(out, &reference);
            });
        }
    });
    out
}

fn list_reference(into: &mut Vec<String>, traversal: &Traversal) {
    let Ok(reference) = Reference::parse(traversal) else {
        return;
    };
    let subject = reference.subject.to_string();
    let mut remaining = reference.remaining(traversal);
    while let Some((_, shorter)) = remaining.split_last() {
        into.push(format!("{subject}{}", steps(remaining)));
        remaining = shorter;
    }
    into.push(subject);
    match &reference.subject {
        Subject::Resource(resource, key) if !key.is_none() => into.push(resource.to_string()),
        Subject::Module(name, key) if !key.is_none() => into.push(format!("module.{name}")),
        Subject::ModuleOutput(name, key, _) => into.push(format!("module.{name}{key}")),
        _ => {}
    }
}

fn steps(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Attribute { name, .. } => {
                text.push('.');
                text.push_str(name);
            }
            Step::Index { key, .. } => {
                let key = match (
                    key.as_shared_str(),
                    key.as_number().and_then(consort_hcl::Number::to_i64),
                ) {
                    (Some(name), _) => Key::String(name),
                    (None, Some(index)) => Key::Int(index),
                    (None, None) => continue,
                };
                text.push_str(&key.to_string());
            }
            Step::Splat { .. } => text.push_str("[*]"),
        }
    }
    text
}
