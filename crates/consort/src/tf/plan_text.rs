//! A plan as people read it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Path, Step, Value};
use consort_infra::address::{Key, Mode as ResourceMode, ProviderSource};
use consort_infra::engine::{Action, Change, Mode, OutputChange, Plan, Providers, Reason};
use consort_infra::provider::schema::{Kind, ResourceSchema, Schemas};
use consort_infra::render::{self, Colours, Node, Paths, Text, attributes};

/// The schemas of the types in a plan.
pub(super) struct Types(
    BTreeMap<(consort_infra::address::ProviderSource, Kind, Arc<str>), Arc<ResourceSchema>>,
);

impl Types {
    pub(super) async fn of(plan: &Plan, providers: &dyn Providers) -> Result<Types, Diagnostics> {
        let mut types = BTreeMap::new();
        for change in plan.changes.iter().chain(&plan.drift) {
            let kind = match change.address.resource.mode {
                ResourceMode::Managed => Kind::Managed,
                ResourceMode::Data => Kind::Data,
                ResourceMode::Ephemeral => Kind::Ephemeral,
            };
            let key = (
                change.provider.provider.clone(),
                kind,
                Arc::clone(&change.address.resource.kind),
            );
            if types.contains_key(&key) {
                continue;
            }
            let schemas = providers.schemas(&change.provider.provider).await?;
            if let Ok(schema) = schemas.resource(kind, &key.2) {
                types.insert(key, schema);
            }
        }
        Ok(Types(types))
    }

    /// The same of schemas that are at hand.
    pub(super) fn among(plan: &Plan, schemas: &BTreeMap<ProviderSource, Arc<Schemas>>) -> Types {
        let mut types = BTreeMap::new();
        for change in plan.changes.iter().chain(&plan.drift) {
            let kind = match change.address.resource.mode {
                ResourceMode::Managed => Kind::Managed,
                ResourceMode::Data => Kind::Data,
                ResourceMode::Ephemeral => Kind::Ephemeral,
            };
            let source = &change.provider.provider;
            let name = &change.address.resource.kind;
            if let Some(schema) = schemas
                .get(source)
                .and_then(|found| found.resource(kind, name).ok())
            {
                types.insert((source.clone(), kind, Arc::clone(name)), schema);
            }
        }
        Types(types)
    }

    fn get(&self, change: &Change) -> Option<&ResourceSchema> {
        let kind = match change.address.resource.mode {
            ResourceMode::Managed => Kind::Managed,
            ResourceMode::Data => Kind::Data,
            ResourceMode::Ephemeral => Kind::Ephemeral,
        };
        self.0
            .get(&(
                change.provider.provider.clone(),
                kind,
                Arc::clone(&change.address.resource.kind),
            ))
            .map(|schema| &**schema)
    }
}

/// How many of what, for the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) import: usize,
    pub(super) add: usize,
    pub(super) change: usize,
    pub(super) destroy: usize,
}

impl Counts {
    pub(super) fn of(plan: &Plan) -> Counts {
        let mut counts = Counts::default();
        for change in &plan.changes {
            if change.importing.is_some() {
                counts.import += 1;
            }
            if change.address.resource.mode != ResourceMode::Managed {
                continue;
            }
            match change.action {
                Action::Create => counts.add += 1,
                Action::Update => counts.change += 1,
                Action::Delete => counts.destroy += 1,
                Action::DeleteThenCreate | Action::CreateThenDelete => {
                    counts.add += 1;
                    counts.destroy += 1;
                }
                Action::NoOp | Action::Read | Action::Forget => {}
            }
        }
        counts
    }

    /// `2 to add, 1 to change, 0 to destroy.`
    pub(super) fn text(self) -> String {
        let mut text = String::new();
        if self.import > 0 {
            text.push_str(&format!("{} to import, ", self.import));
        }
        text.push_str(&format!(
            "{} to add, {} to change, {} to destroy",
            self.add, self.change, self.destroy
        ));
        text.push('.');
        text
    }
}

