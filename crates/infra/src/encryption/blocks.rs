//! The blocks of a configuration, not yet evaluated.

use std::sync::Arc;

use consort_hcl::{Block, Body, BodySchema, Diagnostic, Diagnostics, Expr, Range};

/// A `key_provider` or a `method`.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) kind: Arc<str>,
    pub(super) name: Arc<str>,
    /// Under which name its metadata is kept, if not under its own.
    pub(super) alias: Option<Expr>,
    pub(super) body: Body,
    pub(super) range: Range,
}

/// What is encrypted with what.
#[derive(Clone, Debug)]
pub(super) struct TargetBlock {
    pub(super) enforced: bool,
    pub(super) method: Option<Expr>,
    pub(super) fallback: Option<Box<TargetBlock>>,
    pub(super) range: Range,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) key_providers: Vec<Declared>,
    pub(super) methods: Vec<Declared>,
    pub(super) state: Option<TargetBlock>,
    pub(super) plan: Option<TargetBlock>,
    pub(super) remote_default: Option<TargetBlock>,
    pub(super) remotes: Vec<(Arc<str>, TargetBlock)>,
    pub(super) range: Range,
}

/// How many fallbacks may follow each other.
const MOST_FALLBACKS: usize = 64;

pub(super) fn decode(body: &Body, range: Range) -> (Option<Settings>, Diagnostics) {
    let schema = BodySchema::new()
        .block("key_provider", &["type", "name"])
        .block("method", &["type", "name"])
        .block("state", &[])
        .block("plan", &[])
        .block("remote_state_data_sources", &[]);
    let (content, mut diagnostics) = body.content(&schema);
    let mut settings = Settings {
        key_providers: Vec::new(),
        methods: Vec::new(),
        state: None,
        plan: None,
        remote_default: None,
        remotes: Vec::new(),
        range,
    };
    for block in &content.blocks {
        let out = &mut diagnostics;
        match &*block.kind {
            "key_provider" => declare(block, &mut settings.key_providers, out),
            "method" => declare(block, &mut settings.methods, out),
            "state" => once(&mut settings.state, block, true, out),
            "plan" => once(&mut settings.plan, block, true, out),
            _ => remotes(block, &mut settings, out),
        }
    }
    ((!diagnostics.has_errors()).then_some(settings), diagnostics)
}

