//! The plan of a part: what is wanted against what is there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use consort_plan::{
    Action, Address, Change, Intent, Output, PartPlan, Planned, Problem, Request, Reversal,
    Unknown, below,
};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::dry_run::{After, Outcome, Question, translated};
use crate::field::Field;
use crate::identity::{Key, Named, text};
use crate::kinds::{Kind, Kinds};
use crate::live::{self, Against, Found, Orphan, Present};
use crate::objects::{
    Making, Objects, Origin, PART, Wanted, configuration_at, content_digest, sensitive_by_kind,
    shown,
};
use crate::order::{self, Uses};
use crate::part::Manifests;
use crate::payload::{Given, Item, Payload, Work};
use crate::reversal;
use crate::seen;
use crate::server::{Failure, Server};
use crate::source::{self, Fault};
use crate::target::{self, Reach};

/// How many objects are asked about at once.
const QUESTIONS: usize = 16;

/// One resource of the plan, before it has its place.
struct Planning {
    key: Key,
    kind: Arc<Kind>,
    action: Action,
    before: Option<Planned>,
    after: Option<Planned>,
    replaces: Vec<String>,
    reasons: Vec<String>,
    drift: Vec<consort_plan::Drift>,
    reversal: Reversal,
    location: Option<consort_plan::Location>,
    /// What is carried out, if anything is.
    item: Option<Item>,
    seen: Option<String>,
}

/// Plans a part.
pub(crate) async fn plan(part: &Manifests, request: Request<'_>) -> Result<PartPlan, Vec<Problem>> {
    let cancel = request.cancel.clone();
    let planning = async {
        match request.intent {
            Intent::Apply => apply(part, &request).await,
            Intent::Destroy => destroy(part, &request).await,
        }
    };
    match cancel.run_until_cancelled(planning).await {
        Some(plan) => plan,
        None => Err(vec![part.problem("the plan was ended early".to_owned())]),
    }
}

async fn reach(part: &Manifests, request: &Request<'_>) -> Result<Reach, Vec<Problem>> {
    target::reach(
        part.spec.target.as_ref(),
        part.client.as_ref(),
        request.inputs,
        &part.directory,
    )
    .await
    .map_err(|wrong| {
        vec![Problem {
            location: Some(part.lines.at("/target/kubeconfig")),
            ..part.problem(wrong)
        }]
    })
}

async fn discovered(part: &Manifests, server: &Server) -> Result<Kinds, Vec<Problem>> {
    Kinds::discover(server).await.map_err(|failure| {
        vec![failure.problem(
            &part.name,
            "the server cannot be asked for its kinds".to_owned(),
        )]
    })
}

