//! Resources of scores, operations and blueprints: what was done, how it went, who wanted it.

use consort_plan::{
    Action, Address, Blueprint, Change, Entry, Event, Mode, Operation, Phase, Problem, Source,
    VerdictKind,
};

use super::Explainer;
use super::cause::{Cause, Standing};
use super::evidence::{Look, Ref};
use super::subject::name_of;
use crate::render;

/// How many operations back a resource is looked for.
pub(super) const LOOK_BACK: usize = 40;
/// How many records are asked for at once.
const AT_ONCE: usize = 4;
/// How many operations that touched a resource are told.
const TOLD: usize = 4;

/// What a step did, as one reads it after the address.
fn did(action: Action) -> &'static str {
    match action {
        Action::NoOp => "was left as it is",
        Action::Read => "was read",
        Action::Create => "was made",
        Action::Update => "was changed",
        Action::DeleteThenCreate | Action::CreateThenDelete => "was replaced",
        Action::Delete => "was deleted",
        Action::Forget => "is no longer looked after since",
    }
}

/// What a step would have done.
fn to_do(action: Action) -> &'static str {
    match action {
        Action::NoOp => "left",
        Action::Read => "read",
        Action::Create => "made",
        Action::Update => "changed",
        Action::DeleteThenCreate | Action::CreateThenDelete => "replaced",
        Action::Delete => "deleted",
        Action::Forget => "let go",
    }
}

impl<'e> Explainer<'e> {
    /// Explains a resource of a score: what operations did about it, and how the object of the API stands that it is.
    pub(super) fn address(&mut self, address: &Address, score: Option<&str>) -> Cause {
        let Some(mut cause) = self.history_of(address, score) else {
            let mut cause = Cause::new(
                address.to_string(),
                Standing::Fact,
                "was in no operation that is recorded",
            );
            if self.asking.operations().is_none() {
                "is not looked at yet".clone_into(&mut cause.says);
            }
            if let Some(reference) = reference(address) {
                cause.causes.extend(self.related(&reference));
            } else {
                let known = self.known_addresses(address.part());
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let near = super::object::nearest(address.as_str(), &names);
                if !near.is_empty() {
                    cause = cause.detail(format!("is one of these meant? {}", near.join(", ")));
                }
            }
            return cause;
        };
        if let Some(reference) = reference(address)
            && let Some(Look::Found(object)) = self.asking.object(&reference)
        {
            // How it stands is what is asked; how it came to be is told already.
            let key = format!("origin of {reference}");
            self.path.push(key);
            let object = Ref::of(object);
            let live = self.related(&object);
            self.path.pop();
            if let Some(live) = live {
                if cause.standing <= Standing::Fact {
                    cause.standing = cause.standing.max(live.standing);
                }
                cause.causes.insert(0, live);
            }
        }
        cause
    }

    fn known_addresses(&self, part: &str) -> Vec<String> {
        let mut known = Vec::new();
        for operation in self
            .asking
            .operations()
            .unwrap_or_default()
            .iter()
            .take(AT_ONCE)
        {
            for entry in self.asking.entries(&name_of(operation)).unwrap_or_default() {
                if entry.address.part() == part {
                    known.push(entry.address.to_string());
                }
            }
        }
        known.sort();
        known.dedup();
        known
    }

    /// The operations that touched a resource, newest first, each with the last that is recorded of it.
    fn touching(&self, address: &Address, score: Option<&str>) -> Vec<(&'e Operation, &'e Entry)> {
        let mut found = Vec::new();
        let mut unknown = 0;
        let operations = self.asking.operations().unwrap_or_default();
        for operation in operations
            .iter()
            .filter(|operation| score.is_none_or(|score| operation.score == score))
            .take(LOOK_BACK)
        {
            let Some(entries) = self.asking.entries(&name_of(operation)) else {
                unknown += 1;
                if unknown >= AT_ONCE {
                    break;
                }
                continue;
            };
            if let Some(entry) = entries.iter().rev().find(|entry| entry.address == *address) {
                found.push((operation, entry));
                if found.len() >= TOLD {
                    break;
                }
            }
        }
        found
    }

