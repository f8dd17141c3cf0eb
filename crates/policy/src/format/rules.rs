//! Packages, imports and rules.

use super::writer::{Misplaced, NOWHERE, Writer, Written};
use crate::syntax::{
    Assign, Block, Else, Head, Import, Literal, LiteralKind, Module, Rule, Step, Term, TermKind,
    With,
};

/// One definition with what else writes before its body: a rule with several bodies is written as several.
struct Definition<'a> {
    head: Option<&'a Head>,
    /// The line it begins on.
    row: u32,
    default: bool,
    value: Option<(Assign, &'a Term)>,
    body: Option<&'a Block>,
    elses: &'a [Else],
    /// The line its head ends on.
    head_end: u32,
}

fn is_true(term: &Term) -> bool {
    matches!(term.kind, TermKind::Bool(true))
}

/// Whether a body says nothing: there is none, or it is `true`.
fn says_nothing(body: Option<&Block>) -> bool {
    let Some(body) = body else { return true };
    match body.literals.as_slice() {
        [
            Literal {
                negated: false,
                kind: LiteralKind::Term(term),
                with,
                ..
            },
        ] => with.is_empty() && is_true(term),
        _ => false,
    }
}

impl<'a> Writer<'a> {
    pub(super) fn module(mut self, module: &'a Module) -> String {
        let _ = self.comments_before(module.package_span.line);
        self.start_line();
        self.write("package ");
        let _ = self.reference(&module.package);
        self.blank_line();

        // Imports may stand between rules.
        let (mut imports, mut rules) = (module.imports.as_slice(), module.rules.as_slice());
        while !imports.is_empty() || !rules.is_empty() {
            let first_rule = rules.first().map_or(usize::MAX, |rule| rule.span.start);
            let count = imports
                .iter()
                .take_while(|import| import.span.start < first_rule)
                .count();
            let (now, later) = imports.split_at(count);
            self.imports(now, module);
            imports = later;
            let first_import = imports
                .first()
                .map_or(usize::MAX, |import| import.span.start);
            let count = rules
                .iter()
                .take_while(|rule| rule.span.start < first_import)
                .count();
            let (now, later) = rules.split_at(count);
            self.rules(now);
            rules = later;
        }
        self.rest_of_comments();
        self.finish()
    }

    fn imports(&mut self, imports: &'a [Import], module: &'a Module) {
        let v1 = module
            .imports
            .iter()
            .any(|import| import.dotted() == "rego.v1");
        let mut groups: Vec<Vec<&Import>> = Vec::new();
        let mut last = None;
        for import in imports {
            let row = import.span.line;
            if v1 && import.dotted().starts_with("future.keywords") {
                continue;
            }
            match groups.last_mut() {
                Some(group) if last.is_some_and(|last: u32| row - last <= 1) => group.push(import),
                _ => groups.push(vec![import]),
            }
            last = Some(row);
        }
        for mut group in groups {
            if let Some(first) = group.first() {
                let _ = self.comments_before(first.span.line);
            }
            let key = |import: &Import| {
                (
                    import
                        .dotted()
                        .split('.')
                        .map(str::to_owned)
                        .collect::<Vec<_>>(),
                    import.alias.clone(),
                )
            };
            group.sort_by_key(|import| key(import));
            for import in group {
                self.start_line();
                self.write("import ");
                let _ = self.reference(&import.path);
                if let Some(alias) = &import.alias {
                    self.write(" as ");
                    self.write(alias);
                }
                if let Some(comment) = module
                    .comments
                    .iter()
                    .rfind(|comment| comment.span.line == import.span.line)
                {
                    self.write(" ");
                    self.write(&comment.text);
                }
                self.end_line();
            }
            self.blank_line();
        }
    }

    fn rules(&mut self, rules: &'a [Rule]) {
        let definitions: Vec<Definition<'a>> = rules.iter().flat_map(definitions).collect();
        for (at, definition) in definitions.iter().enumerate() {
            let _ = self.comments_before(definition.row);
            let _ = self.definition(definition);
            if let Some(next) = definitions.get(at + 1)
                && self.groups(definition)
                && self.groups(next)
                && next.row == definition.row + 1
            {
                continue;
            }
            self.blank_line();
        }
    }

    /// Whether the definition is one that may stand next to another without a blank line.
    fn groups(&self, definition: &Definition<'_>) -> bool {
        let short = definition.body.is_none_or(|body| body.literals.len() <= 1);
        short && !definition.default && self.conditions && self.has_condition(definition)
    }

    /// Sets of the old form, `p[x]`, have no `if`.
    fn has_condition(&self, definition: &Definition<'_>) -> bool {
        self.contains
            || !definition
                .head
                .is_some_and(|head| makes_set(head, definition.body))
    }

