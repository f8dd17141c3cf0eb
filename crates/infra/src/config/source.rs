//! Where a module comes from: the `source` of a call, understood as go-getter's detectors do.

use std::fmt;

use super::provider_source::parse_hostname;

/// The registry that is meant when a module's address names none.
const DEFAULT_REGISTRY: &str = "registry.terraform.io";

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModuleSource {
    /// A directory beside the calling module: a clean path that starts with `./` or `../`.
    Local(String),
    /// A module in a registry.
    Registry(RegistryModule),
    /// A package fetched from elsewhere.
    Remote {
        /// What to fetch, normalized: `git::https://..`, `https://..`, `file:///..`.
        package: String,
        /// The directory in the package, empty for its root.
        subdir: String,
    },
}

/// A module's address in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryModule {
    /// The registry's host.
    pub host: String,
    /// The organisation.
    pub namespace: String,
    /// The module's name.
    pub name: String,
    /// The system it is for, such as `aws`.
    pub system: String,
    /// The directory in the package, empty for its root.
    pub subdir: String,
}

/// Why a source is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A path that starts with neither `./` nor `../`, perhaps meant as one.
    #[error("Terraform cannot detect a supported external module source type for {0}")]
    MaybeRelative(String),
    /// What is wrong otherwise.
    #[error("{0}")]
    Invalid(String),
}

impl RegistryModule {
    /// Without the directory and without the default registry: `namespace/name/system`.
    pub fn display(&self) -> String {
        let base = self.package_display();
        if self.subdir.is_empty() {
            base
        } else {
            format!("{base}//{}", self.subdir)
        }
    }

    /// Like [`RegistryModule::display`], without the directory.
    pub fn package_display(&self) -> String {
        if self.host == DEFAULT_REGISTRY {
            self.path()
        } else {
            format!("{}/{}", self.host, self.path())
        }
    }

    /// `namespace/name/system`, as the registry protocol has it.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.name, self.system)
    }

    /// Parses `[host/]namespace/name/system[//dir]`.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn parse(raw: &str) -> Result<Self, String> {
        if is_local(raw) {
            return Err(format!(
                "can't use local directory {raw:?} as a module registry address"
            ));
        }
        let (package, subdir) = split_subdir(raw);
        if subdir.starts_with("../") {
            return Err(format!(
                "subdirectory path {subdir:?} leads outside of the module package"
            ));
        }
        let mut parts: Vec<&str> = package.split('/').collect();
        if parts.len() != 3 && parts.len() != 4 {
            return Err("a module registry source address must have either three or four slash-separated components".to_string());
        }
        let mut host = DEFAULT_REGISTRY.to_string();
        if parts.len() == 4 {
            let given = parts.remove(0);
            host = parse_hostname(given).map_err(|_| {
                if given.contains("--") {
                    format!("invalid module registry hostname {given:?}; internationalized domain names must be given as direct unicode characters, not in punycode")
                } else {
                    format!("invalid module registry hostname {given:?}")
                }
            })?;
            if !host.contains('.') && !host.starts_with("localhost") {
                return Err(
                    "invalid module registry hostname: must contain at least one dot".to_string(),
                );
            }
        }
        if host == "github.com" || host == "bitbucket.org" {
            return Err(format!(
                "can't use {host:?} as a module registry host, because it's reserved for installing directly from version control repositories"
            ));
        }
        let name_detail = "must be between one and 64 characters, including ASCII letters, digits, dashes, and underscores, where dashes and underscores may not be the prefix or suffix";
        if !is_registry_name(parts[0]) {
            if parts[0].contains('.') {
                return Err("source address must have three more components after the hostname: the namespace, the name, and the target system".to_string());
            }
            return Err(format!("invalid namespace {:?}: {name_detail}", parts[0]));
        }
        if !is_registry_name(parts[1]) {
            return Err(format!("invalid module name {:?}: {name_detail}", parts[1]));
        }
        let system = parts[2];
        let valid = (1..=64).contains(&system.len())
            && system
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        if !valid {
            if system.contains('?') {
                return Err(
                    "module registry addresses may not include a query string portion".to_string(),
                );
            }
            return Err(format!(
                "invalid target system {system:?}: must be between one and 64 ASCII letters or digits"
            ));
        }
        Ok(Self {
            host,
            namespace: parts[0].to_string(),
            name: parts[1].to_string(),
            system: system.to_string(),
            subdir,
        })
    }
}

