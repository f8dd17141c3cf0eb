//! Which files a program needs to start elsewhere: itself, its loader and its shared libraries.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What a program's dynamic section asks for (System V ABI, "Dynamic Linking"). A static program
/// has neither loader nor libraries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// `PT_INTERP`: the loader's path.
    pub(crate) loader: Option<PathBuf>,
    /// `DT_NEEDED`: names of libraries.
    libraries: Vec<OsString>,
    /// `DT_RUNPATH`, or the older `DT_RPATH`: where to look for them first.
    search: Vec<PathBuf>,
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The largest table or string that is read of a file.
const PART: u64 = 16 << 20;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Needs {
    /// Reads a 64-bit little-endian ELF file, which is what this project runs on.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let part = |offset: u64, size: u64| {
            if size > PART {
                return Err(invalid("a part of the ELF file is too large"));
            }
            let mut bytes = vec![0; size as usize];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        let header = part(0, 64)?;
        if header[..6] != *b"\x7fELF\x02\x01" {
            return Err(invalid("it is not a 64-bit little-endian ELF file"));
        }
        let (table, entry, count) = (
            u64_at(&header, 32),
            u16_at(&header, 54),
            u16_at(&header, 56),
        );
        if entry < 56 {
            return Err(invalid("its program header entries are too small"));
        }
        let table = part(table, u64::from(entry) * u64::from(count))?;
        let segments: Vec<Segment> = table
            .chunks_exact(usize::from(entry))
            .map(|entry| Segment {
                kind: u32_at(entry, 0),
                offset: u64_at(entry, 8),
                address: u64_at(entry, 16),
                size: u64_at(entry, 32),
            })
            .collect();
        let mut needs = Self::default();
        let of_kind = |kind| segments.iter().find(move |segment| segment.kind == kind);
        if let Some(segment) = of_kind(PT_INTERP) {
            let bytes = part(segment.offset, segment.size)?;
            let path = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            needs.loader = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        let Some(segment) = of_kind(PT_DYNAMIC) else {
            return Ok(needs);
        };
        let dynamic = part(segment.offset, segment.size)?;
        let entries: Vec<(u64, u64)> = dynamic
            .chunks_exact(16)
            .map(|entry| (u64_at(entry, 0), u64_at(entry, 8)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let value = |wanted| {
            let mut found = entries.iter().filter(move |(tag, _)| *tag == wanted);
            found.next().map(|(_, value)| *value)
        };
        let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
            return Ok(needs);
        };
        // The table is named by its address in memory; the segment that loads it tells where it
        // is in the file.
        let loads = |segment: &&Segment| {
            segment.kind == PT_LOAD
                && (segment.address..segment.address.saturating_add(segment.size))
                    .contains(&address)
        };
        let segment = segments
            .iter()
            .find(loads)
            .ok_or_else(|| invalid("its string table is not in the file"))?;
        let strings = part(address - segment.address + segment.offset, size)?;
        let text = |at: u64| {
            let at = usize::try_from(at).ok().filter(|at| *at < strings.len());
            let bytes = at.map(|at| &strings[at..]);
            let bytes = bytes.ok_or_else(|| invalid("a name is outside of its string table"))?;
            let end = bytes
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(bytes.len());
            Ok::<_, io::Error>(OsStr::from_bytes(&bytes[..end]).to_owned())
        };
        for (tag, at) in &entries {
            if *tag == DT_NEEDED {
                needs.libraries.push(text(*at)?);
            }
        }
        if let Some(at) = value(DT_RUNPATH).or_else(|| value(DT_RPATH)) {
            let origin = path.parent().unwrap_or(Path::new("/"));
            let search = text(at)?;
            needs.search = search
                .as_bytes()
                .split(|byte| *byte == b':')
                .filter(|dir| !dir.is_empty())
                .map(|dir| at_origin(OsStr::from_bytes(dir), origin))
                .collect();
        }
        Ok(needs)
    }
}

/// Replaces `$ORIGIN` at the start of a search directory.
fn at_origin(dir: &OsStr, origin: &Path) -> PathBuf {
    let bytes = dir.as_bytes();
    let rest = bytes
        .strip_prefix(b"$ORIGIN")
        .or_else(|| bytes.strip_prefix(b"${ORIGIN}"));
    match rest {
        Some(rest) => {
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            origin.join(OsStr::from_bytes(rest))
        }
        None => PathBuf::from(dir),
    }
}

/// The libraries that the program at `path` needs, directly or through others, by the name they
/// are asked for: names and files. What the running process has mapped is the loader's own answer
/// and comes first; what it does not tell is looked for where loaders look.
pub(crate) fn libraries(program: &Path) -> io::Result<BTreeMap<OsString, PathBuf>> {
    let mapped = mapped_files()?;
    let needs = Needs::of(program)?;
    let loader = needs
        .loader
        .as_deref()
        .and_then(Path::file_name)
        .map(OsStr::to_owned);
    let mut found = BTreeMap::new();
    let mut queue: VecDeque<_> = VecDeque::from([needs]);
    while let Some(needs) = queue.pop_front() {
        for name in &needs.libraries {
            // The loader is its own entry, at its own place.
            if found.contains_key(name) || Some(name) == loader.as_ref() {
                continue;
            }
            let path = match mapped.get(name) {
                Some(path) => path.clone(),
                None => find(name, &needs.search).ok_or_else(|| {
                    let reason = format!("cannot find the library {}", name.display());
                    io::Error::new(io::ErrorKind::NotFound, reason)
                })?,
            };
            queue.push_back(Needs::of(&path)?);
            found.insert(name.clone(), path);
        }
    }
    Ok(found)
}

/// The files mapped into this process, by their last name.
fn mapped_files() -> io::Result<BTreeMap<OsString, PathBuf>> {
    let maps = std::fs::read("/proc/self/maps")?;
    let lines = maps.split(|byte| *byte == b'\n');
    let paths = lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'/')?;
        Some(PathBuf::from(OsStr::from_bytes(&line[at..])))
    });
    // A library that was replaced on disk is shown as deleted and has no such file.
    Ok(paths
        .filter_map(|path| Some((path.file_name()?.to_owned(), path)))
        .filter(|(_, path)| path.is_file())
        .collect())
}