fn sign(action: Action, colours: Colours) -> String {
    let (red, yellow, green, cyan) = ("31", "33", "32", "36");
    match action {
        Action::Create => format!("  {}", colours.paint(green, "+")),
        Action::Update => format!("  {}", colours.paint(yellow, "~")),
        Action::Delete => format!("  {}", colours.paint(red, "-")),
        Action::DeleteThenCreate => {
            format!("{}/{}", colours.paint(red, "-"), colours.paint(green, "+"))
        }
        Action::CreateThenDelete => {
            format!("{}/{}", colours.paint(green, "+"), colours.paint(red, "-"))
        }
        Action::Read => format!(" {}", colours.paint(cyan, "<=")),
        Action::Forget => format!("  {}", colours.paint(red, ".")),
        Action::NoOp => "   ".to_owned(),
    }
}

const LEGEND: [(Action, &str); 7] = [
    (Action::Create, "create"),
    (Action::Update, "update in-place"),
    (Action::Delete, "destroy"),
    (
        Action::DeleteThenCreate,
        "destroy and then create replacement",
    ),
    (
        Action::CreateThenDelete,
        "create replacement and then destroy",
    ),
    (Action::Read, "read (data resources)"),
    (Action::Forget, "forget"),
];

/// What is said above a change.
fn title(change: &Change, drift: bool, colours: Colours) -> String {
    let mut address = change.address.to_string();
    if let Some(deposed) = &change.deposed {
        address = format!("{address} (deposed object {deposed})");
    }
    let what = if drift {
        match change.action {
            Action::Delete => "has been deleted",
            _ => "has changed",
        }
    } else {
        match (change.action, change.reason) {
            (Action::Create, _) => "will be created",
            (Action::Read, _) => "will be read during apply",
            (Action::Update, _) => "will be updated in-place",
            (Action::DeleteThenCreate | Action::CreateThenDelete, reason) => match reason {
                Some(Reason::ReplaceBecauseTainted) => "is tainted, so must be replaced",
                Some(Reason::ReplaceByRequest) => "will be replaced, as requested",
                Some(Reason::ReplaceByTriggers) => {
                    "will be replaced due to changes in replace_triggered_by"
                }
                _ => "must be replaced",
            },
            (Action::Delete, _) => "will be destroyed",
            (Action::Forget, _) => {
                "will no longer be managed by Terraform, but will not be destroyed"
            }
            (Action::NoOp, _) if change.importing.is_some() => "will be imported",
            (Action::NoOp, _) if change.address != change.previous_address => "has moved to",
            (Action::NoOp, _) => "is unchanged",
        }
    };
    let mut text = if what == "has moved to" {
        let before = colours.paint("1", &format!("  # {}", change.previous_address));
        format!("{before} has moved to {}", colours.paint("1", &address))
    } else {
        format!("{} {what}", colours.paint("1", &format!("  # {address}")))
    };
    if let Some(why) = because(change) {
        text.push_str(&format!("\n  # ({why})"));
    }
    if change.address != change.previous_address && change.action != Action::NoOp {
        text.push_str(&format!("\n  # (moved from {})", change.previous_address));
    }
    if change.generated_config.is_some() {
        text.push_str("\n  # (config will be generated)");
    }
    if let Some(importing) = &change.importing
        && change.action != Action::NoOp
    {
        let from = match &importing.identity {
            Some(_) => importing.shown(),
            None => format!("{:?}", importing.id),
        };
        text.push_str(&format!("\n  # (imported from {from})"));
    }
    text
}

