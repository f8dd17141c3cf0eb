//! The messages of KMS version 2, in protobuf. They are few and small, and are written by hand.

/// What a plug-in says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) healthz: String,
    pub(crate) key_id: String,
}

/// What a plug-in encrypted, and what it needs to decrypt it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encrypted {
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) key_id: String,
    pub(crate) annotations: Vec<(String, Vec<u8>)>,
}

/// What stands on disk: an object sealed with a key derived from a seed, and the seed as the plug-in
/// encrypted it (upstream's `EncryptedObject`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) key_id: &'a str,
    pub(crate) seed: &'a [u8],
    pub(crate) annotations: Vec<(&'a str, &'a [u8])>,
    /// 1: the seed is for HKDF-SHA256 with AES-GCM and extended nonces.
    pub(crate) source: u64,
}

pub(crate) const HKDF_SEED: u64 = 1;

impl Status {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        fields(bytes, |tag, field| {
            let text = || Some(std::str::from_utf8(field.bytes()?).ok()?.to_owned());
            match tag {
                1 => status.version = text()?,
                2 => status.healthz = text()?,
                3 => status.key_id = text()?,
                _ => {}
            }
            Some(())
        })?;
        Some(status)
    }
}

impl Encrypted {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut encrypted = Self::default();
        fields(bytes, |tag, field| {
            match tag {
                1 => encrypted.ciphertext = field.bytes()?.to_vec(),
                2 => std::str::from_utf8(field.bytes()?)
                    .ok()?
                    .clone_into(&mut encrypted.key_id),
                3 => {
                    let (key, value) = pair(field.bytes()?)?;
                    encrypted.annotations.push((key.to_owned(), value.to_vec()));
                }
                _ => {}
            }
            Some(())
        })?;
        Some(encrypted)
    }
}

impl<'a> Envelope<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + self.seed.len() + 128);
        put_bytes(&mut out, 1, self.data);
        put_bytes(&mut out, 2, self.key_id.as_bytes());
        put_bytes(&mut out, 3, self.seed);
        for (key, value) in &self.annotations {
            put_pair(&mut out, 4, key, value);
        }
        if self.source != 0 {
            put_varint(&mut out, 5 << 3);
            put_varint(&mut out, self.source);
        }
        out
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut envelope = Self::default();
        fields(bytes, |tag, field| {
            match tag {
                1 => envelope.data = field.bytes()?,
                2 => envelope.key_id = std::str::from_utf8(field.bytes()?).ok()?,
                3 => envelope.seed = field.bytes()?,
                4 => envelope.annotations.push(pair(field.bytes()?)?),
                5 => envelope.source = field.number()?,
                _ => {}
            }
            Some(())
        })?;
        Some(envelope)
    }
}

/// `EncryptRequest`.
pub(crate) fn encrypt_request(plain: &[u8], uid: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, plain);
    put_bytes(&mut out, 2, uid.as_bytes());
    out
}

/// `DecryptRequest`.
pub(crate) fn decrypt_request(encrypted: &Encrypted, uid: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &encrypted.ciphertext);
    put_bytes(&mut out, 2, uid.as_bytes());
    put_bytes(&mut out, 3, encrypted.key_id.as_bytes());
    for (key, value) in &encrypted.annotations {
        put_pair(&mut out, 4, key, value);
    }
    out
}

/// The `plaintext` of a `DecryptResponse`.
pub(crate) fn decrypted(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    fields(bytes, |tag, field| {
        if tag == 1 {
            plain = field.bytes()?.to_vec();
        }
        Some(())
    })?;
    Some(plain)
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Field<'a> {
    fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Calls `take` with each field; `None` when the bytes are no message.
fn fields<'a>(
    mut rest: &'a [u8],
    mut take: impl FnMut(u64, &Field<'a>) -> Option<()>,
) -> Option<()> {
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut rest)?),
            1 => split(&mut rest, 8).map(|_| Field::Other)?,
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                Field::Bytes(split(&mut rest, len)?)
            }
            5 => split(&mut rest, 4).map(|_| Field::Other)?,
            _ => return None,
        };
        take(key >> 3, &field)?;
    }
    Some(())
}

fn pair(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (mut key, mut value) = ("", &[][..]);
    fields(bytes, |tag, field| {
        match tag {
            1 => key = std::str::from_utf8(field.bytes()?).ok()?,
            2 => value = field.bytes()?,
            _ => {}
        }
        Some(())
    })?;
    Some((key, value))
}

fn split<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    put_varint(out, tag << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_pair(out: &mut Vec<u8>, tag: u64, key: &str, value: &[u8]) {
    let mut pair = Vec::new();
    put_bytes(&mut pair, 1, key.as_bytes());
    put_bytes(&mut pair, 2, value);
    put_bytes(out, tag, &pair);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_comes_back_as_it_was_and_anything_else_is_refused() {
        let envelope = Envelope {
            data: &[1; 300],
            key_id: "key/1",
            seed: b"seed",
            annotations: vec![("a.example.com", b"1"), ("b.example.com", b"")],
            source: HKDF_SEED,
        };
        let encoded = envelope.encode();
        assert_eq!(Envelope::decode(&encoded).unwrap(), envelope);
        for end in 1..encoded.len() {
            // Cut short it may still be a message, but then one with less in it.
            assert_ne!(Envelope::decode(&encoded[..end]), Some(envelope.clone()));
        }
        assert_eq!(Envelope::decode(&[0xff; 20]), None);
        let status = Status::decode(b"\x0a\x02v2\x12\x02ok\x1a\x01k").unwrap();
        assert_eq!(
            (
                status.version.as_str(),
                status.healthz.as_str(),
                status.key_id.as_str()
            ),
            ("v2", "ok", "k")
        );
    }
}
