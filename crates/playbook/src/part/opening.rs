//! What is said of a part, as a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Dict, Key, Origin, Value};
use consort_plan::{Feed, Location, Problem};
use indexmap::IndexMap;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::Playbooks;
use super::hosts::{self, Resolved};
use super::values::{self, Hidden, Inputs};
use crate::executor::Options;
use crate::source::{Located, Notice, Notices, Secrets};
use crate::unattended::{Ready, Run};
use crate::vault::{self, Secret, Vault};

/// A run of a part, ready to begin, with what its problems are told with.
pub(super) struct Opened {
    pub(super) ready: Ready,
    pub(super) resolved: Resolved,
    pub(super) secrets: Arc<Noted>,
    pub(super) warnings: Arc<Mutex<Vec<String>>>,
    /// Files that live as long as the run: keys that came as values.
    pub(super) kept: Vec<KeyFile>,
}

/// A private key in a file of its own that goes with it.
#[derive(Debug)]
pub(super) struct KeyFile(PathBuf);

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A vault that notes what it opened.
pub(super) struct Noted {
    vault: Arc<Vault>,
    hidden: Mutex<Hidden>,
}

impl Noted {
    /// What was opened, and what was to be hidden already.
    pub(super) fn hidden(&self) -> Hidden {
        self.hidden.lock().clone()
    }
}

impl Secrets for Noted {
    fn decrypt(&self, ciphertext: &str) -> Result<Vec<u8>, String> {
        let opened = Secrets::decrypt(&*self.vault, ciphertext)?;
        if let Ok(text) = std::str::from_utf8(&opened) {
            let mut hidden = self.hidden.lock();
            // A file of variables: their values are the secrets, and not their names.
            if text.contains('\n') {
                for line in text.lines() {
                    let value = line.split_once(": ").map_or(line, |(_, value)| value);
                    hidden.add_text(value.trim().trim_matches(['"', '\'']));
                }
            } else {
                hidden.add_text(text);
            }
        }
        Ok(opened)
    }
}

/// Reads `1h30m`, `10m`, `90s`; none if it is nothing or no duration.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && seconds > 0).then(|| Duration::from_secs(seconds))
}

impl Playbooks {
    /// Where something of the stanza stands, as values know it.
    pub(super) fn origin(&self, pointer: &str) -> Arc<Origin> {
        let location = self.lines.at(pointer);
        Arc::new(Origin {
            file: self.root.join(&location.file).to_string_lossy().into(),
            line: location.line,
            column: 0,
        })
    }

    /// What the part is made of, as a digest: what is said of it, its inputs, and all files beside its playbooks and of its
    /// inventory. Empty where they are too many to look at.
    pub(super) fn made_of(&self, inputs: &Inputs) -> String {
        const MOST: usize = 5_000;
        const LARGEST: u64 = 64 << 20;
        let mut digest = Sha256::new();
        digest.update(serde_json::to_vec(&self.spec).unwrap_or_default());
        digest.update(serde_json::to_vec(inputs).unwrap_or_default());
        let mut open: Vec<PathBuf> = Vec::new();
        for path in self.spec.path.iter() {
            let directory = self.root.join(path).parent().map(Path::to_owned);
            open.extend(directory);
        }
        for path in self.spec.inventory.iter().flat_map(super::Paths::iter) {
            open.push(self.root.join(path));
        }
        open.sort();
        open.dedup();
        let (mut files, mut size) = (0, 0);
        while let Some(path) = open.pop() {
            let Ok(about) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            if about.is_dir() {
                let Ok(entries) = std::fs::read_dir(&path) else {
                    continue;
                };
                let mut entries: Vec<PathBuf> = entries
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .filter(|path| {
                        let name = path.file_name().unwrap_or_default().to_string_lossy();
                        !name.starts_with('.') && !open.contains(path)
                    })
                    .collect();
                entries.sort();
                open.extend(entries);
            } else if about.is_file() {
                files += 1;
                size += about.len();
                if files > MOST || size > LARGEST {
                    return String::new();
                }
                let place = path.strip_prefix(&self.root).unwrap_or(&path);
                digest.update(place.to_string_lossy().as_bytes());
                digest.update([0]);
                digest.update(std::fs::read(&path).unwrap_or_default());
                digest.update([0]);
            }
        }
        super::record::hex(&digest.finalize()[..16])
    }

