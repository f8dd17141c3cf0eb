//! Playbooks from the first play to the recap.

mod said;
mod strategy;
mod unwritten;

use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};
use indexmap::IndexSet;

use super::includes::tasks_of;
use super::iterator::Iteration;
use super::keyword::listed;
use super::linear::Ended;
use super::modules::Modules;
use super::play::{Beginning, Gathering, PlayRun, first_flush, full_name};
use super::run::{Options, Run, Tell};
use super::tags::Chooser;
use crate::connection::Connections;
use crate::inventory::{Inventory, Limits, Order, glob};
use crate::language::{Directive, Play, Playbook, PlaybookLoader};
use crate::output::{Callback, Event, Stats};
use crate::settings::{Settings, Sources};
use crate::source::{Located, Notices};
use crate::template::Templar;
use crate::variables::{
    FactCache, PlayOptions, PlayVariables, Roster, Store, StoreOptions, TaskVariables,
};

use said::{Said, batches};
use strategy::Strategy;
use unwritten::{setup, validation};

/// What a run is made of.
pub struct Parts {
    /// Settings.
    pub settings: Arc<Settings>,
    /// Where they came from: options of plugins have settings of their own.
    pub sources: Arc<Sources>,
    /// Hosts and groups, limited as `--limit` says.
    pub inventory: Inventory,
    /// `-e`.
    pub extra: Dict,
    /// What the options of the run are as variables: `ansible_version`, `ansible_check_mode`, ...
    pub option_variables: Dict,
    /// Where facts are kept.
    pub cache: Box<dyn FactCache>,
    /// Renders.
    pub templar: Templar,
    /// Gives connections.
    pub connections: Arc<dyn Connections>,
    /// Reads playbooks.
    pub loader: PlaybookLoader,
    /// Are told what happens, the first first.
    pub callbacks: Vec<Box<dyn Callback>>,
    /// What there is to tell beside results, by whoever works for the run.
    pub notices: Notices,
}

/// What is run.
pub enum What {
    /// Playbooks, by the names or paths they were given.
    Playbooks(Vec<String>),
    /// A single play that no file has (`ansible HOST -m MODULE`).
    Play(Arc<Play>),
}

/// Carries playbooks out. Gives the status the program ends with: 0, 2 where hosts failed, 4 where some were lost, 1 and others
/// for errors of the run as a whole.
///
/// # Errors
/// What is wrong with a playbook, or stopped the run. The recap was told as far as it came.
pub async fn run(what: What, options: Options, parts: Parts) -> Result<i32, Located> {
    let inject = parts.settings.inject_facts_as_vars;
    let inject_facts = if parts
        .sources
        .raw(
            &["ANSIBLE_INJECT_FACT_VARS"],
            &[("defaults", "inject_facts_as_vars")],
        )
        .is_some()
    {
        Some(inject)
    } else {
        None
    };
    let store = Store::new(StoreOptions {
        inventory: parts.inventory,
        cache: parts.cache,
        extra: parts.extra,
        options: with_program(parts.option_variables, &parts.sources),
        templar: parts.templar.clone(),
        inject_facts,
        merge: parts.settings.hash_behaviour == "merge",
        notices: Arc::clone(&parts.notices),
    });
    let tell = Tell::new(parts.callbacks);
    let run = Arc::new(Run {
        options,
        modules: Modules::new(&parts.settings, &parts.loader),
        settings: parts.settings,
        sources: parts.sources,
        store,
        templar: parts.templar,
        loader: parts.loader,
        notices: parts.notices,
        connections: parts.connections,
        tell,
        stats: parking_lot::Mutex::new(Stats::default()),
    });
    if run.options.flush_cache {
        let hosts: Vec<Arc<str>> = run
            .store
            .inventory(|inventory| inventory.hosts.keys().cloned().collect());
        // This machine is there also where no inventory names it.
        for host in hosts.into_iter().chain([Arc::from("localhost")]) {
            run.store.clear_facts(&host);
        }
    }
    let mut state = State {
        run,
        failed: IndexSet::new(),
        unreachable: IndexSet::new(),
        start_at_done: false,
    };
    match what {
        What::Playbooks(names) => state.playbooks(&names).await,
        What::Play(play) => state.only(&play).await,
    }
}

