//! The plan of a part: a run in check mode that goes on past what it cannot know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use consort_plan::{
    Action, Address, Change, Intent, Output, PartPlan, Planned, Problem, Request, Reversal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Playbooks;
use super::described::{Sides, reversal, sides};
use super::drift;
use super::hosts;
use super::opening::Opened;
use super::outputs::{self, HOSTS};
use super::record::HostRecord;
use super::told::{Deed, Heard, Listener};
use super::undone::{Forgotten, Leftovers, Undo};
use super::values::Hidden;
use crate::executor::Foresight;
use crate::language::{Directive, Playbook};
use crate::output::{Stats, Status};

/// What is carried out of a plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Payload {
    /// Whether the playbooks are run at all.
    pub(super) runs: bool,
    /// The outputs that are known already.
    pub(super) outputs: BTreeMap<String, Planned>,
    /// The outputs that its tasks set.
    pub(super) gives: Vec<String>,
    /// The hosts that could not be asked when it was planned.
    pub(super) waits_for: Vec<String>,
    /// Hosts, or groups of them, of which something was not foreseen.
    pub(super) open: Vec<String>,
    /// What is undone.
    pub(super) undo: Vec<Undo>,
    /// Hosts that are forgotten.
    pub(super) forgotten: Vec<Forgotten>,
}

/// What a run in check mode gave.
pub(super) struct Foreseen {
    pub(super) deeds: Vec<Deed>,
    pub(super) stats: Stats,
    pub(super) warnings: Vec<String>,
    pub(super) foresight: Arc<Foresight>,
}

impl Playbooks {
    /// Plans the part.
    pub(super) async fn planned(&self, request: Request<'_>) -> Result<PartPlan, Vec<Problem>> {
        let records = self.recall().await?;
        if request.intent == Intent::Destroy {
            let mut plan = PartPlan {
                seen: self.seen(&records),
                ..PartPlan::default()
            };
            let mut payload = Payload::default();
            take_in(&mut plan, &mut payload, self.going(&records));
            plan.payload = self.kept(&payload)?;
            return Ok(plan);
        }
        let opened = self.open_aside(request.inputs, None, true)?;
        let playbooks = self.read(&opened)?;
        self.refuse_questions(&playbooks, &opened)?;
        let hidden_before = opened.secrets.hidden();
        let resolved = opened.resolved.clone();
        let hosts_output = hosts::output(&resolved, opened.ready.inventory());
        let unnamed_plays = unnamed_plays(&playbooks, &opened, &self.root);
        let secrets = Arc::clone(&opened.secrets);
        let declared = outputs::declared(&playbooks);
        let inventory: HashSet<String> = opened
            .ready
            .inventory()
            .hosts
            .keys()
            .map(ToString::to_string)
            .collect();
        let by_host: HashMap<&str, &HostRecord> = records
            .iter()
            .map(|record| (record.host.as_str(), record))
            .collect();
        let foreseen = self.foresee(opened, request.cancel).await?;
        let mut hidden = hidden_before;
        hidden.join(&secrets.hidden());

        let mut plan = PartPlan::default();
        let mut payload = Payload::default();
        let failed = self.failures(&foreseen, &hidden);
        if !failed.is_empty() {
            return Err(failed);
        }
        let mut from: HashMap<&str, &[String]> = HashMap::new();
        for host in &resolved.hosts {
            from.insert(&host.given.name, &host.from);
        }
        let variable_inputs: Vec<String> = self.variable_inputs();
        let all_known = request.inputs.values().all(Planned::is_wholly_known);
        let sources = if all_known {
            self.made_of(request.inputs)
        } else {
            String::new()
        };
        let mut moving: HashSet<Arc<str>> = HashSet::new();
        for deed in foreseen.deeds.iter().filter(|deed| deed.counts()) {
            let record = by_host.get(&*deed.host).copied();
            let same = !moving.contains(&deed.host)
                && record.is_some_and(|record| !sources.is_empty() && record.sources == sources);
            let change = self.change(deed, &foreseen.foresight, &hidden, record, same);
            if change.action.changes() {
                moving.insert(Arc::clone(&deed.host));
            }
            if change.action.changes() {
                let place = plan.changes.len() as u32;
                let of_host = from.get(&*deed.host).copied().unwrap_or_default();
                let mut takes: Vec<&String> = of_host.iter().chain(&variable_inputs).collect();
                takes.sort();
                takes.dedup();
                plan.takes
                    .extend(takes.into_iter().map(|input| (place, input.clone())));
            }
            if deed.unforeseen.is_some() {
                payload.open.push(deed.host.to_string());
            }
            plan.changes.push(change);
        }
        for (group, input, play, location) in unnamed_plays {
            let place = plan.changes.len() as u32;
            let local = super::told::local(&format!("{{{group}}}"), &play, 1);
            if plan
                .changes
                .iter()
                .any(|known| known.address.local() == local)
            {
                continue;
            }
            plan.takes.push((place, input.clone()));
            plan.changes.push(Change {
                address: Address::new(&self.name, &local),
                kind: "play".to_owned(),
                action: Action::Create,
                before: None,
                after: Some(Planned::unknown("dynamic", None)),
                replaces: Vec::new(),
                reasons: vec![format!(
                    "the hosts of {group} are known after apply: {input} tells them"
                )],
                moved_from: None,
                drift: Vec::new(),
                reversal: Reversal::Compensable,
                location,
            });
            payload.open.push(group);
        }
        payload.open.sort();
        payload.open.dedup();
        payload.waits_for = resolved
            .hosts
            .iter()
            .map(|host| host.given.name.to_string())
            .filter(|name| foreseen.foresight.lost(name).is_some())
            .collect();
        payload.runs = plan.changes.iter().any(|change| change.action.changes());
        let leftovers = self.leftovers(
            &records,
            &foreseen.deeds,
            &playbooks,
            // Hosts of a group that is not known yet may well be these.
            &|host| !resolved.unnamed.is_empty() || inventory.contains(host),
            &|host| foreseen.foresight.lost(host).is_some(),
        );
        let left = take_in(&mut plan, &mut payload, leftovers);
        plan.seen = self.seen(&records);
        self.give(&mut plan, &mut payload, &declared, &foreseen, &hidden);
        payload
            .outputs
            .insert(HOSTS.to_owned(), hosts_output.clone());
        plan.outputs.insert(
            HOSTS.to_owned(),
            Output {
                value: hosts_output.clone(),
                from: Vec::new(),
            },
        );
        plan.warnings = foreseen
            .warnings
            .iter()
            .map(|text| self.problem(hidden.taken_out(text)))
            .chain(left)
            .collect();
        plan.payload = self.kept(&payload)?;
        Ok(plan)
    }

