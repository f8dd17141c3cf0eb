//! Rego that the evaluator does not read, written as Rego that it does.
//!
//! | what | becomes |
//! |---|---|
//! | `$"size {x}"` | `internal.template_string(["size ", {v \| v := (x)}])` |
//! | `input.if`, `data.not.x` | `input["if"]`, `data["not"].x` |
//! | `a + b` | `internal.add(a, b)`: floats are added as the decimal numbers they are written as |
//! | `[p, v] := walk(x)` | `walk(x, [p, v])` |
//! | deep constants | `internal.constant(7)`: the evaluator reads nested brackets in a time that doubles with each |
//! | `crypto.md5(x, y)` for a function of one operand | `y = crypto.md5(x)` |
//! | `x with f as count` | a rule of its own that calls `count` |
//! | `x with io.jwt.decode as f`, and calls of it | `data["p"]["__io_jwt_decode"]` (see `replaced`) |
//! | `some port in ports` beside a rule `port` | `some __some_port in ports` |
//! | `not f(input.x)` | `__operand1 := input.x; not f(__operand1)`: where an operand is undefined, so is the body (see `negation`) |
//! | `p[x] { .. } { .. }` | `p[x] { .. } p[x] { .. }` |
//! | `if.x := 1`, a rule whose name begins with a keyword | `x := 1` in a module of the package `...["if"]` |
//! | `rego.metadata.rule()`, `.chain()` | what the annotations say |
//!
//! Each stays on its line, so that the places in errors and in the coverage are those of the file.

mod constants;
mod negation;
mod replaced;
mod scopes;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::metadata::{self, Annotation};
use super::parse::{FUTURE, RESERVED};
use super::tree::{
    Literal, LiteralKind, Module, Node, Rule, Span, Step, TemplatePart, Term, TermKind,
    walk_literal, walk_rule, walk_term,
};
use crate::builtins;
use crate::engine::Version;

use self::constants::{constant, depth};
pub(crate) use self::negation::OPERAND;
pub(crate) use self::replaced::Replaced;
pub(crate) use self::trace::Point;

/// Changes of a text: each replaces a stretch of it. One that lies within another is dropped.
#[derive(Default)]
struct Edits(Vec<(usize, usize, String)>);

impl Edits {
    fn replace(&mut self, start: usize, end: usize, with: impl Into<String>) {
        self.0.push((start, end, with.into()));
    }

    /// The text of a stretch with the changes in it.
    fn render(&self, text: &str, start: usize, end: usize) -> String {
        let mut edits: Vec<&(usize, usize, String)> = self
            .0
            .iter()
            .filter(|edit| edit.0 >= start && edit.1 <= end)
            .collect();
        // Of two that begin at one place, an insertion goes first, and then the longer.
        edits.sort_by_key(|edit| (edit.0, edit.1 != edit.0, std::cmp::Reverse(edit.1)));
        let mut out = String::with_capacity(end - start + 64);
        let mut at = start;
        for (from, to, with) in edits {
            if *from < at {
                continue;
            }
            out.push_str(&text[at..*from]);
            out.push_str(with);
            at = *to;
        }
        out.push_str(&text[at..end]);
        out
    }
}

/// What one module needs to know of the others.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The annotations of all modules.
    pub annotations: &'a [Annotation],
    /// Those of this one.
    pub own: &'a [Annotation],
    /// What the rules of the package are called, in all its modules.
    pub rules: &'a BTreeSet<String>,
    /// The functions that are replaced in any module.
    pub replaced: &'a Replaced,
    /// Which of the modules this is.
    pub number: usize,
}

struct Lowering<'a> {
    text: &'a str,
    /// Where it stands, if it is no query.
    place: Option<(&'a Module, Surroundings<'a>)>,
    edits: Edits,
    /// For names of variables that nobody else has.
    made: usize,
    /// Functions that are needed as rules: the function, and the name of the rule.
    wrapped: BTreeMap<String, String>,
    /// Names that stand for something else than a built-in namespace here.
    shadowed: Vec<String>,
    /// Where statements are noted, if they are.
    points: Option<&'a mut Vec<Point>>,
    /// The package, as a reference in brackets.
    package: String,
    /// Keywords that are the names of imports.
    imported: Vec<String>,
    /// Where the name of the present rule begins: it is no reference.
    head: usize,
    /// The constants that are written as calls.
    constants: Vec<regorus::Value>,
    /// Whether a call may stand in the place of a constant.
    calls: bool,
    /// Whether the next statement is the first of its body.
    first: bool,
    /// Names that stand for rules and documents, not for variables.
    documents: BTreeSet<String>,
    /// Where statements begin that are a body without braces.
    bare: BTreeSet<usize>,
    /// Terms that have been moved to a statement of their own.
    moved: BTreeSet<(usize, usize)>,
    /// Variables of the present rule that have another name here.
    renamed: BTreeSet<String>,
}

