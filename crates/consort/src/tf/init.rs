//! `init` and `get`: modules, the backend, providers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use consort_backend::{Kind, LocalPaths, Settings};
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Sources, json};
use consort_infra::config::{self, Module};
use consort_infra::install::{
    Authentication, Event, Http, Installer, LOCK_FILE, Locks, Mode, ModuleEvent, ModuleInstaller,
};
use serde_json::{Map, Value};

use super::flags::{Flag, Flags, many, on, one, switch};
use super::place::{Backing, Locking, Place, block_arguments, causes, error, merged, settings};
use super::session::{self, cli_config, environment};
use super::terminal::Terminal;
use super::{Command, LOCK, NO_COLOUR, wait};

const TESTS: &[Flag] = &[one(
    "test-directory",
    "path",
    "Where test files are (tests).",
)];

pub(super) const INIT: Command = Command {
    name: "init",
    usage: "[options]",
    short: "Prepare a directory for other commands",
    about: "Installs the modules and providers a configuration needs and sets up its backend. It can be run \
            again at any time.",
    flags: &[
        &[
            on("backend", "Do not set up the backend."),
            many(
                "backend-config",
                "path or name=value",
                "Arguments of the backend beside those in its block.",
            ),
            switch(
                "force-copy",
                "Answer yes where state would be copied to another backend.",
            ),
            one(
                "from-module",
                "SOURCE",
                "Not supported here: copy the module yourself.",
            ),
            on("get", "Do not install modules."),
            on("input", "Do not ask for anything."),
            switch("json", "Not supported here yet: refused."),
            many("plugin-dir", "dir", "Look for providers here only."),
            switch("reconfigure", "Forget the backend that was set up before."),
            switch(
                "migrate-state",
                "Move state from the backend that was set up before.",
            ),
            switch(
                "upgrade",
                "Choose the newest versions the constraints allow.",
            ),
            one(
                "lockfile",
                "MODE",
                "readonly: fail where the lock file would change.",
            ),
            switch("ignore-remote-version", "Taken and of no effect."),
        ],
        TESTS,
        LOCK,
        NO_COLOUR,
    ],
    run: init,
};

pub(super) const GET: Command = Command {
    name: "get",
    usage: "[options]",
    short: "Install modules",
    about: "Installs the modules a configuration calls, which init does too.",
    flags: &[
        &[switch(
            "update",
            "Fetch modules anew that are there already.",
        )],
        TESTS,
        NO_COLOUR,
    ],
    run: get,
};

/// What is told while modules are installed.
fn told(event: ModuleEvent) -> String {
    match event {
        ModuleEvent::Downloading {
            key,
            package,
            version,
        } => match version {
            Some(version) => format!("Downloading {package} {version} for {key}..."),
            None => format!("Downloading {package} for {key}..."),
        },
        ModuleEvent::Installed { key, directory } => format!("- {key} in {}", directory.display()),
    }
}

async fn modules(
    place: &Place,
    upgrade: bool,
    tests: &str,
    sources: &mut Sources,
) -> Result<Diagnostics, Diagnostics> {
    let http = Http::new(cli_config()?)
        .map_err(|failed| error("Failed to prepare for downloads", causes(&failed)))?;
    let mut say = |event: ModuleEvent| crate::output::print(&format!("{}\n", told(event)));
    let mut installer = ModuleInstaller {
        directory: &place.modules(),
        http: Some(&http),
        upgrade,
        events: &mut say,
    };
    let (_, diagnostics) = installer
        .install(&place.directory, Some(tests), sources)
        .await;
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok(diagnostics)
    }
}

fn tests(flags: &Flags) -> &str {
    flags
        .text("test-directory")
        .unwrap_or(config::TEST_DIRECTORY)
}

