//! `metadata functions`: the functions of the language, for programs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::evaluate::Parameter;
use consort_hcl::{Type, functions, json};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Command;
use super::flags::{Flags, switch};
use super::terminal::Terminal;

pub(super) const FUNCTIONS: Command = Command {
    name: "metadata functions",
    usage: "-json",
    short: "Show signatures and descriptions for the available functions",
    about: "Prints the signatures of all functions of the language, as JSON.",
    flags: &[&[switch(
        "json",
        "As JSON, for programs; there is no other form.",
    )]],
    run,
};

// The order of the fields is the order in the output.
#[derive(Serialize)]
struct Signatures {
    format_version: &'static str,
    function_signatures: BTreeMap<Arc<str>, Signature>,
}

#[derive(Serialize)]
struct Signature {
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    return_type: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<Taken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variadic_parameter: Option<Taken>,
}

#[derive(Serialize)]
struct Taken {
    name: Arc<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_nullable: bool,
    #[serde(rename = "type")]
    ty: Option<Box<RawValue>>,
}

fn run(flags: &Flags) -> ExitCode {
    if !flags.is("json") {
        let terminal = Terminal::new(false, false);
        terminal
            .complain("The `terraform metadata functions` command requires the `-json` flag.\n");
        terminal.complain(&super::help(&FUNCTIONS));
        return ExitCode::FAILURE;
    }
    let signatures = Signatures {
        format_version: "1.0",
        function_signatures: functions::core(&functions::Options::default())
            .iter()
            .map(|(name, function)| {
                let bare = name.strip_prefix("core::").unwrap_or(name);
                let taken = |parameter: &Parameter| Taken {
                    name: parameter.name.clone(),
                    description: functions::describe_parameter(bare, &parameter.name),
                    is_nullable: parameter.allow_null,
                    ty: raw(&parameter.ty),
                };
                let mut signature = Signature {
                    description: functions::describe(bare),
                    return_type: raw(&shown_type(bare).unwrap_or_else(|| function.return_type())),
                    parameters: function.params().iter().map(taken).collect(),
                    variadic_parameter: function.variadic().map(taken),
                };
                if bare == "templatestring" {
                    // It looks at its argument as written; what it wants there is a string all the same.
                    for (parameter, ty) in signature
                        .parameters
                        .iter_mut()
                        .zip([Type::String, Type::Dynamic])
                    {
                        parameter.ty = raw(&ty);
                        parameter.is_nullable = false;
                    }
                }
                (name.clone(), signature)
            })
            .collect(),
    };
    let text = serde_json::to_string(&signatures).unwrap_or_default();
    crate::output::print(&format!("{text}\n"));
    ExitCode::SUCCESS
}

/// The types shown for results where they are not those found by asking the function: of those that see their
/// arguments as written, and of those whose type upstream does not tell without values.
fn shown_type(name: &str) -> Option<Type> {
    match name {
        "can" => Some(Type::Bool),
        "templatestring" => Some(Type::String),
        "format" | "formatlist" => Some(Type::Dynamic),
        _ => None,
    }
}

fn raw(ty: &Type) -> Option<Box<RawValue>> {
    RawValue::from_string(json::type_encode(ty)).ok()
}
