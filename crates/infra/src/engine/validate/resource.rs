//! A resource block, once for all its instances.

use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::suggest::did_you_mean;
use consort_hcl::traversal::Step;
use consort_hcl::{Body, Marks, Path, Traversal, Value};

use super::connection::connection;
use super::{Validating, unknown_repetition};
use crate::address::Mode;
use crate::config::{IgnoreChanges, Place, Provisioner, Resource};
use crate::engine::blocks::kind;
use crate::engine::index::ModuleIx;
use crate::engine::run::Failed;
use crate::engine::scope::Names;
use crate::engine::world::ModuleTable;
use crate::provider::Validate;
use crate::provider::schema::{Block, Kind, ResourceSchema, Schemas};

/// What a resource block has to say for itself while it is looked at.
struct Looked<'r> {
    ix: ModuleIx,
    config: &'r Resource,
    table: &'r ModuleTable,
    /// The address without keys.
    name: String,
}

impl Validating<'_> {
    pub(super) async fn visit_resource(
        &self,
        ix: ModuleIx,
        config: &Resource,
    ) -> Result<(), Failed> {
        let run = &self.run;
        let table = self.table(ix)?;
        let schema = self.schema(config);
        // References were checked by the schema; what they give may be anything.
        let value = match config.address.mode {
            Mode::Ephemeral => Value::DYNAMIC.with_marks(Marks::EPHEMERAL),
            Mode::Managed | Mode::Data => Value::DYNAMIC,
        };
        table
            .resources
            .write()
            .insert(config.address.clone(), value.clone());
        let looked = Looked {
            ix,
            config,
            table: &table,
            name: run.block_address(ix, config.address.to_string()),
        };
        let arguments = self.arguments(&looked, schema.as_deref()).await;
        let conditions = self.conditions(&looked, &value);
        let mut done = arguments.and(conditions);
        for provisioner in &config.managed.provisioners {
            let Some(schema) = run.input.provisioners.schema(&provisioner.kind) else {
                continue;
            };
            done = done.and(self.provisioner(&looked, provisioner, &schema, &value));
            done?;
        }
        let imports = self.import_ids(ix, config);
        done.and(imports)
    }

    async fn arguments(
        &self,
        looked: &Looked<'_>,
        schema: Option<&ResourceSchema>,
    ) -> Result<(), Failed> {
        let (run, config) = (&self.run, looked.config);
        let plain = Place {
            check: config.check.as_deref(),
            ..Place::default()
        };
        let (count, each) = (config.count.is_some(), config.for_each.is_some());
        let scope = Names::of_module(run, looked.table);
        let counted = self.repetition(
            looked.ix,
            config.count.as_ref(),
            config.for_each.as_ref(),
            &scope,
            plain,
        );
        let ordered = self.depends_on(looked.ix, &config.depends_on, plain);
        let Some(schema) = schema else {
            return match run.schemas.get(&config.provider) {
                Some(schemas) => run.fail(unsupported(config, schemas)),
                None => Err(Failed),
            };
        };
        let place = Place {
            count,
            each,
            ..plain
        };
        self.references(looked.ix, &schema.block.references(&config.config), place)?;
        let repetition = unknown_repetition(count, each);
        let scope = Names::repeated(run, looked.table, &repetition);
        let (value, diagnostics) = schema.block.decode(&config.config, &scope);
        run.note(diagnostics)?;
        let mut done = counted.and(ordered);
        let stored = config.address.mode != Mode::Ephemeral;
        let forbidden = stored.then(|| forbidden_ephemeral(&schema.block, &value));
        for diagnostic in forbidden.into_iter().flatten() {
            done = done.and(run.note(diagnostic.locate(&config.config, &looked.name)));
        }
        if let IgnoreChanges::Paths(paths) = &config.managed.ignore_changes {
            for path in paths {
                done = self.ignored(config, &schema.block, path, done);
            }
        }
        if !self.ask_providers {
            return done;
        }
        let Some((provider, _)) = run.blocks.provider_for(&run.index, looked.ix, config) else {
            return Err(Failed);
        };
        let provider = run.provider(provider)?;
        let request = Validate {
            type_name: Arc::clone(&config.address.kind),
            config: value.unmark_deep().0,
        };
        let said = match config.address.mode {
            Mode::Managed => provider.validate_resource(request).await,
            Mode::Data => provider.validate_data(request).await,
            Mode::Ephemeral => provider.validate_ephemeral(request).await,
        };
        done.and(run.note(said.locate(&config.config, &looked.name)))
    }

    /// Whether an element of `ignore_changes` leads to something that can be ignored.
    fn ignored(
        &self,
        config: &Resource,
        schema: &Block,
        path: &Traversal,
        done: Result<(), Failed>,
    ) -> Result<(), Failed> {
        let mut steps = vec![Step::Attribute {
            name: path.root.clone(),
            range: path.root_range,
        }];
        steps.extend(path.steps.iter().cloned());
        let done = done.and(self.run.note(schema.check_steps(&steps)));
        done?;
        let path = Path(
            steps
                .into_iter()
                .filter_map(|step| match step {
                    Step::Attribute { name, .. } => Some(consort_hcl::Step::Attribute(name)),
                    Step::Index { key, .. } => Some(consort_hcl::Step::Index(key)),
                    Step::Splat { .. } => None,
                })
                .collect(),
        );
        let decided = schema
            .attribute_at(&path)
            .is_some_and(|attribute| attribute.computed && !attribute.optional);
        if !decided {
            return done;
        }
        let path = path.to_string();
        self.run.note(
            Diagnostic::warning(
                "Redundant ignore_changes element",
                format!(
                    "Adding an attribute name to ignore_changes tells Terraform to ignore future changes to the argument in configuration after the object has been created, retaining the value originally configured.\n\nThe attribute {} is decided by the provider alone and therefore there can be no configured value to compare with. Including this attribute in ignore_changes has no effect. Remove the attribute from ignore_changes to quiet this warning.",
                    path.trim_start_matches('.')
                ),
            )
            .at(config.kind_range),
        )
    }

    fn conditions(&self, looked: &Looked<'_>, itself: &Value) -> Result<(), Failed> {
        let config = looked.config;
        let repetition = unknown_repetition(config.count.is_some(), config.for_each.is_some());
        let place = Place {
            count: config.count.is_some(),
            each: config.for_each.is_some(),
            check: config.check.as_deref(),
            ..Place::default()
        };
        let mut scope = Names::repeated(&self.run, looked.table, &repetition);
        let before = self.rules(looked.ix, &config.preconditions, place, &scope);
        scope.itself = Some(itself);
        let place = Place {
            itself: Some(config),
            ..place
        };
        before.and(self.rules(looked.ix, &config.postconditions, place, &scope))
    }

    fn provisioner(
        &self,
        looked: &Looked<'_>,
        provisioner: &Provisioner,
        schema: &Block,
        itself: &Value,
    ) -> Result<(), Failed> {
        let config = looked.config;
        let valid = self
            .body(looked, &provisioner.config, schema, itself)
            .and_then(|value| {
                let (value, _) = value.unmark_deep();
                let provisioners = self.run.input.provisioners;
                let mut found = provisioners.validate(&provisioner.kind, &value);
                for diagnostic in &mut found {
                    diagnostic.subject.get_or_insert(provisioner.range);
                }
                self.run.note(found)
            });
        let shared = config.managed.connection.as_ref();
        let body = match (shared, &provisioner.connection) {
            (None, None) => return valid,
            (Some(shared), None) => shared.config.clone(),
            (None, Some(own)) => own.config.clone(),
            (Some(shared), Some(own)) => {
                Body::overridden(shared.config.clone(), own.config.clone())
            }
        };
        let connected = self.body(looked, &body, connection(), itself);
        valid.and(connected.map(|_| ()))
    }

    /// A body inside a resource, in which `self` is known.
    fn body(
        &self,
        looked: &Looked<'_>,
        body: &Body,
        schema: &Block,
        itself: &Value,
    ) -> Result<Value, Failed> {
        let config = looked.config;
        let (count, each) = (config.count.is_some(), config.for_each.is_some());
        let place = Place {
            count,
            each,
            itself: Some(config),
            check: config.check.as_deref(),
            ..Place::default()
        };
        self.references(looked.ix, &schema.references(body), place)?;
        let repetition = unknown_repetition(count, each);
        let mut scope = Names::repeated(&self.run, looked.table, &repetition);
        scope.itself = Some(itself);
        let (value, diagnostics) = schema.decode(body, &scope);
        self.run.note(diagnostics)?;
        Ok(value)
    }
}

