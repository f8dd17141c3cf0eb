//! Reading addresses from text, as users and state files write them.

use std::str::FromStr;
use std::sync::Arc;

use super::key::Key;
use super::module::{ModuleInstance, ModulePath, ModuleStep};
use super::provider::{ProviderConfig, ProviderSource};
use super::resource::{AbsResource, ConfigResource, Mode, Resource, ResourceInstance};
use super::target::Target;

/// Why a text is not an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// The text is not names, dots and keys in brackets.
    #[error("at byte {at} of \"{text}\": {expected}")]
    Syntax {
        /// What was read.
        text: String,
        /// Where it went wrong.
        at: usize,
        /// What should have stood there.
        expected: &'static str,
    },
    /// The text is well-formed and names something else.
    #[error("\"{text}\" is not {wanted}")]
    Kind {
        /// What was read.
        text: String,
        /// What it should have been.
        wanted: &'static str,
    },
}

/// A name and the key that may follow it.
struct Segment {
    name: Arc<str>,
    key: Key,
}

fn segments(text: &str) -> Result<Vec<Segment>, ParseError> {
    let fail = |at: usize, expected: &'static str| ParseError::Syntax {
        text: text.to_owned(),
        at,
        expected,
    };
    let mut found = Vec::new();
    let mut at = 0;
    let mut rest = text;
    loop {
        let end = rest
            .char_indices()
            .find(|(index, c)| !(c.is_alphanumeric() || *c == '_' || *c == '-' && *index > 0))
            .map_or(rest.len(), |(index, _)| index);
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(fail(at, "a name is expected"));
        }
        let name: Arc<str> = rest[..end].into();
        at += end;
        rest = &rest[end..];
        let mut key = Key::None;
        if let Some(inner) = rest.strip_prefix('[') {
            let (read, length) = bracket(inner).map_err(|expected| fail(at + 1, expected))?;
            key = read;
            at += 1 + length;
            rest = &inner[length..];
        }
        found.push(Segment { name, key });
        if rest.is_empty() {
            return Ok(found);
        }
        let Some(after) = rest.strip_prefix('.') else {
            return Err(fail(at, "a dot or a key in brackets is expected"));
        };
        at += 1;
        rest = after;
    }
}

/// Reads a key and its closing bracket; gives how many bytes that took.
fn bracket(text: &str) -> Result<(Key, usize), &'static str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (string, length) = unquote(quoted)?;
        let end = length + 1;
        if !text[end..].starts_with(']') {
            return Err("a closing bracket is expected after the key");
        }
        return Ok((Key::String(string.into()), end + 1));
    }
    let end = text.find(']').ok_or("a closing bracket is expected")?;
    let index = text[..end]
        .trim()
        .parse()
        .map_err(|_| "a key is a number or a quoted string")?;
    Ok((Key::Int(index), end + 1))
}

/// Reads up to the closing quote; gives the text and how many bytes were read, the quote included.
fn unquote(text: &str) -> Result<(String, usize), &'static str> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + 1)),
            '\\' => {
                let Some((_, escape)) = chars.next() else {
                    break;
                };
                let digits = match escape {
                    'n' => {
                        out.push('\n');
                        continue;
                    }
                    'r' => {
                        out.push('\r');
                        continue;
                    }
                    't' => {
                        out.push('\t');
                        continue;
                    }
                    '"' | '\\' => {
                        out.push(escape);
                        continue;
                    }
                    'u' => 4,
                    'U' => 8,
                    _ => return Err("an unknown escape"),
                };
                let mut code = 0_u32;
                for _ in 0..digits {
                    let digit = chars
                        .next()
                        .and_then(|(_, c)| c.to_digit(16))
                        .ok_or("a hexadecimal digit is expected")?;
                    code = code.wrapping_mul(16).wrapping_add(digit);
                }
                out.push(char::from_u32(code).ok_or("an escape that is no character")?);
            }
            '$' | '%' => {
                out.push(c);
                let rest = &text[at + 1..];
                if rest.starts_with('{') {
                    return Err("a key may not hold a template");
                }
                if rest.starts_with(c) && rest[1..].starts_with('{') {
                    chars.next();
                }
            }
            c => out.push(c),
        }
    }
    Err("a closing quote is expected")
}

