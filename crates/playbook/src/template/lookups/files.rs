//! Files, and which of them there are.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Error, Key, Result, Value, repr};

use super::Call;
use crate::paths::{basename, dirname, join, unfrack};
use crate::template::context::refused;
use crate::template::filters::{decoded, glob};
use crate::template::templar::TASK_ACTION;

impl Call<'_, '_, '_, '_> {
    /// The text of a file, which may be encrypted.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        self.context()
            .options
            .reader
            .text(Path::new(path))
            .map(|(text, _)| text)
            .map_err(|error| Error::failed(error.brief()))
    }
}

impl Call<'_, '_, '_, '_> {
    /// The text of a file in some encoding.
    pub(super) fn read_as(&self, path: &str, encoding: &str) -> Result<String> {
        if matches!(encoding.to_ascii_lowercase().as_str(), "utf-8" | "utf8") {
            return self.read(path);
        }
        let (content, _) = self
            .context()
            .options
            .reader
            .bytes(Path::new(path))
            .map_err(|error| Error::failed(error.brief()))?;
        decoded(&content, encoding)
    }
}

pub(super) fn file(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let left = call.flag("lstrip", false)?;
    let right = call.flag("rstrip", true)?;
    let mut found = Vec::new();
    for term in call.texts()? {
        let within = |cause: Error| {
            Error::caused(
                format!("Unable to access the file {}.", repr::string(&term)),
                cause,
            )
        };
        let Some(path) = call.find_file("files", &term)? else {
            return Err(within(Error::failed(
                "File not found. Use -vvvvv to see paths searched.",
            )));
        };
        let text = call.read(&path).map_err(within)?;
        let mut text = text.as_str();
        if left {
            text = text.trim_start();
        }
        if right {
            text = text.trim_end();
        }
        found.push(Value::from(text));
    }
    Ok(found)
}

pub(super) fn unvault(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for term in call.texts()? {
        let Some(path) = call.find_file_or_warn("files", &term)? else {
            return refused(format!("Unable to find file matching \"{}\"", &*term));
        };
        found.push(Value::from(call.read(&path)?));
    }
    Ok(found)
}

pub(super) fn fileglob(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for term in call.texts()? {
        let name = basename(&term);
        let mut directories = Vec::new();
        if name == &*term {
            let context = Arc::clone(call.context);
            for path in context.search_path(call.state)? {
                let path = path.to_string_lossy().into_owned();
                directories.push(join(&path, "files"));
                directories.push(path);
            }
        } else if let Some(path) = call.find_file_or_warn("files", dirname(&term))? {
            directories.push(path);
        }
        for directory in directories {
            let here: Vec<Value> = glob(&join(&directory, name))
                .into_iter()
                .filter(|path| Path::new(path).is_file())
                .map(Value::from)
                .collect();
            if !here.is_empty() {
                found.extend(here);
                break;
            }
        }
    }
    Ok(found)
}

pub(super) fn first_found(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    for (_, value) in &call.named {
        value.clone().defined()?;
    }
    let mut terms = Vec::new();
    let drop = call.as_with;
    for term in call.terms.clone() {
        if let Some(term) = settled(call, term, drop)? {
            terms.push(term);
        }
    }
    let action = call
        .state
        .variables()
        .get(TASK_ACTION)
        .and_then(|action| action.text().ok())
        .map_or_else(|| "file".to_owned(), |action| action.to_string());
    let kind = ["template", "var", "file"]
        .into_iter()
        .find(|kind| action.contains(kind))
        .unwrap_or("file");
    let kind = format!("{kind}s");
    if terms.is_empty() {
        terms = list(call.option("files"))?;
    }
    let mut wanted = Vec::new();
    candidates(call, &terms, &mut wanted)?;
    for name in &wanted {
        if let Some(path) = call.find_file(&kind, name)? {
            return Ok(vec![Value::from(unfrack(
                &path,
                &call.context().options.surroundings,
                None,
            ))]);
        }
    }
    if call.flag("skip", false)? {
        return Ok(Vec::new());
    }
    refused("No file was found when using first_found.")
}

/// A term with all in it rendered; none, or without what is undefined in it, if that may be dropped.
fn settled(call: &mut Call<'_, '_, '_, '_>, term: Value, drop: bool) -> Result<Option<Value>> {
    let term = call.state.access(term);
    match &term {
        Value::Undefined(undefined) if undefined.error.is_none() && drop => Ok(None),
        Value::Undefined(undefined) => Err(undefined.as_error()),
        Value::List(_) | Value::Tuple(_) => {
            let mut items = Vec::new();
            for item in term.iterate()? {
                items.extend(settled(call, item, drop)?);
            }
            Ok(Some(Value::list(items)))
        }
        Value::Dict(_) => {
            let mut entries: Vec<(Key, Value)> = Vec::new();
            for (key, value) in term.entries().unwrap_or_default() {
                if let Some(value) = settled(call, value, drop)? {
                    entries.push((key, value));
                }
            }
            Ok(Some(Value::Dict(consort_jinja::Dict::new(
                entries.into_iter().collect(),
            ))))
        }
        _ => Ok(Some(term)),
    }
}

/// An option that is a list: a text is one between commas.
fn list(value: Option<Value>) -> Result<Vec<Value>> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Str(text)) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Value::from)
            .collect()),
        Some(value) => value.iterate(),
    }
}

fn candidates(
    call: &mut Call<'_, '_, '_, '_>,
    terms: &[Value],
    wanted: &mut Vec<String>,
) -> Result<()> {
    for term in terms {
        let files = match term {
            Value::Dict(options) => {
                // From here on they are the lookup's own.
                for name in ["files", "paths", "skip"] {
                    let value = options.get(name).unwrap_or_default();
                    call.set(name, value);
                }
                list(call.option("files"))?
            }
            Value::Str(_) => vec![term.clone()],
            Value::List(_) | Value::Tuple(_) => {
                candidates(call, &term.iterate()?, wanted)?;
                continue;
            }
            other => {
                return refused(format!(
                    "Invalid term supplied. A string, dict or list is required, not {}).",
                    repr::string(other.type_name())
                ));
            }
        };
        let files = split(&files, &[',', ';'])?;
        let paths = split(&list(call.option("paths"))?, &[',', ':', ';'])?;
        if paths.is_empty() {
            wanted.extend(files);
        } else {
            for path in &paths {
                wanted.extend(files.iter().map(|file| join(path, file)));
            }
        }
    }
    Ok(())
}

fn split(texts: &[Value], signs: &[char]) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    for text in texts {
        parts.extend(text.text()?.split(signs).map(str::to_owned));
    }
    Ok(parts)
}
