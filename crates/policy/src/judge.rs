//! What policies say of a blueprint, and how far it reaches.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use consort_plan::{
    Action, Address, BlastRadius, Blueprint, Change, Location, Points, Problem, Verdict,
};
use serde_json::Value;

use crate::engine::{Engine, Error};
use crate::facets::{Facets, Shown, Telling};
use crate::points::{self, Load, Standing};
use crate::rules::{self, Said};
use crate::sources::PolicyPart;
use crate::worth::{Judge, Judged};

/// What is asked of policies.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The plan, whole but for its verdicts and its points.
    pub blueprint: &'a Blueprint,
    /// By part, its plan in the form existing policies expect ([`consort_plan::PartPlan::document`]).
    pub documents: &'a BTreeMap<String, Value>,
    /// The policies.
    pub policies: &'a [PolicyPart],
    /// More points than this need an approval.
    pub threshold: u32,
}

/// What policies say of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// What they deny and warn of.
    pub verdicts: Vec<Verdict>,
    /// How far it reaches.
    pub blast: BlastRadius,
}

/// The points above which an approval is needed, where the score says nothing.
pub const THRESHOLD: u32 = 49;

/// Judges a plan: evaluates the policies, and counts the points of what is changed. No sensitive value reaches a
/// policy or a verdict.
///
/// It takes a processor for as long as the policies take; do not call it on a reactor's thread.
///
/// # Errors
/// Policies that are no Rego or cannot be evaluated: what could not be judged is not allowed.
pub fn judge(question: &Question<'_>) -> Result<Judgement, Vec<Problem>> {
    let said = rules::ask(question)?;
    let blast = blast(question, &said).map_err(|error| vec![problem(&error, "")])?;
    Ok(Judgement {
        verdicts: said.verdicts,
        blast,
    })
}

/// An error of a policy as a problem of its part.
pub(crate) fn problem(error: &Error, part: &str) -> Problem {
    Problem {
        part: part.to_owned(),
        address: None,
        location: error.file.as_ref().map(|file| Location {
            file: file.clone(),
            line: error.line,
        }),
        summary: format!("the policy cannot be evaluated: {}", error.message),
        detail: String::new(),
        hint: error.hint.clone(),
        transient: false,
    }
}

/// Whether anything is lost by it, or a rule might say so.
fn counts(change: &Change) -> bool {
    change.action.changes()
}

fn blast(question: &Question<'_>, said: &Said) -> Result<BlastRadius, Error> {
    let blueprint = question.blueprint;
    let engines: Vec<Engine> = said.worth_engines.clone();
    let mut judge = Judge::new(engines)?;
    let wanted = judge.wanted.clone();
    let mut counted = Counted::new(question, Telling::new(blueprint, &wanted), said);
    let changed: Vec<u32> = (0_u32..)
        .zip(&blueprint.changes)
        .filter(|(_, change)| counts(change))
        .map(|(place, _)| place)
        .collect();
    counted.judge(&mut judge, &changed)?;
    let standing = Standing::of(blueprint, &judge.passing);
    let starts = changed
        .iter()
        .copied()
        .filter(|place| counted.loads[*place as usize].down > 0);
    let reached = standing.reached(starts);
    let below: Vec<u32> = reached
        .iter()
        .copied()
        .filter(|place| {
            blueprint
                .changes
                .get(*place as usize)
                .is_some_and(|change| !counts(change) && change.action != Action::Read)
        })
        .collect();
    counted.judge(&mut judge, &below)?;
    let down = standing.downstream(&reached, &counted.loads);
    let mut blast = BlastRadius {
        threshold: question.threshold,
        ..BlastRadius::default()
    };
    let reaching = changed
        .into_iter()
        .map(|place| counted.points(place, down.of(place)))
        .collect();
    for points in counted.once_a_host(reaching) {
        if points.points > 0 {
            blast.total = blast.total.saturating_add(points.points);
            blast.each.push(points);
        }
    }
    said.settle(&mut blast);
    Ok(blast)
}

