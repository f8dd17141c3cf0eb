//! Tokens to a tree, by the grammar and with the words of libyaml 0.2.5 and PyYAML's composer.

use std::collections::HashMap;
use std::sync::Arc;

use super::scanner::{Kind, Scanner, Style};
use super::{Mark, Problem};

type Result<T, E = Problem> = std::result::Result<T, E>;

/// What a node holds; others by their number.
pub(super) enum Content {
    Scalar { text: Arc<str>, style: Style },
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
}

/// A node as it was written.
pub(super) struct Raw {
    /// The tag, if one was given; `!` for one that only says "text".
    pub(super) tag: Option<Arc<str>>,
    pub(super) mark: Mark,
    pub(super) content: Content,
    /// Whether aliases point here.
    pub(super) shared: bool,
}

/// A document.
pub(super) struct Composed {
    pub(super) nodes: Vec<Raw>,
    pub(super) root: Option<usize>,
}

const DEPTH: usize = 128;

struct Composer {
    scanner: Scanner,
    nodes: Vec<Raw>,
    anchors: HashMap<String, usize>,
    tags: HashMap<String, String>,
}

/// What begins with a token.
#[derive(Clone, Copy)]
enum Shape {
    Entry,
    Scalar,
    FlowSequence,
    FlowMapping,
    BlockSequence,
    BlockMapping,
    Other,
}

impl Shape {
    fn of(kind: &Kind) -> Shape {
        match kind {
            Kind::BlockEntry => Shape::Entry,
            Kind::Scalar(..) => Shape::Scalar,
            Kind::FlowSequenceStart => Shape::FlowSequence,
            Kind::FlowMappingStart => Shape::FlowMapping,
            Kind::BlockSequenceStart => Shape::BlockSequence,
            Kind::BlockMappingStart => Shape::BlockMapping,
            _ => Shape::Other,
        }
    }
}

impl Composed {
    pub(super) fn read(text: &str) -> Result<Composed> {
        let mut composer = Composer {
            scanner: Scanner::new(text)?,
            nodes: Vec::new(),
            anchors: HashMap::new(),
            tags: HashMap::new(),
        };
        let root = composer.stream()?;
        Ok(Composed {
            nodes: composer.nodes,
            root,
        })
    }
}

impl Composer {
    fn stream(&mut self) -> Result<Option<usize>> {
        while self.scanner.peek()?.kind == Kind::DocumentEnd {
            self.scanner.take()?;
        }
        let first = self.scanner.peek()?;
        if first.kind == Kind::StreamEnd {
            return Ok(None);
        }
        let root = self.document()?;
        while self.scanner.peek()?.kind == Kind::DocumentEnd {
            self.scanner.take()?;
        }
        let token = self.scanner.peek()?;
        if token.kind == Kind::StreamEnd {
            return Ok(Some(root));
        }
        let mark = token.start;
        let implicit = !matches!(
            token.kind,
            Kind::DocumentStart | Kind::Version(..) | Kind::TagDirective(..)
        );
        if implicit {
            return Err(Problem::new(
                None,
                "did not find expected <document start>",
                mark,
            ));
        }
        self.directives()?;
        let token = self.scanner.peek()?;
        if token.kind != Kind::DocumentStart {
            return Err(Problem::new(
                None,
                "did not find expected <document start>",
                token.start,
            ));
        }
        Err(Problem::new(
            Some("expected a single document in the stream"),
            "but found another document",
            mark,
        ))
    }

    fn document(&mut self) -> Result<usize> {
        let explicit = matches!(
            self.scanner.peek()?.kind,
            Kind::DocumentStart | Kind::Version(..) | Kind::TagDirective(..)
        );
        self.directives()?;
        if explicit {
            let token = self.scanner.take()?;
            if token.kind != Kind::DocumentStart {
                return Err(Problem::new(
                    None,
                    "did not find expected <document start>",
                    token.start,
                ));
            }
            let token = self.scanner.peek()?;
            if matches!(
                token.kind,
                Kind::Version(..)
                    | Kind::TagDirective(..)
                    | Kind::DocumentStart
                    | Kind::DocumentEnd
                    | Kind::StreamEnd
            ) {
                let mark = token.start;
                return Ok(self.empty(mark));
            }
        }
        self.node(true, false, 0)
    }

