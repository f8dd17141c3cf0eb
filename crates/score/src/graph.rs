//! The graph of a score: resources with what they depend on, part by part, coloured by what is done about them or how
//! they stand. As DOT, Mermaid and JSON.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use consort_plan::{Action, Blueprint, Entry, Event};
use serde_json::{Value, json};

use crate::render::escaped;

/// How a resource stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It stays as it is.
    Unchanged,
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is replaced.
    Replace,
    /// It is deleted.
    Delete,
    /// It is read, or no longer looked after.
    Other,
    /// Its step is done.
    Done,
    /// Its step is under way.
    Running,
    /// Its step failed.
    Failed,
    /// Its step was not tried.
    Skipped,
}

impl State {
    /// Its word: `unchanged`, `create`, ..., `failed`.
    pub fn word(self) -> &'static str {
        match self {
            State::Unchanged => "unchanged",
            State::Create => "create",
            State::Update => "update",
            State::Replace => "replace",
            State::Delete => "delete",
            State::Other => "other",
            State::Done => "done",
            State::Running => "running",
            State::Failed => "failed",
            State::Skipped => "skipped",
        }
    }

    /// The colours it is filled and drawn with.
    fn colours(self) -> (&'static str, &'static str) {
        match self {
            State::Unchanged => ("#f4f4f5", "#71717a"),
            State::Create | State::Done => ("#dcfce7", "#15803d"),
            State::Update | State::Running => ("#fef9c3", "#a16207"),
            State::Replace => ("#ffedd5", "#c2410c"),
            State::Delete | State::Failed => ("#fee2e2", "#b91c1c"),
            State::Other => ("#e0f2fe", "#0369a1"),
            State::Skipped => ("#ffffff", "#a1a1aa"),
        }
    }

    const ALL: [State; 10] = [
        State::Unchanged,
        State::Create,
        State::Update,
        State::Replace,
        State::Delete,
        State::Other,
        State::Done,
        State::Running,
        State::Failed,
        State::Skipped,
    ];
}

/// A graph that is drawn.
pub struct Drawing<'b> {
    blueprint: &'b Blueprint,
    states: Vec<State>,
    /// Which resources are in it.
    shown: Vec<bool>,
}

impl<'b> Drawing<'b> {
    /// Of a blueprint that is not carried out yet: what would be done.
    pub fn of_plan(blueprint: &'b Blueprint) -> Self {
        let states = blueprint
            .changes
            .iter()
            .map(|change| planned(change.action))
            .collect::<Vec<_>>();
        Drawing {
            shown: vec![true; states.len()],
            blueprint,
            states,
        }
    }

    /// Of an operation: how each step went.
    pub fn of_operation(blueprint: &'b Blueprint, entries: &[Entry]) -> Self {
        let last: HashMap<_, _> = entries
            .iter()
            .map(|entry| (&entry.address, &entry.event))
            .collect();
        let states = blueprint
            .changes
            .iter()
            .map(|change| match last.get(&change.address) {
                None => State::Unchanged,
                Some(Event::Began { .. }) => State::Running,
                Some(Event::Done) => State::Done,
                Some(Event::Failed { .. }) => State::Failed,
                Some(Event::Skipped { .. }) => State::Skipped,
            })
            .collect::<Vec<_>>();
        Drawing {
            shown: vec![true; states.len()],
            blueprint,
            states,
        }
    }

    /// The same with only what does not stay as it is, and what that depends on directly.
    #[must_use]
    pub fn only_changes(mut self) -> Self {
        let mut shown: Vec<bool> = self
            .states
            .iter()
            .map(|state| *state != State::Unchanged)
            .collect();
        let changing = shown.clone();
        for edge in &self.blueprint.edges {
            if changing.get(edge.dependent as usize) == Some(&true)
                && let Some(shown) = shown.get_mut(edge.dependency as usize)
            {
                *shown = true;
            }
        }
        self.shown = shown;
        self
    }

    fn is_shown(&self, place: u32) -> bool {
        self.shown.get(place as usize) == Some(&true)
    }

