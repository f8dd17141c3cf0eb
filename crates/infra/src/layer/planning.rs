//! A plan of the engine in the words that all layers share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_plan::{
    Action as Word, Address, Change as Planned, Intent, Output, PartPlan, Problem, Request, Seen,
};

use super::edges::{self, Places};
use super::prepare::{Configuration, language};
use super::problems::Teller;
use super::words::{reasons, reversal};
use super::{Terraform, drift, values};
use crate::address::{ConfigResource, Key, Mode as ResourceMode};
use crate::config::Snapshot;
use crate::engine::{
    Action, Change, Input, Mode, Plan, PlanOptions, Silent, Ties, plan_with_ties, validate,
};
use crate::plan_file::{self, Origin};
use crate::provisioner::Builtin;
use crate::render_json::{SchemaSet, plan_json};
use crate::session::{Backing, causes, ephemeral, error};
use crate::state::State;

/// What a state is told by, so that another is seen to be another.
pub(super) fn version(state: Option<&State>) -> String {
    match state {
        Some(state) if !state.lineage.is_empty() => format!("{}/{}", state.lineage, state.serial),
        _ => String::new(),
    }
}

/// The name of a change's object within its part.
pub(super) fn local_name(change: &Change) -> String {
    match &change.deposed {
        Some(key) => format!("{} (deposed {key})", change.address),
        None => change.address.to_string(),
    }
}

/// A data source that was read already, and leaves the state again, is nothing that is done to the world.
pub(super) fn is_told(change: &Change) -> bool {
    match change.address.resource.mode {
        ResourceMode::Managed => true,
        ResourceMode::Data => change.action == Action::Read,
        ResourceMode::Ephemeral => false,
    }
}

fn word(action: Action) -> Word {
    match action {
        Action::NoOp => Word::NoOp,
        Action::Read => Word::Read,
        Action::Create => Word::Create,
        Action::Update => Word::Update,
        Action::Delete => Word::Delete,
        Action::DeleteThenCreate => Word::DeleteThenCreate,
        Action::CreateThenDelete => Word::CreateThenDelete,
        Action::Forget => Word::Forget,
    }
}

impl Terraform {
    /// The name under which the state is seen.
    pub(super) fn seen_name(&self) -> String {
        format!("state of {}", self.name)
    }

    pub(super) async fn plan_part(&self, request: Request<'_>) -> Result<PartPlan, Vec<Problem>> {
        let (root, directory) = self.places()?;
        let Configuration {
            tree,
            manifest,
            mut sources,
            warnings,
        } = self.configuration().await?;
        let told = |found: Diagnostics, sources: &Sources| self.told(&found, sources);
        let mut notes = self.teller.warnings(&warnings, &sources);
        let encryption = self
            .encryption(&tree.module, &directory, &mut sources)
            .map_err(|found| told(found, &sources))?;
        let backing = self
            .backing(&tree.module, &directory, encryption.clone())
            .map_err(|found| told(found, &sources))?;
        let stored = self
            .look(&backing, &tree.module, &directory)
            .await
            .map_err(|found| told(found, &sources))?;
        let state = match &stored {
            Some(state) => state.clone(),
            None => State::new(),
        };
        let (variables, mut problems, found) =
            self.variables(&tree, &directory, request.inputs, &mut sources);
        let nothing = request.intent == Intent::Destroy && state.is_empty();
        if !nothing {
            problems.extend(told(found.clone(), &sources));
        }
        notes.extend(self.teller.warnings(&found, &sources));
        if !problems.is_empty() {
            return Err(problems);
        }
        let (installed, locks, found) = self
            .installed(&tree, &state, &directory, &encryption, None, &mut sources)
            .await
            .map_err(|found| told(found, &sources))?;
        notes.extend(self.teller.warnings(&found, &sources));

        let timestamp = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let input = Input {
            tree: &tree,
            sources: &sources,
            functions: language(&directory, true, &timestamp),
            providers: &installed,
            provisioners: &Builtin,
            variables: variables.values,
            given: variables.given,
            directory: Some(&directory),
            workspace: &backing.workspace,
            watcher: &Silent,
            parallelism: 10,
            cancel: request.cancel.clone(),
            under_test: None,
        };
        // Whether it is valid for all values of its variables and any state comes first.
        let found = validate(&input, false).await;
        if found.has_errors() {
            return Err(told(found, &sources));
        }
        let options = PlanOptions {
            mode: match request.intent {
                Intent::Apply => Mode::Normal,
                Intent::Destroy => Mode::Destroy,
            },
            timestamp,
            ..PlanOptions::default()
        };
        let wanted: BTreeSet<Arc<str>> = self
            .inputs
            .iter()
            .map(|input| Arc::from(input.name.as_str()))
            .collect();
        let (planned, found) = plan_with_ties(&input, &options, &state, &wanted).await;
        if found.has_errors() {
            return Err(told(found, &sources));
        }
        notes.extend(self.teller.warnings(&found, &sources));
        drop(state);
        let Some((plan, ties)) = planned else {
            return Err(vec![self.teller.of(
                self.lines.at("/path"),
                "nothing could be planned",
                "",
            )]);
        };
        let origin = Origin {
            snapshot: Snapshot::of(&tree, &manifest, &sources).relative_to(&root),
            locks: locks.text(),
            backend: plan_file::Backend {
                kind: backing.settings.kind().name().to_owned(),
                arguments: backing.settings.given().clone(),
                workspace: backing.workspace.clone(),
            },
            ephemeral: ephemeral(&tree, &input.variables),
        };
        let payload = self
            .payload(&plan, &origin, &backing)
            .await
            .map_err(|found| told(found, &sources))?;
        let text = if request.documented {
            let schemas = SchemaSet::gather(&installed, Some(&tree), &[&plan.prior_state])
                .await
                .map_err(|found| told(found, &sources))?;
            Some(plan_json(&plan, &tree, &schemas))
        } else {
            None
        };
        let mut part = self.put(&plan, &ties, &sources, request.inputs);
        notes.extend(self.put_off(&plan));
        part.seen = vec![Seen {
            what: self.seen_name(),
            version: version(stored.as_ref()),
        }];
        part.payload = payload;
        // All else of a large plan goes before it is there a last time as a document.
        drop(plan);
        let unsaid = |why: String| {
            let found = error("Failed to put the plan into JSON", why);
            told(found, &sources)
        };
        if let Some(text) = text {
            let text = text.map_err(unsaid)?;
            let read = tokio::task::spawn_blocking(move || serde_json::from_str(&text));
            let document = read
                .await
                .map_err(|why| unsaid(why.to_string()))?
                .map_err(|why| unsaid(why.to_string()))?;
            part.document = Some(document);
        }
        part.warnings = notes;
        Ok(part)
    }

