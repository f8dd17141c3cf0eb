//! Users by `useradd`, `usermod`, `userdel` and `chage`, or by the programs of libuser for those of the machine alone.

use std::path::Path;

use crate::accounts;
use crate::context::Context;
use crate::invocation::Failure;
use crate::process::{self, Command, Finished};
use crate::selinux;

use super::{User, home, run};

/// The words of a command.
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    fn pair(&mut self, option: &str, value: impl Into<String>) {
        self.add(option);
        self.add(value);
    }
}

/// What several commands gave, one after the other, as far as they came.
fn together(first: Finished, then: Finished) -> Finished {
    Finished {
        code: then.code,
        stdout: [first.stdout, then.stdout].concat(),
        stderr: [first.stderr, then.stderr].concat(),
    }
}

/// The programs of libuser that change groups and ages, for users that are only here.
fn of_libuser(user: &User<'_>, context: &Context<'_>) -> Result<Option<(String, String)>, Failure> {
    if !user.local {
        return Ok(None);
    }
    Ok(Some((
        process::required(context, "lgroupmod", &[])?,
        process::required(context, "lchage", &[])?,
    )))
}

pub(super) fn create(user: &User<'_>, context: &mut Context<'_>) -> Result<Finished, Failure> {
    let arguments = user.arguments;
    let local = user.local;
    let of_libuser = of_libuser(user, context)?;
    let mut words = Words(vec![user.program(context, "useradd")?]);
    number(user, &mut words);
    if let Some(seuser) = arguments.text("seuser")
        && selinux::is_enabled()
    {
        words.pair("-Z", seuser);
    }
    if let (Some(group), Some(_)) = (arguments.text("group"), user.group()?) {
        words.pair("-g", group);
    } else if accounts::group(user.name).is_some()
        && let Some(option) = without_own_group(local)
    {
        words.add(option);
    }
    let groups: Vec<String> = user
        .groups()?
        .unwrap_or_default()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    if !groups.is_empty() && !local {
        words.pair("-G", groups.join(","));
    }
    if let Some(comment) = arguments.text("comment") {
        words.pair("-c", comment);
    }
    if let Some(path) = arguments.text("home") {
        if user.home_needs_parents(context) {
            home::create(context, arguments.text("skeleton"), path)?;
        }
        words.pair("-d", path);
    }
    if let Some(shell) = arguments.text("shell") {
        words.pair("-s", shell);
    }
    if let Some(day) = user.ends.filter(|_| !local) {
        words.pair("-e", if day < 0 { String::new() } else { date(day) });
    }
    if let Some(days) = arguments.integer("password_expire_account_disable") {
        words.pair("-f", days.to_string());
    }
    if let Some(password) = arguments.text("password") {
        words.pair("-p", locked(user, password));
    }
    if arguments.flag("create_home") {
        if !local {
            words.add("-m");
        }
        if let Some(skeleton) = arguments.text("skeleton") {
            words.pair("-k", skeleton);
        }
        if let Some(umask) = arguments.text("umask") {
            words.pair("-K", format!("UMASK={umask}"));
        }
    } else {
        words.add("-M");
    }
    if arguments.flag("system") {
        words.add("-r");
    }
    for (name, key) in [("uid_min", "UID_MIN"), ("uid_max", "UID_MAX")] {
        if let Some(bound) = arguments.integer(name) {
            words.pair("-K", format!("{key}={bound}"));
        }
    }
    words.add(user.name);
    let mut done = run(context, words.0)?;
    let Some((groupmod, chage)) = of_libuser else {
        return Ok(done);
    };
    let mut commands = Vec::new();
    if let Some(day) = user.ends {
        commands.push(ends_by(chage, user, day));
    }
    for group in groups {
        commands.push(vec![
            groupmod.clone(),
            "-M".to_owned(),
            user.name.to_owned(),
            group,
        ]);
    }
    for words in commands {
        if !done.success() {
            break;
        }
        done = together(done, run(context, words)?);
    }
    Ok(done)
}

fn number(user: &User<'_>, words: &mut Words) {
    if let Some(uid) = user.arguments.integer("uid") {
        words.pair("-u", uid.to_string());
        if user.arguments.flag("non_unique") {
            words.add("-o");
        }
    }
}

