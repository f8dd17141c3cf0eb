//! Whether what expressions refer to exists and may be referred to there, as far as that can be said without values
//! and without the schemas of providers.

use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::Range;
use consort_hcl::suggest::did_you_mean;
use consort_hcl::syntax::{Body, BodySchema, Expr};
use consort_hcl::traversal::{Step, Traversal};

use super::module::{CheckRule, Module, ModuleCall, Provisioner};
use super::reference::{Reference, Subject};
use super::resource::Resource;
use super::tree::Tree;
use crate::address::{self, Key, Mode};
use crate::provider::schema::ResourceSchema;

/// How many messages come with a suggestion: looking for one goes through all names.
const SUGGESTIONS: usize = 64;

/// Checks the references in all expressions of a configuration, and the arguments of module calls.
pub fn check_references(root: &Tree) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    let mut suggestions = SUGGESTIONS;
    root.visit(&mut |tree| {
        let mut checker = Checker {
            tree: Some(tree),
            module: &tree.module,
            schema_of: None,
            diagnostics: Diagnostics::new(),
            late: None,
            suggestions,
        };
        checker.module();
        suggestions = checker.suggestions;
        diagnostics.append(checker.diagnostics);
    });
    diagnostics
}

/// What an expression may use, by where it stands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'t> {
    pub(crate) count: bool,
    pub(crate) each: bool,
    /// The resource that `self` is.
    pub(crate) itself: Option<&'t Resource>,
    /// The resource whose own arguments these are, which may not refer to it.
    pub(crate) owner: Option<&'t Resource>,
    /// The check block around it.
    pub(crate) check: Option<&'t str>,
}

/// Looks up the schema of a resource; none if the provider has no such type.
pub(crate) type SchemaOf<'s> = dyn Fn(&Resource) -> Option<Arc<ResourceSchema>> + 's;

/// Checks references made in one place of a module, against the schemas of what they refer to as well.
///
/// As in Terraform, what is wrong with references to resources and modules is told first and, if there is
/// something, alone. `suggestions` is how many more messages may come with one.
pub(crate) fn check_in_place<'t>(
    module: &'t Module,
    references: &[Traversal],
    place: Place<'t>,
    schema_of: &SchemaOf<'_>,
    suggestions: &mut usize,
) -> Checked {
    let mut checker = Checker {
        tree: None,
        module,
        schema_of: Some(schema_of),
        diagnostics: Diagnostics::new(),
        late: Some(Diagnostics::new()),
        suggestions: *suggestions,
    };
    let mut found = Diagnostics::new();
    for traversal in references {
        match Reference::parse(traversal) {
            Err(diagnostic) => found.push(*diagnostic),
            Ok(reference) => checker.reference(&reference, traversal, place),
        }
    }
    *suggestions = checker.suggestions;
    let early = checker.diagnostics.has_errors();
    found.append(if early {
        checker.diagnostics
    } else {
        checker.late.unwrap_or_default()
    });
    Checked {
        diagnostics: found,
        early,
    }
}

/// What is wrong with references.
pub(crate) struct Checked {
    pub(crate) diagnostics: Diagnostics,
    /// Something was wrong before any name was given a meaning.
    pub(crate) early: bool,
}

struct Checker<'t> {
    /// What is below the module, for the outputs there.
    tree: Option<&'t Tree>,
    module: &'t Module,
    schema_of: Option<&'t SchemaOf<'t>>,
    diagnostics: Diagnostics,
    /// Where what only evaluating tells is kept apart.
    late: Option<Diagnostics>,
    suggestions: usize,
}

impl<'t> Checker<'t> {
    fn error(&mut self, summary: impl Into<String>, detail: impl Into<String>, at: Range) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    /// What Terraform finds only when it evaluates.
    fn late(&mut self, summary: impl Into<String>, detail: impl Into<String>, at: Range) {
        self.late
            .as_mut()
            .unwrap_or(&mut self.diagnostics)
            .push(Diagnostic::error(summary, detail).at(at));
    }

