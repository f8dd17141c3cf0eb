//! How values look in table cells: ages, lists of names, selectors.

use crate::values::{items, members, text};
use jiff::Timestamp;
use serde_json::Value;

/// A length of time in the short form that users know: `5s`, `3m20s`, `12d`.
pub(crate) fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => pair(days, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => pair(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

/// How long ago a time was; `<unknown>` when there is none.
pub(crate) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => duration(now.as_second() - time.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

/// The age of an object.
pub(crate) fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, &["metadata", "creationTimestamp"]), now).into()
}

/// The object's name as a cell.
pub(crate) fn name(object: &Value) -> Value {
    text(object, &["metadata", "name"]).into()
}

/// A text or a stand-in when it is empty.
pub(crate) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// The names and images of a pod spec's containers.
pub(crate) fn containers(spec: &Value) -> (Value, Value) {
    let join = |field: &str| -> Value {
        let all: Vec<&str> = items(spec, &["containers"])
            .iter()
            .map(|container| text(container, &[field]))
            .collect();
        all.join(",").into()
    };
    (join("name"), join("image"))
}

/// A map of labels as `a=b,c=d`.
pub(crate) fn label_map(labels: &Value) -> String {
    let mut pairs: Vec<String> = members(labels, &[])
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    if pairs.is_empty() {
        "<none>".into()
    } else {
        pairs.join(",")
    }
}

/// A label selector in its text form.
pub(crate) fn selector(selector: &Value) -> String {
    if !selector.is_object() {
        return "<none>".into();
    }
    let mut terms: Vec<String> = members(selector, &["matchLabels"])
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in items(selector, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let mut values: Vec<&str> = items(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    terms.sort();
    if terms.is_empty() {
        "<none>".into()
    } else {
        terms.join(",")
    }
}

/// The selector of a workload, which replication controllers have as a map of labels.
pub(crate) fn any_selector(object: &Value, value: &Value) -> String {
    if text(object, &["kind"]) == "ReplicationController" {
        label_map(value)
    } else {
        selector(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_writes_them() {
        for (seconds, want) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (47 * 3600, "47h"),
            (50 * 3600, "2d2h"),
            (10 * 86400, "10d"),
            (800 * 86400, "2y70d"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(duration(seconds), want);
        }
    }
}
