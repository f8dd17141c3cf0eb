//! Lines read from a terminal, with the keys people expect: moving, deleting, and lines from before.

use std::io::{self, Read as _};

use nix::sys::termios::{self, SetArg, SpecialCharacterIndices, Termios};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Read(String),
    /// There is no more: the end of input, or Control-C.
    End,
}

/// How many lines are remembered.
const REMEMBERED: usize = 500;

/// Reads lines and remembers them.
#[derive(Default)]
pub(super) struct Editor {
    history: Vec<String>,
}

/// Puts the terminal back as it was.
struct Raw(Termios);

impl Raw {
    fn new() -> io::Result<Raw> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_flags.remove(
            termios::LocalFlags::ECHO
                | termios::LocalFlags::ICANON
                | termios::LocalFlags::ISIG
                | termios::LocalFlags::IEXTEN,
        );
        raw.input_flags
            .remove(termios::InputFlags::IXON | termios::InputFlags::ICRNL);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// A line while it is edited.
#[derive(Default)]
struct Buffer {
    text: Vec<char>,
    /// Where the next character goes.
    at: usize,
}

impl Buffer {
    fn of(text: &str) -> Buffer {
        let text: Vec<char> = text.chars().collect();
        Buffer {
            at: text.len(),
            text,
        }
    }

    fn line(&self) -> String {
        self.text.iter().collect()
    }

    fn word_start(&self) -> usize {
        let before = &self.text[..self.at];
        let end = before
            .iter()
            .rposition(|c| !c.is_whitespace())
            .map_or(0, |at| at + 1);
        before[..end]
            .iter()
            .rposition(|c| c.is_whitespace())
            .map_or(0, |at| at + 1)
    }

