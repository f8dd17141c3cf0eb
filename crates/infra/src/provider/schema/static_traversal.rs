//! Whether the steps of a reference can be taken from an object of a schema, whatever its values are.

use consort_hcl::evaluate::take_steps;
use consort_hcl::suggest::did_you_mean;
use consort_hcl::traversal::Step;
use consort_hcl::{Diagnostic, Diagnostics, Value};

use super::{Block, NestedBlock, Nesting};

impl Block {
    /// What is wrong with taking these steps from an object of this schema. Names are looked up in the schema,
    /// so that a name that does not exist is found where the value is not known yet.
    pub fn check_steps(&self, steps: &[Step]) -> Diagnostics {
        let Some((first, after)) = steps.split_first() else {
            return Diagnostics::new();
        };
        let at = first.range();
        let name = match first {
            Step::Attribute { name, .. } => name,
            Step::Index { key, .. } => {
                let detail = match key.as_str().filter(|name| is_identifier(name)) {
                    Some(name) => format!(
                        "Only attribute access is allowed here. Did you mean to access attribute {name:?} using the dot operator?"
                    ),
                    None => {
                        "Only attribute access is allowed here, using the dot operator.".to_owned()
                    }
                };
                return Diagnostic::error("Invalid index operation", detail)
                    .at(at)
                    .into();
            }
            Step::Splat { .. } => {
                return Diagnostic::error(
                    "Invalid operation",
                    "Only attribute access is allowed here, using the dot operator.",
                )
                .at(at)
                .into();
            }
        };
        if let Some(attribute) = self.attributes.get(name) {
            // A splat is for the evaluation to judge.
            let upto = after
                .iter()
                .position(|step| matches!(step, Step::Splat { .. }))
                .unwrap_or(after.len());
            let mut found = Diagnostics::new();
            take_steps(
                Value::unknown(attribute.ty.clone()),
                &after[..upto],
                &mut found,
            );
            return found;
        }
        if let Some(nested) = self.blocks.get(name) {
            return nested.check_steps(name, after);
        }
        let names = self.attributes.keys().chain(self.blocks.keys());
        let suggestion = did_you_mean(name, names.map(|name| &**name));
        let detail = format!(
            "This object has no argument, nested block, or exported attribute named {:?}.{suggestion}",
            &**name
        );
        Diagnostic::error("Unsupported attribute", detail)
            .at(at)
            .into()
    }
}

impl NestedBlock {
    fn check_steps(&self, kind: &str, steps: &[Step]) -> Diagnostics {
        if matches!(self.nesting, Nesting::Single | Nesting::Group) {
            return self.block.check_steps(steps);
        }
        let Some((first, after)) = steps.split_first() else {
            return Diagnostics::new();
        };
        let fail = |summary: &str, detail: String| {
            Diagnostics::from(Diagnostic::error(summary, detail).at(first.range()))
        };
        match self.nesting {
            Nesting::Set => fail(
                "Cannot index a set value",
                format!(
                    "Block type {kind:?} is represented by a set of objects, and set elements do not have addressable keys. To find elements matching specific criteria, use a \"for\" expression with an \"if\" clause."
                ),
            ),
            Nesting::List if !matches!(first, Step::Index { .. }) => fail(
                "Invalid operation",
                format!(
                    "Block type {kind:?} is represented by a list of objects, so it must be indexed using a numeric key, like .{kind}[0]."
                ),
            ),
            _ => self.block.check_steps(after),
        }
    }
}

fn is_identifier(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'))
}
