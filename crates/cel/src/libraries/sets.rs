//! Lists as sets.

use std::collections::HashSet;

use crate::EvalError;
use crate::functions::{Context, Library};
use crate::libraries::{Answer, no_overload};
use crate::value::{Key, List, Value, equal};

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        list_sets_contains_list: sets.contains(list(T), list(T)) -> bool
        list_sets_equivalent_list: sets.equivalent(list(T), list(T)) -> bool
        list_sets_intersects_list: sets.intersects(list(T), list(T)) -> bool
    ",
    functions: &[
        ("sets.contains", |context, args| match args {
            [Value::List(list), Value::List(part)] => {
                Ok(Value::Bool(contains(context, list, part)?))
            }
            _ => no_overload(),
        }),
        ("sets.equivalent", |context, args| match args {
            [Value::List(a), Value::List(b)] => Ok(Value::Bool(
                contains(context, a, b)? && contains(context, b, a)?,
            )),
            _ => no_overload(),
        }),
        ("sets.intersects", intersects),
    ],
};

/// The members that can be looked up at once, and the others.
struct Members<'a> {
    keys: HashSet<Key<'a>>,
    others: Vec<Value<'a>>,
}

impl<'a> Members<'a> {
    fn of(context: &mut Context<'_>, list: &List<'a>) -> Result<Self, EvalError> {
        context.work.spend(list.len())?;
        let mut members = Members {
            keys: HashSet::new(),
            others: Vec::new(),
        };
        for item in list.iter() {
            let item = item?;
            match Key::of(&item) {
                Some(key) => {
                    members.keys.insert(key);
                }
                None => members.others.push(item),
            }
        }
        Ok(members)
    }

    fn has(&self, context: &mut Context<'_>, value: &Value<'a>) -> Result<bool, EvalError> {
        if let Some(key) = Key::of(value) {
            return Ok(self.keys.contains(&key));
        }
        for other in &self.others {
            context.work.spend(1)?;
            if equal(other, value, context.work)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn contains<'a>(
    context: &mut Context<'_>,
    list: &List<'a>,
    part: &List<'a>,
) -> Result<bool, EvalError> {
    let members = Members::of(context, list)?;
    for item in part.iter() {
        if !members.has(context, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::List(a), Value::List(b)] = args else {
        return no_overload();
    };
    let members = Members::of(context, b)?;
    for item in a.iter() {
        if members.has(context, &item?)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
