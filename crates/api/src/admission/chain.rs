//! The chain: mutating policies and webhooks in order, again where they ask for it; then the validating
//! ones, none of which changes anything.

use super::hooks::Change;
use super::plan::Plan;
use super::{Request, builtin, reviewer};
use crate::api::Inner;
use crate::error::{Failure, Outcome};
use crate::identity::User;
use crate::values::{items, members};
use serde_json::{Value, json};

/// What admission has to tell besides its verdict.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// For the client.
    pub warnings: Vec<String>,
    /// For the audit log.
    annotations: Vec<(String, String)>,
    /// The object is not what it was.
    pub changed: bool,
}

/// The longest warning that is passed on, and how much of them all.
const WARNING_BYTES: usize = 256;
const WARNINGS_BYTES: usize = 4 * 1024;

impl Notes {
    /// Note an annotation for the audit log.
    pub(super) fn annotate(&mut self, key: &str, value: String) {
        self.annotations.push((key.to_owned(), value));
    }

    /// Hand what is meant for the audit log to it, however the request ends.
    fn settle(&mut self, request: &Request<'_>) {
        for (key, value) in self.annotations.drain(..) {
            if let Some(trail) = request.trail {
                trail.annotate(&key, &value);
            }
        }
    }

    /// Take what a webhook's answer carries.
    pub(super) fn add(&mut self, webhook: &str, response: &Value) {
        for warning in items(response, &["warnings"]) {
            let warning: String = warning
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(WARNING_BYTES)
                .collect();
            let used: usize = self.warnings.iter().map(String::len).sum();
            if !warning.is_empty() && used + warning.len() <= WARNINGS_BYTES {
                self.warnings.push(warning);
            }
        }
        for (key, value) in members(response, &["auditAnnotations"]) {
            if let Some(value) = value.as_str() {
                self.annotate(&format!("{webhook}/{key}"), value.to_owned());
            }
        }
    }
}

/// Is this an object that decides on admission itself? Nothing may lock its users out of it.
fn exempt(request: &Request<'_>, from_policies: bool) -> bool {
    if request.kind.group != "admissionregistration.k8s.io" {
        return false;
    }
    let webhooks = matches!(
        request.kind.plural.as_str(),
        "validatingwebhookconfigurations" | "mutatingwebhookconfigurations"
    );
    webhooks || from_policies
}

/// Is there nothing that could refuse what a user deletes?
pub(crate) fn nobody_asks(inner: &Inner, user: &User, request: &Request<'_>) -> bool {
    let plan = inner.admission.plan();
    plan.validations.is_empty()
        && plan.validating.is_empty()
        && !builtin::is_node(user)
        && !reviewer::asks(request)
}

/// Let policies and webhooks change an object.
///
/// # Errors
/// If one refuses it, or cannot be asked and must be.
pub(crate) async fn mutate(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Outcome<Notes> {
    let mut notes = Notes::default();
    let plan = request.inner.admission.plan();
    if plan.mutations.is_empty() && plan.mutating.is_empty() {
        return Ok(notes);
    }
    let rounds = rounds(&plan, request, object, old, &mut notes).await;
    notes.settle(request);
    notes.changed = rounds? > 0;
    Ok(notes)
}

/// How often the object was changed.
async fn rounds(
    plan: &Plan,
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    notes: &mut Notes,
) -> Outcome<usize> {
    let mut again = first_round(plan, request, object, old, notes).await?;
    if again.asked() {
        // One more round for those that asked for it and saw an older state. What they do to each other
        // in it is not followed up: that could go on for ever.
        again.run(plan, request, object, old, notes).await?;
    }
    Ok(again.changes)
}

/// Who wants another look, with the count of changes when they last looked.
#[derive(Default)]
struct Again {
    changes: usize,
    policies: Vec<(usize, usize)>,
    hooks: Vec<(usize, usize)>,
}

impl Again {
    fn asked(&self) -> bool {
        let behind = |list: &[(usize, usize)]| list.iter().any(|(_, seen)| *seen < self.changes);
        behind(&self.policies) || behind(&self.hooks)
    }

    async fn run(
        &mut self,
        plan: &Plan,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        notes: &mut Notes,
    ) -> Outcome<()> {
        for (index, seen) in &self.policies {
            if *seen < self.changes {
                let (policy, binding) = &plan.mutations[*index];
                self.changes += usize::from(policy.mutate(request, binding, object, old).await?);
            }
        }
        for (index, seen) in &self.hooks {
            if *seen < self.changes {
                let change = plan.mutating[*index]
                    .mutate(request, object, old, notes)
                    .await?;
                self.changes += usize::from(matches!(change, Change::Made));
            }
        }
        Ok(())
    }
}

async fn first_round(
    plan: &Plan,
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    notes: &mut Notes,
) -> Outcome<Again> {
    let mut again = Again::default();
    if !exempt(request, true) {
        for (index, (policy, binding)) in plan.mutations.iter().enumerate() {
            again.changes += usize::from(policy.mutate(request, binding, object, old).await?);
            if policy.reinvoked {
                again.policies.push((index, again.changes));
            }
        }
    }
    if !exempt(request, false) {
        for (index, hook) in plan.mutating.iter().enumerate() {
            let change = hook.mutate(request, object, old, notes).await?;
            again.changes += usize::from(matches!(change, Change::Made));
            if hook.reinvoked {
                again.hooks.push((index, again.changes));
            }
        }
    }
    Ok(again)
}

/// Hold a write against what is built in, then ask the validating policies and webhooks.
///
/// # Errors
/// If one refuses, or cannot be asked and must be.
pub(crate) async fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Outcome<Notes> {
    let mut notes = Notes::default();
    let plan = request.inner.admission.plan();
    let result = ask(&plan, request, object, old, &mut notes).await;
    notes.settle(request);
    result.map(|()| notes)
}

async fn ask(
    plan: &Plan,
    request: &Request<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
    notes: &mut Notes,
) -> Outcome<()> {
    builtin::validate(request, object, old, notes)?;
    if !exempt(request, true) {
        for (policy, binding) in &plan.validations {
            policy
                .validate(request, binding, object, old, notes)
                .await?;
        }
    }
    if exempt(request, false) {
        return Ok(());
    }
    // They change nothing, so they can be asked at once; the first refusal in their order counts.
    let asked = plan.validating.iter().map(|hook| async move {
        let answer = hook.validate(request, object, old).await?;
        Ok::<_, Failure>((hook, answer))
    });
    for result in futures::future::join_all(asked).await {
        let (hook, answer) = result?;
        if let Some(answer) = answer {
            notes.add(&hook.name, &answer);
        }
    }
    let warnings = reviewer::ask(request, object, old).await?;
    if !warnings.is_empty() {
        notes.add("", &json!({"warnings": warnings}));
    }
    Ok(())
}
