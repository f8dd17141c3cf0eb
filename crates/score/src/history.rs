//! What was done to scores, as a table and as JSON.

use consort_plan::{Mode, Operation, Phase, Source};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::records::{BlueprintSummary, Counts};
use crate::render::{Style, elapsed, escaped, status};

/// An operation with what its blueprint was to change.
#[derive(Clone, Debug)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// How many of what; none if the blueprint is not kept any more.
    pub counts: Option<Counts>,
    /// The points of its blast radius.
    pub points: Option<u32>,
}

impl Row {
    /// An operation with the summary of its blueprint, if that is kept.
    pub fn of(operation: Operation, summary: Option<&BlueprintSummary>) -> Self {
        Row {
            counts: summary.map(|summary| summary.counts),
            points: summary.map(|summary| summary.points),
            operation,
        }
    }
}

/// `+2 ~1 -/+1`.
fn changes(row: &Row) -> String {
    let Some(counts) = &row.counts else {
        return format!("{} resources", row.operation.total);
    };
    let mut parts = Vec::new();
    for (mark, number) in [
        ("+", counts.create),
        ("~", counts.update),
        ("-/+", counts.replace),
        ("-", counts.delete),
    ] {
        if number > 0 {
            parts.push(format!("{mark}{number}"));
        }
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(" ")
    }
}

fn what_for(mode: &Mode) -> String {
    match mode {
        Mode::Apply => "apply".to_owned(),
        Mode::Destroy => "destroy".to_owned(),
        Mode::Rollback { to } => format!("rollback to {to}"),
        Mode::Heal => "heal".to_owned(),
    }
}

/// Where it came from, in short: a commit with its subject, a directory, a revision.
fn from(source: &Source) -> String {
    match source {
        Source::Directory {
            commit: Some(commit),
            ..
        }
        | Source::Git { commit, .. } => {
            let id: String = commit.id.chars().take(8).collect();
            format!("{id} {}", commit.subject)
        }
        Source::Directory { path, commit: None } => path.clone(),
        Source::Revision { revision } => format!("revision {revision}"),
    }
}

fn outcome(row: &Row, style: &Style) -> String {
    let operation = &row.operation;
    let mut text = status(operation.phase, style);
    if operation.phase != Phase::Succeeded {
        text.push_str(&format!(": {} of {} done", operation.done, operation.total));
        if operation.failed > 0 {
            text.push_str(&format!(", {} failed", operation.failed));
        }
    }
    text
}

/// Operations as a table, in the order given.
pub fn text(rows: &[Row], now: Timestamp, style: &Style) -> String {
    const HEADER: [&str; 8] = [
        "OPERATION",
        "STARTED",
        "TOOK",
        "BY",
        "FOR",
        "CHANGES",
        "OUTCOME",
        "FROM",
    ];
    let plain = Style {
        colours: false,
        ..*style
    };
    let mut table: Vec<[String; 8]> = Vec::with_capacity(rows.len());
    for row in rows {
        let operation = &row.operation;
        let span = |from: Timestamp, to: Timestamp| {
            std::time::Duration::try_from(to.duration_since(from))
                .map(elapsed)
                .unwrap_or_default()
        };
        let by = match &operation.approved_by {
            Some(approved) => format!("{} ({approved} approved)", operation.author),
            None => operation.author.clone(),
        };
        let mut from = from(&operation.source);
        if let Some(cause) = &operation.cause {
            from = format!("{from} ({cause})");
        }
        table.push([
            escaped(&format!("{}-{}", operation.score, operation.revision)).into_owned(),
            format!(
                "{} ({} ago)",
                operation.started.strftime("%Y-%m-%d %H:%M:%SZ"),
                span(operation.started, now)
            ),
            operation
                .ended
                .map_or_else(|| "-".to_owned(), |ended| span(operation.started, ended)),
            escaped(&by).into_owned(),
            what_for(&operation.mode),
            changes(row),
            outcome(row, &plain),
            escaped(&from).into_owned(),
        ]);
    }
    let mut widths = HEADER.map(str::len);
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(crate::render::columns(cell));
        }
    }
    let mut out = String::new();
    let mut line = |cells: &[String; 8], paint: &dyn Fn(usize, &str) -> String| {
        let mut text = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            text.push_str(&paint(index, cell));
            if index + 1 < cells.len() {
                let gap = width - crate::render::columns(cell) + 3;
                text.extend(std::iter::repeat_n(' ', gap));
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&HEADER.map(str::to_owned), &|_, cell| {
        style.bold(cell).into_owned()
    });
    for (row, cells) in rows.iter().zip(&table) {
        line(cells, &|index, cell| {
            if index == 6 {
                outcome(row, style)
            } else {
                cell.to_owned()
            }
        });
    }
    out
}

/// Operations as JSON.
pub fn json(rows: &[Row]) -> Value {
    let operations: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut value = json!(row.operation);
            if let Some(object) = value.as_object_mut() {
                let name = format!("{}-{}", row.operation.score, row.operation.revision);
                object.insert("name".to_owned(), json!(name));
                if let Some(counts) = &row.counts {
                    object.insert("counts".to_owned(), json!(counts));
                }
                if let Some(points) = row.points {
                    object.insert("points".to_owned(), json!(points));
                }
            }
            value
        })
        .collect();
    json!({"format": 1, "type": "history", "operations": operations})
}
