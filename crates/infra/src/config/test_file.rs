//! Test files: `*.tftest.hcl` and `*.tftest.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use consort_hcl::syntax::{Attribute, Block, Body, BodySchema, Expr, is_identifier};
use consort_hcl::traversal::Traversal;
use consort_hcl::{Kind, Value};

use super::block_refactor::target;
use super::decode::{BAD_IDENTIFIER, Decoder};
use super::module::{
    CheckRule, LocalProvider, ModuleCall, PassedProvider, ProviderConfig, VersionConstraint,
};
use super::source::ModuleSource;
use crate::address::{Mode, ModulePath, Target};

/// A test file.
#[derive(Clone, Debug, Default)]
pub struct TestFile {
    /// Values of variables for all runs.
    pub variables: BTreeMap<Arc<str>, Expr>,
    /// Provider configurations for all runs.
    pub providers: BTreeMap<LocalProvider, ProviderConfig>,
    /// Providers that are made up.
    pub mock_providers: BTreeMap<LocalProvider, MockProvider>,
    /// What is replaced in all runs.
    pub overrides: Vec<Override>,
    /// The runs in order.
    pub runs: Vec<Run>,
}

/// A `run` block.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it stops after the plan.
    pub plan_only: bool,
    /// How it plans.
    pub options: PlanOptions,
    /// Values of variables, over those of the file.
    pub variables: BTreeMap<Arc<str>, Expr>,
    /// Provider configurations from the file for the module; none means those of the same names.
    pub providers: Vec<PassedProvider>,
    /// What must hold afterwards.
    pub asserts: Vec<CheckRule>,
    /// Another module than the one under test.
    pub module: Option<RunModule>,
    /// What must fail.
    pub expect_failures: Vec<Traversal>,
    /// The state it works on, in place of the module's own.
    pub state_key: Option<String>,
    /// What is replaced in this run.
    pub overrides: Vec<Override>,
    /// Where the name stands.
    pub name_range: Range,
    /// The block's header.
    pub range: Range,
}

/// A run's `module` block.
#[derive(Clone, Debug)]
pub struct RunModule {
    /// Where it comes from: a directory or a registry.
    pub source: ModuleSource,
    /// Which version.
    pub version: Option<VersionConstraint>,
    /// The block's arguments.
    pub body: Body,
    /// Where the source stands.
    pub source_range: Range,
    /// The block's header.
    pub range: Range,
}

impl RunModule {
    /// As a module call, for those who install and load it.
    pub(crate) fn as_call(&self, name: &Arc<str>) -> ModuleCall {
        ModuleCall {
            name: name.clone(),
            source: Some(self.source.to_string()),
            source_range: Some(self.source_range),
            address: Some(self.source.clone()),
            version: self.version.clone(),
            config: self.body.clone(),
            count: None,
            for_each: None,
            providers: Vec::new(),
            depends_on: Vec::new(),
            depends_on_range: None,
            range: self.range,
        }
    }
}

impl Run {
    /// The names under which the module of a run of a test file is installed: `test`, the file's directories
    /// and base name, the run.
    pub(crate) fn module_path(&self, file: &str) -> ModulePath {
        let base = file
            .strip_suffix(".tftest.hcl")
            .or_else(|| file.strip_suffix(".tftest.json"))
            .unwrap_or(file);
        ["test"]
            .into_iter()
            .chain(base.split('/'))
            .map(Arc::from)
            .chain([self.name.clone()])
            .collect()
    }
}

/// A run's `plan_options` block.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// `mode = refresh-only`
    pub refresh_only: bool,
    /// `refresh`
    pub refresh: bool,
    /// `replace`
    pub replace: Vec<Traversal>,
    /// `target`
    pub target: Vec<Traversal>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            refresh_only: false,
            refresh: true,
            replace: Vec::new(),
            target: Vec::new(),
        }
    }
}

/// What an override replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrideKind {
    /// `override_resource`
    Resource,
    /// `override_data`
    Data,
    /// `override_module`
    Module,
}

impl OverrideKind {
    /// The block's type.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resource => "override_resource",
            Self::Data => "override_data",
            Self::Module => "override_module",
        }
    }
}

