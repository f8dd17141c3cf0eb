//! `ansible.posix.authorized_key`: the keys that may log in as a user.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic::{self, Keep};
use crate::attributes::real_path;
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;
use crate::url::{self, Address, Request};

pub(crate) const MODULE: Module = Module {
    name: "authorized_key",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("user", text().required())
        .with("key", text().required().no_log(false))
        .with("path", path())
        .with("manage_dir", boolean().default(true))
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with("key_options", text().no_log(false))
        .with("exclusive", boolean().default(false))
        .with("comment", text())
        .with("validate_certs", boolean().default(true))
        .with("follow", boolean().default(false))
        .supports_check_mode()
});

const TYPES: [&str; 23] = [
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-dss",
    "ssh-rsa",
    "ssh-xmss@openssh.com",
    "ssh-xmss-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "ssh-dss-cert-v01@openssh.com",
];

/// A line of the file.
#[derive(Clone, PartialEq)]
enum Line {
    /// A comment, or what is no key; it stays as it is.
    Other(String),
    Key {
        kind: String,
        key: String,
        /// Each with its value, if it has one, in their order.
        options: Vec<(String, Option<String>)>,
        comment: String,
    },
}

impl Line {
    /// What tells lines apart: the key itself.
    fn id(&self) -> &str {
        match self {
            Line::Other(text) => text,
            Line::Key { key, .. } => key,
        }
    }

    /// Reads a line; `None` for one that is no key and no comment.
    fn read(raw: &str) -> Option<Line> {
        let text = raw.replace("\\#", "#");
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.first() == Some(&"#") {
            return Some(Line::Other(raw.to_owned()));
        }
        let place = words.iter().position(|word| TYPES.contains(word))?;
        let key = words.get(place + 1)?;
        Some(Line::Key {
            kind: words[place].to_owned(),
            key: (*key).to_owned(),
            options: options_of(&words[..place].join(" ")),
            comment: words.get(place + 2..).unwrap_or_default().join(" "),
        })
    }

    fn written(&self) -> String {
        match self {
            Line::Other(text) => text.clone(),
            Line::Key {
                kind,
                key,
                options,
                comment,
            } => {
                let mut text = options
                    .iter()
                    .map(|(name, value)| match value {
                        Some(value) => format!("{name}={value}"),
                        None => name.clone(),
                    })
                    .collect::<Vec<_>>()
                    .join(",");
                if !text.is_empty() {
                    text.push(' ');
                }
                format!("{text}{kind} {key} {comment}\n")
            }
        }
    }
}

/// Options at their commas, those within quotes left alone.
fn options_of(text: &str) -> Vec<(String, Option<String>)> {
    let mut options: Vec<(String, Option<String>)> = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    let mut finish = |current: &mut String| {
        let part = std::mem::take(current);
        if part.is_empty() {
            return;
        }
        options.push(match part.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (part, None),
        });
    };
    for character in text.chars() {
        match character {
            ',' if quote.is_none() => {
                finish(&mut current);
                continue;
            }
            '"' | '\'' if quote.is_none() => quote = Some(character),
            other if quote == Some(other) => quote = None,
            _ => {}
        }
        current.push(character);
    }
    finish(&mut current);
    options
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let present = arguments.text("state") == Some("present");
    let keys = given(context, &arguments)?;
    let file = key_file(context, &arguments, false)?;
    let before = match std::fs::read_to_string(context.path(&file)) {
        Ok(text) => text,
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT) => String::new(),
            Some(libc::EACCES) => {
                return Err(Failure::new(format!(
                    "Permission denied on file or path for authorized keys file: {file}"
                )));
            }
            _ => {
                return Err(Failure::unhandled(python::os_error_at_text(&error, &file)));
            }
        },
    };
    let mut lines: Vec<Line> = Vec::new();
    for raw in python::split_lines(&before) {
        let line = Line::read(raw).unwrap_or_else(|| Line::Other(raw.to_owned()));
        // Of lines with the same key the last counts, at the place of the first.
        match lines.iter_mut().find(|known| known.id() == line.id()) {
            Some(known) => *known = line,
            None => lines.push(line),
        }
    }
    let mut write = false;
    let mut kept: Vec<String> = Vec::new();
    for raw in keys {
        let Some(mut line) = Line::read(&raw) else {
            return Err(Failure::new(format!("invalid key specified: {raw}")));
        };
        if let Line::Key {
            options, comment, ..
        } = &mut line
        {
            if let Some(given) = arguments.text("key_options") {
                *options = options_of(given);
            }
            if let Some(given) = arguments.text("comment") {
                given.clone_into(comment);
            }
        }
        let place = lines.iter().position(|known| known.id() == line.id());
        if present {
            kept.push(line.id().to_owned());
            if place.is_some_and(|place| lines[place] == line) {
                continue;
            }
            if let Some(place) = place {
                lines.remove(place);
            }
            lines.push(line);
            write = true;
        } else if let Some(place) = place {
            lines.remove(place);
            write = true;
        }
    }
    if present && arguments.flag("exclusive") {
        let count = lines.len();
        lines.retain(|line| kept.iter().any(|id| id == line.id()));
        write |= lines.len() != count;
    }
    let mut report: Report = arguments.values().clone();
    report.insert("keyfile".to_owned(), json!(file));
    if !write {
        return Ok(report);
    }
    let target = key_file(context, &arguments, true)?;
    let after: String = lines.iter().map(Line::written).collect();
    if context.settings.diff {
        report.insert(
            "diff".to_owned(),
            json!({
                "before_header": file,
                "after_header": target,
                "before": before,
                "after": after,
            }),
        );
    }
    if !context.settings.check {
        let keep = Keep {
            attributes: true,
            unsafe_writes: false,
        };
        atomic::write(context, &target, after.as_bytes(), keep)?;
        let user = user(arguments.required("user"))?;
        let whole = context.path(&target);
        std::os::unix::fs::lchown(&whole, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .and_then(|()| std::fs::set_permissions(&whole, std::fs::Permissions::from_mode(0o600)))
            .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, &target)))?;
    }
    report.insert("changed".to_owned(), true.into());
    Ok(report)
}

