//! What can be wrong with a policy, and where.

use std::fmt;

/// When an error was found. The names are those of OPA's error codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The text is no Rego.
    Parse,
    /// The modules do not fit together: an unknown function, an unsafe variable, a rule of two kinds.
    Compile,
    /// An operation on values it does not take.
    Type,
    /// The data document could not be used.
    Data,
    /// The evaluation could not go on: two values for one rule, or an error of a built-in function where these are strict.
    Eval,
    /// It took longer than it may.
    Deadline,
    /// The evaluator failed in itself.
    Internal,
}

impl Kind {
    /// The code that OPA gives such an error.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Parse => "rego_parse_error",
            Kind::Compile => "rego_compile_error",
            Kind::Type => "rego_type_error",
            Kind::Data => "storage_error",
            Kind::Eval => "eval_error",
            Kind::Deadline => "eval_cancel_error",
            Kind::Internal => "eval_internal_error",
        }
    }
}

/// What is wrong, where, and what might help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// When it was found.
    pub kind: Kind,
    /// What is wrong, in one line.
    pub message: String,
    /// The file, as it was named when it was added.
    pub file: Option<String>,
    /// The line, from one; zero if it is not known.
    pub line: u32,
    /// The column, from one; zero if it is not known.
    pub column: u32,
    /// What might help.
    pub hint: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
                if self.column > 0 {
                    write!(f, "{}:", self.column)?;
                }
            }
            f.write_str(" ")?;
        }
        write!(f, "{}: {}", self.kind.code(), self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error without a place.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            file: None,
            line: 0,
            column: 0,
            hint: None,
        }
    }

    /// Puts it at a place.
    #[must_use]
    pub fn at(mut self, file: &str, line: u32, column: u32) -> Self {
        self.file = Some(file.to_owned());
        self.line = line;
        self.column = column;
        self
    }

    /// Says what might help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Reads the place out of the evaluator's text:
    /// `\n--> FILE:LINE:COLUMN\n  |\n5 | source\n  |   ^\nerror: MESSAGE`.
    pub(crate) fn of(kind: Kind, error: &anyhow::Error) -> Self {
        let text = format!("{error:#}");
        if let Some(located) = error.downcast_ref::<Error>() {
            return located.clone();
        }
        let message = text
            .lines()
            .find_map(|line| line.strip_prefix("error: "))
            .unwrap_or_else(|| text.trim())
            .trim()
            .to_owned();
        let kind = if message.contains("exceeded time limit") || message.contains("execution timer")
        {
            Kind::Deadline
        } else {
            kind
        };
        let mut this = Self::new(kind, message);
        if let Some(place) = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix("--> "))
        {
            let mut parts = place.rsplitn(3, ':');
            if let (Some(column), Some(line), Some(file)) =
                (parts.next(), parts.next(), parts.next())
            {
                this.column = column.trim().parse().unwrap_or(0);
                this.line = line.parse().unwrap_or(0);
                this.file = Some(file.to_owned());
            }
        }
        this
    }
}
