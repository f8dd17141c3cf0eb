//! Bodies in and out: JSON, YAML and protobuf on the wire, JSON values inside.

use crate::error::{Outcome, bad_request, internal};
use crate::kind::Kind;
use crate::negotiate::Encoding;
use crate::request::FieldValidation;
use bytes::Bytes;
use consort_object::proto;
use consort_object::schema::{self, DecodeError, Gvk, Schema};
use consort_object::status::Status;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

/// A decoded body and what the client should be warned of.
pub(crate) struct Decoded {
    /// The object in canonical form.
    pub value: Value,
    /// Unknown and duplicate fields.
    pub warnings: Vec<String>,
}

/// As many unknown and duplicate fields as an answer tells of.
const NOTES: usize = 1_000;

/// Parse a body that should be an object of this kind; what it says of its own version and kind must
/// fit. With it come the fields that are in it twice.
pub(crate) fn open(bytes: &[u8], encoding: Encoding, gvk: &Gvk) -> Outcome<(Value, Vec<String>)> {
    let (mut value, notes) = parse(bytes, encoding, gvk)?;
    if !value.is_object() {
        return Err(bad_request(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct",
            type_name(&value)
        )));
    }
    claim_kind(&mut value, gvk)?;
    Ok((value, notes))
}

/// Unknown fields are refused, told, or nothing, as the client wishes.
pub(crate) fn judge(notes: Vec<String>, gvk: &Gvk, mode: FieldValidation) -> Outcome<Vec<String>> {
    weigh(notes, mode).map_err(|error| Box::new(error.status(gvk)))
}

/// The same, with a refusal that is not told yet.
pub(crate) fn weigh(
    mut notes: Vec<String>,
    mode: FieldValidation,
) -> Result<Vec<String>, DecodeError> {
    notes.truncate(NOTES);
    match mode {
        FieldValidation::Strict if !notes.is_empty() => Err(DecodeError::Strict(notes)),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict | FieldValidation::Warn => Ok(notes),
    }
}

/// Parse a body without looking at its meaning.
pub(crate) fn parse(bytes: &[u8], encoding: Encoding, gvk: &Gvk) -> Outcome<(Value, Vec<String>)> {
    match encoding {
        Encoding::Json => {
            schema::parse_json_strict(bytes).map_err(|error| Box::new(error.status(gvk)))
        }
        Encoding::Yaml => loose_yaml(bytes)
            .map(|(value, doubles)| (value, doubles.into_iter().collect()))
            .map_err(|error| bad_request(format!("error converting YAML to JSON: {error}"))),
        Encoding::Protobuf => proto::decode(Schema::builtin(), bytes, Some(gvk))
            .map(|value| (value, Vec::new()))
            .map_err(|error| {
                bad_request(format!(
                    "the object provided is not valid protobuf: {error}"
                ))
            }),
    }
}

/// How YAML is read: to as many values as a text of its length can hold without aliases. It nests 64 levels at most,
/// half of what JSON may: its reader needs more of the stack.
fn dialect(text: &str, duplicate_keys: DuplicateKeyPolicy) -> serde_saphyr::Options {
    let values = (text.len() / 2).max(250_000);
    serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        budget: serde_saphyr::budget! {
            max_nodes: values,
            max_events: values * 4,
        },
    }
}

/// Parse YAML (of which JSON is a part).
pub(crate) fn yaml(bytes: &[u8]) -> Outcome<Value> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| bad_request(format!("the body is not UTF-8: {error}")))?;
    serde_saphyr::from_str_with_options(text, dialect(text, DuplicateKeyPolicy::Error))
        .map_err(|error| bad_request(format!("error converting YAML to JSON: {error}")))
}

