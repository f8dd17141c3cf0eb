//! What expressions call: functions, methods, filters and tests, with their arguments.

use std::sync::Arc;

use super::objects::{Loop, MacroValue};
use super::{State, looked_up_in};
use crate::arguments::Arguments;
use crate::ast::{Call, Expr, Kind};
use crate::environment::Takes;
use crate::error::{Error, Result};
use crate::value::{Dict, Key, Value};
use crate::{methods, operators};

impl State<'_, '_> {
    /// The arguments of a lookup: texts that look like templates are taken for such.
    pub(super) fn lookup_arguments(&mut self, call: &Call) -> Result<Arguments> {
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
