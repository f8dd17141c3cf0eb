//! Settings, resolved once: a flag before an environment variable before the configuration file
//! before the default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::Deserialize;

use crate::access::{Access, FileAudit, FileAuthentication};
use crate::cli::{Global, LogFormat, ServerOptions};
use crate::error::{Failure, Kind, Result};

/// Where a server keeps everything if it is not told.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/consort";
const DEFAULT_FILE: &str = "/etc/consort/config.yaml";

/// The configuration file. Every key is optional; an unknown one is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    log: FileLog,
    server: FileServer,
    registries: consort_image::Registries,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileLog {
    filter: Option<String>,
    format: Option<LogFormat>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileServer {
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    no_node: Option<bool>,
    node_name: Option<String>,
    pod_cidr: Option<Ipv4Net>,
    service_cidr: Option<Ipv4Net>,
    cluster_domain: Option<String>,
    tls_names: Vec<String>,
    encryption_config: Option<PathBuf>,
    authentication: FileAuthentication,
    audit: FileAudit,
}

/// What goes to the log and how.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Filters of `tracing`; `None` leaves it to the command.
    pub(crate) filter: Option<String>,
    /// Form of lines.
    pub(crate) format: LogFormat,
}

/// Everything a server needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// Address of the API.
    pub(crate) listen: SocketAddr,
    /// Whether this machine is a node.
    pub(crate) node: bool,
    /// Name of this machine's node.
    pub(crate) node_name: String,
    /// Addresses for all pods of the cluster.
    pub(crate) cluster_cidr: Ipv4Net,
    /// Addresses for this node's pods: the first /24 of the cluster's.
    pub(crate) pod_cidr: Ipv4Net,
    /// Addresses for services.
    pub(crate) service_cidr: Ipv4Net,
    /// Domain of cluster DNS.
    pub(crate) cluster_domain: String,
    /// Further names and addresses for the API's certificate.
    pub(crate) tls_names: Vec<String>,
    /// What is encrypted at rest and how, unless it is secrets with our own key.
    pub(crate) encryption_config: Option<PathBuf>,
    /// Where and how to pull images.
    pub(crate) registries: consort_image::Registries,
    /// Who may come in, and what is recorded.
    pub(crate) access: Access,
}

impl Server {
    /// The name under which the server signs tokens.
    pub(crate) fn issuer(cluster_domain: &str) -> String {
        format!("https://kubernetes.default.svc.{cluster_domain}")
    }

    /// The address of the `kubernetes` Service: the first of the range.
    pub(crate) fn api_service_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.network()) + 1)
    }

    /// The address of cluster DNS: the tenth of the range.
    pub(crate) fn dns_service_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.network()) + 10)
    }
}

/// The configuration file, read and checked.
pub(crate) struct Configuration(File);

/// An error in the configuration file, with its place.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
struct Misconfigured {
    message: String,
    #[source_code]
    source_code: NamedSource<String>,
    #[label("here")]
    span: SourceSpan,
}

