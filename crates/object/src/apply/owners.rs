//! Who owns what after a write: updates take the fields they change, applies own what they mention.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::compare::{Comparison, compare, compare_merged};
use super::conflict::{Conflict, Conflicts};
use super::element::same;
use super::fields::fields_of;
use super::last_applied;
use super::managed::{Entry, ManagedFields, Operation, Owner, is_reset};
use super::merge::merge;
use super::prune::prune;
use super::reconcile::reconcile;
use super::set::FieldSet;
use super::validate::validate;
use crate::schema::Gvk;
use crate::schema::shape::Shape;

/// Managers that update and not apply: the oldest beyond this number become one.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";
const BEFORE_APPLY: &str = "before-first-apply";
const UNKNOWN: &str = "unknown";

/// The other versions of a kind.
pub trait Versions {
    /// An object (in any version of the kind) in the version of this `apiVersion`, and how that version
    /// merges. `Ok(None)`: the version is not served (any more).
    ///
    /// # Errors
    ///
    /// In words, why the conversion failed.
    #[allow(clippy::type_complexity)]
    fn convert<'v>(
        &'v self,
        object: &Value,
        api_version: &str,
    ) -> Result<Option<(Value, Shape<'v>)>, String>;
}

/// A kind of one version.
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert<'v>(&'v self, _: &Value, _: &str) -> Result<Option<(Value, Shape<'v>)>, String> {
        Ok(None)
    }
}

/// A write: by whom, through what, of objects of what shape.
#[derive(Clone, Copy)]
pub struct Write<'r> {
    /// The manager's name; empty for one that did not say.
    pub manager: &'r str,
    /// The subresource; empty for the object itself.
    pub subresource: &'r str,
    /// The version of the request, in which both objects are.
    pub api_version: &'r str,
    /// How that version merges.
    pub shape: Shape<'r>,
    /// The other versions.
    pub versions: &'r dyn Versions,
    /// Fields that this write cannot change and that nobody owns through it.
    pub reset: &'r FieldSet<'r>,
    /// The present, in seconds.
    pub now: &'r str,
}

/// Why an apply did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others own fields it would change (409).
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
    /// What is applied cannot be (400).
    #[error("{0}")]
    Refused(String),
    /// What is applied does not fit the schema, or what is stored is damaged (500, as upstream answers).
    #[error("{0}")]
    Failed(String),
}

fn list_of(object: &Value) -> Option<&Value> {
    object
        .get("metadata")?
        .get("managedFields")
        .filter(|list| !list.is_null())
}

fn put_list(object: &mut Value, list: Option<Value>) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    match list {
        Some(list) => {
            let meta = object
                .entry("metadata")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(meta) = meta.as_object_mut() {
                meta.insert("managedFields".to_owned(), list);
            }
        }
        None => {
            if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                meta.shift_remove("managedFields");
            }
        }
    }
}

