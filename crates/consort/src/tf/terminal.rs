//! What people see and are asked.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use consort_hcl::Sources;
use consort_hcl::diagnostic::{self, Diagnostic, Diagnostics, Style};
use consort_infra::render::Colours;

/// Whether `-no-color` was said to the command that runs.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// Does without colours and boxes from now on.
pub(super) fn without_colours() {
    PLAIN.store(true, Ordering::Relaxed);
}

/// Text on standard error. Nobody is left to be told when that is gone.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Where output goes and how it looks.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    colours: bool,
    /// Whether diagnostics stand in boxes, as they do unless `-no-color` is said.
    boxed: bool,
    /// Columns, where standard error is a terminal.
    width: usize,
    /// Whether anybody can be asked.
    input: bool,
    /// Whether warnings are told in one line each.
    compact: bool,
}

impl Terminal {
    /// With colours unless `-no-color` is said or the output is no terminal that has them.
    pub(super) fn new(no_colour: bool, input: bool) -> Terminal {
        let no_colour = no_colour || PLAIN.load(Ordering::Relaxed);
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let asked_not_to = std::env::var("TF_INPUT")
            .is_ok_and(|value| matches!(value.as_str(), "0" | "false" | "FALSE" | "False"));
        Terminal {
            boxed: !no_colour,
            colours: !no_colour && !refused && std::io::stdout().is_terminal(),
            width: terminal_size::terminal_size_of(std::io::stderr())
                .map_or(78, |(terminal_size::Width(width), _)| width.into()),
            input: input && !asked_not_to,
            compact: false,
        }
    }

    /// The same with `-compact-warnings`.
    pub(super) fn compact(self, compact: bool) -> Terminal {
        Terminal { compact, ..self }
    }

    pub(super) fn colours(&self) -> Colours {
        if self.colours {
            Colours::Ansi
        } else {
            Colours::None
        }
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.colours().paint("1", text)
    }

    pub(super) fn green(&self, text: &str) -> String {
        self.colours().paint("1;32", text)
    }

    /// A line, or several, on standard output.
    #[expect(clippy::unused_self, reason = "who has a terminal may speak")]
    pub(super) fn say(&self, text: &str) {
        crate::output::print(&format!("{text}\n"));
    }

    /// A line on standard error.
    #[expect(clippy::unused_self, reason = "who has a terminal may speak")]
    pub(super) fn complain(&self, text: &str) {
        complain(text);
    }

    /// Errors on standard error, warnings on standard output, each as a box. Gives whether there was an error.
    pub(super) fn diagnose(&self, diagnostics: &Diagnostics, sources: &Sources) -> bool {
        let failed = diagnostics.has_errors();
        if self.compact && !failed && !diagnostics.is_empty() {
            self.say(&diagnostic::compact_warnings(
                diagnostics,
                sources,
                self.colours,
            ));
            return false;
        }
        let style = Style {
            boxed: self.boxed,
            color: self.colours,
            width: self.width,
        };
        for diagnostic in &gathered(diagnostics) {
            let text = diagnostic::text(diagnostic, sources, style);
            // Without boxes an empty line keeps them apart.
            let text = if self.boxed {
                text.strip_suffix('\n').unwrap_or(&text)
            } else {
                text.as_str()
            };
            if diagnostic.is_error() {
                self.complain(text);
            } else {
                self.say(text);
            }
        }
        failed
    }

    /// Columns that text on standard error has.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// One error that has no place in a file.
    pub(super) fn error(&self, summary: &str, detail: &str) {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(Diagnostic::error(summary, detail));
        self.diagnose(&diagnostics, &Sources::new());
    }

    /// Whether questions can be put.
    pub(super) fn asks(&self) -> bool {
        self.input
    }

    /// Puts a question and gives the answer; nothing where there is nobody to answer.
    pub(super) fn ask(&self, question: &str, description: &str, prompt: &str) -> Option<String> {
        if !self.input {
            return None;
        }
        let mut out = std::io::stdout().lock();
        let indented: String = description
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect();
        let shown = format!(
            "{}\n{indented}\n  {} ",
            self.bold(question),
            self.bold(prompt)
        );
        out.write_all(shown.as_bytes())
            .and_then(|()| out.flush())
            .ok()?;
        drop(out);
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line).ok()?;
        crate::output::print("\n");
        (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// Of warnings with places in the configuration and the same summary the first, with the number of the others.
fn gathered(diagnostics: &Diagnostics) -> Vec<Diagnostic> {
    let mut shown: Vec<(Diagnostic, usize)> = Vec::new();
    let mut first: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for diagnostic in diagnostics {
        let gathers = !diagnostic.is_error()
            && diagnostic.subject.is_some()
            && !diagnostic.summary.starts_with("Check block assertion");
        if gathers {
            if let Some(at) = first.get(&diagnostic.summary) {
                shown[*at].1 += 1;
                continue;
            }
            first.insert(diagnostic.summary.clone(), shown.len());
        }
        shown.push((diagnostic.clone(), 0));
    }
    shown
        .into_iter()
        .map(|(mut diagnostic, others)| {
            match others {
                0 => {}
                1 => diagnostic
                    .detail
                    .push_str("\n\n(and one more similar warning elsewhere)"),
                _ => diagnostic.detail.push_str(&format!(
                    "\n\n(and {others} more similar warnings elsewhere)"
                )),
            }
            diagnostic
        })
        .collect()
}
