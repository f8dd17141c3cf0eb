//! An API in process, a directory of files, and a part over both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_manifests::{Manifests, Spec};
use consort_plan::{
    Action, Change, Intent, Lines, Order, Part, PartPlan, Planned, Problem, Progress, Request,
};
use http::Request as HttpRequest;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) struct Cluster {
    pub(crate) client: Client,
    api: consort_api::Api,
    dir: tempfile::TempDir,
    /// What steps have told while they were carried out.
    notes: watch::Sender<Vec<String>>,
}

impl Cluster {
    /// With a namespace `shop`.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            consort_store::Store::open(consort_store::Options::new(dir.path().join("store")))
                .unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[]).unwrap();
        let signer =
            Signer::new(pki.service_account_key(), "https://kubernetes.default.svc").unwrap();
        let api = consort_api::Api::new(consort_api::Options::new(store, Arc::new(signer)))
            .await
            .unwrap();
        let client = api.client(User::admin());
        std::fs::create_dir_all(dir.path().join("score/deploy")).unwrap();
        let cluster = Cluster {
            client,
            api,
            dir,
            notes: watch::Sender::default(),
        };
        for name in ["default", "shop"] {
            let _ = cluster
                .send(
                    "POST",
                    "/api/v1/namespaces",
                    &json!({"metadata": {"name": name}}),
                    "application/json",
                )
                .await;
            // Pods want their account.
            let _ = cluster
                .send(
                    "POST",
                    &format!("/api/v1/namespaces/{name}/serviceaccounts"),
                    &json!({"metadata": {"name": "default"}}),
                    "application/json",
                )
                .await;
        }
        cluster
    }

    /// Waits until something is there that fits, and gives it.
    pub(crate) async fn until(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                if let Some(live) = self.get(path).await.filter(&fits) {
                    break live;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, asking)
            .await
            .unwrap_or_else(|_| panic!("{path} did not come to be as expected"))
    }

    /// Waits until a step has told something with this text in it.
    pub(crate) async fn noted(&self, text: &str) {
        let mut notes = self.notes.subscribe();
        let heard = notes.wait_for(|notes| notes.iter().any(|note| note.contains(text)));
        tokio::time::timeout(DEADLINE, heard)
            .await
            .unwrap_or_else(|_| panic!("nobody told of {text:?}"))
            .unwrap();
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.api.close().await;
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        content_type: &str,
    ) -> kube::Result<Value> {
        let request = HttpRequest::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(if body.is_null() {
                Vec::new()
            } else {
                body.to_string().into_bytes()
            })
            .unwrap();
        self.client.request(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        self.send("GET", path, &Value::Null, "application/json")
            .await
            .ok()
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.send("DELETE", path, &Value::Null, "application/json")
            .await
            .unwrap();
    }

    /// Changes an object as somebody else.
    pub(crate) async fn patch(&self, path: &str, manager: &str, patch: &Value) {
        self.send(
            "PATCH",
            &format!("{path}?fieldManager={manager}"),
            patch,
            "application/merge-patch+json",
        )
        .await
        .unwrap();
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join("score/deploy").join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join("score/deploy").join(name)).unwrap();
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn part(&self, spec: Value) -> Manifests {
        let mut whole = json!({"path": "deploy", "namespace": "shop"});
        for (name, value) in spec.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let spec: Spec = serde_json::from_value(whole).unwrap();
        let lines = Lines::new("consort.yaml", 7, BTreeMap::new());
        Manifests::open(
            "app",
            "shop",
            spec,
            lines,
            &self.dir.path().join("score"),
            Some(self.client.clone()),
        )
        .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    pub(crate) fn scratch(&self) -> std::path::PathBuf {
        self.dir.path().to_owned()
    }
}

pub(crate) fn known(inputs: &[(&str, Value)]) -> BTreeMap<String, Planned> {
    inputs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Planned::known(value.clone())))
        .collect()
}

pub(crate) async fn try_plan(
    part: &Manifests,
    intent: Intent,
    inputs: &BTreeMap<String, Planned>,
) -> Result<PartPlan, Vec<Problem>> {
    let cancel = CancellationToken::new();
    part.plan(Request {
        intent,
        inputs,
        documented: true,
        healing: false,
        cancel: &cancel,
    })
    .await
}

