//! Checking an object against its schema.
//!
//! The messages, and which of them are told when alternatives fail, are those of the validator upstream uses
//! (`kube-openapi`'s `validate`): of several alternatives the one with the most positive checks speaks.

use super::correlate::Correlated;
use super::format::{Format, Range};
use super::place::Place;
use super::schema::{Additional, Checks, Structural, Type};
use crate::field_error::FieldError;
use crate::text::go_quote;
use serde_json::Value;
use std::cmp::Ordering;

/// As many faults as are looked for: beyond them, further items and members of what is wrong already are passed over.
const MOST: usize = 2_000;

/// Check a new object. `base` stands before the fields in the errors: `status`, when only that is checked.
pub fn create(value: &Value, schema: &Structural, base: &str) -> Vec<FieldError> {
    let mut run = Run {
        base,
        errors: Vec::new(),
    };
    run.node(value, schema, &Name::Root, None);
    run.errors
}

/// Check a changed object: what was wrong before and has not changed is let through.
pub fn update(value: &Value, old: &Value, schema: &Structural, base: &str) -> Vec<FieldError> {
    let mut run = Run {
        base,
        errors: Vec::new(),
    };
    let was = Correlated {
        new: value,
        old,
        schema,
    };
    run.node(value, schema, &Name::Root, Some(was));
    run.errors
}

