//! What operations cost when they run: cel-go's cost tracking and Kubernetes' prices for its libraries.

use crate::value::{List, Map, Opaque, Value};

/// Making a list.
pub(crate) const LIST: u64 = 10;
/// Making a map.
pub(crate) const MAP: u64 = 30;
/// Making an object.
pub(crate) const OBJECT: u64 = 40;

/// Going over a text once, for each of its characters.
pub(crate) const TEXT: f64 = 0.1;
/// Applying a pattern, for each of its characters.
pub(crate) const PATTERN: f64 = 0.25;

/// How a call is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Price {
    /// So much.
    Fixed(u64),
    /// Going over the argument of this index once.
    Text(usize),
    /// Going over the first argument twice.
    TextTwice,
    /// Going over the shorter of two arguments.
    Shorter,
    /// Going over two arguments.
    Both,
    /// Each character of one with each of the other.
    Contains,
    /// A pattern over a text.
    Pattern,
    /// As many as the list (second argument) has items.
    In,
    /// Every leaf of the first argument.
    Leaves,
    /// Going over the result twice.
    ResultTwice,
    /// A list of the result's size.
    NewList,
    /// A list of the first argument's size, as deep as the second says.
    Flatten,
    /// Each item of the list (of this index) with each other.
    SelfCompare(usize),
    /// Each item of one list with each of another, so many times.
    Sets(u64),
    /// A selector.
    Selector,
    /// A format's pattern over the second argument.
    Format,
    /// An address in a network; whether it was given as a text.
    ContainsIp(bool),
    /// A network in a network; whether it was given as a text.
    ContainsCidr(bool),
}

/// The price of a call. `overload` is empty when more than one may apply.
pub(crate) fn of(function: &str, overload: &str) -> Price {
    match overload {
        "list_sets_contains_list" | "list_sets_intersects_list" => return Price::Sets(1),
        "list_sets_equivalent_list" => return Price::Sets(2),
        "list_slice" | "lists_range" | "list_reverse" => return Price::NewList,
        "list_flatten" | "list_flatten_int" => return Price::Flatten,
        "list_distinct" => return Price::SelfCompare(0),
        _ if overload.starts_with("list_") && overload.ends_with("_sort") => {
            return Price::SelfCompare(0);
        }
        _ if overload.ends_with("_sortByAssociatedKeys") => return Price::SelfCompare(1),
        _ => {}
    }
    match function {
        "check" => Price::Fixed(350_000),
        "fieldSelector" | "labelSelector" => Price::Selector,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
            Price::Leaves
        }
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => Price::Text(0),
        "ip" if overload != "cidr_ip" => Price::Text(0),
        "replace" | "split" | "ip.isCanonical" => Price::TextTwice,
        "join" => Price::ResultTwice,
        "find" | "findAll" => Price::Pattern,
        "containsIP" => Price::ContainsIp(overload == "cidr_contains_ip_string"),
        "containsCIDR" => Price::ContainsCidr(overload == "cidr_contains_cidr_string"),
        "validate" => Price::Format,
        _ => match overload {
            "starts_with_string" | "ends_with_string" => Price::Text(1),
            "string_to_bytes" | "bytes_to_string" | "strings_quote" | "string_format" => {
                Price::Text(0)
            }
            "in_list" => Price::In,
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes" => Price::Shorter,
            "add_string" | "add_bytes" => Price::Both,
            "matches_string" => Price::Pattern,
            "contains_string" => Price::Contains,
            _ => Price::Fixed(1),
        },
    }
}

fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

