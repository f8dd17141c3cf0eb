//! Keywords rendered and converted to their types, with the messages of ansible-core where they cannot be.

use std::sync::Arc;

use consort_jinja::{Value, is_omit, repr};

use crate::language::{Directive, Task};
use crate::source::Located;
use crate::template::Templar;
use crate::variables::TaskVariables;

/// Renders keywords.
#[derive(Clone, Copy)]
pub(super) struct Keywords<'a> {
    pub(super) templar: &'a Templar,
    pub(super) variables: &'a TaskVariables,
    /// The task they are of, if they are of one: what it omits it inherits.
    pub(super) task: Option<&'a Task>,
}

type Result<T> = std::result::Result<T, Located>;

impl Keywords<'_> {
    /// The value of a keyword, rendered; none where it is omitted, or not there.
    pub(super) fn value(self, name: &str, written: Option<&Value>) -> Result<Option<Value>> {
        let Some(written) = written else {
            return Ok(None);
        };
        let render = |written: &Value| {
            self.templar
                .render(written, self.variables)
                .map_err(|error| in_keyword(name, written, Located::from(&error)))
        };
        let value = render(written)?;
        if !is_omit(&value) {
            return Ok(Some(value));
        }
        let beyond = self
            .task
            .zip(Directive::of(name))
            .and_then(|(task, directive)| task.parent.inherited(directive));
        match beyond {
            Some(written) => Ok(Some(render(&written)?).filter(|value| !is_omit(value))),
            None => Ok(None),
        }
    }

    /// A boolean.
    pub(super) fn bool(self, name: &str, written: Option<&Value>) -> Result<Option<bool>> {
        self.converted(name, written, "bool", boolean)
    }

    /// An integer.
    pub(super) fn int(self, name: &str, written: Option<&Value>) -> Result<Option<i64>> {
        self.converted(name, written, "int", integer)
    }

    /// A float.
    pub(super) fn float(self, name: &str, written: Option<&Value>) -> Result<Option<f64>> {
        self.converted(name, written, "float", float)
    }

    /// A text.
    pub(super) fn text(self, name: &str, written: Option<&Value>) -> Result<Option<String>> {
        self.converted(name, written, "string", |value| {
            value.text().ok().map(|text| text.to_string())
        })
    }

    /// A list of texts; one text is a list of it.
    pub(super) fn texts(self, name: &str, written: Option<&Value>) -> Result<Vec<Arc<str>>> {
        let Some(value) = self.value(name, written)? else {
            return Ok(Vec::new());
        };
        let items = match value {
            Value::None => Vec::new(),
            Value::List(list) => list.read().clone(),
            one => vec![one],
        };
        Ok(flat(&items)
            .iter()
            .filter_map(|item| item.text().ok())
            .map(|text| Arc::clone(text.shared()))
            .collect())
    }

    fn converted<T>(
        self,
        name: &str,
        written: Option<&Value>,
        kind: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(name, written)? else {
            return Ok(None);
        };
        if matches!(value, Value::None) {
            return Ok(None);
        }
        match convert(&value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(in_keyword(
                name,
                written.unwrap_or(&value),
                Located::new(format!(
                    "The value {} could not be converted to '{kind}'.",
                    repr::repr(&value)
                ))
                .about(&value)
                .handling(),
            )),
        }
    }
}

fn flat(items: &[Value]) -> Vec<Value> {
    items
        .iter()
        .flat_map(|item| match item {
            Value::List(list) => flat(&list.read()),
            other => vec![other.clone()],
        })
        .collect()
}

fn in_keyword(name: &str, written: &Value, cause: Located) -> Located {
    Located::new(format!("Error processing keyword '{name}'."))
        .about(written)
        .because(cause)
}

pub(super) use crate::template::to_bool as boolean;

/// What Ansible takes for an integer.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Bool(value) => Some(i64::from(*value)),
        #[allow(clippy::float_cmp)]
        Value::Float(number) if number.trunc() == *number => Some(*number as i64),
        Value::Str(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| {
                let number: f64 = text.parse().ok()?;
                integer(&Value::Float(number))
            })
        }
        _ => None,
    }
}

/// What Ansible takes for a float.
pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Str(text) => text.trim().parse().ok(),
        value => value.as_int().map(|number| number as f64),
    }
}

/// The items of a value that may stand alone.
pub(crate) fn listed(value: Option<Value>) -> Vec<Value> {
    match value {
        None | Some(Value::None) => Vec::new(),
        Some(Value::List(list)) => list.read().clone(),
        Some(one) => vec![one],
    }
}
