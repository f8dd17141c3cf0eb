//! `known_hosts`: the keys by which ssh knows hosts.

use std::sync::LazyLock;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::arguments::{Spec, boolean, path, text};
use crate::atomic::{self, Keep};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "known_hosts",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required().aliases(&["host"]))
        .with("key", text().no_log(false))
        .with("path", path().default("~/.ssh/known_hosts"))
        .with("hash_host", boolean().default(false))
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let mut report: Report = arguments.values().clone();
    let host = arguments.required("name").to_lowercase();
    let path = arguments.required("path");
    let present = arguments.text("state") == Some("present");
    let keygen = process::required(context, "ssh-keygen", &[])?;
    let key = arguments.filled("key");
    if key.is_none() && present {
        return Err(Failure::new("No key specified when adding a host"));
    }
    let key = key.map(|key| {
        let mut key = if arguments.flag("hash_host") {
            hashed(&host, key)
        } else {
            key.to_owned()
        };
        if !key.ends_with('\n') {
            key.push('\n');
        }
        key
    });
    if let Some(key) = &key {
        check(context, &host, key, &keygen)?;
    }
    let (found, replaces, line) = search(context, &host, key.as_deref(), path, &keygen)?;
    report.insert(
        "diff".to_owned(),
        diff(context, path, line, replaces, present, key.as_deref()).into(),
    );
    report.insert("changed".to_owned(), false.into());
    if !present && line.is_none() && key.is_some() {
        return Ok(report);
    }
    let differs = replaces || present != found;
    if context.settings.check {
        report.insert("changed".to_owned(), differs.into());
        report.retain(|key, _| matches!(key.as_str(), "changed" | "diff"));
        return Ok(report);
    }
    if found && key.is_none() && !present {
        Command::new([keygen.as_str(), "-R", &host, "-f", path])
            .check()
            .run(context)?;
        report.insert("changed".to_owned(), true.into());
        // It has been taken out; there is nothing more to write.
        return Ok(report);
    }
    if differs {
        let before = match std::fs::read_to_string(context.path(path)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(
                    Failure::unhandled(format!("Failed to read {}.", python::repr(path)))
                        .because(python::os_error_at_text(&error, path)),
                );
            }
        };
        let mut after = String::with_capacity(before.len() + 256);
        for (number, text) in before.split_inclusive('\n').enumerate() {
            if line == Some(number + 1) && (replaces || !present) {
                continue;
            }
            after.push_str(text);
        }
        if let (true, Some(key)) = (present, &key) {
            after.push_str(key);
        }
        let above = context.path(python::dirname(path));
        if !above.is_dir() {
            let error = std::io::Error::from_raw_os_error(libc::ENOENT);
            return Err(Failure::unhandled(format!(
                "Failed to write to file {}.",
                python::repr(path)
            ))
            .because(python::os_error(&error)));
        }
        atomic::write(
            context,
            path,
            after.as_bytes(),
            Keep {
                attributes: true,
                unsafe_writes: false,
            },
        )?;
        report.insert("changed".to_owned(), true.into());
    }
    Ok(report)
}

/// The key with the name of the host hashed.
fn hashed(host: &str, key: &str) -> String {
    use sha1::Digest as _;
    let salt: [u8; 20] = rand::random();
    // HMAC of SHA-1, whose blocks have 64 bytes.
    let pad = |mask: u8| {
        let mut block = [mask; 64];
        for (byte, salt) in block.iter_mut().zip(salt) {
            *byte ^= salt;
        }
        block
    };
    let inner = sha1::Sha1::new()
        .chain_update(pad(0x36))
        .chain_update(host.as_bytes())
        .finalize();
    let outer = sha1::Sha1::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize();
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut parts: Vec<String> = key.split_whitespace().map(str::to_owned).collect();
    let place = usize::from(parts.first().is_some_and(|part| part.starts_with('@')));
    if let Some(part) = parts.get_mut(place) {
        *part = format!("|1|{}|{}", encode(&salt), encode(&outer));
    }
    parts.join(" ")
}

