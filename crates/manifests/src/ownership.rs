//! Who owns which fields: proofs from `metadata.managedFields` that an apply would change nothing, without asking
//! the server, and the owners of what differs.
//!
//! The trees of fields (`FieldsV1`) say how lists are told apart (`k:{"name":"web"}`, `v:"x"`) and what is one value
//! (a leaf over a mapping), so that no schema is needed.

use consort_object::quantity;
use consort_plan::{Owner, Pointer};
use serde_json::{Map, Value};

use crate::identity::text;
use crate::server::MANAGER;

type Tree = Map<String, Value>;

/// What tells that an entry of `managedFields` is ours.
fn is_ours(entry: &Value) -> bool {
    entry["manager"] == MANAGER
        && entry["operation"] == "Apply"
        && text(entry, &["subresource"]).is_empty()
}

fn entries(live: &Value) -> &[Value] {
    live["metadata"]["managedFields"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// The entry of ours in an object.
pub(crate) fn ours(live: &Value) -> Option<&Value> {
    entries(live).iter().find(|entry| is_ours(entry))
}

/// Whether an apply of `wanted` would leave `live` as it is, fields' owners included: it says the same as the object
/// has in all it owns, and nothing it does not own. No means that it is not proven.
pub(crate) fn proves_no_op(wanted: &Value, live: &Value) -> bool {
    let Some(entry) = ours(live) else {
        return false;
    };
    // Fields are named by version: one of another version may be named otherwise.
    if entry["apiVersion"] != wanted["apiVersion"] || live["apiVersion"] != wanted["apiVersion"] {
        return false;
    }
    let Some(tree) = entry["fieldsV1"].as_object() else {
        return false;
    };
    let (Some(wanted), Some(live)) = (wanted.as_object(), live.as_object()) else {
        return false;
    };
    let mut owned = 0;
    for (key, below) in tree {
        let Some(name) = key.strip_prefix("f:") else {
            return false;
        };
        let (Some(wanted), Some(live)) = (wanted.get(name), live.get(name)) else {
            return false;
        };
        let Some(below) = below.as_object() else {
            return false;
        };
        let same = if name == "metadata" {
            metadata_is_owned(below, wanted, live)
        } else {
            is_owned(below, wanted, live, name)
        };
        if !same {
            return false;
        }
        owned += 1;
    }
    let said = wanted
        .iter()
        .filter(|(name, value)| {
            !matches!(name.as_str(), "apiVersion" | "kind") && says_something(name, value)
        })
        .count();
    owned == said
}

/// Whether a top-level field leads to fields that someone can own.
fn says_something(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(object) if name == "metadata" => object
            .keys()
            .any(|name| !matches!(name.as_str(), "name" | "namespace")),
        _ => true,
    }
}

fn metadata_is_owned(tree: &Tree, wanted: &Value, live: &Value) -> bool {
    let Some(object) = wanted.as_object() else {
        return false;
    };
    let identity = object
        .keys()
        .filter(|name| matches!(name.as_str(), "name" | "namespace"))
        .count();
    mapping_is_owned(tree, object, live, identity, "metadata")
}

fn mapping_is_owned(tree: &Tree, wanted: &Tree, live: &Value, beside: usize, name: &str) -> bool {
    let Some(live) = live.as_object() else {
        return false;
    };
    let mut owned = 0;
    for (key, below) in tree {
        if key == "." {
            continue;
        }
        let Some(field) = key.strip_prefix("f:") else {
            return false;
        };
        let (Some(wanted), Some(live), Some(below)) =
            (wanted.get(field), live.get(field), below.as_object())
        else {
            return false;
        };
        if !is_owned(
            below,
            wanted,
            live,
            if is_quantities(name) { name } else { field },
        ) {
            return false;
        }
        owned += 1;
    }
    let said = wanted
        .iter()
        .filter(|(field, value)| !value.is_null() || live.contains_key(*field))
        .count();
    owned + beside == said
}

/// Whether the fields owned below a place are those wanted there, with the values the object has. `name` is the
/// place's own name, or that of the mapping of quantities it is in.
fn is_owned(tree: &Tree, wanted: &Value, live: &Value, name: &str) -> bool {
    if tree.is_empty() {
        return same(wanted, live, name);
    }
    match wanted {
        Value::Object(object) => mapping_is_owned(tree, object, live, 0, name),
        Value::Array(items) => {
            let Some(live) = live.as_array() else {
                return false;
            };
            let mut places = Vec::with_capacity(items.len());
            for (key, below) in tree {
                if key == "." {
                    continue;
                }
                let Some(element) = Element::parse(key) else {
                    return false;
                };
                let (Some(at), Some(there)) = (
                    items.iter().position(|item| element.is(item)),
                    live.iter().position(|item| element.is(item)),
                ) else {
                    return false;
                };
                if let Element::Keys(_) = element {
                    let Some(below) = below.as_object() else {
                        return false;
                    };
                    // An item owns its keys as well: what is below it counts all its fields.
                    if !item_is_owned(below, &items[at], &live[there]) {
                        return false;
                    }
                }
                places.push((at, there));
            }
            // An apply also brings the items into its own order.
            places.sort_unstable();
            places.len() == items.len() && places.windows(2).all(|pair| pair[0].1 < pair[1].1)
        }
        _ => false,
    }
}

fn item_is_owned(tree: &Tree, wanted: &Value, live: &Value) -> bool {
    match wanted {
        Value::Object(object) => mapping_is_owned(tree, object, live, 0, ""),
        _ => false,
    }
}

/// How an item of a list is named in a tree.
enum Element {
    /// By the values of its keys.
    Keys(Map<String, Value>),
    /// By itself.
    Itself(Value),
}

impl Element {
    fn parse(key: &str) -> Option<Self> {
        if let Some(keys) = key.strip_prefix("k:") {
            return serde_json::from_str(keys).ok().map(Element::Keys);
        }
        let value = key.strip_prefix("v:")?;
        serde_json::from_str(value).ok().map(Element::Itself)
    }

    /// Whether an item is the one named. What an item leaves out may be a key that is filled in.
    fn is(&self, item: &Value) -> bool {
        match self {
            Element::Keys(keys) => keys.iter().all(|(key, value)| match item.get(key) {
                Some(own) => own == value,
                None => is_default(key, value),
            }),
            Element::Itself(value) => value == item,
        }
    }
}

/// What servers fill in within values that are owned as a whole, and in keys of items. Values given by hand are
/// the same as those filled in.
fn is_default(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null) => true,
        ("protocol", Value::String(text)) => text == "TCP",
        ("apiVersion", Value::String(text)) => text == "v1",
        ("divisor", Value::String(text)) => text == "0",
        ("scope", Value::String(text)) => text == "*",
        ("volumeMode", Value::String(text)) => text == "Filesystem",
        ("kind", Value::String(text)) => text == "PersistentVolumeClaim",
        ("phase", Value::String(text)) => text == "Pending",
        ("apiGroup", Value::String(text)) => text == "rbac.authorization.k8s.io",
        ("expirationSeconds", Value::Number(number)) => number.as_i64() == Some(3600),
        ("defaultMode", Value::Number(number)) => number.as_i64() == Some(420),
        ("status", Value::Object(object)) => {
            object.iter().all(|(name, value)| is_default(name, value))
        }
        _ => false,
    }
}

