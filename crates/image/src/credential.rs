//! Credentials for registries.

use std::fmt;

use base64::Engine as _;
use serde::Deserialize;

use crate::Error;

/// Who to be at a registry.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The registry it is for: a host with optional port, optionally followed by a path that
    /// repositories must start with. Labels of the host may hold `*` (Kubernetes, "Pull an Image
    /// from a Private Registry": `*.example.com`).
    pub registry: String,
    /// User name; empty together with a `token`.
    #[serde(default)]
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: String,
    /// A bearer token that is presented as it is, instead of user and password.
    #[serde(default)]
    pub token: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl Credential {
    /// Reads `.dockerconfigjson` of a Secret of type `kubernetes.io/dockerconfigjson`: a Docker
    /// `config.json` with `auths`.
    pub fn from_docker_config_json(json: &[u8]) -> Result<Vec<Self>, Error> {
        let config: DockerConfig = serde_json::from_slice(json)
            .map_err(|error| Error::malformed(".dockerconfigjson", error))?;
        Self::from_auths(config.auths)
    }

    /// Reads `.dockercfg` of a Secret of type `kubernetes.io/dockercfg`: the older form, without
    /// the `auths` level.
    pub fn from_dockercfg(json: &[u8]) -> Result<Vec<Self>, Error> {
        let auths =
            serde_json::from_slice(json).map_err(|error| Error::malformed(".dockercfg", error))?;
        Self::from_auths(auths)
    }

    fn from_auths(
        auths: std::collections::BTreeMap<String, DockerAuth>,
    ) -> Result<Vec<Self>, Error> {
        let mut credentials = Vec::new();
        for (registry, entry) in auths {
            let bad = |reason: &str| {
                Error::malformed(format!("the credential for registry {registry}"), reason)
            };
            let (username, password) = match entry.auth.as_deref().filter(|auth| !auth.is_empty()) {
                Some(auth) => {
                    let engine = base64::engine::general_purpose::GeneralPurpose::new(
                        &base64::alphabet::STANDARD,
                        base64::engine::GeneralPurposeConfig::new().with_decode_padding_mode(
                            base64::engine::DecodePaddingMode::Indifferent,
                        ),
                    );
                    let decoded = engine
                        .decode(auth.trim())
                        .ok()
                        .and_then(|bytes| String::from_utf8(bytes).ok())
                        .ok_or_else(|| bad("auth is not base64 of text"))?;
                    let (username, password) = decoded
                        .split_once(':')
                        .ok_or_else(|| bad("auth is not base64 of user:password"))?;
                    // Some tools pad the decoded text with NUL.
                    let password = password.trim_end_matches('\0').to_owned();
                    (username.to_owned(), password)
                }
                None => (
                    entry.username.unwrap_or_default(),
                    entry.password.unwrap_or_default(),
                ),
            };
            credentials.push(Self {
                registry: registry.clone(),
                username,
                password,
                token: entry.registrytoken.filter(|token| !token.is_empty()),
            });
        }
        Ok(credentials)
    }

    /// How well this credential fits a repository: the length of the matching path, `None` when it
    /// does not fit at all.
    fn fits(&self, registry: &str, repository: &str) -> Option<usize> {
        let pattern = self.registry.trim();
        let pattern = pattern
            .strip_prefix("https://")
            .or_else(|| pattern.strip_prefix("http://"))
            .unwrap_or(pattern);
        let (host, path) = pattern.split_once('/').unwrap_or((pattern, ""));
        // Docker's own login writes the API version into the key.
        let path = path.trim_matches('/');
        let path = if matches!(path, "v1" | "v2") {
            ""
        } else {
            path
        };
        if !host_matches(host, registry) {
            return None;
        }
        let under = path.is_empty()
            || repository
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        under.then_some(path.len() + 1)
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let docker = |host: &str| {
        matches!(
            host,
            "docker.io" | "index.docker.io" | "registry-1.docker.io"
        )
    };
    if docker(pattern) && docker(host) {
        return true;
    }
    let split = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            (name.to_owned(), Some(port.to_owned()))
        }
        _ => (host.to_owned(), None),
    };
    let (pattern_name, pattern_port) = split(pattern);
    let (name, port) = split(host);
    if pattern_port != port {
        return false;
    }
    let patterns: Vec<_> = pattern_name.split('.').collect();
    let labels: Vec<_> = name.split('.').collect();
    patterns.len() == labels.len()
        && patterns
            .iter()
            .zip(&labels)
            .all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
}

