//! What is printed: lines in colours, banners as wide as the terminal, warnings once each.

use std::collections::HashSet;
use std::io::Write;

/// The least width of a banner, and that of one where there is no terminal.
const WIDTH: usize = 79;

/// What things are coloured as; the names are those of Ansible's settings `COLOR_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Tone {
    Ok,
    Changed,
    Skip,
    Error,
    Unreachable,
    Warn,
    Deprecate,
    Debug,
    Verbose,
    Included,
    DiffAdd,
    DiffRemove,
    DiffLines,
}

/// The colours of tones, as the text between `ESC [` and `m`.
#[derive(Clone, Debug)]
pub struct Palette([String; 13]);

impl Default for Palette {
    /// Ansible's.
    fn default() -> Self {
        let codes = [
            "0;32", "0;33", "0;36", "0;31", "1;31", "1;35", "0;35", "1;30", "0;34", "0;36", "0;32",
            "0;31", "0;36",
        ];
        Palette(codes.map(str::to_owned))
    }
}

impl Palette {
    /// Gives a tone another colour, by a name of Ansible's (`bright blue`, `color208`, `rgb235`, `gray7`).
    ///
    /// # Errors
    /// There is no such colour.
    pub fn set(&mut self, tone: Tone, name: &str) -> Result<(), String> {
        let code = code(name).ok_or_else(|| format!("{name:?} is no colour"))?;
        self.0[tone as usize] = code;
        Ok(())
    }
}

fn code(name: &str) -> Option<String> {
    let fixed = match name {
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
        "bright red" => "1;31",
        "yellow" => "0;33",
        "bright purple" | "bright magenta" => "1;35",
        "dark gray" => "1;30",
        "bright yellow" => "1;33",
        "purple" | "magenta" => "0;35",
        "normal" => "0",
        _ => "",
    };
    if !fixed.is_empty() {
        return Some(fixed.to_owned());
    }
    let number = |digits: &str| digits.parse::<u32>().ok();
    if let Some(digits) = name.strip_prefix("color") {
        return number(digits).map(|n| format!("38;5;{n}"));
    }
    if let Some(digits) = name.strip_prefix("rgb") {
        let parts: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(6)).collect();
        return match (digits.len(), parts.as_slice()) {
            (3, [red, green, blue]) => Some(format!("38;5;{}", 16 + 36 * red + 6 * green + blue)),
            _ => None,
        };
    }
    let digits = name.strip_prefix("gray")?;
    number(digits).map(|n| format!("38;5;{}", 232 + n))
}

/// Where a run is told, and how.
pub struct Display {
    /// How much is told: the number of `-v`.
    pub verbosity: u8,
    /// The columns of a banner.
    pub columns: usize,
    /// The colours, if any.
    pub palette: Option<Palette>,
    /// Whether what will go away is told.
    pub deprecations: bool,
    /// How much the log is told, if that is more.
    pub log_verbosity: u8,
    /// Whether details go to the standard error.
    pub details_to_error: bool,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    log: Option<Box<dyn Write + Send>>,
    told: HashSet<String>,
}

impl Display {
    /// To the standard output and error of the process.
    pub fn standard(
        verbosity: u8,
        palette: Option<Palette>,
        log: Option<Box<dyn Write + Send>>,
    ) -> Self {
        let columns = terminal_size::terminal_size()
            .map_or(WIDTH, |(width, _)| usize::from(width.0).saturating_sub(1))
            .max(WIDTH);
        Display {
            columns,
            log,
            ..Self::to(
                verbosity,
                palette,
                Box::new(std::io::stdout()),
                Box::new(std::io::stderr()),
            )
        }
    }

    /// To two places, without a terminal.
    pub fn to(
        verbosity: u8,
        palette: Option<Palette>,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        Display {
            verbosity,
            columns: WIDTH,
            palette,
            deprecations: true,
            log_verbosity: 0,
            details_to_error: false,
            out,
            err,
            log: None,
            told: HashSet::new(),
        }
    }

    /// A text in a tone: each of its lines, if there are colours at all.
    pub fn toned(&self, text: &str, tone: Tone) -> String {
        let Some(palette) = &self.palette else {
            return text.to_owned();
        };
        let code = &palette.0[tone as usize];
        let lines: Vec<String> = text
            .split('\n')
            .map(|line| format!("\x1b[{code}m{line}\x1b[0m"))
            .collect();
        lines.join("\n")
    }

