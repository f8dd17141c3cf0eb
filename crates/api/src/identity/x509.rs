//! Certificates made for signing requests: DER put together here, so that a request's subject and key
//! go into its certificate byte for byte (RFC 5280, RFC 2986).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, SigningKey as _};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Clocks of those who check may be behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why a request was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request could not be read, or its signature is not of its key.
    #[error("unable to parse the certificate request: {0}")]
    Request(String),
    /// A usage has no meaning in a certificate.
    #[error("unrecognized key usage {0:?}")]
    Usage(String),
    /// The authority could not sign.
    #[error("signing: {0}")]
    Sign(String),
}

/// Signs requests with an authority's key, which must be ECDSA P-256.
pub struct Authority<'a> {
    certificate: &'a [u8],
    key: &'a KeyPair,
}

impl<'a> Authority<'a> {
    /// The authority of a certificate (DER) and its key.
    pub fn new(certificate: &'a [u8], key: &'a KeyPair) -> Self {
        Self { certificate, key }
    }

    /// Signs a request (PEM). `usages` are those of `certificates.k8s.io` (`client auth`, ...);
    /// subject, alternative names and key are the request's. The certificate (PEM) ends after
    /// `lifetime`, or with the authority.
    ///
    /// # Errors
    /// If the request is not good, a usage is unknown, or signing fails.
    pub fn sign(
        &self,
        request: &[u8],
        usages: &[String],
        lifetime: Duration,
    ) -> Result<String, Error> {
        let der = CertificateSigningRequestDer::from_pem_slice(request)
            .map_err(|error| Error::Request(format!("{error:?}")))?;
        let (_, request) = X509CertificationRequest::from_der(&der)
            .map_err(|error| Error::Request(error.to_string()))?;
        request
            .verify_signature()
            .map_err(|error| Error::Request(error.to_string()))?;
        let (_, authority) = X509Certificate::from_der(self.certificate)
            .map_err(|error| Error::Sign(error.to_string()))?;

        let now = SystemTime::now();
        let end = seconds(now + lifetime).min(authority.validity().not_after.timestamp());
        let validity = sequence(&[&time(seconds(now - BACKDATE)), &time(end)]);
        let info = &request.certification_request_info;
        let algorithm = sequence(&[&oid(&[1, 2, 840, 10045, 4, 3, 2])]);
        let extensions = extensions(&request, &authority, usages)?;
        let mut serial: [u8; 16] = rand::random();
        // Positive, and without a leading zero.
        serial[0] = serial[0] & 0x7f | 0x40;
        let body = sequence(&[
            &tagged(0xa0, &tagged(0x02, &[2])),
            &tagged(0x02, &serial),
            &algorithm,
            authority.subject().as_raw(),
            &validity,
            info.subject.as_raw(),
            info.subject_pki.raw,
            &tagged(0xa3, &extensions),
        ]);
        let signature = self
            .key
            .sign(&body)
            .map_err(|error| Error::Sign(error.to_string()))?;
        let certificate = sequence(&[&body, &algorithm, &bits(&signature, 0)]);
        Ok(pem(&certificate))
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn extensions(
    request: &X509CertificationRequest<'_>,
    authority: &X509Certificate<'_>,
    usages: &[String],
) -> Result<Vec<u8>, Error> {
    let (bits_set, purposes) = usages_of(usages)?;
    let mut all = Vec::new();
    let extension = |number: &[u64], critical: bool, value: &[u8]| {
        let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
        sequence(&[&oid(number), critical, &tagged(0x04, value)])
    };
    if bits_set != 0 {
        // Bit 0 of the extension is the highest of the first byte.
        let bytes = bits_set.reverse_bits().to_be_bytes();
        let unused = bits_set.leading_zeros() % 8;
        let bytes: &[u8] = if bits_set > 0xff { &bytes } else { &bytes[..1] };
        let value = bits(bytes, u8::try_from(unused).unwrap_or_default());
        all.push(extension(&[2, 5, 29, 15], true, &value));
    }
    if !purposes.is_empty() {
        let purposes: Vec<Vec<u8>> = purposes.iter().map(|number| oid(number)).collect();
        let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
        all.push(extension(&[2, 5, 29, 37], false, &sequence(&purposes)));
    }
    all.push(extension(&[2, 5, 29, 19], true, &sequence(&[])));
    for own in authority.extensions() {
        if let x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) =
            own.parsed_extension()
        {
            let value = sequence(&[&tagged(0x80, id.0)]);
            all.push(extension(&[2, 5, 29, 35], false, &value));
        }
    }
    if let Some(names) = alternative_names(request) {
        all.push(extension(&[2, 5, 29, 17], false, &names));
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    Ok(sequence(&all))
}

/// The alternative names a request asks for, as DER.
fn alternative_names(request: &X509CertificationRequest<'_>) -> Option<Vec<u8>> {
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    let names = request
        .requested_extensions()?
        .find_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })?;
    let names: Vec<Vec<u8>> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::RFC822Name(text) => Some(tagged(0x81, text.as_bytes())),
            GeneralName::DNSName(text) => Some(tagged(0x82, text.as_bytes())),
            GeneralName::URI(text) => Some(tagged(0x86, text.as_bytes())),
            GeneralName::IPAddress(octets) => Some(tagged(0x87, octets)),
            _ => None,
        })
        .collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    (!names.is_empty()).then(|| sequence(&names))
}