/// Lets ssh-keygen say whether the key is one of the host.
fn check(context: &mut Context<'_>, host: &str, key: &str, keygen: &str) -> Result<(), Failure> {
    if host
        .split_once(',')
        .is_some_and(|(before, _)| !before.trim().is_empty())
    {
        return Err(Failure::new(
            "Comma separated list of names is not supported. Please pass a single name to lookup in the known_hosts file.",
        ));
    }
    let file = context
        .temporary_directory()?
        .join(format!("tmp{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, key).map_err(|error| {
        Failure::unhandled(format!(
            "Failed to write to temporary file {}.",
            python::repr(&file.to_string_lossy())
        ))
        .because(python::os_error(&error))
    })?;
    let done = Command::new([keygen, "-F", host, "-f", &file.to_string_lossy()])
        .literal()
        .run(context);
    // It goes with its directory, if not now.
    let _ = std::fs::remove_file(&file);
    let done = done?;
    if !done.stdout.is_empty() {
        return Ok(());
    }
    let mut failure =
        Failure::new("Host parameter does not match hashed host field in supplied key")
            .with("rc", done.code);
    if !done.stderr.is_empty() {
        failure = failure.with("stderr", done.err());
    }
    Err(failure)
}

/// A key as it is compared: its marker, host, type and the key itself.
#[derive(PartialEq)]
struct Key {
    options: Option<String>,
    host: String,
    kind: String,
    encoded: String,
}

impl Key {
    fn of(text: &str) -> Result<Key, Failure> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let marked = parts.first().is_some_and(|part| part.starts_with('@'));
        let from = usize::from(marked);
        let (Some(host), Some(kind), Some(key)) =
            (parts.get(from), parts.get(from + 1), parts.get(from + 2))
        else {
            return Err(Failure::unhandled("list index out of range"));
        };
        Ok(Key {
            options: marked.then(|| parts[0].to_owned()),
            host: (*host).to_owned(),
            kind: (*kind).to_owned(),
            encoded: (*key).to_owned(),
        })
    }
}

/// Whether the host is known, whether its key is another, and the line of a key of the same type.
fn search(
    context: &Context<'_>,
    host: &str,
    key: Option<&str>,
    path: &str,
    keygen: &str,
) -> Result<(bool, bool, Option<usize>), Failure> {
    if !context.path(path).exists() {
        return Ok((false, false, None));
    }
    let done = Command::new([keygen, "-F", host, "-f", path]).run(context)?;
    if done.stdout.is_empty() && done.stderr.is_empty() && matches!(done.code, 0 | 1) {
        return Ok((false, false, None));
    }
    if !done.success() {
        return Err(Failure::new(format!(
            "ssh-keygen failed (rc={}, stdout='{}',stderr='{}')",
            done.code,
            done.out(),
            done.err()
        )));
    }
    let Some(key) = key else {
        return Ok((true, false, None));
    };
    let mut new = Key::of(key)?;
    let mut line = None;
    for told in done.out().split('\n') {
        if told.is_empty() {
            continue;
        }
        if told.starts_with('#') {
            line = told
                .split_once("found: line ")
                .map(|(_, rest)| {
                    rest.chars()
                        .take_while(char::is_ascii_digit)
                        .collect::<String>()
                })
                .and_then(|digits| digits.parse().ok());
            continue;
        }
        let known = Key::of(told)?;
        let marked = known.options.as_deref().is_some_and(|options| {
            options.starts_with("@cert-authority") || options.starts_with("@revoke")
        });
        if marked {
            if new == known {
                return Ok((true, false, line));
            }
            continue;
        }
        // A name that is hashed already is not hashed anew.
        if new.host.starts_with("|1|") && known.host.starts_with("|1|") {
            new.host.clone_from(&known.host);
        }
        if new == known {
            return Ok((true, false, line));
        }
        if new.kind == known.kind {
            return Ok((true, true, line));
        }
    }
    Ok((true, true, None))
}

fn diff(
    context: &Context<'_>,
    path: &str,
    line: Option<usize>,
    replaces: bool,
    present: bool,
    key: Option<&str>,
) -> Map<String, Value> {
    let mut header = path;
    let before = match std::fs::read_to_string(context.path(path)) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() == std::io::ErrorKind::NotFound {
                header = "/dev/null";
            }
            String::new()
        }
    };
    let mut lines = python::split_lines(&before);
    if let Some(line) = line
        && (replaces || !present)
        && (1..=lines.len()).contains(&line)
    {
        lines.remove(line - 1);
    }
    if let Some(key) = key
        && present
        && (replaces || line.is_none())
    {
        lines.push(key);
    }
    let Value::Object(diff) = json!({
        "before_header": header,
        "after_header": path,
        "before": before,
        "after": lines.concat(),
    }) else {
        return Map::new();
    };
    diff
}