fn get(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color"), false);
    let mut sources = Sources::new();
    let done = wait(modules(
        &Place::here(),
        flags.is("update"),
        tests(flags),
        &mut sources,
    ));
    let (Ok(diagnostics) | Err(diagnostics)) = &done;
    terminal.diagnose(diagnostics, &sources);
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn init(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color"), flags.stays("input"));
    let mut sources = Sources::new();
    for (name, what) in [("json", "-json"), ("from-module", "-from-module")] {
        if flags.text(name).is_some_and(|value| value != "false") {
            terminal.error("Unsupported option", &format!("init takes no {what} here."));
            return ExitCode::FAILURE;
        }
    }
    if flags.is("reconfigure") && flags.is("migrate-state") {
        terminal.error(
            "Invalid init options",
            "The -migrate-state and -reconfigure options are mutually-exclusive.",
        );
        return ExitCode::FAILURE;
    }
    let place = Place::here();
    let done = wait(initialize(&place, flags, &terminal, &mut sources));
    match done {
        Ok(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            terminal.say(&terminal.green("\nTerraform has been successfully initialized!"));
            terminal.say(
                "\nEverything other commands need is in place; \"plan\" shows what would be done.\nAfter a change \
                 of modules, providers or the backend, run this again.",
            );
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            ExitCode::FAILURE
        }
    }
}

async fn initialize(
    place: &Place,
    flags: &Flags,
    terminal: &Terminal,
    sources: &mut Sources,
) -> Result<Diagnostics, Diagnostics> {
    let mut warnings = Diagnostics::new();
    let Some(root) = place.root_module(sources)? else {
        terminal.say("Terraform initialized in an empty directory!\n\nThe directory has no Terraform configuration files.");
        return Ok(warnings);
    };
    if flags.stays("backend") {
        terminal.say(&terminal.bold("Initializing the backend..."));
        backend(place, flags, terminal, &root).await?;
    }
    if flags.stays("get") && (!root.module_calls.is_empty() || tests_call(place, flags)) {
        terminal.say(&terminal.bold(if flags.is("upgrade") {
            "Upgrading modules..."
        } else {
            "Initializing modules..."
        }));
        warnings.append(modules(place, flags.is("upgrade"), tests(flags), sources).await?);
    }
    let (tree, found) = session::load(place, Some(tests(flags)), sources);
    let Some(tree) = tree.filter(|_| !found.has_errors()) else {
        return Err(found);
    };
    warnings.append(found);
    terminal.say(&terminal.bold("Initializing provider plugins..."));
    providers(place, flags, terminal, &tree, sources).await?;
    Ok(warnings)
}

/// Whether runs of test files use modules of their own. What is wrong with the files is told when they are loaded.
fn tests_call(place: &Place, flags: &Flags) -> bool {
    let path = consort_infra::address::ModulePath::root();
    let mut unused = Sources::new();
    config::load_module(&place.directory, &path, Some(tests(flags)), &mut unused)
        .0
        .is_some_and(|module| {
            module
                .tests
                .values()
                .flat_map(|file| &file.runs)
                .any(|run| run.module.is_some())
        })
}

async fn providers(
    place: &Place,
    flags: &Flags,
    terminal: &Terminal,
    tree: &config::Tree,
    sources: &mut Sources,
) -> Result<(), Diagnostics> {
    let config = cli_config()?;
    let path = place.root().join(LOCK_FILE);
    let (locks, found) = Locks::read(&path, sources);
    if found.has_errors() {
        return Err(found);
    }
    let mut requirements = tree.requirements();
    // What the state was made with is needed as long as it is in there.
    if let Ok(backing) = place.backing_of(Some(&tree.module), sources, &LocalPaths::default())
        && let Ok(Some(state)) = backing.look().await
    {
        for resource in state.resources.values() {
            requirements
                .entry(resource.provider.provider.clone())
                .or_default();
        }
    }
    let mut installer = Installer::new(&config, &environment())
        .map_err(|failed| error("Failed to prepare for downloads", causes(&failed)))?;
    if !flags.all("plugin-dir").is_empty() {
        installer = installer.with_methods(
            flags
                .all("plugin-dir")
                .iter()
                .map(|directory| {
                    consort_infra::install::cli_config::Method::for_all(
                        consort_infra::install::cli_config::Location::FilesystemMirror(
                            PathBuf::from(directory),
                        ),
                    )
                })
                .collect(),
        );
    }
    let mode = if flags.is("upgrade") {
        Mode::Upgrade
    } else {
        Mode::Locked
    };
    let mut say = |event: Event| {
        crate::output::print(&format!("{}\n", announced(event)));
    };
    let target = place.data.join("providers");
    let (next, failures) = installer
        .install(&requirements, &locks, mode, &target, &mut say)
        .await;
    let mut problems = Diagnostics::new();
    for failure in failures {
        let summary = if failure.querying {
            "Failed to query available provider packages"
        } else {
            "Failed to install provider"
        };
        let doing = if failure.querying {
            "Could not retrieve the list of available versions for provider"
        } else {
            "Error while installing"
        };
        problems.append(error(
            summary,
            format!(
                "{doing} {}{}: {}",
                failure.provider.for_display(),
                failure
                    .version
                    .as_ref()
                    .map(|version| format!(" v{version}"))
                    .unwrap_or_default(),
                causes(&failure.error)
            ),
        ));
    }
    if problems.has_errors() {
        return Err(problems);
    }
    if next.text() == locks.text() {
        return Ok(());
    }
    if flags.text("lockfile") == Some("readonly") {
        return Err(error(
            "Provider dependency changes detected",
            "Changes to the required provider dependencies were detected, but the lock file is read-only. To \
             use and record these requirements, run \"terraform init\" without the \"-lockfile=readonly\" flag.",
        ));
    }
    let existed = path.exists();
    next.write(&path)
        .map_err(|failed| error("Failed to write the lock file", causes(&failed)))?;
    terminal.say(if existed {
        "The selections in the lock file .terraform.lock.hcl have changed: look at them and commit the file."
    } else {
        "The lock file .terraform.lock.hcl now records the selected versions: commit it, so that others get \
         the same ones."
    });
    Ok(())
}

fn announced(event: Event) -> String {
    match event {
        Event::BuiltIn(source) => format!("- {source} is built in to Terraform"),
        Event::Finding {
            provider,
            constraints,
            locked,
        } => match (locked, constraints.is_empty()) {
            (true, _) => format!(
                "- Reusing previous version of {} from the dependency lock file",
                provider.for_display()
            ),
            (false, true) => format!("- Finding latest version of {}...", provider.for_display()),
            (false, false) => format!(
                "- Finding {} versions matching \"{constraints}\"...",
                provider.for_display()
            ),
        },
        Event::Warning(source, text) => {
            format!(
                "- Warning of the registry about {}: {text}",
                source.for_display()
            )
        }
        Event::AlreadyInstalled {
            provider,
            version,
            from_cache,
        } => {
            let from = if from_cache {
                " from the shared cache directory"
            } else {
                ""
            };
            format!(
                "- Using previously-installed {} v{version}{from}",
                provider.for_display()
            )
        }
        Event::Installing(provider, version) => {
            format!("- Installing {} v{version}...", provider.for_display())
        }
        Event::Installed {
            provider,
            version,
            authentication,
        } => {
            let known = match &authentication {
                Authentication::Signed(key) => format!("{authentication}, key ID {key}"),
                _ => authentication.to_string(),
            };
            format!(
                "- Installed {} v{version} ({known})",
                provider.for_display()
            )
        }
    }
}

/// The arguments that `-backend-config` adds.
fn backend_config(flags: &Flags, sources: &mut Sources) -> Result<Map<String, Value>, Diagnostics> {
    let mut given = Map::new();
    for text in flags.all("backend-config") {
        if let Some((name, value)) = text.split_once('=')
            && !Path::new(text).exists()
        {
            given.insert(
                name.trim().to_owned(),
                Value::String(value.trim().to_owned()),
            );
            continue;
        }
        let bytes = std::fs::read(text).map_err(|failed| {
            error(
                "Failed to read file",
                format!("The file {text:?} could not be read: {failed}."),
            )
        })?;
        let (body, mut found) = if Path::new(text)
            .extension()
            .is_some_and(|kind| kind == "json")
        {
            consort_hcl::parse_json(sources, text.as_str(), &bytes)
        } else {
            consort_hcl::parse(sources, text.as_str(), &bytes)
        };
        let (attributes, more) = body.just_attributes();
        found.append(more);
        for (name, attribute) in attributes {
            let (value, more) = attribute.expr.evaluate_constant();
            found.append(more);
            let encoded = json::encode_simple(&value).ok();
            if let Some(value) = encoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                given.insert(name.to_string(), value);
            }
        }
        if found.has_errors() {
            return Err(found);
        }
    }
    Ok(given)
}

