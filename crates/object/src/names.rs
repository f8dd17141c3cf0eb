//! What names, labels and keys may look like. The rules and the messages follow upstream's
//! `validation` package, because users and tests know them by heart. Each function checks one rule
//! and says all that is wrong, joined by `"; "`.

use std::sync::LazyLock;

use regex::Regex;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const CONFIG_KEY: &str = "[-._a-zA-Z0-9]+";
const ENV_NAME: &str = "[-._a-zA-Z][-._a-zA-Z0-9]*";
const HEADER_NAME: &str = "[-A-Za-z0-9]+";
const PERCENT: &str = "[0-9]+%";
const C_IDENTIFIER: &str = "[A-Za-z_][A-Za-z0-9_]*";

const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const DNS_1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters \
    or '-', start with an alphabetic character, and end with an alphanumeric character";
const WILDCARD_MESSAGE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a \
    valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and \
    end with an alphanumeric character";
const QUALIFIED_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const CONFIG_KEY_MESSAGE: &str =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
const ENV_MESSAGE: &str = "a valid environment variable name must consist only of printable ASCII \
    characters other than '='";
const STRICT_ENV_MESSAGE: &str = "a valid environment variable name must consist of alphabetic \
    characters, digits, '_', '-', or '.', and must not start with a digit";
const HEADER_MESSAGE: &str = "a valid HTTP header must consist of alphanumeric characters or '-'";
const PERCENT_MESSAGE: &str =
    "a valid percent string must be a numeric string followed by an ending '%'";
const C_IDENTIFIER_MESSAGE: &str = "a valid C identifier must start with alphabetic character or \
    '_', followed by a string of alphanumeric characters or '_'";

/// A single DNS label by RFC 1123, at most 63 characters: names of namespaces, ports, containers.
///
/// # Errors
///
/// Upstream's message.
pub fn dns1123_label(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 63, &mut wrong);
    if !is_label(value) {
        wrong.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            pattern(LABEL_MESSAGE, LABEL, &["my-name", "123-abc"])
        });
    }
    join(&wrong)
}

/// DNS labels by RFC 1123 joined by dots, at most 253 characters: names of most objects.
///
/// # Errors
///
/// Upstream's message.
pub fn dns1123_subdomain(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 253, &mut wrong);
    if !is_subdomain(value) {
        wrong.push(pattern(SUBDOMAIN_MESSAGE, SUBDOMAIN, &["example.com"]));
    }
    join(&wrong)
}

/// A single DNS label by RFC 1035, at most 63 characters: names of services.
///
/// # Errors
///
/// Upstream's message.
pub fn dns1035_label(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 63, &mut wrong);
    let alphabetic = value.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !alphabetic || !is_label(value) {
        wrong.push(pattern(DNS_1035_MESSAGE, DNS_1035, &["my-name", "abc-123"]));
    }
    join(&wrong)
}

/// `*.` and a subdomain: hosts of ingresses.
///
/// # Errors
///
/// Upstream's message.
pub fn wildcard_dns1123_subdomain(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 253, &mut wrong);
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        let regex = format!(r"\*\.{SUBDOMAIN}");
        wrong.push(pattern(WILDCARD_MESSAGE, &regex, &["*.example.com"]));
    }
    join(&wrong)
}

/// A key of a label or annotation, or any other qualified name: a name of at most 63 characters,
/// with an optional DNS subdomain and `/` before it.
///
/// # Errors
///
/// Upstream's message.
pub fn label_key(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let mut parts = value.split('/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => (None, name),
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        _ => {
            return Err(format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')",
                pattern(QUALIFIED_MESSAGE, QUALIFIED, &examples)
            ));
        }
    };
    match prefix {
        None => {}
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            if let Err(message) = dns1123_subdomain(prefix) {
                wrong.push(format!("prefix part {message}"));
            }
        }
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_qualified(name) {
        let message = pattern(QUALIFIED_MESSAGE, QUALIFIED, &examples);
        wrong.push(format!("name part {message}"));
    }
    join(&wrong)
}

/// The same rule under the name upstream uses outside labels.
///
/// # Errors
///
/// As [`label_key`].
pub fn qualified_name(value: &str) -> Result<(), String> {
    label_key(value)
}

