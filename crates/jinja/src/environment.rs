//! What templates know beside their variables: filters, tests, functions, and where other templates come from.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::arguments::Arguments;
use crate::ast::{Body, Expr};
use crate::error::{Error, Result};
use crate::eval::{Replaced, State};
use crate::lexer::{self, Syntax};
use crate::names::{Needs, Sort};
use crate::parser::Parser;
use crate::value::{Str, Value};

/// What a filter does.
pub type Filter = dyn Fn(&mut State<'_, '_>, Value, &Arguments) -> Result<Value> + Send + Sync;
/// What a test asks.
pub type Test = dyn Fn(&mut State<'_, '_>, Value, &Arguments) -> Result<bool> + Send + Sync;

/// Which values a filter or test takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Whatever is there. Where an argument is undefined, the result is that; templates in containers are rendered.
    Defined,
    /// Whatever is there, with the items of containers rendered, and templates within these left as they are. Where an
    /// argument or an item is undefined, the result is that.
    Items,
    /// Whatever is there, with templates in containers left for the filter to look at ([`State::access`]). Where an
    /// argument is undefined, the result is that.
    Lazily,
    /// What is undefined too.
    Anything,
}

pub(crate) struct Known<F: ?Sized> {
    pub(crate) takes: Takes,
    pub(crate) run: Arc<F>,
}

impl<F: ?Sized> Clone for Known<F> {
    fn clone(&self) -> Self {
        Known {
            takes: self.takes,
            run: Arc::clone(&self.run),
        }
    }
}

/// The variables a template can see.
pub trait Variables {
    /// The value of a variable, as it stands: a template in it is rendered by whoever asked.
    fn get(&self, name: &str) -> Option<Value>;
    /// The names of all.
    fn names(&self) -> Vec<Arc<str>>;
}

impl Variables for crate::value::Dict {
    fn get(&self, name: &str) -> Option<Value> {
        crate::value::Dict::get(self, name)
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.read()
            .keys()
            .filter_map(|key| key.as_str().map(Arc::from))
            .collect()
    }
}

/// Finds templates that others include, import or extend.
pub trait Loader: Send + Sync {
    /// The text of a template; none if there is no such one.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn load(&self, name: &str) -> Result<Option<Arc<str>>>;

