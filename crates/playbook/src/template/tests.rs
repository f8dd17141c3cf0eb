//! The tests of `ansible.builtin`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use consort_jinja::{
    Arguments, Environment, Error, Explained, Key, Result, State, Takes, Value, repr,
};

use super::context::{Shared, refused};
use super::filters::{is_secret, split_address};
use super::pattern::{self, compile};
use super::versions::{Scheme, compare};
use crate::vault;

type Run = fn(&mut State<'_, '_>, Value, &Arguments) -> Result<bool>;

/// Adds all.
pub(super) fn add(environment: &mut Environment, shared: &Shared) {
    // Of a value only what they ask for is rendered.
    let lazily: &[(&[&str], Run)] = &[
        (&["failed", "failure"], |state, value, _| {
            set(state, &value, "failed")
        }),
        (
            &["succeeded", "success", "successful"],
            |state, value, _| set(state, &value, "failed").map(|set| !set),
        ),
        (&["skipped", "skip"], |state, value, _| {
            set(state, &value, "skipped")
        }),
        (&["changed", "change"], |state, value, _| {
            changed(state, &value)
        }),
        (&["unreachable"], |state, value, _| {
            set(state, &value, "unreachable")
        }),
        (&["reachable"], |state, value, _| {
            set(state, &value, "unreachable").map(|set| !set)
        }),
        (&["timedout"], |state, value, _| {
            match entry(state, &value, "timedout", "timedout")? {
                Some(found) if found.truth()? => {
                    Ok(match entry(state, &found, "period", "timedout")? {
                        Some(period) => period.truth()?,
                        None => false,
                    })
                }
                _ => Ok(false),
            }
        }),
        (&["truthy"], |_, value, arguments| truthy(&value, arguments)),
        (&["falsy"], |_, value, arguments| {
            truthy(&value, arguments).map(|truth| !truth)
        }),
        (&["subset", "issubset"], |state, value, arguments| {
            let [other] = arguments.bind("issubset", ["b"])?;
            within(state, &value, &other.unwrap_or_default())
        }),
        (&["superset", "issuperset"], |state, value, arguments| {
            let [other] = arguments.bind("issuperset", ["b"])?;
            within(state, &other.unwrap_or_default(), &value)
        }),
    ];
    for (names, run) in lazily {
        for name in *names {
            environment.add_test(name, Takes::Lazily, *run);
        }
    }
    let tests: &[(&[&str], Run)] = &[
        (&["match"], |_, value, arguments| {
            matching(&value, arguments, Some("match"))
        }),
        (&["search"], |_, value, arguments| {
            matching(&value, arguments, Some("search"))
        }),
        (&["regex"], |_, value, arguments| {
            matching(&value, arguments, None)
        }),
        (&["version", "version_compare"], |_, value, arguments| {
            version(&value, arguments)
        }),
        (&["any"], |_, value, _| {
            for item in value.iterate()? {
                if item.truth()? {
                    return Ok(true);
                }
            }
            Ok(false)
        }),
        (&["all"], |_, value, _| {
            for item in value.iterate()? {
                if !item.truth()? {
                    return Ok(false);
                }
            }
            Ok(true)
        }),
        (&["vaulted_file"], |_, value, _| {
            let path = path(&value)?;
            match std::fs::read(&path) {
                Ok(content) => Ok(vault::is_encrypted(&content)),
                Err(error) => Err(Error::caused(
                    format!(
                        "Cannot test if the file {} is a vault.",
                        repr::string(&path)
                    ),
                    Error::failed(crate::source::python_error(&error, &path)),
                )),
            }
        }),
        (&["directory", "is_dir"], |_, value, _| {
            Ok(Path::new(&path(&value)?).is_dir())
        }),
        (&["file", "is_file"], |_, value, _| {
            Ok(Path::new(&path(&value)?).is_file())
        }),
        (&["link", "is_link"], |_, value, _| {
            Ok(Path::new(&path(&value)?).is_symlink())
        }),
        (&["exists"], |_, value, _| {
            Ok(Path::new(&path(&value)?).exists())
        }),
        (&["link_exists"], |_, value, _| {
            Ok(std::fs::symlink_metadata(path(&value)?).is_ok())
        }),
        (&["abs", "is_abs"], |_, value, _| {
            Ok(path(&value)?.starts_with('/'))
        }),
        (&["same_file", "is_same_file"], |_, value, arguments| {
            let [other] = arguments.bind("samefile", ["f2"])?;
            let about = |path: String| {
                std::fs::metadata(&path)
                    .map_err(|error| Error::failed(crate::source::python_error(&error, &path)))
            };
            let one = about(path(&value)?)?;
            let two = about(path(&other.unwrap_or_default())?)?;
            Ok((one.dev(), one.ino()) == (two.dev(), two.ino()))
        }),
        (&["mount", "is_mount"], |_, value, _| {
            Ok(is_mount(&path(&value)?))
        }),
        (&["uri"], |_, value, arguments| {
            uri(&value, arguments, Kind::Uri)
        }),
        (&["url"], |_, value, arguments| {
            uri(&value, arguments, Kind::Url)
        }),
        (&["urn"], |_, value, _| {
            Ok(is_uri(&value, Some(&[Value::from("urn")])).is_some())
        }),
        (&["nan", "isnan"], |_, value, _| {
            Ok(matches!(value, Value::Float(number) if number.is_nan()))
        }),
    ];
    for (names, run) in tests {
        for name in *names {
            environment.add_test(name, Takes::Defined, *run);
        }
    }
    environment.add_test("contains", Takes::Lazily, |state, value, arguments| {
        let [wanted] = arguments.bind("contains", ["value"])?;
        let inside = Arguments {
            positional: vec![value],
            named: Vec::new(),
        };
        state
            .test("in", wanted.unwrap_or_default(), &inside)?
            .truth()
    });
    let told = Arc::clone(shared);
    environment.add_test(
        "vault_encrypted",
        Takes::Anything,
        move |_, value, _| match &value {
            Value::Undefined(undefined) => Err(undefined.as_error()),
            Value::Object(_) => Ok(is_secret(&value)),
            Value::Str(text) => Ok(told.options.reader.ciphertext(text).is_some()),
            _ => Ok(false),
        },
    );
    // Something that failed is neither defined nor undefined.
    environment.add_test("defined", Takes::Anything, |_, value, _| {
        is_missing(&value).map(|missing| !missing)
    });
    environment.add_test("undefined", Takes::Anything, |_, value, _| {
        is_missing(&value)
    });
    for word in ["started", "finished"] {
        let told = Arc::clone(shared);
        environment.add_test(word, Takes::Lazily, move |state, value, _| {
            match entry(state, &value, word, word)? {
                Some(found) => found.truth(),
                None => {
                    told.warn(format!(
                        "The '{word}' test expects an async task, but a non-async task was tested"
                    ));
                    Ok(true)
                }
            }
        });
    }
}

