//! Installation of modules: every call of the configuration gets a directory, and the manifest says which.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use reqwest::StatusCode;
use serde::Deserialize;

use super::error::Error;
use super::getter;
use super::http::Http;
use super::manifest::{Manifest, Record};
use crate::address::ModulePath;
use crate::config::source::clean_path;
use crate::config::{Module, ModuleCall, ModuleSource, RegistryModule, load_module};
use crate::version::{Constraints, Version};

/// The service id in discovery.
const SERVICE: &str = "modules.v1";

/// How deep modules may call modules.
const DEEPEST: usize = 128;

/// Something to tell the user while it goes on.
#[derive(Clone, Debug)]
pub enum ModuleEvent {
    /// A package is fetched.
    Downloading {
        /// The names of the calls, joined by dots.
        key: String,
        /// Where from.
        package: String,
        /// Which version, when it comes from a registry.
        version: Option<Version>,
    },
    /// A module has its directory.
    Installed {
        /// The names of the calls, joined by dots.
        key: String,
        /// Where it is.
        directory: PathBuf,
    },
}

/// Installs the modules of a configuration below a directory (`.terraform/modules`).
pub struct ModuleInstaller<'a> {
    /// `.terraform/modules`
    pub directory: &'a Path,
    /// For what comes from elsewhere; without it only local paths can be installed.
    pub http: Option<&'a Http>,
    /// The directory that paths in the manifest are relative to, where that is not the working directory. Then a
    /// manifest is written only if something was fetched.
    pub base: Option<&'a Path>,
    /// Whether modules that are there already are fetched anew.
    pub upgrade: bool,
    /// Told what goes on.
    pub events: &'a mut (dyn FnMut(ModuleEvent) + Send),
}

struct Walk<'a, 'b> {
    installer: &'b mut ModuleInstaller<'a>,
    manifest: Manifest,
    kept: BTreeSet<ModulePath>,
    sources: &'b mut Sources,
    diagnostics: Diagnostics,
    /// Versions a registry has of a module, asked for once.
    versions: HashMap<String, Vec<Version>>,
    /// Packages fetched in this run, which calls of the same package copy.
    fetched: HashMap<String, PathBuf>,
}

/// A call that has to be installed yet.
struct Pending {
    parent: ModulePath,
    parent_directory: PathBuf,
    /// The package the parent is in, and the parent's place in it, to notice paths that leave it.
    package: Option<(String, String)>,
    call: ModuleCall,
    above: Vec<PathBuf>,
}

impl ModuleInstaller<'_> {
    /// Installs what the root module calls, and what that calls. The manifest is written when nothing failed, and
    /// comes back with what was installed in any case.
    pub async fn install(
        &mut self,
        root: &Path,
        tests: Option<&str>,
        sources: &mut Sources,
    ) -> (Manifest, Diagnostics) {
        let manifest = match Manifest::read(self.directory) {
            Ok(mut manifest) => {
                if let Some(base) = self.base {
                    manifest.change_directories(|path| clean(&base.join(path)));
                }
                manifest
            }
            Err(error) => {
                let detail = format!(
                    "Error reading manifest for {}: {error}.",
                    self.directory.display()
                );
                return (
                    Manifest::default(),
                    Diagnostic::error("Failed to read modules manifest file", detail).into(),
                );
            }
        };
        let (module, diagnostics) = load_module(root, &ModulePath::root(), tests, sources);
        let Some(module) = module.filter(|_| !diagnostics.has_errors()) else {
            return (manifest, diagnostics);
        };
        let mut walk = Walk {
            installer: self,
            manifest,
            kept: BTreeSet::new(),
            sources,
            diagnostics: Diagnostics::new(),
            versions: HashMap::new(),
            fetched: HashMap::new(),
        };
        let root_record = Record {
            source: String::new(),
            version: None,
            directory: clean(root),
        };
        walk.manifest.insert(&ModulePath::root(), root_record);
        walk.kept.insert(ModulePath::root());
        walk.run(&module, root).await;
        let Walk {
            mut manifest,
            kept,
            mut diagnostics,
            ..
        } = walk;
        manifest.keep(&kept);
        // Warnings of what is loaded come again when the configuration is loaded as a whole.
        diagnostics = diagnostics
            .into_iter()
            .filter(Diagnostic::is_error)
            .collect();
        let (directory, base) = (self.directory, self.base);
        let written = match base {
            None => Some(manifest.clone()),
            Some(base) if manifest.has_below(directory) => {
                let mut relative = manifest.clone();
                relative.change_directories(|path| {
                    let short = path.strip_prefix(base).unwrap_or(path);
                    if short.as_os_str().is_empty() {
                        PathBuf::from(".")
                    } else {
                        short.to_owned()
                    }
                });
                Some(relative)
            }
            Some(_) => None,
        };
        if !diagnostics.has_errors()
            && let Some(written) = written
            && let Err(error) = written.write(directory)
        {
            diagnostics.push(Diagnostic::error(
                "Failed to update module manifest",
                format!("Unable to write the module manifest file: {error}"),
            ));
        }
        (manifest, diagnostics)
    }
}

