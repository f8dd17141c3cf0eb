//! Reads playbooks, and what they include while they run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Origin, Value};
use parking_lot::Mutex;

use super::actions::{Actions, Resolved};
use super::collections::{Collections, Mismatch};
use super::directives::{Bearer, Directives};
use super::draft::Draft;
use super::keywords::{self, PlayKeywords};
use super::roles::{self, LoadedRole, RoleUse};
use super::tasks::Tasks;
use super::{
    Brought, Item, Play, Playbook, Scope, ScopeKind, Task, files, playbooks, plays, rejected,
};
use crate::paths::{self, Surroundings};
use crate::python::packages;
use crate::settings::{Settings, Sources};
use crate::source::{Located, Node, Notice, Reader};
use crate::template::Templar;

/// What a [`PlaybookLoader`] works with.
pub struct LoaderOptions {
    /// Reads files; tells of warnings.
    pub reader: Reader,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Where they come from.
    pub sources: Sources,
    /// Renders the names of what is imported.
    pub templar: Templar,
    /// The variables of the command line (`-e`).
    pub extra: Dict,
    /// Variables that are always there, whatever others say: `ansible_version`, `ansible_check_mode`, ...
    pub magic: Dict,
}

/// Reads playbooks, and what they include while they run. Clones share what was found.
#[derive(Clone)]
pub struct PlaybookLoader {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) reader: Reader,
    pub(crate) settings: Arc<Settings>,
    pub(crate) surroundings: Surroundings,
    pub(crate) templar: Templar,
    pub(crate) extra: Dict,
    pub(crate) magic: Dict,
    pub(crate) actions: Actions,
    /// The collection of the playbook that was read last, if it belongs to one.
    pub(crate) default_collection: Mutex<Option<String>>,
    /// Whether somebody set `DEFAULT_PRIVATE_ROLE_VARS`.
    pub(crate) private_role_vars_given: bool,
}

impl Inner {
    pub(crate) fn notice(&self, notice: Notice) {
        self.reader.notice(notice);
    }
}

impl PlaybookLoader {
    /// Nothing is read yet.
    pub fn new(options: LoaderOptions) -> Self {
        let settings = options.settings;
        let given = options
            .sources
            .raw(
                &["ANSIBLE_PRIVATE_ROLE_VARS"],
                &[("defaults", "private_role_vars")],
            )
            .is_some();
        let packages = if settings.collections_scan_sys_path {
            packages::directories(&options.sources.surroundings().variables)
        } else {
            Vec::new()
        };
        let actions = Actions::new(
            Collections::new(
                &settings.collections_paths,
                packages,
                options.reader.clone(),
                Mismatch::of(&settings.collections_on_ansible_version_mismatch),
            ),
            rejected::of(&settings, &options.reader),
            &settings.module_path,
            &settings.action_plugin_path,
            &settings.lookup_plugin_path,
            &settings.module_ignore_exts,
            options.templar.bridge().cloned(),
        );
        PlaybookLoader {
            inner: Arc::new(Inner {
                reader: options.reader,
                surroundings: options.sources.surroundings().clone(),
                templar: options.templar,
                extra: options.extra,
                magic: options.magic,
                actions,
                default_collection: Mutex::default(),
                private_role_vars_given: given,
                settings,
            }),
        }
    }

    /// Reads files the way this does.
    pub fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// Reads a playbook with all it imports.
    ///
    /// # Errors
    /// Something is wrong with it: where, and what.
    pub fn playbook(&self, path: &Path) -> Result<Playbook, Located> {
        let shown = path.to_string_lossy();
        let mut full = paths::unfrack(&shown, &self.inner.surroundings, None);
        // The playbook of a collection may be named by its full name.
        let named = (!Path::new(&full).exists())
            .then(|| playbooks::collection_playbook(&self.inner, &shown))
            .flatten();
        if let Some(named) = named {
            full = named;
        }
        *self.inner.default_collection.lock() = self.inner.actions.collections.holding(&full);
        Ok(Playbook {
            plays: playbooks::read(&self.inner, &full, &playbooks::Import::default())?,
            path: PathBuf::from(full),
            named: path.to_path_buf(),
        })
    }

    /// Looks for actions and roles without a collection's name in the collection that a directory lies in, too; its name, if
    /// there is one.
    pub fn begin_in(&self, directory: &Path) -> Option<String> {
        let directory =
            paths::unfrack(&directory.to_string_lossy(), &self.inner.surroundings, None);
        let found = self.inner.actions.collections.holding(&directory);
        self.inner.default_collection.lock().clone_from(&found);
        found
    }

    /// A play that stands in no file: that of a command for hosts. Paths in it are relative to `directory`.
    ///
    /// # Errors
    /// Something is wrong with it.
    pub fn play(&self, data: &Value, directory: &Path) -> Result<Play, Located> {
        let directory =
            paths::unfrack(&directory.to_string_lossy(), &self.inner.surroundings, None);
        self.inner.actions.add_directory(Path::new(&directory));
        self.inner.actions.collections.beside(Path::new(&directory));
        let origin = Arc::new(Origin {
            file: "".into(),
            line: 0,
            column: 0,
        });
        plays::play(
            &self.inner,
            &Node::of(data.clone(), &origin),
            PathBuf::new(),
            &directory,
            None,
            &playbooks::Import::default(),
        )
    }

    /// The keywords of a play, rendered with what is known before it has hosts; `prompted` are the answers to
    /// `vars_prompt`.
    ///
    /// # Errors
    /// A template among them fails, or one is not what it must be.
    pub fn keywords(&self, play: &Play, prompted: &Dict) -> Result<PlayKeywords, Located> {
        PlayKeywords::of(play, prompted)
    }

