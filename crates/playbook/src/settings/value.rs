//! Values of settings: looked for, checked, converted.

use super::Sources;
use crate::paths;
use crate::source::Located;

/// What a setting is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A text.
    Text,
    /// A list between commas.
    List,
    /// One path.
    Path,
    /// Paths between colons.
    Paths,
    /// Paths between commas.
    PathList,
}

/// What is known of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in the documentation.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its default, as it would be written.
    pub default: Option<&'static str>,
    /// Sections and keys of the file; the last that is there counts.
    pub keys: &'static [(&'static str, &'static str)],
    /// Variables of the environment; the last that is there counts.
    pub environment: &'static [&'static str],
    /// What it may be, if not all is allowed.
    pub choices: &'static [&'static str],
}

/// A setting's value before it has its Rust type.
pub(super) enum Read {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

impl Read {
    /// The value as templates have it.
    pub(super) fn into_value(self) -> consort_jinja::Value {
        use consort_jinja::Value;
        match self {
            Read::Nothing => Value::None,
            Read::Bool(value) => Value::Bool(value),
            Read::Int(value) => Value::Int(value),
            Read::Float(value) => Value::Float(value),
            Read::Text(value) => Value::from(value),
            Read::List(values) => Value::list(values.into_iter().map(Value::from).collect()),
        }
    }
}

pub(super) trait FromRead: Sized {
    fn from_read(read: Read) -> Option<Self>;
}

impl FromRead for bool {
    fn from_read(read: Read) -> Option<Self> {
        match read {
            Read::Bool(value) => Some(value),
            Read::Nothing => Some(false),
            _ => None,
        }
    }
}

impl FromRead for i64 {
    fn from_read(read: Read) -> Option<Self> {
        match read {
            Read::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl FromRead for f64 {
    fn from_read(read: Read) -> Option<Self> {
        match read {
            Read::Float(value) => Some(value),
            _ => None,
        }
    }
}

impl FromRead for String {
    fn from_read(read: Read) -> Option<Self> {
        match read {
            Read::Text(value) => Some(value),
            _ => None,
        }
    }
}

impl FromRead for Vec<String> {
    fn from_read(read: Read) -> Option<Self> {
        match read {
            Read::List(value) => Some(value),
            Read::Nothing => Some(Vec::new()),
            _ => None,
        }
    }
}

impl<T: FromRead> FromRead for Option<T> {
    fn from_read(read: Read) -> Option<Self> {
        match read {
            Read::Nothing => Some(None),
            read => T::from_read(read).map(Some),
        }
    }
}

/// What counts for a setting.
pub(super) fn read(entry: &Entry, sources: &Sources) -> Result<Read, Located> {
    let invalid = |origin: &str, value: &str| {
        Located::new(format!(
            "Config '{}' from '{origin}' has an invalid value.",
            entry.name
        ))
        .because(Located::new(format!(
            "Invalid value provided for '{}': '{value}'",
            entry.kind.word()
        )))
        .exiting(5)
    };
    let written = sources.raw(entry.environment, entry.keys);
    let read = match &written {
        Some((value, from_file)) => match convert(entry.kind, value, *from_file, sources) {
            Some(read) => read,
            None if value.is_empty() && !from_file => default(entry, sources),
            None => {
                let origin = if *from_file {
                    sources
                        .file
                        .as_ref()
                        .map(|file| file.display().to_string())
                        .unwrap_or_default()
                } else {
                    format!("env: {}", entry.environment.last().unwrap_or(&""))
                };
                return Err(invalid(&origin, value));
            }
        },
        None => default(entry, sources),
    };
    if !entry.choices.is_empty() {
        let wrong = match &read {
            Read::Text(value) => !entry.choices.contains(&value.as_str()),
            Read::List(values) => values
                .iter()
                .any(|value| !entry.choices.contains(&value.as_str())),
            _ => false,
        };
        if wrong {
            let shown = written.map(|(value, _)| value).unwrap_or_default();
            return Err(Located::new(format!(
                "Invalid value '{shown}' for config '{}'.",
                entry.name
            ))
            .hint(format!("Valid values are: {}", entry.choices.join(", ")))
            .exiting(5));
        }
    }
    Ok(read)
}

fn default(entry: &Entry, sources: &Sources) -> Read {
    entry
        .default
        .and_then(|value| convert(entry.kind, value, false, sources))
        .unwrap_or(Read::Nothing)
}

/// Without the quotes around it, if it has the same at both ends.
pub(crate) fn unquote(text: &str) -> &str {
    crate::paths::unquote(text)
}

fn convert(kind: Kind, value: &str, from_file: bool, sources: &Sources) -> Option<Read> {
    let base = sources
        .file
        .as_deref()
        .filter(|_| from_file)
        .and_then(|file| file.parent())
        .map(|directory| directory.to_string_lossy().into_owned());
    let path = |path: &str| {
        let surroundings = sources.surroundings();
        let home = "{{ANSIBLE_HOME}}";
        let mut path = path.replace("{{CWD}}", &surroundings.directory);
        if path.contains(home) {
            let directory = sources
                .raw(&["ANSIBLE_HOME"], &[("defaults", "home")])
                .map_or_else(|| "~/.ansible".to_owned(), |(value, _)| value);
            path = path.replace(home, &directory);
        }
        paths::unfrack(&path, surroundings, base.as_deref())
    };
    Some(match kind {
        Kind::Bool => Read::Bool(matches!(
            value.to_lowercase().trim(),
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0"
        )),
        Kind::Int => {
            let text = value.trim().replace('_', "");
            let number = text.parse::<i64>().ok().or_else(|| {
                let float = text.parse::<f64>().ok()?;
                (float.is_finite() && float.fract() == 0.0).then_some(float as i64)
            })?;
            Read::Int(number)
        }
        Kind::Float => Read::Float(value.trim().parse().ok()?),
        Kind::Text => Read::Text(if from_file {
            unquote(value).to_owned()
        } else {
            value.to_owned()
        }),
        Kind::List => Read::List(if value.is_empty() && !from_file {
            Vec::new()
        } else {
            value
                .split(',')
                .map(|item| unquote(item.trim()).to_owned())
                .collect()
        }),
        Kind::Path => Read::Text(path(if from_file { unquote(value) } else { value })),
        Kind::Paths => Read::List(value.split(':').map(path).collect()),
        Kind::PathList => Read::List(value.split(',').map(|item| path(item.trim())).collect()),
    })
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Int => "integer",
            Kind::Float => "float",
            Kind::Text => "string",
            Kind::List => "list",
            Kind::Path => "path",
            Kind::Paths => "pathspec",
            Kind::PathList => "pathlist",
        }
    }
}

macro_rules! settings {
    ($($field:ident: $type:ty = $name:literal, $kind:ident, $default:expr, [$($key:expr),*], [$($env:literal),*], [$($choice:literal),*];)*) => {
        /// Every setting, with its value. The names are those of the documentation, without `DEFAULT_` and `ANSIBLE_`.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $(
                #[doc = concat!("`", $name, "`.")]
                pub $field: $type,
            )*
        }

        impl Settings {
            pub(super) fn read(
                find: &dyn Fn(&Entry) -> Result<super::value::Read, crate::source::Located>,
            ) -> Result<Self, crate::source::Located> {
                let mut entries = ENTRIES.iter();
                Ok(Settings {
                    $(
                        $field: {
                            let entry = entries.next().unwrap_or(&NO_ENTRY);
                            super::value::FromRead::from_read(find(entry)?).ok_or_else(|| {
                                crate::source::Located::new(concat!("The setting ", $name, " has no value."))
                            })?
                        },
                    )*
                })
            }
        }

        const NO_ENTRY: Entry = Entry {
            name: "",
            kind: Kind::Text,
            default: None,
            keys: &[],
            environment: &[],
            choices: &[],
        };

        pub(super) static ENTRIES: &[Entry] = &[
            $(
                Entry {
                    name: $name,
                    kind: Kind::$kind,
                    default: $default,
                    keys: &[$($key),*],
                    environment: &[$($env),*],
                    choices: &[$($choice),*],
                },
            )*
        ];
    };
}
