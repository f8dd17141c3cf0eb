//! `copy`: files of the controller, or a text, to the machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use consort_jinja::json::{self, Style};
use consort_jinja::{Dict, Value, repr};

use super::given::{Given, copied, dict, says, set, take, update, without};
use super::machine::{Source, Temporary, blocking, difference, expand_user, stat};
use super::walk::{Tree, tree};
use super::{Action, Failed, Failure, Outcome};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::paths;
use crate::source::{Located, splits_extension};

/// `copy`.
pub(super) struct Copy;

impl Action for Copy {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(copy(attempt, arguments, None))
    }
}

/// The arguments the module `file` shares with this one.
const OF_FILE: &[&str] = &[
    "mode",
    "owner",
    "group",
    "seuser",
    "serole",
    "selevel",
    "setype",
    "attributes",
    "unsafe_writes",
    "state",
    "path",
    "_original_basename",
    "recurse",
    "force",
    "_diff_peek",
    "src",
];

/// Copies what the arguments say; or `rendered`, in the place of the file they name.
pub(super) async fn copy(
    attempt: &Attempt<'_>,
    arguments: Dict,
    rendered: Option<Source>,
) -> Outcome {
    let temporary = Temporary::of(attempt);
    let work = Work {
        attempt,
        arguments: &arguments,
        temporary: &temporary,
    };
    let outcome = work.run(rendered).await;
    temporary.remove().await;
    match outcome {
        Ok(result) => {
            invoked(attempt, &arguments, &result);
            Ok(result)
        }
        Err(Failure::Failed(failed)) => {
            if failed.is_message {
                invoked(attempt, &arguments, &failed.result);
            }
            Err(Failure::Failed(failed))
        }
        other => other,
    }
}

/// Tells what it was asked, if results are to tell that.
fn invoked(attempt: &Attempt<'_>, arguments: &Dict, result: &Dict) {
    if !attempt.module_settings.inject_invocation {
        take(result, "invocation");
        return;
    }
    if result.get("invocation").is_none() {
        if attempt.no_log {
            set(result, "invocation", "CENSORED: no_log is set");
        } else {
            let told = copied(arguments);
            set(&told, "module_args", copied(arguments));
            set(result, "invocation", told);
        }
    }
    if let Some(Value::Dict(told)) = result.get("invocation") {
        if told.get("content").is_some() {
            set(&told, "content", "CENSORED: content is a no_log parameter");
        }
        if let Some(Value::Dict(inner)) = told.get("module_args")
            && inner
                .get("content")
                .is_some_and(|content| !matches!(content, Value::None))
        {
            set(&inner, "content", "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER");
        }
    }
}

/// A file that is copied: where it is, its name at the destination, and what it holds where that is known already.
type One = (PathBuf, String, Option<Source>);

struct Work<'a> {
    attempt: &'a Attempt<'a>,
    arguments: &'a Dict,
    temporary: &'a Temporary<'a>,
}

