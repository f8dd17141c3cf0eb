//! The parts of a directory without a `consort.yaml`, found by what its files hold.
//!
//! A directory with `.tf` files is a Terraform part, unless it is a module that another one calls; directories with
//! Kubernetes objects are parts of manifests, each from the topmost directory that holds some down; those with `.rego`
//! files are policies. A part is named for its directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use consort_plan::{Lines, Location, Problem};
use regex::Regex;
use serde_json::{Value, json};

use crate::definition::{Definition, Layer, NAMESPACE, PartDefinition, Steps, THRESHOLD, plain};

/// More files than this, or deeper directories, are not looked through: the directory is no score.
const MOST_FILES: usize = 100_000;
const DEPTH: usize = 32;
/// Of a larger file no content is looked at.
const LARGEST: u64 = 64 << 20;

/// `source = "./x"` of a module call, in both syntaxes.
static MODULE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#""?source"?\s*[=:]\s*"(\.{1,2}/[^"]*)""#).ok());

/// What a directory holds that matters.
#[derive(Default)]
struct Found {
    /// Files of objects, and whether there are other YAML or JSON files beside.
    objects: Vec<PathBuf>,
    others: bool,
    terraform: bool,
    rego: bool,
    /// Playbooks, and what may be the inventory beside them.
    playbooks: Vec<PathBuf>,
    inventory: Option<PathBuf>,
    /// It belongs to a tool of its own, by this file.
    foreign: Option<&'static str>,
}

/// A single file of manifests as a score.
pub(crate) fn file(directory: &Path, path: &Path) -> Definition {
    let name = path.file_stem().map(|stem| stem.to_string_lossy());
    let name = label(&name.unwrap_or_default(), "score");
    let file = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let parts = vec![part(
        name.clone(),
        Layer::Manifests,
        json!({ "path": file.clone() }),
    )];
    let mut definition = definition(name, directory, parts, Vec::new());
    definition.only = Some(file);
    definition
}

/// The score of a directory.
pub(crate) fn directory(root: &Path, name: Option<&str>) -> Result<Definition, Vec<Problem>> {
    let mut found: BTreeMap<PathBuf, Found> = BTreeMap::new();
    let mut modules = BTreeSet::new();
    let mut left = MOST_FILES;
    look(
        root,
        Path::new(""),
        DEPTH,
        &mut left,
        &mut found,
        &mut modules,
    )?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => {
            let path = root.canonicalize().ok();
            let last = path.as_deref().and_then(Path::file_name);
            label(&last.unwrap_or_default().to_string_lossy(), "score")
        }
    };

    let mut warnings = Vec::new();
    let mut places: Vec<(PathBuf, Layer, Value)> = Vec::new();
    for (place, dir) in &found {
        if let Some(file) = dir.foreign {
            let mut warning = plain(format!(
                "{} is left out: {} says it belongs to another tool",
                shown(place),
                file
            ));
            warning.location = Some(Location {
                file: place.join(file).to_string_lossy().into_owned(),
                line: 1,
            });
            warning.hint = Some("list the parts in a consort.yaml".to_owned());
            warnings.push(warning);
        }
        let library = place.components().any(|part| part.as_os_str() == "modules");
        if dir.terraform && !modules.contains(place) && !library {
            places.push((
                place.clone(),
                Layer::Terraform,
                json!({ "path": text(place) }),
            ));
        }
        let covered = |places: &[(PathBuf, Layer, Value)], layer: Layer| {
            places
                .iter()
                .any(|(other, of, _)| *of == layer && place.starts_with(other))
        };
        if dir.rego && !covered(&places, Layer::Policy) {
            places.push((place.clone(), Layer::Policy, json!({ "path": text(place) })));
        }
        match dir.playbooks.as_slice() {
            [] => {}
            all => match main_playbook(all) {
                Some(main) => places.push((place.clone(), Layer::Playbook, playbook(main, dir))),
                None => warnings.push(several_playbooks(place, all)),
            },
        }
        if !dir.objects.is_empty() && !covered(&places, Layer::Manifests) {
            places.push((
                place.clone(),
                Layer::Manifests,
                objects_below(place, &found),
            ));
        }
    }
    if places.is_empty() {
        let mut problem = plain(format!(
            "{} holds nothing that can be planned",
            root.display()
        ));
        "looked for consort.yaml, Terraform configurations (*.tf), Kubernetes objects (*.yaml, *.yml, *.json), \
         playbooks (site.yml) and policies (*.rego)"
            .clone_into(&mut problem.detail);
        return Err(vec![problem]);
    }
    places.sort_by_key(|(place, layer, _)| (*layer == Layer::Policy, *layer, place.clone()));
    let names = names(&places, &name);
    let parts = places
        .into_iter()
        .zip(names)
        .map(|((_, layer, stanza), name)| part(name, layer, stanza))
        .collect();
    Ok(definition(name, root, parts, warnings))
}

