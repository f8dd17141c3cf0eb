//! Running the rules over an object that is written.

use super::{MESSAGE_BYTES, Node, Rule};
use consort_cel::{Bindings, Budget, EvalError, Value as CelValue};
use consort_object::structural::{Correlated, Place};
use consort_object::{FieldError, FieldErrorKind};
use serde_json::Value;

/// What a part was before, to tell whether it changed.
#[derive(Clone, Copy)]
pub(super) struct Was<'a> {
    pub(super) current: Option<Correlated<'a>>,
    pub(super) parent: Option<Correlated<'a>>,
}

impl Was<'_> {
    fn unchanged(self) -> bool {
        match (self.current, self.parent) {
            (Some(current), _) => current.unchanged(),
            (None, Some(parent)) => parent.unchanged(),
            (None, None) => false,
        }
    }

    fn member(self, name: &str) -> Self {
        let Some(current) = self.current else {
            return self;
        };
        if self.parent.is_none() && (name == "apiVersion" || name == "kind") {
            return Self {
                current: None,
                parent: None,
            };
        }
        Self {
            current: current.member(name),
            parent: Some(current),
        }
    }

    fn item(self, index: usize) -> Self {
        let Some(current) = self.current else {
            return self;
        };
        Self {
            current: current.item(index),
            parent: Some(current),
        }
    }
}

pub(super) struct Run {
    pub(super) budget: Budget,
    pub(super) errors: Vec<FieldError>,
}

/// The field of an error.
fn field(place: &Place<'_>) -> String {
    let text = place.to_string();
    if text.is_empty() {
        "<nil>".into()
    } else {
        text
    }
}

impl Run {
    /// Run the rules at a place and below; `false`: the budget is spent.
    pub(super) fn node<'a>(
        &mut self,
        node: &'a Node,
        place: &Place<'_>,
        new: &'a Value,
        old: Option<&'a Value>,
        was: Was<'a>,
    ) -> bool {
        if new.is_null() {
            return true;
        }
        if !self.rules(node, place, new, old, was) {
            return false;
        }
        match new {
            Value::Array(items) => {
                let Some(below) = &node.items else {
                    return true;
                };
                let before = node.keys.as_ref().and(old).and_then(Value::as_array);
                for (index, item) in items.iter().enumerate() {
                    let old = before.zip(node.keys.as_ref()).and_then(|(list, keys)| {
                        list.iter().find(|old| {
                            keys.iter()
                                .all(|key| old.get(key.as_str()) == item.get(key.as_str()))
                        })
                    });
                    let was = was.item(index);
                    if !self.node(below, &place.index(index), item, old, was) {
                        return false;
                    }
                }
            }
            Value::Object(map) => {
                let before = old.filter(|_| node.correlates).and_then(Value::as_object);
                for (name, member) in map {
                    let old = before.and_then(|map| map.get(name));
                    let was = was.member(name);
                    if let Some(below) = &node.additional
                        && !self.node(below, &place.key(name), member, old, was)
                    {
                        return false;
                    }
                    let named = node.properties.iter().find(|(own, _)| own == name);
                    if let Some((_, below)) = named
                        && !self.node(below, &place.field(name), member, old, was)
                    {
                        return false;
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn rules<'a>(
        &mut self,
        node: &'a Node,
        place: &Place<'_>,
        new: &'a Value,
        old: Option<&'a Value>,
        was: Was<'a>,
    ) -> bool {
        let Some(decl) = &node.decl else {
            return true;
        };
        if node.rules.is_empty() {
            return true;
        }
        let old = old.filter(|old| !old.is_null());
        let wrong = |errors: &mut Vec<FieldError>, detail: String| {
            errors.push(FieldError::invalid(field(place), node.kind, detail));
        };
        for rule in &node.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    wrong(&mut self.errors, format!("rule compile error: {why}"));
                    continue;
                }
            };
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            let before = old.map(|old| CelValue::typed(old, decl));
            let before = if rule.optional_old {
                Some(CelValue::optional(before))
            } else {
                before
            };
            let mut bindings = Bindings::new().with("self", CelValue::typed(new, decl));
            if let Some(before) = before {
                bindings = bindings.with("oldSelf", before);
            }
            match program.evaluate(&bindings, &mut self.budget) {
                Ok(value) if value.as_bool() == Some(true) => continue,
                Ok(_) => {}
                Err(error @ EvalError::Budget) => {
                    wrong(&mut self.errors, error.to_string());
                    return false;
                }
                Err(error @ EvalError::CallLimit) => {
                    wrong(
                        &mut self.errors,
                        format!(
                            "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                            rule.shown
                        ),
                    );
                    return false;
                }
                Err(EvalError::Failed(why)) => {
                    let detail = if why.starts_with("no such overload") {
                        format!(
                            "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                            rule.shown
                        )
                    } else {
                        format!("{why} evaluating rule: {}", rule.shown)
                    };
                    wrong(&mut self.errors, detail);
                    continue;
                }
            }
            let at = told_at(place, &rule.field);
            // What was so before and is unchanged is let through; transition rules are always meant.
            let lets = !rule.uses_old && was.unchanged();
            let detail = match self.message(rule, &bindings) {
                Ok(detail) => detail,
                Err(why) => {
                    if !lets {
                        self.errors.push(FieldError::invalid(at, node.kind, why));
                    }
                    return false;
                }
            };
            if !lets {
                let whole = matches!(node.kind, "object" | "array");
                self.errors.push(failed(rule, at, new, whole, detail));
            }
        }
        true
    }

    /// The message of a rule that is not met; an error ends everything.
    fn message(&mut self, rule: &Rule, bindings: &Bindings<'_>) -> Result<String, String> {
        let Some((text, Some(program))) = &rule.message_expression else {
            return Ok(rule.message.clone());
        };
        match program.evaluate(bindings, &mut self.budget) {
            Ok(value) => {
                let told = value.as_str().unwrap_or_default().trim();
                let good =
                    !told.is_empty() && told.len() <= MESSAGE_BYTES && !told.contains(['\n', '\r']);
                Ok(if good { told } else { &rule.message }.to_owned())
            }
            Err(EvalError::Failed(_)) => Ok(rule.message.clone()),
            Err(EvalError::CallLimit) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {text:?}"
            )),
            Err(EvalError::Budget) => Err(
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run"
                    .into(),
            ),
        }
    }
}

fn told_at(place: &Place<'_>, below: &str) -> String {
    if below.is_empty() {
        return field(place);
    }
    place.field(below).to_string()
}

fn failed(rule: &Rule, at: String, value: &Value, whole: bool, detail: String) -> FieldError {
    let value = (!whole).then(|| value.clone());
    match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(at, detail),
        "FieldValueRequired" => FieldError::required(at, detail),
        "FieldValueDuplicate" => FieldError::new(FieldErrorKind::Duplicate, at, value, ""),
        _ => FieldError::new(FieldErrorKind::Invalid, at, value, detail),
    }
}
