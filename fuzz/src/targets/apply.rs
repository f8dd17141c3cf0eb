//! Server-side apply: sequences of writes by several managers, and the sets of fields that result.

use arbitrary::{Result, Unstructured};
use consort_object::Schema;
use consort_object::apply::{
    FieldSet, ManagedFields, OneVersion, Write, apply, fields_of, merge, only, same_but_times,
    update, validate,
};
use consort_object::schema::coerce_and_check;
use consort_object::schema::shape::Shape;
use consort_object::structural::{Structural, check};
use serde_json::{Value, json};

use super::{Target, halves};
use crate::generate::{self, Kept};
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "apply",
        run: |bytes| {
            let _ = writes(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
    Target {
        name: "apply_text",
        run: text,
        seeds: seeds::applies,
        choices: false,
    },
    Target {
        name: "managed_fields",
        run: managed,
        seeds: seeds::managed_fields,
        choices: false,
    },
];

const MANAGERS: [&str; 4] = ["a", "b", "kubectl", ""];

fn writes(u: &mut Unstructured<'_>) -> Result<()> {
    let schema = Schema::builtin();
    let props;
    let structural;
    let custom = u.ratio(1u8, 3u8)?;
    let message = generate::kind(u, schema)?;
    let shape = if custom {
        props = generate::props(u, 0)?;
        if !check::schema(&props, "s", true).is_empty() {
            return Ok(());
        }
        structural = Structural::parse(&props).expect("a schema without faults is parsed");
        Shape::of_structural(&structural)
    } else {
        props = Value::Null;
        Shape::of_message(schema, message)
    };
    let api_version = message
        .kind
        .as_ref()
        .map_or("v1".to_owned(), consort_object::Gvk::api_version);
    let document = |u: &mut Unstructured<'_>| -> Result<Option<Value>> {
        let mut object = if custom {
            generate::fitting(u, &props, 0)?
        } else {
            let mut object = generate::object(u, schema, message, Kept::Whole, 0)?;
            if coerce_and_check(schema, message, &mut object).is_err() {
                return Ok(None);
            }
            object
        };
        let Value::Object(members) = &mut object else {
            return Ok(None);
        };
        members.insert("apiVersion".to_owned(), api_version.clone().into());
        if let Some(meta) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.shift_remove("managedFields");
        }
        Ok(Some(object))
    };
    let reset = FieldSet::default();
    let mut live: Option<Value> = None;
    for step in 0..u.int_in_range(2..=6usize)? {
        let write = Write {
            manager: u.choose(&MANAGERS)?,
            subresource: if u.ratio(1u8, 6u8)? { "status" } else { "" },
            api_version: &api_version,
            shape,
            versions: &OneVersion,
            reset: &reset,
            now: "2026-01-02T03:04:05Z",
        };
        let Some(mut new) = document(u)? else {
            continue;
        };
        if u.arbitrary()? {
            let force = u.arbitrary()?;
            let base = live
                .clone()
                .unwrap_or_else(|| json!({"apiVersion": api_version}));
            let Ok(result) = apply(&write, &base, &new, force) else {
                continue;
            };
            owners(&result, shape);
            let again = apply(&write, &result, &new, false).unwrap_or_else(|error| {
                panic!("step {step}: {error} when {new} is applied to {result} once more")
            });
            assert!(
                same_but_managed(&again, &result),
                "step {step}: applying {new} to {result} once more changes it: {again}"
            );
            live = Some(result);
        } else {
            if validate(shape, &new, true).is_err() {
                continue;
            }
            let list = update(&write, live.as_ref(), &new);
            if let Some(list) = list {
                if !new["metadata"].is_object() {
                    new["metadata"] = json!({});
                }
                new["metadata"]["managedFields"] = list;
            }
            owners(&new, shape);
            live = Some(new);
        }
    }
    Ok(())
}

fn same_but_managed(one: &Value, other: &Value) -> bool {
    let parts = |object: &Value| {
        let mut object = object.clone();
        let list = object["metadata"]["managedFields"].take();
        (object, list)
    };
    let (one, owners) = parts(one);
    let (other, others) = parts(other);
    one == other && (owners == others || same_but_times(&owners, &others))
}

/// The owners of an object can be read, written as they were, and own nothing twice over.
fn owners(object: &Value, shape: Shape<'_>) {
    let list = object
        .get("metadata")
        .and_then(|meta| meta.get("managedFields"));
    let managed = ManagedFields::parse(list)
        .unwrap_or_else(|error| panic!("{error} in the managed fields of {object}"));
    for entry in &managed.0 {
        laws(&entry.fields, &fields_of(shape, object));
        let _ = only(shape, object, &entry.fields);
    }
    let written = managed.write();
    assert_eq!(
        written.as_ref(),
        list.filter(|list| !list.is_null()),
        "managed fields of {object}"
    );
}

/// What holds of all sets.
fn laws(a: &FieldSet<'_>, b: &FieldSet<'_>) {
    let written = a.write();
    let read = FieldSet::parse(&written).unwrap_or_else(|error| panic!("{error} in {written}"));
    assert_eq!(&read, a, "{written}");
    let (both, left) = (a.intersection(b), a.difference(b));
    assert_eq!(left.union(&both), *a, "{} and {}", a.write(), b.write());
    assert!(left.intersection(b).is_empty());
    assert_eq!(a.union(b), b.union(a));
    assert_eq!(a.union(b).difference(b), left);
    assert_eq!(a.intersection(b), b.intersection(a));
    let paths = a.paths();
    assert!(paths.iter().all(|path| a.has(&path.0)));
    let _ = (a.leaves(), a.recursive_difference(b));
}

/// Two texts: a live object and what is applied.
fn text(bytes: &[u8]) {
    let Some((live, applied)) = halves(bytes) else {
        return;
    };
    let (Ok(live), Ok(applied)) = (
        serde_json::from_slice::<Value>(live),
        serde_json::from_slice::<Value>(applied),
    ) else {
        return;
    };
    let schema = Schema::builtin();
    let Some(message) = schema.kind(&consort_object::Gvk::of(&live)) else {
        return;
    };
    let shape = Shape::of_message(schema, message);
    let reset = FieldSet::default();
    let api_version = live["apiVersion"].as_str().unwrap_or_default();
    let write = Write {
        manager: "kubectl",
        subresource: "",
        api_version,
        shape,
        versions: &OneVersion,
        reset: &reset,
        now: "2026-01-02T03:04:05Z",
    };
    for force in [false, true] {
        if let Ok(result) = apply(&write, &live, &applied, force) {
            let list = &result["metadata"]["managedFields"];
            assert!(ManagedFields::parse(Some(list)).is_ok());
        }
    }
    let _ = update(&write, Some(&live), &applied);
    let _ = merge(shape, &live, &applied);
}

/// A text: `FieldsV1`, or a list of managed fields.
fn managed(bytes: &[u8]) {
    let (one, two) = halves(bytes).unwrap_or((bytes, b"{}"));
    let Ok(one) = serde_json::from_slice::<Value>(one) else {
        return;
    };
    let two = serde_json::from_slice::<Value>(two).unwrap_or_default();
    if let (Ok(a), Ok(b)) = (FieldSet::parse(&one), FieldSet::parse(&two)) {
        laws(&a, &b);
    }
    if let Ok(managed) = ManagedFields::parse(Some(&one)) {
        let written = managed.clone().write();
        if let Some(written) = &written {
            ManagedFields::parse(Some(written))
                .unwrap_or_else(|error| panic!("{error} in what was written: {written}"));
        }
    }
}
