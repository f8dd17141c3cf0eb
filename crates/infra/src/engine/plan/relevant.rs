//! Which attributes have a part in the changes: what their expressions refer to, through locals, variables
//! and modules.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use consort_hcl::traversal::Step as Written;
use consort_hcl::{Expr, Path, Step, Traversal};

use super::Planning;
use crate::address::{Key, ModuleInstance, ResourceInstance};
use crate::config::{self, Reference, Subject};
use crate::engine::change::{Action, Change, OutputChange};
use crate::engine::index::{Index, ModuleIx};

struct Search<'s> {
    index: &'s Index<'s>,
    seen: HashSet<String>,
    open: Vec<(ModuleInstance, Traversal)>,
    found: BTreeMap<String, (ResourceInstance, Path)>,
}

impl Planning<'_> {
    /// The attributes of resources that the changes follow from.
    pub(super) fn relevant(
        &self,
        changes: &[Change],
        outputs: &BTreeMap<Arc<str>, OutputChange>,
    ) -> Vec<(ResourceInstance, Path)> {
        let index = &self.run.index;
        let mut search = Search {
            index,
            seen: HashSet::new(),
            open: Vec::new(),
            found: BTreeMap::new(),
        };
        // All instances of a block in one module instance refer to the same: they stand side by side.
        let mut last = None;
        for change in changes
            .iter()
            .filter(|change| change.action != Action::NoOp && change.deposed.is_none())
        {
            let module = &change.address.module;
            let of = (module, &change.address.resource);
            if last.replace(of) == Some(of) {
                continue;
            }
            let block = change.address.config();
            let Some(ix) = index.find(&block.module) else {
                continue;
            };
            let Some(resource) = index.resource(&block) else {
                continue;
            };
            search.push_block(self, module, ix, resource);
        }
        let declared = &index.module(ModuleIx::ROOT).outputs;
        for (name, change) in outputs {
            if change.action != Action::NoOp
                && let Some(output) = declared.get(name)
            {
                search.push_expr(&ModuleInstance::root(), output.value.as_ref());
            }
        }
        // Outputs of modules are not kept in the state: as Terraform sees it they come anew with every plan.
        for table in self.run.world.all() {
            if table.address.is_root() {
                continue;
            }
            let declared = &index.module(table.ix).outputs;
            for (name, value) in &*table.outputs.read() {
                if !value.is_null()
                    && let Some(output) = declared.get(name)
                {
                    search.push_expr(&table.address, output.value.as_ref());
                }
            }
        }
        while let Some((module, traversal)) = search.open.pop() {
            search.follow(self, &module, &traversal);
        }
        search.found.into_values().collect()
    }
}

impl Search<'_> {
    fn push(&mut self, module: &ModuleInstance, traversal: Traversal) {
        if self.seen.insert(format!("{module}:{}", traversal.text())) {
            self.open.push((module.clone(), traversal));
        }
    }

    fn push_block(
        &mut self,
        planning: &Planning<'_>,
        module: &ModuleInstance,
        ix: ModuleIx,
        resource: &config::Resource,
    ) {
        let blocks = &planning.run.blocks;
        let Some(node) = blocks.resource_node(ix, &resource.address) else {
            return;
        };
        let references = blocks.arguments(node);
        self.push_repetition(
            module,
            &references,
            resource.count.as_ref(),
            resource.for_each.as_ref(),
        );
        for traversal in references.iter() {
            self.push(module, traversal.clone());
        }
    }

    /// What decides how often a block is there counts where the block looks at `count` or `each`.
    fn push_repetition(
        &mut self,
        module: &ModuleInstance,
        references: &[Traversal],
        count: Option<&Expr>,
        for_each: Option<&Expr>,
    ) {
        let looks_at = |root: &str| references.iter().any(|traversal| &*traversal.root == root);
        if count.is_some() && looks_at("count") {
            self.push_expr(module, count);
        }
        if for_each.is_some() && looks_at("each") {
            self.push_expr(module, for_each);
        }
    }

    fn push_expr(&mut self, module: &ModuleInstance, expr: Option<&Expr>) {
        for traversal in expr.map(Expr::references).unwrap_or_default() {
            self.push(module, traversal);
        }
    }

    fn follow(&mut self, planning: &Planning<'_>, module: &ModuleInstance, traversal: &Traversal) {
        let Ok(reference) = Reference::parse(traversal) else {
            return;
        };
        let Some(ix) = self.index.find(&module.path()) else {
            return;
        };
        let declared = self.index.module(ix);
        match &reference.subject {
            Subject::Resource(address, key) => {
                let remaining = reference.remaining(traversal);
                let instance = ResourceInstance {
                    module: module.clone(),
                    resource: address.clone(),
                    key: key.clone(),
                };
                let path = Path(remaining.iter().filter_map(step).collect());
                self.found
                    .insert(format!("{instance}\u{0}{path}"), (instance, path));
                let Some(resource) = declared.resources.get(address) else {
                    return;
                };
                match remaining.first().and_then(Written::attribute) {
                    Some(name) => {
                        let own: Vec<Traversal> = resource
                            .config
                            .arguments()
                            .filter(|attribute| attribute.name == *name)
                            .flat_map(|attribute| attribute.expr.references())
                            .collect();
                        self.push_repetition(
                            module,
                            &own,
                            resource.count.as_ref(),
                            resource.for_each.as_ref(),
                        );
                        for traversal in own {
                            self.push(module, traversal);
                        }
                    }
                    None => self.push_block(planning, module, ix, resource),
                }
            }
            Subject::Local(name) => {
                self.push_expr(module, declared.locals.get(name).map(|local| &local.expr));
            }
            Subject::Variable(name) => {
                let (Some((caller, _)), Some((_, call))) =
                    (module.split(), self.index.entry(ix).call)
                else {
                    return;
                };
                let given: Vec<Traversal> = call
                    .config
                    .arguments()
                    .filter(|attribute| attribute.name == *name)
                    .flat_map(|attribute| attribute.expr.references())
                    .collect();
                let repeated = (call.count.as_ref(), call.for_each.as_ref());
                self.push_repetition(&caller, &given, repeated.0, repeated.1);
                for traversal in given {
                    self.push(&caller, traversal);
                }
            }
            Subject::ModuleOutput(name, key, output) => {
                self.follow_output(ix, module, name, key, Some(output));
            }
            Subject::Module(name, key) => self.follow_output(ix, module, name, key, None),
            _ => {}
        }
    }

    fn follow_output(
        &mut self,
        ix: ModuleIx,
        module: &ModuleInstance,
        name: &Arc<str>,
        key: &Key,
        output: Option<&Arc<str>>,
    ) {
        let Some(child) = self.index.entry(ix).children.get(name) else {
            return;
        };
        let inside = module.child(name.clone(), key.clone());
        for declared in self.index.module(*child).outputs.values() {
            if output.is_none_or(|output| *output == declared.name) {
                self.push_expr(&inside, declared.value.as_ref());
            }
        }
    }
}

fn step(step: &Written) -> Option<Step> {
    match step {
        Written::Attribute { name, .. } => Some(Step::Attribute(name.clone())),
        Written::Index { key, .. } => Some(Step::Index(key.clone())),
        Written::Splat { .. } => None,
    }
}