/// `*` stands for any run of characters, `?` for one. Linear in the label for each star.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The credentials to try for a repository, best fit first: those of the pull before those of the
/// configuration.
pub(crate) fn fitting<'a>(
    registry: &str,
    repository: &str,
    given: &'a [Credential],
    configured: &'a [Credential],
) -> Vec<&'a Credential> {
    let mut found: Vec<_> = [(0, given), (1, configured)]
        .into_iter()
        .flat_map(|(rank, list)| list.iter().map(move |credential| (rank, credential)))
        .filter_map(|(rank, credential)| {
            let fit = credential.fits(registry, repository)?;
            Some((rank, std::cmp::Reverse(fit), credential))
        })
        .collect();
    found.sort_by_key(|(rank, fit, _)| (*rank, *fit));
    found
        .into_iter()
        .map(|(_, _, credential)| credential)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(registry: &str) -> Credential {
        Credential {
            registry: registry.into(),
            username: "u".into(),
            password: "p".into(),
            token: None,
        }
    }

    #[test]
    fn docker_configuration_is_read_in_all_its_forms() {
        let json = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},
            "quay.io":{"username":"a","password":"b"}, "t.io":{"registrytoken":"x"}}}"#;
        let found = Credential::from_docker_config_json(json).unwrap();
        let hub = found
            .iter()
            .find(|c| c.registry.contains("docker.io"))
            .unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("u", "p:q"));
        assert!(hub.fits("docker.io", "library/nginx").is_some());
        assert!(
            found
                .iter()
                .any(|c| c.registry == "quay.io" && c.password == "b")
        );
        assert!(found.iter().any(|c| c.token.as_deref() == Some("x")));
        let old = Credential::from_dockercfg(br#"{"quay.io":{"auth":"dTpw"}}"#).unwrap();
        assert_eq!(old[0].username, "u");
        let error = Credential::from_dockercfg(br#"{"quay.io":{"auth":"%%%"}}"#).unwrap_err();
        assert!(error.to_string().contains("quay.io"), "{error}");
    }

    #[test]
    fn a_credential_fits_by_host_glob_port_and_path() {
        for (registry, fits) in [
            ("a.example.com:5000", true),
            ("*.example.com:5000", true),
            ("http://a.example.com:5000/team", true),
            ("a.example.com:5000/tea", false),
            ("a.example.com", false),
            ("*.com:5000", false),
            ("b.example.com:5000", false),
        ] {
            assert_eq!(
                credential(registry)
                    .fits("a.example.com:5000", "team/app")
                    .is_some(),
                fits,
                "{registry}"
            );
        }
    }

    #[test]
    fn the_longest_path_of_the_pulls_own_credentials_comes_first() {
        let given = [credential("r.io"), credential("r.io/team")];
        let configured = [credential("r.io/team/app"), credential("other.io")];
        let order: Vec<_> = fitting("r.io", "team/app", &given, &configured)
            .iter()
            .map(|c| c.registry.as_str())
            .collect();
        assert_eq!(order, ["r.io/team", "r.io", "r.io/team/app"]);
    }

    #[test]
    fn passwords_are_not_printed() {
        let shown = format!("{:?}", credential("r.io"));
        assert!(
            !shown.contains("password") && !shown.contains("\"p\""),
            "{shown}"
        );
    }
}
