//! Trees of changes as text, in the form Terraform's users read every day.

use std::fmt::Write as _;
use std::sync::Arc;

use consort_hcl::{Kind, Value};
use similar::{Algorithm, ChangeTag, TextDiff};

use super::diff::{Action, Child, Keys, Node, Shape};

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
    /// Whether `-> null` follows what goes.
    ends: bool,
    /// Whether what stays is written too, and not only counted.
    all: bool,
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
        let manner = Manner {
            level: 1,
            ends: true,
            all: self.whole,
        };
        self.content(node, manner);
        self.out
            .push_str(if self.whole { "}\n" } else { "    }\n" });
    }

    /// `name = value`, as outputs are written.
    pub fn named(&mut self, name: &str, width: usize, node: &Node) {
        let manner = Manner {
            level: 0,
            ends: true,
            all: self.whole,
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
    fn begin(&mut self, action: Action, level: usize) {
        self.indent(level);
        if !self.whole {
            self.out.push_str(&self.colours.sign(action));
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
        if let Shape::Block { attributes, blocks } = &node.shape {
            self.entries(Keys::Schema, attributes, manner);
            self.blocks(blocks, manner, !attributes.is_empty());
        }
    }

    fn entries(&mut self, keys: Keys, entries: &[(Arc<str>, Node)], manner: Manner) {
        let map = matches!(keys, Keys::Map | Keys::MapOfObjects);
        let written = |name: &str| if map { quoted(name) } else { key(name) };
        let names: Vec<String> = entries.iter().map(|(name, _)| written(name)).collect();
        let widths = names.iter().map(|name| name.chars().count());
        let width = match keys {
            Keys::MapOfObjects => 0,
            _ => widths.max().unwrap_or(0),
        };
        let mut hidden = 0;
        for ((name, node), written) in entries.iter().zip(&names) {
            let telling = !map && TELLING.contains(&&**name);
            if node.action == Action::Keep && !telling && !manner.all {
                hidden += 1;
                continue;
            }
            let all = manner.all || telling;
            let comma =
                matches!(node.shape, Shape::Keyed { keys: Keys::Object | Keys::Schema, .. } if map);
            self.entry(
                written,
                width,
                node,
                Manner { all, ..manner },
                if comma { "," } else { "" },
            );
        }
        let what = if map { "element" } else { "attribute" };
        self.hidden(manner.level, hidden, what);
    }

    fn blocks(&mut self, blocks: &[Child], manner: Manner, apart: bool) {
        let mut hidden = 0;
        let mut kind_before = None;
        for (kind, label, node) in blocks {
            if node.action == Action::Keep && !manner.all {
                hidden += 1;
                continue;
            }
            if kind_before != Some(kind) {
                if apart {
                    self.out.push('\n');
                }
                kind_before = Some(kind);
            }
            self.warning(node, manner.level, "block");
            self.begin(node.action, manner.level);
            self.out.push_str(&key(kind));
            if let Some(label) = label {
                let _ = write!(self.out, " {}", quoted(label));
            }
            let forces = self.forces(node);
            let inner = Manner {
                level: manner.level + 1,
                ..manner
            };
            match &node.shape {
                Shape::Unknown(_) => {
                    let _ = writeln!(self.out, " (known after apply){forces}");
                    continue;
                }
                Shape::Block { attributes, blocks }
                    if attributes.is_empty() && blocks.is_empty() =>
                {
                    let _ = writeln!(self.out, " {{}}{forces}");
                    continue;
                }
                Shape::Sensitive { .. } => {
                    let _ = writeln!(self.out, " {{{forces}");
                    for line in [
                        "# At least one attribute in this block is (or was) sensitive,",
                        "# so its contents will not be displayed.",
                    ] {
                        self.close(manner.level);
                        let _ = writeln!(self.out, "  {line}");
                    }
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

    /// Says that a part becomes secret, or is so no more.
    fn warning(&mut self, node: &Node, level: usize, what: &str) {
        let Shape::Sensitive { before, after } = node.shape else {
            return;
        };
        if before == after || matches!(node.action, Action::Create | Action::Delete) || self.whole {
            return;
        }
        let warning = self.colours.paint("33", "Warning");
        let (becomes, when) = if before {
            (
                "will no longer be marked as sensitive",
                "after applying this change.",
            )
        } else {
            (
                "will be marked as sensitive and will not",
                "display in UI output after applying this change.",
            )
        };
        self.indent(level);
        let _ = writeln!(self.out, "  # {warning}: this {what} {becomes}");
        self.indent(level);
        let _ = writeln!(self.out, "  # {when}");
    }

    /// `name = value`, with the name as it is to be written.
    fn entry(&mut self, name: &str, width: usize, node: &Node, manner: Manner, end: &str) {
        self.warning(node, manner.level, "attribute value");
        self.begin(node.action, manner.level);
        let _ = write!(self.out, "{name:width$} = ");
        self.value(node, manner, end);
    }

    /// Writes a value from the present place to the end of its last line.
    fn value(&mut self, node: &Node, manner: Manner, end: &str) {
        let forces = self.forces(node);
        let null = if manner.ends && node.action == Action::Delete && !self.whole {
            self.colours.paint("90", " -> null")
        } else {
            String::new()
        };
        let arrow = self.colours.paint("33", "->");
        let without_end = Manner {
            ends: false,
            ..manner
        };
        match &node.shape {
            Shape::Sensitive { .. } => {
                let _ = writeln!(self.out, "(sensitive value){null}{forces}{end}");
            }
            Shape::WriteOnly => {
                let _ = writeln!(self.out, "(write-only attribute){null}{forces}{end}");
            }
            Shape::Unknown(None) => {
                let _ = writeln!(self.out, "(known after apply){forces}{end}");
            }
            Shape::Unknown(Some(was)) => {
                let mut was = was.clone();
                was.forces = false;
                self.value(&was, without_end, "");
                self.out.pop();
                let _ = writeln!(self.out, " {arrow} (known after apply){forces}{end}");
            }
            Shape::Exchanged(was, becomes) => {
                self.value(was, without_end, "");
                self.out.pop();
                let _ = write!(self.out, " {arrow} ");
                self.value(becomes, without_end, &format!("{forces}{end}"));
            }
            Shape::Leaf { before, after } => {
                let absent = Value::null(consort_hcl::Type::Dynamic);
                let (old, new) = (before.as_ref(), after.as_ref());
                let text = match node.action {
                    Action::Update => format!(
                        "{} {arrow} {}",
                        primitive(old.unwrap_or(&absent)),
                        primitive(new.unwrap_or(&absent))
                    ),
                    Action::Delete => primitive(old.unwrap_or(&absent)),
                    _ => primitive(new.or(old).unwrap_or(&absent)),
                };
                let null = if old.is_none_or(Value::is_null) {
                    ""
                } else {
                    &null
                };
                let _ = writeln!(self.out, "{text}{null}{forces}{end}");
            }
            Shape::Lines { before, after } => {
                self.lines(before, after, node, manner, &null, end);
            }
            Shape::Json(json) => self.json(json, node, manner, &null, end),
            Shape::Keyed { entries, .. } if entries.is_empty() => {
                let _ = writeln!(self.out, "{{}}{null}{forces}{end}");
            }
            Shape::Keyed { keys, entries } => {
                let _ = writeln!(self.out, "{{{forces}");
                let inner = Manner {
                    level: manner.level + 1,
                    ends: match keys {
                        Keys::Schema => true,
                        Keys::Map => manner.ends && node.action != Action::Delete,
                        Keys::Object | Keys::MapOfObjects => false,
                    },
                    all: manner.all,
                };
                self.entries(*keys, entries, inner);
                self.close(manner.level);
                let _ = writeln!(self.out, "}}{null}{end}");
            }
            Shape::Block { .. } => {
                let _ = writeln!(self.out, "{{{forces}");
                let inner = Manner {
                    level: manner.level + 1,
                    ..manner
                };
                self.content(node, inner);
                self.close(manner.level);
                let _ = writeln!(self.out, "}}{null}{end}");
            }
            Shape::Sequence { elements, .. } if elements.is_empty() => {
                let _ = writeln!(self.out, "[]{null}{forces}{end}");
            }
            Shape::Sequence { set, elements } => {
                let _ = writeln!(self.out, "[{forces}");
                let inner = Manner {
                    level: manner.level + 1,
                    ends: false,
                    all: manner.all,
                };
                self.sequence(*set, elements, inner);
                self.close(manner.level);
                let _ = writeln!(self.out, "]{null}{end}");
            }
        }
    }

    /// Text that is JSON, as the expression that makes it.
    fn json(&mut self, json: &Node, node: &Node, manner: Manner, null: &str, end: &str) {
        let spaces = json.action == Action::Keep && node.action == Action::Update;
        let note = match (spaces, node.forces) {
            (true, true) => " # whitespace changes force replacement",
            (true, false) => " # whitespace changes",
            (false, _) => "",
        };
        let forces = if spaces {
            String::new()
        } else {
            self.forces(node)
        };
        let inner = Manner {
            level: manner.level + 1,
            ends: false,
            all: manner.all || spaces,
        };
        let empty = match &json.shape {
            Shape::Keyed { entries, .. } => entries.is_empty(),
            Shape::Sequence { elements, .. } => elements.is_empty(),
            _ => false,
        };
        if empty {
            self.out.push_str("jsonencode(");
            self.value(json, inner, "");
            self.out.pop();
            let _ = writeln!(self.out, "){note}{forces}{end}");
            return;
        }
        let _ = writeln!(self.out, "jsonencode({note}");
        // What comes or goes whole is signed at its parts; what only looks different is not signed at all.
        let sign = match node.action {
            Action::Update if !spaces => Action::Update,
            _ => Action::Keep,
        };
        self.begin(sign, inner.level);
        self.value(json, inner, &forces);
        self.close(manner.level);
        let _ = writeln!(self.out, "){null}{end}");
    }

    fn sequence(&mut self, set: bool, elements: &[Node], manner: Manner) {
        let kept = |at: usize| elements[at].action == Action::Keep;
        let mut hidden = 0;
        for (at, node) in elements.iter().enumerate() {
            // In a list a neighbour of a change shows where it is.
            let beside =
                !set && (at > 0 && !kept(at - 1) || at + 1 < elements.len() && !kept(at + 1));
            if kept(at) && !manner.all && !beside {
                hidden += 1;
                continue;
            }
            if !set {
                self.hidden(manner.level, std::mem::take(&mut hidden), "element");
            }
            let all = manner.all || kept(at);
            self.begin(node.action, manner.level);
            self.value(node, Manner { all, ..manner }, ",");
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
            text.begin(action, inner.level);
            text.out.push_str(content.trim_end_matches('\n'));
            text.out.push('\n');
        };
        if node.action == Action::Update {
            let (before, after) = (format!("{before}\n"), format!("{after}\n"));
            let difference = TextDiff::configure()
                .algorithm(Algorithm::Myers)
                .timeout(std::time::Duration::from_millis(200))
                .diff_lines(&before, &after);
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
            for content in text.split('\n') {
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
pub(super) fn quoted(text: &str) -> String {
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
        _ => super::expression(value, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Paths, attributes, outputs};
    use super::*;
    use crate::provider::schema::{Attribute, Block, Nesting};
    use consort_hcl::{Marks, Path, Type};

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
          ~ "c" -> "x",
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
}