/// Mappings whose values are quantities.
fn is_quantities(name: &str) -> bool {
    matches!(
        name,
        "limits"
            | "requests"
            | "hard"
            | "capacity"
            | "default"
            | "defaultRequest"
            | "max"
            | "min"
            | "maxLimitRequestRatio"
            | "podFixed"
    )
}

fn is_quantity(name: &str) -> bool {
    is_quantities(name) || matches!(name, "sizeLimit" | "divisor" | "averageValue")
}

/// What may stay empty while others and the server fill it: owning it says nothing about what is in it.
fn is_filled_by_others(name: &str) -> bool {
    matches!(
        name,
        "resources" | "strategy" | "updateStrategy" | "securityContext" | "annotations" | "labels"
    )
}

/// Whether a server would keep `live` when `wanted` is applied in its place.
fn same(wanted: &Value, live: &Value, name: &str) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            if wanted.is_empty() && is_filled_by_others(name) {
                return true;
            }
            wanted.iter().all(|(field, value)| match live.get(field) {
                Some(live) => same(value, live, if is_quantities(name) { name } else { field }),
                None => value.is_null(),
            }) && live
                .iter()
                .all(|(field, value)| wanted.contains_key(field) || is_default(field, value))
        }
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len()
                && wanted
                    .iter()
                    .zip(live)
                    .all(|(wanted, live)| same(wanted, live, name))
        }
        _ if wanted == live => true,
        (Value::Number(wanted), Value::Number(live)) => wanted.as_f64() == live.as_f64(),
        (Value::String(wanted), Value::String(live)) => {
            is_quantity(name) && quantity::canonical(wanted).is_ok_and(|wanted| wanted == *live)
        }
        (Value::Number(wanted), Value::String(live)) => {
            is_quantity(name)
                && quantity::canonical(&wanted.to_string()).is_ok_and(|wanted| wanted == *live)
        }
        _ => false,
    }
}