fn clean(path: &Path) -> PathBuf {
    PathBuf::from(clean_path(&path.to_string_lossy()))
}

impl Walk<'_, '_> {
    fn error(&mut self, summary: &str, detail: String, at: Range) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    async fn run(&mut self, root: &Module, directory: &Path) {
        let mut pending: Vec<Pending> = Vec::new();
        let push = |pending: &mut Vec<Pending>,
                    module: &Module,
                    directory: &Path,
                    package: Option<(String, String)>,
                    above: Vec<PathBuf>| {
            for call in module.module_calls.values().rev() {
                pending.push(Pending {
                    parent: module.path.clone(),
                    parent_directory: directory.to_path_buf(),
                    package: package.clone(),
                    call: call.clone(),
                    above: above.clone(),
                });
            }
        };
        push(&mut pending, root, directory, None, vec![clean(directory)]);
        let mut of_runs: Vec<Pending> = Vec::new();
        for (file, test) in &root.tests {
            for run in &test.runs {
                let Some(module) = &run.module else { continue };
                let Some((parent, _)) = run.module_path(file).split() else {
                    continue;
                };
                of_runs.push(Pending {
                    parent,
                    parent_directory: directory.to_path_buf(),
                    package: None,
                    call: module.as_call(&run.name),
                    above: Vec::new(),
                });
            }
        }
        // The last is taken first, and what the root calls before all.
        of_runs.reverse();
        pending.splice(0..0, of_runs);
        while let Some(next) = pending.pop() {
            let path = next.parent.child(next.call.name.clone());
            let Some((directory, package)) = self.call(&next, &path).await else {
                continue;
            };
            self.kept.insert(path.clone());
            if next.above.len() >= DEEPEST || next.above.contains(&directory) {
                let detail = format!(
                    "The module in {} is called from within itself, which would never end.",
                    directory.display()
                );
                self.error("Module calls itself", detail, next.call.range);
                continue;
            }
            let (module, diagnostics) = load_module(&directory, &path, None, self.sources);
            let Some(module) = module else {
                let detail = format!(
                    "The directory {} could not be read for module {:?} at {}.",
                    directory.display(),
                    &*next.call.name,
                    self.place(next.call.range)
                );
                self.diagnostics
                    .push(Diagnostic::error("Unreadable module directory", detail));
                continue;
            };
            self.diagnostics.append(diagnostics);
            let mut above = next.above;
            above.push(directory.clone());
            push(&mut pending, &module, &directory, package, above);
        }
    }

    /// File and line of a call, as messages name it.
    fn place(&self, range: Range) -> String {
        self.sources
            .get(range.source)
            .map(|source| format!("{}:{}", source.name(), source.position(range.start).line))
            .unwrap_or_default()
    }

