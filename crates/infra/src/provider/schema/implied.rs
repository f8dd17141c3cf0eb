//! Types and values that follow from a schema alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use consort_hcl::{ObjectType, Type, Value};

use super::form::Form;
use super::{Attribute, Block, NestedBlock, Nesting, Object};

/// Facts about a schema that are asked for again and again.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    /// The type of decoded values.
    implied: Type,
    /// The same with optional attributes marked, as configuration is converted to.
    config: Type,
    sensitive: bool,
    write_only: bool,
    deprecated: bool,
    dynamic: bool,
    form: OnceLock<Arc<Form>>,
}

impl Derived {
    fn of_attributes(attributes: &BTreeMap<Arc<str>, Attribute>) -> Self {
        let mut implied = BTreeMap::new();
        let mut config = BTreeMap::new();
        let mut optional = BTreeSet::new();
        let (mut sensitive, mut write_only, mut deprecated, mut dynamic) =
            (false, false, false, false);
        for (name, attribute) in attributes {
            implied.insert(name.clone(), attribute.ty.clone());
            config.insert(name.clone(), attribute.config_type());
            if attribute.optional || attribute.computed {
                optional.insert(name.clone());
            }
            sensitive |= attribute.sensitive
                || attribute
                    .nested
                    .as_ref()
                    .is_some_and(Object::contains_sensitive);
            write_only |= attribute.write_only
                || attribute
                    .nested
                    .as_ref()
                    .is_some_and(Object::contains_write_only);
            deprecated |= attribute.deprecated
                || attribute
                    .nested
                    .as_ref()
                    .is_some_and(|n| n.derived().deprecated);
            dynamic |= attribute.ty.has_dynamic();
        }
        Self {
            implied: object_type(implied, BTreeSet::new()),
            config: object_type(config, optional),
            sensitive,
            write_only,
            deprecated,
            dynamic,
            form: OnceLock::new(),
        }
    }
}

fn object_type(attributes: BTreeMap<Arc<str>, Type>, optional: BTreeSet<Arc<str>>) -> Type {
    Type::Object(Arc::new(ObjectType {
        attributes,
        optional,
    }))
}

fn nest(nesting: Nesting, element: Type) -> Type {
    match nesting {
        Nesting::Single | Nesting::Group => element,
        Nesting::List => Type::List(Arc::new(element)),
        Nesting::Set => Type::Set(Arc::new(element)),
        Nesting::Map => Type::Map(Arc::new(element)),
    }
}

impl Attribute {
    /// The type configuration is converted to: as [`Attribute::ty`], with what may be left out of nested
    /// objects marked as optional.
    pub fn config_type(&self) -> Type {
        self.nested
            .as_ref()
            .map_or_else(|| self.ty.clone(), Object::config_type)
    }
}

impl Object {
    fn derived(&self) -> &Derived {
        self.derived
            .get_or_init(|| Derived::of_attributes(&self.attributes))
    }

    /// The type of its values, without optional attributes.
    pub fn implied_type(&self) -> Type {
        nest(self.nesting, self.derived().implied.clone())
    }

    /// The type configuration is converted to, with optional attributes.
    pub fn config_type(&self) -> Type {
        nest(self.nesting, self.derived().config.clone())
    }

    /// The type of one object, whatever the nesting.
    pub fn element_type(&self) -> Type {
        self.derived().implied.clone()
    }

    /// Whether any attribute in it is sensitive.
    pub fn contains_sensitive(&self) -> bool {
        self.derived().sensitive
    }

    /// Whether any attribute in it is write-only.
    pub fn contains_write_only(&self) -> bool {
        self.derived().write_only
    }
}

impl Block {
    fn derived(&self) -> &Derived {
        self.derived.get_or_init(|| {
            let mut derived = Derived::of_attributes(&self.attributes);
            let mut types = match &derived.implied {
                Type::Object(object) => object.attributes.clone(),
                _ => BTreeMap::new(),
            };
            for (name, nested) in &self.blocks {
                let inner = nested.block.derived();
                derived.sensitive |= inner.sensitive;
                derived.write_only |= inner.write_only;
                derived.deprecated |= inner.deprecated || nested.block.deprecated;
                let ty = nested.implied_type();
                derived.dynamic |= inner.dynamic;
                types.entry(name.clone()).or_insert(ty);
            }
            derived.implied = object_type(types, BTreeSet::new());
            derived.config = derived.implied.clone();
            derived
        })
    }

    /// What a body may hold.
    pub(super) fn form(&self) -> &Form {
        self.derived().form.get_or_init(|| Form::of(self))
    }

    /// The type of a decoded block: an object of all attributes and nested blocks.
    ///
    /// A list or map of blocks that hold an attribute of dynamic type is itself of dynamic type: its
    /// elements may differ in type.
    pub fn implied_type(&self) -> Type {
        self.derived().implied.clone()
    }

    /// Whether any attribute in it is sensitive.
    pub fn contains_sensitive(&self) -> bool {
        self.derived().sensitive
    }

    /// Whether any attribute in it is write-only.
    pub fn contains_write_only(&self) -> bool {
        self.derived().write_only
    }

    /// Whether the type of any attribute in it is decided by its value.
    pub fn contains_dynamic(&self) -> bool {
        self.derived().dynamic
    }

    /// Whether any attribute or block in it is deprecated.
    pub fn contains_deprecated(&self) -> bool {
        self.deprecated || self.derived().deprecated
    }

    /// What an empty body decodes to: null attributes, and nested blocks as if there were none.
    pub fn empty_value(&self) -> Value {
        let mut values = BTreeMap::new();
        for (name, attribute) in &self.attributes {
            values.insert(name.clone(), Value::null(attribute.ty.clone()));
        }
        for (name, nested) in &self.blocks {
            values
                .entry(name.clone())
                .or_insert_with(|| nested.empty_value());
        }
        Value::object(values)
    }

    /// What a body whose content is not known decodes to: an object with unknown attributes.
    pub fn unknown_value(&self) -> Value {
        let mut values = BTreeMap::new();
        for (name, attribute) in &self.attributes {
            values.insert(name.clone(), Value::unknown(attribute.ty.clone()));
        }
        for (name, nested) in &self.blocks {
            values
                .entry(name.clone())
                .or_insert_with(|| Value::unknown(nested.implied_type()));
        }
        Value::object(values)
    }

    /// An object of null attributes, for a synthetic prior of the block's whole type.
    pub fn null_value(&self) -> Value {
        Value::null(self.implied_type())
    }
}

impl NestedBlock {
    /// The type of what these blocks become.
    pub fn implied_type(&self) -> Type {
        let element = self.block.implied_type();
        match self.nesting {
            Nesting::List | Nesting::Map if self.block.contains_dynamic() => Type::Dynamic,
            nesting => nest(nesting, element),
        }
    }

    /// What no blocks of this type become.
    pub fn empty_value(&self) -> Value {
        let element = self.block.implied_type();
        match self.nesting {
            Nesting::Single => Value::null(element),
            Nesting::Group => self.block.empty_value(),
            Nesting::List if self.block.contains_dynamic() => Value::tuple(Vec::new()),
            Nesting::List => Value::list(element, Vec::new()),
            Nesting::Set => Value::set(element, Vec::new()),
            Nesting::Map if self.block.contains_dynamic() => Value::object::<Arc<str>>([]),
            Nesting::Map => Value::map::<Arc<str>>(element, []),
        }
    }
}
