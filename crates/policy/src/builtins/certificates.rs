//! X.509 certificates, requests and private keys, as the JSON that Go makes of them (what OPA gives).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regorus::Value;
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Extension};
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use super::keys::{Algorithm, Digest, PrivateKey, PublicKey, blocks, pem_blocks};
use super::{Failure, Function, Outcome, array, field, object, operand, string, text_at, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("crypto.x509.parse_certificates", 1, |operands| {
        let ders = certificates(text_at(operands, 0)?)?;
        ders.iter()
            .map(|der| describe(der))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::from)
    }),
    ("crypto.x509.parse_and_verify_certificates", 1, |operands| {
        verify(text_at(operands, 0)?, &Value::new_object())
    }),
    (
        "crypto.x509.parse_and_verify_certificates_with_options",
        2,
        |operands| {
            if !matches!(operand(operands, 1), Value::Object(_)) {
                return Err(wrong(operands, 1, "object"));
            }
            verify(text_at(operands, 0)?, operand(operands, 1))
        },
    ),
    ("crypto.x509.parse_certificate_request", 1, request),
    ("crypto.x509.parse_keypair", 2, keypair),
    ("crypto.x509.parse_rsa_private_key", 1, rsa_private_key),
    ("crypto.parse_private_keys", 1, private_keys),
];

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

fn base64(bytes: &[u8]) -> Value {
    string(STANDARD.encode(bytes))
}

/// The certificates of a text: PEM, PEM in base64, or one or more of DER in base64.
fn certificates(text: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut ders = Vec::new();
    for (label, bytes) in blocks(text)? {
        match label.as_str() {
            "CERTIFICATE" => ders.push(bytes),
            "" => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (after, _) = X509Certificate::from_der(rest).map_err(other)?;
                    ders.push(rest[..rest.len() - after.len()].to_vec());
                    rest = after;
                }
            }
            label => {
                return Err(Failure::Other(format!(
                    "PEM-encoded certificate contains a block that is none: {label}"
                )));
            }
        }
    }
    if ders.is_empty() {
        return Err("no certificate is in the text".into());
    }
    for der in &ders {
        X509Certificate::from_der(der).map_err(other)?;
    }
    Ok(ders)
}

/// The arcs of an object identifier.
fn arcs(id: &str) -> Value {
    array(
        id.split('.')
            .filter_map(|arc| arc.parse::<u64>().ok())
            .map(Value::from),
    )
}

fn name(name: &X509Name<'_>) -> Value {
    let mut lists: [(&str, &str, Vec<Value>); 7] = [
        ("Country", "2.5.4.6", Vec::new()),
        ("Organization", "2.5.4.10", Vec::new()),
        ("OrganizationalUnit", "2.5.4.11", Vec::new()),
        ("Locality", "2.5.4.7", Vec::new()),
        ("Province", "2.5.4.8", Vec::new()),
        ("StreetAddress", "2.5.4.9", Vec::new()),
        ("PostalCode", "2.5.4.17", Vec::new()),
    ];
    let (mut common, mut serial, mut names) = (String::new(), String::new(), Vec::new());
    for attribute in name.iter_attributes() {
        let id = attribute.attr_type().to_id_string();
        let text = attribute
            .as_str()
            .map(str::to_owned)
            .or_else(|_| {
                Ok::<_, ()>(String::from_utf8_lossy(attribute.attr_value().data).into_owned())
            })
            .unwrap_or_default();
        names.push(object([("Type", arcs(&id)), ("Value", string(&text))]));
        match id.as_str() {
            "2.5.4.3" => common = text,
            "2.5.4.5" => serial = text,
            id => {
                if let Some((_, _, list)) = lists.iter_mut().find(|(_, known, _)| *known == id) {
                    list.push(string(text));
                }
            }
        }
    }
    let mut fields: Vec<(&str, Value)> = lists
        .into_iter()
        .map(|(key, _, list)| {
            (
                key,
                if list.is_empty() {
                    Value::Null
                } else {
                    Value::from(list)
                },
            )
        })
        .collect();
    fields.push(("CommonName", string(common)));
    fields.push(("SerialNumber", string(serial)));
    fields.push((
        "Names",
        if names.is_empty() {
            Value::Null
        } else {
            Value::from(names)
        },
    ));
    fields.push(("ExtraNames", Value::Null));
    object(fields)
}

