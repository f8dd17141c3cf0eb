//! Operands of what is negated.
//!
//! In OPA `not` holds where what it negates is undefined or false, but not where an operand of it is undefined: its compiler
//! takes calls and references out of a statement before it negates it, and without their value the body has none either. So
//! `not startswith(input.name, "a")` says nothing of an input without a name, and neither does `not input.size > 3`. Of
//! `==` only calls are taken out: `not input.kind == "Pod"` holds where there is no kind. What stands alone (`not input.x`)
//! is not taken out, the keys of it are.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Edits, Lowering};
use crate::syntax::tree::{Literal, LiteralKind, Node, Rule, Step, Term, TermKind, walk_term};

/// What names of variables that are made here begin with.
pub(crate) const OPERAND: &str = "__operand";

/// The names that stand for rules and documents in a module: those of its imports and rules, and of the package's others.
pub(super) fn documents(own: &[String], rules: &BTreeSet<String>) -> BTreeSet<String> {
    let roots = ["input", "data"].map(str::to_owned);
    roots.iter().chain(own).chain(rules).cloned().collect()
}

impl Lowering<'_> {
    /// Notes the body of a rule that has no braces: a second statement in it needs them.
    pub(super) fn unbraced(&mut self, rule: &Rule) {
        // What is traced has got them already.
        if self.points.is_some() {
            return;
        }
        let branches = rule.elses.iter().filter_map(|branch| branch.body.as_ref());
        for body in rule.body.iter().chain(branches) {
            if let (false, [literal]) = (body.braces, body.literals.as_slice()) {
                self.bare.insert(literal.span.start);
            }
        }
    }

    /// Gives the operands of a negated statement statements of their own before it.
    pub(super) fn negation(&mut self, literal: &Literal) {
        let LiteralKind::Term(term) = &literal.kind else {
            return;
        };
        let mut operands = Vec::new();
        if literal.negated {
            self.of_statement(term, &mut operands);
        }
        if operands.is_empty() {
            return;
        }
        let with = match (literal.with.first(), literal.with.last()) {
            (Some(first), Some(last)) => {
                let text = self.apart(first.span.start, last.span.end, |this| {
                    for with in &literal.with {
                        if this.node(Node::With(with)) {
                            this.term(&with.target);
                            this.term(&with.value);
                        }
                    }
                });
                // The original stays where it is, with its line breaks.
                format!(" {}", text.replace('\n', " "))
            }
            _ => String::new(),
        };
        let bare = self.bare.contains(&literal.span.start);
        let mut before = if bare { "{ ".to_owned() } else { String::new() };
        for operand in operands {
            let (start, end) = (operand.span.start, operand.span.end);
            let text = self.apart(start, end, |this| this.term(operand));
            self.made += 1;
            let name = format!("{OPERAND}{}", self.made);
            let _ = write!(before, "{name} := {text}{with}; ");
            self.edits.replace(start, end, name);
            self.moved.insert((start, end));
        }
        let (start, end) = (literal.span.start, literal.span.end);
        self.edits.replace(start, start, before);
        if bare {
            self.edits.replace(end, end, " }");
        }
    }

    /// A stretch of the text as `lower` changes it, without changing it at its place.
    pub(super) fn apart(
        &mut self,
        start: usize,
        end: usize,
        lower: impl FnOnce(&mut Self),
    ) -> String {
        let known = self.edits.0.len();
        lower(self);
        let mut edits = self.edits.0.split_off(known);
        // What was noted before and only stands beside it belongs to others.
        let within = |edit: &&(usize, usize, String)| edit.0 < edit.1;
        edits.extend(self.edits.0.iter().filter(within).cloned());
        Edits(edits).render(self.text, start, end)
    }

    /// What is taken out of a whole statement.
    fn of_statement<'t>(&self, term: &'t Term, found: &mut Vec<&'t Term>) {
        match &term.kind {
            TermKind::Paren(inner) => self.of_statement(inner, found),
            TermKind::Infix {
                op: "==" | "=",
                left,
                right,
            } => {
                self.of_side(left, found);
                self.of_side(right, found);
            }
            TermKind::Infix { left, right, .. } => {
                self.of_operand(left, found);
                self.of_operand(right, found);
            }
            TermKind::In {
                key,
                value,
                collection,
            } => {
                for operand in key.iter().chain([value, collection]) {
                    self.of_operand(operand, found);
                }
            }
            TermKind::Call { args, .. } => {
                for operand in args {
                    self.of_operand(operand, found);
                }
            }
            TermKind::Template(_) => {}
            _ => self.of_side(term, found),
        }
    }

    /// What is taken out of one side of an equality, and of what stands alone.
    fn of_side<'t>(&self, term: &'t Term, found: &mut Vec<&'t Term>) {
        match &term.kind {
            TermKind::Paren(inner) => self.of_side(inner, found),
            TermKind::Ref { head, path } => {
                if head.var().is_none() {
                    self.of_operand(head, found);
                }
                for step in path {
                    if let Step::Bracket(key) = step {
                        self.of_operand(key, found);
                    }
                }
            }
            TermKind::Var(_) => {}
            _ => self.of_operand(term, found),
        }
    }

    fn of_operand<'t>(&self, term: &'t Term, found: &mut Vec<&'t Term>) {
        match &term.kind {
            TermKind::Call { .. } | TermKind::Infix { .. } | TermKind::In { .. } => {
                found.push(term);
            }
            // What OPA refuses as unsafe is left to the evaluator.
            TermKind::Ref { .. } if !wild(term) => found.push(term),
            TermKind::Var(name) if self.documents.contains(name) => found.push(term),
            TermKind::Array(items) | TermKind::Set(items) => {
                for item in items {
                    self.of_operand(item, found);
                }
            }
            TermKind::Object(fields) => {
                for (key, value) in fields {
                    self.of_operand(key, found);
                    self.of_operand(value, found);
                }
            }
            TermKind::Paren(inner) | TermKind::Minus(inner) => self.of_operand(inner, found),
            // Templates and comprehensions are never undefined.
            _ => {}
        }
    }
}

/// Whether a reference goes over all keys of something.
fn wild(term: &Term) -> bool {
    let mut wild = false;
    walk_term(term, &mut |node| match node {
        Node::Term(term) => {
            wild |= term.var() == Some("_");
            !wild
        }
        _ => false,
    });
    wild
}
