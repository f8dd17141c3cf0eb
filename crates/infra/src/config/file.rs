//! One configuration file: its blocks decoded, nothing compared with other files yet.

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use consort_hcl::syntax::{Attribute, Block, Body, BodySchema};

use super::block_provider::RequiredProviders;
use super::decode::Decoder;
use super::module::{
    Backend, Check, Import, Local, ModuleCall, Moved, Output, ProviderConfig, ProviderMeta,
    Removed, Variable, VersionConstraint,
};
use super::resource::Resource;
use crate::address::Mode;
use crate::version::{TERRAFORM_VERSION, Version};

/// What one file declares.
#[derive(Default)]
pub(super) struct File {
    pub(super) required_versions: Vec<VersionConstraint>,
    pub(super) backends: Vec<Backend>,
    pub(super) encryptions: Vec<(Body, Range)>,
    pub(super) clouds: Vec<Range>,
    pub(super) provider_configs: Vec<ProviderConfig>,
    pub(super) provider_metas: Vec<ProviderMeta>,
    pub(super) required_providers: Vec<RequiredProviders>,
    pub(super) variables: Vec<Variable>,
    pub(super) locals: Vec<Local>,
    pub(super) outputs: Vec<Output>,
    pub(super) module_calls: Vec<ModuleCall>,
    pub(super) resources: Vec<Resource>,
    pub(super) moved: Vec<Moved>,
    pub(super) removed: Vec<Removed>,
    pub(super) imports: Vec<Import>,
    pub(super) checks: Vec<(Check, Option<Resource>)>,
    /// Blocks that no override file may hold.
    pub(super) not_overridable: Vec<(&'static str, Range)>,
}

fn schema() -> BodySchema {
    BodySchema::new()
        .block("terraform", &[])
        .block("required_providers", &[])
        .block("provider", &["name"])
        .block("variable", &["name"])
        .block("locals", &[])
        .block("output", &["name"])
        .block("module", &["name"])
        .block("resource", &["type", "name"])
        .block("data", &["type", "name"])
        .block("ephemeral", &["type", "name"])
        .block("moved", &[])
        .block("removed", &[])
        .block("import", &[])
        .block("check", &["name"])
}

/// Decodes the body of a file.
pub(super) fn decode(body: &Body, sources: &Sources, overriding: bool) -> (File, Diagnostics) {
    let mut decoder = Decoder::new(sources, overriding);
    let mut file = File::default();
    decoder.core_versions(body, &mut file);
    let content = decoder.content(body, &schema());
    for block in &content.blocks {
        decoder.top_level(block, &mut file);
    }
    (file, decoder.diagnostics)
}

impl Decoder<'_> {
    /// Looks for `required_version` first and in spite of all else that may be wrong: a file written for a later
    /// version should say so, and not that it has unknown blocks.
    fn core_versions(&mut self, body: &Body, file: &mut File) {
        let (content, _, _) = body.partial_content(&BodySchema::new().block("terraform", &[]));
        for block in &content.blocks {
            let (content, _, _) = block
                .body
                .partial_content(&BodySchema::new().optional(["required_version"]));
            let Some(attribute) = content.attribute("required_version") else {
                continue;
            };
            let before = self.diagnostics.len();
            let Some(constraint) = self.version_constraint(attribute) else {
                continue;
            };
            if self.diagnostics.len() == before {
                file.required_versions.push(constraint);
            }
        }
    }

    fn top_level(&mut self, block: &Block, file: &mut File) {
        match &*block.kind {
            "terraform" => self.terraform(block, file),
            "required_providers" => self.error(
                "Invalid required_providers block",
                "A \"required_providers\" block must be nested inside a \"terraform\" block.",
                block.kind_range,
            ),
            "provider" => file.provider_configs.extend(self.provider(block)),
            "variable" => file.variables.push(self.variable(block)),
            "locals" => file.locals.extend(self.locals(block)),
            "output" => file.outputs.push(self.output(block)),
            "module" => file.module_calls.push(self.module_call(block)),
            "resource" => file
                .resources
                .push(self.resource(block, Mode::Managed, false)),
            "data" => file.resources.push(self.resource(block, Mode::Data, false)),
            "ephemeral" => file
                .resources
                .push(self.resource(block, Mode::Ephemeral, false)),
            "moved" => {
                file.not_overridable.push(("moved", block.header_range()));
                file.moved.extend(self.moved(block));
            }
            "removed" => {
                file.not_overridable.push(("removed", block.header_range()));
                file.removed.extend(self.removed(block));
            }
            "import" => {
                file.not_overridable.push(("import", block.header_range()));
                file.imports.extend(self.import(block));
            }
            "check" => file.checks.push(self.check(block)),
            _ => {}
        }
    }

