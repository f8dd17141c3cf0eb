//! `community.general.archive`: files packed into an archive, or one file compressed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Kind, Spec, boolean, list, path, text};
use crate::attributes::Wanted;
use crate::context::Context;
use crate::glob;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "archive",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("path", list(Kind::Path).required())
        .with(
            "format",
            text()
                .default("gz")
                .choices(&["bz2", "gz", "tar", "xz", "zip", "zstd"]),
        )
        .with("dest", path())
        .with("exclude_path", list(Kind::Path).default(json!([])))
        .with("exclusion_patterns", list(Kind::Path))
        .with("force_archive", boolean().default(false))
        .with("remove", boolean().default(false))
        .file_common()
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let work = Work::new(context, &arguments)?;
    let before = work.checksums(context);
    let size_before = work.size(context);
    let (found, missing): (Vec<String>, Vec<String>) = work
        .paths
        .iter()
        .cloned()
        .partition(|path| context.path(path).symlink_metadata().is_ok());
    let mut archived = Vec::new();
    let mut state = "absent";
    let mut changed = false;
    let exists = |work: &Work| context.path(&work.dest).exists();
    if found.is_empty() {
        if exists(&work) {
            state = if is_archive_name(&work.dest) {
                "archive"
            } else {
                "compress"
            };
        }
    } else if context.settings.check {
        changed = work.packs || !exists(&work);
    } else {
        let packs = work.packs || matches!(work.format.as_str(), "zip" | "tar");
        if packs {
            let targets = if work.packs {
                found.clone()
            } else {
                vec![work.paths[0].clone()]
            };
            archived = work.pack(context, &targets)?;
            state = if work.packs && !missing.is_empty() {
                "incomplete"
            } else {
                "archive"
            };
        } else {
            let source = work.paths[0].clone();
            work.compress(context, &source)?;
            archived = vec![source];
            state = "compress";
        }
        changed = match &before {
            None => size_before != work.size(context),
            Some(before) => Some(before) != work.checksums(context).as_ref(),
        };
        if arguments.flag("remove") {
            work.remove(context, &archived)?;
        }
    }
    if exists(&work) {
        changed =
            Wanted::of(context, &arguments, Some(&work.dest)).apply(context, changed, None)?;
    }
    Ok(Report::from_iter([
        ("archived".to_owned(), archived.into()),
        ("dest".to_owned(), work.dest.into()),
        ("dest_state".to_owned(), state.into()),
        ("changed".to_owned(), changed.into()),
        ("arcroot".to_owned(), work.root.into()),
        ("missing".to_owned(), missing.into()),
        ("expanded_paths".to_owned(), work.expanded.into()),
        ("expanded_exclude_paths".to_owned(), work.excluded.into()),
    ]))
}

