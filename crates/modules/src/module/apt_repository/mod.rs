//! `apt_repository`: sources of packages, one on a line, in `/etc/apt/sources.list` and beside it.

mod ppa;
mod sources;

use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::{Value, json};

use self::ppa::{Archive, Programs};
use self::sources::{Sources, file_name, source_of};
use crate::apt::update::{self, Trouble};
use crate::arguments::{Arguments, Spec, boolean, integer, raw, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "apt_repository",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("repo", text().required())
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with("mode", raw())
        .with(
            "update_cache",
            boolean().default(true).aliases(&["update-cache"]),
        )
        .with("update_cache_retries", integer().default(5))
        .with("update_cache_retry_max_delay", integer().default(12))
        .with("filename", text())
        .with("install_python_apt", boolean().default(true))
        .with("validate_certs", boolean().default(true))
        .with("codename", text())
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let repo = arguments.required("repo");
    if repo.is_empty() {
        return Err(Failure::new(
            "Please set argument 'repo' to a non-empty value",
        ));
    }
    Programs::find(context)?;
    let before = Sources::read(context)?;
    let mut after = before.clone();
    if arguments.required("state") == "present" {
        add(context, &arguments, repo, &mut after)?;
    } else if repo.starts_with("ppa:") {
        after.remove(&Archive::of(context, &arguments, repo)?.source)?;
    } else {
        after.remove(&source_of(repo)?)?;
    }
    let (old, new) = (before.dump(), after.dump());
    let changed = old != new;
    if changed && !context.settings.check {
        after.save(context, arguments.get("mode"))?;
        if arguments.flag("update_cache") {
            refresh(context, &arguments, &before, &old, &new)?;
        }
    }
    let only_in = |one: &IndexMap<String, String>, other: &IndexMap<String, String>| {
        one.keys()
            .filter(|file| !other.contains_key(*file))
            .cloned()
            .collect::<Vec<String>>()
    };
    let (added, removed) = (only_in(&new, &old), only_in(&old, &new));
    let mut diff: Vec<Value> = Vec::new();
    if context.settings.diff {
        for file in added.iter().chain(&removed) {
            let header = |files: &IndexMap<String, String>| {
                if files.contains_key(file) {
                    file.as_str()
                } else {
                    "/dev/null"
                }
            };
            let text =
                |files: &IndexMap<String, String>| files.get(file).cloned().unwrap_or_default();
            diff.push(json!({
                "before": text(&old),
                "after": text(&new),
                "before_header": header(&old),
                "after_header": header(&new),
            }));
        }
    }
    Ok(Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("repo".to_owned(), json!(repo)),
        ("sources_added".to_owned(), json!(added)),
        ("sources_removed".to_owned(), json!(removed)),
        ("state".to_owned(), arguments.get("state").clone()),
        ("diff".to_owned(), diff.into()),
    ]))
}

fn add(
    context: &mut Context<'_>,
    arguments: &Arguments,
    repo: &str,
    sources: &mut Sources,
) -> Result<(), Failure> {
    let given = arguments.text("filename");
    if !repo.starts_with("ppa:") {
        let source = source_of(repo)?;
        let file = file_name(&source, given)?;
        sources.add(source, &file);
        return Ok(());
    }
    let archive = Archive::of(context, arguments, repo)?;
    if sources.holds(&archive.source) {
        return Ok(());
    }
    archive.fetch_key(context, arguments)?;
    let file = file_name(&format!("{repo}_{}", archive.codename), given)?;
    sources.add(archive.source, &file);
    Ok(())
}

/// Fetches what the sources hold now; if that cannot be done, the files are as they were before.
fn refresh(
    context: &mut Context<'_>,
    arguments: &Arguments,
    before: &Sources,
    old: &IndexMap<String, String>,
    new: &IndexMap<String, String>,
) -> Result<(), Failure> {
    let get = process::required(context, "apt-get", &[])?;
    let done = update::patiently(
        context,
        arguments,
        &get,
        process::Command::plain_messages,
        (
            |number, why| {
                format!("Failed to update cache after {number} due to {why} retry, retrying")
            },
            "update",
        ),
    );
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => {
            for file in new.keys().filter(|file| !old.contains_key(*file)) {
                // Gone already if somebody took it away.
                let _ = std::fs::remove_file(context.path(file));
            }
            before.save(context, &Value::Null)?;
            Err(Failure::new(message))
        }
        Err(Trouble::Failed(failure)) => Err(failure),
        Err(Trouble::Locked(why) | Trouble::Fetch(why) | Trouble::Unreadable(why)) => {
            Err(Failure::unhandled(why))
        }
    }
}
