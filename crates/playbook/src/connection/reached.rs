//! A machine that is reached through a process of this one: `ssh`, `docker exec`, or a helper started here.
//!
//! The first use logs in and leaves a helper there, which then serves all tasks of all users on that machine. Where no helper
//! can run, each command is a login of its own, and modules run by Python alone.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use consort_modules::protocol::files::Beside;
use consort_modules::protocol::message::{Answer, Request};
use consort_modules::{Invocation, Report};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, mpsc};

use super::container::Container;
use super::session::{Input, Lost, NoAnswer, Pipes, Reply, Session};
use super::ssh::Ssh;
use super::{about, becoming};
use crate::python::{call, result};

use super::{
    Become, Call, Command, Connection, ConnectionSettings, Content, Error, Job, Output, Packed,
    Work, helper, shell,
};

/// A way to a machine.
pub(super) enum Way {
    /// A helper of this machine.
    Here,
    /// OpenSSH.
    Ssh(Box<Ssh>),
    /// A program that gives the shell of a container.
    Container(Container),
}

impl Way {
    /// Sees to it that the way is open to who has what the settings say.
    pub(super) async fn prepare(&self, settings: &ConnectionSettings) -> Result<(), Error> {
        match self {
            Way::Ssh(ssh) => ssh.prepare(settings).await,
            Way::Here | Way::Container(_) => Ok(()),
        }
    }

    /// Whether commands that read nothing run at a terminal.
    pub(super) fn has_terminal(&self) -> bool {
        matches!(self, Way::Ssh(ssh) if ssh.has_terminal())
    }

    /// What is said when a command at a terminal has ended.
    pub(super) fn closed(&self) -> String {
        match self {
            Way::Ssh(ssh) => ssh.closed(),
            Way::Here | Way::Container(_) => String::new(),
        }
    }

    /// The command that runs a line in the machine's shell, at a terminal if it has any.
    pub(super) fn command(
        &self,
        settings: &ConnectionSettings,
        line: &str,
        terminal: bool,
    ) -> Result<tokio::process::Command, Error> {
        match self {
            Way::Here => {
                let mut command = tokio::process::Command::new(&settings.shell);
                command.arg("-c").arg(line).process_group(0);
                Ok(command)
            }
            Way::Ssh(ssh) => ssh.command(line, terminal).map_err(Error::failed),
            Way::Container(container) => Ok(container.command(line)),
        }
    }
}

/// A machine that is reached through a process of this one.
pub(super) struct Reached {
    settings: ConnectionSettings,
    way: Way,
    opened: Mutex<Arc<OnceCell<Opened>>>,
}

/// What was found when it was opened.
enum Opened {
    /// A helper runs there.
    Helper(Helper),
    /// None can, for this reason: only the shell is to be had.
    Shell(String),
}

/// A helper, and those behind it that are other users.
struct Helper {
    session: Session,
    lanes: Mutex<HashMap<Become, Arc<OnceCell<u32>>>>,
}

impl Reached {
    /// A machine that was not used yet.
    pub(super) fn new(settings: ConnectionSettings, way: Way) -> Self {
        Reached {
            settings,
            way,
            opened: Mutex::default(),
        }
    }

    /// The helper or the shell there, logged in when it was not or was lost.
    async fn open(&self) -> Result<Arc<OnceCell<Opened>>, Error> {
        let cell = {
            let mut opened = self.opened.lock();
            if matches!(opened.get(), Some(Opened::Helper(helper)) if helper.session.is_lost()) {
                *opened = Arc::default();
            }
            Arc::clone(&opened)
        };
        cell.get_or_try_init(|| self.log_in()).await?;
        Ok(cell)
    }

