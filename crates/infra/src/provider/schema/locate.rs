//! Finding the place in a configuration that an attribute path of a provider's message means.

use consort_hcl::{Attribute, Body, BodySchema, Kind, Range, Step, Value};

use crate::provider::{Diagnostic, Diagnostics, Severity};

impl Diagnostic {
    /// The message with the place it speaks of in the body the object was decoded from, as near as can be
    /// told; without a path, or where the attribute is not set, that is the body's opening.
    pub fn locate(self, body: &Body, address: &str) -> consort_hcl::Diagnostic {
        let range = match &self.attribute {
            Some(path) => find(body, path.steps()),
            None => body.missing_range(),
        };
        self.unlocated(address).at(range)
    }

    /// The message without a place in a file: for objects that are no longer in the configuration. The path is
    /// named instead.
    pub fn unlocated(self, address: &str) -> consort_hcl::Diagnostic {
        let diagnostic = match self.severity {
            Severity::Error => consort_hcl::Diagnostic::error(self.summary, self.detail),
            Severity::Warning => consort_hcl::Diagnostic::warning(self.summary, self.detail),
        };
        diagnostic.with_address(address)
    }
}

impl Diagnostics {
    /// [`Diagnostic::locate`] for each.
    pub fn locate(self, body: &Body, address: &str) -> consort_hcl::Diagnostics {
        let mut located = consort_hcl::Diagnostics::new();
        for diagnostic in self {
            located.push(diagnostic.locate(body, address));
        }
        located
    }

    /// [`Diagnostic::unlocated`] for each.
    pub fn unlocated(self, address: &str) -> consort_hcl::Diagnostics {
        let mut plain = consort_hcl::Diagnostics::new();
        for diagnostic in self {
            plain.push(diagnostic.unlocated(address));
        }
        plain
    }
}

fn find(body: &Body, steps: &[Step]) -> Range {
    let Some(Step::Attribute(_)) = steps.first() else {
        return body.missing_range();
    };
    // An index at the end is looked for in the expression of the attribute before it.
    let (steps, index) = match steps.split_last() {
        Some((Step::Index(key), before)) => (before, Some(key)),
        _ => (steps, None),
    };
    let Some((Step::Attribute(name), before)) = steps.split_last() else {
        return body.missing_range();
    };
    let body = descend(body, before);
    let (content, _, _) = body.partial_content(&BodySchema::new().optional([&**name]));
    match (content.attribute(name), index) {
        (None, _) => body.missing_range(),
        (Some(attribute), None) => attribute.expr.range(),
        (Some(attribute), Some(key)) => element(attribute, key),
    }
}

/// The body of the nested block a path goes through, as far as it can be followed.
fn descend(body: &Body, steps: &[Step]) -> Body {
    let mut body = body.clone();
    let mut steps = steps.iter().peekable();
    while let Some(Step::Attribute(name)) = steps.next() {
        let key = steps
            .next_if(|step| matches!(step, Step::Index(_)))
            .and_then(|step| match step {
                Step::Index(key) => Some(key),
                Step::Attribute(_) => None,
            });
        let by_label = key.is_some_and(|key| key.as_str().is_some());
        let labels: &[&str] = if by_label { &["key"] } else { &[] };
        let (content, _, diagnostics) =
            body.partial_content(&BodySchema::new().block(name, labels));
        if diagnostics.has_errors() {
            return body;
        }
        if content.blocks.is_empty() {
            continue;
        }
        let found = match key.map(Value::kind) {
            None if content.blocks.len() == 1 => content.blocks.first(),
            Some(Kind::Number(index)) => index.to_usize().and_then(|i| content.blocks.get(i)),
            Some(Kind::String(label)) => content.blocks.iter().find(|b| b.label(0) == label),
            _ => None,
        };
        match found {
            Some(block) => body = block.body.clone(),
            None => return body,
        }
    }
    body
}

fn element(attribute: &Attribute, key: &Value) -> Range {
    match key.kind() {
        Kind::Number(index) => match attribute.expr.as_list() {
            None => attribute.expr.range(),
            Some(items) => index
                .to_usize()
                .and_then(|i| items.get(i))
                .map_or(attribute.name_range, consort_hcl::Expr::range),
        },
        Kind::String(key) => match attribute.expr.as_map() {
            None => attribute.expr.range(),
            Some(pairs) => pairs
                .iter()
                .find(|(name, _)| name.evaluate_constant().0.as_str() == Some(key))
                .map_or(attribute.name_range, |(_, value)| value.start_range()),
        },
        _ => attribute.expr.range(),
    }
}
