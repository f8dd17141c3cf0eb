//! What differs from what was applied, told apart by who owns it.
//!
//! Nothing here looks at the world: a plan that heals has found what differs, and who owns the fields. What the source
//! does not describe is in no such plan.

use std::fmt::Write as _;

use consort_plan::{Action, Address, Blueprint, Change, Drift, Owner, Planned};
use serde_json::{Value, json};

use crate::deeds::Deed;
use crate::render::escaped;

/// The longest value in a line.
const VALUE: usize = 60;

/// What has become of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is gone.
    Gone,
    /// Some of it is another.
    Changed,
    /// It is there, and should not be.
    Surplus,
    /// It has to be made anew to be as it was.
    Replaced,
}

impl Kind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Gone => "gone",
            Kind::Changed => "changed",
            Kind::Surplus => "surplus",
            Kind::Replaced => "changed, has to be replaced",
        }
    }
}

/// A resource that is not as it was applied.
#[derive(Clone, PartialEq, Debug)]
pub struct Resource {
    /// Which.
    pub address: Address,
    /// What has become of it; none if all that differs belongs to others.
    pub kind: Option<Kind>,
    /// The fields.
    pub fields: Vec<Drift>,
    /// Who did it, if that is recorded.
    pub by: Option<String>,
}

/// What differs of a score.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The score.
    pub score: String,
    /// The revision it was compared with.
    pub revision: u64,
    /// How many resources were compared.
    pub compared: usize,
    /// Those that differ.
    pub resources: Vec<Resource>,
}

impl Report {
    /// What a plan that heals has found. `deeds` gives what is known about who touched a resource.
    pub fn of(
        blueprint: &Blueprint,
        revision: u64,
        deeds: impl Fn(&Change) -> Option<Deed>,
    ) -> Self {
        let resources = blueprint
            .changes
            .iter()
            .filter_map(|change| resource(change, &deeds))
            .collect();
        Self {
            score: blueprint.score.clone(),
            revision,
            compared: blueprint.changes.len(),
            resources,
        }
    }

