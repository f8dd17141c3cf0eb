//! What differs between two values, part by part.

mod schema;
mod value;

use std::sync::Arc;

use consort_hcl::{Marks, Path, Step, Value};

pub use schema::attributes;

/// What happens to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// It comes to be.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
}

/// The changes of one part of a value.
#[derive(Clone, Debug)]
pub struct Node {
    /// What happens to it.
    pub action: Action,
    /// Whether it is why the whole object is replaced.
    pub forces: bool,
    pub(super) shape: Shape,
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A primitive, or null; absent where there is no such part.
    Leaf {
        before: Option<Value>,
        after: Option<Value>,
    },
    /// Text of several lines on one side at least.
    Lines { before: String, after: String },
    /// Text that is JSON on both sides, told apart by its parts.
    Json(Box<Node>),
    /// What it becomes is not known yet; what it was.
    Unknown(Option<Box<Node>>),
    /// Not to be shown: whether it is secret before and after the change.
    Sensitive { before: bool, after: bool },
    /// An attribute of which nothing is kept.
    WriteOnly,
    /// A type change: what it was and what it becomes.
    Exchanged(Box<Node>, Box<Node>),
    /// A map or an object.
    Keyed {
        keys: Keys,
        entries: Vec<(Arc<str>, Node)>,
    },
    /// A list, a tuple or a set.
    Sequence { set: bool, elements: Vec<Node> },
    /// The content of a block.
    Block {
        attributes: Vec<(Arc<str>, Node)>,
        blocks: Vec<Child>,
    },
}

/// What the keys of a [`Shape::Keyed`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Those of a map.
    Map,
    /// Those of a map of objects that have schemas.
    MapOfObjects,
    /// Attributes of an object.
    Object,
    /// Attributes of an object that has a schema.
    Schema,
}

/// A nested block: its kind, its label if it has one, and what happens to it.
pub(super) type Child = (Arc<str>, Option<Arc<str>>, Node);

/// The places that force a replacement, seen from where one stands.
#[derive(Clone, Debug, Default)]
pub struct Paths<'p> {
    below: Vec<&'p [Step]>,
    /// Whether a block around the place forces it, and so everything in the block.
    all: bool,
}

impl<'p> Paths<'p> {
    /// Places below the whole value.
    pub fn new(paths: &'p [Path]) -> Paths<'p> {
        Paths {
            below: paths.iter().map(Path::steps).collect(),
            all: false,
        }
    }

    fn here(&self) -> bool {
        self.all || self.below.iter().any(|path| path.is_empty())
    }

    fn spread(mut self, all: bool) -> Paths<'p> {
        self.all |= all;
        self
    }

    fn below(&self, matches: impl Fn(&Step) -> bool) -> Paths<'p> {
        Paths {
            below: self
                .below
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(first, _)| matches(first))
                .map(|(_, rest)| rest)
                .collect(),
            all: self.all,
        }
    }

    fn attribute(&self, name: &str) -> Paths<'p> {
        self.below(|step| match step {
            Step::Attribute(attribute) => &**attribute == name,
            Step::Index(key) => key.as_str() == Some(name),
        })
    }

    fn element(&self, at: usize) -> Paths<'p> {
        self.below(|step| match step {
            Step::Attribute(_) => false,
            Step::Index(key) => key.as_number().and_then(consort_hcl::Number::to_usize) == Some(at),
        })
    }

    fn member(&self, value: &Value) -> Paths<'p> {
        self.below(|step| matches!(step, Step::Index(key) if key.raw_equals(value)))
    }
}

impl Node {
    fn new(action: Action, paths: &Paths<'_>, shape: Shape) -> Node {
        Node {
            action,
            forces: paths.here(),
            shape,
        }
    }
}

/// The change of a value without a schema, such as an output; absent where it does not exist.
///
/// Such a value is told apart as the JSON it is kept as: a set is a list there and a map an object.
pub fn outputs(before: Option<&Value>, after: Option<&Value>) -> Node {
    value::value(before, after, value::Typing::Json, &Paths::default())
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// Whether a side is secret.
fn secret(value: Option<&Value>) -> bool {
    value.is_some_and(|value| {
        value
            .marks()
            .intersects(Marks::SENSITIVE | Marks::EPHEMERAL)
    })
}

/// The node of a part of which a side is secret, if one is.
fn hidden(before: Option<&Value>, after: Option<&Value>, paths: &Paths<'_>) -> Option<Node> {
    let (was, becomes) = (secret(before), secret(after));
    (was || becomes).then(|| {
        let absent = present(before).is_none() && present(after).is_none();
        let action = match plain(before, after) {
            // To become secret, or no more so, is a change.
            Action::Keep if was != becomes && !absent => Action::Update,
            action => action,
        };
        let (before, after) = (was, becomes);
        Node::new(action, paths, Shape::Sensitive { before, after })
    })
}

fn same(before: &Value, after: &Value) -> bool {
    before
        .clone()
        .unmark_deep()
        .0
        .raw_equals(&after.clone().unmark_deep().0)
}

fn plain(before: Option<&Value>, after: Option<&Value>) -> Action {
    match (present(before), present(after)) {
        (None, Some(_)) => Action::Create,
        (Some(_), None) => Action::Delete,
        (None, None) => match (before, after) {
            (None, Some(_)) => Action::Create,
            (Some(_), None) => Action::Delete,
            _ => Action::Keep,
        },
        (Some(before), Some(after)) if same(before, after) => Action::Keep,
        _ => Action::Update,
    }
}

/// What is told of a container: that of its parts, unless it comes or goes itself.
fn together<'n>(
    before: Option<&Value>,
    after: Option<&Value>,
    mut parts: impl Iterator<Item = &'n Node>,
) -> Action {
    match plain(before, after) {
        Action::Update if parts.all(|part| part.action == Action::Keep) => Action::Keep,
        action => action,
    }
}
