//! Texts in files, in the encodings Python names.

use std::collections::HashMap;
use std::sync::LazyLock;

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
    /// One byte a character, by a table.
    Table(&'static Table),
    /// Several bytes a character, as East Asia has them.
    Wide(&'static encoding_rs::Encoding),
}

/// What the bytes of an encoding mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    names: Vec<&'static str>,
    characters: Vec<Option<char>>,
}

/// The encodings by tables.
static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    include_str!("encodings.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let names: Vec<&'static str> = parts.next()?.split(',').collect();
            let mut characters: Vec<Option<char>> =
                (0..=255_u8).map(|byte| Some(byte as char)).collect();
            for part in parts {
                let (byte, code) = part.split_once('=')?;
                let byte = usize::from_str_radix(byte, 16).ok()?;
                characters[byte] = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
            }
            Some(Table { names, characters })
        })
        .collect()
});

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
            "gbk" | "936" | "cp936" | "ms936" | "gb2312" | "chinese" | "euc_cn" | "euccn" => {
                Encoding::Wide(encoding_rs::GBK)
            }
            "gb18030" | "gb18030_2000" => Encoding::Wide(encoding_rs::GB18030),
            "big5" | "big5_tw" | "csbig5" | "cp950" | "950" => Encoding::Wide(encoding_rs::BIG5),
            "shift_jis" | "shiftjis" | "sjis" | "s_jis" | "csshiftjis" | "cp932" | "932"
            | "ms932" | "mskanji" => Encoding::Wide(encoding_rs::SHIFT_JIS),
            "euc_jp" | "eucjp" | "ujis" | "u_jis" => Encoding::Wide(encoding_rs::EUC_JP),
            "euc_kr" | "euckr" | "korean" | "ksc5601" | "cp949" | "949" | "ms949" | "uhc" => {
                Encoding::Wide(encoding_rs::EUC_KR)
            }
            "iso2022_jp" | "csiso2022jp" | "iso2022jp" | "iso_2022_jp" => {
                Encoding::Wide(encoding_rs::ISO_2022_JP)
            }
            other => TABLES
                .iter()
                .find(|table| table.names.contains(&other))
                .map(Encoding::Table)
                .ok_or_else(|| format!("unknown encoding: {name}"))?,
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
                [0xfe, 0xff, ..] => utf16(bytes, 2, "utf-16-be"),
                [0xff, 0xfe, ..] => utf16(bytes, 2, "utf-16-le"),
                _ => utf16(bytes, 0, "utf-16-le"),
            },
            Encoding::Utf16Little => utf16(bytes, 0, "utf-16-le"),
            Encoding::Utf16Big => utf16(bytes, 0, "utf-16-be"),
            Encoding::Wide(encoding) => encoding
                .decode_without_bom_handling_and_without_replacement(bytes)
                .map(std::borrow::Cow::into_owned)
                .ok_or_else(|| {
                    (
                        0,
                        format!(
                            "'{}' codec can't decode bytes: illegal multibyte sequence",
                            encoding.name().to_lowercase()
                        ),
                    )
                }),
            Encoding::Table(table) => bytes
                .iter()
                .enumerate()
                .map(|(at, byte)| {
                    table.characters[usize::from(*byte)].ok_or_else(|| {
                        (
                            at,
                            format!(
                                "'charmap' codec can't decode byte 0x{byte:02x} in position {at}: character maps to <undefined>"
                            ),
                        )
                    })
                })
                .collect(),
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
            Encoding::Wide(encoding) => {
                let (bytes, _, lossy) = encoding.encode(text);
                if lossy {
                    return Err(format!(
                        "'{}' codec can't encode characters: illegal multibyte sequence",
                        encoding.name().to_lowercase()
                    ));
                }
                Ok(bytes.into_owned())
            }
            Encoding::Table(table) => {
                // The first byte for a character is the one Python takes.
                let mut bytes: HashMap<char, u8> = HashMap::new();
                for (byte, character) in (0..=255_u8).zip(&table.characters) {
                    if let Some(character) = character {
                        bytes.entry(*character).or_insert(byte);
                    }
                }
                text.chars()
                    .enumerate()
                    .map(|(at, character)| {
                        bytes.get(&character).copied().ok_or_else(|| {
                            format!(
                                "'charmap' codec can't encode character {} in position {at}: character maps to <undefined>",
                                crate::python::repr(&character.to_string())
                            )
                        })
                    })
                    .collect()
            }
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

/// A text in UTF-16 after so many bytes of a mark.
fn utf16(bytes: &[u8], mark: usize, name: &str) -> Result<String, (usize, String)> {
    let from_bytes = if name == "utf-16-be" {
        u16::from_be_bytes
    } else {
        u16::from_le_bytes
    };
    if !bytes.len().is_multiple_of(2) {
        let at = bytes.len() - 1;
        return Err((
            at,
            format!(
                "'{name}' codec can't decode byte 0x{:02x} in position {at}: truncated data",
                bytes[at]
            ),
        ));
    }
    let units = bytes[mark..]
        .chunks_exact(2)
        .map(|pair| from_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .collect::<Result<String, _>>()
        .map_err(|_| {
            (
                0,
                format!("'{name}' codec can't decode bytes: illegal encoding"),
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
