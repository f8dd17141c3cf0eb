//! Trees of changes as text, in the form Terraform's users read every day.

use std::fmt::Write as _;
use std::sync::Arc;

use consort_hcl::{Kind, Marks, Type, Value};
use similar::{Algorithm, ChangeTag, TextDiff};

use super::diff::{Action, Child, Node, Shape};

/// Whether the text carries colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Escape sequences of terminals.
    Ansi,
    /// None.
    None,
}

impl Colours {
    /// `text` in the colour with that code, if there are colours.
    pub fn paint(self, code: &str, text: &str) -> String {
        match self {
            Colours::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Colours::None => text.to_owned(),
        }
    }

    /// The sign of an action.
    fn sign(self, action: Action) -> String {
        match action {
            Action::Keep => " ".to_owned(),
            Action::Create => self.paint("32", "+"),
            Action::Update => self.paint("33", "~"),
            Action::Delete => self.paint("31", "-"),
        }
    }
}

/// Attributes that are shown also where they stay as they are: they tell which object it is.
const TELLING: [&str; 3] = ["id", "name", "tags"];

/// Writes trees.
pub struct Text {
    colours: Colours,
    /// Where everything is shown, also what stays (a state, not a change).
    whole: bool,
    out: String,
}

/// How one value is written.
#[derive(Clone, Copy)]
struct Manner {
    /// Depth of the line it begins on.
    level: usize,
    /// Whether signs of actions are written before its parts.
    signs: bool,
    /// Whether `-> null` follows what goes.
    ends: bool,
}

impl Text {
    /// For changes: what stays is only counted.
    pub fn new(colours: Colours) -> Text {
        Text {
            colours,
            whole: false,
            out: String::new(),
        }
    }

    /// For states and outputs: everything is shown, without signs.
    pub fn whole(colours: Colours) -> Text {
        Text {
            colours,
            whole: true,
            out: String::new(),
        }
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.out
    }

    /// A block with its head, such as `resource "a" "b"`, and the sign that stands before it.
    pub fn resource(&mut self, sign: &str, head: &str, node: &Node) {
        let forces = self.forces(node);
        let _ = writeln!(self.out, "{sign:>3} {head} {{{forces}");
        self.content(
            node,
            Manner {
                level: 1,
                signs: !self.whole,
                ends: node.action == Action::Delete,
            },
        );
        self.out
            .push_str(if self.whole { "}\n" } else { "    }\n" });
    }

    /// `name = value`, as outputs are written.
    pub fn named(&mut self, name: &str, width: usize, node: &Node) {
        let manner = Manner {
            level: 0,
            signs: !self.whole,
            ends: true,
        };
        self.entry(name, width, node, manner, "");
    }

    fn forces(&self, node: &Node) -> String {
        if node.forces {
            format!(" {}", self.colours.paint("31", "# forces replacement"))
        } else {
            String::new()
        }
    }

    fn indent(&mut self, level: usize) {
        let spaces = if self.whole { 4 * level } else { 4 * level + 2 };
        self.out.extend(std::iter::repeat_n(' ', spaces));
    }

    /// The beginning of a line: indentation and the sign.
    fn begin(&mut self, action: Action, manner: Manner) {
        self.indent(manner.level);
        if !self.whole {
            let sign = if manner.signs {
                self.colours.sign(action)
            } else {
                " ".to_owned()
            };
            self.out.push_str(&sign);
            self.out.push(' ');
        }
    }

    /// The beginning of a closing line.
    fn close(&mut self, level: usize) {
        self.indent(level);
        if !self.whole {
            self.out.push_str("  ");
        }
    }

    fn hidden(&mut self, level: usize, count: usize, what: &str) {
        if count == 0 {
            return;
        }
        self.indent(level);
        let plural = if count == 1 { "" } else { "s" };
        let text = format!("# ({count} unchanged {what}{plural} hidden)");
        let text = self.colours.paint("90", &text);
        let _ = writeln!(self.out, "  {text}");
    }

    fn content(&mut self, node: &Node, manner: Manner) {
        match &node.shape {
            Shape::Block { attributes, blocks } => {
                self.attributes(attributes, manner, "attribute", true);
                self.blocks(blocks, manner);
            }
            Shape::Keyed { map, entries } => {
                let what = if *map { "element" } else { "attribute" };
                self.attributes(entries, manner, what, false);
            }
            _ => {}
        }
    }

