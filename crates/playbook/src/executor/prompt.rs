//! `vars_prompt`: what is asked of the user before a play.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use consort_jinja::{Dict, Str, Value};

use super::keyword::boolean;
use super::run::Run;
use crate::source::Located;

/// Asks for a variable. Where nobody can be asked, it has its default.
pub(super) async fn ask(run: &Run, name: &str, prompt: &Dict) -> Result<Value, Located> {
    let text = |key: &str| {
        prompt
            .get(key)
            .filter(|value| !matches!(value, Value::None))
            .and_then(|value| value.text().ok())
            .map(|text| text.to_string())
    };
    let flag = |key: &str, default: bool| {
        prompt
            .get(key)
            .and_then(|value| boolean(&value))
            .unwrap_or(default)
    };
    let default = prompt
        .get("default")
        .filter(|value| !matches!(value, Value::None));
    let private = flag("private", true);
    let confirm = flag("confirm", false);
    let question = match (text("prompt").as_deref().unwrap_or(name), text("default")) {
        ("", _) => format!("input for {name}: "),
        (prompt, Some(default)) => format!("{prompt} [{default}]: "),
        (prompt, None) => format!("{prompt}: "),
    };
    let answer = loop {
        if !std::io::stdin().is_terminal() {
            run.tell
                .warn("Not prompting as we are not in interactive mode");
            break None;
        }
        let first = read(question.clone(), private).await?;
        if !confirm {
            break first;
        }
        let second = read(format!("confirm {question}"), private).await?;
        if first == second {
            break first;
        }
        run.tell
            .detail(0, None, "***** VALUES ENTERED DO NOT MATCH ****");
    };
    let unanswered = if answer.is_some() { "" } else { "None" };
    let value = match answer.filter(|answer| !answer.is_empty()) {
        Some(answer) => Value::Str(if flag("unsafe", false) {
            Str::new(answer)
        } else {
            Str::template(answer)
        }),
        // Where nobody can be asked, this is what the text of nothing is.
        None => default.unwrap_or_else(|| Value::from(unanswered)),
    };
    match text("encrypt") {
        Some(algorithm) => {
            let plain = value
                .text()
                .map(|text| text.to_string())
                .unwrap_or_default();
            encrypted(run, &plain, &algorithm, prompt)
        }
        None => Ok(value),
    }
}

/// The answer as `password_hash` makes it of it.
fn encrypted(run: &Run, plain: &str, algorithm: &str, prompt: &Dict) -> Result<Value, Located> {
    let mut entries = vec![
        ("secret", Value::from(plain)),
        ("algorithm", Value::from(algorithm)),
    ];
    let salt = prompt
        .get("salt")
        .filter(|salt| !matches!(salt, Value::None));
    let expression = if let Some(salt) = salt {
        entries.push(("salt", salt));
        "secret | password_hash(algorithm, salt)"
    } else if let Some(size) = prompt
        .get("salt_size")
        .filter(|size| !matches!(size, Value::None))
    {
        entries.push(("size", size));
        "secret | password_hash(algorithm, salt_size=size | int)"
    } else {
        "secret | password_hash(algorithm)"
    };
    let variables: Dict = entries.into_iter().collect();
    run.templar
        .evaluate(&Str::template(expression), &variables)
        .map_err(|error| Located::from(&error))
}

async fn read(question: String, private: bool) -> Result<Option<String>, Located> {
    tokio::task::spawn_blocking(move || {
        let mut out = std::io::stdout();
        write!(out, "{question}")?;
        out.flush()?;
        let quiet = private && std::io::stdin().is_terminal();
        let before = quiet.then(echo_off).flatten();
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        if let Some(before) = before {
            echo_on(&before);
            writeln!(out)?;
        }
        let count = read?;
        Ok(if count == 0 {
            None
        } else {
            Some(line.trim_end_matches(['\n', '\r']).to_owned())
        })
    })
    .await
    .map_err(|error| Located::new(error.to_string()))?
    .map_err(|error: std::io::Error| Located::new(format!("reading the answer: {error}")))
}

fn echo_off() -> Option<nix::sys::termios::Termios> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    let before = tcgetattr(&input).ok()?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&input, SetArg::TCSADRAIN, &quiet).ok()?;
    Some(before)
}

fn echo_on(before: &nix::sys::termios::Termios) {
    use nix::sys::termios::{SetArg, tcsetattr};
    // A terminal that is gone needs no echo.
    let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, before);
}
