//! Playbooks as they were written: plays, blocks, tasks, roles, with every static import in its place.
//!
//! Nothing is rendered here but what static imports need. A directive is kept as the value that was written; who needs it
//! asks [`Scope::inherited`] and friends, which know how directives are handed down.

mod actions;
mod arguments;
mod collections;
mod directives;
mod draft;
mod files;
mod keywords;
mod loader;
mod playbooks;
mod plays;
mod python;
mod rejected;
mod roles;
mod scope;
mod tasks;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Origin, Value};

pub use actions::{ActionKind, Departure, Resolved};
pub(crate) use actions::{BUILTIN as BUILTIN_ACTIONS, LOOKUPS as BUILTIN_LOOKUPS, has_moved};
pub use arguments::{join_words, split_pairs, split_words};
pub use directives::{Bearer, Directive, Directives, Kind};
pub use keywords::{ArgumentSpec, PlayKeywords};
pub use loader::{LoaderOptions, PlaybookLoader};
pub use roles::{LoadedRole, RoleUse};
pub use scope::{DependencyChain, next_task_id};

/// A playbook, with the playbooks it imports in their places.
#[derive(Debug)]
pub struct Playbook {
    /// The file.
    pub path: PathBuf,
    /// The file as it was named.
    pub named: PathBuf,
    /// Its plays in order.
    pub plays: Vec<Arc<Play>>,
}

/// A play: tasks for the hosts of a pattern.
#[derive(Debug)]
pub struct Play {
    /// Where it begins.
    pub origin: Arc<Origin>,
    /// The file it stands in.
    pub playbook: PathBuf,
    /// The directory that paths of its tasks are relative to: that of the playbook, of an imported playbook its own.
    pub directory: PathBuf,
    /// The name it was given, unrendered.
    pub name: Option<Value>,
    /// Conditions of `import_playbook`, which hold for gathering facts as well.
    pub imported_when: Vec<Value>,
    /// What brings actions by group: the members of `group/NAME` in `module_defaults`, by full name.
    pub action_groups: indexmap::IndexMap<String, Vec<String>>,
    /// Its directives; the outermost scope of its tasks.
    pub scope: Arc<Scope>,
    /// Files of variables, as written: each entry a path or a list of which the first that exists counts.
    pub vars_files: Vec<Value>,
    /// What is asked of the user.
    pub vars_prompt: Vec<Value>,
    /// The roles of `roles:` and those that were imported, in order, without their dependencies.
    pub roles: Vec<Arc<Role>>,
    /// `pre_tasks`.
    pub pre_tasks: Vec<Item>,
    /// The tasks of `roles:` with their dependencies before them: one block for each.
    pub role_blocks: Vec<Arc<Block>>,
    /// `tasks`.
    pub tasks: Vec<Item>,
    /// `post_tasks`.
    pub post_tasks: Vec<Item>,
    /// The handlers: of the roles, then of the play, then of roles that were imported. Imports among them are in their
    /// places.
    pub handlers: Vec<Item>,
    pub(crate) draft: Arc<draft::Draft>,
}

/// A task, or a block of them.
#[derive(Clone, Debug)]
pub enum Item {
    /// A task.
    Task(Arc<Task>),
    /// A block.
    Block(Arc<Block>),
}

/// Tasks that belong together.
#[derive(Debug)]
pub struct Block {
    /// What holds for all of them, with the parent it inherits from.
    pub scope: Arc<Scope>,
    /// What is done.
    pub tasks: Vec<Item>,
    /// What is done when that fails.
    pub rescue: Vec<Item>,
    /// What is done in any case.
    pub always: Vec<Item>,
}

/// One thing to be done on each host.
#[derive(Debug)]
pub struct Task {
    /// Its number, the same for no other task of the process.
    pub id: u64,
    /// Where it begins.
    pub origin: Arc<Origin>,
    /// What it stands in: it inherits from that.
    pub parent: Arc<Scope>,
    /// Its own directives, with `when`, `register`, `until`, `loop_control`, ... among them.
    pub directives: Directives,
    /// What it does.
    pub action: Action,
    /// What it repeats for.
    pub looped: Option<Loop>,
    /// Whether it is a handler.
    pub handler: bool,
    /// Whether nobody wrote it: `meta: role_complete`, `meta: flush_handlers`, ...
    pub implicit: bool,
}

