//! Strategic merge patches: merge patches that know which lists are keyed.
//!
//! Follows apimachinery's `strategicpatch`, the order of items included. Items are found by index and
//! not by search, so that the cost is linear in document and patch.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::Error;
use crate::schema::{Field, Form, Message, Schema, Shape};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Applies a strategic merge patch to an object of this message.
pub fn strategic(
    schema: &Schema,
    message: &Message,
    document: &mut Value,
    patch: &Value,
) -> Result<(), Error> {
    let (Value::Object(members), Value::Object(changes)) = (document, patch) else {
        return Err(Error::Malformed("invalid JSON document".to_owned()));
    };
    Merge { schema }.map(members, changes, Kind::Message(message))
}

/// What is known about the members of an object.
#[derive(Clone, Copy)]
enum Kind<'s> {
    /// They are the fields of a message.
    Message(&'s Message),
    /// They are a map's values, each a message.
    Values(&'s Message),
    /// Nothing is known: objects merge, lists are replaced.
    Free,
}

struct Merge<'s> {
    schema: &'s Schema,
}

impl<'s> Merge<'s> {
    /// The field behind a member and what its value is made of.
    fn member(&self, kind: Kind<'s>, key: &str) -> (Option<&'s Field>, Kind<'s>) {
        match kind {
            Kind::Message(message) => {
                let field = message.member(key);
                let inner = field.and_then(|field| self.schema.message_of(field));
                let inner = match (field.map(|field| field.shape), inner) {
                    (Some(Shape::Map), Some(inner)) if inner.form == Form::Object => {
                        Kind::Values(inner)
                    }
                    (Some(_), Some(inner)) => self.object(inner),
                    _ => Kind::Free,
                };
                (field, inner)
            }
            Kind::Values(message) => (None, self.object(message)),
            Kind::Free => (None, Kind::Free),
        }
    }

