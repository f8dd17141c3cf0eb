//! The certificates and keys of one installation, made on its first start and kept in a directory.
//!
//! | file | what |
//! |---|---|
//! | `ca.crt`, `ca.key` | the authority every other certificate is signed by |
//! | `server.crt`, `server.key` | what the API presents; made again when it nears its end or lacks a name |
//! | `service-account.key` | signs service-account tokens |
//! | `service-account-*.key`, `service-account-*.pub` | further keys that tokens are accepted of: rename the key that signs to one of these, and the next start makes a new one |
//!
//! All keys are ECDSA P-256 and readable by their owner only. A file appears whole or not at all.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::user::User;

const AUTHORITY_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;
/// A certificate with less than this left is made anew at the next start.
const RENEW_DAYS: i64 = 60;
/// The attribute of a certificate's subject that is the user's uid, as upstream reads it.
const USER_UID: &str = "1.3.6.1.4.1.57683.2";
/// Clocks of clients may be behind.
const BACKDATE_MINUTES: i64 = 60;

/// Why the certificates of an installation could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// `reading`, `writing`, ...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{} is not usable: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("making the certificate of {subject}")]
    Sign {
        /// Whose certificate.
        subject: String,
        /// The cause.
        source: rcgen::Error,
    },
    /// A certificate was asked for a user with more groups than can stand in one.
    #[error("a certificate for {0:?} can name two groups at most")]
    Groups(String),
    /// The TLS library refused the certificates.
    #[error("configuring TLS: {0}")]
    Tls(String),
}

/// The certificate authority and keys of one installation.
pub struct Pki {
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
    authority_der: CertificateDer<'static>,
    server_chain: Vec<CertificateDer<'static>>,
    server_key: PrivateKeyDer<'static>,
    service_account_key: Vec<u8>,
    verification_keys: Vec<Vec<u8>>,
    /// The authority's key once more, for signing requests.
    signing_key: KeyPair,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

impl Pki {
    /// Opens the directory, making what it lacks. `names` and `addresses` are those the server is
    /// reached by; the serving certificate is made anew when it does not cover one of them.
    ///
    /// # Errors
    /// If a file can't be read, written or understood. Nothing that exists is overwritten, but for
    /// a serving certificate that has to be renewed.
    pub fn open(dir: &Path, names: &[String], addresses: &[IpAddr]) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::File {
            doing: "making the directory",
            path: dir.to_owned(),
            source,
        })?;
        let (authority_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !authority_path.exists() {
            make_authority(&authority_path, &key_path)?;
        }
        let authority_pem = read(&authority_path)?;
        let authority_key = read_key(&key_path)?;
        let signing_key = read_key(&key_path)?;
        let authority = Issuer::from_ca_cert_pem(&authority_pem, authority_key).map_err(|e| {
            Error::Content {
                path: authority_path.clone(),
                reason: e.to_string(),
            }
        })?;
        let authority_der =
            CertificateDer::from_pem_slice(authority_pem.as_bytes()).map_err(|e| {
                Error::Content {
                    path: authority_path,
                    reason: e.to_string(),
                }
            })?;

        let (cert_path, key_path) = (dir.join("server.crt"), dir.join("server.key"));
        if !serves(&cert_path, &key_path, names, addresses) {
            let (cert, key) = sign_server(&authority, names, addresses)?;
            write(&key_path, key.as_bytes())?;
            write(&cert_path, cert.as_bytes())?;
        }
        let server_chain = vec![
            CertificateDer::from_pem_slice(read(&cert_path)?.as_bytes()).map_err(|e| {
                Error::Content {
                    path: cert_path,
                    reason: e.to_string(),
                }
            })?,
            authority_der.clone(),
        ];
        let server_key =
            PrivateKeyDer::from_pem_slice(read(&key_path)?.as_bytes()).map_err(|e| {
                Error::Content {
                    path: key_path,
                    reason: e.to_string(),
                }
            })?;

        let account_path = dir.join("service-account.key");
        if !account_path.exists() {
            write(
                &account_path,
                new_key("service accounts")?.serialize_pem().as_bytes(),
            )?;
        }
        let service_account_key = read_key(&account_path)?.serialize_der();
        let verification_keys = verification_keys(dir)?;
        Ok(Self {
            authority,
            authority_pem,
            authority_der,
            server_chain,
            server_key,
            service_account_key,
            verification_keys,
            signing_key,
        })
    }

    /// The authority's certificate, PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The key that signs service-account tokens, PKCS #8 DER.
    pub fn service_account_key(&self) -> &[u8] {
        &self.service_account_key
    }

    /// The public points of further keys that service-account tokens are accepted of.
    pub fn verification_keys(&self) -> &[Vec<u8>] {
        &self.verification_keys
    }

