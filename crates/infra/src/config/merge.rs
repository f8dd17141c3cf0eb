//! Files put together to a module: duplicates found, override files laid over the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use consort_hcl::syntax::Body;

use super::block_resource::BlockWord as _;
use super::convert::with_defaults;
use super::decode::place;
use super::file::File;
use super::module::{Module, ModuleCall, Output, ProviderConfig, Variable};
use super::resource::{IgnoreChanges, Resource};
use crate::address::{ModulePath, ProviderSource};

/// Builds modules from decoded files.
struct Builder<'a> {
    sources: &'a Sources,
    module: Module,
    diagnostics: Diagnostics,
    cloud: Option<Range>,
    /// Where the import blocks stand, by what they import to.
    imported: HashMap<String, Range>,
}

/// The module of some files.
pub(super) fn build(
    path: ModulePath,
    source_dir: PathBuf,
    primary: Vec<File>,
    overrides: Vec<File>,
    sources: &Sources,
) -> (Module, Diagnostics) {
    let mut builder = Builder {
        sources,
        module: Module::empty(path, source_dir),
        diagnostics: Diagnostics::new(),
        cloud: None,
        imported: HashMap::new(),
    };
    builder.required_providers(&primary, &overrides);
    for file in primary {
        builder.append(file);
    }
    for file in overrides {
        builder.overlay(file);
    }
    builder.resolve_providers();
    builder.module.cloud = builder.cloud;
    (builder.module, builder.diagnostics)
}

