//! Packages that are to go, and what is no longer needed.

use super::wanted::Asked;
use super::{Apt, outcome};
use crate::context::Context;
use crate::invocation::{Failure, Outcome, Report};
use crate::process::Command;

impl Apt<'_> {
    /// Removes packages.
    pub(super) fn remove(&mut self, context: &mut Context<'_>, packages: Vec<String>) -> Outcome {
        let packages = self.expand(context, packages)?;
        let installed = Apt::installed(context);
        let purge = self.arguments.flag("purge");
        let gone: Vec<String> = packages
            .iter()
            .filter(|package| {
                let asked = Asked::of(package);
                installed.find(&asked.name).is_some_and(|found| {
                    found.version().is_some_and(|version| asked.fits(version))
                        || (purge && installed.has_files(context, &asked.name))
                })
            })
            .map(|package| format!("'{package}'"))
            .collect();
        if gone.is_empty() {
            return Ok(Report::from_iter([("changed".to_owned(), false.into())]));
        }
        let packages = gone.join(" ");
        let line = format!(
            "{} -q -y {} {} {} {} {} {} remove {packages}",
            self.get,
            super::dpkg_options(self.arguments),
            self.option("purge", "--purge"),
            self.option("force", "--force-yes"),
            self.option("autoremove", "--auto-remove"),
            simulate(context),
            self.option("allow_change_held_packages", "--allow-change-held-packages"),
        );
        self.carried_out(context, &line, &format!("remove {packages}"), |_| true)
    }

    /// Removes what is no longer needed (`autoremove`), or files of packages that can no longer be fetched (`autoclean`).
    pub(super) fn clean_up(&mut self, context: &mut Context<'_>, operation: &str) -> Outcome {
        let line = format!(
            "{} -y {} {} {} {operation} {}",
            self.get,
            super::dpkg_options(self.arguments),
            self.option("purge", "--purge"),
            self.option("force", "--force-yes"),
            simulate(context),
        );
        let sign = if operation == "autoremove" {
            "The following packages will be REMOVED"
        } else {
            "Del "
        };
        self.carried_out(context, &line, operation, |out| out.contains(sign))
    }

    fn carried_out(
        &mut self,
        context: &mut Context<'_>,
        line: &str,
        shown: &str,
        changed: impl Fn(&str) -> bool,
    ) -> Outcome {
        let done = self.change(context, line, None)?;
        let out = done.out();
        if !done.success() {
            return Err(
                Failure::new(format!("'apt-get {shown}' failed: {}", done.err()))
                    .with("stdout", out)
                    .with("stderr", done.err())
                    .with("rc", done.code),
            );
        }
        let diff = super::wanted_diff(context, &out);
        Ok(outcome(changed(&out), &done, diff))
    }

    /// Removes the files of packages that were fetched.
    pub(super) fn clean(&mut self, context: &mut Context<'_>) -> Outcome {
        let done = self
            .environment(context)
            .of(Command::new(["apt-get", "clean"]))
            .run(context)?;
        let message = if !done.success() {
            "apt-get clean failed".to_owned()
        } else if !done.stderr.is_empty() {
            format!("apt-get clean failed: {}", done.err())
        } else {
            let diff = super::wanted_diff(context, &done.out());
            let mut report = outcome(true, &done, diff);
            report.insert("msg".to_owned(), done.out().into());
            return Ok(report);
        };
        Err(Failure::new(message)
            .with("stdout", done.out())
            .with("rc", done.code))
    }
}

/// In check mode apt-get only says what it would do.
pub(super) fn simulate(context: &Context<'_>) -> &'static str {
    if context.settings.check {
        "--simulate"
    } else {
        ""
    }
}
