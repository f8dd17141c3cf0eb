//! `import`: takes an object that exists over into the state.

use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::{Key, Mode, ResourceInstance, Target};
use consort_infra::config::{self, Tree};
use consort_infra::engine::{Event, Watcher, import};
use tokio_util::sync::CancellationToken;

use super::flags::{Flags, many, on, one, switch};
use super::place::{Place, causes, error, local_paths, locking_of};
use super::session::{self, Session};
use super::terminal::Terminal;
use super::view::View;
use super::{Command, LOCAL, LOCK, NO_COLOUR, wait};

pub(super) const COMMAND: Command = Command {
    name: "import",
    usage: "[options] ADDR ID",
    short: "Associate existing infrastructure with a Terraform resource",
    about: "Finds an object by the id its provider knows it by, and records it in the state at an address whose \
            resource block exists. Nothing is changed but the state.",
    flags: &[
        &[
            one(
                "config",
                "path",
                "Directory of the configuration (the present one).",
            ),
            switch(
                "allow-missing-config",
                "Not supported: the resource block must exist.",
            ),
            on("input", "Do not ask for anything."),
            one("parallelism", "n", "How many things are done at once (10)."),
            many("var", "'name=value'", "Set a variable of the root module."),
            many("var-file", "file", "Set variables as a file says."),
            switch("ignore-remote-version", "Taken and of no effect."),
        ],
        LOCK,
        LOCAL,
        NO_COLOUR,
    ],
    run,
};

/// Tells of an import in the words of the command; the rest is told as ever.
struct Telling {
    terminal: Terminal,
    view: Arc<View>,
}

impl Watcher for Telling {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::ImportStart { address, id } => self.terminal.say(
                &self
                    .terminal
                    .bold(&format!("{address}: Importing from ID {id:?}...")),
            ),
            Event::ImportDone { address, .. } => {
                let first = self.terminal.green(&format!("{address}: Import prepared!"));
                self.terminal.say(&format!(
                    "{first}\n  Prepared {} for import",
                    address.resource.kind
                ));
            }
            other => self.view.event(other),
        }
    }
}

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color"), flags.stays("input"));
    let [address, id] = flags.rest.as_slice() else {
        terminal.complain("The import command expects two arguments.");
        terminal.complain(&super::help(&COMMAND));
        return ExitCode::FAILURE;
    };
    let mut sources = Sources::new();
    let address = match parsed(address, &mut sources) {
        Ok(address) => address,
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            terminal.say(
                "For information on valid syntax, see:\nhttps://developer.hashicorp.com/terraform/cli/state/resource-addressing",
            );
            return ExitCode::FAILURE;
        }
    };
    if address.resource.mode != Mode::Managed {
        terminal.error(
            "A managed resource address is required. Importing into a data resource is not allowed.",
            "",
        );
        return ExitCode::FAILURE;
    }
    if flags.is("allow-missing-config") {
        terminal.error(
            "Unsupported option",
            "The option -allow-missing-config was removed from Terraform: write the resource block, or use an \
             import block with \"plan -generate-config-out\".",
        );
        return ExitCode::FAILURE;
    }
    match wait(imported(flags, &terminal, &address, id, &mut sources)) {
        Ok(()) => {
            terminal.say(&terminal.green(
                "\nImport successful!\n\nThe resources that were imported are shown above. These resources are now \
                 in\nyour Terraform state and will henceforth be managed by Terraform.\n",
            ));
            ExitCode::SUCCESS
        }
        Err(Refused::Problems(diagnostics)) => {
            terminal.diagnose(&diagnostics, &sources);
            ExitCode::FAILURE
        }
        Err(Refused::Said(text)) => {
            terminal.complain(&text);
            ExitCode::FAILURE
        }
    }
}

fn parsed(text: &str, sources: &mut Sources) -> Result<ResourceInstance, Diagnostics> {
    let (traversal, found) = consort_hcl::parse_traversal(sources, "<import-address>", text);
    let Some(traversal) = traversal.filter(|_| !found.has_errors()) else {
        return Err(found);
    };
    match text.parse::<Target>() {
        Ok(Target::Instance(instance)) => Ok(instance),
        Ok(Target::Resource(resource)) => Ok(resource.instance(Key::None)),
        Ok(Target::Module(_)) => {
            let mut diagnostics = Diagnostics::new();
            diagnostics.push(
                consort_hcl::Diagnostic::error(
                    "Invalid address",
                    "A resource instance address is required here. The module path must be followed by a resource \
                     instance specification.",
                )
                .at(traversal.range()),
            );
            Err(diagnostics)
        }
        Err(wrong) => {
            let mut diagnostics = Diagnostics::new();
            diagnostics.push(
                consort_hcl::Diagnostic::error("Invalid address", format!("{}.", causes(&wrong)))
                    .at(traversal.range()),
            );
            Err(diagnostics)
        }
    }
}

