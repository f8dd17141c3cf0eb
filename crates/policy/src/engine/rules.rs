//! What a module defines.

use regorus::unstable as rego;

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

pub(super) fn of(file: &str, module: &rego::Module) -> Vec<Rule> {
    let package = module.package.refr.span().text().to_owned();
    module
        .policy
        .iter()
        .map(|rule| {
            let (name, kind) = match rule.as_ref() {
                rego::Rule::Default { refr, .. } => (refr.span().text(), RuleKind::Default),
                rego::Rule::Spec { head, .. } => match head {
                    rego::RuleHead::Compr { refr, .. } => (refr.span().text(), RuleKind::Complete),
                    rego::RuleHead::Set { refr, .. } => (refr.span().text(), RuleKind::Set),
                    rego::RuleHead::Func { refr, .. } => (refr.span().text(), RuleKind::Function),
                },
            };
            let (name, kind) = match name.split_once('[') {
                Some((name, _)) if kind == RuleKind::Complete => (name, RuleKind::Object),
                Some((name, _)) => (name, kind),
                None => (name, kind),
            };
            Rule {
                package: package.clone(),
                name: name.to_owned(),
                kind,
                file: file.to_owned(),
                line: rule.span().line,
            }
        })
        .collect()
}