fn definition(
    name: String,
    directory: &Path,
    parts: Vec<PartDefinition>,
    warnings: Vec<Problem>,
) -> Definition {
    Definition {
        name,
        namespace: NAMESPACE.to_owned(),
        directory: directory.to_owned(),
        file: None,
        parts,
        threshold: THRESHOLD,
        steps: Steps::default(),
        warnings,
        only: None,
    }
}

fn part(name: String, layer: Layer, stanza: Value) -> PartDefinition {
    let location = Location {
        file: match stanza.get("path") {
            Some(Value::String(path)) => path.clone(),
            Some(Value::Array(paths)) => paths
                .first()
                .and_then(Value::as_str)
                .unwrap_or(".")
                .to_owned(),
            _ => ".".to_owned(),
        },
        line: 1,
    };
    PartDefinition {
        name,
        layer,
        stanza,
        lines: Lines::new(location.file.clone(), 1, BTreeMap::new()),
        location,
        after: Vec::new(),
    }
}

/// The stanza's path for objects from `place` down: the directory if all its YAML is objects and nobody else's, else
/// the files one by one.
fn objects_below(place: &Path, found: &BTreeMap<PathBuf, Found>) -> Value {
    let below: Vec<(&PathBuf, &Found)> = found
        .iter()
        .filter(|(other, _)| other.starts_with(place))
        .collect();
    if below
        .iter()
        .all(|(_, dir)| !dir.others && dir.foreign.is_none() && !dir.terraform)
    {
        return json!({ "path": text(place) });
    }
    let files: Vec<String> = below
        .iter()
        .filter(|(_, dir)| dir.foreign.is_none())
        .flat_map(|(_, dir)| dir.objects.iter().map(|file| text(file)))
        .collect();
    json!({ "path": files })
}

/// The names of parts: of their directories, with those above where two are the same.
fn names(places: &[(PathBuf, Layer, Value)], score: &str) -> Vec<String> {
    let short = |place: &Path, layer: Layer| match place.file_name() {
        Some(name) => label(&name.to_string_lossy(), layer.word()),
        None if layer == Layer::Manifests => score.to_owned(),
        None => layer.word().to_owned(),
    };
    let long = |place: &Path, layer: Layer| {
        if place.as_os_str().is_empty() {
            short(place, layer)
        } else {
            label(&text(place), layer.word())
        }
    };
    let mut taken = BTreeSet::new();
    places
        .iter()
        .map(|(place, layer, _)| {
            let own = short(place, *layer);
            let alone = places
                .iter()
                .filter(|(other, of, _)| short(other, *of) == own)
                .count()
                == 1;
            let mut name = if alone { own } else { long(place, *layer) };
            if taken.contains(&name) {
                name = label(&format!("{name}-{}", layer.word()), layer.word());
            }
            let mut number = 2;
            let base = name.clone();
            while !taken.insert(name.clone()) {
                name = format!("{base}-{number}");
                number += 1;
            }
            name
        })
        .collect()
}

