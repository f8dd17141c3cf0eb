//! `tempfile`: a file or a directory with a name nobody else has.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Spec, path, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "tempfile",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text().default("file").choices(&["file", "directory"]),
        )
        .with("path", path())
        .with("prefix", text().default("ansible."))
        .with("suffix", text().default(""))
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let (prefix, suffix) = (arguments.required("prefix"), arguments.required("suffix"));
    for (name, value) in [("prefix", prefix), ("suffix", suffix)] {
        if value != python::basename(value) {
            return Err(Failure::new(format!(
                "{name} must be a valid file name component, got {}",
                python::repr(value)
            )));
        }
    }
    let directory = match arguments.text("path") {
        Some(path) => path.to_owned(),
        None => usual_directory(context),
    };
    // The places that may be taken are many; a few tries are enough.
    for _ in 0..100 {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let shown = python::join(&directory, &format!("{prefix}{}{suffix}", &unique[..8]));
        let place = context.path(&shown);
        let made = if arguments.text("state") == Some("directory") {
            std::fs::DirBuilder::new().mode(0o700).create(&place)
        } else {
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&place)
                .map(|_| ())
        };
        match made {
            Ok(()) => {
                return Ok(Report::from_iter([
                    ("changed".to_owned(), json!(true)),
                    ("path".to_owned(), json!(place)),
                ]));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Failure::new(python::os_error_at_text(
                    &error,
                    &place.to_string_lossy(),
                )));
            }
        }
    }
    Err(Failure::new(
        "[Errno 17] No usable temporary file name found",
    ))
}

/// The directory Python takes: of the environment, or the first usual one that is there.
fn usual_directory(context: &Context<'_>) -> String {
    ["TMPDIR", "TEMP", "TMP"]
        .iter()
        .filter_map(|name| context.variable(name))
        .chain(["/tmp", "/var/tmp", "/usr/tmp"].map(str::to_owned))
        .find(|directory| context.path(directory).is_dir())
        .unwrap_or_else(|| ".".to_owned())
}