    /// Where it looks, for who is told that there is none.
    fn searched(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Finds filters and tests when they are first asked for.
pub trait Plugins: Send + Sync {
    /// A filter by its name.
    fn filter(&self, name: &str) -> Option<Arc<Filter>>;
    /// A test by its name.
    fn test(&self, name: &str) -> Option<Arc<Test>>;

    /// Whether one of them (`filter`, `test`) is given what is undefined, too.
    fn takes_undefined(&self, _kind: &str, _name: &str) -> bool {
        false
    }

    /// Whether one of them takes the place of one that is known without it.
    fn overrides(&self, _kind: &str, _name: &str) -> bool {
        false
    }

    /// The name one of them is called by when it fails.
    fn full_name(&self, _kind: &str, _name: &str) -> Option<String> {
        None
    }
}

/// Is told of a text within an expression that was taken for a template, and of the template it stands in.
pub type ConstantUsed = dyn Fn(&Str, Option<&Str>) + Send + Sync;

/// Is asked about a text that looks like a template and may not be taken for one; gives an error where it is refused.
pub type UntrustedMet = dyn Fn(&Str) -> Result<()> + Send + Sync;

/// A template that is ready to be carried out.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) body: Body,
    /// How it is written, if its first line says so.
    pub(crate) syntax: Option<Arc<Syntax>>,
    needs: Arc<Needs>,
}

/// An expression that is ready to be evaluated.
#[derive(Clone)]
struct Ready {
    expression: Arc<Expr>,
    needs: Arc<Needs>,
}

/// How many compiled templates are kept.
const KEPT: usize = 4096;

/// How a template is written that is a whole file, or says so itself.
#[derive(Clone, Default)]
pub struct Writing {
    /// Its delimiters and what is done about whitespace; as usual if there is none.
    pub syntax: Option<Arc<Syntax>>,
    /// Whether a backslash in a string stands for itself where an expression is put out.
    pub literal_backslashes: bool,
    /// Where what it includes comes from.
    pub loader: Option<Arc<dyn Loader>>,
}

/// What templates know beside their variables.
pub struct Environment {
    pub(crate) syntax: Syntax,
    pub(crate) filters: HashMap<Arc<str>, Known<Filter>>,
    pub(crate) tests: HashMap<Arc<str>, Known<Test>>,
    pub(crate) globals: HashMap<Arc<str>, Value>,
    pub(crate) loader: Option<Arc<dyn Loader>>,
    namespace: Option<Arc<str>>,
    plugins: Option<Arc<dyn Plugins>>,
    constants: Option<Arc<ConstantUsed>>,
    untrusted: Option<Arc<UntrustedMet>>,
    templates: Mutex<HashMap<Arc<str>, Result<Compiled>>>,
    /// Templates that are written in other ways than is usual.
    #[allow(clippy::type_complexity)]
    others: Mutex<HashMap<(Arc<str>, Option<Arc<Syntax>>, bool), Result<Compiled>>>,
    expressions: Mutex<HashMap<Arc<str>, Result<Ready>>>,
}

impl Default for Environment {
    fn default() -> Self {
        Self::new(Syntax::default())
    }
}

impl Environment {
    /// With the filters, tests and functions of Jinja.
    pub fn new(syntax: Syntax) -> Self {
        let mut environment = Environment {
            syntax,
            filters: HashMap::new(),
            tests: HashMap::new(),
            globals: HashMap::new(),
            loader: None,
            namespace: None,
            plugins: None,
            constants: None,
            untrusted: None,
            templates: Mutex::default(),
            others: Mutex::default(),
            expressions: Mutex::default(),
        };
        crate::filters::add(&mut environment);
        crate::tests::add(&mut environment);
        crate::functions::add(&mut environment);
        environment
    }

    /// The same filters, tests and functions with another way of writing.
    #[must_use]
    pub fn with_syntax(&self, syntax: Syntax) -> Self {
        Environment {
            syntax,
            filters: self.filters.clone(),
            tests: self.tests.clone(),
            globals: self.globals.clone(),
            loader: self.loader.clone(),
            namespace: self.namespace.clone(),
            plugins: self.plugins.clone(),
            constants: self.constants.clone(),
            untrusted: self.untrusted.clone(),
            templates: Mutex::default(),
            others: Mutex::default(),
            expressions: Mutex::default(),
        }
    }

    /// How templates are written.
    pub fn syntax(&self) -> &Syntax {
        &self.syntax
    }

    /// Adds a filter, or puts one in the place of another.
    pub fn add_filter(
        &mut self,
        name: &str,
        takes: Takes,
        run: impl Fn(&mut State<'_, '_>, Value, &Arguments) -> Result<Value> + Send + Sync + 'static,
    ) {
        let run: Arc<Filter> = Arc::new(run);
        self.filters.insert(name.into(), Known { takes, run });
    }

    /// Adds a test, or puts one in the place of another.
    pub fn add_test(
        &mut self,
        name: &str,
        takes: Takes,
        run: impl Fn(&mut State<'_, '_>, Value, &Arguments) -> Result<bool> + Send + Sync + 'static,
    ) {
        let run: Arc<Test> = Arc::new(run);
        self.tests.insert(name.into(), Known { takes, run });
    }

    /// Adds a function or another value that every template knows; variables of the same name hide it.
    pub fn add_global(&mut self, name: &str, value: Value) {
        self.globals.insert(name.into(), value);
    }

    /// Says where other templates come from.
    pub fn set_loader(&mut self, loader: Arc<dyn Loader>) {
        self.loader = Some(loader);
    }

    /// The names of all filters.
    pub fn filter_names(&self) -> impl Iterator<Item = &str> {
        self.filters.keys().map(AsRef::as_ref)
    }