fn look(
    root: &Path,
    place: &Path,
    depth: usize,
    left: &mut usize,
    found: &mut BTreeMap<PathBuf, Found>,
    modules: &mut BTreeSet<PathBuf>,
) -> Result<(), Vec<Problem>> {
    let here = root.join(place);
    let failure =
        |error: std::io::Error| vec![plain(format!("reading {}: {error}", here.display()))];
    let mut entries: Vec<std::fs::DirEntry> = Vec::new();
    for entry in std::fs::read_dir(&here).map_err(failure)? {
        entries.push(entry.map_err(failure)?);
    }
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut own = Found::default();
    let mut yaml = Vec::new();
    for entry in &entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        if *left == 0 || depth == 0 {
            return Err(vec![plain(format!(
                "{} holds more than {MOST_FILES} files, or directories more than {DEPTH} deep, and no consort.yaml",
                root.display()
            ))]);
        }
        *left -= 1;
        let kind = entry.file_type().map_err(failure)?;
        let inner = place.join(&name);
        if kind.is_dir() {
            look(root, &inner, depth - 1, left, found, modules)?;
            continue;
        }
        // A link to a directory may lead round in a circle or out of the score.
        if !entry.path().is_file() {
            continue;
        }
        match name.as_str() {
            "Chart.yaml" => own.foreign = Some("Chart.yaml"),
            "kustomization.yaml" => own.foreign = Some("kustomization.yaml"),
            "kustomization.yml" => own.foreign = Some("kustomization.yml"),
            "Kustomization" => own.foreign = Some("Kustomization"),
            _ => {}
        }
        if has(&name, ".tf") || has(&name, ".tf.json") {
            own.terraform = true;
            called_modules(&entry.path(), place, modules);
        } else if has(&name, ".rego") {
            own.rego = true;
        } else if INVENTORIES.contains(&name.as_str()) {
            own.inventory.get_or_insert(inner);
        } else if [".yaml", ".yml", ".json"].iter().any(|end| has(&name, end)) {
            yaml.push(inner);
        }
    }
    if own.foreign.is_some() {
        // What lies below a chart or a kustomization is theirs.
        found.retain(|other, _| !other.starts_with(place) || other == place);
        own.terraform = false;
        own.rego = false;
    } else {
        for file in yaml {
            if !own.terraform && holds_objects(&root.join(&file)) {
                own.objects.push(file);
            } else if !of_a_role(&file) && holds_plays(&root.join(&file)) {
                own.playbooks.push(file);
                own.others = true;
            } else {
                own.others = true;
            }
        }
    }
    found.insert(place.to_owned(), own);
    Ok(())
}

/// Names that inventories have beside their playbooks.
const INVENTORIES: [&str; 8] = [
    "hosts",
    "hosts.ini",
    "hosts.yaml",
    "hosts.yml",
    "inventory",
    "inventory.ini",
    "inventory.yaml",
    "inventory.yml",
];

/// The playbook that stands for all of a directory: the only one, or the one of the usual name.
fn main_playbook(all: &[PathBuf]) -> Option<&PathBuf> {
    let named = all.iter().find(|path| {
        matches!(
            path.file_stem().and_then(|stem| stem.to_str()),
            Some("site" | "main" | "playbook")
        )
    });
    match all {
        [only] => Some(only),
        _ => named,
    }
}

fn playbook(main: &Path, dir: &Found) -> Value {
    let mut stanza = json!({ "path": text(main) });
    if let Some(inventory) = &dir.inventory {
        stanza["inventory"] = json!(text(inventory));
    }
    stanza
}

fn several_playbooks(place: &Path, all: &[PathBuf]) -> Problem {
    let names: Vec<String> = all.iter().map(|path| text(path)).collect();
    let mut warning = plain(format!(
        "the playbooks of {} are left out: which of them describe the system is not known",
        shown(place)
    ));
    warning.detail = names.join(", ");
    warning.hint = Some("name one site.yml, or list the parts in a consort.yaml".to_owned());
    warning
}

/// Whether a file is a role's or a collection's own, or a test of one.
fn of_a_role(path: &Path) -> bool {
    path.components().any(|part| {
        matches!(
            part.as_os_str().to_str(),
            Some("roles" | "molecule" | "collections" | "tests" | "tasks" | "handlers")
        )
    })
}

/// Whether a file is a list of plays: items in the first column with `hosts` or `import_playbook`.
fn holds_plays(path: &Path) -> bool {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LARGEST) {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(path) else {
        return false;
    };
    let mut item = None;
    for line in text.lines() {
        let inner = line.trim_start();
        let indent = line.len() - inner.len();
        let (indent, key) = match inner.strip_prefix("- ") {
            Some(rest) if item.is_none_or(|item| indent <= item) => {
                item = Some(indent);
                (indent + 2, rest.trim_start())
            }
            _ => (indent, inner),
        };
        let of_item = item.is_some_and(|item| indent == item + 2);
        let key = key.strip_prefix("ansible.builtin.").unwrap_or(key);
        if of_item && (starts(key, "hosts") || starts(key, "import_playbook")) {
            return true;
        }
    }
    false
}

fn has(name: &str, end: &str) -> bool {
    name.len() > end.len() && name.ends_with(end)
}