    fn suggest<'n>(
        &mut self,
        given: &str,
        names: impl IntoIterator<Item = &'n Arc<str>>,
    ) -> String {
        if self.suggestions == 0 {
            return String::new();
        }
        self.suggestions -= 1;
        did_you_mean(given, names.into_iter().map(|name| &**name))
    }

    fn module_text(&self) -> String {
        if self.module.path.is_root() {
            "the root module".to_string()
        } else {
            self.module.path.to_string()
        }
    }

    fn module(&mut self) {
        let module = self.module;
        let plain = Place::default();
        for variable in module.variables.values() {
            variable
                .validations
                .iter()
                .for_each(|rule| self.rule(rule, plain));
        }
        for local in module.locals.values() {
            self.expr(&local.expr, plain);
        }
        for output in module.outputs.values() {
            output
                .value
                .iter()
                .for_each(|value| self.expr(value, plain));
            output
                .preconditions
                .iter()
                .for_each(|rule| self.rule(rule, plain));
            self.depends_on(&output.depends_on, plain);
        }
        for config in module.provider_configs.values() {
            self.body(&config.config, plain, &[]);
        }
        for resource in module.resources.values() {
            self.resource(resource);
        }
        for call in module.module_calls.values() {
            self.call(call);
        }
        for check in module.checks.values() {
            let place = Place {
                check: Some(&check.name),
                ..plain
            };
            check.asserts.iter().for_each(|rule| self.rule(rule, place));
        }
        for import in &module.imports {
            import
                .for_each
                .iter()
                .for_each(|expr| self.expr(expr, plain));
            let place = Place {
                each: import.for_each.is_some(),
                ..plain
            };
            import
                .id
                .iter()
                .chain(&import.identity)
                .for_each(|expr| self.expr(expr, place));
        }
        for removed in &module.removed {
            // Whose `self` is an object of the state, and whose keys are those it had there.
            for provisioner in &removed.provisioners {
                self.provisioner(provisioner, None);
            }
        }
    }

    fn resource(&mut self, resource: &'t Resource) {
        let plain = Place {
            check: resource.check.as_deref(),
            ..Place::default()
        };
        resource
            .count
            .iter()
            .chain(&resource.for_each)
            .for_each(|expr| self.expr(expr, plain));
        let place = Place {
            count: resource.count.is_some(),
            each: resource.for_each.is_some(),
            owner: Some(resource),
            ..plain
        };
        self.body(&resource.config, place, &[]);
        self.depends_on(&resource.depends_on, plain);
        let place = Place {
            owner: None,
            ..place
        };
        resource
            .preconditions
            .iter()
            .for_each(|rule| self.rule(rule, place));
        let place = Place {
            itself: Some(resource),
            ..place
        };
        resource
            .postconditions
            .iter()
            .for_each(|rule| self.rule(rule, place));
        resource.replace_triggered_by.iter().for_each(|expr| {
            self.expr(
                expr,
                Place {
                    itself: None,
                    ..place
                },
            );
        });
        if let Some(connection) = &resource.managed.connection {
            self.body(&connection.config, place, &[]);
        }
        for provisioner in &resource.managed.provisioners {
            self.provisioner(provisioner, Some(place));
        }
    }

    /// Without a place only what the decoder allowed can stand in it.
    fn provisioner(&mut self, provisioner: &Provisioner, place: Option<Place<'t>>) {
        let Some(place) = place else { return };
        self.body(&provisioner.config, place, &[]);
        if let Some(connection) = &provisioner.connection {
            self.body(&connection.config, place, &[]);
        }
    }

    fn call(&mut self, call: &'t ModuleCall) {
        let plain = Place::default();
        call.count
            .iter()
            .chain(&call.for_each)
            .for_each(|expr| self.expr(expr, plain));
        let place = Place {
            count: call.count.is_some(),
            each: call.for_each.is_some(),
            ..plain
        };
        self.body(&call.config, place, &[]);
        self.depends_on(&call.depends_on, plain);
        if let Some(child) = self.tree.and_then(|tree| tree.children.get(&call.name)) {
            let mut schema = BodySchema::new();
            for variable in child.module.variables.values() {
                let name = [&*variable.name];
                schema = if variable.required() {
                    schema.required(name)
                } else {
                    schema.optional(name)
                };
            }
            let (_, diagnostics) = call.config.content(&schema);
            self.diagnostics.append(diagnostics);
        }
    }

    fn rule(&mut self, rule: &CheckRule, place: Place<'t>) {
        rule.condition
            .iter()
            .chain(&rule.error_message)
            .for_each(|expr| self.expr(expr, place));
    }

    fn depends_on(&mut self, traversals: &[Traversal], place: Place<'t>) {
        for traversal in traversals {
            match Reference::parse(traversal) {
                Err(diagnostic) => self.diagnostics.push(*diagnostic),
                Ok(reference) => {
                    let remaining = reference.remaining(traversal);
                    if let (Some(first), Some(last)) = (remaining.first(), remaining.last()) {
                        self.error(
                            "Invalid depends_on reference",
                            "References in depends_on must be to a whole object (resource, etc), not to an attribute of an object.",
                            first.range().to(last.range()),
                        );
                        continue;
                    }
                    self.reference(&reference, traversal, place);
                }
            }
        }
    }

    /// All expressions of a body. `bound` holds the names that `dynamic` blocks around it give a meaning.
    fn body(&mut self, body: &Body, place: Place<'t>, bound: &[Arc<str>]) {
        for part in body.parts() {
            if part.is_json() {
                let (attributes, _) = part.just_attributes();
                for attribute in attributes.values() {
                    let mut bound = bound.to_vec();
                    if &*attribute.name == "dynamic" {
                        json_iterators(&attribute.expr, &mut bound);
                    }
                    self.expr_within(&attribute.expr, place, &bound);
                }
                continue;
            }
            for attribute in part.attributes() {
                self.expr_within(&attribute.expr, place, bound);
            }
            for block in part.blocks() {
                if &*block.kind != "dynamic" || block.labels.len() != 1 {
                    self.body(&block.body, place, bound);
                    continue;
                }
                let mut iterator: Arc<str> = block.label(0).into();
                for attribute in block.body.attributes() {
                    if &*attribute.name == "iterator" {
                        iterator = attribute.expr.as_keyword().unwrap_or(iterator);
                    }
                }
                let mut inner = bound.to_vec();
                inner.push(iterator);
                for attribute in block.body.attributes() {
                    match &*attribute.name {
                        "iterator" => {}
                        "labels" => self.expr_within(&attribute.expr, place, &inner),
                        _ => self.expr_within(&attribute.expr, place, bound),
                    }
                }
                for content in block.body.blocks() {
                    self.body(&content.body, place, &inner);
                }
            }
        }
    }

    fn expr(&mut self, expr: &Expr, place: Place<'t>) {
        self.expr_within(expr, place, &[]);
    }

    fn expr_within(&mut self, expr: &Expr, place: Place<'t>, bound: &[Arc<str>]) {
        for traversal in expr.references() {
            if bound.contains(&traversal.root) {
                continue;
            }
            match Reference::parse(&traversal) {
                Err(diagnostic) => self.diagnostics.push(*diagnostic),
                Ok(reference) => self.reference(&reference, &traversal, place),
            }
        }
    }

    fn reference(&mut self, reference: &Reference, traversal: &Traversal, place: Place<'t>) {
        let at = reference.range;
        let module = self.module;
        match &reference.subject {
            Subject::Count(name) => {
                if &**name != "index" {
                    let detail = format!(
                        "The \"count\" object does not have an attribute named {name:?}. The only supported attribute is count.index, which is the index of each instance of a resource block that has the \"count\" argument set."
                    );
                    self.late("Invalid \"count\" attribute", detail, at);
                } else if !place.count {
                    self.late(
                        "Reference to \"count\" in non-counted context",
                        "The \"count\" object can only be used in \"module\", \"resource\", and \"data\" blocks, and only when the \"count\" argument is set.",
                        at,
                    );
                }
            }
            Subject::Each(name) => {
                if !matches!(&**name, "key" | "value") {
                    let detail = format!(
                        "The \"each\" object does not have an attribute named {name:?}. The supported attributes are each.key and each.value, the current key and value pair of the \"for_each\" attribute set."
                    );
                    self.late("Invalid \"each\" attribute", detail, at);
                } else if !place.each && &**name == "value" {
                    self.late(
                        "each.value cannot be used in this context",
                        "A reference to \"each.value\" has been used in a context in which it is unavailable, such as when the configuration no longer contains the value in its \"for_each\" expression. Remove this reference to each.value in your configuration to work around this error.",
                        at,
                    );
                } else if !place.each {
                    self.late(
                        "Reference to \"each\" in context without for_each",
                        "The \"each\" object can be used only in \"module\" or \"resource\" blocks, and only when the \"for_each\" argument is set.",
                        at,
                    );
                }
            }
            Subject::Variable(name) => {
                if !module.variables.contains_key(name) {
                    let mut suggestion = self.suggest(name, module.variables.keys());
                    if suggestion.is_empty() {
                        suggestion = format!(
                            " This variable can be declared with a variable {name:?} {{}} block."
                        );
                    }
                    let detail = format!(
                        "An input variable with the name {name:?} has not been declared.{suggestion}"
                    );
                    self.late("Reference to undeclared input variable", detail, at);
                }
            }
            Subject::Local(name) => {
                if !module.locals.contains_key(name) {
                    let suggestion = self.suggest(name, module.locals.keys());
                    let detail = format!(
                        "A local value with the name {name:?} has not been declared.{suggestion}"
                    );
                    self.late("Reference to undeclared local value", detail, at);
                }
            }
            Subject::Path(name) => {
                if !matches!(&**name, "cwd" | "module" | "root") {
                    let suggestion = did_you_mean(name, ["cwd", "module", "root"]);
                    let detail = format!(
                        "The \"path\" object does not have an attribute named {name:?}.{suggestion}"
                    );
                    self.late("Invalid \"path\" attribute", detail, at);
                }
            }
            Subject::Terraform(name) => self.terraform_attribute(name, at),
            Subject::Itself => match (place.itself, self.schema_of) {
                (None, _) => self.error(
                    "Invalid \"self\" reference",
                    "The \"self\" object is not available in this context. This object can be used only in resource provisioner, connection, and postcondition blocks.",
                    at,
                ),
                (Some(itself), Some(schema_of)) => {
                    match schema_of(itself) {
                        Some(schema) => {
                            let steps = reference.remaining(traversal);
                            self.diagnostics.append(schema.block.check_steps(steps));
                        }
                        None => self.unsupported(itself, at),
                    }
                }
                (Some(_), None) => {}
            },
            Subject::Resource(resource, key) => {
                self.resource_reference(reference, resource, key, traversal, place);
            }
            Subject::Module(name, _) => {
                self.module_call(name, at);
            }
            Subject::ModuleOutput(name, key, output) => {
                self.module_output(reference, name, key, output, traversal);
            }
            // Only tests have these.
            Subject::Output(_) | Subject::Check(_) | Subject::Run(_) => {}
        }
    }

    fn terraform_attribute(&mut self, name: &str, at: Range) {
        const SUMMARY: &str = "Invalid \"terraform\" attribute";
        match name {
            "workspace" | "applying" => {}
            "env" => self.late(
                SUMMARY,
                "The terraform.env attribute was deprecated in v0.10 and removed in v0.12. The \"state environment\" concept was renamed to \"workspace\" in v0.12, and so the workspace name can now be accessed using the terraform.workspace attribute.",
                at,
            ),
            _ => {
                let detail = format!("The \"terraform\" object does not have an attribute named {name:?}. The only supported attributes are terraform.workspace, the name of the currently-selected workspace, and terraform.applying, a boolean which is true only during apply.");
                self.late(SUMMARY, detail, at);
            }
        }
    }

    fn resource_reference(
        &mut self,
        reference: &Reference,
        address: &address::Resource,
        key: &Key,
        traversal: &Traversal,
        place: Place<'t>,
    ) {
        let at = reference.range;
        let module = self.module;
        let Some(resource) = module.resources.get(address) else {
            let data = address::Resource {
                mode: Mode::Data,
                ..address.clone()
            };
            let suggestion =
                if address.mode == Mode::Managed && module.resources.contains_key(&data) {
                    format!("\n\nDid you mean the data resource {data}?")
                } else {
                    String::new()
                };
            let adjective = match address.mode {
                Mode::Managed => "A managed",
                Mode::Data => "A data",
                Mode::Ephemeral => "An ephemeral",
            };
            let detail = format!(
                "{adjective} resource {:?} {:?} has not been declared in {}.{suggestion}",
                &*address.kind,
                &*address.name,
                self.module_text()
            );
            self.error("Reference to undeclared resource", detail, at);
            return;
        };
        if place.owner.is_some_and(|owner| owner.address == *address) {
            let detail = format!("Configuration for {address} may not refer to itself.");
            self.error("Self-referential block", detail, at);
            return;
        }
        let repeated = resource.count.is_some() || resource.for_each.is_some();
        // With an attribute next, a splat or a key that is an expression is no attribute of the resource as a whole.
        let attribute_next = matches!(
            reference.remaining(traversal).first(),
            Some(Step::Attribute { .. })
        );
        if key.is_none() && repeated && attribute_next {
            let (argument, example) = if resource.count.is_some() {
                ("count", "count.index")
            } else {
                ("for_each", "each.key")
            };
            let detail = format!(
                "Because {address} has {argument:?} set, its attributes must be accessed on specific instances.\n\nFor example, to correlate with indices of a referring resource, use:\n    {address}[{example}]"
            );
            self.error("Missing resource instance key", detail, at);
        } else if !key.is_none() && !repeated {
            let detail = format!(
                "Because {address} does not have \"count\" or \"for_each\" set, references to it must not include an index key. Remove the bracketed index to refer to the single instance of this resource."
            );
            self.error("Unexpected resource instance key", detail, at);
        }
        if let Some(check) = &resource.check
            && place.check != Some(&**check)
        {
            let detail = format!(
                "The referenced data resource {:?} {:?} is not available from this context.",
                &*address.kind, &*address.name
            );
            self.error("Reference to scoped resource", detail, at);
        }
        self.attributes(reference, resource, traversal);
    }

    fn unsupported(&mut self, resource: &Resource, at: Range) {
        let which = match resource.address.mode {
            Mode::Managed => "A managed",
            Mode::Data => "A data",
            Mode::Ephemeral => "An ephemeral",
        };
        let detail = format!(
            "{which} resource type {:?} is not supported by provider \"{}\".",
            &*resource.address.kind, resource.provider
        );
        self.error("Invalid resource type", detail, at);
    }

    /// Whether the attributes that a reference goes on to are in the resource's schema.
    fn attributes(&mut self, reference: &Reference, resource: &Resource, traversal: &Traversal) {
        let Some(schema_of) = self.schema_of else {
            return;
        };
        let at = reference.range;
        let address = &resource.address;
        let Some(schema) = schema_of(resource) else {
            self.unsupported(resource, at);
            return;
        };
        let steps = reference.remaining(traversal);
        if let Some(Step::Attribute { name, .. }) = steps.first()
            && &**name == "count"
        {
            let detail = format!(
                "The special \"count\" attribute is no longer supported after Terraform v0.12. Instead, use length({address}) to count resource instances."
            );
            self.error("Invalid resource count attribute", detail, at);
            return;
        }
        if resource.count.is_some() || resource.for_each.is_some() {
            // Without a key in the reference the steps are taken from all instances together.
            if let Subject::Resource(_, Key::None) = &reference.subject
                && !matches!(steps.first(), Some(Step::Attribute { .. }))
            {
                return;
            }
        }
        self.diagnostics.append(schema.block.check_steps(steps));
    }

    fn module_call(&mut self, name: &str, at: Range) -> bool {
        let module = self.module;
        if module.module_calls.contains_key(name) {
            return true;
        }
        let suggestion = self.suggest(name, module.module_calls.keys());
        let detail = format!(
            "No module call named {name:?} is declared in {}.{suggestion}",
            self.module_text()
        );
        self.error("Reference to undeclared module", detail, at);
        false
    }

    fn module_output(
        &mut self,
        reference: &Reference,
        name: &str,
        key: &Key,
        output: &str,
        traversal: &Traversal,
    ) {
        if !self.module_call(name, reference.range) {
            return;
        }
        let Some(call) = self.module.module_calls.get(name) else {
            return;
        };
        let repeated = call.count.is_some() || call.for_each.is_some();
        // Of a repeated module without key the output is an attribute of a collection, which evaluation judges.
        if repeated == key.is_none() {
            return;
        }
        if let Some(child) = self.tree.and_then(|tree| tree.children.get(name))
            && !child.module.outputs.contains_key(output)
        {
            let at = traversal
                .steps
                .get(reference.consumed - 1)
                .map_or(reference.range, Step::range);
            let detail = format!("This object does not have an attribute named {output:?}.");
            self.error("Unsupported attribute", detail, at);
        }
    }
}

