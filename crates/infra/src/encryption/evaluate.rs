//! From blocks to what seals and opens: every expression evaluated, no key asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::evaluate::{Function, Resolution, Scope};
use consort_hcl::{Diagnostic, Diagnostics, Range, Traversal, Type, Value};

use super::Context;
use super::blocks::{Declared, Settings};
use super::keys::{Hash, KeyProvider, KeySource, Keys, Pbkdf2, Provider};
use super::method::Method;
use super::openbao::OpenBao;
use super::target::Recipes;
use crate::config::Module;
use crate::provider::schema::{Attribute, Block};

/// How deep locals may refer to each other.
const DEEPEST: usize = 64;

/// The name under which a value remembers which key provider it stands for.
const STANDS_FOR: &str = "key provider";

/// What is known before anything is planned: variables, locals, and the names of key providers.
pub(super) struct Statics<'a> {
    module: Option<&'a Module>,
    context: &'a Context<'a>,
    providers: BTreeMap<(Arc<str>, Arc<str>), usize>,
    depth: usize,
}

impl<'a> Statics<'a> {
    pub(super) fn new(
        module: Option<&'a Module>,
        context: &'a Context<'a>,
        settings: &Settings,
    ) -> Statics<'a> {
        Statics {
            module,
            context,
            providers: settings
                .key_providers
                .iter()
                .enumerate()
                .map(|(at, found)| ((Arc::clone(&found.kind), Arc::clone(&found.name)), at))
                .collect(),
            depth: 0,
        }
    }
}

fn fail(summary: &str, detail: String, range: Range) -> Resolution {
    let mut diagnostics = Diagnostics::new();
    diagnostics.push(Diagnostic::error(summary, detail).at(range));
    Resolution::Failed(diagnostics)
}

impl Scope for Statics<'_> {
    fn variable(&self, _root: &str) -> Option<Value> {
        None
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.context.functions.get(name).cloned()
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        self.context.functions.keys().cloned().collect()
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        let range = traversal.range();
        let first = traversal.attribute(0);
        match (&*traversal.root, first) {
            ("var", Some(name)) => match self.context.variables.get(name) {
                Some(value) => Resolution::Found {
                    value: value.clone(),
                    steps: 1,
                },
                None if self
                    .module
                    .is_some_and(|module| module.variables.contains_key(name)) =>
                {
                    fail(
                        "Variable has no value",
                        format!(
                            "The variable var.{name} is needed to read the encryption configuration, before anything could be asked for: set it in the environment, in a file of values, or with -var."
                        ),
                        range,
                    )
                }
                None => fail(
                    "Undefined variable",
                    format!("Undefined variable var.{name}"),
                    range,
                ),
            },
            ("local", Some(name)) => {
                let Some(local) = self.module.and_then(|module| module.locals.get(name)) else {
                    return fail(
                        "Undefined local",
                        format!("Undefined local local.{name}"),
                        range,
                    );
                };
                if self.depth >= DEEPEST {
                    return fail(
                        "Circular reference",
                        format!("local.{name} refers to itself"),
                        range,
                    );
                }
                let deeper = Statics {
                    module: self.module,
                    context: self.context,
                    providers: BTreeMap::new(),
                    depth: self.depth + 1,
                };
                let (value, found) = local.expr.evaluate(&deeper);
                if found.has_errors() {
                    Resolution::Failed(found)
                } else {
                    Resolution::Found { value, steps: 1 }
                }
            }
            ("key_provider", Some(kind)) => {
                let Some(name) = traversal.attribute(1) else {
                    return fail(
                        "Invalid Key Provider expression format",
                        "The key_provider symbol must be followed by two more attribute names specifying the type and name of the selected key provider.".to_owned(),
                        range,
                    );
                };
                match self.providers.get(&(Arc::clone(kind), Arc::clone(name))) {
                    Some(at) => Resolution::Found {
                        value: Value::object([(STANDS_FOR, Value::number(*at))]),
                        steps: 2,
                    },
                    None => fail(
                        "Reference to undeclared key provider",
                        format!(
                            "There is no key_provider \"{kind}\" \"{name}\" block declared in the encryption block."
                        ),
                        range,
                    ),
                }
            }
            _ => fail(
                "Dynamic value in static context",
                format!(
                    "Unable to use {} in static context, which is required by the encryption configuration: it is read before anything else, and may refer to variables and locals only.",
                    traversal.text()
                ),
                range,
            ),
        }
    }
}