/// The option that gives a new user no group of its own, for one of its name is there: what it is called depends on the
/// distribution.
fn without_own_group(local: bool) -> Option<&'static str> {
    if local {
        return Some("-n");
    }
    let major = || {
        std::fs::read_to_string("/etc/os-release")
            .unwrap_or_default()
            .lines()
            .find_map(|line| {
                let version = line.strip_prefix("VERSION_ID=")?.trim_matches('"');
                version.split('.').next()?.parse::<u32>().ok()
            })
    };
    if Path::new("/etc/redhat-release").exists() {
        return Some(if major().is_some_and(|major| major <= 5) {
            "-n"
        } else {
            "-N"
        });
    }
    if Path::new("/etc/SuSE-release").exists() && major().is_none_or(|major| major < 12) {
        return None;
    }
    Some("-N")
}

/// A password, locked if the account is to be.
fn locked(user: &User<'_>, password: &str) -> String {
    if user.arguments.flag("password_lock") {
        format!("!{password}")
    } else {
        password.to_owned()
    }
}

fn ends_by(chage: String, user: &User<'_>, day: i64) -> Vec<String> {
    vec![
        chage,
        "-E".to_owned(),
        day.max(-1).to_string(),
        user.name.to_owned(),
    ]
}

/// Brings a user that is there to what is asked. Nothing if it is like that.
pub(super) fn modify(
    user: &User<'_>,
    context: &mut Context<'_>,
) -> Result<Option<Finished>, Failure> {
    let arguments = user.arguments;
    let local = user.local;
    let of_libuser = of_libuser(user, context)?;
    let usermod = user.program(context, "usermod")?;
    let known = user.info()?;
    let password = user.password(context, &known);
    let mut words = Words(vec![usermod.clone()]);
    if arguments
        .integer("uid")
        .is_some_and(|uid| uid != i64::from(known.uid))
    {
        number(user, &mut words);
    }
    if let Some(group) = user.group()?
        && group.gid.as_raw() != known.gid
    {
        words.pair("-g", group.gid.to_string());
    }
    let change = Membership::of(user, context)?;
    if let Some(change) = change.as_ref().filter(|_| !local) {
        change.words(user, context, &usermod, &mut words)?;
    }
    for (name, option, current) in [
        ("comment", "-c", &known.comment),
        ("home", "-d", &known.home),
        ("shell", "-s", &known.shell),
    ] {
        if let Some(wanted) = arguments.text(name)
            && wanted != current
        {
            words.pair(option, wanted);
            if name == "home" && arguments.flag("move_home") {
                words.add("-m");
            }
        }
    }
    let mut ends = None;
    if let Some(day) = user.ends {
        let current = accounts::shadow(context, user.name).map_or(0, |shadow| shadow.ends);
        if (day < 0 && current >= 0) || (day >= 0 && (current < 0 || current != day)) {
            if local {
                ends = Some(day);
            } else {
                words.pair("-e", if day < 0 { String::new() } else { date(day) });
            }
        }
    }
    if let Some(days) = arguments.integer("password_expire_account_disable") {
        words.pair("-f", days.to_string());
    }
    set_password(user, &password, &mut words);
    let mut done = None;
    if words.0.len() > 1 {
        words.add(user.name);
        done = Some(run(context, words.0)?);
    }
    let Some((groupmod, chage)) = of_libuser else {
        return Ok(done);
    };
    let mut commands = Vec::new();
    if let Some(day) = ends {
        commands.push(ends_by(chage, user, day));
    }
    if let Some(change) = change {
        let taken = if arguments.flag("append") {
            Vec::new()
        } else {
            change.less()
        };
        for (option, groups) in [("-M", change.more()), ("-m", taken)] {
            for group in groups {
                commands.push(vec![
                    groupmod.clone(),
                    option.to_owned(),
                    user.name.to_owned(),
                    group,
                ]);
            }
        }
    }
    for words in commands {
        if done.as_ref().is_some_and(|done| !done.success()) {
            break;
        }
        let then = run(context, words)?;
        done = Some(match done {
            Some(first) => together(first, then),
            None => then,
        });
    }
    Ok(done)
}

