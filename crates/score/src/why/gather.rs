//! Gets what an explanation has to know.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use http::Request;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use super::evidence::{Evidence, Log, Look, Ref, Want, event_time};
use super::host::host;
use super::subject::{Subject, Word, name_of};
use super::{Cause, Explained, explain};
use crate::records::{self, Records};

/// How often an explanation may ask for more.
const ROUNDS: usize = 40;
/// How many things are asked for at once.
const AT_ONCE: usize = 16;
/// How many objects of a list are looked at.
const LIST: usize = 500;

/// An explanation that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not tell which kinds it has.
    #[error("asking the server which kinds it has")]
    Discovery(#[source] kube::Error),
    /// The operations of scores cannot be read.
    #[error("reading what is recorded of scores")]
    Records(#[source] records::Error),
    /// What is asked about is nothing there is.
    #[error("{0}")]
    Subject(String),
}

/// Explains what a word names: an object (`pod/web`, in `namespace` if its kind lies in namespaces), a resource
/// (`infra/aws_instance.web`, of `score` if several have such a part), an operation, a blueprint.
///
/// # Errors
/// That the word names nothing, or that the server cannot be asked. What single things cannot be read is told in the
/// explanation.
pub async fn why(
    records: &Records,
    word: &str,
    namespace: &str,
    score: Option<&str>,
) -> Result<Cause, Error> {
    let client = records.client();
    let kinds = Kinds::discover(client).await.map_err(Error::Discovery)?;
    let mut evidence = Evidence {
        now: Timestamp::now(),
        ..Evidence::default()
    };
    let operations = operations(records).await.map_err(Error::Records)?;
    evidence.operations = Some(operations);
    let operations = evidence.operations.as_deref().unwrap_or_default();
    let found = of_host(records, word, score).await;
    let word = Word::read(found.as_deref().unwrap_or(word));
    let mut parts = BTreeSet::new();
    if let Word::Slashed { first, .. } = &word {
        // Which parts there are is told by the records; those of the last operations are enough to know one.
        for operation in operations
            .iter()
            .filter(|operation| score.is_none_or(|score| operation.score == score))
            .take(AT_ONCE)
        {
            let entries = records
                .entries(&operation.score, operation.revision)
                .await
                .unwrap_or_default();
            parts.extend(entries.iter().map(|entry| entry.address.part().to_owned()));
            let found = parts.contains(first);
            evidence.entries.insert(name_of(operation), entries);
            if found {
                break;
            }
        }
    }
    let parts: Vec<String> = parts.into_iter().collect();
    let resolved = word.resolve(&parts, operations, score, |kind, name| {
        kinds.named(kind, name, namespace)
    });
    let subject = match (resolved, &word) {
        (Ok(subject), _) => subject,
        (Err(message), Word::Bare(name)) => {
            let of_host = host(records, &kinds, name, score, &evidence).await;
            return of_host.ok_or(Error::Subject(message));
        }
        (Err(message), Word::Slashed { .. }) => return Err(Error::Subject(message)),
    };
    Ok(follow(records, &kinds, &subject, evidence).await)
}

/// The address of what a task set on a host, by the host and what people call the thing: `web1:/etc/motd`, `web1:nginx`.
async fn of_host(records: &Records, word: &str, score: Option<&str>) -> Option<String> {
    let (host, thing) = word.split_once(':')?;
    if host.is_empty() || thing.is_empty() || host.contains('/') {
        return None;
    }
    let hosts = records.hosts(score, None).await.ok()?;
    let of_host: Vec<_> = hosts.iter().filter(|one| one.record.host == host).collect();
    let find = |fits: &dyn Fn(&str) -> bool| {
        of_host.iter().find_map(|one| {
            let thing = one.record.things.iter().rev().find(|known| {
                known.identity.values().any(|value| match value {
                    Value::String(text) => fits(text),
                    Value::Array(all) => all.iter().filter_map(Value::as_str).any(fits),
                    _ => false,
                })
            })?;
            Some(format!(
                "{}/{}",
                one.part,
                thing.address.trim_end_matches(" (before)")
            ))
        })
    };
    // A file may be in a directory that a task made, and have no task of its own.
    find(&|text| text == thing).or_else(|| {
        std::path::Path::new(thing)
            .ancestors()
            .skip(1)
            .filter(|path| path.parent().is_some())
            .find_map(|path| find(&|text| std::path::Path::new(text) == path))
    })
}

/// All operations, newest first; none where the server knows no scores, or tells whoever asks of none.
async fn operations(records: &Records) -> Result<Vec<consort_plan::Operation>, records::Error> {
    let mut operations = match records.all_operations().await {
        Ok(operations) => operations,
        Err(error) if error.is_forbidden() => Vec::new(),
        Err(error) => return Err(error),
    };
    operations
        .sort_by(|a, b| (b.started, b.revision, &b.score).cmp(&(a.started, a.revision, &a.score)));
    Ok(operations)
}

/// Explains and gets what is asked for until nothing is.
pub(super) async fn follow(
    records: &Records,
    kinds: &Kinds,
    subject: &Subject,
    mut evidence: Evidence,
) -> Cause {
    let mut rounds = 0;
    loop {
        let Explained { cause, wants } = explain(subject, &evidence);
        rounds += 1;
        if wants.is_empty() || rounds > ROUNDS {
            return cause;
        }
        let gathered: Vec<(Want, Found)> =
            futures::stream::iter(wants.into_iter().map(|want| async move {
                let found = find(records, kinds, &want).await;
                (want, found)
            }))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (want, found) in gathered {
            take(&mut evidence, want, found);
        }
    }
}

enum Found {
    Object(Look<Value>),
    List(Vec<Value>),
    Log(Option<String>),
    Operations(Vec<consort_plan::Operation>),
    Entries(Vec<consort_plan::Entry>),
    Blueprint(Option<Arc<consort_plan::Blueprint>>),
}

fn take(evidence: &mut Evidence, want: Want, found: Found) {
    match (want, found) {
        (Want::Object(reference), Found::Object(look)) => {
            evidence.objects.insert(reference, look);
        }
        (Want::Events(reference), Found::List(mut events)) => {
            events.sort_by_key(event_time);
            evidence.events.insert(reference, events);
        }
        (want @ Want::List { .. }, Found::List(mut list)) => {
            // Items of lists do not say what they are.
            if let Want::List { group, kind, .. } = &want {
                for object in &mut list {
                    if let Some(object) = object.as_object_mut() {
                        object
                            .entry("kind")
                            .or_insert_with(|| Value::String(kind.clone()));
                        object.entry("apiVersion").or_insert_with(|| {
                            Value::String(if group.is_empty() {
                                "v1".to_owned()
                            } else {
                                format!("{group}/v1")
                            })
                        });
                    }
                }
            }
            evidence.lists.insert(want, list);
        }
        (Want::Log(log), Found::Log(lines)) => {
            evidence.logs.insert(log, lines);
        }
        (Want::Operations, Found::Operations(operations)) => {
            evidence.operations = Some(operations);
        }
        (Want::Entries(name), Found::Entries(entries)) => {
            evidence.entries.insert(name, entries);
        }
        (Want::Blueprint(id), Found::Blueprint(blueprint)) => {
            evidence.blueprints.insert(id, blueprint);
        }
        // What is found answers what was wanted: see `find`.
        _ => {}
    }
}

async fn find(records: &Records, kinds: &Kinds, want: &Want) -> Found {
    let client = records.client();
    match want {
        Want::Object(reference) => Found::Object(object(client, kinds, reference).await),
        Want::Events(reference) => Found::List(events(client, reference).await),
        Want::List {
            group,
            kind,
            namespace,
            selector,
        } => {
            let Some(kind) = kinds.of(group, kind) else {
                return Found::List(Vec::new());
            };
            let path = format!(
                "{}?limit={LIST}&labelSelector={}",
                kind.collection(namespace),
                encoded(selector)
            );
            Found::List(list(client, &path).await)
        }
        Want::Log(log) => Found::Log(lines(client, log).await),
        Want::Operations => Found::Operations(operations(records).await.unwrap_or_default()),
        Want::Entries(name) => {
            let entries = match name.rsplit_once('-') {
                Some((score, revision)) => match revision.parse() {
                    Ok(revision) => records.entries(score, revision).await.unwrap_or_default(),
                    Err(_) => Vec::new(),
                },
                None => Vec::new(),
            };
            Found::Entries(entries)
        }
        Want::Blueprint(id) => {
            Found::Blueprint(records.blueprint(id).await.ok().flatten().map(Arc::new))
        }
    }
}

async fn object(client: &Client, kinds: &Kinds, reference: &Ref) -> Look<Value> {
    let Some(kind) = kinds.of(&reference.group, &reference.kind) else {
        return Look::Unreadable(format!(
            "the server knows no kind {} of the group {:?}",
            reference.kind, reference.group
        ));
    };
    if kind.namespaced && reference.namespace.is_empty() {
        return Look::Unreadable(format!("{} lie in namespaces", kind.plural));
    }
    let path = format!(
        "{}/{}",
        kind.collection(&reference.namespace),
        encoded(&reference.name)
    );
    match get(client, &path).await {
        Ok(mut object) => {
            if let Some(object) = object.as_object_mut() {
                object
                    .entry("kind")
                    .or_insert_with(|| Value::String(reference.kind.clone()));
            }
            Look::Found(object)
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Look::Missing,
        Err(error) => Look::Unreadable(error.to_string()),
    }
}

async fn events(client: &Client, reference: &Ref) -> Vec<Value> {
    // Events about what has no namespace lie in one of their own.
    let place = if reference.namespace.is_empty() {
        "/api/v1/events".to_owned()
    } else {
        format!(
            "/api/v1/namespaces/{}/events",
            encoded(&reference.namespace)
        )
    };
    let fields = format!(
        "involvedObject.kind={},involvedObject.name={}",
        reference.kind, reference.name
    );
    let path = format!("{place}?limit={LIST}&fieldSelector={}", encoded(&fields));
    list(client, &path).await
}

async fn lines(client: &Client, log: &Log) -> Option<String> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?container={}&previous={}&tailLines=12&limitBytes=16384",
        encoded(&log.namespace),
        encoded(&log.pod),
        encoded(&log.container),
        log.previous
    );
    let request = Request::get(path).body(Vec::new()).ok()?;
    let asked = client.request_text(request);
    tokio::time::timeout(std::time::Duration::from_secs(5), asked)
        .await
        .ok()?
        .ok()
}

