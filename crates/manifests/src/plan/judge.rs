//! What the answer about one object means for the plan.

use std::collections::HashMap;

use consort_plan::{Action, Planned, Problem, Reversal, Unknown};
use serde_json::Value;

use super::{Joining, Open, Planning, is_secret};
use crate::dry_run::{After, Outcome, translated};
use crate::identity::{Key, text};
use crate::live;
use crate::objects::{PART, Wanted, configuration_at, sensitive_by_kind};
use crate::payload::{Item, Work};
use crate::reversal;
use crate::seen;
use crate::server::Failure;
use crate::shared;

impl Joining<'_> {
    pub(super) fn same(&self, wanted: &Wanted, drift: Vec<consort_plan::Drift>) -> Planning {
        Planning {
            key: wanted.key.clone(),
            kind: wanted.kind.clone(),
            action: Action::NoOp,
            before: None,
            after: None,
            replaces: Vec::new(),
            reasons: Vec::new(),
            drift,
            reversal: Reversal::Reversible,
            location: Some(wanted.location(&self.part.lines)),
            item: None,
            seen: None,
        }
    }

    /// What an outcome means; none if it is a problem, which is told then.
    pub(super) fn judged(&mut self, one: &Open, outcome: Outcome) -> Option<Planning> {
        let wanted = &self.objects.all[one.at];
        let effective = one.effective.as_deref().unwrap_or(&wanted.value);
        let secret = is_secret(&wanted.key);
        let drift = one
            .foreign
            .iter()
            .filter_map(|foreign| {
                let left = live::is_left(one.effective.as_deref(), foreign);
                foreign.drift(secret, !left)
            })
            .collect();
        let mut planning = self.same(wanted, drift);
        let live_uid = one
            .live
            .as_ref()
            .map(|live| text(live, &["metadata", "uid"]).to_owned())
            .filter(|uid| !uid.is_empty());
        let mut unasked_because = None;
        let (action, before, after) = match outcome {
            Outcome::Create {
                after,
                going,
                unasked,
            } => {
                if going {
                    planning
                        .reasons
                        .push("the one that is there is being deleted".to_owned());
                }
                unasked_because = unasked;
                (Action::Create, None, after)
            }
            Outcome::Update {
                before,
                after,
                claims,
                gives_up,
                unasked,
                ..
            } => {
                unasked_because = unasked;
                let same = *before == after.value && after.unknown.is_empty();
                if same && claims.is_empty() && gives_up.is_empty() {
                    return Some(planning);
                }
                if same {
                    planning.reasons.push(ownership_reason(&claims, &gives_up));
                }
                let part = before["metadata"]["labels"][PART].as_str();
                match part {
                    Some(part) if part != self.part.name => {
                        planning.reasons.push(format!("it was of the part {part}"));
                    }
                    None if live::is_first(&before) => planning
                        .reasons
                        .push("it is there, and of no score yet".to_owned()),
                    _ => {}
                }
                (Action::Update, Some(*before), after)
            }
            Outcome::Replace {
                before,
                after,
                fields,
                ..
            } => {
                planning.replaces = fields;
                (Action::DeleteThenCreate, Some(*before), after)
            }
            Outcome::Foreign { score, part } => {
                self.problems.push(Problem {
                    address: Some(self.address(&wanted.key, &wanted.kind)),
                    location: Some(wanted.location(&self.part.lines)),
                    detail: format!(
                        "Its labels say that it is of the part {part} of the score {score}."
                    ),
                    hint: Some(
                        "take it out of one of the two, or take its labels consort.dev/score and consort.dev/part away"
                            .to_owned(),
                    ),
                    ..self
                        .part
                        .problem(format!("{} belongs to the score {score}", wanted.key))
                });
                return None;
            }
            Outcome::Refused(failure) => {
                self.refused(wanted, &failure);
                return None;
            }
            Outcome::Invalid(faults) => {
                for (field, said) in faults {
                    self.problems.push(Problem {
                        address: Some(self.address(&wanted.key, &wanted.kind)),
                        location: Some(self.part.place_of(wanted, &field)),
                        detail: said,
                        ..self.part.problem(format!("{} is invalid", wanted.key))
                    });
                }
                return None;
            }
        };
        if let Some(failure) = unasked_because {
            self.warnings.push(Problem {
                address: Some(self.address(&wanted.key, &wanted.kind)),
                location: Some(wanted.location(&self.part.lines)),
                transient: false,
                ..failure.problem(
                    &self.part.name,
                    format!(
                        "the server could not be asked about {} beforehand",
                        wanted.key
                    ),
                )
            });
        }
        planning.action = action;
        planning.seen = seen::version(effective, one.live.as_ref(), action);
        planning.reversal = reversal::of(&wanted.key, action, before.as_ref(), Some(&after.value));
        planning.before = before.map(|before| planned(wanted, effective, before, Vec::new()));
        planning.after = Some(planned_after(wanted, effective, after));
        planning.item = Some(Item {
            change: 0,
            work: if action.is_replace() {
                Work::Replace
            } else {
                Work::Apply
            },
            key: wanted.key.clone(),
            kind: (*wanted.kind).clone(),
            uid: live_uid.filter(|_| action.is_replace()),
            value: effective.clone(),
            fills: wanted.fills.clone(),
            takes: wanted.takes.clone(),
            configuration: if wanted.unknown_configuration {
                wanted.configuration.clone()
            } else {
                Vec::new()
            },
        });
        Some(planning)
    }

    /// The server's refusal, with the line of every field it names.
    fn refused(&mut self, wanted: &Wanted, failure: &Failure) {
        let address = self.address(&wanted.key, &wanted.kind);
        let base = failure.problem(&self.part.name, format!("{} is refused", wanted.key));
        let causes = failure.causes();
        let told = if failure.is_about_the_object() && !causes.is_empty() {
            causes
        } else {
            vec![(String::new(), base.detail.clone())]
        };
        let single = told.len() == 1;
        for (field, said) in told.into_iter().take(50) {
            let detail = if single {
                base.detail.clone()
            } else {
                format!("{field}: {said}")
            };
            self.problems.push(Problem {
                address: Some(address.clone()),
                location: Some(self.part.place_of(wanted, &field)),
                detail,
                transient: false,
                ..base.clone()
            });
        }
    }

    /// Says which workloads roll because of their configuration.
    pub(super) fn roll(&mut self) {
        let mut moving: HashMap<&Key, String> = HashMap::new();
        for (at, planning) in self.plans.iter().enumerate() {
            let wanted = &self.objects.all[at];
            if planning.action.changes() && planning.action != Action::Create {
                moving.insert(&wanted.key, wanted.local());
            }
        }
        let at = configuration_at();
        for (place, planning) in self.plans.iter_mut().enumerate() {
            let wanted = &self.objects.all[place];
            if planning.action != Action::Update || wanted.configuration.is_empty() {
                continue;
            }
            let (Some(before), Some(after)) = (&planning.before, &planning.after) else {
                continue;
            };
            let noted = before.value.pointer(&at);
            if noted.is_none() || noted == after.value.pointer(&at) {
                continue;
            }
            let because: Vec<String> = wanted
                .configuration
                .iter()
                .filter_map(|used| match &used.input {
                    Some(input) => {
                        let changes = self.inputs.get(input).is_some_and(shared::changes);
                        changes.then(|| input.replacen('.', "/", 1))
                    }
                    None => moving.get(&used.key).cloned(),
                })
                .map(|object| format!("rolls: {object} changes"))
                .collect();
            if because.is_empty() {
                planning.reasons.push(
                    "rolls: its configuration is another than its pods started with".to_owned(),
                );
            } else {
                planning.reasons.extend(because);
            }
        }
    }
}

fn ownership_reason(claims: &[String], gives_up: &[String]) -> String {
    let listed = |fields: &[String]| {
        let mut text = fields
            .iter()
            .take(3)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        if fields.len() > 3 {
            text.push_str(", ...");
        }
        text
    };
    if claims.is_empty() {
        format!("looks no longer after {}", listed(gives_up))
    } else {
        format!("looks after {} from now on", listed(claims))
    }
}

fn planned(wanted: &Wanted, effective: &Value, value: Value, unknown: Vec<Unknown>) -> Planned {
    let mut sensitive = sensitive_by_kind(&wanted.key, &value);
    for at in &wanted.sensitive {
        if let Some(at) = translated(at, effective, &value) {
            sensitive.push(at);
        }
    }
    sensitive.sort();
    sensitive.dedup();
    Planned {
        value,
        unknown,
        sensitive,
    }
}

fn planned_after(wanted: &Wanted, effective: &Value, after: After) -> Planned {
    planned(wanted, effective, after.value, after.unknown)
}
