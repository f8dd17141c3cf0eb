//! Expressions, and what they call.

use std::sync::Arc;

use super::objects::{Loop, MacroValue};
use super::{State, looked_up_in};
use crate::arguments::Arguments;
use crate::ast::{Binary, Call, Comparison, Expr, Kind};
use crate::environment::Takes;
use crate::error::{Error, Result};
use crate::value::{Dict, Key, Str, Value};
use crate::{methods, operators};

/// The class of lists and dicts of variables, as ansible-core names it in messages, but for its end.
const LAZY: &str = "ansible._internal._templating._lazy_containers._AnsibleLazyTemplate";

impl State<'_, '_> {
    /// Evaluates an expression.
    pub(crate) fn evaluate(&mut self, expr: &Expr) -> Result<Value> {
        self.within_stack()?;
        match &*expr.kind {
            Kind::Const(value) => {
                if self.constants
                    && let Value::Str(text) = value
                    && self.environment.may_be_template(text)
                {
                    return Ok(self.constant(text));
                }
                Ok(value.clone())
            }
            Kind::Name(name) => Ok(self.name(name)),
            Kind::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.evaluate(item)?);
                }
                Ok(Value::list(values))
            }
            Kind::Tuple(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.evaluate(item)?);
                }
                Ok(Value::tuple(values))
            }
            Kind::Dict(entries) => {
                let mut made = indexmap::IndexMap::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = Key::new(self.evaluate(key)?)?;
                    made.insert(key, self.evaluate(value)?);
                }
                Ok(Value::Dict(Dict::new(made)))
            }
            Kind::Attribute(value, name) => {
                let value = self.evaluate(value)?;
                Ok(self.attribute(&value, name))
            }
            Kind::Item(value, key) => {
                let value = self.evaluate(value)?;
                let key = self.evaluate(key)?;
                self.item(&value, &key)
            }
            Kind::Slice(value, slice) => {
                let value = self.evaluate(value)?;
                let mut parts = [None, None, None];
                for (part, expr) in parts.iter_mut().zip(slice) {
                    if let Some(expr) = expr {
                        *part = match self.evaluate(expr)? {
                            Value::None => None,
                            value => Some(crate::arguments::integer(&value)?),
                        };
                    }
                }
                operators::slice(&value, parts)
            }
            Kind::Not(value) => Ok(Value::Bool(!self.evaluate(value)?.truth()?)),
            Kind::Negative(value) => operators::negative(&self.evaluate(value)?),
            Kind::Positive(value) => operators::positive(&self.evaluate(value)?),
            Kind::Binary(operator, left, right) => {
                let left = self.evaluate(left)?;
                let right = self.evaluate(right)?;
                self.binary(*operator, left, right)
            }
            Kind::And(left, right) => {
                let left = self.evaluate(left)?;
                if left.truth()? {
                    self.evaluate(right)
                } else {
                    Ok(left)
                }
            }
            Kind::Or(left, right) => {
                let left = self.evaluate(left)?;
                if left.truth()? {
                    Ok(left)
                } else {
                    self.evaluate(right)
                }
            }
            Kind::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    let value = self.evaluate(part)?;
                    if value.is_left_out() {
                        continue;
                    }
                    let value = self.ready(value)?;
                    text.push_str(&value.text()?);
                    operators::fits(text.len())?;
                }
                Ok(Value::from(text))
            }
            Kind::Compare(first, rest) => {
                let mut left = self.evaluate(first)?;
                for (comparison, right) in rest {
                    let right = self.evaluate(right)?;
                    if !self.compare(*comparison, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Kind::Condition {
                test,
                then,
                otherwise,
            } => {
                if self.evaluate(test)?.truth()? {
                    self.evaluate(then)
                } else if let Some(otherwise) = otherwise {
                    self.evaluate(otherwise)
                } else {
                    Ok(Value::left_out(format!(
                        "the inline if-expression on line {} evaluated to false and no else section was defined.",
                        expr.line
                    )))
                }
            }
            Kind::Call(function, call) => {
                // Methods of values are no values themselves.
                if let Kind::Attribute(value, name) = &*function.kind {
                    let value = self.evaluate(value)?;
                    let arguments = self.arguments(call)?;
                    return self.call_method(&value, name, arguments);
                }
                let looked_up = matches!(&*function.kind, Kind::Name(name)
                    if matches!(&**name, "lookup" | "query" | "q"));
                let function = self.evaluate(function)?;
                let arguments = if looked_up {
                    self.lookup_arguments(call)?
                } else {
                    self.arguments(call)?
                };
                self.call(&function, arguments)
            }
            Kind::Filter(..) => self.apply_filter(expr, None),
            Kind::Test { value, name, call } => {
                let value = self.evaluate(value)?;
                let arguments = self.arguments(call)?;
                self.test(name, value, &arguments)
            }
        }
    }

    /// The value with templates in it rendered, for operations that look into it.
    pub fn ready(&mut self, value: Value) -> Result<Value> {
        match &value {
            Value::Undefined(undefined) => Err(undefined.as_error()),
            Value::Tuple(items) if items.is_deep() => Err(Error::Recursion),
            Value::Tuple(items) if value.may_hold_templates() => {
                let mut ready = Vec::with_capacity(items.len());
                for item in items.iter() {
                    ready.push(self.ready(item.clone())?);
                }
                Ok(Value::tuple(ready))
            }
            Value::List(_) | Value::Dict(_) | Value::Str(_) if value.may_hold_templates() => {
                self.finish_inner(&value, 0)
            }
            _ => Ok(value),
        }
    }

    pub(super) fn binary(&mut self, operator: Binary, left: Value, right: Value) -> Result<Value> {
        let left = left.defined()?;
        let right = right.defined()?;
        if let Value::Object(object) = &left
            && let Some(done) = object.operate(operators::sign(operator), &right, false)
        {
            return done;
        }
        if let Value::Object(object) = &right
            && let Some(done) = object.operate(operators::sign(operator), &left, true)
        {
            return done;
        }
        if operator == Binary::Modulo && matches!(left, Value::Str(_) | Value::Bytes(_)) {
            let right = self.ready(right)?;
            return operators::binary(operator, &left, &right);
        }
        operators::binary(operator, &left, &right)
    }

    /// Compares two values: of what stands in them only what takes part in the answer is rendered.
    pub(crate) fn compare(
        &mut self,
        comparison: Comparison,
        left: &Value,
        right: &Value,
    ) -> Result<bool> {
        let (left, right) = (left.clone().defined()?, right.clone().defined()?);
        if !left.may_hold_templates() && !right.may_hold_templates() {
            return operators::compare(comparison, &left, &right);
        }
        // What does not take part in the answer is not rendered.
        match (comparison, &right) {
            (Comparison::Equal, _) => self.same(left, right, 0),
            (Comparison::NotEqual, _) => self.same(left, right, 0).map(|same| !same),
            (Comparison::In, Value::List(_) | Value::Tuple(_)) => self.holds(&right, &left),
            (Comparison::NotIn, Value::List(_) | Value::Tuple(_)) => {
                self.holds(&right, &left).map(|holds| !holds)
            }
            (Comparison::In | Comparison::NotIn, Value::Dict(_)) => {
                let left = self.ready(left)?;
                operators::compare(comparison, &left, &right)
            }
            _ => {
                let (left, right) = (self.ready(left)?, self.ready(right)?);
                operators::compare(comparison, &left, &right)
            }
        }
    }

    /// Whether two values are equal: templates in them are rendered as far as that needs it.
    fn same(&mut self, left: Value, right: Value, depth: u32) -> Result<bool> {
        if depth > super::DEEPEST {
            return Err(Error::Recursion);
        }
        let identical = match (&left, &right) {
            (Value::List(one), Value::List(two)) => one.is(two),
            (Value::Dict(one), Value::Dict(two)) => one.is(two),
            _ => false,
        };
        if identical {
            return Ok(true);
        }
        let left = self.access(left).defined()?;
        let right = self.access(right).defined()?;
        if !left.may_hold_templates() && !right.may_hold_templates() {
            return Ok(left.equals(&right));
        }
        let pairs: Vec<(Value, Value)> = match (&left, &right) {
            (Value::List(one), Value::List(two)) => {
                let (one, two) = (one.read(), two.read());
                if one.len() != two.len() {
                    return Ok(false);
                }
                one.iter().cloned().zip(two.iter().cloned()).collect()
            }
            (Value::Tuple(one), Value::Tuple(two)) => {
                if one.len() != two.len() {
                    return Ok(false);
                }
                one.iter().cloned().zip(two.iter().cloned()).collect()
            }
            (Value::Dict(one), Value::Dict(two)) => {
                let (one, two) = (one.read(), two.read());
                let mut pairs = Vec::with_capacity(one.len());
                for (key, value) in one.iter() {
                    match two.get(key) {
                        Some(other) if one.len() == two.len() => {
                            pairs.push((value.clone(), other.clone()));
                        }
                        _ => return Ok(false),
                    }
                }
                if one.len() != two.len() {
                    return Ok(false);
                }
                pairs
            }
            _ => return Ok(left.equals(&right)),
        };
        for (one, two) in pairs {
            if !self.same(one, two, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a list or tuple holds a value: its items are rendered until it is found.
    fn holds(&mut self, items: &Value, wanted: &Value) -> Result<bool> {
        for item in items.iterate()? {
            if self.same(item, wanted.clone(), 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An attribute of a value: of a dict an entry.
    pub fn attribute(&mut self, value: &Value, name: &str) -> Value {
        let found = match value {
            Value::Undefined(_) => return value.clone(),
            Value::Dict(dict) => {
                // A method hides an entry of its name, as Python's attributes do.
                if methods::has(value, name) {
                    return methods::bound(value, name);
                }
                dict.get(name)
            }
            Value::Object(object) => looked_up_in(self.current.as_ref(), || object.get(name)),
            _ if methods::has(value, name) => return methods::bound(value, name),
            _ => None,
        };
        match found {
            Some(found) => self.access(found),
            None => self.missing(
                format!(
                    "object of type {} has no attribute {}",
                    crate::repr::string(value.type_name()),
                    crate::repr::string(name)
                ),
                name,
            ),
        }
    }

    /// An item of a value; also an attribute.
    ///
    /// # Errors
    /// The key is undefined, or can be none.
    pub fn item(&mut self, value: &Value, key: &Value) -> Result<Value> {
        if value.is_undefined() {
            return Ok(value.clone());
        }
        if key.is_undefined() {
            return Ok(key.clone());
        }
        let found = looked_up_in(self.current.as_ref(), || operators::item(value, key));
        if let Some(found) = found {
            return Ok(self.access(found));
        }
        if let Value::Str(name) = key {
            if let Value::Object(object) = value
                && let Some(found) = object.get(name)
            {
                return Ok(self.access(found));
            }
            if methods::has(value, name) {
                return Ok(methods::bound(value, name));
            }
        }
        // Ansible-core leaves keys that count as false to Jinja, which names the class that lists and dicts are kept in.
        let jinjas = !key.truth()? && !matches!(key, Value::Str(_));
        let message = if jinjas {
            format!(
                "{} has no element {}",
                match value {
                    Value::None => "None".to_owned(),
                    Value::List(_) => format!("{LAZY}List object"),
                    Value::Dict(_) => format!("{LAZY}Dict object"),
                    value => format!("{} object", value.type_name()),
                },
                crate::repr::repr(key)
            )
        } else {
            format!(
                "object of type {} has no attribute {}",
                crate::repr::string(value.type_name()),
                crate::repr::repr(key)
            )
        };
        Ok(self.missing(message, &crate::repr::text(key)))
    }

    /// A text within an expression, taken for a template.
    fn constant(&mut self, text: &Str) -> Value {
        self.environment.constant_used(text, self.current.as_ref());
        let text = Value::Str(Str::template(Arc::clone(text.shared())));
        self.access(text)
    }

    /// The arguments of a lookup: texts that look like templates are taken for such.
    fn lookup_arguments(&mut self, call: &Call) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        for (place, expr) in call.positional.iter().enumerate() {
            let value = match &*expr.kind {
                // The name of the lookup is no template.
                Kind::Const(name) if place == 0 => name.clone(),
                _ => self.lookup_term(expr)?,
            };
            arguments.positional.push(value);
        }
        self.further_arguments(call, arguments)
    }

    fn lookup_term(&mut self, expr: &Expr) -> Result<Value> {
        match &*expr.kind {
            Kind::Const(Value::Str(text)) if self.environment.may_be_template(text) => {
                Ok(self.constant(text))
            }
            Kind::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.lookup_term(item)?);
                }
                Ok(Value::list(values))
            }
            Kind::Dict(entries) => {
                let mut made = indexmap::IndexMap::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = Key::new(self.evaluate(key)?)?;
                    made.insert(key, self.lookup_term(value)?);
                }
                Ok(Value::Dict(Dict::new(made)))
            }
            _ => self.evaluate(expr),
        }
    }

    pub(super) fn arguments(&mut self, call: &Call) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        for expr in &call.positional {
            arguments.positional.push(self.evaluate(expr)?);
        }
        self.further_arguments(call, arguments)
    }

    fn further_arguments(&mut self, call: &Call, mut arguments: Arguments) -> Result<Arguments> {
        for (name, expr) in &call.named {
            arguments
                .named
                .push((Arc::clone(name), self.evaluate(expr)?));
        }
        if let Some(star) = &call.star {
            let items = self.evaluate(star)?.iterate()?;
            for item in items {
                let item = self.access(item);
                arguments.positional.push(item);
            }
        }
        if let Some(star) = &call.double_star {
            match self.evaluate(star)? {
                Value::Dict(dict) => {
                    let entries: Vec<(Key, Value)> = dict
                        .read()
                        .iter()
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect();
                    for (key, value) in entries {
                        let Some(name) = key.as_str() else {
                            return Err(Error::failed("keywords must be strings"));
                        };
                        let value = self.access(value);
                        arguments.named.push((name.into(), value));
                    }
                }
                other => {
                    return Err(Error::failed(format!(
                        "argument after ** must be a mapping, not {}",
                        other.type_name()
                    )));
                }
            }
        }
        Ok(arguments)
    }

    /// Makes arguments ready for a function that looks into them; the first that is undefined instead.
    pub(super) fn ready_arguments(&mut self, arguments: &mut Arguments) -> Result<Option<Value>> {
        if let Some(undefined) = arguments.first_undefined() {
            return Ok(Some(undefined.clone()));
        }
        for value in arguments
            .positional
            .iter_mut()
            .chain(arguments.named.iter_mut().map(|(_, value)| value))
        {
            if value.may_hold_templates() {
                *value = self.ready(value.clone())?;
            }
        }
        Ok(None)
    }

    /// Calls a function.
    ///
    /// # Errors
    /// It is none, or its template went wrong. What a function itself refuses comes as something undefined.
    pub fn call(&mut self, function: &Value, mut arguments: Arguments) -> Result<Value> {
        match function {
            Value::Undefined(undefined) => Err(undefined.as_error()),
            Value::Object(object) if object.is_callable() => {
                let is_macro = object.any().is::<MacroValue>() || object.any().is::<Loop>();
                if !is_macro
                    && object
                        .any()
                        .downcast_ref::<crate::functions::Native>()
                        .is_none_or(|native| native.takes == Takes::Defined)
                    && let Some(undefined) = self.ready_arguments(&mut arguments)?
                {
                    return Ok(undefined);
                }
                match object.call(self, arguments) {
                    Err(Error::Recursion) => Err(Error::Recursion),
                    Err(error) => Ok(Value::failed(error)),
                    done => done,
                }
            }
            other => Err(Error::failed(format!(
                "'{}' object is not callable",
                other.type_name()
            ))),
        }
    }

    /// Calls a method of a value.
    ///
    /// # Errors
    /// It has none of this name, or that refuses.
    pub fn method(&mut self, value: &Value, name: &str, arguments: Arguments) -> Result<Value> {
        self.call_method(value, name, arguments)?.defined()
    }

    pub(super) fn call_method(
        &mut self,
        value: &Value,
        name: &str,
        mut arguments: Arguments,
    ) -> Result<Value> {
        if let Value::Undefined(undefined) = value {
            return Err(undefined.as_error());
        }
        if let Value::Object(object) = value
            && let Some(done) = object.call_method(self, name, &arguments)
        {
            return match done {
                Err(Error::Recursion) => Err(Error::Recursion),
                Err(error) => Ok(Value::failed(error)),
                done => done,
            };
        }
        // A mapping of another kind has the methods of a dict.
        if let Value::Object(object) = value
            && object.is_mapping()
            && methods::is_of_dict(name)
        {
            if let Some(undefined) = self.ready_arguments(&mut arguments)? {
                return Ok(undefined);
            }
            if name == "get"
                && let Some(key) = arguments.positional.first()
            {
                let found = looked_up_in(self.current.as_ref(), || operators::item(value, key))
                    .or_else(|| arguments.positional.get(1).cloned())
                    .unwrap_or_default();
                return Ok(self.access(found));
            }
            let dict = Dict::new(value.entries().unwrap_or_default().into_iter().collect());
            return Ok(
                methods::call(&Value::Dict(dict), name, &arguments).unwrap_or_else(Value::failed)
            );
        }
        if methods::has(value, name) {
            if let Some(undefined) = self.ready_arguments(&mut arguments)? {
                return Ok(undefined);
            }
            let rendered;
            let value = match value {
                // These look at every entry.
                Value::Dict(_) if matches!(name, "values" | "items") => {
                    match self.with_items(value.clone()) {
                        Ok(ready) => rendered = ready,
                        Err(error) => return Ok(Value::failed(error)),
                    }
                    &rendered
                }
                value => value,
            };
            // What a method gives back may be a variable's own template.
            return match methods::call(value, name, &arguments) {
                Ok(found) => Ok(self.access(found)),
                Err(error) => Ok(Value::failed(error)),
            };
        }
        let function = self.attribute(value, name);
        self.call(&function, arguments)
    }

    pub(super) fn apply_filter(&mut self, expr: &Expr, input: Option<Value>) -> Result<Value> {
        let Kind::Filter(value, name, call) = &*expr.kind else {
            return Err(Error::failed("expected filter"));
        };
        let value = match value {
            Some(inner) => match (&*inner.kind, input) {
                (Kind::Filter(..), input @ Some(_)) => self.apply_filter(inner, input)?,
                _ => self.evaluate(inner)?,
            },
            None => input.unwrap_or(Value::None),
        };
        let arguments = self.arguments(call)?;
        self.filter(name, value, &arguments)
    }

    /// Applies a filter by its name.
    ///
    /// # Errors
    /// There is no such filter. What the filter refuses comes as something undefined.
    pub fn filter(&mut self, name: &str, value: Value, arguments: &Arguments) -> Result<Value> {
        let environment = self.environment;
        let Some(known) = environment.known_filter(name) else {
            return Err(Error::failed(format!("No filter named '{name}' found.")));
        };
        let (value, arguments) = match self.prepared(known.takes, value, arguments)? {
            Ok(prepared) => prepared,
            Err(undefined) => return Ok(undefined),
        };
        match (known.run)(self, value, &arguments) {
            Err(Error::Recursion) => Err(Error::Recursion),
            Err(error) => {
                Ok(self.plugin_failed("filter", &environment.full_name("filter", name), error))
            }
            done => done,
        }
    }

    /// Asks a test by its name. Gives true, false, or something undefined.
    ///
    /// # Errors
    /// There is no such test.
    pub fn test(&mut self, name: &str, value: Value, arguments: &Arguments) -> Result<Value> {
        let environment = self.environment;
        let Some(known) = environment.known_test(name) else {
            return Err(Error::failed(format!("No test named '{name}' found.")));
        };
        let (value, arguments) = match self.prepared(known.takes, value, arguments)? {
            Ok(prepared) => prepared,
            Err(undefined) => return Ok(undefined),
        };
        match (known.run)(self, value, &arguments) {
            Ok(answer) => Ok(Value::Bool(answer)),
            Err(Error::Recursion) => Err(Error::Recursion),
            Err(error) => {
                Ok(self.plugin_failed("test", &environment.full_name("test", name), error))
            }
        }
    }

    /// Value and arguments as a filter or test wants them; what is undefined instead, if that is what comes of it.
    fn prepared(
        &mut self,
        takes: Takes,
        value: Value,
        arguments: &Arguments,
    ) -> Result<Result<(Value, Arguments), Value>> {
        let mut arguments = arguments.clone();
        if takes == Takes::Anything {
            return Ok(Ok((value, arguments)));
        }
        if value.is_undefined() {
            return Ok(Err(value));
        }
        if takes == Takes::Lazily {
            return Ok(match arguments.first_undefined() {
                Some(undefined) => Err(undefined.clone()),
                None => Ok((value, arguments)),
            });
        }
        if takes == Takes::Items {
            if let Some(undefined) = arguments.first_undefined() {
                return Ok(Err(undefined.clone()));
            }
            let given = arguments.positional.iter_mut();
            for value in given.chain(arguments.named.iter_mut().map(|(_, value)| value)) {
                match self.with_items(value.clone()) {
                    Ok(ready) => *value = ready,
                    Err(error) => return Ok(Err(Value::failed(error))),
                }
            }
        } else if let Some(undefined) = self.ready_arguments(&mut arguments)? {
            return Ok(Err(undefined));
        }
        if let Value::Object(object) = &value
            && let Some(error) = object.refusal()
        {
            return Ok(Err(Value::failed(error)));
        }
        if !value.may_hold_templates() {
            return Ok(Ok((value, arguments)));
        }
        let ready = if takes == Takes::Items {
            self.with_items(value)
        } else {
            self.ready(value)
        };
        Ok(match ready {
            Ok(value) => Ok((value, arguments)),
            Err(error) => Err(Value::failed(error)),
        })
    }

    /// The value with its items rendered, and what stands within them left as it is.
    fn with_items(&mut self, value: Value) -> Result<Value> {
        if !value.may_hold_templates() {
            return Ok(value);
        }
        match &value {
            Value::List(_) => Ok(Value::list(self.items(&value)?)),
            Value::Tuple(_) => Ok(Value::tuple(self.items(&value)?)),
            Value::Dict(dict) => {
                let entries = dict.read().clone();
                let mut rendered = indexmap::IndexMap::with_capacity(entries.len());
                for (key, value) in entries {
                    rendered.insert(key, self.access(value).defined()?);
                }
                Ok(Value::Dict(Dict::new(rendered)))
            }
            _ => self.ready(value),
        }
    }

    /// The items of a value, rendered as far as they are templates themselves.
    ///
    /// # Errors
    /// It has none, or one of them is undefined.
    pub(crate) fn items(&mut self, value: &Value) -> Result<Vec<Value>> {
        let items = value.iterate()?;
        items
            .into_iter()
            .map(|item| self.access(item).defined())
            .collect()
    }
}
