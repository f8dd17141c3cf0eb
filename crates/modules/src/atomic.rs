//! Files replaced as a whole: whoever reads sees the old one or the new one.
//!
//! ```ignore
//! let backup = atomic::backup(context, path)?;                       // backup_local
//! atomic::write(context, path, &bytes, Keep::of(&arguments))?;       // write beside, then take its place
//! atomic::take_place(context, &temporary, dest, Keep::of(&arguments))?; // atomic_move
//! ```

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::attributes;
use crate::context::Context;
use crate::invocation::Failure;
use crate::python;
use crate::selinux;

/// How a file takes the place of another.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Owner, group and mode of the file that was there stay.
    pub attributes: bool,
    /// Where it cannot be done as a whole, it may be written in place (`unsafe_writes`).
    pub unsafe_writes: bool,
}

impl Keep {
    /// As the arguments of a module say (`unsafe_writes`), keeping the attributes.
    pub fn of(arguments: &Arguments) -> Keep {
        Keep {
            attributes: true,
            unsafe_writes: arguments.flag("unsafe_writes"),
        }
    }
}

/// Gives a file new contents (`mkstemp`, `atomic_move`). A link at the path is replaced, not followed: give what
/// [`attributes::real_path`] says where it is to be followed. A new file has the mode 0666 without the umask.
pub fn write(
    context: &mut Context<'_>,
    dest: &str,
    contents: &[u8],
    keep: Keep,
) -> Result<(), Failure> {
    let path = context.path(dest);
    match beside(&path, contents) {
        Ok(temporary) => {
            let done = take_place(context, &temporary, dest, keep);
            if done.is_err() {
                // Gone if it has taken its place.
                let _ = std::fs::remove_file(&temporary);
            }
            done
        }
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            // Python writes elsewhere first, and finds out when it is to take its place.
            let made = context.temporary_directory()?.join("tmp");
            Err(Failure::unhandled(format!(
                "Could not replace {} with {}.",
                python::repr(dest),
                python::repr(&made.to_string_lossy())
            ))
            .because(renaming(&error, &made, dest)))
        }
        Err(error) if is_refusal(&error) && keep.unsafe_writes => in_place(&path, contents, dest),
        Err(error) if is_refusal(&error) => Err(not_writable(dest, &error)),
        Err(error) => Err(Failure::unhandled(format!(
            "Could not write data to file {}: {}",
            python::repr(dest),
            python::os_error_at(&error, &path)
        ))),
    }
}

/// Writes a file beside another, whole and on the disk: its path.
fn beside(path: &Path, contents: &[u8]) -> std::io::Result<PathBuf> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    // Names have an end; what is only there for a moment need not carry all of the name.
    let name: String = name.chars().take(40).collect();
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let temporary = path.with_file_name(format!(".ansible_tmp{}{name}", &unique[..12]));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file.write_all(contents).and_then(|()| file.sync_data());
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(temporary)
}

fn is_refusal(error: &std::io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EXDEV | libc::EACCES | libc::ETXTBSY | libc::EBUSY | libc::EROFS)
    )
}

fn not_writable(dest: &str, error: &std::io::Error) -> Failure {
    Failure::unhandled(format!(
        "The destination directory {} is not writable by the current user.",
        python::repr(python::dirname(dest))
    ))
    .because(python::os_error(error))
}

/// Lets one file take the place of another (`atomic_move`): by a rename, or where they are on different file systems by a
/// copy beside it and a rename. The file is gone from its old place.
pub fn take_place(
    context: &mut Context<'_>,
    source: &Path,
    dest: &str,
    keep: Keep,
) -> Result<(), Failure> {
    let shown = python::repr(&source.to_string_lossy());
    move_to(context, source, dest, keep, &shown)
}

/// The same, where the module in Python has the file's name in bytes: messages show it so.
pub fn take_place_by_bytes(
    context: &mut Context<'_>,
    source: &Path,
    dest: &str,
    keep: Keep,
) -> Result<(), Failure> {
    let shown = python::repr_bytes(source.to_string_lossy().as_bytes());
    move_to(context, source, dest, keep, &shown)
}