    /// The resources of each part, by their places.
    fn parts(&self) -> impl Iterator<Item = (&'b consort_plan::PlannedPart, Vec<u32>)> + '_ {
        let count = self.blueprint.changes.len() as u32;
        self.blueprint.parts.iter().map(move |part| {
            let to = part.first.saturating_add(part.count).min(count);
            let places = (part.first.min(to)..to)
                .filter(|place| self.is_shown(*place))
                .collect();
            (part, places)
        })
    }

    /// Edges between what is shown, from what waits to what it waits for, each once.
    fn edges(&self) -> BTreeSet<(u32, u32, &'static str)> {
        self.blueprint
            .edges
            .iter()
            .filter(|edge| self.is_shown(edge.dependent) && self.is_shown(edge.dependency))
            .map(|edge| {
                (
                    edge.dependent,
                    edge.dependency,
                    crate::render::edge_kind(edge.edge),
                )
            })
            .collect()
    }

    /// Edges of many to many, each with its label, what waits and what it waits for.
    fn joints(&self) -> Vec<(&'b consort_plan::Joint, Vec<u32>, Vec<u32>)> {
        let kept = |places: &[u32]| -> Vec<u32> {
            let mut kept: Vec<u32> = places
                .iter()
                .copied()
                .filter(|place| self.is_shown(*place))
                .collect();
            kept.sort_unstable();
            kept.dedup();
            kept
        };
        self.blueprint
            .joints
            .iter()
            .map(|joint| (joint, kept(&joint.dependents), kept(&joint.dependencies)))
            .filter(|(_, dependents, dependencies)| {
                !dependents.is_empty() && !dependencies.is_empty()
            })
            .collect()
    }

    /// As Graphviz draws it. Arrows run from what waits to what it waits for.
    pub fn dot(&self) -> String {
        let mut out = String::from(
            "digraph {\n  rankdir = \"RL\"\n  compound = true\n  node [shape = box, style = \"filled,rounded\", fontname = \"sans-serif\", fontsize = 11]\n  edge [color = \"#71717a\"]\n",
        );
        for (index, (part, places)) in self.parts().enumerate() {
            if places.is_empty() {
                continue;
            }
            let _ = writeln!(
                out,
                "  subgraph cluster_{index} {{\n    label = {}\n    color = \"#d4d4d8\"",
                quoted(&format!("{} ({})", part.name, part.layer))
            );
            for place in places {
                let change = &self.blueprint.changes[place as usize];
                let state = self.states[place as usize];
                let (fill, line) = state.colours();
                let _ = writeln!(
                    out,
                    "    n{place} [label = {}, tooltip = {}, fillcolor = \"{fill}\", color = \"{line}\"]",
                    quoted(change.address.local()),
                    quoted(&format!("{}: {}", change.address, state.word()))
                );
            }
            out.push_str("  }\n");
        }
        for (dependent, dependency, kind) in self.edges() {
            let style = match kind {
                "value" => "",
                "order" => " [style = dashed]",
                "provider" => " [style = dotted]",
                _ => " [style = bold]",
            };
            let _ = writeln!(out, "  n{dependent} -> n{dependency}{style}");
        }
        for (index, (joint, dependents, dependencies)) in self.joints().into_iter().enumerate() {
            let _ = writeln!(
                out,
                "  j{index} [label = {}, shape = plain, style = \"\", fontsize = 9]",
                quoted(&joint.label)
            );
            for place in dependents {
                let _ = writeln!(out, "  n{place} -> j{index} [arrowhead = none]");
            }
            for place in dependencies {
                let _ = writeln!(out, "  j{index} -> n{place}");
            }
        }
        out.push_str("}\n");
        out
    }

    /// As Mermaid draws it.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart RL\n");
        let mut used: BTreeSet<State> = BTreeSet::new();
        for (index, (part, places)) in self.parts().enumerate() {
            if places.is_empty() {
                continue;
            }
            let _ = writeln!(
                out,
                "  subgraph p{index}[\"{}\"]",
                entities(&format!("{} ({})", part.name, part.layer))
            );
            for place in places {
                let change = &self.blueprint.changes[place as usize];
                let state = self.states[place as usize];
                used.insert(state);
                let _ = writeln!(
                    out,
                    "    n{place}[\"{}\"]:::{}",
                    entities(change.address.local()),
                    state.word()
                );
            }
            out.push_str("  end\n");
        }
        for (dependent, dependency, kind) in self.edges() {
            let arrow = match kind {
                "value" => "-->",
                "lifecycle" => "==>",
                _ => "-.->",
            };
            let _ = writeln!(out, "  n{dependent} {arrow} n{dependency}");
        }
        for (index, (joint, dependents, dependencies)) in self.joints().into_iter().enumerate() {
            let _ = writeln!(out, "  j{index}([\"{}\"])", entities(&joint.label));
            for place in dependents {
                let _ = writeln!(out, "  n{place} --- j{index}");
            }
            for place in dependencies {
                let _ = writeln!(out, "  j{index} --> n{place}");
            }
        }
        for state in State::ALL {
            if used.contains(&state) {
                let (fill, line) = state.colours();
                let _ = writeln!(
                    out,
                    "  classDef {} fill:{fill},stroke:{line},color:#18181b",
                    state.word()
                );
            }
        }
        out
    }

