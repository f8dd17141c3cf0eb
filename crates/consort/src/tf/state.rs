//! `state list|show|mv|rm|pull|push|replace-provider`, `taint`, `untaint` and `force-unlock`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use consort_backend::Kind;
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::{Marks, Sources, Value, json};
use consort_infra::address::{Key, Mode, ProviderSource, ResourceInstance, Target};
use consort_infra::config::parse_provider_source;
use consort_infra::engine::Providers as _;
use consort_infra::provider::schema::{Attribute, Block, Kind as SchemaKind, ResourceSchema};
use consort_infra::render::{Paths, Text, attributes};
use consort_infra::state::{MarkError, Object, PathStep, State, Status};

use super::flags::{Flag, Flags, one, switch};
use super::place::{Backing, Held, Locking, Place, causes, decode, error, local_paths};
use super::terminal::Terminal;
use super::{Command, LOCAL, LOCK, NO_COLOUR, VERSION, wait};

const STATE: &[Flag] = &[one(
    "state",
    "path",
    "State file to read; for the local backend only.",
)];
const DRY_RUN: &[Flag] = &[switch("dry-run", "Only tell what would be done.")];
const APPROVE: &[Flag] = &[switch("auto-approve", "Do not ask before doing it.")];
const MISSING: &[Flag] = &[switch(
    "allow-missing",
    "Succeed also when there is no such instance.",
)];
const REMOTE: &[Flag] = &[switch(
    "ignore-remote-version",
    "Taken and of no effect: no backend here runs a version of its own.",
)];

pub(super) const LIST: Command = Command {
    name: "state list",
    usage: "[options] [ADDRESS...]",
    short: "List what the state holds",
    about: "Lists the resource instances of the state, or those that the addresses match.",
    flags: &[
        STATE,
        &[one(
            "id",
            "ID",
            "Only instances whose attribute id is this.",
        )],
    ],
    run: list,
};

pub(super) const SHOW: Command = Command {
    name: "state show",
    usage: "[options] ADDRESS",
    short: "Show one resource instance of the state",
    about: "Shows the attributes of one resource instance as the state holds them.",
    flags: &[STATE, NO_COLOUR],
    run: show,
};

pub(super) const MV: Command = Command {
    name: "state mv",
    usage: "[options] SOURCE DESTINATION",
    short: "Move something in the state",
    about: "Gives a resource instance, a resource or a module another address, in this state or in another \
            state file. What was before is kept in a backup.",
    flags: &[
        DRY_RUN,
        LOCK,
        LOCAL,
        &[one(
            "backup-out",
            "path",
            "Where to keep the other state from before.",
        )],
        REMOTE,
    ],
    run: mv,
};

pub(super) const RM: Command = Command {
    name: "state rm",
    usage: "[options] ADDRESS...",
    short: "Forget something the state holds",
    about: "Takes what the addresses match out of the state. The objects themselves stay as they are, and \
            nobody manages them any more.",
    flags: &[DRY_RUN, LOCK, LOCAL, REMOTE],
    run: rm,
};

pub(super) const PULL: Command = Command {
    name: "state pull",
    usage: "",
    short: "Print the state as it is stored",
    about: "Prints the newest snapshot of the state, from wherever the backend keeps it.",
    flags: &[],
    run: pull,
};

pub(super) const PUSH: Command = Command {
    name: "state push",
    usage: "[options] PATH",
    short: "Store a state file",
    about: "Makes a state file the newest snapshot. A file of another lineage or an older serial is refused \
            unless forced. - reads standard input.",
    flags: &[
        &[switch(
            "force",
            "Also if lineage or serial speak against it.",
        )],
        LOCK,
        REMOTE,
    ],
    run: push,
};

pub(super) const REPLACE_PROVIDER: Command = Command {
    name: "state replace-provider",
    usage: "[options] FROM TO",
    short: "Give resources to another provider",
    about: "Gives the resources of one provider to another one that takes its place.",
    flags: &[APPROVE, LOCK, LOCAL, REMOTE],
    run: replace_provider,
};

