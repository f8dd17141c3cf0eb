//! Writes nodes as libyaml 0.2.5 does: where it breaks lines, quotes and indents.

use super::scalars::is_break;
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

pub(super) struct Emitter {
    pub(super) out: String,
    pub(super) indent_step: usize,
    pub(super) width: usize,
    pub(super) unicode: bool,
    pub(super) canonical: bool,
    pub(super) column: usize,
    /// How far lines are indented; none before the first level.
    pub(super) indent: Option<usize>,
    pub(super) indents: Vec<Option<usize>>,
    pub(super) flow: usize,
    pub(super) whitespace: bool,
    pub(super) indention: bool,
    pub(super) open_ended: bool,
}

impl Emitter {
    pub(super) fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    pub(super) fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    pub(super) fn write_break(&mut self, c: char) {
        if c == '\n' {
            self.put_break();
        } else {
            self.out.push(c);
            self.column = 0;
        }
    }

    pub(super) fn write_indent(&mut self) {
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

    pub(super) fn indicator(
        &mut self,
        text: &str,
        needs_blank: bool,
        is_blank: bool,
        is_indention: bool,
    ) {
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
}