/// Splits the module steps off the front.
fn module_of(
    text: &str,
    segments: &mut std::iter::Peekable<std::vec::IntoIter<Segment>>,
) -> Result<ModuleInstance, ParseError> {
    let mut steps = Vec::new();
    while segments
        .peek()
        .is_some_and(|segment| &*segment.name == "module" && segment.key.is_none())
    {
        segments.next();
        let Some(Segment { name, key }) = segments.next() else {
            return Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "a module address: the name after \"module.\" is missing",
            });
        };
        steps.push(ModuleStep { name, key });
    }
    if steps.is_empty() {
        Ok(ModuleInstance::root())
    } else {
        Ok(steps.into_iter().collect())
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let kind = |wanted| ParseError::Kind {
            text: text.to_owned(),
            wanted,
        };
        let mut rest = segments(text)?.into_iter().peekable();
        let module = module_of(text, &mut rest)?;
        let Some(mut first) = rest.next() else {
            return Ok(Target::Module(module));
        };
        let mode = match &*first.name {
            "data" => Mode::Data,
            "ephemeral" => Mode::Ephemeral,
            _ => Mode::Managed,
        };
        if matches!(&*first.name, "data" | "ephemeral" | "resource") {
            first = rest
                .next()
                .ok_or_else(|| kind("a resource address: a type and a name are missing"))?;
        }
        let name = rest
            .next()
            .ok_or_else(|| kind("a resource address: a name must follow the type"))?;
        if !first.key.is_none() {
            return Err(kind("a resource address: a name must follow the type"));
        }
        if rest.next().is_some() {
            return Err(kind("a resource address: something follows the resource"));
        }
        let resource = Resource {
            mode,
            kind: first.name,
            name: name.name,
        };
        if name.key.is_none() {
            return Ok(Target::Resource(AbsResource { module, resource }));
        }
        Ok(Target::Instance(ResourceInstance {
            module,
            resource,
            key: name.key,
        }))
    }
}

impl FromStr for ModuleInstance {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Ok(ModuleInstance::root());
        }
        match text.parse()? {
            Target::Module(module) => Ok(module),
            _ => Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "a module address",
            }),
        }
    }
}

impl FromStr for ModulePath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let module: ModuleInstance = text.parse()?;
        if module.steps().iter().any(|step| !step.key.is_none()) {
            return Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "a module address without keys",
            });
        }
        Ok(module.path())
    }
}

impl FromStr for ResourceInstance {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.parse()? {
            Target::Instance(instance) => Ok(instance),
            Target::Resource(resource) => Ok(resource.instance(Key::None)),
            Target::Module(_) => Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "the address of a resource instance",
            }),
        }
    }
}

impl FromStr for AbsResource {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.parse()? {
            Target::Resource(resource) => Ok(resource),
            _ => Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "the address of a resource",
            }),
        }
    }
}

impl FromStr for ConfigResource {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.parse::<Target>()? {
            Target::Resource(resource) => Ok(resource.config()),
            Target::Instance(instance) => Ok(instance.config()),
            Target::Module(_) => Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "the address of a resource",
            }),
        }
    }
}

impl FromStr for ProviderSource {
    type Err = ParseError;

    /// Reads `type`, `namespace/type` or `host/namespace/type`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<_> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "a provider's source address",
            });
        }
        match parts[..] {
            [kind] => Ok(ProviderSource::implied(kind)),
            [namespace, kind] => Ok(ProviderSource::new(namespace, kind)),
            [host, namespace, kind] => Ok(ProviderSource {
                host: host.into(),
                namespace: namespace.into(),
                kind: kind.into(),
            }),
            _ => Err(ParseError::Kind {
                text: text.to_owned(),
                wanted: "a provider's source address",
            }),
        }
    }
}

