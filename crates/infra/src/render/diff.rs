//! What differs between two values, part by part.

use std::collections::BTreeSet;
use std::sync::Arc;

use consort_hcl::{Kind, Marks, Path, Step, Type, Value};
use similar::{Algorithm, DiffOp};

use crate::provider::schema::{Attribute, Block, Nesting, Object};

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
    /// Not to be shown.
    Sensitive,
    /// A type change: what it was and what it becomes.
    Exchanged(Box<Node>, Box<Node>),
    /// A map or an object.
    Keyed {
        map: bool,
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

/// A nested block: its kind, its label if it has one, and what happens to it.
pub(super) type Child = (Arc<str>, Option<Arc<str>>, Node);

/// The places that force a replacement, seen from where one stands.
#[derive(Clone, Debug, Default)]
pub struct Paths<'p>(Vec<&'p [Step]>);

impl<'p> Paths<'p> {
    /// Places below the whole value.
    pub fn new(paths: &'p [Path]) -> Paths<'p> {
        Paths(paths.iter().map(Path::steps).collect())
    }

    fn here(&self) -> bool {
        self.0.iter().any(|path| path.is_empty())
    }

    fn below(&self, matches: impl Fn(&Step) -> bool) -> Paths<'p> {
        Paths(
            self.0
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(first, _)| matches(first))
                .map(|(_, rest)| rest)
                .collect(),
        )
    }

    fn attribute(&self, name: &str) -> Paths<'p> {
        if self.0.is_empty() {
            return Paths::default();
        }
        self.below(|step| match step {
            Step::Attribute(attribute) => &**attribute == name,
            Step::Index(key) => key.as_str() == Some(name),
        })
    }

    fn element(&self, at: usize) -> Paths<'p> {
        if self.0.is_empty() {
            return Paths::default();
        }
        self.below(|step| match step {
            Step::Attribute(_) => false,
            Step::Index(key) => key.as_number().and_then(consort_hcl::Number::to_usize) == Some(at),
        })
    }

    fn member(&self, value: &Value) -> Paths<'p> {
        if self.0.is_empty() {
            return Paths::default();
        }
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

/// The changes of an object with a schema; `before` or `after` is null where it does not exist.
pub fn attributes(before: &Value, after: &Value, schema: &Block, paths: &Paths<'_>) -> Node {
    block(present(Some(before)), present(Some(after)), schema, paths)
}

/// The change of a value without a schema, such as an output; absent where it does not exist.
pub fn outputs(before: Option<&Value>, after: Option<&Value>) -> Node {
    let (before, after) = (before.map(untyped), after.map(untyped));
    value(before.as_ref(), after.as_ref(), None, &Paths::default())
}

