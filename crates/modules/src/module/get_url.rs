//! `get_url`: a file from the web.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use nix::unistd::{AccessFlags, access};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Kind, Spec, boolean, dict, integer, list, path, text};
use crate::atomic::{self, Keep};
use crate::attributes::Wanted;
use crate::context::Context;
use crate::digest;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::python_re::Pattern;
use crate::registry::Module;
use crate::url::{self, Address, Fetched, Request, masked};

pub(crate) const MODULE: Module = Module {
    name: "get_url",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    url::common(Spec::new())
        .with("url_username", text().aliases(&["username"]))
        .with("url_password", text().no_log(true).aliases(&["password"]))
        .with("url", text().required())
        .with("dest", path().required())
        .with("backup", boolean().default(false))
        .with("checksum", text().default(""))
        .with("timeout", integer().default(10))
        .with("headers", dict())
        .with("tmp_dest", path())
        .with("unredirected_headers", list(Kind::Text).default(json!([])))
        .with("decompress", boolean().default(true))
        .with("ciphers", list(Kind::Text))
        .with("use_netrc", boolean().default(true))
        .file_common()
        .supports_check_mode()
});

/// The last part of an address's path.
fn file_name(url: &str) -> String {
    match python::basename(&Address::of(url).path) {
        "" => "index.html".to_owned(),
        name => name.to_owned(),
    }
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let url = arguments.required("url");
    let mut dest = arguments.required("dest").to_owned();
    let mut report = Report::from_iter([
        ("changed".to_owned(), false.into()),
        ("checksum_dest".to_owned(), Value::Null),
        ("checksum_src".to_owned(), Value::Null),
        ("dest".to_owned(), json!(dest)),
        ("elapsed".to_owned(), 0.into()),
        ("url".to_owned(), json!(masked(url))),
    ]);
    let fail = |message: String, report: &Report| Failure {
        message,
        more: Box::new(report.clone()),
        ..Failure::default()
    };
    let into_directory = context.path(&dest).is_dir();
    let mut checksum = String::new();
    let mut algorithm = String::new();
    if let Some(given) = arguments.filled("checksum") {
        let Some((name, value)) = given.split_once(':') else {
            return Err(fail(
                "The checksum parameter has to be in format <algorithm>:<checksum>".to_owned(),
                &report,
            ));
        };
        name.clone_into(&mut algorithm);
        let value =
            if ["http", "https", "ftp", "file"].contains(&Address::of(value).scheme.as_str()) {
                checksum_at(context, &arguments, value, url, &dest)?
            } else {
                value.to_owned()
            };
        checksum = value
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
            .to_lowercase();
        let digits = checksum.replace('_', "");
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(fail("The checksum format is invalid".to_owned(), &report));
        }
    }
    let mut force = arguments.flag("force");
    let mut newer_than = None;
    let there = context.path(&dest);
    if !into_directory && there.exists() {
        if !force && !checksum.is_empty() {
            let own = digest::of_file(&there, &dest, &algorithm)?;
            if own.as_deref() == Some(checksum.as_str()) {
                let changed =
                    Wanted::of(context, &arguments, Some(&dest)).apply(context, false, None)?;
                report.insert("changed".to_owned(), changed.into());
                let message = if changed {
                    "file already exists but file attributes changed"
                } else {
                    "file already exists"
                };
                report.insert("msg".to_owned(), message.into());
                return Ok(report);
            }
            force = true;
        }
        newer_than = std::fs::metadata(&there)
            .ok()
            .map(|meta| crate::times::modified(&meta) as i64);
    }
    let begin = Instant::now();
    let method = if context.settings.check {
        "HEAD"
    } else {
        "GET"
    };
    let (temporary, fetched) =
        match download(context, &arguments, url, &dest, method, force, newer_than)? {
            Download::Done(temporary, fetched) => (temporary, fetched),
            Download::Unchanged(report) => return Ok(report),
        };
    let gone = Gone(temporary.clone());
    report.insert("elapsed".to_owned(), begin.elapsed().as_secs().into());
    report.insert("src".to_owned(), json!(temporary));
    if into_directory {
        let name = fetched
            .response
            .as_ref()
            .and_then(|response| response.parameter("content-disposition", "filename"))
            .map(|name| python::basename(&name).to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| {
                file_name(
                    fetched
                        .info
                        .get("url")
                        .and_then(Value::as_str)
                        .unwrap_or(url),
                )
            });
        dest = python::join(&dest, &name);
        report.insert("dest".to_owned(), json!(dest));
    }
    let source = temporary.to_string_lossy().into_owned();
    let checksum_src = digest::of_file(&temporary, &source, "sha1")?;
    report.insert("checksum_src".to_owned(), json!(checksum_src));
    let there = context.path(&dest);
    let may = |path: &Path, flags| access(path, flags).is_ok();
    let mut checksum_there = None;
    if there.exists() {
        if !may(&there, AccessFlags::W_OK) {
            return Err(fail(format!("Destination {dest} is not writable"), &report));
        }
        if !may(&there, AccessFlags::R_OK) {
            return Err(fail(format!("Destination {dest} is not readable"), &report));
        }
        checksum_there = digest::of_file(&there, &dest, "sha1")?;
        report.insert("checksum_dest".to_owned(), json!(checksum_there));
    } else {
        let above = python::dirname(&dest);
        let directory = context.path(above);
        if above.is_empty() || !directory.exists() {
            return Err(fail(format!("Destination {above} does not exist"), &report));
        }
        if !may(&directory, AccessFlags::W_OK) {
            return Err(fail(
                format!("Destination {above} is not writable"),
                &report,
            ));
        }
    }
    if context.settings.check {
        report.insert(
            "changed".to_owned(),
            (checksum_src != checksum_there).into(),
        );
        report.insert("msg".to_owned(), fetched.message().into());
        return Ok(report);
    }
    if !checksum.is_empty() {
        let own = digest::of_file(&temporary, &source, &algorithm)?.unwrap_or_default();
        if own != checksum {
            return Err(fail(
                format!("The checksum for {source} did not match {checksum}; it was {own}."),
                &report,
            ));
        }
    }
    let mut backup = None;
    let mut changed = false;
    if checksum_src != checksum_there {
        if arguments.flag("backup") && there.exists() {
            backup = atomic::backup(context, &dest)?;
        }
        atomic::take_place(context, &temporary, &dest, Keep::of(&arguments)).map_err(
            |failure| {
                fail(
                    format!("failed to copy {source} to {dest}: {}", failure.message),
                    &report,
                )
            },
        )?;
        changed = true;
    }
    drop(gone);
    let changed = Wanted::of(context, &arguments, Some(&dest)).apply(context, changed, None)?;
    report.insert("changed".to_owned(), changed.into());
    report.insert(
        "md5sum".to_owned(),
        json!(digest::of_file(&there, &dest, "md5")?),
    );
    if let Some(backup) = backup {
        report.insert("backup_file".to_owned(), backup.into());
    }
    report.insert("msg".to_owned(), fetched.message().into());
    report.insert(
        "status_code".to_owned(),
        fetched.info.get("status").cloned().unwrap_or(Value::Null),
    );
    Ok(report)
}