    fn directives(&mut self) -> Result<()> {
        let mut version = false;
        loop {
            let token = self.scanner.peek()?;
            let mark = token.start;
            match token.kind.clone() {
                Kind::Version(major, minor) => {
                    if version {
                        return Err(Problem::new(None, "found duplicate %YAML directive", mark));
                    }
                    if major != 1 || (minor != 1 && minor != 2) {
                        return Err(Problem::new(None, "found incompatible YAML document", mark));
                    }
                    version = true;
                }
                Kind::TagDirective(handle, prefix) => {
                    if self.tags.insert(handle, prefix).is_some() {
                        return Err(Problem::new(None, "found duplicate %TAG directive", mark));
                    }
                }
                _ => break,
            }
            self.scanner.take()?;
        }
        self.tags
            .entry("!".to_owned())
            .or_insert_with(|| "!".to_owned());
        self.tags
            .entry("!!".to_owned())
            .or_insert_with(|| "tag:yaml.org,2002:".to_owned());
        Ok(())
    }

    fn add(&mut self, tag: Option<Arc<str>>, mark: Mark, content: Content) -> usize {
        self.nodes.push(Raw {
            tag,
            mark,
            content,
            shared: false,
        });
        self.nodes.len() - 1
    }

    fn empty(&mut self, mark: Mark) -> usize {
        self.add(
            None,
            mark,
            Content::Scalar {
                text: "".into(),
                style: Style::Plain,
            },
        )
    }

    /// A node. `indentless` where a sequence may begin at the column of its parent's keys.
    fn node(&mut self, block: bool, indentless: bool, depth: usize) -> Result<usize> {
        let token = self.scanner.peek()?;
        if depth > DEPTH {
            return Err(Problem::new(
                None,
                "values are nested too deeply",
                token.start,
            ));
        }
        let mut start = token.start;
        if let Kind::Alias(name) = &token.kind {
            let name = name.clone();
            self.scanner.take()?;
            return match self.anchors.get(&name) {
                Some(node) => {
                    self.nodes[*node].shared = true;
                    Ok(*node)
                }
                None => Err(Problem::new(None, "found undefined alias", start)),
            };
        }
        let mut anchor = None;
        let mut tag: Option<Arc<str>> = None;
        let first = start;
        loop {
            let token = self.scanner.peek()?;
            match &token.kind {
                Kind::Anchor(_) if anchor.is_none() => {
                    let token = self.scanner.take()?;
                    if let Kind::Anchor(name) = token.kind {
                        anchor = Some((name, token.start));
                    }
                }
                Kind::Tag(..) if tag.is_none() => {
                    let token = self.scanner.take()?;
                    if let Kind::Tag(handle, suffix) = token.kind {
                        tag = Some(if handle.is_empty() {
                            suffix.into()
                        } else if let Some(prefix) = self.tags.get(&handle) {
                            format!("{prefix}{suffix}").into()
                        } else {
                            return Err(Problem::new(
                                Some("while parsing a node"),
                                "found undefined tag handle",
                                token.start,
                            ));
                        });
                    }
                }
                _ => break,
            }
        }
        let has_properties = anchor.is_some() || tag.is_some();
        if has_properties {
            start = first;
        }
        let number = self.nodes.len();
        if let Some((name, _)) = anchor {
            // The node itself may be named within.
            self.anchors.insert(name, number);
        }
        let token = self.scanner.peek()?;
        let token_start = token.start;
        let kind = Shape::of(&token.kind);
        let at = if has_properties { start } else { token_start };
        match kind {
            Shape::Entry if indentless => {
                let node = self.add(tag, at, Content::Sequence(Vec::new()));
                self.indentless(node, depth)?;
                Ok(node)
            }
            Shape::Scalar => {
                let Kind::Scalar(text, style) = self.scanner.take()?.kind else {
                    return Ok(self.empty(at));
                };
                Ok(self.add(
                    tag,
                    at,
                    Content::Scalar {
                        text: text.into(),
                        style,
                    },
                ))
            }
            Shape::FlowSequence => {
                let node = self.add(tag, at, Content::Sequence(Vec::new()));
                self.flow_sequence(node, depth)?;
                Ok(node)
            }
            Shape::FlowMapping => {
                let node = self.add(tag, at, Content::Mapping(Vec::new()));
                self.flow_mapping(node, depth)?;
                Ok(node)
            }
            Shape::BlockSequence if block => {
                let node = self.add(tag, at, Content::Sequence(Vec::new()));
                self.block_sequence(node, depth)?;
                Ok(node)
            }
            Shape::BlockMapping if block => {
                let node = self.add(tag, at, Content::Mapping(Vec::new()));
                self.block_mapping(node, depth)?;
                Ok(node)
            }
            _ if has_properties => Ok(self.add(
                tag,
                start,
                Content::Scalar {
                    text: "".into(),
                    style: Style::Plain,
                },
            )),
            _ => Err(Problem::new(
                Some(if block {
                    "while parsing a block node"
                } else {
                    "while parsing a flow node"
                }),
                "did not find expected node content",
                token_start,
            )),
        }
    }

