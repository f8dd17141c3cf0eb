//! Small pieces of Python that results and messages are made of: `repr`, `str`, errors of the system, `shlex`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::context::Context;
use crate::names;

/// A text as Python's `repr` writes it: `'it'`, `"it's"`.
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut written = String::with_capacity(text.len() + 2);
    written.push(quote);
    for character in text.chars() {
        match character {
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            c if c == quote => {
                written.push('\\');
                written.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c == '\u{ad}' => {
                let _ = write!(written, "\\x{:02x}", c as u32);
            }
            c => written.push(c),
        }
    }
    written.push(quote);
    written
}

/// Bytes as Python's `repr` writes them: `b'/etc/x'`.
pub fn repr_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        b'"'
    } else {
        b'\''
    };
    let mut written = String::with_capacity(bytes.len() + 3);
    written.push('b');
    written.push(quote as char);
    for &byte in bytes {
        match byte {
            b'\\' => written.push_str("\\\\"),
            b'\n' => written.push_str("\\n"),
            b'\r' => written.push_str("\\r"),
            b'\t' => written.push_str("\\t"),
            b if b == quote => {
                written.push('\\');
                written.push(b as char);
            }
            0x20..=0x7e => written.push(byte as char),
            _ => {
                let _ = write!(written, "\\x{byte:02x}");
            }
        }
    }
    written.push(quote as char);
    written
}

/// A value as Python's `repr` writes it: `{'a': [1, True, None]}`.
pub fn repr_value(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number_text(number),
        Value::String(text) => repr(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(repr_value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", repr(key), repr_value(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A value as Python's `str` writes it: texts as they are, all else as [`repr_value`].
pub fn str_value(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(repr_value(other)),
    }
}

fn number_text(number: &serde_json::Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    number
        .as_f64()
        .map_or_else(|| number.to_string(), float_text)
}

/// A floating number as Python writes it: the shortest text that reads back as it, always with a point or an exponent.
pub fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() {
            "-0.0"
        } else {
            "0.0"
        }
        .to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The name of a value's type in Python: `str`, `NoneType`.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// What the system says of an error number: `No such file or directory`.
pub fn strerror(number: i32) -> &'static str {
    nix::errno::Errno::from_raw(number).desc_of_libc()
}

/// The words of the C library for the numbers whose words in nix differ, or nix's.
trait Described {
    fn desc_of_libc(self) -> &'static str;
}

impl Described for nix::errno::Errno {
    fn desc_of_libc(self) -> &'static str {
        use nix::errno::Errno;
        match self {
            Errno::EISDIR => "Is a directory",
            Errno::ENOTDIR => "Not a directory",
            Errno::ELOOP => "Too many levels of symbolic links",
            Errno::EXDEV => "Invalid cross-device link",
            Errno::ENOTEMPTY => "Directory not empty",
            Errno::ETXTBSY => "Text file busy",
            Errno::EBUSY => "Device or resource busy",
            Errno::ENXIO => "No such device or address",
            Errno::EIO => "Input/output error",
            Errno::EPIPE => "Broken pipe",
            Errno::EROFS => "Read-only file system",
            Errno::EINVAL => "Invalid argument",
            Errno::EOPNOTSUPP => "Operation not supported",
            Errno::ECONNREFUSED => "Connection refused",
            Errno::ETIMEDOUT => "Connection timed out",
            other => other.desc(),
        }
    }
}

/// An error of the system as Python's `str(OSError)` gives it: `[Errno 2] No such file or directory`.
pub fn os_error(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("[Errno {number}] {}", strerror(number)),
        None => error.to_string(),
    }
}

/// An error of the system about a path that was given to Python as bytes:
/// `[Errno 2] No such file or directory: b'/etc/x'`.
pub fn os_error_at(error: &std::io::Error, path: impl AsRef<Path>) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    format!(
        "{}: {}",
        os_error(error),
        repr_bytes(path.as_ref().as_os_str().as_bytes())
    )
}

/// An error of the system about a path that was given to Python as a text:
/// `[Errno 2] No such file or directory: '/etc/x'`.
pub fn os_error_at_text(error: &std::io::Error, path: &str) -> String {
    format!("{}: {}", os_error(error), repr(path))
}

/// A text quoted for a POSIX shell, as `shlex.quote` does it.
pub fn shell_quote(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte));
    if plain {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// A command line split as `shlex.split` does it (POSIX rules, no comments).
pub fn shell_split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => {
                if let Some(done) = word.take() {
                    words.push(done);
                }
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(other) => word.push(other),
                        None => return Err("No closing quotation"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(escaped @ ('"' | '\\')) => word.push(escaped),
                            Some(other) => {
                                word.push('\\');
                                word.push(other);
                            }
                            None => return Err("No escaped character"),
                        },
                        Some(other) => word.push(other),
                        None => return Err("No closing quotation"),
                    }
                }
            }
            '\\' => match characters.next() {
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return Err("No escaped character"),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    if let Some(done) = word {
        words.push(done);
    }
    Ok(words)
}

