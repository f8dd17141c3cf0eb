//! Installation of providers: versions chosen, packages fetched, checked and put where plugins are started from.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{Format, unpack};
use super::cli_config::{CliConfig, Location, Method};
use super::error::Error;
use super::hash::{self, Hash, Package};
use super::http::Http;
use super::lock::{Lock, Locks};
use super::mirror::{self, LocalPackage};
use super::openpgp;
use super::platform::Platform;
use super::provider_registry::{self as registry, RemotePackage};
use crate::address::ProviderSource;
use crate::config::Requirements;
use crate::version::{Constraints, Version};

/// The fingerprint of the key that HashiCorp signs with.
const HASHICORP: &str = "C874011F0AB405110D02105534365D9472D7468F";

/// How an installation goes about versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Locked versions are kept.
    #[default]
    Locked,
    /// The newest that fit are chosen anew (`-upgrade`).
    Upgrade,
}

/// Something to tell the user while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// A provider that is part of the program.
    BuiltIn(ProviderSource),
    /// Looking for versions.
    Finding {
        /// Which provider.
        provider: ProviderSource,
        /// The constraints in normal form; may be empty.
        constraints: String,
        /// Whether the lock file names the version.
        locked: bool,
    },
    /// The registry wants this to be seen.
    Warning(ProviderSource, String),
    /// The version is there already.
    AlreadyInstalled {
        /// Which provider.
        provider: ProviderSource,
        /// Which version.
        version: Version,
        /// Whether it came from the cache of all configurations.
        from_cache: bool,
    },
    /// A package is fetched.
    Installing(ProviderSource, Version),
    /// A package was put in its place.
    Installed {
        /// Which provider.
        provider: ProviderSource,
        /// Which version.
        version: Version,
        /// What is known of where it comes from.
        authentication: Authentication,
    },
}

/// What is known of where a package comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing.
    None,
    /// Its checksum is the expected one.
    Checksum,
    /// HashiCorp signed it.
    Official,
    /// Somebody signed it whose key the registry knows; with the key's id.
    Signed(String),
}

impl std::fmt::Display for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "unauthenticated",
            Self::Checksum => "verified checksum",
            Self::Official => "signed by HashiCorp",
            Self::Signed(_) => "self-signed",
        })
    }
}

/// A failure for one provider.
#[derive(Debug)]
pub struct Failure {
    /// Which provider.
    pub provider: ProviderSource,
    /// Whether it was while looking for versions; otherwise while fetching.
    pub querying: bool,
    /// The version that was being fetched.
    pub version: Option<Version>,
    /// What went wrong.
    pub error: Error,
}

/// Installs providers as a command-line configuration says.
pub struct Installer {
    methods: Vec<Method>,
    http: Http,
    cache: Option<PathBuf>,
    cache_may_break_lock: bool,
    dev_overrides: BTreeMap<ProviderSource, PathBuf>,
    platform: Platform,
    /// Providers that are part of the program, by their last name.
    built_in: Vec<String>,
}

/// Where a version was found.
#[derive(Clone, Debug)]
enum Found {
    Local(LocalPackage),
    Remote(RemotePackage),
}