/// Value of a label: empty, or at most 63 characters of a qualified name's alphabet.
///
/// # Errors
///
/// Upstream's message.
pub fn label_value(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 63, &mut wrong);
    if !value.is_empty() && !is_qualified(value) {
        let examples = ["MyValue", "my_value", "12345"];
        wrong.push(pattern(LABEL_VALUE_MESSAGE, LABEL_VALUE, &examples));
    }
    join(&wrong)
}

/// A name that can stand as one segment of a URL path: names of RBAC objects.
///
/// # Errors
///
/// Upstream's message.
pub fn path_segment(value: &str) -> Result<(), String> {
    if value == "." || value == ".." {
        return Err(format!("may not be '{value}'"));
    }
    let wrong: Vec<String> = ["/", "%"]
        .iter()
        .filter(|bad| value.contains(**bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect();
    join(&wrong)
}

/// A key in the data of a ConfigMap or Secret; also a file name.
///
/// # Errors
///
/// Upstream's message.
pub fn config_map_key(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 253, &mut wrong);
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    if value.is_empty() || !value.as_bytes().iter().all(allowed) {
        let examples = ["key.name", "KEY_NAME", "key-name"];
        wrong.push(pattern(CONFIG_KEY_MESSAGE, CONFIG_KEY, &examples));
    }
    parent_directory(value, &mut wrong);
    join(&wrong)
}

/// Name of an environment variable by the rule in force since Kubernetes 1.34: printable ASCII
/// without `=`.
///
/// # Errors
///
/// Upstream's message.
pub fn env_var_name(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    if value.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !value
        .bytes()
        .all(|b| (0x20..0x7f).contains(&b) && b != b'=')
    {
        wrong.push(ENV_MESSAGE.to_owned());
    }
    join(&wrong)
}

/// Name of an environment variable by the older, stricter rule.
///
/// # Errors
///
/// Upstream's message.
pub fn strict_env_var_name(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    let digit = value.as_bytes().first().is_none_or(u8::is_ascii_digit);
    if digit || !value.as_bytes().iter().all(allowed) {
        let examples = ["my.env-name", "MY_ENV.NAME", "MyEnvName1"];
        wrong.push(pattern(STRICT_ENV_MESSAGE, ENV_NAME, &examples));
    }
    parent_directory(value, &mut wrong);
    join(&wrong)
}

/// A C identifier.
///
/// # Errors
///
/// Upstream's message.
pub fn c_identifier(value: &str) -> Result<(), String> {
    let start = |b: &u8| b.is_ascii_alphabetic() || *b == b'_';
    let valid = value.as_bytes().split_first().is_some_and(|(first, rest)| {
        start(first) && rest.iter().all(|b| start(b) || b.is_ascii_digit())
    });
    if valid {
        return Ok(());
    }
    let examples = ["my_name", "MY_NAME", "MyName"];
    Err(pattern(C_IDENTIFIER_MESSAGE, C_IDENTIFIER, &examples))
}

/// Name of a container's or service's port as IANA has it: at most 15 characters.
///
/// # Errors
///
/// Upstream's message.
pub fn port_name(value: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    max_len(value, 15, &mut wrong);
    let bytes = value.as_bytes();
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    if bytes.is_empty() || !bytes.iter().all(allowed) {
        wrong.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    join(&wrong)
}

/// Number of a port, 1 to 65535.
///
/// # Errors
///
/// Upstream's message.
pub fn port_number(value: i64) -> Result<(), String> {
    in_range(value, 1, 65535)
}

/// A number between two bounds, both included.
///
/// # Errors
///
/// Upstream's message.
pub fn in_range(value: i64, low: i64, high: i64) -> Result<(), String> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(format!("must be between {low} and {high}, inclusive"))
    }
}

/// A percentage such as `25%`.
///
/// # Errors
///
/// Upstream's message.
pub fn percent(value: &str) -> Result<(), String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(pattern(PERCENT_MESSAGE, PERCENT, &["1%", "93%"]))
    }
}