/// The algorithm of a signature: Go's number for it, and what it is.
fn signature_algorithm(id: &AlgorithmIdentifier<'_>) -> (u64, Option<Algorithm>) {
    match id.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4" => (2, None),
        "1.2.840.113549.1.1.5" => (3, Some(Algorithm::Pkcs1(Digest::Sha1))),
        "1.2.840.113549.1.1.11" => (4, Some(Algorithm::Pkcs1(Digest::Sha256))),
        "1.2.840.113549.1.1.12" => (5, Some(Algorithm::Pkcs1(Digest::Sha384))),
        "1.2.840.113549.1.1.13" => (6, Some(Algorithm::Pkcs1(Digest::Sha512))),
        "1.2.840.10045.4.1" => (9, None),
        "1.2.840.10045.4.3.2" => (10, Some(Algorithm::Ecdsa(Digest::Sha256))),
        "1.2.840.10045.4.3.3" => (11, Some(Algorithm::Ecdsa(Digest::Sha384))),
        "1.2.840.10045.4.3.4" => (12, Some(Algorithm::Ecdsa(Digest::Sha512))),
        "1.2.840.113549.1.1.10" => (13, Some(Algorithm::Pss(Digest::Sha256))),
        "1.3.101.112" => (16, Some(Algorithm::Ed25519)),
        _ => (0, None),
    }
}

fn number(bytes: &[u8]) -> Value {
    Value::from_numeric_string(&rsa::BigUint::from_bytes_be(bytes).to_string())
        .unwrap_or(Value::Null)
}

/// Go's number for a public key's algorithm, and the key.
fn public_key(spki: &SubjectPublicKeyInfo<'_>) -> (u64, Value) {
    match PublicKey::of_spki(spki) {
        Ok(PublicKey::Rsa(key)) => (
            1,
            object([
                ("N", number(&key.n().to_bytes_be())),
                ("E", number(&key.e().to_bytes_be())),
            ]),
        ),
        Ok(PublicKey::Ec { curve, point }) => {
            let width = curve.width();
            let (x, y) = (
                point.get(1..=width).unwrap_or_default(),
                point.get(1 + width..).unwrap_or_default(),
            );
            (
                3,
                object([
                    ("Curve", Value::new_object()),
                    ("X", number(x)),
                    ("Y", number(y)),
                ]),
            )
        }
        Ok(PublicKey::Ed25519(key)) => (4, base64(&key)),
        _ => (0, Value::Null),
    }
}

fn instant(time: &ASN1Time) -> Value {
    string(
        jiff::Timestamp::from_second(time.timestamp())
            .map(|time| time.to_string())
            .unwrap_or_default(),
    )
}

fn list(items: Vec<Value>) -> Value {
    if items.is_empty() {
        Value::Null
    } else {
        Value::from(items)
    }
}

/// What the alternative names of a certificate or a request are.
#[derive(Default)]
struct Names {
    dns: Vec<Value>,
    emails: Vec<Value>,
    addresses: Vec<Value>,
    uris: Vec<Value>,
    uri_texts: Vec<Value>,
}

