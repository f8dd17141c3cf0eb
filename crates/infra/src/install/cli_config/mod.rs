//! The command-line configuration: `~/.terraformrc`, `TF_CLI_CONFIG_FILE`, credentials and where providers come from.

mod hcl1;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use hcl1::{Item, Node};

use crate::address::ProviderSource;
use crate::config::{parse_hostname, parse_part, parse_provider_source};

/// What the command-line configuration says.
#[derive(Clone, Debug, Default)]
pub struct CliConfig {
    /// Where packages of providers are kept for all configurations.
    pub plugin_cache: Option<PathBuf>,
    /// Whether the cache may be used for providers the lock file does not know yet.
    pub cache_may_break_lock: bool,
    /// How providers are installed; nothing means from the directories below the home directory, then from registries.
    pub installation: Option<Vec<Method>>,
    /// Providers that are used from directories and not installed.
    pub dev_overrides: BTreeMap<ProviderSource, PathBuf>,
    tokens: HashMap<String, String>,
    hosts: HashMap<String, serde_json::Map<String, serde_json::Value>>,
}

/// One way to get providers, and for which.
#[derive(Clone, Debug)]
pub struct Method {
    /// Where from.
    pub location: Location,
    /// For these alone; none means all.
    pub include: Vec<Pattern>,
    /// Not for these.
    pub exclude: Vec<Pattern>,
}

/// Where providers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Each provider's own registry.
    Direct,
    /// A directory.
    FilesystemMirror(PathBuf),
    /// A server.
    NetworkMirror(String),
}

/// Provider addresses with `*` for a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: String,
    namespace: String,
    kind: String,
}

impl Pattern {
    /// Parses `kind`, `namespace/kind` or `host/namespace/kind`.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid provider matching pattern {text:?}");
        let mut parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 {
            return Err(invalid());
        }
        let part = |text: &str| {
            if text == "*" {
                Ok("*".to_string())
            } else {
                parse_part(text).map_err(|_| invalid())
            }
        };
        let kind = part(parts.pop().unwrap_or_default())?;
        let namespace = parts
            .pop()
            .map_or_else(|| Ok("hashicorp".to_string()), part)?;
        let host = match parts.pop() {
            Some("*") => "*".to_string(),
            Some(host) => parse_hostname(host).map_err(|_| invalid())?,
            None => ProviderSource::DEFAULT_HOST.to_string(),
        };
        if (host == "*" && namespace != "*") || (namespace == "*" && kind != "*") {
            return Err(invalid());
        }
        Ok(Self {
            host,
            namespace,
            kind,
        })
    }

    fn matches(&self, provider: &ProviderSource) -> bool {
        let fits = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        fits(&self.host, &provider.host)
            && fits(&self.namespace, &provider.namespace)
            && fits(&self.kind, &provider.kind)
    }
}

impl Method {
    /// A way for all providers.
    pub fn for_all(location: Location) -> Self {
        Self {
            location,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }

    /// Whether it is for a provider.
    pub fn serves(&self, provider: &ProviderSource) -> bool {
        (self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(provider)))
            && !self.exclude.iter().any(|pattern| pattern.matches(provider))
    }
}

