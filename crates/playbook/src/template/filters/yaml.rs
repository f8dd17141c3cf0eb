//! YAML, written and read.

use std::sync::Arc;

use consort_jinja::{
    Arguments, Dict, Environment, Error, Result, Str, Takes, Value, integer, repr,
};

use super::given;
use crate::source::{Encrypted, Located};
use crate::template::context::{Context, Shared, refused};
use crate::template::yaml::{Style, dump};

pub(super) fn add(environment: &mut Environment, shared: &Shared) {
    let context = Arc::clone(shared);
    environment.add_filter("to_yaml", Takes::Lazily, move |state, value, arguments| {
        let value = state.ready(value)?;
        to_yaml(&context, &value, arguments.clone(), Style::default())
    });
    let context = Arc::clone(shared);
    environment.add_filter(
        "to_nice_yaml",
        Takes::Lazily,
        move |state, value, arguments| {
            let value = state.ready(value)?;
            let mut arguments = arguments.clone();
            let indent = if arguments.positional.is_empty() {
                None
            } else {
                Some(arguments.positional.remove(0))
            };
            let style = Style {
                indent: match indent {
                    Some(indent) => usize::try_from(integer(&indent)?).unwrap_or(2),
                    None => 4,
                },
                flow: Some(false),
                ..Style::default()
            };
            to_yaml(&context, &value, arguments, style)
        },
    );
    let context = Arc::clone(shared);
    environment.add_filter(
        "from_yaml",
        Takes::Defined,
        move |_, value, _| match &value {
            Value::None => Ok(Value::None),
            Value::Str(text) => from_yaml(&context, text),
            other => {
                context.deprecated(
                    format!(
                        "The from_yaml filter ignored non-string input of type {}.",
                        repr::string(other.type_name())
                    ),
                    None,
                );
                Ok(value)
            }
        },
    );
    let context = Arc::clone(shared);
    environment.add_filter(
        "from_yaml_all",
        Takes::Defined,
        move |_, value, _| match &value {
            Value::None => Ok(Value::list(Vec::new())),
            Value::Str(text) => from_yaml_all(&context, text),
            other => {
                context.deprecated(
                    format!(
                        "The from_yaml_all filter ignored non-string input of type {}.",
                        repr::string(other.type_name())
                    ),
                    None,
                );
                Ok(value)
            }
        },
    );
}

fn to_yaml(
    context: &Context,
    value: &Value,
    arguments: Arguments,
    mut style: Style,
) -> Result<Value> {
    let mut behaviour = None;
    for (name, value) in arguments.named {
        match &*name {
            "indent" => {
                if let Some(indent) = given(Some(value)) {
                    style.indent = usize::try_from(integer(&indent)?).unwrap_or(2);
                }
            }
            "width" => {
                if let Some(width) = given(Some(value)) {
                    style.width = match width {
                        // Infinity means: never.
                        Value::Float(_) => usize::MAX,
                        width => match integer(&width)? {
                            width if width < 0 => usize::MAX,
                            width => usize::try_from(width).unwrap_or(80),
                        },
                    };
                }
            }
            "sort_keys" => style.sort_keys = value.truth()?,
            "default_flow_style" => {
                style.flow = given(Some(value)).map(|flow| flow.truth()).transpose()?;
            }
            "default_style" => {
                style.scalars = match given(Some(value)) {
                    None => None,
                    Some(sign) => sign.text()?.chars().next(),
                };
            }
            "explicit_start" => {
                style.explicit_start =
                    given(Some(value)).map_or(Ok(false), |value| value.truth())?;
            }
            "explicit_end" => {
                style.explicit_end = given(Some(value)).map_or(Ok(false), |value| value.truth())?;
            }
            "vault_behavior" => {
                behaviour = given(Some(value)).map(|value| value.text()).transpose()?;
            }
            "allow_unicode" => {
                return refused(
                    "yaml.dump() got multiple values for keyword argument 'allow_unicode'",
                );
            }
            "canonical" => {
                style.canonical = given(Some(value)).map_or(Ok(false), |value| value.truth())?;
            }
            "line_break" | "encoding" | "version" | "tags" => {
                return refused(format!("to_yaml does not know the option '{name}'"));
            }
            _ => {
                return refused(format!(
                    "dump_all() got an unexpected keyword argument '{name}'"
                ));
            }
        }
    }
    if let Some(behaviour) = &behaviour
        && !matches!(
            &**behaviour,
            "decrypt" | "keep_encrypted" | "redact" | "fail"
        )
    {
        return refused("The vault parameter must be one of decrypt, keep_encrypted, redact, fail");
    }
    let sealed;
    let value = match behaviour.as_deref() {
        None | Some("decrypt") => value,
        Some(behaviour) => {
            sealed = seal(context, value, behaviour, 0)?;
            &sealed
        }
    };
    dump(value, &style).map(Value::from)
}