/// Parse YAML (of which JSON is a part) in which keys may stand twice: the last holds, and the answer tells
/// of it.
pub(crate) fn loose_yaml(bytes: &[u8]) -> Result<(Value, Option<String>), String> {
    if let Ok((value, doubles)) = schema::parse_json_strict(bytes) {
        let told = (!doubles.is_empty()).then(|| doubles.join(", "));
        return Ok((value, told));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    match serde_saphyr::from_str_with_options(text, dialect(text, DuplicateKeyPolicy::Error)) {
        Ok(value) => Ok((value, None)),
        Err(strict) => {
            let loose = dialect(text, DuplicateKeyPolicy::LastWins);
            serde_saphyr::from_str_with_options(text, loose)
                .map(|value| (value, Some(told_twice(&strict))))
                .map_err(|_| strict.to_string())
        }
    }
}

/// The first key that stands twice, in the words of upstream's YAML decoder.
fn told_twice(error: &serde_saphyr::Error) -> String {
    let mut error = error;
    while let serde_saphyr::Error::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    match error {
        serde_saphyr::Error::DuplicateMappingKey {
            key: Some(key),
            location,
        } => format!(
            "yaml: unmarshal errors:\n  line {}: key {} already set in map",
            location.line(),
            Value::from(key.as_str())
        ),
        // Below the first line stands the source, which no header can carry.
        other => {
            let told = other.to_string();
            told.lines().next().unwrap_or_default().to_owned()
        }
    }
}

/// The body's own version and kind must be the expected ones; what it leaves out is filled in.
fn claim_kind(value: &mut Value, gvk: &Gvk) -> Outcome<()> {
    let version = gvk.api_version();
    let given = |field: &str| match value.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(bad_request(format!(
            "couldn't get version/kind; json parse error: {field} is not a string"
        ))),
    };
    let (own_version, own_kind) = (given("apiVersion")?, given("kind")?);
    if !own_kind.is_empty() && own_kind != gvk.kind {
        let own = Gvk::from_api_version(
            if own_version.is_empty() {
                &version
            } else {
                &own_version
            },
            &own_kind,
        );
        return Err(bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it is of kind {:?} in version {:?}",
            gvk.kind,
            own.kind,
            own.api_version()
        )));
    }
    if !own_version.is_empty() && own_version != version {
        return Err(bad_request(format!(
            "the API version in the data ({own_version}) does not match the expected API version ({version})"
        )));
    }
    if own_version.is_empty() || own_kind.is_empty() {
        value["apiVersion"] = version.into();
        value["kind"] = gvk.kind.clone().into();
    }
    Ok(())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The version and kind of a kind's objects.
pub(crate) fn gvk(kind: &Kind) -> Gvk {
    Gvk::new(
        kind.group.as_str(),
        kind.version.as_str(),
        kind.kind.as_str(),
    )
}

/// Encode a JSON text.
pub(crate) fn encode(json: Bytes, encoding: Encoding) -> Outcome<Bytes> {
    match encoding {
        Encoding::Json => Ok(json),
        Encoding::Yaml | Encoding::Protobuf => {
            let value: Value = serde_json::from_slice(&json).map_err(internal)?;
            encode_value(&value, encoding)
        }
    }
}

/// Encode a value as a whole answer: JSON ends with a line feed, as Go's encoder writes it.
pub(crate) fn document(value: &Value, encoding: Encoding) -> Outcome<Bytes> {
    if encoding != Encoding::Json {
        return encode_value(value, encoding);
    }
    let mut text = serde_json::to_vec(value).map_err(internal)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Encode a value.
pub(crate) fn encode_value(value: &Value, encoding: Encoding) -> Outcome<Bytes> {
    match encoding {
        Encoding::Json => serde_json::to_vec(value).map(Bytes::from).map_err(internal),
        Encoding::Yaml => serde_saphyr::to_string(value)
            .map(Bytes::from)
            .map_err(internal),
        Encoding::Protobuf => proto::encode(Schema::builtin(), value)
            .map(Bytes::from)
            .map_err(|error| Box::new(Status::not_acceptable(&[&error.to_string()]))),
    }
}
