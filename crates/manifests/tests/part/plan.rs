//! What is planned.

use consort_manifests::Manifests;
use consort_plan::{Action, Intent, Owner, Planned, Problem, Reversal};
use serde_json::{Value, json};

use crate::cluster::{Cluster, apply, change, known, plan, planned, told, try_plan};

const SETTINGS: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  mode: fast\n";

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 0
  strategy: {}
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      creationTimestamp: null
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: nginx
          ports: [{containerPort: 80}]
          resources: {limits: {cpu: 0.5, memory: 1024Mi}}
          env:
            - name: POD
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
          envFrom:
            - configMapRef: {name: settings}
      volumes:
        - name: tmp
          emptyDir: {}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
    - port: 80
";

const WEB_PATH: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const SETTINGS_PATH: &str = "/api/v1/namespaces/shop/configmaps/settings";

/// A part with a deployment, its service and its settings.
async fn web() -> (Cluster, Manifests) {
    let cluster = Cluster::start().await;
    cluster.file("settings.yaml", SETTINGS);
    cluster.file("web.yaml", WEB);
    let part = cluster.part(json!({}));
    (cluster, part)
}

/// A part with settings alone.
async fn settings() -> (Cluster, Manifests) {
    let cluster = Cluster::start().await;
    cluster.file("settings.yaml", SETTINGS);
    let part = cluster.part(json!({}));
    (cluster, part)
}

/// What keeps a part from being planned.
async fn wrong(part: &Manifests) -> Vec<Problem> {
    try_plan(part, Intent::Apply, &known(&[]))
        .await
        .unwrap_err()
}

/// Problems, each with its place.
fn located(problems: &[Problem]) -> Vec<String> {
    let told = |problem: &Problem| {
        let place = problem.location.as_ref().unwrap();
        format!("{place}: {}", problem.summary)
    };
    problems.iter().map(told).collect()
}

/// Deployments need somebody to look after them to be ready: these tests have nobody.
async fn settle(cluster: &Cluster) {
    let unseen = |live: &Value| {
        live["status"]["observedGeneration"].as_i64() < live["metadata"]["generation"].as_i64()
    };
    let live = cluster.until(WEB_PATH, unseen).await;
    let generation = live["metadata"]["generation"].clone();
    // It may be gone by now.
    let _ = cluster
        .send(
            "PATCH",
            &format!("{WEB_PATH}/status"),
            &json!({"status": {"observedGeneration": generation}}),
            "application/merge-patch+json",
        )
        .await;
}

