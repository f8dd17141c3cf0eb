//! Moves between resource types and between providers: the provider of the new place takes the state over.
//!
//! It is asked without being configured, as in OpenTofu's `refactoring` of states.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::diagnostic::Diagnostic;

use super::objects::Present;
use super::run::{Failed, Run};
use crate::address::{ProviderConfig, ProviderSource, ResourceInstance};
use crate::provider::schema::{Kind, ResourceSchema};
use crate::provider::{MoveState, Provider, RawState};
use crate::state::{Object, State};

/// What takes the objects of one block over.
struct Taker {
    provider: Arc<dyn Provider>,
    address: ProviderConfig,
    schema: Arc<ResourceSchema>,
}

/// Lets providers take over what has moved to another type or provider. `moved` says where instances were, by where
/// they are now.
pub(super) async fn convert(
    run: &Run<'_>,
    state: &mut State,
    moved: &HashMap<ResourceInstance, ResourceInstance>,
) -> Result<(), Failed> {
    let ordered: BTreeMap<_, _> = moved.iter().collect();
    let mut running: BTreeMap<ProviderSource, Arc<dyn Provider>> = BTreeMap::new();
    let mut failed = false;
    for (new, old) in ordered {
        failed |= convert_one(run, state, new, old, &mut running)
            .await
            .is_err();
    }
    for provider in running.into_values() {
        provider.close().await;
    }
    if failed { Err(Failed) } else { Ok(()) }
}

async fn convert_one(
    run: &Run<'_>,
    state: &mut State,
    new: &ResourceInstance,
    old: &ResourceInstance,
    running: &mut BTreeMap<ProviderSource, Arc<dyn Provider>>,
) -> Result<(), Failed> {
    let resource_address = new.abs_resource();
    let Some(resource) = state.resources.get(&resource_address) else {
        return Ok(());
    };
    let source = resource.provider.provider.clone();
    let Some((address, mode)) = target(run, new) else {
        // Without a block it is to be deleted, which takes a type its old provider knows.
        return if old.resource.kind == new.resource.kind {
            Ok(())
        } else {
            run.fail(unsupported_target(old, new))
        };
    };
    if old.resource.kind == new.resource.kind && source == address.provider {
        return Ok(());
    }
    let Some(instance) = resource.instances.get(&new.key).cloned() else {
        return Ok(());
    };
    let schemas = match run.blocks.provider_of.get(&address) {
        Some((ix, _)) => run.blocks.providers[ix.0].schemas.clone(),
        None => return Err(Failed),
    };
    if !schemas.capabilities.move_resource_state {
        return run.fail(Diagnostic::error(
            "Unsupported `moved` across resource types",
            format!(
                "The provider \"{}\" does not support moved operations across resource types and providers.",
                address.provider
            ),
        ));
    }
    let Ok(schema) = schemas.resource(mode, &new.resource.kind) else {
        return run.fail(unsupported_target(old, new));
    };
    let provider = match running.get(&address.provider) {
        Some(provider) => provider.clone(),
        None => match run.input.providers.start(&address.provider).await {
            Ok(provider) => {
                running.insert(address.provider.clone(), provider.clone());
                provider
            }
            Err(found) => return run.note(found),
        },
    };
    let taker = Taker {
        provider,
        address,
        schema,
    };
    if let Some(object) = &instance.current {
        let object = take_over(run, &taker, &source, old, new, object).await?;
        state.set_object(new, None, &taker.address, Some(object));
    }
    for (key, object) in &instance.deposed {
        let object = take_over(run, &taker, &source, old, new, object).await?;
        state.set_object(new, Some(key), &taker.address, Some(object));
    }
    Ok(())
}

/// The provider configuration that serves the block an instance is now of.
fn target(run: &Run<'_>, new: &ResourceInstance) -> Option<(ProviderConfig, Kind)> {
    let config = new.config();
    let block = run.index.resource(&config)?;
    let ix = run.index.find(&config.module)?;
    Some((
        run.index.provider(ix, &block.local_provider()),
        super::blocks::kind(new.resource.mode),
    ))
}

fn unsupported_target(old: &ResourceInstance, new: &ResourceInstance) -> Diagnostic {
    Diagnostic::error(
        "Resource type mismatch",
        format!(
            "{old} was moved to {new}, which is of a different type, but there is no block of that type to take it over."
        ),
    )
}

async fn take_over(
    run: &Run<'_>,
    taker: &Taker,
    source: &ProviderSource,
    old: &ResourceInstance,
    new: &ResourceInstance,
    object: &Object,
) -> Result<Arc<Object>, Failed> {
    let raw = match &object.attributes_flat {
        Some(flat) => RawState::Flatmap(serde_json::from_str(flat).unwrap_or_default()),
        None => RawState::Json(Bytes::copy_from_slice(object.attributes.as_bytes())),
    };
    let request = MoveState {
        source_provider: source.to_string(),
        source_type_name: old.resource.kind.clone(),
        source_version: i64::try_from(object.schema_version).unwrap_or(i64::MAX),
        source_state: raw,
        source_private: Bytes::copy_from_slice(&object.private),
        source_identity: object.identity.as_ref().map(|identity| {
            (
                i64::try_from(identity.version).unwrap_or(i64::MAX),
                Bytes::copy_from_slice(identity.value.as_bytes()),
            )
        }),
        target_type_name: new.resource.kind.clone(),
    };
    let answer = taker.provider.move_state(request).await;
    run.note(answer.diagnostics.unlocated(&new.to_string()))?;
    let bug = "This is a bug in the provider, which should be reported in the provider's own issue tracker.";
    let ty = taker.schema.block.implied_type();
    if answer.state.is_null() || !answer.state.ty().conforms_to(&ty) {
        return run.fail(Diagnostic::error(
            "Provider returned invalid value",
            format!(
                "The provider \"{}\" returned an invalid value when {old} was moved to {new}: it does not follow the schema.\n\n{bug}",
                taker.address.provider
            ),
        ));
    }
    if !answer.state.is_wholly_known() {
        return run.fail(Diagnostic::error(
            "Provider returned invalid value",
            format!(
                "The provider \"{}\" returned a value that is not wholly known when {old} was moved to {new}.\n\n{bug}",
                taker.address.provider
            ),
        ));
    }
    let present = Present {
        value: taker.schema.block.mark_sensitive(answer.state),
        private: answer.private,
        status: object.status,
        dependencies: object.dependencies.clone(),
        create_before_destroy: object.create_before_destroy,
        identity: answer.identity,
        deferred: None,
        stored: None,
    };
    run.store_object(&taker.schema, new, &present)
}
