//! `version`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use consort_hcl::Sources;
use consort_infra::install::{LOCK_FILE, Locks};
use serde::Serialize;

use super::flags::{Flags, switch};
use super::place::Place;
use super::{Command, VERSION};

pub(super) const COMMAND: Command = Command {
    name: "version",
    usage: "[options]",
    short: "Show the current Terraform version",
    about: "Prints the version of Terraform whose language, files and protocols this follows, Consort's own, and \
            the providers that the lock file selects.",
    flags: &[&[switch("json", "As one JSON object.")]],
    run,
};

// The order of the fields is the order in the output.
#[derive(Serialize)]
struct Versions {
    terraform_version: &'static str,
    consort_version: &'static str,
    platform: String,
    provider_selections: BTreeMap<String, String>,
    terraform_outdated: bool,
}

fn run(flags: &Flags) -> ExitCode {
    let platform = consort_infra::install::Platform::current().to_string();
    // A lock file that cannot be read selects nothing, and that is for other commands to tell.
    let (locks, _) = Locks::read(&Place::here().root().join(LOCK_FILE), &mut Sources::new());
    let selected: BTreeMap<String, String> = locks
        .0
        .iter()
        .map(|(provider, lock)| (provider.to_string(), lock.version.to_string()))
        .collect();
    if flags.is("json") {
        let versions = Versions {
            terraform_version: VERSION,
            consort_version: env!("CARGO_PKG_VERSION"),
            platform,
            provider_selections: selected,
            terraform_outdated: false,
        };
        let text = serde_json::to_string_pretty(&versions).unwrap_or_default();
        crate::output::print(&format!("{text}\n"));
        return ExitCode::SUCCESS;
    }
    let mut text = format!(
        "Terraform v{VERSION}\non {platform}\n+ consort v{}\n",
        env!("CARGO_PKG_VERSION")
    );
    for (provider, version) in selected {
        text.push_str(&format!("+ provider {provider} v{version}\n"));
    }
    crate::output::print(&text);
    ExitCode::SUCCESS
}
