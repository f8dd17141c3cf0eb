//! `moved`, `removed` and `import` blocks.

use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::source::Range;
use consort_hcl::syntax::{Block, BodySchema, Expr, Selection};
use consort_hcl::traversal::{Step, Traversal};

use super::decode::Decoder;
use super::module::{Import, Moved, Removed};
use crate::address::{
    Key, Mode, ModuleInstance, ProviderSource, Resource, ResourceInstance, Target,
};

impl Decoder<'_> {
    pub(super) fn moved(&mut self, block: &Block) -> Option<Moved> {
        let content = self.content(&block.body, &BodySchema::new().required(["from", "to"]));
        let mut ends = ["from", "to"].into_iter().map(|name| {
            let attribute = content.attribute(name)?;
            let traversal = self.traversal(&attribute.expr)?;
            let target = self.target(&traversal)?;
            Some((target, traversal.range()))
        });
        let (from, to) = (ends.next().flatten(), ends.next().flatten());
        drop(ends);
        let (Some((from, from_range)), Some((to, to_range))) = (from, to) else {
            return None;
        };
        let range = block.header_range();
        if matches!(from, Target::Module(_)) != matches!(to, Target::Module(_)) {
            self.error(
                "Invalid \"moved\" addresses",
                "The \"from\" and \"to\" addresses must either both refer to resources or both refer to modules.",
                range,
            );
        }
        Some(Moved {
            from,
            from_range,
            to,
            to_range,
            range,
        })
    }

    fn target(&mut self, traversal: &Traversal) -> Option<Target> {
        target(traversal)
            .map_err(|diagnostic| self.diagnostics.push(*diagnostic))
            .ok()
    }

    pub(super) fn removed(&mut self, block: &Block) -> Option<Removed> {
        let schema = BodySchema::new()
            .required(["from"])
            .block("lifecycle", &[])
            .block("connection", &[])
            .block("provisioner", &["type"]);
        let content = self.content(&block.body, &schema);
        let mut from = None;
        let mut resource_expected = false;
        if let Some(attribute) = content.attribute("from")
            && let Some(traversal) = self.traversal(&attribute.expr)
        {
            from = self
                .removed_target(&traversal)
                .map(|target| (target, traversal.range()));
            resource_expected = matches!(from, Some((Target::Resource(_), _)));
        }
        let mut destroy = true;
        let mut provisioners = Vec::new();
        let mut connection = None;
        let (mut seen_lifecycle, mut seen_connection) = (None, None);
        for inner in &content.blocks {
            match &*inner.kind {
                "lifecycle" => {
                    if self.only_once(inner, &mut seen_lifecycle, "This \"removed\" block") {
                        let content =
                            self.content(&inner.body, &BodySchema::new().optional(["destroy"]));
                        if let Some(attribute) = content.attribute("destroy") {
                            destroy = self.constant_bool(attribute).unwrap_or(true);
                        }
                    }
                }
                kind if from.is_some() && !resource_expected => {
                    let (summary, detail) = if kind == "connection" {
                        (
                            "Invalid connection block",
                            "Provisioner connection configuration is valid only when a removed block targets a managed resource.",
                        )
                    } else {
                        (
                            "Invalid provisioner block",
                            "Provisioners are valid only when a removed block targets a managed resource.",
                        )
                    };
                    self.error(summary, detail, inner.header_range());
                }
                "connection" => {
                    if self.only_once(inner, &mut seen_connection, "This \"removed\" block") {
                        self.only_self_references(&inner.body);
                        connection = Some(Self::connection(inner));
                    }
                }
                _ => {
                    let Some(provisioner) = self.provisioner(inner) else {
                        continue;
                    };
                    if provisioner.when_destroy {
                        provisioners.push(provisioner);
                    } else {
                        self.error(
                            "Invalid provisioner block",
                            "Only destroy-time provisioners are valid in \"removed\" blocks. To declare a destroy-time provisioner, use:\n    when = destroy",
                            inner.header_range(),
                        );
                    }
                }
            }
        }
        let (from, from_range) = from?;
        Some(Removed {
            from,
            from_range,
            destroy,
            provisioners,
            connection,
            range: block.header_range(),
        })
    }

    /// What was removed must be a whole module call or a whole managed resource.
    fn removed_target(&mut self, traversal: &Traversal) -> Option<Target> {
        let found = self.target(traversal)?;
        if let Some(step) = found
            .module()
            .steps()
            .iter()
            .find(|step| !step.key.is_none())
        {
            let at = key_range(traversal, &step.key).unwrap_or_else(|| traversal.range());
            self.error(
                "Module instance keys not allowed",
                "Module address must be a module (e.g. \"module.foo\"), not a module instance (e.g. \"module.foo[1]\").",
                at,
            );
            return None;
        }
        match &found {
            Target::Module(_) => Some(found),
            Target::Instance(instance) => {
                let at = key_range(traversal, &instance.key).unwrap_or_else(|| traversal.range());
                self.error(
                    "Resource instance keys not allowed",
                    "Resource address must be a resource (e.g. \"test_instance.foo\"), not a resource instance (e.g. \"test_instance.foo[1]\").",
                    at,
                );
                None
            }
            Target::Resource(resource) if resource.resource.mode == Mode::Managed => Some(found),
            Target::Resource(resource) => {
                let (summary, detail) = if resource.resource.mode == Mode::Data {
                    (
                        "Data source address not allowed",
                        "Data sources are never destroyed, so they are not valid targets of removed blocks. To remove the data source from state, remove the data source block from configuration.",
                    )
                } else {
                    (
                        "Ephemeral resource address not allowed",
                        "Ephemeral resources are never destroyed, so they are not valid targets of removed blocks.",
                    )
                };
                self.error(summary, detail, traversal.range());
                None
            }
        }
    }

    pub(super) fn import(&mut self, block: &Block) -> Option<Import> {
        let schema = BodySchema::new()
            .required(["to"])
            .optional(["provider", "id", "identity", "for_each"]);
        let content = self.content(&block.body, &schema);
        let range = block.header_range();
        match (content.attribute("id"), content.attribute("identity")) {
            (Some(id), Some(identity)) => {
                self.error(
                    "Invalid import block",
                    "Only one of \"id\" or \"identity\" can be set in an import block.",
                    id.range.over(identity.range),
                );
            }
            (None, None) => {
                let detail = "The argument \"id\" is required, but no definition was found.";
                self.error(
                    "Missing required argument",
                    detail,
                    block.body.missing_range(),
                );
            }
            _ => {}
        }
        let to = content.attribute("to")?;
        let expr = self.native(&to.expr)?;
        let Some(traversal) = without_dynamic_keys(&expr) else {
            self.error(
                "Invalid import address expression",
                "Import address must be a reference to a resource's address, and only allows for indexing with dynamic keys. For example: module.my_module[expression1].aws_s3_bucket.my_buckets[expression2] for resources inside of modules, or simply aws_s3_bucket.my_bucket for a resource in the root module",
                expr.range(),
            );
            return None;
        };
        let target = match self.target(&traversal)? {
            Target::Resource(resource) => resource.config(),
            Target::Instance(instance) => instance.config(),
            Target::Module(_) => {
                self.error("Invalid address", "A resource instance address is required here. The module path must be followed by a resource instance specification.", traversal.range());
                self.error(
                    "Invalid import address",
                    "Only managed resources can be imported.",
                    to.range,
                );
                return None;
            }
        };
        if target.resource.mode != Mode::Managed {
            self.error(
                "Invalid import address",
                "Only managed resources can be imported.",
                to.range,
            );
            return None;
        }
        let mut provider = None;
        if let Some(attribute) = content.attribute("provider") {
            if !target.module.is_root() {
                self.error(
                    "Invalid import provider argument",
                    "The provider argument can only be specified in import blocks that will generate configuration.\n\nUse the providers argument within the module block to configure providers for all resources within a module, including imported resources.",
                    attribute.range,
                );
            }
            provider = self
                .provider_reference(&attribute.expr, "provider")
                .map(|reference| (reference, attribute.range));
        }
        let (provider, provider_range) = provider.unzip();
        let expression = |name: &str| {
            content
                .attribute(name)
                .map(|attribute| attribute.expr.clone())
        };
        Some(Import {
            to: expr.clone(),
            instance: expr
                .as_traversal()
                .and_then(|traversal| self::target(&traversal).ok()),
            provider_address: ProviderSource::implied(target.resource.implied_provider()),
            target,
            id: expression("id"),
            identity: expression("identity"),
            for_each: expression("for_each"),
            provider,
            provider_range,
            range,
        })
    }
}

