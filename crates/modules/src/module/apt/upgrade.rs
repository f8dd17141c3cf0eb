//! All packages brought up to date.

use super::change::simulate;
use super::install::NOTHING;
use super::{Apt, outcome};
use crate::context::Context;
use crate::invocation::{Failure, Outcome};
use crate::process;

/// What aptitude says when there is nothing to do.
const NOTHING_FOR_APTITUDE: &str = "\n0 packages upgraded, 0 newly installed, 0 to remove";

impl Apt<'_> {
    /// Upgrades everything, in one of the ways there are (`safe`, `full`, `dist`).
    pub(super) fn upgrade(&mut self, context: &mut Context<'_>, mode: &str) -> Outcome {
        let with_get = self.arguments.flag("force_apt_get") || self.aptitude.is_none();
        let autoremove = self.option("autoremove", "--auto-remove");
        let (by_get, command, prompt) = match mode {
            "dist" => (true, format!("dist-upgrade {autoremove}"), None),
            "full" if with_get => (true, format!("dist-upgrade {autoremove}"), None),
            "full" => (false, "full-upgrade".to_owned(), None),
            _ if with_get => (true, format!("upgrade --with-new-pkgs {autoremove}"), None),
            _ => (
                false,
                "safe-upgrade".to_owned(),
                Some(
                    r"(^Do you want to ignore this warning and proceed anyway\?|^\*\*\*.*\[default=.*\])",
                ),
            ),
        };
        let program = match (&self.aptitude, by_get) {
            (Some(aptitude), false) => aptitude.clone(),
            _ => self.get.clone(),
        };
        let force = match (self.arguments.flag("force"), by_get) {
            (false, _) => "",
            (true, true) => "--force-yes",
            (true, false) => "--assume-yes --allow-untrusted",
        };
        let mut only_get =
            |argument: &str, option: &'static str| match (self.arguments.flag(argument), by_get) {
                (false, _) => "",
                (true, true) => option,
                (true, false) => {
                    context.warn(format!(
                        "APTITUDE does not support '{option}', ignoring the '{argument}' parameter."
                    ));
                    ""
                }
            };
        let keep = only_get("fail_on_autoremove", "--no-remove");
        let unauthenticated = self.option("allow_unauthenticated", "--allow-unauthenticated");
        let downgrade = only_get("allow_downgrade", "--allow-downgrades");
        let path = process::required(context, &program, &[])?;
        let mut line = format!(
            "{path} -y {} {force} {keep} {unauthenticated} {downgrade} {} {command}",
            super::dpkg_options(self.arguments),
            simulate(context),
        );
        if let Some(release) = self.release() {
            line.push_str(&format!(" -t '{release}'"));
        }
        let done = self.change(context, &line, prompt)?;
        let out = done.out();
        if !done.success() {
            return Err(
                Failure::new(format!("'{program} {command}' failed: {}", done.err()))
                    .with("stdout", out)
                    .with("rc", done.code),
            );
        }
        let nothing = out.contains(if by_get {
            NOTHING
        } else {
            NOTHING_FOR_APTITUDE
        });
        let diff = super::wanted_diff(context, &out);
        let mut report = outcome(!nothing, &done, diff);
        if nothing {
            report.remove("diff");
        }
        report.insert("msg".to_owned(), out.into());
        Ok(report)
    }
}