pub(super) const TAINT: Command = Command {
    name: "taint",
    usage: "[options] ADDRESS",
    short: "Mark an instance to be replaced",
    about: "Marks a resource instance as not fully working: the next plan replaces it.",
    flags: &[MISSING, LOCK, LOCAL, REMOTE],
    run: taint,
};

pub(super) const UNTAINT: Command = Command {
    name: "untaint",
    usage: "[options] ADDRESS",
    short: "Take that mark away",
    about: "Takes the mark for replacement from a resource instance.",
    flags: &[MISSING, LOCK, LOCAL, REMOTE],
    run: untaint,
};

pub(super) const FORCE_UNLOCK: Command = Command {
    name: "force-unlock",
    usage: "[options] LOCK_ID",
    short: "Remove a lock that was left behind",
    about: "Removes the lock of the selected workspace's state. The lock of a local state ends with the \
            process that holds it and cannot be removed by another.",
    flags: &[&[switch("force", "Do not ask.")]],
    run: force_unlock,
};

/// What was done, or why not.
type Done = Result<String, Diagnostics>;

fn finish(terminal: &Terminal, done: Done, sources: &Sources) -> ExitCode {
    match done {
        Ok(text) => {
            if !text.is_empty() {
                crate::output::print(&text);
            }
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, sources);
            ExitCode::FAILURE
        }
    }
}

fn plain() -> Terminal {
    Terminal::new(false, true)
}

fn usage(command: &Command, problem: &str) -> ExitCode {
    plain().complain(&format!("{problem}\n\n{}", super::help(command)));
    ExitCode::FAILURE
}

fn target(text: &str) -> Result<Target, Diagnostics> {
    text.parse()
        .map_err(|wrong| error("Invalid address", format!("{}.", causes(&wrong))))
}

async fn look(flags: &Flags, sources: &mut Sources) -> Result<Option<State>, Diagnostics> {
    Place::here()
        .backing(sources, &local_paths(flags))?
        .look()
        .await
}

const NO_STATE: &str = "No state file was found!\n\nState management commands require a state file. Run this \
                        command\nin a directory where Terraform has been run or use the -state flag\nto point \
                        the command to a specific state location.";

fn list(flags: &Flags) -> ExitCode {
    let terminal = plain();
    let mut sources = Sources::new();
    let done = wait(async {
        let Some(state) = look(flags, &mut sources).await? else {
            return Err(error(
                "No state file was found!",
                NO_STATE.split_once("\n\n").map_or("", |(_, t)| t),
            ));
        };
        let mut shown = Vec::new();
        let mut problems = Diagnostics::new();
        if flags.rest.is_empty() {
            shown = state.matching(None);
        }
        for text in &flags.rest {
            let wanted = target(text)?;
            let found = state.matching(Some(&wanted));
            if found.is_empty() {
                let (summary, what) = match &wanted {
                    Target::Module(module) => ("Unknown module", format!("module {module}")),
                    Target::Resource(resource) => {
                        ("Unknown resource", format!("resource {resource}"))
                    }
                    Target::Instance(instance) => (
                        "Unknown resource instance",
                        format!("resource instance {instance}"),
                    ),
                };
                problems.append(error(
                    summary,
                    format!(
                        "The current state contains no {what}. If it was just added to the configuration, \
                         \"apply\" brings it into the state."
                    ),
                ));
            }
            shown.extend(found);
        }
        if problems.has_errors() {
            return Err(problems);
        }
        let mut text = String::new();
        for instance in shown {
            let matches = flags.text("id").is_none_or(|id| {
                state
                    .instance(&instance)
                    .and_then(|found| found.current.as_deref())
                    .and_then(|object| {
                        serde_json::from_str::<serde_json::Value>(&object.attributes).ok()
                    })
                    .is_some_and(|attributes| attributes["id"].as_str() == Some(id))
            });
            if matches {
                text.push_str(&format!("{instance}\n"));
            }
        }
        Ok(text)
    });
    finish(&terminal, done, &sources)
}

