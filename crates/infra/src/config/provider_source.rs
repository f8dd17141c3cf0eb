//! Reading the `source` of a provider requirement.

use crate::address::ProviderSource;

const DEFAULT_REGISTRY: &str = ProviderSource::DEFAULT_HOST;

/// Why a string is no provider address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary}: {detail}")]
pub struct InvalidAddress {
    /// The short form.
    pub summary: &'static str,
    /// The whole story.
    pub detail: String,
}

fn address(host: &str, namespace: &str, kind: &str) -> ProviderSource {
    ProviderSource {
        host: host.into(),
        namespace: namespace.into(),
        kind: kind.into(),
    }
}

/// Parses the `source` of a requirement: `name`, `namespace/name` or `host/namespace/name`.
///
/// # Errors
/// With the summary and detail to show when it is none of these.
pub fn parse_provider_source(source: &str) -> Result<ProviderSource, InvalidAddress> {
    let invalid = |summary: &'static str, detail: String| InvalidAddress { summary, detail };
    let parts: Vec<&str> = source.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
        return Err(invalid(
            "Invalid provider source string",
            r#"The "source" attribute must be in the format "[hostname/][namespace/]name""#
                .to_string(),
        ));
    }
    let given = parts[parts.len() - 1];
    let kind = parse_part(given).map_err(|why| {
        invalid(
            "Invalid provider type",
            format!("Invalid provider type {given:?} in source {source:?}: {why}\""),
        )
    })?;
    let namespace = match parts.len() {
        1 => "hashicorp".to_string(),
        count => {
            let given = parts[count - 2];
            if given == "-" {
                // The address of an old provider without namespace, found in old state files.
                given.to_string()
            } else {
                parse_part(given).map_err(|why| {
                    invalid(
                        "Invalid provider namespace",
                        format!(
                            "Invalid provider namespace {given:?} in source {source:?}: {why}\""
                        ),
                    )
                })?
            }
        }
    };
    let hostname = match parts.len() {
        3 => parse_hostname(parts[0]).map_err(|why| {
            invalid(
                "Invalid provider source hostname",
                format!(
                    "Invalid provider source hostname namespace {:?} in source {source:?}: {why}\"",
                    parts[0]
                ),
            )
        })?,
        _ => DEFAULT_REGISTRY.to_string(),
    };
    if namespace == "-" && hostname != DEFAULT_REGISTRY {
        return Err(invalid(
            "Invalid provider namespace",
            format!(
                "The legacy provider namespace \"-\" can be used only with hostname {DEFAULT_REGISTRY}."
            ),
        ));
    }
    // What is part of this program goes by the name of its makers, as other providers do.
    if (&*hostname, &*namespace, &*kind) == (DEFAULT_REGISTRY, "consort", "consort") {
        return Ok(ProviderSource::builtin("consort"));
    }
    let parsed = address(&hostname, &namespace, &kind);
    if let Some(rest) = kind.strip_prefix("terraform-") {
        if let Some(suggested) = rest
            .strip_prefix("provider-")
            .filter(|name| parse_part(name).is_ok())
        {
            let suggestion = address(&hostname, &namespace, suggested);
            return Err(invalid(
                "Invalid provider type",
                format!(
                    "Provider source {:?} has a type with the prefix \"terraform-provider-\", which isn't valid. \
                     Although that prefix is often used in the names of version control repositories for Terraform \
                     providers, provider source strings should not include it.\n\nDid you mean {:?}?",
                    parsed.for_display(),
                    suggestion.for_display()
                ),
            ));
        }
        return Err(invalid(
            "Invalid provider type",
            format!(
                "Provider source {:?} has a type with the prefix \"terraform-\", which isn't allowed because it \
                 would be redundant to name a Terraform provider with that prefix. If you are the author of this \
                 provider, rename it to not include the prefix.",
                parsed.to_string()
            ),
        ));
    }
    Ok(parsed)
}

/// A namespace or type in normal form: letters in lower case, digits and single dashes inside.
///
/// # Errors
/// With what is wrong.
pub fn parse_part(given: &str) -> Result<String, &'static str> {
    if given.is_empty() {
        return Err("must have at least one character");
    }
    if given.contains('.') {
        return Err("dots are not allowed");
    }
    if given.contains("--") {
        return Err("cannot use multiple consecutive dashes");
    }
    let valid = given
        .chars()
        .all(|character| character.is_alphanumeric() || character == '-')
        && !given.starts_with('-')
        && !given.ends_with('-');
    if !valid {
        return Err(
            "must contain only letters, digits, and dashes, and may not use leading or trailing dashes",
        );
    }
    Ok(given.to_lowercase())
}

/// A host name, with a port where one is given, in lower case.
///
/// # Errors
/// With what is wrong.
pub fn parse_hostname(given: &str) -> Result<String, &'static str> {
    let (host, port) = match given.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (given, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("not a valid hostname: invalid port number");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|character| character.is_alphanumeric() || character == '-')
    };
    if host.is_empty() || host.len() > 253 || !host.split('.').all(label) {
        return Err("not a valid hostname");
    }
    let host = host.to_lowercase();
    // 443 is what a name without port means.
    Ok(match port.filter(|port| *port != "443") {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_may_leave_out_host_and_namespace() {
        for (source, full) in [
            ("aws", "registry.terraform.io/hashicorp/aws"),
            ("HashiCorp/AWS", "registry.terraform.io/hashicorp/aws"),
            ("example.com:8443/acme/anvil", "example.com:8443/acme/anvil"),
            ("consort/consort", "terraform.io/builtin/consort"),
            ("example.com/consort/consort", "example.com/consort/consort"),
        ] {
            assert_eq!(parse_provider_source(source).unwrap().to_string(), full);
        }
        for bad in [
            "",
            "a/b/c/d",
            "a//b",
            "a_b/c",
            "-x/y",
            "terraform-provider-aws",
            "hashicorp/terraform-x",
            "host!/a/b",
        ] {
            assert!(parse_provider_source(bad).is_err(), "{bad}");
        }
        let error = parse_provider_source("acme/terraform-provider-anvil").unwrap_err();
        assert!(
            error.detail.ends_with("Did you mean \"acme/anvil\"?"),
            "{}",
            error.detail
        );
    }
}
