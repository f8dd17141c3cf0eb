//! Filters, tests and lookups that are written in Python.

use std::sync::Arc;

use consort_jinja::{
    Arguments, Error as JinjaError, Explained, Filter, Result, State, Str, Test, Value,
};
use serde_json::{Map, Value as Json, json};

use super::wire::{self, Handles};
use super::{Bridge, Error, nothing};
use crate::template::{ForeignLookup, Plugins, Warned};

/// A plugin that was looked for: none if there is no such.
pub(super) type Looked = std::result::Result<Option<Found>, Error>;

/// A plugin that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The name it is called by.
    name: String,
    /// It is given what is undefined, too.
    takes_undefined: bool,
    /// Why it could not be loaded.
    failed: Option<String>,
}

impl Bridge {
    fn find(&self, kind: &'static str, name: &str) -> Looked {
        let key = (kind, name.to_owned());
        if let Some(known) = self.0.found.lock().get(&key) {
            return known.clone();
        }
        let found = self
            .call("find", json!({"kind": kind, "name": name}), &mut nothing)
            .map(|found| {
                let text = |field: &str| found[field].as_str().map(str::to_owned);
                found.is_object().then(|| Found {
                    name: text("name").unwrap_or_else(|| name.to_owned()),
                    takes_undefined: found["undefined"] == Json::Bool(true),
                    failed: text("failed"),
                })
            });
        // Where there is no ansible-core, a plain name that no collection took over and no directory here could hold is
        // misspelt.
        let found = match found {
            Err(Error::Absent(_))
                if !name.contains('.')
                    && !self.has_beside(&format!("{kind}_plugins"))
                    && !crate::language::has_moved(kind, name) =>
            {
                Ok(None)
            }
            found => found,
        };
        self.0.found.lock().insert(key, found.clone());
        found
    }

    /// Whether a plugin beside a playbook or in a role has the name of one of `ansible.builtin`.
    fn overrides(&self, kind: &str, name: &str) -> bool {
        let (kind, directory) = match kind {
            "filter" => ("filter", "filter_plugins"),
            "test" => ("test", "test_plugins"),
            _ => ("lookup", "lookup_plugins"),
        };
        !name.contains('.')
            && self.has_beside(directory)
            && matches!(self.find(kind, name), Ok(Some(found)) if !found.name.contains('.'))
    }

    /// Runs a plugin, answers what it asks of variables, and tells what it warned of.
    fn run(
        &self,
        state: &mut State<'_, '_>,
        op: &str,
        mut handles: Handles,
        payload: Map<String, Json>,
    ) -> Result<Value> {
        let process = self.process().map_err(failure)?;
        let variables = state.variables();
        let done = self
            .ask_with(op, Json::Object(payload), &mut handles, variables)
            .map_err(|error| {
                if let Error::Refused(refusal) = &error {
                    for warned in &refusal.warned {
                        self.warn(state, warned);
                    }
                }
                failure(error)
            })?;
        let Json::Object(mut done) = done else {
            return Ok(Value::None);
        };
        for warned in done
            .get("warned")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            self.warn(state, warned);
        }
        Ok(wire::read(
            &process,
            done.remove("value").unwrap_or(Json::Null),
        ))
    }

    fn warn(&self, state: &State<'_, '_>, warned: &Json) {
        let Some(warn) = self.0.warn.get() else {
            return;
        };
        let text = |name: &str| warned[name].as_str().map(str::to_owned);
        let message = text("message").unwrap_or_default();
        let about = state.current().cloned();
        warn(if warned["deprecated"] == Json::Bool(true) {
            Warned::Deprecation {
                message,
                removal: super::located::removal(warned),
                about,
                help: text("help"),
            }
        } else {
            Warned::Warning {
                message,
                about: None,
                help: text("help"),
            }
        });
    }
}

/// What a plugin refused, with its causes.
fn failure(error: Error) -> JinjaError {
    let Error::Refused(refusal) = error else {
        return JinjaError::failed(error.to_string());
    };
    let mut found: Option<JinjaError> = None;
    for part in refusal.chain.iter().rev() {
        let message = part["message"].as_str().unwrap_or_default().to_owned();
        let origin = wire::place(&part["origin"]);
        if found.is_none() && origin.is_none() && part["help"].is_null() {
            found = Some(JinjaError::failed(message));
            continue;
        }
        found = Some(JinjaError::Explained(Arc::new(Explained {
            message,
            template: origin.map(|origin| Str::new("").written_at(origin)),
            help: part["help"].as_str().map(str::to_owned),
            cause: found,
        })));
    }
    found.unwrap_or_else(|| JinjaError::failed(&refusal.message))
}

