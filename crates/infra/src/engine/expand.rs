//! `count` and `for_each`.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::Scope;
use consort_hcl::{Expr, Kind, Marks, Type, Value, convert};

use super::world::Keys;

/// What a block with these arguments expands to in a scope.
///
/// # Errors
/// Terraform's messages, except where the number of instances is merely not known yet: that gives
/// [`Keys::Unknown`], and the block's changes are put off.
pub(super) fn expand(
    count: Option<&Expr>,
    for_each: Option<&Expr>,
    scope: &dyn Scope,
) -> Result<Keys, Diagnostics> {
    if let Some(expr) = count {
        return expand_count(expr, scope);
    }
    if let Some(expr) = for_each {
        return expand_each(expr, scope);
    }
    Ok(Keys::Single)
}

fn expand_count(expr: &Expr, scope: &dyn Scope) -> Result<Keys, Diagnostics> {
    let fail = |detail: String| {
        Diagnostics::from(
            Diagnostic::error("Invalid count argument", detail)
                .at(expr.range())
                .with_expression(expr, scope),
        )
    };
    let (value, diagnostics) = expr.evaluate(scope);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let value = convert(&value, &Type::Number).map_err(|error| {
        Diagnostics::from(
            Diagnostic::error(
                "Incorrect value type",
                format!("Invalid expression value: {error}."),
            )
            .at(expr.range())
            .with_expression(expr, scope),
        )
    })?;
    let (value, marks) = value.unmark();
    if marks.intersects(Marks::EPHEMERAL) {
        return Err(fail(
            "The given \"count\" is derived from an ephemeral value, which means that Terraform cannot persist it between plan/apply rounds. Use only non-ephemeral values to specify the number of resource instances."
                .to_owned(),
        ));
    }
    if value.is_null() {
        return Err(fail(
            "The given \"count\" argument value is null. An integer is required.".to_owned(),
        ));
    }
    if !value.is_known() {
        return Ok(Keys::Unknown);
    }
    let number = value.as_number();
    match number.and_then(consort_hcl::Number::to_i64) {
        None => {
            Err(fail("The given \"count\" argument value is unsuitable: value must be a whole number, between -9223372036854775808 and 9223372036854775807.".to_owned()))
        }
        Some(count) => usize::try_from(count).map(Keys::Count).map_err(|_| {
            fail("The given \"count\" argument value is unsuitable: must be greater than or equal to zero.".to_owned())
        }),
    }
}

fn expand_each(expr: &Expr, scope: &dyn Scope) -> Result<Keys, Diagnostics> {
    let fail = |summary: &str, detail: String| {
        Diagnostics::from(
            Diagnostic::error(summary, detail)
                .at(expr.range())
                .with_expression(expr, scope),
        )
    };
    let (value, diagnostics) = expr.evaluate(scope);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let (value, marks) = value.unmark();
    if marks.intersects(Marks::SENSITIVE) {
        return Err(Diagnostics::from(
            Diagnostic::error(
                "Invalid for_each argument",
                "Sensitive values, or values derived from sensitive values, cannot be used as for_each arguments. If used, the sensitive value could be exposed as a resource instance key.",
            )
            .at(expr.range())
            .with_expression(expr, scope)
            .because_confidential(),
        ));
    }
    if marks.intersects(Marks::EPHEMERAL) {
        return Err(Diagnostics::from(
            Diagnostic::error(
                "Invalid for_each argument",
                "The given \"for_each\" value is derived from an ephemeral value, which means that Terraform cannot persist it between plan/apply rounds. Use only non-ephemeral values to specify a resource's instance keys.",
            )
            .at(expr.range())
            .with_expression(expr, scope)
            .because_confidential(),
        ));
    }
    if value.is_null() {
        return Err(fail(
            "Invalid for_each argument",
            "The given \"for_each\" argument value is unsuitable: the given \"for_each\" argument value is null. A map, or set of strings is allowed.".to_owned(),
        ));
    }
    match value.kind() {
        Kind::Unknown(_) => match value.ty() {
            Type::Map(_) | Type::Object(_) | Type::Dynamic | Type::Set(_) => Ok(Keys::Unknown),
            other => Err(unsuitable(&fail, other)),
        },
        Kind::Map(map) | Kind::Object(map) => Ok(Keys::Each(
            map.iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )),
        Kind::Set(elements) => {
            let element_type = value.ty().element().cloned().unwrap_or(Type::Dynamic);
            if !elements.is_empty() && !matches!(element_type, Type::String | Type::Dynamic) {
                return Err(fail(
                    "Invalid for_each set argument",
                    format!(
                        "The given \"for_each\" argument value is unsuitable: \"for_each\" supports maps and sets of strings, but you have provided a set containing type {}.",
                        element_type.friendly_name()
                    ),
                ));
            }
            let mut each: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for element in elements {
                let (element, _) = element.clone().unmark();
                if element.is_null() {
                    return Err(fail(
                        "Invalid for_each set argument",
                        "The given \"for_each\" argument value is unsuitable: \"for_each\" sets must not contain null values.".to_owned(),
                    ));
                }
                let Some(key) = element.as_shared_str() else {
                    return Ok(Keys::Unknown);
                };
                each.insert(key, element);
            }
            Ok(Keys::Each(each))
        }
        _ => Err(unsuitable(&fail, value.ty())),
    }
}

fn unsuitable(fail: &dyn Fn(&str, String) -> Diagnostics, ty: &Type) -> Diagnostics {
    fail(
        "Invalid for_each argument",
        format!(
            "The given \"for_each\" argument value is unsuitable: the \"for_each\" argument must be a map, or set of strings, and you have provided a value of type {}.",
            ty.friendly_name()
        ),
    )
}