/// A value as JSON tells it: what has no type of its own is compared and written so, as Terraform does.
fn untyped(value: &Value) -> Value {
    let (plain, marks) = value.clone().unmark();
    let told = match plain.kind() {
        Kind::Map(parts) | Kind::Object(parts) => Value::object(
            parts
                .iter()
                .map(|(key, part)| (Arc::clone(key), untyped(part))),
        ),
        Kind::List(parts) | Kind::Set(parts) | Kind::Tuple(parts) => {
            Value::tuple(parts.iter().map(untyped).collect())
        }
        _ => return value.clone(),
    };
    told.with_marks(marks)
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn secret(before: Option<&Value>, after: Option<&Value>) -> bool {
    let marked = |value: Option<&Value>| {
        value.is_some_and(|value| {
            value
                .marks()
                .intersects(Marks::SENSITIVE | Marks::EPHEMERAL)
        })
    };
    marked(before) || marked(after)
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

fn block(before: Option<&Value>, after: Option<&Value>, schema: &Block, paths: &Paths<'_>) -> Node {
    if secret(before, after) {
        return Node::new(plain(before, after), paths, Shape::Sensitive);
    }
    if after.is_some_and(|after| !after.is_known()) {
        let was = before.map(|before| Box::new(block(Some(before), None, schema, paths)));
        let action = if was.is_some() {
            Action::Update
        } else {
            Action::Create
        };
        return Node::new(action, paths, Shape::Unknown(was));
    }
    let attributes = members(before, after, &schema.attributes, paths);
    let mut blocks = Vec::new();
    for (name, nested) in &schema.blocks {
        let (old, new) = (side(before, name), side(after, name));
        let below = paths.attribute(name);
        children(
            name,
            present(old.as_ref()),
            present(new.as_ref()),
            &nested.block,
            nested.nesting,
            &below,
            &mut blocks,
        );
    }
    let parts = attributes
        .iter()
        .map(|(_, node)| node)
        .chain(blocks.iter().map(|(_, _, node)| node));
    let action = together(before, after, parts);
    Node::new(action, paths, Shape::Block { attributes, blocks })
}

/// One part of an object.
fn side(of: Option<&Value>, name: &str) -> Option<Value> {
    of.and_then(|of| of.as_keyed()?.get(name).cloned())
}

fn members(
    before: Option<&Value>,
    after: Option<&Value>,
    schema: &std::collections::BTreeMap<Arc<str>, Attribute>,
    paths: &Paths<'_>,
) -> Vec<(Arc<str>, Node)> {
    let mut attributes = Vec::new();
    for (name, attribute) in schema {
        let (old, new) = (side(before, name), side(after, name));
        let (old, new) = (present(old.as_ref()), present(new.as_ref()));
        if old.is_none() && new.is_none() {
            continue;
        }
        let below = paths.attribute(name);
        let node = if attribute.sensitive {
            Node::new(plain(old, new), &below, Shape::Sensitive)
        } else if attribute.ty == Type::Dynamic && attribute.nested.is_none() {
            let (old, new) = (old.map(untyped), new.map(untyped));
            value(old.as_ref(), new.as_ref(), Some(attribute), &below)
        } else {
            value(old, new, Some(attribute), &below)
        };
        attributes.push((Arc::clone(name), node));
    }
    attributes
}

fn children(
    name: &Arc<str>,
    before: Option<&Value>,
    after: Option<&Value>,
    schema: &Block,
    nesting: Nesting,
    paths: &Paths<'_>,
    out: &mut Vec<Child>,
) {
    let mut add = |label: Option<Arc<str>>, node: Node| out.push((Arc::clone(name), label, node));
    if secret(before, after) {
        let action = plain(before, after);
        return add(None, Node::new(action, paths, Shape::Sensitive));
    }
    if after.is_some_and(|after| !after.is_known()) {
        return add(None, Node::new(Action::Update, paths, Shape::Unknown(None)));
    }
    let forced = |mut node: Node| {
        node.forces |= paths.here() && node.action != Action::Keep;
        node
    };
    match nesting {
        Nesting::Single | Nesting::Group => {
            if before.is_none() && after.is_none() {
                return;
            }
            let node = block(before, after, schema, paths);
            // A group that was never written has attributes that are all null.
            let empty = matches!(&node.shape, Shape::Block { attributes, blocks }
                if attributes.is_empty() && blocks.is_empty());
            if nesting == Nesting::Group && empty {
                return;
            }
            add(None, forced(node));
        }
        Nesting::List => {
            let (old, new) = (elements(before), elements(after));
            for at in 0..old.len().max(new.len()) {
                let below = paths.element(at);
                add(
                    None,
                    forced(block(old.get(at), new.get(at), schema, &below)),
                );
            }
        }
        Nesting::Set => {
            let (old, new) = (elements(before), elements(after));
            let (kept, gone, come) = set_difference(old, new);
            for element in gone {
                let below = paths.member(element);
                add(None, forced(block(Some(element), None, schema, &below)));
            }
            for element in kept {
                let below = Paths::default();
                add(None, block(Some(element), Some(element), schema, &below));
            }
            for element in come {
                let below = paths.member(element);
                add(None, forced(block(None, Some(element), schema, &below)));
            }
        }
        Nesting::Map => {
            let empty = std::collections::BTreeMap::new();
            let old = before.and_then(Value::as_keyed).unwrap_or(&empty);
            let new = after.and_then(Value::as_keyed).unwrap_or(&empty);
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let below = paths.attribute(key);
                let node = block(old.get(key), new.get(key), schema, &below);
                add(Some(Arc::clone(key)), forced(node));
            }
        }
    }
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_sequence).unwrap_or_default()
}

