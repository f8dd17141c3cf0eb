//! Branches, tags and the repository a working copy is of.

use super::{Work, with_output};
use crate::invocation::Failure;
use crate::python;

impl Work<'_, '_> {
    fn is_remote(
        &self,
        remote: &str,
        flag: &str,
        name: &str,
        version: &str,
    ) -> Result<bool, Failure> {
        let done = self.checked(&["ls-remote", remote, flag, name])?;
        Ok(done.out().contains(version))
    }

    pub(super) fn is_remote_branch(&self, remote: &str, version: &str) -> Result<bool, Failure> {
        self.is_remote(remote, "-h", &format!("refs/heads/{version}"), version)
    }

    pub(super) fn is_remote_tag(&self, remote: &str, version: &str) -> Result<bool, Failure> {
        self.is_remote(remote, "-t", &format!("refs/tags/{version}"), version)
    }

    fn branches(&self) -> Result<Vec<String>, Failure> {
        let done = self.run(&["branch", "--no-color", "-a"])?;
        if !done.success() {
            return Err(Failure::new(format!(
                "Could not determine branch data - received {}",
                done.out()
            ))
            .with("stdout", done.out())
            .with("stderr", done.err()));
        }
        Ok(done
            .out()
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }

    pub(super) fn is_local_branch(&self, name: &str) -> Result<bool, Failure> {
        Ok(self
            .branches()?
            .iter()
            .any(|line| line.strip_prefix("* ").unwrap_or(line) == name))
    }

    /// The names of the tags that are objects of their own.
    pub(super) fn signed_tags(&self) -> Result<Vec<String>, Failure> {
        let done = self.run(&[
            "for-each-ref",
            "refs/tags/",
            "--format",
            "%(objecttype):%(refname:short)",
        ])?;
        if !done.success() {
            return Err(Failure::new(format!(
                "Could not determine tag data - received {}",
                done.out()
            ))
            .with("stdout", done.out())
            .with("stderr", done.err()));
        }
        Ok(done
            .out()
            .lines()
            .filter_map(|line| line.trim().strip_prefix("tag:"))
            .map(str::to_owned)
            .collect())
    }

    /// The branch `HEAD` is on; if it is on none, that of the remote's.
    pub(super) fn head_branch(&self) -> Result<String, Failure> {
        let repository = self.repository_path()?;
        let is_on_none = self.branches()?.iter().any(|line| {
            line.starts_with("* ")
                && ["no branch", "detached from", "detached at"]
                    .iter()
                    .any(|words| line.contains(words))
        });
        let file = if is_on_none {
            format!("{repository}/refs/remotes/{}/HEAD", self.remote)
        } else {
            format!("{repository}/HEAD")
        };
        let place = self.path(&file);
        if !place.exists() {
            return Ok("None".to_owned());
        }
        let text = std::fs::read_to_string(&place)
            .map_err(|_| Failure::new(format!("Unable to read {file}")))?;
        let line = text.lines().next().unwrap_or("").replacen(
            &format!("refs/remotes/{}", self.remote),
            "",
            1,
        );
        let last = line.split(' ').next_back().unwrap_or("");
        Ok(last.splitn(3, '/').last().unwrap_or("").to_owned())
    }

    /// The commit a version is at in a repository.
    pub(super) fn remote_head(&mut self, remote: &str) -> Result<String, Failure> {
        let given = &self.given_repo;
        let is_new = remote == *given
            || remote == format!("file://{}", python::expand_user(self.context, given));
        let directory = (!is_new).then(|| self.dest.clone());
        let version = self.version.clone();
        let mut tag = false;
        let words: Vec<String> = if version == "HEAD" {
            let name = if is_new {
                "HEAD".to_owned()
            } else {
                format!("refs/heads/{}", self.head_branch()?)
            };
            vec!["ls-remote".into(), remote.into(), "-h".into(), name]
        } else if self.is_remote_branch(remote, &version)? {
            vec![
                "ls-remote".into(),
                remote.into(),
                "-h".into(),
                format!("refs/heads/{version}"),
            ]
        } else if self.is_remote_tag(remote, &version)? {
            tag = true;
            vec![
                "ls-remote".into(),
                remote.into(),
                "-t".into(),
                format!("refs/tags/{version}*"),
            ]
        } else {
            self.has_commit(remote, directory.as_deref())?;
            return Ok(version);
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = self
            .command(&words, directory.as_deref())
            .check()
            .run(self.context)?;
        let said = done.out();
        if said.is_empty() {
            return Err(with_output(
                Failure::new(format!("Could not determine remote revision for {version}")),
                &done,
            ));
        }
        let mut line = said.as_str();
        if tag {
            // A tag that is an object of its own leads to a commit, which is told as well.
            let peeled = format!("{version}^{{}}");
            for each in said.lines() {
                if each.ends_with(&peeled) {
                    line = each;
                    break;
                }
                if each.ends_with(&version) {
                    line = each;
                }
            }
        }
        Ok(line.split_whitespace().next().unwrap_or("").to_owned())
    }

    /// Whether a repository has the commit that is wanted; it fails if not.
    fn has_commit(&mut self, remote: &str, directory: Option<&str>) -> Result<(), Failure> {
        let place = match directory.filter(|directory| self.path(directory).exists()) {
            Some(directory) => directory.to_owned(),
            None => {
                let place = self.context.temporary_directory()?.join("tmp_repo");
                std::fs::create_dir_all(&place)
                    .map_err(|error| Failure::unhandled(python::os_error_at(&error, &place)))?;
                let place = place.to_string_lossy().into_owned();
                self.run_in(&["init"], Some(&place))?;
                self.run_in(&["remote", "add", "origin", remote], Some(&place))?;
                place
            }
        };
        self.command(&["fetch", "--dry-run", remote, &self.version], Some(&place))
            .check()
            .run(self.context)?;
        Ok(())
    }

    fn url(&self) -> Result<Option<String>, Failure> {
        let done = self.run(&["ls-remote", "--get-url", &self.remote])?;
        Ok(done
            .success()
            .then(|| done.out().trim_end_matches('\n').to_owned()))
    }

    fn is_same_place(&self, url: &str) -> bool {
        let place = |path: &str| {
            let expanded = python::expand_path(self.context, path);
            python::normalize(&crate::attributes::real_path(self.context, &expanded))
        };
        url == self.repo || place(url) == place(&self.repo)
    }

    /// Whether the working copy is of another repository.
    pub(super) fn has_other_url(&self) -> Result<bool, Failure> {
        Ok(self
            .url()?
            .is_some_and(|url| !url.is_empty() && !self.is_same_place(&url)))
    }

    /// Makes the working copy one of the repository. True if it was of another.
    pub(super) fn set_url(&self) -> Result<bool, Failure> {
        let url = self.url()?;
        if url.as_ref().is_some_and(|url| self.is_same_place(url)) {
            return Ok(false);
        }
        let done = self.run(&["remote", "set-url", &self.remote, &self.repo])?;
        if !done.success() {
            return Err(Failure::new(format!(
                "Failed to set a new url {} for {}: {} {}",
                self.repo,
                self.remote,
                done.out(),
                done.err()
            )));
        }
        Ok(url.is_some())
    }
}
