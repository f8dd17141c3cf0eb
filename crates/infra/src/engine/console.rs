//! Expressions evaluated in the root module, against a state or against a plan.

use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::evaluate::{Function, Resolution, Scope};
use consort_hcl::{Expr, Traversal, Value};

use super::blocks::kind;
use super::index::ModuleIx;
use super::plan::{PlanOptions, Planning, walked};
use super::run::{Input, Run};
use super::scope::Names;
use super::settled::Settled;
use crate::config::{Place, check_in_place};
use crate::state::State;

/// The values of a configuration, to be asked for. Close it at the end.
pub struct Console<'a>(Values<'a>);

enum Values<'a> {
    OfState(Box<Settled<'a>>),
    OfPlan(Box<Planning<'a>>),
}

impl<'a> Console<'a> {
    /// By what the state holds. There are diagnostics also if there is a console: some values are unknown then.
    pub async fn of_state(
        input: &'a Input<'a>,
        state: &'a State,
    ) -> (Option<Console<'a>>, Diagnostics) {
        match Settled::whole(input, state).await {
            Err(diagnostics) => (None, diagnostics),
            Ok(settled) => {
                settled.walk().await;
                let diagnostics = std::mem::take(&mut *settled.run.diagnostics.lock());
                (
                    Some(Console(Values::OfState(Box::new(settled)))),
                    diagnostics,
                )
            }
        }
    }

    /// By what a plan, which is made now, would bring about.
    pub async fn of_plan(
        input: &'a Input<'a>,
        options: &'a PlanOptions,
        state: &State,
    ) -> (Option<Console<'a>>, Diagnostics) {
        match walked(input, options, state).await {
            Err(diagnostics) => (None, diagnostics),
            Ok(planning) => {
                let diagnostics = std::mem::take(&mut *planning.run.diagnostics.lock());
                (
                    Some(Console(Values::OfPlan(Box::new(planning)))),
                    diagnostics,
                )
            }
        }
    }

    fn run(&self) -> &Run<'a> {
        match &self.0 {
            Values::OfState(settled) => &settled.run,
            Values::OfPlan(planning) => &planning.run,
        }
    }

    /// Evaluates an expression as one of the root module. `extra` are functions beside the language's.
    pub fn evaluate(
        &self,
        expr: &Expr,
        extra: &dyn Fn(&str) -> Option<Arc<Function>>,
    ) -> (Value, Diagnostics) {
        let run = self.run();
        let schema_of = |resource: &crate::config::Resource| {
            run.schemas
                .get(&resource.provider)?
                .resource(kind(resource.address.mode), &resource.address.kind)
                .ok()
        };
        let mut suggestions = 16;
        let diagnostics = check_in_place(
            run.index.module(ModuleIx::ROOT),
            &expr.references(),
            Place::default(),
            &schema_of,
            &mut suggestions,
        )
        .diagnostics;
        if diagnostics.has_errors() {
            return (Value::DYNAMIC, diagnostics);
        }
        let table = run.world.root();
        let scope = WithFunctions {
            names: Names::of_module(run, &table),
            extra,
        };
        expr.evaluate(&scope)
    }

    /// Ends the providers that functions were called of.
    pub async fn close(self) {
        if let Values::OfPlan(planning) = &self.0 {
            planning.run.close_ephemeral(None).await;
        }
        self.run().close_providers().await;
    }
}

struct WithFunctions<'s> {
    names: Names<'s>,
    extra: &'s dyn Fn(&str) -> Option<Arc<Function>>,
}

impl Scope for WithFunctions<'_> {
    fn variable(&self, root: &str) -> Option<Value> {
        self.names.variable(root)
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        (self.extra)(name).or_else(|| self.names.function(name))
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        self.names.function_names()
    }

    fn explain_unknown_function(&self, name: &str) -> Option<(String, String)> {
        self.names.explain_unknown_function(name)
    }

    fn sources(&self) -> Option<&consort_hcl::Sources> {
        self.names.sources()
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        self.names.resolve(traversal)
    }
}
