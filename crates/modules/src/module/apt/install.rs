//! Packages that are to be there.

use super::wanted::{Asked, Best};
use super::{Apt, outcome};
use crate::apt::installed;
use crate::context::Context;
use crate::invocation::{Failure, Outcome, Report};
use crate::process::{self, Command};
use crate::python;

/// What apt-get says when there is nothing to do.
pub(super) const NOTHING: &str = "\n0 upgraded, 0 newly installed, 0 to remove";

impl Apt<'_> {
    /// Installs packages, those of the arguments (`own`) or what others need. The inner failure is a result that more can
    /// be told with.
    pub(super) fn install(
        &mut self,
        context: &mut Context<'_>,
        packages: Vec<String>,
        own: bool,
    ) -> Result<Outcome, Failure> {
        let state = if own {
            self.arguments.required("state")
        } else {
            "present"
        };
        let packages = self.expand(context, packages)?;
        let builds = state == "build-dep";
        let mut wanted: Vec<String> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        if builds {
            wanted.extend(packages.iter().map(|package| format!("'{package}'")));
        } else {
            let asked: Vec<Asked> = packages.iter().map(|package| Asked::of(package)).collect();
            let only_upgrade = own && self.arguments.flag("only_upgrade");
            match self.missing(context, &asked, state == "latest", only_upgrade)? {
                Ok(missing) => wanted = missing,
                Err(failure) => return Ok(Err(failure)),
            }
            names.extend(asked.into_iter().map(|asked| asked.name));
        }
        let result = if wanted.is_empty() {
            Ok(Report::from_iter([("changed".to_owned(), false.into())]))
        } else {
            self.get_packages(context, &wanted.join(" "), state, own)?
        };
        if !builds && !context.settings.check {
            self.mark(context, &names, "manual", "manually")?;
        }
        Ok(result)
    }

    /// What apt-get is to be told to install. The inner failure is about one that cannot be.
    fn missing(
        &mut self,
        context: &mut Context<'_>,
        asked: &[Asked],
        newest: bool,
        only_upgrade: bool,
    ) -> Result<Result<Vec<String>, Failure>, Failure> {
        let installed = Apt::installed(context);
        let standings = self.standings(context, &installed, asked, newest)?;
        let mut wanted = Vec::new();
        for (asked, standing) in asked.iter().zip(standings) {
            if !standing.installed && only_upgrade {
                continue;
            }
            if !standing.fits && standing.best == Best::Nothing {
                return Ok(Err(Failure::new(format!(
                    "no available installation candidate for {}",
                    asked.whole
                ))));
            }
            let needed = !standing.installed || newest || !standing.fits;
            match (&standing.best, &asked.version) {
                (Best::Nothing, _) => {}
                (Best::Version(version), _) if needed => {
                    wanted.push(format!("'{}={version}'", asked.name));
                }
                (Best::Any, Some((_, version))) if needed => {
                    wanted.push(format!("'{}={version}'", asked.name));
                }
                (Best::Any, None) if needed => wanted.push(format!("'{}'", asked.name)),
                // Both what is installed and something newer fit the wildcard.
                (_, Some((operator, version))) if operator == "=" => {
                    wanted.push(format!("'{}={version}'", asked.name));
                }
                _ => {}
            }
        }
        Ok(Ok(wanted))
    }

    fn get_packages(
        &mut self,
        context: &mut Context<'_>,
        packages: &str,
        state: &str,
        own: bool,
    ) -> Result<Outcome, Failure> {
        // What is installed for a file of a package is installed without some of what was asked for that package.
        let asked = |argument: &str, option: &'static str| {
            if own {
                self.option(argument, option)
            } else {
                ""
            }
        };
        let simulate = if context.settings.check {
            "--simulate"
        } else {
            ""
        };
        let fix = if state == "fixed" { "--fix-broken" } else { "" };
        let options = super::dpkg_options(self.arguments);
        let get = &self.get;
        let only_upgrade = asked("only_upgrade", "--only-upgrade");
        let force = asked("force", "--force-yes");
        let keep = self.option("fail_on_autoremove", "--no-remove");
        let mut line = if state == "build-dep" {
            format!(
                "{get} -y {options} {only_upgrade} {fix} {force} {keep} {simulate} build-dep {packages}"
            )
        } else {
            let autoremove = asked("autoremove", "--auto-remove");
            format!(
                "{get} -y {options} {only_upgrade} {fix} {force} {autoremove} {keep} {simulate} install {packages}"
            )
        };
        if own && let Some(release) = self.release() {
            line.push_str(&format!(" -t '{release}'"));
        }
        match self.arguments.given_flag("install_recommends") {
            Some(false) => line.push_str(" -o APT::Install-Recommends=no"),
            Some(true) => line.push_str(" -o APT::Install-Recommends=yes"),
            None => {}
        }
        for (argument, option) in [
            ("allow_unauthenticated", " --allow-unauthenticated"),
            ("allow_downgrade", " --allow-downgrades"),
            (
                "allow_change_held_packages",
                " --allow-change-held-packages",
            ),
        ] {
            line.push_str(self.option(argument, option));
        }
        let done = self.change(context, &line, None)?;
        if !done.success() {
            return Ok(Err(Failure::new(format!(
                "'{line}' failed: {}",
                done.err()
            ))
            .with("stdout", done.out())
            .with("stderr", done.err())
            .with("rc", done.code)));
        }
        let out = done.out();
        let changed = state != "build-dep" || !out.contains(NOTHING);
        let diff = super::wanted_diff(context, &out);
        Ok(Ok(outcome(changed, &done, diff)))
    }

    /// Marks packages as wanted for themselves or as there only for others. Those that are already are left alone.
    pub(super) fn mark(
        &mut self,
        context: &mut Context<'_>,
        names: &[String],
        operation: &str,
        shown: &str,
    ) -> Result<(), Failure> {
        if names.is_empty() {
            return Ok(());
        }
        let Some(program) = process::find(context, "apt-mark", &[]) else {
            context.warn(format!(
                "Could not find apt-mark binary, not marking package(s) as {shown} installed."
            ));
            return Ok(());
        };
        let installed = Apt::installed(context);
        let automatic = installed::automatic(context, &installed.architecture);
        let is_marked = |name: &String| {
            installed
                .find(name)
                .is_some_and(|package| package.is_installed())
                && automatic.contains(name) == (operation == "auto")
        };
        if names.iter().all(is_marked) {
            return Ok(());
        }
        let words: Vec<String> = [program, operation.to_owned()]
            .into_iter()
            .chain(names.iter().cloned())
            .collect();
        let done = self
            .environment(context)
            .of(Command::new(words.clone()))
            .run(context)?;
        if done.success() {
            return Ok(());
        }
        let quoted: Vec<String> = words.iter().map(|word| python::shell_quote(word)).collect();
        Err(Failure::new(format!(
            "Command {} failed.",
            python::repr(&quoted.join(" "))
        ))
        .with("stdout", done.out())
        .with("stderr", done.err())
        .with("rc", done.code))
    }
}
