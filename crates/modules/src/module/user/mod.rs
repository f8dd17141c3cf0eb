//! `user`: users of the machine.

mod busybox;
mod home;
mod keys;
mod programs;

use std::sync::LazyLock;

use serde_json::Value;

use crate::accounts::{self, Account, Programs};
use crate::arguments::{Arguments, Kind, Spec, boolean, float, integer, list, path, text};
use crate::attributes::absent_in_check_mode;
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;
use crate::selinux;

pub(crate) const MODULE: Module = Module { name: "user", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with("name", text().required().aliases(&["user"]))
        .with("uid", integer())
        .with("non_unique", boolean().default(false))
        .with("group", text())
        .with("groups", list(Kind::Text))
        .with("comment", text())
        .with("home", path())
        .with("shell", path())
        .with("password", text().no_log(true))
        .with("login_class", text())
        .with("password_expire_max", integer().no_log(false))
        .with("password_expire_min", integer().no_log(false))
        .with("password_expire_warn", integer().no_log(false))
        .with("hidden", boolean())
        .with("seuser", text())
        .with("force", boolean().default(false))
        .with("remove", boolean().default(false))
        .with(
            "create_home",
            boolean().default(true).aliases(&["createhome"]),
        )
        .with("skeleton", text())
        .with("system", boolean().default(false))
        .with("move_home", boolean().default(false))
        .with("append", boolean().default(false))
        .with("generate_ssh_key", boolean())
        .with("ssh_key_bits", integer().default(0))
        .with("ssh_key_type", text().default("rsa"))
        .with("ssh_key_file", path())
        .with("ssh_key_comment", text())
        .with("ssh_key_passphrase", text().no_log(true))
        .with(
            "update_password",
            text()
                .default("always")
                .choices(&["always", "on_create"])
                .no_log(false),
        )
        .with("expires", float())
        .with("password_lock", boolean().no_log(false))
        .with("local", boolean())
        .with("profile", text())
        .with("authorization", text())
        .with("role", text())
        .with("umask", text())
        .with("password_expire_account_disable", integer().no_log(false))
        .with("uid_min", integer())
        .with("uid_max", integer())
        .required_if("append", true, &["groups"])
        .supports_check_mode()
});

/// Homes that stand for none: they are never made.
const NO_HOMES: [&str; 3] = ["/nonexistent", "/dev/null", "/var/empty"];

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let mut spec = SPEC.clone();
    if let Some(comment) = spec.options.get_mut("ssh_key_comment") {
        let host = nix::unistd::gethostname().unwrap_or_default();
        comment.default = format!("ansible-generated on {}", host.to_string_lossy()).into();
    }
    let arguments = context.arguments(&spec, invocation)?;
    let user = User::of(&arguments)?;
    if let Some(password) = arguments.filled("password")
        && !looks_hashed(password)
    {
        context.warn(
            "The input password appears not to have been hashed. \
             The 'password' argument must be encrypted for this module to work properly.",
        );
    }
    if let Some(seuser) = arguments.text("seuser")
        && !selinux::is_enabled()
    {
        context.warn(format!(
            "'seuser' is set to '{seuser}' but SELinux is not enabled on this system. The 'seuser' parameter will be ignored."
        ));
    }
    let is_wanted = arguments.text("state") == Some("present");
    let mut report = Report::new();
    let mut tell = |key: &str, value: Value| report.insert(key.to_owned(), value);
    tell("name", user.name.into());
    tell("state", arguments.required("state").into());
    let exists = user.exists()?;
    if exists != is_wanted && context.settings.check {
        return Ok(Report::from_iter([("changed".to_owned(), true.into())]));
    }
    let done = match (is_wanted, exists) {
        (false, false) => None,
        (false, true) => {
            let done = user.remove(context)?;
            user.bear(&done)?;
            for name in ["force", "remove"] {
                tell(name, arguments.get(name).clone());
            }
            Some(done)
        }
        (true, false) => {
            let is_deep = user.home_needs_parents(context);
            let done = user.create(context)?;
            if let (true, Some(known), Some(home)) = (is_deep, user.known(), arguments.text("home"))
            {
                home::give(context, home, known.uid, known.gid)?;
            }
            for name in ["system", "create_home"] {
                tell(name, arguments.get(name).clone());
            }
            Some(done)
        }
        (true, true) => {
            let done = user.modify(context)?;
            for name in ["append", "move_home"] {
                tell(name, arguments.get(name).clone());
            }
            done
        }
    };
    if let Some(done) = &done {
        user.bear(done)?;
    }
    if is_wanted && arguments.has("password") {
        tell("password", "NOT_LOGGING_PASSWORD".into());
    }
    tell("changed", done.is_some().into());
    if let Some(done) = done {
        for (key, said) in [("stdout", done.out()), ("stderr", done.err())] {
            if !said.is_empty() {
                tell(key, said.into());
            }
        }
    }
    if is_wanted && user.exists()? {
        user.finish(context, &mut report)?;
    }
    Ok(report)
}

