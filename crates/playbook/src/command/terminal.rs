//! What is told beside results: warnings, errors, details.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::settings::Settings;
use crate::source::{Located, Notice, Notices};
use crate::template::Warned;

/// Writes to the terminal, each warning once.
#[derive(Clone)]
pub struct Terminal(Arc<Inner>);

struct Inner {
    verbosity: u8,
    colours: bool,
    deprecations: bool,
    verbose_to_stderr: bool,
    warning: String,
    deprecation: String,
    error: String,
    detail: String,
    told: Mutex<HashSet<String>>,
}

impl Terminal {
    /// With colours as settings have them.
    pub fn new(settings: &Settings, verbosity: u8) -> Self {
        let colours =
            !settings.nocolor && (settings.force_color || std::io::stdout().is_terminal());
        Terminal(Arc::new(Inner {
            verbosity,
            colours,
            deprecations: settings.deprecation_warnings,
            verbose_to_stderr: settings.verbose_to_stderr,
            warning: settings.color_warn.clone(),
            deprecation: settings.color_deprecate.clone(),
            error: settings.color_error.clone(),
            detail: settings.color_verbose.clone(),
            told: Mutex::default(),
        }))
    }

    /// How much is told.
    pub fn verbosity(&self) -> u8 {
        self.0.verbosity
    }

    /// Whether there are colours.
    pub fn colours(&self) -> bool {
        self.0.colours
    }

    /// A line on standard output.
    pub fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}");
    }

    /// A line beside the output.
    pub fn aside(&self, text: &str) {
        eprintln!("{text}");
    }

    /// A warning.
    pub fn warn(&self, message: &str) {
        self.told_once(&format!("[WARNING]: {message}"), &self.0.warning);
    }

    /// An error, with its places.
    pub fn error(&self, error: &Located) {
        self.told_once(&format!("[ERROR]: {error}"), &self.0.error);
    }

    /// Something that will go away.
    pub fn deprecate(&self, what: &str, version: &str) {
        if !self.0.deprecations {
            return;
        }
        self.warn(
            "Deprecation warnings can be disabled by setting `deprecation_warnings=False` in ansible.cfg.",
        );
        let (first, rest) = what.split_once('\n').unwrap_or((what, ""));
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!("\n{rest}")
        };
        self.told_once(
            &format!(
                "[DEPRECATION WARNING]: {first} This feature will be removed from ansible-core version {version}.{rest}"
            ),
            &self.0.deprecation,
        );
    }

    /// Something to tell from a level of detail on.
    pub fn detail(&self, level: u8, text: &str) {
        if self.0.verbosity < level {
            return;
        }
        let text = self.coloured(text, &self.0.detail);
        if self.0.verbose_to_stderr {
            self.aside(&text);
        } else {
            self.line(&text);
        }
    }

    /// Tells notices.
    pub fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Warning(what) => self.warn(&what.text()),
            Notice::Deprecated { what, version } => self.deprecate(&what.text(), version),
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
            terminal.notice(&match warned {
                Warned::Warning {
                    message,
                    about,
                    help,
                } => Notice::Warning(located(message, about, help)),
                Warned::Deprecation {
                    message,
                    version,
                    about,
                    help,
                } => Notice::Deprecated {
                    what: located(message, about, help),
                    version: version.to_owned(),
                },
            });
        })
    }

    fn told_once(&self, text: &str, colour: &str) {
        if !self.0.told.lock().insert(text.to_owned()) {
            return;
        }
        // What was written before comes before.
        let _ = std::io::stdout().flush();
        self.aside(&self.coloured(text, colour));
    }

    fn coloured(&self, text: &str, colour: &str) -> String {
        if !self.0.colours {
            return text.to_owned();
        }
        let code = code(colour);
        text.split('\n')
            .map(|line| format!("\x1b[{code}m{line}\x1b[0m"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The code of a colour's name.
fn code(name: &str) -> String {
    let known = match name {
        "black" => "0;30",
        "bright gray" => "0;37",
        "blue" => "0;34",
        "white" => "1;37",
        "green" => "0;32",
        "bright blue" => "1;34",
        "cyan" => "0;36",
        "bright green" => "1;32",
        "red" => "0;31",
        "bright cyan" => "1;36",
        "purple" | "magenta" => "0;35",
        "bright red" => "1;31",
        "yellow" => "0;33",
        "bright purple" | "bright magenta" => "1;35",
        "dark gray" => "1;30",
        "bright yellow" => "1;33",
        "normal" => "0",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    match name.strip_prefix("color").or(name.strip_prefix("rgb")) {
        Some(number) => format!("38;5;{number}"),
        None => "0".to_owned(),
    }
}
