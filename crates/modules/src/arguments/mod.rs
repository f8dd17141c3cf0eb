//! What modules take: specifications of arguments, with the conversions, the checks and the messages of ansible-core.
//!
//! A module describes its arguments once and asks the context for them:
//!
//! ```ignore
//! static SPEC: LazyLock<Spec> = LazyLock::new(|| {
//!     Spec::new()
//!         .with("path", path().required().aliases(&["dest", "name"]))
//!         .with("state", text().default("present").choices(&["absent", "present"]))
//!         .with("force", boolean().default(false))
//!         .with("lines", list(Kind::Text))
//!         .file_common()
//!         .required_if("state", "present", &["lines"])
//!         .supports_check_mode()
//! });
//!
//! fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
//!     let arguments = context.arguments(&SPEC, invocation)?; // fails or skips as AnsibleModule() does
//!     let path = arguments.required("path");                 // &str
//!     if arguments.flag("force") { … }
//! }
//! ```
//!
//! The order of checks, the first message that is told, and the texts are those of
//! `ansible.module_utils.common.arg_spec.ArgumentSpecValidator`; roles' argument specifications are checked by the same
//! code ([`Spec::from_json`]).

mod check;
mod convert;

use indexmap::IndexMap;
use serde_json::{Map, Value};

pub use check::{Checked, validate};
pub use convert::{boolean_of, bytes_to_human, human_to_bytes, python_json};

/// The type of an argument. Texts are converted where the type is another, as Ansible does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `str`: anything becomes a text.
    #[default]
    Text,
    /// `path`: a text with its variables and its `~` expanded.
    Path,
    /// `bool`: `yes`, `on`, `1`, `true`... and their contraries.
    Boolean,
    /// `int`.
    Integer,
    /// `float`.
    Float,
    /// `list`: a text is split at commas.
    List,
    /// `dict`: a text is JSON or `k=v` pairs.
    Dict,
    /// `raw`: anything, left as it is.
    Raw,
    /// `json`: a text stays, structures become JSON.
    Json,
    /// `bytes`: an amount of bytes, `2K`.
    Bytes,
    /// `bits`: an amount of bits, `1Mb`.
    Bits,
}

/// One argument of a module.
#[derive(Clone, Debug, Default)]
pub struct Argument {
    /// Its type.
    pub kind: Kind,
    /// The type of the elements of a list.
    pub elements: Option<Kind>,
    /// It must be given.
    pub required: bool,
    /// What it is if it is not given; [`Value::Null`] for none.
    pub default: Value,
    /// What it may be; for lists what each element may be.
    pub choices: Option<Vec<Value>>,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Names of it that are to be used no more: the name, and the version it goes in.
    pub deprecated_aliases: Vec<(String, String)>,
    /// Its value may not be told. `None`: nothing was said about it.
    pub no_log: Option<bool>,
    /// The arguments inside of it, for dicts and lists of dicts.
    pub options: Option<Box<Spec>>,
    /// The defaults of the arguments inside hold also if it is not given.
    pub apply_defaults: bool,
    /// Variables of the environment it is taken from if it is not given.
    pub fallback: Vec<String>,
    /// The version of ansible-core it goes in.
    pub removed_in_version: Option<String>,
}

/// That arguments are needed if another has a certain value.
#[derive(Clone, Debug)]
pub struct RequiredIf {
    /// The argument that decides.
    pub key: String,
    /// The value it must have.
    pub value: Value,
    /// The arguments that are needed then.
    pub needed: Vec<String>,
    /// One of them is enough.
    pub any: bool,
}

/// What a module takes.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The arguments by their names.
    pub options: IndexMap<String, Argument>,
    /// Groups of which at most one may be given.
    pub mutually_exclusive: Vec<Vec<String>>,
    /// Groups that are given whole or not at all.
    pub required_together: Vec<Vec<String>>,
    /// Groups of which at least one must be given.
    pub required_one_of: Vec<Vec<String>>,
    /// What is needed by the value of another.
    pub required_if: Vec<RequiredIf>,
    /// What is needed if another is given.
    pub required_by: Vec<(String, Vec<String>)>,
    /// The module can say what it would do without doing it; else it is skipped in check mode.
    pub check_mode: bool,
}