    fn kept(&self, payload: &Payload) -> Result<Vec<u8>, Vec<Problem>> {
        serde_json::to_vec(payload).map_err(|error| {
            vec![self.problem(format!("keeping what is to be carried out: {error}"))]
        })
    }

    /// Opens the part on a thread where blocking is allowed.
    pub(super) fn open_aside(
        &self,
        inputs: &BTreeMap<String, Planned>,
        scratch: Option<&std::path::Path>,
        check: bool,
    ) -> Result<Opened, Vec<Problem>> {
        // Reading is quick, and a runtime of one thread may have to do it.
        match tokio::runtime::Handle::current().runtime_flavor() {
            tokio::runtime::RuntimeFlavor::MultiThread => {
                tokio::task::block_in_place(|| self.opened(inputs, scratch, check))
            }
            _ => self.opened(inputs, scratch, check),
        }
    }

    fn read(&self, opened: &Opened) -> Result<Vec<Playbook>, Vec<Problem>> {
        let read = match tokio::runtime::Handle::current().runtime_flavor() {
            tokio::runtime::RuntimeFlavor::MultiThread => {
                tokio::task::block_in_place(|| opened.ready.playbooks())
            }
            _ => opened.ready.playbooks(),
        };
        read.map_err(|error| vec![self.told(&error, &opened.secrets.hidden())])
    }

