//! The rules of schemas (`x-kubernetes-validations`): compiled with the types the schema gives, checked and
//! costed when a definition is written, run when an object is.

mod cost;
mod run;

pub(super) use self::cost::check;
use self::run::{Run, Was};
use consort_cel::{Budget, Decl, Env, Program, Type, escape};
use consort_object::FieldError;
use consort_object::structural::{Correlated, Place, Structural, Type as Kind};
use serde_json::Value;

/// The longest message an expression may make.
const MESSAGE_BYTES: usize = 5 * 1024;

/// The rules of a schema, compiled.
pub(crate) struct Rules(Option<Node>);

/// The rules at a place of a schema, and below it.
struct Node {
    decl: Option<Decl>,
    kind: &'static str,
    rules: Vec<Rule>,
    properties: Vec<(String, Node)>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// The members have the values they had before.
    correlates: bool,
    /// The items of a list map have.
    keys: Option<Vec<String>>,
}

struct Rule {
    /// The rule, or why it does not compile.
    program: Result<Program, String>,
    message_expression: Option<(String, Option<Program>)>,
    /// The message as it is told.
    message: String,
    /// The rule in messages about itself.
    shown: String,
    reason: String,
    /// The place below that it is about.
    field: String,
    uses_old: bool,
    optional_old: bool,
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn embedded(props: &Value) -> bool {
    props["x-kubernetes-embedded-resource"] == true
}

/// The environments of the rules at one place: with the old value as it is, and as an optional one.
struct Environments {
    plain: Env,
    optional: Env,
}

impl Environments {
    fn new(decl: &Decl) -> Self {
        let base = Env::kubernetes().with_decl("self", decl);
        Self {
            plain: base.clone().with_decl("oldSelf", decl),
            optional: base.with_optional_decl("oldSelf", decl),
        }
    }

    fn of(&self, rule: &Value) -> &Env {
        if rule["optionalOldSelf"] == true {
            &self.optional
        } else {
            &self.plain
        }
    }
}

fn compile_rule(environments: &Environments, rule: &Value) -> Result<Program, String> {
    let program = environments
        .of(rule)
        .compile(text(rule, "rule"), None)
        .map_err(|issues| format!("compilation failed: {issues}"))?;
    if *program.ty() != Type::Bool {
        return Err("cel expression must evaluate to a bool".into());
    }
    Ok(program)
}

fn compile_message(environments: &Environments, rule: &Value) -> Option<Result<Program, String>> {
    let expression = text(rule, "messageExpression");
    if expression.is_empty() {
        return None;
    }
    let compiled = environments
        .of(rule)
        .compile(expression, None)
        .map_err(|issues| format!("messageExpression compilation failed: {issues}"));
    Some(compiled.and_then(|program| {
        if *program.ty() == Type::String {
            Ok(program)
        } else {
            Err("messageExpression must evaluate to a string".into())
        }
    }))
}

impl Rules {
    /// Compile the rules of a schema.
    pub(super) fn compile(props: &Value) -> Self {
        if !has_rules(props) {
            return Self(None);
        }
        let decl = Decl::from_schema(props, true).map(|decl| decl.named("selfType"));
        Self(Node::compile(props, decl))
    }

    /// Run the rules over an object, and what it was before.
    pub(super) fn run(
        &self,
        new: &Value,
        old: Option<&Value>,
        schema: &Structural,
    ) -> Vec<FieldError> {
        let Some(node) = &self.0 else {
            return Vec::new();
        };
        let mut run = Run {
            budget: Budget::per_object(),
            errors: Vec::new(),
        };
        let was = Was {
            current: old.map(|old| Correlated { new, old, schema }),
            parent: None,
        };
        run.node(node, &Place::Base(""), new, old, was);
        run.errors
    }

    /// Are there any?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Is there a rule in a schema?
pub(super) fn has_rules(props: &Value) -> bool {
    !list(props, "x-kubernetes-validations").is_empty()
        || props
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|all| all.values().any(has_rules))
        || ["items", "additionalProperties"]
            .iter()
            .any(|name| props.get(*name).is_some_and(has_rules))
}

impl Node {
    fn compile(props: &Value, decl: Option<Decl>) -> Option<Self> {
        if !has_rules(props) {
            return None;
        }
        let own = list(props, "x-kubernetes-validations");
        let rules = match &decl {
            Some(decl) if !own.is_empty() => {
                let environments = Environments::new(decl);
                own.iter()
                    .filter(|rule| !text(rule, "rule").trim().is_empty())
                    .map(|rule| Rule::compile(rule, &environments, props))
                    .collect()
            }
            _ => Vec::new(),
        };
        let mut properties = Vec::new();
        for (name, property) in props
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let below = match (&decl, escape(name)) {
                (Some(decl), Some(_)) => match decl.property(name) {
                    Some(below) => Some(below.clone()),
                    None => continue,
                },
                _ => Decl::from_schema(property, embedded(property)),
            };
            if let Some(node) = Self::compile(property, below) {
                properties.push((name.clone(), node));
            }
        }
        let below = |name: &str, below: Option<&Decl>| {
            props
                .get(name)
                .filter(|schema| schema.is_object())
                .and_then(|schema| Self::compile(schema, below.cloned()))
                .map(Box::new)
        };
        let decl_ref = decl.as_ref();
        let additional = below("additionalProperties", decl_ref.and_then(Decl::values));
        let items = below("items", decl_ref.and_then(Decl::items));
        Some(Self {
            kind: Kind::parse(text(props, "type")).map_or("", Kind::name),
            rules,
            properties,
            additional,
            items,
            correlates: matches!(text(props, "x-kubernetes-map-type"), "" | "granular"),
            keys: (text(props, "x-kubernetes-list-type") == "map").then(|| {
                list(props, "x-kubernetes-list-map-keys")
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            }),
            decl,
        })
    }
}