/// The name of a place in messages. Members of maps look like fields.
enum Name<'a> {
    Root,
    Field(&'a Name<'a>, &'a str),
    Beside(&'a Name<'a>, &'a str),
    Index(&'a Name<'a>, usize),
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Root => Ok(()),
            Name::Field(Name::Root, name) => f.write_str(name),
            Name::Field(parent, name) | Name::Beside(parent, name) => write!(f, "{parent}.{name}"),
            Name::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Run<'a> {
    base: &'a str,
    errors: Vec<FieldError>,
}

impl Run<'_> {
    /// The field an error is about.
    fn field(&self, name: &str) -> String {
        let name = name.strip_prefix('.').unwrap_or(name);
        match (self.base, name) {
            ("", "") => "<nil>".into(),
            (base, "") => base.into(),
            ("", name) => name.into(),
            (base, name) => Place::Base(base).field(name).to_string(),
        }
    }

    /// Whether no more faults need be looked for. What is being checked has failed then, and so has all that stands
    /// around it, unless it is let through as unchanged or as one of several alternatives: with it goes what was passed
    /// over.
    fn is_full(&self) -> bool {
        self.errors.len() >= MOST
    }

    /// An error that stands at no field.
    fn general(&mut self, text: String) {
        let field = self.field("");
        self.errors.push(FieldError::invalid(field, "", text));
    }

    fn invalid(&mut self, at: &Name<'_>, value: impl Into<Value>, text: &str) {
        let name = at.to_string();
        let error = FieldError::invalid(self.field(&name), value, format!("{name} in body {text}"));
        self.errors.push(error);
    }

    fn wrong_type(&mut self, at: &Name<'_>, wanted: &str, found: &str) {
        let name = at.to_string();
        let error = FieldError::type_invalid(
            self.field(&name),
            found,
            format!(
                "{name} in body must be of type {wanted}: {}",
                go_quote(found)
            ),
        );
        self.errors.push(error);
    }

    /// Check one value; the answer is the number of positive checks.
    fn node(
        &mut self,
        value: &Value,
        schema: &Structural,
        at: &Name<'_>,
        was: Option<Correlated<'_>>,
    ) -> usize {
        let before = self.errors.len();
        let count = self.checked(value, schema, at, was);
        // What was wrong before and is the same now is not this change's fault.
        if self.errors.len() > before && was.is_some_and(|was| was.unchanged()) {
            self.errors.truncate(before);
        }
        count
    }

    fn checked(
        &mut self,
        value: &Value,
        schema: &Structural,
        at: &Name<'_>,
        was: Option<Correlated<'_>>,
    ) -> usize {
        let checks = schema.checks.as_deref();
        let Some(found) = Type::of(value) else {
            return self.null(schema, checks, at);
        };
        let mut count = 0;
        let format = checks.and_then(|checks| checks.format.as_ref());
        if schema.kind.is_some() || schema.int_or_string || format.is_some() {
            count += self.typed(value, found, schema, at) + 1;
        }
        if let Some(checks) = checks {
            count += self.combined(value, checks, at, was);
        }
        count += 2;
        match value {
            Value::String(text) => {
                if let Some(checks) = checks {
                    self.string(text, checks, at);
                    if let Some(format) = format {
                        count += 1;
                        if !format.accepts(text) {
                            self.wrong_type(at, &format.name, text);
                        }
                    }
                }
                count += 1;
            }
            Value::Number(_) => {
                self.number(value, schema, at);
                count += 2;
            }
            Value::Array(list) => {
                if let Some(items) = schema.items.as_deref() {
                    for (index, item) in list.iter().enumerate() {
                        if self.is_full() {
                            break;
                        }
                        let was = was.and_then(|was| was.item(index));
                        count += self.node(item, items, &Name::Index(at, index), was);
                    }
                }
                if let Some(checks) = checks {
                    self.items(list.len(), checks, at);
                }
                count += 2;
            }
            _ => {}
        }
        if let Some(checks) = checks {
            self.values(value, checks, at);
        }
        count += 1;
        if value.is_object() {
            count += self.object(value, schema, at, was) + 1;
        }
        count + 1
    }

    fn null(&mut self, schema: &Structural, checks: Option<&Checks>, at: &Name<'_>) -> usize {
        let mut count = 1;
        if !schema.nullable && (schema.kind.is_some() || schema.int_or_string) {
            self.wrong_type(at, type_names(schema), "null");
            count = 0;
        }
        if let Some(checks) = checks {
            self.values(&Value::Null, checks, at);
        }
        count
    }

    fn typed(&mut self, value: &Value, found: Type, schema: &Structural, at: &Name<'_>) -> usize {
        let wants = |kind: Type| {
            schema.kind == Some(kind)
                || (schema.int_or_string && matches!(kind, Type::Integer | Type::String))
        };
        let whole = found == Type::Number && wants(Type::Integer) && is_whole(value);
        let widened = found == Type::Integer && wants(Type::Number);
        let format = schema
            .checks
            .as_deref()
            .and_then(|checks| checks.format.as_ref());
        let listed = matches!(found, Type::String | Type::Array);
        if let Some(format) = format {
            let native = match found {
                Type::Integer => "int64",
                Type::Number => "float64",
                _ => "",
            };
            let fits = wants(found) || native == format.name.as_ref() || whole || widened;
            if !listed && !fits {
                self.wrong_type(at, &format.name, native);
                return 0;
            }
            if !wants(Type::Number) && !wants(Type::Integer) && listed {
                return 1;
            }
        }
        if wants(found) || whole || widened {
            return 1;
        }
        self.wrong_type(at, type_names(schema), found.name());
        0
    }

    fn combined(
        &mut self,
        value: &Value,
        checks: &Checks,
        at: &Name<'_>,
        was: Option<Correlated<'_>>,
    ) -> usize {
        let mut count = 1;
        if !checks.any_of.is_empty() {
            let (valid, best, matched) = self.alternatives(value, &checks.any_of, at, was, true);
            count += matched;
            if valid == 0 {
                let name = go_quote(&at.to_string());
                self.general(format!("{name} must validate at least one schema (anyOf)"));
                self.errors.extend(best);
            }
        }
        if !checks.one_of.is_empty() {
            let (valid, best, matched) = self.alternatives(value, &checks.one_of, at, was, false);
            count += matched;
            if valid != 1 {
                let name = go_quote(&at.to_string());
                let how = if valid == 0 {
                    "Found none valid".to_owned()
                } else {
                    format!("Found {valid} valid alternatives")
                };
                self.general(format!(
                    "{name} must validate one and only one schema (oneOf). {how}"
                ));
                if valid == 0 {
                    self.errors.extend(best);
                }
            }
        }
        if !checks.all_of.is_empty() {
            let mut valid = 0;
            for schema in &checks.all_of {
                let before = self.errors.len();
                count += self.checked(value, schema, at, was);
                valid += usize::from(self.errors.len() == before);
            }
            if valid != checks.all_of.len() {
                let name = go_quote(&at.to_string());
                let how = if valid == 0 { ". None validated" } else { "" };
                self.general(format!("{name} must validate all the schemas (allOf){how}"));
            }
        }
        if let Some(not) = &checks.not {
            let before = self.errors.len();
            self.checked(value, not, at, was);
            let valid = self.errors.len() == before;
            self.errors.truncate(before);
            if valid {
                let name = go_quote(&at.to_string());
                self.general(format!("{name} must not validate the schema (not)"));
            }
        }
        count
    }

    /// Try alternatives: how many are met, what the best of the others has to say, and the number of
    /// positive checks of whichever counts.
    fn alternatives(
        &mut self,
        value: &Value,
        schemas: &[Structural],
        at: &Name<'_>,
        was: Option<Correlated<'_>>,
        first: bool,
    ) -> (usize, Vec<FieldError>, usize) {
        let mut valid = 0;
        let mut good = 0;
        let mut best: Option<(usize, Vec<FieldError>)> = None;
        for schema in schemas {
            let before = self.errors.len();
            let count = self.checked(value, schema, at, was);
            let errors = self.errors.split_off(before);
            if errors.is_empty() {
                if valid == 0 {
                    good = count;
                }
                valid += 1;
                if first {
                    break;
                }
            } else if valid == 0 && best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, errors));
            }
        }
        if valid > 0 {
            return (valid, Vec::new(), good);
        }
        let (count, errors) = best.unwrap_or_default();
        (0, errors, count)
    }

    fn string(&mut self, text: &str, checks: &Checks, at: &Name<'_>) {
        if checks.max_length.is_some() || checks.min_length.is_some() {
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if let Some(most) = checks.max_length.filter(|most| length > *most) {
                let field = self.field(&at.to_string());
                let most = usize::try_from(most).unwrap_or(0);
                self.errors.push(FieldError::too_long(field, most));
                return;
            }
            if let Some(fewest) = checks.min_length.filter(|fewest| length < *fewest) {
                self.invalid(at, text, &format!("should be at least {fewest} chars long"));
                return;
            }
        }
        if let Some(pattern) = &checks.pattern {
            match pattern.is_match(text) {
                Ok(true) => {}
                Ok(false) => {
                    self.invalid(at, text, &format!("should match '{}'", pattern.text()));
                }
                Err(error) => {
                    let what = format!(
                        "should match '{}, but pattern is invalid: {error}'",
                        pattern.text()
                    );
                    self.invalid(at, text, &what);
                }
            }
        }
    }

    fn number(&mut self, value: &Value, schema: &Structural, at: &Name<'_>) {
        let kind = schema.kind.filter(|_| !schema.int_or_string);
        let checks = schema.checks.as_deref();
        let format = checks.and_then(|checks| checks.format.as_ref());
        let in_range = |number: &Value| match (kind, format.map_or(Range::Any, Format::range)) {
            (Some(Type::Integer), Range::Int32) => {
                whole(number).is_some_and(|number| i32::try_from(number).is_ok())
            }
            (Some(Type::Integer), _) => whole(number).is_some(),
            #[allow(clippy::cast_possible_truncation)] // whether it fits is the question
            (_, Range::Float) => number
                .as_f64()
                .is_some_and(|number| (number as f32).is_finite()),
            _ => true,
        };
        let kind_name = match kind {
            Some(Type::Integer) => "integer",
            Some(Type::Number) => "number",
            _ => "",
        };
        let tell = |run: &mut Self, what: &str| {
            let how = match format {
                Some(format) => format!("of type {kind_name} with format {} in", format.name),
                None => format!("of type {kind_name} (default format) in"),
            };
            run.general(format!("{what} value must be {how} {at}"));
        };
        if !in_range(value) {
            tell(self, "Checked");
        }
        let Some(checks) = checks else {
            return;
        };
        let limit = |number: f64| -> Value {
            if number.fract() == 0.0 && number.abs() < 9e18 {
                #[allow(clippy::cast_possible_truncation)] // checked just above
                Value::from(number as i64)
            } else {
                Value::from(number)
            }
        };
        if let Some(factor) = checks.multiple_of {
            if !in_range(&limit(factor)) {
                tell(self, "MultipleOf");
            }
            if factor <= 0.0 || !multiple(value, factor) {
                let text = if factor <= 0.0 {
                    format!(
                        "factor MultipleOf declared for {at} must be positive: {}",
                        limit(factor)
                    )
                } else {
                    format!("{at} in body should be a multiple of {}", limit(factor))
                };
                let field = self.field(&at.to_string());
                self.errors
                    .push(FieldError::invalid(field, value.clone(), text));
            }
        }
        let (most, fewest) = (checks.maximum, checks.minimum);
        let bounds = [
            (
                most,
                checks.exclusive_maximum,
                "Maximum boundary",
                Ordering::Greater,
                "less than",
            ),
            (
                fewest,
                checks.exclusive_minimum,
                "Minimum boundary",
                Ordering::Less,
                "greater than",
            ),
        ];
        for (bound, exclusive, name, beyond, words) in bounds {
            let Some(bound) = bound else { continue };
            if !in_range(&limit(bound)) {
                tell(self, name);
            }
            let order = compare(value, bound);
            if order == beyond || (exclusive && order.is_eq()) {
                let or_equal = if exclusive { "" } else { " or equal to" };
                let text = format!("should be {words}{or_equal} {}", limit(bound));
                self.invalid(at, value.clone(), &text);
            }
        }
    }

    fn items(&mut self, length: usize, checks: &Checks, at: &Name<'_>) {
        let size = i64::try_from(length).unwrap_or(i64::MAX);
        if let Some(fewest) = checks.min_items.filter(|fewest| size < *fewest) {
            self.invalid(at, size, &format!("should have at least {fewest} items"));
        }
        if let Some(most) = checks.max_items.filter(|most| size > *most) {
            let field = self.field(&at.to_string());
            let most = usize::try_from(most).unwrap_or(0);
            self.errors.push(FieldError::too_many(field, length, most));
        }
    }

    fn values(&mut self, value: &Value, checks: &Checks, at: &Name<'_>) {
        let allowed = &checks.one_of_values;
        if allowed.is_empty() || allowed.iter().any(|one| !one.is_null() && same(one, value)) {
            return;
        }
        let texts: Vec<String> = allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let shown = if value.is_null() {
            Value::from("null")
        } else {
            value.clone()
        };
        let field = self.field(&at.to_string());
        self.errors
            .push(FieldError::not_supported(field, shown, &texts));
    }

    fn object(
        &mut self,
        value: &Value,
        schema: &Structural,
        at: &Name<'_>,
        was: Option<Correlated<'_>>,
    ) -> usize {
        let Some(map) = value.as_object() else {
            return 0;
        };
        let mut count = 0;
        let checks = schema.checks.as_deref();
        if let Some(checks) = checks {
            let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
            if let Some(fewest) = checks.min_properties.filter(|fewest| size < *fewest) {
                let text = format!("should have at least {fewest} properties");
                self.invalid(at, size, &text);
            }
            if let Some(most) = checks.max_properties.filter(|most| size > *most) {
                let field = self.field(&at.to_string());
                let most = usize::try_from(most).unwrap_or(0);
                self.errors
                    .push(FieldError::too_many(field, map.len(), most));
            }
        }
        for (name, member) in map {
            if self.is_full() {
                break;
            }
            if let Some(property) = schema.property(name) {
                // Neither tells of a change: both sides are shown in the same version.
                let fixed = matches!(at, Name::Root) && (name == "kind" || name == "apiVersion");
                let was = was.filter(|_| !fixed).and_then(|was| was.member(name));
                count += self.node(member, property, &Name::Field(at, name), was);
                continue;
            }
            match &schema.additional {
                Additional::Schema(additional) => {
                    let was = was.and_then(|was| was.member(name));
                    count += self.node(member, additional, &Name::Beside(at, name), was);
                }
                Additional::Any(false) => {
                    let text = format!("{at}.{name} in body is a forbidden property");
                    let field = self.field(&at.to_string());
                    self.errors
                        .push(FieldError::invalid(field, name.as_str(), text));
                }
                Additional::Any(true) | Additional::None => {}
            }
        }
        if let Some(checks) = checks {
            for name in &checks.required {
                if !map.contains_key(name) {
                    let field = self.field(&Name::Beside(at, name).to_string());
                    self.errors.push(FieldError::required(field, ""));
                }
            }
        }
        count
    }
}