fn because(change: &Change) -> Option<String> {
    let resource = change.address.config();
    Some(match change.reason? {
        Reason::DeleteBecauseNoResourceConfig => {
            format!("because {resource} is not in configuration")
        }
        Reason::DeleteBecauseNoMoveTarget => format!(
            "because {} was moved to {}, which is not in configuration",
            change.previous_address, change.address
        ),
        Reason::DeleteBecauseNoModule => {
            format!("because {} is not in configuration", change.address.module)
        }
        Reason::DeleteBecauseWrongRepetition => match change.address.key {
            Key::None => "because resource uses count or for_each".to_owned(),
            Key::Int(_) => "because resource does not use count".to_owned(),
            Key::String(_) => "because resource does not use for_each".to_owned(),
        },
        Reason::DeleteBecauseCountIndex => {
            format!(
                "because index {} is out of range for count",
                change.address.key
            )
        }
        Reason::DeleteBecauseEachKey => {
            format!("because key {} is not in for_each map", change.address.key)
        }
        Reason::ReadBecauseConfigUnknown => "config refers to values not yet known".to_owned(),
        Reason::ReadBecauseDependencyPending => {
            "depends on a resource or a module with changes pending".to_owned()
        }
        Reason::ReadBecauseCheckNested => {
            "config will be reloaded to verify a check block".to_owned()
        }
        _ => return None,
    })
}

fn change_text(change: &Change, types: &Types, drift: bool, colours: Colours) -> String {
    let mut text = title(change, drift, colours);
    text.push('\n');
    let Some(schema) = types.get(change) else {
        return text;
    };
    let node: Node = attributes(
        &change.before,
        &change.after,
        &schema.block,
        &Paths::new(&change.replace_paths),
    );
    let block = match change.address.resource.mode {
        ResourceMode::Managed => "resource",
        ResourceMode::Data => "data",
        ResourceMode::Ephemeral => "ephemeral",
    };
    let head = format!(
        "{block} \"{}\" \"{}\"",
        change.address.resource.kind, change.address.resource.name
    );
    // Of an import that changes nothing everything is shown: nobody has seen it yet.
    let mut out = if change.action == Action::NoOp && change.importing.is_some() {
        Text::whole(colours)
    } else {
        Text::new(colours)
    };
    out.resource(&sign(change.action, colours), &head, &node);
    text.push_str(&out.finish());
    text
}

fn shown(change: &Change) -> bool {
    change.action != Action::NoOp
        || change.importing.is_some()
        || change.address != change.previous_address
}

/// The changes of outputs, or nothing.
pub(super) fn outputs(changes: &BTreeMap<Arc<str>, OutputChange>, colours: Colours) -> String {
    let changed: Vec<_> = changes
        .iter()
        .filter(|(_, change)| change.action != Action::NoOp)
        .collect();
    let names = changes.keys().map(|name| name.chars().count());
    let width = names.max().unwrap_or(0);
    let mut out = Text::new(colours);
    for (name, change) in changed {
        let mark = |value: &consort_hcl::Value| {
            if change.sensitive {
                value.clone().with_marks(consort_hcl::Marks::SENSITIVE)
            } else {
                value.clone()
            }
        };
        let (before, after) = (mark(&change.before), mark(&change.after));
        let node = match change.action {
            Action::Create => render::outputs(None, Some(&after)),
            Action::Delete => render::outputs(Some(&before), None),
            _ => render::outputs(Some(&before), Some(&after)),
        };
        // A change that is not in the value, but in whether it is sensitive, has nothing to show.
        if node.action != render::Action::Keep {
            out.named(name, width, &node);
        }
    }
    out.finish()
}

/// What changed behind the back of the last apply and has a part in the plan, without the attributes that have none.
fn drift_with_effect(plan: &Plan) -> Vec<Cow<'_, Change>> {
    let mut relevant: HashMap<_, Vec<&Path>> = HashMap::new();
    for (address, path) in &plan.relevant {
        relevant.entry(address).or_default().push(path);
    }
    let mut drift = Vec::new();
    for change in &plan.drift {
        let Some(paths) = relevant
            .get(&change.address)
            .filter(|_| change.action != Action::NoOp)
        else {
            continue;
        };
        let has_part = |name: &str| {
            paths.iter().any(|path| match path.steps().first() {
                None => true,
                Some(Step::Attribute(first)) => **first == *name,
                Some(Step::Index(_)) => false,
            })
        };
        let (Some(before), Some(after)) = (change.before.as_keyed(), change.after.as_keyed())
        else {
            drift.push(Cow::Borrowed(change));
            continue;
        };
        let mut seen = after.clone();
        let mut differs = false;
        for (name, after) in &mut seen {
            let Some(before) = before.get(name) else {
                continue;
            };
            if has_part(name) {
                differs |= !after.raw_equals(before);
            } else {
                *after = before.clone();
            }
        }
        if differs {
            let mut change = change.clone();
            change.after = Value::object(seen);
            drift.push(Cow::Owned(change));
        }
    }
    drift
}