/// Key usage bits (bit 0 lowest) and extended purposes of usages by their names.
fn usages_of(usages: &[String]) -> Result<(u16, Vec<&'static [u64]>), Error> {
    const ANY: &[u64] = &[2, 5, 29, 37, 0];
    const PURPOSES: &[(&str, &[u64])] = &[
        ("any", ANY),
        ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
        ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
        ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
        ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
        ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
        ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
        ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
        ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
        ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
        ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
        ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
    ];
    let mut set = 0_u16;
    let mut purposes = Vec::new();
    for usage in usages {
        let bit = match usage.as_str() {
            "signing" | "digital signature" => Some(0),
            "content commitment" => Some(1),
            "key encipherment" => Some(2),
            "data encipherment" => Some(3),
            "key agreement" => Some(4),
            "cert sign" => Some(5),
            "crl sign" => Some(6),
            "encipher only" => Some(7),
            "decipher only" => Some(8),
            _ => None,
        };
        if let Some(bit) = bit {
            set |= 1 << bit;
            continue;
        }
        let known = PURPOSES.iter().find(|(name, _)| name == usage);
        let (_, number) = known.ok_or_else(|| Error::Usage(usage.clone()))?;
        if !purposes.contains(number) {
            purposes.push(*number);
        }
    }
    Ok((set, purposes))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        length @ 0..128 => der.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let skip = bytes.iter().take_while(|byte| **byte == 0).count();
            der.push(0x80 | (bytes.len() - skip) as u8);
            der.extend_from_slice(&bytes[skip..]);
        }
    }
    der.extend_from_slice(content);
    der
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

fn bits(content: &[u8], unused: u8) -> Vec<u8> {
    let mut whole = vec![unused];
    whole.extend_from_slice(content);
    tagged(0x03, &whole)
}

fn oid(numbers: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    if let [first, second, rest @ ..] = numbers {
        let mut push = |mut number: u64| {
            let mut bytes = vec![(number & 0x7f) as u8];
            number >>= 7;
            while number > 0 {
                bytes.push((number & 0x7f) as u8 | 0x80);
                number >>= 7;
            }
            content.extend(bytes.into_iter().rev());
        };
        push(first * 40 + second);
        for number in rest {
            push(*number);
        }
    }
    tagged(0x06, &content)
}

/// A time: two-digit years until 2049, four digits from then (RFC 5280, 4.1.2.5).
fn time(seconds: i64) -> Vec<u8> {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    if time.year() < 2050 {
        let text = time.strftime("%y%m%d%H%M%SZ").to_string();
        return tagged(0x17, text.as_bytes());
    }
    tagged(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, IsCa};

    fn authority() -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        params.use_authority_key_identifier_extension = true;
        (params.self_signed(&key).unwrap().der().to_vec(), key)
    }

    #[test]
    fn a_signed_request_keeps_its_subject_names_and_key_and_is_the_authoritys() {
        let (certificate, key) = authority();
        let own = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "dev");
        let request = params.serialize_request(&own).unwrap().pem().unwrap();
        let usages: Vec<String> = ["client auth", "digital signature", "key encipherment"]
            .map(str::to_owned)
            .to_vec();
        let pem = Authority::new(&certificate, &key)
            .sign(request.as_bytes(), &usages, Duration::from_secs(3600))
            .unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let made = block.parse_x509().unwrap();
        let (_, ca) = X509Certificate::from_der(&certificate).unwrap();
        made.verify_signature(Some(ca.public_key())).unwrap();
        assert_eq!(made.issuer(), ca.subject());
        let usage = made.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment());
        assert!(!usage.key_cert_sign() && !usage.decipher_only());
        let extended = made.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
        let names = made.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        let user = super::super::pki::user_of_certificate(&block.contents).unwrap();
        assert_eq!((user.name.as_str(), user.is_in("dev")), ("jane", true));
        let left = made.validity().time_to_expiration().unwrap();
        assert!(left.whole_seconds() <= 3600 && left.whole_seconds() > 3500);
    }

    #[test]
    fn a_broken_request_and_an_unknown_usage_are_refused() {
        let (certificate, key) = authority();
        let authority = Authority::new(&certificate, &key);
        let hour = Duration::from_secs(3600);
        assert!(matches!(
            authority.sign(b"-----BEGIN CERTIFICATE REQUEST-----\n", &[], hour),
            Err(Error::Request(_))
        ));
        let own = KeyPair::generate().unwrap();
        let request = CertificateParams::default()
            .serialize_request(&own)
            .unwrap();
        let usages = ["flying".to_owned()];
        assert_eq!(
            authority.sign(request.pem().unwrap().as_bytes(), &usages, hour),
            Err(Error::Usage("flying".to_owned()))
        );
    }
}