/// Elements on both sides, only before, and only after.
fn set_difference<'v>(
    before: &'v [Value],
    after: &'v [Value],
) -> (Vec<&'v Value>, Vec<&'v Value>, Vec<&'v Value>) {
    // Values hash by their printed form here; equality decides.
    let key = |value: &Value| format!("{:?}", value.clone().unmark_deep().0);
    let mut theirs = std::collections::HashMap::<String, Vec<(usize, &Value)>>::new();
    for (at, value) in after.iter().enumerate() {
        theirs.entry(key(value)).or_default().push((at, value));
    }
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    let mut met = vec![false; after.len()];
    for value in before {
        let twin = theirs
            .get(&key(value))
            .into_iter()
            .flatten()
            .find(|(at, other)| !met[*at] && same(value, other));
        match twin {
            Some((at, _)) => {
                met[*at] = true;
                kept.push(value);
            }
            None => gone.push(value),
        }
    }
    let come = after
        .iter()
        .zip(&met)
        .filter(|(_, met)| !**met)
        .map(|(value, _)| value)
        .collect();
    (kept, gone, come)
}

fn value(
    before: Option<&Value>,
    after: Option<&Value>,
    schema: Option<&Attribute>,
    paths: &Paths<'_>,
) -> Node {
    let action = plain(before, after);
    if secret(before, after) {
        return Node::new(action, paths, Shape::Sensitive);
    }
    if let Some(new) = after
        && !new.is_known()
    {
        let was = present(before)
            .map(|before| Box::new(value(Some(before), None, schema, &Paths::default())));
        let action = if was.is_some() {
            Action::Update
        } else {
            Action::Create
        };
        return Node::new(action, paths, Shape::Unknown(was));
    }
    if let Some(object) = schema.and_then(|schema| schema.nested.as_ref()) {
        return nested(present(before), present(after), object, paths);
    }
    match (present(before), present(after)) {
        (Some(old), Some(new)) => changed(old, new, paths),
        (None, Some(new)) => whole(before, new, action, paths, true),
        (Some(old), None) => whole(after, old, action, paths, false),
        (None, None) => Node::new(
            action,
            paths,
            Shape::Leaf {
                before: before.cloned(),
                after: after.cloned(),
            },
        ),
    }
}

fn nested(
    before: Option<&Value>,
    after: Option<&Value>,
    object: &Object,
    paths: &Paths<'_>,
) -> Node {
    if secret(before, after) {
        return Node::new(plain(before, after), paths, Shape::Sensitive);
    }
    let one = |before: Option<&Value>, after: Option<&Value>, paths: &Paths<'_>| {
        if secret(before, after) {
            return Node::new(plain(before, after), paths, Shape::Sensitive);
        }
        if let Some(new) = after
            && !new.is_known()
        {
            return value(before, after, None, paths);
        }
        let entries = members(before, after, &object.attributes, paths);
        let action = together(before, after, entries.iter().map(|(_, node)| node));
        let map = false;
        Node::new(action, paths, Shape::Keyed { map, entries })
    };
    let (shape, action) = match object.nesting {
        Nesting::Single | Nesting::Group => return one(before, after, paths),
        Nesting::List => {
            let (old, new) = (elements(before), elements(after));
            let parts: Vec<Node> = (0..old.len().max(new.len()))
                .map(|at| one(old.get(at), new.get(at), &paths.element(at)))
                .collect();
            let action = together(before, after, parts.iter());
            (
                Shape::Sequence {
                    set: false,
                    elements: parts,
                },
                action,
            )
        }
        Nesting::Set => {
            let (kept, gone, come) = set_difference(elements(before), elements(after));
            let parts: Vec<Node> = gone
                .into_iter()
                .map(|old| one(Some(old), None, &paths.member(old)))
                .chain(
                    kept.into_iter()
                        .map(|v| one(Some(v), Some(v), &Paths::default())),
                )
                .chain(
                    come.into_iter()
                        .map(|new| one(None, Some(new), &paths.member(new))),
                )
                .collect();
            let action = together(before, after, parts.iter());
            (
                Shape::Sequence {
                    set: true,
                    elements: parts,
                },
                action,
            )
        }
        Nesting::Map => {
            let entries = entries(before, after, |key, old, new| {
                one(old, new, &paths.attribute(key))
            });
            let action = together(before, after, entries.iter().map(|(_, node)| node));
            (Shape::Keyed { map: true, entries }, action)
        }
    };
    Node::new(action, paths, shape)
}

fn entries(
    before: Option<&Value>,
    after: Option<&Value>,
    mut each: impl FnMut(&Arc<str>, Option<&Value>, Option<&Value>) -> Node,
) -> Vec<(Arc<str>, Node)> {
    let empty = std::collections::BTreeMap::new();
    let old = before.and_then(Value::as_keyed).unwrap_or(&empty);
    let new = after.and_then(Value::as_keyed).unwrap_or(&empty);
    old.keys()
        .chain(new.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|key| (Arc::clone(key), each(key, old.get(key), new.get(key))))
        .collect()
}

