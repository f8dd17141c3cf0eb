//! A blueprint as text: part by part what changes, what the policies say of it, and the verdict last.

use std::collections::HashMap;
use std::fmt::Write as _;

use consort_plan::{
    Action, Blueprint, Change, Commit, Drift, Intent, Mode, Owner, Planned, PlannedPart, Points,
    Reversal, Source, VerdictKind,
};
use serde_json::Value;

use super::fields::{Fields, Sides, dotted, fields};
use super::inline::Sight;
use super::problem;
use super::style::{Style, columns, count, escaped, wrapped};
use crate::deeds;

/// What of an object of Kubernetes is its server's business or stands in its address already.
const OBJECTS_OWN: [&str; 12] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/metadata/managedFields",
    "/metadata/selfLink",
    "/metadata/annotations/deployment.kubernetes.io~1revision",
    "/status",
];

/// The mark of an action: `+`, `~`, `-`, `-/+`, `+/-`, `<=`, `.`; blank where nothing is done.
pub fn mark(action: Action) -> &'static str {
    match action {
        Action::NoOp => "",
        Action::Read => "<=",
        Action::Create => "+",
        Action::Update => "~",
        Action::DeleteThenCreate => "-/+",
        Action::CreateThenDelete => "+/-",
        Action::Delete => "-",
        Action::Forget => ".",
    }
}

fn meaning(action: Action) -> &'static str {
    match action {
        Action::NoOp => "no change",
        Action::Read => "read",
        Action::Create => "create",
        Action::Update => "change in place",
        Action::DeleteThenCreate => "delete, then create anew",
        Action::CreateThenDelete => "create anew, then delete",
        Action::Delete => "delete",
        Action::Forget => "no longer looked after, stays",
    }
}

fn code(action: Action) -> &'static str {
    match action {
        Action::NoOp => "2",
        Action::Read | Action::Forget => "36",
        Action::Create => "32",
        Action::Update => "33",
        Action::DeleteThenCreate | Action::CreateThenDelete => "1;31",
        Action::Delete => "31",
    }
}

fn painted(action: Action, style: &Style) -> String {
    style.paint(code(action), mark(action)).into_owned()
}

/// How many of what a plan does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) create: usize,
    pub(crate) update: usize,
    pub(crate) replace: usize,
    pub(crate) delete: usize,
    pub(crate) read: usize,
    pub(crate) forget: usize,
    pub(crate) moved: usize,
    pub(crate) unchanged: usize,
}

