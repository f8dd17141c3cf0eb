//! What has to be done to a stored role or binding so that it gives what the default policy says.
//!
//! Rights are added, never taken away: what people added to a default role stays (upstream's rule for
//! its start-up). The exception is what earlier versions of the policy gave and this one must not.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::AUTOUPDATE;
use crate::identity::{Rule, uncovered};

/// Subjects that no longer belong to a binding: binding, kind of the subject, its name.
const RETIRED: &[(&str, &str, &str)] = &[("system:node", "Group", "system:nodes")];

/// What has to be done to a stored object.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled {
    /// Nothing.
    Right,
    /// It has to become this.
    Update(Value),
    /// It has to be deleted and made anew: a binding's role cannot be changed.
    Replace,
}

/// Compares a stored role or binding with what the policy wants.
pub fn reconcile(stored: &Value, wanted: &Value) -> Reconciled {
    let annotation = stored
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(AUTOUPDATE));
    if annotation.and_then(Value::as_str) == Some("false") {
        return Reconciled::Right;
    }
    let mut result = stored.clone();
    for field in ["labels", "annotations"] {
        if let Some(Value::Object(wanted)) = wanted["metadata"].get(field) {
            merge(&mut result["metadata"], field, wanted);
        }
    }
    if wanted.get("roleRef").is_some() {
        if ["kind", "name"]
            .iter()
            .any(|field| stored["roleRef"].get(field) != wanted["roleRef"].get(field))
        {
            return Reconciled::Replace;
        }
        subjects(&mut result, wanted);
    } else {
        selectors(&mut result, wanted);
        if result.get("aggregationRule").is_none() {
            rules(&mut result, wanted);
        }
    }
    if result == *stored {
        Reconciled::Right
    } else {
        Reconciled::Update(result)
    }
}

fn merge(metadata: &mut Value, field: &str, wanted: &Map<String, Value>) {
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    let own = metadata
        .entry(field)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(own) = own.as_object_mut() {
        for (key, value) in wanted {
            own.entry(key).or_insert_with(|| value.clone());
        }
    }
}

fn list<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    let entry = value.as_object_mut()?.entry(field).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Array(Vec::new());
    }
    entry.as_array_mut()
}

fn subjects(result: &mut Value, wanted: &Value) {
    let binding = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let text = |value: &Value, field: &str| -> String {
        value[field].as_str().unwrap_or_default().to_owned()
    };
    let key = |subject: &Value| {
        (
            text(subject, "kind"),
            text(subject, "namespace"),
            text(subject, "name"),
        )
    };
    let had = result.get("subjects").is_some();
    let Some(own) = list(result, "subjects") else {
        return;
    };
    own.retain(|subject| {
        let (kind, _, name) = key(subject);
        !RETIRED.contains(&(binding, kind.as_str(), name.as_str()))
    });
    for subject in wanted["subjects"].as_array().into_iter().flatten() {
        if !own.iter().any(|other| key(other) == key(subject)) {
            own.push(subject.clone());
        }
    }
    if own.is_empty()
        && !had
        && let Some(result) = result.as_object_mut()
    {
        result.remove("subjects");
    }
}

fn selectors(result: &mut Value, wanted: &Value) {
    let Some(wanted) = wanted
        .pointer("/aggregationRule/clusterRoleSelectors")
        .and_then(Value::as_array)
    else {
        return;
    };
    if result.get("aggregationRule").is_none_or(Value::is_null) {
        result["aggregationRule"] = Value::Object(Map::new());
    }
    if let Some(own) = list(&mut result["aggregationRule"], "clusterRoleSelectors") {
        for selector in wanted {
            if !own.contains(selector) {
                own.push(selector.clone());
            }
        }
    }
}

fn rules(result: &mut Value, wanted: &Value) {
    let parse = |value: &Value| {
        Vec::<Rule>::deserialize(value.get("rules").unwrap_or(&Value::Null)).unwrap_or_default()
    };
    let held = parse(result);
    let missing: Vec<Value> = wanted["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|rule| {
            Rule::deserialize(*rule)
                .is_ok_and(|rule| !uncovered(&held, std::slice::from_ref(&rule)).is_empty())
        })
        .cloned()
        .collect();
    if missing.is_empty() {
        return;
    }
    if let Some(own) = list(result, "rules") {
        own.extend(missing);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(verb: &str) -> Value {
        json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]})
    }

    #[test]
    fn a_right_that_was_taken_out_comes_back_and_one_that_was_added_stays() {
        let wanted = json!({"metadata": {"name": "r", "labels": {"a": "b"}},
            "rules": [rule("get"), rule("list")]});
        let stored = json!({"metadata": {"name": "r", "uid": "u", "labels": {"a": "own"}},
            "rules": [rule("get"), rule("delete")]});
        let Reconciled::Update(result) = reconcile(&stored, &wanted) else {
            panic!("it lacks a rule");
        };
        assert_eq!(
            result["rules"],
            json!([rule("get"), rule("delete"), rule("list")])
        );
        assert_eq!(result["metadata"]["labels"]["a"], "own");
        assert_eq!(reconcile(&result, &wanted), Reconciled::Right);
        let mut protected = stored;
        protected["metadata"]["annotations"] = json!({AUTOUPDATE: "false"});
        assert_eq!(reconcile(&protected, &wanted), Reconciled::Right);
    }

    #[test]
    fn a_binding_to_another_role_is_made_anew() {
        let binding = |role: &str, subjects: Value| {
            json!({"metadata": {"name": "b"},
                "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects})
        };
        let jane = json!({"kind": "User", "name": "jane"});
        let joe = json!({"kind": "User", "name": "joe"});
        let wanted = binding("a", json!([jane]));
        assert_eq!(
            reconcile(&binding("b", json!([])), &wanted),
            Reconciled::Replace
        );
        assert_eq!(
            reconcile(&binding("a", json!([joe])), &wanted),
            Reconciled::Update(binding("a", json!([joe, jane])))
        );
    }

    #[test]
    fn all_nodes_lose_the_role_that_the_node_authorizer_gives_one_by_one() {
        let wanted = super::super::bind("system:node", &[]);
        let mut stored = wanted.clone();
        stored["subjects"] = json!([super::super::group("system:nodes")]);
        let Reconciled::Update(result) = reconcile(&stored, &wanted) else {
            panic!("the group has to go");
        };
        assert_eq!(result["subjects"], json!([]));
    }
}
