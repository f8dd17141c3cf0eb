//! Configuration written for an object that has none: what `plan -generate-config-out` gives.
//!
//! Arguments that the provider alone sets are left out, deprecated ones too, and the `id` that old plugin
//! libraries add to every schema. What is sensitive is null with a comment. The form follows OpenTofu's
//! `genconfig`.

use std::fmt::Write as _;

use consort_hcl::syntax::is_identifier;
use consort_hcl::{Kind, Marks, Type, Value, json};

use crate::address::Resource;
use crate::config::LocalProvider;
use crate::provider::builtin::{write_string, write_value};
use crate::provider::schema::{Attribute, Block, NestedBlock, Nesting};

/// The first lines of a file of generated configuration.
pub const HEADER: &str = "# __generated__ by Terraform\n# Please review these resources and move them into your main \
                          configuration files.\n";

/// A resource block with the arguments that give what `value` is, without a line break at its end.
///
/// `provider` is the configuration it is read with; it is named where a resource of this type would take
/// another.
pub fn resource_block(
    address: &Resource,
    provider: &LocalProvider,
    schema: &Block,
    value: &Value,
) -> String {
    let mut body = String::new();
    if *provider.name != *address.implied_provider() || provider.alias.is_some() {
        let _ = writeln!(body, "provider = {provider}");
    }
    block_body(&mut body, schema, value);
    let mut text = String::from("resource ");
    write_string(&mut text, &address.kind);
    text.push(' ');
    write_string(&mut text, &address.name);
    let _ = write!(text, " {{\n{body}}}");
    consort_hcl::format::format(&text)
}

/// A block as it stands in the file, with what it was imported by.
pub fn entry(id: &str, block: &str) -> String {
    let mut text = String::from("\n# __generated__ by Terraform");
    if !id.is_empty() {
        let _ = write!(text, " from {id:?}");
    }
    let _ = write!(text, "\n{block}\n");
    text
}

fn is_sensitive(value: &Value) -> bool {
    value.marks().intersects(Marks::SENSITIVE)
}

fn is_left_out(name: &str, attribute: &Attribute) -> bool {
    let read_only = attribute.computed && !attribute.optional;
    let of_old_library = name == "id" && attribute.computed && attribute.optional;
    read_only || attribute.deprecated || of_old_library
}

fn block_body(out: &mut String, schema: &Block, value: &Value) {
    attributes(out, &schema.attributes, value);
    for (name, nested) in &schema.blocks {
        if nested.block.deprecated {
            continue;
        }
        if let Ok(value) = value.attribute(name) {
            nested_block(out, name, nested, &value);
        }
    }
}

fn attributes<'s>(
    out: &mut String,
    schema: impl IntoIterator<Item = (&'s std::sync::Arc<str>, &'s Attribute)>,
    value: &Value,
) {
    for (name, attribute) in schema {
        if is_left_out(name, attribute) {
            continue;
        }
        let part = value
            .attribute(name)
            .unwrap_or_else(|_| Value::null(attribute.ty.clone()));
        match &attribute.nested {
            Some(nested) => nested_attribute(out, name, attribute, nested, &part),
            None if attribute.required || attribute.optional => {
                argument(out, name, attribute, &part);
            }
            None => {}
        }
    }
}

fn argument(out: &mut String, name: &str, attribute: &Attribute, value: &Value) {
    let _ = write!(out, "{name} = ");
    if attribute.sensitive || is_sensitive(value) {
        out.push_str("null # sensitive\n");
        return;
    }
    let (value, _) = value.clone().unmark_deep();
    // Old plugin libraries cannot tell a string that is not set from an empty one.
    let unset = attribute.ty == Type::String && attribute.optional && value.as_str() == Some("");
    if unset {
        out.push_str("null");
    } else if let Some(decoded) = as_json(&value) {
        out.push_str("jsonencode(");
        write_value(out, &decoded);
        out.push(')');
    } else {
        write_value(out, &value);
    }
    out.push('\n');
}

/// What a string says, if it is a JSON object or array.
fn as_json(value: &Value) -> Option<Value> {
    let text = value.as_str()?.trim();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    json::decode_simple(text.as_bytes()).ok()
}

