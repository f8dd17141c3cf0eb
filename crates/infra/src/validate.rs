//! Checks a configuration against its providers' schemas, with every reference unknown: what `validate` does
//! beyond what the language alone can tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::evaluate::{Function, Functions, Resolution, Scope};
use consort_hcl::traversal::Step;
use consort_hcl::{Expr, Traversal, Type, Value};

use crate::address::{self, Mode, ProviderSource};
use crate::config::{Module, Resource, Tree};
use crate::engine::{ProviderFunctions, Providers};
use crate::provider::schema::{Kind, Schemas};
use crate::provider::{Provider, Validate};

/// Checks every block of every module once, whatever it would expand to. Providers are started, but neither
/// configured nor asked about anything real.
pub async fn validate(
    tree: &Tree,
    providers: &dyn Providers,
    functions: &Arc<Functions>,
) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    let mut modules = Vec::new();
    tree.visit(&mut |tree| modules.push(tree));
    let mut known = BTreeMap::new();
    let mut running: BTreeMap<ProviderSource, Arc<dyn Provider>> = BTreeMap::new();
    for source in modules
        .iter()
        .flat_map(|tree| used(&tree.module))
        .collect::<std::collections::BTreeSet<_>>()
    {
        match providers.schemas(&source).await {
            Ok(schemas) => {
                known.insert(source.clone(), schemas);
            }
            Err(found) => {
                diagnostics.append(found);
                continue;
            }
        }
        match providers.start(&source).await {
            Ok(provider) => {
                running.insert(source, provider);
            }
            Err(found) => diagnostics.append(found),
        }
    }
    let provider_functions = ProviderFunctions::new(providers);
    if !diagnostics.has_errors() {
        for tree in modules {
            let scope = Blank {
                module: &tree.module,
                schemas: &known,
                functions,
                provider_functions: &provider_functions,
            };
            module(&scope, &running, &mut diagnostics).await;
        }
    }
    provider_functions.close().await;
    for provider in running.into_values() {
        provider.close().await;
    }
    diagnostics
}

fn used(module: &Module) -> impl Iterator<Item = ProviderSource> + '_ {
    module
        .resources
        .values()
        .map(|resource| resource.provider.clone())
        .chain(
            module
                .provider_configs
                .values()
                .map(|config| config.provider.clone()),
        )
}

/// A scope in which everything has its type and nothing a value.
struct Blank<'a> {
    module: &'a Module,
    schemas: &'a BTreeMap<ProviderSource, Arc<Schemas>>,
    functions: &'a Arc<Functions>,
    provider_functions: &'a ProviderFunctions<'a>,
}

impl Blank<'_> {
    /// The type a reference to a resource has.
    fn resource(&self, mode: Mode, kind: &str, name: &str) -> Option<Value> {
        let address = address::Resource {
            mode,
            kind: kind.into(),
            name: name.into(),
        };
        let resource = self.module.resources.get(&address)?;
        if resource.count.is_some() || resource.for_each.is_some() {
            // A list or a map of objects; which, the keys alone tell.
            return Some(Value::unknown(Type::Dynamic));
        }
        let schema = self
            .schemas
            .get(&resource.provider)?
            .resource(kind_of(mode), &resource.address.kind)
            .ok()?;
        Some(Value::unknown(schema.block.implied_type()))
    }
}

fn kind_of(mode: Mode) -> Kind {
    match mode {
        Mode::Managed => Kind::Managed,
        Mode::Data => Kind::Data,
        Mode::Ephemeral => Kind::Ephemeral,
    }
}

fn name_at(traversal: &Traversal, at: usize) -> Option<&str> {
    traversal
        .steps
        .get(at)
        .and_then(Step::attribute)
        .map(|name| &**name)
}

