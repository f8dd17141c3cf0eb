//! Planning and applying configurations of the built-in provider.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use consort_hcl::{Diagnostics, Sources, functions};
use consort_infra::address::ProviderSource;
use consort_infra::config;
use consort_infra::engine::{
    self, Action, ApplyOptions, DeferredReason, Event, Input, Mode, Plan, PlanOptions, Providers,
    Reason, Watcher,
};
use consort_infra::install::Manifest;
use consort_infra::plan_file;
use consort_infra::provider::builtin::Terraform;
use consort_infra::provider::schema::Schemas;
use consort_infra::provider::{Call, Provider};
use consort_infra::state::{State, recover};

struct BuiltIn;

impl Providers for BuiltIn {
    fn schemas<'a>(&'a self, _: &'a ProviderSource) -> Call<'a, Result<Arc<Schemas>, Diagnostics>> {
        Box::pin(async {
            Terraform::new(None)
                .schemas()
                .await
                .map_err(|found| found.unlocated(""))
        })
    }

    fn start<'a>(
        &'a self,
        _: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>> {
        Box::pin(async { Ok(Arc::new(Terraform::new(None)) as Arc<dyn Provider>) })
    }
}

/// Notes which changes were begun, in their order.
#[derive(Default)]
struct Order(Mutex<Vec<String>>);

impl Watcher for Order {
    fn event(&self, event: &Event<'_>) {
        if let Event::ApplyStart {
            address, action, ..
        } = event
        {
            self.0
                .lock()
                .unwrap()
                .push(format!("{} {address}", action.words()[0]));
        }
    }
}

/// A configuration and the state it has been applied to.
struct Place {
    folder: tempfile::TempDir,
    state: State,
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            state: State::new(),
        };
        place.write(text);
        place
    }

    fn write(&self, text: &str) {
        std::fs::write(self.folder.path().join("main.tf"), text).unwrap();
    }

    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Input<'_>, &Sources) -> T,
        watcher: &dyn Watcher,
    ) -> T {
        let mut sources = Sources::new();
        let (tree, found) =
            config::load(self.folder.path(), &Manifest::default(), None, &mut sources);
        assert!(!found.has_errors(), "{found:?}");
        let tree = tree.unwrap();
        let base_dir = self.folder.path().to_owned();
        let input = Input {
            tree: &tree,
            sources: &sources,
            functions: Arc::new(functions::core(&functions::Options {
                base_dir,
                ..functions::Options::default()
            })),
            providers: &BuiltIn,
            provisioners: &consort_infra::provisioner::Builtin,
            variables: BTreeMap::new(),
            given: BTreeMap::new(),
            workspace: "default",
            watcher,
            parallelism: 10,
            cancel: tokio_util::sync::CancellationToken::new(),
            directory: None,
            under_test: None,
        };
        work(&input, &sources).await
    }

    async fn plan(&self, options: &PlanOptions) -> (Option<Plan>, Diagnostics) {
        self.with(
            async |input, _| engine::plan(input, options, &self.state).await,
            &engine::Silent,
        )
        .await
    }

    async fn actions(&self) -> Vec<(String, Action, Option<Reason>)> {
        let (plan, found) = self.plan(&PlanOptions::default()).await;
        assert!(!found.has_errors(), "{found:?}");
        plan.unwrap()
            .changes
            .into_iter()
            .filter(|change| change.action != Action::NoOp)
            .map(|change| (change.address.to_string(), change.action, change.reason))
            .collect()
    }

    /// Plans and applies; gives the changes in the order they were begun.
    async fn apply(&mut self, options: &PlanOptions, journal: Option<&Path>) -> Vec<String> {
        let order = Order::default();
        let state = self
            .with(
                async |input, _| {
                    let (plan, found) = engine::plan(input, options, &self.state).await;
                    assert!(!found.has_errors(), "{found:?}");
                    let options = ApplyOptions {
                        journal: journal.map(Path::to_owned),
                        ..ApplyOptions::default()
                    };
                    let (applied, found) = engine::apply(input, &plan.unwrap(), &options).await;
                    assert!(!found.has_errors(), "{found:?}");
                    applied.state
                },
                &order,
            )
            .await;
        self.state = state;
        order.0.into_inner().unwrap()
    }
}

const CHAIN: &str = r#"
resource "terraform_data" "a" {
  input = "one"
}
resource "terraform_data" "b" {
  input = terraform_data.a.id
}
resource "terraform_data" "each" {
  for_each = toset(["x", "y"])
  input    = { key = each.key, of = terraform_data.b.output }
}
output "keys" {
  value = [for name, one in terraform_data.each : name]
}
"#;

