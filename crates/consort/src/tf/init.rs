//! `init` and `get`: modules, the backend, providers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use consort_backend::{Kind, LocalPaths, Settings};
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Sources, json};
use consort_infra::address::ProviderSource;
use consort_infra::config::{self, Module};
use consort_infra::install::{
    Authentication, Event, Http, Installer, LOCK_FILE, Locks, Mode, ModuleEvent, ModuleInstaller,
    Platform,
};
use serde_json::{Map, Value};

use super::flags::{Flag, Flags, many, on, one, switch};
use super::operation::tell;
use super::place::{
    Backing, Locking, Place, block_arguments, causes, error, locking_of, merged, settings,
};
use super::session::{self, cli_config, environment};
use super::terminal::Terminal;
use super::view::View;
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
                "Copy a module into this empty directory first.",
            ),
            on("get", "Do not install modules."),
            on("input", "Do not ask for anything."),
            switch("json", "What is done as lines of JSON; asks for nothing."),
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
    said: &Said,
) -> Result<Diagnostics, Diagnostics> {
    let http = Http::new(cli_config()?)
        .map_err(|failed| error("Failed to prepare for downloads", causes(&failed)))?;
    let mut say = |event: ModuleEvent| {
        let text = told(event);
        said.log(&text, &text);
    };
    let mut installer = ModuleInstaller {
        directory: &place.modules(),
        http: Some(&http),
        base: None,
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
        &Said::new(terminal.clone(), false),
    ));
    let (Ok(diagnostics) | Err(diagnostics)) = &done;
    terminal.diagnose(diagnostics, &sources);
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What is said while a directory is prepared: lines for people, or JSON for programs.
struct Said {
    terminal: Terminal,
    view: Option<std::sync::Arc<View>>,
}

impl Said {
    fn new(terminal: Terminal, json: bool) -> Said {
        let view = json.then(|| View::new(terminal.clone(), true));
        Said { terminal, view }
    }

    /// A message with the code that programs know it by.
    fn output(&self, code: &str, text: &str) {
        match &self.view {
            Some(view) => view.emit(
                "info",
                text.trim_start(),
                "init_output",
                serde_json::json!({ "message_code": code }),
            ),
            None => self.terminal.say(text),
        }
    }

    /// A step, in the words for people and those for programs.
    fn log(&self, text: &str, json: &str) {
        match &self.view {
            Some(view) => view.emit("info", json, "log", serde_json::json!({})),
            None => self.terminal.say(text),
        }
    }

    fn diagnose(&self, diagnostics: &Diagnostics, sources: &Sources) {
        match &self.view {
            Some(view) => {
                tell(view, &self.terminal, diagnostics, sources);
            }
            None => {
                self.terminal.diagnose(diagnostics, sources);
            }
        }
    }
}

const DONE: &str = "You may now begin working with Terraform. Try running \"terraform plan\" to see\nany changes that are \
                    required for your infrastructure. All Terraform commands\nshould now work.\n\nIf you ever set or \
                    change modules or backend configuration for Terraform,\nrerun this command to reinitialize your \
                    working directory. If you forget, other\ncommands will detect it and remind you to do so if \
                    necessary.";

fn init(flags: &Flags) -> ExitCode {
    let json = flags.is("json");
    let terminal = Terminal::new(flags.is("no-color") || json, flags.stays("input") && !json);
    let said = Said::new(terminal, json);
    let mut sources = Sources::new();
    let refuse = |diagnostics: Diagnostics, sources: &Sources| {
        said.diagnose(&diagnostics, sources);
        ExitCode::FAILURE
    };
    if flags.is("reconfigure") && flags.is("migrate-state") {
        let wrong = error(
            "Invalid init options",
            "The -migrate-state and -reconfigure options are mutually-exclusive.",
        );
        return refuse(wrong, &sources);
    }
    let place = Place::here();
    if let Some(source) = flags
        .text("from-module")
        .filter(|source| !source.is_empty())
    {
        match from_module(&place, source, &said) {
            Ok(()) => {}
            Err(FromModule::NotEmpty) => {
                said.terminal.complain(
                    "Error: The working directory already contains files. The -from-module option requires\nan empty \
                     directory into which a copy of the referenced module will be placed.\n\nTo initialize the \
                     configuration already in this working directory, omit the\n-from-module option.\n",
                );
                return ExitCode::FAILURE;
            }
            Err(FromModule::Failed(diagnostics)) => return refuse(diagnostics, &sources),
        }
    }
    match wait(initialize(&place, flags, &said, &mut sources)) {
        Ok(diagnostics) => {
            said.diagnose(&diagnostics, &sources);
            if config::is_module_directory(place.root()) {
                let terminal = &said.terminal;
                said.output(
                    "output_init_success_message",
                    &terminal.green("\nTerraform has been successfully initialized!"),
                );
                let automated =
                    std::env::var("TF_IN_AUTOMATION").is_ok_and(|value| !value.is_empty());
                if !automated {
                    said.output("output_init_success_cli_message", &format!("\n{DONE}"));
                }
            }
            ExitCode::SUCCESS
        }
        Err(diagnostics) => refuse(diagnostics, &sources),
    }
}

