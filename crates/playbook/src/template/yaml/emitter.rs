//! Writes nodes as libyaml 0.2.5 does: where it breaks lines, quotes and indents.

use std::fmt::Write as _;

use super::{Kind, Node, Style};

/// Longer keys are written with a question mark.
const SIMPLE: usize = 128;

pub(super) fn emit(node: &Node, style: &Style) -> String {
    let mut emitter = Emitter {
        out: String::new(),
        indent_step: if (2..10).contains(&style.indent) {
            style.indent
        } else {
            2
        },
        width: if style.width > 0 && style.width <= style.indent * 2 {
            80
        } else {
            style.width
        },
        unicode: style.unicode,
        canonical: style.canonical,
        column: 0,
        indent: None,
        indents: Vec::new(),
        flow: 0,
        whitespace: true,
        indention: true,
        open_ended: false,
    };
    if style.explicit_start || style.canonical {
        emitter.indicator("---", true, false, false);
        if style.canonical {
            emitter.write_indent();
        }
    }
    emitter.node(node, Place::default());
    emitter.write_indent();
    if style.explicit_end || emitter.open_ended {
        emitter.indicator("...", true, false, false);
        emitter.write_indent();
    }
    emitter.out
}

#[derive(Clone, Copy, Default)]
struct Place {
    mapping: bool,
    simple_key: bool,
}

struct Emitter {
    out: String,
    indent_step: usize,
    width: usize,
    unicode: bool,
    canonical: bool,
    column: usize,
    /// How far lines are indented; none before the first level.
    indent: Option<usize>,
    indents: Vec<Option<usize>>,
    flow: usize,
    whitespace: bool,
    indention: bool,
    open_ended: bool,
}

/// What a scalar can be written as.
struct Analysis {
    multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single: bool,
    block: bool,
}

