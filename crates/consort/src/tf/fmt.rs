//! `fmt`.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::format::format_source;
use similar::TextDiff;

use super::flags::{Flags, on, switch};
use super::place::error;
use super::terminal::Terminal;
use super::{Command, NO_COLOUR};

pub(super) const COMMAND: Command = Command {
    name: "fmt",
    usage: "[options] [target...]",
    short: "Rewrite files in the canonical style",
    about: "Rewrites configuration (.tf), variable (.tfvars) and test (.tftest.hcl, .tfmock.hcl) files in \
            the canonical style. Targets are directories or files, by default the current directory; - \
            reads standard input and writes to standard output. Files in JSON are left alone.\n\n\
            Exit codes: 0, 2 for a file that cannot be read, 3 with -check if something would change.",
    flags: &[
        &[
            on("list", "Do not list the files that differ."),
            on("write", "Do not write the files."),
            switch("diff", "Show what changes."),
            switch(
                "check",
                "Only tell by the exit code whether everything is in style.",
            ),
            switch("recursive", "Also look into directories below."),
        ],
        NO_COLOUR,
    ],
    run,
};

/// What was found so far.
struct Work<'f> {
    flags: &'f Flags,
    sources: Sources,
    diagnostics: Diagnostics,
    write: bool,
    list: bool,
    changed: bool,
    out: String,
}

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color"), false);
    let stdin = flags.rest.iter().any(|target| target == "-");
    let check = flags.is("check");
    let mut work = Work {
        flags,
        sources: Sources::new(),
        diagnostics: Diagnostics::new(),
        write: flags.stays("write") && !check && !stdin,
        list: flags.stays("list") && !stdin,
        changed: false,
        out: String::new(),
    };
    if stdin {
        if flags.rest.len() > 1 {
            terminal.error("Option \"-\" cannot be used with other targets", "");
            return ExitCode::FAILURE;
        }
        let mut bytes = Vec::new();
        if let Err(failed) = std::io::stdin().lock().read_to_end(&mut bytes) {
            terminal.error("Failed to read standard input", &failed.to_string());
            return ExitCode::from(2);
        }
        work.text("<stdin>", &bytes, None);
    } else {
        let targets: Vec<PathBuf> = if flags.rest.is_empty() {
            vec![PathBuf::from(".")]
        } else {
            flags.rest.iter().map(PathBuf::from).collect()
        };
        for target in targets {
            work.target(&target);
        }
    }
    let out = std::mem::take(&mut work.out);
    crate::output::print(&out);
    if terminal.diagnose(&work.diagnostics, &work.sources) {
        return ExitCode::from(2);
    }
    if check && work.changed {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn is_formatted(name: &str) -> bool {
    [".tf", ".tfvars", ".tftest.hcl", ".tfmock.hcl"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || name.starts_with('#') && name.ends_with('#')
}

impl Work<'_> {
    fn fail(&mut self, summary: &str, detail: String) {
        self.diagnostics.append(error(summary, detail));
    }

    fn target(&mut self, target: &Path) {
        let Ok(found) = std::fs::metadata(target) else {
            let summary = format!("No file or directory at {}", target.display());
            return self.fail(&summary, String::new());
        };
        if found.is_dir() {
            return self.directory(target);
        }
        let name = target.to_string_lossy().into_owned();
        if is_formatted(&name) {
            self.file(target);
        } else {
            self.fail(
                "Only .tf, .tfvars, and .tftest.hcl files can be processed with terraform fmt",
                format!("{name} is none of them."),
            );
        }
    }

    fn directory(&mut self, directory: &Path) {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(failed) => {
                return self.fail(
                    "Failed to list a directory",
                    format!("{}: {failed}", directory.display()),
                );
            }
        };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            let text = name.to_string_lossy().into_owned();
            if is_ignored(&text) {
                continue;
            }
            let path = if directory == Path::new(".") {
                PathBuf::from(&name)
            } else {
                directory.join(&name)
            };
            if path.is_dir() {
                if self.flags.is("recursive") {
                    self.directory(&path);
                }
            } else if is_formatted(&text) {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        match std::fs::read(path) {
            Ok(bytes) => self.text(&path.to_string_lossy(), &bytes, Some(path)),
            Err(failed) => self.fail(
                "Failed to read a file",
                format!("{}: {failed}", path.display()),
            ),
        }
    }

    fn text(&mut self, name: &str, bytes: &[u8], path: Option<&Path>) {
        let source = self.sources.add(name, bytes);
        let (formatted, diagnostics) = format_source(&source);
        if diagnostics.has_errors() {
            self.diagnostics.append(diagnostics);
            return;
        }
        let differs = formatted.as_bytes() != bytes;
        if differs {
            self.changed = true;
            if self.list && path.is_some() {
                self.out.push_str(name);
                self.out.push('\n');
            }
            if self.flags.is("diff") {
                let difference = TextDiff::from_lines(source.text(), &formatted);
                let (old, new) = (format!("old/{name}"), format!("new/{name}"));
                let text = difference.unified_diff().header(&old, &new).to_string();
                self.out.push_str(&text);
            }
            if let (true, Some(path)) = (self.write, path)
                && let Err(failed) = replace(path, formatted.as_bytes())
            {
                self.fail(
                    "Failed to write a file",
                    format!("{}: {failed}", path.display()),
                );
            }
        }
        if path.is_none() && !self.flags.is("check") && !self.flags.is("diff") {
            self.out.push_str(&formatted);
        }
    }
}

/// Writes in place, so that links, owner and mode stay.
fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)?;
    file.write_all(text)
}
