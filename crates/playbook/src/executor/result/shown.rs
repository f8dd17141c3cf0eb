//! What came of a task as `register` and callbacks have it.

use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;

use super::Outcome;
use crate::executor::held;

/// What callbacks are told of a result that is not to be seen.
const TOLD_OF_HIDDEN: &[&str] = &[
    "_ansible_no_log",
    "attempts",
    "changed",
    "deprecations",
    "exception",
    "retries",
    "warnings",
];
const HIDDEN: &str =
    "the output has been hidden due to the fact that 'no_log: true' was specified for this result";

impl Outcome {
    /// The result as `register` keeps it, or with what callbacks alone see and without what they may not see.
    pub(in crate::executor) fn as_dict(&self, for_callback: bool) -> Dict {
        self.entries(for_callback, for_callback && self.no_log)
    }

    fn entries(&self, for_callback: bool, hidden: bool) -> Dict {
        let mut entries: IndexMap<Key, Value> = IndexMap::with_capacity(self.data.len() + 8);
        let mut set = |name: &str, value: Value| {
            entries.insert(Key::from(name), value);
        };
        set("changed", self.changed().into());
        if !for_callback {
            set("failed", self.failed().into());
        }
        if self.unreachable() {
            set("unreachable", true.into());
        }
        if self.skipped() && !for_callback {
            set("skipped", true.into());
        }
        if !self.warnings.is_empty() {
            set(
                "warnings",
                if for_callback {
                    self.warnings.clone().into()
                } else {
                    held::registered_warnings(&self.warnings)
                },
            );
        }
        if !self.deprecations.is_empty() {
            set(
                "deprecations",
                if for_callback {
                    self.deprecations.clone().into()
                } else {
                    held::registered_deprecations(&self.deprecations)
                },
            );
        }
        if let Some(facts) = &self.facts {
            set("ansible_facts", facts.clone().into());
        }
        if self.error.is_some() {
            set("exception", "(traceback unavailable)".into());
        }
        if let Some(finished) = self.finished {
            set("finished", finished.into());
        }
        if let Some(msg) = &self.msg {
            set("msg", msg.clone());
        }
        if for_callback {
            if self.no_log {
                set("_ansible_no_log", true.into());
            }
            if let Some(always) = self.verbose_always {
                set("_ansible_verbose_always", always.into());
            }
            if let Some(shown) = self.verbose_override {
                set("_ansible_verbose_override", shown.into());
            }
        }
        if let Some(rc) = self.rc {
            set("rc", rc.into());
        }
        for (name, count) in [("attempts", self.attempts), ("retries", self.retries)] {
            if let Some(count) = count {
                set(name, Value::Int(i64::try_from(count).unwrap_or(i64::MAX)));
            }
        }
        if for_callback && let Some(variables) = &self.delegated_variables {
            set("_ansible_delegated_vars", variables.clone().into());
        }
        if let Some(diff) = &self.diff {
            set("diff", diff.clone());
        }
        if let Some(stats) = &self.stats {
            set("ansible_stats", stats.clone().into());
        }
        if let Some(job) = &self.job {
            set("ansible_job_id", job.as_str().into());
        }
        if let Some(reason) = &self.skip_reason {
            set("skip_reason", reason.as_str().into());
            if self.skipped_reason {
                set("skipped_reason", reason.as_str().into());
            }
        }
        for (name, value) in [
            ("false_condition", &self.false_condition),
            ("changed_when_result", &self.changed_when),
            ("failed_when_result", &self.failed_when),
            ("break_when_result", &self.break_when),
        ] {
            if let Some(value) = value {
                set(name, value.clone());
            }
        }
        for name in &self.suppressed {
            set(name, "(traceback unavailable)".into());
        }
        if let Some(item) = &self.item {
            set("ansible_loop_var", Value::from(&*item.variable));
            if let Some(variable) = &item.index_variable {
                set("ansible_index_var", Value::from(&**variable));
            }
            if for_callback {
                set("_ansible_item_label", item.label.clone());
            }
            set(&item.variable, item.value.clone());
            if let Some(variable) = &item.index_variable {
                set(variable, item.index.into());
            }
            if let Some(extended) = &item.extended {
                set("ansible_loop", extended.clone().into());
            }
        }
        for (key, value) in &self.data {
            entries.insert(key.clone(), value.clone());
        }
        split_lines(&mut entries, "stdout", "stdout_lines");
        split_lines(&mut entries, "stderr", "stderr_lines");
        if hidden {
            entries.retain(|key, _| {
                key.as_str()
                    .is_some_and(|key| TOLD_OF_HIDDEN.contains(&key))
            });
            entries.insert(Key::from("censored"), HIDDEN.into());
        }
        if let Some(items) = &self.items {
            // Where one of them is not to be seen, none is.
            let items: Vec<Value> = items
                .iter()
                .map(|item| {
                    Value::Dict(item.entries(for_callback, hidden || (for_callback && item.no_log)))
                })
                .collect();
            entries.insert(Key::from("results"), items.into());
        }
        Dict::new(entries)
    }
}

fn split_lines(entries: &mut IndexMap<Key, Value>, text: &str, lines: &str) {
    if entries.contains_key(&Key::from(lines)) {
        return;
    }
    if let Some(value) = entries.get(&Key::from(text)) {
        let split = value
            .as_str()
            .map(|text| {
                consort_modules::python::lines(text)
                    .map(Value::from)
                    .collect()
            })
            .unwrap_or_default();
        entries.insert(Key::from(lines), Value::list(split));
    }
}
