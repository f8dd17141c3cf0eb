//! Scores followed by the controller: a real API in this process, real repositories of Git, the real planner and walk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consort_api::identity::User;
use consort_api::identity::pki::Pki;
use consort_api::identity::tokens::Signer;
use consort_plan::{Call, Mode, Operation, Phase};
use consort_reconcile::Hub;
use consort_score::follow::{
    Ended, Engine, Fault, Follower, Id, Made, Options, Runner, Said, Score, Standing, Want,
};
use consort_score::records::{Approval, Decision, Records};
use consort_score::{Environment, NAMESPACE};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SHOP: &str = "shop";
const AUTHOR: &str = "system:serviceaccount:consort-system:score-controller";

/// Counts what the controller asks of the engine for the score `shop`.
struct Counted {
    runner: Runner,
    plans: AtomicUsize,
    looks: AtomicUsize,
}

impl Engine for Counted {
    fn author(&self) -> &str {
        self.runner.author()
    }
    fn standing<'a>(&'a self, score: &'a Id) -> Call<'a, Result<Standing, Fault>> {
        if score.name == SHOP {
            self.looks.fetch_add(1, Ordering::SeqCst);
        }
        self.runner.standing(score)
    }
    fn plan(&self, want: Want) -> Call<'_, Result<Made, Fault>> {
        if want.score.name == SHOP {
            self.plans.fetch_add(1, Ordering::SeqCst);
        }
        self.runner.plan(want)
    }
    fn store<'a>(&'a self, score: &'a Id, made: &'a Made) -> Call<'a, Result<(), Fault>> {
        self.runner.store(score, made)
    }
    fn said<'a>(&'a self, score: &'a Id, blueprint: &'a str) -> Call<'a, Result<Said, Fault>> {
        self.runner.said(score, blueprint)
    }
    fn carry_out<'a>(
        &'a self,
        score: &'a Id,
        made: Made,
        cause: Option<String>,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>> {
        self.runner.carry_out(score, made, cause, cancel)
    }
    fn carry_out_stored<'a>(
        &'a self,
        score: &'a Id,
        blueprint: &'a str,
        cause: Option<String>,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>> {
        self.runner
            .carry_out_stored(score, blueprint, cause, cancel)
    }
    fn resume<'a>(
        &'a self,
        score: &'a Id,
        revision: u64,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>> {
        self.runner.resume(score, revision, cancel)
    }
}