/// A field of the source that is not ours in the object.
#[derive(Debug, PartialEq)]
pub(crate) struct Foreign {
    /// Its place in what is wanted.
    pub(crate) wanted_at: Pointer,
    /// Its place in the object, or where it would be.
    pub(crate) at: Pointer,
    /// What is wanted.
    pub(crate) wanted: Value,
    /// What is there.
    pub(crate) found: Option<Value>,
    /// Who owns it, if anyone does.
    pub(crate) owner: Option<Claim>,
}

/// A manager's claim to fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// What kind of owner it is, by name.
    pub(crate) owner: Owner,
    /// Whether it came after our last apply.
    pub(crate) later: bool,
}

/// What of the source is not ours in an object that we have applied before, with who has it now.
pub(crate) fn foreign(wanted: &Value, live: &Value) -> Vec<Foreign> {
    let Some(own) = ours(live) else {
        return Vec::new();
    };
    let since = text(own, &["time"]);
    let others: Vec<(Claim, &Tree)> = entries(live)
        .iter()
        .filter(|entry| !is_ours(entry) && text(entry, &["subresource"]) != "status")
        .filter_map(|entry| {
            let claim = Claim {
                owner: owner(entry),
                // Times have a second's grain: in the same one it came after.
                later: text(entry, &["time"]) >= since,
            };
            Some((claim, entry["fieldsV1"].as_object()?))
        })
        .collect();
    let Some(tree) = own["fieldsV1"].as_object() else {
        return Vec::new();
    };
    // Who took a field away owns nothing in its place: the latest to have changed anything is the likeliest.
    let latest = entries(live)
        .iter()
        .filter(|entry| {
            !is_ours(entry)
                && text(entry, &["subresource"]) != "status"
                && text(entry, &["time"]) >= since
        })
        .max_by_key(|entry| text(entry, &["time"]))
        .map(|entry| Claim {
            owner: owner(entry),
            later: true,
        });
    let mut walk = Walk {
        latest,
        found: Vec::new(),
    };
    let trees: Vec<(&Claim, &Tree)> = others.iter().map(|(claim, tree)| (claim, *tree)).collect();
    if let (Some(wanted), Some(live)) = (wanted.as_object(), live.as_object()) {
        for (name, value) in wanted {
            if matches!(name.as_str(), "apiVersion" | "kind") {
                continue;
            }
            walk.member(Some(tree), &trees, name, value, live, "", "");
        }
    }
    walk.found
}

struct Walk {
    latest: Option<Claim>,
    found: Vec<Foreign>,
}