fn is_archive_name(path: &str) -> bool {
    let name = python::basename(path).to_lowercase();
    [
        ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".tzst", ".zip",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

struct Work {
    format: String,
    dest: String,
    /// It is packed; else it is one file that is only compressed.
    packs: bool,
    patterns: Vec<String>,
    expanded: Vec<String>,
    excluded: Vec<String>,
    paths: Vec<String>,
    root: String,
}

/// Paths with their patterns resolved, and whether there were any.
fn expand(context: &Context<'_>, paths: &[String]) -> (Vec<String>, bool) {
    let mut expanded = Vec::new();
    let mut patterns = false;
    for path in paths {
        if path.contains(['*', '?']) {
            patterns = true;
            expanded.extend(
                glob::matches(&context.directory(), path)
                    .into_iter()
                    .map(|path| path.to_string_lossy().into_owned()),
            );
        } else {
            expanded.push(path.clone());
        }
    }
    (expanded, patterns)
}

/// The directory all paths are in, with a slash at its end.
fn common_root(paths: &[String]) -> String {
    let directories: Vec<String> = paths
        .iter()
        .map(|path| python::join(python::dirname(path), ""))
        .collect();
    let Some(first) = directories.first() else {
        return String::new();
    };
    let mut common = first.as_str();
    for directory in &directories {
        let length = common
            .char_indices()
            .zip(directory.chars())
            .take_while(|((_, one), other)| one == other)
            .map(|((at, character), _)| at + character.len_utf8())
            .last()
            .unwrap_or(0);
        common = &common[..length];
    }
    let directory = python::dirname(common);
    if directory.is_empty() {
        String::new()
    } else if directory.ends_with('/') {
        directory.to_owned()
    } else {
        format!("{directory}/")
    }
}

impl Work {
    fn new(context: &Context<'_>, arguments: &Arguments) -> Result<Self, Failure> {
        let given = arguments.texts("path");
        let format = arguments.required("format").to_owned();
        let (expanded, patterns) = expand(context, &given);
        let (excluded, _) = expand(context, &arguments.texts("exclude_path"));
        let paths: Vec<String> = expanded
            .iter()
            .filter(|path| !excluded.contains(path))
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let Some(first) = paths.first() else {
            return Err(Failure::new("Error, no source paths were found")
                .with("path", given.join(", "))
                .with("expanded_paths", expanded.join(", "))
                .with("expanded_exclude_paths", excluded.join(", ")));
        };
        let packs = arguments.flag("force_archive")
            || patterns
            || paths.len() > 1
            || context.path(first).is_dir();
        let dest = match arguments.filled("dest") {
            Some(dest) => dest.to_owned(),
            None if !packs => format!("{first}.{format}"),
            None => {
                return Err(Failure::new(
                    "Error, must specify \"dest\" when archiving multiple files or trees",
                )
                .with("dest", Value::Null)
                .with("path", given.join(", ")));
            }
        };
        if arguments.flag("remove") {
            for path in &paths {
                if context.path(path).is_dir() && dest.starts_with(&python::join(path, "")) {
                    return Err(Failure::new(
                        "Error, created archive can not be contained in source paths when remove=true",
                    )
                    .with("path", paths.join(", ")));
                }
            }
        }
        Ok(Work {
            root: common_root(&paths),
            format,
            dest,
            packs,
            patterns: arguments.texts("exclusion_patterns"),
            expanded,
            excluded,
            paths,
        })
    }

    fn size(&self, context: &Context<'_>) -> u64 {
        std::fs::metadata(context.path(&self.dest)).map_or(0, |meta| meta.len())
    }

    /// What is in the archive there is: names and checksums; `None` if there is none.
    fn checksums(&self, context: &Context<'_>) -> Option<BTreeSet<(String, u64)>> {
        let path = context.path(&self.dest);
        if !path.exists() {
            return None;
        }
        if self.format == "zip" {
            let file = std::fs::File::open(&path).ok()?;
            let Ok(mut archive) = zip::ZipArchive::new(file) else {
                return Some(BTreeSet::new());
            };
            let mut sums = BTreeSet::new();
            for number in 0..archive.len() {
                if let Ok(entry) = archive.by_index_raw(number)
                    && let Ok(name) = entry.name()
                {
                    sums.insert((name.into_owned(), u64::from(entry.crc32())));
                }
            }
            return Some(sums);
        }
        let tarred = self.reader(&path).ok().and_then(|reader| {
            let mut archive = tar::Archive::new(reader);
            let mut sums = BTreeSet::new();
            for entry in archive.entries().ok()? {
                let entry = entry.ok()?;
                let name = entry.path().ok()?.to_string_lossy().into_owned();
                sums.insert((name, u64::from(entry.header().cksum().ok()?)));
            }
            Some(sums)
        });
        if let Some(sums) = tarred.filter(|sums| !sums.is_empty()) {
            return Some(sums);
        }
        // One file, compressed: the checksum of what is in it.
        let mut sum = flate2::Crc::new();
        let mut chunk = vec![0; 64 * 1024];
        let Ok(mut reader) = self.reader(&path) else {
            return Some(BTreeSet::new());
        };
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => {
                    return Some(BTreeSet::from([(String::new(), u64::from(sum.sum()))]));
                }
                Ok(length) => sum.update(&chunk[..length]),
                Err(_) => return Some(BTreeSet::new()),
            }
        }
    }

    fn reader(&self, path: &Path) -> std::io::Result<Box<dyn Read>> {
        let file = std::io::BufReader::new(std::fs::File::open(path)?);
        Ok(match self.format.as_str() {
            "gz" => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            "bz2" => Box::new(bzip2::bufread::BzDecoder::new(file)),
            "xz" => Box::new(lzma_rust2::XzReader::new(file, true)),
            "zstd" => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            _ => Box::new(file),
        })
    }

    /// Has something written into the destination, compressed as it is to be: beside it first.
    fn write(
        &self,
        context: &Context<'_>,
        fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let dest = context.path(&self.dest);
        let temporary =
            dest.with_file_name(format!(".ansible_tmp{}", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = std::io::BufWriter::new(std::fs::File::create(&temporary)?);
            match self.format.as_str() {
                "gz" => {
                    let mut encoder =
                        flate2::write::GzEncoder::new(&mut file, flate2::Compression::best());
                    fill(&mut encoder)?;
                    encoder.finish()?;
                }
                "bz2" => {
                    let mut encoder =
                        bzip2::write::BzEncoder::new(&mut file, bzip2::Compression::best());
                    fill(&mut encoder)?;
                    encoder.finish()?;
                }
                "xz" => {
                    let mut encoder = lzma_rust2::XzWriter::new(
                        &mut file,
                        lzma_rust2::XzOptions::with_preset(6),
                    )?;
                    fill(&mut encoder)?;
                    encoder.finish()?;
                }
                "zstd" => {
                    let mut encoder = zstd::stream::write::Encoder::new(&mut file, 3)?;
                    fill(&mut encoder)?;
                    encoder.finish()?;
                }
                _ => fill(&mut file)?,
            }
            file.flush()?;
            let mode = std::fs::metadata(&dest)
                .map_or(0o666 & !context.umask(), |meta| meta.permissions().mode());
            file.get_ref()
                .set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
            file.get_ref().sync_data()?;
            std::fs::rename(&temporary, &dest)
        })();
        if written.is_err() {
            // Half of it is of no use.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    fn compress(&self, context: &Context<'_>, source: &str) -> Result<(), Failure> {
        std::fs::File::open(context.path(source))
            .and_then(|mut input| {
                self.write(context, |mut output| {
                    std::io::copy(&mut input, &mut output).map(|_| ())
                })
            })
            .map_err(|error| {
                Failure::new(format!(
                    "Unable to write to compressed file: {}",
                    python::os_error(&error)
                ))
                .with("path", source)
                .with("dest", self.dest.as_str())
            })
    }

    /// Packs files and trees: the paths that are in the archive.
    fn pack(&self, context: &Context<'_>, targets: &[String]) -> Result<Vec<String>, Failure> {
        let mut entries: Vec<(String, PathBuf)> = Vec::new();
        for target in targets {
            let whole = context.path(target);
            if whole.is_dir() {
                below(target, &whole, &mut entries, 0)?;
            } else {
                entries.push((target.clone(), whole));
            }
        }
        let mut archived = Vec::new();
        let named: Vec<(String, String, PathBuf)> = entries
            .into_iter()
            .filter_map(|(shown, whole)| {
                let name = shown
                    .strip_prefix(self.root.as_str())
                    .unwrap_or(&shown)
                    .to_owned();
                // Zip archives leave out by the path, all others by the name within.
                let judged = if self.format == "zip" { &shown } else { &name };
                let left_out = self
                    .patterns
                    .iter()
                    .any(|pattern| glob::fits(judged, pattern));
                (!left_out).then_some((shown, name, whole))
            })
            .collect();
        let written = if self.format == "zip" {
            self.zip(context, &named)
        } else {
            self.write(context, |output| {
                let mut builder = tar::Builder::new(output);
                builder.follow_symlinks(false);
                for (_, name, whole) in &named {
                    builder.append_path_with_name(whole, name.trim_start_matches('/'))?;
                }
                builder.finish()
            })
        };
        written.map_err(|error| {
            let kind = match self.format.as_str() {
                "zip" | "tar" => self.format.clone(),
                "zstd" => "tar.zst".to_owned(),
                other => format!("tar.{other}"),
            };
            Failure::new(format!(
                "Error when writing {kind} archive at {}: {}",
                self.dest,
                python::os_error(&error)
            ))
        })?;
        archived.extend(named.into_iter().map(|(shown, _, _)| shown));
        Ok(archived)
    }

    fn zip(
        &self,
        context: &Context<'_>,
        named: &[(String, String, PathBuf)],
    ) -> std::io::Result<()> {
        let dest = context.path(&self.dest);
        let temporary =
            dest.with_file_name(format!(".ansible_tmp{}", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut archive = zip::ZipWriter::new(std::fs::File::create(&temporary)?);
            for (_, name, whole) in named {
                let meta = std::fs::metadata(whole)?;
                let modified = meta
                    .modified()
                    .ok()
                    .and_then(|time| jiff::Timestamp::try_from(time).ok())
                    .unwrap_or_default()
                    .to_zoned(jiff::tz::TimeZone::system());
                let time = zip::DateTime::from_date_and_time(
                    u16::try_from(modified.year()).unwrap_or(1980),
                    modified.month().unsigned_abs(),
                    modified.day().unsigned_abs(),
                    modified.hour().unsigned_abs(),
                    modified.minute().unsigned_abs(),
                    modified.second().unsigned_abs(),
                )
                .unwrap_or_default();
                let options = zip::write::SimpleFileOptions::default()
                    .compression_method(zip::CompressionMethod::Deflated)
                    .unix_permissions(meta.permissions().mode())
                    .last_modified_time(time)
                    .large_file(meta.len() > u64::from(u32::MAX));
                let name = name.trim_start_matches('/');
                if meta.is_dir() {
                    archive.add_directory(name, options)?;
                } else {
                    archive.start_file(name, options)?;
                    std::io::copy(&mut std::fs::File::open(whole)?, &mut archive)?;
                }
            }
            let file = archive.finish()?;
            let mode = std::fs::metadata(&dest)
                .map_or(0o666 & !context.umask(), |meta| meta.permissions().mode());
            file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
            file.sync_data()?;
            std::fs::rename(&temporary, &dest)
        })();
        if written.is_err() {
            // Half of it is of no use.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Removes what was archived.
    fn remove(&self, context: &Context<'_>, archived: &[String]) -> Result<(), Failure> {
        let packed = self.packs;
        let mut failed = Vec::new();
        for shown in archived.iter().chain(&self.paths) {
            let path = context.path(shown);
            let gone = if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(&path)
            } else if archived.contains(shown) && path.symlink_metadata().is_ok() {
                std::fs::remove_file(&path)
            } else {
                Ok(())
            };
            if let Err(error) = gone {
                if !packed {
                    return Err(Failure::new(format!(
                        "Unable to remove source file: {}",
                        python::os_error_at(&error, &path)
                    ))
                    .with("path", shown.as_str()));
                }
                failed.push(shown.clone());
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::new("Error deleting some source files: ")
                .with("dest", self.dest.as_str())
                .with("files", failed))
        }
    }
}

/// All that is below a directory, directories before what is in them.
fn below(
    shown: &str,
    directory: &Path,
    entries: &mut Vec<(String, PathBuf)>,
    depth: usize,
) -> Result<(), Failure> {
    if depth > 200 {
        return Err(Failure::unhandled(format!(
            "Too many levels of directories below {shown}"
        )));
    }
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    for name in glob::names_in(directory) {
        let path = directory.join(&name);
        let shown = python::join(shown, &name.to_string_lossy());
        if path.is_dir() {
            directories.push((shown, path));
        } else {
            files.push((shown, path));
        }
    }
    entries.extend(directories.iter().cloned());
    entries.extend(files);
    for (shown, path) in directories {
        if !path.is_symlink() {
            below(&shown, &path, entries, depth + 1)?;
        }
    }
    Ok(())
}
