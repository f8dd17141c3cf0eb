//! A tree to nodes: types by tag, merges, duplicate keys, `!unsafe` and `!vault`.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use consort_jinja::{Key, Origin, Str, Value};

use super::compose::{Composed, Content as RawContent};
use super::scalars::{self, Resolved, resolve};
use super::scanner::Style;
use super::{Problem, origin};
use crate::source::{
    Content, Duplicates, Encrypted, Located, Node, Notice, Reader, Removal, Timestamp,
};

const PREFIX: &str = "tag:yaml.org,2002:";

type Result<T, E = Problem> = std::result::Result<T, E>;

enum Done {
    Not,
    Working,
    Node(Node),
}

pub(super) struct Constructor<'c> {
    raw: &'c mut Composed,
    file: &'c Arc<str>,
    reader: &'c Reader,
    trusted: bool,
    unsafe_depth: u32,
    done: Vec<Done>,
    flattened: Vec<bool>,
}

impl<'c> Constructor<'c> {
    pub(super) fn new(
        raw: &'c mut Composed,
        file: &'c Arc<str>,
        reader: &'c Reader,
        trusted: bool,
    ) -> Self {
        let count = raw.nodes.len();
        Constructor {
            raw,
            file,
            reader,
            trusted,
            unsafe_depth: 0,
            done: (0..count).map(|_| Done::Not).collect(),
            flattened: vec![false; count],
        }
    }

    pub(super) fn node(&mut self, index: usize) -> Result<Node> {
        match &self.done[index] {
            Done::Node(node) => return Ok(node.clone()),
            Done::Working => {
                return Err(Problem::new(
                    None,
                    "found unconstructable recursive node",
                    self.raw.nodes[index].mark,
                ));
            }
            Done::Not => {}
        }
        self.done[index] = Done::Working;
        let tag = self.raw.nodes[index].tag.clone();
        let node = self.tagged(index, tag.as_deref())?;
        self.done[index] = Done::Node(node.clone());
        Ok(node)
    }

    fn origin(&self, index: usize) -> Arc<Origin> {
        origin(self.file, self.raw.nodes[index].mark)
    }

    fn problem<T>(&self, index: usize, context: Option<&str>, problem: String) -> Result<T> {
        Err(Problem::new(context, problem, self.raw.nodes[index].mark))
    }

    fn finish(&self, index: usize, content: Content) -> Node {
        Node::new(self.origin(index), content, self.raw.nodes[index].shared)
    }

    fn text(&self, index: usize, text: Arc<str>) -> Node {
        let origin = self.origin(index);
        let text = if self.trusted && self.unsafe_depth == 0 {
            crate::blocking::heed(&text);
            Str::template(text)
        } else {
            Str::new(text)
        };
        self.finish(index, Content::Scalar(Value::Str(text.written_at(origin))))
    }

    fn scalar(&self, index: usize) -> Result<(Arc<str>, Style)> {
        match &self.raw.nodes[index].content {
            RawContent::Scalar { text, style } => Ok((Arc::clone(text), *style)),
            RawContent::Mapping(entries) => {
                // A mapping may stand for the scalar it has under `=`.
                for (key, value) in entries {
                    if let RawContent::Scalar { text, style } = &self.raw.nodes[*key].content
                        && *style == Style::Plain
                        && &**text == "="
                    {
                        return self.scalar(*value);
                    }
                }
                self.problem(
                    index,
                    None,
                    "expected a scalar node, but found mapping".to_owned(),
                )
            }
            RawContent::Sequence(_) => self.problem(
                index,
                None,
                "expected a scalar node, but found sequence".to_owned(),
            ),
        }
    }

    fn value(&self, index: usize, resolved: Resolved) -> Result<Node> {
        match resolved {
            Resolved::Value(value) => Ok(self.finish(index, Content::Scalar(value))),
            Resolved::Invalid(message) => {
                let mut problem = Problem::new(None, message, self.raw.nodes[index].mark);
                problem.own = true;
                Err(problem)
            }
            Resolved::Merge | Resolved::Default | Resolved::Text => {
                let (text, _) = self.scalar(index)?;
                Ok(self.text(index, text))
            }
        }
    }

