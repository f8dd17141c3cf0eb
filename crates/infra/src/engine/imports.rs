//! `import` blocks: objects that exist and are to be taken over.

use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Marks, Range, Type, Value, convert};

use super::adopt::without_block;
use super::change::{DeferredReason, Importing};
use super::events::Event;
use super::expand::expand;
use super::index::ModuleIx;
use super::objects::Present;
use super::plan::{InstanceOf, Planning, ResourceBlock, constant_address};
use super::run::Failed;
use super::scope::Names;
use super::world::Keys;
use crate::address::ResourceInstance;
use crate::config::{Reference, Subject};
use crate::provider::{Import as Request, ImportTarget};
use crate::state::Status;

/// What an object to be imported is known by.
#[derive(Clone, Debug)]
pub(super) enum Import {
    /// The provider's id.
    Id { id: Arc<str>, range: Range },
    /// What the provider tells it by.
    Identity { identity: Value, range: Range },
}

impl Import {
    fn range(&self) -> Range {
        match self {
            Import::Id { range, .. } | Import::Identity { range, .. } => *range,
        }
    }

    /// For the plan.
    pub(super) fn importing(&self) -> Importing {
        match self {
            Import::Id { id, .. } => Importing {
                id: id.to_string(),
                identity: None,
            },
            Import::Identity { identity, .. } => Importing {
                id: String::new(),
                identity: Some(identity.clone()),
            },
        }
    }
}

impl Planning<'_> {
    /// Evaluates the import blocks that point at a resource block.
    pub(super) fn resolve_imports(&self, block: &ResourceBlock<'_>) -> Result<(), Failed> {
        let root = self.run.index.module(ModuleIx::ROOT);
        for import in root
            .imports
            .iter()
            .filter(|import| import.target == block.address)
        {
            let table = self.run.world.root();
            let scope = Names::of_module(&self.run, &table);
            let keys = match expand(None, import.for_each.as_ref(), &scope) {
                Ok(keys) => keys,
                Err(diagnostics) => return self.run.note(diagnostics),
            };
            if let (Keys::Unknown, Some(expr)) = (&keys, &import.for_each) {
                // Not to know what is to be imported must not lead to making it anew.
                return self.run.fail(
                    Diagnostic::error(
                        "Invalid for_each argument",
                        "The \"for_each\" value of an import block depends on resource attributes that cannot be determined until apply, so Terraform cannot determine what is to be imported. Apply first what it depends on, with the -target option.",
                    )
                    .at(expr.range())
                    .with_expression(expr, &scope),
                );
            }
            for (_, repetition) in keys.instances() {
                let Some(traversal) = constant_address(&import.to, &repetition) else {
                    return self.run.fail(
                        Diagnostic::error(
                            "Invalid import address",
                            "Import addresses may hold constant keys, each.key and each.value only.",
                        )
                        .at(import.to.range()),
                    );
                };
                let Some(address) = address_of(&traversal) else {
                    return self.run.fail(
                        Diagnostic::error(
                            "Invalid import address",
                            "The address must be one of a resource instance.",
                        )
                        .at(import.to.range()),
                    );
                };
                let scope = Names::repeated(&self.run, &table, &repetition);
                if let Some(expr) = &import.identity {
                    let (value, diagnostics) = expr.evaluate(&scope);
                    self.run.note(diagnostics)?;
                    let identity = self.import_identity(block, &value, expr.range())?;
                    self.imports.lock().insert(
                        address,
                        Import::Identity {
                            identity,
                            range: import.range,
                        },
                    );
                    continue;
                }
                let Some(expr) = &import.id else {
                    continue;
                };
                let (value, diagnostics) = expr.evaluate(&scope);
                self.run.note(diagnostics)?;
                let id = match import_id(&value, expr.range()) {
                    Ok(id) => id,
                    Err(wrong) => return self.run.fail(*wrong),
                };
                self.imports.lock().insert(
                    address,
                    Import::Id {
                        id,
                        range: import.range,
                    },
                );
            }
        }
        Ok(())
    }

    /// An identity of the resource type's own schema; what may be left out of it is null.
    fn import_identity(
        &self,
        block: &ResourceBlock<'_>,
        value: &Value,
        range: Range,
    ) -> Result<Value, Failed> {
        let fail = |detail: String| {
            self.run
                .fail(Diagnostic::error("Invalid import identity argument", detail).at(range))
        };
        let Some(schema) = &block.schema.identity else {
            return fail(format!(
                "Resources of the type \"{}\" cannot be imported by identity: their provider does not define one.",
                block.address.resource.kind
            ));
        };
        let (value, marks) = value.clone().unmark_deep();
        if marks.intersects(Marks::SENSITIVE) {
            return fail("The import identity cannot be sensitive.".to_owned());
        }
        if marks.intersects(Marks::EPHEMERAL) {
            return fail("The import identity cannot be ephemeral.".to_owned());
        }
        if value.is_null() {
            return fail("The import identity cannot be null.".to_owned());
        }
        if !value.is_wholly_known() {
            return fail(
                "The import block \"identity\" argument depends on resource attributes that cannot be determined until apply, so Terraform cannot plan to import this resource.".to_owned(),
            );
        }
        let Some(given) = value.as_keyed() else {
            return fail(format!(
                "The import identity must be an object, and you have provided a value of type {}.",
                value.ty().friendly_name()
            ));
        };
        if let Some(unknown) = given
            .keys()
            .find(|name| !schema.attributes.contains_key(*name))
        {
            return fail(format!(
                "The identity of \"{}\" has no attribute named \"{unknown}\".",
                block.address.resource.kind
            ));
        }
        let mut whole = std::collections::BTreeMap::new();
        for (name, attribute) in &schema.attributes {
            let own = match given.get(name).filter(|value| !value.is_null()) {
                Some(value) => match convert(value, &attribute.ty) {
                    Ok(value) => value,
                    Err(error) => {
                        return fail(format!(
                            "Inappropriate value for attribute \"{name}\": {error}."
                        ));
                    }
                },
                None if attribute.required_for_import => {
                    return fail(format!(
                        "The attribute \"{name}\" is required to import, but it is not set."
                    ));
                }
                None => Value::null(attribute.ty.clone()),
            };
            whole.insert(name.clone(), own);
        }
        Ok(Value::object(whole))
    }

    /// Finds an object by what is known of it, and keeps it as the state's.
    pub(super) async fn import(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        import: &Import,
    ) -> Result<Result<Present, DeferredReason>, Failed> {
        let run = &self.run;
        let address = &instance.address;
        let range = import.range();
        let id = &*import.importing().shown();
        run.event(&Event::ImportPlanned { address, id });
        let request = Request {
            type_name: address.resource.kind.clone(),
            target: match import {
                Import::Id { id, .. } => ImportTarget::Id(id.to_string()),
                Import::Identity { identity, .. } => ImportTarget::Identity(identity.clone()),
            },
            deferral_allowed: run.may_defer(block.provider_ix),
        };
        let answer = block.provider.import_resource(request).await;
        run.note(answer.diagnostics.unlocated(&instance.name))?;
        if let Some(reason) = run.deferred(block.provider_ix, answer.deferred, &instance.name)? {
            return Ok(Err(reason));
        }
        let mut found = answer.resources;
        let Some(resource) = found.pop() else {
            return run.fail(
                Diagnostic::error(
                    "Import returned no resources",
                    format!("While attempting to import with ID {id}, the provider returned no instance states."),
                )
                .at(range),
            );
        };
        if !found.is_empty() {
            return run.fail(
                Diagnostic::error(
                    "Multiple import states not supported",
                    format!(
                        "While attempting to import with ID {id}, the provider returned multiple resource instance states. This is not currently supported."
                    ),
                )
                .at(range),
            );
        }
        let imported = Present {
            value: block.schema.block.mark_sensitive(resource.state),
            private: resource.private,
            status: Status::Ready,
            dependencies: Arc::new([]),
            create_before_destroy: block.create_before_destroy,
            identity: resource.identity,
            deferred: None,
            stored: None,
        };
        let meta = run.provider_meta(block, instance.table)?;
        let seen = run
            .refresh(block.asked(meta), address, &imported, None)
            .await?;
        if let Some(reason) = seen.deferred {
            return Ok(Err(reason));
        }
        if seen.value.is_null() {
            return run.fail(
                Diagnostic::error(
                    "Cannot import non-existent remote object",
                    format!(
                        "While attempting to import an existing object to \"{address}\", the provider detected that no object exists with the given id. Only pre-existing objects can be imported; check that the id is correct and that it is associated with the provider's configured region or endpoint, or use \"terraform apply\" to create a new remote object for this resource."
                    ),
                )
                .at(range),
            );
        }
        let object = run.store_object(&block.schema, address, &seen)?;
        let provider = &run.blocks.providers[block.provider_ix.0].address;
        self.refreshed
            .lock()
            .set_object(address, None, provider, Some(object));
        Ok(Ok(seen))
    }

    /// Import blocks whose target has no block.
    pub(super) fn collect_imports(&self) {
        let root = self.run.index.module(ModuleIx::ROOT);
        for import in &root.imports {
            let generated = self.options.generate_config
                && without_block(&self.run.index).any(|known| std::ptr::eq(known, import));
            if self.run.index.resource(&import.target).is_none() && !generated {
                self.run.diagnostics.lock().push(
                    Diagnostic::error(
                        "Configuration for import target does not exist",
                        format!(
                            "The configuration for the given import target {} does not exist. All target instances must have an associated configuration to be imported.",
                            import.target
                        ),
                    )
                    .at(import.to.range()),
                );
            }
        }
    }
}

