//! Functions that `with` replaces.
//!
//! The evaluator finds a replacement by the name that a call is written with, and knows only its own built-in functions as what
//! can be replaced. So wherever a function is replaced in any of the modules, all calls of it are written in one way: those of
//! a rule by its whole name, those of a function of ours as calls of a rule that calls it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lowering, bracketed};
use crate::builtins;
use crate::syntax::metadata;
use crate::syntax::tree::{Module, Node, Span, walk_rule};

/// The functions that are replaced somewhere.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    /// By whole name, how calls of it are written.
    calls: BTreeMap<String, String>,
    /// By module, the functions it has rules for.
    rules: BTreeMap<usize, Vec<String>>,
}

impl Replaced {
    /// Of modules, each with the names of its package's rules.
    pub(crate) fn of(modules: &[(&Module, &BTreeSet<String>)]) -> Self {
        let mut functions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (module, _) in modules {
            for rule in module.rules.iter().filter(|rule| rule.head.args.is_some()) {
                let mut path = metadata::package_path(module);
                path.extend(metadata::rule_path(rule));
                functions.insert(format!("data.{}", path.join(".")), path);
            }
        }
        let mut this = Replaced::default();
        for (at, (module, rules)) in modules.iter().enumerate() {
            let mut targets = Vec::new();
            for rule in &module.rules {
                walk_rule(rule, &mut |node| {
                    if let Node::With(with) = node {
                        targets.extend(with.target.dotted());
                    }
                    true
                });
            }
            for target in targets {
                let name = whole(module, rules, &target);
                if let Some(path) = functions.get(&name) {
                    this.calls.insert(name, bracketed(path));
                } else if builtins::is_own(&name)
                    && builtins::arity(&name).is_some_and(|arity| arity > 0)
                    && !this.calls.contains_key(&name)
                {
                    let package = bracketed(&metadata::package_path(module));
                    let call = format!("{package}[\"{}\"]", rule_for(&name));
                    this.calls.insert(name.clone(), call);
                    this.rules.entry(at).or_default().push(name);
                }
            }
        }
        this
    }

    /// The functions that a module is to have rules for.
    pub(super) fn rules(&self, module: usize) -> impl Iterator<Item = &String> {
        self.rules.get(&module).into_iter().flatten()
    }
}

/// The name of the rule that calls a built-in function.
pub(super) fn rule_for(function: &str) -> String {
    format!("__{}", function.replace('.', "_"))
}

/// What a name is called in full: `data.lib.f`, or as a built-in function is.
fn whole(module: &Module, rules: &BTreeSet<String>, name: &str) -> String {
    let (root, rest) = name
        .split_once('.')
        .map_or((name, None), |(root, rest)| (root, Some(rest)));
    let import = module
        .imports
        .iter()
        .find(|import| import.name().as_deref() == Some(root));
    if let Some(import) = import {
        let path = import.dotted();
        return rest.map_or(path.clone(), |rest| format!("{path}.{rest}"));
    }
    if root != "data" && rules.contains(root) {
        let package = metadata::package_path(module).join(".");
        return format!("data.{package}.{name}");
    }
    name.to_owned()
}

impl Lowering<'_> {
    /// Writes the name of a function that is called or replaced as all calls of it are written.
    pub(super) fn call(&mut self, at: Span, function: &str) {
        let Some((module, around)) = self.place else {
            return;
        };
        if around.replaced.calls.is_empty() {
            return;
        }
        let name = whole(module, around.rules, function);
        if let Some(call) = around.replaced.calls.get(&name) {
            self.edits.replace(at.start, at.end, call);
        }
    }
}
