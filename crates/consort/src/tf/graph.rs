//! `graph`: what depends on what, in the DOT language.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::ModulePath;
use consort_infra::engine::{Drawing, DrawingKind, Plan, Shape, Silent};
use tokio_util::sync::CancellationToken;

use super::flags::{Flags, one, switch};
use super::place::{Place, causes, error, local_paths};
use super::session::{self, Session};
use super::terminal::Terminal;
use super::{Command, wait};

pub(super) const COMMAND: Command = Command {
    name: "graph",
    usage: "[options]",
    short: "Generate a Graphviz graph of the steps in an operation",
    about: "Prints what depends on what in the DOT language, which GraphViz and many other programs draw. Without \
            -type these are the resources of the configuration; with it, all steps of an operation.",
    flags: &[&[
        one(
            "plan",
            "path",
            "Draw what a saved plan does; as -type=apply.",
        ),
        switch(
            "draw-cycles",
            "Draw also what depends on itself, with the edges of the cycle in colour; with -type only.",
        ),
        one(
            "type",
            "TYPE",
            "plan, plan-refresh-only, plan-destroy or apply.",
        ),
        one("module-depth", "n", "Taken and of no effect."),
    ]],
    run,
};

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(false, false);
    let mut sources = Sources::new();
    if !flags.rest.is_empty() {
        terminal.complain("Too many command line arguments. Did you mean to use -chdir?\n");
        return ExitCode::FAILURE;
    }
    match wait(drawn(flags, &mut sources)) {
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

async fn drawn(flags: &Flags, sources: &mut Sources) -> Result<String, Diagnostics> {
    let kind = match flags.text("type").unwrap_or_default() {
        "" if flags.text("plan").is_some_and(|path| !path.is_empty()) => Some("apply"),
        "" => None,
        known @ ("plan" | "plan-refresh-only" | "plan-destroy" | "apply") => Some(known),
        _ => {
            return Err(error(
                "Unsupported graph type",
                "The -type=... argument must be either \"plan\", \"plan-refresh-only\", \"plan-destroy\", or \
                 \"apply\".",
            ));
        }
    };
    let plan: Option<Plan> = match flags.text("plan").filter(|path| !path.is_empty()) {
        None => None,
        Some(path) => {
            let failed = |why: String| error("Failed to read plan file", why);
            let bytes =
                std::fs::read(path).map_err(|wrong| failed(format!("open {path}: {wrong}")))?;
            let saved =
                consort_infra::plan_file::read(&bytes).map_err(|wrong| failed(causes(&wrong)))?;
            Some(saved.plan)
        }
    };
    let place = Place::here();
    let (tree, found) = session::load_any(&place, None, sources);
    let Some(tree) = tree.filter(|_| !found.has_errors()) else {
        return Err(found);
    };
    let state = if kind == Some("plan-destroy") {
        place
            .backing(sources, &local_paths(flags))?
            .look()
            .await?
            .unwrap_or_default()
    } else {
        consort_infra::state::State::default()
    };
    let used: std::collections::BTreeSet<_> = state
        .resources
        .values()
        .map(|resource| resource.provider.provider.clone())
        .collect();
    let providers = session::installed(&place, &tree, used, sources)?;
    let session = Session {
        tree,
        sources: sources.clone(),
        providers,
        provisioners: consort_infra::provisioner::Builtin,
        functions: session::language(true, ""),
        variables: BTreeMap::new(),
        given: BTreeMap::new(),
        workspace: place.workspace().0,
        parallelism: 10,
    };
    let input = session.input(&Silent, CancellationToken::new());
    let what = match (kind, &plan) {
        (Some("plan-destroy"), _) => DrawingKind::Destroy(&state),
        (_, Some(plan)) => DrawingKind::Plan(plan),
        (Some("apply"), None) => DrawingKind::Configuration,
        _ => DrawingKind::Planning,
    };
    let drawing = Drawing::new(&input, &what).await?;
    if !flags.is("draw-cycles") && !drawing.cycles.is_empty() {
        return Err(drawing.problems());
    }
    Ok(if kind.is_some() {
        whole(&drawing)
    } else {
        resources(&drawing.resources())
    })
}

/// All nodes of an operation.
fn whole(drawing: &Drawing) -> String {
    let name = |at: usize| format!("{:?}", format!("[root] {}", drawing.nodes[at].name));
    let mut nodes: Vec<String> = Vec::new();
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (label, shape) = match &node.shape {
            Shape::Resource(address) => (address.to_string(), "box"),
            Shape::Provider => (node.name.clone(), "diamond"),
            Shape::Variable => (node.name.clone(), "note"),
            Shape::Other => continue,
        };
        nodes.push(format!(
            "{} [label = {label:?}, shape = \"{shape}\"]",
            name(at)
        ));
    }
    let turning: Vec<std::collections::HashSet<usize>> = drawing
        .cycles
        .iter()
        .map(|cycle| cycle.iter().copied().collect())
        .collect();
    let mut edges: Vec<String> = drawing
        .edges
        .iter()
        .map(|(from, to)| {
            let colour = if turning
                .iter()
                .any(|cycle| cycle.contains(from) && cycle.contains(to))
            {
                " [color = \"red\", penwidth = \"2.0\"]"
            } else {
                ""
            };
            format!("{} -> {}{colour}", name(*from), name(*to))
        })
        .collect();
    nodes.sort();
    edges.sort();
    let mut text =
        "digraph {\n\tcompound = \"true\"\n\tnewrank = \"true\"\n\tsubgraph \"root\" {\n"
            .to_owned();
    for line in nodes.into_iter().chain(edges) {
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str("\t}\n}\n");
    text
}

/// The resources, those of each module in a box of their own.
fn resources(drawing: &Drawing) -> String {
    let mut text =
        "digraph G {\n  rankdir = \"RL\";\n  node [shape = rect, fontname = \"sans-serif\"];\n"
            .to_owned();
    if drawing.nodes.is_empty() {
        text.push_str(
            "  /* This configuration does not contain any resources.         */\n  /* For a more detailed \
             graph, try: terraform graph -type=plan */\n",
        );
    }
    let mut modules: BTreeMap<Vec<Arc<str>>, (ModulePath, Vec<_>)> = BTreeMap::new();
    for node in &drawing.nodes {
        let Shape::Resource(address) = &node.shape else {
            continue;
        };
        modules
            .entry(address.module.names().to_vec())
            .or_insert_with(|| (address.module.clone(), Vec::new()))
            .1
            .push((node.name.clone(), address.resource.to_string()));
    }
    for (path, nodes) in modules.values() {
        let indent = if path.is_root() {
            "  "
        } else {
            let _ = writeln!(
                text,
                "  subgraph \"cluster_{path}\" {{\n    label = \"{path}\"\n    fontname = \"sans-serif\""
            );
            "    "
        };
        for (name, label) in nodes {
            let _ = writeln!(text, "{indent}{name:?} [label={label:?}];");
        }
        if !path.is_root() {
            text.push_str("  }\n");
        }
    }
    for (from, to) in &drawing.edges {
        let _ = writeln!(
            text,
            "  {:?} -> {:?};",
            drawing.nodes[*from].name, drawing.nodes[*to].name
        );
    }
    text.push_str("}\n");
    text
}