fn is_map(value: &Value) -> bool {
    matches!(value.ty(), Type::Map(_))
}

fn is_set(value: &Value) -> bool {
    matches!(value.ty(), Type::Set(_))
}

/// A value that comes or goes whole.
fn whole(
    other: Option<&Value>,
    one: &Value,
    action: Action,
    paths: &Paths<'_>,
    comes: bool,
) -> Node {
    let sides = |part| {
        if comes {
            (None, Some(part))
        } else {
            (Some(part), None)
        }
    };
    let shape = match one.kind() {
        Kind::String(text) => string(
            if comes { "" } else { text },
            if comes { text } else { "" },
            (!comes).then(|| one.clone()).or_else(|| other.cloned()),
            comes.then(|| one.clone()).or_else(|| other.cloned()),
            comes,
        ),
        Kind::Map(parts) | Kind::Object(parts) => Shape::Keyed {
            map: is_map(one),
            entries: parts
                .iter()
                .map(|(key, part)| {
                    let (before, after) = sides(part);
                    let node = value(before, after, None, &paths.attribute(key));
                    (Arc::clone(key), node)
                })
                .collect(),
        },
        Kind::List(parts) | Kind::Set(parts) | Kind::Tuple(parts) => Shape::Sequence {
            set: is_set(one),
            elements: parts
                .iter()
                .enumerate()
                .map(|(at, part)| {
                    let (before, after) = sides(part);
                    value(before, after, None, &paths.element(at))
                })
                .collect(),
        },
        _ => Shape::Leaf {
            before: (!comes).then(|| one.clone()),
            after: comes.then(|| one.clone()),
        },
    };
    Node::new(action, paths, shape)
}

fn changed(old: &Value, new: &Value, paths: &Paths<'_>) -> Node {
    let equal = same(old, new);
    let shape = match (old.kind(), new.kind()) {
        (Kind::String(before), Kind::String(after)) => {
            string(before, after, Some(old.clone()), Some(new.clone()), false)
        }
        (Kind::Map(_) | Kind::Object(_), Kind::Map(_) | Kind::Object(_)) => {
            let entries = entries(Some(old), Some(new), |key, old, new| {
                value(old, new, None, &paths.attribute(key))
            });
            Shape::Keyed {
                map: is_map(new),
                entries,
            }
        }
        (Kind::Set(before), Kind::Set(after)) => {
            let (kept, gone, come) = set_difference(before, after);
            let elements = gone
                .into_iter()
                .map(|old| value(Some(old), None, None, &paths.member(old)))
                .chain(
                    kept.into_iter()
                        .map(|v| value(Some(v), Some(v), None, &Paths::default())),
                )
                .chain(
                    come.into_iter()
                        .map(|new| value(None, Some(new), None, &paths.member(new))),
                )
                .collect();
            Shape::Sequence {
                set: true,
                elements,
            }
        }
        (Kind::Tuple(before), Kind::Tuple(after)) if before.len() == after.len() => {
            let elements = before
                .iter()
                .zip(after)
                .enumerate()
                .map(|(at, (old, new))| value(Some(old), Some(new), None, &paths.element(at)))
                .collect();
            Shape::Sequence {
                set: false,
                elements,
            }
        }
        (Kind::List(before) | Kind::Tuple(before), Kind::List(after) | Kind::Tuple(after)) => {
            Shape::Sequence {
                set: false,
                elements: sequence(before, after, paths),
            }
        }
        _ if is_primitive(old) && is_primitive(new) => Shape::Leaf {
            before: Some(old.clone()),
            after: Some(new.clone()),
        },
        _ => Shape::Exchanged(
            Box::new(value(Some(old), None, None, &Paths::default())),
            Box::new(value(None, Some(new), None, &Paths::default())),
        ),
    };
    let action = match &shape {
        _ if equal => Action::Keep,
        Shape::Keyed { entries, .. } => {
            together(Some(old), Some(new), entries.iter().map(|(_, node)| node))
        }
        Shape::Sequence { elements, .. } => together(Some(old), Some(new), elements.iter()),
        _ => Action::Update,
    };
    Node::new(action, paths, shape)
}

