//! The repositories inside of a repository.

use std::collections::BTreeMap;

use super::{Work, with_output};
use crate::invocation::Failure;
use crate::python;

impl Work<'_, '_> {
    fn has_submodules(&self) -> bool {
        self.path(&python::join(&self.dest, ".gitmodules")).exists()
    }

    /// The commits the submodules are at.
    fn submodule_versions(&self) -> Result<BTreeMap<String, String>, Failure> {
        let done = self.run(&["submodule", "foreach", &self.git, "rev-parse", "HEAD"])?;
        if !done.success() {
            return Err(with_output(
                Failure::new("Unable to determine hashes of submodules"),
                &done,
            ));
        }
        let mut versions = BTreeMap::new();
        let mut entered: Option<String> = None;
        for line in done.out().lines() {
            if let Some(name) = line.strip_prefix("Entering '") {
                entered = Some(name.strip_suffix('\'').unwrap_or(name).to_owned());
            } else if line.trim().len() == 40
                && let Some(name) = entered.take()
            {
                versions.insert(name, line.trim().to_owned());
            } else {
                return Err(Failure::new(format!(
                    "Unable to parse submodule hash line: {}",
                    line.trim()
                )));
            }
        }
        match entered {
            Some(name) => Err(Failure::new(format!(
                "Unable to find hash for submodule: {name}"
            ))),
            None => Ok(versions),
        }
    }

    /// The branch a submodule follows: of `.gitmodules`, or that of its remote.
    fn submodule_branch(&self, submodule: &str) -> Result<String, Failure> {
        let done = self.run(&[
            "config",
            "-f",
            ".gitmodules",
            &format!("submodule.{submodule}.branch"),
        ])?;
        let told = done.out();
        if done.success() && !told.trim().is_empty() {
            return Ok(told.trim().to_owned());
        }
        let place = python::join(&self.dest, submodule);
        let done = self.run_in(
            &["symbolic-ref", "--short", "refs/remotes/origin/HEAD"],
            Some(&place),
        )?;
        let told = done.out();
        let told = told.trim();
        if done.success() && !told.is_empty() {
            return Ok(told
                .split_once('/')
                .map_or(told, |(_, branch)| branch)
                .to_owned());
        }
        Ok("HEAD".to_owned())
    }

    /// Gets what is new in the submodules. True if they are to be updated.
    pub(super) fn fetch_submodules(&self) -> Result<bool, Failure> {
        if !self.has_submodules() {
            return Ok(false);
        }
        let listed = std::fs::read_to_string(self.path(&python::join(&self.dest, ".gitmodules")))
            .unwrap_or_default();
        let is_missing = listed
            .lines()
            .filter(|line| line.trim().starts_with("path"))
            .filter_map(|line| line.split_once('='))
            .any(|(_, path)| {
                let place = python::join(&python::join(&self.dest, path.trim()), ".git");
                !self.path(&place).exists()
            });
        if is_missing {
            return Ok(true);
        }
        let before = self.submodule_versions()?;
        self.checked(&["submodule", "foreach", &self.git, "fetch"])?;
        if !self.track_submodules {
            let done = self.checked(&["submodule", "status"])?;
            return Ok(done.out().lines().any(|line| !line.starts_with(' ')));
        }
        let mut after = BTreeMap::new();
        for name in before.keys() {
            let branch = self.submodule_branch(name)?;
            let version = if branch == "HEAD" {
                branch
            } else {
                format!("{}/{branch}", self.remote)
            };
            let place = python::join(&self.dest, name);
            let done = self.run_in(&["rev-parse", &version], Some(&place))?;
            if !done.success() {
                return Err(with_output(
                    Failure::new(format!(
                        "Unable to determine hash of submodule {name} at {version}"
                    )),
                    &done,
                ));
            }
            after.insert(name.clone(), done.out().trim().to_owned());
        }
        Ok(before != after)
    }

    pub(super) fn update_submodules(&self) -> Result<(), Failure> {
        let help = self.run(&["submodule", "update", "--help"])?;
        let knows_remote = help
            .err()
            .lines()
            .filter(|line| line.contains("git submodule [--quiet] update "))
            .any(|line| line.contains("--remote"));
        if !self.has_submodules() {
            return Ok(());
        }
        self.checked(&["submodule", "sync"])?;
        let mut words = vec!["submodule", "update", "--init", "--recursive"];
        if knows_remote && self.track_submodules {
            words.push("--remote");
        }
        if self.force {
            words.push("--force");
        }
        let done = self.run(&words)?;
        if done.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "Failed to init/update submodules: {}{}",
            done.out(),
            done.err()
        )))
    }
}
