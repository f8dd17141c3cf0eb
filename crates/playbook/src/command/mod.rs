//! The commands: `ansible-playbook`, `ansible`, `ansible-inventory` and `ansible-vault`, with all their options.
//!
//! A command is known by its own name (`play`) or by the name the program was called by (`ansible-playbook`).

mod ad_hoc;
mod callbacks;
mod extra_variables;
mod list;
mod options;
mod outline;
mod passwords;
mod play;
mod plugins;
pub(crate) mod running;
mod session;
mod terminal;
mod toml;
mod vault;
mod version;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use consort_modules::protocol::{self, Program};

pub use passwords::Passwords;
pub use terminal::Terminal;
pub use version::ANSIBLE_VERSION;

use crate::source::Located;
use session::Session;

/// What a process does that was started to work for another one of these: to answer a question of `ssh`, to run modules
/// as another user, or to run a playbook for a node. None if it was not. To be asked before anything else.
pub fn called_to_help() -> Option<ExitCode> {
    if let Some(code) = crate::pull::called() {
        return Some(code);
    }
    if let Some(told) = protocol::asked() {
        return Some(told);
    }
    let arguments = protocol::called(std::env::args_os())?;
    Some(match Program::this(true) {
        Ok(program) => protocol::main(&arguments, &program),
        Err(error) => {
            eprintln!("which program is it? {error}");
            ExitCode::FAILURE
        }
    })
}

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// `ansible-playbook`
    Play,
    /// `ansible`
    AdHoc,
    /// `ansible-inventory`
    Inventory,
    /// `ansible-vault`
    Vault,
}

impl Command {
    /// The command of a word: `play`, `ad-hoc`, `inventory`, `vault`.
    pub fn of_word(word: &str) -> Option<Command> {
        Some(match word {
            "play" => Command::Play,
            "ad-hoc" => Command::AdHoc,
            "inventory" => Command::Inventory,
            "vault" => Command::Vault,
            _ => return None,
        })
    }

    /// The command a program of this name is: that of a link to `consort` which is called as Ansible's programs are.
    pub fn of_program(name: &str) -> Option<Command> {
        let name = Path::new(name).file_name()?.to_str()?;
        Some(match name {
            "ansible-playbook" => Command::Play,
            "ansible" => Command::AdHoc,
            "ansible-inventory" => Command::Inventory,
            "ansible-vault" => Command::Vault,
            _ => return None,
        })
    }

    /// The name Ansible gives it.
    pub fn name(self) -> &'static str {
        match self {
            Command::Play => "ansible-playbook",
            Command::AdHoc => "ansible",
            Command::Inventory => "ansible-inventory",
            Command::Vault => "ansible-vault",
        }
    }

    /// The command that a process is called as, by the name of its program or its first argument, with the arguments of the
    /// command; none if it is called as something else.
    pub fn called(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Option<(Command, Vec<OsString>)> {
        let mut arguments = arguments.into_iter();
        let program = arguments.next()?;
        if let Some(command) = Command::of_program(program.to_str()?) {
            return Some((command, arguments.collect()));
        }
        let command = Command::of_word(arguments.next()?.to_str()?)?;
        Some((command, arguments.collect()))
    }

    /// Carries it out with its arguments; gives the exit status of the process.
    pub fn main(self, arguments: &[OsString]) -> ExitCode {
        ExitCode::from(u8::try_from(self.run(arguments)).unwrap_or(250))
    }

    /// Carries it out with its arguments; gives the exit status.
    ///
    /// Runs programs, asks the user and prints: it is the whole of a process.
    pub fn run(self, arguments: &[OsString]) -> i32 {
        match self.carry_out(arguments) {
            Ok(status) => status,
            Err(Failed::Usage(error)) => {
                let _ = error.print();
                if error.use_stderr() { 2 } else { 0 }
            }
            Err(Failed::Error(session, error)) => {
                match session {
                    Some(session) => session.terminal.error(&error),
                    None => eprintln!("[ERROR]: {error}"),
                }
                error.exit()
            }
        }
    }

    fn carry_out(self, arguments: &[OsString]) -> Result<i32, Failed> {
        let words = std::iter::once(OsString::from(self.name())).chain(arguments.iter().cloned());
        if arguments.iter().any(|argument| argument == "--version") {
            let session = Session::new(0).map_err(|error| Failed::Error(None, error))?;
            session.terminal.line(&version::text(self.name(), &session));
            return Ok(0);
        }
        match self {
            Command::Inventory => {
                let arguments = list::ListArguments::try_parse_from(words)?;
                begun(arguments.verbosity(), |session| {
                    list::run(&arguments, session)
                })
            }
            Command::Vault => {
                let arguments = vault::VaultArguments::try_parse_from(words)?;
                begun(arguments.verbosity(), |session| {
                    vault::run(&arguments, session)
                })
            }
            Command::Play => {
                let arguments = play::PlayArguments::try_parse_from(words)?;
                begun(arguments.verbosity(), |session| {
                    play::run(&arguments, session)
                })
            }
            Command::AdHoc => {
                let arguments = ad_hoc::AdHocArguments::try_parse_from(words)?;
                begun(arguments.verbosity(), |session| {
                    ad_hoc::run(&arguments, session)
                })
            }
        }
    }
}

/// Why a command did not come to its end.
enum Failed {
    /// Its arguments are wrong, or help was asked for.
    Usage(clap::Error),
    /// It failed.
    Error(Option<Box<Session>>, Located),
}

impl From<clap::Error> for Failed {
    fn from(error: clap::Error) -> Self {
        Failed::Usage(error)
    }
}

fn begun(verbose: u8, run: impl FnOnce(&Session) -> Result<i32, Located>) -> Result<i32, Failed> {
    let session = Session::new(verbose).map_err(|error| Failed::Error(None, error))?;
    match run(&session) {
        Ok(status) => Ok(status),
        Err(error) => Err(Failed::Error(Some(Box::new(session)), error)),
    }
}