/// The id that the value of an import block's `id` is.
pub(super) fn import_id(value: &Value, range: Range) -> Result<Arc<str>, Box<Diagnostic>> {
    let fail = |detail: &str| {
        Err(Box::new(
            Diagnostic::error("Invalid import id argument", detail).at(range),
        ))
    };
    let (value, marks) = value.clone().unmark();
    if marks.intersects(Marks::SENSITIVE) {
        return fail("The import ID cannot be sensitive.");
    }
    if marks.intersects(Marks::EPHEMERAL) {
        return fail("The import ID cannot be ephemeral.");
    }
    if value.is_null() {
        return fail("The import ID cannot be null.");
    }
    if !value.is_known() {
        return fail(
            "The import block \"id\" argument depends on resource attributes that cannot be determined until apply, so Terraform cannot plan to import this resource.",
        );
    }
    match convert(&value, &Type::String)
        .ok()
        .and_then(|value| value.as_shared_str())
    {
        Some(id) if id.is_empty() => fail(
            "The import ID value evaluates to an empty string, please provide a non-empty value.",
        ),
        Some(id) => Ok(id),
        None => Err(Box::new(
            Diagnostic::error(
                "Incorrect value type",
                "Invalid expression value: string required.",
            )
            .at(range),
        )),
    }
}

/// The instance that a traversal with constant keys points at.
fn address_of(traversal: &consort_hcl::Traversal) -> Option<ResourceInstance> {
    traversal.text().parse().ok().or_else(|| {
        let reference = Reference::parse(traversal).ok()?;
        match reference.subject {
            Subject::Resource(resource, key) => Some(ResourceInstance {
                module: crate::address::ModuleInstance::root(),
                resource,
                key,
            }),
            _ => None,
        }
    })
}
