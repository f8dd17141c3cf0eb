//! Renders values, evaluates conditions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{
    Arguments, Environment, Error as JinjaError, Replaced, State, Str, Syntax, Value, Variables,
    Writing,
};

use super::context::Context;
use super::error::Error;
use super::{filters, globals, inner, lookups, tests};
use crate::bridge::Bridge;
use crate::paths::Surroundings;
use crate::settings::Sources;
use crate::source::{Located, Reader, Removal};

/// Something to be told to the user.
#[derive(Clone, Debug)]
pub enum Warned {
    /// A warning, with the text it is about.
    Warning {
        /// What.
        message: String,
        /// The text it is about.
        about: Option<Str>,
        /// What may help.
        help: Option<String>,
    },
    /// Something that will go away.
    Deprecation {
        /// What.
        message: String,
        /// When, and from where.
        removal: Removal,
        /// The text it is about.
        about: Option<Str>,
        /// What may help.
        help: Option<String>,
    },
}

/// A lookup beside those of `ansible.builtin`: gives its items. It is told whether it stands in `with_NAME`.
pub type Lookup =
    dyn Fn(&mut State<'_, '_>, &Arguments, bool) -> consort_jinja::Result<Vec<Value>> + Send + Sync;

/// A lookup beside those of `ansible.builtin`, and what it takes.
#[derive(Clone)]
pub struct ForeignLookup {
    /// What it does.
    pub run: Arc<Lookup>,
    /// What is undefined is given to it, too.
    pub takes_undefined: bool,
}

/// Finds filters, tests and lookups that are not of `ansible.builtin`, when they are first asked for.
pub trait Plugins: consort_jinja::Plugins {
    /// A lookup by its name.
    fn lookup(&self, name: &str) -> Option<ForeignLookup>;

    /// Looks for plugins in a playbook's or role's directory too.
    fn look_in(&self, _directory: &Path) {}

    /// The way to plugins of other kinds.
    fn bridge(&self) -> Option<&Bridge> {
        None
    }

    /// Says who is told of what these plugins warn of.
    fn warn_by(&self, _warn: &Arc<dyn Fn(Warned) + Send + Sync>) {}
}

/// The name under which variables tell the action of the task they are of: lookups look for files by it. No play can
/// have a variable of this name.
pub const TASK_ACTION: &str = " action";

/// How templates are rendered.
#[derive(Clone)]
pub struct TemplarOptions {
    /// The directory of the playbook.
    pub basedir: PathBuf,
    /// Whether `do`, `break` and `continue` are known (`jinja2_extensions`).
    pub extensions: bool,
    /// Whether a condition may give something else than true or false (`ALLOW_BROKEN_CONDITIONALS`).
    pub allow_broken_conditionals: bool,
    /// Whether texts within conditions and lookups are taken for templates (`ALLOW_EMBEDDED_TEMPLATES`).
    pub allow_embedded_templates: bool,
    /// Reads YAML, and files that may be encrypted.
    pub reader: Reader,
    /// The environment, and the directory commands begin in.
    pub surroundings: Surroundings,
    /// Settings, for the lookup `config`.
    pub sources: Arc<Sources>,
    /// `DEFAULT_MANAGED_STR`: what the variable `ansible_managed` is.
    pub managed: String,
    /// Filters, tests and lookups beside those of `ansible.builtin`.
    pub plugins: Option<Arc<dyn Plugins>>,
    /// Who is told of warnings.
    pub warn: Arc<dyn Fn(Warned) + Send + Sync>,
}

impl Default for TemplarOptions {
    fn default() -> Self {
        TemplarOptions {
            basedir: PathBuf::from("."),
            extensions: false,
            allow_broken_conditionals: false,
            allow_embedded_templates: true,
            reader: Reader::new(),
            surroundings: Surroundings::of_process(),
            sources: Arc::new(Sources::default()),
            managed: "Ansible managed".to_owned(),
            plugins: None,
            warn: Arc::new(|_| {}),
        }
    }
}

