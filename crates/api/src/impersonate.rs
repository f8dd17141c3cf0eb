//! Acting as someone else (`kubectl --as`): for callers with the right to `impersonate`.
//!
//! There are two kinds of right, tried in upstream's order. The narrow ones (constrained impersonation)
//! say as whom one may act, by kind of user (`impersonate:user-info`, ...), and for which request
//! (`impersonate-on:user-info:list`, ...); both are needed. The older, wide one is `impersonate` alone.

use crate::api::Inner;
use crate::error::{Failure, Outcome, bad_request};
use crate::identity::{ANONYMOUS, AUTHENTICATED, Attributes, MASTERS, UNAUTHENTICATED, User};
use crate::request::decode_percent;
use consort_object::names;
use consort_object::status::Status;
use http::request::Parts;
use std::collections::BTreeMap;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";
const NODES: &str = "system:nodes";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// The group of the older right's users, and of the narrow rights' everything.
const AUTHENTICATION: &str = "authentication.k8s.io";
/// From this many on it is first asked whether all are allowed.
const MANY: usize = 4;

/// The user a request counts as, and the narrow right that made it so.
pub(crate) struct Acting {
    /// The user.
    pub user: User,
    /// The narrow right's verb; empty for the wide one.
    pub constraint: String,
}

/// What the headers ask for.
#[derive(Debug, Default)]
struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(parts: &Parts) -> Outcome<Option<Self>> {
        let mut wanted = Self::default();
        let mut without_name = false;
        for (header, value) in &parts.headers {
            let name = header.as_str();
            if !name.starts_with("impersonate-") {
                continue;
            }
            let text = || match value.to_str() {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err(bad_request(format!("the header {name} is not text"))),
            };
            match name {
                USER if wanted.name.is_empty() => wanted.name = text()?,
                UID if wanted.uid.is_empty() => {
                    wanted.uid = text()?;
                    without_name |= !wanted.uid.is_empty();
                }
                GROUP => {
                    wanted.groups.push(text()?);
                    without_name = true;
                }
                _ => {
                    if let Some(key) = name.strip_prefix(EXTRA) {
                        let key = decode_percent(key);
                        wanted.extra.entry(key).or_default().push(text()?);
                        without_name = true;
                    }
                }
            }
        }
        if wanted.name.is_empty() {
            if without_name {
                return Err(bad_request(
                    "requested impersonation of groups, uid or extra without impersonating a user name",
                ));
            }
            return Ok(None);
        }
        Ok(Some(wanted))
    }

    fn only_name(&self) -> bool {
        self.uid.is_empty() && self.groups.is_empty() && self.extra.is_empty()
    }

    fn account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.name.strip_prefix(ACCOUNT)?.split_once(':')?;
        (names::dns1123_label(namespace).is_ok() && names::dns1123_subdomain(name).is_ok())
            .then_some((namespace, name))
    }

    fn node(&self) -> Option<&str> {
        let name = self.name.strip_prefix(NODE)?;
        names::dns1123_subdomain(name).is_ok().then_some(name)
    }
}

/// The kinds of right, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Wide,
}

impl Mode {
    const ALL: [Self; 5] = [
        Self::AssociatedNode,
        Self::ArbitraryNode,
        Self::ServiceAccount,
        Self::UserInfo,
        Self::Wide,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Wide => "",
        }
    }

    fn verb(self) -> String {
        match self {
            Self::Wide => "impersonate".to_owned(),
            narrow => format!("impersonate:{}", narrow.name()),
        }
    }

    /// Whether such a right can say anything about this.
    fn applies(self, caller: &User, wanted: &Wanted) -> bool {
        match self {
            Self::AssociatedNode => {
                let own = caller.extra.get(NODE_NAME).map(Vec::as_slice);
                wanted.only_name()
                    && caller.name.starts_with(ACCOUNT)
                    && wanted
                        .node()
                        .is_some_and(|node| matches!(own, Some([own]) if own.as_str() == node))
            }
            Self::ArbitraryNode => wanted.only_name() && wanted.node().is_some(),
            Self::ServiceAccount => wanted.only_name() && wanted.account().is_some(),
            Self::UserInfo => wanted.node().is_none() && wanted.account().is_none(),
            Self::Wide => true,
        }
    }
}

/// The user a request counts as, if its headers ask for another than the caller; `request` is what it
/// is for.
pub(crate) fn effective(
    inner: &Inner,
    caller: &User,
    parts: &Parts,
    request: &Attributes<'_>,
) -> Outcome<Option<Acting>> {
    let Some(wanted) = Wanted::read(parts)? else {
        return Ok(None);
    };
    let mut first: Option<Failure> = None;
    for mode in Mode::ALL {
        if !mode.applies(caller, &wanted) {
            continue;
        }
        let check = Check {
            inner,
            caller,
            mode,
            verb: mode.verb(),
        };
        match check.all(&wanted, request) {
            Ok(user) => {
                let constraint = match mode {
                    Mode::Wide => String::new(),
                    _ => check.verb,
                };
                return Ok(Some(Acting { user, constraint }));
            }
            // What is told is why the narrowest right did not do.
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Box::new(Status::internal_error("no impersonation mode applies"))))
}

/// Whether one kind of right allows it.
struct Check<'a> {
    inner: &'a Inner,
    caller: &'a User,
    mode: Mode,
    verb: String,
}