pub(crate) async fn plan(part: &Manifests) -> PartPlan {
    planned(part, &BTreeMap::new()).await
}

pub(crate) async fn planned(part: &Manifests, inputs: &BTreeMap<String, Planned>) -> PartPlan {
    let plan = try_plan(part, Intent::Apply, inputs).await;
    plan.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// `+ v1/ConfigMap/shop/a` for every change that does something.
pub(crate) fn told(plan: &PartPlan) -> Vec<String> {
    plan.changes
        .iter()
        .filter(|change| change.action != Action::NoOp)
        .map(|change| {
            let mark = match change.action {
                Action::Create => "+",
                Action::Update => "~",
                Action::Delete => "-",
                Action::DeleteThenCreate => "-/+",
                _ => "?",
            };
            format!("{mark} {}", change.address.local())
        })
        .collect()
}

pub(crate) fn change<'a>(plan: &'a PartPlan, local: &str) -> &'a Change {
    plan.changes
        .iter()
        .find(|change| change.address.local() == local)
        .unwrap_or_else(|| panic!("no {local}"))
}

/// Hears what a carrier tells.
struct Heard<'a> {
    inputs: &'a BTreeMap<String, Planned>,
    notes: &'a watch::Sender<Vec<String>>,
}

impl Progress for Heard<'_> {
    fn began(&self, _: u32) {}
    fn note(&self, _: u32, text: &str) {
        self.notes.send_modify(|notes| notes.push(text.to_owned()));
    }
    fn done(&self, _: u32) {}
    fn failed(&self, _: u32, _: Problem) {}
    fn input(&self, name: &str) -> Result<Planned, Box<Problem>> {
        Ok(self.inputs[name].clone())
    }
}

/// What came of carrying a plan out.
pub(crate) struct Carried {
    /// By step in the order of the walk: its label and its problems.
    pub(crate) steps: Vec<(String, Vec<Problem>)>,
    pub(crate) outputs: BTreeMap<String, Value>,
    pub(crate) notes: Vec<String>,
}

const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// Carries a plan out, one step after the other. Those that depend on a failed one are left out.
pub(crate) async fn carry(
    cluster: &Cluster,
    part: &Manifests,
    plan: &PartPlan,
    intent: Intent,
    inputs: &BTreeMap<String, Planned>,
) -> Carried {
    let cancel = CancellationToken::new();
    let done = vec![false; plan.changes.len()];
    let at_planning = BTreeMap::new();
    let carrier = part
        .carrier(Order {
            intent,
            payload: &plan.payload,
            changes: &plan.changes,
            inputs: &at_planning,
            done: &done,
            scratch: cluster.scratch(),
            cancel: &cancel,
        })
        .await
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    cluster.notes.send_replace(Vec::new());
    let heard = Heard {
        inputs,
        notes: &cluster.notes,
    };
    let order = carrier.steps().check().unwrap();
    let mut failed = vec![false; order.len()];
    let mut steps = Vec::new();
    for id in order {
        let blocked = carrier
            .steps()
            .dependencies(id)
            .iter()
            .any(|(dependency, _)| failed[dependency.index()]);
        if blocked {
            failed[id.index()] = true;
            continue;
        }
        let result = tokio::time::timeout(DEADLINE, carrier.step(id, &heard)).await;
        let problems = match result {
            Ok(result) => result.err().unwrap_or_default(),
            Err(_) => vec![Problem {
                summary: format!("timed out: {:?}", heard.notes.borrow()),
                ..Problem::default()
            }],
        };
        failed[id.index()] = !problems.is_empty();
        steps.push((carrier.steps()[id].label.clone(), problems));
    }
    let outputs = plan
        .outputs
        .keys()
        .filter_map(|name| Some((name.clone(), carrier.output(name).ok()?.value)))
        .collect();
    carrier.finish().await.unwrap();
    let notes = heard.notes.borrow().clone();
    Carried {
        steps,
        outputs,
        notes,
    }
}

/// Plans and carries out; all must go well.
pub(crate) async fn apply(cluster: &Cluster, part: &Manifests) -> Carried {
    let plan = plan(part).await;
    let carried = carry(cluster, part, &plan, Intent::Apply, &BTreeMap::new()).await;
    for (label, problems) in &carried.steps {
        assert!(problems.is_empty(), "{label}: {problems:#?}");
    }
    carried
}
