//! Bodies: what a file or a block holds, in either syntax.
//!
//! The native syntax tells arguments from blocks by itself; the JSON syntax needs a schema for that. So a body is
//! asked for its content by a [`BodySchema`], as HCL's own interface does it.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::expr::Expr;
use super::json::JsonBody;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{Range, Source};
use crate::suggest::did_you_mean;
use crate::text::quote;

/// An argument: a name and the expression it is set to.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The name.
    pub name: Arc<str>,
    /// The expression.
    pub expr: Expr,
    /// All of it.
    pub range: Range,
    /// The name.
    pub name_range: Range,
    /// The equals sign; in JSON the name again.
    pub equals_range: Range,
}

/// A label of a block.
#[derive(Clone, Debug)]
pub struct Label {
    /// The label without quotes.
    pub text: Arc<str>,
    /// Where it is written.
    pub range: Range,
}

/// A block: a type, labels, and a body.
#[derive(Clone, Debug)]
pub struct Block {
    /// The type, for example `resource`.
    pub kind: Arc<str>,
    /// The labels.
    pub labels: Vec<Label>,
    /// What is in it.
    pub body: Body,
    /// Where the type is written.
    pub kind_range: Range,
    /// The opening brace.
    pub open_range: Range,
    /// The closing brace.
    pub close_range: Range,
}

impl Block {
    /// The header: the type and the labels; in JSON the opening brace.
    pub fn header_range(&self) -> Range {
        if self.body.is_json() {
            return self.open_range;
        }
        self.labels
            .last()
            .map_or(self.kind_range, |last| self.kind_range.to(last.range))
    }

    /// All of it.
    pub fn range(&self) -> Range {
        self.kind_range.to(self.close_range)
    }

    /// The text of a label; empty if there are not as many.
    pub fn label(&self, index: usize) -> &str {
        self.labels.get(index).map_or("", |label| &label.text)
    }
}

/// An argument a body may have.
#[derive(Clone, Debug)]
pub struct AttributeSchema {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it must be there.
    pub required: bool,
}

/// A type of block a body may have, with the names of its labels.
#[derive(Clone, Debug)]
pub struct BlockSchema {
    /// Its type.
    pub kind: Arc<str>,
    /// What the labels mean, for messages.
    pub labels: Vec<Arc<str>>,
}

/// What a body may hold.
#[derive(Clone, Debug, Default)]
pub struct BodySchema {
    /// The arguments.
    pub attributes: Vec<AttributeSchema>,
    /// The types of blocks.
    pub blocks: Vec<BlockSchema>,
}

impl BodySchema {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With arguments that may be there.
    #[must_use]
    pub fn optional<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.attributes
            .extend(names.into_iter().map(|name| AttributeSchema {
                name: Arc::from(name),
                required: false,
            }));
        self
    }

    /// With arguments that must be there.
    #[must_use]
    pub fn required<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.attributes
            .extend(names.into_iter().map(|name| AttributeSchema {
                name: Arc::from(name),
                required: true,
            }));
        self
    }

    /// With a type of block and the names of its labels.
    #[must_use]
    pub fn block(mut self, kind: &str, labels: &[&str]) -> Self {
        self.blocks.push(BlockSchema {
            kind: Arc::from(kind),
            labels: labels.iter().map(|label| Arc::from(*label)).collect(),
        });
        self
    }
}

/// What a body holds of a schema.
#[derive(Clone, Debug)]
pub struct Content {
    /// The arguments found, in the order they are written.
    pub attributes: IndexMap<Arc<str>, Attribute>,
    /// The blocks found, in the order they are written.
    pub blocks: Vec<Block>,
    /// Where to point if something is missing.
    pub missing_range: Range,
}

impl Content {
    /// An argument by name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }

    /// The blocks of a type.
    pub fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| &*block.kind == kind)
    }
}

/// What a file or a block holds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Body {
    inner: Arc<Inner>,
    /// Names a schema has already asked for.
    hidden: Option<Arc<Hidden>>,
}

#[derive(Clone, Debug, Default)]
struct Hidden {
    attributes: BTreeSet<Arc<str>>,
    blocks: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
enum Inner {
    Native(NativeBody),
    Json(JsonBody),
    Merged(Vec<Body>),
    Overridden { base: Body, overlay: Body },
}

/// What the parser of the native syntax found.
#[derive(Debug)]
struct NativeBody {
    source: Arc<Source>,
    attributes: IndexMap<Arc<str>, Attribute>,
    blocks: Vec<Block>,
    range: Range,
}

impl Body {
    pub(crate) fn native(
        source: Arc<Source>,
        attributes: IndexMap<Arc<str>, Attribute>,
        blocks: Vec<Block>,
        range: Range,
    ) -> Self {
        Self {
            inner: Arc::new(Inner::Native(NativeBody {
                source,
                attributes,
                blocks,
                range,
            })),
            hidden: None,
        }
    }

