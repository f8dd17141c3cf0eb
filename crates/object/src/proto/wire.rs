//! The wire format itself: keys, varints and lengths.

use super::Error;

/// The value of one field on the wire.
pub(super) enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
}

pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Error::Truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::Wire("integer overflow"))
}

pub(super) fn take<'b>(bytes: &mut &'b [u8], length: u64) -> Result<&'b [u8], Error> {
    let length = usize::try_from(length).map_err(|_| Error::Truncated)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Error::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

/// The next field, if there is one. Groups are skipped.
pub(super) fn next<'b>(bytes: &mut &'b [u8]) -> Result<Option<(u32, Wire<'b>)>, Error> {
    let mut groups = 0_usize;
    while !bytes.is_empty() {
        let key = varint(bytes)?;
        let tag = u32::try_from(key >> 3).map_err(|_| Error::Wire("illegal tag"))?;
        if tag == 0 {
            return Err(Error::Wire("illegal tag 0"));
        }
        let wire = match key & 7 {
            0 => Wire::Varint(varint(bytes)?),
            1 => Wire::Fixed64(
                take(bytes, 8)?
                    .try_into()
                    .map(u64::from_le_bytes)
                    .map_err(|_| Error::Truncated)?,
            ),
            2 => {
                let length = varint(bytes)?;
                Wire::Bytes(take(bytes, length)?)
            }
            3 => {
                groups += 1;
                continue;
            }
            4 => {
                groups = groups
                    .checked_sub(1)
                    .ok_or(Error::Wire("unexpected end group"))?;
                continue;
            }
            5 => Wire::Fixed32(
                take(bytes, 4)?
                    .try_into()
                    .map(u32::from_le_bytes)
                    .map_err(|_| Error::Truncated)?,
            ),
            _ => return Err(Error::Wire("illegal wireType")),
        };
        if groups == 0 {
            return Ok(Some((tag, wire)));
        }
    }
    if groups == 0 {
        Ok(None)
    } else {
        Err(Error::Truncated)
    }
}
/// A buffer that is filled from its end, so that each length is known when it is written.
#[derive(Default)]
pub(super) struct Backwards {
    reversed: Vec<u8>,
}

impl Backwards {
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.reversed.extend(bytes.iter().rev());
    }

    pub(super) fn varint(&mut self, mut value: u64) {
        let mut bytes = [0; 10];
        let mut length = 0;
        while value >= 0x80 {
            bytes[length] = value as u8 | 0x80;
            value >>= 7;
            length += 1;
        }
        bytes[length] = value as u8;
        self.raw(&bytes[..=length]);
    }

    pub(super) fn key(&mut self, tag: u32, wire: u8) {
        self.varint(u64::from(tag) << 3 | u64::from(wire));
    }

    pub(super) fn number(&mut self, tag: u32, value: u64) {
        self.varint(value);
        self.key(tag, 0);
    }

    pub(super) fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.raw(bytes);
        self.varint(bytes.len() as u64);
        self.key(tag, 2);
    }

    pub(super) fn message(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let end = self.reversed.len();
        write(self)?;
        self.varint((self.reversed.len() - end) as u64);
        self.key(tag, 2);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.reversed.reverse();
        self.reversed
    }
}