    fn item(&mut self, sequence: usize, item: usize) {
        if let Content::Sequence(items) = &mut self.nodes[sequence].content {
            items.push(item);
        }
    }

    fn entry(&mut self, mapping: usize, key: usize, value: usize) {
        if let Content::Mapping(entries) = &mut self.nodes[mapping].content {
            entries.push((key, value));
        }
    }

    fn block_sequence(&mut self, node: usize, depth: usize) -> Result<()> {
        self.scanner.take()?;
        loop {
            let token = self.scanner.peek()?;
            let mark = token.start;
            match token.kind {
                Kind::BlockEntry => {
                    let end = self.scanner.take()?.end;
                    let item =
                        if matches!(self.scanner.peek()?.kind, Kind::BlockEntry | Kind::BlockEnd) {
                            self.empty(end)
                        } else {
                            self.node(true, false, depth + 1)?
                        };
                    self.item(node, item);
                }
                Kind::BlockEnd => {
                    self.scanner.take()?;
                    return Ok(());
                }
                _ => {
                    return Err(Problem::new(
                        Some("while parsing a block collection"),
                        "did not find expected '-' indicator",
                        mark,
                    ));
                }
            }
        }
    }

    fn indentless(&mut self, node: usize, depth: usize) -> Result<()> {
        while self.scanner.peek()?.kind == Kind::BlockEntry {
            let end = self.scanner.take()?.end;
            let item = if matches!(
                self.scanner.peek()?.kind,
                Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd
            ) {
                self.empty(end)
            } else {
                self.node(true, false, depth + 1)?
            };
            self.item(node, item);
        }
        Ok(())
    }

    fn block_mapping(&mut self, node: usize, depth: usize) -> Result<()> {
        self.scanner.take()?;
        loop {
            let token = self.scanner.peek()?;
            let mark = token.start;
            let key = match token.kind {
                Kind::Key => {
                    let end = self.scanner.take()?.end;
                    if matches!(
                        self.scanner.peek()?.kind,
                        Kind::Key | Kind::Value | Kind::BlockEnd
                    ) {
                        self.empty(end)
                    } else {
                        self.node(true, true, depth + 1)?
                    }
                }
                Kind::BlockEnd => {
                    self.scanner.take()?;
                    return Ok(());
                }
                _ => {
                    return Err(Problem::new(
                        Some("while parsing a block mapping"),
                        "did not find expected key",
                        mark,
                    ));
                }
            };
            let token = self.scanner.peek()?;
            let value = if token.kind == Kind::Value {
                let end = self.scanner.take()?.end;
                if matches!(
                    self.scanner.peek()?.kind,
                    Kind::Key | Kind::Value | Kind::BlockEnd
                ) {
                    self.empty(end)
                } else {
                    self.node(true, true, depth + 1)?
                }
            } else {
                let mark = token.start;
                self.empty(mark)
            };
            self.entry(node, key, value);
        }
    }

