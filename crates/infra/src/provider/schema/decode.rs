//! Configuration bodies decoded into values by schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{
    Body, Content, Diagnostic, Diagnostics, Marks, Range, Scope, Type, Value, convert,
};

use super::dynamic::{Expanded, ExpandedBlock};
use super::legacy_blocks::{self, Ambiguous};
use super::{Attribute, Block, NestedBlock, Nesting};

impl Block {
    /// The value a configuration body stands for, of the implied type and with the marks of what it refers
    /// to, and what is wrong with the body.
    ///
    /// `dynamic` blocks are expanded; an unknown `for_each` makes the collection of its blocks unknown.
    /// Where an argument is wrong its value is unknown, so that the rest can still be looked at. Messages
    /// are those of HCL.
    pub fn decode(&self, body: &Body, scope: &dyn Scope) -> (Value, Diagnostics) {
        let fixup = self.form().fixup;
        let mut diagnostics = Diagnostics::new();
        let value = decode(self, &Expanded::new(body), scope, fixup, &mut diagnostics);
        (value, diagnostics)
    }
}

fn decode(
    schema: &Block,
    body: &Expanded,
    scope: &dyn Scope,
    fixup: bool,
    diagnostics: &mut Diagnostics,
) -> Value {
    let as_blocks = if fixup {
        legacy_blocks::written_as_blocks(schema, &body.body)
    } else {
        Ambiguous::new()
    };
    let (content, blocks, found) = body.content(&schema.body_schema(&as_blocks), scope);
    diagnostics.append(found);
    let mut by_kind: BTreeMap<Arc<str>, Vec<ExpandedBlock>> = BTreeMap::new();
    for block in blocks {
        by_kind
            .entry(block.block.kind.clone())
            .or_default()
            .push(block);
    }
    let mut values = BTreeMap::new();
    for (name, attribute) in &schema.attributes {
        let value = if as_blocks.contains(name) {
            let blocks = by_kind.remove(name).unwrap_or_default();
            objects_of_blocks(name, attribute, &blocks, scope, diagnostics)
        } else {
            decode_attribute(name, attribute, body, &content, scope, diagnostics)
        };
        values.insert(name.clone(), value);
    }
    for (kind, nested) in &schema.blocks {
        let blocks = by_kind.remove(kind).unwrap_or_default();
        let value = decode_blocks(
            kind,
            nested,
            &blocks,
            content.missing_range,
            scope,
            fixup,
            diagnostics,
        );
        values.insert(kind.clone(), value);
    }
    Value::object(values)
}

fn decode_attribute(
    name: &str,
    schema: &Attribute,
    body: &Expanded,
    content: &Content,
    scope: &dyn Scope,
    diagnostics: &mut Diagnostics,
) -> Value {
    // One that is required and missing was complained about when the content was taken.
    let Some(attribute) = content.attribute(name) else {
        return Value::null(schema.ty.clone());
    };
    let (value, found) = body.evaluate(attribute, scope);
    diagnostics.append(found);
    convert(&value, &schema.config_type()).unwrap_or_else(|error| {
        let detail = format!("Inappropriate value for attribute \"{name}\": {error}.");
        diagnostics.push(
            Diagnostic::error("Incorrect attribute value type", detail)
                .at(attribute.expr.range())
                .within(attribute.name_range.to(attribute.expr.range()))
                .with_expression(&body.expression(&attribute.expr), scope),
        );
        Value::unknown(schema.ty.clone()).with_marks(value.deep_marks())
    })
}

/// An attribute that is a list of objects in the schema and was written as blocks.
fn objects_of_blocks(
    name: &str,
    schema: &Attribute,
    blocks: &[ExpandedBlock],
    scope: &dyn Scope,
    diagnostics: &mut Diagnostics,
) -> Value {
    let (Some(first), Some(element)) = (blocks.first(), schema.ty.element()) else {
        return Value::null(schema.ty.clone());
    };
    let object = legacy_blocks::block_of(element);
    let fixup = legacy_blocks::applies(&object);
    let values = blocks
        .iter()
        .map(|block| decode(&object, &block.content, scope, fixup, diagnostics))
        .collect();
    let list = Value::list(Type::clone(element), values);
    convert(&list, &schema.ty).unwrap_or_else(|error| {
        let detail = format!("Inappropriate value for attribute \"{name}\": {error}.");
        diagnostics.push(
            Diagnostic::error("Incorrect attribute value type", detail)
                .at(first.block.header_range()),
        );
        Value::unknown(schema.ty.clone())
    })
}

