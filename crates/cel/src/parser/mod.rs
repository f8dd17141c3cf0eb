//! Tokens to a tree, by the CEL grammar: precedence climbing with a bound on depth.

mod primary;

use crate::ast::{Ast, Expr, Id, MAX_HEIGHT};
use crate::lexer::{self, Lexeme, Token};
use crate::macros::{self, Macros};
use crate::source::{Fault, MAX_LENGTH, Source};
use crate::value::Value;

/// How deep expressions may be nested in one another; cel-go's limit.
const MAX_DEPTH: usize = 250;

const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

const STARTS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Parses a text and expands its macros.
pub(crate) fn parse(source: &Source, macros: Macros) -> Result<(Ast, Id), Vec<Fault>> {
    if source.chars().len() > MAX_LENGTH {
        let message = format!(
            "expression code point size exceeds limit: size: {}, limit {MAX_LENGTH}",
            source.chars().len()
        );
        return Err(vec![Fault { place: 0, message }]);
    }
    let lexemes = lexer::tokens(source)?;
    let mut parser = Parser {
        source,
        lexemes,
        at: 0,
        depth: 0,
        ast: Ast::default(),
        macros,
        faults: Vec::new(),
    };
    let parsed = parser.whole();
    match parsed {
        Ok(root) if parser.faults.is_empty() => Ok((parser.ast, root)),
        Ok(_) => Err(parser.faults),
        Err(fault) => {
            parser.faults.push(fault);
            Err(parser.faults)
        }
    }
}

struct Parser<'s> {
    source: &'s Source,
    lexemes: Vec<Lexeme>,
    at: usize,
    depth: usize,
    ast: Ast,
    macros: Macros,
    /// Faults that did not keep the rest from being parsed.
    faults: Vec<Fault>,
}

type Parsed<T> = Result<T, Fault>;