async fn apply(part: &Manifests, request: &Request<'_>) -> Result<PartPlan, Vec<Problem>> {
    let reach = reach(part, request).await?;
    let (directory, paths) = (part.directory.clone(), part.spec.path.clone());
    let stanza = part.lines.at("/path");
    let reading = tokio::task::spawn_blocking(move || source::read(&directory, &paths, &stanza));
    let kinds = async {
        match &reach {
            Reach::There(server) => discovered(part, server).await.map(Some),
            Reach::ToCome => Ok(None),
        }
    };
    let (sources, kinds) = tokio::join!(reading, kinds);
    let mut kinds = kinds?;
    let sources = sources.map_err(|error| vec![part.problem(error.to_string())])?;
    let mut warnings: Vec<Problem> = sources
        .warnings
        .iter()
        .map(|fault| part.faulty(fault))
        .collect();
    let mut problems: Vec<Problem> = sources
        .faults
        .iter()
        .map(|fault| part.faulty(fault))
        .collect();
    if let Some(kinds) = &mut kinds {
        for document in &sources.documents {
            if document.value["kind"] == "CustomResourceDefinition" {
                kinds.define(&document.value);
            }
        }
    }
    let kinds = kinds.map(Arc::new);
    let making = {
        let (name, score, spec, lines) = (
            part.name.clone(),
            part.score.clone(),
            part.spec.clone(),
            part.lines.clone(),
        );
        let inputs = request.inputs.clone();
        let kinds = kinds.clone();
        tokio::task::spawn_blocking(move || {
            let objects = Making {
                part: &name,
                score: &score,
                spec: &spec,
                lines: &lines,
                inputs: &inputs,
                kinds: kinds.as_deref(),
            }
            .objects(sources.documents);
            let uses = order::edges(
                objects
                    .all
                    .iter()
                    .map(|wanted| (&wanted.key, &wanted.value)),
            );
            (objects, uses)
        })
    };
    let (objects, uses) = making
        .await
        .map_err(|error| vec![part.problem(error.to_string())])?;
    problems.extend(objects.faults.iter().map(|fault| part.faulty(fault)));
    let outputs = match asked_for(part, &objects) {
        Ok(outputs) => outputs,
        Err(wrong) => {
            problems.extend(wrong);
            Vec::new()
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut kept = vec![false; objects.all.len()];
    for (_, at, _) in &outputs {
        kept[*at] = true;
    }
    let against = Arc::new(Against {
        objects,
        ignore: part.spec.ignore_differences.clone(),
        kept,
    });
    let present = match (&reach, &kinds) {
        (Reach::There(server), Some(kinds)) => {
            let listed = to_list(kinds, &against.objects);
            let selector = live::selector(&part.score, &part.name);
            live::compare(server, listed, &selector, &against).await
        }
        _ => Present::default(),
    };
    let mut joint = Joining {
        part,
        objects: &against.objects,
        plans: Vec::new(),
        lives: HashMap::new(),
        problems,
        warnings: std::mem::take(&mut warnings),
    };
    joint.unlisted(&present);
    let orphans = joint.compared(&reach, present).await;
    if !joint.problems.is_empty() {
        return Err(joint.problems);
    }
    joint.roll();
    if let (Reach::There(server), Some(kinds)) = (&reach, &kinds) {
        joint.prune(server, kinds, orphans).await;
    }
    joint.finish(uses, &outputs, request)
}

/// The kinds to be listed: each once, in the version the source has it in.
fn to_list(kinds: &Kinds, objects: &Objects) -> Vec<Arc<Kind>> {
    let mut versions: HashMap<(String, String), &Arc<Kind>> = HashMap::new();
    for wanted in &objects.all {
        if wanted.served {
            versions
                .entry((wanted.kind.group.clone(), wanted.kind.kind.clone()))
                .or_insert(&wanted.kind);
        }
    }
    let mut listed: Vec<Arc<Kind>> = Vec::new();
    for kind in kinds.prunable() {
        let own = versions.get(&(kind.group.clone(), kind.kind.clone()));
        listed.push(own.map_or(kind, |own| (*own).clone()));
    }
    // Those first that have the most to compare.
    let mut count: HashMap<(&str, &str), usize> = HashMap::new();
    for wanted in &objects.all {
        *count
            .entry((&wanted.kind.group, &wanted.kind.kind))
            .or_default() += 1;
    }
    listed.sort_by_key(|kind| {
        std::cmp::Reverse(
            count
                .get(&(kind.group.as_str(), kind.kind.as_str()))
                .copied()
                .unwrap_or(0),
        )
    });
    listed
}

/// The outputs, each with the object and the field it is read from.
type Asked<'a> = Vec<(&'a str, usize, Field)>;

fn asked_for<'a>(part: &'a Manifests, objects: &Objects) -> Result<Asked<'a>, Vec<Problem>> {
    let mut asked = Vec::new();
    let mut problems = Vec::new();
    for (name, output) in &part.spec.outputs {
        let mut wrong = |field: &str, summary: String| {
            let at = format!("{}/{field}", below("/outputs", name));
            problems.push(Problem {
                location: Some(part.lines.at(&at)),
                ..part.problem(summary)
            });
        };
        let (named, field) = match (Named::parse(&output.object), Field::parse(&output.field)) {
            (Ok(named), Ok(field)) => (named, field),
            (Err(what), _) => {
                wrong("object", what);
                continue;
            }
            (_, Err(what)) => {
                wrong("field", what);
                continue;
            }
        };
        let mut found = objects
            .all
            .iter()
            .enumerate()
            .filter(|(_, wanted)| named.is(&wanted.key, &wanted.kind.version));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => asked.push((name.as_str(), at, field)),
            (None, _) => wrong("object", format!("the part has no {}", output.object)),
            (Some(_), Some(_)) => wrong(
                "object",
                format!("{} may be any of several objects", output.object),
            ),
        }
    }
    if problems.is_empty() {
        Ok(asked)
    } else {
        Err(problems)
    }
}

/// What is known of the objects, on the way to a plan.
struct Joining<'a> {
    part: &'a Manifests,
    objects: &'a Objects,
    /// By object of the source, and behind them what is deleted.
    plans: Vec<Planning>,
    /// Objects as they are, for outputs.
    lives: HashMap<usize, Value>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// An object that is asked about.