fn is_primitive(value: &Value) -> bool {
    matches!(
        value.kind(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_)
    )
}

/// Elements matched by what they are; an object that stands where another stood is told as a change of it.
fn sequence(before: &[Value], after: &[Value], paths: &Paths<'_>) -> Vec<Node> {
    let key = |values: &[Value]| -> Vec<String> {
        values
            .iter()
            .map(|value| format!("{:?}", value.clone().unmark_deep().0))
            .collect()
    };
    let (old, new) = (key(before), key(after));
    // A long list that changed much is not worth more than this.
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(200);
    let steps = similar::capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let structured = |value: &Value| matches!(value.kind(), Kind::Object(_) | Kind::Map(_));
    let mut nodes = Vec::new();
    for step in steps {
        match step {
            DiffOp::Equal {
                old_index,
                new_index,
                len,
            } => nodes.extend((0..len).map(|n| {
                let below = paths.element(new_index + n);
                value(
                    before.get(old_index + n),
                    after.get(new_index + n),
                    None,
                    &below,
                )
            })),
            DiffOp::Delete {
                old_index, old_len, ..
            } => nodes.extend(
                (old_index..old_index + old_len)
                    .map(|at| value(before.get(at), None, None, &paths.element(at))),
            ),
            DiffOp::Insert {
                new_index, new_len, ..
            } => nodes.extend(
                (new_index..new_index + new_len)
                    .map(|at| value(None, after.get(at), None, &paths.element(at))),
            ),
            DiffOp::Replace {
                old_index,
                old_len,
                new_index,
                new_len,
            } => {
                for n in 0..old_len.max(new_len) {
                    let old = (n < old_len).then(|| &before[old_index + n]);
                    let new = (n < new_len).then(|| &after[new_index + n]);
                    let below = paths.element(if new.is_some() {
                        new_index + n
                    } else {
                        old_index + n
                    });
                    match (old, new) {
                        (Some(old), Some(new))
                            if structured(old) && structured(new) || !new.is_known() =>
                        {
                            nodes.push(value(Some(old), Some(new), None, &below));
                        }
                        _ => {
                            if let Some(old) = old {
                                nodes.push(value(Some(old), None, None, &below));
                            }
                            if let Some(new) = new {
                                nodes.push(value(None, Some(new), None, &below));
                            }
                        }
                    }
                }
            }
        }
    }
    nodes
}

/// Text: JSON where it is JSON, lines where it has several, else as it is.
fn string(old: &str, new: &str, before: Option<Value>, after: Option<Value>, comes: bool) -> Shape {
    let side = |text: &str, there: bool| -> Option<Option<Value>> {
        if there {
            json(text).map(Some)
        } else {
            Some(None)
        }
    };
    let one_side =
        old.is_empty() != new.is_empty() && (comes || before.is_none() || after.is_none());
    let (has_old, has_new) = if one_side {
        (!old.is_empty(), !new.is_empty())
    } else {
        (true, true)
    };
    if let (Some(was), Some(becomes)) = (side(old, has_old), side(new, has_new))
        && (was.is_some() || becomes.is_some())
    {
        let node = value(was.as_ref(), becomes.as_ref(), None, &Paths::default());
        // What only looks different as text is shown as text.
        if node.action != Action::Keep || old == new {
            return Shape::Json(Box::new(node));
        }
    }
    if old.trim_end_matches('\n').contains('\n') || new.trim_end_matches('\n').contains('\n') {
        return Shape::Lines {
            before: old.to_owned(),
            after: new.to_owned(),
        };
    }
    Shape::Leaf { before, after }
}

/// A JSON object or list in text; other JSON reads better as text.
fn json(text: &str) -> Option<Value> {
    if !text.starts_with(['{', '[']) || text.len() > 1 << 20 {
        return None;
    }
    let parsed: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(from_json(&parsed))
}

fn from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::null(Type::Dynamic),
        Json::Bool(value) => Value::bool(*value),
        Json::Number(number) => match consort_hcl::Number::parse(&number.to_string()) {
            Some(number) => Value::number(number),
            None => Value::string(number.to_string()),
        },
        Json::String(text) => Value::string(text),
        Json::Array(parts) => Value::tuple(parts.iter().map(from_json).collect()),
        Json::Object(parts) => Value::object(
            parts
                .iter()
                .map(|(key, part)| (key.as_str(), from_json(part))),
        ),
    }
}
