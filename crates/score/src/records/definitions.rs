//! The kinds of the group `consort.dev`, as the API is told of them.

use serde_json::{Value, json};

use super::Kind;

/// The group of all kinds here.
pub const GROUP: &str = "consort.dev";
/// Their version.
pub const VERSION: &str = "v1";

/// The policy that says who an approval may name.
pub(super) const APPROVALS: &str = "approvals.consort.dev";

/// The definition of a kind.
pub(super) fn definition(kind: Kind) -> Value {
    let plural = kind.plural();
    let name = kind.name();
    let mut version = json!({
        "name": VERSION,
        "served": true,
        "storage": true,
        "schema": {"openAPIV3Schema": {
            "type": "object",
            "description": description(kind),
            "required": ["spec"],
            "properties": {"spec": spec(kind)},
        }},
        "additionalPrinterColumns": columns(kind),
    });
    if let Some(status) = status(kind) {
        version["schema"]["openAPIV3Schema"]["properties"]["status"] = status;
        version["subresources"] = json!({"status": {}});
    }
    let short: &[&str] = match kind {
        Kind::Operation => &["op", "ops"],
        Kind::Blueprint => &["bp"],
        Kind::Score | Kind::Approval | Kind::HostRecord => &[],
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": format!("{name}List"),
                "plural": plural,
                "singular": name.to_lowercase(),
                "shortNames": short,
                "categories": ["consort"],
            },
            "versions": [version],
        },
    })
}

fn description(kind: Kind) -> &'static str {
    match kind {
        Kind::Score => "A description of a whole system that is followed.",
        Kind::Operation => {
            "One walk of a blueprint: an entry of a score's history. Its record is kept beside it."
        }
        Kind::Blueprint => {
            "A plan of a whole system, frozen. Its values are kept sealed beside it."
        }
        Kind::Approval => "What somebody decided about the blueprint of the same name.",
        Kind::HostRecord => "What the playbooks of a part have set on a host.",
    }
}

/// A spec that cannot be changed.
fn fixed(properties: &Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": [{
            "rule": "self == oldSelf",
            "message": "it cannot be changed",
        }],
    })
}

fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn spec(kind: Kind) -> Value {
    let text = || json!({"type": "string"});
    let time = || json!({"type": "string", "format": "date-time"});
    let number = || json!({"type": "integer", "format": "int64", "minimum": 0});
    match kind {
        Kind::Score => anything(),
        Kind::Operation => fixed(
            &json!({
                "score": text(),
                "revision": {"type": "integer", "format": "int64", "minimum": 1},
                "blueprint": text(),
                "mode": anything(),
                "author": text(),
                "cause": text(),
                "approvedBy": text(),
                "source": anything(),
                "started": time(),
                "total": number(),
            }),
            &[
                "score",
                "revision",
                "blueprint",
                "mode",
                "author",
                "source",
                "started",
            ],
        ),
        Kind::Blueprint => fixed(
            &json!({
                "score": text(),
                "state": {"type": "string", "enum": ["Ready", "Empty", "NeedsApproval", "Denied"]},
                "mode": anything(),
                "author": text(),
                "time": time(),
                "source": anything(),
                "parent": number(),
                "points": number(),
                "threshold": number(),
            }),
            &[
                "score", "state", "mode", "author", "time", "source", "parent", "points",
            ],
        ),
        Kind::Approval => fixed(
            &json!({
                "blueprint": text(),
                "decision": {"type": "string", "enum": ["approve", "reject"]},
                "by": text(),
                "reason": {"type": "string", "maxLength": 4096},
                "time": time(),
            }),
            &["blueprint", "decision", "by", "time"],
        ),
        Kind::HostRecord => json!({
            "type": "object",
            "required": ["score", "part", "host", "things"],
            "properties": {
                "score": text(),
                "part": text(),
                "host": text(),
                "number": number(),
                "count": number(),
                "sources": text(),
                "pending": {"type": "array", "items": text()},
                "things": {"type": "array", "items": anything()},
            },
        }),
    }
}

fn status(kind: Kind) -> Option<Value> {
    match kind {
        Kind::Score | Kind::Operation => Some(anything()),
        Kind::Blueprint | Kind::Approval | Kind::HostRecord => None,
    }
}

fn columns(kind: Kind) -> Value {
    let column =
        |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let age = || column("Age", "date", ".metadata.creationTimestamp");
    match kind {
        Kind::Score => json!([
            column("Source", "string", ".status.source"),
            column("Commit", "string", ".status.commit.short"),
            column("Revision", "integer", ".status.revision"),
            column(
                "Synced",
                "string",
                ".status.conditions[?(@.type==\"Synced\")].status"
            ),
            column(
                "Healthy",
                "string",
                ".status.conditions[?(@.type==\"Healthy\")].status"
            ),
            age(),
        ]),
        Kind::Operation => json!([
            column("Score", "string", ".spec.score"),
            column("Revision", "integer", ".spec.revision"),
            column("Mode", "string", ".spec.mode.kind"),
            column("Phase", "string", ".status.phase"),
            column("Done", "integer", ".status.done"),
            column("Total", "integer", ".spec.total"),
            column("Author", "string", ".spec.author"),
            age(),
        ]),
        Kind::Blueprint => json!([
            column("Score", "string", ".spec.score"),
            column("State", "string", ".spec.state"),
            column("Points", "integer", ".spec.points"),
            column("Author", "string", ".spec.author"),
            age(),
        ]),
        Kind::Approval => json!([
            column("Decision", "string", ".spec.decision"),
            column("By", "string", ".spec.by"),
            column("Reason", "string", ".spec.reason"),
            age(),
        ]),
        Kind::HostRecord => json!([
            column("Score", "string", ".spec.score"),
            column("Part", "string", ".spec.part"),
            column("Host", "string", ".spec.host"),
            column("Things", "integer", ".spec.count"),
            age(),
        ]),
    }
}

/// The policy on approvals, and its binding.
pub(super) fn approvals() -> [Value; 2] {
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": APPROVALS},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [GROUP],
                    "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["approvals"],
                }]},
                "validations": [
                    {
                        "expression": "request.operation != 'CREATE' || object.spec.by == request.userInfo.username",
                        "messageExpression": "'an approval names who gives it: spec.by must be ' + request.userInfo.username",
                    },
                    {
                        "expression": "object.spec.blueprint == object.metadata.name",
                        "message": "an approval has the name of its blueprint",
                    },
                    {
                        "expression": "request.operation != 'UPDATE' || object.spec == oldObject.spec",
                        "message": "what was decided cannot be changed",
                    },
                ],
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": APPROVALS},
            "spec": {"policyName": APPROVALS, "validationActions": ["Deny"]},
        }),
    ]
}
