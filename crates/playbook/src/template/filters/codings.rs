//! Base64, digests, identifiers.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use consort_jinja::{Arguments, Environment, Error, Result, State, Value};
use sha1::Digest as _;

use super::{add_all, flag};
use crate::template::context::refused;

/// The namespace of identifiers made from names, if none is given.
const NAMESPACE: &str = "361E6D51-FAEC-444A-9079-341386DA8E2E";

pub(super) fn add(environment: &mut Environment) {
    add_all(
        environment,
        &[
            ("b64encode", encode),
            ("b64decode", decode),
            ("md5", |_, value, _| hash(&value, "md5")),
            ("sha1", |_, value, _| hash(&value, "sha1")),
            ("checksum", |_, value, _| hash(&value, "sha1")),
            ("hash", |_, value, arguments| {
                let [kind] = arguments.bind("get_hash", ["hashtype"])?;
                let kind = kind.map_or(Ok("sha1".to_owned()), |kind| {
                    kind.text().map(|kind| kind.to_string())
                })?;
                hash(&value, &kind)
            }),
            ("to_uuid", to_uuid),
        ],
    );
}

/// The bytes of a value: a text in some encoding, anything else as `str()` writes it.
pub(super) fn bytes(value: &Value, encoding: &str) -> Result<Vec<u8>> {
    if let Value::Bytes(bytes) = value {
        return Ok(bytes.to_vec());
    }
    let text = value.text()?;
    let wide =
        |order: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(order).collect() };
    let wider = |order: fn(u32) -> [u8; 4]| -> Vec<u8> {
        text.chars().flat_map(|c| order(c as u32)).collect()
    };
    let narrow = |name: &str, limit: u32| -> Result<Vec<u8>> {
        text.chars()
            .enumerate()
            .map(|(at, c)| {
                u8::try_from(c as u32)
                    .ok()
                    .filter(|byte| u32::from(*byte) < limit)
                    .ok_or_else(|| {
                        Error::failed(format!(
                            "'{name}' codec can't encode character '\\u{:04x}' in position {at}: ordinal not in range({limit})",
                            c as u32
                        ))
                    })
            })
            .collect()
    };
    Ok(match normal(encoding).as_str() {
        "utf8" => text.as_bytes().to_vec(),
        "ascii" | "usascii" => narrow("ascii", 128)?,
        "latin1" | "iso88591" => narrow("latin-1", 256)?,
        "utf16le" => wide(u16::to_le_bytes),
        "utf16be" => wide(u16::to_be_bytes),
        "utf16" => [vec![0xff, 0xfe], wide(u16::to_le_bytes)].concat(),
        "utf32le" => wider(u32::to_le_bytes),
        "utf32be" => wider(u32::to_be_bytes),
        "utf32" => [vec![0xff, 0xfe, 0, 0], wider(u32::to_le_bytes)].concat(),
        _ => return refused(format!("unknown encoding: {encoding}")),
    })
}

