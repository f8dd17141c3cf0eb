//! `show`: the state, or a saved plan.

use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::Sources;
use consort_infra::address::{Mode, ProviderSource};
use consort_infra::config::{self, Tree};
use consort_infra::encryption::is_sealed;
use consort_infra::plan_file::{self, PlanFile};
use consort_infra::provider::schema::ResourceSchema;
use consort_infra::render::{Text, outputs as output_node};
use consort_infra::render_json::{SchemaSet, plan_json, state_json};
use consort_infra::state::State;

use super::encryption::{opened, opened_plan};
use super::flags::{Flags, switch};
use super::place::{Place, decode, error, local_paths};
use super::plan_text::{self, Types};
use super::session::{self, Purpose};
use super::state::{object_text, schemas};
use super::terminal::Terminal;
use super::{Command, NO_COLOUR, wait};

pub(super) const COMMAND: Command = Command {
    name: "show",
    usage: "[options] [path]",
    short: "Show the state or a saved plan",
    about: "Shows the present state, a state file or a saved plan, as people or as programs read it.",
    flags: &[&[switch("json", "As JSON, for programs.")], NO_COLOUR],
    run,
};

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color"), false);
    let mut sources = Sources::new();
    if flags.rest.len() > 1 {
        terminal.error(
            "Too many command line arguments",
            "Expected at most one positional argument.",
        );
        return ExitCode::FAILURE;
    }
    let done = wait(async {
        let state = match flags.rest.first() {
            None => {
                Place::here()
                    .backing(&mut sources, &local_paths(flags))?
                    .look()
                    .await?
            }
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|failed| {
                    error(
                        "Failed to read the given file as a state or plan file",
                        format!("State read error: {path}: {failed}."),
                    )
                })?;
                let place = Place::here();
                let module = place.root_module(&mut sources).ok().flatten();
                let (encryption, _) =
                    super::encryption::load(&place, module.as_ref(), &mut sources)?;
                let as_plan = if is_sealed(&bytes) && encryption.plan.is_some() {
                    opened_plan(&encryption, bytes.clone()).await.ok()
                } else {
                    Some(bytes.clone())
                };
                if let Some(Ok(saved)) = as_plan.as_deref().map(plan_file::read) {
                    return plan(&terminal, flags, &saved, &mut sources).await;
                }
                let bytes = opened(encryption.state.as_ref(), bytes).await?;
                Some(decode(&bytes)?)
            }
        };
        if flags.is("json") {
            let Some(state) = state else {
                return Ok("{\"format_version\":\"1.0\"}\n".to_owned());
            };
            let place = Place::here();
            let (tree, found) = session::load(&place, None, &mut sources);
            let Some(tree) = tree else {
                return Err(found);
            };
            let schemas = schema_set(&place, &tree, &state, &mut sources).await?;
            return state_json(&state, &schemas)
                .map(|text| format!("{text}\n"))
                .map_err(|why| error("Failed to marshal state to json", why));
        }
        let Some(state) = state.filter(|state| !state.is_empty()) else {
            return Ok("The state file is empty. No resources are represented.\n".to_owned());
        };
        text(&terminal, &state, &mut sources).await
    });
    match done {
        Ok(text) => {
            crate::output::print(&text);
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            ExitCode::FAILURE
        }
    }
}

async fn schema_set(
    place: &Place,
    tree: &Tree,
    state: &State,
    sources: &mut Sources,
) -> Result<SchemaSet, consort_hcl::Diagnostics> {
    let used = state
        .resources
        .values()
        .map(|resource| resource.provider.provider.clone())
        .collect::<std::collections::BTreeSet<_>>();
    let installed = session::installed(place, tree, used, sources)?;
    SchemaSet::gather(&installed, Some(tree), &[state]).await
}

async fn plan(
    terminal: &Terminal,
    flags: &Flags,
    saved: &PlanFile,
    sources: &mut Sources,
) -> Result<String, consort_hcl::Diagnostics> {
    let place = Place::here();
    let (tree, found) = config::load_snapshot(&saved.origin.snapshot, sources);
    let Some(tree) = tree.filter(|_| !found.has_errors()) else {
        return Err(found);
    };
    let used = saved
        .plan
        .changes
        .iter()
        .map(|change| change.provider.provider.clone())
        .chain(
            saved
                .plan
                .prior_state
                .resources
                .values()
                .map(|resource| resource.provider.provider.clone()),
        )
        .collect::<std::collections::BTreeSet<_>>();
    let installed = session::installed_as(Purpose::Run, &place, &tree, used, &saved.locks())?;
    if flags.is("json") {
        let schemas =
            SchemaSet::gather(&installed, Some(&tree), &[&saved.plan.prior_state]).await?;
        return plan_json(&saved.plan, &tree, &schemas)
            .map(|text| format!("{text}\n"))
            .map_err(|why| error("Failed to marshal plan to json", why));
    }
    let types = Types::of(&saved.plan, &installed).await?;
    Ok(plan_text::text(&saved.plan, &types, terminal.colours()))
}

async fn text(
    terminal: &Terminal,
    state: &State,
    sources: &mut Sources,
) -> Result<String, consort_hcl::Diagnostics> {
    let known = schemas(state, sources).await;
    state_text(terminal, state, &|provider, mode, kind| {
        known
            .get(&(provider.clone(), mode, Arc::clone(kind)))
            .cloned()
    })
}

/// Finds the schema of a type, if its provider is at hand.
type Lookup<'l> = dyn Fn(&ProviderSource, Mode, &Arc<str>) -> Option<Arc<ResourceSchema>> + 'l;

/// A state as people read it.
pub(super) fn state_text(
    terminal: &Terminal,
    state: &State,
    lookup: &Lookup<'_>,
) -> Result<String, consort_hcl::Diagnostics> {
    let mut out = String::new();
    for (address, resource) in &state.resources {
        let schema = lookup(
            &resource.provider.provider,
            address.resource.mode,
            &address.resource.kind,
        );
        let schema = schema.as_deref();
        for (key, instance) in &resource.instances {
            let address = address.instance(key.clone());
            if let Some(object) = &instance.current {
                out.push_str(&object_text(terminal, &address, object, None, schema)?);
                out.push('\n');
            }
            for (deposed, object) in &instance.deposed {
                out.push_str(&object_text(
                    terminal,
                    &address,
                    object,
                    Some(deposed),
                    schema,
                )?);
                out.push('\n');
            }
        }
    }
    if !state.outputs.is_empty() {
        out.push_str("\nOutputs:\n\n");
        let mut written = Text::whole(terminal.colours());
        for (name, output) in &state.outputs {
            if let Ok(value) = output.decoded() {
                written.named(name, 0, &output_node(Some(&value), Some(&value)));
            }
        }
        out.push_str(&written.finish());
    }
    Ok(out)
}
