//! The chain of layers a name is looked up through.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use consort_jinja::{Dict, Key, Value, Variables};
use indexmap::IndexSet;
use parking_lot::{Mutex, RwLock};

use super::facts;
use super::magic;
use super::old::Old;
use super::play::PlayVariables;
use super::store::{HostLayers, HostStore, Store};
use super::task::TaskLayers;
use crate::inventory::merged;
use crate::language::Task;
use crate::source::Located;

/// The variables of a task on a host: what a template sees. Clones are the same variables.
///
/// Any of play, host and task may be missing: then their layers are.
#[derive(Clone)]
pub struct TaskVariables(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    play: Option<Arc<PlayVariables>>,
    host: Option<(Arc<HostLayers>, Arc<HostStore>)>,
    task: Option<Arc<TaskLayers>>,
    /// What only this task knows: the item of a loop, what `register` keeps while it is repeated.
    local: RwLock<Vec<(Arc<str>, Value)>>,
    /// What is given where no layer knows the name.
    fallback: RwLock<Option<Arc<dyn Variables + Send + Sync>>>,
    /// `hostvars` is not seen by the variables of another host.
    hides_hostvars: bool,
    files: OnceLock<Result<Vec<Dict>, Located>>,
    /// The files of variables are being looked for: their names are rendered without them.
    in_files: Mutex<bool>,
}

impl TaskVariables {
    /// Of a run: extra variables and what the options say.
    pub fn of_run(store: &Arc<Store>) -> Self {
        Self::new(store, None, None, None, false)
    }

    /// Of a play, without a host.
    pub fn of_play(play: &Arc<PlayVariables>) -> Self {
        Self::new(&play.store, Some(play), None, None, false)
    }

    /// Of a task without a host.
    pub fn of_task(play: &Arc<PlayVariables>, task: &Task) -> Self {
        Self::new(
            &play.store,
            Some(play),
            None,
            Some(play.layers(task)),
            false,
        )
    }

    /// Of a task on a host.
    pub fn of(play: &Arc<PlayVariables>, host: &str, task: &Task) -> Self {
        Self::new(
            &play.store,
            Some(play),
            Some(host),
            Some(play.layers(task)),
            false,
        )
    }

    /// Of a host alone: what `hostvars` shows of it.
    pub(super) fn of_host(
        store: &Arc<Store>,
        host: &str,
        directory: Option<&std::path::Path>,
    ) -> Self {
        let layers = store.layers(host, directory);
        TaskVariables(Arc::new(Inner {
            host: Some((layers, store.host(host))),
            hides_hostvars: true,
            ..Inner::empty(store)
        }))
    }

    fn new(
        store: &Arc<Store>,
        play: Option<&Arc<PlayVariables>>,
        host: Option<&str>,
        task: Option<Arc<TaskLayers>>,
        hides_hostvars: bool,
    ) -> Self {
        let directory = play.map(|play| play.directory.as_path());
        TaskVariables(Arc::new(Inner {
            play: play.cloned(),
            host: host.map(|host| (store.layers(host, directory), store.host(host))),
            task,
            hides_hostvars,
            ..Inner::empty(store)
        }))
    }

    /// The same variables with other local ones: those of this, as they are now.
    #[must_use]
    pub fn fork(&self) -> Self {
        let inner = &self.0;
        TaskVariables(Arc::new(Inner {
            play: inner.play.clone(),
            host: inner.host.clone(),
            task: inner.task.clone(),
            local: RwLock::new(inner.local.read().clone()),
            fallback: RwLock::new(inner.fallback.read().clone()),
            hides_hostvars: inner.hides_hostvars,
            files: inner.files.clone(),
            ..Inner::empty(&inner.store)
        }))
    }

