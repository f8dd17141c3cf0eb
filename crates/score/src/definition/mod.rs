//! What a score says: its parts, how values flow between them, and how it is carried out.

mod schema;
mod tree;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use consort_plan::{Lines, Location, Problem};
use serde_json::Value;

pub use schema::SCHEMA;
pub(crate) use schema::nearest;
use tree::Tree;

use crate::detect;

/// The file that describes a score.
pub const FILE: &str = "consort.yaml";
/// Where records are kept unless a score says otherwise.
pub const NAMESPACE: &str = "consort-system";
/// A plan of more points than this needs an approval unless a score says otherwise.
pub const THRESHOLD: u32 = 49;
/// A larger `consort.yaml` is refused.
const LARGEST: u64 = 4 << 20;

/// A score as it is described: read and checked, nothing opened.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The namespace of its records.
    pub namespace: String,
    /// Its directory.
    pub directory: PathBuf,
    /// The file that describes it, relative to the directory; none if the parts were found by their content.
    pub file: Option<String>,
    /// Its parts, in the order they are described.
    pub parts: Vec<PartDefinition>,
    /// A plan of more points than this needs an approval.
    pub threshold: u32,
    /// How its steps are carried out.
    pub steps: Steps,
    /// What is worth saying and stops nothing.
    pub warnings: Vec<Problem>,
    /// The only file of the directory that belongs to it; none if all do.
    pub only: Option<String>,
}

/// How steps are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// How long one step may take.
    pub timeout: Duration,
    /// How often a step is tried again after a problem that may pass.
    pub retries: u32,
    /// How many are under way at once.
    pub parallelism: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Steps {
            timeout: Duration::from_secs(600),
            retries: 3,
            parallelism: 10,
        }
    }
}

/// The language of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// A Terraform configuration.
    Terraform,
    /// Kubernetes objects.
    Manifests,
    /// Ansible playbooks.
    Playbook,
    /// Rego policies.
    Policy,
}

impl Layer {
    /// Its word in a score.
    pub fn word(self) -> &'static str {
        match self {
            Layer::Terraform => "terraform",
            Layer::Manifests => "manifests",
            Layer::Playbook => "playbook",
            Layer::Policy => "policy",
        }
    }

    const ALL: [Layer; 4] = [
        Layer::Terraform,
        Layer::Manifests,
        Layer::Playbook,
        Layer::Policy,
    ];
}

/// A part as it is described.
#[derive(Clone, Debug)]
pub struct PartDefinition {
    /// Its name.
    pub name: String,
    /// Its language.
    pub layer: Layer,
    /// What the score says about it in that language's own words.
    pub stanza: Value,
    /// Where the fields of the stanza stand.
    pub lines: Lines,
    /// Where it is described.
    pub location: Location,
    /// The parts that come before it although no value flows, and where that is said.
    pub after: Vec<(String, Location)>,
}

impl Definition {
    /// Reads the score of a directory: its `consort.yaml`, or its parts by their content. A file is a score as well:
    /// a `consort.yaml` that of its directory, any other a single part of manifests.
    ///
    /// # Errors
    /// Everything that is wrong with the description, each with file and line.
    pub fn read(path: &Path) -> Result<Definition, Vec<Problem>> {
        Self::read_named(path, None)
    }

    /// As [`Definition::read`], for a score whose name is known already: of a checkout, or of what a revision was made
    /// of. What is found by its content is then named for the score, not for the directory it happens to lie in.
    ///
    /// # Errors
    /// As [`Definition::read`].
    pub fn read_as(path: &Path, name: &str) -> Result<Definition, Vec<Problem>> {
        let mut definition = Self::read_named(path, Some(name))?;
        name.clone_into(&mut definition.name);
        Ok(definition)
    }

    fn read_named(path: &Path, name: Option<&str>) -> Result<Definition, Vec<Problem>> {
        if path.is_file() {
            let directory = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            if path.file_name().is_some_and(|name| name == FILE) {
                return Self::read_directory(directory, name);
            }
            return Ok(detect::file(directory, path));
        }
        Self::read_directory(path, name)
    }

