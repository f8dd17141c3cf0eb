//! Statements whose evaluation is noted.

use super::{Lowering, declared, scopes, variables};
use crate::syntax::metadata;
use crate::syntax::tree::{Literal, Node, Rule, walk_literal};

/// A statement whose evaluation is noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    /// The file, as it was named when it was added.
    pub file: String,
    pub line: u32,
    /// The rule it is in: `data.shop.deny`.
    pub rule: String,
    /// The statement on one line.
    pub text: String,
}

impl Lowering<'_> {
    /// Writes calls around the statements of a rule that note that they were come to, and that they held.
    pub(super) fn trace(&mut self, file: &str, rule: &Rule, package: &[String]) {
        let Some(points) = self.points.as_deref_mut() else {
            return;
        };
        let path = format!(
            "data.{}.{}",
            package.join("."),
            metadata::rule_path(rule).join(".")
        );
        let mut names: Vec<String> = Vec::new();
        for arg in rule.head.args.iter().flat_map(|(args, _)| args) {
            variables(arg, &mut names);
        }
        let bodies = rule
            .body
            .iter()
            .chain(&rule.more)
            .chain(rule.elses.iter().filter_map(|branch| branch.body.as_ref()));
        for body in bodies {
            let mut names = names.clone();
            for (at, literal) in body.literals.iter().enumerate() {
                declared(literal, &mut names);
                let number = points.len();
                let text = self.text[literal.span.start..literal.span.end]
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ");
                points.push(Point {
                    file: file.to_owned(),
                    line: literal.span.line,
                    rule: path.clone(),
                    text,
                });
                let mut seen = Vec::new();
                mentioned(literal, &names, &mut seen);
                let values: Vec<String> = seen
                    .iter()
                    .map(|name| {
                        if self.renamed.contains(name) {
                            format!("\"{name}\": {}", scopes::renamed(name))
                        } else {
                            format!("\"{name}\": {name}")
                        }
                    })
                    .collect();
                let (open, close) = if body.braces {
                    ("", "")
                } else {
                    (
                        if at == 0 { "{ " } else { "" },
                        if at + 1 == body.literals.len() {
                            " }"
                        } else {
                            ""
                        },
                    )
                };
                self.edits.replace(
                    literal.span.start,
                    literal.span.start,
                    format!("{open}internal.trace_point({number}, false, {{}}); "),
                );
                let end = literal.span.end;
                self.edits.replace(
                    end,
                    end,
                    format!(
                        "; internal.trace_point({number}, true, {{{}}}){close}",
                        values.join(", ")
                    ),
                );
            }
        }
    }
}

/// Those of the names that are in a statement, outside of what has a scope of its own.
fn mentioned(literal: &Literal, names: &[String], seen: &mut Vec<String>) {
    if literal.negated {
        return;
    }
    walk_literal(literal, &mut |node| match node {
        Node::Term(term) => {
            if let Some(name) = term.var()
                && names.iter().any(|known| known == name)
                && !seen.iter().any(|known| known == name)
            {
                seen.push(name.to_owned());
            }
            true
        }
        Node::Block => false,
        _ => true,
    });
}