    /// Logs in, as often as the settings say.
    async fn log_in(&self) -> Result<Opened, Error> {
        let retries = match &self.way {
            Way::Ssh(ssh) => ssh.retries,
            _ => 0,
        };
        self.way.prepare(&self.settings).await?;
        let mut attempt = 0;
        loop {
            let mut status = None;
            match self.try_log_in(&mut status).await {
                Err(Error::Unreachable(message)) => {
                    let in_vain = matches!(&self.way, Way::Ssh(ssh) if ssh.is_final(status));
                    if attempt >= retries || in_vain {
                        return Err(Error::Unreachable(message));
                    }
                    let pause = 2_u64.pow(attempt.min(5)) - 1;
                    tokio::time::sleep(Duration::from_secs(pause.min(30))).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_log_in(&self, ended: &mut Option<i32>) -> Result<Opened, Error> {
        let helped = |session| {
            Opened::Helper(Helper {
                session,
                lanes: Mutex::default(),
            })
        };
        if let Way::Here = self.way {
            let program = &helper::here().map_err(Error::failed)?.program;
            let mut command = tokio::process::Command::new(&program.path);
            command
                .args(&program.arguments)
                .arg("serve")
                .process_group(0);
            if !self.settings.directory.is_empty() {
                command.current_dir(&self.settings.directory);
            }
            let pipes = Pipes::start(command)
                .map_err(|error| Error::failed(format!("{}: {error}", program.path.display())))?;
            return match Session::begin(pipes).await {
                Ok(session) => Ok(helped(session)),
                Err(refused) => Err(self.no_answer(refused)),
            };
        }
        let mark = format!("CONSORT-{}", uuid::Uuid::new_v4().simple());
        let remote_tmp = self.settings.remote_tmp.clone();
        let line = {
            let mark = mark.clone();
            // what it must read to know the program it reads once a run
            tokio::task::spawn_blocking(move || helper::line(&mark, &remote_tmp))
                .await
                .map_err(|error| Error::failed(error.to_string()))?
                .map_err(Error::failed)?
        };
        let line = format!(
            "/bin/sh -c {}",
            consort_modules::protocol::becoming::quoted(&line)
        );
        let command = self.way.command(&self.settings, &line, false)?;
        let pipes = Pipes::start(command).map_err(|error| self.not_started(&error))?;
        match helper::arrive(pipes, &mark).await {
            Ok(helper::Arrived::Session(session)) => Ok(helped(session)),
            Ok(helper::Arrived::Cannot(why)) => Ok(Opened::Shell(why)),
            Err(NoAnswer::Lost(lost)) => {
                *ended = lost.status;
                match (&self.way, lost.status) {
                    // no shell of the kind that is asked there: each command is left to what there is
                    (Way::Ssh(ssh), Some(status))
                        if (1..=254).contains(&status) && !ssh.ends_by_itself(status) =>
                    {
                        Ok(Opened::Shell(lost.complaints.trim().to_owned()))
                    }
                    _ => Err(self.unreachable(&lost)),
                }
            }
            Err(refused) => Err(self.no_answer(refused)),
        }
    }

    /// The program that leads there cannot be started.
    fn not_started(&self, error: &std::io::Error) -> Error {
        match &self.way {
            Way::Ssh(ssh) => ssh.not_started(error),
            _ => Error::Unreachable(format!("{}: {error}", self.settings.plugin)),
        }
    }

    /// The machine is lost.
    pub(super) fn unreachable(&self, lost: &Lost) -> Error {
        let said = lost.complaints.trim_end();
        Error::Unreachable(match &self.way {
            Way::Ssh(ssh) => return ssh.lost(lost.status, said),
            Way::Here => match lost.status {
                Some(status) if said.is_empty() => {
                    format!("The helper ended with status {status}.")
                }
                _ => format!("The helper ended: {said}"),
            },
            Way::Container(_) => format!(
                "The {} connection to {} was lost: {said}",
                self.settings.plugin, self.settings.address
            ),
        })
    }

    fn no_answer(&self, refused: NoAnswer) -> Error {
        match refused {
            NoAnswer::Lost(lost) => self.unreachable(&lost),
            NoAnswer::TimedOut(limit) => Error::TimedOut(limit),
            NoAnswer::Unreadable(error) => Error::failed(error.to_string()),
            NoAnswer::Wrong(message) => Error::failed(message),
        }
    }

    /// The lane to a helper that is a user.
    async fn lane(&self, helper: &Helper, user: Option<&Become>) -> Result<u32, Error> {
        let Some(user) = user else { return Ok(0) };
        let cell = Arc::clone(helper.lanes.lock().entry(user.clone()).or_default());
        let lane = cell
            .get_or_try_init(|| async {
                let lane = helper.session.number();
                let request = Request::Open {
                    lane,
                    becoming: becoming::becoming(&self.way, &self.settings, user),
                };
                let reply = helper
                    .session
                    .ask(0, &request, Input::None, None, None)
                    .await;
                match reply.map_err(|refused| self.no_answer(refused))?.answer {
                    Answer::Done => Ok(lane),
                    Answer::NotBecome(refused) => {
                        Err(becoming::refused(&self.way, &self.settings, user, &refused))
                    }
                    Answer::Failed(message) => Err(Error::failed(message)),
                    _ => Err(Error::failed("not an answer to who is to be become")),
                }
            })
            .await?;
        Ok(*lane)
    }

    /// Ends the helpers of users that are going to be changed or removed: that is refused for as long as a process is theirs.
    async fn leave(&self, helper: &Helper, names: &[&str]) {
        let idle: Vec<(Become, u32)> = helper
            .lanes
            .lock()
            .iter()
            .filter(|(user, _)| names.contains(&user.user.as_str()))
            .filter_map(|(user, lane)| Some((user.clone(), *lane.get()?)))
            .filter(|(_, lane)| helper.session.is_idle(*lane))
            .collect();
        for (user, lane) in idle {
            helper.lanes.lock().remove(&user);
            let request = Request::Close { lane };
            // whoever does not end is told of by what is done to its user
            let _ = helper
                .session
                .ask(0, &request, Input::None, None, None)
                .await;
        }
    }

    /// Asks a helper for something as a user.
    async fn ask(
        &self,
        helper: &Helper,
        user: Option<&Become>,
        request: &Request,
        input: Input<'_>,
        data: Option<mpsc::Sender<Vec<u8>>>,
        timeout: Option<Duration>,
    ) -> Result<Reply, Error> {
        let lane = self.lane(helper, user).await?;
        let reply = helper
            .session
            .ask(lane, request, input, data, timeout)
            .await;
        if let Err(NoAnswer::Lost(_)) = &reply
            && let Some(user) = user
            && !helper.session.is_lost()
        {
            // only the other user's helper has ended; the next task becomes that user anew
            helper.lanes.lock().remove(user);
            return Err(Error::failed(format!(
                "The helper of the user {} ended.",
                user.user
            )));
        }
        reply.map_err(|refused| self.no_answer(refused))
    }
}

/// Why there is no helper.
fn reason(opened: Option<&Opened>) -> &str {
    match opened {
        Some(Opened::Shell(why)) => why,
        _ => "it was lost",
    }
}

/// An answer that is not one to what was asked.
fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Failed(message) => Error::failed(message),
        Answer::Cancelled => Error::failed("It was ended."),
        _ => Error::failed("The helper answered something else."),
    }
}

impl Connection for Reached {
    fn runs_native<'a>(&'a self, _user: Option<&'a Become>) -> Call<'a, Result<bool, Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            Ok(matches!(opened.get(), Some(Opened::Helper(_))))
        })
    }

    fn module<'a>(
        &'a self,
        invocation: Invocation,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Report, Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let helper = match opened.get() {
                Some(Opened::Helper(helper)) => helper,
                other => {
                    return Err(Error::failed(format!(
                        "The native module {} cannot run on {}, because no helper can: {}",
                        invocation.module,
                        self.settings.host,
                        reason(other)
                    )));
                }
            };
            self.leave(helper, &about::users(&invocation)).await;
            let request = Request::Module {
                invocation,
                apart: timeout.is_some(),
            };
            let reply = self
                .ask(helper, user, &request, Input::None, None, timeout)
                .await?;
            match reply.answer {
                Answer::Report(report) => Ok(report),
                other => Err(unexpected(other)),
            }
        })
    }

    fn packed<'a>(
        &'a self,
        module: &'a Packed,
        invocation: Invocation,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Report, Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let asked = call::call(module, &invocation, &self.settings);
            let Some(Opened::Helper(helper)) = opened.get() else {
                let output =
                    shell::packed(&self.way, &self.settings, module, &asked, user, timeout).await?;
                return result::result(&asked, output.status, &output.stdout, &output.stderr);
            };
            self.leave(helper, &about::users(&invocation)).await;
            let request = Request::Packed(asked.clone());
            loop {
                let reply = self
                    .ask(helper, user, &request, Input::None, None, timeout)
                    .await?;
                match reply.answer {
                    Answer::Ended { status } => {
                        return result::result(&asked, status, &reply.stdout, &reply.stderr);
                    }
                    Answer::Missing => self.keep(helper, module, user).await?,
                    other => return Err(unexpected(other)),
                }
            }
        })
    }

    fn start<'a>(
        &'a self,
        work: Work<'a>,
        job: Job,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<Report, Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let helper = match opened.get() {
                Some(Opened::Helper(helper)) => helper,
                other => {
                    return Err(Error::failed(format!(
                        "Nothing can be run in the background on {}, because no helper can run there: {}",
                        self.settings.host,
                        reason(other)
                    )));
                }
            };
            let work = match work {
                Work::Native(invocation) => {
                    consort_modules::protocol::message::Work::Module(invocation)
                }
                Work::Packed(module, invocation) => {
                    let asked = call::call(module, &invocation, &self.settings);
                    self.keep(helper, module, user).await?;
                    consort_modules::protocol::message::Work::Packed(asked)
                }
            };
            let request = Request::Start { job, work };
            let reply = self
                .ask(helper, user, &request, Input::None, None, None)
                .await?;
            match reply.answer {
                Answer::Report(report) => Ok(report),
                other => Err(unexpected(other)),
            }
        })
    }

    fn command<'a>(
        &'a self,
        command: Command,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Output, Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let Some(Opened::Helper(helper)) = opened.get() else {
                return shell::command(&self.way, &self.settings, &command, user, timeout).await;
            };
            // nobody logs in to a container, and who is become is given the shell of the settings
            let logs_in = command.login_shell && user.is_none() && matches!(self.way, Way::Ssh(_));
            let own = &helper.session.hello.shell;
            let shell = if logs_in && !own.is_empty() {
                own.clone()
            } else {
                self.settings.shell.clone()
            };
            self.leave(helper, &about::users_of_line(&command.line))
                .await;
            let terminal = command.terminal && command.input.is_empty() && self.way.has_terminal();
            let request = Request::Command {
                arguments: vec![shell, "-c".to_owned(), command.line],
                environment: command.environment,
                directory: command.directory,
                terminal,
            };
            let input = Input::Bytes(&command.input);
            let reply = self
                .ask(helper, user, &request, input, None, timeout)
                .await?;
            match reply.answer {
                Answer::Ended { status } => Ok(Output {
                    status,
                    stdout: reply.stdout,
                    stderr: if terminal {
                        self.way.closed().into_bytes()
                    } else {
                        reply.stderr
                    },
                }),
                other => Err(unexpected(other)),
            }
        })
    }

    fn put<'a>(
        &'a self,
        content: Content<'a>,
        path: &'a str,
        mode: u32,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let Some(Opened::Helper(helper)) = opened.get() else {
                return shell::put(&self.way, &self.settings, content, path, mode, user).await;
            };
            let request = Request::Put {
                path: path.to_owned(),
                mode,
            };
            let input = match content {
                Content::Bytes(bytes) => Input::Bytes(bytes),
                Content::File(from) => {
                    Input::File(tokio::fs::File::open(from).await.map_err(|error| {
                        Error::failed(format!("cannot read {}: {error}", from.display()))
                    })?)
                }
            };
            let reply = self.ask(helper, user, &request, input, None, None).await?;
            match reply.answer {
                Answer::Done => Ok(()),
                Answer::Failed(message) => Err(Error::failed(format!(
                    "Failed to transfer file to {path}: {message}"
                ))),
                other => Err(unexpected(other)),
            }
        })
    }

    fn fetch<'a>(
        &'a self,
        path: &'a str,
        to: &'a Path,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let Some(Opened::Helper(helper)) = opened.get() else {
                return shell::fetch(&self.way, &self.settings, path, to, user).await;
            };
            let request = Request::Fetch {
                path: path.to_owned(),
            };
            let (pieces, mut from) = mpsc::channel::<Vec<u8>>(8);
            let target = to.to_owned();
            let writer = tokio::task::spawn_blocking(move || {
                use std::io::Write;
                let mut beside = Beside::begin(&target)?;
                while let Some(piece) = from.blocking_recv() {
                    beside.write_all(&piece)?;
                }
                Ok::<_, std::io::Error>(beside)
            });
            let reply = self
                .ask(helper, user, &request, Input::None, Some(pieces), None)
                .await;
            let written = writer
                .await
                .map_err(|error| Error::failed(error.to_string()))?;
            match reply?.answer {
                Answer::Done => {
                    let keep = written.and_then(|beside| beside.keep(super::process::usual_mode()));
                    keep.map_err(|error| Error::not_transferred(to, &error))
                }
                Answer::Failed(message) => Err(Error::failed(format!(
                    "Failed to transfer file from {path}: {message}"
                ))),
                other => Err(unexpected(other)),
            }
        })
    }

    fn temporary<'a>(&'a self, user: Option<&'a Become>) -> Call<'a, Result<String, Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let Some(Opened::Helper(helper)) = opened.get() else {
                return shell::temporary(&self.way, &self.settings, user).await;
            };
            let base = self.settings.remote_tmp.clone();
            let request = Request::Temporary { base: base.clone() };
            match self
                .ask(helper, user, &request, Input::None, None, None)
                .await?
                .answer
            {
                Answer::Path(path) => Ok(path),
                Answer::Failed(message) => Err(Error::no_temporary(&base, &message)),
                other => Err(unexpected(other)),
            }
        })
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>> {
        Box::pin(async move {
            let opened = self.open().await?;
            let Some(Opened::Helper(helper)) = opened.get() else {
                return shell::remove(&self.way, &self.settings, path, user).await;
            };
            let request = Request::Remove {
                path: path.to_owned(),
            };
            match self
                .ask(helper, user, &request, Input::None, None, None)
                .await?
                .answer
            {
                Answer::Done => Ok(()),
                other => Err(unexpected(other)),
            }
        })
    }

    fn close(&self) -> Call<'_, ()> {
        Box::pin(async move {
            let opened = std::mem::take(&mut *self.opened.lock());
            if let Some(Opened::Helper(helper)) = opened.get() {
                helper.session.close().await;
            }
        })
    }

    fn reset(&self) -> Call<'_, ()> {
        Box::pin(async move {
            self.close().await;
            if let Way::Ssh(ssh) = &self.way {
                ssh.stop().await;
            }
        })
    }
}

impl Reached {
    /// Sends a package, if it is not kept there.
    async fn keep(
        &self,
        helper: &Helper,
        module: &Packed,
        user: Option<&Become>,
    ) -> Result<(), Error> {
        let digest = module.digest.clone();
        let remote_tmp = self.settings.remote_tmp.clone();
        let asked = Request::Keeps {
            digest: digest.clone(),
            remote_tmp: remote_tmp.clone(),
        };
        if let Answer::Path(_) = self
            .ask(helper, user, &asked, Input::None, None, None)
            .await?
            .answer
        {
            return Ok(());
        }
        let request = Request::Keep {
            digest,
            remote_tmp,
            program: call::is_program(module),
        };
        let input = Input::Bytes(&module.content);
        match self
            .ask(helper, user, &request, input, None, None)
            .await?
            .answer
        {
            Answer::Path(_) => Ok(()),
            Answer::Failed(message) => Err(Error::failed(format!(
                "Failed to transfer the module {}: {message}",
                module.name
            ))),
            other => Err(unexpected(other)),
        }
    }
}
