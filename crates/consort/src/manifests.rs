//! Reads the manifests a user hands in, and knows where in which file everything stood.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Failure, Kind, Result};

/// A file of manifests, kept whole so that errors can show its lines.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    text: String,
}

/// One object as a user wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    source: Arc<Source>,
    /// Where the object's YAML document starts and ends in the text.
    start: usize,
    end: usize,
    /// The object.
    pub(crate) value: Value,
}

/// A place in a file, what is wrong there, and what might help.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(crate) struct Located {
    message: String,
    #[source_code]
    source_code: NamedSource<String>,
    #[label("{label}")]
    span: SourceSpan,
    label: String,
    #[help]
    help: Option<String>,
}

impl Manifest {
    /// The object's `apiVersion`.
    pub(crate) fn api_version(&self) -> &str {
        text(&self.value, "apiVersion")
    }

    /// The object's `kind`.
    pub(crate) fn kind(&self) -> &str {
        text(&self.value, "kind")
    }

    /// The object's name; empty if it has `generateName`.
    pub(crate) fn name(&self) -> &str {
        self.value.get("metadata").map_or("", |m| text(m, "name"))
    }

    /// The namespace the object names, if any.
    pub(crate) fn namespace(&self) -> Option<&str> {
        let namespace = self
            .value
            .get("metadata")
            .map_or("", |m| text(m, "namespace"));
        (!namespace.is_empty()).then_some(namespace)
    }

    /// `Deployment "web"`, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{} {:?}", self.kind(), self.name())
    }

    /// A failure that shows where `field` (such as `spec.replicas` or
    /// `spec.template.spec.containers[0].image`) of this object stands; the object's first line if
    /// the field is not there.
    pub(crate) fn failure(
        &self,
        message: String,
        field: Option<&str>,
        help: Option<String>,
    ) -> Failure {
        let document = &self.source.text[self.start..self.end];
        let place = field.and_then(|field| find(document, field));
        let (offset, length, label) = match place {
            Some((offset, length)) => (offset, length, "here"),
            None => {
                let offset = document
                    .lines()
                    .take_while(|line| {
                        line.trim().is_empty()
                            || line.trim_start().starts_with('#')
                            || *line == "---"
                    })
                    .map(|line| line.len() + 1)
                    .sum::<usize>()
                    .min(document.len());
                let length = document[offset..].lines().next().map_or(0, str::len);
                (offset, length, "this object")
            }
        };
        Failure::located(
            self.source
                .located(message, self.start + offset, length, label, help),
        )
    }
}

impl Source {
    fn located(
        &self,
        message: String,
        offset: usize,
        length: usize,
        label: &str,
        help: Option<String>,
    ) -> Located {
        Located {
            message,
            source_code: NamedSource::new(&self.name, self.text.clone()).with_language("yaml"),
            span: (offset, length).into(),
            label: label.to_owned(),
            help,
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Reads files, directories (all `.yaml`, `.yml` and `.json` files below, in the order of their
/// paths) and `-` for standard input. Lists are taken apart.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut input = String::new();
            std::io::stdin()
                .read_to_string(&mut input)
                .map_err(|e| Failure::new(Kind::Input, format!("reading standard input: {e}")))?;
            parse("standard input".to_owned(), input, &mut manifests)?;
            continue;
        }
        let mut files = Vec::new();
        collect(path, true, &mut files)?;
        if files.is_empty() {
            return Err(Failure::new(
                Kind::Input,
                format!("{} has no .yaml, .yml or .json file", path.display()),
            ));
        }
        for file in files {
            let input = fs::read_to_string(&file).map_err(|e| {
                Failure::new(Kind::Input, format!("reading {}: {e}", file.display()))
            })?;
            parse(file.display().to_string(), input, &mut manifests)?;
        }
    }
    Ok(manifests)
}

fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    let failure =
        |e: std::io::Error| Failure::new(Kind::Input, format!("reading {}: {e}", path.display()));
    if !fs::metadata(path).map_err(failure)?.is_dir() {
        let manifest = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension == *known)
        });
        if named || manifest {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failure)? {
        entries.push(entry.map_err(failure)?.path());
    }
    entries.sort();
    for entry in entries {
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden {
            collect(&entry, false, files)?;
        }
    }
    Ok(())
}

/// The YAML dialect of manifests: that of the YAML 1.1 parsers `kubectl` has always used, where
/// `yes` is a boolean and `0644` is octal; a repeated key is an error.
fn dialect() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
    }
}

/// Where each document of a YAML stream starts and ends. A line of `---` in the first column is
/// always a boundary: no scalar can hold one.
fn documents(text: &str) -> Vec<(usize, usize)> {
    let mut bounds = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        {
            bounds.push((start, offset));
            start = offset;
        }
        offset += line.len();
    }
    bounds.push((start, offset));
    bounds
}

fn parse(name: String, text: String, manifests: &mut Vec<Manifest>) -> Result<()> {
    let source = Arc::new(Source { name, text });
    for (start, end) in documents(&source.text) {
        let document = &source.text[start..end];
        let value: Option<Value> = serde_saphyr::from_str_with_options(document, dialect())
            .map_err(|error| {
                let error = error.without_snippet();
                let (offset, length) = error
                    .location()
                    .map_or((0, 0), |place| span(document, place.line(), place.column()));
                let message = error.to_string();
                // The text already shows the place.
                let message = message
                    .split(" at line ")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                let message = format!("not valid YAML: {message}");
                Failure::located(source.located(message, start + offset, length, "here", None))
            })?;
        let Some(value) = value.filter(|value| !value.is_null()) else {
            continue;
        };
        let manifest = Manifest {
            source: source.clone(),
            start,
            end,
            value,
        };
        take(manifest, manifests)?;
    }
    Ok(())
}

