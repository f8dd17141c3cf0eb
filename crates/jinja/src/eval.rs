//! Carries templates out.

mod calls;
mod expressions;
mod objects;
mod statements;

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::Body;
use crate::environment::{Environment, Loader, Variables};
use crate::error::{Error, Explained, Result};
use crate::lexer::Syntax;
use crate::value::{Dict, Key, List, Str, Undefined, Value};
use objects::SelfBlocks;

/// How deep values may stand within each other that are rendered; deeper ones hold themselves.
const DEEPEST: u32 = 200;

/// How many templates of variables, macros and includes may stand within each other.
const NESTING: u32 = 60;

thread_local! {
    /// How deep the template stands that this thread carries out: one that is begun from within another, by a variable that
    /// renders itself, counts from there.
    static DEEP: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    /// Where on the stack the outermost of them began.
    static BEGAN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    /// The template that asks for what is being looked up on this thread.
    static ASKING: std::cell::RefCell<Option<Str>> = const { std::cell::RefCell::new(None) };
    /// Counts what was rendered on this thread that did not stand within something else.
    static RENDERING: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How much of the stack, in bytes, templates within templates may use: half of what a thread of a server has. What
/// expressions within each other need of it depends on how this was compiled, so it is measured.
const STACK: usize = 1 << 20;

/// About where on the stack this is.
fn here() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(&marker) as usize
}

/// Who asks for what is being looked up: variables and objects that want to say where they were used look here.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The template it is asked for in.
    pub template: Str,
    /// The same number for all that is rendered in one go on this thread.
    pub rendering: u64,
}

/// The template that asks for what is being looked up on this thread; none if no template does.
pub fn asking() -> Option<Asking> {
    ASKING.with_borrow(|template| {
        Some(Asking {
            template: template.clone()?,
            rendering: RENDERING.get(),
        })
    })
}

/// Looks something up for a template.
fn looked_up_in<T>(template: Option<&Str>, look: impl FnOnce() -> T) -> T {
    let before = ASKING.replace(template.cloned());
    let found = look();
    ASKING.set(before);
    found
}

/// A template being carried out, with the names it has set so far.
pub struct State<'e, 'v> {
    environment: &'e Environment,
    variables: &'v dyn Variables,
    /// Where on the stack the outermost template began.
    began: usize,
    /// The text being carried out.
    current: Option<Str>,
    /// How it and what it includes are written, if not as usual.
    syntax: Option<Arc<Syntax>>,
    /// Where what it includes comes from, if not from the environment's.
    loader: Option<Arc<dyn Loader>>,
    /// Whether a text within the expression that looks like a template is taken for one.
    constants: bool,
    scopes: Vec<Scope>,
    /// What is put out, by capture.
    outputs: Vec<Output>,
    depth: u32,
    /// Rendered variables, by the place of their text, as long as nothing that changes from call to call took part.
    rendered: HashMap<usize, (Str, Value)>,
    changing: u64,
    blocks: HashMap<Arc<str>, Vec<Body>>,
    block: Option<(Arc<str>, usize)>,
    parent: Option<Arc<str>>,
    /// Names set at the outermost level, for those who import the template.
    exported: Vec<Arc<str>>,
    /// What was undefined and got a text in its place, if that is what is asked for.
    replaced: Option<Replacing>,
}

/// What is undefined gets a text in its place instead of ending the template.
struct Replacing {
    /// What could not be computed too, and not only what is not there.
    failures: bool,
    found: Vec<Replaced>,
}

/// Something undefined that a text took the place of.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The template that asked for it.
    pub template: Option<Str>,
    /// Why it is undefined.
    pub error: Error,
}

#[derive(Default)]
struct Scope {
    names: Vec<(Arc<str>, Value)>,
    /// Whether names outside of it are seen.
    closed: bool,
}

#[derive(Default)]
struct Output {
    pieces: Vec<Value>,
    text: String,
    /// A text that came whole and alone, kept as it is.
    first: Option<Arc<str>>,
}

