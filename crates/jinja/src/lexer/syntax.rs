//! How templates are written.

use super::{Token, expression};
use crate::error::Error;

/// How templates are written and what is done about whitespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syntax {
    /// Begins a statement.
    pub block_start: String,
    /// Ends a statement.
    pub block_end: String,
    /// Begins an expression that is put out.
    pub variable_start: String,
    /// Ends it.
    pub variable_end: String,
    /// Begins a comment.
    pub comment_start: String,
    /// Ends it.
    pub comment_end: String,
    /// A line that begins with this is a statement.
    pub line_statement_prefix: Option<String>,
    /// From this to the end of its line is a comment.
    pub line_comment_prefix: Option<String>,
    /// Whether the first newline after a block is dropped.
    pub trim_blocks: bool,
    /// Whether blanks before a block that begins its line are dropped.
    pub lstrip_blocks: bool,
    /// Whether the newline at the end of the text stays.
    pub keep_trailing_newline: bool,
    /// What newlines become.
    pub newline_sequence: String,
    /// Whether a backslash in a string stands for itself where an expression is put out (not in statements). For
    /// templates from YAML, which has dealt with backslashes already.
    pub literal_backslashes: bool,
    /// Whether the statements of Jinja's extensions are known: `do`, `break`, `continue`.
    pub extensions: bool,
}

impl Syntax {
    /// A text that begins with this says in its first line how it is written.
    pub const HEADER: &'static str = "#jinja2:";

    /// What the first line of a text says about how it is written, and the rest of the text; none if it says nothing.
    pub(crate) fn with_header<'t>(
        &self,
        text: &'t str,
    ) -> Result<Option<(Syntax, &'t str)>, Error> {
        let Some(after) = text.strip_prefix(Self::HEADER) else {
            return Ok(None);
        };
        let wrong = |message: String| Err(Error::failed(message).in_syntax());
        let Some((line, rest)) = after.split_once('\n') else {
            return wrong("Missing newline after '#jinja2:' override.".to_owned());
        };
        let mut syntax = self.clone();
        for pair in line.split(',') {
            if pair.trim().is_empty() {
                return wrong("Empty '#jinja2:' override pair not allowed.".to_owned());
            }
            let Some((key, value)) = pair.split_once(':') else {
                return wrong(format!(
                    "Missing key-value separator `:` in '#jinja2:' override pair {}.",
                    crate::repr::string(pair)
                ));
            };
            syntax.set(key.trim(), value.trim())?;
        }
        Ok(Some((syntax, rest)))
    }

    /// Sets an option by its name from what Python would read as a literal.
    fn set(&mut self, key: &str, written: &str) -> Result<(), Error> {
        let wrong = || {
            Error::failed(format!(
                "invalid value for '#jinja2:' override key {}: {written}",
                crate::repr::string(key)
            ))
            .in_syntax()
        };
        let text = || -> Result<Option<String>, Error> {
            if written == "None" {
                return Ok(None);
            }
            let tokens = expression(written, &Syntax::default()).map_err(|_| wrong())?;
            match tokens.as_slice() {
                [(Token::Str(text), _), (Token::End, _)] => Ok(Some(text.clone())),
                _ => Err(wrong()),
            }
        };
        let flag = || match written {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(wrong()),
        };
        match key {
            "block_start_string" => self.block_start = text()?.ok_or_else(wrong)?,
            "block_end_string" => self.block_end = text()?.ok_or_else(wrong)?,
            "variable_start_string" => self.variable_start = text()?.ok_or_else(wrong)?,
            "variable_end_string" => self.variable_end = text()?.ok_or_else(wrong)?,
            "comment_start_string" => self.comment_start = text()?.ok_or_else(wrong)?,
            "comment_end_string" => self.comment_end = text()?.ok_or_else(wrong)?,
            "line_statement_prefix" => self.line_statement_prefix = text()?,
            "line_comment_prefix" => self.line_comment_prefix = text()?,
            "newline_sequence" => self.newline_sequence = text()?.ok_or_else(wrong)?,
            "trim_blocks" => self.trim_blocks = flag()?,
            "lstrip_blocks" => self.lstrip_blocks = flag()?,
            "keep_trailing_newline" => self.keep_trailing_newline = flag()?,
            _ => {
                return Err(Error::failed(format!(
                    "Invalid '#jinja2:' override key {}.",
                    crate::repr::string(key)
                ))
                .in_syntax());
            }
        }
        Ok(())
    }
}

impl Default for Syntax {
    fn default() -> Self {
        Syntax {
            block_start: "{%".into(),
            block_end: "%}".into(),
            variable_start: "{{".into(),
            variable_end: "}}".into(),
            comment_start: "{#".into(),
            comment_end: "#}".into(),
            line_statement_prefix: None,
            line_comment_prefix: None,
            trim_blocks: false,
            lstrip_blocks: false,
            keep_trailing_newline: false,
            newline_sequence: "\n".into(),
            literal_backslashes: false,
            extensions: false,
        }
    }
}
