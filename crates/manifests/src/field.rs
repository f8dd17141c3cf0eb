//! Names of fields within an object: `spec.template.spec.containers[name=web].env[0].value`.

use consort_plan::Pointer;
use serde_json::{Map, Value};

/// One step down.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// The member of a mapping.
    Member(String),
    /// The item of a list at a place.
    Item(usize),
    /// The item of a list that has a member of this text.
    With(String, String),
}

/// The name of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    text: String,
    steps: Vec<Step>,
}

impl Field {
    /// Reads a name: members by dots, in brackets the place of an item (`[0]`), what it has (`[name=web]`), or a
    /// member whose name has dots (`[kubernetes.io/hostname]`, `["a.b"]`). `\.` is a dot within a name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} is no field: {what}");
        let mut steps = Vec::new();
        let mut name = String::new();
        let mut rest = text.chars();
        // A JSONPath of kubectl's looks almost the same.
        let start = text.strip_prefix("$.").or(text.strip_prefix('.'));
        if let Some(start) = start {
            rest = start.chars();
        }
        let mut after_bracket = false;
        loop {
            let next = rest.next();
            match next {
                Some('\\') => match rest.next() {
                    Some(c) => name.push(c),
                    None => return Err(wrong("it ends with a backslash")),
                },
                None | Some('.' | '[') => {
                    if name.is_empty() {
                        if !(after_bracket || steps.is_empty() && next == Some('[')) {
                            return Err(wrong("a name is missing"));
                        }
                    } else {
                        steps.push(Step::Member(std::mem::take(&mut name)));
                    }
                    after_bracket = false;
                    match next {
                        None => break,
                        Some('[') => {
                            steps.push(bracket(&mut rest).map_err(|what| wrong(&what))?);
                            after_bracket = true;
                        }
                        Some(_) => {
                            // `a.[b]` is as good as `a[b]`.
                            if let Some(within) = rest.as_str().strip_prefix('[') {
                                rest = within.chars();
                                steps.push(bracket(&mut rest).map_err(|what| wrong(&what))?);
                                after_bracket = true;
                            } else if rest.as_str().is_empty() {
                                return Err(wrong("it ends with a dot"));
                            }
                        }
                    }
                }
                Some(c) => {
                    if after_bracket {
                        return Err(wrong("a dot is missing after a bracket"));
                    }
                    name.push(c);
                }
            }
        }
        if steps.is_empty() {
            return Err(wrong("it is empty"));
        }
        Ok(Field {
            text: text.to_owned(),
            steps,
        })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the member it begins with.
    pub(crate) fn first(&self) -> &str {
        match self.steps.first() {
            Some(Step::Member(name)) => name,
            _ => "",
        }
    }

    /// The name of the member it ends with, if it is the second and last: the entry of `data.KEY`.
    pub(crate) fn second_of_two(&self) -> Option<&str> {
        match self.steps.as_slice() {
            [_, Step::Member(name)] => Some(name),
            _ => None,
        }
    }

    /// The place of the field in an object, if it is there.
    pub(crate) fn find<'a>(&self, object: &'a Value) -> Option<(Pointer, &'a Value)> {
        let mut at = String::new();
        let mut value = object;
        for step in &self.steps {
            let (name, next) = down(value, step)?;
            at = consort_plan::below(&at, &name);
            value = next;
        }
        Some((at, value))
    }

    /// The place of the field in an object; missing mappings on the way to it are made. The value there is null if it
    /// was missing.
    pub(crate) fn make<'a>(
        &self,
        object: &'a mut Value,
    ) -> Result<(Pointer, &'a mut Value), String> {
        let mut at = String::new();
        let mut value = object;
        let mut told = String::new();
        for step in &self.steps {
            if let Step::Member(name) = step {
                if value.is_null() {
                    *value = Value::Object(Map::new());
                }
                let Value::Object(object) = value else {
                    return Err(format!("{told} is no mapping"));
                };
                at = consort_plan::below(&at, name);
                told = if told.is_empty() {
                    name.clone()
                } else {
                    format!("{told}.{name}")
                };
                value = object.entry(name.clone()).or_insert(Value::Null);
                continue;
            }
            let Some((name, _)) = down(value, step) else {
                return Err(match step {
                    Step::With(key, wanted) => {
                        format!("{told} has no item whose {key} is {wanted:?}")
                    }
                    Step::Item(index) => format!("{told} has no item {index}"),
                    Step::Member(name) => format!("{told} has no {name}"),
                });
            };
            at = consort_plan::below(&at, &name);
            told = format!("{told}[{name}]");
            value = match value {
                Value::Array(items) => {
                    match name.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                        Some(item) => item,
                        None => return Err(format!("{told} is not there")),
                    }
                }
                Value::Object(object) => object.entry(name).or_insert(Value::Null),
                _ => return Err(format!("{told} is not there")),
            };
        }
        Ok((at, value))
    }
}

