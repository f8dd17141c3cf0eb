//! The planner over parts made for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use consort_plan::{
    Action, Address, Call, Carrier, Change, Edge, Input, Location, Moved, Order, Output, Part,
    PartEdge, PartPlan, Planned, Request, Reversal, Seen,
};
use serde_json::json;

use super::*;
use crate::Definition;

/// A part whose resources are said in a line each: `name` or `name<other` (needs the other), and that gives and takes.
struct Fixture {
    name: &'static str,
    resources: Vec<&'static str>,
    /// Input name, part, output, the resource that uses it.
    takes: Vec<(&'static str, &'static str, &'static str, usize)>,
    gives: Vec<(&'static str, Planned, Vec<u32>)>,
}

impl Part for Fixture {
    fn name(&self) -> &str {
        self.name
    }

    fn layer(&self) -> &'static str {
        "fixture"
    }

    fn inputs(&self) -> Vec<Input> {
        self.takes
            .iter()
            .zip(1..)
            .map(|((name, part, output, _), line)| Input {
                name: (*name).to_owned(),
                part: (*part).to_owned(),
                output: (*output).to_owned(),
                location: Location {
                    file: format!("{}.yaml", self.name),
                    line,
                },
            })
            .collect()
    }

    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(async move {
            let names: Vec<&str> = self
                .resources
                .iter()
                .map(|text| text.split('<').next().unwrap_or_default())
                .collect();
            let changes = names
                .iter()
                .enumerate()
                .map(|(place, name)| Change {
                    address: Address::new(self.name, name),
                    kind: "thing".to_owned(),
                    action: Action::Create,
                    before: None,
                    after: self
                        .takes
                        .iter()
                        .find(|take| take.3 == place)
                        .and_then(|take| request.inputs.get(take.0).cloned())
                        .or_else(|| Some(Planned::known(json!(name)))),
                    replaces: Vec::new(),
                    reasons: Vec::new(),
                    moved_from: None,
                    drift: Vec::new(),
                    reversal: Reversal::Reversible,
                    location: None,
                })
                .collect();
            let edges = self
                .resources
                .iter()
                .zip(0..)
                .filter_map(|(text, dependent)| {
                    let needed = text.split_once('<')?.1;
                    let dependency = names.iter().position(|name| *name == needed)?;
                    Some(PartEdge {
                        dependent,
                        dependency: dependency as u32,
                        edge: Edge::Value,
                    })
                })
                .collect();
            Ok(PartPlan {
                changes,
                edges,
                takes: self
                    .takes
                    .iter()
                    .map(|take| (take.3 as u32, take.0.to_owned()))
                    .collect(),
                outputs: self
                    .gives
                    .iter()
                    .map(|(name, value, from)| {
                        let output = Output {
                            value: value.clone(),
                            from: from.clone(),
                        };
                        ((*name).to_owned(), output)
                    })
                    .collect(),
                ..PartPlan::default()
            })
        })
    }

    fn moved<'a>(&'a self, _: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn carrier<'a>(
        &'a self,
        _: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(async { Err(vec![plain("not in this test")]) })
    }
}

fn part(name: &'static str, resources: &[&'static str]) -> Fixture {
    Fixture {
        name,
        resources: resources.to_vec(),
        takes: Vec::new(),
        gives: Vec::new(),
    }
}

fn system(parts: Vec<Fixture>, after: &[(&str, &str)]) -> Result<System, Vec<Problem>> {
    let text = "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {name: s}\nspec: {parts: []}\n";
    let mut definition = Definition::parse(std::path::Path::new("."), text).unwrap();
    for (line, part) in (1..).zip(&parts) {
        let location = Location {
            file: "consort.yaml".to_owned(),
            line,
        };
        definition.parts.push(crate::PartDefinition {
            name: part.name.to_owned(),
            layer: crate::Layer::Manifests,
            stanza: json!({}),
            lines: consort_plan::Lines::default(),
            after: after
                .iter()
                .filter(|(name, _)| *name == part.name)
                .map(|(_, other)| ((*other).to_owned(), location.clone()))
                .collect(),
            location,
        });
    }
    let parts = parts
        .into_iter()
        .map(|part| Box::new(part) as Box<dyn Part>)
        .collect();
    System::of_parts(definition, parts, PathBuf::from("/nowhere"))
}

fn options() -> PlanOptions {
    PlanOptions {
        mode: Mode::Apply,
        author: "me".to_owned(),
        source: Source::Revision { revision: 0 },
        parent: 0,
        only: None,
        cancel: CancellationToken::new(),
    }
}