fn declare(block: &Block, list: &mut Vec<Declared>, out: &mut Diagnostics) {
    let (kind, name) = (block.label(0), block.label(1));
    let is_provider = &*block.kind == "key_provider";
    let valid = |text: &str| {
        let mut bytes = text.bytes();
        bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    for label in &block.labels {
        if !valid(block.label(usize::from(label.range != block.labels[0].range))) {
            let what = if is_provider {
                "key provider"
            } else {
                "method"
            };
            out.push(
                Diagnostic::error(
                    format!("The provided {what} type or name is invalid"),
                    format!(
                        "Types and names of {what}s begin with a letter or an underscore, and have letters, digits, underscores and dashes only."
                    ),
                )
                .at(label.range),
            );
            return;
        }
    }
    if list
        .iter()
        .any(|found| &*found.kind == kind && &*found.name == name)
    {
        out.push(
            Diagnostic::error(
                format!("Duplicate {}", block.kind),
                format!("Found multiple instances of {}.{kind}.{name}", block.kind),
            )
            .at(block.header_range()),
        );
        return;
    }
    let (alias, body) = if is_provider {
        let schema = BodySchema::new().optional(["encrypted_metadata_alias"]);
        let (content, rest, found) = block.body.partial_content(&schema);
        out.append(found);
        let alias = content
            .attribute("encrypted_metadata_alias")
            .map(|attribute| attribute.expr.clone());
        (alias, rest)
    } else {
        (None, block.body.clone())
    };
    list.push(Declared {
        kind: kind.into(),
        name: name.into(),
        alias,
        body,
        range: block.header_range(),
    });
}

fn once(slot: &mut Option<TargetBlock>, block: &Block, enforceable: bool, out: &mut Diagnostics) {
    if slot.is_some() {
        out.push(
            Diagnostic::error(
                format!("Duplicate {} block", block.kind),
                format!("Only one {} block is allowed.", block.kind),
            )
            .at(block.header_range()),
        );
        return;
    }
    *slot = target(block, enforceable, 0, out);
}

fn target(
    block: &Block,
    enforceable: bool,
    depth: usize,
    out: &mut Diagnostics,
) -> Option<TargetBlock> {
    if depth > MOST_FALLBACKS {
        let detail = format!("There may be {MOST_FALLBACKS} fallbacks in each other.");
        out.push(Diagnostic::error("Too many fallbacks", detail).at(block.header_range()));
        return None;
    }
    let mut schema = BodySchema::new()
        .optional(["method"])
        .block("fallback", &[]);
    if enforceable {
        schema = schema.optional(["enforced"]);
    }
    let (content, found) = block.body.content(&schema);
    out.append(found);
    let mut made = TargetBlock {
        enforced: false,
        method: content
            .attribute("method")
            .map(|attribute| attribute.expr.clone()),
        fallback: None,
        range: block.header_range(),
    };
    if let Some(attribute) = content.attribute("enforced") {
        let (value, found) = attribute.expr.evaluate_constant();
        out.append(found);
        match value.as_bool().or_else(|| value.as_str()?.parse().ok()) {
            Some(enforced) => made.enforced = enforced,
            None => out.push(
                Diagnostic::error(
                    "Unsuitable value type",
                    "Unsuitable value: a bool is required",
                )
                .at(attribute.expr.range()),
            ),
        }
    }
    let mut fallback = None;
    for inner in content.blocks_of("fallback") {
        if fallback.is_some() {
            let detail = "Only one fallback block is allowed.";
            out.push(
                Diagnostic::error("Duplicate fallback block", detail).at(inner.header_range()),
            );
            continue;
        }
        fallback = target(inner, false, depth + 1, out);
    }
    made.fallback = fallback.map(Box::new);
    Some(made)
}

fn remotes(block: &Block, settings: &mut Settings, out: &mut Diagnostics) {
    let schema = BodySchema::new()
        .block("default", &[])
        .block("remote_state_data_source", &["name"]);
    let (content, found) = block.body.content(&schema);
    out.append(found);
    for inner in &content.blocks {
        if &*inner.kind == "default" {
            once(&mut settings.remote_default, inner, false, out);
            continue;
        }
        let name = inner.label(0);
        if settings.remotes.iter().any(|(found, _)| &**found == name) {
            let detail = format!("Found multiple instances of remote_data_source.{name}");
            out.push(
                Diagnostic::error("Duplicate remote_data_source", detail).at(inner.header_range()),
            );
            continue;
        }
        if let Some(made) = target(inner, false, 0, out) {
            settings.remotes.push((name.into(), made));
        }
    }
}

impl TargetBlock {
    fn overridden(self, over: TargetBlock) -> TargetBlock {
        TargetBlock {
            enforced: self.enforced || over.enforced,
            method: over.method.or(self.method),
            fallback: over.fallback.or(self.fallback),
            range: over.range,
        }
    }
}

fn merge(base: Option<TargetBlock>, over: Option<TargetBlock>) -> Option<TargetBlock> {
    match (base, over) {
        (Some(base), Some(over)) => Some(base.overridden(over)),
        (base, over) => over.or(base),
    }
}

fn merge_declared(mut base: Vec<Declared>, over: Vec<Declared>) -> Vec<Declared> {
    for declared in over {
        match base
            .iter_mut()
            .find(|found| found.kind == declared.kind && found.name == declared.name)
        {
            Some(found) => {
                found.body = Body::overridden(found.body.clone(), declared.body);
                found.alias = declared.alias.or(found.alias.take());
            }
            None => base.push(declared),
        }
    }
    base
}

impl Settings {
    /// These settings with those of the environment over them.
    pub(super) fn overridden(self, over: Settings) -> Settings {
        let mut remotes = self.remotes;
        for (name, block) in over.remotes {
            match remotes.iter_mut().find(|(found, _)| *found == name) {
                Some((_, found)) => *found = found.clone().overridden(block),
                None => remotes.push((name, block)),
            }
        }
        Settings {
            key_providers: merge_declared(self.key_providers, over.key_providers),
            methods: merge_declared(self.methods, over.methods),
            state: merge(self.state, over.state),
            plan: merge(self.plan, over.plan),
            remote_default: merge(self.remote_default, over.remote_default),
            remotes,
            range: self.range,
        }
    }
}
