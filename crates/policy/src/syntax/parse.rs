//! From text to tree.

use super::lex::{Comment, Lexer, Token, TokenKind, unquote};
use super::tree::{
    Assign, Block, Else, Head, Import, Literal, LiteralKind, Module, Rule, Span, Step,
    TemplatePart, Term, TermKind, With,
};
use crate::engine::{Error, Version};

/// How deep terms may be nested: the evaluator goes as deep as the text does, and its stack has an end.
const MAX_DEPTH: usize = 40;
/// How many operators one expression may join without parentheses, for the same reason.
const MAX_CHAIN: usize = 100;
/// How often reading may be begun again where `|` may stand for two things.
const MAX_RETRIES: usize = 10_000;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    /// Of the token before.
    last: Span,
    comments: Vec<Comment>,
    depth: usize,
    retries: usize,
    /// The words that are keywords beside those of all versions.
    keywords: Vec<&'static str>,
    v1: bool,
}

/// A place to come back to.
struct Mark<'a> {
    lexer: Lexer<'a>,
    token: Token,
    last: Span,
    comments: usize,
}

type Parsed<T> = Result<T, Error>;

/// Keywords that no version allows as names.
pub(crate) const RESERVED: [&str; 11] = [
    "as", "default", "else", "false", "import", "not", "null", "package", "some", "true", "with",
];
/// Keywords since v1, or once imported.
pub(crate) const FUTURE: [&str; 4] = ["contains", "every", "if", "in"];

/// Reads a file.
pub(crate) fn module(file: &str, text: &str, version: Version) -> Parsed<Module> {
    let mut parser = Parser::new(file, text, version)?;
    let start = parser.token.span;
    if !parser.is_word("package") {
        return Err(parser
            .error("package expected")
            .hint("a policy begins with `package NAME`"));
    }
    parser.next()?;
    let package = parser.reference()?;
    let package_span = start.to(package.span);
    let mut module = Module {
        package,
        package_span,
        imports: Vec::new(),
        rules: Vec::new(),
        comments: Vec::new(),
    };
    loop {
        parser.skip(";")?;
        if parser.token.kind == TokenKind::End {
            break;
        }
        if parser.is_word("import") && !parser.names_reference() {
            let import = parser.import()?;
            module.imports.push(import);
        } else {
            let rule = parser.rule()?;
            module.rules.push(rule);
        }
    }
    module.comments = parser.comments;
    Ok(module)
}

/// Reads a query: statements with `;` or line breaks between them.
pub(crate) fn query(file: &str, text: &str, version: Version) -> Parsed<Vec<Literal>> {
    let mut parser = Parser::new(file, text, version)?;
    parser.literals(&[])
}

impl<'a> Parser<'a> {
    fn new(file: &'a str, text: &'a str, version: Version) -> Parsed<Self> {
        let v1 = version == Version::V1;
        let mut lexer = Lexer::new(file, text);
        let mut comments = Vec::new();
        let token = lexer.next(&mut comments)?;
        Ok(Self {
            text,
            lexer,
            token,
            last: Span::default(),
            comments,
            depth: 0,
            retries: 0,
            keywords: if v1 { FUTURE.to_vec() } else { Vec::new() },
            v1,
        })
    }

