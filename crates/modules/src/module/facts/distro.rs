//! What a distribution calls itself, as the Python library `distro` (which Ansible has inside) finds it.

use std::collections::HashMap;

use super::{Gathering, lsb};

/// What the files of a distribution tell.
pub(super) struct Distro {
    os_release: HashMap<String, String>,
    lsb: HashMap<String, String>,
    file: Release,
    debian_version: String,
}

/// The first line of a file like `redhat-release`.
#[derive(Default)]
struct Release {
    id: String,
    name: String,
    version: String,
    codename: String,
}

impl Distro {
    pub(super) fn of(gathering: &Gathering<'_, '_>) -> Self {
        let os_release = os_release(gathering, "/etc/os-release")
            .or_else(|| os_release(gathering, "/usr/lib/os-release"))
            .unwrap_or_default();
        Distro {
            os_release,
            lsb: lsb::release(gathering)
                .into_iter()
                .map(|(label, value)| (label.replace(' ', "_").to_lowercase(), value))
                .collect(),
            file: Release::of(gathering),
            debian_version: gathering
                .text("/etc/debian_version")
                .and_then(|text| text.lines().next().map(|line| line.trim_end().to_owned()))
                .unwrap_or_default(),
        }
    }

    fn os(&self, name: &str) -> &str {
        self.os_release.get(name).map_or("", String::as_str)
    }

    fn lsb(&self, name: &str) -> &str {
        self.lsb.get(name).map_or("", String::as_str)
    }

    /// Its short name in lower case; empty if it has none.
    pub(super) fn id(&self) -> String {
        let plain = |text: &str| text.to_lowercase().replace(' ', "_");
        for (text, names) in [
            (
                self.os("id"),
                &[("ol", "oracle"), ("opensuse-leap", "opensuse")][..],
            ),
            (
                self.lsb("distributor_id"),
                &[
                    ("enterpriseenterpriseas", "oracle"),
                    ("enterpriseenterpriseserver", "oracle"),
                    ("redhatenterpriseworkstation", "rhel"),
                    ("redhatenterpriseserver", "rhel"),
                    ("redhatenterprisecomputenode", "rhel"),
                ],
            ),
            (&self.file.id, &[("redhat", "rhel")]),
        ] {
            if !text.is_empty() {
                let id = plain(text);
                return match names.iter().find(|(name, _)| *name == id) {
                    Some((_, known)) => (*known).to_owned(),
                    None => id,
                };
            }
        }
        String::new()
    }

    /// Its version: the first that is told, or the one with the most dots.
    pub(super) fn version(&self, best: bool) -> String {
        let pretty = Release::read(self.os("pretty_name")).version;
        let described = Release::read(self.lsb("description")).version;
        let mut versions = vec![
            self.os("version_id"),
            self.lsb("release"),
            &self.file.version,
            &pretty,
            &described,
        ];
        if self.id() == "debian"
            || self
                .os("id_like")
                .split_whitespace()
                .any(|id| id == "debian")
        {
            versions.push(&self.debian_version);
        }
        let mut version = "";
        for each in versions {
            let better = if best {
                each.matches('.').count() > version.matches('.').count() || version.is_empty()
            } else {
                version.is_empty()
            };
            if better {
                version = each;
            }
        }
        version.to_owned()
    }

