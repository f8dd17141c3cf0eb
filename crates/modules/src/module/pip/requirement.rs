//! What is to be installed: names of packages with what is asked of their versions, as PEP 508 has them, or places.

use super::version::{Demand, RELATIONS};

/// A package that is named, or a place it is at.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// Its name as repositories compare it, or the place.
    pub(super) name: String,
    /// As pip is told of it.
    pub(super) text: String,
    /// What is asked of its version; `None` for a place.
    pub(super) demands: Option<Vec<Demand>>,
}

impl Package {
    /// Reads one.
    pub(super) fn new(text: &str) -> Self {
        let place = || Package {
            name: text.to_owned(),
            text: text.to_owned(),
            demands: None,
        };
        let Some(read) = Read::of(text) else {
            return place();
        };
        let mut demands: Vec<Demand> = Vec::new();
        for demand in read
            .demands
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match Demand::parse(demand) {
                Some(demand) => demands.push(demand),
                None => return place(),
            }
        }
        let mut written = read.name.to_owned();
        if !read.extras.is_empty() {
            let mut extras = read.extras;
            extras.sort_unstable();
            extras.dedup();
            written.push_str(&format!("[{}]", extras.join(",")));
        }
        let mut texts: Vec<String> = demands.iter().map(Demand::text).collect();
        texts.sort();
        written.push_str(&texts.join(","));
        if let Some(url) = read.url {
            written.push_str(&format!(" @ {url}"));
        }
        if let Some(marker) = read.marker {
            let blank = if read.url.is_some() { " " } else { "" };
            written.push_str(&format!("{blank}; {}", marker.replace('\'', "\"")));
        }
        let mut name = canonical(read.name);
        if name == "distribute" && text.contains("setuptools") {
            "setuptools".clone_into(&mut name);
        }
        Package {
            name,
            text: written,
            demands: Some(demands),
        }
    }

    /// One of a version.
    pub(super) fn of_version(name: &str, version: &str) -> Self {
        let version = version.trim_start();
        let between = if version.starts_with(|c: char| c.is_ascii_digit()) {
            "=="
        } else {
            " "
        };
        Package::new(&format!("{name}{between}{version}"))
    }

    /// Whether something is asked of its version.
    pub(super) fn has_demands(&self) -> bool {
        self.demands
            .as_ref()
            .is_some_and(|demands| !demands.is_empty())
    }

    /// Whether one of the lines `name==version` is it.
    pub(super) fn is_among(&self, installed: &[String]) -> bool {
        let Some(demands) = &self.demands else {
            return false;
        };
        installed.iter().any(|line| {
            line.split_once("==").is_some_and(|(name, version)| {
                canonical(name) == self.name
                    && demands.iter().all(|demand| demand.is_met_by(version))
            })
        })
    }
}

/// The parts of what is written.
struct Read<'a> {
    name: &'a str,
    extras: Vec<&'a str>,
    demands: &'a str,
    url: Option<&'a str>,
    marker: Option<&'a str>,
}

impl<'a> Read<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let end = text.find(|c| !is_inner(c)).unwrap_or(text.len());
        let name = &text[..end];
        let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !is_name {
            return None;
        }
        let mut rest = text[end..].trim_start();
        let mut extras = Vec::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let (listed, behind) = inner.split_once(']')?;
            extras = listed
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .collect();
            rest = behind.trim_start();
        }
        if let Some(url) = rest.strip_prefix('@') {
            let (url, marker) = match url.split_once(" ;") {
                Some((url, marker)) => (url, Some(marker.trim())),
                None => (url, None),
            };
            return Some(Read {
                name,
                extras,
                demands: "",
                url: Some(url.trim()),
                marker,
            });
        }
        let (demands, marker) = match rest.split_once(';') {
            Some((demands, marker)) => (demands.trim(), Some(marker.trim())),
            None => (rest.trim_end(), None),
        };
        let demands = demands
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .unwrap_or(demands);
        Some(Read {
            name,
            extras,
            demands,
            url: None,
            marker,
        })
    }
}

/// A name as repositories compare it (PEP 503).
pub(super) fn canonical(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !text.ends_with('-') {
                text.push('-');
            }
        } else {
            text.extend(c.to_lowercase());
        }
    }
    text
}

/// The packages of a list in which commas may have torn their demands apart, or joined several.
pub(super) fn joined(names: &[String]) -> Vec<String> {
    let mut packages: Vec<Vec<&str>> = Vec::new();
    let mut in_brackets = false;
    for name in names.iter().flat_map(|line| line.split(',')) {
        let is_name = !RELATIONS
            .iter()
            .any(|relation| name.trim_start().starts_with(relation));
        if packages.is_empty() || (is_name && !in_brackets) {
            packages.push(Vec::new());
        }
        if name.contains('[') {
            in_brackets = true;
        }
        if in_brackets && name.contains(']') {
            in_brackets = false;
        }
        if let Some(last) = packages.last_mut() {
            last.push(name);
        }
    }
    packages.iter().map(|parts| parts.join(",")).collect()
}
