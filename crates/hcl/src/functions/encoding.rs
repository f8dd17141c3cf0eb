//! JSON, base64, CSV, URLs and character sets.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};

use super::Table;
use super::arguments::{Result, of_text, parameter, shown, text};
use super::csv;
use crate::evaluate::{CallError, Function};
use crate::json;
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table) {
    table.add("jsonencode", json_encode());
    table.add("jsondecode", json_decode());
    table.add("csvdecode", csv_decode());
    table.add(
        "base64encode",
        of_text(["str"], |[s]| Ok(STANDARD.encode(s))),
    );
    table.add("base64decode", base64_decode());
    table.add("base64gzip", of_text(["str"], |[s]| gzip(s)));
    table.add("urlencode", of_text(["str"], |[s]| Ok(url_encode(s))));
    table.add(
        "textencodebase64",
        of_text(["string", "encoding"], |[s, name]| {
            let charset = Charset::find(name)?;
            let bytes = charset.encode(s).ok_or_else(|| {
                let message = format!(
                    "the given string contains characters that cannot be represented in {}",
                    charset.name
                );
                CallError::argument(0, message)
            })?;
            Ok(STANDARD.encode(bytes))
        }),
    );
    table.add(
        "textdecodebase64",
        of_text(["source", "encoding"], |[s, name]| {
            let charset = Charset::find(name)?;
            let bytes = decode_base64(s).map_err(|offset| {
                let message =
                    format!("the given value is has an invalid base64 symbol at offset {offset}");
                CallError::argument(0, message)
            })?;
            charset.decode(&bytes).ok_or_else(|| {
                let message = format!(
                    "the given string contains symbols that are not defined for {}",
                    charset.name
                );
                CallError::argument(0, message)
            })
        }),
    );
}

/// As Go decodes base64: line ends are left out. Otherwise the place of the first wrong byte.
pub(super) fn decode_base64(text: &str) -> std::result::Result<Vec<u8>, usize> {
    let stripped: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(&stripped).map_err(|_| {
        let body = text.trim_end_matches(['\r', '\n']);
        let wrong = |b: u8| !b.is_ascii_alphanumeric() && !matches!(b, b'+' | b'/' | b'\r' | b'\n');
        let first = body.bytes().position(wrong).unwrap_or(body.len());
        first.min(body.len())
    })
}

fn json_encode() -> Function {
    let value = parameter("val", Type::Dynamic).unknown().dynamic().null();
    Function::returning(Type::String, vec![value], None, |args| {
        let value = &args[0];
        if !value.is_wholly_known() {
            let unknown = Value::unknown(Type::String);
            if !value.is_certainly_not_null() {
                return Ok(unknown);
            }
            let prefix = match value.ty() {
                Type::String => "\"",
                Type::Object(_) | Type::Map(_) => "{",
                Type::Tuple(_) | Type::List(_) | Type::Set(_) => "[",
                _ => return Ok(unknown),
            };
            return Ok(unknown.refined(|r| r.not_null().starting_with_exactly(prefix)));
        }
        let bytes = json::encode_simple(value).map_err(|e| CallError::new(e.message))?;
        Ok(Value::string(String::from_utf8_lossy(&bytes)))
    })
    .never_null()
}

fn json_decode() -> Function {
    let decoded = |args: &[Value]| {
        json::decode_simple(text(args, 0).as_bytes()).map_err(|e| CallError::new(e.message))
    };
    let ty = move |args: &[Value]| {
        let Some(refinement) = args[0].refinement() else {
            return decoded(args).map(|value| value.ty().clone());
        };
        Ok(match refinement.prefix().trim().chars().next() {
            None | Some('{' | '[' | 'n') => Type::Dynamic,
            Some('"') => Type::String,
            Some('t' | 'f') => Type::Bool,
            Some('-' | '0'..='9' | '.') => Type::Number,
            Some(other) => {
                let message = format!("a JSON document cannot begin with the character '{other}'");
                return Err(CallError::argument(0, message));
            }
        })
    };
    Function::new(
        vec![parameter("str", Type::String)],
        None,
        ty,
        move |args, _| decoded(args),
    )
}

fn csv_records(args: &[Value]) -> Result<Vec<(usize, Vec<String>)>> {
    csv::records(text(args, 0)).map_err(|(line, message)| csv_error(line, message))
}

fn csv_error(line: usize, message: &str) -> CallError {
    CallError::new(format!("CSV parse error on line {line}: {message}"))
}

fn csv_type(records: &[(usize, Vec<String>)]) -> Result<Type> {
    let Some((_, headers)) = records.first() else {
        return Err(CallError::new("missing header line"));
    };
    let mut attributes: BTreeMap<&str, Type> = BTreeMap::new();
    for name in headers {
        if attributes.insert(name, Type::String).is_some() {
            return Err(CallError::new(format!(
                "duplicate column name {}",
                quote(name)
            )));
        }
    }
    Ok(Type::object(attributes))
}

fn csv_decode() -> Function {
    let ty = |args: &[Value]| {
        if !args[0].is_known() {
            return Ok(Type::Dynamic);
        }
        csv_type(&csv_records(args)?).map(Type::list)
    };
    Function::new(vec![parameter("str", Type::String)], None, ty, |args, _| {
        let records = csv_records(args)?;
        let element = csv_type(&records)?;
        let headers = &records[0].1;
        let mut rows = Vec::with_capacity(records.len() - 1);
        for (line, record) in &records[1..] {
            if record.len() != headers.len() {
                return Err(csv_error(*line, "wrong number of fields"));
            }
            let row = headers.iter().zip(record);
            rows.push(Value::object(
                row.map(|(k, v)| (k.as_str(), Value::string(v))),
            ));
        }
        Ok(Value::list(element, rows))
    })
    .never_null()
}