    /// Signs a certificate signing request (PEM) for these usages of `certificates.k8s.io`; the
    /// certificate (PEM) ends after `lifetime`, or with the authority.
    ///
    /// # Errors
    /// As [`super::x509::Authority::sign`].
    pub fn sign_request(
        &self,
        request: &[u8],
        usages: &[String],
        lifetime: std::time::Duration,
    ) -> Result<String, super::x509::Error> {
        super::x509::Authority::new(&self.authority_der, &self.signing_key)
            .sign(request, usages, lifetime)
    }

    /// TLS for the API: client certificates of the own authority are asked for and checked, but
    /// callers may come without one and bring a token instead.
    ///
    /// # Errors
    /// `Error::Tls` if the library refuses the certificates.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(|e| Error::Tls(e.to_string()))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Tls(e.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.server_chain.clone(), self.server_key.clone_key())
            .map_err(|e| Error::Tls(e.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority_der.clone())
            .map_err(|e| Error::Tls(e.to_string()))?;
        Ok(roots)
    }

    /// A client certificate and its key, both PEM: the user's name is the common name, its groups
    /// are the organizations, as upstream reads them.
    ///
    /// # Errors
    /// `Error::Sign` if the name cannot stand in a certificate, `Error::Groups` if there are more
    /// than two groups.
    pub fn client_certificate(&self, user: &User) -> Result<(String, String), Error> {
        let mut params = leaf_params(&user.name);
        let groups = user.groups.iter();
        let groups: Vec<&String> = groups
            .filter(|group| *group != super::user::AUTHENTICATED)
            .collect();
        // The library keeps one value per attribute type; the organization's number spelled out
        // counts as a second type.
        let kinds = [
            DnType::OrganizationName,
            DnType::CustomDnType(vec![2, 5, 4, 10]),
        ];
        if groups.len() > kinds.len() {
            return Err(Error::Groups(user.name.clone()));
        }
        for (kind, group) in kinds.into_iter().zip(groups) {
            params.distinguished_name.push(kind, group.as_str());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = new_key(&user.name)?;
        let cert = params
            .signed_by(&key, &self.authority)
            .map_err(|source| Error::Sign {
                subject: user.name.clone(),
                source,
            })?;
        Ok((cert.pem(), key.serialize_pem()))
    }

    /// A kubeconfig that reaches `server` (a URL) as `user`, with a new client certificate in it.
    ///
    /// # Errors
    /// As [`Pki::client_certificate`].
    pub fn kubeconfig(&self, user: &User, server: &str) -> Result<String, Error> {
        let (cert, key) = self.client_certificate(user)?;
        let (authority, cert, key) = (
            BASE64.encode(&self.authority_pem),
            BASE64.encode(cert),
            BASE64.encode(key),
        );
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: consort\nclusters:\n- name: consort\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\ncontexts:\n- name: consort\n  context:\n    cluster: consort\n    user: admin\nusers:\n- name: admin\n  user:\n    client-certificate-data: {cert}\n    client-key-data: {key}\n"
        ))
    }
}

/// The caller a verified client certificate stands for; `None` if it names nobody.
pub fn user_of_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok());
    let mut user = User::new(name, groups);
    for attribute in subject.iter_attributes() {
        if attribute.attr_type().to_id_string() == USER_UID {
            attribute.as_str().ok()?.clone_into(&mut user.uid);
        }
    }
    let digest = Sha256::digest(der);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![format!("X509SHA256={digest}")],
    );
    Some(user)
}

/// The public points of the keys in the directory that only verify.
fn verification_keys(dir: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let entries = fs::read_dir(dir).map_err(|source| Error::File {
        doing: "listing",
        path: dir.to_owned(),
        source,
    })?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("service-account-"))
        })
        .collect();
    paths.sort();
    let mut keys = Vec::new();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("key") => {
                use rcgen::PublicKeyData as _;
                keys.push(read_key(&path)?.der_bytes().to_vec());
            }
            Some("pub") => {
                let content = |reason: String| Error::Content {
                    path: path.clone(),
                    reason,
                };
                let der = SubjectPublicKeyInfoDer::from_pem_slice(read(&path)?.as_bytes())
                    .map_err(|error| content(format!("{error:?}")))?;
                let (_, key) = SubjectPublicKeyInfo::from_der(&der)
                    .map_err(|error| content(error.to_string()))?;
                keys.push(key.subject_public_key.data.to_vec());
            }
            _ => {}
        }
    }
    Ok(keys)
}

fn new_key(subject: &str) -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| Error::Sign {
        subject: subject.to_owned(),
        source,
    })
}

fn params(common_name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    // The library speaks in another crate's times; both agree on the system clock.
    let now = std::time::SystemTime::now();
    let minutes = std::time::Duration::from_secs(60);
    params.not_before = (now - minutes * (BACKDATE_MINUTES as u32)).into();
    params.not_after = (now + minutes * 60 * 24 * (days as u32)).into();
    params
}

