//! Data sources, read while planning if all they need is known; and ephemeral resources.

use std::time::Instant;

use bytes::Bytes;
use consort_hcl::diagnostic::{Diagnostics, Severity};
use consort_hcl::{Marks, Value};

use super::Planning;
use super::managed::InstanceOf;
use super::resource::ResourceBlock;
use crate::address::Mode;
use crate::engine::blocks::Block;
use crate::engine::change::{Action, Change, DeferredReason, Identities, Reason};
use crate::engine::checks::{CheckStatus, Checkable};
use crate::engine::events::Event;
use crate::engine::objects::{Present, id_of};
use crate::engine::run::{Failed, Run, Standing};
use crate::engine::under_test::FailedCheck;
use crate::engine::values::within;
use crate::provider::objects::{planned_unknown, value_problems};
use crate::provider::{ReadData, Validate};
use crate::state::Status;

/// What came of reading a data source.
pub(in crate::engine) enum Read {
    Done(Value),
    /// The provider put it off.
    Deferred(DeferredReason),
}

impl Run<'_> {
    /// Reads a data source whose arguments are known.
    pub(in crate::engine) async fn read_data(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        config: &Value,
    ) -> Result<Read, Diagnostics> {
        let (plain, marks) = config.unmark_deep_with_paths();
        let located = |diagnostics: crate::provider::Diagnostics| {
            diagnostics.locate(&block.config.config, &instance.name)
        };
        let type_name = block.address.resource.kind.clone();
        let found = located(
            block
                .provider
                .validate_data(Validate {
                    type_name: type_name.clone(),
                    config: plain.clone(),
                })
                .await,
        );
        if found.has_errors() {
            return Err(found);
        }
        let meta = match self.provider_meta(block, instance.table) {
            Ok(meta) => meta,
            Err(Failed) => return Err(Diagnostics::new()),
        };
        self.event(&Event::ReadStart {
            address: &instance.address,
        });
        let start = Instant::now();
        let request = ReadData {
            address: instance.address.to_string(),
            type_name,
            config: plain.clone(),
            provider_meta: meta,
            deferral_allowed: self.may_defer(block.provider_ix),
        };
        let answer = block.provider.read_data(request).await;
        let found = located(answer.diagnostics);
        if found.has_errors() {
            return Err(found);
        }
        match self.deferred(block.provider_ix, answer.deferred, &instance.name) {
            Ok(None) => {}
            Ok(Some(reason)) => return Ok(Read::Deferred(reason)),
            Err(Failed) => return Err(Diagnostics::new()),
        }
        let invalid = |what: String| {
            Diagnostics::from(consort_hcl::Diagnostic::error(
                "Provider produced invalid object",
                format!(
                    "Provider {} {what}\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                    self.provider_config_name(block)
                ),
            ))
        };
        if answer.state.is_null() {
            return Err(Diagnostics::from(consort_hcl::Diagnostic::error(
                "Provider produced null object",
                format!(
                    "Provider {} produced a null value for {}.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                    self.provider_config_name(block),
                    instance.name
                ),
            )));
        }
        if !answer.state.is_wholly_known() {
            return Err(invalid(format!(
                "produced a value for {} that is not wholly known.",
                instance.name
            )));
        }
        let problems = value_problems(&planned_unknown(&block.schema.block, &plain), &answer.state);
        for problem in problems {
            tracing::warn!(address = %instance.name, %problem, "the provider changed an argument of a data source");
        }
        let value = block
            .schema
            .block
            .mark_sensitive(answer.state.mark_paths(&marks));
        self.event(&Event::ReadDone {
            address: &instance.address,
            took: start.elapsed(),
            id: id_of(&value).as_deref(),
        });
        let _ = self.note(found);
        Ok(Read::Done(value))
    }
}

impl Run<'_> {
    /// What a data source in a `check` block could not do is told, and stops nothing.
    pub(in crate::engine) fn nested_in_check(
        diagnostics: &mut Diagnostics,
        block: &ResourceBlock<'_>,
        module: &crate::address::ModuleInstance,
    ) {
        let Some(check) = &block.config.check else {
            return;
        };
        for diagnostic in diagnostics {
            diagnostic.origin = Some(std::sync::Arc::new(FailedCheck {
                kind: Checkable::Check,
                object: within(module, format!("check.{check}")),
                in_root: module.is_root(),
                nested_data: true,
                was_error: diagnostic.is_error(),
            }));
            diagnostic.severity = Severity::Warning;
        }
    }
}

