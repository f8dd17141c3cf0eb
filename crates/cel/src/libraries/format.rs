//! Named formats: names and labels of Kubernetes, and formats of OpenAPI.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use super::url::Url;
use crate::functions::{Context, Library};
use crate::libraries::{Answer, no_overload};
use crate::value::{Opaque, Value, parse_date, parse_timestamp};

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A name of one DNS label, or the beginning of one.
    Dns1123Label(bool),
    /// A name of DNS labels with dots between them, or the beginning of one.
    Dns1123Subdomain(bool),
    /// A DNS label that starts with a letter, or the beginning of one.
    Dns1035Label(bool),
    /// A key of a label: a name, perhaps after a domain.
    QualifiedName,
    /// A value of a label.
    LabelValue,
    /// An absolute URI or path.
    Uri,
    /// A UUID.
    Uuid,
    /// Base64.
    Byte,
    /// A date.
    Date,
    /// A date and time.
    DateTime,
}

static LABEL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok());
static SUBDOMAIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok()
});
static LABEL_1035: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").ok());
static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$").ok());
static UUID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok()
});

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern
        .as_ref()
        .is_some_and(|pattern| pattern.is_match(text))
}

const LABEL_WRONG: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_WRONG: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035_WRONG: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_WRONG: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_WRONG: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn too_long(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} characters"))
}

impl Format {
    /// Names of objects that are one DNS label.
    pub const LABEL: Format = Format::Dns1123Label(false);
    /// Names of most objects.
    pub const SUBDOMAIN: Format = Format::Dns1123Subdomain(false);

    /// The format of a name, as `format.named` knows them.
    pub fn named(name: &str) -> Option<Format> {
        Some(match name {
            "dns1123Label" => Format::Dns1123Label(false),
            "dns1123Subdomain" => Format::Dns1123Subdomain(false),
            "dns1035Label" => Format::Dns1035Label(false),
            "qualifiedName" => Format::QualifiedName,
            "dns1123LabelPrefix" => Format::Dns1123Label(true),
            "dns1123SubdomainPrefix" => Format::Dns1123Subdomain(true),
            "dns1035LabelPrefix" => Format::Dns1035Label(true),
            "labelValue" => Format::LabelValue,
            "uri" => Format::Uri,
            "uuid" => Format::Uuid,
            "byte" => Format::Byte,
            "date" => Format::Date,
            "datetime" => Format::DateTime,
            _ => return None,
        })
    }

    /// The length of its pattern, or of one that would do the same: what its cost follows from.
    pub(crate) fn pattern_size(self) -> u64 {
        match self {
            Format::Dns1123Label(_) | Format::Dns1035Label(_) => 30,
            Format::Dns1123Subdomain(_) | Format::QualifiedName => 60,
            Format::LabelValue => 40,
            Format::Uri => 1103,
            Format::Uuid => 70,
            Format::Byte => 84,
            Format::Date | Format::DateTime => 71,
        }
    }

    /// What is wrong with a text; nothing when it has the format.
    pub fn validate(self, text: &str) -> Vec<String> {
        let whole = |prefix: bool| {
            // The beginning of a name may end in a dash that something follows.
            match text.strip_suffix('-') {
                Some(head) if prefix && text.len() > 1 => format!("{head}a"),
                _ => text.to_owned(),
            }
        };
        let judged = |pattern, text: &str, most: usize, wrong: &str| {
            let mut faults: Vec<String> = too_long(text, most).into_iter().collect();
            if !matches(pattern, text) {
                faults.push(wrong.to_owned());
            }
            faults
        };
        let only = |valid: bool, wrong: &str| {
            if valid {
                Vec::new()
            } else {
                vec![wrong.to_owned()]
            }
        };
        match self {
            Format::Dns1123Label(prefix) => judged(&LABEL, &whole(prefix), 63, LABEL_WRONG),
            Format::Dns1123Subdomain(prefix) => {
                judged(&SUBDOMAIN, &whole(prefix), 253, SUBDOMAIN_WRONG)
            }
            Format::Dns1035Label(prefix) => {
                judged(&LABEL_1035, &whole(prefix), 63, LABEL_1035_WRONG)
            }
            Format::QualifiedName => qualified_name(text),
            Format::LabelValue => {
                let mut faults: Vec<String> = too_long(text, 63).into_iter().collect();
                if !text.is_empty() && !matches(&NAME, text) {
                    faults.push(LABEL_VALUE_WRONG.to_owned());
                }
                faults
            }
            Format::Uri => Url::request(text).err().into_iter().collect(),
            Format::Uuid => only(matches(&UUID, text), "does not match the UUID format"),
            Format::Byte => only(
                !text.is_empty() && STANDARD.decode(text).is_ok(),
                "invalid base64",
            ),
            Format::Date => only(parse_date(text).is_some(), "invalid date"),
            Format::DateTime => only(
                parse_timestamp(&text.to_ascii_uppercase()).is_ok(),
                "invalid datetime",
            ),
        }
    }
}

fn qualified_name(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(
                    Format::SUBDOMAIN
                        .validate(prefix)
                        .into_iter()
                        .map(|fault| format!("prefix part {fault}")),
                );
            }
            *name
        }
        _ => {
            return vec![format!(
                "a qualified name {NAME_WRONG} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if let Some(fault) = too_long(name, 63) {
        faults.push(format!("name part {fault}"));
    }
    if !matches(&NAME, name) {
        faults.push(format!("name part {NAME_WRONG}"));
    }
    faults
}

macro_rules! constants {
    ($($name:literal),*) => {
        /// Declarations and code.
        pub(crate) const LIBRARY: Library = Library {
            declarations: concat!(
                "format-validate: Format::validate(string) -> optional(list(string))\n",
                "format-named: format.named(string) -> optional(Format)\n",
                $("format.", $name, ": format.", $name, "() -> Format\n",)*
            ),
            functions: &[
                ("validate", validate),
                ("format.named", |_, args| match args {
                    [Value::String(name)] => {
                        Ok(Value::optional(Format::named(name).map(|format| Value::Opaque(Opaque::Format(format)))))
                    }
                    _ => no_overload(),
                }),
                $((concat!("format.", $name), |_, _| {
                    Format::named($name).map_or_else(no_overload, |format| Ok(Value::Opaque(Opaque::Format(format))))
                }),)*
            ],
        };
    };
}

constants!(
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime"
);

fn validate<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::Opaque(Opaque::Format(format)), Value::String(text)] = args else {
        return no_overload();
    };
    let faults = format.validate(text);
    if faults.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::optional(Some(Value::list(
        faults.into_iter().map(Value::owned_text).collect(),
    ))))
}