    /// The names of all tests.
    pub fn test_names(&self) -> impl Iterator<Item = &str> {
        self.tests.keys().map(AsRef::as_ref)
    }

    /// Says in which namespace the filters and tests are: they are known with it before their names, too, and are called
    /// so when they fail.
    pub fn set_namespace(&mut self, namespace: &str) {
        self.namespace = Some(namespace.into());
    }

    /// Says where filters and tests come from that are not known here.
    pub fn set_plugins(&mut self, plugins: Arc<dyn Plugins>) {
        self.plugins = Some(plugins);
    }

    /// Says who is told of texts within expressions that are taken for templates.
    pub fn on_constant(&mut self, told: Arc<ConstantUsed>) {
        self.constants = Some(told);
    }

    /// Says who is asked about texts that look like templates and may not be taken for such.
    pub fn on_untrusted(&mut self, asked: Arc<UntrustedMet>) {
        self.untrusted = Some(asked);
    }

    /// What there is to say against a text that looks like a template and may not be taken for one.
    ///
    /// # Errors
    /// Such texts are refused.
    pub fn untrusted_met(&self, text: &Str) -> Result<()> {
        match &self.untrusted {
            Some(asked) if self.may_be_template(text) => asked(text),
            _ => Ok(()),
        }
    }

    pub(crate) fn constant_used(&self, text: &Str, template: Option<&Str>) {
        if let Some(told) = &self.constants {
            told(text, template);
        }
    }

