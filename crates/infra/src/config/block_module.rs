//! `module` blocks.

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::source::Range;
use consort_hcl::syntax::{Block, BodySchema};

use super::decode::Decoder;
use super::module::ModuleCall;
use super::source::{Error, ModuleSource, RegistryModule};

/// The arguments of a module block, which no variable may be named like.
pub(super) const ARGUMENTS: [&str; 6] = [
    "source",
    "version",
    "count",
    "for_each",
    "depends_on",
    "providers",
];

/// The blocks of a module block, all but the first reserved.
pub(super) const BLOCKS: [&str; 4] = ["_", "lifecycle", "locals", "provider"];

impl Decoder<'_> {
    pub(super) fn module_call(&mut self, block: &Block) -> ModuleCall {
        let mut schema = BodySchema::new();
        schema = if self.overriding {
            schema.optional(["source"])
        } else {
            schema.required(["source"])
        };
        schema = schema.optional(ARGUMENTS.into_iter().skip(1));
        for kind in BLOCKS {
            schema = schema.block(kind, if kind == "provider" { &["type"] } else { &[] });
        }
        let (content, mut rest) = self.partial(&block.body, &schema);
        self.check_name("Invalid module instance name", block, 0);
        let version = content
            .attribute("version")
            .and_then(|attribute| self.version_constraint(attribute));
        let mut source = None;
        let mut address = None;
        if let Some(attribute) = content.attribute("source") {
            source = self.constant_string(attribute);
            if let Some(source) = &source {
                address = self.module_source(
                    source,
                    content.attribute("version").is_some(),
                    attribute.expr.range(),
                );
            }
        }
        self.count_and_for_each(&content);
        let depends_on = content
            .attribute("depends_on")
            .map(|attribute| self.references(attribute))
            .unwrap_or_default();
        let providers = content
            .attribute("providers")
            .map(|attribute| self.passed_providers(attribute))
            .unwrap_or_default();
        let mut escape = None;
        for inner in &content.blocks {
            if &*inner.kind == "_" {
                rest =
                    self.escape_block(inner, &mut escape, rest, "module input variables", "module");
            } else {
                self.reserved_block(inner, "module");
            }
        }
        ModuleCall {
            name: block.label(0).into(),
            source,
            source_range: content
                .attribute("source")
                .map(|attribute| attribute.expr.range()),
            address,
            version,
            config: rest,
            count: content
                .attribute("count")
                .map(|attribute| attribute.expr.clone()),
            for_each: content
                .attribute("for_each")
                .map(|attribute| attribute.expr.clone()),
            providers,
            depends_on,
            depends_on_range: content
                .attribute("depends_on")
                .map(|attribute| attribute.expr.range()),
            range: block.header_range(),
        }
    }

    /// Understands a module's source; with a version it has to be a registry's.
    pub(super) fn module_source(
        &mut self,
        raw: &str,
        versioned: bool,
        at: Range,
    ) -> Option<ModuleSource> {
        if versioned {
            return match RegistryModule::parse(raw) {
                Ok(module) => Some(ModuleSource::Registry(module)),
                Err(why) => {
                    self.error(
                        "Invalid registry module source address",
                        format!(
                            "Failed to parse module registry address: {why}.\n\nTerraform assumed that you intended a module registry source address because you also set the argument \"version\", which applies only to registry modules."
                        ),
                        at,
                    );
                    None
                }
            };
        }
        match ModuleSource::parse(raw) {
            Ok(source) => Some(source),
            Err(Error::MaybeRelative(path)) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        "Invalid module source address",
                        format!(
                            "Terraform failed to determine your intended installation method for remote module package {path:?}.\n\nIf you intended this as a path relative to the current module, use \"./{path}\" instead. The \"./\" prefix indicates that the address is a relative filesystem path."
                        ),
                    )
                    .at(at),
                );
                None
            }
            Err(Error::Invalid(why)) => {
                self.error(
                    "Invalid module source address",
                    format!("Failed to parse module source address: {why}."),
                    at,
                );
                None
            }
        }
    }
}
