//! What will go away, told where a template uses it.

use std::cell::{Cell, RefCell};

use consort_jinja::repr;

use crate::source::Removal;
use crate::template::{Templar, Warned};

/// A variable that will go away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Old {
    /// A fact as a variable of its own.
    InjectedFact,
    /// `play_hosts`.
    PlayHosts,
    /// `vars`.
    Vars,
}

thread_local! {
    static UNNOTED: Cell<bool> = const { Cell::new(false) };
    /// What was told of already in what this thread renders, by the number of that.
    static TOLD: RefCell<(u64, Vec<Old>)> = const { RefCell::new((0, Vec::new())) };
}

/// Looks variables up for somebody who only hands them on: that is no use of what will go away.
pub(crate) fn unnoted<T>(look: impl FnOnce() -> T) -> T {
    let before = UNNOTED.replace(true);
    let found = look();
    UNNOTED.set(before);
    found
}

impl Old {
    /// Tells that the template which asks for it uses it: once for all that is rendered in one go.
    pub(super) fn used(self, templar: &Templar) {
        if UNNOTED.get() {
            return;
        }
        let Some(asking) = consort_jinja::asking() else {
            return;
        };
        let known = TOLD.with_borrow_mut(|(rendering, told)| {
            if *rendering != asking.rendering {
                *rendering = asking.rendering;
                told.clear();
            }
            let known = told.contains(&self);
            if !known {
                told.push(self);
            }
            known
        });
        if known {
            return;
        }
        let (message, help, version) = self.words();
        (templar.options().warn)(Warned::Deprecation {
            message: match asking.template.origin() {
                Some(_) => message.to_owned(),
                None => format!(
                    "While processing {}: {message}",
                    repr::string(&asking.template)
                ),
            },
            removal: Removal::of_core(version),
            about: Some(asking.template),
            help: Some(help.to_owned()),
        });
    }

    /// What is said of it, what to use in its place, and the version it goes away with.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Old::InjectedFact => (
                "INJECT_FACTS_AS_VARS default to `True` is deprecated, top-level facts will not be auto injected after the change.",
                "Use `ansible_facts[\"fact_name\"]` (no `ansible_` prefix) instead.",
                "2.24",
            ),
            Old::PlayHosts => (
                "The `play_hosts` magic variable is deprecated.",
                "Use `ansible_play_batch` instead.",
                "2.23",
            ),
            Old::Vars => (
                "The internal \"vars\" dictionary is deprecated.",
                "Use the `vars` and `varnames` lookups instead.",
                "2.24",
            ),
        }
    }
}
