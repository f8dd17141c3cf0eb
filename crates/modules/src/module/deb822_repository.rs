//! `deb822_repository`: sources of packages, each in a file of its own with fields (`.sources`), and their keys.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Argument, Arguments, Kind, Spec, boolean, integer, list, raw, text};
use crate::atomic::{self, Keep};
use crate::attributes::{self, Wanted};
use crate::context::Context;
use crate::digest;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;
use crate::url::{self, Address, Request};

pub(crate) const MODULE: Module = Module {
    name: "deb822_repository",
    act,
};

const KEYRINGS: &str = "/etc/apt/keyrings";
const SOURCES: &str = "/etc/apt/sources.list.d";

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    let texts = || list(Kind::Text);
    let options: [(&str, Argument); 25] = [
        ("allow_downgrade_to_insecure", boolean()),
        ("allow_insecure", boolean()),
        ("allow_weak", boolean()),
        ("architectures", texts()),
        ("by_hash", boolean()),
        ("check_date", boolean()),
        ("check_valid_until", boolean()),
        ("components", texts()),
        ("date_max_future", integer()),
        ("enabled", boolean()),
        ("exclude", texts()),
        ("include", texts()),
        ("inrelease_path", text()),
        ("install_python_debian", boolean().default(false)),
        ("languages", texts()),
        ("name", text().required()),
        ("pdiffs", boolean()),
        ("signed_by", text()),
        ("suites", texts()),
        ("targets", texts()),
        ("trusted", boolean()),
        (
            "types",
            texts().choices(&["deb", "deb-src"]).default(json!(["deb"])),
        ),
        ("uris", texts()),
        ("mode", raw().default("0644")),
        (
            "state",
            text().choices(&["present", "absent"]).default("present"),
        ),
    ];
    options
        .into_iter()
        .fold(Spec::new(), |spec, (name, argument)| {
            spec.with(name, argument)
        })
        .mutually_exclusive(&["exclude", "include"])
        .supports_check_mode()
});

/// What the file of a source is called: with what it was called by earlier versions of Ansible, if there is such a file.
fn slug(context: &Context<'_>, name: &str) -> String {
    let mut legacy = String::new();
    let mut in_gap = false;
    for c in name.to_lowercase().chars() {
        if c == '_' || c.is_whitespace() {
            if !in_gap {
                legacy.push('-');
            }
            in_gap = true;
            continue;
        }
        in_gap = false;
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' {
            legacy.push(c);
        }
    }
    if context.path(sources_file(&legacy)).exists() {
        legacy
    } else {
        name.replace(' ', "-")
    }
}

fn sources_file(slug: &str) -> String {
    python::join(SOURCES, &format!("{slug}.sources"))
}

fn key_file(slug: &str, extension: &str) -> String {
    python::join(KEYRINGS, &format!("{slug}.{extension}"))
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let slug = slug(context, arguments.required("name"));
    let dest = sources_file(&slug);
    if arguments.required("state") == "absent" {
        return absent(context, &slug, &dest);
    }
    let mut changed = false;
    let mut key_filename = Value::Null;
    let mut fields: Vec<(&String, &Value)> = arguments
        .values()
        .iter()
        .filter(|(name, value)| {
            !value.is_null()
                && SPEC.options.contains_key(name.as_str())
                && !matches!(name.as_str(), "mode" | "state" | "install_python_debian")
        })
        .collect();
    fields.sort_unstable_by_key(|(name, _)| name.as_str());
    let mut text = String::new();
    for (name, value) in fields {
        let mut shown = match value {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::Array(items) => items
                .iter()
                .map(python::str_value)
                .collect::<Vec<_>>()
                .join(" "),
            other => python::str_value(other).into_owned(),
        };
        if name == "signed_by" {
            let key = signing_key(context, &shown, &slug)?;
            changed |= key.changed;
            if let Some(file) = key.file {
                key_filename = json!(file);
                shown = file;
            }
        }
        if shown.contains('\n') {
            shown = indented(&shown);
        }
        text.push_str(&field_name(name));
        text.push(':');
        if !shown.is_empty() && !shown.starts_with('\n') {
            text.push(' ');
        }
        text.push_str(&shown);
        text.push('\n');
    }
    if digest::of_file(&context.path(&dest), &dest, "sha256")?
        != digest::of_bytes(text.as_bytes(), "sha256")
    {
        if !context.settings.check {
            atomic::write(context, &dest, text.as_bytes(), KEEP)?;
        }
        changed = true;
    }
    changed |= attributes::set_mode(context, &dest, arguments.get("mode"), false, None)?;
    Ok(Report::from_iter([
        ("repo".to_owned(), text.into()),
        ("changed".to_owned(), changed.into()),
        ("dest".to_owned(), dest.into()),
        ("key_filename".to_owned(), key_filename),
    ]))
}