fn move_to(
    context: &mut Context<'_>,
    source: &Path,
    dest: &str,
    keep: Keep,
    shown: &str,
) -> Result<(), Failure> {
    let path = context.path(dest);
    let there = std::fs::metadata(&path).ok();
    let failed =
        |error: std::io::Error, path: &Path| Failure::unhandled(python::os_error_at(&error, path));
    let mut secontext = None;
    match &there {
        Some(there) if keep.attributes => {
            match take_after(source, there).and_then(|()| copy_extended(&path, source)) {
                Err(error) if error.raw_os_error() != Some(libc::EPERM) => {
                    return Err(failed(error, source));
                }
                _ => {}
            }
            if selinux::is_enabled() {
                secontext = Some(selinux::context_of(&path));
            }
        }
        _ => {
            if selinux::is_enabled() {
                secontext = Some(selinux::default_context(context, dest));
            }
        }
    }
    if let Err(error) = std::fs::rename(source, &path) {
        if !is_refusal(&error) {
            return Err(Failure::unhandled(format!(
                "Could not replace {} with {}.",
                python::repr(dest),
                shown
            ))
            .because(renaming(&error, source, dest)));
        }
        copy_over(source, &path, dest, there.as_ref(), keep, shown)?;
    }
    if there.is_none() {
        made_new(context, &path).map_err(|error| failed(error, &path))?;
    }
    if let Some(secontext) = secontext {
        selinux::set(context, dest, &secontext, false, None)?;
    }
    Ok(())
}

fn renaming(error: &std::io::Error, from: &Path, dest: &str) -> String {
    format!(
        "{} -> {}",
        python::os_error_at(error, from),
        python::repr_bytes(dest.as_bytes())
    )
}

/// Gives a file owner, group and mode of another; its times are those of now.
fn take_after(file: &Path, other: &std::fs::Metadata) -> std::io::Result<()> {
    let own = std::fs::metadata(file)?;
    let owned = if own.uid() == other.uid() && own.gid() == other.gid() {
        Ok(())
    } else {
        std::os::unix::fs::chown(file, Some(other.uid()), Some(other.gid()))
    };
    owned?;
    if own.mode() & 0o7777 != other.mode() & 0o7777 {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(other.mode() & 0o7777))?;
    }
    Ok(())
}

/// Gives a file the extended attributes of another, its access control list among them. What the file system does not
/// take is left out, as Python does.
fn copy_extended(from: &Path, to: &Path) -> std::io::Result<()> {
    let is_bearable = |error: &std::io::Error| {
        matches!(
            error.raw_os_error(),
            Some(libc::EPERM | libc::ENOTSUP | libc::ENODATA | libc::EINVAL | libc::EACCES)
        )
    };
    let names = match xattr::list_deref(from) {
        Ok(names) => names,
        Err(error) if is_bearable(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        // That of SELinux is set by itself.
        if name == "security.selinux" {
            continue;
        }
        let copied = xattr::get_deref(from, &name)
            .and_then(|value| value.map_or(Ok(()), |value| xattr::set_deref(to, &name, &value)));
        match copied {
            Err(error) if !is_bearable(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The mode and owner of a file that was not there before.
fn made_new(context: &Context<'_>, path: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o666 & !context.umask()),
    )?;
    let group = path
        .parent()
        .and_then(|parent| std::fs::metadata(parent).ok())
        .filter(|parent| parent.mode() & 0o2000 != 0)
        .map_or_else(|| nix::unistd::getegid().as_raw(), |parent| parent.gid());
    // Who is not root cannot give files away, and need not.
    let _ = std::os::unix::fs::chown(path, Some(nix::unistd::geteuid().as_raw()), Some(group));
    Ok(())
}

/// Where a rename is not possible: a copy beside it that takes its place; or, if it is allowed, writing in place.
fn copy_over(
    source: &Path,
    path: &Path,
    dest: &str,
    there: Option<&std::fs::Metadata>,
    keep: Keep,
    shown: &str,
) -> Result<(), Failure> {
    let contents = std::fs::read(source)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, source)))?;
    let temporary = match beside(path, &contents) {
        Ok(temporary) => temporary,
        Err(error) if is_refusal(&error) && keep.unsafe_writes => {
            in_place(path, &contents, dest)?;
            let _ = std::fs::remove_file(source);
            return Ok(());
        }
        Err(error) if is_refusal(&error) => return Err(not_writable(dest, &error)),
        Err(error) => {
            return Err(Failure::unhandled(format!(
                "Failed to replace {} with {}.",
                python::repr(dest),
                shown
            ))
            .because(python::os_error(&error)));
        }
    };
    let like = match there {
        Some(there) if keep.attributes => Some(there.clone()),
        _ => std::fs::metadata(source).ok(),
    };
    let moved = like
        .map_or(Ok(()), |like| match take_after(&temporary, &like) {
            Err(error) if error.raw_os_error() != Some(libc::EPERM) => Err(error),
            _ => Ok(()),
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = moved {
        // It has not taken its place.
        let _ = std::fs::remove_file(&temporary);
        if !(keep.unsafe_writes && is_refusal(&error)) {
            return Err(Failure::unhandled(format!(
                "Unable to make {} into to {}, failed final rename from {}.",
                shown,
                python::repr(dest),
                python::repr(&temporary.to_string_lossy())
            ))
            .because(renaming(&error, &temporary, dest)));
        }
        in_place(path, &contents, dest)?;
    }
    // It has been moved; what is left of it is only rubbish.
    let _ = std::fs::remove_file(source);
    Ok(())
}

fn in_place(path: &Path, contents: &[u8], dest: &str) -> Result<(), Failure> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_data()))
        .map_err(|error| {
            Failure::unhandled(format!(
                "Could not write data to file {}.",
                python::repr(dest)
            ))
            .because(python::os_error_at(&error, path))
        })
}