/// What is known of the resources' worth so far.
struct Counted<'a, 'q> {
    question: &'a Question<'q>,
    telling: Telling<'a>,
    said: &'a Said,
    loads: Vec<Load>,
    judged: Vec<Judged>,
    /// By change, its place in `judged`; [`u32::MAX`] as long as it was not judged.
    class: Vec<u32>,
    /// By part, where in its document each resource stands.
    present: HashMap<&'a str, HashMap<&'a str, &'a Value>>,
    score: Vec<&'a str>,
}

impl<'a, 'q> Counted<'a, 'q> {
    fn new(question: &'a Question<'q>, telling: Telling<'a>, said: &'a Said) -> Self {
        let joined = question.blueprint.changes.len() + question.blueprint.joints.len();
        let score = telling.words(&question.blueprint.score);
        Counted {
            question,
            telling,
            said,
            loads: vec![Load::NOTHING; joined],
            judged: Vec::new(),
            class: vec![u32::MAX; question.blueprint.changes.len()],
            present: HashMap::new(),
            score,
        }
    }

    /// Finds out what some resources are worth: each class of those that are alike once.
    fn judge(&mut self, judge: &mut Judge, places: &[u32]) -> Result<(), Error> {
        let mut known: HashMap<Facets<'a>, u32> = HashMap::new();
        let mut classes: Vec<Facets<'a>> = Vec::new();
        let first = self.judged.len() as u32;
        // Members of a pool mostly are alike, and so is what stands beside each other: those need no looking up.
        let mut recent = vec![u32::MAX; self.telling.pools() + 1];
        for place in places {
            let present = self.present(*place);
            let facets = self.telling.facets(*place, present.as_ref());
            let pool = self.telling.pool(*place).map(|(pool, _)| pool);
            let recent = &mut recent[pool.map_or(0, |pool| pool as usize + 1)];
            let alike = classes.get(recent.wrapping_sub(first) as usize);
            let class = if alike == Some(&facets) {
                *recent
            } else {
                let next = first + classes.len() as u32;
                *known.entry(facets).or_insert_with_key(|facets| {
                    classes.push(facets.clone());
                    next
                })
            };
            *recent = class;
            self.class[*place as usize] = class;
        }
        self.judged.extend(judge.judge(&classes, &self.score)?);
        for place in places {
            let change = &self.question.blueprint.changes[*place as usize];
            let judged = &self.judged[self.class[*place as usize] as usize];
            let pool = self.telling.pool(*place).map(|(pool, _)| pool);
            let there = change.action != Action::Create;
            let said = self.said.worth_of(&change.address);
            let worth = said.as_ref().map_or(judged.worth, |said| said.worth);
            let mut load = Load::new(worth, judged.own, judged.down, there);
            if let Some(pool) = pool.filter(|_| said.is_none()) {
                load = load.in_pool(pool, judged.whole);
            }
            self.loads[*place as usize] = load;
        }
        Ok(())
    }

