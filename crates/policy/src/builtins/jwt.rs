//! JSON Web Tokens (RFC 7515, 7519).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regorus::Value;

use super::digests::hex;
use super::keys::{Algorithm, PrivateKey, PublicKey, hmac, public_keys, same};
use super::{
    Failure, Function, Outcome, array, field, from_json, go_json, object, operand, string, text_at,
    wrong,
};

/// How often a token may hold another.
const MAX_NESTING: usize = 16;

pub(super) const FUNCTIONS: &[Function] = &[
    ("io.jwt.decode", 1, decode),
    ("io.jwt.decode_verify", 2, decode_verify),
    ("io.jwt.encode_sign", 3, encode_sign),
    ("io.jwt.encode_sign_raw", 3, encode_sign_raw),
    ("io.jwt.verify_hs256", 2, |operands| {
        verify_secret(operands, "HS256")
    }),
    ("io.jwt.verify_hs384", 2, |operands| {
        verify_secret(operands, "HS384")
    }),
    ("io.jwt.verify_hs512", 2, |operands| {
        verify_secret(operands, "HS512")
    }),
    ("io.jwt.verify_rs256", 2, |operands| {
        verify_key(operands, "RS256")
    }),
    ("io.jwt.verify_rs384", 2, |operands| {
        verify_key(operands, "RS384")
    }),
    ("io.jwt.verify_rs512", 2, |operands| {
        verify_key(operands, "RS512")
    }),
    ("io.jwt.verify_ps256", 2, |operands| {
        verify_key(operands, "PS256")
    }),
    ("io.jwt.verify_ps384", 2, |operands| {
        verify_key(operands, "PS384")
    }),
    ("io.jwt.verify_ps512", 2, |operands| {
        verify_key(operands, "PS512")
    }),
    ("io.jwt.verify_es256", 2, |operands| {
        verify_key(operands, "ES256")
    }),
    ("io.jwt.verify_es384", 2, |operands| {
        verify_key(operands, "ES384")
    }),
    ("io.jwt.verify_es512", 2, |operands| {
        verify_key(operands, "ES512")
    }),
    ("io.jwt.verify_eddsa", 2, |operands| {
        verify_key(operands, "EdDSA")
    }),
];

/// A token taken apart.
struct Token<'a> {
    header: Value,
    payload: Vec<u8>,
    signature: Vec<u8>,
    /// What is signed.
    signed: &'a str,
}

fn unbase64(text: &str, what: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|error| Failure::Other(format!("JWT {what} had invalid encoding: {error}")))
}

fn take_apart(text: &str) -> Result<Token<'_>, Failure> {
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else {
        return Err(Failure::Other(if parts.len() == 5 {
            "JWT is a JWE object, which is not supported".to_owned()
        } else {
            format!("encoded JWT must have 3 sections, found {}", parts.len())
        }));
    };
    let header_text = unbase64(header, "header")?;
    let header_json = from_json(
        std::str::from_utf8(&header_text).map_err(|error| Failure::Other(error.to_string()))?,
    )?;
    if !matches!(header_json, Value::Object(_)) {
        return Err("the header of a token must be an object".into());
    }
    if field(&header_json, "enc").is_some() {
        return Err("JWT is a JWE object, which is not supported".into());
    }
    Ok(Token {
        header: header_json,
        payload: unbase64(payload, "payload")?,
        signature: unbase64(signature, "signature")?,
        signed: &text[..header.len() + 1 + payload.len()],
    })
}