impl Counts {
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut counts = Counts::default();
        for change in changes {
            match change.action {
                // What only has another address now is counted as moved.
                Action::NoOp if change.moved_from.is_some() => {}
                Action::NoOp => counts.unchanged += 1,
                Action::Read => counts.read += 1,
                Action::Create => counts.create += 1,
                Action::Update => counts.update += 1,
                Action::DeleteThenCreate | Action::CreateThenDelete => counts.replace += 1,
                Action::Delete => counts.delete += 1,
                Action::Forget => counts.forget += 1,
            }
            counts.moved += usize::from(change.moved_from.is_some());
        }
        counts
    }

    /// `2 to create, 1 to replace`; empty where nothing is to be done.
    pub(crate) fn text(self) -> String {
        let mut parts = Vec::new();
        for (number, what) in [
            (self.create, "to create"),
            (self.update, "to change"),
            (self.replace, "to replace"),
            (self.delete, "to delete"),
            (self.forget, "to forget"),
            (self.read, "to read"),
            (self.moved, "moved"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        parts.join(", ")
    }
}

/// A blueprint as text. It ends in one line with the total and the verdict.
pub fn plan(blueprint: &Blueprint, style: &Style) -> String {
    let mut out = String::new();
    header(blueprint, style, &mut out);
    let points: HashMap<u32, &Points> = blueprint
        .blast
        .each
        .iter()
        .map(|points| (points.change, points))
        .collect();
    for part in &blueprint.parts {
        write_part(blueprint, part, &points, style, &mut out);
    }
    for warning in &blueprint.warnings {
        out.push('\n');
        problem::write(warning, "Warning", "33", style, &mut out);
    }
    verdicts(blueprint, style, &mut out);
    total(blueprint, style, &mut out);
    out
}

fn header(blueprint: &Blueprint, style: &Style, out: &mut String) {
    let what = match &blueprint.mode {
        Mode::Apply => String::new(),
        Mode::Destroy => "DESTROY ".to_owned(),
        Mode::Rollback { to } => format!("rollback to revision {to} of "),
        Mode::Heal => "putting back what has drifted in ".to_owned(),
    };
    let from = blueprint.parent.revision;
    let revision = if blueprint.is_empty() {
        format!("revision {from}")
    } else {
        format!("revision {from} -> {}", from + 1)
    };
    let _ = writeln!(
        out,
        "{what}{}: {revision}, by {}",
        style.bold(&escaped(&blueprint.score)),
        escaped(&blueprint.author),
    );
    let _ = writeln!(
        out,
        "{}",
        style.dim(&format!("from {}", source(&blueprint.source)))
    );
    let mut marks: Vec<Action> = Vec::new();
    for change in &blueprint.changes {
        if change.action != Action::NoOp && !marks.contains(&change.action) {
            marks.push(change.action);
        }
    }
    marks.sort_unstable();
    let mut used = 0;
    for action in marks {
        let width = columns(mark(action)) + 1 + columns(meaning(action));
        if used > 0 && used + 3 + width > style.width {
            out.push('\n');
            used = 0;
        }
        if used > 0 {
            out.push_str("   ");
            used += 3;
        }
        let _ = write!(
            out,
            "{} {}",
            painted(action, style),
            style.dim(meaning(action))
        );
        used += width;
    }
    if used > 0 {
        out.push('\n');
    }
}

/// Where a plan's source is, on one line.
pub(super) fn source(source: &Source) -> String {
    match source {
        Source::Directory { path, commit } => match commit {
            Some(commit) => format!("{} at {}", escaped(path), self::commit(commit)),
            None => escaped(path).into_owned(),
        },
        Source::Git {
            url,
            reference,
            path,
            commit,
        } => {
            let below = if path.is_empty() {
                String::new()
            } else {
                format!("//{}", escaped(path))
            };
            format!(
                "{}{below} {} at {}",
                escaped(url),
                escaped(reference),
                self::commit(commit)
            )
        }
        Source::Revision { revision } => format!("revision {revision}"),
    }
}

/// `1f3ac2d90b12 "subject" of author`.
pub(super) fn commit(commit: &Commit) -> String {
    let id: String = commit.id.chars().take(12).collect();
    format!(
        "commit {} \"{}\" of {}",
        escaped(&id),
        escaped(&commit.subject),
        escaped(&commit.author)
    )
}

fn write_part(
    blueprint: &Blueprint,
    part: &PlannedPart,
    points: &HashMap<u32, &Points>,
    style: &Style,
    out: &mut String,
) {
    let from = (part.first as usize).min(blueprint.changes.len());
    let to = from
        .saturating_add(part.count as usize)
        .min(blueprint.changes.len());
    let changes = &blueprint.changes[from..to];
    let counts = Counts::of(changes);
    let sum: u64 = (from..to)
        .filter_map(|index| points.get(&(index as u32)))
        .map(|points| u64::from(points.points))
        .sum();
    let mut about = Vec::new();
    if part.intent == Intent::Destroy && blueprint.mode != Mode::Destroy {
        about.push("taken out of the score".to_owned());
    }
    let text = counts.text();
    if !text.is_empty() {
        about.push(text);
    }
    if counts.unchanged > 0 {
        about.push(format!("{} unchanged", counts.unchanged));
    }
    if about.is_empty() {
        about.push("nothing in it".to_owned());
    }
    if sum > 0 {
        about.push(count(sum as usize, "point", "points"));
    }
    let _ = writeln!(
        out,
        "\n{} {}",
        style.bold(&escaped(&part.name)),
        style.dim(&format!("({})  {}", escaped(&part.layer), about.join(", ")))
    );
    let shown = |change: &Change| {
        change.action != Action::NoOp || change.moved_from.is_some() || style.full
    };
    // Points stand in one column, where the addresses leave room for it.
    let most = style.width.saturating_sub(34).max(20);
    let column = changes
        .iter()
        .filter(|change| shown(change))
        .map(|change| columns(change.address.local()))
        .filter(|length| *length <= most)
        .max()
        .unwrap_or(0);
    let mut left = Vec::new();
    for (index, change) in (from..to).zip(changes) {
        if shown(change) {
            let points = points.get(&(index as u32)).copied();
            write_change(blueprint, part, change, points, column, style, out);
        } else {
            left.extend(change.drift.iter().map(|drift| (change, drift)));
        }
    }
    if !left.is_empty() {
        let _ = writeln!(out, "  {}", style.dim("left as found, others own it:"));
        for (change, drift) in left {
            let text = format!(
                "      {}: {}",
                escaped(change.address.local()),
                drift_text(drift, change)
            );
            let _ = writeln!(out, "{}", style.dim(&text));
        }
    }
}

fn write_change(
    blueprint: &Blueprint,
    part: &PlannedPart,
    change: &Change,
    points: Option<&Points>,
    column: usize,
    style: &Style,
    out: &mut String,
) {
    const INDENT: &str = "      ";
    let sign = if change.action == Action::NoOp && change.moved_from.is_some() {
        ">"
    } else {
        mark(change.action)
    };
    let address = escaped(change.address.local());
    let _ = write!(
        out,
        "  {}{} {}",
        style.paint(code(change.action), sign),
        &"   "[sign.len()..],
        style.bold(&address)
    );
    match points.map(points_text) {
        Some((number, because)) => {
            let width = columns(&address);
            let together = 6 + column.max(width) + 2 + columns(&number) + 2 + columns(&because);
            if together <= style.width {
                let gap = column.saturating_sub(width) + 2;
                let _ = writeln!(
                    out,
                    "{:gap$}{}  {}",
                    "",
                    style.cyan(&number),
                    style.dim(&because)
                );
            } else {
                out.push('\n');
                let _ = writeln!(out, "{INDENT}{}", style.cyan(number.trim()));
                let mut lines = String::new();
                wrapped(&because, &format!("{INDENT}  "), style.width, &mut lines);
                for line in lines.lines() {
                    let _ = writeln!(out, "{}", style.dim(line));
                }
            }
        }
        None => out.push('\n'),
    }
    let mut say = |text: String, code: &str| {
        let mut lines = String::new();
        wrapped(&text, INDENT, style.width, &mut lines);
        for line in lines.lines() {
            let _ = writeln!(out, "{}", style.paint(code, line));
        }
    };
    if let Some(from) = &change.moved_from {
        say(format!("moved from {}", escaped(from.as_str())), "36");
    }
    for reason in &change.reasons {
        say(format!("because {}", escaped(reason)), "2");
    }
    let told = told(change, part, style);
    if !told.replaces.is_empty() && change.action.is_replace() {
        say(
            format!("replaced because of {}", told.replaces.join(", ")),
            "31",
        );
    }
    let rollback = matches!(blueprint.mode, Mode::Rollback { .. });
    if change.action.changes() && (rollback || change.reversal == Reversal::Irreversible) {
        let code = match change.reversal {
            Reversal::Reversible => "32",
            Reversal::Compensable => "33",
            Reversal::Irreversible => "1;31",
        };
        say(crate::rollback::label(change), code);
    }
    if let Some(location) = change.location.as_ref().filter(|_| style.full) {
        say(format!("at {}", escaped(&location.to_string())), "2");
    }
    for index in &told.drift {
        let Some(drift) = change.drift.get(*index) else {
            continue;
        };
        let what = if drift.corrected {
            "drifted"
        } else {
            "left as found"
        };
        say(format!("{what}: {}", drift_text(drift, change)), "35");
    }
    if !style.brief {
        write_fields(change, &told, style, out);
    }
}

/// The same object without the fields that hold what the server fills in for everybody, and without the labels by which
/// objects are found to belong to a score.
fn without_defaults(planned: &Planned) -> Planned {
    let mut planned = planned.clone();
    strip(&mut planned.value, 0);
    if let Some(labels) = planned
        .value
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.shift_remove(deeds::SCORE);
        labels.shift_remove(deeds::PART);
        labels.shift_remove("kubernetes.io/metadata.name");
        let empty = labels.is_empty();
        if empty && let Some(metadata) = planned.value.pointer_mut("/metadata") {
            metadata
                .as_object_mut()
                .map(|metadata| metadata.shift_remove("labels"));
        }
    }
    planned
}

