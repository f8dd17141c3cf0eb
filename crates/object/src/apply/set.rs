//! Sets of fields, and their algebra.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

use super::element::Element;
use crate::schema::shape::Shape;

/// A set of fields: a tree of path elements, some of which are members.
///
/// A parent may be a member without its children and the other way round. What it borrows are the names
/// and values of the documents it was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet<'a> {
    /// Sorted by element; each is a member or has something below it.
    nodes: Vec<Node<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node<'a> {
    at: Element<'a>,
    member: bool,
    below: FieldSet<'a>,
}

/// A path in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a>(pub Vec<Element<'a>>);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

/// The elements of two sorted lists side by side.
struct Zip<'z, 'a, 'b> {
    one: &'z [Node<'a>],
    other: &'z [Node<'b>],
}

impl<'z, 'a, 'b> Iterator for Zip<'z, 'a, 'b> {
    type Item = (Option<&'z Node<'a>>, Option<&'z Node<'b>>);

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.one.first(), self.other.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.at.cmp(&other.at),
        };
        let one = (order != Ordering::Greater).then(|| {
            let (first, rest) = (&self.one[0], &self.one[1..]);
            self.one = rest;
            first
        });
        let other = (order != Ordering::Less).then(|| {
            let (first, rest) = (&self.other[0], &self.other[1..]);
            self.other = rest;
            first
        });
        Some((one, other))
    }
}