    /// Nobody is there who could be asked: what `vars_prompt` wants has to be given.
    fn refuse_questions(
        &self,
        playbooks: &[Playbook],
        opened: &Opened,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
            for prompt in &play.vars_prompt {
                let consort_jinja::Value::Dict(prompt) = prompt else {
                    continue;
                };
                let name = prompt
                    .get("name")
                    .map(|name| consort_jinja::repr::text(&name))
                    .unwrap_or_default();
                if !opened.ready.is_given(&name) {
                    problems.push(Problem {
                        location: super::told::place(&play.origin, &self.root),
                        hint: Some(format!(
                            "give {name} under variables of the part: nobody is asked while a score is planned"
                        )),
                        ..self.problem(format!("the play asks for {name} (vars_prompt)"))
                    });
                }
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Runs the playbooks in check mode.
    async fn foresee(
        &self,
        opened: Opened,
        cancel: &tokio_util::sync::CancellationToken,
    ) -> Result<Foreseen, Vec<Problem>> {
        let Opened {
            ready,
            resolved,
            secrets,
            warnings,
            kept,
        } = opened;
        let not_there = resolved.hosts.iter().filter_map(|host| {
            let lacks = host.lacks.as_ref()?;
            let why = format!("{lacks} is known after apply");
            Some((Arc::clone(&host.given.name), Arc::from(why)))
        });
        let foresight = Arc::new(Foresight::new(not_there));
        let (listener, mut heard) = Listener::new(&self.root);
        let ended = ready
            .foreseeing(Arc::clone(&foresight))
            .run_aside(None, vec![Box::new(listener)], cancel)
            .await;
        drop(kept);
        let mut foreseen = Foreseen {
            deeds: Vec::new(),
            stats: Stats::default(),
            warnings: Vec::new(),
            foresight,
        };
        while let Ok(heard) = heard.try_recv() {
            match heard {
                Heard::Did(deed) => foreseen.deeds.push(*deed),
                Heard::Warning(text) => foreseen.warnings.push(text),
                Heard::Ended(stats) => foreseen.stats = *stats,
                Heard::Began { .. } | Heard::Again { .. } => {}
            }
        }
        foreseen.warnings.extend(warnings.lock().drain(..));
        foreseen.warnings.dedup();
        match ended {
            Ok(_) => Ok(foreseen),
            Err(_) if cancel.is_cancelled() => Err(vec![self.problem("planning was ended early")]),
            Err(error) => Err(vec![self.told(&error, &secrets.hidden())]),
        }
    }

    /// What would fail when the plan is carried out, too.
    fn failures(&self, foreseen: &Foreseen, hidden: &Hidden) -> Vec<Problem> {
        let lost = |host: &str| {
            foreseen
                .stats
                .hosts
                .get(host)
                .is_some_and(|counts| counts.failures > 0)
        };
        foreseen
            .deeds
            .iter()
            .filter(|deed| deed.status == Status::Failed && !deed.ignored && lost(&deed.host))
            .map(|deed| self.failure(deed, hidden))
            .collect()
    }

    /// A task that failed, as a problem.
    pub(super) fn failure(&self, deed: &Deed, hidden: &Hidden) -> Problem {
        let said = if deed.no_log {
            "it failed, and what it said is not shown (no_log)".to_owned()
        } else {
            hidden.taken_out(&deed.message)
        };
        let mut lines = said.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let mut detail: String = lines.collect::<Vec<_>>().join("\n");
        if let Some(error) = deed.error.as_ref().filter(|_| !deed.no_log) {
            let error = hidden.taken_out(error);
            if error.contains("Origin:") {
                detail.push_str(if detail.is_empty() { "" } else { "\n" });
                detail.push_str(&error);
            }
        }
        Problem {
            address: Some(Address::new(&self.name, &deed.local)),
            location: deed.location.clone(),
            summary: format!("{} on {}: {first}", deed.task, deed.host),
            detail,
            ..self.problem("")
        }
    }

    fn change(
        &self,
        deed: &Deed,
        foresight: &Foresight,
        hidden: &Hidden,
        record: Option<&HostRecord>,
        same: bool,
    ) -> Change {
        let machine = deed.machine.as_ref().unwrap_or(&deed.host);
        let there = foresight.lost(machine).is_none();
        let mut sides = sides(deed, hidden, there);
        let mut reasons = Vec::new();
        // What uses the output of a command that only reads cannot be looked at here. Where nothing else has changed since all of
        // it was done, it is as it was left.
        let settled = same && deed.unknown && !drift::does_again(deed);
        if deed.unforeseen.is_some() && there && (settled || drift::changed_nothing(deed, record)) {
            // It is done again whenever something else is, and changed nothing the last time.
            sides = Sides {
                action: Action::Read,
                before: None,
                after: None,
            };
        }
        if let Some(why) = &deed.unforeseen
            && sides.action.changes()
        {
            let why = hidden.taken_out(why.lines().next().unwrap_or_default());
            reasons.push(if deed.includes {
                format!("what it includes is known after apply: {why}")
            } else {
                format!("known after apply: {why}")
            });
        }
        let drifted =
            sides.action.changes() && deed.unforeseen.is_none() && drift::is_drift(deed, record);
        let mut change = Change {
            address: Address::new(&self.name, &deed.local),
            kind: deed.action.clone(),
            reversal: reversal(deed.leaf(), sides.action),
            action: sides.action,
            before: sides.before,
            after: sides.after,
            replaces: Vec::new(),
            reasons,
            moved_from: None,
            drift: Vec::new(),
            location: deed.location.clone(),
        };
        if drifted {
            change.drift = drift::of(&change);
        }
        change
    }

    /// The inputs of variables: every task may use them.
    fn variable_inputs(&self) -> Vec<String> {
        self.spec
            .feeds()
            .into_iter()
            .filter(|(_, pointer)| !pointer.starts_with("/hosts"))
            .map(|(feed, _)| feed)
            .collect()
    }

    /// The outputs, as far as they are known.
    fn give(
        &self,
        plan: &mut PartPlan,
        payload: &mut Payload,
        declared: &outputs::Declared,
        foreseen: &Foreseen,
        hidden: &Hidden,
    ) {
        let seen = outputs::told(&foreseen.stats);
        let changes: Vec<u32> = (0_u32..)
            .zip(&plan.changes)
            .filter(|(_, change)| change.action.changes())
            .map(|(place, _)| place)
            .collect();
        for name in outputs::names(declared, &self.spec.outputs, &seen) {
            let literal = declared.0.get(&name).cloned().flatten();
            let known = match literal {
                Some(literal) => Some(literal),
                None if changes.is_empty() => seen.get(&name).cloned(),
                None => None,
            };
            let value = match known {
                Some(known) => shown(known, hidden),
                None => {
                    let kind = self.spec.outputs.get(&name);
                    Planned::unknown(kind.map_or("dynamic", String::as_str), None)
                }
            };
            if !payload.runs || value.is_wholly_known() {
                payload.outputs.insert(name.clone(), value.clone());
            }
            payload.gives.push(name.clone());
            let output = Output {
                value,
                from: changes.clone(),
            };
            plan.outputs.insert(name, output);
        }
    }
}

/// Adds what is left over from before to a plan. Gives what there is to warn of.
fn take_in(plan: &mut PartPlan, payload: &mut Payload, leftovers: Leftovers) -> Vec<Problem> {
    let first = plan.changes.len() as u32;
    plan.changes.extend(leftovers.changes);
    payload.undo = leftovers.undo;
    payload.forgotten = leftovers.forgotten;
    for undo in &mut payload.undo {
        undo.change += first;
    }
    for forgotten in &mut payload.forgotten {
        forgotten.change += first;
    }
    leftovers.warnings
}

/// A value of the part with what must not be shown of it.
pub(super) fn shown(value: Json, hidden: &Hidden) -> Planned {
    let mut sensitive = Vec::new();
    hidden.places(&value, "", &mut sensitive);
    Planned {
        value,
        unknown: Vec::new(),
        sensitive,
    }
}

/// Plays for groups whose hosts are not known: the group, the input that tells them, the play, and where it stands.
fn unnamed_plays(
    playbooks: &[Playbook],
    opened: &Opened,
    root: &std::path::Path,
) -> Vec<(String, String, String, Option<consort_plan::Location>)> {
    let mut all = Vec::new();
    for unnamed in &opened.resolved.unnamed {
        for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
            let hosts = play
                .scope
                .directives
                .get(Directive::Hosts)
                .map(|hosts| match hosts {
                    consort_jinja::Value::List(list) => list
                        .read()
                        .iter()
                        .map(consort_jinja::repr::text)
                        .collect::<Vec<_>>()
                        .join(","),
                    other => consort_jinja::repr::text(other),
                })
                .unwrap_or_default();
            let names = |word: &str| word == unnamed.group || word == "all" || word == "*";
            let means = hosts
                .split([',', ':'])
                .any(|word| names(word.trim_start_matches('&')) || word.contains("{{"));
            if means {
                let name = play
                    .name
                    .as_ref()
                    .map_or_else(|| hosts.clone(), consort_jinja::repr::text);
                all.push((
                    unnamed.group.clone(),
                    unnamed.from.clone(),
                    name,
                    super::told::place(&play.origin, root),
                ));
            }
        }
    }
    all
}