/// Makes a copy of a file beside it, named with the process and the time, with its owner, mode and times (`backup_local`):
/// its path, or nothing if there is no file. In check mode only the path is told.
pub fn backup(context: &mut Context<'_>, shown: &str) -> Result<Option<String>, Failure> {
    let path = context.path(shown);
    if !path.exists() {
        return Ok(None);
    }
    let backup = format!(
        "{shown}.{}.{}",
        std::process::id(),
        jiff::Zoned::now().strftime("%Y-%m-%d@%H:%M:%S~")
    );
    if !context.settings.check {
        preserved_copy(context, shown, &backup).map_err(|failure| {
            Failure::unhandled(format!(
                "Could not make backup of {} to {}.",
                python::repr(shown),
                python::repr(&backup)
            ))
            .because(failure.message)
        })?;
    }
    Ok(Some(backup))
}

/// Copies a file with its mode, times and extended attributes (`shutil.copy2`): the copy.
pub fn copy_with_status(from: &Path, to: &Path) -> std::io::Result<std::fs::File> {
    let mut input = std::fs::File::open(from)?;
    let meta = input.metadata()?;
    let mut output = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    std::io::copy(&mut input, &mut output)?;
    output.set_permissions(std::fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    let mut times = std::fs::FileTimes::new();
    if let Ok(time) = meta.accessed() {
        times = times.set_accessed(time);
    }
    if let Ok(time) = meta.modified() {
        times = times.set_modified(time);
    }
    output.set_times(times)?;
    copy_extended(from, to)?;
    output.sync_data()?;
    Ok(output)
}

/// Copies a file with its mode, times, owner, SELinux context and attributes (`preserved_copy`).
pub fn preserved_copy(context: &mut Context<'_>, source: &str, dest: &str) -> Result<(), Failure> {
    let (from, to) = (context.path(source), context.path(dest));
    let told = |error: std::io::Error| Failure::unhandled(python::os_error_at(&error, &to));
    let meta = std::fs::metadata(&from).map_err(told)?;
    let output = copy_with_status(&from, &to).map_err(told)?;
    if selinux::is_enabled() {
        let secontext = selinux::context_of(&from);
        selinux::set(context, dest, &secontext, false, None)?;
    }
    let made = output.metadata().map_err(told)?;
    if made.uid() != meta.uid() || made.gid() != meta.gid() {
        match std::os::unix::fs::chown(&to, Some(meta.uid()), Some(meta.gid())) {
            Err(error) if error.raw_os_error() != Some(libc::EPERM) => return Err(told(error)),
            _ => {}
        }
        // A change of owner takes the set-id bits away.
        let _ =
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(meta.mode() & 0o7777));
    }
    let flags = attributes::flags_of(context, &from, false)
        .map(|known| known.flags)
        .unwrap_or_default();
    let own = attributes::flags_of(context, &to, false)
        .map(|known| known.flags)
        .unwrap_or_default();
    // Only what differs is set: most file systems know letters that cannot be set.
    if flags != own && !flags.is_empty() {
        attributes::set_attributes(context, dest, Some(&flags), true, None)?;
    }
    Ok(())
}
