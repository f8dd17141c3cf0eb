//! States and plans encrypted as OpenTofu encrypts them.
//!
//! An `encryption` block (in `terraform`, in the environment variable `TF_ENCRYPTION`, or in both) names key
//! providers, methods, and what is encrypted with which: states, plans, and the states that
//! `terraform_remote_state` reads. [`Encryption::read`] evaluates it; a [`Target`] then seals and opens bytes,
//! whatever keeps them. What is sealed has OpenTofu's form, so that either program reads what the other wrote.

mod blocks;
mod evaluate;
mod keys;
mod method;
mod openbao;
mod program;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::evaluate::Functions;
use consort_hcl::{Diagnostic, Diagnostics, Range, Sources, Value};

use crate::config::Module;
pub(crate) use method::{open, seal};
use target::Recipes;
pub use target::{Target, is_sealed};

/// The environment variable that holds a configuration, in HCL or JSON.
pub const VARIABLE: &str = "TF_ENCRYPTION";

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key provider gave no key.
    #[error("Unable to fetch encryption key data: {provider} failed with error: {reason}")]
    Key {
        /// Which one.
        provider: String,
        /// What it said.
        reason: String,
    },
    /// The metadata that the keys were made with is not what the configuration expects.
    #[error(
        "Unable to decode encrypted metadata (did you change your encryption config?): metadata decoder for \
         {provider} failed with error: {reason}"
    )]
    Metadata {
        /// Of which key provider.
        provider: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A method does not take its keys.
    #[error("invalid method configuration: {0}")]
    Method(String),
    /// Sealing failed.
    #[error("encryption failed for {target}: {reason}")]
    Seal {
        /// Of what.
        target: Arc<str>,
        /// Why.
        reason: String,
    },
    /// No method opened it.
    #[error("decryption failed for all provided methods\n{0}")]
    Open(String),
    /// It is sealed in a way that is not known.
    #[error("invalid encrypted payload version: {0} != v0")]
    Version(String),
    /// It is not sealed, and nothing says that it may be so.
    #[error("encountered unencrypted payload without unencrypted method configured")]
    Plain,
    /// It is neither sealed nor what it should be.
    #[error("invalid data format for decryption: {0}")]
    Format(String),
    /// What stands beside the sealed state is not what is in it.
    #[error("invalid state metadata, {field} field mismatch {outside} vs {inside}")]
    Mismatch {
        /// Which part.
        field: &'static str,
        /// What stands beside it.
        outside: String,
        /// What is in it.
        inside: String,
    },
}

/// What is encrypted, and how. Without a configuration nothing is.
#[derive(Clone, Debug, Default)]
pub struct Encryption {
    /// States.
    pub state: Option<Target>,
    /// Saved plans.
    pub plan: Option<Target>,
    remote_default: Option<Target>,
    remotes: BTreeMap<Arc<str>, Target>,
}

/// What expressions in the configuration may refer to.
pub struct Context<'a> {
    /// The root module's variables, as far as they are known.
    pub variables: &'a BTreeMap<Arc<str>, Value>,
    /// The functions of the language.
    pub functions: &'a Functions,
}

