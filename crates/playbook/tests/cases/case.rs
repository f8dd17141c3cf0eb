//! A case: what is run, and what was recorded of it.

use std::error::Error;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fancy_regex::Regex;
use serde_json::Value;

use crate::tree::tree;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A playbook and what was recorded of it.
pub(crate) struct Case {
    /// Of its directory.
    pub(crate) name: String,
    directory: PathBuf,
    about: Value,
    unstable: Vec<(Regex, String)>,
}

/// What was printed, and what lay on the disk afterwards.
struct Round {
    told: String,
    files: String,
}

/// All cases whose outcome is recorded.
pub(crate) fn recorded(all: &Path) -> Vec<Case> {
    let unstable =
        std::fs::read_to_string(all.join("unstable.json")).expect("the patterns are there");
    let unstable: Vec<(String, String)> =
        serde_json::from_str(&unstable).expect("the patterns are pairs");
    let mut directories: Vec<PathBuf> = std::fs::read_dir(all.join("cases"))
        .expect("the cases are there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("recorded").is_dir())
        .collect();
    directories.sort();
    assert!(!directories.is_empty(), "nothing is recorded");
    directories
        .into_iter()
        .map(|directory| Case {
            name: directory
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            about: std::fs::read(directory.join("case.json"))
                .ok()
                .map_or(Value::Null, |text| {
                    serde_json::from_slice(&text).expect("case.json is JSON")
                }),
            unstable: pairs(&unstable),
            directory,
        })
        .collect()
}

fn pairs(written: &[(String, String)]) -> Vec<(Regex, String)> {
    written
        .iter()
        .map(|(pattern, instead)| {
            let pattern = Regex::new(&format!("(?m){pattern}")).expect("the pattern is one");
            (pattern, instead.clone())
        })
        .collect()
}

impl Case {
    /// What differs of two runs from what was recorded; nothing if all is equal.
    pub(crate) fn differences(&self) -> Outcome<String> {
        let machine = tempfile::tempdir()?;
        self.prepare(machine.path())?;
        let apart: Vec<(String, String)> = self.about.get("apart").map_or_else(
            || Ok(Vec::new()),
            |apart| serde_json::from_value(apart.clone()),
        )?;
        let apart: Vec<(Regex, String)> = pairs(&apart)
            .into_iter()
            .map(|(pattern, _)| (pattern, String::new()))
            .collect();
        let mut found = String::new();
        for which in ["first", "second"] {
            let round = self.run(machine.path(), which == "first")?;
            let read = |part: &str| {
                std::fs::read_to_string(self.directory.join(format!("recorded/{which}.{part}")))
            };
            let parts = [
                (
                    "told",
                    replaced(&apart, read("told")?),
                    replaced(&apart, round.told),
                ),
                ("files", read("files")?, round.files),
            ];
            for (part, want, have) in parts {
                if want != have {
                    let difference = similar::TextDiff::from_lines(&want, &have);
                    let text = difference
                        .unified_diff()
                        .context_radius(2)
                        .header("recorded", &format!("{which} run, {part}"))
                        .to_string();
                    found.push_str(&text);
                }
            }
        }
        Ok(found)
    }

    /// The case as a user would have it, in the directory that becomes `/srv`.
    fn prepare(&self, srv: &Path) -> Outcome<()> {
        std::fs::set_permissions(srv, PermissionsExt::from_mode(0o755))?;
        for name in ["home", "bin"] {
            std::fs::create_dir(srv.join(name))?;
        }
        for name in [
            "ansible-playbook",
            "ansible",
            "ansible-inventory",
            "ansible-vault",
        ] {
            symlink(std::env::current_exe()?, srv.join("bin").join(name))?;
        }
        copied(&self.directory, &srv.join("case"))?;
        for made in ["recorded", "case.json"] {
            let path = srv.join("case").join(made);
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn commands(&self, name: &str) -> Vec<String> {
        let given = self.about.get(name).and_then(Value::as_array);
        match (name, given) {
            (_, Some(given)) => given
                .iter()
                .filter_map(|command| command.as_str().map(str::to_owned))
                .collect(),
            ("commands", None) => vec!["ansible-playbook -i inventory site.yml".to_owned()],
            _ => Vec::new(),
        }
    }

    fn run(&self, srv: &Path, first: bool) -> Outcome<Round> {
        let mut told = Vec::new();
        let mut commands = if first {
            self.commands("first")
        } else {
            Vec::new()
        };
        commands.extend(self.commands("commands"));
        for command in commands {
            let done = Command::new("unshare")
                .args(["--mount", "--propagation", "private", "--uts", "sh", "-c"])
                .arg("umask 022; mount --bind \"$0\" /srv && hostname controller && cd /srv/case && exec bash -c \"$1\"")
                .arg(srv)
                .arg(&command)
                .env_clear()
                .env("PATH", "/srv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/srv/home")
                .env("LC_ALL", "C.UTF-8")
                .env("ANSIBLE_FORKS", "1")
                .env("ANSIBLE_PYTHON_INTERPRETER", "auto_silent")
                .env("ANSIBLE_NOCOLOR", "1")
                .envs(self.environment())
                .stdin(Stdio::null())
                .output()?;
            let text = |bytes: &[u8]| {
                self.settled(&String::from_utf8_lossy(bytes))
                    .trim_end_matches('\n')
                    .to_owned()
            };
            told.extend([format!("$ {command}"), text(&done.stdout)]);
            let complaints = text(&done.stderr);
            if !complaints.is_empty() {
                told.extend([String::new(), "standard error:".to_owned(), complaints]);
            }
            let status = done.status.code().unwrap_or(-1);
            told.extend([format!("status {status}"), String::new()]);
        }
        let mut lines: Vec<String> = tree(&srv.join("case"))?
            .iter()
            .map(|line| self.settled(line))
            .collect();
        lines.sort();
        Ok(Round {
            told: told.join("\n"),
            files: lines.join("\n") + "\n",
        })
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.about
            .get("environment")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    /// Without what no two runs have in common.
    fn settled(&self, text: &str) -> String {
        let text = replaced(&self.unstable, text.to_owned());
        // The hosts that are listed come in any order.
        let mut lines: Vec<&str> = text.split('\n').collect();
        let is_host = |line: &&str| {
            line.strip_prefix("      ")
                .is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace))
        };
        let mut at = 0;
        while at < lines.len() {
            if at > 0 && lines[at - 1].ends_with(':') {
                let end = lines[at..]
                    .iter()
                    .position(|line| !is_host(line))
                    .map_or(lines.len(), |count| at + count);
                lines[at..end].sort_unstable();
            }
            at += 1;
        }
        lines.join("\n")
    }
}

fn replaced(patterns: &[(Regex, String)], text: String) -> String {
    patterns.iter().fold(text, |text, (pattern, instead)| {
        pattern.replace_all(&text, instead.as_str()).into_owned()
    })
}

/// A copy whose files have the modes they have in a fresh clone.
fn copied(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, PermissionsExt::from_mode(0o755))?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let there = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copied(&path, &there)?;
            continue;
        }
        std::fs::copy(&path, &there)?;
        let runs = std::fs::metadata(&path)?.permissions().mode() & 0o111 != 0;
        let mode = if runs { 0o755 } else { 0o644 };
        std::fs::set_permissions(&there, PermissionsExt::from_mode(mode))?;
    }
    Ok(())
}
