//! Checks of when a job has failed or succeeded, as its user says.

use super::{Errors, Path};
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_CONDITIONS: usize = 20;

/// Check when failed pods count, and when they end the job.
pub(super) fn failure_policy(spec: &Value, policy: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("rules");
    let rules = items(policy, &["rules"]);
    if rules.len() > MOST_RULES {
        errors.too_many(&list, rules.len(), MOST_RULES);
    }
    let containers: HashSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| items(spec, &["template", "spec", list]))
        .map(|container| text(container, &["name"]))
        .collect();
    for (index, rule) in rules.iter().enumerate() {
        failure_rule(spec, rule, &containers, &list.index(index), errors);
    }
}

fn failure_rule(
    spec: &Value,
    rule: &Value,
    containers: &HashSet<&str>,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let action = text(rule, &["action"]);
    let place = here.field("action");
    if action.is_empty() {
        errors.required(
            &place,
            "valid values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
        );
    } else if action == "FailIndex" && at(spec, &["backoffLimitPerIndex"]).is_none() {
        errors.invalid(
            &place,
            action,
            "requires the backoffLimitPerIndex to be set",
        );
    } else {
        errors.supported(&place, action, &["Count", "FailIndex", "FailJob", "Ignore"]);
    }
    let codes = at(rule, &["onExitCodes"]);
    let conditions = items(rule, &["onPodConditions"]);
    if let Some(codes) = codes {
        exit_codes(codes, containers, &here.field("onExitCodes"), errors);
    }
    let list = here.field("onPodConditions");
    if conditions.len() > MOST_CONDITIONS {
        errors.too_many(&list, conditions.len(), MOST_CONDITIONS);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let place = list.index(index);
        let kind = text(condition, &["type"]);
        errors.named(&place.field("type"), kind, names::qualified_name);
        let status = text(condition, &["status"]);
        if status.is_empty() {
            errors.required(
                &place.field("status"),
                "valid values: \"False\", \"True\", \"Unknown\"",
            );
        } else {
            errors.supported(
                &place.field("status"),
                status,
                &["False", "True", "Unknown"],
            );
        }
    }
    if codes.is_some() && !conditions.is_empty() {
        errors.invalid(
            here,
            rule.clone(),
            "specifying both OnExitCodes and OnPodConditions is not supported",
        );
    } else if codes.is_none() && conditions.is_empty() {
        errors.invalid(
            here,
            rule.clone(),
            "specifying one of OnExitCodes and OnPodConditions is required",
        );
    }
}

fn exit_codes(codes: &Value, containers: &HashSet<&str>, here: &Path<'_>, errors: &mut Errors) {
    let operator = text(codes, &["operator"]);
    if operator.is_empty() {
        errors.required(&here.field("operator"), "valid values: \"In\", \"NotIn\"");
    } else {
        errors.supported(&here.field("operator"), operator, &["In", "NotIn"]);
    }
    let container = text(codes, &["containerName"]);
    if at(codes, &["containerName"]).is_some() && !containers.contains(container) {
        errors.invalid(
            &here.field("containerName"),
            container,
            "must be one of the container or initContainer names in the pod template",
        );
    }
    let list = here.field("values");
    let values = items(codes, &["values"]);
    if values.is_empty() {
        errors.invalid(
            &list,
            Value::Array(Vec::new()),
            "at least one value is required",
        );
    } else if values.len() > MOST_EXIT_CODES {
        errors.too_many(&list, values.len(), MOST_EXIT_CODES);
    }
    let mut seen = HashSet::new();
    for (index, value) in values.iter().enumerate() {
        let number = value.as_i64().unwrap_or_default();
        if operator == "In" && number == 0 {
            errors.invalid(
                &list.index(index),
                number,
                "must not be 0 for the In operator",
            );
        }
        if !seen.insert(number) {
            errors.duplicate(&list.index(index), number);
        }
    }
    let numbers = || values.iter().filter_map(Value::as_i64);
    if !numbers().is_sorted() {
        errors.invalid(&list, Value::Array(values.to_vec()), "must be ordered");
    }
}

/// Check which pods are enough for the job to have succeeded.
pub(super) fn success_policy(spec: &Value, policy: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("rules");
    let rules = items(policy, &["rules"]);
    if rules.is_empty() {
        errors.required(
            &list,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > MOST_RULES {
        errors.too_many(&list, rules.len(), MOST_RULES);
    }
    let completions = int(spec, &["completions"]);
    for (index, rule) in rules.iter().enumerate() {
        let place = list.index(index);
        let count = at(rule, &["succeededCount"]).and_then(Value::as_i64);
        let indexes = at(rule, &["succeededIndexes"]).and_then(Value::as_str);
        if count.is_none() && indexes.is_none() {
            errors.required(
                &place,
                "at least one of succeededCount or succeededIndexes must be specified",
            );
        }
        let mut total = completions;
        if let Some(indexes) = indexes {
            match index_count(indexes, completions) {
                Ok(number) => total = number,
                Err(why) => errors.invalid(
                    &place.field("succeededIndexes"),
                    indexes,
                    format!("error parsing succeededIndexes: {why}"),
                ),
            }
        }
        let Some(count) = count else { continue };
        let place = place.field("succeededCount");
        if count <= 0 {
            errors.invalid(&place, count, "must be greater than 0");
        } else if count > completions {
            errors.invalid(
                &place,
                count,
                format!("must be less than or equal to {completions} (the number of specified completions)"),
            );
        } else if count > total {
            errors.invalid(
                &place,
                count,
                format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"),
            );
        }
    }
}

/// How many indexes `1,3-5` names; each must be below `completions`, in order.
fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last: Option<i64> = None;
    if text.is_empty() {
        return Ok(0);
    }
    for interval in text.split(',') {
        let number = |text: &str| -> Result<i64, String> {
            let number: i64 = text
                .parse()
                .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
            if number >= completions {
                return Err(format!("too large index: {text:?}"));
            }
            Ok(number)
        };
        let mut ends = interval.split('-');
        let first = number(ends.next().unwrap_or_default())?;
        let end = ends.next().map(number).transpose()?;
        if ends.next().is_some() {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        if let Some(last) = last
            && last >= first
        {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {first}"
            ));
        }
        if let Some(end) = end
            && first >= end
        {
            return Err(format!(
                "non-increasing order, previous: {first}, current: {end}"
            ));
        }
        let end = end.unwrap_or(first);
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_indexes_are_counted_and_ordered() {
        assert_eq!(index_count("0,2-4", 5), Ok(4));
        assert!(
            index_count("2,1", 5)
                .unwrap_err()
                .contains("non-increasing")
        );
        assert!(index_count("5", 5).unwrap_err().contains("too large"));
        assert!(index_count("1-2-3", 5).unwrap_err().contains("two parts"));
        assert!(index_count("x", 5).is_err());
    }
}
