//! MessagePack's own forms, read without ever passing the end.

/// What starts at a place: a whole value, or the length of what follows.
pub(super) enum Head<'b> {
    Nil,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    String(&'b str),
    Bytes(&'b [u8]),
    Array(usize),
    Map(usize),
    Extension(u8, &'b [u8]),
}

impl Head<'_> {
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Head::Integer(value) => Some(*value),
            Head::Unsigned(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }
}

pub(super) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], String> {
        if length > self.bytes.len() {
            return Err("unexpected EOF".to_owned());
        }
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        Ok(self
            .take(bytes)?
            .iter()
            .fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn text(&mut self, length: usize) -> Result<Head<'b>, String> {
        std::str::from_utf8(self.take(length)?)
            .map(Head::String)
            .map_err(|_| "a string is not valid UTF-8".to_owned())
    }

    fn extension(&mut self, length: usize) -> Result<Head<'b>, String> {
        let code = self.take(1)?[0];
        Ok(Head::Extension(code, self.take(length)?))
    }

    pub(super) fn head(&mut self) -> Result<Head<'b>, String> {
        let Some(code) = self.bytes.first().copied() else {
            return Err("EOF".to_owned());
        };
        self.bytes = &self.bytes[1..];
        let size = |n: u64| usize::try_from(n).map_err(|_| "oversize value".to_owned());
        Ok(match code {
            0..=0x7f => Head::Integer(i64::from(code)),
            0x80..=0x8f => Head::Map(usize::from(code & 15)),
            0x90..=0x9f => Head::Array(usize::from(code & 15)),
            0xa0..=0xbf => self.text(usize::from(code & 31))?,
            0xc0 => Head::Nil,
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4..=0xc6 => {
                let length = size(self.number(1 << (code - 0xc4))?)?;
                Head::Bytes(self.take(length)?)
            }
            0xc7..=0xc9 => {
                let length = size(self.number(1 << (code - 0xc7))?)?;
                self.extension(length)?
            }
            0xca => Head::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Head::Float(f64::from_bits(self.number(8)?)),
            0xcc..=0xcf => Head::Unsigned(self.number(1 << (code - 0xcc))?),
            0xd0 => Head::Integer(i64::from(self.number(1)? as u8 as i8)),
            0xd1 => Head::Integer(i64::from(self.number(2)? as u16 as i16)),
            0xd2 => Head::Integer(i64::from(self.number(4)? as u32 as i32)),
            0xd3 => Head::Integer(self.number(8)? as i64),
            0xd4..=0xd8 => self.extension(1 << (code - 0xd4))?,
            0xd9..=0xdb => {
                let length = size(self.number(1 << (code - 0xd9))?)?;
                self.text(length)?
            }
            0xdc | 0xdd => Head::Array(size(self.number(2 << (code - 0xdc))?)?),
            0xde | 0xdf => Head::Map(size(self.number(2 << (code - 0xde))?)?),
            0xe0..=0xff => Head::Integer(i64::from(code as i8)),
            0xc1 => return Err("unsupported msgpack code 0xc1".to_owned()),
        })
    }

    /// Passes over one value.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), String> {
        if depth > super::DEPTH_LIMIT {
            return Err("values are nested too deeply".to_owned());
        }
        let within = match self.head()? {
            Head::Array(length) => length,
            Head::Map(length) => length * 2,
            _ => 0,
        };
        for _ in 0..within {
            self.skip(depth + 1)?;
        }
        Ok(())
    }
}