/// Adds what is known of the program itself.
fn with_program(options: Dict, sources: &Sources) -> Dict {
    let python = sources
        .surroundings()
        .variables
        .get("PATH")
        .map_or("/usr/local/bin:/usr/bin:/bin", String::as_str)
        .split(':')
        .map(|directory| std::path::Path::new(directory).join("python3"))
        .find(|path| path.exists())
        .unwrap_or_else(|| std::path::PathBuf::from("/usr/bin/python3"));
    let file = sources.file.as_ref().map_or(Value::None, |file| {
        Value::from(file.to_string_lossy().into_owned())
    });
    options.change(|entries| {
        for (name, value) in [
            (
                "ansible_playbook_python",
                Value::from(python.to_string_lossy().into_owned()),
            ),
            ("ansible_config_file", file),
        ] {
            entries.entry(Key::from(name)).or_insert(value);
        }
    });
    options
}

/// What callbacks are told of as the playbook of a play that stands in no file.
const UNWRITTEN: &str = "__adhoc_playbook__";

/// What is known from play to play.
struct State {
    run: Arc<Run>,
    failed: IndexSet<Arc<str>>,
    unreachable: IndexSet<Arc<str>>,
    start_at_done: bool,
}

impl State {
    async fn only(&mut self, play: &Arc<Play>) -> Result<i32, Located> {
        self.run.tell.event(&Event::Playbook(&Playbook {
            path: UNWRITTEN.into(),
            named: UNWRITTEN.into(),
            plays: vec![Arc::clone(play)],
        }));
        let (ended, _) = self.play(play).await?;
        self.run
            .tell
            .event(&Event::Stats(&self.run.stats.lock().clone()));
        Ok(i32::from(ended.unwrap_or(Ended::OK).0))
    }

    async fn playbooks(&mut self, names: &[String]) -> Result<i32, Located> {
        let mut ended = Ended::OK;
        for name in names {
            let playbook = self.run.loader.playbook(std::path::Path::new(name))?;
            self.run.tell.event(&Event::Playbook(&playbook));
            ended = self.playbook(&playbook).await?;
            if ended == Ended::QUIT {
                return Ok(i32::from(ended.0));
            }
            self.retry_file(&playbook);
            self.run
                .tell
                .event(&Event::Stats(&self.run.stats.lock().clone()));
            if ended != Ended::OK {
                break;
            }
        }
        if let Some(task) = &self.run.options.start_at_task
            && !self.start_at_done
        {
            self.run.tell.event(&Event::Error(&format!(
                "No matching task \"{task}\" found. Note: --start-at-task can only follow static includes."
            )));
        }
        Ok(i32::from(ended.0))
    }

    async fn playbook(&mut self, playbook: &Playbook) -> Result<Ended, Located> {
        let mut ended = Ended::OK;
        for play in &playbook.plays {
            let (this, breaks) = self.play(play).await?;
            ended = this.unwrap_or(ended);
            if breaks {
                break;
            }
        }
        Ok(ended)
    }

