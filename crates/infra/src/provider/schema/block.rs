//! Blocks, attributes and nested blocks.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use consort_hcl::Type;

use super::implied::Derived;

/// A text for people, and whether it is Markdown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Described {
    /// The text; may be empty.
    pub text: Arc<str>,
    /// Whether it is Markdown rather than plain.
    pub markdown: bool,
}

/// The content of a block: attributes and nested blocks. Becomes an object value.
///
/// Immutable once used: types and other facts derived from it are kept after the first question.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// By name.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// By type name. No name is in both maps.
    pub blocks: BTreeMap<Arc<str>, NestedBlock>,
    /// For documentation.
    pub description: Described,
    /// Use of the block is discouraged.
    pub deprecated: bool,
    /// Why, or what to use instead; may be empty.
    pub deprecation_message: Arc<str>,
    pub(super) derived: OnceLock<Derived>,
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its type. For a nested object the type implied by it, without optional attributes.
    pub ty: Type,
    /// Set where the attribute is an object (or a collection of objects) with a schema of its own.
    pub nested: Option<Object>,
    /// Must be set in the configuration.
    pub required: bool,
    /// May be set in the configuration.
    pub optional: bool,
    /// The provider may or will choose the value.
    pub computed: bool,
    /// Not to be shown.
    pub sensitive: bool,
    /// Handed to the provider and never stored: always null in plans and states.
    pub write_only: bool,
    /// Use of the attribute is discouraged.
    pub deprecated: bool,
    /// Why, or what to use instead; may be empty.
    pub deprecation_message: Arc<str>,
    /// For documentation.
    pub description: Described,
}

/// The schema of a nested object attribute (protocol 6).
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// By name.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// `Group` does not occur here.
    pub nesting: Nesting,
    pub(super) derived: OnceLock<Derived>,
}

/// One type of nested block.
#[derive(Clone, Debug)]
pub struct NestedBlock {
    /// Its content.
    pub block: Block,
    /// What a number of them becomes.
    pub nesting: Nesting,
    /// Least number of blocks; 0 for any.
    pub min_items: u64,
    /// Greatest number of blocks; 0 for any.
    pub max_items: u64,
}

/// What a number of nested blocks or objects becomes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Nesting {
    /// At most one; an object, null if absent.
    #[default]
    Single,
    /// At most one; an object with null attributes if absent.
    Group,
    /// A list in order.
    List,
    /// A set.
    Set,
    /// A map by the one label each has.
    Map,
}

impl Block {
    /// Adds an attribute; for schemas written in code.
    #[must_use]
    pub fn attribute(mut self, name: &str, attribute: Attribute) -> Self {
        self.attributes.insert(name.into(), attribute);
        self
    }

    /// Adds a nested block type; for schemas written in code.
    #[must_use]
    pub fn nested(mut self, name: &str, nesting: Nesting, block: Block) -> Self {
        self.blocks.insert(
            name.into(),
            NestedBlock {
                block,
                nesting,
                min_items: 0,
                max_items: 0,
            },
        );
        self
    }
}

impl Attribute {
    /// An attribute that is neither required nor optional nor computed yet.
    pub fn new(ty: Type) -> Self {
        Self {
            ty,
            nested: None,
            required: false,
            optional: false,
            computed: false,
            sensitive: false,
            write_only: false,
            deprecated: false,
            deprecation_message: "".into(),
            description: Described::default(),
        }
    }

    /// An attribute that is a nested object.
    pub fn object(object: Object) -> Self {
        let mut attribute = Self::new(object.implied_type());
        attribute.nested = Some(object);
        attribute
    }

    /// Must be set.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// May be set.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The provider may choose it.
    #[must_use]
    pub fn computed(mut self) -> Self {
        self.computed = true;
        self
    }

    /// Not to be shown.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Handed over and never stored.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// With a description in plain text.
    #[must_use]
    pub fn described(mut self, text: &str) -> Self {
        self.description = Described {
            text: text.into(),
            markdown: false,
        };
        self
    }
}

impl Block {
    /// An empty block with a description, and the message if its use is discouraged.
    pub(crate) fn described(description: Described, deprecated: Option<Arc<str>>) -> Self {
        Self {
            description,
            deprecated: deprecated.is_some(),
            deprecation_message: deprecated.unwrap_or_else(|| "".into()),
            ..Self::default()
        }
    }
}

impl Object {
    /// A nested object of attributes that are there already.
    pub(crate) fn of(nesting: Nesting, attributes: BTreeMap<Arc<str>, Attribute>) -> Self {
        Self {
            attributes,
            nesting,
            derived: OnceLock::new(),
        }
    }

    /// A nested object of these attributes.
    pub fn new(
        nesting: Nesting,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) -> Self {
        Self {
            attributes: attributes
                .into_iter()
                .map(|(n, a)| (Arc::from(n), a))
                .collect(),
            nesting,
            derived: OnceLock::new(),
        }
    }
}
