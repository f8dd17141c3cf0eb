//! The tree.

use super::lex::Comment;

/// A stretch of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// The line of its first byte, from one.
    pub line: u32,
    /// The column of its first byte, from one.
    pub column: u32,
    /// The line of its last byte, from one.
    pub end_line: u32,
}

impl Span {
    /// From the start of one to the end of another.
    pub(crate) fn to(self, other: Span) -> Span {
        Span {
            end: other.end,
            end_line: other.end_line,
            ..self
        }
    }
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub package: Term,
    pub package_span: Span,
    pub imports: Vec<Import>,
    pub rules: Vec<Rule>,
    pub comments: Vec<Comment>,
}

#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub span: Span,
    pub path: Term,
    pub alias: Option<String>,
}

impl Import {
    /// Its path as written: `data.lib.x`, `rego.v1`, `future.keywords.if`.
    pub(crate) fn dotted(&self) -> String {
        self.path.dotted().unwrap_or_default()
    }

    /// What it is called in the module.
    pub(crate) fn name(&self) -> Option<String> {
        self.alias.clone().or_else(|| match &self.path.kind {
            TermKind::Ref { path, .. } => path.last().and_then(Step::name),
            TermKind::Var(name) => Some(name.clone()),
            _ => None,
        })
    }
}

/// One definition of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub span: Span,
    pub default: bool,
    pub head: Head,
    pub body: Option<Block>,
    pub elses: Vec<Else>,
    /// Further bodies of the same head, as Rego v0 allows.
    pub more: Vec<Block>,
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub span: Span,
    /// A variable or a reference.
    pub name: Term,
    /// The operands of a function, with the place of their parentheses.
    pub args: Option<(Vec<Term>, Span)>,
    /// What `contains` adds.
    pub key: Option<Term>,
    pub value: Option<(Assign, Term)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Assign {
    /// `=`
    Unify,
    /// `:=`
    Assign,
}

#[derive(Clone, Debug)]
pub(crate) struct Else {
    pub span: Span,
    pub value: Option<(Assign, Term)>,
    pub body: Option<Block>,
}

/// The body of a rule, a comprehension or `every`.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// With its braces, if it has any.
    pub span: Span,
    pub braces: bool,
    /// Whether `if` is before it.
    pub conditional: bool,
    pub literals: Vec<Literal>,
}

/// One statement of a body.
#[derive(Clone, Debug)]
pub(crate) struct Literal {
    pub span: Span,
    pub negated: bool,
    pub kind: LiteralKind,
    pub with: Vec<With>,
}

#[derive(Clone, Debug)]
pub(crate) enum LiteralKind {
    Term(Term),
    /// `some x, y`
    Some(Vec<Term>),
    /// `some x in xs`, `some k, v in xs`
    SomeIn {
        names: Vec<Term>,
        collection: Term,
    },
    Every {
        names: Vec<Term>,
        domain: Term,
        body: Block,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct With {
    pub span: Span,
    pub target: Term,
    pub value: Term,
}

#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub span: Span,
    pub kind: TermKind,
    /// What a string says; none of anything else.
    pub text: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum TermKind {
    Null,
    Bool(bool),
    Number,
    /// In double quotes.
    String,
    /// In backquotes.
    RawString,
    Template(Vec<TemplatePart>),
    Var(String),
    Ref {
        head: Box<Term>,
        path: Vec<Step>,
    },
    Call {
        function: Box<Term>,
        args: Vec<Term>,
    },
    Array(Vec<Term>),
    Set(Vec<Term>),
    Object(Vec<(Term, Term)>),
    ArrayCompr {
        head: Box<Term>,
        body: Block,
    },
    SetCompr {
        head: Box<Term>,
        body: Block,
    },
    ObjectCompr {
        key: Box<Term>,
        value: Box<Term>,
        body: Block,
    },
    /// An operator between two: also `=` and `:=` of statements.
    Infix {
        op: &'static str,
        left: Box<Term>,
        right: Box<Term>,
    },
    /// `x in xs`, `k, v in xs`
    In {
        key: Option<Box<Term>>,
        value: Box<Term>,
        collection: Box<Term>,
    },
    Paren(Box<Term>),
    Minus(Box<Term>),
}

#[derive(Clone, Debug)]
pub(crate) enum TemplatePart {
    Text(Span),
    /// An expression, with its `with`.
    Expression(Box<Literal>),
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// `.name`; the place is that of the name.
    Dot(String, Span),
    /// `[term]`.
    Bracket(Term),
}

impl Step {
    /// Its name if it is one: `.name` or `["name"]`.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Step::Dot(name, _) => Some(name.clone()),
            Step::Bracket(term) => term.text.clone(),
        }
    }
}

impl Term {
    /// The name of a variable.
    pub(crate) fn var(&self) -> Option<&str> {
        match &self.kind {
            TermKind::Var(name) => Some(name),
            _ => None,
        }
    }
}