/// Whether the root module, as far as it can be read, calls others: what is wrong comes up while those are
/// installed then.
fn calls_modules(place: &Place, sources: &mut Sources) -> bool {
    let (tree, _) = session::load(place, None, sources);
    tree.is_some_and(|tree| !tree.module.module_calls.is_empty())
}

/// What is wrong with a configuration, after the word that nothing can be installed before that is right.
fn unreadable(found: Diagnostics) -> Diagnostics {
    let version =
        |one: &consort_hcl::Diagnostic| one.summary == "Unsupported Terraform Core version";
    if found.iter().any(version) {
        return found;
    }
    let mut all = error(
        "Terraform encountered problems during initialisation, including problems\nwith the configuration, described \
         below.\n\nThe Terraform configuration must be valid before initialization so that\nTerraform can determine which \
         modules and providers need to be installed.",
        String::new(),
    );
    all.append(found);
    all
}

enum FromModule {
    NotEmpty,
    Failed(Diagnostics),
}

/// Copies a module into this directory, which must be empty.
fn from_module(place: &Place, source: &str, said: &Said) -> Result<(), FromModule> {
    let failed = |why: String| FromModule::Failed(error("Failed to copy source module", why));
    let entries = std::fs::read_dir(place.root()).map_err(|wrong| failed(wrong.to_string()))?;
    let mut empty = true;
    for entry in entries.flatten() {
        let name = entry.file_name();
        // What a provider mirror or this command itself leaves does not count.
        empty &= name == ".terraform" || name == "terraform.tfvars" || name == ".terraformrc";
    }
    if !empty {
        return Err(FromModule::NotEmpty);
    }
    said.output(
        "copying_configuration_message",
        &said
            .terminal
            .bold(&format!("Copying configuration from {source:?}...\n")),
    );
    let scratch = std::env::temp_dir().join(format!("consort-from-module-{}", std::process::id()));
    let done = fetch_module(source, &scratch, place.root());
    // What is left of it is in the directory for temporary files.
    let _ = std::fs::remove_dir_all(&scratch);
    done.map_err(FromModule::Failed)
}

/// Fetches a module as a call of it would, and copies its directory.
fn fetch_module(source: &str, scratch: &Path, target: &Path) -> Result<(), Diagnostics> {
    let failed = |doing: &str, path: &Path, wrong: &dyn std::fmt::Display| {
        error(
            "Failed to copy source module",
            format!("{doing} {}: {wrong}.", path.display()),
        )
    };
    // A path is one from here, and not from where the call stands.
    let local = Path::new(source);
    let directory = if local.is_dir() {
        local.to_owned()
    } else {
        std::fs::create_dir_all(scratch).map_err(|wrong| failed("Creating", scratch, &wrong))?;
        let quoted = serde_json::to_string(source)
            .unwrap_or_default()
            .replace("${", "$${");
        let call = scratch.join("main.tf");
        std::fs::write(
            &call,
            format!("module \"root\" {{\n  source = {quoted}\n}}\n"),
        )
        .map_err(|wrong| failed("Writing", &call, &wrong))?;
        let http = Http::new(cli_config()?)
            .map_err(|failed| error("Failed to prepare for downloads", causes(&failed)))?;
        let modules = scratch.join("modules");
        let mut quiet = |_: ModuleEvent| {};
        let mut installer = ModuleInstaller {
            directory: &modules,
            http: Some(&http),
            base: None,
            upgrade: false,
            events: &mut quiet,
        };
        let mut sources = Sources::new();
        let (manifest, diagnostics) = wait(installer.install(scratch, None, &mut sources));
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let path = consort_infra::address::ModulePath::root().child("root");
        match manifest.get(&path) {
            Some(record) => record.directory.clone(),
            None => {
                return Err(error(
                    "Failed to copy source module",
                    "It was not installed.",
                ));
            }
        }
    };
    copy_directory(&directory, target).map_err(|wrong| failed("Copying", &directory, &wrong))
}