/// Whether a type is one of the API itself: those others bring have defaults of their own.
fn is_built_in(kind: &str) -> bool {
    match kind.split('/').collect::<Vec<_>>().as_slice() {
        [_version, _kind] => true,
        [group, _version, _kind] => !group.contains('.') || group.ends_with(".k8s.io"),
        _ => false,
    }
}

/// Removes defaults; never an element of a list, so that places keep their numbers.
fn strip(value: &mut Value, depth: usize) {
    if depth > super::inline::DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| !is_default(name, field));
            for (name, field) in fields.iter_mut() {
                // What users name themselves has no defaults.
                let own = ["data", "stringData", "binaryData", "labels", "annotations"];
                if !own.contains(&name.as_str()) {
                    strip(field, depth + 1);
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| strip(part, depth + 1)),
        _ => {}
    }
}

/// Whether a field holds what the Kubernetes API fills in where nothing is said (the defaults of its published API).
fn is_default(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => matches!(
            (name, text.as_str()),
            ("terminationMessagePath", "/dev/termination-log")
                | ("terminationMessagePolicy", "File")
                | ("restartPolicy", "Always")
                | ("dnsPolicy", "ClusterFirst")
                | ("schedulerName", "default-scheduler")
                | ("protocol", "TCP")
                | ("sessionAffinity", "None")
                | ("internalTrafficPolicy", "Cluster")
                | ("ipFamilyPolicy", "SingleStack")
                | ("scheme", "HTTP")
                | ("volumeMode", "Filesystem")
                | ("completionMode", "NonIndexed")
                | ("podReplacementPolicy", "TerminatingOrFailed")
                | ("podManagementPolicy", "OrderedReady")
        ),
        Value::Number(number) => matches!(
            (name, number.as_u64()),
            ("terminationGracePeriodSeconds", Some(30))
                | ("revisionHistoryLimit" | "periodSeconds", Some(10))
                | ("progressDeadlineSeconds", Some(600))
                | ("defaultMode", Some(420))
                | ("successThreshold" | "timeoutSeconds", Some(1))
                | ("failureThreshold", Some(3))
        ),
        Value::Bool(on) => name == "enableServiceLinks" && *on,
        Value::Object(fields) if fields.is_empty() => {
            matches!(name, "securityContext" | "resources" | "strategy")
        }
        Value::Object(fields) => {
            let rolling = fields
                .get("rollingUpdate")
                .and_then(Value::as_object)
                .is_some_and(|rolling| {
                    rolling.len() == 2
                        && rolling.get("maxSurge").and_then(Value::as_str) == Some("25%")
                        && rolling.get("maxUnavailable").and_then(Value::as_str) == Some("25%")
                });
            name == "strategy"
                && rolling
                && fields.len() == 2
                && fields.get("type").and_then(Value::as_str) == Some("RollingUpdate")
        }
        Value::Array(parts) => {
            let only = match parts.as_slice() {
                [Value::String(only)] => only.as_str(),
                _ => return false,
            };
            matches!(
                (name, only),
                ("ipFamilies", "IPv4") | ("finalizers", "kubernetes")
            )
        }
        Value::Null => false,
    }
}

