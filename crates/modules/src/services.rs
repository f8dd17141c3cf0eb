//! What the modules of services have in common: scripts of init, systemd, the processes there are.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::context::Context;
use crate::glob;
use crate::invocation::{Failure, Report};
use crate::process::{self, Cancel, Command};

/// That there is no such service, as `fail_if_missing` says it.
pub(crate) fn missing(service: &str, more: &str) -> Failure {
    Failure::new(format!(
        "Could not find the requested service {service}: {more}"
    ))
}

/// The script of init of a service: its name may be the path of it.
pub(crate) fn script_of(name: &str) -> String {
    if name.starts_with('/') {
        name.to_owned()
    } else {
        format!("/etc/init.d/{name}")
    }
}

/// Whether a service has a script of init.
pub(crate) fn has_script(name: &str) -> bool {
    Path::new(&script_of(name)).exists()
}

/// Whether init starts a service, in a runlevel or in any.
pub(crate) fn starts_by_init(name: &str, runlevel: Option<&str>) -> bool {
    let top = if Path::new("/etc/rc0.d/").is_dir() {
        "/etc"
    } else {
        "/etc/init.d"
    };
    let level = runlevel.filter(|level| !level.is_empty()).unwrap_or("?");
    glob::exists(Path::new("/"), &format!("{top}/rc{level}.d/S??{name}"))
}

/// The lines of what `ps` tells of all processes; `None` if it failed.
pub(crate) fn processes(
    context: &Context<'_>,
    locale: Option<&str>,
) -> Result<Option<String>, Failure> {
    let ps = process::required(context, "ps", &[])?;
    let mut command = Command::new([ps.as_str(), "auxww"]);
    if let Some(locale) = locale {
        command = speaking(command, locale);
    }
    let done = command.run(context)?;
    Ok(done.success().then(|| done.out()))
}

/// Whether a text is in the command line of a process.
pub(crate) fn has_process(context: &Context<'_>, pattern: &str) -> Result<bool, Failure> {
    Ok(processes(context, None)?
        .is_some_and(|told| told.lines().any(|line| line.contains(pattern))))
}

/// Whether systemd runs the machine, and can be spoken to.
pub(crate) fn is_systemd_managed(context: &Context<'_>) -> bool {
    if process::find(context, "systemctl", &[]).is_none() {
        return false;
    }
    let is_booted = [
        "/run/systemd/system/",
        "/dev/.run/systemd/",
        "/dev/.systemd/",
    ]
    .iter()
    .any(|sign| Path::new(sign).exists());
    is_booted
        || std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| {
            name.lines()
                .next()
                .is_some_and(|name| name.trim() == "systemd")
        })
}

/// Whether this is a root directory of its own inside of a system.
pub(crate) fn is_chroot(context: &Context<'_>) -> bool {
    if context
        .variable("debian_chroot")
        .is_some_and(|name| !name.is_empty())
    {
        return true;
    }
    let Ok(own) = std::fs::metadata("/") else {
        return false;
    };
    if let Ok(first) = std::fs::metadata("/proc/1/root/.") {
        return own.ino() != first.ino() || own.dev() != first.dev();
    }
    // Who may not look there goes by the number that the top of a file system has.
    let kind = process::find(context, "stat", &[])
        .and_then(|stat| {
            Command::new([stat.as_str(), "-f", "--format=%T", "/"])
                .run(context)
                .ok()
        })
        .map(|done| done.out())
        .unwrap_or_default();
    let top = if kind.contains("btrfs") {
        256
    } else if kind.contains("xfs") {
        128
    } else {
        2
    };
    own.ino() != top
}

/// Whether commands to systemd cannot have an effect here: what they say then is only warned of.
pub(crate) fn is_offline(context: &Context<'_>) -> bool {
    is_chroot(context) || context.variable("SYSTEMD_OFFLINE").as_deref() == Some("1")
}

/// A command whose messages are in a locale.
pub(crate) fn speaking(command: Command, locale: &str) -> Command {
    command
        .variable("LANG", locale)
        .variable("LC_ALL", locale)
        .variable("LC_MESSAGES", locale)
}

/// What `systemctl show` says, by the names of the properties. Only those whose names begin with `Exec` may go over
/// several lines.
pub(crate) fn properties(told: &str) -> Report {
    let mut found = Report::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in told.split('\n') {
        match open.take() {
            Some((key, mut lines)) => {
                lines.push(line);
                if line.trim_end().ends_with('}') {
                    found.insert(key.to_owned(), lines.join("\n").trim().into());
                } else {
                    open = Some((key, lines));
                }
            }
            None => {
                let Some((key, value)) = line.split_once('=') else {
                    continue;
                };
                if key.starts_with("Exec")
                    && value.trim_start().starts_with('{')
                    && !value.trim_end().ends_with('}')
                {
                    open = Some((key, vec![value]));
                } else {
                    found.insert(key.to_owned(), Value::from(value.trim()));
                }
            }
        }
    }
    found
}

/// Waits, unless the run is ended meanwhile.
pub(crate) fn pause(context: &Context<'_>, time: Duration) {
    let until = Instant::now() + time;
    while !context.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(200)));
    }
}
