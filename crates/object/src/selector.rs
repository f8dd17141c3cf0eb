//! Label and field selectors: the grammar of `?labelSelector=` and `?fieldSelector=`, and the JSON
//! form with `matchLabels` and `matchExpressions`. Meaning and wording follow upstream's `labels`
//! and `fields` packages.

use std::fmt;

use serde_json::{Map, Value};

use crate::head_view::Selectable;
use crate::names;

/// A conjunction of requirements on labels; with none it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    /// Key of the label.
    pub key: String,
    /// What must hold for its value.
    pub condition: Condition,
}

/// What must hold for the value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The label is there and its value is one of these (`=`, `==`, `in`).
    In(Vec<String>),
    /// The label is absent or its value is none of these (`!=`, `notin`).
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is there and an integer above this.
    GreaterThan(i64),
    /// The label is there and an integer below this.
    LessThan(i64),
}

impl LabelSelector {
    /// Parses the text form, e.g. `app=web,tier in (front, back),!canary`. Blanks between tokens do
    /// not count; the empty text selects everything.
    ///
    /// # Errors
    ///
    /// What was found, where, and what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, rest: text };
        parser.selector().map_err(|(message, rest)| Error::Label {
            selector: text.to_owned(),
            at: text.len() - rest,
            message,
        })
    }

    /// Reads the JSON form: `{"matchLabels": {..}, "matchExpressions": [{key, operator, values}]}`.
    /// `{}` selects everything; what an absent selector means is the caller's to decide.
    ///
    /// # Errors
    ///
    /// The field at fault and why.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        let map = expect_object(value, "")?;
        let mut requirements = Vec::new();
        if let Some(labels) = present(map, "matchLabels") {
            for (key, value) in expect_object(labels, "matchLabels")? {
                let value = value
                    .as_str()
                    .ok_or_else(|| invalid(format!("matchLabels[{key}]"), "must be a string"))?;
                let path = || format!("matchLabels[{key}]");
                check_key(key, path)?;
                check_value(value, path)?;
                requirements.push(LabelRequirement {
                    key: key.clone(),
                    condition: Condition::In(vec![value.to_owned()]),
                });
            }
        }
        if let Some(expressions) = present(map, "matchExpressions") {
            let expressions = expressions
                .as_array()
                .ok_or_else(|| invalid("matchExpressions".to_owned(), "must be an array"))?;
            for (at, expression) in expressions.iter().enumerate() {
                requirements.push(expression_requirement(at, expression)?);
            }
        }
        Ok(Self::from_requirements(requirements))
    }

    /// A selector of these requirements.
    pub fn from_requirements(mut requirements: Vec<LabelRequirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements }
    }

    /// Selects objects that have all of these labels with these values.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let requirement = |(key, value): (&str, &str)| LabelRequirement {
            key: key.to_owned(),
            condition: Condition::In(vec![value.to_owned()]),
        };
        Self::from_requirements(labels.into_iter().map(requirement).collect())
    }

    /// Whether an object is selected.
    pub fn matches(&self, head: &(impl Selectable + ?Sized)) -> bool {
        self.matches_labels(|key| head.label(key))
    }

    /// Whether labels given by a look-up are selected.
    pub fn matches_labels<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|r| r.condition.holds(label(&r.key)))
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }
}