    /// The name of its version, as Ansible asks for it.
    pub(super) fn codename(&self) -> Option<String> {
        for name in ["version_codename", "ubuntu_codename"] {
            if let Some(told) = self.os_release.get(name) {
                return Some(told.clone());
            }
        }
        if self.id() == "ubuntu"
            && let Some(told) = self.lsb.get("codename")
        {
            return Some(told.clone());
        }
        let name = match codename_in(self.os("version")) {
            Some(name) => name,
            None => [self.lsb("codename"), &self.file.codename]
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or("")
                .to_owned(),
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

/// The name in a version like `13 (trixie)` or `6.1, Name`: what is between parentheses and without digits, or behind a
/// comma.
fn codename_in(version: &str) -> Option<String> {
    let no_digits = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_ascii_digit());
    for (at, c) in version.char_indices() {
        let rest = &version[at + c.len_utf8()..];
        if c == '('
            && let Some(end) = rest
                .rfind(')')
                .filter(|end| no_digits(&rest[..*end]))
                .or_else(|| rest.find(')'))
            && no_digits(&rest[..end])
        {
            return Some(rest[..end].to_owned());
        }
        if c == ',' {
            let rest = rest.trim_start();
            let end = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            if end > 0 {
                return Some(rest[..end].to_owned());
            }
        }
    }
    None
}

/// The variables of a file like `os-release`, their names in lower case; `None` if it is not there.
pub(super) fn os_release(
    gathering: &Gathering<'_, '_>,
    path: &str,
) -> Option<HashMap<String, String>> {
    if !gathering.is_file(path) {
        return None;
    }
    let text = gathering.text(path)?;
    Some(
        words(&text)
            .into_iter()
            .filter_map(|word| {
                let (name, value) = word.split_once('=')?;
                Some((name.to_lowercase(), value.to_owned()))
            })
            .collect(),
    )
}

/// The words of a text as a shell would split it, without comments.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => {
                let word = word.get_or_insert_default();
                match characters.next() {
                    Some(next) => {
                        if next != '\\' && next != '"' {
                            word.push('\\');
                        }
                        word.push(next);
                    }
                    None => word.push('\\'),
                }
            }
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, '#') => {
                words.extend(word.take());
                for c in characters.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl Release {
    /// That of the first file in `/etc` that has one.
    fn of(gathering: &Gathering<'_, '_>) -> Self {
        const OTHERS: [&str; 9] = [
            "debian_version",
            "lsb-release",
            "oem-release",
            "os-release",
            "system-release",
            "plesk-release",
            "iredmail-release",
            "board-release",
            "ec2_version",
        ];
        let mut names: Vec<String> = gathering
            .names("/etc")
            .unwrap_or_default()
            .into_iter()
            .filter(|name| {
                (name.ends_with("release") || name.ends_with("version"))
                    && !OTHERS.contains(&name.as_str())
            })
            .collect();
        names.sort();
        for name in names {
            let Some(id) = id_of(&name) else {
                continue;
            };
            let path = format!("/etc/{name}");
            if !gathering.is_file(&path) {
                continue;
            }
            let text = gathering.text(&path).unwrap_or_default();
            let mut release = Release::read(text.split('\n').next().unwrap_or(""));
            if release.name.is_empty() {
                continue;
            }
            id.clone_into(&mut release.id);
            if release.name.to_lowercase().contains("cloudlinux") {
                "cloudlinux".clone_into(&mut release.id);
            }
            return release;
        }
        Release::default()
    }

    /// Reads a line like `Rocky Linux release 9.3 (Blue Onyx)`.
    fn read(line: &str) -> Self {
        let line = line.trim();
        let mut release = Release::default();
        // A codename may stand at the end between parentheses.
        let (rest, codename) = line
            .rfind(')')
            .and_then(|end| line[..end].split_once('('))
            .unwrap_or((line, ""));
        let rest = rest.trim_end_matches(' ');
        let rest = rest.strip_suffix(" LTS").map_or(rest, |rest| rest);
        let start = rest
            .char_indices()
            .rev()
            .take_while(|(_, c)| {
                c.is_ascii_digit() || c.is_ascii_lowercase() || matches!(c, '.' | '+' | '-')
            })
            .last()
            .map_or(rest.len(), |(at, _)| at);
        let word = &rest[start..];
        // A version begins with a digit.
        let version = word
            .find(|c: char| c.is_ascii_digit())
            .map_or("", |at| &word[at..]);
        let name = rest[..rest.len() - version.len()].trim_end_matches(' ');
        let name = name
            .strip_suffix("release")
            .map_or(name, |name| name.trim_end_matches(' '));
        if version.is_empty() || name.is_empty() {
            line.clone_into(&mut release.name);
            return release;
        }
        name.clone_into(&mut release.name);
        version.clone_into(&mut release.version);
        codename.clone_into(&mut release.codename);
        release
    }
}

/// The name a file like `redhat-release` has its distribution by.
fn id_of(file: &str) -> Option<&str> {
    let stem = file
        .strip_suffix("release")
        .or_else(|| file.strip_suffix("version"))?;
    let id = stem.strip_suffix(['-', '_'])?;
    (!id.is_empty() && id.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(id)
}

/// A text with its first letter large and the others small.
pub(super) fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first
            .to_uppercase()
            .chain(characters.as_str().to_lowercase().chars())
            .collect()
    })
}
