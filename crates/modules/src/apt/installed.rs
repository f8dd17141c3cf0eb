//! What dpkg says is on the machine: its status file, and apt's notes on what was installed only for others.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::context::Context;

const STATUS: &str = "/var/lib/dpkg/status";
const STATES: &str = "/var/lib/apt/extended_states";

/// The packages dpkg knows.
#[derive(Debug, Default)]
pub struct Installed {
    text: String,
    places: HashMap<String, Vec<Range<usize>>>,
    /// The architecture of the machine's own packages.
    pub architecture: String,
}

/// A package dpkg knows.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a>(&'a str);

impl Installed {
    /// Reads it. Without a status file there are no packages.
    pub fn read(context: &Context<'_>) -> Installed {
        let bytes = std::fs::read(context.path(STATUS)).unwrap_or_default();
        Installed::of(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// From the text of a status file.
    pub fn of(text: String) -> Installed {
        let mut places: HashMap<String, Vec<Range<usize>>> = HashMap::new();
        let mut start = 0;
        while start < text.len() {
            let end = text[start..]
                .find("\n\n")
                .map_or(text.len(), |at| start + at + 1);
            if let Some(name) = Package(&text[start..end]).field("Package") {
                places.entry(name.to_owned()).or_default().push(start..end);
            }
            start = end + 1;
        }
        let mut installed = Installed {
            text,
            places,
            architecture: String::new(),
        };
        let own = installed
            .of_name("dpkg")
            .find(Package::is_installed)
            .and_then(|package| package.field("Architecture"))
            .unwrap_or_default()
            .to_owned();
        installed.architecture = own;
        installed
    }

    fn of_name(&self, name: &str) -> impl Iterator<Item = Package<'_>> {
        self.places
            .get(name)
            .into_iter()
            .flatten()
            .map(|place| Package(&self.text[place.clone()]))
    }

    /// The package of a name, which may have an architecture: `libc6:i386`. Without one it is the machine's own.
    pub fn find(&self, name: &str) -> Option<Package<'_>> {
        let (name, wanted) = match name.split_once(':') {
            Some((name, "native" | "all")) => (name, self.architecture.as_str()),
            Some((name, architecture)) => (name, architecture),
            None => (name, self.architecture.as_str()),
        };
        self.of_name(name).find(|package| {
            let own = package.field("Architecture").unwrap_or("all");
            own == wanted || wanted.is_empty() || (own == "all" && wanted == self.architecture)
        })
    }

    /// All packages that are installed, by their names.
    pub fn all(&self) -> Vec<(&str, Package<'_>)> {
        let mut all: Vec<(&str, Package<'_>)> = self
            .places
            .iter()
            .flat_map(|(name, places)| {
                places
                    .iter()
                    .map(|place| (name.as_str(), Package(&self.text[place.clone()])))
            })
            .filter(|(_, package)| package.is_installed())
            .collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// The architectures the machine takes packages of, its own first.
    pub fn architectures(&self, context: &Context<'_>) -> Vec<String> {
        let mut all = vec![self.architecture.clone()];
        let listed =
            std::fs::read_to_string(context.path("/var/lib/dpkg/arch")).unwrap_or_default();
        all.extend(
            listed
                .lines()
                .map(str::trim)
                .filter(|name| !name.is_empty() && *name != self.architecture)
                .map(str::to_owned),
        );
        all
    }

    /// Whether files of a package are on the machine, be it only its configuration.
    pub fn has_files(&self, context: &Context<'_>, name: &str) -> bool {
        let (bare, architecture) = name
            .split_once(':')
            .unwrap_or((name, self.architecture.as_str()));
        [bare.to_owned(), format!("{bare}:{architecture}")]
            .iter()
            .any(|name| {
                context
                    .path(format!("/var/lib/dpkg/info/{name}.list"))
                    .exists()
            })
    }
}

impl<'a> Package<'a> {
    /// From its fields, each on a line of its own.
    pub fn of(fields: &'a str) -> Self {
        Package(fields)
    }

    /// A field of one line.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(rest.trim())
        })
    }

    /// Whether it is installed as it should be, not only half of it or its configuration.
    pub fn is_installed(&self) -> bool {
        self.field("Status")
            .and_then(|status| status.split(' ').nth(2))
            == Some("installed")
    }

    /// Its version, if it is installed.
    pub fn version(&self) -> Option<&'a str> {
        self.is_installed().then(|| self.field("Version")).flatten()
    }
}

/// The packages that are on the machine only because others needed them: `name` for the machine's own architecture,
/// `name:architecture` for each.
pub fn automatic(context: &Context<'_>, architecture: &str) -> HashSet<String> {
    let text = std::fs::read_to_string(context.path(STATES)).unwrap_or_default();
    let mut found = HashSet::new();
    for stanza in text.split("\n\n") {
        let entry = Package(stanza);
        if entry.field("Auto-Installed") != Some("1") {
            continue;
        }
        if let Some(name) = entry.field("Package") {
            let own = entry.field("Architecture").unwrap_or(architecture);
            if own == architecture || own == "all" {
                found.insert(name.to_owned());
            }
            found.insert(format!("{name}:{own}"));
        }
    }
    found
}
