//! `EncryptionConfiguration`, `apiserver.config.k8s.io/v1`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::Error;
use crate::classic::{AesCbc, AesGcm, Secretbox};
use crate::encryption::Rule;
use crate::kms::Kms;
use crate::provider::{Identity, Provider};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<OneOf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOf {
    aesgcm: Option<Keys>,
    aescbc: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<Nothing>,
    kms: Option<KmsOptions>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KmsOptions {
    #[serde(rename = "apiVersion", default = "v1")]
    api_version: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    endpoint: String,
    timeout: Option<String>,
    /// Of version 1 only.
    #[serde(rename = "cachesize")]
    cache_size: Option<i32>,
}

fn v1() -> String {
    "v1".to_owned()
}

/// Reads the rules in a file, in order: the first that names a resource is the resource's.
pub(crate) fn read(path: &Path) -> Result<Vec<Rule>, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("reading", path, e))?;
    parse(&text).map_err(|detail| Error::Config {
        path: path.to_owned(),
        detail,
    })
}

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let configuration: Configuration = serde_saphyr::from_str(text).map_err(|e| {
        // Never the text around it: keys stand there.
        match e.location() {
            Some(at) => format!(
                "line {}, column {}: not an EncryptionConfiguration: a field is unknown or of the wrong type",
                at.line(),
                at.column()
            ),
            None => "not an EncryptionConfiguration".to_owned(),
        }
    })?;
    if configuration.api_version != "apiserver.config.k8s.io/v1"
        || configuration.kind != "EncryptionConfiguration"
    {
        return Err(format!(
            "expected kind EncryptionConfiguration of apiserver.config.k8s.io/v1, found {} of {}",
            configuration.kind, configuration.api_version
        ));
    }
    if configuration.resources.is_empty() {
        return Err("resources: Required value: at least one resource is needed".to_owned());
    }
    let mut plugins = Vec::new();
    let mut rules = Vec::new();
    for (at, entry) in configuration.resources.into_iter().enumerate() {
        let place = format!("resources[{at}]");
        if entry.resources.is_empty() {
            return Err(format!("{place}.resources: Required value"));
        }
        for (n, name) in entry.resources.iter().enumerate() {
            check_resource(name).map_err(|why| format!("{place}.resources[{n}]: {why}"))?;
        }
        if entry.providers.is_empty() {
            return Err(format!("{place}.providers: Required value"));
        }
        let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
        for (n, one) in entry.providers.into_iter().enumerate() {
            let made = provider(one, &mut plugins)
                .map_err(|(field, why)| format!("{place}.providers[{n}]{field}: {why}"))?;
            providers.extend(made);
        }
        rules.push(Rule {
            resources: entry.resources,
            providers,
        });
    }
    Ok(rules)
}

/// `secrets`, `deployments.apps`, `*.apps`, `*.`, `*.*`.
fn check_resource(name: &str) -> Result<(), String> {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    let bad = plural.is_empty()
        || name == "*"
        || name.chars().any(|c| c.is_uppercase() || c == '/')
        || (plural.contains('*') && plural != "*")
        || (group.contains('*') && (group != "*" || plural != "*"));
    if bad {
        return Err(format!(
            "Invalid value: {name:?}: a resource is \"secrets\", \"deployments.apps\", \"*.apps\", \"*.\" for the core group or \"*.*\""
        ));
    }
    if matches!(plural, "events") && (group.is_empty() || group == "events.k8s.io") {
        // They are many and of no use to anyone; upstream allows it all the same.
        tracing::warn!("events are encrypted at rest");
    }
    Ok(())
}