    pub(crate) fn json(body: JsonBody) -> Self {
        Self {
            inner: Arc::new(Inner::Json(body)),
            hidden: None,
        }
    }

    /// A body made of parts that were found elsewhere, with the source and the place of `like`: for the content of
    /// `dynamic` blocks and the like.
    pub fn assembled(
        like: &Body,
        attributes: impl IntoIterator<Item = Attribute>,
        blocks: Vec<Block>,
    ) -> Self {
        let attributes = attributes
            .into_iter()
            .map(|attribute| (attribute.name.clone(), attribute))
            .collect();
        Self::native(like.source().clone(), attributes, blocks, like.range())
    }

    /// One body of several, whose blocks follow one another and whose arguments must differ.
    /// `None` if there are none.
    pub fn merged(mut bodies: Vec<Body>) -> Option<Self> {
        if bodies.len() <= 1 {
            return bodies.pop();
        }
        Some(Self {
            inner: Arc::new(Inner::Merged(bodies)),
            hidden: None,
        })
    }

    /// A body over which another one is laid: its arguments take the place of those of the same name, and its blocks of
    /// all those of the same type.
    pub fn overridden(base: Body, overlay: Body) -> Self {
        Self {
            inner: Arc::new(Inner::Overridden { base, overlay }),
            hidden: None,
        }
    }

    /// The bodies that were written as such and make up this one: itself, or the parts of a merged one.
    pub fn parts(&self) -> Vec<&Body> {
        match &*self.inner {
            Inner::Native(_) | Inner::Json(_) => vec![self],
            Inner::Merged(bodies) => bodies.iter().flat_map(Body::parts).collect(),
            Inner::Overridden { base, overlay } => {
                let mut parts = base.parts();
                parts.extend(overlay.parts());
                parts
            }
        }
    }

    /// Whether it was written in the JSON syntax.
    pub fn is_json(&self) -> bool {
        match &*self.inner {
            Inner::Native(_) => false,
            Inner::Json(_) => true,
            Inner::Merged(bodies) => bodies.iter().any(Body::is_json),
            Inner::Overridden { base, overlay } => base.is_json() || overlay.is_json(),
        }
    }

    /// The value a body of the JSON syntax was made of.
    pub(crate) fn json_value(&self) -> Option<&Expr> {
        match &*self.inner {
            Inner::Json(body) => Some(&body.value),
            _ => None,
        }
    }

    /// The source it was read from; of merged bodies, the first one's.
    pub fn source(&self) -> &Arc<Source> {
        match &*self.inner {
            Inner::Native(body) => &body.source,
            Inner::Json(body) => &body.source,
            // Never empty: made by `merged` only, from two or more.
            Inner::Merged(bodies) => bodies[0].source(),
            Inner::Overridden { base, .. } => base.source(),
        }
    }

    /// All of it, with its braces; of merged bodies, the first one.
    pub fn range(&self) -> Range {
        match &*self.inner {
            Inner::Native(body) => body.range,
            Inner::Json(body) => body.range(),
            Inner::Merged(bodies) => bodies[0].range(),
            Inner::Overridden { base, .. } => base.range(),
        }
    }

    /// Where to point if something is missing in it.
    pub fn missing_range(&self) -> Range {
        match &*self.inner {
            Inner::Native(body) => body.range.at_start(),
            Inner::Json(body) => body.missing_range(),
            Inner::Merged(bodies) => bodies[0].missing_range(),
            Inner::Overridden { base, .. } => base.missing_range(),
        }
    }

