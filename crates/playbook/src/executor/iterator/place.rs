//! Where a host is in a play.

use std::sync::Arc;

use crate::language::Task;

/// A block as it is carried out: tasks that are chosen by tags.
#[derive(Clone, Debug, Default)]
pub(in crate::executor) struct Section {
    pub(in crate::executor) tasks: Vec<Step>,
    pub(in crate::executor) rescue: Vec<Step>,
    pub(in crate::executor) always: Vec<Step>,
}

/// What stands in a section.
#[derive(Clone, Debug)]
pub(in crate::executor) enum Step {
    Task(Arc<Task>),
    Section(Arc<Section>),
}

impl Section {
    /// Whether there is anything in it.
    pub(in crate::executor) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.rescue.is_empty() && self.always.is_empty()
    }

    /// All tasks in it, however deep, in the order they stand.
    pub(in crate::executor) fn flatten(&self, into: &mut Vec<Arc<Task>>) {
        for step in self.tasks.iter().chain(&self.rescue).chain(&self.always) {
            match step {
                Step::Task(task) => into.push(Arc::clone(task)),
                Step::Section(section) => section.flatten(into),
            }
        }
    }
}

/// What a host is doing in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::executor) enum Phase {
    Setup,
    Validate,
    Tasks,
    Rescue,
    Always,
    Handlers,
    Complete,
}

/// What failed in a section: flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::executor) struct Failed(u8);

impl Failed {
    pub(in crate::executor) const SETUP: Failed = Failed(1);

    pub(in crate::executor) const TASKS: Failed = Failed(2);

    pub(in crate::executor) const RESCUE: Failed = Failed(4);

    pub(in crate::executor) const ALWAYS: Failed = Failed(8);

    fn add(&mut self, other: Failed) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Failed) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn any(self) -> bool {
        self.0 != 0
    }
}

/// Where a host stands.
#[derive(Clone, Debug)]
pub(in crate::executor) struct Place {
    pub(super) sections: Arc<Vec<Arc<Section>>>,
    pub(super) section: usize,
    pub(super) task: usize,
    pub(super) rescue: usize,
    pub(super) always: usize,
    pub(super) handler: usize,
    pub(in crate::executor) phase: Phase,
    pub(super) failed: Failed,
    /// What it did before handlers were flushed.
    pub(super) before_handlers: Phase,
    /// The handlers of this flush, with those that were included meanwhile; none when it has not begun.
    pub(super) handlers: Option<Arc<Vec<Arc<Task>>>>,
    pub(super) in_tasks: Option<Box<Place>>,
    pub(super) in_rescue: Option<Box<Place>>,
    pub(super) in_always: Option<Box<Place>>,
    pub(super) rescued: bool,
    /// It begins at the task of `--start-at-task`.
    pub(super) started_late: bool,
}

impl Place {
    pub(super) fn new(sections: Arc<Vec<Arc<Section>>>, phase: Phase) -> Self {
        Place {
            sections,
            section: 0,
            task: 0,
            rescue: 0,
            always: 0,
            handler: 0,
            phase,
            failed: Failed::default(),
            before_handlers: Phase::Tasks,
            handlers: None,
            in_tasks: None,
            in_rescue: None,
            in_always: None,
            rescued: false,
            started_late: false,
        }
    }

    pub(super) fn within(section: &Arc<Section>) -> Self {
        Place::new(Arc::new(vec![Arc::clone(section)]), Phase::Tasks)
    }

    pub(super) fn current(&self) -> Option<&Arc<Section>> {
        self.sections.get(self.section)
    }

    pub(super) fn next_section(&mut self) {
        self.section += 1;
        (self.task, self.rescue, self.always) = (0, 0, 0);
        (self.in_tasks, self.in_rescue, self.in_always) = (None, None, None);
    }