/// Renders values and evaluates conditions. Clones share everything.
#[derive(Clone)]
pub struct Templar {
    inner: Arc<Inner>,
}

struct Inner {
    environment: Environment,
    context: Arc<Context>,
}

const UNTRUSTED: &str = "Encountered untrusted template or expression.";
const UNTRUSTED_HELP: &str = "Templates and expressions must be defined by trusted sources such as playbooks or roles, not untrusted sources such as module results.";
const BROKEN_HELP: &str = "Broken conditionals can be temporarily allowed with the `ALLOW_BROKEN_CONDITIONALS` configuration option.";
const BROKEN_ALLOWED: &str = "Broken conditionals are currently allowed because the `ALLOW_BROKEN_CONDITIONALS` configuration option is enabled.";

impl Templar {
    /// With the filters, tests and lookups of `ansible.builtin`.
    pub fn new(options: &TemplarOptions) -> Self {
        let mut environment = Environment::new(Syntax {
            trim_blocks: true,
            literal_backslashes: true,
            extensions: options.extensions,
            ..Syntax::default()
        });
        environment.set_namespace("ansible.builtin");
        let context = Arc::new(Context {
            options: options.clone(),
        });
        filters::add(&mut environment, &context);
        tests::add(&mut environment, &context);
        lookups::add(&mut environment, &context);
        globals::add(&mut environment);
        inner::add(&mut environment);
        if let Some(plugins) = &options.plugins {
            plugins.warn_by(&options.warn);
            environment.set_plugins(Arc::clone(plugins) as Arc<dyn consort_jinja::Plugins>);
        }
        if options.allow_embedded_templates {
            let warn = Arc::clone(&options.warn);
            environment.on_constant(Arc::new(move |text, template| {
                let mut about = Str::new(Arc::clone(text.shared()));
                if let Some(origin) = template.and_then(Str::origin) {
                    about = about.written_at(Arc::clone(origin));
                }
                warn(Warned::Warning {
                    message: "Jinja constant strings should not contain embedded templates. This feature will be disabled by \
                              default in ansible-core 2.23."
                        .to_owned(),
                    about: Some(about),
                    help: Some(
                        "Use inline expressions, for example: `msg: \"{{ lookup('env', '{{ a_var }}') }}\"` becomes \
                         `msg: \"{{ lookup('env', a_var) }}\"`"
                            .to_owned(),
                    ),
                });
            }));
        }
        watch_untrusted(&mut environment, options);
        Templar {
            inner: Arc::new(Inner {
                environment,
                context,
            }),
        }
    }

    /// How it was made.
    pub fn options(&self) -> &TemplarOptions {
        &self.inner.context.options
    }

    /// The way to plugins that are written in Python.
    pub fn bridge(&self) -> Option<&Bridge> {
        self.options().plugins.as_ref()?.bridge()
    }

    /// What templates know.
    pub fn environment(&self) -> &Environment {
        &self.inner.environment
    }

    /// Renders every template in a value, however deep. Entries that are `omit` are left out; a value that is `omit`
    /// itself is given as that ([`consort_jinja::is_omit`]).
    ///
    /// # Errors
    /// A template is wrong, something went wrong in it, or something is undefined.
    pub fn render(&self, value: &Value, variables: &dyn Variables) -> Result<Value, Error> {
        match value {
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Big(_) => {
                return Ok(value.clone());
            }
            Value::Str(text) if !text.is_template() => {
                self.inner.environment.untrusted_met(text)?;
                return Ok(value.clone());
            }
            Value::Str(text) if !self.inner.environment.may_be_template(text) => {
                return Ok(value.clone());
            }
            _ => {}
        }
        let rendered = self
            .inner
            .environment
            .render_value(value, variables)
            .and_then(Value::defined)
            .map_err(|error| Error::of(error.in_template("template", text_of(value))))?;
        Ok(rendered)
    }

