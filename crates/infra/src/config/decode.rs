//! What the decoders of all blocks share: collecting diagnostics, and reading the arguments that must be constant.

use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use consort_hcl::syntax::{Attribute, Block, Body, BodySchema, Content, Expr, is_identifier};
use consort_hcl::traversal::Traversal;
use consort_hcl::{Type, Value, convert};

use super::module::{
    CheckRule, LocalProvider, PassedProvider, ProviderReference, VersionConstraint,
};
use super::provider_source::parse_part;
use super::reference::{Reference, Subject};
use crate::address;
use crate::version::Constraints;

/// What every message about a bad name says.
pub(super) const BAD_IDENTIFIER: &str = "A name must start with a letter or underscore and may contain only letters, digits, underscores, and dashes.";

/// The state of decoding one file.
pub(super) struct Decoder<'a> {
    pub(super) sources: &'a Sources,
    pub(super) diagnostics: Diagnostics,
    /// Whether the file overrides others: then required arguments need not be there.
    pub(super) overriding: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(sources: &'a Sources, overriding: bool) -> Self {
        Self {
            sources,
            diagnostics: Diagnostics::new(),
            overriding,
        }
    }

    pub(super) fn error(
        &mut self,
        summary: impl Into<String>,
        detail: impl Into<String>,
        at: Range,
    ) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    pub(super) fn warning(
        &mut self,
        summary: impl Into<String>,
        detail: impl Into<String>,
        at: Range,
    ) {
        self.diagnostics
            .push(Diagnostic::warning(summary, detail).at(at));
    }

    /// A place as messages name it: `main.tf:3,1-20`.
    pub(super) fn place(&self, range: Range) -> String {
        place(self.sources, range)
    }

    fn keep<T>(&mut self, (content, diagnostics): (T, Diagnostics)) -> T {
        self.diagnostics.append(diagnostics);
        content
    }

    pub(super) fn content(&mut self, body: &Body, schema: &BodySchema) -> Content {
        self.keep(body.content(schema))
    }

    pub(super) fn partial(&mut self, body: &Body, schema: &BodySchema) -> (Content, Body) {
        let (content, rest, diagnostics) = body.partial_content(schema);
        self.diagnostics.append(diagnostics);
        (content, rest)
    }

    /// Reports a label that is no identifier.
    pub(super) fn check_name(&mut self, summary: &str, block: &Block, label: usize) {
        if !is_identifier(block.label(label)) {
            let at = block
                .labels
                .get(label)
                .map_or(block.kind_range, |label| label.range);
            self.error(summary, BAD_IDENTIFIER, at);
        }
    }

    /// The value of an argument that can refer to nothing.
    pub(super) fn constant(&mut self, expr: &Expr) -> Option<Value> {
        let before = self.diagnostics.len();
        let value = self.constant_or_unknown(expr);
        (!self
            .diagnostics
            .iter()
            .skip(before)
            .any(Diagnostic::is_error))
        .then_some(value)
    }

    /// Like [`Decoder::constant`], but what failed is unknown.
    fn constant_or_unknown(&mut self, expr: &Expr) -> Value {
        let (value, diagnostics) = expr.evaluate_constant();
        self.diagnostics.append(diagnostics);
        value
    }

    fn constant_as(&mut self, expr: &Expr, ty: &Type) -> Option<Value> {
        let value = self.constant_or_unknown(expr);
        match convert(&value, ty) {
            Ok(value) if value.is_null() => {
                self.error(
                    "Unsuitable value type",
                    "Unsuitable value: null value is not allowed",
                    expr.start_range(),
                );
                None
            }
            Ok(value) if !value.is_known() => {
                self.error(
                    "Unsuitable value type",
                    "Unsuitable value: value must be known",
                    expr.start_range(),
                );
                None
            }
            Ok(value) => Some(value),
            Err(error) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        "Unsuitable value type",
                        format!("Unsuitable value: {}", error.located()),
                    )
                    .at(expr.start_range())
                    .within(expr.range()),
                );
                None
            }
        }
    }

    pub(super) fn constant_bool(&mut self, attribute: &Attribute) -> Option<bool> {
        // A null is what leaving the argument out is.
        self.constant_as(&attribute.expr, &Type::Bool)
            .and_then(|value| value.as_bool())
    }

    pub(super) fn constant_string(&mut self, attribute: &Attribute) -> Option<String> {
        self.constant_as(&attribute.expr, &Type::String)
            .and_then(|value| value.as_str().map(str::to_owned))
    }

    /// A version constraint given as a constant string.
    pub(super) fn version_constraint(
        &mut self,
        attribute: &Attribute,
    ) -> Option<VersionConstraint> {
        let value = self.constant(&attribute.expr)?;
        let Ok(value) = convert(&value, &Type::String) else {
            self.error(
                "Invalid version constraint",
                format!("A string value is required for {}.", attribute.name),
                attribute.expr.range(),
            );
            return None;
        };
        let empty = VersionConstraint {
            constraints: Constraints::default(),
            range: attribute.range,
        };
        if value.is_null() || !value.is_known() {
            return Some(empty);
        }
        match value.as_str().unwrap_or_default().parse() {
            Ok(constraints) => Some(VersionConstraint {
                constraints,
                ..empty
            }),
            Err(_) => {
                self.error(
                    "Invalid version constraint",
                    "This string does not use correct version constraint syntax.",
                    attribute.expr.range(),
                );
                None
            }
        }
    }

    /// A list of references, such as `depends_on`.
    pub(super) fn references(&mut self, attribute: &Attribute) -> Vec<Traversal> {
        let items = self.list(&attribute.expr).unwrap_or_default();
        items
            .iter()
            .filter_map(|item| self.quoted_traversal(item, false))
            .collect()
    }

    /// A reference, or one in quotes as Terraform 0.11 had it, which gives a warning.
    pub(super) fn quoted_traversal(&mut self, expr: &Expr, keyword: bool) -> Option<Traversal> {
        let expr = &expr.unwrapped_key();
        if let Some((traversal, diagnostics)) = expr.quoted_traversal(self.sources) {
            let (summary, what, whats) = if keyword {
                ("Quoted keywords are deprecated", "keyword", "keywords")
            } else {
                (
                    "Quoted references are deprecated",
                    "reference",
                    "references",
                )
            };
            self.diagnostics.append(diagnostics);
            self.warning(
                summary,
                format!(
                    "In this context, {whats} are expected literally rather than in quotes. Terraform 0.11 and earlier required quotes, but quoted {whats} are now deprecated and will be removed in a future version of Terraform. Remove the quotes surrounding this {what} to silence this warning."
                ),
                expr.range(),
            );
            return traversal;
        }
        self.traversal(expr)
    }

    /// A reference with constant keys.
    pub(super) fn traversal(&mut self, expr: &Expr) -> Option<Traversal> {
        let traversal = expr.as_traversal();
        if traversal.is_none() {
            self.error(
                "Invalid expression",
                "A single static variable reference is required: only attribute access and indexing with constant keys. No calculations, function calls, template expressions, etc are allowed here.",
                expr.range(),
            );
        }
        traversal
    }

    /// The items of a list that is written out.
    pub(super) fn list(&mut self, expr: &Expr) -> Option<Vec<Expr>> {
        let items = expr.as_list();
        if items.is_none() {
            self.error(
                "Invalid expression",
                "A static list expression is required.",
                expr.start_range(),
            );
        }
        items
    }

    /// The pairs of a map that is written out.
    pub(super) fn map(&mut self, expr: &Expr) -> Option<Vec<(Expr, Expr)>> {
        let pairs = expr.as_map();
        if pairs.is_none() {
            self.error(
                "Invalid expression",
                "A static map expression is required.",
                expr.start_range(),
            );
        }
        pairs
    }

    /// A string of the JSON syntax as the expression in it; any other expression as it is.
    pub(super) fn native(&mut self, expr: &Expr) -> Option<Expr> {
        let Some((native, diagnostics)) = expr.json_as_native() else {
            return Some(expr.clone());
        };
        let failed = diagnostics.has_errors();
        self.diagnostics.append(diagnostics);
        (!failed).then_some(native)
    }

    /// A keyword, or one in quotes.
    pub(super) fn keyword(&mut self, expr: &Expr) -> Option<Arc<str>> {
        if expr.as_quoted_string().is_some() {
            return self
                .quoted_traversal(expr, true)
                .filter(|traversal| traversal.steps.is_empty())
                .map(|one| one.root);
        }
        expr.as_keyword()
    }

    /// Reports a local provider name that is not in normal form.
    pub(super) fn check_provider_name(&mut self, name: &str, at: Range) -> bool {
        match parse_part(name) {
            Err(why) => {
                self.error(
                    "Invalid provider local name",
                    format!("{name} is an invalid provider local name: {why}"),
                    at,
                );
                false
            }
            Ok(normal) if normal != name => {
                self.error(
                    "Invalid provider local name",
                    format!("Provider names must be normalized. Replace {name:?} with {normal:?} to fix this error."),
                    at,
                );
                false
            }
            Ok(_) => true,
        }
    }

    /// `aws` or `aws.west`, as the value of `provider` or in `providers`.
    pub(super) fn provider_reference(
        &mut self,
        expr: &Expr,
        argument: &str,
    ) -> Option<ProviderReference> {
        const SUMMARY: &str = "Invalid provider configuration reference";
        let expr = expr.unwrapped_key();
        let traversal = match expr.as_quoted_string() {
            Some(_) => self.quoted_traversal(&expr, false),
            None => expr.as_traversal(),
        };
        let Some(traversal) = traversal.filter(|traversal| traversal.steps.len() <= 1) else {
            if expr.as_quoted_string().is_some() {
                self.error(
                    SUMMARY,
                    "A provider configuration reference must not be given in quotes.",
                    expr.range(),
                );
            } else {
                self.error(
                    SUMMARY,
                    format!(
                        "The {argument} argument requires a provider type name, optionally followed by a period and then a configuration alias."
                    ),
                    expr.range(),
                );
            }
            return None;
        };
        if !self.check_provider_name(&traversal.root, traversal.root_range) {
            return None;
        }
        let mut reference = ProviderReference {
            key: LocalProvider::default_of(traversal.root.clone()),
            name_range: traversal.root_range,
            alias_range: None,
        };
        if let Some(step) = traversal.steps.first() {
            let Some(alias) = step.attribute() else {
                self.error(
                    SUMMARY,
                    "Provider name must either stand alone or be followed by a period and then a configuration alias.",
                    step.range(),
                );
                return Some(reference);
            };
            reference.key.alias = Some(alias.clone());
            reference.alias_range = Some(step.range());
        }
        Some(reference)
    }

    /// The `providers` of a module call or a test run.
    pub(super) fn passed_providers(&mut self, attribute: &Attribute) -> Vec<PassedProvider> {
        let pairs = self.map(&attribute.expr).unwrap_or_default();
        let mut passed: Vec<PassedProvider> = Vec::new();
        let mut seen: Vec<(LocalProvider, Range)> = Vec::new();
        for (key, value) in pairs {
            let child = self.provider_reference(&key, "providers");
            let parent = self.provider_reference(&value, "providers");
            let (Some(child), Some(parent)) = (child, parent) else {
                continue;
            };
            if let Some((_, previous)) = seen.iter().find(|(seen, _)| *seen == child.key) {
                let detail = format!(
                    "A provider configuration was already passed to {} at {}. Each child provider configuration can be assigned only once.",
                    child.key,
                    self.place(*previous)
                );
                self.error("Duplicate provider address", detail, value.range());
                continue;
            }
            seen.push((child.key.clone(), key.range().to(value.range())));
            passed.push(PassedProvider { child, parent });
        }
        passed
    }

    /// The content of a `validation`, `precondition`, `postcondition` or `assert` block.
    pub(super) fn check_rule(&mut self, block: &Block) -> CheckRule {
        let mut rule = CheckRule {
            condition: None,
            error_message: None,
            range: block.header_range(),
        };
        if self.overriding {
            self.error(
                format!("Can't override {} blocks", block.kind),
                format!("Override files cannot override \"{}\" blocks.", block.kind),
                block.header_range(),
            );
            return rule;
        }
        let content = self.content(
            &block.body,
            &BodySchema::new().required(["condition", "error_message"]),
        );
        if let Some(attribute) = content.attribute("condition") {
            if attribute.expr.references().is_empty() {
                self.error(
                    format!("Invalid {} expression", block.kind),
                    "The condition expression must refer to at least one object from elsewhere in the configuration, or else its result would not be checking anything.",
                    attribute.expr.range(),
                );
            }
            rule.condition = Some(attribute.expr.clone());
        }
        rule.error_message = content
            .attribute("error_message")
            .map(|attribute| attribute.expr.clone());
        rule
    }

    /// Reports conditions of a resource that look at the resource itself by its name.
    pub(super) fn check_self_references(
        &mut self,
        rule: &CheckRule,
        kind: &str,
        resource: &address::Resource,
    ) {
        for expr in [&rule.condition, &rule.error_message].into_iter().flatten() {
            let refers = expr.references().iter().any(|traversal| {
                matches!(Reference::parse(traversal), Ok(Reference { subject: Subject::Resource(named, _), .. }) if named == *resource)
            });
            if refers {
                self.error(
                    format!("Invalid reference in {kind}"),
                    format!("Configuration for {resource} may not refer to itself."),
                    expr.range(),
                );
            }
        }
    }

    /// Takes the `_` block of a body, which holds arguments that would else be taken for this program's own.
    pub(super) fn escape_block(
        &mut self,
        block: &Block,
        seen: &mut Option<Range>,
        rest: Body,
        what: &str,
        of: &str,
    ) -> Body {
        if let Some(previous) = *seen {
            let detail = format!(
                "The special block type \"_\" can be used to force particular arguments to be interpreted as {what} rather than as meta-arguments, but each {of} block can have only one such block. The first escaping block was at {}.",
                self.place(previous)
            );
            self.error("Duplicate escaping block", detail, block.header_range());
            return rest;
        }
        *seen = Some(block.header_range());
        Body::merged(vec![rest.clone(), block.body.clone()]).unwrap_or(rest)
    }

    /// Reports a second `lifecycle` or `connection` block.
    pub(super) fn only_once(
        &mut self,
        block: &Block,
        seen: &mut Option<Range>,
        subject: &str,
    ) -> bool {
        if let Some(previous) = *seen {
            let detail = format!(
                "{subject} already has a {} block at {}.",
                block.kind,
                self.place(previous)
            );
            self.error(
                format!("Duplicate {} block", block.kind),
                detail,
                block.header_range(),
            );
            return false;
        }
        *seen = Some(block.header_range());
        true
    }

    /// Reports a block type that Terraform keeps for itself.
    pub(super) fn reserved_block(&mut self, block: &Block, container: &str) {
        self.error(
            format!("Reserved block type name in {container} block"),
            format!(
                "The block type name {:?} is reserved for use by Terraform in a future version.",
                &*block.kind
            ),
            block.kind_range,
        );
    }

    /// Reports `count` together with `for_each`.
    pub(super) fn count_and_for_each(&mut self, content: &Content) {
        if content.attribute("count").is_some()
            && let Some(for_each) = content.attribute("for_each")
        {
            self.error(
                "Invalid combination of \"count\" and \"for_each\"",
                "The \"count\" and \"for_each\" meta-arguments are mutually-exclusive, only one should be used to be explicit about the number of resources to be created.",
                for_each.name_range,
            );
        }
    }
}

/// A place as messages name it: `main.tf:3,1-20`.
pub(super) fn place(sources: &Sources, range: Range) -> String {
    sources
        .get(range.source)
        .map_or_else(String::new, |source| source.describe(range))
}
