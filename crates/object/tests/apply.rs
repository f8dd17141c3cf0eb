//! Server-side apply from outside: who owns what, what merges how, what is refused in which words.

#![allow(clippy::needless_pass_by_value)] // values made at the call

mod arbitrary;

use arbitrary::Random;
use consort_object::apply::{
    self, Element, Error, FieldSet, ManagedFields, OneVersion, Operation, Owner, Write,
};
use consort_object::schema::shape::{Node, Shape};
use consort_object::schema::{Gvk, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

const EARLY: &str = "2024-01-01T00:00:00Z";
const LATE: &str = "2024-01-02T00:00:00Z";

fn shape(object: &Value) -> Shape<'static> {
    let schema = Schema::builtin();
    Shape::of_message(schema, schema.kind(&Gvk::of(object)).expect("a kind"))
}

/// Runs with a write of this manager at this time.
fn by<T>(manager: &str, now: &str, object: &Value, run: impl FnOnce(&Write<'_>) -> T) -> T {
    run(&Write {
        manager,
        subresource: "",
        api_version: object["apiVersion"].as_str().expect("a version"),
        shape: shape(object),
        versions: &OneVersion,
        reset: &FieldSet::default(),
        now,
    })
}

fn apply(manager: &str, live: &Value, applied: &Value) -> Result<Value, Error> {
    by(manager, LATE, applied, |write| {
        apply::apply(write, live, applied, false)
    })
}

fn force(manager: &str, live: &Value, applied: &Value) -> Value {
    by(manager, LATE, applied, |write| {
        apply::apply(write, live, applied, true).expect("forced")
    })
}

/// An object as someone who updates makes it of another.
fn update(manager: &str, live: Option<&Value>, new: &Value) -> Value {
    let list = by(manager, EARLY, new, |write| apply::update(write, live, new));
    let mut new = new.clone();
    match list {
        Some(list) => new["metadata"]["managedFields"] = list,
        None => drop(
            new["metadata"]
                .as_object_mut()
                .and_then(|meta| meta.shift_remove("managedFields")),
        ),
    }
    new
}

fn nothing(object: &Value) -> Value {
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"]})
}

/// The fields of a manager.
fn fields(object: &Value, manager: &str, operation: &str) -> Value {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["manager"] == manager && entry["operation"] == operation)
        .map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": data})
}

fn service(ports: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"ports": ports}})
}