    /// Renders a text into text: what `str()` makes of what comes of it, nothing of `None`.
    ///
    /// # Errors
    /// As of [`Templar::render`].
    pub fn render_text(&self, text: &Str, variables: &dyn Variables) -> Result<Str, Error> {
        match self.render(&Value::Str(text.clone()), variables)? {
            Value::Str(text) => Ok(text),
            Value::None => Ok(Str::new("")),
            value => value.text().map_err(Error::of),
        }
    }

    /// Renders the text of a file, which may have delimiters of its own and include others.
    ///
    /// # Errors
    /// As of [`Templar::render`].
    pub fn render_file(
        &self,
        text: &Str,
        writing: &Writing,
        variables: &dyn Variables,
    ) -> Result<Value, Error> {
        self.inner
            .environment
            .render_written(text, variables, writing)
            .and_then(Value::defined)
            .map_err(|error| Error::of(error.in_template("template", Some(text))))
    }

    /// Evaluates an expression, as in `{{ }}` but without the braces.
    ///
    /// # Errors
    /// As of [`Templar::render`]; the expression is not trusted.
    pub fn evaluate(&self, expression: &Str, variables: &dyn Variables) -> Result<Value, Error> {
        self.evaluate_inner(expression, variables, false)
    }

    /// Renders a value as [`Templar::render`] does, with a text in the place of whatever cannot be rendered, and the
    /// warnings there are of that.
    ///
    /// # Errors
    /// What is wrong with a template itself.
    pub fn render_replacing(
        &self,
        value: &Value,
        variables: &dyn Variables,
    ) -> Result<(Value, Vec<Located>), Error> {
        let (value, replaced) = self
            .inner
            .environment
            .render_replacing(value, variables)
            .map_err(|error| Error::of(error.in_template("template", text_of(value))))?;
        Ok((value, warnings(replaced)))
    }

    /// Evaluates an expression as [`Templar::evaluate`] does, with a text in the place of what is undefined in it, and the
    /// warnings there are of that.
    ///
    /// # Errors
    /// As of [`Templar::evaluate`], but for what is undefined.
    pub fn evaluate_replacing(
        &self,
        expression: &Str,
        variables: &dyn Variables,
    ) -> Result<(Value, Vec<Located>), Error> {
        Self::trusted(expression)?;
        let (value, replaced) = self
            .inner
            .environment
            .evaluate_replacing(expression, variables)
            .map_err(|error| Error::of(error.in_template("expression", Some(expression))))?;
        Ok((value, warnings(replaced)))
    }

    fn trusted(expression: &Str) -> Result<(), Error> {
        if expression.is_template() {
            return Ok(());
        }
        Err(Error::new(UNTRUSTED, Some(expression)).with_help(UNTRUSTED_HELP))
    }

    fn evaluate_inner(
        &self,
        expression: &Str,
        variables: &dyn Variables,
        constants: bool,
    ) -> Result<Value, Error> {
        Self::trusted(expression)?;
        let value = self
            .inner
            .environment
            .evaluate_with(expression, variables, constants)
            .and_then(Value::defined)
            .map_err(|error| Error::of(error.in_template("expression", Some(expression))))?;
        Ok(match (value, expression.origin()) {
            (Value::Str(text), Some(origin)) if text.origin().is_none() => {
                Value::Str(text.written_at(Arc::clone(origin)))
            }
            (value, _) => value,
        })
    }

