//! Values as Python has them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use indexmap::IndexMap;
use num_bigint::BigInt;
use num_traits::{FromPrimitive as _, ToPrimitive as _, Zero as _};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::arguments::Arguments;
use crate::error::{Error, Result};
use crate::eval::State;
use crate::repr;

/// A value.
///
/// Lists and dicts are shared and can be changed through any of their holders, as in Python.
#[derive(Clone, Default)]
pub enum Value {
    /// Nothing was found, or finding it failed: it may be passed on and tested, and fails when it is used.
    Undefined(Arc<Undefined>),
    /// `None`.
    #[default]
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// One that does not.
    Big(Arc<BigInt>),
    /// A float.
    Float(f64),
    /// A text.
    Str(Str),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(List),
    /// A tuple.
    Tuple(Arc<[Value]>),
    /// A dict, in the order of insertion.
    Dict(Dict),
    /// Anything else.
    Object(Arc<dyn Object>),
}

/// Why something is undefined.
#[derive(Clone, Debug)]
pub struct Undefined {
    /// What is said when it is used: `'x' is undefined`.
    pub message: String,
    /// What went wrong when the value was computed, if that is why it is missing.
    pub error: Option<Box<Error>>,
    /// The name that is not known.
    pub name: Option<Arc<str>>,
    /// The template that asked for it.
    pub template: Option<Str>,
    /// Whether it is what an `if` without `else` leaves: that is nothing between other texts, and an error by itself.
    pub silent: bool,
}

/// A text, whether it may be taken for a template, and where it was written.
///
/// Two texts are equal when they read the same and are both templates or both not; where they come from does not count.
#[derive(Clone)]
pub struct Str {
    text: Arc<str>,
    template: bool,
    origin: Option<Arc<Origin>>,
}

/// Where a text was written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The file, or another name of the source: `<inventory script /etc/hosts.py>`.
    pub file: Arc<str>,
    /// The line, counted from one.
    pub line: u32,
    /// The column, counted from one in characters.
    pub column: u32,
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.template == other.template
    }
}

impl Eq for Str {}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.template.hash(state);
    }
}

impl Str {
    /// A text that is no template, whatever stands in it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Str {
            text: text.into(),
            template: false,
            origin: None,
        }
    }

    /// A text of somebody trusted: where a variable has it, it is rendered.
    pub fn template(text: impl Into<Arc<str>>) -> Self {
        Str {
            text: text.into(),
            template: true,
            origin: None,
        }
    }

    /// The same text with the place it was written at.
    #[must_use]
    pub fn written_at(mut self, origin: Arc<Origin>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Whether it may be taken for a template.
    pub fn is_template(&self) -> bool {
        self.template
    }

    /// Where it was written, if that is known.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    /// The text, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.text
    }
}

impl std::ops::Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

/// A list that is shared.
#[derive(Clone)]
pub struct List(Arc<ListInner>);

struct ListInner {
    items: RwLock<Vec<Value>>,
    templates: AtomicBool,
}

impl List {
    /// A list of these.
    pub fn new(items: Vec<Value>) -> Self {
        let templates = items.iter().any(Value::may_hold_templates);
        List(Arc::new(ListInner {
            items: RwLock::new(items),
            templates: AtomicBool::new(templates),
        }))
    }

