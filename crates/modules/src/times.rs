//! Times of files as Python tells them: seconds as floating numbers.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::tz::TimeZone;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::context::Context;

/// `st_mtime`.
pub(crate) fn modified(meta: &Metadata) -> f64 {
    meta.mtime() as f64 + 1e-9 * meta.mtime_nsec() as f64
}

/// `st_atime`.
pub(crate) fn accessed(meta: &Metadata) -> f64 {
    meta.atime() as f64 + 1e-9 * meta.atime_nsec() as f64
}

/// `st_ctime`.
pub(crate) fn changed(meta: &Metadata) -> f64 {
    meta.ctime() as f64 + 1e-9 * meta.ctime_nsec() as f64
}

/// `time.time()`.
pub(crate) fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |passed| passed.as_secs_f64())
}

/// Sets the times of a file, a link followed; `None` sets both to now, which needs no ownership.
pub(crate) fn set(path: &Path, times: Option<(f64, f64)>) -> std::io::Result<()> {
    let of = |seconds: f64| {
        let whole = seconds.floor();
        TimeSpec::new(whole as i64, ((seconds - whole) * 1e9) as i64)
    };
    let (accessed, modified) = match times {
        Some((accessed, modified)) => (of(accessed), of(modified)),
        None => (TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW),
    };
    utimensat(
        AT_FDCWD,
        path,
        &accessed,
        &modified,
        UtimensatFlags::FollowSymlink,
    )
    .map_err(std::io::Error::from)
}

/// The time zone of a call: `TZ` of its environment, or that of the machine.
pub(crate) fn zone(context: &Context<'_>) -> TimeZone {
    let Some(name) = context.variable("TZ").filter(|name| !name.is_empty()) else {
        return TimeZone::system();
    };
    let name = name.trim_start_matches(':');
    TimeZone::get(name)
        .or_else(|_| TimeZone::posix(name))
        .unwrap_or(TimeZone::UTC)
}
