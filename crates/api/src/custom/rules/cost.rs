//! Checking the rules of a definition that is written: that they compile, and what they cost at most.

use super::{Environments, compile_message, compile_rule, embedded, has_rules, list, text};
use consort_cel::Decl;
use consort_object::FieldError;
use consort_object::structural::Place;
use serde_json::{Value, json};

/// The most that one expression may cost by its estimate.
const EXPRESSION_COST: u64 = 10_000_000;

/// The most that all rules of a schema may cost by their estimates.
const SCHEMA_COST: u64 = 100_000_000;

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
pub(in crate::custom) fn check(props: &Value, at: &str, accepted: bool) -> Vec<FieldError> {
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