/// Files that are replaced keep their owner and mode.
const KEEP: Keep = Keep {
    attributes: true,
    unsafe_writes: false,
};

fn absent(context: &Context<'_>, slug: &str, dest: &str) -> Outcome {
    let mut changed = false;
    let keys = ["asc", "gpg"].map(|extension| key_file(slug, extension));
    for path in [dest, &keys[0], &keys[1]] {
        let path = context.path(path);
        if !path.exists() {
            continue;
        }
        if !context.settings.check {
            std::fs::remove_file(&path)
                .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
        }
        changed = true;
    }
    Ok(Report::from_iter([
        ("repo".to_owned(), Value::Null),
        ("changed".to_owned(), changed.into()),
        ("dest".to_owned(), dest.into()),
        ("key_filename".to_owned(), json!(keys[1])),
    ]))
}

/// `by_hash` is `By-Hash`.
fn field_name(name: &str) -> String {
    match name {
        "name" => "X-Repolib-Name".to_owned(),
        "uris" => "URIs".to_owned(),
        other => other
            .split('_')
            .map(|word| {
                let mut letters = word.chars();
                letters.next().map_or_else(String::new, |first| {
                    first.to_uppercase().chain(letters).collect()
                })
            })
            .collect::<Vec<String>>()
            .join("-"),
    }
}

/// A value of several lines: each indented, empty ones as a full stop.
fn indented(value: &str) -> String {
    let mut text = String::new();
    for line in python::split_lines(value.trim()) {
        let line = line.trim();
        text.push_str("\n    ");
        text.push_str(if line.is_empty() { "." } else { line });
    }
    text
}

/// What a source is signed by.
struct Key {
    changed: bool,
    /// The file it is in; otherwise it is told in the source itself.
    file: Option<String>,
}

fn signing_key(context: &mut Context<'_>, given: &str, slug: &str) -> Result<Key, Failure> {
    let key = |file: Option<&str>| Key {
        changed: false,
        file: file.map(str::to_owned),
    };
    if context.path(given).is_file() {
        return Ok(key(Some(given)));
    }
    if Address::of(given).scheme.is_empty() {
        return Ok(key(None));
    }
    let bytes = fetched(context, given)?;
    if bytes.is_empty() {
        return Ok(key(Some(given)));
    }
    let mark = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
    let is_armored = bytes.windows(mark.len()).any(|window| window == mark);
    let file = key_file(slug, if is_armored { "asc" } else { "gpg" });
    let mut changed = false;
    if digest::of_file(&context.path(&file), &file, "sha256")? != digest::of_bytes(&bytes, "sha256")
    {
        keyrings_exist(context)?;
        if !context.settings.check {
            atomic::write(context, &file, &bytes, KEEP)?;
        }
        changed = true;
    }
    changed |= attributes::set_mode(context, &file, &json!(0o644), false, None)?;
    Ok(Key {
        changed,
        file: Some(file),
    })
}

fn fetched(context: &mut Context<'_>, address: &str) -> Result<Vec<u8>, Failure> {
    let failed = |why: &str| {
        Failure::unhandled("Could not fetch signed_by key.")
            .because(why.strip_prefix("Request failed: ").unwrap_or(why))
    };
    let request = Request {
        url: address,
        method: "GET",
        timeout: 10,
        ..Request::default()
    };
    let found = url::fetch(context, &Arguments::default(), &request)?;
    let message = found.message().to_owned();
    if found.status().is_some_and(|status| status >= 400) {
        return Err(failed(&message));
    }
    let Some(mut body) = found.response.and_then(|response| response.body) else {
        return Err(failed(&message));
    };
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)
        .map_err(|error| failed(&error.to_string()))?;
    Ok(bytes)
}

/// Makes the directory for keys, and sees to its owner and mode.
fn keyrings_exist(context: &mut Context<'_>) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = context.path(KEYRINGS);
    if !path.is_dir() && !context.settings.check {
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(|error| {
                Failure::unhandled(python::os_error_at(&error, Path::new(KEYRINGS)))
            })?;
    }
    let wanted = Wanted {
        path: KEYRINGS.to_owned(),
        mode: "0755".into(),
        owner: Some("root".to_owned()),
        group: Some("root".to_owned()),
        ..Wanted::default()
    };
    // The key itself has changed already.
    wanted.apply(context, true, None).map(|_| ())
}
