//! What a template meets beside plain values: its loops, macros, imported templates and blocks.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::State;
use crate::arguments::Arguments;
use crate::ast::{Body, Expr, Macro, Target};
use crate::error::{Error, Result};
use crate::value::{Object, Value};

pub(super) struct LoopParts {
    pub(super) target: Target,
    pub(super) filter: Option<Expr>,
    pub(super) body: Body,
    pub(super) otherwise: Body,
    pub(super) recursive: bool,
}

/// What a template knows about the loop it is in.
pub(super) struct Loop {
    pub(super) parts: Arc<LoopParts>,
    pub(super) items: Vec<Value>,
    pub(super) at: Mutex<usize>,
    pub(super) depth: usize,
    pub(super) changed: Mutex<Option<Vec<Value>>>,
}

impl Object for Loop {
    fn type_name(&self) -> &'static str {
        "LoopContext"
    }

    fn get(&self, name: &str) -> Option<Value> {
        let at = *self.at.lock();
        let length = self.items.len();
        Some(match name {
            "index" => Value::from(at + 1),
            "index0" => Value::from(at),
            "revindex" => Value::from(length - at),
            "revindex0" => Value::from(length - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == length),
            "length" => Value::from(length),
            "depth" => Value::from(self.depth),
            "depth0" => Value::from(self.depth - 1),
            "previtem" => match at.checked_sub(1) {
                Some(before) => self.items[before].clone(),
                None => Value::undefined("there is no previous item"),
            },
            "nextitem" => match self.items.get(at + 1) {
                Some(next) => next.clone(),
                None => Value::undefined("there is no next item"),
            },
            _ => return None,
        })
    }

    fn is_callable(&self) -> bool {
        true
    }

    fn call(&self, state: &mut State<'_, '_>, arguments: Arguments) -> Result<Value> {
        if !self.parts.recursive {
            return Err(Error::failed(
                "The loop must have the 'recursive' marker to be called recursively.",
            ));
        }
        let [items] = arguments.bind("loop", ["iterable"])?;
        let items = items.unwrap_or(Value::None);
        let parts = Arc::clone(&self.parts);
        let depth = self.depth + 1;
        state.capture(|state| state.run_loop(&parts, &items, depth))
    }

    fn call_method(
        &self,
        _state: &mut State<'_, '_>,
        name: &str,
        arguments: &Arguments,
    ) -> Option<Result<Value>> {
        match name {
            "cycle" => Some(if arguments.positional.is_empty() {
                Err(Error::failed("no items for cycling given"))
            } else {
                let at = *self.at.lock() % arguments.positional.len();
                Ok(arguments.positional[at].clone())
            }),
            "changed" => {
                let mut last = self.changed.lock();
                let same = last.as_ref().is_some_and(|last| {
                    last.len() == arguments.positional.len()
                        && last
                            .iter()
                            .zip(&arguments.positional)
                            .all(|(one, two)| one.equals(two))
                });
                *last = Some(arguments.positional.clone());
                Some(Ok(Value::Bool(!same)))
            }
            _ => None,
        }
    }

    fn count(&self) -> Option<usize> {
        Some(self.items.len())
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

pub(super) struct MacroValue {
    pub(super) parts: Arc<Macro>,
    pub(super) seen: Vec<(Arc<str>, Value)>,
}

impl Object for MacroValue {
    fn type_name(&self) -> &'static str {
        "Macro"
    }

    fn get(&self, name: &str) -> Option<Value> {
        Some(match name {
            "name" => Value::from(&*self.parts.name),
            "arguments" => Value::tuple(
                self.parts
                    .parameters
                    .iter()
                    .map(|(name, _)| Value::from(&**name))
                    .collect(),
            ),
            "catch_kwargs" => Value::Bool(self.parts.takes_kwargs),
            "catch_varargs" => Value::Bool(self.parts.takes_varargs),
            "caller" => Value::Bool(self.parts.takes_caller),
            _ => return None,
        })
    }

    fn is_callable(&self) -> bool {
        true
    }

    fn call(&self, state: &mut State<'_, '_>, arguments: Arguments) -> Result<Value> {
        state.call_macro(self, arguments)
    }

    fn repr(&self) -> String {
        format!("<Macro {}>", crate::repr::string(&self.parts.name))
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// An imported template.
pub(super) struct Module {
    pub(super) names: Vec<(Arc<str>, Value)>,
    pub(super) text: Value,
}

impl Object for Module {
    fn type_name(&self) -> &'static str {
        "TemplateModule"
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.names
            .iter()
            .rev()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value.clone())
    }

    fn text(&self) -> String {
        crate::repr::text(&self.text)
    }

    /// Something undefined was put out by it.
    fn refusal(&self) -> Option<Error> {
        match &self.text {
            Value::Undefined(undefined) => Some(undefined.as_error()),
            _ => None,
        }
    }

    fn truth(&self) -> bool {
        true
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// `self`: the blocks of a template.
pub(super) struct SelfBlocks(pub(super) HashMap<Arc<str>, Vec<Body>>);

impl Object for SelfBlocks {
    fn type_name(&self) -> &'static str {
        "TemplateReference"
    }

    fn get(&self, name: &str) -> Option<Value> {
        let (name, bodies) = self.0.get_key_value(name)?;
        Some(Value::Object(Arc::new(BlockCall {
            name: Arc::clone(name),
            level: 0,
            body: Arc::clone(bodies.first()?),
        })))
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

pub(super) struct BlockCall {
    pub(super) name: Arc<str>,
    pub(super) level: usize,
    pub(super) body: Body,
}

impl Object for BlockCall {
    fn type_name(&self) -> &'static str {
        "BlockReference"
    }

    fn is_callable(&self) -> bool {
        true
    }

    fn call(&self, state: &mut State<'_, '_>, _arguments: Arguments) -> Result<Value> {
        state.capture(|state| state.run_block(&self.name, self.level, &self.body))
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}
