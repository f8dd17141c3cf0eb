//! A score opened: its parts as layers that can be planned and carried out, in the order their values flow.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use consort_infra::layer::{self, Terraform};
use consort_manifests::Manifests;
use consort_plan::{Edge, Graph, Input, Intent, Location, NodeId, Part, Problem};
use consort_playbook::part::{self as playbook, Playbooks};
use consort_policy::PolicyPart;
use kube::Client;
use serde::Deserialize;

use crate::admission;
use crate::definition::{Definition, Layer, PartDefinition, nearest, plain};
use crate::records::{Hosts, Records};
use crate::sharing;

/// What a system lives in: the servers it speaks to and the places it may write to.
#[derive(Clone)]
pub struct Environment {
    /// The server the score belongs to: its manifests go there unless they name another target, and its records.
    /// Without one, parts that need it say so.
    pub client: Option<Client>,
    /// What Terraform parts find around them.
    pub terraform: Arc<layer::Environment>,
    /// A directory for what must outlive a crash; the same at each start.
    pub scratch: PathBuf,
    /// Whether what left the source goes, in place of what the parts say.
    pub prune: Option<bool>,
}

impl Environment {
    /// What parts of playbooks find around them.
    fn playbooks(&self, definition: &Definition) -> playbook::Environment {
        let memory = self.client.clone().map(|client| {
            let records = Records::new(client, &definition.namespace);
            Arc::new(Hosts::new(records, &definition.name)) as Arc<dyn playbook::Memory>
        });
        playbook::Environment {
            memory,
            variables: self
                .terraform
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

/// A score whose parts are open.
pub struct System {
    /// What the score says.
    pub definition: Definition,
    /// Where steps leave what must outlive a crash.
    pub(crate) scratch: PathBuf,
    pub(crate) parts: Vec<Opened>,
    /// What judges its plans.
    pub(crate) policies: Arc<Vec<PolicyPart>>,
}

/// A part with what the score says around it.
pub(crate) struct Opened {
    pub(crate) part: Box<dyn Part>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) after: Vec<(String, Location)>,
    /// [`Intent::Destroy`] for a part that is no longer in the score.
    pub(crate) intent: Intent,
}

impl System {
    /// Opens the parts of a score.
    ///
    /// # Errors
    /// What is wrong with their descriptions, and feeds that lead nowhere or round in a circle; each located.
    pub async fn open(
        definition: Definition,
        environment: &Environment,
    ) -> Result<System, Vec<Problem>> {
        let mut parts: Vec<Box<dyn Part>> = Vec::new();
        let mut manifests = Vec::new();
        let mut problems = Vec::new();
        for part in &definition.parts {
            let opened = if part.layer == Layer::Manifests {
                open_manifests(part, &definition, environment).map(|opened| {
                    manifests.push((parts.len() + manifests.len(), part, opened));
                    None
                })
            } else {
                open(part, &definition, environment).await
            };
            match opened {
                Ok(Some(opened)) => parts.push(opened),
                Ok(None) => {}
                Err(more) => problems.extend(more),
            }
        }
        let policies = match policies(&definition).await {
            Ok(policies) => policies,
            Err(more) => {
                problems.extend(more);
                Vec::new()
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = sharing::join(&definition, &parts, &mut manifests).await;
        for (place, _, part) in manifests {
            parts.insert(place, Box::new(part));
        }
        let mut definition = definition;
        definition.warnings.extend(warnings);
        let system = System {
            policies: Arc::new(policies),
            scratch: environment.scratch.join(&definition.name),
            parts: describe(parts, &definition),
            definition,
        };
        system.check()?;
        Ok(system)
    }

    /// A system of parts that are open already, by whoever made them. What comes after what is in the definition.
    ///
    /// # Errors
    /// As [`System::open`].
    pub fn of_parts(
        definition: Definition,
        parts: Vec<Box<dyn Part>>,
        scratch: PathBuf,
    ) -> Result<System, Vec<Problem>> {
        let system = System {
            policies: Arc::default(),
            scratch,
            parts: describe(parts, &definition),
            definition,
        };
        system.check()?;
        Ok(system)
    }

    /// The same with something around each part, such as the [faults](consort_plan::faults) of a test.
    #[must_use]
    pub fn around(mut self, mut wrap: impl FnMut(Box<dyn Part>) -> Box<dyn Part>) -> System {
        self.parts = self
            .parts
            .into_iter()
            .map(|opened| Opened {
                part: wrap(opened.part),
                ..opened
            })
            .collect();
        self
    }

    /// Takes in what the score was made of before: parts of it that it no longer has are planned to be gone. A part of
    /// the former score that cannot be opened any more is told as a problem: nobody else looks after what it made.
    ///
    /// # Errors
    /// Those problems.
    pub async fn with_former(
        mut self,
        former: &Definition,
        environment: &Environment,
    ) -> Result<System, Vec<Problem>> {
        let mut problems = Vec::new();
        for part in &former.parts {
            let kept = self.definition.parts.iter().any(|own| {
                own.name == part.name
                    && own.layer == part.layer
                    && Policy::is_admission(own) == Policy::is_admission(part)
            });
            if kept {
                continue;
            }
            match open(part, former, environment).await {
                Ok(Some(part)) => self.parts.push(Opened {
                    inputs: part.inputs(),
                    part,
                    after: Vec::new(),
                    intent: Intent::Destroy,
                }),
                Ok(None) => {}
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    /// The part of a name.
    pub fn part(&self, name: &str) -> Option<&dyn Part> {
        self.parts
            .iter()
            .find(|opened| opened.part.name() == name)
            .map(|opened| opened.part.as_ref())
    }

    /// The parts as a graph in which each waits for those it takes values from, and those it is said to come after.
    pub(crate) fn order(&self) -> Graph<usize> {
        let mut graph = Graph::new();
        let ids: Vec<NodeId> = (0..self.parts.len())
            .map(|place| graph.add(place))
            .collect();
        let places: BTreeMap<&str, usize> = self
            .parts
            .iter()
            .enumerate()
            .filter(|(_, opened)| opened.intent == Intent::Apply)
            .map(|(place, opened)| (opened.part.name(), place))
            .collect();
        for (place, opened) in self.parts.iter().enumerate() {
            let mut wait = |name: &str, edge| {
                if let Some(other) = places.get(name)
                    && (*other != place || opened.intent == Intent::Apply)
                {
                    graph.connect(ids[place], ids[*other], edge);
                }
            };
            for input in &opened.inputs {
                wait(&input.part, Edge::Value);
            }
            for (name, _) in &opened.after {
                wait(name, Edge::Order);
            }
        }
        graph
    }

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let names: Vec<&str> = self.parts.iter().map(|one| one.part.name()).collect();
        for opened in &self.parts {
            let name = opened.part.name();
            let fed = opened.inputs.iter().map(|input| {
                let what = format!("{name} takes {}.{}", input.part, input.output);
                (input.part.as_str(), &input.location, what)
            });
            let after = opened.after.iter().map(|(other, location)| {
                (
                    other.as_str(),
                    location,
                    format!("{name} comes after {other}"),
                )
            });
            for (other, location, what) in fed.chain(after) {
                let problem = |summary: String, hint: Option<String>| Problem {
                    part: name.to_owned(),
                    location: Some(location.clone()),
                    hint,
                    ..plain(summary)
                };
                if other == name {
                    problems.push(problem(
                        format!("{what}: a part cannot wait for itself"),
                        None,
                    ));
                } else if !names.contains(&other) {
                    let policy = self
                        .definition
                        .of_layer(Layer::Policy)
                        .any(|part| part.name == other);
                    if policy {
                        let hint = format!("{other} is a policy: it judges the plan as a whole");
                        problems.push(problem(
                            format!("{what}, but nothing can wait for {other}"),
                            Some(hint),
                        ));
                        continue;
                    }
                    let hint = match nearest(other, names.iter().copied()) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("the parts are: {}", names.join(", ")),
                    };
                    problems.push(problem(
                        format!("{what}, but no part is named {other}"),
                        Some(hint),
                    ));
                }
            }
        }
        if problems.is_empty() {
            let graph = self.order();
            if let Err(cycles) = graph.check() {
                problems.extend(cycles.0.iter().map(|cycle| {
                    let cycle: Vec<usize> =
                        graph.cycle(cycle).iter().map(|id| graph[*id]).collect();
                    self.circle(&cycle)
                }));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Says how parts wait for each other in a circle: each link with the place that says so.
    fn circle(&self, circle: &[usize]) -> Problem {
        let links = circle.iter().zip(circle.iter().cycle().skip(1));
        let lines: Vec<(String, Location)> = links
            .filter_map(|(from, to)| {
                let opened = &self.parts[*from];
                let (name, other) = (opened.part.name(), self.parts[*to].part.name());
                let fed = opened.inputs.iter().find(|input| input.part == other);
                let after = opened.after.iter().find(|(part, _)| part == other);
                match (fed, after) {
                    (Some(input), _) => Some((
                        format!("{name} takes {other}.{}", input.output),
                        input.location.clone(),
                    )),
                    (None, Some((_, location))) => {
                        Some((format!("{name} comes after {other}"), location.clone()))
                    }
                    (None, None) => None,
                }
            })
            .collect();
        let name = |place: &usize| self.parts[*place].part.name();
        let names: Vec<&str> = circle.iter().chain(circle.first()).map(name).collect();
        let detail: Vec<String> = lines
            .iter()
            .map(|(text, location)| format!("{location}: {text}"))
            .collect();
        Problem {
            part: circle.first().map(name).unwrap_or_default().to_owned(),
            location: lines.first().map(|(_, location)| location.clone()),
            detail: detail.join("\n"),
            hint: Some("split one of them, so that what the other needs comes first".to_owned()),
            ..plain(format!("parts wait for each other: {}", names.join(" -> ")))
        }
    }
}

fn describe(parts: Vec<Box<dyn Part>>, definition: &Definition) -> Vec<Opened> {
    parts
        .into_iter()
        .map(|part| {
            let described = definition
                .parts
                .iter()
                .find(|described| described.name == part.name());
            Opened {
                inputs: part.inputs(),
                after: described.map(|one| one.after.clone()).unwrap_or_default(),
                part,
                intent: Intent::Apply,
            }
        })
        .collect()
}

/// Opens a part; none for a policy that only judges plans, which is no part of the graph.
async fn open(
    part: &PartDefinition,
    definition: &Definition,
    environment: &Environment,
) -> Result<Option<Box<dyn Part>>, Vec<Problem>> {
    match part.layer {
        Layer::Policy => {
            let policy: Policy = stanza(part)?;
            if !policy.admission {
                return Ok(None);
            }
            let read = read_policies(definition, vec![(part.name.clone(), policy)]).await?;
            let Some(policies) = read.first() else {
                return Ok(None);
            };
            let opened = admission::open(part, policies, definition, environment).await?;
            Ok(Some(Box::new(opened)))
        }
        Layer::Manifests => {
            let opened = open_manifests(part, definition, environment)?;
            Ok(Some(Box::new(opened)))
        }
        Layer::Playbook => {
            let mut spec: consort_playbook::part::Spec = stanza(part)?;
            if let Some(prune) = environment.prune {
                spec.prune = prune;
            }
            let opened = Playbooks::open(
                &part.name,
                spec,
                part.lines.clone(),
                &definition.directory,
                environment.playbooks(definition),
            )?;
            Ok(Some(Box::new(opened)))
        }
        Layer::Terraform => {
            let opened = Terraform::new(
                &part.name,
                &definition.name,
                stanza(part)?,
                &definition.directory,
                part.lines.clone(),
                environment.terraform.clone(),
            )?;
            Ok(Some(Box::new(opened)))
        }
    }
}

fn open_manifests(
    part: &PartDefinition,
    definition: &Definition,
    environment: &Environment,
) -> Result<Manifests, Vec<Problem>> {
    let mut spec: consort_manifests::Spec = stanza(part)?;
    if let Some(prune) = environment.prune {
        spec.prune = prune;
    }
    Manifests::open(
        &part.name,
        &definition.name,
        spec,
        part.lines.clone(),
        &definition.directory,
        environment.client.clone(),
    )
}

/// What is said about a part of policies.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    path: String,
    #[serde(default)]
    rego_version: consort_policy::Version,
    /// Whether the server holds every write against it as well.
    #[serde(default)]
    admission: bool,
}

impl Policy {
    /// Whether a part is such a policy.
    fn is_admission(part: &PartDefinition) -> bool {
        part.layer == Layer::Policy && stanza::<Policy>(part).is_ok_and(|policy| policy.admission)
    }
}

/// Reads the policies of a score, off the reactor.
async fn policies(definition: &Definition) -> Result<Vec<PolicyPart>, Vec<Problem>> {
    let mut wanted = Vec::new();
    for part in definition.of_layer(Layer::Policy) {
        let policy: Policy = stanza(part)?;
        wanted.push((part.name.clone(), policy));
    }
    read_policies(definition, wanted).await
}

async fn read_policies(
    definition: &Definition,
    wanted: Vec<(String, Policy)>,
) -> Result<Vec<PolicyPart>, Vec<Problem>> {
    let directory = definition.directory.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut parts = Vec::new();
        let mut problems = Vec::new();
        for (name, policy) in wanted {
            match PolicyPart::read(&name, &directory, &policy.path, policy.rego_version) {
                Ok(part) => parts.push(part),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() {
            Ok(parts)
        } else {
            Err(problems)
        }
    });
    read.await
        .unwrap_or_else(|ended| Err(vec![plain(format!("reading policies: {ended}"))]))
}

fn stanza<T: serde::de::DeserializeOwned>(part: &PartDefinition) -> Result<T, Vec<Problem>> {
    serde_json::from_value(part.stanza.clone())
        .map_err(|error| vec![part.problem("", format!("{}: {error}", part.layer.word()))])
}
