//! What a package expects as its input: the whole plan, one object at a time, or a review of admission. Policies do not
//! say it; what they read of `input` does.

use std::collections::{BTreeMap, BTreeSet};

/// What a package is evaluated with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(crate) enum Style {
    /// The plan, once.
    Plan,
    /// Each object that will be there: `input.kind`, as `conftest test deploy.yaml` does it.
    Object,
    /// Each object as Gatekeeper shows it: `input.review.object`.
    Gatekeeper,
    /// Each object as an AdmissionReview: `input.request.object`.
    Admission,
}

/// What the modules read.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    packages: BTreeMap<String, Package>,
    /// Whether anything reads the graph, or the plan below another name.
    pub(crate) graph: bool,
    pub(crate) nested: bool,
}

#[derive(Debug, Default)]
struct Package {
    keys: BTreeSet<String>,
    uses: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

impl Reads {
    /// Looks through modules.
    pub(crate) fn of<'a>(modules: impl IntoIterator<Item = &'a str>) -> Self {
        let mut this = Reads::default();
        for text in modules {
            this.module(&tokens(text));
        }
        let read = |key: &str| this.packages.values().any(|it| it.keys.contains(key));
        (this.graph, this.nested) = (
            read("graph"),
            ["plan", "run", "tfplan", "tfrun", "terraform"]
                .iter()
                .any(|key| read(key)),
        );
        this
    }

    fn module(&mut self, tokens: &[Token]) {
        let word = |at: usize| match tokens.get(at) {
            Some(Token::Word(word)) => Some(word.as_str()),
            _ => None,
        };
        let mark = |at: usize, c: char| tokens.get(at) == Some(&Token::Mark(c));
        // `.a.b["c"]` from a place on.
        let path = |mut at: usize| {
            let mut steps: Vec<String> = Vec::new();
            loop {
                if mark(at, '.')
                    && let Some(step) = word(at + 1)
                {
                    steps.push(step.to_owned());
                    at += 2;
                } else if mark(at, '[')
                    && let Some(Token::Text(step)) = tokens.get(at + 1)
                    && mark(at + 2, ']')
                {
                    steps.push(step.clone());
                    at += 3;
                } else {
                    return (steps, at);
                }
            }
        };
        let mut package = Package::default();
        let mut name = String::new();
        let mut aliases: BTreeSet<String> = BTreeSet::from(["input".to_owned()]);
        for at in 0..tokens.len() {
            if at > 0 && mark(at - 1, '.') {
                continue;
            }
            match word(at) {
                Some("package") if name.is_empty() => {
                    let (steps, _) = path(at + 2);
                    name = word(at + 1)
                        .into_iter()
                        .map(str::to_owned)
                        .chain(steps)
                        .collect::<Vec<_>>()
                        .join(".");
                }
                Some("import") if word(at + 1) == Some("input") => {
                    let (steps, after) = path(at + 2);
                    if steps.is_empty()
                        && word(after) == Some("as")
                        && let Some(alias) = word(after + 1)
                    {
                        aliases.insert(alias.to_owned());
                    }
                }
                Some("data") => {
                    package.uses.insert(path(at + 1).0.join("."));
                }
                Some(alias) if aliases.contains(alias) => {
                    let (steps, after) = path(at + 1);
                    if let Some(step) = steps.into_iter().next() {
                        package.keys.insert(step);
                    } else if mark(after, ',')
                        && let Some(Token::Text(key)) = tokens.get(after + 1)
                    {
                        // `object.get(input, "kind", "")`
                        package.keys.insert(key.clone());
                    }
                }
                _ => {}
            }
        }
        let known = self.packages.entry(name).or_default();
        known.keys.append(&mut package.keys);
        known.uses.append(&mut package.uses);
    }