impl Work<'_> {
    async fn run(&self, rendered: Option<Source>) -> Outcome {
        let attempt = self.attempt;
        let given = Given(self.arguments);
        for internal in ["_original_basename", "_diff_peek"] {
            if given.get(internal).is_some() {
                return Err(Failure::new(format!(
                    "Invalid parameter specified: \"{internal}\""
                )));
            }
        }
        let refuse = |message: &str| Ok(dict([("failed", true.into()), ("msg", message.into())]));
        let source = given
            .get("src")
            .filter(|source| source.truth().unwrap_or(false))
            .map(|source| repr::text(&source));
        let content = given.get("content");
        let Some(mut dest) = given.text("dest").filter(|dest| !dest.is_empty()) else {
            return refuse(if source.is_none() && content.is_none() {
                "src (or content) is required"
            } else {
                "dest is required"
            });
        };
        if source.is_none() && content.is_none() {
            return refuse("src (or content) is required");
        }
        if source.is_some() && content.is_some() {
            return refuse("src and content are mutually exclusive");
        }
        if content.is_some() && dest.ends_with('/') {
            return refuse("can not use content with a dir as dest");
        }
        if content.is_none() && rendered.is_none() && given.flag("remote_src", false) {
            return attempt
                .module("ansible.legacy.copy", copied(self.arguments))
                .await;
        }
        let (found, whole) = self
            .sources(source.as_deref(), content.as_ref(), rendered)
            .await?;
        if whole.is_some() && !dest.ends_with('/') {
            dest.push('/');
        }
        let dest = expand_user(attempt, &dest).await?;
        let result = Dict::default();
        let mut changed = false;
        let mut done: Option<Dict> = None;
        let mut implied: BTreeSet<String> = BTreeSet::new();
        let (files, tree, shown) = match whole {
            Some((mut tree, shown)) => {
                let files = std::mem::take(&mut tree.files)
                    .into_iter()
                    .map(|(path, below)| (path, below, None))
                    .collect();
                (files, tree, shown)
            }
            None => {
                let shown = found
                    .first()
                    .map(|(path, _, _)| path.to_string_lossy().into_owned());
                (found, Tree::default(), shown.unwrap_or_default())
            }
        };
        let count = files.len();
        let follow = tree.directories.is_empty() && given.flag("follow", false);
        for (path, below, source) in files {
            let source = match source {
                Some(source) => source,
                None => match Source::file(attempt, &path, given.flag("decrypt", true)).await {
                    Ok(source) => source,
                    Err(Failure::Failed(failed)) if !path.is_file() => {
                        return Ok(dict([
                            ("failed", true.into()),
                            ("diff", Value::list(Vec::new())),
                            (
                                "msg",
                                format!(
                                    "could not find src={}, {}",
                                    path.display(),
                                    failed.error.brief()
                                )
                                .into(),
                            ),
                        ]));
                    }
                    Err(other) => return Err(other),
                },
            };
            let Some(report) = self
                .file(&source, &below, content.is_some(), &dest, follow)
                .await?
            else {
                continue;
            };
            if says(&report, "failed") {
                update(&result, &report);
                return Ok(result);
            }
            let mut directory = paths::dirname(&below);
            while !directory.is_empty() {
                implied.insert(directory.to_owned());
                directory = paths::dirname(directory);
            }
            changed |= says(&report, "changed");
            done = Some(report);
        }
        for (_, below) in &tree.directories {
            if implied.contains(below) {
                continue;
            }
            let arguments = self.of_file();
            take(&arguments, "src");
            set(&arguments, "path", paths::join(&dest, below));
            set(&arguments, "state", "directory");
            set(
                &arguments,
                "mode",
                given.get("directory_mode").unwrap_or_default(),
            );
            set(&arguments, "recurse", false);
            let report = attempt.module("ansible.legacy.file", arguments).await?;
            if says(&report, "failed") {
                update(&result, &report);
                return Ok(result);
            }
            changed |= says(&report, "changed");
            done = Some(report);
        }
        for (target, below) in &tree.links {
            let arguments = self.of_file();
            set(&arguments, "path", paths::join(&dest, below));
            set(&arguments, "src", target.as_str());
            set(&arguments, "state", "link");
            set(&arguments, "force", true);
            if !tree.directories.is_empty() {
                set(&arguments, "follow", false);
            }
            if given.text("mode").as_deref() == Some("preserve") {
                take(&arguments, "mode");
            }
            let report = attempt.module("ansible.legacy.file", arguments).await?;
            if says(&report, "failed") {
                update(&result, &report);
                return Ok(result);
            }
            changed |= says(&report, "changed");
            done = Some(report);
        }
        if let Some(report) = done.filter(|_| count == 1) {
            update(&result, &report);
            if let (Some(path), None) = (result.get("path"), result.get("dest")) {
                set(&result, "dest", path);
            }
        } else {
            set(&result, "dest", dest);
            set(&result, "src", shown);
            set(&result, "changed", changed);
        }
        Ok(result)
    }

    /// What is copied: a file with its name at the destination, or the files of a directory.
    async fn sources(
        &self,
        source: Option<&str>,
        content: Option<&Value>,
        rendered: Option<Source>,
    ) -> Result<(Vec<One>, Option<(Tree, String)>), Failure> {
        let attempt = self.attempt;
        if let Some(rendered) = rendered {
            let name = name_of(&rendered.path);
            return Ok((vec![(rendered.path.clone(), name, Some(rendered))], None));
        }
        if let Some(content) = content {
            let bytes = match content {
                Value::Dict(_) | Value::List(_) => {
                    let style = Style {
                        ascii: true,
                        ..Style::default()
                    };
                    json::write(content, &style)
                        .map_err(|error| Failure::error(error.to_string()))?
                        .into_bytes()
                }
                Value::Bytes(bytes) => bytes.to_vec(),
                other => repr::text(other).into_bytes(),
            };
            let name = format!(".{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
            let path = Path::new(&attempt.settings().local_tmp).join(&name);
            let source = Source {
                path: path.clone(),
                bytes: Some(bytes),
            };
            return Ok((vec![(path, name, Some(source))], None));
        }
        let source = source.unwrap_or_default();
        let slash = source.ends_with('/');
        let path = attempt.find_file("files", source).map_err(unexpected)?;
        let mut shown = path.to_string_lossy().trim_end_matches('/').to_owned();
        if shown.is_empty() {
            shown.push('/');
        }
        if path.is_dir() {
            if slash && !shown.ends_with('/') {
                shown.push('/');
            }
            let follow = Given(self.arguments).flag("local_follow", true);
            let found = blocking(move || Ok((tree(&shown, follow)?, shown))).await?;
            return Ok((Vec::new(), Some(found)));
        }
        let name = name_of(Path::new(&shown));
        Ok((vec![(PathBuf::from(shown), name, None)], None))
    }

    fn of_file(&self) -> Dict {
        let kept = self
            .arguments
            .read()
            .iter()
            .filter(|(key, _)| key.as_str().is_some_and(|key| OF_FILE.contains(&key)))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Dict::new(kept)
    }

    /// Copies one file. Gives nothing if it is there and is to stay as it is.
    async fn file(
        &self,
        source: &Source,
        below: &str,
        given_content: bool,
        dest: &str,
        follow: bool,
    ) -> Result<Option<Dict>, Failure> {
        let attempt = self.attempt;
        let given = Given(self.arguments);
        let force = given.flag("force", true);
        let raw = given.flag("raw", false);
        let result = dict([("diff", Value::list(Vec::new()))]);
        let mode = if given.text("mode").as_deref() == Some("preserve") {
            Some(if given_content {
                // What is given with the task is nobody's file: it is as private as can be.
                "0600".to_owned()
            } else {
                mode_of(&source.path)?
            })
        } else {
            None
        };
        let mut file = if dest.ends_with('/') {
            paths::join(dest, below)
        } else {
            dest.to_owned()
        };
        let mut there = stat(attempt, &file, follow, force).await?;
        if says(&there, "exists") && says(&there, "isdir") {
            if given_content {
                set(&result, "failed", true);
                set(&result, "msg", "can not use content with a dir as dest");
                return Ok(Some(result));
            }
            file = paths::join(dest, below);
            there = stat(attempt, &file, follow, force).await?;
        }
        if says(&there, "exists") && !force {
            return Ok(None);
        }
        let checksum = source.checksum().await?;
        let differs = there.get("checksum").as_ref().and_then(Value::as_str) != Some(&checksum);
        let report = if differs {
            if attempt.diff && !raw {
                let diff = difference(attempt, &file, source, given_content).await?;
                set(&result, "diff", Value::list(vec![diff.into()]));
            }
            if attempt.check {
                set(&result, "changed", true);
                return Ok(Some(result));
            }
            if raw {
                let user = attempt.user()?;
                attempt
                    .connection()?
                    .put(source.content(), &file, 0o644, user)
                    .await
                    .map_err(super::machine::refused)?;
                return Ok(None);
            }
            let (_, extension) = splits_extension(&file);
            let path = self
                .temporary
                .put(source.content(), &format!(".source{extension}"), 0o600)
                .await?;
            let arguments = without(self.arguments, &["content", "decrypt"]);
            set(&arguments, "src", path);
            set(&arguments, "dest", dest);
            set(&arguments, "_original_basename", below);
            set(&arguments, "follow", follow);
            if !says(self.arguments, "checksum") {
                set(&arguments, "checksum", checksum.as_str());
            }
            if let Some(mode) = mode {
                set(&arguments, "mode", mode);
            }
            attempt.module("ansible.legacy.copy", arguments).await?
        } else {
            if raw {
                return Ok(None);
            }
            let mut dest = dest.to_owned();
            if follow {
                let link = stat(attempt, &file, false, true).await?;
                if says(&link, "islnk")
                    && let Some(target) = link.get("lnk_source")
                {
                    dest = repr::text(&target);
                }
            }
            let arguments = self.of_file();
            take(&arguments, "src");
            set(&arguments, "dest", dest);
            set(&arguments, "_original_basename", below);
            set(&arguments, "recurse", false);
            set(&arguments, "state", "file");
            if let Some(mode) = mode {
                set(&arguments, "mode", mode);
            }
            attempt.module("ansible.legacy.file", arguments).await?
        };
        if !says(&report, "checksum") {
            set(&report, "checksum", checksum);
        }
        update(&result, &report);
        Ok(Some(result))
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The permissions of a file of the controller, as `mode` takes them.
pub(super) fn mode_of(path: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = std::fs::metadata(path).map_err(|error| {
        Failure::error(consort_modules::python::os_error_at_text(
            &error,
            &path.to_string_lossy(),
        ))
    })?;
    Ok(format!("0{:03o}", meta.permissions().mode() & 0o7777))
}

/// An error as Ansible tells one that an action raised without words of its own.
fn unexpected(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(failed) => Failure::Failed(Box::new(Failed {
            error: Located::new("Unexpected AnsibleActionFail error.").because(failed.error),
            result: failed.result,
            is_message: true,
        })),
        other => other,
    }
}
