//! Validating: the walk of a plan with nothing known but the configuration.
//!
//! Every module is there once, whatever it would expand to; variables and resources have their types and no
//! values. So a configuration is judged for all values its variables may have, and no state is looked at.
//! Before an expression is evaluated what it refers to is checked, by the schemas too; a block in which
//! something is wrong ends there, and what depends on it is not looked at, so that one mistake is told once.

mod connection;
mod imports;
mod resource;

pub(super) use resource::{forbidden_ephemeral, unsupported};

pub(super) use connection::connection;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::Tables;
use consort_hcl::syntax::BodySchema;
use consort_hcl::{Expr, Traversal, Type, Value};
use consort_plan::{NodeId, Outcome, WalkOptions, walk};
use parking_lot::Mutex;

use super::blocks::{Block, ProviderIx, kind};
use super::conditions::error_message;
use super::expand::expand;
use super::index::{Index, ModuleIx};
use super::run::{Failed, Input, Run};
use super::scope::Names;
use super::world::{Calls, ModuleTable, Repetition};
use crate::address::{ConfigResource, Key, ModulePath, ProviderConfig, ProviderSource};
use crate::config::{self, CheckRule, Place, Reference, Resource, Subject, check_in_place};
use crate::provider::schema::ResourceSchema;

/// How many messages come with a suggestion: looking for one goes through all names.
const SUGGESTIONS: usize = 64;

/// Checks a configuration, whatever its variables and the state are.
///
/// With `ask_providers` the providers are started, though not configured, and asked about every block; without
/// it only their schemas are used.
pub async fn validate(input: &Input<'_>, ask_providers: bool) -> Diagnostics {
    let index = Index::new(input.tree);
    for check in [
        missing_provisioners,
        imports::targets,
        module_arguments,
        missing_providers,
        missing_configurations,
    ] {
        let found = check(input, &index);
        if found.has_errors() {
            return found;
        }
    }
    let run = match Run::new(input, &BTreeSet::new(), false).await {
        Ok(run) => run,
        Err(diagnostics) => return diagnostics,
    };
    let mut imports: HashMap<ConfigResource, Vec<&config::Import>> = HashMap::new();
    for import in &run.index.module(ModuleIx::ROOT).imports {
        imports
            .entry(import.target.clone())
            .or_default()
            .push(import);
    }
    let validating = Validating {
        run,
        imports,
        ask_providers,
        suggestions: Mutex::new(SUGGESTIONS),
    };
    let options = WalkOptions {
        parallelism: input.parallelism.max(1),
        step_deadline: None,
        cancel: input.cancel.clone(),
    };
    walk(&validating.run.blocks.graph, &options, |id| {
        validating.visit(id)
    })
    .await;
    validating.run.close_providers().await;
    let mut diagnostics = std::mem::take(&mut *validating.run.diagnostics.lock());
    if input.cancel.is_cancelled() {
        diagnostics.push(Diagnostic::error(
            "Operation cancelled",
            "The configuration was not looked at as a whole.",
        ));
    }
    diagnostics
}

struct Validating<'a> {
    run: Run<'a>,
    ask_providers: bool,
    suggestions: Mutex<usize>,
    /// The `import` blocks by their targets.
    imports: HashMap<ConfigResource, Vec<&'a config::Import>>,
}

/// Whether references failed before any name was given a meaning.
struct Early(bool);

/// What `count` and `each` are where the number of instances is not known; both in a module's arguments, as in
/// Terraform, which finds out while planning if they may not be used.
fn unknown_repetition(count: bool, each: bool) -> Repetition {
    Repetition {
        count_index: count.then(|| Value::unknown(Type::Number)),
        each: each.then(|| (Value::unknown(Type::String), Value::DYNAMIC)),
    }
}