    /// The items, locked for reading: do nothing long meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, Vec<Value>> {
        self.0.items.read_recursive()
    }

    /// Changes the items.
    pub fn change<T>(&self, change: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        let mut items = self.0.items.write();
        let done = change(&mut items);
        if !self.may_hold_templates() && items.iter().any(Value::may_hold_templates) {
            self.0.templates.store(true, Atomic::Relaxed);
        }
        done
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some text in it may be a template.
    pub fn may_hold_templates(&self) -> bool {
        self.0.templates.load(Atomic::Relaxed)
    }

    /// A number that is the same for the very same list only, as long as it is held.
    pub fn place(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Whether it is the very same list.
    pub fn is(&self, other: &List) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A dict that is shared.
#[derive(Clone)]
pub struct Dict(Arc<DictInner>);

struct DictInner {
    entries: RwLock<IndexMap<Key, Value>>,
    templates: AtomicBool,
}

impl Dict {
    /// A dict of these.
    pub fn new(entries: IndexMap<Key, Value>) -> Self {
        let templates = entries.values().any(Value::may_hold_templates);
        Dict(Arc::new(DictInner {
            entries: RwLock::new(entries),
            templates: AtomicBool::new(templates),
        }))
    }

    /// The entries, locked for reading: do nothing long meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, IndexMap<Key, Value>> {
        self.0.entries.read_recursive()
    }

    /// Changes the entries.
    pub fn change<T>(&self, change: impl FnOnce(&mut IndexMap<Key, Value>) -> T) -> T {
        let mut entries = self.0.entries.write();
        let done = change(&mut entries);
        if !self.may_hold_templates() && entries.values().any(Value::may_hold_templates) {
            self.0.templates.store(true, Atomic::Relaxed);
        }
        done
    }

    /// The value of a text key.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.read().get(&KeyText(key) as &dyn KeyLike).cloned()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some text in it may be a template.
    pub fn may_hold_templates(&self) -> bool {
        self.0.templates.load(Atomic::Relaxed)
    }

    /// A number that is the same for the very same dict only, as long as it is held.
    pub fn place(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Whether it is the very same dict.
    pub fn is(&self, other: &Dict) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<K: AsRef<str>, V: Into<Value>> FromIterator<(K, V)> for Dict {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        Dict::new(
            entries
                .into_iter()
                .map(|(key, value)| (Key::from(key.as_ref()), value.into()))
                .collect(),
        )
    }
}

/// A value that can be the key of a dict: all but lists and dicts.
#[derive(Clone)]
pub struct Key(Value);

impl Key {
    /// A key of a value.
    ///
    /// # Errors
    /// It can be none.
    pub fn new(value: Value) -> Result<Key> {
        match &value {
            Value::List(_) | Value::Dict(_) => Err(Error::failed(format!(
                "unhashable type: '{}'",
                value.type_name()
            ))),
            Value::Undefined(undefined) => Err(Error::Undefined(Arc::clone(undefined))),
            Value::Tuple(items) => {
                for item in items.iter() {
                    Key::new(item.clone())?;
                }
                Ok(Key(value))
            }
            _ => Ok(Key(value)),
        }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The key as text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Value::from(text))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

/// Lets a map be asked for a text without making a key.
trait KeyLike {
    fn text(&self) -> Option<&str>;
    fn key(&self) -> Option<&Key>;
}

struct KeyText<'t>(&'t str);

impl KeyLike for KeyText<'_> {
    fn text(&self) -> Option<&str> {
        Some(self.0)
    }
    fn key(&self) -> Option<&Key> {
        None
    }
}

impl KeyLike for Key {
    fn text(&self) -> Option<&str> {
        self.as_str()
    }
    fn key(&self) -> Option<&Key> {
        Some(self)
    }
}

impl Hash for dyn KeyLike + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match (self.key(), self.text()) {
            (Some(key), _) => key.hash(state),
            (None, Some(text)) => hash_text(text, state),
            (None, None) => {}
        }
    }
}

impl indexmap::Equivalent<Key> for dyn KeyLike + '_ {
    fn equivalent(&self, other: &Key) -> bool {
        match (self.key(), self.text()) {
            (Some(key), _) => key == other,
            (None, Some(text)) => other.as_str() == Some(text),
            (None, None) => false,
        }
    }
}

fn hash_text<H: Hasher>(text: &str, state: &mut H) {
    state.write_u8(3);
    text.hash(state);
}

fn hash<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::None => state.write_u8(0),
        // Numbers that are equal have equal hashes: 1 == 1.0 == True.
        Value::Bool(value) => hash_int(i64::from(*value), state),
        Value::Int(value) => hash_int(*value, state),
        Value::Big(value) => {
            state.write_u8(2);
            value.hash(state);
        }
        Value::Float(value) =>
        {
            #[allow(clippy::float_cmp)]
            if value.trunc() == *value && value.abs() < 9e18 {
                hash_int(*value as i64, state);
            } else if let Some(big) = (value.trunc() == *value)
                .then(|| BigInt::from_f64(*value))
                .flatten()
            {
                state.write_u8(2);
                big.hash(state);
            } else {
                state.write_u8(4);
                value.to_bits().hash(state);
            }
        }
        Value::Str(text) => hash_text(text, state),
        Value::Bytes(bytes) => {
            state.write_u8(5);
            bytes.hash(state);
        }
        Value::Tuple(items) => {
            state.write_u8(6);
            for item in items.iter() {
                hash(item, state);
            }
        }
        Value::Object(object) => {
            state.write_u8(7);
            (Arc::as_ptr(object).cast::<()>() as usize).hash(state);
        }
        // Refused by `Key::new`.
        Value::Undefined(_) | Value::List(_) | Value::Dict(_) => state.write_u8(8),
    }
}

