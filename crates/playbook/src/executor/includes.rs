//! Tasks and roles that are included while a play runs.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value, repr};
use indexmap::{IndexMap, IndexSet};

use super::iterator::Section;
use super::keyword::boolean;
use super::plan::Plan;
use super::play::PlayRun;
use super::result::Outcome;
use super::tags::Chooser;
use super::work::{Done, task_result};
use crate::explain;
use crate::language::{Directive, Item, RoleUse, Task};
use crate::output::Event;
use crate::source::Located;
use crate::variables::TaskVariables;

/// Something that some hosts include: the same file with the same variables, by the same task.
struct Included {
    plan: Arc<Plan>,
    /// The file, or the name of the role, as it is shown.
    path: String,
    arguments: Dict,
    special: Dict,
    label: Option<Value>,
    hosts: Vec<Arc<str>>,
    /// The results it comes of, by their place among those of the step.
    results: Vec<usize>,
}

impl PlayRun {
    /// Carries out the includes among some results: their tasks come next on the hosts that included them.
    pub(super) fn include(&mut self, done: &mut [Done]) -> Result<(), Located> {
        let all = self.included(done);
        if all.is_empty() {
            return Ok(());
        }
        let mut next: IndexMap<Arc<str>, Vec<Arc<Section>>> = IndexMap::new();
        let mut order: Vec<Arc<Task>> = Vec::new();
        let mut failed: IndexSet<Arc<str>> = IndexSet::new();
        for included in all {
            match self.load(&included) {
                Ok((sections, handlers)) => {
                    for host in &included.hosts {
                        self.run.count(host, |counts| counts.ok += 1);
                    }
                    let label = included
                        .label
                        .as_ref()
                        .and_then(|label| label.text().ok())
                        .map(|label| label.to_string())
                        .filter(|label| !label.is_empty());
                    self.run.tell.event(&Event::Included {
                        task: &included.plan.task,
                        path: &included.path,
                        hosts: &included.hosts,
                        item: label.as_deref(),
                    });
                    for section in &sections {
                        section.flatten(&mut order);
                    }
                    if handlers {
                        let mut tasks = Vec::new();
                        for section in &sections {
                            section.flatten(&mut tasks);
                        }
                        for task in &tasks {
                            for host in &included.hosts {
                                self.iteration.notify(task, host);
                            }
                        }
                    }
                    for host in &included.hosts {
                        next.entry(Arc::clone(host))
                            .or_default()
                            .extend(sections.iter().cloned());
                    }
                }
                Err(error) if error.exit() == 4 => return Err(error),
                Err(error) => {
                    for at in &included.results {
                        if let Some(result) = done.get_mut(*at) {
                            self.refuse_include(result, &error);
                            failed.insert(Arc::clone(&result.host));
                        }
                    }
                }
            }
        }
        for host in &failed {
            self.note_failed(host);
            self.fail(host);
        }
        for (host, sections) in next {
            self.iteration.insert(&host, &sections);
        }
        self.iteration.insert_order(order);
        Ok(())
    }

    fn refuse_include(&mut self, done: &mut Done, error: &Located) {
        let mut refused = Outcome::of_failure(error.clone().into());
        refused.msg = Some(Value::from(error.brief()));
        done.outcome.set_failed(true);
        done.outcome.ignore_errors = false;
        done.outcome.error.clone_from(&refused.error);
        if self.run.options.helps && !done.outcome.no_log {
            done.outcome.helps = explain::of_error(error);
        }
        done.outcome.msg.clone_from(&refused.msg);
        self.run.count(&done.host, |counts| counts.failures += 1);
        let result = task_result(
            &done.plan.task,
            &done.host,
            &done.name,
            &done.outcome,
            &done.shown,
            done.elapsed,
        );
        self.run.tell.event(&Event::Result(&result));
    }

    /// What is included by which hosts.
    fn included(&self, done: &[Done]) -> Vec<Included> {
        let mut all: Vec<Included> = Vec::new();
        for (at, result) in done.iter().enumerate() {
            if !result.plan.task.action.includes() {
                continue;
            }
            let each: &[Outcome] = match &result.outcome.items {
                Some(items) => items,
                None => std::slice::from_ref(&result.outcome),
            };
            for one in each {
                if one.skipped() || one.failed() {
                    continue;
                }
                let Some(arguments) = &one.include else {
                    continue;
                };
                self.add_include(&mut all, at, result, one, arguments);
            }
        }
        all
    }

