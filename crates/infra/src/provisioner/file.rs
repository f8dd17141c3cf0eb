//! `file`: files and directories to the machine that was made.

use consort_hcl::{Diagnostic, Value};
use consort_ssh::{Error, Source};

use super::connection::{Link, Settings};
use super::{given, is_empty, placed, text};
use crate::engine::Provision;

const EMPTY: &str = "The destination must be a non-empty string.";

pub(super) fn check(config: &Value) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if is_empty(config, "destination") {
        problems.push(Diagnostic::error(
            "Invalid file provisioner configuration",
            EMPTY,
        ));
    }
    match (given(config, "source"), given(config, "content")) {
        (Some(_), Some(_)) => problems.push(Diagnostic::error(
            "Cannot set both 'source' and 'content'",
            "",
        )),
        (None, None) => problems.push(Diagnostic::error(
            "Must provide one of 'source' or 'content'",
            "",
        )),
        _ => {}
    }
    problems
}

/// What is copied.
enum From {
    Content(String),
    Path(String),
}

fn from(provision: &Provision<'_>) -> Result<From, String> {
    let config = &provision.config;
    if let Some(content) = text(config, "content") {
        return Ok(From::Content(content));
    }
    let path = text(config, "source").ok_or("source and content cannot both be null")?;
    // The home directory of whoever runs this.
    let Some(rest) = path.strip_prefix('~') else {
        // A slash at the end says that what is in the directory is meant.
        let slash = if path.ends_with('/') { "/" } else { "" };
        let placed = placed(provision, path.trim_end_matches('/'));
        return Ok(From::Path(format!("{}{slash}", placed.display())));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err("cannot expand user-specific home dir".to_owned());
    }
    let home = std::env::var("HOME").map_err(|_| "the home directory is not known".to_owned())?;
    Ok(From::Path(format!("{home}{rest}")))
}

pub(super) async fn run(provision: &Provision<'_>) -> Result<(), String> {
    let settings = Settings::new(&provision.connection)?;
    let from = from(provision)?;
    let destination = text(&provision.config, "destination").unwrap_or_default();
    if destination.is_empty() {
        return Err(EMPTY.to_owned());
    }
    let mut link = Link::connect(&settings, None, provision.cancel).await?;
    tokio::select! {
        outcome = copy(&mut link, &from, &destination) => outcome?,
        () = provision.cancel.cancelled() => return Err("Upload failed: interrupted".to_owned()),
    }
    link.close().await;
    Ok(())
}

async fn copy(link: &mut Link<'_>, from: &From, destination: &str) -> Result<(), String> {
    let failed = |error: Error| format!("Upload failed: {error}");
    match from {
        From::Content(content) => link
            .upload(destination, Source::Bytes(content.as_bytes()))
            .await
            .map_err(failed),
        From::Path(path) => {
            let metadata = tokio::fs::metadata(path).await.map_err(|error| {
                let why = error.to_string();
                let why = why.split(" (os error").next().unwrap_or_default();
                format!("stat {path}: {}", why.to_lowercase())
            })?;
            if metadata.is_dir() {
                link.upload_directory(destination, path)
                    .await
                    .map_err(failed)
            } else {
                link.upload(destination, Source::File(path.as_ref()))
                    .await
                    .map_err(failed)
            }
        }
    }
}