    /// What an object is whose message may be something simpler as well.
    fn object(&self, message: &'s Message) -> Kind<'s> {
        match message.form {
            Form::Object => Kind::Message(message),
            Form::MessageOrBool | Form::MessageOrList | Form::MessageOrStrings => message
                .fields
                .iter()
                .find_map(|field| self.schema.message_of(field))
                .map_or(Kind::Free, Kind::Message),
            _ => Kind::Free,
        }
    }

    fn map(
        &self,
        members: &mut Map<String, Value>,
        changes: &Map<String, Value>,
        kind: Kind<'s>,
    ) -> Result<(), Error> {
        if let Some(directive) = changes.get(DIRECTIVE) {
            match directive.as_str() {
                Some("replace") => {
                    members.clone_from(changes);
                    members.shift_remove(DIRECTIVE);
                }
                Some("delete") => members.clear(),
                _ => return Err(unknown_directive(directive, changes)),
            }
            return Ok(());
        }
        retain_keys(members, changes)?;
        let mut ordered = HashSet::new();
        for (key, order) in changes {
            if let Some(list) = key.strip_prefix(ELEMENT_ORDER) {
                self.ordered_list(members, changes, list, order, kind)?;
                ordered.insert(list);
            }
        }
        for (key, change) in changes {
            if key == RETAIN_KEYS
                || key.starts_with(ELEMENT_ORDER)
                || ordered.contains(key.as_str())
            {
                continue;
            }
            if let Some(list) = key.strip_prefix(DELETE_FROM_LIST) {
                delete_from_list(members, list, change)?;
            } else if key.starts_with("$deleteFromPrimitiveList") {
                return Err(Error::Malformed(
                    "invalid patch format of primitive list".to_owned(),
                ));
            } else if change.is_null() {
                members.shift_remove(key);
            } else {
                self.value(members, key, change, kind)?;
            }
        }
        Ok(())
    }

    fn value(
        &self,
        members: &mut Map<String, Value>,
        key: &str,
        change: &Value,
        kind: Kind<'s>,
    ) -> Result<(), Error> {
        let (field, inner) = self.member(kind, key);
        match (members.get_mut(key), change) {
            (Some(Value::Object(current)), Value::Object(changes)) => {
                if field.is_some_and(Field::patch_replaces) {
                    current.clone_from(changes);
                    return Ok(());
                }
                self.map(current, changes, inner)
            }
            (Some(Value::Array(current)), Value::Array(changes))
                if field.is_some_and(Field::patch_merges) =>
            {
                let merge_key = field.map_or("", |field| field.patch_merge_key);
                let merged = self.list(std::mem::take(current), changes, inner, merge_key)?;
                *current = merged;
                Ok(())
            }
            // Only what is put in the place of something else keeps its nulls and directives, as a list does.
            (Some(current @ Value::Array(_)), Value::Array(_)) => {
                *current = change.clone();
                Ok(())
            }
            _ => {
                match plain(change) {
                    Some(new) => members.insert(key.to_owned(), new),
                    None => members.shift_remove(key),
                };
                Ok(())
            }
        }
    }

    /// A list whose order the patch gives: merged first, then put in that order.
    fn ordered_list(
        &self,
        members: &mut Map<String, Value>,
        changes: &Map<String, Value>,
        key: &str,
        order: &Value,
        kind: Kind<'s>,
    ) -> Result<(), Error> {
        let malformed =
            || Error::Malformed("invalid patch format of setElementOrder list".to_owned());
        let order = order.as_array().ok_or_else(malformed)?;
        let (field, inner) = self.member(kind, key);
        let merge_key = field.map_or("", |field| field.patch_merge_key);
        let change = match changes.get(key) {
            Some(Value::Array(change)) => Some(change),
            None | Some(Value::Null) => None,
            Some(_) => return Err(malformed()),
        };
        if let Some(change) = change {
            check_order(change, order, merge_key)?;
        }
        let merged = match (members.get_mut(key), change) {
            (Some(Value::Array(current)), change) => {
                let original = std::mem::take(current);
                let mut server_order = positions(&original, merge_key)?;
                let merged = match change {
                    None => original,
                    Some(change) if field.is_some_and(Field::patch_merges) => {
                        if !merge_key.is_empty() {
                            server_order = order_left_behind(&original, change, merge_key)?;
                        }
                        self.list(original, change, inner, merge_key)?
                    }
                    Some(change) => change.clone(),
                };
                arrange(
                    merged,
                    &positions(order, merge_key)?,
                    &server_order,
                    merge_key,
                )?
            }
            (None, Some(change)) => {
                let new: Vec<Value> = change.iter().filter_map(plain).collect();
                arrange(
                    new,
                    &positions(order, merge_key)?,
                    &HashMap::new(),
                    merge_key,
                )?
            }
            (None, None) => return Ok(()),
            (Some(_), _) => return Err(malformed()),
        };
        members.insert(key.to_owned(), Value::Array(merged));
        Ok(())
    }

    fn list(
        &self,
        original: Vec<Value>,
        changes: &[Value],
        kind: Kind<'s>,
        merge_key: &str,
    ) -> Result<Vec<Value>, Error> {
        if original.is_empty() && changes.is_empty() {
            return Ok(original);
        }
        let objects = same_type(original.iter().chain(changes))?;
        if !objects {
            let server_order = positions(&original, "")?;
            let order = positions(changes, "")?;
            let mut seen = HashSet::new();
            let both: Vec<Value> = original
                .into_iter()
                .chain(changes.iter().cloned())
                .filter(|item| seen.insert(item.to_string()))
                .collect();
            return arrange(both, &order, &server_order, "");
        }
        if merge_key.is_empty() {
            return Err(Error::DoesNotApply(
                "cannot merge lists without merge key".to_owned(),
            ));
        }
        let mut kept = Vec::with_capacity(changes.len());
        let (mut deleted, mut replaces) = (HashSet::new(), false);
        for change in changes {
            let Value::Object(members) = change else {
                continue;
            };
            match members
                .get(DIRECTIVE)
                .map(|directive| (directive, directive.as_str()))
            {
                None => kept.push((key_of(change, merge_key)?, members)),
                Some((_, Some("delete"))) => {
                    deleted.insert(key_of(change, merge_key)?);
                }
                Some((_, Some("replace"))) => replaces = true,
                Some((_, Some("merge"))) => {
                    return Err(Error::DoesNotApply(
                        "merging lists cannot yet be specified in the patch".to_owned(),
                    ));
                }
                Some((directive, _)) => return Err(unknown_directive(directive, members)),
            }
        }
        if replaces {
            return Ok(kept
                .into_iter()
                .map(|(_, members)| Value::Object(members.clone()))
                .collect());
        }
        let mut merged = original;
        if !deleted.is_empty() {
            let mut failed = Ok(());
            merged.retain(|item| match key_if_any(item, merge_key) {
                Ok(key) => !key.is_some_and(|key| deleted.contains(&key)),
                Err(error) => {
                    failed = Err(error);
                    true
                }
            });
            failed?;
        }
        let server_order = positions(&merged, merge_key)?;
        let mut order = HashMap::with_capacity(kept.len());
        let mut places = server_order.clone();
        for (key, members) in kept {
            let next = order.len();
            order.entry(key.clone()).or_insert(next);
            if let Some(Value::Object(current)) =
                places.get(&key).and_then(|place| merged.get_mut(*place))
            {
                self.map(current, members, kind)?;
            } else {
                places.insert(key, merged.len());
                merged.extend(plain(&Value::Object(members.clone())));
            }
        }
        arrange(merged, &order, &server_order, merge_key)
    }
}

fn unknown_directive(directive: &Value, changes: &Map<String, Value>) -> Error {
    let map = Value::Object(changes.clone());
    Error::DoesNotApply(format!(
        "unknown patch type: {} in map: {map}",
        directive.as_str().unwrap_or_default()
    ))
}

/// Removes what the patch does not name in `$retainKeys`, which must name all that it sets.
fn retain_keys(
    members: &mut Map<String, Value>,
    changes: &Map<String, Value>,
) -> Result<(), Error> {
    let Some(list) = changes.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let malformed = || Error::Malformed("invalid patch format of retainKeys".to_owned());
    let retained: HashSet<&str> = list
        .as_array()
        .ok_or_else(malformed)?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (key, change) in changes {
        let directive = key == RETAIN_KEYS
            || key.starts_with(DELETE_FROM_LIST)
            || key.starts_with(ELEMENT_ORDER);
        if !directive && !change.is_null() && !retained.contains(key.as_str()) {
            return Err(malformed());
        }
    }
    members.retain(|key, _| retained.contains(key.as_str()));
    Ok(())
}

fn delete_from_list(
    members: &mut Map<String, Value>,
    key: &str,
    deleted: &Value,
) -> Result<(), Error> {
    let Value::Array(deleted) = deleted else {
        return Err(Error::Malformed(
            "invalid patch format of primitive list".to_owned(),
        ));
    };
    if let Some(Value::Array(current)) = members.get_mut(key) {
        let deleted: HashSet<String> = deleted.iter().map(ToString::to_string).collect();
        current.retain(|item| !deleted.contains(&item.to_string()));
    }
    Ok(())
}

/// Whether all items are objects (true) or all are scalars of one type (false).
fn same_type<'v>(items: impl Iterator<Item = &'v Value>) -> Result<bool, Error> {
    let mut first = None;
    for item in items {
        if item.is_array() {
            return Err(Error::DoesNotApply(
                "lists of lists are not supported".to_owned(),
            ));
        }
        let kind = std::mem::discriminant(item);
        if *first.get_or_insert((kind, item.is_object())) != (kind, item.is_object()) {
            return Err(Error::DoesNotApply(
                "list element types are not identical".to_owned(),
            ));
        }
    }
    Ok(first.is_some_and(|(_, object)| object))
}

