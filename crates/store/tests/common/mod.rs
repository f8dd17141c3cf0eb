//! What the store's tests share.
#![allow(dead_code, unreachable_pub, missing_docs)]

use consort_object::{Draft, Object, Revision};
use consort_store::{Expect, Key, Options, Store, Write};
use serde_json::json;

pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub fn pod(name: &str) -> Key {
    Key::new("", "pods", Some("shop"), name).unwrap()
}

/// An object whose content is `note`.
pub fn draft(key: &Key, note: &str) -> Draft {
    let value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": key.name(), "namespace": key.namespace(), "labels": {"note": note}},
        "spec": {"note": note},
    });
    Draft::from_value(&value, vec![]).unwrap()
}

pub fn put(key: &Key, note: &str, expect: Expect) -> Write {
    Write::Put {
        key: key.clone(),
        draft: draft(key, note),
        expect,
    }
}

pub fn delete(key: &Key, expect: Expect) -> Write {
    Write::Delete {
        key: key.clone(),
        expect,
    }
}

pub fn note(object: &Object) -> String {
    let value = object.value().unwrap();
    assert_eq!(
        value["metadata"]["resourceVersion"],
        json!(object.revision.to_string()),
        "the revision is in the object"
    );
    assert_eq!(value["spec"]["note"].as_str(), object.head.label("note"));
    value["spec"]["note"].as_str().unwrap().to_owned()
}

pub async fn write(store: &Store, key: &Key, content: &str) -> Revision {
    store
        .commit(vec![put(key, content, Expect::Any)])
        .await
        .unwrap()
        .revision
}

/// Names and contents under a prefix.
pub fn list(store: &Store, prefix: &str, at: Option<Revision>) -> Vec<(String, String)> {
    let page = store.range(prefix, None, None, at, |_| true).unwrap();
    page.objects
        .iter()
        .map(|o| (o.head.name.clone(), note(o)))
        .collect()
}

/// Small segments and a small cache, so that little data exercises all of it.
pub fn small(dir: &std::path::Path) -> Options {
    let mut options = Options::new(dir);
    options.segment_bytes = 16 << 10;
    options.cache_bytes = 8 << 10;
    options.upkeep = std::time::Duration::from_millis(10);
    options
}
