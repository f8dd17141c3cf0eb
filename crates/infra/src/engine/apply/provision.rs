//! Provisioners: what runs once an object is made, or before it goes.

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Marks, Value};

use super::Applying;
use crate::address::ResourceInstance;
use crate::config::{Connection, Provisioner};
use crate::engine::events::Event;
use crate::engine::plan::{InstanceOf, ResourceBlock};
use crate::engine::run::Failed;
use crate::engine::scope::Names;
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
        let Some(config) = run.index.resource(&address.config()) else {
            return Ok(());
        };
        if !config
            .managed
            .provisioners
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
        for provisioner in config
            .managed
            .provisioners
            .iter()
            .filter(|found| found.when_destroy)
        {
            self.run_provisioner(
                provisioner,
                config.managed.connection.as_ref(),
                address,
                &scope,
            )
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
        let mut connection = std::collections::BTreeMap::new();
        for part in shared.into_iter().chain(&provisioner.connection) {
            for attribute in part.config.arguments() {
                let (value, found) = attribute.expr.evaluate(scope);
                diagnostics.append(found);
                connection.insert(attribute.name.clone(), value);
            }
        }
        diagnostics.set_address(&address.to_string());
        run.note(diagnostics)?;
        let connection = Value::object(connection);
        let (config, marks) = config.unmark_deep();
        let (connection, more) = connection.unmark_deep();
        let hidden = (marks | more).intersects(Marks::SENSITIVE | Marks::EPHEMERAL);
        let kind = &*provisioner.kind;
        run.event(&Event::ProvisionStart { address, kind });
        let output = |line: &str| {
            if !hidden {
                run.event(&Event::ProvisionOutput {
                    address,
                    kind,
                    line,
                });
            }
        };
        if hidden {
            let line = "(output suppressed due to sensitive value in config)";
            run.event(&Event::ProvisionOutput {
                address,
                kind,
                line,
            });
        }
        let done = run
            .input
            .provisioners
            .run(kind, config, connection, &output)
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
