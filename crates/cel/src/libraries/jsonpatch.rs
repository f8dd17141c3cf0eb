//! Helping to write JSON patches.

use crate::functions::Library;
use crate::libraries::no_overload;
use crate::value::Value;

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "string_jsonpatch_escapeKey_string: jsonpatch.escapeKey(string) -> string",
    functions: &[("jsonpatch.escapeKey", |_, args| match args {
        [Value::String(key)] => Ok(Value::owned_text(key.replace('~', "~0").replace('/', "~1"))),
        _ => no_overload(),
    })],
};