fn leaf_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name, LEAF_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn make_authority(cert_path: &Path, key_path: &Path) -> Result<(), Error> {
    let subject = "consort-ca";
    let key = new_key(subject)?;
    let mut params = params(subject, AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let cert = params.self_signed(&key).map_err(|source| Error::Sign {
        subject: subject.to_owned(),
        source,
    })?;
    // The key first: a certificate without a key would be kept for ever.
    write(key_path, key.serialize_pem().as_bytes())?;
    write(cert_path, cert.pem().as_bytes())
}

fn sign_server(
    authority: &Issuer<'static, KeyPair>,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<(String, String), Error> {
    let subject = "consort-apiserver";
    let sign_error = |source| Error::Sign {
        subject: subject.to_owned(),
        source,
    };
    let mut params = leaf_params(subject);
    for name in names {
        let name = name.as_str().try_into().map_err(sign_error)?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params
        .subject_alt_names
        .extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = new_key(subject)?;
    let cert = params.signed_by(&key, authority).map_err(sign_error)?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// Whether the certificate on disk can go on being served under all the given names.
fn serves(cert_path: &Path, key_path: &Path, names: &[String], addresses: &[IpAddr]) -> bool {
    let Ok(pem) = fs::read(cert_path) else {
        return false;
    };
    if !key_path.exists() {
        return false;
    }
    let Ok(der) = CertificateDer::from_pem_slice(&pem) else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return false;
    };
    let renew_at = Timestamp::now() + SignedDuration::from_hours(24 * RENEW_DAYS);
    if certificate.validity().not_after.timestamp() < renew_at.as_second() {
        return false;
    }
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return false;
    };
    let alternatives = &alternatives.value.general_names;
    let has_name = |name: &String| {
        alternatives
            .iter()
            .any(|other| matches!(other, GeneralName::DNSName(dns) if dns == name))
    };
    let has_address = |address: &IpAddr| {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        alternatives
            .iter()
            .any(|other| matches!(other, GeneralName::IPAddress(ip) if *ip == octets))
    };
    names.iter().all(has_name) && addresses.iter().all(has_address)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        doing: "reading",
        path: path.to_owned(),
        source,
    })
}

fn read_key(path: &Path) -> Result<KeyPair, Error> {
    KeyPair::from_pem(&read(path)?).map_err(|e| Error::Content {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    let attempt = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        path.parent()
            .map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    attempt().map_err(|source| Error::File {
        doing: "writing",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, names: &[&str]) -> Pki {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Pki::open(dir, &names, &["127.0.0.1".parse().unwrap()]).unwrap()
    }

    #[test]
    fn a_second_start_keeps_the_authority_and_the_serving_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &["localhost"]);
        let second = open(dir.path(), &["localhost"]);
        assert_eq!(first.authority_pem(), second.authority_pem());
        assert_eq!(first.server_chain, second.server_chain);
        assert_eq!(first.service_account_key(), second.service_account_key());
    }

    #[test]
    fn a_new_name_renews_only_the_serving_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &["localhost"]);
        let second = open(dir.path(), &["localhost", "kubernetes.default.svc"]);
        assert_eq!(first.authority_pem(), second.authority_pem());
        assert_ne!(first.server_chain, second.server_chain);
        second.server_config().unwrap();
    }

    #[test]
    fn a_client_certificate_carries_name_and_groups() {
        let dir = tempfile::tempdir().unwrap();
        let pki = open(dir.path(), &["localhost"]);
        let user = User::new("jane", ["dev", "ops"]);
        let (pem, _) = pki.client_certificate(&user).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let found = user_of_certificate(&der).unwrap();
        assert_eq!((&found.name, &found.groups), (&user.name, &user.groups));
    }

    #[test]
    fn a_renamed_signing_key_goes_on_verifying() {
        let dir = tempfile::tempdir().unwrap();
        let issue = |pki: &Pki| super::super::tokens::Signer::new(pki.service_account_key(), "i");
        let first = issue(&open(dir.path(), &["localhost"])).unwrap();
        let token = first.issue_legacy("n", "s", "a", "u").unwrap();
        let key = dir.path().join("service-account.key");
        fs::rename(key, dir.path().join("service-account-1.key")).unwrap();
        let pki = open(dir.path(), &["localhost"]);
        let second = issue(&pki).unwrap();
        assert!(second.verify_legacy(&token).is_err());
        let second = second.with_keys(pki.verification_keys()).unwrap();
        assert!(second.verify_legacy(&token).is_ok());
    }

    #[test]
    fn a_broken_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["localhost"]);
        fs::write(dir.path().join("ca.key"), "not a key").unwrap();
        let error = Pki::open(dir.path(), &[], &[]).unwrap_err();
        assert!(
            error.to_string().contains("ca.key is not usable"),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("ca.key")).unwrap(),
            "not a key"
        );
    }
}
