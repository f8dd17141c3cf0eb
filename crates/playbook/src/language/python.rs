//! What Python calls the types of values, for messages that show them.

use consort_jinja::Value;

use crate::source::{Content, Node};

/// `<class 'list'>`, as `type(value)` is shown for a value that was read.
pub(crate) fn class(node: &Node) -> String {
    let tagged = match node.content() {
        Content::Sequence(_) => "list",
        Content::Mapping(_) => "dict",
        Content::Scalar(Value::Str(_)) => "str",
        Content::Scalar(Value::Int(_) | Value::Big(_)) => "int",
        Content::Scalar(Value::Float(_)) => "float",
        Content::Scalar(Value::Bytes(_)) => "bytes",
        Content::Scalar(Value::None) => return "<class 'NoneType'>".to_owned(),
        Content::Scalar(Value::Bool(_)) => return "<class 'bool'>".to_owned(),
        Content::Scalar(value) => return format!("<class '{}'>", value.type_name()),
    };
    let (first, rest) = tagged.split_at(1);
    format!(
        "<class 'ansible.module_utils._internal._datatag._AnsibleTagged{}{rest}'>",
        first.to_uppercase()
    )
}

/// The value as `str()` shows it.
pub(crate) fn shown(node: &Node) -> String {
    consort_jinja::repr::text(&node.value())
}

/// The value as `repr()` shows it.
pub(crate) fn repr(value: &Value) -> String {
    consort_jinja::repr::repr(value)
}

/// Whether a text is the name of a variable: a Python identifier of ASCII that is no word of Jinja's.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !matches!(
            name,
            "not" | "True" | "true" | "False" | "false" | "None" | "none"
        )
}
