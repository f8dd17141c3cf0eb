//! Acting as someone else (`kubectl --as`): for callers with the right to `impersonate`.

use crate::api::Inner;
use crate::error::{Outcome, bad_request};
use crate::identity::{Attributes, User};
use http::request::Parts;
use std::sync::Arc;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";

/// The user a request counts as.
pub(crate) fn effective(inner: &Inner, caller: Arc<User>, parts: &Parts) -> Outcome<Arc<User>> {
    let all = |name: &str| -> Vec<String> {
        parts
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect()
    };
    let extras: Vec<(String, String)> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(EXTRA)?;
            Some((key.to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let (name, groups, uid) = (all(USER), all(GROUP), all(UID));
    let Some(name) = name.first().filter(|name| !name.is_empty()) else {
        if groups.is_empty() && uid.is_empty() && extras.is_empty() {
            return Ok(caller);
        }
        return Err(bad_request(
            "requested impersonation of groups, uid or extra without impersonating a user",
        ));
    };
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        inner.authorize(
            &caller,
            &Attributes {
                verb: "impersonate",
                group,
                version: "v1",
                resource,
                subresource,
                namespace,
                name,
                path: "",
            },
        )
    };
    let account = name
        .strip_prefix(ACCOUNT)
        .and_then(|rest| rest.split_once(':'));
    let mut user = if let Some((namespace, account)) = account {
        may("", "serviceaccounts", "", namespace, account)?;
        User::service_account(namespace, account, "")
    } else {
        may("", "users", "", "", name)?;
        if name == crate::identity::ANONYMOUS {
            User::anonymous()
        } else {
            User::new(name.as_str(), groups.clone())
        }
    };
    for group in &groups {
        may("", "groups", "", "", group)?;
        if !user.is_in(group) {
            user.groups.push(group.clone());
        }
    }
    if let Some(uid) = uid.first() {
        may("authentication.k8s.io", "uids", "", "", uid)?;
        user.uid.clone_from(uid);
    }
    for (key, value) in extras {
        may("authentication.k8s.io", "userextras", &key, "", &value)?;
        user.extra.entry(key).or_default().push(value);
    }
    Ok(Arc::new(user))
}
