//! What a body refers to, found by schema and without evaluating anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use consort_hcl::{Body, BodySchema, Expr, Nothing, Traversal, Type, Value, convert};

use super::Block;
use super::dynamic::dynamic_schema;
use super::legacy_blocks::{self, Ambiguous};

impl Block {
    /// All references in a body of this schema, those to the iterators of its `dynamic` blocks left out.
    ///
    /// What the schema does not know is passed over; [`Block::decode`] complains about it.
    pub fn references(&self, body: &Body) -> Vec<Traversal> {
        let mut found = Vec::new();
        collect(self, body, &BTreeSet::new(), self.form().fixup, &mut found);
        found
    }

    /// The attributes of this schema that a body writes as blocks: what the blocks refer to, and the value they
    /// stand for if they refer to nothing.
    pub(crate) fn attributes_as_blocks(
        &self,
        body: &Body,
    ) -> Vec<(Arc<str>, Vec<Traversal>, Option<Value>)> {
        if !self.form().fixup {
            return Vec::new();
        }
        let mut all = Vec::new();
        for name in legacy_blocks::written_as_blocks(self, body) {
            let Some(ty) = self.attributes.get(&name).map(|attribute| &attribute.ty) else {
                continue;
            };
            let wanted = BodySchema::new().block(&name, &[]);
            let (content, _, _) = body.partial_content(&wanted);
            let Some(element) = ty.element().filter(|_| !content.blocks.is_empty()) else {
                continue;
            };
            let object = legacy_blocks::block_of(element);
            let (mut references, mut values) = (Vec::new(), Vec::new());
            for block in &content.blocks {
                references.extend(object.references(&block.body));
                values.push(object.decode(&block.body, &Nothing).0);
            }
            let list = Value::list(Type::clone(element), values);
            let value = references.is_empty().then(|| convert(&list, ty).ok());
            all.push((name, references, value.flatten()));
        }
        all
    }
}

fn collect(
    schema: &Block,
    body: &Body,
    iterators: &BTreeSet<Arc<str>>,
    fixup: bool,
    found: &mut Vec<Traversal>,
) {
    let as_blocks = if fixup {
        legacy_blocks::written_as_blocks(schema, body)
    } else {
        Ambiguous::new()
    };
    let inner =
        |kind: &str, body: &Body, iterators: &BTreeSet<Arc<str>>, found: &mut Vec<Traversal>| {
            if let Some(nested) = schema.blocks.get(kind) {
                collect(&nested.block, body, iterators, fixup, found);
            } else if let Some(element) = schema
                .attributes
                .get(kind)
                .filter(|_| as_blocks.contains(kind))
                .and_then(|a| a.ty.element())
            {
                let object = legacy_blocks::block_of(element);
                collect(
                    &object,
                    body,
                    iterators,
                    legacy_blocks::applies(&object),
                    found,
                );
            }
        };
    let (content, _, _) = body.partial_content(&schema.lenient_body_schema(&as_blocks));
    for attribute in content.attributes.values() {
        free(&attribute.expr, iterators, found);
    }
    for block in &content.blocks {
        if &*block.kind != "dynamic" || schema.blocks.contains_key("dynamic") {
            inner(&block.kind, &block.body, iterators, found);
            continue;
        }
        let kind = block.label(0);
        let (spec, _, _) = block
            .body
            .partial_content(&dynamic_schema(false).optional(["labels"]));
        if let Some(attribute) = spec.attribute("for_each") {
            free(&attribute.expr, iterators, found);
        }
        let iterator = spec
            .attribute("iterator")
            .and_then(|a| a.expr.as_traversal())
            .map(|t| t.root);
        let mut within = iterators.clone();
        within.insert(iterator.unwrap_or_else(|| kind.into()));
        if let Some(attribute) = spec.attribute("labels") {
            free(&attribute.expr, &within, found);
        }
        for content in &spec.blocks {
            inner(kind, &content.body, &within, found);
        }
    }
}

fn free(expr: &Expr, iterators: &BTreeSet<Arc<str>>, found: &mut Vec<Traversal>) {
    found.extend(
        expr.references()
            .into_iter()
            .filter(|t| !iterators.contains(&t.root)),
    );
}