async fn backend(
    place: &Place,
    flags: &Flags,
    terminal: &Terminal,
    root: &Module,
) -> Result<(), Diagnostics> {
    let mut sources = Sources::new();
    let added = backend_config(flags, &mut sources)?;
    let before = place.record()?;
    let next = match &root.backend {
        None => {
            if !added.is_empty() {
                return Err(error(
                    "Missing backend configuration",
                    "-backend-config was used without a \"backend\" block in the configuration.",
                ));
            }
            None
        }
        Some(block) => {
            // What came by options before counts until it is given anew.
            let kept = match &before {
                Some(record)
                    if record.kind == *block.kind
                        && !flags.is("reconfigure")
                        && added.is_empty() =>
                {
                    record.config.clone()
                }
                _ => Map::new(),
            };
            let given = merged(&merged(&kept, &block_arguments(block)?), &added);
            Some(settings(&block.kind, &given, Some(block))?)
        }
    };
    let same = match (&before, &next) {
        (None, None) => true,
        (Some(record), Some(next)) => {
            record.kind == next.kind().name()
                && settings(&record.kind, &record.config, None)
                    .is_ok_and(|before| before.given() == next.given())
        }
        _ => false,
    };
    if same {
        return Ok(());
    }
    let target = next.clone().unwrap_or_else(Settings::local);
    if before.is_some()
        && !flags.is("reconfigure")
        && !flags.is("migrate-state")
        && !flags.is("force-copy")
    {
        return Err(error(
            "Backend configuration changed",
            "A change in the backend configuration has been detected, which may require migrating existing \
             state.\n\nIf you wish to attempt automatic migration of the state, use \"terraform init \
             -migrate-state\".\nIf you wish to store the current configuration with no changes to the state, \
             use \"terraform init -reconfigure\".",
        ));
    }
    if !flags.is("reconfigure") {
        let source = match &before {
            Some(record) => settings(&record.kind, &record.config, None)?,
            None => Settings::local(),
        };
        migrate(place, flags, terminal, source, target).await?;
    }
    place.remember(next.as_ref())?;
    if let Some(next) = next {
        terminal.say(&terminal.green(&format!(
            "\nSuccessfully configured the backend {:?}! Terraform will automatically\nuse this backend unless \
             the backend configuration changes.",
            next.kind().name()
        )));
    }
    Ok(())
}