/// What an item is told apart by: itself, or its value of the merge key.
fn key_of(item: &Value, merge_key: &str) -> Result<String, Error> {
    key_if_any(item, merge_key)?.ok_or_else(|| {
        Error::DoesNotApply(format!(
            "map: {item} does not contain declared merge key: {merge_key}"
        ))
    })
}

fn key_if_any(item: &Value, merge_key: &str) -> Result<Option<String>, Error> {
    if merge_key.is_empty() {
        return Ok(Some(item.to_string()));
    }
    match item {
        Value::Object(members) => Ok(members.get(merge_key).map(ToString::to_string)),
        _ => Err(Error::DoesNotApply(format!(
            "expected a map, but received {item}"
        ))),
    }
}

/// The first place of each key in a list.
fn positions(items: &[Value], merge_key: &str) -> Result<HashMap<String, usize>, Error> {
    let mut found = HashMap::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        found.entry(key_of(item, merge_key)?).or_insert(place);
    }
    Ok(found)
}

/// The order of a live list by which upstream places what the patch does not name.
///
/// Upstream takes it from the list after items were deleted and added in place: what is left has moved up, and new
/// items have filled the room at the end, if there was any.
fn order_left_behind(
    original: &[Value],
    changes: &[Value],
    merge_key: &str,
) -> Result<HashMap<String, usize>, Error> {
    let (mut deleted, mut added, mut replaces) = (HashSet::new(), Vec::new(), false);
    for change in changes {
        match change.get(DIRECTIVE).and_then(Value::as_str) {
            None => added.push(key_of(change, merge_key)?),
            Some("delete") => {
                deleted.insert(key_of(change, merge_key)?);
            }
            Some(_) => replaces = true,
        }
    }
    let mut keys = Vec::with_capacity(original.len());
    for item in original {
        let key = key_of(item, merge_key)?;
        if !deleted.contains(&key) {
            keys.push(key);
        }
    }
    let mut next = keys.len();
    let mut found = HashMap::with_capacity(original.len());
    for (place, key) in keys.into_iter().enumerate() {
        found.entry(key).or_insert(place);
    }
    if !replaces {
        for key in added {
            if next < original.len() && !found.contains_key(&key) {
                found.insert(key, next);
                next += 1;
            }
        }
    }
    Ok(found)
}

