//! `providers lock` and `providers mirror`: checksums and packages for other platforms and other places.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::ProviderSource;
use consort_infra::config::{Requirements, parse_provider_source};
use consort_infra::install::cli_config::{Location, Method};
use consort_infra::install::{
    Authentication, CliConfig, Event, Failure, Installer, LOCK_FILE, Locks, Platform,
};

use super::flags::{Flags, many, on, one, switch};
use super::place::{Place, causes, error};
use super::providers::of_state;
use super::session::{self, cli_config, environment};
use super::terminal::Terminal;
use super::{Command, wait};

pub(super) const LOCK: Command = Command {
    name: "providers lock",
    usage: "[options] [providers...]",
    short: "Write out dependency locks for the configured providers",
    about: "Writes into the lock file the checksums of the providers' packages for some platforms, as their \
            registries have them, however providers are installed here. Arguments are the providers to lock; \
            without them all of the configuration are.",
    flags: &[&[
        one(
            "fs-mirror",
            "dir",
            "Ask this directory in place of the registries.",
        ),
        one(
            "net-mirror",
            "url",
            "Ask this network mirror in place of the registries.",
        ),
        many(
            "platform",
            "os_arch",
            "For this platform; may be given several times. The present one unless given.",
        ),
        switch(
            "enable-plugin-cache",
            "Use the plugin cache, which says less about where a package comes from.",
        ),
        one("test-directory", "path", "Where test files are (tests)."),
    ]],
    run: lock,
};

pub(super) const MIRROR: Command = Command {
    name: "providers mirror",
    usage: "[options] <target-dir>",
    short: "Save local copies of all required provider plugins",
    about: "Fills a directory with the packages of all providers the configuration needs, as a filesystem \
            mirror, with the indices that make a network mirror of it when it is served.",
    flags: &[&[
        many(
            "platform",
            "os_arch",
            "For this platform; may be given several times. The present one unless given.",
        ),
        on("lock-file", "Choose versions without the lock file."),
    ]],
    run: mirror,
};

fn platforms(flags: &Flags) -> Result<Vec<Platform>, Diagnostics> {
    let given = flags.all("platform");
    if given.is_empty() {
        return Ok(vec![Platform::current()]);
    }
    given
        .iter()
        .map(|text| {
            Platform::parse(text).map_err(|why| {
                error(
                    "Invalid target platform",
                    format!(
                        "The string {text:?} given in the -platform option is not a valid target platform: {why}."
                    ),
                )
            })
        })
        .collect()
}

fn installer(
    config: &std::sync::Arc<CliConfig>,
    location: Location,
) -> Result<Installer, Diagnostics> {
    Installer::new(config, &environment())
        .map(|installer| installer.with_methods(vec![Method::for_all(location)]))
        .map_err(|failed| error("Failed to prepare for downloads", causes(&failed)))
}

/// What the configuration and the state need.
async fn requirements(
    place: &Place,
    flags: &Flags,
    sources: &mut Sources,
) -> Result<Requirements, Diagnostics> {
    let tests = flags.text("test-directory");
    let (tree, found) = session::load_any(place, tests, sources);
    let Some(tree) = tree.filter(|_| !found.has_errors()) else {
        return Err(found);
    };
    let mut requirements = tree.requirements();
    for provider in of_state(place, flags, sources).await? {
        requirements.entry(provider).or_default();
    }
    Ok(requirements)
}

fn authenticated(authentication: &Authentication) -> String {
    match authentication {
        Authentication::Signed(key) => format!("{authentication}, key ID {key}"),
        _ => authentication.to_string(),
    }
}

fn problems(summary: &str, failures: Vec<Failure>) -> Diagnostics {
    let mut problems = Diagnostics::new();
    for failure in failures {
        problems.append(error(
            summary,
            format!(
                "Error while retrieving {}: {}.",
                failure.provider.for_display(),
                causes(&failure.error)
            ),
        ));
    }
    problems
}

fn lock(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(false, false);
    let mut sources = Sources::new();
    match wait(locked(flags, &terminal, &mut sources)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            ExitCode::FAILURE
        }
    }
}