/// A text from bytes in some encoding; what cannot be read is replaced.
pub(in crate::template) fn text(bytes: &[u8], encoding: &str) -> Result<String> {
    let wide = |bytes: &[u8], order: fn([u8; 2]) -> u16| -> String {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| order([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    };
    let wider = |bytes: &[u8], order: fn([u8; 4]) -> u32| -> String {
        bytes
            .chunks_exact(4)
            .map(|four| {
                char::from_u32(order([four[0], four[1], four[2], four[3]]))
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            })
            .collect()
    };
    Ok(match normal(encoding).as_str() {
        "utf8" | "ascii" | "usascii" => String::from_utf8_lossy(bytes).into_owned(),
        "latin1" | "iso88591" => bytes.iter().map(|byte| char::from(*byte)).collect(),
        "latin9" | "latin15" | "iso885915" => bytes
            .iter()
            .map(|byte| match byte {
                0xa4 => '€',
                0xa6 => 'Š',
                0xa8 => 'š',
                0xb4 => 'Ž',
                0xb8 => 'ž',
                0xbc => 'Œ',
                0xbd => 'œ',
                0xbe => 'Ÿ',
                byte => char::from(*byte),
            })
            .collect(),
        "utf16le" => wide(bytes, u16::from_le_bytes),
        "utf16be" => wide(bytes, u16::from_be_bytes),
        "utf16" => match bytes {
            [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
            [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
            all => wide(all, u16::from_le_bytes),
        },
        "utf32le" => wider(bytes, u32::from_le_bytes),
        "utf32be" => wider(bytes, u32::from_be_bytes),
        "utf32" => wider(
            bytes.strip_prefix(&[0xff, 0xfe, 0, 0][..]).unwrap_or(bytes),
            u32::from_le_bytes,
        ),
        _ => return refused(format!("unknown encoding: {encoding}")),
    })
}

fn normal(encoding: &str) -> String {
    encoding
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .collect::<String>()
        .to_ascii_lowercase()
}

fn coding(arguments: &Arguments, function: &str) -> Result<(String, bool)> {
    let [encoding, urlsafe] = arguments.bind(function, ["encoding", "urlsafe"])?;
    let encoding = encoding.map_or(Ok("utf-8".to_owned()), |encoding| {
        encoding.text().map(|encoding| encoding.to_string())
    })?;
    Ok((encoding, flag(urlsafe)?))
}

fn encode(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let (encoding, urlsafe) = coding(arguments, "b64encode")?;
    let bytes = bytes(&value, &encoding)?;
    let engine = if urlsafe {
        base64::engine::general_purpose::URL_SAFE
    } else {
        base64::engine::general_purpose::STANDARD
    };
    Ok(Value::from(engine.encode(bytes)))
}

fn decode(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let (encoding, urlsafe) = coding(arguments, "b64decode")?;
    let given = bytes(&value, "utf-8")?;
    // What is no digit of the alphabet is passed over, as Python does.
    let mut digits: Vec<u8> = Vec::with_capacity(given.len());
    let mut padding = 0;
    for byte in given {
        let byte = match byte {
            b'-' if urlsafe => b'+',
            b'_' if urlsafe => b'/',
            byte => byte,
        };
        match byte {
            b'=' => {
                padding += 1;
                if digits.len() % 4 + padding >= 4 && digits.len() % 4 >= 2 {
                    break;
                }
            }
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') => {
                digits.push(byte);
                padding = 0;
            }
            _ => {}
        }
    }
    match digits.len() % 4 {
        1 => {
            return refused(format!(
                "Invalid base64-encoded string: number of data characters ({}) cannot be 1 more than a multiple of 4",
                digits.len()
            ));
        }
        2 if padding < 2 => return refused("Incorrect padding"),
        3 if padding < 1 => return refused("Incorrect padding"),
        _ => {}
    }
    let engine = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    );
    let decoded = engine
        .decode(&digits)
        .map_err(|error| Error::failed(error.to_string()))?;
    text(&decoded, &encoding).map(Value::from)
}

pub(in crate::template) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn hash(value: &Value, kind: &str) -> Result<Value> {
    let bytes = bytes(value, "utf-8")?;
    let digest = match kind.to_ascii_lowercase().as_str() {
        "md5" => hex(&md5::Md5::digest(&bytes)),
        "sha1" => hex(&sha1::Sha1::digest(&bytes)),
        "sha224" => hex(&sha2::Sha224::digest(&bytes)),
        "sha256" => hex(&sha2::Sha256::digest(&bytes)),
        "sha384" => hex(&sha2::Sha384::digest(&bytes)),
        "sha512" => hex(&sha2::Sha512::digest(&bytes)),
        "sha512_256" => hex(&sha2::Sha512_256::digest(&bytes)),
        "sha512_224" => hex(&sha2::Sha512_224::digest(&bytes)),
        _ => return refused(format!("unsupported hash type {kind}")),
    };
    Ok(Value::from(digest))
}

fn to_uuid(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [namespace] = arguments.bind("to_uuid", ["namespace"])?;
    let namespace = namespace.map_or(Ok(NAMESPACE.to_owned()), |namespace| {
        namespace.text().map(|namespace| namespace.to_string())
    })?;
    let digits: String = namespace
        .replace("urn:", "")
        .replace("uuid:", "")
        .trim_matches(['{', '}'])
        .replace('-', "");
    let parsed = (digits.len() == 32 && digits.is_ascii())
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten();
    let Some(parsed) = parsed else {
        return refused(format!(
            "Invalid value '{namespace}' for 'namespace': badly formed hexadecimal UUID string"
        ));
    };
    let mut hasher = sha1::Sha1::new();
    hasher.update(parsed.to_be_bytes());
    hasher.update(value.text()?.as_bytes());
    let mut made: [u8; 16] = [0; 16];
    made.copy_from_slice(&hasher.finalize()[..16]);
    made[6] = made[6] & 0x0f | 0x50;
    made[8] = made[8] & 0x3f | 0x80;
    let digits = hex(&made);
    Ok(Value::from(format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )))
}