/// A plugin that is not to be had, for a reason.
fn broken(kind: &str, name: &str, why: &str) -> JinjaError {
    JinjaError::failed(format!(
        "The {kind} plugin {} failed to load. {why}",
        consort_jinja::repr::string(name)
    ))
}

impl consort_jinja::Plugins for Bridge {
    fn filter(&self, name: &str) -> Option<Arc<Filter>> {
        let bridge = self.clone();
        let name = name.to_owned();
        Some(match self.find("filter", &name) {
            Ok(None) => return None,
            Err(error) => {
                let why = broken("filter", &name, &error.to_string());
                Arc::new(move |_, _, _| Err(why.clone()))
            }
            Ok(Some(Found {
                failed: Some(why), ..
            })) => Arc::new(move |_, _, _| Err(JinjaError::failed(&why))),
            Ok(Some(_)) => Arc::new(move |state, value, arguments| {
                let (handles, payload) = jinja_call(&name, &value, arguments);
                bridge.run(state, "filter", handles, payload)
            }),
        })
    }

    fn test(&self, name: &str) -> Option<Arc<Test>> {
        let bridge = self.clone();
        let name = name.to_owned();
        Some(match self.find("test", &name) {
            Ok(None) => return None,
            Err(error) => {
                let why = broken("test", &name, &error.to_string());
                Arc::new(move |_, _, _| Err(why.clone()))
            }
            Ok(Some(Found {
                failed: Some(why), ..
            })) => Arc::new(move |_, _, _| Err(JinjaError::failed(&why))),
            Ok(Some(_)) => Arc::new(move |state, value, arguments| {
                let (handles, payload) = jinja_call(&name, &value, arguments);
                bridge.run(state, "test", handles, payload)?.truth()
            }),
        })
    }

    fn overrides(&self, kind: &str, name: &str) -> bool {
        Bridge::overrides(self, kind, name)
    }

    fn takes_undefined(&self, kind: &str, name: &str) -> bool {
        let kind = if kind == "filter" { "filter" } else { "test" };
        matches!(self.find(kind, name), Ok(Some(found)) if found.takes_undefined)
    }

    fn full_name(&self, kind: &str, name: &str) -> Option<String> {
        let kind = if kind == "filter" { "filter" } else { "test" };
        match self.find(kind, name) {
            Ok(Some(found)) => Some(found.name),
            _ => None,
        }
    }
}

fn jinja_call(name: &str, value: &Value, arguments: &Arguments) -> (Handles, Map<String, Json>) {
    let mut handles = Handles::default();
    let mut payload = wire::arguments_of(&mut handles, arguments);
    payload.insert("name".to_owned(), name.into());
    payload.insert("value".to_owned(), handles.write(value));
    (handles, payload)
}

impl Plugins for Bridge {
    fn lookup(&self, name: &str) -> Option<ForeignLookup> {
        let bridge = self.clone();
        let name = name.to_owned();
        Some(match self.find("lookup", &name) {
            Ok(None) => return None,
            Err(error) => {
                let why = broken("lookup", &name, &error.to_string());
                ForeignLookup {
                    takes_undefined: false,
                    run: Arc::new(move |_, _, _| Err(why.clone())),
                }
            }
            Ok(Some(Found {
                failed: Some(why), ..
            })) => ForeignLookup {
                takes_undefined: false,
                run: Arc::new(move |_, _, _| Err(JinjaError::failed(&why))),
            },
            Ok(Some(found)) => ForeignLookup {
                takes_undefined: found.takes_undefined,
                run: Arc::new(move |state, arguments, as_with| {
                    let mut handles = Handles::default();
                    let mut payload = wire::arguments_of(&mut handles, arguments);
                    if let Some(terms) = payload.remove("positional") {
                        payload.insert("terms".to_owned(), terms);
                    }
                    payload.insert("name".to_owned(), name.as_str().into());
                    payload.insert("as_with".to_owned(), as_with.into());
                    bridge
                        .run(state, "lookup", handles, payload)?
                        .defined()?
                        .iterate()
                }),
            },
        })
    }

    fn look_in(&self, directory: &std::path::Path) {
        Bridge::look_in(self, directory);
    }

    fn bridge(&self) -> Option<&Bridge> {
        Some(self)
    }

    fn warn_by(&self, warn: &Arc<dyn Fn(Warned) + Send + Sync>) {
        let _ = self.0.warn.set(Arc::clone(warn));
    }
}
