//! What comments that begin with `# METADATA` say of packages and rules.

use serde_json::{Map, Value, json};

use super::tree::{Module, Rule, Span};
use crate::engine::{Error, Kind};

/// One block of them.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Annotation {
    pub span: Span,
    pub scope: Scope,
    /// The names of the package and, for a rule, of the rule.
    pub path: Vec<String>,
    /// The line of the rule it stands before; zero for a package.
    pub line: u32,
    pub fields: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    Rule,
    Document,
    Package,
    Subpackages,
}

/// The names of a module's package.
pub(crate) fn package_path(module: &Module) -> Vec<String> {
    names(&module.package)
}

/// The names of a rule within its package, up to the first that is no constant.
pub(crate) fn rule_path(rule: &Rule) -> Vec<String> {
    names(&rule.head.name)
}

fn names(term: &super::tree::Term) -> Vec<String> {
    use super::tree::TermKind;
    match &term.kind {
        TermKind::Var(name) => vec![name.clone()],
        TermKind::Ref { head, path } => head
            .var()
            .map(str::to_owned)
            .into_iter()
            .chain(path.iter().map_while(super::tree::Step::name))
            .collect(),
        _ => Vec::new(),
    }
}

/// The annotations of a module.
pub(crate) fn annotations(file: &str, module: &Module) -> Result<Vec<Annotation>, Error> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = module.comments.get(at) {
        at += 1;
        if first.text != "# METADATA" {
            continue;
        }
        let mut yaml = String::new();
        let mut last = first.span;
        while let Some(next) = module.comments.get(at) {
            if next.span.line != last.line + 1 || next.span.column != first.span.column {
                break;
            }
            yaml.push_str(next.text.strip_prefix('#').unwrap_or(&next.text));
            yaml.push('\n');
            last = next.span;
            at += 1;
        }
        let here = |message: String| {
            Error::new(Kind::Parse, message).at(file, first.span.line, first.span.column)
        };
        // What is written after `# ` is YAML whose lines all begin with a blank.
        let mut fields: Map<String, Value> = match serde_saphyr::from_str::<Value>(&dedent(&yaml)) {
            Ok(Value::Object(fields)) => fields,
            Ok(Value::Null) => {
                return Err(here("expected METADATA block, found whitespace".to_owned()));
            }
            Ok(_) => return Err(here("the METADATA block is no mapping".to_owned())),
            Err(error) => {
                let text = error.to_string();
                return Err(here(format!(
                    "the METADATA block is no YAML: {}",
                    text.lines().next().unwrap_or_default()
                )));
            }
        };
        let rule = module.rules.iter().find(|rule| rule.span.start > last.end);
        let before_package = module.package_span.start > last.end;
        let scope = match fields.get("scope").and_then(Value::as_str) {
            Some("rule") => Scope::Rule,
            Some("document") => Scope::Document,
            Some("package") => Scope::Package,
            Some("subpackages") => Scope::Subpackages,
            Some(other) => return Err(here(format!("invalid annotation scope '{other}'"))),
            None if before_package => Scope::Package,
            None => Scope::Rule,
        };
        let mut path = package_path(module);
        let mut line = 0;
        if matches!(scope, Scope::Rule | Scope::Document) {
            let Some(rule) = rule.filter(|_| !before_package) else {
                return Err(here("annotation scope must be applied to rule".to_owned()));
            };
            path.extend(rule_path(rule));
            line = rule.span.line;
        } else if !before_package {
            return Err(here(
                "annotation scope must be applied to package".to_owned(),
            ));
        }
        let name = match scope {
            Scope::Rule => "rule",
            Scope::Document => "document",
            Scope::Package => "package",
            Scope::Subpackages => "subpackages",
        };
        fields.insert("scope".to_owned(), name.into());
        normalise(&mut fields);
        found.push(Annotation {
            span: first.span,
            scope,
            path,
            line,
            fields: Value::Object(fields),
        });
    }
    Ok(found)
}

fn dedent(yaml: &str) -> String {
    let indent = yaml
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    yaml.lines()
        .flat_map(|line| [line.get(indent..).unwrap_or(""), "\n"])
        .collect()
}

/// Short forms of authors and resources, written out.
fn normalise(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(authors)) = fields.get_mut("authors") {
        for author in authors {
            if let Value::String(text) = author {
                *author = match text.split_once('<') {
                    Some((name, address)) => {
                        let address = address.trim_end_matches('>').trim();
                        if name.trim().is_empty() {
                            json!({"email": address})
                        } else {
                            json!({"name": name.trim(), "email": address})
                        }
                    }
                    None => json!({"name": text}),
                };
            }
        }
    }
    if let Some(Value::Array(resources)) = fields.get_mut("related_resources") {
        for resource in resources {
            if let Value::String(text) = resource {
                *resource = json!({"ref": text});
            }
        }
    }
}

/// What `rego.metadata.rule()` is within a rule.
pub(crate) fn of_rule(own: &[Annotation], rule: &Rule) -> Value {
    own.iter()
        .find(|annotation| annotation.scope == Scope::Rule && annotation.line == rule.span.line)
        .map_or_else(|| json!({}), |annotation| annotation.fields.clone())
}

/// What `rego.metadata.chain()` is within a rule: from the rule outwards.
pub(crate) fn chain(
    all: &[Annotation],
    own: &[Annotation],
    package: &[String],
    rule: &Rule,
) -> Value {
    let mut path = package.to_vec();
    path.extend(rule_path(rule));
    let mine = own
        .iter()
        .find(|annotation| annotation.scope == Scope::Rule && annotation.line == rule.span.line);
    let mut links = vec![match mine {
        Some(annotation) => json!({"annotations": annotation.fields, "path": path}),
        None => json!({"path": path}),
    }];
    let mut link = |scope: Scope, path: &[String]| {
        links.extend(
            all.iter()
                .filter(|annotation| annotation.scope == scope && annotation.path == path)
                .map(|annotation| json!({"annotations": annotation.fields, "path": path})),
        );
    };
    link(Scope::Document, &path);
    link(Scope::Package, package);
    for length in (1..=package.len()).rev() {
        link(Scope::Subpackages, &package[..length]);
    }
    Value::Array(links)
}
