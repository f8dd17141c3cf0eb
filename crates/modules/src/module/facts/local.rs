//! The facts a machine has of its own: files `*.fact`, read or run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Facts, Gathering};
use crate::glob;
use crate::ini::{Ini, Reading};
use crate::process::Command;
use crate::python;

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut local = Map::new();
    let directory = gathering.fact_path.clone();
    if !directory.is_empty() {
        let place = gathering.path(&directory);
        let mut files = glob::matches(&place, "*.fact");
        files.sort();
        for file in files {
            let name = file
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let shown = python::join(&directory, &name);
            let fact = match told(gathering, &file, &shown) {
                Ok(fact) => fact,
                Err(wrong) => {
                    gathering.context.warn(wrong.clone());
                    json!(wrong)
                }
            };
            local.insert(name.replace(".fact", ""), fact);
        }
    }
    Facts::from_iter([("local".to_owned(), local.into())])
}

/// What a file tells. The error is told in its place, and warned of.
fn told(gathering: &Gathering<'_, '_>, file: &Path, shown: &str) -> Result<Value, String> {
    let meta = std::fs::metadata(file).map_err(|error| {
        format!(
            "Could not stat fact ({shown}): {}",
            python::os_error_at_text(&error, shown)
        )
    })?;
    let bytes = if gathering.live && meta.permissions().mode() & 0o100 != 0 {
        let done = Command::new([shown])
            .run(gathering.context)
            .map_err(|failure| {
                format!(
                    "Could not execute fact script ({shown}): {}",
                    failure.causes.first().unwrap_or(&failure.message)
                )
            })?;
        if !done.success() {
            return Err(format!(
                "Failure executing fact script ({shown}), rc: {}, err: {}",
                done.code,
                done.err()
            ));
        }
        done.stdout
    } else {
        gathering.content(shown).unwrap_or_default().into_bytes()
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("error loading fact - output of running \"{shown}\" was not utf-8"))?;
    if let Ok(value) = serde_json::from_str(&text) {
        return Ok(value);
    }
    let mut ini = Ini::default();
    ini.read(&text, &Reading::default()).map_err(|_| {
        format!("error loading facts as JSON or ini - please check content: {shown}")
    })?;
    let mut fact = Map::new();
    for (section, entries) in &ini.sections {
        let mut values = Map::new();
        for (name, written) in ini.defaults_and(entries) {
            let value = match written {
                Some(written) => json!(ini.interpolated(section, name, written, false).map_err(
                    |wrong| {
                        format!(
                            "error loading facts as ini - please check content: {shown} ({wrong})"
                        )
                    }
                )?),
                None => Value::Null,
            };
            values.insert(name.clone(), value);
        }
        fact.insert(section.clone(), values.into());
    }
    Ok(fact.into())
}