/// The whole plan.
pub(super) fn text(plan: &Plan, types: &Types, colours: Colours) -> String {
    let mut out = String::new();
    let refresh_only = plan.mode == Mode::RefreshOnly;
    let drift: Vec<Cow<'_, Change>> = if refresh_only {
        let changed = plan
            .drift
            .iter()
            .filter(|change| change.action != Action::NoOp);
        changed.map(Cow::Borrowed).collect()
    } else {
        drift_with_effect(plan)
    };
    if !drift.is_empty() {
        out.push_str(&colours.paint("1;36", "Note:"));
        out.push_str(
            " Objects have changed outside of Terraform\n\nSince the last \"apply\" these were changed by \
             something else, which has a part in this plan:\n\n",
        );
        for change in &drift {
            out.push_str(&change_text(change, types, true, colours));
            out.push('\n');
        }
        if refresh_only {
            out.push_str(
                "\nThis is a refresh-only plan, so nothing will be done to undo that. Applying it takes the \
                 changes over into the state.\n",
            );
        }
    }
    let changes: Vec<&Change> = plan.changes.iter().filter(|change| shown(change)).collect();
    let output_text = outputs(&plan.outputs, colours);
    if changes.is_empty() && output_text.is_empty() && plan.deferred.is_empty() {
        if drift.is_empty() || !refresh_only {
            let (head, rest) = match plan.mode {
                Mode::Normal => (
                    "No changes. Your infrastructure matches the configuration.",
                    "What is there was compared with the configuration, and nothing differs.",
                ),
                Mode::Destroy => (
                    "No changes. No objects need to be destroyed.",
                    "The state holds nothing that could be destroyed.",
                ),
                Mode::RefreshOnly => (
                    "No changes. Your infrastructure still matches the configuration.",
                    "What is there is still what the last \"apply\" left.",
                ),
            };
            out.push_str(&format!("\n{}\n\n{rest}\n", colours.paint("1;32", head)));
        }
        return out;
    }
    if !changes.is_empty() {
        out.push_str("\nActions are marked so:\n");
        for (action, what) in LEGEND {
            if changes.iter().any(|change| change.action == action) {
                out.push_str(&format!("{} {what}\n", sign(action, colours)));
            }
        }
        out.push_str(if plan.errored {
            "\nPlanned until it failed:\n\n"
        } else {
            "\nTerraform will perform the following actions:\n\n"
        });
        for change in &changes {
            out.push_str(&change_text(change, types, false, colours));
            out.push('\n');
        }
        out.push_str(&format!(
            "{} {}\n",
            colours.paint("1", "Plan:"),
            Counts::of(plan).text()
        ));
    }
    if !output_text.is_empty() {
        out.push_str("\nChanges to Outputs:\n");
        out.push_str(&output_text);
        if changes.is_empty() {
            out.push_str(
                "\nApplying this plan saves the new outputs in the state and changes no real object.\n",
            );
        }
    }
    if !plan.deferred.is_empty() {
        out.push_str(&format!(
            "\n{} to a later plan, because what decides them is not known before this one is applied:\n",
            colours.paint("1", "Put off")
        ));
        for deferred in &plan.deferred {
            out.push_str(&format!(
                "  - {}: {}\n",
                deferred.address(),
                deferred.reason.because()
            ));
        }
        out.push_str("\nApply this plan first, then plan and apply again for the rest.\n");
    }
    out
}
