//! Values of Terraform's language: what they hold and how they are made.

mod equality;
mod operations;
mod set;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::marks::Marks;
use crate::number::Number;
use crate::path::PathError;
use crate::refine::Refinement;
use crate::types::Type;

/// A value with its type and its marks. A clone shares everything.
#[derive(Clone)]
pub struct Value {
    ty: Type,
    data: Data,
    marks: Marks,
    /// The marks of this value and of all within it.
    deep: Marks,
    /// Something within it, or all of it, is not known.
    unknown: bool,
}

#[derive(Clone)]
enum Data {
    Null,
    Unknown(Option<Arc<Refinement>>),
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    /// A list, a tuple, or a set in its order.
    Sequence(Arc<[Value]>),
    /// A map or an object.
    Keyed(Arc<BTreeMap<Arc<str>, Value>>),
}

/// What a value is, whatever its marks.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'v> {
    /// Absent.
    Null,
    /// Not known yet.
    Unknown(&'v Refinement),
    /// True or false.
    Bool(bool),
    /// A number.
    Number(&'v Number),
    /// Text in normal form C.
    String(&'v str),
    /// The elements.
    List(&'v [Value]),
    /// The elements, each once, in the set's order.
    Set(&'v [Value]),
    /// The elements by key.
    Map(&'v BTreeMap<Arc<str>, Value>),
    /// The elements.
    Tuple(&'v [Value]),
    /// The attributes by name.
    Object(&'v BTreeMap<Arc<str>, Value>),
}

static NOTHING_KNOWN: Refinement = Refinement::NONE;

/// `text` in normal form C, as all strings within values are.
pub fn normalize(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

impl Value {
    /// The truth value true.
    pub const TRUE: Value = Value::plain(Type::Bool, Data::Bool(true));
    /// The truth value false.
    pub const FALSE: Value = Value::plain(Type::Bool, Data::Bool(false));
    /// A value of which not even the type is known.
    pub const DYNAMIC: Value = Value {
        ty: Type::Dynamic,
        data: Data::Unknown(None),
        marks: Marks::NONE,
        deep: Marks::NONE,
        unknown: true,
    };

    const fn plain(ty: Type, data: Data) -> Value {
        Value {
            ty,
            data,
            marks: Marks::NONE,
            deep: Marks::NONE,
            unknown: false,
        }
    }

    fn compound<'v>(ty: Type, data: Data, within: impl Iterator<Item = &'v Value>) -> Value {
        let (mut deep, mut unknown) = (Marks::NONE, false);
        for value in within {
            deep |= value.deep;
            unknown |= value.unknown;
        }
        Value {
            ty,
            data,
            marks: Marks::NONE,
            deep,
            unknown,
        }
    }

    /// The absent value of type `ty`.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers make the type for the value"
    )]
    pub fn null(ty: Type) -> Value {
        Value::plain(ty.without_optional(), Data::Null)
    }

    /// A value of type `ty` that is not known.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers make the type for the value"
    )]
    pub fn unknown(ty: Type) -> Value {
        Value {
            unknown: true,
            ..Value::plain(ty.without_optional(), Data::Unknown(None))
        }
    }

    /// A value of type `ty` of which only `refinement` is known. Where that leaves one possible value, it is that one.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers make the type for the value"
    )]
    pub fn unknown_with(ty: Type, refinement: Refinement) -> Value {
        let ty = ty.without_optional();
        if matches!(ty, Type::Dynamic) {
            return Value::DYNAMIC;
        }
        if refinement.is_not_null() {
            if let (Type::Number, Some((min, true)), Some((max, true))) =
                (&ty, refinement.minimum(), refinement.maximum())
                && min == max
            {
                return Value::number(min.clone());
            }
            if let Some(length) = refinement.longest()
                && length == refinement.shortest()
            {
                match &ty {
                    Type::List(element) if length <= 10_000 => {
                        let element = Type::clone(element);
                        let filler = Value::unknown(element.clone());
                        return Value::list(element, vec![filler; length]);
                    }
                    Type::Set(element) if length <= 1 => {
                        let element = Type::clone(element);
                        let filler = Value::unknown(element.clone());
                        return Value::set(element, vec![filler; length]);
                    }
                    Type::Map(element) if length == 0 => {
                        return Value::map(
                            Type::clone(element),
                            BTreeMap::<Arc<str>, Value>::new(),
                        );
                    }
                    _ => {}
                }
            }
        }
        let refinement = (!refinement.is_empty()).then(|| Arc::new(refinement));
        Value {
            unknown: true,
            ..Value::plain(ty, Data::Unknown(refinement))
        }
    }

    /// An unknown value of type `ty` that will not be null.
    pub fn unknown_not_null(ty: Type) -> Value {
        Value::unknown_with(ty, Refinement::NONE.not_null())
    }

    /// A truth value.
    pub fn bool(value: bool) -> Value {
        if value { Value::TRUE } else { Value::FALSE }
    }

    /// A number.
    pub fn number(value: impl Into<Number>) -> Value {
        Value::plain(Type::Number, Data::Number(value.into()))
    }

    /// Text; it is brought into normal form C.
    pub fn string(text: impl AsRef<str>) -> Value {
        let text: Arc<str> = match normalize(text.as_ref()) {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        };
        Value::plain(Type::String, Data::String(text))
    }

    /// Text that is shared with its owner and known to be in normal form C: keys of maps, names of attributes.
    pub fn shared_string(text: Arc<str>) -> Value {
        if !text.is_ascii() {
            return Value::string(text);
        }
        Value::plain(Type::String, Data::String(text))
    }

    /// A list of `element`. Each value must be of that type, or of the dynamic type where it is null or unknown. With
    /// `Dynamic` for `element` the type is that of the values.
    pub fn list(element: Type, values: Vec<Value>) -> Value {
        let element = common_element(element, values.iter());
        let values: Arc<[Value]> = values.into_iter().map(|v| v.retyped(&element)).collect();
        let data = Data::Sequence(values.clone());
        Value::compound(Type::list(element), data, values.iter())
    }

    /// A set of `element`, with the same rules as [`Value::list`]. Equal values become one; the marks of the values
    /// become those of the set.
    pub fn set(element: Type, values: Vec<Value>) -> Value {
        let element = common_element(element, values.iter());
        let mut marks = Marks::NONE;
        let values: Vec<Value> = values
            .into_iter()
            .map(|v| {
                let (v, m) = v.retyped(&element).unmark_deep();
                marks |= m;
                v
            })
            .collect();
        let values: Arc<[Value]> = set::ordered(&element, values).into();
        let data = Data::Sequence(values.clone());
        Value::compound(Type::set(element), data, values.iter()).with_marks(marks)
    }

    /// A map of `element`, with the same rules as [`Value::list`].
    pub fn map<K: Into<Arc<str>>>(
        element: Type,
        values: impl IntoIterator<Item = (K, Value)>,
    ) -> Value {
        let values: BTreeMap<Arc<str>, Value> = keyed(values);
        let element = common_element(element, values.values());
        let values: BTreeMap<Arc<str>, Value> = if values.values().all(|v| v.ty == element) {
            values
        } else {
            values
                .into_iter()
                .map(|(k, v)| (k, v.retyped(&element)))
                .collect()
        };
        let values = Arc::new(values);
        let data = Data::Keyed(values.clone());
        Value::compound(Type::map(element), data, values.values())
    }

    /// A tuple; its type is that of the values.
    pub fn tuple(values: Vec<Value>) -> Value {
        let ty = Type::tuple(values.iter().map(|v| v.ty.clone()));
        let values: Arc<[Value]> = values.into();
        let data = Data::Sequence(values.clone());
        Value::compound(ty, data, values.iter())
    }

    /// An object; its type is that of the values.
    pub fn object<K: Into<Arc<str>>>(values: impl IntoIterator<Item = (K, Value)>) -> Value {
        let values = keyed(values);
        let ty = Type::object(values.iter().map(|(k, v)| (k.clone(), v.ty.clone())));
        let values = Arc::new(values);
        let data = Data::Keyed(values.clone());
        Value::compound(ty, data, values.values())
    }

    /// Nulls and unknowns without a type take the one of the collection they are put into.
    fn retyped(self, ty: &Type) -> Value {
        if !matches!(self.ty, Type::Dynamic) || matches!(ty, Type::Dynamic) {
            return self;
        }
        Value {
            ty: ty.without_optional(),
            ..self
        }
    }

    /// The type.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// What it is.
    pub fn kind(&self) -> Kind<'_> {
        match (&self.data, &self.ty) {
            (Data::Null, _) => Kind::Null,
            (Data::Unknown(refinement), _) => {
                Kind::Unknown(refinement.as_deref().unwrap_or(&NOTHING_KNOWN))
            }
            (Data::Bool(value), _) => Kind::Bool(*value),
            (Data::Number(value), _) => Kind::Number(value),
            (Data::String(value), _) => Kind::String(value),
            (Data::Sequence(values), Type::Set(_)) => Kind::Set(values),
            (Data::Sequence(values), Type::List(_)) => Kind::List(values),
            (Data::Sequence(values), _) => Kind::Tuple(values),
            (Data::Keyed(values), Type::Map(_)) => Kind::Map(values),
            (Data::Keyed(values), _) => Kind::Object(values),
        }
    }

    /// True where it is known whether it is null and, if not, what it is; elements within may still be unknown.
    pub fn is_known(&self) -> bool {
        !matches!(self.data, Data::Unknown(_))
    }

    /// True where nothing within is unknown.
    pub fn is_wholly_known(&self) -> bool {
        !self.unknown
    }

    /// True where it is known to be null.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// True where it is known not to be null, also of an unknown value.
    pub fn is_certainly_not_null(&self) -> bool {
        match &self.data {
            Data::Null => false,
            Data::Unknown(refinement) => refinement.as_ref().is_some_and(|r| r.is_not_null()),
            _ => true,
        }
    }

    /// The text of a known string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a known string, shared.
    pub fn as_shared_str(&self) -> Option<Arc<str>> {
        match &self.data {
            Data::String(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A known number.
    pub fn as_number(&self) -> Option<&Number> {
        match &self.data {
            Data::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A known truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The elements of a known list, set or tuple.
    pub fn as_sequence(&self) -> Option<&[Value]> {
        match &self.data {
            Data::Sequence(values) => Some(values),
            _ => None,
        }
    }

    /// The elements or attributes of a known map or object.
    pub fn as_keyed(&self) -> Option<&BTreeMap<Arc<str>, Value>> {
        match &self.data {
            Data::Keyed(values) => Some(values),
            _ => None,
        }
    }

    /// True where `for` can go over its elements.
    pub fn can_iterate(&self) -> bool {
        matches!(self.data, Data::Sequence(_) | Data::Keyed(_))
    }

    /// The keys and values of a known collection, tuple or object, in order: numbers for lists and tuples, strings for
    /// maps and objects, the element itself for sets. Nothing for all else. Marks of the collection are not passed on.
    pub fn elements(&self) -> Vec<(Value, Value)> {
        match self.kind() {
            Kind::List(values) | Kind::Tuple(values) => values
                .iter()
                .enumerate()
                .map(|(i, v)| (Value::number(i), v.clone()))
                .collect(),
            Kind::Set(values) => values.iter().map(|v| (v.clone(), v.clone())).collect(),
            Kind::Map(values) | Kind::Object(values) => values
                .iter()
                .map(|(k, v)| (Value::shared_string(k.clone()), v.clone()))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What is known of this value where it is unknown.
    pub fn refinement(&self) -> Option<&Refinement> {
        match &self.data {
            Data::Unknown(refinement) => Some(refinement.as_deref().unwrap_or(&NOTHING_KNOWN)),
            _ => None,
        }
    }

    /// This value with more known of it, where it is unknown; a known value stays as it is.
    #[must_use]
    pub fn refined(self, narrow: impl FnOnce(Refinement) -> Refinement) -> Value {
        let Data::Unknown(refinement) = &self.data else {
            return self;
        };
        if matches!(self.ty, Type::Dynamic) {
            return self;
        }
        let old = refinement.as_deref().cloned().unwrap_or_default();
        Value::unknown_with(self.ty, narrow(old)).with_marks(self.marks)
    }

    /// This value, known not to be null where it is unknown.
    #[must_use]
    pub fn refined_not_null(self) -> Value {
        if self.is_known() {
            return self;
        }
        self.refined(Refinement::not_null)
    }

    /// The marks of this value itself.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The marks of this value and of all within it.
    pub fn deep_marks(&self) -> Marks {
        self.deep
    }

    /// True where this value itself has a mark.
    pub fn is_marked(&self) -> bool {
        !self.marks.is_empty()
    }

    /// This value with `marks` beside those it has.
    #[must_use]
    pub fn with_marks(mut self, marks: Marks) -> Value {
        self.marks |= marks;
        self.deep |= marks;
        self
    }

    /// This value without its own marks, and them. What is within keeps its own.
    pub fn unmark(self) -> (Value, Marks) {
        if self.marks.is_empty() {
            return (self, Marks::NONE);
        }
        let marks = self.marks;
        let within = match &self.data {
            Data::Sequence(values) => values.iter().fold(Marks::NONE, |m, v| m | v.deep),
            Data::Keyed(values) => values.values().fold(Marks::NONE, |m, v| m | v.deep),
            _ => Marks::NONE,
        };
        let value = Value {
            marks: Marks::NONE,
            deep: within,
            ..self
        };
        (value, marks)
    }

    /// This value and all within it without marks, and all of them together.
    pub fn unmark_deep(self) -> (Value, Marks) {
        if self.deep.is_empty() {
            return (self, Marks::NONE);
        }
        let marks = self.deep;
        (self.without_marks(marks), marks)
    }

    /// The attribute `name` of an object, with the object's marks.
    ///
    /// # Errors
    /// Where the value is null, no object, or has no such attribute.
    pub fn attribute(&self, name: &str) -> Result<Value, PathError> {
        if self.is_null() {
            return Err(PathError("cannot access attributes on a null value".into()));
        }
        if matches!(self.ty, Type::Dynamic) {
            return Ok(Value::DYNAMIC.with_marks(self.marks));
        }
        let Type::Object(object) = &self.ty else {
            return Err(PathError("not an object type".into()));
        };
        let name = normalize(name);
        let missing = || {
            PathError(format!(
                "object has no attribute {}",
                crate::text::quote(&name)
            ))
        };
        let value = match &self.data {
            Data::Keyed(values) => values.get(&*name).cloned().ok_or_else(missing)?,
            _ => Value::unknown(object.attributes.get(&*name).ok_or_else(missing)?.clone()),
        };
        Ok(value.with_marks(self.marks))
    }

    /// The element `key` of a list, tuple, map or set (there the element itself), with the marks of both. The key must
    /// be of the right type already: a number, for maps a string.
    ///
    /// # Errors
    /// Where the value is null or has no such element.
    pub fn index(&self, key: &Value) -> Result<Value, PathError> {
        let marks = self.marks | key.marks;
        let fail = |text: &str| Err(PathError(text.into()));
        if self.is_null() {
            return fail("cannot index a null value");
        }
        if matches!(self.ty, Type::Dynamic) {
            return Ok(Value::DYNAMIC.with_marks(marks));
        }
        if let Type::Set(element) = &self.ty {
            return match self.has_element(key).as_bool() {
                None => Ok(Value::unknown(Type::clone(element)).with_marks(marks)),
                Some(true) => Ok(key.clone().with_marks(marks)),
                Some(false) => fail("set does not contain the requested element"),
            };
        }
        match (&key.ty, &self.ty) {
            (Type::Number | Type::Dynamic, Type::List(_) | Type::Tuple(_))
            | (Type::String | Type::Dynamic, Type::Map(_)) => {}
            (Type::Number, _) => return fail("not a list type"),
            (Type::String, _) => return fail("not a map type"),
            _ => return fail("key value not number or string"),
        }
        match self.has_index(key).as_bool() {
            None => {
                let ty = self.ty.element().cloned().unwrap_or(Type::Dynamic);
                return Ok(Value::unknown(ty).with_marks(marks));
            }
            Some(false) => return fail("value does not have given index key"),
            Some(true) => {}
        }
        let position = key.as_number().and_then(Number::to_usize);
        let found = match (&self.data, &self.ty) {
            (Data::Sequence(values), _) => position.and_then(|i| values.get(i)).cloned(),
            (Data::Keyed(values), _) => key.as_str().and_then(|k| values.get(k)).cloned(),
            (_, Type::Tuple(types)) => position
                .and_then(|i| types.get(i))
                .map(|ty| Value::unknown(ty.clone())),
            _ => None,
        };
        match found {
            Some(value) => Ok(value.with_marks(marks)),
            None => fail("value does not have given index key"),
        }
    }

    /// Whether a list, tuple or map has the element `key`, with the marks of both.
    #[must_use]
    pub fn has_index(&self, key: &Value) -> Value {
        let marks = self.marks | key.marks;
        let unknown = || Value::unknown_not_null(Type::Bool);
        let found = match (&self.ty, &key.ty) {
            (Type::Dynamic, _) | (_, Type::Dynamic) => unknown(),
            (Type::List(_) | Type::Tuple(_), Type::Number) => match key.kind() {
                Kind::Unknown(_) => unknown(),
                Kind::Number(number) => match (number.to_usize(), &self.data, &self.ty) {
                    (None, _, _) | (_, Data::Null, _) => Value::FALSE,
                    (Some(i), _, Type::Tuple(types)) => Value::bool(i < types.len()),
                    (Some(i), Data::Sequence(values), _) => Value::bool(i < values.len()),
                    _ => unknown(),
                },
                _ => Value::FALSE,
            },
            (Type::Map(_), Type::String) => match (key.kind(), &self.data) {
                (Kind::Unknown(_), _) | (_, Data::Unknown(_)) => unknown(),
                (Kind::String(text), Data::Keyed(values)) => Value::bool(values.contains_key(text)),
                _ => Value::FALSE,
            },
            _ => Value::FALSE,
        };
        found.with_marks(marks)
    }
}

fn keyed<K: Into<Arc<str>>>(
    values: impl IntoIterator<Item = (K, Value)>,
) -> BTreeMap<Arc<str>, Value> {
    values
        .into_iter()
        .map(|(key, value)| {
            let key: Arc<str> = key.into();
            match normalize(&key) {
                Cow::Borrowed(_) => (key, value),
                Cow::Owned(normal) => (normal.into(), value),
            }
        })
        .collect()
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it is given up by the caller"
)]
fn common_element<'v>(element: Type, mut values: impl Iterator<Item = &'v Value>) -> Type {
    if !matches!(element, Type::Dynamic) {
        return element.without_optional();
    }
    values
        .find(|v| !matches!(v.ty, Type::Dynamic))
        .map_or(Type::Dynamic, |v| v.ty.clone())
}

/// The same value, whatever its marks say to a reader: for tests and logs within the project. Sensitive and ephemeral
/// values are not shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.marks.intersects(Marks::SENSITIVE | Marks::EPHEMERAL) && !cfg!(test) {
            return write!(f, "{:?}({:?})", self.marks, self.ty);
        }
        if !self.marks.is_empty() {
            write!(f, "{:?} ", self.marks)?;
        }
        match self.kind() {
            Kind::Null => write!(f, "null({:?})", self.ty),
            Kind::Unknown(r) if r.is_empty() => write!(f, "unknown({:?})", self.ty),
            Kind::Unknown(r) => write!(f, "unknown({:?}, {r:?})", self.ty),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Number(value) => write!(f, "{value}"),
            Kind::String(value) => f.write_str(&crate::text::quote(value)),
            Kind::List([]) => write!(f, "[]({:?})", self.ty),
            Kind::Set(values) => {
                if values.is_empty() {
                    return write!(f, "{{}}({:?})", self.ty);
                }
                f.debug_set().entries(values).finish()
            }
            Kind::List(values) => f.debug_list().entries(values).finish(),
            Kind::Tuple(values) => {
                f.write_str("tuple")?;
                f.debug_list().entries(values).finish()
            }
            Kind::Map(values) => {
                if values.is_empty() {
                    return write!(f, "{{}}({:?})", self.ty);
                }
                f.write_str("map")?;
                f.debug_map().entries(values).finish()
            }
            Kind::Object(values) => f.debug_map().entries(values).finish(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::string(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::bool(value)
    }
}

impl From<Number> for Value {
    fn from(value: Number) -> Value {
        Value::number(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::number(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::number(value)
    }
}