impl Configuration {
    /// Reads the file the command line names, or the default one if it exists.
    pub(crate) fn read(global: &Global) -> Result<Self> {
        let (path, required) = match &global.config {
            Some(path) => (path.as_path(), true),
            None => (Path::new(DEFAULT_FILE), false),
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
                return Ok(Self(File::default()));
            }
            Err(error) => {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("reading the configuration {}: {error}", path.display()),
                ));
            }
        };
        parse(&text, &path.display().to_string()).map(Self)
    }

    /// Logging, as flags, environment and file say.
    pub(crate) fn log(&self, global: &Global) -> Log {
        Log {
            filter: global.log.clone().or_else(|| self.0.log.filter.clone()),
            format: global.log_format.or(self.0.log.format).unwrap_or_default(),
        }
    }

    /// The data directory, for commands that need nothing else of a server's settings.
    pub(crate) fn data_dir(&self, flag: Option<&PathBuf>) -> PathBuf {
        flag.or(self.0.server.data_dir.as_ref())
            .cloned()
            .unwrap_or_else(|| DEFAULT_DATA_DIR.into())
    }

    /// The file that says what is encrypted at rest and how.
    pub(crate) fn encryption_config(&self, flag: Option<&PathBuf>) -> Option<PathBuf> {
        flag.or(self.0.server.encryption_config.as_ref()).cloned()
    }

    /// Where and how to pull images.
    pub(crate) fn registries(&self) -> consort_image::Registries {
        self.0.registries.clone()
    }

    /// A server's settings, checked.
    pub(crate) fn server(&self, options: &ServerOptions) -> Result<Server> {
        let file = &self.0.server;
        let usage = |text: String| Failure::new(Kind::Usage, text);
        let cluster_cidr = options
            .pod_cidr
            .or(file.pod_cidr)
            .unwrap_or(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16))
            .trunc();
        if cluster_cidr.prefix_len() > 28 {
            return Err(usage(format!(
                "--pod-cidr {cluster_cidr} is too small: /28 is the least"
            )));
        }
        let node_prefix = cluster_cidr.prefix_len().max(24);
        let pod_cidr = Ipv4Net::new_assert(cluster_cidr.network(), node_prefix);
        let service_cidr = options
            .service_cidr
            .or(file.service_cidr)
            .unwrap_or(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16))
            .trunc();
        if service_cidr.prefix_len() > 27 {
            return Err(usage(format!(
                "--service-cidr {service_cidr} is too small: /27 is the least"
            )));
        }
        if cluster_cidr.contains(&service_cidr) || service_cidr.contains(&cluster_cidr) {
            return Err(usage(format!(
                "the pods' addresses {cluster_cidr} and the services' {service_cidr} overlap"
            )));
        }
        let node_name = match options.node_name.clone().or_else(|| file.node_name.clone()) {
            Some(name) => name,
            None => host_name()?,
        };
        consort_object::names::dns1123_subdomain(&node_name).map_err(|reason| {
            usage(format!(
                "the node name {node_name:?} is not usable: {reason}"
            ))
            .hint("set one with --node-name")
        })?;
        let mut tls_names = options.tls_name.clone();
        tls_names.extend(file.tls_names.iter().cloned());
        let data_dir = self.data_dir(options.data_dir.as_ref());
        let cluster_domain = options
            .cluster_domain
            .clone()
            .or_else(|| file.cluster_domain.clone())
            .unwrap_or_else(|| "cluster.local".to_owned());
        let access = Access::resolve(
            &options.access,
            &file.authentication,
            &file.audit,
            &Server::issuer(&cluster_domain),
        )?;
        Ok(Server {
            data_dir: std::path::absolute(&data_dir)
                .map_err(|e| usage(format!("--data-dir {}: {e}", data_dir.display())))?,
            listen: options
                .listen
                .or(file.listen)
                .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 6443))),
            node: !(options.no_node || file.no_node.unwrap_or_default()),
            node_name,
            cluster_cidr,
            pod_cidr,
            service_cidr,
            cluster_domain,
            access,
            tls_names,
            encryption_config: self.encryption_config(options.encryption_config.as_ref()),
            registries: self.registries(),
        })
    }
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().map_err(std::io::Error::from)?;
    Ok(name.to_string_lossy().to_lowercase())
}

fn parse(text: &str, name: &str) -> Result<File> {
    let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error
            .location()
            .map_or((1, 1), |place| (place.line(), place.column()));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        Failure::located(Misconfigured {
            message: format!("the configuration is not usable: {message}"),
            source_code: NamedSource::new(name, text.to_owned()).with_language("yaml"),
            span: crate::manifests::span(text, line, column).into(),
        })
        .of_kind(Kind::Usage)
    })?;
    Ok(file.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "server:\n  data_dir: /from/file\n  listen: 127.0.0.1:1\n  node_name: n1\n";
        let configuration = Configuration(parse(text, "c.yaml").unwrap());
        let options = ServerOptions {
            listen: Some("127.0.0.1:2".parse().unwrap()),
            ..ServerOptions::default()
        };
        let server = configuration.server(&options).unwrap();
        assert_eq!(server.listen.port(), 2);
        assert_eq!(server.data_dir, Path::new("/from/file"));
        assert_eq!(server.pod_cidr.to_string(), "10.244.0.0/24");
        assert_eq!(server.dns_service_ip().to_string(), "10.96.0.10");
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let failure = parse("server:\n  listn: 127.0.0.1:1\n", "c.yaml").unwrap_err();
        assert!(format!("{failure:?}").contains("listn"), "{failure:?}");
    }

    #[test]
    fn overlapping_ranges_are_refused() {
        let configuration = Configuration(File::default());
        let options = ServerOptions {
            node_name: Some("n1".to_owned()),
            pod_cidr: Some("10.0.0.0/8".parse().unwrap()),
            ..ServerOptions::default()
        };
        let failure = configuration.server(&options).unwrap_err();
        assert!(format!("{failure:?}").contains("overlap"), "{failure:?}");
    }
}
