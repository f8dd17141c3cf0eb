//! `dpkg_selections`: what dpkg is to do with a package: keep it as it is, install it, remove it.

use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Spec, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "dpkg_selections",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required())
        .with(
            "selection",
            text()
                .choices(&["install", "hold", "deinstall", "purge"])
                .required(),
        )
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let dpkg = process::required(context, "dpkg", &[])?;
    let (name, wanted) = (arguments.required("name"), arguments.required("selection"));
    let get = Command::new([dpkg.as_str(), "--get-selections", name]).check();
    let done = locale::command(context, get).run(context)?;
    if done.err().contains("no packages found matching") {
        return Err(Failure::new(format!(
            "Failed to find package '{name}' to perform selection '{wanted}'."
        )));
    }
    let out = done.out();
    let current = if out.is_empty() {
        "not present"
    } else {
        out.split_whitespace()
            .nth(1)
            .ok_or_else(|| Failure::unhandled("list index out of range"))?
    };
    let changed = current != wanted;
    if changed && !context.settings.check {
        let set = Command::new([dpkg.as_str(), "--set-selections"])
            .text(&format!("{name} {wanted}"))
            .check();
        locale::command(context, set).run(context)?;
    }
    Ok(Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("before".to_owned(), json!(current)),
        ("after".to_owned(), json!(wanted)),
    ]))
}