impl Condition {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|v| values.iter().any(|have| have == v)),
            Self::NotIn(values) => value.is_none_or(|v| values.iter().all(|have| have != v)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number().is_some_and(|n| n > *bound),
            Self::LessThan(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

/// The text form; parsing it gives the same selector.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, LabelRequirement { key, condition }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Condition::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Condition::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Condition::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Condition::Exists => f.write_str(key)?,
                Condition::DoesNotExist => write!(f, "!{key}")?,
                Condition::GreaterThan(bound) => write!(f, "{key}>{bound}")?,
                Condition::LessThan(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

/// A conjunction of requirements on fields; with none it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// One requirement on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path of the field, e.g. `spec.nodeName`.
    pub field: String,
    /// The value it is compared with.
    pub value: String,
    /// Whether it must be equal (`=`, `==`) or must not be (`!=`).
    pub equal: bool,
}

impl FieldSelector {
    /// Parses the text form, e.g. `spec.nodeName=n1,status.phase!=Running`. In values a backslash
    /// escapes `\`, `,` and `=`. Which fields a kind supports is for the caller to check.
    ///
    /// # Errors
    ///
    /// The term that was not understood.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let (field, equal, value) = split_term(term).ok_or_else(|| Error::Field {
                selector: text.to_owned(),
                term: term.to_owned(),
            })?;
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value: unescape(value)?,
                equal,
            });
        }
        Ok(Self { requirements })
    }

    /// Whether an object is selected. A field the object does not have counts as empty.
    pub fn matches(&self, head: &(impl Selectable + ?Sized)) -> bool {
        self.requirements
            .iter()
            .all(|r| (head.field(&r.field).unwrap_or_default() == r.value) == r.equal)
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, in the order of the text.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The value the field must equal, if the selector demands one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.equal && r.field == field)
            .map(|r| r.value.as_str())
    }
}