    fn flow_sequence(&mut self, node: usize, depth: usize) -> Result<()> {
        self.scanner.take()?;
        let mut first = true;
        while self.goes_on(&Kind::FlowSequenceEnd, first)? {
            first = false;
            let token = self.scanner.peek()?;
            let mark = token.start;
            match token.kind {
                Kind::Key => {
                    // One pair: a mapping of its own.
                    let end = self.scanner.take()?.end;
                    let pair = self.add(None, mark, Content::Mapping(Vec::new()));
                    let key = if matches!(
                        self.scanner.peek()?.kind,
                        Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd
                    ) {
                        self.empty(end)
                    } else {
                        self.node(false, false, depth + 1)?
                    };
                    let value = self.flow_value(&Kind::FlowSequenceEnd, depth)?;
                    self.entry(pair, key, value);
                    self.item(node, pair);
                }
                Kind::FlowSequenceEnd => break,
                _ => {
                    let item = self.node(false, false, depth + 1)?;
                    self.item(node, item);
                }
            }
        }
        self.scanner.take()?;
        Ok(())
    }

    /// Whether a flow collection that ends with `end` has not ended; takes the comma before what follows.
    fn goes_on(&mut self, end: &Kind, first: bool) -> Result<bool> {
        let token = self.scanner.peek()?;
        if token.kind == *end {
            return Ok(false);
        }
        if first {
            return Ok(true);
        }
        if token.kind != Kind::FlowEntry {
            let (context, problem) = if *end == Kind::FlowSequenceEnd {
                (
                    "while parsing a flow sequence",
                    "did not find expected ',' or ']'",
                )
            } else {
                (
                    "while parsing a flow mapping",
                    "did not find expected ',' or '}'",
                )
            };
            return Err(Problem::new(Some(context), problem, token.start));
        }
        self.scanner.take()?;
        Ok(true)
    }

    /// What stands after the key of a flow collection that ends with `end`.
    fn flow_value(&mut self, end: &Kind, depth: usize) -> Result<usize> {
        let token = self.scanner.peek()?;
        let mark = token.start;
        if token.kind != Kind::Value {
            return Ok(self.empty(mark));
        }
        self.scanner.take()?;
        let token = self.scanner.peek()?;
        if token.kind == Kind::FlowEntry || token.kind == *end {
            let mark = token.start;
            return Ok(self.empty(mark));
        }
        self.node(false, false, depth + 1)
    }

    fn flow_mapping(&mut self, node: usize, depth: usize) -> Result<()> {
        self.scanner.take()?;
        let mut first = true;
        while self.goes_on(&Kind::FlowMappingEnd, first)? {
            first = false;
            let token = self.scanner.peek()?;
            match token.kind {
                Kind::Key => {
                    self.scanner.take()?;
                    let token = self.scanner.peek()?;
                    let key = if matches!(
                        token.kind,
                        Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd
                    ) {
                        let mark = token.start;
                        self.empty(mark)
                    } else {
                        self.node(false, false, depth + 1)?
                    };
                    let value = self.flow_value(&Kind::FlowMappingEnd, depth)?;
                    self.entry(node, key, value);
                }
                Kind::FlowMappingEnd => break,
                _ => {
                    let key = self.node(false, false, depth + 1)?;
                    let mark = self.scanner.peek()?.start;
                    let value = self.empty(mark);
                    self.entry(node, key, value);
                }
            }
        }
        self.scanner.take()?;
        Ok(())
    }
}
