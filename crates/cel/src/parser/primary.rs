//! What stands alone in an expression: literals, names, calls, and lists, maps and objects written out.

use std::sync::Arc;

use super::{Parsed, Parser, RESERVED, STARTS};
use crate::ast::{Entry, Expr, Field, Id};
use crate::lexer::Token;
use crate::source::Fault;
use crate::value::Value;

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Parsed<Id> {
        let place = self.place();
        let token = self.token().clone();
        let literal = match token {
            Token::Int(value) => match i64::try_from(value) {
                Ok(value) => Some(Value::Int(value)),
                Err(_) => return self.bad_number(place, "invalid int literal"),
            },
            Token::BadInt => return self.bad_number(place, "invalid int literal"),
            Token::BadUint => return self.bad_number(place, "invalid uint literal"),
            Token::Uint(value) => Some(Value::Uint(value)),
            Token::Double(value) if value.is_finite() => Some(Value::Double(value)),
            Token::Double(_) => return self.bad_number(place, "invalid double literal"),
            Token::Text(ref text) => Some(Value::text_static(text.clone())),
            Token::Bytes(ref bytes) => Some(Value::Bytes(bytes.clone())),
            Token::Symbol("true") => Some(Value::Bool(true)),
            Token::Symbol("false") => Some(Value::Bool(false)),
            Token::Symbol("null") => Some(Value::Null),
            _ => None,
        };
        if let Some(literal) = literal {
            self.advance();
            return self.add(place, Expr::Literal(literal));
        }
        match token {
            Token::Symbol("-") => {
                self.advance();
                let value = match *self.token() {
                    Token::Int(value) if value <= 1 << 63 => {
                        Value::Int((value as i64).wrapping_neg())
                    }
                    Token::Double(value) if value.is_finite() => Value::Double(-value),
                    Token::Int(_) | Token::BadInt => {
                        return self.bad_number(place, "invalid int literal");
                    }
                    Token::Double(_) => return self.bad_number(place, "invalid double literal"),
                    _ => return Err(self.mismatched(STARTS)),
                };
                self.advance();
                self.add(place, Expr::Literal(value))
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(place),
            Token::Symbol("{") => self.map(place),
            Token::Symbol(".") if matches!(self.ahead(1), Token::Ident(_)) => {
                self.advance();
                self.named(place, true)
            }
            Token::Ident(_) => self.named(place, false),
            _ => Err(self.mismatched(STARTS)),
        }
    }

    fn bad_number(&mut self, place: u32, message: &str) -> Parsed<Id> {
        self.faults.push(Fault {
            place,
            message: message.to_owned(),
        });
        self.advance();
        self.add(place, Expr::Literal(Value::Null))
    }

    /// An identifier, a call of a function, or an object under construction.
    fn named(&mut self, place: u32, rooted: bool) -> Parsed<Id> {
        let Token::Ident(name) = self.token().clone() else {
            return Err(self.mismatched(STARTS));
        };
        if let Some(type_name) = self.struct_name(rooted) {
            return self.object(&type_name);
        }
        self.advance();
        if RESERVED.contains(&&*name) {
            self.faults.push(Fault {
                place,
                message: format!("reserved identifier: {name}"),
            });
        }
        let name: Arc<str> = if rooted {
            format!(".{name}").into()
        } else {
            name
        };
        if *self.token() == Token::Symbol("(") {
            let call_place = self.place();
            self.advance();
            let args = self.arguments()?;
            return self.invoke(call_place, &name, None, args);
        }
        self.add(place, Expr::Ident(name))
    }

    /// The type's name if what follows is `a.b.C {`; it is then consumed up to the brace.
    fn struct_name(&mut self, rooted: bool) -> Option<String> {
        let mut name = if rooted {
            String::from(".")
        } else {
            String::new()
        };
        let mut ahead = 0;
        loop {
            let Token::Ident(part) = self.ahead(ahead) else {
                return None;
            };
            name.push_str(part);
            match self.ahead(ahead + 1) {
                Token::Symbol(".") => name.push('.'),
                Token::Symbol("{") => break,
                _ => return None,
            }
            ahead += 2;
        }
        self.at += ahead + 1;
        Some(name)
    }

    fn object(&mut self, name: &str) -> Parsed<Id> {
        let place = self.place();
        self.expect("{")?;
        let mut fields = Vec::new();
        loop {
            if self.eat("}") || (self.eat(",") && !fields.is_empty() && self.eat("}")) {
                break;
            }
            let optional = self.optional_mark("unsupported syntax '?'");
            let (Token::Ident(field) | Token::Quoted(field)) = self.token().clone() else {
                return Err(self.mismatched("{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"));
            };
            self.advance();
            let colon = self.place();
            self.expect(":")?;
            let value = self.expr()?;
            fields.push(Field {
                name: field,
                place: colon,
                value,
                optional,
            });
            if !matches!(self.token(), Token::Symbol("," | "}")) {
                return Err(self.mismatched("{'}', ','}"));
            }
            if *self.token() == Token::Symbol(",") && *self.ahead(1) != Token::Symbol("}") {
                self.advance();
            }
        }
        self.add(
            place,
            Expr::Struct {
                name: name.into(),
                fields,
            },
        )
    }

    fn list(&mut self, place: u32) -> Parsed<Id> {
        self.advance();
        let (mut items, mut optional) = (Vec::new(), Vec::new());
        loop {
            if self.eat("]") {
                break;
            }
            if items.is_empty() && self.eat(",") {
                self.expect("]")?;
                break;
            }
            optional.push(self.optional_mark("unsupported syntax '?'"));
            items.push(self.expr()?);
            if self.eat(",") {
                continue;
            }
            if *self.token() != Token::Symbol("]") {
                return Err(self.mismatched("{']', ','}"));
            }
        }
        self.add(place, Expr::List { items, optional })
    }

    fn map(&mut self, place: u32) -> Parsed<Id> {
        self.advance();
        let mut entries = Vec::new();
        loop {
            if self.eat("}") {
                break;
            }
            if entries.is_empty() && self.eat(",") {
                self.expect("}")?;
                break;
            }
            let optional = self.optional_mark("unsupported syntax '?'");
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if self.eat(",") {
                continue;
            }
            if *self.token() != Token::Symbol("}") {
                return Err(self.mismatched("{'}', ','}"));
            }
        }
        self.add(place, Expr::Map(entries))
    }
}
