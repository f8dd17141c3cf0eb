//! Statements: what a template does between its expressions.

use std::sync::Arc;

use super::objects::{BlockCall, Loop, LoopParts, MacroValue, Module};
use super::{Flow, NESTING, Output, Scope, State, is_omit, not_found};
use crate::arguments::Arguments;
use crate::ast::{Body, Expr, Kind, Macro, Node, NodeKind, Target};
use crate::error::{Error, Result};
use crate::value::{Dict, Object, Value};
use parking_lot::Mutex;

impl State<'_, '_> {
    pub(super) fn template(&mut self, body: &Body) -> Result<Value> {
        self.outputs.push(Output::default());
        let mut done = self.body(body).map(|_| ());
        // What a template that extends another puts out itself does not count.
        while done.is_ok()
            && let Some(parent) = self.parent.take()
        {
            self.outputs.pop();
            self.outputs.push(Output::default());
            done = self
                .included(&parent)
                .and_then(|body| self.body(&body))
                .map(|_| ());
        }
        let output = self.outputs.pop().unwrap_or_default();
        match done {
            Ok(()) => self.concat(output),
            Err(error) => Err(self.met_before(output).unwrap_or(error)),
        }
    }

    /// What is undefined in what was put out before a template broke off: it stands first in the text, so it is what is
    /// told, though nobody looked at it yet.
    fn met_before(&mut self, mut output: Output) -> Option<Error> {
        if self.replaced.is_some() {
            return None;
        }
        output.flush();
        for piece in output.pieces.iter().filter(|piece| !piece.is_left_out()) {
            let piece = self.access(piece.clone());
            if let Err(error) = self.finish_inner(&piece, 0) {
                return Some(error);
            }
        }
        None
    }

    pub(super) fn concat(&mut self, mut output: Output) -> Result<Value> {
        output.flush();
        let mut pieces = output.pieces;
        if pieces.len() <= 1 {
            return Ok(pieces.pop().unwrap_or(Value::None));
        }
        let mut text = String::new();
        let mut pieces = pieces.iter().filter(|piece| !piece.is_left_out());
        while let Some(piece) = pieces.next() {
            let piece = self.access(piece.clone());
            match self.finish_inner(&piece, 0) {
                Ok(piece) if is_omit(&piece) => {}
                Ok(piece) => text.push_str(&piece.text()?),
                Err(error) => {
                    // What comes after it would have been looked at by now, and may warn.
                    for piece in pieces {
                        self.access(piece.clone());
                    }
                    return Err(error);
                }
            }
        }
        Ok(Value::from(text))
    }

    /// What a body puts out.
    pub(super) fn capture(&mut self, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<Value> {
        self.outputs.push(Output::default());
        let done = run(self);
        let output = self.outputs.pop().unwrap_or_default();
        done?;
        self.concat(output)
    }

    pub(super) fn put(&mut self, value: Value) {
        if let Some(output) = self.outputs.last_mut() {
            output.value(value);
        }
    }

    pub(super) fn in_scope<T>(&mut self, closed: bool, run: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(Scope {
            names: Vec::new(),
            closed,
        });
        let done = run(self);
        self.scopes.pop();
        done
    }

    pub(super) fn set(&mut self, name: &Arc<str>, value: Value) {
        let outermost = self.scopes.len() == 1;
        let Some(scope) = self.scopes.last_mut() else {
            return;
        };
        match scope.names.iter_mut().find(|(known, _)| known == name) {
            Some((_, place)) => *place = value,
            None => scope.names.push((Arc::clone(name), value)),
        }
        if outermost && !name.starts_with('_') && !self.exported.contains(name) {
            self.exported.push(Arc::clone(name));
        }
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => {
                self.set(name, value);
                Ok(())
            }
            Target::Tuple(targets) => {
                let items = value.iterate()?;
                if items.len() != targets.len() {
                    return Err(Error::failed(if items.len() < targets.len() {
                        format!(
                            "not enough values to unpack (expected {}, got {})",
                            targets.len(),
                            items.len()
                        )
                    } else {
                        format!("too many values to unpack (expected {})", targets.len())
                    }));
                }
                for (target, item) in targets.iter().zip(items) {
                    let item = self.access(item);
                    self.assign(target, item)?;
                }
                Ok(())
            }
            Target::Attribute(name, attribute) => {
                let namespace = self.name(name);
                if let Value::Object(object) = &namespace
                    && let Some(namespace) =
                        object.any().downcast_ref::<crate::functions::Namespace>()
                {
                    namespace.set(attribute, value);
                    return Ok(());
                }
                Err(Error::failed(
                    "cannot assign attribute on non-namespace object",
                ))
            }
        }
    }