/// What a body ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'e, 'v> State<'e, 'v> {
    pub(crate) fn new(environment: &'e Environment, variables: &'v dyn Variables) -> Self {
        let depth = DEEP.get();
        if depth == 0 {
            BEGAN.set(here());
            if ASKING.with_borrow(Option::is_none) {
                RENDERING.set(RENDERING.get() + 1);
            }
        }
        State {
            environment,
            variables,
            began: BEGAN.get(),
            current: None,
            syntax: None,
            loader: None,
            constants: false,
            scopes: vec![Scope::default()],
            outputs: Vec::new(),
            depth,
            rendered: HashMap::new(),
            changing: 0,
            blocks: HashMap::new(),
            block: None,
            parent: None,
            exported: Vec::new(),
            replaced: None,
        }
    }

    /// Puts a text in the place of what is undefined: `<< error 1 - 'x' is undefined >>`. With `failures` also of what
    /// went wrong while it was computed.
    pub(crate) fn replacing(mut self, failures: bool) -> Self {
        self.replaced = Some(Replacing {
            failures,
            found: Vec::new(),
        });
        self
    }

    /// What texts took the place of, in the order of their numbers.
    pub(crate) fn into_replaced(self) -> Vec<Replaced> {
        self.replaced
            .map_or_else(Vec::new, |replaced| replaced.found)
    }

    /// The text that takes the place of something undefined, if that is asked for.
    fn replacement(&mut self, undefined: &Arc<Undefined>) -> Option<Value> {
        let replacing = self.replaced.as_mut()?;
        if undefined.error.is_some() && !replacing.failures {
            return None;
        }
        let error = undefined.as_error();
        let text = format!("<< error {} - {error} >>", replacing.found.len() + 1);
        replacing.found.push(Replaced {
            template: undefined.template.clone().or_else(|| self.current.clone()),
            error,
        });
        Some(Value::from(text))
    }

    /// What the template knows beside its variables.
    pub fn environment(&self) -> &'e Environment {
        self.environment
    }

    /// The variables.
    pub fn variables(&self) -> &'v dyn Variables {
        self.variables
    }

    /// Refuses to go deeper where the stack would not do.
    fn within_stack(&self) -> Result<()> {
        if here().abs_diff(self.began) > STACK {
            return Err(Error::Recursion);
        }
        Ok(())
    }

    /// Says that the result of what is being evaluated may be another the next time: it is not kept.
    pub fn changes_from_call_to_call(&mut self) {
        self.changing += 1;
    }

    /// Renders a template within this one: a variable's, or one that a function was given. It does not see the names set
    /// here.
    pub fn render(&mut self, source: &Str) -> Result<Value> {
        self.render_written(source, None, true)
    }

    /// Renders a template that is written in a way of its own.
    pub(crate) fn render_written(
        &mut self,
        source: &Str,
        syntax: Option<Arc<Syntax>>,
        literal_backslashes: bool,
    ) -> Result<Value> {
        if self.depth >= NESTING {
            return Err(Error::Recursion);
        }
        let compiled =
            self.environment
                .compiled(source.shared(), syntax.as_ref(), literal_backslashes)?;
        let body = compiled.body;
        let current = self.current.replace(source.clone());
        let syntax = std::mem::replace(&mut self.syntax, compiled.syntax.or(syntax));
        let constants = std::mem::take(&mut self.constants);
        let scopes = std::mem::replace(&mut self.scopes, vec![Scope::default()]);
        let outputs = std::mem::take(&mut self.outputs);
        let blocks = std::mem::take(&mut self.blocks);
        let (block, parent) = (self.block.take(), self.parent.take());
        let exported = std::mem::take(&mut self.exported);
        self.depth += 1;
        let outer = DEEP.replace(self.depth);
        let done = self.template(&body);
        DEEP.set(outer);
        self.depth -= 1;
        self.scopes = scopes;
        self.outputs = outputs;
        self.blocks = blocks;
        (self.block, self.parent) = (block, parent);
        self.exported = exported;
        self.current = current;
        self.syntax = syntax;
        self.constants = constants;
        match done {
            Err(Error::Undefined(undefined)) => Ok(Value::Undefined(undefined)),
            done => done,
        }
    }

    /// Renders a template that is a file of its own; newlines at its end stay. With `inner` the value is given as it is,
    /// otherwise with all in it rendered.
    pub fn render_file(
        &mut self,
        source: &Str,
        writing: &crate::environment::Writing,
        inner: bool,
    ) -> Result<Value> {
        let loader = match &writing.loader {
            Some(loader) => self.loader.replace(Arc::clone(loader)),
            None => self.loader.clone(),
        };
        let done = self.render_written(source, writing.syntax.clone(), writing.literal_backslashes);
        self.loader = loader;
        let value = done.map_err(|error| error.in_template("template", Some(source)))?;
        let newline = match &writing.syntax {
            Some(syntax) => syntax.newline_sequence.as_str(),
            None => "\n",
        };
        let value = written_at(source, trailing_newlines(source, value, newline));
        if inner {
            Ok(value)
        } else {
            self.finish(&value)
        }
    }

    /// The value of a variable's own text: rendered if it is a template, with what goes wrong as something undefined.
    pub fn access(&mut self, value: Value) -> Value {
        let Value::Str(text) = &value else {
            return value;
        };
        if !text.is_template() {
            return match self.environment.untrusted_met(text) {
                Ok(()) => value,
                Err(error) => Value::failed(error),
            };
        }
        if !self.environment.may_be_template(text) {
            return value;
        }
        let place = text.shared().as_ptr() as usize;
        if let Some((_, known)) = self.rendered.get(&place) {
            return known.clone();
        }
        let before = self.changing;
        let value = match self.render(text) {
            Ok(value) => written_at(text, trailing_newlines(text, value, "\n")),
            Err(error) => Value::failed(error.in_template("template", Some(text))),
        };
        if self.changing == before {
            // The text is held, or its place could become another's.
            self.rendered.insert(place, (text.clone(), value.clone()));
        }
        value
    }

    /// The value with everything in it rendered, what is left out left out.
    ///
    /// # Errors
    /// Something in it is undefined or failed. A value that is itself undefined is given as it is.
    pub fn finish(&mut self, value: &Value) -> Result<Value> {
        if value.is_undefined() {
            return match value {
                Value::Undefined(undefined) => {
                    match (self.replacement(undefined), &undefined.error) {
                        (Some(text), _) => Ok(text),
                        (None, Some(error)) => Err((**error).clone().resolved()),
                        (None, None) => Ok(value.clone()),
                    }
                }
                _ => Ok(value.clone()),
            };
        }
        self.finish_inner(value, 0)
    }

    fn finish_inner(&mut self, value: &Value, depth: u32) -> Result<Value> {
        if depth > DEEPEST {
            return Err(Error::Recursion);
        }
        match value {
            Value::Undefined(undefined) => self
                .replacement(undefined)
                .ok_or_else(|| undefined.as_error()),
            Value::Str(text) if text.is_template() && self.environment.may_be_template(text) => {
                let rendered = self.access(value.clone());
                self.finish_inner(&rendered, depth + 1)
            }
            Value::List(list) => {
                let items = list.read().clone();
                if !needs_finish(&items) {
                    return Ok(value.clone());
                }
                let mut finished = Vec::with_capacity(items.len());
                for item in &items {
                    let item = self.access(item.clone());
                    if !is_omit(&item) {
                        finished.push(self.finish_inner(&item, depth + 1)?);
                    }
                }
                Ok(Value::List(List::new(finished)))
            }
            Value::Tuple(items) => {
                let mut finished = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let item = self.access(item.clone());
                    if !is_omit(&item) {
                        finished.push(self.finish_inner(&item, depth + 1)?);
                    }
                }
                // What leaves a template is data, and data has lists only.
                Ok(Value::list(finished))
            }
            Value::Dict(dict) => {
                let entries: Vec<(Key, Value)> = dict
                    .read()
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if !entries
                    .iter()
                    .any(|(_, value)| needs_finish(std::slice::from_ref(value)))
                {
                    return Ok(value.clone());
                }
                let mut finished = indexmap::IndexMap::with_capacity(entries.len());
                for (key, value) in &entries {
                    let value = self.access(value.clone());
                    if !is_omit(&value) {
                        finished.insert(key.clone(), self.finish_inner(&value, depth + 1)?);
                    }
                }
                Ok(Value::Dict(Dict::new(finished)))
            }
            Value::Object(object) if object.refusal().is_some() => {
                Err(object.refusal().unwrap_or(Error::Recursion))
            }
            Value::Object(object) if object.is_mapping() => {
                let mut finished = indexmap::IndexMap::new();
                for (key, value) in value.entries().unwrap_or_default() {
                    let value = self.access(value);
                    if !is_omit(&value) {
                        finished.insert(key, self.finish_inner(&value, depth + 1)?);
                    }
                }
                Ok(Value::Dict(Dict::new(finished)))
            }
            Value::Object(object) if object.may_be_stored() && object.items().is_some() => {
                self.finish_inner(&Value::tuple(object.items().unwrap_or_default()), depth + 1)
            }
            Value::Object(object) if !object.may_be_stored() => Err(Error::failed(format!(
                "Type {} is unsupported for variable storage.",
                crate::repr::string(value.type_name())
            ))),
            value => Ok(value.clone()),
        }
    }

    /// The value of a name: set here, a variable, or known to all.
    pub fn name(&mut self, name: &str) -> Value {
        for scope in self.scopes.iter().rev() {
            if let Some((_, value)) = scope.names.iter().rev().find(|(known, _)| **known == *name) {
                let value = value.clone();
                return self.access(value);
            }
            if scope.closed {
                break;
            }
        }
        let variables = self.variables;
        if let Some(value) = looked_up_in(self.current.as_ref(), || variables.get(name)) {
            return self.access(value);
        }
        if let Some(value) = self.environment.globals.get(name) {
            return value.clone();
        }
        match name {
            "self" => Value::Object(Arc::new(SelfBlocks(self.blocks.clone()))),
            "super" => self.super_block(),
            _ => self.missing(format!("'{name}' is undefined"), name),
        }
    }
}