/// Copies what is in a directory, without what version control and this program keep there.
fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == ".terraform" || name == ".git" || name == "terraform.tfstate" {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

async fn initialize(
    place: &Place,
    flags: &Flags,
    said: &Said,
    sources: &mut Sources,
) -> Result<Diagnostics, Diagnostics> {
    let terminal = &said.terminal;
    let mut warnings = Diagnostics::new();
    if !config::is_module_directory(place.root()) {
        said.output(
            "output_init_empty_message",
            "Terraform initialized in an empty directory!\n\nThe directory has no Terraform configuration files. You \
             may begin working\nwith Terraform immediately by creating Terraform configuration files.",
        );
        return Ok(warnings);
    }
    if flags.stays("backend") {
        said.output(
            "initializing_backend_message",
            &terminal.bold("Initializing the backend..."),
        );
    }
    let root = match place.root_module(sources) {
        Ok(root) => root,
        Err(found) if calls_modules(place, sources) => return Err(found),
        Err(found) => return Err(unreadable(found)),
    };
    let Some(root) = root else {
        return Ok(warnings);
    };
    if flags.stays("backend") {
        backend(place, flags, said, &root).await?;
    }
    if flags.stays("get") && (!root.module_calls.is_empty() || tests_call(place, flags)) {
        let (code, text) = if flags.is("upgrade") {
            ("upgrading_modules_message", "Upgrading modules...")
        } else {
            ("initializing_modules_message", "Initializing modules...")
        };
        said.output(code, &terminal.bold(text));
        warnings.append(modules(place, flags.is("upgrade"), tests(flags), sources, said).await?);
    }
    let (tree, found) = session::load(place, Some(tests(flags)), sources);
    let Some(tree) = tree.filter(|_| !found.has_errors()) else {
        return Err(unreadable(found));
    };
    warnings.append(found);
    said.output(
        "initializing_provider_plugin_message",
        &terminal.bold("Initializing provider plugins..."),
    );
    warnings.append(providers(place, flags, said, &tree, sources).await?);
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
    said: &Said,
    tree: &config::Tree,
    sources: &mut Sources,
) -> Result<Diagnostics, Diagnostics> {
    let config = cli_config()?;
    let path = place.root().join(LOCK_FILE);
    let (locks, found) = Locks::read(&path, sources);
    if found.has_errors() {
        return Err(found);
    }
    let mut requirements = tree.requirements();
    // What the state was made with is needed as long as it is in there.
    if flags.stays("backend") {
        let backing = place.backing_of(Some(&tree.module), sources, &LocalPaths::default())?;
        let state = backing.look().await.map_err(|mut found| {
            for diagnostic in &mut found {
                diagnostic.summary = format!("Error refreshing state: {}", diagnostic.summary);
            }
            found
        })?;
        for resource in state.iter().flat_map(|state| state.resources.values()) {
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
    // Providers of which only what is here was seen, so that the lock file says nothing of other platforms.
    let mut unsigned = Vec::new();
    let mut say = |event: Event| {
        if let Event::Installed {
            provider,
            authentication: Authentication::None | Authentication::Checksum,
            ..
        } = &event
        {
            unsigned.push(provider.clone());
        }
        let json = logged(&event);
        said.log(&announced(event), &json);
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
                "{doing} {}{}: {}{}",
                failure.provider.for_display(),
                failure
                    .version
                    .as_ref()
                    .map(|version| format!(" v{version}"))
                    .unwrap_or_default(),
                causes(&failure.error),
                if failure.querying {
                    format!(
                        "\n\nTo see which modules are currently depending on {} and what versions are specified, run \
                         the following command:\n    terraform providers",
                        failure.provider.for_display()
                    )
                } else {
                    String::new()
                }
            ),
        ));
    }
    if problems.has_errors() {
        return Err(problems);
    }
    if next.text() == locks.text() {
        return Ok(Diagnostics::new());
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
    if existed {
        said.output(
            "dependencies_lock_changes_info",
            "\nTerraform has made some changes to the provider dependency selections recorded\nin the .terraform.lock.hcl \
             file. Review those changes and commit them to your\nversion control system if they represent changes you \
             intended to make.",
        );
    } else {
        said.output(
            "lock_info",
            "Terraform has created a lock file .terraform.lock.hcl to record the provider\nselections it made above. \
             Include this file in your version control repository\nso that Terraform can guarantee to make the same \
             selections by default when\nyou run \"terraform init\" in the future.",
        );
    }
    Ok(incomplete(&unsigned, &locks, &next))
}

/// The warning that the lock file knows of this platform's packages alone.
fn incomplete(unsigned: &[ProviderSource], before: &Locks, after: &Locks) -> Diagnostics {
    let mut names: Vec<String> = unsigned
        .iter()
        .filter(|provider| {
            // What was locked before for other platforms too is complete enough.
            !before.0.contains_key(*provider)
                && after
                    .0
                    .get(*provider)
                    .is_some_and(|lock| lock.hashes.len() == 1)
        })
        .map(|provider| format!("  - {}", provider.for_display()))
        .collect();
    names.sort();
    let mut diagnostics = Diagnostics::new();
    if !names.is_empty() {
        let platform = Platform::current();
        diagnostics.push(consort_hcl::Diagnostic::warning(
            "Incomplete lock file information for providers",
            format!(
                "Due to your customized provider installation methods, Terraform was forced to calculate lock file \
                 checksums locally for the following providers:\n{}\n\nThe current .terraform.lock.hcl file only \
                 includes checksums for {platform}, so Terraform running on another platform will fail to install \
                 these providers.\n\nTo calculate additional checksums for another platform, run:\n  terraform \
                 providers lock -platform=linux_amd64\n(where linux_amd64 is the platform to generate)",
                names.join("\n")
            ),
        ));
    }
    diagnostics
}

/// An event in the words for programs.
fn logged(event: &Event) -> String {
    match event {
        Event::BuiltIn(source) => format!("{source} is built in to Terraform"),
        Event::Finding {
            provider,
            constraints,
            locked,
        } => {
            let provider = provider.for_display();
            match (locked, constraints.is_empty()) {
                (true, _) => {
                    format!("{provider}: Reusing previous version from the dependency lock file")
                }
                (false, true) => format!("{provider}: Finding latest version..."),
                (false, false) => format!(
                    "Finding matching versions for provider: {provider}, version_constraint: {constraints:?}"
                ),
            }
        }
        Event::Warning(source, text) => {
            format!("registry warning: {}: {text}", source.for_display())
        }
        Event::AlreadyInstalled {
            provider, version, ..
        } => format!(
            "{} v{version}: Using previously-installed provider version",
            provider.for_display()
        ),
        Event::Installing(provider, version) => format!(
            "Installing provider version: {} v{version}...",
            provider.for_display()
        ),
        Event::Installed {
            provider,
            version,
            authentication,
        } => {
            let known = match authentication {
                Authentication::Signed(key) => format!("{authentication}, key ID {key}"),
                _ => authentication.to_string(),
            };
            format!(
                "Installed provider version: {} v{version} ({known})",
                provider.for_display()
            )
        }
    }
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
    said: &Said,
    root: &Module,
) -> Result<(), Diagnostics> {
    let terminal = &said.terminal;
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
    // What the block itself says, of the types it is taken as: by that alone Terraform tells whether it has changed.
    let own = match (&root.backend, &next) {
        (Some(block), Some(next)) => {
            let written = block_arguments(block)?;
            let mut own = next.given().clone();
            own.retain(|name, _| written.contains_key(name) && !added.contains_key(name));
            own
        }
        _ => Map::new(),
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
        // The record may be one from before its hash was that of Terraform.
        return next
            .as_ref()
            .map_or(Ok(()), |next| place.remember(Some(next), &own));
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
    place.remember(next.as_ref(), &own)?;
    if let Some(next) = next {
        said.output(
            "backend_configured_success",
            &terminal.green(&format!(
                "\nSuccessfully configured the backend {:?}! Terraform will automatically\nuse this backend unless \
                 the backend configuration changes.",
                next.kind().name()
            )),
        );
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
    let locking = locking_of(flags)
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
