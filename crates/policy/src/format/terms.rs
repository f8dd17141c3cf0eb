//! Terms.

use super::writer::{Misplaced, NOWHERE, Writer, Written};
use crate::syntax::{Literal, Span, Step, TemplatePart, Term, TermKind};

/// A term without the parentheses around it, whose place is that of what is in them.
fn bare(term: &Term) -> &Term {
    match &term.kind {
        TermKind::Paren(inner) => bare(inner),
        _ => term,
    }
}

/// The line a term begins on: that of what is in its parentheses.
pub(super) fn row(term: &Term) -> u32 {
    bare(term).span.line
}

fn is_union(term: &Term) -> bool {
    matches!(bare(term).kind, TermKind::Infix { op: "|", .. })
}

fn is_call(term: &Term) -> bool {
    matches!(
        bare(term).kind,
        TermKind::Infix { .. } | TermKind::In { .. } | TermKind::Call { .. }
    )
}

fn in_parens(term: &Term) -> bool {
    matches!(term.kind, TermKind::Paren(_))
}

/// Whether a string can stand after a dot.
fn is_name(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
}

impl<'a> Writer<'a> {
    pub(super) fn stretch(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    pub(super) fn source(&self, term: &Term) -> &'a str {
        self.stretch(term.span)
    }

    /// Whether there is a line break between two places.
    pub(super) fn breaks(&self, from: usize, to: usize) -> bool {
        self.text
            .get(from..to)
            .is_some_and(|between| between.contains('\n'))
    }

