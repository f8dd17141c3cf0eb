//! What differs from kind to kind: defaults, checks, the fields selectors see, printed columns.

use crate::error::Failure;
use crate::handlers::update::Part;
use crate::identity::User;
use crate::validation::{Errors, Path};
use crate::values::same;
use serde_json::Value;
use std::borrow::Cow;

/// A printed column of a kind, as in a `Table`.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The heading.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: Cow<'static, str>,
    /// `name` for the name, else empty.
    pub format: Cow<'static, str>,
    /// 0 always, 1 only in wide output.
    pub priority: i32,
    /// What the column shows.
    pub description: Cow<'static, str>,
}

/// A column that is always shown.
pub(crate) const fn column(
    name: &'static str,
    kind: &'static str,
    description: &'static str,
) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        format: Cow::Borrowed(""),
        priority: 0,
        description: Cow::Borrowed(description),
    }
}

/// A column of wide output.
pub(crate) const fn wide(
    name: &'static str,
    kind: &'static str,
    description: &'static str,
) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        format: Cow::Borrowed(""),
        priority: 1,
        description: Cow::Borrowed(description),
    }
}

/// The name column.
pub(crate) const NAME: Column = Column {
    name: Cow::Borrowed("Name"),
    kind: Cow::Borrowed("string"),
    format: Cow::Borrowed("name"),
    priority: 0,
    description: Cow::Borrowed(
        "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
    ),
};

/// The age column.
pub(crate) const AGE: Column = column("Age", "string", CREATED);

/// What the age columns say of themselves.
pub(crate) const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.";

/// The column of a pod template's container names.
pub(crate) const CONTAINERS: Column = wide(
    "Containers",
    "string",
    "Names of each container in the template.",
);

/// The column of a pod template's images.
pub(crate) const IMAGES: Column = wide(
    "Images",
    "string",
    "Images referenced by each container in the template.",
);

/// The column of a workload's selector.
pub(crate) const SELECTOR: Column = wide("Selector", "string", "The labels of the pods it owns.");

const NAME_AND_AGE: &[Column] = &[NAME, column("Created At", "date", CREATED)];

/// Something taken out of a shared range for an object that is being written: given back when it is
/// dropped, unless it is kept.
pub(crate) trait Claim: Send {
    /// The write succeeded.
    fn keep(self: Box<Self>);
}

/// What differs from kind to kind. Everything has a default that does nothing.
///
/// Values handed in have passed the structural check of the kind's schema: what is there has the
/// right type, so a strategy looks at meaning only.
pub(crate) trait Strategy: Send + Sync {
    /// Fill in what the user may leave out, as upstream's defaulting does. Must be idempotent.
    fn default(&self, _object: &mut Value) {}

    /// Set what only the server sets on a new object (a status, generated labels).
    fn prepare_create(&self, _object: &mut Value) {}

    /// Note on a new object who made it.
    fn sign(&self, _object: &mut Value, _user: &User) {}

    /// Set what only the server sets on a changed object.
    fn prepare_update(&self, _new: &mut Value, _old: &Value) {}

    /// Was what is wanted changed, so that `metadata.generation` counts on?
    fn wants_more(&self, new: &Value, old: &Value) -> bool {
        !same(new, old, "spec")
    }

    /// Take over what a subresource of the object's own kind (other than `status`) may write:
    /// `object` is the stored object, `asked` what the client sent.
    fn take_part(&self, _part: Part, _object: &mut Value, _asked: &Value) {}

    /// Check a change that came through such a subresource.
    fn validate_part(
        &self,
        _part: Part,
        new: &Value,
        old: &Value,
        at: &Path<'_>,
        errors: &mut Errors,
    ) {
        self.validate_update(new, old, at, errors);
    }

    /// Why this object may not be deleted; `None`: it may.
    fn undeletable(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Set what only the server sets when the status is written.
    fn prepare_status(&self, _new: &mut Value, _old: &Value) {}

    /// The object is asked to go: add what must happen before it does.
    fn deleting(&self, _object: &mut Value) {}

    /// Check a new object.
    fn validate(&self, _object: &Value, _at: &Path<'_>, _errors: &mut Errors) {}

    /// Check a change. [`Strategy::validate`] is not called for it: most kinds call it from here.
    fn validate_update(&self, new: &Value, _old: &Value, at: &Path<'_>, errors: &mut Errors) {
        self.validate(new, at, errors);
    }

    /// Check a change of the status.
    fn validate_status(&self, _new: &Value, _old: &Value, _at: &Path<'_>, _errors: &mut Errors) {}

    /// What the client should be warned of, though it is accepted.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// The fields a field selector can ask for, besides `metadata.name` and `metadata.namespace`.
    fn selectable(&self) -> &[&str] {
        &[]
    }

    /// Can a field selector ask for this field?
    fn selects(&self, field: &str) -> bool {
        self.selectable().contains(&field)
    }

    /// The values of the selectable fields.
    fn fields(&self, _object: &Value) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Take what the object needs from shared ranges (addresses, ports), and write it in.
    /// `before` is the stored object when it is changed.
    fn claim(
        &self,
        _object: &mut Value,
        _before: Option<&Value>,
    ) -> Result<Option<Box<dyn Claim>>, Failure> {
        Ok(None)
    }

    /// An object was changed or (`after` is none) deleted: give back what it no longer needs.
    fn settled(&self, _before: &Value, _after: Option<&Value>) {}

    /// The columns of the kind's table.
    fn columns(&self) -> &[Column] {
        NAME_AND_AGE
    }

    /// The cells of one row, one for each column.
    fn cells(&self, object: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        vec![
            object["metadata"]["name"].clone(),
            object["metadata"]["creationTimestamp"].clone(),
        ]
    }
}

/// A kind without anything of its own.
pub(crate) struct Bare;

impl Strategy for Bare {}
