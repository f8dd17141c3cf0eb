//! Actions that choose a module by what the machine has: `package`, `service`, `dnf`, and `gather_facts`.

use std::time::Duration;

use consort_jinja::{Dict, Key, Str, Value, repr};
use indexmap::IndexMap;

use super::given::{Given, copied, dict, is_yes, says, set, take, update};
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::{Attempt, ModuleCall};

/// The package managers that have modules of ansible-core.
const MANAGERS: &[&str] = &["apt", "dnf", "dnf5"];
/// The service managers that have.
const SERVICES: &[&str] = &["service", "systemd", "sysvinit"];

/// A fact of the machine that is known already.
fn known(attempt: &Attempt<'_>, name: &str) -> Option<String> {
    let expression = Str::template(format!("ansible_facts.{name}"));
    let value = attempt
        .templar()
        .evaluate(&expression, attempt.machine_variables())
        .ok()?;
    value.truth().ok()?.then(|| repr::text(&value))
}

/// Asks the machine for one fact.
async fn asked(attempt: &Attempt<'_>, name: &str) -> Result<Dict, Failure> {
    attempt
        .module(
            "ansible.legacy.setup",
            dict([
                ("filter", format!("ansible_{name}").into()),
                ("gather_subset", "!all".into()),
            ]),
        )
        .await
}

fn fact_of(report: &Dict, name: &str) -> Option<String> {
    match report.get("ansible_facts") {
        Some(Value::Dict(facts)) => facts
            .get(&format!("ansible_{name}"))
            .map(|value| repr::text(&value)),
        _ => None,
    }
}

/// Whether there is a module of a name: native, of ansible-core or of a collection.
fn there_is(attempt: &Attempt<'_>, name: &str) -> bool {
    let leaf = name
        .strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .unwrap_or(name);
    consort_modules::find(leaf).is_some()
        || matches!(
            attempt
                .loader()
                .resolve_action(name, &attempt.task.action.collections),
            Ok(Some(_))
        )
}

async fn delegate(attempt: &Attempt<'_>, module: &str, arguments: Dict) -> Outcome {
    attempt.detail(4, &format!("Running {module}"));
    let call = ModuleCall {
        background: attempt.background.is_some(),
        ..ModuleCall::default()
    };
    attempt.module_with(module, arguments, call).await
}

/// `package`: whichever package manager the machine has.
pub(super) struct Package;

impl Action for Package {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(package(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            background: true,
            ..Traits::default()
        }
    }
}

async fn package(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let mut module = Given(&arguments)
        .text("use")
        .unwrap_or_else(|| "auto".to_owned());
    if module == "auto" {
        module = match attempt.variable("ansible_package_use")? {
            Some(value) if value.truth().unwrap_or(false) => repr::text(&value),
            _ => match known(attempt, "pkg_mgr") {
                Some(manager) => manager,
                None => {
                    let report = asked(attempt, "pkg_mgr").await?;
                    if says(&report, "failed") {
                        let message = report.get("msg").map(|value| repr::text(&value));
                        return Err(Failure::with(
                            format!(
                                "Failed to fetch ansible_pkg_mgr to determine the package action backend: {}",
                                message.unwrap_or_else(|| "None".to_owned())
                            ),
                            report,
                        ));
                    }
                    fact_of(&report, "pkg_mgr").ok_or_else(|| {
                        Failure::new(
                            "Could not detect a package manager. Try using the \"use\" option.",
                        )
                    })?
                }
            },
        };
    }
    if module.is_empty() || module == "auto" {
        return Err(Failure::new(
            "Could not detect which package manager to use. Try gathering facts or setting the \"use\" option.",
        ));
    }
    if !there_is(attempt, &module) {
        return Err(Failure::new(format!(
            "Could not find a matching action for the \"{module}\" package manager."
        )));
    }
    let own = copied(&arguments);
    take(&own, "use");
    let arguments = attempt.with_defaults(&module, &own)?;
    if MANAGERS.contains(&module.as_str()) {
        module = format!("ansible.legacy.{module}");
    }
    delegate(attempt, &module, arguments).await
}

/// `service`: whichever service manager the machine has.
pub(super) struct Service;