    fn tagged(&mut self, index: usize, tag: Option<&str>) -> Result<Node> {
        let Some(tag) = tag else {
            return self.untagged(index);
        };
        match tag {
            "!" => {
                return match self.raw.nodes[index].content {
                    RawContent::Scalar { .. } => {
                        let (text, _) = self.scalar(index)?;
                        Ok(self.text(index, text))
                    }
                    _ => self.untagged(index),
                };
            }
            "!unsafe" => {
                self.unsafe_depth += 1;
                let node = self.untagged(index);
                self.unsafe_depth -= 1;
                return node;
            }
            "!vault" => return self.vault(index, tag),
            "!vault-encrypted" => {
                self.reader.notice(Notice::Deprecated {
                    what: Located::new("Use of the YAML `!vault-encrypted` tag is deprecated.")
                        .at(&self.origin(index))
                        .hint("Use the `!vault` tag instead."),
                    removal: Removal::of_core("2.23"),
                });
                return self.vault(index, tag);
            }
            _ => {}
        }
        match tag.strip_prefix(PREFIX) {
            Some("str" | "python/unicode") => {
                let (text, _) = self.scalar(index)?;
                Ok(self.text(index, text))
            }
            Some("null") => {
                self.scalar(index)?;
                Ok(self.finish(index, Content::Scalar(Value::None)))
            }
            Some("bool") => {
                let (text, _) = self.scalar(index)?;
                match scalars::boolean(&text).or_else(|| scalars::boolean(&text.to_lowercase())) {
                    Some(value) => Ok(self.finish(index, Content::Scalar(Value::Bool(value)))),
                    None => self.value(index, Resolved::Invalid(format!("'{text}'"))),
                }
            }
            Some("int") => {
                let (text, _) = self.scalar(index)?;
                self.value(index, scalars::int(&text))
            }
            Some("float") => {
                let (text, _) = self.scalar(index)?;
                self.value(index, scalars::float(&text))
            }
            Some("timestamp") => {
                let (text, _) = self.scalar(index)?;
                match Timestamp::read(&text) {
                    Ok(time) => Ok(self.finish(index, Content::Scalar(time.into_value()))),
                    Err(message) => self.value(index, Resolved::Invalid(message)),
                }
            }
            Some("binary") => {
                let (text, _) = self.scalar(index)?;
                let joined: String = text.split_whitespace().collect();
                match base64::engine::general_purpose::STANDARD.decode(joined) {
                    Ok(bytes) => {
                        Ok(self.finish(index, Content::Scalar(Value::Bytes(bytes.into()))))
                    }
                    Err(error) => self.problem(
                        index,
                        None,
                        format!("failed to decode base64 data: {error}"),
                    ),
                }
            }
            Some("seq") => match self.raw.nodes[index].content {
                RawContent::Sequence(_) => self.untagged(index),
                _ => self.problem(
                    index,
                    None,
                    format!("expected a sequence node, but found {}", self.kind(index)),
                ),
            },
            Some("map" | "python/dict") => match self.raw.nodes[index].content {
                RawContent::Mapping(_) => self.untagged(index),
                _ => self.problem(
                    index,
                    None,
                    format!("expected a mapping node, but found {}", self.kind(index)),
                ),
            },
            Some("set") => {
                let node = self.untagged(index)?;
                match node.content() {
                    Content::Mapping(entries) => Ok(self.finish(
                        index,
                        Content::Sequence(entries.iter().map(|(key, _)| key.clone()).collect()),
                    )),
                    _ => self.problem(
                        index,
                        None,
                        format!("expected a mapping node, but found {}", self.kind(index)),
                    ),
                }
            }
            Some(name @ ("omap" | "pairs")) => self.pairs(index, name),
            _ => self.problem(
                index,
                None,
                format!(
                    "could not determine a constructor for the tag {}",
                    consort_jinja::repr::repr(&Value::from(tag))
                ),
            ),
        }
    }