    async fn payload(
        &self,
        plan: &Plan,
        origin: &Origin,
        backing: &Backing,
    ) -> Result<Vec<u8>, Diagnostics> {
        let bytes = plan_file::write(plan, origin)
            .map_err(|failed| error("Failed to write the plan", causes(&failed)))?;
        match &backing.encryption.plan {
            None => Ok(bytes),
            Some(target) => target
                .seal(bytes)
                .await
                .map_err(|failed| error("Failed to encrypt the plan", causes(&failed))),
        }
    }

    /// What the plan leaves for a later one.
    fn put_off(&self, plan: &Plan) -> Vec<Problem> {
        plan.deferred
            .iter()
            .map(|deferred| Problem {
                address: Some(Address::new(&self.name, &deferred.address())),
                ..self.teller.of(
                    self.teller.otherwise.clone(),
                    format!(
                        "{} is left for the next plan, because {}",
                        deferred.address(),
                        deferred.reason.because()
                    ),
                    "",
                )
            })
            .collect()
    }

    /// The plan as that of a part.
    fn put(
        &self,
        plan: &Plan,
        ties: &Ties,
        sources: &Sources,
        inputs: &BTreeMap<String, consort_plan::Planned>,
    ) -> PartPlan {
        let by_config: HashMap<&ConfigResource, u32> = ties
            .blocks
            .iter()
            .enumerate()
            .map(|(at, tied)| (&tied.address, at as u32))
            .collect();
        let order = in_order(plan, &by_config);
        let mut part = PartPlan::default();
        let mut places = Places {
            by_block: vec![Vec::new(); ties.blocks.len()],
        };
        let mut of_config: HashMap<ConfigResource, Vec<u32>> = HashMap::new();
        let mut orphans = Vec::new();
        let outside: HashMap<_, &Change> = plan
            .drift
            .iter()
            .filter(|change| change.deposed.is_none())
            .map(|change| (&change.address, change))
            .collect();
        for change in order {
            let place = part.changes.len() as u32;
            let config = change.address.config();
            let block = by_config.get(&config).copied();
            let tied = block.map(|at| &ties.blocks[at as usize]);
            if let Some(at) = block
                && change.deposed.is_none()
            {
                let key: &Key = &change.address.key;
                places.by_block[at as usize].push((place, key));
            } else {
                orphans.push((place, change));
            }
            of_config.entry(config).or_default().push(place);
            for variable in tied.iter().flat_map(|tied| &tied.variables) {
                part.takes.push((place, variable.to_string()));
            }
            // What an input will tell, by the argument that uses it.
            let from = |at: &str| -> Option<Address> {
                let at = at.strip_prefix('/')?;
                let end = at
                    .match_indices('/')
                    .nth(1)
                    .map_or(at.len(), |(end, _)| end);
                let top = at.find('/').unwrap_or(at.len());
                let arguments = &tied?.arguments;
                let variables = arguments
                    .get(&at[..end])
                    .or_else(|| arguments.get(&at[..top]))?;
                variables.iter().find_map(|name| {
                    let input = inputs.get(&**name)?;
                    input.unknown.first()?.from.clone()
                })
            };
            let shown = |value: &consort_hcl::Value| {
                (change.action != Action::NoOp && !value.is_null()).then(|| {
                    let planned = values::planned(value, &from);
                    if &*change.address.resource.kind == "terraform_data" {
                        with_copies_hidden(planned)
                    } else {
                        planned
                    }
                })
            };
            let mut replaces: Vec<String> =
                change.replace_paths.iter().map(values::pointer).collect();
            replaces.sort();
            replaces.dedup();
            let found = outside.get(&change.address).copied();
            part.changes.push(Planned {
                address: Address::new(&self.name, &local_name(change)),
                kind: change.address.resource.kind.to_string(),
                action: word(change.action),
                before: shown(&change.before),
                after: shown(&change.after),
                replaces,
                reasons: reasons(change),
                moved_from: (change.previous_address != change.address)
                    .then(|| Address::new(&self.name, &change.previous_address.to_string())),
                drift: found
                    .filter(|_| change.deposed.is_none())
                    .map(|found| drift::drift(found, Some(change), tied))
                    .unwrap_or_default(),
                reversal: reversal(change),
                location: tied.and_then(|tied| Teller::location(tied.range, sources)),
            });
        }
        let mut edges = edges::of_blocks(ties, &places, &self.name);
        edges::of_orphans(plan, &orphans, &of_config, &mut edges);
        part.outputs = Self::outputs(plan, ties, &places, &part.changes, inputs);
        part.edges = edges.pairs;
        part.joints = edges.joints;
        part
    }

