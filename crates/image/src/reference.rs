//! Image names.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The most characters a repository name may have, its registry included (distribution
/// specification, section "Pulling manifests").
const NAME_MAX: usize = 255;

/// The name of an image, normalised as Docker and the Kubernetes runtimes do it:
/// `nginx` is `docker.io/library/nginx:latest`, `quay.io/a/b:1` stays what it is.
///
/// ```
/// use consort_image::Reference;
///
/// let name: Reference = "nginx".parse()?;
/// assert_eq!(name.to_string(), "docker.io/library/nginx:latest");
/// assert_eq!(name.familiar(), "nginx:latest");
/// assert_eq!((name.registry(), name.repository()), ("docker.io", "library/nginx"));
/// # Ok::<(), consort_image::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image name. The node reports it as `InvalidImageName`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image name {name:?}: {reason}")]
pub struct InvalidName {
    /// The text as it was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Reference {
    /// Parses and normalises a name.
    ///
    /// The grammar is that of the distribution project's `reference` package: an optional
    /// registry host with port, a path of lower-case components, an optional tag, an optional
    /// digest. A first component is a host when it holds a dot or a colon, is `localhost`, or has
    /// an upper-case letter. Without tag and digest the tag is `latest`.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        Self::parts(name).map_err(|reason| InvalidName {
            name: name.to_owned(),
            reason,
        })
    }

    fn parts(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("the name is empty".into());
        }
        if Digest::from_hex(name).is_some() {
            return Err("64 hex digits are an image ID and not a name".into());
        }
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse::<Digest>()
                    .map_err(|error| error.to_string())?;
                (rest, Some(digest))
            }
            None => (name, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to a port.
        let (path, tag) = match rest.rfind(':') {
            Some(at) if !rest[at..].contains('/') => (&rest[..at], Some(&rest[at + 1..])),
            _ => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, others))
                if first.contains(['.', ':'])
                    || first == "localhost"
                    || first.contains(|c: char| c.is_ascii_uppercase()) =>
            {
                check_host(first)?;
                (first, others)
            }
            _ => ("docker.io", path),
        };
        let registry = if registry == "index.docker.io" {
            "docker.io"
        } else {
            registry
        };
        check_path(repository)?;
        let repository = if registry == "docker.io" && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        if registry.len() + 1 + repository.len() > NAME_MAX {
            return Err(format!(
                "the repository name must not have more than {NAME_MAX} characters"
            ));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: match (tag, digest) {
                (Some(tag), _) => Some(tag.to_owned()),
                (None, None) => Some("latest".to_owned()),
                (None, Some(_)) => None,
            },
            digest,
        })
    }

    /// The registry's host, with its port where one was given: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry: `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. `None` only for a name by digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when the name holds one. It decides over the tag.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository without tag and digest: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// This repository at `digest`, without a tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The short form that people write: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        match whole.strip_prefix("docker.io/") {
            Some(rest) => {
                let short = rest
                    .strip_prefix("library/")
                    .filter(|short| !short.contains('/'));
                short.unwrap_or(rest).to_owned()
            }
            None => whole,
        }
    }

    /// True when a pull must ask the registry again if no pull policy was given: the tag is
    /// `latest` and there is no digest (Kubernetes, `imagePullPolicy`).
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref() == Some("latest")
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = tag.starts_with(word);
    if starts && tag.len() <= 128 && tag.chars().all(|c| word(c) || c == '.' || c == '-') {
        Ok(())
    } else {
        Err(format!(
            "invalid tag {tag:?}: expected up to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'"
        ))
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let invalid = || format!("invalid registry host {host:?}");
    let (domain, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(invalid)?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(invalid());
        }
        (
            None,
            port.strip_prefix(':').or(port.is_empty().then_some("0")),
        )
    } else {
        match host.split_once(':') {
            Some((domain, port)) => (Some(domain), Some(port)),
            None => (Some(host), Some("0")),
        }
    };
    let port_is_good = port.is_some_and(|port| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    let label_is_good = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let domain_is_good = domain.is_none_or(|domain| domain.split('.').all(label_is_good));
    if port_is_good && domain_is_good {
        Ok(())
    } else {
        Err(invalid())
    }
}

/// A path is components joined by `/`; a component is lower-case letters and digits, joined by
/// one `.`, one or two `_`, or any number of `-`.
fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("the repository name is empty".into());
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository name must be lower case".into());
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    for component in path.split('/') {
        let bad = || format!("invalid path component {component:?} in the repository name");
        let bytes = component.as_bytes();
        let ends_well = |b: Option<&u8>| b.is_some_and(|b| alphanumeric(*b));
        if !ends_well(bytes.first()) || !ends_well(bytes.last()) {
            return Err(bad());
        }
        let separators = bytes.split(|b| alphanumeric(*b)).filter(|s| !s.is_empty());
        for separator in separators {
            let good = matches!(separator, b"." | b"_" | b"__")
                || separator.iter().all(|byte| *byte == b'-');
            if !good {
                return Err(bad());
            }
        }
    }
    Ok(())
}