    /// Whether a condition holds: an expression as `when` has it, or true or false.
    ///
    /// # Errors
    /// As of [`Templar::evaluate`]; what comes of it is neither true nor false.
    pub fn conditional(&self, condition: &Value, variables: &dyn Variables) -> Result<bool, Error> {
        let about = text_of(condition).cloned();
        let result = self.condition_value(condition, variables)?;
        if let Value::Bool(holds) = result {
            return Ok(holds);
        }
        let truth = result.truth().map_err(Error::of)?;
        let message = format!(
            "Conditional result ({}) was derived from value of type {} at {}. Conditionals must have a boolean result.",
            if truth { "True" } else { "False" },
            consort_jinja::repr::string(result.type_name()),
            consort_jinja::repr::string(
                &crate::source::origin_of(&result)
                    .map_or_else(|| "<unknown>".to_owned(), |origin| super::place(&origin))
            ),
        );
        if self.inner.context.options.allow_broken_conditionals {
            self.deprecated(message, about, Some(BROKEN_ALLOWED));
            return Ok(truth);
        }
        Err(Error::new(message, about.as_ref()).with_help(BROKEN_HELP))
    }

    fn condition_value(
        &self,
        condition: &Value,
        variables: &dyn Variables,
    ) -> Result<Value, Error> {
        let condition = match self.not_empty(condition)? {
            Value::Bool(holds) => return Ok(Value::Bool(holds)),
            condition => condition,
        };
        let within = |error: Error| {
            if !error.undefined {
                return error;
            }
            Error {
                message: "Error while evaluating conditional.".to_owned(),
                template: text_of(&condition).cloned(),
                help: None,
                cause: Some(Box::new(error)),
                undefined: true,
            }
        };
        let Value::Str(text) = &condition else {
            if self.inner.context.options.allow_broken_conditionals {
                return self.render(&condition, variables).map_err(within);
            }
            return Err(
                Error::new("Conditional expressions must be strings.", None).with_help(BROKEN_HELP)
            );
        };
        let expression = if all_template(text) {
            let result = self.render(&condition, variables).map_err(within)?;
            match self.not_empty(&result)? {
                Value::Str(expression) => expression,
                result => {
                    self.deprecated(
                        "Conditionals should not be surrounded by templating delimiters such as {{ }} or {% %}."
                            .to_owned(),
                        Some(text.clone()),
                        None,
                    );
                    return Ok(result);
                }
            }
        } else {
            text.clone()
        };
        self.evaluate_inner(
            &expression,
            variables,
            self.inner.context.options.allow_embedded_templates,
        )
        .map_err(within)
    }

    /// The condition without blanks around it; nothing at all is no condition.
    fn not_empty(&self, condition: &Value) -> Result<Value, Error> {
        let condition = match condition {
            Value::Str(text) => {
                let stripped = text.trim();
                if stripped.len() == text.len() {
                    condition.clone()
                } else {
                    let mut shorter = if text.is_template() {
                        Str::template(stripped)
                    } else {
                        Str::new(stripped)
                    };
                    if let Some(origin) = text.origin() {
                        shorter = shorter.written_at(Arc::clone(origin));
                    }
                    Value::Str(shorter)
                }
            }
            other => other.clone(),
        };
        if matches!(condition, Value::None) || condition.as_str() == Some("") {
            if self.inner.context.options.allow_broken_conditionals {
                self.deprecated(
                    "Empty conditional expression was evaluated as True.".to_owned(),
                    text_of(&condition).cloned(),
                    Some(BROKEN_ALLOWED),
                );
                return Ok(Value::Bool(true));
            }
            return Err(Error::new(
                "Empty conditional expressions are not allowed.",
                text_of(&condition),
            )
            .with_help(BROKEN_HELP));
        }
        Ok(condition)
    }

    fn deprecated(&self, message: String, about: Option<Str>, help: Option<&str>) {
        (self.inner.context.options.warn)(Warned::Deprecation {
            message,
            removal: Removal::of_core("2.23"),
            about,
            help: help.map(str::to_owned),
        });
    }

    /// Whether a value is, or holds, a template.
    pub fn is_template(&self, value: &Value) -> bool {
        match value {
            Value::Str(text) => text.is_template() && self.inner.environment.may_be_template(text),
            Value::List(list) => {
                list.may_hold_templates() && list.read().iter().any(|item| self.is_template(item))
            }
            Value::Dict(dict) => {
                dict.may_hold_templates()
                    && dict.read().values().any(|value| self.is_template(value))
            }
            _ => false,
        }
    }

