//! How directives and variables are handed down.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consort_jinja::{Dict, Origin, Value};

use super::directives::Handed;
use super::{Action, Directive, Directives, Role, Scope, ScopeKind, Task};
use crate::paths;
use crate::source::Located;

static TASKS: AtomicU64 = AtomicU64::new(1);

/// A number no other task of the process has.
pub fn next_task_id() -> u64 {
    TASKS.fetch_add(1, Ordering::Relaxed)
}

/// The roles a task stands in, the innermost first: the roles it belongs to, and those that brought them.
pub type DependencyChain = Vec<Arc<Role>>;

impl Scope {
    /// A scope, from itself outwards.
    pub fn chain(&self) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self), |scope| scope.parent.as_deref())
    }

    /// What a directive is for all that stands here. Of those that extend (`tags`, `when`, `environment`,
    /// `module_defaults`) it is the list of all, unrendered. `None` (null) is a value too.
    pub fn inherited(&self, directive: Directive) -> Option<Value> {
        inherited(None, Some(self), directive)
    }

    /// The innermost role.
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.chain().find_map(|scope| match &scope.kind {
            ScopeKind::Role(role) => Some(role),
            _ => None,
        })
    }

    /// The roles it stands in, the innermost first.
    pub fn roles(&self) -> DependencyChain {
        self.chain()
            .filter_map(|scope| match &scope.kind {
                ScopeKind::Role(role) => Some(Arc::clone(role)),
                _ => None,
            })
            .collect()
    }

    /// The play.
    pub fn play(&self) -> &Scope {
        let mut scope = self;
        while let Some(parent) = scope.parent.as_deref() {
            scope = parent;
        }
        scope
    }

    /// The variables that blocks, imports and includes give to what stands here; the nearest first, which counts most.
    /// Those of plays and roles are not among them.
    pub fn variable_layers(&self) -> Vec<Dict> {
        let mut layers = Vec::new();
        for scope in self.chain() {
            match &scope.kind {
                ScopeKind::Play | ScopeKind::Role(_) => {}
                ScopeKind::Block => push_vars(&scope.directives, &mut layers),
                ScopeKind::Import(brought) => push(&brought.variables, &mut layers),
                ScopeKind::Include(brought) => {
                    push_vars(&scope.directives, &mut layers);
                    push(&brought.variables, &mut layers);
                }
            }
        }
        layers
    }

    /// The variables that includes (not imports) give to what stands here, the nearest first: "include params", which
    /// count more than facts that were set.
    pub fn include_layers(&self) -> Vec<Dict> {
        self.chain()
            .filter_map(|scope| match &scope.kind {
                ScopeKind::Include(brought) if !brought.variables.is_empty() => {
                    Some(brought.variables.clone())
                }
                _ => None,
            })
            .collect()
    }
}

fn push(dict: &Dict, layers: &mut Vec<Dict>) {
    if !dict.is_empty() {
        layers.push(dict.clone());
    }
}

fn push_vars(directives: &Directives, layers: &mut Vec<Dict>) {
    if let Some(Value::Dict(dict)) = directives.get(Directive::Vars) {
        push(dict, layers);
    }
}

/// The place of what stands in no file.
fn named(source: &str) -> Arc<Origin> {
    Arc::new(Origin {
        file: source.into(),
        line: 0,
        column: 0,
    })
}

impl Action {
    /// An error about the action. One of a command line is shown itself.
    pub(crate) fn located(&self, message: impl Into<String>) -> Located {
        let error = Located::new(message);
        if self.origin.file.is_empty() {
            error.at(&named("<CLI option '-m'>")).showing(&self.written)
        } else {
            error.at(&self.origin)
        }
    }
}

impl Task {
    /// What a directive is for this task: its own, or what it inherits. Of those that extend it is the list of all,
    /// unrendered; of those that are not handed down, its own.
    pub fn directive(&self, directive: Directive) -> Option<Value> {
        inherited(Some(&self.directives), Some(&self.parent), directive)
    }

    /// The name as it was written.
    pub fn name(&self) -> Option<&Value> {
        self.directives.get(Directive::Name)
    }

