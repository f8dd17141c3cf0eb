//! Statements.

use std::sync::Arc;

use super::names::Names;
use super::{Parsed, Parser};
use crate::ast::{Body, Expr, Kind, Macro, NodeKind, Target};
use crate::lexer::Token;

impl Parser {
    pub(super) fn statement(&mut self) -> Parsed<NodeKind> {
        let word = match self.peek() {
            Token::Name(name) => name.clone(),
            _ => return Err(self.wrong("tag name expected".to_owned())),
        };
        self.at += 1;
        let node = match word.as_str() {
            "for" => self.for_loop()?,
            "if" => self.condition()?,
            "set" => self.set()?,
            "with" => self.with()?,
            "filter" => {
                let filter = self.filters(None)?;
                let body = self.block_body("filter", "endfilter")?;
                self.block_end()?;
                NodeKind::FilterBlock(filter, body)
            }
            "macro" => {
                let name = self.name()?;
                let parameters = self.signature()?;
                let body = self.block_body("macro", "endmacro")?;
                self.skip_end_name();
                self.block_end()?;
                NodeKind::Macro(Arc::new(new_macro(name, parameters, body)))
            }
            "call" => {
                let parameters = if self.is_op("(") {
                    self.signature()?
                } else {
                    Vec::new()
                };
                let call = self.expression()?;
                if !matches!(*call.kind, Kind::Call(..)) {
                    return Err(self.wrong("expected call".to_owned()));
                }
                let body = self.block_body("call", "endcall")?;
                self.block_end()?;
                NodeKind::CallBlock {
                    call,
                    body: Arc::new(new_macro("caller".into(), parameters, body)),
                }
            }
            "include" => {
                let name = self.expression()?;
                let ignore_missing = if self.is_name("ignore")
                    && matches!(self.peek_after(1), Token::Name(name) if name == "missing")
                {
                    self.at += 2;
                    true
                } else {
                    false
                };
                let with_context = self.import_context(true);
                self.block_end()?;
                NodeKind::Include {
                    name,
                    ignore_missing,
                    with_context,
                }
            }
            "import" => {
                let name = self.expression()?;
                if !self.skip_name("as") {
                    return Err(self.unexpected("as"));
                }
                let target = self.name()?;
                let with_context = self.import_context(false);
                self.block_end()?;
                NodeKind::Import {
                    name,
                    target,
                    with_context,
                }
            }
            "from" => self.import_names()?,
            "extends" => {
                let name = self.expression()?;
                self.block_end()?;
                NodeKind::Extends(name)
            }
            "block" => {
                let name = self.name()?;
                if !self.blocks.insert(Arc::clone(&name)) {
                    return Err(self.wrong(format!("block '{name}' defined twice")));
                }
                let (mut scoped, mut required) = (false, false);
                loop {
                    if self.skip_name("scoped") {
                        scoped = true;
                    } else if self.skip_name("required") {
                        required = true;
                    } else {
                        break;
                    }
                }
                let body = self.block_body("block", "endblock")?;
                self.skip_end_name();
                self.block_end()?;
                NodeKind::Block {
                    name,
                    scoped,
                    required,
                    body,
                }
            }
            "autoescape" => {
                self.expression()?;
                let body = self.block_body("autoescape", "endautoescape")?;
                self.block_end()?;
                NodeKind::Autoescape(body)
            }
            "do" if self.extensions => {
                let expression = self.tuple(true)?;
                self.block_end()?;
                NodeKind::Do(expression)
            }
            "print" => {
                let expression = self.tuple(true)?;
                self.block_end()?;
                NodeKind::Print(expression)
            }
            "break" | "continue" if self.extensions => {
                if self.loops == 0 {
                    return Err(self.wrong(format!("'{word}' outside of a loop")));
                }
                self.block_end()?;
                if word == "break" {
                    NodeKind::Break
                } else {
                    NodeKind::Continue
                }
            }
            _ => return Err(self.unknown_tag(&word)),
        };
        Ok(node)
    }

    fn skip_end_name(&mut self) {
        if matches!(self.peek(), Token::Name(_)) {
            self.at += 1;
        }
    }

    fn import_context(&mut self, default: bool) -> bool {
        for (word, value) in [("with", true), ("without", false)] {
            if self.is_name(word)
                && matches!(self.peek_after(1), Token::Name(name) if name == "context")
            {
                self.at += 2;
                return value;
            }
        }
        default
    }

    fn import_names(&mut self) -> Parsed<NodeKind> {
        let name = self.expression()?;
        if !self.skip_name("import") {
            return Err(self.unexpected("import"));
        }
        let mut names = Vec::new();
        let mut with_context = false;
        loop {
            let context_follows = (self.is_name("with") || self.is_name("without"))
                && matches!(self.peek_after(1), Token::Name(name) if name == "context");
            if context_follows {
                with_context = self.import_context(false);
                break;
            }
            if !matches!(self.peek(), Token::Name(_)) {
                break;
            }
            let source = self.name()?;
            let target = if self.skip_name("as") {
                self.name()?
            } else {
                Arc::clone(&source)
            };
            names.push((source, target));
            if !self.skip_op(",") {
                let context_follows = (self.is_name("with") || self.is_name("without"))
                    && matches!(self.peek_after(1), Token::Name(name) if name == "context");
                if context_follows {
                    with_context = self.import_context(false);
                }
                break;
            }
        }
        if names.is_empty() {
            return Err(self.unexpected("name"));
        }
        self.block_end()?;
        Ok(NodeKind::FromImport {
            name,
            names,
            with_context,
        })
    }