type Refused = (&'static str, String);

fn provider(one: OneOf, plugins: &mut Vec<Arc<Kms>>) -> Result<Vec<Arc<dyn Provider>>, Refused> {
    let given = [
        one.aesgcm.is_some(),
        one.aescbc.is_some(),
        one.secretbox.is_some(),
        one.identity.is_some(),
        one.kms.is_some(),
    ];
    match given.iter().filter(|given| **given).count() {
        0 => return Err(("", "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity".to_owned())),
        1 => {}
        _ => return Err(("", "more than one provider specified in a single element, should split into different list elements".to_owned())),
    }
    if one.identity.is_some() {
        return Ok(vec![Arc::new(Identity)]);
    }
    if let Some(keys) = one.aesgcm {
        return all(".aesgcm.keys", keys, "16 or 32", |name, secret| {
            AesGcm::new(name, secret).map(|made| Arc::new(made) as _)
        });
    }
    if let Some(keys) = one.aescbc {
        return all(".aescbc.keys", keys, "16, 24 or 32", |name, secret| {
            AesCbc::new(name, secret).map(|made| Arc::new(made) as _)
        });
    }
    if let Some(keys) = one.secretbox {
        return all(".secretbox.keys", keys, "32", |name, secret| {
            Secretbox::new(name, secret).map(|made| Arc::new(made) as _)
        });
    }
    match one.kms {
        Some(options) => kms(&options, plugins).map(|made| vec![made as _]),
        None => Ok(Vec::new()),
    }
}

#[allow(clippy::needless_pass_by_value)] // the keys end with their use
fn all(
    field: &'static str,
    keys: Keys,
    lengths: &str,
    make: impl Fn(&str, &[u8]) -> Option<Arc<dyn Provider>>,
) -> Result<Vec<Arc<dyn Provider>>, Refused> {
    if keys.keys.is_empty() {
        return Err((
            field,
            "Required value: at least one key is needed".to_owned(),
        ));
    }
    let mut made: Vec<Arc<dyn Provider>> = Vec::new();
    for (at, key) in keys.keys.iter().enumerate() {
        if key.name.is_empty() || key.name.contains(':') {
            return Err((
                field,
                format!("[{at}].name: Required value, without a colon"),
            ));
        }
        let secret = BASE64_STANDARD
            .decode(&key.secret)
            .map_err(|_| (field, format!("[{at}].secret: it is not base64")))?;
        let provider = make(&key.name, &secret).ok_or_else(|| {
            let have = secret.len();
            (
                field,
                format!("[{at}].secret: expected {lengths} bytes, found {have}"),
            )
        })?;
        if made.iter().any(|other| other.prefix() == provider.prefix()) {
            return Err((
                field,
                format!("[{at}].name: Duplicate value: {:?}", key.name),
            ));
        }
        made.push(provider);
    }
    Ok(made)
}

/// A plug-in that stands in several rules is one plug-in.
fn kms(options: &KmsOptions, plugins: &mut Vec<Arc<Kms>>) -> Result<Arc<Kms>, Refused> {
    if options.api_version != "v2" {
        return Err((
            ".kms.apiVersion",
            format!(
                "Unsupported value: {:?}: supported values: \"v2\"",
                options.api_version
            ),
        ));
    }
    if options.cache_size.is_some() {
        return Err((
            ".kms.cachesize",
            "cachesize is not supported in v2".to_owned(),
        ));
    }
    if options.name.is_empty() || options.name.contains(':') {
        return Err((".kms.name", "Required value, without a colon".to_owned()));
    }
    let Some(socket) = options
        .endpoint
        .strip_prefix("unix://")
        .filter(|path| !path.is_empty())
    else {
        return Err((
            ".kms.endpoint",
            format!(
                "Invalid value: {:?}: expected unix:///path or unix://@name",
                options.endpoint
            ),
        ));
    };
    let timeout = match &options.timeout {
        None => Duration::from_secs(3),
        Some(text) => duration(text).ok_or_else(|| {
            (
                ".kms.timeout",
                format!("Invalid value: {text:?}: expected a duration such as 3s"),
            )
        })?,
    };
    if let Some(known) = plugins.iter().find(|known| known.name() == options.name) {
        return Ok(Arc::clone(known));
    }
    let plugin = Arc::new(Kms::new(&options.name, socket, timeout));
    plugins.push(Arc::clone(&plugin));
    Ok(plugin)
}

/// `3s`, `500ms`, `1m`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    let duration = match &text[unit..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        _ => return None,
    };
    (!duration.is_zero()).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n";

    #[test]
    fn a_configuration_as_upstream_documents_it_is_read() {
        let secret = BASE64_STANDARD.encode([1; 32]);
        let text = format!(
            "{HEAD}  - resources: [secrets, configmaps, pandas.awesome.bears.example]\n    providers:\n      - aescbc: {{keys: [{{name: key1, secret: {secret}}}, {{name: key2, secret: {secret}}}]}}\n      - secretbox: {{keys: [{{name: key1, secret: {secret}}}]}}\n      - identity: {{}}\n  - resources: ['*.apps', '*.', '*.*']\n    providers:\n      - identity: {{}}\n"
        );
        let rules = parse(&text).unwrap();
        let prefixes: Vec<_> = rules[0]
            .providers
            .iter()
            .map(|p| p.prefix().to_owned())
            .collect();
        assert_eq!(
            prefixes,
            [
                "k8s:enc:aescbc:v1:key1:",
                "k8s:enc:aescbc:v1:key2:",
                "k8s:enc:secretbox:v1:key1:",
                ""
            ]
        );
        assert_eq!(rules[1].resources.len(), 3);
    }

    #[test]
    fn mistakes_are_told_with_their_field_and_without_a_key() {
        let cases = [
            (
                "  - resources: [secrets]\n    providers: []\n",
                "resources[0].providers: Required",
            ),
            (
                "  - resources: []\n    providers: [{identity: {}}]\n",
                "resources[0].resources: Required",
            ),
            (
                "  - resources: ['*']\n    providers: [{identity: {}}]\n",
                "resources[0].resources[0]: Invalid",
            ),
            (
                "  - resources: ['a.*']\n    providers: [{identity: {}}]\n",
                "resources[0].resources[0]: Invalid",
            ),
            (
                "  - resources: [secrets]\n    providers: [{aesgcm: {keys: [{name: a, secret: U0VDUkVU}]}}]\n",
                "providers[0].aesgcm.keys: [0].secret: expected 16 or 32 bytes, found 6",
            ),
            (
                "  - resources: [secrets]\n    providers: [{aesgcm: {keys: []}}]\n",
                "at least one key",
            ),
            (
                "  - resources: [secrets]\n    providers: [{kms: {name: a, endpoint: 'unix:///x'}}]\n",
                "kms.apiVersion: Unsupported value: \"v1\"",
            ),
            (
                "  - resources: [secrets]\n    providers: [{kms: {apiVersion: v2, name: a, endpoint: 'http://x'}}]\n",
                "kms.endpoint: Invalid",
            ),
            (
                "  - resources: [secrets]\n    providers: [{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: soon}}]\n",
                "kms.timeout",
            ),
            (
                "  - resources: [secrets]\n    providers: [{nothing: {}}]\n",
                "line 5",
            ),
            (
                "  - resources: [secrets]\n    providers: [{identity: {}, aescbc: {keys: []}}]\n",
                "more than one provider",
            ),
            ("", "EncryptionConfiguration"),
        ];
        for (rest, want) in cases {
            let error = parse(&format!("{HEAD}{rest}")).err().unwrap();
            assert!(error.contains(want), "{rest}: {error}");
            assert!(!error.contains("U0VDUkVU") && !error.contains("SECRET"));
        }
        assert!(parse("apiVersion: v1\nkind: Secret\n").is_err());
    }
}
