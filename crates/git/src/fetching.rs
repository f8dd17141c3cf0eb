//! Bringing commits into mirrors.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::error::Error;
use crate::program::Run;
use crate::reference::Resolved;
use crate::remote::Remote;
use crate::repositories::{LOCAL, Repositories, words};

/// How long the fetch of a commit may take.
const FETCH: Duration = Duration::from_secs(600);

impl Repositories {
    pub(crate) async fn has(
        &self,
        mirror: &Path,
        remote: &Remote,
        id: &str,
        cancel: &CancellationToken,
    ) -> Result<bool, Error> {
        if !mirror.join("HEAD").exists() {
            return Ok(false);
        }
        let name = format!("{id}^{{tree}}");
        let found = self
            .offline(
                format!("looking for commit {id}"),
                remote,
                words(&["cat-file", "-e", &name]),
                mirror,
                Vec::new(),
                cancel,
            )
            .await;
        match found {
            Ok(_) => Ok(true),
            Err(error @ (Error::Cancelled { .. } | Error::NoGit)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Fetches one commit without its history, by its name if it has one.
    pub(crate) async fn fetch(
        &self,
        mirror: &Path,
        remote: &Remote,
        credentials: &Credentials,
        resolved: &Resolved,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        self.init(mirror, remote, cancel).await?;
        let id = &resolved.commit;
        // By its id first: then it is the commit that was resolved, also if its branch has moved since.
        let refspecs = [
            Some(format!("+{id}:refs/consort/{id}")),
            resolved
                .name
                .as_ref()
                .map(|name| format!("+{name}:refs/consort/{id}")),
        ];
        for refspec in refspecs.into_iter().flatten() {
            let mut arguments = fetch_words();
            arguments.extend(words(&[
                "--depth=1",
                "--end-of-options",
                remote.as_str(),
                &refspec,
            ]));
            let fetched = self
                .online(
                    format!("fetching commit {id} of {remote}"),
                    remote,
                    credentials,
                    arguments,
                    Some(mirror),
                    FETCH,
                    cancel,
                )
                .await;
            match fetched {
                Ok(_) if self.has(mirror, remote, id, cancel).await? => return Ok(()),
                // Servers need not give commits by id, and a branch may have moved: the whole may have it.
                Ok(_) | Err(Error::NoReference { .. } | Error::Failed { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        self.fetch_all(mirror, remote, credentials, cancel).await?;
        if self.has(mirror, remote, id, cancel).await? {
            return Ok(());
        }
        Err(Error::NoReference {
            url: remote.to_string(),
            reference: id.clone(),
        })
    }

    /// Fetches all branches and tags with their history.
    pub(crate) async fn fetch_all(
        &self,
        mirror: &Path,
        remote: &Remote,
        credentials: &Credentials,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        self.init(mirror, remote, cancel).await?;
        let mut arguments = fetch_words();
        if mirror.join("shallow").exists() {
            arguments.extend(words(&["--unshallow"]));
        }
        arguments.extend(words(&[
            "--end-of-options",
            remote.as_str(),
            "+refs/heads/*:refs/consort/heads/*",
            "+refs/tags/*:refs/consort/tags/*",
        ]));
        self.online(
            format!("fetching {remote}"),
            remote,
            credentials,
            arguments,
            Some(mirror),
            FETCH,
            cancel,
        )
        .await?;
        Ok(())
    }

    async fn init(
        &self,
        mirror: &Path,
        remote: &Remote,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        if mirror.join("HEAD").exists() {
            return Ok(());
        }
        let mut arguments = words(&[
            "init",
            "--quiet",
            "--bare",
            "--template=",
            "--end-of-options",
        ]);
        arguments.push(mirror.into());
        self.git
            .run(Run {
                doing: "making a mirror".to_owned(),
                url: remote.as_str(),
                arguments,
                git_dir: None,
                environment: Vec::new(),
                access: None,
                limit: LOCAL,
                cancel,
            })
            .await?;
        Ok(())
    }
}

fn fetch_words() -> Vec<OsString> {
    words(&[
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        "--no-auto-maintenance",
    ])
}
