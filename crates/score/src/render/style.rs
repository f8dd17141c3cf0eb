//! How text is written: colours, widths, and what must never reach a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// How text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether it carries the colours of terminals.
    pub colours: bool,
    /// How many columns a line should keep to. Single long words may be wider.
    pub width: usize,
    /// Whether everything is told: long values whole, the fields of what is deleted, resources that stay as they are.
    pub full: bool,
    /// Whether a plan tells the resources alone, without their fields.
    pub brief: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            colours: false,
            width: 100,
            full: false,
            brief: false,
        }
    }
}

impl Style {
    pub(crate) fn paint<'t>(&self, code: &str, text: &'t str) -> Cow<'t, str> {
        if self.colours && !text.is_empty() {
            Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
        } else {
            Cow::Borrowed(text)
        }
    }

    pub(crate) fn bold<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.paint("1", text)
    }

    pub(crate) fn dim<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.paint("2", text)
    }

    pub(crate) fn red<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.paint("1;31", text)
    }

    pub(crate) fn green<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.paint("32", text)
    }

    pub(crate) fn yellow<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.paint("33", text)
    }

    pub(crate) fn cyan<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.paint("36", text)
    }
}

/// Columns a text takes on a terminal: none for accents that combine, two for the wide characters of East Asia and for
/// pictures, one for all others.
pub(crate) fn columns(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().map(column).sum()
    }
}

fn column(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The beginning of a text that fits into so many columns; what is cut ends in `...`.
pub(crate) fn fitted(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let room = width.saturating_sub(3);
    let end = text
        .char_indices()
        .find(|(_, c)| {
            used += column(*c);
            used > room
        })
        .map_or(text.len(), |(at, _)| at);
    let dots = "...";
    Cow::Owned(format!("{}{}", &text[..end], &dots[..width.min(3)]))
}

/// Whether a character may drive a terminal or change how its neighbours are read: controls, and the format characters
/// that reorder or hide text.
fn drives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text with everything in it written out that could drive a terminal or reorder what is read: `\u001b` for an
/// escape, `\n` for the end of a line.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(drives) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        escape(c, &mut out);
    }
    Cow::Owned(out)
}

fn escape(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        c if drives(c) => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        c => out.push(c),
    }
}

/// A text in double quotes, as JSON writes it, with what could drive a terminal written out.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c => escape(c, &mut out),
        }
    }
    out.push('"');
    out
}

/// A span of time for eyes: `0.3s`, `12s`, `3m 04s`, `2h 05m`, `3d 4h`.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// `1 point`, `2 points`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Breaks words into lines of at most `width` columns; a longer word has a line of its own. Each line begins with
/// `indent`.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize, out: &mut String) {
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = columns(word);
        if used > 0 && columns(indent) + used + 1 + length > width {
            out.push_str(indent);
            out.push_str(&line);
            out.push('\n');
            line.clear();
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    if used > 0 {
        out.push_str(indent);
        out.push_str(&line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_or_reorders_text_is_left() {
        assert_eq!(
            escaped("a\x1b[2Jb\u{202e}c\u{9b}31m\r\nd\u{e0041}"),
            "a\\u001b[2Jb\\u202ec\\u009b31m\\r\\nd\\udb40\\udc41"
        );
        assert_eq!(quoted("say \"x\\y\"\u{7}"), r#""say \"x\\y\"\u0007""#);
        assert!(matches!(escaped("größe 尺寸"), Cow::Borrowed(_)));
    }

    #[test]
    fn spans_of_time_are_short() {
        let text = |millis| elapsed(Duration::from_millis(millis));
        assert_eq!(text(340), "0.3s");
        assert_eq!(text(59_999), "59s");
        assert_eq!(text(184_000), "3m 04s");
        assert_eq!(text(7_500_000), "2h 05m");
        assert_eq!(text(273_600_000), "3d 4h");
    }
}
