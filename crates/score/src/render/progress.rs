//! A walk while it is under way: what is worked on as a tree, what is done as lines.

use std::collections::BTreeMap;
use std::time::Duration;

use consort_plan::{Action, Blueprint, Entry, Event, Problem};

use super::mark;
use super::style::{Style, columns, elapsed, escaped, fitted};

/// The state of a walk as far as it is told. It keeps no clock: whoever tells something says when it was, as the span
/// since the walk began.
#[derive(Clone, Debug)]
pub struct Progress {
    parts: Vec<Part>,
    /// By change, in which part it is; only those that something is done about.
    steps: BTreeMap<u32, Step>,
    active: BTreeMap<u32, Active>,
    total: usize,
    done: usize,
    failed: usize,
    skipped: usize,
}

#[derive(Clone, Debug)]
struct Part {
    name: String,
    total: usize,
    done: usize,
    failed: usize,
    skipped: usize,
}

#[derive(Clone, Debug)]
struct Step {
    part: usize,
    /// The name within the part, fit for terminals.
    name: String,
    action: Action,
    ended: Option<Ended>,
}

/// How a step stands that is not under way; a failed one may begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Failed,
    Skipped,
}

#[derive(Clone, Debug)]
struct Active {
    since: Duration,
    attempt: u32,
    note: String,
    noted: Duration,
}

/// Something worth a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line, with colours as the style has them.
    pub text: String,
    /// Whether it is worth it also where the tree shows the same (the end of a step), or only where there is none (its
    /// beginning, a note).
    pub lasting: bool,
}

/// How often a step that goes on tells how it stands, where there is no tree.
const AGAIN: Duration = Duration::from_secs(10);