impl Builder<'_> {
    fn error(&mut self, summary: impl Into<String>, detail: impl Into<String>, at: Range) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    fn place(&self, range: Range) -> String {
        place(self.sources, range)
    }

    /// First of all: other blocks need to know which provider a local name means.
    fn required_providers(&mut self, primary: &[File], overrides: &[File]) {
        for required in primary.iter().flat_map(|file| &file.required_providers) {
            if let Some(previous) = self.module.required_providers_range {
                let detail = format!(
                    "A module may have only one required providers configuration. The required providers were previously configured at {}.",
                    self.place(previous)
                );
                self.error(
                    "Duplicate required providers configuration",
                    detail,
                    required.range,
                );
                continue;
            }
            self.module.required_providers_range = Some(required.range);
            self.module.required_providers = required.entries.clone();
        }
        for required in overrides.iter().flat_map(|file| &file.required_providers) {
            self.module
                .required_providers
                .extend(required.entries.clone());
        }
    }

    fn append(&mut self, file: File) {
        self.module.required_versions.extend(file.required_versions);
        for backend in file.backends {
            if let Some(previous) = &self.module.backend {
                let detail = format!(
                    "A module may have only one backend configuration. The backend was previously configured at {}.",
                    self.place(previous.range)
                );
                self.error("Duplicate backend configuration", detail, backend.range);
                continue;
            }
            self.module.backend = Some(backend);
        }
        for (body, range) in file.encryptions {
            if let Some((_, previous)) = &self.module.encryption {
                let detail = format!(
                    "A module may have only one encryption configuration. Encryption was previously configured at {}.",
                    self.place(*previous)
                );
                self.error("Duplicate encryption configuration", detail, range);
                continue;
            }
            self.module.encryption = Some((body, range));
        }
        for cloud in file.clouds {
            if let Some(previous) = self.cloud {
                let detail = format!(
                    "A module may have only one 'cloud' block configuring HCP Terraform or Terraform Enterprise. The 'cloud' block was previously configured at {}.",
                    self.place(previous)
                );
                self.error("Duplicate HCP Terraform configurations", detail, cloud);
                continue;
            }
            self.cloud = Some(cloud);
        }
        if let (Some(backend), Some(cloud)) = (&self.module.backend, self.cloud) {
            let at = backend.range;
            let detail = format!(
                "A module may declare either one 'cloud' block OR one 'backend' block configuring a state backend. The 'cloud' block is configured at {}; a backend is configured at {}. Remove the backend block to configure HCP Terraform or Terraform Enteprise.",
                self.place(cloud),
                self.place(at)
            );
            self.error(
                "Both a backend and cloud configuration are present",
                detail,
                at,
            );
        }
        for config in file.provider_configs {
            self.provider_config(config);
        }
        for meta in file.provider_metas {
            let provider = self.module.provider_for_name(&meta.name);
            if let Some(previous) = self.module.provider_metas.get(&provider) {
                let detail = format!(
                    "A provider_meta block for provider {:?} was already declared at {}. Providers may only have one provider_meta block per module.",
                    &*previous.name,
                    self.place(previous.range)
                );
                self.error("Duplicate provider_meta block", detail, meta.range);
            }
            self.module.provider_metas.insert(provider, meta);
        }
        for variable in file.variables {
            let range = variable.range;
            if let Some(previous) = self
                .module
                .variables
                .insert(variable.name.clone(), variable)
            {
                let detail = format!(
                    "A variable named {:?} was already declared at {}. Variable names must be unique within a module.",
                    &*previous.name,
                    self.place(previous.range)
                );
                self.error("Duplicate variable declaration", detail, range);
            }
        }
        for local in file.locals {
            let range = local.range;
            if let Some(previous) = self.module.locals.insert(local.name.clone(), local) {
                let detail = format!(
                    "A local value named {:?} was already defined at {}. Local value names must be unique within a module.",
                    &*previous.name,
                    self.place(previous.range)
                );
                self.error("Duplicate local value definition", detail, range);
            }
        }
        for output in file.outputs {
            let range = output.range;
            if let Some(previous) = self.module.outputs.insert(output.name.clone(), output) {
                let detail = format!(
                    "An output named {:?} was already defined at {}. Output names must be unique within a module.",
                    &*previous.name,
                    self.place(previous.range)
                );
                self.error("Duplicate output definition", detail, range);
            }
        }
        for call in file.module_calls {
            let range = call.range;
            if let Some(previous) = self.module.module_calls.insert(call.name.clone(), call) {
                let detail = format!(
                    "A module call named {:?} was already defined at {}. Module calls must have unique names within a module.",
                    &*previous.name,
                    self.place(previous.range)
                );
                self.error("Duplicate module call", detail, range);
            }
        }
        for resource in file.resources {
            self.resource(resource, "");
        }
        for (check, data) in file.checks {
            if let Some(data) = data
                && !self.resource(data, ", including within check blocks")
            {
                continue;
            }
            if let Some(previous) = self.module.checks.get(&check.name) {
                let detail = format!(
                    "A check block named {:?} was already declared at {}. Check blocks must be unique within each module.",
                    &*previous.name,
                    self.place(previous.range)
                );
                self.error(
                    format!("Duplicate check {:?} configuration", &*check.name),
                    detail,
                    check.range,
                );
                continue;
            }
            self.module.checks.insert(check.name.clone(), check);
        }
        self.module.moved.extend(file.moved);
        self.module.removed.extend(file.removed);
        for import in file.imports {
            let previous = match &import.instance {
                Some(instance) => match self.imported.entry(instance.to_string()) {
                    std::collections::hash_map::Entry::Occupied(previous) => {
                        Some((instance.to_string(), *previous.get()))
                    }
                    std::collections::hash_map::Entry::Vacant(vacant) => {
                        vacant.insert(import.range);
                        None
                    }
                },
                None => None,
            };
            if let Some((instance, previous)) = previous {
                let detail = format!(
                    "An import block for the resource {instance:?} was already declared at {}. A resource can have only one import block.",
                    self.place(previous)
                );
                self.error(
                    format!("Duplicate import configuration for {instance:?}"),
                    detail,
                    import.to.range(),
                );
            }
            self.module.imports.push(import);
        }
    }

    fn provider_config(&mut self, config: ProviderConfig) {
        if let Some(previous) = self.module.provider_configs.get(&config.key) {
            let at = self.place(previous.range);
            let detail = match &config.key.alias {
                None => format!(
                    "A default (non-aliased) provider configuration for {:?} was already given at {at}. If multiple configurations are required, set the \"alias\" argument for alternative configurations.",
                    &*config.key.name
                ),
                Some(alias) => format!(
                    "A provider configuration for {:?} with alias {:?} was already given at {at}. Each configuration for the same provider must have a distinct alias.",
                    &*config.key.name, &**alias
                ),
            };
            self.error("Duplicate provider configuration", detail, config.range);
            return;
        }
        self.module
            .provider_configs
            .insert(config.key.clone(), config);
    }

    /// Adds a resource; whether there was none of its name.
    fn resource(&mut self, resource: Resource, scope: &str) -> bool {
        let (word, kind) = (resource.address.mode.word(), resource.address.mode.phrase());
        match self.module.resources.entry(resource.address.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(resource);
                true
            }
            Entry::Occupied(previous) => {
                let at = place(self.sources, previous.get().range);
                let address = &resource.address;
                self.diagnostics.push(
                    Diagnostic::error(
                        format!("Duplicate {word} {:?} configuration", &*address.kind),
                        format!(
                            "A {} {kind} named {:?} was already declared at {at}. Resource names must be unique per type in each module{scope}.",
                            address.kind, &*address.name
                        ),
                    )
                    .at(resource.range),
                );
                false
            }
        }
    }

    fn overlay(&mut self, file: File) {
        self.module.required_versions.extend(file.required_versions);
        if let [first, second, ..] = file.backends.as_slice() {
            let detail = format!(
                "Each override file may have only one backend configuration. A backend was previously configured at {}.",
                self.place(first.range)
            );
            self.error("Duplicate backend configuration", detail, second.range);
        } else if let Some(backend) = file.backends.into_iter().next() {
            self.module.backend = Some(backend);
            self.cloud = None;
        }
        for (body, range) in file.encryptions {
            let under = self.module.encryption.take();
            self.module.encryption = Some(match under {
                Some((under, at)) => (Body::overridden(under, body), at),
                None => (body, range),
            });
        }
        if let [first, second, ..] = file.clouds.as_slice() {
            let detail = format!(
                "A module may have only one 'cloud' block configuring HCP Terraform or Terraform Enterprise. The 'cloud' block was previously configured at {}.",
                self.place(*first)
            );
            self.error("Duplicate HCP Terraform configurations", detail, *second);
        } else if let Some(cloud) = file.clouds.first() {
            self.cloud = Some(*cloud);
            self.module.backend = None;
        }
        for config in file.provider_configs {
            match self.module.provider_configs.get_mut(&config.key) {
                Some(base) => merge_provider(base, config),
                None => match &config.key.alias {
                    None => {
                        self.module
                            .provider_configs
                            .insert(config.key.clone(), config);
                    }
                    Some(alias) => {
                        let detail = format!(
                            "There is no {} provider configuration with the alias {:?}. An override file can only override an aliased provider configuration that was already defined in a primary configuration file.",
                            config.key.name, &**alias
                        );
                        self.error(
                            "Missing base provider configuration for override",
                            detail,
                            config.range,
                        );
                    }
                },
            }
        }
        for variable in file.variables {
            match self.module.variables.get_mut(&variable.name) {
                Some(base) => merge_variable(base, variable, &mut self.diagnostics),
                None => {
                    let detail = format!(
                        "There is no variable named {:?}. An override file can only override a variable that was already declared in a primary configuration file.",
                        &*variable.name
                    );
                    self.error(
                        "Missing base variable declaration to override",
                        detail,
                        variable.range,
                    );
                }
            }
        }
        for local in file.locals {
            match self.module.locals.get_mut(&local.name) {
                Some(base) => *base = local,
                None => {
                    let detail = format!(
                        "There is no local value named {:?}. An override file can only override a local value that was already defined in a primary configuration file.",
                        &*local.name
                    );
                    self.error(
                        "Missing base local value definition to override",
                        detail,
                        local.range,
                    );
                }
            }
        }
        for output in file.outputs {
            match self.module.outputs.get_mut(&output.name) {
                Some(base) => merge_output(base, output, &mut self.diagnostics),
                None => {
                    let detail = format!(
                        "There is no output named {:?}. An override file can only override an output that was already defined in a primary configuration file.",
                        &*output.name
                    );
                    self.error(
                        "Missing base output definition to override",
                        detail,
                        output.range,
                    );
                }
            }
        }
        for call in file.module_calls {
            match self.module.module_calls.get_mut(&call.name) {
                Some(base) => merge_call(base, call, &mut self.diagnostics),
                None => {
                    let detail = format!(
                        "There is no module call named {:?}. An override file can only override a module call that was defined in a primary configuration file.",
                        &*call.name
                    );
                    self.error("Missing module call to override", detail, call.range);
                }
            }
        }
        for resource in file.resources {
            let address = &resource.address;
            match self.module.resources.get_mut(address) {
                Some(base) => merge_resource(base, resource, &mut self.diagnostics),
                None => {
                    let (phrase, block) = (address.mode.phrase(), address.mode.word());
                    let detail = format!(
                        "There is no {} {phrase} named {:?}. An override file can only override a {block} block defined in a primary configuration file.",
                        address.kind, &*address.name
                    );
                    self.error(
                        format!("Missing {phrase} to override"),
                        detail,
                        resource.range,
                    );
                }
            }
        }
        for (kind, range) in file.not_overridable {
            let detail = match kind {
                "moved" => {
                    "Records of moved objects can appear only in normal files, not in override files."
                }
                "import" => "Import blocks can appear only in normal files, not in override files.",
                _ => "Removed blocks can appear only in normal files, not in override files.",
            };
            self.error(format!("Cannot override '{kind}' blocks"), detail, range);
        }
    }

    fn resolve_providers(&mut self) {
        for import in &self.module.imports {
            if let Some(provider) = &import.provider
                && import.target.module.is_root()
                && self.module.resources.contains_key(&import.target.resource)
            {
                self.diagnostics.push(
                    Diagnostic::error(
                        "Invalid import provider argument",
                        "The provider argument can only be specified in import blocks that will generate configuration.\n\nUse the provider argument in the target resource block to configure the provider for a resource with explicit provider configuration.",
                    )
                    .at(provider.name_range.to(provider.alias_range.unwrap_or(provider.name_range))),
                );
            }
        }
        let required: BTreeMap<_, _> = self
            .module
            .required_providers
            .values()
            .map(|entry| (entry.name.clone(), entry.address.clone()))
            .collect();
        let provider = |name: &str| {
            required
                .get(name)
                .cloned()
                .unwrap_or_else(|| ProviderSource::implied(name))
        };
        for config in self.module.provider_configs.values_mut() {
            config.provider = provider(&config.key.name);
        }
        for resource in self.module.resources.values_mut() {
            resource.provider = provider(&resource.local_provider().name);
        }
        for import in &mut self.module.imports {
            import.provider_address = match &import.provider {
                Some(reference) => provider(&reference.key.name),
                None => provider(import.target.resource.implied_provider()),
            };
        }
    }
}