fn names(extensions: &[X509Extension<'_>]) -> Names {
    let mut names = Names::default();
    for extension in extensions {
        let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension()
        else {
            continue;
        };
        for general in &alternative.general_names {
            match general {
                GeneralName::DNSName(text) => names.dns.push(string(text)),
                GeneralName::RFC822Name(text) => names.emails.push(string(text)),
                GeneralName::URI(text) => {
                    names.uris.push(uri(text));
                    names.uri_texts.push(string(text));
                }
                GeneralName::IPAddress(bytes) => {
                    let address = <[u8; 4]>::try_from(*bytes)
                        .map(|bytes| std::net::IpAddr::from(bytes).to_string())
                        .or_else(|_| {
                            <[u8; 16]>::try_from(*bytes)
                                .map(|bytes| std::net::IpAddr::from(bytes).to_string())
                        });
                    if let Ok(address) = address {
                        names.addresses.push(string(address));
                    }
                }
                _ => {}
            }
        }
    }
    names
}

/// The parts of a URI as Go's `url.URL` names them.
fn uri(text: &str) -> Value {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (opaque, host, path) = match rest.strip_prefix("//") {
        Some(rest) => match rest.find('/') {
            Some(at) => ("", &rest[..at], &rest[at..]),
            None => ("", rest, ""),
        },
        None if rest.starts_with('/') => ("", "", rest),
        None => (rest, "", ""),
    };
    object([
        ("Scheme", string(scheme)),
        ("Opaque", string(opaque)),
        ("User", Value::Null),
        ("Host", string(host)),
        ("Path", string(path)),
        ("Fragment", string(fragment)),
        ("RawQuery", string(query)),
        ("RawPath", string("")),
        ("RawFragment", string("")),
        ("ForceQuery", Value::from(false)),
        ("OmitHost", Value::from(false)),
    ])
}

fn extension(extension: &X509Extension<'_>) -> Value {
    object([
        ("Id", arcs(&extension.oid.to_id_string())),
        ("Critical", Value::from(extension.critical)),
        ("Value", base64(extension.value)),
    ])
}

/// Go's numbers for the purposes of a key, and the identifiers of those that have none.
fn purposes(certificate: &X509Certificate<'_>) -> (Vec<u64>, Vec<Value>) {
    let Ok(Some(usage)) = certificate.extended_key_usage() else {
        return (Vec::new(), Vec::new());
    };
    let usage = usage.value;
    let known = [
        (usage.any, 0),
        (usage.server_auth, 1),
        (usage.client_auth, 2),
        (usage.code_signing, 3),
        (usage.email_protection, 4),
        (usage.time_stamping, 8),
        (usage.ocsp_signing, 9),
    ];
    (
        known
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, number)| number)
            .collect(),
        usage
            .other
            .iter()
            .map(|id| arcs(&id.to_id_string()))
            .collect(),
    )
}

fn describe(der: &[u8]) -> Outcome {
    let (_, certificate) = X509Certificate::from_der(der).map_err(other)?;
    let tbs = &certificate.tbs_certificate;
    let names = names(certificate.extensions());
    let (purposes, unknown) = purposes(&certificate);
    let (key_algorithm, key) = public_key(certificate.public_key());
    let basic = certificate.basic_constraints().ok().flatten();
    let is_ca = basic.as_ref().is_some_and(|basic| basic.value.ca);
    let length = basic
        .as_ref()
        .and_then(|basic| basic.value.path_len_constraint);
    let (mut subject_key, mut authority_key) = (Value::Null, Value::Null);
    let (mut ocsp, mut issuing, mut points) = (Vec::new(), Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => subject_key = base64(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority_key = id
                    .key_identifier
                    .as_ref()
                    .map_or(Value::Null, |id| base64(id.0));
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for description in &access.accessdescs {
                    if let GeneralName::URI(text) = description.access_location {
                        match description.access_method.to_id_string().as_str() {
                            "1.3.6.1.5.5.7.48.1" => ocsp.push(string(text)),
                            "1.3.6.1.5.5.7.48.2" => issuing.push(string(text)),
                            _ => {}
                        }
                    }
                }
            }
            ParsedExtension::CRLDistributionPoints(distribution) => {
                for point in distribution.iter() {
                    if let Some(x509_parser::extensions::DistributionPointName::FullName(full)) =
                        &point.distribution_point
                    {
                        points.extend(full.iter().filter_map(|name| match name {
                            GeneralName::URI(text) => Some(string(text)),
                            _ => None,
                        }));
                    }
                }
            }
            _ => {}
        }
    }
    let usage = certificate
        .key_usage()
        .ok()
        .flatten()
        .map_or(0, |usage| u64::from(usage.value.flags));
    Ok(object([
        ("Raw", base64(der)),
        ("RawTBSCertificate", base64(tbs.as_ref())),
        (
            "RawSubjectPublicKeyInfo",
            base64(certificate.public_key().raw),
        ),
        ("RawSubject", base64(certificate.subject().as_raw())),
        ("RawIssuer", base64(certificate.issuer().as_raw())),
        ("Signature", base64(&certificate.signature_value.data)),
        (
            "SignatureAlgorithm",
            Value::from(signature_algorithm(&certificate.signature_algorithm).0),
        ),
        ("PublicKeyAlgorithm", Value::from(key_algorithm)),
        ("PublicKey", key),
        (
            "Version",
            Value::from(u64::from(certificate.version().0) + 1),
        ),
        ("SerialNumber", number(certificate.raw_serial())),
        ("Issuer", name(certificate.issuer())),
        ("Subject", name(certificate.subject())),
        ("NotBefore", instant(&certificate.validity().not_before)),
        ("NotAfter", instant(&certificate.validity().not_after)),
        ("KeyUsage", Value::from(usage)),
        (
            "Extensions",
            list(certificate.extensions().iter().map(extension).collect()),
        ),
        ("ExtraExtensions", Value::Null),
        ("UnhandledCriticalExtensions", Value::Null),
        (
            "ExtKeyUsage",
            list(purposes.into_iter().map(Value::from).collect()),
        ),
        ("UnknownExtKeyUsage", list(unknown)),
        ("BasicConstraintsValid", Value::from(basic.is_some())),
        ("IsCA", Value::from(is_ca)),
        (
            "MaxPathLen",
            match (length, basic.is_some()) {
                (Some(length), _) => Value::from(u64::from(length)),
                (None, true) => Value::from(-1_i64),
                (None, false) => Value::from(0_u64),
            },
        ),
        ("MaxPathLenZero", Value::from(length == Some(0))),
        ("SubjectKeyId", subject_key),
        ("AuthorityKeyId", authority_key),
        ("OCSPServer", list(ocsp)),
        ("IssuingCertificateURL", list(issuing)),
        ("CRLDistributionPoints", list(points)),
        ("DNSNames", list(names.dns)),
        ("EmailAddresses", list(names.emails)),
        ("IPAddresses", list(names.addresses)),
        ("URIs", list(names.uris)),
        ("URIStrings", list(names.uri_texts)),
    ]))
}