/// What changes in a resource, as far as it is told.
fn told(change: &Change, part: &PlannedPart, style: &Style) -> Fields {
    let hidden: &[&str] = if part.layer == "manifests" {
        &OBJECTS_OWN
    } else {
        &[]
    };
    // What is read or deleted is told by its address; its fields are context.
    let (before, after) = match change.action {
        Action::Delete | Action::Forget if !style.full => (None, None),
        Action::NoOp => (None, None),
        _ => (change.before.as_ref(), change.after.as_ref()),
    };
    // Of a new object the server's defaults are context as well.
    let bare = after
        .filter(|_| part.layer == "manifests" && change.action == Action::Create && !style.full)
        .filter(|_| is_built_in(&change.kind))
        .map(without_defaults);
    fields(&Sides {
        before,
        after: bare.as_ref().or(after),
        replaces: if change.action.is_replace() {
            &change.replaces
        } else {
            &[]
        },
        drift: &change.drift,
        hidden,
        full: style.full,
    })
}

fn write_fields(change: &Change, told: &Fields, style: &Style, out: &mut String) {
    const INDENT: usize = 6;
    const WIDEST: usize = 44;
    // Values that only the resource itself will tell are many and say little: one line for all of them.
    let later = told
        .fields
        .iter()
        .filter(|field| field.told_later.is_some() && !field.replaces)
        .count();
    let fold = !style.full && later > 3;
    let lines: Vec<_> = told
        .fields
        .iter()
        .filter(|field| !fold || field.told_later.is_none() || field.replaces)
        .collect();
    let widest = WIDEST.min(style.width / 2);
    let column = lines
        .iter()
        .map(|field| columns(&field.path))
        .filter(|length| *length <= widest)
        .max()
        .unwrap_or(0);
    for field in lines {
        let (sign, code) = match (&field.before, &field.after) {
            _ if !field.lines.is_empty() => ("~", "33"),
            (None, Some(_)) => ("+", "32"),
            (Some(_), None) => ("-", "31"),
            _ => ("~", "33"),
        };
        let mut notes = Vec::new();
        if field.replaces && change.action.is_replace() {
            notes.push(style.red("forces replacement").into_owned());
        }
        if let Some(drift) = field.drift.and_then(|index| change.drift.get(index)) {
            notes.push(
                style
                    .paint("35", &format!("drifted: {}", owner(&drift.owner)))
                    .into_owned(),
            );
        }
        let notes = if notes.is_empty() {
            String::new()
        } else {
            format!("  # {}", notes.join(", "))
        };
        // On a resource that comes everything comes: the sign would say nothing.
        let sign = if change.action == Action::Create || change.action == Action::Delete {
            " "
        } else {
            sign
        };
        let path = if field.path.is_empty() {
            "(all of it)"
        } else {
            &field.path
        };
        let width = columns(path);
        let _ = write!(out, "{:INDENT$}{} {path}", "", style.paint(code, sign));
        if !field.lines.is_empty() {
            let _ = writeln!(out, ":{notes}");
            for line in &field.lines {
                let code = match line.as_bytes().first() {
                    Some(b'+') => "32",
                    Some(b'-') => "31",
                    _ => "2",
                };
                let _ = writeln!(out, "{:1$}{2}", "", INDENT + 6, style.paint(code, line));
            }
            continue;
        }
        let gap = column.saturating_sub(width);
        match (&field.before, &field.after) {
            (Some(before), Some(after)) => {
                let one = INDENT + 2 + column.max(width) + 2 + columns(before) + 4 + columns(after);
                if one <= style.width {
                    let _ = writeln!(
                        out,
                        "{:gap$}  {} {} {}{notes}",
                        "",
                        style.paint("31", before),
                        style.dim("->"),
                        style.paint("32", after)
                    );
                } else {
                    let _ = writeln!(
                        out,
                        "{notes}\n{:2$}{1}",
                        "",
                        style.paint("31", before),
                        INDENT + 6
                    );
                    let _ = writeln!(
                        out,
                        "{:3$}{1} {2}",
                        "",
                        style.dim("->"),
                        style.paint("32", after),
                        INDENT + 3
                    );
                }
            }
            (before, after) => {
                let value = after
                    .as_ref()
                    .or(before.as_ref())
                    .map_or("", String::as_str);
                let goes = after.is_none() && change.action != Action::Delete;
                let code = if goes { "31" } else { "0" };
                let value = if style.colours && code != "0" {
                    style.paint(code, value)
                } else {
                    value.into()
                };
                let one = INDENT + 2 + column.max(width) + 2 + columns(&value);
                if one <= style.width || width + INDENT + 4 < 24 {
                    let _ = writeln!(out, "{:gap$}  {value}{notes}", "");
                } else {
                    let _ = writeln!(out, "{notes}\n{:1$}{value}", "", INDENT + 6);
                }
            }
        }
    }
    if fold {
        let names: Vec<String> = told
            .fields
            .iter()
            .filter(|field| !field.replaces)
            .filter_map(|field| {
                let kind = field.told_later.as_ref()?;
                Some(format!("{}: {}", field.path, escaped(kind)))
            })
            .collect();
        let mut text = String::new();
        wrapped(
            &format!("(known after apply: {})", names.join(", ")),
            &" ".repeat(INDENT + 2),
            style.width,
            &mut text,
        );
        for line in text.lines() {
            let _ = writeln!(out, "{}", style.dim(line));
        }
    }
}

