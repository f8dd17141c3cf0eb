//! Errors that know where what is wrong was written.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use consort_jinja::{Dict, Origin, Str, Value};

/// What is told beside results while files are read.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Something to warn of.
    Warning(Located),
    /// Something that will go away.
    Deprecated {
        /// What.
        what: Located,
        /// When.
        removal: super::Removal,
    },
    /// Something to tell from a level of detail on (`-v` is 1).
    Detail {
        /// The level.
        level: u8,
        /// What.
        text: String,
    },
}

/// Is given notices.
pub type Notices = Arc<dyn Fn(Notice) + Send + Sync>;

/// An error with the place of what is wrong, what may help, and what caused it.
///
/// [`Located::brief`] is its text in one line, as it stands in results; `Display` gives the whole of it, with the lines of
/// the source, as ansible-core 2.21 shows it after `[ERROR]: `.
#[derive(Clone, Debug)]
pub struct Located(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    message: String,
    origin: Option<Arc<Origin>>,
    /// A value without a place in a file: what is shown instead of the lines of one.
    shown: Option<String>,
    hint: Option<String>,
    /// The template or expression it is about.
    template: Option<Str>,
    cause: Option<Located>,
    /// The text of the cause is part of the message already.
    complete: bool,
    exit: i32,
    redacted: bool,
    /// It came up while another error was dealt with, whose text is part of its message.
    handling: bool,
    /// The message is told with the blanks around it.
    verbatim: bool,
}

impl Located {
    /// An error without a place. The run ends with 1 because of it.
    pub fn new(message: impl Into<String>) -> Self {
        Located(Box::new(Inner {
            message: message.into(),
            origin: None,
            shown: None,
            hint: None,
            template: None,
            cause: None,
            complete: false,
            exit: 1,
            redacted: false,
            handling: false,
            verbatim: false,
        }))
    }

