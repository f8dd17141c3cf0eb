//! The functions every template knows.

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::arguments::{Arguments, integer};
use crate::environment::{Environment, Takes};
use crate::error::{Error, Result};
use crate::eval::State;
use crate::value::{Dict, Object, Value};

/// A function written in Rust.
pub struct Native {
    name: &'static str,
    pub(crate) takes: Takes,
    #[allow(clippy::type_complexity)]
    run: Box<dyn Fn(&mut State<'_, '_>, &Arguments) -> Result<Value> + Send + Sync>,
}

impl Native {
    /// A function as a value.
    pub fn function(
        name: &'static str,
        takes: Takes,
        run: impl Fn(&mut State<'_, '_>, &Arguments) -> Result<Value> + Send + Sync + 'static,
    ) -> Value {
        Value::Object(Arc::new(Native {
            name,
            takes,
            run: Box::new(run),
        }))
    }
}

impl Object for Native {
    fn type_name(&self) -> &'static str {
        "function"
    }

    fn is_callable(&self) -> bool {
        true
    }

    fn call(&self, state: &mut State<'_, '_>, arguments: Arguments) -> Result<Value> {
        (self.run)(state, &arguments)
    }

    fn repr(&self) -> String {
        format!("<function {}>", self.name)
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The value that leaves its place out: an entry of a dict or list, or an argument of a task.
pub struct Omit;

impl Object for Omit {
    fn type_name(&self) -> &'static str {
        "Omit"
    }

    fn may_be_stored(&self) -> bool {
        true
    }

    fn repr(&self) -> String {
        "<<Omit>>".into()
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// `range`: numbers that are counted when one asks for them.
pub struct Range {
    start: i64,
    stop: i64,
    step: i64,
}

/// More numbers than this are not laid out in a row.
const LONGEST: u64 = 10_000_000;

impl Range {
    fn length(&self) -> u64 {
        let span = if self.step > 0 {
            i128::from(self.stop) - i128::from(self.start)
        } else {
            i128::from(self.start) - i128::from(self.stop)
        };
        let step = i128::from(self.step).abs();
        u64::try_from((span.max(0) + step - 1) / step).unwrap_or(u64::MAX)
    }
}

impl Range {
    /// The number at a place that there is: it fits, what comes on the way to it need not.
    fn at(&self, place: i64) -> Value {
        Value::Int(self.start.wrapping_add(place.wrapping_mul(self.step)))
    }
}

impl Object for Range {
    fn type_name(&self) -> &'static str {
        "range"
    }

    fn items(&self) -> Option<Vec<Value>> {
        let count = self.length();
        if count > LONGEST {
            return None;
        }
        Some((0..count as i64).map(|at| self.at(at)).collect())
    }

    fn item(&self, key: &Value) -> Option<Value> {
        let at = key.as_int()?;
        let count = i64::try_from(self.length()).ok()?;
        let at = if at < 0 { at + count } else { at };
        (0..count).contains(&at).then(|| self.at(at))
    }

    fn count(&self) -> Option<usize> {
        usize::try_from(self.length()).ok()
    }

    fn repr(&self) -> String {
        if self.step == 1 {
            format!("range({}, {})", self.start, self.stop)
        } else {
            format!("range({}, {}, {})", self.start, self.stop, self.step)
        }
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A place for values that inner scopes may set.
pub(crate) struct Namespace(Mutex<IndexMap<Arc<str>, Value>>);

impl Namespace {
    pub(crate) fn set(&self, name: &Arc<str>, value: Value) {
        self.0.lock().insert(Arc::clone(name), value);
    }
}

impl Object for Namespace {
    fn type_name(&self) -> &'static str {
        "Namespace"
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.0.lock().get(name).cloned()
    }

    fn truth(&self) -> bool {
        true
    }

    fn repr(&self) -> String {
        let entries: Dict = self
            .0
            .lock()
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        format!("<Namespace {}>", crate::repr::repr(&Value::Dict(entries)))
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

struct Cycler {
    items: Vec<Value>,
    at: Mutex<usize>,
}

impl Object for Cycler {
    fn type_name(&self) -> &'static str {
        "Cycler"
    }

    fn get(&self, name: &str) -> Option<Value> {
        (name == "current").then(|| self.items[*self.at.lock()].clone())
    }

    fn call_method(
        &self,
        _state: &mut State<'_, '_>,
        name: &str,
        _arguments: &Arguments,
    ) -> Option<Result<Value>> {
        let mut at = self.at.lock();
        match name {
            "next" => {
                let item = self.items[*at].clone();
                *at = (*at + 1) % self.items.len();
                Some(Ok(item))
            }
            "reset" => {
                *at = 0;
                Some(Ok(Value::None))
            }
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

struct Joiner {
    separator: Value,
    used: Mutex<bool>,
}

impl Object for Joiner {
    fn type_name(&self) -> &'static str {
        "Joiner"
    }

    fn is_callable(&self) -> bool {
        true
    }

    fn call(&self, _state: &mut State<'_, '_>, _arguments: Arguments) -> Result<Value> {
        let mut used = self.used.lock();
        Ok(if std::mem::replace(&mut *used, true) {
            self.separator.clone()
        } else {
            Value::from("")
        })
    }

    fn truth(&self) -> bool {
        true
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

pub(crate) fn add(environment: &mut Environment) {
    let mut function =
        |name: &'static str,
         takes: Takes,
         run: fn(&mut State<'_, '_>, &Arguments) -> Result<Value>| {
            environment.add_global(name, Native::function(name, takes, run));
        };
    function("range", Takes::Defined, |_, arguments| {
        let [one, two, step] = arguments.bind("range", ["start", "stop", "step"])?;
        let one = integer(
            &one.ok_or_else(|| Error::failed("range expected at least 1 argument, got 0"))?,
        )?;
        let (start, stop) = match two {
            None => (0, one),
            Some(two) => (one, integer(&two)?),
        };
        let step = step.map_or(Ok(1), |step| integer(&step))?;
        if step == 0 {
            return Err(Error::failed("range() arg 3 must not be zero"));
        }
        Ok(Value::Object(Arc::new(Range { start, stop, step })))
    });
    function("dict", Takes::Anything, |_, arguments| {
        Ok(Value::Dict(Dict::new(crate::methods::entries(arguments)?)))
    });
    function("namespace", Takes::Anything, |_, arguments| {
        let entries = crate::methods::entries(arguments)?
            .into_iter()
            .filter_map(|(key, value)| Some((Arc::from(key.as_str()?), value)))
            .collect();
        Ok(Value::Object(Arc::new(Namespace(Mutex::new(entries)))))
    });
    function("cycler", Takes::Defined, |_, arguments| {
        if arguments.positional.is_empty() {
            return Err(Error::failed("at least one item has to be provided"));
        }
        Ok(Value::Object(Arc::new(Cycler {
            items: arguments.positional.clone(),
            at: Mutex::new(0),
        })))
    });
    function("joiner", Takes::Defined, |_, arguments| {
        let [separator] = arguments.bind("joiner", ["sep"])?;
        Ok(Value::Object(Arc::new(Joiner {
            separator: separator.unwrap_or_else(|| Value::from(", ")),
            used: Mutex::new(false),
        })))
    });
    function("lipsum", Takes::Defined, |_, _| {
        Ok(Value::from(
            "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et \
             dolore magna aliqua.",
        ))
    });
    environment.add_global("omit", Value::Object(Arc::new(Omit)));
}
