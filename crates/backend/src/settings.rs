//! The backends by name, the arguments of each, and the values a configuration gives them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The backends there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files on this disk.
    Local,
    /// A server that speaks the HTTP lock protocol.
    Http,
    /// An object store that speaks S3, with its own lock objects or a DynamoDB table.
    S3,
    /// A PostgreSQL database.
    Pg,
    /// Secrets and Leases of a Kubernetes cluster.
    Kubernetes,
    /// The same, in the server of this project that runs here.
    Consort,
}

/// What an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A string.
    Text,
    /// A truth value, also as the strings `true` and `false`.
    Bool,
    /// A whole number, also as a string.
    Number,
    /// Strings by name.
    Texts,
}

/// One argument of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name in the `backend` block.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whether it must be given, in the block, by `-backend-config`, or in the environment.
    pub required: bool,
    /// Environment variables that stand in for it, the first one set.
    pub environment: &'static [&'static str],
    /// What it is when nothing is said.
    pub default: Option<&'static str>,
}

const fn text(name: &'static str) -> Argument {
    Argument {
        name,
        takes: Takes::Text,
        required: false,
        environment: &[],
        default: None,
    }
}

const fn flag(name: &'static str) -> Argument {
    Argument {
        takes: Takes::Bool,
        ..text(name)
    }
}

const fn number(name: &'static str) -> Argument {
    Argument {
        takes: Takes::Number,
        ..text(name)
    }
}

impl Argument {
    const fn needed(self) -> Argument {
        Argument {
            required: true,
            ..self
        }
    }

    const fn or(self, default: &'static str) -> Argument {
        Argument {
            default: Some(default),
            ..self
        }
    }

    const fn env(self, environment: &'static [&'static str]) -> Argument {
        Argument {
            environment,
            ..self
        }
    }
}

const LOCAL: &[Argument] = &[text("path"), text("workspace_dir")];

const HTTP: &[Argument] = &[
    text("address").needed().env(&["TF_HTTP_ADDRESS"]),
    text("update_method")
        .env(&["TF_HTTP_UPDATE_METHOD"])
        .or("POST"),
    text("lock_address").env(&["TF_HTTP_LOCK_ADDRESS"]),
    text("unlock_address").env(&["TF_HTTP_UNLOCK_ADDRESS"]),
    text("lock_method").env(&["TF_HTTP_LOCK_METHOD"]).or("LOCK"),
    text("unlock_method")
        .env(&["TF_HTTP_UNLOCK_METHOD"])
        .or("UNLOCK"),
    text("username").env(&["TF_HTTP_USERNAME"]),
    text("password").env(&["TF_HTTP_PASSWORD"]),
    flag("skip_cert_verification"),
    number("retry_max").env(&["TF_HTTP_RETRY_MAX"]).or("2"),
    number("retry_wait_min")
        .env(&["TF_HTTP_RETRY_WAIT_MIN"])
        .or("1"),
    number("retry_wait_max")
        .env(&["TF_HTTP_RETRY_WAIT_MAX"])
        .or("30"),
    text("client_ca_certificate_pem").env(&["TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"]),
    text("client_certificate_pem").env(&["TF_HTTP_CLIENT_CERTIFICATE_PEM"]),
    text("client_private_key_pem").env(&["TF_HTTP_CLIENT_PRIVATE_KEY_PEM"]),
];

