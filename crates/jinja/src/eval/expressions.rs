//! Expressions.

use std::sync::Arc;

use super::{State, looked_up_in};
use crate::ast::{Binary, Comparison, Expr, Kind};
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
    pub(super) fn constant(&mut self, text: &Str) -> Value {
        self.environment.constant_used(text, self.current.as_ref());
        let text = Value::Str(Str::template(Arc::clone(text.shared())));
        self.access(text)
    }
}