fn is_break(c: char) -> bool {
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
    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn write_break(&mut self, c: char) {
        if c == '\n' {
            self.put_break();
        } else {
            self.out.push(c);
            self.column = 0;
        }
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || self.column == indent && !self.whitespace {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, needs_blank: bool, is_blank: bool, is_indention: bool) {
        if needs_blank && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.chars().count();
        self.whitespace = is_blank;
        self.indention = self.indention && is_indention;
        self.open_ended = false;
    }

    fn increase_indent(&mut self, flow: bool, indentless: bool) {
        self.indents.push(self.indent);
        self.indent = Some(match self.indent {
            None if flow => self.indent_step,
            None => 0,
            Some(indent) if indentless => indent,
            Some(indent) => indent + self.indent_step,
        });
    }

    fn decrease_indent(&mut self) {
        self.indent = self.indents.pop().flatten();
    }

    fn node(&mut self, node: &Node, place: Place) {
        if let Some(anchor) = &node.anchor {
            self.indicator(&format!("&{anchor}"), true, false, false);
        }
        match &node.kind {
            Kind::Alias(name) => {
                self.indicator(&format!("*{name}"), true, false, false);
                if place.simple_key {
                    self.put(' ');
                }
            }
            Kind::Scalar {
                text, kind, style, ..
            } if self.canonical => {
                self.scalar(text, Some(kind), (true, true), style.or(Some('"')), place);
            }
            Kind::Scalar {
                text,
                tag,
                plain,
                quoted,
                style,
                ..
            } => self.scalar(text, *tag, (*plain, *quoted), *style, place),
            Kind::Sequence { items, flow } => {
                if self.canonical {
                    self.indicator("!!seq", true, false, false);
                }
                if self.canonical || self.flow > 0 || *flow || items.is_empty() {
                    self.flow_sequence(items);
                } else {
                    self.block_sequence(items, place);
                }
            }
            Kind::Mapping { entries, flow } => {
                if self.canonical {
                    self.indicator("!!map", true, false, false);
                }
                if self.canonical || self.flow > 0 || *flow || entries.is_empty() {
                    self.flow_mapping(entries);
                } else {
                    self.block_mapping(entries);
                }
            }
        }
    }

    fn flow_sequence(&mut self, items: &[Node]) {
        self.indicator("[", true, true, false);
        self.increase_indent(true, false);
        self.flow += 1;
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.indicator(",", false, false, false);
            }
            if self.canonical || self.column > self.width {
                self.write_indent();
            }
            self.node(item, Place::default());
        }
        self.flow -= 1;
        self.decrease_indent();
        if self.canonical && !items.is_empty() {
            self.indicator(",", false, false, false);
            self.write_indent();
        }
        self.indicator("]", false, false, false);
    }

    fn flow_mapping(&mut self, entries: &[(Node, Node)]) {
        self.indicator("{", true, true, false);
        self.increase_indent(true, false);
        self.flow += 1;
        for (at, (key, value)) in entries.iter().enumerate() {
            if at > 0 {
                self.indicator(",", false, false, false);
            }
            if self.canonical || self.column > self.width {
                self.write_indent();
            }
            self.entry(key, value, false);
        }
        self.flow -= 1;
        self.decrease_indent();
        if self.canonical && !entries.is_empty() {
            self.indicator(",", false, false, false);
            self.write_indent();
        }
        self.indicator("}", false, false, false);
    }

    fn block_sequence(&mut self, items: &[Node], place: Place) {
        self.increase_indent(false, place.mapping && !self.indention);
        for item in items {
            self.write_indent();
            self.indicator("-", true, false, true);
            self.node(item, Place::default());
        }
        self.decrease_indent();
    }

    fn block_mapping(&mut self, entries: &[(Node, Node)]) {
        self.increase_indent(false, false);
        for (key, value) in entries {
            self.write_indent();
            self.entry(key, value, true);
        }
        self.decrease_indent();
    }

    /// An entry of a mapping, of the block or the flow style.
    fn entry(&mut self, key: &Node, value: &Node, block: bool) {
        let mapping = Place {
            mapping: true,
            simple_key: false,
        };
        if self.is_simple(key) {
            let simple = Place {
                simple_key: true,
                ..mapping
            };
            self.node(key, simple);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, block);
            self.node(key, mapping);
            if block || self.canonical || self.column > self.width {
                self.write_indent();
            }
            self.indicator(":", true, false, block);
        }
        self.node(value, mapping);
    }

    fn is_simple(&self, key: &Node) -> bool {
        if self.canonical {
            return false;
        }
        let anchor = key.anchor.as_ref().map_or(0, String::len);
        let length = match &key.kind {
            Kind::Alias(name) => name.len(),
            Kind::Scalar { text, tag, .. } => {
                if text.chars().any(is_break) {
                    return false;
                }
                text.len() + tag.map_or(0, str::len)
            }
            Kind::Sequence { items, .. } if items.is_empty() => 0,
            Kind::Mapping { entries, .. } if entries.is_empty() => 0,
            _ => return false,
        };
        anchor + length <= SIMPLE
    }

    fn analyze(&self, text: &str) -> Analysis {
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

    fn scalar(
        &mut self,
        text: &str,
        tag: Option<&str>,
        (plain, quoted): (bool, bool),
        style: Option<char>,
        place: Place,
    ) {
        let analysis = self.analyze(text);
        let mut style = if self.canonical {
            '"'
        } else {
            style.unwrap_or(' ')
        };
        if place.simple_key && analysis.multiline {
            style = '"';
        }
        if style == ' ' {
            let allowed = if self.flow > 0 {
                analysis.flow_plain
            } else {
                analysis.block_plain
            };
            if !allowed
                || text.is_empty() && (self.flow > 0 || place.simple_key)
                || tag.is_none() && !plain
            {
                style = '\'';
            }
        }
        if style == '\'' && !analysis.single {
            style = '"';
        }
        if matches!(style, '|' | '>') && (!analysis.block || self.flow > 0 || place.simple_key) {
            style = '"';
        }
        match tag {
            Some(tag) => self.indicator(tag, true, false, false),
            // In quotes it would be read as a text.
            None if style != ' ' && !quoted => self.indicator("!", true, false, false),
            None => {}
        }
        self.increase_indent(true, false);
        let breaks = !place.simple_key;
        match style {
            '\'' => self.single(text, breaks),
            '"' => self.double(text, breaks),
            '|' => self.literal(text),
            '>' => self.folded(text),
            _ => self.plain(text, breaks),
        }
        self.decrease_indent();
    }

    fn plain(&mut self, text: &str, allow_breaks: bool) {
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

    fn single(&mut self, text: &str, allow_breaks: bool) {
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

    fn double(&mut self, text: &str, allow_breaks: bool) {
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

    fn literal(&mut self, text: &str) {
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

    fn folded(&mut self, text: &str) {
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