    fn mark(&self) -> Mark<'a> {
        Mark {
            lexer: self.lexer,
            token: self.token,
            last: self.last,
            comments: self.comments.len(),
        }
    }

    fn back(&mut self, mark: &Mark<'a>) {
        self.lexer = mark.lexer;
        self.token = mark.token;
        self.last = mark.last;
        self.comments.truncate(mark.comments);
    }

    fn next(&mut self) -> Parsed<Token> {
        let token = self.token;
        self.last = token.span;
        self.token = self.lexer.next(&mut self.comments)?;
        Ok(token)
    }

    fn source(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    fn word(&self) -> &'a str {
        if self.token.kind == TokenKind::Name {
            self.source(self.token.span)
        } else {
            ""
        }
    }

    fn is_word(&self, word: &str) -> bool {
        self.word() == word
    }

    /// Whether the word is the present token, and a keyword here.
    fn is_keyword(&self, word: &str) -> bool {
        self.is_word(word) && self.keywords.contains(&word) && !self.names_reference()
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token.kind, TokenKind::Symbol(known) if known == symbol)
    }

    /// Whether the present token follows the one before without a blank.
    fn adjacent(&self) -> bool {
        self.token.span.start == self.last.end
    }

    fn skip(&mut self, symbol: &str) -> Parsed<bool> {
        let there = self.is(symbol);
        if there {
            self.next()?;
        }
        Ok(there)
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<Token> {
        if self.is(symbol) {
            self.next()
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        self.lexer.error(self.token.span, message)
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found = match self.token.kind {
            TokenKind::End => "end of the file".to_owned(),
            TokenKind::Name
                if RESERVED.contains(&self.word()) || self.keywords.contains(&self.word()) =>
            {
                format!("{} keyword", self.word())
            }
            _ => format!("`{}`", self.source(self.token.span)),
        };
        self.error(format!("unexpected {found}: expected {expected}"))
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self
                .error(format!("terms are nested more than {MAX_DEPTH} deep"))
                .hint("put inner parts into rules of their own, or into data"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn import(&mut self) -> Parsed<Import> {
        let start = self.next()?.span;
        let path = self.reference()?;
        let mut span = start.to(path.span);
        let mut alias = None;
        if self.is_word("as") {
            self.next()?;
            let name = self.token;
            if name.kind != TokenKind::Name || RESERVED.contains(&self.word()) {
                return Err(self.unexpected("a name"));
            }
            alias = Some(self.word().to_owned());
            self.next()?;
            span = start.to(name.span);
        }
        let import = Import { span, path, alias };
        let dotted = import.dotted();
        let root = dotted.split('.').next().unwrap_or_default();
        if !matches!(root, "data" | "input" | "future" | "rego") {
            return Err(self
                .lexer
                .error(
                    import.path.span,
                    "unexpected import path: must begin with one of {data, future, input, rego}",
                )
                .hint(format!("did you mean `import data.{dotted}`?")));
        }
        match dotted.strip_prefix("future.keywords") {
            Some("") => self.keywords = FUTURE.to_vec(),
            Some(word) => match FUTURE
                .iter()
                .find(|known| word.strip_prefix('.') == Some(known))
            {
                Some(known) => {
                    self.keywords.push(known);
                    // `every` needs `in`.
                    if *known == "every" {
                        self.keywords.push("in");
                    }
                }
                None => {
                    return Err(self.lexer.error(
                        import.path.span,
                        format!("unexpected keyword: {}", word.trim_start_matches('.')),
                    ));
                }
            },
            None if dotted == "rego.v1" => {
                self.keywords = FUTURE.to_vec();
                self.v1 = true;
            }
            None => {}
        }
        Ok(import)
    }

    /// A name with dots and brackets after it, as it stands after `package` and `import` and at the head of a rule.
    fn reference(&mut self) -> Parsed<Term> {
        let word = self.word();
        if self.token.kind != TokenKind::Name {
            return Err(self.unexpected("a name"));
        }
        let name = word.to_owned();
        let span = self.next()?.span;
        let head = Term {
            span,
            kind: TermKind::Var(name),
            text: None,
        };
        self.steps(head)
    }

    fn steps(&mut self, head: Term) -> Parsed<Term> {
        let start = head.span;
        let mut path = Vec::new();
        while self.adjacent() {
            if self.is(".") {
                self.next()?;
                if self.token.kind != TokenKind::Name || !self.adjacent() {
                    return Err(self.unexpected("a name after `.`"));
                }
                let name = self.word().to_owned();
                let span = self.next()?.span;
                path.push(Step::Dot(name, span));
            } else if self.is("[") {
                self.next()?;
                let term = self.deeper(Parser::list_item)?;
                self.expect("]")?;
                path.push(Step::Bracket(term));
            } else {
                break;
            }
        }
        if path.is_empty() {
            return Ok(head);
        }
        Ok(Term {
            span: start.to(self.last),
            kind: TermKind::Ref {
                head: Box::new(head),
                path,
            },
            text: None,
        })
    }

    /// Whether the present word is a keyword that is used as one: followed by `.` it is the name of a reference.
    fn is_reserved(&self) -> bool {
        let word = self.word();
        (RESERVED.contains(&word) || self.keywords.contains(&word)) && !self.names_reference()
    }

    fn names_reference(&self) -> bool {
        self.token.kind == TokenKind::Name && self.text[self.token.span.end..].starts_with('.')
    }

    fn rule(&mut self) -> Parsed<Rule> {
        let start = self.token.span;
        let default = self.is_word("default") && !self.names_reference();
        if default {
            self.next()?;
        }
        if self.token.kind != TokenKind::Name || self.is_reserved() {
            return Err(self.unexpected("a rule"));
        }
        let name = self.reference()?;
        let head_start = name.span;
        let mut head = Head {
            span: name.span,
            name,
            args: None,
            key: None,
            value: None,
        };
        if self.is("(") && self.adjacent() {
            let open = self.next()?.span;
            let args = self.list(")")?;
            head.args = Some((args, open.to(self.last)));
        }
        if self.is_keyword("contains") {
            self.next()?;
            head.key = Some(self.list_item()?);
        }
        head.value = self.assigned()?;
        head.span = head_start.to(self.last);
        let mut rule = Rule {
            span: start,
            default,
            head,
            body: None,
            elses: Vec::new(),
            more: Vec::new(),
        };
        if rule.default {
            if rule.head.value.is_none() {
                return Err(self.unexpected("`:=` and the default value"));
            }
            rule.span = start.to(self.last);
            return Ok(rule);
        }
        rule.body = self.rule_body()?;
        if rule
            .body
            .as_ref()
            .is_some_and(|body| body.braces && !body.conditional)
            && self.v1
        {
            return Err(self
                .lexer
                .error(rule.span, "`if` keyword is required before rule body")
                .hint("this is how Rego was written before v1: add `if`, or ask for version v0"));
        }
        if rule.head.args.is_none()
            && rule.head.key.is_none()
            && rule.head.value.is_none()
            && self.v1
            && rule.body.is_none()
        {
            return Err(self
                .lexer
                .error(
                    rule.span,
                    format!(
                        "{} must have value assignment and/or body declaration",
                        self.source(rule.head.span)
                    ),
                )
                .hint("a set is written `NAME contains VALUE`, a value `NAME := VALUE`"));
        }
        while self.is_word("else") && !self.names_reference() {
            let start = self.next()?.span;
            let value = self.assigned()?;
            let body = self.rule_body()?;
            if value.is_none() && body.is_none() {
                return Err(self.unexpected("a value or a body after else"));
            }
            rule.elses.push(Else {
                span: start.to(self.last),
                value,
                body,
            });
        }
        if rule.elses.is_empty() && rule.body.as_ref().is_some_and(|body| body.braces) {
            while self.is("{") {
                let block = self.block(false)?;
                rule.more.push(block);
            }
        }
        rule.span = start.to(self.last);
        // What follows begins on a line of its own, or after `;`.
        if self.token.kind != TokenKind::End
            && !self.is(";")
            && self.token.span.line == self.last.end_line
        {
            return Err(self.unexpected("a new line after the rule"));
        }
        Ok(rule)
    }

    fn assigned(&mut self) -> Parsed<Option<(Assign, Term)>> {
        let assign = if self.is(":=") {
            Assign::Assign
        } else if self.is("=") {
            Assign::Unify
        } else {
            return Ok(None);
        };
        self.next()?;
        Ok(Some((assign, self.list_item()?)))
    }

    fn rule_body(&mut self) -> Parsed<Option<Block>> {
        if self.is_keyword("if") {
            let start = self.next()?.span;
            if self.is("{") {
                let (mark, depth) = (self.mark(), self.depth);
                match self.block(true) {
                    // An object or a set may begin a condition too.
                    Ok(block) if self.ends_rule() => return Ok(Some(block)),
                    Ok(_) => self.back(&mark),
                    Err(error) => {
                        self.retries += 1;
                        self.back(&mark);
                        self.depth = depth;
                        if self.retries > MAX_RETRIES
                            || self.literal().is_err()
                            || !self.ends_rule()
                        {
                            return Err(error);
                        }
                        self.back(&mark);
                    }
                }
            }
            let literal = self.literal()?;
            return Ok(Some(Block {
                span: start.to(self.last),
                braces: false,
                conditional: true,
                literals: vec![literal],
            }));
        }
        if self.is("{") {
            return self.block(false).map(Some);
        }
        Ok(None)
    }

    /// Whether what follows may follow the body of a rule.
    fn ends_rule(&self) -> bool {
        self.token.kind == TokenKind::End
            || self.is(";")
            || self.is("{")
            || self.is_word("else")
            || self.token.span.line > self.last.end_line
    }

    fn block(&mut self, conditional: bool) -> Parsed<Block> {
        let open = self.expect("{")?.span;
        let literals = self.deeper(|parser| parser.literals(&["}"]))?;
        let close = self.expect("}")?.span;
        if literals.is_empty() {
            return Err(self.lexer.error(close, "found empty body"));
        }
        Ok(Block {
            span: open.to(close),
            braces: true,
            conditional,
            literals,
        })
    }

    /// Statements up to one of the symbols, or the end.
    fn literals(&mut self, ends: &[&str]) -> Parsed<Vec<Literal>> {
        let mut literals = Vec::new();
        loop {
            while self.skip(";")? {}
            if self.token.kind == TokenKind::End || ends.iter().any(|end| self.is(end)) {
                return Ok(literals);
            }
            let literal = self.literal()?;
            literals.push(literal);
            let done = self.token.kind == TokenKind::End
                || self.is(";")
                || ends.iter().any(|end| self.is(end));
            if !done && self.token.span.line == self.last.end_line {
                return Err(self.unexpected(&match ends {
                    [end] => format!("`;`, a new line or `{end}`"),
                    _ => "`;` or a new line".to_owned(),
                }));
            }
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let start = self.token.span;
        let negated = self.is_word("not") && !self.names_reference();
        if negated {
            self.next()?;
        }
        let kind = if self.is_word("some") && !self.names_reference() {
            if negated {
                return Err(self.error("illegal negation of 'some'"));
            }
            self.some()?
        } else if self.is_keyword("every") && !self.names_reference() {
            if negated {
                return Err(self.error("illegal negation of 'every'"));
            }
            self.next()?;
            let names = self.names()?;
            if !self.is_keyword("in") {
                return Err(self.unexpected("in keyword"));
            }
            self.next()?;
            let domain = self.relation(true)?;
            let body = self.block(false)?;
            LiteralKind::Every {
                names,
                domain,
                body,
            }
        } else {
            LiteralKind::Term(self.expression()?)
        };
        let mut with = Vec::new();
        while self.is_word("with") && !self.names_reference() {
            let start = self.next()?.span;
            let target = self.reference()?;
            if !self.is_word("as") {
                return Err(self.unexpected("as keyword"));
            }
            self.next()?;
            let value = self.list_item()?;
            with.push(With {
                span: start.to(value.span),
                target,
                value,
            });
        }
        Ok(Literal {
            span: start.to(self.last),
            negated,
            kind,
            with,
        })
    }

    fn names(&mut self) -> Parsed<Vec<Term>> {
        let mut names = vec![self.relation(true)?];
        if self.skip(",")? {
            names.push(self.relation(true)?);
        }
        Ok(names)
    }

    fn some(&mut self) -> Parsed<LiteralKind> {
        self.next()?;
        let mut names = vec![self.relation(true)?];
        while self.skip(",")? {
            names.push(self.relation(true)?);
        }
        if self.is_keyword("in") {
            if names.len() > 2 {
                return Err(self.error(
                    "illegal `some`: at most a key and a value may be declared before `in`",
                ));
            }
            self.next()?;
            let collection = self.relation(true)?;
            return Ok(LiteralKind::SomeIn { names, collection });
        }
        if let Some(name) = names.iter().find(|name| name.var().is_none()) {
            return Err(self
                .lexer
                .error(name.span, "unexpected term: expected a variable after some"));
        }
        Ok(LiteralKind::Some(names))
    }

    /// A statement's expression: membership, with `=` or `:=` and what it is made equal to.
    fn expression(&mut self) -> Parsed<Term> {
        let left = self.membership(true, true)?;
        let op = if self.is(":=") {
            ":="
        } else if self.is("=") {
            "="
        } else {
            return Ok(left);
        };
        self.next()?;
        let right = self.membership(true, true)?;
        let span = left.span.to(right.span);
        Ok(Term {
            span,
            kind: TermKind::Infix {
                op,
                left: Box::new(left),
                right: Box::new(right),
            },
            text: None,
        })
    }

    /// An element of a list: no comma belongs to it.
    fn list_item(&mut self) -> Parsed<Term> {
        self.membership(false, true)
    }

    fn membership(&mut self, pair: bool, or: bool) -> Parsed<Term> {
        let mut left = self.relation(or)?;
        let mut key = None;
        if pair && self.is(",") && self.keywords.contains(&"in") {
            let mark = self.mark();
            self.next()?;
            match self.relation(or) {
                Ok(value) if self.is_keyword("in") => {
                    key = Some(Box::new(left));
                    left = value;
                }
                _ => {
                    self.back(&mark);
                    return Ok(left);
                }
            }
        }
        let mut chain = 0;
        while self.is_keyword("in") {
            chain += 1;
            if chain > MAX_CHAIN {
                return Err(self.error("the expression joins too many operators"));
            }
            self.next()?;
            let collection = self.relation(or)?;
            let start = key.as_ref().map_or(left.span, |key| key.span);
            let span = start.to(collection.span);
            left = Term {
                span,
                kind: TermKind::In {
                    key: key.take(),
                    value: Box::new(left),
                    collection: Box::new(collection),
                },
                text: None,
            };
        }
        Ok(left)
    }

    fn infix(
        &mut self,
        ops: &[&'static str],
        mut operand: impl FnMut(&mut Self) -> Parsed<Term>,
    ) -> Parsed<Term> {
        let mut left = operand(self)?;
        let mut chain = 0;
        while let Some(op) = ops.iter().find(|op| self.is(op)) {
            chain += 1;
            if chain > MAX_CHAIN {
                return Err(self.error("the expression joins too many operators"));
            }
            self.next()?;
            let right = operand(self)?;
            let span = left.span.to(right.span);
            left = Term {
                span,
                kind: TermKind::Infix {
                    op,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                text: None,
            };
        }
        Ok(left)
    }

    /// Comparisons and all that binds closer. Without `or` a `|` is left to who called.
    fn relation(&mut self, or: bool) -> Parsed<Term> {
        self.infix(&["==", "!=", "<=", ">=", "<", ">"], |parser| {
            let ops: &[&'static str] = if or { &["|"] } else { &[] };
            parser.infix(ops, |parser| {
                parser.infix(&["&"], |parser| {
                    parser.infix(&["+", "-"], |parser| {
                        parser.infix(&["*", "/", "%"], Self::term)
                    })
                })
            })
        })
    }

    fn term(&mut self) -> Parsed<Term> {
        self.deeper(Self::primary)
            .and_then(|term| self.postfix(term))
    }

    fn simple(&mut self, kind: TermKind) -> Parsed<Term> {
        let span = self.next()?.span;
        Ok(Term {
            span,
            kind,
            text: None,
        })
    }

    fn primary(&mut self) -> Parsed<Term> {
        match self.token.kind {
            TokenKind::Number => self.simple(TermKind::Number),
            TokenKind::String => {
                let text = unquote(self.source(self.token.span)).ok_or_else(|| {
                    self.error("illegal string literal")
                        .hint("the escapes of a string are those of JSON; `...` takes all as it is")
                })?;
                let mut term = self.simple(TermKind::String)?;
                term.text = Some(text);
                Ok(term)
            }
            TokenKind::RawString => {
                let text = self.source(self.token.span).trim_matches('`').to_owned();
                let mut term = self.simple(TermKind::RawString)?;
                term.text = Some(text);
                Ok(term)
            }
            TokenKind::Template => self.template(),
            TokenKind::Name => {
                let word = self.word();
                match word {
                    "null" if self.is_reserved() => self.simple(TermKind::Null),
                    "true" if self.is_reserved() => self.simple(TermKind::Bool(true)),
                    "false" if self.is_reserved() => self.simple(TermKind::Bool(false)),
                    // `contains` is a function too.
                    _ if self.is_reserved() && word != "contains" => Err(self.unexpected("a term")),
                    _ => {
                        let name = word.to_owned();
                        self.simple(TermKind::Var(name))
                    }
                }
            }
            TokenKind::Symbol("-") => {
                let start = self.next()?.span;
                let term = self.term()?;
                let span = start.to(term.span);
                if matches!(term.kind, TermKind::Number) && term.span.start == start.end {
                    return Ok(Term {
                        span,
                        kind: TermKind::Number,
                        text: None,
                    });
                }
                Ok(Term {
                    span,
                    kind: TermKind::Minus(Box::new(term)),
                    text: None,
                })
            }
            TokenKind::Symbol("(") => {
                let open = self.next()?.span;
                let inner = self.membership(true, true)?;
                let close = self.expect(")")?.span;
                Ok(Term {
                    span: open.to(close),
                    kind: TermKind::Paren(Box::new(inner)),
                    text: None,
                })
            }
            TokenKind::Symbol("[") => self.array(),
            TokenKind::Symbol("{") => self.braces(),
            _ => Err(self.unexpected("a term")),
        }
    }

    fn postfix(&mut self, mut term: Term) -> Parsed<Term> {
        loop {
            if !self.adjacent() {
                return Ok(term);
            }
            if self.is("(") && (matches!(term.kind, TermKind::Var(_)) || term.dotted().is_some()) {
                self.next()?;
                let args = self.deeper(|parser| parser.list(")"))?;
                let span = term.span.to(self.last);
                term = Term {
                    span,
                    kind: TermKind::Call {
                        function: Box::new(term),
                        args,
                    },
                    text: None,
                };
            } else if self.is(".") || self.is("[") {
                if matches!(
                    term.kind,
                    TermKind::Number | TermKind::Null | TermKind::Bool(_) | TermKind::Minus(_)
                ) {
                    return Err(self.unexpected("`;` or a new line"));
                }
                term = self.steps(term)?;
            } else {
                return Ok(term);
            }
        }
    }

    /// Terms with commas between them, up to and with the closing symbol; a comma may stand after the last.
    fn list(&mut self, close: &'static str) -> Parsed<Vec<Term>> {
        let mut items = Vec::new();
        loop {
            if self.skip(close)? {
                return Ok(items);
            }
            let item = self.list_item()?;
            items.push(item);
            if !self.skip(",")? {
                self.expect(close)?;
                return Ok(items);
            }
        }
    }

    /// The body of a comprehension after its `|`, if that is what follows.
    fn comprehension(&mut self, close: &'static str) -> Parsed<Option<Block>> {
        if !self.is("|") {
            return Ok(None);
        }
        self.retries += 1;
        if self.retries > MAX_RETRIES {
            return Err(self.error("the text has too many `|` whose meaning is not clear"));
        }
        let mark = self.mark();
        let bar = self.next()?.span;
        match self.literals(&[close]) {
            Ok(literals) if self.is(close) && !literals.is_empty() => {
                let span = bar.to(self.last);
                Ok(Some(Block {
                    span,
                    braces: false,
                    conditional: false,
                    literals,
                }))
            }
            Ok(_) => {
                self.back(&mark);
                Ok(None)
            }
            Err(error) => {
                // A union of sets reads on from here; if that fails too, what was wrong in the body says more.
                self.back(&mark);
                let depth = self.depth;
                let union = self.next().and_then(|_| self.relation(true)).is_ok()
                    && (self.is(",") || self.is(close) || self.is(":"));
                self.depth = depth;
                self.back(&mark);
                if union { Ok(None) } else { Err(error) }
            }
        }
    }

    fn array(&mut self) -> Parsed<Term> {
        let open = self.next()?.span;
        if !self.is("]") {
            let mark = self.mark();
            let head = self.membership(false, false)?;
            if let Some(body) = self.comprehension("]")? {
                let close = self.expect("]")?.span;
                return Ok(Term {
                    span: open.to(close),
                    kind: TermKind::ArrayCompr {
                        head: Box::new(head),
                        body,
                    },
                    text: None,
                });
            }
            if self.is("|") {
                self.back(&mark);
            } else {
                let mut items = vec![head];
                if self.skip(",")? {
                    items.extend(self.list("]")?);
                } else {
                    self.expect("]")?;
                }
                return Ok(Term {
                    span: open.to(self.last),
                    kind: TermKind::Array(items),
                    text: None,
                });
            }
        }
        let items = self.list("]")?;
        Ok(Term {
            span: open.to(self.last),
            kind: TermKind::Array(items),
            text: None,
        })
    }

    fn braces(&mut self) -> Parsed<Term> {
        let open = self.next()?.span;
        if self.is("}") {
            let close = self.next()?.span;
            return Ok(Term {
                span: open.to(close),
                kind: TermKind::Object(Vec::new()),
                text: None,
            });
        }
        let mark = self.mark();
        let mut head = self.membership(false, false)?;
        if self.is(":") {
            return self.object(open, head);
        }
        if let Some(body) = self.comprehension("}")? {
            let close = self.expect("}")?.span;
            return Ok(Term {
                span: open.to(close),
                kind: TermKind::SetCompr {
                    head: Box::new(head),
                    body,
                },
                text: None,
            });
        }
        if self.is("|") {
            self.back(&mark);
            head = self.list_item()?;
            if self.is(":") {
                return self.object(open, head);
            }
        }
        let mut items = vec![head];
        if self.skip(",")? {
            items.extend(self.list("}")?);
        } else {
            self.expect("}")?;
        }
        Ok(Term {
            span: open.to(self.last),
            kind: TermKind::Set(items),
            text: None,
        })
    }

    fn object(&mut self, open: Span, key: Term) -> Parsed<Term> {
        self.expect(":")?;
        let mark = self.mark();
        let value = self.membership(false, false)?;
        if let Some(body) = self.comprehension("}")? {
            let close = self.expect("}")?.span;
            let kind = TermKind::ObjectCompr {
                key: Box::new(key),
                value: Box::new(value),
                body,
            };
            return Ok(Term {
                span: open.to(close),
                kind,
                text: None,
            });
        }
        let value = if self.is("|") {
            self.back(&mark);
            self.list_item()?
        } else {
            value
        };
        let mut fields = vec![(key, value)];
        loop {
            if !self.skip(",")? {
                self.expect("}")?;
                break;
            }
            if self.skip("}")? {
                break;
            }
            let key = self.list_item()?;
            self.expect(":")?;
            let value = self.list_item()?;
            fields.push((key, value));
        }
        Ok(Term {
            span: open.to(self.last),
            kind: TermKind::Object(fields),
            text: None,
        })
    }

    fn template(&mut self) -> Parsed<Term> {
        let start = self.token.span;
        let raw = self.source(start).ends_with('`');
        let mut parts = Vec::new();
        // The token after the opening quote was not read yet: the text begins where the lexer stands.
        loop {
            let (text, follows) = self.lexer.template_text(raw)?;
            if text.end > text.start {
                parts.push(TemplatePart::Text(text));
            }
            if !follows {
                break;
            }
            self.token = self.lexer.next(&mut self.comments)?;
            if self.is("}") {
                return Err(self.error("template-strings must not hold an empty expression"));
            }
            let literal = self.deeper(Self::literal)?;
            if literal.negated
                || !matches!(&literal.kind, LiteralKind::Term(term) if !matches!(term.kind, TermKind::Infix { op: "=" | ":=", .. }))
            {
                return Err(self.lexer.error(
                    literal.span,
                    "unexpected expression in a template string: it must have a value",
                ));
            }
            parts.push(TemplatePart::Expression(Box::new(literal)));
            if !self.is("}") {
                return Err(self.unexpected("`}`"));
            }
            // The text goes on right after the brace, which is the token at hand: nothing after it was read.
        }
        let (at, line) = self.lexer.at();
        let end = Span {
            end: at,
            end_line: line,
            ..start
        };
        self.last = end;
        self.token = self.lexer.next(&mut self.comments)?;
        Ok(Term {
            span: end,
            kind: TermKind::Template(parts),
            text: None,
        })
    }
}
