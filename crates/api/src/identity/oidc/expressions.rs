//! Expressions (CEL) over a token's claims, and over the user that was made of them.

use std::sync::{Arc, LazyLock};

use consort_cel::{Bindings, Budget, Decl, Env, Program, Type, Value};
use serde_json::{Value as Json, json};

use super::config::Error;
use crate::identity::user::User;

/// An expression, checked.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    program: Arc<Program>,
}

/// An expression that has to hold, and what is told when it does not.
#[derive(Clone, Debug)]
pub struct Rule {
    expression: Expression,
    message: String,
}

static CLAIMS: LazyLock<Env> = LazyLock::new(|| {
    let claims = Type::Map(Arc::new((Type::String, Type::Dyn)));
    Env::kubernetes().with("claims", claims)
});

static USER_FORM: LazyLock<Option<Decl>> = LazyLock::new(|| {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let schema = json!({"type": "object", "properties": {
        "username": {"type": "string"}, "uid": {"type": "string"}, "groups": texts,
        "extra": {"type": "object", "additionalProperties": texts},
    }});
    Decl::from_schema(&schema, false).map(|decl| decl.named("kubernetes.UserInfo"))
});

static USER: LazyLock<Env> = LazyLock::new(|| match &*USER_FORM {
    Some(form) => Env::kubernetes().with_decl("user", form),
    None => Env::kubernetes().with("user", Type::Dyn),
});

impl Expression {
    fn compile(env: &Env, at: &str, text: &str, wanted: Option<&Type>) -> Result<Self, Error> {
        let program = env.compile(text, wanted).map_err(|issues| Error::Invalid {
            field: at.to_owned(),
            why: format!("compilation failed: {issues}"),
        })?;
        Ok(Self {
            text: text.to_owned(),
            program: Arc::new(program),
        })
    }

    /// An expression over `claims` whose value becomes a part of the user.
    pub(super) fn over_claims(at: &str, text: &str) -> Result<Self, Error> {
        Self::compile(&CLAIMS, at, text, None)
    }

    /// Whether the text mentions something.
    pub(super) fn mentions(&self, what: &str) -> bool {
        self.text.contains(what)
    }

    fn over<'a>(&'a self, name: &'a str, value: Value<'a>) -> Result<Value<'a>, String> {
        let bindings = Bindings::new().with(name, value);
        self.program
            .evaluate(&bindings, &mut Budget::per_object())
            .map_err(|error| format!("expression '{}' resulted in error: {error}", self.text))
    }

    /// The one text the expression gives.
    pub(super) fn text(&self, claims: &Json) -> Result<String, String> {
        match self.over("claims", Value::json(claims))?.to_json() {
            Ok(Json::String(text)) => Ok(text),
            _ => Err(format!("expression '{}' must return a string", self.text)),
        }
    }

    /// The texts the expression gives: one, several, or none for null.
    pub(super) fn texts(&self, claims: &Json) -> Result<Vec<String>, String> {
        let wrong = || {
            format!(
                "expression '{}' must return a string or a list of strings",
                self.text
            )
        };
        let value = self.over("claims", Value::json(claims))?;
        match value.to_json().map_err(|_| wrong())? {
            Json::Null => Ok(Vec::new()),
            Json::String(text) if text.is_empty() => Ok(Vec::new()),
            Json::String(text) => Ok(vec![text]),
            Json::Array(list) => list
                .into_iter()
                .filter(|item| item.as_str() != Some(""))
                .map(|item| match item {
                    Json::String(text) => Ok(text),
                    _ => Err(wrong()),
                })
                .collect(),
            _ => Err(wrong()),
        }
    }
}

impl Rule {
    /// A rule over `claims`.
    pub(super) fn over_claims(at: &str, text: &str, message: String) -> Result<Self, Error> {
        Ok(Self {
            expression: Expression::compile(&CLAIMS, at, text, Some(&Type::Bool))?,
            message,
        })
    }

    /// A rule over `user`.
    pub(super) fn over_user(at: &str, text: &str, message: String) -> Result<Self, Error> {
        Ok(Self {
            expression: Expression::compile(&USER, at, text, Some(&Type::Bool))?,
            message,
        })
    }

    /// Whether the text mentions something.
    pub(super) fn mentions(&self, what: &str) -> bool {
        self.expression.mentions(what)
    }

    fn judge(&self, name: &str, value: Value<'_>) -> Result<(), String> {
        let held = self.expression.over(name, value)?.as_bool();
        match held {
            Some(true) => Ok(()),
            Some(false) => Err(format!(
                "validation expression '{}' failed: {}",
                self.expression.text, self.message
            )),
            None => Err("validation expression must return a boolean".to_owned()),
        }
    }

    /// Whether the rule holds for these claims.
    pub(super) fn hold(&self, claims: &Json) -> Result<(), String> {
        self.judge("claims", Value::json(claims))
    }

    /// Whether the rule holds for this user.
    pub(super) fn hold_for(&self, user: &User) -> Result<(), String> {
        let json = json!({"username": user.name, "uid": user.uid, "groups": user.groups,
            "extra": user.extra});
        match &*USER_FORM {
            Some(form) => self.judge("user", Value::typed(&json, form)),
            None => self.judge("user", Value::json(&json)),
        }
    }
}
