//! The locale other programs are run in where what they say is read.

use crate::context::Context;
use crate::process::{self, Command};

/// The locales whose messages can be read, the best first.
const READABLE: [&str; 6] = [
    "C.utf8",
    "C.UTF-8",
    "en_US.utf8",
    "en_US.UTF-8",
    "C",
    "POSIX",
];

/// The locale of the machine in which programs speak as is expected (`get_best_parsable_locale`); `C` if nothing better is
/// known.
pub(crate) fn readable(context: &Context<'_>) -> String {
    let Some(program) = process::find(context, "locale", &[]) else {
        return "C".to_owned();
    };
    // What is wanted most is mostly seen without asking.
    if let Some(known) = READABLE[..2]
        .iter()
        .find(|name| std::path::Path::new("/usr/lib/locale").join(name).is_dir())
    {
        return (*known).to_owned();
    }
    let there = Command::new([program.as_str(), "-a"])
        .run(context)
        .ok()
        .filter(process::Finished::success)
        .map(|done| done.out())
        .unwrap_or_default();
    READABLE
        .iter()
        .find(|wanted| there.lines().any(|line| line.trim() == **wanted))
        .copied()
        .unwrap_or("C")
        .to_owned()
}

/// The variables that make programs speak in a locale.
pub(crate) fn variables(locale: &str) -> [(&'static str, String); 5] {
    ["LANG", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANGUAGE"].map(|name| (name, locale.to_owned()))
}

/// A command in the locale in which it can be read.
pub(crate) fn command(context: &Context<'_>, command: Command) -> Command {
    variables(&readable(context))
        .into_iter()
        .fold(command, |command, (name, value)| {
            command.variable(name, value)
        })
}
