//! What dnf says it would do: its table of packages, and what stands against it.

use std::collections::BTreeSet;

use crate::process::Finished;

/// A package as dnf shows it: `name-version-release.arch`, with the epoch if it is not 0.
pub(super) fn shown(name: &str, epoch: &str, rest: &str) -> String {
    if epoch.is_empty() || epoch == "0" || epoch == "(none)" {
        format!("{name}-{rest}")
    } else {
        format!("{name}-{epoch}:{rest}")
    }
}

/// What comes and what goes, of the table before the question whether it is to be done.
pub(super) fn of(text: &str, installed: &BTreeSet<String>) -> Vec<String> {
    enum Part {
        Comes,
        /// What comes takes the place of what is there.
        Replaces,
        Goes,
        Other,
    }
    let mut part = Part::Other;
    let mut found = Vec::new();
    let mut gone = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            words.clear();
            part = match title {
                _ if title.starts_with("Installing") => Part::Comes,
                "Upgrading" | "Downgrading" | "Reinstalling" => Part::Replaces,
                _ if title.starts_with("Removing") => Part::Goes,
                _ => Part::Other,
            };
            continue;
        }
        if line.starts_with("Transaction Summary") {
            break;
        }
        if matches!(part, Part::Other) || !line.starts_with(' ') {
            continue;
        }
        // `replacing  old.arch version`
        if let Some(old) = line.trim_start().strip_prefix("replacing ") {
            if let Some((name, version)) = old.trim().split_once(char::is_whitespace)
                && let Some((name, arch)) = name.rsplit_once('.')
            {
                gone.push(of_version(name, version.trim(), arch));
            }
            continue;
        }
        // Long names stand on a line of their own.
        words.extend(line.split_whitespace());
        let [name, arch, version, ..] = words.as_slice() else {
            continue;
        };
        if words.len() < 5 {
            continue;
        }
        let package = of_version(name, version, arch);
        match part {
            Part::Goes => gone.push(package),
            Part::Replaces => {
                let ending = format!(".{arch}");
                gone.extend(
                    installed
                        .iter()
                        .filter(|known| {
                            known.ends_with(&ending)
                                && known.rsplitn(3, '-').nth(2).is_some_and(|own| own == *name)
                        })
                        .cloned(),
                );
                found.push(package);
            }
            Part::Comes | Part::Other => found.push(package),
        }
        words.clear();
    }
    found.sort_unstable();
    gone.sort_unstable();
    let comes = found.into_iter().map(|name| format!("Installed: {name}"));
    let goes = gone.into_iter().map(|name| format!("Removed: {name}"));
    comes.chain(goes).collect()
}

fn of_version(name: &str, version: &str, arch: &str) -> String {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    shown(name, epoch, &format!("{rest}.{arch}"))
}

/// The names dnf knows nothing of: all, if it has nowhere to look.
pub(super) fn unknown(done: &Finished, names: &[String]) -> Vec<String> {
    if error_of(&done.err()).starts_with("There are no enabled repositories") {
        return names.to_vec();
    }
    [done.out(), done.err()]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("No match for argument: "))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// What dnf says went wrong.
pub(super) fn error_of(stderr: &str) -> String {
    let Some((_, rest)) = stderr
        .split_once("\nError: ")
        .or_else(|| stderr.split_once("Error: "))
    else {
        return String::new();
    };
    rest.lines()
        // Hints on its own options.
        .take_while(|line| !line.starts_with("(try to "))
        .collect::<Vec<_>>()
        .join("\n")
        .trim_end()
        .to_owned()
}

/// Whether it only was not allowed to go on.
pub(super) fn is_only_asked(error: &str) -> bool {
    error.starts_with("Operation aborted") || error.starts_with("Unable to find a match")
}