fn called_modules(file: &Path, place: &Path, modules: &mut BTreeSet<PathBuf>) {
    let Some(pattern) = MODULE.as_ref() else {
        return;
    };
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > LARGEST) {
        return;
    }
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    for called in pattern.captures_iter(&text) {
        let mut path = place.to_owned();
        for part in Path::new(&called[1]).components() {
            match part {
                Component::ParentDir => {
                    path.pop();
                }
                Component::Normal(name) => path.push(name),
                _ => {}
            }
        }
        // A configuration may call the module in its own directory only by mistake, and is no module by that.
        if path != place {
            modules.insert(path);
        }
    }
}

/// Whether a file is meant to hold Kubernetes objects: some document of it says an `apiVersion` or a `kind`. Only the
/// first column is looked at, so that a file with mistakes further down is still taken for what it is meant to be.
fn holds_objects(path: &Path) -> bool {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LARGEST) {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(path) else {
        return false;
    };
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return serde_json::from_str::<Value>(&text).is_ok_and(|value| {
            value.get("apiVersion").is_some_and(Value::is_string)
                && value.get("kind").is_some_and(Value::is_string)
        });
    }
    let mut version = false;
    let mut kind = false;
    for line in text.lines() {
        let line = line.trim_start_matches('{');
        version |= starts(line, "apiVersion");
        kind |= starts(line, "kind");
        if line.contains("apiVersion")
            && line.contains("kind")
            && text.trim_start().starts_with('{')
        {
            return true;
        }
        if version && kind {
            return true;
        }
    }
    version
}

fn starts(line: &str, key: &str) -> bool {
    let line = line.trim_start_matches('"');
    line.strip_prefix(key)
        .is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(':'))
}

fn text(place: &Path) -> String {
    if place.as_os_str().is_empty() {
        ".".to_owned()
    } else {
        place.to_string_lossy().into_owned()
    }
}

fn shown(place: &Path) -> String {
    if place.as_os_str().is_empty() {
        "the directory".to_owned()
    } else {
        place.to_string_lossy().into_owned()
    }
}

/// A name made of what may be in one.
fn label(text: &str, otherwise: &str) -> String {
    let name: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        otherwise.to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(files: &[(&str, &str)]) -> Definition {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Shop");
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory(&root, None).unwrap()
    }

    fn told(score: &Definition) -> Vec<String> {
        score
            .parts
            .iter()
            .map(|part| {
                format!(
                    "{} {} {}",
                    part.name,
                    part.layer.word(),
                    part.stanza["path"]
                )
            })
            .collect()
    }

    const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

    #[test]
    fn a_directory_of_objects_is_one_part_named_for_it() {
        let score = score(&[
            ("10.yaml", OBJECT),
            ("sub/20.yml", OBJECT),
            (".git/x.yaml", OBJECT),
        ]);
        assert_eq!(score.name, "shop");
        assert_eq!(told(&score), [r#"shop manifests ".""#]);
    }

    #[test]
    fn every_language_is_found_and_modules_templates_and_charts_are_left_alone() {
        let score = score(&[
            (
                "infra/main.tf",
                "module \"net\" {\n  source = \"./net\"\n}\n",
            ),
            ("infra/net/main.tf", ""),
            ("infra/cloud-init.yaml", "kind: x\napiVersion: y\n"),
            ("modules/lib/main.tf", ""),
            ("deploy/base/a.yaml", OBJECT),
            ("deploy/web/a.yaml", OBJECT),
            ("deploy/web/values.yaml", "image: x\n"),
            ("charts/x/Chart.yaml", "apiVersion: v2\nname: x\n"),
            ("charts/x/templates/a.yaml", OBJECT),
            ("policy/deny.rego", "package a\n"),
            ("package.json", "{}"),
        ]);
        assert_eq!(
            told(&score),
            [
                r#"infra terraform "infra""#,
                r#"base manifests "deploy/base""#,
                r#"web manifests ["deploy/web/a.yaml"]"#,
                r#"policy policy "policy""#,
            ]
        );
        assert_eq!(score.warnings.len(), 1);
        assert!(
            score.warnings[0]
                .summary
                .starts_with("charts/x is left out")
        );
    }

    #[test]
    fn parts_of_the_same_name_are_told_apart_by_their_paths() {
        let score = score(&[("a/deploy/x.yaml", OBJECT), ("b/deploy/x.yaml", OBJECT)]);
        assert_eq!(
            told(&score),
            [
                r#"a-deploy manifests "a/deploy""#,
                r#"b-deploy manifests "b/deploy""#
            ]
        );
    }
}
