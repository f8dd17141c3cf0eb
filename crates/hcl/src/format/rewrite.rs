//! Old forms that `terraform fmt` replaces: labels without quotes, expressions that are one interpolation only,
//! quoted types.

use super::Piece;
use crate::source::Range;
use crate::syntax::Body;
use crate::syntax::token::{Token, TokenKind};

/// A run of tokens and what stands in its place.
struct Replacement<'t> {
    start: usize,
    end: usize,
    with: Vec<Piece<'t>>,
}

/// The pieces of a file with old forms replaced. `pieces` belong to `tokens` one by one.
pub(super) fn rewrite<'t>(body: &Body, tokens: &[Token], pieces: Vec<Piece<'t>>) -> Vec<Piece<'t>> {
    let mut replacements = Vec::new();
    collect(body, &mut Vec::new(), tokens, &pieces, &mut replacements);
    if replacements.is_empty() {
        return pieces;
    }
    replacements.sort_by_key(|replacement| replacement.start);
    let mut rewritten = Vec::with_capacity(pieces.len());
    let mut next = replacements.into_iter().peekable();
    let mut pieces = pieces.into_iter().enumerate().peekable();
    while let Some((at, piece)) = pieces.next() {
        match next.next_if(|replacement| replacement.start == at) {
            Some(replacement) => {
                rewritten.extend(replacement.with);
                while pieces.next_if(|(at, _)| *at < replacement.end).is_some() {}
            }
            None => rewritten.push(piece),
        }
    }
    rewritten
}

/// The tokens that start within a range.
fn span(tokens: &[Token], range: Range) -> (usize, usize) {
    let start = tokens.partition_point(|token| token.start < range.start);
    let end = tokens
        .partition_point(|token| token.start < range.end)
        .max(start);
    (start, end)
}

fn collect<'b, 't>(
    body: &'b Body,
    within: &mut Vec<&'b str>,
    tokens: &[Token],
    pieces: &[Piece<'t>],
    out: &mut Vec<Replacement<'t>>,
) {
    for attribute in body.attributes() {
        let (start, end) = span(tokens, attribute.expr.range());
        let old = &pieces[start..end];
        let new = if within.as_slice() == ["variable"] && &*attribute.name == "type" {
            type_expr(old)
        } else {
            value_expr(old)
        };
        out.extend(new.map(|with| Replacement { start, end, with }));
    }
    for block in body.blocks() {
        if let (Some(first), Some(last)) = (block.labels.first(), block.labels.last()) {
            let (kind, _) = span(tokens, block.kind_range);
            let (_, end) = span(tokens, first.range.to(last.range));
            // Whatever else stands before the last label, such as a comment, goes too.
            let with = block
                .labels
                .iter()
                .flat_map(|label| quoted(&label.text))
                .collect();
            out.push(Replacement {
                start: kind + 1,
                end,
                with,
            });
        }
        within.push(&block.kind);
        collect(&block.body, within, tokens, pieces, out);
        within.pop();
    }
}

/// A label in quotes.
fn quoted<'t>(text: &str) -> Vec<Piece<'t>> {
    let mut pieces = vec![Piece::made(TokenKind::OpenQuote, "\"")];
    if !text.is_empty() {
        pieces.push(Piece::made(TokenKind::QuotedLit, escape(text)));
    }
    pieces.push(Piece::made(TokenKind::CloseQuote, "\""));
    pieces
}

/// A text as it is written between quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '$' | '%' => {
                escaped.push(character);
                if rest.peek() == Some(&'{') {
                    escaped.push(character);
                }
            }
            ' ' => escaped.push(' '),
            _ if crate::text::is_printable(character) => escaped.push(character),
            _ if (character as u32) < 0x1_0000 => {
                escaped.push_str(&format!("\\u{:04x}", character as u32));
            }
            _ => escaped.push_str(&format!("\\U{:08x}", character as u32)),
        }
    }
    escaped
}

/// An expression that is one interpolation only, without the quotes and the marks around it. `None` if it stays.
fn value_expr<'t>(pieces: &[Piece<'t>]) -> Option<Vec<Piece<'t>>> {
    use TokenKind as K;
    let [open_quote, open, inside @ .., close, close_quote] = pieces else {
        return None;
    };
    let shape = [open_quote.kind, open.kind, close.kind, close_quote.kind];
    if inside.is_empty()
        || shape
            != [
                K::OpenQuote,
                K::TemplateInterp,
                K::TemplateEnd,
                K::CloseQuote,
            ]
    {
        return None;
    }
    let mut quotes = 0;
    for piece in inside {
        match piece.kind {
            K::OpenQuote => quotes += 1,
            K::CloseQuote => quotes -= 1,
            _ if quotes > 0 => {}
            // There is more than the one interpolation, or text beside it.
            K::TemplateInterp | K::TemplateEnd | K::QuotedLit => return None,
            _ => {}
        }
    }
    let first = inside.iter().position(|piece| piece.kind != K::Newline)?;
    let last = inside.iter().rposition(|piece| piece.kind != K::Newline)?;
    let trimmed = &inside[first..=last];
    // Without the quotes an expression over several lines needs parentheses.
    let several_lines = trimmed.iter().any(|piece| piece.kind == K::Newline);
    let in_parens =
        trimmed.len() > 1 && trimmed[0].kind == K::OpenParen && inside[last].kind == K::CloseParen;
    if several_lines && !in_parens {
        let mut with = vec![Piece::made(K::OpenParen, "(")];
        with.extend(trimmed.iter().cloned());
        with.push(Piece::made(K::CloseParen, ")"));
        return Some(with);
    }
    Some(trimmed.to_vec())
}

/// The type of a variable without quotes, and with the element type that old forms left out. `None` if it stays.
fn type_expr<'t>(pieces: &[Piece<'t>]) -> Option<Vec<Piece<'t>>> {
    use TokenKind as K;
    let constructor = |name: &str, element: &str| {
        vec![
            Piece::made(K::Ident, name),
            Piece::made(K::OpenParen, "("),
            Piece::made(K::Ident, element),
            Piece::made(K::CloseParen, ")"),
        ]
    };
    match pieces {
        [word] if word.kind == K::Ident => match &*word.text {
            name @ ("list" | "map" | "set") => Some(constructor(name, "any")),
            _ => None,
        },
        [open, text, close]
            if [open.kind, text.kind, close.kind]
                == [K::OpenQuote, K::QuotedLit, K::CloseQuote] =>
        {
            match &*text.text {
                "string" => Some(vec![Piece::made(K::Ident, "string")]),
                name @ ("list" | "map") => Some(constructor(name, "string")),
                _ => None,
            }
        }
        _ => None,
    }
}