    fn attributes(
        &mut self,
        entries: &[(Arc<str>, Node)],
        manner: Manner,
        what: &str,
        telling: bool,
    ) {
        let shown = |name: &str, node: &Node| {
            self.whole || node.action != Action::Keep || telling && TELLING.contains(&name)
        };
        let (show, hide): (Vec<_>, Vec<_>) =
            entries.iter().partition(|(name, node)| shown(name, node));
        let width = show
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        for (name, node) in show {
            self.entry(name, width, node, manner, "");
        }
        self.hidden(manner.level, hide.len(), what);
    }

    fn blocks(&mut self, blocks: &[Child], manner: Manner) {
        let mut hidden = 0;
        let mut kind_before = None;
        for (kind, label, node) in blocks {
            if node.action == Action::Keep && !self.whole {
                hidden += 1;
                continue;
            }
            if kind_before != Some(kind) {
                self.out.push('\n');
                kind_before = Some(kind);
            }
            self.begin(node.action, manner);
            self.out.push_str(kind);
            if let Some(label) = label {
                let _ = write!(self.out, " {}", quoted(label));
            }
            let forces = self.forces(node);
            let inner = Manner {
                level: manner.level + 1,
                ends: node.action == Action::Delete,
                ..manner
            };
            match &node.shape {
                Shape::Sensitive => {
                    let _ = writeln!(self.out, " {{{forces}");
                    self.indent(inner.level);
                    self.out.push_str(
                        "  # At least one attribute in this block is (or was) sensitive,\n",
                    );
                    self.indent(inner.level);
                    self.out
                        .push_str("  # so its contents will not be displayed.\n");
                }
                Shape::Unknown(_) => {
                    let _ = writeln!(self.out, " {{{forces}");
                    self.indent(inner.level);
                    self.out.push_str("  # (known after apply)\n");
                }
                _ => {
                    let _ = writeln!(self.out, " {{{forces}");
                    self.content(node, inner);
                }
            }
            self.close(manner.level);
            self.out.push_str("}\n");
        }
        if hidden > 0 {
            self.out.push('\n');
            self.hidden(manner.level, hidden, "block");
        }
    }

    fn entry(&mut self, name: &str, width: usize, node: &Node, manner: Manner, end: &str) {
        self.begin(node.action, manner);
        let shown = key(name);
        let padding = width.saturating_sub(name.chars().count());
        let _ = write!(self.out, "{shown}{:padding$} = ", "");
        self.value(node, manner, end);
    }

    /// Writes a value from the present place to the end of its last line.
    fn value(&mut self, node: &Node, manner: Manner, end: &str) {
        let forces = self.forces(node);
        let null = if manner.ends && node.action == Action::Delete && !self.whole {
            format!(" {} null", self.colours.paint("33", "->"))
        } else {
            String::new()
        };
        let inner = Manner {
            level: manner.level + 1,
            signs: manner.signs,
            ends: false,
        };
        match &node.shape {
            Shape::Sensitive => {
                let _ = writeln!(self.out, "(sensitive value){null}{end}{forces}");
            }
            Shape::Unknown(None) => {
                let _ = writeln!(self.out, "(known after apply){end}{forces}");
            }
            Shape::Unknown(Some(was)) => {
                let begun = self.out.len();
                let manner = Manner {
                    ends: false,
                    ..manner
                };
                let mut was = was.clone();
                was.forces = false;
                self.value(&was, manner, "");
                if self.out.ends_with('\n') {
                    self.out.pop();
                }
                debug_assert!(self.out.len() >= begun);
                let arrow = self.colours.paint("33", "->");
                let _ = writeln!(self.out, " {arrow} (known after apply){end}{forces}");
            }
            Shape::Exchanged(was, becomes) => {
                self.value(
                    was,
                    Manner {
                        ends: false,
                        ..manner
                    },
                    "",
                );
                self.out.pop();
                let arrow = self.colours.paint("33", "->");
                let _ = write!(self.out, " {arrow} ");
                self.value(becomes, manner, &format!("{end}{forces}"));
            }
            Shape::Leaf { before, after } => {
                let text = match (before, after) {
                    (Some(before), Some(after)) if node.action == Action::Update => format!(
                        "{} {} {}",
                        primitive(before),
                        self.colours.paint("33", "->"),
                        primitive(after)
                    ),
                    (_, Some(after)) if node.action != Action::Delete => primitive(after),
                    (Some(before), _) => primitive(before),
                    (None, Some(after)) => primitive(after),
                    (None, None) => "null".to_owned(),
                };
                let _ = writeln!(self.out, "{text}{null}{end}{forces}");
            }
            Shape::Lines { before, after } => {
                self.lines(before, after, node, manner, &null, end);
            }
            Shape::Json(json) => {
                let _ = writeln!(self.out, "jsonencode({forces}");
                self.begin(json.action, inner);
                self.value(json, inner, "");
                self.close(manner.level);
                let _ = writeln!(self.out, "){null}{end}");
            }
            Shape::Keyed { entries, .. } if entries.is_empty() => {
                let _ = writeln!(self.out, "{{}}{null}{end}{forces}");
            }
            Shape::Keyed { map, entries } => {
                let _ = writeln!(self.out, "{{{forces}");
                self.keyed(*map, entries, inner);
                self.close(manner.level);
                let _ = writeln!(self.out, "}}{null}{end}");
            }
            Shape::Block { .. } => {
                let _ = writeln!(self.out, "{{{forces}");
                self.content(node, inner);
                self.close(manner.level);
                let _ = writeln!(self.out, "}}{null}{end}");
            }
            Shape::Sequence { elements, .. } if elements.is_empty() => {
                let _ = writeln!(self.out, "[]{null}{end}{forces}");
            }
            Shape::Sequence { set, elements } => {
                let _ = writeln!(self.out, "[{forces}");
                self.sequence(*set, elements, inner);
                self.close(manner.level);
                let _ = writeln!(self.out, "]{null}{end}");
            }
        }
    }

