//! What is wrong with modules before anything is evaluated: calls of functions there are not, or with too few or too many operands,
//! imports that hide each other, functions that v1 has no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::builtins;
use crate::engine::{Error, Kind, Source, Version};
use crate::syntax::{Node, Span, TermKind, metadata, walk_rule};

/// Functions that Rego v1 does not know any more.
const DEPRECATED: [&str; 12] = [
    "all",
    "any",
    "cast_array",
    "cast_boolean",
    "cast_null",
    "cast_object",
    "cast_set",
    "cast_string",
    "net.cidr_overlap",
    "re_match",
    "set_diff",
    "concat_all",
];

fn at(source: &Source, span: Span, kind: Kind, message: String) -> Error {
    Error::new(kind, message).at(&source.file, span.line, span.column)
}

/// The first thing that is wrong.
pub(crate) fn modules(sources: &[Arc<Source>]) -> Result<(), Error> {
    let mut functions: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources {
        let package = metadata::package_path(&source.tree).join(".");
        for rule in &source.tree.rules {
            let Some((args, _)) = &rule.head.args else {
                continue;
            };
            let path = format!("data.{package}.{}", metadata::rule_path(rule).join("."));
            let known = functions.entry(path.clone()).or_insert(args.len());
            if *known != args.len() {
                let message = format!(
                    "conflicting rules {path} found: functions with {known} and {} operands",
                    args.len()
                );
                return Err(at(source, rule.span, Kind::Type, message));
            }
        }
    }
    sources
        .iter()
        .try_for_each(|source| module(source, &functions))
}

fn module(source: &Source, functions: &BTreeMap<String, usize>) -> Result<(), Error> {
    let package = metadata::package_path(&source.tree).join(".");
    let v1 = source.version == Version::V1
        || source
            .tree
            .imports
            .iter()
            .any(|import| import.dotted() == "rego.v1");
    let mut imports: BTreeMap<String, String> = BTreeMap::new();
    for import in &source.tree.imports {
        let path = import.dotted();
        if path.starts_with("rego.") || path.starts_with("future.") {
            continue;
        }
        let Some(name) = import.name() else { continue };
        if let Some(other) = imports.insert(name.clone(), path.clone())
            && v1
        {
            let message = format!("import must not shadow import {other}");
            return Err(
                at(source, import.span, Kind::Compile, message).hint(format!(
                    "give one of them another name: `import {path} as ...`"
                )),
            );
        }
    }
    let mut wrong = None;
    for rule in &source.tree.rules {
        let check = |span: Span, name: &str, operands: usize| -> Result<(), Error> {
            let (root, rest) = name.split_once('.').unwrap_or((name, ""));
            let resolved = match imports.get(root) {
                Some(path) if rest.is_empty() => path.clone(),
                Some(path) => format!("{path}.{rest}"),
                None if root == "data" || root == "input" => name.to_owned(),
                None => format!("data.{package}.{name}"),
            };
            let arity = match functions.get(&resolved) {
                Some(arity) => *arity,
                None if imports.contains_key(root) || matches!(root, "data" | "input") => {
                    return Err(at(
                        source,
                        span,
                        Kind::Type,
                        format!("undefined function {resolved}"),
                    ));
                }
                None if name == "print" => return Ok(()),
                None => match builtins::arity(name) {
                    Some(_) if v1 && DEPRECATED.contains(&name) => {
                        return Err(at(
                            source,
                            span,
                            Kind::Type,
                            format!("deprecated built-in function calls in expression: {name}"),
                        )
                        .hint("Rego v1 has it no more; version v0 still does"));
                    }
                    Some(arity) => arity,
                    None => {
                        return Err(at(
                            source,
                            span,
                            Kind::Type,
                            format!("undefined function {name}"),
                        ));
                    }
                },
            };
            // One more is where the result goes.
            if operands != arity && operands != arity + 1 {
                let message = format!(
                    "{name}: arity mismatch: it takes {arity} operand{}, {operands} given",
                    if arity == 1 { "" } else { "s" }
                );
                return Err(at(source, span, Kind::Type, message));
            }
            Ok(())
        };
        walk_rule(rule, &mut |node| {
            if let Node::Term(term) = node
                && let TermKind::Call { function, args } = &term.kind
                && let Some(name) = function.dotted()
                && wrong.is_none()
            {
                wrong = check(term.span, &name, args.len()).err();
            }
            wrong.is_none()
        });
        if let Some(error) = wrong.take() {
            return Err(error);
        }
    }
    Ok(())
}
