//! Conversion of a value to a variable's type, with the defaults of optional attributes.

use consort_hcl::{ConvertError, Defaults, Type, Value};

/// The value with defaults put in, as the variable's type. A null stays null.
///
/// # Errors
/// With what does not fit. Terraform says where in a declared default, and of no other value.
pub(super) fn with_defaults(
    value: &Value,
    ty: &Type,
    defaults: &Defaults,
) -> Result<Value, ConvertError> {
    let filled = if value.is_null() {
        value.clone()
    } else {
        defaults.apply(value)
    };
    consort_hcl::convert(&filled, ty)
}