/// The number, right-aligned for up to three digits, and how it came to be.
fn points_text(points: &Points) -> (String, String) {
    let number = format!(
        "{:>3} {}",
        points.points,
        if points.points == 1 {
            "point "
        } else {
            "points"
        }
    );
    let mut because = escaped(&points.because).into_owned();
    if let Some(downstream) = &points.downstream
        && !because.contains(downstream.as_str())
    {
        let _ = write!(because, ", for {}", escaped(downstream.as_str()));
    }
    (number, because)
}

/// Who owns a field, for people.
pub(super) fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Score => "nobody else claims it".to_owned(),
        Owner::Autoscaler(name) => format!("set by the autoscaler {}", escaped(name)),
        Owner::Controller(name) => format!("set by the controller {}", escaped(name)),
        Owner::Person(name) => format!("set by a person with {}", escaped(name)),
        Owner::Default => "filled in by the server".to_owned(),
        Owner::Outside => "changed outside".to_owned(),
    }
}

fn drift_text(drift: &Drift, change: &Change) -> String {
    let value = change.before.as_ref().map(|before| &before.value);
    let (wanted, found) = (
        Sight::of(Some(&drift.wanted), Some(&drift.found)),
        Sight::of(Some(&drift.found), Some(&drift.wanted)),
    );
    let wanted = wanted.inline("", &drift.wanted.value, 60);
    let found = found.inline("", &drift.found.value, 60);
    let owner = owner(&drift.owner);
    if drift.at.is_empty() {
        return match (drift.wanted.value.is_null(), drift.found.value.is_null()) {
            (false, true) => format!("it is gone, {owner}"),
            (true, false) => format!("it is there, {owner}"),
            _ => format!("it differs, {owner}"),
        };
    }
    let at = dotted(&drift.at, value);
    format!("{at} is {found}, the source has {wanted}; {owner}")
}

