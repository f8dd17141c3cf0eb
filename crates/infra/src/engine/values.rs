//! Visiting the blocks that only hold values: variables, locals, outputs, module calls and checks; and
//! setting providers up.

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Marks, Range, Type, Value};
use consort_plan::NodeId;

use super::blocks::ProviderIx;
use super::checks::Checkable;
use super::conditions::{Checked, RuleKind};
use super::expand::expand;
use super::index::ModuleIx;
use super::run::{Failed, Run, Standing};
use super::scope::Names;
use super::validate::refers_to_itself;
use super::world::{Calls, Keys, ModuleTable};
use crate::address::ModuleInstance;
use crate::config;
use crate::provider::Configure;
use crate::state::TERRAFORM_VERSION;

/// `module.a["x"].output.b` and the like.
pub(super) fn within(module: &ModuleInstance, name: String) -> String {
    if module.is_root() {
        name
    } else {
        format!("{module}.{name}")
    }
}

impl Run<'_> {
    /// The address of a block without keys.
    pub(super) fn block_address(&self, ix: ModuleIx, name: String) -> String {
        let path = &self.index.entry(ix).path;
        if path.is_root() {
            name
        } else {
            format!("{path}.{name}")
        }
    }

    pub(super) fn visit_call(&self, id: NodeId, ix: ModuleIx) -> Result<(), Failed> {
        let Some((parent, call)) = self.index.entry(ix).call else {
            return Ok(());
        };
        if self.world.is_unknown(parent) {
            self.world.set_unknown(ix);
        }
        let (tables, mut parts) = self.open_instances(id, parent);
        for table in tables {
            if table.calls.read().contains_key(&call.name) {
                // Visited before: the instances are there.
                continue;
            }
            let scope = Names::of_module(self, &table);
            let keys = match expand(call.count.as_ref(), call.for_each.as_ref(), &scope) {
                Ok(keys) => keys,
                Err(diagnostics) => {
                    let _ = self.note(diagnostics);
                    parts.failed.push(table.address.clone());
                    continue;
                }
            };
            let add = |(key, repetition)| {
                let address = table.address.child(call.name.clone(), key);
                let replaced = self
                    .input
                    .under_test
                    .and_then(|test| test.module(&address).cloned());
                let child = ModuleTable::new(ix, address, repetition, Some(table.clone()));
                match replaced {
                    // Nothing in it is visited: it has its outputs already.
                    Some(replaced) => {
                        let given = &replaced.outputs;
                        let declared = self.index.module(ix).outputs.keys();
                        *child.outputs.write() = declared
                            .map(|name| {
                                let value = given.get(name).cloned();
                                (name.clone(), value.unwrap_or(Value::null(Type::Dynamic)))
                            })
                            .collect();
                    }
                    None => self.world.add(child.clone()),
                }
                child
            };
            let calls = match &keys {
                Keys::Unknown => {
                    self.world.set_unknown(ix);
                    Calls::Unknown
                }
                Keys::Each(each) => Calls::Each(
                    each.keys()
                        .cloned()
                        .zip(keys.instances().into_iter().map(add))
                        .collect(),
                ),
                Keys::Count(_) => Calls::Count(keys.instances().into_iter().map(add).collect()),
                Keys::Single => match keys.instances().into_iter().map(add).next() {
                    Some(child) => Calls::Single(child),
                    None => continue,
                },
            };
            table.calls.write().insert(call.name.clone(), calls);
        }
        self.settle(id, parts)
    }

    pub(super) fn visit_local(
        &self,
        id: NodeId,
        ix: ModuleIx,
        local: &config::Local,
    ) -> Result<(), Failed> {
        if let Some(wrong) = refers_to_itself(local) {
            return self.fail(wrong);
        }
        let (tables, mut parts) = self.open_instances(id, ix);
        for table in tables {
            let (value, diagnostics) = local.expr.evaluate(&Names::of_module(self, &table));
            if self.note(diagnostics).is_err() {
                parts.failed.push(table.address.clone());
                continue;
            }
            table.locals.write().insert(local.name.clone(), value);
        }
        self.settle(id, parts)
    }

    pub(super) fn visit_variable(
        &self,
        id: NodeId,
        ix: ModuleIx,
        variable: &config::Variable,
    ) -> Result<(), Failed> {
        let block = self.block_address(ix, format!("var.{}", variable.name));
        self.checks_declared(
            Checkable::Variable,
            &block,
            !variable.validations.is_empty(),
        );
        let (tables, mut parts) = self.open_instances(id, ix);
        for table in tables {
            if self.set_variable(&table, variable, &block).is_err() {
                parts.failed.push(table.address.clone());
            }
        }
        self.settle(id, parts)
    }

    pub(super) fn set_variable(
        &self,
        table: &ModuleTable,
        variable: &config::Variable,
        block: &str,
    ) -> Result<(), Failed> {
        let (given, range, from_outside) = match (self.index.entry(table.ix).call, &table.caller) {
            (Some((_, call)), Some(caller)) => {
                match call
                    .config
                    .arguments()
                    .find(|attribute| attribute.name == variable.name)
                {
                    Some(attribute) => {
                        let scope = Names::repeated(self, caller, &table.repetition);
                        let (value, diagnostics) = attribute.expr.evaluate(&scope);
                        self.note(diagnostics)?;
                        if value.deep_marks().intersects(Marks::EPHEMERAL) && !variable.ephemeral {
                            return self.fail(
                                Diagnostic::error(
                                    "Ephemeral value not allowed",
                                    "This input variable is not declared as accepting a ephemeral values, so it cannot be set to a result derived from an ephemeral value.",
                                )
                                .at(attribute.expr.range()),
                            );
                        }
                        (Some(value), attribute.expr.range(), false)
                    }
                    None => (None, variable.range, false),
                }
            }
            _ => (
                self.root_variable(&variable.name),
                self.input
                    .given
                    .get(&variable.name)
                    .and_then(|given| given.range)
                    .unwrap_or(variable.range),
                true,
            ),
        };
        let value = self.variable_value(table, variable, given.as_ref(), range, from_outside)?;
        table.variables.write().insert(variable.name.clone(), value);
        self.validate_variable(table, variable, block, range)
    }

    /// Holds a variable's value, which is there already, against the rules for it; `range` is where it was given.
    pub(super) fn validate_variable(
        &self,
        table: &ModuleTable,
        variable: &config::Variable,
        block: &str,
        range: Range,
    ) -> Result<(), Failed> {
        if variable.validations.is_empty() {
            return Ok(());
        }
        let scope = Names::of_module(self, table);
        let object = within(&table.address, format!("var.{}", variable.name));
        let checked = Checked {
            kind: Checkable::Variable,
            block,
            object: &object,
        };
        self.check_rules(
            RuleKind::Validation(range),
            &variable.validations,
            &scope,
            &checked,
        )
    }

    /// The value a variable has when it is given this: the default where there is none, of the declared type,
    /// marked as declared.
    fn variable_value(
        &self,
        table: &ModuleTable,
        variable: &config::Variable,
        given: Option<&Value>,
        range: Range,
        from_outside: bool,
    ) -> Result<Value, Failed> {
        let name = within(&table.address, format!("var.{}", variable.name));
        let declared = || self.input.sources.describe(variable.range);
        let invalid =
            |summary: &str, detail: String| self.fail(Diagnostic::error(summary, detail).at(range));
        let value = match (variable.accept(given), given) {
            (Ok(value), _) => value,
            (Err(Some(problem)), _) if from_outside => {
                return invalid(
                    "Invalid value for input variable",
                    format!(
                        "Unsuitable value for {name} set from outside of the configuration: {problem}."
                    ),
                );
            }
            (Err(Some(problem)), _) => {
                return invalid(
                    "Invalid value for input variable",
                    format!(
                        "The given value is not suitable for {name} declared at {}: {problem}.",
                        declared()
                    ),
                );
            }
            (Err(None), Some(_)) if from_outside => {
                return invalid(
                    "Required variable not set",
                    format!(
                        "Unsuitable value for {name} set from outside of the configuration: required variable may not be set to null."
                    ),
                );
            }
            (Err(None), Some(_)) => {
                return invalid(
                    "Required variable not set",
                    format!(
                        "The given value is not suitable for {name} defined at {}: required variable may not be set to null.",
                        declared()
                    ),
                );
            }
            (Err(None), None) if from_outside => {
                return invalid(
                    "No value for required variable",
                    format!(
                        "The root module input variable \"{}\" is not set, and has no default value. Use a -var or -var-file command line argument to provide a value for this variable.",
                        variable.name
                    ),
                );
            }
            (Err(None), None) => Value::unknown(variable.ty.without_optional()),
        };
        let marks = variable.marks();
        Ok(if marks.is_empty() {
            value
        } else {
            value.with_marks(marks)
        })
    }

    pub(super) fn checks_declared(&self, kind: Checkable, block: &str, any: bool) {
        if any {
            let mut checks = self.checks.lock();
            checks.declare(kind, block.to_owned());
            if !self.before_destroy {
                checks.expand(kind, block);
            }
        }
    }

    pub(super) fn visit_output(
        &self,
        id: NodeId,
        ix: ModuleIx,
        output: &config::Output,
    ) -> Result<(), Failed> {
        let block = self.block_address(ix, format!("output.{}", output.name));
        self.checks_declared(Checkable::Output, &block, !output.preconditions.is_empty());
        let (tables, mut parts) = self.open_instances(id, ix);
        for table in tables {
            let value = self.output_value(&table, output, &block);
            if value.is_err() {
                parts.failed.push(table.address.clone());
            }
            if let Ok(value) = &value
                && table.address.is_root()
            {
                self.root_outputs
                    .lock()
                    .insert(output.name.clone(), value.clone());
            }
            let value = value.unwrap_or(Value::DYNAMIC);
            table.outputs.write().insert(output.name.clone(), value);
        }
        self.settle(id, parts)
    }

    fn output_value(
        &self,
        table: &ModuleTable,
        output: &config::Output,
        block: &str,
    ) -> Result<Value, Failed> {
        if output.ephemeral && table.address.is_root() {
            return self.fail(
                Diagnostic::error(
                    "Ephemeral output not allowed",
                    "Ephemeral outputs are not allowed in context of a root module",
                )
                .at(output.range),
            );
        }
        let scope = Names::of_module(self, table);
        if !output.preconditions.is_empty() {
            let object = within(&table.address, format!("output.{}", output.name));
            let checked = Checked {
                kind: Checkable::Output,
                block,
                object: &object,
            };
            self.check_rules(
                RuleKind::OutputPrecondition,
                &output.preconditions,
                &scope,
                &checked,
            )?;
        }
        if table.address.is_root()
            && let Some(value) = self.planned_outputs.get(&output.name)
        {
            return Ok(value.clone());
        }
        let Some(expr) = &output.value else {
            return Err(Failed);
        };
        let (value, diagnostics) = expr.evaluate(&scope);
        self.note(diagnostics)?;
        let marks = value.deep_marks();
        if table.address.is_root() && marks.intersects(Marks::SENSITIVE) && !output.sensitive {
            return self.fail(
                Diagnostic::error(
                    "Output refers to sensitive values",
                    "To reduce the risk of accidentally exporting sensitive data that was intended to be only internal, Terraform requires that any root module output containing sensitive data be explicitly marked as sensitive, to confirm your intent.\n\nIf you do intend to export this data, annotate the output value as sensitive by adding the following argument:\n    sensitive = true",
                )
                .at(output.range),
            );
        }
        if marks.intersects(Marks::EPHEMERAL) && !output.ephemeral {
            return self.fail(
                Diagnostic::error(
                    "Ephemeral value not allowed",
                    "This output value is not declared as returning an ephemeral value, so it cannot be set to a result derived from an ephemeral value.",
                )
                .at(expr.range()),
            );
        }
        if output.ephemeral && !marks.intersects(Marks::EPHEMERAL) {
            return self.fail(
                Diagnostic::error(
                    "Value not allowed in ephemeral output",
                    "This output value is declared as returning an ephemeral value, so it can only be set to an ephemeral value.",
                )
                .at(expr.range()),
            );
        }
        Ok(if output.sensitive {
            value.with_marks(Marks::SENSITIVE)
        } else {
            value
        })
    }

    pub(super) fn visit_check(
        &self,
        id: NodeId,
        ix: ModuleIx,
        check: &config::Check,
    ) -> Result<(), Failed> {
        let block = self.block_address(ix, format!("check.{}", check.name));
        self.checks_declared(Checkable::Check, &block, true);
        let (tables, mut parts) = self.open_instances(id, ix);
        for table in tables {
            let scope = Names::of_module(self, &table);
            let object = within(&table.address, format!("check.{}", check.name));
            if self
                .checks
                .lock()
                .has_failed(Checkable::Check, &block, &object)
            {
                // Its data source could not be read: there is nothing to assert.
                continue;
            }
            let checked = Checked {
                kind: Checkable::Check,
                block: &block,
                object: &object,
            };
            if self
                .check_rules(RuleKind::Assertion, &check.asserts, &scope, &checked)
                .is_err()
            {
                parts.failed.push(table.address.clone());
            }
        }
        self.settle(id, parts)
    }

    /// The end of a module: where something in it failed, it failed.
    pub(super) fn visit_end(&self, id: NodeId, ix: ModuleIx) -> Result<(), Failed> {
        let (_, parts) = self.open_instances(id, ix);
        self.settle(id, parts)
    }

    pub(super) async fn visit_provider(&self, id: NodeId, ix: ProviderIx) -> Result<(), Failed> {
        let entry = &self.blocks.providers[ix.0];
        let schema = &entry.schemas.provider;
        let mocked = self
            .input
            .under_test
            .is_some_and(|test| test.mocked_providers.contains(&entry.address));
        let (config, body) = match entry.block {
            Some(_) if mocked => (Value::null(schema.implied_type()), None),
            Some((module, block)) => {
                // Provider blocks stand only in modules without repetition.
                let (tables, parts) = self.open_instances(id, module);
                if !parts.failed.is_empty() {
                    return Err(Failed);
                }
                let Some(table) = tables.into_iter().next() else {
                    return Ok(());
                };
                let own = Names::of_module(self, &table);
                let foreign = self
                    .input
                    .under_test
                    .and_then(|test| test.names_of(&entry.address));
                let (value, diagnostics) = match foreign {
                    Some(names) => schema.decode(&block.config, names),
                    None => schema.decode(&block.config, &own),
                };
                self.note(diagnostics)?;
                (value, Some(&block.config))
            }
            None => (schema.empty_value(), None),
        };
        let (config, _) = config.unmark_deep();
        let started = self.input.providers.start_for(&entry.address).await;
        let provider = match started {
            Ok(provider) => provider,
            Err(diagnostics) => return self.note(diagnostics),
        };
        let address = entry.address.to_string();
        let located = |diagnostics: crate::provider::Diagnostics| match body {
            Some(body) => diagnostics.locate(body, &address),
            None => diagnostics.unlocated(&address),
        };
        if let Some(before) = self.set_provider(ix, provider.clone()) {
            before.close().await;
        }
        let known = config.is_wholly_known();
        if !known {
            self.set_standing(ix, Standing::Unknown);
        }
        self.note(located(provider.validate_config(config.clone()).await))?;
        let request = Configure {
            terraform_version: TERRAFORM_VERSION.into(),
            config,
            deferral_allowed: self.may_defer(ix),
        };
        let found = located(provider.configure(request).await);
        if !known && !self.before_destroy && found.has_errors() {
            // Once what it needs is there it may well do.
            self.set_standing(ix, Standing::PutOff);
            return Ok(());
        }
        self.note(found)
    }
}