    fn keyed(&mut self, map: bool, entries: &[(Arc<str>, Node)], manner: Manner) {
        let (show, hide): (Vec<_>, Vec<_>) = entries
            .iter()
            .partition(|(_, node)| self.whole || node.action != Action::Keep);
        let written = |name: &str| if map { quoted(name) } else { key(name) };
        let width = show
            .iter()
            .map(|(name, _)| written(name).chars().count())
            .max()
            .unwrap_or(0);
        for (name, node) in show {
            self.begin(node.action, manner);
            let _ = write!(self.out, "{:width$} = ", written(name));
            self.value(node, manner, "");
        }
        let what = if map { "element" } else { "attribute" };
        self.hidden(manner.level, hide.len(), what);
    }

    fn sequence(&mut self, set: bool, elements: &[Node], manner: Manner) {
        let kept = |at: usize| elements[at].action == Action::Keep;
        let mut hidden = 0;
        for (at, node) in elements.iter().enumerate() {
            // In a list a neighbour of a change shows where it is.
            let beside =
                !set && (at > 0 && !kept(at - 1) || at + 1 < elements.len() && !kept(at + 1));
            if kept(at) && !self.whole && !beside {
                hidden += 1;
                continue;
            }
            if !set {
                self.hidden(manner.level, std::mem::take(&mut hidden), "element");
            }
            self.begin(node.action, manner);
            self.value(node, manner, ",");
        }
        self.hidden(manner.level, hidden, "element");
    }

    fn lines(
        &mut self,
        before: &str,
        after: &str,
        node: &Node,
        manner: Manner,
        null: &str,
        end: &str,
    ) {
        let forces = self.forces(node);
        let _ = writeln!(self.out, "<<-EOT{forces}");
        let inner = Manner {
            level: manner.level + 1,
            ..manner
        };
        let line = |text: &mut Text, action: Action, content: &str| {
            let content = content.trim_end_matches('\n');
            if content.is_empty() && action == Action::Keep {
                text.out.push('\n');
                return;
            }
            text.begin(action, inner);
            text.out.push_str(content);
            text.out.push('\n');
        };
        if node.action == Action::Update {
            let difference = TextDiff::configure()
                .algorithm(Algorithm::Myers)
                .timeout(std::time::Duration::from_millis(200))
                .diff_lines(before, after);
            for change in difference.iter_all_changes() {
                let action = match change.tag() {
                    ChangeTag::Equal => Action::Keep,
                    ChangeTag::Delete => Action::Delete,
                    ChangeTag::Insert => Action::Create,
                };
                line(self, action, change.value());
            }
        } else {
            let text = if after.is_empty() { before } else { after };
            for content in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                line(self, Action::Keep, content);
            }
        }
        self.close(manner.level);
        let _ = writeln!(self.out, "EOT{null}{end}");
    }
}