    /// A sequence of mappings with one entry each, as pairs.
    fn pairs(&mut self, index: usize, name: &str) -> Result<Node> {
        let help = if name == "omap" {
            "Use a standard mapping instead, as key order is always preserved."
        } else {
            "Use a standard mapping instead."
        };
        self.reader.notice(Notice::Deprecated {
            what: Located::new(format!("Use of the YAML `!!{name}` tag is deprecated."))
                .at(&self.origin(index))
                .hint(help),
            removal: Removal::of_core("2.23"),
        });
        let context = if name == "omap" {
            "while constructing an ordered map"
        } else {
            "while constructing pairs"
        };
        let RawContent::Sequence(items) = &self.raw.nodes[index].content else {
            return self.problem(
                index,
                Some(context),
                format!("expected a sequence, but found {}", self.kind(index)),
            );
        };
        let mut pairs = Vec::new();
        for item in items.clone() {
            let entry = match &self.raw.nodes[item].content {
                RawContent::Mapping(entries) if entries.len() == 1 => entries[0],
                RawContent::Mapping(entries) => {
                    return self.problem(
                        item,
                        Some(context),
                        format!(
                            "expected a single mapping item, but found {} items",
                            entries.len()
                        ),
                    );
                }
                _ => {
                    return self.problem(
                        item,
                        Some(context),
                        format!(
                            "expected a mapping of length 1, but found {}",
                            self.kind(item)
                        ),
                    );
                }
            };
            let pair = Value::tuple(vec![
                self.node(entry.0)?.value(),
                self.node(entry.1)?.value(),
            ]);
            pairs.push(self.finish(item, Content::Scalar(pair)));
        }
        Ok(self.finish(index, Content::Sequence(pairs)))
    }

