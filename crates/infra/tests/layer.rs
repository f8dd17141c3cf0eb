//! Terraform directories as parts of one plan, planned and carried out over the built-in provider.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_infra::install::CliConfig;
use consort_infra::layer::{Environment, Spec, Terraform};
use consort_plan::carry::{Carried, Carry, CarryOptions, carry};
use consort_plan::{
    Action, Blueprint, BlueprintEdge, Change, Feed, From, Intent, Lines, Mode, Parent, Part,
    PartPlan, Phase, Planned, PlannedPart, Problem, Request, Source,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A score in a directory of its own.
struct Score {
    folder: tempfile::TempDir,
    parts: Vec<Terraform>,
}

fn environment(folder: &Path) -> Arc<Environment> {
    Arc::new(Environment {
        built_in: Arc::new(|_| None),
        variables: HashMap::new(),
        cli_config: Arc::new(CliConfig::default()),
        data: folder.join("data"),
        schema_cache: None,
        client: None,
        namespace: "consort-system".to_owned(),
        author: "a test".to_owned(),
    })
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn from(output: &str) -> Feed {
    Feed::From(From {
        from: output.to_owned(),
    })
}

impl Score {
    fn new(files: &[(&str, &str)]) -> Score {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            write(folder.path(), file, text);
        }
        Score {
            folder,
            parts: Vec::new(),
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Adds a part whose directory has its name.
    fn part(mut self, name: &str, variables: &[(&str, Feed)]) -> Score {
        let spec = Spec {
            variables: variables
                .iter()
                .map(|(name, feed)| ((*name).to_owned(), feed.clone()))
                .collect(),
            ..Spec::of(name)
        };
        let lines = Lines::new("consort.yaml", 5, BTreeMap::new());
        let environment = environment(self.folder.path());
        let part = Terraform::new(name, "test", spec, &self.root(), lines, environment).unwrap();
        self.parts.push(part);
        self
    }

    async fn plan(&self, intent: Intent) -> Result<(Blueprint, Vec<PartPlan>), Vec<Problem>> {
        let cancel = CancellationToken::new();
        let mut plans: Vec<PartPlan> = Vec::new();
        let mut given: HashMap<String, Planned> = HashMap::new();
        let mut blueprint = Blueprint {
            format: Blueprint::FORMAT,
            score: "test".to_owned(),
            mode: match intent {
                Intent::Apply => Mode::Apply,
                Intent::Destroy => Mode::Destroy,
            },
            author: "a test".to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            source: Source::Directory {
                path: ".".to_owned(),
                commit: None,
            },
            parent: Parent {
                revision: 0,
                seen: BTreeMap::new(),
            },
            parts: Vec::new(),
            changes: Vec::new(),
            edges: Vec::new(),
            joints: Vec::new(),
            verdicts: Vec::new(),
            blast: consort_plan::BlastRadius::default(),
            warnings: Vec::new(),
        };
        for part in &self.parts {
            let inputs: BTreeMap<String, Planned> = part
                .inputs()
                .into_iter()
                .map(|input| {
                    let value = given[&format!("{}.{}", input.part, input.output)].clone();
                    (input.name, value)
                })
                .collect();
            let plan = part
                .plan(Request {
                    intent,
                    inputs: &inputs,
                    cancel: &cancel,
                })
                .await?;
            for (name, output) in &plan.outputs {
                given.insert(format!("{}.{name}", part.name()), output.value.clone());
            }
            let first = blueprint.changes.len() as u32;
            blueprint.changes.extend(plan.changes.iter().cloned());
            blueprint
                .edges
                .extend(plan.edges.iter().map(|edge| BlueprintEdge {
                    dependent: edge.dependent + first,
                    dependency: edge.dependency + first,
                    edge: edge.edge,
                }));
            blueprint
                .parent
                .seen
                .insert(part.name().to_owned(), plan.seen.clone());
            blueprint.parts.push(PlannedPart {
                name: part.name().to_owned(),
                layer: part.layer().to_owned(),
                intent,
                after: Vec::new(),
                first,
                count: plan.changes.len() as u32,
                outputs: plan
                    .outputs
                    .iter()
                    .map(|(name, output)| (name.clone(), output.value.clone()))
                    .collect(),
                inputs,
                payload: plan.payload.clone(),
            });
            plans.push(plan);
        }
        Ok((blueprint, plans))
    }

    async fn carry(&self, blueprint: &Blueprint, entries: &[consort_plan::Entry]) -> Carried {
        let parts: Vec<&dyn Part> = self.parts.iter().map(|part| part as &dyn Part).collect();
        carry(
            Carry {
                blueprint,
                parts: &parts,
                entries,
                scratch: &self.root().join("scratch"),
                record: &(),
                watcher: &(),
            },
            &CarryOptions::default(),
        )
        .await
    }

    /// Plans and carries out; gives the plan and what came of it.
    async fn apply(&self, intent: Intent) -> (Blueprint, Carried) {
        let (blueprint, _) = self.plan(intent).await.unwrap();
        let carried = self.carry(&blueprint, &[]).await;
        // Each operation has a directory of its own.
        let _ = std::fs::remove_dir_all(self.root().join("scratch"));
        (blueprint, carried)
    }
}

fn change<'b>(blueprint: &'b Blueprint, address: &str) -> &'b Change {
    blueprint
        .changes
        .iter()
        .find(|change| change.address.as_str() == address)
        .unwrap_or_else(|| panic!("no {address} in {:#?}", blueprint.changes))
}

fn state(score: &Score, part: &str) -> serde_json::Value {
    let path = score.root().join(part).join("terraform.tfstate");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

const GIVER: &str = r#"
resource "terraform_data" "one" {
  input = "x"
}
output "id" {
  value = terraform_data.one.id
}
output "known" {
  value = "fixed"
}
output "secret" {
  value     = sensitive(terraform_data.one.id)
  sensitive = true
}
"#;

const TAKER: &str = r#"
variable "peer" {
  type = string
  validation {
    condition     = length(var.peer) > 3
    error_message = "Too short."
  }
}
variable "secret" {
  type = string
}
locals {
  text = "peer ${var.peer}"
}
resource "terraform_data" "two" {
  input = { text = local.text, path = path.module, file = file("${path.module}/note.txt") }
}
resource "terraform_data" "hidden" {
  input = var.secret
}
output "text" {
  value = terraform_data.two.output.text
}
"#;

fn pair() -> Score {
    Score::new(&[
        ("giver/main.tf", GIVER),
        ("taker/main.tf", TAKER),
        ("taker/note.txt", "a note"),
    ])
    .part("giver", &[])
    .part(
        "taker",
        &[("peer", from("giver.id")), ("secret", from("giver.secret"))],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_part_makes_is_unknown_in_the_plan_of_another_and_known_when_it_is_carried_out() {
    let score = pair();
    let (blueprint, plans) = score.plan(Intent::Apply).await.unwrap();
    let two = change(&blueprint, "taker/terraform_data.two");
    assert_eq!(two.action, Action::Create);
    let after = two.after.as_ref().unwrap();
    assert_eq!(after.value["input"]["file"], "a note");
    assert_eq!(after.value["input"]["path"], ".");
    let unknown = after
        .unknown
        .iter()
        .find(|unknown| unknown.at == "/input/text")
        .unwrap();
    assert_eq!(unknown.kind, "string");
    assert_eq!(
        unknown.from.as_ref().unwrap().as_str(),
        "giver/terraform_data.one"
    );
    let location = two.location.as_ref().unwrap();
    assert_eq!(location.to_string(), "taker/main.tf:15");
    let hidden = change(&blueprint, "taker/terraform_data.hidden");
    assert_eq!(hidden.after.as_ref().unwrap().sensitive, ["/input"]);
    let takes: Vec<_> = plans[1]
        .takes
        .iter()
        .map(|(place, name)| (plans[1].changes[*place as usize].address.local(), &**name))
        .collect();
    assert!(takes.contains(&("terraform_data.two", "peer")), "{takes:?}");
    assert!(
        takes.contains(&("terraform_data.hidden", "secret")),
        "{takes:?}"
    );
    assert_eq!(plans[0].outputs["id"].from, [0]);
    assert_eq!(
        plans[1].document.as_ref().unwrap()["resource_changes"][0]["address"],
        "terraform_data.hidden"
    );

    let carried = score.carry(&blueprint, &[]).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    let id = carried.outputs["giver"]["id"].value.clone();
    let text = format!("peer {}", id.as_str().unwrap());
    assert_eq!(carried.outputs["taker"]["text"].value, json!(text));
    assert!(!carried.outputs["giver"]["secret"].sensitive.is_empty());
    assert_eq!(state(&score, "taker")["serial"], 1);

    // Nothing is left to do.
    std::fs::remove_dir_all(score.root().join("scratch")).unwrap();
    let (again, _) = score.plan(Intent::Apply).await.unwrap();
    assert!(again.is_empty(), "{:#?}", again.changes);
    assert!(again.changes.iter().all(|change| change.before.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_fails_the_variable_s_rules_fails_what_uses_it_and_nothing_else() {
    let score = Score::new(&[
        (
            "giver/main.tf",
            "resource \"terraform_data\" \"one\" {\n  input = \"x\"\n}\noutput \"short\" {\n  value = terraform_data.one.output\n}\n",
        ),
        (
            "taker/main.tf",
            r#"
variable "peer" {
  type = string
  validation {
    condition     = length(var.peer) > 3
    error_message = "Too short."
  }
}
resource "terraform_data" "uses" {
  input = var.peer
}
resource "terraform_data" "free" {
  input = "free"
}
"#,
        ),
    ])
    .part("giver", &[])
    .part("taker", &[("peer", from("giver.short"))]);
    let (blueprint, carried) = score.apply(Intent::Apply).await;
    assert_eq!(carried.phase, Phase::Failed);
    assert!(
        carried
            .problems
            .iter()
            .any(|problem| problem.detail.contains("Too short.")
                && problem.location.as_ref().unwrap().to_string() == "taker/main.tf:2"),
        "{:#?}",
        carried.problems
    );
    let end = |address: &str| {
        let place = blueprint
            .changes
            .iter()
            .position(|change| change.address.as_str() == address);
        carried.ends[place.unwrap()]
    };
    assert_eq!(
        end("giver/terraform_data.one"),
        consort_plan::carry::End::Done
    );
    assert_eq!(
        end("taker/terraform_data.free"),
        consort_plan::carry::End::Done
    );
    assert_eq!(
        end("taker/terraform_data.uses"),
        consort_plan::carry::End::Skipped
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_destroyed_again_and_the_state_is_empty() {
    let score = pair();
    let (_, carried) = score.apply(Intent::Apply).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    let (blueprint, carried) = score.apply(Intent::Destroy).await;
    assert!(
        blueprint
            .changes
            .iter()
            .all(|change| change.action == Action::Delete)
    );
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    assert_eq!(state(&score, "giver")["resources"], json!([]));
    assert_eq!(state(&score, "taker")["resources"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_file_and_the_line_within_the_score() {
    let score = Score::new(&[(
        "infra/main.tf",
        "resource \"terraform_data\" \"a\" {\n  input = local.missing\n}\n",
    )])
    .part("infra", &[]);
    let problems = score.plan(Intent::Apply).await.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(
        problems[0].location.as_ref().unwrap().to_string(),
        "infra/main.tf:2"
    );
    assert!(problems[0].summary.contains("undeclared"), "{problems:#?}");

    let score = Score::new(&[("infra/main.tf", "variable \"a\" {\n  type = number\n}\n")]).part(
        "infra",
        &[
            ("a", Feed::Literal(json!("x"))),
            ("b", Feed::Literal(json!(1))),
        ],
    );
    let problems = score.plan(Intent::Apply).await.unwrap_err();
    let summaries: Vec<_> = problems.iter().map(|problem| &*problem.summary).collect();
    assert_eq!(
        summaries,
        [
            "the value does not fit the variable \"a\"",
            "infra declares no variable \"b\""
        ]
    );

    let score = Score::new(&[]).part("infra", &[]);
    let problems = score.plan(Intent::Apply).await.unwrap_err();
    assert_eq!(problems[0].summary, "infra is no directory");
    assert_eq!(
        problems[0].location.as_ref().unwrap().to_string(),
        "consort.yaml:5"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_are_tied_in_linear_space() {
    let score = Score::new(&[(
        "infra/main.tf",
        r#"
resource "terraform_data" "a" {
  count = 30
  input = count.index
}
locals {
  all = terraform_data.a[*].output
}
resource "terraform_data" "b" {
  count = 20
  input = terraform_data.a[count.index].output
}
resource "terraform_data" "c" {
  count = 10
  input = local.all
}
resource "terraform_data" "one" {
  input = terraform_data.a[7].output
}
"#,
    )])
    .part("infra", &[]);
    let (blueprint, plans) = score.plan(Intent::Apply).await.unwrap();
    let plan = &plans[0];
    let joints: Vec<_> = plan
        .joints
        .iter()
        .map(|joint| {
            (
                &*joint.label,
                joint.dependents.len(),
                joint.dependencies.len(),
            )
        })
        .collect();
    assert_eq!(
        joints,
        [
            ("infra.terraform_data.a", 20, 30),
            ("infra.local.all", 10, 30)
        ]
    );
    let pairs: Vec<_> = plan
        .edges
        .iter()
        .map(|edge| {
            (
                plan.changes[edge.dependent as usize].address.local(),
                plan.changes[edge.dependency as usize].address.local(),
            )
        })
        .collect();
    assert_eq!(pairs, [("terraform_data.one", "terraform_data.a[7]")]);
    // Nothing comes before what it depends on.
    let place = |name: &str| {
        blueprint
            .changes
            .iter()
            .position(|change| change.address.local() == name)
            .unwrap()
    };
    assert!(place("terraform_data.a[29]") < place("terraform_data.b[0]"));
    assert!(place("terraform_data.a[29]") < place("terraform_data.c[0]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_renamed_moved_replaced_or_gone_is_said() {
    let score = Score::new(&[(
        "infra/main.tf",
        r#"
resource "terraform_data" "old" {
  input = "a"
}
resource "terraform_data" "replaced" {
  triggers_replace = "one"
}
resource "terraform_data" "gone" {
  input = "b"
}
resource "terraform_data" "many" {
  count = 2
}
"#,
    )])
    .part("infra", &[]);
    let (_, carried) = score.apply(Intent::Apply).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    write(
        &score.root(),
        "infra/main.tf",
        r#"
moved {
  from = terraform_data.old
  to   = terraform_data.new
}
resource "terraform_data" "new" {
  input = "a"
}
resource "terraform_data" "replaced" {
  triggers_replace = "two"
}
resource "terraform_data" "many" {
  count = 1
}
"#,
    );
    let (blueprint, carried) = score.apply(Intent::Apply).await;
    let new = change(&blueprint, "infra/terraform_data.new");
    assert_eq!(new.action, Action::NoOp);
    assert_eq!(
        new.moved_from.as_ref().unwrap().as_str(),
        "infra/terraform_data.old"
    );
    let replaced = change(&blueprint, "infra/terraform_data.replaced");
    assert_eq!(replaced.action, Action::DeleteThenCreate);
    assert_eq!(replaced.replaces, ["/triggers_replace"]);
    assert_eq!(
        replaced.reasons,
        ["cannot be changed in place: triggers_replace"]
    );
    let gone = change(&blueprint, "infra/terraform_data.gone");
    assert_eq!(gone.action, Action::Delete);
    assert_eq!(gone.reasons, ["not in the source any more"]);
    assert!(gone.location.is_none());
    let many = change(&blueprint, "infra/terraform_data.many[1]");
    assert_eq!(many.reasons, ["its index is beyond count"]);
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    let (again, _) = score.plan(Intent::Apply).await.unwrap();
    assert!(again.is_empty(), "{:#?}", again.changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_somebody_else_changed_is_seen_before_and_refused_while_a_plan_is_carried_out()
{
    let score = Score::new(&[(
        "infra/main.tf",
        "resource \"terraform_data\" \"a\" {\n  input = \"a\"\n}\n",
    )])
    .part("infra", &[]);
    let (first, _) = score.plan(Intent::Apply).await.unwrap();
    let part = &score.parts[0];
    assert!(
        part.moved(&first.parent.seen["infra"])
            .await
            .unwrap()
            .is_empty()
    );
    let (_, carried) = score.apply(Intent::Apply).await;
    assert_eq!(carried.phase, Phase::Succeeded);
    let moved = part.moved(&first.parent.seen["infra"]).await.unwrap();
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].what, "state of infra");
    assert_eq!(moved[0].how, "made by somebody else");
    let carried = score.carry(&first, &[]).await;
    assert_eq!(carried.phase, Phase::Failed);
    assert!(
        carried.problems[0]
            .summary
            .contains("another than the plan was made from"),
        "{:#?}",
        carried.problems
    );
}
