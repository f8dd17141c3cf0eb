//! `terraform_data`: a value with the life of a resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::{Path, Type, Value, json};

use crate::provider::schema::{Attribute, Block, ResourceSchema};
use crate::provider::{
    Applied, Apply, Diagnostic, Diagnostics, Import, ImportTarget, Imported, ImportedResource,
    MoveState, Moved, Plan, Planned, RawState,
};

pub(super) fn schema() -> ResourceSchema {
    let block = Block::default()
        .attribute("input", Attribute::new(Type::Dynamic).optional())
        .attribute("output", Attribute::new(Type::Dynamic).computed())
        .attribute("triggers_replace", Attribute::new(Type::Dynamic).optional())
        .attribute("id", Attribute::new(Type::String).computed());
    ResourceSchema {
        version: 0,
        block,
        identity: None,
    }
}

fn part(object: &Value, name: &str) -> Value {
    object
        .attribute(name)
        .unwrap_or_else(|_| Value::null(Type::Dynamic))
}

fn parts(object: &Value) -> BTreeMap<Arc<str>, Value> {
    object.as_keyed().cloned().unwrap_or_default()
}

pub(super) fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    if config.is_null() {
        return diagnostics;
    }
    for name in ["id", "output"] {
        if !part(config, name).is_null() {
            diagnostics.push(Diagnostic::error(
                format!("\"{name}\" attribute is read-only"),
                "",
            ));
        }
    }
    diagnostics
}

pub(super) fn plan(request: &Plan) -> Planned {
    let done = |state: Value, requires_replace: Vec<Path>| Planned {
        state,
        requires_replace,
        private: request.private.clone(),
        identity: None,
        legacy_type_system: false,
        deferred: None,
        diagnostics: Diagnostics::new(),
    };
    let (prior, proposed) = (&request.prior, &request.proposed);
    if proposed.is_null() {
        return done(proposed.clone(), Vec::new());
    }
    let mut values = parts(proposed);
    let input = part(proposed, "input");
    let triggers = part(proposed, "triggers_replace");
    let new_id = Value::unknown_not_null(Type::String);
    // The output has the input's type, also while it is not known.
    let new_output = if input.is_null() {
        input.clone()
    } else {
        Value::unknown(input.ty().clone())
    };
    let mut requires_replace = Vec::new();
    if prior.is_null() {
        values.insert("id".into(), new_id);
        values.insert("output".into(), new_output);
    } else if !part(prior, "triggers_replace").raw_equals(&triggers) {
        requires_replace.push(Path::root().attribute("triggers_replace"));
        values.insert("id".into(), new_id);
        values.insert("output".into(), new_output);
    } else if !part(prior, "input").raw_equals(&input) {
        values.insert("output".into(), Value::unknown(input.ty().clone()));
    }
    done(Value::object(values), requires_replace)
}

pub(super) fn apply(request: &Apply) -> Applied {
    let planned = &request.planned;
    let mut state = planned.clone();
    if !planned.is_null() {
        let mut values = parts(planned);
        if !part(planned, "output").is_known() {
            values.insert("output".into(), part(planned, "input"));
        }
        if !part(planned, "id").is_known() {
            values.insert("id".into(), Value::string(uuid::Uuid::new_v4().to_string()));
        }
        state = Value::object(values);
    }
    Applied {
        state: Some(state),
        private: request.private.clone(),
        identity: None,
        legacy_type_system: false,
        diagnostics: Diagnostics::new(),
    }
}

pub(super) fn import(request: &Import) -> Imported {
    let ImportTarget::Id(id) = &request.target else {
        let detail = "No identity schema available for resource type \"terraform_data\".";
        return Imported {
            diagnostics: Diagnostic::error("No identity schema found", detail).into(),
            ..Imported::default()
        };
    };
    let mut values = parts(&schema().block.empty_value());
    values.insert("id".into(), Value::string(id));
    let resource = ImportedResource {
        type_name: request.type_name.clone(),
        state: Value::object(values),
        private: Bytes::new(),
        identity: None,
    };
    Imported {
        resources: vec![resource],
        ..Imported::default()
    }
}

/// Makes of a `null_resource` a `terraform_data` of the same identifier and triggers.
pub(super) fn take_over(request: &MoveState) -> Moved {
    let empty = schema().block.empty_value();
    let failed = |summary: &str, detail: String| Moved {
        state: Value::null(empty.ty().clone()),
        private: Bytes::new(),
        identity: None,
        diagnostics: Diagnostic::error(summary, detail).into(),
    };
    let fail = |detail: String| failed("Unsupported move", detail);
    if !request.source_provider.ends_with("/hashicorp/null") {
        return failed(
            "Unsupported source provider for move operation",
            "Only moving from the official hashicorp/null provider to terraform_data is supported."
                .to_owned(),
        );
    }
    if &*request.source_type_name != "null_resource" || &*request.target_type_name != super::DATA {
        return failed(
            "Unsupported source resource type for move operation",
            "Only moving from the null_resource resource type to terraform_data is supported."
                .to_owned(),
        );
    }
    let ty = Type::object([("id", Type::String), ("triggers", Type::map(Type::String))]);
    let old = match &request.source_state {
        RawState::Json(text) => json::decode(text, &ty).map_err(|e| e.to_string()),
        RawState::Flatmap(_) => {
            Err("the state of null_resource is in the flat form of Terraform 0.11".to_owned())
        }
    };
    let old = match old {
        Ok(old) => old,
        Err(error) => return fail(error),
    };
    let mut values = parts(&empty);
    values.insert("id".into(), part(&old, "id"));
    if let Some(triggers) = part(&old, "triggers").as_keyed() {
        values.insert("triggers_replace".into(), Value::object(triggers.clone()));
    }
    Moved {
        state: Value::object(values),
        private: request.source_private.clone(),
        identity: None,
        diagnostics: Diagnostics::new(),
    }
}
