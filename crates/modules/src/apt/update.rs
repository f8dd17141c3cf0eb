//! Bringing apt's lists of packages up to date, with patience where it does not go at once.

use std::time::{Duration, Instant};

use super::complaints;
use crate::arguments::Arguments;
use crate::context::Context;
use crate::invocation::Failure;
use crate::process::{Command, Finished};
use crate::times;

const STAMP: &str = "/var/lib/apt/periodic/update-success-stamp";
/// What apt says last when it cannot make sense of the files of sources.
pub(crate) const UNREADABLE: &str = "The list of sources could not be read.";
/// Where apt keeps its lists.
pub(crate) const LISTS: &str = "/var/lib/apt/lists";

/// When the lists were updated last, in seconds; 0 if they never were.
pub(crate) fn last(context: &Context<'_>) -> f64 {
    [STAMP, LISTS]
        .iter()
        .find_map(|path| std::fs::metadata(context.path(path)).ok())
        .map_or(0.0, |meta| times::modified(&meta))
}

/// Waits, unless the run is ended from outside.
pub(crate) fn pause(context: &Context<'_>, seconds: f64) {
    let end = Instant::now() + Duration::from_secs_f64(seconds.max(0.0));
    while let Some(left) = end.checked_duration_since(Instant::now())
        && !left.is_zero()
        && !context
            .cancel
            .as_ref()
            .is_some_and(crate::process::Cancel::is_cancelled)
    {
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// Why the lists could not be updated.
pub(crate) enum Trouble {
    /// Somebody else holds them.
    Locked(String),
    /// They could not be fetched.
    Fetch(String),
    /// The files of sources cannot be read.
    Unreadable(String),
    /// apt could not be run at all.
    Failed(Failure),
}

/// Updates them, once.
pub(crate) fn once(
    context: &Context<'_>,
    get: &str,
    prepare: impl Fn(Command) -> Command,
) -> Result<(), Trouble> {
    let command = Command::new([get, "-o", "quiet=0", "update"]).literal();
    let done: Finished = prepare(command).run(context).map_err(Trouble::Failed)?;
    let said = complaints(&done.err());
    if done.success() {
        // A server that is not there is only warned of: it may be again the next time.
        return if said.contains("W:Some index files failed to download.") {
            Err(Trouble::Fetch(String::new()))
        } else {
            Ok(())
        };
    }
    if said.contains(UNREADABLE) {
        return Err(Trouble::Unreadable(said));
    }
    if said.contains("lists/lock") {
        return Err(Trouble::Locked(format!(
            "Failed to lock directory {LISTS}/: {said}"
        )));
    }
    Err(Trouble::Fetch(said))
}

/// What is said of a try that failed: how many there were, and why.
pub(crate) type Told = fn(u64, &str) -> String;

/// Updates them, with `update_cache_retries` tries and growing pauses of at most `update_cache_retry_max_delay` seconds.
/// The inner failure is the message after the last of them.
pub(crate) fn patiently(
    context: &mut Context<'_>,
    arguments: &Arguments,
    get: &str,
    prepare: impl Fn(Command) -> Command,
    (failed, sleeping): (Told, &str),
) -> Result<Result<(), String>, Trouble> {
    let tries = arguments
        .integer("update_cache_retries")
        .unwrap_or(5)
        .max(0);
    let most = arguments
        .integer("update_cache_retry_max_delay")
        .unwrap_or(12) as f64;
    let chance = f64::from(rand::random::<u16>() % 1000) / 1000.0;
    let mut last = None;
    for number in 0..tries.unsigned_abs() {
        if context.settings.check {
            return Ok(Ok(()));
        }
        match once(context, get, &prepare) {
            Ok(()) => return Ok(Ok(())),
            Err(Trouble::Fetch(said)) => {
                context.warn(failed(number + 1, &said));
                last = Some(said);
            }
            Err(other) => return Err(other),
        }
        let mut delay = 2_f64.powi(number.min(60) as i32) + chance;
        if delay > most {
            delay = most + chance;
        }
        pause(context, delay);
        context.warn(format!(
            "Sleeping for {} seconds, before attempting to {sleeping} the cache again",
            delay.round_ties_even()
        ));
    }
    Ok(Err(format!(
        "Failed to update apt cache after {tries} retries: {}",
        last.as_deref().unwrap_or("unknown reason")
    )))
}
