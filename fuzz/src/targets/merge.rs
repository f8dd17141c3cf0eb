//! Patches: JSON patch and merge patch beside another implementation, strategic merge patches by their laws.

use arbitrary::{Result, Unstructured};
use consort_object::schema::coerce_and_check;
use consort_object::{Schema, patch};
use serde_json::{Value, json};

use super::{Target, halves};
use crate::generate::{self, Kept};
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "patch_text",
        run: text,
        seeds: seeds::patches,
        choices: false,
    },
    Target {
        name: "json_patch",
        run: |bytes| {
            let _ = json_patch(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
    Target {
        name: "merge_patch",
        run: |bytes| {
            let _ = merge_patch(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
    Target {
        name: "strategic_patch",
        run: |bytes| {
            let _ = strategic(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
];

/// Two texts: a document and a patch of any type.
fn text(bytes: &[u8]) {
    let Some((document, change)) = halves(bytes) else {
        return;
    };
    let (Ok(document), Ok(change)) = (
        serde_json::from_slice::<Value>(document),
        serde_json::from_slice::<Value>(change),
    ) else {
        return;
    };
    same_json_patch(&document, &change);
    same_merge_patch(&document, &change);
    let schema = Schema::builtin();
    if let Some(message) = schema.kind(&consort_object::Gvk::of(&document)) {
        let mut patched = document;
        let _ = patch::strategic(schema, message, &mut patched, &change);
    }
}

fn json_patch(u: &mut Unstructured<'_>) -> Result<()> {
    let document = generate::value(u, 1)?;
    let mut operations = Vec::new();
    for _ in 0..u.int_in_range(1..=5usize)? {
        let op = *u.choose(&["add", "remove", "replace", "move", "copy", "test", "bogus"])?;
        let mut operation = json!({"op": op, "path": pointer(u, &document)?});
        if matches!(op, "move" | "copy") || u.ratio(1u8, 20u8)? {
            operation["from"] = pointer(u, &document)?.into();
        }
        if !matches!(op, "move" | "copy" | "remove") && !u.ratio(1u8, 20u8)? {
            operation["value"] = generate::value(u, 4)?;
        }
        operations.push(operation);
    }
    same_json_patch(&document, &Value::Array(operations));
    Ok(())
}

/// A pointer into a document, most often to something.
fn pointer(u: &mut Unstructured<'_>, document: &Value) -> Result<String> {
    let mut text = String::new();
    let mut at = Some(document);
    while !u.is_empty() && u.ratio(2u8, 3u8)? {
        let step = match at {
            Some(Value::Object(map)) if !map.is_empty() && !u.ratio(1u8, 5u8)? => {
                let keys: Vec<&String> = map.keys().collect();
                (*u.choose(&keys)?).clone()
            }
            Some(Value::Array(list)) => match u.int_in_range(0..=9u8)? {
                0 => "-".to_owned(),
                1 => "01".to_owned(),
                2 => list.len().to_string(),
                3 => (list.len() + 1).to_string(),
                _ => u.int_in_range(0..=list.len())?.to_string(),
            },
            _ => generate::name(u)?,
        };
        at = match at {
            Some(Value::Array(list)) => step.parse().ok().and_then(|at: usize| list.get(at)),
            Some(Value::Object(map)) => map.get(&step),
            _ => None,
        };
        text.push('/');
        text.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    Ok(text)
}

/// Where both take a patch they give the same. What each refuses differs in places: ours follows upstream's library.
fn same_json_patch(document: &Value, operations: &Value) {
    let mut ours = document.clone();
    // The other one has no bounds: it would nest what ours refuses to.
    if patch::json(&mut ours, operations).is_err() {
        return;
    }
    let Ok(parsed) = serde_json::from_value::<json_patch::Patch>(operations.clone()) else {
        return;
    };
    // The other one takes `test` of numbers by their kind, and moves into what is moved.
    let told_apart = operations.as_array().is_some_and(|all| {
        all.iter().any(|one| {
            let texts = ["op", "path", "from"].map(|name| one[name].as_str().unwrap_or_default());
            texts[0] == "test" || texts[1].starts_with(texts[2]) && texts[0] == "move"
        })
    });
    let mut theirs = document.clone();
    // The one that undoes its steps when one fails, fails itself at undoing some.
    let their = json_patch::patch_unsafe(&mut theirs, &parsed);
    if their.is_ok() && !told_apart {
        assert_eq!(ours, theirs, "{document} patched by {operations}");
    }
}

fn merge_patch(u: &mut Unstructured<'_>) -> Result<()> {
    let document = generate::value(u, 1)?;
    let change = generate::value(u, 1)?;
    same_merge_patch(&document, &change);
    Ok(())
}

fn same_merge_patch(document: &Value, change: &Value) {
    let mut ours = document.clone();
    patch::merge(&mut ours, change);
    let mut theirs = document.clone();
    json_patch::merge(&mut theirs, change);
    // Whether a null inside a list stays is the one thing RFC 7386 and upstream's library see in two ways.
    if !nulls_in_lists(change) {
        assert_eq!(ours, theirs, "{document} merged with {change}");
    }
    let once = ours.clone();
    patch::merge(&mut ours, change);
    assert_eq!(ours, once, "a merge patch applied twice");
}

fn nulls_in_lists(value: &Value) -> bool {
    match value {
        Value::Array(items) => items
            .iter()
            .any(|item| item.is_null() || nulls_inside(item)),
        Value::Object(map) => map.values().any(nulls_in_lists),
        _ => false,
    }
}

fn nulls_inside(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(nulls_inside),
        Value::Object(map) => map.values().any(nulls_inside),
        _ => false,
    }
}

fn strategic(u: &mut Unstructured<'_>) -> Result<()> {
    let schema = Schema::builtin();
    let message = generate::kind(u, schema)?;
    let mut document = generate::object(u, schema, message, Kept::Whole, 0)?;
    if coerce_and_check(schema, message, &mut document).is_err() || !document.is_object() {
        return Ok(());
    }
    // Nothing asked for is nothing changed.
    let mut same = document.clone();
    assert!(patch::strategic(schema, message, &mut same, &json!({})).is_ok());
    assert_eq!(same, document);
    let change = generate::strategic(u, schema, message, &document, 0)?;
    let mut patched = document.clone();
    if patch::strategic(schema, message, &mut patched, &change).is_ok() {
        let _ = coerce_and_check(schema, message, &mut patched);
    }
    Ok(())
}