impl Walk {
    #[allow(clippy::too_many_arguments)]
    fn member(
        &mut self,
        own: Option<&Tree>,
        others: &[(&Claim, &Tree)],
        name: &str,
        wanted: &Value,
        live: &Map<String, Value>,
        wanted_at: &str,
        at: &str,
    ) {
        if wanted_at == "/metadata" && matches!(name, "name" | "namespace") || wanted.is_null() {
            return;
        }
        let key = format!("f:{name}");
        let step = |tree: &'_ Tree| tree.get(&key).and_then(Value::as_object).cloned();
        let below: Vec<(&Claim, Tree)> = others
            .iter()
            .filter_map(|(claim, tree)| Some((*claim, step(tree)?)))
            .collect();
        self.place(
            own.and_then(step).as_ref(),
            &below
                .iter()
                .map(|(claim, tree)| (*claim, tree))
                .collect::<Vec<_>>(),
            wanted,
            live.get(name),
            &consort_plan::below(wanted_at, name),
            &consort_plan::below(at, name),
        );
    }

    fn place(
        &mut self,
        own: Option<&Tree>,
        others: &[(&Claim, &Tree)],
        wanted: &Value,
        live: Option<&Value>,
        wanted_at: &str,
        at: &str,
    ) {
        if own.is_some_and(Map::is_empty) {
            return;
        }
        let whole = others.iter().any(|(_, tree)| tree.is_empty());
        let deeper = own.is_some() || (!others.is_empty() && !whole) || wanted_at == "/metadata";
        match (wanted, live) {
            (Value::Object(wanted), Some(Value::Object(live))) if deeper => {
                for (name, value) in wanted {
                    self.member(own, others, name, value, live, wanted_at, at);
                }
            }
            (Value::Array(wanted), Some(Value::Array(live))) if deeper => {
                for (index, item) in wanted.iter().enumerate() {
                    self.item(own, others, index, item, live, wanted_at, at);
                }
            }
            _ => {
                let owner = others
                    .iter()
                    .max_by_key(|(claim, _)| claim.later)
                    .map(|(claim, _)| (*claim).clone())
                    .or_else(|| self.latest.clone().filter(|_| live.is_none()));
                self.found.push(Foreign {
                    wanted_at: wanted_at.to_owned(),
                    at: at.to_owned(),
                    wanted: wanted.clone(),
                    found: live.cloned(),
                    owner,
                });
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn item(
        &mut self,
        own: Option<&Tree>,
        others: &[(&Claim, &Tree)],
        index: usize,
        item: &Value,
        live: &[Value],
        wanted_at: &str,
        at: &str,
    ) {
        let named = |tree: &Tree| {
            tree.iter().find_map(|(key, below)| {
                let element = Element::parse(key)?;
                element.is(item).then(|| {
                    let place = live.iter().position(|item| element.is(item));
                    (below.as_object().cloned().unwrap_or_default(), place)
                })
            })
        };
        let own = own.and_then(named);
        let below: Vec<(&Claim, Tree, Option<usize>)> = others
            .iter()
            .filter_map(|(claim, tree)| {
                let (below, place) = named(tree)?;
                Some((*claim, below, place))
            })
            .collect();
        let place = own
            .as_ref()
            .and_then(|(_, place)| *place)
            .or_else(|| below.iter().find_map(|(_, _, place)| *place))
            .or_else(|| {
                live.iter().position(|there| {
                    there == item
                        || item
                            .get("name")
                            .is_some_and(|name| there.get("name") == Some(name))
                })
            });
        // The item of a set is itself: who has it, has it.
        if item.is_string() || item.is_number() {
            if own.is_some() {
                return;
            }
        } else if let Some((tree, _)) = &own
            && tree.is_empty()
        {
            return;
        }
        self.place(
            own.as_ref().map(|(tree, _)| tree),
            &below
                .iter()
                .map(|(claim, tree, _)| (*claim, tree))
                .collect::<Vec<_>>(),
            item,
            place.map(|place| &live[place]),
            &format!("{wanted_at}/{index}"),
            &format!("{at}/{}", place.unwrap_or(index)),
        );
    }
}

/// What kind of owner an entry of `managedFields` is.
pub(crate) fn owner(entry: &Value) -> Owner {
    let manager = text(entry, &["manager"]);
    let subresource = text(entry, &["subresource"]);
    if is_ours(entry) {
        return Owner::Score;
    }
    if is_person(manager) {
        return Owner::Person(manager.to_owned());
    }
    if subresource == "scale" {
        return Owner::Autoscaler(manager.to_owned());
    }
    if is_controller(manager) || !subresource.is_empty() {
        return Owner::Controller(manager.to_owned());
    }
    // Another who applies has laid a claim to the fields by name; a plain write by nobody known is a person's.
    if entry["operation"] == "Apply" && !manager.is_empty() {
        return Owner::Controller(manager.to_owned());
    }
    Owner::Person(manager.to_owned())
}

/// The name of whoever else changed an object last.
pub(crate) fn latest_other(live: &Value) -> Option<String> {
    entries(live)
        .iter()
        .filter(|entry| !is_ours(entry) && text(entry, &["subresource"]) != "status")
        .max_by_key(|entry| text(entry, &["time"]))
        .map(|entry| text(entry, &["manager"]).to_owned())
        .filter(|manager| !manager.is_empty())
}

/// Names of the clients that people use.
fn is_person(manager: &str) -> bool {
    let name = manager.to_lowercase();
    name.starts_with("kubectl")
        || [
            "before-first-apply",
            "consort",
            "curl",
            "dashboard",
            "freelens",
            "headlamp",
            "helm",
            "k9s",
            "lens",
            "mozilla",
            "node-fetch",
            "oc",
            "octant",
            "openapi-generator",
            "openlens",
            "postman",
            "pulumi-kubernetes",
            "python-requests",
            "rancher",
            "terraform",
            "wget",
        ]
        .contains(&name.as_str())
}

/// Names that reconcilers go by.
fn is_controller(manager: &str) -> bool {
    let name = manager.to_lowercase();
    name.starts_with("kube-")
        || name.starts_with("system:")
        || name.ends_with("controller")
        || name.ends_with("controllers")
        || name.ends_with("operator")
        || name.ends_with("manager")
        || name.ends_with("-scaler")
        || name.ends_with("autoscaler")
        || name.ends_with("injector")
        || name.ends_with("webhook")
        || name.contains("-controller-")
        || [
            "kubelet",
            "pilot-discovery",
            "cainjector",
            "keda",
            "vpa-recommender",
            "vpa-updater",
            "cilium-agent",
            "calico-node",
            "rke",
            "k3s",
            "crossplane",
        ]
        .contains(&name.as_str())
}

/// The fields of ours in one object and not in the other, as people name them; `f:` and the like left out.
pub(crate) fn owned_only_by_first(first: &Value, second: &Value) -> Vec<String> {
    let tree = |object| {
        ours(object)
            .and_then(|entry| entry["fieldsV1"].as_object())
            .cloned()
            .unwrap_or_default()
    };
    let mut fields = Vec::new();
    only_first(&tree(first), &tree(second), "", &mut fields);
    fields
}

fn only_first(first: &Tree, second: &Tree, at: &str, fields: &mut Vec<String>) {
    for (key, below) in first {
        if key == "." {
            continue;
        }
        let named = match key.split_once(':') {
            Some(("f", name)) if at.is_empty() => name.to_owned(),
            Some(("f", name)) => format!("{at}.{name}"),
            Some((_, rest)) => format!("{at}[{}]", brief(rest)),
            None => continue,
        };
        let empty = Tree::new();
        let own = below.as_object().unwrap_or(&empty);
        match second.get(key).and_then(Value::as_object) {
            Some(other) => only_first(own, other, &named, fields),
            None => fields.push(named),
        }
    }
}

/// `{"name":"web"}` as `name=web`.
fn brief(keys: &str) -> String {
    match serde_json::from_str::<Value>(keys) {
        Ok(Value::Object(keys)) => keys
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) => format!("{key}={text}"),
                other => format!("{key}={other}"),
            })
            .collect::<Vec<_>>()
            .join(","),
        _ => keys.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(spec: Value, fields: Value, others: &[Value]) -> Value {
        let mut managed = vec![
            json!({"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}),
        ];
        managed.extend(others.iter().cloned());
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "managedFields": managed}, "spec": spec})
    }