    /// A path of the stanza within the score.
    fn within(&self, pointer: &str, path: &str) -> Result<PathBuf, Box<Problem>> {
        let full = self.root.join(path);
        let real = full.canonicalize().map_err(|error| {
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => format!("{path} does not exist"),
                _ => format!("reading {path}: {error}"),
            };
            Box::new(self.at(pointer, what))
        })?;
        if real.starts_with(&self.root) {
            Ok(full)
        } else {
            let what = format!("{path} leads out of the score's directory");
            Err(Box::new(self.at(pointer, what)))
        }
    }

    /// A text of a feed that has to be known.
    fn text(
        &self,
        pointer: &str,
        feed: &Feed,
        inputs: &Inputs,
    ) -> Result<Option<String>, Box<Problem>> {
        let known = values::of_feed(feed, inputs);
        if !known.is_wholly_known() {
            return Ok(None);
        }
        match known.value {
            serde_json::Value::String(text) => Ok(Some(text)),
            serde_json::Value::Number(number) => Ok(Some(number.to_string())),
            other => {
                let what = format!("expected a text, and not {other}");
                Err(Box::new(self.at(pointer, what)))
            }
        }
    }

    /// The part as a run. Blocks: reads files, runs inventories that are programs.
    pub(super) fn opened(
        &self,
        inputs: &Inputs,
        scratch: Option<&Path>,
        check: bool,
    ) -> Result<Opened, Vec<Problem>> {
        let one = |problem: Box<Problem>| vec![*problem];
        let spec = &self.spec;
        let several = matches!(spec.path, super::Paths::Many(_));
        let mut playbooks = Vec::new();
        for (place, path) in spec.path.iter().enumerate() {
            let pointer = if several {
                format!("/path/{place}")
            } else {
                "/path".to_owned()
            };
            let full = self.within(&pointer, path).map_err(one)?;
            if !full.is_file() {
                return Err(vec![self.at(&pointer, format!("{path} is no file"))]);
            }
            playbooks.push(full);
        }
        let mut inventory = Vec::new();
        for path in spec.inventory.iter().flat_map(super::Paths::iter) {
            if path.contains(',') {
                inventory.push(path.to_owned());
            } else {
                let full = self.within("/inventory", path).map_err(one)?;
                inventory.push(full.to_string_lossy().into_owned());
            }
        }
        let vault = Arc::new(self.vault(inputs).map_err(one)?);
        let secrets = Arc::new(Noted {
            vault: Arc::clone(&vault),
            hidden: Mutex::new(Hidden::of(inputs)),
        });
        let resolved = hosts::resolve(spec.hosts.as_ref(), inputs, &self.origin("/hosts"));
        if !resolved.wrong.is_empty() {
            return Err(resolved
                .wrong
                .iter()
                .map(|(pointer, what)| self.at(pointer, what.clone()))
                .collect());
        }
        let variables: IndexMap<Key, Value> = spec
            .variables
            .iter()
            .map(|(name, feed)| {
                let origin = self.origin(&consort_plan::below("/variables", name));
                let value = values::value(name, feed, inputs, &origin);
                (Key::from(name.as_str()), value)
            })
            .collect();
        let mut options = Options {
            forks: spec.forks.unwrap_or(0) as usize,
            check: check || spec.check,
            diff: true,
            tags: spec.tags.clone(),
            skip_tags: spec.skip_tags.clone(),
            connection: spec.connection.clone(),
            remote_user: spec.user.clone(),
            r#become: spec.r#become,
            become_method: spec.become_method.clone(),
            become_user: spec.become_user.clone(),
            ..Options::default()
        };
        let mut kept = Vec::new();
        if let Some(key) = &spec.private_key {
            let path = self.key(key, inputs, scratch, &mut kept).map_err(one)?;
            if let Some(path) = path {
                options.connection_options.push((
                    "private_key_file".to_owned(),
                    path.to_string_lossy().into_owned(),
                ));
            }
        }
        if let Some(feed) = &spec.password {
            options.connection_password = self.text("/password", feed, inputs).map_err(one)?;
        }
        if let Some(feed) = &spec.become_password {
            options.become_password = self.text("/becomePassword", feed, inputs).map_err(one)?;
        }
        let run = Run {
            playbooks,
            root: self.root.clone(),
            inventory,
            hosts: resolved
                .hosts
                .iter()
                .map(|host| host.given.clone())
                .collect(),
            open_groups: resolved
                .unnamed
                .iter()
                .map(|unnamed| unnamed.group.clone())
                .collect(),
            variables: Dict::new(variables),
            limit: spec.limit.clone(),
            vault,
            secrets: Some(Arc::clone(&secrets) as Arc<dyn Secrets>),
            environment: self.environment.variables.clone(),
            options,
        };
        let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&warnings);
        let notices: Notices = Arc::new(move |notice| {
            if let Notice::Warning(what) = notice {
                let mut heard = heard.lock();
                let text = what.brief();
                if heard.len() < 100 && !heard.contains(&text) {
                    heard.push(text);
                }
            }
        });
        let ready = run
            .prepare(notices)
            .map_err(|error| vec![self.told(&error, &secrets.hidden())])?;
        Ok(Opened {
            ready,
            resolved,
            secrets,
            warnings,
            kept,
        })
    }

    fn vault(&self, inputs: &Inputs) -> Result<Vault, Box<Problem>> {
        let mut known: Vec<Secret> = Vec::new();
        for (at, secret) in self.spec.vault.iter().enumerate() {
            let pointer = format!("/vault/{at}");
            let id = secret.id.clone().unwrap_or_else(|| "default".to_owned());
            let password = match (&secret.file, &secret.password) {
                (Some(file), _) => {
                    let path = self.within(&pointer, file)?;
                    let read = vault::read(&path, secret.id.as_deref(), &Vault::new(known.clone()));
                    read.map_err(|error| Box::new(self.at(&pointer, error.to_string())))?
                }
                (None, Some(feed)) => match self.text(&pointer, feed, inputs)? {
                    Some(text) => text.into_bytes(),
                    // What it opens cannot be opened yet.
                    None => continue,
                },
                (None, None) => continue,
            };
            known.push(Secret { id, password });
        }
        Ok(Vault::new(known))
    }

    /// The file of the key to log in with.
    fn key(
        &self,
        feed: &Feed,
        inputs: &Inputs,
        scratch: Option<&Path>,
        kept: &mut Vec<KeyFile>,
    ) -> Result<Option<PathBuf>, Box<Problem>> {
        let Some(text) = self.text("/privateKey", feed, inputs)? else {
            return Ok(None);
        };
        if !text.contains("PRIVATE KEY") {
            return self.within("/privateKey", &text).map(Some);
        }
        let directory = scratch.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = directory.join(format!(".key-{}", uuid::Uuid::new_v4().simple()));
        let failed = |error: std::io::Error| {
            Box::new(self.at("/privateKey", format!("keeping the key in a file: {error}")))
        };
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let mut text = text;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let write = || -> std::io::Result<()> {
            use std::io::Write as _;
            use std::os::unix::fs::OpenOptionsExt as _;
            std::fs::OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&path)?
                .write_all(text.as_bytes())
        };
        write().map_err(failed)?;
        kept.push(KeyFile(path.clone()));
        Ok(Some(path))
    }

    /// An error of playbooks as a problem of the part.
    pub(super) fn told(&self, error: &Located, hidden: &Hidden) -> Problem {
        let mut origin = error.origin();
        let mut cause = error.cause();
        while let Some(inner) = cause {
            origin = inner.origin().filter(|origin| origin.line > 0).or(origin);
            cause = inner.cause();
        }
        let location = origin.filter(|origin| origin.line > 0).map(|origin| {
            let file = Path::new(&*origin.file);
            Location {
                file: file
                    .strip_prefix(&self.root)
                    .unwrap_or(file)
                    .to_string_lossy()
                    .into_owned(),
                line: origin.line,
            }
        });
        let summary = hidden.taken_out(&error.brief());
        // The place is told beside it, and longer help is no one line.
        let help = error.help().map(str::trim).unwrap_or_default();
        let (detail, hint) = if help.contains('\n') {
            (help.to_owned(), None)
        } else {
            let hint = (!help.is_empty()).then(|| help.to_owned());
            (String::new(), hint)
        };
        Problem {
            location: location.or_else(|| self.problem("").location),
            detail,
            summary: summary.trim_end_matches('.').to_owned(),
            hint,
            ..self.problem("")
        }
    }
}