/// The arguments of one body replaced by those of another; its blocks too, type by type.
fn merge_bodies(base: &Body, overlay: &Body) -> Body {
    Body::overridden(base.clone(), overlay.clone())
}

fn merge_provider(base: &mut ProviderConfig, overlay: ProviderConfig) {
    if overlay.version.is_some() {
        base.version = overlay.version;
    }
    base.config = merge_bodies(&base.config, &overlay.config);
}

fn merge_variable(base: &mut Variable, overlay: Variable, diagnostics: &mut Diagnostics) {
    const SUMMARY: &str = "Invalid default value for variable";
    if overlay.description.is_some() {
        base.description = overlay.description;
    }
    if overlay.set.sensitive {
        base.sensitive = overlay.sensitive;
    }
    if overlay.set.ephemeral {
        base.ephemeral = overlay.ephemeral;
    }
    if overlay.set.nullable {
        base.nullable = overlay.nullable;
    }
    let (typed, defaulted) = (overlay.type_range.is_some(), overlay.default.is_some());
    if defaulted {
        base.default = overlay.default;
        base.default_range = overlay.default_range;
    }
    if typed {
        base.ty = overlay.ty;
        base.type_range = overlay.type_range;
        base.defaults = overlay.defaults;
    }
    let Some(default) = &base.default else { return };
    match with_defaults(default, &base.ty, &base.defaults) {
        Ok(converted) => base.default = Some(converted),
        Err(why) => {
            let why = why.located();
            let detail = match (typed, defaulted) {
                (true, false) => {
                    format!(
                        "Overriding this variable's type constraint has made its default value invalid: {why}."
                    )
                }
                (false, true) => format!(
                    "The overridden default value for this variable is not compatible with the variable's type constraint: {why}."
                ),
                _ => format!(
                    "This variable's default value is not compatible with its type constraint: {why}."
                ),
            };
            diagnostics.push(Diagnostic::error(SUMMARY, detail).at(overlay.range));
        }
    }
    if !base.nullable
        && base
            .default
            .as_ref()
            .is_some_and(consort_hcl::Value::is_null)
    {
        let detail = "A null default value is not valid when nullable=false.";
        diagnostics.push(Diagnostic::error(SUMMARY, detail).at(overlay.range));
    }
}