/// The names that `dynamic` blocks of the JSON syntax give their iterators.
fn json_iterators(expr: &Expr, bound: &mut Vec<Arc<str>>) {
    let mut pending = vec![expr.clone()];
    while let Some(expr) = pending.pop() {
        pending.extend(expr.as_list().unwrap_or_default());
        for (key, value) in expr.as_map().unwrap_or_default() {
            let (name, _) = key.evaluate_constant();
            let Some(name) = name.as_str() else { continue };
            bound.push(name.into());
            for inner in value.as_list().unwrap_or_else(|| vec![value.clone()]) {
                for (key, value) in inner.as_map().unwrap_or_default() {
                    match key.evaluate_constant().0.as_str() {
                        Some("iterator") => bound.extend(value.as_json_string().cloned()),
                        Some("content") => pending.extend(nested_dynamic(&value)),
                        _ => {}
                    }
                }
            }
        }
    }
}

fn nested_dynamic(content: &Expr) -> Vec<Expr> {
    let bodies = content.as_list().unwrap_or_else(|| vec![content.clone()]);
    bodies
        .iter()
        .flat_map(|body| body.as_map().unwrap_or_default())
        .filter(|(key, _)| key.evaluate_constant().0.as_str() == Some("dynamic"))
        .map(|(_, value)| value)
        .collect()
}
