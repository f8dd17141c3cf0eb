//! How git reaches repositories over ssh.

use std::os::unix::fs::OpenOptionsExt as _;

use super::Work;
use crate::arguments::Arguments;
use crate::invocation::Failure;
use crate::process::{self, Command};
use crate::python;

const KNOWN: [&str; 2] = [
    "-o StrictHostKeyChecking=no",
    "-o StrictHostKeyChecking=accept-new",
];

impl Work<'_, '_> {
    pub(super) fn set_ssh(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        let mut given = arguments.text("ssh_opts").map(str::to_owned);
        if arguments.flag("accept_hostkey") {
            trust(&mut given, KNOWN[0]);
        }
        if arguments.flag("accept_newhostkey") {
            if self.knows_accept_new()? {
                trust(&mut given, KNOWN[1]);
            } else {
                self.context.warn("Your ssh client does not support accept_newhostkey option, therefore it cannot be used.");
            }
        }
        let mut options = self.context.variable("GIT_SSH_OPTS").unwrap_or_default();
        if let Some(given) = given {
            options.push(' ');
            options.push_str(&given);
        }
        let add = |options: &mut String, what: &str, written: &str| {
            if !options.contains(what) {
                options.push_str(written);
            }
        };
        if arguments.flag("accept_hostkey") {
            add(
                &mut options,
                "StrictHostKeyChecking=no",
                " -o StrictHostKeyChecking=no",
            );
        }
        add(&mut options, "BatchMode=yes", " -o BatchMode=yes");
        if let Some(key) = arguments.filled("key_file") {
            let option = format!("-i {key}");
            add(&mut options, &option, &format!("  {option}"));
            add(&mut options, "IdentitiesOnly=yes", " -o IdentitiesOnly=yes");
        }
        let program = self
            .context
            .variable("GIT_SSH")
            .or_else(|| self.context.variable("GIT_SSH_COMMAND"))
            .unwrap_or_else(|| "ssh".to_owned());
        if self.is_older_than(&[2, 3, 0]) {
            // Old versions take no options: a script adds them.
            let script = self.wrapper(&program)?;
            self.environment.push(("GIT_SSH_OPTS".to_owned(), options));
            self.environment.push(("GIT_SSH".to_owned(), script));
        } else {
            self.environment
                .push(("GIT_SSH_COMMAND".to_owned(), format!("{program} {options}")));
        }
        Ok(())
    }

    fn wrapper(&mut self, program: &str) -> Result<String, Failure> {
        use std::io::Write as _;
        let path = self.context.temporary_directory()?.join("git-ssh");
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o700)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(format!("#!/bin/sh\n{program} $GIT_SSH_OPTS \"$@\"\n").as_bytes())
            })
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn knows_accept_new(&self) -> Result<bool, Failure> {
        let ssh = process::required(self.context, "ssh", &[]).map_err(|failure| {
            Failure::new(
                "Remote host is missing ssh command, so you cannot use acceptnewhostkey option.",
            )
            .with("details", failure.message)
        })?;
        let done = Command::new([ssh.as_str(), "-o", "StrictHostKeyChecking=accept-new", "-V"])
            .run(self.context)?;
        Ok(done.success())
    }
}

/// Adds an option that says which keys of hosts are taken, unless one says it already.
fn trust(given: &mut Option<String>, option: &str) {
    match given {
        None => *given = Some(option.to_owned()),
        Some(options) => {
            if !KNOWN.iter().any(|known| options.contains(known)) {
                options.push(' ');
                options.push_str(option);
            }
        }
    }
}
