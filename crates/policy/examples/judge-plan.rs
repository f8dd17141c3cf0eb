//! Judges plans of Terraform as they stand: for comparing verdicts with those of other programs.
//!
//! Reads lines `{"plan": PATH of `terraform show -json`, "files": [PATH of a policy, ...], "version": "v0" or "v1"}`, and writes for
//! each a line with what `judge` says: verdicts, points, or an error.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use consort_plan::{
    Action, Address, BlastRadius, Blueprint, Change, Intent, Mode, Parent, Planned, PlannedPart,
    Reversal, Source,
};
use consort_policy::{PolicyPart, Question, THRESHOLD, Version, judge};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let said = answer(&asked).unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(out, "{said}")?;
    }
    Ok(())
}

fn answer(asked: &Value) -> anyhow::Result<Value> {
    let path = asked["plan"].as_str().unwrap_or_default();
    let document: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let blueprint = blueprint(&document);
    let version = match asked["version"].as_str() {
        Some("v0") => Version::V0,
        _ => Version::V1,
    };
    let mut policies = PolicyPart {
        name: "rules".to_owned(),
        version,
        ..PolicyPart::default()
    };
    for file in asked["files"].as_array().into_iter().flatten() {
        let file = file.as_str().unwrap_or_default();
        let read = PolicyPart::read(
            "rules",
            Path::new("/"),
            file.trim_start_matches('/'),
            version,
        )
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        policies.modules.extend(read.modules);
    }
    let documents = BTreeMap::from([("infra".to_owned(), document)]);
    let question = Question {
        blueprint: &blueprint,
        documents: &documents,
        policies: &[policies],
        threshold: THRESHOLD,
    };
    Ok(match judge(&question) {
        Ok(judgement) => json!({"verdicts": judgement.verdicts, "blast": judgement.blast}),
        Err(problems) => json!({"error": problems}),
    })
}

/// A plan of Terraform as the only part of a plan.
fn blueprint(document: &Value) -> Blueprint {
    let changes: Vec<Change> = document["resource_changes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|change| {
            let words: Vec<&str> = change["change"]["actions"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let action = match words[..] {
                ["create"] => Action::Create,
                ["read"] => Action::Read,
                ["update"] => Action::Update,
                ["delete"] => Action::Delete,
                ["delete", "create"] => Action::DeleteThenCreate,
                ["create", "delete"] => Action::CreateThenDelete,
                ["forget"] => Action::Forget,
                _ => Action::NoOp,
            };
            let side = |name: &str| {
                let value = &change["change"][name];
                (action != Action::NoOp && !value.is_null()).then(|| Planned::known(value.clone()))
            };
            Change {
                address: Address::new("infra", change["address"].as_str().unwrap_or_default()),
                kind: change["type"].as_str().unwrap_or_default().to_owned(),
                action,
                before: side("before"),
                after: side("after"),
                replaces: Vec::new(),
                reasons: Vec::new(),
                moved_from: None,
                drift: Vec::new(),
                reversal: Reversal::Reversible,
                location: None,
            }
        })
        .collect();
    Blueprint {
        format: Blueprint::FORMAT,
        score: "plan".to_owned(),
        mode: Mode::Apply,
        author: "nobody".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH,
        source: Source::Revision { revision: 0 },
        parent: Parent {
            revision: 0,
            seen: BTreeMap::new(),
        },
        parts: vec![PlannedPart {
            name: "infra".to_owned(),
            layer: "terraform".to_owned(),
            intent: Intent::Apply,
            after: Vec::new(),
            first: 0,
            count: changes.len() as u32,
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            payload: Vec::new(),
        }],
        changes,
        edges: Vec::new(),
        joints: Vec::new(),
        verdicts: Vec::new(),
        blast: BlastRadius::default(),
        warnings: Vec::new(),
    }
}
