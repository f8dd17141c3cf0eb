//! Lines, indentation and comments.

use crate::engine::Version;
use crate::syntax::{Comment, Module, Span, Step, TermKind};

/// A comment stands where the layout has no place for it: the term around it is kept as it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Misplaced;

pub(super) type Written = Result<(), Misplaced>;

/// A row that is before all others: no comment belongs to it.
pub(super) const NOWHERE: u32 = 0;

pub(super) struct Writer<'a> {
    pub(super) text: &'a str,
    comments: Vec<&'a Comment>,
    /// The first comment that was not written yet.
    next: usize,
    out: String,
    level: usize,
    /// Whether something was written on the present line.
    pub(super) inline: bool,
    /// The comment that goes to the end of the line.
    pub(super) before_end: Option<&'a Comment>,
    delay: bool,
    /// Whether a term that is kept as it was writes the comment on its last line too.
    pub(super) final_line: bool,
    pub(super) v1: bool,
    /// Whether `if` and `contains` are written.
    pub(super) conditions: bool,
    pub(super) contains: bool,
    /// Whether a head is longer than before there were such.
    pub(super) long_heads: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(text: &'a str, module: &'a Module, version: Version) -> Self {
        let v1 = version == Version::V1;
        let imported = |word: &str| {
            module.imports.iter().any(|import| {
                let path = import.dotted();
                path == "rego.v1"
                    || path == "future.keywords"
                    || path == format!("future.keywords.{word}")
            })
        };
        let long_heads = module.rules.iter().any(|rule| {
            let length = match &rule.head.name.kind {
                TermKind::Ref { path, .. } => path.len() + 1,
                _ => 1,
            };
            length > 2 || (length == 2 && rule.head.key.is_some() && rule.head.value.is_none()) || {
                // `p[x]` without a value makes a set before v1.
                let _ = Step::name;
                false
            }
        });
        // Comments on the lines of imports go with these.
        let comments = module
            .comments
            .iter()
            .filter(|comment| {
                !module
                    .imports
                    .iter()
                    .any(|import| import.span.line == comment.span.line)
            })
            .collect();
        Self {
            text,
            comments,
            next: 0,
            out: String::with_capacity(text.len() + text.len() / 8),
            level: 0,
            inline: false,
            before_end: None,
            delay: false,
            final_line: false,
            v1,
            conditions: v1 || imported("if"),
            contains: v1 || imported("contains"),
            long_heads,
        }
    }

    /// What was written, with one line break at its end.
    pub(super) fn finish(mut self) -> String {
        let end = self.out.trim_end_matches('\n').len();
        self.out.truncate(end);
        self.out.push('\n');
        self.out
    }

    pub(super) fn write(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub(super) fn start_line(&mut self) {
        self.inline = true;
        for _ in 0..self.level {
            self.out.push('\t');
        }
    }

    pub(super) fn end_line(&mut self) {
        self.inline = false;
        if !self.delay
            && let Some(comment) = self.before_end.take()
        {
            self.out.push(' ');
            self.out.push_str(&comment.text);
        }
        self.delay = false;
        self.out.push('\n');
    }

    pub(super) fn blank_line(&mut self) {
        if self.inline {
            self.end_line();
        }
        self.out.push('\n');
    }

    pub(super) fn write_line(&mut self, text: &str) {
        if !self.inline {
            self.start_line();
        }
        self.write(text);
        self.end_line();
    }

    pub(super) fn up(&mut self) {
        self.level += 1;
    }

    pub(super) fn down(&mut self) {
        self.level = self.level.saturating_sub(1);
    }

    /// The comment of this line goes to the end of the next.
    pub(super) fn delay_before_end(&mut self) {
        self.delay = true;
    }

    pub(super) fn next_comment(&self) -> Option<&'a Comment> {
        self.comments.get(self.next).copied()
    }

    /// The comments that were not written yet.
    pub(super) fn pending(&self) -> &[&'a Comment] {
        self.comments.get(self.next..).unwrap_or_default()
    }

    /// Writes the comments before a row, and keeps the one on it for the end of the line.
    pub(super) fn comments_before(&mut self, row: u32) -> Written {
        if row == NOWHERE {
            return Ok(());
        }
        let from = self.next;
        while self
            .next_comment()
            .is_some_and(|comment| comment.span.line < row)
        {
            self.next += 1;
        }
        let before: Vec<&Comment> = self.comments[from..self.next].to_vec();
        self.write_comments(&before);
        if before.last().is_some_and(|last| row - last.span.line > 1) {
            self.blank_line();
        }
        let mut at = None;
        while let Some(comment) = self
            .next_comment()
            .filter(|comment| comment.span.line == row)
        {
            at = Some(comment);
            self.next += 1;
        }
        if self.before_end.is_some() {
            if at.is_none() {
                return Ok(());
            }
            self.before_end = None;
            return Err(Misplaced);
        }
        self.before_end = at;
        Ok(())
    }

    fn write_comments(&mut self, comments: &[&Comment]) {
        let mut metadata = false;
        let mut last: Option<u32> = None;
        for comment in comments {
            let header = comment.text == "# METADATA";
            match last.map(|last| comment.span.line - last) {
                Some(lines) if lines > 1 => {
                    self.blank_line();
                    metadata = false;
                }
                Some(1) if metadata && header => self.blank_line(),
                _ => {}
            }
            metadata |= header;
            self.write_line(&comment.text);
            last = Some(comment.span.line);
        }
    }

    /// Writes all comments that are left.
    pub(super) fn rest_of_comments(&mut self) {
        while let Some(comment) = self.next_comment() {
            self.next += 1;
            self.write_line(&comment.text);
        }
    }

    /// A place to come back to.
    pub(super) fn mark(&self) -> (usize, usize, usize) {
        (self.out.len(), self.level, self.next)
    }

    /// Goes back, and writes a stretch as it was written. Comments within it are in it.
    pub(super) fn unformatted(&mut self, mark: (usize, usize, usize), span: Span, source: &str) {
        self.out.truncate(mark.0);
        self.level = mark.1;
        self.next = mark.2;
        if self
            .before_end
            .is_some_and(|comment| (span.line..=span.end_line).contains(&comment.span.line))
        {
            self.before_end = None;
        }
        self.keep(span, source);
    }

    /// Writes a stretch as it was written.
    pub(super) fn keep(&mut self, span: Span, source: &str) {
        self.write(source);
        while let Some(comment) = self.next_comment() {
            if comment.span.line < span.end_line {
                self.next += 1;
            } else if self.final_line && comment.span.line == span.end_line {
                self.next += 1;
                self.write(" ");
                self.write(&comment.text);
            } else {
                break;
            }
        }
    }
}
