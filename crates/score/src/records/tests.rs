use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_plan::carry::{Carried, End};
use consort_plan::{
    Action, Address, BlastRadius, Blueprint, Change, Entry, Event, Mode, Operation, Parent, Phase,
    Planned, PlannedPart, Problem, Record as _, Reversal, Source,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::*;

struct Server {
    api: consort_api::Api,
    records: Records,
    _dir: tempfile::TempDir,
}

async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let store =
        consort_store::Store::open(consort_store::Options::new(dir.path().join("store"))).unwrap();
    let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[]).unwrap();
    let signer = Signer::new(pki.service_account_key(), "https://issuer.test").unwrap();
    let options = consort_api::Options::new(store, Arc::new(signer));
    let api = consort_api::Api::new(options).await.unwrap();
    let records = Records::new(api.client(User::admin()), "consort-system");
    records.install().await.unwrap();
    Server {
        api,
        records,
        _dir: dir,
    }
}

fn change(n: usize, action: Action) -> Change {
    Change {
        address: Address::new("app", &format!("v1/ConfigMap/shop/settings-{n}")),
        kind: "v1/ConfigMap".to_owned(),
        action,
        before: None,
        after: Some(Planned::known(
            serde_json::json!({"data": {"n": n.to_string()}}),
        )),
        replaces: Vec::new(),
        reasons: Vec::new(),
        moved_from: None,
        drift: Vec::new(),
        reversal: Reversal::Reversible,
        location: None,
    }
}

fn blueprint(count: usize, payload: Vec<u8>) -> Blueprint {
    Blueprint {
        format: Blueprint::FORMAT,
        score: "shop".to_owned(),
        mode: Mode::Apply,
        author: "ada".to_owned(),
        time: Timestamp::now(),
        source: source(),
        parent: Parent {
            revision: 0,
            seen: BTreeMap::new(),
        },
        parts: vec![PlannedPart {
            name: "app".to_owned(),
            layer: "manifests".to_owned(),
            intent: consort_plan::Intent::Apply,
            after: Vec::new(),
            first: 0,
            count: count as u32,
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            payload,
        }],
        changes: (0..count).map(|n| change(n, Action::Create)).collect(),
        edges: Vec::new(),
        joints: Vec::new(),
        verdicts: Vec::new(),
        blast: BlastRadius::default(),
        warnings: Vec::new(),
    }
}

fn source() -> Source {
    Source::Directory {
        path: "/srv/shop".to_owned(),
        commit: None,
    }
}

fn operation(revision: u64) -> Operation {
    Operation {
        score: "shop".to_owned(),
        revision,
        blueprint: "0123456789ab".to_owned(),
        mode: Mode::Apply,
        author: format!("author-{revision}"),
        cause: None,
        approved_by: None,
        source: source(),
        started: Timestamp::now(),
        ended: None,
        phase: Phase::Running,
        total: 3,
        done: 0,
        failed: 0,
        skipped: 0,
    }
}

