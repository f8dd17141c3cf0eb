//! Attributes that may be written as blocks.
//!
//! The old SDK could declare what its users had always written as blocks to be an attribute: a list or set
//! of objects. So such an attribute may be written either way, and blocks are then read as the objects of
//! the list. Schemas with anything the old SDK could not make are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_hcl::{Body, BodySchema, Type};

use super::{Attribute, Block};

/// Names of attributes that may be written as blocks.
pub(super) type Ambiguous = BTreeSet<Arc<str>>;

fn can_be_blocks(ty: &Type) -> bool {
    matches!(ty, Type::List(of) | Type::Set(of) if matches!(**of, Type::Object(_)))
}

/// Whether a schema can have been made by the old SDK and has such attributes anywhere.
pub(super) fn applies(schema: &Block) -> bool {
    fn legacy(schema: &Block) -> bool {
        schema
            .attributes
            .values()
            .all(|a| a.nested.is_none() && legacy_type(&a.ty))
            && schema.blocks.values().all(|b| legacy(&b.block))
    }
    fn ambiguous(schema: &Block) -> bool {
        schema.attributes.values().any(|a| can_be_blocks(&a.ty))
            || schema.blocks.values().any(|b| ambiguous(&b.block))
    }
    ambiguous(schema) && legacy(schema)
}

fn legacy_type(ty: &Type) -> bool {
    match ty {
        Type::Tuple(_) | Type::Object(_) => false,
        Type::Map(of) if matches!(**of, Type::Object(_)) => false,
        Type::List(of) | Type::Set(of) | Type::Map(of) => of
            .element()
            .is_none_or(|inner| !of.is_collection() || inner.is_primitive()),
        _ => true,
    }
}

/// The ambiguous attributes a body does not set as attributes. JSON is always read as attributes.
pub(super) fn written_as_blocks(schema: &Block, body: &Body) -> Ambiguous {
    let mut names: Ambiguous = schema
        .attributes
        .iter()
        .filter(|(_, a)| can_be_blocks(&a.ty))
        .map(|(name, _)| name.clone())
        .collect();
    if !names.is_empty() {
        let probe = BodySchema::new().optional(names.iter().map(|n| &**n));
        let (content, _, _) = body.partial_content(&probe);
        names.retain(|name| !content.attributes.contains_key(name));
    }
    names
}

/// The schema of the blocks that stand for objects of a type.
pub(super) fn block_of(object: &Type) -> Block {
    let mut block = Block::default();
    if let Some(object) = object.as_object() {
        let attributes: BTreeMap<_, _> = object
            .attributes
            .iter()
            .map(|(n, ty)| (n.clone(), Attribute::new(ty.clone()).optional()))
            .collect();
        block.attributes = attributes;
    }
    block
}