/// An object as the state holds it, with its type's schema if the provider is at hand. Without one types come from
/// the JSON, and what the state marks as sensitive is hidden all the same.
pub(super) fn object_text(
    terminal: &Terminal,
    address: &ResourceInstance,
    object: &Object,
    deposed: Option<&str>,
    schema: Option<&ResourceSchema>,
) -> Result<String, Diagnostics> {
    let known = schema
        .filter(|schema| schema.version.cast_unsigned() == object.schema_version)
        .and_then(|schema| {
            let ty = schema.block.implied_type();
            let value = json::decode(object.attributes.as_bytes(), &ty).ok()?;
            Some((schema.block.clone(), value))
        });
    let (schema, value) = match known {
        Some((block, value)) => (block, hidden(value, object)),
        None => untyped(object)?,
    };
    let mode = match address.resource.mode {
        Mode::Managed => "resource",
        Mode::Data => "data",
        Mode::Ephemeral => "ephemeral",
    };
    let note = match (object.status, deposed) {
        (Status::Tainted, _) => " (tainted)".to_owned(),
        (_, Some(key)) => format!(" (deposed object {key})"),
        _ => String::new(),
    };
    let mut text = Text::whole(terminal.colours());
    let node = attributes(&value, &value, &schema, &Paths::default());
    text.resource(
        "",
        &format!(
            "{mode} \"{}\" \"{}\"",
            address.resource.kind, address.resource.name
        ),
        &node,
    );
    Ok(format!(
        "# {address}:{note}\n{}",
        text.finish().trim_start()
    ))
}

/// With the attributes the state says are sensitive marked so.
fn hidden(value: Value, object: &Object) -> Value {
    let paths: Vec<(consort_hcl::Path, Marks)> = object
        .sensitive
        .iter()
        .map(|steps| {
            let path = steps
                .iter()
                .fold(consort_hcl::Path::root(), |path, step| match step {
                    PathStep::Attribute(name) => path.attribute(std::sync::Arc::clone(name)),
                    PathStep::Key(key) => {
                        path.index(Value::shared_string(std::sync::Arc::clone(key)))
                    }
                    PathStep::Index(number) => match consort_hcl::Number::parse(number) {
                        Some(number) => path.index(Value::number(number)),
                        None => path,
                    },
                });
            (path, Marks::SENSITIVE)
        })
        .collect();
    value.mark_paths(&paths)
}

fn untyped(object: &Object) -> Result<(Block, Value), Diagnostics> {
    let value = json::decode_simple(object.attributes.as_bytes())
        .map_err(|wrong| error("Invalid object in the state", wrong.to_string()))?;
    let mut schema = Block::default();
    for (name, part) in value.as_keyed().into_iter().flatten() {
        let secret = object
            .sensitive
            .iter()
            .any(|path| matches!(path.first(), Some(PathStep::Attribute(step)) if step == name));
        let attribute = Attribute::new(part.ty().clone()).optional();
        let attribute = if secret {
            attribute.sensitive()
        } else {
            attribute
        };
        schema = schema.attribute(name, attribute);
    }
    Ok((schema, value))
}

/// The schemas of what the configuration here uses, if it loads and its providers are installed.
pub(super) async fn schemas(
    state: &State,
    sources: &mut Sources,
) -> std::collections::BTreeMap<
    (ProviderSource, Mode, std::sync::Arc<str>),
    std::sync::Arc<ResourceSchema>,
