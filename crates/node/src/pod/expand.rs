//! `$(VAR)` references in environment values, commands and arguments.
//!
//! Follows the expansion rules of the Kubernetes API for `Container.command`, `.args` and
//! `EnvVar.value`: `$(NAME)` is replaced when the name is known and left as it stands when it is not;
//! `$$` is one literal dollar sign, so `$$(NAME)` gives the text `$(NAME)`.

/// Replaces every `$(NAME)` of `input` for which `lookup` knows a value.
pub(crate) fn expand<'a>(input: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(body) = after.strip_prefix('(') {
            let Some(end) = body.find(')') else {
                out.push_str("$(");
                rest = body;
                continue;
            };
            let name = &body[..end];
            if let Some(value) = lookup(name) {
                out.push_str(value);
            } else {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
            rest = &body[end + 1..];
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The first name in `input` that `lookup` does not know; for places where an unknown name is an error.
pub(crate) fn first_unknown<'a>(
    input: &str,
    lookup: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    let missing = std::cell::RefCell::new(None);
    expand(input, |name| {
        let found = lookup(name);
        if found.is_none() {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        found
    });
    missing.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_escapes_kept() {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            "NESTED" => Some("$(A)"),
            _ => None,
        };
        for (input, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(MISSING)", "$(MISSING)"),
            ("$(EMPTY)|", "|"),
            ("$(NESTED)", "$(A)"),
            ("$A", "$A"),
            ("cost: 5$", "cost: 5$"),
            ("$(A", "$(A"),
            ("$()", "$()"),
        ] {
            assert_eq!(expand(input, lookup), expected, "{input}");
        }
        assert_eq!(
            first_unknown("$(A)/$(B)/$(C)", lookup),
            Some("B".to_owned())
        );
        assert_eq!(first_unknown("$(A)/$$(B)", lookup), None);
    }
}