impl<'a> FieldSet<'a> {
    /// A set of paths of field names.
    pub fn of_fields(paths: &[&[&'a str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.iter().map(|name| Element::field(name)));
        }
        set
    }

    /// An empty set with room for so many children.
    pub(super) fn with_capacity(children: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(children),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a path; its parents do not become members. The empty path is the whole object and is not kept.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element<'a>>) {
        let mut path = path.into_iter().peekable();
        let mut set = self;
        while let Some(element) = path.next() {
            let node = set.node(element);
            if path.peek().is_none() {
                node.member = true;
                return;
            }
            set = &mut node.below;
        }
    }

    fn node(&mut self, element: Element<'a>) -> &mut Node<'a> {
        let at = match self.find(&element) {
            Ok(at) => at,
            Err(at) => {
                let node = Node {
                    at: element,
                    member: false,
                    below: Self::default(),
                };
                self.nodes.insert(at, node);
                at
            }
        };
        &mut self.nodes[at]
    }

    fn find(&self, element: &Element<'_>) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.at.cmp(element))
    }

    /// Whether a child element is a member.
    pub fn has_child(&self, element: &Element<'_>) -> bool {
        self.find(element).is_ok_and(|at| self.nodes[at].member)
    }

    /// What is below a child element.
    pub fn below(&self, element: &Element<'_>) -> Option<&Self> {
        let at = self.find(element).ok()?;
        Some(&self.nodes[at].below).filter(|below| !below.is_empty())
    }

    /// Whether a path is a member.
    pub fn has(&self, path: &[Element<'_>]) -> bool {
        match path {
            [] => false,
            [last] => self.has_child(last),
            [first, rest @ ..] => self.below(first).is_some_and(|below| below.has(rest)),
        }
    }

    /// Adds a child at the end; [`FieldSet::sort`] makes the set whole.
    pub(super) fn push(&mut self, at: Element<'a>, marks: Marks<'a>) {
        if marks.member || !marks.below.is_empty() {
            self.nodes.push(Node {
                at,
                member: marks.member,
                below: marks.below,
            });
        }
    }

    /// Puts pushed children in order and joins those of the same element.
    pub(super) fn sort(&mut self) {
        if self.nodes.is_sorted_by(|one, other| one.at < other.at) {
            return;
        }
        self.nodes.sort_by(|one, other| one.at.cmp(&other.at));
        self.nodes.dedup_by(|next, kept| {
            let double = next.at == kept.at;
            if double {
                kept.member |= next.member;
                kept.below = kept.below.union(&next.below);
            }
            double
        });
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let nodes = Zip {
            one: &self.nodes,
            other: &other.nodes,
        }
        .filter_map(|pair| match pair {
            (Some(one), Some(other)) => Some(Node {
                at: one.at.clone(),
                member: one.member || other.member,
                below: one.below.union(&other.below),
            }),
            (one, other) => one.or(other).cloned(),
        })
        .collect();
        Self { nodes }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet<'_>) -> Self {
        self.combine(other, |one, other| {
            let other = other?;
            Some(Marks {
                member: one.member && other.member,
                below: one.below.intersection(&other.below),
            })
        })
    }

    /// What is in this and not in the other. A parent and its children are different members.
    #[must_use]
    pub fn difference(&self, other: &FieldSet<'_>) -> Self {
        self.combine(other, |one, other| match other {
            None => Some(Marks {
                member: one.member,
                below: one.below.clone(),
            }),
            Some(other) => Some(Marks {
                member: one.member && !other.member,
                below: one.below.difference(&other.below),
            }),
        })
    }

    /// Takes out what is in the other, in place: the cost is that of the other, not of this.
    pub(super) fn subtract(&mut self, other: &FieldSet<'_>) {
        self.cut(other, false);
    }

    /// Takes out what is in the other and all that is below it, in place.
    pub(super) fn subtract_below(&mut self, other: &FieldSet<'_>) {
        self.cut(other, true);
    }

    fn cut(&mut self, other: &FieldSet<'_>, below: bool) {
        for gone in &other.nodes {
            let Ok(at) = self.find(&gone.at) else {
                continue;
            };
            let node = &mut self.nodes[at];
            if gone.member {
                node.member = false;
            }
            if gone.member && below {
                node.below = Self::default();
            } else {
                node.below.cut(&gone.below, below);
            }
            if !node.member && node.below.is_empty() {
                self.nodes.remove(at);
            }
        }
    }

    /// Takes in another set.
    pub(super) fn absorb(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if !other.is_empty() {
            *self = self.union(&other);
        }
    }

    /// What is in this and neither in the other nor below a member of the other.
    #[must_use]
    pub fn recursive_difference(&self, other: &FieldSet<'_>) -> Self {
        self.combine(other, |one, other| match other {
            None => Some(Marks {
                member: one.member,
                below: one.below.clone(),
            }),
            Some(other) if other.member => None,
            Some(other) => Some(Marks {
                member: one.member,
                below: one.below.recursive_difference(&other.below),
            }),
        })
    }

    fn combine<'b>(
        &self,
        other: &FieldSet<'b>,
        decide: impl Fn(&Node<'a>, Option<&Node<'b>>) -> Option<Marks<'a>>,
    ) -> Self {
        let mut result = Self::default();
        let zip = Zip {
            one: &self.nodes,
            other: &other.nodes,
        };
        for (one, other) in zip {
            if let Some(one) = one
                && let Some(marks) = decide(one, other)
            {
                result.push(one.at.clone(), marks);
            }
        }
        result
    }

    /// The members with nothing below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let mut result = Self::default();
        for node in &self.nodes {
            let marks = Marks {
                member: node.member && node.below.is_empty(),
                below: node.below.leaves(),
            };
            result.push(node.at.clone(), marks);
        }
        result
    }

    /// The same, with the fields that a struct names made members where something is below them.
    #[must_use]
    pub(super) fn with_named_fields(&self, shape: Shape<'_>) -> Self {
        let nodes = self.nodes.iter().map(|node| {
            let (named, below) = match &node.at {
                Element::Field(name) => (
                    shape.names(name),
                    shape.member(name).unwrap_or(Shape::UNTYPED),
                ),
                _ => (false, shape.item()),
            };
            Node {
                at: node.at.clone(),
                member: node.member || (named && !node.below.is_empty()),
                below: node.below.with_named_fields(below),
            }
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// Every member's path: of each level first its own members, then what is below.
    pub fn paths(&self) -> Vec<Path<'a>> {
        let mut all = Vec::new();
        self.collect(&mut Vec::new(), &mut all);
        all
    }

    fn collect(&self, prefix: &mut Vec<Element<'a>>, all: &mut Vec<Path<'a>>) {
        for node in self.nodes.iter().filter(|node| node.member) {
            let mut path = prefix.clone();
            path.push(node.at.clone());
            all.push(Path(path));
        }
        for node in self.nodes.iter().filter(|node| !node.below.is_empty()) {
            prefix.push(node.at.clone());
            node.below.collect(prefix, all);
            prefix.pop();
        }
    }

    /// Its children: the element, whether it is a member, what is below it.
    pub(super) fn children(&self) -> impl Iterator<Item = (&Element<'a>, bool, &Self)> {
        self.nodes
            .iter()
            .map(|node| (&node.at, node.member, &node.below))
    }

    /// The same without borrowing.
    pub fn into_owned(self) -> FieldSet<'static> {
        FieldSet {
            nodes: self
                .nodes
                .into_iter()
                .map(|node| Node {
                    at: node.at.into_owned(),
                    member: node.member,
                    below: node.below.into_owned(),
                })
                .collect(),
        }
    }

    /// Reads a `FieldsV1`.
    ///
    /// # Errors
    ///
    /// In words, what could not be understood.
    pub fn parse(fields: &'a Value) -> Result<Self, String> {
        Ok(Self::read(fields)?.below)
    }

    fn read(fields: &'a Value) -> Result<Marks<'a>, String> {
        let map = match fields {
            Value::Object(map) => map,
            Value::Null => return Ok(Marks::MEMBER),
            other => return Err(format!("expected an object, got {other}")),
        };
        let mut marks = Marks::NONE;
        marks.below.nodes.reserve(map.len());
        for (key, value) in map {
            if key == "." {
                marks.member = true;
            } else if let Some(element) = Element::parse(key)? {
                marks.below.push(element, Self::read(value)?);
            }
        }
        marks.below.sort();
        marks.member |= marks.below.is_empty();
        Ok(marks)
    }

    /// Writes a `FieldsV1`.
    pub fn write(&self) -> Value {
        Value::Object(self.fields(false))
    }

    fn fields(&self, member: bool) -> Map<String, Value> {
        let dot = member && !self.nodes.is_empty();
        let mut map = Map::with_capacity(self.nodes.len() + usize::from(dot));
        if dot {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for node in &self.nodes {
            let fields = node.below.fields(node.member);
            map.insert(node.at.write(), Value::Object(fields));
        }
        map
    }
}

/// What is found of one place: whether it is a member, and what is below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks<'a> {
    pub(super) member: bool,
    pub(super) below: FieldSet<'a>,
}

impl Marks<'_> {
    pub(super) const NONE: Self = Marks {
        member: false,
        below: FieldSet { nodes: Vec::new() },
    };
    pub(super) const MEMBER: Self = Marks {
        member: true,
        below: FieldSet { nodes: Vec::new() },
    };
}