/// A module as the evaluator reads it: the module, and one more for each keyword that its rules' names begin with.
///
/// With `points` every statement of a body is noted when it is come to, and again when it holds, by calls of
/// `internal.trace_point`; what a number there stands for is added to them.
pub(crate) fn module(
    file: &str,
    text: &str,
    module: &Module,
    version: Version,
    around: Surroundings<'_>,
    points: Option<&mut Vec<Point>>,
    constants: &mut Vec<regorus::Value>,
) -> Vec<String> {
    let mut shadowed: Vec<String> = module
        .imports
        .iter()
        .filter_map(super::Import::name)
        .collect();
    shadowed.extend(
        module
            .rules
            .iter()
            .filter_map(|rule| metadata::rule_path(rule).into_iter().next()),
    );
    let wrapped = around.replaced.rules(around.number);
    let mut lowering = Lowering {
        text,
        place: Some((module, around)),
        edits: Edits::default(),
        made: 0,
        wrapped: wrapped
            .map(|function| (function.clone(), replaced::rule_for(function)))
            .collect(),
        shadowed,
        points,
        package: bracketed(&metadata::package_path(module)),
        imported: Vec::new(),
        head: usize::MAX,
        constants: std::mem::take(constants),
        calls: false,
        first: false,
        documents: BTreeSet::new(),
        bare: BTreeSet::new(),
        moved: BTreeSet::new(),
        renamed: BTreeSet::new(),
    };
    lowering.documents = negation::documents(&lowering.shadowed, around.rules);
    lowering.term(&module.package);
    for import in &module.imports {
        // The paths of keywords are no references.
        if !import.dotted().starts_with("future.") && !import.dotted().starts_with("rego.") {
            lowering.term(&import.path);
            // A last name in brackets gives no name to the import.
            if import.alias.is_none()
                && let TermKind::Ref { path, .. } = &import.path.kind
                && let Some(Step::Dot(name, span)) = path.last()
                && is_keyword(name)
            {
                lowering
                    .edits
                    .replace(span.end, span.end, format!(" as __{name}"));
                lowering.imported.push(name.clone());
            }
        }
    }
    let package = metadata::package_path(module);
    let mut moved: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, rule) in module.rules.iter().enumerate() {
        lowering.metadata(rule, &package, &around);
        lowering.scopes(rule);
        lowering.trace(file, rule, &package);
        lowering.unbraced(rule);
        lowering.head = rule.head.name.span.start;
        // Neither a default nor the pattern of an operand may be a call.
        let plain = !rule.default && rule.head.args.is_none();
        lowering.calls = plain;
        walk_rule(rule, &mut |node| lowering.node(node));
        lowering.chain(rule);
        if let TermKind::Ref { head, .. } = &rule.head.name.kind
            && let Some(name) = head.var()
            && is_keyword(name)
        {
            moved.entry(name).or_default().push(at);
        }
    }
    let mut others = Vec::new();
    for (name, rules) in &moved {
        let end = module.package.span.end;
        let mut edits = Edits(lowering.edits.0.clone());
        edits.replace(end, end, format!("[\"{name}\"]"));
        for (at, rule) in module.rules.iter().enumerate() {
            if rules.contains(&at) {
                if let TermKind::Ref { path, .. } = &rule.head.name.kind
                    && let Some(Step::Dot(_, span)) = path.first()
                {
                    edits.replace(rule.head.name.span.start, span.start, "");
                }
                qualify(rule, around.rules, &lowering.package, &mut edits);
            } else {
                edits.replace(
                    rule.span.start,
                    rule.span.end,
                    breaks(&text[rule.span.start..rule.span.end]),
                );
            }
        }
        others.push(edits.render(text, 0, text.len()));
    }
    for at in moved.values().flatten() {
        let span = module.rules[*at].span;
        lowering
            .edits
            .replace(span.start, span.end, breaks(&text[span.start..span.end]));
    }
    let mut out = lowering.edits.render(text, 0, text.len());
    for (function, rule) in &lowering.wrapped {
        let arity = builtins::arity(function).unwrap_or(0);
        let args = (0..arity)
            .map(|at| format!("a{at}"))
            .collect::<Vec<_>>()
            .join(", ");
        let conditional = if version == Version::V1
            || module
                .imports
                .iter()
                .any(|import| import.dotted() == "rego.v1")
        {
            "if "
        } else {
            ""
        };
        let _ = write!(
            out,
            "\n{rule}({args}) = made {conditional}{{ made := {function}({args}) }}\n"
        );
    }
    *constants = lowering.constants;
    others.insert(0, out);
    others
}