    fn retry_file(&self, playbook: &Playbook) {
        let settings = &self.run.settings;
        if !settings.retry_files_enabled {
            return;
        }
        let mut hosts: Vec<&str> = self
            .failed
            .iter()
            .chain(&self.unreachable)
            .map(|host| &**host)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        if hosts.is_empty() {
            return;
        }
        let stem = playbook.path.file_stem().unwrap_or_default();
        let directory = settings.retry_files_save_path.as_ref().map_or_else(
            || {
                playbook
                    .path
                    .parent()
                    .unwrap_or(std::path::Path::new("."))
                    .to_owned()
            },
            std::path::PathBuf::from,
        );
        let path = directory.join(stem).with_extension("retry");
        let text: String = hosts.iter().map(|host| format!("{host}\n")).collect();
        match std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => self.run.tell.detail(
                0,
                None,
                &format!("\tto retry, use: --limit @{}\n", path.display()),
            ),
            Err(error) => self.run.tell.warn(&format!(
                "Could not create retry file '{}'. {error}",
                path.display()
            )),
        }
    }

    /// Carries a play out. Tells how it ended (nothing if it has no hosts), and whether those after it are not begun.
    async fn play(&mut self, play: &Arc<Play>) -> Result<(Option<Ended>, bool), Located> {
        let run = Arc::clone(&self.run);
        let mut own = match play.scope.directives.get(Directive::Vars) {
            Some(Value::Dict(own)) => own.read().clone(),
            _ => indexmap::IndexMap::new(),
        };
        let make = |name: &str, own: &indexmap::IndexMap<Key, Value>| {
            let (loader, directory) = (run.loader.clone(), play.directory.clone());
            let beside = play.playbook.parent().map(std::path::Path::to_owned);
            PlayVariables::new(PlayOptions {
                store: Arc::clone(&run.store),
                name: Arc::from(name),
                variables: Dict::new(own.clone()),
                files: play.vars_files.clone(),
                directory: play.directory.clone(),
                read: Arc::new(move |path| {
                    variables_file(&loader, beside.as_deref(), &directory, path)
                }),
                roles: run.loader.roles(play),
            })
        };
        let first = make("", &own);
        self.ask(play, &first, &mut own).await?;
        let first = make("", &own);
        let seen = TaskVariables::of_play(&first);
        let said = Said::of(&run, play, &seen)?;
        let variables = make(&said.name, &own);
        let hosts = self.hosts(&said)?;
        let batches = batches(&hosts, &said.serial)?;
        if batches.is_empty() {
            self.tell_play(play, &said, &[], &[]);
            run.tell.event(&Event::NoHostsMatched);
            return Ok((None, false));
        }
        let mut failed_before = self.failed.len();
        let mut lost_before = self.unreachable.len();
        let mut ended = Ended::OK;
        for batch in batches {
            let count = batch.len();
            let (this, ends_play) = self
                .batch(play, &said, &variables, hosts.clone(), batch)
                .await?;
            ended = this;
            if ends_play {
                return Ok((Some(ended), false));
            }
            let mut breaks = ended == Ended::QUIT;
            if !breaks && ended.has(Ended::BREAK) {
                ended = Ended::FAILED;
                breaks = true;
            }
            let lost = (self.failed.len() + self.unreachable.len())
                .saturating_sub(failed_before + lost_before);
            if count == lost {
                return Ok((Some(ended), true));
            }
            if breaks {
                return Ok((Some(ended), true));
            }
            failed_before = self.failed.len();
            lost_before = self.unreachable.len();
        }
        Ok((Some(ended), false))
    }

    fn tell_play(&self, play: &Arc<Play>, said: &Said, hosts: &[Arc<str>], all: &[Arc<str>]) {
        self.run.tell.event(&Event::Play {
            play,
            name: &said.name,
            check: said.check,
            free: said.strategy.ends_with("free") || said.strategy.ends_with("host_pinned"),
            hosts,
            all,
        });
    }

    fn hosts(&self, said: &Said) -> Result<Vec<Arc<str>>, Located> {
        let mut hosts = self.run.store.inventory(|inventory| {
            inventory.matching_all(&said.patterns, Limits::Respected, &self.run.notices)
        })?;
        if let Some(order) = &said.order {
            Order::parse(order)?.apply(&mut hosts);
        }
        Ok(hosts)
    }

    /// Asks the user what `vars_prompt` says.
    async fn ask(
        &self,
        play: &Arc<Play>,
        variables: &Arc<PlayVariables>,
        own: &mut indexmap::IndexMap<Key, Value>,
    ) -> Result<(), Located> {
        let seen = TaskVariables::of_play(variables);
        for written in &play.vars_prompt {
            let Value::Dict(prompt) = self
                .run
                .templar
                .render(written, &seen)
                .map_err(|error| Located::from(&error))?
            else {
                continue;
            };
            let Some(name) = prompt
                .get("name")
                .and_then(|name| name.text().ok())
                .map(|name| name.to_string())
            else {
                continue;
            };
            if variables.is_extra(&name) {
                continue;
            }
            self.run.tell.event(&Event::Prompt {
                name: &name,
                prompt: &prompt,
            });
            let answer = super::prompt::ask(&self.run, &name, &prompt).await?;
            own.insert(Key::from(name.as_str()), answer);
        }
        Ok(())
    }

    async fn batch(
        &mut self,
        play: &Arc<Play>,
        said: &Said,
        variables: &Arc<PlayVariables>,
        all: Vec<Arc<str>>,
        batch: Vec<Arc<str>>,
    ) -> Result<(Ended, bool), Located> {
        let run = Arc::clone(&self.run);
        self.tell_play(play, said, &batch, &all);
        variables.change_roster(|roster| {
            *roster = Roster {
                all,
                batch: batch.clone(),
                removed: self
                    .failed
                    .iter()
                    .chain(&self.unreachable)
                    .cloned()
                    .collect(),
                unreachable: self.unreachable.iter().cloned().collect(),
                ..Roster::default()
            };
        });
        let seen = TaskVariables::of_play(variables);
        let chooser = Chooser {
            run: &run,
            variables: &seen,
        };
        let setup = setup(play, said);
        let setup = if chooser.runs(&setup)? {
            Some(setup)
        } else {
            None
        };
        let items = play.compile(said.force_handlers);
        let early_flush = first_flush(&items);
        let sections = chooser.sections(&items)?;
        let gathering = Gathering {
            is_there: setup.is_some(),
            policy: run.settings.gathering.clone(),
            asked: said.gather_facts,
            variables: Arc::clone(variables),
        };
        let validation = match &said.argument_spec {
            Some(specification) => {
                let task = validation(play, specification);
                chooser.runs(&task)?.then_some(task)
            }
            None => None,
        };
        let iteration = Iteration::new(
            sections,
            setup,
            validation,
            tasks_of(&play.handlers),
            &batch,
        );
        let mut this = PlayRun::new(Beginning {
            run: Arc::clone(&run),
            play: Arc::clone(play),
            variables: Arc::clone(variables),
            iteration,
            hosts: batch,
            unreachable: self.unreachable.clone(),
            gathering,
            max_fail_percentage: said.max_fail_percentage,
            debugs: run.settings.enable_task_debugger
                || said.strategy.rsplit('.').next() == Some("debug"),
            early_flush,
        });
        this.notify_again();
        if let Some(wanted) = run.options.start_at_task.as_deref()
            && !self.start_at_done
        {
            let pattern = fancy_regex::Regex::new(&format!("^(?s:{})$", glob(wanted)));
            let templar = &run.templar;
            self.start_at_done = this.start_at(&|task| {
                let name = task
                    .name()
                    .and_then(|name| {
                        templar
                            .render(name, &seen)
                            .ok()
                            .or_else(|| Some(name.clone()))
                    })
                    .and_then(|name| name.text().ok())
                    .map(|name| name.to_string());
                let full = full_name(task, name.as_deref(), true);
                [name.unwrap_or_default(), full].iter().any(|name| {
                    let fits =
                        |pattern: &fancy_regex::Regex| pattern.is_match(name).unwrap_or(false);
                    !name.is_empty() && (name == wanted || pattern.as_ref().is_ok_and(fits))
                })
            });
        }
        for host in &self.failed {
            this.fail(host);
        }
        self.failed.clear();
        let ended = match strategy::of(&run, play, &said.strategy)? {
            Strategy::Linear => this.linear().await,
            Strategy::Free { pinned } => this.free(pinned).await,
        };
        self.failed.clone_from(&this.failed);
        self.unreachable.clone_from(&this.unreachable);
        self.failed.extend(this.iteration.failed_hosts());
        Ok((ended?, this.iteration.end_play))
    }
}