/// Arguments as their block gives them.
struct Given<'a> {
    value: Value,
    declared: &'a Declared,
}

impl Given<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        let value = self.value.attribute(name).ok()?;
        (!value.is_null()).then_some(value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?
            .as_str()
            .map(str::to_owned)
            .filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.get(name)
            .and_then(|value| value.as_number()?.to_u64())
            .unwrap_or(default)
    }

    fn words(&self, name: &str) -> Vec<String> {
        self.get(name)
            .and_then(|value| {
                let words = value.as_sequence()?;
                Some(
                    words
                        .iter()
                        .filter_map(|word| word.as_str().map(str::to_owned))
                        .collect(),
                )
            })
            .unwrap_or_default()
    }

    fn wrong(&self, reason: impl Into<String>) -> Diagnostic {
        let (kind, name) = (&self.declared.kind, &self.declared.name);
        Diagnostic::error(
            "Unable to build encryption key data",
            format!(
                "key_provider.{kind}.{name} failed with error: {}",
                reason.into()
            ),
        )
        .at(self.declared.range)
    }
}

fn decode<'d>(
    declared: &'d Declared,
    block: &Block,
    scope: &Statics<'_>,
) -> Result<Given<'d>, Diagnostics> {
    let (value, diagnostics) = block.decode(&declared.body, scope);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let value = value.unmark_deep().0;
    if value.is_wholly_known() {
        return Ok(Given { value, declared });
    }
    let mut diagnostics = diagnostics;
    diagnostics.push(
        Diagnostic::error(
            "Unknown value in encryption configuration",
            "Everything in it must be known before anything is planned.",
        )
        .at(declared.range),
    );
    Err(diagnostics)
}

/// The keys an argument gives: a key provider, its address as text (as JSON writes it), or bytes.
fn key_source(value: &Value, scope: &Statics<'_>, range: Range) -> Result<KeySource, Diagnostics> {
    if let Ok(at) = value.attribute(STANDS_FOR)
        && let Some(at) = at.as_number().and_then(consort_hcl::Number::to_usize)
    {
        return Ok(KeySource::Provider(at));
    }
    if let Some(text) = value.as_str() {
        let mut parts = text.split('.');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        if let (Some("key_provider"), Some(kind), Some(name), None) = parts {
            return scope
                .providers
                .get(&(Arc::from(kind), Arc::from(name)))
                .map(|at| KeySource::Provider(*at))
                .ok_or_else(|| {
                    Diagnostic::error(
                        "Reference to undeclared key provider",
                        format!(
                            "There is no key_provider \"{kind}\" \"{name}\" block declared in the encryption block."
                        ),
                    )
                    .at(range)
                    .into()
                });
        }
    }
    if value.as_keyed().is_none() {
        return Err(Diagnostic::error(
            "Expected key_provider value",
            format!(
                "Expected a key_provider compatible value, found {} instead",
                value.ty().friendly_name()
            ),
        )
        .at(range)
        .into());
    }
    let bytes = |name: &str| value.attribute(name).ok().and_then(|value| bytes(&value));
    match bytes("encryption_key") {
        Some(encryption) => Ok(KeySource::Keys(Keys {
            encryption,
            decryption: bytes("decryption_key"),
        })),
        None => Err(Diagnostic::error(
            "Missing encryption_key value",
            "An encryption_key value is required in the key_provider compatible object at this location",
        )
        .at(range)
        .into()),
    }
}

/// A list of numbers as bytes.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    value
        .as_sequence()?
        .iter()
        .map(|byte| u8::try_from(byte.as_number()?.to_u64()?).ok())
        .collect()
}

fn argument(ty: Type) -> Attribute {
    Attribute::new(ty).optional()
}

pub(super) fn recipes(settings: &Settings, scope: &Statics<'_>) -> (Recipes, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let mut providers = Vec::new();
    for declared in &settings.key_providers {
        match provider(declared, scope) {
            Ok(made) => providers.push(made),
            Err(found) => diagnostics.append(found),
        }
    }
    let mut methods = Vec::new();
    for declared in &settings.methods {
        match method(declared, scope) {
            Ok(made) => methods.push(made),
            Err(found) => diagnostics.append(found),
        }
    }
    if !diagnostics.has_errors()
        && let Some(at) = circle(&providers)
    {
        let declared = &settings.key_providers[at];
        diagnostics.push(
            Diagnostic::error(
                "Circular reference detected",
                format!(
                    "Cannot load key_provider.{}.{} due to circular reference between key providers.",
                    declared.kind, declared.name
                ),
            )
            .at(declared.range),
        );
    }
    (Recipes { providers, methods }, diagnostics)
}

