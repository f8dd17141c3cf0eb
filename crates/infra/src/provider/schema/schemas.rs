//! All schemas of one provider, each decoded when it is first asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use consort_hcl::Type;

use super::{Block, Described, Object};

/// The families of resource types a provider can have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// `resource`.
    Managed,
    /// `data`.
    Data,
    /// `ephemeral`.
    Ephemeral,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Managed => "resource type",
            Self::Data => "data source",
            Self::Ephemeral => "ephemeral resource type",
        })
    }
}

/// Why there is no schema.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The provider has no such type.
    #[error("the provider has no {kind} {name:?}")]
    NoSuchType {
        /// What was asked for.
        kind: Kind,
        /// Its name.
        name: Arc<str>,
    },
    /// What the provider sent cannot be read.
    #[error("the provider's schema of {name:?} is malformed: {message}")]
    Malformed {
        /// Whose schema.
        name: Arc<str>,
        /// What is wrong with it.
        message: String,
    },
}

/// The schema of one resource type.
#[derive(Clone, Debug, Default)]
pub struct ResourceSchema {
    /// Of the block; stored with each state.
    pub version: i64,
    /// The resource's content.
    pub block: Block,
    /// What identifies a remote object, if the provider says.
    pub identity: Option<IdentitySchema>,
}

/// What identifies a remote object.
#[derive(Clone, Debug, Default)]
pub struct IdentitySchema {
    /// Stored with each identity.
    pub version: i64,
    /// The attributes by name.
    pub attributes: BTreeMap<Arc<str>, IdentityAttribute>,
}

/// One attribute of an identity.
#[derive(Clone, Debug)]
pub struct IdentityAttribute {
    /// A primitive type, or a list of one.
    pub ty: Type,
    /// Must be given to import.
    pub required_for_import: bool,
    /// May be given to import.
    pub optional_for_import: bool,
    /// For documentation.
    pub description: Arc<str>,
}

impl IdentitySchema {
    /// The type of identities.
    pub fn ty(&self) -> Type {
        Type::Object(Arc::new(consort_hcl::ObjectType {
            attributes: self
                .attributes
                .iter()
                .map(|(n, a)| (n.clone(), a.ty.clone()))
                .collect(),
            optional: std::collections::BTreeSet::new(),
        }))
    }

    /// The same as a nested object, to decode an `identity` argument by.
    pub fn object(&self) -> Object {
        let mut object = Object::default();
        for (name, identity) in &self.attributes {
            let mut attribute = super::Attribute::new(identity.ty.clone());
            attribute.required = identity.required_for_import;
            attribute.optional = identity.optional_for_import;
            attribute.description = Described {
                text: identity.description.clone(),
                markdown: false,
            };
            object.attributes.insert(name.clone(), attribute);
        }
        object
    }
}

/// A function of a provider.
#[derive(Clone, Debug)]
pub struct Function {
    /// In order.
    pub parameters: Vec<Parameter>,
    /// Takes all arguments beyond the parameters.
    pub variadic: Option<Parameter>,
    /// The type of its result.
    pub returns: Type,
    /// One line.
    pub summary: Arc<str>,
    /// For documentation.
    pub description: Described,
    /// Set if its use is discouraged.
    pub deprecation_message: Arc<str>,
}

/// A parameter of a provider's function.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// For messages.
    pub name: Arc<str>,
    /// What arguments are converted to.
    pub ty: Type,
    /// Null may be given; otherwise it is an error.
    pub allow_null: bool,
    /// Unknowns, also inside, may be given; otherwise the result is unknown without a call.
    pub allow_unknown: bool,
    /// For documentation.
    pub description: Described,
}

/// What a provider can do beyond the least.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// It wants to plan destruction too.
    pub plan_destroy: bool,
    /// It works without having been asked for its schema.
    pub get_provider_schema_optional: bool,
    /// It can take states of other types over.
    pub move_resource_state: bool,
    /// It can write configuration for an imported state.
    pub generate_resource_config: bool,
}

