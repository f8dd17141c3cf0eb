//! What the kernel was started with.

use serde_json::{Map, Value, json};

use super::{Facts, Gathering};

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    let Some(line) = gathering.content("/proc/cmdline") else {
        return facts;
    };
    let words = words(&line).unwrap_or_default();
    let (mut last, mut all) = (Map::new(), Map::new());
    for word in &words {
        match word.split_once('=') {
            None => {
                last.insert(word.clone(), json!(true));
                all.insert(word.clone(), json!(true));
            }
            Some((name, value)) => {
                last.insert(name.to_owned(), json!(value));
                match all.get_mut(name) {
                    Some(Value::Array(values)) => values.push(json!(value)),
                    Some(known) => *known = json!([known.take(), value]),
                    None => {
                        all.insert(name.to_owned(), json!(value));
                    }
                }
            }
        }
    }
    facts.insert("cmdline".to_owned(), last.into());
    facts.insert("proc_cmdline".to_owned(), all.into());
    facts
}

/// The words of a line as `shlex.split(line, posix=False)` has them: quotes stay, and hold together only what they begin.
/// `None` if one does not end.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t', '\r', '\n']);
    while let Some(first) = rest.chars().next() {
        let end = if matches!(first, '"' | '\'') {
            rest[1..].find(first)? + 2
        } else {
            rest.find([' ', '\t', '\r', '\n']).unwrap_or(rest.len())
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches([' ', '\t', '\r', '\n']);
    }
    Some(words)
}
