//! What a program says, as lines.

use std::time::Duration;

/// After this silence the beginning of a line is shown: a question has no end of line.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// A line that is longer is shown in parts.
const LONGEST: usize = 256 * 1024;

/// Bytes come to be lines.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Adds bytes, and gives each line they end.
    pub(super) fn add(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&rest[..end]);
            self.flush_always(&mut line);
            rest = &rest[end + 1..];
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > LONGEST {
            self.flush_always(&mut line);
        }
    }

    /// Whether a line has begun and not ended.
    pub(super) fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Gives what has begun, if anything.
    pub(super) fn flush(&mut self, mut line: impl FnMut(&str)) {
        if self.has_begun() {
            self.flush_always(&mut line);
        }
    }

    fn flush_always(&mut self, line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.begun);
        line(text.trim_end_matches('\r'));
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut said = Vec::new();
        let mut lines = Lines::default();
        for part in [&b"one\r\ntw"[..], b"o\n\nthr"] {
            lines.add(part, |line| said.push(line.to_owned()));
        }
        assert!(lines.has_begun());
        lines.flush(|line| said.push(line.to_owned()));
        assert_eq!(said, ["one", "two", "", "thr"]);
    }
}