fn hash_int<H: Hasher>(value: i64, state: &mut H) {
    state.write_u8(1);
    value.hash(state);
}

/// Something with a behaviour of its own: a loop, a macro, a function, a host's variables.
pub trait Object: Send + Sync {
    /// The name of its Python type.
    fn type_name(&self) -> &str;

    /// An attribute or item by name.
    fn get(&self, _name: &str) -> Option<Value> {
        None
    }

    /// An item by a key that is no text.
    fn item(&self, _key: &Value) -> Option<Value> {
        None
    }

    /// What comes of calling it.
    fn call(&self, _state: &mut State<'_, '_>, _arguments: Arguments) -> Result<Value> {
        Err(Error::failed(format!(
            "'{}' object is not callable",
            self.type_name()
        )))
    }

    /// Calls one of its methods; none if it has no such method.
    fn call_method(
        &self,
        _state: &mut State<'_, '_>,
        _name: &str,
        _arguments: &Arguments,
    ) -> Option<Result<Value>> {
        None
    }

    /// Whether it can be called.
    fn is_callable(&self) -> bool {
        false
    }

    /// Its items, if it is something one iterates over.
    fn items(&self) -> Option<Vec<Value>> {
        None
    }

    /// Whether its items are the keys of a mapping.
    fn is_mapping(&self) -> bool {
        false
    }

    /// How many items it has, if it can tell.
    fn count(&self) -> Option<usize> {
        self.items().map(|items| items.len())
    }

    /// Whether it counts as true.
    fn truth(&self) -> bool {
        self.count().is_none_or(|count| count > 0)
    }

    /// Whether it may be kept as the value of a variable; otherwise it lives within a template only.
    fn may_be_stored(&self) -> bool {
        false
    }

    /// What an operator (`+`, `-`, ...) makes of it and another value, which stands before it if `reflected`; none if it
    /// does not know that operator.
    fn operate(&self, _operator: &str, _other: &Value, _reflected: bool) -> Option<Result<Value>> {
        None
    }

    /// Its order beside another object, if there is one.
    fn order(&self, _other: &dyn Object) -> Option<Ordering> {
        None
    }

    /// Whether it is equal to another object.
    fn equals(&self, _other: &dyn Object) -> bool {
        false
    }

    /// How it is shown.
    fn repr(&self) -> String {
        format!("<{} object>", self.type_name())
    }

    /// How it is put out as text.
    fn text(&self) -> String {
        self.repr()
    }

    /// Why it cannot be used, if it cannot: a secret that nobody could open.
    fn refusal(&self) -> Option<Error> {
        None
    }

    /// How it is written as JSON: a text.
    fn stored(&self) -> String {
        self.text()
    }

    /// The object itself, for those who know its type.
    fn any(&self) -> &dyn std::any::Any;
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::repr(self))
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::string(self))
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::repr(&Value::List(self.clone())))
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::repr(&Value::Dict(self.clone())))
    }
}

impl Default for Dict {
    /// A new one with nothing in it.
    fn default() -> Self {
        Dict::new(IndexMap::new())
    }
}

impl Value {
    /// Something that is not there.
    pub fn undefined(message: impl Into<String>) -> Self {
        Value::Undefined(Arc::new(Undefined {
            message: message.into(),
            error: None,
            name: None,
            template: None,
            silent: false,
        }))
    }

    /// What an `if` without `else` leaves.
    pub(crate) fn left_out(message: String) -> Self {
        Value::Undefined(Arc::new(Undefined {
            message,
            error: None,
            name: None,
            template: None,
            silent: true,
        }))
    }

    /// Whether it is nothing between other texts.
    pub(crate) fn is_left_out(&self) -> bool {
        matches!(self, Value::Undefined(undefined) if undefined.silent)
    }

    /// Something that could not be computed.
    pub fn failed(error: Error) -> Self {
        if let Error::Undefined(undefined) = error {
            return Value::Undefined(undefined);
        }
        Value::Undefined(Arc::new(Undefined {
            message: error.to_string(),
            error: Some(Box::new(error)),
            name: None,
            template: None,
            silent: false,
        }))
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(List::new(items))
    }