fn text_field(value: &Value, key: &str) -> Option<String> {
    match field(value, key) {
        Some(Value::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// Whether the payload is a token itself.
fn is_nested(header: &Value) -> bool {
    text_field(header, "cty").is_some_and(|kind| kind.eq_ignore_ascii_case("JWT"))
}

fn payload_of(token: &Token<'_>) -> Outcome {
    let text =
        std::str::from_utf8(&token.payload).map_err(|error| Failure::Other(error.to_string()))?;
    match from_json(text)? {
        payload @ Value::Object(_) => Ok(payload),
        _ => Err("the payload of a token must be an object".into()),
    }
}

/// A token in a token may be a string of JSON, or stand for itself.
fn inner_text(payload: &[u8]) -> Result<String, Failure> {
    let text =
        String::from_utf8(payload.to_vec()).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(serde_json::from_str::<String>(&text).unwrap_or(text))
}

fn decode(operands: &[Value]) -> Outcome {
    let mut text = text_at(operands, 0)?.to_owned();
    for _ in 0..MAX_NESTING {
        let token = take_apart(&text)?;
        if is_nested(&token.header) {
            let inner = inner_text(&token.payload)?;
            text = inner;
            continue;
        }
        return Ok(array([
            token.header.clone(),
            payload_of(&token)?,
            string(hex(&token.signature)),
        ]));
    }
    Err("tokens are nested too deeply".into())
}

fn verify_secret(operands: &[Value], algorithm: &str) -> Outcome {
    let (text, secret) = (text_at(operands, 0)?, text_at(operands, 1)?);
    let token = take_apart(text)?;
    let Some(Algorithm::Hmac(digest)) = Algorithm::of(algorithm) else {
        return Err("an unknown algorithm".into());
    };
    Ok(Value::from(same(
        &hmac(digest, secret.as_bytes(), token.signed.as_bytes())?,
        &token.signature,
    )))
}

/// Whether one of the keys made the signature; a token that names its key is held to it where the keys have names.
fn signed_by(
    token: &Token<'_>,
    algorithm: Algorithm,
    keys: &[(Option<String>, PublicKey)],
) -> bool {
    let wanted = text_field(&token.header, "kid");
    let named = wanted
        .as_ref()
        .and_then(|wanted| keys.iter().find(|(id, _)| id.as_ref() == Some(wanted)));
    let verifies =
        |key: &PublicKey| key.verifies(algorithm, token.signed.as_bytes(), &token.signature, false);
    match named {
        Some((_, key)) => verifies(key),
        None => keys.iter().any(|(_, key)| verifies(key)),
    }
}

fn verify_key(operands: &[Value], algorithm: &str) -> Outcome {
    let (text, key) = (text_at(operands, 0)?, text_at(operands, 1)?);
    let token = take_apart(text)?;
    let keys = public_keys(key)?;
    let Some(algorithm) = Algorithm::of(algorithm) else {
        return Err("an unknown algorithm".into());
    };
    Ok(Value::from(signed_by(&token, algorithm, &keys)))
}

/// What a token must hold to.
#[derive(Default)]
struct Constraints {
    keys: Vec<(Option<String>, PublicKey)>,
    secret: Option<Vec<u8>>,
    algorithm: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    /// Picoseconds since the epoch.
    time: Option<i128>,
}

fn constraints(value: &Value) -> Result<Constraints, Failure> {
    let Value::Object(fields) = value else {
        return Err("constraints must be an object".into());
    };
    let mut wanted = Constraints::default();
    for (key, value) in fields.iter_sorted() {
        let Value::String(key) = key else {
            return Err("unknown token validation constraint".into());
        };
        let text = || match value {
            Value::String(text) => Ok(text.to_string()),
            _ => Err(Failure::Other(format!(
                "{key} constraint: must be a string"
            ))),
        };
        match key.as_ref() {
            "cert" => wanted.keys = public_keys(&text()?)?,
            "secret" => wanted.secret = Some(text()?.into_bytes()),
            "alg" => wanted.algorithm = Some(text()?),
            "iss" => wanted.issuer = Some(text()?),
            "aud" => wanted.audience = Some(text()?),
            "time" => match value {
                Value::Number(_) => wanted.time = Some(scaled(value, 3)?).filter(|time| *time >= 0),
                _ => {
                    return Err(
                        "token time constraint: must be a number that is not negative".into(),
                    );
                }
            },
            unknown => {
                return Err(Failure::Other(format!(
                    "unknown token validation constraint: {unknown}"
                )));
            }
        }
    }
    match (wanted.keys.is_empty(), wanted.secret.is_none()) {
        (true, true) => Err("no key constraint".into()),
        (false, false) => Err("duplicate key constraints".into()),
        _ => Ok(wanted),
    }
}

/// A number times a power of ten, without what is left behind the point: times are compared as they are written.
fn scaled(value: &Value, power: i32) -> Result<i128, Failure> {
    let Value::Number(_) = value else {
        return Err("a time claim must be a number".into());
    };
    let text = serde_json::to_string(value).unwrap_or_default();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shift =
        exponent.parse::<i32>().unwrap_or(0) + power - i32::try_from(fraction.len()).unwrap_or(0);
    let digits = format!("{whole}{fraction}")
        .parse::<i128>()
        .map_err(|error| Failure::Other(error.to_string()))?;
    let factor = 10_i128
        .checked_pow(shift.unsigned_abs())
        .ok_or("a time out of range")?;
    if shift < 0 {
        Ok(digits / factor)
    } else {
        digits
            .checked_mul(factor)
            .ok_or_else(|| "a time out of range".into())
    }
}

fn decode_verify(operands: &[Value]) -> Outcome {
    let refused = || array([Value::from(false), object::<&str>([]), object::<&str>([])]);
    let mut text = text_at(operands, 0)?.to_owned();
    let Value::Object(_) = operand(operands, 1) else {
        return Err(wrong(operands, 1, "object"));
    };
    let wanted = constraints(operand(operands, 1))?;
    for _ in 0..MAX_NESTING {
        let token = take_apart(&text)?;
        // No extension that could be critical is understood.
        if field(&token.header, "crit").is_some() {
            return Ok(refused());
        }
        let Some(name) = text_field(&token.header, "alg") else {
            return Ok(refused());
        };
        if wanted
            .algorithm
            .as_ref()
            .is_some_and(|wanted| *wanted != name)
        {
            return Ok(refused());
        }
        let genuine = match (Algorithm::of(&name), &wanted.secret) {
            (Some(Algorithm::Hmac(digest)), Some(secret)) => same(
                &hmac(digest, secret, token.signed.as_bytes())?,
                &token.signature,
            ),
            (Some(Algorithm::Hmac(_)) | None, _) => false,
            (Some(algorithm), _) => signed_by(&token, algorithm, &wanted.keys),
        };
        if !genuine {
            return Ok(refused());
        }
        if is_nested(&token.header) {
            let inner = inner_text(&token.payload)?;
            text = inner;
            continue;
        }
        let payload = payload_of(&token)?;
        return Ok(if holds(&wanted, &payload)? {
            array([Value::from(true), token.header, payload])
        } else {
            refused()
        });
    }
    Err("tokens are nested too deeply".into())
}

/// Whether the claims hold to the constraints.
fn holds(wanted: &Constraints, payload: &Value) -> Result<bool, Failure> {
    if let Some(issuer) = &wanted.issuer
        && text_field(payload, "iss").as_ref() != Some(issuer)
    {
        return Ok(false);
    }
    let audience = wanted.audience.as_deref();
    let fits = match field(payload, "aud") {
        None => audience.is_none(),
        Some(Value::String(text)) => Some(text.as_ref()) == audience,
        Some(Value::Array(items)) => items
            .iter()
            .any(|item| matches!(item, Value::String(text) if Some(text.as_ref()) == audience)),
        Some(_) => false,
    };
    if !fits {
        return Ok(false);
    }
    let now = wanted
        .time
        .unwrap_or_else(|| jiff::Timestamp::now().as_nanosecond() * 1000);
    if let Some(expires) = field(payload, "exp")
        && now >= scaled(expires, 12)?
    {
        return Ok(false);
    }
    if let Some(begins) = field(payload, "nbf")
        && now < scaled(begins, 12)?
    {
        return Ok(false);
    }
    Ok(true)
}

fn sign(header_text: &str, payload: &str, key: &Value) -> Outcome {
    let header = from_json(header_text)
        .map_err(|error| Failure::Other(format!("failed to parse JWS headers: {error}")))?;
    let name = text_field(&header, "alg").ok_or("the header has no field alg")?;
    let algorithm = Algorithm::of(&name)
        .ok_or_else(|| Failure::Other(format!("unknown signature algorithm: {name}")))?;
    let plain = text_field(&header, "typ").is_some_and(|kind| kind != "JWT");
    if !plain && serde_json::from_str::<serde::de::IgnoredAny>(payload).is_err() {
        return Err("type is JWT but payload is not JSON".into());
    }
    let key = PrivateKey::of_jwk(key)?;
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header_text),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = key.sign(algorithm, signed.as_bytes())?;
    Ok(string(format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(signature)
    )))
}

fn encode_sign(operands: &[Value]) -> Outcome {
    for at in 0..3 {
        if !matches!(operand(operands, at), Value::Object(_)) {
            return Err(wrong(operands, at, "object"));
        }
    }
    sign(
        &go_json(operand(operands, 0)),
        &go_json(operand(operands, 1)),
        operand(operands, 2),
    )
}

fn encode_sign_raw(operands: &[Value]) -> Outcome {
    let key = from_json(text_at(operands, 2)?)?;
    sign(text_at(operands, 0)?, text_at(operands, 1)?, &key)
}
