//! Signals by name, as images and pods write them.

use crate::error::Error;

/// `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3`; empty is `SIGTERM`.
pub(crate) fn parse(text: &str) -> Result<i32, Error> {
    let unknown = || Error::Invalid(format!("unknown signal {text:?}"));
    if text.is_empty() {
        return Ok(libc::SIGTERM);
    }
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // 34 and 64 are what C libraries give to programs.
    let offset = |rest: &str| {
        if rest.is_empty() {
            Some(0)
        } else {
            rest.parse::<i32>().ok()
        }
    };
    let real_time = name
        .strip_prefix("RTMIN")
        .and_then(|rest| offset(rest).map(|offset| 34 + offset))
        .or_else(|| {
            name.strip_prefix("RTMAX")
                .and_then(|rest| offset(rest).map(|offset| 64 + offset))
        });
    if let Some(number) = real_time {
        return if (34..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_all_their_names() {
        let found: Vec<_> = ["", "SIGQUIT", "hup", "9", "SIGRTMIN+3", "RTMAX-1"]
            .iter()
            .map(|name| parse(name).unwrap())
            .collect();
        assert_eq!(found, [15, 3, 1, 9, 37, 63]);
        for wrong in ["SIGFOO", "0", "65", "SIGRTMIN+99"] {
            assert!(parse(wrong).unwrap_err().to_string().contains(wrong));
        }
    }
}