/// A temporary file that goes when it is no longer needed.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        // Gone already if it has taken its place.
        let _ = std::fs::remove_file(&self.0);
    }
}

enum Download {
    /// The temporary file and what is told of the response.
    Done(PathBuf, Fetched),
    /// There is nothing newer; the result.
    Unchanged(Report),
}

fn download(
    context: &mut Context<'_>,
    arguments: &Arguments,
    url: &str,
    dest: &str,
    method: &str,
    force: bool,
    newer_than: Option<i64>,
) -> Result<Download, Failure> {
    let begin = Instant::now();
    let headers = arguments
        .dict("headers")
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), python::str_value(value).into_owned()))
        .collect();
    let mut fetched = url::fetch(
        context,
        arguments,
        &Request {
            url,
            method,
            headers,
            force,
            newer_than,
            timeout: arguments
                .integer("timeout")
                .unwrap_or(10)
                .max(0)
                .unsigned_abs(),
            ..Request::default()
        },
    )?;
    let elapsed = begin.elapsed().as_secs();
    let status = fetched.status();
    let about = |failure: Failure| {
        failure
            .with("url", masked(url))
            .with("dest", dest)
            .with("elapsed", elapsed)
    };
    if status == Some(304) {
        return Ok(Download::Unchanged(Report::from_iter([
            ("url".to_owned(), json!(masked(url))),
            ("dest".to_owned(), json!(dest)),
            ("changed".to_owned(), json!(false)),
            ("msg".to_owned(), json!(fetched.message())),
            ("status_code".to_owned(), json!(304)),
            ("elapsed".to_owned(), json!(elapsed)),
        ])));
    }
    if status == Some(-1) {
        return Err(about(Failure::new(fetched.message())));
    }
    if status != Some(200) && !url.starts_with("file:/") {
        return Err(about(
            Failure::new("Request failed")
                .with("status_code", json!(status))
                .with("response", fetched.message()),
        ));
    }
    let directory = match arguments.filled("tmp_dest") {
        None => context.temporary_directory()?,
        Some(shown) => {
            let directory = context.path(shown);
            if !directory.is_dir() {
                let what = if directory.exists() {
                    "is a file but should be a directory."
                } else {
                    "directory does not exist."
                };
                return Err(Failure::new(format!("{shown} {what}")).with("elapsed", elapsed));
            }
            directory
        }
    };
    let temporary = directory.join(format!(
        "tmp{}",
        &uuid::Uuid::new_v4().simple().to_string()[..8]
    ));
    let body = fetched
        .response
        .as_mut()
        .and_then(|response| response.body.take());
    let written = (|| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let length = match body {
            Some(mut body) => std::io::copy(&mut body, &mut file)?,
            None => 0,
        };
        file.sync_data()?;
        Ok::<u64, std::io::Error>(length)
    })();
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            let _ = std::fs::remove_file(&temporary);
            return Err(Failure::new(format!(
                "failed to create temporary content file: {}",
                python::os_error(&error)
            ))
            .with("elapsed", elapsed));
        }
    };
    let header = |name: &str| fetched.info.get(name).and_then(Value::as_str);
    let packed = header("content-encoding") == Some("gzip");
    if !context.settings.check
        && (!packed || !arguments.flag("decompress"))
        && let Some(length) = header("content-length").and_then(|text| text.parse::<u64>().ok())
        && length != written
    {
        let _ = std::fs::remove_file(&temporary);
        let left = length as i64 - written as i64;
        return Err(Failure::new(format!(
            "Incomplete read, (rsp.length={left}, cl={length}, st.st_size={written}) failed to read remaining {left} bytes"
        )));
    }
    Ok(Download::Done(temporary, fetched))
}

