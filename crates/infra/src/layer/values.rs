//! Values of the language as the plan of a whole system has them, and back.

use std::sync::Arc;

use consort_hcl::{Kind, Marks, Number, Path, Sources, Step, Type, Value};
use consort_plan::{Address, Planned, Unknown, below};
use serde_json::Value as Json;

/// A value as a plan sees it. `from` says what will tell an unknown part, by its place.
pub(super) fn planned(value: &Value, from: &dyn Fn(&str) -> Option<Address>) -> Planned {
    let mut writing = Writing {
        found: Planned::default(),
        from,
    };
    writing.found.value = writing.write(value, "", false);
    let mut found = writing.found;
    found.unknown.sort();
    found.sensitive.sort();
    found
}

struct Writing<'f> {
    found: Planned,
    from: &'f dyn Fn(&str) -> Option<Address>,
}

impl Writing<'_> {
    fn write(&mut self, value: &Value, at: &str, hidden: bool) -> Json {
        let marks = value.marks();
        let hidden = if !hidden && marks.intersects(Marks::SENSITIVE | Marks::EPHEMERAL) {
            self.found.sensitive.push(at.to_owned());
            true
        } else {
            hidden
        };
        if marks.intersects(Marks::EPHEMERAL) {
            // Kept nowhere.
            return Json::Null;
        }
        match value.kind() {
            Kind::Null => Json::Null,
            Kind::Unknown(_) => {
                self.found.unknown.push(Unknown {
                    at: at.to_owned(),
                    kind: kind(value.ty()),
                    from: (self.from)(at),
                });
                Json::Null
            }
            Kind::Bool(value) => Json::Bool(value),
            Kind::Number(number) => json_number(number),
            Kind::String(text) => Json::String(text.to_owned()),
            Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => Json::Array(
                values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| self.part(value, at, &index.to_string(), hidden))
                    .collect(),
            ),
            Kind::Map(values) | Kind::Object(values) => Json::Object(
                values
                    .iter()
                    .map(|(name, value)| (name.to_string(), self.part(value, at, name, hidden)))
                    .collect(),
            ),
        }
    }

    fn part(&mut self, value: &Value, at: &str, step: &str, hidden: bool) -> Json {
        if value.is_wholly_known() && value.deep_marks().is_empty() {
            return plain(value);
        }
        self.write(value, &below(at, step), hidden)
    }
}

/// A value that is wholly known and has no marks: none of its places has to be told.
fn plain(value: &Value) -> Json {
    match value.kind() {
        Kind::Null | Kind::Unknown(_) => Json::Null,
        Kind::Bool(value) => Json::Bool(value),
        Kind::Number(number) => json_number(number),
        Kind::String(text) => Json::String(text.to_owned()),
        Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
            Json::Array(values.iter().map(plain).collect())
        }
        Kind::Map(values) | Kind::Object(values) => Json::Object(
            values
                .iter()
                .map(|(name, value)| (name.to_string(), plain(value)))
                .collect(),
        ),
    }
}

fn json_number(number: &Number) -> Json {
    if let Some(whole) = number.to_i64() {
        return whole.into();
    }
    if let Some(whole) = number.to_u64() {
        return whole.into();
    }
    serde_json::Number::from_f64(number.to_f64()).map_or(Json::Null, Json::Number)
}

/// A type in Terraform's notation.
fn kind(ty: &Type) -> String {
    match ty {
        Type::Dynamic => "dynamic".to_owned(),
        other => other.to_string(),
    }
}

/// The type of an unknown value; `dynamic` and what cannot be read are of any type.
fn type_of(kind: &str) -> Type {
    if kind == "dynamic" {
        return Type::Dynamic;
    }
    let (expr, found) = consort_hcl::parse_expression(&mut Sources::new(), "<type>", kind);
    if found.has_errors() {
        return Type::Dynamic;
    }
    let (ty, found) = consort_hcl::type_constraint(&expr);
    if found.has_errors() {
        Type::Dynamic
    } else {
        ty
    }
}