    /// What operations did about a resource: the last as the cause, those before it below.
    pub(super) fn history_of(&mut self, address: &Address, score: Option<&str>) -> Option<Cause> {
        let touching = self.touching(address, score);
        let (operation, entry) = *touching.first()?;
        let key = format!("{}:{address}", operation.score);
        self.once(key, |this| {
            let mut cause = this.step(operation, entry);
            for (operation, entry) in &touching[1..] {
                let before = Self::step_brief(operation, entry);
                cause.causes.push(before);
            }
            cause
        })
    }

    /// What happened to a resource in an operation.
    fn step(&mut self, operation: &'e Operation, entry: &Entry) -> Cause {
        let name = name_of(operation);
        let address = &entry.address;
        let change = self.change(operation, address);
        let mut cause = match &entry.event {
            Event::Done => Cause::new(
                address.to_string(),
                Standing::Fact,
                format!("{} by operation {name}", did(entry.action)),
            ),
            Event::Began { attempt } => {
                let running = operation.phase == Phase::Running;
                let mut says = if running {
                    format!("is being {} by operation {name}", to_do(entry.action))
                } else {
                    format!(
                        "was to be {} by operation {name}, which ended in the middle of it",
                        to_do(entry.action)
                    )
                };
                if *attempt > 1 {
                    says.push_str(&format!(" (attempt {attempt})"));
                }
                let standing = if running {
                    Standing::Waiting
                } else {
                    Standing::Bad
                };
                Cause::new(address.to_string(), standing, says)
            }
            Event::Failed { problem } => {
                let mut cause = Cause::new(
                    address.to_string(),
                    Standing::Bad,
                    format!(
                        "could not be {} by operation {name}: {}",
                        to_do(entry.action),
                        problem.summary
                    ),
                );
                self.problem(problem, &mut cause);
                cause
            }
            Event::Skipped { because } => {
                let mut cause = Cause::new(
                    address.to_string(),
                    Standing::Bad,
                    match because {
                        Some(because) => format!(
                            "was not {} by operation {name}: {because} did not get done",
                            to_do(entry.action)
                        ),
                        None => format!(
                            "was not {} by operation {name}: it was ended before",
                            to_do(entry.action)
                        ),
                    },
                );
                if let Some(because) = because {
                    let below = self.failed_in(operation, because);
                    let found = below.is_some();
                    cause.causes.extend(below);
                    if found {
                        // The operation and its commit are told below that.
                        cause.time = Some(entry.time);
                        return cause;
                    }
                }
                cause
            }
        };
        cause.time = Some(entry.time);
        if let Some(change) = change {
            cause.location = cause.location.or_else(|| change.location.clone());
            for reason in &change.reasons {
                cause.details.push(format!("because {reason}"));
            }
            if matches!(entry.action, Action::Update) || entry.action.is_replace() {
                cause.details.extend(render::changed_fields(change, 8));
            }
        }
        let origin = self.origin_of_operation(operation);
        cause.causes.push(origin);
        cause
    }

    fn step_brief(operation: &'e Operation, entry: &Entry) -> Cause {
        let how = match &entry.event {
            Event::Done => did(entry.action).to_owned(),
            Event::Began { .. } => format!("was begun to be {}", to_do(entry.action)),
            Event::Failed { problem } => {
                format!("could not be {}: {}", to_do(entry.action), problem.summary)
            }
            Event::Skipped { .. } => format!("was not {}", to_do(entry.action)),
        };
        let mut cause = Cause::new(
            format!("before that, in {}", name_of(operation)),
            Standing::Fact,
            format!("it {how}{}", wanted_by(operation)),
        );
        cause.time = Some(entry.time);
        cause
    }

