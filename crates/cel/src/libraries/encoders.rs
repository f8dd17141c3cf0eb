//! Base64.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::functions::Library;
use crate::libraries::{failed, no_overload};
use crate::value::Value;

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        base64_decode_string: base64.decode(string) -> bytes
        base64_encode_bytes: base64.encode(bytes) -> string
    ",
    functions: &[
        ("base64.decode", |_, args| match args {
            [Value::String(text)] => match STANDARD
                .decode(&**text)
                .or_else(|_| STANDARD_NO_PAD.decode(&**text))
            {
                Ok(bytes) => Ok(Value::Bytes(bytes.into())),
                Err(error) => Err(failed(format!("illegal base64 data: {error}"))),
            },
            _ => no_overload(),
        }),
        ("base64.encode", |_, args| match args {
            [Value::Bytes(bytes)] => Ok(Value::owned_text(STANDARD.encode(bytes))),
            _ => no_overload(),
        }),
    ],
};