fn base64_decode() -> Function {
    let s = parameter("str", Type::String).marked();
    Function::returning(Type::String, vec![s], None, |args| {
        let (s, marks) = (text(args, 0), args[0].marks());
        let bytes = decode_base64(s).map_err(|_| {
            let what = shown(s, marks);
            CallError::new(format!("failed to decode base64 data {what}"))
        })?;
        let decoded = String::from_utf8(bytes).map_err(|_| {
            CallError::new("the result of decoding the provided string is not valid UTF-8")
        })?;
        Ok(Value::string(decoded).with_marks(marks))
    })
    .never_null()
}

fn gzip(text: &str) -> Result<String> {
    let fail = |e: std::io::Error| CallError::new(format!("failed to write gzip raw data: {e}"));
    // No time and an unknown system, as Go writes it, so that equal texts give equal results.
    let mut writer = GzBuilder::new()
        .operating_system(255)
        .write(Vec::new(), Compression::default());
    writer.write_all(text.as_bytes()).map_err(fail)?;
    Ok(STANDARD.encode(writer.finish().map_err(fail)?))
}

fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A character set by its name with IANA.
struct Charset {
    name: String,
    form: Form,
}

enum Form {
    Utf8,
    Utf16 { big: bool, marked: bool },
    Latin1,
    Ascii,
    Table(&'static encoding_rs::Encoding),
}

impl Charset {
    fn find(name: &str) -> Result<Charset> {
        let upper = name.to_ascii_uppercase();
        let form = match upper.as_str() {
            "UTF-8" | "UTF8" | "CSUTF8" => Form::Utf8,
            "UTF-16" | "CSUTF16" => Form::Utf16 {
                big: true,
                marked: true,
            },
            "UTF-16BE" | "CSUTF16BE" => Form::Utf16 {
                big: true,
                marked: false,
            },
            "UTF-16LE" | "CSUTF16LE" => Form::Utf16 {
                big: false,
                marked: false,
            },
            "ISO-8859-1" | "ISO_8859-1:1987" | "ISO-IR-100" | "ISO_8859-1" | "LATIN1" | "L1"
            | "IBM819" | "CP819" | "CSISOLATIN1" => Form::Latin1,
            "US-ASCII" | "ASCII" | "ISO646-US" | "US" | "IBM367" | "CP367" | "ANSI_X3.4-1968"
            | "ANSI_X3.4-1986" | "ISO-IR-6" | "ISO_646.IRV:1991" | "CSASCII" => Form::Ascii,
            _ => {
                let table = encoding_rs::Encoding::for_label(name.as_bytes());
                match table.filter(|_| name.trim() == name && !name.is_empty()) {
                    Some(table) => Form::Table(table),
                    None => {
                        let message = format!(
                            "{} is not a supported IANA encoding name or alias in this Terraform version",
                            quote(name)
                        );
                        return Err(CallError::argument(1, message));
                    }
                }
            }
        };
        let name = match &form {
            Form::Utf8 => "UTF-8".to_owned(),
            Form::Latin1 => "ISO_8859-1:1987".to_owned(),
            Form::Ascii => "US-ASCII".to_owned(),
            Form::Utf16 { .. } => upper,
            Form::Table(table) => table.name().to_owned(),
        };
        Ok(Charset { name, form })
    }

    fn encode(&self, text: &str) -> Option<Vec<u8>> {
        let single = |limit: u32| {
            text.chars()
                .map(|c| {
                    u8::try_from(u32::from(c))
                        .ok()
                        .filter(|b| u32::from(*b) < limit)
                })
                .collect()
        };
        match &self.form {
            Form::Utf8 => Some(text.as_bytes().to_vec()),
            Form::Latin1 => single(0x100),
            Form::Ascii => single(0x80),
            Form::Utf16 { big, marked } => {
                let unit = |u: u16| {
                    if *big {
                        u.to_be_bytes()
                    } else {
                        u.to_le_bytes()
                    }
                };
                let mark = marked.then_some(0xfeff);
                Some(
                    mark.into_iter()
                        .chain(text.encode_utf16())
                        .flat_map(unit)
                        .collect(),
                )
            }
            Form::Table(table) => {
                let (bytes, _, unmapped) = table.encode(text);
                (!unmapped).then(|| bytes.into_owned())
            }
        }
    }

    fn decode(&self, bytes: &[u8]) -> Option<String> {
        let decoded = match &self.form {
            Form::Utf8 => String::from_utf8(bytes.to_vec()).ok()?,
            Form::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Form::Ascii => {
                if !bytes.is_ascii() {
                    return None;
                }
                bytes.iter().map(|b| char::from(*b)).collect()
            }
            Form::Utf16 { big, marked } => {
                let (mut big, mut bytes) = (*big, bytes);
                if *marked {
                    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
                        (big, bytes) = (false, rest);
                    } else if let Some(rest) = bytes.strip_prefix(&[0xfe, 0xff]) {
                        (big, bytes) = (true, rest);
                    } else {
                        return None;
                    }
                }
                if bytes.len() % 2 != 0 {
                    return None;
                }
                let units = bytes.chunks_exact(2).map(|pair| {
                    let pair = [pair[0], pair[1]];
                    if big {
                        u16::from_be_bytes(pair)
                    } else {
                        u16::from_le_bytes(pair)
                    }
                });
                char::decode_utf16(units)
                    .collect::<std::result::Result<String, _>>()
                    .ok()?
            }
            Form::Table(table) => table
                .decode_without_bom_handling_and_without_replacement(bytes)?
                .into_owned(),
        };
        (!decoded.contains(char::REPLACEMENT_CHARACTER)).then_some(decoded)
    }
}