/// A name as an attribute is written: quoted unless it is an identifier.
fn key(name: &str) -> String {
    let mut characters = name.chars();
    let identifier = characters
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if identifier {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A string in quotes, as Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn primitive(value: &Value) -> String {
    match value.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Unknown(_) => "(known after apply)".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(number) => number.to_string(),
        Kind::String(text) => quoted(text),
        _ => expression(value, 0),
    }
}

/// A value as an expression, as `console` and `output` print it; `level` is the depth of its first line.
pub fn expression(value: &Value, level: usize) -> String {
    let mut out = String::new();
    write_expression(&mut out, value, level);
    out
}

fn write_expression(out: &mut String, value: &Value, level: usize) {
    let pad = |out: &mut String, level: usize| out.extend(std::iter::repeat_n(' ', 2 * level));
    if value.marks().intersects(Marks::EPHEMERAL) {
        out.push_str("(ephemeral value)");
        return;
    }
    if value.marks().intersects(Marks::SENSITIVE) {
        out.push_str("(sensitive value)");
        return;
    }
    if value.is_null() {
        let name = match value.ty() {
            Type::Dynamic => {
                out.push_str("null");
                return;
            }
            Type::Bool => "tobool",
            Type::Number => "tonumber",
            Type::String => "tostring",
            ty => {
                let _ = write!(out, "null /* {} */", ty.friendly_name());
                return;
            }
        };
        let _ = write!(out, "{name}(null)");
        return;
    }
    let sequence = |out: &mut String, parts: &[Value], function: Option<&str>| {
        let (open, close) = match function {
            Some(function) => (format!("{function}(["), "])"),
            None => ("[".to_owned(), "]"),
        };
        out.push_str(&open);
        for part in parts {
            out.push('\n');
            pad(out, level + 1);
            write_expression(out, part, level + 1);
            out.push(',');
        }
        if !parts.is_empty() {
            out.push('\n');
            pad(out, level);
        }
        out.push_str(close);
    };
    let keyed = |out: &mut String,
                 parts: &std::collections::BTreeMap<Arc<str>, Value>,
                 function: Option<&str>| {
        let (open, close) = match function {
            Some(function) => (format!("{function}({{"), "})"),
            None => ("{".to_owned(), "}"),
        };
        out.push_str(&open);
        for (name, part) in parts {
            out.push('\n');
            pad(out, level + 1);
            let _ = write!(out, "{} = ", quoted(name));
            write_expression(out, part, level + 1);
        }
        if !parts.is_empty() {
            out.push('\n');
            pad(out, level);
        }
        out.push_str(close);
    };
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Unknown(_) => out.push_str("(known after apply)"),
        Kind::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Kind::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Kind::String(text) if text.contains('\n') => heredoc(out, text, level),
        Kind::String(text) => out.push_str(&quoted(text)),
        Kind::List(parts) => sequence(out, parts, Some("tolist")),
        Kind::Set(parts) => sequence(out, parts, Some("toset")),
        Kind::Tuple(parts) => sequence(out, parts, None),
        Kind::Map(parts) => keyed(out, parts, Some("tomap")),
        Kind::Object(parts) => keyed(out, parts, None),
    }
}

fn heredoc(out: &mut String, text: &str, level: usize) {
    let mut delimiter = "EOT".to_owned();
    while text.lines().any(|line| line.trim() == delimiter) {
        delimiter.push('_');
    }
    let pad = " ".repeat(2 * level);
    if level == 0 {
        let _ = write!(out, "<<{delimiter}\n{text}\n{delimiter}");
        return;
    }
    let _ = write!(out, "<<-{delimiter}");
    for line in text.split('\n') {
        let _ = write!(out, "\n{pad}{line}");
    }
    let _ = write!(out, "\n{pad}{delimiter}");
}

#[cfg(test)]
mod tests {
    use super::super::{Paths, attributes, outputs};
    use super::*;
    use crate::provider::schema::{Attribute, Block, Nesting};
    use consort_hcl::{Path, Type};

    fn schema() -> Block {
        let text = || Attribute::new(Type::String).optional();
        Block::default()
            .attribute("id", text().computed())
            .attribute("ami", text())
            .attribute("secret", text().sensitive())
            .attribute("policy", text())
            .attribute("tags", Attribute::new(Type::map(Type::String)).optional())
            .attribute("zones", Attribute::new(Type::list(Type::String)).optional())
            .attribute("size", Attribute::new(Type::Number).optional())
            .nested(
                "rule",
                Nesting::List,
                Block::default()
                    .attribute("port", Attribute::new(Type::Number).optional())
                    .attribute("from", text()),
            )
    }

    fn object(values: &[(&str, Value)]) -> Value {
        let wanted = schema().implied_type();
        let mut all: std::collections::BTreeMap<Arc<str>, Value> = wanted
            .as_object()
            .unwrap()
            .attributes
            .iter()
            .map(|(name, ty)| (Arc::clone(name), Value::null(ty.clone())))
            .collect();
        for (name, value) in values {
            all.insert(Arc::from(*name), value.clone());
        }
        Value::object(all)
    }

    fn rule(port: i64) -> Value {
        Value::object([
            ("port", Value::number(port)),
            ("from", Value::string("any")),
        ])
    }

