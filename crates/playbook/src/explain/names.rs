//! Parts of messages.

/// What stands between two texts: the first such.
pub(super) fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let from = text.find(before)? + before.len();
    let end = text[from..].find(after)?;
    Some(&text[from..from + end])
}

/// What stands in quotes right before a text.
pub(super) fn quoted_before<'t>(text: &'t str, after: &str) -> Option<&'t str> {
    let end = text.find(after)?;
    let begin = text[..end].rfind('\'')?;
    Some(&text[begin + 1..end])
}
