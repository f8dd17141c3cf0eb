//! Terraform directories as parts of one plan, planned and carried out over the built-in provider.

mod interrupted;
#[path = "../steps/memory.rs"]
#[allow(
    dead_code,
    reason = "what only the steps of the engine alone need of it"
)]
mod memory;
mod score;

use consort_plan::carry::End;
use consort_plan::{Action, Feed, Intent, Part, Phase};
use serde_json::json;

use score::{Score, change, from, state, write};

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
    // What is made of the feed alone has its origin, and no other place.
    for unknown in &after.unknown {
        assert_eq!(
            unknown.from.is_some(),
            unknown.at == "/input/text",
            "{unknown:?}"
        );
    }
    let hidden = change(&blueprint, "taker/terraform_data.hidden");
    assert_eq!(
        hidden.after.as_ref().unwrap().sensitive,
        ["/input", "/output"]
    );
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
    std::fs::remove_dir_all(score.scratch()).unwrap();
    let (again, _) = score.plan(Intent::Apply).await.unwrap();
    assert!(again.is_empty(), "{:#?}", again.changes);
    assert!(again.changes.iter().all(|change| change.before.is_none()));
    // Carried out all the same it gives what there is, and touches nothing.
    let carried = score.carry(&again, &[]).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    assert_eq!(carried.outputs["taker"]["text"].value, json!(text));
    assert_eq!(state(&score, "taker")["serial"], 1);
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
    assert_eq!(end("giver/terraform_data.one"), End::Done);
    assert_eq!(end("taker/terraform_data.free"), End::Done);
    assert_eq!(end("taker/terraform_data.uses"), End::Skipped);
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
