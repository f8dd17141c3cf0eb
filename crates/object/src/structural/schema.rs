//! The parsed schema.

use super::format::Format;
use super::pattern::Pattern;
use serde_json::Value;

/// The types a schema can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `object`
    Object,
    /// `array`
    Array,
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
}

impl Type {
    /// The type of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// The type of a value; none for null.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        })
    }
}

/// How the items of a list are told apart (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not at all: the list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By their keys.
    Map,
}

/// What may stand beside the named properties.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Nothing is said.
    #[default]
    None,
    /// Anything (`true`), or nothing (`false`).
    Any(bool),
    /// Values of a schema.
    Schema(Box<Structural>),
}

/// A schema, parsed. Descriptions, titles and examples are left out: they change nothing.
#[derive(Clone, Debug, Default)]
pub struct Structural {
    /// The type; none for int-or-string and unknown.
    pub kind: Option<Type>,
    /// Null may stand here.
    pub nullable: bool,
    /// An object with `apiVersion`, `kind` and `metadata` (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve: bool,
    /// An integer or a string (`x-kubernetes-int-or-string`).
    pub int_or_string: bool,
    /// What a field has that is left out.
    pub default: Option<Value>,
    /// The named properties, by name.
    pub properties: Vec<(Box<str>, Structural)>,
    /// What may stand beside them.
    pub additional: Additional,
    /// The schema of a list's items.
    pub items: Option<Box<Structural>>,
    /// How a list's items are told apart; none is atomic.
    pub list_type: Option<ListType>,
    /// The keys of the items of a list map.
    pub list_keys: Vec<String>,
    /// The map or struct is one value (`x-kubernetes-map-type: atomic`).
    pub atomic_map: bool,
    /// What a value has to meet besides its type.
    pub checks: Option<Box<Checks>>,
    /// There is a default in this schema or below it.
    pub defaults_within: bool,
    /// There is a list set or list map in this schema or below it.
    pub lists_within: bool,
    /// There is an embedded object in this schema or below it.
    pub embedded_within: bool,
}

/// What a value has to meet besides its type.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// The format, if it is one that is checked.
    pub(super) format: Option<Format>,
    /// The largest number.
    pub maximum: Option<f64>,
    /// The largest number itself is too large.
    pub exclusive_maximum: bool,
    /// The smallest number.
    pub minimum: Option<f64>,
    /// The smallest number itself is too small.
    pub exclusive_minimum: bool,
    /// The most characters.
    pub max_length: Option<i64>,
    /// The fewest characters.
    pub min_length: Option<i64>,
    /// What a string must match.
    pub pattern: Option<Pattern>,
    /// The most items.
    pub max_items: Option<i64>,
    /// The fewest items.
    pub min_items: Option<i64>,
    /// What a number must be a multiple of.
    pub multiple_of: Option<f64>,
    /// The values allowed; empty allows all.
    pub one_of_values: Vec<Value>,
    /// The most properties.
    pub max_properties: Option<i64>,
    /// The fewest properties.
    pub min_properties: Option<i64>,
    /// The properties that must be there.
    pub required: Vec<String>,
    /// All of these must be met.
    pub all_of: Vec<Structural>,
    /// One of these must be met at least.
    pub any_of: Vec<Structural>,
    /// One of these must be met and no other.
    pub one_of: Vec<Structural>,
    /// This must not be met.
    pub not: Option<Box<Structural>>,
}

