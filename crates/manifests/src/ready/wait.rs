//! Waiting by watching: until an object works, or is gone.

use std::time::Duration;

use consort_plan::Problem;
use futures::stream::{self, BoxStream, StreamExt as _};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::pods::{Troubles, trouble};
use super::{Readiness, judge};
use crate::identity::{Key, text};
use crate::kinds::{Kind, items};
use crate::server::{Failure, Server};

/// How long an object may stay unattended before it counts as ready: who looks after load balancers and autoscalers
/// takes a while to say so.
const ATTENDED: Duration = Duration::from_secs(5);
/// The same for custom objects: their operators write at once, if there are any.
const CUSTOM_ATTENDED: Duration = Duration::from_millis(500);

fn api(server: &Server, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural);
    let client = server.client.clone();
    if namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, namespace, &resource)
    }
}

enum Heard {
    /// The object, none if it is not there.
    Object(Option<Value>),
    Pod(PodHeard),
    /// The server does not answer.
    Lost(String),
    /// It has been unattended for long enough.
    Unattended,
}

enum PodHeard {
    Again,
    Is(Value),
    Gone(Value),
}

fn as_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}

fn watched(server: &Server, kind: &Kind, key: &Key) -> BoxStream<'static, Heard> {
    let api = api(server, kind, &key.namespace);
    watcher::watch_object(api, &key.name)
        .map(|event| match event {
            Ok(object) => Heard::Object(object.as_ref().map(as_value)),
            Err(error) => Heard::Lost(error.to_string()),
        })
        .boxed()
}

/// The pods a workload selects; nothing for what is no workload.
fn pods_of(server: &Server, key: &Key, object: &Value) -> BoxStream<'static, Heard> {
    let labels = match (key.group.as_str(), key.kind.as_str()) {
        ("apps", _) | ("batch", "Job") => &object["spec"]["selector"]["matchLabels"],
        ("", "ReplicationController") => &object["spec"]["selector"],
        _ => return stream::pending().boxed(),
    };
    let selector: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
        .collect();
    if selector.is_empty() {
        return stream::pending().boxed();
    }
    let kind = Kind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
        namespaced: true,
    };
    let config = watcher::Config::default().labels(&selector.join(","));
    watcher(api(server, &kind, &key.namespace), config)
        .default_backoff()
        .filter_map(|event| async move {
            Some(Heard::Pod(match event.ok()? {
                watcher::Event::Init => PodHeard::Again,
                watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                    PodHeard::Is(as_value(&pod))
                }
                watcher::Event::Delete(pod) => PodHeard::Gone(as_value(&pod)),
                watcher::Event::InitDone => return None,
            }))
        })
        .boxed()
}

/// Waits until an object works. `note` hears how far it is. Gives the object as it is then.
///
/// # Errors
///
/// What keeps it from ever working. There is no deadline: whoever waits ends it.
pub(crate) async fn ready(
    server: &Server,
    kind: &Kind,
    key: &Key,
    applied: &Value,
    note: &(dyn Fn(&str) + Sync),
) -> Result<Value, Problem> {
    let failed = |text: String, more: Option<String>| Problem {
        summary: format!("{key} {text}"),
        detail: more.unwrap_or_default(),
        ..Problem::default()
    };
    let least = applied["metadata"]["generation"].as_i64().unwrap_or(0);
    // Most objects work as soon as they are there.
    match judge(key, applied) {
        Readiness::Ready(_) => return Ok(applied.clone()),
        Readiness::Failed(_) | Readiness::Waiting(_) | Readiness::Unattended(_) => {}
    }
    let custom = key.group.contains('.') && !key.group.ends_with(".k8s.io");
    let patience = if custom { CUSTOM_ATTENDED } else { ATTENDED };
    let mut objects = watched(server, kind, key);
    let mut pods = pods_of(server, key, applied);
    let mut troubles = Troubles::default();
    let mut told = String::new();
    let mut last: Option<Value> = None;
    let mut progress = String::new();
    let mut patient_until = Instant::now() + patience;
    let mut unattended = false;
    loop {
        let heard = tokio::select! {
            Some(heard) = objects.next() => heard,
            Some(heard) = pods.next() => heard,
            () = sleep_until(patient_until), if unattended => Heard::Unattended,
        };
        match heard {
            Heard::Object(None) => {
                return Err(failed("was deleted meanwhile".to_owned(), None));
            }
            Heard::Object(Some(object)) => {
                if object["metadata"]["generation"].as_i64().unwrap_or(0) < least {
                    continue;
                }
                let judged = waits_for_consumer(server, key, &object, judge(key, &object)).await;
                unattended = false;
                match judged {
                    Readiness::Ready(_) => return Ok(object),
                    Readiness::Failed(text) => return Err(failed(text, troubles.told())),
                    Readiness::Waiting(text) => {
                        progress = match (key.kind.as_str(), trouble(&object)) {
                            ("Pod", Some(trouble)) => format!("{text}: {trouble}"),
                            _ => text,
                        };
                    }
                    Readiness::Unattended(text) => {
                        progress = text;
                        unattended = true;
                        if last.is_none() {
                            patient_until = Instant::now() + patience;
                        }
                    }
                }
                last = Some(object);
            }
            Heard::Pod(PodHeard::Again) => troubles.clear(),
            Heard::Pod(PodHeard::Is(pod)) => troubles.see(&pod),
            Heard::Pod(PodHeard::Gone(pod)) => troubles.forget(&pod),
            Heard::Lost(error) => progress = format!("the server does not answer: {error}"),
            Heard::Unattended => {
                if !custom {
                    note(&progress);
                }
                return Ok(last.unwrap_or_else(|| applied.clone()));
            }
        }
        let now = match troubles.told() {
            Some(trouble) => format!("{progress}; {trouble}"),
            None => progress.clone(),
        };
        if now != told && !now.is_empty() {
            note(&now);
            told = now;
        }
    }
}

