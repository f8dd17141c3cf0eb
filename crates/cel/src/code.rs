//! The form of an expression that runs: names are slots, constants are folded, and each node knows its price.

use std::collections::HashSet;
use std::sync::Arc;

use regex::Regex;

use crate::functions;
use crate::price::Price;
use crate::value::{Key, List, Value};

/// An operation.
pub(crate) enum Code {
    Const(Value<'static>),
    Attribute(Box<Attribute>),
    And(Box<(Code, Code)>),
    Or(Box<(Code, Code)>),
    Equal(Box<(Code, Code)>),
    Unequal(Box<(Code, Code)>),
    Call(Box<Call>),
    /// `x in [constants]`.
    OneOf(Box<(Code, OneOf)>),
    List(Box<[Item]>),
    Map(Box<[(Code, Item)]>),
    Object(Arc<str>, Box<[(Arc<str>, Item)]>),
    Fold(Box<Fold>),
    /// `accumulator + [item]` where the accumulator is a comprehension's own: grows in place.
    Append(usize, Box<Code>),
    /// `cel.@mapInsert(accumulator, key, value)`; without a key the value is a map of entries.
    Insert(usize, Option<Box<Code>>, Box<Code>),
    /// `a.or(b)`, which runs `b` only when needed.
    OptionalOr(Box<(Code, Code)>),
    /// `a.orValue(b)`.
    OptionalOrValue(Box<(Code, Code)>),
    /// `@not_strictly_false(x)`: an error counts as true.
    NotFalse(Box<Code>),
}

/// Constants to find a value among.
pub(crate) struct OneOf {
    keys: HashSet<Key<'static>>,
    /// Numbers with a fraction.
    fractions: Vec<f64>,
}

impl OneOf {
    /// The items of a list, if all are scalars that can be looked up.
    pub(crate) fn new(list: &List<'static>) -> Option<Self> {
        let mut set = OneOf {
            keys: HashSet::new(),
            fractions: Vec::new(),
        };
        for item in list.iter() {
            match (Key::of(&item.as_ref().ok()?.clone()), item.ok()?) {
                (Some(key), _) => {
                    set.keys.insert(key);
                }
                (None, Value::Double(value)) => set.fractions.push(value),
                _ => return None,
            }
        }
        Some(set)
    }

    #[expect(clippy::float_cmp, reason = "equality of the language is exact")]
    pub(crate) fn has(&self, value: &Value<'_>) -> bool {
        match (Key::of(value), value) {
            (Some(key), _) => self.keys.contains(&key),
            (None, Value::Double(value)) => self.fractions.iter().any(|fraction| fraction == value),
            _ => false,
        }
    }
}

/// A part of a list, map or object under construction.
pub(crate) struct Item {
    pub(crate) code: Code,
    pub(crate) optional: bool,
}

/// A value and the way through it.
pub(crate) struct Attribute {
    pub(crate) root: Root,
    pub(crate) qualifiers: Vec<Qualifier>,
    /// Whether the last step only asks if something is there.
    pub(crate) test: bool,
}

/// Where a way begins.
pub(crate) enum Root {
    Variable(usize),
    Local(usize),
    Operand(Code),
    /// `condition ? a : b`: the branch taken costs nothing for itself when it is a way, as upstream counts.
    Conditional(Code, Code, Code),
}

/// A step.
pub(crate) struct Qualifier {
    pub(crate) step: Step,
    pub(crate) optional: bool,
}

/// How a step is chosen.
pub(crate) enum Step {
    /// By name; beside it the property's name that it stands for, if it stands for one.
    Field(Arc<str>, Option<Arc<str>>),
    Index(Value<'static>),
    /// By a value that is worked out.
    Dynamic(Code),
}

/// A call of a function.
pub(crate) struct Call {
    pub(crate) run: functions::Run,
    pub(crate) args: Box<[Code]>,
    pub(crate) price: Price,
    pub(crate) pattern: Option<Regex>,
    pub(crate) grows: Grows,
    /// Whether the first argument that fails ends the call before the others run (and before it is charged).
    pub(crate) stops: bool,
}

/// Whether a call makes its first argument larger, which a comprehension's own value can do in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grows {
    No,
    List,
    Map,
}

/// A comprehension.
pub(crate) struct Fold {
    pub(crate) range: Code,
    pub(crate) accumulator: usize,
    pub(crate) first: usize,
    pub(crate) second: Option<usize>,
    pub(crate) init: Code,
    pub(crate) condition: Code,
    pub(crate) step: Code,
    pub(crate) result: Code,
}
