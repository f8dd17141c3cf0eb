//! Type constraints as they are written, `list(object({ a = optional(string, "x") }))`, and the defaults in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::convert::{convert, unify_lossy};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Range;
use crate::syntax::{Expr, StaticCall};
use crate::text::quote;
use crate::types::Type;
use crate::value::{Kind, Value};

/// The defaults of optional attributes in a type constraint, at any depth.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    node: Option<Arc<Node>>,
}

#[derive(Clone, Debug)]
struct Node {
    ty: Type,
    /// Of each attribute that has one, the default.
    values: BTreeMap<Arc<str>, Value>,
    children: Children,
}

#[derive(Clone, Debug)]
enum Children {
    /// Of the elements of a collection.
    Element(Option<Arc<Node>>),
    Attributes(BTreeMap<Arc<str>, Arc<Node>>),
    Elements(BTreeMap<usize, Arc<Node>>),
}

/// Which words a type may have.
#[derive(Clone, Copy)]
struct Rules {
    /// `any` and `optional(...)`.
    constraint: bool,
    /// `optional(..., default)`.
    defaults: bool,
}

/// The type constraint an expression stands for, with its defaults. Where part of it is wrong, that part is dynamic.
pub fn type_expr(expr: &Expr) -> (Type, Defaults, Diagnostics) {
    read(
        expr,
        Rules {
            constraint: true,
            defaults: true,
        },
    )
}

/// The type constraint an expression stands for, without defaults.
pub fn type_constraint(expr: &Expr) -> (Type, Diagnostics) {
    let (ty, _, diagnostics) = read(
        expr,
        Rules {
            constraint: true,
            defaults: false,
        },
    );
    (ty, diagnostics)
}

/// The exact type an expression stands for: without `any`.
pub fn exact_type(expr: &Expr) -> (Type, Diagnostics) {
    let (ty, _, diagnostics) = read(
        expr,
        Rules {
            constraint: false,
            defaults: false,
        },
    );
    (ty, diagnostics)
}

fn read(expr: &Expr, rules: Rules) -> (Type, Defaults, Diagnostics) {
    let mut out = Diagnostics::new();
    let (ty, node) = get(expr, rules, &mut out);
    (ty, Defaults { node }, out)
}

const INVALID: &str = "Invalid type specification";
const ELEMENT: &str = "type constructor requires one argument specifying the element type.";
const OBJECT: &str = "The object type constructor requires one argument specifying the attribute types and values as a map.";
const TUPLE: &str =
    "The tuple type constructor requires one argument specifying the element types as a list.";

type Found = (Type, Option<Arc<Node>>);

fn wrong(
    out: &mut Diagnostics,
    detail: impl Into<String>,
    at: Range,
    within: Option<Range>,
) -> Found {
    let diagnostic = Diagnostic {
        context: within,
        ..Diagnostic::error(INVALID, detail).at(at)
    };
    out.push(diagnostic);
    (Type::Dynamic, None)
}

fn get(expr: &Expr, rules: Rules, out: &mut Diagnostics) -> Found {
    let range = expr.range();
    if let Some(keyword) = expr.as_keyword() {
        return match &*keyword {
            "bool" => (Type::Bool, None),
            "string" => (Type::String, None),
            "number" => (Type::Number, None),
            "any" if rules.constraint => (Type::Dynamic, None),
            "any" => wrong(
                out,
                "The keyword \"any\" cannot be used in this type specification: an exact type is required.",
                range,
                None,
            ),
            "list" | "map" | "set" => wrong(out, format!("The {keyword} {ELEMENT}"), range, None),
            "object" => wrong(out, OBJECT, range, None),
            "tuple" => wrong(out, TUPLE, range, None),
            _ => {
                let detail = format!(
                    "The keyword {} is not a valid type specification.",
                    quote(&keyword)
                );
                wrong(out, detail, range, None)
            }
        };
    }
    let Some(call) = expr.as_call() else {
        return wrong(
            out,
            "A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor call, like list(string).",
            range,
            None,
        );
    };
    match &*call.name {
        "bool" | "string" | "number" => {
            let detail = format!(
                "Primitive type keyword {} does not expect arguments.",
                quote(&call.name)
            );
            return wrong(out, detail, call.args_range, None);
        }
        "any" => {
            let detail = "Type constraint keyword \"any\" does not expect arguments.";
            return wrong(out, detail, call.args_range, None);
        }
        _ => {}
    }
    let [arg] = call.args.as_slice() else {
        return wrong_count(&call, range, out);
    };
    match &*call.name {
        "list" => {
            let (element, node) = get(arg, rules, out);
            collection(Type::list(element), node)
        }
        "set" => {
            let (element, node) = get(arg, rules, out);
            collection(Type::set(element), node)
        }
        "map" => {
            let (element, node) = get(arg, rules, out);
            collection(Type::map(element), node)
        }
        "object" => object(expr, arg, rules, out),
        "tuple" => tuple(expr, arg, rules, out),
        _ => unknown_constructor(&call, range, out),
    }
}

