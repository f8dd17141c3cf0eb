//! Who makes an object depend on another must be allowed to: it delays the owner's deletion, and lets the
//! owner's deletion delete the object.

use super::{Operation, Request, forbidden, is};
use crate::error::Outcome;
use crate::identity::Attributes;
use crate::values::{flag, items, text};
use serde_json::Value;

/// Refuse changes of owners by those who could not delete the object, and owners whose deletion waits by
/// those who could not set the owner's finalizers.
pub(super) fn check(request: &Request<'_>, object: &Value, old: Option<&Value>) -> Outcome<()> {
    let owners = |object| items(object, &["metadata", "ownerReferences"]);
    let before = old.map_or(&[] as &[Value], owners);
    let now = owners(object);
    if now == before || (is(request.kind, "pods") && request.subresource == "status") {
        return Ok(());
    }
    let may = |wanted: &Attributes<'_>| request.inner.authorizer.authorize(request.user, wanted);
    let space = request.namespace.unwrap_or_default();
    if request.operation != Operation::Create {
        let decision = may(&Attributes {
            verb: "delete",
            group: &request.kind.group,
            version: &request.kind.version,
            resource: &request.kind.plural,
            subresource: request.subresource,
            namespace: space,
            name: request.name,
            ..Attributes::default()
        });
        if !decision.allowed {
            return Err(forbidden(
                request,
                format!(
                    "cannot set an ownerRef on a resource you can't delete: {}, <nil>",
                    decision.reason
                ),
            ));
        }
    }
    for owner in newly_blocking(now, before) {
        let (api_version, kind) = (text(owner, &["apiVersion"]), text(owner, &["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let served = request
            .registry
            .kinds_of(group, version)
            .find(|served| served.kind == kind && served.stored());
        let Some(served) = served else {
            return Err(forbidden(
                request,
                format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} Kind {kind}: no matches for kind {kind:?} in version {api_version:?}"
                ),
            ));
        };
        let decision = may(&Attributes {
            verb: "update",
            group,
            version,
            resource: &served.plural,
            subresource: "finalizers",
            namespace: if served.namespaced { space } else { "" },
            name: text(owner, &["name"]),
            ..Attributes::default()
        });
        if !decision.allowed {
            return Err(forbidden(
                request,
                format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {}, <nil>",
                    decision.reason
                ),
            ));
        }
    }
    Ok(())
}

/// The owners whose deletion waits for the object, and did not before.
fn newly_blocking<'v>(now: &'v [Value], before: &'v [Value]) -> impl Iterator<Item = &'v Value> {
    let blocks = |owner: &&Value| flag(owner, &["blockOwnerDeletion"]);
    now.iter().filter(blocks).filter(move |owner| {
        let uid = text(owner, &["uid"]);
        let mut old = before.iter().filter(blocks);
        !old.any(|old| text(old, &["uid"]) == uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_owners_that_begin_to_wait_are_asked_about() {
        let owner = |uid: &str, blocks: bool| json!({"uid": uid, "blockOwnerDeletion": blocks});
        let now = [
            owner("a", true),
            owner("b", true),
            owner("c", false),
            owner("d", true),
        ];
        let before = [owner("a", true), owner("b", false), owner("c", true)];
        let new: Vec<&str> = newly_blocking(&now, &before)
            .map(|owner| text(owner, &["uid"]))
            .collect();
        assert_eq!(new, ["b", "d"]);
    }
}