fn nested_attribute(
    out: &mut String,
    name: &str,
    attribute: &Attribute,
    nested: &crate::provider::schema::Object,
    value: &Value,
) {
    let many = matches!(nested.nesting, Nesting::List | Nesting::Set);
    if attribute.sensitive || is_sensitive(value) {
        let empty = if many { "[]" } else { "{}" };
        let _ = writeln!(out, "{name} = {empty} # sensitive");
        return;
    }
    if value.is_null() {
        let _ = writeln!(out, "{name} = null");
        return;
    }
    if many {
        let _ = writeln!(out, "{name} = [");
        for element in value.as_sequence().unwrap_or_default() {
            if is_sensitive(element) {
                out.push_str("{}, # sensitive\n");
                continue;
            }
            out.push_str("{\n");
            attributes(out, &nested.attributes, element);
            out.push_str("},\n");
        }
        out.push_str("]\n");
    } else if nested.nesting == Nesting::Map {
        let _ = writeln!(out, "{name} = {{");
        for (key, element) in value.as_keyed().into_iter().flatten() {
            if is_identifier(key) {
                out.push_str(key);
            } else {
                write_string(out, key);
            }
            if is_sensitive(element) {
                out.push_str(" = {} # sensitive\n");
                continue;
            }
            out.push_str(" = {\n");
            attributes(out, &nested.attributes, element);
            out.push_str("}\n");
        }
        out.push_str("}\n");
    } else {
        let _ = writeln!(out, "{name} = {{");
        attributes(out, &nested.attributes, value);
        out.push_str("}\n");
    }
}

fn nested_block(out: &mut String, name: &str, nested: &NestedBlock, value: &Value) {
    let one = |out: &mut String, label: Option<&str>, value: &Value| {
        out.push_str(name);
        if let Some(label) = label {
            out.push(' ');
            write_string(out, label);
        }
        if is_sensitive(value) {
            out.push_str(" {} # sensitive\n");
            return;
        }
        out.push_str(" {\n");
        block_body(out, &nested.block, value);
        out.push_str("}\n");
    };
    match (nested.nesting, value.kind()) {
        (_, Kind::Null | Kind::Unknown(_)) => {}
        (Nesting::Single | Nesting::Group, _) => one(out, None, value),
        _ if is_sensitive(value) => {
            let _ = writeln!(out, "{name} {{}} # sensitive");
        }
        (_, Kind::List(values) | Kind::Set(values) | Kind::Tuple(values)) => {
            for value in values {
                one(out, None, value);
            }
        }
        (_, Kind::Map(values) | Kind::Object(values)) => {
            for (label, value) in values {
                one(out, Some(label), value);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Mode;
    use crate::provider::schema::Object;

    #[test]
    fn generated_configuration_holds_what_can_be_set_and_no_secret() {
        let rule = Block::default().attribute("port", Attribute::new(Type::Number).required());
        let schema = Block::default()
            .attribute("id", Attribute::new(Type::String).optional().computed())
            .attribute("arn", Attribute::new(Type::String).computed())
            .attribute("name", Attribute::new(Type::String).required())
            .attribute("prefix", Attribute::new(Type::String).optional())
            .attribute("policy", Attribute::new(Type::String).optional())
            .attribute(
                "password",
                Attribute::new(Type::String).optional().sensitive(),
            )
            .attribute("tags", Attribute::new(Type::map(Type::String)).optional())
            .attribute(
                "nested",
                Attribute::object(Object::new(
                    Nesting::List,
                    [("a", Attribute::new(Type::Bool).optional())],
                ))
                .optional(),
            )
            .nested("rule", Nesting::List, rule);
        let value = Value::object([
            ("id", Value::string("i")),
            ("arn", Value::string("arn")),
            ("name", Value::string("a \"b\" ${c}")),
            ("prefix", Value::string("")),
            ("policy", Value::string("{\"A\": [1, \"x\"]}")),
            ("password", Value::string("secret")),
            (
                "tags",
                Value::map(Type::String, [("a b", Value::string("v"))]),
            ),
            (
                "nested",
                Value::tuple(vec![Value::object([("a", Value::TRUE)])]),
            ),
            (
                "rule",
                Value::tuple(vec![Value::object([("port", Value::number(80))])]),
            ),
        ]);
        let address = Resource {
            mode: Mode::Managed,
            kind: "demo_thing".into(),
            name: "x".into(),
        };
        let provider = LocalProvider {
            name: "demo".into(),
            alias: Some("west".into()),
        };
        assert_eq!(
            resource_block(&address, &provider, &schema, &value),
            "resource \"demo_thing\" \"x\" {\n  provider = demo.west\n  name     = \"a \\\"b\\\" $${c}\"\n  nested = [\n    \
             {\n      a = true\n    },\n  ]\n  password = null # sensitive\n  policy = jsonencode({\n    A = [1, \
             \"x\"]\n  })\n  prefix = null\n  tags = {\n    \"a b\" = \"v\"\n  }\n  rule {\n    port = 80\n  }\n}"
        );
    }
}