/// Whether a password looks like the hash of one, or like none that could be entered.
fn looks_hashed(password: &str) -> bool {
    if matches!(password, "*" | "!" | "*************") {
        return true;
    }
    if password.contains([':', '*', '!']) {
        return false;
    }
    let fields: Vec<&str> = password.split('$').collect();
    let (3.., Some(kind), Some(hash)) = (fields.len(), fields.get(1), fields.last()) else {
        return false;
    };
    let length = match *kind {
        "1" => Some(22),
        "5" | "y" => Some(43),
        "6" => Some(86),
        _ => None,
    };
    hash.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'='))
        && length.is_none_or(|length| hash.len() == length)
}

/// A user, and what is asked of it.
struct User<'a> {
    arguments: &'a Arguments,
    name: &'a str,
    local: bool,
    programs: Programs,
    /// The day the account is to end, counted from 1970.
    ends: Option<i64>,
}

impl<'a> User<'a> {
    fn of(arguments: &'a Arguments) -> Result<Self, Failure> {
        let local = arguments.flag("local");
        for name in ["umask", "uid_min", "uid_max"] {
            if local && arguments.has(name) {
                return Err(Failure::new(format!(
                    "'{name}' can not be used with 'local'"
                )));
            }
        }
        let ends =
            match arguments.float("expires") {
                None => None,
                Some(seconds) => Some(day_of(seconds).map_err(|why| {
                    Failure::new(format!("Invalid value for 'expires' None: {why}"))
                })?),
            };
        Ok(User {
            arguments,
            name: arguments.required("name"),
            local,
            programs: Programs::here(),
            ends,
        })
    }

    fn exists(&self) -> Result<bool, Failure> {
        if self.local {
            return accounts::is_in_file("/etc/passwd", "account", self.name);
        }
        Ok(accounts::account(self.name).is_some())
    }

    /// What the system knows of it.
    fn known(&self) -> Option<Account> {
        accounts::account(self.name)
    }

    /// What the system knows of it, or the failure that it has gone.
    fn info(&self) -> Result<Account, Failure> {
        self.known().ok_or_else(|| {
            Failure::unhandled(format!(
                "\"getpwnam(): name not found: {}\"",
                python::repr(self.name)
            ))
        })
    }

    /// Its password as it is kept.
    fn password(&self, context: &Context<'_>, known: &Account) -> String {
        if known.password.chars().count() > 1 {
            return known.password.clone();
        }
        accounts::shadow(context, self.name)
            .map(|shadow| shadow.password)
            .unwrap_or_default()
    }

    /// A program; that of libuser where only the files of the machine are meant.
    fn program(&self, context: &Context<'_>, name: &str) -> Result<String, Failure> {
        if self.local {
            process::required(context, &format!("l{name}"), &[])
        } else {
            process::required(context, name, &[])
        }
    }

    /// What a program that failed makes of the module.
    fn bear(&self, done: &Finished) -> Result<(), Failure> {
        if done.success() {
            return Ok(());
        }
        Err(Failure::new(done.err())
            .with("name", self.name)
            .with("rc", done.code))
    }

    /// The group it is to have, if it is to have a certain one.
    fn group(&self) -> Result<Option<nix::unistd::Group>, Failure> {
        match self.arguments.text("group") {
            None => Ok(None),
            Some(name) => accounts::group(name)
                .map(Some)
                .ok_or_else(|| no_group(name)),
        }
    }

