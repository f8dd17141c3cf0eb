//! Where lookups find files.

use std::path::Path;

use consort_jinja::{Result, Value};

use super::Call;
use crate::paths::{dirname, join, unfrack};

impl Call<'_, '_, '_, '_> {
    /// A path from the directory of the playbook on.
    pub(super) fn beside_playbook(&self, path: &str) -> String {
        let options = &self.context().options;
        let base = options.basedir.to_string_lossy();
        unfrack(path, &options.surroundings, Some(&base))
    }

    /// The path of a file that is looked for beside the task, in its role and beside the playbook, and in their
    /// directories of a kind (`files`, `templates`, `vars`).
    pub(super) fn find_file(&mut self, kind: &str, wanted: &str) -> Result<Option<String>> {
        if wanted.starts_with(['/', '~']) {
            let path = unfrack(wanted, &self.context().options.surroundings, None);
            return Ok(Path::new(&path).exists().then_some(path));
        }
        let context = std::sync::Arc::clone(self.context);
        let paths = context.search_path(self.state)?;
        let in_role = matches!(self.state.name("role_path"), Value::Str(_));
        let surroundings = &context.options.surroundings;
        let root = wanted.split('/').next().unwrap_or("");
        let mut candidates = Vec::new();
        for path in &paths {
            let path = path.to_string_lossy();
            let upper = unfrack(&path, surroundings, None);
            let base = dirname(&upper);
            if (in_role || is_role(&path, &upper)) && base.ends_with("/tasks") {
                candidates.push(join(&join(dirname(base), kind), wanted));
                candidates.push(join(base, wanted));
            }
            if root != kind {
                candidates.push(join(&join(&upper, kind), wanted));
            }
            candidates.push(join(&upper, wanted));
        }
        let base = context.options.basedir.to_string_lossy();
        if root != kind {
            candidates.push(join(&join(&base, kind), wanted));
        }
        candidates.push(join(&base, wanted));
        Ok(candidates
            .into_iter()
            .find(|candidate| Path::new(candidate).exists()))
    }

    /// The same, with a warning where there is none.
    pub(super) fn find_file_or_warn(&mut self, kind: &str, wanted: &str) -> Result<Option<String>> {
        let found = self.find_file(kind, wanted)?;
        if found.is_none() {
            self.context().warn(format!(
                "Unable to find '{wanted}' in expected paths (use -vvvvv to see paths)"
            ));
        }
        Ok(found)
    }
}

/// Whether a directory looks like that of a role.
fn is_role(path: &str, upper: &str) -> bool {
    let main = |base: &str| {
        ["main.yml", "main.yaml", "main"]
            .iter()
            .any(|name| Path::new(&join(base, name)).exists())
    };
    let tasks = |base: &str| main(&join(base, "tasks")) || main(&join(base, "meta"));
    path.contains("/tasks") && main(path) || tasks(upper) || tasks(dirname(path))
}