impl FromStr for ProviderConfig {
    type Err = ParseError;

    /// Reads what a state file holds: `module.a.provider["host/ns/type"].alias`, and the older
    /// `provider.type.alias` of states from before providers had sources.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let kind = || ParseError::Kind {
            text: text.to_owned(),
            wanted: "a provider configuration's address",
        };
        let mut rest = segments(text)?.into_iter().peekable();
        let module = module_of(text, &mut rest)?.path();
        let first = rest
            .next()
            .filter(|segment| &*segment.name == "provider")
            .ok_or_else(kind)?;
        let provider = match first.key {
            Key::String(source) => source.parse()?,
            Key::None => {
                let legacy = rest
                    .next()
                    .filter(|segment| segment.key.is_none())
                    .ok_or_else(kind)?;
                ProviderSource::implied(&legacy.name)
            }
            Key::Int(_) => return Err(kind()),
        };
        let alias = rest.next().map(|segment| segment.name);
        if rest.next().is_some() {
            return Err(kind());
        }
        Ok(ProviderConfig {
            module,
            provider,
            alias,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_were_read() {
        for text in [
            "null_resource.a",
            "null_resource.a[0]",
            r#"module.m["x.y[\"z\"]"].module.n[3].data.http.b["k"]"#,
            "module.m",
            r#"module.m["a"]"#,
            "ephemeral.random_password.p",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in [
            r#"provider["registry.terraform.io/hashicorp/null"]"#,
            r#"module.a.module.b.provider["terraform.io/builtin/terraform"].west"#,
        ] {
            assert_eq!(text.parse::<ProviderConfig>().unwrap().to_string(), text);
        }
        assert_eq!(
            "provider.aws.x"
                .parse::<ProviderConfig>()
                .unwrap()
                .to_string(),
            r#"provider["registry.terraform.io/hashicorp/aws"].x"#
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_place() {
        for text in [
            "", "a", "a.", "a.b.c", "module", "a.b[", "a.b[\"x]", "a[0].b", "data.a", "a b.c",
            "a.b[1.5]", "é.\u{0}",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert_eq!(
            "aws_x.b[\"q\\z\"]"
                .parse::<Target>()
                .unwrap_err()
                .to_string(),
            "at byte 8 of \"aws_x.b[\"q\\z\"]\": an unknown escape"
        );
    }

    #[test]
    fn a_target_without_keys_stands_for_all_instances() {
        let instance: ResourceInstance =
            r#"module.m["a"].module.n[1].null_resource.r[2]"#.parse().unwrap();
        for (text, contains) in [
            ("module.m", true),
            ("module.m.module.n", true),
            (r#"module.m["b"]"#, false),
            ("module.m.module.n.null_resource.r", true),
            (r#"module.m["a"].module.n[1].null_resource.r[2]"#, true),
            ("module.m.module.n.null_resource.r[3]", false),
            ("module.m.null_resource.r", false),
            ("null_resource.r", false),
        ] {
            assert_eq!(
                text.parse::<Target>().unwrap().contains(&instance),
                contains,
                "{text}"
            );
        }
    }

    #[test]
    fn instances_order_as_terraform_lists_them() {
        let mut given = [
            "module.a.null_resource.a",
            "null_resource.b[\"x\"]",
            "null_resource.b[10]",
            "null_resource.b[9]",
            "data.http.z",
            "module.a.module.b.null_resource.a",
            "null_resource.a",
        ]
        .map(|text| text.parse::<ResourceInstance>().unwrap());
        given.sort();
        assert_eq!(
            given.map(|address| address.to_string()),
            [
                "data.http.z",
                "null_resource.a",
                "null_resource.b[9]",
                "null_resource.b[10]",
                "null_resource.b[\"x\"]",
                "module.a.null_resource.a",
                "module.a.module.b.null_resource.a",
            ]
        );
    }
}