/// The module or action of a task.
#[derive(Clone, Debug)]
pub struct Action {
    /// As written: `copy`, `ansible.builtin.copy`, `community.general.ufw`.
    pub written: Arc<str>,
    /// The full name it stands for, after the keyword `collections` and redirections: `ansible.builtin.copy`. That of a
    /// module in a directory `library` has no collection. As written, if it is a template.
    pub name: Arc<str>,
    /// What carries it out.
    pub kind: ActionKind,
    /// The collections its name is looked for in.
    pub collections: Arc<[String]>,
    /// Its arguments, unrendered. What was written as `key=value` or free text is here under its key (`_raw_params` for
    /// free text).
    pub arguments: Dict,
    /// Arguments that are given whole by a template: `args: "{{ settings }}"` or `copy: "{{ settings }}"`.
    pub variable_arguments: Option<Value>,
    /// Where the name stands.
    pub origin: Arc<Origin>,
}

/// What a task repeats for.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The lookup of `with_LOOKUP`, without the prefix; none for `loop`.
    pub lookup: Option<Arc<str>>,
    /// The items, or what the lookup is given.
    pub over: Value,
}

/// Something that tasks stand in and inherit directives from.
#[derive(Debug)]
pub struct Scope {
    /// What it is.
    pub kind: ScopeKind,
    /// What it says.
    pub directives: Directives,
    /// What it stands in; none for plays.
    pub parent: Option<Arc<Scope>>,
}

/// What a scope is.
#[derive(Clone, Debug)]
pub enum ScopeKind {
    /// A play.
    Play,
    /// A block.
    Block,
    /// The tasks of a role: `directives` are those of the role's use.
    Role(Arc<Role>),
    /// What was imported: `directives` are those of the task that imports, all of which are handed down.
    Import(Brought),
    /// What was included while the play ran: `directives` are those of `apply` alone.
    Include(Brought),
}

/// A file of tasks, or a role, that a task brought here.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The task that imports or includes.
    pub task: Arc<Task>,
    /// The file as the task names it, rendered; the directory of a role. Files named in it are looked for beside it.
    pub file: Arc<str>,
    /// Whether it is a role.
    pub role: bool,
    /// The variables the task gives: its `vars`, and for what is included those of its loop.
    pub variables: Dict,
}

/// A role, as one place uses it.
#[derive(Debug)]
pub struct Role {
    /// The name, with its collection if it has one.
    pub name: Arc<str>,
    /// Its directory.
    pub path: PathBuf,
    /// The collection it belongs to.
    pub collection: Option<Arc<str>>,
    /// `defaults/`.
    pub defaults: Dict,
    /// `vars/`.
    pub variables: Dict,
    /// What the place that uses it passes beside directives.
    pub parameters: Dict,
    /// The roles it depends on, which run before it.
    pub dependencies: Vec<Arc<Role>>,
    /// Whether it may run again although it has run with the same parameters.
    pub allow_duplicates: bool,
    /// The directives of its use: `vars`, `tags`, `when`, `become`, ...
    pub directives: Directives,
    /// The specifications of its arguments by entry point (`main`).
    pub argument_specs: Dict,
    /// Its handlers' names are also known as `ROLE : NAME`.
    pub origin: Arc<Origin>,
    /// Identity for "has run already": name and parameters, with `when` and `tags` of its use.
    pub identity: String,
    /// Whether defaults and variables are seen by the whole play (`public`), as those of `roles:` and of imported roles.
    pub public: bool,
    /// Whether `import_role` or `include_role` brought it here, and not `roles:` or another role's dependencies.
    pub from_include: bool,
    /// Whether it was brought here before the play ran.
    pub fixed: bool,
    /// Whether what goes wrong with it can be rescued.
    pub rescuable: bool,
    pub(crate) files: roles::Files,
}
