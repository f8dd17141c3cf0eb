//! Debian's packages: what is installed (dpkg's own records), what could be (apt's, asked through its programs), and how
//! lists of packages are brought up to date.

pub(crate) mod cache;
pub mod installed;
pub(crate) mod update;
pub mod version;

use crate::context::Context;
use crate::locale;
use crate::process::Command;

/// The variables apt's and dpkg's programs are run with: nobody is asked anything, and what they say can be read.
#[derive(Clone, Debug)]
pub(crate) struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// For a run of apt.
    pub(crate) fn new(context: &Context<'_>) -> Environment {
        let mut variables = vec![
            ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
            ("DEBIAN_PRIORITY", "critical".to_owned()),
        ];
        variables.extend(locale::variables(&locale::readable(context)));
        Environment(variables)
    }

    /// A command in it.
    pub(crate) fn of(&self, command: Command) -> Command {
        self.0.iter().fold(command, |command, (name, value)| {
            command.variable(*name, value.clone())
        })
    }
}

/// What apt's programs complained of, as the bindings of its library tell it: `E:...`, `W:...`, joined by commas.
pub(crate) fn complaints(stderr: &str) -> String {
    let mut found: Vec<String> = Vec::new();
    for line in stderr.lines() {
        if let Some(text) = line.strip_prefix("E: ") {
            found.push(format!("E:{text}"));
        } else if let Some(text) = line
            .strip_prefix("W: ")
            .or_else(|| line.strip_prefix("N: "))
        {
            found.push(format!("W:{text}"));
        } else if let Some(last) = found.last_mut() {
            // What goes on over several lines is indented.
            last.push('\n');
            last.push_str(line.strip_prefix("   ").unwrap_or(line));
        }
    }
    found.join(", ")
}