    /// Whether a text in a value is a template.
    pub(crate) fn holds_template(&self, value: &Value) -> bool {
        match value {
            Value::Str(text) => {
                text.is_template() && self.inner.templar.environment().may_be_template(text)
            }
            Value::List(items) => items.read().iter().any(|item| self.holds_template(item)),
            _ => false,
        }
    }

    /// Finds what is wrong with what a play of this name begins with: its files of variables, as far as their names are
    /// known without a host, and the specification its variables are checked by.
    ///
    /// # Errors
    /// Something is.
    pub fn check(&self, play: &Play, name: &str) -> Result<(), Located> {
        play.draft.check_files()?;
        keywords::check_argument_spec(play, name)
    }

    /// What the name of an action stands for, for names that are known only when they are rendered. None if there is no
    /// such action.
    ///
    /// # Errors
    /// It was removed.
    pub fn resolve_action(
        &self,
        name: &str,
        collections: &[String],
    ) -> Result<Option<Resolved>, Located> {
        self.inner.actions.resolve(name, collections)
    }

    /// The file of a module of a directory `library` (or of `ANSIBLE_LIBRARY`), which stands before one of this name that
    /// is built in.
    ///
    /// # Errors
    /// A module of the name was removed.
    pub fn own_module(&self, leaf: &str) -> Result<Option<PathBuf>, Located> {
        self.inner.actions.own_module(leaf)
    }

    /// The full name and members of a group of actions (`group/NAME` of `module_defaults`).
    pub fn action_group(&self, name: &str) -> Option<Vec<String>> {
        self.inner.actions.group(name, &mut Vec::new())
    }

    /// The directory of an installed collection.
    pub fn collection(&self, name: &str) -> Option<PathBuf> {
        self.inner
            .actions
            .collections
            .get(name)
            .map(|collection| collection.path.clone())
    }

    /// The file that `include_tasks` names, rendered; it may not exist.
    pub fn include_file(&self, play: &Play, task: &Task, name: &str) -> PathBuf {
        PathBuf::from(files::included(
            &play.draft,
            &task.parent,
            task.handler,
            name,
        ))
    }

    /// The tasks of a file that `include_tasks` includes: [`PlaybookLoader::include_file`] says where it is. `name` is
    /// what the task calls it, rendered; `variables` are those of the task with those of its loop, for what stands in the
    /// file. What is included by a handler are handlers.
    ///
    /// # Errors
    /// It cannot be read, or something is wrong with it.
    pub fn load_tasks(
        &self,
        play: &Play,
        task: &Arc<Task>,
        file: &Path,
        name: &str,
        variables: Dict,
    ) -> Result<Vec<Item>, Located> {
        let data = self.inner.reader.file(file)?;
        let Some(data) = data.filter(|data| !data.is_none()) else {
            return Ok(Vec::new());
        };
        if data.sequence().is_none() {
            return Err(
                Located::parser("included task files must contain a list of tasks")
                    .at(data.origin()),
            );
        }
        let scope = include_scope(&play.draft, task, name, false, variables)?;
        Tasks {
            draft: &play.draft,
            handlers: task.handler,
        }
        .list(&data, &scope, &|cause| Located::new(cause))
    }

    /// A role that `include_role` includes, with its tasks and handlers. `variables` are those of the task with those of
    /// its loop.
    ///
    /// # Errors
    /// There is no such role, or something is wrong with it.
    pub fn load_role(
        &self,
        play: &Play,
        task: &Arc<Task>,
        usage: &RoleUse,
        variables: Dict,
    ) -> Result<LoadedRole, Located> {
        let usage = RoleUse {
            from_include: true,
            fixed: false,
            ..usage.clone()
        };
        let own = variables.clone();
        let scope = include_scope(&play.draft, task, "", true, variables)?;
        let loaded = roles::bring(&play.draft, &usage, Some(&own), &task.parent, &scope);
        let loaded = loaded.map_err(|error| {
            if error.has_place() {
                error
            } else {
                error.at_maybe(usage.name.origin())
            }
        });
        match loaded {
            Err(error) if !usage.rescuable => {
                Err(Located::parser("Could not include role.").because(error))
            }
            loaded => loaded,
        }
    }

    /// The roles that were brought to a play so far, with those that were included since it began.
    pub fn roles(&self, play: &Play) -> Vec<Arc<super::Role>> {
        play.draft.roles.lock().clone()
    }

    /// The handlers of roles that were imported by what was included since this was last asked.
    pub fn brought_handlers(&self, play: &Play) -> Vec<Item> {
        std::mem::take(&mut *play.draft.handlers.lock())
    }
}

fn include_scope(
    draft: &Arc<Draft>,
    task: &Arc<Task>,
    name: &str,
    role: bool,
    variables: Dict,
) -> Result<Arc<Scope>, Located> {
    let mut directives = Directives::default();
    if let Some(apply @ Value::Dict(_)) = task.action.arguments.get("apply") {
        let node = Node::of(apply, &task.origin);
        Tasks {
            draft,
            handlers: task.handler,
        }
        .directives(
            &node,
            Bearer::Block,
            &["block", "rescue", "always"],
            None,
            &mut directives,
        )?;
    }
    Ok(Arc::new(Scope {
        kind: ScopeKind::Include(Brought {
            task: Arc::clone(task),
            file: name.into(),
            role,
            variables,
        }),
        directives,
        parent: Some(Arc::clone(&task.parent)),
    }))
}