impl Term {
    /// A reference to names alone, joined by dots: `data.shop.deny`, `input`.
    pub(crate) fn dotted(&self) -> Option<String> {
        match &self.kind {
            TermKind::Var(name) => Some(name.clone()),
            TermKind::Ref { head, path } => {
                let mut dotted = head.var()?.to_owned();
                for step in path {
                    dotted.push('.');
                    dotted.push_str(&step.name()?);
                }
                Some(dotted)
            }
            _ => None,
        }
    }
}

/// Visits a term and all in it, outer before inner. `visit` says whether to go into it.
pub(crate) fn walk_term<'a>(term: &'a Term, visit: &mut dyn FnMut(Node<'a>) -> bool) {
    if !visit(Node::Term(term)) {
        return;
    }
    match &term.kind {
        TermKind::Null
        | TermKind::Bool(_)
        | TermKind::Number
        | TermKind::String
        | TermKind::RawString
        | TermKind::Var(_) => {}
        TermKind::Template(parts) => {
            for part in parts {
                if let TemplatePart::Expression(literal) = part {
                    walk_literal(literal, visit);
                }
            }
        }
        TermKind::Ref { head, path } => {
            walk_term(head, visit);
            for step in path {
                if let Step::Bracket(term) = step {
                    walk_term(term, visit);
                }
            }
        }
        TermKind::Call { function, args } => {
            walk_term(function, visit);
            for arg in args {
                walk_term(arg, visit);
            }
        }
        TermKind::Array(items) | TermKind::Set(items) => {
            for item in items {
                walk_term(item, visit);
            }
        }
        TermKind::Object(fields) => {
            for (key, value) in fields {
                walk_term(key, visit);
                walk_term(value, visit);
            }
        }
        TermKind::ArrayCompr { head, body } | TermKind::SetCompr { head, body } => {
            walk_term(head, visit);
            walk_block(body, visit);
        }
        TermKind::ObjectCompr { key, value, body } => {
            walk_term(key, visit);
            walk_term(value, visit);
            walk_block(body, visit);
        }
        TermKind::Infix { left, right, .. } => {
            walk_term(left, visit);
            walk_term(right, visit);
        }
        TermKind::In {
            key,
            value,
            collection,
        } => {
            if let Some(key) = key {
                walk_term(key, visit);
            }
            walk_term(value, visit);
            walk_term(collection, visit);
        }
        TermKind::Paren(inner) | TermKind::Minus(inner) => walk_term(inner, visit),
    }
}

/// What a walk comes by.
#[derive(Clone, Copy)]
pub(crate) enum Node<'a> {
    Term(&'a Term),
    Literal(&'a Literal),
    /// A body, which has a scope of its own.
    Block,
    With(&'a With),
}

/// Visits a statement and all in it.
pub(crate) fn walk_literal<'a>(literal: &'a Literal, visit: &mut dyn FnMut(Node<'a>) -> bool) {
    if !visit(Node::Literal(literal)) {
        return;
    }
    match &literal.kind {
        LiteralKind::Term(term) => walk_term(term, visit),
        LiteralKind::Some(names) => names.iter().for_each(|name| walk_term(name, visit)),
        LiteralKind::SomeIn { names, collection } => {
            for name in names {
                walk_term(name, visit);
            }
            walk_term(collection, visit);
        }
        LiteralKind::Every {
            names,
            domain,
            body,
        } => {
            for name in names {
                walk_term(name, visit);
            }
            walk_term(domain, visit);
            walk_block(body, visit);
        }
    }
    for with in &literal.with {
        if visit(Node::With(with)) {
            walk_term(&with.target, visit);
            walk_term(&with.value, visit);
        }
    }
}

fn walk_block<'a>(block: &'a Block, visit: &mut dyn FnMut(Node<'a>) -> bool) {
    if visit(Node::Block) {
        block
            .literals
            .iter()
            .for_each(|literal| walk_literal(literal, visit));
    }
}

/// Visits a rule and all in it.
pub(crate) fn walk_rule<'a>(rule: &'a Rule, visit: &mut dyn FnMut(Node<'a>) -> bool) {
    walk_term(&rule.head.name, visit);
    if let Some((args, _)) = &rule.head.args {
        for arg in args {
            walk_term(arg, visit);
        }
    }
    if let Some(key) = &rule.head.key {
        walk_term(key, visit);
    }
    if let Some((_, value)) = &rule.head.value {
        walk_term(value, visit);
    }
    rule.body
        .iter()
        .chain(&rule.more)
        .for_each(|body| walk_block(body, visit));
    for branch in &rule.elses {
        if let Some((_, value)) = &branch.value {
            walk_term(value, visit);
        }
        branch.body.iter().for_each(|body| walk_block(body, visit));
    }
}
