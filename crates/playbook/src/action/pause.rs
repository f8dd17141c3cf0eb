//! `pause`: waits for a time, or for somebody to answer.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use consort_jinja::{Dict, Value, repr};
use consort_modules::arguments::{Spec, boolean, raw, text};
use nix::sys::termios::{
    InputFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcflush,
    tcgetattr, tcsetattr,
};

use super::given::{checked, dict, set, whole_number};
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::Attempt;

/// `pause`.
pub(super) struct Pause;

impl Action for Pause {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(pause(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            bypasses_host_loop: true,
            ..Traits::default()
        }
    }
}

/// What ended the reading of an answer.
enum Answer {
    /// It was given, or the time ran out.
    Given(Vec<u8>),
    /// Somebody pressed Ctrl-C, or the key that stands for it.
    Interrupted,
    /// There is nobody to ask.
    Nobody,
}

async fn pause(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let spec = Spec::new()
        .with("echo", boolean().default(true))
        .with("minutes", raw())
        .with("seconds", raw())
        .with("prompt", text())
        .mutually_exclusive(&["minutes", "seconds"]);
    let given = checked(attempt.name, &spec, &arguments)?;
    let number = |name: &str| -> Result<Option<i64>, Failure> {
        match arguments.get(name) {
            None | Some(Value::None) => Ok(None),
            Some(value) => whole_number(&value).map(Some).map_err(|error| {
                Failure::new(format!(
                    "argument '{name}' is of type {} and we were unable to convert to int: {error}",
                    value.type_name()
                ))
            }),
        }
    };
    let (minutes, seconds) = (number("minutes")?, number("seconds")?);
    let echo = given.flag("echo");
    let hidden = if echo { "" } else { " (output is hidden)" };
    let name = attempt
        .task
        .name()
        .map(|name| attempt.render(name).map(|name| repr::text(&name)))
        .transpose()?
        .unwrap_or_else(|| attempt.task.action.written.to_string());
    let own = given.filled("prompt");
    let mut prompt = format!(
        "[{}]\n{}{hidden}:",
        name.trim(),
        own.unwrap_or("Press enter to continue, Ctrl+C to interrupt")
    );
    let began = Instant::now();
    let started = now();
    let limit = minutes
        .map(|minutes| minutes.saturating_mul(60))
        .or(seconds)
        .map(|seconds| u64::try_from(seconds).unwrap_or(1).max(1));
    if let Some(limit) = limit {
        attempt.say(&format!("Pausing for {limit} seconds{hidden}"));
        let keys = "(ctrl+C then 'C' = continue early, ctrl+C then 'A' = abort)\r";
        if own.is_some() {
            attempt.say(keys);
        } else {
            keys.clone_into(&mut prompt);
        }
    }
    let asked = Question {
        private: limit.is_some() || !echo,
        limit: limit.map(Duration::from_secs),
        interrupts: &[],
        completes: if limit.is_some() { Some(&[]) } else { None },
    };
    let mut input = Vec::new();
    match ask(attempt, &prompt, asked).await? {
        Answer::Nobody => match limit {
            None => attempt.warn("Not waiting for response to prompt as stdin is not interactive"),
            Some(limit) => tokio::time::sleep(Duration::from_secs(limit)).await,
        },
        Answer::Given(given) => {
            if limit.is_none() {
                input = given;
            }
        }
        Answer::Interrupted => {
            let asked = Question {
                private: limit.is_some() || !echo,
                limit: None,
                interrupts: b"a",
                completes: Some(b"c"),
            };
            let prompt = "Press 'C' to continue the play or 'A' to abort \r";
            match ask(attempt, prompt, asked).await? {
                Answer::Given(given) => input = given,
                Answer::Interrupted | Answer::Nobody => {
                    return Err(Failure::error("user requested abort!"));
                }
            }
        }
    }
    let took = began.elapsed();
    #[allow(clippy::cast_possible_wrap)]
    let delta = took.as_secs() as i64;
    let (amount, unit) = if minutes.is_some() || seconds.is_none() {
        (took.as_secs_f64() / 60.0, "minutes")
    } else {
        (took.as_secs_f64(), "seconds")
    };
    let amount = (amount * 100.0).round() / 100.0;
    let result = dict([
        ("changed", false.into()),
        ("rc", Value::Int(0)),
        ("stderr", "".into()),
        ("start", started.into()),
        ("stop", now().into()),
        ("delta", Value::Int(delta)),
        ("echo", echo.into()),
        (
            "user_input",
            String::from_utf8_lossy(&input).into_owned().into(),
        ),
    ]);
    set(
        &result,
        "stdout",
        format!("Paused for {} {unit}", repr::float(amount)),
    );
    Ok(result)
}

