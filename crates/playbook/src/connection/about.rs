//! Which users of the machine a task is about to change.

use consort_modules::Invocation;
use serde_json::Value;

/// Programs that refuse to touch a user who has processes, or that end these.
const PROGRAMS: &[&str] = &[
    "userdel", "deluser", "usermod", "pkill", "killall", "loginctl",
];

/// The users that a module may change or remove.
pub(super) fn users(invocation: &Invocation) -> Vec<&str> {
    let text = |name: &str| invocation.arguments.get(name).and_then(Value::as_str);
    match invocation.module.rsplit('.').next() {
        Some("user") => ["name", "user"].into_iter().filter_map(text).collect(),
        Some("command" | "shell") => {
            let line = text("_raw_params").or_else(|| text("cmd"));
            let words = invocation.arguments.get("argv").and_then(Value::as_array);
            let words: Vec<&str> = words
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if words.iter().any(|word| is_one(word)) {
                return words;
            }
            line.map(users_of_line).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The words of a line of the shell, if it has a program that changes users.
pub(super) fn users_of_line(line: &str) -> Vec<&str> {
    let words = || {
        line.split(|letter: char| letter.is_whitespace() || "'\";&|()`".contains(letter))
            .filter(|word| !word.is_empty())
    };
    if words().any(is_one) {
        words().collect()
    } else {
        Vec::new()
    }
}

/// Whether a word is such a program, wherever it lies.
fn is_one(word: &str) -> bool {
    word.rsplit('/')
        .next()
        .is_some_and(|name| PROGRAMS.contains(&name))
}