/// The keys that are given: a text of lines, or where it is to be fetched.
fn given(context: &mut Context<'_>, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    use std::io::Read as _;
    let mut key = arguments.required("key").to_owned();
    if key.starts_with("http") {
        let failed = || Failure::new(format!("Error getting key from: {key}"));
        let fetched = url::fetch(
            context,
            arguments,
            &Request {
                url: &key,
                method: "GET",
                timeout: 10,
                ..Request::default()
            },
        )
        .map_err(|_| failed())?;
        if fetched.info.get("status").and_then(Value::as_i64) != Some(200) {
            return Err(failed());
        }
        let mut text = String::new();
        fetched
            .response
            .and_then(|response| response.body)
            .ok_or_else(failed)?
            .read_to_string(&mut text)
            .map_err(|_| failed())?;
        key = text;
    }
    if key.starts_with("file") {
        let shown = Address::of(&key).path;
        let place = context.path(&shown);
        if !place.exists() {
            return Err(Failure::new(format!(
                "Path to a key file not found: {shown}"
            )));
        }
        if !place.is_file() {
            return Err(Failure::new(format!(
                "Path to a key is a directory and must be a file: {shown}"
            )));
        }
        key = std::fs::read_to_string(&place).map_err(|error| {
            Failure::new(format!(
                "Failed to read key file {shown} : {}",
                python::os_error_at_text(&error, &shown)
            ))
        })?;
    }
    Ok(key
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

fn user(name: &str) -> Result<nix::unistd::User, Failure> {
    crate::names::user(name).ok_or_else(|| {
        Failure::new(format!(
            "Failed to lookup user {name}: \"getpwnam(): name not found: '{name}'\""
        ))
    })
}

/// The path of the file; made with its directory, and theirs who logs in, if it is to be written.
fn key_file(context: &Context<'_>, arguments: &Arguments, write: bool) -> Result<String, Failure> {
    let given = arguments.text("path");
    let follow = arguments.flag("follow");
    let followed = |path: String| {
        if follow {
            real_path(context, &path)
        } else {
            path
        }
    };
    if let (true, Some(given)) = (context.settings.check, given) {
        return Ok(followed(given.to_owned()));
    }
    let user = user(arguments.required("user")).map_err(|failure| {
        if context.settings.check {
            Failure::new(
                "Either user must exist or you must provide full path to key file in check mode",
            )
        } else {
            failure
        }
    })?;
    let directory = match given {
        Some(given) => python::dirname(given).to_owned(),
        None => python::join(&user.dir.to_string_lossy(), ".ssh"),
    };
    let file = followed(given.map_or_else(
        || python::join(&directory, "authorized_keys"),
        str::to_owned,
    ));
    if !write || context.settings.check {
        return Ok(file);
    }
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let own = |path: &Path, mode: u32| {
        let owned = if follow {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
        } else {
            std::os::unix::fs::lchown(path, Some(uid), Some(gid))
        };
        owned.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
    };
    let told = |error: std::io::Error| Failure::unhandled(python::os_error(&error));
    if arguments.flag("manage_dir") {
        let place = context.path(&directory);
        if !place.exists() {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&place)
                .map_err(|error| {
                    Failure::new(format!(
                        "Failed to create directory {directory} : {}",
                        python::os_error_at_text(&error, &directory)
                    ))
                })?;
        }
        own(&place, 0o700).map_err(told)?;
    }
    let place = context.path(&file);
    if !place.exists() {
        if let Some(above) = place.parent() {
            std::fs::create_dir_all(above).map_err(told)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        if !follow {
            options.custom_flags(libc::O_NOFOLLOW);
        }
        options.open(&place).map_err(|error| {
            Failure::new(format!(
                "File open failed {file} : {}",
                python::os_error_at_text(&error, &file)
            ))
        })?;
    }
    // Who may not give it away has it already, or will be told when it is written.
    let _ = own(&place, 0o600);
    Ok(file)
}