impl Structural {
    /// Read a schema in its JSON form.
    ///
    /// # Errors
    /// If it uses what custom resources cannot: `$ref`, `patternProperties` and the like.
    pub fn parse(props: &Value) -> Result<Self, String> {
        for (name, shown) in [
            ("id", "id"),
            ("$schema", "schema"),
            ("$ref", "$ref"),
            ("patternProperties", "patternProperties"),
            ("dependencies", "dependencies"),
            ("additionalItems", "additionalItems"),
            ("definitions", "definitions"),
        ] {
            let set = match props.get(name) {
                None | Some(Value::Null) => false,
                Some(Value::String(text)) => !text.is_empty(),
                Some(Value::Object(map)) => !map.is_empty() || name == "additionalItems",
                Some(_) => true,
            };
            if set {
                return Err(format!("OpenAPIV3Schema '{shown}' is not supported"));
            }
        }
        if props.get("items").is_some_and(Value::is_array) {
            return Err("OpenAPIV3Schema 'items' must be a schema, but is an array".into());
        }
        if flag_of(props, "x-kubernetes-preserve-unknown-fields") == Some(false) {
            return Err(
                "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
                    .into(),
            );
        }
        let one = |name: &str| -> Result<Option<Box<Structural>>, String> {
            match props.get(name) {
                Some(schema) if schema.is_object() => Ok(Some(Box::new(Self::parse(schema)?))),
                _ => Ok(None),
            }
        };
        let mut properties = Vec::new();
        if let Some(Value::Object(map)) = props.get("properties") {
            properties.reserve_exact(map.len());
            for (name, schema) in map {
                properties.push((name.as_str().into(), Self::parse(schema)?));
            }
            properties.sort_unstable_by(|left: &(Box<str>, _), right| left.0.cmp(&right.0));
        }
        let additional = match props.get("additionalProperties") {
            None | Some(Value::Null) => Additional::None,
            Some(Value::Bool(allowed)) => Additional::Any(*allowed),
            Some(schema) => Additional::Schema(Box::new(Self::parse(schema)?)),
        };
        let items = one("items")?;
        let list_type = match props.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Some(ListType::Set),
            Some("map") => Some(ListType::Map),
            Some("atomic") => Some(ListType::Atomic),
            _ => None,
        };
        let mut schema = Self {
            kind: props
                .get("type")
                .and_then(Value::as_str)
                .and_then(Type::parse),
            nullable: flag(props, "nullable"),
            embedded: flag(props, "x-kubernetes-embedded-resource"),
            preserve: flag(props, "x-kubernetes-preserve-unknown-fields"),
            int_or_string: flag(props, "x-kubernetes-int-or-string"),
            default: props
                .get("default")
                .filter(|value| !value.is_null())
                .cloned(),
            properties,
            additional,
            items,
            list_type,
            list_keys: strings(props, "x-kubernetes-list-map-keys"),
            atomic_map: props.get("x-kubernetes-map-type").and_then(Value::as_str)
                == Some("atomic"),
            checks: None,
            defaults_within: false,
            lists_within: false,
            embedded_within: false,
        };
        schema.checks = Checks::parse(props, &schema)?;
        let within = |is: &dyn Fn(&Structural) -> bool| {
            schema.properties.iter().any(|(_, property)| is(property))
                || schema.items.as_deref().is_some_and(is)
                || matches!(&schema.additional, Additional::Schema(schema) if is(schema))
        };
        let defaults = schema.default.is_some() || within(&|below| below.defaults_within);
        let lists = matches!(list_type, Some(ListType::Set | ListType::Map))
            || within(&|below| below.lists_within);
        let embedded = schema.embedded || within(&|below| below.embedded_within);
        schema.defaults_within = defaults;
        schema.lists_within = lists;
        schema.embedded_within = embedded;
        Ok(schema)
    }

    /// The schema of a named property.
    pub fn property(&self, name: &str) -> Option<&Structural> {
        self.properties
            .binary_search_by(|(own, _)| own.as_ref().cmp(name))
            .ok()
            .map(|index| &self.properties[index].1)
    }

    /// The schema of whatever stands beside the named properties.
    pub fn additional_schema(&self) -> Option<&Structural> {
        match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// The schema of a member: named, or beside the named ones.
    pub fn member(&self, name: &str) -> Option<&Structural> {
        self.property(name).or_else(|| self.additional_schema())
    }
}

impl Checks {
    fn parse(props: &Value, schema: &Structural) -> Result<Option<Box<Self>>, String> {
        let many = |name: &str| -> Result<Vec<Structural>, String> {
            match props.get(name) {
                Some(Value::Array(list)) => list.iter().map(Structural::parse).collect(),
                _ => Ok(Vec::new()),
            }
        };
        let number = |name: &str| props.get(name).and_then(Value::as_f64);
        let count = |name: &str| props.get(name).and_then(Value::as_i64);
        let checks = Self {
            format: props
                .get("format")
                .and_then(Value::as_str)
                .and_then(|name| Format::of(name, schema.kind, schema.int_or_string)),
            maximum: number("maximum"),
            exclusive_maximum: flag(props, "exclusiveMaximum"),
            minimum: number("minimum"),
            exclusive_minimum: flag(props, "exclusiveMinimum"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: props
                .get("pattern")
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(Pattern::new),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            multiple_of: number("multipleOf"),
            one_of_values: match props.get("enum") {
                Some(Value::Array(list)) => list.clone(),
                _ => Vec::new(),
            },
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: strings(props, "required"),
            all_of: many("allOf")?,
            any_of: many("anyOf")?,
            one_of: many("oneOf")?,
            not: match props.get("not") {
                Some(schema) if schema.is_object() => Some(Box::new(Structural::parse(schema)?)),
                _ => None,
            },
        };
        Ok((!checks.is_empty()).then(|| Box::new(checks)))
    }

    fn is_empty(&self) -> bool {
        let Self {
            format,
            maximum,
            exclusive_maximum: _,
            minimum,
            exclusive_minimum: _,
            max_length,
            min_length,
            pattern,
            max_items,
            min_items,
            multiple_of,
            one_of_values,
            max_properties,
            min_properties,
            required,
            all_of,
            any_of,
            one_of,
            not,
        } = self;
        format.is_none()
            && pattern.is_none()
            && [maximum, minimum, multiple_of]
                .iter()
                .all(|number| number.is_none())
            && [
                max_length,
                min_length,
                max_items,
                min_items,
                max_properties,
                min_properties,
            ]
            .iter()
            .all(|count| count.is_none())
            && one_of_values.is_empty()
            && required.is_empty()
            && [all_of, any_of, one_of].iter().all(|list| list.is_empty())
            && not.is_none()
    }
}

/// A boolean of a schema, as it is written.
pub(super) fn flag_of(props: &Value, name: &str) -> Option<bool> {
    props.get(name).and_then(Value::as_bool)
}

/// A boolean of a schema that is false when it is left out.
pub(super) fn flag(props: &Value, name: &str) -> bool {
    flag_of(props, name).unwrap_or(false)
}

/// The strings in a list of a schema.
pub(super) fn strings(props: &Value, name: &str) -> Vec<String> {
    match props.get(name) {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}
