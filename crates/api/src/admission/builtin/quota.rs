//! Quotas: what a write uses is charged in the commit that stores it.
//!
//! Writes that a quota of their namespace measures take turns, from reading the quotas to the commit of
//! object and charge together: one commit, one sync, and neither without the other. A quota that was
//! changed meanwhile by anyone else (its controller, a user) makes the commit fail, and the charge is made
//! anew from what it says now. So no number of concurrent writes takes more than there is.
//!
//! What is used falls when the quota's controller counts anew. It reads the quota before it counts, and
//! its write fails if anything was charged since.

use super::{Operation, Request, all, forbidden, is};
use crate::error::{Outcome, internal};
use crate::handlers::read::{self, store_failure};
use crate::handlers::write::{self, Committed};
use crate::values::{ensure, name, set};
use consort_object::quota::{Amounts, add, amounts, grown, in_scope, measures, unspecified, usage};
use consort_store::{Error, Expect, Key, Write};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a charge is made anew because a quota was changed meanwhile.
const ATTEMPTS: usize = 30;

/// A new quota's controller may be a moment from having counted.
const COUNT_ATTEMPTS: usize = 20;
const COUNT_PAUSE: Duration = Duration::from_millis(100);

/// Whose turn it is, by namespace.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The turn of a namespace: held over a commit on purpose, as a queue of writers.
    fn of(&self, namespace: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock();
        if let Some(turn) = turns.get(namespace) {
            return turn.clone();
        }
        // Those nobody waits for are forgotten when another one is needed.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(namespace.to_owned()).or_default().clone()
    }
}

/// What a write comes to where quotas are concerned.
enum Charge {
    /// It fits; these quotas change with it.
    Fits(Vec<Write>),
    /// A quota of this name has not been counted yet, for these resources.
    Unknown(String, String),
}

/// Does a quota have to do with a write like this? Quotas count what is made; claims, services and the
/// resources of pods can grow later.
fn concerns(request: &Request<'_>) -> bool {
    let kind = request.kind;
    if !kind.namespaced || kind.plural == "events" {
        return false;
    }
    match (request.operation, request.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => is(kind, "services") || is(kind, "persistentvolumeclaims"),
        (Operation::Update, "resize") => is(kind, "pods"),
        _ => false,
    }
}

/// Commit a write of `object`, charging it to the quotas of its namespace.
///
/// # Errors
/// If it does not fit into one of them.
pub(crate) async fn commit(
    request: &Request<'_>,
    write: Write,
    object: &Value,
    old: Option<&Value>,
) -> Outcome<Committed> {
    let inner = request.inner;
    let space = request.namespace.unwrap_or_default();
    let quotas = |namespace| {
        inner
            .store
            .count(&Key::prefix("", "resourcequotas", namespace))
    };
    if !concerns(request) || quotas(None) == 0 || quotas(Some(space)) == 0 {
        return write::commit(inner, write).await;
    }
    let turn = inner.admission.turns.of(space);
    let key = write.key().clone();
    let mut uncounted = 0;
    for _ in 0..ATTEMPTS {
        let held = turn.lock().await;
        let mut writes = match charge(request, object, old)? {
            Charge::Fits(writes) => writes,
            Charge::Unknown(quota, resources) => {
                drop(held);
                uncounted += 1;
                if uncounted == COUNT_ATTEMPTS {
                    return Err(forbidden(
                        request,
                        format!("status unknown for quota: {quota}, resources: {resources}"),
                    ));
                }
                tokio::time::sleep(COUNT_PAUSE).await;
                continue;
            }
        };
        writes.insert(0, write.clone());
        let done = inner.commit(writes).await;
        drop(held);
        match done {
            Ok(done) => {
                let object = done.objects.into_iter().next().flatten();
                return object
                    .map(Committed::Done)
                    .ok_or_else(|| internal("the store kept no object"));
            }
            Err(Error::Conflict { key: other, .. }) if other == key => {
                return Ok(Committed::Conflict);
            }
            Err(Error::Conflict { .. }) => tokio::task::yield_now().await,
            Err(other) => return Err(store_failure(other)),
        }
    }
    Err(write::modified(request.kind, request.name))
}

/// Hold a write that is not stored against the quotas.
///
/// # Errors
/// If it does not fit into one of them.
pub(crate) fn try_out(request: &Request<'_>, object: &Value, old: Option<&Value>) -> Outcome<()> {
    if concerns(request) {
        charge(request, object, old)?;
    }
    Ok(())
}

