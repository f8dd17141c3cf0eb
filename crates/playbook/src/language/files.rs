//! Where files of tasks and roles are found.

use std::path::Path;

use super::draft::Draft;
use super::loader::Inner;
use super::{Brought, Scope, ScopeKind};
use crate::paths::{self, Surroundings};

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

/// Whether a directory looks like that of a role, or of one of its parts.
fn is_role(path: &str, surroundings: &Surroundings) -> bool {
    let full = paths::unfrack(path, surroundings, None);
    let parent = paths::dirname(path);
    let any = |base: &str, inner: &[&str]| {
        inner.iter().any(|inner| {
            ["main.yml", "main.yaml", "main"]
                .iter()
                .any(|main| exists(&paths::join(&paths::join(base, inner), main)))
        })
    };
    (is_tasks(path) && any(path, &[""]))
        || any(&full, &["tasks", "meta"])
        || any(parent, &["tasks", "meta"])
}

/// Whether a path ends in `tasks`.
fn is_tasks(path: &str) -> bool {
    let trimmed = path.trim_end_matches('/');
    trimmed.ends_with("/tasks") || path == "tasks"
}

impl Inner {
    /// The first file that exists of those a name may stand for beside a role or playbook; the last of them if none does.
    pub(crate) fn relative_file(
        &self,
        basedir: &str,
        path: &str,
        directory: &str,
        source: &str,
        known_role: bool,
    ) -> String {
        let unfrack = |path: &str| paths::unfrack(path, &self.surroundings, None);
        let dwim =
            |path: &str| paths::unfrack(paths::unquote(path), &self.surroundings, Some(basedir));
        if source.starts_with(['/', '~']) {
            return unfrack(source);
        }
        let beside = |base: &str| paths::join(&paths::join(base, directory), source);
        let role = known_role || is_role(path, &self.surroundings);
        let mut base = unfrack(path);
        if role && is_tasks(path) {
            base = unfrack(paths::dirname(path));
        }
        let mut candidates = vec![beside(path), unfrack(&beside(&base))];
        if role && !source.ends_with(directory) {
            candidates.push(unfrack(&paths::join(&paths::join(&base, "tasks"), source)));
        }
        candidates.push(unfrack(&paths::join(directory, source)));
        candidates.push(unfrack(&paths::join(&base, source)));
        candidates.push(dwim(&paths::join(directory, source)));
        candidates.push(dwim(source));
        let last = candidates.len() - 1;
        let found = candidates
            .iter()
            .position(|path| exists(path))
            .unwrap_or(last);
        candidates.swap_remove(found)
    }
}

/// The imports and includes a scope stands in, the innermost first.
fn brought(scope: &Scope) -> impl Iterator<Item = &Brought> {
    scope.chain().filter_map(|scope| match &scope.kind {
        ScopeKind::Import(brought) | ScopeKind::Include(brought) => Some(brought),
        _ => None,
    })
}

fn directory_of(brought: &Brought) -> String {
    if brought.role {
        brought.file.to_string()
    } else {
        paths::dirname(&brought.file).to_owned()
    }
}

/// The file that `import_tasks` in a scope names.
pub(crate) fn imported(draft: &Draft, scope: &Scope, handlers: bool, target: &str) -> String {
    let subdirectory = if handlers { "handlers" } else { "tasks" };
    let role = scope.role();
    let loader = &draft.loader;
    let mut cumulative: Option<String> = None;
    for parent in brought(scope) {
        let directory = directory_of(parent);
        cumulative = Some(match cumulative {
            None => directory,
            Some(path) if !path.starts_with('/') => paths::join(&directory, &path),
            Some(path) => path,
        });
        let within = cumulative.as_deref().unwrap_or_default();
        let file = match role {
            Some(role) => {
                let base = paths::join(
                    &paths::join(&role.path.to_string_lossy(), subdirectory),
                    within,
                );
                loader.relative_file(&draft.directory, &base, subdirectory, target, false)
            }
            None => loader.relative_file(&draft.directory, &draft.directory, within, target, false),
        };
        if exists(&file) {
            return file;
        }
    }
    match role {
        Some(role) => loader.relative_file(
            &draft.directory,
            &role.path.to_string_lossy(),
            subdirectory,
            target,
            false,
        ),
        None => draft.path(target),
    }
}

/// The file that `include_tasks` in a scope names.
pub(crate) fn included(draft: &Draft, scope: &Scope, handlers: bool, target: &str) -> String {
    let subdirectory = if handlers { "handlers" } else { "tasks" };
    let role = scope.role();
    let loader = &draft.loader;
    let mut cumulative: Option<String> = None;
    let mut last = None;
    for parent in brought(scope) {
        let directory = directory_of(parent);
        cumulative = Some(match cumulative {
            Some(path) if !path.starts_with('/') => paths::join(&directory, &path),
            _ => directory,
        });
        let within = cumulative.as_deref().unwrap_or_default();
        let file = match role {
            Some(role) => {
                let path = role.path.to_string_lossy();
                let base = paths::join(&paths::join(&path, subdirectory), within);
                let first =
                    loader.relative_file(&draft.directory, &path, subdirectory, target, true);
                if exists(&first) {
                    first
                } else {
                    loader.relative_file(&draft.directory, &base, subdirectory, target, true)
                }
            }
            None => loader.relative_file(&draft.directory, &draft.directory, within, target, false),
        };
        if exists(&file) {
            return file;
        }
        last = Some(file);
    }
    if let Some(last) = last {
        return last;
    }
    match role {
        Some(role) => loader.relative_file(
            &draft.directory,
            &role.path.to_string_lossy(),
            subdirectory,
            target,
            true,
        ),
        None => draft.path(target),
    }
}
