//! What create, update and patch share: the object's life in `metadata`, drafts, commits.

use crate::api::Inner;
use crate::custom;
use crate::error::{Failure, Outcome, internal};
use crate::handlers::read::store_failure;
use crate::kind::Kind;
use crate::managed;
use crate::values::{at, copy, ensure, int, items, set, take, text};
use consort_object::{Draft, Head, Object, Revision};
use consort_store::{Error, Expect, Key, Write};
use rand::RngExt;
use serde_json::Value;

/// What a write gave.
pub(crate) struct Written {
    /// The object as stored, or as it would be.
    pub result: WrittenObject,
    /// What the client should be warned of.
    pub warnings: Vec<String>,
    /// It was not there before.
    pub created: bool,
}

/// The object a write gave.
pub(crate) enum WrittenObject {
    /// It is stored.
    Stored(Object),
    /// It is not: a dry run.
    Dry(Value),
}

/// Letters and digits of generated names, without those that make words.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The longest base of a generated name.
const BASE_LENGTH: usize = 63 - 5;

/// A suffix of five random characters.
pub(crate) fn random_suffix() -> String {
    let mut random = rand::rng();
    (0..5)
        .map(|_| char::from(SUFFIX_ALPHABET[random.random_range(0..SUFFIX_ALPHABET.len())]))
        .collect()
}

/// A name from a `generateName`.
pub(crate) fn generated_name(base: &str) -> String {
    let end = base
        .char_indices()
        .map(|(at, _)| at)
        .take_while(|at| *at <= BASE_LENGTH)
        .last();
    let base = if base.len() > BASE_LENGTH {
        &base[..end.unwrap_or(0)]
    } else {
        base
    };
    format!("{base}{}", random_suffix())
}

/// Give a new object what the server alone sets in `metadata`.
pub(crate) fn birth(kind: &Kind, value: &mut Value) {
    let meta = ensure(value, "metadata");
    for field in [
        "selfLink",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
    ] {
        take(meta, field);
    }
    set(meta, "uid", uuid::Uuid::new_v4().to_string());
    set(meta, "creationTimestamp", consort_object::time::now());
    if kind.generation {
        set(meta, "generation", 1);
    }
}

/// Carry over what a client cannot change in `metadata`.
pub(crate) fn carry_over(new: &mut Value, old: &Value) {
    let before = &old["metadata"];
    let meta = ensure(new, "metadata");
    for field in [
        "name",
        "generateName",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        copy(meta, before, field);
    }
    for field in ["selfLink", "managedFields", "resourceVersion"] {
        take(meta, field);
    }
    for field in ["labels", "annotations", "ownerReferences", "finalizers"] {
        // An empty map or list is the same as none.
        let empty = match meta.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            _ => false,
        };
        if empty {
            take(meta, field);
        }
    }
}

/// Count a change of the desired state.
pub(crate) fn count_generation(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.generation && kind.strategy.wants_more(new, old) {
        let next = int(old, &["metadata", "generation"]) + 1;
        set(ensure(new, "metadata"), "generation", next);
    }
}

/// Was anything but the revision changed?
pub(crate) fn unchanged(new: &Value, old: &Value) -> bool {
    managed::same_without(new, old, &["resourceVersion"])
}

/// Is an object that is being deleted free to go?
pub(crate) fn may_go(kind: &Kind, value: &Value) -> bool {
    let meta = &value["metadata"];
    at(meta, &["deletionTimestamp"]).is_some()
        && items(meta, &["finalizers"]).is_empty()
        && int(meta, &["deletionGracePeriodSeconds"]) == 0
        && (kind.kind != "Namespace"
            || !kind.group.is_empty()
            || items(value, &["spec", "finalizers"]).is_empty())
}

/// An object ready to be stored.
pub(crate) fn draft(kind: &Kind, value: &Value) -> Outcome<Draft> {
    let head = Head::extract(value, kind.strategy.fields(value)).map_err(internal)?;
    Draft::new(head, value).map_err(internal)
}

/// What became of a commit of one write.
pub(crate) enum Committed {
    /// It is durable.
    Done(Object),
    /// The object was not as expected.
    Conflict,
}

/// Commit one write.
pub(crate) async fn commit(inner: &Inner, write: Write) -> Outcome<Committed> {
    match inner.commit(vec![write]).await {
        Ok(done) => {
            let object = done.objects.into_iter().next().flatten();
            object
                .map(Committed::Done)
                .ok_or_else(|| internal("the store kept no object"))
        }
        Err(Error::Conflict { .. }) => Ok(Committed::Conflict),
        Err(other) => Err(store_failure(other)),
    }
}

/// Commit an object that must not have changed since `revision`.
pub(crate) async fn replace(
    inner: &Inner,
    kind: &Kind,
    key: Key,
    value: &Value,
    revision: Revision,
) -> Outcome<Committed> {
    let write = Write::Put {
        key,
        draft: custom::drafted(inner, kind, value).await?,
        expect: Expect::At(revision),
    };
    commit(inner, write).await
}

/// The failure of a write whose object someone else changed.
pub(crate) fn modified(kind: &Kind, name: &str) -> Failure {
    Box::new(consort_object::status::Status::modified(
        &kind.group,
        &kind.plural,
        name,
    ))
}

/// The revision a client says its object has.
pub(crate) fn claimed_revision(value: &Value) -> &str {
    text(value, &["metadata", "resourceVersion"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_their_base_and_fit_a_label() {
        let name = generated_name("web-");
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
        assert_eq!(generated_name(&"x".repeat(80)).len(), 63);
    }
}
