//! The lines of a source that a diagnostic is about.

use std::sync::Arc;

use super::Diagnostic;
use crate::source::{Position, Range, Source, Sources};
use crate::syntax::{Body, Expr, Kind, parse_source};
use crate::text::quote;

/// The lines a diagnostic is about, and which part of them it points at.
#[derive(Clone, Debug)]
pub struct Snippet {
    /// The name of the source.
    pub file: Arc<str>,
    /// Where the part starts that is pointed at.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// The header of the block around it, for example `resource "a" "b"`.
    pub context: Option<String>,
    /// The lines, without the last end of line.
    pub code: String,
    /// The number of the first of the lines.
    pub start_line: u32,
    /// Offset in `code` of the part that is pointed at.
    pub highlight_start: usize,
    /// Offset in `code` after that part.
    pub highlight_end: usize,
}

/// The snippet of a diagnostic. `None` if it has no place, or one in other sources.
pub fn snippet(diagnostic: &Diagnostic, sources: &Sources) -> Option<Snippet> {
    let mut highlight = diagnostic.subject?;
    let source = sources.get(highlight.source)?;
    let mut shown = match diagnostic.context {
        Some(context) if context.source == highlight.source => context.over(highlight),
        _ => highlight,
    };
    // Nothing at all cannot be pointed at: take one more byte.
    for range in [&mut highlight, &mut shown] {
        if range.is_empty() {
            range.end = range.start + 1;
        }
    }
    let (code, code_start, start_line) = lines(source, shown);
    let relative = |offset: u32| {
        let mut at = (offset.saturating_sub(code_start) as usize).min(code.len());
        while !code.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (highlight_start, highlight_end) = (relative(highlight.start), relative(highlight.end));
    Some(Snippet {
        file: source.name().clone(),
        start: source.position(highlight.start),
        end: end_position(source, diagnostic.subject?, highlight),
        context: context(source, highlight.start.checked_sub(1)),
        highlight_start,
        highlight_end,
        code,
        start_line,
    })
}

/// Where a highlighted part ends. One that was made a byte longer is a column longer too, at the end of a line or not.
fn end_position(source: &Source, subject: Range, highlight: Range) -> Position {
    if subject.is_empty() {
        let end = source.position(subject.end);
        return Position {
            column: end.column + 1,
            byte: end.byte + 1,
            ..end
        };
    }
    source.position(highlight.end)
}

/// The lines a range touches, the offset of the first one, and its number.
fn lines(source: &Source, range: Range) -> (String, u32, u32) {
    let first = source.position(range.start).line;
    let mut code = String::new();
    let mut code_start = None;
    let mut number = first;
    while let (Some(start), Some(line)) = (source.line_start(number), source.line(number)) {
        if start > range.end {
            break;
        }
        // As HCL has it, ranges that touch overlap, and an empty one never does.
        let own = Range {
            start,
            end: start + line.len() as u32,
            ..range
        };
        let touches = own.contains(range.start)
            || own.contains(range.end)
            || range.contains(own.start)
            || range.contains(own.end);
        if !own.is_empty() && touches {
            if code_start.is_some() {
                code.push('\n');
            }
            code_start.get_or_insert(start);
            code.push_str(line);
        }
        number += 1;
    }
    (code, code_start.unwrap_or(range.start), first)
}

/// The header of the outermost block that a byte lies in; in JSON, the path to it.
fn context(source: &Arc<Source>, offset: Option<u32>) -> Option<String> {
    let offset = offset?;
    if source.name().ends_with(".json") {
        let (body, _) = crate::syntax::parse_json_source(source);
        let mut steps = Vec::new();
        json_path(body.json_value()?, offset, &mut steps);
        let path = steps.concat();
        let path = path.strip_prefix('.').unwrap_or(&path);
        return (!path.is_empty()).then(|| path.to_owned());
    }
    let (body, _): (Body, _) = parse_source(source);
    let block = body.blocks().find(|block| block.range().contains(offset))?;
    let mut text = block.kind.to_string();
    for label in &block.labels {
        text.push(' ');
        text.push_str(&quote(&label.text));
    }
    Some(text)
}

fn json_path(value: &Expr, offset: u32, steps: &mut Vec<String>) {
    let compound =
        |value: &Expr| matches!(value.kind(), Kind::JsonObject { .. } | Kind::JsonArray(_));
    match value.kind() {
        Kind::JsonObject { properties, .. } => {
            let found = properties
                .iter()
                .find(|p| compound(&p.value) && p.value.range().contains(offset));
            if let Some(property) = found {
                steps.push(format!(".{}", property.name));
                json_path(&property.value, offset, steps);
            }
        }
        Kind::JsonArray(values) => {
            let found = values
                .iter()
                .enumerate()
                .find(|(_, v)| compound(v) && v.range().contains(offset));
            if let Some((at, value)) = found {
                steps.push(format!("[{at}]"));
                json_path(value, offset, steps);
            }
        }
        _ => {}
    }
}
