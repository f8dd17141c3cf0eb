//! What a plugin writes to its standard error.
//!
//! Lines are JSON as HashiCorp's logger writes them (`@level`, `@message`, `@module`), or text with a level
//! in brackets. They go to `tracing` under the target [`TARGET`] with the level they name. The last lines
//! are kept: when the process dies they are what explains it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};

/// Under which providers' own messages appear in the log.
pub const TARGET: &str = "consort::provider";

/// Longest piece of a line; what is longer comes in several.
const MAX_LINE: usize = 64 << 10;
/// How much of the end is kept.
const KEPT_BYTES: usize = 16 << 10;

/// The last lines of a process.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn push(&self, line: &str) {
        let mut kept = self.0.lock();
        kept.bytes += line.len();
        kept.lines.push_back(line.to_owned());
        while kept.bytes > KEPT_BYTES {
            let Some(first) = kept.lines.pop_front() else {
                break;
            };
            kept.bytes -= first.len();
        }
    }

    /// What a person wants to see of it: from the panic on if there was one, else the last lines, with a
    /// line break before.
    pub(crate) fn explain(&self) -> String {
        let kept = self.0.lock();
        let start = kept
            .lines
            .iter()
            .position(|l| {
                l.starts_with("panic: ")
                    || l.starts_with("fatal error: ")
                    || l.contains("panicked at")
            })
            .unwrap_or(kept.lines.len().saturating_sub(20));
        kept.lines
            .iter()
            .skip(start)
            .take(40)
            .fold(String::new(), |text, line| text + "\n" + line)
    }
}

/// Reads until the end, to the log and to `tail`.
pub(crate) async fn follow(source: impl AsyncRead + Unpin, provider: &str, tail: Tail) {
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    while read_piece(&mut reader, &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            record(provider, text, &tail);
        }
        line.clear();
    }
}

/// Reads to the end of a line or [`MAX_LINE`] bytes; false at the end.
pub(crate) async fn read_piece(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> bool {
    loop {
        let (used, complete) = match reader.fill_buf().await {
            Err(_) | Ok([]) => return !line.is_empty(),
            Ok(buffer) => {
                let room = MAX_LINE - line.len();
                let end = buffer
                    .iter()
                    .position(|b| *b == b'\n')
                    .map_or(buffer.len(), |at| at + 1)
                    .min(room);
                line.extend_from_slice(&buffer[..end]);
                (end, line.ends_with(b"\n") || line.len() >= MAX_LINE)
            }
        };
        reader.consume(used);
        if complete {
            return true;
        }
    }
}

fn record(provider: &str, text: &str, tail: &Tail) {
    if text.starts_with('{')
        && let Ok(entry) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
        && let Some(message) = entry.get("@message").and_then(|m| m.as_str())
    {
        let level = entry
            .get("@level")
            .and_then(|l| l.as_str())
            .unwrap_or("debug");
        let module = entry
            .get("@module")
            .and_then(|m| m.as_str())
            .unwrap_or_default();
        let mut fields = String::new();
        for (key, value) in &entry {
            if !key.starts_with('@') {
                fields.push_str(&format!(" {key}={value}"));
            }
        }
        tail.push(&format!(
            "[{}] {message}{fields}",
            level.to_ascii_uppercase()
        ));
        emit(level, provider, module, &format!("{message}{fields}"));
        return;
    }
    tail.push(text);
    let level = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]
        .into_iter()
        .find(|level| {
            text.get(..60)
                .unwrap_or(text)
                .contains(&format!("[{level}]"))
        })
        .unwrap_or(if text.starts_with("panic: ") {
            "ERROR"
        } else {
            "DEBUG"
        });
    emit(level, provider, "", text);
}

fn emit(level: &str, provider: &str, module: &str, message: &str) {
    match level.to_ascii_lowercase().as_str() {
        "trace" => tracing::trace!(target: TARGET, provider, module, "{message}"),
        "info" => tracing::info!(target: TARGET, provider, module, "{message}"),
        "warn" => tracing::warn!(target: TARGET, provider, module, "{message}"),
        "error" => tracing::error!(target: TARGET, provider, module, "{message}"),
        _ => tracing::debug!(target: TARGET, provider, module, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_what_a_process_wrote_is_kept_from_its_panic_on() {
        let tail = Tail::default();
        let mut text = String::new();
        for i in 0..5000 {
            text.push_str(&format!(
                "{{\"@level\":\"debug\",\"@message\":\"noise\",\"n\":{i}}}\n"
            ));
        }
        text.push_str(&format!("{}\n", "x".repeat(200_000)));
        text.push_str(
            "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n",
        );
        follow(text.as_bytes(), "test", tail.clone()).await;
        assert_eq!(
            tail.explain(),
            "\npanic: runtime error: index out of range\ngoroutine 1 [running]:\nmain.main()"
        );
        assert!(tail.0.lock().bytes <= KEPT_BYTES);
    }
}
