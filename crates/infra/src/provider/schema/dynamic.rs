//! Bodies with their `dynamic` blocks expanded.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::syntax::Label;
use consort_hcl::{
    Attribute, Block, Body, BodySchema, Content, Diagnostic, Diagnostics, Expr, Marks, Scope, Type,
    Value, convert,
};

/// The values of iterators by name.
type Iterators = Arc<BTreeMap<Arc<str>, Value>>;

/// A body and what the dynamic blocks around it mean for it.
#[derive(Clone)]
pub(super) struct Expanded {
    pub(super) body: Body,
    iterators: Option<Iterators>,
    /// Made by a dynamic block whose `for_each` is not known: whatever is in it is unknown.
    pub(super) unknown: bool,
    /// Of the `for_each` it was made by.
    pub(super) marks: Marks,
}

/// A block of an expanded body.
pub(super) struct ExpandedBlock {
    pub(super) block: Block,
    pub(super) content: Expanded,
}

impl Expanded {
    pub(super) fn new(body: &Body) -> Self {
        Self {
            body: body.clone(),
            iterators: None,
            unknown: false,
            marks: Marks::NONE,
        }
    }

    /// The value of an attribute's expression.
    pub(super) fn evaluate(
        &self,
        attribute: &Attribute,
        scope: &dyn Scope,
    ) -> (Value, Diagnostics) {
        if self.unknown {
            return (Value::DYNAMIC.with_marks(self.marks), Diagnostics::new());
        }
        let (value, diagnostics) = self.expression(&attribute.expr).evaluate(scope);
        (value.with_marks(self.marks), diagnostics)
    }

    /// An expression of this body that sees the iterators.
    pub(super) fn expression(&self, expr: &Expr) -> Expr {
        match &self.iterators {
            Some(iterators) => expr.bound(Arc::clone(iterators)),
            None => expr.clone(),
        }
    }

    /// What the body holds; `schema` is with `dynamic`.
    pub(super) fn content(
        &self,
        schema: &BodySchema,
        scope: &dyn Scope,
    ) -> (Content, Vec<ExpandedBlock>, Diagnostics) {
        let (mut content, mut diagnostics) = self.body.content(schema);
        let own = schema
            .blocks
            .iter()
            .filter(|b| &*b.kind == "dynamic")
            .count()
            > 1;
        let mut blocks = Vec::new();
        for block in std::mem::take(&mut content.blocks) {
            if &*block.kind == "dynamic" && !own {
                self.expand(schema, &block, scope, &mut blocks, &mut diagnostics);
            } else {
                let content = Self {
                    body: block.body.clone(),
                    iterators: self.iterators.clone(),
                    unknown: self.unknown,
                    marks: if self.unknown {
                        self.marks
                    } else {
                        Marks::NONE
                    },
                };
                blocks.push(ExpandedBlock { block, content });
            }
        }
        (content, blocks, diagnostics)
    }

    fn child(&self, body: &Body, iterator: &Arc<str>, key: Value, value: Value) -> Self {
        let mut iterators = self.iterators.as_deref().cloned().unwrap_or_default();
        iterators.insert(
            iterator.clone(),
            Value::object([("key", key), ("value", value)]),
        );
        Self {
            body: body.clone(),
            iterators: Some(Arc::new(iterators)),
            unknown: self.unknown,
            marks: Marks::NONE,
        }
    }

    fn expand(
        &self,
        schema: &BodySchema,
        dynamic: &Block,
        scope: &dyn Scope,
        blocks: &mut Vec<ExpandedBlock>,
        diagnostics: &mut Diagnostics,
    ) {
        let kind = dynamic.label(0);
        let kind_range = dynamic
            .labels
            .first()
            .map_or(dynamic.kind_range, |l| l.range);
        let Some(wanted) = schema
            .blocks
            .iter()
            .find(|b| &*b.kind == kind && kind != "dynamic")
        else {
            let detail = format!("Blocks of type \"{kind}\" are not expected here.");
            diagnostics.push(Diagnostic::error("Unsupported block type", detail).at(kind_range));
            return;
        };
        let Some(spec) = self.spec(
            dynamic,
            &wanted.kind,
            wanted.labels.len(),
            scope,
            diagnostics,
        ) else {
            return;
        };
        let (each, marks) = spec.for_each.unmark();
        let mut instances: Vec<(Self, bool)> = Vec::new();
        if each.is_known() {
            for (key, value) in each.elements() {
                instances.push((
                    self.child(&spec.content, &spec.iterator, key, value),
                    self.unknown,
                ));
            }
        } else {
            instances.push((
                self.child(
                    &spec.content,
                    &spec.iterator,
                    Value::DYNAMIC,
                    Value::DYNAMIC,
                ),
                true,
            ));
        }
        for (mut content, unknown) in instances {
            let Some(labels) = content.labels(&spec.labels, scope, diagnostics) else {
                continue;
            };
            content.unknown = unknown;
            content.marks = marks;
            let block = Block {
                kind: wanted.kind.clone(),
                labels,
                body: spec.content.clone(),
                kind_range,
                open_range: dynamic.open_range,
                close_range: dynamic.close_range,
            };
            blocks.push(ExpandedBlock { block, content });
        }
    }