/// In full, as the manifest of installed modules has it.
impl fmt::Display for RegistryModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path())?;
        if !self.subdir.is_empty() {
            write!(f, "//{}", self.subdir)?;
        }
        Ok(())
    }
}

/// In full, as the manifest of installed modules has it.
impl fmt::Display for ModuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => f.write_str(path),
            Self::Registry(module) => module.fmt(f),
            Self::Remote { package, subdir } if subdir.is_empty() => f.write_str(package),
            Self::Remote { package, subdir } => match package.split_once('?') {
                Some((path, query)) => write!(f, "{path}//{subdir}?{query}"),
                None => write!(f, "{package}//{subdir}"),
            },
        }
    }
}

impl ModuleSource {
    /// Understands a source as a module call writes it.
    ///
    /// # Errors
    /// When nothing can be made of it.
    pub fn parse(raw: &str) -> Result<Self, Error> {
        if is_local(raw) {
            let clean = clean_path(&raw.replace('\\', "/"));
            return Ok(Self::Local(if clean.starts_with("../") || clean == ".." {
                clean
            } else {
                format!("./{clean}")
            }));
        }
        if let Ok(module) = RegistryModule::parse(raw) {
            return Ok(Self::Registry(module));
        }
        parse_remote(raw)
    }

    /// As it is written in a configuration: without the default registry.
    pub fn display(&self) -> String {
        match self {
            Self::Registry(module) => module.display(),
            other => other.to_string(),
        }
    }

    /// Whether the module lies outside the package of its caller.
    pub fn enters_new_package(&self) -> bool {
        !matches!(self, Self::Local(_))
    }
}

fn is_local(raw: &str) -> bool {
    ["./", "../", ".\\", "..\\"]
        .iter()
        .any(|prefix| raw.starts_with(prefix))
}

fn is_registry_name(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
}

/// The shortest path that means the same: no `.`, no doubled slashes, `..` only at the start.
pub(crate) fn clean_path(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_string(),
        (false, false) => joined,
    }
}

/// Splits `package//dir?query` into the package with its query, and the directory.
pub(crate) fn split_subdir(source: &str) -> (String, String) {
    let stop = source.find('?').unwrap_or(source.len());
    let offset = source[..stop].find("://").map_or(0, |at| at + 3);
    let Some(at) = source[offset..stop].find("//").map(|at| at + offset) else {
        return (source.to_string(), String::new());
    };
    let (package, rest) = (&source[..at], &source[at + 2..]);
    let (subdir, query) = match rest.find('?') {
        Some(query) => (&rest[..query], &rest[query..]),
        None => (rest, ""),
    };
    let subdir = if subdir.is_empty() {
        String::new()
    } else {
        clean_path(subdir)
    };
    (format!("{package}{query}"), subdir)
}

/// `git::https://..` has the forced method `git`.
pub(crate) fn split_forced(source: &str) -> (Option<&str>, &str) {
    match source.split_once("::") {
        Some((forced, rest))
            if !forced.is_empty() && forced.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            (Some(forced), rest)
        }
        _ => (None, source),
    }
}

/// The scheme of a URL that Go's parser would accept.
fn url_scheme(text: &str) -> Option<&str> {
    let colon = text.find(':')?;
    let scheme = &text[..colon];
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    valid.then_some(scheme)
}

fn parse_remote(raw: &str) -> Result<ModuleSource, Error> {
    let outside = |subdir: &str| {
        Error::Invalid(format!(
            "subdirectory path {subdir:?} leads outside of the module package"
        ))
    };
    let (package, mut subdir) = split_subdir(raw);
    if subdir.starts_with("../") || subdir == ".." {
        return Err(outside(&subdir));
    }
    let (detected, more) = split_subdir(&detect(&package)?);
    if !more.is_empty() {
        subdir = if subdir.is_empty() {
            more
        } else {
            clean_path(&format!("{more}/{subdir}"))
        };
        if subdir.starts_with("../") || subdir == ".." {
            return Err(outside(&subdir));
        }
    }
    Ok(ModuleSource::Remote {
        package: detected,
        subdir,
    })
}

