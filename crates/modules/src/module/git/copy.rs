//! The working copy: made, brought up to date, put at a version.

use serde_json::Value;

use super::{Work, above, with_output};
use crate::invocation::{Failure, Report};
use crate::python;

impl Work<'_, '_> {
    /// The commit the working copy is at.
    pub(super) fn revision(&self) -> Result<String, Failure> {
        Ok(self
            .run(&["rev-parse", "HEAD"])?
            .out()
            .trim_end_matches('\n')
            .to_owned())
    }

    /// Whether files git knows were changed.
    pub(super) fn has_local_changes(&self) -> Result<bool, Failure> {
        if self.bare {
            return Ok(false);
        }
        let done = self.run(&["status", "--porcelain"])?;
        Ok(done.out().lines().any(|line| !line.starts_with("??")))
    }

    /// Makes the working copy.
    pub(super) fn clone_it(&mut self, report: &mut Report) -> Result<(), Failure> {
        let parent = above(&self.dest).to_owned();
        // If it cannot be made, git says so.
        let _ = std::fs::create_dir_all(self.path(&parent));
        let depth = self.depth.map(|depth| depth.to_string());
        let mut words = vec!["clone".to_owned()];
        if self.bare {
            words.push("--bare".to_owned());
        } else {
            words.extend(["--origin".to_owned(), self.remote.clone()]);
        }
        let repo = self.repo.clone();
        let is_named = self.is_remote_branch(&repo, &self.version)?
            || self.is_remote_tag(&repo, &self.version)?;
        if let Some(depth) = &depth {
            if self.version == "HEAD" || self.refspec.is_some() {
                words.extend(["--depth".to_owned(), depth.clone()]);
            } else if is_named {
                words.extend(["--depth".to_owned(), depth.clone()]);
                words.extend(["--branch".to_owned(), self.version.clone()]);
            } else {
                self.context.warn("Ignoring depth argument. Shallow clones are only available for HEAD, branches, tags or in combination with refspec.");
            }
        }
        if let Some(reference) = &self.reference {
            words.extend(["--reference".to_owned(), reference.clone()]);
        }
        if self.git_version.is_none() && (self.single_branch || self.separate.is_some()) {
            return Err(Failure::new(format!(
                "Cannot find git executable at {}",
                self.git
            )));
        }
        if self.single_branch {
            if self.is_older_than(&[1, 7, 10]) {
                let own = self.git_version.clone().unwrap_or_default();
                let own: Vec<String> = own.iter().map(u32::to_string).collect();
                self.context.warn(format!(
                    "git version '{}' is too old to use 'single-branch'. Ignoring.",
                    own.join(".")
                ));
            } else {
                words.push("--single-branch".to_owned());
                if is_named {
                    words.extend(["--branch".to_owned(), self.version.clone()]);
                }
            }
        }
        let is_moved_after = self.separate.is_some() && self.is_older_than(&[1, 7, 5]);
        if let Some(separate) = &self.separate
            && !is_moved_after
        {
            words.push(format!("--separate-git-dir={separate}"));
        }
        words.extend([repo, self.dest.clone()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.command(&words, Some(&parent))
            .check()
            .run(self.context)?;
        if let Some(separate) = &self.separate
            && is_moved_after
        {
            let from = python::join(&self.dest, ".git");
            self.move_apart(report, separate, &from)?;
        }
        if self.bare && self.remote != "origin" {
            self.checked(&["remote", "add", &self.remote, &self.repo])?;
        }
        if let Some(refspec) = &self.refspec {
            let mut words = vec!["fetch"];
            if let Some(depth) = &depth {
                words.extend(["--depth", depth]);
            }
            words.extend([self.remote.as_str(), refspec]);
            self.checked(&words)?;
        }
        if self.verify_commit {
            self.verify()?;
        }
        Ok(())
    }

    /// Gets what is new in the repository.
    pub(super) fn fetch(&self) -> Result<(), Failure> {
        self.fetch_version(&self.version)
    }

    /// Gets what is new in the repository, a version above all.
    pub(super) fn fetch_version(&self, version: &str) -> Result<(), Failure> {
        self.set_url()?;
        let depth = self.depth.map(|depth| depth.to_string());
        let mut words = vec!["fetch".to_owned()];
        let mut wanted: Vec<String> = Vec::new();
        if let Some(depth) = &depth {
            let current = self.head_branch()?;
            if let Some(refspec) = &self.refspec {
                wanted.push(refspec.clone());
            } else if version == "HEAD" {
                wanted.push(current);
            } else if self.is_remote_branch(&self.repo, version)? {
                if current != version {
                    wanted.push(format!("+refs/heads/{version}:refs/heads/{version}"));
                }
                wanted.push(format!(
                    "+refs/heads/{version}:refs/remotes/{}/{version}",
                    self.remote
                ));
            } else if self.is_remote_tag(&self.repo, version)? {
                wanted.push(format!("+refs/tags/{version}:refs/tags/{version}"));
            }
            if !wanted.is_empty() {
                words.extend(["--depth".to_owned(), depth.clone()]);
            }
        }
        if wanted.is_empty() || depth.is_none() {
            if self.bare {
                wanted = vec![
                    "+refs/heads/*:refs/heads/*".to_owned(),
                    "+refs/tags/*:refs/tags/*".to_owned(),
                ];
            } else if self.git_version.is_some() && !self.is_older_than(&[1, 9]) {
                words.push("--tags".to_owned());
            } else {
                let mut first = words.clone();
                first.push(self.remote.clone());
                self.download(&first)?;
                wanted = vec!["+refs/tags/*:refs/tags/*".to_owned()];
            }
            wanted.extend(self.refspec.clone());
        }
        if self.force {
            words.push("--force".to_owned());
        }
        words.push(self.remote.clone());
        words.extend(wanted);
        self.download(&words)
    }

    fn download(&self, words: &[String]) -> Result<(), Failure> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = self.run(&words)?;
        if done.success() {
            return Ok(());
        }
        let all: Vec<Value> = std::iter::once(self.git.as_str())
            .chain(words)
            .map(Value::from)
            .collect();
        Err(Failure::new(format!(
            "Failed to download remote objects and refs: {} {}",
            done.out(),
            done.err()
        ))
        .with("cmd", all))
    }

    /// Puts the working copy at the version.
    pub(super) fn switch(&self) -> Result<(), Failure> {
        let (remote, version) = (&self.remote, &self.version);
        let mut branch = version.clone();
        let words: Vec<String> = if version == "HEAD" {
            branch = self.head_branch()?;
            self.check_out(&branch)?;
            ["reset", "--hard", &format!("{remote}/{branch}"), "--"]
                .map(str::to_owned)
                .to_vec()
        } else if self.is_remote_branch(remote, version)? {
            if let Some(depth) = self.depth
                && !self.is_local_branch(version)?
            {
                self.fetch_branch(depth)?;
            }
            if self.is_local_branch(version)? {
                self.check_out(version)?;
                ["reset", "--hard", &format!("{remote}/{version}")]
                    .map(str::to_owned)
                    .to_vec()
            } else {
                [
                    "checkout",
                    "--track",
                    "-b",
                    version,
                    &format!("{remote}/{version}"),
                ]
                .map(str::to_owned)
                .to_vec()
            }
        } else {
            ["checkout", "--force", version].map(str::to_owned).to_vec()
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = self.run(&words)?;
        if !done.success() {
            let what = if version == "HEAD" {
                format!("branch {branch}")
            } else {
                version.clone()
            };
            let command = format!("{} {}", self.git, words.join(" "));
            return Err(
                with_output(Failure::new(format!("Failed to checkout {what}")), &done)
                    .with("cmd", command),
            );
        }
        if self.verify_commit {
            self.verify()?;
        }
        Ok(())
    }

    fn check_out(&self, branch: &str) -> Result<(), Failure> {
        let done = self.run(&["checkout", "--force", branch])?;
        if done.success() {
            return Ok(());
        }
        Err(with_output(
            Failure::new(format!("Failed to checkout branch {branch}")),
            &done,
        ))
    }

    /// Gets a branch that is not there yet, no deeper than is wanted.
    fn fetch_branch(&self, depth: i64) -> Result<(), Failure> {
        let (remote, version) = (&self.remote, &self.version);
        let done = self.run(&[
            "fetch",
            &format!("--depth={depth}"),
            remote,
            &format!("+refs/heads/{version}:refs/heads/{version}"),
            &format!("+refs/heads/{version}:refs/remotes/{remote}/{version}"),
        ])?;
        if done.success() {
            return Ok(());
        }
        Err(with_output(
            Failure::new(format!("Failed to fetch branch from remote: {version}")),
            &done,
        ))
    }

    /// Verifies the signature of the version, which has to be of one of the keys if there are any.
    fn verify(&self) -> Result<(), Failure> {
        let version = &self.version;
        let word = if self.signed_tags()?.contains(version) {
            "verify-tag"
        } else {
            "verify-commit"
        };
        let mut words = vec![word, version.as_str()];
        if !self.keys.is_empty() {
            words.push("--raw");
        }
        let done = self.run(&words)?;
        if !done.success() {
            return Err(with_output(
                Failure::new(format!(
                    "Failed to verify GPG signature of commit/tag \"{version}\""
                )),
                &done,
            ));
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        let said = done.err();
        let key = said.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.get(1) == Some(&"VALIDSIG"))
                .then(|| words.get(if words.len() == 11 { 11 } else { 2 }).copied())
                .flatten()
        });
        if key.is_some_and(|key| self.keys.iter().any(|known| known == key)) {
            return Ok(());
        }
        Err(with_output(
            Failure::new(format!(
                "The gpg_allowlist does not include the public key \"{}\" for this commit",
                key.unwrap_or("None")
            )),
            &done,
        ))
    }
}
