//! The kind `CustomResourceDefinition`, and the kinds that definitions bring.

use super::definition::{Definition, Version};
use super::strategy::Custom;
use super::{FINALIZER, GROUP, PLURAL, check, names};
use crate::kind::{Kind, SCALE, STATUS, Subresource};
use crate::schema::KindSchema;
use crate::strategy::{CREATED, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{at, ensure, fill, fill_text, items, items_mut, set, text};
use serde_json::{Value, json};
use std::sync::Arc;

/// The kind `CustomResourceDefinition`.
pub(crate) fn definition() -> Kind {
    let mut kind = Kind::new(GROUP, "v1", "CustomResourceDefinition", PLURAL)
        .cluster()
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .sub(STATUS)
        .strategy(Definitions);
    kind.generation = true;
    kind.unconditional_update = false;
    kind
}

struct Definitions;

impl Strategy for Definitions {
    fn default(&self, object: &mut Value) {
        let spec = ensure(object, "spec");
        let kind = text(spec, &["names", "kind"]).to_owned();
        let names = ensure(spec, "names");
        fill_text(names, "singular", &kind.to_lowercase());
        if !kind.is_empty() {
            fill_text(names, "listKind", &format!("{kind}List"));
        }
        if at(spec, &["conversion"]).is_none() {
            set(spec, "conversion", json!({"strategy": "None"}));
        }
        if let Some(service) = spec.pointer_mut("/conversion/webhook/clientConfig/service")
            && service.is_object()
        {
            fill(service, "port", 443);
        }
        store_version(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(
            object,
            "status",
            json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []}),
        );
        store_version(object);
    }

    fn prepare_update(&self, new: &mut Value, _old: &Value) {
        store_version(new);
    }

    fn validate(&self, object: &Value, _here: &Path<'_>, errors: &mut Errors) {
        errors.extend(check::create(object));
    }

    fn validate_update(&self, new: &Value, old: &Value, _here: &Path<'_>, errors: &mut Errors) {
        errors.extend(check::update(new, old));
    }

    fn validate_status(&self, new: &Value, _old: &Value, _here: &Path<'_>, errors: &mut Errors) {
        errors.extend(check::status(new));
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        check::warnings(object)
    }

    fn deleting(&self, object: &mut Value) {
        let finalizers = &mut ensure(object, "metadata")["finalizers"];
        match finalizers.as_array_mut() {
            Some(list) if list.iter().any(|one| one == FINALIZER) => {}
            Some(list) => list.push(FINALIZER.into()),
            None => *finalizers = json!([FINALIZER]),
        }
        names::set_condition(
            object,
            "Terminating",
            "True",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        );
    }

    fn columns(&self) -> &[Column] {
        const COLUMNS: &[Column] = &[NAME, column("Created At", "date", CREATED)];
        COLUMNS
    }
}

/// The storage version is among those in which objects are stored.
fn store_version(object: &mut Value) {
    let storage = items(object, &["spec", "versions"])
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| text(version, &["name"]).to_owned());
    let Some(storage) = storage else {
        return;
    };
    let status = ensure(object, "status");
    if items_mut(status, "storedVersions").any(|version| *version == storage) {
        return;
    }
    match status
        .get_mut("storedVersions")
        .and_then(Value::as_array_mut)
    {
        Some(list) => list.push(storage.into()),
        None => set(status, "storedVersions", json!([storage])),
    }
}

/// The verbs of a status or scale subresource.
const SUB_VERBS: &[&str] = &["get", "patch", "update"];

/// The kind of one version of a definition.
pub(super) fn version(version: &Arc<Version>) -> Kind {
    let definition: &Definition = &version.definition;
    let (facts, names) = (version.facts(), &definition.names);
    let mut kind = Kind::new(&definition.group, &facts.name, &names.kind, &names.plural);
    kind.singular.clone_from(&names.singular);
    kind.list_kind.clone_from(&names.list_kind);
    kind.short.clone_from(&names.short_names);
    kind.categories.clone_from(&names.categories);
    kind.namespaced = definition.namespaced;
    kind.generation = true;
    kind.unconditional_update = false;
    kind.returns_deleted = false;
    if facts.status {
        kind.subresources.push(Subresource {
            verbs: SUB_VERBS,
            ..STATUS
        });
    }
    if facts.scale.is_some() {
        kind.subresources.push(SCALE);
    }
    kind.schema = KindSchema::Custom(version.clone());
    kind.strategy(Custom::new(version.clone()))
}