    /// A term on one line, as it stands in an error or in a head.
    pub(super) fn plain(&self, term: &Term) -> String {
        self.source(term)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(super) fn term(&mut self, term: &'a Term) -> Written {
        let mark = self.mark();
        let result = self.term_in_parens(false, term);
        if result.is_err() {
            let source = self.stretch(term.span);
            self.unformatted(mark, term.span, source);
        }
        result
    }

    /// An expression as a statement: an operator that is the whole of it needs no parentheses within.
    pub(super) fn expression(&mut self, term: &'a Term) -> Written {
        let term = bare(term);
        match &term.kind {
            TermKind::Infix { op, left, right } => {
                self.term(left)?;
                self.write(" ");
                self.write(op);
                self.write(" ");
                self.term(right)
            }
            TermKind::In {
                key,
                value,
                collection,
            } => self.membership(false, key.as_deref(), value, collection),
            TermKind::Call { function, args } => self.call(function, args, term),
            _ => self.term(term),
        }
    }

    pub(super) fn term_in_parens(&mut self, parens: bool, outer: &'a Term) -> Written {
        let term = bare(outer);
        self.comments_before(term.span.line)?;
        if !self.inline {
            self.start_line();
        }
        match &term.kind {
            TermKind::Null
            | TermKind::Bool(_)
            | TermKind::Number
            | TermKind::String
            | TermKind::RawString
            | TermKind::Var(_) => {
                let source = self.source(term);
                self.write(source);
            }
            TermKind::Minus(inner) => {
                self.write("-");
                self.term_in_parens(true, inner)?;
            }
            TermKind::Template(parts) => self.template(term, parts)?,
            TermKind::Ref { .. } => self.reference(term)?,
            TermKind::Call { function, args } => {
                if function.var() == Some("set") && args.is_empty() {
                    self.write("set()");
                } else {
                    self.call(function, args, term)?;
                }
            }
            TermKind::Array(items) => {
                self.write("[");
                let result = self.collection(items, term, true);
                self.write("]");
                result?;
            }
            TermKind::Set(items) => {
                self.write("{");
                let result = self.collection(items, term, true);
                self.write("}");
                result?;
            }
            TermKind::Object(fields) => {
                self.write("{");
                let first = fields
                    .first()
                    .map_or(term.span.start, |(key, _)| key.span.start);
                let rows = (term.span.line, term.span.end_line);
                let result = self.iterable(
                    fields,
                    rows,
                    self.breaks(term.span.start, first),
                    |writer, (key, value)| {
                        writer.item(key, true)?;
                        writer.write(": ");
                        writer.item(value, true)
                    },
                );
                self.write("}");
                result?;
            }
            TermKind::ArrayCompr { head, body } => {
                self.write("[");
                let result = self.comprehension(head, &body.literals, term, head);
                self.write("]");
                result?;
            }
            TermKind::SetCompr { head, body } => {
                self.write("{");
                let result = self.comprehension(head, &body.literals, term, head);
                self.write("}");
                result?;
            }
            TermKind::ObjectCompr { key, value, body } => {
                self.write("{");
                let result = self.object_comprehension(key, value, &body.literals, term);
                self.write("}");
                result?;
            }
            TermKind::Infix { op, left, right } => {
                if parens {
                    self.write("(");
                }
                self.term_in_parens(true, left)?;
                self.write(" ");
                self.write(op);
                self.write(" ");
                self.term_in_parens(true, right)?;
                if parens {
                    self.write(")");
                }
            }
            TermKind::In {
                key,
                value,
                collection,
            } => self.membership(true, key.as_deref(), value, collection)?,
            TermKind::Paren(_) => {}
        }
        if !self.inline {
            self.start_line();
        }
        Ok(())
    }

    fn membership(
        &mut self,
        parens: bool,
        key: Option<&'a Term>,
        value: &'a Term,
        collection: &'a Term,
    ) -> Written {
        let wrapped = parens && key.is_some();
        if wrapped {
            self.write("(");
        }
        if let Some(key) = key {
            self.term_in_parens(true, key)?;
            self.write(", ");
        }
        self.term_in_parens(true, value)?;
        self.write(" in ");
        self.term_in_parens(true, collection)?;
        if wrapped {
            self.write(")");
        }
        Ok(())
    }

    pub(super) fn reference(&mut self, term: &'a Term) -> Written {
        let TermKind::Ref { head, path } = &term.kind else {
            return self.term_in_parens(false, term);
        };
        self.term_in_parens(in_parens(head), head)?;
        for step in path {
            match step {
                Step::Dot(name, _) => {
                    self.write(".");
                    self.write(name);
                }
                Step::Bracket(key) => match (&key.kind, &key.text) {
                    (TermKind::String | TermKind::RawString, Some(text)) => {
                        if is_name(text) && !self.is_keyword(text) {
                            self.write(".");
                            self.write(text);
                        } else {
                            let quoted = if matches!(key.kind, TermKind::String) {
                                self.source(key).to_owned()
                            } else {
                                serde_json::Value::from(text.as_str()).to_string()
                            };
                            self.write("[");
                            self.write(&quoted);
                            self.write("]");
                        }
                    }
                    _ => {
                        self.write("[");
                        let result = self.term(key);
                        if result.is_err() {
                            // The bracket must not become part of a comment.
                            self.write("\n");
                        }
                        self.write("]");
                    }
                },
            }
        }
        Ok(())
    }

    fn is_keyword(&self, text: &str) -> bool {
        crate::syntax::RESERVED.contains(&text)
            || ((self.v1 || self.conditions) && crate::syntax::FUTURE.contains(&text))
    }

    fn call(&mut self, function: &'a Term, args: &'a [Term], term: &'a Term) -> Written {
        let _ = term;
        match &function.kind {
            TermKind::Ref { .. } => self.reference(function)?,
            _ => self.write(self.source(function)),
        }
        self.write("(");
        let result = self.iterable(args, (function.span.line, NOWHERE), false, |writer, arg| {
            writer.item(arg, false)
        });
        self.write(")");
        result
    }

    /// An element of a list: a union is put in parentheses where `|` could begin a comprehension.
    pub(super) fn item(&mut self, term: &'a Term, always: bool) -> Written {
        let parens = is_union(term) && (always || in_parens(term));
        if parens {
            self.write("(");
        }
        let result = self.term(term);
        if parens {
            self.write(")");
        }
        result
    }

    fn collection(&mut self, items: &'a [Term], term: &'a Term, always: bool) -> Written {
        let first = items
            .first()
            .map_or(term.span.start, |item| item.span.start);
        let rows = (term.span.line, term.span.end_line);
        self.iterable(
            items,
            rows,
            self.breaks(term.span.start, first),
            |writer, item| writer.item(item, always),
        )
    }

    /// Elements with commas between them; those on one line stay on one line. `rows` are those of the opening and the
    /// closing symbol, `broken` whether a line break is before the first element.
    pub(super) fn iterable<T: Located>(
        &mut self,
        items: &'a [T],
        rows: (u32, u32),
        broken: bool,
        mut write: impl FnMut(&mut Self, &'a T) -> Written,
    ) -> Written {
        let (open, close) = rows;
        let lines = lines(items, open);
        if lines.len() == 1
            && self
                .pending()
                .iter()
                .any(|comment| comment.span.line > open && comment.span.line < close)
        {
            return Err(Misplaced);
        }
        let broken = lines.len() > 1 || (lines.len() == 1 && broken && !items.is_empty());
        if broken {
            self.delay_before_end();
            self.end_line();
            self.up();
            self.start_line();
        }
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                self.write(",");
                self.end_line();
                self.start_line();
            }
            for (at, item) in line.iter().enumerate() {
                if at > 0 {
                    self.write(", ");
                }
                write(self, item)?;
            }
        }
        if broken {
            self.write(",");
            self.end_line();
            self.comments_before(close)?;
            self.down();
            self.start_line();
        }
        Ok(())
    }

