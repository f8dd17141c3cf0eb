//! References on their own: names, attributes, and indices with literal keys.

use super::Parser;
use crate::syntax::token::TokenKind;
use crate::traversal::{Step, Traversal};
use crate::value::Value;

impl Parser<'_> {
    /// A reference up to the end of the text. What was read before an error is given with it; nothing if not even
    /// the first name could be read.
    pub(super) fn parse_traversal(&mut self, splats: bool) -> Option<Traversal> {
        let first = self.read();
        let root_range = self.range(first);
        if first.kind != TokenKind::Ident {
            self.error_at(
                "Variable name required",
                "Must begin with a variable name.",
                root_range,
            );
            return None;
        }
        let mut traversal = Traversal {
            root: self.name(first),
            root_range,
            steps: Vec::new(),
        };
        loop {
            let next = self.peek();
            match next.kind {
                TokenKind::Eof => return Some(traversal),
                TokenKind::Dot => {
                    let dot = self.read();
                    let name = self.read();
                    let (dot, range) = (self.range(dot), self.range(name));
                    if name.kind != TokenKind::Ident {
                        let detail = if name.kind == TokenKind::Star {
                            "Splat expressions (.*) may not be used here."
                        } else {
                            "Dot must be followed by attribute name."
                        };
                        self.error_in(
                            "Attribute name required",
                            detail,
                            range,
                            root_range.to(range),
                        );
                        return Some(traversal);
                    }
                    traversal.steps.push(Step::Attribute {
                        name: self.name(name),
                        range: dot.to(range),
                    });
                }
                TokenKind::OpenBracket => {
                    let open = self.read();
                    let open = self.range(open);
                    let key = self.peek();
                    let key = match key.kind {
                        TokenKind::Number => {
                            let token = self.read();
                            Some(self.number(token))
                        }
                        TokenKind::OpenQuote => Some(Value::string(self.parse_quoted_string().0)),
                        TokenKind::Star if splats => {
                            self.read();
                            None
                        }
                        _ => {
                            let range = self.range(key);
                            let (summary, detail) = if key.kind == TokenKind::Star {
                                (
                                    "Attribute name required",
                                    "Splat expressions ([*]) may not be used here.",
                                )
                            } else {
                                (
                                    "Index value required",
                                    "Index brackets must contain either a literal number or a literal string.",
                                )
                            };
                            self.error_in(summary, detail, range, root_range.to(range));
                            return Some(traversal);
                        }
                    };
                    let close = self.read();
                    let range = self.range(close);
                    if close.kind != TokenKind::CloseBracket {
                        self.error_in(
                            "Unclosed index brackets",
                            "Index key must be followed by a closing bracket.",
                            range,
                            open.to(range),
                        );
                    }
                    let range = open.to(range);
                    traversal.steps.push(match key {
                        Some(key) => Step::Index { key, range },
                        None => Step::Splat { range },
                    });
                    if self.diagnostics.has_errors() {
                        return Some(traversal);
                    }
                }
                _ => {
                    let range = self.range(next);
                    self.error_in(
                        "Invalid character",
                        "Expected an attribute access or an index operator.",
                        range,
                        root_range.to(range),
                    );
                    return Some(traversal);
                }
            }
        }
    }
}
