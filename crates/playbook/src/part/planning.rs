//! The plan of a part: a run in check mode that goes on past what it cannot know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use consort_plan::{Action, Address, Change, Intent, Output, PartPlan, Planned, Problem, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Playbooks;
use super::described::{Sides, reversal, sides};
use super::drift;
use super::foreseeing::Foreseen;
use super::hosts;
use super::hosts::Resolved;
use super::notified::{self, Notified};
use super::opening::Opened;
use super::outputs::{self, HOSTS};
use super::record::HostRecord;
use super::told::Deed;
use super::undone::{Forgotten, Leftovers, Undo};
use super::unnamed::unnamed_plays;
use super::values::Hidden;
use crate::executor::Foresight;
use crate::language::Playbook;
use crate::template::KNOWN_LATER;

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
    /// The handlers that are to run.
    #[serde(default)]
    pub(super) handlers: Vec<PlannedHandler>,
}

/// A handler that is to run on a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlannedHandler {
    pub(super) host: String,
    /// Its name, with its role.
    pub(super) handler: String,
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
        let mut opened = self.open_aside(request.inputs, None, true)?;
        opened.ready = opened.ready.notifying(notified::pending(&records));
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
        let foreseen = self.foresee(opened, &playbooks, request.cancel).await?;
        let mut hidden = hidden_before;
        hidden.join(&secrets.hidden());

        let failed = self.failures(&foreseen, &hidden);
        if !failed.is_empty() {
            return Err(failed);
        }
        let mut plan = PartPlan::default();
        let mut payload = Payload::default();
        self.take_changes(
            &mut plan,
            &mut payload,
            &request,
            &foreseen,
            &hidden,
            &records,
        );
        self.take_inputs(&mut plan, &resolved);
        for play in unnamed_plays {
            let place = plan.changes.len() as u32;
            let local = play.local();
            let mut known = plan.changes.iter().map(|known| known.address.local());
            if known.any(|known| known == local) {
                continue;
            }
            plan.takes.push((place, play.from.clone()));
            plan.changes.push(self.of_unnamed(&play));
            payload.open.push(play.group);
        }
        payload.open.sort();
        payload.open.dedup();
        // Nobody waits for machines that have been there, and do not answer.
        payload.waits_for = resolved
            .hosts
            .iter()
            .map(|host| host.given.name.to_string())
            .filter(|name| {
                foreseen.foresight.lost(name).is_some()
                    && (foreseen.foresight.is_absent(name)
                        || !records
                            .iter()
                            .any(|record| record.host == *name && record.was_worked_on()))
            })
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
        plan.warnings = self
            .silent(&foreseen, &hidden)
            .into_iter()
            .chain(
                foreseen
                    .warnings
                    .iter()
                    .map(|text| self.problem(hidden.taken_out(text))),
            )
            .chain(left)
            .collect();
        plan.payload = self.kept(&payload)?;
        Ok(plan)
    }

    /// What tasks would change, each as a change of the plan.
    fn take_changes(
        &self,
        plan: &mut PartPlan,
        payload: &mut Payload,
        request: &Request<'_>,
        foreseen: &Foreseen,
        hidden: &Hidden,
        records: &[HostRecord],
    ) {
        let by_host: HashMap<&str, &HostRecord> = records
            .iter()
            .map(|record| (record.host.as_str(), record))
            .collect();
        let all_known = request.inputs.values().all(Planned::is_wholly_known);
        let sources = if all_known {
            self.made_of(request.inputs)
        } else {
            String::new()
        };
        let mut moving: HashSet<Arc<str>> = HashSet::new();
        let mut notified = Notified::of(records);
        let mut drifts = false;
        for deed in &foreseen.deeds {
            if notified.is_idle(deed) {
                continue;
            }
            // It is to run, whether or not it would find something to do now.
            payload
                .handlers
                .extend((!deed.topics.is_empty()).then(|| PlannedHandler {
                    host: deed.host.to_string(),
                    handler: deed.task.to_string(),
                }));
            if !deed.counts() {
                notified.note(deed, deed.changed);
                continue;
            }
            let record = by_host.get(&*deed.host).copied();
            let same = !moving.contains(&deed.host)
                && record.is_some_and(|record| !sources.is_empty() && record.sources == sources);
            let mut change = self.change(deed, &foreseen.foresight, hidden, record, same);
            notified.note(deed, change.action.changes());
            if change.action.changes() {
                moving.insert(Arc::clone(&deed.host));
                let earlier = record.is_some_and(|record| {
                    let means = |name: &String| notified::means(name, deed);
                    !deed.topics.is_empty() && record.pending.iter().any(means)
                });
                if earlier {
                    let why = "notified by a run that ended before it came to that";
                    change.reasons.insert(0, why.to_owned());
                }
                drifts |= earlier || drift::is_put_back(deed, record);
            }
            if deed.unforeseen.is_some() {
                payload.open.push(deed.host.to_string());
            }
            plan.changes.push(change);
        }
        if request.healing && !drifts {
            for change in plan.changes.iter_mut().filter(|it| it.action.changes()) {
                change.action = Action::Read;
                (change.before, change.after) = (None, None);
                change.reasons.clear();
            }
            payload.handlers.clear();
        }
    }

    /// Which inputs changes are made with.
    fn take_inputs(&self, plan: &mut PartPlan, resolved: &Resolved) {
        let mut from: HashMap<&str, &[String]> = HashMap::new();
        for host in &resolved.hosts {
            from.insert(&host.given.name, &host.from);
        }
        let of_variables = self.variable_inputs();
        for (place, change) in (0_u32..).zip(&plan.changes) {
            if !change.action.changes() {
                continue;
            }
            let of_host = from.get(change.address.before_key()).copied();
            let of_host = of_host.unwrap_or_default();
            let mut takes: Vec<&String> = of_host.iter().chain(&of_variables).collect();
            takes.sort();
            takes.dedup();
            let takes = takes.into_iter().map(|input| (place, input.clone()));
            plan.takes.extend(takes);
        }
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
        // A machine that was worked on before is there, whether or not it answers.
        let mut sides = sides(
            deed,
            hidden,
            there || record.is_some_and(HostRecord::was_worked_on),
        );
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
            let why = why.strip_prefix("Task failed: ").unwrap_or(why);
            let silent = !there && !foresight.is_absent(machine);
            let why = if silent && foresight.lost(machine).as_deref() == Some(why) {
                format!("{machine} cannot be reached")
            } else {
                why.lines().next().unwrap_or_default().to_owned()
            };
            let why = hidden.taken_out(&why);
            let says_it = why.contains("known after apply") || why.contains(KNOWN_LATER);
            reasons.push(if deed.includes {
                format!("what it includes is known after apply: {why}")
            } else if says_it {
                why
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