    fn wanted(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn a_no_op_is_proven_by_equal_values_and_equal_fields() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:resources": {"f:limits": {"f:cpu": {}}},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}});
        let spec = json!({"replicas": 2, "revisionHistoryLimit": 10, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"name": "web", "image": "x", "imagePullPolicy": "Always",
                "resources": {"limits": {"cpu": "500m"}}, "ports": [{"containerPort": 80, "protocol": "TCP"}]},
                {"name": "sidecar"}]}}});
        let live = live(spec, fields, &[]);
        let same = json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"name": "web", "image": "x",
                "resources": {"limits": {"cpu": 0.5}}, "ports": [{"containerPort": 80}]}]}}});
        assert!(proves_no_op(&wanted(same.clone()), &live));
        for change in [
            ("/replicas", json!(3)),
            ("/selector/matchLabels", json!({})),
            ("/template/spec/containers/0/image", json!("y")),
            (
                "/template/spec/containers/0/resources/limits/cpu",
                json!("1"),
            ),
            ("/template/spec/containers/0/ports", json!([])),
            ("/template/spec/containers", json!([])),
            ("/template", json!({})),
        ] {
            let mut other = same.clone();
            *other.pointer_mut(change.0).unwrap() = change.1;
            assert!(!proves_no_op(&wanted(other), &live), "{}", change.0);
        }
        let mut more = same.clone();
        more["revisionHistoryLimit"] = json!(10);
        assert!(
            !proves_no_op(&wanted(more), &live),
            "a field it does not own yet"
        );
        let mut less = same;
        less.as_object_mut().unwrap().remove("replicas");
        assert!(!proves_no_op(&wanted(less), &live), "a field it gives up");
    }

    #[test]
    fn fields_that_others_took_are_told_with_their_owners() {
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}}}}}}});
        let spec = json!({"replicas": 5, "template": {"spec": {"containers": [{"name": "other"}, {"name": "web", "image": "y"}]}}});
        let live = live(
            spec,
            fields,
            &[
                json!({"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale",
                    "time": "2026-01-01T00:00:01Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
                json!({"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:02Z",
                    "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
                        "k:{\"name\":\"web\"}": {"f:image": {}}}}}}}}),
            ],
        );
        let wanted = wanted(json!({"replicas": 2, "minReadySeconds": 3,
            "template": {"spec": {"containers": [{"name": "web", "image": "x"}]}}}));
        let found = foreign(&wanted, &live);
        let told: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.at.as_str(),
                    one.found.clone(),
                    one.owner.clone().map(|claim| claim.owner),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "/spec/replicas",
                    Some(json!(5)),
                    Some(Owner::Autoscaler("kube-controller-manager".into()))
                ),
                // Whoever came last is the likeliest to have taken it away.
                (
                    "/spec/minReadySeconds",
                    None,
                    Some(Owner::Person("kubectl-edit".into()))
                ),
                (
                    "/spec/template/spec/containers/1/image",
                    Some(json!("y")),
                    Some(Owner::Person("kubectl-edit".into()))
                ),
            ]
        );
    }

    #[test]
    fn owners_are_told_apart_by_how_they_write() {
        let of = |manager: &str, operation: &str, subresource: &str| {
            owner(&json!({"manager": manager, "operation": operation, "subresource": subresource}))
        };
        assert_eq!(
            of("kubectl", "Update", "scale"),
            Owner::Person("kubectl".into())
        );
        assert_eq!(
            of("kubectl-client-side-apply", "Update", ""),
            Owner::Person("kubectl-client-side-apply".into())
        );
        assert_eq!(
            of("hpa", "Update", "scale"),
            Owner::Autoscaler("hpa".into())
        );
        assert_eq!(
            of("cert-manager-cainjector", "Update", ""),
            Owner::Controller("cert-manager-cainjector".into())
        );
        assert_eq!(
            of("someone", "Apply", ""),
            Owner::Controller("someone".into())
        );
        assert_eq!(of("someone", "Update", ""), Owner::Person("someone".into()));
    }
}
