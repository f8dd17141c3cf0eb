//! `providers schema -json`: the schemas of providers as programs read them, in format 1.0.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::json::type_encode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::address::ProviderSource;
use crate::provider::schema::{
    Attribute, Block, Described, Error, Function, Kind, Nesting, Parameter, Schemas,
};

// The order of the fields is the order in the output.
#[derive(Serialize)]
struct Providers {
    format_version: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    provider_schemas: BTreeMap<String, ProviderJson>,
}

#[derive(Serialize)]
struct ProviderJson {
    provider: SchemaJson,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resource_schemas: BTreeMap<Arc<str>, SchemaJson>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data_source_schemas: BTreeMap<Arc<str>, SchemaJson>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ephemeral_resource_schemas: BTreeMap<Arc<str>, SchemaJson>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    functions: BTreeMap<Arc<str>, FunctionJson>,
}

#[derive(Serialize)]
struct SchemaJson {
    version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<BlockJson>,
}

#[derive(Serialize)]
struct BlockJson {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<Arc<str>, AttributeJson>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    block_types: BTreeMap<Arc<str>, NestedJson>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: Arc<str>,
    description_kind: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deprecated: bool,
}

#[derive(Serialize)]
struct NestedJson {
    nesting_mode: &'static str,
    block: BlockJson,
    #[serde(skip_serializing_if = "is_zero")]
    min_items: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max_items: u64,
}

#[derive(Serialize)]
struct AttributeJson {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    ty: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_type: Option<NestedTypeJson>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: Arc<str>,
    description_kind: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deprecated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    computed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sensitive: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    write_only: bool,
}

#[derive(Serialize)]
struct NestedTypeJson {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<Arc<str>, AttributeJson>,
    nesting_mode: &'static str,
}

#[derive(Serialize)]
struct FunctionJson {
    #[serde(skip_serializing_if = "str::is_empty")]
    description: Arc<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    summary: Arc<str>,
    return_type: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<ParameterJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variadic_parameter: Option<ParameterJson>,
}

#[derive(Serialize)]
struct ParameterJson {
    name: Arc<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: Arc<str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_nullable: bool,
    #[serde(rename = "type")]
    ty: Option<Box<RawValue>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn kind(described: &Described) -> &'static str {
    if described.markdown {
        "markdown"
    } else {
        "plain"
    }
}

fn nesting(nesting: Nesting) -> &'static str {
    match nesting {
        Nesting::Single => "single",
        Nesting::Group => "group",
        Nesting::List => "list",
        Nesting::Set => "set",
        Nesting::Map => "map",
    }
}

fn raw(ty: &consort_hcl::Type) -> Option<Box<RawValue>> {
    RawValue::from_string(type_encode(ty)).ok()
}

fn attributes(from: &BTreeMap<Arc<str>, Attribute>) -> BTreeMap<Arc<str>, AttributeJson> {
    from.iter()
        .map(|(name, attribute)| (name.clone(), self::attribute(attribute)))
        .collect()
}

fn attribute(attribute: &Attribute) -> AttributeJson {
    let nested_type = attribute.nested.as_ref().map(|object| NestedTypeJson {
        attributes: attributes(&object.attributes),
        nesting_mode: nesting(object.nesting),
    });
    AttributeJson {
        ty: if nested_type.is_none() {
            raw(&attribute.ty)
        } else {
            None
        },
        nested_type,
        description: attribute.description.text.clone(),
        description_kind: kind(&attribute.description),
        deprecated: attribute.deprecated,
        required: attribute.required,
        optional: attribute.optional,
        computed: attribute.computed,
        sensitive: attribute.sensitive,
        write_only: attribute.write_only,
    }
}

fn block(from: &Block) -> BlockJson {
    BlockJson {
        attributes: attributes(&from.attributes),
        block_types: from
            .blocks
            .iter()
            .map(|(name, nested)| {
                let nested = NestedJson {
                    nesting_mode: nesting(nested.nesting),
                    block: block(&nested.block),
                    min_items: nested.min_items,
                    max_items: nested.max_items,
                };
                (name.clone(), nested)
            })
            .collect(),
        description: from.description.text.clone(),
        description_kind: kind(&from.description),
        deprecated: from.deprecated,
    }
}

fn function(from: &Function) -> FunctionJson {
    let parameter = |from: &Parameter| ParameterJson {
        name: from.name.clone(),
        description: from.description.text.clone(),
        is_nullable: from.allow_null,
        ty: raw(&from.ty),
    };
    FunctionJson {
        description: from.description.text.clone(),
        summary: from.summary.clone(),
        return_type: raw(&from.returns),
        parameters: from.parameters.iter().map(parameter).collect(),
        variadic_parameter: from.variadic.as_ref().map(parameter),
    }
}

fn provider(source: &ProviderSource, schemas: &Schemas) -> Result<ProviderJson, Error> {
    let of = |kind: Kind| -> Result<BTreeMap<Arc<str>, SchemaJson>, Error> {
        schemas
            .names(kind)
            .map(|name| {
                let schema = schemas.resource(kind, name)?;
                let schema = SchemaJson {
                    version: schema.version,
                    block: Some(block(&schema.block)),
                };
                Ok((name.clone(), schema))
            })
            .collect()
    };
    Ok(ProviderJson {
        provider: SchemaJson {
            version: 0,
            // What is built in has no configuration at all, not even an empty one.
            block: (!source.is_builtin()).then(|| block(&schemas.provider)),
        },
        resource_schemas: of(Kind::Managed)?,
        data_source_schemas: of(Kind::Data)?,
        ephemeral_resource_schemas: of(Kind::Ephemeral)?,
        functions: schemas
            .functions
            .iter()
            .map(|(name, from)| (name.clone(), function(from)))
            .collect(),
    })
}

/// The schemas of providers as `providers schema -json` prints them.
///
/// # Errors
/// With a schema that a provider sent malformed.
pub fn schemas_json(all: &BTreeMap<ProviderSource, Arc<Schemas>>) -> Result<String, Error> {
    let provider_schemas = all
        .iter()
        .map(|(source, schemas)| Ok((source.to_string(), provider(source, schemas)?)))
        .collect::<Result<_, Error>>()?;
    let providers = Providers {
        format_version: "1.0",
        provider_schemas,
    };
    serde_json::to_string(&providers).map_err(|failed| Error::Malformed {
        name: "schemas".into(),
        message: failed.to_string(),
    })
}
