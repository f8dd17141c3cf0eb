//! `group`: groups of users.

use std::sync::LazyLock;

use crate::accounts::{self, Programs};
use crate::arguments::{Arguments, Spec, boolean, integer, text};
use crate::atomic::{self, Keep};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "group", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with("name", text().required())
        .with("force", boolean().default(false))
        .with("gid", integer())
        .with("system", boolean().default(false))
        .with("local", boolean().default(false))
        .with("non_unique", boolean().default(false))
        .with("gid_min", integer())
        .with("gid_max", integer())
        .required_if("non_unique", true, &["gid"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let local = arguments.flag("local");
    if arguments.flag("force") && local {
        return Err(Failure::new(
            "force is not a valid option for local, force=True and local=True are mutually exclusive",
        ));
    }
    for argument in ["gid_min", "gid_max"] {
        if local && arguments.has(argument) {
            return Err(Failure::new(format!(
                "'{argument}' can not be used with 'local'"
            )));
        }
    }
    let group = Group {
        arguments: &arguments,
        name: arguments.required("name"),
        gid: arguments.integer("gid"),
        local,
        is_busybox: Programs::here() == Programs::Alpine,
    };
    let is_wanted = arguments.text("state") == Some("present");
    let exists = group.exists()?;
    if exists != is_wanted && context.settings.check {
        return Ok(Report::from_iter([("changed".to_owned(), true.into())]));
    }
    let done = match (is_wanted, exists) {
        (true, true) => group.modify(context)?,
        (true, false) => Some(group.add(context)?),
        (false, true) => Some(group.remove(context)?),
        (false, false) => None,
    };
    if let Some(done) = &done
        && !done.success()
    {
        return Err(Failure::new(done.err()).with("name", group.name));
    }
    let mut report = Report::new();
    let mut tell = |key: &str, value: serde_json::Value| report.insert(key.to_owned(), value);
    tell("name", group.name.into());
    tell("state", arguments.required("state").into());
    tell("changed", done.is_some().into());
    if let Some(done) = done {
        for (key, said) in [("stdout", done.out()), ("stderr", done.err())] {
            if !said.is_empty() {
                tell(key, said.into());
            }
        }
    }
    if group.exists()? {
        tell("system", arguments.flag("system").into());
        tell("gid", group.known()?.into());
    }
    Ok(report)
}

/// A group, and what is asked of it.
struct Group<'a> {
    arguments: &'a Arguments,
    name: &'a str,
    gid: Option<i64>,
    local: bool,
    is_busybox: bool,
}

impl Group<'_> {
    fn exists(&self) -> Result<bool, Failure> {
        if self.local {
            return accounts::is_in_file("/etc/group", "group", self.name);
        }
        Ok(by_name(self.name).is_some())
    }

    /// The number it has.
    fn known(&self) -> Result<i64, Failure> {
        by_name(self.name)
            .map(i64::from)
            .ok_or_else(|| Failure::unhandled("'bool' object is not subscriptable"))
    }

    /// A program: that of libuser where only the files of the machine are meant.
    fn program(&self, context: &Context<'_>, name: &str) -> Result<String, Failure> {
        if self.local {
            process::required(context, &format!("l{name}"), &[])
        } else {
            process::required(context, name, &[])
        }
    }

    /// Another group with the number is an error that the programs of libuser do not see.
    fn refuse_taken(&self, context: &Context<'_>) -> Result<(), Failure> {
        let Some(gid) = self.gid.filter(|gid| self.local && *gid != 0) else {
            return Ok(());
        };
        match accounts::groups(context)?
            .into_iter()
            .find(|other| i64::from(other.gid) == gid && other.name != self.name)
        {
            Some(other) => Err(Failure::new(format!(
                "GID '{gid}' already exists with group '{}'",
                other.name
            ))),
            None => Ok(()),
        }
    }

    fn number(&self, words: &mut Vec<String>, gid: i64) {
        words.extend(["-g".to_owned(), gid.to_string()]);
        if self.arguments.flag("non_unique") && !self.is_busybox {
            words.push("-o".to_owned());
        }
    }

    fn add(&self, context: &Context<'_>) -> Result<Finished, Failure> {
        let mut words = if self.is_busybox {
            vec![process::required(context, "addgroup", &[])?]
        } else {
            self.refuse_taken(context)?;
            vec![self.program(context, "groupadd")?]
        };
        if let Some(gid) = self.gid {
            self.number(&mut words, gid);
        }
        if self.arguments.flag("system") {
            words.push(if self.is_busybox { "-S" } else { "-r" }.to_owned());
        }
        for (argument, key) in [("gid_min", "GID_MIN"), ("gid_max", "GID_MAX")] {
            if let Some(bound) = self.arguments.integer(argument) {
                words.extend(["-K".to_owned(), format!("{key}={bound}")]);
            }
        }
        words.push(self.name.to_owned());
        Command::new(words).run(context)
    }

    /// Gives it another number, if it is to have one; nothing if it has it.
    fn modify(&self, context: &mut Context<'_>) -> Result<Option<Finished>, Failure> {
        if self.is_busybox {
            return self.rewrite(context);
        }
        self.refuse_taken(context)?;
        let mut words = vec![self.program(context, "groupmod")?];
        let Some(gid) = self.gid else {
            return Ok(None);
        };
        if self.known()? == gid {
            return Ok(None);
        }
        if context.settings.check {
            return Ok(Some(Finished::default()));
        }
        self.number(&mut words, gid);
        words.push(self.name.to_owned());
        Command::new(words).run(context).map(Some)
    }

    /// BusyBox has no program for this: the file is written.
    fn rewrite(&self, context: &mut Context<'_>) -> Result<Option<Finished>, Failure> {
        const FILE: &str = "/etc/group";
        let (Some(gid), known) = (self.gid, self.known()?) else {
            return Ok(None);
        };
        if gid == known {
            return Ok(None);
        }
        let text = std::fs::read_to_string(FILE)
            .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, FILE)))?;
        if text.contains(&format!(":{gid}:")) {
            return Err(Failure::new(format!("gid '{gid}' in use")));
        }
        if !context.settings.check {
            let text = text.replace(
                &format!("{}:x:{known}:", self.name),
                &format!("{}:x:{gid}:", self.name),
            );
            let keep = Keep {
                attributes: true,
                unsafe_writes: true,
            };
            atomic::write(context, FILE, text.as_bytes(), keep)?;
        }
        Ok(Some(Finished::default()))
    }

    fn remove(&self, context: &Context<'_>) -> Result<Finished, Failure> {
        let force = self.arguments.flag("force");
        let mut words = if self.is_busybox {
            if force {
                return Err(Failure::new(
                    "The force option is not supported for group deletion on this platform.",
                ));
            }
            vec![process::required(context, "delgroup", &[])?]
        } else {
            vec![self.program(context, "groupdel")?]
        };
        if force {
            words.push("-f".to_owned());
        }
        words.push(self.name.to_owned());
        Command::new(words).run(context)
    }
}

/// The number of a group by its name.
fn by_name(name: &str) -> Option<u32> {
    crate::names::group(name).map(|group| group.gid.as_raw())
}
