//! What is wrong with how playbooks, inventories and options were written.

use super::{listed, meant};
use crate::explain::files;
use crate::explain::known;
use crate::explain::names::between;
use crate::explain::nearest::nearest;

pub(super) const VAULT: &str =
    "give the secret: --vault-password-file FILE, -J to be asked, or ANSIBLE_VAULT_PASSWORD_FILE";

/// What could be done.
pub(super) fn of(message: &str) -> Vec<String> {
    names(message)
        .or_else(|| found(message))
        .or_else(|| text(message).map(|hint| vec![hint.to_owned()]))
        .unwrap_or_default()
}

/// Names that nobody knows.
fn names(message: &str) -> Option<Vec<String>> {
    if let Some(name) = between(message, "couldn't resolve module/action '", "'") {
        let (collection, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        let near = nearest(leaf, known::modules().chain(known::keywords()));
        return Some(match (collection, near) {
            ("" | "ansible.builtin" | "ansible.legacy", Some(near)) => vec![meant(near)],
            ("" | "ansible.builtin" | "ansible.legacy", None) => vec![
                "ansible.builtin has no such module: name it with its collection (community.general.NAME), and see that the collection is installed"
                    .to_owned(),
            ],
            (collection, _) => vec![format!(
                "is the collection installed? ansible-galaxy collection install {collection}"
            )],
        });
    }
    if let Some(name) = between(message, "'", "' is not a valid attribute for a ") {
        let own = message
            .split("is not a valid attribute for a ")
            .nth(1)
            .unwrap_or_default();
        let control = [
            "loop_var",
            "index_var",
            "label",
            "pause",
            "extended",
            "extended_allitems",
            "break_when",
        ];
        if own.starts_with("Block") && known::keywords().any(|known| known == name) {
            return Some(vec![format!(
                "'{name}' is for tasks, not for blocks: give it to an include_tasks with the block's tasks in a file, or to each task"
            )]);
        }
        let near = if own.starts_with("LoopControl") {
            nearest(name, control)
        } else {
            nearest(name, known::keywords().chain(known::modules()))
        };
        return Some(match near {
            Some(near) => vec![meant(near)],
            None => vec!["keywords of a module stand below the module, those of the task beside it: look at the indentation".to_owned()],
        });
    }
    if let Some(names) = message.split("conflicting action statements: ").nth(1) {
        let names: Vec<&str> = names
            .lines()
            .next()
            .unwrap_or_default()
            .split(", ")
            .collect();
        let hints: Vec<String> = names
            .iter()
            .filter(|name| !known::modules().any(|module| module == **name))
            .map(|name| {
                if matches!(*name, "hosts" | "tasks" | "roles") {
                    return "this is a play, where tasks are wanted: use import_playbook for files of plays"
                        .to_owned();
                }
                match nearest(name, known::keywords().chain(known::modules())) {
                    Some(near) => format!("where '{name}' stands, {}", meant(near)),
                    None => format!(
                        "'{name}' is no keyword of tasks: an argument of the module stands below the module, further in"
                    ),
                }
            })
            .collect();
        return Some(if hints.is_empty() {
            vec!["a task does one thing: make a task of each".to_owned()]
        } else {
            hints
        });
    }
    if let Some(name) = message.split("invalid meta action requested: ").nth(1) {
        let name = name.lines().next().unwrap_or_default();
        let all: Vec<&str> = known::meta().collect();
        return Some(match nearest(name, known::meta()) {
            Some(near) => vec![meant(near)],
            None => vec![format!("there are: {}", listed(&all))],
        });
    }
    if let Some(name) = message.split("Invalid play strategy specified: ").nth(1) {
        let name = name.lines().next().unwrap_or_default();
        return Some(vec![
            match nearest(name, known::STRATEGIES.iter().copied()) {
                Some(near) => meant(near),
                None => format!("there are: {}", listed(known::STRATEGIES)),
            },
        ]);
    }
    None
}

/// Files, roles and hosts that are not there.
fn found(message: &str) -> Option<Vec<String>> {
    if let Some(role) = between(message, "The role '", "' was not found in: ") {
        let near = between(message, "' was not found in: ", "\n")
            .or_else(|| message.split("' was not found in: ").nth(1))?
            .split(':')
            .find_map(|directory| {
                files::near(&format!("{directory}/{role}"))
                    .filter(|path| std::path::Path::new(path).is_dir())
            });
        return Some(vec![match near {
            Some(near) => format!("did you mean {near}?"),
            None if role.matches('.').count() == 2 => {
                let collection = role
                    .rsplit_once('.')
                    .map_or(role, |(collection, _)| collection);
                format!(
                    "is the collection installed? ansible-galaxy collection install {collection}"
                )
            }
            None => format!(
                "install it (ansible-galaxy role install {role}), or name the directory it lies in by roles_path in ansible.cfg"
            ),
        }]);
    }
    for (before, after) in [
        ("the playbook: ", " could not be found"),
        ("Could not find or access '", "'"),
    ] {
        if let Some(path) = between(message, before, after) {
            return Some(match files::near(path) {
                Some(near) => vec![format!("did you mean {near}?")],
                None => files::beside(path).into_iter().collect(),
            });
        }
    }
    if message.contains("Could not find specified file in role") {
        return Some(vec![
            "it is looked for in the role, with .yml, .yaml or .json behind it, or as it is written".to_owned(),
        ]);
    }
    None
}

/// Parts of messages, and what could be done.
const HINTS: &[(&str, &str)] = &[
    (
        "Decryption failed",
        "the secret is not the one it was encrypted with; with several, name them: --vault-id NAME@FILE",
    ),
    ("no vault secrets", VAULT),
    (
        "The field 'hosts' is required",
        "a play names its hosts: `hosts: all`",
    ),
    (
        "Hosts list cannot be empty",
        "a play names its hosts: `hosts: all`",
    ),
    (
        "playbook entries must be either valid plays",
        "a playbook is a list of plays: `- hosts: all`, then `tasks:`",
    ),
    (
        "A playbook must be a list of plays",
        "begin each play with `- `: `- hosts: all`",
    ),
    (
        "A malformed block was encountered",
        "tasks are a list: begin each with `- `",
    ),
    (
        "Empty playbook",
        "a playbook is a list of plays: `- hosts: all`, then `tasks:`",
    ),
    (
        "no module/action detected",
        "a task names a module: `debug: {msg: ...}`",
    ),
    (
        "duplicate loop in task",
        "a task has one loop: nest them with include_tasks, or use the filter `product`",
    ),
    (
        "maximum recursion depth exceeded",
        "a file imports itself, or one that imports it",
    ),
    (
        "was not found in either the main handlers list",
        "handlers are known by their `name` or by `listen`, in `handlers:` of the play or of its roles",
    ),
    (
        "When using static imports",
        "use include_tasks (or include_role) where the name is known only when the play runs",
    ),
    ("Tabs are usually invalid", "indent with blanks"),
    (
        "found character that cannot start any token",
        "put values that begin with % @ or ` in quotes",
    ),
    (
        "did not find expected key",
        "a line is indented too little or too much: look at the one marked and the one before",
    ),
    ("did not find expected ',' or ']'", "a [ or { is not closed"),
    ("unexpected end of stream", "a quote is not closed"),
    (
        "must be utf-8 encoded",
        "the file is in another encoding: iconv -f latin1 -t utf-8 FILE",
    ),
    (
        "leaves us with no hosts to target",
        "--limit and the inventory have no host in common: see `--list-hosts`",
    ),
];

fn text(message: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .find(|(part, _)| message.contains(part))
        .map(|(_, hint)| *hint)
}