/// Checks that a document is an object of some kind, and takes lists apart.
fn take(mut manifest: Manifest, manifests: &mut Vec<Manifest>) -> Result<()> {
    if !manifest.value.is_object() {
        let message = "a manifest is a mapping with apiVersion, kind and metadata".to_owned();
        return Err(manifest.failure(message, None, None));
    }
    for field in ["apiVersion", "kind"] {
        if text(&manifest.value, field).is_empty() {
            let help =
                "every object says its kind, such as `apiVersion: apps/v1` and `kind: Deployment`";
            return Err(manifest.failure(
                format!("{field} is not set"),
                Some(field),
                Some(help.to_owned()),
            ));
        }
    }
    if manifest.kind().ends_with("List")
        && let Some(Value::Array(items)) = manifest.value.get_mut("items").map(Value::take)
    {
        for value in items {
            take(
                Manifest {
                    value,
                    ..manifest.clone()
                },
                manifests,
            )?;
        }
        return Ok(());
    }
    let metadata = manifest.value.get("metadata");
    let named = |field| metadata.is_some_and(|metadata| !text(metadata, field).is_empty());
    if !named("name") && !named("generateName") {
        return Err(manifest.failure(
            "metadata.name is not set".to_owned(),
            Some("metadata"),
            None,
        ));
    }
    manifests.push(manifest);
    Ok(())
}

/// The byte offset of a line and column (both from 1), and the length of the word there.
pub(crate) fn span(text: &str, line: u64, column: u64) -> (usize, usize) {
    let line_index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text
        .split_inclusive('\n')
        .take(line_index)
        .map(str::len)
        .sum();
    let rest = text[start..].lines().next().unwrap_or_default();
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    let within = rest
        .char_indices()
        .nth(column)
        .map_or(rest.len(), |(at, _)| at);
    let word = rest[within..]
        .find([' ', ',', '}', ']'])
        .unwrap_or(rest.len() - within);
    (
        start + within,
        word.max(1)
            .min(text.len() - (start + within).min(text.len())),
    )
}

/// A YAML value whose parts know where they stood.
enum Node {
    Map(HashMap<String, serde_saphyr::Spanned<Node>>),
    List(Vec<serde_saphyr::Spanned<Node>>),
    Scalar,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        // A derived untagged enum would buffer what it reads, and lose the places.
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, _: $of) -> std::result::Result<Node, E> {
            Ok(Node::Scalar)
        })*
    };
}

impl<'de> serde::de::Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
        visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> std::result::Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> std::result::Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: serde::Deserializer<'de>>(
        self,
        inner: D,
    ) -> std::result::Result<Node, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(
        self,
        mut items: A,
    ) -> std::result::Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(
        self,
        mut entries: A,
    ) -> std::result::Result<Node, A::Error> {
        let mut map = HashMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(Node::Map(map))
    }
}

/// Where a field of a document stands: byte offset and length.
fn find(document: &str, field: &str) -> Option<(usize, usize)> {
    let root: serde_saphyr::Spanned<Node> =
        serde_saphyr::from_str_with_options(document, dialect()).ok()?;
    let mut node = &root;
    let mut found = None;
    for step in field.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        let next = match &node.value {
            Node::Map(map) => map.get(step),
            Node::List(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Node::Scalar => None,
        };
        let Some(next) = next else { break };
        found = Some(next.referenced);
        node = next;
    }
    let place = found?;
    Some(span(document, place.line(), place.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Manifest>> {
        let mut manifests = Vec::new();
        parse("app.yaml".to_owned(), text.to_owned(), &mut manifests)?;
        Ok(manifests)
    }

    #[test]
    fn a_stream_gives_its_documents_in_order_and_skips_empty_ones() {
        let text = "# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    y\n---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n";
        let manifests = parsed(text).unwrap();
        let titles: Vec<String> = manifests.iter().map(Manifest::title).collect();
        assert_eq!(titles, [r#"ConfigMap "a""#, r#"Secret "b""#]);
        assert_eq!(manifests[0].value["data"]["x"], "---\ny\n");
    }

    #[test]
    fn octal_modes_mean_what_they_always_meant() {
        let text = "apiVersion: v1\nkind: X\nmetadata: {name: a}\nmode: 0400\non: yes\n";
        let manifests = parsed(text).unwrap();
        assert_eq!(manifests[0].value["mode"], 256);
        assert_eq!(manifests[0].value["on"], true);
    }

    #[test]
    fn an_error_names_file_line_and_column() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [a\n";
        let failure = parsed(text).unwrap_err();
        assert!(
            format!("{failure:?}").contains("not valid YAML"),
            "{failure:?}"
        );
        let twice = "apiVersion: v1\nkind: A\nkind: B\nmetadata: {name: x}\n";
        assert!(parsed(twice).is_err());
        let unnamed = parsed("apiVersion: v1\nkind: A\n").unwrap_err();
        assert!(
            format!("{unnamed:?}").contains("metadata.name"),
            "{unnamed:?}"
        );
    }

    #[test]
    fn a_field_is_found_where_it_stands() {
        let document =
            "spec:\n  containers:\n  - name: a\n    image: x\n  - name: b\n    image: wrong\n";
        let (offset, length) = find(document, "spec.containers[1].image").unwrap();
        assert_eq!(&document[offset..offset + length], "wrong");
        assert!(find(document, "nothing").is_none());
    }
}
