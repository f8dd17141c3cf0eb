//! Whether a service starts with the machine.

use std::path::Path;

use crate::atomic::{self, Keep};
use crate::context::Context;
use crate::glob;
use crate::invocation::Failure;
use crate::python;
use crate::python_re::{self, Flags, Pattern};

use super::{Done as Told, Enabling, Service};

/// What came of it.
pub(super) enum Done {
    /// Whether something changed; the module goes on.
    Changed(bool),
    /// Whether something would change in check mode; the module says only this.
    Would(bool),
}

impl Service<'_> {
    /// Has it start with the machine, or no longer.
    pub(super) fn enable(&self, context: &mut Context<'_>, wanted: bool) -> Result<Done, Failure> {
        let name = self.name;
        let (word, line) = match &self.enabling {
            None => {
                return Err(Failure::new(format!(
                    "cannot detect command to enable service {name}, typo or init system potentially unknown"
                )));
            }
            Some(Enabling::Upstart { knows_manual }) => {
                return self.by_override(context, wanted, *knows_manual);
            }
            Some(Enabling::UpdateRc(update)) => return self.by_links(context, wanted, update),
            Some(Enabling::Insserv(insserv)) => return self.by_insserv(context, wanted, insserv),
            Some(Enabling::Chkconfig(chkconfig)) => {
                let word = if wanted { "on" } else { "off" };
                if self.is_in_chkconfig(context, chkconfig, word)? {
                    return Ok(Done::Changed(false));
                }
                (word, format!("{chkconfig} {name} {word}"))
            }
            Some(Enabling::Systemd(systemctl)) => {
                if self.is_unit_enabled(context, systemctl)? == wanted {
                    return Ok(Done::Changed(false));
                }
                let word = if wanted { "enable" } else { "disable" };
                (word, format!("{systemctl} {word} {name}"))
            }
            Some(Enabling::OpenRc(update)) => {
                let level = self.arguments.required("runlevel");
                if self.is_in_runlevel(context, update, level)? == wanted {
                    return Ok(Done::Changed(false));
                }
                let word = if wanted { "add" } else { "delete" };
                (word, format!("{update} {word} {name} {level}"))
            }
        };
        if context.settings.check {
            return Ok(Done::Would(true));
        }
        let done = self.run(context, &line)?;
        if done.code == 0 {
            return Ok(Done::Changed(true));
        }
        Err(Failure::new(if done.err.is_empty() {
            format!("Failure for {word} {name}: rc={} {}", done.code, done.out)
        } else {
            format!(
                "Error when trying to {word} {name}: rc={} {}",
                done.code, done.err
            )
        }))
    }

    fn is_unit_enabled(&self, context: &Context<'_>, systemctl: &str) -> Result<bool, Failure> {
        let done = self.run(context, &format!("{systemctl} is-enabled {}", self.name))?;
        if done.code == 0 {
            return Ok(true);
        }
        let script = format!("/etc/init.d/{}", self.name);
        Ok(!done.out.starts_with("disabled")
            && nix::unistd::access(script.as_str(), nix::unistd::AccessFlags::X_OK).is_ok()
            && has_links(self.name, 'S'))
    }

    /// `update-rc.d`: the links in the directories of the runlevels.
    fn by_links(&self, context: &Context<'_>, wanted: bool, update: &str) -> Result<Done, Failure> {
        if has_links(self.name, 'S') == wanted {
            return Ok(Done::Changed(false));
        }
        if context.settings.check {
            return Ok(Done::Changed(true));
        }
        let mut lines = Vec::new();
        if wanted && !has_links(self.name, 'K') {
            lines.push(format!("{update} {} defaults", self.name));
        }
        let word = if wanted { "enable" } else { "disable" };
        lines.push(format!("{update} {} {word}", self.name));
        for line in lines {
            let done = self.run(context, &line)?;
            if done.code != 0 {
                return Err(said(done));
            }
        }
        Ok(Done::Changed(true))
    }

    fn by_insserv(
        &self,
        context: &Context<'_>,
        wanted: bool,
        insserv: &str,
    ) -> Result<Done, Failure> {
        let (option, sign, what) = if wanted {
            ("", "enable service", "install")
        } else {
            ("-r ", "remove service", "remove")
        };
        let would = self.run(context, &format!("{insserv} -n {option}-v {}", self.name))?;
        let changed = python::lines(&would.err).any(|line| line.contains(sign));
        if context.settings.check {
            return Ok(Done::Would(changed));
        }
        if !changed {
            return Ok(Done::Changed(false));
        }
        let done = self.run(context, &format!("{insserv} {option}{}", self.name))?;
        if done.code != 0 || !done.err.is_empty() {
            return Err(Failure::new(format!(
                "Failed to {what} service. rc: {}, out: {}, err: {}",
                done.code, done.out, done.err
            )));
        }
        Ok(Done::Changed(true))
    }

    fn is_in_chkconfig(
        &self,
        context: &Context<'_>,
        chkconfig: &str,
        word: &str,
    ) -> Result<bool, Failure> {
        let list = format!("{chkconfig} --list {}", self.name);
        let mut told = self.run(context, &list)?;
        if told.err.contains(&format!("chkconfig --add {}", self.name)) {
            self.run(context, &format!("{chkconfig} --add {}", self.name))?;
            told = self.run(context, &list)?;
        }
        if !told.out.contains(self.name) {
            return Err(Failure::new(format!(
                "service {} does not support chkconfig",
                self.name
            )));
        }
        Ok(["3", "5"]
            .iter()
            .all(|level| told.out.contains(&format!("{level}:{word}"))))
    }

    fn is_in_runlevel(
        &self,
        context: &Context<'_>,
        update: &str,
        level: &str,
    ) -> Result<bool, Failure> {
        let told = self.run(context, &format!("{update} show"))?;
        Ok(python::lines(&told.out)
            .filter_map(|line| line.split_once('|'))
            .find(|(name, _)| name.trim() == self.name)
            .is_some_and(|(_, levels)| levels.split_whitespace().any(|known| known == level)))
    }

    /// Upstart: a file beside that of the service says that it is not started by itself.
    fn by_override(
        &self,
        context: &mut Context<'_>,
        wanted: bool,
        knows_manual: bool,
    ) -> Result<Done, Failure> {
        let word = if knows_manual {
            "manual"
        } else {
            "start on manual"
        };
        let flags = Flags {
            multi_line: true,
            ignore_case: true,
            ..Flags::default()
        };
        let failed = |error: python_re::Error| Failure::unhandled(error.0);
        let pattern = Pattern::with(&format!(r"^{word}\s*$"), flags).map_err(failed)?;
        let says_so = |text: &str| pattern.search(text, 0).map(|found| found.is_some());
        let file = format!("/etc/init/{}.conf", self.name);
        let own = std::fs::read_to_string(&file)
            .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, &file)))?;
        if says_so(&own).map_err(failed)? {
            return Err(Failure::new("manual stanza not supported in a .conf file"));
        }
        let beside = format!("/etc/init/{}.override", self.name);
        let there = match std::fs::read_to_string(&beside) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(Failure::unhandled(python::os_error_at_text(
                    &error, &beside,
                )));
            }
        };
        let is_manual = says_so(there.as_deref().unwrap_or_default()).map_err(failed)?;
        let text = match (wanted, is_manual, there) {
            (true, true, Some(text)) => {
                let without = pattern.sub_with(&text, 0, |_| String::new());
                Some(without.map_err(failed)?.0)
            }
            (false, false, Some(text)) => Some(format!("{text}\n{word}\n")),
            (false, false, None) => Some(format!("{word}\n")),
            _ => None,
        };
        if context.settings.check {
            return Ok(Done::Would(text.is_some()));
        }
        let Some(text) = text else {
            return Ok(Done::Changed(false));
        };
        let keep = Keep {
            attributes: true,
            unsafe_writes: true,
        };
        atomic::write(context, &beside, text.as_bytes(), keep)
            .map_err(|_| Failure::new("Could not modify override file"))?;
        Ok(Done::Changed(true))
    }
}

/// Whether a service has links in the directories of the runlevels that start it (`S`) or stop it (`K`).
fn has_links(name: &str, kind: char) -> bool {
    glob::exists(Path::new("/"), &format!("/etc/rc?.d/{kind}??{name}"))
}

/// What a program said that failed.
fn said(done: Told) -> Failure {
    Failure::new(if done.err.is_empty() {
        done.out
    } else {
        done.err
    })
}
