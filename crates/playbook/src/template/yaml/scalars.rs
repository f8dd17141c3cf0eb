//! How a scalar is written: what it can be written as, and each of the ways.

use std::fmt::Write as _;

use super::emitter::Emitter;

/// What a scalar can be written as.
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) flow_plain: bool,
    pub(super) block_plain: bool,
    pub(super) single: bool,
    pub(super) block: bool,
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether libyaml takes a character for one that can be shown: it knows none beyond the first plane.
fn is_printable(c: char) -> bool {
    matches!(c as u32, 0x0a | 0x20..=0x7e | 0xa0..=0xd7ff | 0xe000..=0xfefe | 0xff00..=0xfffd)
}

fn is_blank_or_end(c: Option<char>) -> bool {
    c.is_none_or(|c| matches!(c, ' ' | '\t' | '\0') || is_break(c))
}

impl Emitter {
    pub(super) fn analyze(&self, text: &str) -> Analysis {
        if text.is_empty() {
            return Analysis {
                multiline: false,
                flow_plain: false,
                block_plain: true,
                single: true,
                block: false,
            };
        }
        let (mut block_indicators, mut flow_indicators) = (false, false);
        let (mut line_breaks, mut special, mut tabs) = (false, false, false);
        let (mut leading, mut trailing_space, mut trailing_break) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        if text.starts_with("---") || text.starts_with("...") {
            block_indicators = true;
            flow_indicators = true;
        }
        let mut preceded = true;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            let followed = is_blank_or_end(next);
            let last = next.is_none();
            if first {
                match c {
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\''
                    | '"' | '%' | '@' | '`' => {
                        flow_indicators = true;
                        block_indicators = true;
                    }
                    '?' | ':' => {
                        flow_indicators = true;
                        block_indicators |= followed;
                    }
                    '-' if followed => {
                        flow_indicators = true;
                        block_indicators = true;
                    }
                    _ => {}
                }
            } else {
                match c {
                    ',' | '?' | '[' | ']' | '{' | '}' => flow_indicators = true,
                    ':' => {
                        flow_indicators = true;
                        block_indicators |= followed;
                    }
                    '#' if preceded => {
                        flow_indicators = true;
                        block_indicators = true;
                    }
                    _ => {}
                }
            }
            if c == '\t' {
                tabs = true;
            } else if !is_printable(c) || !c.is_ascii() && !self.unicode {
                special = true;
            }
            line_breaks |= is_break(c);
            if c == ' ' {
                leading |= first;
                trailing_space |= last;
                break_space |= previous_break;
                (previous_space, previous_break) = (true, false);
            } else if is_break(c) {
                leading |= first;
                trailing_break |= last;
                space_break |= previous_space;
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
            preceded = is_blank_or_end(Some(c));
            first = false;
        }
        let plain = !(leading
            || trailing_space
            || trailing_break
            || break_space
            || space_break
            || tabs
            || special
            || line_breaks);
        Analysis {
            multiline: line_breaks,
            flow_plain: plain && !flow_indicators,
            block_plain: plain && !block_indicators,
            single: !(break_space || space_break || tabs || special),
            block: !(trailing_space || space_break || special),
        }
    }

    pub(super) fn plain(&mut self, text: &str, allow_breaks: bool) {
        // No blank is left at the end of a line for a value that is nothing.
        if !self.whitespace && (!text.is_empty() || self.flow > 0) {
            self.put(' ');
        }
        let (mut spaces, mut breaks) = (false, false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == ' ' {
                if allow_breaks && !spaces && self.column > self.width && chars.peek() != Some(&' ')
                {
                    self.write_indent();
                } else {
                    self.put(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                self.put(c);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    pub(super) fn single(&mut self, text: &str, allow_breaks: bool) {
        self.indicator("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            if c == ' ' {
                let last = chars.peek().is_none();
                if allow_breaks
                    && !spaces
                    && self.column > self.width
                    && !first
                    && !last
                    && chars.peek() != Some(&' ')
                {
                    self.write_indent();
                } else {
                    self.put(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
            first = false;
        }
        if breaks {
            self.write_indent();
        }
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    pub(super) fn double(&mut self, text: &str, allow_breaks: bool) {
        self.indicator("\"", true, false, false);
        let mut spaces = false;
        let mut first = true;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if !is_printable(c)
                || !self.unicode && !c.is_ascii()
                || is_break(c)
                || matches!(c, '"' | '\\' | '\u{feff}')
            {
                let escape = match c {
                    '\0' => "0".to_owned(),
                    '\u{7}' => "a".to_owned(),
                    '\u{8}' => "b".to_owned(),
                    '\t' => "t".to_owned(),
                    '\n' => "n".to_owned(),
                    '\u{b}' => "v".to_owned(),
                    '\u{c}' => "f".to_owned(),
                    '\r' => "r".to_owned(),
                    '\u{1b}' => "e".to_owned(),
                    '"' => "\"".to_owned(),
                    '\\' => "\\".to_owned(),
                    '\u{85}' => "N".to_owned(),
                    '\u{a0}' => "_".to_owned(),
                    '\u{2028}' => "L".to_owned(),
                    '\u{2029}' => "P".to_owned(),
                    c => {
                        let code = c as u32;
                        let mut escape = String::new();
                        let _ = if code <= 0xff {
                            write!(escape, "x{code:02X}")
                        } else if code <= 0xffff {
                            write!(escape, "u{code:04X}")
                        } else {
                            write!(escape, "U{code:08X}")
                        };
                        escape
                    }
                };
                self.put('\\');
                for c in escape.chars() {
                    self.put(c);
                }
                spaces = false;
            } else if c == ' ' {
                let last = chars.peek().is_none();
                if allow_breaks && !spaces && self.column > self.width && !first && !last {
                    self.write_indent();
                    if chars.peek() == Some(&' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(c);
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
            first = false;
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// What stands after `|` or `>`: the indentation where it cannot be seen, and what is done about breaks at the end.
    fn hints(&mut self, text: &str) {
        if text.starts_with(|c: char| c == ' ' || is_break(c)) {
            let hint = self.indent_step.to_string();
            self.indicator(&hint, false, false, false);
        }
        let mut back = text.chars().rev();
        match (back.next(), back.next()) {
            (Some(last), _) if !is_break(last) => self.indicator("-", false, false, false),
            (None, _) => self.indicator("-", false, false, false),
            (Some(_), None) => {
                self.indicator("+", false, false, false);
                self.open_ended = true;
            }
            (Some(_), Some(before)) if is_break(before) => {
                self.indicator("+", false, false, false);
                self.open_ended = true;
            }
            _ => {}
        }
    }

    pub(super) fn literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        self.hints(text);
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }

    pub(super) fn folded(&mut self, text: &str) {
        self.indicator(">", true, false, false);
        self.hints(text);
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let (mut breaks, mut leading_spaces) = (true, true);
        let chars: Vec<char> = text.chars().collect();
        for (at, c) in chars.iter().copied().enumerate() {
            if is_break(c) {
                if !breaks && !leading_spaces && c == '\n' {
                    let after = chars[at..].iter().find(|c| !is_break(**c));
                    if !is_blank_or_end(after.copied()) {
                        self.put_break();
                    }
                }
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                    leading_spaces = is_blank_or_end(Some(c));
                }
                if !breaks
                    && c == ' '
                    && chars.get(at + 1) != Some(&' ')
                    && self.column > self.width
                {
                    self.write_indent();
                } else {
                    self.put(c);
                }
                self.indention = false;
                breaks = false;
            }
        }
    }
}