    pub(super) fn super_block(&self) -> Value {
        if let Some((name, level)) = &self.block
            && let Some(body) = self.blocks.get(name).and_then(|all| all.get(level + 1))
        {
            return Value::Object(Arc::new(BlockCall {
                name: Arc::clone(name),
                level: level + 1,
                body: Arc::clone(body),
            }));
        }
        Value::undefined("there is no parent block called 'super'.")
    }

    pub(super) fn body(&mut self, body: &[Node]) -> Result<Flow> {
        for node in body {
            let flow = self.node(node)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    pub(super) fn node(&mut self, node: &Node) -> Result<Flow> {
        self.within_stack()?;
        match &node.kind {
            NodeKind::Text(text) => {
                if let Some(output) = self.outputs.last_mut() {
                    output.text(text);
                }
            }
            NodeKind::Print(expr) => {
                let value = self.evaluate(expr)?;
                self.put(value);
            }
            NodeKind::If {
                branches,
                otherwise,
            } => {
                for (test, body) in branches {
                    if self.evaluate(test)?.truth()? {
                        return self.body(body);
                    }
                }
                return self.body(otherwise);
            }
            NodeKind::For {
                target,
                iter,
                filter,
                recursive,
                body,
                otherwise,
            } => {
                let items = self.evaluate(iter)?;
                let parts = Arc::new(LoopParts {
                    target: target.clone(),
                    filter: filter.clone(),
                    body: Arc::clone(body),
                    otherwise: Arc::clone(otherwise),
                    recursive: *recursive,
                });
                self.run_loop(&parts, &items, 1)?;
            }
            NodeKind::Set(target, expr) => {
                let value = self.evaluate(expr)?;
                self.assign(target, value)?;
            }
            NodeKind::SetBlock {
                target,
                filter,
                body,
            } => {
                let mut value = self.in_scope(false, |state| {
                    state.capture(|state| state.body(body).map(|_| ()))
                })?;
                if let Some(filter) = filter {
                    value = self.apply_filter(filter, Some(value))?;
                }
                self.assign(target, value)?;
            }
            NodeKind::With(values, body) => {
                // All are evaluated before any is set.
                let mut evaluated = Vec::with_capacity(values.len());
                for (target, expr) in values {
                    evaluated.push((target, self.evaluate(expr)?));
                }
                return self.in_scope(false, |state| {
                    for (target, value) in evaluated {
                        state.assign(target, value)?;
                    }
                    state.body(body)
                });
            }
            NodeKind::FilterBlock(filter, body) => {
                let value = self.in_scope(false, |state| {
                    state.capture(|state| state.body(body).map(|_| ()))
                })?;
                let value = self.apply_filter(filter, Some(value))?;
                self.put(value);
            }
            NodeKind::Macro(parts) => {
                let made = self.new_macro(parts);
                self.set(&parts.name, made);
            }
            NodeKind::CallBlock { call, body } => {
                let caller = self.new_macro(body);
                let Kind::Call(function, arguments) = &*call.kind else {
                    return Err(Error::failed("expected call"));
                };
                let function = self.evaluate(function)?;
                let mut arguments = self.arguments(arguments)?;
                arguments.named.push(("caller".into(), caller));
                let value = self.call(&function, arguments)?;
                self.put(value);
            }
            NodeKind::Include {
                name,
                ignore_missing,
                with_context,
            } => self.include(name, *ignore_missing, *with_context)?,
            NodeKind::Import {
                name,
                target,
                with_context,
            } => {
                let name = self.evaluate(name)?.defined()?;
                let module = self.import(&name, *with_context)?;
                self.set(target, Value::Object(Arc::new(module)));
            }
            NodeKind::FromImport {
                name,
                names,
                with_context,
            } => {
                let from = self.evaluate(name)?.defined()?;
                let module = self.import(&from, *with_context)?;
                for (source, target) in names {
                    let value = module.get(source).unwrap_or_else(|| {
                        Value::undefined(format!(
                            "the template {} (imported on line {}) does not export the requested name '{source}'",
                            crate::repr::repr(&from),
                            node.line
                        ))
                    });
                    self.set(target, value);
                }
            }
            NodeKind::Extends(name) => {
                let name = self.evaluate(name)?.defined()?;
                if self.parent.is_some() {
                    return Err(Error::failed("extended multiple times"));
                }
                let source = self.load(&name)?.ok_or_else(|| self.not_found(&name))?;
                self.parent = Some(source);
            }
            NodeKind::Block {
                name,
                scoped,
                required,
                body,
            } => self.block_node(name, *scoped, *required, body)?,
            NodeKind::Autoescape(body) => return self.body(body),
            NodeKind::Do(expr) => {
                self.evaluate(expr)?;
            }
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    pub(super) fn block_node(
        &mut self,
        name: &Arc<str>,
        _scoped: bool,
        required: bool,
        body: &Body,
    ) -> Result<()> {
        self.blocks
            .entry(Arc::clone(name))
            .or_default()
            .push(Arc::clone(body));
        if self.parent.is_some() {
            // It is put out where the parent has it.
            return Ok(());
        }
        let bodies = &self.blocks[name];
        if required && bodies.len() == 1 {
            return Err(Error::failed(format!("Required block '{name}' not found")));
        }
        let first = Arc::clone(&bodies[0]);
        self.run_block(name, 0, &first)
    }

    pub(super) fn run_block(&mut self, name: &Arc<str>, level: usize, body: &Body) -> Result<()> {
        if self.depth >= NESTING {
            return Err(Error::Recursion);
        }
        let outer = self.block.replace((Arc::clone(name), level));
        self.depth += 1;
        let done = self.in_scope(false, |state| state.body(body));
        self.depth -= 1;
        self.block = outer;
        done.map(|_| ())
    }

    /// The body of a template that was loaded.
    fn included(&self, source: &Arc<str>) -> Result<Body> {
        Ok(self
            .environment
            .compiled(source, self.syntax.as_ref(), false)?
            .body)
    }

    pub(super) fn load(&self, name: &Value) -> Result<Option<Arc<str>>> {
        let name = name.text()?;
        match self.loader.as_ref().or(self.environment.loader.as_ref()) {
            Some(loader) => loader.load(&name),
            None => Err(Error::failed("no loader for this environment specified")),
        }
    }

    fn not_found(&self, name: &Value) -> Error {
        let loader = self.loader.as_ref().or(self.environment.loader.as_ref());
        not_found(
            name,
            &loader.map(|loader| loader.searched()).unwrap_or_default(),
        )
    }

    pub(super) fn include(
        &mut self,
        name: &Expr,
        ignore_missing: bool,
        with_context: bool,
    ) -> Result<()> {
        let name = self.evaluate(name)?.defined()?;
        let names = match &name {
            Value::List(_) | Value::Tuple(_) => name.iterate()?,
            _ => vec![name.clone()],
        };
        for name in &names {
            let Some(source) = self.load(name)? else {
                continue;
            };
            let body = self.included(&source)?;
            if self.depth >= NESTING {
                return Err(Error::Recursion);
            }
            self.depth += 1;
            let blocks = std::mem::take(&mut self.blocks);
            let (block, parent) = (self.block.take(), self.parent.take());
            let value = self.in_scope(!with_context, |state| state.template(&body));
            self.blocks = blocks;
            (self.block, self.parent) = (block, parent);
            self.depth -= 1;
            self.put(value?);
            return Ok(());
        }
        if ignore_missing {
            Ok(())
        } else if names.len() == 1 {
            Err(self.not_found(&names[0]))
        } else {
            Err(Error::failed(format!(
                "none of the templates given were found: {}",
                names
                    .iter()
                    .map(|name| name.text().map(|text| text.to_string()).unwrap_or_default())
                    .collect::<Vec<_>>()
                    .join(", ")
            )))
        }
    }

    pub(super) fn import(&mut self, name: &Value, with_context: bool) -> Result<Module> {
        let source = self.load(name)?.ok_or_else(|| self.not_found(name))?;
        let body = self.included(&source)?;
        if self.depth >= NESTING {
            return Err(Error::Recursion);
        }
        self.depth += 1;
        let seen = if with_context {
            // The names as they are now are what the module's macros see later.
            self.visible()
        } else {
            Vec::new()
        };
        let scopes = std::mem::replace(
            &mut self.scopes,
            vec![Scope {
                names: seen,
                closed: false,
            }],
        );
        let exported = std::mem::take(&mut self.exported);
        let blocks = std::mem::take(&mut self.blocks);
        let (block, parent) = (self.block.take(), self.parent.take());
        let text = self.template(&body);
        let inner = std::mem::replace(&mut self.scopes, scopes);
        let exported = std::mem::replace(&mut self.exported, exported);
        self.blocks = blocks;
        (self.block, self.parent) = (block, parent);
        self.depth -= 1;
        let text = text?;
        let names = inner
            .into_iter()
            .next()
            .map(|scope| scope.names)
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, _)| exported.contains(name))
            .collect();
        Ok(Module { names, text })
    }

    /// All names set here, the inner ones last.
    pub(super) fn visible(&self) -> Vec<(Arc<str>, Value)> {
        let from = self
            .scopes
            .iter()
            .rposition(|scope| scope.closed)
            .unwrap_or(0);
        let mut names: Vec<(Arc<str>, Value)> = Vec::new();
        for scope in &self.scopes[from..] {
            for (name, value) in &scope.names {
                match names.iter_mut().find(|(known, _)| known == name) {
                    Some((_, place)) => *place = value.clone(),
                    None => names.push((Arc::clone(name), value.clone())),
                }
            }
        }
        names
    }

    pub(super) fn new_macro(&self, parts: &Arc<Macro>) -> Value {
        Value::Object(Arc::new(MacroValue {
            parts: Arc::clone(parts),
            // Macros of the outermost level see what is set there later, too: by the calling state.
            seen: if self.scopes.len() > 1 || self.depth > 0 {
                self.visible()
            } else {
                Vec::new()
            },
        }))
    }

    pub(super) fn run_loop(
        &mut self,
        parts: &Arc<LoopParts>,
        items: &Value,
        depth: usize,
    ) -> Result<()> {
        let mut items = items.iterate()?;
        if self.depth >= NESTING {
            return Err(Error::Recursion);
        }
        if let Some(filter) = &parts.filter {
            let mut kept = Vec::new();
            for item in items {
                let item = self.access(item);
                let keep = self.in_scope(false, |state| {
                    state.assign(&parts.target, item.clone())?;
                    state.evaluate(filter)?.truth()
                })?;
                if keep {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self
                .in_scope(false, |state| state.body(&parts.otherwise))
                .map(|_| ());
        }
        let about = Arc::new(Loop {
            parts: Arc::clone(parts),
            items,
            at: Mutex::new(0),
            depth,
            changed: Mutex::new(None),
        });
        let name: Arc<str> = "loop".into();
        self.depth += 1;
        for at in 0..about.items.len() {
            *about.at.lock() = at;
            let item = self.access(about.items[at].clone());
            let flow = self.in_scope(false, |state| {
                let object: Arc<dyn Object> = Arc::clone(&about) as Arc<dyn Object>;
                state.set(&name, Value::Object(object));
                state.assign(&parts.target, item)?;
                state.body(&parts.body)
            });
            match flow {
                Ok(Flow::Break) => break,
                Ok(_) => {}
                Err(error) => {
                    self.depth -= 1;
                    return Err(error);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn call_macro(
        &mut self,
        made: &MacroValue,
        mut arguments: Arguments,
    ) -> Result<Value> {
        if self.depth >= NESTING {
            return Err(Error::Recursion);
        }
        let parts = &made.parts;
        let caller = arguments.take("caller");
        let mut values: Vec<(Arc<str>, Option<Value>)> = Vec::new();
        let mut positional = std::mem::take(&mut arguments.positional).into_iter();
        for (name, _) in &parts.parameters {
            let value = match positional.next() {
                Some(value) => Some(value),
                None => arguments.take(name),
            };
            values.push((Arc::clone(name), value));
        }
        let surplus: Vec<Value> = positional.collect();
        if !surplus.is_empty() && !parts.takes_varargs {
            return Err(Error::failed(format!(
                "macro '{}' takes not more than {} argument(s)",
                parts.name,
                parts.parameters.len()
            )));
        }
        if let Some((name, _)) = arguments.named.first()
            && !parts.takes_kwargs
        {
            return Err(Error::failed(format!(
                "macro '{}' takes no keyword argument '{name}'",
                parts.name
            )));
        }
        if caller.is_some() && !parts.takes_caller && &*parts.name != "caller" {
            return Err(Error::failed(format!(
                "macro '{}' was invoked with two values for the special caller argument. This is most likely a bug.",
                parts.name
            )));
        }
        let kwargs: Dict = arguments
            .named
            .iter()
            .map(|(name, value)| (name, value.clone()))
            .collect();
        let outer = if made.seen.is_empty() {
            // Of the outermost level: sees what is set there.
            std::mem::take(&mut self.scopes)
        } else {
            std::mem::replace(
                &mut self.scopes,
                vec![Scope {
                    names: made.seen.clone(),
                    closed: false,
                }],
            )
        };
        if made.seen.is_empty() {
            let first = outer
                .first()
                .map(|scope| scope.names.clone())
                .unwrap_or_default();
            self.scopes.push(Scope {
                names: first,
                closed: false,
            });
        }
        self.depth += 1;
        let done = self.in_scope(false, |state| {
            for ((name, default), (_, value)) in parts.parameters.iter().zip(values) {
                let value = match (value, default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => state.evaluate(default)?,
                    (None, None) => {
                        Value::undefined(format!("parameter '{name}' was not provided"))
                    }
                };
                state.set(name, value);
            }
            if parts.takes_varargs {
                state.set(&"varargs".into(), Value::tuple(surplus));
            }
            if parts.takes_kwargs {
                state.set(&"kwargs".into(), Value::Dict(kwargs));
            }
            if parts.takes_caller {
                let caller = caller.unwrap_or_else(|| Value::undefined("No caller defined"));
                state.set(&"caller".into(), caller);
            }
            state.capture(|state| state.body(&parts.body).map(|_| ()))
        });
        self.depth -= 1;
        self.scopes = outer;
        done
    }
}
