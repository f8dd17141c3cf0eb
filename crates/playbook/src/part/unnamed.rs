//! Plays for hosts of which not even the names are known yet.

use consort_plan::{Action, Address, Change, Location, Planned, Reversal};

use super::Playbooks;
use super::opening::Opened;
use crate::language::{Directive, Playbook};

/// A play for a group whose hosts are not known.
pub(super) struct UnnamedPlay {
    pub(super) group: String,
    /// The input that tells the hosts.
    pub(super) from: String,
    play: String,
    location: Option<Location>,
}

impl UnnamedPlay {
    /// Its name within the part.
    pub(super) fn local(&self) -> String {
        super::told::local(&format!("{{{}}}", self.group), &self.play, 1)
    }
}

impl Playbooks {
    /// The change that stands for all that such a play will do.
    pub(super) fn of_unnamed(&self, play: &UnnamedPlay) -> Change {
        Change {
            address: Address::new(&self.name, &play.local()),
            kind: "play".to_owned(),
            action: Action::Create,
            before: None,
            after: Some(Planned::unknown("dynamic", None)),
            replaces: Vec::new(),
            reasons: vec![format!(
                "the hosts of {} are known after apply: {} tells them",
                play.group, play.from
            )],
            moved_from: None,
            drift: Vec::new(),
            reversal: Reversal::Compensable,
            location: play.location.clone(),
        }
    }
}

/// The plays for groups whose hosts are not known.
pub(super) fn unnamed_plays(
    playbooks: &[Playbook],
    opened: &Opened,
    root: &std::path::Path,
) -> Vec<UnnamedPlay> {
    let mut all = Vec::new();
    for unnamed in &opened.resolved.unnamed {
        for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
            let hosts = play
                .scope
                .directives
                .get(Directive::Hosts)
                .map(|hosts| match hosts {
                    consort_jinja::Value::List(list) => list
                        .read()
                        .iter()
                        .map(consort_jinja::repr::text)
                        .collect::<Vec<_>>()
                        .join(","),
                    other => consort_jinja::repr::text(other),
                })
                .unwrap_or_default();
            let names = |word: &str| word == unnamed.group || word == "all" || word == "*";
            let means = hosts
                .split([',', ':'])
                .any(|word| names(word.trim_start_matches('&')) || word.contains("{{"));
            if means {
                let name = play
                    .name
                    .as_ref()
                    .map_or_else(|| hosts.clone(), consort_jinja::repr::text);
                all.push(UnnamedPlay {
                    group: unnamed.group.clone(),
                    from: unnamed.from.clone(),
                    play: name,
                    location: super::told::place(&play.origin, root),
                });
            }
        }
    }
    all
}