impl State<'_, '_> {
    /// Something that is not there, as the template being carried out asked for it.
    pub fn missing(&self, message: String, name: &str) -> Value {
        Value::Undefined(Arc::new(Undefined {
            message,
            error: None,
            name: Some(name.into()),
            template: self.current.clone(),
            silent: false,
        }))
    }

    /// Carries something out within this, with other variables and without the names set here.
    ///
    /// # Errors
    /// That goes wrong, or too much stands within each other.
    pub fn beside<T>(
        &self,
        variables: &dyn Variables,
        run: impl FnOnce(&mut State<'_, '_>) -> Result<T>,
    ) -> Result<T> {
        if self.depth >= NESTING {
            return Err(Error::Recursion);
        }
        let mut state = State::new(self.environment, variables);
        state.depth = self.depth + 1;
        state.current.clone_from(&self.current);
        run(&mut state)
    }

    /// The text being carried out.
    pub fn current(&self) -> Option<&Str> {
        self.current.as_ref()
    }

    /// What comes of a filter, test or lookup that refused: something undefined that says so when it is used.
    pub fn plugin_failed(&self, kind: &str, name: &str, error: Error) -> Value {
        if let Error::Undefined(undefined) = error {
            return Value::Undefined(undefined);
        }
        Value::failed(Error::Explained(Arc::new(Explained {
            message: format!("The {kind} plugin {} failed.", crate::repr::string(name)),
            template: self.current.clone(),
            help: None,
            cause: Some(error),
        })))
    }

