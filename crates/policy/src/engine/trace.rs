//! What an evaluation came by.

use std::sync::{Arc, Mutex, PoisonError};

use regorus::Value;

use super::Document;
use crate::syntax::lower::Point;

/// How many events are kept; further ones are counted.
const MOST: usize = 1_000_000;

/// The events of an evaluation, in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Trace {
    /// The events.
    pub events: Vec<Event>,
    /// How many more there were.
    pub dropped: usize,
}

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// What `trace` was given.
    Note(String),
    /// A statement was evaluated.
    Statement {
        /// The file, as it was named when it was added.
        file: String,
        /// The line, from one.
        line: u32,
        /// The rule it is in: `data.shop.deny`.
        rule: String,
        /// The statement on one line.
        text: String,
        /// The values of its variables each time it held; none if it did not.
        held: Vec<Vec<(String, Document)>>,
    },
}

#[derive(Clone, Debug)]
enum Noted {
    Text(String),
    Point {
        number: usize,
        held: bool,
        values: Value,
    },
}

/// Where the evaluator's notes go. Clones of an engine share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sink(Arc<Mutex<(Vec<Noted>, usize)>>);

impl Sink {
    fn note(&self, noted: Noted) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() < MOST {
            kept.0.push(noted);
        } else {
            kept.1 += 1;
        }
    }

    pub(super) fn register(&self, engine: &mut regorus::Engine) {
        let sink = self.clone();
        let point = move |operands: Vec<Value>| {
            if let [Value::Number(number), Value::Bool(held), values] = operands.as_slice() {
                let number = number
                    .as_u64()
                    .and_then(|number| usize::try_from(number).ok())
                    .unwrap_or(usize::MAX);
                sink.note(Noted::Point {
                    number,
                    held: *held,
                    values: values.clone(),
                });
            }
            Ok(Value::from(true))
        };
        let _ = engine.add_extension("internal.trace_point".to_owned(), 3, Box::new(point));
        let sink = self.clone();
        let text = move |operands: Vec<Value>| {
            if let [Value::String(text)] = operands.as_slice() {
                sink.note(Noted::Text(text.to_string()));
            }
            Ok(Value::from(true))
        };
        let _ = engine.add_extension("trace".to_owned(), 1, Box::new(text));
    }

    pub(super) fn take(&self, points: &[Point]) -> Trace {
        let (noted, dropped) =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut events = Vec::new();
        // By the number of a point, its last event: what holds belongs to the last time it was come to.
        let mut last: Vec<Option<usize>> = vec![None; points.len()];
        for note in noted {
            match note {
                Noted::Text(text) => events.push(Event::Note(text)),
                Noted::Point {
                    number,
                    held: false,
                    ..
                } => {
                    let Some(point) = points.get(number) else {
                        continue;
                    };
                    last[number] = Some(events.len());
                    events.push(Event::Statement {
                        file: point.file.clone(),
                        line: point.line,
                        rule: point.rule.clone(),
                        text: point.text.clone(),
                        held: Vec::new(),
                    });
                }
                Noted::Point {
                    number,
                    held: true,
                    values,
                } => {
                    let event = last
                        .get(number)
                        .copied()
                        .flatten()
                        .and_then(|at| events.get_mut(at));
                    if let Some(Event::Statement { held, .. }) = event {
                        held.push(Document::of(values).fields().unwrap_or_default());
                    }
                }
            }
        }
        Trace { events, dropped }
    }
}