fn unknown_constructor(call: &StaticCall, range: Range, out: &mut Diagnostics) -> Found {
    if &*call.name == "optional" {
        let detail = "Keyword \"optional\" is valid only as a modifier for object type attributes.";
        return wrong(out, detail, call.name_range, None);
    }
    let detail = format!(
        "Keyword {} is not a valid type constructor.",
        quote(&call.name)
    );
    wrong(out, detail, range, None)
}

fn wrong_count(call: &StaticCall, range: Range, out: &mut Diagnostics) -> Found {
    let subject = match call.args.as_slice() {
        [_, second, .., last] => second.range().to(last.range()),
        [_, second] => second.range(),
        _ => call.args_range,
    };
    let within = Some(call.args_range);
    match &*call.name {
        "list" | "set" | "map" => {
            wrong(out, format!("The {} {ELEMENT}", call.name), subject, within)
        }
        "object" => wrong(out, OBJECT, subject, within),
        "tuple" => wrong(out, TUPLE, subject, within),
        _ => unknown_constructor(call, range, out),
    }
}

fn collection(ty: Type, element: Option<Arc<Node>>) -> Found {
    let node = element.map(|element| {
        Arc::new(Node {
            ty: ty.clone(),
            values: BTreeMap::new(),
            children: Children::Element(Some(element)),
        })
    });
    (ty, node)
}

fn tuple(expr: &Expr, arg: &Expr, rules: Rules, out: &mut Diagnostics) -> Found {
    let Some(items) = arg.as_list() else {
        let detail = "Tuple type constructor requires a list of element types.";
        return wrong(out, detail, arg.range(), Some(expr.range()));
    };
    let mut children = BTreeMap::new();
    let mut types = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let (ty, node) = get(item, rules, out);
        types.push(ty);
        children.extend(node.map(|node| (at, node)));
    }
    let ty = Type::tuple(types);
    let node = (!children.is_empty()).then(|| {
        Arc::new(Node {
            ty: ty.clone(),
            values: BTreeMap::new(),
            children: Children::Elements(children),
        })
    });
    (ty, node)
}

fn object(expr: &Expr, arg: &Expr, rules: Rules, out: &mut Diagnostics) -> Found {
    let Some(items) = arg.as_map() else {
        let detail = "Object type constructor requires a map whose keys are attribute names and whose values are the corresponding attribute types.";
        return wrong(out, detail, arg.range(), Some(expr.range()));
    };
    let mut attributes: BTreeMap<Arc<str>, Type> = BTreeMap::new();
    let mut optional: Vec<Arc<str>> = Vec::new();
    let mut values = BTreeMap::new();
    let mut children = BTreeMap::new();
    for (key, value) in &items {
        let Some(name) = key.as_keyword() else {
            wrong(
                out,
                "Object constructor map keys must be attribute names.",
                key.range(),
                Some(expr.range()),
            );
            continue;
        };
        if attributes.contains_key(&name) {
            wrong(
                out,
                "Object constructor map keys must be unique.",
                key.range(),
                Some(expr.range()),
            );
            continue;
        }
        let mut written = value.clone();
        let mut default = None;
        if let Some(call) = value.as_call().filter(|call| &*call.name == "optional") {
            let Some(first) = call.args.first() else {
                let detail =
                    "Optional attribute modifier requires the attribute type as its argument.";
                wrong(out, detail, call.args_range, Some(value.range()));
                continue;
            };
            default = modifier(&call, value, rules, out).and_then(|found| {
                optional.push(name.clone());
                found
            });
            written = first.clone();
        }
        let (ty, node) = get(&written, rules, out);
        if let Some((default, place)) = default {
            match convert(&default, &ty) {
                Ok(default) => {
                    values.insert(name.clone(), default);
                }
                Err(error) => {
                    let detail = format!(
                        "This default value is not compatible with the attribute's type constraint: {error}."
                    );
                    out.push(
                        Diagnostic::error("Invalid default value for optional attribute", detail)
                            .at(place),
                    );
                }
            }
        }
        attributes.insert(name.clone(), ty);
        children.extend(node.map(|node| (name, node)));
    }
    let ty = Type::object_with_optional(attributes, optional);
    let node = (!values.is_empty() || !children.is_empty()).then(|| {
        Arc::new(Node {
            ty: ty.clone(),
            values,
            children: Children::Attributes(children),
        })
    });
    (ty, node)
}