fn verdicts(blueprint: &Blueprint, style: &Style, out: &mut String) {
    let blast = &blueprint.blast;
    if blueprint.verdicts.is_empty() && blast.approval.is_empty() && blast.by_rule.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", style.bold("Policy"));
    let mut all: Vec<_> = blueprint.verdicts.iter().collect();
    // Warnings first: what stops the plan stands nearest to its end.
    all.sort_by_key(|verdict| std::cmp::Reverse(verdict.kind));
    for verdict in all {
        let (sign, code) = match verdict.kind {
            VerdictKind::Deny => ("deny", "1;31"),
            VerdictKind::Warn => ("warn", "33"),
        };
        let mut lines = String::new();
        let mut message = verdict.message.lines();
        wrapped(
            &escaped(message.next().unwrap_or_default()),
            "        ",
            style.width,
            &mut lines,
        );
        let first = lines.get(8..).unwrap_or_default();
        let _ = write!(out, "  {}  {first}", style.paint(code, sign));
        if first.is_empty() {
            out.push('\n');
        }
        for line in message {
            let _ = writeln!(out, "        {}", escaped(line));
        }
        let mut place = Vec::new();
        if let Some(address) = &verdict.address {
            place.push(format!("about {}", escaped(address.as_str())));
        }
        place.push(format!("rule {}", escaped(&verdict.rule)));
        if let Some(location) = &verdict.location {
            place.push(escaped(&location.to_string()).into_owned());
        }
        let _ = writeln!(out, "        {}", style.dim(&place.join(", ")));
    }
    for rule in &blast.by_rule {
        let because = if rule.because.is_empty() {
            String::new()
        } else {
            format!(": {}", escaped(&rule.because))
        };
        let text = format!(
            "{:+} points by rule {}{because}",
            rule.points,
            escaped(&rule.rule)
        );
        let mut lines = String::new();
        wrapped(&text, "        ", style.width, &mut lines);
        let _ = write!(
            out,
            "  {}  {}",
            style.paint("36", "note"),
            lines.get(8..).unwrap_or_default()
        );
    }
    for reason in &blast.approval {
        let mut lines = String::new();
        wrapped(&escaped(reason), "        ", style.width, &mut lines);
        let _ = write!(
            out,
            "  {}  {}",
            style.paint("36", "note"),
            lines.get(8..).unwrap_or_default()
        );
    }
}