> {
    let mut found = std::collections::BTreeMap::new();
    let place = Place::here();
    let (Some(tree), _) = super::session::load(&place, None, sources) else {
        return found;
    };
    let used: std::collections::BTreeSet<ProviderSource> = state
        .resources
        .values()
        .map(|resource| resource.provider.provider.clone())
        .collect();
    let Ok(installed) = super::session::Installed::new(&place, &tree, used, sources) else {
        return found;
    };
    for (address, resource) in &state.resources {
        let kind = match address.resource.mode {
            Mode::Managed => SchemaKind::Managed,
            Mode::Data => SchemaKind::Data,
            Mode::Ephemeral => SchemaKind::Ephemeral,
        };
        let source = resource.provider.provider.clone();
        let key = (
            source,
            address.resource.mode,
            std::sync::Arc::clone(&address.resource.kind),
        );
        if !found.contains_key(&key)
            && let Ok(schemas) = installed.schemas(&key.0).await
            && let Ok(schema) = schemas.resource(kind, &key.2)
        {
            found.insert(key, schema);
        }
    }
    found
}

fn show(flags: &Flags) -> ExitCode {
    let [address] = flags.rest.as_slice() else {
        return usage(&SHOW, "Exactly one argument expected.");
    };
    let terminal = Terminal::new(flags.is("no-color"), false);
    let mut sources = Sources::new();
    let done = wait(async {
        let state = look(flags, &mut sources).await?.unwrap_or_default();
        let wanted = match target(address)? {
            Target::Instance(instance) => instance,
            Target::Resource(resource) => resource.instance(Key::None),
            Target::Module(_) => {
                return Err(error("Invalid address", "A resource instance is expected."));
            }
        };
        let object = state.instance(&wanted).and_then(|instance| {
            instance
                .current
                .as_ref()
                .map(|object| (object, None))
                .or_else(|| {
                    let (key, object) = instance.deposed.first_key_value()?;
                    Some((object, Some(&**key)))
                })
        });
        let Some((object, deposed)) = object else {
            return Err(error(
                "No instance found for the given address!",
                "This command requires that the address references one specific instance. To view the \
                 available instances, use \"terraform state list\". Please modify the address to reference a \
                 specific instance.",
            ));
        };
        let known = schemas(&state, &mut sources).await;
        let schema = state
            .resources
            .get(&wanted.abs_resource())
            .and_then(|resource| {
                known.get(&(
                    resource.provider.provider.clone(),
                    wanted.resource.mode,
                    std::sync::Arc::clone(&wanted.resource.kind),
                ))
            });
        object_text(
            &terminal,
            &wanted,
            object,
            deposed,
            schema.map(|schema| &**schema),
        )
    });
    finish(&terminal, done, &sources)
}

/// What the state was before, in a file of its own: changes by hand cannot be undone otherwise.
fn keep_backup(backing: &Backing, held: &Held, asked: Option<&str>) -> Result<(), Diagnostics> {
    if asked == Some("-") || backing.settings.kind() != Kind::Local {
        return Ok(());
    }
    let Some(before) = &held.read else {
        return Ok(());
    };
    let path = asked.map_or_else(
        || {
            let now = jiff::Timestamp::now().as_second();
            let file = held
                .snapshots
                .file()
                .unwrap_or(Path::new("terraform.tfstate"));
            let mut name = file.as_os_str().to_owned();
            name.push(format!(".{now}.backup"));
            name.into()
        },
        std::path::PathBuf::from,
    );
    std::fs::write(&path, before.write()).map_err(|failed| {
        error(
            "Failed to write the backup",
            format!("Writing {}: {failed}.", path.display()),
        )
    })
}

/// Holds the state, changes it, and writes it if the change says so.
async fn change(
    flags: &Flags,
    sources: &mut Sources,
    operation: &str,
    work: impl FnOnce(&mut State) -> Result<(String, bool), Diagnostics>,
) -> Done {
    let locking = Locking::of(flags)
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
    let mut paths = local_paths(flags);
    // These commands keep a backup of their own.
    let asked = paths.backup.take();
    paths.backup = Some("-".into());
    let backing = Place::here().backing(sources, &paths)?;
    let mut held = backing.hold(operation, locking).await?;
    let mut state = held.state.clone();
    let done = match work(&mut state) {
        Ok((text, false)) => Ok(text),
        Ok((text, true)) => {
            let backup = asked.as_ref().and_then(|path| path.to_str());
            match keep_backup(&backing, &held, backup) {
                Ok(()) => held.save(&state).await.map(|()| text),
                Err(diagnostics) => Err(diagnostics),
            }
        }
        Err(diagnostics) => Err(diagnostics),
    };
    held.release().await?;
    done
}