fn edges(blueprint: &Blueprint) -> Vec<String> {
    let name = |place: u32| blueprint.changes[place as usize].address.to_string();
    let mut all: Vec<String> = blueprint
        .edges
        .iter()
        .map(|edge| format!("{} -> {}", name(edge.dependent), name(edge.dependency)))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn unknown_and_sensitive_values_cross_parts_and_edges_go_to_what_tells_them() {
    let mut infra = part("infra", &["net", "db<net"]);
    infra.gives = vec![
        ("url", Planned::unknown("string", None), vec![1]),
        (
            "password",
            Planned::known(json!("p")).into_sensitive(),
            vec![],
        ),
    ];
    let mut app = part("app", &["config", "secret", "web<config"]);
    app.takes = vec![
        ("infra.url", "infra", "url", 0),
        ("infra.password", "infra", "password", 1),
    ];
    // Told in the wrong order on purpose.
    let system = system(vec![app, infra], &[]).unwrap();
    let blueprint = plan(&system, options()).await.unwrap();
    let names: Vec<&str> = blueprint
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    assert_eq!(names, ["infra", "app"]);
    assert_eq!(
        edges(&blueprint),
        [
            "app/config -> infra/db",
            "app/web -> app/config",
            "infra/db -> infra/net"
        ]
    );
    let unknown = &blueprint.changes[2].after.as_ref().unwrap().unknown[0];
    assert_eq!(unknown.kind, "string");
    assert_eq!(unknown.from.as_ref().unwrap().as_str(), "infra/db");
    assert_eq!(
        blueprint.changes[3].after.as_ref().unwrap().sensitive,
        [String::new()]
    );
}

#[tokio::test]
async fn whole_parts_in_order_cost_no_more_than_their_size() {
    let names: Vec<&'static str> = (0..1000)
        .map(|n| &*Box::leak(format!("r{n}").into_boxed_str()))
        .collect();
    let system = system(vec![part("a", &names), part("b", &names)], &[("b", "a")]).unwrap();
    let blueprint = plan(&system, options()).await.unwrap();
    assert!(blueprint.edges.is_empty());
    let joint = &blueprint.joints[0];
    assert_eq!(joint.label, "b after a");
    assert_eq!(
        (joint.dependents.len(), joint.dependencies.len()),
        (1000, 1000)
    );
    assert_eq!(blueprint.parts[1].after, ["a"]);
}

#[test]
fn parts_that_wait_for_each_other_are_named_with_the_places_that_say_so() {
    let mut a = part("a", &["x"]);
    a.takes = vec![("c.out", "c", "out", 0)];
    let mut c = part("c", &["x"]);
    c.takes = vec![("b.out", "b", "out", 0)];
    let problems = system(vec![a, part("b", &["x"]), c, part("d", &[])], &[("b", "a")])
        .err()
        .unwrap();
    assert_eq!(problems.len(), 1);
    let problem = &problems[0];
    assert_eq!(
        problem.summary,
        "parts wait for each other: a -> c -> b -> a"
    );
    assert_eq!(
        problem.detail,
        "a.yaml:1: a takes c.out\nc.yaml:1: c takes b.out\nconsort.yaml:2: b comes after a"
    );
}

#[tokio::test]
async fn a_feed_that_leads_nowhere_is_told_with_its_place_and_what_there_is() {
    let mut app = part("app", &["x"]);
    app.takes = vec![("infr.url", "infr", "url", 0)];
    let problems = system(vec![app, part("infra", &["x"])], &[]).err().unwrap();
    assert_eq!(
        problems[0].summary,
        "app takes infr.url, but no part is named infr"
    );
    assert_eq!(problems[0].hint.as_deref(), Some("did you mean infra?"));
    assert_eq!(
        problems[0].location.as_ref().unwrap().to_string(),
        "app.yaml:1"
    );

    let mut app = part("app", &["x"]);
    app.takes = vec![("infra.ur", "infra", "ur", 0)];
    let mut infra = part("infra", &["x"]);
    infra.gives = vec![("url", Planned::known(json!("u")), vec![0])];
    let system = system(vec![app, infra], &[]).unwrap();
    let problems = plan(&system, options()).await.unwrap_err();
    assert_eq!(
        problems[0].summary,
        "app takes infra.ur, but infra gives no ur"
    );
    assert_eq!(problems[0].hint.as_deref(), Some("did you mean infra.url?"));
}

#[tokio::test]
async fn a_plan_of_some_parts_plans_what_they_take_values_from_too() {
    let mut app = part("app", &["x"]);
    app.takes = vec![("infra.url", "infra", "url", 0)];
    let mut infra = part("infra", &["x"]);
    infra.gives = vec![("url", Planned::known(json!("u")), vec![0])];
    let system = system(vec![app, infra, part("other", &["x"])], &[]).unwrap();
    let only = PlanOptions {
        only: Some(BTreeSet::from(["app".to_owned()])),
        ..options()
    };
    let blueprint = plan(&system, only).await.unwrap();
    let names: Vec<&str> = blueprint
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    assert_eq!(names, ["infra", "app"]);
    let inputs: BTreeMap<_, _> = blueprint.parts[1].inputs.clone();
    assert_eq!(inputs["infra.url"].value, json!("u"));
}