async fn list(client: &Client, path: &str) -> Vec<Value> {
    match get(client, path).await {
        Ok(mut list) => match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        Err(_) => Vec::new(),
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    let request = Request::get(path)
        .header(http::header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|error| {
            kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error))
        })?;
    client.request(request).await
}

/// A text as it stands in a path or query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A kind as the server serves it.
#[allow(clippy::struct_field_names)]
struct Kind {
    group: String,
    version: String,
    kind: String,
    plural: String,
    namespaced: bool,
    names: Vec<String>,
}

impl Kind {
    fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/namespaces/{}/{}", encoded(namespace), self.plural)
        } else {
            format!("{root}/{}", self.plural)
        }
    }
}

/// The kinds of a server, each in the version it prefers.
pub(super) struct Kinds(Vec<Kind>);

impl Kinds {
    async fn discover(client: &Client) -> Result<Self, kube::Error> {
        const FORM: &str =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        let mut all: Vec<Kind> = Vec::new();
        for path in ["/api", "/apis"] {
            let request = Request::get(path)
                .header(http::header::ACCEPT, FORM)
                .body(Vec::new())
                .map_err(|error| {
                    kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error))
                })?;
            let groups: Value = client.request(request).await?;
            let array = |value: &Value, name: &str| -> Vec<Value> {
                value
                    .get(name)
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default()
            };
            for group in array(&groups, "items") {
                let name = super::evidence::text(&group, "/metadata/name").to_owned();
                for version in array(&group, "versions") {
                    for resource in array(&version, "resources") {
                        let text = |at: &str| super::evidence::text(&resource, at).to_owned();
                        let kind = text("/responseKind/kind");
                        let known = all
                            .iter()
                            .any(|known| known.group == name && known.kind == kind);
                        if kind.is_empty() || known {
                            continue;
                        }
                        let mut names: Vec<String> = array(&resource, "shortNames")
                            .iter()
                            .filter_map(|name| name.as_str().map(str::to_owned))
                            .collect();
                        names.push(text("/resource"));
                        names.push(text("/singularResource"));
                        names.push(kind.to_lowercase());
                        all.push(Kind {
                            group: name.clone(),
                            version: super::evidence::text(&version, "/version").to_owned(),
                            plural: text("/resource"),
                            namespaced: text("/scope") == "Namespaced",
                            kind,
                            names,
                        });
                    }
                }
            }
        }
        Ok(Kinds(all))
    }

    fn of(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.0
            .iter()
            .find(|known| known.group == group && known.kind == kind)
    }

    /// An object by what people call its kind: `po`, `pods`, `Deployment`, `deployments.apps`.
    fn named(&self, word: &str, name: &str, namespace: &str) -> Option<Ref> {
        let word = word.to_lowercase();
        let (own, group) = word
            .split_once('.')
            .map_or((word.as_str(), None), |(own, group)| (own, Some(group)));
        let kind = self.0.iter().find(|kind| {
            group.is_none_or(|group| group == kind.group)
                && kind.names.iter().any(|known| known == own)
        })?;
        let namespace = if kind.namespaced { namespace } else { "" };
        Some(Ref::new(&kind.group, &kind.kind, namespace, name))
    }
}