fn mv(flags: &Flags) -> ExitCode {
    let [from, to] = flags.rest.as_slice() else {
        return usage(&MV, "Exactly two arguments expected.\n");
    };
    let terminal = plain();
    let mut sources = Sources::new();
    // Another state file is the target, and the selected state loses what moves.
    let other = flags.text("state-out").map(str::to_owned);
    let own = flags.without("state-out");
    let dry = flags.is("dry-run");
    let done = wait(change(&own, &mut sources, "state-mv", |state| {
        let (source, destination) = (target(from)?, target(to)?);
        let refused = |wrong: consort_infra::state::MoveError| {
            let summary = match &wrong {
                consort_infra::state::MoveError::NoSource(_) => "Invalid source address",
                _ => "Invalid target address",
            };
            error(summary, wrong.to_string())
        };
        let mut elsewhere = match &other {
            None => None,
            Some(path) if Path::new(path).exists() => {
                let bytes = std::fs::read(path).map_err(|failed| {
                    error("Failed to load state", format!("{path}: {failed}."))
                })?;
                Some(decode(&bytes)?)
            }
            Some(_) => Some(State::new()),
        };
        let before = elsewhere
            .as_ref()
            .filter(|state| state.serial > 0)
            .map(State::write);
        let count = state
            .relocate(&source, &destination, elsewhere.as_mut())
            .map_err(refused)?;
        if dry {
            return Ok((
                format!("Would move \"{source}\" to \"{destination}\"\n"),
                false,
            ));
        }
        if let (Some(path), Some(mut moved)) = (&other, elsewhere) {
            let failed = |failed: std::io::Error| {
                error("Failed to save state", format!("{path}: {failed}."))
            };
            if let Some(before) = before {
                let backup = flags
                    .text("backup-out")
                    .map_or_else(|| format!("{path}.backup"), str::to_owned);
                std::fs::write(backup, before).map_err(failed)?;
            }
            moved.serial += 1;
            VERSION.clone_into(&mut moved.terraform_version);
            // Written before this state loses it: a crash in between leaves it in both, never in none.
            std::fs::write(path, moved.write()).map_err(failed)?;
        }
        Ok((
            format!(
                "Move \"{source}\" to \"{destination}\"\nSuccessfully moved {count} object(s).\n"
            ),
            true,
        ))
    }));
    finish(&terminal, done, &sources)
}

fn rm(flags: &Flags) -> ExitCode {
    if flags.rest.is_empty() {
        return usage(&RM, "At least one address is required.\n");
    }
    let terminal = plain();
    let mut sources = Sources::new();
    let dry = flags.is("dry-run");
    let addresses = flags.rest.clone();
    let done = wait(change(flags, &mut sources, "state-rm", |state| {
        let mut gone = Vec::new();
        for text in &addresses {
            gone.extend(state.forget(&target(text)?));
        }
        if gone.is_empty() {
            return Err(error(
                "Invalid target address",
                "No matching objects found. To view the available instances, use \"terraform state list\". \
                 Please modify the address to reference a specific instance.",
            ));
        }
        let verb = if dry { "Would remove" } else { "Removed" };
        let mut text: String = gone
            .iter()
            .map(|address| format!("{verb} {address}\n"))
            .collect();
        if !dry {
            text.push_str(&format!(
                "Successfully removed {} resource instance(s).\n",
                gone.len()
            ));
        }
        Ok((text, !dry))
    }));
    finish(&terminal, done, &sources)
}

fn pull(flags: &Flags) -> ExitCode {
    let mut sources = Sources::new();
    let done = wait(async {
        let backing = Place::here().backing(&mut sources, &local_paths(flags))?;
        // Through the model: what is printed is whole and of the present version, or an error.
        Ok(match backing.look().await? {
            Some(state) => state.write(),
            None => String::new(),
        })
    });
    finish(&plain(), done, &sources)
}

