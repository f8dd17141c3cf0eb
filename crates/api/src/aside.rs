//! Work on large documents, beside the reactor.

use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Bodies from this many bytes on are large.
const LARGE: usize = 64 * 1024;
/// Documents with this many values are.
const MANY: usize = 5_000;

/// Runs work whose cost goes with a body of this length. That of a large one takes its time: the other tasks of this
/// thread go on elsewhere meanwhile.
pub(crate) fn with_body<T>(length: usize, work: impl FnOnce() -> T) -> T {
    if length >= LARGE { aside(work) } else { work() }
}

/// The same for work whose cost goes with a document.
pub(crate) fn with_document<T>(document: &Value, work: impl FnOnce() -> T) -> T {
    if is_large(document, &mut MANY.clone()) {
        aside(work)
    } else {
        work()
    }
}

fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // There is no other thread.
        _ => work(),
    }
}

/// Whether a document has more values than are left.
fn is_large(value: &Value, left: &mut usize) -> bool {
    if *left == 0 {
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter().any(|item| is_large(item, left)),
        Value::Object(map) => map.values().any(|item| is_large(item, left)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_document_is_large_by_its_values_however_they_nest() {
        let large = |value: Value| is_large(&value, &mut MANY.clone());
        assert!(!large(json!({"a": vec![0; MANY - 2]})));
        assert!(large(json!({"a": vec![json!([0]); MANY / 2]})));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_a_large_body_is_worked_on() {
        let (done, mut others) = tokio::sync::mpsc::channel(1);
        let worker = tokio::spawn(async move {
            tokio::spawn(async move { done.send(()).await });
            with_body(LARGE, || {
                let deadline = std::time::Instant::now() + Duration::from_secs(20);
                while others.try_recv().is_err() {
                    assert!(std::time::Instant::now() < deadline, "the other task waits");
                    std::thread::yield_now();
                }
            });
        });
        assert!(worker.await.is_ok());
    }
}