impl Price {
    /// The price when the arguments alone make it: it is taken before the call runs, so that nothing runs unpaid.
    pub(crate) fn before(self, args: &[Value<'_>]) -> Option<u64> {
        let size = |index: usize| args.get(index).map_or(1, Value::cost_size);
        Some(match self {
            Price::Fixed(cost) => cost,
            Price::Text(index) => scaled(size(index), TEXT),
            Price::TextTwice => scaled(size(0), 2.0 * TEXT),
            Price::Shorter => scaled(size(0).min(size(1)), TEXT),
            Price::Both => scaled(size(0).saturating_add(size(1)), TEXT),
            Price::Contains => scaled(size(0), TEXT).saturating_mul(scaled(size(1), TEXT)),
            Price::Pattern => {
                scaled(size(0).saturating_add(1), TEXT).saturating_mul(scaled(size(1), PATTERN))
            }
            Price::In => size(1),
            Price::Leaves => args.first().map_or(0, leaves),
            Price::ResultTwice | Price::NewList => return None,
            Price::Flatten => {
                let depth = match args.get(1) {
                    Some(Value::Int(depth)) => *depth as f64,
                    _ => 1.0,
                };
                (size(0) as f64 * depth) as u64 + 1 + LIST
            }
            Price::SelfCompare(index) => {
                let factor = match args.get(index) {
                    Some(Value::List(list)) => match list.get(0) {
                        Some(Ok(Value::String(_) | Value::Bytes(_))) => 2.0 + TEXT,
                        _ => 2.0,
                    },
                    _ => 2.0,
                };
                ((size(index) as f64 * size(index) as f64) * factor) as u64 + 1 + LIST
            }
            Price::Sets(factor) => 1 + size(0).saturating_mul(size(1)).saturating_mul(factor),
            Price::Selector => {
                let length = size(1);
                LIST + scaled(length, TEXT) + scaled(scaled(length, 0.5), (LIST + OBJECT) as f64)
            }
            Price::Format => match args.first() {
                Some(Value::Opaque(Opaque::Format(format))) => {
                    scaled(size(1) + 1, TEXT).saturating_mul(scaled(format.pattern_size(), PATTERN))
                }
                _ => 1,
            },
            Price::ContainsIp(parsed) => {
                scaled(2 * size(0), TEXT) + if parsed { scaled(size(1), TEXT) } else { 0 }
            }
            Price::ContainsCidr(parsed) => {
                scaled(2 * size(0), TEXT)
                    + scaled(size(0), TEXT)
                    + 1
                    + if parsed { scaled(size(1), TEXT) } else { 0 }
            }
        })
    }

    /// The price when it takes the result to know it.
    pub(crate) fn after(self, _args: &[Value<'_>], result: Option<&Value<'_>>) -> Option<u64> {
        let size = result.map_or(1, Value::cost_size);
        match self {
            Price::ResultTwice => Some(scaled(size, 2.0 * TEXT)),
            Price::NewList => Some(size + 1 + LIST),
            _ => None,
        }
    }
}

/// The price of `==` (or `!=`) over two values, of which one may have failed to be.
pub(crate) fn equality(left: Option<&Value<'_>>, right: Option<&Value<'_>>, equal: bool) -> u64 {
    if equal && matches!(left, Some(Value::Opaque(_))) {
        return 1;
    }
    let size = |value: Option<&Value<'_>>| value.map_or(1, Value::cost_size);
    scaled(size(left).min(size(right)), TEXT)
}

/// What going over a value as a tree costs: texts by length, anything else 1.
fn leaves(value: &Value<'_>) -> u64 {
    let mut left = 20_000_000;
    leaves_within(value, &mut left)
}

fn leaves_within(value: &Value<'_>, left: &mut u64) -> u64 {
    // A structure that shares its parts can have more leaves than can be visited: it costs more than anyone has.
    *left = left.saturating_sub(1);
    if *left == 0 {
        return u64::MAX / 4;
    }
    match value {
        Value::String(text) => (text.len() as f64 * TEXT) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TEXT) as u64,
        Value::List(List::Json(items, None)) => {
            items.iter().map(json_leaves).fold(0, u64::saturating_add)
        }
        Value::List(list) => list
            .iter()
            .map(|item| item.as_ref().map_or(1, |item| leaves_within(item, left)))
            .fold(0, u64::saturating_add),
        Value::Map(Map::Json(entries, None)) => entries
            .iter()
            .map(|(key, value)| (key.len() as f64 * TEXT) as u64 + json_leaves(value))
            .fold(0, u64::saturating_add),
        Value::Map(map) => map
            .entries()
            .map(|entry| match &entry {
                Ok((key, value)) => {
                    leaves_within(key, left).saturating_add(leaves_within(value, left))
                }
                Err(_) => 1,
            })
            .fold(0, u64::saturating_add),
        _ => 1,
    }
}

fn json_leaves(value: &serde_json::Value) -> u64 {
    match value {
        serde_json::Value::String(text) => (text.len() as f64 * TEXT) as u64,
        serde_json::Value::Array(items) => items.iter().map(json_leaves).sum(),
        serde_json::Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.len() as f64 * TEXT) as u64 + json_leaves(value))
            .sum(),
        _ => 1,
    }
}