/// Copies the states of one backend to another, after asking.
async fn migrate(
    place: &Place,
    flags: &Flags,
    terminal: &Terminal,
    source: Settings,
    target: Settings,
) -> Result<(), Diagnostics> {
    let (from_kind, to_kind) = (source.kind(), target.kind());
    let paths = LocalPaths::default();
    let mut sources = Sources::new();
    let module = place.root_module(&mut sources)?;
    let encryption = super::encryption::load(place, module.as_ref(), &mut sources)?;
    let mut from = place.open(source, &paths, encryption.clone())?;
    let mut to = place.open(target, &paths, encryption)?;
    let names = match from.backend.workspaces().await {
        Ok(names) => names,
        Err(consort_backend::Error::OneWorkspace) => {
            vec![consort_backend::DEFAULT_WORKSPACE.to_owned()]
        }
        Err(failed) => return Err(error("Failed to list workspaces", causes(&failed))),
    };
    let mut states = Vec::new();
    for name in names {
        name.clone_into(&mut from.workspace);
        if let Some(state) = from.look().await?.filter(|state| !state.is_empty()) {
            states.push((name, state));
        }
    }
    if states.is_empty() {
        return Ok(());
    }
    let agreed = flags.is("force-copy")
        || terminal
            .ask(
                "Do you want to copy existing state to the new backend?",
                &format!(
                    "Pre-existing state was found while migrating the previous {:?} backend to the\nnewly \
                     configured {:?} backend. Do you want to copy this state to the new\nbackend? Enter \"yes\" \
                     to copy and \"no\" to start with an empty state.",
                    from_kind.name(),
                    to_kind.name()
                ),
                "Enter a value:",
            )
            .is_some_and(|answer| answer == "yes");
    if !agreed {
        if terminal.asks() {
            return Ok(());
        }
        return Err(error(
            "State would be left behind",
            "There is state in the previous backend and nobody to ask: use -force-copy to copy it or \
             -reconfigure to leave it.",
        ));
    }
    let locking = Locking::of(flags)
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
    for (name, state) in states {
        copy(&mut to, name, &state, locking).await?;
    }
    if from_kind == Kind::Local {
        terminal.say("The state was copied; the files it was in are left as they are.");
    }
    Ok(())
}

async fn copy(
    to: &mut Backing,
    name: String,
    state: &consort_infra::state::State,
    locking: Locking,
) -> Result<(), Diagnostics> {
    to.workspace = name;
    let held = to.hold("init", locking).await?;
    let occupied = held
        .read
        .as_ref()
        .is_some_and(|there| !there.is_empty() && there.lineage != state.lineage);
    let done = if occupied {
        Err(error(
            "Both backends hold state",
            format!(
                "The new backend already holds another state for workspace {:?}: it is not overwritten. Decide \
                 with \"state pull\" and \"state push\" which one counts.",
                to.workspace
            ),
        ))
    } else {
        held.snapshots
            .write(state.write().into_bytes())
            .await
            .map_err(|failed| error("Failed to save state", causes(&failed)))
    };
    held.release().await?;
    done
}