    fn terraform(&mut self, block: &Block, file: &mut File) {
        let schema = BodySchema::new()
            .optional(["required_version", "experiments", "language"])
            .block("backend", &["type"])
            .block("cloud", &[])
            .block("encryption", &[])
            .block("required_providers", &[])
            .block("provider_meta", &["provider"]);
        let content = self.content(&block.body, &schema);
        if let Some(attribute) = content.attribute("language") {
            self.language(attribute);
        }
        if let Some(attribute) = content.attribute("experiments") {
            self.experiments(attribute);
        }
        for inner in &content.blocks {
            match &*inner.kind {
                "backend" => file.backends.push(Self::backend(inner)),
                "cloud" => file.clouds.push(inner.header_range()),
                "encryption" => file
                    .encryptions
                    .push((inner.body.clone(), inner.header_range())),
                "required_providers" => file
                    .required_providers
                    .extend(self.required_providers(inner)),
                "provider_meta" => file.provider_metas.extend(self.provider_meta(inner)),
                _ => {}
            }
        }
    }

    fn language(&mut self, attribute: &Attribute) {
        const EDITION: &str = "TF2021";
        match attribute.expr.as_keyword() {
            None => self.error(
                "Invalid language edition",
                format!(
                    "The language argument expects a bare language edition keyword. Terraform {TERRAFORM_VERSION} supports only language edition {EDITION}, which is the default."
                ),
                attribute.expr.range(),
            ),
            Some(keyword) if &*keyword == EDITION => {}
            Some(keyword) => {
                let which = if &*keyword > EDITION { "newer" } else { "different" };
                self.error(
                    "Unsupported language edition",
                    format!(
                        "Terraform v{TERRAFORM_VERSION} only supports language edition {EDITION}. This module requires a {which} version of Terraform CLI."
                    ),
                    attribute.expr.range(),
                );
            }
        }
    }

    /// No release of Terraform activates an experiment: each name is an error, according to what became of it.
    fn experiments(&mut self, attribute: &Attribute) {
        const CONCLUDED: [(&str, &str); 7] = [
            (
                "variable_validation",
                "Custom variable validation can now be used by default, without enabling an experiment.",
            ),
            (
                "suppress_provider_sensitive_attrs",
                "Provider-defined sensitive attributes are now redacted by default, without enabling an experiment.",
            ),
            (
                "config_driven_move",
                "Declarations of moved resource instances using \"moved\" blocks can now be used by default, without enabling an experiment.",
            ),
            (
                "preconditions_postconditions",
                "Condition blocks can now be used by default, without enabling an experiment.",
            ),
            (
                "module_variable_optional_attrs",
                "The final feature corresponding to this experiment differs from the experimental form and is available in the Terraform language from Terraform v1.3.0 onwards.",
            ),
            (
                "ephemeral_values",
                "Ephemeral values can now be used by default, without enabling an experiment.",
            ),
            (
                "template_string_func",
                "The templatestring function can now be used by default, without enabling an experiment.",
            ),
        ];
        const CURRENT: [&str; 2] = ["unknown_instances", "variable_validation_crossref"];
        let before = self.diagnostics.len();
        for item in self.list(&attribute.expr).unwrap_or_default() {
            let at = item.range();
            let Some(keyword) = item.as_keyword() else {
                self.error(
                    "Invalid experiment keyword",
                    "Elements of \"experiments\" must all be keywords representing active experiments.",
                    at,
                );
                continue;
            };
            if let Some((_, what)) = CONCLUDED.iter().find(|(name, _)| **name == *keyword) {
                self.error(
                    "Experiment has concluded",
                    format!("Experiment {keyword:?} is no longer available. {what}"),
                    at,
                );
            } else if !CURRENT.contains(&&*keyword) {
                self.error(
                    "Unknown experiment keyword",
                    format!("There is no current experiment with the keyword {keyword:?}."),
                    at,
                );
            }
        }
        if self.diagnostics.len() == before {
            self.error(
                "Module uses experimental features",
                "Experimental features are intended only for gathering early feedback on new language designs, and so are available only in alpha releases of Terraform.",
                attribute.name_range,
            );
        }
    }
}

/// Reports constraints on the program's own version that it does not meet; `module` names the module they are in,
/// when it is not the root.
pub(super) fn check_core_versions(
    constraints: &[VersionConstraint],
    module: Option<(&str, &str)>,
) -> Diagnostics {
    let version = Version::of_terraform();
    let mut diagnostics = Diagnostics::new();
    for constraint in constraints {
        if let Some(prerelease) = constraint
            .constraints
            .0
            .iter()
            .find(|one| one.names_prerelease())
        {
            diagnostics.push(
                Diagnostic::error(
                    "Invalid required_version constraint",
                    format!(
                        "Prerelease version constraints are not supported: {prerelease}. Remove the prerelease information from the constraint. Prerelease versions of terraform will match constraints using their version core only."
                    ),
                )
                .at(constraint.range),
            );
        } else if !constraint.constraints.allows(&version) {
            let advice = "To proceed, either choose another supported Terraform version or update this version constraint. Version constraints are normally set for good reason, so updating the constraint may lead to other errors or unexpected behavior.";
            let detail = match module {
                None => format!(
                    "This configuration does not support Terraform version {version}. {advice}"
                ),
                Some((path, source)) => {
                    format!(
                        "Module {path} (from {source}) does not support Terraform version {version}. {advice}"
                    )
                }
            };
            diagnostics.push(
                Diagnostic::error("Unsupported Terraform Core version", detail)
                    .at(constraint.range),
            );
        }
    }
    diagnostics
}
