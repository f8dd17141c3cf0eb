//! The files of a part: found, read, and taken apart into the documents in them.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use consort_plan::Location;
use serde_json::Value;

use crate::spec::Paths;

/// The most bytes of one file. Upstream's largest definitions have about one.
const MOST_BYTES: u64 = 64 << 20;
/// How deep directories are read.
const DEEPEST: usize = 64;

/// One object as it is written, and where.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Where the object begins.
    pub(crate) place: Place,
    /// The object: a mapping with `apiVersion` and `kind`.
    pub(crate) value: Value,
}

/// Where a document stands in the files of the score.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file, relative to the score.
    pub(crate) file: Arc<str>,
    /// The line its first field stands on, from one.
    pub(crate) line: u32,
    /// Its bytes in the file.
    bytes: (usize, usize),
    /// The line its first byte stands on.
    first: u32,
    /// The place in the `items` of the lists it was taken from.
    within: String,
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where.
    pub(crate) location: Location,
    /// What.
    pub(crate) summary: String,
    /// What can be done about it.
    pub(crate) hint: Option<String>,
}

impl Place {
    /// The place as plans tell it.
    pub(crate) fn location(&self) -> Location {
        Location {
            file: self.file.to_string(),
            line: self.line,
        }
    }

    /// Where a field of the object stands; `field` is such as `spec.template.spec.containers[0].image`. The object's
    /// own place, if the field is not there. Reads the file again.
    pub(crate) fn field(&self, directory: &Path, field: &str) -> Location {
        let found = fs::read(directory.join(&*self.file))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| {
                let document = text.get(self.bytes.0..self.bytes.1)?;
                let whole = if self.within.is_empty() {
                    field.to_owned()
                } else {
                    format!("{}.{field}", self.within)
                };
                crate::locate::line_of(document, &whole)
            });
        Location {
            file: self.file.to_string(),
            line: found.map_or(self.line, |line| self.first + line - 1),
        }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The objects, in the order of the files and within them.
    pub(crate) documents: Vec<Document>,
    /// What stops the plan.
    pub(crate) faults: Vec<Fault>,
    /// What does not.
    pub(crate) warnings: Vec<Fault>,
}

/// Reads all files of the paths. Blocking; the work is shared among the cores.
pub(crate) fn read(directory: &Path, paths: &Paths, stanza: &Location) -> Sources {
    let mut all = Sources::default();
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    let fault = |summary: String, hint: Option<&str>| Fault {
        location: stanza.clone(),
        summary,
        hint: hint.map(str::to_owned),
    };
    let root = match directory.canonicalize() {
        Ok(root) => root,
        Err(error) => {
            all.faults
                .push(fault(format!("the score cannot be read: {error}"), None));
            return all;
        }
    };
    for path in paths.iter() {
        let relative = Path::new(path);
        let leaves = relative
            .components()
            .any(|step| !matches!(step, Component::Normal(_) | Component::CurDir));
        if leaves {
            all.faults.push(fault(
                format!("{path:?} is not a path within the score"),
                Some("paths are relative to the directory of the score and stay in it"),
            ));
            continue;
        }
        let whole = directory.join(relative);
        let before = files.len();
        match fs::metadata(&whole) {
            Ok(found) if found.is_dir() => {
                collect(&root, directory, &whole, 0, &mut files, &mut all.faults);
                if files.len() == before && all.faults.is_empty() {
                    all.faults.push(fault(
                        format!("{path} holds no .yaml, .yml or .json file"),
                        None,
                    ));
                }
            }
            Ok(_) => files.push((relative.to_owned(), true)),
            Err(error) => all
                .faults
                .push(fault(format!("{path} cannot be read: {error}"), None)),
        }
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|(file, _)| seen.insert(file.clone()));
    for part in parse_all(directory, &files) {
        all.documents.extend(part.documents);
        all.faults.extend(part.faults);
        all.warnings.extend(part.warnings);
    }
    all
}

