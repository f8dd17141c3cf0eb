//! Frames on the wire (draft 3, section 2.2).

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};

/// The length of every frame's head.
const HEAD: usize = 8;
/// Larger than any frame a client sends here.
const LARGEST: usize = 1 << 20;
const CONTROL: u32 = 1 << 31;
const STREAM_MASK: u32 = CONTROL - 1;
const VERSION: u16 = 3;
/// The flag that ends a stream.
const FIN: u8 = 1;

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A new stream with its compressed headers.
    Open {
        stream: u32,
        fin: bool,
        block: Bytes,
    },
    /// Further compressed headers of a stream; they matter to the compression only.
    Headers { block: Bytes },
    /// Data of a stream.
    Data { stream: u32, fin: bool, data: Bytes },
    /// A stream was given up.
    Reset { stream: u32 },
    /// A sign of life that is to be answered.
    Ping { id: u32 },
    /// No further streams will come.
    GoAway,
    /// Something that needs nothing done.
    Other,
}

/// Takes one whole frame off the front of `buffer`; `None` if it is not all there yet.
pub(super) fn read(buffer: &mut BytesMut) -> io::Result<Option<Incoming>> {
    if buffer.len() < HEAD {
        return Ok(None);
    }
    let mut head = &buffer[..HEAD];
    let first = head.get_u32();
    let second = head.get_u32();
    let length = (second & 0x00ff_ffff) as usize;
    let flags = (second >> 24) as u8;
    if length > LARGEST {
        return Err(broken("is too large"));
    }
    if buffer.len() < HEAD + length {
        buffer.reserve(HEAD + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEAD);
    let mut body = buffer.split_to(length).freeze();
    let fin = flags & FIN != 0;
    if first & CONTROL == 0 {
        return Ok(Some(Incoming::Data {
            stream: first,
            fin,
            data: body,
        }));
    }
    if (first >> 16) as u16 & 0x7fff != VERSION {
        return Err(broken("is of another version"));
    }
    let stream = |body: &mut Bytes| {
        body.try_get_u32()
            .map(|id| id & STREAM_MASK)
            .map_err(|_| broken("ends early"))
    };
    Ok(Some(match first as u16 {
        1 => {
            let id = stream(&mut body)?;
            if body.len() < 6 {
                return Err(broken("ends early"));
            }
            body.advance(6);
            Incoming::Open {
                stream: id,
                fin,
                block: body,
            }
        }
        2 | 8 => {
            stream(&mut body)?;
            Incoming::Headers { block: body }
        }
        3 => Incoming::Reset {
            stream: stream(&mut body)?,
        },
        6 => Incoming::Ping {
            id: body.try_get_u32().map_err(|_| broken("ends early"))?,
        },
        7 => Incoming::GoAway,
        _ => Incoming::Other,
    }))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a SPDY frame {what}"))
}

fn control(kind: u16, flags: u8, body: &[&[u8]]) -> Vec<u8> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(HEAD + length);
    frame.extend_from_slice(&(VERSION | 0x8000).to_be_bytes());
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(&(u32::from(flags) << 24 | length as u32).to_be_bytes());
    for part in body {
        frame.extend_from_slice(part);
    }
    frame
}

/// Answers a new stream.
pub(super) fn reply(stream: u32, block: &[u8]) -> Vec<u8> {
    control(2, 0, &[&stream.to_be_bytes(), block])
}

/// Answers a ping.
pub(super) fn ping(id: u32) -> Vec<u8> {
    control(6, 0, &[&id.to_be_bytes()])
}

/// Gives a stream up. Status 3 is "refused", 5 "cancelled".
pub(super) fn reset(stream: u32, status: u32) -> Vec<u8> {
    control(3, 0, &[&stream.to_be_bytes(), &status.to_be_bytes()])
}

/// Says that nothing further comes.
pub(super) fn go_away(last_stream: u32) -> Vec<u8> {
    control(7, 0, &[&last_stream.to_be_bytes(), &[0; 4]])
}

/// Lets the other side send `more` further bytes on a stream (0: on the session).
pub(super) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    control(9, 0, &[&stream.to_be_bytes(), &more.to_be_bytes()])
}

/// The head of a data frame of `length` bytes.
pub(super) fn data_head(stream: u32, fin: bool, length: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&stream.to_be_bytes());
    let flags = if fin { u32::from(FIN) << 24 } else { 0 };
    head[4..].copy_from_slice(&(flags | length as u32).to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole() {
        let mut wire = BytesMut::new();
        wire.extend_from_slice(&data_head(3, true, 2));
        wire.extend_from_slice(b"hi");
        wire.extend_from_slice(&ping(7));
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in wire {
            buffer.extend_from_slice(&[byte]);
            frames.extend(read(&mut buffer).unwrap());
        }
        let data = Incoming::Data {
            stream: 3,
            fin: true,
            data: Bytes::from_static(b"hi"),
        };
        assert_eq!(frames, [data, Incoming::Ping { id: 7 }]);
    }

    #[test]
    fn broken_frames_are_refused() {
        let mut huge = BytesMut::from(&data_head(1, false, LARGEST + 1)[..]);
        assert!(read(&mut huge).is_err());
        let mut short = BytesMut::from(&control(1, 0, &[&[0; 4]])[..]);
        assert!(read(&mut short).is_err());
        let mut version = BytesMut::from(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1][..]);
        assert!(read(&mut version).is_err());
    }
}
