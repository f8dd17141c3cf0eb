//! States and plans encrypted, whatever keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Sources, Value};
use consort_infra::config::{GivenValues, Module};
use consort_infra::encryption::{Context, Encryption, VARIABLE};
pub(super) use consort_infra::session::{journal_seal, opened, opened_plan, sealed};

use super::place::Place;
use super::session;

/// What is to be encrypted here, and the warnings about that.
pub(super) fn load(
    place: &Place,
    module: Option<&Module>,
    sources: &mut Sources,
) -> Result<(Encryption, Diagnostics), Diagnostics> {
    let environment = std::env::var(VARIABLE).ok();
    let configured = module.is_some_and(|module| module.encryption.is_some());
    if !configured
        && environment
            .as_ref()
            .is_none_or(|text| text.trim().is_empty())
    {
        return Ok((Encryption::default(), Diagnostics::new()));
    }
    let variables = variables(place, module, sources);
    let functions = session::language(false, "");
    let context = Context {
        variables: &variables,
        functions: &functions,
    };
    let (encryption, diagnostics) =
        Encryption::read(module, environment.as_deref(), &context, sources);
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok((encryption, diagnostics))
    }
}

/// Whether anything is to be encrypted here.
pub(super) fn is_configured(place: &Place, sources: &mut Sources) -> bool {
    let module = place.root_module(sources).ok().flatten();
    module.is_some_and(|module| module.encryption.is_some())
        || std::env::var(VARIABLE).is_ok_and(|text| !text.trim().is_empty())
}

/// The values of variables that can be told without asking; what is wrong with the others is told when they are
/// needed.
fn variables(
    place: &Place,
    module: Option<&Module>,
    sources: &mut Sources,
) -> BTreeMap<Arc<str>, Value> {
    let Some(module) = module else {
        return BTreeMap::new();
    };
    let (given, found) = GivenValues::collect(
        place.root(),
        session::environment(),
        &place.variables,
        sources,
    );
    if found.has_errors() {
        return BTreeMap::new();
    }
    let (values, _) = given.resolve(&module.variables, None, sources);
    values
        .into_iter()
        .map(|(name, value)| (name, value.value))
        .collect()
}