    fn outputs(
        plan: &Plan,
        ties: &Ties,
        places: &Places<'_>,
        changes: &[Planned],
        inputs: &BTreeMap<String, consort_plan::Planned>,
    ) -> BTreeMap<String, Output> {
        let mut outputs = BTreeMap::new();
        for (name, change) in &plan.outputs {
            // Before everything goes, others need what there is now.
            let value = match (plan.mode, change.action) {
                (Mode::Destroy, _) => &change.before,
                (_, Action::Delete) => continue,
                _ => &change.after,
            };
            let tied = ties.outputs.get(name);
            let mut from: Vec<u32> = tied
                .iter()
                .flat_map(|tied| &tied.uses)
                .flat_map(|using| places.members(ties, using))
                .collect();
            from.sort_unstable();
            from.dedup();
            let origin = from
                .iter()
                .map(|place| &changes[*place as usize])
                .find(|change| change.action != Word::NoOp)
                .map(|change| change.address.clone())
                .or_else(|| {
                    let variables = tied.map(|tied| &tied.variables);
                    variables
                        .into_iter()
                        .flatten()
                        .find_map(|name| inputs.get(&**name)?.unknown.first()?.from.clone())
                });
            let mut value = values::planned(value, &|_| origin.clone());
            if change.sensitive && value.sensitive.first().is_none_or(|at| !at.is_empty()) {
                value = value.into_sensitive();
            }
            outputs.insert(name.to_string(), Output { value, from });
        }
        outputs
    }
}

/// `terraform_data` gives as `output` what it was given as `input`, and Terraform forgets on the way what of that must not
/// be shown.
fn with_copies_hidden(mut planned: consort_plan::Planned) -> consort_plan::Planned {
    let copies: Vec<String> = planned
        .sensitive
        .iter()
        .filter_map(|at| Some(format!("/output{}", at.strip_prefix("/input")?)))
        .filter(|at| planned.value.pointer(at).is_some())
        .collect();
    if !copies.is_empty() {
        planned.sensitive.extend(copies);
        planned.sensitive.sort();
        planned.sensitive.dedup();
    }
    planned
}

/// The changes, none before one that it depends on: by the order of the blocks, then what has none, by how much it
/// depended on.
fn in_order<'p>(plan: &'p Plan, by_config: &HashMap<&ConfigResource, u32>) -> Vec<&'p Change> {
    let mut keyed: Vec<(u32, usize, &Change)> = plan
        .changes
        .iter()
        .filter(|change| is_told(change))
        .map(|change| {
            let block = by_config.get(&change.address.config()).copied();
            match block.filter(|_| change.deposed.is_none()) {
                Some(at) => (at, 0, change),
                None => {
                    let depended =
                        edges::recorded(plan, change).map_or(0, |object| object.dependencies.len());
                    (u32::MAX, depended, change)
                }
            }
        })
        .collect();
    // Stable: the engine's order by address stays within a block.
    keyed.sort_by_key(|(block, depended, _)| (*block, *depended));
    keyed.into_iter().map(|(.., change)| change).collect()
}