/// The items a patch sets must stand in the order it asks for.
fn check_order(changes: &[Value], order: &[Value], merge_key: &str) -> Result<(), Error> {
    if changes.is_empty() || order.is_empty() {
        return Ok(());
    }
    let places = positions(order, merge_key)?;
    let mut last = None;
    for change in changes {
        if change.get(DIRECTIVE).is_some() {
            continue;
        }
        let place = places.get(&key_of(change, merge_key)?).copied();
        if place.is_none() || (last.is_some() && place <= last) {
            return Err(Error::DoesNotApply(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Value::Array(changes.to_vec()),
                Value::Array(order.to_vec())
            )));
        }
        last = place;
    }
    Ok(())
}

/// Puts the items of `order` in that order and all others among them, as they stood in `server_order`.
fn arrange(
    items: Vec<Value>,
    order: &HashMap<String, usize>,
    server_order: &HashMap<String, usize>,
    merge_key: &str,
) -> Result<Vec<Value>, Error> {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in items {
        let key = key_of(&item, merge_key)?;
        let server = server_order.get(&key).copied();
        match order.get(&key) {
            Some(place) => named.push((*place, server, item)),
            None => others.push((server, item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(server, _)| server.unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, place, item) in named {
        while let Some((other, _)) = others.peek() {
            if !matches!((other, place), (Some(other), Some(place)) if *other < place) {
                break;
            }
            arranged.extend(others.next().map(|(_, item)| item));
        }
        arranged.push(item);
    }
    arranged.extend(others.map(|(_, item)| item));
    Ok(arranged)
}

/// A new value without nulls and directives; `None` if it is itself a directive.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) => {
            if members.contains_key(DIRECTIVE) {
                return None;
            }
            let kept = members
                .iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key))
                .filter_map(|(key, value)| Some((key.clone(), plain(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(plain).collect())),
        other => Some(other.clone()),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(DELETE_FROM_LIST) || key.starts_with(ELEMENT_ORDER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Gvk;

    fn patched(kind: (&str, &str), mut document: Value, patch: &Value) -> Result<Value, Error> {
        let schema = Schema::builtin();
        let message = schema.kind(&Gvk::from_api_version(kind.0, kind.1)).unwrap();
        strategic(schema, message, &mut document, patch).map(|()| document)
    }

    #[allow(clippy::needless_pass_by_value)] // reads better in the cases
    fn pod(document: Value, patch: &Value) -> Result<Value, Error> {
        patched(
            ("v1", "Pod"),
            json!({"spec": document}),
            &json!({"spec": patch}),
        )
        .map(|mut pod| pod["spec"].take())
    }

    #[test]
    fn keyed_lists_merge_by_their_key_on_every_level() {
        let result = pod(
            json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b", "image": "1"}]}),
            &json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "3"}, {"name": "X", "$patch": "delete"}]}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "Y", "value": "3"}]}, {"name": "b", "image": "1"}]})
        );
    }

    #[test]
    fn new_items_come_first_as_upstream_puts_them() {
        let result = pod(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            &json!({"containers": [{"name": "c"}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]})
        );
    }

    #[test]
    fn lists_that_are_one_value_are_replaced() {
        let result = pod(
            json!({"containers": [{"name": "a", "args": ["x", "y"]}], "tolerations": [{"key": "a"}]}),
            &json!({"containers": [{"name": "a", "args": ["z"]}], "tolerations": [{"key": "b"}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "a", "args": ["z"]}], "tolerations": [{"key": "b"}]})
        );
    }

    #[test]
    fn primitive_lists_merge_and_lose_what_is_deleted() {
        let document = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
        let merge = patched(
            ("v1", "Pod"),
            document.clone(),
            &json!({"metadata": {"finalizers": ["d", "b"]}}),
        )
        .unwrap();
        assert_eq!(
            merge,
            json!({"metadata": {"finalizers": ["d", "a", "b", "c"]}})
        );
        let delete = patched(
            ("v1", "Pod"),
            document,
            &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "x"]}}),
        )
        .unwrap();
        assert_eq!(delete, json!({"metadata": {"finalizers": ["a", "c"]}}));
    }

    #[test]
    fn directives_replace_and_delete() {
        let spec = json!({"nodeSelector": {"a": "1"}, "containers": [{"name": "a", "image": "1"}, {"name": "b"}]});
        let result = pod(
            spec.clone(),
            &json!({"nodeSelector": {"$patch": "replace", "b": "2"}}),
        )
        .unwrap();
        assert_eq!(result["nodeSelector"], json!({"b": "2"}));
        let result = pod(spec.clone(), &json!({"nodeSelector": {"$patch": "delete"}})).unwrap();
        assert_eq!(result["nodeSelector"], json!({}));
        let result = pod(
            spec.clone(),
            &json!({"containers": [{"name": "z"}, {"$patch": "replace"}]}),
        )
        .unwrap();
        assert_eq!(result["containers"], json!([{"name": "z"}]));
        let error = pod(spec, &json!({"nodeSelector": {"$patch": "bogus"}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"unknown patch type: bogus in map: {"$patch":"bogus"}"#
        );
    }

    #[test]
    fn the_patch_can_give_the_order_of_items() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "server"}]});
        let result = pod(
            spec.clone(),
            &json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}], "containers": [{"name": "new"}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}, {"name": "server"}]})
        );
        let result = pod(
            spec.clone(),
            &json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a", "$patch": "delete"}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "b"}, {"name": "server"}]})
        );
        let error = pod(
            spec,
            &json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]}),
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("The order in patch list")
        );
    }

    #[test]
    fn a_patch_made_by_kubectl_apply_gives_what_was_applied() {
        let containers = |image: &str, env: Value| json!([{"name": "a", "image": image, "env": env}, {"name": "side", "image": "y"}]);
        let result = pod(
            json!({"containers": containers("x:1", json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))}),
            &json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"$setElementOrder/env": [{"name": "A"}, {"name": "C"}],
                "env": [{"name": "C", "value": "2"}, {"$patch": "delete", "name": "B"}], "image": "x:2", "name": "a"}]}),
        );
        let expected = json!([{"name": "A", "value": "1"}, {"name": "C", "value": "2"}]);
        assert_eq!(
            result.unwrap(),
            json!({"containers": containers("x:2", expected)})
        );
    }

    #[test]
    fn a_new_item_takes_the_place_a_deleted_one_made_free() {
        let result = pod(
            json!({"containers": [{"name": "a"}, {"name": "d"}, {"name": "b"}, {"name": "c"}]}),
            &json!({"$setElementOrder/containers": [{"name": "e"}, {"name": "d"}],
                "containers": [{"name": "a", "$patch": "delete"}, {"name": "e"}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "e"}, {"name": "d"}]})
        );
    }

    #[test]
    fn retained_keys_push_out_the_others() {
        let deployment = |strategy: Value| json!({"spec": {"strategy": strategy}});
        let result = patched(
            ("apps/v1", "Deployment"),
            deployment(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})),
            &deployment(json!({"$retainKeys": ["type"], "type": "Recreate"})),
        );
        assert_eq!(result.unwrap(), deployment(json!({"type": "Recreate"})));
        let error = patched(
            ("apps/v1", "Deployment"),
            deployment(json!({})),
            &deployment(json!({"$retainKeys": [], "type": "x"})),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "invalid patch format of retainKeys"
        );
    }

    #[test]
    fn volumes_replace_their_source_by_retained_keys() {
        let result = pod(
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            &json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]})
        );
    }

    #[test]
    fn nulls_remove_and_leave_no_trace_in_new_values() {
        let result = pod(
            json!({"hostname": "x"}),
            &json!({"hostname": null, "subdomain": null, "containers": [{"name": "a", "image": null}], "securityContext": {"runAsUser": null}}),
        );
        assert_eq!(
            result.unwrap(),
            json!({"containers": [{"name": "a"}], "securityContext": {}})
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let error = pod(
            json!({"containers": [{"name": "a"}]}),
            &json!({"containers": [{"image": "x"}]}),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"map: {"image":"x"} does not contain declared merge key: name"#
        );
        assert_eq!(error.status().code, 422);
    }

    #[test]
    fn a_large_list_costs_no_more_than_its_length() {
        let items = |range: std::ops::Range<usize>| -> Vec<Value> {
            range
                .map(|n| json!({"name": format!("e{n}"), "value": "x"}))
                .collect()
        };
        let document = json!({"containers": [{"name": "a", "env": items(0..50_000)}]});
        let patch = json!({"containers": [{"name": "a", "env": items(25_000..75_000)}]});
        let started = std::time::Instant::now();
        let result = pod(document, &patch).unwrap();
        assert_eq!(
            result["containers"][0]["env"].as_array().unwrap().len(),
            75_000
        );
        // A search for each item would take minutes.
        assert!(started.elapsed().as_secs() < 20);
    }
}