#[test]
fn sets_read_and_write_the_form_that_objects_carry() {
    let text = r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{}},"f:set":{"v:\"a\\u003cb\"":{},"v:1":{},"v:true":{}},"f:list":{"i:0":{}}}}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    let set = FieldSet::parse(&value).unwrap();
    let written = set.write();
    assert_eq!(FieldSet::parse(&written).unwrap(), set);
    // Fields before keys before values before indices, each in order.
    assert_eq!(
        written.to_string(),
        r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:list":{"i:0":{}},"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{}},"f:set":{"v:1":{},"v:\"a\\u003cb\"":{},"v:true":{}}}}"#
    );
    let paths: Vec<_> = set.paths().iter().map(ToString::to_string).collect();
    assert!(paths.contains(&r#".spec.ports[port=80,protocol="TCP"].port"#.to_owned()));
    assert!(paths.contains(&r#".spec.set[="a<b"]"#.to_owned()));
    // What a later version may add is passed over; what is broken is not.
    let odd = json!({"x:later": {}, "f:a": {}});
    assert_eq!(FieldSet::parse(&odd).unwrap().write(), json!({"f:a": {}}));
    for broken in [
        json!({"f": {}}),
        json!({"fa": {}}),
        json!({"v:{": {}}),
        json!({"i:x": {}}),
        json!({"f:a": 1}),
    ] {
        assert!(FieldSet::parse(&broken).is_err(), "{broken}");
    }
}

#[test]
fn a_parent_and_its_children_are_different_members_of_a_set() {
    let set = |value: &'static str| {
        let value: Value = serde_json::from_str(value).unwrap();
        FieldSet::parse(&value).unwrap().into_owned()
    };
    let all = set(r#"{"f:a":{".":{},"f:b":{},"f:c":{"f:d":{}}}}"#);
    let parent = set(r#"{"f:a":{}}"#);
    let child = set(r#"{"f:a":{"f:b":{}}}"#);
    assert_eq!(
        all.difference(&parent).write(),
        json!({"f:a": {"f:b": {}, "f:c": {"f:d": {}}}})
    );
    assert_eq!(
        all.difference(&child).write(),
        json!({"f:a": {".": {}, "f:c": {"f:d": {}}}})
    );
    assert!(all.recursive_difference(&parent).is_empty());
    assert_eq!(all.recursive_difference(&child), all.difference(&child));
    assert_eq!(all.intersection(&parent), parent);
    assert_eq!(
        parent.union(&child).write(),
        json!({"f:a": {".": {}, "f:b": {}}})
    );
    assert_eq!(
        all.leaves().write(),
        json!({"f:a": {"f:b": {}, "f:c": {"f:d": {}}}})
    );
    assert!(all.has(&[
        Element::field("a"),
        Element::field("c"),
        Element::field("d")
    ]));
    assert!(!all.has(&[Element::field("a"), Element::field("c")]));
}

#[test]
fn what_is_applied_to_nothing_is_owned_and_applied_again_changes_nothing() {
    let config = map(json!({"key": "value"}));
    let first = apply("a", &nothing(&config), &config).unwrap();
    assert_eq!(
        first["metadata"]["managedFields"],
        json!([{"manager": "a", "operation": "Apply", "apiVersion": "v1", "time": LATE,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:key": {}}}}])
    );
    let again = by("a", "2025-01-01T00:00:00Z", &config, |write| {
        apply::apply(write, &first, &config, false)
    });
    assert_eq!(again.unwrap(), first, "the time stays");
}

#[test]
fn one_conflict_is_told_in_one_line_and_more_by_manager() {
    let mut live = map(json!({"x": "1", "y": "1"}));
    live = update("writer", None, &live);
    live = apply("first", &live, &map(json!({"z": "1"}))).unwrap();
    let Err(Error::Conflicts(one)) = apply("me", &live, &map(json!({"z": "2"}))) else {
        panic!("a conflict");
    };
    assert_eq!(
        one.to_string(),
        "Apply failed with 1 conflict: conflict with \"first\": .data.z"
    );
    let Err(Error::Conflicts(more)) =
        apply("me", &live, &map(json!({"x": "2", "y": "2", "z": "2"})))
    else {
        panic!("conflicts");
    };
    let status = more.status();
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"first\":\n- .data.z\nconflicts with \"writer\" using v1:\n- .data.x\n- .data.y"
    );
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let cause = &status.details.unwrap().causes[1];
    assert_eq!(cause.reason, "FieldManagerConflict");
    assert_eq!(cause.message, "conflict with \"writer\" using v1");
    assert_eq!(cause.field, ".data.x");
    // The same value is no conflict: it is owned together.
    let shared = apply("me", &live, &map(json!({"x": "1"}))).unwrap();
    assert_eq!(
        fields(&shared, "me", "Apply"),
        fields(&shared, "me", "Apply")
    );
    assert_eq!(
        fields(&shared, "writer", "Update")["f:data"]["f:x"],
        json!({})
    );
}

#[test]
fn force_takes_the_fields_from_their_owners() {
    let live = apply(
        "first",
        &nothing(&map(json!({}))),
        &map(json!({"x": "1", "y": "1"})),
    )
    .unwrap();
    let taken = force("me", &live, &map(json!({"x": "2"})));
    assert_eq!(taken["data"], json!({"x": "2", "y": "1"}));
    assert_eq!(
        fields(&taken, "me", "Apply"),
        json!({"f:data": {"f:x": {}}})
    );
    assert_eq!(
        fields(&taken, "first", "Apply"),
        json!({"f:data": {"f:y": {}}})
    );
}

#[test]
fn what_is_no_longer_applied_goes_unless_someone_else_owns_it() {
    let empty = nothing(&map(json!({})));
    let live = apply("a", &empty, &map(json!({"mine": "1", "shared": "1"}))).unwrap();
    let live = apply("b", &live, &map(json!({"shared": "1"}))).unwrap();
    let live = apply("a", &live, &map(json!({"new": "1"}))).unwrap();
    assert_eq!(live["data"], json!({"shared": "1", "new": "1"}));
    // What an updater has set since is its own.
    let mut changed = live.clone();
    changed["data"]["new"] = "2".into();
    let live = update("u", Some(&live), &changed);
    let live = apply("a", &live, &map(json!({"other": "1"}))).unwrap();
    assert_eq!(
        live["data"],
        json!({"shared": "1", "new": "2", "other": "1"})
    );
    let live = apply("b", &live, &nothing(&map(json!({})))).unwrap();
    assert_eq!(live["data"], json!({"new": "2", "other": "1"}));
    assert!(
        fields(&live, "b", "Apply").is_null(),
        "who owns nothing is not listed"
    );
}

#[test]
fn items_are_merged_by_their_keys_and_defaults_of_keys_count() {
    let live = apply(
        "a",
        &nothing(&service(json!([]))),
        &service(
            json!([{"port": 80, "name": "http"}, {"port": 80, "protocol": "UDP", "name": "dns"}]),
        ),
    )
    .unwrap();
    let live = apply(
        "b",
        &live,
        &service(json!([{"port": 443, "name": "tls"}, {"port": 80, "name": "http"}])),
    )
    .unwrap();
    assert_eq!(
        live["spec"]["ports"],
        json!([{"port": 443, "name": "tls"}, {"port": 80, "name": "http"}, {"port": 80, "protocol": "UDP", "name": "dns"}])
    );
    assert_eq!(
        fields(&live, "b", "Apply"),
        json!({"f:spec": {"f:ports": {
            "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}},
            "k:{\"port\":443,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}}})
    );
    let live = apply(
        "a",
        &live,
        &service(json!([{"port": 80, "protocol": "TCP", "name": "http"}])),
    )
    .unwrap();
    let names: Vec<_> = live["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| &port["name"])
        .collect();
    assert_eq!(names, ["tls", "http"], "the item only `a` had is gone");
}

#[test]
fn what_cannot_be_merged_is_refused_in_upstreams_words() {
    let refused = |object: Value| match apply("a", &nothing(&object), &object) {
        Err(Error::Failed(why)) => why.split_once("): ").expect("a title").1.to_owned(),
        other => panic!("{other:?}"),
    };
    let mut unknown = map(json!({}));
    unknown["nonsense"] = 1.into();
    assert_eq!(refused(unknown), ".nonsense: field not declared in schema");
    assert_eq!(
        refused(map(json!({"a": 1}))),
        ".data.a: expected string, got &value.valueUnstructured{Value:1}"
    );
    assert_eq!(
        refused(service(
            json!([{"port": 80}, {"port": 80, "protocol": "TCP"}])
        )),
        r#".spec.ports: duplicate entries for key [port=80,protocol="TCP"]"#
    );
    assert_eq!(
        refused(service(json!(["a"]))),
        ".spec.ports: element 0: associative list with keys may not have non-map elements"
    );
    assert_eq!(
        refused(service(json!([{"port": "x", "targetPort": {}}]))),
        "errors:\n  .spec.ports[port=\"x\",protocol=\"TCP\"].port: expected numeric (int or float), got string\n  .spec.ports[port=\"x\",protocol=\"TCP\"].targetPort: expected any scalar, got &{map[]}"
    );
    let mut listed = map(json!({}));
    listed["metadata"]["managedFields"] = json!([]);
    assert!(
        matches!(apply("a", &nothing(&listed), &listed), Err(Error::Refused(why)) if why == "metadata.managedFields must be nil")
    );
    let why = apply("a", &nothing(&map(json!({}))), &map(json!({"a": 1}))).unwrap_err();
    assert!(
        why.to_string()
            .starts_with("failed to create typed patch object (n/a; /v1, Kind=ConfigMap): "),
        "{why}"
    );
}

#[test]
fn an_object_that_nobody_owned_had_someone_before_the_first_apply() {
    let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}, "data": {"x": "1"}});
    let Err(Error::Conflicts(conflicts)) = apply("a", &live, &map(json!({"x": "2"}))) else {
        panic!("a conflict");
    };
    assert_eq!(conflicts.0[0].owner, "\"before-first-apply\" using v1");
    let live = apply("a", &live, &map(json!({"y": "2"}))).unwrap();
    assert_eq!(
        fields(&live, "before-first-apply", "Update"),
        json!({"f:data": {".": {}, "f:x": {}}})
    );
}

#[test]
fn what_kubectl_applied_from_the_client_is_its_own_on_the_server() {
    let manifest = map(json!({"x": "1", "gone": "1"}));
    let mut live = manifest.clone();
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": manifest.to_string()});
    let live = update("kubectl-client-side-apply", None, &live);
    let changed = map(json!({"x": "2"}));
    assert!(apply("other", &live, &changed).is_err());
    let applied = apply("kubectl", &live, &changed).unwrap();
    assert_eq!(applied["data"]["x"], "2");
    assert_eq!(
        applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"],
        "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"}}\n"
    );
    // What the annotation did not set, or someone has changed since, is a conflict as ever.
    let mut touched = live.clone();
    touched["data"]["x"] = "3".into();
    let live = update("someone", Some(&live), &touched);
    let Err(Error::Conflicts(conflicts)) = apply("kubectl", &live, &changed) else {
        panic!("a conflict");
    };
    assert_eq!(conflicts.0[0].owner, "\"someone\" using v1");
}

#[test]
fn updates_own_what_they_change_and_creates_what_they_make() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"l": "1"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": ""}});
    let made = update("maker", None, &pod);
    assert_eq!(
        fields(&made, "maker", "Update"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}}}, "f:spec": {"f:containers": {
            "k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}, "f:nodeName": {}}}),
        "structs that upstream always writes are there, `spec` is no change"
    );
    let mut changed = made.clone();
    changed["spec"]["containers"][0]["image"] = "j".into();
    changed["metadata"]["labels"] = json!({"m": "1"});
    let changed = update("other", Some(&made), &changed);
    assert_eq!(
        fields(&changed, "other", "Update"),
        json!({"f:metadata": {"f:labels": {"f:m": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:image": {}}}}})
    );
    assert!(fields(&changed, "maker", "Update")["f:metadata"]["f:labels"]["f:l"].is_null());
    let same = update("third", Some(&changed), &changed);
    assert_eq!(same, changed, "who changes nothing owns nothing");
}

#[test]
fn managed_fields_can_be_reset_and_replaced_but_not_lost() {
    let live = update("a", None, &map(json!({"x": "1"})));
    let with = |list: Value| {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = list;
        update("b", Some(&live), &new)["metadata"]["managedFields"].clone()
    };
    assert!(with(json!([{}])).is_null());
    assert!(with(json!([])).is_null());
    let kept = &live["metadata"]["managedFields"];
    assert_eq!(with(Value::Null), *kept);
    assert_eq!(
        with(json!([{"manager": "x", "operation": "Nonsense"}])),
        *kept,
        "what cannot be read is not taken"
    );
    let moved = json!([{"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": EARLY,
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}}]);
    assert_eq!(with(moved.clone()), moved);
}

#[test]
fn duplicates_that_are_stored_are_owned_by_their_key_alone() {
    let pod = |env: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c", "env": env}]}})
    };
    let live = update(
        "u",
        None,
        &pod(json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])),
    );
    let env =
        &fields(&live, "u", "Update")["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:env"];
    assert_eq!(env["k:{\"name\":\"A\"}"], json!({}));
    // An apply of the key replaces all of them.
    let applied = force("a", &live, &pod(json!([{"name": "A", "value": "3"}])));
    assert_eq!(
        applied["spec"]["containers"][0]["env"],
        json!([{"name": "A", "value": "3"}])
    );
}

#[test]
fn the_oldest_of_many_updaters_become_one() {
    let mut live = update("m00", None, &map(json!({"k00": "1"})));
    for n in 1..15 {
        let mut new = live.clone();
        new["data"][format!("k{n:02}")] = "1".into();
        let now = format!("2024-01-01T00:00:{n:02}Z");
        let list = by(&format!("m{n:02}"), &now, &new, |write| {
            apply::update(write, Some(&live), &new)
        });
        new["metadata"]["managedFields"] = list.unwrap();
        live = new;
    }
    let list = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(list.len(), 10);
    assert_eq!(list[0]["manager"], "ancient-changes");
    assert_eq!(
        list[0]["fieldsV1"]["f:data"].as_object().unwrap().len(),
        7,
        "six keys and the map"
    );
    assert_eq!(list[9]["manager"], "m14");
}

#[test]
fn entries_stand_by_operation_time_manager_version_and_subresource() {
    let entry = |manager: &str, operation: &str, time: &str, subresource: &str| {
        let mut entry = json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}});
        if !subresource.is_empty() {
            entry["subresource"] = subresource.into();
        }
        entry
    };
    let sorted = json!([
        entry("z", "Apply", LATE, ""),
        entry("b", "Update", EARLY, ""),
        entry("b", "Update", EARLY, "status"),
        entry("a", "Update", LATE, ""),
    ]);
    let mut mixed = sorted.as_array().unwrap().clone();
    mixed.reverse();
    let mixed = Value::Array(mixed);
    let read = ManagedFields::parse(Some(&mixed)).unwrap();
    let owner = Owner {
        manager: "b".into(),
        operation: Operation::Update,
        api_version: "v1".into(),
        subresource: "status".into(),
    };
    assert_eq!(read.entry(&owner).unwrap().time.as_deref(), Some(EARLY));
    assert_eq!(read.write().unwrap(), sorted);
}

#[test]
fn fields_below_what_has_become_one_value_are_owned_as_it() {
    let mut live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"},
        "spec": {"nodeSelector": {"a": "1"}, "containers": []}});
    live["metadata"]["managedFields"] = json!([{"manager": "m", "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:nodeSelector": {"f:a": {}}}}}]);
    let mut new = live.clone();
    new["spec"]["hostNetwork"] = true.into();
    let new = update("u", Some(&live), &new);
    assert_eq!(
        fields(&new, "m", "Apply"),
        json!({"f:spec": {"f:nodeSelector": {}}})
    );
}