/// What `optional(...)` says: nothing if it is wrong; otherwise the default, if it has one.
#[allow(clippy::option_option)]
fn modifier(
    call: &StaticCall,
    value: &Expr,
    rules: Rules,
    out: &mut Diagnostics,
) -> Option<Option<(Value, Range)>> {
    let within = Some(value.range());
    if !rules.constraint {
        let detail =
            "Optional attribute modifier is only for type constraints, not for exact types.";
        wrong(out, detail, call.name_range, within);
        return None;
    }
    match call.args.as_slice() {
        [_] => Some(None),
        [_, default] if rules.defaults => {
            let (value, found) = default.evaluate_constant();
            let failed = found.has_errors();
            out.append(found);
            (!failed).then(|| Some((value, default.range())))
        }
        _ => {
            let detail = if rules.defaults {
                "Optional attribute modifier expects at most two arguments: the attribute type, and a default value."
            } else {
                "Optional attribute modifier expects only one argument: the attribute type."
            };
            wrong(out, detail, call.args_range, within);
            None
        }
    }
}

impl Defaults {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.node.is_none()
    }

    /// The value with defaults for attributes that are absent or null. It need not have the constraint's type yet:
    /// conversion to that comes after.
    #[must_use]
    pub fn apply(&self, value: &Value) -> Value {
        match &self.node {
            Some(node) => node.apply(value),
            None => value.clone(),
        }
    }
}

impl Node {
    fn child_at(&self, index: usize) -> Option<&Arc<Node>> {
        match &self.children {
            Children::Element(element) => element.as_ref(),
            Children::Elements(elements) => elements.get(&index),
            Children::Attributes(_) => None,
        }
    }

    fn child(&self, name: &str) -> Option<&Arc<Node>> {
        match &self.children {
            Children::Element(element) => element.as_ref(),
            Children::Attributes(attributes) => attributes.get(name),
            Children::Elements(_) => None,
        }
    }

    fn apply(&self, value: &Value) -> Value {
        let (plain, marks) = value.clone().unmark();
        let result = match plain.kind() {
            Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
                self.apply_sequence(&plain, values)
            }
            Kind::Map(values) | Kind::Object(values) => self.apply_keyed(&plain, values),
            _ => return value.clone(),
        };
        result.with_marks(marks)
    }

    fn apply_sequence(&self, value: &Value, values: &[Value]) -> Value {
        let values: Vec<Value> = values
            .iter()
            .enumerate()
            .map(|(at, element)| {
                self.child_at(at)
                    .map_or_else(|| element.clone(), |node| node.apply(element))
            })
            .collect();
        let element = match value.ty() {
            Type::List(element) | Type::Set(element) => Type::clone(element),
            _ => return Value::tuple(values),
        };
        let is_set = matches!(value.ty(), Type::Set(_));
        let make = |element, values| {
            if is_set {
                Value::set(element, values)
            } else {
                Value::list(element, values)
            }
        };
        if values.is_empty() {
            return make(element, values);
        }
        match unified(&values) {
            Some((element, values)) => make(element, values),
            None => Value::tuple(values),
        }
    }

    fn apply_keyed(&self, value: &Value, values: &BTreeMap<Arc<str>, Value>) -> Value {
        debug_assert!(!matches!(self.ty, Type::Bool));
        let mut values: BTreeMap<Arc<str>, Value> = values
            .iter()
            .map(|(name, element)| {
                let element = self
                    .child(name)
                    .map_or_else(|| element.clone(), |node| node.apply(element));
                (name.clone(), element)
            })
            .collect();
        for (name, default) in &self.values {
            match values.get_mut(name) {
                Some(present) if !present.is_null() => {
                    if default.is_certainly_not_null() {
                        *present = present.clone().refined_not_null();
                    }
                }
                _ => {
                    let nested = match &self.children {
                        Children::Attributes(attributes) => attributes.get(name),
                        _ => None,
                    };
                    let default =
                        nested.map_or_else(|| default.clone(), |node| node.apply(default));
                    values.insert(name.clone(), default);
                }
            }
        }
        let Type::Map(element) = value.ty() else {
            return Value::object(values);
        };
        if values.is_empty() {
            return Value::map(Type::clone(element), values);
        }
        let (names, elements): (Vec<_>, Vec<_>) = values.clone().into_iter().unzip();
        match unified(&elements) {
            Some((element, elements)) => {
                Value::map(element, names.into_iter().zip(elements).collect::<Vec<_>>())
            }
            None => Value::object(values),
        }
    }
}

/// The values converted to the one type they have in common.
fn unified(values: &[Value]) -> Option<(Type, Vec<Value>)> {
    let first = values.first()?.ty();
    if values.iter().all(|value| value.ty() == first) {
        return Some((first.clone(), values.to_vec()));
    }
    let types: Vec<Type> = values.iter().map(|value| value.ty().clone()).collect();
    let unified = unify_lossy(&types)?;
    let values = values
        .iter()
        .map(|value| unified.convert(value).ok())
        .collect::<Option<Vec<_>>>()?;
    Some((unified.ty, values))
}