/// A value with what was encrypted in it as it was written (`keep_encrypted`), or hidden (`redact`).
///
/// # Errors
/// There is such in it, and that is not to be (`fail`).
fn seal(context: &Context, value: &Value, behaviour: &str, depth: u32) -> Result<Value> {
    if depth > 200 {
        return Err(Error::Recursion);
    }
    let secret = |ciphertext: Arc<str>| match behaviour {
        "fail" => refused("Attempted to dump a vaulted value"),
        "redact" => Ok(Value::from("<redacted>")),
        _ => Ok(Value::Object(Arc::new(Encrypted {
            ciphertext,
            origin: None,
            trusted: false,
            reason: None,
        }))),
    };
    match value {
        Value::Object(object) => match object.any().downcast_ref::<Encrypted>() {
            Some(encrypted) => secret(Arc::clone(&encrypted.ciphertext)),
            None => Ok(value.clone()),
        },
        Value::Str(text) => match context.options.reader.ciphertext(text) {
            Some(ciphertext) => secret(ciphertext),
            None => Ok(value.clone()),
        },
        Value::List(_) | Value::Tuple(_) => {
            let items = value.iterate()?;
            let items: Result<Vec<Value>> = items
                .iter()
                .map(|item| seal(context, item, behaviour, depth + 1))
                .collect();
            items.map(Value::list)
        }
        Value::Dict(dict) => {
            let entries = dict.read().clone();
            let entries: Result<_> = entries
                .into_iter()
                .map(|(key, value)| Ok((key, seal(context, &value, behaviour, depth + 1)?)))
                .collect();
            Ok(Value::Dict(Dict::new(entries?)))
        }
        _ => Ok(value.clone()),
    }
}

fn wrong(error: &Located) -> Error {
    Error::failed(error.brief())
}

fn from_yaml(context: &Context, text: &Str) -> Result<Value> {
    let node = context
        .options
        .reader
        .parse(text, NAME, text.is_template())
        .map_err(|error| wrong(&error))?;
    Ok(node.map_or(Value::None, |node| node.value()))
}

/// What a text that is read is called.
const NAME: &str = "<unicode string>";

fn from_yaml_all(context: &Context, text: &Str) -> Result<Value> {
    let mut values = Vec::new();
    for document in documents(text) {
        let document = if text.is_template() {
            Str::template(document)
        } else {
            Str::new(document)
        };
        values.push(from_yaml(context, &document)?);
    }
    Ok(Value::list(values))
}

/// The documents of a stream: what stands between lines of `---`, or ends with a line of `...`.
fn documents(text: &str) -> Vec<String> {
    let mut documents: Vec<String> = Vec::new();
    let mut current: Option<String> = None;
    let marks = |line: &str, mark: &str| {
        line.strip_prefix(mark)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
    };
    for line in text.split_inclusive('\n') {
        if marks(line, "---") {
            documents.extend(current.take());
            current = Some(line.to_owned());
        } else if marks(line, "...") {
            documents.extend(current.take());
        } else if let Some(document) = &mut current {
            document.push_str(line);
        } else if !line.trim().is_empty() && !line.starts_with(['#', '%']) {
            current = Some(line.to_owned());
        }
    }
    documents.extend(current);
    documents
}