fn push(flags: &Flags) -> ExitCode {
    let [path] = flags.rest.as_slice() else {
        return usage(
            &PUSH,
            "Exactly one argument expected: path to state to push\n",
        );
    };
    let terminal = plain();
    let bytes = if path == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(failed) => {
            terminal.complain(&format!("open {path}: {failed}"));
            return ExitCode::FAILURE;
        }
    };
    let mut sources = Sources::new();
    let done = wait(async {
        let pushed = decode(&bytes)?;
        let locking = Locking::of(flags)
            .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
        let backing = Place::here().backing(&mut sources, &local_paths(flags))?;
        let held = backing.hold("state-push", locking).await?;
        let refused = match &held.read {
            Some(stored) if !flags.is("force") => {
                if stored.lineage != pushed.lineage && !stored.is_empty() {
                    Some(format!(
                        "cannot import state with lineage {:?} over unrelated state with lineage {:?}",
                        pushed.lineage, stored.lineage
                    ))
                } else if stored.lineage == pushed.lineage && stored.serial > pushed.serial {
                    Some(format!(
                        "cannot import state with serial {} over newer state with serial {}",
                        pushed.serial, stored.serial
                    ))
                } else if stored.lineage == pushed.lineage
                    && stored.serial == pushed.serial
                    && !stored.same_contents(&pushed)
                {
                    Some(format!(
                        "cannot overwrite existing state with serial {} with a different state that has the same serial",
                        stored.serial
                    ))
                } else {
                    None
                }
            }
            _ => None,
        };
        let written = match refused {
            Some(why) => Err(error("Failed to write state", why)),
            None => held
                .snapshots
                .write(pushed.write().into_bytes())
                .await
                .map_err(|failed| error("Failed to save state", causes(&failed))),
        };
        held.release().await?;
        written.map(|()| String::new())
    });
    finish(&terminal, done, &sources)
}

fn replace_provider(flags: &Flags) -> ExitCode {
    let [from, to] = flags.rest.as_slice() else {
        return usage(&REPLACE_PROVIDER, "Exactly two arguments expected.\n");
    };
    let terminal = plain();
    let mut sources = Sources::new();
    let asked = terminal.clone();
    let approved = flags.is("auto-approve");
    let done = wait(change(
        flags,
        &mut sources,
        "state-replace-provider",
        |state| {
            let provider = |text: &str| -> Result<ProviderSource, Diagnostics> {
                parse_provider_source(text).map_err(|wrong| {
                    error("Invalid provider address", format!("{text:?}: {wrong:?}."))
                })
            };
            let (from, to) = (provider(from)?, provider(to)?);
            let changed = state.replace_provider(&from, &to);
            if changed.is_empty() {
                return Ok(("No matching resources found.\n".to_owned(), false));
            }
            let list: String = changed
                .iter()
                .map(|address| format!("  {address}\n"))
                .collect();
            let count = changed.len();
            let plan = format!(
                "Terraform will perform the following actions:\n\n  ~ Updating provider:\n    - {from}\n    + {to}\n\n\
             Changing {count} resources:\n\n{list}\n"
            );
            if !approved {
                crate::output::print(&plan);
                let answer = asked.ask(
                    "Do you want to make these changes?",
                    "Only 'yes' will be accepted to continue.",
                    "Enter a value:",
                );
                if answer.as_deref() != Some("yes") {
                    return Ok(("Cancelled replacing providers.\n".to_owned(), false));
                }
                return Ok((
                    format!("Successfully replaced provider for {count} resources.\n"),
                    true,
                ));
            }
            Ok((
                format!("{plan}Successfully replaced provider for {count} resources.\n"),
                true,
            ))
        },
    ));
    finish(&terminal, done, &sources)
}

fn taint(flags: &Flags) -> ExitCode {
    mark(flags, &TAINT, Status::Tainted)
}

