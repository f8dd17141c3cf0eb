//! The hash by which Terraform knows whether a `backend` block has changed since `init`.
//!
//! It is the CRC-32 of the bytes that go-cty orders sets by, over the tuple of the backend's type and the block's
//! value, in which every argument of Terraform's own schema of that backend has its place. With the same hash
//! Terraform takes a directory that was initialized here for one of its own, and the other way round.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The arguments of Terraform 1.11's backends, in order; of ours that Terraform has not, none.
fn arguments(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "local" => &["path", "workspace_dir"],
        "http" => &[
            "address",
            "client_ca_certificate_pem",
            "client_certificate_pem",
            "client_private_key_pem",
            "lock_address",
            "lock_method",
            "password",
            "retry_max",
            "retry_wait_max",
            "retry_wait_min",
            "skip_cert_verification",
            "unlock_address",
            "unlock_method",
            "update_method",
            "username",
        ],
        "s3" => &[
            "access_key",
            "acl",
            "allowed_account_ids",
            "assume_role",
            "assume_role_with_web_identity",
            "bucket",
            "custom_ca_bundle",
            "dynamodb_endpoint",
            "dynamodb_table",
            "ec2_metadata_service_endpoint",
            "ec2_metadata_service_endpoint_mode",
            "encrypt",
            "endpoint",
            "endpoints",
            "forbidden_account_ids",
            "force_path_style",
            "http_proxy",
            "https_proxy",
            "iam_endpoint",
            "insecure",
            "key",
            "kms_key_id",
            "max_retries",
            "no_proxy",
            "profile",
            "region",
            "retry_mode",
            "secret_key",
            "shared_config_files",
            "shared_credentials_file",
            "shared_credentials_files",
            "skip_credentials_validation",
            "skip_metadata_api_check",
            "skip_region_validation",
            "skip_requesting_account_id",
            "skip_s3_checksum",
            "sse_customer_key",
            "sts_endpoint",
            "sts_region",
            "token",
            "use_dualstack_endpoint",
            "use_fips_endpoint",
            "use_lockfile",
            "use_path_style",
            "workspace_key_prefix",
        ],
        "pg" => &[
            "conn_str",
            "schema_name",
            "skip_index_creation",
            "skip_schema_creation",
            "skip_table_creation",
        ],
        _ => return None,
    })
}

/// The arguments that are objects of strings.
const ENDPOINTS: [&str; 5] = ["dynamodb", "iam", "s3", "sso", "sts"];

/// The hash of a block's own arguments, converted to their types. None for backends that Terraform has not, or whose
/// schema is not known here.
pub(super) fn backend_hash(kind: &str, given: &Map<String, Value>) -> Option<u32> {
    let mut text = format!("<{};<", quoted(kind));
    for name in arguments(kind)? {
        append(&mut text, given.get(*name).unwrap_or(&Value::Null));
        text.push(';');
    }
    text.push_str(">;>");
    Some(crc32(text.as_bytes()))
}

/// The recorded arguments as Terraform writes them: each of its schema, null where nothing is said.
pub(super) fn filled(kind: &str, config: &mut Map<String, Value>) {
    for name in arguments(kind).unwrap_or_default() {
        let value = config.entry(*name).or_insert(Value::Null);
        if *name == "endpoints"
            && let Value::Object(parts) = value
        {
            for part in ENDPOINTS {
                parts.entry(part).or_insert(Value::Null);
            }
        }
    }
}

fn append(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push('~'),
        Value::Bool(true) => text.push('T'),
        Value::Bool(false) => text.push('F'),
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Array(values) => {
            text.push('[');
            for value in values {
                append(text, value);
                text.push(';');
            }
            text.push(']');
        }
        Value::Object(parts) => {
            text.push('<');
            for part in ENDPOINTS {
                append(text, parts.get(part).unwrap_or(&Value::Null));
                text.push(';');
            }
            text.push('>');
        }
    }
}

/// As Go's `%q` for text without unusual control characters.
fn quoted(text: &str) -> String {
    format!("{text:?}").replace("\\'", "'")
}

/// CRC-32 of IEEE 802.3; the texts are short.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_terraform() {
        let hash =
            |kind: &str, json: &str| backend_hash(kind, &serde_json::from_str(json).unwrap());
        assert_eq!(
            hash("local", r#"{"path": "x.tfstate"}"#),
            Some(2_326_359_980)
        );
        assert_eq!(hash("local", "{}"), Some(666_019_178));
        assert_eq!(
            hash(
                "http",
                r#"{"address": "http://127.0.0.1:5177/state", "retry_max": 3}"#
            ),
            Some(125_644_826)
        );
        let s3 = r#"{"bucket": "mybucket", "key": "k", "region": "us-east-1", "access_key": "a", "secret_key": "b",
            "skip_credentials_validation": true, "skip_requesting_account_id": true, "skip_metadata_api_check": true,
            "use_path_style": true, "endpoints": {"s3": "http://127.0.0.1:5177"}}"#;
        assert_eq!(hash("s3", s3), Some(1_737_377_522));
    }
}
