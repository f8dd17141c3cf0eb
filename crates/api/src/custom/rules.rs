//! The rules of schemas (`x-kubernetes-validations`): compiled with the types the schema gives, checked and
//! costed when a definition is written, run when an object is.

use consort_cel::{
    Bindings, Budget, Decl, Env, EvalError, Program, Type, Value as CelValue, escape,
};
use consort_object::structural::{Correlated, Place, Structural, Type as Kind, check};
use consort_object::{FieldError, FieldErrorKind};
use serde_json::{Value, json};

/// The longest message an expression may make.
const MESSAGE_BYTES: usize = 5 * 1024;

/// The most that one expression may cost by its estimate.
const EXPRESSION_COST: u64 = 10_000_000;

/// The most that all rules of a schema may cost by their estimates.
const SCHEMA_COST: u64 = 100_000_000;

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
    let (steps, _) = check::at_path(schema, path, true).ok()?;
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

/// What a part was before, to tell whether it changed.
#[derive(Clone, Copy)]
struct Was<'a> {
    current: Option<Correlated<'a>>,
    parent: Option<Correlated<'a>>,
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

struct Run {
    budget: Budget,
    errors: Vec<FieldError>,
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
    fn node<'a>(
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

/// What is known of a place while the rules of a schema are checked.
#[derive(Clone)]
struct Scope {
    decl: Option<Decl>,
    /// How many values there may be of it; none: nothing bounds them.
    most: Option<u64>,
    /// The highest place below which old values are not known.
    uncorrelatable: Option<String>,
}

struct Checker {
    errors: Vec<FieldError>,
    total: u64,
    expensive: Vec<(u64, String)>,
    /// The schema was accepted before: what it costs is not asked.
    accepted: bool,
}

/// Check the rules of a schema: that they compile and what they may cost. `accepted`: the schema is as it was.
pub(super) fn check(props: &Value, at: &str, accepted: bool) -> Vec<FieldError> {
    if !has_rules(props) {
        return Vec::new();
    }
    let mut checker = Checker {
        errors: Vec::new(),
        total: 0,
        expensive: Vec::new(),
        accepted,
    };
    let scope = Scope {
        decl: Decl::from_schema(props, true).map(|decl| decl.named("selfType")),
        most: Some(1),
        uncorrelatable: None,
    };
    checker.node(props, &Place::Base(at), &scope);
    if checker.total > SCHEMA_COST {
        for (_, place) in std::mem::take(&mut checker.expensive) {
            checker.errors.push(FieldError::forbidden(
                place,
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
            ));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = over(what, checker.total, SCHEMA_COST);
        checker.errors.push(FieldError::forbidden(at, detail));
    }
    checker.errors
}

fn over(what: &str, cost: u64, limit: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // a rough factor is all that is told
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// How many values there may be below one of a schema.
fn most_below(props: &Value) -> Option<u64> {
    let bound = |name: &str| {
        props
            .get(name)
            .and_then(Value::as_i64)
            .map(|most| u64::try_from(most).unwrap_or(0))
    };
    match text(props, "type") {
        "object" if props.get("additionalProperties").is_some() => bound("maxProperties"),
        "array" => bound("maxItems"),
        _ => Some(1),
    }
}

impl Checker {
    fn node(&mut self, props: &Value, place: &Place<'_>, scope: &Scope) {
        let below = |decl: Option<&Decl>, schema: &Value| Scope {
            decl: decl
                .cloned()
                .or_else(|| Decl::from_schema(schema, embedded(schema))),
            most: scope
                .most
                .zip(most_below(props))
                .map(|(most, each)| most.saturating_mul(each)),
            uncorrelatable: scope.uncorrelatable.clone(),
        };
        let decl = scope.decl.as_ref();
        if let Some(schema) = props.get("additionalProperties").filter(|s| s.is_object()) {
            let scope = below(decl.and_then(Decl::values), schema);
            self.node(schema, &place.field("additionalProperties"), &scope);
        }
        let names = place.field("properties");
        let atomic = !matches!(text(props, "x-kubernetes-map-type"), "" | "granular");
        for (name, schema) in props
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if !has_rules(schema) {
                continue;
            }
            let mut scope = below(decl.and_then(|decl| decl.property(name)), schema);
            if atomic && scope.uncorrelatable.is_none() {
                scope.uncorrelatable = Some(place.to_string());
            }
            self.node(schema, &names.key(name), &scope);
        }
        if let Some(schema) = props.get("items").filter(|schema| schema.is_object()) {
            let mut scope = below(decl.and_then(Decl::items), schema);
            if text(props, "x-kubernetes-list-type") != "map" && scope.uncorrelatable.is_none() {
                scope.uncorrelatable = Some(place.to_string());
            }
            self.node(schema, &place.field("items"), &scope);
        }
        self.rules(props, place, scope);
    }

    fn rules(&mut self, props: &Value, place: &Place<'_>, scope: &Scope) {
        let rules = list(props, "x-kubernetes-validations");
        if rules.is_empty() {
            return;
        }
        let place = place.field("x-kubernetes-validations");
        let Some(decl) = &scope.decl else {
            self.errors.push(FieldError::internal(
                place.to_string(),
                "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations",
            ));
            return;
        };
        let environments = Environments::new(decl);
        for (index, rule) in rules.iter().enumerate() {
            let at = place.index(index);
            self.rule(rule, &at, scope, decl, &environments);
        }
    }

    fn rule(
        &mut self,
        rule: &Value,
        at: &Place<'_>,
        scope: &Scope,
        decl: &Decl,
        environments: &Environments,
    ) {
        let rule_at = at.field("rule").to_string();
        let program = match compile_rule(environments, rule) {
            Ok(program) => program,
            Err(why) => {
                self.errors
                    .push(FieldError::invalid(rule_at, shown(rule), why));
                return;
            }
        };
        let many = scope.most.unwrap_or_else(|| decl.max_cardinality());
        let cost = program.estimate().max.saturating_mul(many);
        self.cost(&rule_at, "estimated rule cost", cost);
        let message_at = at.field("messageExpression").to_string();
        match compile_message(environments, rule) {
            None => {}
            Some(Err(why)) => {
                self.errors
                    .push(FieldError::invalid(message_at, shown(rule), why));
            }
            Some(Ok(message)) => {
                let cost = message.estimate().max;
                self.cost(&message_at, "estimated messageExpression cost", cost);
            }
        }
        if program.uses("oldSelf") {
            if let Some(within) = &scope.uncorrelatable {
                self.errors.push(FieldError::invalid(
                    rule_at,
                    text(rule, "rule"),
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"),
                ));
            }
        } else if let Some(Value::Bool(optional)) = rule.get("optionalOldSelf") {
            self.errors.push(FieldError::invalid(
                at.field("optionalOldSelf").to_string(),
                *optional,
                "may not be set if oldSelf is not used in rule",
            ));
        }
    }

    fn cost(&mut self, at: &str, what: &str, cost: u64) {
        if cost > EXPRESSION_COST && !self.accepted {
            self.errors
                .push(FieldError::forbidden(at, over(what, cost, EXPRESSION_COST)));
        }
        self.total = self.total.saturating_add(cost);
        // Those that matter least are not named.
        if cost >= SCHEMA_COST / 100 {
            self.expensive.push((cost, at.to_owned()));
            self.expensive
                .sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.expensive.truncate(4);
        }
    }
}

/// A rule as it stands in errors.
fn shown(rule: &Value) -> Value {
    let or_null = |name: &str| rule.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "Rule": text(rule, "rule"),
        "Message": text(rule, "message"),
        "MessageExpression": text(rule, "messageExpression"),
        "Reason": or_null("reason"),
        "FieldPath": text(rule, "fieldPath"),
        "OptionalOldSelf": or_null("optionalOldSelf"),
    })
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // values are written where they are used
mod tests {
    use super::*;

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
