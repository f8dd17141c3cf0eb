//! What can go wrong with an expression, before and while it runs.

use std::fmt;

/// One fault found in the text of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Line, from 1; 0 when the fault has no place.
    pub line: u32,
    /// Column in code points, from 1; 0 when the fault has no place.
    pub column: u32,
    /// What is wrong, in cel-go's words.
    pub message: String,
    /// The line it is about.
    pub snippet: String,
}

/// The faults of an expression, in the order of their places. Displayed as cel-go displays them:
/// `ERROR: <input>:1:5: message`, the line and a caret below it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Issues(pub Vec<Issue>);

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if issue.line == 0 {
                f.write_str(&issue.message)?;
                continue;
            }
            write!(
                f,
                "ERROR: <input>:{}:{}: {}",
                issue.line, issue.column, issue.message
            )?;
            write!(f, "\n | {}\n | ", issue.snippet.replace('\t', " "))?;
            // Wide characters are pointed past with wide dots, so that the caret stands below its place.
            let mut chars = issue.snippet.chars();
            for _ in 1..issue.column {
                f.write_str(if chars.next().is_some_and(|c| !c.is_ascii()) {
                    "\u{ff0e}"
                } else {
                    "."
                })?;
            }
            f.write_str(if chars.next().is_some_and(|c| !c.is_ascii()) {
                "\u{ff3e}"
            } else {
                "^"
            })?;
        }
        Ok(())
    }
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression met a value it has no answer for; other rules go on.
    #[error("{0}")]
    Failed(String),
    /// This one evaluation cost more than one may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CallLimit,
    /// The budget ran out: no further rules are to be evaluated with it.
    #[error(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )]
    Budget,
}

impl EvalError {
    pub(crate) fn no_overload() -> Self {
        EvalError::Failed("no such overload".to_owned())
    }

    /// Whether evaluation stopped because of its cost.
    pub fn is_cost(&self) -> bool {
        !matches!(self, EvalError::Failed(_))
    }
}