/// Why a command-line configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl CliConfig {
    /// The configuration as the environment says: the file `TF_CLI_CONFIG_FILE` names, else `~/.terraformrc`;
    /// `~/.terraform.d/*.tfrc` and `credentials.tfrc.json` beside it; `TF_PLUGIN_CACHE_DIR` and `TF_TOKEN_..`.
    ///
    /// # Errors
    /// When a file cannot be read or understood.
    pub fn from_environment(environment: &HashMap<String, String>) -> Result<Self, Error> {
        let mut config = Self::default();
        let home = environment.get("HOME").map(PathBuf::from);
        let named = environment
            .get("TF_CLI_CONFIG_FILE")
            .or_else(|| environment.get("TERRAFORM_CONFIG"))
            .filter(|path| !path.is_empty());
        let main = named
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join(".terraformrc")));
        if let Some(path) = main.filter(|path| path.exists()) {
            config.add_file(&path, environment)?;
        }
        if let Some(directory) = home
            .filter(|_| named.is_none())
            .map(|home| home.join(".terraform.d"))
        {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    let name = path
                        .file_name()
                        .and_then(|name| name.to_str())
                        .unwrap_or_default();
                    [".tfrc", ".tfrc.json"]
                        .iter()
                        .any(|end| name.ends_with(end))
                })
                .collect();
            files.sort();
            for file in files {
                config.add_file(&file, environment)?;
            }
        }
        if let Some(directory) = environment
            .get("TF_PLUGIN_CACHE_DIR")
            .filter(|directory| !directory.is_empty())
        {
            config.plugin_cache = Some(PathBuf::from(directory));
        }
        if let Some(value) = environment.get("TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE") {
            config.cache_may_break_lock = !value.is_empty() && value != "0";
        }
        for (name, token) in environment {
            if let Some(host) = name.strip_prefix("TF_TOKEN_") {
                // Two underscores stand for a dash, one for a dot.
                let host = host.replace("__", "-").replace('_', ".");
                if let Ok(host) = parse_hostname(&host) {
                    config.tokens.insert(host, token.clone());
                }
            }
        }
        Ok(config)
    }

    /// Adds what a file says.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn add_file(
        &mut self,
        path: &Path,
        environment: &HashMap<String, String>,
    ) -> Result<(), Error> {
        let failed = |reason: String| Error {
            path: path.to_path_buf(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        self.add(&text, environment).map_err(failed)
    }

    fn add(&mut self, text: &str, environment: &HashMap<String, String>) -> Result<(), String> {
        for item in hcl1::parse(text)? {
            let at = |what: &str| format!("line {}: {what}", item.line);
            match item.keys[0].as_str() {
                "plugin_cache_dir" => {
                    let given = item
                        .value
                        .as_str()
                        .ok_or_else(|| at("plugin_cache_dir must be a string"))?;
                    self.plugin_cache = Some(PathBuf::from(expand(given, environment)));
                }
                "plugin_cache_may_break_dependency_lock_file" => {
                    self.cache_may_break_lock = item.value.as_bool().ok_or_else(|| {
                        at("plugin_cache_may_break_dependency_lock_file must be true or false")
                    })?;
                }
                "credentials" => {
                    for (host, body) in labelled(&item) {
                        let host = parse_hostname(host)
                            .map_err(|why| at(&format!("credentials {host:?}: {why}")))?;
                        if let Some(token) =
                            body.items().iter().find(|item| item.keys[0] == "token")
                        {
                            let token = token
                                .value
                                .as_str()
                                .ok_or_else(|| at("token must be a string"))?;
                            self.tokens.insert(host, token.to_string());
                        }
                    }
                }
                "host" => {
                    for (host, body) in labelled(&item) {
                        let host = parse_hostname(host)
                            .map_err(|why| at(&format!("host {host:?}: {why}")))?;
                        let services = body.items().iter().find(|item| item.keys[0] == "services");
                        let services = services
                            .map(|services| services.value.items())
                            .unwrap_or_default();
                        let services = services
                            .iter()
                            .filter_map(|item| {
                                Some((item.keys[0].clone(), item.value.as_str()?.into()))
                            })
                            .collect();
                        self.hosts.insert(host, services);
                    }
                }
                "provider_installation" => self.add_installation(&item)?,
                "credentials_helper" => {
                    return Err(at(
                        "credentials helpers are not supported; use a credentials block or a TF_TOKEN_ variable",
                    ));
                }
                // Settings of what this program does not do: checks for new versions, old plugin lists.
                "disable_checkpoint"
                | "disable_checkpoint_signature"
                | "providers"
                | "provisioners"
                | "experiments" => {}
                other => tracing::warn!(
                    setting = other,
                    "unknown setting in the command-line configuration"
                ),
            }
        }
        Ok(())
    }

    fn add_installation(&mut self, block: &Item) -> Result<(), String> {
        let mut methods = Vec::new();
        for item in block.value.items() {
            let at = |what: &str| format!("line {}: {what}", item.line);
            let argument = |name: &str| item.value.items().iter().find(|item| item.keys[0] == name);
            let patterns = |name: &str| match argument(name) {
                None => Ok(Vec::new()),
                Some(item) => item
                    .value
                    .strings()
                    .ok_or_else(|| at(&format!("{name} must be a list of strings")))?
                    .iter()
                    .map(|text| Pattern::parse(text).map_err(|why| at(&why)))
                    .collect(),
            };
            let required = |name: &str| {
                argument(name)
                    .and_then(|item| item.value.as_str())
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned)
                    .ok_or_else(|| {
                        at(&format!(
                            "Invalid {} block: \"{name}\" argument is required.",
                            item.keys[0]
                        ))
                    })
            };
            let location = match item.keys[0].as_str() {
                "direct" => Location::Direct,
                "filesystem_mirror" => Location::FilesystemMirror(PathBuf::from(required("path")?)),
                "network_mirror" => {
                    let url = required("url")?;
                    if !url.starts_with("https:") {
                        return Err(at(
                            "Invalid URL for provider installation source: the network mirror must be an https: URL.",
                        ));
                    }
                    Location::NetworkMirror(url)
                }
                "dev_overrides" => {
                    if !methods.is_empty() {
                        return Err(at(
                            "The dev_overrides block must appear before all other installation methods, because development overrides always have the highest priority.",
                        ));
                    }
                    for item in item.value.items() {
                        let provider = parse_provider_source(&item.keys[0]).map_err(|invalid| {
                            at(&format!(
                                "The entry {:?} is not a valid provider source string.\n\n{}",
                                item.keys[0], invalid.detail
                            ))
                        })?;
                        let path = item
                            .value
                            .as_str()
                            .ok_or_else(|| at("a path is expected"))?;
                        self.dev_overrides.insert(provider, PathBuf::from(path));
                    }
                    continue;
                }
                other => {
                    return Err(at(&format!(
                        "Unknown provider installation method {other:?}."
                    )));
                }
            };
            methods.push(Method {
                location,
                include: patterns("include")?,
                exclude: patterns("exclude")?,
            });
        }
        if self.installation.is_some() {
            return Err(
                "No more than one provider_installation block may be specified".to_string(),
            );
        }
        self.installation = Some(methods);
        Ok(())
    }

    /// The token for a host.
    pub fn token(&self, host: &str) -> Option<&str> {
        self.tokens.get(host).map(String::as_str)
    }

    /// The services a `host` block gives a host in place of those it says it has.
    pub(super) fn host_services(
        &self,
        host: &str,
    ) -> Option<&serde_json::Map<String, serde_json::Value>> {
        self.hosts.get(host)
    }

    /// How providers are installed. Without configuration: from the directories Terraform looks into, and for providers
    /// that are in none of them from their registries.
    pub fn methods(&self, environment: &HashMap<String, String>) -> Vec<Method> {
        if let Some(methods) = &self.installation {
            return methods.clone();
        }
        let mut directories = vec![PathBuf::from("terraform.d/plugins")];
        if let Some(home) = environment.get("HOME").map(PathBuf::from) {
            directories.push(home.join(".terraform.d/plugins"));
            let data = environment
                .get("XDG_DATA_HOME")
                .map_or_else(|| home.join(".local/share"), PathBuf::from);
            directories.push(data.join("terraform/plugins"));
        }
        let shared = environment
            .get("XDG_DATA_DIRS")
            .filter(|directories| !directories.is_empty());
        let shared = shared.map_or("/usr/local/share:/usr/share", String::as_str);
        directories.extend(
            shared
                .split(':')
                .map(|directory| Path::new(directory).join("terraform/plugins")),
        );
        let mut methods = Vec::new();
        let mut found = Vec::new();
        for directory in directories {
            let providers = super::mirror::search(&directory);
            if providers.is_empty() {
                continue;
            }
            let patterns: Vec<Pattern> = providers
                .keys()
                .map(|provider| Pattern {
                    host: provider.host.to_string(),
                    namespace: provider.namespace.to_string(),
                    kind: provider.kind.to_string(),
                })
                .collect();
            found.extend(patterns.clone());
            methods.push(Method {
                location: Location::FilesystemMirror(directory),
                include: patterns,
                exclude: Vec::new(),
            });
        }
        methods.push(Method {
            location: Location::Direct,
            include: Vec::new(),
            exclude: found,
        });
        methods
    }
}

