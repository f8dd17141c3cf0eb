//! What a request asks for, and which signer signs that.

use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

/// The signers of this control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Client,
    KubeletClient,
    KubeletServing,
    Legacy,
}

impl Signer {
    /// The signer a request names, if it is one of ours.
    pub(super) fn of(spec: &CertificateSigningRequestSpec) -> Option<Self> {
        Some(match spec.signer_name.strip_prefix("kubernetes.io/")? {
            "kube-apiserver-client" => Self::Client,
            "kube-apiserver-client-kubelet" => Self::KubeletClient,
            "kubelet-serving" => Self::KubeletServing,
            "legacy-unknown" => Self::Legacy,
            _ => return None,
        })
    }

    /// Whether the signer signs this for these usages; if not, why.
    pub(super) fn check(self, request: &Request, usages: &[String]) -> Result<(), String> {
        match self {
            Self::Client => check_client(usages),
            Self::KubeletClient => request.check_kubelet_client(usages),
            Self::KubeletServing => request.check_kubelet_serving(usages),
            Self::Legacy => Ok(()),
        }
    }
}

fn check_client(usages: &[String]) -> Result<(), String> {
    for usage in usages {
        match usage.as_str() {
            "client auth" | "digital signature" | "key encipherment" => {}
            other => return Err(format!("invalid usage for client certificate: {other}")),
        }
    }
    if usages.iter().any(|usage| usage == "client auth") {
        return Ok(());
    }
    Err("missing required usage for client certificate: client auth".to_owned())
}

/// The parts of a request that signers look at.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Request {
    pub(super) common_name: String,
    organizations: Vec<String>,
    dns: usize,
    addresses: usize,
    emails: usize,
    uris: usize,
}

impl Request {
    /// Reads a request (PEM).
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let unreadable = |why: String| format!("unable to parse csr: {why}");
        let (_, block) = parse_x509_pem(pem).map_err(|e| unreadable(e.to_string()))?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
        }
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|e| unreadable(e.to_string()))?;
        let subject = &parsed.certification_request_info.subject;
        let mut request = Self {
            common_name: subject
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            organizations: subject
                .iter_organization()
                .filter_map(|organization| organization.as_str().ok().map(str::to_owned))
                .collect(),
            ..Self::default()
        };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else {
                continue;
            };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => request.dns += 1,
                    GeneralName::IPAddress(_) => request.addresses += 1,
                    GeneralName::RFC822Name(_) => request.emails += 1,
                    GeneralName::URI(_) => request.uris += 1,
                    _ => {}
                }
            }
        }
        Ok(request)
    }

    fn check_node(&self) -> Result<(), String> {
        if self.organizations != ["system:nodes"] {
            return Err("subject organization is not system:nodes".to_owned());
        }
        if !self.common_name.starts_with("system:node:") {
            return Err("subject common name does not begin with system:node:".to_owned());
        }
        if self.emails > 0 {
            return Err("Email subjectAltNames are not allowed".to_owned());
        }
        if self.uris > 0 {
            return Err("URI subjectAltNames are not allowed".to_owned());
        }
        Ok(())
    }

    /// Whether this is what a node's agent asks for, to speak to the API.
    pub(super) fn check_kubelet_client(&self, usages: &[String]) -> Result<(), String> {
        self.check_node()?;
        if self.dns > 0 {
            return Err("DNS subjectAltNames are not allowed".to_owned());
        }
        if self.addresses > 0 {
            return Err("IP subjectAltNames are not allowed".to_owned());
        }
        check_usages(usages, "client auth")
    }

    /// Whether this is what a node's agent asks for, to serve with.
    fn check_kubelet_serving(&self, usages: &[String]) -> Result<(), String> {
        self.check_node()?;
        if self.dns + self.addresses == 0 {
            return Err("at least one DNS or IP subjectAltName is required".to_owned());
        }
        check_usages(usages, "server auth")
    }
}

fn check_usages(usages: &[String], purpose: &str) -> Result<(), String> {
    let mut own: Vec<&str> = usages.iter().map(String::as_str).collect();
    own.sort_unstable();
    own.dedup();
    let mut needed = vec!["digital signature", "key encipherment", purpose];
    needed.sort_unstable();
    if own == needed {
        return Ok(());
    }
    needed.retain(|usage| *usage != "key encipherment");
    if own == needed {
        return Ok(());
    }
    Err(format!(
        "usages did not match [digital signature key encipherment {purpose}] or [digital signature {purpose}]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_signer_signs_its_own_kind_only() {
        let node = || Request {
            common_name: "system:node:n1".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            ..Request::default()
        };
        let client = usages(&["client auth", "digital signature"]);
        let server = usages(&["server auth", "digital signature", "key encipherment"]);
        assert_eq!(Signer::KubeletClient.check(&node(), &client), Ok(()));
        assert!(Signer::KubeletClient.check(&node(), &server).is_err());
        assert!(Signer::KubeletServing.check(&node(), &server).is_err());
        let serving = Request {
            addresses: 1,
            ..node()
        };
        assert_eq!(Signer::KubeletServing.check(&serving, &server), Ok(()));
        assert!(Signer::KubeletClient.check(&serving, &client).is_err());
        let person = Request {
            common_name: "jane".to_owned(),
            ..Request::default()
        };
        assert_eq!(Signer::Client.check(&person, &client), Ok(()));
        assert!(Signer::Client.check(&person, &server).is_err());
        assert!(
            Signer::Client
                .check(&person, &usages(&["digital signature"]))
                .is_err()
        );
        assert!(Signer::KubeletClient.check(&person, &client).is_err());
        assert!(Request::parse(b"no request").is_err());
    }
}
