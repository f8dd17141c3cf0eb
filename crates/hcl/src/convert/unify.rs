//! One type for several: what the branches of a conditional or the elements of a list have in common.

use std::collections::HashSet;
use std::sync::Arc;

use super::{ConvertError, convert, possible};
use crate::types::Type;
use crate::value::Value;

/// The type that several have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unified {
    /// The type.
    pub ty: Type,
    /// One of them is not known yet, so that nothing can be said of the result: see [`Unified::convert`].
    undecided: bool,
}

impl Unified {
    fn of(ty: Type) -> Unified {
        Unified {
            ty,
            undecided: false,
        }
    }

    /// `value`, which has one of the unified types, as a value of the common one. Where a type among them is not known
    /// yet the result is unknown altogether.
    ///
    /// # Errors
    /// Where the value does not allow the conversion.
    pub fn convert(&self, value: &Value) -> Result<Value, ConvertError> {
        if self.undecided {
            return Ok(Value::DYNAMIC);
        }
        convert(value, &self.ty)
    }
}

/// The type to which values of all `types` can be converted without loss. `None` where there is none, or no types.
pub fn unify(types: &[Type]) -> Option<Unified> {
    unify_types(types.iter(), false)
}

/// As [`unify`], with conversions that some values may not allow: a string to a number.
pub fn unify_lossy(types: &[Type]) -> Option<Unified> {
    unify_types(types.iter(), true)
}

pub(super) fn unify_types<'t>(
    types: impl Iterator<Item = &'t Type>,
    lossy: bool,
) -> Option<Unified> {
    // What is there twice changes nothing, and thousands of elements have few types.
    let mut seen: HashSet<&Type> = HashSet::new();
    let mut distinct: Vec<&Type> = Vec::new();
    let mut last: Option<&Type> = None;
    for ty in types {
        if last == Some(ty) {
            continue;
        }
        last = Some(ty);
        if seen.insert(ty) {
            distinct.push(ty);
        }
    }
    match distinct.as_slice() {
        [] => None,
        [one] => Some(Unified::of(Type::clone(one))),
        several => unify_distinct(several, lossy),
    }
}

fn unify_distinct(types: &[&Type], lossy: bool) -> Option<Unified> {
    let count = |is: fn(&Type) -> bool| types.iter().filter(|ty| is(ty)).count();
    let all = types.len();
    let maps = count(|ty| matches!(ty, Type::Map(_)));
    let lists = count(|ty| matches!(ty, Type::List(_)));
    let sets = count(|ty| matches!(ty, Type::Set(_)));
    let objects = count(|ty| matches!(ty, Type::Object(_)));
    let tuples = count(|ty| matches!(ty, Type::Tuple(_)));
    let dynamic = count(|ty| matches!(ty, Type::Dynamic));
    if maps > 0 && maps + dynamic == all {
        return collections(types, lossy, dynamic > 0, Type::map);
    }
    if lists > 0 && lists + dynamic == all {
        return collections(types, lossy, dynamic > 0, Type::list);
    }
    if sets > 0 && sets + dynamic == all {
        return collections(types, lossy, dynamic > 0, Type::set);
    }
    if maps > 0 && maps + objects + dynamic == all {
        let common = as_collections(types, lossy, |ty| matches!(ty, Type::Object(_)), to_map);
        if let Some(common) = common
            && matches!(common.ty, Type::Map(_))
        {
            return Some(common);
        }
    } else if lists > 0 && lists + tuples + dynamic == all {
        let common = as_collections(types, lossy, |ty| matches!(ty, Type::Tuple(_)), to_list);
        if let Some(common) = common
            && matches!(common.ty, Type::List(_))
        {
            return Some(common);
        }
    } else if objects > 0 && objects + dynamic == all {
        return if dynamic > 0 {
            Some(undecided())
        } else {
            object_types(types, lossy)
        };
    } else if tuples > 0 && tuples + dynamic == all {
        return if dynamic > 0 {
            Some(undecided())
        } else {
            tuple_types(types, lossy)
        };
    } else if objects > 0 && tuples > 0 {
        return None;
    }
    preference(types)
        .into_iter()
        .map(|i| types[i])
        .find(|want| types.iter().all(|ty| possible(ty, want, lossy)))
        .map(|ty| Unified::of(ty.clone()))
}

fn undecided() -> Unified {
    Unified {
        ty: Type::Dynamic,
        undecided: true,
    }
}

fn checked(types: &[&Type], common: Type, lossy: bool) -> Option<Unified> {
    types
        .iter()
        .all(|ty| possible(ty, &common, lossy))
        .then_some(Unified::of(common))
}

fn collections(
    types: &[&Type],
    lossy: bool,
    dynamic: bool,
    collection: fn(Type) -> Type,
) -> Option<Unified> {
    if dynamic {
        return Some(undecided());
    }
    let element = unify_types(types.iter().filter_map(|ty| ty.element()), lossy)?.ty;
    checked(types, collection(element), lossy)
}