    /// Whether the host counts as failed where it stands.
    pub(super) fn is_failed(&self) -> bool {
        let child =
            |child: &Option<Box<Place>>| child.as_ref().is_some_and(|place| place.is_failed());
        if (self.phase == Phase::Rescue && child(&self.in_rescue))
            || (self.phase == Phase::Always && child(&self.in_always))
        {
            return true;
        }
        if self.failed.any() {
            return match self.phase {
                Phase::Rescue if !self.failed.has(Failed::RESCUE) => false,
                Phase::Always if !self.failed.has(Failed::ALWAYS) => false,
                _ => !self.rescued || self.failed.has(Failed::ALWAYS),
            };
        }
        if self.phase == Phase::Tasks && child(&self.in_tasks) {
            let rescues = self
                .current()
                .is_some_and(|section| !section.rescue.is_empty());
            return !rescues || self.failed.has(Failed::RESCUE);
        }
        false
    }

    pub(super) fn fail(&mut self) {
        let (rescues, always) = self.current().map_or((false, false), |section| {
            (!section.rescue.is_empty(), !section.always.is_empty())
        });
        let after = |always: bool| {
            if always {
                Phase::Always
            } else {
                Phase::Complete
            }
        };
        match self.phase {
            Phase::Setup | Phase::Validate => {
                self.failed.add(Failed::SETUP);
                self.phase = Phase::Complete;
            }
            Phase::Tasks => match &mut self.in_tasks {
                Some(child) => child.fail(),
                None => {
                    self.failed.add(Failed::TASKS);
                    self.phase = if rescues {
                        Phase::Rescue
                    } else {
                        after(always)
                    };
                }
            },
            Phase::Rescue => match &mut self.in_rescue {
                Some(child) => child.fail(),
                None => {
                    self.failed.add(Failed::RESCUE);
                    self.phase = after(always);
                }
            },
            Phase::Always => match &mut self.in_always {
                Some(child) => child.fail(),
                None => {
                    self.failed.add(Failed::ALWAYS);
                    self.phase = Phase::Complete;
                }
            },
            Phase::Handlers | Phase::Complete => {}
        }
    }

    pub(super) fn clear_errors(&mut self) {
        self.failed = Failed::default();
        if let Some(child) = self
            .in_tasks
            .as_mut()
            .or(self.in_rescue.as_mut())
            .or(self.in_always.as_mut())
        {
            child.clear_errors();
        }
    }

    /// How far the innermost block is.
    pub(super) fn active_phase(&self) -> Phase {
        let child = match self.phase {
            Phase::Tasks => &self.in_tasks,
            Phase::Rescue => &self.in_rescue,
            Phase::Always => &self.in_always,
            phase => return phase,
        };
        child
            .as_ref()
            .map_or(self.phase, |child| child.active_phase())
    }

    /// Whether a failure here is being, or will be, rescued by some block around.
    pub(in crate::executor) fn is_rescuing(&self) -> bool {
        if matches!(self.phase, Phase::Tasks | Phase::Handlers)
            && self
                .current()
                .is_some_and(|section| !section.rescue.is_empty())
        {
            return true;
        }
        [&self.in_tasks, &self.in_rescue, &self.in_always]
            .into_iter()
            .flatten()
            .next()
            .is_some_and(|child| child.is_rescuing())
    }

    pub(super) fn insert(&mut self, sections: &[Arc<Section>]) {
        if (self.failed.any() && self.phase == Phase::Tasks) || sections.is_empty() {
            return;
        }
        let child = match self.phase {
            Phase::Tasks => &mut self.in_tasks,
            Phase::Rescue => &mut self.in_rescue,
            Phase::Always => &mut self.in_always,
            Phase::Handlers => {
                if let Some(handlers) = &mut self.handlers {
                    let mut included = Vec::new();
                    for section in sections {
                        section.flatten(&mut included);
                    }
                    let at = self.handler.min(handlers.len());
                    Arc::make_mut(handlers).splice(at..at, included);
                }
                return;
            }
            _ => return,
        };
        if let Some(child) = child {
            return child.insert(sections);
        }
        let Some(current) = self.sections.get(self.section) else {
            return;
        };
        let mut section = Section::clone(current);
        let steps = sections.iter().map(|new| Step::Section(Arc::clone(new)));
        let (list, at) = match self.phase {
            Phase::Tasks => (&mut section.tasks, self.task),
            Phase::Rescue => (&mut section.rescue, self.rescue),
            _ => (&mut section.always, self.always),
        };
        let at = at.min(list.len());
        list.splice(at..at, steps);
        Arc::make_mut(&mut self.sections)[self.section] = Arc::new(section);
    }
}