/// Whether `issuer` made the signature of `certificate`.
fn signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let (_, Some(algorithm)) = signature_algorithm(&certificate.signature_algorithm) else {
        return false;
    };
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && PublicKey::of_spki(issuer.public_key()).is_ok_and(|key| {
            key.verifies(
                algorithm,
                certificate.tbs_certificate.as_ref(),
                &certificate.signature_value.data,
                true,
            )
        })
}

/// The first certificate is the root, the last the leaf, those between them are intermediates.
fn verify(text: &str, options: &Value) -> Outcome {
    let invalid = || array([Value::from(false), Value::new_array()]);
    let Ok(ders) = certificates(text) else {
        return Ok(invalid());
    };
    if ders.len() < 2 {
        return Ok(invalid());
    }
    let Ok(parsed) = ders
        .iter()
        .map(|der| X509Certificate::from_der(der).map(|(_, parsed)| parsed))
        .collect::<Result<Vec<_>, _>>()
    else {
        return Ok(invalid());
    };
    let now = match field(options, "CurrentTime") {
        Some(Value::Number(time)) => time.as_i64().unwrap_or(0) / 1_000_000_000,
        Some(_) => return Err("'CurrentTime' should be a number".into()),
        None => jiff::Timestamp::now().as_second(),
    };
    let wanted = match field(options, "KeyUsages") {
        None => vec![1],
        Some(Value::Array(usages)) => usages.iter().map(purpose).collect::<Result<Vec<_>, _>>()?,
        Some(Value::Set(usages)) => usages.iter().map(purpose).collect::<Result<Vec<_>, _>>()?,
        Some(_) => return Err("'KeyUsages' should be an array".into()),
    };
    let leaf = parsed.len() - 1;
    if let Some(Value::String(host)) = field(options, "DNSName")
        && !host.is_empty()
        && !names(parsed[leaf].extensions())
            .dns
            .iter()
            .any(|name| matches!(name, Value::String(name) if matches_host(name, host)))
    {
        return Ok(invalid());
    }
    let mut chain = vec![leaf];
    while chain.last() != Some(&0) {
        let Some(&last) = chain.last() else { break };
        let issuer =
            (0..leaf).find(|at| !chain.contains(at) && signed_by(&parsed[last], &parsed[*at]));
        let Some(issuer) = issuer else {
            return Ok(invalid());
        };
        // A root is trusted because it was given; whoever else signs must be allowed to.
        if issuer != 0 && !parsed[issuer].is_ca() {
            return Ok(invalid());
        }
        chain.push(issuer);
    }
    for at in &chain {
        let certificate = &parsed[*at];
        let validity = certificate.validity();
        if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
            return Ok(invalid());
        }
        let (purposes, unknown) = purposes(certificate);
        let limited = !purposes.is_empty() || !unknown.is_empty();
        if limited
            && !wanted.contains(&0)
            && !purposes.contains(&0)
            && !wanted.iter().any(|wanted| purposes.contains(wanted))
        {
            return Ok(invalid());
        }
    }
    let described = chain
        .iter()
        .map(|at| describe(&ders[*at]))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(array([Value::from(true), Value::from(described)]))
}

