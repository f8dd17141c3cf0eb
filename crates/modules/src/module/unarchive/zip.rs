//! Archives that `unzip` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use super::owners::Owners;
use super::{Archive, Comparison, Handler, Means};
use crate::attributes::resolve_mode;
use crate::context::Context;
use crate::glob;
use crate::invocation::Failure;
use crate::process::{self, Command};
use crate::python;
use crate::times;

impl Archive<'_> {
    pub(super) fn try_zip(
        &self,
        context: &Context<'_>,
        name: &'static str,
        lister: &str,
    ) -> Result<Result<Handler, String>, Failure> {
        let programs =
            ["unzip", lister].map(|program| (program, process::find(context, program, &[])));
        let missing: Vec<&str> = programs
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(program, _)| *program)
            .collect();
        let [(_, Some(program)), (_, Some(lister))] = programs else {
            return Ok(Err(format!(
                "Unable to find required '{}' binary in the path.",
                missing.join("' or '")
            )));
        };
        let done = Command::new([program.as_str(), "-l", self.src]).run(context)?;
        if !done.success() {
            return Ok(Err(format!(
                "Command \"{program}\" could not handle archive: {}",
                done.err()
            )));
        }
        let mut info = vec![lister.clone()];
        if name == "ZipZArchive" {
            info.push("-Zl".to_owned());
            let done = Command::new(info.clone()).run(context)?;
            if !done.out().to_lowercase().contains("zipinfo") {
                return Ok(Err(format!(
                    "Command \"unzip -Z\" could not handle archive: {}",
                    done.err()
                )));
            }
        }
        let (includes, excludes) = (
            self.arguments.texts("include"),
            self.arguments.texts("exclude"),
        );
        let files = sums(self.src)?
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| {
                if includes.is_empty() {
                    !excludes.iter().any(|exclude| glob::fits(name, exclude))
                } else {
                    includes.iter().any(|include| glob::fits(name, include))
                }
            })
            .collect();
        Ok(Ok(Handler {
            name,
            kind: Means::Zip { program, info },
            files,
        }))
    }

    pub(super) fn zip_command(&self, program: &str, excludes: &[String]) -> Vec<String> {
        let mut command = vec![program.to_owned(), "-o".to_owned()];
        command.extend(self.arguments.texts("extra_opts"));
        command.push(self.src.to_owned());
        if !excludes.is_empty() {
            command.push("-x".to_owned());
            command.extend(excludes.iter().cloned());
        }
        command.extend(self.arguments.texts("include"));
        command.extend(["-d".to_owned(), self.dest.to_owned()]);
        command
    }

    /// Whether all of a zip archive is there already, entry by entry, as `zipinfo` lists them.
    pub(super) fn compare_zip(
        &self,
        context: &Context<'_>,
        _program: &str,
        info: &[String],
    ) -> Result<Comparison, Failure> {
        let mut excludes = self.arguments.texts("exclude");
        let mut command = info.to_vec();
        command.extend(["-T", "-s", self.src].map(str::to_owned));
        if !excludes.is_empty() {
            command.push("-x".to_owned());
            command.extend(excludes.iter().cloned());
        }
        command.extend(self.arguments.texts("include"));
        let done = Command::new(command).run(context)?;
        let mut unarchived = done.success();
        let mut includes: BTreeSet<String> = BTreeSet::new();
        let mut diff = String::new();
        let checksums: BTreeMap<String, u32> = sums(self.src)?.into_iter().collect();
        let owners = Owners::of(self.wanted);
        let zone = times::zone(context);
        for line in done.out().lines() {
            let Some(entry) = Entry::read(line, &zone)? else {
                continue;
            };
            if excludes.contains(&entry.path) {
                continue;
            }
            let place = python::join(self.dest, &entry.path);
            let kind = entry.kind();
            let Ok(meta) = std::fs::symlink_metadata(&place) else {
                diff.push_str(&format!(">{kind}++++++.?? {}\n", entry.path));
                includes.insert(entry.path);
                continue;
            };
            let is_kind = match kind {
                'd' => meta.is_dir(),
                'L' => meta.file_type().is_symlink(),
                _ => meta.is_file(),
            };
            if !is_kind {
                diff.push_str(&format!("c{kind}++++++.?? {}\n", entry.path));
                if kind == 'f' {
                    unarchived = false;
                }
                includes.insert(entry.path);
                continue;
            }
            let mut marks: Vec<char> = format!(".{kind}.......??").chars().collect();
            if meta.is_file() {
                let there = times::modified(&meta);
                if self.arguments.flag("keep_newer") {
                    if entry.time > there {
                        marks[4] = 't';
                    } else if entry.time < there {
                        excludes.push(entry.path);
                        continue;
                    }
                } else if (entry.time - there).abs() > f64::EPSILON {
                    marks[4] = 't';
                }
                if entry.size != meta.len() {
                    marks[3] = 's';
                }
                let sum = checksum(Path::new(&place))?;
                if checksums.get(&entry.path) != Some(&sum) {
                    marks[2] = 'c';
                }
            }
            if kind != 'L' {
                let mode = self.mode_of(context, &entry, &meta)?;
                if mode != meta.mode() & 0o7777 {
                    marks[5] = 'p';
                }
            }
            owners.compare(&entry.path, &meta, &mut marks)?;
            if marks[2..7].iter().any(|mark| *mark != '.') {
                let marks: String = marks.into_iter().collect();
                diff.push_str(&format!("{marks} {}\n", entry.path));
                includes.insert(entry.path);
            }
        }
        if !includes.is_empty() {
            unarchived = false;
        }
        Ok(Comparison {
            unarchived,
            diff,
            excludes,
        })
    }

    fn mode_of(
        &self,
        context: &Context<'_>,
        entry: &Entry,
        meta: &std::fs::Metadata,
    ) -> Result<u32, Failure> {
        let given = match &self.wanted.mode {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        if given {
            return resolve_mode(context, meta.mode(), meta.is_dir(), &self.wanted.mode)
                .map_err(|reason| Failure::new(reason).with("path", entry.path.as_str()));
        }
        let umask = if entry.is_dos && !entry.is_special {
            context.umask()
        } else {
            0
        };
        Ok(entry.mode & !umask)
    }
}

