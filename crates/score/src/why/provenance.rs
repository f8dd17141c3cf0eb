//! Where an object comes from: what made it, up to the score, and who changed it.

use jiff::Timestamp;
use serde_json::Value;

use consort_plan::Address;

use super::Explainer;
use super::cause::{Cause, Standing};
use super::evidence::{Look, Ref, is_true, items, text, time};
use crate::deeds;

/// What this program's own writes are signed with.
const OWN_MANAGER: &str = "consort-score";
/// Signatures of reconcilers whose writes are their daily work.
const RECONCILERS: [&str; 9] = [
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "consort-node",
    "consort-scheduler",
    "consort-workloads",
    "before-first-apply",
    "consort-server",
    "api-server",
];

impl Explainer<'_> {
    /// What made an object and who changed it: its owner and the owner's, up to what a score describes; the operation
    /// that did that, who started it, and the commit. Where no score has made it, who did, as far as the object tells.
    pub(super) fn made_by(&mut self, object: &Value) -> Vec<Cause> {
        let reference = Ref::of(object);
        let key = format!("origin of {reference}");
        let mut causes = Vec::new();
        if let Some(all) = self.once(key, |this| {
            let mut all = Cause::new("", Standing::Fact, "");
            all.causes = this.origin(&reference, object);
            all
        }) {
            causes.extend(all.causes);
        }
        causes
    }

    fn origin(&mut self, reference: &Ref, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let changed = self.witnessed(reference, object, &["Changed", "Deleted"]);
        let witnessed = !changed.is_empty();
        causes.extend(changed);
        let owner = items(object, "/metadata/ownerReferences")
            .iter()
            .find(|owner| is_true(owner, "/controller"))
            .or_else(|| items(object, "/metadata/ownerReferences").first());
        if let Some(owner) = owner {
            let version = text(owner, "/apiVersion");
            let owner = Ref::new(
                version.split_once('/').map_or("", |(group, _)| group),
                text(owner, "/kind"),
                &reference.namespace,
                text(owner, "/name"),
            );
            // What has no namespace owns what has one, too: nodes own leases and mirrored pods.
            let owner = if owner.kind == "Node" {
                Ref {
                    namespace: String::new(),
                    ..owner
                }
            } else {
                owner
            };
            // What is being explained from its owner down needs no words about the owner.
            if self.path.contains(&owner.to_string()) {
                return causes;
            }
            match self.asking.object(&owner) {
                Some(Look::Found(above)) => {
                    let above = self.made_by(above);
                    causes.push(
                        Cause::new(
                            owner.to_string(),
                            Standing::Fact,
                            format!("made this {}", reference.kind),
                        )
                        .at(time(object, "/metadata/creationTimestamp"))
                        .because(above),
                    );
                }
                Some(Look::Missing) => causes.push(Cause::new(
                    owner.to_string(),
                    Standing::Bad,
                    format!(
                        "made this {} and is gone: it will be cleaned up",
                        reference.kind
                    ),
                )),
                _ => {}
            }
            return causes;
        }
        let label = |name: &str| {
            object
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(name))
                .and_then(Value::as_str)
        };
        if let (Some(score), Some(part)) = (label(deeds::SCORE), label(deeds::PART)) {
            let version = text(object, "/apiVersion");
            let mut local = format!("{version}/{}", reference.kind);
            if !reference.namespace.is_empty() {
                local.push('/');
                local.push_str(&reference.namespace);
            }
            local.push('/');
            local.push_str(&reference.name);
            let address = Address::new(part, &local);
            let key = format!("{score}:{address}");
            if !self.path.contains(&key) {
                let cause = self.history_of(&address, Some(score));
                causes.extend(cause);
            }
            if !witnessed {
                causes.extend(Self::last_changes(object, &[]));
            }
            return causes;
        }
        if !witnessed {
            causes.extend(Self::last_changes(object, &[]));
        }
        let first = managers(object)
            .into_iter()
            .min_by_key(|(manager, subresource, at, _)| {
                let daily = !subresource.is_empty() || RECONCILERS.contains(manager);
                (daily, *at)
            });
        if let Some((manager, _, at, _)) = first {
            let born = time(object, "/metadata/creationTimestamp").or(at);
            let alone = causes.iter().any(|cause| cause.what == signed(manager));
            if manager != OWN_MANAGER && !alone {
                causes.push(
                    Cause::new(
                        signed(manager),
                        Standing::Fact,
                        format!("made {reference}; no score describes it"),
                    )
                    .at(born),
                );
            }
        }
        causes
    }

    /// Who changed an object last beside the score and the reconcilers, as the owners of its fields tell: at most three,
    /// the last ones first. With `fields` only changes of one of those fields at the top.
    pub(super) fn last_changes(object: &Value, fields: &[&str]) -> Vec<Cause> {
        let reference = Ref::of(object);
        let born = time(object, "/metadata/creationTimestamp");
        let mut found: Vec<(&str, Option<Timestamp>, Vec<String>)> = managers(object)
            .into_iter()
            .filter(|(manager, subresource, at, _)| {
                *manager != OWN_MANAGER
                    && *subresource != "status"
                    && !RECONCILERS.contains(manager)
                    && !manager.ends_with("-controller")
                    && *at > born
            })
            .map(|(manager, _, at, owned)| (manager, at, owned))
            .filter(|(_, _, owned)| {
                fields.is_empty()
                    || owned
                        .iter()
                        .any(|path| fields.iter().any(|field| path.starts_with(field)))
            })
            .collect();
        found.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
        found
            .into_iter()
            .take(3)
            .map(|(manager, at, owned)| {
                let shown: Vec<&str> = owned.iter().take(6).map(String::as_str).collect();
                let more = owned.len().saturating_sub(shown.len());
                let mut says = format!("changed {reference}");
                if !shown.is_empty() {
                    says.push_str(&format!(" ({}", shown.join(", ")));
                    if more > 0 {
                        says.push_str(&format!(" and {more} more"));
                    }
                    says.push(')');
                }
                Cause::new(signed(manager), Standing::Fact, says).at(at)
            })
            .collect()
    }
}