impl Check<'_> {
    fn narrow(&self) -> bool {
        self.mode != Mode::Wide
    }

    fn all(&self, wanted: &Wanted, request: &Attributes<'_>) -> Outcome<User> {
        if self.narrow() {
            let verb = format!("impersonate-on:{}:{}", self.mode.name(), request.verb);
            let on = Attributes {
                verb: &verb,
                ..request.clone()
            };
            self.inner.authorize(self.caller, &on)?;
        }
        let mut user = User {
            name: wanted.name.clone(),
            uid: wanted.uid.clone(),
            groups: wanted.groups.clone(),
            extra: wanted.extra.clone(),
        };
        self.name(wanted, &mut user)?;
        if !wanted.uid.is_empty() {
            self.may(AUTHENTICATION, "uids", "", "", &wanted.uid)?;
        }
        self.groups(&wanted.groups)?;
        self.extra(&wanted.extra)?;
        let mut join = |group: &str| {
            if !user.groups.iter().any(|own| own == group) {
                user.groups.push(group.to_owned());
            }
        };
        if user.name == ANONYMOUS {
            join(UNAUTHENTICATED);
        } else if !wanted.groups.iter().any(|own| own == UNAUTHENTICATED) {
            join(AUTHENTICATED);
        }
        Ok(user)
    }

    fn may(
        &self,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Outcome<()> {
        let wanted = self.attributes(group, resource, subresource, namespace, name);
        self.inner.authorize(self.caller, &wanted)
    }

    fn attributes<'b>(
        &'b self,
        group: &'b str,
        resource: &'b str,
        subresource: &'b str,
        namespace: &'b str,
        name: &'b str,
    ) -> Attributes<'b> {
        Attributes {
            verb: &self.verb,
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
            ..Attributes::default()
        }
    }

    /// A refusal that no rule could lift.
    fn never(&self, wanted: &Attributes<'_>, reason: &str) -> Failure {
        let decision = crate::identity::Decision {
            allowed: false,
            reason: reason.to_owned(),
        };
        match Inner::refuse(self.caller, wanted, &decision) {
            Err(failure) => failure,
            Ok(()) => Box::new(Status::internal_error("a refusal was lifted")),
        }
    }

    fn users_group(&self) -> &'static str {
        if self.narrow() { AUTHENTICATION } else { "" }
    }

    fn name(&self, wanted: &Wanted, user: &mut User) -> Outcome<()> {
        let group = self.users_group();
        if let Some((namespace, account)) = wanted.account() {
            if wanted.groups.is_empty() {
                user.groups = vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                ];
            }
            return self.may(group, "serviceaccounts", "", namespace, account);
        }
        if let Some(node) = wanted.node().filter(|_| self.narrow()) {
            user.groups = vec![NODES.to_owned()];
            // The right to act as one's own node holds for whichever node that is.
            let name = if self.mode == Mode::AssociatedNode {
                "*"
            } else {
                node
            };
            return self.may(group, "nodes", "", "", name);
        }
        self.may(group, "users", "", "", &wanted.name)
    }

    fn groups(&self, groups: &[String]) -> Outcome<()> {
        let group = self.users_group();
        if self.narrow() {
            let refuse = |name: &str, why: &str| {
                let wanted = self.attributes(group, "groups", "", "", name);
                Err(self.never(&wanted, why))
            };
            if groups.iter().any(String::is_empty) {
                return refuse("", "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|own| own == MASTERS) {
                return refuse(
                    MASTERS,
                    "impersonating the system:masters group is not allowed",
                );
            }
            if groups.len() >= MANY && self.may(group, "groups", "", "", "*").is_ok() {
                return Ok(());
            }
        }
        groups
            .iter()
            .try_for_each(|own| self.may(group, "groups", "", "", own))
    }

    fn extra(&self, extra: &BTreeMap<String, Vec<String>>) -> Outcome<()> {
        if self.narrow() {
            if let Some(why) = bad_extra(extra) {
                let wanted = self.attributes(AUTHENTICATION, "userextras", "", "", "");
                return Err(self.never(&wanted, &why));
            }
            let many = extra.len() >= MANY || extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && self.may(AUTHENTICATION, "userextras", "*", "", "*").is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                self.may(AUTHENTICATION, "userextras", key, "", value)?;
            }
        }
        Ok(())
    }
}

/// What is wrong with the extras for a narrow right.
fn bad_extra(extra: &BTreeMap<String, Vec<String>>) -> Option<String> {
    for (key, values) in extra {
        if key.is_empty() {
            return Some("impersonating the empty string key in extra is not allowed".to_owned());
        }
        let prefixed = key.split_once('/').is_some_and(|(domain, path)| {
            names::dns1123_subdomain(domain).is_ok() && !path.is_empty()
        });
        if !prefixed {
            return Some(format!(
                "impersonating an invalid key in extra is not allowed: {key:?} must be a domain-prefixed path (such as \"acme.io/foo\")"
            ));
        }
        if key.chars().any(char::is_uppercase) {
            return Some(format!(
                "impersonating a non-lowercase key in extra is not allowed: {key:?}"
            ));
        }
        if values.iter().any(String::is_empty) {
            return Some("impersonating the empty string value in extra is not allowed".to_owned());
        }
    }
    None
}