/// The fields nobody owns: identity and what the server alone writes.
fn unowned() -> &'static FieldSet<'static> {
    static UNOWNED: OnceLock<FieldSet<'static>> = OnceLock::new();
    UNOWNED.get_or_init(|| {
        FieldSet::of_fields(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    })
}

/// The managed fields of `new` after a create (`live` is none), an update or a patch that made it of `live`.
/// Both may carry `metadata.managedFields`: those of `new` count where the client may set them and has.
///
/// Never fails: when the owners cannot be told, those of the live object stay.
pub fn update(write: &Write<'_>, live: Option<&Value>, new: &Value) -> Option<Value> {
    let stored = live.and_then(list_of);
    match try_update(write, live, new) {
        Ok(list) => list,
        Err(_) => stored.cloned(),
    }
}

fn try_update(
    write: &Write<'_>,
    live: Option<&Value>,
    new: &Value,
) -> Result<Option<Value>, String> {
    let stored = || ManagedFields::parse(live.and_then(list_of)).unwrap_or_default();
    let sent = list_of(new);
    let managed = if !write.subresource.is_empty() {
        stored()
    } else if sent.is_some_and(is_reset) {
        ManagedFields::default()
    } else {
        // A client that does not know of managed fields must not lose them.
        match ManagedFields::parse(sent) {
            Ok(sent) if !sent.is_empty() => sent,
            _ => stored(),
        }
    };
    if managed.is_empty() && live.is_some() {
        return Ok(None);
    }
    let nothing = Value::Object(Map::new());
    let managed = record(write, write.manager, live.unwrap_or(&nothing), new, managed)?;
    Ok(managed.write())
}

/// An update: what changed belongs to its manager now, and to nobody else.
fn record<'a>(
    write: &Write<'a>,
    manager: &'a str,
    live: &'a Value,
    new: &'a Value,
    mut managed: ManagedFields<'a>,
) -> Result<ManagedFields<'a>, String> {
    align(write, live, &mut managed)?;
    let changed = match take(write, live, new, &mut managed, None) {
        Ok((changed, _)) => changed,
        Err(why) => return Err(why),
    };
    let mut own = changed.modified;
    own.absorb(changed.added);
    own.subtract(unowned());
    if !own.is_empty() {
        let owner = owner(write, manager, Operation::Update);
        let now = Some(Cow::Borrowed(write.now));
        match managed.position(&owner) {
            Some(at) => {
                let entry = &mut managed.0[at];
                entry.set(own.union(&entry.fields));
                entry.time = now;
            }
            None => managed.0.push(Entry::new(owner, now, own)),
        }
    }
    cap(&mut managed);
    Ok(managed)
}

fn owner<'a>(write: &Write<'a>, manager: &'a str, operation: Operation) -> Owner<'a> {
    Owner {
        manager: if manager.is_empty() { UNKNOWN } else { manager }.into(),
        operation,
        api_version: write.api_version.into(),
        subresource: write.subresource.into(),
    }
}

/// The oldest updaters become one for each version, until there are few enough.
fn cap(managed: &mut ManagedFields<'_>) {
    let is_update = |entry: &&Entry<'_>| entry.owner.operation == Operation::Update;
    let mut count = managed.0.iter().filter(is_update).count();
    if count <= MAX_UPDATERS {
        return;
    }
    let mut oldest: Vec<Owner<'_>> = {
        let mut entries: Vec<_> = managed.0.iter().filter(is_update).collect();
        entries.sort_by_cached_key(|entry| (entry.seconds(), entry.owner.key()));
        entries.iter().map(|entry| entry.owner.clone()).collect()
    };
    let mut first_of: Vec<Owner<'_>> = Vec::new();
    for owner in oldest.drain(..) {
        if count <= MAX_UPDATERS {
            return;
        }
        let first = first_of
            .iter()
            .find(|first| first.api_version == owner.api_version);
        let Some(first) = first.cloned() else {
            first_of.push(owner);
            continue;
        };
        let bucket = Owner {
            manager: ANCIENT.into(),
            operation: Operation::Update,
            api_version: owner.api_version.clone(),
            subresource: "".into(),
        };
        if managed.position(&bucket).is_none()
            && let Some(at) = managed.position(&first)
        {
            managed.0[at].owner = bucket.clone();
        }
        if owner.is(&bucket) {
            continue;
        }
        let Some(at) = managed.position(&owner) else {
            continue;
        };
        let merged = managed.0.remove(at);
        if let Some(at) = managed.position(&bucket) {
            let entry = &mut managed.0[at];
            entry.set(entry.fields.union(&merged.fields));
            entry.time = merged.time;
        }
        count -= 1;
    }
}

/// Brings all sets in line with the schema as it is now.
fn align(write: &Write<'_>, live: &Value, managed: &mut ManagedFields<'_>) -> Result<(), String> {
    let mut gone = Vec::new();
    for (at, entry) in managed.0.iter_mut().enumerate() {
        let converted;
        let shape = if entry.owner.api_version == write.api_version {
            write.shape
        } else {
            converted = write.versions.convert(live, &entry.owner.api_version)?;
            match &converted {
                Some((_, shape)) => *shape,
                None => {
                    gone.push(at);
                    continue;
                }
            }
        };
        if let Some(fields) = reconcile(shape, &entry.fields) {
            entry.set(fields);
        }
    }
    for at in gone.into_iter().rev() {
        managed.0.remove(at);
    }
    Ok(())
}

