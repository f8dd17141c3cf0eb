//! Becoming another user there: what settings say of it, what is said when it does not work, and how it is done where there is no helper
//! that could do it.

use std::process::Stdio;
use std::time::Duration;

use consort_modules::Report;
use consort_modules::protocol::becoming::{Becoming, Line, NotBecome};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::process::{self, Group};
use super::reached::Way;
use super::{Become, ConnectionSettings, Error, Output};

/// How much may be written before the other user is there.
const MOST: usize = 1 << 20;

/// Whom to become, and how, as settings say it.
pub(super) fn becoming(way: &Way, settings: &ConnectionSettings, user: &Become) -> Becoming {
    let option = |name: &str| settings.option(name).map(str::to_owned);
    let here = matches!(way, Way::Here);
    let timeout = if here {
        option("become_success_timeout")
    } else {
        option("timeout")
    };
    let timeout = timeout.and_then(|text| text.parse().ok()).unwrap_or(10);
    Becoming {
        method: user.method.clone(),
        user: user.user.clone(),
        exe: user.exe.clone(),
        flags: user.flags.clone(),
        password: user.password.clone(),
        shell: settings.shell.clone(),
        directory: option("sudo_chdir"),
        prompts: option("prompt_l10n")
            .map(|words| {
                words
                    .split(',')
                    .map(|word| word.trim().to_owned())
                    .collect()
            })
            .unwrap_or_default(),
        timeout: if here { timeout } else { timeout + 2 },
    }
}

/// The other user cannot be become.
pub(super) fn refused(
    way: &Way,
    settings: &ConnectionSettings,
    user: &Become,
    refused: &NotBecome,
) -> Error {
    let name = user.method.rsplit('.').next().unwrap_or_default();
    if matches!(way, Way::Ssh(_)) {
        if refused.incorrect {
            return Error::failed(format!("Incorrect {name} password"));
        }
        if refused.missing {
            return Error::failed(format!("Missing {name} password"));
        }
        if refused.reason == "Timed out" {
            let seconds = becoming(way, settings, user).timeout;
            return Error::Unreachable(format!(
                "Timeout ({seconds}s) waiting for privilege escalation prompt: {}",
                refused.stdout
            ));
        }
        let mut more = Report::new();
        more.insert("module_stdout".to_owned(), refused.stdout.clone().into());
        more.insert("module_stderr".to_owned(), refused.stderr.clone().into());
        more.insert("rc".to_owned(), 1.into());
        return Error::Failed {
            message: refused.message(),
            more,
        };
    }
    if refused.reason == "Timed out" {
        return Error::Unreachable(refused.message());
    }
    Error::failed(refused.message())
}

/// How a line that another user runs has ended.
pub(super) enum Ended {
    /// By itself.
    Well(Output),
    /// It was ended, because its time was over.
    TimedOut(Duration),
    /// It never began.
    NotStarted(std::io::Error),
    /// The other user was not become.
    NotBecome(NotBecome),
    /// The way there is lost: what it gave.
    Lost(Output),
}

/// Runs a process that becomes another user by `line`, gives the password when it is asked for, and the input when the user is there.
/// Dropped, it ends the process.
pub(super) async fn run(
    command: Command,
    line: &Line,
    becoming: &Becoming,
    input: &[u8],
    timeout: Option<Duration>,
) -> Ended {
    match timeout {
        None => begin(command, line, becoming, input).await,
        Some(limit) => {
            let work = begin(command, line, becoming, input);
            tokio::time::timeout(limit, work)
                .await
                .unwrap_or(Ended::TimedOut(limit))
        }
    }
}