    /// What a resource that stays as it is looks like, if its part's own document tells.
    fn present(&mut self, place: u32) -> Option<Shown<'a>> {
        let change = &self.question.blueprint.changes[place as usize];
        if change.before.is_some() || change.after.is_some() {
            return None;
        }
        let part = change.address.part();
        let document = self.question.documents.get(part)?;
        let there = self.present.entry(part).or_insert_with(|| {
            let list = document.get("resource_changes").and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(|change| {
                    Some((change.get("address")?.as_str()?, change.get("change")?))
                })
                .collect()
        });
        let change = there.get(change.address.local())?;
        let mask = change.get("before_sensitive").unwrap_or(&Value::Null);
        let mut sensitive = Vec::new();
        sensitive_places(mask, String::new(), &mut sensitive);
        Some(Shown {
            value: change.get("before")?,
            sensitive: Cow::Owned(sensitive),
        })
    }

    /// What tasks do to a host does not add up: it is lost at most once. The one that reaches farthest stands for all.
    fn once_a_host(&self, reaching: Vec<(u32, Points)>) -> Vec<Points> {
        let mut hosts: HashMap<&str, (usize, u32)> = HashMap::new();
        let mut kept: Vec<(u32, Option<Points>)> = Vec::with_capacity(reaching.len());
        for (exact, points) in reaching {
            let place = kept.len();
            let address = &self.question.blueprint.changes[points.change as usize].address;
            let on_host = self.telling.layer(points.change) == "playbook";
            // What a rule says counts as it says it.
            let before = if on_host && !self.said.corrects(address) {
                let host =
                    &address.as_str()[..address.part().len() + 1 + address.before_key().len()];
                let (most, tasks) = hosts.entry(host).or_insert((place, 0));
                *tasks += u32::from(points.points > 0);
                (*most != place).then_some(most)
            } else {
                None
            };
            let mut points = Some(points);
            if let Some(most) = before {
                let (known, known_points) = &mut kept[*most];
                let reach = |points: &Option<Points>| points.as_ref().map_or(0, |it| it.points);
                if (reach(&points), exact) > (reach(known_points), *known) {
                    *known_points = None;
                    *most = place;
                } else {
                    points = None;
                }
            }
            kept.push((exact, points));
        }
        for (host, (most, tasks)) in hosts {
            if let Some((_, Some(points))) = kept.get_mut(most)
                && tasks > 1
            {
                let host = host.split_once('/').map_or(host, |(_, host)| host);
                points.because = format!("{}; the most of {tasks} on {host}", points.because);
            }
        }
        kept.into_iter().filter_map(|(_, points)| points).collect()
    }

    /// The points of a change, and what it reaches in thousandths of one.
    fn points(&self, place: u32, down: Option<(u32, u32)>) -> (u32, Points) {
        let load = &self.loads[place as usize];
        let judged = &self.judged[self.class[place as usize] as usize];
        let address = &self.question.blueprint.changes[place as usize].address;
        let own = load.lost;
        let below = down.map_or(0, |(points, _)| {
            u32::try_from(u64::from(points) * u64::from(load.down) / 1_000).unwrap_or(u32::MAX)
        });
        let mut points = Points {
            change: place,
            points: points::whole(own.max(below)),
            because: String::new(),
            downstream: None,
        };
        let said = self.said.worth_of(address);
        points.because = match (down, &said) {
            (Some((_, witness)), _) if below > own => {
                let address = &self.question.blueprint.changes[witness as usize].address;
                points.downstream = Some(address.clone());
                let what = self
                    .class
                    .get(witness as usize)
                    .and_then(|class| self.judged.get(*class as usize))
                    .map_or("", |judged| &judged.what);
                format!(
                    "{}, on which {address} stands ({what}): {} of what it is worth",
                    judged.how,
                    percent(load.down)
                )
            }
            (_, Some(said)) => {
                format!(
                    "{} as {} says x {} {}",
                    tenths(said.worth),
                    said.rule,
                    judged.how,
                    percent(judged.own)
                )
            }
            _ => format!(
                "{} {} x {} {}",
                judged.what,
                tenths(judged.worth),
                judged.how,
                percent(judged.own)
            ),
        };
        self.said.correct(address, &mut points);
        (own.max(below), points)
    }
}

fn percent(thousandths: u32) -> String {
    format!("{}%", thousandths / 10)
}

/// Thousandths as points with at most one digit behind the point.
fn tenths(thousandths: u32) -> String {
    let tenths = thousandths.div_ceil(100);
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// The places that a mask of Terraform's marks.
fn sensitive_places(mask: &Value, at: String, places: &mut Vec<String>) {
    match mask {
        Value::Bool(true) => places.push(at),
        Value::Object(fields) => {
            for (field, mask) in fields {
                sensitive_places(mask, consort_plan::below(&at, field), places);
            }
        }
        Value::Array(items) => {
            for (index, mask) in items.iter().enumerate() {
                sensitive_places(mask, consort_plan::below(&at, &index.to_string()), places);
            }
        }
        _ => {}
    }
}

/// Addresses by the name that a policy may call them.
pub(crate) struct Names<'a> {
    full: HashMap<&'a str, &'a Address>,
    local: HashMap<&'a str, &'a Address>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(blueprint: &'a Blueprint) -> Self {
        let addresses = || blueprint.changes.iter().map(|change| &change.address);
        Names {
            full: addresses()
                .map(|address| (address.as_str(), address))
                .collect(),
            local: addresses()
                .map(|address| (address.local(), address))
                .collect(),
        }
    }

    /// The resource of that name: its whole address, or its name within its part.
    pub(crate) fn find(&self, name: &str) -> Option<&'a Address> {
        self.full
            .get(name)
            .or_else(|| self.local.get(name))
            .copied()
    }
}
