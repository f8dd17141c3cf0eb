//! JSON Web Tokens and the keys that verify them (RFC 7515, RFC 7517, RFC 7518).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::Refused;

/// No honest token is longer.
const LONGEST: usize = 64 * 1024;

/// A signature algorithm that is verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the standard's
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    PS256,
    PS384,
    PS512,
}

impl Algorithm {
    /// All that are verified here.
    pub const ALL: [Self; 8] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::ES256,
        Self::ES384,
        Self::PS256,
        Self::PS384,
        Self::PS512,
    ];

    /// The algorithm of a name as tokens write it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| format!("{algorithm:?}") == name)
    }
}

/// A token taken apart; nothing of it is verified yet.
pub(super) struct Token<'a> {
    /// What is signed.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    /// Its algorithm.
    pub(super) algorithm: Algorithm,
    /// Its algorithm's name.
    pub(super) name: String,
    /// Which key signed it, if it says.
    pub(super) key: Option<String>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
        }
        if token.len() > LONGEST {
            return Err(Refused::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refused::Malformed)?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Malformed)?;
        let algorithm =
            Algorithm::parse(&header.alg).ok_or_else(|| Refused::Algorithm(header.alg.clone()))?;
        Ok(Self {
            signed,
            payload,
            signature: decode(signature)?,
            algorithm,
            name: header.alg,
            key: header.kid,
        })
    }

    /// The claims; to be believed only after the signature was verified.
    pub(super) fn claims(&self) -> Result<Value, Refused> {
        let claims: Value =
            serde_json::from_slice(&decode(self.payload)?).map_err(|_| Refused::Malformed)?;
        if claims.is_object() {
            Ok(claims)
        } else {
            Err(Refused::Malformed)
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Refused> {
    BASE64URL.decode(part).map_err(|_| Refused::Malformed)
}

/// A published key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl Key {
    /// The keys of a set that can verify signatures here; others are passed over.
    pub(super) fn set(document: &Value) -> Vec<Self> {
        let keys = document.get("keys").and_then(Value::as_array);
        keys.into_iter().flatten().filter_map(Self::parse).collect()
    }

    fn parse(key: &Value) -> Option<Self> {
        let text = |field: &str| key.get(field).and_then(Value::as_str);
        let bytes = |field: &str| {
            let text = text(field)?.trim_end_matches('=');
            BASE64URL.decode(text).ok()
        };
        if text("use").is_some_and(|used| used != "sig") {
            return None;
        }
        // Coordinates may come with leading zeros cut off.
        let point = |size: usize| {
            let mut point = vec![4];
            for field in ["x", "y"] {
                let part = bytes(field)?;
                let missing = size.checked_sub(part.len())?;
                point.extend(std::iter::repeat_n(0, missing));
                point.extend(part);
            }
            Some(point)
        };
        let public = match (text("kty")?, text("crv")) {
            ("RSA", _) => Public::Rsa {
                modulus: bytes("n")?,
                exponent: bytes("e")?,
            },
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            _ => return None,
        };
        Some(Self {
            id: text("kid").map(str::to_owned),
            algorithm: text("alg").map(str::to_owned),
            public,
        })
    }

    /// Whether the key may have signed the token.
    fn fits(&self, token: &Token<'_>) -> bool {
        let other = |own: &Option<String>, wanted: Option<&str>| matches!((own, wanted), (Some(own), Some(wanted)) if own != wanted);
        !other(&self.id, token.key.as_deref()) && !other(&self.algorithm, Some(&token.name))
    }

    /// Whether the key signed the token.
    pub(super) fn verifies(&self, token: &Token<'_>) -> bool {
        if !self.fits(token) {
            return false;
        }
        let message = token.signed.as_bytes();
        match &self.public {
            Public::Rsa { modulus, exponent } => {
                let parameters: &RsaParameters = match token.algorithm {
                    Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Algorithm::ES256 | Algorithm::ES384 => return false,
                };
                // A modulus with a leading zero is a usual mistake of publishers.
                let start = modulus.iter().take_while(|byte| **byte == 0).count();
                let key = RsaPublicKeyComponents {
                    n: &modulus[start..],
                    e: exponent,
                };
                key.verify(parameters, message, &token.signature).is_ok()
            }
            Public::P256(point) => {
                token.algorithm == Algorithm::ES256
                    && curve(&signature::ECDSA_P256_SHA256_FIXED, point, token)
            }
            Public::P384(point) => {
                token.algorithm == Algorithm::ES384
                    && curve(&signature::ECDSA_P384_SHA384_FIXED, point, token)
            }
        }
    }
}

fn curve(algorithm: &'static dyn VerificationAlgorithm, point: &[u8], token: &Token<'_>) -> bool {
    UnparsedPublicKey::new(algorithm, point)
        .verify(token.signed.as_bytes(), &token.signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // The examples of RFC 7515, appendices A.2 and A.3.
    const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    #[test]
    fn the_standards_examples_verify_and_a_changed_one_does_not() {
        let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{signature}");
        let keys = Key::set(&json!({"keys": [rsa, {"kty": "oct"}]}));
        assert_eq!(keys.len(), 1);
        assert!(keys[0].verifies(&Token::parse(&token).unwrap()));
        let forged = token.replace("eyJpc3Mi", "eyJpc3Nj");
        assert!(!keys[0].verifies(&Token::parse(&forged).unwrap()));

        let curve = json!({"kty": "EC", "crv": "P-256", "kid": "c",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        let token = format!(
            "eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        );
        let keys = Key::set(&json!({"keys": [curve]}));
        assert!(keys[0].verifies(&Token::parse(&token).unwrap()));
        assert_eq!(
            Token::parse(&token).unwrap().claims().unwrap()["iss"],
            "joe"
        );
    }

    #[test]
    fn a_token_without_a_signature_is_no_token() {
        for token in [
            "",
            "a.b",
            "eyJhbGciOiJub25lIn0.e30.",
            "eyJhbGciOiJIUzI1NiJ9.e30.e30",
        ] {
            assert!(Token::parse(token).is_err(), "{token}");
        }
    }
}