    /// Whether something is not as it was applied that nobody else has a claim to.
    pub fn is_drifted(&self) -> bool {
        self.resources
            .iter()
            .any(|resource| resource.kind.is_some())
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let drifted = self.resources.iter().filter(|one| one.kind.is_some());
        let count = drifted.clone().count();
        let _ = match count {
            0 => writeln!(
                text,
                "{}: no drift; {} resources are as revision {} left them",
                self.score, self.compared, self.revision
            ),
            _ => writeln!(
                text,
                "{}: {count} of {} resources differ from revision {}",
                self.score, self.compared, self.revision
            ),
        };
        for resource in drifted {
            let _ = write!(
                text,
                "\n  {} is {}",
                escaped(resource.address.as_str()),
                resource.kind.map_or("", Kind::word)
            );
            if let Some(by) = &resource.by {
                let _ = write!(text, ", {}", escaped(by));
            }
            text.push('\n');
            for field in resource.fields.iter().filter(|field| field.corrected) {
                let _ = writeln!(text, "    {}", line(field));
            }
        }
        let left: Vec<(&Resource, &Drift)> = self
            .resources
            .iter()
            .flat_map(|resource| resource.fields.iter().map(move |field| (resource, field)))
            .filter(|(_, field)| !field.corrected)
            .collect();
        if !left.is_empty() {
            text.push_str("\n  left to others:\n");
            for (resource, field) in left {
                let _ = writeln!(
                    text,
                    "    {} {}",
                    escaped(resource.address.as_str()),
                    line(field)
                );
            }
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let resources: Vec<Value> = self
            .resources
            .iter()
            .map(|resource| {
                let fields: Vec<Value> = resource
                    .fields
                    .iter()
                    .map(|field| {
                        json!({
                            "at": field.at,
                            "wanted": field.wanted.shown(),
                            "found": field.found.shown(),
                            "owner": field.owner,
                            "corrected": field.corrected,
                        })
                    })
                    .collect();
                let mut value = json!({
                    "address": resource.address,
                    "drift": resource.kind.map(|kind| match kind {
                        Kind::Gone => "gone",
                        Kind::Changed => "changed",
                        Kind::Surplus => "surplus",
                        Kind::Replaced => "replaced",
                    }),
                    "fields": fields,
                });
                if let Some(by) = &resource.by {
                    value["by"] = by.clone().into();
                }
                value
            })
            .collect();
        json!({
            "score": self.score,
            "revision": self.revision,
            "compared": self.compared,
            "drifted": self.is_drifted(),
            "resources": resources,
        })
    }
}

fn resource(change: &Change, deeds: &impl Fn(&Change) -> Option<Deed>) -> Option<Resource> {
    let kind = match change.action {
        Action::NoOp | Action::Read | Action::Forget => None,
        Action::Create => Some(Kind::Gone),
        Action::Update => Some(Kind::Changed),
        Action::Delete => Some(Kind::Surplus),
        Action::DeleteThenCreate | Action::CreateThenDelete => Some(Kind::Replaced),
    };
    let fields: Vec<Drift> = change
        .drift
        .iter()
        // What the server fills in where the source says nothing is nobody's drift.
        .filter(|drift| drift.owner != Owner::Default && !drift.at.is_empty())
        .cloned()
        .collect();
    if kind.is_none() && fields.is_empty() {
        return None;
    }
    Some(Resource {
        address: change.address.clone(),
        by: kind.and_then(|_| deeds(change)).map(|deed| deed.text()),
        kind,
        fields,
    })
}

/// A field: `spec.replicas: 2, was applied as 3 (kubectl-edit)`.
fn line(field: &Drift) -> String {
    let owner = match &field.owner {
        Owner::Score => String::new(),
        Owner::Autoscaler(name) => format!(" (autoscaler {})", escaped(name)),
        Owner::Controller(name) => format!(" (controller {})", escaped(name)),
        Owner::Person(name) => format!(" (by a person with {})", escaped(name)),
        Owner::Default => " (filled in by the server)".to_owned(),
        Owner::Outside => " (outside of this server)".to_owned(),
    };
    let path = field
        .at
        .trim_start_matches('/')
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect::<Vec<_>>()
        .join(".");
    format!(
        "{}: {}, applied was {}{owner}",
        escaped(&path),
        value(&field.found),
        value(&field.wanted)
    )
}

fn value(planned: &Planned) -> String {
    let shown = planned.shown();
    let text = match &shown {
        Value::Null => return "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = escaped(&text).to_string();
    if text.chars().count() <= VALUE {
        return text;
    }
    let mut short: String = text.chars().take(VALUE).collect();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_plan::Reversal;

    fn change(local: &str, action: Action, drift: Vec<Drift>) -> Change {
        Change {
            address: Address::new("app", local),
            kind: "apps/v1/Deployment".to_owned(),
            action,
            before: None,
            after: None,
            replaces: Vec::new(),
            reasons: Vec::new(),
            moved_from: None,
            drift,
            reversal: Reversal::Reversible,
            location: None,
        }
    }

    fn drift(at: &str, owner: Owner, corrected: bool) -> Drift {
        Drift {
            at: at.to_owned(),
            wanted: Planned::known(json!(3)),
            found: Planned::known(json!(5)),
            owner,
            corrected,
        }
    }

    #[test]
    fn drift_is_told_by_who_owns_it_and_what_others_own_is_none() {
        let changes = [
            change("apps/v1/Deployment/shop/gone", Action::Create, vec![]),
            change(
                "apps/v1/Deployment/shop/edited",
                Action::Update,
                vec![
                    drift(
                        "/spec/paused",
                        Owner::Person("kubectl-edit".to_owned()),
                        true,
                    ),
                    drift("/metadata/annotations/a~1b", Owner::Score, true),
                ],
            ),
            change(
                "apps/v1/Deployment/shop/scaled",
                Action::NoOp,
                vec![drift(
                    "/spec/replicas",
                    Owner::Autoscaler("web".to_owned()),
                    false,
                )],
            ),
            change(
                "apps/v1/Deployment/shop/same",
                Action::NoOp,
                vec![drift("/spec/x", Owner::Default, false)],
            ),
        ];
        let resources = changes
            .iter()
            .filter_map(|change| resource(change, &|_: &Change| None))
            .collect();
        let report = Report {
            score: "shop".to_owned(),
            revision: 4,
            compared: 4,
            resources,
        };
        assert!(report.is_drifted());
        assert_eq!(
            report.text(),
            "shop: 2 of 4 resources differ from revision 4\n\
             \n  app/apps/v1/Deployment/shop/gone is gone\n\
             \n  app/apps/v1/Deployment/shop/edited is changed\n    \
             spec.paused: 5, applied was 3 (by a person with kubectl-edit)\n    \
             metadata.annotations.a/b: 5, applied was 3\n\
             \n  left to others:\n    \
             app/apps/v1/Deployment/shop/scaled spec.replicas: 5, applied was 3 (autoscaler web)\n"
        );
        let left = Report {
            resources: report.resources[2..].to_vec(),
            ..report
        };
        assert!(!left.is_drifted());
    }
}
