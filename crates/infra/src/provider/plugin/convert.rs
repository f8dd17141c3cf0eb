//! Between the wire's messages and our own types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consort_hcl::{Kind as ValueKind, Path, Step, Type, Value, json, msgpack};
use prost::Message;

use super::wire;
use crate::provider::schema::{
    Attribute, Block, Capabilities, Described, Error, Function, IdentityAttribute, IdentitySchema,
    NestedBlock, Nesting, Object, Parameter, ResourceSchema,
};
use crate::provider::{Deferred, Diagnostic, Diagnostics, RawState, Severity};

/// A value in the encoding providers prefer.
pub(super) fn encode(value: &Value, ty: &Type) -> Result<wire::DynamicValue, Diagnostic> {
    let encoded = msgpack::encode(value, ty).map_err(|error| {
        Diagnostic::error(
            "Value cannot be sent to the provider",
            format!("A value could not be encoded for the provider: {error}."),
        )
    })?;
    Ok(wire::DynamicValue {
        msgpack: encoded.into(),
        json: Bytes::new(),
    })
}

/// A value in either encoding; none at all is null.
pub(super) fn decode(value: Option<&wire::DynamicValue>, ty: &Type) -> Result<Value, Diagnostic> {
    let decoded = match value {
        Some(value) if !value.msgpack.is_empty() => {
            msgpack::decode(&value.msgpack, ty).map_err(|e| e.to_string())
        }
        Some(value) if !value.json.is_empty() => {
            json::decode(&value.json, ty).map_err(|e| e.to_string())
        }
        _ => return Ok(Value::null(ty.clone())),
    };
    decoded.map_err(|error| {
        Diagnostic::error(
            "Invalid provider response",
            format!(
                "The provider returned a value that does not fit its schema: {error}.\n\nThis is a bug in the provider, \
                 which should be reported in the provider's own issue tracker."
            ),
        )
    })
}

pub(super) fn diagnostics(list: Vec<wire::Diagnostic>) -> Diagnostics {
    Diagnostics(
        list.into_iter()
            .map(|d| Diagnostic {
                severity: if d.severity == 2 {
                    Severity::Warning
                } else {
                    Severity::Error
                },
                summary: d.summary,
                detail: d.detail,
                attribute: d.attribute.as_ref().map(path).filter(|p| !p.is_root()),
            })
            .collect(),
    )
}

/// Steps that say nothing end the path.
pub(super) fn path(path: &wire::AttributePath) -> Path {
    let steps = path.steps.iter().map_while(|step| {
        Some(match step.selector.as_ref()? {
            wire::Selector::AttributeName(name) => Step::Attribute(name.as_str().into()),
            wire::Selector::ElementKeyString(key) => Step::Index(Value::string(key)),
            wire::Selector::ElementKeyInt(index) => Step::Index(Value::number(*index)),
        })
    });
    Path(steps.collect())
}

pub(super) fn deferred(deferred: Option<wire::Deferred>) -> Option<Deferred> {
    deferred.map(|d| match d.reason {
        1 => Deferred::ResourceConfigUnknown,
        2 => Deferred::ProviderConfigUnknown,
        3 => Deferred::AbsentPrerequisite,
        _ => Deferred::Unknown,
    })
}

pub(super) fn raw_state(raw: RawState) -> wire::RawState {
    match raw {
        RawState::Json(json) => wire::RawState {
            json,
            flatmap: std::collections::HashMap::new(),
        },
        RawState::Flatmap(flatmap) => wire::RawState {
            json: Bytes::new(),
            flatmap: flatmap.into_iter().collect(),
        },
    }
}

pub(super) fn time(timestamp: Option<wire::Timestamp>) -> Option<SystemTime> {
    let timestamp = timestamp?;
    let seconds = Duration::from_secs(u64::try_from(timestamp.seconds).ok()?);
    let nanos = Duration::from_nanos(u64::try_from(timestamp.nanos).ok()?);
    SystemTime::UNIX_EPOCH
        .checked_add(seconds)?
        .checked_add(nanos)
}

pub(super) fn capabilities(capabilities: Option<wire::ServerCapabilities>) -> Capabilities {
    let c = capabilities.unwrap_or_default();
    Capabilities {
        plan_destroy: c.plan_destroy,
        get_provider_schema_optional: c.get_provider_schema_optional,
        move_resource_state: c.move_resource_state,
        generate_resource_config: c.generate_resource_config,
    }
}

/// Reads an encoded schema of either version of the protocol.
pub(super) fn schema(name: &str, encoded: Bytes, protocol: u8) -> Result<ResourceSchema, Error> {
    let malformed = |message: String| Error::Malformed {
        name: name.into(),
        message,
    };
    let decoded = if protocol == 5 {
        wire::v5::Schema::decode(encoded).map(wire::Schema::from)
    } else {
        wire::Schema::decode(encoded)
    };
    let decoded = decoded.map_err(|e| malformed(e.to_string()))?;
    let block = block(decoded.block.unwrap_or_default()).map_err(malformed)?;
    Ok(ResourceSchema {
        version: decoded.version,
        block,
        identity: None,
    })
}

fn described(text: &str, kind: i32) -> Described {
    Described {
        text: text.into(),
        markdown: kind == 1,
    }
}