/// A provider whose keys come, by whatever way, from itself.
fn circle(providers: &[Provider]) -> Option<usize> {
    (0..providers.len()).find(|start| {
        let mut at = *start;
        for _ in 0..providers.len() {
            match providers[at].source() {
                Some(next) if next == *start => return true,
                Some(next) => at = next,
                None => return false,
            }
        }
        true
    })
}

fn provider(declared: &Declared, scope: &Statics<'_>) -> Result<Provider, Diagnostics> {
    let (kind, name) = (&declared.kind, &declared.name);
    let mut metadata = format!("key_provider.{kind}.{name}");
    if let Some(alias) = &declared.alias {
        let (value, found) = alias.evaluate(scope);
        if found.has_errors() {
            return Err(found);
        }
        if let Some(alias) = value
            .unmark_deep()
            .0
            .as_str()
            .filter(|text| !text.is_empty())
        {
            alias.clone_into(&mut metadata);
        }
    }
    let kind = match &**kind {
        "pbkdf2" => pbkdf2(declared, scope)?,
        "static" => {
            let block = Block::default().attribute("key", Attribute::new(Type::String).required());
            let given = decode(declared, &block, scope)?;
            let text = given
                .text("key")
                .ok_or_else(|| given.wrong("Missing key"))?;
            let key =
                unhex(&text).ok_or_else(|| given.wrong("failed to hex-decode the provided key"))?;
            KeyProvider::Static(key)
        }
        "external" => {
            let strings = Type::list(Type::String);
            let block = Block::default().attribute("command", Attribute::new(strings).required());
            let given = decode(declared, &block, scope)?;
            let command = given.words("command");
            if command.is_empty() {
                return Err(given.wrong("the command option is required").into());
            }
            KeyProvider::External(command)
        }
        "openbao" => openbao(declared, scope)?,
        "aws_kms" | "gcp_kms" | "azure_vault" => {
            return Err(Diagnostic::error(
                "Unsupported key_provider type",
                format!(
                    "Keys of {kind:?} cannot be fetched here yet. There are pbkdf2, openbao, external (a program of your own that fetches keys), and static."
                ),
            )
            .at(declared.range)
            .into());
        }
        _ => {
            return Err(Diagnostic::error(
                "Unknown key_provider type",
                format!("Can not find \"{kind}\""),
            )
            .at(declared.range)
            .into());
        }
    };
    Ok(Provider { metadata, kind })
}

fn pbkdf2(declared: &Declared, scope: &Statics<'_>) -> Result<KeyProvider, Diagnostics> {
    const SHORTEST: usize = 16;
    const FEWEST: u64 = 200_000;
    let block = Block::default()
        .attribute("passphrase", argument(Type::String))
        .attribute("chain", argument(Type::Dynamic))
        .attribute("key_length", argument(Type::Number))
        .attribute("iterations", argument(Type::Number))
        .attribute("hash_function", argument(Type::String))
        .attribute("salt_length", argument(Type::Number));
    let given = decode(declared, &block, scope)?;
    let source = match (given.text("passphrase"), given.get("chain")) {
        (None, None) => {
            return Err(given
                .wrong("no passphrase provided and no chained provider defined")
                .into());
        }
        (Some(_), Some(_)) => {
            return Err(given
                .wrong("passphrase and chain are mutually exclusive")
                .into());
        }
        (Some(passphrase), None) => {
            if passphrase.len() < SHORTEST {
                return Err(given
                    .wrong("passphrase is too short (minimum 16 characters)")
                    .into());
            }
            KeySource::Keys(Keys {
                encryption: passphrase.clone().into_bytes(),
                decryption: Some(passphrase.into_bytes()),
            })
        }
        (None, Some(chain)) => key_source(&chain, scope, declared.range)?,
    };
    let hash = match given.text("hash_function").as_deref() {
        None | Some("sha512") => Hash::Sha512,
        Some("sha256") => Hash::Sha256,
        Some(other) => {
            return Err(given
                .wrong(format!("invalid hash function name: {other}"))
                .into());
        }
    };
    let made = Pbkdf2 {
        source,
        key_length: given.number("key_length", 32),
        iterations: given.number("iterations", 600_000),
        salt_length: given.number("salt_length", 32),
        hash,
    };
    if made.key_length == 0 || made.key_length > 1024 {
        return Err(given
            .wrong("the key length must be larger than zero")
            .into());
    }
    if made.iterations < FEWEST || made.iterations > super::keys::MOST_ITERATIONS {
        return Err(given
            .wrong(
                "the number of iterations is dangerously low (<200000), refusing to generate key",
            )
            .into());
    }
    if made.salt_length == 0 || made.salt_length > 1024 {
        return Err(given
            .wrong("the salt length must be larger than zero")
            .into());
    }
    Ok(KeyProvider::Pbkdf2(made))
}

