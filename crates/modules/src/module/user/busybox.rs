//! Users by `adduser`, `deluser` and `chpasswd` of BusyBox.

use crate::atomic::{self, Keep};
use crate::context::Context;
use crate::invocation::Failure;
use crate::process::{self, Finished};
use crate::python;

use super::{User, run, run_with};

/// The password an account gets: what is given, or what it has, or one that nobody can enter; locked if it is to be.
fn password(user: &User<'_>, current: &str) -> String {
    let is_locked = user.arguments.flag("password_lock");
    let lock = if is_locked { "!" } else { "" };
    match user.arguments.text("password") {
        Some(password) => format!("{lock}{password}"),
        None if current.is_empty() => format!("{lock}*"),
        None if current == "!" => current.to_owned(),
        None => format!("{lock}{}", current.trim_start_matches('!')),
    }
}

fn set_password(
    user: &User<'_>,
    context: &Context<'_>,
    password: &str,
) -> Result<Finished, Failure> {
    let words = vec![
        process::required(context, "chpasswd", &[])?,
        "--encrypted".to_owned(),
    ];
    let done = run_with(context, words, &format!("{}:{password}", user.name))?;
    user.bear(&done)?;
    Ok(done)
}

pub(super) fn create(user: &User<'_>, context: &Context<'_>) -> Result<Finished, Failure> {
    let arguments = user.arguments;
    let adduser = process::required(context, "adduser", &[])?;
    let mut words = vec![adduser.clone(), "-D".to_owned()];
    let mut pair = |option: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([option.to_owned(), value]);
        }
    };
    pair("-u", arguments.integer("uid").map(|uid| uid.to_string()));
    user.group()?;
    for (name, option) in [
        ("group", "-G"),
        ("comment", "-g"),
        ("home", "-h"),
        ("shell", "-s"),
    ] {
        pair(option, arguments.text(name).map(str::to_owned));
    }
    if !arguments.flag("create_home") {
        words.push("-H".to_owned());
    }
    let mut pair = |option: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([option.to_owned(), value]);
        }
    };
    pair("-k", arguments.text("skeleton").map(str::to_owned));
    pair(
        "-K",
        arguments
            .text("umask")
            .map(|umask| format!("UMASK={umask}")),
    );
    if arguments.flag("system") {
        words.push("-S".to_owned());
    }
    for (name, key) in [("uid_min", "UID_MIN"), ("uid_max", "UID_MAX")] {
        if let Some(bound) = arguments.integer(name) {
            words.extend(["-K".to_owned(), format!("{key}={bound}")]);
        }
    }
    words.push(user.name.to_owned());
    let done = run(context, words)?;
    user.bear(&done)?;
    let mut last = set_password(user, context, &password(user, ""))?;
    let own = user.known().map(|known| known.gid);
    for (name, group) in user.groups()?.unwrap_or_default() {
        if Some(group.gid.as_raw()) != own {
            last = run(context, vec![adduser.clone(), user.name.to_owned(), name])?;
            user.bear(&last)?;
        }
    }
    Ok(last)
}

pub(super) fn remove(user: &User<'_>, context: &Context<'_>) -> Result<Finished, Failure> {
    let mut words = vec![
        process::required(context, "deluser", &[])?,
        user.name.to_owned(),
    ];
    if user.arguments.flag("remove") {
        words.push("--remove-home".to_owned());
    }
    run(context, words)
}

/// Brings a user that is there to what is asked. Nothing if it is like that.
pub(super) fn modify(
    user: &User<'_>,
    context: &mut Context<'_>,
) -> Result<Option<Finished>, Failure> {
    let arguments = user.arguments;
    let known = user.info()?;
    let gid = user.group()?.map_or(known.gid, |group| group.gid.as_raw());
    let adduser = process::required(context, "adduser", &[])?;
    let delgroup = process::required(context, "delgroup", &[])?;
    let mut done = None;
    let mut wanted: Vec<String> = Vec::new();
    for (name, group) in user.groups()?.unwrap_or_default() {
        if group.gid.as_raw() != known.gid {
            wanted.push(name);
        }
    }
    if arguments
        .list("groups")
        .is_some_and(|groups| !groups.is_empty())
    {
        let current = user.memberships(context, Some(known.gid))?;
        let mut commands: Vec<(&String, &String)> = Vec::new();
        commands.extend(
            wanted
                .iter()
                .filter(|name| !current.contains(name))
                .map(|name| (&adduser, name)),
        );
        if !arguments.flag("append") {
            commands.extend(
                current
                    .iter()
                    .filter(|name| !wanted.contains(name))
                    .map(|name| (&delgroup, name)),
            );
        }
        for (program, group) in commands {
            let words = vec![program.clone(), user.name.to_owned(), group.clone()];
            let finished = run(context, words)?;
            user.bear(&finished)?;
            done = Some(finished);
        }
    }
    let current = user.password(context, &known);
    let new = password(user, &current);
    if arguments.text("update_password") == Some("always")
        && (new != current || (arguments.flag("password_lock") && !current.starts_with('!')))
    {
        done = Some(set_password(user, context, &new)?);
    }
    let or = |name: &str, current: &str| arguments.filled(name).unwrap_or(current).to_owned();
    let entry = [
        user.name.to_owned(),
        "x".to_owned(),
        arguments
            .integer("uid")
            .unwrap_or_else(|| known.uid.into())
            .to_string(),
        gid.to_string(),
        or("comment", &known.comment),
        or("home", &known.home),
        or("shell", &known.shell),
    ]
    .join(":");
    if rewrite(user, context, &entry)? {
        done = Some(Finished {
            stdout: done
                .as_ref()
                .map(|done| done.stdout.clone())
                .unwrap_or_default(),
            stderr: done.map(|done| done.stderr).unwrap_or_default(),
            code: 0,
        });
    }
    Ok(done)
}

/// Gives the file of users another line for the user, if it is not there. Gives whether it was another.
fn rewrite(user: &User<'_>, context: &mut Context<'_>, entry: &str) -> Result<bool, Failure> {
    const FILE: &str = "/etc/passwd";
    let text = std::fs::read_to_string(FILE)
        .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, FILE)))?;
    let begin = format!("{}:", user.name);
    let mut made = String::with_capacity(text.len());
    let mut changed = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with(&begin) && line.trim() != entry {
            changed = true;
            made.push_str(entry);
            made.push('\n');
        } else {
            made.push_str(line);
        }
    }
    if changed && !context.settings.check {
        atomic::backup(context, FILE)?;
        let keep = Keep {
            attributes: true,
            unsafe_writes: true,
        };
        atomic::write(context, FILE, made.as_bytes(), keep)?;
    }
    Ok(changed)
}