/// Parses the files on as many threads as there are cores, and keeps their order.
fn parse_all(directory: &Path, files: &[(PathBuf, bool)]) -> Vec<Sources> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores == 1 || files.len() < 2 {
        return files
            .iter()
            .map(|(file, named)| parse_file(directory, file, *named))
            .collect();
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut results: Vec<(usize, Sources)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some((file, named)) = files.get(at) else {
                            return done;
                        };
                        done.push((at, parse_file(directory, file, *named)));
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_default())
            .collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, sources)| sources).collect()
}

fn collect(
    root: &Path,
    directory: &Path,
    path: &Path,
    depth: usize,
    files: &mut Vec<(PathBuf, bool)>,
    faults: &mut Vec<Fault>,
) {
    let named = |path: &Path| {
        path.strip_prefix(directory)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let fault = |path: &Path, summary: String| Fault {
        location: Location {
            file: named(path),
            line: 1,
        },
        summary,
        hint: None,
    };
    if depth > DEEPEST {
        faults.push(fault(
            path,
            format!("directories nest more than {DEEPEST} deep"),
        ));
        return;
    }
    let entries = match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(fault(
                path,
                format!("the directory cannot be read: {error}"),
            ));
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for entry in paths {
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        let found = match fs::metadata(&entry) {
            Ok(found) => found,
            Err(error) => {
                faults.push(fault(&entry, format!("it cannot be read: {error}")));
                continue;
            }
        };
        let linked = fs::symlink_metadata(&entry).is_ok_and(|own| own.is_symlink());
        if linked && !entry.canonicalize().is_ok_and(|to| to.starts_with(root)) {
            faults.push(fault(
                &entry,
                "it is a link that leaves the score".to_owned(),
            ));
            continue;
        }
        if found.is_dir() {
            collect(root, directory, &entry, depth + 1, files, faults);
        } else if is_manifest(&entry) {
            let relative = entry.strip_prefix(directory).unwrap_or(&entry);
            files.push((relative.to_owned(), false));
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn parse_file(directory: &Path, file: &Path, named: bool) -> Sources {
    let mut sources = Sources::default();
    let name: Arc<str> = file.display().to_string().into();
    let fault = |line: u32, summary: String, hint: Option<String>| Fault {
        location: Location {
            file: name.to_string(),
            line,
        },
        summary,
        hint,
    };
    let whole = directory.join(file);
    let text = fs::metadata(&whole)
        .and_then(|found| {
            if found.len() > MOST_BYTES {
                return Err(std::io::Error::other("it has more than 64 MiB"));
            }
            fs::read(&whole)
        })
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            sources
                .faults
                .push(fault(1, format!("the file cannot be read: {error}"), None));
            return sources;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let json = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let mut strangers = Vec::new();
    let mut take = |value: Value, place: Place| {
        flatten(value, place, 0, &mut sources.documents, &mut strangers);
    };
    if json && let Some(values) = json_values(text) {
        for (value, bytes) in values {
            let first = line_at(text, bytes.0);
            let place = Place {
                file: name.clone(),
                line: first,
                bytes,
                first,
                within: String::new(),
            };
            take(value, place);
        }
    } else {
        let mut counted = (0_usize, 1_u32);
        for bytes in documents(text) {
            let document = &text[bytes.0..bytes.1];
            counted.1 += newlines(&text[counted.0..bytes.0]);
            counted.0 = bytes.0;
            let first = counted.1;
            match crate::locate::parse(document) {
                Ok(parsed) => {
                    if let Some((line, key)) = parsed.twice {
                        warnings.push(fault(
                            first + line.max(1) - 1,
                            format!("the key {key} stands twice: the last holds"),
                            None,
                        ));
                    }
                    let Some(value) = parsed.value else { continue };
                    let place = Place {
                        file: name.clone(),
                        line: first + lead(document),
                        bytes,
                        first,
                        within: String::new(),
                    };
                    take(value, place);
                }
                Err((line, message)) => faults.push(fault(
                    first + line.max(1) - 1,
                    format!("not valid YAML: {message}"),
                    template_hint(document),
                )),
            }
        }
    }
    sources.faults = faults;
    sources.warnings = warnings;
    // A directory may hold files that are something else; a file in which there is an object may not.
    if !strangers.is_empty()
        && !named
        && sources.documents.is_empty()
        && sources.faults.is_empty()
        && strangers.iter().all(|stranger| stranger.foreign)
    {
        sources.warnings.push(fault(
            1,
            "left out: it holds no Kubernetes object".to_owned(),
            None,
        ));
        return sources;
    }
    sources.faults.extend(
        strangers
            .into_iter()
            .map(|stranger| fault(stranger.line, stranger.summary, stranger.hint)),
    );
    sources
}

fn template_hint(document: &str) -> Option<String> {
    document.contains("{{").then(|| {
        "this looks like a template of Helm; render it first: helm template CHART > all.yaml"
            .to_owned()
    })
}

/// A document that is no object.
struct Stranger {
    line: u32,
    summary: String,
    hint: Option<String>,
    /// It does not even look like one.
    foreign: bool,
}

/// Checks that a document is an object, and takes lists apart.
fn flatten(
    mut value: Value,
    place: Place,
    depth: usize,
    documents: &mut Vec<Document>,
    strangers: &mut Vec<Stranger>,
) {
    let stranger = |summary: &str, hint: Option<&str>, foreign: bool| Stranger {
        line: place.line,
        summary: summary.to_owned(),
        hint: hint.map(str::to_owned),
        foreign,
    };
    if let Value::Array(items) = value {
        // A file that is a list of objects, as JSON files sometimes are.
        for (at, item) in items.into_iter().enumerate() {
            let mut place = place.clone();
            place.within = format!("{}[{at}]", place.within);
            flatten(item, place, depth + 1, documents, strangers);
        }
        return;
    }
    let Value::Object(object) = &mut value else {
        strangers.push(stranger(
            "an object is a mapping with apiVersion, kind and metadata",
            None,
            true,
        ));
        return;
    };
    let has = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    match (has("apiVersion"), has("kind")) {
        (true, true) => {}
        (false, false) => {
            strangers.push(stranger(
                "no Kubernetes object: apiVersion and kind are not set",
                Some("every object says its kind, such as `apiVersion: apps/v1` and `kind: Deployment`"),
                true,
            ));
            return;
        }
        (one, _) => {
            let missing = if one { "kind" } else { "apiVersion" };
            strangers.push(stranger(&format!("{missing} is not set"), None, false));
            return;
        }
    }
    let kind = object["kind"].as_str().unwrap_or_default();
    if kind == "Kustomization"
        && object["apiVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
    {
        strangers.push(stranger(
            "kustomizations are not built",
            Some("build it first: kubectl kustomize DIRECTORY > all.yaml, and name that file as the path"),
            false,
        ));
        return;
    }
    if kind.ends_with("List") && object.get("items").is_some_and(Value::is_array) && depth < 16 {
        if let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
            for (at, item) in items.into_iter().enumerate() {
                let mut place = place.clone();
                let dot = if place.within.is_empty() { "" } else { "." };
                place.within = format!("{}{dot}items[{at}]", place.within);
                flatten(item, place, depth + 1, documents, strangers);
            }
        }
        return;
    }
    let metadata = object.get("metadata");
    let named = |field: &str| {
        metadata
            .and_then(|metadata| metadata.get(field))
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    if !named("name") {
        if named("generateName") {
            strangers.push(stranger(
                "metadata.generateName makes another object every time, which cannot be planned",
                Some("give it a name"),
                false,
            ));
        } else {
            strangers.push(stranger("metadata.name is not set", None, false));
        }
        return;
    }
    documents.push(Document { place, value });
}

/// The values of a text that is JSON, with their places; none if it is not.
fn json_values(text: &str) -> Option<Vec<(Value, (usize, usize))>> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut values = Vec::new();
    loop {
        let before = stream.byte_offset();
        match stream.next() {
            None => return Some(values),
            Some(Ok(value)) => {
                let after = stream.byte_offset();
                let blank = text[before..after].len() - text[before..after].trim_start().len();
                values.push((value, (before + blank, after)));
            }
            // Flow style YAML looks like it as well; and YAML's parser tells the place of a fault.
            Some(Err(_)) => return None,
        }
    }
}

fn newlines(text: &str) -> u32 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u32
}

fn line_at(text: &str, offset: usize) -> u32 {
    1 + newlines(&text[..offset])
}

/// How many lines come before the first that says something.
fn lead(document: &str) -> u32 {
    document
        .lines()
        .take_while(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "---"
        })
        .count() as u32
}

/// Where each document of a YAML stream starts and ends. A line of `---` in the first column is always a boundary: no
/// scalar can hold one. Directives belong to the document after them.
fn documents(text: &str) -> Vec<(usize, usize)> {
    let mut bounds = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    let mut directives = false;
    let mut content = false;
    for line in text.split_inclusive('\n') {
        let boundary = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if boundary {
            if !directives || content {
                bounds.push((start, offset));
                start = offset;
            }
            directives = false;
            content = false;
        } else if line.starts_with('%') && !content {
            directives = true;
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            content = true;
        }
        offset += line.len();
    }
    bounds.push((start, offset));
    bounds.retain(|(start, end)| {
        let text = &text[*start..*end];
        let rest = text.strip_prefix("---").unwrap_or(text);
        rest.lines().any(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        })
    });
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let stanza = Location {
            file: "consort.yaml".into(),
            line: 3,
        };
        let sources = read(dir.path(), &Paths::One("deploy".into()), &stanza);
        (dir, sources)
    }

    #[test]
    fn objects_are_found_with_their_lines_in_streams_lists_and_json() {
        let (dir, sources) = sources(&[
            (
                "deploy/a.yaml",
                "# first\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    y\n---\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: b}\n  type: Opaque\n",
            ),
            (
                "deploy/b/c.json",
                "\n{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"c\"}}",
            ),
        ]);
        assert_eq!(sources.faults, []);
        let told: Vec<_> = sources
            .documents
            .iter()
            .map(|document| {
                (
                    document.value["metadata"]["name"].as_str().unwrap(),
                    document.place.location().to_string(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", "deploy/a.yaml:3".to_owned()),
                ("b", "deploy/a.yaml:12".to_owned()),
                ("c", "deploy/b/c.json:2".to_owned())
            ]
        );
        let kind = sources.documents[1].place.field(dir.path(), "type");
        assert_eq!(kind.to_string(), "deploy/a.yaml:18");
    }

    #[test]
    fn what_is_no_object_is_told_with_its_line() {
        let (_dir, sources) = sources(&[
            (
                "deploy/a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nmetadata: {name: b}\n---\nkind: [a\n",
            ),
            ("deploy/values.yaml", "replicas: 3\n"),
            (
                "deploy/kustomization.yaml",
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n",
            ),
        ]);
        let told: Vec<_> = sources
            .faults
            .iter()
            .map(|fault| format!("{}: {}", fault.location, fault.summary))
            .collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("deploy/a.yaml:"), "{told:?}");
        assert_eq!(told[1], "deploy/a.yaml:5: kind is not set");
        assert_eq!(
            told[2],
            "deploy/kustomization.yaml:1: kustomizations are not built"
        );
        assert_eq!(sources.warnings.len(), 1);
        assert_eq!(sources.warnings[0].location.file, "deploy/values.yaml");
    }
}
