//! `--step`: asks before each task.

use std::io::{BufRead as _, Write as _};

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Yes,
    No,
    /// Yes, and do not ask again.
    Continue,
}

/// Asks whether to perform a task.
pub(super) async fn ask(task: &str) -> Answer {
    let question = format!("Perform task: {task} (N)o/(y)es/(c)ontinue: ");
    let asked = tokio::task::spawn_blocking(move || {
        let mut out = std::io::stdout();
        // Who cannot be asked does not want it.
        let _ = write!(out, "{question}").and_then(|()| out.flush());
        let mut line = String::new();
        let _ = std::io::stdin().lock().read_line(&mut line);
        line
    })
    .await
    .unwrap_or_default();
    match asked.trim().to_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        "c" | "continue" => Answer::Continue,
        _ => Answer::No,
    }
}
