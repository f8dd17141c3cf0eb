//! The canonical form of the native syntax, byte for byte as `terraform fmt` writes it.
//!
//! First a few old forms are rewritten, which needs the tree; then the space between tokens is set, which needs the
//! tokens only. Comments are tokens, and so are kept.

mod layout;
mod rewrite;

use std::borrow::Cow;
use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::diagnostic::Diagnostics;
use crate::source::{Source, Sources};
use crate::syntax::token::TokenKind;
use crate::syntax::{ScanMode, parse_source, scan};

/// A token with the number of spaces before it.
#[derive(Clone, Debug)]
struct Piece<'t> {
    kind: TokenKind,
    text: Cow<'t, str>,
    spaces: usize,
}

impl Piece<'_> {
    fn made(kind: TokenKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: Cow::Owned(text.into()),
            spaces: 0,
        }
    }

    /// What the token adds to the depth of brackets.
    fn bracket_change(&self) -> i64 {
        use TokenKind as K;
        match self.kind {
            K::OpenBrace
            | K::OpenBracket
            | K::OpenParen
            | K::TemplateControl
            | K::TemplateInterp => 1,
            K::CloseBrace | K::CloseBracket | K::CloseParen | K::TemplateEnd => -1,
            _ => 0,
        }
    }

    /// Whether a line ends with it. Comments to the end of a line hold its end.
    fn ends_line(&self) -> bool {
        match self.kind {
            TokenKind::Newline => true,
            TokenKind::Comment => self.text.ends_with('\n'),
            _ => false,
        }
    }

    /// The columns it takes, with the spaces before it.
    fn columns(&self) -> usize {
        let width = if self.text.is_ascii() && !self.text.contains('\r') {
            self.text.len()
        } else {
            self.text.graphemes(true).count()
        };
        self.spaces + width
    }
}

/// The canonical form of a file. A text with syntax errors is given back as it is.
pub fn format(text: &str) -> String {
    let mut sources = Sources::new();
    let source = sources.add("", text);
    format_source(&source).0
}

/// The canonical form of a file, and what is wrong with it. With errors, the text as it is.
pub fn format_source(source: &Arc<Source>) -> (String, Diagnostics) {
    let text = source.text();
    let (body, diagnostics) = parse_source(source);
    if diagnostics.has_errors() {
        return (text.to_owned(), diagnostics);
    }
    let tokens = scan(text, ScanMode::Normal);
    let mut before = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let pieces = tokens
        .iter()
        .map(|token| {
            let spaces = (token.start - before) as usize;
            before = token.end;
            Piece {
                kind: token.kind,
                text: Cow::Borrowed(token.text(text)),
                spaces,
            }
        })
        .collect();
    let pieces = rewrite::rewrite(&body, &tokens, pieces);
    let pieces = layout::lay_out(pieces);
    let mut formatted = String::with_capacity(text.len() + text.len() / 8);
    for piece in &pieces {
        formatted.extend(std::iter::repeat_n(' ', piece.spaces));
        formatted.push_str(&piece.text);
    }
    (formatted, diagnostics)
}