impl Planning<'_> {
    pub(super) async fn plan_data(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        let run = &self.run;
        let address = &instance.address;
        run.preconditions(block, instance)?;
        let config = run.arguments(block, instance)?;
        let known = config.is_wholly_known();
        let pending = !self.only_looks() && self.dependencies_pending(block, instance);
        if !known || pending {
            let value = unread(block, &config);
            if self.only_looks() {
                return Ok(value);
            }
            let reason = if known {
                Reason::ReadBecauseDependencyPending
            } else {
                Reason::ReadBecauseConfigUnknown
            };
            self.add_read(block, instance, &value, reason);
            run.postconditions(block, instance, &value)?;
            return Ok(value);
        }
        let read = run.read_data(block, instance, &config).await;
        let value = match (read, &block.config.check) {
            (Ok(Read::Done(value)), _) => value,
            (Ok(Read::Deferred(reason)), _) => {
                let value = unread(block, &config);
                if self.options.mode == crate::engine::change::Mode::Normal {
                    let change = self.read_change(block, instance, &value, None);
                    self.defer_change(block, change, reason);
                }
                return Ok(value);
            }
            (Err(mut diagnostics), Some(check)) => {
                let block_name = run.block_address(block.ix, format!("check.{check}"));
                let object = within(&address.module, format!("check.{check}"));
                let message = diagnostics
                    .first_error()
                    .map(|error| error.summary.clone())
                    .unwrap_or_default();
                run.checks.lock().report(
                    Checkable::Check,
                    &block_name,
                    object,
                    CheckStatus::Fail,
                    vec![message],
                );
                Run::nested_in_check(&mut diagnostics, block, &address.module);
                let _ = run.note(diagnostics);
                unread(block, &config)
            }
            (Err(diagnostics), None) => {
                let _ = run.note(diagnostics);
                return Err(Failed);
            }
        };
        if block.config.check.is_some() && !self.only_looks() {
            self.add_read(block, instance, &value, Reason::ReadBecauseCheckNested);
        }
        if value.is_wholly_known() && self.options.mode != crate::engine::change::Mode::Destroy {
            let present = Present {
                value: value.clone(),
                private: Bytes::new(),
                status: Status::Ready,
                dependencies: std::sync::Arc::new([]),
                create_before_destroy: false,
                identity: None,
                deferred: None,
                stored: None,
            };
            let object = run.store_object(&block.schema, address, &present)?;
            let provider = &run.blocks.providers[block.provider_ix.0].address;
            self.refreshed
                .lock()
                .set_object(address, None, provider, Some(object));
        }
        run.postconditions(block, instance, &value)?;
        Ok(value)
    }

    fn add_read(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        value: &Value,
        reason: Reason,
    ) {
        let provider = self.run.blocks.providers[block.provider_ix.0]
            .address
            .clone();
        // The old result is of no use once it is to be read again.
        self.refreshed
            .lock()
            .set_object(&instance.address, None, &provider, None);
        let change = self.read_change(block, instance, value, Some(reason));
        self.results.lock().add(change);
    }

    fn read_change(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        value: &Value,
        reason: Option<Reason>,
    ) -> Change {
        Change {
            address: instance.address.clone(),
            previous_address: self.previous(&instance.address),
            deposed: None,
            provider: self.run.blocks.providers[block.provider_ix.0]
                .address
                .clone(),
            action: Action::Read,
            reason,
            before: Value::null(block.schema.block.implied_type()),
            after: value.clone(),
            replace_paths: Vec::new(),
            private: Bytes::new(),
            importing: None,
            generated_config: None,
            identity: Identities::default(),
        }
    }

    /// Whether something a block depends on by `depends_on`, or a managed resource it refers to, is about to
    /// change. A reference counts even where its value is known: who names a resource wants it to be there.
    pub(super) fn dependencies_pending(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> bool {
        let run = &self.run;
        let conditions =
            !block.config.preconditions.is_empty() || !block.config.postconditions.is_empty();
        let module = &instance.address.module;
        let results = self.results.lock();
        let is_pending = |resource: &crate::address::ConfigResource| {
            resource.resource.mode == Mode::Managed
                && results.pending.get(resource).is_some_and(|modules| {
                    modules
                        .iter()
                        .any(|changed| changed == module || changed.path() != module.path())
                })
        };
        if conditions {
            return run.blocks.depends_on(&run.index, block.node, is_pending);
        }
        let referred = run.blocks.graph.dependencies(block.node);
        run.blocks
            .explicit_dependencies(&run.index, block.ix, &block.config.depends_on)
            .into_iter()
            .chain(referred.iter().map(|(node, _)| *node))
            .any(|node| match run.blocks.graph[node] {
                Block::Resource(ix, resource) if resource.address.mode == Mode::Managed => {
                    is_pending(&crate::address::ConfigResource {
                        module: run.index.entry(ix).path.clone(),
                        resource: resource.address.clone(),
                    })
                }
                _ => false,
            })
    }

    pub(super) async fn open_ephemeral(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        self.run.preconditions(block, instance)?;
        let config = self.run.arguments(block, instance)?;
        let put_off = self.run.standing(block.provider_ix) == Standing::PutOff;
        let value = if put_off || !config.is_wholly_known() {
            let (plain, _) = config.unmark_deep();
            planned_unknown(&block.schema.block, &plain).with_marks(Marks::EPHEMERAL)
        } else {
            self.run.open(block, instance, config).await?
        };
        self.run.postconditions(block, instance, &value)?;
        Ok(value)
    }
}

fn unread(block: &ResourceBlock<'_>, config: &Value) -> Value {
    let (plain, marks) = config.unmark_deep_with_paths();
    let value = planned_unknown(&block.schema.block, &plain).mark_paths(&marks);
    block.schema.block.mark_sensitive(value)
}