    /// Prints a line, or several.
    pub fn line(&mut self, text: &str, tone: Option<Tone>) {
        self.print(text, tone, false);
    }

    /// Prints to the standard error.
    pub fn complain(&mut self, text: &str, tone: Option<Tone>) {
        self.print(text, tone, true);
    }

    /// Prints to one of both.
    pub fn print(&mut self, text: &str, tone: Option<Tone>, to_error: bool) {
        let text = if text.contains("\r\n") {
            text.replace("\r\n", "\n")
        } else {
            text.to_owned()
        };
        self.write_log(&text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut shown = match tone {
            Some(tone) if self.palette.is_some() => self.toned(text, tone),
            _ => text.to_owned(),
        };
        shown.push('\n');
        // Whoever reads may be gone; the run goes on.
        let to = if to_error {
            &mut self.err
        } else {
            &mut self.out
        };
        let _ = to.write_all(shown.as_bytes());
        let _ = to.flush();
    }

    /// Prints to the screen what the log gets in another form.
    pub fn both(&mut self, screen: &str, log: &str) {
        self.write_log(log);
        let _ = writeln!(self.out, "{screen}");
        let _ = self.out.flush();
    }

    fn write_log(&mut self, text: &str) {
        let Some(log) = &mut self.log else { return };
        let level = if text.starts_with("[ERROR]: ") {
            "ERROR"
        } else if text.starts_with("[WARNING]: ") {
            "WARNING"
        } else {
            "INFO"
        };
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f");
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())
            .ok()
            .flatten()
            .map_or_else(String::new, |user| user.name);
        // A log that cannot be written does not stop a run.
        let _ = writeln!(
            log,
            "{now} p={} u={user} n=ansible {level}| {}",
            std::process::id(),
            text.trim_start_matches('\n')
        );
    }

    /// A line with stars behind it, as wide as the terminal, after an empty one.
    pub fn banner(&mut self, text: &str) {
        let text = text.trim();
        let stars = self.columns.saturating_sub(width(text)).max(3);
        self.line(&format!("\n{text} {}", "*".repeat(stars)), None);
    }

    /// A warning, once.
    pub fn warning(&mut self, text: &str) {
        self.once(format!("[WARNING]: {text}"), Tone::Warn, true);
    }

    /// Something that will go away, once.
    pub fn deprecation(&mut self, text: &str) {
        self.warning("Deprecation warnings can be disabled by setting `deprecation_warnings=False` in ansible.cfg.");
        self.once(
            format!("[DEPRECATION WARNING]: {text}"),
            Tone::Deprecate,
            true,
        );
    }

    /// An error, once.
    pub fn error(&mut self, text: &str, to_error: bool) {
        self.once(format!("[ERROR]: {text}"), Tone::Error, to_error);
    }

    /// What helps with an error, once.
    pub fn hint(&mut self, text: &str) {
        self.once(format!("[HINT]: {text}"), Tone::Verbose, true);
    }

    fn once(&mut self, text: String, tone: Tone, to_error: bool) {
        if self.told.contains(&text) {
            return;
        }
        // What takes several lines is set apart from what follows.
        let mut shown = text.trim_end().to_owned();
        if shown.contains('\n') {
            shown.push_str("\n\n");
        }
        self.print(&shown, Some(tone), to_error);
        self.told.insert(text);
    }

    /// Something for those who want to know more, from a level on.
    pub fn detail(&mut self, level: u8, host: Option<&str>, text: &str) {
        let (shown, logged) = (self.verbosity >= level, self.log_verbosity >= level);
        if !shown && !logged {
            return;
        }
        let text = match host {
            Some(host) => &format!("<{host}> {text}"),
            None => text,
        };
        if shown {
            self.print(text, Some(Tone::Verbose), self.details_to_error);
        } else {
            self.write_log(text);
        }
    }
}

/// How many columns a text takes: two for wide characters, none for those that combine.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match c as u32 {
            0..0x20 | 0x7f..0xa0 | 0x0300..0x0370 | 0x200b..0x2010 | 0xfe00..0xfe10 => 0,
            0x1100..0x1160
            | 0x2e80..0x303f
            | 0x3041..0xa4d0
            | 0xac00..0xd7a4
            | 0xf900..0xfb00
            | 0xfe30..0xfe70
            | 0xff00..0xff61
            | 0xffe0..0xffe7
            | 0x1f300..0x1f650
            | 0x1f900..0x1fa00
            | 0x20000..0x3fffe => 2,
            _ => 1,
        })
        .sum()
}
