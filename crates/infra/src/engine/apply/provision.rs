//! Provisioners: what runs once an object is made, or before it goes.

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Body, Marks, Type, Value};

use super::Applying;
use crate::address::ResourceInstance;
use crate::config::{Connection, Provisioner};
use crate::engine::events::Event;
use crate::engine::plan::{InstanceOf, ResourceBlock};
use crate::engine::run::{Failed, Provision};
use crate::engine::scope::Names;
use crate::engine::validate::connection as connection_schema;
use crate::engine::world::Repetition;

impl Applying<'_> {
    /// Runs the provisioners of a block for an instance that was just made.
    pub(super) async fn provision(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        itself: &Value,
        on_destroy: bool,
    ) -> Result<(), Failed> {
        let managed = &block.config.managed;
        let scope = Names {
            run: &self.run,
            table: instance.table,
            repetition: instance.repetition,
            itself: Some(itself),
        };
        for provisioner in managed
            .provisioners
            .iter()
            .filter(|found| found.when_destroy == on_destroy)
        {
            self.run_provisioner(
                provisioner,
                managed.connection.as_ref(),
                &instance.address,
                &scope,
            )
            .await?;
        }
        Ok(())
    }

    /// Runs the provisioners that a block has for the end of its objects.
    pub(super) async fn provision_destroy(
        &self,
        address: &ResourceInstance,
        itself: &Value,
    ) -> Result<(), Failed> {
        let run = &self.run;
        // A block that is gone leaves them to the `removed` block that speaks of it.
        let (provisioners, connection) = match run.index.resource(&address.config()) {
            Some(config) => (
                &config.managed.provisioners,
                config.managed.connection.as_ref(),
            ),
            None => match run.index.removed(address) {
                Some(removed) => (&removed.provisioners, removed.connection.as_ref()),
                None => return Ok(()),
            },
        };
        if !provisioners
            .iter()
            .any(|provisioner| provisioner.when_destroy)
        {
            return Ok(());
        }
        // Only the object itself and its key may be named here.
        let repetition = match &address.key {
            crate::address::Key::None => Repetition::default(),
            crate::address::Key::Int(index) => Repetition {
                count_index: Some(Value::number(*index)),
                each: None,
            },
            crate::address::Key::String(key) => Repetition {
                count_index: None,
                each: Some((Value::shared_string(key.clone()), Value::DYNAMIC)),
            },
        };
        let table = run.world.root();
        let scope = Names {
            run,
            table: &table,
            repetition: &repetition,
            itself: Some(itself),
        };
        for provisioner in provisioners.iter().filter(|found| found.when_destroy) {
            self.run_provisioner(provisioner, connection, address, &scope)
                .await?;
        }
        Ok(())
    }

    async fn run_provisioner(
        &self,
        provisioner: &Provisioner,
        shared: Option<&Connection>,
        address: &ResourceInstance,
        scope: &Names<'_>,
    ) -> Result<(), Failed> {
        let run = &self.run;
        let Some(schema) = run.input.provisioners.schema(&provisioner.kind) else {
            return run.fail(
                Diagnostic::error(
                    "Provisioner not available",
                    format!("There is no provisioner \"{}\".", provisioner.kind),
                )
                .at(provisioner.kind_range),
            );
        };
        let (config, mut diagnostics) = schema.decode(&provisioner.config, scope);
        // What the provisioner says of the connection goes before what the resource says for all of them.
        let connection = match (shared, &provisioner.connection) {
            (Some(shared), Some(own)) => {
                Some(Body::overridden(shared.config.clone(), own.config.clone()))
            }
            (Some(only), None) | (None, Some(only)) => Some(only.config.clone()),
            (None, None) => None,
        };
        let connection = match connection {
            None => Value::null(Type::Dynamic),
            Some(body) => {
                let (value, found) = connection_schema().decode(&body, scope);
                diagnostics.append(found);
                value
            }
        };
        let kind = &*provisioner.kind;
        if !diagnostics.has_errors() {
            let known = config.clone().unmark_deep().0;
            for mut problem in run.input.provisioners.validate(kind, &known) {
                problem.subject.get_or_insert(provisioner.range);
                diagnostics.push(problem);
            }
        }
        diagnostics.set_address(&address.to_string());
        run.note(diagnostics)?;
        let (config, marks) = config.unmark_deep();
        let hidden = marks.intersects(Marks::SENSITIVE | Marks::EPHEMERAL);
        let suppressed = if marks.intersects(Marks::SENSITIVE) {
            "(output suppressed due to sensitive value in config)"
        } else {
            "(output suppressed due to ephemeral value in config)"
        };
        run.event(&Event::ProvisionStart { address, kind });
        let output = |line: &str| {
            run.event(&Event::ProvisionOutput {
                address,
                kind,
                line: if hidden { suppressed } else { line },
            });
        };
        let done = run
            .input
            .provisioners
            .run(Provision {
                kind,
                config,
                directory: run.input.directory,
                connection: connection.unmark_deep().0,
                hidden,
                output: &output,
                cancel: &run.input.cancel,
            })
            .await;
        run.event(&Event::ProvisionDone {
            address,
            kind,
            failed: done.is_err(),
        });
        let Err(problem) = done else { return Ok(()) };
        if provisioner.on_failure_continue {
            tracing::warn!(%address, kind, problem, "a provisioner failed and is told to go on");
            return Ok(());
        }
        let diagnostic = Diagnostic::error(format!("{kind} provisioner error"), problem)
            .at(provisioner.range)
            .with_address(address.to_string());
        run.note(diagnostic)
    }
}