/// An address whose keys may be expressions, without those that are.
fn without_dynamic_keys(expr: &Expr) -> Option<Traversal> {
    match expr.as_selection()? {
        Selection::Reference(traversal) => Some(traversal),
        Selection::Steps { source, steps } => {
            let mut traversal = without_dynamic_keys(&source)?;
            traversal.steps.extend(steps);
            Some(traversal)
        }
        Selection::Index { collection, .. } => without_dynamic_keys(&collection),
    }
}

/// Where a key stands that was found in a traversal.
fn key_range(traversal: &Traversal, wanted: &Key) -> Option<Range> {
    traversal.steps.iter().find_map(|step| match step {
        Step::Index { key, range } if key_of(key).as_ref() == Some(wanted) => Some(*range),
        _ => None,
    })
}

fn key_of(value: &consort_hcl::Value) -> Option<Key> {
    match value.as_str() {
        Some(text) => Some(Key::String(text.into())),
        None => value.as_number()?.to_i64().map(Key::Int),
    }
}

/// The module, resource or instance a traversal addresses, relative to the module it stands in.
///
/// # Errors
/// When it addresses none of them.
pub fn target(traversal: &Traversal) -> Result<Target, Box<Diagnostic>> {
    let invalid = |detail: &str, at: Range| {
        Err(Box::new(
            Diagnostic::error("Invalid address", detail).at(at),
        ))
    };
    let mut names: Vec<Part<'_>> = vec![Part::Name(&traversal.root, traversal.root_range)];
    names.extend(traversal.steps.iter().map(|step| match step {
        Step::Attribute { name, range } => Part::Name(name, *range),
        Step::Index { key, range } => Part::Key(key_of(key), *range),
        Step::Splat { range } => Part::Key(None, *range),
    }));
    let mut parts = names.as_slice();
    let mut module = ModuleInstance::root();
    while let [Part::Name(word, at), rest @ ..] = parts
        && &***word == "module"
    {
        let [Part::Name(name, _), rest @ ..] = rest else {
            return Err(Box::new(
                Diagnostic::error(
                    "Invalid address operator",
                    "Prefix \"module.\" must be followed by a module name.",
                )
                .at(*at),
            ));
        };
        let (key, rest) = match rest {
            [Part::Key(Some(key), _), rest @ ..] => (key.clone(), rest),
            [Part::Key(None, at), ..] => {
                return Err(Box::new(
                    Diagnostic::error(
                        "Invalid address operator",
                        "Invalid module key: must be either a string or an integer.",
                    )
                    .at(*at),
                ));
            }
            rest => (Key::None, rest),
        };
        module = module.child((*name).clone(), key);
        parts = rest;
    }
    if parts.is_empty() {
        return Ok(Target::Module(module));
    }
    let mut mode = Mode::Managed;
    if let [Part::Name(word, _), rest @ ..] = parts {
        match &***word {
            "data" => (mode, parts) = (Mode::Data, rest),
            "ephemeral" => (mode, parts) = (Mode::Ephemeral, rest),
            "resource" if rest.len() >= 2 => parts = rest,
            _ => {}
        }
    }
    if let [Part::Name(word, at), ..] = parts
        && parts.len() == names.len()
        && RESERVED.contains(&&***word)
    {
        let detail = format!(
            "The keyword {:?} is reserved and cannot be used to target a resource address. If you are targeting a resource type that uses a reserved keyword, please prefix your address with \"resource.\".",
            &***word
        );
        return invalid(&detail, *at);
    }
    let whole = traversal.range();
    let (kind, name, rest) = match parts {
        [Part::Name(kind, _), Part::Name(name, _), rest @ ..] => (*kind, *name, rest),
        [Part::Name(..), Part::Key(_, at), ..] => {
            return invalid("A resource name is required.", *at);
        }
        [Part::Key(_, at), ..] => {
            let what = match mode {
                Mode::Managed => "A resource type name is required.",
                Mode::Data => "A data source name is required.",
                Mode::Ephemeral => "An ephemeral resource type name is required.",
            };
            return invalid(what, *at);
        }
        _ => {
            return invalid(
                "Resource specification must include a resource type and name.",
                whole,
            );
        }
    };
    let resource = Resource {
        mode,
        kind: Arc::clone(kind),
        name: Arc::clone(name),
    };
    match rest {
        [] => Ok(Target::Resource(resource.within(&module))),
        [Part::Key(Some(key), _)] => Ok(Target::Instance(ResourceInstance {
            module,
            resource,
            key: key.clone(),
        })),
        [Part::Key(None, at)] => invalid(
            "Invalid resource instance key: must be either a string or an integer.",
            *at,
        ),
        [Part::Name(_, at)] => invalid(
            "Resource instance key must be given in square brackets.",
            *at,
        ),
        [_, Part::Name(_, at) | Part::Key(_, at), ..] => {
            invalid("Unexpected extra operators after address.", *at)
        }
    }
}

/// Names with a meaning of their own, which no resource type has.
const RESERVED: [&str; 9] = [
    "count",
    "each",
    "local",
    "path",
    "terraform",
    "self",
    "var",
    "template",
    "arg",
];

enum Part<'t> {
    Name(&'t Arc<str>, Range),
    Key(Option<Key>, Range),
}