    fn read_directory(directory: &Path, name: Option<&str>) -> Result<Definition, Vec<Problem>> {
        match std::fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(vec![plain(format!(
                    "{} is neither a directory nor a file",
                    directory.display()
                ))]);
            }
            Err(error) => {
                return Err(vec![plain(format!(
                    "reading {}: {error}",
                    directory.display()
                ))]);
            }
        }
        let file = directory.join(FILE);
        let text = match std::fs::metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return detect::directory(directory, name);
            }
            Ok(metadata) if metadata.len() > LARGEST => {
                return Err(vec![at(
                    1,
                    format!("{FILE} is larger than {} MiB", LARGEST >> 20),
                    None,
                )]);
            }
            _ => std::fs::read_to_string(&file)
                .map_err(|error| vec![at(1, format!("reading {FILE}: {error}"), None)])?,
        };
        Self::parse(directory, &text)
    }

    /// Reads the text of a `consort.yaml` that lies in `directory`.
    ///
    /// # Errors
    /// As [`Definition::read`].
    pub fn parse(directory: &Path, text: &str) -> Result<Definition, Vec<Problem>> {
        let tree = Tree::read(text).map_err(|error| {
            vec![at(
                error.line,
                format!("{FILE} is not valid YAML: {}", error.message),
                None,
            )]
        })?;
        let deviations = schema::check(&tree);
        if !deviations.is_empty() {
            return Err(deviations
                .into_iter()
                .map(|deviation| {
                    let mut problem = at(deviation.line, deviation.message, deviation.hint);
                    problem.part = part_of(&tree, &deviation.field);
                    problem
                })
                .collect());
        }
        Self::of_tree(directory, &tree)
    }

    fn of_tree(directory: &Path, tree: &Tree) -> Result<Definition, Vec<Problem>> {
        let text = |path: &[&str]| {
            let found = path.iter().try_fold(tree, |tree, key| tree.get(key))?;
            found.value().as_str().map(str::to_owned)
        };
        let spec = tree.get("spec");
        let number = |path: &[&str]| {
            let found = path.iter().try_fold(spec?, |tree, key| tree.get(key))?;
            found.value().as_u64()
        };
        let mut steps = Steps::default();
        let mut problems = Vec::new();
        if let Some(timeout) = spec
            .and_then(|spec| spec.get("steps"))
            .and_then(|steps| steps.get("timeout"))
        {
            match timeout.value().as_str().and_then(duration) {
                Some(duration) => steps.timeout = duration,
                None => problems.push(at(
                    timeout.line,
                    "spec.steps.timeout has to be longer than nothing".to_owned(),
                    Some("write it like 90s, 10m or 1h30m".to_owned()),
                )),
            }
        }
        if let Some(retries) = number(&["steps", "retries"]) {
            steps.retries = u32::try_from(retries).unwrap_or(u32::MAX);
        }
        if let Some(parallelism) = number(&["steps", "parallelism"]) {
            steps.parallelism = usize::try_from(parallelism).unwrap_or(usize::MAX);
        }
        let mut definition = Definition {
            name: text(&["metadata", "name"]).unwrap_or_default(),
            namespace: text(&["metadata", "namespace"]).unwrap_or_else(|| NAMESPACE.to_owned()),
            directory: directory.to_owned(),
            file: Some(FILE.to_owned()),
            parts: Vec::new(),
            threshold: number(&["approval", "threshold"])
                .and_then(|points| u32::try_from(points).ok())
                .unwrap_or(THRESHOLD),
            steps,
            warnings: Vec::new(),
            only: None,
        };
        match spec.and_then(|spec| spec.get("parts")) {
            Some(parts) => definition.take_parts(parts, &mut problems),
            None => {
                let found = detect::directory(directory, Some(&definition.name))?;
                definition.parts = found.parts;
                definition.warnings = found.warnings;
            }
        }
        if problems.is_empty() {
            Ok(definition)
        } else {
            problems.sort_by_key(|problem| problem.location.as_ref().map(|place| place.line));
            Err(problems)
        }
    }

    fn take_parts(&mut self, parts: &Tree, problems: &mut Vec<Problem>) {
        let tree::Node::List(items) = &parts.node else {
            return;
        };
        for item in items {
            let name = item
                .get("name")
                .and_then(|name| name.value().as_str().map(str::to_owned))
                .unwrap_or_default();
            let location = location(item.line);
            if let Some(other) = self.parts.iter().find(|part| part.name == name) {
                problems.push(Problem {
                    part: name.clone(),
                    ..at(
                        item.line,
                        format!("two parts are named {name}"),
                        Some(format!("the other stands at {}", other.location)),
                    )
                });
                continue;
            }
            let Some((layer, stanza)) = Layer::ALL
                .into_iter()
                .find_map(|layer| Some((layer, item.get(layer.word())?)))
            else {
                continue;
            };
            let after = match item.get("dependsOn").map(|tree| &tree.node) {
                Some(tree::Node::List(names)) => names
                    .iter()
                    .filter_map(|tree| {
                        Some((tree.value().as_str()?.to_owned(), self::location(tree.line)))
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let mut lines = stanza.lines();
            // The stanza itself is where its word stands.
            lines.remove("");
            let first = match &item.node {
                tree::Node::Map(entries) => entries
                    .iter()
                    .find(|(key, _, _)| key == layer.word())
                    .map_or(stanza.line, |(_, line, _)| *line),
                _ => stanza.line,
            };
            let part = PartDefinition {
                name,
                layer,
                stanza: stanza.value(),
                lines: Lines::new(FILE, first, lines),
                location,
                after,
            };
            part.check_paths(&self.directory, problems);
            self.parts.push(part);
        }
    }

    /// The parts of a layer.
    pub fn of_layer(&self, layer: Layer) -> impl Iterator<Item = &PartDefinition> {
        self.parts.iter().filter(move |part| part.layer == layer)
    }
}

impl PartDefinition {
    /// What the stanza says under `path`: one path or several, relative to the score, each with its pointer.
    pub fn paths(&self) -> Vec<(String, String)> {
        match self.stanza.get("path") {
            Some(Value::String(path)) => vec![("/path".to_owned(), path.clone())],
            Some(Value::Array(paths)) => paths
                .iter()
                .enumerate()
                .filter_map(|(index, path)| {
                    Some((format!("/path/{index}"), path.as_str()?.to_owned()))
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// A problem of this part at a field of its stanza.
    pub fn problem(&self, pointer: &str, summary: impl Into<String>) -> Problem {
        Problem {
            part: self.name.clone(),
            location: Some(self.lines.at(pointer)),
            ..plain(summary)
        }
    }

    /// Everything a part is made of lies below the score's directory: what is outside is no part of a revision, and a
    /// score from elsewhere must not read this machine's files.
    fn check_paths(&self, directory: &Path, problems: &mut Vec<Problem>) {
        let root = directory.canonicalize();
        for (pointer, path) in self.paths() {
            if Path::new(&path)
                .components()
                .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
            {
                let mut problem = self.problem(
                    &pointer,
                    format!("{path} leads out of the score's directory"),
                );
                problem.hint = Some("parts lie below the directory of consort.yaml".to_owned());
                problems.push(problem);
                continue;
            }
            match directory.join(&path).canonicalize() {
                Ok(real) if root.as_ref().is_ok_and(|root| !real.starts_with(root)) => {
                    problems.push(self.problem(
                        &pointer,
                        format!("{path} leads out of the score's directory through a link"),
                    ));
                }
                Ok(real) if self.layer == Layer::Terraform && !real.is_dir() => {
                    problems.push(self.problem(&pointer, format!("{path} is no directory")));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    problems.push(self.problem(&pointer, format!("{path} does not exist")));
                }
                Err(error) => {
                    problems.push(self.problem(&pointer, format!("reading {path}: {error}")));
                }
            }
        }
    }
}

/// The name of the part that a field such as `spec.parts[1].manifests` belongs to; empty if it is none's.
fn part_of(tree: &Tree, field: &str) -> String {
    let index = field
        .strip_prefix("spec.parts[")
        .and_then(|rest| rest.split(']').next())
        .and_then(|index| index.parse::<usize>().ok());
    let parts = tree.get("spec").and_then(|spec| spec.get("parts"));
    match (index, parts.map(|parts| &parts.node)) {
        (Some(index), Some(tree::Node::List(items))) => items
            .get(index)
            .and_then(|item| item.get("name"))
            .and_then(|name| name.value().as_str().map(str::to_owned))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// Reads `1h30m`, `10m`, `90s`; none if it is nothing or no duration.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && seconds > 0).then(|| Duration::from_secs(seconds))
}

fn location(line: u32) -> Location {
    Location {
        file: FILE.to_owned(),
        line,
    }
}

/// A problem of no part and no place.
pub(crate) fn plain(summary: impl Into<String>) -> Problem {
    Problem {
        summary: summary.into(),
        ..Problem::default()
    }
}

fn at(line: u32, summary: String, hint: Option<String>) -> Problem {
    Problem {
        location: Some(location(line)),
        hint,
        ..plain(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_whole_with_the_places_of_its_fields() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("infra")).unwrap();
        std::fs::create_dir(dir.path().join("deploy")).unwrap();
        let text = "apiVersion: consort.dev/v1\nkind: Score\nmetadata:\n  name: shop\nspec:\n  parts:\n    - name: infra\n      terraform:\n        path: infra\n        variables:\n          zone: a\n    - name: app\n      dependsOn: [infra]\n      manifests:\n        path: deploy\n  steps: {timeout: 1h30m, retries: 0}\n";
        let score = Definition::parse(dir.path(), text).unwrap();
        assert_eq!(
            (
                score.name.as_str(),
                score.namespace.as_str(),
                score.threshold
            ),
            ("shop", "consort-system", 49)
        );
        assert_eq!(score.steps.timeout, Duration::from_secs(5400));
        assert_eq!((score.steps.retries, score.steps.parallelism), (0, 10));
        let infra = &score.parts[0];
        assert_eq!(infra.lines.at("/variables/zone").line, 11);
        assert_eq!(infra.lines.at("/variables/none").line, 10);
        assert_eq!(infra.lines.at("/workspace").line, 8);
        assert_eq!(score.parts[1].after[0].1.line, 13);
    }

    #[test]
    fn paths_that_do_not_exist_or_lead_out_are_told_with_part_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {name: shop}\nspec:\n  parts:\n    - name: a\n      manifests: {path: ../x}\n    - name: b\n      manifests:\n        path: [nothing]\n    - name: b\n      policy: {path: .}\n";
        let problems = Definition::parse(dir.path(), text).unwrap_err();
        let told: Vec<_> = problems
            .iter()
            .map(|problem| {
                let line = problem.location.as_ref().unwrap().line;
                format!("{} {line} {}", problem.part, problem.summary)
            })
            .collect();
        assert_eq!(
            told,
            [
                "a 7 ../x leads out of the score's directory",
                "b 10 nothing does not exist",
                "b 11 two parts are named b",
            ]
        );
    }
}