/// Takes what changed between two objects from all owners but `applier`. What it takes is also told: those
/// are conflicts for an apply that does not force.
fn take<'a>(
    write: &Write<'a>,
    live: &'a Value,
    new: &'a Value,
    managed: &mut ManagedFields<'_>,
    applier: Option<&Owner<'_>>,
) -> Result<(Comparison<'a>, Vec<Conflict>), String> {
    let compared = if applier.is_some() {
        compare_merged
    } else {
        compare
    };
    let mut changed = compared(write.shape, live, new);
    changed.ignore(write.reset);
    let mut others: Vec<(String, Option<Comparison<'static>>)> = Vec::new();
    let mut conflicts = Vec::new();
    let mut gone = Vec::new();
    for (at, entry) in managed.0.iter_mut().enumerate() {
        if applier.is_some_and(|applier| entry.owner.is(applier)) {
            continue;
        }
        let version = entry.owner.api_version.as_ref();
        let changed = if version == write.api_version {
            &changed
        } else {
            let known = others.iter().position(|(known, _)| known == version);
            let known = match known {
                Some(known) => known,
                None => {
                    let comparison = compare_in(write, live, new, version)?;
                    others.push((version.to_owned(), comparison));
                    others.len() - 1
                }
            };
            match &others[known].1 {
                Some(comparison) => comparison,
                None => {
                    gone.push(at);
                    continue;
                }
            }
        };
        if changed.is_empty() {
            continue;
        }
        let mut taken = entry.fields.intersection(&changed.modified);
        taken.absorb(entry.fields.intersection(&changed.added));
        if applier.is_some() {
            let paths = taken.paths().into_iter();
            conflicts.extend(paths.map(|path| Conflict::new(&entry.owner, path)));
        }
        let removed = entry.fields.intersection(&changed.removed);
        if taken.is_empty() && removed.is_empty() {
            continue;
        }
        entry.written = None;
        entry.fields.subtract(&taken);
        entry.fields.subtract(&removed);
    }
    for at in gone.into_iter().rev() {
        managed.0.remove(at);
    }
    managed.drop_empty();
    Ok((changed, conflicts))
}

/// What differs in another version. `None`: there is no such version.
fn compare_in(
    write: &Write<'_>,
    live: &Value,
    new: &Value,
    version: &str,
) -> Result<Option<Comparison<'static>>, String> {
    // An object that is yet to be has no version.
    let live = if live.as_object().is_some_and(Map::is_empty) {
        Cow::Borrowed(live)
    } else {
        match write.versions.convert(live, version)? {
            Some((live, _)) => Cow::Owned(live),
            None => return Ok(None),
        }
    };
    let Some((new, shape)) = write.versions.convert(new, version)? else {
        return Ok(None);
    };
    let mut found = compare(shape, &live, &new);
    found.ignore(write.reset);
    Ok(Some(Comparison {
        removed: found.removed.into_owned(),
        modified: found.modified.into_owned(),
        added: found.added.into_owned(),
    }))
}

