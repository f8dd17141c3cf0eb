//! `assemble`: a file of the fragments of a directory.

use std::path::Path;

use consort_jinja::Dict;
use consort_modules::python_re::Pattern;

use super::given::{Given, copied, says, set, without};
use super::machine::{Source, Temporary, blocking, difference, expand_user, stat};
use super::{Action, Failure, Outcome};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::source::Reader;

/// `assemble`.
pub(super) struct Assemble;

impl Action for Assemble {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            let temporary = Temporary::of(attempt);
            let outcome = assemble(attempt, &temporary, &arguments).await;
            temporary.remove().await;
            outcome
        })
    }
}

async fn assemble(attempt: &Attempt<'_>, temporary: &Temporary<'_>, arguments: &Dict) -> Outcome {
    let given = Given(arguments);
    let (Some(src), Some(dest)) = (given.text("src"), given.text("dest")) else {
        return Err(Failure::new("src and dest are required"));
    };
    if given.flag("remote_src", true) {
        return attempt
            .module("ansible.legacy.assemble", without(arguments, &["decrypt"]))
            .await;
    }
    let src = attempt.find_file("files", &src)?;
    if !src.is_dir() {
        return Err(Failure::new(format!(
            "Source ({}) is not a directory",
            src.display()
        )));
    }
    let pattern = given
        .text("regexp")
        .map(|expression| {
            Pattern::new(&expression).map_err(|error| Failure::error(error.to_string()))
        })
        .transpose()?;
    let parts = Parts {
        delimiter: given.text("delimiter").map(|text| unescaped(&text)),
        pattern,
        skips_hidden: given.flag("ignore_hidden", false),
        decrypt: given.flag("decrypt", true),
        reader: attempt.loader().reader().clone(),
    };
    let directory = src.clone();
    let bytes = blocking(move || parts.joined(&directory)).await?;
    let source = Source {
        path: src,
        bytes: Some(bytes),
    };
    let dest = expand_user(attempt, &dest).await?;
    let there = stat(attempt, &dest, given.flag("follow", false), true).await?;
    let inner = without(
        arguments,
        &[
            "remote_src",
            "regexp",
            "delimiter",
            "ignore_hidden",
            "decrypt",
        ],
    );
    set(&inner, "dest", dest.as_str());
    let checksum = source.checksum().await?;
    if there
        .get("checksum")
        .as_ref()
        .and_then(|known| known.as_str())
        == Some(&checksum)
    {
        return attempt.module("ansible.legacy.file", inner).await;
    }
    let diff = if attempt.diff {
        difference(attempt, &dest, &source, false).await?
    } else {
        Dict::default()
    };
    let path = temporary.put(source.content(), "src", 0o600).await?;
    let inner = copied(&inner);
    set(&inner, "src", path);
    let result = attempt.module("ansible.legacy.copy", inner).await?;
    if !diff.is_empty() && !says(&result, "failed") {
        set(&result, "diff", diff);
    }
    Ok(result)
}

struct Parts {
    delimiter: Option<Vec<u8>>,
    pattern: Option<Pattern>,
    skips_hidden: bool,
    decrypt: bool,
    reader: Reader,
}

impl Parts {
    fn joined(&self, directory: &Path) -> Result<Vec<u8>, Failure> {
        let failed = |error: std::io::Error, path: &Path| {
            Failure::error(consort_modules::python::os_error_at_text(
                &error,
                &path.to_string_lossy(),
            ))
        };
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .map_err(|error| failed(error, directory))?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort_unstable();
        let mut whole = Vec::new();
        let (mut first, mut newline) = (true, false);
        for name in names {
            if let Some(pattern) = &self.pattern {
                let found = pattern
                    .search(&name, 0)
                    .map_err(|error| Failure::error(error.to_string()))?;
                if found.is_none() {
                    continue;
                }
            }
            let path = directory.join(&name);
            if !path.is_file() || (self.skips_hidden && name.starts_with('.')) {
                continue;
            }
            let bytes = if self.decrypt {
                self.reader.bytes(&path)?.0
            } else {
                std::fs::read(&path).map_err(|error| failed(error, &path))?
            };
            if newline {
                whole.push(b'\n');
            }
            if !first && let Some(delimiter) = &self.delimiter {
                whole.extend(delimiter);
                if delimiter.last() != Some(&b'\n') {
                    whole.push(b'\n');
                }
            }
            newline = !bytes.ends_with(b"\n");
            whole.extend(bytes);
            first = false;
        }
        Ok(whole)
    }
}

/// What Python's `codecs.escape_decode` makes of a text.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else {
            bytes.push(b'\\');
            break;
        };
        rest = after;
        match escape {
            b'\n' => {}
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'v' => bytes.push(11),
            b'\\' | b'\'' | b'"' => bytes.push(escape),
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    match rest.first() {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            rest = &rest[1..];
                        }
                        _ => break,
                    }
                }
                bytes.push((value & 0xff) as u8);
            }
            b'x' => {
                let digits = rest
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match digits {
                    Some(value) => {
                        bytes.push(value);
                        rest = &rest[2..];
                    }
                    None => bytes.extend(b"\\x"),
                }
            }
            other => bytes.extend([b'\\', other]),
        }
    }
    bytes
}
