//! What is told beside results: warnings, errors, details.

use std::io::{IsTerminal as _, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::output::display::{Display, Palette, Tone};
use crate::settings::Settings;
use crate::source::{Located, Notice, Notices, Removal};
use crate::template::Warned;

/// Writes to the terminal, each warning once.
#[derive(Clone)]
pub struct Terminal(Arc<Inner>);

struct Inner {
    verbosity: u8,
    deprecations: bool,
    hints: bool,
    display: Mutex<Display>,
}

impl Terminal {
    /// With colours as settings have them.
    pub fn new(settings: &Settings, verbosity: u8) -> Self {
        Self::with_hints(settings, verbosity, false)
    }

    /// The same, with what helps beside each error if that is wanted.
    pub fn with_hints(settings: &Settings, verbosity: u8, hints: bool) -> Self {
        if let Some(refused) = log_refused(settings) {
            eprintln!("{refused}");
        }
        Terminal(Arc::new(Inner {
            verbosity,
            deprecations: settings.deprecation_warnings,
            hints,
            display: Mutex::new(display(settings, verbosity)),
        }))
    }

    /// How much is told.
    pub fn verbosity(&self) -> u8 {
        self.0.verbosity
    }

    /// Whether what helps is told beside errors.
    pub fn hints(&self) -> bool {
        self.0.hints
    }

    /// A line on standard output.
    pub fn line(&self, text: &str) {
        // A text that ends its line gets no second end.
        let text = text.strip_suffix('\n').unwrap_or(text);
        self.0.display.lock().line(text, None);
    }

    /// A line beside the output.
    pub fn aside(&self, text: &str) {
        self.0.display.lock().complain(text, None);
    }

    /// A warning.
    pub fn warn(&self, message: &str) {
        self.0.display.lock().warning(message);
    }

    /// An error, with its places.
    pub fn error(&self, error: &Located) {
        let mut display = self.0.display.lock();
        display.error(&error.text(), true);
        if self.0.hints
            && let Some(helps) = crate::explain::of_error(error)
        {
            display.hint(&helps);
        }
    }

    /// Something that will go away.
    pub fn deprecate(&self, what: &Located, removal: &Removal) {
        if !self.0.deprecations {
            return;
        }
        let what = what.clone().worded(|message| removal.announced(message));
        self.0.display.lock().deprecation(&what.text());
    }

    /// Something to tell from a level of detail on.
    pub fn detail(&self, level: u8, text: &str) {
        self.0.display.lock().detail(level, None, text);
    }

    /// Tells notices.
    pub fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Warning(what) => self.warn(&what.text()),
            Notice::Deprecated { what, removal } => self.deprecate(what, removal),
            Notice::Detail { level, text } => self.detail(*level, text),
        }
    }

    /// Is given notices, and tells them.
    pub fn notices(&self) -> Notices {
        let terminal = self.clone();
        Arc::new(move |notice| terminal.notice(&notice))
    }

    /// Is given what templates warn of.
    pub fn warned(&self) -> Arc<dyn Fn(Warned) + Send + Sync> {
        let terminal = self.clone();
        Arc::new(move |warned| {
            let located =
                |message: String, about: Option<consort_jinja::Str>, help: Option<String>| {
                    let mut located = Located::new(message);
                    if let Some(about) = about {
                        located = located.about(&consort_jinja::Value::Str(about));
                    }
                    match help {
                        Some(help) => located.hint(help),
                        None => located,
                    }
                };
            let notice = match warned {
                Warned::Warning {
                    message,
                    about,
                    help,
                } => Notice::Warning(located(message, about, help)),
                Warned::Deprecation {
                    message,
                    removal,
                    about,
                    help,
                } => Notice::Deprecated {
                    what: located(message, about, help),
                    removal,
                },
            };
            // What a task warns of is told with its result.
            if let Some(notice) = crate::executor::held::hold(notice) {
                terminal.notice(&notice);
            }
        })
    }
}

/// A display in the colours of settings, with the log they name.
pub(super) fn display(settings: &Settings, verbosity: u8) -> Display {
    let colours = settings.force_color || (!settings.nocolor && std::io::stdout().is_terminal());
    let palette = colours.then(|| {
        let mut palette = Palette::default();
        for (tone, name) in [
            (Tone::Ok, &settings.color_ok),
            (Tone::Changed, &settings.color_changed),
            (Tone::Skip, &settings.color_skip),
            (Tone::Error, &settings.color_error),
            (Tone::Unreachable, &settings.color_unreachable),
            (Tone::Warn, &settings.color_warn),
            (Tone::Deprecate, &settings.color_deprecate),
            (Tone::Debug, &settings.color_debug),
            (Tone::Verbose, &settings.color_verbose),
            (Tone::Included, &settings.color_included),
            (Tone::DiffAdd, &settings.color_diff_add),
            (Tone::DiffRemove, &settings.color_diff_remove),
            (Tone::DiffLines, &settings.color_diff_lines),
        ] {
            // A colour that is none leaves the usual one.
            let _ = palette.set(tone, name);
        }
        palette
    });
    let mut display = Display::standard(verbosity, palette, log(settings));
    display.log_verbosity = settings
        .log_verbosity
        .and_then(|level| u8::try_from(level).ok())
        .unwrap_or(0);
    display.details_to_error = settings.verbose_to_stderr;
    display.deprecations = settings.deprecation_warnings;
    display
}

/// The log that settings name, unless they keep this program out of it.
fn log(settings: &Settings) -> Option<Box<dyn Write + Send>> {
    let path = settings.log_path.as_ref()?;
    if settings.log_filter.iter().any(|name| name == "ansible") {
        return None;
    }
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .ok()?;
    Some(Box::new(file))
}

/// What is wrong with the log that settings name, if it cannot be written.
fn log_refused(settings: &Settings) -> Option<String> {
    let path = settings.log_path.as_ref()?;
    if std::path::Path::new(path).is_dir() {
        return Some(format!(
            "[WARNING]: DEFAULT_LOG_PATH can not be a directory '{path}', aborting"
        ));
    }
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    opened.is_err().then(|| {
        format!(
            "[WARNING]: log file at '{path}' is not writeable and we cannot create it, aborting\n"
        )
    })
}
