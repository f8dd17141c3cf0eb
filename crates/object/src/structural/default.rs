//! Filling in what a schema has defaults for.

use super::schema::Structural;
use serde_json::Value;

/// As many bytes as the defaults of one object may come to, each value counted as [`VALUE`] and its texts. A schema
/// may have a large default within the items of a list, and three bytes are an item.
const MOST: usize = 64 << 20;
const VALUE: usize = 100;

/// Whether [`fill`] adds no more to this object than one request may take.
pub fn is_affordable(value: &Value, schema: &Structural) -> bool {
    let mut left = MOST;
    price(value, schema, &mut left).is_some()
}

/// Takes what is filled in from what is left; none when it is too much.
fn price(value: &Value, schema: &Structural, left: &mut usize) -> Option<()> {
    if !schema.defaults_within {
        return Some(());
    }
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let missing = match map.get(name.as_ref()) {
                    None => true,
                    Some(member) => member.is_null() && !property.nullable,
                };
                if let Some(default) = property.default.as_ref().filter(|_| missing) {
                    pay(default, left)?;
                    price(default, property, left)?;
                }
            }
            for (name, member) in map {
                if let Some(property) = schema.property(name) {
                    price(member, property, left)?;
                } else if let Some(additional) = schema.additional_schema() {
                    price_item(member, additional, left)?;
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items.as_deref() {
                for item in list {
                    price_item(item, items, left)?;
                }
            }
        }
        _ => {}
    }
    Some(())
}

fn price_item(item: &Value, schema: &Structural, left: &mut usize) -> Option<()> {
    match &schema.default {
        Some(default) if item.is_null() && !schema.nullable => {
            pay(default, left)?;
            price(default, schema, left)
        }
        _ => price(item, schema, left),
    }
}

fn pay(value: &Value, left: &mut usize) -> Option<()> {
    let text = if let Value::String(text) = value {
        text.len()
    } else {
        0
    };
    *left = left.checked_sub(VALUE + text)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| pay(item, left)),
        Value::Object(map) => map.iter().try_for_each(|(name, member)| {
            *left = left.checked_sub(name.len())?;
            pay(member, left)
        }),
        _ => Some(()),
    }
}

/// Fill in the defaults of a schema: for fields that are left out, and for nulls where none may stand.
pub fn fill(value: &mut Value, schema: &Structural) {
    if !schema.defaults_within {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                match map.get_mut(name.as_ref()) {
                    None => {
                        map.insert(name.as_ref().to_owned(), default.clone());
                    }
                    Some(member) if member.is_null() && !property.nullable => {
                        *member = default.clone();
                    }
                    Some(_) => {}
                }
            }
            for (name, member) in map.iter_mut() {
                if let Some(property) = schema.property(name) {
                    fill(member, property);
                } else if let Some(additional) = schema.additional_schema() {
                    denull(member, additional);
                    fill(member, additional);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items.as_deref() {
                for item in list {
                    denull(item, items);
                    fill(item, items);
                }
            }
        }
        _ => {}
    }
}

fn denull(value: &mut Value, schema: &Structural) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_that_make_a_small_object_huge_cannot_be_afforded() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {"list": {"type": "array", "items": {
            "type": "object", "properties": {"big": {"type": "string", "default": "x".repeat(10_000)}}}}}}))
        .unwrap();
        let of = |count: usize| json!({"list": vec![json!({}); count]});
        assert!(is_affordable(&of(1_000), &schema));
        assert!(!is_affordable(&of(100_000), &schema));
        assert!(is_affordable(
            &json!({"list": vec![json!({"big": "y"}); 100_000]}),
            &schema
        ));
    }

    #[test]
    fn defaults_fill_what_is_absent_and_nulls_that_may_not_be() {
        let schema = Structural::parse(&json!({
            "type": "object",
            "properties": {
                "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 1}}},
                "n": {"type": "string", "nullable": true, "default": "x"},
                "m": {"type": "string", "default": "y"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string", "default": "z"}}}},
            },
        }))
        .unwrap();
        let mut object = json!({"n": null, "m": null, "list": [{}, {"c": "own"}]});
        fill(&mut object, &schema);
        assert_eq!(
            object,
            json!({"n": null, "m": "y", "list": [{"c": "z"}, {"c": "own"}], "a": {"b": 1}})
        );
    }
}