    fn definition(&mut self, definition: &Definition<'a>) -> Written {
        if definition.head.is_some() {
            self.start_line();
        }
        if definition.default {
            self.write("default ");
        }
        let constant = says_nothing(definition.body) && definition.elses.is_empty();
        self.final_line = constant;
        let misplaced = self.head(definition, constant).is_err();
        let Some(body) = definition.body.filter(|_| !constant) else {
            self.end_line();
            return Ok(());
        };
        self.final_line = true;
        if self.conditions && self.has_condition(definition) {
            self.write(" if");
            if let [literal] = body.literals.as_slice()
                && literal.span.line == definition.head_end
                && !is_set(literal)
            {
                self.write(" ");
                self.literal(literal)?;
                self.end_line();
                return self.else_of(definition);
            }
        }
        if misplaced && self.next_comment().is_some() {
            self.write(" { ");
        } else {
            self.write(" {");
            self.end_line();
        }
        self.up();
        let _ = self.body(&body.literals);
        let close = if body.braces {
            body.span.end_line
        } else {
            NOWHERE
        };
        self.comments_before(close)?;
        self.down();
        self.start_line();
        self.write("}");
        self.else_of(definition)
    }

    fn else_of(&mut self, definition: &Definition<'a>) -> Written {
        let Some((branch, rest)) = definition.elses.split_first() else {
            return Ok(());
        };
        let row = branch.span.line;
        let line_start = self.text[..branch.span.start]
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let begins_line = self.text[line_start..branch.span.start].trim().is_empty();
        let inline = row > definition.row && !begins_line;
        let comment_above = self
            .next_comment()
            .is_some_and(|comment| comment.span.line < row)
            || self.before_end.is_some();
        if !comment_above && inline {
            self.write(" ");
        } else {
            self.blank_line();
            self.start_line();
        }
        self.comments_before(row)?;
        if comment_above && !inline {
            self.start_line();
        }
        let next = Definition {
            head: None,
            row,
            default: false,
            value: branch
                .value
                .as_ref()
                .map(|(assign, value)| (*assign, value)),
            body: branch.body.as_ref(),
            elses: rest,
            head_end: branch
                .value
                .as_ref()
                .map_or(row, |(_, value)| value.span.end_line),
        };
        self.definition(&next)
    }

    fn head(&mut self, definition: &Definition<'a>, constant: bool) -> Written {
        let Some(head) = definition.head else {
            self.write("else");
            return self.head_value(definition, constant);
        };
        let path = match &head.name.kind {
            TermKind::Ref { path, .. } => path.as_slice(),
            _ => &[],
        };
        let set = makes_set(head, definition.body) && head.key.is_none();
        if self.long_heads || path.is_empty() {
            if set && path.len() == 1 {
                self.write(self.source(&head_name(head)));
            } else {
                self.reference(&head.name)?;
            }
        } else if set && self.contains {
            self.write(self.source(&head_name(head)));
        } else {
            if self
                .next_comment()
                .is_some_and(|comment| step_row(&path[0]) == comment.span.line)
            {
                let source = self.stretch(head.span);
                self.keep(head.span, source);
                return Ok(());
            }
            self.write(self.source(&head_name(head)));
            self.write("[");
            let key = match &path[0] {
                Step::Dot(name, _) => serde_json::Value::from(name.as_str()).to_string(),
                Step::Bracket(term) => self.plain(term),
            };
            self.write(&key);
            self.write("]");
        }
        if let Some((args, span)) = &head.args
            && !args.is_empty()
        {
            self.write("(");
            let rows = (head.span.line, span.end_line);
            let first = args.first().map_or(0, |arg| arg.span.start);
            let result = self.iterable(
                args,
                rows,
                self.breaks(head.span.start, first),
                |writer, arg| writer.item(arg, false),
            );
            self.write(")");
            result?;
        }
        if let Some(key) = &head.key {
            if self.contains {
                self.write(" contains ");
                self.term(key)?;
            } else {
                self.write("[");
                self.term(key)?;
                self.write("]");
            }
        } else if set
            && self.contains
            && let Some(Step::Bracket(term)) = path.last()
        {
            self.write(" contains ");
            self.term(term)?;
        }
        self.head_value(definition, constant)
    }

    fn head_value(&mut self, definition: &Definition<'a>, constant: bool) -> Written {
        let written = match definition.value {
            Some((assign, value)) => {
                if is_true(value) && !constant && !definition.default {
                    return Ok(());
                }
                Some((assign, value))
            }
            None => None,
        };
        match written {
            Some((assign, value)) => {
                self.write(if assign == Assign::Assign || self.v1 {
                    " := "
                } else {
                    " = "
                });
                self.term(value)
            }
            None => {
                // What has neither a value nor a body that says something is `true`: `p { true }` is `p = true`.
                let valued = match definition.head {
                    Some(head) if head.key.is_some() || makes_set(head, definition.body) => false,
                    Some(head) if self.v1 && head.args.is_none() => true,
                    _ => definition.body.is_some(),
                };
                if constant && valued {
                    self.write(if self.v1 { " := true" } else { " = true" });
                }
                Ok(())
            }
        }
    }

    pub(super) fn body(&mut self, literals: &'a [Literal]) -> Written {
        if let Some(first) = literals.first() {
            self.comments_before(first.span.line)?;
        }
        let mut last: Option<u32> = None;
        for literal in literals {
            if last.is_some_and(|last| literal.span.line > last + 1) {
                self.blank_line();
            }
            self.start_line();
            let _ = self.literal(literal);
            self.end_line();
            last = Some(literal.span.end_line);
        }
        Ok(())
    }

