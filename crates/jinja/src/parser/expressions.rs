//! Expressions, from the loosest operator to the tightest.

use num_bigint::BigInt;

use super::{Parsed, Parser};
use crate::ast::{Binary, Call, Comparison, Expr, Kind};
use crate::error::Error;
use crate::lexer::Token;
use crate::value::Value;

impl Parser {
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let mut value = self.or()?;
        while self.skip_name("if") {
            let test = self.or()?;
            let otherwise = if self.skip_name("else") {
                Some(self.deeper(Self::conditional)?)
            } else {
                None
            };
            value = Self::make(
                Kind::Condition {
                    test,
                    then: value,
                    otherwise,
                },
                line,
            );
        }
        Ok(value)
    }

    fn or(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            left = Self::make(Kind::Or(left, right), line);
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            left = Self::make(Kind::And(left, right), line);
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expr> {
        let line = self.line();
        if self.skip_name("not") {
            let value = self.deeper(Self::not)?;
            return Ok(Self::make(Kind::Not(value), line));
        }
        self.compare()
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.peek() {
                Token::Op("==") => Comparison::Equal,
                Token::Op("!=") => Comparison::NotEqual,
                Token::Op("<") => Comparison::Less,
                Token::Op("<=") => Comparison::LessEqual,
                Token::Op(">") => Comparison::Greater,
                Token::Op(">=") => Comparison::GreaterEqual,
                Token::Name(name) if name == "in" => Comparison::In,
                Token::Name(name)
                    if name == "not"
                        && matches!(self.peek_after(1), Token::Name(next) if next == "in") =>
                {
                    self.at += 1;
                    Comparison::NotIn
                }
                _ => break,
            };
            self.at += 1;
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Self::make(Kind::Compare(first, rest), line))
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let mut left = self.concat()?;
        loop {
            let operator = match self.peek() {
                Token::Op("+") => Binary::Add,
                Token::Op("-") => Binary::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.concat()?;
            left = Self::make(Kind::Binary(operator, left, right), line);
        }
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.product()?);
        }
        Ok(Self::make(Kind::Concat(parts), line))
    }

    fn product(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let mut left = self.power()?;
        loop {
            let operator = match self.peek() {
                Token::Op("*") => Binary::Multiply,
                Token::Op("/") => Binary::Divide,
                Token::Op("//") => Binary::FloorDivide,
                Token::Op("%") => Binary::Modulo,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.power()?;
            left = Self::make(Kind::Binary(operator, left, right), line);
        }
    }

    fn power(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let mut left = self.unary(true)?;
        while self.skip_op("**") {
            let right = self.unary(true)?;
            left = Self::make(Kind::Binary(Binary::Power, left, right), line);
        }
        Ok(left)
    }

    fn unary(&mut self, with_filter: bool) -> Parsed<Expr> {
        let line = self.line();
        let value = if self.skip_op("-") {
            let value = self.deeper(|parser| parser.unary(false))?;
            Self::make(Kind::Negative(value), line)
        } else if self.skip_op("+") {
            let value = self.deeper(|parser| parser.unary(false))?;
            Self::make(Kind::Positive(value), line)
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        if with_filter {
            self.filter_expression(value)
        } else {
            Ok(value)
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let line = self.line();
        let constant = |value| Ok(Self::make(Kind::Const(value), line));
        match self.next() {
            Token::Name(name) => match name.as_str() {
                "true" | "True" => constant(Value::Bool(true)),
                "false" | "False" => constant(Value::Bool(false)),
                "none" | "None" => constant(Value::None),
                _ => Ok(Self::make(Kind::Name(name.into()), line)),
            },
            Token::Str(first) => {
                // Strings beside each other are one.
                let mut text = first;
                while let Token::Str(more) = self.peek() {
                    text.push_str(more);
                    self.at += 1;
                }
                constant(Value::from(text))
            }
            Token::Int(digits) => constant(match digits.parse::<i64>() {
                Ok(value) => Value::Int(value),
                Err(_) => Value::integer(digits.parse::<BigInt>().unwrap_or_default()),
            }),
            Token::Float(value) => constant(Value::Float(value)),
            Token::Op("(") => {
                let value = self.deeper(|parser| parser.tuple_in_parentheses(line))?;
                self.expect_op(")")?;
                Ok(value)
            }
            Token::Op("[") => {
                let items = self.deeper(|parser| parser.items("]"))?;
                Ok(Self::make(Kind::List(items), line))
            }
            Token::Op("{") => self.deeper(|parser| parser.dict(line)),
            token => {
                self.at -= 1;
                if token == Token::End {
                    self.at = self.tokens.len();
                    return Err(self.wrong("unexpected end of template".to_owned()));
                }
                Err(self.wrong(format!(
                    "unexpected {}",
                    crate::repr::string(&token.shown())
                )))
            }
        }
    }

    fn items(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.skip_op(end) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.skip_op(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn dict(&mut self, line: u32) -> Parsed<Expr> {
        let mut entries = Vec::new();
        while !self.skip_op("}") {
            if !entries.is_empty() {
                self.expect_op(",")?;
                if self.skip_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            entries.push((key, self.expression()?));
        }
        Ok(Self::make(Kind::Dict(entries), line))
    }

    fn tuple_in_parentheses(&mut self, line: u32) -> Parsed<Expr> {
        if self.is_op(")") {
            return Ok(Self::make(Kind::Tuple(Vec::new()), line));
        }
        self.tuple(true)
    }

    /// An expression, or several with commas between, which are a tuple.
    pub(super) fn tuple(&mut self, with_condition: bool) -> Parsed<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() && self.ends_tuple() {
                break;
            }
            items.push(if with_condition {
                self.expression()?
            } else {
                self.deeper(Self::or)?
            });
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        match (is_tuple, items.pop()) {
            (false, Some(only)) => Ok(only),
            (_, last) => {
                items.extend(last);
                Ok(Self::make(Kind::Tuple(items), line))
            }
        }
    }

    fn ends_tuple(&self) -> bool {
        match self.peek() {
            Token::VariableEnd | Token::BlockEnd | Token::End | Token::Op(")") => true,
            Token::Name(name) => matches!(name.as_str(), "recursive" | "if"),
            _ => false,
        }
    }

    fn postfix(&mut self, mut value: Expr) -> Parsed<Expr> {
        loop {
            let line = self.line();
            if self.skip_op(".") {
                value = match self.next() {
                    Token::Name(name) => Self::make(Kind::Attribute(value, name.into()), line),
                    Token::Int(digits) => {
                        let index = digits
                            .parse()
                            .map_err(|_| Error::syntax("an index beyond all measure", line))?;
                        let index = Self::make(Kind::Const(Value::Int(index)), line);
                        Self::make(Kind::Item(value, index), line)
                    }
                    // `a.0.1` reads as a number with a point.
                    Token::Float(number) => {
                        let text = crate::repr::float(number);
                        let mut value = value;
                        for digits in text.split('.') {
                            let index = digits.parse().unwrap_or(0);
                            let index = Self::make(Kind::Const(Value::Int(index)), line);
                            value = Self::make(Kind::Item(value, index), line);
                        }
                        value
                    }
                    _ => {
                        self.at -= 1;
                        return Err(self.wrong("expected name or number".to_owned()));
                    }
                };
            } else if self.skip_op("[") {
                let mut subscripts = Vec::new();
                while !self.is_op("]") {
                    if !subscripts.is_empty() {
                        self.expect_op(",")?;
                    }
                    let subscript = self.deeper(Self::subscript)?;
                    subscripts.push(subscript);
                }
                self.expect_op("]")?;
                let only = subscripts.len() == 1;
                let mut subscripts = subscripts.into_iter();
                value = match (subscripts.next(), only) {
                    (Some(Subscript::Slice(slice)), true) => {
                        Self::make(Kind::Slice(value, slice), line)
                    }
                    (Some(Subscript::Index(index)), true) => {
                        Self::make(Kind::Item(value, index), line)
                    }
                    (first, _) => {
                        let mut items = Vec::new();
                        for subscript in first.into_iter().chain(subscripts) {
                            match subscript {
                                Subscript::Index(index) => items.push(index),
                                Subscript::Slice(_) => {
                                    return Err(
                                        self.wrong("a slice among several subscripts".to_owned())
                                    );
                                }
                            }
                        }
                        if items.is_empty() {
                            return Err(self.wrong("expected subscript expression".to_owned()));
                        }
                        let index = Self::make(Kind::Tuple(items), line);
                        Self::make(Kind::Item(value, index), line)
                    }
                };
            } else if self.is_op("(") {
                let call = self.call()?;
                value = Self::make(Kind::Call(value, call), line);
            } else {
                return Ok(value);
            }
        }
    }

    fn subscript(&mut self) -> Parsed<Subscript> {
        let first = if self.is_op(":") {
            None
        } else {
            let index = self.expression()?;
            if !self.is_op(":") {
                return Ok(Subscript::Index(index));
            }
            Some(index)
        };
        let mut slice = [first, None, None];
        for place in &mut slice[1..] {
            if !self.skip_op(":") {
                break;
            }
            if !(self.is_op(":") || self.is_op("]") || self.is_op(",")) {
                *place = Some(self.expression()?);
            }
        }
        Ok(Subscript::Slice(slice))
    }

    fn call(&mut self) -> Parsed<Call> {
        self.expect_op("(")?;
        let mut call = Call::default();
        let mut first = true;
        while !self.skip_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.skip_op(")") {
                    break;
                }
            }
            first = false;
            let order = |ok: bool, parser: &Self| {
                if ok {
                    Ok(())
                } else {
                    Err(parser.wrong("invalid syntax for function call expression".to_owned()))
                }
            };
            if self.skip_op("*") {
                order(call.star.is_none() && call.double_star.is_none(), self)?;
                call.star = Some(self.expression()?);
            } else if self.skip_op("**") {
                order(call.double_star.is_none(), self)?;
                call.double_star = Some(self.expression()?);
            } else if matches!(self.peek(), Token::Name(_))
                && matches!(self.peek_after(1), Token::Op("="))
            {
                order(call.double_star.is_none(), self)?;
                let name = self.name()?;
                if call.named.iter().any(|(known, _)| *known == name) {
                    return Err(self.wrong(format!("keyword argument repeated: {name}")));
                }
                self.at += 1;
                call.named.push((name, self.expression()?));
            } else {
                order(
                    call.star.is_none() && call.double_star.is_none() && call.named.is_empty(),
                    self,
                )?;
                call.positional.push(self.expression()?);
            }
        }
        Ok(call)
    }

    fn filter_expression(&mut self, mut value: Expr) -> Parsed<Expr> {
        loop {
            if self.is_op("|") {
                self.at += 1;
                value = self.filters(Some(value))?;
            } else if self.is_name("is") {
                value = self.test(value)?;
            } else if self.is_op("(") {
                let line = self.line();
                let call = self.call()?;
                value = Self::make(Kind::Call(value, call), line);
            } else {
                return Ok(value);
            }
        }
    }

    /// Filters with bars between them; the first bar is passed.
    pub(super) fn filters(&mut self, value: Option<Expr>) -> Parsed<Expr> {
        let mut value = value;
        loop {
            let line = self.line();
            let mut name = self.name()?.to_string();
            while self.skip_op(".") {
                name.push('.');
                name.push_str(&self.name()?);
            }
            let call = if self.is_op("(") {
                self.call()?
            } else {
                Call::default()
            };
            let filtered = Self::make(Kind::Filter(value, name.into(), call), line);
            if !self.skip_op("|") {
                return Ok(filtered);
            }
            value = Some(filtered);
        }
    }

    fn test(&mut self, value: Expr) -> Parsed<Expr> {
        let line = self.line();
        self.at += 1;
        let negated = self.skip_name("not");
        let mut name = self.name()?.to_string();
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        let call = if self.is_op("(") {
            self.call()?
        } else {
            let begins_value = match self.peek() {
                Token::Name(name) => {
                    !matches!(name.as_str(), "else" | "or" | "and" | "if" | "recursive")
                }
                Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("(" | "[" | "{") => {
                    true
                }
                _ => false,
            };
            if begins_value {
                if self.is_name("is") {
                    return Err(self.wrong("You cannot chain multiple tests with is".to_owned()));
                }
                let argument = self.primary()?;
                let argument = self.postfix(argument)?;
                Call {
                    positional: vec![argument],
                    ..Call::default()
                }
            } else {
                Call::default()
            }
        };
        let tested = Self::make(
            Kind::Test {
                value,
                name: name.into(),
                call,
            },
            line,
        );
        Ok(if negated {
            Self::make(Kind::Not(tested), line)
        } else {
            tested
        })
    }
}

enum Subscript {
    Index(Expr),
    Slice([Option<Expr>; 3]),
}
