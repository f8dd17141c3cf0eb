//! Where each host stands in a play: which task is next, through blocks, their rescues and what is always done, and through
//! handlers.
//!
//! A host's place is a stack of sections: each knows how far it is and whether it failed. Looking at the next task gives a
//! new place and leaves the old one as it is until the step is taken ([`Iteration::peek`], [`Iteration::set`]), for hosts
//! that are not at the task all others do next wait.

mod place;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::language::Task;

pub(super) use place::{Failed, Phase, Place, Section, Step};

/// What decides whether a task that is next is really done: it is left out silently otherwise.
pub(super) trait Choice {
    /// Whether facts are gathered on the host at the beginning.
    fn gathers(&self, host: &str) -> bool;
    /// Whether the task has nothing to do for the host: handlers without a notification, a role that has run.
    fn passes_over(&self, host: &str, task: &Task, iteration: &Iteration) -> bool;
}

/// The way of all hosts of a batch through a play.
pub(super) struct Iteration {
    setup: Option<Arc<Task>>,
    validation: Option<Arc<Task>>,
    /// All tasks in the order they stand: what hosts that go in step do next is the first of these that one of them is at.
    pub(super) order: Vec<Arc<Task>>,
    pub(super) at: usize,
    /// The handlers of the play, in the order they are run.
    pub(super) handlers: Arc<Vec<Arc<Task>>>,
    /// By the number of a handler: the hosts that notified it.
    notified: HashMap<u64, IndexSet<Arc<str>>>,
    /// What hosts have notified and not flushed.
    notifications: HashMap<Arc<str>, IndexSet<Arc<str>>>,
    /// What they had notified in an earlier run that did not come to it.
    earlier: HashMap<Arc<str>, IndexSet<Arc<str>>>,
    places: IndexMap<Arc<str>, Place>,
    pub(super) batch: usize,
    pub(super) end_play: bool,
}

impl Iteration {
    /// All hosts at the beginning.
    pub(super) fn new(
        sections: Vec<Arc<Section>>,
        setup: Option<Arc<Task>>,
        validation: Option<Arc<Task>>,
        handlers: Vec<Arc<Task>>,
        hosts: &[Arc<str>],
    ) -> Self {
        let mut order: Vec<Arc<Task>> = setup.iter().chain(&validation).cloned().collect();
        for section in &sections {
            section.flatten(&mut order);
        }
        let sections = Arc::new(sections);
        let places = hosts
            .iter()
            .map(|host| {
                (
                    Arc::clone(host),
                    Place::new(Arc::clone(&sections), Phase::Setup),
                )
            })
            .collect();
        Iteration {
            setup,
            validation,
            order,
            at: 0,
            handlers: Arc::new(handlers),
            notified: HashMap::new(),
            notifications: HashMap::new(),
            earlier: HashMap::new(),
            places,
            batch: hosts.len(),
            end_play: false,
        }
    }

    /// Where a host stands; a host that is not of the batch has nothing to do, but can have failed.
    pub(super) fn place(&mut self, host: &Arc<str>) -> &mut Place {
        self.places
            .entry(Arc::clone(host))
            .or_insert_with(|| Place::new(Arc::default(), Phase::Setup))
    }

    /// The next task of a host, and where it stands then. It stays where it is.
    pub(super) fn peek(
        &mut self,
        host: &Arc<str>,
        choice: &dyn Choice,
    ) -> (Place, Option<Arc<Task>>) {
        let mut place = self.place(host).clone();
        if place.phase == Phase::Complete {
            return (place, None);
        }
        let task = self.next(&mut place, host, choice);
        (place, task)
    }

    /// Takes the step that was looked at.
    pub(super) fn set(&mut self, host: &Arc<str>, place: Place) {
        self.places.insert(Arc::clone(host), place);
    }

    /// Moves all hosts to a task that is chosen by its name: `--start-at-task`. Tells whether there is one.
    pub(super) fn start_at(&mut self, choice: &dyn Choice, is_it: &dyn Fn(&Task) -> bool) -> bool {
        let hosts: Vec<Arc<str>> = self.places.keys().cloned().collect();
        let mut found = false;
        for host in hosts {
            loop {
                let (place, task) = self.peek(&host, choice);
                if place.phase == Phase::Complete {
                    break;
                }
                if task.is_some_and(|task| is_it(&task)) {
                    found = true;
                    break;
                }
                self.set(&host, place);
            }
            if found {
                let place = self.place(&host);
                place.started_late = true;
                place.phase = Phase::Setup;
            }
        }
        found
    }