    /// A tuple.
    pub fn tuple(items: Vec<Value>) -> Self {
        Value::Tuple(items.into())
    }

    /// An integer of any size, in its smallest form.
    pub fn integer(value: BigInt) -> Self {
        match value.to_i64() {
            Some(small) => Value::Int(small),
            None => Value::Big(Arc::new(value)),
        }
    }

    /// The name of its Python type.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Object(object) => object.type_name(),
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one that fits (a bool is one too).
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// Whether nothing is there.
    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// Whether it may be, or hold, a text that is a template.
    pub fn may_hold_templates(&self) -> bool {
        match self {
            Value::Str(text) => text.is_template(),
            Value::List(list) => list.may_hold_templates(),
            Value::Dict(dict) => dict.may_hold_templates(),
            Value::Tuple(items) => items.iter().any(Value::may_hold_templates),
            _ => false,
        }
    }

    /// The value itself, unless nothing is there.
    ///
    /// # Errors
    /// It is undefined.
    pub fn defined(self) -> Result<Value> {
        match self {
            Value::Undefined(undefined) => Err(undefined.as_error()),
            value => Ok(value),
        }
    }

    /// Whether it counts as true.
    ///
    /// # Errors
    /// It is undefined.
    pub fn truth(&self) -> Result<bool> {
        Ok(match self {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Big(value) => !value.is_zero(),
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Tuple(items) => !items.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
            Value::Object(object) => match object.refusal() {
                Some(error) => return Err(error),
                None => object.truth(),
            },
        })
    }

