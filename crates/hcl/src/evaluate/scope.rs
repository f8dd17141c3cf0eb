//! What names mean while an expression is evaluated.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Function;
use crate::diagnostic::Diagnostics;
use crate::source::Sources;
use crate::text::quote;
use crate::traversal::Traversal;
use crate::value::Value;

/// What a scope says about a reference.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// It does not know the root name.
    Missing,
    /// The value after the first `steps` steps of the reference; the others are then taken from it.
    Found {
        /// The value.
        value: Value,
        /// How many steps of the reference it accounts for.
        steps: usize,
    },
    /// It cannot be looked up, for these reasons.
    Failed(Diagnostics),
}

/// What names mean while an expression is evaluated.
pub trait Scope {
    /// The value of a root name.
    fn variable(&self, root: &str) -> Option<Value>;

    /// The function of a name, which may have namespaces (`provider::aws::arn_parse`).
    fn function(&self, name: &str) -> Option<Arc<Function>>;

    /// The value of a reference, or of the start of one. A scope that can give `aws_instance.web` directly need
    /// not make an object of all instances first: implement this then. By default only the root name is looked up.
    fn resolve(&self, traversal: &Traversal) -> Resolution {
        match self.variable(&traversal.root) {
            Some(value) => Resolution::Found { value, steps: 0 },
            None => Resolution::Missing,
        }
    }

    /// All root names, for suggestions.
    fn variable_names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// All names of functions, for suggestions.
    fn function_names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// A summary and a detail of its own for a function it does not know.
    fn explain_unknown_function(&self, _name: &str) -> Option<(String, String)> {
        None
    }

    /// Whether references may be used at all.
    fn allows_variables(&self) -> bool {
        true
    }

    /// Whether functions may be called at all.
    fn allows_functions(&self) -> bool {
        true
    }

    /// The sources the expressions come from, so that functions such as `try` can name places in their messages.
    fn sources(&self) -> Option<&Sources> {
        None
    }
}

/// What Terraform says of a call to an unknown function in a namespace: a summary and a detail. `None` for a name
/// without namespaces, of which HCL's own words say enough.
pub fn unknown_provider_function(name: &str) -> Option<(String, String)> {
    let (namespace, function) = name.rsplit_once("::")?;
    let detail = match namespace.strip_prefix("provider::") {
        _ if namespace == "provider" => {
            "The function call must include the provider name after the \"provider::\" prefix."
                .to_owned()
        }
        Some(provider) => format!(
            "There is no function named {}. Ensure that provider name {} is declared in this module's required_providers block, and that this provider offers a function named {}.",
            quote(name),
            quote(provider),
            quote(function)
        ),
        None => format!(
            "The function namespace {} is not valid. Provider function calls must use the \"provider::\" namespace prefix.",
            quote(namespace)
        ),
    };
    Some(("Unknown provider function".to_owned(), detail))
}

/// A scope in which nothing has a meaning: for expressions that must be constant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Scope for Nothing {
    fn variable(&self, _root: &str) -> Option<Value> {
        None
    }

    fn function(&self, _name: &str) -> Option<Arc<Function>> {
        None
    }

    fn allows_variables(&self) -> bool {
        false
    }

    fn allows_functions(&self) -> bool {
        false
    }
}

/// The functions of a scope, by name.
pub type Functions = BTreeMap<Arc<str>, Arc<Function>>;

/// A scope made of tables, with another one behind it.
#[derive(Default)]
pub struct Tables<'p> {
    /// The values of root names.
    pub variables: BTreeMap<Arc<str>, Value>,
    /// The functions; shared, since there are many.
    pub functions: Arc<Functions>,
    /// What is asked for names that are not here.
    pub parent: Option<&'p dyn Scope>,
}

impl Tables<'_> {
    /// A scope with the given functions and no variables.
    pub fn new(functions: Arc<Functions>) -> Self {
        Self {
            variables: BTreeMap::new(),
            functions,
            parent: None,
        }
    }

    /// With a value for a root name.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, value: Value) -> Self {
        self.variables.insert(name.into(), value);
        self
    }
}

impl Scope for Tables<'_> {
    fn variable(&self, root: &str) -> Option<Value> {
        self.variables
            .get(root)
            .cloned()
            .or_else(|| self.parent?.variable(root))
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.functions
            .get(name)
            .cloned()
            .or_else(|| self.parent?.function(name))
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        match (self.variables.get(&traversal.root), self.parent) {
            (Some(value), _) => Resolution::Found {
                value: value.clone(),
                steps: 0,
            },
            (None, Some(parent)) => parent.resolve(traversal),
            (None, None) => Resolution::Missing,
        }
    }

    fn variable_names(&self) -> Vec<Arc<str>> {
        let parent = self.parent.map(Scope::variable_names).unwrap_or_default();
        self.variables.keys().cloned().chain(parent).collect()
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        let parent = self.parent.map(Scope::function_names).unwrap_or_default();
        self.functions.keys().cloned().chain(parent).collect()
    }

    fn sources(&self) -> Option<&Sources> {
        self.parent?.sources()
    }
}
