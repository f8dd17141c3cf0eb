//! Diagnostics as terraform shows them on a terminal.

use std::fmt::Write as _;

use super::describe::statements;
use super::json::full_detail;
use super::{Diagnostic, Diagnostics, Severity, snippet};
use crate::source::Sources;

/// How diagnostics are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// With a rule to the left of each message, as on a terminal; without, as for programs.
    pub boxed: bool,
    /// With colours.
    pub color: bool,
    /// The column at which details are wrapped; zero: not at all.
    pub width: usize,
}

impl Style {
    /// Without rules and colours, and not wrapped.
    pub const PLAIN: Style = Style {
        boxed: false,
        color: false,
        width: 0,
    };
    /// With rules and without colours.
    pub const BOXED: Style = Style {
        boxed: true,
        color: false,
        width: 78,
    };
}

struct Paint(bool);

impl Paint {
    const RESET: &str = "\u{1b}[0m";

    fn code(&self, code: &'static str) -> &'static str {
        if self.0 { code } else { "" }
    }

    fn reset(&self) -> &'static str {
        self.code(Self::RESET)
    }
}

/// One diagnostic: what, where with the source lines and the values in them, and why.
pub fn text(diagnostic: &Diagnostic, sources: &Sources, style: Style) -> String {
    let paint = Paint(style.color);
    let (bold, reset) = (paint.code("\u{1b}[1m"), paint.reset());
    let (name, color) = match diagnostic.severity {
        Severity::Error => ("Error: ", paint.code("\u{1b}[31m")),
        Severity::Warning => ("Warning: ", paint.code("\u{1b}[33m")),
    };
    let mut body = String::new();
    if style.boxed {
        let _ = write!(
            body,
            "{bold}{color}{name}{reset}{bold}{}{reset}\n\n",
            shown(&diagnostic.summary)
        );
    } else {
        let _ = write!(body, "\n{name}{}\n\n", shown(&diagnostic.summary));
    }
    source_lines(&mut body, diagnostic, sources, &paint);
    let detail = full_detail(diagnostic);
    if !detail.is_empty() {
        let width = style.width.saturating_sub(if style.boxed { 3 } else { 1 });
        for line in shown(&detail).split('\n') {
            if width > 0 && !line.starts_with(' ') {
                body.push_str(&wrap(line, width));
            } else {
                body.push_str(line);
            }
            body.push('\n');
        }
    }
    if !style.boxed {
        return body;
    }
    let mut boxed = format!("{color}╷{reset}\n");
    for line in body.lines() {
        let _ = write!(boxed, "{color}│{reset}");
        if !line.is_empty() {
            boxed.push(' ');
            boxed.push_str(line);
        }
        boxed.push('\n');
    }
    let _ = writeln!(boxed, "{color}╵{reset}");
    boxed
}

