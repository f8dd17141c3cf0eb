//! Requests to AWS, signed (Signature Version 4).

use regorus::Value;

use super::digests::{hex, mac, sha256};
use super::{Failure, Function, Outcome, field, go_json, object, operand, string, wrong};

pub(super) const FUNCTIONS: &[Function] = &[("providers.aws.sign_req", 3, sign)];

fn text(value: &Value, key: &str) -> Result<String, Failure> {
    match field(value, key) {
        Some(Value::String(text)) => Ok(text.to_string()),
        Some(_) => Err(Failure::Other(format!("{key} must be a string"))),
        None => Err(Failure::Other(format!(
            "missing required fields(s): {{\"{key}\"}}"
        ))),
    }
}

fn sign(operands: &[Value]) -> Outcome {
    let (request, config) = (operand(operands, 0), operand(operands, 1));
    if !matches!(request, Value::Object(_)) {
        return Err(wrong(operands, 0, "object"));
    }
    if !matches!(config, Value::Object(_)) {
        return Err(wrong(operands, 1, "object"));
    }
    let Value::Number(time) = operand(operands, 2) else {
        return Err(wrong(operands, 2, "number"));
    };
    let time = time
        .as_i128()
        .filter(|time| *time >= 0)
        .ok_or("could not convert time_ns value into a unix timestamp")?;
    let time = jiff::Timestamp::from_nanosecond(time)
        .map_err(|error| Failure::Other(error.to_string()))?;
    let stamp = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = time.strftime("%Y%m%d").to_string();

    let (method, url) = (text(request, "method")?, text(request, "url")?);
    let (access, secret) = (
        text(config, "aws_access_key")?,
        text(config, "aws_secret_access_key")?,
    );
    let (service, region) = (text(config, "aws_service")?, text(config, "aws_region")?);
    let unsigned = match field(config, "disable_payload_signing") {
        None => false,
        Some(Value::Bool(value)) => *value,
        Some(_) => return Err("invalid value for 'disable_payload_signing' in AWS config".into()),
    };
    let body = match (field(request, "body"), field(request, "raw_body")) {
        (Some(body), _) => go_json(body),
        (None, Some(Value::String(raw))) => raw.to_string(),
        (None, Some(_)) => return Err("raw_body must be a string".into()),
        (None, None) => String::new(),
    };
    let (_, rest) = url
        .split_once("://")
        .ok_or("could not parse the URL of the request")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let hashed = if unsigned {
        "UNSIGNED-PAYLOAD".to_owned()
    } else {
        hex(sha256(body.as_bytes()))
    };

    let mut headers: Vec<(String, Value)> = Vec::new();
    match field(request, "headers") {
        None => {}
        Some(Value::Object(given)) => {
            for (name, value) in given.iter_sorted() {
                let (Value::String(name), Value::String(_)) = (name, value) else {
                    return Err("the headers of the request must be strings".into());
                };
                headers.push((name.to_string(), value.clone()));
            }
        }
        Some(_) => return Err("the headers of the request must be an object".into()),
    }
    let mut set = |name: &str, value: &str| {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.to_owned(), string(value)));
    };
    set("host", host);
    set("x-amz-date", &stamp);
    if service == "s3" || unsigned {
        set("x-amz-content-sha256", &hashed);
    }
    if let Some(Value::String(token)) = field(config, "aws_session_token") {
        set("x-amz-security-token", token);
    }
    let mut signed: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
                _ => String::new(),
            };
            (name.to_ascii_lowercase(), value)
        })
        .collect();
    signed.sort();
    let names = signed
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(";");
    let lines: String = signed
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    // The path and the query are signed as they were given: whoever asks has escaped them.
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hashed}");
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let message = format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
        hex(sha256(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [
        day.as_str(),
        region.as_str(),
        service.as_str(),
        "aws4_request",
        message.as_str(),
    ] {
        key = mac::<hmac::Hmac<sha2::Sha256>>(&key, part.as_bytes())?;
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={access}/{scope},SignedHeaders={names},Signature={}",
        hex(key)
    );
    headers.push(("Authorization".to_owned(), string(authorization)));
    let Value::Object(fields) = request else {
        return Err("the request must be an object".into());
    };
    let mut fields: Vec<(String, Value)> = fields
        .iter_sorted()
        .filter_map(|(key, value)| match key {
            Value::String(key) if key.as_ref() != "headers" => {
                Some((key.to_string(), value.clone()))
            }
            _ => None,
        })
        .collect();
    fields.push(("headers".to_owned(), object(headers)));
    Ok(object(fields))
}
