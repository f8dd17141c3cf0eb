//! Variables that hide a rule.
//!
//! `some port in ports` beside a rule `port` is a variable of its own in Rego; the evaluator takes its name for the rule. It
//! gets another name here.

use super::{Lowering, variables};
use crate::syntax::tree::{
    Block, Literal, LiteralKind, Node, Rule, Span, Step, Term, TermKind, walk_rule,
};

/// What a variable that hides a rule is called.
pub(super) fn renamed(name: &str) -> String {
    format!("__some_{name}")
}

/// Where some variables are known.
#[derive(Default)]
struct Scope {
    names: Vec<String>,
    within: Vec<Span>,
}

impl Scope {
    fn of<'t>(bodies: impl IntoIterator<Item = &'t Block>) -> Self {
        let mut scope = Scope::default();
        for body in bodies {
            scope.within.push(body.span);
            for literal in &body.literals {
                if let LiteralKind::Some(names) | LiteralKind::SomeIn { names, .. } = &literal.kind
                {
                    for name in names {
                        variables(name, &mut scope.names);
                    }
                }
            }
        }
        scope
    }

    fn and(mut self, within: impl IntoIterator<Item = Span>) -> Self {
        self.within.extend(within);
        self
    }

    fn knows(&self, name: &str, at: Span) -> bool {
        let inside = |within: &Span| within.start <= at.start && at.end <= within.end;
        self.names.iter().any(|known| known == name) && self.within.iter().any(inside)
    }
}

impl Lowering<'_> {
    /// Gives the variables of a rule other names that `some` declares under the name of a rule or an import.
    pub(super) fn scopes(&mut self, rule: &Rule) {
        self.renamed.clear();
        let mut scopes = scopes_of(rule);
        for scope in &mut scopes {
            scope.names.retain(|name| self.documents.contains(name));
        }
        scopes.retain(|scope| !scope.names.is_empty());
        if scopes.is_empty() {
            return;
        }
        // Functions, and what `with` replaces, are no variables.
        let mut others = Vec::new();
        walk_rule(rule, &mut |node| {
            match node {
                Node::With(with) => others.push(with.target.span.start),
                Node::Term(term) => {
                    if let TermKind::Call { function, .. } = &term.kind {
                        others.push(function.span.start);
                    }
                    if let Some(name) = term.var()
                        && !others.contains(&term.span.start)
                        && scopes.iter().any(|scope| scope.knows(name, term.span))
                    {
                        self.edits
                            .replace(term.span.start, term.span.end, renamed(name));
                        self.renamed.insert(name.to_owned());
                    }
                }
                _ => {}
            }
            true
        });
    }
}

fn scopes_of(rule: &Rule) -> Vec<Scope> {
    let head = &rule.head;
    let mut terms: Vec<&Term> = head.key.iter().collect();
    terms.extend(head.value.as_ref().map(|(_, value)| value));
    if let TermKind::Ref { path, .. } = &head.name.kind {
        terms.extend(path.iter().filter_map(|step| match step {
            Step::Bracket(term) => Some(term),
            Step::Dot(..) => None,
        }));
    }
    let heads = terms.into_iter().map(|term| term.span);
    let mut scopes = vec![Scope::of(rule.body.iter().chain(&rule.more)).and(heads)];
    for branch in &rule.elses {
        let value = branch.value.as_ref().map(|(_, value)| value.span);
        scopes.push(Scope::of(&branch.body).and(value));
    }
    walk_rule(rule, &mut |node| {
        match node {
            Node::Term(term) => {
                if let TermKind::ArrayCompr { body, .. }
                | TermKind::SetCompr { body, .. }
                | TermKind::ObjectCompr { body, .. } = &term.kind
                {
                    scopes.push(Scope::of([body]).and([term.span]));
                }
            }
            Node::Literal(Literal {
                kind: LiteralKind::Every { body, .. },
                ..
            }) => scopes.push(Scope::of([body])),
            _ => {}
        }
        true
    });
    scopes
}