/// `~` and `~user` at the start of a path, as `os.path.expanduser` does it.
pub fn expand_user(context: &Context<'_>, path: &str) -> String {
    let Some(rest) = path.strip_prefix('~') else {
        return path.to_owned();
    };
    let (name, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let home = if name.is_empty() {
        context.variable("HOME").or_else(|| {
            let user = names::user_of(nix::unistd::getuid())?;
            user.dir.to_str().map(str::to_owned)
        })
    } else {
        names::user(name).and_then(|user| user.dir.to_str().map(str::to_owned))
    };
    let Some(home) = home else {
        return path.to_owned();
    };
    let whole = format!("{}{tail}", home.trim_end_matches('/'));
    if whole.is_empty() {
        "/".to_owned()
    } else {
        whole
    }
}

/// `$name` and `${name}` in a text, as `os.path.expandvars` does it: what is not set stays as it is written.
pub fn expand_variables(context: &Context<'_>, text: &str) -> String {
    expand_variables_of(text, |name| context.variable(name))
}

/// The same with the variables a function knows.
pub fn expand_variables_of(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = if let Some(braced) = after.strip_prefix('{') {
            match braced.find('}') {
                Some(end) => (&braced[..end], end + 2),
                None => ("", 0),
            }
        } else {
            let end = after
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(after.len());
            (&after[..end], end)
        };
        match variable(name).filter(|_| length > 0) {
            Some(value) => expanded.push_str(&value),
            None => {
                expanded.push('$');
                expanded.push_str(&after[..length]);
            }
        }
        rest = &after[length..];
    }
    expanded.push_str(rest);
    expanded
}

/// A path with its variables and its `~` expanded, as arguments of the type `path` are.
pub fn expand_path(context: &Context<'_>, path: &str) -> String {
    expand_user(context, &expand_variables(context, path))
}

/// `os.path.basename`: what follows the last slash, which may be nothing.
pub fn basename(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// `os.path.dirname`: what precedes the last slash.
pub fn dirname(path: &str) -> &str {
    match path.rfind('/') {
        None => "",
        Some(at) => {
            let head = &path[..=at];
            let trimmed = head.trim_end_matches('/');
            if trimmed.is_empty() { head } else { trimmed }
        }
    }
}

/// `os.path.join` of two: an absolute second path replaces the first.
pub fn join(first: &str, second: &str) -> String {
    if second.starts_with('/') || first.is_empty() {
        second.to_owned()
    } else if first.ends_with('/') {
        format!("{first}{second}")
    } else {
        format!("{first}/{second}")
    }
}

/// `os.path.normpath`: without `.`, `..` and doubled slashes, decided on the text alone.
pub fn normalize(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let slashes = if path.starts_with("//") && !path.starts_with("///") {
        2
    } else {
        usize::from(path.starts_with('/'))
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        if part.is_empty() || part == "." {
            continue;
        }
        if part != ".." || (slashes == 0 && parts.is_empty()) || parts.last() == Some(&"..") {
            parts.push(part);
        } else {
            parts.pop();
        }
    }
    let joined = format!("{}{}", "/".repeat(slashes), parts.join("/"));
    if joined.is_empty() {
        ".".to_owned()
    } else {
        joined
    }
}

/// The parts of a path without `.` and empty ones; `..` stays, for it may follow a link.
pub(crate) fn normalize_keeping_dots(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}

/// Whether a character ends a line, as Python sees it.
pub fn ends_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r'
            | '\u{b}'
            | '\u{c}'
            | '\u{1c}'
            | '\u{1d}'
            | '\u{1e}'
            | '\u{85}'
            | '\u{2028}'
            | '\u{2029}'
    )
}

/// A text in lines without their ends, as `str.splitlines` splits it.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    split_lines(text)
        .into_iter()
        .map(|line| line.trim_end_matches(ends_line))
}

/// A text in lines with their ends, as `str.splitlines(True)` splits it.
pub fn split_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut begin = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if !ends_line(character) {
            continue;
        }
        let mut end = at + character.len_utf8();
        if character == '\r' && characters.peek().is_some_and(|(_, next)| *next == '\n') {
            characters.next();
            end += 1;
        }
        lines.push(&text[begin..end]);
        begin = end;
    }
    if begin < text.len() {
        lines.push(&text[begin..]);
    }
    lines
}

/// `template % value` for a template with `%s` and `%%`.
pub fn format_one(template: &str, value: &str) -> String {
    let mut made = String::with_capacity(template.len() + value.len());
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        made.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('s') {
            made.push_str(value);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('%') {
            made.push('%');
            rest = after;
        } else {
            made.push('%');
        }
    }
    made.push_str(rest);
    made
}

/// Bytes with their escapes resolved, as `codecs.escape_decode` does it.
pub fn unescape(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut made = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' || at + 1 == bytes.len() {
            made.push(bytes[at]);
            at += 1;
            continue;
        }
        let escaped = bytes[at + 1];
        at += 2;
        match escaped {
            b'\n' => {}
            b'\\' | b'\'' | b'"' => made.push(escaped),
            b'a' => made.push(7),
            b'b' => made.push(8),
            b'f' => made.push(12),
            b'n' => made.push(b'\n'),
            b'r' => made.push(b'\r'),
            b't' => made.push(b'\t'),
            b'v' => made.push(11),
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                let mut digits = 1;
                while digits < 3 && at < bytes.len() && matches!(bytes[at], b'0'..=b'7') {
                    value = value * 8 + u32::from(bytes[at] - b'0');
                    at += 1;
                    digits += 1;
                }
                made.push(value as u8);
            }
            b'x' if bytes
                .get(at..at + 2)
                .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) =>
            {
                let digits = String::from_utf8_lossy(&bytes[at..at + 2]).into_owned();
                made.push(u8::from_str_radix(&digits, 16).unwrap_or(0));
                at += 2;
            }
            b'x' => return Err(format!("invalid \\x escape at position {}", at - 2)),
            other => {
                made.push(b'\\');
                made.push(other);
            }
        }
    }
    Ok(made)
}
