//! `variable`, `locals` and `output` blocks.

use std::sync::Arc;

use consort_hcl::syntax::{Block, BodySchema, Expr};
use consort_hcl::{Defaults, Type, Value};

use super::block_module;
use super::convert::with_defaults;
use super::decode::{BAD_IDENTIFIER, Decoder};
use super::module::{Local, Output, Variable, VariableSet};
use super::reference::{Reference, Subject};

impl Decoder<'_> {
    pub(super) fn variable(&mut self, block: &Block) -> Variable {
        let schema = BodySchema::new()
            .optional([
                "description",
                "default",
                "type",
                "sensitive",
                "ephemeral",
                "nullable",
            ])
            .block("validation", &[]);
        let content = self.content(&block.body, &schema);
        self.check_name("Invalid variable name", block, 0);
        let name: Arc<str> = block.label(0).into();
        if block_module::ARGUMENTS.contains(&&*name) || block_module::BLOCKS.contains(&&*name) {
            self.error(
                "Invalid variable name",
                format!("The variable name {name:?} is reserved due to its special meaning inside module blocks."),
                block.labels.first().map_or(block.kind_range, |label| label.range),
            );
        }
        let mut variable = Variable {
            name,
            description: content
                .attribute("description")
                .and_then(|attribute| self.constant_string(attribute)),
            ty: Type::Dynamic,
            type_range: None,
            defaults: Defaults::default(),
            default: None,
            default_range: None,
            validations: Vec::new(),
            sensitive: false,
            ephemeral: false,
            nullable: true,
            set: VariableSet::default(),
            range: block.header_range(),
        };
        if let Some(attribute) = content.attribute("type") {
            variable.type_range = Some(attribute.expr.range());
            if let Some((ty, defaults)) = self.variable_type(&attribute.expr) {
                variable.ty = ty;
                variable.defaults = defaults;
            }
        }
        if let Some(attribute) = content.attribute("sensitive") {
            variable.sensitive = self.constant_bool(attribute).unwrap_or(false);
            variable.set.sensitive = true;
        }
        if let Some(attribute) = content.attribute("ephemeral") {
            variable.ephemeral = self.constant_bool(attribute).unwrap_or(false);
            variable.set.ephemeral = true;
        }
        if let Some(attribute) = content.attribute("nullable") {
            variable.nullable = self.constant_bool(attribute).unwrap_or(true);
            variable.set.nullable = true;
        }
        if let Some(attribute) = content.attribute("default") {
            variable.default_range = Some(attribute.expr.range());
            let value = self.constant(&attribute.expr);
            variable.default = Some(self.default_value(&variable, value, &attribute.expr));
        }
        for inner in &content.blocks {
            let rule = self.check_rule(inner);
            if let Some(condition) = &rule.condition {
                let refers = condition.references().iter().any(|traversal| {
                    matches!(Reference::parse(traversal), Ok(Reference { subject: Subject::Variable(name), .. }) if name == variable.name)
                });
                if !refers {
                    self.error(
                        "Invalid variable validation condition",
                        format!("The condition for variable {:?} must refer to var.{} in order to test incoming values.", &*variable.name, variable.name),
                        condition.range(),
                    );
                }
            }
            variable.validations.push(rule);
        }
        variable
    }

    /// The default, converted to the type. In an override file the type may be elsewhere, so that merging converts it.
    fn default_value(&mut self, variable: &Variable, value: Option<Value>, expr: &Expr) -> Value {
        const SUMMARY: &str = "Invalid default value for variable";
        let Some(mut value) = value else {
            return Value::unknown(Type::Dynamic);
        };
        if !self.overriding || variable.type_range.is_some() {
            match with_defaults(&value, &variable.ty, &variable.defaults) {
                Ok(converted) => value = converted,
                Err(why) => {
                    let why = why.located();
                    self.error(
                        SUMMARY,
                        format!("This default value is not compatible with the variable's type constraint: {why}."),
                        expr.range(),
                    );
                    return Value::unknown(Type::Dynamic);
                }
            }
        }
        if !variable.nullable && value.is_null() {
            self.error(
                SUMMARY,
                "A null default value is not valid when nullable=false.",
                expr.range(),
            );
        }
        value
    }

    fn variable_type(&mut self, expr: &Expr) -> Option<(Type, Defaults)> {
        if let Some(text) = expr.as_quoted_string() {
            let summary = "Invalid quoted type constraints";
            let old = |advice: String| {
                format!(
                    "Terraform 0.11 and earlier required type constraints to be given in quotes, but that form is now deprecated and will be removed in a future version of Terraform. Remove the quotes around {advice}"
                )
            };
            let (summary, detail) = match text {
                "string" => (summary, old("\"string\".".to_string())),
                "list" | "map" => (
                    summary,
                    old(format!(
                        "\"{text}\" and write {text}(string) instead to explicitly indicate that the {text} elements are strings."
                    )),
                ),
                _ => (
                    "Invalid legacy variable type hint",
                    "To provide a full type expression, remove the surrounding quotes and give the type expression directly."
                        .to_string(),
                ),
            };
            self.error(summary, detail, expr.range());
            return None;
        }
        match expr.as_keyword().as_deref() {
            Some("list") => return Some((Type::list(Type::Dynamic), Defaults::default())),
            Some("map") => return Some((Type::map(Type::Dynamic), Defaults::default())),
            _ => {}
        }
        let (ty, defaults, diagnostics) = consort_hcl::type_expr(expr);
        let failed = diagnostics.has_errors();
        self.diagnostics.append(diagnostics);
        (!failed).then_some((ty, defaults))
    }

    pub(super) fn locals(&mut self, block: &Block) -> Vec<Local> {
        let (attributes, diagnostics) = block.body.just_attributes();
        self.diagnostics.append(diagnostics);
        attributes
            .into_values()
            .map(|attribute| {
                if !consort_hcl::syntax::is_identifier(&attribute.name) {
                    self.error(
                        "Invalid local value name",
                        BAD_IDENTIFIER,
                        attribute.name_range,
                    );
                }
                Local {
                    name: attribute.name,
                    expr: attribute.expr,
                    range: attribute.range,
                }
            })
            .collect()
    }

    pub(super) fn output(&mut self, block: &Block) -> Output {
        let mut schema = BodySchema::new();
        schema = if self.overriding {
            schema.optional(["value"])
        } else {
            schema.required(["value"])
        };
        let schema = schema
            .optional(["description", "depends_on", "sensitive", "ephemeral"])
            .block("precondition", &[])
            .block("postcondition", &[]);
        let content = self.content(&block.body, &schema);
        self.check_name("Invalid output name", block, 0);
        let mut output = Output {
            name: block.label(0).into(),
            description: content
                .attribute("description")
                .and_then(|attribute| self.constant_string(attribute)),
            value: content
                .attribute("value")
                .map(|attribute| attribute.expr.clone()),
            depends_on: Vec::new(),
            sensitive: false,
            ephemeral: false,
            preconditions: Vec::new(),
            sensitive_set: false,
            ephemeral_set: false,
            range: block.header_range(),
        };
        if let Some(attribute) = content.attribute("sensitive") {
            output.sensitive = self.constant_bool(attribute).unwrap_or(false);
            output.sensitive_set = true;
        }
        if let Some(attribute) = content.attribute("ephemeral") {
            output.ephemeral = self.constant_bool(attribute).unwrap_or(false);
            output.ephemeral_set = true;
        }
        if let Some(attribute) = content.attribute("depends_on") {
            output.depends_on = self.references(attribute);
        }
        for inner in &content.blocks {
            if &*inner.kind == "precondition" {
                let rule = self.check_rule(inner);
                output.preconditions.push(rule);
            } else {
                self.error(
                    "Postconditions are not allowed",
                    "Output values can only have preconditions, not postconditions.",
                    inner.kind_range,
                );
            }
        }
        output
    }
}
