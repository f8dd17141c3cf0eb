//! Functions of providers, as expressions call them: `provider::<local name>::<function>(..)`.
//!
//! They are called on a provider that is started for them and never configured, when an expression first names
//! one. What a call does with nulls, unknowns and marks follows OpenTofu's `providers/functions.go`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use consort_hcl::Value;
use consort_hcl::evaluate::{CallError, Function, Parameter, unknown_provider_function};
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::run::Providers;
use crate::address::ProviderSource;
use crate::config::Module;
use crate::provider::{Provider, schema};

/// The functions of the providers that a configuration requires. Close it when nothing is evaluated any more.
pub struct ProviderFunctions<'a> {
    providers: &'a dyn Providers,
    served: Mutex<HashMap<ProviderSource, Served>>,
}

/// What a provider offers: its functions, or why it cannot be asked.
#[derive(Clone)]
enum Served {
    Functions {
        provider: Arc<dyn Provider>,
        functions: Arc<HashMap<Arc<str>, Arc<Function>>>,
    },
    Failed(Arc<str>),
}

impl<'a> ProviderFunctions<'a> {
    /// Nothing is started yet.
    pub fn new(providers: &'a dyn Providers) -> Self {
        ProviderFunctions {
            providers,
            served: Mutex::default(),
        }
    }

    /// The function of this name in a module's expressions. None if the name is not one of a provider that the
    /// module requires, or if that has no such function.
    ///
    /// To be called on a runtime of several threads: a provider that is not there yet is started, and calls of
    /// its functions block.
    pub fn get(&self, module: &Module, name: &str) -> Option<Arc<Function>> {
        let (local, function) = name.strip_prefix("provider::")?.split_once("::")?;
        let source = &module.required_providers.get(local)?.address;
        match self.serve(source) {
            Served::Functions { functions, .. } => functions.get(function).cloned(),
            Served::Failed(why) => Some(Arc::new(failing(why))),
        }
    }

    /// What to say of a call to a function that [`ProviderFunctions::get`] does not know: a summary and a detail.
    pub fn explain(&self, _module: &Module, name: &str) -> Option<(String, String)> {
        unknown_provider_function(name)
    }

    fn serve(&self, source: &ProviderSource) -> Served {
        // The lock is held while a provider starts: whoever needs the same one waits for it.
        let mut served = self.served.lock();
        if let Some(known) = served.get(source) {
            return known.clone();
        }
        let started = blocking(async {
            let provider = self
                .providers
                .start(source)
                .await
                .map_err(|found| why(&found))?;
            match provider.schemas().await {
                Ok(schemas) => Ok((provider, schemas)),
                Err(found) => {
                    provider.close().await;
                    Err(why(&found.unlocated(&source.to_string())))
                }
            }
        });
        let found = match started.and_then(|started| started) {
            Ok((provider, schemas)) => Served::Functions {
                functions: Arc::new(
                    schemas
                        .functions
                        .iter()
                        .map(|(name, declared)| {
                            let function = function(&provider, name, declared);
                            (name.clone(), Arc::new(function))
                        })
                        .collect(),
                ),
                provider,
            },
            Err(error) => Served::Failed(
                format!("failed to launch provider plugin: {}", error.message).into(),
            ),
        };
        served.insert(source.clone(), found.clone());
        found
    }

    /// Ends the providers that were started.
    pub async fn close(&self) {
        let served = std::mem::take(&mut *self.served.lock());
        futures::future::join_all(served.values().filter_map(|served| match served {
            Served::Functions { provider, .. } => Some(provider.close()),
            Served::Failed(_) => None,
        }))
        .await;
    }
}

fn why(found: &consort_hcl::Diagnostics) -> CallError {
    CallError::new(found.first_error().map_or_else(
        || "no reason given".to_owned(),
        |error| {
            if error.detail.is_empty() {
                error.summary.clone()
            } else {
                error.detail.clone()
            }
        },
    ))
}

/// Takes any arguments and says why it cannot be called.
fn failing(why: Arc<str>) -> Function {
    let any = Parameter::new("arguments", consort_hcl::Type::Dynamic)
        .null()
        .unknown()
        .dynamic();
    Function::new(
        Vec::new(),
        Some(any),
        |_| Ok(consort_hcl::Type::Dynamic),
        move |_, _| Err(CallError::new(&*why)),
    )
}

fn parameter(declared: &schema::Parameter) -> Parameter {
    Parameter {
        description: declared.description.text.clone(),
        allow_null: declared.allow_null,
        // Only at the top: what is unknown inside is looked for by the function itself.
        allow_unknown: declared.allow_unknown,
        // A literal null is of unknown type too.
        allow_dynamic: matches!(declared.ty, consort_hcl::Type::Dynamic),
        ..Parameter::new(&declared.name, declared.ty.clone())
    }
}

/// A provider's function as one of the language.
fn function(
    provider: &Arc<dyn Provider>,
    name: &Arc<str>,
    declared: &schema::Function,
) -> Function {
    let parameters: Vec<Parameter> = declared.parameters.iter().map(parameter).collect();
    let variadic = declared.variadic.as_ref().map(parameter);
    let returns = declared.returns.clone();
    let takes_unknown: Vec<bool> = declared
        .parameters
        .iter()
        .map(|parameter| parameter.allow_unknown)
        .collect();
    let variadic_takes_unknown = declared
        .variadic
        .as_ref()
        .is_some_and(|parameter| parameter.allow_unknown);
    let (provider, name) = (provider.clone(), name.clone());
    let call = move |arguments: &[Value]| {
        let partly_unknown = arguments.iter().enumerate().any(|(at, argument)| {
            !takes_unknown
                .get(at)
                .copied()
                .unwrap_or(variadic_takes_unknown)
                && !argument.is_wholly_known()
        });
        if partly_unknown {
            return Ok(Value::unknown(returns.clone()));
        }
        blocking(provider.call_function(name.clone(), arguments.to_vec()))?.map_err(|error| {
            CallError {
                argument: error.argument,
                message: error.message,
            }
        })
    };
    Function::returning(declared.returns.clone(), parameters, variadic, call)
        .described(&declared.summary)
}

/// Waits where an expression is evaluated, which is no place to wait in: the runtime moves its other work to
/// another thread meanwhile. An interrupt ends the wait, since whoever would hear it may be what waits.
fn blocking<T>(work: impl Future<Output = T>) -> Result<T, CallError> {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| {
                handle.block_on(async {
                    tokio::select! {
                        done = work => Ok(done),
                        Ok(()) = tokio::signal::ctrl_c() => Err(CallError::new("interrupted")),
                    }
                })
            })
        }
        _ => Err(CallError::new(
            "functions of providers can be called on a runtime of several threads only",
        )),
    }
}