    pub(crate) fn set_constants(&mut self, constants: bool) {
        self.constants = constants;
    }

    pub(crate) fn set_current(&mut self, current: Str) {
        self.current = Some(current);
    }

    /// Says where what the template includes comes from.
    pub fn set_loader(&mut self, loader: Arc<dyn Loader>) {
        self.loader = Some(loader);
    }
}

impl Output {
    fn text(&mut self, text: &Arc<str>) {
        if self.text.is_empty() && self.first.is_none() {
            self.first = Some(Arc::clone(text));
            return;
        }
        if let Some(first) = self.first.take() {
            self.text.push_str(&first);
        }
        self.text.push_str(text);
    }

    fn flush(&mut self) {
        if let Some(first) = self.first.take() {
            self.pieces.push(Value::Str(Str::new(first)));
        } else if !self.text.is_empty() {
            self.pieces
                .push(Value::from(std::mem::take(&mut self.text)));
        }
    }

    fn value(&mut self, value: Value) {
        if matches!(value, Value::None) {
            return;
        }
        self.flush();
        self.pieces.push(value);
    }
}

fn needs_finish(items: &[Value]) -> bool {
    items.iter().any(|item| match item {
        Value::Undefined(_) | Value::Tuple(_) => true,
        Value::Str(text) => text.is_template(),
        Value::List(list) => list.may_hold_templates() || needs_finish(&list.read()),
        Value::Dict(dict) => {
            dict.may_hold_templates()
                || dict
                    .read()
                    .values()
                    .any(|value| needs_finish(std::slice::from_ref(value)))
        }
        Value::Object(object) => {
            is_omit(item)
                || !object.may_be_stored()
                || object.is_mapping()
                || object.items().is_some()
                || object.refusal().is_some()
        }
        _ => false,
    })
}

/// Whether a value is the one that leaves its place out.
pub fn is_omit(value: &Value) -> bool {
    matches!(value, Value::Object(object) if object.any().is::<crate::functions::Omit>())
}

/// A text that a template gave is written where the template is, unless it knows better.
fn written_at(source: &Str, value: Value) -> Value {
    match (&value, source.origin()) {
        (Value::Str(text), Some(origin)) if text.origin().is_none() => {
            Value::Str(text.clone().written_at(Arc::clone(origin)))
        }
        _ => value,
    }
}

/// A template keeps the newlines at the end of its source.
fn trailing_newlines(source: &str, value: Value, newline: &str) -> Value {
    let Value::Str(text) = &value else {
        return value;
    };
    let count = |text: &str| text.len() - text.trim_end_matches('\n').len();
    let (wanted, there) = (count(source), count(text));
    if wanted <= there {
        return value;
    }
    Value::from(format!("{}{}", &**text, newline.repeat(wanted - there)))
}

fn not_found(name: &Value, searched: &[String]) -> Error {
    let name = name.text().map(|text| text.to_string()).unwrap_or_default();
    if searched.is_empty() {
        return Error::failed(name);
    }
    let searched: Vec<String> = searched
        .iter()
        .map(|place| crate::repr::string(place))
        .collect();
    Error::failed(format!(
        "{} not found in search paths: {}",
        crate::repr::string(&name),
        searched.join(", ")
    ))
}
