//! `output`.

use std::process::ExitCode;

use consort_hcl::{Kind, Sources, Type, Value, convert};
use consort_infra::render::expression;
use consort_infra::state::Output;
use serde_json::json;
use serde_json::value::RawValue;

use super::flags::{Flags, one, switch};
use super::place::{Place, local_paths};
use super::terminal::Terminal;
use super::{Command, NO_COLOUR, wait};

pub(super) const COMMAND: Command = Command {
    name: "output",
    usage: "[options] [NAME]",
    short: "Show the outputs of the root module",
    about: "Prints the outputs that the state holds, or one of them. Sensitive values are shown only when \
            asked for by name, with -json or with -raw.",
    flags: &[
        &[
            one(
                "state",
                "path",
                "State file to read; for the local backend only.",
            ),
            switch("json", "As JSON."),
            switch(
                "raw",
                "The bare text of one output that is a string, a number or a truth value.",
            ),
        ],
        NO_COLOUR,
    ],
    run,
};

fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color"), false);
    if flags.rest.len() > 1 {
        terminal.error(
            "Unexpected argument",
            "The output command expects exactly one argument with the name of an output variable or no \
             arguments to show all outputs.",
        );
        return ExitCode::FAILURE;
    }
    if flags.is("json") && flags.is("raw") {
        terminal.error(
            "Invalid output format",
            "The -raw and -json options are mutually-exclusive.",
        );
        return ExitCode::FAILURE;
    }
    let name = flags
        .rest
        .first()
        .map(String::as_str)
        .filter(|n| !n.is_empty());
    if flags.is("raw") && name.is_none() {
        terminal.error(
            "Output name required",
            "You must give the name of a single output value when using the -raw option.",
        );
        return ExitCode::FAILURE;
    }
    let mut sources = Sources::new();
    let found = wait(async {
        Place::here()
            .backing(&mut sources, &local_paths(flags))?
            .look()
            .await
    });
    let state = match found {
        Ok(state) => state.unwrap_or_default(),
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            return ExitCode::FAILURE;
        }
    };
    let Some(name) = name else {
        return all(&terminal, flags, &state.outputs);
    };
    let Some(output) = state.outputs.get(name) else {
        terminal.error(
            &format!("Output {name:?} not found"),
            "The output variable requested could not be found in the state file. If you recently added this to \
             your configuration, be sure to run `terraform apply`, since the state won't be updated with new \
             output variables until that command is run.",
        );
        return ExitCode::FAILURE;
    };
    if flags.is("json") {
        crate::output::print(&format!("{}\n", output.value));
        return ExitCode::SUCCESS;
    }
    let value = match output.decoded() {
        Ok(value) => value.unmark_deep().0,
        Err(wrong) => {
            terminal.error("Invalid output value in the state", &wrong);
            return ExitCode::FAILURE;
        }
    };
    if !flags.is("raw") {
        crate::output::print(&format!("{}\n", expression(&value, 0)));
        return ExitCode::SUCCESS;
    }
    let refuse = |why: String| {
        terminal.error("Unsupported value for raw output", &why);
        ExitCode::FAILURE
    };
    if !value.ty().is_primitive() {
        return refuse(format!(
            "The -raw option only supports strings, numbers, and boolean values, but output value {name:?} is \
             {}.\n\nUse the -json option for machine-readable representations of output values that have \
             complex types.",
            value.ty().friendly_name()
        ));
    }
    match convert(&value, &Type::String).as_ref().map(Value::kind) {
        Ok(Kind::String(text)) => {
            crate::output::print(text);
            ExitCode::SUCCESS
        }
        _ => refuse(format!(
            "The value for output value {name:?} is null, so -raw mode cannot print it."
        )),
    }
}

fn all(
    terminal: &Terminal,
    flags: &Flags,
    outputs: &std::collections::BTreeMap<std::sync::Arc<str>, Output>,
) -> ExitCode {
    if flags.is("json") {
        let all: serde_json::Map<String, serde_json::Value> = outputs
            .iter()
            .map(|(name, output)| {
                let value = json!({
                    "sensitive": output.sensitive,
                    "type": raw(&output.kind),
                    "value": raw(&output.value),
                });
                (name.to_string(), value)
            })
            .collect();
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        crate::output::print(&format!("{text}\n"));
        return ExitCode::SUCCESS;
    }
    if outputs.is_empty() {
        let mut diagnostics = consort_hcl::Diagnostics::new();
        diagnostics.push(consort_hcl::Diagnostic::warning(
            "No outputs found",
            "The state file either has no outputs defined, or all the defined outputs are empty. Please define \
             an output in your configuration with the `output` keyword and run `terraform refresh` for it to \
             become available. If you are using interpolation, please verify the interpolated value is not \
             empty. You can use the `terraform console` command to assist.",
        ));
        terminal.diagnose(&diagnostics, &Sources::new());
        return ExitCode::SUCCESS;
    }
    crate::output::print(&listing(outputs));
    ExitCode::SUCCESS
}

/// `name = value` for each, sensitive ones hidden.
pub(super) fn listing(outputs: &std::collections::BTreeMap<std::sync::Arc<str>, Output>) -> String {
    let mut text = String::new();
    for (name, output) in outputs {
        let shown = match output.decoded() {
            _ if output.sensitive => "<sensitive>".to_owned(),
            Ok(value) => expression(&value, 0),
            Err(_) => output.value.to_string(),
        };
        text.push_str(&format!("{name} = {shown}\n"));
    }
    text
}
