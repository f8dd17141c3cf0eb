//! The line each call leaves in the log of the system.

use std::os::unix::net::UnixDatagram;

use serde_json::{Map, Value};

use crate::arguments::Spec;
use crate::context::Context;
use crate::python;
use crate::secrets;

/// Tells the log of the system that a module was called, with its arguments. Says nothing if there is no log.
pub(crate) fn invoked(
    context: &mut Context<'_>,
    module: &str,
    spec: &Spec,
    aliases: &[(String, String)],
    values: &Map<String, Value>,
) {
    let mut parts = Vec::with_capacity(values.len());
    for (name, value) in values {
        let known = aliases
            .iter()
            .find(|(alias, _)| alias == name)
            .map_or(name, |(_, known)| known);
        let no_log = spec.options.get(known).and_then(|argument| argument.no_log);
        let told = if no_log.is_none() && is_like_password(name) {
            context.warn(format!("Module did not set no_log for {name}"));
            "NOT_LOGGING_PASSWORD".to_owned()
        } else if no_log == Some(true) {
            "NOT_LOGGING_PARAMETER".to_owned()
        } else {
            let text = secrets::hide_passwords(&python::str_value(value));
            secrets::remove_from_text(&text, &context.secrets)
        };
        parts.push(format!("{name}={told}"));
    }
    if !std::path::Path::new("/dev/log").exists() {
        return;
    }
    let Ok(socket) = UnixDatagram::unbound() else {
        return;
    };
    let mut message = if parts.is_empty() {
        "Invoked".to_owned()
    } else {
        format!("Invoked with {}", parts.join(" "))
    };
    if let Some(more) = &context.settings.target_log_info {
        message = format!("{more} {message}");
    }
    let priority = facility(&context.settings.syslog_facility) * 8 + 6;
    let line = format!(
        "<{priority}>{} ansible-{module}[{}]: {message}",
        jiff::Zoned::now().strftime("%b %e %H:%M:%S"),
        std::process::id()
    );
    // A log that does not take it must not hinder the work.
    let _ = socket.set_nonblocking(true);
    let _ = socket.send_to(line.as_bytes(), "/dev/log");
}

fn facility(name: &str) -> u32 {
    match name.trim_start_matches("LOG_") {
        "KERN" => 0,
        "MAIL" => 2,
        "DAEMON" => 3,
        "AUTH" => 4,
        "SYSLOG" => 5,
        "LPR" => 6,
        "NEWS" => 7,
        "UUCP" => 8,
        "CRON" => 9,
        "AUTHPRIV" => 10,
        "LOCAL0" => 16,
        "LOCAL1" => 17,
        "LOCAL2" => 18,
        "LOCAL3" => 19,
        "LOCAL4" => 20,
        "LOCAL5" => 21,
        "LOCAL6" => 22,
        "LOCAL7" => 23,
        _ => 1,
    }
}

/// Whether a name is like that of a password: `pass`, `passwd` and `password` as a word of it.
fn is_like_password(name: &str) -> bool {
    let name = name.to_lowercase();
    let separates = |c: char| matches!(c, '-' | '_') || c.is_whitespace();
    name.match_indices("pass").any(|(at, _)| {
        let before = &name[..at];
        if !(before.is_empty() || (before.len() > 1 && before.ends_with(separates))) {
            return false;
        }
        let mut after = &name[at + 4..];
        let joined = after.strip_prefix(separates).unwrap_or(after);
        if let Some(rest) = ["phrase", "word", "wrd", "wd"]
            .iter()
            .find_map(|word| joined.strip_prefix(word))
        {
            after = rest;
        }
        after.is_empty() || (after.starts_with(separates) && after.len() > 1)
    })
}
