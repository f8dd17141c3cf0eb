//! The kind as the API is told of it, and who may write what of it.

use std::time::Duration;

use consort_reconcile::{ensure, served};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::object::{GROUP, VERSION};

/// The name under which the definition is owned.
const MANAGER: &str = "consort-playbooks";
/// The policy that keeps machines to their own entries.
const POLICY: &str = "playbooks.consort.dev";
/// How long the kind may take to be served.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes sure that the server knows the kind. Costs two reads where it does.
///
/// # Errors
/// When the API refuses, or cannot be reached.
pub async fn install(client: &Client) -> kube::Result<()> {
    let changed = ensure(client, MANAGER, definition()).await?;
    for guard in guards() {
        ensure(client, MANAGER, guard).await?;
    }
    if changed {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, "Playbook");
        let resource = ApiResource::from_gvk_with_plural(&kind, "playbooks");
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        // A server that takes longer is asked again by whoever watches.
        served(&objects, PATIENCE).await?;
    }
    Ok(())
}

/// The definition of the kind.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("playbooks.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Playbook",
                "listKind": "PlaybookList",
                "plural": "playbooks",
                "singular": "playbook",
                "shortNames": ["pb"],
                "categories": ["consort"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "An Ansible playbook that nodes carry out by themselves, again and again.",
                    "required": ["spec"],
                    "properties": {"spec": spec(), "status": status()},
                }},
            }],
        },
    })
}

fn columns() -> Value {
    let column =
        |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    json!([
        column("Source", "string", ".status.source"),
        column("Mode", "string", ".spec.mode"),
        column("Nodes", "integer", ".status.summary.nodes"),
        column("Converged", "integer", ".status.summary.converged"),
        column("Drifted", "integer", ".status.summary.drifted"),
        column("Failed", "integer", ".status.summary.failed"),
        column("Age", "date", ".metadata.creationTimestamp"),
    ])
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn texts(description: &str) -> Value {
    json!({"type": "array", "description": description, "items": {"type": "string"}})
}

/// A time such as `30m`.
fn time(description: &str, default: Option<&str>) -> Value {
    let mut time = text(description);
    if let Some(default) = default {
        time["default"] = default.into();
    }
    time
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// A schema of which exactly one of two fields is there.
fn either(mut schema: Value, one: &str, other: &str) -> Value {
    schema["x-kubernetes-validations"] = json!([{
        "rule": format!("has(self.{one}) != has(self.{other})"),
        "message": format!("expected either {one} or {other}"),
    }]);
    schema
}

fn spec() -> Value {
    let mut filled = text("whether what differs is put right (repair), or only told (check)");
    filled["enum"] = json!(["repair", "check"]);
    filled["default"] = "repair".into();
    let mut playbooks = texts("the playbooks, as paths in the source, in order");
    playbooks["default"] = json!(["site.yml"]);
    playbooks["minItems"] = 1.into();
    let named = || {
        object(
            &json!({"name": text("its name"), "optional": {"type": "boolean"}}),
            &["name"],
        )
    };
    let mut from = either(
        object(&json!({"configMap": named(), "secret": named()}), &[]),
        "configMap",
        "secret",
    );
    from["description"] = "each key is a variable".into();
    let mut selector = object(
        &json!({
            "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
            "matchExpressions": {"type": "array", "items": object(
                &json!({
                    "key": {"type": "string"},
                    "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                    "values": {"type": "array", "items": {"type": "string"}},
                }),
                &["key", "operator"],
            )},
        }),
        &[],
    );
    selector["description"] = "the nodes that carry it out, by their labels; {} means all".into();
    object(
        &json!({
            "source": source(),
            "selector": selector,
            "playbooks": playbooks,
            "groups": texts("the groups each machine is in"),
            "inventory": texts("inventories, as paths in the source"),
            "variables": {
                "type": "object",
                "description": "variables that go before all others",
                "x-kubernetes-preserve-unknown-fields": true,
            },
            "variablesFrom": {"type": "array", "items": from},
            "vault": object(
                &json!({"secret": text("the Secret whose keys are vault ids, and whose values their passwords")}),
                &["secret"],
            ),
            "tags": texts("only tasks with these tags"),
            "skipTags": texts("no tasks with these tags"),
            "mode": filled,
            "interval": time("how long after a run the next one is", Some("30m")),
            "jitter": time("so much later at most; a tenth of the interval if it is not said", None),
            "timeout": time("how long a run may take", Some("1h")),
            "suspend": {"type": "boolean", "description": "nothing is run"},
        }),
        &["source", "selector"],
    )
}

fn source() -> Value {
    let git = object(
        &json!({
            "url": text("the repository: https, ssh, USER@HOST:PATH, file; no credentials in it"),
            "reference": text("a branch, tag or commit; the repository's own choice without one"),
            "path": text("the directory in it"),
            "interval": time("how often each machine asks whether it has moved", Some("1m")),
            "credentials": text("a Secret of the same namespace"),
        }),
        &["url"],
    );
    let map = object(
        &json!({
            "name": text("its name"),
            "items": {"type": "array", "items": object(
                &json!({"key": text("a key"), "path": text("the path of its file")}),
                &["key", "path"],
            )},
        }),
        &["name"],
    );
    either(
        object(&json!({"git": git, "configMap": map}), &[]),
        "git",
        "configMap",
    )
}

fn conditions() -> Value {
    json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": object(
            &json!({
                "type": {"type": "string"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string"},
                "message": {"type": "string"},
                "observedGeneration": {"type": "integer", "format": "int64"},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
            }),
            &["type", "status"],
        ),
    })
}