impl Scope for Blank<'_> {
    fn variable(&self, _root: &str) -> Option<Value> {
        Some(Value::unknown(Type::Dynamic))
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        if name.starts_with("provider::") {
            return self.provider_functions.get(self.module, name);
        }
        self.functions.get(name).cloned()
    }

    fn explain_unknown_function(&self, name: &str) -> Option<(String, String)> {
        self.provider_functions.explain(self.module, name)
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        self.functions.keys().cloned().collect()
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        let found = |value: Option<Value>, steps: usize| Resolution::Found {
            value: value.unwrap_or_else(|| Value::unknown(Type::Dynamic)),
            steps: steps.min(traversal.steps.len()),
        };
        let first = name_at(traversal, 0);
        match &*traversal.root {
            "var" => {
                let ty = first
                    .and_then(|name| self.module.variables.get(name))
                    .map(|variable| variable.ty.without_optional());
                found(ty.map(Value::unknown), 1)
            }
            "path" | "terraform" => found(Some(Value::unknown(Type::String)), 1),
            "count" => found(Some(Value::unknown(Type::Number)), 1),
            "each" if first == Some("key") => found(Some(Value::unknown(Type::String)), 1),
            "each" | "local" | "module" => found(None, 1),
            "self" => found(None, 0),
            root @ ("data" | "ephemeral") => {
                let mode = if root == "data" {
                    Mode::Data
                } else {
                    Mode::Ephemeral
                };
                let value = first
                    .zip(name_at(traversal, 1))
                    .and_then(|(kind, name)| self.resource(mode, kind, name));
                found(value, 2)
            }
            root => {
                let value = first.and_then(|name| self.resource(Mode::Managed, root, name));
                found(value, 1)
            }
        }
    }
}

async fn module(
    scope: &Blank<'_>,
    running: &BTreeMap<ProviderSource, Arc<dyn Provider>>,
    out: &mut Diagnostics,
) {
    let module = scope.module;
    let mut look = |expr: &Expr| {
        let (_, found) = expr.evaluate(scope);
        out.append(found);
    };
    for local in module.locals.values() {
        look(&local.expr);
    }
    for output in module.outputs.values() {
        if let Some(value) = &output.value {
            look(value);
        }
    }
    for config in module.provider_configs.values() {
        let Some(schemas) = scope.schemas.get(&config.provider) else {
            continue;
        };
        let (_, found) = schemas.provider.decode(&config.config, scope);
        out.append(found);
    }
    for resource in module.resources.values() {
        self::resource(scope, resource, running, out).await;
    }
}

async fn resource(
    scope: &Blank<'_>,
    resource: &Resource,
    running: &BTreeMap<ProviderSource, Arc<dyn Provider>>,
    out: &mut Diagnostics,
) {
    for expr in resource.count.iter().chain(&resource.for_each) {
        let (_, found) = expr.evaluate(scope);
        out.append(found);
    }
    let Some(schemas) = scope.schemas.get(&resource.provider) else {
        return;
    };
    let kind = kind_of(resource.address.mode);
    let schema = match schemas.resource(kind, &resource.address.kind) {
        Ok(schema) => schema,
        Err(wrong) => {
            let what = match resource.address.mode {
                Mode::Managed => "resource type",
                Mode::Data => "data source",
                Mode::Ephemeral => "ephemeral resource type",
            };
            let (summary, detail) = if schemas.has(kind, &resource.address.kind) {
                (format!("Invalid schema of a {what}"), wrong.to_string())
            } else {
                (
                    format!("Invalid {what}"),
                    format!(
                        "The provider {} does not support {what} \"{}\".",
                        resource.provider.for_display(),
                        resource.address.kind
                    ),
                )
            };
            out.push(consort_hcl::Diagnostic::error(summary, detail).at(resource.kind_range));
            return;
        }
    };
    let (value, found) = schema.block.decode(&resource.config, scope);
    let failed = found.has_errors();
    out.append(found);
    let Some(provider) = running.get(&resource.provider).filter(|_| !failed) else {
        return;
    };
    let request = Validate {
        type_name: Arc::clone(&resource.address.kind),
        config: value.unmark_deep().0,
    };
    let said = match resource.address.mode {
        Mode::Managed => provider.validate_resource(request).await,
        Mode::Data => provider.validate_data(request).await,
        Mode::Ephemeral => provider.validate_ephemeral(request).await,
    };
    out.append(said.locate(&resource.config, &resource.address.to_string()));
}