    fn comprehension(
        &mut self,
        head: &'a Term,
        body: &'a [Literal],
        term: &'a Term,
        place: &'a Term,
    ) -> Written {
        if row(place) > term.span.line {
            self.end_line();
            self.start_line();
        }
        let parens = is_call(head) && (is_union(head) || in_parens(head));
        self.term_in_parens(parens, head)?;
        self.write(" |");
        self.comprehension_body(body, row(place), term.span.end_line)
    }

    fn object_comprehension(
        &mut self,
        key: &'a Term,
        value: &'a Term,
        body: &'a [Literal],
        term: &'a Term,
    ) -> Written {
        let key_row = row(key);
        if key_row > term.span.line + 1 {
            self.end_line();
            self.start_line();
        }
        self.item(key, true)?;
        self.write(": ");
        // The value stays on the line of its key.
        if key_row > term.span.line {
            self.end_line();
            self.start_line();
        }
        let parens = is_call(value) && (is_union(value) || in_parens(value));
        self.term_in_parens(parens, value)?;
        self.write(" |");
        self.comprehension_body(body, key_row, term.span.end_line)
    }

    /// The statements after `|` or `{`, with what is before the closing symbol on row `close`.
    pub(super) fn comprehension_body(
        &mut self,
        body: &'a [Literal],
        after: u32,
        close: u32,
    ) -> Written {
        let broken = body.first().is_some_and(|first| first.span.line > after)
            || lines(body, after).len() > 1;
        if broken {
            self.end_line();
            self.up();
            let result = self.body(body).and_then(|()| self.comments_before(close));
            self.down();
            self.start_line();
            return result;
        }
        self.write(" ");
        for (at, literal) in body.iter().enumerate() {
            if at > 0 {
                self.write("; ");
            }
            self.literal(literal)?;
        }
        self.comments_before(close)
    }

    fn template(&mut self, term: &'a Term, parts: &'a [TemplatePart]) -> Written {
        let raw = self.source(term).starts_with("$`");
        self.write(if raw { "$`" } else { "$\"" });
        for part in parts {
            match part {
                TemplatePart::Text(span) => self.write(self.stretch(*span)),
                TemplatePart::Expression(literal) => {
                    self.write("{");
                    self.up();
                    let result = self.literal(literal);
                    self.write("}");
                    self.down();
                    result?;
                }
            }
        }
        self.write(if raw { "`" } else { "\"" });
        Ok(())
    }
}

/// What has a line.
pub(super) trait Located {
    fn row(&self) -> u32;
}

impl Located for Term {
    fn row(&self) -> u32 {
        row(self)
    }
}

impl Located for (Term, Term) {
    fn row(&self) -> u32 {
        row(&self.0)
    }
}

impl Located for Literal {
    fn row(&self) -> u32 {
        self.span.line
    }
}

/// The elements by the lines they begin on.
fn lines<T: Located>(items: &[T], after: u32) -> Vec<&[T]> {
    let mut lines = Vec::new();
    let mut from = 0;
    let mut last = after;
    for (at, item) in items.iter().enumerate() {
        if item.row() > last && at > 0 {
            lines.push(&items[from..at]);
            from = at;
        }
        last = item.row();
    }
    lines.push(&items[from..]);
    lines
}