fn find(name: &OsStr, search: &[PathBuf]) -> Option<PathBuf> {
    let triple = match std::env::consts::ARCH {
        "aarch64" => "aarch64-linux-gnu",
        _ => "x86_64-linux-gnu",
    };
    let usual = ["/lib", "/usr/lib", "/usr/local/lib"];
    let of_debian = usual.iter().map(|dir| Path::new(dir).join(triple));
    let of_others = ["/lib64", "/usr/lib64"].map(PathBuf::from);
    search
        .iter()
        .cloned()
        .chain(of_debian)
        .chain(of_others)
        .chain(usual.map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The system's own tool prints what its loader would do.
    #[test]
    fn libraries_are_those_that_ldd_lists() {
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new("ldd")
            .arg(&program)
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let mut expected: Vec<OsString> = listed
            .lines()
            .filter_map(|line| line.split_once(" => "))
            .map(|(name, _)| name.trim().into())
            .collect();
        expected.sort();
        let found: Vec<_> = libraries(&program).unwrap().into_keys().collect();
        assert_eq!(found, expected);
        let loader = Needs::of(&program).unwrap().loader.unwrap();
        assert!(listed.contains(&*loader.to_string_lossy()));
    }

    #[test]
    fn a_static_program_needs_nothing() {
        let busybox = Path::new("/bin/busybox");
        let dir = tempfile::tempdir().unwrap();
        // The smallest static program: a header without program headers.
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[54] = 56;
        let path = dir.path().join("static");
        std::fs::write(&path, header).unwrap();
        assert_eq!(Needs::of(&path).unwrap(), Needs::default());
        if busybox.exists() {
            let needs = Needs::of(busybox).unwrap();
            assert_eq!(needs.loader.is_some(), !needs.libraries.is_empty());
        }
        std::fs::write(&path, b"#!/bin/sh\n").unwrap();
        assert!(Needs::of(&path).is_err());
    }

    #[test]
    fn the_origin_of_a_search_path_is_the_programs_directory() {
        let origin = Path::new("/opt/x/bin");
        let at = |dir: &str| at_origin(OsStr::new(dir), origin);
        assert_eq!(at("$ORIGIN/../lib"), Path::new("/opt/x/bin/../lib"));
        assert_eq!(at("/usr/lib/y"), Path::new("/usr/lib/y"));
    }
}