/// `data["a"]["b"]`
fn bracketed(package: &[String]) -> String {
    package.iter().fold("data".to_owned(), |mut out, name| {
        let _ = write!(out, "[{}]", serde_json::Value::from(name.as_str()));
        out
    })
}

/// Gives the rules of the package their full names in a rule that is evaluated elsewhere.
fn qualify(rule: &Rule, rules: &BTreeSet<String>, package: &str, edits: &mut Edits) {
    let mut own: Vec<String> = Vec::new();
    for arg in rule.head.args.iter().flat_map(|(args, _)| args) {
        variables(arg, &mut own);
    }
    walk_rule(rule, &mut |node| {
        if let Node::Literal(literal) = node {
            declared(literal, &mut own);
            if let LiteralKind::Some(names) | LiteralKind::Every { names, .. } = &literal.kind {
                for name in names {
                    variables(name, &mut own);
                }
            }
        }
        true
    });
    walk_rule(rule, &mut |node| {
        if let Node::Term(term) = node
            && let Some(name) = term.var()
            && term.span.start != rule.head.name.span.start
            && rules.contains(name)
            && !is_keyword(name)
            && !own.iter().any(|known| known == name)
        {
            edits.replace(
                term.span.start,
                term.span.end,
                format!("{package}[\"{name}\"]"),
            );
        }
        true
    });
}

/// A query as the evaluator reads it.
pub(crate) fn query(text: &str, literals: &[Literal]) -> String {
    let mut lowering = Lowering {
        text,
        place: None,
        edits: Edits::default(),
        made: 0,
        wrapped: BTreeMap::new(),
        shadowed: Vec::new(),
        points: None,
        package: String::new(),
        imported: Vec::new(),
        head: usize::MAX,
        constants: Vec::new(),
        calls: false,
        // Nothing stands before it.
        first: true,
        documents: negation::documents(&[], &BTreeSet::new()),
        bare: BTreeSet::new(),
        moved: BTreeSet::new(),
        renamed: BTreeSet::new(),
    };
    for literal in literals {
        walk_literal(literal, &mut |node| lowering.node(node));
    }
    lowering.edits.render(text, 0, text.len())
}

fn is_keyword(name: &str) -> bool {
    RESERVED.contains(&name) || FUTURE.contains(&name)
}

/// Line breaks that a stretch of text has.
fn breaks(text: &str) -> String {
    "\n".repeat(text.matches('\n').count())
}