    /// Sets a variable that only this task knows.
    pub fn set_local(&self, name: &str, value: Value) {
        let mut local = self.0.local.write();
        match local.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value,
            None => local.push((Arc::from(name), value)),
        }
    }

    /// Sets variables that only this task knows.
    pub fn set_locals(&self, variables: &Dict) {
        for (key, value) in variables.read().iter() {
            if let Some(name) = key.as_str() {
                self.set_local(name, value.clone());
            }
        }
    }

    /// Says what is given where no layer knows a name.
    pub fn set_fallback(&self, fallback: Arc<dyn Variables + Send + Sync>) {
        *self.0.fallback.write() = Some(fallback);
    }

    /// The variables of the play alone: `vars`, and what was asked of the user.
    pub fn of_play_variables(&self) -> Dict {
        self.0
            .play
            .as_ref()
            .map_or_else(Dict::default, |play| play.variables.clone())
    }

    /// The variables as a mapping of templates.
    pub fn as_value(&self) -> Value {
        Value::Object(Arc::new(super::hostvars::Chain::new(self.clone())))
    }

    /// The variables of the run.
    pub fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    /// The play.
    pub fn play(&self) -> Option<&Arc<PlayVariables>> {
        self.0.play.as_ref()
    }

    /// The host.
    pub fn host(&self) -> Option<&Arc<str>> {
        self.0.host.as_ref().map(|(layers, _)| &layers.name)
    }

    pub(crate) fn task(&self) -> Option<&Arc<TaskLayers>> {
        self.0.task.as_ref()
    }

    pub(super) fn has_task(&self) -> bool {
        self.0.task.is_some()
    }

    pub(super) fn has_facts(&self) -> bool {
        self.0
            .host
            .as_ref()
            .is_some_and(|(_, host)| host.facts.read().given.get("module_setup").is_some())
    }

    pub(super) fn hides_hostvars(&self) -> bool {
        self.0.hides_hostvars
    }

    /// What went wrong with the files of variables, if something did.
    pub fn files_error(&self) -> Option<&Located> {
        self.files();
        match self.0.files.get() {
            Some(Err(error)) => Some(error),
            _ => None,
        }
    }

    fn files(&self) -> &[Dict] {
        let Some(play) = &self.0.play else {
            return &[];
        };
        if play.files.is_empty() {
            return &[];
        }
        if let Some(found) = self.0.files.get() {
            return found.as_deref().unwrap_or_default();
        }
        {
            let mut within = self.0.in_files.lock();
            if *within {
                return &[];
            }
            *within = true;
        }
        let found = play.of_files(self);
        *self.0.in_files.lock() = false;
        self.0
            .files
            .get_or_init(|| found)
            .as_deref()
            .unwrap_or_default()
    }

    /// Visits the values a name has, highest layer first, until it is told to stop.
    fn walk(&self, name: &str, visit: &mut dyn FnMut(Value) -> ControlFlow<()>) -> ControlFlow<()> {
        let inner = &*self.0;
        let dicts = |dicts: &[Dict], visit: &mut dyn FnMut(Value) -> ControlFlow<()>| {
            for dict in dicts.iter().rev() {
                if let Some(value) = dict.get(name) {
                    visit(value)?;
                }
            }
            ControlFlow::Continue(())
        };
        dicts(std::slice::from_ref(&inner.store.extra), visit)?;
        if let Some(task) = &inner.task {
            dicts(&task.include_parameters, visit)?;
            dicts(&task.parameters, visit)?;
        }
        if let Some((_, host)) = &inner.host {
            dicts(std::slice::from_ref(&host.set), visit)?;
            dicts(std::slice::from_ref(&host.included), visit)?;
        }
        if let Some(task) = &inner.task {
            dicts(&task.own, visit)?;
            dicts(&task.role_variables, visit)?;
        }
        if let Some(play) = &inner.play {
            dicts(&play.role_variables(), visit)?;
            dicts(self.files(), visit)?;
            dicts(std::slice::from_ref(&play.variables), visit)?;
        }
        if let Some((layers, host)) = &inner.host {
            if let Some(value) = self.fact(host, name) {
                visit(value)?;
            }
            dicts(std::slice::from_ref(&layers.magic), visit)?;
            dicts(&layers.dicts, visit)?;
        }
        if let Some(task) = &inner.task {
            dicts(&task.defaults, visit)?;
        }
        if let Some(play) = &inner.play {
            dicts(&play.role_defaults(), visit)?;
        }
        ControlFlow::Continue(())
    }

    fn fact(&self, host: &HostStore, name: &str) -> Option<Value> {
        let facts = host.facts.read();
        match name {
            "ansible_facts" => return Some(Value::Dict(facts.shown.clone())),
            "ansible_local" if !self.0.store.inject_facts => {
                return Some(
                    facts
                        .given
                        .get(name)
                        .unwrap_or_else(|| Value::Dict(facts::empty())),
                );
            }
            _ => {}
        }
        if !self.0.store.inject_facts {
            return None;
        }
        let value = facts.given.get(name)?;
        if !facts::may_be_variable(name) {
            return None;
        }
        if self.0.store.inject_by_default && name != "ansible_local" {
            Old::InjectedFact.used(&self.0.store.templar);
        }
        Some(value)
    }

    /// The value of a name in its layers, without what is local or magic.
    fn layered(&self, name: &str) -> Option<Value> {
        let mut found: Option<Value> = None;
        let merge = self.0.store.merge;
        let _ = self.walk(name, &mut |value| {
            match (&found, value) {
                (Some(Value::Dict(high)), Value::Dict(low)) if merge => {
                    found = Some(Value::Dict(merged(&low, high)));
                }
                (None, value) => found = Some(value),
                (Some(_), _) => return ControlFlow::Break(()),
            }
            if merge && matches!(found, Some(Value::Dict(_))) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        found
    }

    /// Whether a name is known at all, without what is given as a last resort.
    pub fn contains(&self, name: &str) -> bool {
        self.known(name).is_some()
    }

    pub(crate) fn known(&self, name: &str) -> Option<Value> {
        let inner = &*self.0;
        if name == crate::template::TASK_ACTION {
            let task = inner.task.as_ref()?;
            return Some(Value::from(&*task.action));
        }
        if let Some((_, value)) = inner
            .local
            .read()
            .iter()
            .find(|(known, _)| **known == *name)
        {
            return Some(value.clone());
        }
        magic::value(self, name).or_else(|| self.layered(name))
    }
}

impl Inner {
    fn empty(store: &Arc<Store>) -> Self {
        Inner {
            store: Arc::clone(store),
            play: None,
            host: None,
            task: None,
            local: RwLock::default(),
            fallback: RwLock::default(),
            hides_hostvars: false,
            files: OnceLock::new(),
            in_files: Mutex::new(false),
        }
    }
}

impl Variables for TaskVariables {
    fn get(&self, name: &str) -> Option<Value> {
        self.known(name).or_else(|| {
            let fallback = self.0.fallback.read().clone();
            fallback?.get(name)
        })
    }

    fn names(&self) -> Vec<Arc<str>> {
        let inner = &*self.0;
        let mut names: IndexSet<Arc<str>> = IndexSet::new();
        let mut add = |dict: &Dict| {
            for key in dict.read().keys().filter_map(Key::as_str) {
                if !names.contains(key) {
                    names.insert(Arc::from(key));
                }
            }
        };
        if let Some(play) = &inner.play {
            play.role_defaults().iter().for_each(&mut add);
        }
        if let Some(task) = &inner.task {
            task.defaults.iter().for_each(&mut add);
        }
        if let Some((layers, host)) = &inner.host {
            layers.dicts.iter().for_each(&mut add);
            add(&layers.magic);
            let facts = host.facts.read();
            add(&[("ansible_facts", true)].into_iter().collect());
            if inner.store.inject_facts {
                for key in facts.given.read().keys().filter_map(Key::as_str) {
                    if facts::may_be_variable(key) {
                        add(&[(key, true)].into_iter().collect());
                    }
                }
            } else {
                add(&[("ansible_local", true)].into_iter().collect());
            }
        }
        if let Some(play) = &inner.play {
            add(&play.variables);
            self.files().iter().for_each(&mut add);
            play.role_variables().iter().for_each(&mut add);
        }
        if let Some(task) = &inner.task {
            task.role_variables.iter().for_each(&mut add);
            task.own.iter().for_each(&mut add);
        }
        if let Some((_, host)) = &inner.host {
            add(&host.included);
            add(&host.set);
        }
        if let Some(task) = &inner.task {
            task.parameters.iter().for_each(&mut add);
            task.include_parameters.iter().for_each(&mut add);
        }
        add(&inner.store.extra);
        for name in magic::NAMES {
            // To list a name is not to use what will go away.
            let there = match *name {
                "vars" => inner.play.is_some() || inner.task.is_some(),
                "play_hosts" => magic::value(self, "ansible_play_batch").is_some(),
                name => magic::value(self, name).is_some(),
            };
            if there && !names.contains(*name) {
                names.insert(Arc::from(*name));
            }
        }
        for key in inner.store.options.read().keys().filter_map(Key::as_str) {
            if !names.contains(key) {
                names.insert(Arc::from(key));
            }
        }
        for (name, _) in inner.local.read().iter() {
            // `_task` is no variable that could be kept.
            if &**name != "_task" {
                names.insert(Arc::clone(name));
            }
        }
        names.into_iter().collect()
    }
}