fn detect(raw: &str) -> Result<String, Error> {
    let (forced, source) = split_forced(raw);
    if url_scheme(source).is_some() {
        return Ok(raw.to_string());
    }
    let with_force = |default: &str, rest: String| match forced {
        Some(forced) => format!("{forced}::{rest}"),
        None if default.is_empty() => rest,
        None => format!("{default}::{rest}"),
    };
    if source.is_empty() {
        return Err(Error::Invalid(format!("invalid source string: {raw}")));
    }
    let (path, query) = match source.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (source, String::new()),
    };
    for host in ["github.com", "bitbucket.org"] {
        let Some(rest) = path
            .strip_prefix(host)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let mut parts = rest.splitn(3, '/');
        let (owner, repository) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if owner.is_empty() || repository.is_empty() {
            let name = if host == "github.com" {
                "GitHub"
            } else {
                "BitBucket"
            };
            return Err(Error::Invalid(format!(
                "{name} URLs should be {host}/username/repo"
            )));
        }
        let end = if repository.strip_suffix(".git").is_some() {
            ""
        } else {
            ".git"
        };
        let subdir = parts
            .next()
            .map(|rest| format!("//{rest}"))
            .unwrap_or_default();
        return Ok(with_force(
            "git",
            format!("https://{host}/{owner}/{repository}{end}{subdir}{query}"),
        ));
    }
    if let Some((user_host, path)) = path.split_once(':')
        && let Some(("git", host)) = user_host.split_once('@')
        && !host.is_empty()
        && !path.is_empty()
    {
        return Ok(with_force(
            "git",
            format!(
                "ssh://git@{host}/{}{query}",
                path.strip_prefix('/').unwrap_or(path)
            ),
        ));
    }
    if path.contains(".amazonaws.com/") {
        return Ok(with_force("s3", format!("https://{source}")));
    }
    if path.contains("googleapis.com/") {
        return Ok(with_force("gcs", format!("https://{source}")));
    }
    if source.starts_with('/') {
        return Ok(with_force("", format!("file://{source}")));
    }
    Err(Error::MaybeRelative(source.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_understood_as_terraform_does() {
        for (raw, wanted) in [
            ("./child", "./child"),
            (".//a/../b/", "./b"),
            ("../up", "../up"),
            (
                "hashicorp/consul/aws",
                "registry.terraform.io/hashicorp/consul/aws",
            ),
            ("example.com/a/b/c//sub/dir", "example.com/a/b/c//sub/dir"),
            (
                "github.com/hashicorp/example",
                "git::https://github.com/hashicorp/example.git",
            ),
            (
                "github.com/hashicorp/example//sub?ref=v1",
                "git::https://github.com/hashicorp/example.git//sub?ref=v1",
            ),
            (
                "git@github.com:hashicorp/example.git?ref=x",
                "git::ssh://git@github.com/hashicorp/example.git?ref=x",
            ),
            (
                "bitbucket.org/hashicorp/example",
                "git::https://bitbucket.org/hashicorp/example.git",
            ),
            (
                "git::https://example.com/vpc.git//a?depth=1",
                "git::https://example.com/vpc.git//a?depth=1",
            ),
            (
                "git::ssh://user@example.com/vpc.git",
                "git::ssh://user@example.com/vpc.git",
            ),
            ("https://example.com/vpc.zip", "https://example.com/vpc.zip"),
            ("/opt/module", "file:///opt/module"),
            (
                "s3::https://s3-eu-west-1.amazonaws.com/b/vpc.zip",
                "s3::https://s3-eu-west-1.amazonaws.com/b/vpc.zip",
            ),
            (
                "hg::http://example.com/vpc.hg",
                "hg::http://example.com/vpc.hg",
            ),
        ] {
            assert_eq!(
                ModuleSource::parse(raw).unwrap().to_string(),
                wanted,
                "{raw}"
            );
        }
        assert_eq!(
            ModuleSource::parse("child"),
            Err(Error::MaybeRelative("child".to_string()))
        );
        for bad in [
            "",
            "git::https://example.com/a.git//../b",
            "github.com/only",
        ] {
            assert!(ModuleSource::parse(bad).is_err(), "{bad}");
        }
    }
}