impl Installer {
    /// An installer for this machine's platform.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(
        config: &Arc<CliConfig>,
        environment: &HashMap<String, String>,
    ) -> Result<Self, Error> {
        Ok(Self {
            methods: config.methods(environment),
            http: Http::new(config.clone())?,
            cache: config.plugin_cache.clone(),
            cache_may_break_lock: config.cache_may_break_lock,
            dev_overrides: config.dev_overrides.clone(),
            platform: Platform::current(),
            built_in: vec!["terraform".to_string(), "consort".to_string()],
        })
    }

    /// Looks in the given places in place of the configured ones.
    #[must_use]
    pub fn with_methods(mut self, methods: Vec<Method>) -> Self {
        self.methods = methods;
        self
    }

    /// The versions of a provider that can be had, over all places that serve it.
    async fn versions(
        &self,
        provider: &ProviderSource,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Vec<Version>, Error> {
        let mut versions: Vec<Version> = Vec::new();
        let mut asked = false;
        let mut missing: Option<Error> = None;
        for method in self.methods.iter().filter(|method| method.serves(provider)) {
            asked = true;
            let found =
                match &method.location {
                    Location::FilesystemMirror(path) => Ok(mirror::packages(path, provider)
                        .into_iter()
                        .map(|package| package.version)
                        .collect()),
                    Location::NetworkMirror(url) => {
                        registry::mirror_versions(&self.http, url, provider).await
                    }
                    Location::Direct => registry::versions(&self.http, provider).await.map(
                        |(versions, warnings)| {
                            for warning in warnings {
                                events(Event::Warning(provider.clone(), warning));
                            }
                            versions
                        },
                    ),
                };
            match found {
                Ok(found) => versions.extend(found),
                // Another place may have it.
                Err(error @ Error::NotFound(_)) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        if !asked {
            return Err(Error::NotFound(format!(
                "provider {provider} was not found in any of the search locations"
            )));
        }
        if versions.is_empty() {
            return Err(missing.unwrap_or_else(|| {
                Error::NotFound(format!(
                    "provider {provider} was not found in any of the search locations\n\n{}",
                    self.places(provider)
                ))
            }));
        }
        versions.sort();
        versions.dedup_by(|a, b| a.identical(b));
        Ok(versions)
    }

    fn places(&self, provider: &ProviderSource) -> String {
        let places = self
            .methods
            .iter()
            .filter(|method| method.serves(provider))
            .map(|method| match &method.location {
                Location::FilesystemMirror(path) => format!("  - {}", path.display()),
                Location::NetworkMirror(url) => format!("  - provider mirror at {url}"),
                Location::Direct => format!("  - provider registry {}", provider.host),
            });
        places.collect::<Vec<_>>().join("\n")
    }

    /// The package of a version, from the first place that has it.
    async fn find(
        &self,
        provider: &ProviderSource,
        version: &Version,
        platform: &Platform,
    ) -> Result<Found, Error> {
        let mut missing = None;
        for method in self.methods.iter().filter(|method| method.serves(provider)) {
            let found = match &method.location {
                Location::FilesystemMirror(path) => {
                    let mut packages = mirror::packages(path, provider).into_iter();
                    match packages.find(|package| {
                        package.version.identical(version) && package.platform == *platform
                    }) {
                        Some(package) => Ok(Found::Local(package)),
                        None => Err(Error::NotFound(format!(
                            "provider {provider} {version} is not available for {platform}"
                        ))),
                    }
                }
                Location::NetworkMirror(url) => {
                    registry::mirror_package(&self.http, url, provider, version, platform)
                        .await
                        .map(Found::Remote)
                }
                Location::Direct => registry::package(&self.http, provider, version, platform)
                    .await
                    .map(Found::Remote),
            };
            match found {
                Err(error @ Error::NotFound(_)) => missing = Some(error),
                other => return other,
            }
        }
        Err(missing.unwrap_or_else(|| {
            Error::NotFound(format!("provider {provider} {version} was not found"))
        }))
    }

    /// Chooses a version for every requirement and installs it below `target` (`.terraform/providers`). What succeeded
    /// is in the locks that come back, whatever failed; locks of providers that are no longer required are gone.
    pub async fn install(
        &self,
        requirements: &Requirements,
        locks: &Locks,
        mode: Mode,
        target: &Path,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> (Locks, Vec<Failure>) {
        let mut result = locks.clone();
        result
            .0
            .retain(|provider, _| requirements.contains_key(provider));
        let mut failures = Vec::new();
        let mut chosen = Vec::new();
        for (provider, constraints) in requirements {
            if provider.is_builtin() {
                match self.check_built_in(provider, constraints) {
                    Ok(()) => events(Event::BuiltIn(provider.clone())),
                    Err(error) => failures.push(Failure {
                        provider: provider.clone(),
                        querying: true,
                        version: None,
                        error,
                    }),
                }
                continue;
            }
            if self.dev_overrides.contains_key(provider) {
                continue;
            }
            match self
                .choose(provider, constraints, locks.0.get(provider), mode, events)
                .await
            {
                Ok(version) => chosen.push((provider, version)),
                Err(error) => failures.push(Failure {
                    provider: provider.clone(),
                    querying: true,
                    version: None,
                    error,
                }),
            }
        }
        for (provider, version) in chosen {
            let lock = locks
                .0
                .get(provider)
                .filter(|lock| lock.version.identical(&version));
            match self
                .install_one(provider, &version, lock, target, events)
                .await
            {
                Ok(hashes) => {
                    let constraints = requirements.get(provider).cloned().unwrap_or_default();
                    result
                        .0
                        .insert(provider.clone(), Lock::new(version, &constraints, hashes));
                }
                Err(error) => failures.push(Failure {
                    provider: provider.clone(),
                    querying: false,
                    version: Some(version.clone()),
                    error,
                }),
            }
        }
        (result, failures)
    }

    fn check_built_in(
        &self,
        provider: &ProviderSource,
        constraints: &Constraints,
    ) -> Result<(), Error> {
        if !self.built_in.iter().any(|name| **name == *provider.kind) {
            return Err(Error::other(format!(
                "this Terraform release has no built-in provider named {:?}",
                &*provider.kind
            )));
        }
        if !constraints.is_empty() {
            return Err(Error::other(
                "built-in providers do not support explicit version constraints",
            ));
        }
        Ok(())
    }

    async fn choose(
        &self,
        provider: &ProviderSource,
        constraints: &Constraints,
        lock: Option<&Lock>,
        mode: Mode,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Version, Error> {
        let lock = lock.filter(|_| mode == Mode::Locked);
        events(Event::Finding {
            provider: provider.clone(),
            constraints: constraints.canonical(),
            locked: lock.is_some(),
        });
        if let Some(lock) = lock
            && !constraints.allows_provider(&lock.version)
        {
            return Err(Error::other(format!(
                "locked provider {provider} {} does not match configured version constraint {}; must use terraform init -upgrade to allow selection of new versions",
                lock.version,
                constraints.canonical()
            )));
        }
        let available = self.versions(provider, events).await?;
        let fits = |version: &&Version| match lock {
            Some(lock) => version.identical(&lock.version),
            None => constraints.allows_provider(version),
        };
        available
            .iter()
            .rev()
            .find(fits)
            .cloned()
            .ok_or_else(|| match lock {
                Some(lock) => Error::NotFound(format!(
                    "the previously-selected version {} is no longer available",
                    lock.version
                )),
                None => Error::NotFound(format!(
                    "no available releases match the given constraints {}",
                    constraints.canonical()
                )),
            })
    }

    async fn install_one(
        &self,
        provider: &ProviderSource,
        version: &Version,
        lock: Option<&Lock>,
        target: &Path,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Vec<Hash>, Error> {
        let known = lock.map(Lock::known_hashes).unwrap_or_default();
        let directory = mirror::unpacked_path(target, provider, version, &self.platform);
        if directory.is_dir()
            && !known.is_empty()
            && hash::matches_any(Package::Directory(&directory), &known)?
        {
            events(Event::AlreadyInstalled {
                provider: provider.clone(),
                version: version.clone(),
                from_cache: false,
            });
            return Ok(lock.map(|lock| lock.hashes.clone()).unwrap_or_default());
        }
        if let Some(cache) = &self.cache {
            let cached = mirror::unpacked_path(cache, provider, version, &self.platform);
            let usable = cached.is_dir()
                && if known.is_empty() {
                    self.cache_may_break_lock
                } else {
                    hash::matches_any(Package::Directory(&cached), &known)?
                };
            if usable && mirror::executable(&cached, provider).is_some() {
                link(&cached, &directory)?;
                events(Event::AlreadyInstalled {
                    provider: provider.clone(),
                    version: version.clone(),
                    from_cache: true,
                });
                let mut hashes = lock.map(|lock| lock.hashes.clone()).unwrap_or_default();
                hashes.push(hash::of_directory(&cached)?);
                return Ok(hashes);
            }
        }
        events(Event::Installing(provider.clone(), version.clone()));
        let found = self.find(provider, version, &self.platform).await?;
        let place = match &self.cache {
            Some(cache) => mirror::unpacked_path(cache, provider, version, &self.platform),
            None => directory.clone(),
        };
        let (mut hashes, authentication) = self.put(provider, &found, &known, &place).await?;
        if mirror::executable(&place, provider).is_none() {
            return Err(Error::other(format!(
                "provider binary not found: could not find executable file starting with terraform-provider-{}",
                provider.kind
            )));
        }
        if place != directory {
            link(&place, &directory)?;
        }
        hashes.extend(known);
        events(Event::Installed {
            provider: provider.clone(),
            version: version.clone(),
            authentication,
        });
        Ok(hashes)
    }

    /// Puts a package in its place as a directory; its checksums and what is known of where it comes from.
    async fn put(
        &self,
        provider: &ProviderSource,
        found: &Found,
        known: &[Hash],
        place: &Path,
    ) -> Result<(Vec<Hash>, Authentication), Error> {
        match found {
            Found::Local(package) if !package.packed => {
                let source = std::fs::canonicalize(&package.path)
                    .map_err(Error::io("reading", &package.path))?;
                check_known(provider, Package::Directory(&source), known)?;
                link(&source, place)?;
                Ok((vec![hash::of_directory(&source)?], Authentication::None))
            }
            Found::Local(package) => {
                check_known(provider, Package::Archive(&package.path), known)?;
                unpack_into_place(&package.path, place).await?;
                Ok((vec![hash::of_directory(place)?], Authentication::None))
            }
            Found::Remote(package) => {
                let (archive, _guard) = self.fetch(package, place).await?;
                let (mut hashes, authentication) = authenticate(package, &archive)?;
                check_known(provider, Package::Archive(&archive), known)?;
                unpack_into_place(&archive, place).await?;
                hashes.push(hash::of_directory(place)?);
                Ok((hashes, authentication))
            }
        }
    }

    async fn fetch(
        &self,
        package: &RemotePackage,
        near: &Path,
    ) -> Result<(PathBuf, Scratch), Error> {
        let parent = near.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
        let archive = parent.join(format!(".download.{}.zip", std::process::id()));
        let guard = Scratch(archive.clone());
        self.http.download(&package.url, None, &archive).await?;
        Ok((archive, guard))
    }

    /// The checksums of a provider's packages for some platforms, for `providers lock`. Locked versions are kept, and the
    /// checksums that are locked already.
    ///
    /// # Errors
    /// With the first that cannot be had or is not what was promised.
    pub async fn lock_platforms(
        &self,
        requirements: &Requirements,
        locks: &Locks,
        platforms: &[Platform],
        scratch: &Path,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> (Locks, Vec<Failure>) {
        let mut result = locks.clone();
        let mut failures = Vec::new();
        for (provider, constraints) in requirements
            .iter()
            .filter(|(provider, _)| !provider.is_builtin())
        {
            let locked = locks.0.get(provider);
            let outcome = async {
                let version = self
                    .choose(provider, constraints, locked, Mode::Locked, events)
                    .await?;
                let lock = locked.filter(|lock| lock.version.identical(&version));
                let mut hashes = lock.map(|lock| lock.hashes.clone()).unwrap_or_default();
                for platform in platforms {
                    events(Event::Installing(provider.clone(), version.clone()));
                    let found = self.find(provider, &version, platform).await?;
                    let (more, authentication) = self.hashes_of(&found, scratch).await?;
                    hashes.extend(more);
                    events(Event::Installed {
                        provider: provider.clone(),
                        version: version.clone(),
                        authentication,
                    });
                }
                Ok((version, hashes))
            };
            match outcome.await {
                Ok((version, hashes)) => {
                    result
                        .0
                        .insert(provider.clone(), Lock::new(version, constraints, hashes));
                }
                Err(error) => failures.push(Failure {
                    provider: provider.clone(),
                    querying: true,
                    version: None,
                    error,
                }),
            }
        }
        (result, failures)
    }

    async fn hashes_of(
        &self,
        found: &Found,
        scratch: &Path,
    ) -> Result<(Vec<Hash>, Authentication), Error> {
        match found {
            Found::Local(package) if !package.packed => Ok((
                vec![hash::of_directory(&package.path)?],
                Authentication::None,
            )),
            Found::Local(package) => Ok((
                vec![
                    hash::of_zip(&package.path)?,
                    hash::of_archive(&package.path)?,
                ],
                Authentication::None,
            )),
            Found::Remote(package) => {
                let (archive, _guard) = self.fetch(package, &scratch.join("package")).await?;
                let (mut hashes, authentication) = authenticate(package, &archive)?;
                hashes.push(hash::of_zip(&archive)?);
                Ok((hashes, authentication))
            }
        }
    }

    /// Fills a directory as a mirror, packed, with the indices a network mirror needs, for `providers mirror`.
    ///
    /// # Errors
    /// With the first package that cannot be had.
    pub async fn mirror(
        &self,
        requirements: &Requirements,
        locks: &Locks,
        platforms: &[Platform],
        target: &Path,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(), Error> {
        for (provider, constraints) in requirements
            .iter()
            .filter(|(provider, _)| !provider.is_builtin())
        {
            let version = self
                .choose(
                    provider,
                    constraints,
                    locks.0.get(provider),
                    Mode::Locked,
                    events,
                )
                .await?;
            for platform in platforms {
                events(Event::Installing(provider.clone(), version.clone()));
                let place = mirror::packed_path(target, provider, &version, platform);
                let parent = place.parent().unwrap_or(target);
                std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
                let authentication = match self.find(provider, &version, platform).await? {
                    Found::Remote(package) => {
                        let (archive, _guard) = self.fetch(&package, &place).await?;
                        let (_, authentication) = authenticate(&package, &archive)?;
                        std::fs::rename(&archive, &place).map_err(Error::io("writing", &place))?;
                        authentication
                    }
                    Found::Local(package) if package.packed => {
                        std::fs::copy(&package.path, &place)
                            .map_err(Error::io("writing", &place))?;
                        Authentication::None
                    }
                    Found::Local(package) => {
                        super::archive::pack_zip(&package.path, &place)?;
                        Authentication::None
                    }
                };
                events(Event::Installed {
                    provider: provider.clone(),
                    version: version.clone(),
                    authentication,
                });
            }
            write_index(target, provider)?;
        }
        Ok(())
    }
}

/// A file that is gone when this is.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn write_index(target: &Path, provider: &ProviderSource) -> Result<(), Error> {
    let directory = target
        .join(&*provider.host)
        .join(&*provider.namespace)
        .join(&*provider.kind);
    let mut by_version: BTreeMap<Version, serde_json::Map<String, serde_json::Value>> =
        BTreeMap::new();
    for package in mirror::packages(target, provider)
        .into_iter()
        .filter(|package| package.packed)
    {
        let name = package
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let hashes = [hash::of_zip(&package.path)?.to_string()];
        let entry = serde_json::json!({ "hashes": hashes, "url": name });
        by_version
            .entry(package.version)
            .or_default()
            .insert(package.platform.to_string(), entry);
    }
    let write = |name: String, value: serde_json::Value| {
        let text = serde_json::to_string_pretty(&value)
            .map_err(|error| Error::other(error.to_string()))?;
        super::write_atomically(&directory.join(name), text.as_bytes())
    };
    let versions: serde_json::Map<_, _> = by_version
        .keys()
        .map(|version| (version.to_string(), serde_json::json!({})))
        .collect();
    for (version, archives) in by_version {
        write(
            format!("{version}.json"),
            serde_json::json!({ "archives": archives }),
        )?;
    }
    write(
        "index.json".to_string(),
        serde_json::json!({ "versions": versions }),
    )
}

fn check_known(
    provider: &ProviderSource,
    package: Package<'_>,
    known: &[Hash],
) -> Result<(), Error> {
    if known.is_empty() || hash::matches_any(package, known)? {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "the current package for {provider} doesn't match any of the checksums previously recorded in the dependency lock file; for more information: https://www.terraform.io/language/provider-checksum-verification"
    )))
}

/// Checks a downloaded archive against all that was said about it.
fn authenticate(
    package: &RemotePackage,
    archive: &Path,
) -> Result<(Vec<Hash>, Authentication), Error> {
    let actual = hash::sha256_file(archive)?;
    let mut hashes = vec![Hash::of_archive_digest(&actual)];
    let mut authentication = Authentication::None;
    if let Some(expected) = &package.digest {
        let actual = hash::hex(&actual);
        if actual != *expected {
            return Err(Error::Mismatch(format!(
                "archive has incorrect checksum zh:{actual} (expected zh:{expected})"
            )));
        }
        authentication = Authentication::Checksum;
    }
    if !package.hashes.is_empty() {
        if !package.hashes.iter().any(Hash::is_known) {
            return Err(Error::Mismatch(
                "this version of Terraform does not support any of the checksum formats given for this provider".to_string(),
            ));
        }
        if !hash::matches_any(Package::Archive(archive), &package.hashes)? {
            return Err(Error::Mismatch(
                "provider package doesn't match the any of the expected checksums".to_string(),
            ));
        }
        hashes.extend(
            package
                .hashes
                .iter()
                .filter(|hash| hash.is_known())
                .cloned(),
        );
        authentication = Authentication::Checksum;
    }
    if let Some(signed) = &package.signed {
        let listed = digests(&signed.document);
        let expected = package.digest.as_deref().unwrap_or_default();
        match listed.iter().find(|(_, name)| *name == signed.filename) {
            None => {
                return Err(Error::Mismatch(format!(
                    "checksum list has no SHA-256 hash for {:?}",
                    signed.filename
                )));
            }
            Some((digest, _)) if digest != expected => {
                return Err(Error::Mismatch(format!(
                    "checksum list has unexpected SHA-256 hash {digest} (expected {expected})"
                )));
            }
            Some(_) => {}
        }
        let keys: Vec<&str> = signed.keys.iter().map(String::as_str).collect();
        let signer = openpgp::check_detached(&keys, &signed.document, &signed.signature)
            .map_err(|error| Error::Mismatch(error.to_string()))?;
        authentication = if signer.fingerprint == HASHICORP {
            Authentication::Official
        } else {
            Authentication::Signed(signer.key_id)
        };
        // The signature covers the packages for all platforms.
        hashes.extend(
            listed
                .iter()
                .filter_map(|(digest, _)| Hash::parse(&format!("zh:{digest}")).ok()),
        );
    }
    if package.signed.is_none() {
        // What a server says of its own package is no reason to trust it later: only what came is locked.
        hashes.clear();
    }
    Ok((hashes, authentication))
}

/// The lines `<digest>  <name>` of a list of checksums.
fn digests(document: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(document)
        .lines()
        .filter_map(|line| {
            let (digest, name) = line.trim().split_once(char::is_whitespace)?;
            let valid = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            valid.then(|| {
                (
                    digest.to_lowercase(),
                    name.trim_start().trim_start_matches('*').to_string(),
                )
            })
        })
        .collect()
}

async fn unpack_into_place(archive: &Path, place: &Path) -> Result<(), Error> {
    let parent = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
    let beside = parent.join(format!(".unpack.{}", std::process::id()));
    let (archive, target) = (archive.to_path_buf(), beside.clone());
    let outcome = tokio::task::spawn_blocking(move || {
        if target.exists() {
            std::fs::remove_dir_all(&target).map_err(Error::io("replacing", &target))?;
        }
        unpack(&archive, Format::Zip, &target)
    })
    .await
    .map_err(|error| Error::other(error.to_string()))?;
    let outcome = outcome.and_then(|()| {
        clear(place)?;
        std::fs::rename(&beside, place).map_err(Error::io("writing", place))
    });
    if outcome.is_err() {
        let _ = std::fs::remove_dir_all(&beside);
    }
    outcome
}

fn clear(place: &Path) -> Result<(), Error> {
    match std::fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_dir() => {
            std::fs::remove_dir_all(place).map_err(Error::io("replacing", place))
        }
        Ok(_) => std::fs::remove_file(place).map_err(Error::io("replacing", place)),
        Err(_) => Ok(()),
    }
}

/// A link at `place` to a directory of packages, which stays where it is.
fn link(source: &Path, place: &Path) -> Result<(), Error> {
    let parent = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
    let source = std::path::absolute(source).map_err(Error::io("reading", source))?;
    clear(place)?;
    std::os::unix::fs::symlink(&source, place).map_err(Error::io("linking", place))
}

/// The executables of the locked versions of installed providers, and of those with development overrides. Providers
/// that are not installed, or whose package does not fit the lock, are errors.
///
/// # Errors
/// For each provider that has to be installed (again).
pub fn executables(
    requirements: &Requirements,
    locks: &Locks,
    config: &CliConfig,
    target: &Path,
) -> Result<BTreeMap<ProviderSource, PathBuf>, Vec<Failure>> {
    let mut executables = BTreeMap::new();
    let mut failures = Vec::new();
    for provider in requirements
        .keys()
        .filter(|provider| !provider.is_builtin())
    {
        match executable(provider, locks, config, target) {
            Ok(path) => {
                executables.insert(provider.clone(), path);
            }
            Err(error) => failures.push(Failure {
                provider: provider.clone(),
                querying: false,
                version: None,
                error,
            }),
        }
    }
    if failures.is_empty() {
        Ok(executables)
    } else {
        Err(failures)
    }
}

fn executable(
    provider: &ProviderSource,
    locks: &Locks,
    config: &CliConfig,
    target: &Path,
) -> Result<PathBuf, Error> {
    let failed = Error::other;
    let directory = match (config.dev_overrides.get(provider), locks.0.get(provider)) {
        (Some(directory), _) => directory.clone(),
        (None, None) => {
            return Err(failed(
                "required by this configuration but no version is selected".to_owned(),
            ));
        }
        (None, Some(lock)) => {
            let directory =
                mirror::unpacked_path(target, provider, &lock.version, &Platform::current());
            if !directory.is_dir() {
                return Err(failed(format!(
                    "there is no package for {provider} {} cached in {}",
                    lock.version,
                    target.display()
                )));
            }
            let known = lock.known_hashes();
            let fits =
                known.is_empty() || hash::matches_any(Package::Directory(&directory), &known)?;
            if !fits {
                return Err(failed(format!(
                    "the cached package for {provider} {} (in {}) does not match any of the checksums recorded in the dependency lock file",
                    lock.version,
                    target.display()
                )));
            }
            directory
        }
    };
    mirror::executable(&directory, provider).ok_or_else(|| {
        failed(format!(
            "there is no executable of {provider} in {}",
            directory.display()
        ))
    })
}
