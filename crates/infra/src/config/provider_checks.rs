//! Whether the provider configurations that modules pass to each other fit together.

use std::collections::BTreeMap;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use consort_hcl::syntax::BodySchema;

use super::decode::place;
use super::module::{LocalProvider, ModuleCall, PassedProvider};
use super::provider_source::parse_part;
use super::tree::Tree;
use crate::address::ProviderSource;

/// Checks a configuration from its root on.
pub(super) fn check(root: &Tree, sources: &Sources) -> Diagnostics {
    let mut checker = Checker {
        sources,
        diagnostics: Diagnostics::new(),
    };
    checker.module(root, None, None);
    checker.diagnostics
}

/// Checks that each name for a provider in a test file stands for one provider in all the modules it is given to.
pub(super) fn check_tests(root: &Tree) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for (file, test) in &root.module.tests {
        let mut known: BTreeMap<&str, ProviderSource> = BTreeMap::new();
        for run in &test.runs {
            let tree = match &run.module {
                None => Some(root),
                Some(_) => root.run_modules.get(&(file.clone(), run.name.clone())),
            };
            let Some(tree) = tree else { continue };
            for passed in &run.providers {
                let source = tree.module.provider_for_name(&passed.child.key.name);
                let name = &*passed.parent.key.name;
                match known.get(name) {
                    None => {
                        known.insert(name, source);
                    }
                    Some(before) if *before == source => {}
                    Some(before) => diagnostics.push(
                        Diagnostic::error(
                            "Provider type mismatch",
                            format!(
                                "The local name {name:?} in {file} represents provider {:?}, but {:?} in the root module represents {:?}.\n\nThis means the provider definition for {name:?} within {file}, or other provider definitions with the same name, have been referenced by multiple run blocks and assigned to different provider types.",
                                before.to_string(),
                                passed.child.key.to_string(),
                                source.to_string()
                            ),
                        )
                        .at(passed.child.name_range),
                    ),
                }
            }
        }
    }
    diagnostics
}

struct Checker<'a> {
    sources: &'a Sources,
    diagnostics: Diagnostics,
}

/// The module that is called, as its caller sees it.
#[derive(Clone, Copy)]
struct Called<'t> {
    parent: &'t Tree,
    call: &'t ModuleCall,
}