/// A value of another part as one of the language.
pub(super) fn taken(planned: &Planned) -> Value {
    read(&planned.value, "", planned)
}

/// A value of the score as one of the language.
pub(super) fn literal(value: &Json) -> Value {
    taken(&Planned::known(value.clone()))
}

fn read(json: &Json, at: &str, planned: &Planned) -> Value {
    let value = match planned.unknown.iter().find(|unknown| unknown.at == at) {
        Some(unknown) => Value::unknown(type_of(&unknown.kind)),
        None => match json {
            Json::Null => Value::null(Type::Dynamic),
            Json::Bool(value) => Value::bool(*value),
            Json::Number(number) => {
                Number::parse(&number.to_string()).map_or(Value::null(Type::Number), Value::number)
            }
            Json::String(text) => Value::string(text),
            Json::Array(values) => Value::tuple(
                values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| read_part(value, at, &index.to_string(), planned))
                    .collect(),
            ),
            Json::Object(values) => Value::object(values.iter().map(|(name, value)| {
                let name: Arc<str> = name.as_str().into();
                let value = read_part(value, at, &name, planned);
                (name, value)
            })),
        },
    };
    if planned.sensitive.iter().any(|place| place == at) {
        value.with_marks(Marks::SENSITIVE)
    } else {
        value
    }
}

fn read_part(json: &Json, at: &str, step: &str, planned: &Planned) -> Value {
    if planned.unknown.is_empty() && planned.sensitive.is_empty() {
        return read(json, at, planned);
    }
    read(json, &below(at, step), planned)
}

/// A path into an object as a pointer into its JSON.
pub(super) fn pointer(path: &Path) -> String {
    path.steps()
        .iter()
        .fold(String::new(), |at, step| match step {
            Step::Attribute(name) => below(&at, name),
            Step::Index(key) => match key.kind() {
                Kind::String(text) => below(&at, text),
                Kind::Number(number) => below(&at, &number.to_string()),
                // An element of a set has no place of its own.
                _ => at,
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_sensitive_parts_come_back_as_they_were() {
        let value = Value::object([
            ("name", Value::string("a")),
            ("id", Value::unknown(Type::String)),
            (
                "tags",
                Value::map(
                    Type::String,
                    [(
                        "secret/key",
                        Value::string("x").with_marks(Marks::SENSITIVE),
                    )],
                ),
            ),
            ("ports", Value::unknown(Type::list(Type::Number))),
        ]);
        let from = Address::new("other", "thing.one");
        let planned = planned(&value, &|at| (at == "/id").then(|| from.clone()));
        assert_eq!(planned.sensitive, ["/tags/secret~1key"]);
        let unknown: Vec<_> = planned
            .unknown
            .iter()
            .map(|unknown| (&*unknown.at, &*unknown.kind, unknown.from.clone()))
            .collect();
        assert_eq!(
            unknown,
            [
                ("/id", "string", Some(from)),
                ("/ports", "list(number)", None)
            ]
        );
        let back = taken(&planned);
        assert_eq!(
            back.attribute("ports").unwrap().ty(),
            &Type::list(Type::Number)
        );
        assert!(!back.attribute("id").unwrap().is_known());
        let secret = back
            .attribute("tags")
            .unwrap()
            .attribute("secret/key")
            .unwrap();
        assert!(secret.marks().intersects(Marks::SENSITIVE));
    }

    #[test]
    fn a_wholly_unknown_value_keeps_its_type_and_its_origin() {
        let from = Address::new("other", "thing.one");
        let whole = Planned::unknown("list(string)", Some(from.clone()));
        let value = taken(&whole);
        assert_eq!(value.ty(), &Type::list(Type::String));
        assert_eq!(planned(&value, &|_| Some(from.clone())), whole);
    }
}
