//! From tokens to a tree, by the grammar of Jinja 3.1 with the extensions `do` and `loopcontrols`.

mod expressions;
mod names;
mod statements;

use std::collections::HashSet;
use std::sync::Arc;

use crate::ast::{Body, Expr, Kind, Node, NodeKind};
use crate::error::{Error, Result};
use crate::lexer::{Spanned, Token};

/// Deeper than this expressions and blocks are refused: the tree is walked on the stack.
const DEPTH: u32 = 120;

pub(crate) struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    depth: u32,
    /// What the statements that are open wait for, for errors.
    open: Vec<(&'static str, Vec<&'static str>)>,
    loops: u32,
    extensions: bool,
    blocks: HashSet<Arc<str>>,
}

type Parsed<T> = Result<T>;

impl Parser {
    pub(crate) fn new(tokens: Vec<Spanned>, extensions: bool) -> Self {
        Parser {
            tokens,
            at: 0,
            depth: 0,
            open: Vec::new(),
            loops: 0,
            extensions,
            blocks: HashSet::new(),
        }
    }

    /// The nodes of a whole template.
    pub(crate) fn template(mut self) -> Parsed<Body> {
        let (body, _) = self.body(&[])?;
        Ok(body)
    }

    /// A single expression.
    pub(crate) fn whole_expression(mut self) -> Parsed<Expr> {
        let expression = self.expression()?;
        if *self.peek() != Token::End {
            return Err(self.wrong("chunk after expression".to_owned()));
        }
        Ok(expression)
    }

    fn peek(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn peek_after(&self, count: usize) -> &Token {
        self.tokens
            .get(self.at + count)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn line(&self) -> u32 {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(1, |(_, line)| *line)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        if self.at < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn wrong(&self, message: String) -> Error {
        Error::syntax(message, self.line())
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Token::Op(found) if *found == op)
    }

    fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect_op(&mut self, op: &str) -> Parsed<()> {
        if self.skip_op(op) {
            return Ok(());
        }
        Err(self.unexpected(op))
    }

    fn unexpected(&self, expected: &str) -> Error {
        match self.peek() {
            Token::End => self.wrong(format!(
                "unexpected end of template, expected {}.",
                crate::repr::string(expected)
            )),
            token => self.wrong(format!(
                "expected token {}, got {}",
                crate::repr::string(expected),
                crate::repr::string(&token.shown())
            )),
        }
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Token::Name(found) if found == name)
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.at += 1;
        }
        found
    }

    fn name(&mut self) -> Parsed<Arc<str>> {
        match self.peek() {
            Token::Name(name) => {
                let name = Arc::from(name.as_str());
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("name")),
        }
    }

    fn block_end(&mut self) -> Parsed<()> {
        if *self.peek() == Token::BlockEnd {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected("end of statement block"))
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH {
            return Err(self.wrong("the template is nested too deeply".to_owned()));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Nodes up to a statement of one of these names, which is taken; gives which it was.
    fn body(&mut self, ends: &[&'static str]) -> Parsed<(Body, &'static str)> {
        let mut nodes = Vec::new();
        loop {
            let line = self.line();
            match self.next() {
                Token::Data(text) => nodes.push(Node {
                    kind: NodeKind::Text(text.into()),
                    line,
                }),
                Token::VariableStart => {
                    let expression = self.tuple(true)?;
                    if *self.peek() != Token::VariableEnd {
                        return Err(self.unexpected("end of print statement"));
                    }
                    self.at += 1;
                    nodes.push(Node {
                        kind: NodeKind::Print(expression),
                        line,
                    });
                }
                Token::BlockStart => {
                    if let Token::Name(name) = self.peek()
                        && let Some(end) = ends.iter().find(|end| **end == *name)
                    {
                        self.at += 1;
                        return Ok((nodes.into(), end));
                    }
                    let node = self.deeper(Self::statement)?;
                    nodes.push(Node { kind: node, line });
                }
                Token::End => {
                    if ends.is_empty() {
                        return Ok((nodes.into(), ""));
                    }
                    return Err(self.unclosed());
                }
                token => {
                    return Err(Error::syntax(
                        format!("unexpected {}", crate::repr::string(&token.shown())),
                        line,
                    ));
                }
            }
        }
    }

    fn unclosed(&self) -> Error {
        let Some((statement, ends)) = self.open.last() else {
            return self.wrong("Unexpected end of template.".to_owned());
        };
        let ends: Vec<String> = ends.iter().map(|end| format!("'{end}'")).collect();
        self.wrong(format!(
            "Unexpected end of template. Jinja was looking for the following tags: {}. The innermost block that needs to be closed is '{statement}'.",
            ends.join(" or ")
        ))
    }

    fn unknown_tag(&self, name: &str) -> Error {
        let mut message = format!("Encountered unknown tag '{name}'.");
        if let Some((statement, ends)) = self.open.last() {
            let ends: Vec<String> = ends.iter().map(|end| format!("'{end}'")).collect();
            if self.open.iter().any(|(_, ends)| ends.contains(&name)) {
                message.push_str(" You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for ");
                message.push_str(&ends.join(" or "));
                message.push('.');
            } else {
                message.push_str(" Jinja was looking for the following tags: ");
                message.push_str(&ends.join(" or "));
                message.push('.');
            }
            message.push_str(&format!(
                " The innermost block that needs to be closed is '{statement}'."
            ));
        }
        self.wrong(message)
    }

    fn inner(
        &mut self,
        statement: &'static str,
        ends: &[&'static str],
    ) -> Parsed<(Body, &'static str)> {
        self.open.push((statement, ends.to_vec()));
        let parsed = self.body(ends);
        if parsed.is_ok() {
            self.open.pop();
        }
        parsed
    }

    /// A body that ends with the one statement of its own.
    fn block_body(&mut self, statement: &'static str, end: &'static str) -> Parsed<Body> {
        self.block_end()?;
        let (body, _) = self.inner(statement, &[end])?;
        Ok(body)
    }

    fn make(kind: Kind, line: u32) -> Expr {
        Expr {
            kind: Box::new(kind),
            line,
        }
    }
}
