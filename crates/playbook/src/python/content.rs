//! What the bytes of a module tell of it, and what is put into them.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use consort_modules::Invocation;
use regex::bytes::Regex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;

use super::call;
use super::pack::Found;
use crate::connection::{Packed, PackedKind};

/// Whether a file is no text, by its beginning.
pub(super) fn is_binary(content: &[u8]) -> bool {
    content
        .iter()
        .take(1024)
        .any(|byte| !(matches!(byte, 7..=10 | 12 | 13 | 27) || *byte >= 0x20) || *byte == 0x7f)
}

/// Whether a source is a Python module on `ansible.module_utils`.
pub(super) fn is_new_python(content: &[u8]) -> bool {
    const SAID: &str = r"(?-u)(?:from +\.{2,} *module_utils.* +import |from +ansible_collections\.[^.]+\.[^.]+\.plugins\.module_utils.* +import |import +ansible_collections\.[^.]+\.[^.]+\.plugins\.module_utils.*|from +ansible\.module_utils.* +import |import +ansible\.module_utils\.)";
    static COMPILED: std::sync::OnceLock<Option<Regex>> = std::sync::OnceLock::new();
    COMPILED
        .get_or_init(|| Regex::new(SAID).ok())
        .as_ref()
        .is_some_and(|said| said.is_match(content))
}

/// The words of the first line of a script.
pub(super) fn shebang(content: &[u8]) -> Option<Vec<String>> {
    let line = content
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let words = shlex::split(String::from_utf8_lossy(line).trim())?;
    (!words.is_empty()).then_some(words)
}

pub(super) fn leaf(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

pub(super) fn has(content: &[u8], what: &[u8]) -> bool {
    content.windows(what.len()).any(|part| part == what)
}

/// Replaces every place of a text.
pub(super) fn replace(content: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(content.len());
    let mut at = 0;
    while at < content.len() {
        if content[at..].starts_with(what) {
            replaced.extend_from_slice(with);
            at += what.len();
        } else {
            replaced.push(content[at]);
            at += 1;
        }
    }
    replaced
}

/// A program with its arguments in it.
pub(super) fn complete(content: &[u8], found: &Found, invocation: &Invocation) -> Vec<u8> {
    let packed = Packed {
        name: found.name.clone(),
        digest: String::new(),
        content: Arc::from([]),
        kind: PackedKind::Binary,
    };
    let arguments = Value::Object(call::arguments(&packed, invocation, None)).to_string();
    let settings = &invocation.settings;
    let mut content = replace(
        content,
        b"\"<<ANSIBLE_VERSION>>\"",
        format!("'{}'", call::VERSION).as_bytes(),
    );
    content = replace(
        &content,
        b"<<SELINUX_SPECIAL_FILESYSTEMS>>",
        settings.selinux_special_fs.join(",").as_bytes(),
    );
    content = replace(
        &content,
        b"<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>",
        arguments.as_bytes(),
    );
    replace(
        &content,
        b"syslog.LOG_USER",
        format!("syslog.{}", settings.syslog_facility).as_bytes(),
    )
}

/// A zip archive, the same for the same files.
pub(super) fn archive(files: &BTreeMap<String, Vec<u8>>) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .unix_permissions(0o644);
    for (path, content) in files {
        archive.start_file(path.as_str(), options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

pub(super) fn digest_of(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .take(20)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