fn block(encoded: wire::Block) -> Result<Block, String> {
    let description = described(&encoded.description, encoded.description_kind);
    let mut block = Block::described(
        description,
        encoded
            .deprecated
            .then(|| encoded.deprecation_message.into()),
    );
    for encoded in encoded.attributes {
        let (name, attribute) = attribute(encoded)?;
        block.attributes.insert(name, attribute);
    }
    for encoded in encoded.blocks {
        let nesting = nesting(encoded.nesting).ok_or_else(|| {
            format!(
                "block {:?} has the unknown nesting mode {}",
                encoded.type_name, encoded.nesting
            )
        })?;
        let items = |n: i64| {
            u64::try_from(n)
                .map_err(|_| format!("block {:?} limits its number to {n}", encoded.type_name))
        };
        let (min_items, max_items) = (items(encoded.min_items)?, items(encoded.max_items)?);
        if block.attributes.contains_key(encoded.type_name.as_str()) {
            return Err(format!(
                "{:?} is both an attribute and a block",
                encoded.type_name
            ));
        }
        let inner = self::block(encoded.block.unwrap_or_default())?;
        if nesting == Nesting::Set && inner.contains_dynamic() {
            return Err(format!(
                "block {:?} is a set of blocks with a dynamically typed attribute",
                encoded.type_name
            ));
        }
        block.blocks.insert(
            encoded.type_name.as_str().into(),
            NestedBlock {
                block: inner,
                nesting,
                min_items,
                max_items,
            },
        );
    }
    Ok(block)
}

fn nesting(mode: i32) -> Option<Nesting> {
    Some(match mode {
        1 => Nesting::Single,
        2 => Nesting::List,
        3 => Nesting::Set,
        4 => Nesting::Map,
        5 => Nesting::Group,
        _ => return None,
    })
}

fn attribute(encoded: wire::Attribute) -> Result<(Arc<str>, Attribute), String> {
    let name: Arc<str> = encoded.name.into();
    let nested = encoded
        .nested_type
        .map(|object| nested_object(&name, object))
        .transpose()?;
    let ty = match &nested {
        Some(object) => object.implied_type(),
        None => json::type_decode(&encoded.ty)
            .map_err(|e| format!("the type of attribute {name:?}: {e}"))?,
    };
    let attribute = Attribute {
        ty,
        nested,
        required: encoded.required,
        optional: encoded.optional,
        computed: encoded.computed,
        sensitive: encoded.sensitive,
        write_only: encoded.write_only,
        deprecated: encoded.deprecated,
        deprecation_message: encoded.deprecation_message.into(),
        description: described(&encoded.description, encoded.description_kind),
    };
    Ok((name, attribute))
}

fn nested_object(name: &str, encoded: wire::Object) -> Result<Object, String> {
    let nesting = nesting(encoded.nesting)
        .filter(|n| *n != Nesting::Group)
        .ok_or_else(|| {
            format!(
                "attribute {name:?} has the unknown nesting mode {}",
                encoded.nesting
            )
        })?;
    let attributes = encoded
        .attributes
        .into_iter()
        .map(attribute)
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Object::of(nesting, attributes))
}

pub(super) fn identity_schema(
    name: &str,
    encoded: wire::IdentitySchema,
) -> Result<IdentitySchema, Error> {
    let mut attributes = BTreeMap::new();
    for attribute in encoded.attributes {
        let ty = json::type_decode(&attribute.ty).map_err(|e| Error::Malformed {
            name: name.into(),
            message: format!("the type of identity attribute {:?}: {e}", attribute.name),
        })?;
        attributes.insert(
            Arc::from(attribute.name),
            IdentityAttribute {
                ty,
                required_for_import: attribute.required_for_import,
                optional_for_import: attribute.optional_for_import,
                description: attribute.description.into(),
            },
        );
    }
    Ok(IdentitySchema {
        version: encoded.version,
        attributes,
    })
}

pub(super) fn functions(
    encoded: impl IntoIterator<Item = (String, wire::Function)>,
) -> Result<BTreeMap<Arc<str>, Function>, Error> {
    encoded
        .into_iter()
        .map(|(name, f)| Ok((Arc::from(name.as_str()), function(&name, f)?)))
        .collect()
}

fn function(name: &str, encoded: wire::Function) -> Result<Function, Error> {
    let decode = |ty: &Bytes| {
        json::type_decode(ty).map_err(|e| Error::Malformed {
            name: name.into(),
            message: format!("a type of the function: {e}"),
        })
    };
    let parameter = |p: wire::Parameter| {
        Ok::<_, Error>(Parameter {
            ty: decode(&p.ty)?,
            name: p.name.into(),
            allow_null: p.allow_null,
            allow_unknown: p.allow_unknown,
            description: described(&p.description, p.description_kind),
        })
    };
    Ok(Function {
        parameters: encoded
            .parameters
            .into_iter()
            .map(parameter)
            .collect::<Result<_, _>>()?,
        variadic: encoded.variadic.map(parameter).transpose()?,
        returns: encoded
            .returns
            .map_or(Ok(Type::Dynamic), |r| decode(&r.ty))?,
        summary: encoded.summary.into(),
        description: described(&encoded.description, encoded.description_kind),
        deprecation_message: encoded.deprecation_message.into(),
    })
}

/// Whether an identity holds anything.
pub(super) fn is_identity(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Null)
}