/// Unifies after those that are `structural` have become one collection.
fn as_collections(
    types: &[&Type],
    lossy: bool,
    structural: fn(&Type) -> bool,
    collect: fn(&[&Type], bool) -> Option<Unified>,
) -> Option<Unified> {
    let parts: Vec<&Type> = types.iter().copied().filter(|ty| structural(ty)).collect();
    let collection = collect(&parts, lossy)?.ty;
    let types: Vec<&Type> = types
        .iter()
        .map(|ty| if structural(ty) { &collection } else { *ty })
        .collect();
    unify_types(types.into_iter(), lossy)
}

fn object_types(types: &[&Type], lossy: bool) -> Option<Unified> {
    let objects: Vec<&_> = types.iter().filter_map(|ty| ty.as_object()).collect();
    let first = objects.first()?;
    if objects[1..]
        .iter()
        .any(|object| !object.attributes.keys().eq(first.attributes.keys()))
    {
        return to_map(types, lossy);
    }
    let mut attributes: Vec<(Arc<str>, Type)> = Vec::with_capacity(first.attributes.len());
    for name in first.attributes.keys() {
        let across = objects
            .iter()
            .filter_map(|object| object.attributes.get(name));
        attributes.push((name.clone(), unify_types(across, lossy)?.ty));
    }
    checked(types, Type::object(attributes), lossy).or_else(|| to_map(types, lossy))
}

fn to_map(types: &[&Type], lossy: bool) -> Option<Unified> {
    let attributes = types
        .iter()
        .filter_map(|ty| ty.as_object())
        .flat_map(|object| object.attributes.values());
    let element = unify_types(attributes, lossy)?.ty;
    checked(types, Type::map(element), lossy)
}

fn elements(ty: &Type) -> &[Type] {
    match ty {
        Type::Tuple(elements) => elements,
        _ => &[],
    }
}

fn tuple_types(types: &[&Type], lossy: bool) -> Option<Unified> {
    let length = elements(types.first()?).len();
    if types.iter().any(|ty| elements(ty).len() != length) {
        return to_list(types, lossy);
    }
    let mut common = Vec::with_capacity(length);
    for i in 0..length {
        common.push(unify_types(types.iter().map(|ty| &elements(ty)[i]), lossy)?.ty);
    }
    checked(types, Type::tuple(common), lossy).or_else(|| to_list(types, lossy))
}

fn to_list(types: &[&Type], lossy: bool) -> Option<Unified> {
    let element = unify_types(types.iter().flat_map(|ty| elements(ty)), lossy)?.ty;
    checked(types, Type::list(element), lossy)
}

/// The order in which the types are tried: the more general before what converts to it, else as they come.
fn preference(types: &[&Type]) -> Vec<usize> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); types.len()];
    let mut before = vec![0usize; types.len()];
    for i in 0..types.len() {
        for j in i + 1..types.len() {
            match generality(types[i], types[j]) {
                order if order < 0 => {
                    after[i].push(j);
                    before[j] += 1;
                }
                order if order > 0 => {
                    after[j].push(i);
                    before[i] += 1;
                }
                _ => {}
            }
        }
    }
    let mut queue: Vec<usize> = (0..types.len()).filter(|i| before[*i] == 0).collect();
    let mut next = 0;
    while next < queue.len() {
        let i = queue[next];
        next += 1;
        for &j in &after[i] {
            before[j] -= 1;
            if before[j] == 0 {
                queue.push(j);
            }
        }
    }
    queue
}

/// Below zero where `a` is the more general, above zero where `b` is.
#[allow(clippy::match_same_arms, reason = "the order of the cases is the rule")]
fn generality(a: &Type, b: &Type) -> i32 {
    let combined = |parts: &mut dyn Iterator<Item = i32>| {
        let (mut a_more, mut b_more) = (false, false);
        for order in parts {
            a_more |= order < 0;
            b_more |= order > 0;
        }
        match (a_more, b_more) {
            (true, false) => -1,
            (false, true) => 1,
            _ => 0,
        }
    };
    match (a, b) {
        (Type::Dynamic, Type::Dynamic) => 0,
        // What is not known yet comes last.
        (Type::Dynamic, _) => 1,
        (_, Type::Dynamic) => -1,
        (Type::String, Type::Bool | Type::Number) => -1,
        (Type::Bool | Type::Number, Type::String) => 1,
        (Type::List(a), Type::List(b))
        | (Type::Set(a), Type::Set(b))
        | (Type::Map(a), Type::Map(b)) => generality(a, b),
        (Type::Tuple(_) | Type::List(_), Type::Set(_))
        | (Type::List(_), Type::Tuple(_))
        | (Type::Map(_), Type::Object(_)) => -1,
        (Type::Set(_), Type::Tuple(_) | Type::List(_))
        | (Type::Tuple(_), Type::List(_))
        | (Type::Object(_), Type::Map(_)) => 1,
        (Type::Object(a), Type::Object(b)) => {
            if !a.attributes.keys().eq(b.attributes.keys()) {
                return 0;
            }
            let mut pairs = a.attributes.values().zip(b.attributes.values());
            combined(&mut std::iter::from_fn(|| {
                pairs.next().map(|(a, b)| generality(a, b))
            }))
        }
        (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b.iter());
            combined(&mut std::iter::from_fn(|| {
                pairs.next().map(|(a, b)| generality(a, b))
            }))
        }
        _ => 0,
    }
}