fn down<'a>(value: &'a Value, step: &Step) -> Option<(String, &'a Value)> {
    match step {
        Step::Member(name) => Some((name.clone(), value.get(name)?)),
        Step::Item(index) => match value {
            Value::Array(items) => Some((index.to_string(), items.get(*index)?)),
            // A mapping may have numbers for keys: `data[8080]`.
            _ => Some((index.to_string(), value.get(index.to_string())?)),
        },
        Step::With(key, wanted) => value
            .as_array()?
            .iter()
            .enumerate()
            .find(|(_, item)| match item.get(key) {
                Some(Value::String(text)) => text == wanted,
                Some(other) => serde_json::to_string(other).is_ok_and(|own| own == *wanted),
                None => false,
            })
            .map(|(at, item)| (at.to_string(), item)),
    }
}

/// What stands in brackets; the opening one is taken already.
fn bracket(rest: &mut std::str::Chars<'_>) -> Result<Step, String> {
    let text = rest.as_str();
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        let within = &text[1..];
        let Some(end) = within.find(quote) else {
            return Err("a quote is not closed".to_owned());
        };
        let Some(after) = within[end + 1..].strip_prefix(']') else {
            return Err("a bracket is not closed".to_owned());
        };
        *rest = after.chars();
        return Ok(Step::Member(within[..end].to_owned()));
    }
    let Some(end) = text.find(']') else {
        return Err("a bracket is not closed".to_owned());
    };
    let within = &text[..end];
    *rest = text[end + 1..].chars();
    if within.is_empty() {
        return Err("empty brackets".to_owned());
    }
    if let Ok(index) = within.parse() {
        return Ok(Step::Item(index));
    }
    Ok(match within.split_once('=') {
        Some((key, wanted)) => {
            Step::With(key.to_owned(), wanted.trim_matches(['"', '\'']).to_owned())
        }
        None => Step::Member(within.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_found_by_names_places_and_what_items_have() {
        let object = json!({"spec": {"containers": [{"name": "a"}, {"name": "web", "ports": [{"containerPort": 80}]}],
            "nodeSelector": {"kubernetes.io/hostname": "n1"}}, "data": {"app.conf": "x"}});
        let found = |text: &str| Field::parse(text).unwrap().find(&object).map(|(at, _)| at);
        assert_eq!(
            found("spec.containers[name=web].ports[containerPort=80]").as_deref(),
            Some("/spec/containers/1/ports/0")
        );
        assert_eq!(
            found("spec.nodeSelector[kubernetes.io/hostname]").as_deref(),
            Some("/spec/nodeSelector/kubernetes.io~1hostname")
        );
        for text in [
            "data[\"app.conf\"]",
            "data.[app.conf]",
            "data.app\\.conf",
            ".data['app.conf']",
        ] {
            assert_eq!(found(text).as_deref(), Some("/data/app.conf"), "{text}");
        }
        assert_eq!(found("spec.containers[2]"), None);
        for wrong in ["", "a..b", "a[", "a[]", "a.", "[0]x", "a[\"b]"] {
            assert!(Field::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_member_is_made_and_a_missing_item_is_told() {
        let mut object = json!({"spec": {"env": [{"name": "A"}]}});
        let field = Field::parse("spec.env[name=A].value").unwrap();
        *field.make(&mut object).unwrap().1 = json!("x");
        assert_eq!(
            object,
            json!({"spec": {"env": [{"name": "A", "value": "x"}]}})
        );
        let error = Field::parse("spec.env[name=B].value")
            .unwrap()
            .make(&mut object)
            .unwrap_err();
        assert_eq!(error, "spec.env has no item whose name is \"B\"");
    }
}