/// A claim whose volume is made for its first consumer is as ready as it can be before there is one.
async fn waits_for_consumer(
    server: &Server,
    key: &Key,
    object: &Value,
    judged: Readiness,
) -> Readiness {
    let Readiness::Waiting(text_now) = judged else {
        return judged;
    };
    let class = text(object, &["spec", "storageClassName"]);
    if key.kind != "PersistentVolumeClaim" || !key.group.is_empty() || class.is_empty() {
        return Readiness::Waiting(text_now);
    }
    let path = format!(
        "/apis/storage.k8s.io/v1/storageclasses/{}",
        crate::server::escaped(class)
    );
    match server.get(&path).await {
        Ok(Some(class)) if class["volumeBindingMode"] == "WaitForFirstConsumer" => {
            Readiness::Ready("waits for its first consumer".to_owned())
        }
        Ok(None) => Readiness::Waiting(format!("{text_now}: there is no storage class {class}")),
        _ => Readiness::Waiting(text_now),
    }
}

/// Waits until an object is gone, or another has taken its name. `note` hears what keeps it.
pub(crate) async fn gone(
    server: &Server,
    kind: &Kind,
    key: &Key,
    uid: &str,
    note: &(dyn Fn(&str) + Sync),
) -> Result<(), Failure> {
    let mut objects = watched(server, kind, key);
    let mut told = String::new();
    while let Some(heard) = objects.next().await {
        let now = match heard {
            Heard::Object(None) => return Ok(()),
            Heard::Object(Some(object)) => {
                let own = text(&object, &["metadata", "uid"]);
                if !uid.is_empty() && own != uid {
                    return Ok(());
                }
                what_keeps(&object)
            }
            Heard::Lost(error) => format!("the server does not answer: {error}"),
            Heard::Pod(_) | Heard::Unattended => continue,
        };
        if now != told {
            note(&now);
            told = now;
        }
    }
    Err(Failure::Unanswered("the watch has ended".to_owned()))
}

/// What keeps an object that is to go.
fn what_keeps(object: &Value) -> String {
    let conditions: Vec<&str> = items(&object["status"], "conditions")
        .filter(|condition| {
            condition["status"] == "True"
                && text(condition, &["type"]).starts_with("Namespace")
                && !text(condition, &["message"]).is_empty()
        })
        .map(|condition| text(condition, &["message"]))
        .collect();
    if !conditions.is_empty() {
        return conditions.join("; ");
    }
    let finalizers: Vec<&str> = items(&object["metadata"], "finalizers")
        .chain(items(&object["spec"], "finalizers"))
        .filter_map(Value::as_str)
        .collect();
    if finalizers.is_empty() {
        "still there".to_owned()
    } else {
        format!("waits for the finalizers {}", finalizers.join(", "))
    }
}
