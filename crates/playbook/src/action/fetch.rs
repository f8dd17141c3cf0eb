//! `fetch`: files of the machine to the controller.

use std::path::{Path, PathBuf};

use consort_jinja::{Dict, Value, repr};

use super::given::{Given, dict, says, set, take, update};
use super::machine::{blocking, checksum_of, decoded, digest_of, expand_user, refused, stat};
use super::{Action, Failed, Failure, Outcome};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::paths;
use crate::source::Located;

/// `fetch`.
pub(super) struct Fetch;

impl Action for Fetch {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(fetch(attempt, arguments))
    }
}

async fn fetch(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    if attempt.check {
        return Err(Failure::skipped(
            "check mode not (yet) supported for this module",
        ));
    }
    let given = Given(&arguments);
    let flat = given.flag("flat", false);
    let needed = given.flag("fail_on_missing", true);
    let validated = given.flag("validate_checksum", true);
    let (Some(source), Some(dest)) = (given.get("src"), given.get("dest")) else {
        return Err(Failure::new("src and dest are required"));
    };
    let Some(dest) = dest.as_str().map(str::to_owned) else {
        return Err(Failure::new(
            "Invalid type supplied for dest option, it must be a string",
        ));
    };
    let Some(source) = source.as_str() else {
        return Err(Failure::new(
            "Invalid type supplied for source option, it must be a string",
        ));
    };
    let source = expand_user(attempt, &paths::normal(source)).await?;
    let result = Dict::default();
    let mut remote: Option<String> = None;
    if attempt.user()?.is_none() {
        let found = match stat(attempt, &source, true, true).await {
            Ok(found) => found,
            Err(Failure::Failed(failed)) => {
                let message = failed.error.brief();
                set(&result, "changed", false);
                set(&result, "file", source);
                if needed {
                    set(&result, "failed", true);
                    set(&result, "msg", message);
                } else {
                    set(&result, "msg", format!("{message}, ignored"));
                }
                return Ok(result);
            }
            Err(other) => return Err(other),
        };
        remote = found.get("checksum").map(|value| repr::text(&value));
        if says(&found, "exists") && says(&found, "isdir") {
            let message = "remote file is a directory, fetch cannot work on directories";
            if needed {
                set(&result, "failed", true);
                set(&result, "changed", false);
                set(&result, "msg", message);
            } else {
                set(
                    &result,
                    "msg",
                    format!("{message}, not transferring, ignored"),
                );
            }
            return Ok(result);
        }
    }
    let mut data = None;
    if matches!(remote.as_deref(), None | Some("1" | "")) {
        let slurped = attempt
            .module(
                "ansible.legacy.slurp",
                dict([("src", source.as_str().into())]),
            )
            .await?;
        if says(&slurped, "failed") {
            return missing(&source, &slurped, needed);
        }
        let bytes = decoded(&slurped.get("content").unwrap_or_default())?;
        remote = Some(consort_modules::digest::sha1(&bytes));
        data = Some(bytes);
    }
    let remote = remote.unwrap_or_default();
    let dest = destination(attempt, &dest, &source, flat)?;
    let shown = dest.to_string_lossy().into_owned();
    let local = if dest.is_dir() {
        None
    } else {
        checksum_of(&dest).await?
    };
    if local.as_deref() == Some(remote.as_str()) {
        update(
            &result,
            &dict([
                ("changed", false.into()),
                ("md5sum", md5(&dest).await?),
                ("file", source.into()),
                ("dest", shown.into()),
                ("checksum", remote.into()),
            ]),
        );
        return Ok(result);
    }
    let parent = dest.parent().unwrap_or(Path::new("/")).to_owned();
    blocking(move || {
        std::fs::create_dir_all(&parent).map_err(|error| {
            Failure::from(
                Located::new(format!(
                    "Unable to create local directories {}",
                    repr::string(&parent.to_string_lossy())
                ))
                .because(Located::new(consort_modules::python::os_error_at_text(
                    &error,
                    &parent.to_string_lossy(),
                ))),
            )
        })
    })
    .await?;
    match data {
        None => {
            let user = attempt.user()?;
            attempt
                .connection()?
                .fetch(&source, &dest, user)
                .await
                .map_err(refused)?;
        }
        Some(bytes) => {
            let path = dest.clone();
            blocking(move || write(&path, &bytes)).await?;
        }
    }
    let new = checksum_of(&dest).await?.unwrap_or_default();
    let told = dict([
        ("md5sum", md5(&dest).await?),
        ("file", source.into()),
        ("dest", shown.into()),
        ("remote_md5sum", Value::None),
        ("checksum", new.as_str().into()),
        ("remote_checksum", remote.as_str().into()),
    ]);
    update(&result, &told);
    if validated && new != remote {
        set(&result, "failed", true);
        set(&result, "msg", "checksum mismatch");
    } else {
        set(&result, "changed", true);
    }
    Ok(result)
}

