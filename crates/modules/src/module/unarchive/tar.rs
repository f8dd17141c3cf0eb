//! Archives that `tar` reads.

use serde_json::Value;

use super::{Archive, Comparison, Handler, Means};
use crate::context::Context;
use crate::glob;
use crate::invocation::Failure;
use crate::process::{self, Command, Finished};
use crate::python;

impl Archive<'_> {
    /// Runs tar with messages that can be read.
    pub(super) fn tar(
        &self,
        context: &Context<'_>,
        command: &[String],
    ) -> Result<Finished, Failure> {
        let mut command = Command::new(command.to_vec()).directory(self.dest);
        for name in ["LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"] {
            command = command.variable(name, "C.UTF-8");
        }
        command.run(context)
    }

    pub(super) fn try_tar(
        &self,
        context: &Context<'_>,
        name: &'static str,
        flag: &'static str,
    ) -> Result<Result<Handler, String>, Failure> {
        let Some(program) =
            process::find(context, "gtar", &[]).or_else(|| process::find(context, "tar", &[]))
        else {
            return Ok(Err(
                "Unable to find required 'gtar' or 'tar' binary in the path".to_owned(),
            ));
        };
        let told = Command::new([program.as_str(), "--version"])
            .run(context)?
            .out();
        let kind = if told.starts_with("bsdtar") {
            "bsd"
        } else if told.starts_with("tar") && told.contains("GNU") {
            "gnu"
        } else {
            "None"
        };
        if kind != "gnu" {
            return Ok(Err(format!(
                "Command \"{program}\" detected as tar type {kind}. GNU tar required."
            )));
        }
        let done = self.tar(context, &self.tar_list_command(&program, flag))?;
        if !done.success() {
            return Ok(Err(format!(
                "Command \"{program}\" could not handle archive: Unable to list files in the archive: {}",
                done.err()
            )));
        }
        let excludes = self.tar_excludes();
        let names = python::split_lines(&done.out())
            .into_iter()
            .map(|line| {
                let bytes = python::unescape(line.trim_end_matches('\n').as_bytes())?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect::<Result<Vec<String>, String>>()
            .map_err(Failure::unhandled)?;
        let files: Vec<String> = names
            .into_iter()
            .map(|name| name.strip_prefix('/').map_or(name.clone(), str::to_owned))
            .filter(|name| !excludes.iter().any(|exclude| glob::fits(name, exclude)))
            .collect();
        if files.is_empty() {
            return Ok(Err(format!(
                "Command \"{program}\" found no files in archive. Empty archive files are not supported."
            )));
        }
        Ok(Ok(Handler {
            name,
            kind: Means::Tar { program, flag },
            files,
        }))
    }

    fn tar_excludes(&self) -> Vec<String> {
        self.arguments
            .texts("exclude")
            .iter()
            .map(|exclude| exclude.trim_end_matches('/').to_owned())
            .collect()
    }

    fn tar_start(&self, program: &str, flag: &str, action: &str) -> Vec<String> {
        let mut command = vec![
            program.to_owned(),
            action.to_owned(),
            "-C".to_owned(),
            self.dest.to_owned(),
        ];
        if !flag.is_empty() {
            command.push(flag.to_owned());
        }
        let options = self.arguments.texts("extra_opts");
        if !options.is_empty() {
            command.push("--show-transformed-names".to_owned());
            command.extend(options);
        }
        command
    }

    fn tar_end(&self, command: &mut Vec<String>) {
        command.extend(
            self.tar_excludes()
                .iter()
                .map(|exclude| format!("--exclude={exclude}")),
        );
        command.extend(["-f".to_owned(), self.src.to_owned()]);
        command.extend(self.arguments.texts("include"));
    }

    fn tar_list_command(&self, program: &str, flag: &str) -> Vec<String> {
        let mut command = self.tar_start(program, flag, "--list");
        self.tar_end(&mut command);
        command
    }

    pub(super) fn tar_command(&self, program: &str, flag: &str, action: &str) -> Vec<String> {
        let mut command = self.tar_start(program, flag, action);
        for (option, value) in [
            ("--owner=", &self.wanted.owner),
            ("--group=", &self.wanted.group),
        ] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                command.push(format!("{option}{}", python::shell_quote(value)));
            }
        }
        if self.arguments.flag("keep_newer") {
            command.push("--keep-newer-files".to_owned());
        }
        self.tar_end(&mut command);
        command
    }

    /// Whether all of a tar archive is there already: what tar tells of differences, without those that are set anyway.
    pub(super) fn compare_tar(
        &self,
        context: &Context<'_>,
        program: &str,
        flag: &str,
    ) -> Result<Comparison, Failure> {
        let done = self.tar(context, &self.tar_command(program, flag, "--diff"))?;
        let is_root = nix::unistd::getuid().is_root();
        let given = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
        let mode_given = match &self.wanted.mode {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        let told = format!("{}\n{}", done.out(), done.err());
        let unarchived = !told.lines().any(|line| {
            if line.ends_with(": : Warning: Cannot stat: No such file or directory") {
                return false;
            }
            (is_root && !given(&self.wanted.owner) && line.ends_with(": Uid differs"))
                || (is_root && !given(&self.wanted.group) && line.ends_with(": Gid differs"))
                || (!mode_given && line.ends_with(": Mode differs"))
                || [
                    ": Mod time differs",
                    ": Warning: Cannot stat: No such file or directory",
                    ": Symlink differs",
                    ": Contents differ",
                    ": Size differs",
                ]
                .iter()
                .any(|end| line.ends_with(end))
                || line.contains(": Invalid owner")
                || line.contains(": Invalid group")
        });
        Ok(Comparison {
            unarchived,
            ..Comparison::default()
        })
    }
}