impl Rule {
    fn compile(rule: &Value, environments: &Environments, props: &Value) -> Self {
        let program = compile_rule(environments, rule);
        let message = text(rule, "message");
        let shown = if message.is_empty() {
            text(rule, "rule").trim()
        } else {
            message.trim()
        };
        let field = text(rule, "fieldPath");
        let field = Structural::parse(props)
            .ok()
            .filter(|_| !field.is_empty())
            .and_then(|schema| normal(&schema, field))
            .unwrap_or_default();
        let message_expression = text(rule, "messageExpression");
        Self {
            uses_old: program
                .as_ref()
                .is_ok_and(|program| program.uses("oldSelf")),
            optional_old: rule["optionalOldSelf"] == true,
            message_expression: compile_message(environments, rule)
                .map(|program| (message_expression.to_owned(), program.ok())),
            message: if message.is_empty() {
                format!("failed rule: {shown}")
            } else {
                shown.to_owned()
            },
            shown: shown.to_owned(),
            reason: text(rule, "reason").to_owned(),
            field,
            program,
        }
    }
}

/// A field path as it stands in errors: named fields by dots, members of maps in brackets.
fn normal(schema: &Structural, path: &str) -> Option<String> {
    let (steps, _) = consort_object::structural::check::at_path(schema, path, true).ok()?;
    let mut here = schema;
    let mut out = String::new();
    for step in &steps {
        match here.property(step) {
            Some(property) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(step);
                here = property;
            }
            None => {
                out.push('[');
                out.push_str(step);
                out.push(']');
                here = here.additional_schema()?;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // values are written where they are used
mod tests {
    use super::*;
    use serde_json::json;

    fn run(spec: Value, new: Value, old: Option<Value>) -> Vec<String> {
        let props = json!({"type": "object", "properties": {"spec": spec}});
        assert_eq!(check(&props, "s", false), []);
        let schema = Structural::parse(&props).unwrap();
        let (new, old) = (json!({"spec": new}), old.map(|old| json!({"spec": old})));
        Rules::compile(&props)
            .run(&new, old.as_ref(), &schema)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn sized(rules: Value) -> Value {
        json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}}})
    }

    #[test]
    fn rules_that_are_not_met_are_told_where_and_how_they_say() {
        let value = json!({"min": 3, "max": 2});
        for (rule, want) in [
            (
                json!({"rule": "self.min <= self.max"}),
                "spec: Invalid value: failed rule: self.min <= self.max",
            ),
            (
                json!({"rule": "self.min <= self.max", "message": "too low", "fieldPath": ".max"}),
                "spec.max: Invalid value: too low",
            ),
            (
                json!({"rule": "self.min <= self.max", "messageExpression": "'min is %d'.format([self.min])", "reason": "FieldValueForbidden"}),
                "spec: Forbidden: min is 3",
            ),
        ] {
            assert_eq!(run(sized(json!([rule])), value.clone(), None), [want]);
        }
    }

    #[test]
    fn transition_rules_compare_with_what_was_there() {
        let fixed = json!([{"rule": "self.min == oldSelf.min", "message": "min is fixed"}]);
        let (a, b) = (json!({"min": 1}), json!({"min": 2}));
        assert_eq!(run(sized(fixed.clone()), a.clone(), None), [""; 0]);
        assert_eq!(
            run(sized(fixed.clone()), a.clone(), Some(a.clone())),
            [""; 0]
        );
        assert_eq!(
            run(sized(fixed), b.clone(), Some(a.clone())),
            ["spec: Invalid value: min is fixed"]
        );
        let optional = json!([{"rule": "oldSelf.hasValue() || self.min == 1", "optionalOldSelf": true, "message": "begin with 1"}]);
        assert_eq!(
            run(sized(optional.clone()), b.clone(), None),
            ["spec: Invalid value: begin with 1"]
        );
        assert_eq!(run(sized(optional), b, Some(a)), [""; 0]);
    }

    #[test]
    fn what_was_wrong_before_and_is_unchanged_is_let_through() {
        let rules = json!([{"rule": "self.min <= self.max"}]);
        let bad = json!({"min": 3, "max": 2});
        assert_eq!(
            run(sized(rules.clone()), bad.clone(), Some(bad.clone())),
            [""; 0]
        );
        let worse = json!({"min": 4, "max": 2});
        assert_eq!(run(sized(rules), worse, Some(bad)).len(), 1);
    }

    #[test]
    fn rules_that_do_not_compile_or_cost_too_much_are_refused() {
        let errors = |spec: Value| -> Vec<String> {
            let props = json!({"type": "object", "properties": {"spec": spec}});
            check(&props, "s", false)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let wrong = errors(sized(json!([{"rule": "self.absent"}])));
        assert_eq!(wrong.len(), 1);
        assert!(
            wrong[0].starts_with(
                "s.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"
            ),
            "{wrong:?}"
        );
        assert!(wrong[0].contains("undefined field 'absent'"), "{wrong:?}");
        let wrong = errors(sized(json!([{"rule": "self.min + 1"}])));
        assert!(
            wrong[0].ends_with("cel expression must evaluate to a bool"),
            "{wrong:?}"
        );
        let nested = json!({"type": "array", "items": {"type": "array", "items": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self.contains('x')"}]}}});
        let wrong = errors(nested);
        assert!(
            wrong[0].contains("estimated rule cost exceeds budget by factor of"),
            "{wrong:?}"
        );
        let old = json!({"type": "array", "items": {"type": "string", "maxLength": 5,
            "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}, "maxItems": 3});
        let wrong = errors(old);
        assert!(wrong[0].ends_with("oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[spec]"), "{wrong:?}");
    }
}