#[test]
fn owners_in_a_version_that_is_gone_are_forgotten() {
    let mut live = map(json!({"x": "1"}));
    live["metadata"]["managedFields"] = json!([{"manager": "m", "operation": "Apply", "apiVersion": "v0",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}}]);
    let applied = apply("a", &live, &map(json!({"x": "2"}))).unwrap();
    assert!(fields(&applied, "m", "Apply").is_null());
}

#[test]
fn the_replicas_change_hands_between_an_object_and_its_scale() {
    let entry = |manager: &str, fields: Value| {
        json!({"manager": manager, "operation": "Update",
        "apiVersion": "apps/v1", "time": EARLY, "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    let list = json!([
        entry("a", json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})),
        entry("b", json!({"f:spec": {"f:x": {}}}))
    ]);
    let path = |version: &str| (version == "apps/v1").then(|| vec!["spec", "replicas"]);
    let shown = apply::to_scale(Some(&list), path).unwrap().unwrap();
    assert_eq!(shown[0]["apiVersion"], "autoscaling/v1");
    assert_eq!(shown[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(shown.as_array().unwrap().len(), 1);
    // Nobody took them: all is as it was.
    let same = apply::from_scale(Some(&list), Some(&shown), "apps/v1", path)
        .unwrap()
        .unwrap();
    assert_eq!(same, list);
    let taken = json!([{"manager": "hpa", "operation": "Update", "apiVersion": "autoscaling/v1", "time": LATE,
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}, "subresource": "scale"}]);
    let after = apply::from_scale(Some(&list), Some(&taken), "apps/v1", path)
        .unwrap()
        .unwrap();
    assert_eq!(after[0]["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(
        (
            &after[2]["manager"],
            &after[2]["apiVersion"],
            &after[2]["subresource"]
        ),
        (&json!("hpa"), &json!("apps/v1"), &json!("scale"))
    );
}

#[test]
fn without_a_schema_maps_are_granular_and_lists_one_value() {
    let live = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "spec": {"m": {"a": 1}, "l": [1]}});
    let shape = Shape::UNTYPED;
    let merged = apply::merge(shape, &live, &json!({"spec": {"m": {"b": 2}, "l": [2]}}));
    assert_eq!(merged["spec"], json!({"m": {"a": 1, "b": 2}, "l": [2]}));
    assert_eq!(
        apply::fields_of(shape, &live["spec"]).write(),
        json!({"f:l": {}, "f:m": {".": {}, "f:a": {}}})
    );
    // From a map to a scalar and back.
    let changed = apply::compare(shape, &json!({"x": {"a": 1}}), &json!({"x": 1}))
        .modified
        .write();
    assert_eq!(changed, json!({"f:x": {}}));
}