impl Progress {
    /// Of a blueprint of which nothing is done yet. Resources that stay as they are have no part in it.
    pub fn new(blueprint: &Blueprint) -> Self {
        let mut parts = Vec::with_capacity(blueprint.parts.len());
        let mut steps = BTreeMap::new();
        for part in &blueprint.parts {
            let place = parts.len();
            let mut total = 0;
            let to = part.first.saturating_add(part.count);
            for index in part.first..to.min(blueprint.changes.len() as u32) {
                let change = &blueprint.changes[index as usize];
                if change.action == Action::NoOp {
                    continue;
                }
                total += 1;
                let step = Step {
                    part: place,
                    name: escaped(change.address.local()).into_owned(),
                    action: change.action,
                    ended: None,
                };
                steps.insert(index, step);
            }
            parts.push(Part {
                name: escaped(&part.name).into_owned(),
                total,
                done: 0,
                failed: 0,
                skipped: 0,
            });
        }
        Progress {
            parts,
            total: steps.len(),
            steps,
            active: BTreeMap::new(),
            done: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Takes in an entry of the operation's record.
    pub fn entry(
        &mut self,
        change: u32,
        entry: &Entry,
        now: Duration,
        style: &Style,
    ) -> Option<Line> {
        if !self.steps.contains_key(&change) {
            // Told of what the plan did not mean to touch: it counts all the same.
            let part = self
                .parts
                .iter()
                .position(|part| part.name == escaped(entry.address.part()))?;
            let step = Step {
                part,
                name: escaped(entry.address.local()).into_owned(),
                action: entry.action,
                ended: None,
            };
            self.steps.insert(change, step);
            self.parts[part].total += 1;
            self.total += 1;
        }
        let step = &self.steps[&change];
        let name = format!("{}/{}", self.parts[step.part].name, step.name);
        let sign = mark(step.action);
        let began = self.active.get(&change).map(|active| active.since);
        let took = began
            .map(|began| {
                style
                    .dim(&format!("  ({})", elapsed(now.saturating_sub(began))))
                    .into_owned()
            })
            .unwrap_or_default();
        let at = format!("{:>7}", elapsed(now));
        let at = style.dim(&at);
        self.ended(
            change,
            match &entry.event {
                Event::Began { .. } => None,
                Event::Done => Some(Ended::Done),
                Event::Failed { .. } => Some(Ended::Failed),
                Event::Skipped { .. } => Some(Ended::Skipped),
            },
        );
        let (text, lasting) = match &entry.event {
            Event::Began { attempt } => {
                let since = began.unwrap_or(now);
                self.active.insert(
                    change,
                    Active {
                        since,
                        attempt: *attempt,
                        note: String::new(),
                        noted: now,
                    },
                );
                let (word, lasting) = if *attempt > 1 {
                    (style.yellow("again"), true)
                } else {
                    (style.dim("begin"), false)
                };
                let attempt = if *attempt > 1 {
                    format!("  (attempt {attempt})")
                } else {
                    String::new()
                };
                (format!("{at}  {word}  {sign:3} {name}{attempt}"), lasting)
            }
            Event::Done => {
                self.active.remove(&change);
                let word = style.green("done ");
                (format!("{at}  {word}  {sign:3} {name}{took}"), true)
            }
            Event::Failed { problem } => {
                self.active.remove(&change);
                let word = style.red("FAIL ");
                let why = escaped(&problem.summary);
                (format!("{at}  {word}  {sign:3} {name}{took}: {why}"), true)
            }
            Event::Skipped { because } => {
                self.active.remove(&change);
                let word = style.yellow("skip ");
                let why = match because {
                    Some(because) => {
                        format!("because {} did not get done", escaped(because.as_str()))
                    }
                    None => "because the operation was ended".to_owned(),
                };
                (format!("{at}  {word}  {sign:3} {name}, {why}"), true)
            }
        };
        Some(Line { text, lasting })
    }

    /// Counts how a step ended, in place of how it did before.
    fn ended(&mut self, change: u32, ended: Option<Ended>) {
        let Some(step) = self.steps.get_mut(&change) else {
            return;
        };
        let part = &mut self.parts[step.part];
        let former = std::mem::replace(&mut step.ended, ended);
        for (which, more) in [(former, false), (ended, true)] {
            let counts = match which {
                None => continue,
                Some(Ended::Done) => [&mut part.done, &mut self.done],
                Some(Ended::Failed) => [&mut part.failed, &mut self.failed],
                Some(Ended::Skipped) => [&mut part.skipped, &mut self.skipped],
            };
            for count in counts {
                *count = if more { *count + 1 } else { *count - 1 };
            }
        }
    }

    /// Takes in what failed that belongs to no resource of the plan: a step that only evaluates.
    pub fn apart(&self, entry: &Entry, now: Duration, style: &Style) -> Option<Line> {
        let Event::Failed { problem } = &entry.event else {
            return None;
        };
        let at = format!("{:>7}", elapsed(now));
        let text = format!(
            "{}  {}      {}: {}",
            style.dim(&at),
            style.red("FAIL "),
            escaped(entry.address.as_str()),
            escaped(&problem.summary)
        );
        Some(Line {
            text,
            lasting: true,
        })
    }

    /// Takes in how a step stands.
    pub fn note(&mut self, change: u32, text: &str, now: Duration, style: &Style) -> Option<Line> {
        let active = self.active.get_mut(&change)?;
        let text = escaped(text);
        if active.note == text {
            return None;
        }
        active.note = text.into_owned();
        if now.saturating_sub(active.noted) < AGAIN {
            return None;
        }
        active.noted = now;
        let step = self.steps.get(&change)?;
        let at = format!("{:>7}", elapsed(now));
        let text = format!(
            "{}  {}  {:3} {}/{}: {}",
            style.dim(&at),
            style.dim("still"),
            mark(step.action),
            self.parts[step.part].name,
            step.name,
            active.note
        );
        Some(Line {
            text,
            lasting: false,
        })
    }

    /// Takes in that a step failed and is done again after a while.
    pub fn retrying(
        &mut self,
        change: u32,
        problem: &Problem,
        after: Duration,
        now: Duration,
        style: &Style,
    ) -> Option<Line> {
        let step = self.steps.get(&change)?;
        let why = escaped(&problem.summary);
        if let Some(active) = self.active.get_mut(&change) {
            active.note = format!("{why}; again in {}", elapsed(after));
        }
        let at = format!("{:>7}", elapsed(now));
        let text = format!(
            "{}  {}  {:3} {}/{}: {why}; again in {}",
            style.dim(&at),
            style.yellow("retry"),
            mark(step.action),
            self.parts[step.part].name,
            step.name,
            elapsed(after)
        );
        Some(Line {
            text,
            lasting: true,
        })
    }

    /// What is under way, as a tree: the parts that are not done, below each what is worked on with how long it takes
    /// already, and one line for the whole. At most `height` lines, none wider than the style says.
    pub fn frame(&self, now: Duration, style: &Style, height: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut by_part: Vec<Vec<(&u32, &Active)>> = vec![Vec::new(); self.parts.len()];
        for (change, active) in &self.active {
            if let Some(step) = self.steps.get(change) {
                by_part[step.part].push((change, active));
            }
        }
        let names = self
            .active
            .keys()
            .filter_map(|change| self.steps.get(change))
            .map(|step| columns(&step.name))
            .max()
            .unwrap_or(0)
            .min(style.width / 2);
        // Each part has a line of its own; the rest is for what is worked on.
        let room = height.saturating_sub(2);
        let mut used = 0;
        let mut hidden = 0;
        for (part, active) in self.parts.iter().zip(&mut by_part) {
            if part.total == 0 || (part.done + part.failed + part.skipped >= part.total) {
                continue;
            }
            if used >= room {
                hidden += active.len();
                continue;
            }
            used += 1;
            let mut about = format!("  {} of {}", part.done, part.total);
            if part.failed > 0 {
                about.push_str(&format!(", {} failed", part.failed));
            }
            if part.skipped > 0 {
                about.push_str(&format!(", {} not tried", part.skipped));
            }
            let head = fitted(&part.name, style.width);
            let about = fitted(&about, style.width.saturating_sub(columns(&head))).into_owned();
            lines.push(format!("{}{}", style.bold(&head), style.dim(&about)));
            active.sort_by_key(|(change, active)| (active.since, **change));
            let shown = active.len().min(room - used);
            hidden += active.len() - shown;
            for (index, (change, active)) in active.iter().take(shown).enumerate() {
                used += 1;
                let step = &self.steps[*change];
                let branch = if index + 1 == shown { "`-- " } else { "|-- " };
                let time = elapsed(now.saturating_sub(active.since));
                let name = fitted(&step.name, style.width.saturating_sub(18).max(8));
                let gap = names.saturating_sub(columns(&name));
                let mut rest = format!("{:gap$}  {time:>7}", "");
                if active.attempt > 1 {
                    rest.push_str(&format!("  attempt {}", active.attempt));
                }
                if !active.note.is_empty() {
                    rest.push_str("  ");
                    rest.push_str(&active.note);
                }
                let taken = 8 + columns(&name);
                let rest = fitted(&rest, style.width.saturating_sub(taken)).into_owned();
                lines.push(format!(
                    "{}{:3} {name}{}",
                    style.dim(branch),
                    mark(step.action),
                    style.dim(&rest)
                ));
            }
        }
        let mut total = format!("{} of {} done", self.done, self.total);
        if self.failed > 0 {
            total.push_str(&format!(", {} failed", self.failed));
        }
        if self.skipped > 0 {
            total.push_str(&format!(", {} not tried", self.skipped));
        }
        if hidden > 0 {
            total.push_str(&format!(", {hidden} more under way"));
        }
        total.push_str(&format!(", {}", elapsed(now)));
        lines.push(fitted(&total, style.width).into_owned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{failed_operation, shop};

    fn walked() -> (Progress, Vec<Line>) {
        let blueprint = shop();
        let mut progress = Progress::new(&blueprint);
        let (operation, entries) = failed_operation();
        let style = Style::default();
        let mut lines = Vec::new();
        for entry in &entries {
            let change = blueprint
                .changes
                .iter()
                .position(|change| change.address == entry.address)
                .unwrap() as u32;
            let now = entry.time.duration_since(operation.started);
            let now = Duration::try_from(now).unwrap();
            lines.extend(progress.entry(change, entry, now, &style));
            lines.extend(progress.note(change, "waiting\u{1b}[2J for boot", now, &style));
        }
        (progress, lines)
    }

    #[test]
    fn what_happens_is_told_in_lines() {
        let (_, lines) = walked();
        let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn what_is_under_way_is_a_tree_with_elapsed_times_that_fits_the_terminal() {
        let (mut progress, _) = walked();
        let (_, entries) = failed_operation();
        let style = Style {
            width: 60,
            ..Style::default()
        };
        let began = |address: &str, action| Entry {
            address: address.parse().unwrap(),
            action,
            event: Event::Began { attempt: 1 },
            ..entries[0].clone()
        };
        let at = Duration::from_secs;
        progress.entry(
            4,
            &began("app/apps/v1/Deployment/shop/web", Action::Update),
            at(40),
            &style,
        );
        progress.entry(
            6,
            &began("app/v1/Secret/shop/db", Action::Create),
            at(41),
            &style,
        );
        progress.note(
            4,
            "1/3 available, and much more to say than fits",
            at(42),
            &style,
        );
        let frame = progress.frame(at(97), &style, 24);
        assert!(frame.iter().all(|line| columns(line) <= 60), "{frame:#?}");
        assert_eq!(progress.frame(at(97), &style, 4).len(), 3);
        insta::assert_snapshot!(frame.join("\n"));
    }
}