async fn md5(path: &Path) -> Result<Value, Failure> {
    Ok(digest_of(path, "md5")
        .await?
        .map_or(Value::None, Value::from))
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| -> Failure {
        Located::new("Failed to fetch the file.")
            .because(Located::new(consort_modules::python::os_error_at_text(
                &error,
                &path.to_string_lossy(),
            )))
            .into()
    };
    let beside = path.with_file_name(format!(
        ".{}.{}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        uuid::Uuid::new_v4().simple()
    ));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // What is left of it is of no use; the first error is what is told.
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(failed)
}

/// What is said of a file that could not be read.
fn missing(source: &str, slurped: &Dict, needed: bool) -> Outcome {
    let said = slurped
        .get("msg")
        .map(|value| repr::text(&value))
        .unwrap_or_default();
    let causes: Vec<String> = slurped
        .get(consort_modules::CAUSES)
        .and_then(|causes| causes.iterate().ok())
        .unwrap_or_default()
        .iter()
        .map(repr::text)
        .collect();
    let result = Dict::default();
    if needed {
        update(&result, slurped);
    } else {
        set(&result, "file", source);
        set(&result, "changed", false);
    }
    if said.contains("not found") || said.starts_with("File not found") {
        set(
            &result,
            "msg",
            "the remote file does not exist, not transferring, ignored",
        );
    } else if said.to_lowercase().starts_with("source is a directory") {
        set(
            &result,
            "msg",
            "remote file is a directory, fetch cannot work on directories",
        );
    }
    if !needed {
        return Ok(result);
    }
    // The result says one thing, the error what the module said.
    take(&result, consort_modules::CAUSES);
    let mut error: Option<Located> = None;
    for message in causes.into_iter().rev().chain([said]) {
        let this = Located::new(message);
        error = Some(match error {
            Some(cause) => this.because(cause),
            None => this,
        });
    }
    let whole = Located::new("Module failed.");
    Err(Failure::Failed(Box::new(Failed {
        error: match error {
            Some(cause) => whole.because(cause),
            None => whole,
        },
        result,
        is_message: false,
    })))
}

fn destination(
    attempt: &Attempt<'_>,
    written: &str,
    source: &str,
    flat: bool,
) -> Result<PathBuf, Failure> {
    let base = attempt.directory.to_string_lossy();
    let surroundings = crate::paths::Surroundings::of_process();
    let absolute = |path: &str| paths::unfrack(path, &surroundings, Some(&base));
    if !flat {
        let dest = format!("{}/{}/{source}", absolute(written), attempt.host);
        return Ok(PathBuf::from(paths::normal(&dest)));
    }
    let mut dest = written.to_owned();
    if Path::new(&absolute(&dest)).is_dir() && !dest.ends_with('/') {
        return Err(Failure::new(
            "dest is an existing directory, use a trailing slash if you want to fetch src into that directory",
        ));
    }
    if dest.ends_with('/') {
        dest = paths::join(&dest, paths::basename(source));
        if Path::new(&absolute(&dest)).is_dir() {
            return Err(Failure::new(format!(
                "calculated dest '{dest}' is an existing directory, use another path that does not point to an existing \
                 directory"
            )));
        }
    }
    Ok(PathBuf::from(absolute(&dest)))
}