    fn labels(
        &self,
        exprs: &[Expr],
        scope: &dyn Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Vec<Label>> {
        let mut labels = Vec::new();
        for expr in exprs {
            let bound = self.expression(expr);
            let (value, found) = bound.evaluate(scope);
            let failed = found.has_errors();
            diagnostics.append(found);
            if failed {
                return None;
            }
            let problem = match convert(&value, &Type::String) {
                Err(error) => format!("Cannot use this value as a dynamic block label: {error}."),
                Ok(value) if value.is_null() => "Cannot use a null value as a dynamic block label.".to_owned(),
                Ok(value) if !value.is_known() => {
                    "This value is not yet known. Dynamic block labels must be immediately-known values.".to_owned()
                }
                Ok(value) if value.is_marked() => {
                    "This value has dynamic marks that make it unsuitable for use as a block label.".to_owned()
                }
                Ok(value) => {
                    labels.push(Label { text: value.as_shared_str().unwrap_or_else(|| "".into()), range: expr.range() });
                    continue;
                }
            };
            let error = Diagnostic::error("Invalid dynamic block label", problem);
            diagnostics.push(error.at(expr.range()).with_expression(&bound, scope));
            return None;
        }
        Some(labels)
    }

    fn spec(
        &self,
        dynamic: &Block,
        kind: &Arc<str>,
        label_count: usize,
        scope: &dyn Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Spec> {
        let (content, found) = dynamic.body.content(&dynamic_schema(label_count > 0));
        let failed = found.has_errors();
        diagnostics.append(found);
        if failed {
            return None;
        }
        let mut fail = |summary: &str, detail: String, range| {
            diagnostics.push(Diagnostic::error(summary, detail).at(range));
            None
        };
        let mut iterator = kind.clone();
        if let Some(attribute) = content.attribute("iterator") {
            match attribute.expr.as_traversal() {
                Some(name) if name.steps.is_empty() => iterator = name.root,
                Some(name) => {
                    return fail(
                        "Invalid dynamic iterator name",
                        "Dynamic iterator must be a single variable name.".to_owned(),
                        name.range(),
                    );
                }
                None => {
                    return fail(
                        "Invalid expression",
                        "A single static variable reference is required: only attribute access and indexing with \
                         constant keys. No calculations, function calls, template expressions, etc are allowed here."
                            .to_owned(),
                        attribute.expr.range(),
                    );
                }
            }
        }
        let attribute = content.attribute("for_each")?;
        let expr = self.expression(&attribute.expr);
        let (for_each, found) = expr.evaluate(scope);
        let failed = found.has_errors();
        diagnostics.append(found);
        if failed {
            return None;
        }
        let problem = if for_each.is_null() {
            Some("Cannot use a null value in for_each.".to_owned())
        } else if for_each.deep_marks().contains(Marks::EPHEMERAL) {
            Some("The for_each value of a dynamic block must not be derived from an ephemeral value.".to_owned())
        } else if matches!(for_each.ty(), Type::Bool | Type::Number | Type::String) {
            let ty = for_each.ty().friendly_name();
            Some(format!(
                "Cannot use a {ty} value in for_each. An iterable collection is required."
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            let error = Diagnostic::error("Invalid dynamic for_each value", problem);
            diagnostics.push(
                error
                    .at(attribute.expr.range())
                    .with_expression(&expr, scope),
            );
            return None;
        }
        let mut fail = |summary: &str, detail: String, range| {
            diagnostics.push(Diagnostic::error(summary, detail).at(range));
            None
        };
        let mut labels = Vec::new();
        if let Some(attribute) = content.attribute("labels") {
            let Some(exprs) = attribute.expr.as_list() else {
                return fail(
                    "Invalid expression",
                    "A static list expression is required.".to_owned(),
                    attribute.expr.range(),
                );
            };
            let detail = format!("Blocks of type \"{kind}\" require {label_count} label(s).");
            if let Some(extra) = exprs.get(label_count) {
                return fail("Extraneous dynamic block label", detail, extra.range());
            }
            if exprs.len() < label_count {
                return fail(
                    "Insufficient dynamic block labels",
                    detail,
                    attribute.expr.range(),
                );
            }
            labels = exprs;
        }
        match content.blocks.as_slice() {
            [block] => Some(Spec { for_each, iterator, labels, content: block.body.clone() }),
            [] => fail(
                "Missing dynamic content block",
                "A dynamic block must have a nested block of type \"content\" to describe the body of each generated block."
                    .to_owned(),
                content.missing_range,
            ),
            [_, second, ..] => fail(
                "Extraneous dynamic content block",
                "Only one nested content block is allowed for each dynamic block.".to_owned(),
                second.header_range(),
            ),
        }
    }
}

/// What a dynamic block says.
struct Spec {
    for_each: Value,
    iterator: Arc<str>,
    labels: Vec<Expr>,
    content: Body,
}

/// The arguments of a dynamic block.
pub(super) fn dynamic_schema(labels: bool) -> BodySchema {
    let schema = BodySchema::new()
        .required(["for_each"])
        .optional(["iterator"])
        .block("content", &[]);
    if labels {
        schema.required(["labels"])
    } else {
        schema
    }
}

pub(super) fn with_dynamic(schema: &BodySchema) -> BodySchema {
    schema.clone().block("dynamic", &["type"])
}
