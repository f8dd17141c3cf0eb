//! What is wrong on the way to machines, and with what modules are given.

use super::{listed, meant};
use crate::explain::files;
use crate::explain::names::between;
use crate::explain::nearest::nearest;
use crate::language::Task;

/// What could be done.
pub(super) fn of(message: &str, task: &Task) -> Vec<String> {
    let mut hints = arguments(message, task);
    hints.extend(reaching(message).map(str::to_owned));
    hints.extend(becoming(message).map(str::to_owned));
    hints.extend(doing(message, task));
    hints
}

/// The names of arguments that a task gives.
fn given(task: &Task) -> Vec<String> {
    task.action
        .arguments
        .read()
        .keys()
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}

fn arguments(message: &str, task: &Task) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(missing) = message.split("missing required arguments: ").nth(1) {
        let given = given(task);
        for name in missing.split(',').map(str::trim) {
            if let Some(near) = nearest(name, given.iter().map(String::as_str)) {
                hints.push(format!("'{near}' stands there: did you mean '{name}'?"));
            }
        }
        if hints.is_empty() && !given.is_empty() {
            hints.push(format!("the task gives: {}", listed(&given)));
        }
    }
    if let (Some(unknown), Some(known)) = (
        between(message, "Unsupported parameters for (", "."),
        message.split("Supported parameters include: ").nth(1),
    ) {
        let unknown = unknown.split("module: ").nth(1).unwrap_or_default();
        let known: Vec<&str> = known
            .split(", ")
            .map(|name| {
                name.split(" (")
                    .next()
                    .unwrap_or(name)
                    .trim_end_matches('.')
            })
            .collect();
        for name in unknown.split(", ") {
            if let Some(near) = nearest(name, known.iter().copied()) {
                hints.push(format!("where '{name}' stands, {}", meant(near)));
            }
        }
    }
    if let Some(rest) = message.split(" must be one of: ").nth(1)
        && let Some((choices, got)) = rest.split_once(", got: ")
    {
        let choices: Vec<&str> = choices.split(", ").collect();
        // `dir` is short for `directory`.
        let near = nearest(got, choices.iter().copied()).or_else(|| {
            choices
                .iter()
                .copied()
                .find(|choice| choice.starts_with(got))
        });
        hints.extend(near.map(meant));
    }
    if message.contains("does not support raw params") {
        let name = task.action.written.as_ref();
        hints.push(format!(
            "give arguments by name: `{name}: {{name: value}}` or `{name}: name=value`"
        ));
    }
    hints
}

fn reaching(message: &str) -> Option<&'static str> {
    if !message.contains("Failed to connect") && !message.contains("via ssh") {
        return None;
    }
    Some(if message.contains("Connection refused") {
        "nothing listens there: is sshd running, and is ansible_port right?"
    } else if message.contains("timed out")
        || message.contains("No route to host")
        || message.contains("unreachable")
    {
        "no answer from there: is the machine up, ansible_host right, and no firewall in between?"
    } else if message.contains("resolve hostname") || message.contains("Name or service not known")
    {
        "the name has no address: set ansible_host, or look at the name's spelling"
    } else if message.contains("Host key verification failed")
        || message.contains("IDENTIFICATION HAS CHANGED")
    {
        "its key is not the one in known_hosts: if the machine is new, take the old key out with ssh-keygen -R HOST"
    } else if message.contains("Permission denied")
        || message.contains("Too many authentication failures")
    {
        "it does not let this user in: look at ansible_user (-u), ansible_ssh_private_key_file (--private-key), or ask for a password with -k"
    } else {
        "try it by hand: ssh with the same user, port and key says more with -v"
    })
}

fn becoming(message: &str) -> Option<&'static str> {
    if message.contains("Missing sudo password") || message.contains("password is required") {
        return Some("ask for the password with -K, or set ansible_become_password (in a vault)");
    }
    if message.contains("Incorrect sudo password") || message.contains("Incorrect su password") {
        return Some(
            "the password given with -K or ansible_become_password is not that of the user who logs in (for su: of the user to become)",
        );
    }
    if message.contains("is not in the sudoers file") || message.contains("not allowed to execute")
    {
        return Some("the machine's /etc/sudoers does not let this user do so");
    }
    if message.contains("waiting for become success")
        || message.contains("sudo: not found")
        || message.contains("sudo: command not found")
    {
        return Some(
            "the program for it cannot be run there: is it installed (sudo, su, doas), and is become_method right?",
        );
    }
    None
}

fn doing(message: &str, task: &Task) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(name) = between(message, "Could not find or access '", "'") {
        let near = task
            .search_path()
            .iter()
            .flat_map(|directory| {
                ["files", "templates", "vars", "tasks", ""]
                    .map(|kind| directory.join(kind).join(name))
            })
            .chain([std::path::PathBuf::from(name)])
            .find_map(|path| files::near(&path.to_string_lossy()));
        hints.extend(near.map(|near| format!("did you mean {near}?")));
        if message.contains("remote_src") {
            hints.push(
                "it is looked for on this machine; say `remote_src: true` if it lies on the other"
                    .to_owned(),
            );
        }
    } else if let Some(directory) = between(message, "Destination directory ", " does not exist") {
        hints.push(format!(
            "make it before: `file: {{path: {directory}, state: directory}}`"
        ));
    } else if message.contains("No such file or directory: b'")
        || message.contains("non-zero return code") && message.contains("not found")
    {
        let shell = task.action.builtin() == Some("command");
        hints.push("the program is not there, or not in the PATH of that machine".to_owned());
        if shell {
            hints.push("`command` has no shell: pipes, redirections, `&&` and $VARIABLES want the module `shell`".to_owned());
        }
    } else if message.contains("Could not find the requested service") {
        hints.push(
            "is the package installed that brings it? Its unit may have another name (ssh, sshd)"
                .to_owned(),
        );
    } else if message.contains("failed to look up user")
        || message.contains("failed to look up group")
    {
        hints.push("make it before, with the module `user` or `group`".to_owned());
    } else if message.contains("bad symbolic permission") || message.contains("mode must be") {
        hints.push("write modes as '0644' or 'u=rw,go=r', in quotes".to_owned());
    } else if message.contains("Timed out after") {
        hints.push(
            "the keyword `timeout` ends it; what takes long may run with `async` and `poll`"
                .to_owned(),
        );
    }
    hints
}