impl FromStr for Reference {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::parse(name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (given, canonical, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
            (
                "library/nginx",
                "docker.io/library/nginx:latest",
                "nginx:latest",
            ),
            (
                "docker.io/nginx",
                "docker.io/library/nginx:latest",
                "nginx:latest",
            ),
            (
                "index.docker.io/nginx",
                "docker.io/library/nginx:latest",
                "nginx:latest",
            ),
            ("foo/bar", "docker.io/foo/bar:latest", "foo/bar:latest"),
            (
                "test.com:tag",
                "docker.io/library/test.com:tag",
                "test.com:tag",
            ),
            (
                "test.com:5000",
                "docker.io/library/test.com:5000",
                "test.com:5000",
            ),
            (
                "test.com/repo",
                "test.com/repo:latest",
                "test.com/repo:latest",
            ),
            (
                "test:5000/repo",
                "test:5000/repo:latest",
                "test:5000/repo:latest",
            ),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("Upper/case", "Upper/case:latest", "Upper/case:latest"),
            (
                "a-b_c__d.e---f",
                "docker.io/library/a-b_c__d.e---f:latest",
                "a-b_c__d.e---f:latest",
            ),
            (
                "consort.dev/toolbox",
                "consort.dev/toolbox:latest",
                "consort.dev/toolbox:latest",
            ),
        ] {
            let reference = Reference::parse(given).unwrap();
            assert_eq!(reference.to_string(), canonical, "{given}");
            assert_eq!(reference.familiar(), familiar, "{given}");
        }
    }

    #[test]
    fn a_digest_stands_beside_a_tag_and_suppresses_latest() {
        let both = Reference::parse(&format!("nginx:1@{DIGEST}")).unwrap();
        assert_eq!(
            both.to_string(),
            format!("docker.io/library/nginx:1@{DIGEST}")
        );
        let digest = Reference::parse(&format!("nginx@{DIGEST}")).unwrap();
        assert_eq!((digest.tag(), digest.is_latest()), (None, false));
        assert_eq!(digest.digest().unwrap().to_string(), DIGEST);
    }

    #[test]
    fn malformed_names_are_refused_with_the_reason() {
        for (bad, reason) in [
            ("", "empty"),
            (":tag", "empty"),
            ("a//b", "component"),
            ("/a", "component"),
            ("a/", "component"),
            ("nginx:", "tag"),
            ("nginx:.x", "tag"),
            ("Nginx", "lower case"),
            ("test.com/Repo", "lower case"),
            ("a..b", "component"),
            ("a___b", "component"),
            ("-a/b", "component"),
            ("a/../b", "component"),
            ("host:99999/a", "host"),
            ("host:/a", "host"),
            ("-x.com/a", "host"),
            ("[::1/a", "host"),
            ("nginx@sha256:12", "digest"),
            ("nginx@md5:d41d8cd98f00b204e9800998ecf8427e", "algorithm"),
            ("a b", "component"),
            (
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "image ID",
            ),
        ] {
            let error = Reference::parse(bad).expect_err(bad);
            assert!(error.reason.contains(reason), "{bad}: {error}");
        }
        assert!(Reference::parse(&"a".repeat(300)).is_err());
        assert!(Reference::parse(&format!("a:{}", "t".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn the_canonical_form_parses_to_itself(
            host in prop::option::of("([a-z][a-z0-9]{0,8}\\.[a-z]{2,3}|localhost)(:[1-9][0-9]{0,3})?"),
            path in "[a-z0-9]{1,8}([_-][a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,8}((__|\\.)[a-z0-9]{1,4})?){0,3}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            with_digest in any::<bool>(),
        ) {
            let mut name = host.map(|host| format!("{host}/")).unwrap_or_default() + &path;
            if let Some(tag) = tag { name = format!("{name}:{tag}"); }
            if with_digest { name = format!("{name}@{DIGEST}"); }
            let once = Reference::parse(&name).unwrap();
            prop_assert_eq!(&Reference::parse(&once.to_string()).unwrap(), &once);
            prop_assert_eq!(&Reference::parse(&once.familiar()).unwrap(), &once);
        }

        #[test]
        fn no_text_makes_the_parser_panic(name in any::<String>()) {
            if let Ok(reference) = Reference::parse(&name) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }
}