    fn short_name<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.namespace.as_deref()?)?
            .strip_prefix('.')
    }

    /// The name with its namespace, of a filter or a test.
    pub(crate) fn full_name(&self, kind: &str, name: &str) -> String {
        let own = match kind {
            "filter" => self.filters.contains_key(name),
            _ => self.tests.contains_key(name),
        } && !self.overridden(kind, name);
        match (&self.namespace, &self.plugins) {
            (Some(namespace), _) if own && !name.contains('.') => format!("{namespace}.{name}"),
            (_, Some(plugins)) if !own => plugins
                .full_name(kind, name)
                .unwrap_or_else(|| name.to_owned()),
            _ => name.to_owned(),
        }
    }

    fn overridden(&self, kind: &str, name: &str) -> bool {
        self.plugins
            .as_ref()
            .is_some_and(|plugins| plugins.overrides(kind, name))
    }

    fn taken(&self, kind: &str, name: &str) -> Takes {
        match &self.plugins {
            Some(plugins) if plugins.takes_undefined(kind, name) => Takes::Anything,
            _ => Takes::Defined,
        }
    }

    pub(crate) fn known_filter(&self, name: &str) -> Option<Known<Filter>> {
        self.filters
            .get(name)
            .filter(|_| !self.overridden("filter", name))
            .or_else(|| self.filters.get(self.short_name(name)?))
            .cloned()
            .or_else(|| {
                let run = self.plugins.as_ref()?.filter(name)?;
                Some(Known {
                    takes: self.taken("filter", name),
                    run,
                })
            })
    }

    pub(crate) fn known_test(&self, name: &str) -> Option<Known<Test>> {
        self.tests
            .get(name)
            .filter(|_| !self.overridden("test", name))
            .or_else(|| self.tests.get(self.short_name(name)?))
            .cloned()
            .or_else(|| {
                let run = self.plugins.as_ref()?.test(name)?;
                Some(Known {
                    takes: self.taken("test", name),
                    run,
                })
            })
    }

    /// Whether a filter of this name is known.
    pub fn has_filter(&self, name: &str) -> bool {
        self.known_filter(name).is_some()
    }

    /// Whether a test of this name is known.
    pub fn has_test(&self, name: &str) -> bool {
        self.known_test(name).is_some()
    }

    /// Whether a text may be a template: whether anything in it begins a tag.
    pub fn may_be_template(&self, text: &str) -> bool {
        if text.starts_with(Syntax::HEADER) {
            return true;
        }
        let syntax = &self.syntax;
        // Most texts have not even the character that all tags begin with.
        if syntax.block_start == "{%"
            && syntax.variable_start == "{{"
            && syntax.comment_start == "{#"
            && syntax.line_statement_prefix.is_none()
            && syntax.line_comment_prefix.is_none()
        {
            let bytes = text.as_bytes();
            return bytes
                .windows(2)
                .any(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'));
        }
        [
            Some(&syntax.block_start),
            Some(&syntax.variable_start),
            Some(&syntax.comment_start),
            syntax.line_statement_prefix.as_ref(),
            syntax.line_comment_prefix.as_ref(),
        ]
        .into_iter()
        .flatten()
        .any(|start| text.contains(start.as_str()))
    }

    /// A template ready to be carried out: parsed when it is first met, with all filters and tests that it must have.
    pub(crate) fn compiled(
        &self,
        source: &Arc<str>,
        syntax: Option<&Arc<Syntax>>,
        literal_backslashes: bool,
    ) -> Result<Compiled> {
        let compiled = self.parsed(source, syntax, literal_backslashes)?;
        self.check_names(&compiled.needs)?;
        Ok(compiled)
    }

    fn check_names(&self, needs: &Needs) -> Result<()> {
        needs.check(|sort, name| match sort {
            Sort::Filter => self.known_filter(name).is_some(),
            Sort::Test => self.known_test(name).is_some(),
        })
    }

    fn parsed(
        &self,
        source: &Arc<str>,
        syntax: Option<&Arc<Syntax>>,
        literal_backslashes: bool,
    ) -> Result<Compiled> {
        if syntax.is_none() && literal_backslashes == self.syntax.literal_backslashes {
            if let Some(known) = self.templates.lock().get(source) {
                return known.clone();
            }
            let compiled = Self::compile(source, &self.syntax);
            let mut kept = self.templates.lock();
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(Arc::clone(source), compiled.clone());
            return compiled;
        }
        let key = (Arc::clone(source), syntax.cloned(), literal_backslashes);
        if let Some(known) = self.others.lock().get(&key) {
            return known.clone();
        }
        let written = Syntax {
            literal_backslashes,
            ..syntax.map_or_else(|| self.syntax.clone(), |syntax| (**syntax).clone())
        };
        let compiled = Self::compile(source, &written);
        let mut kept = self.others.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, compiled.clone());
        compiled
    }

    fn compile(source: &str, syntax: &Syntax) -> Result<Compiled> {
        let (header, text) = match syntax.with_header(source)? {
            Some((header, text)) => (Some(Arc::new(header)), text),
            None => (None, source),
        };
        let syntax = header.as_deref().unwrap_or(syntax);
        let tokens = lexer::template(text, syntax)?;
        let body = Parser::new(tokens, syntax.extensions).template()?;
        Ok(Compiled {
            needs: Arc::new(Needs::of_template(&body)),
            body,
            syntax: header,
        })
    }

    fn expression(&self, source: &Arc<str>) -> Result<Arc<Expr>> {
        let ready = self.ready(source)?;
        self.check_names(&ready.needs)?;
        Ok(ready.expression)
    }

    fn ready(&self, source: &Arc<str>) -> Result<Ready> {
        if let Some(known) = self.expressions.lock().get(source) {
            return known.clone();
        }
        let parsed = lexer::expression(source, &self.syntax)
            .and_then(|tokens| Parser::new(tokens, self.syntax.extensions).whole_expression())
            .map(|expression| Ready {
                needs: Arc::new(Needs::of_expression(&expression)),
                expression: Arc::new(expression),
            });
        let mut kept = self.expressions.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(Arc::clone(source), parsed.clone());
        parsed
    }

    /// Whether a template can be parsed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, source: &str) -> Result<()> {
        Self::compile(source, &self.syntax).map(|_| ())
    }

    /// Renders a template: gives the value of its only tag, or text when there is more in it. What is undefined comes
    /// as that; nothing in the value is a template any more.
    ///
    /// # Errors
    /// What is wrong with the template, or went wrong in it.
    pub fn render(&self, source: &Arc<str>, variables: &dyn Variables) -> Result<Value> {
        let mut state = State::new(self, variables);
        let value = state.render(&Str::template(Arc::clone(source)))?;
        state.finish(&value)
    }

    /// Renders a template whose text is a whole file's, or that is written in another way than is usual.
    ///
    /// # Errors
    /// What is wrong with the template, or went wrong in it.
    pub fn render_written(
        &self,
        source: &Str,
        variables: &dyn Variables,
        writing: &Writing,
    ) -> Result<Value> {
        let mut state = State::new(self, variables);
        state.render_file(source, writing, false)
    }

    /// Renders a template into text, whatever it gives. What gives nothing gives an empty text.
    ///
    /// # Errors
    /// What is wrong with the template, or went wrong in it.
    pub fn render_text(&self, source: &Arc<str>, variables: &dyn Variables) -> Result<Str> {
        match self.render(source, variables)? {
            Value::None => Ok(Str::new("")),
            value => value.text(),
        }
    }

    /// Evaluates an expression. What is undefined comes as that.
    ///
    /// # Errors
    /// What is wrong with the expression, or went wrong in it.
    pub fn evaluate(&self, source: &Arc<str>, variables: &dyn Variables) -> Result<Value> {
        self.evaluate_with(&Str::template(Arc::clone(source)), variables, false)
    }

    /// Evaluates an expression. Where `constants` is set, texts within it that look like templates are taken for such.
    ///
    /// # Errors
    /// What is wrong with the expression, or went wrong in it.
    pub fn evaluate_with(
        &self,
        source: &Str,
        variables: &dyn Variables,
        constants: bool,
    ) -> Result<Value> {
        let expression = self.expression(source.shared())?;
        let mut state = State::new(self, variables);
        state.set_current(source.clone());
        state.set_constants(constants);
        let value = match state.evaluate(&expression) {
            Ok(value) => value,
            Err(Error::Undefined(undefined)) => Value::Undefined(undefined),
            Err(error) => return Err(error),
        };
        state.finish(&value)
    }

    /// Renders a value as [`Environment::render_value`] does, with a text in the place of what is undefined or went wrong.
    ///
    /// # Errors
    /// What is wrong with a template itself.
    pub fn render_replacing(
        &self,
        value: &Value,
        variables: &dyn Variables,
    ) -> Result<(Value, Vec<Replaced>)> {
        let mut state = State::new(self, variables).replacing(true);
        let value = state.access(value.clone());
        let value = state.finish(&value)?;
        Ok((value, state.into_replaced()))
    }

    /// Evaluates an expression with a text in the place of what is undefined.
    ///
    /// # Errors
    /// What is wrong with the expression, or went wrong in it.
    pub fn evaluate_replacing(
        &self,
        source: &Str,
        variables: &dyn Variables,
    ) -> Result<(Value, Vec<Replaced>)> {
        let expression = self.expression(source.shared())?;
        let mut state = State::new(self, variables).replacing(false);
        state.set_current(source.clone());
        let value = match state.evaluate(&expression) {
            Ok(value) => value,
            Err(Error::Undefined(undefined)) => Value::Undefined(undefined),
            Err(error) => return Err(error),
        };
        let value = state.finish(&value)?;
        Ok((value, state.into_replaced()))
    }

    /// Begins something of one's own with these variables: filters, lookups, several templates one after the other.
    pub fn state<'e, 'v>(&'e self, variables: &'v dyn Variables) -> State<'e, 'v> {
        State::new(self, variables)
    }

    /// Renders every template in a value, however deep.
    ///
    /// # Errors
    /// What is wrong with a template, or went wrong in it; something is undefined.
    pub fn render_value(&self, value: &Value, variables: &dyn Variables) -> Result<Value> {
        let mut state = State::new(self, variables);
        let value = state.access(value.clone());
        state.finish(&value)
    }
}