fn untaint(flags: &Flags) -> ExitCode {
    mark(flags, &UNTAINT, Status::Ready)
}

fn mark(flags: &Flags, command: &Command, status: Status) -> ExitCode {
    let [text] = flags.rest.as_slice() else {
        let problem = format!("The {} command expects exactly one argument.", command.name);
        return usage(command, &problem);
    };
    let terminal = plain();
    let mut sources = Sources::new();
    let address = match target(text) {
        Ok(Target::Instance(instance)) => instance,
        Ok(Target::Resource(resource)) => resource.instance(Key::None),
        Ok(Target::Module(_)) => {
            terminal.error("Invalid address", "A resource instance is expected.");
            return ExitCode::FAILURE;
        }
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            return ExitCode::FAILURE;
        }
    };
    if address.resource.mode != Mode::Managed {
        terminal.complain(&format!("Resource instance {address} cannot be tainted"));
        return ExitCode::FAILURE;
    }
    let allowed = flags.is("allow-missing");
    let mut missing = None;
    let done = wait(change(
        flags,
        &mut sources,
        command.name,
        |state| match state.mark(&address, status) {
            Ok(()) => {
                let what = match status {
                    Status::Tainted => "has been marked as tainted",
                    Status::Ready => "has been successfully untainted",
                };
                Ok((format!("Resource instance {address} {what}.\n"), true))
            }
            Err(MarkError::Missing(address)) if allowed => {
                missing = Some(address);
                Ok((String::new(), false))
            }
            Err(wrong @ MarkError::Missing(_)) => Err(error(
                "No such resource instance",
                format!(
                    "{wrong} If the resource configuration has just been added, you must run \"terraform \
                     apply\" once to create the corresponding instance(s) before they can be tainted."
                ),
            )),
            Err(wrong @ MarkError::NotTainted(_)) => {
                Err(error("Resource instance is not tainted", wrong.to_string()))
            }
        },
    ));
    if let Some(address) = missing {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(Diagnostic::warning(
            "No such resource instance",
            format!(
                "Resource instance {address} was not found, but this is not an error because -allow-missing \
                 was set."
            ),
        ));
        terminal.diagnose(&diagnostics, &sources);
    }
    finish(&terminal, done, &sources)
}

fn force_unlock(flags: &Flags) -> ExitCode {
    let [id] = flags.rest.as_slice() else {
        return usage(&FORCE_UNLOCK, "Expected a single argument: LOCK_ID");
    };
    let terminal = plain();
    let mut sources = Sources::new();
    let found = Place::here().backing(&mut sources, &local_paths(flags));
    let backing = match found {
        Ok(backing) => backing,
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            return ExitCode::FAILURE;
        }
    };
    if !flags.is("force") {
        let answer = terminal.ask(
            "Do you really want to force-unlock?",
            "Terraform will remove the lock on the remote state.\nThis will allow local Terraform commands to \
             modify this state, even though it\nmay still be in use. Only 'yes' will be accepted to confirm.",
            "Enter a value:",
        );
        if answer.as_deref() != Some("yes") {
            terminal.say("force-unlock cancelled.");
            return ExitCode::FAILURE;
        }
    }
    let done = wait(async {
        let snapshots = backing.backend.snapshots(&backing.workspace)?;
        tokio::time::timeout(Duration::from_secs(120), snapshots.unlock(id))
            .await
            .unwrap_or_else(|_| {
                Err(consort_backend::Error::Remote(
                    "the backend does not answer".to_owned(),
                ))
            })
    });
    match done {
        Ok(()) => {
            terminal.say(&terminal.green(
                "Terraform state has been successfully unlocked!\n\nThe state has been unlocked, and Terraform \
                 commands should now be able to\nobtain a new lock on the remote state.",
            ));
            ExitCode::SUCCESS
        }
        Err(failed) => {
            terminal.complain(&format!("Failed to unlock state: {}", causes(&failed)));
            ExitCode::FAILURE
        }
    }
}