fn type_names(schema: &Structural) -> &'static str {
    if schema.int_or_string {
        "integer,string"
    } else {
        schema.kind.map_or("", Type::name)
    }
}

fn is_whole(value: &Value) -> bool {
    value
        .as_f64()
        .is_some_and(|number| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_991.0)
}

fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number = value.as_f64().filter(|_| value.is_f64())?;
    #[allow(clippy::cast_possible_truncation)] // whole and in range
    (number.fract() == 0.0 && number.abs() < 9.2e18).then_some(number as i64)
}

fn compare(value: &Value, limit: f64) -> std::cmp::Ordering {
    #[allow(clippy::cast_possible_truncation)] // as upstream compares whole numbers
    if let Some(number) = value.as_i64() {
        return number.cmp(&(limit as i64));
    }
    value
        .as_f64()
        .and_then(|number| number.partial_cmp(&limit))
        .unwrap_or(std::cmp::Ordering::Equal)
}

fn multiple(value: &Value, factor: f64) -> bool {
    #[allow(clippy::cast_possible_truncation)] // checked to be whole
    if let Some(number) = value.as_i64()
        && factor.fract() == 0.0
        && factor >= 1.0
    {
        return number % (factor as i64) == 0;
    }
    let Some(number) = value.as_f64() else {
        return true;
    };
    let times = if factor < 1.0 {
        1.0 / factor * number
    } else {
        number / factor
    };
    (times - times.round()).abs() < 1e-9
}

