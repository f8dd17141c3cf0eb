//! `state list`, `state show` and `state pull`.

use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::{Key, Target};
use consort_infra::state::State;

use super::object::{object_text, schemas};
use super::{finish, plain, target, usage};
use crate::tf::flags::{Flag, Flags, one};
use crate::tf::place::{Place, error, local_paths};
use crate::tf::terminal::Terminal;
use crate::tf::{Command, NO_COLOUR, wait};

const STATE: &[Flag] = &[one(
    "state",
    "path",
    "State file to read; for the local backend only.",
)];

pub(in crate::tf) const LIST: Command = Command {
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

pub(in crate::tf) const SHOW: Command = Command {
    name: "state show",
    usage: "[options] ADDRESS",
    short: "Show one resource instance of the state",
    about: "Shows the attributes of one resource instance as the state holds them.",
    flags: &[STATE, NO_COLOUR],
    run: show,
};

pub(in crate::tf) const PULL: Command = Command {
    name: "state pull",
    usage: "",
    short: "Print the state as it is stored",
    about: "Prints the newest snapshot of the state, from wherever the backend keeps it.",
    flags: &[],
    run: pull,
};

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