impl Validating<'_> {
    async fn visit(&self, id: NodeId) -> Outcome<Failed> {
        let done = match self.run.blocks.graph[id] {
            Block::Call(ix) => self.visit_call(ix),
            Block::End(_) | Block::Orphans(_) => Ok(()),
            Block::Variable(ix, variable) => self.visit_variable(ix, variable),
            Block::Local(ix, local) => self
                .references(ix, &local.expr.references(), Place::default())
                .and_then(|()| self.run.visit_local(id, ix, local)),
            Block::Output(ix, output) => self.visit_output(id, ix, output),
            Block::Check(ix, check) => self.visit_check(ix, check),
            Block::Provider(ix) => self.visit_provider(ix).await,
            Block::Resource(ix, resource) => self.visit_resource(ix, resource).await,
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(failed) => Outcome::Failed(failed),
        }
    }

    /// The one instance of a module.
    fn table(&self, ix: ModuleIx) -> Result<Arc<ModuleTable>, Failed> {
        self.run
            .world
            .instances(ix)
            .into_iter()
            .next()
            .ok_or(Failed)
    }

    /// The schema of a resource's type.
    fn schema(&self, resource: &Resource) -> Option<Arc<ResourceSchema>> {
        self.run
            .schemas
            .get(&resource.provider)?
            .resource(kind(resource.address.mode), &resource.address.kind)
            .ok()
    }

    fn references(
        &self,
        ix: ModuleIx,
        references: &[Traversal],
        place: Place<'_>,
    ) -> Result<(), Failed> {
        self.named(ix, references, place).map_err(|_| Failed)
    }

    /// Checks references; on failure says whether that was before any name was given a meaning.
    fn named(&self, ix: ModuleIx, references: &[Traversal], place: Place<'_>) -> Result<(), Early> {
        if references.is_empty() {
            return Ok(());
        }
        let mut suggestions = *self.suggestions.lock();
        let found = check_in_place(
            self.run.index.module(ix),
            references,
            place,
            &|resource| self.schema(resource),
            &mut suggestions,
        );
        if !found.diagnostics.is_empty() {
            *self.suggestions.lock() = suggestions;
        }
        let early = Early(found.early);
        self.run.note(found.diagnostics).map_err(|_| early)
    }

    /// Terraform goes on with an expression in which no name has a meaning yet, and says so of each.
    fn nameless(&self, expr: &Expr) {
        let (_, diagnostics) = expr.evaluate(&Tables::new(self.run.functions.clone()));
        let _ = self.run.note(diagnostics);
    }

    /// The condition and the message of rules that are not decided now.
    fn rules(
        &self,
        ix: ModuleIx,
        rules: &[CheckRule],
        place: Place<'_>,
        scope: &Names<'_>,
    ) -> Result<(), Failed> {
        let mut failed = false;
        for expr in rules
            .iter()
            .flat_map(|rule| rule.condition.iter().chain(&rule.error_message))
        {
            match self.named(ix, &expr.references(), place) {
                Ok(()) => {
                    let (_, diagnostics) = expr.evaluate(scope);
                    failed |= self.run.note(diagnostics).is_err();
                }
                Err(Early(early)) => {
                    failed = true;
                    if early {
                        self.nameless(expr);
                    }
                }
            }
        }
        if failed { Err(Failed) } else { Ok(()) }
    }

    fn depends_on(
        &self,
        ix: ModuleIx,
        depends_on: &[Traversal],
        place: Place<'_>,
    ) -> Result<(), Failed> {
        let mut failed = false;
        for traversal in depends_on {
            let reference = match Reference::parse(traversal) {
                Ok(reference) => reference,
                Err(diagnostic) => {
                    failed |= self.run.note(*diagnostic).is_err();
                    continue;
                }
            };
            let remaining = reference.remaining(traversal);
            if let (Some(first), Some(last)) = (remaining.first(), remaining.last()) {
                let whole = first.range().to(last.range());
                failed |= self
                    .run
                    .fail::<()>(
                        Diagnostic::error(
                            "Invalid depends_on reference",
                            "References in depends_on must be to a whole object (resource, etc), not to an attribute of an object.",
                        )
                        .at(whole),
                    )
                    .is_err();
            }
            if !failed {
                failed = self
                    .references(ix, std::slice::from_ref(traversal), place)
                    .is_err();
            }
        }
        if failed { Err(Failed) } else { Ok(()) }
    }

    /// `count` or `for_each`, evaluated as far as that goes.
    fn repetition(
        &self,
        ix: ModuleIx,
        count: Option<&Expr>,
        for_each: Option<&Expr>,
        scope: &Names<'_>,
        place: Place<'_>,
    ) -> Result<(), Failed> {
        let Some(expr) = count.or(for_each) else {
            return Ok(());
        };
        self.references(ix, &expr.references(), place)?;
        match expand(count, for_each, scope) {
            Ok(_) => Ok(()),
            Err(diagnostics) => self.run.note(diagnostics),
        }
    }

    fn visit_call(&self, ix: ModuleIx) -> Result<(), Failed> {
        let run = &self.run;
        let Some((parent, call)) = run.index.entry(ix).call else {
            return Ok(());
        };
        let table = self.table(parent)?;
        let scope = Names::of_module(run, &table);
        let counted = self.repetition(
            parent,
            call.count.as_ref(),
            call.for_each.as_ref(),
            &scope,
            Place::default(),
        );
        let ordered = self.depends_on(parent, &call.depends_on, Place::default());
        let address = table.address.child(call.name.clone(), Key::None);
        run.world.add(ModuleTable::new(
            ix,
            address,
            unknown_repetition(true, true),
            Some(table.clone()),
        ));
        let outputs = run.index.module(ix).outputs.keys();
        let object = Type::object(outputs.map(|name| (name.clone(), Type::Dynamic)));
        let value = Value::unknown(if call.count.is_some() {
            Type::list(object)
        } else if call.for_each.is_some() {
            Type::map(object)
        } else {
            object
        });
        table
            .calls
            .write()
            .insert(call.name.clone(), Calls::Typed(value));
        counted.and(ordered)
    }

    fn visit_variable(&self, ix: ModuleIx, variable: &config::Variable) -> Result<(), Failed> {
        let run = &self.run;
        let table = self.table(ix)?;
        let block = run.block_address(ix, format!("var.{}", variable.name));
        let unknown = Value::unknown(variable.ty.without_optional()).with_marks(variable.marks());
        let rules: Vec<Traversal> = variable
            .validations
            .iter()
            .flat_map(|rule| rule.condition.iter().chain(&rule.error_message))
            .flat_map(Expr::references)
            .collect();
        let mut done = self.references(ix, &rules, Place::default());
        if done.is_ok() {
            done = match (run.index.entry(ix).call, &table.caller) {
                (Some((parent, call)), Some(_)) => {
                    let given: Vec<Traversal> = call
                        .config
                        .arguments()
                        .filter(|attribute| attribute.name == variable.name)
                        .flat_map(|attribute| attribute.expr.references())
                        .collect();
                    let place = Place {
                        count: true,
                        each: true,
                        ..Place::default()
                    };
                    self.references(parent, &given, place)
                        .and_then(|()| run.set_variable(&table, variable, &block))
                }
                _ => {
                    let name = variable.name.clone();
                    table.variables.write().insert(name, unknown.clone());
                    run.validate_variable(&table, variable, &block, variable.range)
                }
            };
        }
        // Whoever uses it must take any value that fits.
        table
            .variables
            .write()
            .insert(variable.name.clone(), unknown);
        done
    }

    fn visit_output(
        &self,
        id: NodeId,
        ix: ModuleIx,
        output: &config::Output,
    ) -> Result<(), Failed> {
        let rules: Vec<Traversal> = output
            .preconditions
            .iter()
            .flat_map(|rule| rule.condition.iter().chain(&rule.error_message))
            .flat_map(Expr::references)
            .collect();
        self.references(ix, &rules, Place::default())?;
        let value: Vec<Traversal> = output.value.iter().flat_map(Expr::references).collect();
        let refers = self.references(ix, &value, Place::default());
        let depends = self.depends_on(ix, &output.depends_on, Place::default());
        refers.and(depends)?;
        self.run.visit_output(id, ix, output)
    }

    fn visit_check(&self, ix: ModuleIx, check: &config::Check) -> Result<(), Failed> {
        let table = self.table(ix)?;
        let scope = Names::of_module(&self.run, &table);
        let place = Place {
            check: Some(&check.name),
            ..Place::default()
        };
        let mut failed = false;
        for rule in &check.asserts {
            let references: Vec<Traversal> = rule
                .condition
                .iter()
                .chain(&rule.error_message)
                .flat_map(Expr::references)
                .collect();
            match (self.named(ix, &references, place), &rule.error_message) {
                (Err(Early(early)), message) => {
                    failed = true;
                    if let Some(expr) = message.as_ref().filter(|_| early) {
                        self.nameless(expr);
                    }
                }
                (Ok(()), Some(expr)) => {
                    let (_, diagnostics) = error_message(expr, &scope);
                    failed |= self.run.note(diagnostics).is_err();
                }
                (Ok(()), None) => {}
            }
        }
        if failed { Err(Failed) } else { Ok(()) }
    }

    async fn visit_provider(&self, ix: ProviderIx) -> Result<(), Failed> {
        let run = &self.run;
        let entry = &run.blocks.providers[ix.0];
        if self.ask_providers {
            match run.input.providers.start_for(&entry.address).await {
                Ok(provider) => {
                    run.set_provider(ix, provider);
                }
                Err(diagnostics) => return run.note(diagnostics),
            }
        }
        let Some((module, block)) = entry.block else {
            return Ok(());
        };
        // With nothing in it the provider may still be set up by its surroundings.
        if !block.config.content(&BodySchema::new()).1.has_errors() {
            return Ok(());
        }
        let schema = &entry.schemas.provider;
        let foreign = run
            .input
            .under_test
            .and_then(|test| test.names_of(&entry.address));
        let (config, diagnostics) = if let Some(names) = foreign {
            schema.decode(&block.config, names)
        } else {
            let references = schema.references(&block.config);
            self.references(module, &references, Place::default())?;
            let table = self.table(module)?;
            schema.decode(&block.config, &Names::of_module(run, &table))
        };
        run.note(diagnostics)?;
        if !self.ask_providers {
            return Ok(());
        }
        let (config, _) = config.unmark_deep();
        let said = run.provider(ix)?.validate_config(config).await;
        run.note(said.locate(&block.config, &entry.address.to_string()))
    }
}

