//! `apt_key`: keys apt trusts, by the program `apt-key` of systems that still have it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command};
use crate::registry::Module;
use crate::url::{self, Request, masked};

pub(crate) const MODULE: Module = Module {
    name: "apt_key",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("id", text())
        .with("url", text())
        .with("data", text())
        .with("file", path())
        .with("keyring", path())
        .with("validate_certs", boolean().default(true))
        .with("keyserver", text())
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .mutually_exclusive(&["data", "file", "keyserver", "url"])
        .supports_check_mode()
});

const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// How often a key server is asked.
const TRIES: usize = 5;

/// The programs and the ring of keys that are worked with.
struct Ring<'r> {
    apt_key: String,
    gpg: String,
    keyring: Option<&'r str>,
}

/// The parts of a key's identifier.
struct Identifier {
    /// The last 8 digits.
    short: String,
    /// The last 16, by which keys are listed.
    fingerprint: String,
    whole: String,
}

impl Identifier {
    fn parse(text: &str) -> Option<Identifier> {
        let upper = text.trim().to_uppercase();
        let digits = upper.strip_prefix("0X").unwrap_or(&upper);
        let is_long_enough = matches!(digits.len(), 8 | 16) || digits.len() > 16;
        if !is_long_enough || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let last = |length: usize| digits[digits.len().saturating_sub(length)..].to_owned();
        Some(Identifier {
            short: last(8),
            fingerprint: last(16),
            whole: digits.to_owned(),
        })
    }
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let ring = Ring {
        apt_key: process::required(context, "apt-key", &[])?,
        gpg: process::required(context, "gpg", &[])?,
        keyring: arguments.filled("keyring"),
    };
    let mut data = arguments
        .filled("data")
        .map(|data| data.as_bytes().to_vec());
    let mut id = arguments.filled("id").map(str::to_owned);
    if id.is_none() {
        if arguments.filled("keyserver").is_some() {
            return Err(Failure::new("Missing key_id, required with keyserver."));
        }
        if let Some(address) = arguments.filled("url") {
            data = Some(downloaded(context, &arguments, address)?);
        }
        id = match (arguments.filled("file"), &data) {
            (Some(file), _) => ring.id_of(context, file, None)?,
            (None, Some(data)) => ring.id_of(context, "-", Some(data))?,
            (None, None) => None,
        };
    }
    let mut report = Report::from_iter([
        ("changed".to_owned(), false.into()),
        ("id".to_owned(), json!(id)),
    ]);
    let with = |message: &str, report: &Report| {
        report
            .iter()
            .fold(Failure::new(message), |failure, (key, value)| {
                failure.with(key, value.clone())
            })
    };
    let Some(id) = id else {
        return Err(Failure::unhandled(
            "int() can't convert non-string with explicit base",
        ));
    };
    let Some(key) = Identifier::parse(&id) else {
        return Err(with("Invalid key_id", &report));
    };
    report.insert("short_id".to_owned(), json!(key.short));
    report.insert("fp".to_owned(), json!(key.fingerprint));
    report.insert("key_id".to_owned(), json!(key.whole));
    let short = key.whole.len() == 8;
    let wanted = if short { &key.short } else { &key.fingerprint };
    let before = ring.keys(context, short)?;
    report.insert("before".to_owned(), json!(before));
    let not_done = |what: &str| {
        format!(
            "apt-key did not return an error, but {what} (check that the id is correct and *not* a subkey)"
        )
    };
    if arguments.required("state") == "absent" {
        if before.contains(&key.fingerprint) {
            report.insert("changed".to_owned(), true.into());
            if !context.settings.check {
                ring.remove(context, &key.short)?;
                let after = ring.keys(context, short)?;
                report.insert("after".to_owned(), json!(after));
                if after.contains(&key.fingerprint) {
                    return Err(with(&not_done("the key was not removed"), &report));
                }
            }
        }
        return Ok(report);
    }
    if before.contains(wanted) {
        return Ok(report);
    }
    report.insert("changed".to_owned(), true.into());
    if context.settings.check {
        return Ok(report);
    }
    if let Some(file) = arguments.filled("file") {
        ring.add(context, file, None)?;
    } else if let Some(server) = arguments.filled("keyserver") {
        ring.receive(context, server, &key.whole)?;
    } else if let Some(data) = &data {
        ring.add(context, "-", Some(data))?;
    } else if let Some(address) = arguments.filled("url") {
        let data = downloaded(context, &arguments, address)?;
        ring.add(context, "-", Some(&data))?;
    } else {
        return Err(with("No key to add ... how did i get here?!?!", &report));
    }
    let after = ring.keys(context, short)?;
    report.insert("after".to_owned(), json!(after));
    if !after.contains(wanted) {
        return Err(with(&not_done("failed to add the key"), &report));
    }
    Ok(report)
}

