//! The callbacks `profile_tasks` and `timer`: how long everything took.

use std::time::{Duration, Instant};

use super::display::Display;
use super::{Callback, Event};

/// Tells with each task how long the one before took, and at the end which took longest.
pub struct ProfileTasks {
    display: Display,
    began: Instant,
    last: Instant,
    tasks: Vec<Timed>,
    /// How many are told at the end; all if zero.
    most: usize,
    by_time: bool,
}

struct Timed {
    id: u64,
    name: String,
    place: String,
    since: Option<Instant>,
    elapsed: Duration,
}

impl ProfileTasks {
    /// Prints to a display; at the end so many tasks, those that took longest first unless they are to stand in their order.
    pub fn new(display: Display, most: usize, by_time: bool) -> Self {
        let now = Instant::now();
        ProfileTasks {
            display,
            began: now,
            last: now,
            tasks: Vec::new(),
            most,
            by_time,
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
        let now = jiff::Zoned::now().strftime("%A %d %B %Y  %H:%M:%S %z");
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
        self.stamp();
        self.display.line(&filled("", '='), None);
        self.stop();
        if self.by_time {
            self.tasks
                .sort_by_key(|task| std::cmp::Reverse(task.elapsed));
        }
        let most = if self.most == 0 {
            self.tasks.len()
        } else {
            self.most
        };
        let width = self.display.columns.saturating_sub(9);
        let paths = self.display.verbosity > 2;
        let lines: Vec<String> = self
            .tasks
            .iter()
            .take(most)
            .map(|task| {
                let mut name = format!("{} ", task.name);
                let length = name.chars().count();
                name.extend(std::iter::repeat_n('-', width.saturating_sub(length)));
                let time = format!(" {:.2}s", task.elapsed.as_secs_f64());
                let mut line = format!("{name}{time:->9}");
                if paths {
                    line.push_str(&format!("\n{}", task.place));
                }
                line
            })
            .collect();
        for line in lines {
            self.display.line(&line, None);
        }
    }
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
                self.stamp();
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
                "Playbook run took {} days, {} hours, {} minutes, {} seconds",
                seconds / 86400,
                seconds / 3600 % 24,
                seconds / 60 % 60,
                seconds % 60
            );
            self.display.line(&line, None);
        }
    }
}