/// Provisioners that this program does not have.
fn missing_provisioners(input: &Input<'_>, index: &Index<'_>) -> Diagnostics {
    index
        .modules
        .iter()
        .flat_map(|entry| entry.module.resources.values())
        .flat_map(|resource| &resource.managed.provisioners)
        .map(|provisioner| &provisioner.kind)
        .filter(|kind| input.provisioners.schema(kind).is_none())
        .map(|kind| {
            Diagnostic::error(
                "Missing required provisioner plugin",
                format!(
                    "This configuration requires provisioner plugin {:?}, which isn't available. If you're intending to use an external provisioner plugin, you must install it manually into one of the plugin search directories before running Terraform.",
                    &**kind
                ),
            )
        })
        .collect()
}

/// Arguments of module calls by the variables of the module.
fn module_arguments(_input: &Input<'_>, index: &Index<'_>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for entry in &index.modules {
        let Some((_, call)) = entry.call else {
            continue;
        };
        let mut schema = BodySchema::new();
        for variable in entry.module.variables.values() {
            let name = [&*variable.name];
            schema = if variable.required() {
                schema.required(name)
            } else {
                schema.optional(name)
            };
        }
        diagnostics.append(call.config.content(&schema).1);
    }
    diagnostics
}

/// Configurations that callers pass on and nobody wrote.
fn missing_providers(_input: &Input<'_>, index: &Index<'_>) -> Diagnostics {
    let mut known: BTreeSet<ProviderConfig> = BTreeSet::new();
    for entry in &index.modules {
        let module = entry.module;
        let address =
            |provider: ProviderSource, alias: Option<Arc<str>>, path: &ModulePath| ProviderConfig {
                module: path.clone(),
                provider,
                alias,
            };
        if entry.path.is_root() {
            let required = module.required_providers.values();
            known.extend(
                required.map(|required| address(required.address.clone(), None, &entry.path)),
            );
        }
        for config in module.provider_configs.values() {
            let alias = config.key.alias.clone();
            known.insert(address(config.provider.clone(), alias, &entry.path));
        }
        let Some((parent, call)) = entry.call else {
            continue;
        };
        for passed in &call.providers {
            let provider = module.provider_for_name(&passed.child.key.name);
            let above = address(
                provider.clone(),
                passed.parent.key.alias.clone(),
                &index.entry(parent).path,
            );
            if !known.contains(&above) {
                return Diagnostic::error(format!("missing provider {above}"), "").into();
            }
            known.insert(address(
                provider,
                passed.child.key.alias.clone(),
                &entry.path,
            ));
        }
    }
    Diagnostics::new()
}