struct Open {
    at: usize,
    live: Option<Value>,
    effective: Option<Box<Value>>,
    foreign: Vec<crate::ownership::Foreign>,
}

impl Joining<'_> {
    fn address(&self, key: &Key, kind: &Kind) -> Address {
        Address::new(&self.part.name, &key.local(&kind.version))
    }

    /// Kinds that could not be listed: those of the source stop the plan, others are told.
    fn unlisted(&mut self, present: &Present) {
        let own: HashSet<(&str, &str)> = self
            .objects
            .all
            .iter()
            .map(|wanted| (wanted.kind.group.as_str(), wanted.kind.kind.as_str()))
            .collect();
        let mut others = Vec::new();
        for (kind, failure) in &present.unlisted {
            if own.contains(&(kind.group.as_str(), kind.kind.as_str())) && failure.code() != 403 {
                let summary = format!("objects of {} cannot be listed", kind.title());
                self.problems
                    .push(failure.problem(&self.part.name, summary));
            } else if failure.code() != 404 && failure.code() != 405 {
                others.push((kind.title(), failure));
            }
        }
        if let Some((_, failure)) = others.first() {
            let names: Vec<&str> = others.iter().map(|(title, _)| title.as_str()).collect();
            let summary = format!("not looked for what is left over of {}", names.join(", "));
            self.warnings
                .push(failure.problem(&self.part.name, summary));
        }
    }

    /// Judges every object of the source; gives what is left over.
    async fn compared(&mut self, reach: &Reach, present: Present) -> Vec<Orphan> {
        let count = self.objects.all.len();
        let mut found: Vec<Option<Found>> = (0..count).map(|_| None).collect();
        for (at, one) in present.found {
            found[at] = Some(one);
        }
        let mut plans: Vec<Option<Planning>> = (0..count).map(|_| None).collect();
        let mut open = Vec::new();
        let mut inhabited: HashSet<&str> = HashSet::new();
        for (at, one) in found.into_iter().enumerate() {
            let wanted = &self.objects.all[at];
            if one.is_some() {
                inhabited.insert(&wanted.key.namespace);
            }
            match one {
                Some(Found::Same { left, live }) => {
                    let sensitive = is_secret(&wanted.key);
                    let drift = left
                        .iter()
                        .filter_map(|one| one.drift(sensitive, false))
                        .collect();
                    plans[at] = Some(self.same(wanted, drift));
                    if let Some(live) = live {
                        self.lives.insert(at, *live);
                    }
                }
                Some(Found::Differs {
                    live,
                    effective,
                    foreign,
                }) => open.push(Open {
                    at,
                    live: Some(*live),
                    effective,
                    foreign,
                }),
                None => open.push(Open {
                    at,
                    live: None,
                    effective: None,
                    foreign: Vec::new(),
                }),
            }
        }
        let Reach::There(server) = reach else {
            for one in open {
                let wanted = &self.objects.all[one.at];
                let unknown = self.unknown(one.at);
                let question = Question {
                    wanted,
                    effective: &wanted.value,
                    unknown: &unknown,
                    live: None,
                    homeless: false,
                    score: &self.part.score,
                };
                let outcome = question.by_hand(None, None);
                plans[one.at] = self.judged(&one, outcome);
            }
            self.plans = plans.into_iter().flatten().collect();
            return Vec::new();
        };
        let homeless = self.homeless(server, &open, &inhabited).await;
        let unknowns: Vec<Vec<Unknown>> = open.iter().map(|one| self.unknown(one.at)).collect();
        let objects = self.objects;
        let score = self.part.score.as_str();
        let asked = &open;
        let ask = |at: usize| {
            let one: &Open = &asked[at];
            let wanted = &objects.all[one.at];
            let question = Question {
                wanted,
                effective: one.effective.as_deref().unwrap_or(&wanted.value),
                unknown: &unknowns[at],
                live: one.live.clone(),
                homeless: homeless.contains(wanted.key.namespace.as_str()),
                score,
            };
            async move { question.ask(server).await }
        };
        let outcomes: Vec<Outcome> = stream::iter(0..asked.len())
            .map(ask)
            .buffered(QUESTIONS)
            .collect()
            .await;
        let outcomes: Vec<(Open, Outcome)> = open
            .into_iter()
            .zip(outcomes)
            .map(|(mut one, outcome)| {
                if one.live.is_none()
                    && let Outcome::Update { live, .. } | Outcome::Replace { live, .. } = &outcome
                {
                    one.live.clone_from(live);
                }
                (one, outcome)
            })
            .collect();
        // What is refused may only be so because something it stands on is not there yet.
        let moving: HashSet<usize> = outcomes
            .iter()
            .filter(|(_, outcome)| !is_idle(outcome))
            .map(|(one, _)| one.at)
            .collect();
        for ((one, outcome), unknown) in outcomes.into_iter().zip(&unknowns) {
            let outcome = self.unless_unready(&one, outcome, unknown, &moving);
            if let Some(planning) = self.judged(&one, outcome) {
                if let Some(live) = one.live {
                    self.lives.insert(one.at, live);
                }
                plans[one.at] = Some(planning);
            }
        }
        self.plans = plans.into_iter().flatten().collect();
        present.orphans
    }

    fn unknown(&self, at: usize) -> Vec<Unknown> {
        let wanted = &self.objects.all[at];
        let from = wanted.configuration.iter().find_map(|key| {
            let config = &self.objects.all[*self.objects.by_key.get(key)?];
            config.unknown().into_iter().find_map(|one| one.from)
        });
        wanted.all_unknown(from)
    }

    /// The namespaces that are not there yet. One that no object of the part makes is a problem.
    async fn homeless(
        &mut self,
        server: &Server,
        open: &[Open],
        inhabited: &HashSet<&str>,
    ) -> HashSet<String> {
        let asked: BTreeSet<String> = open
            .iter()
            .filter(|one| one.live.is_none())
            .map(|one| self.objects.all[one.at].key.namespace.as_str())
            .filter(|namespace| !namespace.is_empty() && !inhabited.contains(namespace))
            .map(str::to_owned)
            .collect();
        let found: Vec<(String, Result<Option<Value>, Failure>)> = stream::iter(asked)
            .map(|namespace| async move {
                let path = format!("/api/v1/namespaces/{}", crate::server::escaped(&namespace));
                let found = server.get(&path).await;
                (namespace, found)
            })
            .buffered(QUESTIONS)
            .collect()
            .await;
        let mut homeless = HashSet::new();
        for (namespace, found) in found {
            // Who may not read it finds out by the dry runs.
            if !matches!(found, Ok(None)) {
                continue;
            }
            let made = Key::new("", "Namespace", "", &namespace);
            if !self.objects.by_key.contains_key(&made) {
                let first = self
                    .objects
                    .all
                    .iter()
                    .find(|wanted| wanted.key.namespace == namespace);
                if let Some(wanted) = first {
                    self.problems.push(Problem {
                        address: Some(self.address(&wanted.key, &wanted.kind)),
                        location: Some(self.part.place_of(wanted, "metadata.namespace")),
                        hint: Some(
                            "add it to the part (kind: Namespace), or make it first".to_owned(),
                        ),
                        ..self
                            .part
                            .problem(format!("there is no namespace {namespace}"))
                    });
                }
            }
            homeless.insert(namespace);
        }
        homeless
    }

    /// A refusal that may be gone once the rest of the plan is carried out is a warning.
    fn unless_unready(
        &mut self,
        one: &Open,
        outcome: Outcome,
        unknown: &[Unknown],
        moving: &HashSet<usize>,
    ) -> Outcome {
        let Outcome::Refused(failure) = outcome else {
            return outcome;
        };
        let wanted = &self.objects.all[one.at];
        let stands_on_moving = || {
            crate::references::references(&wanted.key, &wanted.value)
                .iter()
                .filter_map(|reference| self.objects.by_key.get(&reference.to))
                .any(|at| moving.contains(at))
        };
        let undecided = failure.is_not_yet()
            || failure.to_string().contains("does not support dry run")
            || matches!(failure.code(), 403 | 404 | 500 | 503) && stands_on_moving();
        if !undecided {
            return Outcome::Refused(failure);
        }
        let question = Question {
            wanted,
            effective: one.effective.as_deref().unwrap_or(&wanted.value),
            unknown,
            live: None,
            homeless: false,
            score: &self.part.score,
        };
        question.by_hand(one.live.clone(), Some(failure))
    }

    fn same(&self, wanted: &Wanted, drift: Vec<consort_plan::Drift>) -> Planning {
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
    fn judged(&mut self, one: &Open, outcome: Outcome) -> Option<Planning> {
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
        planning.before = before.map(|before| self.planned(wanted, effective, before, Vec::new()));
        planning.after = Some(self.planned_after(wanted, effective, after));
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
        let told = if matches!(failure.code(), 400 | 422 | 500) && !causes.is_empty() {
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

    fn planned(
        &self,
        wanted: &Wanted,
        effective: &Value,
        value: Value,
        unknown: Vec<Unknown>,
    ) -> Planned {
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

    fn planned_after(&self, wanted: &Wanted, effective: &Value, after: After) -> Planned {
        self.planned(wanted, effective, after.value, after.unknown)
    }

    /// Says which workloads roll because of their configuration.
    fn roll(&mut self) {
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
                .filter_map(|key| moving.get(key))
                .map(|local| format!("rolls: {local} changes"))
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

    /// Plans what is left over to go.
    async fn prune(&mut self, server: &Server, kinds: &Kinds, mut orphans: Vec<Orphan>) {
        orphans.sort_by(|one, other| one.key.cmp(&other.key));
        if !self.part.spec.prune {
            if !orphans.is_empty() {
                let names: Vec<String> = orphans
                    .iter()
                    .take(5)
                    .map(|orphan| orphan.key.to_string())
                    .collect();
                let more = if orphans.len() > 5 { ", ..." } else { "" };
                self.warnings.push(self.part.problem(format!(
                    "{} no longer in the source stay, because prune is off: {}{more}",
                    counted(orphans.len()),
                    names.join(", "),
                )));
            }
            return;
        }
        for orphan in orphans {
            let mut planning = deletion(orphan, Some("not in the source any more"));
            reversal::contents(server, kinds, &planning.key, &mut planning.reasons).await;
            self.plans.push(planning);
        }
    }

    fn finish(
        self,
        mut uses: Vec<Uses>,
        outputs: &Asked<'_>,
        request: &Request<'_>,
    ) -> Result<PartPlan, Vec<Problem>> {
        let wanted = self.objects.all.len();
        // What goes may have been used until now by what stays, and uses what stays.
        if self.plans.len() > wanted {
            let all: Vec<(&Key, &Value)> = self
                .plans
                .iter()
                .enumerate()
                .map(|(at, planning)| {
                    let value = match &planning.before {
                        Some(before) => &before.value,
                        None => &self.objects.all[at].value,
                    };
                    (&planning.key, value)
                })
                .collect();
            let before = order::edges(all.iter().copied());
            uses.extend(
                before
                    .into_iter()
                    .filter(|edge| edge.dependent >= wanted || edge.dependency >= wanted),
            );
        }
        let mut digests = BTreeMap::new();
        for item in self
            .plans
            .iter()
            .filter_map(|planning| planning.item.as_ref())
        {
            for key in &item.configuration {
                let Some(at) = self.objects.by_key.get(key) else {
                    continue;
                };
                let config = &self.objects.all[*at];
                if config.fills.is_empty() {
                    digests.insert(config.local(), content_digest(&config.key, &config.value));
                }
            }
        }
        assemble(
            self.part,
            self.plans,
            uses,
            self.warnings,
            |place_of, items| {
                given(
                    self.part,
                    self.objects,
                    &self.lives,
                    outputs,
                    place_of,
                    items,
                )
            },
            digests,
            |at| {
                let mut takes: Vec<String> = Vec::new();
                if let Some(wanted) = self.objects.all.get(at) {
                    takes.extend(wanted.fills.iter().map(|fill| fill.input.clone()));
                }
                takes
            },
            request,
        )
    }
}

fn is_idle(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Update { before, after, .. } => {
            **before == after.value && after.unknown.is_empty()
        }
        // What is refused is not made either, and what stands on it is not the better for it.
        _ => false,
    }
}

fn is_secret(key: &Key) -> bool {
    key.group.is_empty() && key.kind == "Secret"
}

fn counted(count: usize) -> String {
    if count == 1 {
        "one object that is".to_owned()
    } else {
        format!("{count} objects that are")
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

/// The deletion of an object that is there.
fn deletion(orphan: Orphan, reason: Option<&str>) -> Planning {
    let uid = text(&orphan.live, &["metadata", "uid"]).to_owned();
    let seen = seen::version(&Value::Null, Some(&orphan.live), Action::Delete);
    let before = shown(orphan.live);
    let sensitive = sensitive_by_kind(&orphan.key, &before);
    let reversal = reversal::of(&orphan.key, Action::Delete, Some(&before), None);
    Planning {
        item: Some(Item {
            change: 0,
            work: Work::Delete,
            key: orphan.key.clone(),
            kind: (*orphan.kind).clone(),
            uid: Some(uid),
            value: Value::Null,
            fills: Vec::new(),
            configuration: Vec::new(),
        }),
        key: orphan.key,
        kind: orphan.kind,
        action: Action::Delete,
        before: Some(Planned {
            value: before,
            unknown: Vec::new(),
            sensitive,
        }),
        after: None,
        replaces: Vec::new(),
        reasons: reason.map(str::to_owned).into_iter().collect(),
        drift: Vec::new(),
        reversal,
        location: None,
        seen,
    }
}

async fn destroy(part: &Manifests, request: &Request<'_>) -> Result<PartPlan, Vec<Problem>> {
    let Reach::There(server) = reach(part, request).await? else {
        // A cluster that is not known any more has nothing to be deleted one by one.
        return Ok(PartPlan {
            warnings: vec![part.problem(
                "its cluster is not known, so its objects are left to go with it".to_owned(),
            )],
            ..PartPlan::default()
        });
    };
    let kinds = discovered(part, &server).await?;
    let against = Arc::new(Against {
        objects: Objects::default(),
        ignore: Vec::new(),
        kept: Vec::new(),
    });
    let selector = live::selector(&part.score, &part.name);
    let present = live::compare(&server, kinds.prunable(), &selector, &against).await;
    let mut warnings = Vec::new();
    for (kind, failure) in &present.unlisted {
        if !matches!(failure.code(), 403..=405) {
            let summary = format!("objects of {} cannot be listed", kind.title());
            return Err(vec![failure.problem(&part.name, summary)]);
        }
        if failure.code() == 403 {
            let summary = format!("objects of {} are not looked for", kind.title());
            warnings.push(failure.problem(&part.name, summary));
        }
    }
    let mut orphans = present.orphans;
    orphans.sort_by(|one, other| one.key.cmp(&other.key));
    let mut plans = Vec::with_capacity(orphans.len());
    for orphan in orphans {
        let mut planning = deletion(orphan, None);
        reversal::contents(&server, &kinds, &planning.key, &mut planning.reasons).await;
        plans.push(planning);
    }
    let uses = order::edges(
        plans
            .iter()
            .filter_map(|planning| {
                let before = planning.before.as_ref()?;
                Some((&planning.key, &before.value))
            })
            .collect::<Vec<_>>()
            .into_iter(),
    );
    assemble(
        part,
        plans,
        uses,
        warnings,
        |_, _| (BTreeMap::new(), BTreeMap::new()),
        BTreeMap::new(),
        |_| Vec::new(),
        request,
    )
}

type Outputs = (BTreeMap<String, Output>, BTreeMap<String, Given>);

/// Brings all into order: the plan, and what is carried out.
#[allow(clippy::too_many_arguments)]
fn assemble(
    part: &Manifests,
    plans: Vec<Planning>,
    uses: Vec<Uses>,
    warnings: Vec<Problem>,
    outputs: impl FnOnce(&[u32], &[Option<u32>]) -> Outputs,
    digests: BTreeMap<String, String>,
    takes_of: impl Fn(usize) -> Vec<String>,
    request: &Request<'_>,
) -> Result<PartPlan, Vec<Problem>> {
    let count = plans.len();
    let (order, uses) = order::arranged(count, uses).map_err(|cycles| {
        cycles
            .iter()
            .map(|cycle| {
                let names: Vec<String> = cycle
                    .iter()
                    .map(|at| plans[*at].key.local(&plans[*at].kind.version))
                    .collect();
                let first = &plans[cycle[0]];
                Problem {
                    location: first.location.clone(),
                    detail: names.join(" -> "),
                    ..part.problem("objects wait for each other in a circle".to_owned())
                }
            })
            .collect::<Vec<_>>()
    })?;
    let mut place_of = vec![0_u32; count];
    for (place, at) in order.iter().enumerate() {
        place_of[*at] = place as u32;
    }
    let actions: Vec<Action> = plans.iter().map(|planning| planning.action).collect();
    let mut item_of: Vec<Option<u32>> = vec![None; count];
    let mut plan = PartPlan {
        edges: order::placed(&uses, &place_of),
        warnings,
        ..PartPlan::default()
    };
    let mut payload = Payload {
        digests,
        ..Payload::default()
    };
    let target = target::input(part.spec.target.as_ref()).map(str::to_owned);
    let mut plans: Vec<Option<Planning>> = plans.into_iter().map(Some).collect();
    for (place, at) in order.iter().enumerate() {
        let Some(planning) = plans[*at].take() else {
            continue;
        };
        let address = Address::new(&part.name, &planning.key.local(&planning.kind.version));
        if let Some(version) = planning.seen {
            plan.seen.push(consort_plan::Seen {
                what: address.local().to_owned(),
                version,
            });
        }
        let mut takes = takes_of(*at);
        if planning.action.changes() && request.intent == Intent::Apply {
            takes.extend(target.clone());
        }
        takes.sort();
        takes.dedup();
        plan.takes
            .extend(takes.into_iter().map(|input| (place as u32, input)));
        if let Some(mut item) = planning.item {
            item.change = place as u32;
            item_of[*at] = Some(payload.items.len() as u32);
            payload.items.push(item);
        }
        plan.changes.push(Change {
            address,
            kind: planning.kind.title(),
            action: planning.action,
            before: planning.before,
            after: planning.after,
            replaces: planning.replaces,
            reasons: planning.reasons,
            moved_from: None,
            drift: planning.drift,
            reversal: planning.reversal,
            location: planning.location,
        });
    }
    payload.waits = waits(&uses, &order, &actions, &item_of);
    (plan.outputs, payload.outputs) = outputs(&place_of, &item_of);
    plan.payload = payload.to_bytes();
    Ok(plan)
}

/// What waits for what while it is carried out: what is made for what it uses, also by way of what stays as it is;
/// what goes for what used it.
fn waits(
    uses: &[Uses],
    order: &[usize],
    actions: &[Action],
    item_of: &[Option<u32>],
) -> Vec<(u32, u32)> {
    let mut used_by: Vec<Vec<usize>> = vec![Vec::new(); actions.len()];
    for edge in uses {
        used_by[edge.dependent].push(edge.dependency);
    }
    // What stays as it is passes on what it would wait for.
    let mut behind: HashMap<usize, Vec<u32>> = HashMap::new();
    let mut all = HashSet::new();
    for at in order {
        match item_of[*at] {
            None => {
                let mut passed: BTreeSet<u32> = BTreeSet::new();
                for dependency in &used_by[*at] {
                    match item_of[*dependency] {
                        Some(item) if actions[*dependency] != Action::Delete => {
                            passed.insert(item);
                        }
                        Some(_) => {}
                        None => passed.extend(behind.get(dependency).into_iter().flatten()),
                    }
                }
                if !passed.is_empty() {
                    behind.insert(*at, passed.into_iter().collect());
                }
            }
            Some(item) => {
                for dependency in &used_by[*at] {
                    let goes = actions[*at] == Action::Delete;
                    match item_of[*dependency] {
                        Some(other) if actions[*dependency] == Action::Delete => {
                            all.insert((other, item));
                        }
                        Some(other) if !goes => {
                            all.insert((item, other));
                        }
                        Some(_) => {}
                        None if !goes => {
                            let passed = behind.get(dependency).into_iter().flatten();
                            all.extend(passed.map(|other| (item, *other)));
                        }
                        None => {}
                    }
                }
            }
        }
    }
    let mut all: Vec<(u32, u32)> = all.into_iter().collect();
    all.sort_unstable();
    all
}

/// The outputs, as far as they are known, and how they are told when they are.
fn given(
    part: &Manifests,
    objects: &Objects,
    lives: &HashMap<usize, Value>,
    asked: &Asked<'_>,
    place_of: &[u32],
    item_of: &[Option<u32>],
) -> Outputs {
    let mut outputs = BTreeMap::new();
    let mut told = BTreeMap::new();
    for (name, at, field) in asked {
        let wanted = &objects.all[*at];
        let live = lives.get(at);
        let said = read(&wanted.key, field, &wanted.value).filter(|_| {
            // A default or a value of another part may stand there later.
            wanted.fills.is_empty() && !wanted.unknown_configuration
        });
        let status = field.first() == "status";
        let value = match (item_of[*at], live) {
            (None, Some(live)) => read(&wanted.key, field, live),
            (Some(_), Some(live)) if !status => {
                said.or_else(|| read(&wanted.key, field, live).filter(|_| is_kept(wanted, field)))
            }
            _ => said,
        };
        let kind = part
            .spec
            .outputs
            .get(*name)
            .and_then(|output| output.kind.clone());
        let value = value.unwrap_or_else(|| {
            let like = live.and_then(|live| read(&wanted.key, field, live));
            let kind = kind.unwrap_or_else(|| type_of(wanted, field, like.as_ref()));
            let from = Address::new(&part.name, &wanted.local());
            Planned::unknown(kind, Some(from))
        });
        let item = item_of[*at];
        told.insert(
            (*name).to_owned(),
            match item {
                Some(item) => Given::Read {
                    item,
                    field: field.as_str().to_owned(),
                },
                None => Given::Known(value.clone()),
            },
        );
        outputs.insert(
            (*name).to_owned(),
            Output {
                value,
                from: vec![place_of[*at]],
            },
        );
    }
    (outputs, told)
}

/// Whether the field of an object that is changed stays what it is: what servers give once and for all.
fn is_kept(wanted: &Wanted, field: &Field) -> bool {
    wanted.key.group.is_empty()
        && wanted.key.kind == "Service"
        && field.as_str().starts_with("spec.clusterIP")
        || field.as_str() == "metadata.uid"
}

/// The value of a field, with the entries of a `Secret` as text where they are asked for so.
pub(crate) fn read(key: &Key, field: &Field, object: &Value) -> Option<Planned> {
    if is_secret(key) {
        if field.first() == "stringData" {
            let name = field.second_of_two()?;
            let encoded = object.pointer(&below("/data", name))?.as_str()?;
            let bytes =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            return Some(Planned::known(Value::from(text)).into_sensitive());
        }
        let (_, value) = field.find(object)?;
        let planned = Planned::known(value.clone());
        return Some(if field.first() == "data" {
            planned.into_sensitive()
        } else {
            planned
        });
    }
    let (_, value) = field.find(object)?;
    (!value.is_null()).then(|| Planned::known(value.clone()))
}

/// The type of a value that is not known, in Terraform's notation.
fn type_of(wanted: &Wanted, field: &Field, like: Option<&Planned>) -> String {
    let text = field.as_str();
    let kind = match like.map(|like| &like.value) {
        Some(Value::String(_)) => "string",
        Some(Value::Number(_)) => "number",
        Some(Value::Bool(_)) => "bool",
        _ if is_secret(&wanted.key) => "string",
        _ if text.ends_with("clusterIP")
            || text.ends_with(".ip")
            || text.ends_with("hostname")
            || text.starts_with("metadata.") && !text.ends_with('s') =>
        {
            "string"
        }
        _ if text.ends_with("odePort") || text.ends_with("eplicas") => "number",
        _ => "dynamic",
    };
    kind.to_owned()
}

impl Manifests {
    /// A problem of the part as a whole.
    pub(crate) fn problem(&self, summary: String) -> Problem {
        Problem {
            part: self.name.clone(),
            location: Some(self.lines.at("")),
            summary,
            ..Problem::default()
        }
    }

    pub(crate) fn faulty(&self, fault: &Fault) -> Problem {
        Problem {
            location: Some(fault.location.clone()),
            hint: fault.hint.clone(),
            ..self.problem(fault.summary.clone())
        }
    }

    /// Where a field of an object stands.
    fn place_of(&self, wanted: &Wanted, field: &str) -> consort_plan::Location {
        match &wanted.origin {
            Origin::File(place) if !field.is_empty() => place.field(&self.directory, field),
            Origin::File(place) => place.location(),
            Origin::Stanza(pointer) => self.lines.at(pointer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_plan::Edge;

    #[test]
    fn what_goes_waits_for_what_used_it_and_what_stays_passes_waiting_on() {
        let uses = |pairs: &[(usize, usize)]| {
            pairs
                .iter()
                .map(|(dependent, dependency)| Uses {
                    dependent: *dependent,
                    dependency: *dependency,
                    edge: Edge::Value,
                })
                .collect::<Vec<_>>()
        };
        // 3 uses 2, which stays and uses 1; 3 used 4, which goes; 4 stood on 0, which goes as well.
        let edges = uses(&[(3, 2), (2, 1), (3, 4), (4, 0)]);
        let actions = [
            Action::Delete,
            Action::Create,
            Action::NoOp,
            Action::Update,
            Action::Delete,
        ];
        let (order, edges) = order::arranged(5, edges).unwrap();
        let items = [Some(0), Some(1), None, Some(3), Some(4)];
        assert_eq!(
            waits(&edges, &order, &actions, &items),
            [(0, 4), (3, 1), (4, 3)]
        );
    }
}