async fn begin(mut command: Command, line: &Line, becoming: &Becoming, input: &[u8]) -> Ended {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error),
    };
    let mut group = Group::of(&child);
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Ended::NotStarted(std::io::Error::other("no pipes"));
    };
    let mut talk = Talk::default();
    let patience = Duration::from_secs(becoming.timeout.clamp(1, 3600));
    let refused = loop {
        if let Some(end) = talk.succeeded(&line.success) {
            talk.written.drain(..end);
            break None;
        }
        if line.prompt.found(&talk.unseen()) {
            if talk.given {
                break Some("Duplicate become password prompt encountered");
            }
            talk.seen = (talk.written.len(), talk.complained.len());
            let Some(password) = &becoming.password else {
                break Some("Premature end of stream");
            };
            talk.given = true;
            // it may be gone already; that is seen when its output ends
            let _ = stdin.write_all(format!("{password}\n").as_bytes()).await;
            continue;
        }
        if talk.given && line.incorrect.iter().any(|said| talk.said(said)) {
            break Some("Premature end of stream");
        }
        if talk.ended.0 && talk.ended.1 {
            break Some("Premature end of stream");
        }
        if talk.written.len() + talk.complained.len() > MOST {
            break Some("Too much was written");
        }
        match tokio::time::timeout(patience, talk.listen(&mut stdout, &mut stderr)).await {
            Ok(()) => {}
            Err(_) => break Some("Timed out"),
        }
    };
    if let Some(reason) = refused {
        let ended = talk.ended.0 && talk.ended.1;
        let status = if ended { child.wait().await.ok() } else { None };
        if let Some(status) = status {
            group.done();
            let status = process::status_code(status);
            if status == 255 && talk.written.is_empty() && !talk.given {
                return Ended::Lost(Output {
                    status,
                    stdout: talk.written,
                    stderr: talk.complained,
                });
            }
        }
        let said = |list: &[&str]| list.iter().any(|said| talk.said(said));
        return Ended::NotBecome(NotBecome {
            reason: reason.to_owned(),
            stdout: line.prompt.without(&String::from_utf8_lossy(&talk.written)),
            stderr: line
                .prompt
                .without(&String::from_utf8_lossy(&talk.complained)),
            password_expected: becoming.password.is_some() && !talk.given,
            incorrect: said(line.incorrect) || reason.starts_with("Duplicate"),
            missing: said(line.missing),
        });
    }
    let write = async move {
        // who does not read its input says so by its status
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let (mut out, mut err) = (talk.written, talk.complained);
    // what was read before an error is what there is
    let _ = tokio::join!(
        write,
        stdout.read_to_end(&mut out),
        stderr.read_to_end(&mut err)
    );
    let status = child.wait().await;
    group.done();
    let output = Output {
        status: status.map_or(-1, process::status_code),
        stdout: out,
        stderr: err,
    };
    if output.status == 255 {
        return Ended::Lost(output);
    }
    Ended::Well(output)
}

/// What was said until the other user is there.
#[derive(Default)]
struct Talk {
    written: Vec<u8>,
    complained: Vec<u8>,
    /// How much of both was looked at for a prompt that was answered.
    seen: (usize, usize),
    /// Whether nothing more comes of them.
    ended: (bool, bool),
    /// Whether the password was given.
    given: bool,
}

impl Talk {
    /// What was not answered yet.
    fn unseen(&self) -> String {
        let (written, complained) = (
            &self.written[self.seen.0..],
            &self.complained[self.seen.1..],
        );
        format!(
            "{}\n{}",
            String::from_utf8_lossy(written),
            String::from_utf8_lossy(complained)
        )
    }

    fn said(&self, what: &str) -> bool {
        String::from_utf8_lossy(&self.written).contains(what)
            || String::from_utf8_lossy(&self.complained).contains(what)
    }

    /// Where what follows the word of success begins, if it was said.
    fn succeeded(&self, word: &str) -> Option<usize> {
        let at = self
            .written
            .windows(word.len())
            .position(|part| part == word.as_bytes())?;
        let end = self.written[at..].iter().position(|byte| *byte == b'\n')?;
        Some(at + end + 1)
    }

    /// Takes what comes next.
    async fn listen(
        &mut self,
        stdout: &mut (impl AsyncRead + Unpin),
        stderr: &mut (impl AsyncRead + Unpin),
    ) {
        let (mut out, mut err) = ([0; 4096], [0; 4096]);
        tokio::select! {
            read = stdout.read(&mut out), if !self.ended.0 => match read {
                Ok(length @ 1..) => self.written.extend_from_slice(&out[..length]),
                _ => self.ended.0 = true,
            },
            read = stderr.read(&mut err), if !self.ended.1 => match read {
                Ok(length @ 1..) => self.complained.extend_from_slice(&err[..length]),
                _ => self.ended.1 = true,
            },
            else => {}
        }
    }
}