    /// A resource that kept another from being done.
    fn failed_in(&mut self, operation: &'e Operation, address: &Address) -> Option<Cause> {
        let entries = self.asking.entries(&name_of(operation))?;
        let entry = entries
            .iter()
            .rev()
            .find(|entry| entry.address == *address)?;
        self.once(format!("{}:{address}", operation.score), |this| {
            this.step(operation, entry)
        })
    }

    fn problem(&mut self, problem: &Problem, cause: &mut Cause) {
        cause.location.clone_from(&problem.location);
        for line in problem
            .detail
            .lines()
            .filter(|line| !line.trim().is_empty())
            .take(12)
        {
            cause.details.push(line.to_owned());
        }
        if let Some(hint) = &problem.hint {
            cause.details.push(format!("hint: {hint}"));
        }
        let namespace = problem
            .address
            .as_ref()
            .and_then(reference)
            .map(|reference| reference.namespace)
            .unwrap_or_default();
        let message = format!("{}\n{}", problem.summary, problem.detail);
        let behind = self.behind(&message, &namespace);
        cause.causes.extend(behind);
    }

    /// What an operation's blueprint does to a resource.
    fn change(&self, operation: &Operation, address: &Address) -> Option<&'e Change> {
        let blueprint: &'e Blueprint = self.asking.blueprint(&operation.blueprint)?;
        blueprint
            .changes
            .iter()
            .find(|change| change.address == *address)
    }

    /// Who started an operation and from what, in one line with its own cause.
    fn origin_of_operation(&mut self, operation: &Operation) -> Cause {
        let mut cause = Cause::new(
            format!("operation {}", name_of(operation)),
            Standing::Fact,
            format!(
                "was started by {}{}",
                operation.author,
                purpose(&operation.mode)
            ),
        )
        .at(Some(operation.started));
        if let Some(approved) = &operation.approved_by {
            cause.says.push_str(&format!(", approved by {approved}"));
        }
        if let Some(why) = &operation.cause {
            cause.causes.push(Cause::new(
                "it came to be",
                Standing::Fact,
                format!("because of: {why}"),
            ));
        }
        cause.causes.extend(self.origin_of_revision(operation));
        cause
    }

    /// What an operation applied: a commit, a directory, or what an earlier revision had applied, down to its commit.
    fn origin_of_revision(&self, operation: &Operation) -> Option<Cause> {
        let mut cause = origin_of_source(&operation.source);
        let mut source = &operation.source;
        // Revisions go back only: this ends.
        let mut bound = operation.revision;
        while let Source::Revision { revision } = source
            && *revision < bound
        {
            let former = self
                .asking
                .operations()?
                .iter()
                .find(|other| other.score == operation.score && other.revision == *revision);
            let Some(former) = former else { break };
            bound = *revision;
            source = &former.source;
        }
        if !matches!(source, Source::Revision { .. }) && *source != operation.source {
            cause.causes.push(origin_of_source(source));
        }
        Some(cause)
    }

    /// Explains an operation: what failed in it and why, what was not tried, who started it.
    pub(super) fn operation(&mut self, name: &str) -> Cause {
        let title = format!("operation {name}");
        let Some(operations) = self.asking.operations() else {
            return Cause::new(title, Standing::Waiting, "is not looked at yet");
        };
        let Some(operation) = operations
            .iter()
            .find(|operation| name_of(operation) == name)
        else {
            return Cause::new(title, Standing::Bad, "is not recorded")
                .look("consort history".to_owned());
        };
        let counts = format!(
            "{} of {} done, {} failed, {} not tried",
            operation.done, operation.total, operation.failed, operation.skipped
        );
        let (standing, says) = match operation.phase {
            Phase::Running => (Standing::Waiting, format!("is under way: {counts}")),
            Phase::Succeeded => (
                Standing::Good,
                format!("went well: {} done", operation.done),
            ),
            Phase::Failed => (Standing::Bad, format!("failed: {counts}")),
            Phase::Cancelled => (Standing::Bad, format!("was ended early: {counts}")),
        };
        let mut cause =
            Cause::new(title, standing, says).at(operation.ended.or(Some(operation.started)));
        if let Some(entries) = self.asking.entries(name) {
            const SHOWN: usize = 10;
            let mut last: indexmap::IndexMap<&Address, &Entry> = indexmap::IndexMap::new();
            for entry in entries {
                last.insert(&entry.address, entry);
            }
            let mut failures = 0;
            let mut skipped: indexmap::IndexMap<Option<&Address>, usize> =
                indexmap::IndexMap::new();
            for entry in last.values() {
                match &entry.event {
                    Event::Failed { .. } => {
                        failures += 1;
                        if failures > SHOWN {
                            continue;
                        }
                        let step = self.failed_step(operation, entry);
                        cause.causes.extend(step);
                    }
                    Event::Began { .. } => {
                        let step = self.failed_step(operation, entry);
                        cause.causes.extend(step);
                    }
                    Event::Skipped { because } => {
                        *skipped.entry(because.as_ref()).or_default() += 1;
                    }
                    Event::Done => {}
                }
            }
            if failures > SHOWN {
                cause
                    .details
                    .push(format!("{} more have failed", failures - SHOWN));
            }
            for (because, count) in skipped {
                let many = if count == 1 {
                    "1 resource was".to_owned()
                } else {
                    format!("{count} resources were")
                };
                cause.details.push(match because {
                    Some(because) => format!("{many} not tried because of {because}"),
                    None => format!("{many} not tried because it was ended"),
                });
            }
        }
        if matches!(operation.phase, Phase::Failed | Phase::Cancelled) {
            let latest = operations
                .iter()
                .filter(|other| other.score == operation.score)
                .map(|other| other.revision)
                .max();
            if latest == Some(operation.revision) {
                cause.next.push(format!("consort resume {name}"));
            }
        }
        let origin = self.origin_of_operation(operation);
        cause.causes.push(origin);
        cause
    }

    /// A step that did not go well, with how the object stands that it is about.
    fn failed_step(&mut self, operation: &'e Operation, entry: &Entry) -> Option<Cause> {
        self.once(format!("{}:{}", operation.score, entry.address), |this| {
            let mut cause = this.step(operation, entry);
            // Who started the operation is told once, for the whole of it.
            cause
                .causes
                .retain(|below| below.what != format!("operation {}", name_of(operation)));
            if let Some(reference) = reference(&entry.address)
                && let Some(Look::Found(_)) = this.asking.object(&reference)
            {
                this.path.push(format!("origin of {reference}"));
                let live = this.related(&reference);
                this.path.pop();
                cause
                    .causes
                    .extend(live.filter(|live| live.standing > Standing::Fact));
            }
            cause
        })
    }

    /// Explains a blueprint: what keeps it from being carried out.
    pub(super) fn blueprint(&mut self, id: &str) -> Cause {
        let title = format!("blueprint {id}");
        let Some(blueprint) = self.asking.blueprint(id) else {
            let says = if self.asking.blueprint_is_gone(id) {
                "is not kept here"
            } else {
                "is not looked at yet"
            };
            return Cause::new(title, Standing::Waiting, says);
        };
        let denials = blueprint
            .verdicts
            .iter()
            .filter(|verdict| verdict.kind == VerdictKind::Deny);
        let mut cause = if blueprint.is_denied() {
            Cause::new(
                title,
                Standing::Bad,
                "must not be carried out: policies forbid it",
            )
        } else if blueprint.blast.needs_approval {
            Cause::new(
                title,
                Standing::Waiting,
                format!(
                    "needs an approval: {} points, more than {} are allowed without",
                    blueprint.blast.total, blueprint.blast.threshold
                ),
            )
            .look(format!("consort approve {id}"))
        } else {
            Cause::new(title, Standing::Good, "may be carried out")
        }
        .at(Some(blueprint.time));
        for verdict in denials {
            let mut denial = Cause::new(
                format!("rule {}", verdict.rule),
                Standing::Bad,
                format!("denies it: {}", verdict.message),
            );
            denial.location.clone_from(&verdict.location);
            if let Some(address) = &verdict.address {
                denial.details.push(format!("it is about {address}"));
            }
            cause.causes.push(denial);
        }
        let mut points: Vec<_> = blueprint.blast.each.iter().collect();
        points.sort_by_key(|points| std::cmp::Reverse(points.points));
        for points in points.into_iter().take(5) {
            if let Some(change) = blueprint.changes.get(points.change as usize) {
                cause.causes.push(Cause::new(
                    change.address.to_string(),
                    Standing::Fact,
                    format!(
                        "counts {} {}: {}",
                        points.points,
                        if points.points == 1 {
                            "point"
                        } else {
                            "points"
                        },
                        points.because
                    ),
                ));
            }
        }
        for why in &blueprint.blast.approval {
            cause.details.push(why.clone());
        }
        let operations = self.asking.operations().unwrap_or_default();
        for operation in operations {
            if operation.blueprint == id {
                let carried = self.origin_of_operation(operation);
                cause.causes.push(carried);
            }
        }
        let mut author = Cause::new(
            "it",
            Standing::Fact,
            format!("was planned for {}", blueprint.author),
        )
        .at(Some(blueprint.time));
        author.causes.push(origin_of_source(&blueprint.source));
        cause.causes.push(author);
        cause
    }
}

