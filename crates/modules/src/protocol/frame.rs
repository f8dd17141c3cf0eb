//! Frames: what both sides write to each other over a pair of pipes.
//!
//! ```text
//! length   u32  of all that follows
//! lane     u32  0 for who reads it, another number for a helper behind it that is another user
//! request  u32  which request it belongs to
//! kind     u8
//! body     at most BODY bytes
//! ```
//! Numbers are big-endian.

use std::io::{self, Read, Write};

/// The most that one frame carries.
pub const BODY: usize = 256 * 1024;

/// The bytes before the body.
pub const HEAD: usize = 13;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A piece of a request that goes on.
    AskPart = 1,
    /// The last piece of a request.
    Ask = 2,
    /// A piece of what a file is to hold or holds, or of what a command reads.
    Data = 3,
    /// No more of that.
    DataEnd = 4,
    /// End the request and all it has started.
    Cancel = 5,
    /// What a command wrote.
    Stdout = 6,
    /// What a command complained.
    Stderr = 7,
    /// Who is there: the first frame of a lane.
    Hello = 8,
    /// A piece of an answer that goes on.
    AnswerPart = 9,
    /// The last piece of an answer; the request is over.
    Answer = 10,
    /// A lane has ended.
    Closed = 11,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Kind::AskPart,
            2 => Kind::Ask,
            3 => Kind::Data,
            4 => Kind::DataEnd,
            5 => Kind::Cancel,
            6 => Kind::Stdout,
            7 => Kind::Stderr,
            8 => Kind::Hello,
            9 => Kind::AnswerPart,
            10 => Kind::Answer,
            11 => Kind::Closed,
            _ => return None,
        })
    }
}

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// For whom.
    pub lane: u32,
    /// Of which request.
    pub request: u32,
    /// What it is.
    pub kind: Kind,
    /// What it carries.
    pub body: Vec<u8>,
}

impl Frame {
    /// The head: what stands before the body.
    pub fn head(lane: u32, request: u32, kind: Kind, body: usize) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&((body + HEAD - 4) as u32).to_be_bytes());
        head[4..8].copy_from_slice(&lane.to_be_bytes());
        head[8..12].copy_from_slice(&request.to_be_bytes());
        head[12] = kind as u8;
        head
    }

    /// What a head says: the frame without its body, and the length of that.
    ///
    /// # Errors
    /// It is not a head.
    pub fn parse(head: &[u8; HEAD]) -> io::Result<(Frame, usize)> {
        let number =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = (number(0) as usize).wrapping_sub(HEAD - 4);
        match Kind::of(head[12]) {
            Some(kind) if length <= BODY => Ok((
                Frame {
                    lane: number(4),
                    request: number(8),
                    kind,
                    body: Vec::new(),
                },
                length,
            )),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame")),
        }
    }

    /// Reads one; none where the input ends.
    ///
    /// # Errors
    /// The input breaks off inside a frame, or is something else.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut head = [0; HEAD];
        let mut filled = 0;
        while filled < HEAD {
            match from.read(&mut head[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let (mut frame, length) = Frame::parse(&head)?;
        frame.body.resize(length, 0);
        from.read_exact(&mut frame.body)?;
        Ok(Some(frame))
    }

    /// Writes one, with its body in as many frames as it takes: all but the last of `part`.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn write_all(
        to: &mut impl Write,
        lane: u32,
        request: u32,
        (part, last): (Kind, Kind),
        mut body: &[u8],
    ) -> io::Result<()> {
        while body.len() > BODY {
            let (now, rest) = body.split_at(BODY);
            to.write_all(&Frame::head(lane, request, part, now.len()))?;
            to.write_all(now)?;
            body = rest;
        }
        to.write_all(&Frame::head(lane, request, last, body.len()))?;
        to.write_all(body)?;
        to.flush()
    }
}
