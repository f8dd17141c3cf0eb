//! The variables that are known before a play runs: for the names of what is imported.

use std::sync::Arc;

use consort_jinja::{Dict, Str, Value, Variables};

use super::draft::Draft;
use super::{Directive, Role, Scope};
use crate::source::Located;

/// What is looked at to find a variable, the first that has it counts. There is no host.
pub(crate) struct Known<'k> {
    pub(crate) draft: &'k Draft,
    pub(crate) scope: Option<&'k Scope>,
    /// The variables of the task itself.
    pub(crate) own: Option<&'k Dict>,
    /// Leave out `vars_files`: they are being read.
    pub(crate) without_files: bool,
}

impl Known<'_> {
    /// Renders a value.
    pub(crate) fn render(&self, value: &Value) -> Result<Value, crate::template::Error> {
        if !value.may_hold_templates() {
            return Ok(value.clone());
        }
        self.draft.loader.templar.render(value, self)
    }

    fn magic(&self, name: &str) -> Option<Value> {
        let draft = self.draft;
        let text = |text: String| Some(Value::from(text));
        match name {
            "playbook_dir" => text(draft.directory.clone()),
            "ansible_playbook_python" => None,
            "role_path" => text(self.role()?.path.to_string_lossy().into_owned()),
            "role_name" | "ansible_role_name" if self.role().is_some() => {
                text(self.role()?.name.to_string())
            }
            "ansible_collection_name" => text(self.role()?.collection.as_ref()?.to_string()),
            "ansible_play_name" => draft.name.clone(),
            _ => draft.loader.magic.get(name),
        }
    }

    fn role(&self) -> Option<&Arc<Role>> {
        self.scope?.role()
    }
}

impl Variables for Known<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.magic(name) {
            return Some(value);
        }
        if let Some(value) = self.draft.loader.extra.get(name) {
            return Some(value);
        }
        let layers = self.scope.map(Scope::include_layers).unwrap_or_default();
        if let Some(value) = layers.iter().find_map(|layer| layer.get(name)) {
            return Some(value);
        }
        let roles = self.scope.map(Scope::roles).unwrap_or_default();
        if let Some(value) = roles.iter().find_map(|role| role.parameters.get(name)) {
            return Some(value);
        }
        if let Some(value) = self.own.and_then(|own| own.get(name)) {
            return Some(value);
        }
        let layers = self.scope.map(Scope::variable_layers).unwrap_or_default();
        if let Some(value) = layers.iter().find_map(|layer| layer.get(name)) {
            return Some(value);
        }
        if let Some(value) = roles.first().and_then(|role| role.own_variable(name)) {
            return Some(value);
        }
        let inherited = roles.iter().skip(1).find_map(|role| {
            role.variables
                .get(name)
                .or_else(|| role.vars_directive()?.get(name))
        });
        if inherited.is_some() {
            return inherited;
        }
        let play_roles = self.draft.roles.lock().clone();
        if let Some(value) = play_roles
            .iter()
            .rev()
            .filter(|role| role.public)
            .find_map(|role| role.exported_variable(name))
        {
            return Some(value);
        }
        if !self.without_files
            && let Some(value) = self
                .draft
                .file_variables()
                .iter()
                .rev()
                .find_map(|layer| layer.get(name))
        {
            return Some(value);
        }
        if let Some(value) = self.draft.vars.get(name) {
            return Some(value);
        }
        roles
            .iter()
            .find_map(|role| role.default(name))
            .or_else(|| {
                play_roles
                    .iter()
                    .rev()
                    .filter(|role| role.public)
                    .find_map(|role| role.default(name))
            })
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names = self.draft.loader.extra.names();
        for layer in self.scope.map(Scope::variable_layers).unwrap_or_default() {
            names.extend(layer.names());
        }
        names.extend(self.draft.vars.names());
        names
    }
}

impl Role {
    fn vars_directive(&self) -> Option<Dict> {
        match self.directives.get(Directive::Vars) {
            Some(Value::Dict(dict)) => Some(dict.clone()),
            _ => None,
        }
    }

    /// A variable as tasks of the role see it: of its use, of `vars/`, of the roles it depends on.
    pub fn own_variable(&self, name: &str) -> Option<Value> {
        self.vars_directive()
            .and_then(|vars| vars.get(name))
            .or_else(|| self.exported_variable(name))
    }

    /// A variable that others see too: of `vars/`, of the roles it depends on.
    pub fn exported_variable(&self, name: &str) -> Option<Value> {
        self.variables.get(name).or_else(|| {
            self.dependencies
                .iter()
                .rev()
                .find_map(|role| role.exported_variable(name))
        })
    }

    /// A default: its own, or of the roles it depends on.
    pub fn default(&self, name: &str) -> Option<Value> {
        self.defaults.get(name).or_else(|| {
            self.dependencies
                .iter()
                .rev()
                .find_map(|role| role.default(name))
        })
    }
}

/// The error of a template as an error with its place.
pub(crate) fn located(error: &crate::template::Error) -> Located {
    let mut located = Located::new(error.message.clone());
    if let Some(template) = &error.template {
        located = located
            .about(&Value::Str(Str::clone(template)))
            .of_template(template);
    }
    if let Some(help) = &error.help {
        located = located.hint(help.clone());
    }
    match &error.cause {
        Some(cause) => located.because(self::located(cause)),
        None => located,
    }
}

impl From<&crate::template::Error> for Located {
    fn from(error: &crate::template::Error) -> Self {
        located(error)
    }
}

impl From<crate::template::Error> for Located {
    fn from(error: crate::template::Error) -> Self {
        located(&error)
    }
}