fn openbao(declared: &Declared, scope: &Statics<'_>) -> Result<KeyProvider, Diagnostics> {
    let block = Block::default()
        .attribute("address", argument(Type::String))
        .attribute("token", argument(Type::String))
        .attribute("key_name", Attribute::new(Type::String).required())
        .attribute("key_length", argument(Type::Number))
        .attribute("transit_engine_path", argument(Type::String))
        .attribute("associated_data", argument(Type::String));
    let given = decode(declared, &block, scope)?;
    let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let key_name = given
        .text("key_name")
        .ok_or_else(|| given.wrong("no key name found"))?;
    let key_length = given.number("key_length", 32);
    if !matches!(key_length, 16 | 32 | 64) {
        return Err(given
            .wrong(format!(
                "data key length should one of 16, 32 or 64 bytes: got {key_length}"
            ))
            .into());
    }
    let address = given
        .text("address")
        .or_else(|| environment("BAO_ADDR"))
        .unwrap_or_else(|| "https://127.0.0.1:8200".to_owned());
    OpenBao::new(
        &address,
        given.text("token").or_else(|| environment("BAO_TOKEN")),
        given
            .text("transit_engine_path")
            .unwrap_or_else(|| "/transit".to_owned()),
        key_name,
        key_length * 8,
        given.text("associated_data"),
    )
    .map(KeyProvider::OpenBao)
    .map_err(|reason| given.wrong(reason).into())
}

fn method(declared: &Declared, scope: &Statics<'_>) -> Result<Method, Diagnostics> {
    match &*declared.kind {
        "unencrypted" => Ok(Method::Unencrypted),
        "aes_gcm" => {
            let block = Block::default()
                .attribute("keys", Attribute::new(Type::Dynamic).required())
                .attribute("aad", argument(Type::list(Type::Number)));
            let given = decode(declared, &block, scope)?;
            let keys = given.get("keys").unwrap_or(Value::DYNAMIC);
            Ok(Method::AesGcm {
                keys: key_source(&keys, scope, declared.range)?,
                aad: given
                    .get("aad")
                    .and_then(|value| bytes(&value))
                    .unwrap_or_default(),
            })
        }
        "external" => {
            let strings = || Attribute::new(Type::list(Type::String)).required();
            let block = Block::default()
                .attribute("keys", argument(Type::Dynamic))
                .attribute("encrypt_command", strings())
                .attribute("decrypt_command", strings());
            let given = decode(declared, &block, scope)?;
            let command = |name: &str| -> Result<Vec<String>, Diagnostics> {
                let words = given.words(name);
                let (kind, label) = (&declared.kind, &declared.name);
                if words.first().is_none_or(String::is_empty) {
                    Err(Diagnostic::error(
                        "Invalid method configuration",
                        format!("method.{kind}.{label}: the {name} option is required"),
                    )
                    .at(declared.range)
                    .into())
                } else {
                    Ok(words)
                }
            };
            Ok(Method::External {
                keys: given
                    .get("keys")
                    .map(|value| key_source(&value, scope, declared.range))
                    .transpose()?,
                encrypt: command("encrypt_command")?,
                decrypt: command("decrypt_command")?,
            })
        }
        other => Err(Diagnostic::error(
            "Unknown encryption method type",
            format!("Can not find \"{other}\""),
        )
        .at(declared.range)
        .into()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