struct World {
    api: consort_api::Api,
    store: consort_store::Store,
    client: Client,
    records: Records,
    engine: Arc<Counted>,
    origin: PathBuf,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// A server that knows nothing of scores yet.
async fn server(dir: &Path) -> (consort_api::Api, consort_store::Store) {
    let options = consort_store::Options::new(dir.join("store"));
    let store = consort_store::Store::open(options).unwrap();
    let pki = Pki::open(&dir.join("pki"), &["localhost".into()], &[]).unwrap();
    let signer = Signer::new(pki.service_account_key(), "https://test").unwrap();
    let options = consort_api::Options::new(store.clone(), Arc::new(signer));
    let api = consort_api::Api::new(options).await.unwrap();
    (api, store)
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (api, store) = server(dir.path()).await;
        let client = api.client(User::admin());
        let own = api.client(User::new(AUTHOR, ["system:masters"]));
        let records = Records::new(client.clone(), NAMESPACE);
        records.install().await.unwrap();
        let terraform = consort_infra::layer::Environment {
            built_in: Arc::new(|_| None),
            variables: std::collections::HashMap::new(),
            cli_config: Arc::default(),
            data: dir.path().join("providers"),
            schema_cache: None,
            client: Some(own.clone()),
            namespace: NAMESPACE.to_owned(),
            author: AUTHOR.to_owned(),
        };
        let environment = Environment {
            client: Some(own.clone()),
            terraform: Arc::new(terraform),
            scratch: dir.path().join("scratch"),
            prune: None,
        };
        let runner = Runner::new(
            own.clone(),
            environment,
            AUTHOR.to_owned(),
            dir.path().join("unpacked"),
        )
        .unwrap();
        let engine = Arc::new(Counted {
            runner,
            plans: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        });
        let shutdown = CancellationToken::new();
        let hub = Hub::new(own, shutdown.child_token());
        let options = Options {
            repositories: dir.path().join("git"),
            workers: 4,
        };
        let follower = Follower::new(hub, engine.clone(), &options).unwrap();
        let running = tokio::spawn(follower.run(shutdown.clone()));
        let world = Self {
            origin: dir.path().join("origin"),
            api,
            store,
            client,
            records,
            engine,
            shutdown,
            running,
            _dir: dir,
        };
        std::fs::create_dir(&world.origin).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.running)
            .await
            .expect("the controller ends")
            .unwrap();
        self.api.close().await;
        self.store.close().await;
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.origin)
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self, files: &[(&str, String)], subject: &str) -> String {
        for (file, content) in files {
            let path = self.origin.join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn scores(&self) -> Api<Score> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn follow(&self, sync: Value) {
        self.follow_as(SHOP, "main", "deploy", sync).await;
    }

    async fn follow_as(&self, name: &str, reference: &str, path: &str, sync: Value) {
        let score: Score = serde_json::from_value(json!({
            "apiVersion": "consort.dev/v1", "kind": "Score",
            "metadata": {"name": name},
            "spec": {
                "source": {"git": {"url": self.origin, "reference": reference, "path": path, "interval": "1s"}},
                "sync": sync,
            },
        }))
        .unwrap();
        self.scores()
            .create(&PostParams::default(), &score)
            .await
            .unwrap();
    }

    async fn patch(&self, patch: Value) {
        self.scores()
            .patch("shop", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// The reason of a condition, once it is this one.
    async fn until(&self, reason: &str) -> Score {
        let mut last = String::new();
        for _ in 0..600 {
            let score = self.scores().get("shop").await.unwrap();
            let conditions = score
                .status
                .as_ref()
                .map(|status| status.conditions.clone())
                .unwrap_or_default();
            if conditions.iter().any(|one| one.reason == reason) {
                return score;
            }
            last = format!("{conditions:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the score did not come to be {reason}: {last}");
    }

    async fn until_mode(&self, name: &str, mode: &str) {
        for _ in 0..600 {
            if let Ok(map) = self.maps().get(name).await
                && map
                    .data
                    .and_then(|data| data.get("mode").cloned())
                    .as_deref()
                    == Some(mode)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let score = self.scores().get("shop").await.unwrap();
        panic!("{name} did not come to be {mode}: {:?}", score.status);
    }

    async fn operation(&self, revision: u64) -> Operation {
        for _ in 0..200 {
            let found = self.records.operation("shop", revision).await.unwrap();
            if let Some(operation) = found.filter(|found| found.phase != Phase::Running) {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("there is no operation {revision}");
    }
}

fn map(name: &str, mode: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{mode: {mode}}}\n"
    )
}

#[tokio::test]
async fn where_nothing_was_ever_recorded_there_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (api, store) = server(dir.path()).await;
    let records = Records::new(api.client(User::admin()), NAMESPACE);
    assert!(records.all_operations().await.unwrap().is_empty());
    assert_eq!(records.revision("shop").await.unwrap(), 0);
    assert!(records.operation("shop", 1).await.unwrap().is_none());
    assert!(records.blueprints("shop").await.unwrap().is_empty());
    let id = "0123456789ab";
    assert!(records.blueprint(id).await.unwrap().is_none());
    assert!(records.blueprint_summary(id).await.unwrap().is_none());
    assert!(records.sources(id).await.unwrap().is_none());
    assert!(records.approval(id).await.unwrap().is_none());
    assert!(records.snapshot("shop", 1).await.unwrap().is_none());
    assert!(records.locked("shop").await.unwrap().is_none());
    api.close().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_followed_and_what_is_deleted_by_hand_comes_back() {
    let world = World::new().await;
    let first = world.commit(
        &[
            ("deploy/a.yaml", map("a", "one")),
            ("deploy/b.yaml", map("b", "one")),
        ],
        "First",
    );
    world.follow(json!({})).await;
    world.until_mode("a", "one").await;
    let operation = world.operation(1).await;
    assert_eq!(operation.author, AUTHOR);
    let cause = operation.cause.unwrap();
    assert!(
        cause.contains(&first[..8]) && cause.contains("Ann") && cause.contains("First"),
        "{cause}"
    );

    // A commit that changes one object and drops another.
    std::fs::remove_file(world.origin.join("deploy/b.yaml")).unwrap();
    world.commit(&[("deploy/a.yaml", map("a", "two"))], "Second");
    world.until_mode("a", "two").await;
    world.operation(2).await;
    assert!(world.maps().get_opt("b").await.unwrap().is_none());

    // By hand.
    world
        .maps()
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    world.until_mode("a", "two").await;
    let healed = world.operation(3).await;
    assert_eq!(healed.mode, Mode::Heal);
    assert!(healed.cause.unwrap().contains("ConfigMap/default/a"));

    let edit = json!({"data": {"mode": "edited"}});
    world
        .maps()
        .patch("a", &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    world.until_mode("a", "two").await;

    // Nothing happens: nothing is planned, and nobody looks. Another score of the same repository says when it was polled.
    world.operation(4).await;
    world.git(&["checkout", "--quiet", "-b", "other"]);
    let poll = async |number: &str| {
        world.commit(&[("probe/p.yaml", map("probe", number))], number);
        if number == "one" {
            world.follow_as("probe", "other", "probe", json!({})).await;
        }
        world.until_mode("probe", number).await;
    };
    poll("one").await;
    poll("two").await;
    let count = || {
        (
            world.engine.plans.load(Ordering::SeqCst),
            world.engine.looks.load(Ordering::SeqCst),
        )
    };
    let before = count();
    poll("three").await;
    poll("four").await;
    assert_eq!(count(), before, "polls that find nothing new cost no look");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_score_waits_to_be_asked_and_a_suspended_one_is_left_alone() {
    let world = World::new().await;
    world.commit(&[("deploy/a.yaml", map("a", "one"))], "First");
    world
        .follow(json!({"mode": "manual", "selfHeal": false}))
        .await;
    world.until("OutOfSync").await;
    assert!(world.maps().get_opt("a").await.unwrap().is_none());
    let ask =
        |value: &str| json!({"metadata": {"annotations": {"consort.dev/sync-requested": value}}});
    world.patch(ask("1")).await;
    world.until_mode("a", "one").await;

    let edit = json!({"data": {"mode": "edited"}});
    world
        .maps()
        .patch("a", &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    world.until("Drifted").await;
    world.until_mode("a", "edited").await;

    world.patch(json!({"spec": {"suspend": true}})).await;
    world.until("Suspended").await;
    world.commit(&[("deploy/a.yaml", map("a", "two"))], "Second");
    world
        .patch(json!({"spec": {"suspend": false, "sync": {"mode": "automatic"}}}))
        .await;
    world.until_mode("a", "two").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_needs_an_approval_goes_on_when_it_is_given_and_a_denied_one_does_not() {
    let world = World::new().await;
    let score = |threshold: u32| {
        format!(
            "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {{name: shop}}\nspec:\n  parts:\n    \
             - name: app\n      manifests: {{path: app}}\n    - name: rules\n      policy: {{path: rules}}\n  \
             approval: {{threshold: {threshold}}}\n"
        )
    };
    let rule = "package rules\n\npoints contains {\"address\": address, \"points\": 60, \"message\": \"dear\"} if {\n\
                \tsome address, node in input.graph.nodes\n\tnode.change.actions != [\"no-op\"]\n}\n\n\
                deny contains \"mode broken is not taken\" if {\n\tsome change in input.resource_changes\n\t\
                change.change.after.data.mode == \"broken\"\n}\n\napproval contains \"always asked\" if true\n";
    world.commit(
        &[
            ("deploy/consort.yaml", score(49)),
            ("deploy/app/a.yaml", map("a", "one")),
            ("deploy/rules/rules.rego", rule.to_owned()),
        ],
        "First",
    );
    world.follow(json!({})).await;
    let waiting = world.until("AwaitingApproval").await;
    assert!(world.maps().get_opt("a").await.unwrap().is_none());
    let blueprint = waiting.status.unwrap().waiting.unwrap().blueprint;
    let approval = Approval {
        blueprint,
        decision: Decision::Approve,
        by: world.records.whoami().await.unwrap(),
        reason: String::new(),
        time: jiff::Timestamp::now(),
    };
    world.records.decide("shop", &approval).await.unwrap();
    world.until_mode("a", "one").await;
    let operation = world.operation(1).await;
    assert_eq!(operation.approved_by.as_ref(), Some(&approval.by));

    world.commit(&[("deploy/app/a.yaml", map("a", "broken"))], "Broken");
    let denied = world.until("Denied").await;
    let conditions = denied.status.unwrap().conditions;
    let told = conditions
        .iter()
        .find(|one| one.reason == "Denied")
        .unwrap();
    assert!(
        told.message.contains("mode broken is not taken"),
        "{told:?}"
    );
    assert!(world.records.operation("shop", 2).await.unwrap().is_none());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_source_is_told_with_its_place_and_changes_nothing() {
    let world = World::new().await;
    world.commit(&[("elsewhere/a.yaml", map("a", "one"))], "First");
    world.follow(json!({})).await;
    let score = world.until("InvalidSource").await;
    assert!(format!("{:?}", score.status).contains("no such directory"));
    world.commit(
        &[(
            "deploy/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n".to_owned(),
        )],
        "Broken",
    );
    let score = world.until("PlanFailed").await;
    let said = format!("{:?}", score.status);
    assert!(said.contains("a.yaml:"), "{said}");
    world.commit(&[("deploy/a.yaml", map("a", "one"))], "Whole");
    world.until_mode("a", "one").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_works_is_given_up_for_the_one_that_mends_it() {
    let world = World::new().await;
    // Nobody brings deployments about here.
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default}\nspec:\n  \
               selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
               spec: {containers: [{name: web, image: example.org/none}]}\n";
    world.commit(&[("deploy/web.yaml", web.to_owned())], "Never works");
    world.follow(json!({})).await;
    world.until("Progressing").await;
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(world.client.clone(), "default");
    for _ in 0..200 {
        if deployments.get_opt("web").await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::remove_file(world.origin.join("deploy/web.yaml")).unwrap();
    world.commit(&[("deploy/a.yaml", map("a", "one"))], "Works");
    world.until_mode("a", "one").await;
    assert_ne!(world.operation(1).await.phase, Phase::Succeeded);
    assert_eq!(world.operation(2).await.phase, Phase::Succeeded);
    let status = world.until("Synced").await.status.unwrap();
    assert_eq!(status.commit.unwrap().subject, "Works");
    world.end().await;
}
