//! What a module defines.

use crate::syntax::{Module, Step, TermKind, metadata};

/// What a rule makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleKind {
    /// One value: `allow if ...`, `x := 1`.
    Complete,
    /// A set: `deny contains message if ...`.
    Set,
    /// An object: `port[name] := number if ...`.
    Object,
    /// A function.
    Function,
    /// What a rule is where nothing else makes it: `default allow := false`.
    Default,
}

/// One definition of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The package, without `data.`: `shop.rules`.
    pub package: String,
    /// Its name within the package: `deny`.
    pub name: String,
    /// What it makes.
    pub kind: RuleKind,
    /// The file, as it was named when it was added.
    pub file: String,
    /// Where it begins, from one.
    pub line: u32,
}

impl Rule {
    /// What to ask for: `data.shop.rules.deny`.
    pub fn path(&self) -> String {
        format!("data.{}.{}", self.package, self.name)
    }
}

/// Names joined so that they read as a reference: `a.b["c-d"]`.
fn joined(names: &[String]) -> String {
    names
        .iter()
        .enumerate()
        .fold(String::new(), |mut out, (at, name)| {
            let plain = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
                && name
                    .chars()
                    .all(|char| char.is_ascii_alphanumeric() || char == '_');
            match (at, plain) {
                (0, _) => out.push_str(name),
                (_, true) => {
                    out.push('.');
                    out.push_str(name);
                }
                (_, false) => {
                    out.push('[');
                    out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                    out.push(']');
                }
            }
            out
        })
}

pub(super) fn of(file: &str, module: &Module) -> Vec<Rule> {
    let package = joined(&metadata::package_path(module));
    module
        .rules
        .iter()
        .map(|rule| {
            let names = metadata::rule_path(rule);
            let steps = match &rule.head.name.kind {
                TermKind::Ref { path, .. } => path.as_slice(),
                _ => &[],
            };
            let constant = steps.iter().all(|step| step.name().is_some());
            // Before v1, `p[x]` without a value makes a set.
            let bracket = matches!(steps.last(), Some(Step::Bracket(..)));
            let (names, kind) = match (&rule.head, rule.default) {
                (_, true) => (names, RuleKind::Default),
                (head, _) if head.args.is_some() => (names, RuleKind::Function),
                (head, _) if head.key.is_some() => (names, RuleKind::Set),
                (head, _)
                    if bracket
                        && steps.len() == 1
                        && head.value.is_none()
                        && !rule.body.as_ref().is_some_and(|body| body.conditional) =>
                {
                    (names[..1].to_vec(), RuleKind::Set)
                }
                (_, _) if bracket && steps.len() == 1 => (names[..1].to_vec(), RuleKind::Object),
                (_, _) if !constant => (names, RuleKind::Object),
                _ => (names, RuleKind::Complete),
            };
            Rule {
                package: package.clone(),
                name: joined(&names),
                kind,
                file: file.to_owned(),
                line: rule.span.line,
            }
        })
        .collect()
}