/// Equal as values: 1 and 1.0 are the same.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // values made at the call
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(schema: Value, object: Value) -> Vec<String> {
        let schema = Structural::parse(&schema).unwrap();
        create(&object, &schema, "")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn field(schema: Value, value: Value) -> Vec<String> {
        errors(
            json!({"type": "object", "properties": {"x": schema}}),
            json!({"x": value}),
        )
    }

    #[test]
    fn of_a_million_faults_the_first_are_looked_for() {
        let props = json!({"type": "object", "properties": {
            "any": {"type": "array", "items": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}, "not": {"items": {"maxLength": 1}}}}});
        let schema = Structural::parse(&props).unwrap();
        let object = json!({"any": vec![1; 1_000_000], "list": ["ab"]});
        assert_eq!(create(&object, &schema, "").len(), MOST);
        // What was so before is let through as ever, with all that was passed over.
        assert_eq!(update(&object, &object, &schema, "").len(), 0);
        let mut changed = object.clone();
        changed["list"] = json!(["a"]);
        assert_eq!(update(&changed, &object, &schema, "").len(), 1);
    }

    #[test]
    fn faults_are_told_in_upstreams_words() {
        for (schema, value, want) in [
            (
                json!({"type": "integer"}),
                json!("a"),
                r#"x: Invalid value: "string": x in body must be of type integer: "string""#,
            ),
            (
                json!({"type": "integer"}),
                json!(null),
                r#"x: Invalid value: "null": x in body must be of type integer: "null""#,
            ),
            (
                json!({"type": "integer", "maximum": 3, "exclusiveMaximum": true}),
                json!(3),
                "x: Invalid value: 3: x in body should be less than 3",
            ),
            (
                json!({"type": "number", "minimum": 0.5}),
                json!(0.25),
                "x: Invalid value: 0.25: x in body should be greater than or equal to 0.5",
            ),
            (
                json!({"type": "integer", "multipleOf": 5}),
                json!(3),
                "x: Invalid value: 3: x in body should be a multiple of 5",
            ),
            (
                json!({"type": "string", "maxLength": 2}),
                json!("abc"),
                "x: Too long: may not be more than 2 bytes",
            ),
            (
                json!({"type": "string", "minLength": 2}),
                json!("a"),
                r#"x: Invalid value: "a": x in body should be at least 2 chars long"#,
            ),
            (
                json!({"type": "string", "pattern": "^a+$"}),
                json!("b"),
                r#"x: Invalid value: "b": x in body should match '^a+$'"#,
            ),
            (
                json!({"type": "string", "enum": ["a", "b"]}),
                json!("c"),
                r#"x: Unsupported value: "c": supported values: "a", "b""#,
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("c"),
                r#"x: Invalid value: "c": x in body must be of type date-time: "c""#,
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
                json!(["a", "b"]),
                "x: Too many: 2: must have at most 1 item",
            ),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                json!(["a", 1]),
                r#"x[1]: Invalid value: "integer": x[1] in body must be of type string: "integer""#,
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "minItems": 2}),
                json!(["a"]),
                "x: Invalid value: 1: x in body should have at least 2 items",
            ),
            (
                json!({"type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]}),
                json!({}),
                "x.y: Required value",
            ),
            (
                json!({"type": "object", "minProperties": 1}),
                json!({}),
                "x: Invalid value: 0: x in body should have at least 1 properties",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                json!({"k": 1}),
                r#"x.k: Invalid value: "integer": x.k in body must be of type string: "integer""#,
            ),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(true),
                r#"x: Invalid value: "boolean": x in body must be of type integer,string: "boolean""#,
            ),
            (
                json!({"type": "integer", "format": "int32"}),
                json!(2_147_483_648_i64),
                r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in x"#,
            ),
            (
                json!({"type": "object", "not": {"required": ["a"]}, "properties": {"a": {"type": "string"}}}),
                json!({"a": "b"}),
                r#"<nil>: Invalid value: "": "x" must not validate the schema (not)"#,
            ),
        ] {
            assert_eq!(field(schema.clone(), value), [want], "{schema}");
        }
        for (schema, value) in [
            (json!({"type": "integer"}), json!(1.0)),
            (json!({"type": "number"}), json!(1)),
            (json!({"type": "string", "nullable": true}), json!(null)),
            (json!({"x-kubernetes-int-or-string": true}), json!("a")),
            (
                json!({"x-kubernetes-preserve-unknown-fields": true}),
                json!([1, {}]),
            ),
            (
                json!({"type": "string", "format": "unheard-of"}),
                json!("a"),
            ),
        ] {
            assert_eq!(field(schema.clone(), value), [""; 0], "{schema}");
        }
    }

    #[test]
    fn the_best_of_several_alternatives_speaks() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert_eq!(
            field(schema.clone(), json!({})),
            [
                r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found none valid"#,
                "x.a: Required value"
            ]
        );
        assert_eq!(
            field(schema.clone(), json!({"a": 1, "b": "c"})),
            [
                r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
            ]
        );
        assert_eq!(field(schema, json!({"a": 1})), [""; 0]);
    }

    #[test]
    fn what_was_wrong_before_and_is_unchanged_is_let_through() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "a": {"type": "string", "maxLength": 1},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        }, "required": ["b"]}))
        .unwrap();
        let old = json!({"a": "long", "list": [{"k": "x", "v": 5}, {"k": "y", "v": 1}]});
        let new = json!({"a": "long", "list": [{"k": "y", "v": 7}, {"k": "x", "v": 5}]});
        let errors: Vec<String> = update(&new, &old, &schema, "")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "list[0].v: Invalid value: 7: list[0].v in body should be less than or equal to 1",
                "b: Required value"
            ]
        );
        assert!(update(&old, &old, &schema, "").is_empty());
    }
}