/// An `override_resource`, `override_data` or `override_module` block.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which of the three.
    pub kind: OverrideKind,
    /// What is replaced.
    pub target: Target,
    /// The values or outputs to use, an object; others are made up.
    pub values: Option<Value>,
    /// Whether the values count while planning already.
    pub during_plan: Option<bool>,
    /// Where the target stands.
    pub target_range: Range,
    /// The block's header.
    pub range: Range,
}

/// A `mock_provider` block.
#[derive(Clone, Debug)]
pub struct MockProvider {
    /// Its local name and alias.
    pub key: LocalProvider,
    /// `mock_resource` and `mock_data` blocks by mode and type.
    pub mocks: BTreeMap<(Mode, Arc<str>), Mock>,
    /// What is replaced wherever this provider serves it.
    pub overrides: Vec<Override>,
    /// Whether values count while planning already.
    pub during_plan: Option<bool>,
    /// A directory with more mocks.
    pub source: Option<(String, Range)>,
    /// Where the name stands.
    pub name_range: Range,
    /// The block's header.
    pub range: Range,
}

/// A `mock_resource` or `mock_data` block.
#[derive(Clone, Debug)]
pub struct Mock {
    /// Values to use in place of made-up ones, an object.
    pub defaults: Option<Value>,
    /// The `defaults` argument, or else the block's header.
    pub defaults_range: Range,
    /// Whether they count while planning already.
    pub during_plan: Option<bool>,
    /// The block's header.
    pub range: Range,
}

/// Decodes the body of a test file.
pub(super) fn decode(body: &Body, sources: &Sources) -> (TestFile, Diagnostics) {
    let mut decoder = Decoder::new(sources, false);
    let file = decoder.test_file(body);
    (file, decoder.diagnostics)
}

/// Decodes a file of mocks (`*.tfmock.hcl`), whose blocks stand where a `mock_provider` block has them.
pub(super) fn decode_mocks(
    body: &Body,
    sources: &Sources,
    provider: &mut MockProvider,
) -> Diagnostics {
    let mut decoder = Decoder::new(sources, false);
    let schema = BodySchema::new()
        .block("mock_resource", &["type"])
        .block("mock_data", &["type"])
        .block("override_resource", &[])
        .block("override_data", &[]);
    let content = decoder.content(body, &schema);
    for block in &content.blocks {
        decoder.mock_block(block, provider, true);
    }
    decoder.diagnostics
}