fn source_lines(body: &mut String, diagnostic: &Diagnostic, sources: &Sources, paint: &Paint) {
    if let Some(address) = &diagnostic.address {
        let _ = writeln!(body, "  with {address},");
    }
    if diagnostic.subject.is_none() {
        if diagnostic.address.is_some() {
            body.push('\n');
        }
        return;
    }
    let Some(snippet) = snippet(diagnostic, sources) else {
        return;
    };
    if super::is_hidden(&snippet.file) {
        let _ = writeln!(
            body,
            "  on {} line {}:\n  (source code not available)\n",
            shown(&snippet.file),
            snippet.start.line
        );
        return;
    }
    let context = snippet
        .context
        .map(|context| format!(", in {context}"))
        .unwrap_or_default();
    let _ = writeln!(
        body,
        "  on {} line {}{context}:",
        shown(&snippet.file),
        snippet.start.line
    );
    if snippet.file.starts_with("<value for ") {
        body.push_str("  (source code not available)\n\n");
        return;
    }
    let (start, end) = (
        snippet.highlight_start,
        snippet.highlight_end.max(snippet.highlight_start),
    );
    let code = format!(
        "{}{}{}{}{}",
        shown(&snippet.code[..start]),
        paint.code("\u{1b}[4m"),
        shown(&snippet.code[start..end]),
        paint.reset(),
        shown(&snippet.code[end..]),
    );
    for (at, line) in code.split('\n').enumerate() {
        let _ = writeln!(body, "{:4}: {line}", snippet.start_line as usize + at);
    }
    let values = statements(diagnostic);
    let signature = diagnostic
        .call
        .as_ref()
        .and_then(|call| Some((call, call.function.as_ref()?)));
    if !values.is_empty() || signature.is_some() {
        let (gray, bold, reset) = (
            paint.code("\u{1b}[90m"),
            paint.code("\u{1b}[1m"),
            paint.reset(),
        );
        let _ = writeln!(body, "    {gray}├────────────────{reset}");
        if let Some((call, function)) = signature {
            let mut params: Vec<_> = function
                .params()
                .iter()
                .map(|parameter| parameter.name.to_string())
                .collect();
            params.extend(
                function
                    .variadic()
                    .map(|parameter| format!("{}...", parameter.name)),
            );
            let _ = writeln!(
                body,
                "    {gray}│{reset} while calling {bold}{}{reset}({})",
                call.called_as,
                params.join(", ")
            );
        }
        for (traversal, statement) in values {
            let _ = writeln!(
                body,
                "    {gray}│{reset} {bold}{}{reset} {}",
                shown(&traversal),
                shown(&statement)
            );
        }
    }
    body.push('\n');
}

/// Warnings in two lines each, without their details.
pub fn compact_warnings(warnings: &Diagnostics, sources: &Sources, color: bool) -> String {
    let paint = Paint(color);
    let mut body = format!(
        "{}{}Warnings:{}\n\n",
        paint.code("\u{1b}[1m"),
        paint.code("\u{1b}[33m"),
        paint.reset()
    );
    for diagnostic in warnings {
        let _ = writeln!(body, "- {}", shown(&diagnostic.summary));
        if let Some(range) = diagnostic.subject
            && let Some(start) = sources.start(range)
        {
            let _ = writeln!(
                body,
                "  on {} line {}",
                shown(sources.name(range)),
                start.line
            );
        }
    }
    body
}

/// Text from elsewhere without the control characters that could change what a terminal shows.
fn shown(text: &str) -> String {
    if !text
        .chars()
        .any(|character| character.is_control() && !matches!(character, '\n' | '\t' | '\r'))
    {
        return text.to_owned();
    }
    text.chars()
        .map(|character| match character {
            '\n' | '\t' | '\r' => character,
            // The pictures of control characters.
            '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            _ if character.is_control() => '\u{fffd}',
            _ => character,
        })
        .collect()
}

/// Breaks a line at spaces so that it fits, if it can.
fn wrap(line: &str, limit: usize) -> String {
    let mut wrapped = String::with_capacity(line.len() + 8);
    let (mut current, mut spaces, mut word) = (0, String::new(), String::new());
    let (mut spaces_width, mut word_width) = (0, 0);
    for character in line.chars() {
        if character.is_whitespace() && character != '\u{a0}' {
            if spaces.is_empty() || !word.is_empty() {
                current += spaces_width + word_width;
                wrapped.push_str(&spaces);
                wrapped.push_str(&word);
                spaces.clear();
                word.clear();
                (spaces_width, word_width) = (0, 0);
            }
            spaces.push(character);
            spaces_width += 1;
        } else {
            word.push(character);
            word_width += 1;
            if current + word_width + spaces_width > limit && word_width < limit {
                wrapped.push('\n');
                current = 0;
                spaces.clear();
                spaces_width = 0;
            }
        }
    }
    if word.is_empty() {
        if current + spaces_width <= limit {
            wrapped.push_str(&spaces);
        }
    } else {
        wrapped.push_str(&spaces);
        wrapped.push_str(&word);
    }
    wrapped
}