/// Configurations of providers that resources name and nobody wrote.
fn missing_configurations(_input: &Input<'_>, index: &Index<'_>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for (at, entry) in index.modules.iter().enumerate() {
        for resource in entry.module.resources.values() {
            let local = resource.local_provider();
            if local.alias.is_none() {
                continue;
            }
            let address = index.provider(ModuleIx(at), &local);
            if index.provider_block(&address).is_some() {
                continue;
            }
            let name = if entry.path.is_root() {
                resource.address.to_string()
            } else {
                format!("{}.{}", entry.path, resource.address)
            };
            diagnostics.push(Diagnostic::error(
                "Provider configuration not present",
                format!(
                    "To work with {name} its original provider configuration at {address} is required, but it has been removed. This occurs when a provider configuration is removed while objects created by that provider still exist in the state. Re-add the provider configuration to destroy {name}, after which you can remove the provider configuration again."
                ),
            ));
        }
    }
    diagnostics
}

/// A local value may not look at itself; longer ways round are cycles.
pub(super) fn refers_to_itself(local: &config::Local) -> Option<Diagnostic> {
    local
        .expr
        .references()
        .iter()
        .filter_map(|traversal| Reference::parse(traversal).ok())
        .find(|reference| matches!(&reference.subject, Subject::Local(name) if *name == local.name))
        .map(|reference| {
            Diagnostic::error(
                "Self-referencing local value",
                format!(
                    "Local value local.{} cannot use its own result as part of its expression.",
                    local.name
                ),
            )
            .at(reference.range)
        })
}