/// An argument that is a text.
pub fn text() -> Argument {
    Argument::of(Kind::Text)
}

/// An argument that is a path.
pub fn path() -> Argument {
    Argument::of(Kind::Path)
}

/// An argument that is yes or no.
pub fn boolean() -> Argument {
    Argument::of(Kind::Boolean)
}

/// An argument that is a whole number.
pub fn integer() -> Argument {
    Argument::of(Kind::Integer)
}

/// An argument that is a number.
pub fn float() -> Argument {
    Argument::of(Kind::Float)
}

/// An argument that is anything.
pub fn raw() -> Argument {
    Argument::of(Kind::Raw)
}

/// An argument that is a dict.
pub fn dict() -> Argument {
    Argument::of(Kind::Dict)
}

/// An argument that is JSON.
pub fn json() -> Argument {
    Argument::of(Kind::Json)
}

/// An argument that is a list of something.
pub fn list(elements: Kind) -> Argument {
    Argument {
        elements: Some(elements),
        ..Argument::of(Kind::List)
    }
}

/// An argument that is a list of anything (`list` without `elements`).
pub fn any_list() -> Argument {
    Argument::of(Kind::List)
}

impl Argument {
    /// One of a type.
    pub fn of(kind: Kind) -> Self {
        Argument {
            kind,
            ..Default::default()
        }
    }