fn downloaded(
    context: &mut Context<'_>,
    arguments: &Arguments,
    address: &str,
) -> Result<Vec<u8>, Failure> {
    let request = Request {
        url: address,
        method: "GET",
        timeout: 10,
        ..Request::default()
    };
    let fetched = url::fetch(context, arguments, &request)?;
    if fetched.status() != Some(200) {
        return Err(Failure::new(format!(
            "Failed to download key at {}: {}",
            masked(address),
            fetched.message()
        )));
    }
    let mut bytes = Vec::new();
    if let Some(mut body) = fetched.response.and_then(|response| response.body) {
        body.read_to_end(&mut bytes).map_err(|_| {
            Failure::new(format!(
                "Error getting key id from url: {}",
                masked(address)
            ))
        })?;
    }
    Ok(bytes)
}

/// The identifiers of keys in what apt-key or gpg list.
fn listed(text: &str) -> Vec<String> {
    text.split('\n')
        .filter(|line| {
            (line.starts_with("pub") || line.starts_with("sub")) && !line.contains("expired")
        })
        .filter_map(|line| {
            let in_words = line.split_whitespace().nth(1).and_then(|word| {
                let (_, id) = word.split_once('/')?;
                (!id.contains('/')).then_some(id)
            });
            in_words.or_else(|| line.split(':').nth(4))
        })
        .map(str::to_owned)
        .collect()
}

impl Ring<'_> {
    /// The start of a command line of apt-key.
    fn line(&self) -> String {
        match self.keyring {
            Some(keyring) => format!("{} --keyring {keyring}", self.apt_key),
            None => self.apt_key.clone(),
        }
    }

    fn keys(&self, context: &Context<'_>, short: bool) -> Result<Vec<String>, Failure> {
        let line = format!("{} adv --list-public-keys --keyid-format=long", self.line());
        let done = Command::line(line.clone()).run(context)?;
        if !done.success() {
            return Err(failed("Unable to list public keys", &line, &done));
        }
        let mut keys = listed(&done.out());
        if short {
            for key in &mut keys {
                *key = key
                    .chars()
                    .skip(key.chars().count().saturating_sub(8))
                    .collect();
            }
        }
        Ok(keys)
    }

    /// The identifier of the first key in a file, or of the data given for it.
    fn id_of(
        &self,
        context: &Context<'_>,
        file: &str,
        data: Option<&[u8]>,
    ) -> Result<Option<String>, Failure> {
        let mut command = Command::new([self.gpg.as_str(), "--with-colons", file]);
        if let Some(data) = data {
            let is_armored = data.windows(ARMOR.len()).any(|window| window == ARMOR);
            let mut data = data.to_vec();
            if is_armored {
                data.push(b'\n');
            }
            command = command.data(data);
        }
        let done = locale::command(context, command).run(context)?;
        if !done.success() {
            let what = if data.is_some() { "inline data" } else { file };
            return Err(Failure::new(format!("Unable to extract key from '{what}'"))
                .with("stdout", done.out())
                .with("stderr", done.err()));
        }
        Ok(listed(&done.out()).into_iter().next())
    }

    fn add(&self, context: &Context<'_>, file: &str, data: Option<&[u8]>) -> Result<(), Failure> {
        let line = format!("{} add {file}", self.line());
        let mut command = Command::line(line.clone());
        if let Some(data) = data {
            command = command.data(data);
        }
        let done = command.run(context)?;
        if done.success() {
            return Ok(());
        }
        Err(match data {
            Some(_) => failed("Unable to add a key from binary data", &line, &done),
            None => failed(
                &format!("Unable to add a key from file {file}"),
                &line,
                &done,
            )
            .with("keyfile", file),
        })
    }

    fn receive(&self, context: &Context<'_>, server: &str, key: &str) -> Result<(), Failure> {
        let proxy = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]
            .iter()
            .find_map(|name| context.variable(name).filter(|value| !value.is_empty()))
            .map_or_else(String::new, |proxy| {
                format!(" --keyserver-options http-proxy={proxy}")
            });
        let line = format!(
            "{} adv --no-tty --keyserver {server}{proxy} --recv {key}",
            self.line()
        );
        let mut done = process::Finished::default();
        for _ in 0..TRIES {
            done = locale::command(context, Command::line(line.clone())).run(context)?;
            if done.success() {
                return Ok(());
            }
        }
        let variables: serde_json::Map<String, Value> =
            locale::variables(&locale::readable(context))
                .into_iter()
                .filter(|(name, _)| *name != "LC_CTYPE")
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
        let failure = if done.code == 2 && done.out().contains("not found on keyserver") {
            Failure::new(format!("Key {key} not found on keyserver {server}")).with("cmd", line)
        } else {
            failed(
                &format!("Error fetching key {key} from keyserver: {server}"),
                &line,
                &done,
            )
        };
        Err(failure.with("forced_environment", variables))
    }

    fn remove(&self, context: &Context<'_>, key: &str) -> Result<(), Failure> {
        let line = format!("{} del {key}", self.line());
        let done = Command::line(line.clone()).run(context)?;
        if done.success() {
            return Ok(());
        }
        Err(failed(
            &format!("Unable to remove a key with id {key}"),
            &line,
            &done,
        )
        .with("key_id", key))
    }
}

fn failed(message: &str, line: &str, done: &process::Finished) -> Failure {
    Failure::new(message)
        .with("cmd", line)
        .with("rc", done.code)
        .with("stdout", done.out())
        .with("stderr", done.err())
}