    fn add_include(
        &self,
        all: &mut Vec<Included>,
        at: usize,
        result: &Done,
        one: &Outcome,
        arguments: &Dict,
    ) {
        let plan = &result.plan;
        let special = special_variables(one);
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(|value| value.text().ok())
                .map(|text| text.to_string())
        };
        let path = if plan.includes_role() {
            text("name").or_else(|| text("role")).unwrap_or_default()
        } else {
            let name = text("_raw_params")
                .or_else(|| text("file"))
                .unwrap_or_default();
            self.run
                .loader
                .include_file(&self.play, &plan.task, &name)
                .to_string_lossy()
                .into_owned()
        };
        let same = |known: &Included| {
            known.plan.task.id == plan.task.id
                && known.path == path
                && Value::Dict(known.arguments.clone()).equals(&Value::Dict(arguments.clone()))
                && Value::Dict(known.special.clone()).equals(&Value::Dict(special.clone()))
                && !known.hosts.contains(&result.host)
        };
        if let Some(known) = all.iter_mut().find(|known| same(known)) {
            known.hosts.push(Arc::clone(&result.host));
            known.results.push(at);
            return;
        }
        all.push(Included {
            plan: Arc::clone(plan),
            path,
            arguments: arguments.clone(),
            label: one.item.as_ref().map(|item| item.label.clone()),
            special,
            hosts: vec![Arc::clone(&result.host)],
            results: vec![at],
        });
    }

    fn add_handlers(&mut self, items: &[Item]) {
        if !items.is_empty() {
            let mut handlers = self.iteration.handlers.to_vec();
            handlers.extend(tasks_of(items));
            self.iteration.handlers = Arc::new(handlers);
        }
    }

    /// The sections of an include, and whether they are handlers.
    fn load(&mut self, included: &Included) -> Result<(Vec<Arc<Section>>, bool), Located> {
        let task = &included.plan.task;
        let variables = given(&included.plan, &included.special);
        let handlers = task.handler && !included.plan.includes_role();
        let loader = self.run.loader.clone();
        let items: Vec<Item> = if included.plan.includes_role() {
            let role = loader.load_role(
                &self.play,
                task,
                &role_use(&included.path, &included.arguments)?,
                variables.clone(),
            )?;
            for known in loader.roles(&self.play) {
                self.variables.add_role(known);
            }
            self.add_handlers(&role.handlers);
            role.tasks
        } else {
            let name = included
                .arguments
                .get("_raw_params")
                .or_else(|| included.arguments.get("file"))
                .and_then(|name| name.text().ok())
                .unwrap_or_else(|| Str::new(""));
            loader.load_tasks(
                &self.play,
                task,
                std::path::Path::new(&included.path),
                &name,
                variables.clone(),
            )?
        };
        // Roles that are imported by what was included bring their handlers too.
        let brought = loader.brought_handlers(&self.play);
        self.add_handlers(&brought);
        if handlers {
            let tasks = tasks_of(&items)
                .into_iter()
                .map(super::iterator::Step::Task);
            return Ok((
                vec![Arc::new(Section {
                    tasks: tasks.collect(),
                    ..Section::default()
                })],
                true,
            ));
        }
        let seen = TaskVariables::of_task(&self.variables, task);
        seen.set_locals(&variables);
        let sections = Chooser {
            run: &self.run,
            variables: &seen,
        }
        .sections(&items)?;
        Ok((sections, false))
    }
}

/// How `include_role` uses a role.
fn role_use(name: &str, arguments: &Dict) -> Result<RoleUse, Located> {
    let mut role = RoleUse::new(name);
    // What is wrong with the role is told where its name was written.
    if let Some(Value::Str(written)) = arguments.get("name").or_else(|| arguments.get("role"))
        && &*written == name
    {
        role.name = written;
    }
    role.from_include = true;
    role.fixed = false;
    let flag = |name: &str, default: bool| match arguments.get(name) {
        None | Some(Value::None) => Ok(default),
        Some(value) => boolean(&value).ok_or_else(|| {
            Located::new(format!(
                "The value {} could not be converted to 'bool'.",
                repr::repr(&value)
            ))
        }),
    };
    role.allow_duplicates = flag("allow_duplicates", true)?;
    role.validate = flag("rolespec_validate", true)?;
    role.rescuable = flag("rescuable", true)?;
    role.public = match arguments.get("public") {
        None | Some(Value::None) => None,
        Some(_) => Some(flag("public", false)?),
    };
    for part in ["tasks", "vars", "defaults", "handlers"] {
        if let Some(Value::Str(file)) = arguments.get(&format!("{part}_from")) {
            role.from.insert(part.to_owned(), file.to_string());
        }
    }
    Ok(role)
}

/// The tasks among some items, those of blocks too.
pub(super) fn tasks_of(items: &[Item]) -> Vec<Arc<Task>> {
    let mut tasks = Vec::new();
    for item in items {
        match item {
            Item::Task(task) => tasks.push(Arc::clone(task)),
            Item::Block(block) => tasks.extend(tasks_of(&block.tasks)),
        }
    }
    tasks
}

/// What an include gives to what it includes: its variables, and those of its loop.
fn given(plan: &Plan, special: &Dict) -> Dict {
    let mut entries: IndexMap<Key, Value> = match plan.task.directives.get(Directive::Vars) {
        Some(Value::Dict(own)) => own.read().clone(),
        _ => IndexMap::new(),
    };
    entries.extend(
        special
            .read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Dict::new(entries)
}

fn special_variables(one: &Outcome) -> Dict {
    let Some(item) = &one.item else {
        return Dict::default();
    };
    let mut entries: Vec<(String, Value)> = vec![
        (item.variable.to_string(), item.value.clone()),
        ("ansible_loop_var".to_owned(), Value::from(&*item.variable)),
    ];
    if let Some(variable) = &item.index_variable {
        entries.push((variable.to_string(), Value::Int(item.index)));
        entries.push(("ansible_index_var".to_owned(), Value::from(&**variable)));
    }
    if let Some(extended) = &item.extended {
        entries.push(("ansible_loop".to_owned(), Value::Dict(extended.clone())));
    }
    entries.into_iter().collect()
}