/// Applies beside somebody who looks after deployments.
async fn apply_attended(cluster: &Cluster, part: &Manifests) {
    let attending = async {
        loop {
            settle(cluster).await;
        }
    };
    tokio::select! {
        _ = apply(cluster, part) => {}
        () = attending => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_a_no_op_from_then_on() {
    let (cluster, part) = web().await;
    let first = plan(&part).await;
    assert_eq!(
        told(&first),
        [
            "+ v1/ConfigMap/shop/settings",
            "+ apps/v1/Deployment/shop/web",
            "+ v1/Service/shop/web"
        ]
    );
    let service = change(&first, "v1/Service/shop/web");
    let after = service.after.as_ref().unwrap();
    assert_eq!(after.unknown[0].at, "/spec/clusterIP");
    assert_eq!(
        service.location.as_ref().unwrap().to_string(),
        "deploy/web.yaml:29"
    );
    apply_attended(&cluster, &part).await;
    let second = plan(&part).await;
    assert_eq!(told(&second), [""; 0], "{second:#?}");
    assert!(
        second
            .changes
            .iter()
            .all(|change| change.before.is_none() && change.after.is_none())
    );
    assert!(second.seen.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_with_before_and_after_and_rolls_what_uses_it() {
    let (cluster, part) = web().await;
    apply_attended(&cluster, &part).await;
    cluster.file("settings.yaml", &SETTINGS.replace("fast", "slow"));
    let plan = plan(&part).await;
    assert_eq!(
        told(&plan),
        [
            "~ v1/ConfigMap/shop/settings",
            "~ apps/v1/Deployment/shop/web"
        ]
    );
    let settings = change(&plan, "v1/ConfigMap/shop/settings");
    assert_eq!(
        settings.before.as_ref().unwrap().value["data"]["mode"],
        "fast"
    );
    assert_eq!(
        settings.after.as_ref().unwrap().value["data"]["mode"],
        "slow"
    );
    assert!(
        settings.after.as_ref().unwrap().value["metadata"]
            .get("uid")
            .is_none()
    );
    let web = change(&plan, "apps/v1/Deployment/shop/web");
    assert_eq!(web.reasons, ["rolls: v1/ConfigMap/shop/settings changes"]);
    let (dependent, dependency) = (
        plan.changes
            .iter()
            .position(|one| one.address == web.address),
        plan.changes
            .iter()
            .position(|one| one.address == settings.address),
    );
    assert!(plan.edges.iter().any(|edge| {
        Some(edge.dependent as usize) == dependent && Some(edge.dependency as usize) == dependency
    }));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_by_owner_and_only_what_a_person_did_is_put_back() {
    let (cluster, part) = web().await;
    apply_attended(&cluster, &part).await;
    cluster
        .patch(
            &format!("{WEB_PATH}/scale"),
            "horizontal-pod-autoscaler",
            &json!({"spec": {"replicas": 3}}),
        )
        .await;
    cluster
        .patch(
            WEB_PATH,
            "kubectl-annotate",
            &json!({"metadata": {"annotations": {"mine": "yes"}}}),
        )
        .await;
    let scaled = plan(&part).await;
    assert_eq!(
        told(&scaled),
        [""; 0],
        "an autoscaler's replicas and foreign fields stay"
    );
    let web = change(&scaled, "apps/v1/Deployment/shop/web");
    assert_eq!(web.drift.len(), 1, "{:?}", web.drift);
    assert_eq!(
        web.drift[0].owner,
        Owner::Autoscaler("horizontal-pod-autoscaler".into())
    );
    assert!(!web.drift[0].corrected);
    cluster
        .patch(
            SETTINGS_PATH,
            "kubectl-edit",
            &json!({"data": {"mode": "slow", "other": "kept"}}),
        )
        .await;
    let edited = plan(&part).await;
    assert_eq!(told(&edited), ["~ v1/ConfigMap/shop/settings"]);
    let settings = change(&edited, "v1/ConfigMap/shop/settings");
    assert_eq!(settings.drift[0].at, "/data/mode");
    assert_eq!(
        settings.drift[0].owner,
        Owner::Person("kubectl-edit".into())
    );
    assert_eq!(settings.drift[0].found, Planned::known(json!("slow")));
    assert!(settings.drift[0].corrected);
    apply_attended(&cluster, &part).await;
    let live = cluster.get(SETTINGS_PATH).await.unwrap();
    assert_eq!(live["data"], json!({"mode": "fast", "other": "kept"}));
    let live = cluster.get(WEB_PATH).await.unwrap();
    assert_eq!(live["spec"]["replicas"], 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_source_goes_and_what_others_made_stays() {
    let cluster = Cluster::start().await;
    cluster.file("settings.yaml", SETTINGS);
    cluster.file("claim.yaml", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec:\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n");
    let part = cluster.part(json!({}));
    let first = plan(&part).await;
    assert_eq!(told(&first).len(), 2);
    // Claims are bound by nobody here: it is applied by hand.
    let claim = change(&first, "v1/PersistentVolumeClaim/shop/data")
        .after
        .clone()
        .unwrap()
        .value;
    cluster
        .send(
            "PATCH",
            "/api/v1/namespaces/shop/persistentvolumeclaims/data?fieldManager=consort-score",
            &claim,
            "application/apply-patch+yaml",
        )
        .await
        .unwrap();
    cluster
        .send(
            "POST",
            "/api/v1/namespaces/shop/configmaps",
            &json!({"metadata": {"name": "copied", "labels": {"consort.dev/score": "shop", "consort.dev/part": "app"}}}),
            "application/json",
        )
        .await
        .unwrap();
    cluster.remove("claim.yaml");
    let second = plan(&part).await;
    assert_eq!(
        told(&second),
        [
            "+ v1/ConfigMap/shop/settings",
            "- v1/PersistentVolumeClaim/shop/data"
        ]
    );
    let claim = change(&second, "v1/PersistentVolumeClaim/shop/data");
    assert_eq!(claim.reversal, Reversal::Irreversible);
    assert_eq!(claim.reasons[0], "not in the source any more");
    let kept = plan(&cluster.part(json!({"prune": false}))).await;
    assert_eq!(told(&kept), ["+ v1/ConfigMap/shop/settings"]);
    assert!(
        kept.warnings[0]
            .summary
            .contains("PersistentVolumeClaim shop/data")
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_in_place_is_replaced() {
    let (cluster, part) = web().await;
    apply_attended(&cluster, &part).await;
    cluster.file("web.yaml", &WEB.replace("app: web}", "app: www}"));
    let plan = plan(&part).await;
    assert_eq!(
        told(&plan),
        ["-/+ apps/v1/Deployment/shop/web", "~ v1/Service/shop/web"]
    );
    let web = change(&plan, "apps/v1/Deployment/shop/web");
    assert_eq!(web.replaces, ["/spec/selector"]);
    let after = web.after.as_ref().unwrap();
    assert_eq!(after.value["metadata"]["name"], "web");
    assert_eq!(after.value["spec"]["selector"]["matchLabels"]["app"], "www");
    apply_attended(&cluster, &part).await;
    assert_eq!(told(&crate::cluster::plan(&part).await), [""; 0]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_other_parts_are_unknown_until_they_are_told() {
    let cluster = Cluster::start().await;
    cluster.file("settings.yaml", SETTINGS);
    let spec = json!({"secrets": [{"name": "db", "data": {"password": {"from": "infra.password"}}}],
        "configMaps": [{"name": "places", "data": {"host": {"from": "infra.host"}, "port": 5432}}],
        "outputs": {"host": {"object": "ConfigMap/places", "field": "data.host"},
            "mode": {"object": "ConfigMap/settings", "field": "data.mode"}}});
    let part = cluster.part(spec);
    let mut inputs = known(&[]);
    let origin: consort_plan::Address = "infra/machine.db".parse().unwrap();
    inputs.insert(
        "infra.host".into(),
        Planned::unknown("string", Some(origin.clone())),
    );
    inputs.insert(
        "infra.password".into(),
        Planned::unknown("string", None).into_sensitive(),
    );
    let plan = planned(&part, &inputs).await;
    let places = change(&plan, "v1/ConfigMap/shop/places")
        .after
        .as_ref()
        .unwrap();
    assert_eq!(places.unknown.len(), 1);
    assert_eq!(places.unknown[0].at, "/data/host");
    assert_eq!(places.unknown[0].from, Some(origin));
    assert_eq!(places.value["data"]["port"], "5432");
    let db = change(&plan, "v1/Secret/shop/db").after.as_ref().unwrap();
    assert_eq!(db.sensitive, ["/data/password"]);
    assert_eq!(plan.takes.len(), 2);
    assert!(!plan.outputs["host"].value.is_wholly_known());
    assert_eq!(plan.outputs["mode"].value.value, "fast");
    let told = known(&[
        ("infra.host", json!("db.local")),
        ("infra.password", json!("s3cret")),
    ]);
    let carried = crate::cluster::carry(&cluster, &part, &plan, Intent::Apply, &told).await;
    assert!(
        carried
            .steps
            .iter()
            .all(|(_, problems)| problems.is_empty()),
        "{:#?}",
        carried.steps
    );
    assert_eq!(carried.outputs["host"], "db.local");
    let live = cluster
        .get("/api/v1/namespaces/shop/secrets/db")
        .await
        .unwrap();
    assert_eq!(live["data"]["password"], "czNjcmV0");
    let again = planned(&part, &told).await;
    assert_eq!(crate::cluster::told(&again), [""; 0]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_file_and_line_and_changes_nothing() {
    let cluster = Cluster::start().await;
    cluster.file(
        "web.yaml",
        &WEB.replace("replicas: 0", "replicas: many")
            .replace("  ports:\n    - port: 80", "  ports:\n    - prot: 80"),
    );
    cluster.file(
        "old.yaml",
        "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: old}\n",
    );
    cluster.file(
        "lost.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: nowhere\n",
    );
    let part = cluster.part(json!({}));
    let problems = wrong(&part).await;
    assert_eq!(
        located(&problems),
        [
            "deploy/old.yaml:1: Deployment old: the server has no kind Deployment in extensions/v1beta1"
        ]
    );
    assert_eq!(
        problems[0].hint.as_deref(),
        Some("the server has Deployment in apps/v1")
    );
    cluster.remove("old.yaml");
    let problems = wrong(&part).await;
    assert_eq!(
        located(&problems),
        [
            "deploy/lost.yaml:5: there is no namespace nowhere",
            "deploy/web.yaml:6: Deployment shop/web is refused",
            "deploy/web.yaml:36: Service shop/web is refused"
        ],
        "{problems:#?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_stale_when_what_it_changes_has_moved() {
    use consort_plan::Part as _;
    let (cluster, part) = settings().await;
    apply(&cluster, &part).await;
    cluster.file("settings.yaml", &SETTINGS.replace("fast", "slow"));
    let plan = plan(&part).await;
    assert_eq!(part.moved(&plan.seen).await.unwrap(), []);
    cluster
        .patch(
            SETTINGS_PATH,
            "kubectl-edit",
            &json!({"data": {"other": "x"}}),
        )
        .await;
    assert_eq!(
        part.moved(&plan.seen).await.unwrap(),
        [],
        "what it does not set may move"
    );
    cluster
        .patch(
            SETTINGS_PATH,
            "kubectl-edit",
            &json!({"data": {"mode": "other"}}),
        )
        .await;
    let moved = part.moved(&plan.seen).await.unwrap();
    assert_eq!(moved[0].what, "v1/ConfigMap/shop/settings");
    assert_eq!(moved[0].how, "data.mode is \"other\" now");
    assert_eq!(moved[0].by.as_deref(), Some("kubectl-edit"));
    cluster.delete(SETTINGS_PATH).await;
    assert_eq!(part.moved(&plan.seen).await.unwrap()[0].how, "deleted");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_score_is_not_taken() {
    let cluster = Cluster::start().await;
    cluster
        .send(
            "POST",
            "/api/v1/namespaces/shop/configmaps",
            &json!({"metadata": {"name": "settings", "labels": {"consort.dev/score": "other", "consort.dev/part": "x"}}}),
            "application/json",
        )
        .await
        .unwrap();
    cluster.file("settings.yaml", SETTINGS);
    let part = cluster.part(json!({}));
    let problems = wrong(&part).await;
    assert_eq!(
        problems[0].summary,
        "ConfigMap shop/settings belongs to the score other"
    );
    // One of no score is taken over, and the plan says so.
    cluster
        .patch(
            SETTINGS_PATH,
            "kubectl",
            &json!({"metadata": {"labels": null}}),
        )
        .await;
    let plan = plan(&part).await;
    let settings = change(&plan, "v1/ConfigMap/shop/settings");
    assert_eq!(settings.action, Action::Update);
    assert_eq!(settings.reasons, ["it is there, and of no score yet"]);
    cluster.stop().await;
}