/// A field manager as who did something.
fn signed(manager: &str) -> String {
    if manager.starts_with("kubectl") {
        format!("somebody with {manager}")
    } else {
        manager.to_owned()
    }
}

/// The managers of an object's fields: name, subresource, time, the fields.
fn managers(object: &Value) -> Vec<(&str, &str, Option<Timestamp>, Vec<String>)> {
    items(object, "/metadata/managedFields")
        .iter()
        .map(|entry| {
            let mut owned = Vec::new();
            if let Some(fields) = entry.get("fieldsV1") {
                leaves(fields, &mut String::new(), 0, &mut owned);
            }
            (
                text(entry, "/manager"),
                text(entry, "/subresource"),
                time(entry, "/time"),
                owned,
            )
        })
        .collect()
}

/// The fields of a set in the API's notation (`f:spec`, `k:{"name":"web"}`, `v:"x"`), the first fifty of them.
fn leaves(fields: &Value, path: &mut String, depth: usize, out: &mut Vec<String>) {
    let Some(fields) = fields.as_object() else {
        return;
    };
    for (key, below) in fields {
        if out.len() >= 50 || depth > 40 {
            return;
        }
        if key == "." {
            continue;
        }
        let end = path.len();
        if let Some(name) = key.strip_prefix("f:") {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        } else if let Some(keys) = key.strip_prefix("k:") {
            let keys: Value = serde_json::from_str(keys).unwrap_or(Value::Null);
            let names: Vec<String> = keys
                .as_object()
                .into_iter()
                .flatten()
                .map(|(_, value)| super::pod::plain(value))
                .collect();
            path.push_str(&format!("[{}]", names.join(",")));
        } else if let Some(value) = key.strip_prefix("v:") {
            path.push_str(&format!("[{value}]"));
        }
        let empty = below
            .as_object()
            .is_none_or(|below| below.keys().all(|key| key == "."));
        if empty {
            out.push(path.clone());
        } else {
            leaves(below, path, depth + 1, out);
        }
        path.truncate(end);
    }
}