fn purpose(mode: &Mode) -> String {
    match mode {
        Mode::Apply => String::new(),
        Mode::Destroy => " to destroy the score".to_owned(),
        Mode::Rollback { to } => format!(" to go back to revision {to}"),
        Mode::Heal => " to put back what had drifted".to_owned(),
    }
}

fn wanted_by(operation: &Operation) -> String {
    let commit = match &operation.source {
        Source::Directory {
            commit: Some(commit),
            ..
        }
        | Source::Git { commit, .. } => {
            let id: String = commit.id.chars().take(12).collect();
            format!(", commit {id} of {}", commit.author)
        }
        _ => String::new(),
    };
    format!(
        ", started by {}{}{commit}",
        operation.author,
        purpose(&operation.mode)
    )
}

fn origin_of_source(source: &Source) -> Cause {
    let commit = match source {
        Source::Directory {
            commit: Some(commit),
            ..
        }
        | Source::Git { commit, .. } => commit,
        Source::Directory { path, commit: None } => {
            return Cause::new(
                format!("directory {path}"),
                Standing::Fact,
                "is what was applied; it was in no commit as it was",
            );
        }
        Source::Revision { revision } => {
            return Cause::new(
                format!("revision {revision}"),
                Standing::Fact,
                "is what was applied again",
            );
        }
    };
    let id: String = commit.id.chars().take(12).collect();
    let place = match source {
        Source::Git { url, reference, .. } => format!(" ({reference} of {url})"),
        _ => String::new(),
    };
    Cause::new(
        format!("commit {id}"),
        Standing::Fact,
        format!(
            "\"{}\" was written by {}{place}",
            commit.subject, commit.author
        ),
    )
    .at(Some(commit.time))
    .look(format!("git show {id}"))
}

/// The object of the API that a resource is, by its address: `GROUP/VERSION/KIND/NAMESPACE/NAME`, the group left out
/// for the core and the namespace for what has none.
pub(super) fn reference(address: &Address) -> Option<Ref> {
    let parts: Vec<&str> = address.local().split('/').collect();
    let version = |text: &str| {
        text.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match parts.as_slice() {
        [own, kind, name] if version(own) => Some(Ref::new("", kind, "", name)),
        [own, kind, namespace, name] if version(own) => Some(Ref::new("", kind, namespace, name)),
        [group, own, kind, name] if version(own) => Some(Ref::new(group, kind, "", name)),
        [group, own, kind, namespace, name] if version(own) => {
            Some(Ref::new(group, kind, namespace, name))
        }
        _ => None,
    }
}
