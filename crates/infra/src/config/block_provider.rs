//! `provider` blocks, and what a `terraform` block holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::Type;
use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::source::Range;
use consort_hcl::syntax::{Attribute, Block, BodySchema, Expr, is_identifier};

use super::decode::{BAD_IDENTIFIER, Decoder};
use super::module::{
    Backend, LocalProvider, ProviderConfig, ProviderMeta, RequiredProvider, VersionConstraint,
};
use super::provider_source::{parse_part, parse_provider_source};
use crate::address::ProviderSource;

/// The `required_providers` of one file.
pub(super) struct RequiredProviders {
    pub(super) entries: BTreeMap<Arc<str>, RequiredProvider>,
    pub(super) range: Range,
}

impl Decoder<'_> {
    pub(super) fn provider(&mut self, block: &Block) -> Option<ProviderConfig> {
        const RESERVED: [&str; 4] = ["count", "depends_on", "for_each", "source"];
        let schema = BodySchema::new()
            .optional(["alias", "version"])
            .optional(RESERVED)
            .block("_", &[])
            .block("lifecycle", &[])
            .block("locals", &[]);
        let (content, mut rest) = self.partial(&block.body, &schema);
        let name = block.label(0);
        if !self.check_provider_name(name, block.header_range()) {
            return None;
        }
        let mut key = LocalProvider::default_of(name);
        let mut alias_range = None;
        if let Some(attribute) = content.attribute("alias") {
            alias_range = Some(attribute.expr.range());
            if let Some(alias) = self.constant_string(attribute) {
                if !is_identifier(&alias) {
                    self.diagnostics.push(Diagnostic::error(
                        "Invalid provider configuration alias",
                        format!("An alias must be a valid name. {BAD_IDENTIFIER}"),
                    ));
                }
                key.alias = Some(alias.into());
            }
        }
        let mut version = None;
        if let Some(attribute) = content.attribute("version") {
            self.warning(
                "Version constraints inside provider configuration blocks are deprecated",
                "Terraform 0.13 and earlier allowed provider version constraints inside the provider configuration block, but that is now deprecated and will be removed in a future version of Terraform. To silence this warning, move the provider version constraint into the required_providers block.",
                attribute.expr.range(),
            );
            version = self.version_constraint(attribute);
        }
        for reserved in RESERVED {
            if let Some(attribute) = content.attribute(reserved) {
                self.error(
                    "Reserved argument name in provider block",
                    format!("The provider argument name {reserved:?} is reserved for use by Terraform in a future version."),
                    attribute.name_range,
                );
            }
        }
        let mut escape = None;
        for inner in &content.blocks {
            if &*inner.kind == "_" {
                rest = self.escape_block(inner, &mut escape, rest, "provider-specific", "provider");
            } else {
                self.reserved_block(inner, "provider");
            }
        }
        Some(ProviderConfig {
            provider: ProviderSource::implied(name),
            key,
            version,
            config: rest,
            name_range: block
                .labels
                .first()
                .map_or(block.kind_range, |label| label.range),
            alias_range,
            range: block.header_range(),
        })
    }

    pub(super) fn backend(block: &Block) -> Backend {
        Backend {
            kind: block.label(0).into(),
            config: block.body.clone(),
            kind_range: block
                .labels
                .first()
                .map_or(block.kind_range, |label| label.range),
            range: block.header_range(),
        }
    }

    pub(super) fn provider_meta(&mut self, block: &Block) -> Option<ProviderMeta> {
        let (attributes, diagnostics) = block.body.just_attributes();
        let failed = diagnostics.has_errors();
        self.diagnostics.append(diagnostics);
        if failed {
            return None;
        }
        for attribute in attributes.values() {
            self.constant(&attribute.expr);
        }
        if !self.check_provider_name(block.label(0), block.header_range()) {
            return None;
        }
        Some(ProviderMeta {
            name: block.label(0).into(),
            config: block.body.clone(),
            range: block.header_range(),
        })
    }

    pub(super) fn required_providers(&mut self, block: &Block) -> Option<RequiredProviders> {
        let mut required = RequiredProviders {
            entries: BTreeMap::new(),
            range: block.header_range(),
        };
        let (attributes, diagnostics) = block.body.just_attributes();
        let failed = diagnostics.has_errors();
        self.diagnostics.append(diagnostics);
        if failed {
            return None;
        }
        for attribute in attributes.values() {
            if let Some(entry) = self.required_provider(attribute) {
                required.entries.insert(entry.name.clone(), entry);
            }
        }
        Some(required)
    }

    fn required_provider(&mut self, attribute: &Attribute) -> Option<RequiredProvider> {
        let name = &attribute.name;
        let at = attribute.expr.range();
        let mut entry = RequiredProvider {
            name: name.clone(),
            source: None,
            address: ProviderSource::implied(name),
            version: None,
            aliases: Vec::new(),
            range: at,
        };
        // Before sources there were versions alone.
        let (value, diagnostics) = attribute.expr.evaluate_constant();
        if !diagnostics.has_errors() && value.ty().is_primitive() {
            entry.version = self.version_constraint(attribute);
            match parse_part(name) {
                Ok(kind) => entry.address = ProviderSource::implied(&kind),
                Err(why) => {
                    self.error("Invalid provider name", why, at);
                    return None;
                }
            }
            return Some(entry);
        }
        if !self.check_provider_name(name, at) {
            return None;
        }
        let Some(pairs) = attribute.expr.as_map() else {
            self.error(
                "Invalid required_providers object",
                "required_providers entries must be strings or objects.",
                at,
            );
            return None;
        };
        let before = self.diagnostics.len();
        for (key, value) in pairs {
            let Some(key_value) = self.constant(&key) else {
                continue;
            };
            if !matches!(key_value.ty(), Type::String) || key_value.is_null() {
                self.error(
                    "Invalid Attribute",
                    "Invalid attribute value for provider requirement: a string is required.",
                    key.range(),
                );
                continue;
            }
            match key_value.as_str().unwrap_or_default() {
                "version" => {
                    entry.version = self
                        .required_version_of(&value, attribute.range)
                        .or(entry.version);
                }
                "source" => match constant_string(&value) {
                    None => self.error(
                        "Invalid source",
                        "Source must be specified as a string.",
                        value.range(),
                    ),
                    Some(source) => match parse_provider_source(&source) {
                        Ok(address) => {
                            entry.address = address;
                            entry.source = Some(source);
                        }
                        Err(invalid) => self.error(invalid.summary, invalid.detail, value.range()),
                    },
                },
                "configuration_aliases" => self.configuration_aliases(&value, &mut entry),
                _ => {
                    self.error(
                        "Invalid required_providers object",
                        "required_providers objects can only contain \"version\", \"source\" and \"configuration_aliases\" attributes. To configure a provider, use a \"provider\" block.",
                        key.range(),
                    );
                    break;
                }
            }
        }
        (!self
            .diagnostics
            .iter()
            .skip(before)
            .any(Diagnostic::is_error))
        .then_some(entry)
    }

    fn required_version_of(&mut self, value: &Expr, range: Range) -> Option<VersionConstraint> {
        const SUMMARY: &str = "Invalid version constraint";
        let Some(text) = constant_string(value) else {
            self.error(
                SUMMARY,
                "Version must be specified as a string.",
                value.range(),
            );
            return None;
        };
        match text.parse() {
            Ok(constraints) => Some(VersionConstraint { constraints, range }),
            Err(_) => {
                self.error(
                    SUMMARY,
                    "This string does not use correct version constraint syntax.",
                    value.range(),
                );
                None
            }
        }
    }

    fn configuration_aliases(&mut self, value: &Expr, entry: &mut RequiredProvider) {
        const SUMMARY: &str = "Invalid configuration_aliases value";
        for item in self.list(value).unwrap_or_default() {
            let Some(traversal) = self.traversal(&item) else {
                continue;
            };
            let alias = traversal.attribute(0).cloned();
            if traversal.steps.len() > 1 || (alias.is_none() && !traversal.steps.is_empty()) {
                self.error(
                    SUMMARY,
                    "Configuration aliases can only contain references to local provider configuration names in the format of provider.alias",
                    value.range(),
                );
                continue;
            }
            if traversal.root != entry.name {
                self.error(
                    SUMMARY,
                    format!(
                        "Configuration aliases must be prefixed with the provider name. Expected {:?}, but found {:?}.",
                        &*entry.name, &*traversal.root
                    ),
                    value.range(),
                );
                continue;
            }
            entry.aliases.push(LocalProvider {
                name: traversal.root.clone(),
                alias,
            });
        }
    }
}

fn constant_string(expr: &Expr) -> Option<String> {
    let (value, diagnostics) = expr.evaluate_constant();
    if diagnostics.has_errors() || !value.is_known() {
        return None;
    }
    value.as_str().map(str::to_owned)
}
