//! What a machine has said.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::path::Path;

/// One line of a machine's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was said (RFC 3339); a virtual machine's console has no times.
    pub time: Option<String>,
    /// The line, without its end where it has one.
    pub text: String,
    /// Whether more of the same line follows.
    pub partial: bool,
}

/// Reads a console log from a byte offset on; gives the lines and the offset behind them. A file that is not there has
/// none. `stamped` tells the container runtime's form (`TIME STREAM TAG TEXT`) from a plain one.
///
/// # Errors
/// When it cannot be read.
pub fn console(path: &Path, from: u64, stamped: bool) -> io::Result<(Vec<Line>, u64)> {
    use std::io::Seek as _;
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), from)),
        file => file?,
    };
    // A rotated log begins anew.
    let from = if file.metadata()?.len() < from {
        0
    } else {
        from
    };
    file.seek(io::SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let mut at = from;
    let mut lines = Vec::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let length = reader.read_until(b'\n', &mut bytes)?;
        // A line that is still being written is read next time.
        if length == 0 || bytes.last() != Some(&b'\n') {
            return Ok((lines, at));
        }
        at += length as u64;
        let text = String::from_utf8_lossy(&bytes);
        lines.push(line(text.trim_end_matches(['\n', '\r']), stamped));
    }
}

fn line(text: &str, stamped: bool) -> Line {
    if stamped {
        let mut parts = text.splitn(4, ' ');
        if let (Some(time), Some(_), Some(tag)) = (parts.next(), parts.next(), parts.next()) {
            return Line {
                time: Some(time.to_owned()),
                text: parts.next().unwrap_or_default().to_owned(),
                partial: tag == "P",
            };
        }
    }
    Line {
        time: None,
        text: text.to_owned(),
        partial: false,
    }
}

/// The last lines, for an error message: with a separator before them, or nothing.
pub(crate) fn last(path: &Path, stamped: bool) -> String {
    let lines = console(path, 0, stamped)
        .map(|(lines, _)| lines)
        .unwrap_or_default();
    let text: Vec<&str> = lines
        .iter()
        .map(|line| line.text.trim())
        .filter(|text| !text.is_empty())
        .collect();
    let text = text[text.len().saturating_sub(5)..].join("\n");
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_on_from_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        assert_eq!(console(&path, 0, true).unwrap(), (vec![], 0));
        std::fs::write(
            &path,
            "2026-01-01T00:00:00Z stdout F one two\n2026-01-01T00:00:01Z stderr P th",
        )
        .unwrap();
        let (lines, at) = console(&path, 0, true).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].text, "one two");
        std::fs::write(
            &path,
            "2026-01-01T00:00:00Z stdout F one two\n2026-01-01T00:00:01Z stderr P three\n",
        )
        .unwrap();
        let (lines, _) = console(&path, at, true).unwrap();
        assert!(lines[0].partial && lines[0].text == "three");
    }
}
