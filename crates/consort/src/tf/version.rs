//! `version`.

use std::process::ExitCode;

use serde_json::json;

use super::flags::{Flags, switch};
use super::{Command, VERSION};

pub(super) const COMMAND: Command = Command {
    name: "version",
    usage: "[options]",
    short: "Show which version of Terraform this behaves as",
    about: "Prints the version of Terraform whose language, files and protocols this follows, and \
            Consort's own.",
    flags: &[&[switch("json", "As one JSON object.")]],
    run,
};

fn run(flags: &Flags) -> ExitCode {
    let platform = consort_infra::install::Platform::current().to_string();
    if flags.is("json") {
        let version = json!({
            "terraform_version": VERSION,
            "consort_version": env!("CARGO_PKG_VERSION"),
            "platform": platform,
            "provider_selections": {},
            "terraform_outdated": false,
        });
        let text = serde_json::to_string_pretty(&version).unwrap_or_default();
        crate::output::print(&format!("{text}\n"));
    } else {
        crate::output::print(&format!(
            "Terraform v{VERSION}\non {platform}\n+ consort v{}\n",
            env!("CARGO_PKG_VERSION")
        ));
    }
    ExitCode::SUCCESS
}
