//! Filters and tests of `ansible._protomatter`: they look at what values know beside what they are.

use consort_jinja::{Dict, Environment, Str, Takes, Value, repr};

use super::context::{lazy_name, refused};
use super::error::Error;
use super::filters::is_secret;
use super::place;

/// Adds all.
pub(super) fn add(environment: &mut Environment) {
    environment.add_filter(
        "ansible._protomatter.origin",
        Takes::Defined,
        |_, value, _| {
            Ok(match &value {
                Value::Str(text) => text
                    .origin()
                    .map_or(Value::None, |origin| Value::from(place(origin))),
                _ => Value::None,
            })
        },
    );
    environment.add_filter(
        "ansible._protomatter.apply_trust",
        Takes::Lazily,
        |_, value, _| {
            Ok(match &value {
                Value::Str(text) => {
                    let trusted = Str::template(std::sync::Arc::clone(text.shared()));
                    Value::Str(match text.origin() {
                        Some(origin) => trusted.written_at(std::sync::Arc::clone(origin)),
                        None => trusted,
                    })
                }
                _ => value,
            })
        },
    );
    environment.add_filter(
        "ansible._protomatter.finalize",
        Takes::Defined,
        |state, value, _| state.finish(&value),
    );
    environment.add_filter(
        "ansible._protomatter.true_type",
        Takes::Anything,
        |_, value, _| {
            Ok(Value::from(match &value {
                Value::Undefined(undefined) if undefined.error.is_some() => {
                    "CapturedExceptionMarker"
                }
                Value::Undefined(_) => "UndefinedMarker",
                value => lazy_name(value),
            }))
        },
    );
    environment.add_filter(
        "ansible._protomatter.dump_object",
        Takes::Anything,
        |_, value, _| {
            Ok(match &value {
                Value::Undefined(undefined) => match &undefined.error {
                    Some(_) => {
                        let error = Error::of(undefined.as_error());
                        let told: Dict = [("message", Value::from(error.to_string()))]
                            .into_iter()
                            .collect();
                        let dumped: Dict = [("exception", Value::Dict(told))].into_iter().collect();
                        Value::Dict(dumped)
                    }
                    None => value,
                },
                _ => value,
            })
        },
    );
    environment.add_filter(
        "ansible._protomatter.tag_names",
        Takes::Anything,
        |_, value, _| {
            Ok(Value::list(
                tags(&value).into_iter().map(Value::from).collect(),
            ))
        },
    );
    environment.add_test(
        "ansible._protomatter.tagged",
        Takes::Anything,
        |_, value, _| Ok(!tags(&value).is_empty()),
    );
    environment.add_test(
        "ansible._protomatter.tagged_with",
        Takes::Anything,
        |_, value, arguments| {
            let [name] = arguments.bind("tagged_with", ["tag_name"])?;
            let name = name.unwrap_or_default().text()?;
            if !matches!(
                &*name,
                "Origin"
                    | "TrustedAsTemplate"
                    | "VaultedValue"
                    | "Deprecated"
                    | "SourceWasEncrypted"
            ) {
                return refused(format!("Unknown tag name {}.", repr::string(&name)));
            }
            Ok(tags(&value).contains(&&*name))
        },
    );
}

/// What a value knows, by Ansible's names, in their order.
fn tags(value: &Value) -> Vec<&'static str> {
    match value {
        Value::Str(text) => {
            let mut tags = Vec::new();
            if text.origin().is_some() {
                tags.push("Origin");
            }
            if text.is_template() {
                tags.push("TrustedAsTemplate");
            }
            tags
        }
        Value::Object(_) if is_secret(value) => vec!["VaultedValue"],
        _ => Vec::new(),
    }
}
