//! The files that every pod gets: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.

use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias, Pod, PodSpec};

/// Longest hostname that Linux takes from a pod.
const HOSTNAME_MAX: usize = 63;
/// Most search domains that go into `resolv.conf` and most bytes they may have.
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;
/// Most name servers that the resolver reads.
const NAMESERVERS_MAX: usize = 3;

/// What is known about names outside of the pod.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// The node's own hostname.
    pub(crate) node: String,
    /// `cluster.local`.
    pub(crate) cluster_domain: String,
    /// Address of the cluster's DNS; none when the node runs without it.
    pub(crate) dns: Option<IpAddr>,
}

/// The hostname of a pod and its domain, if it has one.
pub(crate) fn hostname(pod: &Pod, naming: &Naming) -> (String, Option<String>) {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    if let Some(name) = &spec.hostname_override {
        return (name.clone(), None);
    }
    if spec.host_network == Some(true) {
        return (naming.node.clone(), None);
    }
    let name = spec
        .hostname
        .as_deref()
        .filter(|h| !h.is_empty())
        .or(pod.metadata.name.as_deref())
        .unwrap_or_default();
    let short: String = name.chars().take(HOSTNAME_MAX).collect();
    let short = short.trim_end_matches(['-', '.']).to_owned();
    let domain = spec
        .subdomain
        .as_deref()
        .filter(|s| !s.is_empty())
        .map(|subdomain| {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            format!("{subdomain}.{namespace}.svc.{}", naming.cluster_domain)
        });
    match (&domain, spec.set_hostname_as_fqdn) {
        (Some(domain), Some(true)) => (format!("{short}.{domain}"), Some(domain.clone())),
        _ => (short, domain),
    }
}

/// `/etc/hosts`. On the host's network it is the host's own (`host_file`) with the aliases added.
pub(crate) fn hosts(
    ips: &[String],
    hostname: &str,
    domain: Option<&str>,
    aliases: &[HostAlias],
    host_file: Option<&str>,
) -> String {
    let mut out = String::new();
    if let Some(text) = host_file {
        out.push_str("# Kubernetes-managed hosts file (host network).\n");
        out.push_str(text);
        if !text.ends_with('\n') {
            out.push('\n');
        }
    } else {
        out.push_str(
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                 fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
            );
        for ip in ips {
            let short = hostname.split('.').next().unwrap_or(hostname);
            let _ = match domain {
                Some(domain) => writeln!(out, "{ip}\t{short}.{domain}\t{short}"),
                None => writeln!(out, "{ip}\t{hostname}"),
            };
        }
    }
    if !aliases.is_empty() {
        out.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(
                out,
                "{}\t{}",
                alias.ip,
                alias
                    .hostnames
                    .iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("\t")
            );
        }
    }
    out
}

