//! Finding by a schema: the attribute at a path, what is sensitive in a value, what is write-only.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Kind, Marks, Path, Step, Value};

use super::{Attribute, Block, Nesting, Object};
use crate::provider::{Diagnostic, Diagnostics};

impl Block {
    /// The attribute a path leads to; `None` where it leads to a block, or into an attribute that has no
    /// schema of its own.
    pub fn attribute_at(&self, path: &Path) -> Option<&Attribute> {
        let mut block = self;
        for (i, step) in path.steps().iter().enumerate() {
            let Step::Attribute(name) = step else {
                continue;
            };
            if let Some(attribute) = block.attributes.get(name) {
                return attribute.at(&path.steps()[i + 1..]);
            }
            block = &block.blocks.get(name)?.block;
        }
        None
    }

    /// Where in a value there are sensitive attributes. Null ones count, as what they may become does.
    pub fn sensitive_paths(&self, value: &Value) -> Vec<Path> {
        self.paths(value, Wanted::Sensitive)
    }

    /// Where in a value there are write-only attributes.
    pub fn write_only_paths(&self, value: &Value) -> Vec<Path> {
        if value.is_null() || !value.is_known() {
            Vec::new()
        } else {
            self.paths(value, Wanted::WriteOnly)
        }
    }

    /// The value with its sensitive attributes marked.
    #[must_use]
    pub fn mark_sensitive(&self, value: Value) -> Value {
        if !self.contains_sensitive() {
            return value;
        }
        let paths: Vec<_> = self
            .sensitive_paths(&value)
            .into_iter()
            .map(|p| (p, Marks::SENSITIVE))
            .collect();
        if paths.is_empty() {
            value
        } else {
            value.mark_paths(&paths)
        }
    }

    /// The value with its write-only attributes null, as it is stored.
    #[must_use]
    pub fn without_write_only(&self, value: &Value) -> Value {
        if !self.contains_write_only() || value.is_null() || !value.is_known() {
            return value.clone();
        }
        let changed = value.transform(&mut |path, part| {
            let null = self.attribute_at(path).is_some_and(|a| a.write_only) && !part.is_null();
            Ok::<_, std::convert::Infallible>(if null {
                Value::null(part.ty().clone())
            } else {
                part
            })
        });
        match changed {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Errors for write-only attributes a provider gave a value to.
    pub fn write_only_problems(&self, value: &Value, type_name: &str) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        if !self.contains_write_only() {
            return diagnostics;
        }
        for path in self.write_only_paths(value) {
            if path.apply(value).is_ok_and(|v| !v.is_null()) {
                let detail = format!(
                    "Resource type \"{type_name}\" returned an actual value for the write-only attribute \"{path}\" while it is \
                     meant to be nil. This is an issue in the provider SDK."
                );
                diagnostics.push(Diagnostic::error("Invalid provider response", detail));
            }
        }
        diagnostics
    }

    fn paths(&self, value: &Value, wanted: Wanted) -> Vec<Path> {
        let mut found = Vec::new();
        if wanted.in_block(self) {
            collect_block(self, value, &mut Path::root(), wanted, &mut found);
        }
        found
    }
}

impl Object {
    /// The attribute a path from the object (or a collection of them) leads to.
    pub fn attribute_at(&self, path: &Path) -> Option<&Attribute> {
        self.at(path.steps())
    }

    fn at(&self, steps: &[Step]) -> Option<&Attribute> {
        for (i, step) in steps.iter().enumerate() {
            if let Step::Attribute(name) = step
                && let Some(attribute) = self.attributes.get(name)
            {
                return attribute.at(&steps[i + 1..]);
            }
        }
        None
    }
}

impl Attribute {
    fn at(&self, rest: &[Step]) -> Option<&Self> {
        match &self.nested {
            _ if rest.is_empty() => Some(self),
            Some(object) => object.at(rest),
            None => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Sensitive,
    WriteOnly,
}

impl Wanted {
    fn is(self, attribute: &Attribute) -> bool {
        match self {
            Self::Sensitive => attribute.sensitive,
            Self::WriteOnly => attribute.write_only,
        }
    }

    fn in_object(self, object: &Object) -> bool {
        match self {
            Self::Sensitive => object.contains_sensitive(),
            Self::WriteOnly => object.contains_write_only(),
        }
    }

    fn in_block(self, block: &Block) -> bool {
        match self {
            Self::Sensitive => block.contains_sensitive(),
            Self::WriteOnly => block.contains_write_only(),
        }
    }
}

fn collect_block(
    schema: &Block,
    value: &Value,
    path: &mut Path,
    wanted: Wanted,
    found: &mut Vec<Path>,
) {
    collect_attributes(&schema.attributes, value, path, wanted, found);
    if value.is_null() {
        return;
    }
    for (name, nested) in &schema.blocks {
        if !wanted.in_block(&nested.block) {
            continue;
        }
        let Ok(inner) = value.attribute(name) else {
            continue;
        };
        if inner.is_null() || !inner.is_known() {
            continue;
        }
        path.0.push(Step::Attribute(name.clone()));
        each_element(nested.nesting, &inner, path, &mut |element, path| {
            collect_block(&nested.block, element, path, wanted, found);
        });
        path.0.pop();
    }
}

fn collect_attributes(
    attributes: &BTreeMap<Arc<str>, Attribute>,
    value: &Value,
    path: &mut Path,
    wanted: Wanted,
    found: &mut Vec<Path>,
) {
    for (name, attribute) in attributes {
        if wanted.is(attribute) {
            found.push(path.clone().attribute(name.clone()));
            continue;
        }
        let Some(object) = attribute.nested.as_ref().filter(|o| wanted.in_object(o)) else {
            continue;
        };
        let Ok(inner) = value.attribute(name) else {
            continue;
        };
        if inner.is_null() || !inner.is_known() {
            continue;
        }
        path.0.push(Step::Attribute(name.clone()));
        each_element(object.nesting, &inner, path, &mut |element, path| {
            if !element.is_null() && element.is_known() {
                collect_attributes(&object.attributes, element, path, wanted, found);
            }
        });
        path.0.pop();
    }
}

/// Calls with the one value, or with each element and the path to it.
fn each_element(
    nesting: Nesting,
    value: &Value,
    path: &mut Path,
    each: &mut dyn FnMut(&Value, &mut Path),
) {
    if matches!(nesting, Nesting::Single | Nesting::Group) {
        each(value, path);
        return;
    }
    let by_name = matches!(value.kind(), Kind::Object(_));
    for (key, element) in value.elements() {
        path.0.push(match key.as_shared_str().filter(|_| by_name) {
            Some(name) => Step::Attribute(name),
            None => Step::Index(key),
        });
        each(&element, path);
        path.0.pop();
    }
}