    fn shown(before: &Value, after: &Value, replace: &[Path], sign: &str) -> String {
        let node = attributes(before, after, &schema(), &Paths::new(replace));
        let mut text = Text::new(Colours::None);
        text.resource(sign, "resource \"a\" \"b\"", &node);
        text.finish()
    }

    #[test]
    fn what_comes_is_shown_with_what_is_not_known_yet_and_without_secrets() {
        let after = object(&[
            ("id", Value::unknown(Type::String)),
            ("secret", Value::string("hunter2")),
            ("ami", Value::string("x").with_marks(Marks::SENSITIVE)),
            (
                "tags",
                Value::map(Type::String, [("a b", Value::string("c"))]),
            ),
            ("rule", Value::list(rule(1).ty().clone(), vec![rule(80)])),
        ]);
        assert_eq!(
            shown(&Value::null(Type::Dynamic), &after, &[], "+"),
            r#"  + resource "a" "b" {
      + ami    = (sensitive value)
      + id     = (known after apply)
      + secret = (sensitive value)
      + tags   = {
          + "a b" = "c"
        }

      + rule {
          + from = "any"
          + port = 80
        }
    }
"#
        );
    }

    #[test]
    fn a_change_shows_what_differs_and_why_it_replaces() {
        let rules = |ports: &[i64]| {
            let all: Vec<Value> = ports.iter().map(|port| rule(*port)).collect();
            Value::list(rule(1).ty().clone(), all)
        };
        let zones =
            |names: &[&str]| Value::list(Type::String, names.iter().map(Value::string).collect());
        let before = object(&[
            ("id", Value::string("i-1")),
            ("ami", Value::string("old")),
            ("size", Value::number(1)),
            ("policy", Value::string(r#"{"a":1,"b":[1]}"#)),
            ("zones", zones(&["a", "b", "c", "d", "e"])),
            ("rule", rules(&[80, 81])),
        ]);
        let after = object(&[
            ("id", Value::string("i-1")),
            ("ami", Value::string("new")),
            ("size", Value::number(1)),
            ("policy", Value::string(r#"{"a":2,"b":[1]}"#)),
            ("zones", zones(&["a", "b", "x", "d", "e"])),
            ("rule", rules(&[80, 82])),
        ]);
        let replace = [Path::root().attribute("ami")];
        assert_eq!(
            shown(&before, &after, &replace, "-/+"),
            r#"-/+ resource "a" "b" {
      ~ ami    = "old" -> "new" # forces replacement
        id     = "i-1"
      ~ policy = jsonencode(
          ~ {
              ~ a = 1 -> 2
                # (1 unchanged attribute hidden)
            }
        )
      ~ zones  = [
            # (1 unchanged element hidden)
            "b",
          - "c",
          + "x",
            "d",
            # (1 unchanged element hidden)
        ]
        # (1 unchanged attribute hidden)

      ~ rule {
          ~ port = 81 -> 82
            # (1 unchanged attribute hidden)
        }

        # (1 unchanged block hidden)
    }
"#
        );
    }

    #[test]
    fn what_goes_ends_in_null() {
        let before = object(&[
            ("id", Value::string("i-1")),
            (
                "tags",
                Value::map(Type::String, [("a", Value::string("b"))]),
            ),
        ]);
        assert_eq!(
            shown(&before, &Value::null(Type::Dynamic), &[], "-"),
            r#"  - resource "a" "b" {
      - id   = "i-1" -> null
      - tags = {
          - "a" = "b"
        } -> null
    }
"#
        );
    }

    #[test]
    fn lines_of_text_are_told_apart() {
        let (before, after) = (Value::string("a\nb\nc\n"), Value::string("a\nx\nc\n"));
        let node = outputs(Some(&before), Some(&after));
        let mut text = Text::new(Colours::None);
        text.named("o", 1, &node);
        assert_eq!(
            text.finish(),
            "  ~ o = <<-EOT\n        a\n      - b\n      + x\n        c\n    EOT\n"
        );
    }

    #[test]
    fn values_are_written_as_expressions() {
        let value = Value::tuple(vec![
            Value::string("a\nb"),
            Value::object([("x", Value::number(1))]),
            Value::null(Type::String),
            Value::set(Type::Number, vec![Value::number(2), Value::number(1)]),
        ]);
        assert_eq!(
            expression(&value, 0),
            "[\n  <<-EOT\n  a\n  b\n  EOT,\n  {\n    \"x\" = 1\n  },\n  tostring(null),\n  toset([\n    1,\n    2,\n  ]),\n]"
        );
    }
}
