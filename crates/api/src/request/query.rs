//! Query strings: decoded, in order, keys may repeat.

/// A decoded query string.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decode a query string (`application/x-www-form-urlencoded`).
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key, true), decode(value, true))
            });
        Self(pairs.collect())
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(name, _)| name == key);
        pair.map(|(_, value)| value.as_str())
    }

    /// The first value of a key unless it is empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// Every value of a key, in order.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Is the key there at all?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A switch: absent, `0` and `false` are off; anything else, an empty value too, is on.
    /// That is how Kubernetes converts a query string to booleans.
    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(value) if value != "0" && !value.eq_ignore_ascii_case("false"))
    }
}

/// Undo percent-encoding; `plus` also turns `+` into a space. Broken escapes stay as they are.
pub(super) fn decode(text: &str, plus: bool) -> String {
    if !text
        .bytes()
        .any(|byte| byte == b'%' || (plus && byte == b'+'))
    {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', None) if plus => {
                out.push(b' ');
                at += 1;
            }
            (byte, None) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Percent-encode a query value or path segment: all but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_plus_and_repeats_are_decoded() {
        let query = Query::parse(Some(
            "labelSelector=app%3Dweb&command=a+b&command=%zz&watch",
        ));
        assert_eq!(query.get("labelSelector"), Some("app=web"));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["a b", "%zz"]);
        assert!(query.flag("watch"));
        assert!(!query.flag("pretty"));
        assert!(!Query::parse(Some("watch=false")).flag("watch"));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "a b/c?d=é&+%";
        assert_eq!(decode(&encode(text), true), text);
    }
}