    /// It must be given.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What it is if it is not given.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = value.into();
        self
    }

    /// What it may be.
    #[must_use]
    pub fn choices<T: Clone + Into<Value>>(mut self, choices: &[T]) -> Self {
        self.choices = Some(choices.iter().cloned().map(Into::into).collect());
        self
    }

    /// Other names of it.
    #[must_use]
    pub fn aliases(mut self, names: &[&str]) -> Self {
        self.aliases = texts(names);
        self
    }

    /// Names of it (which must also be in [`Argument::aliases`]) that are to be used no more, with the version they go in.
    #[must_use]
    pub fn deprecated_aliases(mut self, names: &[(&str, &str)]) -> Self {
        self.deprecated_aliases = names
            .iter()
            .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
            .collect();
        self
    }

    /// Its value may not be told (`true`), or may in spite of a name like a password's (`false`).
    #[must_use]
    pub fn no_log(mut self, no_log: bool) -> Self {
        self.no_log = Some(no_log);
        self
    }

    /// The arguments inside of it.
    #[must_use]
    pub fn options(mut self, spec: Spec) -> Self {
        self.options = Some(Box::new(spec));
        self
    }

    /// The defaults of the arguments inside hold also if it is not given.
    #[must_use]
    pub fn apply_defaults(mut self) -> Self {
        self.apply_defaults = true;
        self
    }

    /// Variables of the environment it is taken from if it is not given.
    #[must_use]
    pub fn fallback(mut self, variables: &[&str]) -> Self {
        self.fallback = texts(variables);
        self
    }

    /// The version of ansible-core it goes in.
    #[must_use]
    pub fn removed_in(mut self, version: &str) -> Self {
        self.removed_in_version = Some(version.to_owned());
        self
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Spec {
    /// One without arguments.
    pub fn new() -> Self {
        Spec::default()
    }

    /// With an argument more.
    #[must_use]
    pub fn with(mut self, name: &str, argument: Argument) -> Self {
        self.options.insert(name.to_owned(), argument);
        self
    }

    /// With the arguments of all modules that make files (`add_file_common_args`): mode, owner, group, SELinux, attributes
    /// and `unsafe_writes`. Those already there stay as they are.
    #[must_use]
    pub fn file_common(mut self) -> Self {
        for (name, argument) in [
            ("mode", raw()),
            ("owner", text()),
            ("group", text()),
            ("seuser", text()),
            ("serole", text()),
            ("selevel", text()),
            ("setype", text()),
            ("attributes", text().aliases(&["attr"])),
            (
                "unsafe_writes",
                boolean()
                    .default(false)
                    .fallback(&["ANSIBLE_UNSAFE_WRITES"]),
            ),
        ] {
            self.options.entry(name.to_owned()).or_insert(argument);
        }
        self
    }

    /// The module can say what it would do without doing it.
    #[must_use]
    pub fn supports_check_mode(mut self) -> Self {
        self.check_mode = true;
        self
    }

    /// At most one of these may be given.
    #[must_use]
    pub fn mutually_exclusive(mut self, names: &[&str]) -> Self {
        self.mutually_exclusive.push(texts(names));
        self
    }

    /// All of these are given or none.
    #[must_use]
    pub fn required_together(mut self, names: &[&str]) -> Self {
        self.required_together.push(texts(names));
        self
    }

    /// At least one of these must be given.
    #[must_use]
    pub fn required_one_of(mut self, names: &[&str]) -> Self {
        self.required_one_of.push(texts(names));
        self
    }

    /// All of these are needed if the other has the value.
    #[must_use]
    pub fn required_if(mut self, key: &str, value: impl Into<Value>, needed: &[&str]) -> Self {
        self.required_if.push(RequiredIf {
            key: key.to_owned(),
            value: value.into(),
            needed: texts(needed),
            any: false,
        });
        self
    }

    /// One of these is needed if the other has the value.
    #[must_use]
    pub fn required_if_any(mut self, key: &str, value: impl Into<Value>, needed: &[&str]) -> Self {
        self.required_if.push(RequiredIf {
            key: key.to_owned(),
            value: value.into(),
            needed: texts(needed),
            any: true,
        });
        self
    }

    /// All of these are needed if the other is given.
    #[must_use]
    pub fn required_by(mut self, key: &str, needed: &[&str]) -> Self {
        self.required_by.push((key.to_owned(), texts(needed)));
        self
    }

    /// A specification written as data, as in the `argument_specs` of a role: the value of `options`. The message says
    /// what is wrong with it.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, String> {
        Spec::read(options, 0)
    }

    fn read(options: &Map<String, Value>, depth: usize) -> Result<Self, String> {
        if depth > 64 {
            return Err("an argument specification is nested too deeply".to_owned());
        }
        let mut spec = Spec::new();
        for (name, written) in options {
            let empty = Map::new();
            let written = match written {
                Value::Object(entries) => entries,
                Value::Null => &empty,
                _ => return Err(format!("the specification of `{name}` is not a dict")),
            };
            let kind = |key: &str| match written.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Kind::named(text)
                    .map(Some)
                    .ok_or_else(|| format!("`{text}` is no type of arguments")),
                Some(_) => Err(format!("`{key}` of `{name}` is not a text")),
            };
            let names = |value: Option<&Value>| -> Vec<String> {
                match value {
                    Some(Value::String(one)) => vec![one.clone()],
                    Some(Value::Array(items)) => items
                        .iter()
                        .map(|item| crate::python::str_value(item).into_owned())
                        .collect(),
                    _ => Vec::new(),
                }
            };
            let flag = |key: &str| {
                written
                    .get(key)
                    .is_some_and(|value| boolean_of(value) == Ok(true))
            };
            let mut argument = Argument {
                kind: kind("type")?.unwrap_or_default(),
                elements: kind("elements")?,
                required: flag("required"),
                default: written.get("default").cloned().unwrap_or(Value::Null),
                choices: match written.get("choices") {
                    Some(Value::Array(items)) => Some(items.clone()),
                    _ => None,
                },
                aliases: names(written.get("aliases")),
                no_log: written
                    .get("no_log")
                    .and_then(|value| boolean_of(value).ok()),
                apply_defaults: flag("apply_defaults"),
                removed_in_version: written
                    .get("removed_in_version")
                    .map(|value| crate::python::str_value(value).into_owned()),
                ..Default::default()
            };
            if let Some(Value::Object(inner)) = written.get("options") {
                let mut inner = Spec::read(inner, depth + 1)?;
                inner.read_rules(written, &names)?;
                argument.options = Some(Box::new(inner));
            }
            spec.options.insert(name.clone(), argument);
        }
        Ok(spec)
    }

    /// Reads `mutually_exclusive`, `required_if` and the like from the dict they stand in.
    fn read_rules(
        &mut self,
        written: &Map<String, Value>,
        names: &dyn Fn(Option<&Value>) -> Vec<String>,
    ) -> Result<(), String> {
        let groups = |key: &str| -> Vec<Vec<String>> {
            match written.get(key) {
                Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                    vec![names(written.get(key))]
                }
                Some(Value::Array(items)) => items.iter().map(|item| names(Some(item))).collect(),
                _ => Vec::new(),
            }
        };
        self.mutually_exclusive = groups("mutually_exclusive");
        self.required_together = groups("required_together");
        self.required_one_of = groups("required_one_of");
        if let Some(Value::Array(items)) = written.get("required_if") {
            for item in items {
                let Value::Array(parts) = item else {
                    return Err("`required_if` is a list of lists".to_owned());
                };
                let (Some(key), Some(value), needed) = (parts.first(), parts.get(1), parts.get(2))
                else {
                    return Err("`required_if` needs an argument, a value and arguments".to_owned());
                };
                self.required_if.push(RequiredIf {
                    key: crate::python::str_value(key).into_owned(),
                    value: value.clone(),
                    needed: names(needed),
                    any: parts.get(3).and_then(Value::as_bool).unwrap_or(false),
                });
            }
        }
        if let Some(Value::Object(entries)) = written.get("required_by") {
            for (key, value) in entries {
                self.required_by.push((key.clone(), names(Some(value))));
            }
        }
        Ok(())
    }
}