    /// Installs one call if it is not there: its directory, and the package it is in.
    async fn call(
        &mut self,
        next: &Pending,
        path: &ModulePath,
    ) -> Option<(PathBuf, Option<(String, String)>)> {
        let source = next.call.address.clone()?;
        let no_constraints = Constraints::default();
        let constraints = next
            .call
            .version
            .as_ref()
            .map_or(&no_constraints, |version| &version.constraints);
        let key = path
            .names()
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>()
            .join(".");
        let recorded = self.manifest.get(path).filter(|record| {
            !self.installer.upgrade
                && record.source == source.to_string()
                && record
                    .version
                    .as_ref()
                    .is_none_or(|version| constraints.allows(version))
                && record.directory.is_dir()
        });
        if let Some(record) = recorded {
            let directory = record.directory.clone();
            let package = Self::package_of(&source, next);
            return Some((directory, package));
        }
        self.manifest.remove(path);
        let place = self.installer.directory.join(&key);
        // A link is removed, not what it leads to.
        let removed = match std::fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(&place),
            Ok(_) => std::fs::remove_file(&place),
            Err(_) => Ok(()),
        };
        if let Err(error) = removed {
            let detail = format!(
                "Terraform tried to remove {} in order to reinstall this module, but encountered an error: {error}",
                place.display()
            );
            self.diagnostics.push(Diagnostic::error(
                "Failed to remove local module cache",
                detail,
            ));
            return None;
        }
        let (directory, version) = match &source {
            ModuleSource::Local(local) => (self.local(next, local, constraints, path)?, None),
            ModuleSource::Remote { package, subdir } => (
                self.remote(next, &key, package, subdir, constraints, &place)
                    .await?,
                None,
            ),
            ModuleSource::Registry(module) => {
                let (directory, version) = self
                    .registry(next, &key, module, constraints, &place)
                    .await?;
                (directory, Some(version))
            }
        };
        let directory = clean(&directory);
        self.manifest.insert(
            path,
            Record {
                source: source.to_string(),
                version,
                directory: directory.clone(),
            },
        );
        (self.installer.events)(ModuleEvent::Installed {
            key,
            directory: directory.clone(),
        });
        Some((directory, Self::package_of(&source, next)))
    }

    fn package_of(source: &ModuleSource, next: &Pending) -> Option<(String, String)> {
        match source {
            ModuleSource::Local(local) => next
                .package
                .as_ref()
                .map(|(package, at)| (package.clone(), clean_path(&format!("{at}/{local}")))),
            ModuleSource::Remote { package, subdir } => Some((package.clone(), subdir.clone())),
            ModuleSource::Registry(module) => {
                let whole = RegistryModule {
                    subdir: String::new(),
                    ..module.clone()
                };
                Some((whole.to_string(), module.subdir.clone()))
            }
        }
    }

    fn local(
        &mut self,
        next: &Pending,
        local: &str,
        constraints: &Constraints,
        path: &ModulePath,
    ) -> Option<PathBuf> {
        if !constraints.is_empty() {
            let detail = format!(
                "Cannot apply a version constraint to module {:?} (at {}) because it has a relative local path.",
                &*next.call.name,
                self.place(next.call.range)
            );
            self.error("Invalid version constraint", detail, next.call.range);
        }
        if let Some((package, at)) = &next.package {
            let inside = clean_path(&format!("{at}/{local}"));
            if inside == ".." || inside.starts_with("../") {
                let detail = format!(
                    "The given source directory for {path} would be outside of its containing package {package:?}. Local source addresses starting with \"../\" must stay within the same package that the calling module belongs to."
                );
                self.diagnostics.push(Diagnostic::error(
                    "Local module path escapes module package",
                    detail,
                ));
                return None;
            }
        }
        let directory = clean(&next.parent_directory.join(local));
        if !directory.is_dir() {
            let detail = format!(
                "The directory {} could not be read for module {:?} at {}.",
                directory.display(),
                &*next.call.name,
                self.place(next.call.range)
            );
            self.diagnostics
                .push(Diagnostic::error("Unreadable module directory", detail));
            return None;
        }
        Some(directory)
    }

    /// Fetches a package, or links to where it was fetched in this run.
    async fn fetch(&mut self, package: &str, place: &Path) -> Result<(), Error> {
        let Some(http) = self.installer.http else {
            return Err(Error::other(
                "only local module sources are supported in this context",
            ));
        };
        std::fs::create_dir_all(self.installer.directory)
            .map_err(Error::io("creating", self.installer.directory))?;
        if let Some(previous) = self.fetched.get(package) {
            return copy_tree(previous, place);
        }
        if let Err(error) = getter::fetch(http, package, place).await {
            // What is half there is not there.
            let _ = std::fs::remove_dir_all(place);
            return Err(error);
        }
        self.fetched
            .insert(package.to_string(), place.to_path_buf());
        Ok(())
    }

    async fn remote(
        &mut self,
        next: &Pending,
        key: &str,
        package: &str,
        subdir: &str,
        constraints: &Constraints,
        place: &Path,
    ) -> Option<PathBuf> {
        (self.installer.events)(ModuleEvent::Downloading {
            key: key.to_string(),
            package: package.to_string(),
            version: None,
        });
        if !constraints.is_empty() {
            let detail = format!(
                "Cannot apply a version constraint to module {:?} (at {}) because it doesn't come from a module registry.",
                &*next.call.name,
                self.place(next.call.range)
            );
            self.error("Invalid version constraint", detail, next.call.range);
            return None;
        }
        if let Err(error) = self.fetch(package, place).await {
            self.failed_download(next, package, &error);
            return None;
        }
        match getter::expand_subdir(place, subdir) {
            Ok(directory) => Some(directory),
            Err(error) => {
                self.diagnostics.push(
                    Diagnostic::error("Failed to expand subdir globs", error.to_string())
                        .at(next.call.range),
                );
                None
            }
        }
    }

    fn failed_download(&mut self, next: &Pending, package: &str, error: &Error) {
        let detail = format!(
            "Could not download module {:?} ({}) source code from {package:?}: {error}",
            &*next.call.name,
            self.place(next.call.range)
        );
        self.error("Failed to download module", detail, next.call.range);
    }

    async fn registry(
        &mut self,
        next: &Pending,
        key: &str,
        module: &RegistryModule,
        constraints: &Constraints,
        place: &Path,
    ) -> Option<(PathBuf, Version)> {
        const ACCESS: &str = "Error accessing remote module registry";
        let at = next.call.range;
        let (name, where_) = (next.call.name.to_string(), self.place(at));
        let Some(http) = self.installer.http.cloned() else {
            self.error(
                "Registry-style module sources not supported",
                "Only local module sources are supported in this context.".to_string(),
                at,
            );
            return None;
        };
        let package = RegistryModule {
            subdir: String::new(),
            ..module.clone()
        };
        let known = self.versions.get(&package.to_string()).cloned();
        let versions = match known {
            Some(versions) => versions,
            None => match registry_versions(&http, module).await {
                Ok(versions) => versions,
                Err(Error::NotFound(_)) => {
                    let detail = format!(
                        "Module {:?} (from {where_}) cannot be found in the module registry at {}.",
                        package.path(),
                        module.host
                    );
                    self.error("Module not found", detail, at);
                    return None;
                }
                Err(error) => {
                    let detail = format!(
                        "Failed to retrieve available versions for module {name:?} ({where_}) from {}: {error}.",
                        module.host
                    );
                    self.error(ACCESS, detail, at);
                    return None;
                }
            },
        };
        self.versions.insert(package.to_string(), versions.clone());
        let pinned = |version: &&Version| {
            version.prerelease().is_empty() || constraints.allows_provider(version)
        };
        let Some(latest) = versions.iter().filter(pinned).max() else {
            let detail = format!(
                "Module {:?} ({where_}) has no versions available on {}.",
                module.to_string(),
                module.host
            );
            self.error("Module has no versions", detail, at);
            return None;
        };
        let Some(version) = versions
            .iter()
            .filter(pinned)
            .filter(|version| constraints.allows(version))
            .max()
            .cloned()
        else {
            let detail = format!(
                "There is no available version of module {:?} ({where_}) which matches the given version constraint. The newest available version is {latest}.",
                module.to_string()
            );
            self.error("Unresolvable module version constraint", detail, at);
            return None;
        };
        (self.installer.events)(ModuleEvent::Downloading {
            key: key.to_string(),
            package: package.to_string(),
            version: Some(version.clone()),
        });
        let (location, subdir) = match registry_location(&http, module, &version).await {
            Ok(location) => location,
            Err(error) => {
                let detail = format!(
                    "Failed to retrieve a download URL for {module} {version} from {}: {error}",
                    module.host
                );
                self.error(ACCESS, detail, at);
                return None;
            }
        };
        if let Err(error) = self.fetch(&location, place).await {
            self.failed_download(next, &location, &error);
            return None;
        }
        let subdir = match (subdir.is_empty(), module.subdir.is_empty()) {
            (true, _) => module.subdir.clone(),
            (false, true) => subdir,
            (false, false) => format!("{subdir}/{}", module.subdir),
        };
        match getter::expand_subdir(place, &subdir) {
            Ok(directory) => Some((directory, version)),
            Err(error) => {
                self.error(
                    "Module subdirectory not found",
                    format!("Cannot use the requested directory of module {module}: {error}."),
                    at,
                );
                None
            }
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    let metadata = std::fs::symlink_metadata(from).map_err(Error::io("reading", from))?;
    if metadata.file_type().is_symlink() {
        let target = std::fs::read_link(from).map_err(Error::io("reading", from))?;
        return std::os::unix::fs::symlink(target, to).map_err(Error::io("linking", to));
    }
    if metadata.is_file() {
        return std::fs::copy(from, to)
            .map(|_| ())
            .map_err(Error::io("copying", from));
    }
    std::fs::create_dir(to).map_err(Error::io("creating", to))?;
    for entry in std::fs::read_dir(from).map_err(Error::io("reading", from))? {
        let entry = entry.map_err(Error::io("reading", from))?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    modules: Vec<ListedModule>,
}

#[derive(Deserialize)]
struct ListedModule {
    #[serde(default)]
    versions: Vec<ListedVersion>,
}

#[derive(Deserialize)]
struct ListedVersion {
    version: String,
}

async fn base(http: &Http, module: &RegistryModule) -> Result<reqwest::Url, Error> {
    http.service(&module.host, SERVICE).await?.ok_or_else(|| {
        Error::other(format!(
            "host {} does not provide a {SERVICE} service",
            module.host
        ))
    })
}

async fn registry_versions(http: &Http, module: &RegistryModule) -> Result<Vec<Version>, Error> {
    let url = base(http, module).await?;
    let url = url
        .join(&format!("{}/versions", module.path()))
        .map_err(|error| Error::other(error.to_string()))?;
    let answer = http.get(&url, Some(&module.host)).await?;
    match answer.status {
        StatusCode::OK => {
            let listing: Listing = answer.json()?;
            let first = listing
                .modules
                .into_iter()
                .next()
                .map(|module| module.versions)
                .unwrap_or_default();
            Ok(first
                .iter()
                .filter_map(|listed| listed.version.parse().ok())
                .collect())
        }
        StatusCode::NOT_FOUND => Err(Error::NotFound(module.to_string())),
        status => Err(Error::other(format!(
            "error looking up module versions: {status}"
        ))),
    }
}

/// Where a version of a module is: a package, and a directory in it.
async fn registry_location(
    http: &Http,
    module: &RegistryModule,
    version: &Version,
) -> Result<(String, String), Error> {
    let url = base(http, module).await?;
    let url = url
        .join(&format!("{}/{version}/download", module.path()))
        .map_err(|error| Error::other(error.to_string()))?;
    let answer = http.get(&url, Some(&module.host)).await?;
    let given = match answer.status {
        StatusCode::OK | StatusCode::NO_CONTENT => {
            let header = answer.header("x-terraform-get").to_string();
            if header.is_empty() && answer.status == StatusCode::OK {
                let body: serde_json::Value = answer.json()?;
                body.get("location")
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default()
                    .to_string()
            } else {
                header
            }
        }
        StatusCode::NOT_FOUND => {
            return Err(Error::NotFound(format!(
                "module {module} version {version} not found"
            )));
        }
        _ => return Err(answer.unexpected()),
    };
    if given.is_empty() {
        return Err(Error::other(
            "registry did not return a location for this package",
        ));
    }
    let relative = ["/", "./", "../"]
        .iter()
        .any(|prefix| given.starts_with(prefix));
    let given = if relative {
        // The path may hold the marker of a directory, which resolving keeps.
        answer
            .url
            .join(&given)
            .map(|url| url.to_string())
            .map_err(|error| Error::other(format!("invalid relative URL {given:?}: {error}")))?
    } else {
        given
    };
    match ModuleSource::parse(&given) {
        Ok(ModuleSource::Remote { package, subdir }) => Ok((package, subdir)),
        Ok(_) => Err(Error::other(format!(
            "registry returned invalid package location {given:?}: must be a direct remote package address"
        ))),
        Err(error) => Err(Error::other(format!(
            "registry returned invalid package location {given:?}: {error}"
        ))),
    }
}
