//! `resource`, `data`, `ephemeral` and `check` blocks.

use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::source::Range;
use consort_hcl::syntax::{Attribute, Block, BodySchema, Content, Expr};

use super::decode::Decoder;
use super::module::{Check, CheckRule};
use super::reference::{Reference, Subject};
use super::resource::{IgnoreChanges, Managed, Resource};
use crate::address::{self, Mode, ProviderSource};

const LIFECYCLE: [&str; 4] = [
    "create_before_destroy",
    "prevent_destroy",
    "ignore_changes",
    "replace_triggered_by",
];

fn lifecycle_schema() -> BodySchema {
    BodySchema::new()
        .optional(LIFECYCLE)
        .block("precondition", &[])
        .block("postcondition", &[])
}

fn schema(mode: Mode) -> BodySchema {
    let schema = BodySchema::new()
        .optional(["count", "for_each", "provider", "depends_on"])
        .block("lifecycle", &[])
        .block("locals", &[])
        .block("_", &[]);
    match mode {
        Mode::Managed => schema
            .block("connection", &[])
            .block("provisioner", &["type"]),
        Mode::Data | Mode::Ephemeral => schema,
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Managed => "resource",
        Mode::Data => "data",
        Mode::Ephemeral => "ephemeral",
    }
}

impl Decoder<'_> {
    /// A block of any of the three modes; `nested` stands for a data source in a `check` block.
    pub(super) fn resource(&mut self, block: &Block, mode: Mode, nested: bool) -> Resource {
        let address = address::Resource {
            mode,
            kind: block.label(0).into(),
            name: block.label(1).into(),
        };
        let (content, rest) = self.partial(&block.body, &schema(mode));
        let (kind_summary, name_summary) = match mode {
            Mode::Managed => ("Invalid resource type name", "Invalid resource name"),
            Mode::Data => ("Invalid data source name", "Invalid data resource name"),
            Mode::Ephemeral => (
                "Invalid ephemeral resource type",
                "Invalid ephemeral resource name",
            ),
        };
        self.check_name(kind_summary, block, 0);
        self.check_name(name_summary, block, 1);
        let mut resource = Resource {
            provider: ProviderSource::implied(address.implied_provider()),
            address,
            config: rest,
            count: None,
            for_each: None,
            provider_reference: None,
            depends_on: Vec::new(),
            preconditions: Vec::new(),
            postconditions: Vec::new(),
            replace_triggered_by: Vec::new(),
            managed: Managed::default(),
            check: None,
            kind_range: block
                .labels
                .first()
                .map_or(block.kind_range, |label| label.range),
            range: block.header_range(),
        };
        for name in ["count", "for_each"] {
            if nested && let Some(attribute) = content.attribute(name) {
                self.error(
                    format!("Invalid {name:?} attribute"),
                    "The \"count\" and \"for_each\" meta-arguments are not supported within nested data blocks.",
                    attribute.name_range,
                );
            }
        }
        if !nested {
            resource.count = content
                .attribute("count")
                .map(|attribute| attribute.expr.clone());
            resource.for_each = content
                .attribute("for_each")
                .map(|attribute| attribute.expr.clone());
            self.count_and_for_each(&content);
        }
        if let Some(attribute) = content.attribute("provider") {
            resource.provider_reference = self.provider_reference(&attribute.expr, "provider");
        }
        if let Some(attribute) = content.attribute("depends_on") {
            resource.depends_on = self.references(attribute);
        }
        self.resource_blocks(&content, &mut resource, nested);
        resource
    }

    fn resource_blocks(&mut self, content: &Content, resource: &mut Resource, nested: bool) {
        let mode = resource.address.mode;
        let (mut lifecycle, mut connection, mut escape) = (None, None, None);
        for inner in &content.blocks {
            match &*inner.kind {
                "lifecycle" => {
                    if nested {
                        self.error(
                            "Invalid lifecycle block",
                            "Nested data blocks do not support \"lifecycle\" blocks as the lifecycle is managed by the containing block.",
                            inner.header_range(),
                        );
                    }
                    if self.only_once(inner, &mut lifecycle, "This resource") {
                        self.lifecycle(inner, resource);
                    }
                }
                "connection" => {
                    if self.only_once(inner, &mut connection, "This resource") {
                        resource.managed.connection = Some(Self::connection(inner));
                    }
                }
                "provisioner" => {
                    let provisioner = self.provisioner(inner);
                    resource.managed.provisioners.extend(provisioner);
                }
                "_" => {
                    let rest = resource.config.clone();
                    resource.config = self.escape_block(
                        inner,
                        &mut escape,
                        rest,
                        "resource-type-specific",
                        word(mode),
                    );
                }
                _ => self.reserved_block(inner, word(mode)),
            }
        }
        if let Some(connection) = &resource.managed.connection
            && resource
                .managed
                .provisioners
                .iter()
                .any(|provisioner| provisioner.when_destroy)
        {
            self.only_self_references(&connection.config.clone());
        }
    }

    fn lifecycle(&mut self, block: &Block, resource: &mut Resource) {
        let content = self.content(&block.body, &lifecycle_schema());
        if resource.address.mode == Mode::Managed {
            if let Some(attribute) = content.attribute("create_before_destroy") {
                resource.managed.create_before_destroy = self.constant_bool(attribute);
            }
            if let Some(attribute) = content.attribute("prevent_destroy") {
                resource.managed.prevent_destroy = self.constant_bool(attribute);
            }
            if let Some(attribute) = content.attribute("replace_triggered_by") {
                resource.replace_triggered_by = self.replace_triggered_by(attribute);
            }
            if let Some(attribute) = content.attribute("ignore_changes") {
                resource.managed.ignore_changes = self.ignore_changes(attribute);
            }
        } else {
            let (summary, kinds) = match resource.address.mode {
                Mode::Ephemeral => (
                    "Invalid ephemeral resource lifecycle argument",
                    "ephemeral resources",
                ),
                _ => ("Invalid data resource lifecycle argument", "data resources"),
            };
            for attribute in content.attributes.values() {
                self.error(
                    summary,
                    format!(
                        "The lifecycle argument {:?} is defined only for managed resources (\"resource\" blocks), and is not valid for {kinds}.",
                        &*attribute.name
                    ),
                    attribute.name_range,
                );
            }
        }
        for inner in &content.blocks {
            let rule = self.check_rule(inner);
            self.check_self_references(&rule, &inner.kind, &resource.address);
            let rules: &mut Vec<CheckRule> = if &*inner.kind == "precondition" {
                &mut resource.preconditions
            } else {
                &mut resource.postconditions
            };
            rules.push(rule);
        }
    }

    fn ignore_changes(&mut self, attribute: &Attribute) -> IgnoreChanges {
        if attribute.expr.as_keyword().as_deref() == Some("all") {
            return IgnoreChanges::All;
        }
        let Some(items) = self.list(&attribute.expr) else {
            return IgnoreChanges::None;
        };
        let mut star = None;
        let mut paths = Vec::new();
        for item in items {
            let text = item.evaluate_constant().0;
            if text.is_known() && text.as_str() == Some("*") {
                star = Some(item.range());
                self.error(
                    "Invalid ignore_changes wildcard",
                    "The [\"*\"] form of ignore_changes wildcard is was deprecated and is now invalid. Use \"ignore_changes = all\" to ignore changes to all attributes.",
                    attribute.expr.range(),
                );
                continue;
            }
            paths.extend(self.quoted_traversal(&item, false));
        }
        match star {
            Some(star) => {
                if !paths.is_empty() {
                    self.diagnostics.push(
                        Diagnostic::error(
                            "Invalid ignore_changes ruleset",
                            "Cannot mix wildcard string \"*\" with non-wildcard references.",
                        )
                        .at(star)
                        .within(attribute.expr.range()),
                    );
                }
                IgnoreChanges::All
            }
            None => IgnoreChanges::Paths(paths),
        }
    }

    fn replace_triggered_by(&mut self, attribute: &Attribute) -> Vec<Expr> {
        let items = self.list(&attribute.expr).unwrap_or_default();
        items
            .iter()
            .filter_map(|item| self.replace_trigger(item))
            .collect()
    }

    fn replace_trigger(&mut self, item: &Expr) -> Option<Expr> {
        let item = self.native(item)?;
        let mut resources = 0;
        let mut failed = false;
        for traversal in item.references() {
            match Reference::parse(&traversal) {
                Err(mut diagnostic) => {
                    diagnostic.subject = Some(item.range());
                    self.diagnostics.push(*diagnostic);
                    failed = true;
                }
                Ok(reference) => match reference.subject {
                    Subject::Resource(..) => resources += 1,
                    Subject::Each(name) if &*name != "key" => self.error(
                        "Invalid each reference in replace_triggered_by expression",
                        "Only each.key may be used in replace_triggered_by.",
                        item.range(),
                    ),
                    Subject::Count(name) if &*name != "index" => self.error(
                        "Invalid count reference in replace_triggered_by expression",
                        "Only count.index may be used in replace_triggered_by.",
                        item.range(),
                    ),
                    Subject::Each(_) | Subject::Count(_) => {}
                    _ => self.error(
                        "Invalid reference in replace_triggered_by expression",
                        "Only resources, count.index, and each.key may be used in replace_triggered_by.",
                        item.range(),
                    ),
                },
            }
        }
        if !failed && resources != 1 {
            let detail = if resources == 0 {
                "Missing resource reference in replace_triggered_by expression."
            } else {
                "Multiple resource references in replace_triggered_by expression."
            };
            self.error(
                "Invalid replace_triggered_by expression",
                detail,
                item.range(),
            );
        }
        Some(item)
    }

    /// A `check` block, and the data source in it.
    pub(super) fn check(&mut self, block: &Block) -> (Check, Option<Resource>) {
        let name: Arc<str> = block.label(0).into();
        let mut check = Check {
            name: name.clone(),
            data: None,
            asserts: Vec::new(),
            range: block.header_range(),
        };
        if self.overriding {
            self.error(
                "Can't override check blocks",
                "Override files cannot override check blocks.",
                check.range,
            );
            return (check, None);
        }
        let schema = BodySchema::new()
            .block("data", &["type", "name"])
            .block("assert", &[]);
        let content = self.content(&block.body, &schema);
        self.check_name("Invalid check block name", block, 0);
        let mut data: Option<Resource> = None;
        let mut seen: Option<Range> = None;
        for inner in &content.blocks {
            if &*inner.kind == "assert" {
                let before = self.diagnostics.len();
                let rule = self.check_rule(inner);
                if !self
                    .diagnostics
                    .iter()
                    .skip(before)
                    .any(Diagnostic::is_error)
                {
                    check.asserts.push(rule);
                }
                continue;
            }
            if let Some(previous) = seen {
                let detail = format!(
                    "This check block already has a data resource defined at {}.",
                    self.place(previous)
                );
                self.error(
                    "Multiple data resource blocks",
                    detail,
                    inner.header_range(),
                );
                continue;
            }
            seen = Some(inner.header_range());
            let mut resource = self.resource(inner, Mode::Data, true);
            resource.check = Some(name.clone());
            check.data = Some(resource.address.clone());
            data = Some(resource);
        }
        if check.asserts.is_empty() {
            self.error(
                "Zero assert blocks",
                "Check blocks must have at least one assert block.",
                check.range,
            );
        }
        (check, data)
    }
}

/// How messages call the three modes.
pub(super) trait BlockWord {
    /// The block's type: `resource`, `data`, `ephemeral`.
    fn word(self) -> &'static str;

    /// The thing itself: `resource`, `data resource`, `ephemeral resource`.
    fn phrase(self) -> &'static str;
}

impl BlockWord for Mode {
    fn word(self) -> &'static str {
        word(self)
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Managed => "resource",
            Self::Data => "data resource",
            Self::Ephemeral => "ephemeral resource",
        }
    }
}