    pub(super) fn literal(&mut self, literal: &'a Literal) -> Written {
        self.comments_before(literal.span.line)?;
        if !self.inline {
            self.start_line();
        }
        if literal.negated {
            self.write("not ");
        }
        let end = match &literal.kind {
            LiteralKind::Term(term) => {
                self.expression(term)?;
                term.span.end_line
            }
            LiteralKind::Some(names) => {
                self.comments_before(literal.span.line)?;
                self.write("some ");
                let mut row = literal.span.line;
                for (at, name) in names.iter().enumerate() {
                    if name.span.line > row {
                        self.end_line();
                        self.start_line();
                        self.write("\t");
                        row = name.span.line;
                    } else if at > 0 {
                        self.write(" ");
                    }
                    self.term(name)?;
                    if at + 1 < names.len() {
                        self.write(",");
                    }
                }
                row
            }
            LiteralKind::SomeIn { names, collection } => {
                self.comments_before(literal.span.line)?;
                self.write("some ");
                for (at, name) in names.iter().enumerate() {
                    if at > 0 {
                        self.write(", ");
                    }
                    self.term_in_parens(true, name)?;
                }
                self.write(" in ");
                self.term_in_parens(true, collection)?;
                collection.span.end_line
            }
            LiteralKind::Every {
                names,
                domain,
                body,
            } => {
                self.comments_before(literal.span.line)?;
                self.write("every ");
                for (at, name) in names.iter().enumerate() {
                    if at > 0 {
                        self.write(", ");
                    }
                    self.term(name)?;
                }
                self.write(" in ");
                self.term(domain)?;
                self.write(" {");
                let row = literal.span.line;
                let _ = self.comprehension_body(&body.literals, row, body.span.end_line);
                if let [only] = body.literals.as_slice()
                    && only.span.line == row
                {
                    self.write(" ");
                }
                self.write("}");
                body.span.end_line
            }
        };
        self.withs(&literal.with, end)
    }

    fn withs(&mut self, withs: &'a [With], end: u32) -> Written {
        let Some((first, _)) = withs.split_first() else {
            return Ok(());
        };
        let mut rest = withs;
        let mut last = end;
        if first.span.line == end {
            self.with(first, false)?;
            last = first.span.line;
            rest = &withs[1..];
        }
        let mut indented = false;
        let mut result = Ok(());
        for with in rest {
            let indent = with.span.line > last;
            if indent {
                if !indented {
                    self.up();
                    indented = true;
                }
                self.end_line();
                self.start_line();
                last = with.span.line;
            }
            result = self.with(with, indent);
            if result.is_err() {
                break;
            }
        }
        if indented {
            self.down();
        }
        result
    }

    fn with(&mut self, with: &'a With, indented: bool) -> Written {
        self.comments_before(with.span.line)?;
        if !indented {
            self.write(" ");
        }
        self.write("with ");
        self.term(&with.target)?;
        self.write(" as ");
        // A value that is kept as it was is written all the same.
        let _: Result<(), Misplaced> = self.term(&with.value);
        Ok(())
    }
}

fn step_row(step: &Step) -> u32 {
    match step {
        Step::Dot(_, span) => span.line,
        Step::Bracket(term) => term.span.line,
    }
}

fn head_name(head: &Head) -> Term {
    match &head.name.kind {
        TermKind::Ref { head, .. } => (**head).clone(),
        _ => head.name.clone(),
    }
}

/// Whether a head makes a set: `p contains x`, or `p[x]` without a value and without `if`.
fn makes_set(head: &Head, body: Option<&Block>) -> bool {
    head.key.is_some()
        || (head.value.is_none()
            && !body.is_some_and(|body| body.conditional)
            && head.args.is_none()
            && matches!(&head.name.kind, TermKind::Ref { path, .. } if matches!(path.as_slice(), [Step::Bracket(..)])))
}

/// Braces around a set alone must not be taken for those of the body.
fn is_set(literal: &Literal) -> bool {
    !literal.negated
        && matches!(
            &literal.kind,
            LiteralKind::Term(Term {
                kind: TermKind::Set(_),
                ..
            })
        )
}

fn definitions(rule: &Rule) -> Vec<Definition<'_>> {
    let mut all = vec![Definition {
        head: Some(&rule.head),
        row: rule.span.line,
        default: rule.default,
        value: rule
            .head
            .value
            .as_ref()
            .map(|(assign, value)| (*assign, value)),
        body: rule.body.as_ref(),
        elses: &rule.elses,
        head_end: rule.head.span.end_line,
    }];
    all.extend(rule.more.iter().map(|body| {
        Definition {
            head: Some(&rule.head),
            row: body.span.line,
            default: false,
            value: rule
                .head
                .value
                .as_ref()
                .map(|(assign, value)| (*assign, value)),
            body: Some(body),
            elses: &[],
            head_end: NOWHERE,
        }
    }));
    all
}