fn now() -> String {
    jiff::Zoned::now()
        .strftime("%Y-%m-%d %H:%M:%S%.6f")
        .to_string()
}

/// How an answer is read.
#[derive(Clone, Copy)]
struct Question {
    /// Nothing of it is shown.
    private: bool,
    /// How long it is waited for.
    limit: Option<Duration>,
    /// Keys that stand for Ctrl-C.
    interrupts: &'static [u8],
    /// Keys that end it; the end of the line if that is not said.
    completes: Option<&'static [u8]>,
}

async fn ask(attempt: &Attempt<'_>, prompt: &str, question: Question) -> Result<Answer, Failure> {
    if !is_interactive() {
        return Ok(Answer::Nobody);
    }
    attempt.say(prompt);
    let gone = Arc::new(AtomicBool::new(false));
    let guard = Gone(Arc::clone(&gone));
    let read = tokio::task::spawn_blocking(move || read(question, &gone));
    let answer = read
        .await
        .map_err(|error| Failure::error(error.to_string()))?
        .map_err(|error| Failure::error(error.to_string()))?;
    drop(guard);
    Ok(answer)
}

/// Ends the reading when nobody waits for it any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether somebody sits at the terminal this runs in the foreground of.
fn is_interactive() -> bool {
    use std::io::IsTerminal as _;
    let input = std::io::stdin();
    input.is_terminal()
        && nix::unistd::tcgetpgrp(&input).is_ok_and(|group| group == nix::unistd::getpgrp())
}

/// Sets the terminal back when it goes.
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

fn read(question: Question, gone: &AtomicBool) -> nix::Result<Answer> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let input = std::io::stdin();
    let before = tcgetattr(&input)?;
    let mut raw = before.clone();
    cfmakeraw(&mut raw);
    raw.input_flags |= InputFlags::ICRNL;
    raw.output_flags |= OutputFlags::OPOST;
    let interrupt = before.control_chars[SpecialCharacterIndices::VINTR as usize];
    let erase = before.control_chars[SpecialCharacterIndices::VERASE as usize];
    tcsetattr(&input, SetArg::TCSANOW, &raw)?;
    let _restored = Restored(before);
    tcflush(&input, nix::sys::termios::FlushArg::TCIFLUSH)?;
    let began = Instant::now();
    let mut answer: Vec<u8> = Vec::new();
    let mut out = std::io::stdout();
    loop {
        if gone.load(Ordering::Relaxed) {
            return Ok(Answer::Interrupted);
        }
        if question.limit.is_some_and(|limit| began.elapsed() >= limit) {
            return Ok(Answer::Given(answer));
        }
        let mut ready = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(100_u8)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut key = [0];
        if nix::unistd::read(&input, &mut key)? == 0 {
            return Ok(Answer::Given(answer));
        }
        let key = key[0];
        if key == interrupt || question.interrupts.contains(&key.to_ascii_lowercase()) {
            return Ok(Answer::Interrupted);
        }
        let ends = match question.completes {
            None => key == b'\r' || key == b'\n',
            Some(keys) => keys.contains(&key.to_ascii_lowercase()),
        };
        if ends {
            // What is shown of the answer stays on its line.
            let _ = out.write_all(b"\n");
            let _ = out.flush();
            return Ok(Answer::Given(answer));
        }
        if key == erase || key == 0x7f || key == 0x08 {
            if answer.pop().is_some() && !question.private {
                let _ = out.write_all(b"\x08 \x08");
                let _ = out.flush();
            }
            continue;
        }
        answer.push(key);
        if !question.private {
            let _ = out.write_all(&[key]);
            let _ = out.flush();
        }
    }
}