impl Lowering<'_> {
    fn term(&mut self, term: &Term) {
        walk_term(term, &mut |node| self.node(node));
    }

    /// Notes what is to be changed; whether what is in the node is to be looked at too.
    fn node(&mut self, node: Node<'_>) -> bool {
        match node {
            Node::Term(term) if self.moved.contains(&(term.span.start, term.span.end)) => {
                return false;
            }
            Node::Term(term) => match &term.kind {
                TermKind::Array(_) | TermKind::Set(_) | TermKind::Object(_)
                    if self.calls && depth(term) > 3 =>
                {
                    if let Some(value) = constant(self.text, term) {
                        let breaks = breaks(&self.text[term.span.start..term.span.end]);
                        let number = self.constants.len();
                        self.edits.replace(
                            term.span.start,
                            term.span.end,
                            format!("internal.constant({number}{breaks})"),
                        );
                        self.constants.push(value);
                        return false;
                    }
                }
                TermKind::Infix {
                    op: op @ ("+" | "-" | "*" | "/"),
                    left,
                    right,
                } => {
                    let name = match *op {
                        "+" => "add",
                        "-" => "subtract",
                        "*" => "multiply",
                        _ => "divide",
                    };
                    let between = breaks(&self.text[left.span.end..right.span.start]);
                    self.edits.replace(
                        left.span.start,
                        left.span.start,
                        format!("internal.{name}("),
                    );
                    self.edits
                        .replace(left.span.end, right.span.start, format!(",{between} "));
                    self.edits.replace(right.span.end, right.span.end, ")");
                }
                TermKind::Template(parts) => self.template(term.span, parts),
                TermKind::Call { function, .. } => {
                    if let Some(name) = function.dotted() {
                        self.call(function.span, &name);
                    }
                }
                TermKind::Ref { head, path } => {
                    if let Some(name) = head.var()
                        && is_keyword(name)
                        && head.span.start != self.head
                    {
                        let named = if self.imported.iter().any(|known| known == name) {
                            format!("__{name}")
                        } else {
                            format!("{}[\"{name}\"]", self.package)
                        };
                        self.edits.replace(head.span.start, head.span.end, named);
                    }
                    // Of the name of a default the evaluator takes brackets at the end for a key.
                    let named = head.span.start == self.head;
                    for step in path {
                        if let Step::Dot(name, span) = step
                            && is_keyword(name)
                            && !named
                        {
                            self.edits
                                .replace(span.start - 1, span.end, format!("[\"{name}\"]"));
                        }
                    }
                }
                _ => {}
            },
            Node::Literal(literal) => {
                let start = literal.span.start;
                // The evaluator takes a bracket on a new line for one that goes on with the line before.
                let line = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
                if !std::mem::take(&mut self.first)
                    && self.text[start..].starts_with(['(', '['])
                    && self.text[line..start].trim().is_empty()
                {
                    self.edits.replace(start, start, "; ");
                }
                self.relation(literal);
                self.output(literal);
                self.negation(literal);
            }
            Node::With(with) => {
                if let Some(function) = with.target.dotted() {
                    self.call(with.target.span, &function);
                }
                if let Some(function) = with.value.dotted()
                    && builtins::arity(&function).is_some()
                    && self.is_builtin(&function)
                {
                    let name = replaced::rule_for(&function);
                    self.edits
                        .replace(with.value.span.start, with.value.span.end, name.clone());
                    self.wrapped.insert(function, name);
                }
            }
            Node::Block => self.first = true,
        }
        true
    }

    /// Whether a name is that of a built-in function, and nothing of the module's own.
    fn is_builtin(&self, function: &str) -> bool {
        let root = function.split('.').next().unwrap_or(function);
        !self.shadowed.iter().any(|name| name == root)
    }

    fn template(&mut self, span: Span, parts: &[TemplatePart]) {
        let mut at = span.start;
        let mut first = true;
        let mut opening = "internal.template_string([".to_owned();
        for part in parts {
            let part_span = match part {
                TemplatePart::Text(span) => *span,
                TemplatePart::Expression(literal) => literal.span,
            };
            if !first {
                opening.push_str(", ");
            }
            first = false;
            match part {
                TemplatePart::Text(text) => {
                    let raw = self.text[span.start..].starts_with("$`");
                    let said = said(&self.text[text.start..text.end], raw);
                    self.edits.replace(
                        at,
                        text.end,
                        format!(
                            "{opening}{}{}",
                            serde_json::Value::from(said),
                            breaks(&self.text[at..text.end])
                        ),
                    );
                    at = text.end;
                    opening = String::new();
                }
                TemplatePart::Expression(literal) => {
                    let LiteralKind::Term(term) = &literal.kind else {
                        continue;
                    };
                    self.made += 1;
                    let _ = write!(opening, "{{__part{0} | __part{0} := (", self.made);
                    self.edits.replace(
                        at,
                        part_span.start,
                        format!("{opening}{}", breaks(&self.text[at..part_span.start])),
                    );
                    self.edits.replace(term.span.end, term.span.end, ")");
                    at = literal.span.end;
                    "}".clone_into(&mut opening);
                }
            }
        }
        self.edits.replace(
            at,
            span.end,
            format!("{opening}{}])", breaks(&self.text[at..span.end])),
        );
    }

    /// `[path, value] := walk(x)`: what a relation gives is its last operand.
    fn relation(&mut self, literal: &Literal) {
        let LiteralKind::Term(Term {
            kind:
                TermKind::Infix {
                    op: "=" | ":=",
                    left,
                    right,
                },
            ..
        }) = &literal.kind
        else {
            return;
        };
        let TermKind::Call { function, args } = &right.kind else {
            return;
        };
        if function.var() != Some("walk") || args.len() != 1 || !self.is_builtin("walk") {
            return;
        }
        let given = self
            .apart(left.span.start, left.span.end, |_| {})
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let gap = breaks(&self.text[left.span.start..right.span.start]);
        self.edits.replace(left.span.start, right.span.start, gap);
        self.edits
            .replace(right.span.end - 1, right.span.end, format!(", {given})"));
    }

    /// `f(x, y)` as a statement, where `f` takes one operand: the last is what it gives.
    fn output(&mut self, literal: &Literal) {
        let LiteralKind::Term(Term {
            kind: TermKind::Call { function, args },
            span,
            ..
        }) = &literal.kind
        else {
            return;
        };
        let Some(name) = function.dotted() else {
            return;
        };
        let (Some(arity), Some((out, rest))) = (builtins::arity(&name), args.split_last()) else {
            return;
        };
        if args.len() != arity + 1 || !builtins::is_own(&name) || !self.is_builtin(&name) {
            return;
        }
        // What is in the operand is written at its new place, with its own changes.
        self.term(out);
        let moved = self
            .edits
            .render(self.text, out.span.start, out.span.end)
            .replace('\n', " ");
        let from = rest.last().map_or(out.span.start, |last| last.span.end);
        self.edits
            .replace(span.start, span.start, format!("{moved} = "));
        self.edits.replace(
            from,
            span.end,
            format!("{})", breaks(&self.text[from..span.end])),
        );
    }

    /// Further bodies of a head, as v0 has them: the evaluator wants the head before each.
    fn chain(&mut self, rule: &Rule) {
        let Some(body) = rule.body.as_ref().filter(|_| !rule.more.is_empty()) else {
            return;
        };
        let (start, end) = (rule.span.start, body.span.start);
        let head = self.edits.render(self.text, start, end).replace('\n', " ");
        for more in &rule.more {
            let at = more.span.start;
            self.edits.replace(at, at, format!("{head} "));
        }
    }

    fn metadata(&mut self, rule: &Rule, package: &[String], around: &Surroundings<'_>) {
        let mut calls = Vec::new();
        walk_rule(rule, &mut |node| {
            if let Node::Term(Term {
                kind: TermKind::Call { function, args },
                span,
                ..
            }) = node
                && args.is_empty()
            {
                match function.dotted().as_deref() {
                    Some("rego.metadata.rule") => {
                        calls.push((*span, metadata::of_rule(around.own, rule)));
                    }
                    Some("rego.metadata.chain") => calls.push((
                        *span,
                        metadata::chain(around.annotations, around.own, package, rule),
                    )),
                    _ => {}
                }
            }
            true
        });
        for (span, value) in calls {
            self.edits.replace(span.start, span.end, value.to_string());
        }
    }
}

/// The variables of a pattern.
fn variables(term: &Term, names: &mut Vec<String>) {
    match &term.kind {
        TermKind::Var(name) if name != "_" && !names.contains(name) => names.push(name.clone()),
        TermKind::Array(items) => items.iter().for_each(|item| variables(item, names)),
        TermKind::Object(fields) => fields.iter().for_each(|(_, value)| variables(value, names)),
        _ => {}
    }
}

/// The variables that a statement declares for those after it.
fn declared(literal: &Literal, names: &mut Vec<String>) {
    match &literal.kind {
        LiteralKind::SomeIn {
            names: declared, ..
        } => declared.iter().for_each(|name| variables(name, names)),
        LiteralKind::Term(Term {
            kind: TermKind::Infix { op: ":=", left, .. },
            ..
        }) => variables(left, names),
        _ => {}
    }
}

/// What the text of a template says.
fn said(text: &str, raw: bool) -> String {
    let braces = text.replace("\\{", "{");
    if raw {
        return braces;
    }
    super::lex::unquote(&format!("\"{braces}\"")).unwrap_or(braces)
}