impl Encryption {
    /// Evaluates the configuration of the root module and of the environment. No key is asked for yet.
    ///
    /// `environment` is the text of [`VARIABLE`], if it is set.
    pub fn read(
        module: Option<&Module>,
        environment: Option<&str>,
        context: &Context<'_>,
        sources: &mut Sources,
    ) -> (Encryption, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let own = module.and_then(|module| module.encryption.as_ref());
        let mut settings = None;
        if let Some((body, range)) = own {
            let (found, problems) = blocks::decode(body, *range);
            diagnostics.append(problems);
            settings = found;
        }
        if let Some(text) = environment.map(str::trim).filter(|text| !text.is_empty()) {
            let source = sources.add(VARIABLE, text);
            let (body, problems) = if text.starts_with('{') {
                consort_hcl::syntax::parse_json_source(&source)
            } else {
                consort_hcl::syntax::parse_source(&source)
            };
            let broken = problems.has_errors();
            diagnostics.append(problems);
            if !broken {
                let (found, problems) = blocks::decode(&body, body.missing_range());
                diagnostics.append(problems);
                settings = match (settings, found) {
                    (Some(base), Some(over)) => Some(base.overridden(over)),
                    (base, over) => over.or(base),
                };
            }
        }
        let Some(settings) = settings.filter(|_| !diagnostics.has_errors()) else {
            return (Encryption::default(), diagnostics);
        };
        if settings
            .methods
            .iter()
            .any(|method| &*method.kind == "unencrypted")
        {
            diagnostics.push(unencrypted_warning(settings.range));
        }
        let scope = evaluate::Statics::new(module, context, &settings);
        let (recipes, problems) = evaluate::recipes(&settings, &scope);
        diagnostics.append(problems);
        if diagnostics.has_errors() {
            return (Encryption::default(), diagnostics);
        }
        let recipes = Arc::new(recipes);
        let mut make = |block: Option<&blocks::TargetBlock>, name: &str| {
            target(block?, name, &settings, &recipes, &mut diagnostics)
        };
        let encryption = Encryption {
            state: make(settings.state.as_ref(), "state"),
            plan: make(settings.plan.as_ref(), "plan"),
            remote_default: make(settings.remote_default.as_ref(), "remote.default"),
            remotes: settings
                .remotes
                .iter()
                .filter_map(|(name, block)| {
                    let address = format!("remote.remote_state_datasource.{name}");
                    let target = make(Some(block), &address)?;
                    Some((Arc::clone(name), target))
                })
                .collect(),
        };
        (encryption, diagnostics)
    }

    /// How the state is sealed that a `terraform_remote_state` reads, by its address.
    pub fn remote(&self, address: &str) -> Option<&Target> {
        // `data.terraform_remote_state.a[0]` is `a[0]`, in a module `m.a[0]`.
        let name = address.replacen("data.terraform_remote_state.", "", 1);
        let name = name.strip_prefix("module.").unwrap_or(&name);
        self.remotes.get(name).or(self.remote_default.as_ref())
    }
}

fn unencrypted_warning(range: Range) -> Diagnostic {
    Diagnostic::warning(
        "Unencrypted method configured",
        "Method unencrypted is present in configuration. This is a security risk and should only be enabled during migrations.",
    )
    .at(range)
}

/// Finds the methods of a target, its own first and then what it falls back to.
fn target(
    block: &blocks::TargetBlock,
    name: &str,
    settings: &blocks::Settings,
    recipes: &Arc<Recipes>,
    diagnostics: &mut Diagnostics,
) -> Option<Target> {
    let mut methods = Vec::new();
    let mut next = Some(block);
    while let Some(block) = next {
        next = block.fallback.as_deref();
        let Some(expr) = &block.method else {
            diagnostics.push(
                Diagnostic::error(
                    "Missing required argument",
                    "The argument \"method\" is required, but no definition was found.",
                )
                .at(block.range),
            );
            continue;
        };
        let reference = expr
            .as_traversal()
            .filter(|reference| &*reference.root == "method" && reference.steps.len() == 2);
        let Some((kind, name)) = reference
            .as_ref()
            .and_then(|reference| Some((reference.attribute(0)?, reference.attribute(1)?)))
        else {
            diagnostics.push(
                Diagnostic::error(
                    "Invalid encryption method identifier",
                    "Expected method of form method.<type>.<name>",
                )
                .at(expr.range()),
            );
            continue;
        };
        match settings
            .methods
            .iter()
            .position(|found| found.kind == *kind && found.name == *name)
        {
            Some(at) => methods.push(at),
            None => diagnostics.push(
                Diagnostic::error(
                    "Reference to undeclared encryption method",
                    format!(
                        "There is no method \"{kind}\" \"{name}\" block declared in the encryption block."
                    ),
                )
                .at(expr.range()),
            ),
        }
    }
    let open = |at: &usize| recipes.methods[*at].is_unencrypted();
    if block.enforced && methods.iter().any(open) {
        diagnostics.push(
            Diagnostic::error(
                "Unencrypted method is forbidden",
                "Unable to use unencrypted method since the enforced flag is set.",
            )
            .at(settings.range),
        );
    }
    (!methods.is_empty() && !diagnostics.has_errors())
        .then(|| Target::new(name, Arc::clone(recipes), methods))
}