/// A line of `zipinfo`.
struct Entry {
    path: String,
    /// `d`, `l`, `-` or `?`.
    letter: char,
    mode: u32,
    /// Its permissions are those of DOS, to which the umask applies.
    is_dos: bool,
    is_special: bool,
    size: u64,
    time: f64,
}

impl Entry {
    fn kind(&self) -> char {
        if self.path.ends_with('/') {
            'd'
        } else if self.letter == 'l' {
            'L'
        } else {
            'f'
        }
    }

    /// Reads a line; `None` for one that is of no entry.
    fn read(line: &str, zone: &jiff::tz::TimeZone) -> Result<Option<Entry>, Failure> {
        let mut fields = Vec::with_capacity(8);
        let mut rest = line.trim_start();
        while fields.len() < 7 {
            let Some(end) = rest.find(char::is_whitespace) else {
                return Ok(None);
            };
            fields.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let written = fields[0];
        let (Some(letter), permissions) = (written.chars().next(), written.get(1..).unwrap_or(""))
        else {
            return Ok(None);
        };
        if !matches!(written.len(), 7 | 8 | 10)
            || fields[6].len() != 15
            || !"dl-?".contains(letter)
            || !permissions.chars().all(|c| "rwxstah-".contains(c))
        {
            return Ok(None);
        }
        let is_dos = permissions.len() != 9;
        let permissions = match permissions.len() {
            6 if rest.ends_with('/') || permissions == "rwx---" => "rwxrwxrwx",
            7 if permissions == "rwxa---" => "rwxrwxrwx",
            6 | 7 => "rw-rw-rw-",
            _ => permissions,
        };
        let sound = permissions.len() == 9
            && permissions.as_bytes().chunks(3).all(|three| {
                matches!(three[0], b'r' | b'-')
                    && matches!(three[1], b'w' | b'-')
                    && matches!(three[2], b'S' | b's' | b'T' | b't' | b'x' | b'-')
            });
        if !sound {
            return Err(Failure::unhandled(format!(
                "ZIP info perm format incorrect, {permissions}"
            )));
        }
        let mode = permissions
            .chars()
            .rev()
            .enumerate()
            .fold(0, |mode, (bit, c)| {
                if matches!(c, 'r' | 'w' | 'x' | 's' | 't') {
                    mode | (1 << bit)
                } else {
                    mode
                }
            });
        Ok(Some(Entry {
            path: rest.to_owned(),
            letter,
            mode,
            is_dos,
            is_special: letter == '?',
            size: fields[3].parse().unwrap_or(0),
            time: time_of(fields[6], zone),
        }))
    }
}

/// The local time `20240131.235959` means, in seconds.
fn time_of(text: &str, zone: &jiff::tz::TimeZone) -> f64 {
    let number =
        |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i16>().ok());
    let parts =
        [(0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)].map(|(from, to)| number(from, to));
    let epoch = jiff::civil::date(1980, 1, 1).at(0, 0, 0, 0);
    let time = match parts {
        [
            Some(year),
            Some(month),
            Some(day),
            Some(hour),
            Some(minute),
            Some(second),
        ] if (1980..=2107).contains(&year) => jiff::civil::DateTime::new(
            year,
            month as i8,
            day as i8,
            hour as i8,
            minute as i8,
            second as i8,
            0,
        )
        .unwrap_or(epoch),
        [Some(year), ..] if year > 2107 => jiff::civil::date(2107, 12, 31).at(23, 59, 59, 0),
        _ => epoch,
    };
    time.to_zoned(zone.clone())
        .map_or(0.0, |zoned| zoned.timestamp().as_second() as f64)
}

/// The names in a zip archive with their checksums, in their order.
fn sums(src: &str) -> Result<Vec<(String, u32)>, Failure> {
    let failed = |reason: String| {
        Failure::unhandled(format!("Unable to list files in the archive: {reason}"))
    };
    let file = std::fs::File::open(src).map_err(|error| failed(error.to_string()))?;
    let mut archive = ::zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|error| failed(error.to_string()))?;
    let mut sums = Vec::with_capacity(archive.len());
    for number in 0..archive.len() {
        let entry = archive
            .by_index_raw(number)
            .map_err(|error| failed(error.to_string()))?;
        let name = entry.name().map_err(|error| failed(error.to_string()))?;
        sums.push((name.into_owned(), entry.crc32()));
    }
    Ok(sums)
}

/// The CRC-32 of a file.
fn checksum(path: &Path) -> Result<u32, Failure> {
    use std::io::Read as _;
    let told = |error: std::io::Error| Failure::unhandled(python::os_error_at(&error, path));
    let mut file = std::fs::File::open(path).map_err(told)?;
    let mut sum = flate2::Crc::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut chunk).map_err(told)?;
        if length == 0 {
            return Ok(sum.sum());
        }
        sum.update(&chunk[..length]);
    }
}
