//! Providers in directories: mirrors, packed and unpacked, and the cache of a configuration, which is laid out alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::platform::Platform;
use crate::address::ProviderSource;
use crate::config::parse_provider_source;
use crate::version::Version;

/// A package in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalPackage {
    /// Which version.
    pub(super) version: Version,
    /// For what it is built.
    pub(super) platform: Platform,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it is an archive; otherwise a directory.
    pub(super) packed: bool,
}

/// The directory of an unpacked package below a base directory.
pub(super) fn unpacked_path(
    base: &Path,
    provider: &ProviderSource,
    version: &Version,
    platform: &Platform,
) -> PathBuf {
    base.join(&*provider.host)
        .join(&*provider.namespace)
        .join(&*provider.kind)
        .join(version.to_string())
        .join(platform.to_string())
}

/// The archive of a packed package below a base directory.
pub(super) fn packed_path(
    base: &Path,
    provider: &ProviderSource,
    version: &Version,
    platform: &Platform,
) -> PathBuf {
    base.join(&*provider.host)
        .join(&*provider.namespace)
        .join(&*provider.kind)
        .join(format!(
            "terraform-provider-{}_{version}_{platform}.zip",
            provider.kind
        ))
}

/// The names in a directory, sorted; none when it cannot be read.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// All packages below a base directory.
pub(super) fn search(base: &Path) -> BTreeMap<ProviderSource, Vec<LocalPackage>> {
    let mut found = BTreeMap::new();
    for host in names(base) {
        for namespace in names(&base.join(&host)) {
            for kind in names(&base.join(&host).join(&namespace)) {
                let address = format!("{host}/{namespace}/{kind}");
                let Ok(provider) = parse_provider_source(&address) else {
                    continue;
                };
                if provider.to_string() != address {
                    continue;
                }
                let packages = packages(base, &provider);
                if !packages.is_empty() {
                    found.insert(provider, packages);
                }
            }
        }
    }
    found
}

/// The packages of one provider below a base directory.
pub(super) fn packages(base: &Path, provider: &ProviderSource) -> Vec<LocalPackage> {
    let directory = base
        .join(&*provider.host)
        .join(&*provider.namespace)
        .join(&*provider.kind);
    let prefix = format!("terraform-provider-{}_", provider.kind);
    let mut packages = Vec::new();
    for name in names(&directory) {
        let path = directory.join(&name);
        if path.is_dir() {
            let Ok(version) = name.parse::<Version>() else {
                continue;
            };
            for target in names(&path) {
                let path = path.join(&target);
                if let Ok(platform) = Platform::parse(&target)
                    && path.is_dir()
                {
                    packages.push(LocalPackage {
                        version: version.clone(),
                        platform,
                        path,
                        packed: false,
                    });
                }
            }
        } else if let Some(rest) = name
            .to_lowercase()
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_suffix(".zip"))
        {
            let mut parts = rest.splitn(3, '_');
            let (Some(version), Some(os), Some(arch)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if let Ok(version) = version.parse::<Version>() {
                let platform = Platform {
                    os: os.to_string(),
                    arch: arch.to_string(),
                };
                packages.push(LocalPackage {
                    version,
                    platform,
                    path,
                    packed: true,
                });
            }
        }
    }
    packages
}

/// The executable in a package's directory: the first file whose name starts with `terraform-provider-<kind>`.
pub(super) fn executable(directory: &Path, provider: &ProviderSource) -> Option<PathBuf> {
    let prefix = format!("terraform-provider-{}", provider.kind);
    names(directory)
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .map(|name| directory.join(name))
        .find(|path| path.is_file())
}
