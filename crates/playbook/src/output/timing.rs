//! The callbacks `profile_tasks` and `timer`: how long everything took.

use std::time::{Duration, Instant};

use super::display::Display;
use super::{Callback, Event};

/// In which order tasks are told at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// Those that took longest first.
    #[default]
    Descending,
    /// Those that took longest last.
    Ascending,
    /// As they were done.
    Done,
}

/// The options of `profile_tasks`.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How many tasks are told at the end; all if none is said (`output_limit`).
    pub most: Option<usize>,
    /// Their order (`sort_order`).
    pub order: Order,
    /// Whether nothing is told before the end (`summary_only`).
    pub summary_only: bool,
    /// How points in time are written, as `strftime` has it (`datetime_format`).
    pub format: String,
}

impl Default for Profile {
    fn default() -> Self {
        Profile {
            most: Some(20),
            order: Order::default(),
            summary_only: false,
            format: "%A %d %B %Y  %H:%M:%S %z".to_owned(),
        }
    }
}

/// Tells with each task how long the one before took, and at the end which took longest.
pub struct ProfileTasks {
    display: Display,
    began: Instant,
    last: Instant,
    tasks: Vec<Timed>,
    options: Profile,
}

struct Timed {
    id: u64,
    name: String,
    place: String,
    since: Option<Instant>,
    elapsed: Duration,
}

impl ProfileTasks {
    /// Prints to a display.
    pub fn new(display: Display, options: Profile) -> Self {
        let now = Instant::now();
        ProfileTasks {
            display,
            began: now,
            last: now,
            tasks: Vec::new(),
            options,
        }
    }

    fn stop(&mut self) {
        if let Some(task) = self.tasks.last_mut()
            && let Some(since) = task.since.take()
        {
            task.elapsed += since.elapsed();
        }
    }

    fn stamp(&mut self) {
        let format = match self.options.format.as_str() {
            "iso8601" => "%Y-%m-%dT%H:%M:%S.%6f".to_owned(),
            // Python writes all six digits.
            own => own.replace("%f", "%6f"),
        };
        // A format that is none stands for itself.
        let now = jiff::fmt::strtime::format(&format, &jiff::Zoned::now()).unwrap_or(format);
        let text = format!(
            "{now} ({}){}{}",
            clock(self.last.elapsed()),
            " ".repeat(7),
            clock(self.began.elapsed())
        );
        self.last = Instant::now();
        self.display.line(&filled(&text, '*'), None);
    }

    fn report(&mut self) {
        self.display.banner("TASKS RECAP");
        self.stamp();
        self.display.line(&filled("", '='), None);
        self.stop();
        match self.options.order {
            Order::Descending => self
                .tasks
                .sort_by_key(|task| std::cmp::Reverse(task.elapsed)),
            Order::Ascending => self.tasks.sort_by_key(|task| task.elapsed),
            Order::Done => {}
        }
        let most = self.options.most.unwrap_or(self.tasks.len());
        let columns = self.display.columns;
        let paths = self.display.verbosity >= 2;
        let lines: Vec<String> = self
            .tasks
            .iter()
            .take(most)
            .map(|task| {
                let name = padded(&task.name, columns.saturating_sub(9));
                let time = format!(" {:.2}s", task.elapsed.as_secs_f64());
                let mut line = format!("{name}{time:->9}");
                if paths {
                    line.push('\n');
                    line.push_str(&padded(&task.place, columns));
                }
                line
            })
            .collect();
        for line in lines {
            self.display.line(&line, None);
        }
    }
}

/// A text and a blank, filled up to a width.
fn padded(text: &str, width: usize) -> String {
    let mut padded = format!("{text} ");
    let length = padded.chars().count();
    padded.extend(std::iter::repeat_n('-', width.saturating_sub(length)));
    padded
}

/// A time as `H:MM:SS.mmm`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_millis()
    )
}

/// A text with a character behind it, up to 79 columns.
fn filled(text: &str, with: char) -> String {
    let text = if text.is_empty() {
        String::new()
    } else {
        format!("{text} ")
    };
    let rest = 79_usize.saturating_sub(text.chars().count()).max(3);
    let filler: String = std::iter::repeat_n(with, rest).collect();
    format!("{text}{filler} ")
}

impl Callback for ProfileTasks {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Task { task, name, .. } => {
                self.stop();
                if !self.options.summary_only {
                    self.stamp();
                }
                if let Some(at) = self.tasks.iter().position(|known| known.id == task.id) {
                    let mut known = self.tasks.remove(at);
                    known.since = Some(Instant::now());
                    self.tasks.push(known);
                } else {
                    self.tasks.push(Timed {
                        id: task.id,
                        name: name.trim().to_owned(),
                        place: task.place(),
                        since: Some(Instant::now()),
                        elapsed: Duration::ZERO,
                    });
                }
            }
            Event::Stats(_) => self.report(),
            _ => {}
        }
    }
}

/// Tells at the end how long the run took.
pub struct Timer {
    display: Display,
    began: Instant,
}

impl Timer {
    /// Prints to a display.
    pub fn new(display: Display) -> Self {
        Timer {
            display,
            began: Instant::now(),
        }
    }
}

impl Callback for Timer {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Stats(_) = event {
            let seconds = self.began.elapsed().as_secs();
            let line = format!(
                "Playbook run took {} days, {} hours, {} minutes, {} seconds\n\r",
                seconds / 86400,
                seconds / 3600 % 24,
                seconds / 60 % 60,
                seconds % 60
            );
            self.display.banner("PLAYBOOK RECAP");
            self.display.line(&line, None);
        }
    }
}