    /// Does what a key says. Anything else is left to the caller.
    fn press(&mut self, key: Key) {
        match key {
            Key::Character(c) => {
                self.text.insert(self.at, c);
                self.at += 1;
            }
            Key::Left => self.at = self.at.saturating_sub(1),
            Key::Right => self.at = (self.at + 1).min(self.text.len()),
            Key::Home => self.at = 0,
            Key::End => self.at = self.text.len(),
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.text.remove(self.at);
            }
            Key::Delete if self.at < self.text.len() => {
                self.text.remove(self.at);
            }
            Key::EraseAfter => self.text.truncate(self.at),
            Key::EraseBefore => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            Key::EraseWord => {
                let start = self.word_start();
                self.text.drain(start..self.at);
                self.at = start;
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Character(char),
    Enter,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    Backspace,
    Delete,
    EraseAfter,
    EraseBefore,
    EraseWord,
    Clear,
    /// Control-C.
    Interrupt,
    /// Control-D.
    EndOfInput,
    Unknown,
}

/// The next key of a stream of bytes; none at its end.
fn key(input: &mut impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<Key>> {
    let Some(byte) = input.next().transpose()? else {
        return Ok(None);
    };
    Ok(Some(match byte {
        b'\r' | b'\n' => Key::Enter,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Interrupt,
        0x04 => Key::EndOfInput,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        0x0b => Key::EraseAfter,
        0x0c => Key::Clear,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::EraseBefore,
        0x17 => Key::EraseWord,
        b'\t' => Key::Character(' '),
        0x1b => escape(input)?,
        byte if byte < 0x20 => Key::Unknown,
        byte => character(byte, input)?,
    }))
}

/// What follows an escape: arrows and their kin.
fn escape(input: &mut impl Iterator<Item = io::Result<u8>>) -> io::Result<Key> {
    let Some(b'[' | b'O') = input.next().transpose()? else {
        return Ok(Key::Unknown);
    };
    let mut number = String::new();
    while let Some(byte) = input.next().transpose()? {
        return Ok(match byte {
            b'0'..=b'9' | b';' if number.len() < 8 => {
                number.push(char::from(byte));
                continue;
            }
            b'A' => Key::Up,
            b'B' => Key::Down,
            b'C' => Key::Right,
            b'D' => Key::Left,
            b'H' => Key::Home,
            b'F' => Key::End,
            b'~' => match number.as_str() {
                "1" | "7" => Key::Home,
                "4" | "8" => Key::End,
                "3" => Key::Delete,
                _ => Key::Unknown,
            },
            _ => Key::Unknown,
        });
    }
    Ok(Key::Unknown)
}

/// The character whose first byte in UTF-8 was read.
fn character(first: u8, input: &mut impl Iterator<Item = io::Result<u8>>) -> io::Result<Key> {
    let length = match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    let mut bytes = vec![first];
    while bytes.len() < length {
        match input.next().transpose()? {
            Some(byte) => bytes.push(byte),
            None => break,
        }
    }
    Ok(std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.chars().next())
        .map_or(Key::Unknown, Key::Character))
}

impl Editor {
    /// Reads a line after a prompt.
    pub(super) fn read(&mut self, prompt: &str) -> io::Result<Line> {
        let raw = Raw::new()?;
        let read = self.edit(
            prompt,
            &mut io::stdin().lock().bytes(),
            &mut io::stdout().lock(),
        );
        drop(raw);
        if let Ok(Line::Read(line)) = &read
            && !line.trim().is_empty()
            && self.history.last() != Some(line)
        {
            if self.history.len() == REMEMBERED {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        read
    }

    fn edit(
        &self,
        prompt: &str,
        input: &mut impl Iterator<Item = io::Result<u8>>,
        output: &mut impl io::Write,
    ) -> io::Result<Line> {
        let mut buffer = Buffer::default();
        // What is being typed while lines from before are looked at.
        let mut typed = String::new();
        let mut looked_at = self.history.len();
        loop {
            show(prompt, &buffer, output)?;
            let Some(key) = key(input)? else {
                return Ok(Line::End);
            };
            match key {
                Key::Enter => {
                    buffer.press(Key::End);
                    show(prompt, &buffer, output)?;
                    output.write_all(b"\r\n")?;
                    output.flush()?;
                    return Ok(Line::Read(buffer.line()));
                }
                Key::Interrupt => {
                    output.write_all(b"\r\n")?;
                    output.flush()?;
                    return Ok(Line::End);
                }
                Key::EndOfInput if buffer.text.is_empty() => {
                    output.write_all(b"\r\n")?;
                    output.flush()?;
                    return Ok(Line::End);
                }
                Key::EndOfInput => buffer.press(Key::Delete),
                Key::Up if looked_at > 0 => {
                    if looked_at == self.history.len() {
                        typed = buffer.line();
                    }
                    looked_at -= 1;
                    buffer = Buffer::of(&self.history[looked_at]);
                }
                Key::Down if looked_at < self.history.len() => {
                    looked_at += 1;
                    buffer = Buffer::of(self.history.get(looked_at).unwrap_or(&typed));
                }
                Key::Clear => output.write_all(b"\x1b[2J\x1b[H")?,
                other => buffer.press(other),
            }
        }
    }
}

fn show(prompt: &str, buffer: &Buffer, output: &mut impl io::Write) -> io::Result<()> {
    let back = buffer.text.len() - buffer.at;
    write!(output, "\r\x1b[K{prompt}{}", buffer.line())?;
    if back > 0 {
        write!(output, "\x1b[{back}D")?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(history: &[&str], keys: &[u8]) -> Line {
        let editor = Editor {
            history: history.iter().map(|line| (*line).to_owned()).collect(),
        };
        let mut input = keys.iter().map(|byte| Ok(*byte));
        editor.edit("> ", &mut input, &mut Vec::new()).unwrap()
    }

    #[test]
    fn keys_edit_the_line() {
        let read = |keys: &[u8]| typed(&[], keys);
        assert_eq!(read("1+é\r".as_bytes()), Line::Read("1+é".to_owned()));
        assert_eq!(
            read(b"bc\x1b[Da\x01x\x05y\r"),
            Line::Read("xbacy".to_owned())
        );
        assert_eq!(read(b"abc\x7f\x1b[D\x1b[3~\r"), Line::Read("a".to_owned()));
        assert_eq!(
            read(b"one two\x17three\r"),
            Line::Read("one three".to_owned())
        );
        assert_eq!(read(b"ab\x03"), Line::End);
        assert_eq!(read(b"\x04"), Line::End);
        assert_eq!(read(b""), Line::End);
    }

    #[test]
    fn lines_from_before_come_back() {
        assert_eq!(
            typed(&["first", "second"], b"x\x1b[A\x1b[A\x1b[B!\r"),
            Line::Read("second!".to_owned())
        );
        assert_eq!(
            typed(&["first"], b"typed\x1b[A\x1b[B\r"),
            Line::Read("typed".to_owned())
        );
    }
}