fn total(blueprint: &Blueprint, style: &Style, out: &mut String) {
    let counts = Counts::of(&blueprint.changes);
    let mut parts = counts.text();
    if parts.is_empty() {
        parts.push_str("nothing to do");
    }
    if counts.unchanged > 0 {
        let _ = write!(parts, ", {} unchanged", counts.unchanged);
    }
    let denials = blueprint
        .verdicts
        .iter()
        .filter(|verdict| verdict.kind == VerdictKind::Deny)
        .count();
    let warnings = blueprint.warnings.len() + blueprint.verdicts.len() - denials;
    if warnings > 0 {
        let _ = write!(parts, "; {}", count(warnings, "warning", "warnings"));
    }
    let id = blueprint.id();
    let verdict = if denials > 0 {
        style
            .red(&format!("DENIED by {}", count(denials, "rule", "rules")))
            .into_owned()
    } else if blueprint.is_empty() && counts.read == 0 && counts.moved == 0 {
        style.green("all is as the source says").into_owned()
    } else if blueprint.blast.needs_approval {
        style
            .paint("1;33", &format!("NEEDS AN APPROVAL: consort approve {id}"))
            .into_owned()
    } else {
        style.green("may be carried out").into_owned()
    };
    let _ = writeln!(
        out,
        "\n{} {}: {parts}; {} (threshold {}): {verdict}",
        style.bold("Plan"),
        style.bold(&id),
        count(blueprint.blast.total as usize, "point", "points"),
        blueprint.blast.threshold
    );
}

/// The fields a change touches, a line each (`spec.replicas  2 -> 5`), at most so many. Nothing sensitive is in them.
pub fn changed_fields(change: &Change, most: usize) -> Vec<String> {
    let objects = reference_like(&change.kind);
    let told = fields(&Sides {
        before: change.before.as_ref(),
        after: change.after.as_ref(),
        replaces: &[],
        drift: &[],
        hidden: if objects { &OBJECTS_OWN } else { &[] },
        full: false,
    });
    let count = told.fields.len();
    let mut lines: Vec<String> = told
        .fields
        .into_iter()
        .take(most)
        .map(|field| match (field.before, field.after) {
            (Some(before), Some(after)) => format!("{}  {before} -> {after}", field.path),
            (None, Some(after)) => format!("{}  {after}", field.path),
            (Some(before), None) => format!("{}  {before} -> (nothing)", field.path),
            (None, None) => format!("{}  {}", field.path, field.lines.join("; ")),
        })
        .collect();
    if count > most {
        lines.push(format!("... {} more fields", count - most));
    }
    lines
}

/// Changes between two states as text, part by part, in the form of a plan.
pub fn differences(changes: &[Change], from: &str, to: &str, style: &Style) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {} {}",
        style.bold(&escaped(from)),
        style.dim("->"),
        style.bold(&escaped(to))
    );
    let mut parts: Vec<&str> = Vec::new();
    for change in changes {
        if !parts.contains(&change.address.part()) {
            parts.push(change.address.part());
        }
    }
    for name in parts {
        let _ = writeln!(out, "\n{}", style.bold(&escaped(name)));
        for change in changes
            .iter()
            .filter(|change| change.address.part() == name)
        {
            let _ = writeln!(
                out,
                "  {}{} {}",
                style.paint(code(change.action), mark(change.action)),
                &"   "[mark(change.action).len()..],
                style.bold(&escaped(change.address.local()))
            );
            let objects = reference_like(&change.kind);
            let told = fields(&Sides {
                before: change
                    .before
                    .as_ref()
                    .filter(|_| change.action != Action::Delete || style.full),
                after: change.after.as_ref(),
                replaces: &[],
                drift: &[],
                hidden: if objects { &OBJECTS_OWN } else { &[] },
                full: style.full,
            });
            write_fields(change, &told, style, &mut out);
        }
    }
    let counts = Counts::of(changes);
    let mut text = Vec::new();
    for (number, what) in [
        (counts.create, "come"),
        (counts.update, "differ"),
        (counts.delete, "go"),
    ] {
        if number > 0 {
            text.push(format!("{number} {what}"));
        }
    }
    let text = if text.is_empty() {
        "nothing differs".to_owned()
    } else {
        text.join(", ")
    };
    let _ = writeln!(out, "\n{text}");
    out
}

/// Whether a type is one of objects: `v1/Secret`, `apps/v1/Deployment`.
fn reference_like(kind: &str) -> bool {
    kind.contains('/')
}
