//! Why something has drifted: who deleted or changed it, as far as the server or the fields' owners tell.

use std::time::Duration;

use consort_plan::{Action, Blueprint, Change, Owner};
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use crate::deeds::{self, Deed, Done, object};

/// So many resources are named in a cause; the rest is counted.
const NAMED: usize = 5;
/// So many fields of one.
const FIELDS: usize = 3;
/// A deed longer ago has nothing to do with what is seen now.
const RECENT: SignedDuration = SignedDuration::from_mins(30);
/// A deed is recorded just after it is done: it is waited for a little.
const PATIENCE: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// Why a plan that heals is needed, in words: `app/apps/v1/Deployment/shop/web deleted by ann with kubectl`.
pub(super) async fn of(client: &Client, blueprint: &Blueprint) -> String {
    let changed: Vec<&Change> = blueprint
        .changes
        .iter()
        .filter(|change| change.action.changes())
        .collect();
    let mut causes = Vec::with_capacity(changed.len().min(NAMED));
    for change in changed.iter().take(NAMED) {
        causes.push(cause(client, change).await);
    }
    if changed.len() > NAMED {
        causes.push(format!("and {} more", changed.len() - NAMED));
    }
    causes.join("; ")
}

async fn cause(client: &Client, change: &Change) -> String {
    let address = &change.address;
    let gone = change.action == Action::Create;
    if let Some((kind, namespace, name)) = object(change)
        && let Some(deed) = deed(client, gone, kind, namespace, name).await
    {
        let fields = fields(change);
        return format!("{address} {}{fields}", deed.text());
    }
    if gone {
        return format!("{address} was gone");
    }
    let owner = change.drift.iter().find_map(|drift| match &drift.owner {
        Owner::Person(name) | Owner::Controller(name) | Owner::Autoscaler(name) => Some(name),
        Owner::Score | Owner::Default | Owner::Outside => None,
    });
    let fields = fields(change);
    match owner {
        Some(owner) => format!("{address} changed by {owner}{fields}"),
        None => format!("{address} changed{fields}"),
    }
}

/// The fields that were changed: `: spec.replicas, spec.paused`.
fn fields(change: &Change) -> String {
    let named: Vec<String> = change
        .drift
        .iter()
        .filter(|drift| drift.corrected && !drift.at.is_empty())
        .map(|drift| drift.at.trim_start_matches('/').replace('/', "."))
        .collect();
    if named.is_empty() {
        return String::new();
    }
    let more = match named.len().saturating_sub(FIELDS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(": {}{more}", named[..named.len().min(FIELDS)].join(", "))
}

async fn deed(
    client: &Client,
    gone: bool,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Option<Deed> {
    let wanted = if gone { Done::Deleted } else { Done::Changed };
    let mut waits = PATIENCE.iter();
    loop {
        let found = deeds::of(client, kind, namespace, name).await.ok()?;
        let since = Timestamp::now().checked_sub(RECENT).ok()?;
        let found = found
            .into_iter()
            .find(|deed| deed.done == wanted && deed.time >= since);
        if found.is_some() || !gone {
            return found;
        }
        tokio::time::sleep(*waits.next()?).await;
    }
}