    /// All arguments of a body in the native syntax; none for other bodies, which need a schema.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        let native = match &*self.inner {
            Inner::Native(body) => Some(body),
            _ => None,
        };
        native
            .into_iter()
            .flat_map(|body| body.attributes.values())
            .filter(|attribute| !self.hides_attribute(&attribute.name))
    }

    /// All arguments of a body, in whatever syntax; blocks beside them are left out.
    pub fn arguments(&self) -> impl Iterator<Item = Attribute> + use<> {
        let (attributes, _) = self.just_attributes();
        attributes.into_values()
    }

    /// All blocks of a body in the native syntax; none for other bodies, which need a schema.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        let native = match &*self.inner {
            Inner::Native(body) => Some(body),
            _ => None,
        };
        native
            .into_iter()
            .flat_map(|body| &body.blocks)
            .filter(|block| !self.hides_block(&block.kind))
    }

    fn hides_attribute(&self, name: &str) -> bool {
        self.hidden
            .as_ref()
            .is_some_and(|hidden| hidden.attributes.contains(name))
    }

    fn hides_block(&self, kind: &str) -> bool {
        self.hidden
            .as_ref()
            .is_some_and(|hidden| hidden.blocks.contains(kind))
    }

    fn hide(
        &self,
        attributes: impl Iterator<Item = Arc<str>>,
        blocks: impl Iterator<Item = Arc<str>>,
    ) -> Body {
        let mut hidden = self.hidden.as_deref().cloned().unwrap_or_default();
        hidden.attributes.extend(attributes);
        hidden.blocks.extend(blocks);
        Body {
            inner: self.inner.clone(),
            hidden: Some(Arc::new(hidden)),
        }
    }

    /// What the body holds, which must all be in the schema.
    pub fn content(&self, schema: &BodySchema) -> (Content, Diagnostics) {
        match &*self.inner {
            Inner::Native(body) => {
                let (content, mut diagnostics) = self.native_content(body, schema);
                self.native_leftovers(body, schema, &content, &mut diagnostics);
                (content, diagnostics)
            }
            Inner::Json(body) => {
                let hidden = |name: &str| self.hides_attribute(name);
                let (content, _, mut diagnostics) = body.content(schema, &hidden);
                body.leftovers(schema, &content, &hidden, &mut diagnostics);
                (content, diagnostics)
            }
            // What is not in the schema is left alone here, as Terraform does.
            Inner::Overridden { .. } => {
                let (content, _, diagnostics) = self.partial_content(schema);
                (content, diagnostics)
            }
            Inner::Merged(bodies) => {
                let parts = bodies
                    .iter()
                    .map(|body| body.content(&without_required(schema)))
                    .collect();
                self.merge(schema, parts)
            }
        }
    }

    /// What the body holds of a schema, and a body with the rest.
    pub fn partial_content(&self, schema: &BodySchema) -> (Content, Body, Diagnostics) {
        match &*self.inner {
            Inner::Native(body) => {
                let (content, diagnostics) = self.native_content(body, schema);
                let rest = self.hide(
                    schema
                        .attributes
                        .iter()
                        .map(|attribute| attribute.name.clone()),
                    schema.blocks.iter().map(|block| block.kind.clone()),
                );
                (content, rest, diagnostics)
            }
            Inner::Json(body) => {
                let (content, used, diagnostics) =
                    body.content(schema, &|name| self.hides_attribute(name));
                let rest = self.hide(used.into_iter(), std::iter::empty());
                (content, rest, diagnostics)
            }
            Inner::Overridden { base, overlay } => {
                let lenient = without_required(schema);
                let (mut content, base_rest, mut diagnostics) = base.partial_content(&lenient);
                let (over, overlay_rest, found) = overlay.partial_content(&lenient);
                diagnostics.append(found);
                content.attributes.extend(over.attributes);
                let replaced: BTreeSet<Arc<str>> = over.blocks.iter().map(produced_kind).collect();
                content
                    .blocks
                    .retain(|block| !replaced.contains(&produced_kind(block)));
                content.blocks.extend(over.blocks);
                for wanted in schema.attributes.iter().filter(|wanted| wanted.required) {
                    if !content.attributes.contains_key(&wanted.name) {
                        diagnostics.push(missing(&wanted.name, content.missing_range));
                    }
                }
                (
                    content,
                    Self::overridden(base_rest, overlay_rest),
                    diagnostics,
                )
            }
            Inner::Merged(bodies) => {
                let mut rests = Vec::with_capacity(bodies.len());
                let mut parts = Vec::with_capacity(bodies.len());
                for body in bodies {
                    let (content, rest, diagnostics) =
                        body.partial_content(&without_required(schema));
                    rests.push(rest);
                    parts.push((content, diagnostics));
                }
                let (content, diagnostics) = self.merge(schema, parts);
                (
                    content,
                    Body {
                        inner: Arc::new(Inner::Merged(rests)),
                        hidden: None,
                    },
                    diagnostics,
                )
            }
        }
    }

    /// All arguments of a body that may hold no blocks.
    pub fn just_attributes(&self) -> (IndexMap<Arc<str>, Attribute>, Diagnostics) {
        match &*self.inner {
            Inner::Native(body) => {
                let mut diagnostics = Diagnostics::new();
                if let Some(example) = body.blocks.first() {
                    diagnostics.push(
                        Diagnostic::error(
                            format!("Unexpected {} block", quote(&example.kind)),
                            "Blocks are not allowed here.",
                        )
                        .at(example.kind_range),
                    );
                }
                let attributes = body
                    .attributes
                    .iter()
                    .filter(|(name, _)| !self.hides_attribute(name))
                    .map(|(name, attribute)| (name.clone(), attribute.clone()))
                    .collect();
                (attributes, diagnostics)
            }
            Inner::Json(body) => body.just_attributes(&|name| self.hides_attribute(name)),
            Inner::Overridden { base, overlay } => {
                let (mut all, mut diagnostics) = base.just_attributes();
                let (over, found) = overlay.just_attributes();
                diagnostics.append(found);
                all.extend(over);
                (all, diagnostics)
            }
            Inner::Merged(bodies) => {
                let mut all: IndexMap<Arc<str>, Attribute> = IndexMap::new();
                let mut diagnostics = Diagnostics::new();
                for body in bodies {
                    let (attributes, found) = body.just_attributes();
                    diagnostics.append(found);
                    for (name, attribute) in attributes {
                        add_merged(&mut all, name, attribute, body, bodies, &mut diagnostics);
                    }
                }
                (all, diagnostics)
            }
        }
    }

    fn native_content(&self, body: &NativeBody, schema: &BodySchema) -> (Content, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let missing_range = body.range.at_start();
        let mut indices = Vec::new();
        for wanted in &schema.attributes {
            let found = body
                .attributes
                .get_index_of(&wanted.name)
                .filter(|_| !self.hides_attribute(&wanted.name));
            match found {
                Some(index) => indices.push(index),
                None if wanted.required => diagnostics.push(missing(&wanted.name, missing_range)),
                None => {}
            }
        }
        indices.sort_unstable();
        indices.dedup();
        let attributes = indices
            .into_iter()
            .filter_map(|index| body.attributes.get_index(index))
            .map(|(name, attribute)| (name.clone(), attribute.clone()))
            .collect();
        let mut blocks = Vec::new();
        if !body.blocks.is_empty() {
            let wanted: std::collections::HashMap<&str, &BlockSchema> = schema
                .blocks
                .iter()
                .map(|block| (&*block.kind, block))
                .collect();
            for block in &body.blocks {
                if self.hides_block(&block.kind) {
                    continue;
                }
                let Some(schema) = wanted.get(&*block.kind) else {
                    continue;
                };
                match check_labels(block, schema) {
                    Ok(()) => blocks.push(block.clone()),
                    Err(diagnostic) => diagnostics.push(*diagnostic),
                }
            }
        }
        (
            Content {
                attributes,
                blocks,
                missing_range,
            },
            diagnostics,
        )
    }

    /// Says of what is not in the schema that it does not belong here.
    fn native_leftovers(
        &self,
        body: &NativeBody,
        schema: &BodySchema,
        content: &Content,
        diagnostics: &mut Diagnostics,
    ) {
        if body.attributes.len() > content.attributes.len() {
            let known: std::collections::HashSet<&str> = schema
                .attributes
                .iter()
                .map(|attribute| &*attribute.name)
                .collect();
            for attribute in body.attributes.values() {
                let name = &attribute.name;
                if known.contains(&**name) || self.hides_attribute(name) {
                    continue;
                }
                let unused = schema.attributes.iter().map(|wanted| &*wanted.name);
                let mut suggestion = did_you_mean(
                    name,
                    unused.filter(|wanted| !content.attributes.contains_key(*wanted)),
                );
                if suggestion.is_empty() && schema.blocks.iter().any(|block| block.kind == *name) {
                    suggestion =
                        format!(" Did you mean to define a block of type {}?", quote(name));
                }
                let detail = format!(
                    "An argument named {} is not expected here.{suggestion}",
                    quote(name)
                );
                diagnostics.push(
                    Diagnostic::error("Unsupported argument", detail).at(attribute.name_range),
                );
            }
        }
        let known: std::collections::HashSet<&str> =
            schema.blocks.iter().map(|block| &*block.kind).collect();
        for block in &body.blocks {
            let kind = &block.kind;
            if known.contains(&**kind) || self.hides_block(kind) {
                continue;
            }
            let mut suggestion = did_you_mean(kind, schema.blocks.iter().map(|block| &*block.kind));
            if suggestion.is_empty()
                && schema
                    .attributes
                    .iter()
                    .any(|attribute| attribute.name == *kind)
            {
                suggestion = format!(
                    " Did you mean to define argument {}? If so, use the equals sign to assign it a value.",
                    quote(kind)
                );
            }
            let detail = format!(
                "Blocks of type {} are not expected here.{suggestion}",
                quote(kind)
            );
            diagnostics
                .push(Diagnostic::error("Unsupported block type", detail).at(block.kind_range));
        }
    }

    fn merge(
        &self,
        schema: &BodySchema,
        parts: Vec<(Content, Diagnostics)>,
    ) -> (Content, Diagnostics) {
        let Inner::Merged(bodies) = &*self.inner else {
            return parts.into_iter().next().unwrap_or_else(|| {
                let missing_range = self.missing_range();
                (
                    Content {
                        attributes: IndexMap::new(),
                        blocks: Vec::new(),
                        missing_range,
                    },
                    Diagnostics::new(),
                )
            });
        };
        let mut diagnostics = Diagnostics::new();
        let mut attributes: IndexMap<Arc<str>, Attribute> = IndexMap::new();
        let mut blocks = Vec::new();
        for (body, (content, found)) in bodies.iter().zip(parts) {
            diagnostics.append(found);
            for (name, attribute) in content.attributes {
                add_merged(
                    &mut attributes,
                    name,
                    attribute,
                    body,
                    bodies,
                    &mut diagnostics,
                );
            }
            blocks.extend(content.blocks);
        }
        for wanted in schema.attributes.iter().filter(|wanted| wanted.required) {
            if !attributes.contains_key(&wanted.name) {
                let detail = format!(
                    "The argument {} is required, but was not set.",
                    quote(&wanted.name)
                );
                diagnostics.push(Diagnostic::error("Missing required argument", detail));
            }
        }
        (
            Content {
                attributes,
                blocks,
                missing_range: self.missing_range(),
            },
            diagnostics,
        )
    }
}

