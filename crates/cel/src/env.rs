//! What an expression may use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::functions::{self, Function, Functions, Library};
use crate::macros::Macros;
use crate::program::Variables;
use crate::source::{Fault, NOWHERE, Source};
use crate::types::{ObjectType, Type};
use crate::{Decl, Issues, Program, checker, estimate, libraries, parser, plan, validate};

/// The variables, types and libraries expressions are compiled against. Cheap to clone and extend.
#[derive(Clone)]
pub struct Env {
    base: Arc<Base>,
    variables: Vec<Variable>,
    objects: HashMap<String, Arc<ObjectType>>,
}

/// A variable of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) decl: Option<Decl>,
}

struct Base {
    functions: Functions,
    types: HashMap<&'static str, Type>,
    macros: Macros,
    /// Lists and maps written out must be of one type; comparisons across number types are allowed; constants are
    /// validated: what Kubernetes asks for beyond the language.
    kubernetes: bool,
    /// Whether the `Object` types of mutating policies are there.
    mutation: bool,
}

impl Base {
    fn new(libraries: &[&Library], macros: Macros) -> Self {
        let mut functions = Functions::new();
        for library in libraries {
            functions::add(&mut functions, library);
        }
        let types = [
            ("bool", Type::Bool),
            ("bytes", Type::Bytes),
            ("double", Type::Double),
            ("google.protobuf.Duration", Type::Duration),
            ("google.protobuf.Timestamp", Type::Timestamp),
            ("int", Type::Int),
            ("list", Type::list(Type::Dyn)),
            ("map", Type::map(Type::Dyn, Type::Dyn)),
            ("null_type", Type::Null),
            ("string", Type::String),
            ("type", Type::Type(None)),
            ("uint", Type::Uint),
        ];
        Base {
            functions,
            types: types.into(),
            macros,
            kubernetes: false,
            mutation: false,
        }
    }
}

static STANDARD: LazyLock<Arc<Base>> = LazyLock::new(|| {
    Arc::new(Base::new(
        &[&libraries::standard::LIBRARY],
        Macros::default(),
    ))
});

const KUBERNETES_LIBRARIES: [&Library; 15] = [
    &libraries::standard::LIBRARY,
    &libraries::optional::LIBRARY,
    &libraries::strings::LIBRARY,
    &libraries::lists::LIBRARY,
    &libraries::lists::EXTENDED,
    &libraries::sets::LIBRARY,
    &libraries::regex::LIBRARY,
    &libraries::url::LIBRARY,
    &libraries::quantity::LIBRARY,
    &libraries::ip::LIBRARY,
    &libraries::ip::CIDR,
    &libraries::semver::LIBRARY,
    &libraries::format::LIBRARY,
    &libraries::authorizer::LIBRARY,
    &libraries::comprehensions::LIBRARY,
];

fn kubernetes_base(mutation: bool) -> Base {
    let macros = Macros {
        optional: true,
        two_variables: true,
    };
    let mut chosen = KUBERNETES_LIBRARIES.to_vec();
    if mutation {
        chosen.push(&libraries::jsonpatch::LIBRARY);
    }
    let mut base = Base::new(&chosen, macros);
    base.kubernetes = true;
    base.mutation = mutation;
    for (name, ty) in [
        ("optional_type", Type::optional(Type::Dyn)),
        ("net.IP", Type::Opaque("net.IP")),
        ("net.CIDR", Type::Opaque("net.CIDR")),
    ] {
        base.types.insert(name, ty);
    }
    base
}

static KUBERNETES: LazyLock<Arc<Base>> = LazyLock::new(|| Arc::new(kubernetes_base(false)));
static MUTATION: LazyLock<Arc<Base>> = LazyLock::new(|| Arc::new(kubernetes_base(true)));
/// The types of mutating policies.
static JSON_PATCH: LazyLock<Arc<ObjectType>> = LazyLock::new(|| {
    let fields = [
        ("op", Type::String),
        ("path", Type::String),
        ("from", Type::String),
        ("value", Type::Dyn),
    ];
    ObjectType::new("JSONPatch", fields.map(|(name, ty)| (name.to_owned(), ty)))
});

impl Env {
    fn over(base: &Arc<Base>) -> Self {
        Env {
            base: base.clone(),
            variables: Vec::new(),
            objects: HashMap::new(),
        }
    }

    /// The language's own functions, nothing more.
    pub fn standard() -> Self {
        Self::over(&STANDARD)
    }

    /// Upstream's base environment: all libraries that Kubernetes gives every expression.
    pub fn kubernetes() -> Self {
        Self::over(&KUBERNETES)
    }

    /// The base environment with the types of mutating policies: `Object`, `Object.spec`, ..., `JSONPatch` and
    /// `jsonpatch.escapeKey`.
    pub fn mutation() -> Self {
        Self::over(&MUTATION)
    }

    /// Declares a variable. A name may have dots (`authorizer.requestResource`).
    #[must_use]
    pub fn with(self, name: &str, ty: Type) -> Self {
        self.declare(name, ty, None)
    }

