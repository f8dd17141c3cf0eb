//! One object of the state as text.

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Marks, Sources, Value, json};
use consort_infra::address::{Mode, ProviderSource, ResourceInstance};
use consort_infra::engine::Providers as _;
use consort_infra::provider::schema::{Attribute, Block, Kind as SchemaKind, ResourceSchema};
use consort_infra::render::{Paths, Text, attributes};
use consort_infra::state::{Object, PathStep, State, Status};

use crate::tf::place::{Place, error};
use crate::tf::session;
use crate::tf::terminal::Terminal;

/// An object as the state holds it, with its type's schema if the provider is at hand. Without one types come from
/// the JSON, and what the state marks as sensitive is hidden all the same.
pub(in crate::tf) fn object_text(
    terminal: &Terminal,
    address: &ResourceInstance,
    object: &Object,
    deposed: Option<&str>,
    schema: Option<&ResourceSchema>,
) -> Result<String, Diagnostics> {
    let known = schema
        .filter(|schema| schema.version.cast_unsigned() == object.schema_version)
        .and_then(|schema| {
            let ty = schema.block.implied_type();
            let value = json::decode(object.attributes.as_bytes(), &ty).ok()?;
            Some((schema.block.clone(), value))
        });
    let (schema, value) = match known {
        Some((block, value)) => (block, hidden(value, object)),
        None => untyped(object)?,
    };
    let mode = match address.resource.mode {
        Mode::Managed => "resource",
        Mode::Data => "data",
        Mode::Ephemeral => "ephemeral",
    };
    let note = match (object.status, deposed) {
        (Status::Tainted, _) => " (tainted)".to_owned(),
        (_, Some(key)) => format!(" (deposed object {key})"),
        _ => String::new(),
    };
    let mut text = Text::whole(terminal.colours());
    let node = attributes(&value, &value, &schema, &Paths::default());
    text.resource(
        "",
        &format!(
            "{mode} \"{}\" \"{}\"",
            address.resource.kind, address.resource.name
        ),
        &node,
    );
    Ok(format!(
        "# {address}:{note}\n{}",
        text.finish().trim_start()
    ))
}

/// With the attributes the state says are sensitive marked so.
fn hidden(value: Value, object: &Object) -> Value {
    let paths: Vec<(consort_hcl::Path, Marks)> = object
        .sensitive
        .iter()
        .map(|steps| {
            let path = steps
                .iter()
                .fold(consort_hcl::Path::root(), |path, step| match step {
                    PathStep::Attribute(name) => path.attribute(std::sync::Arc::clone(name)),
                    PathStep::Key(key) => {
                        path.index(Value::shared_string(std::sync::Arc::clone(key)))
                    }
                    PathStep::Index(number) => match consort_hcl::Number::parse(number) {
                        Some(number) => path.index(Value::number(number)),
                        None => path,
                    },
                });
            (path, Marks::SENSITIVE)
        })
        .collect();
    value.mark_paths(&paths)
}

fn untyped(object: &Object) -> Result<(Block, Value), Diagnostics> {
    let value = json::decode_simple(object.attributes.as_bytes())
        .map_err(|wrong| error("Invalid object in the state", wrong.to_string()))?;
    let mut schema = Block::default();
    for (name, part) in value.as_keyed().into_iter().flatten() {
        let secret = object
            .sensitive
            .iter()
            .any(|path| matches!(path.first(), Some(PathStep::Attribute(step)) if step == name));
        let attribute = Attribute::new(part.ty().clone()).optional();
        let attribute = if secret {
            attribute.sensitive()
        } else {
            attribute
        };
        schema = schema.attribute(name, attribute);
    }
    Ok((schema, value))
}

/// The schemas of what the configuration here uses, if it loads and its providers are installed.
pub(in crate::tf) async fn schemas(
    state: &State,
    sources: &mut Sources,
) -> std::collections::BTreeMap<
    (ProviderSource, Mode, std::sync::Arc<str>),
    std::sync::Arc<ResourceSchema>,
> {
    let mut found = std::collections::BTreeMap::new();
    let place = Place::here();
    let (Some(tree), _) = session::load(&place, None, sources) else {
        return found;
    };
    let used: std::collections::BTreeSet<ProviderSource> = state
        .resources
        .values()
        .map(|resource| resource.provider.provider.clone())
        .collect();
    let Ok(installed) = session::installed(&place, &tree, used, sources) else {
        return found;
    };
    for (address, resource) in &state.resources {
        let kind = match address.resource.mode {
            Mode::Managed => SchemaKind::Managed,
            Mode::Data => SchemaKind::Data,
            Mode::Ephemeral => SchemaKind::Ephemeral,
        };
        let source = resource.provider.provider.clone();
        let key = (
            source,
            address.resource.mode,
            std::sync::Arc::clone(&address.resource.kind),
        );
        if !found.contains_key(&key)
            && let Ok(schemas) = installed.schemas(&key.0).await
            && let Ok(schema) = schemas.resource(kind, &key.2)
        {
            found.insert(key, schema);
        }
    }
    found
}
