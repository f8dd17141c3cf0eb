//! What is told while a task is carried out belongs to its result: it is held until that is there.

use std::sync::Arc;

use consort_jinja::{Dict, Value};
use parking_lot::Mutex;

use crate::source::{Located, Notice, Removal};

tokio::task_local! {
    static HELD: Arc<Mutex<Vec<Notice>>>;
}

/// The key of the text of a warning as it is shown, beside what the result tells of it.
pub(crate) const TEXT: &str = "_text";

/// Holds a notice for the result of the task that is being carried out. Gives it back if there is none.
pub(crate) fn hold(notice: Notice) -> Option<Notice> {
    if matches!(notice, Notice::Detail { .. }) {
        return Some(notice);
    }
    let mut notice = Some(notice);
    // Outside of a task nobody holds it.
    let _ = HELD.try_with(|held| held.lock().extend(notice.take()));
    notice
}

/// Does something, and gives what was held meanwhile: warnings, and what will go away.
pub(super) async fn holding<T>(work: impl Future<Output = T>) -> (T, Vec<Value>, Vec<Value>) {
    let held = Arc::new(Mutex::new(Vec::new()));
    let done = HELD.scope(Arc::clone(&held), work).await;
    let (mut warnings, mut deprecations) = (Vec::new(), Vec::new());
    for notice in std::mem::take(&mut *held.lock()) {
        match notice {
            Notice::Warning(what) => add(&mut warnings, warning(&what)),
            Notice::Deprecated { what, removal } => {
                add(&mut deprecations, deprecation(&what, &removal));
            }
            Notice::Detail { .. } => {}
        }
    }
    (done, warnings, deprecations)
}

fn add(all: &mut Vec<Value>, entry: Value) {
    if !all.iter().any(|known| known.equals(&entry)) {
        all.push(entry);
    }
}

/// A warning, as outcomes have it.
pub(super) fn warning(what: &Located) -> Value {
    let entry: Dict = [("msg", what.brief()), (TEXT, what.text())]
        .into_iter()
        .collect();
    entry.into()
}

/// Something that will go away, as outcomes have it.
pub(super) fn deprecation(what: &Located, removal: &Removal) -> Value {
    let shown = what.clone().worded(|message| removal.announced(message));
    let part = |name, text: &Option<String>| text.clone().map(|text| (name, text));
    let entry: Dict = [
        Some(("msg", what.brief())),
        part("version", &removal.version),
        part("date", &removal.date),
        part("collection_name", &removal.collection),
        Some((TEXT, shown.text())),
    ]
    .into_iter()
    .flatten()
    .collect();
    entry.into()
}

/// Warnings as a registered result has them: texts.
pub(crate) fn registered_warnings(all: &[Value]) -> Value {
    Value::list(
        all.iter()
            .map(|entry| match entry {
                Value::Dict(entry) if entry.get(TEXT).is_some() => {
                    entry.get("msg").unwrap_or_default()
                }
                other => other.clone(),
            })
            .collect(),
    )
}

/// What will go away, as a registered result has it.
pub(crate) fn registered_deprecations(all: &[Value]) -> Value {
    Value::list(
        all.iter()
            .map(|entry| match entry {
                Value::Dict(entry) => {
                    let entries = entry
                        .read()
                        .iter()
                        .filter(|(key, _)| {
                            !matches!(key.as_str(), Some(TEXT | consort_modules::DEPRECATOR))
                        })
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect();
                    Value::Dict(Dict::new(entries))
                }
                other => other.clone(),
            })
            .collect(),
    )
}