/// Where the schemas of resource types come from, one at a time.
pub trait Source: Send + Sync {
    /// Decodes one schema.
    fn load(&self, kind: Kind, name: &str) -> Result<ResourceSchema, Error>;
}

type Slots = BTreeMap<Arc<str>, OnceLock<Result<Arc<ResourceSchema>, Error>>>;

/// All schemas of one provider.
///
/// A large provider has a thousand of them and tens of megabytes: only those that are used are decoded.
pub struct Schemas {
    /// Of the provider's own configuration.
    pub provider: Arc<Block>,
    /// Of `provider_meta` blocks.
    pub provider_meta: Option<Arc<Block>>,
    /// By name.
    pub functions: BTreeMap<Arc<str>, Function>,
    /// What it can do.
    pub capabilities: Capabilities,
    managed: Slots,
    data: Slots,
    ephemeral: Slots,
    source: Box<dyn Source>,
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas")
            .field("managed", &self.managed.len())
            .field("data", &self.data.len())
            .field("ephemeral", &self.ephemeral.len())
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

impl Schemas {
    /// Schemas that are decoded by `source`; `names` are those it has.
    pub fn lazy(
        provider: Block,
        provider_meta: Option<Block>,
        functions: BTreeMap<Arc<str>, Function>,
        capabilities: Capabilities,
        names: impl IntoIterator<Item = (Kind, Arc<str>)>,
        source: Box<dyn Source>,
    ) -> Self {
        let mut schemas = Self {
            provider: Arc::new(provider),
            provider_meta: provider_meta.map(Arc::new),
            functions,
            capabilities,
            managed: Slots::new(),
            data: Slots::new(),
            ephemeral: Slots::new(),
            source,
        };
        for (kind, name) in names {
            schemas.slots_mut(kind).insert(name, OnceLock::new());
        }
        schemas
    }

    /// Schemas that are there already; for built-in providers and tests.
    pub fn eager(
        provider: Block,
        functions: BTreeMap<Arc<str>, Function>,
        capabilities: Capabilities,
        resources: impl IntoIterator<Item = (Kind, &'static str, ResourceSchema)>,
    ) -> Self {
        struct Nothing;
        impl Source for Nothing {
            fn load(&self, kind: Kind, name: &str) -> Result<ResourceSchema, Error> {
                Err(Error::NoSuchType {
                    kind,
                    name: name.into(),
                })
            }
        }
        let mut schemas = Self::lazy(
            provider,
            None,
            functions,
            capabilities,
            [],
            Box::new(Nothing),
        );
        for (kind, name, schema) in resources {
            schemas
                .slots_mut(kind)
                .insert(name.into(), OnceLock::from(Ok(Arc::new(schema))));
        }
        schemas
    }

    fn slots(&self, kind: Kind) -> &Slots {
        match kind {
            Kind::Managed => &self.managed,
            Kind::Data => &self.data,
            Kind::Ephemeral => &self.ephemeral,
        }
    }

    fn slots_mut(&mut self, kind: Kind) -> &mut Slots {
        match kind {
            Kind::Managed => &mut self.managed,
            Kind::Data => &mut self.data,
            Kind::Ephemeral => &mut self.ephemeral,
        }
    }

    /// The schema of one type.
    pub fn resource(&self, kind: Kind, name: &str) -> Result<Arc<ResourceSchema>, Error> {
        match self.slots(kind).get(name) {
            None => Err(Error::NoSuchType {
                kind,
                name: name.into(),
            }),
            Some(slot) => slot
                .get_or_init(|| self.source.load(kind, name).map(Arc::new))
                .clone(),
        }
    }

    /// Whether there is such a type, without decoding its schema.
    pub fn has(&self, kind: Kind, name: &str) -> bool {
        self.slots(kind).contains_key(name)
    }

    /// The types of one kind, in order of name.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &Arc<str>> {
        self.slots(kind).keys()
    }
}