impl Action for Service {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(service(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Package.traits()
    }
}

async fn service(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let mut module = Given(&arguments)
        .text("use")
        .unwrap_or_else(|| "auto".to_owned())
        .to_lowercase();
    if module == "auto" {
        module = match known(attempt, "service_mgr") {
            Some(manager) => manager,
            None => {
                let report = asked(attempt, "service_mgr").await?;
                fact_of(&report, "service_mgr").unwrap_or_else(|| "auto".to_owned())
            }
        };
    }
    if module.is_empty() || module == "auto" || !there_is(attempt, &module) {
        "ansible.legacy.service".clone_into(&mut module);
    }
    let own = copied(&arguments);
    take(&own, "use");
    if module == "systemd" {
        for unused in ["pattern", "runlevel", "sleep", "arguments", "args"] {
            if take(&own, unused).is_some() {
                attempt.warn(format!(
                    "Ignoring \"{unused}\" as it is not used in \"{module}\""
                ));
            }
        }
    }
    let arguments = attempt.with_defaults(&module, &own)?;
    if SERVICES.contains(&module.as_str()) {
        module = format!("ansible.legacy.{module}");
    }
    delegate(attempt, &module, arguments).await
}

/// `dnf`: the module for the version of dnf the machine has.
pub(super) struct Dnf;

impl Action for Dnf {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(dnf(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Package.traits()
    }
}

async fn dnf(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    const BACKENDS: &[&str] = &["yum", "yum4", "dnf", "dnf4", "dnf5"];
    let given = Given(&arguments);
    if given.has("use") && given.has("use_backend") {
        return Err(Failure::new(
            "parameters are mutually exclusive: ('use', 'use_backend')",
        ));
    }
    let mut module = given
        .text("use")
        .or_else(|| given.text("use_backend"))
        .unwrap_or_else(|| "auto".to_owned());
    if module == "yum" || module == "auto" {
        module = known(attempt, "pkg_mgr").unwrap_or(module);
    }
    let result = Dict::default();
    if !BACKENDS.contains(&module.as_str()) {
        let report = asked(attempt, "pkg_mgr").await?;
        if says(&report, "failed") {
            let message = report.get("msg").map(|value| repr::text(&value));
            return Err(Failure::with(
                format!(
                    "Failed to fetch ansible_pkg_mgr to determine the dnf action backend: {}",
                    message.unwrap_or_else(|| "None".to_owned())
                ),
                report,
            ));
        }
        module = fact_of(&report, "pkg_mgr").unwrap_or_else(|| "auto".to_owned());
        if attempt.delegated.is_none() && module != "auto" {
            set(
                &result,
                "ansible_facts",
                dict([("pkg_mgr", module.as_str().into())]),
            );
        }
    }
    if !BACKENDS.contains(&module.as_str()) {
        set(&result, "failed", true);
        set(
            &result,
            "msg",
            Value::list(vec![
                "Could not detect which major revision of dnf is in use, which is required to determine module backend."
                    .into(),
                "You should manually specify use_backend to tell the module whether to use the dnf4 or dnf5 backend})"
                    .into(),
            ]),
        );
        return Ok(result);
    }
    if module == "yum4" || module == "dnf4" {
        "dnf".clone_into(&mut module);
    }
    let module = format!("ansible.legacy.{module}");
    if !there_is(attempt, &module) {
        set(&result, "failed", true);
        set(
            &result,
            "msg",
            format!("Could not find a dnf module backend for {module}."),
        );
        return Ok(result);
    }
    let own = copied(&arguments);
    take(&own, "use");
    take(&own, "use_backend");
    update(&result, &delegate(attempt, &module, own).await?);
    Ok(result)
}

/// `gather_facts`: the modules that gather what is known of a machine.
pub(super) struct GatherFacts;

impl Action for GatherFacts {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(gather_facts(attempt, arguments))
    }
}

fn is_setup(module: &str) -> bool {
    matches!(
        module,
        "setup" | "ansible.builtin.setup" | "ansible.legacy.setup"
    )
}

async fn gather_facts(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let given = Given(&arguments);
    let mut modules: Vec<String> = match attempt.variable("ansible_facts_modules")? {
        Some(Value::Str(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Some(value) => value
            .iterate()
            .map_err(|error| Failure::error(error.to_string()))?
            .iter()
            .map(repr::text)
            .collect(),
        None => attempt.settings().facts_modules.clone(),
    };
    if let Some(at) = modules.iter().position(|module| module == "smart") {
        modules.remove(at);
        let network = given
            .text("network_os")
            .or(attempt
                .variable("ansible_network_os")?
                .map(|value| repr::text(&value)))
            .or_else(|| known(attempt, "network_os"));
        match network.filter(|network| !network.is_empty()) {
            Some(network) => {
                if let Some(module) = super::fact_modules::of(&network) {
                    modules.push(module);
                } else if modules.is_empty() {
                    return Err(Failure::new(format!(
                        "No fact modules available and we could not find a fact module for your network OS ({network}), try \
                         setting one via the `FACTS_MODULES` configuration."
                    )));
                }
                if modules.iter().any(|module| is_setup(module)) {
                    attempt.warn(
                        "Detected 'setup' module and a network OS is set, the output when running it will reflect 'localhost' and not \
                         the target when a networking connection plugin is used.",
                    );
                }
            }
            None => {
                if !modules.iter().any(|module| is_setup(module)) {
                    modules.push("ansible.legacy.setup".to_owned());
                }
            }
        }
    }
    let parallel = match attempt.variable("ansible_facts_parallel")? {
        Some(value) => value,
        None => given.get("parallel").unwrap_or(Value::None),
    };
    let parallel = match &parallel {
        Value::None => modules.len() > 1,
        given => is_yes(given),
    };
    // modules that know no such limit themselves are ended, where they do not hold others up
    let limit = given
        .text("gather_timeout")
        .and_then(|seconds| seconds.parse().ok())
        .filter(|seconds| parallel && *seconds > 0)
        .map(Duration::from_secs);
    let mut calls = Vec::new();
    for module in &modules {
        let arguments = facts_arguments(attempt, module, &arguments)?;
        let limit = limit.filter(|_| arguments.get("gather_timeout").is_none());
        calls.push(facts_of(attempt, module, arguments, limit));
    }
    let reports = if parallel {
        futures::future::join_all(calls).await
    } else {
        let mut reports = Vec::with_capacity(calls.len());
        for call in calls {
            reports.push(call.await);
        }
        reports
    };
    let facts = Dict::default();
    let result = Dict::default();
    let (mut failed, mut skipped) = (IndexMap::new(), IndexMap::new());
    let mut told: IndexMap<&str, Vec<Value>> = IndexMap::new();
    for (module, report) in modules.iter().zip(reports) {
        let report = report?;
        if says(&report, "failed") {
            failed.insert(Key::from(module.as_str()), report);
            continue;
        }
        if says(&report, "skipped") {
            skipped.insert(Key::from(module.as_str()), report);
            continue;
        }
        if let Some(Value::Dict(found)) = report.get("ansible_facts") {
            lay_over(&facts, &found);
        }
        for key in ["warnings", "deprecations"] {
            if let Some(Value::List(items)) = report.get(key) {
                told.entry(key)
                    .or_default()
                    .extend(items.read().iter().cloned());
            }
        }
    }
    for (key, items) in told {
        set(&result, key, items);
    }
    let names = |of: &IndexMap<Key, Dict>| {
        of.keys()
            .filter_map(Key::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let of = |reports: IndexMap<Key, Dict>| {
        Dict::new(
            reports
                .into_iter()
                .map(|(key, report)| (key, Value::Dict(report)))
                .collect(),
        )
    };
    if !skipped.is_empty() {
        set(
            &result,
            "msg",
            format!("The following modules were skipped: {}.", names(&skipped)),
        );
        if skipped.len() == modules.len() {
            set(&result, "skipped", true);
        }
        set(&result, "skipped_modules", of(skipped));
    }
    if !failed.is_empty() {
        set(&result, "failed", true);
        set(
            &result,
            "msg",
            format!(
                "The following modules failed to execute: {}.",
                names(&failed)
            ),
        );
        for (_, report) in &failed {
            if let Some(value) = take(report, consort_modules::CAUSES) {
                set(&result, consort_modules::CAUSES, value);
            }
            take(report, "_ansible_of_module");
        }
        set(&result, "failed_modules", of(failed));
    }
    set(&facts, "_ansible_facts_gathered", true);
    set(&result, "ansible_facts", facts);
    set(&result, "_ansible_verbose_override", true);
    Ok(result)
}

/// What a module of facts gives, or that it took too long.
async fn facts_of(
    attempt: &Attempt<'_>,
    module: &str,
    arguments: Dict,
    limit: Option<Duration>,
) -> Outcome {
    let call = attempt.module(module, arguments);
    match limit {
        None => call.await,
        Some(limit) => match tokio::time::timeout(limit, call).await {
            Ok(report) => report,
            Err(_) => Ok(dict([
                ("failed", true.into()),
                ("msg", "Timeout exceeded".into()),
            ])),
        },
    }
}

/// Facts laid over others: dicts entry by entry, lists with what is new behind.
fn lay_over(under: &Dict, over: &Dict) {
    let over = over.read().clone();
    for (key, value) in over {
        let known = under.read().get(&key).cloned();
        let value = match (known, value) {
            (Some(Value::Dict(known)), Value::Dict(new)) => {
                lay_over(&known, &new);
                Value::Dict(known)
            }
            (Some(Value::List(known)), Value::List(new)) => {
                let new = new.read().clone();
                let mut items: Vec<Value> = known
                    .read()
                    .iter()
                    .filter(|item| !new.iter().any(|new| new.equals(item)))
                    .cloned()
                    .collect();
                items.extend(new);
                Value::list(items)
            }
            (_, value) => value,
        };
        under.change(|entries| entries.insert(key, value));
    }
}

fn facts_arguments(attempt: &Attempt<'_>, module: &str, arguments: &Dict) -> Result<Dict, Failure> {
    let own = copied(arguments);
    take(&own, "parallel");
    if !is_setup(module) {
        let subset = take(&own, "gather_subset");
        if let Some(subset) = subset {
            let all = match &subset {
                Value::None => true,
                Value::Str(text) => &**text == "all",
                Value::List(items) => {
                    let items = items.read();
                    items.len() == 1 && items[0].as_str() == Some("all")
                }
                _ => false,
            };
            if !all {
                attempt.warn(format!(
                    "Not passing subset({}) to {module}",
                    repr::text(&subset)
                ));
            }
        }
        for (name, word) in [("gather_timeout", "timeout"), ("filter", "filter")] {
            if let Some(value) = take(&own, name)
                && !matches!(value, Value::None)
            {
                attempt.warn(format!(
                    "Not passing {word}({}) to {module}",
                    repr::text(&value)
                ));
            }
        }
    }
    own.change(|entries| entries.retain(|_, value| !matches!(value, Value::None)));
    attempt.with_defaults(module, &own)
}