/// `name "label" { .. }`, or in JSON `"name": {"label": { .. }}`.
fn labelled(item: &Item) -> Vec<(&str, &Node)> {
    match item.keys.as_slice() {
        [_, label] => vec![(label, &item.value)],
        _ => item
            .value
            .items()
            .iter()
            .map(|inner| (inner.keys[0].as_str(), &inner.value))
            .collect(),
    }
}

/// `$NAME` and `${NAME}` replaced by the environment's values.
fn expand(text: &str, environment: &HashMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let braced = rest
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let end = rest
                .find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
                .unwrap_or(rest.len());
            rest.split_at(end)
        });
        expanded.push_str(environment.get(name).map_or("", String::as_str));
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_where_providers_come_from_and_who_asks() {
        let environment = HashMap::from([
            ("HOME".to_string(), "/nowhere".to_string()),
            (
                "TF_TOKEN_my__host_example_com".to_string(),
                "secret".to_string(),
            ),
        ]);
        let mut config = CliConfig::from_environment(&environment).unwrap();
        config
            .add(
                "plugin_cache_dir = \"$HOME/c\"\ncredentials \"Example.com\" { token = \"t\" }\nprovider_installation {\n dev_overrides { \"hashicorp/null\" = \"/dev\" }\n filesystem_mirror { path = \"/m\"\n include = [\"example.com/*/*\"] }\n direct { exclude = [\"example.com/*/*\"] }\n}",
                &environment,
            )
            .unwrap();
        assert_eq!(
            config.plugin_cache.as_deref(),
            Some(Path::new("/nowhere/c"))
        );
        assert_eq!(config.token("example.com"), Some("t"));
        assert_eq!(config.token("my-host.example.com"), Some("secret"));
        assert_eq!(config.dev_overrides.len(), 1);
        let methods = config.methods(&environment);
        let here = parse_provider_source("example.com/a/b").unwrap();
        let there = parse_provider_source("hashicorp/aws").unwrap();
        assert!(methods[0].serves(&here) && !methods[0].serves(&there));
        assert!(!methods[1].serves(&here) && methods[1].serves(&there));
        for bad in [
            "provider_installation { network_mirror { url = \"http://x\" } }",
            "provider_installation { x {} }",
            "provider_installation { filesystem_mirror {} }",
        ] {
            assert!(
                CliConfig::default().add(bad, &environment).is_err(),
                "{bad}"
            );
        }
    }
}