impl Kind {
    /// By its name in specifications.
    pub fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "str" => Kind::Text,
            "path" => Kind::Path,
            "bool" => Kind::Boolean,
            "int" => Kind::Integer,
            "float" => Kind::Float,
            "list" => Kind::List,
            "dict" => Kind::Dict,
            "raw" => Kind::Raw,
            "json" | "jsonarg" => Kind::Json,
            "bytes" => Kind::Bytes,
            "bits" => Kind::Bits,
            _ => return None,
        })
    }

    /// Its name in specifications.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "str",
            Kind::Path => "path",
            Kind::Boolean => "bool",
            Kind::Integer => "int",
            Kind::Float => "float",
            Kind::List => "list",
            Kind::Dict => "dict",
            Kind::Raw => "raw",
            Kind::Json => "json",
            Kind::Bytes => "bytes",
            Kind::Bits => "bits",
        }
    }
}

/// The arguments of a call, converted and checked: each argument of the specification is there, [`Value::Null`] if it was
/// not given and has no default.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    values: Map<String, Value>,
}

impl Arguments {
    /// From values already checked.
    pub fn new(values: Map<String, Value>) -> Self {
        Arguments { values }
    }

    /// All of them.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// One of them, [`Value::Null`] if it was not given.
    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Null)
    }

    /// Whether it was given, or has a default.
    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_null()
    }

    /// A text, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).as_str()
    }

    /// A text, if it was given and is not empty (where Python asks `if params['x']:`).
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A text that is required by the specification or has a default.
    pub fn required(&self, name: &str) -> &str {
        self.text(name).unwrap_or("")
    }

    /// Yes or no; no if it was not given.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or(false)
    }

    /// Yes, no, or not given.
    pub fn given_flag(&self, name: &str) -> Option<bool> {
        self.get(name).as_bool()
    }

    /// A whole number, if it was given.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).as_i64()
    }

    /// A number, if it was given.
    pub fn float(&self, name: &str) -> Option<f64> {
        self.get(name).as_f64()
    }

    /// A list, if it was given.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.get(name).as_array().map(Vec::as_slice)
    }

    /// The texts of a list; none if it was not given.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.list(name)
            .unwrap_or_default()
            .iter()
            .map(|item| crate::python::str_value(item).into_owned())
            .collect()
    }

    /// A dict, if it was given.
    pub fn dict(&self, name: &str) -> Option<&Map<String, Value>> {
        self.get(name).as_object()
    }

    /// Sets one, for what a module works out itself (`params['path'] = ...`).
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }
}
