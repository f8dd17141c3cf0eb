//! Rules of roles: what one allows, how it is written in messages, and whether rules cover others.

use super::attributes::Attributes;
use serde::Deserialize;

/// One rule of a role: what may be done to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The verbs allowed, `*` for all.
    #[serde(deserialize_with = "null_is_empty")]
    pub verbs: Vec<String>,
    /// The groups of the resources, `*` for all, empty text for the core group.
    #[serde(deserialize_with = "null_is_empty")]
    pub api_groups: Vec<String>,
    /// Plural names, `name/subresource`, `*/subresource` or `*`.
    #[serde(deserialize_with = "null_is_empty")]
    pub resources: Vec<String>,
    /// The only object names allowed; empty for all.
    #[serde(deserialize_with = "null_is_empty")]
    pub resource_names: Vec<String>,
    /// Paths allowed, with `*` at the end for all below.
    #[serde(rename = "nonResourceURLs", deserialize_with = "null_is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Rule {
    /// The rule that gives everything there is.
    pub fn all() -> Self {
        let any = || vec!["*".to_owned()];
        Self {
            verbs: any(),
            api_groups: any(),
            resources: any(),
            resource_names: Vec::new(),
            non_resource_urls: any(),
        }
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        if !matches_any(&self.verbs, wanted.verb) {
            return false;
        }
        if !wanted.is_resource() {
            return self.non_resource_urls.iter().any(|url| {
                url == "*"
                    || url == wanted.path
                    || url
                        .strip_suffix('*')
                        .is_some_and(|prefix| wanted.path.starts_with(prefix))
            });
        }
        matches_any(&self.api_groups, wanted.group)
            && self.has_resource(wanted.resource, wanted.subresource)
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| name == wanted.name))
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| {
            if own == "*" {
                return true;
            }
            match own.split_once('/') {
                None => subresource.is_empty() && own == resource,
                Some((parent, sub)) => {
                    sub == subresource
                        && !subresource.is_empty()
                        && (parent == "*" || parent == resource)
                }
            }
        })
    }
}

fn matches_any(own: &[String], wanted: &str) -> bool {
    own.iter().any(|one| one == "*" || one == wanted)
}

/// The rules as upstream's escalation message words them: those that differ in their verb only are
/// drawn together, sorted.
pub fn describe(rules: &[Rule]) -> String {
    let mut drawn: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = drawn.iter_mut().find(|other| {
            rule.non_resource_urls.is_empty()
                && other.non_resource_urls.is_empty()
                && (&other.api_groups, &other.resources, &other.resource_names)
                    == (&rule.api_groups, &rule.resources, &rule.resource_names)
        });
        match same {
            Some(other) => other.verbs.extend(rule.verbs.iter().cloned()),
            None => drawn.push(rule.clone()),
        }
    }
    let mut lines: Vec<String> = drawn.iter().map(compact).collect();
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn compact(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quoted(list)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// A list as Go prints one of strings: `["a" "b"]`.
pub fn quoted(list: &[String]) -> String {
    let each: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", each.join(" "))
}

/// What of `wanted` the rules in `held` do not cover: nobody may hand out more than it has (the
/// escalation check of upstream's RBAC). Each is broken down to one verb on one resource.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing = Vec::new();
    for atom in wanted.iter().flat_map(atoms) {
        if !held.iter().any(|rule| covers(rule, &atom)) {
            missing.push(atom);
        }
    }
    missing
}

/// Splits a rule into rules of one verb and one resource (or one path) each.
fn atoms(rule: &Rule) -> Vec<Rule> {
    let mut atoms = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for url in &rule.non_resource_urls {
            atoms.push(Rule {
                verbs: verbs.clone(),
                non_resource_urls: vec![url.clone()],
                ..Rule::default()
            });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let names: Vec<Vec<String>> = if rule.resource_names.is_empty() {
                    vec![vec![]]
                } else {
                    let each = rule.resource_names.iter();
                    each.map(|name| vec![name.clone()]).collect()
                };
                atoms.extend(names.into_iter().map(|resource_names| Rule {
                    verbs: verbs.clone(),
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names,
                    ..Rule::default()
                }));
            }
        }
    }
    atoms
}

/// Whether `rule` gives all that the atom wants; wildcards are covered by wildcards only.
fn covers(rule: &Rule, atom: &Rule) -> bool {
    let has = |own: &[String], wanted: &[String]| {
        wanted
            .iter()
            .all(|wanted| own.iter().any(|own| own == "*" || own == wanted))
    };
    if !has(&rule.verbs, &atom.verbs) {
        return false;
    }
    if let [url] = atom.non_resource_urls.as_slice() {
        return rule.non_resource_urls.iter().any(|own| {
            own == "*"
                || own == url
                || own
                    .strip_suffix('*')
                    .is_some_and(|prefix| url.starts_with(prefix))
        });
    }
    let [resource] = atom.resources.as_slice() else {
        return false;
    };
    let resources = rule.resources.iter().any(|own| {
        own == "*"
            || own == resource
            || own
                .strip_prefix("*/")
                .is_some_and(|sub| resource.split_once('/').is_some_and(|(_, own)| own == sub))
    });
    let names = rule.resource_names.is_empty()
        || (!atom.resource_names.is_empty() && has(&rule.resource_names, &atom.resource_names));
    resources && has(&rule.api_groups, &atom.api_groups) && names
}
