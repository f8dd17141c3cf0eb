//! Going over a value and all within it, changing it, and its marks by path.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Data, Kind, Value};
use crate::marks::Marks;
use crate::number::Number;
use crate::path::{Path, Step};
use crate::types::Type;

impl Value {
    /// Calls `visit` with this value and then with all within it, depth first; where it returns false, what is within
    /// that value is left out.
    ///
    /// # Errors
    /// The first that `visit` returns; it ends the walk.
    pub fn walk<E>(
        &self,
        visit: &mut impl FnMut(&Path, &Value) -> Result<bool, E>,
    ) -> Result<(), E> {
        fn inner<E>(
            path: &mut Path,
            value: &Value,
            visit: &mut impl FnMut(&Path, &Value) -> Result<bool, E>,
        ) -> Result<(), E> {
            if !visit(path, value)? {
                return Ok(());
            }
            value.each_child(|step, child| {
                path.0.push(step);
                let result = inner(path, child, visit);
                path.0.pop();
                result
            })
        }
        inner(&mut Path::root(), self, visit)
    }

    fn each_child<E>(&self, mut each: impl FnMut(Step, &Value) -> Result<(), E>) -> Result<(), E> {
        match self.kind() {
            Kind::List(values) | Kind::Tuple(values) => {
                for (i, value) in values.iter().enumerate() {
                    each(Step::Index(Value::number(i)), value)?;
                }
            }
            Kind::Set(values) => {
                for value in values {
                    each(Step::Index(value.clone()), value)?;
                }
            }
            Kind::Map(values) => {
                for (key, value) in values {
                    each(Step::Index(Value::shared_string(key.clone())), value)?;
                }
            }
            Kind::Object(values) => {
                for (name, value) in values {
                    each(Step::Attribute(name.clone()), value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// This value with each value within it, and at last itself, replaced by what `change` makes of it. Each call sees
    /// the value with its own parts already changed. Elements of a list, set or map must keep one type among them.
    ///
    /// # Errors
    /// The first that `change` returns; it ends the walk.
    pub fn transform<E>(
        &self,
        change: &mut impl FnMut(&Path, Value) -> Result<Value, E>,
    ) -> Result<Value, E> {
        fn inner<E>(
            path: &mut Path,
            value: &Value,
            change: &mut impl FnMut(&Path, Value) -> Result<Value, E>,
        ) -> Result<Value, E> {
            let mut parts = Vec::new();
            value.each_child(|step, child| {
                path.0.push(step);
                let part = inner(path, child, change);
                path.0.pop();
                parts.push(part?);
                Ok(())
            })?;
            let rebuilt = if parts.is_empty() {
                value.clone()
            } else {
                value.with_parts(parts)
            };
            change(path, rebuilt)
        }
        inner(&mut Path::root(), self, change)
    }

    /// This value with other parts, in the order in which they are walked.
    fn with_parts(&self, parts: Vec<Value>) -> Value {
        let keyed = |values: &BTreeMap<Arc<str>, Value>, parts: Vec<Value>| {
            values.keys().cloned().zip(parts).collect::<Vec<_>>()
        };
        // An element type of `Dynamic` lets the parts say what it is.
        let value = match self.kind() {
            Kind::List(_) => Value::list(Type::Dynamic, parts),
            Kind::Set(_) => Value::set(Type::Dynamic, parts),
            Kind::Tuple(_) => Value::tuple(parts),
            Kind::Map(values) => Value::map(Type::Dynamic, keyed(values, parts)),
            Kind::Object(values) => Value::object(keyed(values, parts)),
            _ => return self.clone(),
        };
        value.with_marks(self.marks)
    }

    /// This value and all within it without `marks`.
    #[must_use]
    pub fn without_marks(&self, marks: Marks) -> Value {
        if !self.deep.intersects(marks) {
            return self.clone();
        }
        let strip = |v: &Value| v.without_marks(marks);
        let data = match &self.data {
            Data::Sequence(values) if values.iter().any(|v| v.deep.intersects(marks)) => {
                Data::Sequence(values.iter().map(strip).collect())
            }
            Data::Keyed(values) if values.values().any(|v| v.deep.intersects(marks)) => {
                Data::Keyed(Arc::new(
                    values.iter().map(|(k, v)| (k.clone(), strip(v))).collect(),
                ))
            }
            other => other.clone(),
        };
        Value {
            ty: self.ty.clone(),
            data,
            marks: self.marks - marks,
            deep: self.deep - marks,
            unknown: self.unknown,
        }
    }

    /// This value and all within it without marks, and where they were.
    pub fn unmark_deep_with_paths(&self) -> (Value, Vec<(Path, Marks)>) {
        let mut found = Vec::new();
        if !self.deep.is_empty() {
            let _: Result<(), std::convert::Infallible> = self.walk(&mut |path, value| {
                if !value.marks.is_empty() {
                    found.push((path.clone(), value.marks));
                }
                Ok(!value.deep.is_empty())
            });
        }
        (self.without_marks(self.deep), found)
    }

    /// This value with marks added at paths. Paths that lead nowhere are left out; one into a set marks the set.
    #[must_use]
    pub fn mark_paths(self, paths: &[(Path, Marks)]) -> Value {
        if paths.is_empty() {
            return self;
        }
        let paths: Vec<(&[Step], Marks)> = paths
            .iter()
            .map(|(path, marks)| (path.steps(), *marks))
            .collect();
        self.mark_steps(&paths)
    }

    fn mark_steps(self, paths: &[(&[Step], Marks)]) -> Value {
        let mut own = Marks::NONE;
        let mut by_position: BTreeMap<usize, Vec<(&[Step], Marks)>> = BTreeMap::new();
        let mut by_name: BTreeMap<&str, Vec<(&[Step], Marks)>> = BTreeMap::new();
        for (steps, marks) in paths {
            let Some((first, rest)) = steps.split_first() else {
                own |= *marks;
                continue;
            };
            match (first, self.kind()) {
                (Step::Index(key), Kind::Set(values))
                    if super::set::has(values, &key.clone().unmark_deep().0) =>
                {
                    own |= *marks;
                }
                (Step::Index(key), Kind::List(_) | Kind::Tuple(_)) => {
                    if let Some(i) = key.as_number().and_then(Number::to_usize) {
                        by_position.entry(i).or_default().push((rest, *marks));
                    }
                }
                (Step::Attribute(name), Kind::Map(_) | Kind::Object(_)) => {
                    by_name.entry(name).or_default().push((rest, *marks));
                }
                (Step::Index(key), Kind::Map(_) | Kind::Object(_)) => {
                    if let Some(name) = key.as_str() {
                        by_name.entry(name).or_default().push((rest, *marks));
                    }
                }
                _ => {}
            }
        }
        let data = match &self.data {
            Data::Sequence(values) if !by_position.is_empty() => {
                let mut values = values.to_vec();
                for (i, paths) in &by_position {
                    if let Some(value) = values.get_mut(*i) {
                        *value = value.clone().mark_steps(paths);
                    }
                }
                Data::Sequence(values.into())
            }
            Data::Keyed(values) if !by_name.is_empty() => {
                let mut values = BTreeMap::clone(values);
                for (name, paths) in &by_name {
                    if let Some(value) = values.get_mut(*name) {
                        *value = value.clone().mark_steps(paths);
                    }
                }
                Data::Keyed(Arc::new(values))
            }
            other => other.clone(),
        };
        let within = match &data {
            Data::Sequence(values) => values.iter().fold(Marks::NONE, |m, v| m | v.deep),
            Data::Keyed(values) => values.values().fold(Marks::NONE, |m, v| m | v.deep),
            _ => Marks::NONE,
        };
        let marks = self.marks | own;
        Value {
            data,
            marks,
            deep: within | marks,
            ..self
        }
    }
}