/// The document as it can be applied: items of lists can be told apart, nothing is null or empty, and nothing
/// is in it that nobody owns.
fn applicable(shape: Shape<'_>, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                applicable(shape.member(name).unwrap_or(Shape::UNTYPED), value);
            }
            members.retain(|_, value| !is_empty(value));
        }
        Value::Array(_) => {
            let node = shape.node(value);
            let Value::Array(items) = value else { return };
            for item in items.iter_mut() {
                applicable(shape.item(), item);
            }
            items.retain(|item| !is_empty(item));
            let mut seen = Vec::new();
            items.retain(|item| {
                let element = match node {
                    Node::Set => Element::of_set_item(item),
                    Node::ListMap(keys) => Element::of_keyed_item(keys, item),
                    _ => return true,
                };
                let Ok(element) = element.map(Element::into_owned) else {
                    return false;
                };
                let new = !seen.contains(&element);
                seen.push(element);
                new
            });
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn config(kind: &Gvk, seed: u64) -> Value {
    let schema = Schema::builtin();
    let message = schema.kind(kind).expect("a kind");
    let mut object = arbitrary::object(schema, message, &mut Random(seed));
    object["metadata"] = json!({"labels": object["metadata"]["labels"].clone(), "finalizers": object["metadata"]["finalizers"].clone()});
    applicable(Shape::of_message(schema, message), &mut object);
    object
}

fn kinds() -> impl Strategy<Value = Gvk> {
    prop::sample::select(vec![
        Gvk::new("", "v1", "Pod"),
        Gvk::new("", "v1", "Service"),
        Gvk::new("apps", "v1", "Deployment"),
        Gvk::new("networking.k8s.io", "v1", "Ingress"),
        Gvk::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    ])
}

/// The same without order where order means nothing, and without what is empty.
fn plain(mut value: Value) -> Value {
    if let Some(meta) = value["metadata"].as_object_mut() {
        meta.shift_remove("managedFields");
    }
    applicable(Shape::UNTYPED, &mut value);
    value.sort_all_objects();
    value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn applying_twice_is_applying_once_and_gives_back_what_was_applied(kind in kinds(), seed: u64) {
        let config = config(&kind, seed);
        let once = apply("a", &nothing(&config), &config).unwrap();
        let twice = apply("a", &once, &config).unwrap();
        prop_assert_eq!(&once, &twice);
        let own = fields(&once, "a", "Apply");
        let own = FieldSet::parse(&own).unwrap();
        let mut mine = apply::only(shape(&config), &once, &own);
        mine["apiVersion"] = config["apiVersion"].clone();
        mine["kind"] = config["kind"].clone();
        prop_assert_eq!(plain(mine), plain(config));
    }

    #[test]
    fn what_is_applied_and_then_left_out_leaves_nothing(kind in kinds(), seed: u64) {
        let config = config(&kind, seed);
        let once = apply("a", &nothing(&config), &config).unwrap();
        let gone = apply("a", &once, &nothing(&config)).unwrap();
        prop_assert_eq!(plain(gone), plain(nothing(&config)));
    }

    #[test]
    fn conflicts_are_the_same_from_both_sides(kind in kinds(), one: u64, other: u64) {
        let (one, other) = (config(&kind, one), config(&kind, other));
        let told = |first: &Value, second: &Value| {
            let live = apply("a", &nothing(first), first).unwrap();
            match apply("b", &live, second) {
                Ok(_) => Vec::new(),
                Err(Error::Conflicts(conflicts)) => {
                    let mut fields: Vec<_> = conflicts.0.into_iter().map(|conflict| conflict.field).collect();
                    fields.sort();
                    fields
                }
                Err(other) => panic!("{other}"),
            }
        };
        prop_assert_eq!(told(&one, &other), told(&other, &one));
    }

    #[test]
    fn hostile_managed_fields_are_refused_or_read_and_written_the_same(text in "\\PC{0,40}") {
        let object = json!({(text.clone()): {}, (format!("f:{text}")): {(format!("k:{text}")): {}, ".": {}}});
        if let Ok(set) = FieldSet::parse(&object) {
            let written = set.write();
            prop_assert_eq!(FieldSet::parse(&written).unwrap(), set);
        }
    }
}
