//! `unarchive`: archives unpacked, by the programs `unzip` and `tar`.

mod owners;
mod tar;
mod zip;

use std::path::Path;
use std::sync::LazyLock;

use nix::unistd::{AccessFlags, access};
use serde_json::json;

use crate::arguments::{Arguments, Kind, Spec, boolean, integer, list, path};
use crate::attributes::Wanted;
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{Command, Finished};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "unarchive",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("src", path().required())
        .with("dest", path().required())
        .with("remote_src", boolean().default(false))
        .with("creates", path())
        .with("list_files", boolean().default(false))
        .with("keep_newer", boolean().default(false))
        .with("exclude", list(Kind::Text).default(json!([])))
        .with("include", list(Kind::Text).default(json!([])))
        .with("extra_opts", list(Kind::Text).default(json!([])))
        .with("validate_certs", boolean().default(true))
        .with("io_buffer_size", integer().default(64 * 1024))
        .with("copy", boolean().default(true))
        .with("decrypt", boolean().default(true))
        .mutually_exclusive(&["include", "exclude"])
        .file_common()
        .supports_check_mode()
});

/// A path that is not relative, decided on its text.
fn absolute(context: &Context<'_>, path: &str) -> String {
    if path.starts_with('/') {
        return python::normalize(path);
    }
    let base = if context.settings.directory.is_empty() {
        std::env::current_dir()
            .map(|directory| directory.to_string_lossy().into_owned())
            .unwrap_or_default()
    } else {
        context.settings.directory.clone()
    };
    python::normalize(&python::join(&base, path))
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let mut src = arguments.required("src").to_owned();
    let dest = arguments.required("dest");
    let place = absolute(context, dest);
    if !dest.starts_with('/') {
        context.warn(format!(
            "Relative destination path '{dest}' was resolved to absolute path '{place}'."
        ));
    }
    let wanted = Wanted::of(context, &arguments, None);
    if !context.path(&src).exists() {
        if !arguments.flag("remote_src") {
            return Err(Failure::new(format!("Source '{src}' failed to transfer")));
        }
        if !src.contains("://") {
            return Err(Failure::new(format!("Source '{src}' does not exist")));
        }
        src = crate::url::fetch_file(context, &arguments, &src)?;
    }
    if access(context.path(&src).as_path(), AccessFlags::R_OK).is_err() {
        return Err(Failure::new(format!("Source '{src}' not readable")));
    }
    let src = absolute(context, &src);
    match std::fs::metadata(&src) {
        Ok(meta) if meta.len() == 0 => {
            return Err(Failure::new(format!(
                "Invalid archive '{src}', the file is 0 bytes"
            )));
        }
        Ok(_) => {}
        Err(error) => {
            return Err(Failure::new(format!(
                "Source '{src}' not readable, {}",
                python::os_error_at_text(&error, &src)
            )));
        }
    }
    if !Path::new(&place).is_dir() {
        return Err(Failure::new(format!(
            "Destination '{dest}' is not a directory"
        )));
    }
    let archive = Archive {
        src: &src,
        dest: &place,
        wanted: &wanted,
        arguments: &arguments,
    };
    let handler = archive.pick(context)?;
    let mut report = Report::from_iter([
        ("handler".to_owned(), json!(handler.name)),
        ("dest".to_owned(), json!(dest)),
        ("src".to_owned(), json!(src)),
    ]);
    let check = match &handler.kind {
        Means::Zip { program, info } => archive.compare_zip(context, program, info)?,
        Means::Tar { program, flag } => archive.compare_tar(context, program, flag)?,
    };
    let mut changed = !check.unarchived;
    if !context.settings.check && !check.unarchived {
        let command = match &handler.kind {
            Means::Zip { program, .. } => archive.zip_command(program, &check.excludes),
            Means::Tar { program, flag } => archive.tar_command(program, flag, "--extract"),
        };
        let done = archive.run(context, &handler, &command)?;
        report.insert(
            "extract_results".to_owned(),
            json!({"cmd": command, "rc": done.code, "out": done.out(), "err": done.err()}),
        );
        if !done.success() {
            return Err(Failure {
                message: format!("failed to unpack {src} to {dest}"),
                more: Box::new(report),
                ..Failure::default()
            });
        }
    }
    let has_diff = !check.diff.is_empty();
    if has_diff {
        report.insert("diff".to_owned(), json!({"prepared": check.diff}));
    }
    if !context.settings.check {
        let mut tops: Vec<&str> = Vec::new();
        for name in &handler.files {
            let at = python::join(&place, name);
            changed = archive.set(context, &at, changed)?;
            if let Some((top, _)) = name.split_once('/')
                && !tops.contains(&top)
            {
                tops.push(top);
            }
        }
        for top in tops {
            changed = archive.set(context, &format!("{dest}/{top}"), changed)?;
        }
    }
    report.insert("changed".to_owned(), changed.into());
    if arguments.flag("list_files") {
        report.insert("files".to_owned(), handler.files.into());
    }
    Ok(report)
}

/// What unpacks an archive.
struct Handler {
    /// Its name in results.
    name: &'static str,
    kind: Means,
    /// The names in the archive that are wanted.
    files: Vec<String>,
}

enum Means {
    /// `unzip`, and how its contents are listed.
    Zip { program: String, info: Vec<String> },
    /// `tar`, and the flag for how the archive is compressed.
    Tar { program: String, flag: &'static str },
}

/// How what is on the disk compares to the archive.
#[derive(Default)]
struct Comparison {
    unarchived: bool,
    diff: String,
    excludes: Vec<String>,
}

struct Archive<'a> {
    src: &'a str,
    dest: &'a str,
    wanted: &'a Wanted,
    arguments: &'a Arguments,
}

impl Archive<'_> {
    fn set(&self, context: &mut Context<'_>, path: &str, changed: bool) -> Result<bool, Failure> {
        self.wanted.at(path).apply(context, changed, None)
    }

    fn run(
        &self,
        context: &Context<'_>,
        handler: &Handler,
        command: &[String],
    ) -> Result<Finished, Failure> {
        match handler.kind {
            Means::Zip { .. } => Command::new(command.to_vec()).run(context),
            Means::Tar { .. } => self.tar(context, command),
        }
    }

    /// The first of the handlers that can read the archive.
    fn pick(&self, context: &Context<'_>) -> Result<Handler, Failure> {
        let mut reasons: Vec<String> = Vec::new();
        for (name, lister) in [("ZipArchive", "zipinfo"), ("ZipZArchive", "unzip")] {
            match self.try_zip(context, name, lister)? {
                Ok(handler) => return Ok(handler),
                Err(reason) => reasons.push(reason),
            }
        }
        if context.settings.check {
            return Err(Failure::skipped(
                "remote module (unarchive) does not support check mode when using gtar",
            ));
        }
        for (name, flag) in [
            ("TgzArchive", "-z"),
            ("TarArchive", ""),
            ("TarBzipArchive", "-j"),
            ("TarXzArchive", "-J"),
            ("TarZstdArchive", "--use-compress-program=zstd"),
        ] {
            match self.try_tar(context, name, flag)? {
                Ok(handler) => return Ok(handler),
                Err(reason) => reasons.push(reason),
            }
        }
        let mut told: Vec<String> = Vec::new();
        for reason in reasons {
            if !told.contains(&reason) {
                told.push(reason);
            }
        }
        Err(Failure::new(format!(
            "Failed to find handler for \"{}\". Make sure the required command to extract the file is installed.\n{}",
            self.src,
            told.join("\n")
        )))
    }
}
