//! Public keys as texts (RFC 9580): which keys are in them, by identifier and fingerprint.

use base64::Engine as _;
use sha2::Digest as _;

/// A key, or one that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) fingerprint: String,
}

const PUBLIC_KEY: u8 = 6;
const PUBLIC_SUBKEY: u8 = 14;

/// The keys of an armored text. The error says what is wrong with it.
pub(super) fn keys(armor: &str) -> Result<Vec<Key>, String> {
    let packets = unarmored(armor).ok_or("Unable to parse PGP key armor")?;
    let mut found = Vec::new();
    let mut rest = packets.as_slice();
    while let Some((tag, header, length)) = header(rest) {
        let body = rest.get(header..header + length);
        if matches!(tag, PUBLIC_KEY | PUBLIC_SUBKEY) {
            match rest.get(header) {
                Some(4) => found.extend(body.and_then(version_4)),
                Some(6) => found.extend(body.and_then(version_6)),
                Some(other) => return Err(format!("Unhandled key version {other:#04x}")),
                None => return Err("Unhandled key version None".to_owned()),
            }
        }
        rest = rest.get(header + length..).unwrap_or_default();
    }
    Ok(found)
}

/// The bytes of the first block of an armored text, if their checksum is right.
fn unarmored(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----")?;
    let (block, _) = rest.split_once("-----END PGP PUBLIC KEY BLOCK-----")?;
    let mut lines = block.lines().skip(1).map(str::trim);
    // Headers end with an empty line.
    lines.by_ref().find(|line| line.is_empty())?;
    let mut encoded = String::new();
    let mut sum = None;
    for line in lines {
        match line.strip_prefix('=') {
            Some(rest) if rest.len() == 4 => sum = Some(rest),
            _ => encoded.push_str(line),
        }
    }
    let decoder = &base64::engine::general_purpose::STANDARD;
    let bytes = decoder.decode(encoded).ok()?;
    if let Some(sum) = sum {
        let sum = decoder.decode(sum).ok()?;
        if sum.as_slice() != &crc24(&bytes).to_be_bytes()[1..] {
            return None;
        }
    }
    Some(bytes)
}

fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |mut crc, byte| {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
        crc & 0x00ff_ffff
    })
}

/// What kind of packet something begins with, how long its header is, and how long the rest of it.
fn header(packet: &[u8]) -> Option<(u8, usize, usize)> {
    let first = *packet.first()?;
    let at = |place: usize| packet.get(place).map(|byte| usize::from(*byte));
    let long = |from: usize| {
        Some((at(from)? << 24) | (at(from + 1)? << 16) | (at(from + 2)? << 8) | at(from + 3)?)
    };
    if first & 0x40 != 0 {
        let tag = first & 0x3f;
        return match at(1)? {
            length @ 0..192 => Some((tag, 2, length)),
            length @ 192..224 => Some((tag, 3, ((length - 192) << 8) + at(2)? + 192)),
            255 => Some((tag, 6, long(2)?)),
            _ => None,
        };
    }
    let tag = (first >> 2) & 0x0f;
    match first & 3 {
        0 => Some((tag, 2, at(1)?)),
        1 => Some((tag, 3, (at(1)? << 8) | at(2)?)),
        2 => Some((tag, 5, long(1)?)),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn version_4(body: &[u8]) -> Option<Key> {
    let length = u16::try_from(body.len()).ok()?;
    let digest = sha1::Sha1::new()
        .chain_update([0x99])
        .chain_update(length.to_be_bytes())
        .chain_update(body)
        .finalize();
    let fingerprint = hex(&digest);
    Some(Key {
        id: fingerprint[24..].to_owned(),
        fingerprint,
    })
}

fn version_6(body: &[u8]) -> Option<Key> {
    let length = u32::try_from(body.len()).ok()?;
    let digest = sha2::Sha256::new()
        .chain_update([0x9b])
        .chain_update(length.to_be_bytes())
        .chain_update(body)
        .finalize();
    let fingerprint = hex(&digest);
    Some(Key {
        id: fingerprint[..16].to_owned(),
        fingerprint,
    })
}