    /// Whether two values are equal by Python's rules. What is undefined equals nothing.
    pub fn equals(&self, other: &Value) -> bool {
        if let (Some(one), Some(two)) = (Number::of(self), Number::of(other)) {
            return one.compare(&two) == Some(Ordering::Equal);
        }
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Str(one), Value::Str(two)) => **one == **two,
            (Value::Bytes(one), Value::Bytes(two)) => one == two,
            (Value::List(one), Value::List(two)) => {
                one.is(two) || {
                    let (one, two) = (one.read(), two.read());
                    one.len() == two.len() && one.iter().zip(two.iter()).all(|(a, b)| a.equals(b))
                }
            }
            (Value::Tuple(one), Value::Tuple(two)) => {
                one.len() == two.len() && one.iter().zip(two.iter()).all(|(a, b)| a.equals(b))
            }
            (Value::Dict(one), Value::Dict(two)) => {
                one.is(two) || {
                    let (one, two) = (one.read(), two.read());
                    one.len() == two.len()
                        && one
                            .iter()
                            .all(|(key, a)| two.get(key).is_some_and(|b| a.equals(b)))
                }
            }
            (Value::Object(one), Value::Object(two)) => {
                Arc::ptr_eq(one, two) || one.equals(two.as_ref())
            }
            _ => false,
        }
    }

    /// The order of two values.
    ///
    /// # Errors
    /// They have none.
    pub fn order(&self, other: &Value, operator: &str) -> Result<Ordering> {
        let none = || {
            Error::failed(format!(
                "'{operator}' not supported between instances of '{}' and '{}'",
                self.type_name(),
                other.type_name()
            ))
        };
        for value in [self, other] {
            if let Value::Undefined(undefined) = value {
                return Err(undefined.as_error());
            }
        }
        if let (Some(one), Some(two)) = (Number::of(self), Number::of(other)) {
            // Nothing is greater or smaller than what is not a number; sorting must end all the same.
            return Ok(one.compare(&two).unwrap_or(Ordering::Greater));
        }
        let sequences = |one: &[Value], two: &[Value]| {
            for (a, b) in one.iter().zip(two) {
                if !a.equals(b) {
                    return a.order(b, operator);
                }
            }
            Ok(one.len().cmp(&two.len()))
        };
        match (self, other) {
            (Value::Str(one), Value::Str(two)) => Ok((**one).cmp(&**two)),
            (Value::Bytes(one), Value::Bytes(two)) => Ok(one.cmp(two)),
            (Value::List(one), Value::List(two)) => sequences(&one.read(), &two.read()),
            (Value::Tuple(one), Value::Tuple(two)) => sequences(one, two),
            (Value::Object(one), Value::Object(two)) => one.order(two.as_ref()).ok_or_else(none),
            _ => Err(none()),
        }
    }

    /// The entries of a mapping: of a dict, or of an object that is one. None of anything else.
    pub fn entries(&self) -> Option<Vec<(Key, Value)>> {
        match self {
            Value::Dict(dict) => Some(
                dict.read()
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ),
            Value::Object(object) if object.is_mapping() => Some(
                object
                    .items()?
                    .into_iter()
                    .filter_map(|key| {
                        let value = match &key {
                            Value::Str(name) => object.get(name),
                            key => object.item(key),
                        }?;
                        Some((Key::new(key).ok()?, value))
                    })
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The items one gets by iterating over it: of a dict its keys, of a text its characters.
    ///
    /// # Errors
    /// One cannot.
    pub fn iterate(&self) -> Result<Vec<Value>> {
        Ok(match self {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::List(list) => list.read().clone(),
            Value::Tuple(items) => items.to_vec(),
            Value::Dict(dict) => dict.read().keys().map(|key| key.0.clone()).collect(),
            Value::Str(text) => text
                .chars()
                .map(|c| Value::from(c.encode_utf8(&mut [0; 4]) as &str))
                .collect(),
            Value::Bytes(bytes) => bytes.iter().map(|b| Value::Int(i64::from(*b))).collect(),
            Value::Object(object) => match object.items() {
                Some(items) => items,
                None => return Err(not_iterable(self)),
            },
            _ => return Err(not_iterable(self)),
        })
    }

    /// How many items, characters or entries it has.
    ///
    /// # Errors
    /// It has no length.
    pub fn length(&self) -> Result<usize> {
        Ok(match self {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::Str(text) => text.chars().count(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len(),
            Value::Tuple(items) => items.len(),
            Value::Dict(dict) => dict.len(),
            Value::Object(object) if object.count().is_some() => object.count().unwrap_or(0),
            _ => {
                return Err(Error::failed(format!(
                    "object of type '{}' has no len()",
                    self.type_name()
                )));
            }
        })
    }

    /// The value as text: what `str()` gives.
    ///
    /// # Errors
    /// It is undefined.
    pub fn text(&self) -> Result<Str> {
        match self {
            Value::Str(text) => Ok(Str::new(Arc::clone(text.shared()))),
            Value::Undefined(undefined) => Err(undefined.as_error()),
            Value::Object(object) => match object.refusal() {
                Some(error) => Err(error),
                None => Ok(Str::new(object.text())),
            },
            value => Ok(Str::new(repr::text(value))),
        }
    }
}

impl Undefined {
    /// The error of using it.
    pub fn as_error(self: &Arc<Self>) -> Error {
        Error::Undefined(Arc::clone(self))
    }
}

fn not_iterable(value: &Value) -> Error {
    Error::failed(format!("'{}' object is not iterable", value.type_name()))
}

/// A number of any kind.
pub(crate) enum Number {
    Int(i64),
    Big(Arc<BigInt>),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(value) => Some(Number::Int(*value)),
            Value::Bool(value) => Some(Number::Int(i64::from(*value))),
            Value::Big(value) => Some(Number::Big(Arc::clone(value))),
            Value::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    pub(crate) fn float(&self) -> f64 {
        match self {
            Number::Int(value) => *value as f64,
            Number::Big(value) => value.to_f64().unwrap_or(f64::INFINITY),
            Number::Float(value) => *value,
        }
    }

    pub(crate) fn big(&self) -> Option<BigInt> {
        match self {
            Number::Int(value) => Some(BigInt::from(*value)),
            Number::Big(value) => Some((**value).clone()),
            Number::Float(_) => None,
        }
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Number::Float(_))
    }

    fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(one), Number::Int(two)) => Some(one.cmp(two)),
            (Number::Float(one), Number::Float(two)) => one.partial_cmp(two),
            (Number::Float(one), two) => compare_float(*one, &two.big()?),
            (one, Number::Float(two)) => compare_float(*two, &one.big()?).map(Ordering::reverse),
            (one, two) => Some(one.big()?.cmp(&two.big()?)),
        }
    }
}

fn compare_float(float: f64, integer: &BigInt) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.is_infinite() {
        return Some(if float > 0.0 {
            Ordering::Greater
        } else {
            Ordering::Less
        });
    }
    let whole = BigInt::from_f64(float.trunc())?;
    Some(
        whole
            .cmp(integer)
            .then_with(|| float.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal)),
    )
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(Str::new(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(Str::new(text))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Int(value as i64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::list(items)
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Self {
        Value::Dict(dict)
    }
}