    fn kind(&self, index: usize) -> &'static str {
        match self.raw.nodes[index].content {
            RawContent::Scalar { .. } => "scalar",
            RawContent::Sequence(_) => "sequence",
            RawContent::Mapping(_) => "mapping",
        }
    }

    fn vault(&mut self, index: usize, tag: &str) -> Result<Node> {
        let RawContent::Scalar { text, .. } = &self.raw.nodes[index].content else {
            let mut problem = Problem::new(
                None,
                format!("the '{tag}' tag requires a string value"),
                self.raw.nodes[index].mark,
            );
            problem.own = true;
            return Err(problem);
        };
        let encrypted = Encrypted {
            ciphertext: Arc::clone(text),
            origin: Some(self.origin(index)),
            trusted: self.trusted && self.unsafe_depth == 0,
            reason: None,
        };
        Ok(self.finish(index, Content::Scalar(self.reader.open(encrypted))))
    }

    fn untagged(&mut self, index: usize) -> Result<Node> {
        match &self.raw.nodes[index].content {
            RawContent::Scalar { text, style } => {
                if *style != Style::Plain {
                    let text = Arc::clone(text);
                    return Ok(self.text(index, text));
                }
                match resolve(text) {
                    Resolved::Default => self.problem(
                        index,
                        None,
                        format!("could not determine a constructor for the tag '{PREFIX}value'"),
                    ),
                    Resolved::Merge => self.problem(
                        index,
                        None,
                        format!("could not determine a constructor for the tag '{PREFIX}merge'"),
                    ),
                    resolved => self.value(index, resolved),
                }
            }
            RawContent::Sequence(items) => {
                let items = items.clone();
                let items = items
                    .into_iter()
                    .map(|item| self.node(item))
                    .collect::<Result<_>>()?;
                Ok(self.finish(index, Content::Sequence(items)))
            }
            RawContent::Mapping(_) => self.mapping(index),
        }
    }

    /// Puts the entries of what is merged with `<<` before the mapping's own.
    fn flatten(&mut self, index: usize, depth: usize) -> Result<()> {
        if self.flattened[index] || depth > 64 {
            return Ok(());
        }
        self.flattened[index] = true;
        let RawContent::Mapping(entries) = &self.raw.nodes[index].content else {
            return Ok(());
        };
        if !entries.iter().any(|(key, _)| self.merges(*key)) {
            return Ok(());
        }
        let mut merged = Vec::new();
        let mut own = Vec::new();
        for (key, value) in entries.clone() {
            if !self.merges(key) {
                own.push((key, value));
                continue;
            }
            match &self.raw.nodes[value].content {
                RawContent::Mapping(_) => {
                    self.flatten(value, depth + 1)?;
                    self.append(value, &mut merged);
                }
                RawContent::Sequence(items) => {
                    for item in items.clone().into_iter().rev() {
                        if !matches!(self.raw.nodes[item].content, RawContent::Mapping(_)) {
                            return self.problem(
                                item,
                                Some("while constructing a mapping"),
                                format!(
                                    "expected a mapping for merging, but found {}",
                                    self.kind(item)
                                ),
                            );
                        }
                        self.flatten(item, depth + 1)?;
                        self.append(item, &mut merged);
                    }
                }
                RawContent::Scalar { .. } => {
                    return self.problem(
                        value,
                        Some("while constructing a mapping"),
                        format!(
                            "expected a mapping or list of mappings for merging, but found {}",
                            self.kind(value)
                        ),
                    );
                }
            }
        }
        merged.extend(own);
        self.raw.nodes[index].content = RawContent::Mapping(merged);
        Ok(())
    }

    fn append(&self, mapping: usize, to: &mut Vec<(usize, usize)>) {
        if let RawContent::Mapping(entries) = &self.raw.nodes[mapping].content {
            to.extend(entries);
        }
    }

    fn merges(&self, key: usize) -> bool {
        let node = &self.raw.nodes[key];
        match (&node.content, &node.tag) {
            (RawContent::Scalar { text, style }, None) => *style == Style::Plain && &**text == "<<",
            (_, Some(tag)) => tag.strip_prefix(PREFIX) == Some("merge"),
            _ => false,
        }
    }

    fn mapping(&mut self, index: usize) -> Result<Node> {
        self.flatten(index, 0)?;
        let RawContent::Mapping(entries) = &self.raw.nodes[index].content else {
            return self.untagged(index);
        };
        let mut nodes: indexmap::IndexMap<Key, (Node, Node)> = indexmap::IndexMap::new();
        let mut told = HashSet::new();
        for (key_index, value_index) in entries.clone() {
            // A plain `=` is the text of it where it is a key.
            let key = match &self.raw.nodes[key_index].content {
                RawContent::Scalar { text, style }
                    if *style == Style::Plain
                        && &**text == "="
                        && self.raw.nodes[key_index].tag.is_none() =>
                {
                    let text = Arc::clone(text);
                    self.text(key_index, text)
                }
                _ => self.node(key_index)?,
            };
            let hashable = match key.content() {
                Content::Scalar(value) => Key::new(value.clone()).ok(),
                _ => None,
            };
            let Some(hashable) = hashable else {
                return Err(Problem::new(
                    Some("while constructing a mapping"),
                    "found unhashable key",
                    self.raw.nodes[key_index].mark,
                ));
            };
            let value = self.node(value_index)?;
            match nodes.get_mut(&hashable) {
                Some(entry) => {
                    if told.insert(key_index) {
                        self.duplicate(key_index, &key)?;
                    }
                    entry.1 = value;
                }
                None => {
                    nodes.insert(hashable, (key, value));
                }
            }
        }
        Ok(self.finish(index, Content::Mapping(nodes.into_values().collect())))
    }

    fn duplicate(&self, index: usize, key: &Node) -> Result<()> {
        let message = format!(
            "Found duplicate mapping key {}.",
            consort_jinja::repr::repr(&key.value())
        );
        match self.reader.duplicates() {
            Duplicates::Ignore => Ok(()),
            Duplicates::Warn => {
                self.reader.notice(Notice::Warning(
                    Located::new(message)
                        .at(key.origin())
                        .hint("Using last defined value only."),
                ));
                Ok(())
            }
            Duplicates::Error => {
                let mut problem = Problem::new(None, message, self.raw.nodes[index].mark);
                problem.own = true;
                Err(problem)
            }
        }
    }
}