    /// Runs a lookup as `with_NAME` does: gives its items. Undefined terms are dropped where the lookup allows that.
    ///
    /// # Errors
    /// There is no such lookup, or it failed.
    pub fn lookup(
        &self,
        name: &str,
        terms: &Value,
        variables: &dyn Variables,
    ) -> Result<Vec<Value>, Error> {
        let about = text_of(terms);
        let mut state = self.inner.environment.state(variables);
        let terms = state.access(terms.clone());
        let terms = match &terms {
            Value::List(list) => list.read().clone(),
            Value::Tuple(items) => items.to_vec(),
            Value::Undefined(undefined) if undefined.error.is_some() => {
                return Err(Error::of(
                    undefined.as_error().in_template("template", about),
                ));
            }
            other => vec![other.clone()],
        };
        let terms = terms.into_iter().map(|term| state.access(term)).collect();
        let arguments = Arguments {
            positional: terms,
            named: vec![("wantlist".into(), Value::Bool(true))],
        };
        lookups::invoke(&self.inner.context, &mut state, name, arguments, true)
            .and_then(Value::defined)
            .and_then(|found| state.ready(found))
            .and_then(|found| found.iterate())
            .map_err(|error| Error::of(error.in_template("template", about)))
    }
}

/// Tells of texts that look like templates and may not be taken for such, where that is asked for
/// (`_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR`).
fn watch_untrusted(environment: &mut Environment, options: &TemplarOptions) {
    let behaviour = options
        .sources
        .raw(&["_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR"], &[]);
    let fails = match behaviour.as_ref().map(|(text, _)| text.as_str()) {
        Some("warning") => false,
        Some("error") => true,
        _ => return,
    };
    let warn = Arc::clone(&options.warn);
    environment.on_untrusted(Arc::new(move |text| {
        if fails {
            return Err(JinjaError::Explained(Arc::new(consort_jinja::Explained {
                message: UNTRUSTED.to_owned(),
                template: Some(text.clone()),
                help: Some(UNTRUSTED_HELP.to_owned()),
                cause: None,
            })));
        }
        warn(Warned::Warning {
            message: UNTRUSTED.to_owned(),
            about: Some(text.clone()),
            help: Some(UNTRUSTED_HELP.to_owned()),
        });
        Ok(())
    }));
}

/// What to warn of where texts took the place of what could not be rendered: a warning for each template.
fn warnings(replaced: Vec<Replaced>) -> Vec<Located> {
    let mut all: Vec<(Option<Str>, Vec<String>)> = Vec::new();
    for (index, one) in replaced.into_iter().enumerate() {
        let line = format!("error {} - {}", index + 1, Error::of(one.error));
        match all.last_mut() {
            Some((template, lines)) if template.as_deref() == one.template.as_deref() => {
                lines.push(line);
            }
            _ => all.push((one.template, vec![line])),
        }
    }
    all.into_iter()
        .map(|(template, lines)| {
            let warning = Located::new(format!(
                "Encountered {} template error{}.\n{}",
                lines.len(),
                if lines.len() == 1 { "" } else { "s" },
                lines.join("\n")
            ));
            match template {
                Some(template) => warning.about(&Value::Str(template)),
                None => warning,
            }
        })
        .collect()
}

/// Whether a text is one template from beginning to end.
fn all_template(text: &str) -> bool {
    text.starts_with(Syntax::HEADER)
        || ["{%", "{{", "{#"]
            .iter()
            .any(|start| text.starts_with(start))
            && ["%}", "}}", "#}"].iter().any(|end| text.ends_with(end))
}

fn text_of(value: &Value) -> Option<&Str> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

impl From<JinjaError> for Error {
    fn from(error: JinjaError) -> Self {
        Error::of(error)
    }
}
