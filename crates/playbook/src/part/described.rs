//! What a task did or would do, as a change of the plan: what it finds, what it leaves, what can be done about it.

use consort_plan::{Action, Planned, Reversal, Unknown, below};
use serde_json::{Map, Value as Json};

use super::told::{Deed, Piece};
use super::values::Hidden;

/// What is done, with both sides of it.
pub(super) struct Sides {
    pub(super) action: Action,
    pub(super) before: Option<Planned>,
    pub(super) after: Option<Planned>,
}

/// A task as a change. `there` tells whether its machine could be asked.
pub(super) fn sides(deed: &Deed, hidden: &Hidden, there: bool) -> Sides {
    if deed.unforeseen.is_some() {
        return unforeseen(deed, hidden, there);
    }
    if !deed.changed {
        return Sides {
            action: Action::NoOp,
            before: None,
            after: None,
        };
    }
    let changed: Vec<&Piece> = deed.pieces.iter().filter(|piece| piece.changed).collect();
    let (mut before, mut after) = (base(deed), base(deed));
    let mut actions = Vec::new();
    let mut secret = Vec::new();
    let looped = deed.pieces.iter().any(|piece| piece.item.is_some());
    for piece in &changed {
        let (action, was, will) = of_piece(deed, piece);
        let at = if looped {
            let label = piece.item.clone().unwrap_or_default();
            put(&mut before, &label, was);
            put(&mut after, &label, will);
            below("/items", &label)
        } else {
            before.extend(was.unwrap_or_default());
            after.extend(will.unwrap_or_default());
            String::new()
        };
        secret.extend(piece.secret.iter().map(|name| below(&at, name)));
        actions.push(action);
    }
    let first = actions.first().copied().unwrap_or(Action::Update);
    let action = if actions.iter().all(|action| *action == first) {
        first
    } else {
        Action::Update
    };
    let side = |value: Map<String, Json>| {
        let mut planned = Planned::known(Json::Object(value));
        hide(&mut planned, deed, hidden, &secret);
        planned
    };
    Sides {
        before: (action != Action::Create).then(|| side(before)),
        after: (action != Action::Delete).then(|| side(after)),
        action,
    }
}

fn put(side: &mut Map<String, Json>, label: &str, value: Option<Map<String, Json>>) {
    let Some(value) = value else { return };
    let items = side
        .entry("items")
        .or_insert_with(|| Json::Object(Map::new()));
    if let Some(items) = items.as_object_mut() {
        items.insert(label.to_owned(), Json::Object(value));
    }
}

/// What both sides have.
fn base(deed: &Deed) -> Map<String, Json> {
    let mut base = Map::new();
    base.insert("host".to_owned(), Json::from(&*deed.host));
    if let Some(machine) = &deed.machine {
        base.insert("machine".to_owned(), Json::from(&**machine));
    }
    base
}

fn unforeseen(deed: &Deed, hidden: &Hidden, there: bool) -> Sides {
    if !deed.changed {
        return Sides {
            action: Action::Read,
            before: None,
            after: None,
        };
    }
    let mut known = base(deed);
    let mut secret = Vec::new();
    if let [piece] = deed.pieces.as_slice()
        && piece.item.is_none()
    {
        known.extend(piece.arguments.clone());
        secret.extend(piece.secret.iter().map(|name| below("", name)));
    }
    let mut before = Planned::known(Json::Object(known.clone()));
    known.insert("result".to_owned(), Json::Null);
    let mut after = Planned::known(Json::Object(known));
    after.unknown.push(Unknown {
        at: "/result".to_owned(),
        kind: "dynamic".to_owned(),
        from: None,
    });
    hide(&mut before, deed, hidden, &secret);
    hide(&mut after, deed, hidden, &secret);
    Sides {
        action: if there {
            Action::Update
        } else {
            Action::Create
        },
        before: there.then_some(before),
        after: Some(after),
    }
}

/// Marks what must not be shown; of a task with `no_log` nothing is kept at all.
fn hide(planned: &mut Planned, deed: &Deed, hidden: &Hidden, secret: &[String]) {
    if deed.no_log {
        planned.value = Json::Object(base(deed));
        planned
            .unknown
            .retain(|unknown| unknown.at == "/result" && planned.value.is_object());
        if let Some(fields) = planned.value.as_object_mut() {
            for unknown in &planned.unknown {
                fields.insert(unknown.at.trim_start_matches('/').to_owned(), Json::Null);
            }
            fields.insert("arguments".to_owned(), Json::from("(no_log)"));
        }
        planned.sensitive.push("/arguments".to_owned());
        return;
    }
    let mut places: Vec<String> = secret
        .iter()
        .filter(|at| planned.value.pointer(at).is_some())
        .cloned()
        .collect();
    // Content that is secret is so on both sides, whatever it is called there.
    if secret.iter().any(|at| at.ends_with("/content")) {
        places.extend(
            secret
                .iter()
                .filter(|at| planned.value.pointer(at).is_some())
                .cloned(),
        );
    }
    hidden.places(&planned.value, "", &mut places);
    places.sort();
    places.dedup();
    planned.sensitive = places;
}

/// One piece: what is done, what is there, and what will be.
pub(super) type OfPiece = (Action, Option<Map<String, Json>>, Option<Map<String, Json>>);