#[tokio::test]
async fn what_was_applied_plans_to_nothing_and_is_deleted_the_other_way_round() {
    let mut place = Place::new(CHAIN);
    let made = place.apply(&PlanOptions::default(), None).await;
    assert_eq!(
        made[..2],
        ["create terraform_data.a", "create terraform_data.b"]
    );
    assert_eq!(made.len(), 4);
    assert_eq!(&*place.state.outputs["keys"].value, r#"["x","y"]"#);
    assert_eq!(place.actions().await, []);

    let destroy = PlanOptions {
        mode: Mode::Destroy,
        ..PlanOptions::default()
    };
    let gone = place.apply(&destroy, None).await;
    assert_eq!(
        gone[2..],
        ["delete terraform_data.b", "delete terraform_data.a"]
    );
    assert!(place.state.is_empty());
}

#[tokio::test]
async fn a_key_that_goes_deletes_its_instance_alone() {
    let mut place = Place::new(CHAIN);
    place.apply(&PlanOptions::default(), None).await;
    place.write(&CHAIN.replace(r#"["x", "y"]"#, r#"["y"]"#));
    assert_eq!(
        place.actions().await,
        [(
            r#"terraform_data.each["x"]"#.to_owned(),
            Action::Delete,
            Some(Reason::DeleteBecauseEachKey)
        )]
    );
}

#[tokio::test]
async fn a_new_object_is_made_first_where_that_is_asked_for_or_needed_by_a_dependent() {
    let text = r#"
resource "terraform_data" "base" {
  triggers_replace = "1"
}
resource "terraform_data" "top" {
  triggers_replace = terraform_data.base.id
  lifecycle {
    create_before_destroy = true
  }
}
"#;
    let mut place = Place::new(text);
    place.apply(&PlanOptions::default(), None).await;
    place.write(&text.replace("\"1\"", "\"2\""));
    let order = place.apply(&PlanOptions::default(), None).await;
    assert_eq!(
        order,
        [
            "create terraform_data.base",
            "create terraform_data.top",
            "delete terraform_data.top",
            "delete terraform_data.base",
        ]
    );
    assert_eq!(place.actions().await, []);
}

#[tokio::test]
async fn a_crash_before_the_state_is_written_loses_nothing_that_was_made() {
    let mut place = Place::new(CHAIN);
    let before = place.state.clone();
    let journal = place.folder.path().join("journal");
    place.apply(&PlanOptions::default(), Some(&journal)).await;
    let mut found = before;
    assert_eq!(recover(&journal, &mut found, None).unwrap(), 4);
    assert_eq!(found.resources.len(), 3);
    place.state = found;
    // The objects are all there; only the outputs are to be stored again.
    assert_eq!(place.actions().await, []);
}

#[tokio::test]
async fn a_saved_plan_is_the_plan_and_refuses_a_state_that_has_moved() {
    let place = Place::new(CHAIN);
    let bytes = place
        .with(
            async |input, _| {
                let (plan, _) = engine::plan(input, &PlanOptions::default(), &place.state).await;
                plan_file::write(&plan.unwrap(), &plan_file::Origin::default()).unwrap()
            },
            &engine::Silent,
        )
        .await;
    let file = plan_file::read(&bytes).unwrap();
    assert_eq!(file.plan.changes.len(), 4);
    assert!(!file.plan.changes[1].after.is_wholly_known());
    file.check_state(&place.state).unwrap();

    let mut other = Place::new(CHAIN);
    other.state.lineage.clone_from(&place.state.lineage);
    other.apply(&PlanOptions::default(), None).await;
    assert!(matches!(
        file.check_state(&other.state),
        Err(plan_file::Error::Stale)
    ));
    assert!(plan_file::read(b"nothing of the kind").is_err());
}

#[tokio::test]
async fn a_cycle_is_named() {
    let place = Place::new(
        r#"
resource "terraform_data" "a" {
  input = terraform_data.b.id
}
resource "terraform_data" "b" {
  input = local.c
}
locals {
  c = terraform_data.a.id
}
"#,
    );
    let (plan, found) = place.plan(&PlanOptions::default()).await;
    assert!(plan.is_none());
    let summary = &found.first_error().unwrap().summary;
    for name in [
        "Cycle: ",
        "terraform_data.a",
        "terraform_data.b",
        "local.c (expand)",
    ] {
        assert!(summary.contains(name), "{summary}");
    }
}

#[tokio::test]
async fn a_count_that_is_not_known_puts_the_block_and_its_dependents_off_and_nothing_else() {
    let mut place = Place::new(
        r#"
resource "terraform_data" "a" {
  input = 2
}
resource "terraform_data" "many" {
  count = terraform_data.a.output
}
resource "terraform_data" "after" {
  input = length(terraform_data.many)
}
"#,
    );
    let (plan, found) = place.plan(&PlanOptions::default()).await;
    assert!(!found.has_errors(), "{found:?}");
    let plan = plan.unwrap();
    assert!(!plan.is_complete());
    let put_off: Vec<_> = plan
        .deferred
        .iter()
        .map(|deferred| (deferred.resource.to_string(), deferred.reason))
        .collect();
    assert_eq!(
        put_off,
        [
            (
                "terraform_data.after".to_owned(),
                DeferredReason::DeferredPrerequisite
            ),
            (
                "terraform_data.many".to_owned(),
                DeferredReason::InstanceCountUnknown
            ),
        ]
    );
    assert_eq!(
        place.apply(&PlanOptions::default(), None).await,
        ["create terraform_data.a"]
    );
    assert_eq!(place.apply(&PlanOptions::default(), None).await.len(), 3);
    assert_eq!(place.actions().await, []);
}

#[tokio::test]
async fn moved_objects_keep_their_identity_along_a_chain_of_moves() {
    let mut place = Place::new("resource \"terraform_data\" \"a\" {}\n");
    place.apply(&PlanOptions::default(), None).await;
    place.write(
        r#"
resource "terraform_data" "c" {
  count = 1
}
moved {
  from = terraform_data.b
  to   = terraform_data.c
}
moved {
  from = terraform_data.a
  to   = terraform_data.b
}
"#,
    );
    let (plan, _) = place.plan(&PlanOptions::default()).await;
    let plan = plan.unwrap();
    let [change] = &plan.changes[..] else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(change.action, Action::NoOp);
    assert_eq!(change.address.to_string(), "terraform_data.c[0]");
    assert_eq!(change.previous_address.to_string(), "terraform_data.a");
    assert!(plan.has_changes());
}
