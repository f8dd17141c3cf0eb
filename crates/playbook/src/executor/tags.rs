//! Which tasks of a play are run: by tags.

use std::sync::Arc;

use consort_jinja::Value;

use super::iterator::{Section, Step};
use super::keyword::listed;
use super::run::Run;
use crate::language::{Block, Directive, Item, Task};
use crate::source::Located;
use crate::variables::TaskVariables;

/// Chooses by tags.
pub(super) struct Chooser<'a> {
    pub(super) run: &'a Run,
    pub(super) variables: &'a TaskVariables,
}

impl Chooser<'_> {
    /// The sections of a list of tasks and blocks: consecutive tasks are one, each block is one.
    pub(super) fn sections(&self, items: &[Item]) -> Result<Vec<Arc<Section>>, Located> {
        let mut sections = Vec::new();
        let mut loose: Vec<Step> = Vec::new();
        for item in items {
            match item {
                Item::Task(task) => {
                    if self.runs(task)? {
                        loose.push(Step::Task(Arc::clone(task)));
                    }
                }
                Item::Block(block) => {
                    flush(&mut loose, &mut sections);
                    let section = self.section(block)?;
                    if !section.is_empty() {
                        sections.push(Arc::new(section));
                    }
                }
            }
        }
        flush(&mut loose, &mut sections);
        Ok(sections)
    }

    /// The section of a block.
    pub(super) fn section(&self, block: &Block) -> Result<Section, Located> {
        Ok(Section {
            tasks: self.steps(&block.tasks)?,
            rescue: self.steps(&block.rescue)?,
            always: self.steps(&block.always)?,
        })
    }

    fn steps(&self, items: &[Item]) -> Result<Vec<Step>, Located> {
        let mut steps = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Task(task) => {
                    if self.runs(task)? {
                        steps.push(Step::Task(Arc::clone(task)));
                    }
                }
                Item::Block(block) => {
                    let section = self.section(block)?;
                    if !section.is_empty() {
                        steps.push(Step::Section(Arc::new(section)));
                    }
                }
            }
        }
        Ok(steps)
    }

    /// Whether a task is run.
    pub(super) fn runs(&self, task: &Task) -> Result<bool, Located> {
        if task.implicit && task.action.builtin() == Some("meta") {
            return Ok(true);
        }
        let options = &self.run.options;
        if options.skip_tags.is_empty() && options.tags.iter().all(|tag| tag == "all") {
            // Only `never` and what cannot be told without rendering could say otherwise.
            let written = task.directive(Directive::Tags);
            if written.is_none() {
                return Ok(true);
            }
        }
        let tags = self.tags(task)?;
        Ok(chosen(&tags, &options.tags, &options.skip_tags))
    }

    /// The tags of a task, with those handed down to it.
    pub(super) fn tags(&self, task: &Task) -> Result<Vec<String>, Located> {
        let mut tags = Vec::new();
        for written in listed(task.directive(Directive::Tags)) {
            let rendered = self
                .run
                .templar
                .render(&written, self.variables)
                .map_err(|error| Located::from(&error))?;
            collect(&rendered, &mut tags);
        }
        Ok(tags)
    }
}

fn flush(loose: &mut Vec<Step>, sections: &mut Vec<Arc<Section>>) {
    if !loose.is_empty() {
        sections.push(Arc::new(Section {
            tasks: std::mem::take(loose),
            ..Section::default()
        }));
    }
}

pub(crate) fn collect(value: &Value, tags: &mut Vec<String>) {
    match value {
        Value::List(list) => {
            for item in list.read().iter() {
                collect(item, tags);
            }
        }
        Value::None => {}
        Value::Str(text) => {
            if !tags.iter().any(|known| **known == **text) {
                tags.push(text.to_string());
            }
        }
        value => {
            if let Ok(text) = value.text() {
                tags.push(text.to_string());
            }
        }
    }
}

/// Whether tags are among those that are run, and not among those that are skipped.
pub(crate) fn chosen(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let untagged = tags.is_empty();
    let has = |tag: &str| {
        if untagged {
            tag == "untagged"
        } else {
            tags.iter().any(|known| known == tag)
        }
    };
    let wants = |list: &[String], tag: &str| list.iter().any(|known| known == tag);
    let mut runs = only.is_empty()
        || has("always")
        || (wants(only, "all") && !has("never"))
        || only.iter().any(|tag| has(tag))
        || (wants(only, "tagged") && !untagged && !has("never"));
    if runs && !skip.is_empty() {
        if wants(skip, "all") {
            if !has("always") || wants(skip, "always") {
                runs = false;
            }
        } else if skip.iter().any(|tag| has(tag)) || (wants(skip, "tagged") && !untagged) {
            runs = false;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::chosen;

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn always_and_never_count_as_ansible_says() {
        let all = tags(&["all"]);
        assert!(chosen(&tags(&[]), &all, &[]));
        assert!(!chosen(&tags(&["never", "x"]), &all, &[]));
        assert!(chosen(&tags(&["never", "x"]), &tags(&["x"]), &[]));
        assert!(chosen(&tags(&["always"]), &tags(&["x"]), &[]));
        assert!(!chosen(
            &tags(&["always"]),
            &tags(&["x"]),
            &tags(&["always"])
        ));
        assert!(chosen(&tags(&[]), &tags(&["untagged"]), &[]));
        assert!(!chosen(&tags(&[]), &tags(&["tagged"]), &[]));
        assert!(!chosen(&tags(&["a"]), &all, &tags(&["tagged"])));
    }
}