fn status() -> Value {
    let number = || json!({"type": "integer", "format": "int64"});
    let numbers = |names: &[&str]| {
        let fields: serde_json::Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), number()))
            .collect();
        object(&Value::Object(fields), &[])
    };
    let time = || json!({"type": "string", "format": "date-time"});
    let word = || json!({"type": "string"});
    let several = |names: &[&str]| {
        let fields: serde_json::Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), word()))
            .collect();
        json!({"type": "array", "items": object(&Value::Object(fields), &[])})
    };
    let deeds = || several(&["task", "place", "module", "what"]);
    let entry = object(
        &json!({
            "name": word(),
            "observedGeneration": number(),
            "phase": word(),
            "cause": word(),
            "digest": word(),
            "revision": word(),
            "check": {"type": "boolean"},
            "started": time(),
            "finished": time(),
            "next": time(),
            "runs": number(),
            "failures": number(),
            "counts": numbers(&["ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored"]),
            "changes": deeds(),
            "faults": several(&["task", "place", "message"]),
            "drift": object(
                &json!({"time": time(), "repaired": {"type": "boolean"}, "changes": deeds()}),
                &[],
            ),
            "conditions": conditions(),
            "wanted": word(),
            "reached": word(),
            "handled": word(),
        }),
        &["name"],
    );
    object(
        &json!({
            "observedGeneration": number(),
            "conditions": conditions(),
            "source": word(),
            "summary": numbers(&["nodes", "converged", "drifted", "failed", "pending"]),
            "nodes": {
                "type": "array",
                "description": "each machine",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": entry,
            },
        }),
        &[],
    )
}

/// The policy that a node writes its own entry alone, and its binding.
pub fn guards() -> [Value; 2] {
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": POLICY},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [GROUP],
                    "apiVersions": ["*"],
                    "operations": ["UPDATE"],
                    "resources": ["playbooks/status"],
                }]},
                "matchConditions": [{
                    "name": "a-node-writes",
                    "expression": "'system:nodes' in request.userInfo.groups",
                }],
                "variables": [
                    {"name": "own", "expression": "request.userInfo.username.replace('system:node:', '', 1)"},
                    {
                        "name": "others",
                        "expression": "has(object.status) && has(object.status.nodes) ? object.status.nodes.filter(it, it.name != variables.own) : []",
                    },
                    {
                        "name": "before",
                        "expression": "has(oldObject.status) && has(oldObject.status.nodes) ? oldObject.status.nodes.filter(it, it.name != variables.own) : []",
                    },
                ],
                "validations": [{
                    "expression": "variables.others == variables.before",
                    "messageExpression": "'node ' + variables.own + ' may write its own entry alone'",
                }],
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": POLICY},
            "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
        }),
    ]
}