    /// With the message as it is: of others, blanks around it are left out.
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.0.verbatim = true;
        self
    }

    /// An error in what was written. The run ends with 4 because of it.
    pub fn parser(message: impl Into<String>) -> Self {
        Self::new(message).exiting(4)
    }

    /// With the place.
    #[must_use]
    pub fn at(mut self, origin: &Arc<Origin>) -> Self {
        self.0.origin = Some(Arc::clone(origin));
        self
    }

    /// With a place, if there is one.
    #[must_use]
    pub fn at_maybe(mut self, origin: Option<&Arc<Origin>>) -> Self {
        self.0.origin = origin.cloned();
        self
    }

    /// With the place of a value; one that has none is shown itself.
    #[must_use]
    pub fn about(mut self, value: &Value) -> Self {
        match origin_of(value) {
            // What was written on the command line has no lines that could be shown.
            Some(origin) if origin.file.starts_with('<') => {
                self = self.showing(&consort_jinja::repr::text(value));
                self.0.origin = Some(origin);
            }
            Some(origin) => self.0.origin = Some(origin),
            None if matches!(value, Value::None) => {}
            None => self = self.showing(&consort_jinja::repr::text(value)),
        }
        self
    }

    /// With the template or expression it is about.
    #[must_use]
    pub fn of_template(mut self, template: &Str) -> Self {
        self.0.template = Some(template.clone());
        self
    }

    /// The template or expression it is about.
    pub fn template(&self) -> Option<&Str> {
        self.0.template.as_ref()
    }

    /// With a text that stands for what has no place.
    #[must_use]
    pub fn showing(mut self, text: &str) -> Self {
        self.0.shown = Some(shorten(text, 120));
        self
    }

    /// With what may help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// With what caused it.
    #[must_use]
    pub fn because(mut self, cause: Located) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// The text of the cause is part of the message already, and is not told again.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.0.complete = true;
        self
    }

    /// It came up while another error was dealt with, whose text its message has; so it is told apart from what it caused.
    #[must_use]
    pub fn handling(mut self) -> Self {
        self.0.handling = true;
        self
    }

    /// With the place of what was written; truth values and nothing have none.
    #[must_use]
    pub fn about_node(self, node: &super::Node) -> Self {
        match node.scalar() {
            Some(Value::None) => self,
            Some(value @ Value::Bool(_)) => self.showing(&consort_jinja::repr::text(value)),
            _ => self.at(node.origin()),
        }
    }

    /// With the status the run ends with because of it.
    #[must_use]
    pub fn exiting(mut self, status: i32) -> Self {
        self.0.exit = status;
        self
    }

    /// Without the lines of the source: what stands there is secret.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        self.0.redacted = true;
        self
    }

    /// With other text in front of its own message.
    #[must_use]
    pub fn worded(mut self, word: impl FnOnce(&str) -> String) -> Self {
        self.0.message = word(&self.0.message);
        self
    }

    /// The message alone, without causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The place.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.0.origin.as_ref()
    }

    /// Whether a place, or what stands for it, is known.
    pub fn has_place(&self) -> bool {
        self.0.origin.is_some() || self.0.shown.is_some()
    }

    /// What may help.
    pub fn help(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What caused it.
    pub fn cause(&self) -> Option<&Located> {
        self.0.cause.as_ref()
    }

    /// The status the run ends with because of it.
    pub fn exit(&self) -> i32 {
        self.0.exit
    }

    /// Whether it came of a value that [nothing can know yet](crate::template::unknown).
    pub fn is_of_unknown(&self) -> bool {
        self.0.message.contains(crate::template::KNOWN_LATER)
            || self.0.cause.as_ref().is_some_and(Located::is_of_unknown)
    }

    /// The message with those of its causes.
    pub fn brief(&self) -> String {
        let mut messages = vec![self.told()];
        let mut error = self;
        while let Some(cause) = error.followed() {
            messages.push(cause.told());
            error = cause;
        }
        joined(&messages)
    }

    fn told(&self) -> &str {
        if self.0.verbatim {
            &self.0.message
        } else {
            self.0.message.trim()
        }
    }

    fn followed(&self) -> Option<&Located> {
        if self.0.complete {
            None
        } else {
            self.0.cause.as_ref()
        }
    }

    /// `Origin: ...` and the lines of the source.
    pub fn context(&self) -> Option<String> {
        let inner = &self.0;
        if let Some(origin) = &inner.origin {
            return Some(if inner.redacted && origin.line > 0 {
                format!(
                    "Origin: {}\n\n(source not shown: content redacted)",
                    place(origin)
                )
            } else {
                match &inner.shown {
                    Some(shown) => format!("{}\n\n{shown}", excerpt(origin)),
                    None => excerpt(origin),
                }
            });
        }
        inner
            .shown
            .as_ref()
            .map(|shown| format!("Origin: <unknown>\n\n{shown}"))
    }

    /// The whole text: each message with its place and help; causes with places of their own stand apart.
    pub fn text(&self) -> String {
        let mut segments: Vec<String> = Vec::new();
        let mut error = Some(self);
        while let Some(event) = error {
            let context = event.context();
            let mut messages = vec![event.told()];
            let mut chain = event.followed();
            while let Some(cause) = chain {
                let cause_context = cause.context();
                if (cause_context.is_some() || cause.0.hint.is_some())
                    && (cause_context != context || cause.0.hint != event.0.hint)
                    || cause.0.handling
                {
                    break;
                }
                messages.push(cause.told());
                chain = cause.followed();
            }
            let message = joined(&messages);
            let mut segment = match (&event.0.hint, &context) {
                (Some(hint), None) if !message.contains('\n') && !hint.contains('\n') => {
                    format!("{message} {hint}")
                }
                (hint, context) => {
                    let mut lines = message;
                    if let Some(context) = context {
                        lines.push('\n');
                        lines.push_str(context);
                    }
                    if let Some(hint) = hint {
                        lines.push_str("\n\n");
                        lines.push_str(hint);
                    }
                    lines
                }
            };
            segment.push('\n');
            segments.push(segment);
            if chain.is_some() {
                segments.push("\n<<< caused by >>>\n\n".to_owned());
            }
            error = chain;
        }
        if segments.len() > 1 {
            segments.insert(0, format!("{}\n\n", self.brief()));
        }
        segments.concat().trim().to_owned()
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for Located {}

/// Puts the messages of a chain together, leaving out what a message ends with already.
fn joined(messages: &[&str]) -> String {
    let mut rest = messages.iter().rev();
    let mut whole = rest
        .next()
        .map_or_else(String::new, |last| (*last).to_owned());
    for part in rest {
        if part.ends_with(&whole) {
            (*part).clone_into(&mut whole);
        } else {
            whole = format!("{}: {whole}", part.trim_end_matches(['.', ' ']));
        }
    }
    whole
}

/// The place of a value: of a text its own, of a container that of the first text in it.
pub(crate) fn origin_of(value: &Value) -> Option<Arc<Origin>> {
    match value {
        Value::Str(text) => text.origin().cloned(),
        Value::Dict(dict) => origin_of_dict(dict),
        Value::List(list) => list.read().iter().find_map(origin_of),
        Value::Object(object) => object
            .any()
            .downcast_ref::<super::Encrypted>()
            .and_then(|encrypted| encrypted.origin.clone()),
        _ => None,
    }
}

fn origin_of_dict(dict: &Dict) -> Option<Arc<Origin>> {
    dict.read().keys().find_map(|key| match key.value() {
        Value::Str(text) => text.origin().cloned(),
        _ => None,
    })
}

fn place(origin: &Origin) -> String {
    match (origin.line, origin.column) {
        (0, _) => origin.file.to_string(),
        (line, 0) => format!("{}:{line}", origin.file),
        (line, column) => format!("{}:{line}:{column}", origin.file),
    }
}

const LINES_BEFORE: usize = 2;
const WIDEST: usize = 120;

/// `Origin: FILE:LINE:COLUMN`, the line with the two before it, and a mark under the column; as ansible-core 2.21 shows it.
pub fn excerpt(origin: &Origin) -> String {
    let mut text = format!("Origin: {}", place(origin));
    match annotated(origin) {
        Ok(lines) if lines.is_empty() => {}
        Ok(lines) => {
            text.push_str("\n\n");
            text.push_str(&lines.join("\n"));
        }
        Err(reason) => text.push_str(&format!("\n\n(source not shown: {reason})")),
    }
    text
}

fn annotated(origin: &Origin) -> Result<Vec<String>, &'static str> {
    let target = origin.line as usize;
    if target == 0 || !origin.file.starts_with('/') {
        return Ok(Vec::new());
    }
    let start = target.saturating_sub(1 + LINES_BEFORE);
    let lines = source_lines(&origin.file, start, target)?;
    let label = target.to_string().len();
    let widest = WIDEST - label - 1;
    let mut usable = widest;
    let mut shown = Vec::new();
    let mut last = 0;
    for (number, line) in lines.iter().enumerate() {
        let mut line: Vec<char> = line
            .trim_end_matches(['\n', '\r'])
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .collect();
        if line.len() > widest {
            line.truncate(widest - 3);
            line.extend("...".chars());
            usable = widest - 3;
        }
        last = line.len();
        let space = if line.is_empty() { "" } else { " " };
        let line: String = line.into_iter().collect();
        shown.push(format!("{:>label$}{space}{line}", start + number + 1));
    }
    let column = origin.column as usize;
    if column == 0 {
        shown.push(format!("{} {}", " ".repeat(label), "^".repeat(last)));
    } else if column <= usable {
        let mark = format!("column {column}");
        let index = column - 1;
        let mark = if index + 2 + mark.len() > widest {
            format!(
                "{}{mark} ^",
                " ".repeat(index.saturating_sub(mark.len() + 1))
            )
        } else {
            format!("{}^ {mark}", " ".repeat(index))
        };
        shown.push(format!("{} {mark}", " ".repeat(label)));
    }
    Ok(shown)
}

/// Lines `start..end` of a file, counted from zero.
pub(crate) fn source_lines(
    file: &str,
    start: usize,
    end: usize,
) -> Result<Vec<String>, &'static str> {
    let file = std::fs::File::open(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "FileNotFoundError",
        std::io::ErrorKind::PermissionDenied => "PermissionError",
        std::io::ErrorKind::IsADirectory => "IsADirectoryError",
        _ => "OSError",
    })?;
    let mut lines = Vec::new();
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    let mut number = 0;
    while number < end {
        bytes.clear();
        let count = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::IsADirectory => "IsADirectoryError",
                _ => "OSError",
            })?;
        if count == 0 {
            return Err("file truncated");
        }
        if number == 0 && bytes.starts_with(b"$ANSIBLE_VAULT") {
            return Err("content encrypted");
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| "UnicodeDecodeError")?;
        for line in universal_lines(text) {
            if number >= start && number < end {
                lines.push(line.to_owned());
            }
            number += 1;
        }
    }
    Ok(lines)
}

/// The lines of a text, as Python's text files have them: `\n`, `\r\n` and `\r` end them.
pub(super) fn universal_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(at) = rest.find(['\n', '\r']) else {
            return Some(std::mem::take(&mut rest));
        };
        let line = &rest[..at];
        let ending = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[at + ending..];
        Some(line)
    })
}

/// A text in one line of at most `width` characters, cut between words.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let whole = words.join(" ");
    if whole.chars().count() <= width {
        return whole;
    }
    let mark = "[...]";
    let mut kept = String::new();
    for word in words {
        let length = kept.chars().count() + word.chars().count() + usize::from(!kept.is_empty());
        if length + 1 + mark.len() > width {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    if kept.is_empty() {
        mark.to_owned()
    } else {
        format!("{kept} {mark}")
    }
}
