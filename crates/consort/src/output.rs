//! What people see: colours, tables, progress.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// 0 unset, 1 on, 2 off, 3 on whatever is written to.
static COLOUR: AtomicU8 = AtomicU8::new(0);

/// Decides once for the process whether colours are used.
pub(crate) fn set_colour(choice: Colour) {
    let code = match choice {
        Colour::Always => 3,
        Colour::Never => 2,
        Colour::Auto => {
            // https://no-color.org: set to anything but the empty text.
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            if refused || dumb { 2 } else { 1 }
        }
    };
    COLOUR.store(code, Ordering::Relaxed);
}

/// Whether colours are used on standard error.
pub(crate) fn coloured() -> bool {
    coloured_on(std::io::stderr().is_terminal())
}

/// Whether colours are used on a stream that is a terminal or is none.
pub(crate) fn coloured_on(terminal: bool) -> bool {
    match COLOUR.load(Ordering::Relaxed) {
        1 => terminal,
        3 => true,
        _ => false,
    }
}

fn paint(code: &str, text: &str) -> String {
    if coloured() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// For errors.
pub(crate) fn red(text: &str) -> String {
    paint("1;31", text)
}

/// For what went well.
pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

/// For hints and addresses.
pub(crate) fn cyan(text: &str) -> String {
    paint("36", text)
}

/// For what matters less.
pub(crate) fn dim(text: &str) -> String {
    paint("2", text)
}

/// Writes text to standard output; a reader that went away (`| head`) ends the process quietly, as
/// it does other Unix tools.
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// Writes bytes to standard output, as [`print`] does.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush())
        && error.kind() == std::io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// A table of left-aligned columns, three spaces apart, as `kubectl` prints them.
pub(crate) fn table(header: &[String], rows: &[Vec<String>], with_header: bool) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    if !with_header {
        widths.fill(0);
    }
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header = with_header.then_some(header);
    for row in header.into_iter().chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Tells on standard error what is being done and what is done: one line a step.
pub(crate) struct Progress {
    start: Instant,
    quiet: bool,
    bar: indicatif::ProgressBar,
}

impl Progress {
    /// Progress for a person; `quiet` says nothing at all.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = if quiet || !std::io::stderr().is_terminal() {
            indicatif::ProgressBar::hidden()
        } else {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        };
        Self {
            start: Instant::now(),
            quiet,
            bar,
        }
    }

    /// What is being waited for; shown on terminals only.
    pub(crate) fn waiting(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// A step that is done.
    pub(crate) fn done(&self, text: &str) {
        let at = format!("{:>8.3}s", self.start.elapsed().as_secs_f64());
        self.line(&format!("{} {} {text}", dim(&at), green("ok")));
    }

    /// A line of its own.
    pub(crate) fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Writes something else while the moving part is away.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Ends the moving part of the display.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_columns_line_up_and_no_line_ends_in_blanks() {
        let text = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [
            text(&["web", "1/1", ""]),
            text(&["a-long-name", "0/1", "x"]),
        ];
        assert_eq!(
            table(&text(&["NAME", "READY", "NODE"]), &rows, true),
            "NAME          READY   NODE\nweb           1/1\na-long-name   0/1     x\n"
        );
        assert_eq!(
            table(&text(&["NAME", "READY", "NODE"]), &rows[..1], false),
            "web   1/1\n"
        );
    }
}
