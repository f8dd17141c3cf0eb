//! Registry hosts and how to speak to them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::chain;
use crate::{Error, HostOptions, Mirror, Reference, Registries};

const CONNECT: Duration = Duration::from_secs(15);
/// A registry that sends nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(45);

/// All hosts that were spoken to.
#[derive(Default)]
pub(crate) struct Hosts {
    known: Mutex<HashMap<String, Arc<Host>>>,
}

/// One host.
pub(super) struct Host {
    /// As in names: `docker.io`.
    pub(super) name: String,
    /// Where its API is: `registry-1.docker.io`.
    address: String,
    client: reqwest::Client,
    plain_http: bool,
    /// Whether plain HTTP may be tried when TLS does not work.
    may_fall_back: bool,
    /// Set once plain HTTP was what worked.
    fell_back: AtomicBool,
}

/// A repository at a host.
pub(crate) struct Endpoint {
    pub(super) host: Arc<Host>,
    pub(super) repository: String,
    /// The registry this host stands in for.
    pub(super) stands_for: Option<String>,
}

impl Endpoint {
    pub(crate) fn host(&self) -> &str {
        &self.host.name
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn is_mirror(&self) -> bool {
        self.stands_for.is_some()
    }
}

impl Hosts {
    /// Where to ask for an image: the registry's mirrors in their order, then the registry.
    pub(crate) fn endpoints(
        &self,
        image: &Reference,
        registries: &Registries,
    ) -> Vec<Result<Endpoint, Error>> {
        let none = Vec::new();
        let mirrors: &Vec<Mirror> = registries.mirrors.get(image.registry()).unwrap_or(&none);
        let mirrored = mirrors.iter().map(|mirror| {
            let repository = match mirror.path.as_str() {
                "" => image.repository().to_owned(),
                path => format!("{path}/{}", image.repository()),
            };
            Ok(Endpoint {
                host: self.host(&mirror.host, registries)?,
                repository,
                stands_for: Some(image.registry().to_owned()),
            })
        });
        let own = std::iter::once_with(|| {
            Ok(Endpoint {
                host: self.host(image.registry(), registries)?,
                repository: image.repository().to_owned(),
                stands_for: None,
            })
        });
        mirrored.chain(own).collect()
    }

    fn host(&self, name: &str, registries: &Registries) -> Result<Arc<Host>, Error> {
        if let Some(host) = self.known.lock().get(name) {
            return Ok(host.clone());
        }
        let options = registries.hosts.get(name).cloned().unwrap_or_default();
        let host = Arc::new(Host::new(name, &options)?);
        Ok(self
            .known
            .lock()
            .entry(name.to_owned())
            .or_insert(host)
            .clone())
    }
}

impl Host {
    fn new(name: &str, options: &HostOptions) -> Result<Self, Error> {
        let local = is_loopback(name);
        // Only the first to install one wins; all of them are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("consort/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::limited(10));
        if local {
            builder = builder.no_proxy();
        }
        if options.plain_http {
            // Without TLS no certificates are needed, and a machine may have none.
            builder = builder.tls_certs_only([]);
        }
        if options.skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(path) = &options.ca {
            let pem = std::fs::read(path).map_err(Error::io("reading", path))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| {
                Error::malformed(
                    format!("certificate file {}", path.display()),
                    chain(&error),
                )
            })?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| Error::Unreachable {
            registry: name.to_owned(),
            reason: chain(&error),
        })?;
        Ok(Self {
            name: name.to_owned(),
            address: match name {
                "docker.io" => "registry-1.docker.io".to_owned(),
                other => other.to_owned(),
            },
            client,
            plain_http: options.plain_http,
            may_fall_back: local && options.ca.is_none(),
            fell_back: AtomicBool::new(false),
        })
    }

    fn scheme(&self) -> &'static str {
        if self.plain_http || self.fell_back.load(Ordering::Relaxed) {
            "http"
        } else {
            "https"
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.scheme() == "https"
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends one GET to a path of the host's API. `prepare` adds headers.
    pub(super) async fn get(
        &self,
        path: &str,
        prepare: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let send = |scheme: &str| {
            let url = format!("{scheme}://{}{path}", self.address);
            prepare(self.client.get(url)).send()
        };
        match send(self.scheme()).await {
            Err(error) if error.is_connect() && self.may_fall_back && self.is_secure() => {
                match send("http").await {
                    Ok(response) => {
                        self.fell_back.store(true, Ordering::Relaxed);
                        Ok(response)
                    }
                    // Neither works: what TLS said may have been about the certificate.
                    Err(plain) if plain.is_connect() => Err(error),
                    Err(plain) => Err(plain),
                }
            }
            other => other,
        }
    }
}

/// Whether a host, with or without a port, is this machine.
fn is_loopback(name: &str) -> bool {
    let host = match name.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => name.split(':').next().unwrap_or(name),
    };
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_spoken_to_without_tls_unasked() {
        for name in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(is_loopback(name), "{name}");
        }
        for name in [
            "docker.io",
            "localhost.example",
            "10.0.0.1:5000",
            "[fe80::1]",
        ] {
            assert!(!is_loopback(name), "{name}");
        }
    }

    #[test]
    fn mirrors_are_asked_before_the_registry() {
        let registries: Registries = serde_json::from_str(
            r#"{"mirrors": {"docker.io": ["localhost:1", "localhost:2/hub/"]}}"#,
        )
        .unwrap();
        let hosts = Hosts::default();
        let found: Vec<_> = hosts
            .endpoints(&"nginx".parse().unwrap(), &registries)
            .into_iter()
            .map(|endpoint| {
                endpoint
                    .map(|e| (e.host().to_owned(), e.repository))
                    .unwrap()
            })
            .collect();
        let expected = [
            ("localhost:1", "library/nginx"),
            ("localhost:2", "hub/library/nginx"),
            ("docker.io", "library/nginx"),
        ];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
