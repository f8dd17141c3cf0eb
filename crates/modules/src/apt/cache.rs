//! What apt could install: asked of `apt-cache`, which answers from apt's own cache with all of its pins.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Environment, complaints};
use crate::context::Context;
use crate::invocation::Failure;
use crate::process::{Command, Finished};
use crate::python;

/// How many names one call is given.
const NAMES_A_CALL: usize = 500;
const PREFERENCES: &str = "/etc/apt/preferences.d";

/// What apt knows of a package.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The version it would install.
    pub(crate) candidate: Option<String>,
    /// There are versions of it; otherwise it is only a name others provide.
    pub(crate) has_versions: bool,
}

/// A preference for one package, above those that are written on the machine.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) package: String,
    /// `version 1.2*`, `release trixie-backports`.
    pub(crate) what: String,
    pub(crate) priority: i32,
}

fn ask(
    context: &Context<'_>,
    environment: &Environment,
    words: Vec<String>,
) -> Result<Finished, Failure> {
    let command = ["apt-cache".to_owned()].into_iter().chain(words);
    let done = environment
        .of(Command::new(command).literal())
        .run(context)?;
    if !done.success() {
        let said = complaints(&done.err());
        if said.contains(super::update::UNREADABLE) {
            return Err(Failure::new(said));
        }
        if said.contains("E:") {
            return Err(Failure::unhandled(said));
        }
    }
    Ok(done)
}

/// What apt knows of packages, by the names they were asked by. What it does not know is missing.
pub(crate) fn known(
    context: &mut Context<'_>,
    environment: &Environment,
    names: &[&str],
    (pins, release): (&[Pin], Option<&str>),
) -> Result<HashMap<String, Known>, Failure> {
    let mut found = HashMap::new();
    if names.is_empty() {
        return Ok(found);
    }
    let mut options = vec!["policy".to_owned()];
    if let Some(release) = release {
        options.extend(["-t".to_owned(), release.to_owned()]);
    }
    if !pins.is_empty() {
        options.extend(["-o".to_owned(), preferences(context, pins)?]);
    }
    options.push("--".to_owned());
    for names in names.chunks(NAMES_A_CALL) {
        let words = options
            .iter()
            .cloned()
            .chain(names.iter().map(|name| (*name).to_owned()))
            .collect();
        let told = read_policy(&ask(context, environment, words)?.out());
        for name in names {
            let known = told.get(*name).or_else(|| {
                // The machine's own architecture is not told.
                let (bare, architecture) = name.split_once(':')?;
                (architecture != "any").then(|| told.get(bare)).flatten()
            });
            if let Some(known) = known {
                found.insert((*name).to_owned(), known.clone());
            }
        }
    }
    Ok(found)
}

/// The option that adds pins to the preferences of the machine.
fn preferences(context: &mut Context<'_>, pins: &[Pin]) -> Result<String, Failure> {
    let directory = context
        .temporary_directory()?
        .join(format!("preferences-{}", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        std::fs::create_dir(&directory)?;
        // Without such a directory there is nothing to keep.
        for entry in std::fs::read_dir(context.path(PREFERENCES))
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
                std::fs::copy(entry.path(), directory.join(entry.file_name()))?;
            }
        }
        let mut text = String::new();
        for pin in pins {
            let _ = write!(
                text,
                "Package: {}\nPin: {}\nPin-Priority: {}\n\n",
                pin.package, pin.what, pin.priority
            );
        }
        // The last of all: who comes first to a package has the say.
        std::fs::write(directory.join("zzzzzzzz-wanted.pref"), text)
    })();
    written.map_err(|error: std::io::Error| {
        Failure::unhandled(python::os_error_at(&error, &directory))
    })?;
    Ok(format!(
        "Dir::Etc::preferencesparts={}",
        directory.display()
    ))
}

fn read_policy(text: &str) -> HashMap<String, Known> {
    let mut found: HashMap<String, Known> = HashMap::new();
    let mut current: Option<(String, Known)> = None;
    let mut in_versions = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            found.extend(current.take());
            in_versions = false;
            if let Some(name) = line.strip_suffix(':') {
                current = Some((name.to_owned(), Known::default()));
            }
            continue;
        }
        let Some((_, known)) = &mut current else {
            continue;
        };
        let line = line.trim_start();
        if let Some(candidate) = line.strip_prefix("Candidate: ") {
            known.candidate = Some(candidate.to_owned()).filter(|text| text != "(none)");
        } else if line.starts_with("Version table:") {
            in_versions = true;
        } else if in_versions {
            known.has_versions = true;
        }
    }
    found.extend(current);
    found
}

/// The packages whose candidate provides a name: their names.
pub(crate) fn providers(
    context: &mut Context<'_>,
    environment: &Environment,
    name: &str,
    release: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let words = ["showpkg", "--", name].map(str::to_owned).to_vec();
    let told = ask(context, environment, words)?.out();
    let listed: Vec<(String, String)> = told
        .split_once("\nReverse Provides:")
        .map_or("", |(_, rest)| rest)
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect();
    let mut names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let known = known(context, environment, &names, (&[], release))?;
    Ok(names
        .iter()
        .filter(|name| {
            let candidate = known.get(**name).and_then(|known| known.candidate.as_ref());
            listed
                .iter()
                .any(|(provider, version)| provider == **name && Some(version) == candidate)
        })
        .map(|name| (*name).to_owned())
        .collect())
}

/// The names of all packages there are versions of, in order.
pub(crate) fn names(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<Vec<String>, Failure> {
    let told = ask(context, environment, vec!["pkgnames".to_owned()])?.out();
    let mut names: Vec<String> = told.lines().map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}