fn charge(request: &Request<'_>, object: &Value, old: Option<&Value>) -> Outcome<Charge> {
    let mut writes = Vec::new();
    for stored in all(request.inner, "", "resourcequotas", request.namespace)? {
        let mut quota = stored.value().map_err(internal)?;
        let used = match held_against(request, &quota, object, old)? {
            Share::None => continue,
            Share::Unknown(resources) => {
                return Ok(Charge::Unknown(name(&quota).to_owned(), resources));
            }
            Share::Uses(used) => used,
        };
        let used: serde_json::Map<String, Value> = used
            .into_iter()
            .map(|(name, own)| (name, own.to_string().into()))
            .collect();
        set(ensure(&mut quota, "status"), "used", used);
        let Some(kind) = request.registry.resource("", "v1", "resourcequotas") else {
            return Err(internal("resource quotas are not served"));
        };
        writes.push(Write::Put {
            key: read::key(kind, request.namespace, name(&quota))?,
            draft: write::draft(kind, &quota)?,
            expect: Expect::At(stored.revision),
        });
    }
    Ok(Charge::Fits(writes))
}

/// What a write means to one quota.
enum Share {
    /// Nothing.
    None,
    /// It cannot be said before these resources are counted.
    Unknown(String),
    /// What will be used with it.
    Uses(Amounts),
}

fn held_against(
    request: &Request<'_>,
    quota: &Value,
    object: &Value,
    old: Option<&Value>,
) -> Outcome<Share> {
    let (group, plural) = (request.kind.group.as_str(), request.kind.plural.as_str());
    let own = |path: &str| {
        let mut all = amounts(&quota[path]["hard"]);
        all.retain(|name, _| measures(name, group, plural));
        all
    };
    let wanted = own("spec");
    let takes_in = |object| in_scope(&quota["spec"], group, plural, object);
    if wanted.is_empty() && own("status").is_empty() || !takes_in(object) {
        return Ok(Share::None);
    }
    let hard = own("status");
    let refuse = |why: String| Err(forbidden(request, why));
    let names: Vec<&str> = hard
        .keys()
        .chain(wanted.keys())
        .map(String::as_str)
        .collect();
    if plural == "pods"
        && group.is_empty()
        && let Some(missing) = unspecified(&names, object)
    {
        return refuse(format!("failed quota: {}: {missing}", name(quota)));
    }
    let used = amounts(&quota["status"]["used"]);
    let mut unknown: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !hard.contains_key(*name) && wanted.contains_key(*name))
        .chain(
            hard.keys()
                .map(String::as_str)
                .filter(|name| !used.contains_key(*name)),
        )
        .collect();
    let now = Timestamp::now();
    let mut delta = usage(group, plural, object, now);
    let negative: Vec<&str> = delta
        .iter()
        .filter(|(_, own)| own.signum() < 0)
        .map(|(name, _)| name.as_str())
        .collect();
    if !negative.is_empty() {
        return refuse(format!(
            "quota usage is negative for resource(s): {}",
            negative.join(",")
        ));
    }
    if let Some(old) = old.filter(|old| takes_in(old)) {
        delta = grown(&delta, &usage(group, plural, old, now));
    }
    delta.retain(|name, own| {
        !own.is_zero() && (hard.contains_key(name) || wanted.contains_key(name))
    });
    if delta.is_empty() {
        return Ok(Share::None);
    }
    if !unknown.is_empty() {
        unknown.sort_unstable();
        unknown.dedup();
        return Ok(Share::Unknown(unknown.join(",")));
    }
    let mut total = used.clone();
    add(&mut total, &delta);
    let exceeded = |name: &&String| match (total.get(*name), hard.get(*name)) {
        (Some(total), Some(hard)) => total > hard,
        _ => false,
    };
    let exceeded: Vec<&String> = delta.keys().filter(exceeded).collect();
    if exceeded.is_empty() {
        return Ok(Share::Uses(total));
    }
    let shown = |amounts: &Amounts| {
        let parts = exceeded.iter().filter_map(|name| {
            let own = amounts.get(*name)?;
            Some(format!("{name}={own}"))
        });
        parts.collect::<Vec<_>>().join(",")
    };
    refuse(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        name(quota),
        shown(&delta),
        shown(&used),
        shown(&hard)
    ))
}