    /// Declares a variable whose schema is known: its sizes bound the estimated cost.
    #[must_use]
    pub fn with_decl(self, name: &str, decl: &Decl) -> Self {
        self.declare(name, decl.ty().clone(), Some(decl.clone()))
    }

    /// The same as an optional value (`oldSelf` of a rule with `optionalOldSelf`).
    #[must_use]
    pub fn with_optional_decl(self, name: &str, decl: &Decl) -> Self {
        self.declare(name, Type::optional(decl.ty().clone()), Some(decl.clone()))
    }

    /// Declares `variables`, whose fields are the results of other expressions.
    #[must_use]
    pub fn with_variables(self, variables: &Variables) -> Self {
        let fields = variables
            .iter()
            .map(|(name, program)| (name.to_owned(), program.ty().clone()));
        self.declare(
            "variables",
            Type::Object(ObjectType::new("kubernetes.variables", fields)),
            None,
        )
    }

    fn declare(mut self, name: &str, ty: Type, decl: Option<Decl>) -> Self {
        collect_objects(&ty, &mut self.objects);
        self.variables.retain(|variable| variable.name != name);
        self.variables.push(Variable {
            name: name.to_owned(),
            ty,
            decl,
        });
        self
    }

    /// Parses and checks `text`. `wanted`: the type it must have, exactly; another is an issue in the words upstream
    /// uses for policies (`must evaluate to bool but got int`).
    ///
    /// # Errors
    /// The faults found, with their places.
    pub fn compile(&self, text: &str, wanted: Option<&Type>) -> Result<Program, Issues> {
        let source = Source::new(text);
        self.compile_source(&source, wanted)
            .map_err(|faults| source.issues(faults))
    }

    fn compile_source(
        &self,
        source: &Source,
        wanted: Option<&Type>,
    ) -> Result<Program, Vec<Fault>> {
        let (mut ast, root) = parser::parse(source, self.base.macros)?;
        let checked = checker::check(&mut ast, root, self)?;
        if self.base.kubernetes {
            validate::constants(&ast, root, &checked)?;
        }
        let ty = checked.types[root].clone();
        if let Some(wanted) = wanted.filter(|wanted| **wanted != ty) {
            let message = format!(
                "must evaluate to {} but got {}",
                wanted.declared(),
                ty.declared()
            );
            return Err(vec![Fault {
                place: NOWHERE,
                message,
            }]);
        }
        let estimate = estimate::estimate(&ast, root, &checked, self);
        plan::plan(&ast, root, &checked, self, estimate).map_err(|fault| vec![fault])
    }

    pub(crate) fn variable(&self, name: &str) -> Option<(usize, &Variable)> {
        self.variables
            .iter()
            .enumerate()
            .find(|(_, variable)| variable.name == name)
    }

    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.base.functions.get(name)
    }

    /// Whether an overload is on: comparisons across number types are Kubernetes' alone.
    pub(crate) fn enabled(&self, overload: &str) -> bool {
        self.base.kubernetes || !is_cross_type(overload)
    }

    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        if let Some(ty) = self.base.types.get(name) {
            return Some(ty.clone());
        }
        if let Some(object) = self.objects.get(name) {
            return Some(Type::Object(object.clone()));
        }
        if !self.base.mutation {
            return None;
        }
        if name == "JSONPatch" {
            return Some(Type::Object(JSON_PATCH.clone()));
        }
        let open = name == "Object" || name.starts_with("Object.");
        open.then(|| {
            let object = ObjectType {
                name: name.to_owned(),
                fields: indexmap::IndexMap::new(),
                open: true,
            };
            Type::Object(Arc::new(object))
        })
    }

    /// The type of an object's field.
    #[expect(
        clippy::unused_self,
        reason = "which fields there are is the environment's to say"
    )]
    pub(crate) fn field(&self, object: &ObjectType, name: &str) -> Option<Type> {
        if object.open {
            return Some(Type::Dyn);
        }
        if let Some(ty) = object.fields.get(name) {
            return Some(ty.clone());
        }
        // Words the language reserves may be written as they are after a dot.
        object
            .fields
            .get(&crate::escape(name)?)
            .filter(|_| crate::escape(name).as_deref() != Some(name))
            .cloned()
    }
}

fn is_cross_type(overload: &str) -> bool {
    const KINDS: [&str; 3] = ["int64", "uint64", "double"];
    let Some((head, last)) = overload.rsplit_once('_') else {
        return false;
    };
    let Some((comparison, first)) = head.rsplit_once('_') else {
        return false;
    };
    matches!(
        comparison,
        "less" | "less_equals" | "greater" | "greater_equals"
    ) && KINDS.contains(&first)
        && KINDS.contains(&last)
}

fn collect_objects(ty: &Type, objects: &mut HashMap<String, Arc<ObjectType>>) {
    match ty {
        Type::Object(object)
            if objects
                .insert(object.name.clone(), object.clone())
                .is_none() =>
        {
            object
                .fields
                .values()
                .for_each(|field| collect_objects(field, objects));
        }
        Type::List(inner) | Type::Optional(inner) => collect_objects(inner, objects),
        Type::Map(entry) => {
            collect_objects(&entry.0, objects);
            collect_objects(&entry.1, objects);
        }
        _ => {}
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}