async fn locked(
    flags: &Flags,
    terminal: &Terminal,
    sources: &mut Sources,
) -> Result<(), Diagnostics> {
    let location = match (flags.text("fs-mirror"), flags.text("net-mirror")) {
        (Some(_), Some(_)) => {
            return Err(error(
                "Invalid installation method options",
                "The -fs-mirror and -net-mirror command line options are mutually-exclusive.",
            ));
        }
        (Some(directory), None) => Location::FilesystemMirror(PathBuf::from(directory)),
        (None, Some(url)) => {
            if !url.starts_with("https://") {
                return Err(error(
                    "Invalid network mirror URL",
                    "The -net-mirror option requires a valid https: URL as the mirror base URL.",
                ));
            }
            let mut url = url.to_owned();
            if !url.ends_with('/') {
                url.push('/');
            }
            Location::NetworkMirror(url)
        }
        (None, None) => Location::Direct,
    };
    let platforms = platforms(flags)?;
    let place = Place::here();
    let mut requirements = requirements(&place, flags, sources).await?;
    requirements.retain(|provider, _| !provider.is_builtin());
    if !flags.rest.is_empty() {
        let mut chosen = Requirements::new();
        for text in &flags.rest {
            let provider: ProviderSource = parse_provider_source(text).map_err(|wrong| {
                error(
                    "Invalid provider argument",
                    format!("{text:?} is not a valid provider source address: {wrong:?}."),
                )
            })?;
            let Some((provider, constraints)) = requirements.remove_entry(&provider) else {
                return Err(error(
                    "Invalid provider argument",
                    format!(
                        "The provider {provider} is not required by the current configuration."
                    ),
                ));
            };
            chosen.insert(provider, constraints);
        }
        requirements = chosen;
    }
    let path = place.root().join(LOCK_FILE);
    let (before, found) = Locks::read(&path, sources);
    if found.has_errors() {
        return Err(found);
    }
    let mut config = cli_config()?;
    if !flags.is("enable-plugin-cache") {
        std::sync::Arc::make_mut(&mut config).plugin_cache = None;
    }
    let installer = installer(&config, location)?;
    let scratch = Scratch::new()?;
    let mut after = before.clone();
    let mut told = String::new();
    for platform in &platforms {
        let mut say = |event: Event| match event {
            Event::Installing(provider, version) => terminal.say(&format!(
                "- Fetching {} {version} for {platform}...",
                provider.for_display()
            )),
            Event::Installed {
                provider,
                version,
                authentication,
            } => terminal.say(&format!(
                "- Retrieved {} {version} for {platform} ({})",
                provider.for_display(),
                authenticated(&authentication)
            )),
            _ => {}
        };
        let (next, failures) = installer
            .lock_platforms(
                &requirements,
                &before,
                std::slice::from_ref(platform),
                &scratch.0,
                &mut say,
            )
            .await;
        let wrong = problems("Could not retrieve providers for locking", failures);
        if wrong.has_errors() {
            return Err(wrong);
        }
        for (provider, lock) in next.0 {
            if !requirements.contains_key(&provider) {
                continue;
            }
            let news = match before.0.get(&provider) {
                None => {
                    "This was a new provider and the checksums for this platform are now tracked in the lock file"
                }
                Some(known) if lock.hashes.iter().all(|hash| known.hashes.contains(hash)) => {
                    "All checksums for this platform were already tracked in the lock file"
                }
                Some(_) => {
                    "Additional checksums for this platform are now tracked in the lock file"
                }
            };
            told.push_str(&format!(
                "- Obtained {} checksums for {platform}; {news}\n",
                provider.for_display()
            ));
            match after.0.get_mut(&provider) {
                Some(known) if known.version.identical(&lock.version) => {
                    known.hashes.extend(lock.hashes);
                    known.hashes.sort();
                    known.hashes.dedup();
                    known.constraints = lock.constraints;
                }
                _ => {
                    after.0.insert(provider, lock);
                }
            }
        }
    }
    crate::output::print(&told);
    let success = terminal.green("Success!");
    if after == before {
        terminal.say(&format!(
            "\n{success} {}",
            terminal.bold("Terraform has validated the lock file and found no need for changes.")
        ));
        return Ok(());
    }
    after
        .write(&path)
        .map_err(|failed| error("Failed to write the lock file", causes(&failed)))?;
    terminal.say(&format!(
        "\n{success} {}\n\nReview the changes in {LOCK_FILE} and then commit to your\nversion control system to \
         retain the new checksums.\n",
        terminal.bold("Terraform has updated the lock file.")
    ));
    Ok(())
}

/// A directory that is gone when this is.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Diagnostics> {
        let path = std::env::temp_dir().join(format!("consort-providers-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|failed| {
            error(
                "Could not create temporary directory",
                format!("Creating {}: {failed}.", path.display()),
            )
        })?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mirror(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(false, false);
    let mut sources = Sources::new();
    match wait(mirrored(flags, &terminal, &mut sources)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            ExitCode::FAILURE
        }
    }
}

async fn mirrored(
    flags: &Flags,
    terminal: &Terminal,
    sources: &mut Sources,
) -> Result<(), Diagnostics> {
    let [target] = flags.rest.as_slice() else {
        return Err(error(
            "No output directory specified",
            "The providers mirror command requires an output directory as a command-line argument.",
        ));
    };
    let platforms = platforms(flags)?;
    let place = Place::here();
    let requirements = requirements(&place, flags, sources).await?;
    let locks = if flags.stays("lock-file") {
        let (locks, found) = Locks::read(&place.root().join(LOCK_FILE), sources);
        if found.has_errors() {
            return Err(found);
        }
        locks
    } else {
        Locks::default()
    };
    let installer = installer(&cli_config()?, Location::Direct)?;
    // Each alone, so that one that cannot be had does not hide the others.
    let mut wrong = Diagnostics::new();
    for (provider, constraints) in requirements {
        terminal.say(&format!("- Mirroring {}...", provider.for_display()));
        if provider.is_builtin() {
            terminal.say(&format!(
                "  - Skipping {provider} because it is built in to Terraform CLI"
            ));
            continue;
        }
        let shown = provider.for_display();
        let mut at = platforms.iter();
        let mut say = |event: Event| match event {
            Event::Finding { locked, .. } => {
                if locked && let Some(lock) = locks.0.get(&provider) {
                    terminal.say(&format!(
                        "  - Selected v{} to match dependency lock file",
                        lock.version
                    ));
                }
            }
            Event::Installing(_, version) => {
                let platform = at.next().map(ToString::to_string).unwrap_or_default();
                terminal.say(&format!(
                    "  - Downloading package for {platform} (v{version})..."
                ));
            }
            Event::Installed { authentication, .. } => terminal.say(&format!(
                "  - Package authenticated: {}",
                authenticated(&authentication)
            )),
            _ => {}
        };
        let one = Requirements::from([(provider.clone(), constraints)]);
        if let Err(failed) = installer
            .mirror(&one, &locks, &platforms, Path::new(target), &mut say)
            .await
        {
            wrong.append(error(
                "Provider not available",
                format!("Failed to mirror {shown}: {}.", causes(&failed)),
            ));
        }
    }
    if wrong.has_errors() {
        Err(wrong)
    } else {
        Ok(())
    }
}