fn purpose(name: &Value) -> Result<u64, Failure> {
    let Value::String(name) = name else {
        return Err("'KeyUsages' should be an array of strings".into());
    };
    Ok(match name.as_ref() {
        "KeyUsageAny" => 0,
        "KeyUsageServerAuth" => 1,
        "KeyUsageClientAuth" => 2,
        "KeyUsageCodeSigning" => 3,
        "KeyUsageEmailProtection" => 4,
        "KeyUsageTimeStamping" => 8,
        "KeyUsageOCSPSigning" => 9,
        _ => {
            return Err(Failure::Other(format!(
                "invalid entries for 'KeyUsages' found: {name}"
            )));
        }
    })
}

/// Whether a certificate's name is that of a host; `*` stands for its first label.
fn matches_host(name: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match name.strip_prefix("*.") {
        Some(suffix) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(suffix)),
        None => name.eq_ignore_ascii_case(host),
    }
}

fn request(operands: &[Value]) -> Outcome {
    let blocks = blocks(text_at(operands, 0)?)?;
    let der = blocks
        .iter()
        .find(|(label, _)| {
            matches!(
                label.as_str(),
                "" | "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"
            )
        })
        .map(|(_, der)| der)
        .ok_or("invalid PEM-encoded certificate signing request")?;
    let (_, request) = X509CertificationRequest::from_der(der).map_err(other)?;
    let info = &request.certification_request_info;
    let (key_algorithm, key) = public_key(&info.subject_pki);
    let extensions: Vec<&ParsedExtension<'_>> = request
        .requested_extensions()
        .map(Iterator::collect)
        .unwrap_or_default();
    let (mut dns, mut emails, mut addresses, mut uris) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for extension in extensions {
        if let ParsedExtension::SubjectAlternativeName(alternative) = extension {
            for general in &alternative.general_names {
                match general {
                    GeneralName::DNSName(text) => dns.push(string(text)),
                    GeneralName::RFC822Name(text) => emails.push(string(text)),
                    GeneralName::URI(text) => uris.push(uri(text)),
                    GeneralName::IPAddress(bytes) => {
                        if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                            addresses.push(string(std::net::IpAddr::from(bytes).to_string()));
                        } else if let Ok(bytes) = <[u8; 16]>::try_from(*bytes) {
                            addresses.push(string(std::net::IpAddr::from(bytes).to_string()));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(object([
        ("Raw", base64(der)),
        ("RawSubject", base64(info.subject.as_raw())),
        ("RawSubjectPublicKeyInfo", base64(info.subject_pki.raw)),
        ("RawTBSCertificateRequest", base64(info.raw)),
        ("Version", Value::from(u64::from(info.version.0))),
        ("Signature", base64(&request.signature_value.data)),
        (
            "SignatureAlgorithm",
            Value::from(signature_algorithm(&request.signature_algorithm).0),
        ),
        ("PublicKeyAlgorithm", Value::from(key_algorithm)),
        ("PublicKey", key),
        ("Subject", name(&info.subject)),
        ("DNSNames", list(dns)),
        ("EmailAddresses", list(emails)),
        ("IPAddresses", list(addresses)),
        ("URIs", list(uris)),
        ("ExtraExtensions", Value::Null),
    ]))
}

/// A private key as Go writes it.
fn private_key(key: &PrivateKey) -> Value {
    match key {
        PrivateKey::Rsa(key) => {
            let big = |value: &rsa::BigUint| number(&value.to_bytes_be());
            object([
                ("N", big(key.n())),
                ("E", big(key.e())),
                ("D", big(key.d())),
                ("Primes", array(key.primes().iter().map(big))),
                (
                    "Precomputed",
                    object([
                        ("Dp", key.dp().map_or(Value::Null, big)),
                        ("Dq", key.dq().map_or(Value::Null, big)),
                        (
                            "Qinv",
                            key.crt_coefficient()
                                .map_or(Value::Null, |value| big(&value)),
                        ),
                        ("CRTValues", Value::new_array()),
                    ]),
                ),
            ])
        }
        PrivateKey::Ec {
            curve,
            scalar,
            point,
        } => {
            let width = curve.width();
            object([
                ("Curve", Value::new_object()),
                ("X", number(point.get(1..=width).unwrap_or_default())),
                ("Y", number(point.get(1 + width..).unwrap_or_default())),
                (
                    "D",
                    if scalar.is_empty() {
                        Value::Null
                    } else {
                        number(scalar)
                    },
                ),
            ])
        }
        PrivateKey::Ed25519 { public, .. } => base64(public),
        PrivateKey::Secret(_) => Value::Null,
    }
}

fn keypair(operands: &[Value]) -> Outcome {
    let ders = certificates(text_at(operands, 0)?)?;
    let (label, der) = blocks(text_at(operands, 1)?)?
        .into_iter()
        .find(|(label, _)| label.is_empty() || label.ends_with("PRIVATE KEY"))
        .ok_or("failed to find any PEM data in key input")?;
    let key = PrivateKey::of_der(&label, &der)?;
    let (_, leaf) = X509Certificate::from_der(&ders[0]).map_err(other)?;
    let belongs = match (PublicKey::of_spki(leaf.public_key())?, &key) {
        (PublicKey::Rsa(public), PrivateKey::Rsa(private)) => public.n() == private.n(),
        (PublicKey::Ec { point, .. }, PrivateKey::Ec { point: own, .. }) => point == *own,
        (PublicKey::Ed25519(public), PrivateKey::Ed25519 { public: own, .. }) => public == *own,
        _ => false,
    };
    if !belongs {
        return Err("private key does not match public key".into());
    }
    Ok(object([
        ("Certificate", array(ders.iter().map(|der| base64(der)))),
        ("PrivateKey", private_key(&key)),
        ("Leaf", describe(&ders[0])?),
        ("OCSPStaple", Value::Null),
        ("SignedCertificateTimestamps", Value::Null),
        ("SupportedSignatureAlgorithms", Value::Null),
    ]))
}

/// The first RSA key of a PEM text as a JSON Web Key.
fn rsa_private_key(operands: &[Value]) -> Outcome {
    let text = text_at(operands, 0)?;
    let blocks = pem_blocks(text)?;
    let (label, der) = blocks
        .first()
        .ok_or("input is not a PEM-encoded private key")?;
    let PrivateKey::Rsa(key) = PrivateKey::of_der(label, der)? else {
        return Err("the key is no RSA key".into());
    };
    let part = |value: &rsa::BigUint| string(URL_SAFE_NO_PAD.encode(value.to_bytes_be()));
    let mut fields = vec![
        ("kty", string("RSA")),
        ("n", part(key.n())),
        ("e", part(key.e())),
        ("d", part(key.d())),
    ];
    if let [p, q] = key.primes() {
        fields.push(("p", part(p)));
        fields.push(("q", part(q)));
    }
    if let (Some(dp), Some(dq), Some(inverse)) = (key.dp(), key.dq(), key.crt_coefficient()) {
        fields.extend([("dp", part(dp)), ("dq", part(dq)), ("qi", part(&inverse))]);
    }
    Ok(object(fields))
}

fn private_keys(operands: &[Value]) -> Outcome {
    let text = text_at(operands, 0)?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let mut keys = Vec::new();
    for (label, der) in blocks(text).unwrap_or_default() {
        if label.ends_with("PRIVATE KEY") {
            keys.push(private_key(&PrivateKey::of_der(&label, &der)?));
        }
    }
    Ok(Value::from(keys))
}