    /// The groups it is to be in besides its own, as they were named.
    fn groups(&self) -> Result<Option<Vec<(String, nix::unistd::Group)>>, Failure> {
        if !self.arguments.has("groups") {
            return Ok(None);
        }
        let mut found: Vec<(String, nix::unistd::Group)> = Vec::new();
        let joined = self.arguments.texts("groups").join(",");
        for name in joined.split(',').filter(|name| !name.is_empty()) {
            let name = name.trim();
            let group = accounts::group(name).ok_or_else(|| no_group(name))?;
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), group));
            }
        }
        Ok(Some(found))
    }

    /// The groups it is in; with its own only if that lists it.
    fn memberships(
        &self,
        context: &Context<'_>,
        without: Option<u32>,
    ) -> Result<Vec<String>, Failure> {
        Ok(accounts::groups(context)?
            .into_iter()
            .filter(|group| {
                Some(group.gid) != without && group.members.iter().any(|name| name == self.name)
            })
            .map(|group| group.name)
            .collect())
    }

    fn create(&self, context: &mut Context<'_>) -> Result<Finished, Failure> {
        match self.programs {
            Programs::Shadow => programs::create(self, context),
            Programs::Alpine | Programs::Buildroot => busybox::create(self, context),
        }
    }

    /// Brings it to what is asked. Nothing if it is like that.
    fn modify(&self, context: &mut Context<'_>) -> Result<Option<Finished>, Failure> {
        match self.programs {
            Programs::Shadow => programs::modify(self, context),
            Programs::Alpine | Programs::Buildroot => busybox::modify(self, context),
        }
    }

    fn remove(&self, context: &Context<'_>) -> Result<Finished, Failure> {
        match self.programs {
            Programs::Shadow => programs::remove(self, context),
            Programs::Alpine | Programs::Buildroot => busybox::remove(self, context),
        }
    }

    /// Whether the home it is to get has no directory to be in.
    fn home_needs_parents(&self, context: &Context<'_>) -> bool {
        self.arguments.filled("home").is_some_and(|home| {
            self.arguments.flag("create_home") && !context.path(python::dirname(home)).is_dir()
        })
    }

    /// What comes after it is there: its home, its key, the terms of its password; and what is told of it.
    fn finish(&self, context: &mut Context<'_>, report: &mut Report) -> Result<(), Failure> {
        let known = self.info()?;
        let groups = self.memberships(context, Some(known.gid))?;
        let mut tell = |key: &str, value: Value| report.insert(key.to_owned(), value);
        tell("uid", known.uid.into());
        tell("group", known.gid.into());
        tell("comment", known.comment.as_str().into());
        tell("home", known.home.as_str().into());
        tell("shell", known.shell.as_str().into());
        tell("groups", groups.join(",").into());
        let home = self.arguments.text("home").unwrap_or(&known.home);
        if self.arguments.flag("create_home")
            && !NO_HOMES.contains(&home)
            && !context.path(home).exists()
        {
            if !absent_in_check_mode(context, &context.path(home)) {
                home::create(context, self.arguments.text("skeleton"), home)?;
                home::give(context, home, known.uid, known.gid)?;
            }
            tell("changed", true.into());
        }
        if self.arguments.flag("generate_ssh_key") {
            keys::bring(self, context, &known, report)?;
        }
        if let Some(done) = programs::expire_password(self, context)? {
            self.bear(&done)?;
            report.insert("changed".to_owned(), true.into());
        }
        Ok(())
    }
}

fn no_group(name: &str) -> Failure {
    Failure::new(format!("Group {name} does not exist"))
}

/// The day of a time in seconds, counted from 1970. The error is Python's.
fn day_of(seconds: f64) -> Result<i64, &'static str> {
    if seconds.is_nan() {
        return Err("Invalid value NaN (not a number)");
    }
    // Beyond this a year does not fit the system's structure; further on, not even its seconds do.
    if seconds.abs() >= 9.2e18 {
        return Err("timestamp out of range for platform time_t");
    }
    if seconds.abs() >= 6.7e16 {
        return Err("[Errno 75] Value too large for defined data type");
    }
    Ok((seconds.floor() as i64).div_euclid(86_400))
}

/// Runs a program, unless nothing is to be done.
fn run(context: &Context<'_>, words: Vec<String>) -> Result<Finished, Failure> {
    run_with(context, words, "")
}

/// Runs a program that reads something, unless nothing is to be done.
fn run_with(context: &Context<'_>, words: Vec<String>, data: &str) -> Result<Finished, Failure> {
    if context.settings.check {
        return Ok(Finished::default());
    }
    Command::new(words).text(data).run(context)
}