    /// The role it belongs to.
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.parent.role()
    }

    /// Its variables and those of what it stands in, the nearest first. Those of plays and roles are not among them.
    pub fn variable_layers(&self) -> Vec<Dict> {
        let mut layers = Vec::new();
        push_vars(&self.directives, &mut layers);
        layers.extend(self.parent.variable_layers());
        layers
    }

    /// "Include params": the variables of the includes it stands in, its own if it includes; the nearest first.
    pub fn include_layers(&self) -> Vec<Dict> {
        let mut layers = Vec::new();
        if self.action.includes() {
            push_vars(&self.directives, &mut layers);
        }
        layers.extend(self.parent.include_layers());
        layers
    }

    /// An error about the task. One of a command line, which stands in no file, is shown itself.
    pub(crate) fn located(&self, message: &str) -> Located {
        let error = Located::new(message);
        if !self.origin.file.is_empty() {
            return error.at(&self.origin);
        }
        let mut written = vec![
            ("action", Value::from(&*self.action.written)),
            ("args", Value::Dict(self.action.arguments.clone())),
        ];
        let directives = [
            ("timeout", Directive::Timeout),
            ("async_val", Directive::Async),
            ("poll", Directive::Poll),
        ];
        written.extend(
            directives.into_iter().filter_map(|(name, directive)| {
                Some((name, self.directives.get(directive)?.clone()))
            }),
        );
        let written = Value::Dict(written.into_iter().collect());
        let name = consort_jinja::repr::string(&self.action.written);
        error
            .at(&named(&format!("<adhoc {name} task>")))
            .showing(&consort_jinja::repr::text(&written))
    }

    /// Where its files are looked for: the directories of its roles, the innermost first, then that of its own file.
    pub fn search_path(&self) -> Vec<PathBuf> {
        let mut path: Vec<PathBuf> = self
            .parent
            .roles()
            .iter()
            .map(|role| role.path.clone())
            .collect();
        if !self.origin.file.is_empty() {
            let directory = PathBuf::from(paths::dirname(&self.origin.file));
            if !path.contains(&directory) {
                path.push(directory);
            }
        }
        path
    }

    /// The file and line, as `FILE:LINE`; as `--list-tasks` and callbacks show it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.origin.file, self.origin.line.max(1))
    }
}

impl super::Action {
    /// The last part of its name, if it is one of `ansible.builtin`.
    pub fn builtin(&self) -> Option<&str> {
        self.name
            .strip_prefix("ansible.builtin.")
            .or_else(|| self.name.strip_prefix("ansible.legacy."))
    }

    /// Whether it is `include_tasks` or `include_role`.
    pub fn includes(&self) -> bool {
        matches!(self.builtin(), Some("include_tasks" | "include_role"))
    }

    /// What `meta` is to do, if it is that.
    pub fn meta(&self) -> Option<Value> {
        (self.builtin() == Some("meta"))
            .then(|| self.arguments.get("_raw_params"))
            .flatten()
    }
}

fn inherited(
    own: Option<&Directives>,
    scope: Option<&Scope>,
    directive: Directive,
) -> Option<Value> {
    let own = own.and_then(|own| own.get(directive));
    let handed = directive.handed();
    let outer = || scope.into_iter().flat_map(Scope::chain);
    match handed {
        Handed::No => own.cloned(),
        Handed::Nearest => own
            .or_else(|| outer().find_map(|scope| scope.directives.get(directive)))
            .cloned(),
        Handed::After | Handed::Before => {
            let levels: Vec<&Value> = own
                .into_iter()
                .chain(outer().filter_map(|scope| scope.directives.get(directive)))
                .collect();
            if levels.is_empty() {
                return None;
            }
            let mut all: Vec<Value> = Vec::new();
            let mut add = |level: &Value| match level {
                Value::List(items) => all.extend(items.read().iter().cloned()),
                value => all.push(value.clone()),
            };
            if handed == Handed::After {
                levels.into_iter().for_each(&mut add);
            } else {
                levels.into_iter().rev().for_each(&mut add);
            }
            all.retain(|value| !matches!(value, Value::None));
            all.dedup_by(|a, b| a.equals(b));
            Some(Value::list(all))
        }
    }
}