fn is_missing(value: &Value) -> Result<bool> {
    match value {
        Value::Undefined(undefined) if undefined.error.is_some() => Err(undefined.as_error()),
        value => Ok(value.is_undefined()),
    }
}

/// An entry of a result.
fn entry(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    test: &str,
) -> Result<Option<Value>> {
    let found = match value {
        Value::Dict(dict) => dict.get(name),
        Value::Object(object) if object.is_mapping() => object.get(name),
        _ => return refused(format!("The '{test}' test expects a dictionary")),
    };
    Ok(found.map(|found| state.access(found)))
}

fn set(state: &mut State<'_, '_>, value: &Value, name: &str) -> Result<bool> {
    match entry(state, value, name, name)? {
        Some(found) => found.truth(),
        None => Ok(false),
    }
}

fn changed(state: &mut State<'_, '_>, value: &Value) -> Result<bool> {
    if let Some(found) = entry(state, value, "changed", "changed")? {
        return found.truth();
    }
    let Some(Value::List(results)) = entry(state, value, "results", "changed")? else {
        return Ok(false);
    };
    let results = results.read().clone();
    if !matches!(results.first(), Some(Value::Dict(_))) {
        return Ok(false);
    }
    for result in results {
        let result = state.access(result);
        if set(state, &result, "changed")? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn matching(value: &Value, arguments: &Arguments, kind: Option<&str>) -> Result<bool> {
    let [pattern, ignore, multi, wanted] = arguments.bind(
        "regex",
        ["pattern", "ignorecase", "multiline", "match_type"],
    )?;
    let flag = |value: Option<Value>| value.map_or(Ok(false), |value| value.truth());
    let pattern = match &pattern {
        None => String::new(),
        Some(Value::Str(pattern)) => pattern.to_string(),
        Some(_) => return refused("first argument must be string or compiled pattern"),
    };
    let wanted = match (kind, wanted) {
        (Some(kind), _) => kind.to_owned(),
        (None, Some(wanted)) => wanted.text()?.to_string(),
        (None, None) => "search".to_owned(),
    };
    let text = value.text()?;
    let compiled = compile(&pattern, flag(ignore)?, flag(multi)?)?;
    let found = match wanted.as_str() {
        "search" => compiled.search(&text, 0),
        "match" => compiled.match_at(&text, 0),
        "fullmatch" => compiled.full_match(&text),
        _ => {
            return Err(Error::Explained(Arc::new(Explained {
                message: "Invalid match_type specified. Expected one of: search, match, fullmatch."
                    .to_owned(),
                ..Explained::default()
            })));
        }
    };
    Ok(found.map_err(pattern::refused)?.is_some())
}

fn version(value: &Value, arguments: &Arguments) -> Result<bool> {
    let [other, operator, strict, kind] = arguments.bind(
        "version_compare",
        ["version", "operator", "strict", "version_type"],
    )?;
    let given = |value: Option<Value>| value.filter(|value| !matches!(value, Value::None));
    let (strict, kind) = (given(strict), given(kind));
    if strict.is_some() && kind.is_some() {
        return refused("Cannot specify both 'strict' and 'version_type'");
    }
    if !value.truth()? {
        return refused("Input version value cannot be empty");
    }
    let other = other.unwrap_or_default();
    if !other.truth()? {
        return refused("Version parameter to compare against cannot be empty");
    }
    let mut scheme = Scheme::Loose;
    if let Some(strict) = strict
        && strict.truth()?
    {
        scheme = Scheme::Strict;
    }
    if let Some(kind) = kind {
        scheme = match kind.as_str() {
            Some("loose") => Scheme::Loose,
            Some("strict") => Scheme::Strict,
            Some("semver" | "semantic") => Scheme::Semantic,
            Some("pep440") => Scheme::Pep440,
            _ => {
                return refused(format!(
                    "Invalid version type ({}). Must be one of 'loose', 'strict', 'semver', 'semantic', 'pep440'",
                    repr::text(&kind)
                ));
            }
        };
    }
    let operator = operator.map_or(Ok("eq".to_owned()), |operator| {
        operator.text().map(|operator| operator.to_string())
    })?;
    let accepts: fn(std::cmp::Ordering) -> bool = match operator.as_str() {
        "==" | "=" | "eq" => std::cmp::Ordering::is_eq,
        "<" | "lt" => std::cmp::Ordering::is_lt,
        "<=" | "le" => std::cmp::Ordering::is_le,
        ">" | "gt" => std::cmp::Ordering::is_gt,
        ">=" | "ge" => std::cmp::Ordering::is_ge,
        "!=" | "<>" | "ne" => std::cmp::Ordering::is_ne,
        _ => {
            return refused(format!(
                "Invalid operator type ({operator}). Must be one of '==', '=', 'eq', '<', 'lt', '<=', 'le', '>', 'gt', \
                 '>=', 'ge', '!=', '<>', 'ne'"
            ));
        }
    };
    let (one, two) = (value.text()?, other.text()?);
    compare(scheme, &one, &two)
        .map(accepts)
        .map_err(|error| Error::failed(format!("Version comparison failed: {error}")))
}

fn truthy(value: &Value, arguments: &Arguments) -> Result<bool> {
    let [convert] = arguments.bind("truthy", ["convert_bool"])?;
    if convert.map_or(Ok(false), |convert| convert.truth())?
        && let Some(answer) = to_bool(value)
    {
        return Ok(answer);
    }
    value.truth()
}

/// What a word means as a truth value, if it is one of those that mean one.
pub(crate) fn to_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Int(1) => Some(true),
        Value::Int(0) => Some(false),
        #[allow(clippy::float_cmp)]
        Value::Float(number) if *number == 1.0 => Some(true),
        #[allow(clippy::float_cmp)]
        Value::Float(number) if *number == 0.0 => Some(false),
        Value::Str(text) => match text.trim().to_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn path(value: &Value) -> Result<String> {
    match value {
        Value::Str(text) => Ok(text.to_string()),
        other => refused(format!(
            "stat: path should be string, bytes, os.PathLike or integer, not {}",
            other.type_name()
        )),
    }
}

fn is_mount(path: &str) -> bool {
    let Ok(about) = std::fs::symlink_metadata(path) else {
        return false;
    };
    if about.is_symlink() {
        return false;
    }
    let Ok(parent) = std::fs::canonicalize(Path::new(path).join("..")) else {
        return false;
    };
    let Ok(above) = std::fs::symlink_metadata(parent) else {
        return false;
    };
    above.dev() != about.dev() || above.ino() == about.ino()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uri,
    Url,
}

fn uri(value: &Value, arguments: &Arguments, kind: Kind) -> Result<bool> {
    let [schemes] = arguments.bind("is_uri", ["schemes"])?;
    let schemes = match schemes {
        Some(schemes) if schemes.truth()? => Some(match &schemes {
            Value::Str(_) => vec![schemes],
            other => other.iterate()?,
        }),
        _ => None,
    };
    Ok(match is_uri(value, schemes.as_deref()) {
        None => false,
        Some((scheme, netloc)) => kind == Kind::Uri || !netloc.is_empty() || scheme == "file",
    })
}

/// Scheme and host of an address with one of some schemes.
fn is_uri(value: &Value, schemes: Option<&[Value]>) -> Option<(String, String)> {
    let parts = split_address(value.as_str()?)?;
    let fits = schemes.is_none_or(|schemes| {
        schemes
            .iter()
            .any(|scheme| scheme.as_str() == Some(&parts.0))
    });
    fits.then_some(parts)
}

fn within(state: &mut State<'_, '_>, part: &Value, whole: &Value) -> Result<bool> {
    let mut keys = |value: &Value| -> Result<Vec<Key>> {
        value
            .iterate()?
            .into_iter()
            .map(|item| Key::new(state.access(item)))
            .collect()
    };
    // Keys cannot be lists or dicts: what can change is never a part of one.
    #[allow(clippy::mutable_key_type)]
    let whole: std::collections::HashSet<Key> = keys(whole)?.into_iter().collect();
    Ok(keys(part)?.iter().all(|key| whole.contains(key)))
}