/// What a `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    /// Reads the host's file; lines that are not understood are skipped, as the resolver does.
    pub(crate) fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => out.nameservers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => {
                    out.searches = words
                        .filter(|w| *w != ".")
                        .map(|w| w.trim_end_matches('.').to_owned())
                        .collect();
                }
                Some("options") => out.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        out
    }

    /// The resolver of a pod by its `dnsPolicy` and `dnsConfig`.
    pub(crate) fn for_pod(pod: &Pod, naming: &Naming, host: &Self) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let policy = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
            "ClusterFirst" if spec.host_network == Some(true) => "Default",
            other => other,
        };
        let mut out = match (policy, naming.dns) {
            ("None", _) => Self::default(),
            ("ClusterFirst" | "ClusterFirstWithHostNet", Some(dns)) => {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                let domain = &naming.cluster_domain;
                let mut searches = vec![
                    format!("{namespace}.svc.{domain}"),
                    format!("svc.{domain}"),
                    domain.clone(),
                ];
                searches.extend(host.searches.iter().cloned());
                Self {
                    nameservers: vec![dns.to_string()],
                    searches,
                    options: vec!["ndots:5".to_owned()],
                }
            }
            _ => host.clone(),
        };
        if let Some(config) = &spec.dns_config {
            out.nameservers
                .extend(config.nameservers.iter().flatten().cloned());
            out.searches
                .extend(config.searches.iter().flatten().cloned());
            for option in config.options.iter().flatten() {
                let Some(name) = &option.name else { continue };
                out.options.retain(|o| o.split(':').next() != Some(name));
                out.options.push(match &option.value {
                    Some(value) => format!("{name}:{value}"),
                    None => name.clone(),
                });
            }
        }
        out.trim();
        out
    }

    /// No entry twice, and no more than resolvers read.
    fn trim(&mut self) {
        for list in [&mut self.nameservers, &mut self.searches] {
            let mut seen = std::collections::HashSet::new();
            list.retain(|entry| seen.insert(entry.clone()));
        }
        self.nameservers.truncate(NAMESERVERS_MAX);
        self.searches.truncate(SEARCHES_MAX);
        while self.searches.iter().map(|s| s.len() + 1).sum::<usize>() > SEARCH_BYTES_MAX {
            self.searches.pop();
        }
    }

    /// The file's text.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(out, "search {}", self.searches.join(" "));
        }
        for server in &self.nameservers {
            let _ = writeln!(out, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(out, "options {}", self.options.join(" "));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn naming() -> Naming {
        Naming {
            node: "node1".into(),
            cluster_domain: "cluster.local".into(),
            dns: Some("10.96.0.10".parse().unwrap()),
        }
    }

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(
            json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn a_pod_is_called_as_its_spec_says() {
        for (spec, host, domain) in [
            (json!({}), "web-0", None),
            (json!({"hostname": "h"}), "h", None),
            (
                json!({"hostname": "h", "subdomain": "s"}),
                "h",
                Some("s.shop.svc.cluster.local"),
            ),
            (
                json!({"subdomain": "s", "setHostnameAsFQDN": true}),
                "web-0.s.shop.svc.cluster.local",
                Some("s.shop.svc.cluster.local"),
            ),
            (json!({"hostNetwork": true}), "node1", None),
            (json!({"hostnameOverride": "over.x"}), "over.x", None),
        ] {
            let (got, got_domain) = hostname(&pod(spec.clone()), &naming());
            assert_eq!(
                (got.as_str(), got_domain.as_deref()),
                (host, domain),
                "{spec}"
            );
        }
        let mut long = pod(json!({}));
        long.metadata.name = Some(format!("{}-tail", "x".repeat(62)));
        assert_eq!(hostname(&long, &naming()).0, "x".repeat(62));
    }

    #[test]
    fn hosts_lists_the_pod_and_its_aliases() {
        let aliases: Vec<HostAlias> =
            serde_json::from_value(json!([{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])).unwrap();
        let text = hosts(
            &["10.1.0.2".into()],
            "h",
            Some("s.ns.svc.cluster.local"),
            &aliases,
            None,
        );
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.contains("10.1.0.2\th.s.ns.svc.cluster.local\th\n"));
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
        let host = hosts(&[], "h", None, &[], Some("127.0.0.1 localhost"));
        assert_eq!(
            host,
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
        );
    }

    #[test]
    fn the_resolver_follows_policy_and_configuration() {
        let host =
            Resolver::parse("# c\nnameserver 9.9.9.9\nsearch corp.example. .\noptions edns0\n");
        let render =
            |spec: serde_json::Value| Resolver::for_pod(&pod(spec), &naming(), &host).render();
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";
        let default = "search corp.example\nnameserver 9.9.9.9\noptions edns0\n";
        assert_eq!(render(json!({})), cluster);
        assert_eq!(render(json!({"hostNetwork": true})), default);
        assert_eq!(
            render(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})),
            cluster
        );
        assert_eq!(render(json!({"dnsPolicy": "Default"})), default);
        assert_eq!(
            render(
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x.y"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}})
            ),
            "search x.y\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
        );
        assert!(
            render(json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}))
                .contains("options ndots:1\n")
        );
    }
}
