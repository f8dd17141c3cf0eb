//! What a body of a schema may hold, worked out once for each schema.

use std::borrow::Cow;
use std::sync::Arc;

use consort_hcl::{AttributeSchema, BlockSchema, BodySchema};

use super::dynamic::with_dynamic;
use super::legacy_blocks::{self, Ambiguous};
use super::{Block, Nesting};

/// The form of the bodies of a schema none of whose attributes is written as blocks.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// With `dynamic` blocks beside the others.
    pub(super) dynamic: BodySchema,
    /// The same, with nothing required.
    pub(super) lenient: BodySchema,
    /// Whether attributes may be written as blocks.
    pub(super) fixup: bool,
}

impl Form {
    pub(super) fn of(schema: &Block) -> Arc<Self> {
        let dynamic = with_dynamic(&body_schema(schema, &Ambiguous::new()));
        Arc::new(Self {
            lenient: lenient(dynamic.clone()),
            dynamic,
            fixup: legacy_blocks::applies(schema),
        })
    }
}

fn lenient(mut schema: BodySchema) -> BodySchema {
    for attribute in &mut schema.attributes {
        attribute.required = false;
    }
    schema
}

fn body_schema(block: &Block, as_blocks: &Ambiguous) -> BodySchema {
    let mut schema = BodySchema::new();
    for (name, attribute) in &block.attributes {
        if as_blocks.contains(name) {
            schema.blocks.push(BlockSchema {
                kind: name.clone(),
                labels: Vec::new(),
            });
        } else {
            schema.attributes.push(AttributeSchema {
                name: name.clone(),
                required: attribute.required,
            });
        }
    }
    for (kind, nested) in &block.blocks {
        let labels = if nested.nesting == Nesting::Map {
            vec!["key".into()]
        } else {
            Vec::new()
        };
        schema.blocks.push(BlockSchema {
            kind: kind.clone(),
            labels,
        });
    }
    schema
}

impl Block {
    /// What a body of this schema may hold, `dynamic` blocks included.
    pub(super) fn body_schema(&self, as_blocks: &Ambiguous) -> Cow<'_, BodySchema> {
        if as_blocks.is_empty() {
            Cow::Borrowed(&self.form().dynamic)
        } else {
            Cow::Owned(with_dynamic(&body_schema(self, as_blocks)))
        }
    }

    /// As [`Block::body_schema`], with nothing required.
    pub(super) fn lenient_body_schema(&self, as_blocks: &Ambiguous) -> Cow<'_, BodySchema> {
        if as_blocks.is_empty() {
            Cow::Borrowed(&self.form().lenient)
        } else {
            Cow::Owned(lenient(with_dynamic(&body_schema(self, as_blocks))))
        }
    }
}