fn entry(n: usize, event: Event) -> Entry {
    Entry {
        time: Timestamp::now(),
        address: Address::new("app", &format!("v1/ConfigMap/shop/settings-{n}")),
        action: Action::Create,
        event,
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    // Does not compress.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = Vec::with_capacity(bytes);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise
}

async fn largest_secret(server: &Server) -> usize {
    let params = kube::api::ListParams::default();
    let list = server.records.secrets().list(&params).await.unwrap();
    let size = |secret: &Secret| serde_json::to_vec(secret).unwrap().len();
    list.items.iter().map(size).max().unwrap_or_default()
}

#[tokio::test]
async fn a_blueprint_of_any_size_comes_back_as_it_was_and_its_object_tells_no_values() {
    let server = server().await;
    let records = &server.records;
    let whole = blueprint(3000, noise(1_500_000));
    let id = records.put_blueprint(&whole).await.unwrap();
    assert_eq!(id, whole.id());
    assert_eq!(records.put_blueprint(&whole).await.unwrap(), id);
    assert_eq!(records.blueprint(&id).await.unwrap().unwrap(), whole);
    assert!(records.blueprint("ffffffffffff").await.unwrap().is_none());
    assert!(largest_secret(&server).await < 900_000);
    let summary = records.blueprint_summary(&id).await.unwrap().unwrap();
    assert_eq!(summary.counts.create, 3000);
    assert_eq!(summary.state, State::Ready);
    assert_eq!(summary.changes.len() as u32 + summary.more, 3000);
    assert_eq!(records.blueprints("shop").await.unwrap(), [summary]);
    let object = records.objects(Kind::Blueprint).get(&id).await.unwrap();
    let text = serde_json::to_string(&object).unwrap();
    assert!(text.len() < 200_000 && !text.contains("\"data\""), "{text}");
}

#[tokio::test]
async fn of_two_operations_from_one_revision_one_begins_and_the_other_hears_what_moved() {
    let server = server().await;
    let records = &server.records;
    let (first, second) = (operation(1), operation(1));
    let (one, other) = futures::join!(records.begin(&first), records.begin(&second));
    let lost = match (one, other) {
        (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
        both => panic!("{both:?}"),
    };
    let BeginError::Stale(stale) = lost else {
        panic!("{lost}")
    };
    assert_eq!(stale.revisions, Some((0, 1)));
    assert_eq!(stale.moved[0].by.as_deref(), Some("author-1"));
    assert!(records.begin(&operation(3)).await.is_err());
    let next = records.begin(&operation(2)).await.unwrap();
    let history = records.operations("shop").await.unwrap();
    let phases: Vec<_> = history.iter().map(|it| (it.revision, it.phase)).collect();
    assert_eq!(phases, [(1, Phase::Cancelled), (2, Phase::Running)]);
    assert!(matches!(
        records.reopen("shop", 1).await,
        Err(BeginError::Stale(_))
    ));
    let carried = Carried {
        phase: Phase::Failed,
        total: 3,
        done: 1,
        failed: 1,
        skipped: 1,
        ends: vec![End::Done, End::Failed, End::Skipped],
        problems: Vec::new(),
        warnings: Vec::new(),
        outputs: BTreeMap::new(),
    };
    let ended = next.finish(&carried).await.unwrap();
    assert_eq!(records.operation("shop", 2).await.unwrap().unwrap(), ended);
    assert_eq!((ended.done, ended.failed, ended.skipped), (1, 1, 1));
    assert_eq!(records.revision("shop").await.unwrap(), 2);
}

#[tokio::test]
async fn a_record_grows_by_groups_over_many_chunks_and_goes_on_after_a_crash() {
    let server = server().await;
    let records = &server.records;
    let recorder = records.begin(&operation(1)).await.unwrap();
    let mut written = Vec::new();
    for group in 0..40 {
        let entries: Vec<_> = (0..250)
            .flat_map(|n| {
                let n = group * 250 + n;
                [entry(n, Event::Began { attempt: 1 }), entry(n, Event::Done)]
            })
            .collect();
        recorder.commit(entries.clone()).await.unwrap();
        written.extend(entries);
    }
    let problem = Problem {
        part: "app".to_owned(),
        summary: "the server is away".to_owned(),
        detail: "x".repeat(200_000),
        ..Problem::default()
    };
    let long = entry(7, Event::Failed { problem });
    recorder.commit(vec![long]).await.unwrap();
    assert_eq!(records.entries("shop", 1).await.unwrap()[..20_000], written);
    drop(recorder);
    let (entries, recorder) = records.reopen("shop", 1).await.unwrap();
    assert_eq!(entries.len(), 20_001);
    let Event::Failed { problem } = &entries[20_000].event else {
        panic!("{:?}", entries[20_000])
    };
    assert!(problem.detail.len() < 70_000 && problem.detail.ends_with("bytes more"));
    recorder.commit(vec![entry(8, Event::Done)]).await.unwrap();
    let entries = records.entries("shop", 1).await.unwrap();
    assert_eq!(entries.len(), 20_002);
    assert!(largest_secret(&server).await < 900_000);
    assert!(records.entries("shop", 2).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_writers_of_one_record_do_not_mix() {
    let server = server().await;
    let records = &server.records;
    let old = records.begin(&operation(1)).await.unwrap();
    old.commit(vec![entry(1, Event::Done)]).await.unwrap();
    let (_, new) = records.reopen("shop", 1).await.unwrap();
    new.commit(vec![entry(2, Event::Done)]).await.unwrap();
    assert!(old.commit(vec![entry(3, Event::Done)]).await.is_err());
    assert_eq!(records.entries("shop", 1).await.unwrap().len(), 2);
}

#[tokio::test]
async fn revisions_with_the_same_sources_keep_them_once_and_old_ones_can_go() {
    let server = server().await;
    let records = &server.records;
    let (old, new) = (noise(100_000), noise(800_001));
    let id = records
        .put_blueprint(&blueprint(1, Vec::new()))
        .await
        .unwrap();
    for revision in 1..=3 {
        let mut operation = operation(revision);
        if revision == 1 {
            operation.blueprint.clone_from(&id);
        }
        let recorder = records.begin(&operation).await.unwrap();
        recorder.commit(vec![entry(1, Event::Done)]).await.unwrap();
        let sources = if revision == 3 { &new } else { &old };
        records
            .put_snapshot("shop", revision, sources.clone())
            .await
            .unwrap();
    }
    assert_eq!(
        records.snapshot("shop", 1).await.unwrap().as_ref(),
        Some(&old)
    );
    assert_eq!(
        records.snapshot("shop", 2).await.unwrap().as_ref(),
        Some(&old)
    );
    assert_eq!(
        records.snapshot("shop", 3).await.unwrap().as_ref(),
        Some(&new)
    );
    assert!(records.snapshot("shop", 4).await.unwrap().is_none());
    assert!(records.sources(&id).await.unwrap().is_none());
    records.put_sources(&id, new.clone()).await.unwrap();
    assert_eq!(records.sources(&id).await.unwrap().as_ref(), Some(&new));
    let list = records
        .secrets()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    let snapshots = list
        .items
        .iter()
        .filter(|it| it.name_any().starts_with("snapshot."));
    let owners: Vec<_> = snapshots.map(|it| it.owner_references().len()).collect();
    assert_eq!(owners.len(), 3);
    // Two revisions have the first; a revision and a blueprint the second, in two chunks.
    assert_eq!(owners.iter().sum::<usize>(), 6);
    assert_eq!(records.prune("shop", 1).await.unwrap(), 3);
    assert!(records.blueprint_summary(&id).await.unwrap().is_none());
    assert_eq!(records.revision("shop").await.unwrap(), 3);
    assert!(records.begin(&operation(2)).await.is_err());
}

#[tokio::test]
async fn an_approval_names_who_gives_it_and_cannot_be_changed() {
    let server = server().await;
    let records = &server.records;
    assert_eq!(records.whoami().await.unwrap(), User::admin().name);
    let mut approval = Approval {
        blueprint: "0123456789ab".to_owned(),
        decision: Decision::Approve,
        by: "somebody-else".to_owned(),
        reason: "looks right".to_owned(),
        time: Timestamp::now(),
    };
    // The policy is compiled a moment after it is written.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        approval.blueprint = uuid::Uuid::new_v4().to_string();
        match records.decide("shop", &approval).await {
            Err(Error::Api { source, .. }) => {
                assert!(source.to_string().contains("spec.by must be"), "{source}");
                break;
            }
            other => assert!(tokio::time::Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    approval.by = records.whoami().await.unwrap();
    records.decide("shop", &approval).await.unwrap();
    let id = approval.blueprint.clone();
    assert_eq!(records.approval(&id).await.unwrap(), Some(approval.clone()));
    approval.decision = Decision::Reject;
    let again = records.decide("shop", &approval).await.unwrap_err();
    assert!(
        matches!(
            &again,
            Error::Decided {
                decided: "approved",
                ..
            }
        ),
        "{again}"
    );
    let patch = serde_json::json!({"spec": {"decision": "reject"}});
    let changed = records
        .objects(Kind::Approval)
        .patch(
            &id,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&patch),
        )
        .await;
    assert!(changed.is_err());
    let stranger = Records::new(server.api.client(User::anonymous()), "consort-system");
    approval.by = "system:anonymous".to_owned();
    approval.blueprint = "another".to_owned();
    assert!(
        stranger
            .decide("shop", &approval)
            .await
            .unwrap_err()
            .is_forbidden()
    );
}

#[tokio::test]
async fn a_score_is_locked_by_one_at_a_time_and_for_no_longer_than_its_work() {
    let server = server().await;
    let records = &server.records;
    let patience = Duration::ZERO;
    let lock = records.lock("shop", "ada@one", patience).await.unwrap();
    assert_eq!(
        records.locked("shop").await.unwrap().unwrap().holder,
        "ada@one"
    );
    match records.lock("shop", "bob@two", patience).await {
        Err(LockError::Held(held)) => assert_eq!(held.holder, "ada@one"),
        other => panic!("{other:?}"),
    }
    records
        .lock("other", "bob@two", patience)
        .await
        .unwrap()
        .release()
        .await;
    let lost = CancellationToken::new();
    assert_eq!(lock.during(&lost, async { 7 }).await, 7);
    assert!(!lost.is_cancelled());
    assert!(records.locked("shop").await.unwrap().is_none());
    let mut lock = records.lock("shop", "bob@two", patience).await.unwrap();
    lock.every = Duration::from_millis(50);
    // Whoever has the lock taken from under them hears of it.
    let mut stolen = records.leases().get("score-shop").await.unwrap();
    stolen.spec.as_mut().unwrap().holder_identity = Some("eve".to_owned());
    let leases = records.leases();
    leases
        .replace("score-shop", &seal::post(), &stolen)
        .await
        .unwrap();
    lock.during(&lost, lost.cancelled()).await;
    assert!(lost.is_cancelled());
}
