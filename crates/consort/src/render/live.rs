//! A walk while it is under way: a tree at the foot of the terminal, lines of what is done above it; only lines where
//! there is no terminal; one JSON value a line where a program reads.

use std::io::Write as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use consort_plan::carry::Watcher;
use consort_plan::{Address, Blueprint, Entry, Problem};
use consort_score::render::{self, Style};
use parking_lot::{Condvar, Mutex};
use serde_json::json;
use terminal_size::{Height, Width, terminal_size_of};

use crate::output;

/// How often the tree is drawn anew.
const TICK: Duration = Duration::from_millis(120);
/// Lines that wait to be written, beyond which the tree's writer is woken at once.
const WAITING: usize = 64 * 1024;

/// How a walk is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Lines of what is done, above a tree of what is under way. On standard error.
    Tree,
    /// Lines of what begins and what is done. On standard error.
    Lines,
    /// One JSON value a line. On standard output.
    Json,
    /// Not at all.
    Quiet,
}

impl Manner {
    /// What suits this process: JSON if asked for, the tree on a terminal, lines elsewhere.
    pub(crate) fn suits(json: bool) -> Self {
        use std::io::IsTerminal as _;
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if json {
            Self::Json
        } else if std::io::stderr().is_terminal() && !dumb {
            Self::Tree
        } else {
            Self::Lines
        }
    }
}

/// Tells a walk while it is under way. Whoever tells it something never waits for the terminal.
pub(crate) struct Live {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    manner: Manner,
    style: Style,
    start: Instant,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    progress: render::Progress,
    /// Of the changes, where JSON names them.
    addresses: Vec<Address>,
    waiting: String,
    ended: bool,
}

impl Live {
    /// Begins to tell the walk of a blueprint.
    pub(crate) fn start(blueprint: &Blueprint, manner: Manner) -> Self {
        let shared = Arc::new(Shared {
            manner,
            style: super::error_style(),
            start: Instant::now(),
            state: Mutex::new(State {
                progress: render::Progress::new(blueprint),
                addresses: if manner == Manner::Json {
                    blueprint
                        .changes
                        .iter()
                        .map(|change| change.address.clone())
                        .collect()
                } else {
                    Vec::new()
                },
                waiting: String::new(),
                ended: false,
            }),
            wake: Condvar::new(),
        });
        let writer = (manner != Manner::Quiet)
            .then(|| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name("progress".to_owned())
                    .spawn(move || write(&shared))
                    .ok()
            })
            .flatten();
        Self { shared, writer }
    }

    fn line(&self, state: &mut State, line: &render::Line) {
        if line.lasting || self.shared.manner == Manner::Lines {
            self.say(state, &line.text);
        }
    }

    fn say(&self, state: &mut State, line: &str) {
        if self.writer.is_none() {
            return;
        }
        state.waiting.push_str(line);
        state.waiting.push('\n');
        // The tree takes what is there at its next tick; without one each line is written when it comes.
        if self.shared.manner != Manner::Tree || state.waiting.len() > WAITING {
            self.shared.wake.notify_one();
        }
    }

    /// Ends the tree and writes what is left. The same happens when it is dropped.
    pub(crate) fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            // Nothing it does panics; if it did, there would be nothing left to write.
            let _ = writer.join();
        }
    }
}

impl Watcher for Live {
    fn entry(&self, change: Option<u32>, entry: &Entry) {
        let now = self.shared.start.elapsed();
        let style = &self.shared.style;
        let mut state = self.shared.state.lock();
        let line = match change {
            Some(change) => state.progress.entry(change, entry, now, style),
            None => state.progress.apart(entry, now, style),
        };
        if self.shared.manner == Manner::Json {
            self.say(&mut state, &render::entry_json(entry).to_string());
        } else if let Some(line) = line {
            self.line(&mut state, &line);
        }
    }

    fn note(&self, change: u32, text: &str) {
        let now = self.shared.start.elapsed();
        let mut state = self.shared.state.lock();
        let line = state.progress.note(change, text, now, &self.shared.style);
        if self.shared.manner == Manner::Json {
            let address = state.addresses.get(change as usize);
            let note = json!({"type": "note", "time": jiff::Timestamp::now(), "address": address, "text": text});
            self.say(&mut state, &note.to_string());
        } else if let Some(line) = line {
            self.line(&mut state, &line);
        }
    }

    fn retrying(&self, change: u32, problem: &Problem, after: Duration) {
        let now = self.shared.start.elapsed();
        let mut state = self.shared.state.lock();
        let style = &self.shared.style;
        let line = state.progress.retrying(change, problem, after, now, style);
        if self.shared.manner == Manner::Json {
            let address = state.addresses.get(change as usize);
            let retry = json!({"type": "retry", "time": jiff::Timestamp::now(), "address": address,
                "problem": problem, "afterSeconds": after.as_secs_f64()});
            self.say(&mut state, &retry.to_string());
        } else if let Some(line) = line {
            self.line(&mut state, &line);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

/// Writes until the walk is over.
fn write(shared: &Shared) {
    let tree = shared.manner == Manner::Tree;
    let mut drawn = 0;
    loop {
        let (lines, frame, ended) = {
            let mut state = shared.state.lock();
            if !state.ended && (tree || state.waiting.is_empty()) {
                if tree {
                    shared.wake.wait_for(&mut state, TICK);
                } else {
                    shared.wake.wait(&mut state);
                }
            }
            let lines = std::mem::take(&mut state.waiting);
            let frame = if tree && !state.ended {
                frame(shared, &state)
            } else {
                Vec::new()
            };
            (lines, frame, state.ended)
        };
        if shared.manner == Manner::Json {
            output::print(&lines);
        } else {
            let mut text = String::with_capacity(lines.len() + 1024);
            if drawn > 0 {
                // To the first line of the tree, and away with all below.
                text.push_str(&format!("\x1b[{drawn}A\r\x1b[J"));
            }
            text.push_str(&lines);
            for line in &frame {
                text.push_str(line);
                text.push('\n');
            }
            drawn = frame.len();
            if !text.is_empty() {
                let mut out = std::io::stderr().lock();
                // A terminal that is gone does not end the walk.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        }
        if ended {
            return;
        }
    }
}

fn frame(shared: &Shared, state: &State) -> Vec<String> {
    let (width, height) = terminal_size_of(std::io::stderr()).map_or(
        (shared.style.width, 24),
        |(Width(width), Height(height))| (usize::from(width), usize::from(height)),
    );
    let style = Style {
        // A line as wide as the terminal makes some of them begin a new one.
        width: width.saturating_sub(1).max(8),
        ..shared.style
    };
    let height = height.saturating_sub(2).clamp(2, 24);
    state.progress.frame(shared.start.elapsed(), &style, height)
}