    /// As JSON: `nodes` and `edges` by address, `joints` for many to many.
    pub fn json(&self) -> Value {
        let blueprint = self.blueprint;
        let address = |place: &u32| &blueprint.changes[*place as usize].address;
        let mut nodes = Vec::new();
        for (part, places) in self.parts() {
            for place in places {
                let change = &blueprint.changes[place as usize];
                nodes.push(json!({
                    "address": change.address,
                    "part": part.name,
                    "layer": part.layer,
                    "type": change.kind,
                    "action": crate::render::action_word(change.action),
                    "state": self.states[place as usize].word(),
                    "location": change.location,
                }));
            }
        }
        let edges: Vec<Value> = self
            .edges()
            .iter()
            .map(|(dependent, dependency, kind)| {
                json!({"dependent": address(dependent), "dependency": address(dependency), "kind": kind})
            })
            .collect();
        let joints: Vec<Value> = self
            .joints()
            .iter()
            .map(|(joint, dependents, dependencies)| {
                json!({
                    "label": joint.label,
                    "kind": crate::render::edge_kind(joint.edge),
                    "dependents": dependents.iter().map(address).collect::<Vec<_>>(),
                    "dependencies": dependencies.iter().map(address).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "format": 1,
            "type": "graph",
            "score": blueprint.score,
            "blueprint": blueprint.id(),
            "nodes": nodes,
            "edges": edges,
            "joints": joints,
        })
    }
}

fn planned(action: Action) -> State {
    match action {
        Action::NoOp => State::Unchanged,
        Action::Create => State::Create,
        Action::Update => State::Update,
        Action::DeleteThenCreate | Action::CreateThenDelete => State::Replace,
        Action::Delete => State::Delete,
        Action::Read | Action::Forget => State::Other,
    }
}

/// A text as DOT writes it.
fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        escaped(text).replace('\\', "\\\\").replace('"', "\\\"")
    )
}

/// A text as Mermaid writes it: what it would read itself by number.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escaped(text).chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{failed_operation, shop};

    #[test]
    fn a_plan_is_drawn_with_its_parts_as_clusters() {
        let blueprint = shop();
        insta::assert_snapshot!(Drawing::of_plan(&blueprint).dot());
    }

    #[test]
    fn an_operation_is_drawn_by_how_its_steps_went() {
        let blueprint = shop();
        let (_, entries) = failed_operation();
        let drawing = Drawing::of_operation(&blueprint, &entries).only_changes();
        insta::assert_snapshot!(drawing.mermaid());
        insta::assert_snapshot!(serde_json::to_string_pretty(&drawing.json()).unwrap());
    }

    #[test]
    fn hostile_names_stay_names() {
        assert_eq!(quoted("a\"b\\\u{1b}"), r#""a\"b\\\\u001b""#);
        assert_eq!(entities("a\"];b"), "a#34;]#59;b");
    }
}