/// The variables of a file of `vars_files`; none if there is no such file.
fn variables_file(
    loader: &PlaybookLoader,
    beside: Option<&std::path::Path>,
    directory: &std::path::Path,
    name: &std::path::Path,
) -> Result<Option<Vec<Dict>>, Located> {
    let mut candidates = Vec::new();
    if name.is_absolute() || name.starts_with("~") {
        candidates.push(std::path::PathBuf::from(crate::paths::unfrack(
            &name.to_string_lossy(),
            &crate::paths::Surroundings::of_process(),
            None,
        )));
    } else {
        let in_vars = name.starts_with("vars");
        for directory in beside.into_iter().chain([directory]) {
            if !in_vars {
                candidates.push(directory.join("vars").join(name));
            }
            candidates.push(directory.join(name));
        }
    }
    let Some(path) = candidates.into_iter().find(|path| path.exists()) else {
        return Ok(None);
    };
    let Some(node) = loader.reader().file(&path)? else {
        return Ok(Some(Vec::new()));
    };
    let invalid = |value: &Value| {
        Located::parser("Invalid variable file contents.").about(value).hint(
            "Variable files must contain either a dictionary of variables, or a list of dictionaries.",
        )
    };
    let mut dicts = Vec::new();
    for item in listed(Some(node.value())) {
        match item {
            Value::Dict(dict) => dicts.push(dict),
            other => return Err(invalid(&other)),
        }
    }
    Ok(Some(dicts))
}
