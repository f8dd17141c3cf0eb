//! Commits: who wrote them, when, about what.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use consort_plan::Commit;
use jiff::Timestamp;
use tokio::process::Command;

/// The form in which `git log` tells a commit: its parts with zero bytes between them.
pub(crate) const FORMAT: &str = "--format=%H%x00%an <%ae>%x00%at%x00%s";

/// How long a look at a directory may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The commit of a line in [`FORMAT`].
pub(crate) fn parse(line: &[u8]) -> Option<Commit> {
    let text = String::from_utf8_lossy(line);
    let mut parts = text.trim_end_matches('\n').splitn(4, '\0');
    let id = parts.next()?.to_owned();
    let author = parts.next()?.to_owned();
    let seconds: i64 = parts.next()?.parse().ok()?;
    let subject = parts.next()?;
    Some(Commit {
        id,
        author: printable(&author, 200),
        time: Timestamp::from_second(seconds).ok()?,
        subject: printable(subject, 200),
    })
}

/// A commit is written by anyone: nothing in it may steer a terminal.
fn printable(text: &str, most: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(most)
        .collect()
}

/// The commit a directory is at: that of `HEAD`, if the directory lies in a work tree of Git, and nothing in it
/// differs from that commit (files that Git ignores do not count). None also when there is no `git`.
pub async fn commit_of(directory: &Path) -> Option<Commit> {
    let look = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(directory)
            // The repository's configuration must not start programs.
            .args(["-c", "core.fsmonitor=false", "--no-optional-locks"])
            .args(arguments.iter().map(OsString::from))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        async move {
            let output = tokio::time::timeout(LIMIT, command.output()).await;
            output
                .ok()?
                .ok()
                .filter(|output| output.status.success())
                .map(|output| output.stdout)
        }
    };
    let log = look(&["log", "-1", FORMAT, "HEAD"]).await?;
    let changed = look(&[
        "status",
        "--porcelain",
        "--untracked-files=normal",
        "--",
        ".",
    ])
    .await?;
    if !changed.is_empty() {
        return None;
    }
    // A directory that Git ignores as a whole has nothing changed, and is in no commit.
    let known = look(&["ls-files", "--", "."]).await?;
    if known.is_empty() {
        return None;
    }
    parse(&log)
}
