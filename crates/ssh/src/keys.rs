//! Private keys, certificates, and the keys hosts prove themselves with.

use std::sync::Arc;

use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{
    Certificate, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate, decode_secret_key,
};

use crate::Error;

/// What we prove ourselves with: a private key, and perhaps an authority's certificate for it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) certificate: Option<Certificate>,
}

impl Identity {
    /// Reads a private key in the forms of OpenSSH, PKCS #1, PKCS #8 or SEC 1, and a certificate as OpenSSH
    /// writes it to `-cert.pub` files.
    ///
    /// # Errors
    /// [`Error::Key`]. Keys that a passphrase protects are refused.
    pub fn parse(private_key: &str, certificate: Option<&str>) -> Result<Identity, Error> {
        let wrong = |why: String| Error::Key(why);
        if !private_key.contains("-----BEGIN ") {
            return Err(wrong(
                "Failed to read ssh private key: no key found".to_owned(),
            ));
        }
        if private_key.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(wrong(
                "Failed to read ssh private key: password protected keys are\nnot supported. Please decrypt \
                 the key prior to use."
                    .to_owned(),
            ));
        }
        let protected =
            "Failed to parse ssh private key: ssh: this private key is passphrase protected";
        if private_key.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return Err(wrong(protected.to_owned()));
        }
        // The reader takes each line as it is: indented keys, as heredocs make them, are read all the same.
        let text: String = private_key
            .lines()
            .flat_map(|line| [line.trim(), "\n"])
            .collect();
        let key = decode_secret_key(&text, None).map_err(|error| match error {
            russh::keys::Error::KeyIsEncrypted => wrong(protected.to_owned()),
            error => wrong(format!("Failed to parse ssh private key: {error}")),
        })?;
        let certificate = match certificate {
            None => None,
            Some(text) => Some(parse_certificate(text)?),
        };
        if let Some(certificate) = &certificate
            && certificate.public_key() != key.public_key().key_data()
        {
            return Err(wrong(
                "failed to create cert signer: ssh: signer and cert have different public key"
                    .to_owned(),
            ));
        }
        Ok(Identity {
            key: Arc::new(key),
            certificate,
        })
    }
}

/// A signature in the form SSH sends it; `hash` counts for RSA alone.
pub(crate) fn sign(
    identity: &Identity,
    hash: Option<HashAlg>,
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Key(format!("signing: {error}"));
    let signature: Signature = match identity.key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash).try_sign(data),
        _ => identity.key.try_sign(data),
    }
    .map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    signature
        .encode(&mut bytes)
        .map_err(|error| failed(&error))?;
    Ok(bytes)
}

fn parse_certificate(text: &str) -> Result<Certificate, Error> {
    let kind = text.split_whitespace().next().unwrap_or_default();
    if PublicKey::from_openssh(text.trim()).is_ok() {
        return Err(Error::Key(format!(
            "invalid certificate format {kind:?}: must use a certificate entry type, or leave certificate \
             unset if you don't intend to use a certificate authority"
        )));
    }
    Certificate::from_openssh(text.trim())
        .map_err(|error| Error::Key(format!("failed to parse certificate: {error}")))
}

/// The key a host must have, or that of the authority which must have signed the host's certificate.
#[derive(Clone, Debug)]
pub struct HostKey(PublicKey);

impl HostKey {
    /// Reads a key as it stands in a host's `.pub` file: type, key, and perhaps a comment.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn parse(text: &str) -> Result<HostKey, Error> {
        PublicKey::from_openssh(text.trim())
            .map(HostKey)
            .map_err(|error| Error::Key(format!("host_key cannot be read: {error}")))
    }

    pub(crate) fn algorithm(&self) -> russh::keys::Algorithm {
        self.0.algorithm()
    }

    /// Whether a host called `name` that showed this key is the right one; else why not.
    pub(crate) fn check(&self, shown: &PublicKeyOrCertificate, name: &str) -> Result<(), String> {
        let Some(certificate) = shown.certificate() else {
            return if shown.public_key().key_data() == self.0.key_data() {
                Ok(())
            } else {
                Err("knownhosts: key mismatch".to_owned())
            };
        };
        if certificate.cert_type() != CertType::Host {
            return Err("ssh: certificate presented as a host key has wrong type".to_owned());
        }
        let authority = self.0.fingerprint(HashAlg::Sha256);
        certificate
            .validate([&authority])
            .map_err(|error| format!("ssh: no authorities for the host's certificate: {error}"))?;
        if let Some((name, _)) = certificate.critical_options().iter().next() {
            return Err(format!(
                "ssh: unsupported critical option {name:?} in certificate"
            ));
        }
        let names = certificate.valid_principals();
        if names.is_empty() || names.iter().any(|found| found == name) {
            Ok(())
        } else {
            Err(format!(
                "ssh: principal {name:?} not in the set of valid principals for given certificate: {names:?}"
            ))
        }
    }
}
