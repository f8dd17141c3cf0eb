//! What filters, tests and lookups know of the run they are in.

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Error, Result, State, Str, Value};

use super::templar::{TemplarOptions, Warned};
use crate::source::Removal;

/// What filters, tests and lookups know of the run they are in.
pub(super) struct Context {
    pub(super) options: TemplarOptions,
}

impl Context {
    /// Tells of something that will go away.
    pub(super) fn deprecated(&self, message: String, about: Option<&Str>) {
        (self.options.warn)(Warned::Deprecation {
            message,
            removal: Removal::of_core("2.23"),
            about: about.cloned(),
            help: None,
        });
    }

    /// Tells of something that may be wrong.
    pub(super) fn warn(&self, message: String) {
        (self.options.warn)(Warned::Warning {
            message,
            about: None,
            help: None,
        });
    }

    /// The directories files are looked for in: `ansible_search_path`, else that of the role or playbook.
    pub(super) fn search_path(&self, state: &mut State<'_, '_>) -> Result<Vec<PathBuf>> {
        let path = state.name("ansible_search_path");
        if let Value::List(_) | Value::Tuple(_) = path {
            return path
                .iterate()?
                .iter()
                .map(|item| Ok(PathBuf::from(&*item.text()?)))
                .collect();
        }
        let role = state.name("role_path");
        Ok(vec![match role.as_str() {
            Some(role) => PathBuf::from(role),
            None => self.options.basedir.clone(),
        }])
    }
}

/// Runs what may wait, without keeping others from their work.
pub(super) fn blocking<T>(run: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(run)
        }
        _ => run(),
    }
}

/// The name of the type of a value as filters see it in ansible-core: containers are rendered when one looks at them, and
/// texts know where they come from.
pub(super) fn lazy_name(value: &Value) -> &str {
    match value {
        Value::List(_) => "_AnsibleLazyTemplateList",
        Value::Dict(_) => "_AnsibleLazyTemplateDict",
        Value::Tuple(_) => "_AnsibleLazyAccessTuple",
        Value::Str(text) if text.is_template() || text.origin().is_some() => "_AnsibleTaggedStr",
        value => value.type_name(),
    }
}

/// That type as `type()` shows it.
pub(super) fn class(value: &Value) -> String {
    let module = match value {
        Value::List(_) | Value::Dict(_) | Value::Tuple(_) => {
            "ansible._internal._templating._lazy_containers."
        }
        Value::Str(text) if text.is_template() || text.origin().is_some() => {
            "ansible.module_utils._internal._datatag."
        }
        _ => "",
    };
    format!("<class '{module}{}'>", lazy_name(value))
}

/// A filter that is used in the wrong way.
pub(super) fn refused<T>(message: impl AsRef<str>) -> Result<T> {
    Err(Error::failed(message))
}

/// A context that is shared by all that need it.
pub(super) type Shared = Arc<Context>;
