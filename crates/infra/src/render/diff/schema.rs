//! Objects that have schemas: blocks, and attributes that are objects of attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_hcl::Value;

use super::value::{Typing, elements, entries, said, set_pairs, value};
use super::{Action, Child, Keys, Node, Paths, Shape, hidden, plain, present, together};
use crate::provider::schema::{Attribute, Block, Nesting, Object};

/// The changes of an object with a schema; `before` or `after` is null where it does not exist.
pub fn attributes(before: &Value, after: &Value, schema: &Block, paths: &Paths<'_>) -> Node {
    block(present(Some(before)), present(Some(after)), schema, paths)
}

fn block(before: Option<&Value>, after: Option<&Value>, schema: &Block, paths: &Paths<'_>) -> Node {
    if let Some(node) = hidden(before, after, paths) {
        return node;
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
    let mut attributes = members(before, after, &schema.attributes, paths);
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
    add_write_only(&mut attributes, &schema.attributes, action, paths);
    Node::new(action, paths, Shape::Block { attributes, blocks })
}

/// One part of an object.
fn side(of: Option<&Value>, name: &str) -> Option<Value> {
    of.and_then(|of| of.as_keyed()?.get(name).cloned())
}

/// The attributes of an object; those that are null on both sides are left out.
fn members(
    before: Option<&Value>,
    after: Option<&Value>,
    schema: &BTreeMap<Arc<str>, Attribute>,
    paths: &Paths<'_>,
) -> Vec<(Arc<str>, Node)> {
    let mut attributes = Vec::new();
    for (name, attribute) in schema.iter().filter(|(_, attribute)| !attribute.write_only) {
        let (old, new) = (side(before, name), side(after, name));
        let (old, new) = (present(old.as_ref()), present(new.as_ref()));
        if old.is_none() && new.is_none() {
            continue;
        }
        let (old, new) = (said(old), said(new));
        let below = paths.attribute(name);
        let node = if attribute.sensitive {
            let shape = Shape::Sensitive {
                before: true,
                after: true,
            };
            Node::new(plain(old, new), &below, shape)
        } else {
            value(old, new, Typing::Attribute(attribute), &below)
        };
        attributes.push((Arc::clone(name), node));
    }
    attributes
}

/// Adds the attributes of which nothing is kept to an object that something happens to: whether they change is
/// not known to anybody.
fn add_write_only(
    to: &mut Vec<(Arc<str>, Node)>,
    schema: &BTreeMap<Arc<str>, Attribute>,
    action: Action,
    paths: &Paths<'_>,
) {
    if action == Action::Keep {
        return;
    }
    for (name, _) in schema.iter().filter(|(_, attribute)| attribute.write_only) {
        let node = Node::new(action, &paths.attribute(name), Shape::WriteOnly);
        let at = to.partition_point(|(other, _)| other < name);
        to.insert(at, (Arc::clone(name), node));
    }
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
    if let Some(node) = hidden(before, after, paths) {
        return add(None, node);
    }
    let forced = paths.here();
    if after.is_some_and(|after| !after.is_known()) {
        let old = elements(before);
        let action = if old.is_empty() {
            Action::Create
        } else {
            Action::Update
        };
        add(None, Node::new(action, paths, Shape::Unknown(None)));
        for element in old {
            add(None, block(Some(element), None, schema, paths));
        }
        return;
    }
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
            add(None, node);
        }
        Nesting::List => {
            let (old, new) = (elements(before), elements(after));
            for at in 0..old.len().max(new.len()) {
                let below = paths.element(at).spread(forced);
                add(None, block(old.get(at), new.get(at), schema, &below));
            }
        }
        Nesting::Set => {
            let (old, new) = (elements(before), elements(after));
            for (old, new) in set_pairs(old, new) {
                let below = match (old, new) {
                    (Some(_), Some(_)) => Paths::default(),
                    (Some(one), _) | (_, Some(one)) => paths.member(one).spread(forced),
                    (None, None) => continue,
                };
                add(None, block(old, new, schema, &below));
            }
        }
        Nesting::Map => {
            let empty = BTreeMap::new();
            let old = before.and_then(Value::as_keyed).unwrap_or(&empty);
            let new = after.and_then(Value::as_keyed).unwrap_or(&empty);
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let below = paths.attribute(key).spread(forced);
                let node = block(old.get(key), new.get(key), schema, &below);
                add(Some(Arc::clone(key)), node);
            }
        }
    }
}

/// An attribute that is an object of attributes, or a collection of such.
pub(super) fn nested(
    before: Option<&Value>,
    after: Option<&Value>,
    object: &Object,
    paths: &Paths<'_>,
) -> Node {
    let one = |before: Option<&Value>, after: Option<&Value>, paths: &Paths<'_>| {
        if let Some(node) = hidden(before, after, paths) {
            return node;
        }
        if let Some(new) = after
            && !new.is_known()
        {
            return value(before, after, Typing::Typed, paths);
        }
        let mut entries = members(before, after, &object.attributes, paths);
        let action = together(before, after, entries.iter().map(|(_, node)| node));
        add_write_only(&mut entries, &object.attributes, action, paths);
        let keys = Keys::Schema;
        Node::new(action, paths, Shape::Keyed { keys, entries })
    };
    let forced = paths.here();
    let (shape, action) = match object.nesting {
        Nesting::Single | Nesting::Group => return one(before, after, paths),
        Nesting::List => {
            let (old, new) = (elements(before), elements(after));
            let elements: Vec<Node> = (0..old.len().max(new.len()))
                .map(|at| one(old.get(at), new.get(at), &paths.element(at)))
                .collect();
            let action = together(before, after, elements.iter());
            let set = false;
            (Shape::Sequence { set, elements }, action)
        }
        Nesting::Set => {
            // What forces a set is said at the elements.
            let elements: Vec<Node> = set_pairs(elements(before), elements(after))
                .into_iter()
                .map(|(old, new)| {
                    let mut node = match (old, new) {
                        (Some(one), None) | (None, Some(one)) => paths.member(one),
                        _ => Paths::default(),
                    };
                    node.all = false;
                    let mut node = one(old, new, &node);
                    node.forces |= forced;
                    node
                })
                .collect();
            let action = together(before, after, elements.iter());
            let set = true;
            let shape = Shape::Sequence { set, elements };
            return Node::new(action, &Paths::default(), shape);
        }
        Nesting::Map => {
            let entries = entries(before, after, |key, old, new| {
                let mut node = one(old, new, &paths.attribute(key));
                node.forces |= forced;
                node
            });
            let action = together(before, after, entries.iter().map(|(_, node)| node));
            let keys = Keys::MapOfObjects;
            let shape = Shape::Keyed { keys, entries };
            return Node::new(action, &Paths::default(), shape);
        }
    };
    Node::new(action, paths, shape)
}