const S3: &[Argument] = &[
    text("bucket").needed(),
    text("key").needed(),
    text("region")
        .needed()
        .env(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
    text("access_key").env(&["AWS_ACCESS_KEY_ID"]),
    text("secret_key").env(&["AWS_SECRET_ACCESS_KEY"]),
    text("token").env(&["AWS_SESSION_TOKEN"]),
    text("profile").env(&["AWS_PROFILE"]),
    Argument {
        takes: Takes::Texts,
        ..text("endpoints")
    },
    text("endpoint").env(&["AWS_ENDPOINT_URL_S3", "AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL"]),
    text("dynamodb_endpoint").env(&[
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_DYNAMODB_ENDPOINT",
        "AWS_ENDPOINT_URL",
    ]),
    flag("use_path_style"),
    flag("force_path_style"),
    flag("encrypt"),
    text("kms_key_id"),
    text("acl"),
    text("dynamodb_table"),
    flag("use_lockfile"),
    text("workspace_key_prefix").or("env:"),
    text("custom_ca_bundle").env(&["AWS_CA_BUNDLE"]),
    flag("insecure"),
    number("max_retries").or("5"),
    flag("skip_region_validation"),
    flag("skip_s3_checksum"),
    // What these skip is never done here: credentials prove good with the first request, and come from no service.
    flag("skip_credentials_validation"),
    flag("skip_requesting_account_id"),
    flag("skip_metadata_api_check"),
];

const PG: &[Argument] = &[
    text("conn_str").env(&["PG_CONN_STR"]),
    text("schema_name")
        .env(&["PG_SCHEMA_NAME"])
        .or("terraform_remote_state"),
    flag("skip_schema_creation").env(&["PG_SKIP_SCHEMA_CREATION"]),
    flag("skip_table_creation").env(&["PG_SKIP_TABLE_CREATION"]),
    flag("skip_index_creation").env(&["PG_SKIP_INDEX_CREATION"]),
];

const KUBERNETES: &[Argument] = &[
    text("secret_suffix").needed(),
    text("namespace").env(&["KUBE_NAMESPACE"]).or("default"),
    Argument {
        takes: Takes::Texts,
        ..text("labels")
    },
    flag("in_cluster_config").env(&["KUBE_IN_CLUSTER_CONFIG"]),
    text("config_path").env(&["KUBE_CONFIG_PATH"]),
    text("config_context").env(&["KUBE_CTX"]),
    text("config_context_auth_info").env(&["KUBE_CTX_AUTH_INFO"]),
    text("config_context_cluster").env(&["KUBE_CTX_CLUSTER"]),
    text("host").env(&["KUBE_HOST"]),
    text("token").env(&["KUBE_TOKEN"]),
    text("cluster_ca_certificate").env(&["KUBE_CLUSTER_CA_CERT_DATA"]),
    text("client_certificate").env(&["KUBE_CLIENT_CERT_DATA"]),
    text("client_key").env(&["KUBE_CLIENT_KEY_DATA"]),
    flag("insecure").env(&["KUBE_INSECURE"]),
];

const CONSORT: &[Argument] = &[
    text("name").or("state"),
    text("namespace").or("default"),
    text("data_dir").env(&["CONSORT_DATA_DIR"]),
    text("kubeconfig").env(&["KUBECONFIG"]),
    text("context"),
];

impl Kind {
    /// The backend a configuration names.
    pub fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "local" => Kind::Local,
            "http" => Kind::Http,
            "s3" => Kind::S3,
            "pg" => Kind::Pg,
            "kubernetes" => Kind::Kubernetes,
            "consort" => Kind::Consort,
            _ => return None,
        })
    }

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Local => "local",
            Kind::Http => "http",
            Kind::S3 => "s3",
            Kind::Pg => "pg",
            Kind::Kubernetes => "kubernetes",
            Kind::Consort => "consort",
        }
    }

    /// Its arguments.
    pub fn arguments(self) -> &'static [Argument] {
        match self {
            Kind::Local => LOCAL,
            Kind::Http => HTTP,
            Kind::S3 => S3,
            Kind::Pg => PG,
            Kind::Kubernetes => KUBERNETES,
            Kind::Consort => CONSORT,
        }
    }

    /// Whether a name that is no backend here is one that others have.
    pub fn known_elsewhere(name: &str) -> bool {
        matches!(
            name,
            "azurerm" | "consul" | "cos" | "gcs" | "inmem" | "oss" | "oci" | "remote" | "cloud"
        )
    }
}

/// Why values cannot configure a backend. `argument` names the one concerned, for the place of the message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// No such argument.
    #[error("An argument named {argument:?} is not expected here.")]
    Unknown {
        /// Its name.
        argument: String,
    },
    /// A value of another type.
    #[error("Inappropriate value for attribute {argument:?}: {wanted} required.")]
    Type {
        /// Its name.
        argument: String,
        /// What it takes, in words.
        wanted: &'static str,
    },
    /// An argument that must be given is not.
    #[error("The argument {argument:?} is required, but no definition was found.")]
    Missing {
        /// Its name.
        argument: String,
    },
}