impl Parser<'_> {
    fn token(&self) -> &Token {
        &self.lexemes[self.at].token
    }

    fn ahead(&self, by: usize) -> &Token {
        &self.lexemes[(self.at + by).min(self.lexemes.len() - 1)].token
    }

    fn place(&self) -> u32 {
        self.lexemes[self.at].start
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
    }

    fn eat(&mut self, symbol: &'static str) -> bool {
        let found = *self.token() == Token::Symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    /// The text of the token at hand, as messages show it.
    fn shown(&self) -> String {
        let lexeme = &self.lexemes[self.at];
        if lexeme.token == Token::End {
            return "<EOF>".to_owned();
        }
        self.source.chars()[lexeme.start as usize..lexeme.end as usize]
            .iter()
            .collect()
    }

    fn mismatched(&self, expecting: &str) -> Fault {
        let message = format!(
            "Syntax error: mismatched input '{}' expecting {expecting}",
            self.shown()
        );
        Fault {
            place: self.place(),
            message,
        }
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.eat(symbol) {
            return Ok(());
        }
        Err(self.mismatched(&format!("'{symbol}'")))
    }

    fn too_deep(&self) -> Fault {
        Fault {
            place: self.place(),
            message: format!("expression recursion limit exceeded: {MAX_DEPTH}"),
        }
    }

    fn add(&mut self, place: u32, expr: Expr) -> Parsed<Id> {
        let id = self.ast.add(place, expr);
        self.checked(id)
    }

    fn checked(&mut self, id: Id) -> Parsed<Id> {
        // Macros copy parts of the tree (optMap): a bound on nodes keeps nested copies from multiplying.
        if self.ast.nodes[id].height > MAX_HEIGHT || self.ast.nodes.len() > 4 * MAX_LENGTH {
            return Err(self.too_deep());
        }
        Ok(id)
    }

    fn call(&mut self, place: u32, function: &str, args: Vec<Id>) -> Parsed<Id> {
        self.add(
            place,
            Expr::Call {
                function: function.into(),
                target: None,
                args,
            },
        )
    }

    fn whole(&mut self) -> Parsed<Id> {
        let root = self.expr()?;
        if *self.token() != Token::End {
            if *self.ahead(1) != Token::End {
                return Err(self.mismatched("<EOF>"));
            }
            let message = format!(
                "Syntax error: extraneous input '{}' expecting <EOF>",
                self.shown()
            );
            return Err(Fault {
                place: self.place(),
                message,
            });
        }
        Ok(root)
    }

    fn expr(&mut self) -> Parsed<Id> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let condition = self.binary(1)?;
        let place = self.place();
        let result = if self.eat("?") {
            let truthy = self.binary(1)?;
            self.expect(":")?;
            let falsy = self.expr()?;
            self.call(place, "_?_:_", vec![condition, truthy, falsy])?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(result)
    }

    /// Operators of at least this precedence, all left-associative.
    fn binary(&mut self, least: u8) -> Parsed<Id> {
        let mut left = self.unary()?;
        loop {
            let Token::Symbol(symbol) = *self.token() else {
                return Ok(left);
            };
            let (precedence, function) = match symbol {
                "||" => (1, "_||_"),
                "&&" => (2, "_&&_"),
                "<" => (3, "_<_"),
                "<=" => (3, "_<=_"),
                ">" => (3, "_>_"),
                ">=" => (3, "_>=_"),
                "==" => (3, "_==_"),
                "!=" => (3, "_!=_"),
                "in" => (3, "@in"),
                "+" => (4, "_+_"),
                "-" => (4, "_-_"),
                "*" => (5, "_*_"),
                "/" => (5, "_/_"),
                "%" => (5, "_%_"),
                _ => return Ok(left),
            };
            if precedence < least {
                return Ok(left);
            }
            if precedence <= 2 {
                left = self.logical(left, symbol, function, precedence)?;
                continue;
            }
            let place = self.place();
            self.advance();
            let right = self.binary(precedence + 1)?;
            left = self.call(place, function, vec![left, right])?;
        }
    }

    /// A chain of one logical operator, built as a balanced tree so that long chains stay shallow (as upstream does).
    fn logical(
        &mut self,
        first: Id,
        symbol: &'static str,
        function: &str,
        precedence: u8,
    ) -> Parsed<Id> {
        let mut terms = vec![first];
        let mut places = Vec::new();
        while *self.token() == Token::Symbol(symbol) {
            places.push(self.place());
            self.advance();
            terms.push(self.binary(precedence + 1)?);
        }
        self.balanced(&terms, &places, function)
    }

    fn balanced(&mut self, terms: &[Id], places: &[u32], function: &str) -> Parsed<Id> {
        if let [term] = terms {
            return Ok(*term);
        }
        let middle = terms.len().div_ceil(2);
        let left = self.balanced(&terms[..middle], &places[..middle - 1], function)?;
        let right = self.balanced(&terms[middle..], &places[middle..], function)?;
        self.call(places[middle - 1], function, vec![left, right])
    }

    fn unary(&mut self) -> Parsed<Id> {
        let place = self.place();
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            if *self.token() != Token::Symbol(symbol) {
                continue;
            }
            let mut count = 0usize;
            while *self.token() == Token::Symbol(symbol) {
                // The sign right before a number belongs to it.
                if symbol == "-"
                    && matches!(
                        self.ahead(1),
                        Token::Int(_) | Token::BadInt | Token::Double(_)
                    )
                {
                    break;
                }
                self.advance();
                count += 1;
            }
            let operand = self.member()?;
            // Pairs cancel out, as upstream reads them.
            return if count.is_multiple_of(2) {
                Ok(operand)
            } else {
                self.call(place, function, vec![operand])
            };
        }
        self.member()
    }

    fn member(&mut self) -> Parsed<Id> {
        let mut operand = self.primary()?;
        loop {
            let place = self.place();
            if self.eat(".") {
                operand = self.field(operand, place)?;
            } else if self.eat("[") {
                let optional = self.optional_mark("unsupported syntax '[?'");
                let index = self.expr()?;
                self.expect("]")?;
                let function = if optional { "_[?_]" } else { "_[_]" };
                operand = self.call(place, function, vec![operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn optional_mark(&mut self, unsupported: &str) -> bool {
        let place = self.place();
        if !self.eat("?") {
            return false;
        }
        if !self.macros.optional {
            self.faults.push(Fault {
                place,
                message: unsupported.to_owned(),
            });
        }
        true
    }

    fn field(&mut self, operand: Id, place: u32) -> Parsed<Id> {
        let optional = self.optional_mark("unsupported syntax '.?'");
        let name_place = self.place();
        let (name, quoted) = match self.token() {
            Token::Ident(name) => (name.clone(), false),
            Token::Quoted(name) => (name.clone(), true),
            _ => {
                return Err(if *self.token() == Token::End {
                    self.mismatched("{'?', IDENTIFIER, ESC_IDENTIFIER}")
                } else if matches!(self.token(), Token::Symbol("true" | "false" | "null")) {
                    self.mismatched("IDENTIFIER")
                } else {
                    Fault {
                        place: self.place(),
                        message: format!(
                            "Syntax error: no viable alternative at input '.{}'",
                            self.shown()
                        ),
                    }
                });
            }
        };
        self.advance();
        if !optional && !quoted && *self.token() == Token::Symbol("(") {
            let call_place = self.place();
            self.advance();
            let args = self.arguments()?;
            return self.invoke(call_place, &name, Some(operand), args);
        }
        if quoted {
            self.faults.push(Fault {
                place: name_place,
                message: "unsupported syntax: '`'".to_owned(),
            });
        }
        if optional {
            let field = self.add(name_place, Expr::Literal(Value::text_static(name)))?;
            return self.call(place, "_?._", vec![operand, field]);
        }
        self.add(
            place,
            Expr::Select {
                operand,
                field: name,
                test: false,
            },
        )
    }

    /// Arguments up to and with the closing parenthesis.
    fn arguments(&mut self) -> Parsed<Vec<Id>> {
        let mut args = Vec::new();
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.eat(")") {
                return Ok(args);
            }
            if !self.eat(",") {
                return Err(self.mismatched("{')', ','}"));
            }
        }
    }

    fn invoke(
        &mut self,
        place: u32,
        function: &str,
        target: Option<Id>,
        args: Vec<Id>,
    ) -> Parsed<Id> {
        match macros::expand(&mut self.ast, self.macros, place, function, target, &args) {
            Ok(Some(id)) => self.checked(id),
            Ok(None) => self.add(
                place,
                Expr::Call {
                    function: function.into(),
                    target,
                    args,
                },
            ),
            Err(fault) => {
                self.faults.push(fault);
                self.add(place, Expr::Literal(Value::Null))
            }
        }
    }
}
