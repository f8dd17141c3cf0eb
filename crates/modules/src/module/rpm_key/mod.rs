//! `rpm_key`: keys rpm trusts.

mod openpgp;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use self::openpgp::Key;
use crate::arguments::{Arguments, Kind, Spec, boolean, list, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::python;
use crate::registry::Module;
use crate::url::{self, Request, masked};

pub(crate) const MODULE: Module = Module {
    name: "rpm_key",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with("key", text().required().no_log(false))
        .with("fingerprint", list(Kind::Text))
        .with("validate_certs", boolean().default(true))
        .supports_check_mode()
});

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// rpm's programs.
struct Rpm {
    rpm: String,
    keys: String,
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let rpm = Rpm {
        rpm: process::required(context, "rpm", &[])?,
        keys: process::required(context, "rpmkeys", &[])?,
    };
    let given = arguments.required("key");
    let mut file = None;
    let id = if given.contains("://") {
        let path = fetched(context, &arguments, given)?;
        let id = keys_of_file(context, &path)?.swap_remove(0).id;
        file = Some(path);
        id
    } else if is_id(given) {
        given.to_owned()
    } else if context.path(given).is_file() {
        file = Some(given.to_owned());
        keys_of_file(context, given)?.swap_remove(0).id
    } else {
        return Err(Failure::new(format!("Not a valid key {given}")));
    };
    let id = id.trim().to_uppercase();
    let id = id.strip_prefix("0X").unwrap_or(&id);
    let installed = rpm.installed(context)?;
    let is_there = installed
        .iter()
        .any(|key| is_end(&key.id, id) || key.fingerprint == id);
    if arguments.required("state") == "absent" {
        if is_there && !context.settings.check {
            rpm.drop(context, &installed, id)?;
        }
        return Ok(changed(is_there));
    }
    if is_there {
        return Ok(changed(false));
    }
    let Some(file) = file else {
        return Err(Failure::new(
            "When importing a key, a valid file must be given",
        ));
    };
    let wanted: BTreeSet<String> = arguments
        .texts("fingerprint")
        .iter()
        .map(|text| text.replace(' ', "").to_uppercase())
        .collect();
    if !wanted.is_empty() {
        let found: BTreeSet<String> = keys_of_file(context, &file)?
            .into_iter()
            .map(|key| key.fingerprint)
            .collect();
        if !wanted.is_subset(&found) {
            return Err(Failure::new(format!(
                "The specified fingerprint, '{}', does not match any key fingerprints in 'frozenset({})'",
                set(&wanted),
                set(&found)
            )));
        }
    }
    if !context.settings.check {
        executed(
            context,
            &Command::new([rpm.rpm.as_str(), "--import", &file]),
        )?;
    }
    Ok(changed(true))
}

fn changed(changed: bool) -> Report {
    Report::from_iter([("changed".to_owned(), changed.into())])
}

/// A set as Python shows it.
fn set(texts: &BTreeSet<String>) -> String {
    let shown: Vec<String> = texts.iter().map(|text| python::repr(text)).collect();
    format!("{{{}}}", shown.join(", "))
}

/// Whether the identifier of a key ends with what may be a part of it.
fn is_end(id: &str, part: &str) -> bool {
    !part.is_empty() && id.ends_with(part)
}

/// Whether a text begins like the identifier of a key.
fn is_id(text: &str) -> bool {
    let text = text.replace(' ', "").to_lowercase();
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let are_digits =
        |text: &str| text.len() >= 8 && text.bytes().take(8).all(|c| c.is_ascii_hexdigit());
    are_digits(digits) || are_digits(&text)
}

fn keys_of_file(context: &Context<'_>, file: &str) -> Result<Vec<Key>, Failure> {
    let path = context.path(file);
    let bytes = std::fs::read(&path)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
    let keys = openpgp::keys(&String::from_utf8_lossy(&bytes)).map_err(Failure::unhandled)?;
    if keys.is_empty() {
        return Err(Failure::new("Failed to get keyid"));
    }
    Ok(keys)
}

fn fetched(
    context: &mut Context<'_>,
    arguments: &Arguments,
    address: &str,
) -> Result<String, Failure> {
    let request = Request {
        url: address,
        method: "GET",
        timeout: 10,
        ..Request::default()
    };
    let found = url::fetch(context, arguments, &request)?;
    if found.status() != Some(200) {
        return Err(Failure::new(format!(
            "failed to fetch key at {} , error was: {}",
            masked(address),
            found.message()
        )));
    }
    let mut bytes = Vec::new();
    if let Some(mut body) = found.response.and_then(|response| response.body) {
        body.read_to_end(&mut bytes)
            .map_err(|error| Failure::unhandled(error.to_string()))?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let is_key = text
        .split_once(BEGIN)
        .is_some_and(|(_, rest)| rest.contains(END));
    if !is_key {
        return Err(Failure::new(format!(
            "Not a public key: {}",
            masked(address)
        )));
    }
    let file = context
        .temporary_directory()?
        .join(format!("tmp{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, &bytes)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, &file)))?;
    Ok(file.to_string_lossy().into_owned())
}

/// Runs a command that must not fail.
fn executed(context: &Context<'_>, command: &Command) -> Result<String, Failure> {
    let done = command.run(context)?;
    if done.success() {
        Ok(done.out())
    } else {
        Err(Failure::new(done.err()))
    }
}

impl Rpm {
    /// The keys rpm knows, with those that belong to them.
    fn installed(&self, context: &Context<'_>) -> Result<Vec<Key>, Failure> {
        let query = [self.rpm.as_str(), "-q", "gpg-pubkey"];
        if !Command::new(query).run(context)?.success() {
            return Ok(Vec::new());
        }
        let described = query.into_iter().chain(["--qf", "%{description}"]);
        let text = executed(context, &Command::new(described).literal())?;
        let mut keys = Vec::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find(BEGIN) {
            let Some(length) = rest[start..].find(END) else {
                break;
            };
            let end = start + length + END.len();
            keys.extend(openpgp::keys(&rest[start..end]).map_err(Failure::unhandled)?);
            rest = &rest[end..];
        }
        Ok(keys)
    }

    fn drop(&self, context: &Context<'_>, installed: &[Key], id: &str) -> Result<(), Failure> {
        let version = executed(context, &Command::new([self.rpm.as_str(), "--version"]))?;
        let major = version
            .split(|c: char| !c.is_ascii_digit())
            .find_map(|number| number.parse::<u32>().ok())
            .unwrap_or(0);
        if major < 6 {
            // Older ones know keys by the end of their identifiers.
            let id = installed
                .iter()
                .find(|key| key.fingerprint == id)
                .map_or(id, |key| key.id.as_str());
            let short = &id[id.len().saturating_sub(8)..];
            let package = format!("gpg-pubkey-{}", short.to_lowercase());
            let command = [self.rpm.as_str(), "--erase", "--allmatches", &package];
            return executed(context, &Command::new(command)).map(|_| ());
        }
        let fingerprints: Vec<&str> = installed
            .iter()
            .filter(|key| is_end(&key.id, id) || key.fingerprint == id)
            .map(|key| key.fingerprint.as_str())
            .collect();
        match fingerprints.as_slice() {
            [] => Err(Failure::new(format!(
                "Supplied key ID {id} is not installed."
            ))),
            [only] => executed(
                context,
                &Command::new([self.keys.as_str(), "--delete", only]),
            )
            .map(|_| ()),
            _ => Err(Failure::new(format!(
                "Supplied key ID {id} matches more than one fingerprint. Try using the fingerprint instead."
            ))),
        }
    }
}