    /// What a package expects, by what it reads itself and in the packages it uses.
    pub(crate) fn style(&self, package: &str) -> Style {
        let keys = self.keys(package);
        let any = |names: &[&str]| names.iter().any(|name| keys.contains(name));
        if any(&OF_PLANS) {
            Style::Plan
        } else if any(&["review"]) {
            Style::Gatekeeper
        } else if any(&["request"]) {
            Style::Admission
        } else if any(&["kind", "apiVersion", "metadata", "spec"]) {
            Style::Object
        } else {
            Style::Plan
        }
    }

    /// Whether a package reads what only plans have.
    pub(crate) fn of_plan(&self, package: &str) -> bool {
        let keys = self.keys(package);
        OF_PLANS.iter().any(|name| keys.contains(name))
    }

    /// What a package reads of its input, and the packages it uses.
    fn keys<'s>(&'s self, package: &'s str) -> BTreeSet<&'s str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![package];
        let mut keys: BTreeSet<&str> = BTreeSet::new();
        while let Some(package) = open.pop() {
            if !seen.insert(package) {
                continue;
            }
            let Some(known) = self.packages.get(package) else {
                continue;
            };
            keys.extend(known.keys.iter().map(String::as_str));
            for used in &known.uses {
                let mut name = used.as_str();
                // A reference goes on into the package: `data.lib.kubernetes.is_pod`.
                while !self.packages.contains_key(name) {
                    match name.rfind('.') {
                        Some(dot) => name = &name[..dot],
                        None => break,
                    }
                }
                open.push(name);
            }
        }
        keys
    }
}

/// What only plans have.
const OF_PLANS: [&str; 16] = [
    "resource_changes",
    "planned_values",
    "configuration",
    "prior_state",
    "output_changes",
    "resource_drift",
    "variables",
    "graph",
    "plan",
    "tfplan",
    "terraform",
    "run",
    "tfrun",
    "mode",
    "score",
    "parts",
];

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        match c {
            '#' => while rest.next_if(|(_, c)| *c != '\n').is_some() {},
            '"' => {
                let mut value = String::new();
                while let Some((_, c)) = rest.next() {
                    match c {
                        '"' | '\n' => break,
                        '\\' => {
                            rest.next();
                        }
                        c => value.push(c),
                    }
                }
                tokens.push(Token::Text(value));
            }
            '`' => {
                while rest.next_if(|(_, c)| *c != '`').is_some() {}
                rest.next();
                tokens.push(Token::Text(String::new()));
            }
            c if c.is_alphabetic() || c == '_' => {
                while rest
                    .next_if(|(_, c)| c.is_alphanumeric() || *c == '_')
                    .is_some()
                {}
                let end = rest.peek().map_or(text.len(), |(at, _)| *at);
                tokens.push(Token::Word(text[start..end].to_owned()));
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Mark(c)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_expects_shows_in_what_it_reads() {
        let reads = Reads::of([
            "package a\nimport input as tfplan\ndeny[msg] { tfplan.resource_changes[_]; msg := \"x\" }",
            "package main\nimport data.lib.kubernetes\ndeny[msg] { kubernetes.is_pod; msg := \"input.plan\" }",
            "package lib.kubernetes\n# input.plan\nis_pod { input.kind == \"Pod\" }",
            "package k8spsp\nviolation[{\"msg\": msg}] { input.review.object.spec.hostPID; msg := \"no\" }",
            "package review\ndeny[msg] { input[\"request\"].kind.kind == \"Pod\"; msg := input.request.name }",
            "package walker\ndeny[msg] { walk(input, [_, value]); value == 1; msg := \"one\" }",
            "package getter\ndeny contains 1 if object.get(input, \"kind\", \"\") == \"Pod\"",
        ]);
        let styles =
            ["a", "main", "k8spsp", "review", "walker", "getter"].map(|it| reads.style(it));
        assert_eq!(
            styles,
            [
                Style::Plan,
                Style::Object,
                Style::Gatekeeper,
                Style::Admission,
                Style::Plan,
                Style::Object
            ]
        );
        assert!(!reads.nested && !reads.graph);
    }
}
