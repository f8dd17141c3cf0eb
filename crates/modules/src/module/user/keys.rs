//! SSH keys of users.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde_json::json;

use crate::accounts::Account;
use crate::context::Context;
use crate::invocation::{Failure, Report};
use crate::process::{self, Command, Finished};
use crate::python;

use super::{User, run_with};

/// Makes a key if there is none, or if it is to be forced; and tells of it.
pub(super) fn bring(
    user: &User<'_>,
    context: &mut Context<'_>,
    known: &Account,
    report: &mut Report,
) -> Result<(), Failure> {
    let file = key_file(user, context, known)?;
    if let Some(done) = generate(user, context, known, &file)? {
        user.bear(&done)?;
        report.insert("changed".to_owned(), true.into());
    }
    let fingerprint = if context.path(&file).exists() {
        let keygen = process::required(context, "ssh-keygen", &[])?;
        let done = Command::new([keygen.as_str(), "-l", "-f", &file]).run(context)?;
        if done.success() {
            done.out()
        } else {
            done.err()
        }
    } else {
        String::new()
    };
    report.insert("ssh_fingerprint".to_owned(), fingerprint.trim().into());
    let public = std::fs::read_to_string(context.path(format!("{file}.pub"))).ok();
    report.insert("ssh_key_file".to_owned(), file.into());
    report.insert(
        "ssh_public_key".to_owned(),
        json!(public.as_deref().map(str::trim)),
    );
    Ok(())
}

/// Where the key is, or is to be.
fn key_file(user: &User<'_>, context: &Context<'_>, known: &Account) -> Result<String, Failure> {
    let arguments = user.arguments;
    let file = match arguments.text("ssh_key_file") {
        Some(file) => file.to_owned(),
        None => format!(".ssh/id_{}", arguments.required("ssh_key_type")),
    };
    if !file.starts_with('/') && !context.settings.check && !context.path(&known.home).exists() {
        return Err(
            Failure::new(format!("User {} home directory does not exist", user.name))
                .with("name", user.name)
                .with("rc", 1),
        );
    }
    Ok(python::join(&known.home, &file))
}

/// Makes the key. Nothing if there is one that is to stay.
fn generate(
    user: &User<'_>,
    context: &mut Context<'_>,
    known: &Account,
    file: &str,
) -> Result<Option<Finished>, Failure> {
    let arguments = user.arguments;
    let failed = |message: String| Failure::new(message).with("name", user.name).with("rc", 1);
    let directory = python::dirname(file);
    let place = context.path(directory);
    if !place.exists() {
        if context.settings.check {
            return Ok(Some(Finished::default()));
        }
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&place)
            .and_then(|()| std::os::unix::fs::chown(&place, Some(known.uid), Some(known.gid)))
            .map_err(|error| {
                failed(format!(
                    "Failed to create {directory}: {}",
                    python::os_error_at_text(&error, directory)
                ))
            })?;
    }
    let public = format!("{file}.pub");
    let force = arguments.flag("force");
    let mut overwrite = false;
    for (path, what) in [(file, "private"), (public.as_str(), "public")] {
        if !context.path(path).exists() {
            continue;
        }
        if !force {
            context.warn(format!(
                "Found existing ssh key {what} file \"{path}\", no force, so skipping ssh-keygen generation"
            ));
            return Ok(None);
        }
        context.warn(format!(
            "Overwriting existing ssh key {what} file \"{path}\""
        ));
        if what == "private" {
            overwrite = true;
        } else if !context.settings.check {
            std::fs::remove_file(context.path(path))
                .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, path)))?;
        }
    }
    let mut words = vec![process::required(context, "ssh-keygen", &[])?];
    words.extend(["-t", arguments.required("ssh_key_type")].map(str::to_owned));
    let bits = arguments.integer("ssh_key_bits").unwrap_or(0);
    if bits > 0 {
        words.extend(["-b".to_owned(), bits.to_string()]);
    }
    words.extend(["-C", arguments.required("ssh_key_comment"), "-f", file].map(str::to_owned));
    if context.settings.check {
        return Ok(Some(Finished::default()));
    }
    let done = match arguments.text("ssh_key_passphrase") {
        None => {
            words.extend(["-N", ""].map(str::to_owned));
            let answer = if overwrite { "y" } else { "" };
            run_with(context, words, answer)?
        }
        Some(passphrase) => {
            if overwrite {
                // It would ask whether it may, where it also asks for the passphrase.
                std::fs::remove_file(context.path(file))
                    .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, file)))?;
            }
            with_passphrase(context, words, passphrase)?
        }
    };
    if done.success() {
        for path in [file, &public] {
            std::os::unix::fs::chown(context.path(path), Some(known.uid), Some(known.gid))
                .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, path)))?;
        }
    }
    Ok(Some(done))
}

/// Runs `ssh-keygen` with a passphrase that no list of processes shows: it asks a program for it, which reads it from a
/// file of the run.
fn with_passphrase(
    context: &mut Context<'_>,
    words: Vec<String>,
    passphrase: &str,
) -> Result<Finished, Failure> {
    let directory = context.temporary_directory()?;
    let (kept, asked) = (directory.join("passphrase"), directory.join("askpass"));
    let script = format!(
        "#!/bin/sh\nexec cat {}\n",
        python::shell_quote(&kept.to_string_lossy())
    );
    write(&kept, &format!("{passphrase}\n"), 0o600)?;
    write(&asked, &script, 0o700)?;
    let done = Command::new(words)
        .literal()
        .detached()
        .variable("SSH_ASKPASS", asked.to_string_lossy())
        .variable("SSH_ASKPASS_REQUIRE", "force")
        .variable("DISPLAY", ":0")
        .run(context);
    for path in [kept, asked] {
        // It goes with the directory, if not now.
        let _ = std::fs::remove_file(path);
    }
    done
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    use std::io::Write as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, path)))
}