/// Applies a configuration to an object (`{}` with `apiVersion` and `kind` for one that is yet to be): merges
/// it, removes what the manager applied before and does not any more and nobody else owns, and says whose
/// fields are whose. The result carries its `metadata.managedFields`.
///
/// # Errors
///
/// Conflicts with other managers unless `force`; a configuration that cannot be merged.
pub fn apply(
    write: &Write<'_>,
    live: &Value,
    applied: &Value,
    force: bool,
) -> Result<Value, Error> {
    if applied.get("metadata").is_some_and(|meta| {
        meta.get("managedFields")
            .is_some_and(|list| !list.is_null())
    }) {
        return Err(Error::Refused(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    let failed = |why: String| Error::Failed(why);
    let mut managed = ManagedFields::parse(list_of(live))
        .map_err(|why| Error::Failed(format!("failed to decode managed fields: {why}")))?;
    let nothing = Value::Object(Map::new());
    if managed.is_empty() {
        managed = record(write, BEFORE_APPLY, &nothing, live, managed).map_err(|why| {
            Error::Failed(format!(
                "failed to create manager for existing fields: {why}"
            ))
        })?;
    }
    validate(write.shape, applied, false).map_err(|why| {
        Error::Failed(format!(
            "failed to create typed patch object ({}): {why}",
            title(applied)
        ))
    })?;
    let mut result = attempt(write, live, applied, managed.clone(), force);
    if write.manager == last_applied::MANAGER
        && let Err(Error::Conflicts(conflicts)) = &result
        && let Some(allowed) = last_applied::fields(write, live)
    {
        // What the client-side apply of the same tool last set is its own.
        let left: Vec<_> = conflicts
            .0
            .iter()
            .filter(|conflict| !allowed.has(&conflict.path.0))
            .cloned()
            .collect();
        result = if left.is_empty() {
            attempt(write, live, applied, managed, true)
        } else {
            Err(Error::Conflicts(Conflicts(left)))
        };
    }
    let (mut new, managed) = result?;
    let list = managed.write();
    if write.manager == last_applied::MANAGER {
        last_applied::refresh(&mut new, applied).map_err(failed)?;
    }
    put_list(&mut new, list);
    Ok(new)
}

/// An object in upstream's errors: `default/web; apps/v1, Kind=Deployment`.
fn title(object: &Value) -> String {
    let text = |name: &str| {
        object
            .get("metadata")
            .and_then(|meta| meta.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let gvk = Gvk::of(object);
    format!(
        "{}/{}; {}/{}, Kind={}",
        text("namespace"),
        text("name"),
        gvk.group,
        gvk.version,
        gvk.kind
    )
}

fn attempt<'a>(
    write: &Write<'a>,
    live: &Value,
    applied: &'a Value,
    mut managed: ManagedFields<'a>,
    force: bool,
) -> Result<(Value, ManagedFields<'a>), Error> {
    align(write, live, &mut managed).map_err(Error::Failed)?;
    let merged = merge(write.shape, live, applied);
    let owner = owner(write, write.manager, Operation::Apply);
    let mut fields = fields_of(write.shape, applied);
    fields.subtract_below(write.reset);
    let last = managed.entry(&owner).cloned();
    let time = last.as_ref().and_then(|last| last.time.clone());
    let entry = Entry::new(owner.clone(), time, fields);
    match managed.position(&owner) {
        Some(at) => managed.0[at] = entry,
        None => managed.0.push(entry),
    }
    // What it has always applied, or what others own too, is not to be looked for in the whole object.
    let dropped = |last: &&Entry<'_>| {
        let mut gone = last.fields.clone();
        for entry in &managed.0 {
            if entry.owner.api_version == last.owner.api_version {
                gone = gone.difference(&entry.fields);
            }
        }
        !gone.is_empty()
    };
    let new = match last.as_ref().filter(dropped) {
        Some(last) => prune(write, merged, &managed, last)
            .map_err(|why| Error::Failed(format!("failed to prune fields: {why}")))?,
        _ => merged,
    };
    let (_, conflicts) =
        take(write, live, &new, &mut managed, Some(&owner)).map_err(Error::Failed)?;
    if !conflicts.is_empty() && !force {
        return Err(Conflicts::sorted(conflicts).into());
    }
    if let Some(at) = managed.position(&owner) {
        let entry = &mut managed.0[at];
        entry.fields.subtract(unowned());
        if !same(live, &new) {
            entry.time = Some(Cow::Borrowed(write.now));
        }
    }
    managed.drop_empty();
    Ok((new, managed))
}