fn no_depends_on(depends_on: &[consort_hcl::traversal::Traversal], diagnostics: &mut Diagnostics) {
    if let Some(first) = depends_on.first() {
        diagnostics.push(
            Diagnostic::error(
                "Unsupported override",
                "The depends_on argument may not be overridden.",
            )
            .at(first.range()),
        );
    }
}

fn merge_output(base: &mut Output, overlay: Output, diagnostics: &mut Diagnostics) {
    if overlay.description.is_some() {
        base.description = overlay.description;
    }
    if overlay.value.is_some() {
        base.value = overlay.value;
    }
    if overlay.sensitive_set {
        base.sensitive = overlay.sensitive;
    }
    if overlay.ephemeral_set {
        base.ephemeral = overlay.ephemeral;
    }
    no_depends_on(&overlay.depends_on, diagnostics);
}

fn merge_call(base: &mut ModuleCall, overlay: ModuleCall, diagnostics: &mut Diagnostics) {
    if overlay.source_range.is_some() {
        base.source = overlay.source;
        base.source_range = overlay.source_range;
        base.address = overlay.address;
    }
    if overlay.version.is_some() {
        base.version = overlay.version;
    }
    if overlay.count.is_some() {
        base.count = overlay.count;
    }
    if overlay.for_each.is_some() {
        base.for_each = overlay.for_each;
    }
    if !overlay.providers.is_empty() {
        base.providers = overlay.providers;
    }
    base.config = merge_bodies(&base.config, &overlay.config);
    no_depends_on(&overlay.depends_on, diagnostics);
}

fn merge_resource(base: &mut Resource, overlay: Resource, diagnostics: &mut Diagnostics) {
    if overlay.count.is_some() {
        base.count = overlay.count;
    }
    if overlay.for_each.is_some() {
        base.for_each = overlay.for_each;
    }
    if overlay.provider_reference.is_some() {
        base.provider_reference = overlay.provider_reference;
    }
    let (managed, overlaid) = (&mut base.managed, overlay.managed);
    if overlaid.connection.is_some() {
        managed.connection = overlaid.connection;
    }
    if overlaid.create_before_destroy.is_some() {
        managed.create_before_destroy = overlaid.create_before_destroy;
    }
    if overlaid.prevent_destroy.is_some() {
        managed.prevent_destroy = overlaid.prevent_destroy;
    }
    match overlaid.ignore_changes {
        IgnoreChanges::None => {}
        IgnoreChanges::Paths(paths) if paths.is_empty() => {}
        other => managed.ignore_changes = other,
    }
    if !overlaid.provisioners.is_empty() {
        managed.provisioners = overlaid.provisioners;
    }
    base.config = merge_bodies(&base.config, &overlay.config);
    no_depends_on(&overlay.depends_on, diagnostics);
}
