//! Source texts and places in them.
//!
//! Every node of a syntax tree carries a [`Range`]: twelve bytes that name a source and a span of bytes in it.
//! Lines and columns are worked out only when somebody asks, from the text kept in [`Sources`].

use std::fmt;
use std::sync::{Arc, OnceLock};

use unicode_segmentation::UnicodeSegmentation as _;

/// The number of a source in the [`Sources`] it was added to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub(crate) u32);

/// A span of bytes in one source: `start` is inclusive, `end` exclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    /// The source the span lies in.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Range {
    /// The span from the start of `self` to the end of `last`.
    #[must_use]
    pub fn to(self, last: Range) -> Range {
        Range {
            source: self.source,
            start: self.start,
            end: last.end,
        }
    }

    /// The empty span where this one starts.
    #[must_use]
    pub fn at_start(self) -> Range {
        Range {
            end: self.start,
            ..self
        }
    }

    /// The empty span where this one ends.
    #[must_use]
    pub fn at_end(self) -> Range {
        Range {
            start: self.end,
            ..self
        }
    }

    /// Whether the span holds no bytes.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The smallest span that covers both; an empty one does not count. Both must lie in one source.
    #[must_use]
    pub fn over(self, other: Range) -> Range {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Range {
            source: self.source,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// Whether the byte at `offset` lies in the span.
    pub fn contains(self, offset: u32) -> bool {
        (self.start..self.end).contains(&offset)
    }
}

/// A place in a source: line and column from one, byte from zero. A column is one user-perceived character
/// (extended grapheme cluster), as HCL counts them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position {
    /// The line, from one.
    pub line: u32,
    /// The column, from one.
    pub column: u32,
    /// The byte, from zero.
    pub byte: u32,
}

/// One text with its name, usually a file's path as the user wrote it.
pub struct Source {
    id: SourceId,
    name: Arc<str>,
    text: Arc<str>,
    invalid_utf8_at: Option<u32>,
    lines: OnceLock<Vec<u32>>,
}

impl Source {
    /// The number of the source in its [`Sources`].
    pub fn id(&self) -> SourceId {
        self.id
    }

    /// The name given with the text.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The text. Bytes that were not UTF-8 stand in it as U+001A, one for each, so that offsets hold.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, shared.
    pub fn shared_text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Where the first byte stood that was not UTF-8, if there was one.
    pub fn invalid_utf8_at(&self) -> Option<u32> {
        self.invalid_utf8_at
    }

