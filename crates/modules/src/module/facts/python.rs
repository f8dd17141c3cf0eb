//! The Python interpreter modules would run in. Nothing here needs one; playbooks ask what it is.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Facts, Gathering};
use crate::python as texts;

/// What there is to know of an interpreter.
pub(crate) struct Interpreter {
    executable: String,
    major: u32,
    minor: u32,
    micro: u32,
    level: String,
    serial: u32,
    implementation: String,
    has_ssl: bool,
}

impl Interpreter {
    /// Its version as `platform.python_version()` gives it.
    pub(super) fn version(&self) -> String {
        let mut text = format!("{}.{}.{}", self.major, self.minor, self.micro);
        let mark = match self.level.as_str() {
            "alpha" => "a",
            "beta" => "b",
            "candidate" => "rc",
            _ => return text,
        };
        text.push_str(&format!("{mark}{}", self.serial));
        text
    }
}

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if let Some(found) = interpreter(gathering) {
        facts.insert(
            "python".to_owned(),
            json!({
                "version": {
                    "major": found.major,
                    "minor": found.minor,
                    "micro": found.micro,
                    "releaselevel": found.level,
                    "serial": found.serial,
                },
                "version_info": [found.major, found.minor, found.micro, found.level, found.serial],
                "executable": found.executable,
                "has_sslcontext": found.has_ssl,
                "type": found.implementation,
            }),
        );
    }
    facts
}

/// The interpreter the call was told of, or the first of the usual ones that is there.
pub(super) fn interpreter(gathering: &Gathering<'_, '_>) -> Option<Arc<Interpreter>> {
    gathering
        .python
        .get_or_init(|| {
            let told = &gathering.context.settings.python;
            let path = if told.is_empty() {
                (8..=14)
                    .rev()
                    .map(|minor| format!("python3.{minor}"))
                    .chain(["/usr/bin/python3".to_owned(), "python3".to_owned()])
                    .find_map(|name| executable(gathering, &name))
            } else {
                executable(gathering, told)
            }?;
            look_into(gathering, &path)
                .or_else(|| ask(gathering, &path))
                .map(Arc::new)
        })
        .clone()
}

fn executable(gathering: &Gathering<'_, '_>, name: &str) -> Option<String> {
    if name.starts_with('/') {
        return gathering.exists(name).then(|| name.to_owned());
    }
    gathering.program(name)
}

/// What the interpreter's file tells: since 3.11 the version stands in it as the number `Py_Version`, in the program or in
/// the library it is linked with. Starting it costs more than all other facts together.
fn look_into(gathering: &Gathering<'_, '_>, path: &str) -> Option<Interpreter> {
    let real = gathering.path(path).canonicalize().ok()?;
    let mut files = vec![real.clone()];
    let file = File::open(&real).ok()?;
    let symbols = Symbols::of(&file)?;
    if let Some(library) = symbols.needed_library() {
        let above = real.parent()?.parent()?;
        let mut places: Vec<PathBuf> = ["lib64", "lib"]
            .iter()
            .map(|name| above.join(name))
            .collect();
        if let Ok(entries) = std::fs::read_dir(above.join("lib")) {
            places.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| path.to_string_lossy().ends_with("-gnu")),
            );
        }
        for place in ["/usr/lib64", "/usr/lib", "/lib64", "/lib"] {
            places.push(gathering.path(place));
        }
        files.extend(places.iter().map(|place| place.join(&library)));
    }
    let number = files.iter().find_map(|path| {
        let file = File::open(path).ok()?;
        Symbols::of(&file)?.number(&file, "Py_Version")
    })?;
    let level = match (number >> 4) & 0xf {
        0xa => "alpha",
        0xb => "beta",
        0xc => "candidate",
        _ => "final",
    };
    let (major, minor) = ((number >> 24) as u32 & 0xff, (number >> 16) as u32 & 0xff);
    Some(Interpreter {
        executable: path.to_owned(),
        major,
        minor,
        micro: (number >> 8) as u32 & 0xff,
        level: level.to_owned(),
        serial: number as u32 & 0xf,
        implementation: "cpython".to_owned(),
        has_ssl: has_ssl(&real, &format!("python{major}.{minor}")),
    })
}

