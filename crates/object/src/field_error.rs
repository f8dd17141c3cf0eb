//! What is wrong with one field of an object (apimachinery's `field.Error`).

use std::fmt;

use serde_json::Value;

use crate::text::go_quote;

/// The kind of trouble with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// A value must be given.
    Required,
    /// The value is malformed or out of bounds.
    Invalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The value must be unique and is not.
    Duplicate,
    /// The value is allowed elsewhere, not here.
    Forbidden,
    /// The value is too long; it is not repeated in the message.
    TooLong,
    /// The value is too short.
    TooShort,
    /// The list has too many items.
    TooMany,
    /// The list has too few items.
    TooFew,
    /// The value has the wrong type.
    TypeInvalid,
    /// The value names something that is not there.
    NotFound,
    /// The check itself failed.
    Internal,
}

impl FieldErrorKind {
    /// The word in a status cause's `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
        }
    }

    /// The words that begin the message.
    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    fn shows_the_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::TooShort | Self::Internal
        )
    }
}

/// One field that is wrong. Displayed as `spec.replicas: Invalid value: -1: must be ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The field's JSON path, such as `spec.containers[0].name`.
    pub field: String,
    /// What kind of trouble it is.
    pub kind: FieldErrorKind,
    /// The value at fault; `None` leaves it out of the message.
    pub bad_value: Option<Value>,
    /// What was expected; may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error of any kind.
    pub fn new(
        kind: FieldErrorKind,
        field: impl Into<String>,
        bad_value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            kind,
            bad_value,
            detail: detail.into(),
        }
    }

    /// A value must be given.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, None, detail)
    }

    /// The value is malformed or out of bounds.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(FieldErrorKind::Invalid, field, Some(value.into()), detail)
    }

    /// The value has the wrong type.
    pub fn type_invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(
            FieldErrorKind::TypeInvalid,
            field,
            Some(value.into()),
            detail,
        )
    }

    /// The value is not one of `supported`.
    pub fn not_supported(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: &[&str],
    ) -> Self {
        let detail = if supported.is_empty() {
            String::new()
        } else {
            let quoted: Vec<String> = supported.iter().map(|value| go_quote(value)).collect();
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(
            FieldErrorKind::NotSupported,
            field,
            Some(value.into()),
            detail,
        )
    }

    /// The value must be unique and is not.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, Some(value.into()), "")
    }

    /// The value is allowed elsewhere, not here.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, None, detail)
    }

    /// The value names something that is not there.
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, field, Some(value.into()), "")
    }

    /// The value has more than `limit` bytes.
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let unit = if limit == 1 { "byte" } else { "bytes" };
        Self::new(
            FieldErrorKind::TooLong,
            field,
            None,
            format!("may not be more than {limit} {unit}"),
        )
    }

    /// The list has `actual` items and may have `limit`.
    pub fn too_many(field: impl Into<String>, actual: usize, limit: usize) -> Self {
        let unit = if limit == 1 { "item" } else { "items" };
        Self::new(
            FieldErrorKind::TooMany,
            field,
            Some(Value::from(actual)),
            format!("must have at most {limit} {unit}"),
        )
    }

    /// The check itself failed.
    pub fn internal(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(FieldErrorKind::Internal, field, None, why.to_string())
    }

    /// The message without the field's path, as it stands in a status cause.
    pub fn body(&self) -> String {
        let mut body = self.kind.words().to_owned();
        if self.kind.shows_the_value() {
            match &self.bad_value {
                Some(Value::String(text)) => {
                    body.push_str(": ");
                    body.push_str(&go_quote(text));
                }
                Some(value) => {
                    body.push_str(": ");
                    body.push_str(&value.to_string());
                }
                None => {}
            }
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// Several errors as one message: alone as it is, more in brackets, repeated ones once.
pub struct FieldErrors<'a>(
    /// The errors, in the order found.
    pub &'a [FieldError],
);

impl fmt::Display for FieldErrors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen = std::collections::HashSet::new();
        let messages: Vec<String> = self
            .0
            .iter()
            .map(ToString::to_string)
            .filter(|message| seen.insert(message.clone()))
            .collect();
        match messages.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_upstream_writes_them() {
        let shown = |error: FieldError| error.to_string();
        assert_eq!(
            shown(FieldError::required("spec.x", "must be given")),
            "spec.x: Required value: must be given"
        );
        assert_eq!(
            shown(FieldError::not_supported("spec.type", "Foo", &["A", "B"])),
            r#"spec.type: Unsupported value: "Foo": supported values: "A", "B""#
        );
        assert_eq!(
            shown(FieldError::duplicate("spec.ports[1].name", "http")),
            r#"spec.ports[1].name: Duplicate value: "http""#
        );
        assert_eq!(
            shown(FieldError::too_long("metadata.name", 63)),
            "metadata.name: Too long: may not be more than 63 bytes"
        );
        assert_eq!(
            shown(FieldError::invalid(
                "spec.selector",
                serde_json::json!({"a":"b"}),
                "field is immutable"
            )),
            r#"spec.selector: Invalid value: {"a":"b"}: field is immutable"#
        );
    }

    #[test]
    fn a_repeated_error_is_said_once() {
        let error = FieldError::required("a", "");
        assert_eq!(
            FieldErrors(&[error.clone(), error]).to_string(),
            "a: Required value"
        );
    }
}