pub(super) fn of_piece(deed: &Deed, piece: &Piece) -> OfPiece {
    let mut before = piece.arguments.clone();
    let mut after = piece.arguments.clone();
    let differences: &[Json] = match &piece.diff {
        Json::Array(all) => all,
        Json::Null => &[],
        one => std::slice::from_ref(one),
    };
    let mut absent_before = false;
    let mut absent_after = false;
    let mut differs = false;
    let mut prepared_only = true;
    let mut not_new = false;
    for difference in differences {
        let (was, will) = (difference.get("before"), difference.get("after"));
        let header = |name: &str| difference.get(name).and_then(Json::as_str);
        match (was, will) {
            (Some(Json::Object(was)), Some(Json::Object(will))) => {
                differs |= was != will;
                prepared_only = false;
                absent_before |= was.get("state").and_then(Json::as_str) == Some("absent");
                absent_after |= will.get("state").and_then(Json::as_str) == Some("absent");
                before.extend(was.clone());
                after.extend(will.clone());
            }
            (Some(Json::String(was)), will) => {
                let will = will.and_then(Json::as_str).unwrap_or_default();
                differs |= was != will;
                prepared_only = false;
                absent_before |= was.is_empty() && header("before_header").is_none();
                before.insert("content".to_owned(), Json::from(was.as_str()));
                after.insert("content".to_owned(), Json::from(will));
            }
            (None, Some(Json::String(will))) => {
                differs = true;
                prepared_only = false;
                before.remove("content");
                after.insert("content".to_owned(), Json::from(will.as_str()));
            }
            _ => {
                if let Some(prepared) = difference.get("prepared") {
                    differs = true;
                    not_new |= !is_of_new_packages(prepared, &piece.arguments);
                    after.insert("diff".to_owned(), prepared.clone());
                }
                for name in ["src_binary", "dst_binary", "src_larger", "dst_larger"] {
                    if difference.get(name).is_some() {
                        differs = true;
                        prepared_only = false;
                        after.insert("content".to_owned(), Json::from("(not shown)"));
                    }
                }
            }
        }
    }
    let state = piece
        .arguments
        .get("state")
        .and_then(Json::as_str)
        .unwrap_or_default();
    // What a package manager says of its work tells no two sides apart.
    let untold = !differs || prepared_only;
    if absent_after || untold && matches!(state, "absent" | "removed" | "uninstalled") {
        return (Action::Delete, Some(before), None);
    }
    if absent_before || untold && !not_new && installs(deed.leaf(), state) {
        return (Action::Create, None, Some(after));
    }
    if !differs {
        // What is there now the module did not say.
        before.clear();
    }
    (Action::Update, Some(before), Some(after))
}

/// Modules of packages: what they would change is not there.
const PACKAGES: &[&str] = &[
    "apk", "apt", "dnf", "dnf5", "homebrew", "npm", "package", "pacman", "pip", "yum", "zypper",
];

fn installs(leaf: &str, state: &str) -> bool {
    PACKAGES.contains(&leaf) && matches!(state, "" | "present" | "installed")
}

/// Whether all that a task asks for is new, as far as the package manager tells that.
fn is_of_new_packages(prepared: &Json, arguments: &Map<String, Json>) -> bool {
    let Some((_, rest)) = prepared
        .as_str()
        .and_then(|text| text.split_once("The following NEW packages will be installed:\n"))
    else {
        return prepared
            .as_str()
            .is_none_or(|text| !text.contains("The following packages will be upgraded:"));
    };
    let new: Vec<&str> = rest
        .lines()
        .take_while(|line| line.starts_with(' '))
        .flat_map(str::split_whitespace)
        .collect();
    let asked = ["name", "package", "pkg"]
        .iter()
        .find_map(|name| arguments.get(*name));
    let is_new = |name: &Json| {
        let plain = name.as_str().unwrap_or_default();
        let plain = plain.split(['=', ':', '/']).next().unwrap_or_default();
        new.contains(&plain)
    };
    match asked {
        Some(Json::Array(names)) => names.iter().all(is_new),
        Some(name) => name
            .as_str()
            .unwrap_or_default()
            .split(',')
            .all(|name| is_new(&Json::from(name.trim()))),
        // A file, whose package has a name of its own.
        None => true,
    }
}

/// What a plan back can give again.
pub(super) fn reversal(leaf: &str, action: Action) -> Reversal {
    match leaf {
        "command" | "shell" | "script" | "raw" | "expect" | "reboot" => Reversal::Irreversible,
        "lineinfile" | "blockinfile" | "replace" | "ini_file" => Reversal::Reversible,
        "copy" | "template" | "file" | "assemble" => match action {
            // What was in it is nowhere else.
            Action::Delete => Reversal::Irreversible,
            _ => Reversal::Reversible,
        },
        "service" | "systemd" | "systemd_service" | "sysvinit" | "sysctl" | "hostname" | "cron"
        | "mount" | "iptables" | "authorized_key" | "known_hosts" | "group" | "apt_repository"
        | "deb822_repository" | "yum_repository" | "debconf" | "dpkg_selections" => {
            Reversal::Reversible
        }
        "user" if action == Action::Delete => Reversal::Irreversible,
        _ => match action {
            Action::NoOp | Action::Read => Reversal::Reversible,
            _ => Reversal::Compensable,
        },
    }
}