/// The text form, escapes included.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, r) in self.requirements.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let operator = if r.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}", r.field)?;
            for c in r.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Why a selector was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A label selector's text breaks the grammar.
    #[error("{message}")]
    Label {
        /// The whole text.
        selector: String,
        /// Offset of the place in it, in bytes.
        at: usize,
        /// What was found and expected, as upstream words it.
        message: String,
    },
    /// A field selector's text has a term without an operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Field {
        /// The whole text.
        selector: String,
        /// The term at fault.
        term: String,
    },
    /// A value in a field selector has a backslash before something that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A value in a field selector has a bare `,` or `=`.
    #[error("invalid field selector: unescaped character in value: {0:?}")]
    Unescaped(char),
    /// The JSON form has a wrong field.
    #[error("{field}: {message}")]
    Json {
        /// Path of the field within the selector.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    End,
    Comma,
    Open,
    Close,
    Not,
    Equal,
    NotEqual,
    Greater,
    Less,
    /// A run of symbols that is no operator.
    Unknown(&'a str),
    Word(&'a str),
}

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// A message, and how much of the text was left where it applies.
type Fault = (String, usize);

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// The next token and its text, without using it up.
    fn peek(&mut self) -> (Token<'a>, &'a str) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let special = |c: char| "=!(),><".contains(c);
        let Some(first) = self.rest.chars().next() else {
            return (Token::End, "");
        };
        if !special(first) {
            let end = self
                .rest
                .find(|c: char| special(c) || " \t\r\n".contains(c))
                .unwrap_or(self.rest.len());
            let word = &self.rest[..end];
            return (Token::Word(word), word);
        }
        for (text, token) in [
            ("==", Token::Equal),
            ("!=", Token::NotEqual),
            ("=", Token::Equal),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            (">", Token::Greater),
            ("<", Token::Less),
        ] {
            if self.rest.starts_with(text) {
                return (token, &self.rest[..text.len()]);
            }
        }
        (Token::Unknown(self.rest), self.rest)
    }

    fn next(&mut self) -> (Token<'a>, &'a str) {
        let (token, text) = self.peek();
        self.rest = &self.rest[text.len()..];
        (token, text)
    }

    fn fault<T>(&self, message: String, back: usize) -> Result<T, Fault> {
        let left = (self.rest.len() + back).min(self.text.len());
        Err((message, left))
    }

    fn selector(&mut self) -> Result<LabelSelector, Fault> {
        let mut requirements = Vec::new();
        if self.peek().0 == Token::End {
            return Ok(LabelSelector::default());
        }
        loop {
            let (token, text) = self.peek();
            if !matches!(token, Token::Word(_) | Token::Not) {
                let message = if requirements.is_empty() {
                    format!("found '{text}', expected: !, identifier, or 'end of string'")
                } else {
                    format!("found '{text}', expected: identifier after ','")
                };
                return self.fault(message, 0);
            }
            let requirement = self
                .requirement()
                .map_err(|(m, left)| (format!("unable to parse requirement: {m}"), left))?;
            requirements.push(requirement);
            match self.next() {
                (Token::End, _) => return Ok(LabelSelector::from_requirements(requirements)),
                (Token::Comma, _) => {}
                (_, text) => {
                    let message = format!("found '{text}', expected: ',' or 'end of string'");
                    return self.fault(message, text.len());
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<LabelRequirement, Fault> {
        let (mut token, mut text) = self.next();
        let absent = token == Token::Not;
        if absent {
            (token, text) = self.next();
        }
        let Token::Word(key) = token else {
            return self.fault(format!("found '{text}', expected: identifier"), text.len());
        };
        if let Err(message) = names::label_key(key) {
            return self.fault(format!("Invalid value: {key:?}: {message}"), key.len());
        }
        let condition = if absent {
            if !matches!(self.peek().0, Token::End | Token::Comma) {
                // Upstream lets the operator win over the `!`; it has no meaning here.
                let text = self.peek().1;
                let message = format!("found '{text}', expected: ',' or 'end of string'");
                return self.fault(message, 0);
            }
            Condition::DoesNotExist
        } else if matches!(self.peek().0, Token::End | Token::Comma) {
            Condition::Exists
        } else {
            self.condition(key)?
        };
        Ok(LabelRequirement {
            key: key.to_owned(),
            condition,
        })
    }

    fn condition(&mut self, key: &str) -> Result<Condition, Fault> {
        let (token, text) = self.next();
        match token {
            Token::Word("in") => Ok(Condition::In(self.values(key)?)),
            Token::Word("notin") => Ok(Condition::NotIn(self.values(key)?)),
            Token::Equal => Ok(Condition::In(vec![self.exact_value(key)?])),
            Token::NotEqual => Ok(Condition::NotIn(vec![self.exact_value(key)?])),
            Token::Greater => Ok(Condition::GreaterThan(self.number(key)?)),
            Token::Less => Ok(Condition::LessThan(self.number(key)?)),
            _ => self.fault(format!("found '{text}', expected: {OPERATORS}"), text.len()),
        }
    }

    fn exact_value(&mut self, key: &str) -> Result<String, Fault> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            (Token::Word(value), _) => self.checked(key, value),
            (_, text) => self.fault(format!("found '{text}', expected: identifier"), text.len()),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, Fault> {
        let value = self.exact_value(key)?;
        value.parse().or_else(|_| {
            let message = format!(
                "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be \
                 an integer"
            );
            self.fault(message, value.len())
        })
    }

    /// `(a, b)`; a missing element is the empty value, as in `()` and `(a,,b)`.
    fn values(&mut self, key: &str) -> Result<Vec<String>, Fault> {
        let (token, text) = self.next();
        if token != Token::Open {
            return self.fault(format!("found '{text}' expected: '('"), text.len());
        }
        let mut values = Vec::new();
        let mut pending = true;
        loop {
            match self.next() {
                (Token::Word(value), text) => {
                    if !pending {
                        let message = format!("found '{text}', expected: ',' or ')'");
                        return self.fault(message, text.len());
                    }
                    values.push(self.checked(key, value)?);
                    pending = false;
                }
                (Token::Comma, _) => {
                    if pending {
                        values.push(String::new());
                    }
                    pending = true;
                }
                (Token::Close, _) => {
                    if pending {
                        values.push(String::new());
                    }
                    values.sort_unstable();
                    values.dedup();
                    return Ok(values);
                }
                (_, text) => {
                    let message = if pending {
                        format!("found '{text}', expected: ',', ')' or identifier")
                    } else {
                        format!("found '{text}', expected: ',' or ')'")
                    };
                    return self.fault(message, text.len());
                }
            }
        }
    }

    fn checked(&self, key: &str, value: &str) -> Result<String, Fault> {
        match names::label_value(value) {
            Ok(()) => Ok(value.to_owned()),
            Err(message) => {
                let message = format!("values[0][{key}]: Invalid value: {value:?}: {message}");
                self.fault(message, value.len())
            }
        }
    }
}

fn expression_requirement(at: usize, value: &Value) -> Result<LabelRequirement, Error> {
    let path = format!("matchExpressions[{at}]");
    let map = expect_object(value, &path)?;
    let text = |key: &str| {
        present(map, key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let key = text("key");
    check_key(key, || format!("{path}.key"))?;
    let mut values = Vec::new();
    if let Some(list) = present(map, "values") {
        let list = list
            .as_array()
            .ok_or_else(|| invalid(format!("{path}.values"), "must be an array"))?;
        for (index, value) in list.iter().enumerate() {
            let field = || format!("{path}.values[{index}]");
            let value = value
                .as_str()
                .ok_or_else(|| invalid(field(), "must be a string"))?;
            check_value(value, field)?;
            values.push(value.to_owned());
        }
    }
    let operator = text("operator");
    let condition = match (operator, values.is_empty()) {
        ("In", false) => Condition::In(values),
        ("NotIn", false) => Condition::NotIn(values),
        ("In" | "NotIn", true) => {
            return Err(invalid(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ));
        }
        ("Exists", true) => Condition::Exists,
        ("DoesNotExist", true) => Condition::DoesNotExist,
        ("Exists" | "DoesNotExist", false) => {
            return Err(invalid(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ));
        }
        _ => {
            return Err(invalid(
                format!("{path}.operator"),
                &format!("{operator:?} is not a valid label selector operator"),
            ));
        }
    };
    Ok(LabelRequirement {
        key: key.to_owned(),
        condition,
    })
}

fn present<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

fn expect_object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>, Error> {
    value
        .as_object()
        .ok_or_else(|| invalid(field.to_owned(), "must be an object"))
}

fn check_key(key: &str, field: impl FnOnce() -> String) -> Result<(), Error> {
    names::label_key(key).map_err(|message| Error::Json {
        field: field(),
        message: format!("Invalid value: {key:?}: {message}"),
    })
}

fn check_value(value: &str, field: impl FnOnce() -> String) -> Result<(), Error> {
    names::label_value(value).map_err(|message| Error::Json {
        field: field(),
        message: format!("Invalid value: {value:?}: {message}"),
    })
}

fn invalid(field: String, message: &str) -> Error {
    Error::Json {
        field,
        message: message.to_owned(),
    }
}

/// Terms between commas; an escaped comma does not separate.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Field, whether equality is asked for, and the value, split at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term
        .char_indices()
        .find(|(at, c)| *c == '=' || term[*at..].starts_with("!="))?
        .0;
    let (field, rest) = term.split_at(at);
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(operator) {
            return Some((field, equal, value));
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let mut sequence = String::from("\\");
                    sequence.extend(other);
                    return Err(Error::Escape(sequence));
                }
            },
            ',' | '=' => return Err(Error::Unescaped(c)),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::Head;

    fn head(labels: &[(&str, &str)]) -> Head {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        labels.sort();
        Head {
            name: "web".into(),
            labels,
            fields: vec![("spec.nodeName".into(), "n,1".into())],
            ..Head::default()
        }
    }

    #[test]
    fn every_operator_selects_as_upstream_does() {
        let web = head(&[
            ("app", "web"),
            ("tier", "front"),
            ("weight", "7"),
            ("blank", ""),
        ]);
        for (selector, selected) in [
            ("", true),
            ("  ", true),
            ("app", true),
            ("!app", false),
            ("!nope", true),
            ("! nope", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , tier=front ", true),
            ("app!=web", false),
            ("nope!=web", true),
            ("app in (web,db)", true),
            ("app in(db)", false),
            ("app notin (db, cache)", true),
            ("nope notin (db)", true),
            ("nope in (db)", false),
            ("blank=", true),
            ("blank in ()", true),
            ("blank=,app=web", true),
            ("app in (,)", false),
            ("app in (in,notin,web)", true),
            ("weight>6", true),
            ("weight < 7", false),
            ("app>1", false),
            ("app=web,tier=back", false),
            ("in=web", false),
            ("in", false),
        ] {
            let parsed =
                LabelSelector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
            assert_eq!(parsed.matches(&web), selected, "{selector}");
            assert_eq!(
                LabelSelector::parse(&parsed.to_string()).unwrap(),
                parsed,
                "{selector}"
            );
        }
    }

    #[test]
    fn broken_selectors_say_what_was_expected_and_where() {
        for (selector, at, message) in [
            (
                ",",
                0,
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            ("a,", 2, "found '', expected: identifier after ','"),
            (
                "a b",
                2,
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "a in b",
                5,
                "unable to parse requirement: found 'b' expected: '('",
            ),
            (
                "a in (b",
                7,
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("a=b c", 4, "found 'c', expected: ',' or 'end of string'"),
            (
                "!",
                1,
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "a==(",
                3,
                "unable to parse requirement: found '(', expected: identifier",
            ),
        ] {
            match LabelSelector::parse(selector) {
                Err(Error::Label {
                    at: found,
                    message: text,
                    ..
                }) => {
                    assert_eq!((found, text.as_str()), (at, message), "{selector}");
                }
                other => panic!("{selector}: {other:?}"),
            }
        }
        let error = LabelSelector::parse("a=-b").unwrap_err().to_string();
        assert!(
            error.contains("a valid label must be an empty string or consist of"),
            "{error}"
        );
        let error = LabelSelector::parse("a//b=c").unwrap_err().to_string();
        assert!(error.contains("Invalid value: \"a//b\""), "{error}");
    }

    #[test]
    fn the_json_form_means_the_same() {
        let selector = LabelSelector::from_json(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "canary", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,!canary,tier in (front,back)");
        assert!(selector.matches(&head(&[("app", "web"), ("tier", "back")])));
        assert!(LabelSelector::from_json(&json!({})).unwrap().is_empty());
        let error = LabelSelector::from_json(
            &json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "matchExpressions[0].values: must be specified when `operator` is 'In' or 'NotIn'"
        );
    }

    #[test]
    fn field_selectors_understand_escapes() {
        let web = head(&[]);
        for (selector, selected) in [
            ("", true),
            ("metadata.name=web", true),
            ("metadata.name==web,", true),
            ("metadata.name!=web", false),
            ("spec.nodeName=n\\,1", true),
            ("metadata.name=web,spec.nodeName!=n\\,1", false),
            ("status.phase=", true),
            ("status.phase!=Running", true),
        ] {
            let parsed = FieldSelector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&web), selected, "{selector}");
            assert_eq!(FieldSelector::parse(&parsed.to_string()).unwrap(), parsed);
        }
        let exact = FieldSelector::parse("a!=1,a=2").unwrap();
        assert_eq!(exact.exact("a"), Some("2"));
        for (selector, message) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            (
                "a=b=c",
                "invalid field selector: unescaped character in value: '='",
            ),
            (
                "a=\\b",
                "invalid field selector: invalid escape sequence: \\b",
            ),
            (
                "a=\\",
                "invalid field selector: invalid escape sequence: \\",
            ),
        ] {
            assert_eq!(
                FieldSelector::parse(selector).unwrap_err().to_string(),
                message
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_at_a_place_inside_it(text in "[a-b=!(), <>in\\\\.é-]{0,24}") {
            if let Err(Error::Label { at, .. }) = LabelSelector::parse(&text) {
                prop_assert!(at <= text.len());
            }
            if let Ok(parsed) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&parsed.to_string()).unwrap(), parsed);
            }
            if let Ok(parsed) = FieldSelector::parse(&text) {
                prop_assert_eq!(FieldSelector::parse(&parsed.to_string()).unwrap(), parsed);
            }
        }
    }
}