impl Checker<'_> {
    fn error(&mut self, summary: &str, detail: String, at: Range) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    fn warning(&mut self, summary: &str, detail: String, at: Range) {
        self.diagnostics
            .push(Diagnostic::warning(summary, detail).at(at));
    }

    /// `repeated` is where a caller above uses an argument that forbids configurations of the module's own.
    fn module(&mut self, tree: &Tree, called: Option<Called<'_>>, repeated: Option<Range>) {
        let module = &tree.module;
        for (name, child) in &tree.children {
            let Some(call) = module.module_calls.get(name) else {
                continue;
            };
            let argument = call
                .count
                .as_ref()
                .or(call.for_each.as_ref())
                .map(consort_hcl::syntax::Expr::range)
                .or_else(|| {
                    call.depends_on_range.map(|_| {
                        call.depends_on
                            .first()
                            .map_or(call.range, consort_hcl::Traversal::range)
                    })
                });
            self.module(
                child,
                Some(Called { parent: tree, call }),
                argument.or(repeated),
            );
        }

        let mut configured: BTreeMap<&LocalProvider, Range> = BTreeMap::new();
        let mut empty: BTreeMap<&LocalProvider, Range> = BTreeMap::new();
        for (key, config) in &module.provider_configs {
            let (_, diagnostics) = config.config.content(&BodySchema::new());
            if diagnostics.has_errors() || config.version.is_some() {
                configured.insert(key, config.range);
            } else {
                empty.insert(key, config.range);
            }
        }
        let local_names: BTreeMap<&str, &ProviderSource> = module
            .required_providers
            .iter()
            .map(|(name, required)| (&**name, &required.address))
            .collect();
        let aliases: BTreeMap<&LocalProvider, &ProviderSource> = module
            .required_providers
            .values()
            .flat_map(|required| {
                required
                    .aliases
                    .iter()
                    .map(move |alias| (alias, &required.address))
            })
            .collect();
        self.requirements(tree);
        self.implied_names(tree, &local_names);

        let passed: BTreeMap<&LocalProvider, &PassedProvider> = called
            .iter()
            .flat_map(|called| {
                called
                    .call
                    .providers
                    .iter()
                    .map(|passed| (&passed.child.key, passed))
            })
            .collect();
        let text_of = |path: &crate::address::ModulePath| {
            if path.is_root() {
                "the root module".to_string()
            } else {
                path.to_string()
            }
        };
        let module_text = text_of(&module.path);
        let parent_text = called.map_or_else(
            || "the root module".to_string(),
            |called| text_of(&called.parent.module.path),
        );

        for given in module
            .module_calls
            .values()
            .flat_map(|call| &call.providers)
        {
            if given.parent.key.alias.is_some() {
                continue;
            }
            let key = &given.parent.key;
            let name = &*key.name;
            if !configured.contains_key(key) && !local_names.contains_key(name) {
                let source = ProviderSource::new("hashicorp", name).for_display();
                let detail = format!(
                    "There is no explicit declaration for local provider name {name:?} in {module_text}, so Terraform is assuming you mean to pass a configuration for provider {source:?}.\n\nTo clarify your intent and silence this warning, add to {parent_text} a required_providers entry named {name:?} with source = {source:?}, or a different source address if appropriate."
                );
                self.warning(
                    "Reference to undefined provider",
                    detail,
                    given.parent.name_range,
                );
                continue;
            }
            if let Some(called) = called
                && !configured.contains_key(key)
                && !passed.contains_key(key)
            {
                let source = ProviderSource::new("hashicorp", name).for_display();
                let detail = format!(
                    "The configuration for {module_text} expects to inherit a configuration for provider {source} with local name {name:?}, but {parent_text} doesn't pass a configuration under that name.\n\nTo satisfy this requirement, add an entry for {name:?} to the \"providers\" argument in the module {:?} block.",
                    &*called.call.name
                );
                self.warning(
                    "Missing required provider configuration",
                    detail,
                    called.call.range,
                );
            }
        }
        let Some(called) = called else { return };

        if let Some(at) = repeated.filter(|_| !configured.is_empty()) {
            let source = tree
                .source
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let detail = format!(
                "The module at {} is a legacy module which contains its own local provider configurations, and so calls to it may not use the count, for_each, or depends_on arguments.\n\nIf you also control the module {source:?}, consider updating this module to instead expect provider configurations to be passed by its caller.",
                module.path
            );
            self.error(
                "Module is incompatible with count, for_each, and depends_on",
                detail,
                at,
            );
        }
        for name in configured.keys() {
            if let Some(given) = passed.get(name) {
                let detail = format!(
                    "The configuration of {module_text} has its own local configuration for {name}, and so it cannot accept an overridden configuration provided by {parent_text}."
                );
                self.error(
                    "Cannot override provider configuration",
                    detail,
                    given.child.name_range,
                );
            }
        }
        for (name, provider) in &aliases {
            if configured.contains_key(name) || passed.contains_key(name) {
                continue;
            }
            let detail = format!(
                "The child module requires an additional configuration for provider {}, with the local name {:?}.\n\nRefer to the module's documentation to understand the intended purpose of this additional provider configuration, and then add an entry for {name} in the \"providers\" meta-argument in the module block to choose which provider configuration the module should use for that purpose.",
                provider.for_display(),
                name.to_string()
            );
            self.error(
                "Missing required provider configuration",
                detail,
                called.call.range,
            );
        }
        for (name, given) in &passed {
            self.passed(
                tree,
                called,
                name,
                given,
                &local_names,
                &aliases,
                empty.contains_key(*name),
                [&module_text, &parent_text],
            );
        }
        self.empty_blocks(&empty, &local_names, &module_text);
    }

    #[allow(clippy::too_many_arguments)] // All of them are facts about one module, gathered once above.
    fn passed(
        &mut self,
        tree: &Tree,
        called: Called<'_>,
        name: &LocalProvider,
        given: &PassedProvider,
        local_names: &BTreeMap<&str, &ProviderSource>,
        aliases: &BTreeMap<&LocalProvider, &ProviderSource>,
        is_empty: bool,
        [module_text, parent_text]: [&str; 2],
    ) {
        let child_name = &*given.child.key.name;
        let named = name.to_string();
        let provider = aliases
            .get(name)
            .copied()
            .or_else(|| local_names.get(&*named).copied())
            .cloned()
            .unwrap_or_else(|| tree.module.provider_for_name(child_name));
        if !local_names.contains_key(&*named) && !aliases.contains_key(name) && !is_empty {
            let source = provider.for_display();
            if &*provider.namespace == "hashicorp"
                && &*provider.host == ProviderSource::DEFAULT_HOST
            {
                let detail = format!(
                    "There is no explicit declaration for local provider name {named:?} in {module_text}, so Terraform is assuming you mean to pass a configuration for {source:?}.\n\nIf you also control the child module, add a required_providers entry named {named:?} with the source address {source:?}."
                );
                self.warning(
                    "Reference to undefined provider",
                    detail,
                    given.child.name_range,
                );
            } else {
                let detail = format!(
                    "The child module does not declare any provider requirement with the local name {named:?}.\n\nIf you also control the child module, you can add a required_providers entry named {named:?} with the source address {source:?} to accept this provider configuration."
                );
                self.error(
                    "Reference to undefined provider",
                    detail,
                    given.child.name_range,
                );
            }
        }
        let parent_provider = called
            .parent
            .module
            .provider_for_name(&given.parent.key.name);
        if provider == parent_provider {
            return;
        }
        let other = local_names
            .iter()
            .find(|(_, source)| ***source == parent_provider)
            .map(|(name, _)| *name);
        let (detail, at) = match other {
            Some(other) => (
                format!(
                    "The assigned configuration is for provider {:?}, but local name {child_name:?} in {parent_text} represents {:?}.\n\nTo pass this configuration to the child module, use the local name {other:?} instead.",
                    parent_provider.for_display(),
                    provider.for_display()
                ),
                given.child.name_range,
            ),
            None => (
                format!(
                    "The local name {:?} in {parent_text} represents provider {:?}, but {:?} in {module_text} represents {:?}.\n\nEach provider has its own distinct configuration schema and provider types, so this module's {:?} can be assigned only a configuration for {}, which is not required by {module_text}.",
                    given.parent.key.to_string(),
                    parent_provider.for_display(),
                    given.child.key.to_string(),
                    provider.for_display(),
                    given.child.key.to_string(),
                    provider.for_display()
                ),
                given.parent.name_range,
            ),
        };
        self.error("Provider type mismatch", detail, at);
    }

    /// One provider under two local names.
    fn requirements(&mut self, tree: &Tree) {
        const SUMMARY: &str = "Duplicate required provider";
        let module = &tree.module;
        let mut seen: BTreeMap<&ProviderSource, &str> = BTreeMap::new();
        for required in module.required_providers.values() {
            if let Some(previous) = seen.get(&required.address) {
                let detail = format!(
                    "Provider {} with the local name {:?} was previously required as {previous:?}. A provider can only be required once within required_providers.",
                    required.address.for_display(),
                    &*required.name
                );
                self.warning(SUMMARY, detail, required.range);
            } else if &*required.address.namespace == "hashicorp"
                && &*required.address.host == ProviderSource::DEFAULT_HOST
                && required.name != required.address.kind
                && module
                    .provider_configs
                    .keys()
                    .any(|key| key.name == required.address.kind)
            {
                let detail = format!(
                    "Provider {} with the local name {:?} was implicitly required via a configuration block as {:?}. The provider configuration block name must match the name used in required_providers.",
                    required.address.for_display(),
                    &*required.name,
                    &*required.address.kind
                );
                self.warning(SUMMARY, detail, required.range);
            }
            seen.insert(&required.address, &required.name);
        }
    }

    /// Resources whose type implies a provider that the module knows under another name.
    fn implied_names(&mut self, tree: &Tree, local_names: &BTreeMap<&str, &ProviderSource>) {
        for resource in tree
            .module
            .resources
            .values()
            .filter(|resource| resource.provider_reference.is_none())
        {
            let name = resource.address.implied_provider();
            if let Err(why) = parse_part(name) {
                let detail = format!("{name:?} is an invalid implied provider local name: {why}");
                self.error("Invalid provider local name", detail, resource.range);
                continue;
            }
            if local_names.contains_key(name) {
                continue;
            }
            let implied = ProviderSource::implied(name);
            for other in local_names
                .iter()
                .filter(|(_, source)| ***source == implied)
                .map(|(name, _)| name)
            {
                let detail = format!(
                    "Provider {:?} was implicitly required via resource {:?}, but listed in required_providers as {other:?}. Either the local name in required_providers must match the resource name, or the {other:?} provider must be assigned within the resource block.",
                    implied.to_string(),
                    resource.address.to_string()
                );
                self.warning("Duplicate required provider", detail, resource.range);
            }
        }
    }

    /// Empty provider blocks in a called module, which once declared what callers have to pass.
    fn empty_blocks(
        &mut self,
        empty: &BTreeMap<&LocalProvider, Range>,
        local_names: &BTreeMap<&str, &ProviderSource>,
        module_text: &str,
    ) {
        let mut by_name: BTreeMap<&str, Vec<(&LocalProvider, Range)>> = BTreeMap::new();
        for (key, range) in empty {
            by_name.entry(&key.name).or_default().push((key, *range));
        }
        for (name, mut blocks) in by_name {
            let source = local_names.get(name).map_or_else(
                || ProviderSource::new("hashicorp", name),
                |source| (*source).clone(),
            );
            let mut detail = format!(
                "Earlier versions of Terraform used empty provider blocks (\"proxy provider configurations\") for child modules to declare their need to be passed a provider configuration by their callers. That approach was ambiguous and is now deprecated.\n\nIf you control this module, you can migrate to the new declaration syntax by removing all of the empty provider {name:?} blocks and then adding or updating an entry like the following to the required_providers block of {module_text}:\n    {name} = {{\n      source = {:?}\n",
                source.for_display()
            );
            if blocks.iter().any(|(key, _)| key.alias.is_some()) {
                detail.push_str("      configuration_aliases = [\n");
                for (key, _) in &blocks {
                    detail.push_str(&format!("        {key},\n"));
                }
                detail.push_str("      ]\n");
            }
            detail.push_str("    }");
            blocks.sort_by_key(|(_, range)| place(self.sources, *range));
            if let Some((_, at)) = blocks.first() {
                self.warning("Redundant empty provider block", detail, *at);
            }
        }
    }
}
