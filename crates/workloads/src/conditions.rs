//! The rules that conditions of all kinds share.

use k8s_openapi::{
    api::{
        apps::v1::{DeploymentCondition, ReplicaSetCondition},
        batch::v1::JobCondition,
        core::v1::NamespaceCondition,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

/// A condition of any kind.
pub(crate) trait Condition {
    fn kind(&self) -> &str;
    fn status(&self) -> &str;
    fn reason(&self) -> &str;
    fn message(&self) -> &str;
    fn transition(&mut self) -> &mut Option<Time>;
}

/// Kinds differ in whether the schema calls type and status required.
fn text<'a>(value: impl Into<Option<&'a String>>) -> &'a str {
    value.into().map_or("", String::as_str)
}

macro_rules! condition {
    ($type:ty, |$own:ident| $kind:expr, $status:expr) => {
        impl Condition for $type {
            fn kind(&self) -> &str {
                let $own = self;
                text($kind)
            }
            fn status(&self) -> &str {
                let $own = self;
                text($status)
            }
            fn reason(&self) -> &str {
                text(self.reason.as_ref())
            }
            fn message(&self) -> &str {
                text(self.message.as_ref())
            }
            fn transition(&mut self) -> &mut Option<Time> {
                &mut self.last_transition_time
            }
        }
    };
}

condition!(
    DeploymentCondition,
    |own| own.type_.as_ref(),
    own.status.as_ref()
);
condition!(
    ReplicaSetCondition,
    |own| own.type_.as_ref(),
    own.status.as_ref()
);
condition!(JobCondition, |own| &own.type_, &own.status);
condition!(NamespaceCondition, |own| &own.type_, &own.status);

/// The condition of this type.
pub(crate) fn find<'a, C: Condition>(conditions: Option<&'a Vec<C>>, kind: &str) -> Option<&'a C> {
    conditions?
        .iter()
        .find(|condition| condition.kind() == kind)
}

/// Whether the condition of this type is `True`.
pub(crate) fn is_true<C: Condition>(conditions: Option<&Vec<C>>, kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status() == "True")
}

/// Puts `condition` in place of the one of its type. One of the same status, reason and message
/// stays as it is; one of the same status keeps the time of its last transition.
pub(crate) fn set<C: Condition>(conditions: &mut Option<Vec<C>>, mut condition: C) {
    let all = conditions.get_or_insert_default();
    match all
        .iter_mut()
        .find(|existing| existing.kind() == condition.kind())
    {
        None => all.push(condition),
        Some(existing) => {
            if existing.status() == condition.status() {
                if existing.reason() == condition.reason()
                    && existing.message() == condition.message()
                {
                    return;
                }
                *condition.transition() = existing.transition().clone();
            }
            *existing = condition;
        }
    }
}

/// Removes the condition of this type.
pub(crate) fn remove<C: Condition>(conditions: &mut Option<Vec<C>>, kind: &str) {
    if let Some(all) = conditions {
        all.retain(|condition| condition.kind() != kind);
        if all.is_empty() {
            *conditions = None;
        }
    }
}