fn set_password(user: &User<'_>, current: &str, words: &mut Words) {
    let is_locked = current.starts_with('!');
    let lock = match user.arguments.given_flag("password_lock") {
        Some(true) if !is_locked => Some("-L"),
        Some(false) if is_locked => Some("-U"),
        _ => None,
    };
    // A new password locks or unlocks by itself.
    match user.arguments.text("password") {
        Some(password)
            if user.arguments.text("update_password") == Some("always")
                && password.trim_start_matches('!') != current.trim_start_matches('!') =>
        {
            words.pair("-p", locked(user, password));
        }
        _ => words.0.extend(lock.map(str::to_owned)),
    }
}

/// A change of the groups a user is in.
struct Membership {
    current: Vec<String>,
    wanted: Vec<String>,
}

impl Membership {
    /// What is to change, if anything is.
    fn of(user: &User<'_>, context: &Context<'_>) -> Result<Option<Membership>, Failure> {
        let Some(groups) = user.groups()? else {
            return Ok(None);
        };
        let mut wanted: Vec<String> = Vec::new();
        for (_, group) in groups {
            if !wanted.contains(&group.name) {
                wanted.push(group.name);
            }
        }
        let change = Membership {
            current: user.memberships(context, None)?,
            wanted,
        };
        let changes = if user.arguments.flag("append") {
            !change.more().is_empty()
        } else {
            !change.more().is_empty() || !change.less().is_empty()
        };
        Ok(changes.then_some(change))
    }

    /// The groups it is not in and is to be.
    fn more(&self) -> Vec<String> {
        let is_new = |name: &&String| !self.current.contains(name);
        self.wanted.iter().filter(is_new).cloned().collect()
    }

    /// The groups it is in and is not to be.
    fn less(&self) -> Vec<String> {
        let is_old = |name: &&String| !self.wanted.contains(name);
        self.current.iter().filter(is_old).cloned().collect()
    }

    fn words(
        &self,
        user: &User<'_>,
        context: &Context<'_>,
        usermod: &str,
        words: &mut Words,
    ) -> Result<(), Failure> {
        if user.arguments.flag("append") {
            if !can_append(context, usermod)? {
                let differing = [self.more(), self.less()].concat();
                words.pair("-A", differing.join(","));
                return Ok(());
            }
            words.add("-a");
        }
        words.pair("-G", self.wanted.join(","));
        Ok(())
    }
}

/// Whether this `usermod` can add groups to those a user is in.
fn can_append(context: &Context<'_>, usermod: &str) -> Result<bool, Failure> {
    let done = Command::new([usermod, "--help"]).run(context)?;
    let said = done.out() + &done.err();
    Ok(said
        .lines()
        .any(|line| line.trim().starts_with("-a, --append")))
}

pub(super) fn remove(user: &User<'_>, context: &Context<'_>) -> Result<Finished, Failure> {
    let mut words = Words(vec![user.program(context, "userdel")?]);
    if user.arguments.flag("force") && !user.local {
        words.add("-f");
    }
    if user.arguments.flag("remove") {
        words.add("-r");
    }
    words.add(user.name);
    run(context, words.0)
}

/// Brings the terms of its password to what is asked. Nothing if they are like that, or cannot be seen.
pub(super) fn expire_password(
    user: &User<'_>,
    context: &Context<'_>,
) -> Result<Option<Finished>, Failure> {
    let arguments = user.arguments;
    let wanted = [
        ("password_expire_min", "-m"),
        ("password_expire_max", "-M"),
        ("password_expire_warn", "-W"),
    ];
    if !wanted.iter().any(|(name, _)| arguments.has(name)) {
        return Ok(None);
    }
    let Some(shadow) = accounts::shadow(context, user.name) else {
        return Ok(None);
    };
    let current = [shadow.least, shadow.most, shadow.warned];
    let mut words = Words(Vec::new());
    for ((name, option), current) in wanted.into_iter().zip(current) {
        if let Some(days) = arguments.integer(name)
            && days != current
        {
            words.pair(option, days.to_string());
        }
    }
    if words.0.is_empty() {
        return Ok(None);
    }
    words.0.insert(0, process::required(context, "chage", &[])?);
    words.add(user.name);
    run(context, words.0).map(Some)
}

/// A day counted from 1970, as `2026-11-22`.
fn date(day: i64) -> String {
    // By eras of 400 years, beginning in March so that the odd day comes last.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{date:02}")
}