impl Decoder<'_> {
    fn test_file(&mut self, body: &Body) -> TestFile {
        let schema = BodySchema::new()
            .block("run", &["name"])
            .block("provider", &["name"])
            .block("variables", &[])
            .block("override_resource", &[])
            .block("override_data", &[])
            .block("override_module", &[])
            .block("mock_provider", &["name"]);
        let content = self.content(body, &schema);
        let mut file = TestFile::default();
        let mut variables = None;
        let mut names: BTreeMap<Arc<str>, Range> = BTreeMap::new();
        for block in &content.blocks {
            match &*block.kind {
                "run" => {
                    let run = self.run(block);
                    if let Some(previous) = names.insert(run.name.clone(), run.range) {
                        let detail = format!(
                            "This test file already has a run named {} block defined at {}.",
                            run.name,
                            self.place(previous)
                        );
                        self.error("Duplicate \"run\" block names", detail, run.range);
                    }
                    file.runs.push(run);
                }
                "variables" => {
                    if let Some(found) = self.variables_block(block, &mut variables, "test file") {
                        file.variables = found;
                    }
                }
                "provider" => {
                    if let Some(provider) = self.provider(block) {
                        self.unique_provider(&file, &provider.key, provider.range);
                        file.providers.insert(provider.key.clone(), provider);
                    }
                }
                "mock_provider" => {
                    if let Some(provider) = self.mock_provider(block) {
                        self.unique_provider(&file, &provider.key, provider.range);
                        file.mock_providers.insert(provider.key.clone(), provider);
                    }
                }
                _ => self.push_override(block, &mut file.overrides),
            }
        }
        file
    }

    fn unique_provider(&mut self, file: &TestFile, key: &LocalProvider, at: Range) {
        let previous = file
            .providers
            .get(key)
            .map(|provider| provider.name_range)
            .or_else(|| {
                file.mock_providers
                    .get(key)
                    .map(|provider| provider.name_range)
            });
        if let Some(previous) = previous {
            let detail = format!(
                "A provider for {key} is already defined at {}.",
                self.place(previous)
            );
            self.error("Duplicate provider block", detail, at);
        }
    }

    fn variables_block(
        &mut self,
        block: &Block,
        seen: &mut Option<Range>,
        of: &str,
    ) -> Option<BTreeMap<Arc<str>, Expr>> {
        if let Some(previous) = *seen {
            let detail = format!(
                "This {of} already has a variables block defined at {}.",
                self.place(previous)
            );
            self.error(
                "Multiple \"variables\" blocks",
                detail,
                block.header_range(),
            );
            return None;
        }
        *seen = Some(block.header_range());
        let (attributes, diagnostics) = block.body.just_attributes();
        self.diagnostics.append(diagnostics);
        Some(
            attributes
                .into_values()
                .map(|attribute| (attribute.name, attribute.expr))
                .collect(),
        )
    }

    fn run(&mut self, block: &Block) -> Run {
        let schema = BodySchema::new()
            .optional(["command", "providers", "expect_failures", "state_key"])
            .block("plan_options", &[])
            .block("assert", &[])
            .block("variables", &[])
            .block("module", &[])
            .block("override_resource", &[])
            .block("override_data", &[])
            .block("override_module", &[]);
        let content = self.content(&block.body, &schema);
        self.check_name("Invalid run block name", block, 0);
        let mut run = Run {
            name: block.label(0).into(),
            plan_only: false,
            options: PlanOptions::default(),
            variables: BTreeMap::new(),
            providers: Vec::new(),
            asserts: Vec::new(),
            module: None,
            expect_failures: Vec::new(),
            state_key: None,
            overrides: Vec::new(),
            name_range: block
                .labels
                .first()
                .map_or(block.kind_range, |label| label.range),
            range: block.header_range(),
        };
        run.state_key = content
            .attribute("state_key")
            .and_then(|attribute| self.constant_string(attribute));
        let (mut options, mut variables, mut module) = (None, None, None);
        for inner in &content.blocks {
            match &*inner.kind {
                "assert" => {
                    let rule = self.check_rule(inner);
                    run.asserts.push(rule);
                }
                "plan_options" => {
                    if let Some(previous) = options {
                        let detail = format!(
                            "This run block already has a plan_options block defined at {}.",
                            self.place(previous)
                        );
                        self.error(
                            "Multiple \"plan_options\" blocks",
                            detail,
                            inner.header_range(),
                        );
                        continue;
                    }
                    options = Some(inner.header_range());
                    run.options = self.plan_options(inner);
                }
                "variables" => {
                    if let Some(found) = self.variables_block(inner, &mut variables, "run block") {
                        run.variables = found;
                    }
                }
                "module" => {
                    if let Some(previous) = module {
                        let detail = format!(
                            "This run block already has a module block defined at {}.",
                            self.place(previous)
                        );
                        self.error("Multiple \"module\" blocks", detail, inner.header_range());
                    }
                    module = Some(inner.header_range());
                    run.module = self.run_module(inner);
                }
                _ => self.push_override(inner, &mut run.overrides),
            }
        }
        if let Some(attribute) = content.attribute("command") {
            match attribute.expr.as_keyword().as_deref() {
                Some("apply") => {}
                Some("plan") => run.plan_only = true,
                _ => self.error(
                    "Invalid \"command\" keyword",
                    "The \"command\" argument requires one of the following keywords without quotes: apply or plan.",
                    attribute.expr.range(),
                ),
            }
        }
        if let Some(attribute) = content.attribute("providers") {
            run.providers = self.passed_providers(attribute);
        }
        if let Some(attribute) = content.attribute("expect_failures") {
            run.expect_failures = self.references(attribute);
        }
        run
    }

    fn plan_options(&mut self, block: &Block) -> PlanOptions {
        let content = self.content(
            &block.body,
            &BodySchema::new().optional(["mode", "refresh", "replace", "target"]),
        );
        let mut options = PlanOptions::default();
        if let Some(attribute) = content.attribute("mode") {
            match attribute.expr.as_keyword().as_deref() {
                Some("refresh-only") => options.refresh_only = true,
                Some("normal") => {}
                _ => self.error(
                    "Invalid \"mode\" keyword",
                    "The \"mode\" argument requires one of the following keywords without quotes: normal or refresh-only",
                    attribute.expr.range(),
                ),
            }
        }
        if let Some(attribute) = content.attribute("refresh") {
            options.refresh = self.constant_bool(attribute).unwrap_or(true);
            if !options.refresh && options.refresh_only {
                self.error(
                    "Incompatible plan options",
                    "The \"refresh\" option cannot be set to false when running a test in \"refresh-only\" mode.",
                    attribute.range,
                );
            }
        }
        options.replace = content
            .attribute("replace")
            .map(|attribute| self.references(attribute))
            .unwrap_or_default();
        options.target = content
            .attribute("target")
            .map(|attribute| self.references(attribute))
            .unwrap_or_default();
        options
    }

    fn run_module(&mut self, block: &Block) -> Option<RunModule> {
        let content = self.content(
            &block.body,
            &BodySchema::new().optional(["source", "version"]),
        );
        let version = content
            .attribute("version")
            .and_then(|attribute| self.version_constraint(attribute));
        let Some(attribute) = content.attribute("source") else {
            self.error(
                "Missing \"source\" attribute for module block",
                "You must specify a source attribute when executing alternate modules during test executions.",
                block.header_range(),
            );
            return None;
        };
        let raw = self.constant_string(attribute)?;
        let source = self.module_source(
            &raw,
            content.attribute("version").is_some(),
            attribute.range,
        )?;
        if matches!(source, ModuleSource::Remote { .. }) {
            self.error(
                "Invalid module source address",
                "Only local or registry module sources are currently supported from within test run blocks.",
                attribute.range,
            );
            return None;
        }
        Some(RunModule {
            source,
            version,
            body: block.body.clone(),
            source_range: attribute.range,
            range: block.header_range(),
        })
    }

    fn push_override(&mut self, block: &Block, overrides: &mut Vec<Override>) {
        let Some(found) = self.overriding_block(block) else {
            return;
        };
        let previous = overrides
            .iter()
            .find(|previous| previous.kind == found.kind && previous.target == found.target);
        if let Some(previous) = previous {
            let word = found.kind.word();
            let detail = format!(
                "An {word} block targeting {} has already been defined at {}.",
                found.target,
                self.place(previous.range)
            );
            self.error(format!("Duplicate {word} block"), detail, found.range);
            return;
        }
        overrides.push(found);
    }

    fn during_plan(&mut self, attribute: Option<&Attribute>) -> Option<bool> {
        let attribute = attribute?;
        match attribute.expr.as_keyword().as_deref() {
            Some("plan") => Some(true),
            Some("apply") => Some(false),
            _ => {
                self.error(
                    format!("Invalid {} value", attribute.name),
                    format!(
                        "The {} attribute must be a value of plan or apply.",
                        attribute.name
                    ),
                    attribute.range,
                );
                None
            }
        }
    }

    /// A constant object. Where it is something else, `wanted` says what is to be there.
    fn object(&mut self, attribute: Option<&Attribute>, wanted: &str) -> Option<Value> {
        let attribute = attribute?;
        let value = self.constant(&attribute.expr)?;
        if matches!(value.kind(), Kind::Object(_) | Kind::Map(_)) {
            return Some(value);
        }
        self.error(
            format!("Invalid {} attribute", attribute.name),
            format!(
                "{wanted} must specify {} {} attribute that is an object.",
                if &*attribute.name == "outputs" {
                    "an"
                } else {
                    "a"
                },
                attribute.name
            ),
            attribute.range,
        );
        None
    }

    fn overriding_block(&mut self, block: &Block) -> Option<Override> {
        let kind = match &*block.kind {
            "override_resource" => OverrideKind::Resource,
            "override_data" => OverrideKind::Data,
            _ => OverrideKind::Module,
        };
        let values = if kind == OverrideKind::Module {
            "outputs"
        } else {
            "values"
        };
        let content = self.content(
            &block.body,
            &BodySchema::new().optional(["target", values, "override_during"]),
        );
        let range = block.header_range();
        let during_plan = self.during_plan(content.attribute("override_during"));
        let wanted = format!("{} blocks", kind.word());
        let values = self.object(content.attribute(values), &wanted);
        let Some(attribute) = content.attribute("target") else {
            self.error(
                "Missing target attribute",
                format!("{} blocks must specify a target address.", kind.word()),
                range,
            );
            return None;
        };
        let traversal = self.traversal(&attribute.expr)?;
        let found = match target(&traversal) {
            Ok(found) => found,
            Err(diagnostic) => {
                self.diagnostics.push(*diagnostic);
                return None;
            }
        };
        let mode = match &found {
            Target::Module(_) => None,
            Target::Resource(resource) => Some(resource.resource.mode),
            Target::Instance(instance) => Some(instance.resource.mode),
        };
        let (fits, wanted) = match kind {
            OverrideKind::Resource => (mode == Some(Mode::Managed), "resources"),
            OverrideKind::Data => (mode == Some(Mode::Data), "data sources"),
            OverrideKind::Module => (mode.is_none(), "modules"),
        };
        if !fits {
            let detail = format!(
                "You can only target {wanted} from {} blocks, not {found}.",
                kind.word()
            );
            self.error("Invalid override target", detail, traversal.range());
            return None;
        }
        Some(Override {
            kind,
            target: found,
            values,
            during_plan,
            target_range: traversal.range(),
            range,
        })
    }

    fn mock_provider(&mut self, block: &Block) -> Option<MockProvider> {
        let schema = BodySchema::new()
            .optional(["alias", "source", "override_during"])
            .block("mock_resource", &["type"])
            .block("mock_data", &["type"])
            .block("override_resource", &[])
            .block("override_data", &[]);
        let content = self.content(&block.body, &schema);
        let range = block.header_range();
        if !self.check_provider_name(block.label(0), range) {
            return None;
        }
        let mut provider = MockProvider {
            key: LocalProvider::default_of(block.label(0)),
            mocks: BTreeMap::new(),
            overrides: Vec::new(),
            during_plan: self.during_plan(content.attribute("override_during")),
            source: None,
            name_range: block.labels.first().map_or(range, |label| label.range),
            range,
        };
        if let Some(attribute) = content.attribute("alias")
            && let Some(alias) = self.constant_string(attribute)
        {
            if !is_identifier(&alias) {
                let detail = format!("An alias must be a valid name. {BAD_IDENTIFIER}");
                self.error(
                    "Invalid provider configuration alias",
                    detail,
                    attribute.expr.range(),
                );
            }
            provider.key.alias = Some(alias.into());
        }
        if let Some(attribute) = content.attribute("source") {
            provider.source = self
                .constant_string(attribute)
                .map(|source| (source, attribute.expr.range()));
        }
        for inner in &content.blocks {
            self.mock_block(inner, &mut provider, false);
        }
        Some(provider)
    }

    fn mock_block(&mut self, block: &Block, provider: &mut MockProvider, from_file: bool) {
        let mode = match &*block.kind {
            "mock_resource" => Mode::Managed,
            "mock_data" => Mode::Data,
            _ => return self.push_override(block, &mut provider.overrides),
        };
        let content = self.content(
            &block.body,
            &BodySchema::new().optional(["defaults", "override_during"]),
        );
        let wanted = format!("{} blocks", block.kind);
        let mock = Mock {
            defaults: self.object(content.attribute("defaults"), &wanted),
            defaults_range: content
                .attribute("defaults")
                .map_or(block.header_range(), |attribute| attribute.range),
            during_plan: self.during_plan(content.attribute("override_during")),
            range: block.header_range(),
        };
        let kind: Arc<str> = block.label(0).into();
        if let Some(previous) = provider.mocks.get(&(mode, kind.clone())) {
            // What stands in the test file counts before what stands in the files of mocks.
            if from_file && previous.range.source == provider.range.source {
                return;
            }
            let detail = format!(
                "A {} block for {kind} has already been defined at {}.",
                block.kind,
                self.place(previous.range)
            );
            self.diagnostics.push(
                Diagnostic::error(format!("Duplicate {} block", block.kind), detail).at(mock.range),
            );
            return;
        }
        provider.mocks.insert((mode, kind), mock);
    }
}