    fn next(&self, place: &mut Place, host: &Arc<str>, choice: &dyn Choice) -> Option<Arc<Task>> {
        loop {
            let mut found: Option<Arc<Task>> = None;
            let current = place.current().cloned();
            match place.phase {
                Phase::Complete => return None,
                Phase::Setup => {
                    if let Some(setup) = &self.setup
                        && choice.gathers(host)
                    {
                        found = Some(Arc::clone(setup));
                    }
                    place.phase = Phase::Validate;
                }
                Phase::Validate => {
                    found.clone_from(&self.validation);
                    place.phase = Phase::Tasks;
                }
                Phase::Handlers => {
                    if place.handlers.is_none() {
                        place.handlers = Some(Arc::clone(&self.handlers));
                    }
                    let handlers = place.handlers.clone().unwrap_or_default();
                    while let Some(handler) = handlers.get(place.handler) {
                        place.handler += 1;
                        if self.is_notified(handler, host) {
                            return Some(Arc::clone(handler));
                        }
                    }
                    place.handler = 0;
                    place.phase = place.before_handlers;
                    place.handlers = None;
                }
                Phase::Tasks | Phase::Rescue | Phase::Always => {
                    let Some(section) = current else {
                        place.phase = Phase::Complete;
                        return None;
                    };
                    match self.step(place, &section, host, choice) {
                        Moved::Again => continue,
                        Moved::To(task) => found = task,
                    }
                }
            }
            if let Some(task) = found
                && !choice.passes_over(host, &task, self)
            {
                return Some(task);
            }
        }
    }

    fn step(
        &self,
        place: &mut Place,
        section: &Arc<Section>,
        host: &Arc<str>,
        choice: &dyn Choice,
    ) -> Moved {
        let phase = place.phase;
        let slot = match phase {
            Phase::Tasks => &mut place.in_tasks,
            Phase::Rescue => &mut place.in_rescue,
            _ => &mut place.in_always,
        };
        if let Some(mut child) = slot.take() {
            let task = self.next(&mut child, host, choice);
            if child.is_failed() {
                place.fail();
                return Moved::Again;
            }
            if task.is_none() || child.phase == Phase::Complete {
                return Moved::Again;
            }
            let slot = match phase {
                Phase::Tasks => &mut place.in_tasks,
                Phase::Rescue => &mut place.in_rescue,
                _ => &mut place.in_always,
            };
            *slot = Some(child);
            return Moved::To(task);
        }
        match phase {
            Phase::Tasks => {
                if place.is_failed() {
                    place.phase = Phase::Rescue;
                    return Moved::Again;
                }
                let Some(step) = section.tasks.get(place.task) else {
                    place.phase = Phase::Always;
                    return Moved::Again;
                };
                place.task += 1;
                enter(step, &mut place.in_tasks)
            }
            Phase::Rescue => {
                if place.failed.has(Failed::RESCUE) {
                    place.phase = Phase::Always;
                    return Moved::Again;
                }
                let Some(step) = section.rescue.get(place.rescue) else {
                    if !section.rescue.is_empty() {
                        place.failed = Failed::default();
                    }
                    place.phase = Phase::Always;
                    place.rescued = true;
                    return Moved::Again;
                };
                place.rescue += 1;
                enter(step, &mut place.in_rescue)
            }
            _ => {
                let Some(step) = section.always.get(place.always) else {
                    if place.failed.any() {
                        place.phase = Phase::Complete;
                    } else {
                        place.next_section();
                        place.phase = Phase::Tasks;
                        place.rescued = false;
                    }
                    return Moved::Again;
                };
                place.always += 1;
                enter(step, &mut place.in_always)
            }
        }
    }

    /// Marks a host as failed where it stands: it goes on with what rescues, with what is always done, or not at all.
    pub(super) fn fail(&mut self, host: &Arc<str>) {
        let place = self.place(host);
        if place.phase == Phase::Handlers {
            place.phase = place.before_handlers;
            place.handlers = None;
        }
        place.fail();
    }

    /// Whether a host counts as failed.
    pub(super) fn is_failed(&mut self, host: &Arc<str>) -> bool {
        self.place(host).is_failed()
    }

