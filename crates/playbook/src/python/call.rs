//! What a machine is told to run a packed module.

use consort_modules::Invocation;
use consort_modules::protocol::becoming::quoted;
use consort_modules::protocol::message::{PackedCall, PackedProgram};
use serde_json::{Map, Value};

use crate::connection::{ConnectionSettings, Packed, PackedKind};

/// The version that modules are told to be run by.
pub(crate) const VERSION: &str = "2.21.5";

/// What the machine of a connection is told.
pub(crate) fn call(
    module: &Packed,
    invocation: &Invocation,
    connection: &ConnectionSettings,
) -> PackedCall {
    let words = |interpreter: &Option<String>| -> Vec<String> {
        interpreter.as_deref().map(split).unwrap_or_default()
    };
    let socket = connection.option("socket_path");
    let arguments = arguments(module, invocation, socket);
    let (kind, arguments) = match &module.kind {
        PackedKind::Python {
            module,
            interpreter,
            alone,
            open_files,
        } => {
            let mut all = Map::new();
            all.insert("ANSIBLE_MODULE_ARGS".to_owned(), Value::Object(arguments));
            let kind = PackedProgram::Python {
                module: module.clone(),
                interpreter: split(interpreter),
                alone: *alone,
                open_files: *open_files,
            };
            (kind, Value::Object(all).to_string())
        }
        PackedKind::WantsJson { interpreter } => (
            PackedProgram::Program {
                interpreter: words(interpreter),
                file: true,
            },
            Value::Object(arguments).to_string(),
        ),
        PackedKind::Binary => (
            PackedProgram::Program {
                interpreter: Vec::new(),
                file: true,
            },
            Value::Object(arguments).to_string(),
        ),
        PackedKind::OldStyle { interpreter } => (
            PackedProgram::Program {
                interpreter: words(interpreter),
                file: true,
            },
            arguments
                .iter()
                .map(|(name, value)| format!("{name}={} ", quoted(&python_str(value))))
                .collect(),
        ),
        PackedKind::Complete { interpreter } => (
            PackedProgram::Program {
                interpreter: words(interpreter),
                file: false,
            },
            String::new(),
        ),
    };
    PackedCall {
        name: module.name.clone(),
        digest: module.digest.clone(),
        kind,
        arguments,
        remote_tmp: connection.remote_tmp.clone(),
        environment: invocation.settings.environment.clone(),
        directory: invocation.settings.directory.clone(),
    }
}

/// An interpreter with its arguments as words.
fn split(interpreter: &str) -> Vec<String> {
    shlex::split(interpreter).unwrap_or_else(|| vec![interpreter.to_owned()])
}

/// Whether a package is run as a program.
pub(crate) fn is_program(module: &Packed) -> bool {
    !matches!(module.kind, PackedKind::Python { .. })
}

/// The arguments of a module, with what modules are told beside them.
pub(super) fn arguments(
    module: &Packed,
    invocation: &Invocation,
    socket: Option<&str>,
) -> Map<String, Value> {
    let settings = &invocation.settings;
    let mut arguments = invocation.arguments.clone();
    let told: [(&str, Value); 18] = [
        ("_ansible_check_mode", settings.check.into()),
        ("_ansible_no_log", settings.no_log.into()),
        ("_ansible_debug", false.into()),
        ("_ansible_diff", settings.diff.into()),
        ("_ansible_verbosity", settings.verbosity.into()),
        ("_ansible_version", VERSION.into()),
        ("_ansible_module_name", module.name.clone().into()),
        (
            "_ansible_syslog_facility",
            settings.syslog_facility.clone().into(),
        ),
        (
            "_ansible_selinux_special_fs",
            settings.selinux_special_fs.clone().into(),
        ),
        ("_ansible_socket", socket.map(str::to_owned).into()),
        ("_ansible_shell_executable", settings.shell.clone().into()),
        (
            "_ansible_keep_remote_files",
            settings.keep_remote_files.into(),
        ),
        ("_ansible_tmpdir", Value::Null),
        ("_ansible_remote_tmp", settings.remote_tmp.clone().into()),
        (
            "_ansible_ignore_unknown_opts",
            settings.ignore_unknown_opts.into(),
        ),
        (
            "_ansible_target_log_info",
            settings.target_log_info.clone().into(),
        ),
        ("_ansible_tracebacks_for", Value::Array(Vec::new())),
        (
            "_ansible_inject_invocation",
            settings.inject_invocation.into(),
        ),
    ];
    for (name, value) in told {
        // what the caller says of it goes before
        arguments.entry(name).or_insert(value);
    }
    arguments
}

/// A value as `str` of Python writes it.
pub(crate) fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => python_repr(other),
    }
}

/// A value as `repr` of Python writes it.
fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') {
                '"'
            } else {
                '\''
            };
            let mut written = String::from(quote);
            for letter in text.chars() {
                match letter {
                    '\\' => written.push_str("\\\\"),
                    '\n' => written.push_str("\\n"),
                    '\r' => written.push_str("\\r"),
                    '\t' => written.push_str("\\t"),
                    letter if letter == quote => {
                        written.push('\\');
                        written.push(letter);
                    }
                    letter if letter.is_control() => {
                        written.push_str(&format!("\\x{:02x}", letter as u32));
                    }
                    letter => written.push(letter),
                }
            }
            written.push(quote);
            written
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python_repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| {
                    format!(
                        "{}: {}",
                        python_repr(&Value::String(name.clone())),
                        python_repr(value)
                    )
                })
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}