/// Whether the interpreter has its module `ssl` and what it is made of.
fn has_ssl(real: &Path, name: &str) -> bool {
    let Some(prefix) = real.parent().and_then(Path::parent) else {
        return false;
    };
    ["lib", "lib64"].iter().any(|lib| {
        let library = prefix.join(lib).join(name);
        library.join("ssl.py").exists()
            && std::fs::read_dir(library.join("lib-dynload")).is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|entry| entry.file_name().to_string_lossy().starts_with("_ssl."))
            })
    })
}

const QUESTION: &str = "import sys, json
try:
    from ssl import create_default_context, SSLContext
    ssl = True
except ImportError:
    ssl = False
print(json.dumps([sys.executable, list(sys.version_info), sys.implementation.name, ssl]))";

/// What the interpreter itself tells.
fn ask(gathering: &Gathering<'_, '_>, path: &str) -> Option<Interpreter> {
    let said = gathering.output(&[path, "-c", QUESTION])?;
    let told: Value = serde_json::from_str(said.trim()).ok()?;
    let number = |at: usize| told[1][at].as_u64().and_then(|n| u32::try_from(n).ok());
    Some(Interpreter {
        executable: texts::str_value(&told[0]).into_owned(),
        major: number(0)?,
        minor: number(1)?,
        micro: number(2)?,
        level: texts::str_value(&told[1][3]).into_owned(),
        serial: number(4)?,
        implementation: texts::str_value(&told[2]).into_owned(),
        has_ssl: told[3] == true,
    })
}

/// The dynamic symbols of an ELF file of 64 bits in little-endian order.
struct Symbols {
    entries: Vec<u8>,
    names: Vec<u8>,
    /// The sections with contents: where they are in memory and in the file, and how long.
    placed: Vec<(u64, u64, u64)>,
}

/// What is read of a file's tables at most.
const MOST: u64 = 16 << 20;

impl Symbols {
    fn of(file: &File) -> Option<Self> {
        let read = |at: u64, length: u64| -> Option<Vec<u8>> {
            if length > MOST {
                return None;
            }
            let mut bytes = vec![0; usize::try_from(length).ok()?];
            file.read_exact_at(&mut bytes, at).ok()?;
            Some(bytes)
        };
        let head = read(0, 64)?;
        if &head[..6] != b"\x7fELF\x02\x01" {
            return None;
        }
        let size = u64::from(u16_at(&head, 58)?);
        if size != 64 {
            return None;
        }
        let sections = read(u64_at(&head, 40)?, size * u64::from(u16_at(&head, 60)?))?;
        let section = |number: usize| sections.get(number * 64..(number + 1) * 64);
        let mut placed = Vec::new();
        let mut dynamic = None;
        for each in sections.chunks_exact(64) {
            let kind = u32_at(each, 4)?;
            // Sections without contents in the file hold nothing that can be read.
            if kind != 8 {
                placed.push((u64_at(each, 16)?, u64_at(each, 24)?, u64_at(each, 32)?));
            }
            if kind == 11 {
                dynamic = Some(each);
            }
        }
        let dynamic = dynamic?;
        let names = section(u32_at(dynamic, 40)? as usize)?;
        Some(Symbols {
            entries: read(u64_at(dynamic, 24)?, u64_at(dynamic, 32)?)?,
            names: read(u64_at(names, 24)?, u64_at(names, 32)?)?,
            placed,
        })
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        let rest = self.names.get(at..)?;
        rest.split(|byte| *byte == 0).next()
    }

    /// The Python library the program is linked with.
    fn needed_library(&self) -> Option<String> {
        self.names
            .split(|byte| *byte == 0)
            .find(|name| name.starts_with(b"libpython"))
            .map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The number of eight bytes that has a name.
    fn number(&self, file: &File, wanted: &str) -> Option<u64> {
        let symbol = self.entries.chunks_exact(24).find(|symbol| {
            u32_at(symbol, 0).and_then(|at| self.name(at as usize)) == Some(wanted.as_bytes())
        })?;
        let address = u64_at(symbol, 8)?;
        let (start, offset, _) = self.placed.iter().find(|(start, _, length)| {
            *start > 0 && address >= *start && address < start.saturating_add(*length)
        })?;
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset.checked_add(address - start)?)
            .ok()?;
        Some(u64::from_le_bytes(bytes)).filter(|number| *number != 0)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
