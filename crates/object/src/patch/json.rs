use serde_json::Value;

use super::Error;

/// As many operations as upstream takes in one patch.
const MAX_OPERATIONS: usize = 10_000;

/// As many bytes as all `copy` operations of one patch may add together.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024 * 10;

/// As deep as a document may get: what is deeper could not be read again.
const MAX_DEPTH: usize = 120;

/// As many values as all operations of one patch may look at while they measure depth.
const MAX_MEASURED: usize = 4_000_000;

/// As many members of lists and objects as all operations of one patch may push aside: what is put into a list moves
/// all that stands behind it. Enough for the longest patch over a list of ten thousand.
const MAX_MOVED: usize = 100_000_000;

/// Applies a JSON patch (RFC 6902), with the errors and the negative indices of upstream's implementation.
pub fn json(document: &mut Value, patch: &Value) -> Result<(), Error> {
    let Value::Array(operations) = patch else {
        return Err(Error::Malformed(
            "a JSON patch is a list of operations".to_owned(),
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Error::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut work = Work::default();
    for operation in operations {
        apply(document, operation, &mut work)?;
    }
    Ok(())
}

fn apply(document: &mut Value, operation: &Value, work: &mut Work) -> Result<(), Error> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let kind = text("op").ok_or_else(|| {
        Error::Malformed("an operation of a JSON patch needs an \"op\"".to_owned())
    })?;
    let path = text("path").ok_or_else(|| {
        Error::Malformed(format!(
            "a JSON patch's {kind:?} operation needs a \"path\""
        ))
    })?;
    let from = || {
        text("from").ok_or_else(|| {
            Error::Malformed(format!(
                "a JSON patch's {kind:?} operation needs a \"from\""
            ))
        })
    };
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match kind {
        "add" => {
            let value = value();
            work.measure(path, &value)?;
            add(document, path, value, "add", work)
        }
        "remove" => remove(document, path, "remove", work).map(drop),
        "replace" => {
            let value = value();
            work.measure(path, &value)?;
            replace(document, path, value)
        }
        "move" => {
            let from = from()?;
            let moved = remove(document, from, "move", work)?;
            work.measure(path, &moved)?;
            add(document, path, moved, "move", work)
        }
        "copy" => {
            let from = from()?;
            let copy = find(document, from)
                .ok_or_else(|| {
                    missing(format!(
                        "copy operation does not apply: doc is missing from path: \"{from}\""
                    ))
                })?
                .clone();
            work.measure(path, &copy)?;
            work.copy(&copy)?;
            add(document, path, copy, "copy", work)
        }
        "test" => {
            let expected = operation.get("value").unwrap_or(&Value::Null);
            // A value that is not there equals null.
            if find(document, path).unwrap_or(&Value::Null) == expected {
                Ok(())
            } else {
                Err(Error::DoesNotApply(format!(
                    "testing value {path} failed: test failed"
                )))
            }
        }
        other => Err(Error::DoesNotApply(format!("Unexpected kind: {other}"))),
    }
}

/// What the operations of one patch have cost so far.
#[derive(Default)]
struct Work {
    copied: usize,
    measured: usize,
    moved: usize,
}

impl Work {
    /// Refuses a value that would reach too deep at this place. Operations can nest what each of them
    /// could not, and a document of a million levels ends the program that drops it.
    fn measure(&mut self, path: &str, value: &Value) -> Result<(), Error> {
        let levels = path.bytes().filter(|byte| *byte == b'/').count();
        if self.fits(value, MAX_DEPTH.saturating_sub(levels))? {
            Ok(())
        } else {
            Err(Error::DoesNotApply(format!(
                "the document would be nested deeper than {MAX_DEPTH} levels"
            )))
        }
    }

    fn fits(&mut self, value: &Value, levels: usize) -> Result<bool, Error> {
        self.measured += 1;
        if self.measured > MAX_MEASURED {
            return Err(Error::TooLarge("the JSON patch moves too much".to_owned()));
        }
        let Some(levels) = levels.checked_sub(1) else {
            return Ok(false);
        };
        match value {
            Value::Array(items) => {
                for item in items {
                    if !self.fits(item, levels)? {
                        return Ok(false);
                    }
                }
            }
            Value::Object(map) => {
                for item in map.values() {
                    if !self.fits(item, levels)? {
                        return Ok(false);
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// Counts the members that an operation moves.
    fn shift(&mut self, members: usize) -> Result<(), Error> {
        self.moved += members;
        if self.moved > MAX_MOVED {
            return Err(Error::TooLarge("the JSON patch moves too much".to_owned()));
        }
        Ok(())
    }

    fn copy(&mut self, value: &Value) -> Result<(), Error> {
        self.copied += size(value);
        if self.copied > MAX_COPIED_BYTES {
            return Err(Error::TooLarge(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {MAX_COPIED_BYTES}",
                self.copied
            )));
        }
        Ok(())
    }
}

fn missing(why: impl std::fmt::Display) -> Error {
    Error::DoesNotApply(format!("{why}: missing value"))
}

/// About the bytes a value takes in JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + items.len() + 2,
        Value::Object(map) => {
            map.iter()
                .map(|(key, value)| key.len() + 4 + size(value))
                .sum::<usize>()
                + 2
        }
    }
}

/// The last part of a pointer and what leads to it; `None` for the whole document.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, unescape(last)))
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The place of an index in a list of this length; negative ones count from the end.
fn place(index: &str, length: usize) -> Option<usize> {
    let number: i64 = index.parse().ok()?;
    let place = if number < 0 {
        number + length as i64
    } else {
        number
    };
    usize::try_from(place).ok()
}

fn find<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    let mut here = document;
    if path.is_empty() {
        return Some(here);
    }
    for part in path.strip_prefix('/')?.split('/') {
        here = match here {
            Value::Object(map) => map.get(&unescape(part))?,
            Value::Array(items) => items.get(place(part, items.len())?)?,
            _ => return None,
        };
    }
    Some(here)
}

fn find_mut<'d>(document: &'d mut Value, path: &str) -> Option<&'d mut Value> {
    let mut here = document;
    if path.is_empty() {
        return Some(here);
    }
    for part in path.strip_prefix('/')?.split('/') {
        here = match here {
            Value::Object(map) => map.get_mut(&unescape(part))?,
            Value::Array(items) => {
                let place = place(part, items.len())?;
                items.get_mut(place)?
            }
            _ => return None,
        };
    }
    Some(here)
}

fn add(
    document: &mut Value,
    path: &str,
    value: Value,
    operation: &str,
    work: &mut Work,
) -> Result<(), Error> {
    let Some((parent, key)) = split(path) else {
        if path.is_empty() {
            *document = value;
            return Ok(());
        }
        return Err(missing(format!(
            "{operation} operation does not apply: doc is missing path: \"{path}\""
        )));
    };
    match find_mut(document, parent) {
        Some(Value::Object(map)) => {
            map.insert(key, value);
            Ok(())
        }
        Some(Value::Array(items)) if key == "-" => {
            items.push(value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            // Adding before "-1" puts the value last, as one more item makes room for it.
            let place = place(&key, items.len() + 1).filter(|place| *place <= items.len()).ok_or_else(|| {
                Error::DoesNotApply(format!(
                    "error in {operation} for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
                ))
            })?;
            work.shift(items.len() - place)?;
            items.insert(place, value);
            Ok(())
        }
        _ => Err(missing(format!(
            "{operation} operation does not apply: doc is missing path: \"{path}\""
        ))),
    }
}

fn remove(
    document: &mut Value,
    path: &str,
    operation: &str,
    work: &mut Work,
) -> Result<Value, Error> {
    let from = if operation == "move" {
        "from path"
    } else {
        "path"
    };
    let gone = || {
        missing(format!(
            "{operation} operation does not apply: doc is missing {from}: \"{path}\""
        ))
    };
    let (parent, key) = split(path).ok_or_else(gone)?;
    match find_mut(document, parent) {
        Some(Value::Object(map)) => {
            work.shift(map.len())?;
            map.shift_remove(&key).ok_or_else(|| {
                missing(format!(
                    "error in {operation} for path: '{path}': unable to remove nonexistent key: {key}"
                ))
            })
        }
        Some(Value::Array(items)) => {
            match place(&key, items.len()).filter(|place| *place < items.len()) {
                Some(place) => {
                    work.shift(items.len() - place)?;
                    Ok(items.remove(place))
                }
                None => Err(Error::DoesNotApply(format!(
                    "error in {operation} for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
                ))),
            }
        }
        _ => Err(gone()),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), Error> {
    let target = find_mut(document, path).ok_or_else(|| {
        missing(format!(
            "replace operation does not apply: doc is missing key: {path}"
        ))
    })?;
    *target = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{Error, Value, json as apply_patch};

    fn patched(mut document: Value, patch: &Value) -> Result<Value, Error> {
        apply_patch(&mut document, patch).map(|()| document)
    }

    fn why(document: Value, patch: &Value) -> String {
        patched(document, patch).unwrap_err().to_string()
    }

    #[test]
    fn a_patch_that_pushes_millions_aside_again_and_again_is_refused() {
        for (place, filled) in [
            ("/x/0", json!(vec![0; 200_000])),
            (
                "/x/k",
                Value::Object(
                    (0..200_000)
                        .map(|at| (format!("k{at}"), json!(0)))
                        .collect(),
                ),
            ),
        ] {
            let mut operations = vec![json!({"op": "add", "path": "/x", "value": filled})];
            for _ in 0..4_000 {
                operations.push(json!({"op": "add", "path": place, "value": 1}));
                operations.push(json!({"op": "remove", "path": place}));
            }
            let error = patched(json!({}), &Value::Array(operations)).unwrap_err();
            assert!(matches!(error, Error::TooLarge(_)), "{error}");
        }
        let long: Vec<Value> = (0..9_999)
            .map(|_| json!({"op": "add", "path": "/x/0", "value": 1}))
            .collect();
        assert!(patched(json!({"x": []}), &Value::Array(long)).is_ok());
    }

    #[test]
    fn every_operation_does_what_the_standard_says() {
        let document = json!({"a": {"b": [1, 2, 3]}, "x/y": 1, "m~n": 2});
        for (patch, expected) in [
            (
                json!([{"op": "add", "path": "/a/b/1", "value": 9}]),
                json!({"a": {"b": [1, 9, 2, 3]}, "x/y": 1, "m~n": 2}),
            ),
            (
                json!([{"op": "add", "path": "/a/b/-", "value": 9}]),
                json!({"a": {"b": [1, 2, 3, 9]}, "x/y": 1, "m~n": 2}),
            ),
            (
                json!([{"op": "remove", "path": "/a/b/0"}]),
                json!({"a": {"b": [2, 3]}, "x/y": 1, "m~n": 2}),
            ),
            (
                json!([{"op": "remove", "path": "/a/b/-1"}]),
                json!({"a": {"b": [1, 2]}, "x/y": 1, "m~n": 2}),
            ),
            (
                json!([{"op": "replace", "path": "/x~1y", "value": null}]),
                json!({"a": {"b": [1, 2, 3]}, "x/y": null, "m~n": 2}),
            ),
            (
                json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
                json!({"a": {}, "x/y": 1, "m~n": 2, "c": [1, 2, 3]}),
            ),
            (
                json!([{"op": "copy", "from": "/m~0n", "path": "/a/c"}]),
                json!({"a": {"b": [1, 2, 3], "c": 2}, "x/y": 1, "m~n": 2}),
            ),
            (
                json!([{"op": "test", "path": "/a/b", "value": [1, 2, 3]}, {"op": "test", "path": "/none", "value": null}]),
                document.clone(),
            ),
        ] {
            assert_eq!(
                patched(document.clone(), &patch).unwrap(),
                expected,
                "{patch}"
            );
        }
    }

    #[test]
    fn what_does_not_apply_is_told_in_upstreams_words() {
        let document = json!({"a": {}});
        for (patch, expected) in [
            (
                json!([{"op": "test", "path": "/a", "value": 1}]),
                "testing value /a failed: test failed",
            ),
            (
                json!([{"op": "remove", "path": "/b"}]),
                "error in remove for path: '/b': unable to remove nonexistent key: b: missing value",
            ),
            (
                json!([{"op": "add", "path": "/b/c", "value": 1}]),
                "add operation does not apply: doc is missing path: \"/b/c\": missing value",
            ),
            (
                json!([{"op": "replace", "path": "/b", "value": 1}]),
                "replace operation does not apply: doc is missing key: /b: missing value",
            ),
            (
                json!([{"op": "swap", "path": "/b"}]),
                "Unexpected kind: swap",
            ),
        ] {
            assert_eq!(why(document.clone(), &patch), expected);
        }
    }

    #[test]
    fn too_much_work_is_refused() {
        let patch = Value::Array(vec![json!({"op": "test", "path": "/none"}); 10_001]);
        assert!(matches!(
            patched(json!({}), &patch),
            Err(Error::TooLarge(_))
        ));
        // Each pair of copies doubles the document.
        let pair = [
            json!({"op": "copy", "from": "/a", "path": "/b"}),
            json!({"op": "copy", "from": "/b", "path": "/a/-"}),
        ];
        let patch = Value::Array(pair.iter().cycle().take(80).cloned().collect());
        assert!(matches!(
            patched(json!({"a": ["x".repeat(10_000)]}), &patch),
            Err(Error::TooLarge(_))
        ));
    }

    #[test]
    fn operations_cannot_nest_a_document_without_bound() {
        // Each copy puts the whole chain below its own end.
        let mut operations = Vec::new();
        let mut end = "/a".to_owned();
        for _ in 0..12 {
            operations.push(json!({"op": "copy", "from": "/a", "path": format!("{end}/a")}));
            end = end.repeat(2);
        }
        let error = patched(json!({"a": {}}), &Value::Array(operations)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the document would be nested deeper than 120 levels"
        );
    }

    #[test]
    fn a_malformed_patch_is_the_clients_fault() {
        for patch in [
            json!({}),
            json!([{}]),
            json!([{"op": "add"}]),
            json!([{"op": "move", "path": "/a"}]),
        ] {
            assert!(
                matches!(patched(json!({}), &patch), Err(Error::Malformed(_))),
                "{patch}"
            );
        }
    }

    fn any_operation() -> impl Strategy<Value = Value> {
        let path = "(/[ab01]){1,3}";
        let kind = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
        (kind, path, path, any::<i8>()).prop_filter_map(
            "a part of itself",
            |(kind, path, from, value)| {
                // Moving a value into itself is an error there and has no meaning here.
                let nested = kind == "move" && path.starts_with(&from);
                (!nested).then(|| json!({"op": kind, "path": path, "from": from, "value": value}))
            },
        )
    }

    proptest! {
        #[test]
        fn what_an_independent_implementation_applies_gives_the_same(operations in prop::collection::vec(any_operation(), 1..6)) {
            let document = json!({"a": {"b": [1, {"a": 2}], "0": {"a": []}}, "b": [[0], [1]], "0": 5});
            let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations.clone())).unwrap();
            let mut expected = document.clone();
            if json_patch::patch_unsafe(&mut expected, &patch).is_ok() {
                prop_assert_eq!(patched(document, &Value::Array(operations)).unwrap(), expected);
            }
        }
    }
}
