//! `import` blocks, as far as they can be judged without a state.

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::{Expr, Traversal};

use super::Validating;
use crate::address::ConfigResource;
use crate::config::{Place, Resource};
use crate::engine::expand::expand;
use crate::engine::imports::import_id;
use crate::engine::index::{Index, ModuleIx};
use crate::engine::run::{Failed, Input};
use crate::engine::scope::Names;

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