    /// The hosts that count as failed.
    pub(super) fn failed_hosts(&self) -> Vec<Arc<str>> {
        self.places
            .iter()
            .filter(|(_, place)| place.is_failed())
            .map(|(host, _)| Arc::clone(host))
            .collect()
    }

    /// Forgets that a host failed (`clear_host_errors`).
    pub(super) fn clear_errors(&mut self, host: &Arc<str>) {
        self.place(host).clear_errors();
    }

    /// Ends the play for a host.
    pub(super) fn end_host(&mut self, host: &Arc<str>) {
        let place = self.place(host);
        if place.active_phase() == Phase::Rescue {
            // Who ends in a rescue has been rescued.
            place.failed = Failed::default();
        }
        place.phase = Phase::Complete;
    }

    /// Puts included tasks next for a host.
    pub(super) fn insert(&mut self, host: &Arc<str>, sections: &[Arc<Section>]) {
        self.place(host).insert(sections);
    }

    /// Puts included tasks next in the order of those that go in step.
    pub(super) fn insert_order(&mut self, tasks: Vec<Arc<Task>>) {
        let at = self.at.min(self.order.len());
        self.order.splice(at..at, tasks);
    }

    /// Begins to run handlers on a host.
    pub(super) fn flush(&mut self, host: &Arc<str>) {
        let place = self.place(host);
        place.before_handlers = place.phase;
        place.phase = Phase::Handlers;
    }

    /// Whether a host is running handlers.
    pub(super) fn is_flushing(&mut self, host: &Arc<str>) -> bool {
        self.place(host).phase == Phase::Handlers
    }

    /// Keeps a notification until handlers are flushed.
    pub(super) fn keep_notification(&mut self, host: &Arc<str>, name: &Arc<str>) {
        self.notifications
            .entry(Arc::clone(host))
            .or_default()
            .insert(Arc::clone(name));
    }

    /// Keeps a notification of an earlier run.
    pub(super) fn keep_earlier(&mut self, host: &Arc<str>, name: &Arc<str>) {
        self.earlier
            .entry(Arc::clone(host))
            .or_default()
            .insert(Arc::clone(name));
    }

    /// Whether there are notifications of an earlier run.
    pub(super) fn has_earlier(&self, host: &str) -> bool {
        self.earlier.get(host).is_some_and(|kept| !kept.is_empty())
    }

    /// The notifications of an earlier run, which are kept no longer.
    pub(super) fn take_earlier(&mut self, host: &str) -> IndexSet<Arc<str>> {
        self.earlier.remove(host).unwrap_or_default()
    }

    /// The notifications kept for a host, which are kept no longer.
    pub(super) fn take_notifications(&mut self, host: &str) -> IndexSet<Arc<str>> {
        self.notifications.remove(host).unwrap_or_default()
    }

    /// Whether anything is notified: kept for the host, or any handler by anybody.
    pub(super) fn has_notifications(&self, host: &str) -> bool {
        self.notifications
            .get(host)
            .is_some_and(|kept| !kept.is_empty())
            || self.notified.values().any(|hosts| !hosts.is_empty())
    }

    /// Notes that a handler is to run on a host. Tells whether it was not to before.
    pub(super) fn notify(&mut self, handler: &Task, host: &Arc<str>) -> bool {
        self.notified
            .entry(handler.id)
            .or_default()
            .insert(Arc::clone(host))
    }

    /// Whether a handler is to run on a host.
    pub(super) fn is_notified(&self, handler: &Task, host: &str) -> bool {
        self.notified
            .get(&handler.id)
            .is_some_and(|hosts| hosts.contains(host))
    }

    /// Takes back that a handler is to run on a host.
    pub(super) fn unnotify(&mut self, handler: &Task, host: &str) {
        if let Some(hosts) = self.notified.get_mut(&handler.id) {
            hosts.shift_remove(host);
        }
    }

    /// Takes back that a handler is to run on any host.
    pub(super) fn unnotify_all(&mut self, handler: &Task) {
        self.notified.remove(&handler.id);
    }
}

enum Moved {
    Again,
    To(Option<Arc<Task>>),
}

fn enter(step: &Step, child: &mut Option<Box<Place>>) -> Moved {
    match step {
        Step::Task(task) => Moved::To(Some(Arc::clone(task))),
        Step::Section(section) => {
            *child = Some(Box::new(Place::within(section)));
            Moved::Again
        }
    }
}
