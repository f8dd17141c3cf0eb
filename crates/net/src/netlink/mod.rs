//! The netlink wire format (RFC 3549 section 2.3.2): messages, nested attributes, one socket.
//!
//! One codec serves three families: rtnetlink (links, addresses, routes), nftables and conntrack.

mod socket;

pub(crate) use socket::Socket;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Attribute and message alignment.
const ALIGN: usize = 4;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// One or more messages on their way out, numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Number of the last message.
    last: u32,
    /// Where the last message begins.
    start: usize,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A single request that is to be acknowledged.
    pub(crate) fn request(kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) -> Self {
        let mut messages = Self::new();
        messages.push(kind, flags | NLM_F_REQUEST | NLM_F_ACK, fill);
        messages
    }

    /// A single request for a dump.
    pub(crate) fn dump(kind: u16, fill: impl FnOnce(&mut Body<'_>)) -> Self {
        let mut messages = Self::new();
        messages.push(kind, NLM_F_REQUEST | NLM_F_DUMP, fill);
        messages
    }

    /// Appends a message.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.last += 1;
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.last.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        fill(&mut Body {
            bytes: &mut self.bytes,
        });
        let length = (self.bytes.len() - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Asks for an acknowledgement of the last message, and so of the whole batch.
    pub(crate) fn acknowledge_last(&mut self) {
        let at = self.start + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | NLM_F_ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn last(&self) -> u32 {
        self.last
    }
}

/// Writes the inside of one message.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Body<'a> {
    /// Writes behind what is in `bytes`.
    pub(crate) fn over(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Fixed fields, padded to the alignment.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// An attribute.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// A zero-terminated string.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let length = (4 + value.len() + 1) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
        self
    }

    /// A 32-bit number in network order (netfilter's families).
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// A 64-bit number in network order.
    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// A 32-bit number in host order (rtnetlink).
    pub(crate) fn ne32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// An attribute made of attributes. It must stay below 64 KiB.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) -> &mut Self {
        self.wrap(kind | NESTED, fill)
    }

    /// As [`Body::nest`], without the flag that old families do not know.
    pub(crate) fn wrap(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Body { bytes: self.bytes });
        let length = self.bytes.len() - start;
        debug_assert!(u16::try_from(length).is_ok(), "attribute too long");
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(ALIGN) {
            self.bytes.push(0);
        }
    }
}

/// The attributes in `bytes`, flags removed. Ends at the first malformed one.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes
            .get(length.next_multiple_of(ALIGN)..)
            .unwrap_or_default();
        Some((kind, value))
    })
}

/// The attribute `kind` in `bytes`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, value)| value)
}

/// The text of an attribute, up to its terminating zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A 32-bit number in host order.
pub(crate) fn ne32(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

/// A 32-bit number in network order.
pub(crate) fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nested_attributes_come_back_as_they_went_in() {
        let messages = Messages::request(7, 0, |body| {
            body.raw(&[1, 2, 3, 4]);
            body.text(1, "abc");
            body.nest(2, |inner| {
                inner.be32(3, 77);
            });
        });
        let bytes = messages.bytes();
        assert_eq!(ne32(bytes).map(|n| n as usize), Some(bytes.len()));
        let payload = &bytes[HEADER + 4..];
        assert_eq!(attribute(payload, 1).map(text).as_deref(), Some("abc"));
        let inner = attribute(payload, 2).and_then(|inner| attribute(inner, 3));
        assert_eq!(inner.and_then(be32), Some(77));
    }

    proptest! {
        #[test]
        fn malformed_attributes_end_the_walk_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4 + 1);
        }
    }
}
