//! What playbooks would do: `--list-hosts`, `--list-tasks`, `--list-tags`, `--syntax-check`.

use std::collections::BTreeSet;
use std::path::Path;

use consort_jinja::{Dict, Value};

use super::running::Prepared;
use super::session::Session;
use crate::executor::keyword::listed;
use crate::executor::tags::{chosen, collect};
use crate::inventory::Limits;
use crate::language::{Directive, Item, Play, Task};
use crate::source::Located;

/// What is wanted of them.
pub(super) struct Wanted {
    pub(super) hosts: bool,
    pub(super) tasks: bool,
    pub(super) tags: bool,
    pub(super) syntax: bool,
}

/// Reads playbooks and tells what they would do; the exit status.
pub(super) fn run(
    wanted: &Wanted,
    playbooks: &[String],
    prepared: &Prepared<'_>,
    session: &Session,
) -> Result<i32, Located> {
    for name in playbooks {
        let playbook = prepared.loader.playbook(Path::new(name))?;
        session.terminal.line(&format!("\nplaybook: {name}"));
        for play in &playbook.plays {
            let name = play
                .name
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or_default();
            prepared.loader.check(play, name)?;
        }
        if wanted.syntax {
            continue;
        }
        for (at, play) in playbook.plays.iter().enumerate() {
            let outline = Outline::new(play, prepared, session);
            outline.tell(at + 1, wanted)?;
        }
    }
    Ok(0)
}

struct Outline<'a> {
    play: &'a Play,
    prepared: &'a Prepared<'a>,
    session: &'a Session,
    variables: Dict,
}

impl<'a> Outline<'a> {
    fn new(play: &'a Play, prepared: &'a Prepared<'a>, session: &'a Session) -> Self {
        let variables = Dict::default();
        let mut layers = vec![prepared.option_variables.clone()];
        if let Some(Value::Dict(own)) = play.scope.directives.get(Directive::Vars) {
            layers.push(own.clone());
        }
        layers.push(prepared.extra.clone());
        for layer in layers {
            let entries = layer.read().clone();
            variables.change(|variables| variables.extend(entries));
        }
        Outline {
            play,
            prepared,
            session,
            variables,
        }
    }

    fn render(&self, value: &Value) -> Result<Value, Located> {
        self.prepared
            .templar
            .render(value, &self.variables)
            .map_err(|error| Located::from(&error))
    }

    fn tags_of(&self, written: Option<Value>) -> Result<Vec<String>, Located> {
        let mut tags = Vec::new();
        for value in listed(written) {
            collect(&self.render(&value)?, &mut tags);
        }
        Ok(tags)
    }

    fn tell(&self, number: usize, wanted: &Wanted) -> Result<(), Located> {
        let mut patterns = Vec::new();
        for value in listed(self.play.scope.directives.get(Directive::Hosts).cloned()) {
            match self.render(&value)? {
                Value::List(items) => {
                    patterns.extend(items.read().iter().map(consort_jinja::repr::text));
                }
                value => patterns.push(consort_jinja::repr::text(&value)),
            }
        }
        let hosts = patterns.join(",");
        let name = match &self.play.name {
            Some(name) => consort_jinja::repr::text(&self.render(name)?),
            None => hosts.clone(),
        };
        let own = self.tags_of(self.play.scope.directives.get(Directive::Tags).cloned())?;
        let mut message = format!(
            "\n  play #{number} ({hosts}): {name}\tTAGS: [{}]",
            own.join(",")
        );
        if wanted.hosts {
            let found = self.prepared.inventory.matching_all(
                &patterns,
                Limits::Respected,
                &self.session.terminal.notices(),
            )?;
            let shown = consort_jinja::repr::repr(&Value::list(
                patterns
                    .iter()
                    .map(|pattern| Value::from(pattern.as_str()))
                    .collect(),
            ));
            message.push_str(&format!(
                "\n    pattern: {shown}\n    hosts ({}):",
                found.len()
            ));
            for host in found {
                message.push_str("\n      ");
                message.push_str(&host);
            }
        }
        self.session.terminal.line(&message);
        if !wanted.tasks && !wanted.tags {
            return Ok(());
        }
        let mut text = String::new();
        if wanted.tasks {
            text.push_str("    tasks:\n");
        }
        let mut all = BTreeSet::new();
        for item in self.play.compile(false) {
            self.item(&item, wanted, &own, &mut all, &mut text)?;
        }
        if wanted.tags {
            let all: BTreeSet<String> = all.into_iter().chain(own).collect();
            text.push_str(&format!(
                "      TASK TAGS: [{}]\n",
                all.into_iter().collect::<Vec<_>>().join(", ")
            ));
        }
        self.session.terminal.line(&text);
        Ok(())
    }

    fn item(
        &self,
        item: &Item,
        wanted: &Wanted,
        own: &[String],
        all: &mut BTreeSet<String>,
        text: &mut String,
    ) -> Result<(), Located> {
        match item {
            Item::Block(block) => {
                for item in &block.tasks {
                    self.item(item, wanted, own, all, text)?;
                }
                Ok(())
            }
            Item::Task(task) => self.task(task, wanted, own, all, text),
        }
    }

    fn task(
        &self,
        task: &Task,
        wanted: &Wanted,
        own: &[String],
        all: &mut BTreeSet<String>,
        text: &mut String,
    ) -> Result<(), Located> {
        if task.implicit && task.action.builtin() == Some("meta") {
            return Ok(());
        }
        let tags = self.tags_of(task.directive(Directive::Tags))?;
        let options = &self.prepared.options;
        if !chosen(&tags, &options.tags, &options.skip_tags) {
            return Ok(());
        }
        all.extend(tags.iter().cloned());
        if wanted.tasks {
            let shown: BTreeSet<&String> = tags.iter().chain(own).collect();
            let shown: Vec<&str> = shown.into_iter().map(String::as_str).collect();
            let name = match task.name() {
                Some(name) => {
                    let name = consort_jinja::repr::text(name);
                    match task.role() {
                        Some(role) => format!("{} : {name}", role.name),
                        None => name,
                    }
                }
                None => task.action.written.to_string(),
            };
            text.push_str(&format!("      {name}\tTAGS: [{}]\n", shown.join(", ")));
        }
        Ok(())
    }
}
