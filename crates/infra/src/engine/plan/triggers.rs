//! `replace_triggered_by`.

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::syntax::Selection;
use consort_hcl::{Expr, Traversal, Value};

use super::Planning;
use crate::address::ResourceInstance;
use crate::config::{Reference, Subject};
use crate::engine::change::Action;
use crate::engine::run::Failed;
use crate::engine::world::{ModuleTable, Repetition};

impl Planning<'_> {
    /// Whether a change of something named here calls for a replacement.
    pub(super) fn triggered(
        &self,
        table: &ModuleTable,
        address: &ResourceInstance,
        exprs: &[Expr],
        repetition: &Repetition,
    ) -> Result<bool, Failed> {
        for expr in exprs {
            if self.is_triggered(table, address, expr, repetition)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_triggered(
        &self,
        table: &ModuleTable,
        address: &ResourceInstance,
        expr: &Expr,
        repetition: &Repetition,
    ) -> Result<bool, Failed> {
        let Some(traversal) = constant(expr, repetition) else {
            return self.run.fail(
                Diagnostic::error(
                    "Invalid replace_triggered_by expression",
                    "Unexpected expression found in replace_triggered_by.",
                )
                .at(expr.range())
                .with_address(address.to_string()),
            );
        };
        let reference = match Reference::parse(&traversal) {
            Ok(reference) => reference,
            Err(diagnostic) => return self.run.fail(*diagnostic),
        };
        let Subject::Resource(resource, key) = &reference.subject else {
            return Ok(false);
        };
        let whole = resource.within(&table.address);
        let results = self.results.lock();
        let of_instance = results
            .by_address
            .get(&whole.instance(key.clone()))
            .copied();
        let indices: Vec<usize> = match of_instance {
            Some(index) => vec![index],
            None if key.is_none() => results.by_resource.get(&whole).cloned().unwrap_or_default(),
            None => Vec::new(),
        };
        let replaces = |action: Action| {
            matches!(
                action,
                Action::Update | Action::DeleteThenCreate | Action::CreateThenDelete
            )
        };
        let remaining = reference.remaining(&traversal);
        if remaining.is_empty() {
            return Ok(indices
                .iter()
                .any(|index| replaces(results.changes[*index].action)));
        }
        let Some(change) = indices.first().map(|index| &results.changes[*index]) else {
            return Ok(false);
        };
        if !replaces(change.action) {
            return Ok(false);
        }
        let at = |value: &Value| -> Option<Value> {
            let mut value = value.clone();
            for step in remaining {
                value = match step {
                    consort_hcl::traversal::Step::Attribute { name, .. } => {
                        value.attribute(name).ok()?
                    }
                    consort_hcl::traversal::Step::Index { key, .. } => value.index(key).ok()?,
                    consort_hcl::traversal::Step::Splat { .. } => return None,
                };
            }
            Some(value.unmark_deep().0)
        };
        Ok(match (at(&change.before), at(&change.after)) {
            (Some(before), Some(after)) => before.surely_equals(&after) != Some(true),
            (None, None) => false,
            _ => true,
        })
    }
}

/// The reference an expression makes, with `count.index` and `each.key` in its brackets put in.
pub(in crate::engine) fn constant(expr: &Expr, repetition: &Repetition) -> Option<Traversal> {
    match expr.as_selection()? {
        Selection::Reference(traversal) => Some(traversal),
        Selection::Steps { source, steps } => {
            let mut traversal = constant(&source, repetition)?;
            traversal.steps.extend(steps);
            Some(traversal)
        }
        Selection::Index { collection, key } => {
            let mut traversal = constant(&collection, repetition)?;
            let range = key.range();
            let keyword = key.as_traversal()?;
            let key = match (&*keyword.root, keyword.attribute(0).map(|name| &**name)) {
                ("count", Some("index")) => repetition.count_index.clone(),
                ("each", Some("key")) => repetition.each.as_ref().map(|(key, _)| key.clone()),
                ("each", Some("value")) => repetition.each.as_ref().map(|(_, value)| value.clone()),
                _ => None,
            }?;
            traversal
                .steps
                .push(consort_hcl::traversal::Step::Index { key, range });
            Some(traversal)
        }
    }
}