/// Name of an HTTP header.
///
/// # Errors
///
/// Upstream's message.
pub fn http_header_name(value: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !value.is_empty() && value.bytes().all(allowed) {
        Ok(())
    } else {
        Err(pattern(HEADER_MESSAGE, HEADER_NAME, &["X-Header-Name"]))
    }
}

/// A subdomain of at least two segments, a dot at its end allowed.
///
/// # Errors
///
/// Upstream's message.
pub fn fully_qualified_domain_name(value: &str) -> Result<(), String> {
    let value = value.strip_suffix('.').unwrap_or(value);
    dns1123_subdomain(value)?;
    if !value.contains('.') {
        return Err("should be a domain with at least two segments separated by dots".to_owned());
    }
    value.split('.').try_for_each(dns1123_label)
}

fn is_label(value: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = value.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

fn is_qualified(value: &str) -> bool {
    static REGEX: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(&format!("^(?:{QUALIFIED})$")).ok());
    // `$` also matches before a final newline in some dialects; not in this one.
    REGEX.as_ref().is_some_and(|regex| regex.is_match(value))
}

fn max_len(value: &str, max: usize, wrong: &mut Vec<String>) {
    if value.len() > max {
        wrong.push(format!("must be no more than {max} characters"));
    }
}

fn parent_directory(value: &str, wrong: &mut Vec<String>) {
    if value == "." || value == ".." {
        wrong.push(format!("must not be '{value}'"));
    } else if value.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
}

fn pattern(message: &str, regex: &str, examples: &[&str]) -> String {
    // Two blanks: that is how upstream prints it.
    let examples = examples.join("',  or '");
    format!("{message} (e.g. '{examples}', regex used for validation is '{regex}')")
}

fn join(wrong: &[String]) -> Result<(), String> {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_ones_users_know() {
        assert_eq!(
            dns1123_subdomain("Web_1").unwrap_err(),
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
             or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
             regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        );
        assert_eq!(
            dns1123_label("-a").unwrap_err(),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
             regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        );
        assert_eq!(dns1123_label("a.b").unwrap_err(), "must not contain dots");
        assert_eq!(
            label_key("/x").unwrap_err(),
            "prefix part must be non-empty"
        );
        assert_eq!(
            path_segment("a/b%").unwrap_err(),
            "may not contain '/'; may not contain '%'"
        );
        assert_eq!(
            port_number(0).unwrap_err(),
            "must be between 1 and 65535, inclusive"
        );
    }

    #[test]
    fn lengths_are_bounded() {
        let long = "a".repeat(64);
        assert_eq!(
            dns1123_label(&long).unwrap_err(),
            "must be no more than 63 characters"
        );
        assert_eq!(
            label_value(&long).unwrap_err(),
            "must be no more than 63 characters"
        );
        assert!(dns1123_subdomain(&long).is_ok());
        assert!(dns1123_subdomain(&"a".repeat(254)).is_err());
    }

    #[test]
    fn good_names_pass() {
        for name in ["a", "a-b", "1", "a.b-c.d"] {
            assert!(dns1123_subdomain(name).is_ok(), "{name}");
        }
        assert!(dns1035_label("web-1").is_ok() && dns1035_label("1web").is_err());
        assert!(label_key("example.com/My_Name.x").is_ok() && label_key("a/b/c").is_err());
        assert!(
            label_value("").is_ok() && label_value("a b").is_err() && label_value("a\n").is_err()
        );
        assert!(config_map_key("..x").is_err() && config_map_key("a.b_c-d").is_ok());
        assert!(env_var_name("A B").is_ok() && env_var_name("A=B").is_err());
        assert!(strict_env_var_name("1A").is_err() && strict_env_var_name("A1").is_ok());
        assert!(
            port_name("http").is_ok() && port_name("80").is_err() && port_name("a--b").is_err()
        );
        assert!(percent("25%").is_ok() && percent("%").is_err());
        assert!(c_identifier("_a1").is_ok() && c_identifier("1a").is_err());
        assert!(wildcard_dns1123_subdomain("*.a.b").is_ok());
        assert!(
            fully_qualified_domain_name("a.b.").is_ok()
                && fully_qualified_domain_name("a").is_err()
        );
        assert!(http_header_name("X-A").is_ok() && http_header_name("X:A").is_err());
    }
}
