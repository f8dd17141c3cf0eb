//! The space before each token, by the rules of HCL's own formatter.

use std::ops::Range;

use super::Piece;
use crate::syntax::token::TokenKind as K;

/// A line in up to three cells, which are aligned with those of neighbouring lines.
struct Line {
    lead: Range<usize>,
    /// From the equals sign on, if an argument is set on this line as a whole.
    assign: Option<Range<usize>>,
    /// The comment at the end, if the line has anything else.
    comment: Option<usize>,
}

/// Sets the space before every token.
pub(super) fn lay_out(mut pieces: Vec<Piece<'_>>) -> Vec<Piece<'_>> {
    let lines = split(&pieces);
    indent(&lines, &mut pieces);
    space(&lines, &mut pieces);
    align(&lines, &mut pieces);
    pieces
}

fn split(pieces: &[Piece<'_>]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, piece) in pieces.iter().enumerate() {
        if piece.kind == K::Eof {
            lines.push(start..at);
            start = pieces.len();
            break;
        }
        if piece.ends_line() {
            lines.push(start..at + 1);
            start = at + 1;
        }
    }
    if start < pieces.len() {
        lines.push(start..pieces.len());
    }
    lines.into_iter().map(|line| cells(line, pieces)).collect()
}

fn cells(line: Range<usize>, pieces: &[Piece<'_>]) -> Line {
    let mut lead = line;
    let mut comment = None;
    if lead.len() > 1 && pieces[lead.end - 1].kind == K::Comment {
        comment = Some(lead.end - 1);
        lead.end -= 1;
    }
    let mut assign = None;
    if let Some(equals) = (lead.start + 1..lead.end).find(|at| pieces[*at].kind == K::Equal) {
        // An expression that goes on on the next line is not aligned.
        let depth: i64 = pieces[equals..lead.end]
            .iter()
            .map(Piece::bracket_change)
            .sum();
        if depth == 0 {
            assign = Some(equals..lead.end);
            lead.end = equals;
        }
    }
    Line {
        lead,
        assign,
        comment,
    }
}

fn indent(lines: &[Line], pieces: &mut [Piece<'_>]) {
    // How many brackets each level of indentation has opened.
    let mut levels: Vec<i64> = Vec::new();
    for line in lines {
        if line.lead.is_empty() {
            continue;
        }
        if pieces[line.lead.start].kind == K::Newline {
            pieces[line.lead.start].spaces = 0;
            continue;
        }
        let mut depth = 0;
        for piece in &pieces[line.lead.clone()] {
            depth += piece.bracket_change();
            if piece.kind == K::OpenHeredoc {
                break;
            }
        }
        for piece in line
            .assign
            .iter()
            .flat_map(|assign| &pieces[assign.clone()])
        {
            depth += piece.bracket_change();
        }
        if depth < 0 {
            let mut closed = -depth;
            while closed > 0 {
                let Some(level) = levels.last_mut() else {
                    break;
                };
                if closed < *level {
                    *level -= closed;
                    break;
                }
                closed -= *level;
                levels.pop();
            }
        }
        pieces[line.lead.start].spaces = 2 * levels.len();
        if depth > 0 {
            levels.push(depth);
        }
    }
}

fn space(lines: &[Line], pieces: &mut [Piece<'_>]) {
    for line in lines {
        if let Some(assign) = &line.assign {
            pieces[assign.start].spaces = 1;
        }
        for cell in std::iter::once(&line.lead).chain(&line.assign) {
            for at in cell.clone().skip(1) {
                let before = (at >= cell.start + 2).then(|| pieces[at - 2].kind);
                let spaced = wants_space(before, &pieces[at - 1], &pieces[at]);
                pieces[at].spaces = usize::from(spaced);
            }
        }
    }
}

/// Whether there is a space between `subject` and `after`; `before` stands before them, if anything does.
// The order of the rules matters, so those that agree cannot be joined.
#[allow(clippy::match_same_arms)]
fn wants_space(before: Option<K>, subject: &Piece<'_>, after: &Piece<'_>) -> bool {
    match (subject.kind, after.kind) {
        (_, K::Newline) => false,
        // Calls, namespaces, attributes.
        (K::Ident, K::OpenParen | K::DoubleColon) | (K::DoubleColon, K::Ident) => false,
        (K::Dot, _) | (_, K::Dot | K::Comma | K::Ellipsis) => false,
        (K::Comma, _) => true,
        // Text of templates.
        (K::QuotedLit | K::StringLit | K::OpenQuote | K::OpenHeredoc, _)
        | (_, K::QuotedLit | K::StringLit | K::CloseQuote | K::CloseHeredoc) => false,
        // `for x in [...]`: not an index of something called `in`.
        (K::Ident, _) if &*subject.text == "in" && before == Some(K::Ident) => true,
        (K::Ident | K::Number, K::OpenBracket) => false,
        (_, K::OpenBracket) if subject.bracket_change() < 0 => false,
        (K::Bang, _) => false,
        // Negation has no space after it, subtraction has. What stands before tells them apart.
        (K::Minus, _) => !matches!(
            before,
            None | Some(
                K::OpenParen
                    | K::OpenBrace
                    | K::OpenBracket
                    | K::Equal
                    | K::Colon
                    | K::Comma
                    | K::Question
                    | K::Plus
                    | K::Star
                    | K::Slash
                    | K::Percent
                    | K::Minus
                    | K::EqualOp
                    | K::NotEqual
                    | K::GreaterThan
                    | K::GreaterThanEq
                    | K::LessThan
                    | K::LessThanEq
                    | K::And
                    | K::Or
                    | K::Bang
            )
        ),
        (K::OpenBrace, K::CloseBrace) => false,
        (K::OpenBrace, _) | (_, K::CloseBrace) => true,
        // An interpolation that is an object: `${ { ... } }`.
        (K::TemplateInterp | K::TemplateControl, K::OpenBrace)
        | (K::CloseBrace, K::TemplateEnd) => true,
        (K::TemplateEnd, K::TemplateInterp | K::TemplateControl) => false,
        _ => subject.bracket_change() <= 0 && after.bracket_change() >= 0,
    }
}

fn columns(pieces: &[Piece<'_>]) -> usize {
    pieces.iter().map(Piece::columns).sum()
}

fn align(lines: &[Line], pieces: &mut [Piece<'_>]) {
    // Moving what is assigned moves the comments too, so those come after.
    align_cells(
        lines,
        pieces,
        |line| line.assign.as_ref().map(|assign| assign.start),
        |line, pieces| columns(&pieces[line.lead.clone()]),
    );
    align_cells(
        lines,
        pieces,
        |line| line.comment,
        |line, pieces| {
            let assign = line
                .assign
                .as_ref()
                .map_or(0, |assign| columns(&pieces[assign.clone()]));
            columns(&pieces[line.lead.clone()]) + assign
        },
    );
}

/// Aligns a cell over each run of lines that have it.
fn align_cells(
    lines: &[Line],
    pieces: &mut [Piece<'_>],
    cell: impl Fn(&Line) -> Option<usize>,
    width: impl Fn(&Line, &[Piece<'_>]) -> usize,
) {
    let mut at = 0;
    while at < lines.len() {
        let run = lines[at..]
            .iter()
            .take_while(|line| cell(line).is_some())
            .count();
        if run == 0 {
            at += 1;
            continue;
        }
        let widths: Vec<usize> = lines[at..at + run]
            .iter()
            .map(|line| width(line, pieces))
            .collect();
        let widest = widths.iter().copied().max().unwrap_or(0);
        for (line, width) in lines[at..at + run].iter().zip(widths) {
            if let Some(start) = cell(line) {
                pieces[start].spaces = widest - width + 1;
            }
        }
        at += run;
    }
}