/// Ephemeral values in attributes that are stored.
pub(in crate::engine) fn forbidden_ephemeral(
    schema: &Block,
    value: &Value,
) -> Vec<crate::provider::Diagnostic> {
    if !value.deep_marks().intersects(Marks::EPHEMERAL) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (path, marks) in value.unmark_deep_with_paths().1 {
        if !marks.intersects(Marks::EPHEMERAL)
            || schema
                .attribute_at(&path)
                .is_some_and(|attribute| attribute.write_only)
        {
            continue;
        }
        let name = path.to_string();
        found.push(
            crate::provider::Diagnostic::error(
                "Invalid use of ephemeral value",
                format!(
                    "Ephemeral values are not valid for \"{}\", because it is not a write-only attribute and must be persisted to state.",
                    name.trim_start_matches('.')
                ),
            )
            .at(path),
        );
    }
    found
}

/// A type that its provider does not have, or whose schema cannot be read.
pub(in crate::engine) fn unsupported(config: &Resource, schemas: &Schemas) -> Diagnostic {
    let mode = config.address.mode;
    let name = &*config.address.kind;
    let (summary, what) = match mode {
        Mode::Managed => ("Invalid resource type", "resource type"),
        Mode::Data => ("Invalid data source", "data source"),
        Mode::Ephemeral => ("Invalid ephemeral resource", "ephemeral resource"),
    };
    if let (true, Err(wrong)) = (
        schemas.has(kind(mode), name),
        schemas.resource(kind(mode), name),
    ) {
        return Diagnostic::error(format!("Invalid schema of a {what}"), wrong.to_string())
            .at(config.kind_range);
    }
    let suggestion = match mode {
        Mode::Managed if schemas.has(Kind::Data, name) => format!(
            "\n\nDid you intend to use the data source {name:?}? If so, declare this using a \"data\" block instead of a \"resource\" block."
        ),
        Mode::Data if schemas.has(Kind::Managed, name) => format!(
            "\n\nDid you intend to use the managed resource type {name:?}? If so, declare this using a \"resource\" block instead of a \"data\" block."
        ),
        Mode::Ephemeral => String::new(),
        _ => did_you_mean(name, schemas.names(kind(mode)).map(|name| &**name)),
    };
    Diagnostic::error(
        summary,
        format!(
            "The provider {} does not support {what} {name:?}.{suggestion}",
            config.provider.for_display()
        ),
    )
    .at(config.kind_range)
}
