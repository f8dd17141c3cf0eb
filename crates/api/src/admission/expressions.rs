//! What expressions of webhooks and policies may use, and what it stands for in a request.

use super::Request;
use crate::error::Outcome;
use crate::handlers::read::store_failure;
use crate::identity::{Attributes, User};
use consort_cel::libraries::authorizer::{Authorizer, Check, Decision, Subject, Target};
use consort_cel::{Bindings, Budget, Env, EvalError, Program, Type, Value as Cel};
use consort_store::Key;
use serde_json::Value;
use std::fmt;

/// What the expressions of a webhook's `matchConditions` may use.
pub(super) fn conditions_env() -> Env {
    declare(Env::kubernetes(), &Type::Dyn)
}

/// What the expressions of a policy may use. `object` is of this type (`Dyn` where any kind may come).
pub(super) fn policy_env(base: Env, params: bool, object: &Type) -> Env {
    let env = declare(base, object).with("namespaceObject", Type::namespace());
    if params {
        env.with("params", Type::Dyn)
    } else {
        env
    }
}

fn declare(env: Env, object: &Type) -> Env {
    env.with("object", object.clone())
        .with("oldObject", object.clone())
        .with("request", Type::admission_request())
        .with("authorizer", Type::AUTHORIZER)
        .with("authorizer.requestResource", Type::RESOURCE_CHECK)
}

/// Answers `authorizer` checks for the user of a request.
struct Asker<'a>(Request<'a>);

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asker").field(&self.0.user.name).finish()
    }
}

impl Authorizer for Asker<'_> {
    fn check(&self, check: &Check) -> Decision {
        let account;
        let user = match &check.subject {
            Subject::Requester => self.0.user,
            Subject::ServiceAccount(namespace, name) => {
                account = User::service_account(namespace, name, "");
                &account
            }
        };
        let wanted = match &check.target {
            Target::Path(path) => Attributes {
                verb: &check.verb,
                path,
                ..Attributes::default()
            },
            Target::Resource {
                group,
                resource,
                subresource,
                namespace,
                name,
                ..
            } => Attributes {
                verb: &check.verb,
                group,
                version: "*",
                resource,
                subresource,
                namespace,
                name,
                ..Attributes::default()
            },
        };
        let decision = self.0.inner.authorizer.authorize(user, &wanted);
        Decision {
            allowed: decision.allowed,
            reason: decision.reason,
            error: None,
        }
    }
}

/// The values that the variables of expressions have in one request, for one form of its object.
pub(super) struct Facts<'a> {
    request: Value,
    object: Value,
    old: Value,
    namespace: Value,
    asker: Asker<'a>,
}

impl<'a> Facts<'a> {
    /// `request` as [`Request::describe`] gives it; objects as they are shown.
    pub(super) fn new(
        of: &Request<'a>,
        request: Value,
        object: Option<Value>,
        old: Option<Value>,
    ) -> Self {
        Self {
            request,
            object: object.unwrap_or(Value::Null),
            old: old.unwrap_or(Value::Null),
            namespace: Value::Null,
            asker: Asker(*of),
        }
    }

    /// Read the namespace too, for policies.
    pub(super) fn with_namespace(mut self, of: &Request<'_>) -> Outcome<Self> {
        let name = self.request.get("namespace").and_then(Value::as_str);
        if let Some(name) = name
            && let Ok(key) = Key::new("", "namespaces", None, name)
            && let Some(object) = of.inner.store.get(&key).map_err(store_failure)?
        {
            self.namespace = object.value().map_err(crate::error::internal)?;
        }
        Ok(self)
    }

    /// The object, to be changed by a mutating policy.
    pub(super) fn object(&self) -> &Value {
        &self.object
    }

    /// Another state of the object.
    pub(super) fn set_object(&mut self, object: Value) {
        self.object = object;
    }

    /// The request, the object, the old object.
    pub(super) fn into_parts(self) -> (Value, Value, Value) {
        (self.request, self.object, self.old)
    }

    /// Bind the variables of [`conditions_env`] and [`policy_env`].
    pub(super) fn bindings<'b>(&'b self, params: Option<&'b Value>) -> Bindings<'b> {
        let field = |name: &str| {
            self.request
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = |name: &str| {
            self.request
                .get("resource")
                .and_then(|resource| resource.get(name))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let bindings = Bindings::new()
            .with("request", Cel::json(&self.request))
            .with("namespaceObject", Cel::json(&self.namespace))
            .with("object", Cel::json(&self.object))
            .with("oldObject", Cel::json(&self.old))
            .with("authorizer", Cel::authorizer(&self.asker))
            .with(
                "authorizer.requestResource",
                Cel::authorizer_resource(
                    &self.asker,
                    resource("group"),
                    resource("resource"),
                    field("subResource"),
                    field("namespace"),
                    field("name"),
                ),
            );
        bindings.with("params", params.map_or(Cel::Null, Cel::json))
    }
}

/// A named condition of a webhook or a policy.
#[derive(Debug)]
pub(super) struct Condition {
    name: String,
    program: Program,
}

/// What a list of conditions came to.
pub(super) enum Verdict {
    /// All hold.
    Holds,
    /// This one does not.
    Fails,
    /// None is false, and these had no answer.
    Errors(String),
}

impl Condition {
    /// Compile `matchConditions[]`.
    ///
    /// # Errors
    /// In words: what is wrong with which of them.
    pub(super) fn list(conditions: &[Value], env: &Env) -> Result<Vec<Self>, String> {
        conditions
            .iter()
            .map(|condition| {
                let name = crate::values::text(condition, &["name"]).to_owned();
                let text = crate::values::text(condition, &["expression"]);
                let program = env.compile(text, Some(&Type::Bool)).map_err(|issues| {
                    format!("match condition {name:?}: compilation failed: {issues}")
                })?;
                Ok(Self { name, program })
            })
            .collect()
    }

    /// Do all hold? One that is false decides, whatever errors the others have.
    pub(super) fn all(
        conditions: &[Self],
        bindings: &Bindings<'_>,
        budget: &mut Budget,
    ) -> Verdict {
        let mut errors = Vec::new();
        for condition in conditions {
            match truth(condition.program.evaluate(bindings, budget)) {
                Ok(true) => {}
                Ok(false) => return Verdict::Fails,
                Err(error) => errors.push(format!("matchCondition {:?}: {error}", condition.name)),
            }
        }
        if errors.is_empty() {
            Verdict::Holds
        } else {
            Verdict::Errors(errors.join(", "))
        }
    }
}

/// The truth value of an evaluation.
pub(super) fn truth(result: Result<Cel<'_>, EvalError>) -> Result<bool, String> {
    match result {
        Ok(value) => value
            .as_bool()
            .ok_or_else(|| format!("it gave a {}, not a bool", value.type_name())),
        Err(error) => Err(error.to_string()),
    }
}

/// What is wrong with a condition of a webhook, if anything is.
pub(crate) fn condition_fault(expression: &str) -> Option<String> {
    let compiled = conditions_env().compile(expression, Some(&Type::Bool));
    compiled
        .err()
        .map(|issues| format!("compilation failed: {issues}"))
}
