//! Texts in files, in the encodings Python names.

/// An encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf8WithMark,
    Ascii,
    Latin1,
    Utf16,
    Utf16Little,
    Utf16Big,
}

impl Encoding {
    /// By one of the names it has in Python. The error is Python's.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let plain: String = name
            .to_lowercase()
            .chars()
            .map(|c| if c == '-' || c == ' ' { '_' } else { c })
            .collect();
        Ok(match plain.as_str() {
            "utf_8" | "utf8" | "u8" | "utf" | "cp65001" => Encoding::Utf8,
            "utf_8_sig" => Encoding::Utf8WithMark,
            "ascii" | "us_ascii" | "646" => Encoding::Ascii,
            "latin_1" | "latin1" | "iso_8859_1" | "iso8859_1" | "8859" | "cp819" | "l1"
            | "latin" => Encoding::Latin1,
            "utf_16" | "utf16" | "u16" => Encoding::Utf16,
            "utf_16_le" | "utf_16le" => Encoding::Utf16Little,
            "utf_16_be" | "utf_16be" => Encoding::Utf16Big,
            _ => return Err(format!("unknown encoding: {name}")),
        })
    }

    /// Bytes as a text. The error is Python's, with how many bytes before it are sound.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<String, (usize, String)> {
        match self {
            Encoding::Utf8 => utf8(bytes),
            Encoding::Utf8WithMark => utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)),
            Encoding::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
                None => utf8(bytes),
                Some(at) => Err((
                    at,
                    format!(
                        "'ascii' codec can't decode byte 0x{:02x} in position {at}: ordinal not in range(128)",
                        bytes[at]
                    ),
                )),
            },
            Encoding::Latin1 => Ok(bytes.iter().map(|byte| *byte as char).collect()),
            Encoding::Utf16 => match bytes {
                [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
                [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
                _ => utf16(bytes, u16::from_le_bytes),
            },
            Encoding::Utf16Little => utf16(bytes, u16::from_le_bytes),
            Encoding::Utf16Big => utf16(bytes, u16::from_be_bytes),
        }
    }

    /// A text as bytes. The error is Python's.
    pub(crate) fn encode(self, text: &str) -> Result<Vec<u8>, String> {
        let narrow = |name: &str, limit: u32| {
            let mut bytes = Vec::with_capacity(text.len());
            for (at, character) in text.chars().enumerate() {
                if character as u32 >= limit {
                    let written = match character as u32 {
                        code @ 0..=0xff => format!("\\x{code:02x}"),
                        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                        code => format!("\\U{code:08x}"),
                    };
                    return Err(format!(
                        "'{name}' codec can't encode character '{written}' in position {at}: ordinal not in range({limit})"
                    ));
                }
                bytes.push(character as u32 as u8);
            }
            Ok(bytes)
        };
        let wide = |to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes);
        match self {
            Encoding::Utf8 => Ok(text.as_bytes().to_vec()),
            Encoding::Utf8WithMark => Ok([b"\xef\xbb\xbf", text.as_bytes()].concat()),
            Encoding::Ascii => narrow("ascii", 128),
            Encoding::Latin1 => narrow("latin-1", 256),
            Encoding::Utf16 => Ok([0xff, 0xfe]
                .into_iter()
                .chain(wide(u16::to_le_bytes))
                .collect()),
            Encoding::Utf16Little => Ok(wide(u16::to_le_bytes).collect()),
            Encoding::Utf16Big => Ok(wide(u16::to_be_bytes).collect()),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<String, (usize, String)> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| {
            let at = error.valid_up_to();
            let length = error.error_len().unwrap_or(bytes.len() - at);
            let reason = if error.error_len().is_none() {
                "unexpected end of data"
            } else if matches!(bytes[at], 0x80..=0xc1 | 0xf5..) {
                "invalid start byte"
            } else {
                "invalid continuation byte"
            };
            let place = if length > 1 {
                format!("bytes in position {at}-{}", at + length - 1)
            } else {
                format!("byte 0x{:02x} in position {at}", bytes[at])
            };
            (at, format!("'utf-8' codec can't decode {place}: {reason}"))
        })
}

fn utf16(bytes: &[u8], from_bytes: fn([u8; 2]) -> u16) -> Result<String, (usize, String)> {
    if bytes.len() % 2 != 0 {
        let at = bytes.len() - 1;
        return Err((
            at,
            format!(
                "'utf-16' codec can't decode byte 0x{:02x} in position {at}: truncated data",
                bytes[at]
            ),
        ));
    }
    let units = bytes
        .chunks_exact(2)
        .map(|pair| from_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .collect::<Result<String, _>>()
        .map_err(|_| {
            (
                0,
                "'utf-16' codec can't decode bytes: illegal encoding".to_owned(),
            )
        })
}

/// All ends of lines as `\n`, as Python reads files that are opened as text.
pub(crate) fn universal_newlines(text: String) -> String {
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    }
}
