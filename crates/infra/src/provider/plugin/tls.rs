//! Mutual TLS with a plugin: each side knows the other by a certificate exchanged in the handshake.
//!
//! Ours is made for one process and given to it in its environment. The plugin's comes in its handshake
//! line. What it shows on the connection must be that very certificate, and the proof that it holds the key
//! is checked as always. There is no authority and no name to check: the certificate itself is the identity.
//!
//! Two kinds of keys real plugins use are verified here because the default provider knows neither: ECDSA
//! over P-521 (everything built on HashiCorp's plugin library) and RSA of 1024 bits (a Python framework).

use std::sync::Arc;

use rsa::sha2::{Digest, Sha256, Sha384, Sha512};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Our side's certificate and key.
pub(crate) struct Identity {
    /// For `PLUGIN_CLIENT_CERT`.
    pub(crate) certificate_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Makes a new one.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "localhost");
        // The plugin takes it for the one root it trusts. It is no authority all the same: Go accepts a root
        // that is shown itself, and rustls accepts it only if it is none.
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::DigitalSignature,
            rcgen::KeyUsagePurpose::KeyAgreement,
        ];
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        })
    }

    /// The configuration of a connection to the plugin that showed `peer` in its handshake.
    pub(crate) fn client(&self, peer: Vec<u8>) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Pinned {
            certificate: CertificateDer::from(peer),
            provider: Arc::clone(&provider),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Accepts one certificate, and its key's signatures.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match verify_uncommon(message, certificate, signed, false)? {
            Some(valid) => Ok(valid),
            None => verify_tls12_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            ),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match verify_uncommon(message, certificate, signed, true)? {
            Some(valid) => Ok(valid),
            None => verify_tls13_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            ),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}

/// Checks signatures of the keys the default provider does not know; `None` for all others.
fn verify_uncommon(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    tls13: bool,
) -> Result<Option<HandshakeSignatureValid>, rustls::Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let valid = match parsed
        .public_key()
        .parsed()
        .map_err(|_| CertificateError::BadEncoding)?
    {
        PublicKey::EC(point) if point.key_size() == 521 || point.key_size() == 528 => {
            // Up to TLS 1.2 the scheme names only the hash: old Go signs SHA-256 with any curve.
            let hash = match signed.scheme {
                SignatureScheme::ECDSA_NISTP521_SHA512 => Sha512::digest(message).to_vec(),
                SignatureScheme::ECDSA_NISTP384_SHA384 if !tls13 => {
                    Sha384::digest(message).to_vec()
                }
                SignatureScheme::ECDSA_NISTP256_SHA256 if !tls13 => {
                    Sha256::digest(message).to_vec()
                }
                _ => return Err(CertificateError::BadSignature.into()),
            };
            p521_signature_is_valid(point.data(), &hash, signed.signature())
        }
        PublicKey::RSA(key) if key.key_size() < 2048 => {
            rsa_signature_is_valid(key.modulus, key.exponent, message, signed)
        }
        _ => return Ok(None),
    };
    if valid {
        Ok(Some(HandshakeSignatureValid::assertion()))
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

fn p521_signature_is_valid(point: &[u8], hash: &[u8], signature: &[u8]) -> bool {
    use p521::ecdsa::signature::hazmat::PrehashVerifier;
    let Ok(key) = p521::ecdsa::VerifyingKey::from_sec1_bytes(point) else {
        return false;
    };
    let Ok(signature) = p521::ecdsa::Signature::from_der(signature) else {
        return false;
    };
    key.verify_prehash(hash, &signature).is_ok()
}

fn rsa_signature_is_valid(
    modulus: &[u8],
    exponent: &[u8],
    message: &[u8],
    signed: &DigitallySignedStruct,
) -> bool {
    use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
    let Ok(key) = RsaPublicKey::new(
        BigUint::from_bytes_be(modulus),
        BigUint::from_bytes_be(exponent),
    ) else {
        return false;
    };
    // Below 1024 bits a key can be computed from the certificate.
    if rsa::traits::PublicKeyParts::size(&key) < 128 {
        return false;
    }
    let signature = signed.signature();
    let outcome = match signed.scheme {
        SignatureScheme::RSA_PSS_SHA256 => key.verify(
            Pss::new_with_salt::<Sha256>(32),
            &Sha256::digest(message),
            signature,
        ),
        SignatureScheme::RSA_PSS_SHA384 => key.verify(
            Pss::new_with_salt::<Sha384>(48),
            &Sha384::digest(message),
            signature,
        ),
        SignatureScheme::RSA_PKCS1_SHA256 => key.verify(
            Pkcs1v15Sign::new::<Sha256>(),
            &Sha256::digest(message),
            signature,
        ),
        SignatureScheme::RSA_PKCS1_SHA384 => key.verify(
            Pkcs1v15Sign::new::<Sha384>(),
            &Sha384::digest(message),
            signature,
        ),
        SignatureScheme::RSA_PKCS1_SHA512 => key.verify(
            Pkcs1v15Sign::new::<Sha512>(),
            &Sha512::digest(message),
            signature,
        ),
        _ => return false,
    };
    outcome.is_ok()
}