/// The checksum of a file out of a file of checksums.
fn checksum_at(
    context: &mut Context<'_>,
    arguments: &Arguments,
    at: &str,
    url: &str,
    dest: &str,
) -> Result<String, Failure> {
    let force = arguments.flag("force");
    let (temporary, _) = match download(context, arguments, at, dest, "GET", force, None)? {
        Download::Done(temporary, fetched) => (temporary, fetched),
        Download::Unchanged(_) => return Err(Failure::new("Request failed")),
    };
    let text = std::fs::read_to_string(&temporary)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, &temporary)))?;
    let _ = std::fs::remove_file(&temporary);
    let name = file_name(url);
    let lines: Vec<&str> = text.lines().collect();
    if let [only] = lines.as_slice()
        && only.split_whitespace().count() == 1
    {
        return Ok((*only).to_owned());
    }
    let failed = |error: crate::python_re::Error| Failure::unhandled(error.0);
    let bsd = Pattern::new(r"^(\w+) ?\((?P<path>.+)\) ?= (?P<digest>[\w.]+)$").map_err(failed)?;
    let gnu = Pattern::new(r"^(?P<digest>[\w.]+)\s+(\*|\.\/|\.)?(?P<path>.+)$").map_err(failed)?;
    for line in lines {
        let (digest, path) = if let Some(found) = bsd.match_at(line, 0).map_err(failed)? {
            (found.group(line, 3), found.group(line, 2))
        } else if let Some(found) = gnu.match_at(line, 0).map_err(failed)? {
            (
                found.group(line, 1),
                found
                    .group(line, 3)
                    .map(|path| path.trim_start_matches(['.', '/'])),
            )
        } else {
            continue;
        };
        if path == Some(name.as_str()) {
            return Ok(digest.unwrap_or_default().to_owned());
        }
    }
    Err(Failure::new(format!(
        "Unable to find a checksum for file '{name}' in '{}'",
        masked(at)
    )))
}
