//! The tokens of the native syntax.

/// What a token is. One byte, so that a file's tokens stay small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenKind {
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    OpenQuote,
    CloseQuote,
    OpenHeredoc,
    CloseHeredoc,
    Star,
    Slash,
    Plus,
    Minus,
    Percent,
    Equal,
    EqualOp,
    NotEqual,
    LessThan,
    LessThanEq,
    GreaterThan,
    GreaterThanEq,
    And,
    Or,
    Bang,
    Dot,
    Comma,
    DoubleColon,
    Ellipsis,
    FatArrow,
    Question,
    Colon,
    TemplateInterp,
    TemplateControl,
    TemplateEnd,
    /// Text in a quoted template; may hold backslash escapes.
    QuotedLit,
    /// Text in a heredoc or a bare template.
    StringLit,
    Number,
    Ident,
    Comment,
    Newline,
    Eof,
    BitwiseAnd,
    BitwiseOr,
    BitwiseNot,
    BitwiseXor,
    Apostrophe,
    Backtick,
    Semicolon,
    Invalid,
    QuotedNewline,
}

impl TokenKind {
    /// The other end of a pair of brackets.
    pub(crate) fn opposite(self) -> Option<TokenKind> {
        Some(match self {
            Self::OpenBrace => Self::CloseBrace,
            Self::OpenBracket => Self::CloseBracket,
            Self::OpenParen => Self::CloseParen,
            Self::OpenQuote => Self::CloseQuote,
            Self::OpenHeredoc => Self::CloseHeredoc,
            Self::CloseBrace => Self::OpenBrace,
            Self::CloseBracket => Self::OpenBracket,
            Self::CloseParen => Self::OpenParen,
            Self::CloseQuote => Self::OpenQuote,
            Self::CloseHeredoc => Self::OpenHeredoc,
            Self::TemplateControl | Self::TemplateInterp => Self::TemplateEnd,
            // Both openers end alike; recovery counts a control sequence as an interpolation.
            Self::TemplateEnd => Self::TemplateInterp,
            _ => return None,
        })
    }
}

/// A token and the bytes it covers, as offsets into the scanned text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Token {
    /// The bytes of the token in the text it was scanned from.
    pub(crate) fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }
}
