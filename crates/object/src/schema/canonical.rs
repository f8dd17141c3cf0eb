//! Texts that stand for something else, in the one form they are stored in.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::decode::DecodeError;
use crate::quantity;

/// Replaces a text by its canonical form, or by null where it stands for nothing.
pub(super) fn text(
    value: &mut Value,
    canonical: impl FnOnce(&str) -> Result<Option<Cow<'_, str>>, DecodeError>,
) -> Result<(), DecodeError> {
    let Value::String(text) = &*value else {
        return Err(DecodeError::free(value, "string"));
    };
    let replacement = match canonical(text)? {
        Some(Cow::Borrowed(_)) => return Ok(()),
        Some(Cow::Owned(text)) => Value::String(text),
        None => Value::Null,
    };
    *value = replacement;
    Ok(())
}

pub(super) fn quantity(value: &mut Value) -> Result<(), DecodeError> {
    let wrong = |error: quantity::Error| DecodeError::Type(error.to_string());
    let replacement = match &*value {
        Value::String(text) => match quantity::canonical(text).map_err(wrong)? {
            Cow::Borrowed(same) if same.len() == text.len() => return Ok(()),
            other => other.into_owned(),
        },
        Value::Number(number) => quantity::canonical(&number.to_string())
            .map_err(wrong)?
            .into_owned(),
        _ => return Err(wrong(quantity::Error::Format)),
    };
    *value = Value::String(replacement);
    Ok(())
}

/// What stands for bytes in JSON, as Go reads it: base64, a list of numbers up to 255, or null for none.
///
/// # Errors
/// When it is none of these.
pub fn bytes(value: &Value) -> Result<Vec<u8>, DecodeError> {
    let other = || DecodeError::Type(format!("{value} stands for no bytes"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => {
            let canonical = base64(text)?;
            let text = canonical.as_deref().unwrap_or(text);
            STANDARD.decode(text).map_err(|_| other())
        }
        Value::Array(items) => listed(items).ok_or_else(other),
        _ => Err(other()),
    }
}

/// Bytes that are written as a list of numbers.
pub(super) fn listed(items: &[Value]) -> Option<Vec<u8>> {
    items
        .iter()
        .map(|item| u8::try_from(item.as_u64()?).ok())
        .collect()
}

/// `None` if the text is canonical base64 already; line breaks are taken out, as Go ignores them.
pub(super) fn base64(text: &str) -> Result<Option<String>, DecodeError> {
    let cleaned: Cow<'_, str> = if text.bytes().any(|b| matches!(b, b'\r' | b'\n')) {
        Cow::Owned(text.replace(['\r', '\n'], ""))
    } else {
        Cow::Borrowed(text)
    };
    if let Err(error) = STANDARD.decode(cleaned.as_bytes()) {
        let offset = match error {
            base64::DecodeError::InvalidByte(offset, _)
            | base64::DecodeError::InvalidLastSymbol(offset, _) => offset,
            base64::DecodeError::InvalidLength(length) => length,
            base64::DecodeError::InvalidPadding => cleaned.len(),
        };
        return Err(DecodeError::Type(format!(
            "illegal base64 data at input byte {offset}"
        )));
    }
    Ok(match cleaned {
        Cow::Owned(cleaned) => Some(cleaned),
        Cow::Borrowed(_) => None,
    })
}