/// Whether there is a block for what is to be imported.
fn check_block(tree: &Tree, address: &ResourceInstance) -> Result<(), Refused> {
    let target = address.config();
    let Some(module) = tree.at(&target.module) else {
        return Err(error(
            "Import to non-existent module",
            format!(
                "{} is not defined in the configuration. Please add configuration for this module before importing \
                 into it.",
                target.module
            ),
        )
        .into());
    };
    if module.module.resources.contains_key(&target.resource) {
        return Ok(());
    }
    let place = if target.module.is_root() {
        "the root module".to_owned()
    } else {
        target.module.to_string()
    };
    Err(Refused::Said(format!(
        "Error: resource address {:?} does not exist in the configuration.\n\nBefore importing this resource, please \
         create its configuration in {place}. For example:\n\nresource {:?} {:?} {{\n  # (resource arguments)\n}}\n",
        target.to_string(),
        &*target.resource.kind,
        &*target.resource.name
    )))
}

/// Why nothing is imported.
enum Refused {
    Problems(Diagnostics),
    /// In so many words.
    Said(String),
}

impl From<Diagnostics> for Refused {
    fn from(diagnostics: Diagnostics) -> Refused {
        Refused::Problems(diagnostics)
    }
}

async fn imported(
    flags: &Flags,
    terminal: &Terminal,
    address: &ResourceInstance,
    id: &str,
    sources: &mut Sources,
) -> Result<(), Refused> {
    let place = Place::here();
    let configured = Place {
        directory: flags.text("config").map(Into::into).unwrap_or_default(),
        ..place.clone()
    };
    if !config::is_module_directory(configured.root()) {
        let directory = std::env::current_dir()
            .unwrap_or_default()
            .join(&configured.directory);
        return Err(error(
            "No Terraform configuration files",
            format!(
                "The directory {} does not contain any Terraform configuration files (.tf or .tf.json). To specify \
                 a different configuration directory, use the -config=\"...\" command line option.",
                directory.display()
            ),
        )
        .into());
    }
    let (tree, mut diagnostics) = session::load(&configured, None, sources);
    let Some(tree) = tree.filter(|_| !diagnostics.has_errors()) else {
        return Err(diagnostics.into());
    };
    diagnostics.append(config::check_references(&tree));
    if diagnostics.has_errors() {
        return Err(diagnostics.into());
    }
    check_block(&tree, address)?;
    let locking = locking_of(flags)
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
    let parallelism = flags
        .number("parallelism")
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
    let (variables, found) = session::variables(&configured, flags, &tree, terminal, sources);
    diagnostics.append(found);
    if diagnostics.has_errors() {
        return Err(diagnostics.into());
    }
    let backing = place.backing_of(Some(&tree.module), sources, &local_paths(flags))?;
    let mut held = backing.hold("import", locking).await?;
    let used: std::collections::BTreeSet<_> = held
        .state
        .resources
        .values()
        .map(|resource| resource.provider.provider.clone())
        .collect();
    let worked = async {
        let providers = session::installed(&place, &tree, used, sources)?;
        let session = Session {
            tree,
            sources: sources.clone(),
            providers,
            provisioners: consort_infra::provisioner::Builtin,
            functions: session::language(true, ""),
            variables: variables.values,
            given: variables.given,
            workspace: place.workspace().0,
            parallelism: parallelism.unwrap_or(10).max(1) as usize,
        };
        let telling = Telling {
            terminal: terminal.clone(),
            view: View::new(terminal.clone(), false),
        };
        let input = session.input(&telling, CancellationToken::new());
        let (state, found) = import(&input, &held.state, address, id).await;
        match state {
            Some(state) if !found.has_errors() => Ok((state, found)),
            _ => Err(found),
        }
    }
    .await;
    let saved = match worked {
        Ok((state, found)) => {
            diagnostics.append(found);
            held.save(&state).await
        }
        Err(found) => Err(found),
    };
    held.release().await?;
    saved?;
    terminal.diagnose(&diagnostics, sources);
    Ok(())
}