    fn for_loop(&mut self) -> Parsed<NodeKind> {
        let target = self.target(true)?;
        if !self.skip_name("in") {
            return Err(self.unexpected("in"));
        }
        let iter = self.tuple(false)?;
        let filter = if self.skip_name("if") {
            Some(self.expression()?)
        } else {
            None
        };
        let recursive = self.skip_name("recursive");
        self.block_end()?;
        self.loops += 1;
        let parsed = self.inner("for", &["endfor", "else"]);
        self.loops -= 1;
        let (body, end) = parsed?;
        let otherwise = if end == "else" {
            self.block_end()?;
            self.inner("for", &["endfor"])?.0
        } else {
            Arc::from([])
        };
        self.block_end()?;
        Ok(NodeKind::For {
            target,
            iter,
            filter,
            recursive,
            body,
            otherwise,
        })
    }

    fn condition(&mut self) -> Parsed<NodeKind> {
        let mut branches = Vec::new();
        let mut otherwise: Body = Arc::from([]);
        loop {
            let test = self.tuple(false)?;
            self.block_end()?;
            let (body, end) = self.inner("if", &["elif", "else", "endif"])?;
            branches.push((test, body));
            match end {
                "elif" => {}
                "else" => {
                    self.block_end()?;
                    otherwise = self.inner("if", &["endif"])?.0;
                    break;
                }
                _ => break,
            }
        }
        self.block_end()?;
        Ok(NodeKind::If {
            branches,
            otherwise,
        })
    }

    fn set(&mut self) -> Parsed<NodeKind> {
        let target = self.target(true)?;
        if self.skip_op("=") {
            let value = self.tuple(true)?;
            self.block_end()?;
            return Ok(NodeKind::Set(target, value));
        }
        let filter = if self.is_op("|") {
            self.at += 1;
            Some(self.filters(None)?)
        } else {
            None
        };
        let body = self.block_body("set", "endset")?;
        self.block_end()?;
        Ok(NodeKind::SetBlock {
            target,
            filter,
            body,
        })
    }

    fn with(&mut self) -> Parsed<NodeKind> {
        let mut values = Vec::new();
        while *self.peek() != Token::BlockEnd {
            if !values.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false)?;
            self.expect_op("=")?;
            values.push((target, self.expression()?));
        }
        let body = self.block_body("with", "endwith")?;
        self.block_end()?;
        Ok(NodeKind::With(values, body))
    }

    pub(super) fn target(&mut self, tuple: bool) -> Parsed<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.skip_op("(") {
                targets.push(self.target(true)?);
                self.expect_op(")")?;
            } else {
                let name = self.name()?;
                if matches!(
                    &*name,
                    "true" | "false" | "none" | "True" | "False" | "None" | "not"
                ) {
                    return Err(self.wrong(format!("can't assign to '{name}'")));
                }
                if self.skip_op(".") {
                    let attribute = self.name()?;
                    targets.push(Target::Attribute(name, attribute));
                } else {
                    targets.push(Target::Name(name));
                }
            }
            if !tuple || !self.skip_op(",") {
                break;
            }
            is_tuple = true;
            if self.is_name("in") || self.is_op("=") || self.is_op(")") {
                break;
            }
        }
        match (is_tuple, targets.pop()) {
            (false, Some(only)) => Ok(only),
            (_, last) => {
                targets.extend(last);
                Ok(Target::Tuple(targets))
            }
        }
    }

    pub(super) fn signature(&mut self) -> Parsed<Vec<(Arc<str>, Option<Expr>)>> {
        let mut parameters: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        self.expect_op("(")?;
        while !self.skip_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
                if self.skip_op(")") {
                    break;
                }
            }
            let name = self.name()?;
            let default = if self.skip_op("=") {
                Some(self.expression()?)
            } else {
                if parameters
                    .last()
                    .is_some_and(|(_, default)| default.is_some())
                {
                    return Err(
                        self.wrong("non-default argument follows default argument".to_owned())
                    );
                }
                None
            };
            parameters.push((name, default));
        }
        Ok(parameters)
    }
}

fn new_macro(name: Arc<str>, parameters: Vec<(Arc<str>, Option<Expr>)>, body: Body) -> Macro {
    let mut names = Names::default();
    names.body(&body);
    Macro {
        takes_varargs: names.found.contains("varargs"),
        takes_kwargs: names.found.contains("kwargs"),
        takes_caller: names.found.contains("caller"),
        name,
        parameters,
        body,
    }
}
