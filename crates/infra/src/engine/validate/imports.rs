//! `import` blocks, as far as they can be judged without a state.

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::traversal::Step;
use consort_hcl::{Expr, Traversal};

use super::Validating;
use crate::address::ConfigResource;
use crate::config::{Import, Place, Resource};
use crate::engine::expand::expand;
use crate::engine::imports::import_id;
use crate::engine::index::{Index, ModuleIx};
use crate::engine::plan::constant_address;
use crate::engine::run::{Failed, Input};
use crate::engine::scope::Names;
use crate::engine::world::Repetition;

/// Targets inside modules that have no block there; for those of the root one may be generated.
pub(super) fn targets(_input: &Input<'_>, index: &Index<'_>) -> Diagnostics {
    index
        .module(ModuleIx::ROOT)
        .imports
        .iter()
        .filter(|import| {
            !import.target.module.is_root() && index.resource(&import.target).is_none()
        })
        .map(|import| {
            Diagnostic::error(
                "Configuration for import target does not exist",
                format!(
                    "The configuration for the given import target {} does not exist. All target instances must have an associated configuration to be imported.",
                    import.target
                ),
            )
            .at(import.to.range())
        })
        .collect()
}

impl Validating<'_> {
    /// The ids of the blocks that import into a resource.
    pub(super) fn import_ids(&self, ix: ModuleIx, config: &Resource) -> Result<(), Failed> {
        let run = &self.run;
        if self.imports.is_empty() {
            return Ok(());
        }
        let address = ConfigResource {
            module: run.index.entry(ix).path.clone(),
            resource: config.address.clone(),
        };
        let mut done = Ok(());
        for import in self.imports.get(&address).into_iter().flatten() {
            let table = run.world.root();
            let scope = Names::of_module(run, &table);
            if let Some(expr) = &import.for_each {
                self.references(ModuleIx::ROOT, &expr.references(), Place::default())?;
            }
            let keys = match expand(None, import.for_each.as_ref(), &scope) {
                Ok(keys) => keys,
                Err(diagnostics) => {
                    done = done.and(run.note(diagnostics));
                    continue;
                }
            };
            let place = Place {
                each: import.for_each.is_some(),
                ..Place::default()
            };
            let given: Vec<Traversal> = import
                .id
                .iter()
                .chain(&import.identity)
                .flat_map(Expr::references)
                .collect();
            self.references(ModuleIx::ROOT, &given, place)?;
            let Some(expr) = &import.id else { continue };
            for (_, repetition) in keys.instances() {
                if let Some(wrong) = wrong_key(import, config, &repetition) {
                    done = done.and(run.note(wrong));
                    continue;
                }
                let scope = Names::repeated(run, &table, &repetition);
                let (value, mut diagnostics) = expr.evaluate(&scope);
                if !diagnostics.has_errors()
                    && value.is_known()
                    && let Err(wrong) = import_id(&value, expr.range())
                {
                    diagnostics.push(*wrong);
                }
                done = done.and(run.note(diagnostics));
            }
        }
        done
    }
}

/// A target whose key does not go with the repetition of its block.
fn wrong_key(import: &Import, config: &Resource, repetition: &Repetition) -> Option<Diagnostic> {
    let traversal = constant_address(&import.to, repetition)?;
    let key = match traversal.steps.last() {
        Some(Step::Index { key, .. }) => Some(key),
        _ => None,
    };
    let number = key.is_some_and(|key| key.as_number().is_some());
    let why = match (&config.count, &config.for_each, key) {
        (Some(_), _, key) if key.is_none() || !number => "is using count",
        (_, Some(_), key) if key.is_none() || number => "is using for_each",
        (None, None, Some(_)) if number => "does not use count",
        (None, None, Some(_)) => "does not use for_each",
        _ => return None,
    };
    Some(
        Diagnostic::error(
            "Invalid import 'to' expression",
            format!("The target resource {why}."),
        )
        .at(import.to.range()),
    )
}