fn decode_blocks(
    kind: &str,
    schema: &NestedBlock,
    blocks: &[ExpandedBlock],
    missing_range: Range,
    scope: &dyn Scope,
    fixup: bool,
    diagnostics: &mut Diagnostics,
) -> Value {
    match schema.nesting {
        Nesting::Single | Nesting::Group => {
            if let [first, second, ..] = blocks {
                let previous = first
                    .block
                    .body
                    .source()
                    .describe(first.block.header_range());
                let detail = format!(
                    "Only one block of type \"{kind}\" is allowed. Previous definition was at {previous}."
                );
                diagnostics.push(
                    Diagnostic::error(format!("Duplicate {kind} block"), detail)
                        .at(second.block.header_range()),
                );
            }
            match blocks.first() {
                Some(block) => decode(&schema.block, &block.content, scope, fixup, diagnostics),
                None => {
                    if schema.min_items == 1 {
                        let detail = format!("A block of type \"{kind}\" is required here.");
                        diagnostics.push(
                            Diagnostic::error(format!("Missing {kind} block"), detail)
                                .at(missing_range),
                        );
                    }
                    schema.empty_value()
                }
            }
        }
        Nesting::List | Nesting::Set => {
            let mut values = Vec::with_capacity(blocks.len());
            for block in blocks {
                let value = decode(&schema.block, &block.content, scope, fixup, diagnostics);
                if block.content.unknown {
                    return Value::unknown(schema.implied_type()).with_marks(marks_of(blocks));
                }
                values.push(value.with_marks(block.content.marks));
            }
            check_count(kind, schema, blocks, missing_range, diagnostics);
            if values.is_empty() {
                return schema.empty_value();
            }
            let element = schema.block.implied_type();
            match schema.nesting {
                Nesting::Set => Value::set(element, values),
                _ if schema.block.contains_dynamic() => Value::tuple(values),
                _ => Value::list(element, values),
            }
        }
        Nesting::Map => {
            let mut values: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for block in blocks {
                if block.content.unknown {
                    return Value::unknown(schema.implied_type()).with_marks(marks_of(blocks));
                }
                let value = decode(&schema.block, &block.content, scope, fixup, diagnostics);
                let Some(label) = block.block.labels.first() else {
                    continue;
                };
                if values.contains_key(&label.text) {
                    let detail = format!(
                        "A block for {kind} \"{}\" was already defined. The {kind} labels must be unique.",
                        label.text
                    );
                    diagnostics.push(
                        Diagnostic::error(format!("Duplicate {kind} block"), detail)
                            .at(block.block.header_range()),
                    );
                    continue;
                }
                values.insert(label.text.clone(), value.with_marks(block.content.marks));
            }
            if values.is_empty() {
                schema.empty_value()
            } else if schema.block.contains_dynamic() {
                Value::object(values)
            } else {
                Value::map(schema.block.implied_type(), values)
            }
        }
    }
}

fn marks_of(blocks: &[ExpandedBlock]) -> Marks {
    blocks
        .iter()
        .fold(Marks::NONE, |marks, block| marks | block.content.marks)
}

fn check_count(
    kind: &str,
    schema: &NestedBlock,
    blocks: &[ExpandedBlock],
    missing_range: Range,
    diagnostics: &mut Diagnostics,
) {
    let count = blocks.len() as u64;
    if count < schema.min_items {
        let detail = format!(
            "At least {} \"{kind}\" blocks are required.",
            schema.min_items
        );
        diagnostics.push(
            Diagnostic::error(format!("Insufficient {kind} blocks"), detail).at(missing_range),
        );
    } else if schema.max_items > 0 && count > schema.max_items {
        let detail = format!(
            "No more than {} \"{kind}\" blocks are allowed",
            schema.max_items
        );
        let extra = usize::try_from(schema.max_items)
            .ok()
            .and_then(|at| blocks.get(at));
        let range = extra.map_or(missing_range, |block| block.content.body.missing_range());
        diagnostics.push(Diagnostic::error(format!("Too many {kind} blocks"), detail).at(range));
    }
}
