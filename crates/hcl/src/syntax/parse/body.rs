//! Arguments and blocks.

use std::sync::Arc;

use indexmap::IndexMap;

use super::Parser;
use crate::source::Range;
use crate::syntax::body::{Attribute, Block, Body, Label};
use crate::syntax::expr::Expr;
use crate::syntax::token::{Token, TokenKind};
use crate::text::quote;

enum Item {
    Attribute(Attribute),
    Block(Block),
}

const ITEM_REQUIRED: &str = "Argument or block definition required";
const SINGLE: &str = "Invalid single-argument block definition";
const UNCLOSED: &str = "There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file.";

impl Parser<'_> {
    /// A body up to its closing token, which is read too.
    pub(super) fn parse_body(&mut self, end: TokenKind) -> Body {
        let mut attributes: IndexMap<Arc<str>, Attribute> = IndexMap::new();
        let mut blocks = Vec::new();
        let start = self.previous_range();
        let end_range = loop {
            let next = self.peek();
            if next.kind == end {
                self.read();
                break self.range(next);
            }
            match next.kind {
                TokenKind::Newline => {
                    self.read();
                }
                TokenKind::Ident => match self.parse_item() {
                    Some(Item::Block(block)) => blocks.push(block),
                    Some(Item::Attribute(attribute)) => match attributes.get(&attribute.name) {
                        Some(existing) => {
                            let detail = format!(
                                "The argument {} was already set at {}. Each argument may be set only once.",
                                quote(&attribute.name),
                                self.source.describe(existing.name_range)
                            );
                            self.error_at("Attribute redefined", detail, attribute.name_range);
                        }
                        None => {
                            attributes.insert(attribute.name.clone(), attribute);
                        }
                    },
                    None => {}
                },
                _ => {
                    let bad = self.read();
                    if !self.recovery {
                        let range = self.range(bad);
                        match bad.kind {
                            TokenKind::OpenQuote => {
                                self.error_at(
                                    "Invalid argument name",
                                    "Argument names must not be quoted.",
                                    range,
                                );
                            }
                            TokenKind::Eof => {
                                self.error_at("Unclosed configuration block", UNCLOSED, start);
                            }
                            _ => {
                                self.error_at(
                                    ITEM_REQUIRED,
                                    "An argument or block definition is required here.",
                                    range,
                                );
                            }
                        }
                    }
                    let range = self.previous_range();
                    self.recover(end);
                    break range;
                }
            }
        };
        Body::native(self.source.clone(), attributes, blocks, start.to(end_range))
    }

    fn parse_item(&mut self) -> Option<Item> {
        let name = self.read();
        match self.peek().kind {
            TokenKind::Equal => Some(Item::Attribute(self.finish_attribute(name, false))),
            TokenKind::OpenQuote | TokenKind::OpenBrace | TokenKind::Ident => {
                Some(Item::Block(self.finish_block(name)))
            }
            _ => {
                self.missing_item(name);
                None
            }
        }
    }

    fn missing_item(&mut self, name: Token) {
        self.recover_after_item();
        let range = self.range(name);
        self.error_at(
            ITEM_REQUIRED,
            "An argument or block definition is required here. To set an argument, use the equals sign \"=\" to introduce the argument value.",
            range,
        );
    }

    fn finish_attribute(&mut self, name: Token, single_line: bool) -> Attribute {
        let equals = self.read();
        let name_range = self.range(name);
        let before = self.diagnostics.len();
        let expr: Expr = self.parse_expression();
        let end = self.previous_range();
        if self.lost(before) {
            self.recover_after_item();
        } else if !single_line {
            let next = self.peek();
            if matches!(next.kind, TokenKind::Newline | TokenKind::Eof) {
                self.read();
            } else {
                if !self.recovery {
                    let range = self.range(next);
                    let (summary, detail) = if next.kind == TokenKind::Comma {
                        (
                            "Unexpected comma after argument",
                            "Argument definitions must be separated by newlines, not commas. An argument definition must end with a newline.",
                        )
                    } else {
                        (
                            "Missing newline after argument",
                            "An argument definition must end with a newline.",
                        )
                    };
                    self.error_in(summary, detail, range, name_range.to(range));
                }
                self.recover_after_item();
            }
        }
        Attribute {
            name: self.name(name),
            expr,
            range: name_range.to(end),
            name_range,
            equals_range: self.range(equals),
        }
    }

    fn finish_block(&mut self, name: Token) -> Block {
        let kind_range = self.range(name);
        let mut labels = Vec::new();
        let open = loop {
            let token = self.peek();
            match token.kind {
                TokenKind::OpenBrace => break self.read(),
                TokenKind::OpenQuote => {
                    let (text, range) = self.parse_quoted_string();
                    labels.push(Label {
                        text: Arc::from(text),
                        range,
                    });
                }
                TokenKind::Ident => {
                    self.read();
                    labels.push(Label {
                        text: self.name(token),
                        range: self.range(token),
                    });
                }
                _ => {
                    self.invalid_header(token, kind_range);
                    self.recover_after_item();
                    return Block {
                        kind: self.name(name),
                        labels,
                        body: Body::native(
                            self.source.clone(),
                            IndexMap::new(),
                            Vec::new(),
                            kind_range,
                        ),
                        kind_range,
                        open_range: kind_range,
                        close_range: kind_range,
                    };
                }
            }
        };
        let open_range = self.range(open);
        let body = if self.enter() {
            let body = match self.peek().kind {
                TokenKind::Newline | TokenKind::Eof | TokenKind::CloseBrace => {
                    Some(self.parse_body(TokenKind::CloseBrace))
                }
                _ => self.parse_single_line_body(kind_range, open_range),
            };
            self.leave();
            body
        } else {
            None
        };
        let close_range = self.previous_range();
        let after = self.peek();
        if matches!(after.kind, TokenKind::Newline | TokenKind::Eof) {
            self.read();
        } else {
            if !self.recovery {
                let range = self.range(after);
                self.error_in(
                    "Missing newline after block definition",
                    "A block definition must end with a newline.",
                    range,
                    kind_range.to(range),
                );
            }
            self.recover_after_item();
        }
        let body = body.unwrap_or_else(|| {
            Body::native(
                self.source.clone(),
                IndexMap::new(),
                Vec::new(),
                open_range.to(close_range),
            )
        });
        Block {
            kind: self.name(name),
            labels,
            body,
            kind_range,
            open_range,
            close_range,
        }
    }

    fn invalid_header(&mut self, token: Token, kind_range: Range) {
        let range = self.range(token);
        let detail = match token.kind {
            TokenKind::Equal => {
                "The equals sign \"=\" indicates an argument definition, and must not be used when defining a block."
            }
            TokenKind::Newline => {
                "A block definition must have block content delimited by \"{\" and \"}\", starting on the same line as the block header."
            }
            _ if self.recovery => return,
            _ => "Either a quoted string block label or an opening brace (\"{\") is expected here.",
        };
        self.error_in(
            "Invalid block definition",
            detail,
            range,
            kind_range.to(range),
        );
    }

    /// What follows the brace of a block on the same line: one argument and the closing brace.
    fn parse_single_line_body(&mut self, kind_range: Range, open_range: Range) -> Option<Body> {
        let body = self.parse_single_argument();
        let next = self.peek();
        let range = self.range(next);
        let detail = match next.kind {
            TokenKind::CloseBrace => {
                self.read();
                return body;
            }
            TokenKind::Comma => {
                "Single-line block syntax can include only one argument definition. To define multiple arguments, use the multi-line block syntax with one argument definition per line."
            }
            TokenKind::Newline => {
                "An argument definition on the same line as its containing block creates a single-line block definition, which must also be closed on the same line. Place the block's closing brace immediately after the argument definition."
            }
            _ if self.recovery => {
                self.recover(TokenKind::CloseBrace);
                return body;
            }
            TokenKind::Eof => {
                self.error_in(
                    "Unclosed configuration block",
                    UNCLOSED,
                    open_range,
                    kind_range.to(open_range),
                );
                self.recover(TokenKind::CloseBrace);
                return body;
            }
            _ => {
                "A single-line block definition must end with a closing brace immediately after its single argument definition."
            }
        };
        self.error_at(SINGLE, detail, range);
        self.recover(TokenKind::CloseBrace);
        body
    }

    fn parse_single_argument(&mut self) -> Option<Body> {
        let name = self.read();
        let name_range = self.range(name);
        if name.kind != TokenKind::Ident {
            self.recover_after_item();
            self.error_at(
                ITEM_REQUIRED,
                "An argument or block definition is required here.",
                name_range,
            );
            return None;
        }
        let next = self.peek();
        match next.kind {
            TokenKind::Equal => {
                let attribute = self.finish_attribute(name, true);
                let range = attribute.range;
                let attributes = IndexMap::from([(attribute.name.clone(), attribute)]);
                Some(Body::native(
                    self.source.clone(),
                    attributes,
                    Vec::new(),
                    range,
                ))
            }
            TokenKind::OpenQuote | TokenKind::OpenBrace | TokenKind::Ident => {
                let range = self.range(next);
                self.recover_after_item();
                let detail = format!(
                    "A single-line block definition can contain only a single argument. If you meant to define argument {}, use an equals sign to assign it a value. To define a nested block, place it on a line of its own within its parent block.",
                    quote(self.token_text(name))
                );
                self.error_at("Argument definition required", detail, name_range.to(range));
                None
            }
            _ => {
                self.missing_item(name);
                None
            }
        }
    }
}
