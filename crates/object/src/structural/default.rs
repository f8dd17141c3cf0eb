//! Filling in what a schema has defaults for.

use super::schema::Structural;
use serde_json::Value;

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
