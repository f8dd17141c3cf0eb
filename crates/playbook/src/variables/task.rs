//! The variables a task brings along: its own, those of the blocks and includes around it, and its role's.

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Value};

use crate::language::{Directive, Role, ScopeKind, Task};

/// The variables a task brings along, in layers: lowest first in each.
#[derive(Debug)]
pub(crate) struct TaskLayers {
    /// What it does: lookups look for files by it.
    pub action: Arc<str>,
    pub role: Option<Arc<Role>>,
    /// Defaults of the role, and of those it depends on and that brought it here.
    pub defaults: Vec<Dict>,
    /// `vars/` of these, and `vars` where they are used.
    pub role_variables: Vec<Dict>,
    /// What is passed to these beside keywords.
    pub parameters: Vec<Dict>,
    /// `vars` of the blocks and includes around the task, and its own.
    pub own: Vec<Dict>,
    /// What includes around it were given.
    pub include_parameters: Vec<Dict>,
    /// Where files are looked for.
    pub search_path: Vec<PathBuf>,
    /// The names and directories of the roles that included it, innermost first.
    pub parent_roles: Vec<Arc<Role>>,
}

impl TaskLayers {
    /// Of a task.
    pub(super) fn of(task: &Task) -> Self {
        let mut layers = TaskLayers {
            action: Arc::clone(&task.action.written),
            role: task.role().cloned(),
            own: task.variable_layers(),
            include_parameters: task.include_layers(),
            search_path: task.search_path(),
            defaults: Vec::new(),
            role_variables: Vec::new(),
            parameters: Vec::new(),
            parent_roles: Vec::new(),
        };
        // They come from the inside out.
        layers.own.reverse();
        layers.include_parameters.reverse();
        for scope in task.parent.chain() {
            if let ScopeKind::Include(brought) | ScopeKind::Import(brought) = &scope.kind
                && brought.role
                && let Some(role) = brought.task.role()
            {
                layers.parent_roles.push(Arc::clone(role));
            }
        }
        if let Some(role) = layers.role.clone() {
            layers.of_role(&role, &task.parent.roles());
        }
        layers
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Dict> {
        self.defaults
            .iter()
            .chain(&self.role_variables)
            .chain(&self.parameters)
            .chain(&self.own)
            .chain(&self.include_parameters)
    }

    /// `chain` are the roles it stands in, the innermost first.
    fn of_role(&mut self, role: &Arc<Role>, chain: &[Arc<Role>]) {
        for dependency in all_dependencies(role) {
            self.defaults.push(dependency.defaults.clone());
        }
        for parent in chain.iter().rev() {
            self.defaults.push(parent.defaults.clone());
            self.role_variables.extend(at_use(parent));
            self.role_variables.push(parent.variables.clone());
            self.parameters.push(parent.parameters.clone());
        }
        self.defaults.push(role.defaults.clone());
        for dependency in all_dependencies(role) {
            self.role_variables.push(dependency.variables.clone());
        }
        self.role_variables.push(role.variables.clone());
        self.role_variables.extend(at_use(role));
        self.parameters.push(role.parameters.clone());
        for layers in [
            &mut self.defaults,
            &mut self.role_variables,
            &mut self.parameters,
        ] {
            layers.retain(|layer| !layer.is_empty());
        }
    }
}

/// `vars` of the place that uses a role.
fn at_use(role: &Role) -> Option<Dict> {
    match role.directives.get(Directive::Vars) {
        Some(Value::Dict(variables)) => Some(variables.clone()),
        _ => None,
    }
}

/// The roles a role depends on, those they depend on before them.
pub(crate) fn all_dependencies(role: &Role) -> Vec<&Arc<Role>> {
    let mut all = Vec::new();
    for dependency in &role.dependencies {
        all.extend(all_dependencies(dependency));
        all.push(dependency);
    }
    all
}
