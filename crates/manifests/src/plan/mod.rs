//! The plan of a part: what is wanted against what is there.

mod assemble;
mod judge;
mod outputs;

pub(crate) use outputs::read;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use consort_plan::{
    Action, Address, Intent, PartPlan, Planned, Problem, Request, Reversal, Unknown,
};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;

use self::assemble::assemble;
use self::outputs::{Asked, asked_for, given, shared_by};
use crate::dry_run::{Outcome, Question};
use crate::identity::{Key, text};
use crate::kinds::{Kind, Kinds};
use crate::live::{self, Against, Found, Orphan, Present};
use crate::objects::{Making, Objects, Origin, Wanted, content_digest, sensitive_by_kind, shown};
use crate::order::{self, Uses};
use crate::part::Manifests;
use crate::payload::{Item, Work};
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
    let read = part.sources.lock().take();
    let reading = tokio::task::spawn_blocking(move || {
        read.unwrap_or_else(|| source::read(&directory, &paths, &stanza))
    });
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
        let shared = part.shared.takes.clone();
        tokio::task::spawn_blocking(move || {
            let objects = Making {
                part: &name,
                score: &score,
                spec: &spec,
                lines: &lines,
                inputs: &inputs,
                kinds: kinds.as_deref(),
                shared: &shared,
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
        inputs: request.inputs,
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

/// What is known of the objects, on the way to a plan.
struct Joining<'a> {
    part: &'a Manifests,
    objects: &'a Objects,
    inputs: &'a BTreeMap<String, Planned>,
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
        let from = wanted.configuration.iter().find_map(|used| {
            let unknown = match &used.input {
                Some(input) => self.inputs.get(input)?.unknown.clone(),
                None => self.objects.all[*self.objects.by_key.get(&used.key)?].unknown(),
            };
            unknown.into_iter().find_map(|one| one.from)
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
            || matches!(failure.code(), 403 | 404 | 500 | 503)
                && !failure.is_about_the_object()
                && stands_on_moving();
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
            for used in &item.configuration {
                let Some(at) = self.objects.by_key.get(&used.key) else {
                    continue;
                };
                let config = &self.objects.all[*at];
                if config.fills.is_empty() {
                    digests.insert(config.local(), content_digest(&config.key, &config.value));
                }
            }
        }
        let shared = shared_by(self.part, self.objects, &self.plans);
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
                    &shared,
                    place_of,
                    items,
                )
            },
            digests,
            |at| {
                let mut takes: Vec<String> = Vec::new();
                if let Some(wanted) = self.objects.all.get(at) {
                    takes.extend(wanted.takes.iter().cloned());
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
            takes: Vec::new(),
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