/// A backend with the values of its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    kind: Kind,
    /// As given: strings, truth values and numbers converted to what the argument takes.
    given: Map<String, Value>,
    /// With the environment and the defaults.
    effective: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// The local backend with nothing said.
    pub fn local() -> Settings {
        Settings {
            kind: Kind::Local,
            given: Map::new(),
            effective: BTreeMap::new(),
        }
    }

    /// Checks `given` against the backend's arguments and fills in the environment and the defaults.
    /// `null` counts as not given.
    ///
    /// # Errors
    /// The first argument that is unknown, of the wrong type, or missing.
    pub fn new(
        kind: Kind,
        given: &Map<String, Value>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, SettingsError> {
        let arguments = kind.arguments();
        let mut kept = Map::new();
        for (name, value) in given {
            let argument = arguments
                .iter()
                .find(|argument| argument.name == name)
                .ok_or_else(|| SettingsError::Unknown {
                    argument: name.clone(),
                })?;
            kept.insert(name.clone(), converted(argument, value)?);
        }
        let mut effective = BTreeMap::new();
        for argument in arguments {
            let from_environment = || {
                argument
                    .environment
                    .iter()
                    .find_map(|name| environment(name).filter(|value| !value.is_empty()))
            };
            let value = match kept.get(argument.name) {
                Some(value) if !value.is_null() => value.clone(),
                _ => match from_environment().or_else(|| argument.default.map(str::to_owned)) {
                    Some(text) => converted(argument, &Value::String(text))?,
                    None if argument.required => {
                        return Err(SettingsError::Missing {
                            argument: argument.name.to_owned(),
                        });
                    }
                    None => continue,
                },
            };
            effective.insert(argument.name, value);
        }
        Ok(Settings {
            kind,
            given: kept,
            effective,
        })
    }

    /// Which backend.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The values that were given, which is what is remembered between commands: no secret that came from
    /// the environment is in it.
    pub fn given(&self) -> &Map<String, Value> {
        &self.given
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.effective.get(name)?.as_str().filter(|t| !t.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.effective.get(name) == Some(&Value::Bool(true))
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.effective.get(name)?.as_u64()
    }

    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.effective
            .get(name)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

fn converted(argument: &Argument, value: &Value) -> Result<Value, SettingsError> {
    let wrong = |wanted| SettingsError::Type {
        argument: argument.name.to_owned(),
        wanted,
    };
    match (argument.takes, value) {
        (_, Value::Null)
        | (Takes::Text, Value::String(_))
        | (Takes::Bool, Value::Bool(_))
        | (Takes::Number, Value::Number(_)) => Ok(value.clone()),
        (Takes::Text, Value::Bool(_) | Value::Number(_)) => Ok(Value::String(value.to_string())),
        (Takes::Text, _) => Err(wrong("string")),
        (Takes::Bool, Value::String(text)) => match text.as_str() {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(wrong("bool")),
        },
        (Takes::Bool, _) => Err(wrong("bool")),
        (Takes::Number, Value::String(text)) => text
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| wrong("number")),
        (Takes::Number, _) => Err(wrong("number")),
        (Takes::Texts, Value::Object(entries)) => {
            if entries.values().all(|v| v.is_string() || v.is_null()) {
                Ok(value.clone())
            } else {
                Err(wrong("map of string"))
            }
        }
        (Takes::Texts, _) => Err(wrong("map of string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(kind: Kind, given: &Value) -> Result<Settings, SettingsError> {
        Settings::new(kind, given.as_object().unwrap(), |name| {
            (name == "TF_HTTP_PASSWORD").then(|| "secret".to_owned())
        })
    }

    #[test]
    fn the_environment_fills_in_and_is_not_remembered() {
        let found = settings(
            Kind::Http,
            &json!({"address": "http://x", "retry_max": "4"}),
        )
        .unwrap();
        assert_eq!(found.text("password"), Some("secret"));
        assert_eq!(found.text("update_method"), Some("POST"));
        assert_eq!(found.number("retry_max"), Some(4));
        assert_eq!(
            Value::Object(found.given().clone()),
            json!({"address": "http://x", "retry_max": 4})
        );
    }

    #[test]
    fn wrong_values_are_told_with_their_argument() {
        let wrong = |given| settings(Kind::Http, &given).unwrap_err().to_string();
        assert_eq!(
            wrong(json!({})),
            "The argument \"address\" is required, but no definition was found."
        );
        assert_eq!(
            wrong(json!({"address": "x", "adress": "y"})),
            "An argument named \"adress\" is not expected here."
        );
        assert_eq!(
            wrong(json!({"address": ["x"]})),
            "Inappropriate value for attribute \"address\": string required."
        );
    }
}
