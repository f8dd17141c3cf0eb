//! What playbooks would do: `--list-hosts`, `--list-tasks`, `--list-tags`, `--syntax-check`.

use std::collections::BTreeSet;
use std::path::Path;

use consort_jinja::{Dict, Value};

use super::running::Prepared;
use super::session::Session;
use crate::executor::keyword::listed;
use crate::executor::tags::{chosen, collect};
use crate::inventory::Limits;
use crate::language::{Directive, Item, Play, PlayKeywords, Task};
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
    // What is wrong with any of them is told before anything of them is.
    let mut read = Vec::new();
    for name in playbooks {
        let playbook = prepared.loader.playbook(Path::new(name))?;
        let mut plays = Vec::new();
        for play in playbook.plays {
            let prompted = unasked(&play, prepared);
            let keywords = prepared.loader.keywords(&play, &prompted)?;
            // Patterns without hosts are warned of now where they are no templates, the others when their play is told.
            let hosts = play.scope.directives.get(Directive::Hosts);
            if !hosts.is_some_and(|hosts| prepared.loader.holds_template(hosts)) {
                prepared.inventory.matching_all(
                    &sought(&keywords),
                    Limits::Respected,
                    &session.terminal.notices(),
                )?;
            }
            plays.push((play, prompted, keywords));
        }
        read.push((name, plays));
    }
    for (name, plays) in &read {
        session.terminal.line(&format!("\nplaybook: {name}"));
        if wanted.syntax {
            continue;
        }
        for (at, (play, prompted, keywords)) in plays.iter().enumerate() {
            let outline = Outline {
                play,
                prompted,
                keywords,
                prepared,
                session,
            };
            outline.tell(at + 1, wanted)?;
        }
    }
    Ok(0)
}

/// What the pattern of a play is shown and sought as whose `hosts` are left out (`omit`).
const OMITTED: &str = "None";

/// The patterns that hosts are sought by.
fn sought(keywords: &PlayKeywords) -> Vec<String> {
    if keywords.hosts.is_empty() {
        return vec![OMITTED.to_owned()];
    }
    keywords.hosts.clone()
}

/// What `vars_prompt` gives where nobody is asked: defaults.
fn unasked(play: &Play, prepared: &Prepared<'_>) -> Dict {
    play.vars_prompt
        .iter()
        .filter_map(|prompt| {
            let Value::Dict(prompt) = prompt else {
                return None;
            };
            let name = prompt.get("name")?.as_str()?.to_owned();
            prepared
                .extra
                .get(&name)
                .is_none()
                .then(|| (name, prompt.get("default").unwrap_or_default()))
        })
        .collect()
}

struct Outline<'a> {
    play: &'a Play,
    prompted: &'a Dict,
    keywords: &'a PlayKeywords,
    prepared: &'a Prepared<'a>,
    session: &'a Session,
}

impl Outline<'_> {
    fn render(&self, value: &Value) -> Result<Value, Located> {
        self.play
            .rendered(self.prompted, value)
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
        let hosts = self.keywords.hosts.join(",");
        let name = &self.keywords.name;
        let own = self.tags_of(self.play.scope.directives.get(Directive::Tags).cloned())?;
        let mut message = format!(
            "\n  play #{number} ({hosts}): {name}\tTAGS: [{}]",
            own.join(",")
        );
        if wanted.hosts {
            let found = self.prepared.inventory.matching_all(
                &sought(self.keywords),
                Limits::Respected,
                &self.session.terminal.notices(),
            )?;
            let shown = if self.keywords.hosts.is_empty() {
                OMITTED.to_owned()
            } else {
                let patterns = self.keywords.hosts.iter();
                consort_jinja::repr::repr(&Value::list(
                    patterns
                        .map(|pattern| Value::from(pattern.as_str()))
                        .collect(),
                ))
            };
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
                        // What includes a role is shown without the role it stands in.
                        Some(role) if task.action.builtin() != Some("include_role") => {
                            format!("{} : {name}", role.name)
                        }
                        _ => name,
                    }
                }
                None => task.action.written.to_string(),
            };
            text.push_str(&format!("      {name}\tTAGS: [{}]\n", shown.join(", ")));
        }
        Ok(())
    }
}