    fn line_starts(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let mut starts = vec![0];
            starts.extend(
                self.text
                    .bytes()
                    .enumerate()
                    .filter(|(_, byte)| *byte == b'\n')
                    .map(|(at, _)| at as u32 + 1),
            );
            starts
        })
    }

    /// Line and column of a byte. An offset past the end, or within a character, is moved back to one that is in the text.
    pub fn position(&self, offset: u32) -> Position {
        let mut at = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let starts = self.line_starts();
        let line = starts.partition_point(|start| *start as usize <= at) - 1;
        let before = &self.text[starts[line] as usize..at];
        let before = if line == 0 {
            before.strip_prefix('\u{feff}').unwrap_or(before)
        } else {
            before
        };
        let column = if before.is_ascii() {
            before.len()
        } else {
            before.graphemes(true).count()
        };
        Position {
            line: line as u32 + 1,
            column: column as u32 + 1,
            byte: offset,
        }
    }

    /// The text of one line, counted from one, without its end of line. `None` past the last line.
    pub fn line(&self, line: u32) -> Option<&str> {
        let starts = self.line_starts();
        let index = (line as usize).checked_sub(1)?;
        let start = *starts.get(index)? as usize;
        let end = starts
            .get(index + 1)
            .map_or(self.text.len(), |next| *next as usize - 1);
        if start == self.text.len() && index > 0 {
            return None;
        }
        let text = &self.text[start..end];
        Some(text.strip_suffix('\r').unwrap_or(text))
    }

    /// The offset of the first byte of a line, counted from one.
    pub fn line_start(&self, line: u32) -> Option<u32> {
        self.line_starts()
            .get((line as usize).checked_sub(1)?)
            .copied()
    }

    /// The span as HCL prints it: `main.tf:3,5-9`, or `main.tf:3,5-4,2` over several lines.
    pub fn describe(&self, range: Range) -> String {
        let (start, end) = (self.position(range.start), self.position(range.end));
        if start.line == end.line {
            format!(
                "{}:{},{}-{}",
                self.name, start.line, start.column, end.column
            )
        } else {
            format!(
                "{}:{},{}-{},{}",
                self.name, start.line, start.column, end.line, end.column
            )
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All texts that ranges may point into. Cheap to clone: the texts are shared.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<Arc<Source>>,
    /// What names begin with that are shown without it.
    base: Option<Arc<str>>,
}

impl Sources {
    /// No sources yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// No sources yet; the names of those below a directory are shown relative to it.
    pub fn below(base: &std::path::Path) -> Self {
        let mut base = base.to_string_lossy().into_owned();
        if !base.ends_with('/') {
            base.push('/');
        }
        Sources {
            all: Vec::new(),
            base: Some(base.into()),
        }
    }

    /// The path of a source as it was added: its name with what is not shown of it.
    pub fn path(&self, source: &Source) -> std::path::PathBuf {
        match &self.base {
            Some(base) => std::path::Path::new(&**base).join(&*source.name),
            None => std::path::PathBuf::from(&*source.name),
        }
    }

    /// Adds a text under a name. Texts past 4 GiB are cut there, since offsets have 32 bits.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl AsRef<[u8]>) -> Arc<Source> {
        let bytes = text.as_ref();
        let bytes = &bytes[..bytes.len().min(u32::MAX as usize - 1)];
        let (text, invalid_utf8_at) = match std::str::from_utf8(bytes) {
            Ok(text) => (Arc::from(text), None),
            Err(error) => (
                Arc::from(replace_invalid(bytes)),
                Some(error.valid_up_to() as u32),
            ),
        };
        let id = SourceId(self.all.len() as u32);
        let name: Arc<str> = name.into();
        let name = match self
            .base
            .as_deref()
            .and_then(|base| name.strip_prefix(base))
        {
            Some(short) => short.into(),
            None => name,
        };
        let source = Arc::new(Source {
            id,
            name,
            text,
            invalid_utf8_at,
            lines: OnceLock::new(),
        });
        self.all.push(source.clone());
        source
    }

    /// The source of a number. `None` for a number of other `Sources`.
    pub fn get(&self, id: SourceId) -> Option<&Arc<Source>> {
        self.all.get(id.0 as usize)
    }

    /// The source last added under a name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Source>> {
        self.all.iter().rev().find(|source| &*source.name == name)
    }

    /// All sources, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.all.iter()
    }

    /// The name of the source a range lies in; empty for a range of other `Sources`.
    pub fn name(&self, range: Range) -> &str {
        self.get(range.source).map_or("", |source| &source.name)
    }

    /// The text a range spans; empty if it does not fit.
    pub fn text(&self, range: Range) -> &str {
        self.get(range.source)
            .and_then(|source| source.text.get(range.start as usize..range.end as usize))
            .unwrap_or("")
    }

    /// Where a range starts.
    pub fn start(&self, range: Range) -> Option<Position> {
        Some(self.get(range.source)?.position(range.start))
    }

    /// The range as HCL prints it: `main.tf:3,5-9`.
    pub fn describe(&self, range: Range) -> String {
        self.get(range.source)
            .map_or_else(|| "<unknown>".to_owned(), |source| source.describe(range))
    }
}

/// Puts U+001A for every byte that is not part of a UTF-8 character.
fn replace_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{1a}'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_user_perceived_characters() {
        let mut sources = Sources::new();
        let source = sources.add("a.tf", "x = \"e\u{301}\" # é\r\ny = 2\n");
        assert_eq!(
            source.position(9),
            Position {
                line: 1,
                column: 8,
                byte: 9
            }
        );
        let second = source.text().find('y').unwrap() as u32;
        assert_eq!(
            source.position(second),
            Position {
                line: 2,
                column: 1,
                byte: second
            }
        );
        assert_eq!(source.line(2), Some("y = 2"));
        assert_eq!(source.line(3), None);
    }

    #[test]
    fn bytes_that_are_not_utf8_keep_their_offsets() {
        let mut sources = Sources::new();
        let source = sources.add("a.tf", b"a\xff\xfeb");
        assert_eq!(source.text(), "a\u{1a}\u{1a}b");
        assert_eq!(source.invalid_utf8_at(), Some(1));
    }
}