fn add_merged(
    all: &mut IndexMap<Arc<str>, Attribute>,
    name: Arc<str>,
    attribute: Attribute,
    body: &Body,
    bodies: &[Body],
    diagnostics: &mut Diagnostics,
) {
    match all.get(&name) {
        Some(existing) => {
            let first = bodies
                .iter()
                .find(|other| other.source().id() == existing.name_range.source)
                .unwrap_or(body);
            let place = first.source().describe(existing.name_range);
            let detail = format!("Argument {} was already set at {place}", quote(&name));
            diagnostics
                .push(Diagnostic::error("Duplicate argument", detail).at(attribute.name_range));
        }
        None => {
            all.insert(name, attribute);
        }
    }
}

/// The type of the blocks that a block stands for: a `dynamic` block's label, else its own.
fn produced_kind(block: &Block) -> Arc<str> {
    match block.labels.first() {
        Some(label) if &*block.kind == "dynamic" => label.text.clone(),
        _ => block.kind.clone(),
    }
}

pub(crate) fn missing(name: &str, at: Range) -> Diagnostic {
    let detail = format!(
        "The argument {} is required, but no definition was found.",
        quote(name)
    );
    Diagnostic::error("Missing required argument", detail).at(at)
}

fn without_required(schema: &BodySchema) -> BodySchema {
    BodySchema {
        attributes: schema
            .attributes
            .iter()
            .map(|attribute| AttributeSchema {
                name: attribute.name.clone(),
                required: false,
            })
            .collect(),
        blocks: schema.blocks.clone(),
    }
}

fn check_labels(block: &Block, schema: &BlockSchema) -> Result<(), Box<Diagnostic>> {
    let (kind, wanted) = (&block.kind, schema.labels.len());
    let context = block.kind_range.to(block.open_range);
    let names = || {
        schema
            .labels
            .iter()
            .map(|label| &**label)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(extra) = block.labels.get(wanted) {
        let detail = if wanted == 0 {
            format!("No labels are expected for {kind} blocks.")
        } else {
            format!(
                "Only {wanted} labels ({}) are expected for {kind} blocks.",
                names()
            )
        };
        let diagnostic = Diagnostic::error(format!("Extraneous label for {kind}"), detail);
        return Err(Box::new(diagnostic.at(extra.range).within(context)));
    }
    if let Some(missing) = schema.labels.get(block.labels.len()) {
        let detail = format!("All {kind} blocks must have {wanted} labels ({}).", names());
        let diagnostic = Diagnostic::error(format!("Missing {missing} for {kind}"), detail);
        return Err(Box::new(diagnostic.at(block.open_range).within(context)));
    }
    Ok(())
}
